"""Closed-loop suites: cases cut from scenes of the lake, runs of a planner over them, reports.

    build(lake, "cut-ins", tags=["cut_in"], n=100)
    run(lake, "cut-ins", "my_planner:Cruise").answer()

A suite is data: rows of ``suites`` and ``cases`` with criteria and provenance; a run adds rows to
``runs`` and ``results``. Whatever a scene lacks to be driven is a reason, returned and kept.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lake import Lake
from lake.literals import literal
from mining.query import Query
from mining.query.find import scenes_of
from schemas.case import AGENTS_MODES, DONE, AgentsMode, Case, Measured, Result
from schemas.errors import BadQuery, BadSetting, MissingData, UnknownName
from schemas.scene import Scene
from simulation.cases import make_case
from simulation.criteria import CRITERIA
from simulation.demands import DEMANDS, demands_for
from simulation.planners import LogReplay
from simulation.planners import planner as planner_named
from simulation.protocol import Planner
from simulation.running import Progress, Ran, run_cases

DEMAND_BATCH = 64
"""Scenes held at once while a suite is built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteReport:
    """What building a suite gave.

    Attributes:
        suite: Its name.
        cases: How many scenes became cases.
        refused: (scene id, reason) of those that could not.
        proxies: Cases in which a vehicle of the traffic stands in for the missing ego.
    """

    suite: str
    cases: int
    refused: Sequence[tuple[int, str]] = ()
    proxies: int = 0

    def answer(self) -> dict[str, Any]:
        """As the command line prints it."""
        return {
            "suite": self.suite,
            "cases": self.cases,
            "proxies": self.proxies,
            "refused": [{"scene_id": str(i), "reason": reason} for i, reason in self.refused],
        }


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
        errored: The planner failed, or the scene is gone.
        score: Mean over cases, nuPlan's; an errored case counts 0.
        wall_s: [s].
        agent_steps: Agents that were there, summed over all simulated steps.
        by_criterion: Name to how many passed, failed, and could not be known.
        by_tag: Tag to how many passed, of how many.
        worst: Cases that did not pass, worst score first.
        errors: Reason to how many cases it stopped.
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
            "score": self.score,
            "wall_s": self.wall_s,
            "agent_steps": self.agent_steps,
            "by_criterion": {name: dict(counts) for name, counts in self.by_criterion.items()},
            "by_tag": {tag: {"passed": p, "cases": n} for tag, (p, n) in self.by_tag.items()},
            "worst": [dict(case) for case in self.worst],
            "errors": dict(self.errors),
        }


