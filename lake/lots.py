"""Logs by the hundred thousand that are made and not read: in lots, by several processes.

A lot is what is made in one go, such as all logs of one place, whose map they share. Workers make a lot
and turn it into rows; this process appends the rows of many lots at a time, in the lots' order, so that
a lake is the same whatever the number of workers. A lot goes in whole or not at all: what an interrupted
run left is found by the ids of its logs and not made again.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from lake.convert import LOG_TABLES, MAP_TABLES, Origins, tables_of
from lake.ids import stable_id
from lake.ingest import content_sha256
from lake.known import Known
from lake.localise import localise
from lake.parts import read_tables, write_tables
from lake.scenes import cut
from lake.splits import assign
from lake.store import code_version
from lake.workers import begin_worker, rarer_collections, without_interrupts
from schemas.errors import LakeError
from schemas.records import Log
from schemas.tables import TABLES

if TYPE_CHECKING:
    from lake.lake import Lake

BATCH_BYTES = 256 * 2**20
"""Rows that are appended at once."""

What = TypeVar("What")
Make: TypeAlias = Callable[[What], Sequence[Log]]
"""Makes the logs of a lot; a function of a module, which other processes can import."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot(Generic[What]):
    """Logs that are made together.

    Attributes:
        what: Tells ``make`` which.
        dataset: Of its logs.
        names: Their own ids, before they are made; of those that are made, others are left out.
    """

    what: What
    dataset: str
    names: Sequence[str]

    def log_ids(self) -> frozenset[int]:
        """Ids of its logs in the lake."""
        return frozenset(stable_id("log", self.dataset, name) for name in self.names)


@dataclass(slots=True, kw_only=True)
class LotsReport:
    """What came in.

    Attributes:
        logs: How many logs came in.
        unchanged: How many were there already.
        rows: How many rows each table gained.
    """

    logs: int = 0
    unchanged: int = 0
    rows: dict[str, int] = field(default_factory=dict)


def add_lots(
    lake: Lake,
    lots: Sequence[Lot[What]],
    make: Make[What],
    *,
    run_id: int,
    jobs: int = 1,
    progress: Callable[[int, int], object] | None = None,
) -> LotsReport:
    """Make what is not there yet.

    Args:
        lake: Where to.
        lots: In the order in which they are to be there.
        make: The logs of one.
        run_id: That makes the rows.
        jobs: Processes that make and convert; the lake itself is written by this one alone.
        progress: Told (logs done, logs in all) after each lot.

    Raises:
        StorageFull: The disk is full or read-only; whole batches are kept.
        LakeError: A process was lost.
    """
    report = LotsReport(rows=dict.fromkeys(LOG_TABLES, 0))
    known = Known(lake)
    total = sum(len(lot.names) for lot in lots)
    todo = []
    for lot in lots:
        there = lot.log_ids() & known.logs.keys()
        report.unchanged += len(there)
        if len(there) < len(lot.names):
            todo.append(_Order(lot, lot.log_ids() - there, make, run_id))
    done = report.unchanged
    desk = _Desk(lake, known, report)
    with (
        rarer_collections(),
        tempfile.TemporaryDirectory(prefix="scenelake-") as folder,
        closing(_made(todo, jobs, Path(folder), lake.uri)) as files,
    ):
        for order, path in zip(todo, files, strict=True):
            desk.take(read_tables(path, LOG_TABLES))
            path.unlink()
            done += len(order.wanted)
            if progress is not None:
                progress(done, total)
        desk.commit()
    if report.logs:
        with lake.store.writing():
            assign(lake)
            lake.store.index()
    return report


@dataclass(frozen=True, slots=True)
class _Order(Generic[What]):
    """What a worker is asked for: those of a lot's logs that are not there."""

    lot: Lot[What]
    wanted: frozenset[int]
    make: Make[What]
    run_id: int


