"""Is a suite one that a team can trust? Each case proven to be solvable, not trivial, and to repeat.

=================  ============================================================================
check              a case fails it if
=================  ============================================================================
``solvable``       no reference planner meets all its criteria, nor the recorded drive
``non_trivial``    constant velocity meets all of them (NAVSIM 2 drops such scenes, too)
``human``          the recorded drive itself breaks one
``deterministic``  driven again, in another batch and order, anything differs in any bit
``unique``         an earlier case is the same test: the same states of all to the end, lights, map,
                   goal, agents and criteria
=================  ============================================================================

The proof is kept with the case: who solves it with which score, what constant velocity breaks,
whether the recorded drive passes. :func:`trim` makes a smaller suite of the cases that are sound, or
of the fewest that rank the planners as all do.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lake import Lake
from lake.ids import stable_id
from lake.literals import literal
from schemas.case import DONE, DRAWN_AS, Case, Result
from schemas.errors import MissingData
from schemas.scene import Scene
from simulation.fingerprints import of_test
from simulation.planners import planner
from simulation.running import Progress, paired, run_cases
from simulation.suites.building import check_name
from simulation.suites.comparing import latest_runs, rank
from simulation.suites.driving import cases_of
from simulation.suites.reporting import digest_of, results_of, tested_alike

CHECKS = ("solvable", "non_trivial", "human", "deterministic", "unique")
REFERENCES = ("pdm", "oracle")
"""Who may solve a case; the next is asked only for what the one before could not."""

HUMAN, TRIVIAL, REPEATED = "log_replay", "constant_velocity", "idm"
BATCH, OTHER_BATCH = 256, 37
"""Cases at once when a suite is driven, and when it is driven again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationReport:
    """What is wrong with the cases of a suite.

    Attributes:
        suite: Which suite.
        cases: How many it has.
        valid: How many are sound.
        failed: Check to how many cases fail it.
        problems: Case id to the checks that it fails.
        solved_by: Planner to how many cases it was the first to solve; ``log_replay`` for those that
            only the recorded drive solves.
        flake_rate: Share of cases that gave something else when driven again.
    """

    suite: str
    cases: int
    valid: int
    failed: Mapping[str, int]
    problems: Mapping[int, Sequence[str]]
    solved_by: Mapping[str, int]
    flake_rate: float

    def answer(self) -> dict[str, Any]:
        """As the command line prints it."""
        return {
            "suite": self.suite, "cases": self.cases, "valid": self.valid,
            "failed": dict(self.failed), "solved_by": dict(self.solved_by),
            "flake_rate": self.flake_rate,
            "problems": {str(i): list(checks) for i, checks in self.problems.items()},
        }  # fmt: skip


def validate(
    lake: Lake,
    name: str,
    *,
    references: Sequence[str] = REFERENCES,
    progress: Progress | None = None,
) -> ValidationReport:
    """Prove every case of a suite, and keep the proofs with the cases.

    Args:
        lake: Where the suite is.
        name: Of the suite.
        references: Planners that may solve its cases, in the order in which they are asked.
        progress: Called with (cases driven, of), over all planners.

    Raises:
        UnknownName: There is no such suite or planner.
    """
    cases = cases_of(lake, name)
    driven = 0

    def drive(who: str, which: Sequence[Case], batch: int = BATCH) -> dict[int, Result]:
        nonlocal driven
        made = {}
        for ran in run_cases(paired(lake, which), planner(who), batch=batch):
            made[ran.result.case.case_id] = ran.result
            driven += 1
            if progress is not None and driven % 16 == 0:
                progress(driven, max(driven, 5 * len(cases)))
        return made

    human, trivial = drive(HUMAN, cases), drive(TRIVIAL, cases)
    once, again = drive(REPEATED, cases), drive(REPEATED, cases[::-1], OTHER_BATCH)
    solved: dict[int, Result] = {}
    for who in references:
        left = [case for case in cases if case.case_id not in solved]
        solved |= {i: result for i, result in drive(who, left).items() if result.passed}
    solved = {**{i: result for i, result in human.items() if result.passed}, **solved}
    twins = _twins(paired(lake, cases))
    problems: dict[int, list[str]] = {}
    proven = []
    for case in cases:
        i = case.case_id
        solution = solved.get(i)
        passes = {
            "solvable": solution is not None,
            "non_trivial": not trivial[i].passed,
            "human": human[i].passed,
            "deterministic": digest_of([once[i]]) == digest_of([again[i]]),
            "unique": i not in twins,
        }
        wrong = [check for check in CHECKS if not passes[check]]
        if wrong:
            problems[i] = wrong
        proof = {
            "valid": not wrong, "failed": wrong,
            "solved_by": None if solution is None else solution.planner,
            "margin": None if solution is None else round(solution.score, 4),
            "constant_velocity_breaks": _broken(trivial[i]),
            "human_breaks": _broken(human[i]),
        }  # fmt: skip
        proven.append(dataclasses.replace(case, provenance={**case.provenance, "proof": proof}))
    flaky = sum("deterministic" in wrong for wrong in problems.values())
    report = ValidationReport(
        suite=name,
        cases=len(cases),
        valid=len(cases) - len(problems),
        failed={c: sum(c in wrong for wrong in problems.values()) for c in CHECKS},
        problems=problems,
        solved_by=dict(Counter(result.planner for result in solved.values())),
        flake_rate=flaky / len(cases),
    )
    with lake.run("suite validate", params={"suite": name}) as made_by:
        rows = [case.row(run_id=made_by.id) for case in proven]
        lake.replace("cases", rows, where=f"suite = {literal(name)}")
        made_by.summary.update(report.answer())
    return report


