"""A long recording that its reader tells in parts: one log in the lake, one part in memory.

Rows that belong to a moment (states, lights, frames, readings, scenes) are written to a file part by
part; what belongs to the whole (tracks, sensors, the log itself, its notes) is summed up at the end.
Frame, map and numbers of tracks of the first part hold for all. A window of the source that reaches
into the next part is cut from the two together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from geometry.arrays import Array
from lake.convert import (
    LOG_TABLES,
    MAP_TABLES,
    Origins,
    ledger_entries,
    ledger_table,
    notes_of_strangers,
    recorded_ns,
    tables_of,
)
from lake.json_text import as_json
from lake.localise import LanePlaces, LocalLights, LocalLog, LocalTracks, Rows, localise
from lake.scenes import cut, spans
from schemas.errors import BadRecord
from schemas.records import Log, Note, Sensor, Window
from schemas.scene import Scene
from schemas.tables import TABLES

PART_TABLES = (
    "ego", "agents", "lights", "frames", "readings", "events", "scenes", "dense",
)  # fmt: skip
"""Tables that every part adds rows to."""


def write_tables(path: Path, tables: Mapping[str, pa.Table]) -> None:
    """Tables one after the other into a file of Arrow streams, in the order given."""
    with pa.OSFile(str(path), "wb") as sink:
        for table in tables.values():
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)


def read_tables(path: Path, names: Sequence[str]) -> dict[str, pa.Table]:
    """What :func:`write_tables` wrote under these names."""
    made = {}
    with pa.OSFile(str(path), "rb") as file:
        for name in names:
            with pa.ipc.open_stream(file) as reader:
                made[name] = reader.read_all()
    return made


class Assembly:
    """One log of several parts in the making.

    Args:
        origins: Where it comes from.
        folder: Where its parts are kept until they are committed.
        stem: Begin of their file names.
    """

    def __init__(self, origins: Origins, *, folder: Path, stem: str) -> None:
        self.files: list[Path] = []
        self._origins, self._folder, self._stem = origins, folder, stem
        self._maps: dict[str, pa.Table] = {}
        self._tracks: list[pa.Table] = []
        self._logs: list[pa.Table] = []
        self._spans: list[tuple[int, int]] = []
        self._notes: list[Note] = []
        self._sensors: dict[str, Sensor] = {}
        self._seams: dict[int, float] = {}
        self._waiting: tuple[Window, ...] = ()
        self._asked = self._cut = 0
        self._last: LocalLog | None = None

    def add(self, part: Log) -> None:
        """The next part.

        Raises:
            BadRecord: It does not follow the one before.
        """
        last = self._last
        if part.part != (0 if last is None else last.log.part + 1):
            raise BadRecord(
                part.source_uri,
                f"is told in parts that do not follow each other: number {part.part} comes "
                f"{'first' if last is None else f'after {last.log.part}'}",
                record=part.record,
            )
        for sensor in part.sensors:
            self._sensors.setdefault(sensor.channel, sensor)
        part = replace(part, sensors=tuple(self._sensors.values()))
        local = localise(part, before=last)
        self._notes += (*part.notes, *local.notes, *notes_of_strangers(local))
        scenes = self._scenes(local)
        tables = tables_of(local, scenes, self._origins, maps=last is None)
        if last is None:
            self._maps = {name: tables[name] for name in MAP_TABLES}
        else:
            for track, length in _seams(last, local).items():
                self._seams[track] = self._seams.get(track, 0.0) + length
        self._tracks.append(tables["tracks"])
        self._logs.append(tables["logs"])
        span = recorded_ns(local)
        self._spans += [] if span is None else [span]
        path = self._folder / f"{self._stem}-{part.part:05d}.arrows"
        write_tables(path, {name: tables[name] for name in PART_TABLES})
        self.files.append(path)
        self._last = local

    def finish(self) -> tuple[LocalLog, dict[str, pa.Table]]:
        """The last part, and the rows that belong to the whole, once all parts are in."""
        last = self._last
        assert last is not None
        tracks = _whole_tracks(self._tracks, self._seams)
        log = replace(last.log, notes=_summed(self._notes), events=())  # whose notes are told
        local = replace(last, log=log, notes=())
        entries = ledger_entries(local, self._origins, windows=self._asked, scenes=self._cut)
        tables = {name: TABLES[name].schema.empty_table() for name in LOG_TABLES}
        tables |= self._maps
        tables["sensors"] = tables_of(local, (), self._origins, maps=False)["sensors"]
        tables["tracks"] = tracks
        tables["logs"] = _whole_log(
            self._logs, tracks, seam=self._seams.get(0, 0.0), spans=self._spans
        )
        tables["ledger"] = ledger_table(entries)
        return local, tables

    def forget(self) -> None:
        """Remove what was written: the log will not come in."""
        for path in self.files:
            path.unlink(missing_ok=True)

    def _scenes(self, local: LocalLog) -> list[Scene]:
        """Scenes that end in the part; windows that reach beyond it wait for the next."""
        log, last = local.log, self._last
        made: list[Scene] = []
        if self._waiting and last is not None:
            made += self._cut_from(joined(last, local), self._waiting)
        end = int(local.rows.t_ns.max()) if len(local.rows.t_ns) else 0
        waiting = tuple(w for w in log.windows if log.more and w.t1_ns > end)
        mine = tuple(w for w in log.windows if w not in waiting)
        if mine or not log.windows:
            made += self._cut_from(local, mine)
        self._waiting = waiting
        return made

    def _cut_from(self, local: LocalLog, windows: tuple[Window, ...]) -> list[Scene]:
        local = replace(local, log=replace(local.log, windows=windows))
        scenes = cut(local, source=self._origins.source)
        self._asked += len(spans(local))
        self._cut += len(scenes)
        return scenes


def joined(a: LocalLog, b: LocalLog) -> LocalLog:
    """Two parts that follow each other as one log, to cut windows from that lie in both."""
    rows = Rows(
        **{n: np.concatenate([getattr(a.rows, n), getattr(b.rows, n)]) for n in Rows.__slots__}
    )
    order = np.lexsort((rows.t_ns, rows.track))
    lanes = LanePlaces(
        **{
            n: np.concatenate([getattr(a.lanes, n), getattr(b.lanes, n)])[order]
            for n in LanePlaces.__slots__
        }
    )
    return replace(
        b,
        rows=Rows(**{n: getattr(rows, n)[order] for n in Rows.__slots__}),
        lanes=lanes,
        tracks=_joined_tracks(a.tracks, b.tracks),
        lights=_joined_lights(a.lights, b.lights),
    )


def _joined_tracks(a: LocalTracks, b: LocalTracks) -> LocalTracks:
    new = ~np.isin(b.track_id, a.track_id)
    track_id = np.concatenate([a.track_id, b.track_id[new]])
    order = np.argsort(track_id)
    fresh = np.flatnonzero(new).tolist()
    names = [*a.source_track_id, *(b.source_track_id[i] for i in fresh)]
    words = [*a.source_cls, *(b.source_cls[i] for i in fresh)]
    return LocalTracks(
        track_id=track_id[order],
        cls=np.concatenate([a.cls, b.cls[new]])[order],
        source_track_id=[names[i] for i in order.tolist()],
        source_cls=[words[i] for i in order.tolist()],
        size=np.concatenate([a.size, b.size[new]])[order],
    )


def _joined_lights(a: LocalLights, b: LocalLights) -> LocalLights:
    names = sorted({*a.source_lane_id, *b.source_lane_id})
    place = {name: index for index, name in enumerate(names)}
    lane = np.full(len(names), -1, dtype=np.int64)
    stop_xy = np.zeros((len(names), 2), dtype=np.float32)
    has_stop = np.zeros(len(names), dtype=bool)
    signals = []
    for part in (a, b):
        where = np.array([place[name] for name in part.source_lane_id], dtype=np.int64)
        lane[where] = part.lane
        stop_xy[where[part.has_stop]] = part.stop_xy[part.has_stop]
        has_stop[where] |= part.has_stop
        signals.append(where[part.signal])
    signal, t_ns = np.concatenate(signals), np.concatenate([a.t_ns, b.t_ns])
    order = np.lexsort((t_ns, signal))
    return LocalLights(
        source_lane_id=names,
        lane=lane,
        stop_xy=stop_xy,
        has_stop=has_stop,
        signal=signal[order],
        source_row=np.concatenate([a.source_row, b.source_row])[order],
        t_ns=t_ns[order],
        state=np.concatenate([a.state, b.state])[order],
    )


def _seams(a: LocalLog, b: LocalLog) -> dict[int, float]:
    """How far each track went from one part's last to the next's first observation [m].

    Only where the two are near enough in time to belong together.
    """
    ends = {track: (t, xy) for track, t, xy in _ends(a.rows, last=True)}
    found = {}
    for track, t, xy in _ends(b.rows, last=False):
        if track in ends and t - ends[track][0] <= a.gap_ns:
            found[track] = float(np.linalg.norm(xy - ends[track][1]))
    return found


def _ends(rows: Rows, *, last: bool) -> list[tuple[int, int, Array]]:
    """Of each track its first or last valid row: track, time, position."""
    seen = np.flatnonzero(rows.valid)
    if last:
        seen = seen[::-1]
    tracks, at = np.unique(rows.track[seen], return_index=True)
    xy = rows.xyz[seen[at], :2].astype(np.float64)
    return list(zip(tracks.tolist(), rows.t_ns[seen[at]].tolist(), xy, strict=True))


def _whole_tracks(parts: Sequence[pa.Table], seams: Mapping[int, float]) -> pa.Table:
    """One row a track from the rows that it has in each part."""
    rows: dict[int, dict[str, Any]] = {}
    for table in parts:
        for row in table.to_pylist():
            before = rows.setdefault(row["track_id"], row)
            if before is not row:
                _add_track(before, row)
    for track, length in seams.items():
        rows[track]["path_len"] += length
    ordered = [rows[track] for track in sorted(rows)]
    return pa.Table.from_pylist(ordered, schema=TABLES["tracks"].schema)


_TOLD = ("none", "derived", "measured")


def _add_track(row: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Sum up two rows of one track; one without observations tells no times."""
    if not row["n_obs"]:
        row["t_first_ns"] = more["t_first_ns"]
    if more["n_obs"] or not row["n_obs"]:
        row["t_last_ns"] = more["t_last_ns"]
    for name in ("n_obs", "path_len"):
        row[name] += more[name]
    speeds = [v for v in (row["v_max"], more["v_max"]) if v is not None]
    row["v_max"] = max(speeds, default=None)
    row["velocity_source"] = max(row["velocity_source"], more["velocity_source"], key=_TOLD.index)


