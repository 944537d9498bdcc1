"""Runs side by side: which cases one planner wins, whether that is chance, and how planners rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from lake import Lake
from lake.literals import literal
from schemas.case import Case, Result
from schemas.errors import BadQuery, MissingData
from simulation.suites.reporting import (
    RunReport,
    asked_of,
    called,
    reported,
    results_of,
    run_of,
    tested_alike,
)
from simulation.suites.statistics import (
    fewest_that_rank_alike,
    mcnemar,
    mean_interval,
    rate,
    reliability,
)

MARGIN = 0.05
"""Of the score: a case in which it changes by more is told as better or worse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """The run that stands for a planner.

    Attributes:
        run_id: Of ``runs``.
        undriven: Cases that it was asked to drive and did not, since it was stopped.
    """

    run_id: int
    undriven: int = 0


def compare(lake: Lake, first: str | int, second: str | int) -> dict[str, Any]:
    """Two runs of one suite side by side: what got better or worse, and whether that is chance.

    Cases that were built anew between them, with other agents or criteria, are other tests and left out
    (``changed``), as are those that only one of them drove (``left_out``). Scores, their mean change and
    pass rates are of the cases that are left, each weighing as many scenes as it stands for; what is won
    and lost, and its chance, counts cases.

    Raises:
        UnknownName: There is no such run.
        BadQuery: The runs have no case in common.
    """
    (a, before), (b, after) = (reported(lake, name) for name in (first, second))
    was, now = ({r.case.case_id: r for r in results} for results in (before, after))
    both = sorted(set(was) & set(now))
    common = [i for i in both if tested_alike(was[i].case, now[i].case)]
    if not common:
        raise BadQuery(
            f"Runs {a.run_id} and {b.run_id} have no case in common"
            + (": the suite was built anew between them, with other cases." if both else "."),
            hint="Compare runs of the same suite.",
        )
    pairs = [(was[i], now[i]) for i in common]
    won = [i for i, (x, y) in zip(common, pairs, strict=True) if y.passed and not x.passed]
    lost = [i for i, (x, y) in zip(common, pairs, strict=True) if x.passed and not y.passed]
    weights = np.array([x.case.weight for x, _ in pairs])
    strata = [x.case.stratum for x, _ in pairs]
    change = np.array([y.score - x.score for x, y in pairs])
    low, high = mean_interval(change, weights, strata)
    names = called(lake, {a.run_id: a.planner, b.run_id: b.planner})

    def told(one: RunReport, results: Sequence[Result]) -> dict[str, Any]:
        passed = np.array([float(result.passed) for result in results])
        scores = np.array([result.score for result in results])
        return {
            "run_id": str(one.run_id), "planner": names[one.run_id],
            "score": rate(scores, weights, strata).value, "passed": int(passed.sum()),
            "pass_rate": rate(passed, weights, strata).answer(),
        }  # fmt: skip

    return {
        "first": told(a, [x for x, _ in pairs]), "second": told(b, [y for _, y in pairs]),
        "cases": len(common), "changed": len(both) - len(common),
        "left_out": len(set(was) ^ set(now)),
        "both_passed": sum(x.passed and y.passed for x, y in pairs),
        "won": [str(i) for i in won], "lost": [str(i) for i in lost],
        "p_value": mcnemar(len(won), len(lost)),
        "mean_change": float(np.average(change, weights=weights)), "mean_change_low": low, "mean_change_high": high,
        "better": [str(i) for i, d in zip(common, change, strict=True) if d > MARGIN],
        "worse": [str(i) for i, d in zip(common, change, strict=True) if d < -MARGIN],
        "by_criterion": _by(pairs, _criteria_of),
        "by_tag": _by(pairs, lambda x, y: dict.fromkeys(x.case.tags, (x.passed, y.passed))),
        "by_stratum": _by(pairs, lambda x, y: {x.case.stratum or "all": (x.passed, y.passed)}),
    }  # fmt: skip


def _criteria_of(x: Result, y: Result) -> dict[str, tuple[bool, bool]]:
    """Criteria that both runs could judge."""
    made = {}
    for name, measured in x.criteria.items():
        other = y.criteria.get(name)
        if other is not None and measured.passed is not None and other.passed is not None:
            made[name] = (measured.passed, other.passed)
    return made


def _by(
    pairs: Sequence[tuple[Result, Result]],
    parts: Callable[[Result, Result], Mapping[str, tuple[bool, bool]]],
) -> dict[str, dict[str, Any]]:
    """Of each part of the cases: how many passed before and after, and the chance of such a change."""
    told: dict[str, list[tuple[bool, bool]]] = {}
    for x, y in pairs:
        for name, verdicts in parts(x, y).items():
            told.setdefault(name, []).append(verdicts)
    return {
        name: {
            "cases": len(verdicts), "first": sum(x for x, _ in verdicts),
            "second": sum(y for _, y in verdicts),
            "p_value": mcnemar(sum(y and not x for x, y in verdicts),
                               sum(x and not y for x, y in verdicts)),
        }
        for name, verdicts in sorted(told.items())
    }  # fmt: skip