def trim(lake: Lake, name: str, to: str, *, keep: Literal["valid", "ranking"] = "valid") -> int:
    """A smaller suite of some cases of another; how many they are.

    Each is the test that it was: others draw what they drew before, and so the proofs hold.

    Args:
        lake: Where the suite is.
        name: Of the suite.
        to: Name of the new one.
        keep: ``valid``: the cases that :func:`validate` found sound; ``ranking``: the fewest that
            rank the planners that drove the suite as all cases do. These keep their weights, by
            which they rank alike, but they are no sample of anything: the order of the planners is
            that of the whole suite, their mean scores need not be.

    Raises:
        UnknownName: There is no such suite.
        BadSetting: There is a suite of the new name already.
        MissingData: The suite was not validated, or no two planners drove it as it is now, or
            nothing is left.
    """
    cases = cases_of(lake, name)
    check_name(lake, to)
    if keep == "valid":
        if not all("proof" in case.provenance for case in cases):
            raise MissingData(
                f"Suite `{name}` has not been validated.", hint=f"scenelake suite validate {name}"
            )
        kept = [case for case in cases if case.provenance["proof"]["valid"]]
    else:
        kept = _fewest(lake, name, cases)
    if not kept:
        raise MissingData(f"No case of suite `{name}` is left.", hint="Build it of other scenes.")
    selection = {"trimmed": name, "keep": keep}
    with lake.run("suite trim", params={"suite": to, **selection}) as made_by:
        rows = [
            dataclasses.replace(
                case, suite=to, case_id=stable_id(to, case.scene_id),
                provenance={
                    **case.provenance,
                    "from_case": str(case.case_id), DRAWN_AS: str(case.drawn_as),
                },
            ).row(run_id=made_by.id)
            for case in kept
        ]  # fmt: skip
        lake.append("cases", rows)
        lake.append("suites", [{
            "suite": to, "selection": json.dumps(selection), "n_cases": len(rows),
            "tables": json.dumps(lake.versions()), "seed": 0, "run_id": made_by.id,
        }])  # fmt: skip
        made_by.summary.update(cases=len(rows))
    return len(kept)


def _fewest(lake: Lake, name: str, cases: Sequence[Case]) -> list[Case]:
    """Those that rank the planners as all do, by weights that they still have."""
    few = set(rank(lake, name)["fewest"])
    first = next(iter(latest_runs(lake, name).values()))
    driven = {result.case.case_id: result.case for result in results_of(lake, first.run_id)}
    for case in cases:
        was = driven.get(case.case_id, case)
        if was.weight != case.weight or not tested_alike(was, case):
            raise MissingData(
                f"Suite `{name}` was built anew since planners drove it.",
                hint=f"Run them on what it is now: scenelake suite run {name} --planner idm",
            )
    return [case for case in cases if str(case.case_id) in few]


def _broken(result: Result) -> list[str]:
    return result.failed if result.status == DONE else [result.status]


def _twins(cases: Iterable[tuple[Case, Scene | None]]) -> set[int]:
    """Cases that are the same test as an earlier one."""
    seen: set[str] = set()
    twins = set()
    for case, scene in cases:
        if scene is None or case.ego_track_id not in scene.tracks.track_id:
            continue
        test = of_test(case, scene)
        if test in seen:
            twins.add(case.case_id)
        seen.add(test)
    return twins
