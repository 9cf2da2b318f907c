"""vecstore: the release binary of this checkout."""

import os
import pathlib
import subprocess

PACKAGE = "vecstore"
WHAT = """m=16, ef_construct=128, one segment; codes, graph and ids pinned, vectors cold, past the page cache
but for mmap. Codes: rotated4, rotated2. Either all candidates are ranked by their vectors or, where `part`
is given, those that the codes leave undecided. As many queries under way at once as the peers have threads,
on as many cores as there are."""
BACKENDS = ["ring", "tokio-uring", "mmap"]
CODES = ["rotated4", "rotated2"]
VARIANTS = CODES
ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = pathlib.Path(os.environ.get("BENCH_PEER") or ROOT / "target/release/peer")


def settings(variant):
    oversampling = {"rotated4": [1, 1.2, 1.5, 2, 3], "rotated2": [2, 3, 4, 6, 8]}[variant]
    ranked = [{"oversampling": times} for times in oversampling]
    ranked += [{"oversampling": oversampling[-1], "part": part} for part in (0.1, 0.15, 0.2, 0.3, 0.5)]
    return [{"ef": ef} | ranking for ranking in ranked for ef in (32, 64, 128, 256)]


def build(vectors, folder, variant):
    subprocess.run([PROGRAM, "build", folder, vectors.filename, variant], check=True)


def command(folder, backend, queries):
    return [PROGRAM, "search", backend, folder, queries]
