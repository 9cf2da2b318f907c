"""Qdrant Edge: Qdrant's segments in one's own process."""

import qdrant_edge as qdrant

from . import LIMIT, in_threads

PACKAGE = "qdrant-edge-py"
WHAT = """m=16, ef_construct=128, one segment, no log; codes, graph and ids pinned, vectors and payload cold
(mapped, not populated). Codes: TurboQuant of 4 and of 2 bits, binary. One query a call from each thread; its
calls let go of the interpreter's lock."""
BITS = {"turbo4": qdrant.TurboQuantBitSize.Bits4, "turbo2": qdrant.TurboQuantBitSize.Bits2}
VARIANTS = ["turbo4", "turbo2", "binary"]


def settings(variant):
    oversampling = {
        "turbo4": [1.5, 2, 2.25, 2.5, 3, 4],
        "turbo2": [2, 3, 4, 6, 8],
        "binary": [4, 8, 16, 32],
    }
    return [{"ef": ef, "oversampling": times} for times in oversampling[variant] for ef in (32, 64, 128, 256)]


def config(dim, variant):
    pinned, cold = qdrant.Memory.Pinned, qdrant.Memory.Cold
    if variant == "binary":
        codes = qdrant.BinaryQuantizationConfig(memory=pinned)
    else:
        codes = qdrant.TurboQuantQuantizationConfig(bits=BITS[variant], memory=pinned)
    graph = qdrant.HnswIndexConfig(m=16, ef_construct=128, full_scan_threshold=10, memory=pinned)
    vectors = qdrant.EdgeVectorParams(size=dim, distance=qdrant.Distance.Cosine, memory=cold)
    # In KB: everything is merged into one segment and indexed.
    sizes = {"max_segment_size": 1 << 30, "indexing_threshold": 1000}
    optimizers = qdrant.EdgeOptimizersConfig(default_segment_number=1, **sizes)
    return qdrant.EdgeConfig(
        vectors=vectors,
        hnsw_config=graph,
        quantization_config=codes,
        optimizers=optimizers,
        payload_memory=cold,
        id_tracker_memory=pinned,
        wal_enabled=False,
    )


def build(vectors, folder, variant):
    folder.mkdir()
    shard = qdrant.EdgeShard.create(str(folder), config(vectors.shape[1], variant))
    for first in range(0, len(vectors), 1000):
        rows = vectors[first : first + 1000].tolist()
        points = [qdrant.Point(id, row) for id, row in enumerate(rows, first)]
        shard.update(qdrant.UpdateOperation.upsert_points(points))
    shard.optimize()
    shard.flush()
    shard.close()


def load(folder, variant, cap):
    return qdrant.EdgeShard.load(str(folder))


def search(shard, queries, setting, threads):
    quantization = qdrant.QuantizationSearchParams(rescore=True, oversampling=setting["oversampling"])
    params = qdrant.SearchParams(hnsw_ef=setting["ef"], quantization=quantization)

    def one(query):
        nearest = qdrant.Query.Nearest(query)
        found = shard.search(qdrant.SearchRequest(query=nearest, limit=LIMIT, params=params))
        return [point.id for point in found]

    return in_threads(one, queries.tolist(), threads)
