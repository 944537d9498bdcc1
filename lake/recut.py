"""Scenes cut anew from logs that are in the lake: no file is read again.

    recut(lake, Sliding(length_s=8, stride_s=2), where="dataset = 'nuplan'")
    recut(lake, Around(event="hard_brake", before_s=5, after_s=5))
    recut(lake, AsSource())  # the source's own scenes, as at ingest

New scenes take the place of those that were cut from the same logs. Scenes on which others rest
(cases of suites, generated scenarios) stay beside them. What was derived from scenes that go (their
tags, vectors, clusters) goes with them: tag and encode again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import pyarrow as pa

from lake.clock import DT_NS
from lake.convert import dense_table, scenes_table
from lake.literals import literal
from lake.parts import read_tables, write_tables
from lake.place import temporary_folder
from lake.rebuild import StoredLog
from lake.remove import OF_SCENE
from lake.scenes import (
    LONGEST_S,
    WINDOW_STEPS,
    Span,
    cut_spans,
    default_spans,
    span_of_window,
    steps_between,
)
from lake.splits import assign
from schemas.errors import BadQuery, MissingData, UnknownName
from schemas.records import Window
from schemas.scene import Scene

if TYPE_CHECKING:
    from lake.lake import Lake

STRETCH_NS = 120 * 10**9  # how much of a log is in memory at once, windows allowing [ns]
BATCH_SCENES = 2000  # scenes committed in one step
BATCH_BYTES = 128 * 2**20  # [bytes] of scenes in memory at once; those of one log wait on disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Sliding:
    """Windows of one length, one after the other; a remainder gives a last one that ends with the log.

    Attributes:
        length_s: From first step to last but one, a multiple of 0.1 [s].
        stride_s: From begin to begin; by default the length, so that none overlap [s].
    """

    length_s: float = 10.0
    stride_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """A window round the begin of each event of one name; clipped to the log.

    Attributes:
        event: As in ``events.name``, of rules or of the source.
        before_s: [s].
        after_s: [s].
        seen: Scenes of which the events of rules count; of all by default. Those of the source always do.

    What may have happened, and nobody knows, has no moment to cut round.
    """

    event: str
    before_s: float = 5.0
    after_s: float = 5.0
    seen: Collection[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """Each log is one scene; one that lasts longer than an hour is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AsSource:
    """The source's own scenes where it has any, else as ingest cuts."""


Cutting: TypeAlias = Sliding | Around | Whole | AsSource


@dataclass(slots=True, kw_only=True)
class RecutReport:
    """What a recut did.

    Attributes:
        logs: How many logs were cut anew.
        scenes: How many scenes they have now.
        removed: How many of their former scenes went.
        kept: How many former scenes stay because cases or generated scenes rest on them.
    """

    logs: int = 0
    scenes: int = 0
    removed: int = 0
    kept: int = 0


