from dataclasses import replace

import numpy as np
import pytest

from lake.scenes import scenes_of
from schemas.errors import BadRecord
from schemas.labels import AgentClass, LightState, RoadType
from schemas.records import Window
from tests.builders import (
    CORNER,
    make_crossing_log,
    make_straight_log,
    road_users,
    stamps,
    without,
)

GREEN, RED, YELLOW, UNKNOWN = (
    int(state) for state in (LightState.GREEN, LightState.RED, LightState.YELLOW, LightState.UNKNOWN)
)  # fmt: skip


def source_xy(scene, agent):
    return scene.tracks.xy[agent].astype(np.float64) + scene.origin[:2] - CORNER[:2]


# Which stretches


@pytest.mark.parametrize(
    ("steps", "cuts"),
    [
        (1, [(0.0, 1)]),
        (11, [(0.0, 11)]),
        (121, [(0.0, 121)]),  # 12 s: whole
        (122, [(0.0, 100)]),  # 2.2 s are left over: too short for a scene
        (149, [(0.0, 100)]),
        (150, [(0.0, 100), (5.0, 100)]),  # 5 s are: a last window ends with the log
        (156, [(0.0, 100), (5.6, 100)]),
        (200, [(0.0, 100), (10.0, 100)]),
    ],
)
def test_a_log_without_windows_is_cut(steps, cuts):
    scenes = scenes_of(make_straight_log(steps=steps))
    assert [(s.t0_ns / 1e9, s.steps) for s in scenes] == cuts
    assert len({s.scene_id for s in scenes}) == len(scenes)


def test_a_clock_that_leaps_makes_no_windows_in_between():
    log = make_straight_log(steps=200)
    leap = 10**17  # three years
    t_ns = np.where(log.ego.t_ns >= 10 * 10**9, log.ego.t_ns + leap, log.ego.t_ns)
    scenes = scenes_of(without(replace(log, ego=replace(log.ego, t_ns=t_ns)), "agents"))
    assert [s.t0_ns for s in scenes] == [0, 10 * 10**9 + leap]


def test_a_window_of_hours_is_a_mistake_of_the_source():
    window = Window(source_scene_id="a", t0_ns=0, t1_ns=10**16, anchor_ns=None)
    with pytest.raises(BadRecord, match="10,000,000 s by its own clock"):
        scenes_of(replace(make_straight_log(), windows=(window,)))


def test_windows_of_the_source_are_kept():
    windows = (
        Window(source_scene_id="a", t0_ns=0, t1_ns=2 * 10**9, anchor_ns=10**9),
        Window(source_scene_id="b", t0_ns=10**9, t1_ns=9 * 10**9),
        Window(source_scene_id="nobody", t0_ns=10**12, t1_ns=10**12 + 10**9),
    )
    scenes = scenes_of(replace(make_straight_log(), windows=windows))
    assert [(s.name, s.steps, s.anchor) for s in scenes] == [("a", 21, 10), ("b", 81, 10)]
    np.testing.assert_allclose(source_xy(scenes[1], 0)[0], [10.0, 0.0], atol=1e-4)


def test_now_lies_within_the_scene():
    for steps in (1, 2, 3, 11, 20, 21, 91):
        scene = scenes_of(make_straight_log(steps=steps))[0]
        assert 0 <= scene.anchor < scene.steps


# On the clock


@pytest.mark.parametrize("dt", [0.04, 0.1, 0.2, 0.25, 0.5])
def test_constant_velocity_stays_exact_at_any_rate(dt):
    steps = round(8.0 / dt) + 1
    scene = scenes_of(make_straight_log(steps=steps, dt=dt))[0]
    assert scene.steps == 81
    assert scene.tracks.valid.all()
    t = np.arange(81)[:, None] * 0.1
    np.testing.assert_allclose(source_xy(scene, 0), np.array([[10.0, 0]]) * t, atol=1e-4)
    np.testing.assert_allclose(
        source_xy(scene, 3), [100.0, -8.0] + np.array([[0, 1.5]]) * t, atol=1e-4
    )
    np.testing.assert_allclose(
        scene.tracks.velocity[1], np.broadcast_to([8.0, 0.0], (81, 2)), atol=1e-3
    )
    np.testing.assert_allclose(scene.tracks.lane_s[0], 100.0 + 10.0 * t[:, 0], atol=2e-3)


def test_gaps_are_not_filled():
    log = make_straight_log()
    valid = np.ones(len(log.agents.t_ns), dtype=bool)
    valid[20:30] = False
    scene = scenes_of(replace(log, agents=replace(log.agents, valid=valid)))[0]
    assert np.flatnonzero(~scene.tracks.valid[1]).tolist() == list(range(20, 30))
    assert not scene.tracks.xy[1, 20:30].any()


