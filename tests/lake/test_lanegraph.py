from dataclasses import replace

import numpy as np
import pytest

from lake.lanegraph import derived_edges
from lake.roadmap import localise_map, map_origin
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import MapFeature, RoadMap
from tests.builders import CORNER, crossing_map, lane, straight, straight_map

S, P, L, R = EdgeKind.SUCCESSOR, EdgeKind.PREDECESSOR, EdgeKind.LEFT, EdgeKind.RIGHT
NONE = np.zeros((0, 3), dtype=np.int64)


def thing(feature_id: int, layer: MapLayer, points: object, *, z: float = 0.0) -> MapFeature:
    flat = np.array(points, dtype=np.float64)
    return MapFeature(
        feature_id=feature_id, source_id=f"thing{feature_id}", layer=layer,
        points=np.column_stack([flat, np.full(len(flat), z)]) + CORNER,
    )  # fmt: skip


def found(features: object, kind: EdgeKind, edges: object = NONE) -> set[tuple[int, int]]:
    made = derived_edges(features, np.array(edges, dtype=np.int64).reshape(-1, 3))
    return {(int(a), int(b)) for a, k, b in made if k == kind}


def raised(feature: MapFeature, by: float) -> MapFeature:
    return replace(feature, points=feature.points + np.array([0.0, 0.0, by]))


class TestSuccessors:
    def test_lanes_in_pieces_continue_each_other(self):
        road = crossing_map()
        assert found(road.features, S) == {(0, 1), (1, 2), (3, 4), (4, 5)}
        assert found(road.features, P) == {(1, 0), (2, 1), (4, 3), (5, 4)}

    def test_where_the_source_states_any_none_is_added(self):
        road = crossing_map()
        assert found(road.features, S, [(0, S, 1)]) == set()
        assert found(road.features, P, [(0, S, 1)]) == {(1, 0)}
        assert found(road.features, S, [(1, P, 0)]) == {(0, 1)}

    def test_a_fork_leads_both_ways_and_a_side_street_nowhere(self):
        fork = (
            lane(0, straight((-50, 0), (0, 0))),
            lane(1, straight((0.3, 0), (40, 0))),
            lane(2, [(0.3, 0), (15, 3), (30, 15)]),
            lane(3, straight((0.3, 0), (0.3, 40))),
        )
        assert found(fork, S) == {(0, 1), (0, 2)}

    def test_a_short_piece_is_not_jumped_over(self):
        pieces = (
            lane(0, straight((-50, 0), (0, 0))),
            lane(1, straight((0, 0), (0.8, 0))),
            lane(2, straight((0.8, 0), (40, 0))),
        )
        assert found(pieces, S) == {(0, 1), (1, 2)}

    def test_a_bridge_does_not_continue_the_road_below(self):
        road, other = lane(0, straight((-50, 0), (0, 0))), lane(1, straight((0, 0), (40, 0)))
        assert found((road, raised(other, 6.0)), S) == set()
        assert found((road, replace(raised(other, 6.0), has_z=False)), S) == {(0, 1)}

    def test_a_pavement_continues_no_lane_but_a_bicycle_lane_does(self):
        road, other = lane(0, straight((-50, 0), (0, 0))), lane(1, straight((0, 0), (40, 0)))
        assert found((road, replace(other, lane_type=LaneType.SIDEWALK)), S) == set()
        assert found((road, replace(other, lane_type=LaneType.BIKE)), S) == {(0, 1)}


class TestNeighbours:
    def test_lanes_side_by_side(self):
        road = straight_map()
        assert found(road.features, L) == {(0, 1)}
        assert found(road.features, R) == {(1, 0)}

    def test_only_where_the_source_states_none(self):
        road = straight_map()
        assert found(road.features, R, [(0, L, 1)]) == set()

    @pytest.mark.parametrize(
        ("other", "beside"),
        [
            (straight((0, 3.5), (50, 3.5)), True),  # half as long: all of it runs alongside
            (straight((100, 3.5), (0, 3.5)), False),  # oncoming
            (straight((0, 7.0), (100, 7.0)), False),  # the lane after next
            (straight((0, 1.0), (100, 1.0)), False),  # on the same ground
            (straight((80, 3.5), (180, 3.5)), False),  # alongside for a fifth
            ([(0, 2.0), (20, 8.0), (40, 30.0)], False),  # parts
        ],
    )
    def test_what_counts_as_beside(self, other, beside):
        pair = (lane(0, straight((0, 0), (100, 0))), lane(1, other))
        assert (found(pair, L) == {(0, 1)}) == beside
        assert found(pair, R) == ({(1, 0)} if beside else set())

    def test_curved_lanes_stay_neighbours(self):
        bend = np.linspace(0.0, np.pi / 2.0, 30)
        ring = np.stack([np.sin(bend), 1.0 - np.cos(bend)], axis=1)
        outer, inner = lane(0, ring * 20.0), lane(1, ring * 16.5 + [0.0, 3.5])
        assert found((outer, inner), L) == {(0, 1)}

    def test_of_several_the_nearest(self):
        three = tuple(lane(i, straight((0, 2.2 * i), (100, 2.2 * i))) for i in range(3))
        assert found(three, L) == {(0, 1), (1, 2)}

    def test_a_bicycle_lane_is_not_to_be_changed_to(self):
        road = straight_map().features[:2]
        bike = replace(road[1], lane_type=LaneType.BIKE)
        assert found((road[0], bike), L) == set()

    def test_lanes_on_two_storeys_are_no_neighbours(self):
        road = straight_map().features[:2]
        assert found((road[0], raised(road[1], 6.0)), L) == set()


