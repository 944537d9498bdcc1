"""Measures beside those of followers: swerving, danger, encounters, exposure, impact, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geometry.boxes import clearance
from mining.criticality import (
    brake_threat_number,
    closest_encounter,
    crash_potential,
    danger,
    delta_v,
    difference_at_crossing,
    encroachment_time,
    mass_of,
    meet_turning,
    proper_response,
    required_lateral_acceleration,
    rss_oncoming_gap,
    rss_safe_side,
    steer_threat_number,
    sweep_time,
    time_exposed,
    time_integrated,
    time_to_collision,
    worst_time_to_collision,
)
from mining.criticality.lateral import BOTH, LATERAL, LONGITUDINAL
from schemas.labels import AgentClass

finite = st.floats(0.1, 60.0)


def one(*values: float) -> tuple[np.ndarray, ...]:
    return tuple(np.array([v]) for v in values)


def row(*values: float) -> np.ndarray:
    return np.array([values])


def mask(word: str) -> np.ndarray:
    """``.#`` for false, true."""
    return np.array([[letter == "#" for letter in word]])


# -- swerving ----------------------------------------------------------------------------------


def test_a_swerve_covers_what_the_widths_ask_for() -> None:
    # 2 m aside in 2 s: a t²/2 = 2 with a = 1.
    assert required_lateral_acceleration(*one(2.0, 0.0, 0.0, 2.0))[0] == pytest.approx(1.0)
    # Half a metre to the left already: past its right only 1.5 m are wanted.
    assert required_lateral_acceleration(*one(2.0, 0.5, 0.0, 2.0))[0] == pytest.approx(0.75)
    # It goes to the left itself, and will be clear by then.
    assert required_lateral_acceleration(*one(2.0, 0.5, 0.75, 2.0))[0] == 0.0
    assert required_lateral_acceleration(*one(np.inf, 0.0, 0.0, 2.0))[0] == 0.0
    assert required_lateral_acceleration(*one(0.0, 0.0, 0.0, 2.0))[0] == np.inf


@given(st.floats(0.2, 5.0), st.floats(-3.0, 3.0), st.floats(-2.0, 2.0))
def test_a_swerve_is_the_same_in_a_mirror(ttc: float, offset: float, rate: float) -> None:
    left = required_lateral_acceleration(*one(ttc, offset, rate, 2.0))
    right = required_lateral_acceleration(*one(ttc, -offset, -rate, 2.0))
    np.testing.assert_allclose(left, right)


@given(st.floats(0.2, 5.0), st.floats(-1.9, 1.9), st.sampled_from([-1.0, 1.0]))
def test_a_swerve_by_that_much_just_passes(ttc: float, offset: float, rate: float) -> None:
    """Driving it out: on the nearer side the outlines touch at the TTC, and not before it."""
    (needed,) = required_lateral_acceleration(*one(ttc, offset, rate, 2.0))
    at = offset + rate * ttc
    shift = needed * ttc**2 / 2
    aside = (
        min(abs(at - shift), abs(at + shift))
        if needed == 0.0
        else max(abs(at - shift), abs(at + shift))
    )
    assert aside >= 2.0 - 1e-9
    if needed > 0.0:
        assert max(abs(at - shift), abs(at + shift)) == pytest.approx(2.0)


def test_threat_numbers_are_shares_of_what_there_is() -> None:
    assert brake_threat_number(*one(4.0), available=8.0)[0] == 0.5
    assert steer_threat_number(*one(12.0), available=8.0)[0] == 1.5


# -- responsibility ----------------------------------------------------------------------------


def test_the_safe_side_by_hand() -> None:
    options = {"response_s": 0.5, "accelerates": 0.2, "brakes": 0.8, "margin": 0.1}
    # Side by side: (0 + 0.1) · 0.5 / 2 + 0.1² / 1.6 each.
    each = 0.025 + 0.01 / 1.6
    assert rss_safe_side(*one(0.0, 0.0), **options)[0] == pytest.approx(0.1 + 2 * each)
    # One comes over at 1 m/s: 1.05 · 0.5 + 1.1² / 1.6.
    comes = 0.525 + 1.21 / 1.6
    assert rss_safe_side(*one(0.0, 1.0), **options)[0] == pytest.approx(0.1 + each + comes)
    # It leaves: no more than the margin.
    assert rss_safe_side(*one(0.0, -1.0), **options)[0] == pytest.approx(0.1)


