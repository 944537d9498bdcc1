from dataclasses import replace

import numpy as np
import pytest

from generation.compose import Candidate
from generation.gates import (
    Finite,
    HasTags,
    Kinematics,
    NoCollision,
    OnMap,
    Shows,
    Surface,
    off_map_share,
    own_gates,
    touching,
)
from schemas.labels import AgentClass, MapLayer
from schemas.records import RoadMap


def test_steady_traffic_passes_every_gate(traffic):
    moved = (1, 2, 3)
    candidate = Candidate(scene=traffic, start=10, altered=moved, actor=None)
    for gate in own_gates(candidate, traffic, off_map=0.0):
        verdict = gate.check([traffic], 10)[0]
        assert verdict.passed, (gate.name, verdict)


def test_nan_is_named(traffic):
    traffic.tracks.xy[1, 40] = np.nan
    verdict = Finite(altered=(1,)).check([traffic], 10)[0]
    assert not verdict.passed
    assert "NaN" in verdict.detail
    traffic.tracks.xy[1, 40] = 5000.0
    assert Finite(altered=(1,)).check([traffic], 10)[0].detail == "too far"


def accelerating(path, a, *, begin=30, steps=10):
    """A cruise whose speed jumps by ``a`` for a while."""
    v = np.full(len(path), 10.0)
    v[begin : begin + steps] += a * 0.1 * np.arange(1, steps + 1)
    v[begin + steps :] += a * 0.1 * steps
    path[:, 0] = path[0, 0] + np.concatenate([[0.0], np.cumsum((v[1:] + v[:-1]) / 2 * 0.1)])
    return path


@pytest.mark.parametrize(("a", "passes"), [(3.0, True), (8.0, True), (13.0, False)])
def test_accelerations_beyond_the_limit_are_caught(make_scene, make_path, a, passes):
    scene = make_scene([make_path(0, 0, 10), accelerating(make_path(30, 3.5, 10), a)])
    verdict = Kinematics(altered=(1,)).check([scene], 10)[0]
    assert verdict.passed == passes
    assert verdict.value == pytest.approx(a / 10.4, rel=0.1)


def circling(radius, speed, steps=101):
    turn = speed / radius * 0.1 * np.arange(steps)
    return np.stack([radius * np.sin(turn), 40.0 + radius * (1 - np.cos(turn)), turn], axis=-1)


@pytest.mark.parametrize(
    ("radius", "speed", "what"), [(2.5, 2.0, "curvature"), (12.0, 12.0, "lateral")]
)
def test_turns_beyond_the_limits_are_caught(make_scene, make_path, radius, speed, what):
    scene = make_scene([make_path(0, 0, 10), circling(radius, speed)])
    verdict = Kinematics(altered=(1,)).check([scene], 10)[0]
    assert not verdict.passed
    assert what in verdict.detail
    mild = make_scene([make_path(0, 0, 10), circling(30.0, 8.0)])
    assert Kinematics(altered=(1,)).check([mild], 10)[0].passed


def test_a_running_pedestrian_is_too_fast(make_scene, make_path):
    kinds = [AgentClass.VEHICLE, AgentClass.PEDESTRIAN]
    for speed, passes in ((2.0, True), (6.0, False)):
        scene = make_scene([make_path(0, 0, 10), make_path(30, 5.0, speed)], kinds=kinds)
        assert Kinematics(altered=(1,)).check([scene], 10)[0].passed == passes


def test_only_altered_agents_are_judged(make_scene, make_path):
    scene = make_scene([make_path(0, 0, 10), accelerating(make_path(30, 3.5, 10), 14.0)])
    assert Kinematics(altered=()).check([scene], 10)[0].passed


def test_leaving_the_road_is_caught_and_the_unknown_is_said(make_scene, make_path):
    off = make_scene([make_path(0, 0, 10), make_path(30, 7.0, 10, to_y=12.0)])
    verdict = OnMap(altered=(1,), reference=0.0).check([off], 10)[0]
    assert not verdict.passed
    assert verdict.value > 0.5
    assert OnMap(altered=(1,), reference=0.9).check([off], 10)[0].passed
    bare = make_scene([make_path(0, 0, 10), make_path(30, 7.0, 10)], road_map=RoadMap.none())
    verdict = OnMap(altered=(1,), reference=0.0).check([bare], 10)[0]
    assert verdict.passed
    assert "unknown" in verdict.detail
    assert off_map_share(bare, [1], 10) is None


