from dataclasses import replace

import numpy as np
import pytest

from geometry.bundles import Bundle
from lake.roadmap import localise_map, map_origin, turns_of
from schemas.labels import EdgeKind
from schemas.records import RoadMap
from tests.builders import CORNER, crossing_map, lane, straight, straight_map


def conflicts(road_map: RoadMap) -> set[tuple[int, int]]:
    local = localise_map(road_map, CORNER)
    found = local.map.edges[local.derived]
    return {(int(a), int(b)) for a, kind, b in found if kind == EdgeKind.CONFLICT}


def test_the_origin_is_the_middle_in_whole_metres():
    np.testing.assert_array_equal(map_origin(crossing_map()), CORNER)
    assert map_origin(RoadMap.none()) is None


def test_the_origin_of_centimetre_data_does_not_hang_on_the_last_bit():
    # The middle of 0 and 1 is half a metre: one ulp must not decide where the frame lies.
    for nudge in (-1e-6, 0.0, 1e-6):
        road = RoadMap(source_map_id="m", features=(lane(0, [(0, 0), (1 + nudge, 5)]),))
        np.testing.assert_array_equal(map_origin(road) - CORNER, [1.0, 3.0, 0.0])


def test_roads_that_cross_conflict_and_successions_do_not():
    assert conflicts(crossing_map()) == {(1, 4), (4, 1)}
    assert conflicts(straight_map()) == set()


def test_an_overpass_is_no_conflict():
    road = crossing_map()
    bridge = replace(road.features[4], points=road.features[4].points + np.array([0, 0, 6.0]))
    raised = replace(road, features=(*road.features[:4], bridge, road.features[5]))
    assert conflicts(raised) == set()
    flat = replace(bridge, has_z=False)
    assert conflicts(replace(road, features=(*road.features[:4], flat, road.features[5]))) == {
        (1, 4),
        (4, 1),
    }


def test_lanes_that_share_a_successor_merge():
    road = RoadMap(
        source_map_id="merge",
        features=(
            lane(0, straight((0, 0), (100, 0))),
            lane(1, [(0, -30), (60, -8), (100, 0)]),
            lane(2, straight((100, 0), (200, 0))),
        ),
        edges=np.array([[0, EdgeKind.SUCCESSOR, 2], [1, EdgeKind.SUCCESSOR, 2]]),
    )
    assert conflicts(road) == {(0, 1), (1, 0)}
    no_edges = replace(road, edges=np.zeros((0, 3), dtype=np.int64))
    assert conflicts(no_edges) == {(0, 1), (1, 0)}


def test_conflicts_of_the_source_are_not_found_again():
    road = crossing_map()
    told = np.vstack([road.edges, [[1, EdgeKind.CONFLICT, 4], [4, EdgeKind.CONFLICT, 1]]])
    assert conflicts(replace(road, edges=told)) == set()


def test_a_map_that_left_and_came_back_is_the_same_map():
    road = crossing_map()
    local = localise_map(road, CORNER)
    back = RoadMap(
        source_map_id="other name",
        features=tuple(
            replace(
                f,
                points=f.points.astype(np.float64) + CORNER,
                left=f.left.astype(np.float64) + CORNER,
                right=f.right.astype(np.float64) + CORNER,
            )
            for f in local.map.features
        ),
        edges=local.map.edges,
        derived=local.map.derived,
    )
    assert localise_map(back, map_origin(back)).map_id == local.map_id
    moved = replace(road.features[0], points=road.features[0].points + np.array([0.0, 0.01, 0.0]))
    other = replace(road, features=(moved, *road.features[1:]))
    assert localise_map(other, CORNER).map_id != local.map_id


def test_broken_features_are_dropped_and_told():
    road = crossing_map()
    nan = np.full((3, 3), np.nan)
    broken = replace(road.features[1], points=nan)
    holed = replace(road.features[2], points=np.vstack([road.features[2].points, nan[:1]]))
    local = localise_map(
        replace(road, features=(road.features[0], broken, holed, *road.features[3:])), CORNER
    )
    assert [f.feature_id for f in local.map.features] == [0, 1, 2, 3, 4]
    assert [f.source_id for f in local.map.features] == [
        "lane0",
        "lane2",
        "lane3",
        "lane4",
        "lane5",
    ]
    assert all(np.isfinite(f.points).all() for f in local.map.features)
    assert {note.kind: note.count for note in local.notes if note.kind == "clipped"} == {
        "clipped": 4
    }
    # 0→1→2 went with lane 1; 3→4→5 is 2→3→4 now.
    successions = local.map.edges[~local.derived]
    assert {(int(a), int(b)) for a, _, b in successions} == {(2, 3), (3, 4)}


@pytest.mark.parametrize(
    ("bend", "turn"),
    [(0.0, "straight"), (25, "straight"), (90, "left"), (-90, "right"), (180, "u_turn")],
)
def test_turns(bend, turn):
    yaw = np.linspace(0.0, np.radians(bend), 40)
    line = np.cumsum(np.stack([np.cos(yaw), np.sin(yaw), 0 * yaw], axis=1), axis=0)
    assert turns_of(Bundle.of([line, line[:1]])) == [turn, None]


def test_a_point_has_no_turn():
    assert turns_of(Bundle.of([np.zeros((1, 3))])) == [None]


@pytest.mark.parametrize("stray", [np.nan, np.inf, 1e30, 3e5])
def test_a_stray_map_point_moves_nothing_and_is_told(stray):
    road_map = straight_map()
    first = road_map.features[0]
    points = np.vstack(
        [first.points, CORNER + np.array([stray, 0, 0]), CORNER + np.array([0, 0, stray])]
    )
    broken = replace(road_map, features=(replace(first, points=points), *road_map.features[1:]))
    origin = map_origin(road_map)
    np.testing.assert_array_equal(map_origin(broken), origin)
    local = localise_map(broken, origin)
    np.testing.assert_array_equal(
        local.map.features[0].points, localise_map(road_map, origin).map.features[0].points
    )
    assert [(note.kind, note.count) for note in local.notes] == [("clipped", 2)]