def rank(lake: Lake, suite: str) -> dict[str, Any]:
    """The planners that drove a suite, ranked, and how far the ranking can be trusted.

    The last run of each planner counts, one that was stopped only if none drove all cases, and only cases
    that all of them drove: ``left_out`` tells of which planners how many are not driven.

    Raises:
        UnknownName: There is no such suite.
        MissingData: Fewer than two planners drove it.
    """
    runs = latest_runs(lake, suite)
    planners, scores, passed, weights, strata, ids = _matrix(lake, runs)
    ranking = [
        {
            "planner": planners[k], "run_id": str(runs[planners[k]].run_id),
            "score": rate(scores[k], weights, strata).answer(),
            "pass_rate": rate(passed[k].astype(float), weights, strata).answer(),
        }
        for k in np.argsort(-(scores * weights).sum(axis=1), kind="stable").tolist()
    ]  # fmt: skip
    failed = ~passed
    transfer = {
        one: {other: _share(failed[k] & failed[m], failed[k]) for m, other in enumerate(planners)}
        for k, one in enumerate(planners)
    }
    few = fewest_that_rank_alike(scores, weights)
    return {
        "suite": suite, "cases": len(weights), "ranking": ranking,
        "reliability": reliability(scores, weights).answer(), "transfer": transfer,
        "fewest": [str(ids[k]) for k in few],
        "left_out": {name: run.undriven for name, run in runs.items() if run.undriven},
    }  # fmt: skip


def latest_runs(lake: Lake, suite: str) -> dict[str, LastRun]:
    """The last run of each planner over a suite, as :func:`last_runs` has it.

    Raises:
        UnknownName: There is no such suite.
        MissingData: Fewer than two planners drove it.
    """
    run_of(lake, suite)  # tells whether there is any
    runs = last_runs(lake, suite)
    if len(runs) < 2:
        raise MissingData(
            f"Only one planner drove suite `{suite}`.",
            hint=f"scenelake suite run {suite} --planner pdm, and others.",
        )
    return runs


def last_runs(lake: Lake, suite: str) -> dict[str, LastRun]:
    """The last run of each planner over a suite, in the order of their beginning; perhaps none.

    A run that was stopped gives way to the last that drove all of the same cases, if there is one.
    Planners that share a name, but were asked for otherwise, are several.
    """
    rows = lake.sql(
        "select planner, run_id, list(distinct case_id) as driven from results"
        f" left join runs using (run_id) where suite = {literal(suite)}"
        " group by planner, run_id order by max(started_unix_ns) nulls first"
    ).to_pylist()
    names = called(lake, {int(row["run_id"]): row["planner"] for row in rows})
    driven = {int(row["run_id"]): set(map(int, row["driven"])) for row in rows}
    runs: dict[str, list[int]] = {}
    for run_id, name in names.items():
        runs.setdefault(name, []).append(run_id)
    return {name: _last(lake, suite, ids, driven) for name, ids in runs.items()}


def _last(lake: Lake, suite: str, ids: Sequence[int], driven: Mapping[int, Set[int]]) -> LastRun:
    """The run of a planner that counts, of those that it has, the last of them last."""

    def asked(run_id: int) -> dict[int, Case]:
        return {case.case_id: case for case in asked_of(lake, run_id, suite)}

    *earlier, last = ids
    wanted = asked(last)
    left = wanted.keys() - driven[last]
    if not left:
        return LastRun(run_id=last)
    for run_id in reversed(earlier):
        if wanted.keys() <= driven[run_id]:
            then = asked(run_id)
            if then.keys() == wanted.keys() and all(
                tested_alike(then[i], case) for i, case in wanted.items()
            ):
                return LastRun(run_id=run_id)
    return LastRun(run_id=last, undriven=len(left))


def _matrix(lake: Lake, runs: Mapping[str, LastRun]) -> tuple[Any, ...]:
    found = {
        name: {r.case.case_id: r for r in results_of(lake, run.run_id)}
        for name, run in runs.items()
    }
    planners = list(found)
    first = found[planners[0]]
    common = sorted(
        i
        for i in set.intersection(*(set(results) for results in found.values()))
        if all(tested_alike(first[i].case, results[i].case) for results in found.values())
    )
    if not common:
        raise MissingData("No case was driven by all of these planners.", hint="Run them anew.")
    scores = np.array([[found[p][i].score for i in common] for p in planners])
    passed = np.array([[found[p][i].passed for i in common] for p in planners])
    cases = [found[planners[0]][i].case for i in common]
    weights = np.array([case.weight for case in cases])
    return planners, scores, passed, weights, [case.stratum for case in cases], common


def _share(part: Any, whole: Any) -> float | None:
    """Of the cases that one planner fails, the share that another fails, too."""
    return float(part.sum() / whole.sum()) if whole.any() else None
