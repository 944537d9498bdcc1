"""Hysteresis, bridging and least durations, by hand and by property."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mining.intervals import Runs, above, below, bridge, decisive, middles, runs, spells, steps_of
from mining.predicates.predicate import middle

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


@given(masks, st.integers(1, 9), st.integers(0, 6))
def test_spells_of_any_least_and_bridge_are_so(mask: np.ndarray, least: int, gap: int) -> None:
    bridged = bridge(mask, shorter_than_s=gap / 10)
    expected = [(r, b, e) for r, b, e in runs(bridged) if e - b + 1 >= least]
    assert list(spells(mask, least_s=least / 10, bridge_s=gap / 10)) == expected


VALUES = st.sampled_from([-np.inf, -2.0, -1.0, 0.0, 1.0, 1.5, 2.0, np.inf, np.nan])
SHAPES = st.tuples(st.integers(0, 3), st.integers(1, 12))


@given(st.data())
def test_the_trigger_is_what_a_switch_would_do_step_by_step(data: st.DataObject) -> None:
    rows, steps = shape = data.draw(SHAPES)
    value = data.draw(arrays(float, shape, elements=VALUES))
    known = data.draw(arrays(bool, shape))
    sizes = st.sampled_from([(1, 1), (1, steps), (rows, 1), shape])
    limits = st.one_of(VALUES, sizes.flatmap(lambda size: arrays(float, size, elements=VALUES)))
    enter, leave = data.draw(limits), data.draw(limits)
    for of, sign in ((above, 1.0), (below, -1.0)):
        expected = np.zeros(shape, dtype=bool)
        begins, ends = (np.broadcast_to(sign * limit, shape) for limit in (enter, leave))
        for row in range(rows):
            on = False
            for step in range(steps):
                here = sign * value[row, step]
                if here >= begins[row, step]:
                    on = True
                elif here < ends[row, step]:
                    on = False
                on = on and bool(known[row, step])
                expected[row, step] = on
        assert (of(value, enter, known=known, leave=leave) == expected).all()


@given(st.data())
def test_the_decisive_step_is_the_first_extreme_at_which_the_mask_holds(
    data: st.DataObject,
) -> None:
    mask = data.draw(masks)
    value = data.draw(arrays(float, mask.shape, elements=VALUES))
    found = spells(mask, least_s=0.2)
    for pick, outside in ((np.argmax, -np.inf), (np.argmin, np.inf)):
        expected = [
            begin + int(pick(np.where(mask, value, outside)[row, begin : end + 1]))
            for row, begin, end in found
        ]
        steps = decisive(found, mask, value, greatest=pick is np.argmax)
        assert steps.tolist() == expected
    inside = [np.flatnonzero(mask[row, b : e + 1]) + b for row, b, e in found]
    expected = [
        int(steps[middle(value[row, steps])])
        for (row, _, _), steps in zip(found, inside, strict=True)
    ]
    assert middles(found, mask, value).tolist() == expected


def test_quantities_and_masks_in_any_layout_are_taken() -> None:
    value, known = np.arange(12.0).reshape(3, 4).T, np.ones((3, 4), dtype=bool).T
    assert (above(value, 5.0, known=known) == (value >= 5.0)).all()
    one = np.broadcast_to(np.arange(6) > 0, (2, 6))
    assert list(spells(one)) == [(0, 1, 5), (1, 1, 5)]
    runs_of_one = Runs(*(np.array([k]) for k in (1, 1, 5)))
    steps = decisive(runs_of_one, one, np.broadcast_to(np.arange(6.0), (2, 6)), greatest=True)
    assert steps.tolist() == [5]
