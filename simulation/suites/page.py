"""Runs of a suite as one HTML page: rates, what failed, the worst cases in motion, and where all is from.

    write_page(lake, ["nightly"], "report.html")             # the last run of each planner
    write_page(lake, [run_id, other_run_id], "report.html")  # these, side by side

Whatever the size of the suite, the page stays small: rates are tables, and only some cases are listed
and fewer still are films; the page says how many were left out. Several runs are told of the cases that
all of them drove, so that nobody's rate is of easier ones.

Films are not kept in the lake. A result keeps the ego's trajectory, 1.3 kB for 8 s; the others are
simulated round it anew (:mod:`simulation.replay`), which takes a tenth of a second for a case that is
shown. To keep everyone would make a suite's results some twenty times as large, for what few will see.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from formats.film import Film, Mark, Panel
from formats.page import Cell, Link, Report, Section, Share, Sheet, write_report
from lake import Lake
from lake.literals import literal
from schemas.case import AT_LEAST, AT_MOST, DONE, Case, Result
from schemas.errors import BadQuery, MissingData, UnreadableFile
from schemas.scene import DT, Scene
from simulation.criteria import CRITERIA
from simulation.demands import DEMANDS
from simulation.diffusing import installed, is_drawn
from simulation.driven import DrivenScenes
from simulation.moments import moments
from simulation.replay import replayed
from simulation.suites.comparing import last_runs
from simulation.suites.reporting import (
    RunReport,
    as_driven,
    built_since,
    called,
    commonest,
    reported,
    run_of,
    tested_alike,
)
from simulation.suites.statistics import mcnemar, mean_interval, rate

ANIMATED = 12
"""Cases shown as films, where nothing else is asked for."""
UNNAMED = "weights that are not told"
"""Runs named none before they kept them."""

LISTED = 100
"""Cases that did not pass that are listed; the lake has all."""

GROUPS = 25
"""Groups told of each kind, those that fare worst."""

ERRORED = "errored"
"""Kind of the failures that are no criterion's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageReport:
    """What a page tells.

    Attributes:
        file: The page.
        bytes: Its size.
        suite: Of which suite.
        runs: Ids of the runs, in the order of the page.
        cases: How many cases all of them drove.
        failed: How many of these some run did not pass.
        animated: How many of those are films.
        listed: How many are listed.
        left_out: Runs that were stopped, as the page calls them, to how many cases they did not drive.
    """

    file: Path
    bytes: int
    suite: str
    runs: Sequence[str]
    cases: int
    failed: int
    animated: int
    listed: int
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Run:
    """A run of the page.

    Attributes:
        label: What it is called there: its planner (as it was asked for, where several share a name),
            and its id where two have the same one.
        report: How it went, over all that it drove.
        results: By case.
        row: Of ``runs``, as far as there is one.
    """

    label: str
    report: RunReport
    results: Mapping[int, Result]
    row: Mapping[str, Any]


def write_page(
    lake: Lake,
    names: Sequence[str | int],
    path: str | Path,
    *,
    animated: int = ANIMATED,
    progress: Callable[[int, int], None] | None = None,
) -> PageReport:
    """Runs of one suite as a page.

    Args:
        lake: Where they are.
        names: Ids of runs; the name of a suite stands for the last run of each of its planners, one that
            was stopped only if none drove all cases.
        path: Of the HTML file; its folder is made.
        animated: How many cases to show as films.
        progress: Called with (films made, of).

    Raises:
        UnknownName: There is no such run or suite.
        MissingData: The suite was never run.
        BadQuery: The runs are of several suites, or have no case in common.
    """
    runs = _runs(lake, names)
    suites = list(dict.fromkeys(run.report.suite for run in runs))
    if len(suites) > 1:
        raise BadQuery(
            f"These are runs of {len(suites)} suites: {', '.join(suites)}.",
            hint="A page tells of runs of one suite.",
        )
    first = runs[0].results
    common = sorted(
        i
        for i in set.intersection(*(set(run.results) for run in runs))
        if all(tested_alike(first[i].case, run.results[i].case) for run in runs)
    )
    if not common:
        raise BadQuery(
            f"Runs {', '.join(str(run.report.run_id) for run in runs)} have no case in common.",
            hint="Run the suite again with those that drove it before it was built anew.",
        )
    story = _Story(lake, runs, common, animated, progress)
    page = write_report(story.page(), Path(path))
    return PageReport(
        file=page,
        bytes=page.stat().st_size,
        suite=runs[0].report.suite,
        runs=[str(run.report.run_id) for run in runs],
        cases=len(common),
        failed=len(story.lost),
        animated=len(story.films),
        listed=min(len(story.lost), LISTED),
        left_out={run.label: run.report.undriven for run in runs if run.report.undriven},
    )