def test_the_safe_gap_to_one_who_comes_by_hand() -> None:
    options = {"response_s": 0.5, "accelerates": 2.0, "brakes_correct": 3.0, "brakes_least": 4.0}
    # From 10 m/s: 10.5 · 0.5 m, then from 11 m/s with 3 m/s²; from 5 m/s: 5.5 · 0.5 m, then from 6 with 4.
    comes = 5.25 + 121 / 6 + 2.75 + 36 / 8
    assert rss_oncoming_gap(*one(10.0, 5.0), **options)[0] == pytest.approx(comes)
    # Of two who brake alike it does not matter who drives in its own lane.
    alike = options | {"brakes_correct": 4.0}
    same = rss_oncoming_gap(*one(10.0, 5.0), **alike)
    np.testing.assert_allclose(rss_oncoming_gap(*one(5.0, 10.0), **alike), same)
    assert same[0] < comes


def test_the_danger_threshold_is_where_both_became_unsafe() -> None:
    along, aside = mask(".####..##."), mask("..##...###")
    dangerous, began, way = danger(along, aside)
    np.testing.assert_array_equal(dangerous, mask("..##...##."))
    np.testing.assert_array_equal(began[0], [-1, -1, 2, 2, -1, -1, -1, 7, 7, -1])
    # First the gap along was unsafe already; then both became so at once.
    assert way[0, 2] == way[0, 3] == LATERAL
    assert way[0, 7] == BOTH
    _, began, way = danger(mask("..##"), mask(".###"))
    assert began[0, 3] == 2
    assert way[0, 3] == LONGITUDINAL
    # Dangerous since first seen.
    assert danger(mask("##"), mask("##"))[1][0, 1] == 0


def test_the_proper_response_is_to_brake_or_to_stop_drifting() -> None:
    began, steps = np.zeros((1, 6), dtype=int), 6
    options = {"response_steps": 2, "accelerates": 2.0, "brakes_least": 4.0, "drifts": 0.1}

    def proper(way: int, acceleration: float, toward: float, speed: float = 10.0) -> list[bool]:
        told = proper_response(
            began,
            np.full((1, steps), way),
            np.full((1, steps), acceleration),
            np.full((1, steps), speed),
            np.full((1, steps), toward),
            **options,
        )
        return told[0].tolist()

    assert proper(LONGITUDINAL, -4.5, 1.0) == [True] * 6
    assert proper(LONGITUDINAL, -3.5, 0.0) == [True] * 2 + [False] * 4
    assert proper(LONGITUDINAL, 2.5, 0.0) == [False] * 6
    assert proper(LONGITUDINAL, 0.0, 0.0, speed=0.0) == [True] * 6
    assert proper(LATERAL, 0.0, 0.05) == [True] * 6
    assert proper(LATERAL, -4.5, 0.5) == [True] * 2 + [False] * 4
    assert proper(BOTH, -4.5, 0.5) == [True] * 6
    safe = np.full((1, 2), -1)
    nothing = np.zeros((1, 2))
    assert proper_response(
        safe, np.zeros((1, 2), dtype=int), nothing + 3, nothing, nothing, **options
    ).all()


# -- in the plane ------------------------------------------------------------------------------


box = st.tuples(
    st.floats(-20, 20),
    st.floats(-20, 20),
    st.floats(-3.1, 3.1),
    st.floats(1, 8),
    st.floats(0.5, 3),
)
speed = st.tuples(st.floats(-15, 15), st.floats(-15, 15))


