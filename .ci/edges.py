"""Compares the edges between the workspace's crates (`cargo metadata` on standard input) with those that are allowed."""

import json
import sys


def allowed(path):
    """For each crate the crates it may use, and those that its tests may use."""
    rules = {}
    with open(path) as lines:
        for line in lines:
            line = line.split("#")[0].strip()
            if line:
                crate, rest = line.split(":", 1)
                used, _, by_tests = rest.partition("; tests:")
                rules[crate] = (set(used.split()), set(by_tests.split()))
    return rules


def main():
    rules = allowed(sys.argv[1])
    packages = json.load(sys.stdin)["packages"]
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
                faults.append(f"{name} must not use {dependency}" + (" (in its tests)" if kind == "dev" else ""))
        for unused in used - {dependency for dependency, kind in found if kind != "dev"}:
            faults.append(f"{name} may use {unused}, and does not: take that away")
        for unused in by_tests - {dependency for dependency, _ in found}:
            faults.append(f"the tests of {name} may use {unused}, and do not: take that away")
    faults += [f"{name} is listed, and is no crate" for name in rules.keys() - names]
    for fault in faults:
        print(f"{sys.argv[1]}: {fault}", file=sys.stderr)
    sys.exit(bool(faults))


main()
