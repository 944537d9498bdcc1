"""A planner driven through a suite: in batches, by one process or several, stopped and taken up again.

Results go into the lake batch by batch, so that whatever stops a run (Ctrl-C, a kill, a full disk)
leaves the cases driven so far; ``resume`` drives the rest under the same run id. What a case gives
depends neither on the batch, nor on the order, nor on the number of processes: the digest of a run
is the same.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import islice

from lake import Lake
from lake.literals import literal
from schemas.case import Case
from schemas.errors import BadSetting, UnknownName
from schemas.scene import Scene
from simulation.planners import planner as planner_named
from simulation.protocol import Planner
from simulation.running import Progress, Ran, run_cases
from simulation.suites.reporting import RunReport, summed

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
        timeout_s: How long the planner may take for one answer; a case that it alone takes longer for
            is errored. None: as long as it likes.
        progress: Called with (done, of) after every batch.

    Raises:
        UnknownName: There is no such suite, planner or run.
        BadSetting: The run to resume is of another suite or planner.
        BadInput: The planner is none, or answers in a wrong shape.
    """
    driver = planner_named(planner) if isinstance(planner, str) else planner
    if jobs > 1 and not isinstance(planner, str):
        raise BadSetting(
            "Several processes need the planner by its name.", hint="Give `module:Class`."
        )
    cases = cases_of(lake, name)
    done = set() if resume is None else _done(lake, resume, name, driver.name)
    left = [case for case in cases if case.case_id not in done]
    # Alike in size, a batch wastes less on padding.
    sizes = dict(
        zip(
            *(lake.read("scenes", ["scene_id", "n_agents"])[c].to_pylist() for c in (0, 1)),
            strict=True,
        )
    )
    left.sort(key=lambda c: (sizes.get(c.scene_id, 0), c.case_id))
    params = {
        "suite": name, "planner": planner if isinstance(planner, str) else driver.name,
        "batch": batch, "jobs": jobs,
    }  # fmt: skip
    started = time.perf_counter()
    with lake.run("suite run", params=params, run_id=resume) as made_by:
        lost, many, steps = 0, len(done), 0
        pieces = (
            _in_processes(lake, left, planner, batch, jobs, timeout_s)
            if jobs > 1 and isinstance(planner, str)
            else _batches(
                run_cases(paired(lake, left), driver, batch=batch, timeout_s=timeout_s), batch
            )
        )
        for ran in pieces:
            lake.append("results", [r.result.row(run_id=made_by.id) for r in ran])
            many, lost = many + len(ran), lost + sum(not r.result.passed for r in ran)
            steps += sum(r.agent_steps for r in ran)
            made_by.summary.update(agent_steps=steps, wall_s=time.perf_counter() - started)
            if progress is not None:
                progress(many, len(cases))
            if stop_after is not None and lost >= stop_after:
                made_by.summary["outcome"] = STOPPED_EARLY
                break
        told = summed(lake, made_by.id, name, driver.name, made_by.summary)
        made_by.summary.update(told.answer())
    return told


def _done(lake: Lake, run_id: int, suite: str, planner: str) -> set[int]:
    """The cases that a run has driven already."""
    rows = lake.read("results", ["case_id", "suite", "planner"], f"run_id = {run_id}").to_pylist()
    if not rows:
        raise UnknownName("run", str(run_id), _runs_of(lake, suite))
    before = (rows[0]["suite"], rows[0]["planner"])
    if before != (suite, planner):
        raise BadSetting(
            f"Run {run_id} is of {before[1]} on suite `{before[0]}`, not of {planner} on `{suite}`.",
            hint="Resume it with the same suite and planner, or begin a new run.",
        )
    return {int(row["case_id"]) for row in rows}


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


def paired(lake: Lake, cases: Sequence[Case]) -> Iterator[tuple[Case, Scene]]:
    """Cases with their scenes."""
    yield from zip(cases, lake.scenes([c.scene_id for c in cases]), strict=True)


def _batches(ran: Iterable[Ran], size: int) -> Iterator[list[Ran]]:
    stream = iter(ran)
    while some := list(islice(stream, size)):
        yield some


def _in_processes(
    lake: Lake, cases: Sequence[Case], planner: str, batch: int, jobs: int, timeout_s: float | None
) -> Iterator[list[Ran]]:
    """The same in several processes, each opening the lake for itself."""
    chunks = [cases[i : i + batch] for i in range(0, len(cases), batch)]
    if len(chunks) < jobs:
        share = max(-(-len(cases) // jobs), 1)
        chunks = [cases[i : i + share] for i in range(0, len(cases), share)]
    # The largest first: none is left running alone at the end.
    chunks.reverse()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=jobs, mp_context=context) as pool:
        try:
            work = [
                pool.submit(_one_process, lake.uri, chunk, planner, batch, timeout_s)
                for chunk in chunks
            ]
            for done in as_completed(work):
                yield done.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _one_process(
    uri: str, cases: Sequence[Case], planner: str, batch: int, timeout_s: float | None
) -> list[Ran]:
    lake = Lake.open(uri)
    driver = planner_named(planner)
    return list(run_cases(paired(lake, cases), driver, batch=batch, timeout_s=timeout_s))
