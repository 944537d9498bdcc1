"""The whole loop on a procedural world, told step by step and in one HTML report.

Logs are written in a public format and read back by the ordinary reader; every step after that is
the same library call that the commands make. Each step continues what an interrupted run left.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cli.output import count, plain, progress, tell
from formats.page import EmbeddingMap, Picture, Report, Section, Sheet, write_report

if TYPE_CHECKING:
    from generation.generate import GenerateReport
    from lake import Lake
    from mining.cluster import ClusterReport
    from mining.coverage import Coverage
    from mining.rare import RareReport
    from simulation.suites import RunReport

SUITE = "demo"
SUITE_PAGE = "suite.html"
PLANNERS = ("constant_velocity", "idm", "pdm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much a demo makes.

    Attributes:
        logs: Logs of 20 s.
        filmed: How many of them carry camera images and lidar.
        gaps: How many gaps are filled.
        per_gap: Accepted scenarios wanted for each.
        cases: Cases of the suite, at most.
        exported: Cases exported, at most.
        pictures: Rarest scenes shown, at most.
    """

    logs: int
    filmed: int
    gaps: int
    per_gap: int
    cases: int
    exported: int
    pictures: int


SCALES = {
    "tiny": Scale(logs=10, filmed=1, gaps=1, per_gap=1, cases=12, exported=2, pictures=3),
    "small": Scale(logs=64, filmed=3, gaps=4, per_gap=3, cases=80, exported=6, pictures=8),
    "full": Scale(logs=300, filmed=8, gaps=12, per_gap=5, cases=400, exported=12, pictures=12),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """How well rarity finds the behaviours that were planted.

    Attributes:
        scenes: Scenes of logs.
        planted: Those that hold a planted behaviour.
        looked_at: The rarest tenth.
        found: Planted ones among these.
        lift: Share among these ÷ share among all; None if nothing was planted.
    """

    scenes: int
    planted: int
    looked_at: int
    found: int
    lift: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """What the demo did.

    Attributes:
        report: The page to open.
        lake: Folder of the lake.
        wall_s: Seconds by step.
        logs: How many logs are in the lake.
        scenes: How many scenes, generated ones included.
        rare: How well rarity found what was planted.
        gaps: Gap → scenes before and after.
        runs: Planner → share of cases passed.
        exported: Files written.
    """

    report: Path
    lake: Path
    wall_s: Mapping[str, float]
    logs: int
    scenes: int
    rare: Hits
    gaps: Mapping[str, Mapping[str, int]]
    runs: Mapping[str, float]
    exported: Sequence[Path]


@dataclass(slots=True)
class _Tour:
    """The run of a demo: where, how much, and how long each step took."""

    out: Path
    scale: Scale
    seed: int
    quiet: bool
    wall_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, why: str) -> Iterator[Any]:
        """A step with its progress bar; told before and timed."""
        if not self.quiet:
            tell(f"[{len(self.wall_s) + 1}/9] {name}: {why}")
        began = time.monotonic()
        with progress(name, quiet=self.quiet) as tick:
            yield tick
        self.wall_s[name] = round(time.monotonic() - began, 1)


