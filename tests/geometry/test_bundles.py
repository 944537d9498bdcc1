"""Bundles against the functions for one line, and against lines that one can check by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geometry import polylines
from geometry.bundles import Bundle

metres = st.integers(-500, 500).map(lambda tenths: tenths / 10.0)
lines = st.lists(
    st.integers(1, 8).flatmap(lambda n: arrays(np.float64, (n, 3), elements=metres)),
    min_size=1,
    max_size=6,
)


@given(lines)
def test_lengths_are_those_of_each_line(drawn):
    alone = [polylines.arc_length(line)[-1] for line in drawn]
    np.testing.assert_allclose(Bundle.of(drawn).length, alone, atol=1e-9)


@given(lines, st.lists(st.floats(-10.0, 200.0), min_size=1, max_size=5))
def test_points_along_lines_are_those_of_each_line(drawn, s):
    s = np.array(s)
    for index, line in enumerate(drawn):
        found = Bundle.of(drawn).at(np.full(len(s), index), s)
        # Where points repeat in plan but differ in height, any height between is right.
        np.testing.assert_allclose(found[:, :2], polylines.at(line, s)[:, :2], atol=1e-6)


@given(lines)
def test_lines_without_repeats_are_those_of_each_line(drawn):
    bundle = Bundle.of(drawn).without_repeats()
    for line, first, last in zip(drawn, bundle.first, bundle.last, strict=True):
        np.testing.assert_array_equal(
            bundle.points[first : last + 1], polylines.without_repeats(line)
        )


@given(lines, st.randoms())
def test_some_lines_are_those_lines(drawn, random):
    chosen = [random.random() < 0.5 for _ in drawn]
    some = Bundle.of(drawn).only(np.array(chosen))
    kept = [line for line, take in zip(drawn, chosen, strict=True) if take]
    assert some.sizes.tolist() == [len(line) for line in kept]
    np.testing.assert_array_equal(some.points, np.concatenate([np.zeros((0, 3)), *kept]))


@given(lines)
def test_bends_are_those_of_each_line(drawn):
    bundle = Bundle.of(drawn).without_repeats()
    for line, turned in zip(drawn, bundle.turned, strict=True):
        yaw = np.unwrap(polylines.headings(polylines.without_repeats(line)))
        apart = abs(turned - (yaw[-1] - yaw[0]))
        # A reversal is half a turn to either side.
        assert min(apart % (2 * np.pi), -apart % (2 * np.pi)) < 1e-6


def test_places_are_even_and_keep_both_ends():
    bundle = Bundle.of([np.array([[0.0, 0.0], [4.0, 0.0]]), np.array([[0.0, 5.0], [0.0, 5.0]])])
    line, s = bundle.evenly(np.array([3, 0]))
    assert line.tolist() == [0, 0, 0]
    assert s.tolist() == [0.0, 2.0, 4.0]


def test_a_square_bends_by_three_quarters_of_a_turn():
    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    np.testing.assert_allclose(
        Bundle.of([square, square[::-1]]).turned, [1.5 * np.pi, -1.5 * np.pi]
    )


def test_no_lines_have_nothing():
    assert len(Bundle.of([])) == 0
    assert not len(Bundle.of([]).turned)


def test_a_line_of_nothing_is_refused():
    with pytest.raises(ValueError, match="Line 1 has no point"):
        Bundle.of([np.zeros((1, 2)), np.zeros((0, 2))])


@given(lines.filter(lambda drawn: len(drawn[0]) > 1), st.integers(1, 60))
def test_frenet_coordinates_are_those_of_the_nearest_place(drawn, tenths):
    """From each place of a line to its left, before the line bends back to there."""
    bundle = Bundle.of(drawn).without_standstill()
    line = bundle.points[bundle.first[0] : bundle.last[0] + 1]
    if len(line) < 2:
        return
    middle = (line[1:, :2] + line[:-1, :2]) / 2.0
    step = np.diff(line[:, :2], axis=0)
    left = np.stack([-step[:, 1], step[:, 0]], axis=1) / np.hypot(*step.T)[:, None]
    xy = middle + tenths / 10.0 * left
    s, d, _ = polylines.project(xy, line)
    along = (polylines.arc_length(line)[1:] + polylines.arc_length(line)[:-1]) / 2.0
    own = np.abs(s - along) < 1e-9  # else another segment passes nearer
    from_end, _, _ = polylines.project(xy, line[::-1])
    own &= np.abs(polylines.arc_length(line)[-1] - from_end - s) < 1e-9  # or as near, further on
    zero = np.zeros(len(middle), dtype=np.int64)
    found_s, found_d = bundle.frenet(zero, along, xy)
    np.testing.assert_allclose(found_s[own], s[own], atol=1e-9)
    np.testing.assert_allclose(found_d[own], d[own], atol=1e-9)


def test_frenet_coordinates_of_a_circle_from_a_guess_that_is_off():
    angle = np.linspace(0.0, np.pi, 2001)
    bundle = Bundle.of(
        [np.array([[5.0, 5.0]]), 20.0 * np.stack([np.cos(angle), np.sin(angle)], 1)]
    )
    asked = np.array([0.3, 1.0, 2.5])
    for off in (-3.0, 0.0, 3.0):
        xy = (20.0 - 1.5) * np.stack([np.cos(asked), np.sin(asked)], 1)
        s, d = bundle.frenet(np.ones(3, dtype=np.int64), 20.0 * asked + off, xy)
        np.testing.assert_allclose(s, 20.0 * asked, atol=2e-3)  # the circle has facets
        np.testing.assert_allclose(d, 1.5, atol=1e-4)


def test_frenet_coordinates_go_straight_on_beyond_the_ends_and_round_a_corner():
    bundle = Bundle.of([np.array([[0.0, 0.0], [0.0, 0.0], [10.0, 0.0], [10.0, 10.0]])])
    bundle = bundle.without_standstill()
    xy = np.array([[-2.0, 1.0], [11.0, 12.0], [13.0, -4.0], [9.0, 1.0]])
    s, d = bundle.frenet(np.zeros(4, dtype=np.int64), np.array([0.0, 20.0, 9.0, 9.0]), xy)
    np.testing.assert_allclose(s, [-2.0, 22.0, 10.0, 9.0])
    np.testing.assert_allclose(d, [1.0, -1.0, -5.0, 1.0])
