"""Predicates over the scenes of a lake: fills ``events``, and ``criticality`` beside.

Only what is missing is done: scenes that were not looked through for a predicate as it is meant now
(:mod:`mining.looked`); so a run that was stopped goes on where it was. Rows of the same predicates and
scenes give way; tags of the source and of models are left alone. Criticality is measured wherever a
predicate of risk is asked for, and what is found in a scene is written in one step.
"""

from __future__ import annotations

import math
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from lake import Lake
from lake.convert import as_json
from lake.ids import stable_id
from mining.criticality.table import criticality_table
from mining.looked import MARKED, adopt, mark, missing, tidy
from mining.motion import Motion
from mining.predicates import PREDICATES, Interval, chosen, tag_scene
from schemas.labels import Truth
from schemas.scene import DT, Scene

SCENES_A_BATCH = 32
BATCHES_A_COMMIT = 16
ROWS_A_COMMIT = 50_000  # a scene of hundreds who all pass each other has that many
STEP_NS = round(DT * 1e9)


CRITICALITY, CRITICALITY_VERSION = "criticality", 1
"""Measured beside the predicates of risk, and looked for like one; its version says what it means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagReport:
    """What tagging did.

    Attributes:
        run_ids: The runs that made the rows, one for each set of names that some scenes lacked.
        scenes: How many scenes were tagged.
        up_to_date: How many had been looked through for all of it before.
        untagged: How many could not be, since they were not looked through for what a rule asks.
        events: Intervals that hold.
        unknown: Intervals that could not be known.
        by_name: Intervals that hold, by predicate that was looked for; those with none are 0.
        scenes_by_name: Scenes with at least one of them.
    """

    run_ids: tuple[int, ...]
    scenes: int
    up_to_date: int
    untagged: int = 0
    events: int
    unknown: int
    by_name: Mapping[str, int]
    scenes_by_name: Mapping[str, int]


@dataclass(slots=True)
class Found:
    """What was found so far, counted."""

    by_name: Counter[str] = field(default_factory=Counter)
    scenes_by_name: Counter[str] = field(default_factory=Counter)
    unknown: int = 0

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Count rows of ``events`` that are all there are of their scenes and names."""
        sure = [row for row in rows if row["truth"] == "true"]
        self.by_name.update(row["name"] for row in sure)
        self.scenes_by_name.update(name for _, name in {(r["scene_id"], r["name"]) for r in sure})
        self.unknown += len(rows) - len(sure)

    def summary(self, scenes: int) -> dict[str, int]:
        """As a run tells it."""
        return {"scenes": scenes, "events": self.by_name.total(), "unknown": self.unknown}

    def report(
        self, names: Iterable[str], *, run_ids: Iterable[int], scenes: int, up_to_date: int,
        untagged: int = 0,
    ) -> TagReport:  # fmt: skip
        """Of all that was looked for."""
        names = list(dict.fromkeys(names))
        return TagReport(
            run_ids=tuple(run_ids), scenes=scenes, up_to_date=up_to_date, untagged=untagged,
            events=self.by_name.total(), unknown=self.unknown,
            by_name={name: self.by_name[name] for name in names},
            scenes_by_name={name: self.scenes_by_name[name] for name in names},
        )  # fmt: skip


