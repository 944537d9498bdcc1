"""Nearest neighbours among scenes' vectors, exactly: cosine, one matrix product at a time."""

import numpy as np
from jaxtyping import Float, Int

from geometry.arrays import Array

BLOCK = 2048  # rows of the product that are in memory at once


def nearest(
    query: Float[Array, " width"], unit: Float[Array, "scenes width"], *, k: int
) -> tuple[Int[Array, " found"], Float[Array, " found"]]:
    """Indices of the ``k`` most similar unit vectors and their cosines, best first."""
    score = unit @ query
    k = min(k, len(score))
    best = np.argpartition(-score, k - 1)[:k] if k else np.zeros(0, dtype=np.int64)
    best = best[np.lexsort((best, -score[best]))]
    return best, score[best]


def mean_distance(
    unit: Float[Array, "scenes width"],
    *,
    k: int,
    group: Int[Array, " scenes"],
    among: Float[Array, "others width"] | None = None,
    among_group: Int[Array, " others"] | None = None,
) -> Float[Array, " scenes"]:
    """Mean cosine distance of each vector to its ``k`` nearest of other groups.

    Vectors of the same group (the same log) do not count: a log is always like itself. Where
    there are fewer than ``k`` others, the mean is over those; where there are none, it is 0, for
    nothing is known to be unlike.

    Args:
        unit: Unit vectors.
        k: How many neighbours.
        group: Of each vector.
        among: Unit vectors that are the neighbours; the same ones if not given.
        among_group: Their groups.
    """
    others = unit if among is None else among
    other_group = group if among_group is None else among_group
    distance = np.zeros(len(unit))
    for begin in range(0, len(unit), BLOCK):
        rows = slice(begin, begin + BLOCK)
        score = np.where(group[rows, None] == other_group[None], -np.inf, unit[rows] @ others.T)
        top = -np.partition(-score, min(k, score.shape[1]) - 1, axis=1)[:, :k]
        found = np.isfinite(top)
        total = np.where(found, 1.0 - np.where(found, top, 0.0), 0.0).sum(axis=1)
        distance[rows] = total / np.maximum(found.sum(axis=1), 1)
    return np.maximum(distance, 0.0)


def percentile(value: Float[Array, " many"]) -> Float[Array, " many"]:
    """Share of values that are no greater, ties sharing their mean rank: in (0, 1], 1 greatest."""
    _, place, count = np.unique(value, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2
    return np.asarray(rank[place] / max(len(value), 1))
