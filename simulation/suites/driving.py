"""A planner driven through a suite: in batches, by one process or several, stopped and taken up again.

Results go into the lake batch by batch, so that whatever stops a run (Ctrl-C, a kill, a full disk)
leaves the cases driven so far; ``resume`` drives the rest under the same run id, if the suite is still the
same test. What a case gives depends neither on the batch, nor on the order, nor on the number of processes:
the digest of a run is the same. Those planners that come along drive in this process if it is one alone; any
other drives in processes of its own, where it can hurt nobody (:mod:`simulation.guard`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from lake import Lake
from lake.literals import literal
from schemas.case import Case
from schemas.errors import BadSetting, UnknownName
from simulation.diffusing import is_drawn, weights_behind
from simulation.guard import LIMIT_S, Guard
from simulation.planners import PLANNERS
from simulation.planners import planner as planner_named
from simulation.protocol import Planner
from simulation.running import Progress, Ran, paired, run_cases
from simulation.suites.reporting import RunReport, as_driven, built_since, summed, tested_alike

COMMIT_S = 10.0
"""What has been driven is not kept waiting longer than that until its batch is full [s]."""

STOPPED_EARLY = "stopped early"


def run(
    lake: Lake,
    name: str,
    planner: str | Planner,
    *,
    batch: int = 256,
    jobs: int = 1,
    resume: int | None = None,
    stop_after: int | None = None,
    timeout_s: float | None = None,
    progress: Progress | None = None,
    begun: Callable[[int], None] | None = None,
) -> RunReport:
    """Let a planner drive every case of a suite, and keep the results.

    Args:
        lake: Where the suite is.
        name: Of the suite.
        planner: A name of :data:`simulation.planners.PLANNERS`, ``module:Class``, a command line that
            speaks the protocol of :mod:`simulation.piped`, or the planner.
        batch: Cases at once; the results do not depend on it.
        jobs: Processes; more than one needs the planner by name.
        resume: Id of a run that was stopped: only what it has not driven is, under its id.
        stop_after: Stop once so many cases have failed or errored.
        timeout_s: How long the planner may take for one answer; a case that it takes longer for is
            errored. Needs the planner by name. None: :data:`simulation.guard.LIMIT_S` for one of
            your own, as long as they like for those that come along.
        progress: Called with (done, of) after every batch.
        begun: Called with the id of the run before the first case is driven.

    Raises:
        UnknownName: There is no such suite, planner or run.
        BadSetting: The run to resume is of another suite or planner, its suite was built anew since with
            other tests, or others drove in it by other weights.
        BadInput: The planner is none.
        UnreadableFile: The others are to be driven by the generator, and its weights are not there.
    """
    cases = cases_of(lake, name)
    index = {case.case_id: i for i, case in enumerate(sorted(cases, key=lambda c: c.case_id))}
    params = {
        "suite": name, "planner": planner if isinstance(planner, str) else planner.name,
        "batch": batch, "jobs": jobs,
    }  # fmt: skip
    started = time.perf_counter()
    spent: dict[str, Any] = {"agent_steps": 0, "wall_s": 0.0}
    with _driver(lake, planner, jobs=jobs, timeout_s=timeout_s) as driver:
        done: set[int] = set()
        tables = None
        if resume is not None:
            done, params["planner"] = _done(lake, resume, name, driver.planner, planner)
            tables = _same_test(lake, resume, name, cases)
            spent |= _spent(lake, resume)
        left = _alike(lake, [case for case in cases if case.case_id not in done])
        weights = weights_behind({case.agents for case in left})
        if resume is not None:
            before = [case for case in cases if case.case_id in done]
            weights = _one_for_all(lake, resume, before, weights)
        with lake.run(
            "suite run",
            params=params,
            model=weights,
            run_id=resume,
            tables=tables,
            summary=spent,
            announced=True,
        ) as made_by:
            if begun is not None:
                begun(made_by.id)
            lost, many, steps = 0, len(done), spent["agent_steps"]
            told = [(index[case.case_id], case) for case in left]
            for ran in _kept(lake, made_by.id, driver.drive(told, batch=batch), batch):
                many, lost = many + len(ran), lost + sum(not r.result.passed for r in ran)
                steps += sum(r.agent_steps for r in ran)
                wall_s = spent["wall_s"] + time.perf_counter() - started
                made_by.summary.update(agent_steps=steps, wall_s=wall_s)
                if progress is not None:
                    progress(many, len(cases))
                if stop_after is not None and lost >= stop_after:
                    made_by.summary["outcome"] = STOPPED_EARLY
                    break
            report = summed(lake, made_by.id, name, driver.planner, made_by.summary)
            made_by.summary.update(report.answer())
    return report


class _Here:
    """Drives in this process, as :class:`~simulation.guard.Guard` does in others."""

    def __init__(self, lake: Lake, planner: Planner) -> None:
        self._lake, self._driver = lake, planner
        self.planner = planner.name

    def drive(self, cases: Sequence[tuple[int, Case]], *, batch: int) -> Iterator[list[Ran]]:
        """As the guard does, in order."""
        index = {case.case_id: i for i, case in cases}
        scenes = paired(self._lake, [case for _, case in cases])
        stream = run_cases(scenes, self._driver, batch=batch, index=index)
        while some := list(islice(stream, batch)):
            yield some


@contextmanager
def _driver(
    lake: Lake, planner: str | Planner, *, jobs: int, timeout_s: float | None
) -> Iterator[Guard | _Here]:
    """Who drives, and where.

    Raises:
        UnknownName: There is no such planner.
        BadInput: It is none.
        BadSetting: It is to drive in other processes, and has no name there.
    """
    apart = jobs > 1 or timeout_s is not None
    if not isinstance(planner, str):
        if apart:
            raise BadSetting(
                "Several processes, and a time for answers, need the planner by its name.",
                hint="Give `module:Class`.",
            )
        yield _Here(lake, planner)
    elif planner in PLANNERS and not apart:
        yield _Here(lake, planner_named(planner))
    else:
        limit = float("inf") if planner in PLANNERS else LIMIT_S
        with Guard(
            lake.uri, planner, jobs=jobs, limit_s=limit if timeout_s is None else timeout_s
        ) as guard:
            yield guard


def _alike(lake: Lake, cases: Sequence[Case]) -> list[Case]:
    """The cases by the size of their scenes: alike in size, a batch wastes less on padding."""
    columns = lake.read("scenes", ["scene_id", "n_agents"])
    sizes = dict(zip(*(columns[c].to_pylist() for c in (0, 1)), strict=True))
    return sorted(cases, key=lambda c: (sizes.get(c.scene_id, 0), c.case_id))


def _kept(lake: Lake, run_id: int, driven: Iterable[list[Ran]], batch: int) -> Iterator[list[Ran]]:
    """Everything that was driven, once it is in the lake: in batches, or what is there after a while.

    Of two who drive the rest of one run at once, the first to keep a case has it; that of the other is dropped.
    """
    waiting: list[Ran] = []
    rest: list[Ran] = []
    last = time.monotonic()

    def keep() -> list[Ran]:
        nonlocal last
        with lake.store.writing():
            there = lake.read("results", ["case_id"], f"run_id = {run_id}")["case_id"]
            known = set(there.to_pylist())
            fresh = [ran.result for ran in waiting if ran.result.case.case_id not in known]
            lake.append("results", [result.row(run_id=run_id) for result in fresh])
        kept = waiting[:]
        waiting.clear()
        last = time.monotonic()
        return kept

    try:
        for ran in driven:
            waiting += ran
            if len(waiting) >= batch or time.monotonic() - last > COMMIT_S:
                yield keep()
    finally:
        if waiting:
            rest = keep()
    if rest:
        yield rest


def _done(
    lake: Lake, run_id: int, suite: str, planner: str, asked: str | Planner
) -> tuple[set[int], str]:
    """The cases that a run has driven already, and its planner as it was asked for.

    There are no such cases if it was stopped before it could keep any.

    Args:
        lake: Where the run is.
        run_id: Its id.
        suite: Which it should be of.
        planner: The name of the planner that is to drive the rest.
        asked: That planner as it is asked for.

    Raises:
        UnknownName: There is no such run.
        BadSetting: It is of another suite or planner.
    """
    rows = lake.read("results", ["case_id", "suite", "planner"], f"run_id = {run_id}").to_pylist()
    where = f"run_id = {run_id} and command = 'suite run'"
    begun = lake.read("runs", ["params"], where)["params"].to_pylist()
    if not rows and not begun:
        raise UnknownName("run", str(run_id), _runs_of(lake, suite))
    params = json.loads(begun[0]) if begun else {}
    of = str(rows[0]["suite"] if rows else params["suite"])
    name = str(rows[0]["planner"]) if rows else planner
    was = str(params.get("planner", name))
    words = [asked] if isinstance(asked, str) else [planner, _place(asked)]
    if "planner" not in params:
        words.append(planner)
    if of != suite or was not in words or name != planner:
        # The same words may name another planner by now.
        before, now = (was, words[0]) if was != words[0] else (name, planner)
        raise BadSetting(
            f"Run {run_id} is of {before} on suite `{of}`, not of {now} on `{suite}`.",
            hint="Resume it with the same suite and planner, or begin a new run.",
        )
    return {int(row["case_id"]) for row in rows}, was


def _place(planner: Planner) -> str:
    """Where a planner's class is, as ``module:Class``."""
    return f"{type(planner).__module__}:{type(planner).__qualname__}"


