"""The compiled loops against plain versions of the same meaning."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mining.tag
from geometry.arrays import Array
from mining.criticality.measures import measures_of
from mining.kernels import come_near, driven, leaders
from mining.motion import Motion
from mining.predicates import PREDICATES
from mining.sight import angles
from mining.smoothing import LEAST_POINTS, fit_lines
from mining.tag import _found_in
from schemas.scene import DT, Scene
from tests.mining.micro import TIME, Actor, along, scene

SEEDS = st.integers(0, 2**32 - 1)


def cruise(speed: float, *, y: float = 0.0) -> Actor:
    return along(speed * TIME, start=(-60.0, y))


@given(SEEDS)
def test_lines_are_those_of_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    value = np.cumsum(rng.normal(0.0, 1.0, (3, 30)), axis=1)
    valid, half = rng.random((3, 30)) < 0.8, rng.choice([2, 4, 7], 3)
    fit = fit_lines(value, valid, half)
    for row, step in np.argwhere(valid).tolist():
        near = np.arange(max(step - half[row], 0), min(step + half[row] + 1, 30))
        near = near[valid[row, near]]
        if len(near) < LEAST_POINTS:
            continue  # at the ends of a track its neighbour's line runs on
        slope, level = np.polyfit(near - step, value[row, near], 1)
        assert fit.slope[row, step] == pytest.approx(slope / DT, abs=1e-6)
        assert fit.level[row, step] == pytest.approx(level, abs=1e-6)
        rest = value[row, near] - level - slope * (near - step)
        spread = ((near - near.mean()) ** 2).sum()
        error = np.sqrt((rest**2).sum() / max(len(near) - 2, 1) / spread) / DT
        assert fit.error[row, step] == pytest.approx(error, abs=1e-5)


@given(SEEDS)
def test_who_comes_near_is_who_is_near_at_some_step_at_which_both_are_seen(seed: int) -> None:
    rng = np.random.default_rng(seed)
    xy, seen = rng.uniform(-20.0, 20.0, (6, 8, 2)), rng.random((6, 8)) < 0.5
    i, j = np.triu_indices(6, k=1)
    within = rng.uniform(2.0, 20.0, len(i))
    apart = np.hypot(*np.moveaxis(xy[j] - xy[i], -1, 0))
    expected = (seen[i] & seen[j] & (apart <= within[:, None])).any(axis=1)
    assert (come_near(xy, seen, i, j, within) == expected).all()


@given(SEEDS)
def test_leaders_are_the_nearest_of_those_who_may_lead(seed: int) -> None:
    rng = np.random.default_rng(seed)
    agents, steps, lanes = 7, 5, 3
    place = rng.integers(-1, lanes, (agents, steps))
    follows, leads = ((rng.random((agents, steps)) < 0.8) & (place >= 0) for _ in "ab")
    on_way = rng.random((agents, lanes)) < 0.7
    away = np.where(
        rng.random((lanes, lanes)) < 0.6, rng.uniform(0.0, 40.0, (lanes, lanes)), np.inf
    )
    np.fill_diagonal(away, 0.0)
    lane_s, lane_d = rng.uniform(0, 60, (agents, steps)), rng.uniform(-2, 2, (agents, steps))
    length, width = rng.uniform(1, 12, agents), rng.uniform(0.5, 2.5, agents)
    leader, gap = leaders(follows, leads, place, on_way, away, lane_s, lane_d, length, width, 40.0)
    for i in range(agents):
        for t in range(steps):
            ahead = {}
            for j in range(agents):
                if i == j or not (follows[i, t] and leads[j, t] and on_way[i, place[j, t]]):
                    continue
                distance = away[place[i, t], place[j, t]] + lane_s[j, t] - lane_s[i, t]
                side = abs(lane_d[j, t] - lane_d[i, t])
                if 0.0 <= distance < np.inf and side < (width[i] + width[j]) / 2 + 0.2:
                    ahead[j] = distance
            nearest = min(ahead, key=lambda j: ahead[j], default=-1)
            room = np.inf
            if nearest >= 0:
                room = ahead[nearest] - (length[nearest] + length[i]) / 2
            assert leader[i, t] == (nearest if room <= 40.0 else -1)
            assert gap[i, t] == (room if room <= 40.0 else np.inf)


def by_the_model(s: Array, speed: Array, on: Array, half: Array, stop: Array, v: Array) -> Array:
    """Where all runs get by the intelligent driver model, in one go: run 0 with everybody."""
    others, steps = s.shape
    runs, tick, (free, headway, standstill, accelerates, brakes, most) = others + 1, 0.2, MODEL
    there = np.ones((runs, others), dtype=bool)
    there[np.arange(1, runs), np.arange(others)] = False
    at, reached = np.zeros(runs), np.zeros((runs, steps))
    for k in range(steps):
        reached[:, k] = at
        ahead = there & on[None, :, k] & (s[None, :, k] > at[:, None])
        gap = np.where(ahead, s[None, :, k] - at[:, None] - half, np.inf)
        nearest = gap.argmin(axis=1)
        room, lead = gap[np.arange(runs), nearest], speed[nearest, k]
        light = stop[k] - at
        holds = (light > -1.0) & (light < room)
        room, lead = np.where(holds, light, room), np.where(holds, 0.0, lead)
        wanted = standstill + np.maximum(
            v * headway + v * (v - lead) / (2 * np.sqrt(accelerates * brakes)), 0.0
        )
        change = accelerates * (1.0 - (v / free) ** 4 - (wanted / np.maximum(room, 0.1)) ** 2)
        after = np.maximum(v + np.clip(change, -most, accelerates) * tick, 0.0)
        at, v = at + (v + after) / 2 * tick, after
    return reached


MODEL = (14.0, 1.5, 2.0, 1.5, 2.0, 8.0)


@given(SEEDS)
def test_each_is_left_out_of_one_run_of_the_driver_model(seed: int) -> None:
    rng = np.random.default_rng(seed)
    others, steps = int(rng.integers(1, 5)), 26
    s, speed = rng.uniform(-5, 80, (others, steps)), rng.uniform(0, 15, (others, steps))
    on, half = rng.random((others, steps)) < 0.5, rng.uniform(2, 8, others)
    stop = np.where(rng.random(steps) < 0.3, rng.uniform(0, 60, steps), np.inf)
    begin = float(rng.uniform(0, 15))
    reached, braking = driven(s, speed, on, half, stop, begin, 0.2, MODEL)
    expected = by_the_model(s, speed, on, half, stop, np.full(others + 1, begin))
    np.testing.assert_allclose(reached, expected, rtol=1e-12, atol=1e-12)
    assert (braking >= 0.0).all()
    assert (braking <= MODEL[-1] + 1e-9).all()


def test_what_is_kept_of_a_scene_is_gone_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no garbage is looked for, as there is none for a long time while arrays are large."""
    made: list[weakref.ref[Array]] = []

    class Watched(Motion):
        def __init__(self, of: Scene) -> None:
            super().__init__(of)
            made.append(weakref.ref(self.xy))

    monkeypatch.setattr(mining.tag, "Motion", Watched)
    gc.collect()
    gc.disable()
    try:
        crossing = scene(cruise(8.0), cruise(9.0, y=3.5))
        rows, measured = _found_in(crossing, list(PREDICATES), measured=True)
        assert rows.num_rows
        assert len(measured) == 1
        assert [xy() for xy in made] == [None]
    finally:
        gc.enable()


def test_what_is_asked_again_of_a_scene_is_kept() -> None:
    motion = Motion(scene(cruise(8.0), cruise(9.0, y=3.5)))
    assert angles(motion) is angles(motion)
    assert measures_of(motion) is measures_of(motion)


def test_two_scenes_that_are_asked_in_turn_are_not_taken_for_each_other() -> None:
    near, far = (Motion(scene(cruise(8.0), cruise(8.0, y=y))) for y in (3.5, 30.0))
    for motion, distance in ((near, 3.5), (far, 30.0)) * 2:
        assert angles(motion).distance[1, 0] == pytest.approx(distance)
