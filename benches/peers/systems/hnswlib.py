"""hnswlib: graph and vectors in memory."""

import hnswlib

from . import LIMIT

PACKAGE = "hnswlib"
WHAT = """M=16, ef_construction=128, cosine. It holds f32 vectors and graph in memory and has no form on disk
to search, so it needs more memory than the data."""
VARIANTS = ["f32"]


def settings(variant):
    return [{"ef": ef} for ef in (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)]


def build(vectors, folder, variant):
    index = hnswlib.Index(space="cosine", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=16, ef_construction=128)
    index.add_items(vectors)
    folder.mkdir()
    index.save_index(str(folder / "index.hnswlib"))
    (folder / "dim").write_text(str(vectors.shape[1]))


def load(folder, variant, cap):
    index = hnswlib.Index(space="cosine", dim=int((folder / "dim").read_text()))
    index.load_index(str(folder / "index.hnswlib"))
    return index


def search(index, queries, setting, threads):
    index.set_ef(setting["ef"])
    return index.knn_query(queries, k=LIMIT, num_threads=threads)[0].tolist()
