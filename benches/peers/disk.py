#!/usr/bin/env python3
"""Searches the same vectors on the same disk, under the same cap on memory, with vecstore and four others.

`cargo bench -p benches --bench peers` runs it: first `disk.py prepare DATA`, outside of the cap, then
`disk.py search DATA`.

`prepare` makes the data, unless vectors.npy and queries.npy (f32) are in DATA. It finds the exact neighbours
and builds every index. It then looks for settings: for each amount of rescoring the least ef, or number of
probes, whose recall@10 is at least 0.95.

`search` copies the indexes onto the disk of BENCH_DIR. It runs each in a process of its own, in a memory
cgroup. The cap is a quarter of the vectors, or --cap-mib. It counts from when the process has imported what
it needs, so that no contender pays for an interpreter. Each process begins with a cold page cache. The first
half of the queries warms up what the contender caches, and the other half is measured.

First it tries every setting with 8 queries at once, all in one process. A map may still have pages of the
setting before. Then it tries the best setting with 1, 2 and 32 queries at once. Then come the rounds. Each
runs all contenders at their best, in an order that rotates, each in a new process.

BENCH_JSON=file gets what is printed as JSON.
"""

import argparse
import importlib
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import time

RECALL, LIMIT, HERE = 0.95, 10, pathlib.Path(__file__).resolve().parent
SYSTEMS = ["vecstore", "qdrant", "usearch", "lance", "hnswlib"]
MISSING = 77


def system(name):
    return importlib.import_module(f"systems.{name}")


def recall(found, truth):
    return sum(len(set(a) & set(b)) for a, b in zip(found, truth)) / (LIMIT * max(len(found), 1))


class KilledError(Exception):
    """The cap killed the process."""


class Contender:
    """A process that searches."""

    def __init__(self, name, variant, backend, folder, queries, cap_mib=None):
        from cap import Cap

        self.cap = Cap() if cap_mib else None
        if name == "vecstore":
            command = system(name).command(folder, backend, queries)
        else:
            cap = str(cap_mib or 1024)
            command = [sys.executable, HERE / "serve.py", name, variant, folder, queries, cap]
        command = self.cap.command(command) if cap_mib else command
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self.expect("started")
            if cap_mib:
                self.cap.set(cap_mib)
            started = time.perf_counter()
            self.say("load")
            self.expect("loaded")
        except BaseException:
            self.end()
            raise
        self.load_seconds = time.perf_counter() - started

    def say(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            if status == -signal.SIGKILL:
                raise KilledError
            raise RuntimeError(f"a contender ended with status {status}")
        return line

    def expect(self, word):
        line = self.line()
        if line.strip() != word:
            raise RuntimeError(f"a contender said {line!r} instead of {word!r}")

    def search(self, setting, threads, first, last, seconds):
        wanted = {"setting": setting, "threads": threads, "first": first, "last": last, "seconds": seconds}
        self.say(json.dumps(wanted))
        return json.loads(self.line())

    def anonymous_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) / 1024

    def end(self):
        self.process.kill()
        self.process.wait()
        if self.cap:
            self.cap.remove()


def settings_that_reach(name, variant, folder, data, truth):
    """For each amount of rescoring the least effort that finds enough."""
    contender = Contender(name, variant, "mmap", folder, data / "queries.npy")
    groups = {}
    for setting in system(name).settings(variant):
        rescoring = tuple(value for name, value in setting.items() if name not in ("ef", "nprobes"))
        groups.setdefault(rescoring, []).append(setting)
    reached, most = [], 0
    for group in groups.values():
        for setting in group:
            found = recall(contender.search(setting, 8, 0, len(truth), 1e9)["ids"], truth)
            most = max(most, found)
            if found >= RECALL:
                reached.append(setting)
                break
    contender.end()
    return reached, most


def prepare(args):
    import numpy

    import data

    args.data.mkdir(exist_ok=True, parents=True)
    if not (args.data / "vectors.npy").exists():
        data.clustered(args.data, args.count, args.dim, args.queries)
    vectors = numpy.load(args.data / "vectors.npy", mmap_mode="r")
    if not (args.data / "truth.npy").exists():
        queries = numpy.load(args.data / "queries.npy")
        numpy.save(args.data / "truth.npy", data.nearest(vectors, queries, LIMIT))
    truth = numpy.load(args.data / "truth.npy").tolist()
    for name in args.only:
        for variant in system(name).VARIANTS:
            folder, made = args.data / f"{name}-{variant}", args.data / f"{name}-{variant}.json"
            if made.exists():
                continue
            started = time.perf_counter()
            if not folder.exists():
                # Under its name only once it is whole.
                unfinished = args.data / f"{folder.name}.unfinished"
                shutil.rmtree(unfinished, ignore_errors=True)
                system(name).build(vectors, unfinished, variant)
                unfinished.rename(folder)
            built = time.perf_counter() - started
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            settings, most = settings_that_reach(name, variant, folder, args.data, truth)
            mib = size / 2**20
            made.write_text(json.dumps({"built": built, "mib": mib, "settings": settings, "most": most}))
            facts = f"built in {built:.0f} s, {mib:.0f} MiB, recall up to {most:.3f}"
            print(f"{name} {variant}: {facts}: {settings}", flush=True)


