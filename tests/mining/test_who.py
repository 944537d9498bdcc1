"""Of whom predicates are told: what is refused for a class is never told of it, and the rest is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mining.predicates import PREDICATES, tag_scene
from mining.query.check import checked
from mining.query.mistakes import BadExpression
from mining.query.parse import parse
from schemas.labels import AgentClass, Truth
from schemas.scene import Scene
from tests.mining.test_predicate_properties import CASES


def as_everybody(made: Scene, cls: AgentClass) -> Scene:
    """The scene as if all but the ego were of one class."""
    everybody = np.full_like(made.tracks.cls, int(cls))
    everybody[0] = made.tracks.cls[0]
    return replace(made, tracks=replace(made.tracks, cls=everybody))


@pytest.mark.parametrize("cls", [AgentClass.PEDESTRIAN, AgentClass.CYCLIST, AgentClass.OBSTACLE])
def test_nothing_is_told_of_a_class_that_is_refused(cls: AgentClass) -> None:
    for case in CASES:
        twin = as_everybody(case.make(), cls)
        known = {
            int(t): AgentClass(int(c))
            for t, c in zip(twin.tracks.track_id, twin.tracks.cls, strict=True)
        }
        for told in tag_scene(twin, [case.name]):
            if told.truth != Truth.TRUE:
                continue
            for who, only in zip(
                (told.actor, told.other), PREDICATES[case.name].only, strict=False
            ):
                assert who is None or only is None or known[who] in only, told


@pytest.mark.parametrize(
    "query",
    [
        "hard_brake(pedestrian p)",
        "turning_left(pedestrian p)",
        "following(pedestrian p, ego)",
        "jerk_high(cyclist c)",
        "lane_splitting(ego)",
        "ttc(pedestrian p, _) < 1 s",
        "relevant_red(obstacle o)",
    ],
)
def test_who_can_never_do_so_is_refused(query: str) -> None:
    with pytest.raises(BadExpression, match="never true of"):
        checked(parse(query))