@given(box, box, speed, speed)
def test_the_closest_encounter_is_what_small_steps_find(a, b, va, vb) -> None:  # type: ignore[no-untyped-def]
    boxes, velocity = (np.array([a]), np.array([b])), (np.array([va]), np.array([vb]))
    dce, ttce = closest_encounter(*boxes, *velocity, within_s=4.0)
    t = np.linspace(0.0, 4.0, 801)
    moving = [np.repeat(x, len(t), axis=0) for x in boxes]
    for boxed, v in zip(moving, velocity, strict=True):
        boxed[:, :2] += v * t[:, None]
    apart = clearance(*moving)
    assert dce[0] <= apart.min() + 1e-6
    # Between two of the small steps it may come nearer by what they move meanwhile.
    assert dce[0] >= apart.min() - 0.005 * np.hypot(*(velocity[0] - velocity[1])[0]) - 2e-3
    assert 0.0 <= ttce[0] <= 4.0
    at = [x.copy() for x in boxes]
    for boxed, v in zip(at, velocity, strict=True):
        boxed[:, :2] += v * ttce[0]
    assert clearance(*at)[0] == pytest.approx(dce[0], abs=2e-3)
    (touch,) = sweep_time(*boxes, *velocity)
    assert (dce[0] == 0.0) == (touch <= 4.0)


def test_ways_reach_their_crossing_at_times_apart() -> None:
    assert difference_at_crossing(*one(20.0, 30.0, 10.0, 10.0))[0] == pytest.approx(1.0)
    assert difference_at_crossing(*one(-1.0, 30.0, 10.0, 10.0))[0] == np.inf
    assert difference_at_crossing(*one(20.0, 30.0, 10.0, 0.0))[0] == np.inf
    assert encroachment_time(np.array([3]), np.array([12]))[0] == pytest.approx(1.0)


def test_traffic_in_a_bend_turns_away_from_each_other() -> None:
    """Oncoming on circles of 20 and 23 m: on course to meet but for the bend."""
    inner, outer, speed, ahead = 20.0, 23.0, 8.0, 0.7
    a = np.array([[outer, 0.0, np.pi / 2, 4.8, 2.0]])
    b = np.array([[inner * np.cos(ahead), inner * np.sin(ahead), ahead - np.pi / 2, 4.8, 2.0]])
    va = speed * np.array([[0.0, 1.0]])
    vb = speed * np.array([[np.sin(ahead), -np.cos(ahead)]])
    assert sweep_time(a, b, va, vb)[0] < 1.4
    turn_a, turn_b = np.array([speed / outer]), np.array([-speed / inner])
    assert not meet_turning(a, b, va, vb, turn_a, turn_b, within_s=1.5)[0]
    straight = np.zeros(1)
    assert meet_turning(a, b, va, vb, straight, straight, within_s=1.5)[0]


def test_the_worst_case_by_hand() -> None:
    """Circles of 2 m each, 8 m/s² each: 16 m/s² at which they come together."""

    def worst(
        apart: tuple[float, float], relative: tuple[float, float], able: float = 16.0
    ) -> float:
        told = worst_time_to_collision(np.array([apart]), np.array([relative]), *one(4.0, able))
        return float(told[0])

    assert worst((12.0, 0.0), (0.0, 0.0)) == pytest.approx(1.0)  # 16/2 · 1² = 8 m
    assert worst((0.0, 12.0), (0.0, 0.0)) == pytest.approx(1.0)
    assert worst((22.0, 0.0), (-10.0, 0.0)) == pytest.approx(1.0)
    assert worst((26.0, 0.0), (6.0, 0.0)) == pytest.approx(2.0752, abs=1e-4)  # 22 + 6 t = 8 t²
    assert worst((3.9, 0.0), (9.0, 9.0)) == 0.0
    # Without any acceleration to speak of it is the time to collision of the circles.
    assert worst((24.0, 0.0), (-10.0, 0.0), able=1e-9) == pytest.approx(2.0)
    # It passes 5 m aside after 0.5 s: before that, √((20 − 40 t)² + 25) = 4 + 8 t².
    assert worst((20.0, 5.0), (-40.0, 0.0)) == pytest.approx(0.4399, abs=1e-4)


@given(
    st.tuples(st.floats(-40, 40), st.floats(-40, 40)),
    st.tuples(st.floats(-40, 40), st.floats(-40, 40)),
    st.floats(0.5, 8.0),
    st.floats(0.5, 20.0),
)
def test_the_worst_case_is_the_first_that_small_steps_find(apart, relative, reach, able) -> None:  # type: ignore[no-untyped-def]
    p, w = np.array([apart]), np.array([relative])
    (told,) = worst_time_to_collision(p, w, *one(reach, able))
    t = np.linspace(0.0, told, 2001)[:-1]
    left = np.hypot(*(p + w * t[:, None]).T) - reach - able * t**2 / 2
    assert told == 0.0 or (left > -1e-6).all()  # not before
    at = np.hypot(*(p + w * told)[0]) - reach - able * told**2 / 2
    assert at <= 1e-3 * (1.0 + np.hypot(*w[0]))  # and then


