"""The long tail: which scenes are unlike the rest, and which do what few do.

Two views, each a percentile among all scenes, 1 the rarest:

- *novelty*: the mean cosine distance of a scene's vector to its five nearest of other logs;
- *tag rarity*: Σ −log(share of logs that have the tag), over the three rarest tags of the scene.
  A scene is as rare as the rarest thing that happens in it, however many common things do too.

The two are joined by Fisher's method: −log p_n − log p_t, where p is the share of scenes that are at
least as novel, or have tags as rare. So a scene that is extreme in one view is rare, and one that is
unusual in both more so; its rarity is the percentile of the sum. Of a scene that nobody looked
through for the tags that the others have (:mod:`mining.looked`), and where no scene has a tag yet, it
is its novelty alone. Neighbours of the same log never count, and shares are of logs: what a log does
throughout is one observation, however many scenes it is cut into.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from lake import Lake
from mining.facets import facets
from mining.neighbours import mean_distance, percentile
from mining.vectors import Vectors, vectors

NEIGHBOURS = 5
RAREST_TAGS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RareScene:
    """A scene of the long tail.

    Attributes:
        scene_id: Which.
        rarity: In (0, 1], 1 the rarest.
        novelty: Percentile of how unlike its vector is to others.
        tag_rarity: Percentile of how rare its tags are, among scenes that were looked through; None
            of one that was not.
        tags: Its rarest tags, rarest first.
    """

    scene_id: int
    rarity: float
    novelty: float
    tag_rarity: float | None
    tags: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RareReport:
    """The answer of ``mine rare``.

    Attributes:
        model: Whose vectors were compared.
        scenes: Among how many.
        untagged: How many of them nobody looked through for all the tags.
        results: Rarest first.
    """

    model: str
    scenes: int
    untagged: int
    results: Sequence[RareScene]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rarity:
    """How rare every scene is.

    Attributes:
        rarity: In (0, 1], 1 the rarest.
        novelty: Percentile of how unlike its vector is to others.
        tag_rarity: Percentile of how rare its tags are, among scenes that were looked through.
        tagged: Whether it was looked through for the tags; if not, its tag rarity means nothing.
        tags: The rarest tags of each scene, rarest first.
    """

    rarity: Float[Array, " scenes"]
    novelty: Float[Array, " scenes"]
    tag_rarity: Float[Array, " scenes"]
    tagged: Bool[Array, " scenes"]
    tags: Sequence[Sequence[str]]


def rare(lake: Lake, *, k: int = 20, model: str | None = None) -> RareReport:
    """The ``k`` rarest logged scenes that have a vector.

    Args:
        lake: Where vectors and tags are.
        k: How many at most.
        model: Whose vectors; those that most scenes have, if not given.

    Raises:
        MissingData: No scene has a vector.
    """
    known = vectors(lake, model=model, source="log")
    found = score(lake, known)
    order = np.lexsort((known.scene_id, -found.rarity))[:k]
    return RareReport(
        model=known.model,
        scenes=len(known.scene_id),
        untagged=int((~found.tagged).sum()),
        results=[
            RareScene(
                scene_id=int(known.scene_id[i]),
                rarity=float(found.rarity[i]),
                novelty=float(found.novelty[i]),
                tag_rarity=float(found.tag_rarity[i]) if found.tagged[i] else None,
                tags=found.tags[i],
            )
            for i in order.tolist()
        ],
    )


def score(lake: Lake, known: Vectors) -> Rarity:
    """How rare each of the scenes is among them."""
    said = facets(lake, known.scene_id)
    tags = tuple(name for name, tag in zip(said.names, said.is_tag, strict=True) if tag)
    return combine(
        mean_distance(known.unit, k=NEIGHBOURS, group=known.log_id),
        said.has[:, said.is_tag],
        group=known.log_id,
        names=tags,
        tagged=said.tagged,
    )


def combine(
    distance: Float[Array, " scenes"],
    has_tag: Bool[Array, "scenes tags"],
    *,
    group: Int[Array, " scenes"],
    names: Sequence[str],
    tagged: Bool[Array, " scenes"] | None = None,
) -> Rarity:
    """Rarity from how far the neighbours are and which tags a scene has.

    Args:
        distance: Mean distance of each scene to its nearest neighbours.
        has_tag: Whether the scene has the tag.
        group: Log of each scene.
        names: Of the tags.
        tagged: Whether the scene was looked through for the tags; all were by default.
    """
    novelty = percentile(distance)
    if tagged is None:
        tagged = np.ones(len(distance), dtype=bool)
    weight = information(has_tag[tagged], group[tagged])
    each = np.where(has_tag, weight, 0.0)
    top = -np.sort(-each, axis=1)[:, :RAREST_TAGS].sum(axis=1)
    if not has_tag.any():
        no_tags: list[tuple[str, ...]] = [()] * len(distance)
        none = np.zeros(len(distance))
        return Rarity(
            rarity=novelty, novelty=novelty, tag_rarity=none, tagged=tagged, tags=no_tags
        )
    tag_rarity, rarity = np.zeros(len(distance)), novelty.copy()
    tag_rarity[tagged] = percentile(top[tagged])
    joined = _surprisal(percentile(distance[tagged])) + _surprisal(tag_rarity[tagged])
    rarity[tagged] = percentile(joined)
    order = np.argsort(-each, axis=1, kind="stable")[:, :RAREST_TAGS]
    return Rarity(
        rarity=rarity,
        novelty=novelty,
        tag_rarity=tag_rarity,
        tagged=tagged,
        tags=[
            tuple(names[j] for j in row if each[i, j] > 0.0)
            for i, row in enumerate(order.tolist())
        ],
    )


def information(
    has_tag: Bool[Array, "scenes tags"], group: Int[Array, " scenes"]
) -> Float[Array, " tags"]:
    """−log of the share of logs that have each tag: 0 for what all do."""
    _, log = np.unique(group, return_inverse=True)
    logs = int(log.max(initial=-1)) + 1
    had = np.zeros((logs, has_tag.shape[1]), dtype=bool)
    np.logical_or.at(had, log, has_tag)
    return np.asarray(-np.log(np.maximum(had.sum(axis=0), 1) / max(logs, 1)))


def _surprisal(percentiles: Float[Array, " scenes"]) -> Float[Array, " scenes"]:
    """−log of the share of scenes that are at least so rare [nat]."""
    return np.asarray(-np.log(1.0 - percentiles + 1.0 / max(len(percentiles), 1)))
