"""Rows of any order and number as logs and parts of logs, in bounded memory.

Files sorted by track, or not at all, are put in order of log and time; few rows in memory, many
with DuckDB, which sorts on disk. What then flows by is cut into logs (where the name changes, or
time jumps by more than ``gap_ns``) and long logs into parts at multiples of 60 s, or of 10 s where
that is too much.

    for stretch in stretches(in_order(batches, ["log", "t_ns"]), log="log", time="t_ns"):
        ...  # stretch.table holds some hundred thousand rows
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int
from pyarrow import compute

from geometry.arrays import Array
from schemas.errors import UnreadableFile

IN_MEMORY_BYTES = 96 * 2**20  # [bytes] of columns sorted without a disk
SORT_MEMORY = "256MB"  # taken by a sort on disk
NO_ROOM_BYTES = 2**20  # [bytes] a disk that has less free is full
PART_ROWS = 250_000  # rows above which a log is told in parts
PART_BYTES = 256 * 2**20  # [bytes] likewise
PART_NS = 60_000_000_000
SHORT_PART_NS = 10_000_000_000
"""Of a part if ``PART_NS`` hold too much: as long as a window that scenes are cut to [ns]."""

MOST_BYTES = 2**30  # [bytes] in a shorter part that are refused
FLOW_ROWS = 65_536
FLOW_BYTES = 32 * 2**20
VECTOR_ROWS = 2048  # rows that DuckDB hands over at least


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretch:
    """All rows of a log within a stretch of time, and some before and after it.

    Attributes:
        table: In the order of time.
        t_ns: Since the log began [ns].
        inside: Whether the row belongs to the stretch; the others are there to look back and ahead.
        first: The log's first time, in the source's own count [ns].
        part: From 0.
        end: Where the next one begins, since the log began; None for the last [ns].
    """

    table: pa.Table
    t_ns: Int[Array, " rows"]
    inside: Bool[Array, " rows"]
    first: int
    part: int
    end: int | None

    @property
    def more(self) -> bool:
        """Whether another stretch of the log follows."""
        return self.end is not None


def in_order(batches: Iterator[pa.RecordBatch], by: Sequence[str]) -> Iterator[pa.Table]:
    """The rows in ascending order of some columns, as tables of limited size.

    Rows that are equal in these columns keep their order.
    """
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.nbytes
        if size > IN_MEMORY_BYTES:
            yield from _sorted_on_disk(chain(held, batches), held[0].schema, by)
            return
    if held:
        whole = pa.Table.from_batches(held).combine_chunks()
        order = _order(whole, by)
        yield whole if (order[1:] > order[:-1]).all() else whole.take(pa.array(order))


def stretches(
    tables: Iterator[pa.Table],
    *,
    source: Path,
    time: str,
    log: str | None = None,
    gap_ns: int | None = None,
    margin_ns: int = 0,
    part_rows: int | None = None,
) -> Iterator[Stretch]:
    """Sorted rows, cut into logs and parts.

    Args:
        tables: In the order of ``log`` and ``time``, such as :func:`in_order` gives.
        source: File that they are of.
        time: Column of times, int64 [ns].
        log: Column that names the log of a row; None: all rows belong to one.
        gap_ns: A jump in time by more than this begins a new log [ns].
        margin_ns: How far to look back and ahead beyond a part's own rows [ns].
        part_rows: Rows above which a log is told in parts, ``PART_ROWS`` by default; 0: whenever a
            minute is full.

    Raises:
        UnreadableFile: Ten seconds of a log hold more than ``MOST_BYTES``.
    """
    for _, pieces in groupby(_pieces(tables, time, log, gap_ns), key=lambda piece: piece[0]):
        most = PART_ROWS if part_rows is None else part_rows
        yield from _parts((table for _, table in pieces), source, time, margin_ns, most)


def _order(table: pa.Table, by: Sequence[str]) -> Int[Array, " rows"]:
    """Which row comes first, second, …; rows that are equal in the columns keep their order.

    NumPy sorts what consists of a few ascending runs, as tracks one after the other do, several
    times as fast as Arrow.
    """
    keys = [_rank(table[name].combine_chunks()) for name in by]
    telling = [key for key in keys if len(key) and key.min() < key.max()]
    if len(telling) == 1:
        return np.argsort(telling[0], kind="stable")
    return np.lexsort(telling[::-1]) if telling else np.arange(table.num_rows)


def _rank(column: pa.Array) -> Int[Array, " rows"]:
    """Whole numbers that sort as the values do, those that are null last."""
    if pa.types.is_int64(column.type) and not column.null_count:
        return column.to_numpy()
    encoded = column.dictionary_encode()
    rank = np.zeros(len(encoded.dictionary), dtype=np.int64)
    rank[compute.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(rank))
    known = encoded.indices.fill_null(0).to_numpy()
    ranks = rank[known] if len(rank) else np.zeros(len(column), dtype=np.int64)
    return np.where(column.is_valid().to_numpy(zero_copy_only=False), ranks, len(rank))


def _sorted_on_disk(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, by: Sequence[str]
) -> Iterator[pa.Table]:
    """Rows put in order by DuckDB, by way of a file, so that as little as possible is in memory."""
    import duckdb
    from pyarrow import parquet

    with tempfile.TemporaryDirectory(prefix="scenelake-") as folder:
        file = Path(folder, "rows.parquet")
        count = widest = 0
        numbered = schema.append(pa.field("row_in_file", pa.int64()))
        with parquet.ParquetWriter(file, numbered, compression="lz4") as writer:
            for batch in batches:
                rows = pa.array(np.arange(count, count + batch.num_rows))
                writer.write_batch(
                    pa.RecordBatch.from_arrays([*batch.columns, rows], schema=numbered)
                )
                count += batch.num_rows
                widest = max(widest, _widest(batch))
        flow = min(max(FLOW_BYTES // max(widest, 1), VECTOR_ROWS), FLOW_ROWS)
        order = ", ".join(f'"{name}"' for name in (*by, "row_in_file"))
        columns = ", ".join(f'"{name}"' for name in schema.names)
        with duckdb.connect(
            config={
                "memory_limit": SORT_MEMORY,
                "temp_directory": folder,
                "threads": 2,
                "preserve_insertion_order": False,
            }
        ) as database:
            sql = f"SELECT {columns} FROM read_parquet(?) ORDER BY {order}"
            try:
                reader = database.execute(sql, [str(file)]).to_arrow_reader(flow)
                for batch in reader:
                    yield pa.Table.from_batches([batch]).cast(schema)
            except (duckdb.Error, pa.ArrowException) as error:
                # A sort that finds no room on disk says so in several ways.
                limited = "max_temp_directory_size" in str(error)
                if limited or shutil.disk_usage(folder).free < NO_ROOM_BYTES:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder) from error
                if isinstance(error, duckdb.OutOfMemoryException):
                    raise MemoryError(str(error).splitlines()[0]) from error
                raise


def _widest(batch: pa.RecordBatch) -> int:
    """A bound of what one row of a batch takes [bytes]."""
    total = 0
    for column in batch.columns:
        if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            total += compute.max(compute.binary_length(column)).as_py() or 0
        total += 8
    return total


def _pieces(
    tables: Iterator[pa.Table], time: str, log: str | None, gap_ns: int | None
) -> Iterator[tuple[int, pa.Table]]:
    """Tables that lie within one log, with the log's number."""
    number, before_name, before = 0, None, 0
    for table in tables:
        if not table.num_rows:
            continue
        t_ns = table[time].to_numpy()
        breaks = np.zeros(table.num_rows, dtype=bool)
        if log is not None:
            names = table[log].combine_chunks()
            changes = compute.not_equal(names.slice(1), names.slice(0, len(names) - 1))
            breaks[1:] |= changes.to_numpy(zero_copy_only=False)
            breaks[0] |= before_name is not None and table[log][0].as_py() != before_name
        if gap_ns is not None:
            breaks[1:] |= np.diff(t_ns) > gap_ns
            breaks[0] |= before_name is not None and t_ns[0] - before > gap_ns
        edges = [0, *np.flatnonzero(breaks[1:]) + 1, table.num_rows]
        number += int(breaks[0])
        for begin, end in pairwise(edges):
            yield number, table.slice(begin, end - begin)
            number += int(end < table.num_rows)
        before_name = table[log][-1].as_py() if log is not None else ""
        before = int(t_ns[-1])