def run(out: Path, *, size: str = "small", seed: int = 0, quiet: bool = False) -> DemoReport:
    """The whole loop.

    Args:
        out: Folder for logs, lake, exports and the report; what is there is continued.
        size: ``tiny``, ``small`` or ``full``.
        seed: Of the world and every later choice.
        quiet: Tell nothing on the way.

    Returns:
        What was done, and where the report is.
    """
    from encoders.embed import encode
    from lake import Lake
    from mining.cluster import cluster
    from mining.coverage import coverage
    from mining.rare import rare
    from mining.tag import tag
    from simulation.exporting import export
    from simulation.suites import build, write_page
    from simulation.suites import run as drive
    from simulation.world import write_world

    tour = _Tour(out, SCALES[size], seed, quiet)
    scale = tour.scale
    logs = out / "logs"
    with tour.step(
        "World", f"{count(scale.logs, 'drive log')} of 20 s, some with cameras and lidar"
    ) as tick:
        write_world(logs / "filmed", logs=scale.filmed, seed=seed, sensors=True, progress=tick)
        rest = scale.logs - scale.filmed
        write_world(logs / "drives", logs=rest, seed=seed + scale.filmed, jobs=2, progress=tick)
    lake = Lake.open_or_create(out / "lake")
    with tour.step("Ingest", "the logs are read like anyone's, into Lance tables") as tick:
        lake.ingest([logs], jobs=2, progress=lambda done, total, _: tick(done, total))
    with tour.step("Tag", "predicates say what happens, when, between whom") as tick:
        tag(lake, progress=tick)
    with tour.step("Encode", "a self-supervised encoder gives each scene a vector") as tick:
        encode(lake, progress=tick)
    with tour.step("Mine", "clusters, the long tail, and what is missing"):
        clusters = cluster(lake, seed=seed)
        tail = rare(lake, k=10**6)
        before = coverage(lake)
    made = _fill(tour, lake, before)
    after = coverage(lake)
    with tour.step("Drive", f"closed-loop cases against {', '.join(PLANNERS)}") as tick:
        build(lake, SUITE, n=scale.cases, seed=seed, replace=True)
        runs = {p: drive(lake, SUITE, p, progress=tick) for p in PLANNERS}
    with tour.step("Export", "OpenSCENARIO and OpenDRIVE for simulators"):
        chosen = _worth_exporting(lake, made, scale.exported)
        exported = (
            export(lake, chosen, to="openscenario", folder=out / "export") if chosen else None
        )
    hits = _hits(lake, logs, tail)
    with tour.step("Report", "one page that tells it all") as tick:
        story = _Story(tour, lake, clusters, tail, before, after, made, runs, hits)
        files = exported.files if exported else ()
        write_page(
            lake, [report.run_id for report in runs.values()], out / SUITE_PAGE,
            animated=scale.pictures,
        )  # fmt: skip
        page = write_report(story.page(files, tick), out / "report.html")
    return DemoReport(
        report=page,
        lake=out / "lake",
        wall_s=tour.wall_s,
        logs=_number(lake, "select count(*) from logs"),
        scenes=_number(lake, "select count(*) from scenes"),
        rare=hits,
        gaps={
            gap: {"before": report.gap.before, "after": report.gap.after}
            for gap, report in made.items()
            if report.gap is not None
        },
        runs={planner: report.passed / max(report.cases, 1) for planner, report in runs.items()},
        exported=list(files),
    )


def _fill(tour: _Tour, lake: Lake, found: Coverage) -> dict[str, GenerateReport]:
    """Scenarios for the most important gaps that the generator knows how to fill."""
    from generation.behaviours import behaviours_for_tag
    from generation.generate import generate
    from generation.request import Request
    from simulation.gates import non_trivial, solvable

    scale = tour.scale
    # One gap a tag, the most important first: a demo should show breadth.
    best: dict[str, str] = {}
    for short in found.gaps:
        if behaviours_for_tag(short.cell.tag):
            best.setdefault(short.cell.tag, short.cell.gap_id)
    gaps = list(best.values())[: scale.gaps]
    made: dict[str, GenerateReport] = {}
    with tour.step(
        "Generate", f"a diffusion model fills {count(len(gaps), 'gap')}, gated"
    ) as tick:
        for index, gap in enumerate(gaps):
            request = Request(gap_id=gap, n=scale.per_gap, seed=tour.seed + index)
            made[gap] = generate(lake, request, [solvable(), non_trivial()])
            tick(index + 1, len(gaps))
    return made


def _worth_exporting(lake: Lake, made: Mapping[str, GenerateReport], most: int) -> str:
    """Accepted scenarios first, then cases of the suite; ids joined by commas."""
    ids = [scenario.scene_id for report in made.values() for scenario in report.scenarios]
    ids += lake.read("cases", columns=["scene_id"], where=f"suite = '{SUITE}'")[
        "scene_id"
    ].to_pylist()
    unique = [scene for scene in dict.fromkeys(ids) if scene is not None]
    return ",".join(str(scene) for scene in unique[:most])