def build(
    lake: Lake,
    name: str,
    *,
    n: int | None = None,
    where: str | None = None,
    tags: Sequence[str] | None = None,
    query: str | Query | None = None,
    scene_ids: Sequence[int] | None = None,
    agents: AgentsMode = "log",
    criteria: Mapping[str, float | str] | None = None,
    allow_proxy: bool = True,
    replace: bool = False,
    seed: int = 0,
) -> SuiteReport:
    """Cut a suite from scenes of the lake.

    Args:
        lake: Where the scenes are.
        name: Of the suite.
        n: How many cases at most, drawn at random from those that qualify.
        where: Condition on the columns of ``scenes``, SQL.
        tags: Only scenes in which one of these predicates or rules holds.
        query: Only scenes in which this holds, see :mod:`mining.query`.
        scene_ids: Only these.
        agents: How the others move: log, idm or constant_velocity.
        criteria: More criteria than the tags call for, or other bounds; a text is a query that the
            drive must meet, see :mod:`simulation.demands`.
        allow_proxy: Where a scene names no ego, let a vehicle stand in for it.
        replace: Put the suite in the place of one of that name.
        seed: Of the drawing.

    Raises:
        BadSetting: There is a suite of that name, or a setting is not understood.
        BadQuery: ``where`` does not run, or ``query`` or a criterion cannot be asked.
        UnknownName: A criterion that there is none of.
        MissingData: No scene qualifies, or none of those that do can be driven.
    """
    if agents not in AGENTS_MODES:
        raise UnknownName("mode of agents", agents, AGENTS_MODES)
    if n is not None and n < 1:
        raise BadSetting(f"A suite of {n} cases is none.", hint="Ask for one at least.")
    if not name.strip() or "'" in name:
        raise BadSetting(f"`{name}` cannot name a suite.", hint="Use letters, digits and hyphens.")
    if not replace and lake.read("suites", ["suite"], f"suite = '{name}'").num_rows:
        raise BadSetting(
            f"There is a suite called `{name}` already.",
            hint="Choose another name, or say that it shall be replaced.",
        )
    chosen = _choose(lake, where=where, tags=tags, query=query, scene_ids=scene_ids)
    order = np.random.default_rng(seed).permutation(len(chosen)) if n else np.arange(len(chosen))
    events = _tags_of(lake, chosen)
    lineage = _lineage(lake, chosen)
    cases: list[Case] = []
    waiting: list[tuple[Case, Scene]] = []
    refused: list[tuple[int, str]] = []
    for scene in lake.scenes([chosen[i] for i in order]):
        made = make_case(
            scene,
            suite=name,
            agents=agents,
            tags=events.get(scene.scene_id, ()),
            criteria=criteria,
            allow_proxy=allow_proxy,
            provenance=lineage.get(scene.scene_id),
        )
        if isinstance(made, str):
            refused.append((scene.scene_id, made))
        else:
            waiting.append((made, scene))
        enough = n is not None and len(cases) + len(waiting) == n
        if enough or len(waiting) == DEMAND_BATCH:
            cases += with_demands(waiting)
            waiting.clear()
        if enough:
            break
    cases += with_demands(waiting)
    if not cases:
        reasons = Counter(reason for _, reason in refused).most_common(3)
        raise MissingData(
            f"None of {len(refused)} scenes can be driven: "
            + "; ".join(f"{reason} ({count})" for reason, count in reasons),
            hint="Ingest longer scenes with moving vehicles, or choose others.",
        )
    cases.sort(key=lambda c: c.scene_id)
    selection = {
        "n": n,
        "where": where,
        "tags": list(tags) if tags else None,
        "query": None if query is None else str(query),
        "scene_ids": [str(i) for i in scene_ids] if scene_ids else None,
        "agents": agents,
        "criteria": dict(criteria) if criteria else None,
        "allow_proxy": allow_proxy,
    }
    with lake.run("suite build", params={"suite": name, **selection}, seed=seed) as made_by:
        row = {
            "suite": name,
            "selection": json.dumps(selection),
            "n_cases": len(cases),
            "tables": json.dumps(lake.versions()),
            "seed": seed,
            "run_id": made_by.id,
        }
        rows = [case.row(run_id=made_by.id) for case in cases]
        lake.replace("cases", rows, where=f"suite = '{name}'")
        lake.replace("suites", [row], where=f"suite = '{name}'")
        report = SuiteReport(
            suite=name,
            cases=len(cases),
            refused=tuple(refused),
            proxies=sum("proxy_ego" in case.provenance for case in cases),
        )
        made_by.summary.update(report.answer())
    return report


def with_demands(cases: Sequence[tuple[Case, Scene]]) -> list[Case]:
    """The cases with what scenes like theirs demand, where the recorded drive itself meets it.

    Args:
        cases: With their scenes; criteria that they have already stay as they are.
    """
    wanted = [demands_for(case.tags) for case, _ in cases]
    tried = [
        (dataclasses.replace(case, criteria=queries, agents="log"), scene)
        for (case, scene), queries in zip(cases, wanted, strict=True)
        if queries
    ]
    met = {
        ran.result.case.case_id: {
            name: ran.result.case.criteria[name]
            for name, measured in ran.result.criteria.items()
            if measured.passed
        }
        for ran in run_cases(tried, LogReplay(), batch=DEMAND_BATCH)
    }
    return [
        dataclasses.replace(case, criteria={**met.get(case.case_id, {}), **case.criteria})
        for case, _ in cases
    ]