def _same_test(
    lake: Lake, run_id: int, suite: str, cases: Sequence[Case]
) -> dict[str, int] | None:
    """The tables that a run read when it began, if its suite is still the same test.

    None where the lake has the cases of then no more.

    Raises:
        BadSetting: The suite was built anew since, with other tests.
    """
    hint = f"Begin a new run of `{suite}`; what run {run_id} drove is kept."
    then = as_driven(lake, run_id, f"suite = {literal(suite)}")
    if then is None:
        if built_since(lake, suite, run_id):
            raise BadSetting(
                f"Suite `{suite}` was built anew after run {run_id} began, and the cases of then are"
                " compacted away: what is left to drive may be another test.",
                hint=hint,
            )
        return None
    old = {case.case_id: case for case in map(Case.from_row, then.to_pylist())}
    new = {case.case_id: case for case in cases}
    other = sum(not tested_alike(old[i], new[i]) for i in old.keys() & new.keys())
    counts = {
        "are other tests now": other,
        "are gone": len(old.keys() - new.keys()),
        "are new": len(new.keys() - old.keys()),
    }
    told = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    if told:
        raise BadSetting(
            f"Suite `{suite}` was built anew after run {run_id} began. Of its cases {told}:"
            " one run would be of two tests.",
            hint=hint,
        )
    (tables,) = lake.read("runs", ["tables"], f"run_id = {run_id}")["tables"].to_pylist()
    return dict(json.loads(tables))


