"""Patterns in the lake, coarse and fine: spherical k-means over the scenes' vectors, in words.

How many clusters: about √n / 2 coarse and 2√n fine, for n scenes. Each is described by the facets
(tags, road type, conditions) that set it apart: of those that at least half of its scenes have, or
a third if none do, the ones whose share exceeds the share among all scenes most, by the
Kullback-Leibler weight p log(p / q).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from geometry.arrays import Array
from lake import Lake
from mining.facets import Facets, facets
from mining.rare import score
from mining.vectors import vectors
from schemas.tables import CLUSTERS

LEVELS = ("coarse", "fine")
WORDS = 3  # facets of a description
OUTSTANDING = 1.25  # share in the cluster over share of all, from which a facet sets it apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Scenes that are alike.

    Attributes:
        cluster_id: Level and number, such as ``0-12``; larger clusters have smaller numbers.
        size: How many scenes.
        description: What sets it apart, in words.
        example: Scene nearest to the centre.
    """

    cluster_id: str
    size: int
    description: str
    example: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """All clusters of one granularity, largest first."""

    clusters: Sequence[Cluster]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterReport:
    """The answer of ``mine cluster``.

    Attributes:
        model: Whose vectors were clustered.
        scenes: How many scenes.
        levels: Coarse, then fine.
    """

    model: str
    scenes: int
    levels: Sequence[Level]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Partition:
    """Vectors in groups.

    Attributes:
        label: Of each vector, from 0; larger groups first.
        distance: From the centre of its group, cosine.
    """

    label: Int[Array, " scenes"]
    distance: Float[Array, " scenes"]


def cluster(lake: Lake, *, model: str | None = None, seed: int = 0) -> ClusterReport:
    """Cluster all scenes that have a vector, and fill ``clusters`` anew.

    Args:
        lake: Where the vectors are.
        model: Whose; those that most scenes have, if not given.
        seed: Of the first centres.

    Raises:
        MissingData: No scene has a vector.
    """
    known = vectors(lake, model=model)
    said = facets(lake, known.scene_id)
    rarity = score(lake, known).rarity
    levels, rows = [], []
    with lake.run("mine cluster", params={"seed": seed}, seed=seed, model=known.model) as run:
        for level, count in enumerate(counts(len(known.scene_id))):
            found = partition(known.unit, count, seed=seed)
            clusters = _clusters(level, found, said, known.scene_id)
            levels.append(Level(clusters=clusters))
            rows.append(_rows(level, found, clusters, known.scene_id, rarity, run.id))
        lake.replace("clusters", pa.concat_tables(rows), where="level >= 0")
        run.summary.update(
            scenes=len(known.scene_id), clusters=[len(level.clusters) for level in levels]
        )
    return ClusterReport(model=known.model, scenes=len(known.scene_id), levels=levels)


def counts(scenes: int) -> tuple[int, int]:
    """How many coarse and how many fine clusters for so many scenes."""
    coarse = int(np.clip(round(np.sqrt(scenes) / 2), 1, 24))
    fine = int(np.clip(round(np.sqrt(scenes) * 2), coarse, 400))
    return min(coarse, scenes), min(fine, max(scenes // 2, 1))


def partition(unit: Float[Array, "scenes width"], count: int, *, seed: int = 0) -> Partition:
    """Spherical k-means: unit vectors round unit centres.

    Args:
        unit: Unit vectors.
        count: How many groups; fewer come back where vectors coincide.
        seed: Of the first centres.
    """
    from sklearn.cluster import KMeans

    count = min(count, len(np.unique(unit, axis=0)))
    fit = KMeans(n_clusters=count, n_init=4, random_state=seed).fit(unit)
    _, number = np.unique(fit.labels_, return_inverse=True)
    sizes = np.bincount(number)
    rank = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
    label = rank[number]
    centre = np.stack([unit[label == k].sum(axis=0) for k in range(len(sizes))])
    centre /= np.maximum(np.linalg.norm(centre, axis=1, keepdims=True), 1e-12)
    distance = np.maximum(1.0 - (unit * centre[label]).sum(axis=1), 0.0)
    return Partition(label=label.astype(np.int64), distance=distance)


def describe(said: Facets, inside: Array) -> str:
    """What sets some of the scenes apart from all, in words.

    Args:
        said: Facets of all scenes.
        inside: Whether each scene is among them.
    """
    if not said.names:
        return "no tags yet"
    share, usual = said.has[inside].mean(axis=0), said.has.mean(axis=0)
    lift = share / np.maximum(usual, 1e-12)
    weight = share * np.log(np.maximum(lift, 1e-12))
    for least in (0.5, 1 / 3):
        apart = np.flatnonzero((share >= least) & (lift >= OUTSTANDING))
        if len(apart):
            chosen = apart[np.argsort(-weight[apart], kind="stable")][:WORDS]
            return ", ".join(
                f"{said.names[i]} ({share[i]:.0%}, {lift[i]:.1f}× usual)" for i in chosen
            )
    common = np.argsort(-share, kind="stable")[:WORDS]
    words = ", ".join(f"{said.names[i]} ({share[i]:.0%})" for i in common if share[i] >= 0.5)
    return f"ordinary: {words}" if words else "mixed"


def _clusters(
    level: int, found: Partition, said: Facets, scene_id: Int[Array, " scenes"]
) -> list[Cluster]:
    clusters = []
    for number in range(int(found.label.max(initial=-1)) + 1):
        inside = found.label == number
        rows = np.flatnonzero(inside)
        clusters.append(
            Cluster(
                cluster_id=f"{level}-{number}",
                size=len(rows),
                description=describe(said, inside),
                example=int(scene_id[rows[found.distance[rows].argmin()]]),
            )
        )
    return clusters


def _rows(
    level: int,
    found: Partition,
    clusters: Sequence[Cluster],
    scene_id: Array,
    rarity: Array,
    run_id: int,
) -> pa.Table:
    mine = [clusters[k] for k in found.label]
    return pa.Table.from_pydict(
        {
            "scene_id": scene_id,
            "level": [level] * len(mine),
            "cluster_id": [c.cluster_id for c in mine],
            "size": [c.size for c in mine],
            "description": [c.description for c in mine],
            "distance": found.distance.astype(np.float32),
            "is_example": [c.example == int(s) for c, s in zip(mine, scene_id, strict=True)],
            "rarity": rarity.astype(np.float32),
            "run_id": [run_id] * len(mine),
        },
        schema=CLUSTERS.schema,
    )