def test_without_areas_lanes_are_the_road(make_scene, make_path, make_map):
    whole = make_map()
    lanes = replace(whole, features=[f for f in whole.features if f.layer == MapLayer.LANE])
    surface = Surface(lanes)
    boxes = np.array([[10.0, 1.0, 0.0, 4.6, 1.9], [10.0, -4.0, 0.0, 4.6, 1.9]])
    assert surface.off(boxes).tolist() == [False, True]
    assert not Surface(RoadMap.none())


def test_collisions_are_counted_but_not_with_the_ego_later_on(make_scene, make_path):
    hit = make_scene([make_path(0, 0, 10), make_path(30, 3.5, 10), make_path(45, 3.5, 6)])
    assert touching(hit, [1], 10) == {(1, 2)}
    verdict = NoCollision(altered=(1,)).check([hit], 10)[0]
    assert (verdict.value, verdict.passed) == (1.0, False)
    assert "1–2" in verdict.detail
    assert NoCollision(altered=(1,), already=frozenset({(1, 2)})).check([hit], 10)[0].passed
    into_ego = make_scene([make_path(0, 0, 10), make_path(20, 0.0, 5)])
    assert NoCollision(altered=(1,)).check([into_ego], 10)[0].passed
    at_once = make_scene([make_path(0, 0, 10), make_path(3, 0.0, 10)])
    assert not NoCollision(altered=(1,)).check([at_once], 10)[0].passed


def test_a_query_must_hold_after_the_start_and_of_the_altered(make_scene, make_path):
    brakes = make_path(40, 0.0, 10)
    v = np.clip(10.0 - 6.0 * np.clip(np.arange(101) * 0.1 - 3.0, 0, None), 0, None)
    brakes[:, 0] = 40.0 + np.concatenate([[0.0], np.cumsum((v[1:] + v[:-1]) / 2 * 0.1)])
    scene = make_scene([make_path(0, 0, 8), brakes])
    stops, of_first = "hard_brake(a) then stopped(a) within 2 s", {scene.scene_id: (1,)}
    assert Shows(query=stops, rules={}, altered=of_first).check([scene], 10)[0].passed
    other = {scene.scene_id: (2,)}
    assert not Shows(query=stops, rules={}, altered=other).check([scene], 10)[0].passed
    assert (
        not Shows(query="hard_brake(a)", rules={}, altered=of_first).check([scene], 60)[0].passed
    )
    verdict = Shows(query="hard_brake(ego)", rules={}).check([scene], 10)[0]
    assert (verdict.passed, verdict.detail) == (False, "does not hold: hard_brake(ego)")


def test_a_query_of_many_scenes_is_answered_as_of_each(make_scene, make_path):
    v = np.clip(10.0 - 6.0 * np.clip(np.arange(101) * 0.1 - 3.0, 0, None), 0, None)
    stopping = np.concatenate([[0.0], np.cumsum((v[1:] + v[:-1]) / 2 * 0.1)])
    scenes, altered = [], {}
    for number, (brakes, who) in enumerate(
        [(True, (1,)), (True, (2,)), (False, (1,)), (True, ())], start=1
    ):
        other = make_path(40, 0.0, 10)
        if brakes:
            other[:, 0] = 40.0 + stopping
        paths = [make_path(0, 0, 8), other, make_path(80, 3.5, 8)]
        scenes.append(replace(make_scene(paths), scene_id=number, log_id=number))
        altered[number] = who
    gate = Shows(query="hard_brake(a)", rules={}, altered=altered)
    together = gate.check(scenes, 10)
    assert [verdict.passed for verdict in together] == [True, False, False, True]
    assert together == [gate.check([scene], 10)[0] for scene in scenes]


def test_the_tag_must_be_true_after_the_start_and_of_the_altered(make_scene, make_path):
    brakes = make_path(40, 0.0, 10)
    v = np.clip(10.0 - 6.0 * np.clip(np.arange(101) * 0.1 - 3.0, 0, None), 0, None)
    brakes[:, 0] = 40.0 + np.concatenate([[0.0], np.cumsum((v[1:] + v[:-1]) / 2 * 0.1)])
    scene = make_scene([make_path(0, 0, 8), brakes])
    assert HasTags(tags=("hard_brake",), altered=(1,)).check([scene], 10)[0].passed
    late = HasTags(tags=("hard_brake",), altered=(1,)).check([scene], 60)[0]
    assert not late.passed
    verdict = HasTags(tags=("hard_brake", "u_turn"), altered=(1,)).check([scene], 10)[0]
    assert not verdict.passed
    assert verdict.value == 0.5
    assert verdict.detail == "not true: u_turn"
