#!/usr/bin/env python3
"""Builds and searches the same vectors with hnswlib, usearch and vecstore, in turn, and prints one table.

    pip install numpy hnswlib usearch
    python3 benches/peers/compare.py --vectors base.npy --queries queries.npy --truth neighbours.npy

Each round runs every system once, in a process of its own, so that a machine whose speed drifts treats all alike. Figures are
medians over the rounds; the ratio of queries a second is against the faster peer of the same round, where both have the
recall. All hold everything in memory, use m=16, ef_construct=128 and cosine, and search all queries at once.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

M, EF_CONSTRUCT, LIMIT = 16, 128, 10
RECALL = 0.95
EFS = [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
ROOT = pathlib.Path(__file__).resolve().parents[2]


def load(args):
    import numpy

    base = numpy.load(args.vectors).astype(numpy.float32)
    queries = numpy.load(args.queries).astype(numpy.float32)
    truth = numpy.load(args.truth)[:, :LIMIT]
    return base, queries, truth


def sweep(args, name, build_seconds, search, queries, truth):
    """Searches with each ef, three times, and reports the fastest: what else the machine does only slows down."""
    for ef in EFS:
        times = []
        for _ in range(3):
            started = time.perf_counter()
            found = search(queries, ef)
            times.append(time.perf_counter() - started)
        hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), truth.tolist()))
        recall = hits / truth.size
        row = {"system": name, "build_seconds": build_seconds, "ef": ef, "recall": recall, "qps": len(queries) / min(times)}
        print(json.dumps(row), flush=True)
        if recall >= 0.99:
            break


def run_hnswlib(args):
    import hnswlib

    base, queries, truth = load(args)
    index = hnswlib.Index(space="cosine", dim=base.shape[1])
    index.init_index(max_elements=len(base), M=M, ef_construction=EF_CONSTRUCT)
    started = time.perf_counter()
    index.add_items(base, num_threads=args.threads)
    seconds = time.perf_counter() - started

    def search(queries, ef):
        index.set_ef(ef)
        return index.knn_query(queries, k=LIMIT, num_threads=args.threads)[0]

    sweep(args, "hnswlib f32", seconds, search, queries, truth)


def run_usearch(args):
    import numpy
    from usearch.index import Index

    base, queries, truth = load(args)
    # Its int8 takes components from -1 to 1, which normalised vectors have.
    base /= numpy.linalg.norm(base, axis=1, keepdims=True)
    for dtype in ("f32", "f16", "i8"):
        index = Index(
            ndim=base.shape[1], metric="cos", dtype=dtype, connectivity=M, expansion_add=EF_CONSTRUCT, expansion_search=64
        )
        keys = numpy.arange(len(base))
        started = time.perf_counter()
        index.add(keys, base, threads=args.threads)
        seconds = time.perf_counter() - started

        def search(queries, ef):
            index.expansion_search = ef
            return index.search(queries, LIMIT, threads=args.threads).keys

        sweep(args, f"usearch {dtype}", seconds, search, queries, truth)


def run_vecstore(args):
    paths = {"BENCH_VECTORS": args.vectors, "BENCH_QUERIES": args.queries, "BENCH_TRUTH": args.truth}
    paths = {name: str(pathlib.Path(path).resolve()) for name, path in paths.items()}
    environment = os.environ | paths | {"BENCH_JSON": "1", "BENCH_THREADS": str(args.threads)}
    command = ["cargo", "bench", "--quiet", "-p", "benches", "--bench", "graph"]
    sys.exit(subprocess.run(command, cwd=ROOT, env=environment).returncode)


SYSTEMS = {"hnswlib": run_hnswlib, "usearch": run_usearch, "vecstore": run_vecstore}


def qps_at_recall(rows):
    """Queries a second at the wanted recall, between the two nearest settings; none if it is not reached."""
    rows = sorted(rows, key=lambda row: row["ef"])
    for low, high in zip(rows, rows[1:]):
        if low["recall"] < RECALL <= high["recall"]:
            part = (RECALL - low["recall"]) / (high["recall"] - low["recall"])
            return low["qps"] + part * (high["qps"] - low["qps"])
    if rows and rows[0]["recall"] >= RECALL:
        return rows[0]["qps"]
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("vectors", "queries", "truth"):
        parser.add_argument(f"--{name}", required=True, metavar="NPY")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=SYSTEMS, help="run one system once and print its rows as JSON")
    args = parser.parse_args()
    if args.only:
        return SYSTEMS[args.only](args)
    if args.rounds < 1:
        parser.error("--rounds must be at least 1")

    rounds = []
    for number in range(args.rounds):
        rows = {}
        for system in SYSTEMS:
            print(f"round {number + 1} of {args.rounds}: {system}", file=sys.stderr)
            command = [sys.executable, __file__, "--only", system, "--threads", str(args.threads)]
            command += ["--vectors", args.vectors, "--queries", args.queries, "--truth", args.truth]
            printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            for line in printed.splitlines():
                row = json.loads(line)
                rows.setdefault(row["system"], []).append(row)
        rounds.append(rows)

    peers = [name for name in rounds[0] if not name.startswith("vecstore")]
    print(f"| system | build s | ef at recall {RECALL} | q/s | (min..max) | of the faster peer | build, of the faster peer |")
    print("|---|---|---|---|---|---|---|")
    for name in rounds[0]:
        qps = [qps_at_recall(rows[name]) for rows in rounds]
        build = [rows[name][0]["build_seconds"] for rows in rounds]
        fastest = [max(q for q in (qps_at_recall(rows[peer]) for peer in peers) if q) for rows in rounds]
        built = [min(rows[peer][0]["build_seconds"] for peer in peers) for rows in rounds]
        builds = statistics.median(a / b for a, b in zip(build, built))
        head = f"| {name} | {statistics.median(build):.1f} "
        if any(q is None for q in qps):
            best = max(row["recall"] for row in rounds[0][name])
            print(f"{head}| - | - | recall stays below: {best:.3f} | - | {builds:.2f} |")
            continue
        ratios = statistics.median(a / b for a, b in zip(qps, fastest))
        ef = next(row["ef"] for row in rounds[0][name] if row["recall"] >= RECALL)
        spread = f"{min(qps):.0f}..{max(qps):.0f}"
        print(f"{head}| {ef} | {statistics.median(qps):.0f} | {spread} | {ratios:.2f} | {builds:.2f} |")


if __name__ == "__main__":
    main()
