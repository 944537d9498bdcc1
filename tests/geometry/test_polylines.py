"""Polylines against circles and straight lines, whose answers are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import LineString, Point

from geometry import polylines

RADIUS = 20.0
ARC = np.stack(
    [RADIUS * np.cos(np.linspace(0, np.pi, 721)), RADIUS * np.sin(np.linspace(0, np.pi, 721))], axis=-1
)  # fmt: skip


def test_half_a_circle_is_pi_radii_long_and_bends_left() -> None:
    assert polylines.arc_length(ARC)[-1] == pytest.approx(np.pi * RADIUS, rel=1e-5)
    np.testing.assert_allclose(polylines.curvature(ARC), 1 / RADIUS, rtol=1e-3)


@given(st.integers(0, 2**32 - 1))
def test_projection_agrees_with_shapely(seed: int) -> None:
    rng = np.random.default_rng(seed)
    line = np.cumsum(rng.uniform(-4.0, 6.0, (9, 2)), axis=0)
    points = rng.uniform(line.min(axis=0) - 5.0, line.max(axis=0) + 5.0, (20, 2))
    s, d, _ = polylines.project(points, line)
    drawn = LineString(line)
    np.testing.assert_allclose(np.abs(d), [drawn.distance(Point(p)) for p in points], atol=1e-9)
    found = [drawn.interpolate(along) for along in s]
    off = [spot.distance(Point(p)) for spot, p in zip(found, points, strict=True)]
    np.testing.assert_allclose(off, np.abs(d), atol=1e-9)


def test_projection_onto_a_straight_line() -> None:
    line = np.array([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0]])
    s, d, yaw = polylines.project(np.array([[12.0, 1.5], [5.0, -2.0], [25.0, 0.0]]), line)
    np.testing.assert_allclose(s, [12, 5, 20])
    np.testing.assert_allclose(d, [1.5, -2.0, 5.0])
    np.testing.assert_allclose(yaw, 0.0)


@given(theta=st.floats(0.1, 3.0), d=st.floats(-5, 5))
def test_projection_onto_a_circle_is_polar_coordinates(theta: float, d: float) -> None:
    r = RADIUS - d  # the circle runs counter-clockwise, so its left is its inside
    point = np.array([[r * np.cos(theta), r * np.sin(theta)]])
    s, found, _ = polylines.project(point, ARC)
    assert s[0] == pytest.approx(theta * RADIUS, abs=0.05)
    assert found[0] == pytest.approx(d, abs=0.01)


def test_a_single_point_has_no_direction() -> None:
    with pytest.raises(ValueError, match="two are needed"):
        polylines.project(np.zeros((1, 2)), np.zeros((1, 2)))


def test_resampling_keeps_ends_and_spacing() -> None:
    again = polylines.resample(ARC, 50)
    np.testing.assert_allclose(again[[0, -1]], ARC[[0, -1]], atol=1e-9)
    steps = np.linalg.norm(np.diff(again, axis=0), axis=1)
    assert steps.std() < 1e-3
    np.testing.assert_array_equal(polylines.resample(ARC[:1], 3), np.repeat(ARC[:1], 3, axis=0))


def test_inside_follows_the_even_odd_rule() -> None:
    square = np.array([[0.0, 0], [4, 0], [4, 4], [0, 4]])
    answers = polylines.inside(np.array([[2.0, 2], [5, 2], [-1, -1], [3.9, 0.1]]), square)
    assert answers.tolist() == [True, False, False, True]


def test_an_offset_to_the_left_of_a_circle_shrinks_it() -> None:
    inner = polylines.offset_line(ARC, 5.0)
    np.testing.assert_allclose(np.hypot(inner[:, 0], inner[:, 1]), RADIUS - 5.0, atol=1e-3)


def test_repeated_points_are_dropped() -> None:
    line = np.array([[0.0, 0], [0, 0], [1, 0], [1, 0.0001], [2, 0]])
    assert len(polylines.without_repeats(line)) == 3


def test_points_on_lines_of_their_own_are_projected_as_each_on_its_line_alone() -> None:
    rng = np.random.default_rng(5)
    lines = [np.cumsum(rng.normal(1.0, 0.6, (count, 3)), axis=0) for count in (2, 9, 4)]
    xy, which = rng.uniform(-5.0, 12.0, (200, 2)), rng.integers(0, 3, 200)
    together = np.column_stack(polylines.project_each(xy, which, lines))
    for k, line in enumerate(lines):
        alone = np.column_stack(polylines.project(xy[which == k], line))
        np.testing.assert_array_equal(together[which == k], alone)
    with pytest.raises(ValueError, match="of 1 points"):
        polylines.project_each(xy, which, [lines[0], lines[1][:1], lines[2]])


def test_no_segment_is_passed_over_that_is_nearer() -> None:
    rng = np.random.default_rng(8)
    for scale in (0.1, 1.0, 20.0):
        line = np.cumsum(rng.normal(0.3, 1.0, (300, 2)) * scale, axis=0)
        xy = rng.uniform(line.min(), line.max(), (300, 2))
        alone = [
            np.column_stack(polylines.project(xy, line[k : k + 2])) for k in range(len(line) - 1)
        ]
        off = np.abs(np.stack([each[:, 1] for each in alone]))
        nearest = off.argmin(axis=0)
        s, d, yaw = polylines.project(xy, line)
        at = np.arange(len(xy))
        np.testing.assert_array_equal(np.abs(d), off[nearest, at])
        np.testing.assert_array_equal(yaw, np.stack([each[:, 2] for each in alone])[nearest, at])
        along = np.stack([each[:, 0] for each in alone])[nearest, at]
        np.testing.assert_allclose(s, polylines.arc_length(line)[nearest] + along)