class _Desk:
    """Where lots come together and are committed in batches."""

    def __init__(self, lake: Lake, known: Known, report: LotsReport) -> None:
        self._lake, self._known, self._report = lake, known, report
        self._waiting: list[dict[str, pa.Table]] = []
        self._bytes = 0

    def take(self, tables: dict[str, pa.Table]) -> None:
        """Rows of one lot."""
        self._waiting.append(tables)
        self._bytes += sum(table.nbytes for table in tables.values())
        if self._bytes >= BATCH_BYTES:
            self.commit()

    def commit(self) -> None:
        """What waits into all tables, in one step."""
        if not self._waiting:
            return
        rows = {
            name: pa.concat_tables([tables[name] for tables in self._waiting])
            for name in LOG_TABLES
        }
        store = self._lake.store
        with store.writing():
            self._known.look()
            # Another process may have brought the same in since this run began.
            for name, table in rows.items():
                if name in MAP_TABLES:
                    rows[name] = _without(table, "map_id", self._known.maps)
                elif name == "ledger":
                    rows[name] = _without(table, "entry_id", self._known.told)
                else:
                    rows[name] = _without(table, "log_id", self._known.logs.keys())
            dense = pc.is_in(rows["dense"]["scene_id"], value_set=_ids(rows["scenes"], "scene_id"))
            rows["dense"] = rows["dense"].filter(dense)
            for name, table in rows.items():
                store.append(name, table)
        for name, table in rows.items():
            self._report.rows[name] += table.num_rows
        self._report.logs += rows["logs"].num_rows
        self._waiting, self._bytes = [], 0
        self._known.look()


def _without(table: pa.Table, column: str, ids: set[int] | Sequence[int] | object) -> pa.Table:
    """The rows whose id is not among these."""
    if column not in table.schema.names or not table.num_rows:
        return table
    own = pc.unique(table[column]).to_pylist()
    there = [key for key in own if key in ids]  # type: ignore[operator]
    if not there:
        return table
    return table.filter(pc.invert(pc.is_in(table[column], value_set=pa.array(there, pa.int64()))))


def _ids(table: pa.Table, column: str) -> pa.Array:
    return table[column].combine_chunks()


def _made(orders: Sequence[_Order[What]], jobs: int, folder: Path, uri: str) -> Generator[Path]:
    """The file of each order's rows, in order."""
    if jobs <= 1:
        for order in orders:
            yield _write_lot(order, folder)
        return
    waiting: deque[Future[Path]] = deque()
    context = multiprocessing.get_context("spawn")  # Lance does not survive a fork
    with ProcessPoolExecutor(
        jobs, mp_context=context, initializer=begin_worker, initargs=(str(folder),)
    ) as pool:
        try:
            for order in orders:
                with without_interrupts():
                    waiting.append(pool.submit(_write_lot, order, folder))
                while len(waiting) > 2 * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise LakeError(
                uri,
                "lost a process that was making logs.",
                hint="It may have run out of memory: use fewer --jobs. What was stored is kept.",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _write_lot(order: _Order[What], folder: Path) -> Path:
    """The rows of one lot, sorted by log, in a file."""
    path = folder / f"{uuid.uuid4().hex}.arrows"
    if not folder.exists():  # the parent stopped early: nobody will look at it
        return path
    made = sorted(_rows_of(order), key=lambda pair: pair[0])
    write_tables(
        path,
        {
            name: pa.concat_tables(
                [TABLES[name].schema.empty_table(), *(tables[name] for _, tables in made)]
            ).combine_chunks()
            for name in LOG_TABLES
        },
    )
    return path


def _rows_of(order: _Order[What]) -> Iterator[tuple[int, dict[str, pa.Table]]]:
    maps: set[int | None] = set()
    for log in order.make(order.lot.what):
        if stable_id("log", log.dataset, log.source_log_id) not in order.wanted:
            continue
        local = localise(log)
        origins = Origins(
            sha256=content_sha256(local), converter=f"memory {code_version()}",
            run_id=order.run_id, uri=log.source_uri,
        )  # fmt: skip
        new_map = local.roads.map_id not in maps
        maps.add(local.roads.map_id)
        yield local.log_id, tables_of(local, cut(local), origins, maps=new_map)
