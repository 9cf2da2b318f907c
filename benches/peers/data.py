"""The vectors, queries and exact neighbours, the same for all systems."""

import numpy

SPREAD, CLUSTER_POINTS, BLOCK = 0.4, 500, 10_000


def clustered(folder, count, dim, queries, seed=11):
    """Clusters of normal shape, and queries from the same distribution.

    As `vecstore::dataset::Clustered`, of other random numbers.
    """
    random = numpy.random.default_rng(seed)
    centres = random.standard_normal((max(count // CLUSTER_POINTS, 1), dim), numpy.float32)

    def some(rows):
        chosen = centres[random.integers(len(centres), size=rows)]
        return chosen + SPREAD * random.standard_normal((rows, dim), numpy.float32)

    vectors = numpy.lib.format.open_memmap(folder / "vectors.npy", "w+", numpy.float32, (count, dim))
    for first in range(0, count, BLOCK):
        vectors[first : first + BLOCK] = some(len(vectors[first : first + BLOCK]))
    numpy.save(folder / "queries.npy", some(queries))


def nearest(vectors, queries, limit):
    """The ids of the most similar by cosine, exactly."""
    queries = queries / numpy.linalg.norm(queries, axis=1, keepdims=True)
    scores, ids = [], []
    for first in range(0, len(vectors), BLOCK):
        rows = vectors[first : first + BLOCK].astype(numpy.float32)
        found = queries @ (rows / numpy.linalg.norm(rows, axis=1, keepdims=True)).T
        if found.shape[1] > limit:
            best = numpy.argpartition(-found, limit, axis=1)[:, :limit]
        else:
            best = numpy.argsort(-found)
        scores.append(numpy.take_along_axis(found, best, 1))
        ids.append(best + first)
    scores, ids = numpy.hstack(scores), numpy.hstack(ids)
    return numpy.take_along_axis(ids, numpy.argsort(-scores, axis=1)[:, :limit], 1)
