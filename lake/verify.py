"""Is a lake sound? Every rule that its rows must keep, as a query that should find nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa

from lake.dense import PACKING, unpack_signals, unpack_tracks
from lake.findings import ERROR, WARNING, Tally
from lake.findings import Finding as Finding
from lake.sql import OF_ITSELF, connect
from lake.verify_files import blob_contents, frame_files, snapshots, video_stamps
from lake.verify_motion import motion
from lake.waiting import interruptible
from schemas.errors import BadQuery
from schemas.tables import TABLES

if TYPE_CHECKING:
    from lake.lake import Lake

READABLE = "readable"

STRAY_M = 2000.0
"""How far beyond the bounding box of its map a road user may be seen before it is told [m]."""


DENSE_ROWS = 5000
"""How many dense scenes are unpacked, unless a deep look is wanted."""

REFERENCES: tuple[tuple[str, str, str, str, str], ...] = (
    ("ego", "log_id", "logs", "log_id", ERROR),
    ("agents", "log_id", "logs", "log_id", ERROR),
    ("agents", "log_id, track_id", "tracks", "log_id, track_id", ERROR),
    ("tracks", "log_id", "logs", "log_id", ERROR),
    ("lights", "log_id", "logs", "log_id", ERROR),
    ("sensors", "log_id", "logs", "log_id", ERROR),
    ("frames", "log_id", "logs", "log_id", ERROR),
    ("frames", "log_id, channel", "sensors", "log_id, channel", WARNING),
    ("frames", "blob_id", "blobs", "blob_id", ERROR),
    ("readings", "log_id", "logs", "log_id", ERROR),
    ("readings", "log_id, channel", "sensors", "log_id, channel", WARNING),
    ("logs", "map_id", "map_features", "map_id", ERROR),
    ("map_edges", "map_id, from_id", "map_features", "map_id, feature_id", ERROR),
    ("map_edges", "map_id, to_id", "map_features", "map_id, feature_id", ERROR),
    ("scenes", "log_id", "logs", "log_id", ERROR),
    ("scenes", "scene_id", "dense", "scene_id", ERROR),
    ("dense", "scene_id", "scenes", "scene_id", ERROR),
    ("events", "log_id", "logs", "log_id", ERROR),
    ("events", "scene_id", "scenes", "scene_id", ERROR),
    ("looked", "scene_id", "scenes", "scene_id", ERROR),
    ("criticality", "log_id", "logs", "log_id", ERROR),
    ("criticality", "scene_id", "scenes", "scene_id", ERROR),
    ("embeddings", "scene_id", "scenes", "scene_id", ERROR),
    ("clusters", "scene_id", "scenes", "scene_id", ERROR),
    ("generated", "scene_id", "scenes", "scene_id", ERROR),
    ("generated", "parent_scene_id", "scenes", "scene_id", ERROR),
    ("cases", "suite", "suites", "suite", ERROR),
    ("cases", "scene_id", "scenes", "scene_id", ERROR),
    ("ledger", "log_id", "logs", "log_id", ERROR),
)
"""(table, columns) that must be found as (table, columns) unless they are null.

