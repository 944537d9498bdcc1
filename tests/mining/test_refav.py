"""RefAV's functions on small logs, on both sides of every threshold, and without its defects."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats.argoverse2 import CATEGORIES
from lake import Lake
from mining import refav
from mining.refav.scenario import Scenario, stamps_of
from schemas.errors import BadQuery, BadSetting, MissingData, UnknownName
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import EgoStates, Log, MapFeature, Observations, RoadMap, Sensor
from tests.builders import CORNER, lane, make_crossing_log, stamps, straight

STEPS = 41
T = np.arange(STEPS) * 0.1
T0 = 1_700_000_000_000_000_000


@dataclass(frozen=True, eq=False)
class Actor:
    """A box: 4 m by 2 m by 1.5 m unless told otherwise."""

    xy: np.ndarray
    yaw: np.ndarray
    category: str = "REGULAR_VEHICLE"
    size: tuple[float, float, float] = (4.0, 2.0, 1.5)


def moves(
    x: float, y: float, vx: float = 0.0, vy: float = 0.0, *, yaw: float | None = None, **more: Any
) -> Actor:
    """At constant velocity, facing where it goes unless told otherwise."""
    facing = yaw if yaw is not None else float(np.arctan2(vy, vx))
    xy = np.column_stack([x + vx * T, y + vy * T])
    return Actor(xy, np.full(STEPS, facing), **more)


def along(xy: np.ndarray, **more: Any) -> Actor:
    """On a path, facing along it."""
    dx, dy = np.gradient(xy[:, 0]), np.gradient(xy[:, 1])
    return Actor(xy, np.unwrap(np.arctan2(dy, dx)), **more)


def area(
    feature_id: int, layer: MapLayer, x0: float, y0: float, x1: float, y1: float
) -> MapFeature:
    ring = np.array([[x0, y0, 0.0], [x1, y0, 0.0], [x1, y1, 0.0], [x0, y1, 0.0]])
    return MapFeature(
        feature_id=feature_id, source_id=f"area{feature_id}", layer=layer, points=ring + CORNER
    )


def road() -> RoadMap:
    """Lanes 0 (y = 0) and 1 (y = 3.5) east, 2 (y = 7) west; 3 continues 0 into an intersection;
    4 is for bicycles (y = −2.5, 1.5 m wide); a crosswalk at 50 ≤ x ≤ 54."""
    bike = replace(
        lane(4, straight((-100, -2.5), (100, -2.5)).tolist(), width=1.5), lane_type=LaneType.BIKE
    )
    return RoadMap(
        source_map_id="road",
        features=(
            lane(0, straight((-100, 0), (100, 0)).tolist()),
            lane(1, straight((-100, 3.5), (100, 3.5)).tolist()),
            lane(2, straight((100, 7), (-100, 7)).tolist()),
            lane(3, straight((100, 0), (120, 0)).tolist(), in_intersection=True),
            bike,
            area(5, MapLayer.CROSSWALK, 50, -4, 54, 9),
            area(6, MapLayer.DRIVABLE_AREA, -100, -3.25, 120, 8.75),
        ),
        edges=np.array(
            [[0, EdgeKind.LEFT, 1], [1, EdgeKind.RIGHT, 0], [0, EdgeKind.SUCCESSOR, 3]],
            dtype=np.int64,
        ),
    )  # fmt: skip


def record(actors: dict[str, Actor], *, road_map: RoadMap | None = None, name: str = "log") -> Log:
    ego = actors.get("ego")
    others = {k: a for k, a in actors.items() if k != "ego"}
    lifted = {k: np.column_stack([a.xy, np.full(STEPS, 0.75)]) + CORNER for k, a in actors.items()}
    return Log(
        dataset="argoverse2_sensor", source_log_id=name, source_uri=f"memory:{name}", rate_hz=10.0,
        ego=None if ego is None else EgoStates(
            t_ns=stamps(STEPS), xyz=lifted["ego"], yaw=ego.yaw, size=ego.size
        ),
        agents=Observations(
            track=np.repeat(np.arange(len(others)), STEPS),
            t_ns=np.tile(stamps(STEPS), len(others)),
            xyz=np.concatenate([lifted[k] for k in others]),
            yaw=np.concatenate([a.yaw for a in others.values()]),
            size=np.repeat([a.size for a in others.values()], STEPS, axis=0).astype(np.float64),
            source_track_id=list(others), source_cls=[a.category for a in others.values()],
            cls=[CATEGORIES[a.category] for a in others.values()],
        ),
        map=road() if road_map is None else road_map, t0_unix_ns=T0,
    )  # fmt: skip


Opened = Callable[..., refav.Log]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    def open_log(log: Log | None = None, **actors: Actor) -> refav.Log:
        lake = Lake.create(tmp_path / "lake")
        log = record(actors) if log is None else log
        with lake.run("test") as run:
            lake.add_logs([log], run_id=run.id)
        return refav.Log.open(lake, log.source_log_id)

    return open_log


def everyone(log: refav.Log) -> Scenario:
    return refav.get_objects_of_category(log, "ANY")


def steps_of(child: Any) -> list[int]:
    return sorted((stamp - T0) // 100_000_000 for stamp in stamps_of(child))


# -- who ---------------------------------------------------------------------------------------


def test_categories_are_the_sources_own_and_the_ego_counts_as_a_vehicle(opened: Opened) -> None:
    log = opened(
        ego=moves(0, 0, 5), truck=moves(30, 0, category="BOX_TRUCK"),
        walker=moves(0, 9, category="PEDESTRIAN"), cone=moves(0, -9, category="CONSTRUCTION_CONE"),
    )  # fmt: skip
    assert set(everyone(log)) == {"ego", "truck", "walker", "cone"}
    assert set(refav.get_objects_of_category(log, "VEHICLE")) == {"ego", "truck"}
    assert set(refav.get_objects_of_category(log, "EGO_VEHICLE")) == {"ego"}
    assert set(refav.is_category(everyone(log), log, "BOX_TRUCK")) == {"truck"}
    assert refav.get_objects_of_category(log, "BUS") == {}
    assert everyone(log)["walker"] == (T0 + stamps(STEPS)).tolist()
    with pytest.raises(UnknownName, match="BOX_TRUCK"):
        refav.get_objects_of_category(log, "BOXTRUCK")


def test_a_coarse_source_says_what_it_cannot_tell(opened: Opened) -> None:
    log = opened(make_crossing_log())
    assert set(refav.get_objects_of_category(log, "VEHICLE")) == {"ego", "waits"}
    assert set(refav.get_objects_of_category(log, "REGULAR_VEHICLE")) == {"waits"}
    with pytest.raises(MissingData, match="SCHOOL_BUS"):
        refav.get_objects_of_category(log, "SCHOOL_BUS")


def test_colours_are_unknown_until_they_are_given(opened: Opened) -> None:
    log = opened(a=moves(0, 0), b=moves(9, 0))
    with pytest.raises(MissingData, match="colours"):
        refav.is_color(everyone(log), log, "red")
    assert set(refav.is_color(everyone(log), log, "mauve")) == {"a", "b"}
    log.colours = {"a": "red", "b": "blue"}
    assert set(refav.is_color(everyone(log), log, color="red")) == {"a"}


# -- how they move -----------------------------------------------------------------------------


@pytest.mark.parametrize(("speed", "holds"), [(0.45, False), (0.55, True)])
def test_velocity(opened: Opened, speed: float, holds: bool) -> None:
    log = opened(a=moves(0, 0, speed), mover=moves(9, 9, 2.0))
    assert bool(refav.has_velocity("a", log, min_velocity=0.0)) == (4 * speed >= 2.0)
    held = refav.has_velocity("mover", log, min_velocity=2.0 + 0.5 - speed)
    assert bool(held) == holds


@pytest.mark.parametrize(("rate", "holds"), [(0.6, False), (0.7, True)])
def test_acceleration_forwards(opened: Opened, rate: float, holds: bool) -> None:
    x = 5 * T + rate * T**2 / 2
    log = opened(a=along(np.column_stack([x, 0 * T])), b=along(np.column_stack([20 * T - x, T])))
    assert ("a" in refav.accelerating(everyone(log), log)) == holds
    braking = refav.accelerating(everyone(log), log, min_accel=-10, max_accel=-0.65)
    assert ("b" in braking) == holds
    assert "a" not in braking


def test_lateral_acceleration_is_positive_to_the_left(opened: Opened) -> None:
    turn = np.column_stack([20 * np.sin(T / 4), 20 - 20 * np.cos(T / 4)])  # v²/r = 1.25
    log = opened(left=along(turn), right=along(turn * np.array([1, -1])), still=moves(0, 30))
    assert set(refav.has_lateral_acceleration(everyone(log), log, min_accel=1.2)) == {"left"}
    assert set(refav.has_lateral_acceleration(everyone(log), log, max_accel=-1.2)) == {"right"}
    assert not refav.has_lateral_acceleration(everyone(log), log, min_accel=1.3)
    assert "still" not in refav.has_lateral_acceleration(everyone(log), log)


@pytest.mark.parametrize(("way", "parked"), [(1.9, True), (2.1, False), (2.9, False)])
def test_stationary_means_the_two_metres_of_the_documentation(
    opened: Opened, way: float, parked: bool
) -> None:
    log = opened(a=moves(0, 0, way / T[-1]))
    assert bool(refav.stationary(everyone(log), log)) == parked
    assert bool(refav.scenario_not(refav.stationary)(everyone(log), log)) != parked


def bend(degrees: float) -> np.ndarray:
    """1 s straight on, 2 s of turning left, 1 s straight on; 4 m/s."""
    yaw = np.radians(degrees) * np.clip((T - 1.0) / 2.0, 0.0, 1.0)
    step = 0.4 * np.column_stack([np.cos(yaw), np.sin(yaw)])
    return np.concatenate([np.zeros((1, 2)), np.cumsum(step[:-1], axis=0)])


@pytest.mark.parametrize(("degrees", "holds"), [(40, False), (52, True)])
def test_turning(opened: Opened, degrees: float, holds: bool) -> None:
    log = opened(left=along(bend(degrees)), right=along(bend(degrees) * np.array([1, -1])))
    assert set(refav.turning(everyone(log), log)) == ({"left", "right"} if holds else set())
    assert set(refav.turning(everyone(log), log, direction="left")) == (
        {"left"} if holds else set()
    )
    assert set(refav.turning(everyone(log), log, "right")) == ({"right"} if holds else set())


def drift(side: float, *, by: float = 3.5) -> np.ndarray:
    """From y = 0 at 10 m/s, 1 s straight on, then aside within 2 s."""
    share = np.clip((T - 1.0) / 2.0, 0.0, 1.0)
    return np.column_stack([10 * T, side * by * (3 * share**2 - 2 * share**3)])


def test_changes_of_lane_to_both_sides_are_found_alike(opened: Opened) -> None:
    back = drift(-1) + np.array([0.0, 3.5])
    log = opened(left=along(drift(1)), right=along(back), keeps=along(drift(1, by=1.5)))
    assert set(refav.changing_lanes(everyone(log), log)) == {"left", "right"}
    for side in ("left", "right"):
        found = refav.changing_lanes(everyone(log), log, direction=side)
        assert set(found) == {side}
        # It lasts from the first drift to the last, and not before or after.
        steps = steps_of(found[side])
        assert 9 <= steps[0] <= 12
        assert 28 <= steps[-1] <= 31


# -- where they are ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "distance", "holds"),
    [(46.9, 1, False), (47.1, 1, True), (47.9, 0, False), (48.1, 0, True)],
)
def test_at_pedestrian_crossing(opened: Opened, x: float, distance: float, holds: bool) -> None:
    log = opened(a=moves(x, 0))
    assert bool(refav.at_pedestrian_crossing("a", log, within_distance=distance)) == holds


def test_lanes_and_areas(opened: Opened) -> None:
    log = opened(
        car=moves(0, 0), cycles=moves(0, -2.5, 2), beside=moves(0, 12), crosses=moves(110, 0),
        near=moves(96, 0), far=moves(94, 0), park=moves(0, 9.0),
    )  # fmt: skip
    some = everyone(log)
    assert set(refav.on_road(some, log)) == {"car", "cycles", "crosses", "near", "far"}
    assert set(refav.on_lane_type(some, log, lane_type="BIKE")) == {"cycles"}
    assert set(refav.on_lane_type(some, log, "VEHICLE")) == {"car", "crosses", "near", "far"}
    assert refav.on_lane_type(some, log, "BUS") == {}
    assert set(refav.on_intersection(some, log)) == {"crosses"}
    assert set(refav.near_intersection(some, log)) == {"crosses", "near"}
    assert set(refav.near_intersection(some, log, threshold=6.5)) == {"crosses", "near", "far"}
    assert set(refav.in_drivable_area(some, log)) == {"car", "cycles", "crosses", "near", "far"}


@pytest.mark.parametrize(
    ("x", "yaw", "holds"),
    [(88.5, 0.0, False), (89.5, 0.0, True), (100.5, 0.0, False), (95.0, np.pi, False)],
)
def test_at_stop_sign(opened: Opened, x: float, yaw: float, holds: bool) -> None:
    # The sign stands to the right of lane 0's end and faces those who come.
    sign = moves(99, -2, yaw=np.pi, category="STOP_SIGN", size=(0.1, 0.8, 0.8))
    log = opened(a=moves(x, 0, yaw=yaw), beside=moves(x, 3.5), sign=sign)
    assert set(refav.at_stop_sign(["a", "beside"], log)) == ({"a"} if holds else set())
    assert set(refav.at_stop_sign("a", log, forward_thresh=15)) == (
        {"a"} if x < 100 and yaw == 0.0 else set()
    )


def test_a_map_that_lacks_what_is_asked_is_no_false_answer(opened: Opened) -> None:
    bare = record({"a": moves(0, 0)}, road_map=RoadMap.none())
    log = opened(bare)
    for function in (refav.on_road, refav.at_pedestrian_crossing, refav.in_drivable_area):
        with pytest.raises(MissingData, match=function.__name__):
            function("a", log)


def test_within_camera_view(opened: Opened) -> None:
    ahead = np.array([1.0, 0.0, 1.0, 0.5, -0.5, 0.5, -0.5])
    camera = Sensor(
        channel="front", kind="camera", ego_from_sensor=ahead, model="pinhole",
        intrinsics=(500.0, 500.0, 500.0, 300.0), width=1000, height=600,
    )  # fmt: skip
    actors = {
        "ego": moves(0, 0, 1.0), "seen": moves(30, 0, 1.0), "behind": moves(-30, 0, 1.0),
        "edge": moves(30, 28, 1.0), "aside": moves(30, 36, 1.0),
    }  # fmt: skip
    actors["ego"] = replace(actors["ego"], size=(4.877, 2.0, 1.473))
    log = record(actors)
    assert log.ego is not None
    upright = np.tile([1.0, 0.0, 0.0, 0.0], (STEPS, 1))
    log = replace(log, sensors=(camera,), ego=replace(log.ego, quaternion=upright))
    there = opened(log)
    found = refav.within_camera_view(everyone(there), there, "front")
    assert {"seen", "edge"} <= set(found)
    assert not {"behind", "aside"} & set(found)


# -- what they are to each other ---------------------------------------------------------------

SIDES = {"forward": (1, 0), "left": (0, 1), "backward": (-1, 0), "right": (0, -1)}


@pytest.mark.parametrize("direction", SIDES)
@pytest.mark.parametrize("me", ["ego", "car"])
def test_objects_lie_on_the_side_that_is_asked(opened: Opened, direction: str, me: str) -> None:
    placed = {side: moves(8.0 * x, 8.0 * y) for side, (x, y) in SIDES.items()}
    log = opened(**{me: moves(0, 0)}, **placed)
    others = list(placed)
    found = refav.has_objects_in_relative_direction(me, others, log, direction, lateral_thresh=1)
    assert {me: set(found[me])} == {me: {direction}}
    turned = refav.get_objects_in_relative_direction(me, others, log, direction, lateral_thresh=1)
    assert {k: set(v) for k, v in turned.items()} == {direction: {me}}


@pytest.mark.parametrize(("x", "holds"), [(1.9, False), (2.1, True), (53.9, True), (54.1, False)])
@pytest.mark.parametrize("me", ["ego", "car"])
def test_behind_begins_at_the_rear_edge(opened: Opened, x: float, holds: bool, me: str) -> None:
    log = opened(**{me: moves(0, 0)}, other=moves(-x, 0))
    assert bool(refav.has_objects_in_relative_direction(me, "other", log, "backward")) == holds


def test_how_many_and_the_nearest_first(opened: Opened) -> None:
    log = opened(me=moves(0, 0), a=moves(10, 0), b=moves(20, 0), c=moves(30, 0))
    ask = refav.has_objects_in_relative_direction
    assert not ask("me", ["a", "b", "c"], log, "forward", min_number=4)
    assert set(ask("me", ["a", "b", "c"], log, "forward", 3)["me"]) == {"a", "b", "c"}
    assert set(ask("me", ["c", "b", "a"], log, "forward", max_number=2)["me"]) == {"a", "b"}


@pytest.mark.parametrize("wrong", ["behind", "front", "rear", "ahead"])
def test_words_that_are_no_direction_are_refused_with_a_suggestion(
    opened: Opened, wrong: str
) -> None:
    log = opened(me=moves(0, 0), a=moves(10, 0))
    meant = "forward" if wrong in ("front", "ahead") else "backward"
    for ask in (refav.has_objects_in_relative_direction, refav.being_crossed_by):
        with pytest.raises(BadQuery, match=f"Did you mean `{meant}`"):
            ask("me", "a", log, direction=wrong)
    with pytest.raises(BadQuery, match="`forward`") as caught:
        refav.turning("me", log, direction="forward")
    assert "left, right" in caught.value.hint


@pytest.mark.parametrize(("gap", "holds"), [(9.9, True), (10.1, False)])
def test_near_objects(opened: Opened, gap: float, holds: bool) -> None:
    log = opened(me=moves(0, 0), a=moves(4 + gap, 0), b=moves(-4 - gap, 0))
    assert bool(refav.near_objects("me", ["a", "b"], log, min_objects=2)) == holds
    assert not refav.near_objects("me", ["a", "b", "me"], log, min_objects=3)
    selfish = refav.near_objects("me", ["a", "b", "me"], log, min_objects=3, include_self=True)
    assert bool(selfish) == holds


@pytest.mark.parametrize(("degrees", "holds"), [(22, True), (23, False), (-22, True)])
def test_facing_and_heading(opened: Opened, degrees: float, holds: bool) -> None:
    way = np.radians(degrees)
    there = moves(20 * np.cos(way), 20 * np.sin(way))
    log = opened(faces=moves(0, 0), there=there, goes=moves(0, 0, 0.1, yaw=2.0))
    assert bool(refav.facing_toward("faces", "there", log)) == holds
    assert not refav.facing_toward("faces", "there", log, max_distance=10)
    assert not refav.heading_toward("faces", "there", log)
    assert bool(refav.heading_toward("goes", "there", log, 24, minimum_speed=0.05))
    assert not refav.heading_toward("goes", "there", log, minimum_speed=0.2)


@pytest.mark.parametrize(
    ("degrees", "direction"),
    [(0, "same"), (44, "same"), (46, "perpendicular"), (134, "perpendicular"),
     (136, "opposite"), (180, "opposite"), (-180, "opposite"), (-90, "perpendicular")],
)  # fmt: skip
def test_relative_headings(opened: Opened, degrees: float, direction: str) -> None:
    way = np.radians(degrees)
    log = opened(me=moves(0, 0, 5), a=moves(0, 20, 5 * np.cos(way), 5 * np.sin(way)))
    for asked in ("same", "opposite", "perpendicular"):
        found = refav.heading_in_relative_direction_to("me", "a", log, asked)
        assert bool(found) == (asked == direction)
        assert not found or steps_of(found) == list(range(STEPS))


def test_who_stands_heads_where_it_faces_and_of_two_nothing_is_said(opened: Opened) -> None:
    log = opened(
        me=moves(0, 0, 5), waits=moves(0, 9, yaw=np.pi), too=moves(0, 20, yaw=np.pi),
        cone=moves(5, 5, yaw=np.pi, category="CONSTRUCTION_CONE"),
    )  # fmt: skip
    ask = refav.heading_in_relative_direction_to
    assert set(ask("me", ["waits", "cone"], log, "opposite")["me"]) == {"waits"}
    assert not any(ask("waits", "too", log, d) for d in ("same", "opposite", "perpendicular"))


@pytest.mark.parametrize("direction", SIDES)
def test_crossings_on_each_side_whatever_the_order_of_the_candidates(
    opened: Opened, direction: str
) -> None:
    # On each side, at 5 m from the edge, one passes clockwise, a second one counter-clockwise.
    actors = {"me": moves(0, 0)}
    for side, (x, y) in SIDES.items():
        out = np.array([x, y]) * (7.0 if x else 6.0)
        for name, way in (("clock", 1.0), ("counter", -1.0)):
            v = way * np.array([y, -x]) * 2.0
            begin = out - v * 2.03
            actors[f"{side}_{name}"] = moves(*begin, *v, size=(0.5, 0.5, 1.7))
    log = opened(**actors)
    others = [name for name in actors if name != "me"]
    for order in (others, others[::-1]):
        found = refav.being_crossed_by("me", order, log, direction=direction)
        assert set(found["me"]) == {f"{direction}_clock", f"{direction}_counter"}
        for turn, name in (("clockwise", "clock"), ("counterclockwise", "counter")):
            one = refav.being_crossed_by("me", order, log, direction, in_direction=turn)
            assert set(one["me"]) == {f"{direction}_{name}"}


@pytest.mark.parametrize(
    ("x", "speed", "holds"),
    [
        (11.9, 2.0, True),
        (12.1, 2.0, False),
        (1.9, 2.0, False),
        (8.0, 0.25, True),
        (8.0, 0.15, False),
    ],
)
def test_a_crossing_reaches_so_far_and_is_so_fast(
    opened: Opened, x: float, speed: float, holds: bool
) -> None:
    log = opened(me=moves(0, 0), a=moves(x, -2.03 * speed, 0, speed, category="PEDESTRIAN"))
    found = refav.being_crossed_by("me", "a", log)
    assert bool(found) == holds
    narrow = refav.being_crossed_by("me", "a", log, lateral_thresh=1.0)
    if holds and speed == 2.0:
        # Between the planes 1 m to either side: |t − 2.03 s| < 0.5 s.
        assert steps_of(narrow) == [k for k in range(STEPS) if abs(k * 0.1 - 2.03) < 0.5]


@pytest.mark.parametrize(
    ("x", "y", "vx", "holds"),
    [(26.5, 0.5, 5, True), (27.5, 0.5, 5, False), (1.5, 0.0, 5, False), (-10, 0, 5, False),
     (20, 3.5, 5, False), (20, 1.9, 5, True), (20, 0, -5, False)],
)  # fmt: skip
def test_following(opened: Opened, x: float, y: float, vx: float, holds: bool) -> None:
    log = opened(me=moves(0, 0, 5), a=Actor(moves(x, y, vx).xy, moves(x, y, vx).yaw))
    assert bool(refav.following("me", "a", log)) == holds


def test_following_goes_on_into_the_next_lane(opened: Opened) -> None:
    log = opened(me=moves(90, 0), next=moves(105, 0), beside=moves(105, 3.5))
    assert set(refav.following("me", ["next", "beside"], log)["me"]) == {"next"}


def test_lanes_and_sides_of_the_road(opened: Opened) -> None:
    log = opened(
        me=moves(-50, 0), far=moves(115, 0), left=moves(0, 3.5), comes=moves(0, 7, yaw=np.pi),
        off=moves(0, 15),
    )  # fmt: skip
    others = ["far", "left", "comes", "off"]
    assert set(refav.in_same_lane("me", others, log)["me"]) == {"far"}
    same = refav.on_relative_side_of_road("me", others, log, side="same")
    assert set(same["me"]) == {"far", "left"}
    opposite = refav.on_relative_side_of_road("me", others, log, side="opposite")
    assert set(opposite["me"]) == {"comes"}
    back = refav.on_relative_side_of_road("comes", ["me", "left"], log, side="opposite")
    assert set(back["comes"]) == {"me", "left"}


# -- logic -------------------------------------------------------------------------------------


def test_relations_hold_only_while_both_scenarios_do(opened: Opened) -> None:
    log = opened(me=moves(0, 0), a=moves(8, 0))
    early = {"me": (T0 + stamps(STEPS))[:20].tolist()}
    late = {"a": (T0 + stamps(STEPS))[10:].tolist()}
    assert steps_of(refav.near_objects(early, late, log)) == list(range(10, 20))
    assert steps_of(refav.scenario_not(refav.near_objects)(early, late, log)) == list(range(10))


def test_and_or_not_and_reverse() -> None:
    a: Scenario = {"x": [1, 2, 3], "y": [1]}
    b: Scenario = {"x": {"p": [2, 3, 4]}, "z": [5]}
    assert refav.scenario_and([a, b]) == {"x": {"p": [2, 3]}}
    assert refav.scenario_or([a, b]) == {"x": {"p": [2, 3, 4], "x": [1]}, "y": [1], "z": [5]}
    assert (a, b) == ({"x": [1, 2, 3], "y": [1]}, {"x": {"p": [2, 3, 4]}, "z": [5]})


def test_reverse_keeps_who_was_there_besides(opened: Opened) -> None:
    log = opened(me=moves(0, 0), a=moves(8, 0), b=moves(0, 8))
    near = refav.near_objects("me", "a", log)
    found = refav.reverse_relationship(refav.near_objects)(near, "b", log)
    assert {k: {m: set(n) for m, n in v.items()} for k, v in found.items()} == {"b": {"me": {"a"}}}
    with pytest.raises(BadQuery, match="does not fit") as caught:
        refav.scenario_not(refav.get_objects_of_category)
    assert "is_category" in caught.value.hint
    with pytest.raises(BadQuery, match="reverse_relationship"):
        refav.reverse_relationship(refav.turning)


def test_far_relations_are_not_put_out(opened: Opened) -> None:
    log = opened(me=moves(0, 0), near=moves(53.9, 0), far=moves(54.1, 0))
    found = refav.has_objects_in_relative_direction(
        "me", ["near", "far"], log, "forward", within_distance=100
    )
    assert set(found["me"]) == {"near", "far"}
    with refav.on(log.lake) as session:
        refav.output_scenario(found, "ahead", Path("/logs/log"), Path("/out"))
    assert [set(f.scenario["me"]) for f in session.found] == [{"near"}]
    with pytest.raises(BadQuery, match="No lake"):
        refav.output_scenario(found, "ahead", "log", "/out")


def test_every_function_is_there() -> None:
    assert len(refav.FUNCTIONS) == 32


# -- definitions -------------------------------------------------------------------------------

PROGRAM = '''
"""Cars that wait for others."""
description = "cars near others"
cars = get_objects_of_category(log_dir, category='REGULAR_VEHICLE')  # all of them
near = near_objects(cars, cars, log_dir, distance_thresh=+10)
still = scenario_not(has_velocity)(cars, log_dir, min_velocity=.5)
output_scenario(scenario_and([near, still]), f"{description} ({2})", log_dir, output_dir)
'''


def test_a_definition_runs_as_it_stands(opened: Opened) -> None:
    log = opened(a=moves(0, 0), b=moves(8, 0), c=moves(60, 0), d=moves(0, 5, 1))
    report = refav.run_program(log.lake, PROGRAM)
    assert [f.description for f in report.found] == ["cars near others (2)"]
    assert set(report.found[0].scenario) == {"a", "b"}
    assert report.found[0].source_log_id == "log"


def test_a_definition_may_begin_as_refavs_own_files_do(opened: Opened) -> None:
    log = opened(a=moves(0, 0), b=moves(8, 0))
    program = f"from refAV.atomic_functions import *\n{PROGRAM}"
    assert [f.description for f in refav.run_program(log.lake, program).found] == [
        "cars near others (2)"
    ]


def test_a_log_without_tracks_has_none_that_move(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path / "lake")
    bare = replace(record({"ego": moves(0, 0, 5)} | {"a": moves(9, 0)}), ego=None)
    with lake.run("test") as run:
        lake.add_logs([replace(bare, agents=Observations.none())], run_id=run.id)
    log = refav.Log.open(lake, "log")
    assert refav.has_velocity(everyone(log), log, min_velocity=1) == {}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("import os", "hold this"),
        ("from os import path", "import from"),
        ("x = log_dir.lake", "attribute"),
        ("x = ''.join([])", "attribute"),
        ("x = lambda: 1", "lambda"),
        ("for a in [1]: pass", "for"),
        ("while True: pass", "while"),
        ("def f(): pass", "function"),
        ("class A: pass", "class"),
        ("x = [a for a in [1]]", "list comp"),
        ("x = {'a': 1}", "dict"),
        ("x = [1][0]", "subscript"),
        ("x = 2 ** 999999", "bin op"),
        ("x = 'a' * 99999", "bin op"),
        ("x = 10e15", "beyond"),
        ("x = " + "9" * 40, "beyond"),
        ("x = '" + "a" * 3000 + "'", "more than"),
        ("x = __builtins__", "__builtins__"),
        ("__x__ = 1", "__x__"),
        ("x = open('f')", "open"),
        ("x = eval('1')", "eval"),
        ("x = b'a'", "bytes"),
        ("x = True if log_dir else None", "if exp"),
        ("turning = stationary", "turning"),
        ("x = turnin(cars, log_dir)", "turning"),
        ("x = turning(*[1], log_dir)", "starred"),
        ("x = turning(**{})", r"\*\*"),
        ("x = f'{log_dir!r}'", "f-string"),
        ("x = f'{1:99999}'", "f-string"),
        ("x, y = 1", "name"),
        ("x += 1", "aug assign"),
        ("x = (y := 1)", "named expr"),
        ("del log_dir", "delete"),
        ("assert log_dir", "assert"),
        ("with log_dir: pass", "with"),
        ("x = unknown", "unknown"),
        ("x = (", "line 2"),
    ],
)
def test_what_no_definition_may_hold_is_refused_with_its_place(line: str, says: str) -> None:
    with pytest.raises(BadQuery, match=says) as caught:
        refav.Program.parse(f"a = 1\n{line}\n", name="it.py")
    assert str(caught.value).startswith("it.py, line 2") or "(" in line
    assert "line 2, column" in str(caught.value)


@pytest.mark.parametrize("source", ["x = " + "[" * 5000 + "]" * 5000, "\0", "a = 1\n" * 50_000])
def test_definitions_that_only_burden_are_refused(source: str) -> None:
    with pytest.raises(BadQuery):
        refav.Program.parse(source)


def test_what_was_found_becomes_tags_of_the_lake(opened: Opened) -> None:
    # From 1 s to 3 s, `b` stands within 10 m of `a`, which stands; `c` never comes near.
    xy = np.column_stack([np.interp(T, [0, 1, 3, 4], [40, 8, 8, 40]), np.zeros(STEPS)])
    log = opened(a=moves(0, 0), b=Actor(xy, np.zeros(STEPS)), c=moves(60, 0))
    (scene,) = log.lake.scene_ids()
    source = """
