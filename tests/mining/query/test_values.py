"""What queries are refused for, against what predicates tell: of scenes, not of their definitions."""

from __future__ import annotations

from itertools import combinations

import pytest

from mining.predicates import tag_scene
from mining.query import holds
from mining.query.possible import STATES
from mining.query.tree import Compare
from mining.query.values import VALUES, never
from schemas.labels import Truth
from tests.mining import micro
from tests.mining.micro import along, ramp, speeds
from tests.mining.test_predicate_properties import CASES


def test_no_value_is_beyond_what_queries_are_refused_for() -> None:
    seen = set[str]()
    for case in CASES:
        for told in tag_scene(case.make(), [case.name]):
            if told.name in VALUES and told.truth == Truth.TRUE and told.value is not None:
                seen.add(told.name)
                assert not never(told.name, Compare("=", told.value)), told
    assert len(seen) > 0.8 * len(VALUES)  # most of them occur


def test_what_is_said_to_exclude_each_other_never_meets() -> None:
    names = sorted(frozenset().union(*STATES))
    pairs = 0
    for case in CASES[::3]:
        found = [told for told in tag_scene(case.make(), names) if told.truth == Truth.TRUE]
        for one, other in combinations(found, 2):
            same = (one.actor, one.other) == (other.actor, other.other)
            pair = {one.name, other.name}
            if same and len(pair) == 2 and any(pair <= group for group in STATES):
                pairs += 1
                assert one.begin_step > other.end_step or other.begin_step > one.end_step, pair
    assert pairs > 10


@pytest.mark.parametrize(
    "query",
    [
        "stopped(ego) and low_speed(ego)",
        "low_speed(ego) and medium_speed(ego)",
        "medium_speed(ego) and high_speed(ego)",
    ],
)
def test_neighbouring_speeds_do_meet(query: str) -> None:
    """So nobody may be told that they never do: setting off gently shows each pair."""
    gently = along(speeds(ramp(1.0, 9.0, 0.0, 12.0)), start=(-60.0, 0.0))
    slowly = along(speeds(ramp(1.0, 9.0, 0.0, 2.0)), start=(-60.0, 0.0))
    made = [micro.scene(gently), micro.scene(slowly)]
    assert any(holds(query, [one])[0] for one in made)
