"""Rates with intervals, and whether two runs or two rankings differ by more than chance.

A suite is a sample. Where it was drawn by strata, each case stands for as many scenes as its weight
says, and the rate over all of them is the weighted mean (Horvitz and Thompson 1952). Intervals of rates are
Wilson's (1927) at the number of independent passes and fails that would be as certain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array

Z95 = 1.959963984540054
"""Standard deviations that 95 % of a normal distribution lie within, to either side."""

DRAWS = 2000
"""Bootstrap samples; drawn with a fixed seed, so that a report read again is the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A mean in [0, 1] with its 95 % interval.

    Attributes:
        value: Weighted mean.
        low: Lower end of the interval.
        high: Upper end.
        n: How many cases.
    """

    value: float
    low: float
    high: float
    n: int

    def answer(self) -> dict[str, float]:
        """As JSON."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def rate(
    values: Float[Array, " cases"], weights: Float[Array, " cases"], strata: Sequence[str]
) -> Rate:
    """The weighted mean of values in [0, 1], over a sample drawn by strata.

    Args:
        values: 0 or 1, or anything between.
        weights: How many scenes each case stands for.
        strata: What each was drawn from.
    """
    n = len(values)
    if n == 0:
        return Rate(value=math.nan, low=0.0, high=1.0, n=0)
    share = weights / weights.sum()
    mean = min(float((share * values).sum()), 1.0)  # shares are rounded
    variance = 0.0
    for mine in _told_apart(strata):
        held = float(share[mine].sum())
        within = share[mine] / held
        pooled = 1.0 / float((within**2).sum())  # cases that are as certain, if they weighed alike
        average = float(within @ values[mine])
        spread = float(within @ (values[mine] - average) ** 2)
        variance += held**2 * _spread(average, spread, pooled, held) / pooled
    low, high = wilson(mean, _spread(mean, mean * (1.0 - mean), n, 1.0) / variance)
    return Rate(value=mean, low=low, high=high, n=n)


def _told_apart(strata: Sequence[str]) -> list[Int[Array, " cases"]]:
    """The cases of each stratum; those that are alone in theirs together, as if of one.

    From a single case nobody can tell how much those of its stratum differ; collapsed, what differs
    between strata counts, too, so that the interval errs to the wide side (Cochran 1977, 5A.12).
    """
    labels, sizes = np.unique(
        np.asarray(strata, dtype=str), return_inverse=True, return_counts=True
    )[1:]
    alone = sizes[labels] == 1
    groups = [np.flatnonzero(labels == label) for label in np.flatnonzero(sizes > 1)]
    if alone.sum() == 1 and groups:
        smallest = int(np.argmin([len(group) for group in groups]))
        groups[smallest] = np.append(groups[smallest], np.flatnonzero(alone))
    elif alone.any():
        groups.append(np.flatnonzero(alone))
    return groups


def _spread(mean: float, variance: float, n: float, added: float) -> float:
    """The variance of cases with a pass and a fail added, lest that of a few be taken for nothing.

    After Agresti and Coull (1998). Strata share the two by what they hold: then a sample drawn by
    strata that all fare alike is as certain as a plain one, also where nearly all passed. What was
    drawn counts n / (n − 1), for a few cases lie nearer to their own mean than to that of all.

    Args:
        mean: Of the cases.
        variance: Round it.
        n: How many they are.
        added: How many passes, and as many fails.
    """
    if n > 1.0:
        variance *= n / (n - 1.0)
    total = n + 2.0 * added
    between = n * 2.0 * added / total * (mean - 0.5) ** 2
    return (n * variance + 2.0 * added * 0.25 + between) / total