near = near_objects('a', 'b', log_dir, distance_thresh=10)
output_scenario(near, 'near', log_dir, output_dir)
"""
    report = refav.run_program(log.lake, source)
    kept = refav.keep(log.lake, report, name="pair", program=source)
    assert (kept.scenes, kept.tagged, kept.intervals) == (1, 1, 1)
    (row,) = log.lake.read("events", None, "name = 'pair'").to_pylist()
    who = {name: log.track_ids[log.row_of[name]] for name in "ab"}
    assert (row["actor_id"], row["other_id"]) == (who["a"], who["b"])
    assert (row["scene_id"], row["source"], row["truth"]) == (scene, "refav", "true")
    told = sorted(stamps_of(report.found[0].scenario))
    assert (row["t0_ns"], row["t1_ns"]) == (told[0] - T0, told[-1] - T0)
    assert len(told) == (row["t1_ns"] - row["t0_ns"]) // 10**8 + 1
    (run,) = log.lake.read("runs", None, f"run_id = {kept.run_id}").to_pylist()
    assert json.loads(run["params"])["program"] == source
    # Again, under the same name: what was there gives way.
    nobody = "output_scenario(near_objects('c', 'b', log_dir), 'none', log_dir, output_dir)"
    report = refav.run_program(log.lake, nobody)
    again = refav.keep(log.lake, report, name="pair", program=nobody)
    assert log.lake.read("events", None, "name = 'pair'").num_rows == 0
    marks = log.lake.read("looked").to_pylist()
    assert marks == [{"scene_id": scene, "run_id": again.run_id}]  # looked at: nobody
    assert log.lake.verify() == []


def test_tags_of_definitions_take_no_name_that_means_something(opened: Opened) -> None:
    log = opened(a=moves(0, 0), b=moves(8, 0))
    report = refav.run_program(log.lake, PROGRAM)
    for name in ("near", "weather", "no name"):
        with pytest.raises(BadSetting, match=name):
            refav.keep(log.lake, report, name=name, program=PROGRAM)
    assert log.lake.read("events").num_rows == 0


def test_logs_on_which_it_could_not_be_run_are_not_looked_through(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path / "lake")
    logs = [
        record({"a": moves(0, 0)}, name="with"),
        record({"a": moves(0, 0)}, name="without", road_map=RoadMap.none()),
    ]
    with lake.run("test") as run:
        lake.add_logs(logs, run_id=run.id)
    source = "output_scenario(on_road('a', log_dir), 'x', log_dir, output_dir)"
    report = refav.run_program(lake, source)
    refav.keep(lake, report, name="drives", program=source)
    (log_id,) = {found.log_id for found in report.found}
    there = lake.scene_ids(f"log_id = {log_id}")
    assert lake.read("looked")["scene_id"].to_pylist() == there
    assert set(lake.read("events")["scene_id"].to_pylist()) == set(there)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("near_objects(log_dir)", "line 1, column 1: missing a required argument"),
        ("turning('a', log_dir, angle=3)", "unexpected keyword"),
        ("turning('a', log_dir, direction='behind')", "line 1, column 1: direction cannot be"),
        ("turning('nobody', log_dir)", "No track is called `nobody`"),
        ("turning(log_dir, 'a')", "No log is called `a`"),
        ("near_objects('a', 'a', log_dir, distance_thresh='far')", "number"),
        ("scenario_and(3)", "list"),
        ("scenario_not(3)('a', log_dir)", "does not fit int"),
        ("scenario_not(scenario_and)(['a'])", "does not fit scenario_and"),
    ],
)
def test_calls_that_do_not_fit_say_where(opened: Opened, call: str, says: str) -> None:
    log = opened(a=moves(0, 0))
    with pytest.raises(BadQuery, match=says):
        refav.Program.parse(call).run(log)


def test_logs_that_lack_what_is_asked_are_told(opened: Opened) -> None:
    log = opened(record({"a": moves(0, 0)}, road_map=RoadMap.none()))
    source = "output_scenario(on_road('a', log_dir), 'x', log_dir, output_dir)"
    report = refav.run_program(log.lake, source)
    assert (report.found, [r.source_log_id for r in report.refused]) == ([], ["log"])
    assert "line 1, column 17" in report.refused[0].reason
    with pytest.raises(BadQuery, match="puts nothing out"):
        refav.run_program(log.lake, "x = 1")


@pytest.mark.skipif(
    "SCENELAKE_REAL_DATA" not in os.environ, reason="SCENELAKE_REAL_DATA is not set"
)
def test_real_logs(tmp_path: Path) -> None:
    data_root = Path(os.environ["SCENELAKE_REAL_DATA"])
    lake = Lake.create(tmp_path / "lake")
    lake.ingest([data_root / "argoverse2" / "sensor"])
    source = """
