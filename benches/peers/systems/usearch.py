"""USearch: one file of graph and vectors, mapped."""

import numpy
from usearch.index import Index

from . import LIMIT

PACKAGE = "usearch"
WHAT = """connectivity=16, expansion_add=128, cosine; the saved index is not loaded but mapped (`view`),
which is its way to search what does not fit. Vectors of i8 and of f16; it has no codes beside vectors, and
so no rescoring. Its own batches and threads."""
VARIANTS = ["i8", "f16"]


def settings(variant):
    return [{"ef": ef} for ef in (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)]


def elements(vectors, variant):
    """The vectors as they are kept.

    A cosine ignores the scale, so each vector is scaled to the whole range of int8. The cast of usearch takes
    components of a unit vector, and would leave most of the 8 bits unused.
    """
    if variant == "i8":
        return numpy.rint(vectors * (127 / numpy.abs(vectors).max(axis=1, keepdims=True))).astype(numpy.int8)
    return vectors


def build(vectors, folder, variant):
    index = Index(ndim=vectors.shape[1], metric="cos", dtype=variant, connectivity=16, expansion_add=128)
    index.add(numpy.arange(len(vectors)), elements(vectors, variant))
    folder.mkdir()
    index.save(str(folder / "index.usearch"))


def load(folder, variant, cap):
    return Index.restore(str(folder / "index.usearch"), view=True)


def search(index, queries, setting, threads):
    index.expansion_search = setting["ef"]
    return index.search(elements(queries, index.dtype.name.lower()), LIMIT, threads=threads).keys.tolist()
