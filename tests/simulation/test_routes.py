"""Routes: through the lane graph where it leads to the goal, else along the log."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geometry.arrays import Array
from schemas.labels import EdgeKind
from schemas.records import RoadMap
from simulation.paths import Paths, extended
from simulation.routes import LaneGraph, _leads_on, build_route
from tests.simulation.driving import lane, road

STRAIGHT = np.stack([np.linspace(0.0, 80.0, 81), np.zeros(81)], axis=-1)
EAST = np.zeros(81)


def test_the_route_follows_the_lanes_past_the_goal() -> None:
    route = build_route(STRAIGHT + np.array([0.0, 0.6]), EAST, LaneGraph(road(limit=15.0)))
    assert route.source == "map"
    assert route.lanes == (0, 1)
    assert route.goal_s - route.start_s == pytest.approx(80.0, abs=0.01)
    np.testing.assert_allclose(route.xy[:, 1], 0.0, atol=1e-9)
    assert len(route.xy) - 1 - route.goal_s > 100.0
    assert route.start_s > 10.0
    assert route.limit_known.all()
    assert (route.speed_limit == 15.0).all()


def test_lanes_that_meet_follow_each_other_where_the_source_has_no_graph() -> None:
    bare = replace(road(), edges=np.zeros((0, 3), dtype=np.int64))
    assert build_route(STRAIGHT, EAST, LaneGraph(bare)).lanes == (0, 1)


def test_a_lane_change_of_the_log_is_on_the_route() -> None:
    changing = STRAIGHT.copy()
    changing[40:, 1] = 3.5
    changing[30:40, 1] = np.linspace(0.0, 3.5, 10)
    route = build_route(changing[:61], EAST[:61], LaneGraph(road()))
    assert route.source == "map"
    assert route.lanes[:2] == (0, 2)
    at_goal = route.xy[int(route.goal_s)]
    assert at_goal[1] == pytest.approx(3.5, abs=1e-6)


@pytest.mark.parametrize("road_map", [None, RoadMap.none(), road()])
def test_else_the_route_is_the_drive(road_map: RoadMap | None) -> None:
    angle = np.linspace(0.0, np.pi / 2, 60)
    bend = np.stack([40.0 * np.sin(angle), 200.0 - 40.0 * np.cos(angle)], axis=-1)
    graph = None if road_map is None else LaneGraph(road_map)
    route = build_route(bend, angle, graph)
    assert route.source == "log"
    assert route.lanes == ()
    on_arc = route.xy[int(route.start_s) : int(route.goal_s)]
    radius = np.hypot(on_arc[:, 0], on_arc[:, 1] - 200.0)
    np.testing.assert_allclose(radius, 40.0, atol=0.1)
    assert not route.limit_known.any()


def test_an_ego_that_stood_has_a_route_straight_ahead() -> None:
    standing = np.zeros((50, 2)) + np.random.default_rng(0).normal(0, 0.02, (50, 2))
    route = build_route(standing, np.full(50, 0.5), None)
    ahead = route.xy[-1] - route.xy[0]
    assert np.arctan2(ahead[1], ahead[0]) == pytest.approx(0.5, abs=1e-3)
    assert len(route.xy) > 100


@given(s=st.floats(0.0, 60.0), d=st.floats(-5.0, 5.0), near=st.floats(-3.0, 3.0))
def test_locating_inverts_placing(s: float, d: float, near: float) -> None:
    angle = np.linspace(0.0, 1.0, 200)
    arc = np.stack([60.0 * np.sin(angle), 60.0 * (1 - np.cos(angle))], axis=-1)
    paths = Paths.of([np.array([[0.0, 0.0], [9.0, 9.0]]), arc])
    row = np.array([1])
    xy, yaw = paths.pose(row, np.array([s]))
    beside = xy + d * np.stack([-np.sin(yaw), np.cos(yaw)], axis=-1)
    again, left, _ = paths.locate(row, beside, np.array([s + near]))
    assert again[0] == pytest.approx(s, abs=0.15)
    assert left[0] == pytest.approx(d, abs=0.05)


def test_beyond_its_ends_a_path_goes_straight_on() -> None:
    paths = Paths.of([np.array([[0.0, 0.0], [10.0, 0.0]])])
    rows = np.zeros(2, dtype=np.int64)
    xy, yaw = paths.pose(rows, np.array([15.0, -2.0]))
    np.testing.assert_allclose(xy, [[15.0, 0.0], [-2.0, 0.0]])
    np.testing.assert_allclose(yaw, 0.0)
    line = extended(np.array([[0.0, 0.0], [0.0, 5.0]]), before=2.0, after=3.0)
    np.testing.assert_allclose(line, [[0, -2], [0, 0], [0, 5], [0, 8]])


def test_past_its_end_a_logged_line_goes_on_along_the_lane() -> None:
    """Out of a yard onto a road: the drive ends on the lane, heading 20° to its left."""
    angle = np.deg2rad(20.0)
    s = np.linspace(-40.0, 0.0, 41)
    out = np.stack([50.0 + s * np.cos(angle), s * np.sin(angle)], axis=-1)
    route = build_route(out, np.full(41, angle), LaneGraph(road()))
    assert route.source == "log"
    onward = route.xy[int(route.goal_s) + 20 : int(route.goal_s) + 100]
    np.testing.assert_allclose(onward[:, 1], 0.0, atol=0.05)
    assert (np.diff(onward[:, 0]) > 0.99).all()
    assert route.known_s > route.goal_s + 100.0


def test_where_lanes_overlap_the_one_that_the_drive_ends_on_may_begin_before_it() -> None:
    """Two turns fork from one point: the ego starts nearer to one and ends nearer to the other."""
    left = [(float(x), 0.02 * x * x) for x in range(31)]
    fork = RoadMap(
        source_map_id="fork",
        features=(
            lane(0, (0.0, 0.0), (60.0, 0.0), 10.0),
            replace(lane(1, (0.0, 0.0), (30.0, 18.0), 10.0), points=_flat(left)),
        ),
        edges=np.array([[0, EdgeKind.SUCCESSOR, 2]], dtype=np.int64),
    )
    driven = np.array([(x, 0.4 * 0.02 * x * x) for x in np.linspace(2.0, 6.0, 9)])
    driven[:3, 1], driven[-3:, 1] = 0.0, [0.45, 0.6, 0.75]
    yaw = np.linspace(0.0, 0.24, 9)
    graph = LaneGraph(fork)
    start, goal = graph.match(driven[[0, -1]], yaw[[0, -1]])[0].tolist()
    assert start != goal, "else this tells nothing"
    assert graph.chain(start, goal) is None
    assert build_route(driven, yaw, graph).source == "map"


def test_a_route_leads_on_if_the_drive_gets_on_along_it() -> None:
    route = build_route(STRAIGHT, EAST, LaneGraph(road()))
    assert _leads_on(route, STRAIGHT)
    back = replace(route, goal_s=route.start_s - 20.0)
    assert not _leads_on(back, STRAIGHT)
    assert _leads_on(replace(route, goal_s=route.start_s), np.zeros((50, 2)))


def test_a_route_is_known_as_far_as_its_lanes_lead() -> None:
    near_the_end = STRAIGHT + np.array([300.0, 0.0])
    route = build_route(near_the_end, EAST, LaneGraph(road()))
    assert route.xy[int(route.known_s), 0] == pytest.approx(400.0, abs=1.0)
    assert len(route.xy) - 1 > route.known_s + 100.0
    alone = build_route(STRAIGHT, EAST, None)
    assert alone.known_s == pytest.approx(alone.goal_s, abs=1.0)


def _flat(points: list[tuple[float, float]]) -> Array:
    return np.column_stack([np.array(points), np.zeros(len(points))])