vehicles = get_objects_of_category(log_dir, category='VEHICLE')
active = scenario_not(stationary)(vehicles, log_dir)
leaders = reverse_relationship(following)(active, active, log_dir)
output_scenario(leaders, 'followed', log_dir, output_dir)
output_scenario(on_road(active, log_dir), 'on road', log_dir, output_dir)
output_scenario(scenario_not(on_road)(active, log_dir), 'off road', log_dir, output_dir)
output_scenario(within_camera_view(active, log_dir, 'ring_front_center'), 'seen', log_dir, output_dir)
ego = get_objects_of_category(log_dir, category='EGO_VEHICLE')
output_scenario(get_objects_in_relative_direction(ego, active, log_dir, direction='backward'), 'behind', log_dir, output_dir)
output_scenario(active, 'active', log_dir, output_dir)
"""
    report = refav.run_program(lake, source)
    assert not report.refused
    told = {f.description: f.scenario for f in report.found}
    assert all(told[name] for name in ("followed", "on road", "seen", "active"))
    for track, stamps_told in told["active"].items():
        parts = [set(told[name].get(track, ())) for name in ("on road", "off road")]
        assert parts[0] | parts[1] == set(stamps_told)
        assert not parts[0] & parts[1]
    # Who is behind is not in front: the forward camera sees neither.
    log = refav.Log.open(lake, report.found[0].log_id)
    behind = refav.get_objects_in_relative_direction("ego", told["active"], log, "backward")
    assert behind.keys() == told["behind"].keys()
    for track in set(behind) & set(told["seen"]) - {"ego"}:
        assert not stamps_of(behind[track]) & set(told["seen"][track])
