"""Argoverse 2 scenario mining: sentences, and the objects of sensor logs to which they refer.

One table holds a whole split: for every log and every sentence (``prompt``), all cuboids of the log
in the columns of ``annotations.feather``, and of each its ``mining_category``: ``REFERRED_OBJECT``,
``RELATED_OBJECT`` or ``OTHER_OBJECT``. It completes the logs beside which it lies: a stretch of time
in which an object has one of the first two roles is an event of the log. Without a log's folder its
rows are of no use, since cuboids are told in the vehicle frame.

Source: argoverse.github.io/user-guide/tasks/scenario_mining and github.com/CainanD/RefAV.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from formats import tree
from formats.argoverse2 import EGO_CATEGORY
from formats.files import GZIP_SUFFIX, read_bytes
from geometry.arrays import Array
from schemas.errors import UnreadableFile
from schemas.records import SourceEvent

PATTERNS = ("scenario_mining_*annotations.feather", "scenario_mining_*annotations.feather.gz")
COLUMNS = ("log_id", "prompt", "track_uuid", "mining_category", "timestamp_ns")
OTHER = "OTHER_OBJECT"
LEVELS_UP = 3
"""How far above the files of a log its split's table is looked for, the log's own folder first."""


def tables_beside(log_folder: Path) -> Iterator[Path]:
    """Mining tables in a log's folder, in that of its split, and in the one above."""
    folder = log_folder.resolve()
    for _ in range(LEVELS_UP):
        for pattern in PATTERNS:
            yield from sorted(folder.glob(pattern))
        folder = folder.parent


def tables(path: Path) -> Iterator[Path]:
    """Mining tables at or under a path."""
    yield from tree.matching(path, PATTERNS[0])


def logs_of(table: Path) -> list[str]:
    """The ids of the logs that a table tells of.

    Raises:
        UnreadableFile: It is no mining table.
    """
    return list(_index(table))


def rows_of(table: Path, log_id: str) -> pa.Table | None:
    """A log's rows with all their columns; None where the table has none.

    Raises:
        UnreadableFile: It is no mining table.
    """
    batches = _index(table).get(log_id)
    if batches is None:
        return None
    try:
        file = _open(table, ())
        parts = []
        for number in batches:
            batch = pa.Table.from_batches([file.get_batch(number)])
            parts.append(batch.filter(pa.array([i == log_id for i in _words(batch, "log_id")])))
        rows = pa.concat_tables(parts)
        rows.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise _broken(table, error) from error
    return rows


def events_of(rows: pa.Table, t0_ns: int) -> list[SourceEvent]:
    """Stretches in which an object has a role in a sentence.

    A stretch ends where the object lacks the role at one of the log's stamps. A cuboid of the
    recording vehicle stands for ``ego``.

    Args:
        rows: Of one log.
        t0_ns: The stamp at which the log begins [ns].
    """
    stamps = np.asarray(rows["timestamp_ns"].to_numpy(), dtype=np.int64)
    steps, step = np.unique(stamps, return_inverse=True)
    own = EGO_CATEGORY if "category" in rows.column_names else None
    categories = _words(rows, "category") if own else [""] * rows.num_rows
    seen: dict[tuple[str, str, str], list[int]] = {}
    told = zip(
        _words(rows, "prompt"), _words(rows, "track_uuid"), _words(rows, "mining_category"),
        categories, step.tolist(), strict=True,
    )  # fmt: skip
    for prompt, track, role, category, at in told:
        if role != OTHER:
            who = "ego" if category == own else track
            seen.setdefault((prompt, who, role), []).append(at)
    events = []
    for (prompt, track, role), at in seen.items():
        for first, last in _stretches(np.unique(at)):
            events.append(
                SourceEvent(
                    name=prompt, t0_ns=int(steps[first]) - t0_ns, t1_ns=int(steps[last]) - t0_ns,
                    source_track_id=track, detail={"task": "scenario_mining", "role": role},
                )
            )  # fmt: skip
    return sorted(events, key=lambda e: (e.name, e.t0_ns, str(e.source_track_id)))


def prompts_of(rows: pa.Table) -> list[str]:
    """Every sentence that was asked of the log, those that refer to nothing as well."""
    return sorted(set(_words(rows, "prompt")))


def _stretches(steps: Array) -> Iterator[tuple[int, int]]:
    """First and last of each run of consecutive numbers."""
    for run in np.split(steps, np.flatnonzero(np.diff(steps) > 1) + 1):
        yield int(run[0]), int(run[-1])


def _words(table: pa.Table, column: str) -> Sequence[str]:
    return [str(word) for word in table[column].to_pylist()]


def _index(table: Path) -> dict[str, list[int]]:
    """Log → the batches of the table in which it has rows."""
    try:
        status = table.stat()
    except OSError as error:
        raise UnreadableFile(table, f"cannot be read ({error.strerror})") from error
    return _index_of(table, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _index_of(table: Path, _: int, __: int) -> dict[str, list[int]]:
    try:
        names = _open(table, ()).schema.names
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise UnreadableFile(
                table,
                f"lacks the columns {', '.join(missing)}",
                hint=f"It has {', '.join(names) or 'none'}.",
            )
        file = _open(table, (names.index("log_id"),))
        found: dict[str, list[int]] = {}
        for number in range(file.num_record_batches):
            column = file.get_batch(number).column(0)
            column.validate(full=True)
            for log_id in column.unique().to_pylist():
                found.setdefault(str(log_id), []).append(number)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise _broken(table, error) from error
    return found


def _open(table: Path, fields: Sequence[int]) -> pa.RecordBatchFileReader:
    """The table's file, of which only some fields are unpacked; all if none is named."""
    options = pa.ipc.IpcReadOptions(included_fields=list(fields))
    if table.suffix == GZIP_SUFFIX:
        return pa.ipc.open_file(pa.BufferReader(read_bytes(table)), options=options)
    return pa.ipc.open_file(pa.memory_map(str(table)), options=options)


def _broken(table: Path, error: Exception) -> UnreadableFile:
    said = str(error).splitlines()[0] if str(error) else "not understood"
    return UnreadableFile(
        table, f"is no table that can be read ({said})", hint="Fetch the file again."
    )