def run(
    lake: Lake,
    name: str,
    planner: str | Planner,
    *,
    batch: int = 256,
    jobs: int = 1,
    progress: Progress | None = None,
) -> RunReport:
    """Let a planner drive every case of a suite, and keep the results.

    Args:
        lake: Where the suite is.
        name: Of the suite.
        planner: A name of :data:`simulation.planners.PLANNERS`, ``module:Class``, or the planner.
        batch: Cases at once; the results do not depend on it.
        jobs: Processes; more than one needs the planner by name.
        progress: Called with (done, of) after every batch.

    Raises:
        UnknownName: There is no such suite or planner.
        BadInput: The planner is none, or answers in a wrong shape.
    """
    driver = planner_named(planner) if isinstance(planner, str) else planner
    if jobs > 1 and not isinstance(planner, str):
        raise BadSetting(
            "Several processes need the planner by its name.", hint="Give `module:Class`."
        )
    cases = cases_of(lake, name)
    # Alike in size, a batch wastes less on padding; the results do not depend on the order.
    sizes = dict(
        zip(
            *(lake.read("scenes", ["scene_id", "n_agents"])[c].to_pylist() for c in (0, 1)),
            strict=True,
        )
    )
    cases.sort(key=lambda c: (sizes.get(c.scene_id, 0), c.case_id))
    params = {"suite": name, "planner": planner if isinstance(planner, str) else driver.name}
    started = time.perf_counter()
    with lake.run("suite run", params={**params, "batch": batch, "jobs": jobs}) as made_by:
        if jobs > 1:
            ran = _in_processes(lake, cases, str(planner), batch, jobs, progress)
        else:
            ran = []
            for done in run_cases(_paired(lake, cases), driver, batch=batch):
                ran.append(done)
                if progress is not None and (len(ran) % batch == 0 or len(ran) == len(cases)):
                    progress(len(ran), len(cases))
        ran.sort(key=lambda r: r.result.case.case_id)
        lake.append("results", [r.result.row(run_id=made_by.id) for r in ran])
        report = _report(
            [r.result for r in ran],
            run_id=made_by.id,
            suite=name,
            planner=driver.name,
            wall_s=time.perf_counter() - started,
            agent_steps=sum(r.agent_steps for r in ran),
        )
        made_by.summary.update(report.answer())
    return report


def report(lake: Lake, name: str | int) -> RunReport:
    """The report of a run by its id, or of the last run of a suite by its name.

    Raises:
        UnknownName: There is no such run or suite.
        MissingData: The suite was never run.
    """
    text = str(name)
    by_id = text.isdecimal() and int(text) < 2**63
    rows = lake.read("results", None, f"run_id = {text}") if by_id else None
    if rows is None or rows.num_rows == 0:
        runs = lake.read("results", ["run_id", "suite"], f"suite = {literal(text)}")
        known = lake.read("suites", ["suite"])["suite"].to_pylist()
        if runs.num_rows == 0 and text in known:
            raise MissingData(
                f"Suite `{text}` was never run.",
                hint=f"scenelake suite run {text} --planner idm",
            )
        if runs.num_rows == 0:
            raise UnknownName("suite or run", text, known)
        ids = ", ".join({str(i) for i in runs["run_id"].to_pylist()})
        finished = lake.read("runs", ["run_id", "started_unix_ns"], f"run_id in ({ids})")
        last = max(finished.to_pylist(), key=lambda row: row["started_unix_ns"])["run_id"]
        rows = lake.read("results", None, f"run_id = {last}")
    results = rows.to_pylist()
    run_id, suite = int(results[0]["run_id"]), results[0]["suite"]
    made_by = lake.read("runs", None, f"run_id = {run_id}").to_pylist()
    summary = json.loads(made_by[0]["summary"]) if made_by else {}
    cases = {c.case_id: c for c in _cases(lake, f"suite = {literal(suite)}")}
    return _report(
        [_result(row, cases.get(int(row["case_id"]))) for row in results],
        run_id=run_id,
        suite=suite,
        planner=results[0]["planner"],
        wall_s=float(summary.get("wall_s", 0.0)),
        agent_steps=int(summary.get("agent_steps", 0)),
    )


