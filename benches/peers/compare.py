#!/usr/bin/env python3
"""Builds and searches the same vectors with vecstore and its peers, in turn.

It prints one table.

    pip install -r benches/peers/requirements.txt
    python3 benches/peers/compare.py --vectors base.npy --queries queries.npy --truth neighbours.npy

Each round runs every system once, in a process of its own. So a machine whose speed drifts treats all alike.
Figures are medians over the rounds. Ratios are against the best peer of the same round. CPU time is that of
all threads. Unlike the clock, it does not count what else the machine does.

All hold everything in memory, use m=16, ef_construct=128 and cosine, and search all queries at once.
vecstore's time to build includes writing its files. Its bytes a vector are codes and graph. Those of hnswlib
and SymphonyQG are the saved index, and those of usearch what it says it uses: all include the vectors.
SymphonyQG has 32 links a node, as the lowest level of the others, and ef_construct=200, as its authors do.
ScaNN has no graph. It has as many leaves as the root of the points, times two and a half, and ranks the best
100 by their vectors. Its ef is the number of leaves that it searches.
"rabitqlib IVF" has cells of 100 points by k-means of FAISS, 9 bits a component, and no vectors. Its ef is the
number of cells. zvec takes one query a call, so threads of Python call it. Its bytes a vector are its files.

BENCH_JSON=file gets the table as JSON, after those that the file has.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

M, EF_CONSTRUCT, LIMIT = 16, 128, 10
# The points of a cell, and bits of a component.
IVF_CELL, IVF_BITS = 100, 9
# What zvec takes in one call.
ZVEC_BATCH = 1000
RECALLS = (0.95, 0.99)
EFS = [12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
ROOT = pathlib.Path(__file__).resolve().parents[2]


def load(args):
    import numpy

    base = numpy.load(args.vectors).astype(numpy.float32)
    queries = numpy.load(args.queries).astype(numpy.float32)
    truth = numpy.load(args.truth)[:, :LIMIT]
    return base, queries, truth


def normalised(vectors):
    """At length 1. Between such vectors, the Euclidean distance ranks as the cosine does."""
    import numpy

    return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


def saved_bytes(save):
    """The size of what `save(path)` writes as one file."""
    with tempfile.NamedTemporaryFile() as file:
        save(file.name)
        return os.path.getsize(file.name)


def bytes_below(directory):
    files = (file for file in pathlib.Path(directory).rglob("*") if file.is_file())
    return sum(os.path.getsize(file) for file in files)


def timed(work):
    """What it returns, seconds, and CPU seconds of all threads."""
    started, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - started, time.process_time() - cpu


def sweep(args, name, build, bytes_a_vector, search, queries, truth):
    """Searches with each ef, and reports the fastest of three runs: other work only slows a run down."""
    for ef in EFS:
        runs = [timed(lambda: search(queries, ef)) for _ in range(3)]
        found = runs[0][0]
        hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), truth.tolist()))
        recall = hits / truth.size
        row = {"system": name, "build_seconds": build[1], "build_cpu_seconds": build[2]}
        row |= {"ef": ef, "recall": recall, "bytes": bytes_a_vector}
        row["qps"] = len(queries) / min(run[1] for run in runs)
        row["cpu_us"] = min(run[2] for run in runs) / len(queries) * 1e6
        print(json.dumps(row), flush=True)
        if recall >= RECALLS[-1]:
            break


def run_hnswlib(args):
    import hnswlib

    base, queries, truth = load(args)
    index = hnswlib.Index(space="cosine", dim=base.shape[1])
    index.init_index(max_elements=len(base), M=M, ef_construction=EF_CONSTRUCT)
    build = timed(lambda: index.add_items(base, num_threads=args.threads))

    def search(queries, ef):
        index.set_ef(ef)
        return index.knn_query(queries, k=LIMIT, num_threads=args.threads)[0]

    size = saved_bytes(index.save_index) / len(base)
    sweep(args, "hnswlib f32", build, size, search, queries, truth)


def run_usearch(args):
    import numpy
    from usearch.index import Index

    base, queries, truth = load(args)
    # Its int8 takes components from -1 to 1, which normalised vectors have.
    base = normalised(base)
    for dtype in ("f32", "f16", "i8"):
        index = Index(
            ndim=base.shape[1],
            metric="cos",
            dtype=dtype,
            connectivity=M,
            expansion_add=EF_CONSTRUCT,
            expansion_search=64,
        )
        keys = numpy.arange(len(base))
        build = timed(lambda: index.add(keys, base, threads=args.threads))

        def search(queries, ef):
            index.expansion_search = ef
            return index.search(queries, LIMIT, threads=args.threads).keys

        sweep(args, f"usearch {dtype}", build, index.memory_usage / len(base), search, queries, truth)


def run_symphonyqg(args):
    from rabitqlib import SymqgIndex

    base, queries, truth = load(args)
    base, queries = normalised(base), normalised(queries)
    index = SymqgIndex(base.shape[1], 2 * M, "l2")
    build = timed(lambda: index.build(base, 200, args.threads))

    def search(queries, ef):
        return index.search(queries, LIMIT, ef, args.threads)[0]

    size = saved_bytes(index.save) / len(base)
    sweep(args, "SymphonyQG", build, size, search, queries, truth)


def run_scann(args):
    import scann

    base, queries, truth = load(args)
    base, queries = normalised(base), normalised(queries)
    leaves = int(2.5 * len(base) ** 0.5)

    def make():
        builder = scann.scann_ops_pybind.builder(base, LIMIT, "dot_product")
        builder = builder.set_n_training_threads(args.threads)
        tree = builder.tree(leaves, leaves // 10, training_sample_size=len(base))
        hashed = tree.score_ah(2, anisotropic_quantization_threshold=0.2)
        return hashed.reorder(100).build()

    build = timed(make)
    index = build[0]
    index.set_num_threads(args.threads)

    def search(queries, ef):
        return index.search_batched_parallel(queries, leaves_to_search=min(ef, leaves))[0]

    with tempfile.TemporaryDirectory() as directory:
        index.serialize(directory)
        size = bytes_below(directory) / len(base)
    sweep(args, "ScaNN", build, size, search, queries, truth)


def run_ivf(args):
    import faiss
    import numpy
    import rabitqlib

    base, queries, truth = load(args)
    base, queries = normalised(base), normalised(queries)
    cells = len(base) // IVF_CELL
    faiss.omp_set_num_threads(args.threads)

    def make():
        kmeans = faiss.Kmeans(base.shape[1], cells, niter=10, spherical=True)
        kmeans.train(base)
        nearest = kmeans.index.search(base, 1)[1].ravel().astype(numpy.uint32)
        index = rabitqlib.IvfIndex(base.shape[1], len(base), cells, IVF_BITS, "l2")
        index.build(base, kmeans.centroids, nearest, args.threads, fast_quantization=True)
        return index

    build = timed(make)
    index = build[0]

    def search(queries, ef):
        return index.search(queries, LIMIT, min(ef, cells), num_threads=args.threads)[0]

    size = saved_bytes(index.save) / len(base)
    sweep(args, "rabitqlib IVF", build, size, search, queries, truth)


def run_zvec(args):
    import numpy
    import zvec

    base, queries, truth = load(args)
    zvec.init(log_level=zvec.LogLevel.ERROR, query_threads=args.threads, optimize_threads=args.threads)
    parameters = zvec.HnswIndexParam(zvec.MetricType.COSINE, M, EF_CONSTRUCT)
    dim = base.shape[1]
    vector = zvec.VectorSchema("v", zvec.DataType.VECTOR_FP32, dimension=dim, index_param=parameters)
    schema = zvec.CollectionSchema("compared", vectors=vector)

    with tempfile.TemporaryDirectory() as directory:

        def make():
            index = zvec.create_and_open(directory + "/index", schema)
            for first in range(0, len(base), ZVEC_BATCH):
                rows = enumerate(base[first : first + ZVEC_BATCH], first)
                index.insert([zvec.Doc(id=str(number), vectors={"v": row}) for number, row in rows])
            index.optimize()
            index.flush()
            return index

        build = timed(make)
        index = build[0]

        def one(query, ef):
            wanted = zvec.Query("v", vector=query, param=zvec.HnswQueryParam(ef))
            return [int(found.id) for found in index.query(wanted, topk=LIMIT)]

        def search(queries, ef):
            with concurrent.futures.ThreadPoolExecutor(args.threads) as threads:
                return numpy.array(list(threads.map(lambda query: one(query, ef), queries)))

        size = bytes_below(directory) / len(base)
        sweep(args, "zvec", build, size, search, queries, truth)


def run_vecstore(args):
    paths = {"BENCH_VECTORS": args.vectors, "BENCH_QUERIES": args.queries, "BENCH_TRUTH": args.truth}
    paths = {name: str(pathlib.Path(path).resolve()) for name, path in paths.items()}
    environment = os.environ | paths | {"BENCH_LINES": "1", "BENCH_THREADS": str(args.threads)}
    command = ["cargo", "bench", "--quiet", "-p", "benches", "--bench", "graph"]
    sys.exit(subprocess.run(command, cwd=ROOT, env=environment).returncode)


SYSTEMS = {
    "hnswlib": run_hnswlib,
    "usearch": run_usearch,
    "symphonyqg": run_symphonyqg,
    "scann": run_scann,
    "ivf": run_ivf,
    "zvec": run_zvec,
    "vecstore": run_vecstore,
}


def at_recall(rows, figure, recall):
    """A figure at a recall, between the two nearest settings; none if it is not reached."""
    rows = sorted(rows, key=lambda row: row["ef"])
    for low, high in zip(rows, rows[1:]):
        if low["recall"] < recall <= high["recall"]:
            part = (recall - low["recall"]) / (high["recall"] - low["recall"])
            return low[figure] + part * (high[figure] - low[figure])
    return rows[0][figure] if rows and rows[0]["recall"] >= recall else None


def spread(values):
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def table(rounds, data):
    """As the benches write theirs, of which `report record` keeps one."""
    peers = [name for name in rounds[0] if not name.startswith("vecstore")]
    columns = ["system", "bytes a vector", "build s", "build s, ratio", "build CPU s", "build CPU s, ratio"]
    for recall in RECALLS:
        figures = ["ef", "q/s", "q/s, ratio", "CPU us a query", "CPU us a query, ratio"]
        columns += [f"{name}, recall {recall}" for name in figures]
    table_rows = []
    for name in rounds[0]:
        first = [rows[name][0] for rows in rounds]
        cells = [name, first[0]["bytes"]]
        for figure in ("build_seconds", "build_cpu_seconds"):
            least = [min(rows[peer][0][figure] for peer in peers) for rows in rounds]
            cells.append(spread([row[figure] for row in first]))
            cells.append(spread([row[figure] / best for row, best in zip(first, least)]))
        for recall in RECALLS:
            cells += cells_at(recall, name, rounds, peers)
        table_rows.append(cells)
    notes = [f"Rounds: {len(rounds)}. *ratio*: to the best peer of the same round."]
    rate = f"q/s, recall {RECALLS[0]}"
    plots = [{"x": "system", "y": rate, "series": "system", "pictures": [], "log": False}]
    title = "Graph beside peers, {}: figures at recall@10 of {} and {}".format(data, *RECALLS)
    return {"title": title, "notes": notes, "columns": columns, "rows": table_rows, "plots": plots}


def cells_at(recall, name, rounds, peers):
    """The ef, the queries a second and the CPU time of a system at a recall."""
    cells = []
    for figure, best_of in (("qps", max), ("cpu_us", min)):
        figures = [at_recall(rows[name], figure, recall) for rows in rounds]
        if None in figures:
            best = max(row["recall"] for row in rounds[0][name])
            cells += [f"recall stays below {best:.3f}"] if figure == "qps" else []
            cells += ["-", "-"]
            continue
        if figure == "qps":
            cells.append(next(row["ef"] for row in rounds[0][name] if row["recall"] >= recall))
        reached = [[at_recall(rows[peer], figure, recall) for peer in peers] for rows in rounds]
        best = [best_of((value for value in others if value), default=None) for others in reached]
        ratios = [own / value for own, value in zip(figures, best) if value]
        cells += [spread(figures), spread(ratios) if len(ratios) == len(figures) else "-"]
    return cells


def shown(cell):
    def number(x):
        return f"{x:.0f}" if x >= 100 else f"{x:.3g}"

    if isinstance(cell, dict):
        return f"{number(cell['median'])} ({number(cell['min'])}..{number(cell['max'])})"
    return cell if isinstance(cell, str) else number(cell)


def print_table(rounds, data):
    made = table(rounds, data)
    print("| " + " | ".join(made["columns"]) + " |")
    print("|---" * len(made["columns"]) + "|")
    for row in made["rows"]:
        print("| " + " | ".join(map(shown, row)) + " |")
    if path := os.environ.get("BENCH_JSON"):
        path = pathlib.Path(path)
        before = json.loads(path.read_text())["tables"] if path.exists() and path.stat().st_size else []
        path.write_text(json.dumps({"scenario": "graph_peers", "tables": [*before, made]}))


def main():
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
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

    base, _, _ = load(args)
    data = pathlib.Path(args.vectors).name.split("-")[0]
    print_table(rounds, f"{data}, {len(base)} x {base.shape[1]}")


if __name__ == "__main__":
    main()