def tag(
    lake: Lake,
    *,
    only: Iterable[str] | None = None,
    scene_ids: Sequence[int] | None = None,
    again: bool = False,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> TagReport:
    """Run predicates over the scenes that were not looked through for them, and store what they find.

    Args:
        lake: Whose scenes; its ``events`` and ``criticality`` are written.
        only: Names of predicates; all by default.
        scene_ids: Which scenes; all by default.
        again: Do what is up to date, too.
        jobs: Processes to share the work between.
        progress: Called with scenes done and scenes in all.

    Raises:
        UnknownName: There is no such predicate or scene.
    """
    names = [predicate.name for predicate in chosen(only)]
    ids = lake.scene_ids() if scene_ids is None else list(dict.fromkeys(scene_ids))
    meant = {name: PREDICATES[name].version for name in names}
    if any(PREDICATES[name].group == "risk" for name in names):
        meant[CRITICALITY] = CRITICALITY_VERSION
    adopt(lake)
    todo = {tuple(meant): ids} if again and ids else missing(lake, meant, ids)
    scenes = sum(map(len, todo.values()))
    found = Found()
    run_ids: list[int] = []
    before = 0
    for lacking, those in todo.items():
        told = {
            "only": [name for name in lacking if name != CRITICALITY],
            "meant": {name: meant[name] for name in lacking},
            "scenes": len(those), "jobs": jobs, **MARKED,
        }  # fmt: skip
        with lake.run("mine tag", params=told, announced=True) as run:
            run_ids.append(run.id)
            mine = Found()
            for done, rows in _tagged(lake, lacking, those, jobs, run.id):
                mine.add(rows)
                found.add(rows)
                if progress is not None:
                    progress(before + done, scenes)
            run.summary.update(mine.summary(len(those)))
        before += len(those)
    if run_ids:
        tidy(lake, run_ids)
        with lake.store.writing():
            lake.store.index()  # queries look events up by name
    looked_for = {name for lacking in todo for name in lacking}
    return found.report(
        (name for name in names if name in looked_for),
        run_ids=run_ids, scenes=scenes, up_to_date=len(ids) - scenes,
    )  # fmt: skip


def _tagged(
    lake: Lake, names: Sequence[str], ids: Sequence[int], jobs: int, run_id: int
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Tag scenes; yields how many are done, and the rows of the latest, which may not be stored yet.

    What is found in a scene that another process removes or replaces meanwhile is not kept.
    """
    made = _made_by(lake)
    batches = [ids[k : k + SCENES_A_BATCH] for k in range(0, len(ids), SCENES_A_BATCH)]
    pending: list[dict[str, Any]] = []
    measured: list[pa.Table] = []
    tagged: list[int] = []
    done = 0
    for batch, work in _worked(lake, names, batches, jobs):
        pending += [{**row, "run_id": run_id} for row in work.events]
        measured += work.criticality
        tagged += batch
        done += len(batch)
        enough = len(tagged) >= BATCHES_A_COMMIT * SCENES_A_BATCH
        if enough or len(pending) >= ROWS_A_COMMIT or done == len(ids):
            with lake.store.writing():
                now = _made_by(lake, f"scene_id in ({', '.join(map(str, tagged))})")
                gone = {i for i in tagged if now.get(i) != made.get(i)}
                if gone:
                    tagged = [i for i in tagged if i not in gone]
                    pending = [row for row in pending if row["scene_id"] not in gone]
                    measured = [t for t in measured if t["scene_id"][0].as_py() not in gone]
                lake.replace("events", pending, where=_of(names, tagged))
                if measured:
                    _replace_criticality(lake, measured, tagged, run_id)
                mark(lake, tagged, run_id)
            pending, measured, tagged = [], [], []
        yield done, work.events


def _made_by(lake: Lake, where: str | None = None) -> dict[int, int]:
    """The run that made each scene; a scene that comes in anew keeps its id."""
    rows = lake.read("scenes", ["scene_id", "run_id"], where)
    return dict(zip(rows["scene_id"].to_pylist(), rows["run_id"].to_pylist(), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What came of a batch: rows of ``events`` and tables of ``criticality``, but for their run."""

    events: list[dict[str, Any]]
    criticality: list[pa.Table]


def _worked(
    lake: Lake, names: Sequence[str], batches: Sequence[Sequence[int]], jobs: int
) -> Iterator[tuple[Sequence[int], _Work]]:
    if jobs <= 1 or len(batches) <= 1:
        for batch in batches:
            yield batch, _work_on(lake, names, batch)
        return
    # Lance keeps threads, which a forked process would inherit locked: start afresh.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=min(jobs, len(batches)), mp_context=context) as pool:
        yield from zip(batches, pool.map(partial(_work, lake.uri, names), batches), strict=True)


def _work(uri: str, names: Sequence[str], scene_ids: Sequence[int]) -> _Work:
    return _work_on(Lake.open(uri), names, scene_ids)


def _work_on(lake: Lake, names: Sequence[str], scene_ids: Sequence[int]) -> _Work:
    work = _Work(events=[], criticality=[])
    predicates = [name for name in names if name != CRITICALITY]
    for scene in lake.scenes(scene_ids):
        if scene.steps == 0 or not len(scene.tracks.track_id):
            continue
        motion = Motion(scene)
        work.events.extend(event_rows(scene, tag_scene(scene, predicates, motion=motion)))
        if CRITICALITY in names:
            work.criticality.append(criticality_table(motion))
    return work


def _replace_criticality(
    lake: Lake, measured: Sequence[pa.Table], scene_ids: Sequence[int], run_id: int
) -> None:
    rows = pa.concat_tables(measured)
    rows = rows.append_column("run_id", pa.repeat(pa.scalar(run_id, pa.int64()), rows.num_rows))
    numbers = ", ".join(map(str, scene_ids))
    lake.replace("criticality", rows, where=f"scene_id in ({numbers})")


def event_rows(scene: Scene, intervals: Iterable[Interval]) -> list[dict[str, Any]]:
    """Rows of ``events`` for the intervals of a scene, but for their run."""
    rows = []
    told = Counter[tuple[Any, ...]]()
    params: dict[str, tuple[Mapping[str, Any], str]] = {}  # the same for all of a predicate
    for interval in intervals:
        if params.get(interval.name, (None,))[0] is not interval.params:
            params[interval.name] = interval.params, as_json(dict(interval.params))
        t0_ns = scene.t0_ns + interval.begin_step * STEP_NS
        t1_ns = scene.t0_ns + interval.end_step * STEP_NS
        truth = Truth(interval.truth).word
        key = (scene.scene_id, interval.name, t0_ns, t1_ns, interval.actor, interval.other, truth)
        told[key] += 1
        number = interval.value
        rows.append(
            {
                "event_id": stable_id("rule", *key, told[key]),
                "log_id": scene.log_id,
                "scene_id": scene.scene_id,
                "name": interval.name,
                "t0_ns": t0_ns,
                "t1_ns": t1_ns,
                "actor_id": interval.actor,
                "other_id": interval.other,
                "lane_id": interval.lane,
                "truth": truth,
                "value": number if number is not None and math.isfinite(number) else None,
                "evidence": as_json(_finite(interval.evidence)),
                "params": params[interval.name][1],
                "source": "rule",
                "rule_version": PREDICATES[interval.name].version,
            }
        )
    return rows


def _finite(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity; three decimals are more than any of the numbers is worth."""
    told = {}
    for name, value in evidence.items():
        if isinstance(value, float):
            told[name] = round(value, 3) if math.isfinite(value) else None
        else:
            told[name] = value
    return told


def _of(names: Sequence[str], scene_ids: Sequence[int]) -> str:
    quoted = ", ".join(f"'{name}'" for name in names)
    numbers = ", ".join(map(str, scene_ids)) or "null"
    return f"source = 'rule' and name in ({quoted}) and scene_id in ({numbers})"