class Search:
    """Everything that is measured."""

    def __init__(self, args):
        import numpy

        self.args, self.queries = args, args.data / "queries.npy"
        vectors = numpy.load(args.data / "vectors.npy", mmap_mode="r")
        self.truth = numpy.load(args.data / "truth.npy").tolist()
        self.what = f"{len(vectors)} x {vectors.shape[1]} f32"
        self.cap_mib = args.cap_mib or vectors.nbytes // 4 >> 20
        self.dir = pathlib.Path(os.environ["BENCH_DIR"]) / "peers"
        self.found = {}

    def run(self, contender, settings):
        """Runs (setting, threads) one after the other in one process, beginning cold.

        The rows are those that were measured before the cap killed the process, or all.
        """
        from cap import disk_counts, make_cold

        name, variant, backend = contender
        folder = self.dir / f"{name}-{variant}"
        if not folder.exists():
            shutil.copytree(self.args.data / folder.name, folder)
        make_cold(folder)
        half, rows, process = len(self.truth) // 2, [], None
        try:
            process = Contender(name, variant, backend, folder, self.queries, self.cap_mib)
            for setting, threads in settings:
                cold = process.search(setting, threads, 0, half, self.args.seconds)
                reads, read = disk_counts(self.dir)
                found = process.search(setting, threads, half, 2 * half, self.args.seconds)
                reads, read = (now - before for now, before in zip(disk_counts(self.dir), (reads, read)))
                self.compare(contender, setting, found["ids"])
                count = len(found["ids"])
                row = {"setting": setting, "threads": threads}
                row |= {"recall": recall(found["ids"], self.truth[half:])}
                row |= {"cold": len(cold["ids"]) / cold["seconds"], "qps": count / found["seconds"]}
                row |= {"reads": reads / count, "kib": read / 1024 / count, "cpu": found["cpu"] * 1e3 / count}
                row |= {"anonymous": process.anonymous_mib(), "load": process.load_seconds}
                rows.append(row)
                print(" ".join(contender), json.dumps(row), file=sys.stderr, flush=True)
        except KilledError:
            print(" ".join(contender), "killed by the memory cap", file=sys.stderr, flush=True)
        finally:
            if process:
                process.end()
        return rows

    def compare(self, contender, setting, ids):
        """The same index and setting find the same through every backend."""
        first = self.found.setdefault((contender[:2], str(setting)), ids)
        if contender[0] == "vecstore" and any(a != b for a, b in zip(first, ids)):
            what = f"{' '.join(contender)} with {setting}"
            raise RuntimeError(f"{what} found other ids than the backend before")

    def contenders(self):
        for name in self.args.only:
            for variant in system(name).VARIANTS:
                made = self.args.data / f"{name}-{variant}.json"
                if made.exists():
                    for backend in getattr(system(name), "BACKENDS", [""]):
                        yield (name, variant, backend), json.loads(made.read_text())

    def all(self):
        best, tried, rounds = {}, {}, {}
        for contender, made in self.contenders():
            if not made["settings"]:
                tried[contender] = f"recall stays at {made['most']:.3f}"
                continue
            first, *others = self.args.threads
            rows = self.run(contender, [(setting, first) for setting in made["settings"]])
            if not rows:
                tried[contender] = "killed by the memory cap"
                continue
            # All queries reached it, but those that are measured are a part of them.
            enough = [row for row in rows if row["recall"] >= RECALL] or rows
            setting = max(enough, key=lambda row: row["qps"])["setting"]
            # Each in a process of its own: what memory allocators keep of the one before counts too.
            for threads in others:
                rows += self.run(contender, [(setting, threads)])
            tried[contender] = rows
            row = max((row for row in rows if row["setting"] == setting), key=lambda row: row["qps"])
            best[contender] = (row["setting"], row["threads"])
        order = list(best)
        for number in range(self.args.rounds):
            for contender in order[number % max(len(order), 1) :] + order[: number % max(len(order), 1)]:
                rounds.setdefault(contender, []).extend(self.run(contender, [best[contender]]))
        shutil.rmtree(self.dir, ignore_errors=True)
        for contender, found in list(rounds.items()):
            if not found:
                del rounds[contender]
                tried[contender] = "killed by the memory cap in every round"
        return tried, rounds


def cell(values):
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def shown(value):
    """As benches::report shows a cell."""

    def number(x):
        return f"{x:.{0 if x >= 100 or x == int(x) else 1 if x >= 10 else 2 if x >= 1 else 3}f}"

    if not isinstance(value, dict):
        return number(value) if isinstance(value, (int, float)) else value
    return f"{number(value['median'])} ({number(value['min'])}..{number(value['max'])})"


def named(contender, setting):
    return " ".join(filter(None, contender)), ", ".join(f"{name} {value}" for name, value in setting.items())