def _runs(lake: Lake, names: Sequence[str | int]) -> list[_Run]:
    ids: dict[int, None] = {}
    for name in names:
        of_suite = [run.run_id for run in last_runs(lake, str(name)).values()]
        ids |= dict.fromkeys(of_suite or [run_of(lake, name)])
    found = [reported(lake, run_id) for run_id in ids]
    listed = ", ".join(map(str, ids))
    rows = {
        row["run_id"]: row for row in lake.read("runs", None, f"run_id in ({listed})").to_pylist()
    }
    labels = called(lake, {report.run_id: report.planner for report, _ in found})
    many = Counter(labels.values())
    return [
        _Run(
            label=name if many[name] == 1 else f"{name} ({report.run_id})",
            report=report,
            results={result.case.case_id: result for result in results},
            row=rows.get(report.run_id, {}),
        )
        for report, results in found
        for name in [labels[report.run_id]]
    ]


def worst_of_each_kind(results: Sequence[Mapping[int, Result]], n: int) -> list[int]:
    """Cases to look at: of each criterion in turn, the most failed first, the case that fares worst.

    Args:
        results: Of each run, by case; the same cases in all.
        n: How many at most.
    """
    cases = list(results[0])
    kinds: dict[str, list[int]] = {}
    for case in cases:
        ways = {way for run in results for way in _ways(run[case])}
        for way in sorted(ways):
            kinds.setdefault(way, []).append(case)
    for waiting in kinds.values():
        waiting.sort(key=lambda case: (-_score(results, case), -case))  # the worst is taken last
    turns = sorted(kinds.values(), key=lambda waiting: -len(waiting))
    chosen: dict[int, None] = {}
    while len(chosen) < n and any(turns):
        for waiting in turns:
            while waiting and waiting[-1] in chosen:
                waiting.pop()
            if waiting and len(chosen) < n:
                chosen[waiting.pop()] = None
    return list(chosen)


def _ways(result: Result) -> list[str]:
    """In which ways a case was not passed."""
    return result.failed if result.status == DONE else [ERRORED]


def _score(results: Sequence[Mapping[int, Result]], case: int) -> float:
    """The mean over runs."""
    return float(np.mean([run[case].score for run in results]))