def wilson(share: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a share of n independent cases (Wilson 1927)."""
    square = Z95**2
    centre = (share + square / (2.0 * n)) / (1.0 + square / n)
    half = Z95 / (1.0 + square / n) * math.sqrt(share * (1.0 - share) / n + square / (4.0 * n * n))
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def mcnemar(won: int, lost: int) -> float:
    """Chance that so many of the cases that changed went one way, or more, if neither was better.

    The exact two-sided binomial test (McNemar 1947): cases that both passed or failed say nothing, and
    each counts once, however many scenes it stands for.
    """
    n = won + lost
    if n == 0:
        return 1.0
    ways = tail = 1
    for k in range(min(won, lost)):
        ways = ways * (n - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / 2**n)  # of whole numbers, for no float holds 2**1024


def mean_interval(
    values: Float[Array, " cases"],
    weights: Float[Array, " cases"] | None = None,
    strata: Sequence[str] | None = None,
    *,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95 % percentile-bootstrap interval of a weighted mean (Efron 1979).

    What was drawn by strata is drawn again within them, one less of each, lest a few cases look more
    alike than they are (Rao and Wu 1988).

    Args:
        values: Of the cases.
        weights: How many scenes each stands for; all the same if None.
        strata: What each was drawn from; all from one if None.
        seed: Of the draws.
    """
    n = len(values)
    if n < 2:
        return -math.inf, math.inf
    weights = np.ones(n) if weights is None else weights
    groups = _told_apart([""] * n if strata is None else strata)
    order = np.concatenate(groups)
    sizes = np.array([len(group) for group in groups])
    values, weights = values[order], weights[order]
    first = np.cumsum(sizes) - sizes
    held = np.add.reduceat(weights, first) / weights.sum()
    drawn = np.cumsum(sizes - 1) - (sizes - 1)  # where the draws of each group begin
    rng = np.random.default_rng(seed)
    begin, many = np.repeat(first, sizes - 1), np.repeat(sizes, sizes - 1)
    means = []
    for _ in range(DRAWS):
        again = begin + rng.integers(many)
        weight = weights[again]
        sums = np.add.reduceat(weight * values[again], drawn)
        means.append(float(held @ (sums / np.add.reduceat(weight, drawn))))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def grouped_interval(
    values: Float[Array, " cases"], groups: Sequence[str], *, seed: int = 0
) -> tuple[float, float]:
    """That of a plain mean where cases of one group are not independent: whole groups are drawn again.

    Args:
        values: Of the cases.
        groups: To which each belongs.
        seed: Of the draws.
    """
    labels = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    if len(labels) == 0 or labels.max() == 0:
        return -math.inf, math.inf
    sums, sizes = np.bincount(labels, weights=values), np.bincount(labels)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(sums), size=(DRAWS, len(sums)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def kendall(a: Sequence[float] | Array, b: Sequence[float] | Array) -> float:
    """Kendall's τ-b of two rankings of the same things; NaN where one of them tells none apart."""
    a_, b_ = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    i, j = np.triu_indices(len(a_), k=1)
    da, db = np.sign(a_[i] - a_[j]), np.sign(b_[i] - b_[j])
    untied = math.sqrt(float((da != 0).sum()) * float((db != 0).sum()))
    return float((da * db).sum()) / untied if untied > 0.0 else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How far a ranking of planners can be trusted.

    Attributes:
        tau: Mean Kendall τ-b between the ranking by all cases and that by as many drawn again.
        low: 2.5 % quantile of it.
        high: 97.5 % quantile.
        split_half: Mean τ-b between rankings by two halves of the cases; NaN of a single case.
        same_best: Share of draws in which the best planner is the best again.
    """

    tau: float
    low: float
    high: float
    split_half: float
    same_best: float

    def answer(self) -> dict[str, float]:
        """As JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def reliability(
    scores: Float[Array, "planners cases"], weights: Float[Array, " cases"], *, seed: int = 0
) -> Reliability:
    """How stable the ranking of planners by their mean is, by bootstrap and by halves of the cases."""
    rng = np.random.default_rng(seed)
    cases = scores.shape[1]

    def means(which: Array) -> Array:
        return np.asarray((scores[:, which] * weights[which]).sum(axis=1) / weights[which].sum())

    whole = means(np.arange(cases))
    taus, halves, best = [], [], 0
    for _ in range(DRAWS // 4):
        again = means(rng.integers(cases, size=cases))
        taus.append(kendall(whole, again))
        best += int(again.argmax() == whole.argmax())
        order = rng.permutation(cases)
        if cases > 1:
            halves.append(kendall(means(order[: cases // 2]), means(order[cases // 2 :])))
    halves = halves or [math.nan]  # a single case has no halves
    if (whole == whole[0]).all():  # nobody is told apart: there is no ranking to speak of
        taus, halves = [math.nan], [math.nan]
    # A draw that tells none apart agrees with no ranking; left out, it would flatter the rest.
    taus, halves = (
        [0.0 if math.isnan(t) and len(some) > 1 else t for t in some] for some in (taus, halves)
    )
    low, high = np.quantile(taus, [0.025, 0.975])
    return Reliability(
        tau=float(np.mean(taus)), low=float(low), high=float(high),
        split_half=float(np.mean(halves)), same_best=best / (DRAWS // 4),
    )  # fmt: skip


def fewest_that_rank_alike(
    scores: Float[Array, "planners cases"], weights: Float[Array, " cases"], *, least: int = 1
) -> list[int]:
    """A small set of cases that ranks the planners as all of them do, in the same order.

    Greedy: case after case, the one that brings the mean scores nearest to those of all; it ends
    once the order is the same and no two planners that differ by all are tied. Places of cases.
    """
    whole = (scores * weights).sum(axis=1) / weights.sum()
    chosen: list[int] = []
    left = np.ones(scores.shape[1], dtype=bool)
    total, mass = np.zeros(len(scores)), 0.0
    while left.any():
        means = (total[:, None] + scores * weights) / (mass + weights)
        error = ((means - whole[:, None]) ** 2).sum(axis=0)
        pick = int(np.where(left, error, np.inf).argmin())
        chosen.append(pick)
        left[pick] = False
        total, mass = total + scores[:, pick] * weights[pick], mass + weights[pick]
        if len(chosen) >= least and _ranks_alike(total / mass, whole):
            break
    return sorted(chosen)


def _ranks_alike(a: Array, b: Array) -> Bool[Array, ""] | bool:
    i, j = np.triu_indices(len(a), k=1)
    return bool((np.sign(np.round(a[i] - a[j], 12)) == np.sign(np.round(b[i] - b[j], 12))).all())
