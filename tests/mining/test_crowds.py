"""Crowded scenes: the same answers in bounded memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from mining import sight
from mining.motion import Motion
from mining.predicates import tag_scene
from mining.sight import lines_of_sight
from schemas.labels import AgentClass
from schemas.scene import Scene
from tests.mining import micro
from tests.mining.micro import STEPS, along

SHORT = 8
"""[steps] A life such as trackers give to what they lose again and again."""


def crowd(number: int, *, life: int = SHORT) -> Scene:
    """An ego that stands among people and cars that walk and drive about, each seen for a while."""
    random = np.random.default_rng(7)
    actors = [along(np.zeros(STEPS))]
    for k in range(number):
        begin = int(random.integers(0, STEPS - life))
        seen = np.zeros(STEPS, dtype=bool)
        seen[begin : begin + life] = True
        radius, angle = random.uniform(5.0, 45.0), random.uniform(-np.pi, np.pi)
        actors.append(
            along(
                lambda t: 1.5 * t,
                start=(radius * np.cos(angle), radius * np.sin(angle)),
                yaw=random.uniform(-np.pi, np.pi),
                cls=AgentClass.VEHICLE if k % 3 == 0 else AgentClass.PEDESTRIAN,
                seen=seen,
            )
        )
    return micro.scene(*actors)


def test_blocks_of_pairs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = crowd(40, life=60)
    names = [
        "occluded_by",
        "between",
        "near",
        "closing",
        "collision",
        "ttc_2d",
        "crosses_in_front",
    ]
    whole = tag_scene(scene, names)
    assert {interval.name for interval in whole} >= {"occluded_by", "between", "near"}
    for size in (1, 7):
        monkeypatch.setattr(sight, "PAIRS_AT_ONCE", size)
        assert tag_scene(scene, names) == whole


def test_who_lines_up_is_found_whoever_else_is_there() -> None:
    """Against every pair looked through one by one, at the steps at which both are seen."""
    scene = crowd(30, life=40)
    seen = Motion(scene)
    found = lines_of_sight(seen, within=50.0)
    pairs = list(zip(found.far.tolist(), found.near.tolist(), strict=True))
    assert pairs == sorted(set(pairs))
    view = sight.angles(seen)
    close = view.seen & (view.distance <= 50.0)
    expected = []
    for far in range(seen.agents):
        for near in range(seen.agents):
            if far == near:
                continue
            share, _ = sight._cover(
                view, close, np.array([far]), np.array([near]), slice(None, None, sight.COARSE)
            )
            if (share > 0.0).any():
                expected.append((far, near))
    assert pairs == expected


def test_memory_grows_with_those_who_meet_not_with_all_pairs() -> None:
    scene = crowd(1200)
    seen = Motion(scene)
    everybody = seen.agents**2 * STEPS * 8  # one number for each pair and step
    tracemalloc.start()
    try:
        tag = lines_of_sight(seen, within=50.0)
        pairs = seen.pairs
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(tag.far)
    assert len(pairs.a)
    assert peak < everybody / 10