def _hits(lake: Lake, logs: Path, tail: RareReport) -> Hits:
    """Compare the rarest tenth with the truth that the world wrote beside its logs."""
    planted = planted_scenes(lake, logs)
    looked_at = max(1, len(tail.results) // 10)
    found = sum(result.scene_id in planted for result in tail.results[:looked_at])
    base = len(planted) / max(len(tail.results), 1)
    lift = (found / looked_at) / base if base else None
    return Hits(
        scenes=len(tail.results), planted=len(planted), looked_at=looked_at, found=found, lift=lift
    )


def planted_scenes(lake: Lake, logs: Path) -> dict[int, list[str]]:
    """Scenes in which a planted behaviour happens, with its names, from every ``truth.json``."""
    ids = {
        row["source_log_id"]: row["log_id"]
        for row in lake.read("logs", columns=["log_id", "source_log_id"]).to_pylist()
    }
    spans: dict[int, list[tuple[int, int, int]]] = {}
    columns = ["scene_id", "log_id", "t0_ns", "t1_ns"]
    for row in lake.read("scenes", columns=columns).to_pylist():
        spans.setdefault(row["log_id"], []).append((row["scene_id"], row["t0_ns"], row["t1_ns"]))
    found: dict[int, list[str]] = {}
    for path in sorted(logs.rglob("truth.json")):
        for name, truth in json.loads(path.read_text(encoding="utf-8"))["logs"].items():
            for planted in truth["planted"]:
                for scene_id, t0_ns, t1_ns in spans.get(ids.get(name, -1), []):
                    if planted["t0_ns"] <= t1_ns and planted["t1_ns"] >= t0_ns:
                        found.setdefault(scene_id, []).append(planted["name"])
    return found


def _number(lake: Lake, query: str) -> int:
    return int(lake.sql(query).column(0)[0].as_py())


class _Story:
    """Turns what the steps found into the sections of the report."""

    def __init__(
        self,
        tour: _Tour,
        lake: Lake,
        clusters: ClusterReport,
        tail: RareReport,
        before: Coverage,
        after: Coverage,
        made: Mapping[str, GenerateReport],
        runs: Mapping[str, RunReport],
        hits: Hits,
    ) -> None:
        self.tour, self.lake, self.clusters, self.tail = tour, lake, clusters, tail
        self.before, self.after, self.made, self.runs, self.hits = before, after, made, runs, hits
        self.folder = tour.out / "pictures"

    def page(self, files: Sequence[Path], tick: Any) -> Report:
        """The whole report."""
        info = plain(self.lake.info())
        rows = {name: facts["rows"] for name, facts in info["tables"].items()}
        shutil.rmtree(self.folder, ignore_errors=True)
        makers = (
            self._lake_section, self._camera_section, self._cluster_section, self._rare_section,
            self._gap_section, self._suite_section,
        )  # fmt: skip
        sections = []
        for index, make in enumerate(makers):
            sections.append(make())
            tick(index + 1, len(makers))
        sections.append(self._files_section(files))
        best = max(self.runs.items(), key=lambda item: item[1].score)
        return Report(
            title="Scenelake demo",
            text="Drive logs in, closed-loop test suites out: what each step found, read back from the lake.",
            numbers=[
                ("logs", f"{rows['logs']:,}"),
                ("scenes", f"{rows['scenes']:,}"),
                ("agent states", f"{rows['agents']:,}"),
                ("intervals tagged", f"{rows['events']:,}"),
                ("scenarios generated", f"{sum(r.accepted for r in self.made.values()):,}"),
                (f"cases passed by {best[0]}", f"{best[1].passed} of {best[1].cases}"),
                ("seconds", f"{sum(self.tour.wall_s.values()):.0f}"),
            ],
            sections=sections,
        )

    def _lake_section(self) -> Section:
        info = plain(self.lake.info())
        classes = self.lake.sql(
            "select cls, count(*) tracks, sum(n_obs) states, max(v_max) fastest from tracks "
            "group by 1 order by 2 desc"
        ).to_pylist()
        places = self.lake.sql(
            "select road_type, coalesce(weather, 'unknown') weather, "
            "coalesce(daylight, 'unknown') daylight, count(*) scenes from scenes "
            "group by all order by 4 desc limit 12"
        ).to_pylist()
        return Section(
            title="The lake",
            text=f"{info['hours']:.2f} hours and {info['km']:.1f} km of driving as Lance tables, "
            "every one of them a view in SQL.",
            sheets=[
                Sheet(
                    columns=["class", "tracks", "states", "fastest [m/s]"],
                    rows=[
                        [r["cls"], r["tracks"], int(r["states"]), float(r["fastest"] or 0.0)]
                        for r in classes
                    ],
                ),
                Sheet(
                    columns=["road", "weather", "light", "scenes"],
                    rows=[list(row.values()) for row in places],
                ),
            ],
        )

    def _camera_section(self) -> Section:
        rows = self.lake.sql(
            "select uri, channel, log_id, t_ns from frames where codec in ('jpeg', 'jpg') "
            "qualify row_number() over (partition by log_id order by abs(t_ns - 5e9)) = 1 limit 6"
        ).to_pylist()
        pictures = [
            Picture(
                path=Path(row["uri"].removeprefix("file://")),
                title=str(row["channel"]),
                text=f"log {row['log_id']}, {row['t_ns'] / 1e9:.1f} s",
            )
            for row in rows
        ]
        return Section(
            title="Cameras",
            text="Frames are kept by reference, with time, calibration and pose; here one of each filmed log.",
            pictures=pictures,
        )

    def _cluster_section(self) -> Section:
        xy, scene_ids = _plane(self.lake, self.clusters.model)
        where = f"level = 0 and scene_id in ({','.join(map(str, scene_ids)) or '-1'})"
        cluster_of = {
            row["scene_id"]: row["cluster_id"]
            for row in self.lake.read(
                "clusters", columns=["scene_id", "cluster_id"], where=where
            ).to_pylist()
        }
        coarse = self.clusters.levels[0].clusters
        index = {cluster.cluster_id: i for i, cluster in enumerate(coarse)}
        names = {row["scene_id"]: row for row in self.lake.read(
            "scenes", columns=["scene_id", "name", "source", "road_type"]).to_pylist()}  # fmt: skip
        shown = [i for i, scene in enumerate(scene_ids) if scene in cluster_of]
        planted = planted_scenes(self.lake, self.tour.out / "logs")
        marked = {n for n, i in enumerate(shown) if scene_ids[i] in planted}
        return Section(
            title="Patterns",
            text="Each dot is a scene, placed so that like lies by like (t-SNE of the encoder's vectors) and coloured "
            "by cluster; the clusters are described by the tags that set them apart. Rings mark planted rare behaviours.",
            embedding=EmbeddingMap(
                xy=xy[shown],
                group=[index[cluster_of[scene_ids[i]]] for i in shown],
                labels=[
                    f"{names[scene_ids[i]]['name']} ({names[scene_ids[i]]['road_type']})"
                    + (f": {', '.join(planted[scene_ids[i]])}" if scene_ids[i] in planted else "")
                    for i in shown
                ],
                names=[f"{count(c.size, 'scene')}: {c.description}" for c in coarse],
                marked=frozenset(marked),
            ),
        )

    def _rare_section(self) -> Section:
        planted = planted_scenes(self.lake, self.tour.out / "logs")
        pictures = []
        for rank, result in enumerate(self.tail.results[: self.tour.scale.pictures]):
            text = ", ".join(result.tags[:4])
            if result.scene_id in planted:
                text += f" — planted: {', '.join(planted[result.scene_id])}"
            pictures.append(
                self._film(result.scene_id, title=f"{rank + 1}. {result.scene_id}", text=text)
            )
        hits = self.hits
        lift = f"{hits.lift:.1f} ×" if hits.lift is not None else "none planted"
        return Section(
            title="The long tail",
            text="The rarest scenes by vector and tags. The world knows what it planted, so the search can be scored: "
            f"{hits.planted} of {count(hits.scenes, 'scene')} hold a planted behaviour; of the rarest {hits.looked_at}, {hits.found} do.",
            numbers=[("better than chance", lift)],
            pictures=pictures,
        )

    def _gap_section(self) -> Section:
        rows: list[list[str | int | float]] = [
            [gap, report.gap.before, report.gap.after, report.accepted, report.rejected]
            for gap, report in self.made.items()
            if report.gap is not None
        ]
        reasons: dict[str, int] = {}
        for report in self.made.values():
            for gate, times in report.reasons.items():
                reasons[gate] = reasons.get(gate, 0) + times
        pictures = [
            self._film(scenario.scene_id, title=gap, text="generated; passed every gate")
            for gap, report in self.made.items()
            for scenario in report.scenarios[:2]
        ]
        open_gaps: list[list[str | int | float]] = [
            [gap.cell.gap_id, gap.count, gap.generated, gap.wanted] for gap in self.after.gaps[:12]
        ]
        return Section(
            title="Gaps, and what filled them",
            text="A cell of coverage is a tag on a kind of road in certain conditions. The generator fills gaps with scenarios "
            "that pass every gate: drivable, on the road, no crash among others, solvable for a reference planner, too hard for "
            "constant velocity, and true by the same predicate that found the gap.",
            numbers=[
                ("cells covered before", f"{self.before.covered} of {self.before.cells}"),
                ("cells covered after", f"{self.after.covered} of {self.after.cells}"),
                ("unseen mass (Good-Turing)", f"{self.before.unseen_mass:.2f}"),
            ],
            sheets=[
                Sheet(
                    columns=["gap", "scenes before", "after", "accepted", "rejected"], rows=rows
                ),
                Sheet(
                    columns=["rejected by gate", "times"],
                    rows=[list(item) for item in reasons.items()],
                ),
                Sheet(columns=["still open", "of logs", "generated", "wanted"], rows=open_gaps),
            ],
            pictures=pictures,
        )

    def _suite_section(self) -> Section:
        rows: list[list[str | int | float]] = [
            [
                planner,
                report.cases,
                report.passed / max(report.cases, 1),
                report.score,
                f"{report.wall_s:.1f}",
            ]
            for planner, report in self.runs.items()
        ]
        criteria = {planner: plain(report.by_criterion) for planner, report in self.runs.items()}
        names = list(dict.fromkeys(name for by in criteria.values() for name in by))
        by_criterion: list[list[str | int | float]] = []
        for name in names:
            shares: list[str | int | float] = [
                _share(by[name]) if name in by else "–" for by in criteria.values()
            ]
            by_criterion.append([name, *shares])
        return Section(
            title="The suite",
            text="Each case hands the ego to a planner at its start and judges the drive by the case's own criteria.",
            sheets=[
                Sheet(
                    columns=["planner", "cases", "passed", "score", "seconds"], rows=rows,
                    bars=frozenset({"passed"}),
                ),
                Sheet(
                    columns=["criterion", *criteria], rows=by_criterion, bars=frozenset(criteria)
                ),
            ],
            links=[("The planners side by side, with the worst cases in motion", SUITE_PAGE)],
        )  # fmt: skip

    def _files_section(self, files: Sequence[Path]) -> Section:
        steps: list[list[str | int | float]] = [
            [name, seconds] for name, seconds in self.tour.wall_s.items()
        ]
        return Section(
            title="Files and times",
            text="Exported scenarios for simulators, and how long each step took.",
            links=[(path.name, path.relative_to(self.tour.out).as_posix()) for path in files],
            sheets=[Sheet(columns=["step", "seconds"], rows=steps)],
        )

    def _film(self, scene_id: int, *, title: str, text: str) -> Picture:
        from formats.picture import View, write_picture

        view = View(size=300, radius=45.0, emphasis=self._actors(scene_id))
        path = self.folder / f"{scene_id}.gif"
        write_picture(self.lake.scene(scene_id), path, view=view, every=3)
        return Picture(path=path, title=title, text=text)

    def _actors(self, scene_id: int) -> frozenset[int]:
        """Who does what is rare in this scene."""
        rows = self.lake.sql(
            "select e.actor_id, e.other_id from events e join (select name, count(distinct scene_id) n from events "
            "where truth = 'true' group by 1) f using (name) "
            f"where e.scene_id = {scene_id} and e.truth = 'true' order by f.n limit 2"
        ).to_pylist()
        return frozenset(a for row in rows for a in row.values() if a)


def _share(value: Any) -> float:
    """Share of the cases that met a criterion, of those that could be judged."""
    judged = value["passed"] + value["failed"]
    return value["passed"] / judged if judged else 0.0


def _plane(lake: Lake, model: str) -> tuple[np.ndarray[Any, Any], list[int]]:
    """Vectors laid out in two dimensions by t-SNE (van der Maaten and Hinton 2008)."""
    from sklearn.manifold import TSNE

    rows = lake.read("embeddings", columns=["scene_id", "vector"], where=f"model = '{model}'")
    vectors = np.stack(rows["vector"].to_numpy(zero_copy_only=False)).astype(np.float64)
    perplexity = float(np.clip(len(vectors) / 4, 2, 30))
    if len(vectors) <= 3:
        return vectors[:, :2], rows["scene_id"].to_pylist()
    plane = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(vectors)
    return plane, rows["scene_id"].to_pylist()