Cases of results need not be there: a suite may be built anew, and its runs keep the version that they drove.
"""

_POSES = ("ego", "agents")

SERIES: dict[str, tuple[str, ...]] = {
    "ego": ("log_id", "track_id"), "agents": ("log_id", "track_id"),
    "lights": ("log_id", "source_lane_id"), "frames": ("log_id", "sensor_id"),
    "readings": ("log_id", "sensor_id", "signal"),
}  # fmt: skip
"""Tables whose rows go forward in time while these columns stay the same."""


def verify(
    lake: Lake, *, deep: bool = False, progress: Callable[[str], None] | None = None
) -> list[Finding]:
    """Every rule that is broken, errors first.

    Args:
        lake: To be looked at as it is now; nothing is changed.
        deep: Look also at what takes long: every dense scene, object, video and copied payload,
            where otherwise some are sampled.
        progress: Told the name of each check before it runs.
    """
    found: list[Finding] = []
    tell = progress or (lambda _: None)
    lake = lake.at()
    tables = lake.store.datasets()
    for name, finding in _checks(tables):
        tell(name)
        if finding is not None:
            found.append(finding)
    for check, name, look in _looks(lake, deep=deep):
        tell(f"{check} {name}")
        try:
            found += look()
        except (OSError, ValueError, BadQuery) as error:
            found.append(_unreadable(name, error))
    # Many rules meet the same damage; it is told once for each table.
    told = {(f.check, f.table): f for f in reversed(found) if f.check == READABLE}
    found = [f for f in found if f.check != READABLE or told[f.check, f.table] is f]
    return sorted(found, key=lambda finding: finding.severity != ERROR)


def _looks(lake: Lake, *, deep: bool) -> Iterator[tuple[str, str, Callable[[], list[Finding]]]]:
    """What is no query: (check, table, function)."""
    for name, columns in SERIES.items():
        yield "order", name, partial(_order, lake, name, columns)
    for name in _POSES:
        yield "motion", name, partial(motion, lake, name)
    yield "unpack", "dense", partial(_dense, lake, "dense", deep=deep)
    yield "files", "frames", partial(frame_files, lake, deep=deep)
    yield "videos", "frames", partial(video_stamps, lake, deep=deep)
    yield "checksums", "blobs", partial(blob_contents, lake, deep=deep)
    yield "snapshots", "", lambda: list(snapshots(lake))


def _checks(tables: Mapping[str, Any]) -> Iterator[tuple[str, Finding | None]]:
    """Each check's name and what it found; tables without rows break no rule."""
    with ExitStack() as opened:
        sql = opened.enter_context(connect(tables))
        for severity, check, table, query, what in _rules():
            if table not in tables:
                continue
            try:
                try:
                    found = _check(sql, severity, check, table, query, what)
                except (
                    OF_ITSELF
                ):  # which leaves the connection unusable, and tells nothing of rows
                    sql = opened.enter_context(connect(tables, threads=1))
                    found = _check(sql, severity, check, table, query, what)
            except duckdb.Error as error:
                found = _unreadable(table, error)
            yield f"{check} {table}", found


