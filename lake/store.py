"""Tables as Lance datasets in a folder: one writer at a time, several tables in one step.

Lance commits one table atomically. What spans tables is made atomic by a journal: before the first
table is touched, the version of each is written down; after the last, the journal is removed.
Readers that meet a journal read the versions it names, so nobody sees half a batch; the next
writer that meets one left behind (its writer was killed) restores those versions.

A lake is a local folder; a file lock in it lets one process write at a time, others wait.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import filelock
import lance
import pyarrow as pa

from schemas.errors import BadQuery, LakeError, StorageFull, UnknownName
from schemas.tables import TABLES

logger = logging.getLogger("scenelake")

JOURNAL = "journal.json"
LOCK = ".lock"
PATIENCE_S = 2.0  # [s] a wait for another writer that is longer is told

_FULL_ERRNO = {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT}
_FULL_TEXT = (
    "No space left on device", "Read-only file system", "Permission denied",
    "Operation not permitted", "Disk quota exceeded",
)  # fmt: skip

_COMPRESSED = {"lance-encoding:compression": "zstd", "lance-encoding:bss": "on"}
_COMPRESSED_BYTES = {"lance-encoding:compression": "zstd"}
_INDEXED = {
    "ego": ("log_id",), "agents": ("log_id",), "tracks": ("log_id",), "lights": ("log_id",),
    "frames": ("log_id",), "map_edges": ("map_id",), "scenes": ("scene_id", "log_id"),
    "events": ("scene_id", "log_id"),
}  # fmt: skip
"""Zone maps: nearly free, and as good as a B-tree while rows of a log stand together. Tables with
wide columns (lines, bytes, vectors) have none: with an index Lance reads those columns for whole
zones (100 ms for one map), without one only for the rows that the key column has picked (7 ms)."""


class Store:
    """The Lance datasets of one lake, and the rules for writing them."""

    def __init__(self, folder: Path) -> None:
        """Nothing is opened yet."""
        self.folder = folder
        self._lock = filelock.FileLock(folder / LOCK, thread_local=False)
        self._thread_lock = threading.RLock()
        self._owner: int | None = None

    def path(self, name: str) -> Path:
        """Where the dataset of a table lies.

        Raises:
            UnknownName: There is no such table.
        """
        if name not in TABLES:
            raise UnknownName("table", name, TABLES)
        return self.folder / f"{name}.lance"

    def version(self, name: str) -> int:
        """The version that readers see, 0 where the table has no rows yet."""
        if not self._writes_here():
            journal = self.journal()
            if name in journal:
                return journal[name]
        return self._latest_version(name)

    def versions(self) -> dict[str, int]:
        """Versions that readers see, of the tables that are there."""
        found = {name: self.version(name) for name in TABLES}
        return {name: version for name, version in found.items() if version}

    def dataset(self, name: str) -> lance.LanceDataset | None:
        """The table as readers see it, None where it has no rows yet."""
        path = self.path(name)
        pinned = {} if self._writes_here() else self.journal()
        if name in pinned:
            with self.storage():
                return lance.dataset(str(path), version=pinned[name]) if pinned[name] else None
        return self._latest(name)

    def datasets(self) -> dict[str, lance.LanceDataset]:
        """All tables that are there, from one moment."""
        while True:
            before = self.journal()
            found = {name: self.dataset(name) for name in TABLES}
            if self.journal() == before:
                return {name: data for name, data in found.items() if data is not None}

    def read(
        self, name: str, columns: Sequence[str] | None = None, where: str | None = None
    ) -> pa.Table:
        """Rows of a table, those for which the Lance filter ``where`` holds.

        Raises:
            UnknownName: There is no such table or column.
            BadQuery: The filter does not run.
        """
        data = self.dataset(name)
        schema = TABLES[name].schema
        for column in columns or ():
            if column not in schema.names:
                raise UnknownName(f"column of {name}", column, schema.names)
        wanted = schema if columns is None else pa.schema([schema.field(c) for c in columns])
        if data is None:
            return wanted.empty_table()
        try:
            with self.storage():
                table = data.to_table(columns=list(wanted.names), filter=where)
        except ValueError as error:
            raise _bad_filter(name, where or "", error) from error
        return pa.Table.from_arrays(table.columns, schema=wanted)

    @contextmanager
    def writing(self, *names: str) -> Iterator[None]:
        """The lake's lock; what is written to the named tables within stays or goes as one.

        Without names there is the lock alone, for a single commit, which is atomic by itself.

        Raises:
            StorageFull: The disk is full or read-only; what was begun is undone.
        """
        with ExitStack() as stack:
            stack.enter_context(self._locked())
            stack.enter_context(self.storage())
            if not names:
                yield
                return
            self._write_journal({name: self._latest_version(name) for name in names})
            try:
                yield
            except BaseException:
                try:
                    self.recover()
                except (OSError, RuntimeError) as error:
                    logger.warning("Left for the next writer to undo: %s", error)
                raise
            (self.folder / JOURNAL).unlink()

    def append(self, name: str, rows: pa.Table) -> None:
        """Rows at the end of a table; within :meth:`writing`."""
        assert self._writes_here()
        if not rows.num_rows:
            return
        schema = _stored_schema(name)
        stored = pa.Table.from_arrays(rows.columns, schema=schema)
        there = self._latest_version(name) > 0
        path = self.path(name)
        if not there and path.exists():
            shutil.rmtree(path)  # what a killed writer left before its first commit
        lance.write_dataset(stored, str(path), mode="append" if there else "create")

    def delete(self, name: str, where: str) -> None:
        """Remove the rows for which the Lance filter holds; within :meth:`writing`."""
        assert self._writes_here()
        if self._latest_version(name):
            try:
                lance.dataset(str(self.path(name))).delete(where)
            except (ValueError, OSError) as error:
                if "Invalid user input" not in str(error):
                    raise
                raise _bad_filter(name, where, error) from error

    def index(self) -> None:
        """Bring the zone maps up to date; within :meth:`writing`."""
        assert self._writes_here()
        for name, columns in _INDEXED.items():
            if self._latest_version(name):
                data = lance.dataset(str(self.path(name)))
                for column in columns:
                    data.create_scalar_index(column, "ZONEMAP", replace=True)

    def journal(self) -> dict[str, int]:
        """Versions that an unfinished batch began from; empty where there is none."""
        try:
            text = (self.folder / JOURNAL).read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        versions = json.loads(text)
        return {str(name): int(version) for name, version in versions.items()}

    def recover(self) -> None:
        """Undo the batch that a journal speaks of, if there is one; within the lock."""
        journal = self.journal()
        for name, version in journal.items():
            path = self.path(name)
            if version == 0:
                if path.exists():
                    shutil.rmtree(path)
            elif self._latest_version(name) != version:
                data: Any = lance.dataset(str(path), version=version)
                data.restore()
        (self.folder / JOURNAL).unlink(missing_ok=True)

    @contextmanager
    def storage(self) -> Iterator[None]:
        """Tell a full or read-only disk from other failures.

        Raises:
            StorageFull: It is one.
        """
        try:
            yield
        except (OSError, RuntimeError) as error:
            number = error.errno if isinstance(error, OSError) else None
            told = next((text for text in _FULL_TEXT if text in str(error)), None)
            if number in _FULL_ERRNO or told:
                reason = told or os.strerror(number or 0)
                raise StorageFull(
                    str(self.folder),
                    f"cannot be written: {reason.lower()}.",
                    hint="Free some space or check the permissions, then run the command again: "
                    "what was stored before is kept.",
                ) from error
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._thread_lock:
            if self._owner is not None:  # this thread is writing already
                yield
                return
            with self.storage():
                self._acquire()
            try:
                self._owner = threading.get_ident()
                if self.journal():
                    logger.warning("Undoing a batch that was cut short in %s.", self.folder)
                    with self.storage():
                        self.recover()
                yield
            finally:
                self._owner = None
                self._lock.release()

    def _acquire(self) -> None:
        try:
            self._lock.acquire(timeout=PATIENCE_S)
        except filelock.Timeout:
            logger.warning("Another process is writing to %s; waiting for it.", self.folder)
            self._lock.acquire()

    def _writes_here(self) -> bool:
        return self._owner == threading.get_ident()

    def _latest_version(self, name: str) -> int:
        latest = self._latest(name)
        return 0 if latest is None else int(latest.version)

    def _latest(self, name: str) -> lance.LanceDataset | None:
        path = self.path(name)
        if not (path / "_versions").is_dir():
            return None
        with self.storage():
            try:
                return lance.dataset(str(path))
            except ValueError as error:
                if "not found" in str(error).lower():
                    return None
                raise LakeError(
                    str(self.folder),
                    f"has a table `{name}` that cannot be opened: {error}",
                    hint="Remove that folder and ingest again, or restore it from a copy.",
                ) from error

    def _write_journal(self, versions: Mapping[str, int]) -> None:
        write_atomically(self.folder / JOURNAL, json.dumps(dict(versions)))


def write_atomically(path: Path, text: str) -> None:
    """The text in a file that is either whole or not there, even after a power cut."""
    partial = path.with_name(f"{path.name}.part")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def conform(name: str, rows: pa.Table | Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as the table's schema wants them, sorted by the table's key.

    Raises:
        UnknownName: There is no such table, or it has no such column.
        ValueError: A column that must not be null is, or a value is of the wrong type.
    """
    if name not in TABLES:
        raise UnknownName("table", name, TABLES)
    table, schema = TABLES[name], TABLES[name].schema
    if isinstance(rows, pa.Table):
        given: Sequence[str] = rows.schema.names
    else:
        given = sorted({key for row in rows for key in row})
    for column in given:
        if column not in schema.names:
            raise UnknownName(f"column of {name}", column, schema.names)
    if not isinstance(rows, pa.Table):
        rows = pa.Table.from_pylist(list(rows), schema=schema)
    count = rows.num_rows
    arrays = [
        rows[field.name].cast(field.type) if field.name in rows.schema.names
        else pa.chunked_array([pa.nulls(count, field.type)])
        for field in schema
    ]  # fmt: skip
    for field, array in zip(schema, arrays, strict=True):
        if not field.nullable and array.null_count:
            raise ValueError(f"{name}.{field.name} must not be null.")
    made = pa.Table.from_arrays(arrays, schema=schema)
    return made.sort_by([(column, "ascending") for column in table.key])


def _bad_filter(name: str, where: str, error: Exception) -> BadQuery:
    reason = str(error).split(", /")[0]
    return BadQuery(
        f"The filter on {name} does not run: {where} ({reason})",
        hint=f"Columns of {name}: {', '.join(TABLES[name].schema.names)}.",
    )


def _stored_schema(name: str) -> pa.Schema:
    """The table's schema with what Lance is told about compression."""
    fields = []
    for field in TABLES[name].schema:
        if pa.types.is_float32(field.type):
            fields.append(field.with_metadata(_COMPRESSED))
        elif pa.types.is_binary(field.type):
            fields.append(field.with_metadata(_COMPRESSED_BYTES))
        else:
            fields.append(field)
    return pa.schema(fields)