def _whole_log(
    parts: Sequence[pa.Table],
    tracks: pa.Table,
    *,
    seam: float,
    spans: Sequence[tuple[int, int]],
) -> pa.Table:
    """The log's row from those of its parts."""
    rows = [part.to_pylist()[0] for part in parts]
    row = dict(rows[0])
    if spans:
        row["dur_ns"] = max(end for _, end in spans) - min(begin for begin, _ in spans)
    row["n_agents"] = sum(not t["is_ego"] for t in tracks.to_pylist())
    row["n_frames"] = sum(r["n_frames"] for r in rows)
    driven = [r["distance_m"] for r in rows if r["distance_m"] is not None]
    row["distance_m"] = sum(driven) + seam if driven else None
    for name in ("has_ego", "has_lights"):
        row[name] = any(r[name] for r in rows)
    extra = _whole_extra([r["extra"] for r in rows])
    row["extra"] = as_json(extra) if extra else None
    return pa.Table.from_pylist([row], schema=TABLES["logs"].schema)


def _whole_extra(parts: Sequence[str | None]) -> dict[str, Any]:
    """Odds and ends of all parts: what a later one tells anew holds, windows are put together."""
    told = [json.loads(part) for part in parts if part]
    made: dict[str, Any] = {}
    for extra in told:
        made |= extra
    windows = [window for extra in told for window in extra.get("windows", ())]
    return made | {"windows": windows} if windows else made


def _summed(notes: Sequence[Note]) -> tuple[Note, ...]:
    """Notes that say the same as one."""
    counts: dict[tuple[str, str, str], int] = {}
    for note in notes:
        key = (note.kind, note.reason, note.record)
        counts[key] = counts.get(key, 0) + note.count
    return tuple(
        Note(kind=kind, reason=reason, record=record, count=count)
        for (kind, reason, record), count in counts.items()
    )
