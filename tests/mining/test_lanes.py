"""The lane graph: what is downstream, what crosses, merges and circles."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from mining.lanes import LaneGraph, lane_graph
from tests.mining import micro
from tests.mining.micro import build, junction, lane
from tests.mining.test_predicates import ring, two_lanes_meet


def without_topology(road_map):  # type: ignore[no-untyped-def]
    """As a source gives it that knows lines alone."""
    features = tuple(replace(f, in_intersection=None) for f in road_map.features)
    return replace(road_map, features=features, edges=np.zeros((0, 3), dtype=np.int64))


def test_distances_downstream_add_up_along_the_way() -> None:
    graph = LaneGraph(junction())
    chosen = [micro.FROM_WEST, micro.THROUGH_EAST, micro.TO_EAST, micro.FROM_EAST]
    away = graph.downstream(chosen)
    arm = 120.0 - micro.R
    assert away[0] == pytest.approx([0.0, arm, arm + 2 * micro.R, np.inf])
    assert away[2] == pytest.approx([np.inf, np.inf, 0.0, np.inf])


def test_topology_is_found_where_the_source_has_none() -> None:
    graph = LaneGraph(without_topology(junction()))
    told = LaneGraph(junction())
    assert [sorted(s) for s in graph.successors] == [sorted(s) for s in told.successors]
    assert graph.in_intersection.tolist() == told.in_intersection.tolist()


def test_crossing_lanes_cross_each_other() -> None:
    graph = LaneGraph(junction())
    assert micro.THROUGH_NORTH in graph.crossings[micro.THROUGH_EAST]
    assert micro.THROUGH_EAST in graph.crossings[micro.THROUGH_NORTH]
    assert micro.THROUGH_WEST not in graph.crossings[micro.THROUGH_EAST]
    assert micro.THROUGH_WEST in graph.crossings[micro.LEFT_TO_NORTH]


def test_a_bridge_crosses_nothing() -> None:
    under, over = lane([(-50.0, 0.0), (50.0, 0.0)]), lane([(0.0, -50.0), (0.0, 50.0)])
    assert LaneGraph(build([under, over])).crossings == [[1], [0]]
    high = {**over, "points": np.add(over["points"], (0.0, 0.0, 6.0))}
    assert LaneGraph(build([under, high])).crossings == [[], []]


def test_turns_and_rings_and_merges() -> None:
    graph = LaneGraph(junction())
    assert np.degrees(graph.turn[micro.LEFT_TO_NORTH]) == pytest.approx(90.0, abs=5.0)
    assert np.degrees(graph.turn[micro.RIGHT_TO_SOUTH]) == pytest.approx(-90.0, abs=5.0)
    assert not graph.in_ring.any()
    assert np.flatnonzero(LaneGraph(ring()).in_ring).tolist() == [0, 1, 2, 3]
    assert LaneGraph(two_lanes_meet()).merges.tolist() == [True, False, True]
    assert not LaneGraph(two_lanes_meet(False)).merges.any()


@pytest.mark.parametrize(("stretched", "found"), [(0.0, True), (9.5, True), (10.5, False)])
def test_a_loop_with_long_straights_is_no_roundabout(stretched: float, found: bool) -> None:
    """Quarters of 94.2 m in all, and straights of 38 m or 42 m: 29 % or 31 %."""
    assert LaneGraph(ring(stretched=stretched)).in_ring.any() == found


@pytest.mark.parametrize(("longer", "found"), [(1.3, True), (1.37, False)])
def test_a_roundabout_is_as_wide_as_it_is_long(longer: float, found: bool) -> None:
    """An ellipse of 15 m by 19.5 m, or 20.6 m."""
    made = ring()
    features = tuple(
        replace(f, points=f.points * [longer, 1.0, 1.0], left=None, right=None)
        for f in made.features
    )
    assert LaneGraph(replace(made, features=features)).in_ring.any() == found


def test_a_circle_that_is_driven_across_is_no_roundabout() -> None:
    """As of the turning lanes of a crossing; a lane beside the island, or over a bridge, is not across."""
    made = ring()
    number = len(made.features)

    def with_lane(y: float, z: float = 0.0) -> LaneGraph:
        line = np.column_stack([np.linspace(-40.0, 40.0, 41), np.full(41, y), np.full(41, z)])
        more = replace(made.features[0], feature_id=number, points=line, left=None, right=None)
        return LaneGraph(replace(made, features=(*made.features, more)))

    assert not with_lane(0.0).in_ring.any()
    assert not with_lane(7.4).in_ring.any()
    assert with_lane(7.6).in_ring.sum() == 4
    assert with_lane(0.0, z=6.0).in_ring.sum() == 4


@pytest.mark.parametrize(("arms", "found"), [(0, False), (1, False), (2, True)])
def test_a_circular_road_is_no_roundabout(arms: int, found: bool) -> None:
    assert LaneGraph(ring(arms=arms)).in_ring.any() == found


def test_a_block_of_streets_is_no_roundabout() -> None:
    corners = [(0.0, 0.0), (90.0, 0.0), (90.0, 90.0), (0.0, 90.0), (0.0, 0.0)]
    sides = [lane([a, b]) for a, b in pairwise(corners)]
    assert not LaneGraph(build(sides)).in_ring.any()


def test_the_graph_of_a_map_is_built_once() -> None:
    road_map = junction()
    assert lane_graph(road_map) is lane_graph(road_map)


def test_an_empty_map_has_an_empty_graph() -> None:
    graph = LaneGraph(build([]))
    assert len(graph) == 0
    assert graph.indices(np.array([0, 3])).tolist() == [-1, -1]
    assert graph.downstream([]).shape == (0, 0)