class _Story:
    """Turns runs into the sections of a page."""

    def __init__(
        self,
        lake: Lake,
        runs: Sequence[_Run],
        common: Sequence[int],
        animated: int,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.lake, self.runs, self.common = lake, runs, common
        self.suite = runs[0].report.suite
        self.cases: dict[int, Case] = {i: runs[0].results[i].case for i in common}
        results = [{i: run.results[i] for i in common} for run in runs]
        lost = [i for i in common if not all(run[i].passed for run in results)]
        self.lost = sorted(lost, key=lambda i: (_score(results, i), i))
        self.results = results
        self.built = lake.read("suites", None, f"suite = {literal(self.suite)}").to_pylist()
        self.unseen = self._why_unseen() if animated else ""
        shown = [{i: run[i] for i in self.lost if self._can_be_seen(i)} for run in results]
        self.films = self._films(worst_of_each_kind(shown, animated), progress)

    def page(self) -> Report:
        """The whole page."""
        labels = [run.label for run in self.runs]
        rates = [self._rate(k, self.common).value or 0.0 for k in range(len(self.runs))]
        best = int(np.argmax(rates))
        told = [
            ("cases", f"{len(self.common):,}"),
            ("passed by all" if len(self.runs) > 1 else "passed",
             f"{len(self.common) - len(self.lost):,}"),
        ]  # fmt: skip
        if len(self.runs) > 1:
            told.append(("best pass rate", f"{labels[best]} {100 * rates[best]:.0f} %"))
        return Report(
            title=f"{self.suite}: {', '.join(labels)}",
            text="Closed-loop runs of a suite: each case hands the ego to a planner and judges its drive by the "
            "case's own criteria. Intervals are of 95 %.",
            numbers=told,
            sections=[
                self._runs_section(),
                self._criteria_section(),
                self._worst_section(),
                self._kinds_section(),
                self._lost_section(),
                self._provenance_section(),
            ],
        )

    def _rate(self, run: int, cases: Sequence[int], text: str = "") -> Share:
        """The pass rate of some cases, by what they stand for."""
        return self._share(run, {i: float(self.results[run][i].passed) for i in cases}, text)

    def _share(self, run: int, values: Mapping[int, float], text: str = "") -> Share:
        if not values:
            return Share(value=None, text=text)
        of = [self.results[run][i].case for i in values]
        made = rate(
            np.array(list(values.values())),
            np.array([case.weight for case in of]),
            [case.stratum for case in of],
        )
        return Share(value=made.value, low=made.low, high=made.high, text=text)

    def _runs_section(self) -> Section:
        rows: list[list[Cell]] = []
        for index, run in enumerate(self.runs):
            mine = self.results[index]
            errored = sum(result.status != DONE for result in mine.values())
            rows.append([
                run.label,
                self._rate(index, self.common),
                self._share(index, {i: float(r.score) for i, r in mine.items()}),
                sum(result.passed for result in mine.values()),
                len(self.common) - sum(result.passed for result in mine.values()) - errored,
                errored,
                run.report.undriven,
            ])  # fmt: skip
        columns = ["planner", "pass rate", "score", "passed", "failed", "errored", "not driven"]
        more = {run.label: len(run.results) - len(self.common) for run in self.runs}
        left = [f"{n:,} of {label}" for label, n in more.items() if n]
        note = f"Cases that not all drove are left out: {', '.join(left)}." if left else ""
        sheets = [Sheet(columns=columns, rows=rows, caption="Runs", note=note)]
        if len(self.runs) > 1:
            sheets.append(self._pairs())
        reasons = self._reasons()
        if reasons:
            sheets.append(
                Sheet(
                    columns=["planner", "why cases errored", "cases"],
                    rows=reasons,
                    caption="Errors",
                )
            )
        return Section(title="How they did", sheets=sheets)

    def _pairs(self) -> Sheet:
        rows: list[list[Cell]] = []
        for one, two in combinations(range(len(self.runs)), 2):
            pairs = [(self.results[one][i], self.results[two][i]) for i in self.common]
            won = sum(y.passed and not x.passed for x, y in pairs)
            lost = sum(x.passed and not y.passed for x, y in pairs)
            change = np.array([y.score - x.score for x, y in pairs])
            weights = np.array([x.case.weight for x, _ in pairs])
            low, high = mean_interval(change, weights, [x.case.stratum for x, _ in pairs])
            mean = np.average(change, weights=weights)
            rows.append([
                f"{self.runs[two].label} against {self.runs[one].label}", won, lost,
                f"{mcnemar(won, lost):.2g}", f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]",
            ])  # fmt: skip
        return Sheet(
            columns=["pair", "cases won", "lost", "p", "change of score"], rows=rows,
            caption="Side by side",
            note="p: the chance of such a difference, or a greater one, if neither were better (McNemar). It counts "
            "cases, whatever they weigh; the change of score weighs them, as the rates do.",
        )  # fmt: skip

    def _reasons(self) -> list[list[Cell]]:
        rows: list[list[Cell]] = []
        for index, run in enumerate(self.runs):
            errors = Counter(r.status for r in self.results[index].values() if r.status != DONE)
            told = commonest(errors)
            rows += [[run.label, reason, n] for reason, n in told[:5]]
            if len(told) > 5:
                rows.append(
                    [run.label, f"{len(told) - 5} other reasons", sum(n for _, n in told[5:])]
                )
        return rows

    def _criteria_section(self) -> Section:
        film_of: dict[str, str] = {}
        for case, film in self.films.items():
            for run in self.results:
                for name in run[case].failed:
                    film_of.setdefault(name, film.anchor)
        told: dict[str, list[Share]] = {}
        failures, demanded = Counter[str](), Counter[str]()
        for index, results in enumerate(self.results):
            verdicts: dict[str, dict[int, bool | None]] = {}
            for i, result in results.items():
                for name, measured in result.criteria.items():
                    verdicts.setdefault(name, {})[i] = measured.passed
            for name, of in verdicts.items():
                known = {i: float(passed) for i, passed in of.items() if passed is not None}
                lost = sum(value == 0.0 for value in known.values())
                unknown = f", {len(of) - len(known):,} unknown" if len(known) < len(of) else ""
                shares = told.setdefault(name, [Share(value=None)] * len(self.runs))
                shares[index] = self._share(index, known, f"{lost:,} failed{unknown}")
                failures[name] += lost
                demanded[name] = max(demanded[name], len(of))
        rows: list[list[Cell]] = [
            [Link(text=name, to=f"#{film_of[name]}") if name in film_of else name,
             self._meaning(name), demanded[name], *told[name]]
            for name in sorted(told, key=lambda n: (-failures[n], n))
        ]  # fmt: skip
        return Section(
            title="What failed",
            text="Of each criterion the share of cases that met it, of those in which it could be judged; what "
            "cannot be known, for want of a map or of lights, has no say. Names lead to a case that fails it.",
            sheets=[
                Sheet(
                    columns=["criterion", "what it demands", "cases", *self._labels()], rows=rows,
                    caption="By criterion",
                )
            ],
        )  # fmt: skip

    def _meaning(self, name: str) -> str:
        if name in CRITERIA:
            criterion = CRITERIA[name]
            return f"{criterion.doc}{f' [{criterion.unit}]' if criterion.unit else ''}"
        if name in DEMANDS:
            return DEMANDS[name].doc
        queries = {
            str(case.criteria[name]) for case in self.cases.values() if name in case.criteria
        }
        return "; ".join(sorted(queries)) or "a query"

    def _rows(self, cases: Sequence[int]) -> list[list[Cell]]:
        """A row for each case: which, and how each planner fared."""
        rows: list[list[Cell]] = []
        for i in cases:
            case = self.cases[i]
            name = str(case.provenance.get("scene", case.scene_id))
            rows.append([
                Link(text=name, to=f"#{self.films[i].anchor}") if i in self.films else name,
                str(i), ", ".join(case.tags[:4]) + (", …" if len(case.tags) > 4 else ""),
                *(_verdict(run[i]) for run in self.results),
            ])  # fmt: skip
        return rows

    def _lost_section(self) -> Section:
        left = len(self.lost) - LISTED
        more = (
            f"The {LISTED} of the lowest score; {left:,} more did not pass. All are in the lake: "
            'scenelake sql "select * from results where run_id = … and not passed".'
        )
        return Section(
            title="All that did not pass",
            text="" if self.lost else "Every case was passed.",
            sheets=[
                Sheet(
                    columns=["scene", "case", "tags", *self._labels()],
                    rows=self._rows(self.lost[:LISTED]), note=more if left > 0 else "",
                    caption="Cases that did not pass, the lowest score first",
                )
            ],
        )  # fmt: skip

    def _worst_section(self) -> Section:
        rows = self._rows(list(self.films))
        if self.unseen and self.lost:
            return Section(
                title="Worst cases",
                text=f"No case is shown in motion: {self.unseen}, so that how others moved in it is not known.",
            )
        share = f"{len(self.films):,} of the {len(self.lost):,} cases that not everyone passed"
        return Section(
            title="Worst cases",
            text=f"{share} are shown in motion: of each criterion in turn the one with the lowest score. "
            "The ego is where it was in the run; the others were simulated round it anew. A cross in a red ring marks where the "
            "ego was when a criterion was lost, red who else was concerned, a small circle the goal, and a dashed line the recorded drive."
            if self.lost
            else "Every case was passed.",
            sheets=[
                Sheet(
                    columns=["scene", "case", "tags", *self._labels()], rows=rows,
                    caption="Shown below",
                )
            ]
            if rows
            else [],
            films=list(self.films.values()),
        )  # fmt: skip

    def _kinds_section(self) -> Section:
        sheets = []
        told: list[list[list[int]]] = []
        for kind, groups in self._kinds().items():
            # What was drawn by road type is the same by stratum and by road.
            if len(groups) < 2 or sorted(groups.values()) in told:
                continue
            told.append(sorted(groups.values()))
            shares = {
                name: [self._rate(run, cases) for run in range(len(self.runs))]
                for name, cases in groups.items()
            }
            order = sorted(
                groups, key=lambda name: (sum(s.value or 0.0 for s in shares[name]), name)
            )
            rows: list[list[Cell]] = [
                [name, len(groups[name]), *shares[name]] for name in order[:GROUPS]
            ]
            left = len(groups) - len(rows)
            note = f"{left} more fare better." if left else ""
            sheets.append(
                Sheet(
                    columns=[kind, "cases", *self._labels()], rows=rows, caption=f"By {kind}",
                    note=note,
                )
            )  # fmt: skip
        return Section(
            title="In which scenes",
            text="Pass rates by kind of scene, the lowest first. Groups of few cases have wide intervals, and among many "
            "groups some look bad by chance.",
            sheets=sheets,
        )

    def _kinds(self) -> dict[str, dict[str, list[int]]]:
        """Kind of grouping to group to its cases."""
        columns = ["scene_id", "road_type", "weather", "daylight"]
        scenes = {row["scene_id"]: row for row in self.lake.read("scenes", columns).to_pylist()}
        clusters = self._clusters()
        made: dict[str, dict[str, list[int]]] = {
            kind: {} for kind in ("stratum", "road", "weather", "light", "cluster", "tag")
        }
        for i, case in self.cases.items():
            scene = scenes.get(case.scene_id, {})
            of = {
                "road": scene.get("road_type"), "weather": scene.get("weather"),
                "light": scene.get("daylight"), "cluster": clusters.get(case.scene_id),
            }  # fmt: skip
            for kind, name in of.items():
                made[kind].setdefault(name or "unknown", []).append(i)
            if case.stratum:
                made["stratum"].setdefault(case.stratum, []).append(i)
            for tag in case.tags:
                made["tag"].setdefault(tag, []).append(i)
        return made

    def _clusters(self) -> dict[int, str]:
        """The finest cluster of each scene, with its description."""
        levels = self.lake.read("clusters", ["level"])["level"].to_pylist()
        if not levels:
            return {}
        rows = self.lake.read(
            "clusters", ["scene_id", "cluster_id", "description"], f"level = {max(levels)}"
        ).to_pylist()
        return {row["scene_id"]: f"{row['cluster_id']}: {row['description']}" for row in rows}

    def _provenance_section(self) -> Section:
        facts = [_facts(run) for run in self.runs]
        rows: list[list[Cell]] = [[name, *(of[name] for of in facts)] for name in facts[0]]
        sheets = [Sheet(columns=["", *self._labels()], rows=rows, caption="Runs")]
        if self.built:
            row = self.built[0]
            selection = json.loads(row["selection"])
            about: list[list[Cell]] = [
                ["name", self.suite],
                ["cases", f"{row['n_cases']:,}"],
                ["seed", str(row["seed"])],
                ["made by run", str(row["run_id"])],
                *([key, _plain(value)] for key, value in selection.items() if value is not None),
                ["lake tables read", _versions(row["tables"])],
            ]
            sheets.append(Sheet(columns=["", "value"], rows=about, caption="Suite"))
        return Section(
            title="Where this is from",
            text="Each case is drawn, driven and judged from these; the digest is of all that a run found, and the same "
            "planner on the same suite gives the same one.",
            sheets=sheets,
        )

    def _labels(self) -> list[str]:
        return [run.label for run in self.runs]

    def _can_be_seen(self, case: int) -> bool:
        """Whether any run kept a drive of it, and the suite still tells how the others move."""
        kept = any(len(run[case].trajectory) > 1 for run in self.results)
        return kept and not self.unseen

    def _why_unseen(self) -> str:
        """Why what the others did can no longer be told; empty if it can."""
        if self._built_anew():
            return "the suite was built anew after one of these runs"
        then = {str(run.row.get("model") or UNNAMED) for run in self.runs if _is_drawn(run)}
        if not then:
            return ""
        try:
            now = installed()
        except UnreadableFile:
            now = "none"
        if then == {now}:
            return ""
        return f"others were driven by {', '.join(sorted(then))} in these runs, and what is installed is {now}"

    def _built_anew(self) -> bool:
        """Whether the suite, as it is now, is younger than a run of which the cases are known no more."""
        where = f"suite = {literal(self.suite)}"
        ids = [run.report.run_id for run in self.runs]
        return any(
            as_driven(self.lake, i, where) is None and built_since(self.lake, self.suite, i)
            for i in ids
        )

    def _films(
        self, cases: Sequence[int], progress: Callable[[int, int], None] | None
    ) -> dict[int, Film]:
        there = set(self.lake.scene_ids())
        films = {}
        for done, i in enumerate(cases):
            scene_id = self.cases[i].scene_id
            film = self._film(i, self.lake.scene(scene_id)) if scene_id in there else None
            if film is not None:
                films[i] = film
            if progress is not None:
                progress(done + 1, len(cases))
        return films

    def _film(self, case_id: int, scene: Scene) -> Film | None:
        panels, missing = [], []
        case = self.cases[case_id]
        for run, results in zip(self.runs, self.results, strict=True):
            result = results[case_id]
            try:
                panels.append(_panel(run.label, result, scene))
            except MissingData as error:
                why = error.message if result.status == DONE else result.status
                missing.append(f"No drive of {run.label} is kept: {why}")
        if not panels:
            return None
        who = np.flatnonzero(scene.tracks.track_id == case.ego_track_id)[0]
        seen = case.start_step + np.flatnonzero(scene.tracks.valid[who, case.start_step :])
        name = str(case.provenance.get("scene", scene.name))
        told = [
            ", ".join(case.tags[:6]),
            _OTHERS.get(case.agents, f"the others move by {case.agents}"),
            f"scene {case.scene_id}, taken over {case.start_step * DT:.1f} s in",
            *missing,
        ]
        return Film(
            key=str(case.case_id),
            title=f"Case {case.case_id}: {name}",
            text="; ".join(filter(None, told)) + ".",
            panels=panels,
            recorded=scene.tracks.xy[who, seen].astype(np.float64),
            goal=case.goal,
        )