class TestThingsOnLanes:
    def test_a_crosswalk_lies_over_the_lanes_that_enter_it(self):
        road = straight_map()
        assert found(road.features, EdgeKind.CROSSWALK_OVER_LANE) == {(2, 0), (2, 1)}
        told = [(2, EdgeKind.CROSSWALK_OVER_LANE, 0)]
        assert found(road.features, EdgeKind.CROSSWALK_OVER_LANE, told) == set()
        bridge = replace(raised(road.features[2], 6.0))
        high = (*road.features[:2], bridge)
        assert found(high, EdgeKind.CROSSWALK_OVER_LANE) == set()

    def test_a_stop_line_is_of_the_lane_that_it_crosses(self):
        road = crossing_map().features
        line = thing(6, MapLayer.STOP_LINE, [(-12, -1.7), (-12, 1.7)])
        assert found((*road, line), EdgeKind.STOP_LINE_OF_LANE) == {(6, 0)}
        told = [(6, EdgeKind.STOP_LINE_OF_LANE, 1)]
        assert found((*road, line), EdgeKind.STOP_LINE_OF_LANE, told) == set()

    def test_a_stop_line_where_lanes_meet_is_of_the_one_that_ends(self):
        line = thing(6, MapLayer.STOP_LINE, [(-10, -1.7), (-10, 1.7)])
        assert found((*crossing_map().features, line), EdgeKind.STOP_LINE_OF_LANE) == {(6, 0)}

    def test_half_a_stop_line_is_of_the_lane_that_it_ends_beside(self):
        half = thing(6, MapLayer.STOP_LINE, [(-12, -3.0), (-12, -1.0)])
        assert found((*crossing_map().features, half), EdgeKind.STOP_LINE_OF_LANE) == {(6, 0)}

    def test_a_line_along_the_lane_is_none_of_it(self):
        along = thing(6, MapLayer.STOP_LINE, [(-30, -0.2), (-20, 0.2)])
        assert found((*crossing_map().features, along), EdgeKind.STOP_LINE_OF_LANE) == set()

    def test_a_stop_sign_is_of_the_lanes_that_begin_beside_it(self):
        road = crossing_map().features
        sign = thing(6, MapLayer.STOP_SIGN, [(-9.5, -3.5)])
        assert found((*road, sign), EdgeKind.STOP_LINE_OF_LANE) == {(6, 1)}
        other = thing(7, MapLayer.STOP_SIGN, [(3.5, -10.5)])
        told = [(6, EdgeKind.STOP_LINE_OF_LANE, 1)]
        assert found((*road, sign, other), EdgeKind.STOP_LINE_OF_LANE, told) == set()


def test_nothing_comes_of_nothing():
    assert len(derived_edges((), NONE)) == 0
    point = replace(lane(0, [(0, 0), (0, 0)]), points=np.zeros((2, 3)))
    assert len(derived_edges((point,), NONE)) == 0


@pytest.mark.parametrize("road", [crossing_map(), straight_map()], ids=["crossing", "straight"])
def test_no_edge_is_found_twice_and_all_lead_to_lanes(road):
    every = np.concatenate([road.edges, derived_edges(road.features, road.edges)])
    assert len(np.unique(every, axis=0)) == len(every)
    lanes = {f.feature_id for f in road.features if f.layer is MapLayer.LANE}
    assert set(every[:, 2].tolist()) <= lanes


@pytest.mark.parametrize("stated", [True, False])
def test_a_map_that_went_out_with_its_graph_comes_back_as_itself(stated):
    road = crossing_map() if stated else replace(crossing_map(), edges=NONE)
    origin = map_origin(road)
    local = localise_map(road, origin)
    assert local.derived.any()
    features = tuple(
        replace(f, points=f.points + origin, left=f.left + origin, right=f.right + origin)
        for f in local.map.features
    )
    again = localise_map(replace(local.map, features=features), origin)
    assert again.map_id == local.map_id
    np.testing.assert_array_equal(again.map.edges, local.map.edges)
    np.testing.assert_array_equal(again.derived, local.derived)
    # A source that states what is found here is another one: its word may differ elsewhere.
    told = localise_map(replace(local.map, features=features, derived=None), origin)
    assert told.map_id != local.map_id


def test_logs_that_share_a_map_share_the_work():
    road = crossing_map()
    first = localise_map(road, CORNER)
    assert localise_map(road, CORNER) is first
    assert localise_map(road, CORNER + 1.0) is not first
    assert localise_map(replace(road), CORNER) is not first
    assert isinstance(first.map, RoadMap)
