"""Compares edges with those that are allowed: between the workspace's crates (`cargo metadata` on standard
input), and between modules of a crate."""

import json
import pathlib
import re
import sys


def allowed(path):
    """For each crate or module those it may use, and those that its tests may use."""
    rules = {}
    with open(path) as lines:
        for line in lines:
            line = line.split("#")[0].strip()
            if line:
                name, rest = re.fullmatch(r"([\w-]+(?:::\w+)?):(.*)", line).groups()
                used, _, by_tests = rest.partition("; tests:")
                rules[name] = (set(used.split()), set(by_tests.split()))
    return rules


def crate_faults(packages, rules):
    names = {package["name"] for package in packages}
    faults = []
    for package in packages:
        name = package["name"]
        if name not in rules:
            faults.append(f"{name} is not listed")
            continue
        used, by_tests = rules[name]
        found = [(d["name"], d["kind"]) for d in package["dependencies"] if d["name"] in names - {name}]
        for dependency, kind in found:
            if dependency not in (used | by_tests if kind == "dev" else used):
                where = " (in its tests)" if kind == "dev" else ""
                faults.append(f"{name} must not use {dependency}{where}")
        for unused in used - {dependency for dependency, kind in found if kind != "dev"}:
            faults.append(f"{name} may use {unused}, and does not: take that away")
        for unused in by_tests - {dependency for dependency, _ in found}:
            faults.append(f"the tests of {name} may use {unused}, and do not: take that away")
    return faults + [f"{name} is listed, and is no crate" for name in rules.keys() - names]


def module_faults(crate, source, rules):
    """Looks for `crate::module` in the code of each top module."""
    files = {}
    for path in source.rglob("*.rs"):
        top = path.relative_to(source).parts[0].removesuffix(".rs")
        files.setdefault(top, []).append(path)
    del files["lib"]
    faults = [f"{crate}::{name} is listed, and is no module" for name in rules.keys() - files.keys()]
    for module, paths in files.items():
        if module not in rules:
            faults.append(f"{crate}::{module} is not listed")
            continue
        code = re.sub(r"//.*", "", "\n".join(path.read_text() for path in paths))
        if "crate::{" in code:
            faults.append(f"{crate}::{module}: write a line for each module, instead of `crate::{{`")
        found = set(re.findall(r"\bcrate::(\w+)", code)) & files.keys() - {module}
        used, _ = rules[module]
        faults += [f"{crate}::{module} must not use {other}" for other in found - used]
        unused = used - found
        faults += [f"{crate}::{module} may use {other}, and does not: take that away" for other in unused]
    return faults


def main():
    rules = allowed(sys.argv[1])
    packages = json.load(sys.stdin)["packages"]
    faults = crate_faults(packages, {name: rule for name, rule in rules.items() if "::" not in name})
    for package in packages:
        prefix = package["name"] + "::"
        modules = {name.removeprefix(prefix): rule for name, rule in rules.items() if name.startswith(prefix)}
        if modules:
            source = pathlib.Path(package["manifest_path"]).parent / "src"
            faults += module_faults(package["name"], source, modules)
    for fault in sorted(faults):
        print(f"{sys.argv[1]}: {fault}", file=sys.stderr)
    sys.exit(bool(faults))


main()
