"""Rates, tests and rankings against theory, simulation and scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from simulation.suites.statistics import (
    fewest_that_rank_alike,
    grouped_interval,
    kendall,
    mcnemar,
    mean_interval,
    rate,
    reliability,
    wilson,
)


def test_wilson_is_that_of_scipy() -> None:
    for k, n in ((0, 10), (3, 10), (10, 10), (470, 500)):
        expected = stats.binomtest(k, n).proportion_ci(method="wilson")
        assert wilson(k / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_mcnemar_is_the_exact_binomial_test() -> None:
    for won, lost in ((0, 0), (5, 0), (7, 3), (3, 7), (6, 6), (560, 640), (4000, 3900)):
        expected = stats.binomtest(won, won + lost).pvalue if won + lost else 1.0
        assert mcnemar(won, lost) == pytest.approx(expected)


def test_the_interval_of_cases_that_go_by_groups_is_that_of_the_groups() -> None:
    """Twenty groups of ten alike: as wide as twenty cases would have it, not two hundred."""
    rng = np.random.default_rng(0)
    told, size = rng.normal(size=20), 10
    values, groups = np.repeat(told, size), [f"g{i}" for i in range(20) for _ in range(size)]
    low, high = grouped_interval(values, groups)
    expected = 2 * 1.96 * told.std() / np.sqrt(20)
    assert high - low == pytest.approx(expected, rel=0.1)
    assert low < told.mean() < high
    alone = grouped_interval(told, [str(i) for i in range(20)])
    assert (low, high) == pytest.approx(alone, rel=0.1)
    assert grouped_interval(values, ["one"] * len(values)) == (-math.inf, math.inf)


def test_kendall_is_that_of_scipy() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        a, b = rng.integers(0, 5, 8), rng.integers(0, 5, 8)
        assert kendall(a, b) == pytest.approx(stats.kendalltau(a, b).statistic, nan_ok=True)
    assert math.isnan(kendall([1, 1, 1], [1, 2, 3]))


def test_a_rate_by_strata_is_unbiased_and_its_interval_covers() -> None:
    """Of 900 easy and 100 hard scenes, as many of each are drawn: the plain mean would be far off."""
    rng = np.random.default_rng(0)
    truth = 0.9 * 0.95 + 0.1 * 0.3
    found, covered = [], 0
    for _ in range(400):
        easy, hard = rng.random(40) < 0.95, rng.random(40) < 0.3
        values = np.concatenate([easy, hard]).astype(float)
        weights = np.repeat([900 / 40, 100 / 40], 40)
        told = rate(values, weights, ["easy"] * 40 + ["hard"] * 40)
        found.append(told.value)
        covered += told.low <= truth <= told.high
    assert np.mean(found) == pytest.approx(truth, abs=0.005)
    assert covered / 400 > 0.9


def test_a_rate_of_one_stratum_is_the_plain_share_with_its_interval() -> None:
    values = np.array([1.0] * 30 + [0.0] * 10)
    told = rate(values, np.full(40, 7.0), ["x"] * 40)
    assert told.value == 0.75
    low, high = wilson(0.75, 40)
    assert told.low == pytest.approx(low, abs=0.005)
    assert told.high == pytest.approx(high, abs=0.005)
    nothing = rate(np.zeros(0), np.zeros(0), [])
    assert (nothing.n, nothing.low, nothing.high) == (0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("held", "drawn", "chances", "widest"),
    [
        ([1 / 6] * 6, [15] * 6, [0.99] * 6, 0.07),  # nearly all pass: as of 90 plain cases
        ([0.9, 0.1], [40, 40], [0.99, 0.9], 0.12),
        ([0.4, 0.3, 0.15, 0.1, 0.04, 0.01], [15] * 6, [0.98, 0.95, 0.9, 0.9, 0.6, 0.5], 0.14),
        ([0.5, 0.3, 0.2], [4, 4, 4], [0.9, 0.8, 0.95], 0.4),
        ([0.1] * 10, [1] * 10, [0.8] * 10, 0.46),  # as of 10 plain cases
        ([1 / 30] * 30, [2] * 30, [0.7, 0.8, 0.95] * 10, 0.22),  # of 60 plain cases: 0.20
        ([0.02] * 30 + [0.4], [1] * 30 + [20], [0.5, 0.7, 0.95] * 10 + [0.9], 0.27),
        ([0.1, 0.45, 0.45], [1, 20, 20], [0.5, 0.9, 0.7], 0.28),
    ],
)
def test_intervals_cover_and_are_no_wider_than_they_must_be(
    held: list[float], drawn: list[int], chances: list[float], widest: float
) -> None:
    rng = np.random.default_rng(1)
    truth = float(np.dot(held, chances))
    weights = np.concatenate([[share / n] * n for share, n in zip(held, drawn, strict=True)])
    strata = [str(i) for i, n in enumerate(drawn) for _ in range(n)]
    covered, widths = 0, []
    for _ in range(600):
        passed = [rng.random(n) < p for n, p in zip(drawn, chances, strict=True)]
        told = rate(np.concatenate(passed).astype(float), weights, strata)
        covered += told.low <= truth <= told.high
        widths.append(told.high - told.low)
    assert covered / 600 > 0.92
    assert np.mean(widths) < widest


def test_intervals_of_scores_cover_and_know_that_these_differ_less_than_passes_and_fails() -> None:
    rng = np.random.default_rng(7)
    covered, widths = 0, []
    for _ in range(400):
        told = rate(rng.beta(30.0, 10.0, 100), np.ones(100), [""] * 100)
        covered += told.low <= 0.75 <= told.high
        widths.append(told.high - told.low)
    assert covered / 400 > 0.95
    assert np.mean(widths) < 0.06  # Wilson's of as many passes and fails: 0.17


def test_strata_that_all_passed_are_as_certain_as_a_plain_sample() -> None:
    weights = np.repeat([0.7, 1.3, 2.2], 20)  # of which the sum of shares is not quite 1
    told = rate(np.ones(60), weights, ["a"] * 20 + ["b"] * 20 + ["c"] * 20)
    assert told.value == told.high == 1.0
    assert wilson(1.0, 60)[0] - 0.06 < told.low <= wilson(1.0, 60)[0] + 1e-9


def test_all_passed_is_not_certainty() -> None:
    told = rate(np.ones(10), np.ones(10), [""] * 10)
    assert told.value == told.high == 1.0
    assert 0.6 < told.low < 0.8


def test_a_mean_lies_in_its_interval() -> None:
    values = np.random.default_rng(1).normal(0.2, 1.0, 200)
    low, high = mean_interval(values)
    assert low < 0.2 < high
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(200), rel=0.2)
    assert mean_interval(values) == (low, high)


def test_the_interval_of_a_mean_by_strata_covers_the_weighted_mean() -> None:
    """Nine scenes in ten are common, as many rare ones are drawn: there the change is the other way."""
    rng = np.random.default_rng(3)
    truth = 0.9 * -0.2 + 0.1 * 0.7
    weights, strata = np.repeat([90.0, 10.0], 12), ["common"] * 12 + ["rare"] * 12
    covered, plain = 0, 0
    for _ in range(60):
        change = np.concatenate([rng.normal(-0.2, 0.2, 12), rng.normal(0.7, 0.1, 12)])
        low, high = mean_interval(change, weights, strata)
        covered += low <= truth <= high
        low, high = mean_interval(change)
        plain += low <= truth <= high
    assert covered >= 52
    assert plain < 6


def test_few_cases_of_many_strata_have_no_narrower_interval_than_they_must() -> None:
    rng = np.random.default_rng(5)
    strata, widths = [str(i) for i in range(40) for _ in range(2)], []
    for _ in range(10):
        low, high = mean_interval(rng.normal(0.0, 1.0, 80), np.ones(80), strata)
        widths.append(high - low)
    assert np.mean(widths) == pytest.approx(2 * 1.96 / np.sqrt(80), rel=0.1)


def test_a_clear_ranking_is_reliable_and_noise_is_not() -> None:
    rng = np.random.default_rng(2)
    clear = np.clip(rng.normal([[0.9], [0.6], [0.3]], 0.1, (3, 200)), 0, 1)
    told = reliability(clear, np.ones(200))
    assert told.tau == told.split_half == told.same_best == 1.0
    noise = rng.random((4, 200))
    told = reliability(noise, np.ones(200))
    assert abs(told.split_half) < 0.4
    assert told.same_best < 0.95


def test_draws_that_tell_nobody_apart_make_a_ranking_less_reliable() -> None:
    """One case of forty tells the two apart: a half of the cases without it ranks nobody."""
    scores = np.ones((2, 40))
    scores[1, 7] = 0.0
    told = reliability(scores, np.ones(40))
    assert told.split_half == 0.0  # never are both halves of one mind
    assert told.tau == pytest.approx(1.0 - (39 / 40) ** 40, abs=0.07)
    assert math.isnan(reliability(np.ones((2, 40)), np.ones(40)).tau)


def test_a_single_case_ranks_but_has_no_halves() -> None:
    told = reliability(np.array([[0.9], [0.6]]), np.ones(1))
    assert told.tau == told.same_best == 1.0
    assert math.isnan(told.split_half)


def test_few_cases_rank_as_all_do() -> None:
    rng = np.random.default_rng(4)
    scores = np.clip(rng.normal([[0.8], [0.7], [0.5]], 0.3, (3, 400)), 0, 1)
    weights = rng.uniform(1, 5, 400)
    few = fewest_that_rank_alike(scores, weights)
    assert len(few) < 40
    some = (scores[:, few] * weights[few]).sum(axis=1)
    assert some.argsort().tolist() == (scores * weights).sum(axis=1).argsort().tolist()
