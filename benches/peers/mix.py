#!/usr/bin/env python3
"""Makes many vectors of few real ones, with queries and their exact neighbours.

    python3 benches/peers/mix.py --vectors base.npy --queries queries.npy --count 300000 --out folder

Each new vector lies between a real one and one of its nearest, at a random place. So the new ones lie where
real ones do, and are as many as wanted. Queries stay as they are. The same seed makes the same vectors.
"""

import argparse
import pathlib

import numpy
from data import BLOCK, nearest

# The neighbours that a vector is mixed with: those of a sample, which changes from block to block.
NEIGHBOURS, SAMPLE = 8, 4000
# The exact neighbours of a query that are kept.
LIMIT = 100


def mixed(base, count, random):
    """Blocks of new vectors, of length 1."""
    for first in range(0, count, BLOCK):
        rows = min(BLOCK, count - first)
        own = base[random.integers(len(base), size=rows)]
        sample = base[random.choice(len(base), size=min(SAMPLE, len(base)), replace=False)]
        # The first may be the vector itself.
        others = sample[nearest(sample, own, NEIGHBOURS + 1)[:, 1:]]
        other = others[numpy.arange(rows), random.integers(others.shape[1], size=rows)]
        part = random.uniform(0, 1, (rows, 1)).astype(numpy.float32)
        rows = own * (1 - part) + other * part
        yield rows / numpy.linalg.norm(rows, axis=1, keepdims=True)


def main():
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    for name in ("vectors", "queries"):
        parser.add_argument(f"--{name}", required=True, metavar="NPY")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    base = numpy.load(args.vectors).astype(numpy.float32)
    if len(base) <= NEIGHBOURS or args.count < 1:
        parser.error(f"--vectors needs more than {NEIGHBOURS} vectors, and --count at least 1")
    base /= numpy.linalg.norm(base, axis=1, keepdims=True)
    args.out.mkdir(parents=True, exist_ok=True)
    shape = (args.count, base.shape[1])
    vectors = numpy.lib.format.open_memmap(args.out / "vectors.npy", "w+", numpy.float16, shape)
    first = 0
    for rows in mixed(base, args.count, numpy.random.default_rng(args.seed)):
        vectors[first : first + len(rows)] = rows
        first += len(rows)
    queries = numpy.load(args.queries).astype(numpy.float32)
    numpy.save(args.out / "queries.npy", queries)
    numpy.save(args.out / "truth.npy", nearest(vectors, queries, LIMIT).astype(numpy.int32))


if __name__ == "__main__":
    main()