def test_jitter_loses_no_observation():
    log = make_straight_log()
    rng = np.random.default_rng(1)
    jitter = rng.integers(-9_000_000, 9_000_000, 91)
    t_ns = np.maximum(stamps(91) + jitter, 0)
    velocity = np.tile([10.0, 0.0], (91, 1))
    xyz = CORNER + np.column_stack([10.0 * t_ns / 1e9, np.zeros((91, 2))])
    ego = replace(log.ego, t_ns=t_ns, xyz=xyz, velocity=velocity)
    scene = scenes_of(replace(without(log, "agents"), ego=ego))[0]
    assert scene.steps == 91
    assert scene.tracks.valid.all()
    begin = t_ns[0] / 1e9
    truth = 10.0 * (begin + np.arange(91) * 0.1)
    np.testing.assert_allclose(source_xy(scene, 0)[:, 0], truth, atol=1e-3)


def test_headings_turn_the_short_way():
    log = without(make_straight_log(steps=3, dt=0.2), "agents", "map")
    ego = replace(log.ego, yaw=np.array([3.1, -3.1, -3.0]))
    scene = scenes_of(replace(log, ego=ego))[0]
    middle = (3.1 + (2 * np.pi - 3.1)) / 2.0
    assert abs(scene.tracks.yaw[0][1]) == pytest.approx(middle, abs=1e-4)


def test_who_is_never_seen_in_the_window_is_not_in_the_scene():
    log = make_straight_log()
    valid = np.arange(91 * 3) >= 91
    scene = scenes_of(replace(log, agents=replace(log.agents, valid=valid)))[0]
    assert scene.tracks.track_id.tolist() == [0, 2, 3]


# Signals


def test_sampled_signals_are_held_for_a_while():
    log = make_crossing_log()
    early = log.lights.t_ns <= 5 * 10**9
    kept = np.flatnonzero(early)
    lights = replace(
        log.lights,
        source_lane_id=[log.lights.source_lane_id[i] for i in kept],
        source_state=[log.lights.source_state[i] for i in kept],
        **{n: getattr(log.lights, n)[kept] for n in
           ("t_ns", "state", "arrow", "flashing", "stop_xyz")},
    )  # fmt: skip
    signals = scenes_of(replace(log, lights=lights))[0].signals
    assert signals.lane.tolist() == [0, 3]
    assert signals.state[0].tolist() == [GREEN] * 66 + [UNKNOWN] * 25
    assert signals.state[1].tolist() == [RED] * 40 + [YELLOW] * 26 + [UNKNOWN] * 25
    np.testing.assert_allclose(signals.stop_xy, [[-10, 0], [0, -10]], atol=1e-4)


def test_changes_of_signals_hold_until_the_next():
    log = make_crossing_log()
    lights = replace(
        log.lights, source_lane_id=["lane0", "lane0"], source_state=["G", "R"],
        t_ns=np.array([0, 7 * 10**9]), state=np.array([GREEN, RED]),
        arrow=np.zeros(2, dtype=bool), flashing=np.zeros(2, dtype=bool),
        stop_xyz=np.full((2, 3), np.nan),
    )  # fmt: skip
    signals = scenes_of(replace(log, lights=lights))[0].signals
    assert signals.state[0].tolist() == [GREEN] * 70 + [RED] * 21
    assert not signals.has_stop.any()


# What may be missing


def test_scenes_without_ego_map_or_lights():
    scene = scenes_of(without(make_crossing_log(), "ego"))[0]
    assert not scene.has_ego
    assert scene.tracks.track_id.tolist() == [1]
    scene = scenes_of(without(make_crossing_log(), "map"))[0]
    assert not scene.has_map
    assert scene.has_signals
    assert not scene.tracks.on_lane.any()
    assert scene.road_type == RoadType.UNKNOWN
    assert not scenes_of(without(make_crossing_log(), "lights"))[0].has_signals
    assert scenes_of(without(make_crossing_log(), "ego", "agents")) == []


def test_a_log_of_nothing_has_no_scene():
    assert scenes_of(without(make_straight_log(), "ego", "agents", "map", "lights")) == []


def test_an_ego_seen_only_elsewhere_is_not_the_scenes_ego():
    log = make_straight_log()
    valid = np.arange(91) < 20
    window = Window(source_scene_id="late", t0_ns=5 * 10**9, t1_ns=8 * 10**9)
    scene = scenes_of(replace(log, ego=replace(log.ego, valid=valid), windows=(window,)))[0]
    assert not scene.has_ego
    assert scene.tracks.track_id.tolist() == [1, 2, 3]


def test_parked_users_do_not_move():
    users = road_users([("p", AgentClass.VEHICLE, (3, 0), (0, 0))], steps=20)
    scene = scenes_of(replace(without(make_straight_log(), "ego"), agents=users))[0]
    assert not scene.tracks.velocity.any()
