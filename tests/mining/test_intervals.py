"""Hysteresis, bridging and least durations, by hand and by property."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mining.intervals import above, below, bridge, runs, spells, steps_of

KNOWN = np.ones((1, 8), dtype=bool)
masks = arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 40)))


def test_a_condition_ends_only_ten_percent_below_its_threshold() -> None:
    value = np.array([[0.0, 9.5, 10.0, 9.5, 9.0, 8.9, 9.5, 10.0]])
    assert above(value, 10.0, known=KNOWN).tolist() == [
        [False, False, True, True, True, False, False, True]
    ]


def test_a_condition_from_above_mirrors_it() -> None:
    value = np.array([[-3.0, -4.05, -3.7, -3.6, -4.0, -5.0, -3.65, -3.0]])
    assert below(value, -4.05, known=KNOWN).tolist() == [
        [False, True, True, False, False, True, True, False]
    ]


def test_what_is_not_known_ends_the_condition_and_forgets_it() -> None:
    known = KNOWN.copy()
    known[0, 3] = False
    value = np.array([[0.0, 10.0, 9.5, 9.5, 9.5, 9.5, 10.0, 9.5]])
    assert above(value, 10.0, known=known).tolist() == [
        [False, True, True, False, False, False, True, True]
    ]


def test_a_threshold_may_differ_from_step_to_step() -> None:
    value = np.full((1, 8), 5.0)
    threshold = np.array([[4.0] * 4 + [6.0] * 4])
    assert above(value, threshold, known=KNOWN).sum() == 4


def test_gaps_of_two_steps_are_bridged_and_of_three_are_not() -> None:
    two = np.array([[True] * 5 + [False] * 2 + [True] * 5])
    three = np.array([[True] * 5 + [False] * 3 + [True] * 5])
    assert [(b, e) for _, b, e in spells(two)] == [(0, 11)]
    assert [(b, e) for _, b, e in spells(three)] == [(0, 4), (8, 12)]


def test_half_a_second_is_five_steps() -> None:
    assert steps_of(0.5) == 5
    assert steps_of(0.3) == 3
    four, five = np.zeros((1, 9), dtype=bool), np.zeros((1, 9), dtype=bool)
    four[0, 2:6] = five[0, 2:7] = True
    assert len(spells(four)) == 0
    assert list(spells(five)) == [(0, 2, 6)]


def test_short_pieces_may_add_up_before_they_are_judged() -> None:
    pieces = np.array([[True, True, False, True, True, False, True, True]])
    assert list(spells(pieces)) == [(0, 0, 7)]


@given(masks)
def test_runs_give_the_mask_back(mask: np.ndarray) -> None:
    again = np.zeros_like(mask)
    for row, begin, end in runs(mask):
        again[row, begin : end + 1] = True
    assert (again == mask).all()


@given(masks)
def test_bridging_adds_only_and_changes_nothing_twice(mask: np.ndarray) -> None:
    once = bridge(mask)
    assert (once >= mask).all()
    assert (bridge(once) == once).all()


@given(masks)
def test_spells_are_the_long_runs_of_the_bridged_mask(mask: np.ndarray) -> None:
    expected = [(r, b, e) for r, b, e in runs(bridge(mask)) if e - b + 1 >= 5]
    assert list(spells(mask)) == expected
