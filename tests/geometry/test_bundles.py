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
