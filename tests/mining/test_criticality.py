"""Criticality measures against sums done by hand, and the sweep against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from geometry.boxes import clearance, overlap
from mining.criticality import (
    deceleration_to_avoid_crash,
    encroachment,
    headway,
    required_deceleration,
    rss_safe_gap,
    shared_ground,
    sweep_time,
    time_to_collision,
)


def one(*values: float) -> tuple[np.ndarray, ...]:
    return tuple(np.array([v]) for v in values)


def test_times_and_decelerations_of_a_closing_gap() -> None:
    gap, rear, front = one(20.0, 15.0, 5.0)
    assert time_to_collision(gap, rear, front)[0] == 2.0
    assert headway(gap, rear)[0] == pytest.approx(4.0 / 3.0)
    assert deceleration_to_avoid_crash(gap, rear, front)[0] == 2.5


def test_a_gap_that_opens_never_closes() -> None:
    gap, rear, front = one(20.0, 5.0, 15.0)
    assert time_to_collision(gap, rear, front)[0] == np.inf
    assert deceleration_to_avoid_crash(gap, rear, front)[0] == 0.0
    assert headway(gap, np.zeros(1))[0] == np.inf
    assert required_deceleration(gap, rear, front, np.zeros(1))[0] == 0.0


def test_touching_boxes_have_no_time_left() -> None:
    assert time_to_collision(*one(0.0, 5.0, 15.0))[0] == 0.0


@pytest.mark.parametrize(
    ("gap", "rear", "front", "braking"), [(10.0, 15.0, 10.0, 3.0), (30.0, 20.0, 12.0, 6.0), (5.0, 8.0, 7.0, 1.0)]
)  # fmt: skip
def test_required_braking_just_avoids_the_crash(
    gap: float, rear: float, front: float, braking: float
) -> None:
    """Driving it out: with that braking the gap comes to zero, neither before nor after."""
    (needed,) = required_deceleration(*one(gap, rear, front, -braking))
    t = np.linspace(0.0, 40.0, 400_001)

    def way(v: float, a: float) -> np.ndarray:
        stop = min(v / a, t[-1])
        return np.where(t < stop, v * t - a * t**2 / 2, v * stop - a * stop**2 / 2)

    least = (gap + way(front, braking) - way(rear, needed)).min()
    assert least == pytest.approx(0.0, abs=0.01)


def test_the_safe_gap_of_rss_by_hand() -> None:
    gap = rss_safe_gap(
        *one(20.0, 15.0), response_s=0.5, accelerates=2.0, brakes_least=4.0, brakes_most=8.0
    )
    assert gap[0] == pytest.approx(10.0 + 0.25 + 21.0**2 / 8.0 - 15.0**2 / 16.0)


box = st.tuples(
    st.floats(-20, 20),
    st.floats(-20, 20),
    st.floats(-3.1, 3.1),
    st.floats(1, 8),
    st.floats(0.5, 3),
)
speed = st.tuples(st.floats(-15, 15), st.floats(-15, 15))


@given(box, box, speed, speed)
def test_the_sweep_finds_what_small_steps_find(a, b, va, vb) -> None:  # type: ignore[no-untyped-def]
    boxes = np.array([a]), np.array([b])
    # Boxes that only touch are in contact to the sweep and do not overlap to the small steps.
    assume(overlap(*boxes)[0] or clearance(*boxes)[0] > 1e-6)
    velocity = np.array([va]), np.array([vb])
    (time,) = sweep_time(*boxes, *velocity)
    t = np.arange(0.0, 5.0, 0.02)
    moving = [np.repeat(x, len(t), axis=0) for x in boxes]
    for boxed, v in zip(moving, velocity, strict=True):
        boxed[:, :2] += v * t[:, None]
    hits = np.flatnonzero(overlap(*moving))
    if len(hits):
        assert time <= t[hits[0]] + 1e-6
        assert time >= t[hits[0]] - 0.02 - 1e-6
    else:
        # A graze between two of the small steps may be missed by them, not by the sweep.
        assert time > 0.0


def test_ways_that_cross_share_ground_and_followers_do_not() -> None:
    steps = 61
    t = np.arange(steps) * 0.1
    use = np.ones(steps, dtype=bool)

    def boxes(x: np.ndarray, y: np.ndarray, yaw: float) -> np.ndarray:
        return np.stack(
            [x, y, np.full(steps, yaw), np.full(steps, 4.0), np.full(steps, 2.0)], axis=-1
        )

    east = boxes(10 * t - 30.4, 0 * t, 0.0)
    north = boxes(0 * t, 10 * t - 20, np.pi / 2)
    behind = boxes(10 * t - 40, 0 * t, 0.0)
    options = {"least_angle": np.radians(25), "within_s": 6.0}
    meeting = shared_ground(
        east, north, use, use, course_a=east[:, 2], course_b=north[:, 2], **options
    )
    assert meeting is not None
    # North leaves x-range [-1, 1] of the east-bound path with its rear at y = 1: y = 3, t = 2.3 s;
    # east comes with its front at x = −1: x = −3, t = 2.74 s; steps strictly inside.
    pet, leaves, enters, order = encroachment(*meeting)
    assert order == -1
    assert (leaves, enters) == (22, 28)
    assert pet == pytest.approx(0.6)
    assert (
        shared_ground(
            east, behind, use, use, course_a=east[:, 2], course_b=behind[:, 2], **options
        )
        is None
    )
