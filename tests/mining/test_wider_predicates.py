"""The wider vocabulary in closed form: each predicate where it holds and where it must not, and
both sides of each threshold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mining.predicates import PREDICATES, tag_scene
from schemas.labels import AgentClass, LaneType, LightState, MapLayer, Truth, Weather
from schemas.records import MapFeature, RoadMap
from schemas.scene import Scene
from tests.mining import micro
from tests.mining.micro import STEPS, TIME, along, arc, area, lane, ramp, scene, still
from tests.mining.micro import speeds as way_of
from tests.mining.test_predicates import (
    FAILS,
    GREEN,
    HOLDS,
    LAST,
    RED,
    UNSEEN,
    Build,
    Case,
    assert_absent,
    assert_holds,
    bump,
    crosswalk,
    cruise,
    east_through,
    lane_changer,
    lit,
    slide,
    true,
    two_lanes_meet,
    walker,
)

YELLOW, OFF = LightState.YELLOW, LightState.OFF


def named(made: Scene, words: dict[int, str], dataset: str = "nuscenes") -> Scene:
    """The scene as of a source that says these words of its tracks."""
    return replace(made, source_cls=words, dataset=dataset)


def behind_a_truck(x: float = 30.0) -> Scene:
    """The ego at the origin, a truck whose rear is 10 m ahead, and one who walks across."""
    return scene(
        still(0.0, 0.0),
        still(16.0, 0.0, cls=AgentClass.TRUCK),
        walker(2.0, x, -10.0),
    )


def passing() -> Scene:
    """One passes the ego on its left at 4 m/s more, from 20.1 m behind."""
    return scene(cruise(8.0), cruise(12.0, x=-80.1, y=3.5))


def apart_by(angle: float, speed: float = 3.0) -> Scene:
    """Two with headings that differ by so many degrees."""
    return scene(
        along(speed * TIME, start=(-10.0, 0.0)),
        along(speed * TIME, start=(-10.0, 20.0), yaw=np.radians(angle)),
    )


def three_points(back: float = 50.0, *, reverse: float = -1.0) -> micro.Actor:
    """75° left forward, ``back``° left backward, the rest to 180° forward; radius 5 m, 2.5 m/s."""
    plan = [(0.5, 0.0, 1.0), (np.radians(75.0), 1.0, 1.0), (0.4, 0.0, 0.0),
            (np.radians(back), 1.0, reverse), (0.4, 0.0, 0.0),
            (np.radians(105.0 - back), 1.0, 1.0)]  # fmt: skip
    yaw, place, fine = 0.0, np.zeros(2), []
    speed, radius, step = 2.5, 5.0, 0.01
    for amount, turns, way in plan:
        seconds = amount * radius / speed if turns else amount
        for _ in range(round(seconds / step)):
            yaw += turns * speed / radius * step
            place = place + way * speed * step * np.array([np.cos(yaw), np.sin(yaw)])
            fine.append((*place, yaw))
    while len(fine) < 1 + 10 * (STEPS - 1):
        place = place + speed * step * np.array([np.cos(yaw), np.sin(yaw)])
        fine.append((*place, yaw))
    path = np.array(fine)[::10][:STEPS]
    return micro.Actor(path[:, :2], path[:, 2])


def merging(from_lane: int) -> Scene:
    """Down the ramp (2) or the straight lane (0) at 10 m/s; the joint comes after 5 s."""
    s = 10.0 * TIME - 50.0
    slope = np.array([150.0, 15.0]) / np.hypot(150.0, 15.0) if from_lane == 2 else np.array([1, 0])
    xy = np.where((s < 0.0)[:, None], s[:, None] * slope, np.column_stack([s, np.zeros(STEPS)]))
    yaw = np.where(s < 0.0, np.arctan2(slope[1], slope[0]), 0.0)
    return scene(micro.Actor(xy, yaw), map=two_lanes_meet())


def lanes_of(lane_type: LaneType) -> RoadMap:
    """The road with one more lane at y = −3.5 of a type."""
    return micro.road(lane([(x, -3.5) for x in range(-200, 201, 5)], lane_type=lane_type))


def signed_junction(count: int) -> RoadMap:
    """The junction with stop signs at so many of its four ways in."""
    made = micro.junction()
    spots = [(-13.0, -5.0), (13.0, 5.0), (5.0, -13.0), (-5.0, 13.0)]
    signs = tuple(
        MapFeature(
            feature_id=len(made.features) + k, source_id=f"sign{k}", layer=MapLayer.STOP_SIGN,
            points=np.array([[x, y, 0.0]]),
        )
        for k, (x, y) in enumerate(spots[:count])
    )  # fmt: skip
    return replace(made, features=(*made.features, *signs))


def narrow(width: float) -> RoadMap:
    """One lane of a width."""
    facts = lane([(-100.0, 0.0), (0.0, 0.0), (100.0, 0.0)])
    side = np.array([0.0, width / 2, 0.0])
    return micro.build(
        [{**facts, "left": facts["points"] + side, "right": facts["points"] - side}]
    )


def stop_line() -> RoadMap:
    return micro.road(area(MapLayer.STOP_LINE, [(0.0, -1.75), (0.0, 1.75)]))


def car_park() -> RoadMap:
    return micro.road(
        area(MapLayer.PARKING, [(-20.0, -30.0), (20.0, -30.0), (20.0, -10.0), (-20.0, -10.0)])
    )


def pulled_over(aside: float = -2.5) -> Scene:
    return scene(
        along(way_of(ramp(2.0, 6.0, 8.0, 0.0)), start=(-60, 0), side=slide(2.5, 5.5, aside))
    )


def pulled_out(aside: float = -2.5) -> Scene:
    side = aside - slide(3.0, 6.0, aside)
    return scene(along(way_of(ramp(2.0, 6.0, 0.0, 8.0)), start=(-60, 0), side=side))


def rider(y: float = 1.75, v: float = 8.0) -> micro.Actor:
    return along(v * TIME, start=(-60.0, y), cls=AgentClass.MOTORCYCLE, size=(2.2, 0.8, 1.5))


def works(count: int, word: str = "movable_object.trafficcone") -> Scene:
    cones = [still(-40.0 + 3.0 * k, 1.75, cls=AgentClass.OBSTACLE) for k in range(count)]
    made = scene(cruise(3.0), *cones)
    return named(made, {0: "ego", **{k + 1: word for k in range(count)}})


def jerked(jerk: float) -> Scene:
    """Braking that grows by so much a second between 3.0 and 4.2 s, and stays."""
    return scene(
        along(
            way_of(
                lambda t: (
                    70.0
                    - jerk / 2 * np.clip(t - 3, 0, 1.2) ** 2
                    - 1.2 * jerk * np.clip(t - 4.2, 0, None)
                )
            ),
            start=(-190, 0),
        )
    )


def bent(angle: float, radius: float = 12.0, speed: float = 6.0, turn_from: float = 3.0) -> Scene:
    return scene(
        arc(speed, radius, turn_from=turn_from, angle=np.radians(angle), start=(-40.0, 0.0))
    )


WIDER = [
    # attributes
    Case("category", lambda: scene(cruise(5.0), walker(1.0, 0.0, -5.0)), 1, begin=0, end=LAST,
         slack=0, value=float(AgentClass.PEDESTRIAN)),
    Case("is_ego", lambda: scene(cruise(5.0), cruise(5.0, -40.0)), 0, begin=0, end=LAST, slack=0),
    Case(
        "special_vehicle",
        lambda: named(scene(cruise(5.0), cruise(5.0, -40.0)), {1: "vehicle.emergency.police"}),
        1, begin=0, end=LAST, slack=0,
    ),
    Case(
        # The truck's rear is 1.25 m to each side at 10 m: at 30 m it hides 3.75 m to each side.
        "occluded_by", behind_a_truck, 2, 1, begin=31, end=69, slack=1, value=1.0,
    ),
    # longitudinal
    Case(
        # 4 m/s²: 0.5 m/s after 0.125 s.
        "moving",
        lambda: scene(along(way_of(ramp(2.0, 4.0, 0.0, 8.0)), start=(-60, 0))),
        begin=21, end=LAST, slack=1, value=8.0,
    ),
    Case("jerk_magnitude_high", lambda: jerked(9.5), begin=33, end=39, slack=4, value=9.5),
    # lateral
    Case("trajectory_stationary", lambda: scene(still(0.0, 0.0)), begin=0, end=LAST, slack=0),
    Case("trajectory_straight", lambda: scene(lane_changer(2.4)), begin=0, end=LAST, slack=0),
    Case("trajectory_straight_left", lambda: scene(lane_changer(2.6)), begin=0, end=LAST, slack=0),
    Case("trajectory_straight_right", lambda: scene(lane_changer(-2.6)), begin=0, end=LAST,
         slack=0),
    Case("trajectory_left", lambda: bent(31.0), begin=0, end=LAST, slack=0, value=31.0),
    Case("trajectory_right", lambda: bent(-31.0), begin=0, end=LAST, slack=0, value=-31.0),
    Case("trajectory_left_u_turn", lambda: bent(170.0, 6.0, 5.0, 1.0), value=170.0),
    Case("trajectory_right_u_turn", lambda: bent(-170.0, 6.0, 5.0, 1.0), value=-170.0),
    Case("three_point_turn", lambda: scene(three_points()), begin=5, end=73, slack=3, value=180.0),
    Case("high_speed_turn", lambda: bent(90.0, 22.0, 8.2), begin=30, end=72, value=8.2),
    Case("low_speed_turn", lambda: bent(90.0, 8.0, 3.8), begin=30, end=63, value=3.8),
    Case("lat_accel_uncomfortable", lambda: bent(90.0, 22.0, 11.0), begin=30, end=61, value=5.5),
    Case(
        "lane_keeping",
        lambda: scene(along(8.0 * TIME, start=(-60, 0), side=np.full(STEPS, 0.98))),
        begin=0, end=LAST, slack=0, value=0.98,
    ),
    # 30 m before the joint to 15 m after it.
    Case("merge", lambda: merging(2), begin=20, end=65, slack=1, value=10.0),
    # Out of the lane's middle 1.2 m at 3.96 s, below 0.3 m/s at 5.85 s.
    Case("pull_over", pulled_over, begin=38, end=59, slack=2, value=2.5),
    # Above 0.5 m/s at 2.25 s, within 1.2 m of the middle at 4.54 s.
    Case("pull_out", pulled_out, begin=22, end=46, slack=2, value=2.5),
    # map relation
    Case("in_drivable", lambda: scene(cruise(8.0, y=-1.7)), begin=0, end=LAST, slack=0),
    Case("on_vehicle_lane", lambda: scene(cruise(8.0)), begin=0, end=LAST, slack=0),
    Case(
        "on_bike_lane",
        lambda: scene(
            cruise(5.0), cruise(5.0, y=-3.5, cls=AgentClass.CYCLIST), map=lanes_of(LaneType.BIKE)
        ),
        1, begin=0, end=LAST, slack=0,
    ),
    Case(
        "on_bus_lane", lambda: scene(cruise(5.0, y=-3.5), map=lanes_of(LaneType.BUS)),
        begin=0, end=LAST, slack=0,
    ),
    Case(
        # Front on it at x = −4.4 after 5.56 s, rear off it at x = 4.4 after 6.44 s.
        "traversing_crosswalk",
        lambda: scene(cruise(10.0, x=-60.0), map=micro.road(crosswalk())),
        begin=56, end=64, slack=0, value=10.0,
    ),
    Case(
        # The front reaches the line after 17.7 / 4 s, the rear leaves it 4.8 / 4 s later.
        "on_stop_line", lambda: scene(cruise(4.0, x=-20.1), map=stop_line()),
        begin=45, end=56, slack=0,
    ),
    Case(
        # The front is 10 m before the junction at x = −24.4, the centre leaves it at x = 12.
        "all_way_stop", lambda: scene(east_through(8.0), map=signed_junction(4)),
        begin=45, end=90, slack=1,
    ),
    Case(
        "obstacle_on_road",
        lambda: scene(cruise(8.0), still(0.0, 1.1, cls=AgentClass.OBSTACLE)),
        1, begin=0, end=LAST, slack=0, value=1.1,
    ),
    Case(
        # It stands after 4 s.
        "stalled_vehicle",
        lambda: scene(
            cruise(8.0, y=3.5), along(way_of(ramp(2.0, 4.0, 8.0, 0.0)), start=(-24.0, 0.0))
        ),
        1, begin=39, end=LAST, slack=2, value=6.2,
    ),
    Case(
        "in_carpark", lambda: scene(cruise(10.0, x=-60.1, y=-20.0), map=car_park()),
        begin=41,
        end=80,
        slack=0,
    ),
    Case(
        "narrow_lane", lambda: scene(cruise(8.0, x=-60.0), map=narrow(2.7)),
        begin=0, end=LAST, slack=0, value=2.7,
    ),
    Case(
        "same_side_of_road", lambda: scene(cruise(8.0), cruise(8.0, x=-40.0, y=3.5)),
        0, 1, begin=0, end=LAST, slack=0, value=float(np.hypot(15.2, 1.5)),
    ),
    Case(
        "opposite_side_of_road",
        lambda: scene(cruise(8.0), cruise(4.0, x=-20.0, y=7.0, yaw=np.pi)),
        0, 1, begin=0, slack=0, value=5.0,
    ),
    # signals: the front is 45.7 m before the line at first and passes it after 5.71 s
    *(
        Case(name, lambda shown=shown: lit(east_through(8.0, x=-60.1), through=shown),
             begin=0, end=57, slack=0, value=0.1)
        for name, shown in (("relevant_green", GREEN), ("relevant_yellow", YELLOW),
                            ("relevant_red", RED), ("relevant_off", OFF))
    ),
    # geometry
    Case(
        # 1.9 m aside: 2.0 m of clearance 0.62 m before the bumpers are level; 2.2 m, 1.11 m after.
        "very_near", lambda: scene(cruise(8.0, x=-40.0), still(0.0, -3.9)),
        0, 1, begin=44, end=57, slack=1, value=1.9,
    ),
    Case(
        # Nearer than the one 15.2 m ahead once it is 16.5 m to the side.
        "nearest", lambda: scene(still(0.0, 0.0), still(20.0, 0.0), walker(2.0, 0.0, -30.0)),
        2, 0, begin=68, end=LAST, slack=0,
    ),
    # From 20.1 m behind at 4 m/s: level with the rear after 4.43 s, with the front after 5.63 s.
    Case("behind", passing, 1, 0, begin=0, end=44, slack=0),
    Case("left_of", passing, 1, 0, begin=45, end=56, slack=0, value=2.5),
    Case("in_front_of", passing, 1, 0, begin=57, end=LAST, slack=0),
    Case("right_of", passing, 0, 1, begin=45, end=56, slack=0, value=2.5),
    Case(
        # 20 m · tan 22.5° = 8.28 m aside after 5.86 s.
        "facing", lambda: scene(still(0.0, 0.0), walker(2.0, 20.0, -20.0)),
        0, 1, begin=59, end=LAST, slack=0, value=0.0,
    ),
    Case("same_heading", lambda: apart_by(44.9), 0, 1, begin=0, slack=0, value=44.9),
    Case("perpendicular_heading", lambda: apart_by(45.1), 0, 1, begin=0, slack=0, value=45.1),
    Case("opposite_heading", lambda: apart_by(180.0), 0, 1, begin=0, slack=0, value=180.0),
    Case(
        # 12 m across at 10.75 m.
        "view_blocking",
        lambda: scene(still(0.0, 0.0), still(12.0, 0.0, np.pi / 2, AgentClass.TRUCK)),
        1, begin=0, end=LAST, slack=0, value=float(np.degrees(2 * np.arctan(6.0 / 10.75))),
    ),
    Case("between", behind_a_truck, 1, 2, begin=32, end=68, slack=0),
    # interaction
    Case(
        "lane_splitting", lambda: scene(cruise(8.0), rider(), cruise(8.0, y=3.5)),
        1, begin=0, end=LAST, slack=0, value=2 * (1.75 - 1.0 - 0.4),
    ),
    Case(
        "platoon",
        lambda: scene(cruise(8.0, x=-20.0), cruise(8.0, x=-40.0), cruise(8.0, x=-60.0)),
        0, begin=0, end=LAST, slack=0, value=3.0,
    ),
    # environment
    Case("surface", lambda: scene(cruise(5.0), weather=Weather.SNOW), None, begin=0, end=LAST),
    Case("work_zone", lambda: works(3), None, begin=0, slack=0, value=3.0),
]  # fmt: skip

WIDER_FAILS: dict[str, Build] = {
    "is_ego": lambda: scene(cruise(5.0), has_ego=False),
    "special_vehicle": lambda: named(scene(cruise(5.0), cruise(5.0, -40.0)), {1: "vehicle.car"}),
    # Nearer than the truck.
    "occluded_by": lambda: behind_a_truck(8.0),
    "moving": lambda: scene(cruise(0.48)),
    "jerk_magnitude_high": lambda: jerked(8.0),
    "trajectory_stationary": lambda: scene(along(0.31 * TIME)),
    "trajectory_straight": lambda: scene(lane_changer(2.6)),
    "trajectory_straight_left": lambda: scene(lane_changer(2.4)),
    "trajectory_straight_right": lambda: scene(lane_changer(-2.4)),
    "trajectory_left": lambda: bent(29.0),
    "trajectory_right": lambda: bent(-29.0),
    "trajectory_left_u_turn": lambda: bent(170.0, 6.0, 5.0, 3.6),  # not yet behind its start
    "trajectory_right_u_turn": lambda: bent(-170.0, 6.0, 5.0, 3.6),
    "three_point_turn": lambda: scene(three_points(reverse=1.0)),  # forward all the way
    "high_speed_turn": lambda: bent(90.0, 22.0, 7.8),
    "low_speed_turn": lambda: bent(90.0, 8.0, 4.2),
    "lat_accel_uncomfortable": lambda: bent(90.0, 22.0, 10.2),
    "lane_keeping": lambda: scene(along(8.0 * TIME, start=(-60, 0), side=np.full(STEPS, 1.02))),
    "merge": lambda: merging(0),
    "pull_over": lambda: pulled_over(-1.0),
    "pull_out": lambda: pulled_out(-1.0),
    "in_drivable": lambda: scene(cruise(8.0, y=-1.8)),
    "on_vehicle_lane": lambda: scene(cruise(8.0, y=-3.5), map=lanes_of(LaneType.BUS)),
    "on_bike_lane": lambda: scene(
        cruise(5.0), cruise(5.0, cls=AgentClass.CYCLIST, y=3.5), map=lanes_of(LaneType.BIKE)
    ),
    "on_bus_lane": lambda: scene(cruise(8.0), map=lanes_of(LaneType.BUS)),
    "traversing_crosswalk": lambda: scene(still(0.0, 0.0), map=micro.road(crosswalk())),
    "on_stop_line": lambda: scene(cruise(4.0, x=-20.1, y=3.5), map=stop_line()),
    "all_way_stop": lambda: scene(east_through(8.0), map=signed_junction(3)),
    "obstacle_on_road": lambda: scene(cruise(8.0), still(0.0, 1.3, cls=AgentClass.OBSTACLE)),
    "stalled_vehicle": lambda: scene(still(0.0, 0.0), map=micro.road(crosswalk(12.0))),
    "in_carpark": lambda: scene(cruise(8.0), map=car_park()),
    "narrow_lane": lambda: scene(cruise(8.0, x=-60.0), map=narrow(2.8)),
    "same_side_of_road": lambda: scene(cruise(8.0), cruise(4.0, x=-20.0, y=7.0, yaw=np.pi)),
    "opposite_side_of_road": lambda: scene(cruise(8.0), cruise(8.0, x=-40.0, y=3.5)),
    "relevant_green": lambda: lit(east_through(8.0), through=YELLOW),
    "relevant_yellow": lambda: lit(east_through(8.0), through=RED),
    "relevant_red": lambda: lit(east_through(8.0, x=-5.0), through=RED),  # past the line
    "relevant_off": lambda: lit(east_through(8.0), through=GREEN),
    "very_near": lambda: scene(cruise(8.0, x=-40.0), still(0.0, -4.1)),
    "nearest": lambda: scene(still(0.0, 0.0), still(20.0, 0.0), walker(2.0, 0.0, -40.0)),
    "behind": lambda: scene(cruise(8.0), cruise(8.0, x=-50.0)),
    "left_of": lambda: scene(cruise(8.0), cruise(8.0, y=-3.5)),
    "in_front_of": lambda: scene(cruise(8.0), cruise(8.0, x=-70.0)),
    "right_of": lambda: scene(cruise(8.0), cruise(8.0, y=-3.5)),
    "facing": lambda: scene(still(0.0, 0.0), still(20.0, -8.4)),
    "same_heading": lambda: apart_by(45.1),
    "perpendicular_heading": lambda: apart_by(44.9),
    "opposite_heading": lambda: apart_by(134.9),
    "view_blocking": lambda: scene(still(0.0, 0.0), still(19.0, 0.0, np.pi / 2, AgentClass.TRUCK)),
    "between": lambda: behind_a_truck(8.0),
    "lane_splitting": lambda: scene(cruise(8.0), rider(), cruise(8.0, y=5.2)),
    "platoon": lambda: scene(cruise(8.0, x=-20.0), cruise(8.0, x=-40.0), cruise(8.0, x=-70.0)),
    "surface": lambda: scene(cruise(5.0), weather=Weather.CLEAR),
    "work_zone": lambda: works(2),
}

EVERYWHERE_UNKNOWN = {"in_pickup_dropoff", "zone"}
"""No format tells them."""
WHEREVER_KNOWN = {"weather", "illumination", "category"}
"""They hold of every scene or agent of which they are known."""


@pytest.mark.parametrize("case", WIDER, ids=lambda case: case.name)
def test_it_holds_where_it_should(case: Case) -> None:
    assert_holds(case)


@pytest.mark.parametrize("name", WIDER_FAILS)
def test_it_does_not_hold_where_it_should_not(name: str) -> None:
    assert_absent(name, WIDER_FAILS[name](), WIDER)


def test_every_predicate_has_both_cases() -> None:
    held = {case.name for case in (*HOLDS, *WIDER)}
    assert held == set(PREDICATES) - EVERYWHERE_UNKNOWN
    assert {*FAILS, *WIDER_FAILS} == held - WHEREVER_KNOWN


@pytest.mark.parametrize("name", sorted(EVERYWHERE_UNKNOWN))
def test_what_no_format_tells_is_unknown_not_false(name: str) -> None:
    (interval,) = tag_scene(scene(cruise(8.0)), [name])
    assert interval.truth == Truth.UNKNOWN
    assert "no map that is read" in interval.evidence["reason"]


@pytest.mark.parametrize(
    ("name", "made", "reason"),
    [
        ("in_carpark", lambda: scene(cruise(8.0)), "no car parks"),
        ("on_stop_line", lambda: scene(cruise(8.0)), "no stop lines"),
        ("all_way_stop", lambda: scene(cruise(8.0)), "no stop signs"),
        ("at_stop_sign", lambda: scene(cruise(8.0)), "no stop signs"),
        ("traversing_crosswalk", lambda: scene(cruise(8.0)), "no crosswalks"),
        ("narrow_lane", lambda: scene(cruise(8.0), map=RoadMap.none()), "no map"),
        ("surface", lambda: scene(cruise(8.0), weather=Weather.CLEAR), "whether the road was dry"),
        ("surface", lambda: scene(cruise(8.0)), "weather was not recorded"),
        ("special_vehicle", lambda: scene(cruise(8.0)), "does not tell vehicles of police"),
        ("work_zone", lambda: scene(cruise(8.0)), "does not tell cones"),
        ("relevant_red", lambda: scene(cruise(8.0)), "signals were not recorded"),
        ("relevant_red", lambda: lit(east_through(8.0), through=UNSEEN), "not observed"),
        ("occluded_by", lambda: scene(cruise(8.0), has_ego=False), "no ego"),
        ("on_bus_lane", lambda: scene(cruise(8.0, y=-3.5), map=lanes_of(LaneType.UNKNOWN)),
         "lane's type is not known"),
        ("trajectory_left", lambda: scene(cruise(8.0), cruise(8.0, -40.0, seen=TIME < 2.9)),
         "too short a time"),
    ],
)  # fmt: skip
def test_what_cannot_be_known_is_told_with_the_reason(name, made, reason) -> None:  # type: ignore[no-untyped-def]
    (interval,) = [i for i in tag_scene(made(), [name]) if i.truth == Truth.UNKNOWN]
    assert reason in interval.evidence["reason"]


def test_off_the_drivable_surface_is_told_of_those_who_move_and_left_open_far_from_it() -> None:
    """The surface ends at y = −1.75; a corner is 0.25, 0.35, … m beyond."""
    for y, moves, truth in (
        (-1.0, 8.0, None), (-1.1, 8.0, Truth.TRUE), (-1.1, 0.4, None), (-6.7, 8.0, Truth.TRUE),
        (-6.8, 8.0, Truth.UNKNOWN),
    ):  # fmt: skip
        found = tag_scene(scene(cruise(moves, y=y)), ["off_drivable"])
        assert [i.truth for i in found] == ([] if truth is None else [truth])
        if truth == Truth.TRUE:
            assert found[0].value == pytest.approx(-1.75 - (y - 1.0), abs=0.01)


def test_turning_off_the_road_is_no_swerve() -> None:
    """Round two bends, 40° to the left and back, it moves aside fast, but as a road would lead it."""

    def winding(angle: float) -> Scene:
        turn = np.radians(angle) * (
            np.clip((TIME - 3.0) / 0.8, 0.0, 1.0) - np.clip((TIME - 4.6) / 0.8, 0.0, 1.0)
            - np.clip((TIME - 5.4) / 0.8, 0.0, 1.0) + np.clip((TIME - 7.0) / 0.8, 0.0, 1.0)
        )  # fmt: skip
        step = 6.0 * 0.1 * np.column_stack([np.cos(turn), np.sin(turn)])
        way = np.concatenate([[[0.0, 0.0]], np.cumsum(step, axis=0)[:-1]])
        return scene(micro.Actor(way - [40.0, 0.0], turn))

    assert true(winding(10.0), "swerve")
    assert not true(winding(40.0), "swerve")


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_swerve_in_a_bend_is_one_and_the_bend_alone_is_not(side: float) -> None:
    """Round a circle of 40 m at 12 m/s the road turns by 34° while one swerves for 2 s."""

    def round_a_bend(height: float) -> Scene:
        turn = np.linspace(0.0, np.pi, 181)
        line = 40.0 * np.column_stack([np.sin(turn), side * (1.0 - np.cos(turn))])
        angle, out = 12.0 * TIME / 40.0, bump(4.0, 6.0, height)
        radius = 40.0 - side * out
        xy = np.column_stack([radius * np.sin(angle), side * (40.0 - radius * np.cos(angle))])
        yaw = side * angle + np.arctan2(np.gradient(out, 0.1), 12.0)
        return scene(micro.Actor(xy, yaw), map=micro.build([lane(line)]))

    (found,) = true(round_a_bend(1.5), "swerve")
    assert abs(found.begin_step - 41) <= 3
    assert abs(found.end_step - 59) <= 3
    assert found.value == pytest.approx(1.5 * np.pi / 2, rel=0.12)
    assert true(round_a_bend(0.6), "swerve")  # 0.94 m/s aside
    assert not true(round_a_bend(0.4), "swerve")  # 0.63 m/s aside
    assert not true(round_a_bend(0.0), "swerve")


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_who_cuts_a_corner_does_not_swerve(side: float) -> None:
    """At 4 m/s, 0.9 m aside and back within 2 s: round 40 m the road turns by 11°, round 6 m by 76°."""

    def round_a_corner(radius: float) -> Scene:
        turn = np.linspace(0.0, 1.2 * np.pi, 181)
        line = radius * np.column_stack([np.sin(turn), side * (1.0 - np.cos(turn))])
        angle, out = 4.0 * np.minimum(TIME, 5.6) / radius, bump(3.0, 5.0, 0.9)
        inside = radius - side * out
        xy = np.column_stack([inside * np.sin(angle), side * (radius - inside * np.cos(angle))])
        yaw = side * angle + np.arctan2(np.gradient(out, 0.1), 4.0)
        return scene(micro.Actor(xy, yaw), map=micro.build([lane(line)]))

    assert true(round_a_corner(40.0), "swerve")
    assert not true(round_a_corner(6.0), "swerve")


def test_a_standing_box_that_jitters_does_not_reverse() -> None:
    def back(way: float) -> Scene:
        return scene(along(-way / 2.0 * np.clip(TIME - 3.0, 0.0, 2.0), start=(0.0, 0.0)))

    assert not true(back(0.9), "reversing")
    assert true(back(1.3), "reversing")


def test_a_course_of_three_seconds_has_a_type() -> None:
    made = scene(cruise(8.0), cruise(8.0, -40.0, seen=TIME <= 3.0))
    assert {i.actor for i in true(made, "trajectory_straight")} == {0, 1}


def test_every_course_has_one_type() -> None:
    kinds = [name for name in PREDICATES if name.startswith("trajectory_")]
    for case in WIDER:
        if case.name.startswith("trajectory_"):
            found = [i.name for i in tag_scene(case.make(), kinds) if i.truth == Truth.TRUE]
            assert found == [case.name]


@pytest.mark.parametrize("dataset", ["nuscenes", "argoverse2_sensor", "somewhere"])
def test_road_works_are_known_of_sources_that_speak_of_them(dataset: str) -> None:
    made = named(scene(cruise(5.0)), {0: "ego"}, dataset)
    unknown = [i for i in tag_scene(made, ["work_zone"]) if i.truth == Truth.UNKNOWN]
    assert bool(unknown) is (dataset == "somewhere")


def test_the_sector_of_the_ego_is_that_of_any_other() -> None:
    """Who is beside, ahead or behind does not depend on who is the ego (RefAV's ego has its rear
    ahead of its centre)."""
    spots = [(10.0, 0.0), (-10.0, 0.0), (0.0, 3.5), (0.0, -3.5), (2.3, 3.5), (-2.3, -3.5)]
    sectors = ["in_front_of", "behind", "left_of", "right_of"]

    def told(first: int) -> set[tuple[str, int]]:
        # All drive on alike; the one at the origin is row 0 (the ego), or the last row.
        places = [(0.0, 0.0), *spots] if first == 0 else [*spots, (0.0, 0.0)]
        made = scene(*(cruise(5.0, x, y) for x, y in places), has_ego=first == 0)
        centre = made.tracks.track_id[0 if first == 0 else -1]
        shift = 1 if first == 0 else 0
        rows = {int(t): k for k, t in enumerate(made.tracks.track_id.tolist())}
        return {
            (i.name, rows[int(i.actor)] - shift)  # type: ignore[arg-type]
            for i in tag_scene(made, sectors)
            if i.truth == Truth.TRUE and i.other == centre
        }

    expected = {("in_front_of", 0), ("behind", 1), ("left_of", 2), ("right_of", 3),
                ("left_of", 4), ("right_of", 5)}  # fmt: skip
    assert told(0) == expected
    assert told(6) == expected


def test_a_follower_on_a_ring_of_followers_has_no_first() -> None:
    """Where everyone follows everyone there is no head of the platoon, and no endless chase."""
    from tests.mining.test_predicates import ring

    def at(phase: float) -> micro.Actor:
        turn = 5.0 * TIME / 15.0 + phase
        xy = 15.0 * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
        return micro.Actor(xy, turn + np.pi / 2)

    made = scene(*(at(k * np.pi / 2) for k in range(4)), map=ring())
    assert not true(made, "platoon")


def test_what_holds_everywhere_describes_no_scene(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from mining.facets import facets
    from mining.tag import tag
    from tests.mining.test_tag import braking_log, lake_of

    lake = lake_of(tmp_path / "l", [braking_log("a")])
    tag(lake)
    said = set(facets(lake, np.array(lake.scene_ids())).names)
    assert {"hard brake", "following"} <= said
    assert not said & {p.name.replace("_", " ") for p in PREDICATES.values() if p.ordinary}


@pytest.mark.parametrize(("unseen", "x"), [(5, 10.0), (STEPS - 6, -150.0)])
def test_a_course_is_told_by_where_somebody_was_seen(unseen: int, x: float) -> None:
    """The way while a track settles ends where it was seen; where it was not is no place."""
    seen = np.ones(STEPS, dtype=bool)
    seen[unseen] = False
    made = scene(cruise(8.0, x=x - 20.0), cruise(10.0, x=x, seen=seen))
    told = tag_scene(made, ["trajectory_straight"])
    assert [i.actor for i in told if i.truth == Truth.TRUE] == [0, 1]


def test_who_is_passed_is_the_nearest_whoever_is_told_first() -> None:
    """Of two who stand at the side, one behind the other, the one nearer to the way."""
    for far, near in ((0.0, 6.0), (6.0, 0.0)):
        rows = {gap: still(x, -gap) for x, gap in ((far, 4.3), (near, 2.9))}
        passes = along(8.0 * TIME, start=(-40.0, 0.0), side=bump(4.0, 7.0, 1.0))
        for order in ((2.9, 4.3), (4.3, 2.9)):
            made = scene(passes, *(rows[gap] for gap in order))
            (told,) = (i for i in tag_scene(made, ["nudge"]) if i.truth == Truth.TRUE)
            assert told.other == 1 + order.index(2.9)