@given(box, box, speed, speed, st.floats(-np.pi, np.pi), st.floats(0.0, 8.0), st.floats(0.0, 3.0))
def test_nobody_collides_before_the_worst_case(a, b, va, vb, way, hard, turns) -> None:  # type: ignore[no-untyped-def]
    """One accelerates by up to 8 m/s² somewhere and spins meanwhile: the boxes touch no sooner."""
    first, second = np.array([a]), np.array([b])
    reach = (np.hypot(a[3], a[4]) + np.hypot(b[3], b[4])) / 2
    apart, relative = second[:, :2] - first[:, :2], np.array([vb]) - np.array([va])
    (told,) = worst_time_to_collision(apart, relative, *one(reach, 16.0))
    t = np.linspace(0.0, min(told, 10.0), 50)[:-1, None] * (1 - 1e-6)
    moving = [np.repeat(x, len(t), axis=0) for x in (first, second)]
    moving[0][:, :2] += np.array([va]) * t + hard / 2 * t**2 * np.array(
        [[np.cos(way), np.sin(way)]]
    )
    moving[0][:, 2] += turns * t[:, 0]
    moving[1][:, :2] += np.array([vb]) * t
    assert told == 0.0 or (clearance(*moving) > 0.0).all()


# -- sums over time ----------------------------------------------------------------------------


def test_exposure_by_hand() -> None:
    ttc = row(np.inf, 3.0, 2.0, 1.5, 0.5, np.inf)
    assert time_exposed(ttc, below=2.0)[0] == pytest.approx(0.3)
    assert time_integrated(ttc, below=2.0)[0] == pytest.approx(0.2)


def test_the_crash_potential_is_a_mean_chance() -> None:
    options = {"mean": 8.45, "deviation": 1.40, "least": 4.23, "most": 12.68}
    known = np.ones((1, 4), dtype=bool)
    # The mean lies all but in the middle of the cut-off distribution.
    assert crash_potential(row(0, 4.0, 8.45, 20.0), known, **options)[0] == pytest.approx(
        (0.0 + 0.0 + 0.5 + 1.0) / 4, abs=1e-3
    )
    known[0, :2] = False
    assert crash_potential(row(0, 4.0, 8.45, 20.0), known, **options)[0] == pytest.approx(
        0.75, abs=1e-3
    )
    assert crash_potential(row(9.0), np.zeros((1, 1), dtype=bool), **options)[0] == 0.0


def test_whoever_brakes_far_better_than_the_bounds_brakes_as_the_bound() -> None:
    known = np.ones((1, 3), dtype=bool)
    options = {"mean": 84.5, "deviation": 1.40, "least": 4.23, "most": 12.68}
    assert crash_potential(row(4.0, 12.6, 12.7), known, **options)[0] == pytest.approx(1 / 3)


@given(finite, finite, st.floats(0.0, 30.0), st.floats(0.0, 30.0))
def test_a_longer_gap_leaves_no_less_time(
    gap: float, more: float, rear: float, front: float
) -> None:
    (near,) = time_to_collision(*one(gap, rear, front))
    (far,) = time_to_collision(*one(gap + more, rear, front))
    assert far >= near


# -- consequences ------------------------------------------------------------------------------


def test_the_lighter_one_changes_more() -> None:
    car, walker = mass_of(np.array([AgentClass.VEHICLE, AgentClass.PEDESTRIAN]))
    speed = np.array([10.0])
    of_car = delta_v(speed, np.array([car]), np.array([walker]))[0]
    of_walker = delta_v(speed, np.array([walker]), np.array([car]))[0]
    assert of_car + of_walker == pytest.approx(10.0)
    assert of_walker / of_car == pytest.approx(car / walker)
    assert delta_v(speed, np.array([car]), np.array([car]))[0] == pytest.approx(5.0)
    assert len(mass_of(np.array(sorted(AgentClass)))) == len(AgentClass)
