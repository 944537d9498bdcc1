"""Map matching on crossings and parallels, where the nearest line is not always the right one."""

import numpy as np

from geometry.lanes import LaneIndex

EAST = np.array([[-50.0, 0.0], [50.0, 0.0]])
NORTH = np.array([[0.0, -50.0], [0.0, 50.0]])
WEST = np.array([[50.0, 3.5], [-50.0, 3.5]])


def test_heading_decides_where_lanes_cross() -> None:
    match = LaneIndex([EAST, NORTH]).match(
        np.array([[0.1, 0.1], [0.1, 0.1]]), np.array([0.0, 1.5])
    )
    assert match.lane.tolist() == [0, 1]
    assert match.matched.all()


def test_station_and_offset_are_frenet_coordinates() -> None:
    match = LaneIndex([EAST, WEST]).match(np.array([[10.3, 0.8]]), np.array([0.05]))
    np.testing.assert_allclose([match.s[0], match.d[0]], [60.3, 0.8], atol=1e-9)
    np.testing.assert_allclose(match.heading_error, 0.05)


def test_wrong_way_stays_on_its_lane_and_shows_in_the_heading() -> None:
    match = LaneIndex([EAST]).match(np.array([[5.0, 0.2]]), np.array([np.pi]))
    assert match.matched[0]
    assert abs(match.heading_error[0]) > 3.0
    assert (
        not LaneIndex([EAST])
        .match(np.array([[5.0, 0.2]]), np.array([np.pi]), max_turn=1.5)
        .matched[0]
    )


def test_far_from_every_lane_is_no_lane() -> None:
    index = LaneIndex([EAST])
    assert not index.match(np.array([[0.0, 9.0], [80.0, 0.0]]), np.zeros(2)).matched.any()
    assert not LaneIndex([]).match(np.zeros((2, 2)), np.zeros(2)).matched.any()
    assert LaneIndex([EAST]).match(np.zeros((0, 2)), np.zeros(0)).matched.shape == (0,)
