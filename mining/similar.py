"""Scenes that are like a given one, by the cosine of their vectors: exact, over all scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lake import Lake
from mining.neighbours import nearest
from mining.vectors import vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A scene and how well it fits."""

    scene_id: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarReport:
    """The answer of ``mine similar``.

    Attributes:
        query: Scene that was asked about.
        model: Whose vectors were compared.
        results: Best first; the score is the cosine.
    """

    query: int
    model: str
    results: Sequence[Found]


def similar(
    lake: Lake,
    scene_id: int,
    *,
    k: int = 10,
    model: str | None = None,
    exclude_same_log: bool = False,
) -> SimilarReport:
    """The ``k`` scenes that are most like one; it is not among them.

    Args:
        lake: Where the vectors are.
        scene_id: What to look for the like of.
        k: How many at most.
        model: Whose vectors; those that most scenes have, if not given.
        exclude_same_log: Leave out the scene's own log, whose other scenes are like it for being
            of the same place and time.

    Raises:
        MissingData: The scene, or every scene, lacks a vector.
    """
    known = vectors(lake, model=model)
    row = known.row(scene_id)
    same = known.log_id == known.log_id[row] if exclude_same_log else known.scene_id == scene_id
    rest = np.flatnonzero(~same)
    best, score = nearest(known.unit[row], known.unit[rest], k=k)
    return SimilarReport(
        query=scene_id,
        model=known.model,
        results=[
            Found(scene_id=int(known.scene_id[rest[b]]), score=float(s))
            for b, s in zip(best, score, strict=True)
        ],
    )
