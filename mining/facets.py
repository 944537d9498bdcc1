"""What can be said of a scene in words: its tags, road type, weather and daylight.

A facet is a short phrase; a scene has it or not. Tags are events that a rule found true anywhere
in the scene; what is unknown is not had, and what holds in nearly every scene is not said. Which
scenes were looked through for all the tags that are said of any stands beside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from geometry.arrays import Array
from lake import Lake
from mining.looked import looked
from mining.predicates import PREDICATES
from mining.query.rules import meanings, rules_of

CONDITIONS = ("road_type", "weather", "daylight")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facets:
    """Which scene has which facet.

    Attributes:
        names: Phrases, such as ``hard brake`` or ``night``.
        is_tag: Whether the facet is a tag, and not a condition of the place or time.
        has: Whether the scene has it.
        tagged: Whether the scene was looked through for all these tags; what it was not looked
            through for, it is not said to have.
    """

    names: tuple[str, ...]
    is_tag: Bool[Array, " facets"]
    has: Bool[Array, "scenes facets"]
    tagged: Bool[Array, " scenes"]


def facets(lake: Lake, scene_id: Int[Array, " scenes"]) -> Facets:
    """Facets of the given scenes, in their order."""
    row = {int(scene): i for i, scene in enumerate(scene_id)}
    had: dict[tuple[str, bool], set[int]] = {}
    tags = lake.sql(
        "select distinct scene_id, name from events "
        "where truth = 'true' and source = 'rule' and scene_id is not null"
    )
    rules = rules_of(lake)
    said = set(tags["name"].unique().to_pylist())
    names = [n for n in (*PREDICATES, *rules) if n in said]
    names = [n for n in names if n not in PREDICATES or not PREDICATES[n].ordinary]
    seen = looked(lake, meanings(names, rules))
    for scene, name in zip(tags["scene_id"].to_pylist(), tags["name"].to_pylist(), strict=True):
        if name in seen.where and scene in seen.scenes[name]:
            had.setdefault((_phrase(name), True), set()).add(scene)
    # What nobody looked for as it is meant now is said of no scene, and tells none apart.
    wanted = [seen.scenes[name] for name in names if name not in seen.never]
    whole = seen.everywhere.intersection(*wanted)
    scenes = lake.read("scenes", columns=["scene_id", *CONDITIONS])
    for column in CONDITIONS:
        for scene, value in zip(
            scenes["scene_id"].to_pylist(), scenes[column].to_pylist(), strict=True
        ):
            if value is not None and value != "unknown":
                had.setdefault((_phrase(value), False), set()).add(scene)
    keys = sorted(had)
    has = np.zeros((len(row), len(keys)), dtype=bool)
    for column_index, key in enumerate(keys):
        has[[row[s] for s in had[key] if s in row], column_index] = True
    return Facets(
        names=tuple(name for name, _ in keys),
        is_tag=np.array([tag for _, tag in keys], dtype=bool),
        has=has,
        tagged=np.array([int(scene) in whole for scene in scene_id], dtype=bool),
    )


def _phrase(word: str) -> str:
    return word.replace("_", " ")