def tables(search, tried, rounds):
    peers = [rows for (name, *_), rows in rounds.items() if name != "vecstore" and rows]
    best_peer = max((statistics.median(row["qps"] for row in rows) for rows in peers), default=None)
    columns = ["contender", "setting", "threads", "recall@10", "searches/s", "of the best peer"]
    columns += ["cold searches/s", "reads/search", "KiB/search", "CPU ms/search", "anonymous MiB", "load s"]
    figures = ("cold", "reads", "kib", "cpu", "anonymous", "load")
    rows = []
    for contender, found in rounds.items():
        ratio = statistics.median(row["qps"] for row in found) / best_peer if best_peer else "-"
        spreads = [cell([row[figure] for row in found]) for figure in figures]
        name, setting = named(contender, found[0]["setting"])
        planned = search.args.rounds
        if len(found) < planned:
            name += f" (killed by the cap in {planned - len(found)} of {planned} rounds)"
        row = [name, setting, found[0]["threads"], cell([row["recall"] for row in found])]
        rows.append(row + [cell([row["qps"] for row in found]), ratio, *spreads])
    for contender, why in tried.items():
        if isinstance(why, str):
            rows.append([named(contender, {})[0], why] + ["-"] * (len(columns) - 2))
    cap = f"at most {search.cap_mib} MiB of memory besides the program"
    notes = [f"{search.what}, {cap}; the best setting and number of threads of each."]
    for name in search.args.only:
        what = " ".join(system(name).WHAT.split())
        notes.append(f"{system(name).PACKAGE} {version(name)}: {what}")
    plot = {"x": "contender", "y": "searches/s", "series": "contender", "pictures": [], "log": False}
    title = f"Peers: searches at recall@10 of at least {RECALL}"
    yield {"title": title, "notes": notes, "columns": columns, "rows": rows, "plots": [plot]}
    columns = ["contender", "setting", "threads", "recall@10", "searches/s", "reads/search"]
    rows = [
        [*named(contender, row["setting"]), row["threads"], row["recall"], row["qps"], row["reads"]]
        for contender, found in tried.items()
        if not isinstance(found, str)
        for row in found
    ]
    yield {"title": "Peers: what was tried", "notes": [], "columns": columns, "rows": rows, "plots": []}


def version(name):
    import importlib.metadata

    try:
        return importlib.metadata.version(system(name).PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return "of this checkout"


def search(args):
    run = Search(args)
    found = list(tables(run, *run.all()))
    for table in found:
        print(f"### {table['title']}\n")
        for note in table["notes"]:
            print(note + "\n")
        print("| " + " | ".join(table["columns"]) + " |\n" + "|---" * len(table["columns"]) + "|")
        for row in table["rows"]:
            print("| " + " | ".join(shown(value) for value in row) + " |")
        print()
    if path := os.environ.get("BENCH_JSON"):
        pathlib.Path(path).write_text(json.dumps({"scenario": "peers", "tables": found}, indent=2))


def missing(args):
    """What is not there, and how to get it."""
    for name in args.only:
        try:
            system(name)
        except ImportError as error:
            return f"{error}; pip install -r {HERE / 'requirements.txt'}"
    if "vecstore" in args.only and not system("vecstore").PROGRAM.exists():
        return f"no {system('vecstore').PROGRAM}; cargo build --release -p benches"
    if args.do is search and "BENCH_DIR" not in os.environ:
        return "no BENCH_DIR; run it in `slow-disk run -- ...`, or name a folder on the disk to measure"
    if args.do is search and not (args.data / "truth.npy").exists():
        return f"nothing in {args.data}; run `prepare` first"
    return None


def main():
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    commands = parser.add_subparsers(required=True)
    for do in (prepare, search):
        command = commands.add_parser(do.__name__)
        command.set_defaults(do=do)
        command.add_argument("data", type=pathlib.Path)
        names = {"type": lambda text: text.split(","), "default": SYSTEMS, "metavar": "NAME,NAME"}
        command.add_argument("--only", **names)
        if do is prepare:
            command.add_argument("--count", type=int, default=300_000)
            command.add_argument("--dim", type=int, default=768)
            command.add_argument("--queries", type=int, default=800)
        else:
            command.add_argument("--rounds", type=int, default=3)
            of_half = "of each half of a measurement, at most"
            command.add_argument("--seconds", type=float, default=3, help=of_half)
            command.add_argument("--cap-mib", type=int)
            numbers = {"type": lambda text: [int(number) for number in text.split(",")], "metavar": "N,N"}
            at_once = "queries at once to try; settings with the first"
            command.add_argument("--threads", **numbers, default=[8, 1, 2, 32], help=at_once)
    args = parser.parse_args()
    args.data = args.data.resolve()
    if why := missing(args):
        print(f"skipped: {why}", file=sys.stderr)
        sys.exit(MISSING)
    # Exits by an exception, so that processes and cgroups are ended and removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    args.do(args)


if __name__ == "__main__":
    main()
