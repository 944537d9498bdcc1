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


def test_offsets_are_from_the_line_itself_where_it_bends() -> None:
    """A circle by its formula, and a corner that falls between two samples."""
    angle = np.linspace(0.0, np.pi, 721)
    bend = 8.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    asked = np.linspace(0.2, 2.9, 300)
    for offset in (-2.0, 0.7, 2.0):
        xy = (8.0 - offset) * np.stack([np.cos(asked), np.sin(asked)], axis=1)
        match = LaneIndex([bend]).match(xy, asked + np.pi / 2)
        assert match.matched.all()
        np.testing.assert_allclose(match.d, offset, atol=1e-3)
        np.testing.assert_allclose(match.s, 8.0 * asked, atol=5e-3)  # it has facets
    corner = np.array([[0.0, 0.0], [9.5, 0.0], [9.5, 20.0]])
    match = LaneIndex([corner]).match(np.array([[9.3, 0.2]]), np.array([0.8]))
    np.testing.assert_allclose(match.d, [0.2], atol=1e-9)


def test_a_centre_line_farther_than_asked_for_is_no_match() -> None:
    rng = np.random.default_rng(1)
    line = np.cumsum(rng.normal(1.0, 1.0, (60, 2)), axis=0)
    xy = line[rng.integers(0, 60, 4000)] + rng.uniform(-4.0, 4.0, (4000, 2))
    match = LaneIndex([line]).match(xy, rng.uniform(-np.pi, np.pi, 4000), max_offset=2.0)
    assert 0 < match.matched.sum() < 4000
    assert np.abs(match.d[match.matched]).max() <= 2.0