def recut(
    lake: Lake,
    cutting: Cutting,
    *,
    where: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RecutReport:
    """Cut logs into scenes anew.

    Args:
        lake: Whose logs.
        cutting: How.
        where: Lance filter on ``logs``; all by default. Generated logs are never cut.
        progress: Told after each log: logs done, logs in all.

    Raises:
        BadQuery: The filter does not run, or lengths make no sense.
        MissingData: The filter fits no log.
        UnknownName: No event has that name.
    """
    _check(lake, cutting)
    fit = lake.read("logs", None, where).to_pylist()
    made_up = set(lake.read("scenes", ["log_id"], "source = 'generated'")["log_id"].to_pylist())
    rows = [row for row in fit if row["log_id"] not in made_up]
    if where is not None and not rows:
        _refuse_no_log(lake, where, generated=bool(fit))
    if isinstance(cutting, Whole):
        _check_lengths(lake, rows)
    report = RecutReport()
    told = {name: value for name, value in asdict(cutting).items() if name != "seen"}
    params = {"cutting": type(cutting).__name__, **told, "where": where}
    with lake.run("recut", params=params) as run, temporary_folder(lake.uri) as folder:
        batch: list[_Cut] = []
        for done, row in enumerate(rows, start=1):
            batch.append(_cut(lake, row, cutting, run.id, folder))
            full = sum(cut.held for cut in batch) >= BATCH_BYTES
            many = sum(len(cut.scene_ids) for cut in batch) >= BATCH_SCENES
            if full or many or done == len(rows):
                _commit(lake, batch, report)
                batch = []
            if progress is not None:
                progress(done, len(rows))
        with lake.store.writing():
            assign(lake)
        run.summary = asdict(report)
    return report


@dataclass(slots=True, kw_only=True)
class _Cut:
    """The new scenes of a log as rows, many of them in files.

    Attributes:
        row: Of the log.
        scene_ids: Of its scenes.
        tables: Rows of ``scenes`` and ``dense`` in memory.
        files: Those before them.
    """

    row: dict[str, Any]
    scene_ids: list[int] = field(default_factory=list)
    tables: list[dict[str, pa.Table]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    @property
    def held(self) -> int:
        """How much is in memory [bytes]."""
        return sum(table.nbytes for tables in self.tables for table in tables.values())

    def put_by(self, folder: Path) -> None:
        """Into a file what is in memory."""
        path = folder / f"{self.row['log_id']}-{len(self.files)}.arrows"
        write_tables(path, _joined(self.tables))
        self.files.append(path)
        self.tables = []

    def pieces(self) -> Iterator[dict[str, pa.Table]]:
        """All rows, a file of them in memory at a time."""
        for path in self.files:
            yield read_tables(path, _OF_SCENES)
            path.unlink()
        if self.tables:
            yield _joined(self.tables)


_OF_SCENES = ("scenes", "dense")


def _joined(tables: Sequence[dict[str, pa.Table]]) -> dict[str, pa.Table]:
    return {name: pa.concat_tables([some[name] for some in tables]) for name in _OF_SCENES}


def _cut(lake: Lake, row: dict[str, Any], cutting: Cutting, run_id: int, folder: Path) -> _Cut:
    made = _Cut(row=row)
    group = f"{row['dataset']}/{row['source_log_id']}"
    held = 0
    for scene in _scenes(lake, row, cutting):
        made.scene_ids.append(scene.scene_id)
        tables = {
            "scenes": scenes_table([scene], run_id, split_group=group),
            "dense": dense_table([scene], run_id),
        }
        made.tables.append(tables)
        held += sum(table.nbytes for table in tables.values())
        if held >= BATCH_BYTES:
            made.put_by(folder)
            held = 0
    return made


def _check(lake: Lake, cutting: Cutting) -> None:
    if not isinstance(cutting, Sliding | Around | Whole | AsSource):
        raise BadQuery(
            f"Logs cannot be cut by {cutting!r}.",
            hint="Say Sliding(…), Around(event=…), Whole() or AsSource() of lake.recut.",
        )
    if isinstance(cutting, Sliding):
        stride = cutting.length_s if cutting.stride_s is None else cutting.stride_s
        if not (0.1 <= cutting.length_s <= 3600.0 and 0.1 <= stride <= 3600.0):
            raise BadQuery(
                f"Windows of {cutting.length_s} s every {stride} s cannot be cut.",
                hint="Both lie between 0.1 and 3600 s.",
            )
    if isinstance(cutting, Around):
        if not (0 <= cutting.before_s <= 1800 and 0.1 <= cutting.after_s <= 1800):
            raise BadQuery(
                f"A window from {cutting.before_s} s before to {cutting.after_s} s after an event "
                "cannot be cut.",
                hint="Both lie between 0 and 1800 s.",
            )
        names = lake.sql("SELECT DISTINCT name FROM events WHERE truth = 'true' ORDER BY 1")[
            "name"
        ].to_pylist()
        if cutting.event not in names:
            raise UnknownName("event", cutting.event, names)


def _refuse_no_log(lake: Lake, where: str, *, generated: bool) -> NoReturn:
    if generated:
        told = f"Only generated logs fit {where!r}, and those are never cut."
        raise MissingData(told, hint="Choose the logs that were ingested.")
    there = lake.read("logs", ["source_log_id"])["source_log_id"].to_pylist()
    names = ", ".join(there[:5]) + (", …" if len(there) > 5 else "")
    raise MissingData(
        f"No log fits {where!r}; nothing was cut.",
        hint=f"The filter is on the columns of `logs`; their source_log_id: {names or 'none'}.",
    )


def _check_lengths(lake: Lake, rows: Sequence[dict[str, Any]]) -> None:
    """Refuse, before anything is cut, to make one scene of a log whose clock leaps."""
    spans = lake.sql(
        "SELECT log_id, max(t_last_ns) - min(t_first_ns) AS ns FROM tracks WHERE n_obs > 0 "
        f"GROUP BY log_id HAVING ns > {round(LONGEST_S * 1e9)}"
    )
    lasts = dict(zip(spans["log_id"].to_pylist(), spans["ns"].to_pylist(), strict=True))
    for row in rows:
        if row["log_id"] in lasts:
            raise BadQuery(
                f"The log {row['source_log_id']} lasts {lasts[row['log_id']] / 1e9:,.0f} s by its "
                f"own clock, over the {LONGEST_S:,.0f} s that a scene may.",
                hint="Leave it out with a filter, or cut it into sliding windows.",
            )


def _scenes(lake: Lake, row: dict[str, Any], cutting: Cutting) -> Iterator[Scene]:
    log = StoredLog(lake, row)
    span = log.span_ns
    if span is None:
        return
    wanted = sorted(_spans(lake, row, span, cutting), key=lambda s: s.t0_ns)
    for group in _stretches(wanted):
        end = max(s.t0_ns + s.steps * DT_NS for s in group)
        yield from cut_spans(log.between(group[0].t0_ns, end), group)


def _stretches(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Neighbouring spans that are read together."""
    group: list[Span] = []
    for span in spans:
        if group and span.t0_ns - group[0].t0_ns > STRETCH_NS:
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def _spans(lake: Lake, row: dict[str, Any], span: tuple[int, int], cutting: Cutting) -> list[Span]:
    name, (begin, end) = row["source_log_id"], span
    steps = steps_between(begin, end)
    if isinstance(cutting, Whole):
        return [Span.ours(name, begin, steps)]
    if isinstance(cutting, AsSource):
        told = json.loads(row["extra"] or "{}").get("windows", ())
        own = [Window(source_scene_id=i, t0_ns=a, t1_ns=b, anchor_ns=n) for i, a, b, n in told]
        if own:
            return [span_of_window(window, name) for window in own]
        return default_spans(name, begin, end, windows=_windows_with_anyone(lake, row, span))
    if isinstance(cutting, Sliding):
        length = round(cutting.length_s * 1e9 / DT_NS)
        stride = round((cutting.stride_s or cutting.length_s) * 1e9 / DT_NS)
        every = range(0, max(steps - length, 0) + 1, stride)
        starts = _overlapping(every, length, _windows_with_anyone(lake, row, span))
        rest = steps - every[-1] - length
        if rest > 0 and rest >= length // 2:
            starts.append(steps - length)
        return [
            Span.ours(f"{name}@{s * DT_NS / 1e9:.1f}s", begin + s * DT_NS, min(length, steps))
            for s in starts
        ]
    mine = f"log_id = {row['log_id']} AND name = {literal(cutting.event)} AND truth = 'true'"
    events = lake.read("events", ["t0_ns", "scene_id", "source"], mine).to_pylist()
    moments = sorted({
        event["t0_ns"] for event in events
        if cutting.seen is None or event["source"] != "rule" or event["scene_id"] in cutting.seen
    })  # fmt: skip
    before, after = round(cutting.before_s * 1e9), round(cutting.after_s * 1e9)
    made: dict[str, Span] = {}
    for moment in moments:
        # Windows begin on the log's own clock, so that events a moment apart share one.
        at = begin + max(moment - before - begin, 0) // DT_NS * DT_NS
        until = min(moment + after, end)
        count = steps_between(at, until)
        anchor = min(max((moment - at) // DT_NS, 0), count - 1)
        label = f"{name}@{(moment - begin) / 1e9:.1f}s {cutting.event}"
        if until > at:
            made.setdefault(f"{at}:{count}", Span.ours(label, at, count, anchor=anchor))
    return list(made.values())


def _windows_with_anyone(
    lake: Lake, row: dict[str, Any], span: tuple[int, int]
) -> list[int] | None:
    """Numbers of the windows of ten seconds in which anyone may be seen; None: any.

    A log of an hour has few windows, seen or not. Of one whose clock leaps by years nearly all of a
    hundred million are empty.
    """
    begin, end = span
    if end - begin <= LONGEST_S * 1e9:
        return None
    cell = WINDOW_STEPS * DT_NS
    parts = [
        f"SELECT DISTINCT (t_ns - {begin}) // {cell} AS n FROM {name} "
        f"WHERE log_id = {row['log_id']} AND valid"
        for name in ("ego", "agents")
    ]
    seen = lake.sql(" UNION ".join(parts))["n"].to_pylist()
    # Those beside see them too, by jitter.
    return sorted({n + beside for n in seen for beside in (-1, 0, 1)})


def _overlapping(starts: range, length: int, windows: list[int] | None) -> list[int]:
    """Of the starts [steps] of stretches of a length those that touch one of the windows."""
    if windows is None:
        return list(starts)
    found: list[int] = []
    after = 0  # of the starts, the first that was not tried
    for n in windows:
        first = max(-((length - 1 - n * WINDOW_STEPS) // starts.step), after)
        after = max(min((n + 1) * WINDOW_STEPS // starts.step + 1, len(starts)), after)
        found.extend(starts[first:after])
    return found


def _commit(lake: Lake, batch: Sequence[_Cut], report: RecutReport) -> None:
    log_ids = ", ".join(str(cut.row["log_id"]) for cut in batch)
    with lake.store.writing():
        former = lake.read(
            "scenes", ["scene_id", "log_id", "split_group"], f"log_id IN ({log_ids})"
        ).to_pylist()
        group = {row["log_id"]: row["split_group"] for row in former}
        needed = _needed(lake)
        going = [r["scene_id"] for r in former if r["scene_id"] not in needed]
        for begin in range(0, len(going), BATCH_SCENES):
            chosen = ", ".join(map(str, going[begin : begin + BATCH_SCENES]))
            for name in ("scenes", "events", "criticality", *OF_SCENE):
                lake.store.delete(name, f"scene_id IN ({chosen})")
        kept = {r["scene_id"] for r in former} - set(going)
        for pieces in _gathered(batch, kept, group):
            for name, table in pieces.items():
                lake.store.append(name, table)
    report.scenes += sum(len(cut.scene_ids) for cut in batch)
    report.logs += len(batch)
    report.removed += len(going)
    report.kept += len(kept)


def _gathered(
    batch: Sequence[_Cut], kept: set[int], group: dict[int, str | None]
) -> Iterator[dict[str, pa.Table]]:
    """The new rows, some of them at a time, without those of scenes that stay."""
    waiting: list[dict[str, pa.Table]] = []
    held = 0
    for cut in batch:
        told = group.get(cut.row["log_id"])
        for piece in cut.pieces():
            if kept:
                fresh = {name: _without(table, kept) for name, table in piece.items()}
            else:
                fresh = piece
            if told is not None:
                fresh["scenes"] = _of_group(fresh["scenes"], told)
            waiting.append(fresh)
            held += sum(table.nbytes for table in fresh.values())
            if held >= BATCH_BYTES:
                yield _joined(waiting)
                waiting, held = [], 0
    if waiting:
        yield _joined(waiting)


def _without(table: pa.Table, scene_ids: set[int]) -> pa.Table:
    there = pa.array([i not in scene_ids for i in table["scene_id"].to_pylist()], pa.bool_())
    return table.filter(there)


def _of_group(scenes: pa.Table, group: str) -> pa.Table:
    place = scenes.schema.get_field_index("split_group")
    told = pa.array([group] * scenes.num_rows, pa.string())
    return scenes.set_column(place, scenes.schema.field(place), told)


def _needed(lake: Lake) -> set[int]:
    """Scenes on which cases or generated scenes rest."""
    cases = lake.read("cases", ["scene_id"])["scene_id"].to_pylist()
    parents = lake.read("generated", ["parent_scene_id"])["parent_scene_id"].to_pylist()
    return {*cases, *parents}