def _rules() -> Iterator[tuple[str, str, str, str, str]]:
    """(severity, check, table, query, what its rows are)."""
    for name, table in TABLES.items():
        key = ", ".join(table.key)
        query = f"SELECT {key}, count(*) AS n FROM {name} GROUP BY {key} HAVING n > 1"
        yield ERROR, "unique", name, query, f"rows repeat the key ({key})"
    for name, columns, to, to_columns, severity in REFERENCES:
        ours, theirs = columns.split(", "), to_columns.split(", ")
        same = " AND ".join(f"a.{x} = b.{y}" for x, y in zip(ours, theirs, strict=True))
        told = " AND ".join(f"{x} IS NOT NULL" for x in ours)
        query = (
            f"SELECT * FROM (SELECT DISTINCT {columns} FROM {name} WHERE {told}) a ANTI JOIN "
            f"(SELECT DISTINCT {to_columns} FROM {to}) b ON {same}"
        )
        what = f"values of ({columns}) are not among {to} ({to_columns})"
        yield severity, "reference", name, query, what
    for name in (n for n, t in TABLES.items() if "run_id" in t.schema.names and n != "runs"):
        query = f"SELECT DISTINCT run_id FROM {name} ANTI JOIN runs USING (run_id)"
        yield WARNING, "run", name, query, "runs have no row, so they were cut short"
    for name in _POSES:
        finite = " OR ".join(
            f"NOT isfinite({column})" for column in ("x", "y", "z", "yaw", "vx_map", "vy_map")
        )
        query = f"SELECT log_id, track_id, t_ns FROM {name} WHERE {finite}"
        yield ERROR, "finite", name, query, "states are not finite"
        query = f"SELECT log_id, track_id, t_ns FROM {name} WHERE valid AND (x IS NULL OR y IS NULL OR yaw IS NULL)"
        yield ERROR, "valid", name, query, "valid states lack position or heading"
        query = f"SELECT log_id, track_id, t_ns FROM {name} WHERE abs(yaw) > 3.1415928"
        yield ERROR, "angle", name, query, "headings lie outside of (−π, π]"
        query = f"""
            SELECT DISTINCT log_id, track_id FROM {name} JOIN logs USING (log_id) JOIN (
                SELECT map_id, min(xmin) AS x0, max(xmax) AS x1, min(ymin) AS y0, max(ymax) AS y1
                FROM map_features GROUP BY 1) USING (map_id)
            WHERE x < x0 - {STRAY_M} OR x > x1 + {STRAY_M} OR y < y0 - {STRAY_M} OR y > y1 + {STRAY_M}
        """
        what = f"tracks leave the bounding box of their map by over {STRAY_M:.0f} m"
        yield WARNING, "near map", name, query, what
        query = f"""
            SELECT DISTINCT p.log_id, p.lane_id FROM {name} p JOIN logs USING (log_id)
            ANTI JOIN map_features m ON logs.map_id = m.map_id AND p.lane_id = m.feature_id
            WHERE p.lane_id IS NOT NULL
        """
        yield ERROR, "lane", name, query, "lanes are not on the log's map"
    query = """
        SELECT log_id, source_track_id FROM tracks GROUP BY 1, 2 HAVING count(DISTINCT cls) > 1
        UNION ALL
        SELECT log_id, track_id::VARCHAR FROM agents GROUP BY 1, 2 HAVING count(DISTINCT cls) > 1
    """
    yield WARNING, "class flip", "tracks", query, "road users are of several classes"
    query = """
        SELECT log_id, source_track_id FROM tracks
        GROUP BY 1, 2 HAVING count(*) > 1 AND count(DISTINCT cls) = 1
    """
    yield WARNING, "id reuse", "tracks", query, "ids of the source are borne by several tracks"
    query = """
        SELECT log_id, track_id, n_obs, coalesce(n, 0) AS there FROM tracks LEFT JOIN (
            SELECT log_id, track_id, count(*) AS n FROM (
                SELECT log_id, track_id FROM ego WHERE valid
                UNION ALL SELECT log_id, track_id FROM agents WHERE valid
            ) GROUP BY 1, 2) USING (log_id, track_id)
        WHERE n_obs <> coalesce(n, 0)
    """
    yield ERROR, "complete", "tracks", query, "tracks lack states, or have too many"
    query = """
        SELECT log_id, n_frames, coalesce(n, 0) AS there FROM logs
        LEFT JOIN (SELECT log_id, count(*) AS n FROM frames GROUP BY 1) USING (log_id)
        WHERE n_frames <> coalesce(n, 0)
    """
    yield ERROR, "complete", "logs", query, "logs lack frames, or have too many"
    query = "SELECT log_id, track_id FROM tracks WHERE t_last_ns < t_first_ns"
    yield ERROR, "span", "tracks", query, "tracks end before they begin"
    query = "SELECT log_id, channel, t_ns FROM frames WHERE t_end_ns < t_ns"
    yield WARNING, "span", "frames", query, "captures end before they begin"
    query = "SELECT scene_id FROM scenes WHERE t1_ns < t0_ns OR t_anchor_ns NOT BETWEEN t0_ns AND t1_ns"
    yield ERROR, "span", "scenes", query, "scenes end before they begin"
    query = "SELECT event_id FROM events WHERE t1_ns < t0_ns"
    yield ERROR, "span", "events", query, "events end before they begin"
    query = "SELECT scene_id, model FROM embeddings WHERE abs(sqrt(list_sum(list_transform(vector::FLOAT[], lambda v: v * v))) - 1) > 1e-3"
    yield ERROR, "unit length", "embeddings", query, "vectors are not of unit length"


def _check(
    sql: duckdb.DuckDBPyConnection, severity: str, check: str, table: str, query: str, what: str
) -> Finding | None:
    count, example = _first(sql, query)
    if not count:
        return None
    detail = f"{count} {what}; for example {example}."
    return Finding(severity=severity, check=check, table=table, count=count, detail=detail)


