"""A peer in a process of its own. It obeys lines of the protocol of benches/src/bin/peer.rs."""

import importlib
import json
import pathlib
import sys
import time

import numpy


def answer(line):
    print(line, flush=True)


def run(system, index, queries, wanted):
    """Runs batches large enough that waiting for the last query hardly counts."""
    started, cpu, ids = time.perf_counter(), time.process_time(), []
    for first in range(0, len(queries), 4 * wanted["threads"]):
        batch = queries[first : first + 4 * wanted["threads"]]
        ids += system.search(index, batch, wanted["setting"], wanted["threads"])
        if time.perf_counter() - started > wanted["seconds"]:
            break
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu, "ids": ids}


def main():
    name, variant, folder, queries, cap = sys.argv[1:]
    system = importlib.import_module(f"systems.{name}")
    queries = numpy.load(queries)
    answer("started")
    if not sys.stdin.readline():
        return
    index = system.load(pathlib.Path(folder), variant, int(cap) << 20)
    answer("loaded")
    for line in sys.stdin:
        wanted = json.loads(line)
        answer(json.dumps(run(system, index, queries[wanted["first"] : wanted["last"]], wanted)))


if __name__ == "__main__":
    main()
