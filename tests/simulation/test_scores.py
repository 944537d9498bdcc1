"""Scores against hand-made drives: whose fault, how near, how far off the road."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geometry.boxes import overlap
from schemas.labels import AgentClass, LightState, MapLayer
from schemas.records import MapFeature, RoadMap
from schemas.scene import DT
from simulation.criteria import ALWAYS, CRITERIA, criteria_for, judge
from simulation.engine import Reference, simulate
from simulation.planners import ConstantVelocity, planner
from simulation.protocol import Observation, Plan
from simulation.routes import LaneGraph
from simulation.scores import (
    COMFORT,
    CollisionKind,
    Drive,
    collision_kind,
    is_at_fault,
    measure,
    time_to_contact,
)
from simulation.surface import Ground, LaneUse, Surface
from tests.simulation.driving import LENGTH, WIDTH, User, batch_of, going, red_at, road, scene


def drive(*users: User, by: str = "constant_velocity", **options: object) -> Drive:
    return measure(simulate(batch_of(scene(*users, **options)), planner(by)))[0]  # type: ignore[arg-type]


def box(x: float, y: float, yaw: float = 0.0) -> np.ndarray:
    return np.array([x, y, yaw, LENGTH, WIDTH])


@pytest.mark.parametrize(
    ("ego_speed", "other", "other_speed", "kind"),
    [
        (0.0, box(4.0, 0.0), 5.0, CollisionKind.STOPPED_EGO),
        (5.0, box(4.0, 0.0), 0.0, CollisionKind.STOPPED_TRACK),
        (5.0, box(4.0, 0.0), 3.0, CollisionKind.ACTIVE_FRONT),
        (5.0, box(-4.0, 0.0), 9.0, CollisionKind.ACTIVE_REAR),
        (5.0, box(-0.5, 1.6), 5.0, CollisionKind.ACTIVE_LATERAL),
        (5.0, box(1.0, 3.0, -np.pi / 2), 5.0, CollisionKind.ACTIVE_LATERAL),
    ],
)
def test_collisions_are_told_apart_as_nuplan_does(
    ego_speed: float, other: np.ndarray, other_speed: float, kind: CollisionKind
) -> None:
    ego = box(0.0, 0.0)
    assert overlap(ego, other)
    assert collision_kind(ego, ego_speed, other, other_speed) == kind


def test_fault() -> None:
    blamed = {kind for kind in CollisionKind if is_at_fault(kind, in_one_lane=True)}
    assert blamed == {CollisionKind.STOPPED_TRACK, CollisionKind.ACTIVE_FRONT}
    assert is_at_fault(CollisionKind.ACTIVE_LATERAL, in_one_lane=False)
    assert not is_at_fault(CollisionKind.ACTIVE_REAR, in_one_lane=False)


def test_running_into_a_standing_car_scores_nothing() -> None:
    result = drive(going(0.0), going(30.0, speed=0.0))
    assert [c.kind for c in result.collisions] == [CollisionKind.STOPPED_TRACK]
    assert result.score == 0.0
    assert result.collisions[0].speed == pytest.approx(10.0, abs=1e-3)


def test_being_run_into_from_behind_is_no_fault() -> None:
    result = drive(going(0.0, speed=5.0), going(-30.0, speed=15.0))
    assert [c.kind for c in result.collisions] == [CollisionKind.ACTIVE_REAR]
    assert result.at_fault == []
    assert result.multipliers["no_at_fault_collision"] == 1.0


def test_hitting_a_thing_once_halves_and_twice_ends_the_score() -> None:
    cone = {"speed": 0.0, "cls": AgentClass.OBSTACLE, "size": (0.5, 0.5)}
    one = drive(going(0.0), going(30.0, **cone))  # type: ignore[arg-type]
    two = drive(going(0.0), going(30.0, **cone), going(60.0, **cone))  # type: ignore[arg-type]
    assert one.multipliers["no_at_fault_collision"] == 0.5
    assert two.multipliers["no_at_fault_collision"] == 0.0


def test_someone_who_appears_on_top_of_the_ego_was_not_to_be_avoided() -> None:
    result = drive(going(0.0), going(20.0, speed=0.0, since=30))
    assert len(result.collisions) == 1
    assert result.at_fault == []


@given(gap=st.floats(0.5, 30.0), rear=st.floats(0.5, 20.0), front=st.floats(-10.0, 20.0))
def test_time_to_contact_in_line_is_gap_over_closing_speed(
    gap: float, rear: float, front: float
) -> None:
    a, b = box(0.0, 0.0)[None], box(gap + LENGTH, 0.3)[None]
    ttc = time_to_contact(a, np.array([[rear, 0.0]]), b, np.array([[front, 0.0]]))[0]
    closing = rear - front
    assert ttc == pytest.approx(gap / closing if closing > 1e-6 else np.inf, rel=1e-6)


@given(
    st.floats(-15, 15), st.floats(-15, 15), st.floats(-3, 3), st.floats(-9, 9), st.floats(-9, 9)
)
def test_time_to_contact_is_when_stepped_boxes_first_overlap(
    x: float, y: float, yaw: float, vx: float, vy: float
) -> None:
    a, b = box(0.0, 0.0), box(x, y, yaw)
    ttc = time_to_contact(a[None], np.zeros((1, 2)), b[None], np.array([[vx, vy]]))[0]
    t = np.arange(0.0, 3.0, 0.01)
    moved = np.repeat(b[None], len(t), axis=0)
    moved[:, 0] += vx * t
    moved[:, 1] += vy * t
    hit = overlap(np.broadcast_to(a, moved.shape), moved)
    # Grazing contacts shorter than a step may be missed by stepping, never by solving.
    if hit.any():
        assert ttc <= t[hit.argmax()] + 1e-9
        assert ttc >= t[hit.argmax()] - 0.01 - 1e-9
    elif ttc < 2.98:
        there = b.copy()
        there[:2] += np.array([vx, vy]) * (ttc + 1e-6)
        grown = there + np.array([0, 0, 0, 0.05, 0.05])
        assert overlap(a, grown)


def test_least_ttc_of_a_follower() -> None:
    # Bumpers 25.4 m apart, closing at 5 m/s for 2 s, then alongside no more: it slows never.
    result = drive(going(0.0, speed=10.0), going(70.0, speed=4.0))
    # After 8 s, 70 − 4.6 − 6 · 8 = 17.4 m are left at 6 m/s closing: 2.9 s.
    assert result.ttc == pytest.approx(17.4 / 6.0, abs=1e-3)


def test_those_behind_have_no_ttc() -> None:
    assert drive(going(0.0, speed=5.0), going(-52.0, speed=10.0)).ttc == 3.0


def test_the_gap_to_a_pedestrian_is_measured() -> None:
    walker = going(40.0, 2.5, speed=0.0, cls=AgentClass.PEDESTRIAN, size=(0.6, 0.6))
    result = drive(going(0.0), walker, going(10.0, -3.0, speed=0.0))
    assert result.gap_vru == pytest.approx(2.5 - 0.3 - WIDTH / 2, abs=1e-3)
    assert result.gap == pytest.approx(3.0 - WIDTH, abs=1e-3)


def test_progress_is_a_ratio_to_the_recorded_drive() -> None:
    slower = going(0.0, speed=10.0)
    slower.xy = slower.xy.copy()
    t = (np.arange(91) - 10) * DT
    slower.xy[:, 0] = np.where(t < 0, 10 * t, 10 * t + t**2 / 2)  # the log speeds up to 18 m/s
    result = drive(slower)
    assert result.progress == pytest.approx(80.0 / 112.0, abs=0.01)


def test_driving_backwards_is_no_progress_also_where_the_log_stood() -> None:
    class Reverses(Reference, ConstantVelocity):
        def plan(self, obs: Observation) -> Plan:
            x, y = obs.ego.xy[:, -1].T
            state = np.stack([x - 0.3, y, obs.ego.yaw[:, -1], np.full(len(x), -3.0)], axis=-1)
            return Plan(trajectory=state[:, None], exact=True)

    rollout = simulate(batch_of(scene(going(0.0, speed=0.0))), Reverses())
    (result,) = measure(rollout)
    assert result.distance < -10.0
    assert result.progress == 0.0
    assert result.score == 0.0


def test_without_a_map_the_road_is_unknown_not_kept() -> None:
    result = drive(going(0.0))
    assert result.outside is None
    assert result.wrong_way is None
    assert result.overspeed is None
    assert "no map" in result.unknown["outside"]
    assert result.multipliers["drivable_area"] is None
    assert result.score == pytest.approx(1.0)


def test_leaving_the_road_is_measured_in_metres() -> None:
    turning = going(0.0, speed=10.0)
    turning.xy, turning.yaw = turning.xy.copy(), turning.yaw.copy()
    straight = drive(turning, road_map=road())
    assert straight.outside == 0.0
    # At the start it points 0.1 rad to the right, though the log then goes straight on.
    turning.yaw[:11] = -0.1
    off = drive(turning, road_map=road())
    right_side = 1.75
    depth = 80.0 * np.sin(0.1) + WIDTH / 2 * np.cos(0.1) + LENGTH / 2 * np.sin(0.1) - right_side
    assert off.outside == pytest.approx(depth, abs=0.3)
    assert off.score == 0.0


def test_driving_against_the_lanes_is_seen() -> None:
    graph = LaneGraph(road())
    xy = np.stack([np.arange(20.0), np.zeros(20)], axis=-1)
    assert not LaneUse(graph, xy, np.zeros(20)).against.any()
    assert LaneUse(graph, xy, np.full(20, np.pi)).against.all()
    assert LaneUse(graph, xy, np.zeros(20)).in_one_lane(1.9).all()
    aside = xy + np.array([0.0, 1.4])
    assert not LaneUse(graph, aside, np.zeros(20)).in_one_lane(1.9).any()


def test_a_recorded_drive_that_breaks_the_map_silences_it() -> None:
    result = drive(going(0.0, 9.0), road_map=road())
    assert result.outside is None
    assert "recorded drive itself" in result.unknown["outside"]


def test_past_the_end_of_the_map_nobody_is_off_the_road() -> None:
    """The lanes end at x = 400; the recorded drive ends 5 m before that, the driven one 20 m behind it."""
    slow, end = going(315.0, speed=8.75), going(315.0, speed=12.5)
    built = batch_of(scene(slow, road_map=road()))
    beyond = measure(simulate(built, ConstantVelocity()))[0]
    assert beyond.outside == 0.0
    faster = replace(built, velocity=built.velocity.copy())
    faster.velocity[:, 0, 0] = batch_of(scene(end, road_map=road())).velocity[:, 0, 0]
    rollout = simulate(faster, ConstantVelocity())
    assert rollout.xy[-1, 0, 0, 0] > 410.0
    assert measure(rollout)[0].outside == 0.0


def test_road_edges_bound_a_road_wider_than_its_lanes() -> None:
    def line(kind: MapLayer, i: int, y: float) -> MapFeature:
        points = np.array([[-50.0, y, 0.0], [100.0, y, 0.0]])
        return MapFeature(feature_id=i, source_id=str(i), layer=kind, points=points)

    edged = RoadMap(
        source_map_id="edged",
        features=(line(MapLayer.LANE, 0, 0.0), line(MapLayer.ROAD_EDGE, 1, 5.0)),
    )
    surface = Surface(Ground(edged), np.array([-50.0, -50.0]), np.array([100.0, 50.0]))
    points = np.array([[0.0, 1.0], [0.0, 4.5], [0.0, 6.5], [0.0, -4.0], [0.0, -9.0]])
    np.testing.assert_allclose(surface.outside(points), [0, 0, 1.5, 0, 7.0], atol=0.05)


def test_crossing_at_red_is_counted() -> None:
    options = {"road_map": road(), "signals": red_at(40.0, green_from=75)}
    late = going(0.0, speed=10.0)
    t = (np.arange(91) - 10) * DT
    late.xy = late.xy.copy()
    late.xy[:, 0] = np.where(t < 0, 10 * t, np.where(t < 2, 10 * t - 2.5 * t**2, 10.0))
    through = drive(late, **options)  # constant velocity goes on where the log stops
    assert through.red_lights == 1
    assert drive(late, by="log_replay", **options).red_lights == 0
    assert drive(going(0.0), by="log_replay", **options).red_lights is None
    assert drive(late, road_map=road()).red_lights is None
    assert int(LightState.RED) == 1


def test_a_line_crossed_while_the_light_is_not_known_is_neither_crossed_at_red_nor_not() -> None:
    dark = red_at(40.0)
    dark.state[:, 45:] = int(LightState.UNKNOWN)  # the ego is at the line at step 48
    assert drive(going(0.0, speed=10.0), road_map=road(), signals=dark).red_lights is None
    dark.state[:, :60], dark.state[:, 60:] = int(LightState.GREEN), int(LightState.UNKNOWN)
    assert drive(going(0.0, speed=10.0), road_map=road(), signals=dark).red_lights == 0


def test_speeding_is_its_mean_excess() -> None:
    result = drive(going(0.0, speed=17.0), road_map=road(15.0))
    assert result.overspeed == pytest.approx(2.0, abs=1e-3)
    assert result.weighted["speed_limit"] == pytest.approx(1 - 2.0 / 2.23, abs=1e-3)


def test_comfort_bounds_are_nuplans_and_hard_braking_breaks_them() -> None:
    calm = drive(going(0.0))
    assert calm.comfortable
    hard = drive(going(0.0, speed=14.0), going(25.0, speed=0.0), by="idm", road_map=road())
    assert hard.comfort["lon_acceleration"][0] < COMFORT["lon_acceleration"][0]
    assert not hard.comfortable


def test_the_score_is_the_weighted_mean_times_the_multipliers() -> None:
    made = Drive(
        collisions=(), outside=0.1, wrong_way=3.0, progress=0.5, distance=1.0, ttc=0.5,
        overspeed=1.115, comfort={}, comfort_before={}, aside=None, reference=2.0, red_lights=None, gap=None, gap_vru=None, braking=0.0,
        goal_distance=0.0,
    )  # fmt: skip
    assert made.score == pytest.approx(0.5 * (5 * 0.5 + 5 * 0 + 4 * 0.5 + 2 * 1) / 16)


def test_tags_call_for_criteria_and_the_unknown_has_no_say() -> None:
    assert set(criteria_for(())) == set(ALWAYS)
    assert criteria_for(("jaywalking",))["min_gap_vru"] == 0.5
    assert criteria_for(("cut_in",), {"min_gap": 1.0})["min_gap"] == 1.0
    from tests.simulation.driving import case_of

    built = scene(going(0.0))
    measured, passed = judge(case_of(built), drive(going(0.0)))
    assert passed
    assert measured["drivable_area"].passed is None
    assert measured["drivable_area"].detail == "there is no map"
    assert measured["no_at_fault_collision"].passed is True


def test_every_criterion_can_be_measured() -> None:
    from dataclasses import replace

    from tests.simulation.driving import case_of

    built = scene(going(0.0), going(30.0, speed=0.0), road_map=road(), signals=red_at(90.0))
    case = replace(case_of(built), criteria={n: c.bound for n, c in CRITERIA.items()})
    result = measure(simulate(batch_of(built), planner("constant_velocity")))[0]
    measured, passed = judge(case, result)
    assert list(measured) == list(CRITERIA)
    assert not passed
    assert "stopped_track with vehicle 1" in measured["no_at_fault_collision"].detail