def compare(lake: Lake, first: str | int, second: str | int) -> dict[str, Any]:
    """Two runs of one suite side by side: which cases the second lost, and which it won.

    Raises:
        UnknownName: There is no such run.
        BadQuery: The runs have no case in common.
    """
    a, b = report(lake, first), report(lake, second)
    verdicts = []
    for one in (a, b):
        rows = lake.read("results", ["case_id", "passed", "score"], f"run_id = {one.run_id}")
        verdicts.append({row["case_id"]: row for row in rows.to_pylist()})
    common = sorted(set(verdicts[0]) & set(verdicts[1]))
    if not common:
        raise BadQuery(
            f"Runs {a.run_id} and {b.run_id} have no case in common.",
            hint="Compare runs of the same suite.",
        )
    was, now = ([v[i]["passed"] for i in common] for v in verdicts)
    change = [float(verdicts[1][i]["score"] - verdicts[0][i]["score"]) for i in common]
    return {
        "first": {"run_id": str(a.run_id), "planner": a.planner, "score": a.score},
        "second": {"run_id": str(b.run_id), "planner": b.planner, "score": b.score},
        "cases": len(common),
        "both_passed": sum(x and y for x, y in zip(was, now, strict=True)),
        "won": [str(i) for i, x, y in zip(common, was, now, strict=True) if y and not x],
        "lost": [str(i) for i, x, y in zip(common, was, now, strict=True) if x and not y],
        "mean_change": float(np.mean(change)),
    }


def list_suites(lake: Lake) -> list[dict[str, Any]]:
    """Every suite: name, cases, how it was chosen, and its runs."""
    runs: dict[str, Counter[tuple[int, str]]] = {}
    for row in lake.read("results", ["suite", "run_id", "planner"]).to_pylist():
        runs.setdefault(row["suite"], Counter())[int(row["run_id"]), row["planner"]] += 1
    return [
        {
            "suite": row["suite"],
            "cases": row["n_cases"],
            "selection": json.loads(row["selection"]),
            "runs": [
                {"run_id": str(run_id), "planner": planner, "cases": count}
                for (run_id, planner), count in runs.get(row["suite"], Counter()).items()
            ],
        }
        for row in lake.read("suites").sort_by("suite").to_pylist()
    ]


def cases_of(lake: Lake, name: str) -> list[Case]:
    """The cases of a suite.

    Raises:
        UnknownName: There is no such suite.
    """
    cases = _cases(lake, f"suite = {literal(name)}")
    if not cases:
        raise UnknownName("suite", name, lake.read("suites", ["suite"])["suite"].to_pylist())
    return cases


def _cases(lake: Lake, where: str) -> list[Case]:
    return [Case.from_row(row) for row in lake.read("cases", None, where).to_pylist()]


def _choose(
    lake: Lake,
    *,
    where: str | None,
    tags: Sequence[str] | None,
    query: str | Query | None,
    scene_ids: Sequence[int] | None,
) -> list[int]:
    """Ids of the scenes that qualify, in ascending order."""
    conditions = [f"({where})"] if where else []
    if scene_ids is not None:
        listed = ", ".join(str(int(i)) for i in scene_ids) or "null"
        conditions.append(f"scene_id in ({listed})")
    if query is not None:
        listed = ", ".join(map(str, scenes_of(lake, query))) or "null"
        conditions.append(f"scene_id in ({listed})")
    if tags:
        known = {r["name"] for r in lake.read("events", ["name"]).to_pylist()}
        for tag in tags:
            if tag not in known:
                raise UnknownName("tag of these scenes", tag, sorted(known))
        names = ", ".join(literal(tag) for tag in tags)
        conditions.append(
            f"scene_id in (select scene_id from events where truth = 'true' and name in ({names}))"
        )
    clause = f" where {' and '.join(conditions)}" if conditions else ""
    found = lake.sql(f"select scene_id from scenes{clause} order by scene_id")
    ids = [int(i) for i in found["scene_id"].to_pylist()]
    if scene_ids is not None and where is None and query is None and not tags:
        missing = sorted({int(i) for i in scene_ids} - set(ids))
        if missing:
            raise UnknownName("scene", str(missing[0]), map(str, lake.scene_ids()))
    if not ids:
        raise MissingData(
            "No scene qualifies for the suite.",
            hint="Loosen the condition; `scenelake info` says what the lake holds.",
        )
    return ids


