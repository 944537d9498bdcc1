from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from lake.scenes import scenes_of
from schemas.labels import EdgeKind, LaneType, RoadType
from schemas.records import RoadMap
from tests.builders import (
    CORNER,
    ego,
    lane,
    make_crossing_log,
    make_straight_log,
    stamps,
    straight,
    straight_map,
    without,
)


def kind(log) -> RoadType:
    return scenes_of(log)[0].road_type


def test_a_straight_road_and_a_crossing():
    assert kind(make_straight_log()) == RoadType.STRAIGHT
    assert kind(make_crossing_log()) == RoadType.SIGNALLED_INTERSECTION
    assert kind(without(make_crossing_log(), "lights")) == RoadType.INTERSECTION


def test_a_crossing_is_found_where_the_source_does_not_say():
    log = without(make_crossing_log(), "lights")
    features = tuple(replace(f, in_intersection=None) for f in log.map.features)
    assert kind(replace(log, map=replace(log.map, features=features))) == RoadType.INTERSECTION


def test_before_the_crossing_the_road_is_straight():
    log = without(make_crossing_log(), "lights", "agents")
    early = replace(log, ego=ego(steps=20, start=(-140, 0), velocity=(8, 0)))
    assert kind(early) == RoadType.STRAIGHT


def test_waiting_at_a_light_is_being_at_the_crossing_and_far_from_it_is_not():
    log = without(make_crossing_log(), "agents")
    waits = replace(log, ego=ego(steps=91, start=(-16, 0), velocity=(1e-6, 0)))
    assert kind(waits) == RoadType.SIGNALLED_INTERSECTION
    far = replace(log, ego=ego(steps=20, start=(-130, 0), velocity=(8, 0)))
    assert kind(far) == RoadType.STRAIGHT


@pytest.mark.parametrize("change", ["fast", "limit", "freeway"])
def test_highways(change):
    log = make_straight_log()
    road = straight_map()
    features = list(road.features)
    if change == "fast":
        log = replace(log, ego=ego(steps=91, start=(0, 0), velocity=(25, 0)))
    if change == "limit":
        features[0] = replace(features[0], speed_limit=27.8)
    if change == "freeway":
        features[0] = replace(features[0], lane_type=LaneType.FREEWAY)
    assert kind(replace(log, map=replace(road, features=tuple(features)))) == RoadType.HIGHWAY


def test_a_merge():
    road = RoadMap(
        source_map_id="merge",
        features=(
            lane(0, straight((0, 0), (100, 0))),
            lane(1, [(0, -20), (60, -6), (100, 0)]),
            lane(2, straight((100, 0), (200, 0))),
        ),
        edges=np.array([[0, EdgeKind.SUCCESSOR, 2], [1, EdgeKind.SUCCESSOR, 2]]),
    )
    log = replace(without(make_straight_log(), "agents"), map=road)
    log = replace(log, ego=ego(steps=91, start=(30, 0), velocity=(10, 0)))
    assert kind(log) == RoadType.MERGE


def test_after_the_crossing_the_road_is_straight_however_many_turn_into_it():
    log = without(make_crossing_log(), "lights", "agents")
    turning = lane(6, [(0, -10), (2, -4), (4, -2), (10, 0)], in_intersection=True)
    told = [(3, EdgeKind.SUCCESSOR, 6), (6, EdgeKind.SUCCESSOR, 2)]
    road = replace(
        log.map, features=(*log.map.features, turning), edges=np.vstack([log.map.edges, told])
    )
    away = replace(log, map=road, ego=ego(steps=20, start=(60, 0), velocity=(8, 0)))
    assert kind(away) == RoadType.STRAIGHT


def arc(begin: float, end: float, radius: float):
    a = np.linspace(begin, end, 12)
    return np.column_stack([radius * np.cos(a), radius * np.sin(a)])


def circling(radius: float, turn: float, road: RoadMap):
    """An ego that follows a circle about the corner from angle 0 through ``turn``."""
    steps = 60
    a = np.linspace(0.0, turn, steps)
    log = without(make_straight_log(), "agents")
    xyz = CORNER + np.column_stack([radius * np.cos(a), radius * np.sin(a), 0 * a])
    states = replace(log.ego, t_ns=stamps(steps), xyz=xyz, yaw=a + np.pi / 2, velocity=None)
    return replace(log, map=road, ego=states)


def test_a_curve_is_no_roundabout_and_a_ring_is():
    curve = RoadMap(source_map_id="c", features=(lane(0, arc(-0.2, 1.8, 60.0)),))
    assert kind(circling(60.0, 0.8, curve)) == RoadType.CURVE
    quarter = np.pi / 2
    ring = RoadMap(
        source_map_id="ring",
        features=tuple(lane(i, arc(i * quarter, (i + 1) * quarter, 20.0)) for i in range(4)),
        edges=np.array([[i, EdgeKind.SUCCESSOR, (i + 1) % 4] for i in range(4)]),
    )
    assert kind(circling(20.0, 2.5, ring)) == RoadType.ROUNDABOUT
    opened = replace(ring, edges=ring.edges[:3])
    assert kind(circling(20.0, 2.5, opened)) == RoadType.CURVE


def test_a_block_of_streets_is_no_roundabout():
    corners = [(0, 0), (40, 0), (40, 40), (0, 40), (0, 0)]
    sides = [straight(a, b) for a, b in pairwise(corners)]
    block = RoadMap(
        source_map_id="block",
        features=tuple(lane(i, side) for i, side in enumerate(sides)),
        edges=np.array([[i, EdgeKind.SUCCESSOR, (i + 1) % 4] for i in range(4)]),
    )
    log = replace(without(make_straight_log(), "agents"), map=block)
    assert (
        kind(replace(log, ego=ego(steps=30, start=(5, 0), velocity=(8, 0)))) == RoadType.STRAIGHT
    )


def test_without_an_ego_the_farthest_car_leads():
    assert kind(without(make_straight_log(), "ego")) == RoadType.STRAIGHT