def _spent(lake: Lake, run_id: int) -> dict[str, Any]:
    """What a run took so far, as far as it told."""
    told = lake.read("runs", ["summary"], f"run_id = {run_id}")["summary"].to_pylist()
    summary = json.loads(told[0]) if told else {}
    return {name: summary[name] for name in ("agent_steps", "wall_s") if name in summary}


def _one_for_all(lake: Lake, run_id: int, before: Sequence[Case], now: str | None) -> str | None:
    """The weights by which others are driven in a run that is taken up again; None if nobody is.

    Args:
        lake: Where the run is.
        run_id: Its id.
        before: What it has driven.
        now: By which weights others are driven in what is left; None if nobody is.

    Raises:
        BadSetting: In what it has driven they were others, or may have been.
    """
    told = lake.read("runs", ["model"], f"run_id = {run_id}")["model"].to_pylist()
    then = str(told[0]) if told and told[0] is not None else None
    if now is None or now == then or not any(is_drawn(case.agents) for case in before):
        return now or then
    raise BadSetting(
        f"In run {run_id} others were driven by {then or 'weights that it does not name'}; those installed are {now}.",
        hint="Begin a new run.",
    )


def _runs_of(lake: Lake, suite: str) -> list[str]:
    rows = lake.read("results", ["run_id"], f"suite = {literal(suite)}")
    return sorted({str(i) for i in rows["run_id"].to_pylist()})


def cases_of(lake: Lake, name: str) -> list[Case]:
    """The cases of a suite.

    Raises:
        UnknownName: There is no such suite.
    """
    rows = lake.read("cases", None, f"suite = {literal(name)}").to_pylist()
    cases = [Case.from_row(row) for row in rows]
    if not cases:
        raise UnknownName("suite", name, lake.read("suites", ["suite"])["suite"].to_pylist())
    return cases