def _tags_of(lake: Lake, ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Names of the predicates that hold in each scene, but for those that hold in nearly every."""
    from mining.predicates import PREDICATES  # with scipy, which no other step needs

    ordinary = {predicate.name for predicate in PREDICATES.values() if predicate.ordinary}
    wanted = set(ids)
    found: dict[int, set[str]] = {}
    for row in lake.read("events", ["scene_id", "name"], "truth = 'true'").to_pylist():
        if row["scene_id"] in wanted and row["name"] not in ordinary:
            found.setdefault(int(row["scene_id"]), set()).add(row["name"])
    return {scene: tuple(sorted(names)) for scene, names in found.items()}


def _lineage(lake: Lake, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Where generated scenes come from: gap, parent, generator run."""
    wanted = set(ids)
    columns = ["generated_id", "scene_id", "parent_scene_id", "gap_id", "model", "seed", "run_id"]
    rows = lake.read("generated", columns, "accepted = true").to_pylist()
    return {
        int(row["scene_id"]): {
            "generated_id": str(row["generated_id"]),
            "parent_scene_id": str(row["parent_scene_id"]),
            "gap_id": row["gap_id"],
            "generator": row["model"],
            "generator_seed": row["seed"],
            "generator_run": str(row["run_id"]),
        }
        for row in rows
        if row["scene_id"] in wanted
    }


def _paired(lake: Lake, cases: Sequence[Case]) -> Iterator[tuple[Case, Scene]]:
    """Cases with their scenes."""
    yield from zip(cases, lake.scenes([c.scene_id for c in cases]), strict=True)


def _in_processes(
    lake: Lake,
    cases: Sequence[Case],
    planner: str,
    batch: int,
    jobs: int,
    progress: Progress | None,
) -> list[Ran]:
    """The same in several processes, each opening the lake for itself."""
    chunks = [cases[i : i + batch] for i in range(0, len(cases), batch)]
    if len(chunks) < jobs:
        share = -(-len(cases) // jobs)
        chunks = [cases[i : i + share] for i in range(0, len(cases), share)]
    ran: list[Ran] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=jobs, mp_context=context) as pool:
        work = [pool.submit(_one_process, lake.uri, chunk, planner, batch) for chunk in chunks]
        for done in as_completed(work):
            ran += done.result()
            if progress is not None:
                progress(len(ran), len(cases))
    return ran


def _one_process(uri: str, cases: Sequence[Case], planner: str, batch: int) -> list[Ran]:
    lake = Lake.open(uri)
    return list(run_cases(_paired(lake, cases), planner_named(planner), batch=batch))


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
    )


def _report(
    results: Sequence[Result],
    *,
    run_id: int,
    suite: str,
    planner: str,
    wall_s: float,
    agent_steps: int,
) -> RunReport:
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
    return RunReport(
        run_id=run_id,
        suite=suite,
        planner=planner,
        cases=len(results),
        passed=sum(r.passed for r in results),
        failed=sum(not r.passed and r.status == DONE for r in results),
        errored=sum(errors.values()),
        # In the table's precision, so that a report read back is the report that was given.
        score=float(np.array([r.score for r in results], dtype=np.float32).mean())
        if results
        else 0.0,
        wall_s=wall_s,
        agent_steps=agent_steps,
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
    )
