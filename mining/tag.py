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

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake import Lake
from lake.ids import stable_ids
from lake.json_text import as_json
from lake.workers import rarer_collections
from mining.criticality.table import criticality_table
from mining.looked import MARKED, adopt, mark, missing, tidy
from mining.motion import Motion
from mining.predicates import PREDICATES, Interval, chosen, tag_scene
from schemas.labels import Truth
from schemas.scene import DT, Scene
from schemas.tables import TABLES

SCENES_A_BATCH = 32
BATCHES_A_COMMIT = 16
ROWS_A_COMMIT = 50_000  # a scene of hundreds who all pass each other has that many
STEP_NS = round(DT * 1e9)
SCHEMA = pa.schema([f for f in TABLES["events"].schema if f.name != "run_id"])
"""Of rows of ``events`` before they are told which run they are of."""
TRUTHS = Truth.words()

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

    def add(self, rows: pa.Table) -> None:
        """Count rows of ``events`` that are all there are of their scenes and names."""
        sure = rows.filter(pc.equal(rows["truth"], "true"))
        of_scenes = sure.group_by(["scene_id", "name"]).aggregate([([], "count_all")])
        for scene_name, count in zip(
            of_scenes["name"].to_pylist(), of_scenes["count_all"].to_pylist(), strict=True
        ):
            self.by_name[scene_name] += count
            self.scenes_by_name[scene_name] += 1
        self.unknown += rows.num_rows - sure.num_rows

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
) -> Iterator[tuple[int, pa.Table]]:
    """Tag scenes; yields how many are done, and the rows of the latest, which may not be stored yet.

    What is found in a scene that another process removes or replaces meanwhile is not kept.
    """
    made = _made_by(lake)
    ids = _by_map(lake, ids)
    batches = [ids[k : k + SCENES_A_BATCH] for k in range(0, len(ids), SCENES_A_BATCH)]
    pending: list[pa.Table] = []
    measured: list[pa.Table] = []
    tagged: list[int] = []
    done = 0
    for batch, work in _worked(lake, names, batches, jobs):
        pending.append(work.events)
        measured += work.criticality
        tagged += batch
        done += len(batch)
        enough = len(tagged) >= BATCHES_A_COMMIT * SCENES_A_BATCH
        enough |= sum(rows.num_rows for rows in pending) >= ROWS_A_COMMIT
        if enough or done == len(ids):
            with lake.store.writing():
                now = _made_by(lake, f"scene_id in ({', '.join(map(str, tagged))})")
                gone = {i for i in tagged if now.get(i) != made.get(i)}
                tagged = [i for i in tagged if i not in gone]
                lake.replace("events", _kept(pending, gone, run_id), where=_of(names, tagged))
                if measured:
                    told = _kept(measured, gone, run_id)
                    numbers = ", ".join(map(str, tagged)) or "null"
                    lake.replace("criticality", told, where=f"scene_id in ({numbers})")
                mark(lake, tagged, run_id)
            pending, measured, tagged = [], [], []
        yield done, work.events


def _by_map(lake: Lake, ids: Sequence[int]) -> list[int]:
    """Scenes of one map, and of one log, one after the other: lanes are joined once for all of them."""
    logs = lake.read("logs", ["log_id", "map_id"])
    map_of = dict(zip(logs["log_id"].to_pylist(), logs["map_id"].to_pylist(), strict=True))
    scenes = lake.read("scenes", ["scene_id", "log_id"])
    log_of = dict(zip(scenes["scene_id"].to_pylist(), scenes["log_id"].to_pylist(), strict=True))
    place = {i: (map_of.get(log) or 0, log) for i, log in log_of.items()}
    return sorted(ids, key=lambda i: place.get(i, (0, 0)))


