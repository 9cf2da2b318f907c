#!/usr/bin/env python3
"""Counts the reads of searches whose graph is on disk, with DiskANN and with vecstore.

It prints one table.

    pip install -r benches/peers/requirements.txt
    python3 benches/peers/reads.py --vectors base.npy --queries queries.npy --truth neighbours.npy

Counts do not depend on the machine, so one round is enough. A read is of one page of 4 KiB, and none of the
two caches pages. vecstore's figures are those of the bench `counts`. DiskANN's memory is its product codes.
They get as many bytes as vecstore takes with a linked graph. DiskANN has 64 links a node (with 32, two nodes
fill a page too), and 128 candidates when it builds. It reads one node at a time, and four, as its authors do.

BENCH_JSON=file gets the tables of that bench as JSON, and this one after them.
BENCH_QUANTIZATION=int8 chooses the codes of vecstore.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

LINKS, COMPLEXITY, LIMIT, RECALL = 64, 128, 10, 0.95
BEAMS = (1, 4)
# The library fails with other numbers of components. Zeros behind them change no distance.
ALIGNED = 8
COMPLEXITIES = [10, 16, 24, 32, 40, 48, 64, 80, 100, 128, 192, 256]
ROOT = pathlib.Path(__file__).resolve().parents[2]


def build(args, directory):
    """Builds DiskANN's index in a process of its own, which prints a lot. Returns the shape of the vectors,
    the memory in percent of them, and the bytes a vector on disk."""
    import numpy

    base = numpy.load(args.vectors, mmap_mode="r")
    # A chunk is a byte. There are no more of them than components.
    chunks = min(base.shape[1], max(1, round(args.memory / 100 * 4 * base.shape[1])))
    program = f"""
import diskannpy, numpy
base = numpy.load({args.vectors!r}).astype(numpy.float32)
base /= numpy.linalg.norm(base, axis=1, keepdims=True)
base = numpy.pad(base, ((0, 0), (0, -base.shape[1] % {ALIGNED})))
settings = dict(complexity={COMPLEXITY}, graph_degree={LINKS}, num_of_pq_chunks={chunks})
diskannpy.build_disk_index(base, "l2", {directory!r}, build_memory_maximum=8.0, num_threads=2, **settings)
"""
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    sizes = {file.name: file.stat().st_size / len(base) for file in pathlib.Path(directory).iterdir()}
    memory = sizes["ann_pq_compressed.bin"] + sizes["ann_pq_pivots.bin"]
    return base.shape, 100 * memory / (4 * base.shape[1]), memory + sizes["ann_disk.index"]


def sweep(args, directory, beam):
    """Recall and reads for each number of candidates, until the recall is reached."""
    import diskannpy
    import numpy

    queries = numpy.load(args.queries).astype(numpy.float32)
    queries /= numpy.linalg.norm(queries, axis=1, keepdims=True)
    queries = numpy.pad(queries, ((0, 0), (0, -queries.shape[1] % ALIGNED)))
    truth = numpy.load(args.truth)[:, :LIMIT].tolist()
    index = diskannpy.StaticDiskIndex(directory, 2, beam)
    points = []
    for complexity in COMPLEXITIES:
        found = index.batch_search(queries, LIMIT, complexity, 2)
        hits = sum(len(set(a) & set(b)) for a, b in zip(found.identifiers.tolist(), truth))
        points.append((hits / (LIMIT * len(truth)), found.search_stats["mean_ios"]))
        if points[-1][0] >= RECALL:
            break
    return points


def run_diskann(args):
    """A row for each beam, as a line of JSON after what the library prints."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as directory:
        shape, memory, disk = build(args, directory)
        rows = []
        for beam in BEAMS:
            points = sweep(args, directory, beam)
            rows.append([f"DiskANN, {beam} at once", memory, disk, at_recall(points)])
    print(json.dumps({"shape": shape, "rows": rows}))


def at_recall(points):
    """The reads at the recall, between the two nearest settings; a dash if it is not reached."""
    if points[-1][0] < RECALL:
        return "-"
    if len(points) == 1:
        return points[0][1]
    (low, least), (high, most) = points[-2:]
    return least + (RECALL - low) / (high - low) * (most - least)


def run_vecstore(args):
    """The tables of the bench."""
    paths = {"BENCH_VECTORS": args.vectors, "BENCH_QUERIES": args.queries, "BENCH_TRUTH": args.truth}
    paths = {name: str(pathlib.Path(path).resolve()) for name, path in paths.items()}
    with tempfile.NamedTemporaryFile() as file:
        environment = os.environ | paths | {"BENCH_JSON": file.name}
        command = ["cargo", "bench", "--quiet", "-p", "benches", "--bench", "counts"]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
        return json.loads(pathlib.Path(file.name).read_text())["tables"]


def shown(cell):
    return cell if isinstance(cell, str) else f"{cell:.3g}" if cell < 1000 else f"{cell:.0f}"


def main():
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    for name in ("vectors", "queries", "truth"):
        parser.add_argument(f"--{name}", required=True, metavar="NPY")
    parser.add_argument("--memory", type=float, metavar="PERCENT", help="of the vectors as f32, for DiskANN")
    parser.add_argument("--only", choices=["diskann"], help="run DiskANN and print its rows as JSON")
    args = parser.parse_args()
    if args.memory is not None and not 0 < args.memory <= 25:
        parser.error("--memory must be above 0 and at most 25: a byte a component")
    if args.only:
        args.memory = args.memory or 3
        return run_diskann(args)

    tables = run_vecstore(args)
    (summary,) = [table for table in tables if table["title"].startswith("Reads at recall")]
    (linked,) = [row for row in summary["rows"] if row[0] == "linked"]
    # The library prints its progress. The last line is ours.
    command = [sys.executable, __file__, "--only", "diskann", "--memory", str(args.memory or linked[1])]
    command += ["--vectors", args.vectors, "--queries", args.queries, "--truth", args.truth]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    made = json.loads(printed.splitlines()[-1])
    rows = [[f"vecstore {row[0]}", *row[1:]] for row in summary["rows"]] + made["rows"]
    least = min((row[3] for row in made["rows"] if row[3] != "-"), default=None)
    for row in rows:
        row.append(row[3] / least if least and row[3] != "-" else "-")
    data = pathlib.Path(args.vectors).name.split("-")[0]
    count, dim = made["shape"]
    columns = ["system", "memory, % of f32", "bytes a vector on disk", "reads", "reads over DiskANN"]
    title = f"Reads beside DiskANN, {data}, {count} x {dim}: at recall@10 of {RECALL}"
    notes = ["*reads over DiskANN*: over the fewer of its two rows."]
    print("| " + " | ".join(columns) + " |")
    print("|---" * len(columns) + "|")
    for row in rows:
        print("| " + " | ".join(map(shown, row)) + " |")
    if path := os.environ.get("BENCH_JSON"):
        table = {"title": title, "notes": notes, "columns": columns, "rows": rows, "plots": []}
        path = pathlib.Path(path)
        before = json.loads(path.read_text())["tables"] if path.exists() and path.stat().st_size else []
        path.write_text(json.dumps({"scenario": "counts", "tables": [*before, *tables, table]}))


if __name__ == "__main__":
    main()