_OTHERS = {
    "log": "the others replay their log",
    "constant_velocity": "the others keep their velocity",
    "idm": "the others drive by IDM",
    "log_then_idm": "the others replay their log until one would ram somebody",
    "mobil": "the others drive by IDM and change lanes by MOBIL",
    "yielding": "people and cyclists wait for gaps, the others replay their log",
    "diffusion": "the others drive as the generator draws it, anew every 0.8 s",
}
"""How the others of a case move, in words; a mixture speaks for itself."""


def _panel(label: str, result: Result, scene: Scene) -> Panel:
    """A drive as a panel, with the moments at which it was lost."""
    rollout = replayed([(result, scene)])
    driven = DrivenScenes().of(rollout, 0)
    lost = moments(result, rollout, driven)
    marks = [
        Mark(
            step=moment.step,
            text=_failure(result, name) + (" (could be met until then)" if moment.at_end else ""),
            others=moment.others,
        )
        for name, moment in lost.items()
    ]
    notes = [
        f"{_failure(result, name)}, when is not known"
        for name in result.failed
        if name not in lost
    ]
    if result.status != DONE:
        notes.append(result.status)
    return Panel(
        title=label,
        text=_verdict(result, brief=True),
        scene=driven,
        marks=sorted(marks, key=lambda mark: mark.step),
        notes=notes,
    )


