"""Suites cut from scenes of the lake: which scenes, how many of each kind, and what each case demands."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lake import Lake
from lake.limits import whole
from mining.query import Query
from schemas.case import CUT_FROM, AgentsMode, Case
from schemas.errors import BadQuery, BadSetting, MissingData
from schemas.scene import Scene
from simulation.cases import make_case
from simulation.demands import demands_for
from simulation.diffusing import weights_behind
from simulation.planners import LogReplay
from simulation.running import run_cases
from simulation.suites.choosing import choose, lineage_of, strata_of, tags_of
from simulation.unchanged import scene_hash

DEMAND_BATCH = 64
"""Scenes held at once while a suite is built."""

NAME = re.compile(r"\w[\w.-]*")
"""What a suite may be called: its name also stands in paths of reports and on command lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteReport:
    """What building a suite gave.

    Attributes:
        suite: Its name.
        cases: How many scenes became cases.
        refused: (scene id, reason) of those that could not.
        proxies: Cases in which a vehicle of the traffic stands in for the missing ego.
        untagged: Scenes that might have qualified, had somebody looked through them for the tags and
            the query.
        strata: Stratum to how many of the cases are of it, 0 where every scene that was tried of it was
            refused: rates do not speak for those; empty where none were asked for.
    """

    suite: str
    cases: int
    refused: Sequence[tuple[int, str]] = ()
    proxies: int = 0
    untagged: int = 0
    strata: Mapping[str, int] = field(default_factory=dict)

    def answer(self) -> dict[str, Any]:
        """As the command line prints it."""
        return {
            "suite": self.suite,
            "cases": self.cases,
            "proxies": self.proxies,
            "untagged": self.untagged,
            "strata": dict(self.strata),
            "refused": [{"scene_id": str(i), "reason": reason} for i, reason in self.refused],
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
    stratify: str | None = None,
    seed: int = 0,
) -> SuiteReport:
    """Cut a suite from scenes of the lake.

    Args:
        lake: Where the scenes are.
        name: Of the suite.
        n: How many cases at most, drawn at random from those that qualify.
        stratify: Draw as many of each kind, and weigh each case by how many scenes it stands for, so
            that rates over the suite are those of all that qualify: an SQL expression over
            ``scenes`` such as ``road_type``, or ``cluster``. ``n`` is at least the number of kinds.
            Without ``n`` nothing is drawn: each case bears the name of its stratum, by which reports
            and intervals go.
        where: Condition on the columns of ``scenes``, SQL.
        tags: Only scenes in which one of these predicates or rules holds.
        query: Only scenes in which this holds, see :mod:`mining.query`.
        scene_ids: Only these.
        agents: How the others move, see :mod:`simulation.behaviours`.
        criteria: More criteria than the tags call for, or other bounds; a text is a query that the
            drive must meet, see :mod:`simulation.demands`.
        allow_proxy: Where a scene names no ego, let a vehicle stand in for it.
        replace: Put the suite in the place of one of that name.
        seed: Of the drawing of scenes, and of what their agents draw.

    Raises:
        BadSetting: There is a suite of that name, a setting is not understood, or there are more
            strata than cases to draw.
        BadQuery: ``where`` does not run, or ``query`` or a criterion cannot be asked.
        UnknownName: A criterion, or a behaviour of agents, that there is none of.
        MissingData: No scene qualifies, or none of those that do can be driven.
        UnreadableFile: The generator is to drive others, and its weights are not there.
    """
    weights_behind(
        [agents]
    )  # refuses words that are not understood, and weights that are not there
    if n is not None and n < 1:
        raise BadSetting(f"A suite of {n} cases is none.", hint="Ask for one at least.")
    if tags is not None and not any(tag.strip() for tag in tags):
        raise BadSetting("No tag is named.", hint="Name some, or leave `tags` out for all scenes.")
    if where is not None and not where.strip():
        raise BadQuery("The condition is empty.", hint="Write one, or leave `where` out.")
    seed = whole("seed", seed, least=0, most=2**63 - 1)
    check_name(lake, name, replace=replace)
    found = choose(lake, where=where, tags=tags, query=query, scene_ids=scene_ids)
    chosen = found.ids
    strata = strata_of(lake, chosen, stratify)
    many = Counter(strata.values())
    if n is not None and n < len(many):
        raise BadSetting(
            f"{n} cases cannot stand for {len(many)} strata by `{stratify}`.",
            hint=f"Ask for {len(many)} at least (-n), or stratify by what has fewer kinds.",
        )
    order = drawn_order(chosen, strata, seed=seed) if n else chosen
    tried = Counter[str]()
    events = tags_of(lake, chosen)
    lineage = lineage_of(lake, chosen)
    cases: list[Case] = []
    waiting: list[tuple[Case, Scene]] = []
    refused: list[tuple[int, str]] = []
    for scene in lake.scenes(order):
        tried[strata[scene.scene_id]] += 1
        made = make_case(
            scene,
            suite=name,
            agents=agents,
            tags=events.get(scene.scene_id, ()),
            criteria=criteria,
            allow_proxy=allow_proxy,
            provenance={**lineage.get(scene.scene_id, {}), CUT_FROM: scene_hash(scene)},
            seed=seed,
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
    cases = [
        dataclasses.replace(case, stratum=stratum, weight=many[stratum] / tried[stratum])
        for case in cases
        for stratum in [strata[case.scene_id]]
    ]
    selection = {
        "n": n,
        "where": where,
        "tags": list(tags) if tags else None,
        "query": None if query is None else str(query),
        "scene_ids": [str(i) for i in scene_ids] if scene_ids else None,
        "agents": agents,
        "criteria": dict(criteria) if criteria else None,
        "allow_proxy": allow_proxy,
        "stratify": stratify,
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
        with lake.store.writing():
            check_name(lake, name, replace=replace)  # others may have built one meanwhile
            lake.replace("cases", rows, where=f"suite = '{name}'")
            lake.replace("suites", [row], where=f"suite = '{name}'")
        report = SuiteReport(
            suite=name,
            cases=len(cases),
            refused=tuple(refused),
            proxies=sum("proxy_ego" in case.provenance for case in cases),
            untagged=found.untagged,
            strata=_counted(cases, many) if stratify else {},
        )
        made_by.summary.update(report.answer())
    return report


def check_name(lake: Lake, name: str, *, replace: bool = False) -> None:
    """Refuse what cannot name a suite, and, unless it is to be replaced, what names one already.

    Raises:
        BadSetting: Nobody can or should go by that name.
    """
    if not NAME.fullmatch(name) or name.isdecimal():
        raise BadSetting(
            f"`{name}` cannot name a suite.",
            hint="Use letters, digits, hyphens, dots and underscores; not digits alone, as ids of runs have.",
        )
    if not replace and lake.read("suites", ["suite"], f"suite = '{name}'").num_rows:
        raise BadSetting(
            f"There is a suite called `{name}` already.",
            hint="Choose another name, or take its place: `--replace`, in Python `replace=True`.",
        )


def _counted(cases: Sequence[Case], strata: Iterable[str]) -> dict[str, int]:
    """How many cases are of each stratum."""
    counts = Counter(case.stratum for case in cases)
    return {stratum: counts[stratum] for stratum in sorted(strata)}


def drawn_order(ids: Sequence[int], strata: Mapping[int, str], *, seed: int) -> list[int]:
    """The scenes at random, those of each stratum in turn: any beginning holds as many of each."""
    shuffled = [ids[i] for i in np.random.default_rng(seed).permutation(len(ids))]
    place = Counter[str]()
    turn: dict[int, int] = {}
    for scene_id in shuffled:
        turn[scene_id] = place[strata[scene_id]]
        place[strata[scene_id]] += 1
    return sorted(shuffled, key=lambda scene_id: turn[scene_id])  # stable: shuffled within a turn


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
