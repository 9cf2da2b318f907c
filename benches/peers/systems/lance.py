"""LanceDB: columns on disk, indexes with partitions."""

import lancedb
import pyarrow

from . import LIMIT, in_threads

PACKAGE = "lancedb"
WHAT = """Cosine, target partitions of its default size. IVF_PQ (dim/8 sub-vectors) and IVF_RQ (RaBitQ, 4
bits), refined with the vectors of the table; only ids are selected. (IVF_HNSW_SQ has int8 codes, which take
all of the cap.) An index cache of half of the cap, so that it stays below. One query a call from each
thread; it reads with threads of its own."""
VARIANTS = ["ivf_pq", "ivf_rq"]


def settings(variant):
    refine = {"ivf_pq": [8, 16, 32, 64], "ivf_rq": [2, 3, 4, 6, 8, 16]}[variant]
    return [{"nprobes": probes, "refine": times} for times in refine for probes in (1, 2, 4, 8, 16, 32)]


def build(vectors, folder, variant):
    dim = vectors.shape[1]
    type = pyarrow.list_(pyarrow.float32(), dim)

    def batches():
        for first in range(0, len(vectors), 10_000):
            rows = vectors[first : first + 10_000]
            column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.reshape(-1)), dim)
            ids = pyarrow.array(range(first, first + len(rows)), pyarrow.uint64())
            yield pyarrow.RecordBatch.from_arrays([ids, column], ["id", "vector"])

    schema = pyarrow.schema([("id", pyarrow.uint64()), ("vector", type)])
    table = lancedb.connect(folder).create_table("vectors", batches(), schema=schema)
    options = {"ivf_pq": {"num_sub_vectors": dim // 8}, "ivf_rq": {"num_bits": 4}}[variant]
    table.create_index("cosine", index_type=variant.upper(), **options)


def load(folder, variant, cap):
    session = lancedb.Session(index_cache_size_bytes=cap // 2, metadata_cache_size_bytes=16 << 20)
    return lancedb.connect(folder, session=session).open_table("vectors")


def search(table, queries, setting, threads):
    def one(query):
        found = table.search(query, vector_column_name="vector").distance_type("cosine")
        found = found.limit(LIMIT).select(["id", "_distance"])
        found = found.nprobes(setting["nprobes"]).refine_factor(setting["refine"])
        return found.to_arrow()["id"].to_pylist()

    return in_threads(one, queries, threads)