def _made_by(lake: Lake, where: str | None = None) -> dict[int, int]:
    """The run that made each scene; a scene that comes in anew keeps its id."""
    rows = lake.read("scenes", ["scene_id", "run_id"], where)
    return dict(zip(rows["scene_id"].to_pylist(), rows["run_id"].to_pylist(), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What came of a batch: rows of ``events`` and tables of ``criticality``, but for their run."""

    events: pa.Table
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
    events, criticality = [SCHEMA.empty_table()], []
    predicates = [name for name in names if name != CRITICALITY]
    with rarer_collections():
        for scene in lake.scenes(scene_ids):
            if scene.steps == 0 or not len(scene.tracks.track_id):
                continue
            rows, measures = _found_in(scene, predicates, measured=CRITICALITY in names)
            events.append(rows)
            criticality += measures
    return _Work(events=pa.concat_tables(events), criticality=criticality)


def _found_in(
    scene: Scene, predicates: Sequence[str], *, measured: bool
) -> tuple[pa.Table, list[pa.Table]]:
    """Events of a scene, and its criticality if that is asked for; all else is gone with the call."""
    motion = Motion(scene)
    found = tag_scene(scene, predicates, motion=motion)
    criticality = [criticality_table(motion)] if measured else []
    # Of a crowd it is as large as the rows that are made of it; what is kept with it knows it in turn, so
    # that both would stay until garbage is next looked for.
    motion.kept.clear()
    del motion
    return event_table(scene, found), criticality


def _kept(found: Sequence[pa.Table], gone: Iterable[int], run_id: int) -> pa.Table:
    """What was found in scenes that are still there, with the run that found it."""
    rows = pa.concat_tables(found)
    there = pc.invert(pc.is_in(rows["scene_id"], pa.array(gone, type=pa.int64())))
    rows = rows.filter(there)
    return rows.append_column("run_id", pa.repeat(pa.scalar(run_id, pa.int64()), rows.num_rows))


def event_table(scene: Scene, intervals: Iterable[Interval]) -> pa.Table:
    """Rows of ``events`` for the intervals of a scene, but for their run."""
    told = list(intervals)
    names, begins, ends, actors, others, lanes, truths, values, evidence, _ = (
        map(list, zip(*told, strict=True)) if told else ([] for _ in Interval._fields)
    )
    t0_ns, t1_ns = (
        (scene.t0_ns + STEP_NS * np.array(steps, dtype=np.int64)).tolist()
        for steps in (begins, ends)
    )
    words = [TRUTHS[truth] for truth in truths]
    key = (names, t0_ns, t1_ns, actors, others, words)
    columns = {
        "event_id": stable_ids("rule", scene.scene_id, columns=(*key, _repeats(*key))),
        "log_id": np.full(len(told), scene.log_id),
        "scene_id": np.full(len(told), scene.scene_id),
        "name": names,
        "t0_ns": t0_ns,
        "t1_ns": t1_ns,
        "actor_id": actors,
        "other_id": others,
        "lane_id": lanes,
        "truth": words,
        "value": [
            value if value is not None and math.isfinite(value) else None for value in values
        ],
        "evidence": list(map(evidence_text, evidence)),
        "params": _params(told),
        "source": ["rule"] * len(told),
        "rule_version": [PREDICATES[name].version for name in names],
    }
    return pa.table({f.name: pa.array(columns[f.name], type=f.type) for f in SCHEMA}, SCHEMA)


def _repeats(*columns: Sequence[object]) -> list[int]:
    """How often each row has come up by then, itself included."""
    count: dict[tuple[object, ...], int] = {}
    told = []
    for row in zip(*columns, strict=True):
        count[row] = n = count.get(row, 0) + 1
        told.append(n)
    return told


def _params(intervals: Iterable[Interval]) -> list[str]:
    """Their parameters as JSON: the same for all of a predicate, and from scene to scene."""
    told = []
    for interval in intervals:
        known = _PARAMS.get(interval.name)
        if known is None or known[0] is not interval.params:
            known = _PARAMS[interval.name] = interval.params, as_json(dict(interval.params))
        told.append(known[1])
    return told


_PARAMS: dict[str, tuple[Mapping[str, Any], str]] = {}
"""Of each predicate the parameters that were told last, and their text."""


def evidence_text(evidence: Mapping[str, Any]) -> str:
    """Evidence as JSON, which knows no infinity; three decimals are more than a number is worth."""
    if not evidence:
        return "{}"
    parts = []
    for name in sorted(evidence):
        value = evidence[name]
        if type(value) is not float or not math.isfinite(value):
            return as_json({name: _finite(value) for name, value in evidence.items()})
        parts.append(f'"{name}": {round(value, 3)!r}')
    return "{" + ", ".join(parts) + "}"  # nearly all of it; an encoder takes five times as long


def _finite(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return round(value, 3) if math.isfinite(value) else None


def _of(names: Sequence[str], scene_ids: Sequence[int]) -> str:
    quoted = ", ".join(f"'{name}'" for name in names)
    numbers = ", ".join(map(str, scene_ids)) or "null"
    return f"source = 'rule' and name in ({quoted}) and scene_id in ({numbers})"