def _verdict(result: Result, *, brief: bool = False) -> str:
    """How a case ended, in a phrase."""
    if result.status != DONE:
        return "errored" if brief else f"errored: {result.status}"
    if result.passed:
        return f"passed, score {result.score:.2f}"
    return f"failed, score {result.score:.2f}" + ("" if brief else f": {', '.join(result.failed)}")


def _failure(result: Result, name: str) -> str:
    """A failed criterion with what was measured."""
    measured = result.criteria[name]
    detail = f"; {measured.detail}" if measured.detail else ""
    if name not in CRITERIA or measured.value is None:
        return f"{name}{detail}"
    unit = f" {CRITERIA[name].unit}" if CRITERIA[name].unit else ""
    sense = {AT_MOST: "at most", AT_LEAST: "at least"}[CRITERIA[name].sense]
    return f"{name}: {measured.value:.2f}{unit}, {sense} {measured.bound:g} wanted{detail}"


def _is_drawn(run: _Run) -> bool:
    """Whether others were driven by the generator in a run."""
    return any(map(is_drawn, {result.case.agents for result in run.results.values()}))


def _facts(run: _Run) -> dict[str, str]:
    """Where a run is from."""
    row = run.row
    params = json.loads(row["params"]) if row else {}
    command = f"suite run {run.report.suite} --planner {params.get('planner', run.report.planner)}"
    for option in ("batch", "jobs"):
        if option in params:
            command += f" --{option} {params[option]}"
    started, took = "not known: it was killed before it could tell", ""
    if row:
        begun = datetime.datetime.fromtimestamp(row["started_unix_ns"] / 1e9, datetime.UTC)
        started = f"{begun:%Y-%m-%d %H:%M} UTC"
        took = f"{(row['finished_unix_ns'] - row['started_unix_ns']) / 1e9:.1f} s"
    return {
        "run": str(run.report.run_id),
        "command": f"scenelake {command}",
        "Scenelake": str(row.get("code_version", "not known")),
        "others driven by": str(row.get("model") or UNNAMED) if _is_drawn(run) else "no weights",
        "began": started,
        "took": took,
        "outcome": str(row.get("outcome", "not known")),
        "cases driven": f"{run.report.cases:,}",
        "digest": f"{run.report.digest[:16]}…",
        "lake tables read": _versions(row["tables"]) if row else "not known",
    }


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _versions(tables: str) -> str:
    """Versions of the tables that matter to a suite."""
    read = json.loads(tables)
    told = ("suites", "cases", "scenes", "dense", "tracks", "map_features", "lights")
    return ", ".join(f"{name} {read[name]}" for name in told if name in read)
