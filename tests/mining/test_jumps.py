"""Boxes that jump are not believed; what brakes, crashes or trembles is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mining.jumps import JUMP_M, jumps, over
from mining.predicates import tag_scene
from schemas.labels import AgentClass, Truth
from tests.mining.micro import STEPS, TIME, along, ramp, scene, speeds, still

SEEN = np.ones((1, STEPS), dtype=bool)


def found(x: np.ndarray, y: np.ndarray | None = None, seen: np.ndarray = SEEN) -> list[int]:
    """Steps at which one who is at x, y jumps."""
    xy = np.stack([x, np.zeros(STEPS) if y is None else y], axis=-1)[None]
    return np.flatnonzero(jumps(xy, seen)[0]).tolist()


def off(by: float, *steps: int) -> np.ndarray:
    """So far from where it is, at some steps."""
    out = np.zeros(STEPS)
    out[list(steps)] = by
    return out


@pytest.mark.parametrize("speed", [0.0, 10.0])
def test_off_for_one_step(speed: float) -> None:
    way = speed * TIME
    assert found(way, off(JUMP_M + 0.01, 50)) == [49, 50, 51]
    assert found(way, off(JUMP_M - 0.01, 50)) == []
    assert found(way + off(-JUMP_M - 0.01, 50)) == [49, 50, 51]


def test_moved_for_good() -> None:
    assert found(off(1.01, *range(50, STEPS))) == [49, 50]
    assert found(off(0.99, *range(50, STEPS))) == []


def test_just_before_it_is_lost() -> None:
    assert found(off(1.01, STEPS - 1)) == [STEPS - 1]
    assert found(off(1.01, 0)) == [0]
    assert found(off(0.99, STEPS - 1)) == []
    seen = SEEN.copy()
    seen[0, 60:70] = False
    assert found(off(1.01, 59), seen=seen) == [59]
    assert found(off(1.01, 70), seen=seen) == [70]


def test_a_crash_stops_at_once_and_does_not_jump() -> None:
    """From 20 m/s to nothing within a step: once 2 m, and no way back."""
    assert found(20.0 * np.minimum(TIME, 5.0)) == []
    assert found(20.0 * np.abs(TIME - 5.0)) == []  # thrown back as fast as it came


def test_the_hardest_braking_does_not_jump() -> None:
    assert found(speeds(ramp(4.0, 5.5, 18.0, 0.0))) == []


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.6])
def test_boxes_that_tremble_jump_only_if_they_stand_out(sigma: float) -> None:
    rng = np.random.default_rng(5)
    x, y = 8.0 * TIME + sigma * rng.standard_normal(STEPS), sigma * rng.standard_normal(STEPS)
    assert found(x, y) == []
    assert found(x, y + off(25.0 * sigma, 50)) == [49, 50, 51]


def test_nobody_seen_twice_jumps() -> None:
    seen = np.zeros_like(SEEN)
    seen[0, [10, 11, 50]] = True
    assert found(off(9.0, 11, 50), seen=seen) == []


def slipping() -> np.ndarray:
    """A car 5 m beside another, whose box slips towards it, back and away before it is lost."""
    y = np.full(STEPS, 5.0)
    y[53:56] -= [0.4, 1.95, 0.4]
    y[56:] -= 2.8
    return y


def test_a_box_that_slips_makes_no_near_miss() -> None:
    seen = np.arange(STEPS) < 57
    made = scene(still(0.0, 0.0), along(np.zeros(STEPS), side=slipping(), seen=seen))
    risks = ["near_miss", "ttc_2d", "dce", "delta_v", "collision", "closing"]
    assert not [i for i in tag_scene(made, risks) if i.truth == Truth.TRUE]
    # In a world that was made, boxes are where they are said to be.
    believed = tag_scene(replace(made, source="generated"), ["near_miss"])
    assert [i for i in believed if i.truth == Truth.TRUE]


def test_what_is_unseen_for_a_step_hides_no_near_miss() -> None:
    """Across each other's way, 0.35 s apart; a box is off by 2 m for a step long before."""
    across = along(8.0 * TIME, start=(0.0, -30.4), yaw=np.pi / 2, side=off(2.0, 20))
    made = scene(along(8.0 * TIME, start=(-40, 0)), across)
    assert [i for i in tag_scene(made, ["near_miss"]) if i.truth == Truth.TRUE]


@pytest.mark.parametrize("steps", [3, 4])
def test_who_is_there_for_a_blink_is_nearly_hit_by_nobody(steps: int) -> None:
    """A box that comes up ahead of the ego and is gone at once; it may have been somebody."""
    seen = np.zeros(STEPS, dtype=bool)
    seen[50 : 50 + steps] = True
    ghost = along(
        1.4 * TIME, start=(8.0, -7.0), yaw=np.pi / 2, cls=AgentClass.PEDESTRIAN, seen=seen
    )
    told = tag_scene(scene(along(12.0 * TIME, start=(-60.0, 0.0)), ghost), ["near_miss"])
    assert {interval.truth for interval in told} == {Truth.UNKNOWN}
    assert any("too briefly" in str(interval.evidence["reason"]) for interval in told)


@pytest.mark.parametrize("by", [2.0, -2.0])
def test_what_goes_on_over_a_jump_is_one(by: float) -> None:
    """It brakes from 4 s to 6 s; a box that is off at 5 s neither parts that nor shortens it."""
    brakes = along(speeds(ramp(4.0, 6.0, 14.0, 2.0)), start=(-30.0, 0.0))
    plain = scene(brakes)
    xy = plain.tracks.xy.copy()
    xy[0, 50, 1] += by
    off_once = replace(plain, tracks=replace(plain.tracks, xy=xy))
    for name in ("braking", "hard_brake"):
        (once,) = (i for i in tag_scene(plain, [name]) if i.truth == Truth.TRUE)
        (twice,) = (i for i in tag_scene(off_once, [name]) if i.truth == Truth.TRUE)
        assert abs(once.begin_step - twice.begin_step) <= 1
        assert abs(once.end_step - twice.end_step) <= 1


def test_over_fills_what_jumps_hide_alone() -> None:
    mask = np.array([[0, 1, 0, 0, 0, 1, 1, 0, 0, 1, 0]], dtype=bool)
    jumped = np.array([[1, 0, 1, 1, 1, 0, 0, 1, 0, 0, 1]], dtype=bool)
    assert over(mask, jumped).astype(int).tolist() == [[0, 1, 1, 1, 1, 1, 1, 0, 0, 1, 0]]
