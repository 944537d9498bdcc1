"""How runs of a suite went: per case, per criterion, per tag, and as a rate with its interval."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from lake import Lake
from lake.literals import literal
from schemas.case import DONE, NOT_DRIVABLE, Case, Measured, Result
from schemas.errors import LakeError, MissingData, UnknownName
from simulation.criteria import CRITERIA
from simulation.demands import DEMANDS
from simulation.suites.statistics import Rate, rate

_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
"""What two tellings of one reason differ in."""

NO_RATE = rate(np.zeros(0), np.zeros(0), [])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """How a planner did on a suite.

    Attributes:
        run_id: Of ``runs``.
        suite: Which suite.
        planner: Who drove.
        cases: Driven, the errored ones included.
        passed: Every criterion held that could be known.
        failed: Some criterion did not hold.
        errored: The planner failed, or nobody could have driven the case.
        not_drivable: Of the errored ones, those that no planner is to blame for.
        score: Mean over cases by their weights, nuPlan's; an errored case counts 0.
        wall_s: Of all that drove under its id, but for what was killed before it could tell [s].
        agent_steps: Agents that were there, summed over all simulated steps, likewise.
        by_criterion: Name to how many passed, failed, and could not be known.
        by_tag: Tag to how many passed, of how many.
        worst: Cases that did not pass, worst score first.
        errors: Reason to how many cases it stopped.
        pass_rate: Share of the scenes that the suite stands for in which it would pass.
        score_rate: Likewise the mean score, with its interval.
        undriven: Cases of the suite, as it was when the run began, that were not driven, because the run
            was stopped.
        scores: Mean over cases by their weights of each published score; an errored case counts 0.
        digest: SHA-256 of all that the run found; equal runs have equal ones.
    """

    run_id: int
    suite: str
    planner: str
    cases: int
    passed: int
    failed: int
    errored: int
    score: float
    wall_s: float
    agent_steps: int
    by_criterion: Mapping[str, Mapping[str, int]]
    by_tag: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    worst: Sequence[Mapping[str, Any]] = ()
    errors: Mapping[str, int] = field(default_factory=dict)
    pass_rate: Rate = NO_RATE
    score_rate: Rate = NO_RATE
    not_drivable: int = 0
    undriven: int = 0
    scores: Mapping[str, float] = field(default_factory=dict)
    digest: str = ""

    def reaches(self, pass_rate: float) -> bool:
        """Whether all that the run was asked to drive was driven and at least this share passed; of 0 always."""
        # The rate is a sum of rounded weights: of cases that all passed it may be a hair under 1.
        enough = self.undriven == 0 and self.pass_rate.value >= pass_rate - 1e-9
        return pass_rate <= 0.0 or enough

    def answer(self) -> dict[str, Any]:
        """As the command line prints it."""
        return {
            "run_id": str(self.run_id),
            "suite": self.suite,
            "planner": self.planner,
            "cases": self.cases,
            "passed": self.passed,
            "failed": self.failed,
            "errored": self.errored,
            "not_drivable": self.not_drivable,
            "score": self.score,
            "wall_s": self.wall_s,
            "agent_steps": self.agent_steps,
            "by_criterion": {name: dict(counts) for name, counts in self.by_criterion.items()},
            "by_tag": {tag: {"passed": p, "cases": n} for tag, (p, n) in self.by_tag.items()},
            "worst": [dict(case) for case in self.worst],
            "errors": dict(self.errors),
            "pass_rate": self.pass_rate.answer(),
            "score_rate": self.score_rate.answer(),
            "undriven": self.undriven,
            "scores": dict(self.scores),
            "digest": self.digest,
        }


def report(lake: Lake, name: str | int) -> RunReport:
    """The report of a run by its id, or of the last run of a suite by its name.

    Raises:
        UnknownName: There is no such run or suite.
        MissingData: The suite was never run.
    """
    return reported(lake, name)[0]


def reported(lake: Lake, name: str | int) -> tuple[RunReport, list[Result]]:
    """The report of :func:`report`, and what it was made from.

    Raises:
        UnknownName: There is no such run or suite.
        MissingData: The suite was never run.
    """
    run_id = run_of(lake, name)
    results = results_of(lake, run_id)
    row = lake.read("runs", ["summary"], f"run_id = {run_id}").to_pylist()
    summary = json.loads(row[0]["summary"]) if row else {}
    return _report(results, lake, run_id=run_id, summary=summary), results


def run_of(lake: Lake, name: str | int) -> int:
    """The run of an id, or the last of a suite.

    Raises:
        UnknownName: There is no such run or suite.
        MissingData: The suite was never run.
    """
    text = str(name)
    if text.isdecimal() and int(text) < 2**63:
        rows = lake.read("results", ["run_id"], f"run_id = {text}")
        if rows.num_rows:
            return int(text)
    runs = lake.read("results", ["run_id", "suite"], f"suite = {literal(text)}")
    known = lake.read("suites", ["suite"])["suite"].to_pylist()
    if runs.num_rows == 0 and text in known:
        raise MissingData(
            f"Suite `{text}` was never run.", hint=f"scenelake suite run {text} --planner idm"
        )
    if runs.num_rows == 0:
        raise UnknownName("suite or run", text, known)
    ids = sorted({int(i) for i in runs["run_id"].to_pylist()})
    listed = ", ".join(map(str, ids))
    begun = lake.read("runs", ["run_id", "started_unix_ns"], f"run_id in ({listed})").to_pylist()
    if not begun:  # killed before it could tell
        return ids[-1]
    return int(max(begun, key=lambda row: row["started_unix_ns"])["run_id"])


def results_of(lake: Lake, run_id: int) -> list[Result]:
    """What a run found, by case; each with its case as the run drove it, as far as the lake still knows."""
    rows = lake.read("results", None, f"run_id = {run_id}").to_pylist()
    asked = asked_of(lake, run_id, rows[0]["suite"]) if rows else []
    cases = {case.case_id: case for case in asked}
    # Two who took up one run at once drove the same cases, with the same results: each counts once.
    found = {int(row["case_id"]): row for row in reversed(rows)}
    return [_result(found[i], cases.get(i)) for i in sorted(found)]


def asked_of(lake: Lake, run_id: int, suite: str) -> list[Case]:
    """The cases that a run was asked to drive: those of its suite when it began.

    Those of now, where the lake no longer knows.
    """
    where = f"suite = {literal(suite)}"
    kept = as_driven(lake, run_id, where)
    rows = lake.read("cases", None, where) if kept is None else kept
    return [Case.from_row(row) for row in rows.to_pylist()]


def as_driven(lake: Lake, run_id: int, where: str) -> pa.Table | None:
    """Rows of ``cases`` as they were when a run began; None where that is no longer known.

    A suite that is built anew has cases of the same ids that may be other tests.
    """
    told = lake.read("runs", ["tables"], f"run_id = {run_id}")["tables"].to_pylist()
    versions = json.loads(told[0]) if told else {}
    if "cases" not in versions:
        return None
    try:
        return lake.at_versions({"cases": versions["cases"]}).read("cases", None, where)
    except LakeError:  # compacted away
        return None


def called(lake: Lake, runs: Mapping[int, str]) -> dict[int, str]:
    """What to call the planners of runs that are told side by side.

    By their names; where several share one, as each was asked for (``module:Class``, ``cmd:PROGRAM``).

    Args:
        lake: Where the runs are.
        runs: Id of each to the name of its planner.
    """
    listed = ", ".join(map(str, runs))
    rows = lake.read("runs", ["run_id", "params"], f"run_id in ({listed})") if runs else None
    params = {
        int(row["run_id"]): json.loads(row["params"]) for row in (rows.to_pylist() if rows else ())
    }
    asked = {i: str(params.get(i, {}).get("planner", name)) for i, name in runs.items()}
    ways: dict[str, set[str]] = {}
    for i, name in runs.items():
        ways.setdefault(name, set()).add(asked[i])
    return {i: name if len(ways[name]) == 1 else asked[i] for i, name in runs.items()}


def built_since(lake: Lake, suite: str, run_id: int) -> bool:
    """Whether a suite, as it is now, was built after a run began, or is there no more."""
    built = lake.read("suites", ["run_id"], f"suite = {literal(suite)}")["run_id"].to_pylist()
    if not built:
        return True
    listed = f"run_id in ({built[0]}, {run_id})"
    rows = lake.read("runs", ["run_id", "started_unix_ns"], listed).to_pylist()
    began = {int(row["run_id"]): row["started_unix_ns"] for row in rows}
    return len(began) == 2 and began[int(built[0])] > began[run_id]


def tested_alike(one: Case, other: Case) -> bool:
    """Whether two cases are the same test: tags, weights and proofs apart."""
    return all(
        getattr(one, name) == getattr(other, name)
        for name in (
            "scene_id", "start_step", "horizon_steps", "goal", "agents", "seed", "criteria",
            "ego_track_id",
        )
    )  # fmt: skip


def summed(
    lake: Lake, run_id: int, suite: str, planner: str, summary: Mapping[str, Any]
) -> RunReport:
    """The report of a run that has just ended."""
    return _report(
        results_of(lake, run_id),
        lake,
        run_id=run_id,
        summary=summary,
        suite=suite,
        planner=planner,
    )


def undriven_of(lake: Lake, report: RunReport, results: Sequence[Result]) -> list[Case]:
    """The cases that a run was asked to drive and did not.

    Args:
        lake: Where it is.
        report: The run.
        results: What that was made from.
    """
    driven = {result.case.case_id for result in results}
    asked = asked_of(lake, report.run_id, report.suite)
    return [case for case in asked if case.case_id not in driven]


def commonest(errors: Mapping[str, int]) -> list[tuple[str, int]]:
    """Reasons for which cases errored and how many did, the commonest first.

    Those that differ in numbers alone, such as the id of a case, count as one, told by an example.

    Args:
        errors: As of :class:`RunReport`.
    """
    alike: dict[str, tuple[str, int]] = {}
    for reason, count in errors.items():
        key = _NUMBER.sub("#", reason)
        example, so_far = alike.get(key, (reason, 0))
        alike[key] = (example, so_far + count)
    return sorted(alike.values(), key=lambda told: -told[1])


def digest_of(results: Sequence[Result]) -> str:
    """SHA-256 of what was found of each case, whatever the order."""
    digest = hashlib.sha256()
    for result in sorted(results, key=lambda r: r.case.case_id):
        row = result.row(run_id=0)
        told = [row[n] for n in ("case_id", "passed", "status", "steps")]
        told += [float(np.float32(row["score"]))]
        told += [json.loads(row[n]) for n in ("criteria", "agents", "scores")]
        digest.update(json.dumps(told, sort_keys=True).encode())
        digest.update(row["trajectory"])
    return digest.hexdigest()


def list_suites(lake: Lake) -> list[dict[str, Any]]:
    """Every suite: name, cases, how it was chosen, and its runs."""
    runs: dict[str, Counter[tuple[int, str]]] = {}
    for row in lake.read("results", ["suite", "run_id", "planner"]).to_pylist():
        runs.setdefault(row["suite"], Counter())[int(row["run_id"]), row["planner"]] += 1
    names = {suite: called(lake, dict(counts.keys())) for suite, counts in runs.items()}
    return [
        {
            "suite": row["suite"],
            "cases": row["n_cases"],
            "selection": json.loads(row["selection"]),
            "runs": [
                {"run_id": str(run_id), "planner": names[row["suite"]][run_id], "cases": count}
                for (run_id, _), count in runs.get(row["suite"], Counter()).items()
            ],
        }
        for row in lake.read("suites").sort_by("suite").to_pylist()
    ]


def _result(row: Mapping[str, Any], case: Case | None) -> Result:
    """A row of ``results`` as a record; its case may have gone with a rebuilt suite."""
    measured = {
        name: Measured(
            value=m["value"], bound=m["bound"], passed=m["passed"], detail=m.get("detail", "")
        )
        for name, m in json.loads(row["criteria"]).items()
    }
    if case is None:
        case = Case(
            case_id=int(row["case_id"]),
            suite=row["suite"],
            scene_id=int(row["scene_id"]),
            start_step=0,
            horizon_steps=int(row["steps"]),
            goal=(0.0, 0.0),
            agents="log",
            criteria={name: m.bound for name, m in measured.items()},
        )
    return Result(
        case=case,
        planner=row["planner"],
        passed=bool(row["passed"]),
        score=float(row["score"]),
        status=row["status"],
        criteria=measured,
        steps=int(row["steps"]),
        trajectory=np.frombuffer(row["trajectory"], dtype=np.float32).reshape(-1, 4),
        agents=json.loads(row["agents"] or "{}"),
        scores=json.loads(row["scores"] or "{}"),
    )


def _report(
    results: Sequence[Result],
    lake: Lake,
    *,
    run_id: int,
    summary: Mapping[str, Any],
    suite: str = "",
    planner: str = "",
) -> RunReport:
    suite = results[0].case.suite if results else suite
    planner = results[0].planner if results else planner
    asked = {case.case_id for case in asked_of(lake, run_id, suite)}
    by_criterion: dict[str, Counter[str]] = {}
    by_tag: dict[str, tuple[int, int]] = {}
    for result in results:
        for name, m in result.criteria.items():
            verdict = "unknown" if m.passed is None else "passed" if m.passed else "failed"
            by_criterion.setdefault(name, Counter(passed=0, failed=0, unknown=0))[verdict] += 1
        for tag in result.case.tags:
            passed, count = by_tag.get(tag, (0, 0))
            by_tag[tag] = (passed + result.passed, count + 1)
    errors = Counter(r.status for r in results if r.status != DONE)
    lost = sorted((r for r in results if not r.passed), key=lambda r: (r.score, r.case.case_id))
    # In the table's precision, so that a report read back is the report that was given.
    scored = _rate([float(np.float32(r.score)) for r in results], results)
    return RunReport(
        run_id=run_id,
        suite=suite,
        planner=planner,
        cases=len(results),
        passed=sum(r.passed for r in results),
        failed=sum(not r.passed and r.status == DONE for r in results),
        errored=sum(errors.values()),
        score=scored.value if results else 0.0,
        wall_s=float(summary.get("wall_s", 0.0)),
        agent_steps=int(summary.get("agent_steps", 0)),
        by_criterion={
            name: dict(by_criterion[name])
            for name in dict.fromkeys((*CRITERIA, *DEMANDS, *sorted(by_criterion)))
            if name in by_criterion
        },
        by_tag=dict(sorted(by_tag.items())),
        worst=[
            {
                "case_id": str(r.case.case_id),
                "scene_id": str(r.case.scene_id),
                "score": float(np.float32(r.score)),
                "failed": r.failed,
                "status": r.status,
                "detail": {n: r.criteria[n].detail for n in r.failed if r.criteria[n].detail},
            }
            for r in lost[:20]
        ],
        errors=dict(errors),
        pass_rate=_rate([float(r.passed) for r in results], results),
        score_rate=scored,
        not_drivable=sum(r.status.startswith(NOT_DRIVABLE) for r in results),
        undriven=len(asked - {r.case.case_id for r in results}),
        scores={
            name: _rate([r.scores.get(name, 0.0) for r in results], results).value
            for name in sorted({name for r in results for name in r.scores})
        },
        digest=digest_of(results),
    )


def _rate(values: Sequence[float], results: Sequence[Result]) -> Rate:
    weights = np.array([r.case.weight for r in results])
    return rate(np.array(values), weights, [r.case.stratum for r in results])