def _unreadable(table: str, error: Exception) -> Finding:
    """Rows that cannot be read back, by themselves or by what refers to them."""
    detail = (
        f"Rows cannot be read ({str(error).splitlines()[0].split(', /')[0]}); restore {table}.lance "
        "from a copy, or ingest into a new lake."
    )
    return Finding(severity=ERROR, check=READABLE, table=table, count=1, detail=detail)


def _first(sql: duckdb.DuckDBPyConnection, query: str) -> tuple[int, str]:
    """How many rows a query finds, and the first of them."""

    def ask() -> tuple[list[str], tuple[Any, ...] | None, int]:
        answer = sql.execute(f"FROM ({query}) LIMIT 1")
        names, row = [column[0] for column in answer.description or ()], answer.fetchone()
        count = sql.execute(f"SELECT count(*) FROM ({query})").fetchone() if row else None
        return names, row, int(count[0]) if count else 0

    names, row, count = interruptible(sql, ask)
    if row is None:
        return 0, ""
    return count, ", ".join(f"{n} {v}" for n, v in zip(names, row, strict=True))


def _order(lake: Lake, name: str, columns: Sequence[str]) -> list[Finding]:
    """Rows of a series that do not go forward in time, which readers of series rely on."""
    data = lake.store.dataset(name)
    if data is None:
        return []
    tally = Tally(severity=ERROR, check="order", what="rows are not in order of time")
    last: pa.Table | None = None
    for batch in data.to_batches(columns=[*columns, "t_ns"]):
        rows = pa.Table.from_batches([batch] if last is None else [last, batch])
        if not rows.num_rows:
            continue
        last = rows.slice(rows.num_rows - 1).combine_chunks().to_batches()[0]
        same = np.ones(rows.num_rows - 1, dtype=bool)
        for column in columns:
            codes = rows[column].combine_chunks()
            codes = codes.dictionary_encode().indices if pa.types.is_string(codes.type) else codes
            values = codes.to_numpy()
            same &= values[1:] == values[:-1]
        t_ns = rows["t_ns"].to_numpy()
        bad = np.flatnonzero(same & (t_ns[1:] <= t_ns[:-1])) + 1
        if len(bad):
            row = rows.slice(int(bad[0]), 1).to_pylist()[0]
            tally.add(len(bad), ", ".join(f"{key} {value}" for key, value in row.items()))
    return tally.finding(name)


def _dense(lake: Lake, name: str, *, deep: bool) -> list[Finding]:
    """Dense rows that do not unpack to what their row says."""
    data = lake.store.dataset(name)
    if data is None:
        return []
    tally = Tally(
        severity=ERROR, check="dense", what="rows do not unpack to the arrays that they promise"
    )
    columns = ["scene_id", "n_agents", "n_steps", "n_signals", "tracks", "signals", "packing"]
    count = data.count_rows()
    if deep or count <= DENSE_ROWS:
        batches = data.to_batches(columns=columns, batch_size=64)
    else:
        places = np.linspace(0, count - 1, DENSE_ROWS).round().astype(np.int64)
        batches = (
            batch
            for some in np.array_split(places, DENSE_ROWS // 64)
            for batch in data.take(some.tolist(), columns=columns).to_batches()
        )
    for batch in batches:
        for row in batch.to_pylist():
            reason = _unsound(row)
            if reason:
                tally.add(1, f"scene_id {row['scene_id']}: {reason}")
    return tally.finding("dense")


def _unsound(row: dict[str, Any]) -> str:
    if row["packing"] != PACKING:
        return f"packing {row['packing']} is not known"
    try:
        tracks, signals = unpack_tracks(row["tracks"]), unpack_signals(row["signals"])
    except (ValueError, TypeError, KeyError) as error:
        return str(error)
    shape = (row["n_agents"], row["n_steps"])
    if tracks.valid.shape != shape or signals.state.shape != (row["n_signals"], row["n_steps"]):
        return f"tracks are {tracks.valid.shape}, signals {signals.state.shape}"
    return ""