def _parts(
    tables: Iterator[pa.Table], source: Path, time: str, margin_ns: int, part_rows: int
) -> Iterator[Stretch]:
    held: pa.Table | None = None
    first = part = begin = 0
    for table in tables:
        if held is None:
            first = begin = int(table[time][0].as_py())
        held = table if held is None else pa.concat_tables([held, table])
        while held.num_rows > (enough := _enough(held, part_rows)):
            t_ns = held[time].to_numpy()
            end = _cut(t_ns, first, begin, enough, PART_NS)
            before = held if end is None else held.slice(0, int(np.searchsorted(t_ns, end)))
            if before.nbytes > 2 * PART_BYTES:
                end = _cut(t_ns, first, begin, enough, SHORT_PART_NS)
            if end is None or t_ns[-1] < end + margin_ns:
                if held.nbytes > MOST_BYTES:
                    _refuse_crowd(source, held, t_ns)
                break
            yield _stretch(held, t_ns, first, (begin, end), margin_ns, part, more=True)
            held = held.slice(int(np.searchsorted(t_ns, end - margin_ns))).combine_chunks()
            begin, part = end, part + 1
    if held is not None:
        t_ns = held[time].to_numpy()
        yield _stretch(held, t_ns, first, (begin, int(t_ns[-1]) + 1), 0, part, more=False)


def _enough(held: pa.Table, part_rows: int) -> int:
    """How many of these rows make a part."""
    return min(part_rows, PART_BYTES * held.num_rows // max(held.nbytes, 1))


def _refuse_crowd(source: Path, held: pa.Table, t_ns: Int[Array, " rows"]) -> None:
    seconds = (int(t_ns[-1]) - int(t_ns[0])) / 1e9
    raise UnreadableFile(
        source, f"holds {held.nbytes / 2**30:.1f} GiB in {held.num_rows:,} rows of {seconds:.1f} s",
        hint="So many road users are not seen at once, nor are their names so long: is the time the "
        "right column, and its unit?",
    )  # fmt: skip


def _cut(
    t_ns: Int[Array, " rows"], first: int, begin: int, enough: int, every_ns: int
) -> int | None:
    """The first multiple of a time with so many rows before it and a row after it."""
    at = int(np.searchsorted(t_ns, begin)) + enough
    if at >= len(t_ns):
        return None
    end = first + every_ns * ((int(t_ns[at]) - first) // every_ns + 1)
    return end if t_ns[-1] >= end else None


def _stretch(
    held: pa.Table,
    t_ns: Int[Array, " rows"],
    first: int,
    span: tuple[int, int],
    margin_ns: int,
    part: int,
    *,
    more: bool,
) -> Stretch:
    stop = int(np.searchsorted(t_ns, span[1] + margin_ns))
    t_ns = t_ns[:stop]
    return Stretch(
        table=held.slice(0, stop),
        t_ns=t_ns - first,
        inside=(t_ns >= span[0]) & (t_ns < span[1]),
        first=first,
        part=part,
        end=span[1] - first if more else None,
    )
