"""Tables as Lance datasets at one place: one writer at a time, any number of tables in one step.

Which version of each table counts is said by ``lake.json`` (:mod:`lake.manifest`). Readers never
wait: they read that file and open what it names. A writer holds the place's lock, makes new
versions, and commits by replacing the file. A table whose newest version is not the one that
counts was left by a writer that was killed or gave up; it is put back before it is written again.

Versions that nothing names are removed by :mod:`lake.compact`.
"""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from typing import Any

import lance
import pyarrow as pa

from lake.compact import KEEP_S, is_scattered, merge_newest, remove_versions
from lake.manifest import ABOUT, Manifest, Snapshot, manifest_of
from lake.place import Overtaken, Place
from schemas.errors import BadQuery, LakeError, NoLake, UnknownName
from schemas.tables import SCHEMA_VERSION, TABLES

logger = logging.getLogger("scenelake")

PAYLOAD = "payload"
"""The column of ``blobs`` that holds the bytes; it is no column of the table as SQL sees it."""

CACHE_BYTES = 256 * 2**20
"""Memory for what Lance remembers of files and of indices, each; its own defaults are 1 and 6 GiB,
too much for a laptop [bytes]."""

_JOURNAL = "journal.json"  # of Scenelake 0.1, which said there which versions count
_OPENED_AT_ONCE = 8
_CONFLICT = ("Incompatible transaction", "commit conflict")  # as Lance words it

_COMPRESSED = {"lance-encoding:compression": "zstd", "lance-encoding:bss": "on"}
_COMPRESSED_BYTES = {"lance-encoding:compression": "zstd"}
_INDEXED = {
    "ego": ("log_id",), "agents": ("log_id",), "tracks": ("log_id",), "lights": ("log_id",),
    "frames": ("log_id",), "readings": ("log_id",), "map_edges": ("map_id",),
    "map_features": ("map_id",), "scenes": ("scene_id", "log_id"), "dense": ("scene_id",),
    "events": ("scene_id", "log_id", "name"), "criticality": ("scene_id", "log_id"), "logs": ("log_id",),
}  # fmt: skip
"""B-trees. Zone maps would be cheaper, but keys are hashes, so that in every batch of logs some zone
holds the one that is asked for: among 16 million agents of 16,667 logs they find one log in 500 ms,
a B-tree in 3."""

_BITMAPS = frozenset({("events", "name")})
"""Columns of few different values, of which one is asked for: of 27 million events, one predicate's
are found in 0.3 s where a scan takes 2."""


@dataclass(slots=True, kw_only=True)
class _Batch:
    """What one writer has done since it took the lock.

    Attributes:
        manifest: As it was then.
        tag: Of its file.
        began: When, by the clock of this process [s].
        at: The version of each table that will count.
        snapshots: Likewise.
        open: Tables that are known to stand at the version that counts, to be written to.
        merged: Tables whose files were joined, so that older versions may go.
    """

    manifest: Manifest
    tag: str
    began: float
    at: dict[str, int]
    snapshots: dict[str, Snapshot]
    open: dict[str, lance.LanceDataset] = field(default_factory=dict)
    merged: set[str] = field(default_factory=set)


class Store:
    """The Lance datasets of one lake, and the rules for writing them.

    Args:
        place: Where they lie.
        pinned: Versions to read instead of those that count now; then nothing can be written.
    """

    def __init__(self, place: Place, *, pinned: Mapping[str, int] | None = None) -> None:
        """Nothing is opened yet."""
        self.place = place
        self._pinned = pinned
        self._seen: tuple[bytes, Manifest] | None = None
        self._cache: dict[str, tuple[int, lance.LanceDataset]] = {}
        self._session = _session()
        self._thread_lock = threading.RLock()
        self._owner: int | None = None
        self._batch: _Batch | None = None

    # What counts

    def manifest(self) -> Manifest:
        """What ``lake.json`` says now.

        Raises:
            NoLake: There is none.
            LakeError: It cannot be read.
        """
        return self._read_manifest()[0]

    def versions(self) -> dict[str, int]:
        """The version of each table that is there, as readers see them; all of one moment."""
        if self._pinned is not None:
            return dict(self._pinned)
        batch = self._batch
        if batch is not None and self._writes_here():
            return dict(batch.at)
        manifest = self.manifest()
        return self._before_manifests() if manifest.tables is None else dict(manifest.tables)

    def version(self, name: str) -> int:
        """The version of a table that readers see, 0 where it has no rows yet."""
        _known(name)
        return self.versions().get(name, 0)

    def at(self, versions: Mapping[str, int]) -> Store:
        """The same place at other versions, to read only."""
        store = Store(self.place, pinned=dict(versions))
        store._cache, store._session = dict(self._cache), self._session
        return store

    @property
    def pinned(self) -> Mapping[str, int] | None:
        """The versions that it shows for good, None where it shows those that count now."""
        return self._pinned

    def refuse_if_pinned(self) -> None:
        """Tell whoever wants to write that this is the past.

        Raises:
            LakeError: It shows one moment for good.
        """
        if self._pinned is not None:
            raise LakeError(
                self.place.uri,
                "is shown as it was at one moment, and cannot be written like that.",
                hint="Open it without a snapshot.",
            )

    # Reading

    def dataset(self, name: str) -> lance.LanceDataset | None:
        """The table as readers see it, None where it has no rows yet.

        It may hold fewer columns than the schema (written by an older Scenelake) or more (bytes of
        blobs).
        """
        _known(name)
        return self._open_all([name]).get(name)

    def datasets(self) -> dict[str, lance.LanceDataset]:
        """All tables that are there, from one moment."""
        return self._open_all(list(TABLES))

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
        stored = set(data.schema.names)
        asked = [column for column in wanted.names if column in stored] or [TABLES[name].key[0]]
        try:
            with self.place.storing():
                table = data.to_table(columns=asked, filter=where)
        except ValueError as error:
            raise _bad_filter(name, where or "", error) from error
        arrays = [
            table[field.name] if field.name in stored
            else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
            for field in wanted
        ]  # fmt: skip
        return pa.Table.from_arrays(arrays, schema=wanted)

    def count(self, name: str, where: str | None = None) -> int:
        """How many rows of a table there are for which the Lance filter ``where`` holds.

        Raises:
            UnknownName: There is no such table.
            BadQuery: The filter does not run.
        """
        data = self.dataset(name)
        if data is None:
            return 0
        try:
            with self.place.storing():
                return int(data.count_rows(filter=where))
        except ValueError as error:
            raise _bad_filter(name, where or "", error) from error

    # Writing

    @contextmanager
    def writing(self) -> Iterator[None]:
        """The lake's lock; what is written within, to any tables, stays or goes as one.

        A block within a block is part of the outer one; if it raises and the outer goes on, only
        what the inner one wrote is gone.

        Raises:
            LakeError: The lake is pinned to a moment, or another writer took over.
            StorageFull: The disk is full or read-only.
        """
        self.refuse_if_pinned()
        with self._thread_lock:
            outer = self._batch
            if outer is not None:
                at, snapshots = dict(outer.at), dict(outer.snapshots)
                try:
                    yield
                except BaseException:
                    outer.at, outer.snapshots = at, snapshots
                    outer.open = {
                        name: data
                        for name, data in outer.open.items()
                        if int(data.version) == at.get(name)
                    }
                    raise
                return
            with self.place.lock():
                try:
                    self._owner = threading.get_ident()
                    self._batch = batch = self._begin()
                    yield
                    self._commit(batch)
                finally:
                    self._owner = self._batch = None

    def append(self, name: str, rows: pa.Table) -> None:
        """Rows at the end of a table; within :meth:`writing`.

        Args:
            name: Of the table.
            rows: With the columns of its schema, in order; of ``blobs``, with the bytes beside.
        """
        batch = self._writer()
        if not rows.num_rows:
            return
        stored = pa.Table.from_arrays(rows.columns, schema=_stored_schema(name))
        data = self._ready(name)
        with self._changing():
            if data is None:
                before = self._latest_version(name)  # of what a killed writer left, if not 0
                written = lance.write_dataset(
                    stored, self._path(name), mode="overwrite" if before else "create",
                    storage_options=self._options, session=self._session,
                )  # fmt: skip
            else:
                before = int(data.version)
                written = lance.write_dataset(stored, data, mode="append")
        self._took(batch, name, written, before)
        if is_scattered(written):
            with self.editing(name) as grown:
                assert grown is not None
                merge_newest(grown)
                self.index_table(name, grown)
            batch.merged.add(name)

    def delete(self, name: str, where: str) -> None:
        """Remove the rows for which the Lance filter holds; within :meth:`writing`."""
        batch = self._writer()
        data = self._ready(name)
        if data is None:
            return
        before = int(data.version)
        try:
            with self._changing():
                data.delete(where)
        except (ValueError, OSError, LakeError) as error:
            if "Invalid user input" not in str(error):
                raise
            raise _bad_filter(name, where, error) from error
        self._took(batch, name, data, before)

    @contextmanager
    def editing(self, name: str) -> Iterator[lance.LanceDataset | None]:
        """A table to be changed by Lance's own means, its rows staying as they are.

        Within :meth:`writing`; None where it has no rows yet.
        """
        batch = self._writer()
        data = self._ready(name)
        if data is None:
            yield None
            return
        count = data.count_rows()
        with self._changing():
            yield data
            _to_latest(data)
        if data.count_rows() != count:
            raise self._overtaken()
        batch.at[name], batch.open[name] = int(data.version), data

    def index(self) -> None:
        """Bring the indices up to date; within :meth:`writing`."""
        for name in _INDEXED:
            with self.editing(name) as data:
                if data is not None:
                    self.index_table(name, data)

    def index_table(self, name: str, data: lance.LanceDataset, *, whole: bool = False) -> None:
        """Add to a table's indices the rows that they lack; within :meth:`editing`.

        Args:
            name: Of the table.
            data: The table.
            whole: Make each index one piece, as files of different pieces cannot be joined.
        """
        kinds = {index.name: index.index_type for index in data.describe_indices()}
        for column in _INDEXED.get(name, ()):
            index = f"{column}_idx"
            few = (name, column) in _BITMAPS
            if kinds.get(index) != ("Bitmap" if few else "BTree"):
                if index in kinds:  # a zone map, of an older Scenelake
                    data.drop_index(index)
                data.create_scalar_index(column, "BITMAP" if few else "BTREE", name=index)
                continue
            stats: Any = data.stats.index_stats(index)
            pieces = stats["num_indexed_rows_per_delta"]
            joined = _pieces_to_join(pieces, stats["num_unindexed_rows"])
            if stats["num_unindexed_fragments"] or (whole and len(pieces) > 1):
                data.optimize.optimize_indices(
                    index_names=[index], num_indices_to_merge=len(pieces) if whole else joined
                )

    def keep(self, snapshots: Mapping[str, Snapshot]) -> None:
        """Replace the lake's snapshots; within :meth:`writing`."""
        self._writer().snapshots = dict(snapshots)

    # Inside

    def _begin(self) -> _Batch:
        manifest, tag = self._read_manifest()
        batch = _Batch(
            manifest=manifest, tag=tag, began=time.monotonic(),
            at=dict(manifest.tables or {}), snapshots=dict(manifest.snapshots),
        )  # fmt: skip
        if manifest.tables is None:
            batch.at = self._before_manifests()
        if manifest.tables is None or manifest.schema_version < SCHEMA_VERSION:
            self._batch = batch
            for name in batch.at:
                self._add_columns(name)
            self._commit(batch, always=True)
            self.place.remove(_JOURNAL)
            return self._begin()
        return batch

    def _add_columns(self, name: str) -> None:
        """The columns that a table of an older Scenelake lacks, as null."""
        with self.editing(name) as data:
            assert data is not None
            missing = [f for f in _stored_schema(name) if f.name not in data.schema.names]
            if missing:
                assert all(field.nullable for field in missing)
                data.add_columns(missing)

    def _commit(self, batch: _Batch, *, always: bool = False) -> None:
        """Say in ``lake.json`` which versions count from now on."""
        before = batch.manifest
        changed = batch.at != before.tables or batch.snapshots != before.snapshots
        if not (changed or always):
            return
        after = before.next(
            batch.at,
            batch.snapshots,
            schema_version=SCHEMA_VERSION,
            scenelake=code_version(),
            took_s=time.monotonic() - batch.began,
        )
        try:
            self.place.write(ABOUT, after.to_json(), tag=batch.tag)
        except Overtaken as error:
            raise self._overtaken() from error
        for name in batch.merged.intersection(batch.open):
            with self.place.storing():
                remove_versions(
                    batch.open[name],
                    keep={snap.tables.get(name, 0) for snap in batch.snapshots.values()},
                    horizon_s=time.time() - KEEP_S - after.longest_s,
                    orphans=False,
                )

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Tell what Lance refuses because somebody else wrote, and what the storage refuses."""
        try:
            with self.place.storing():
                yield
        except (OSError, RuntimeError, LakeError) as error:
            if any(word in str(error) for word in _CONFLICT):
                raise self._overtaken() from error
            raise

    def _overtaken(self) -> LakeError:
        return LakeError(
            self.place.uri,
            "was written by another process although this one held its lock; what this one "
            "wrote in this step is not kept.",
            hint="This process may have slept too long. Run the command again.",
        )

    def _writer(self) -> _Batch:
        assert self._batch is not None
        assert self._writes_here()
        return self._batch

    def _writes_here(self) -> bool:
        return self._owner == threading.get_ident()

    def _ready(self, name: str) -> lance.LanceDataset | None:
        """A table at the version that counts, to be written to; None where there is none."""
        _known(name)
        batch = self._writer()
        if name in batch.open:
            return batch.open[name]
        version = batch.at.get(name, 0)
        if not version:
            return None
        with self._changing():
            data = self._open(name, version)
            if int(data.latest_version) != version:
                # What is newer was left by a writer that did not finish.
                _restore(data)
        batch.at[name], batch.open[name] = int(data.version), data
        return data

    def _took(self, batch: _Batch, name: str, data: lance.LanceDataset, before: int) -> None:
        """Note that a table was written to."""
        if int(data.version) != before + 1:  # somebody else's rows are among ours
            raise self._overtaken()
        batch.at[name], batch.open[name] = int(data.version), data

    def _open_all(self, names: Sequence[str]) -> dict[str, lance.LanceDataset]:
        """Tables at the versions that count."""
        batch = self._batch if self._writes_here() else None
        while True:
            versions = self.versions()
            there = [name for name in names if versions.get(name)]
            found = {name: batch.open[name] for name in there if batch and name in batch.open}
            for name in there:
                kept = self._cache.get(name)
                if kept is not None and name not in found and kept[0] == versions[name]:
                    found[name] = kept[1]
            lacking = {name: versions[name] for name in there if name not in found}
            try:
                opened = self._open_some(lacking)
            except ValueError as error:
                if self._pinned is None and self.versions() != versions:
                    continue  # it was compacted away just now
                if self._pinned is not None and "not found" in str(error):
                    raise LakeError(
                        self.place.uri,
                        "is read as it was at a moment whose rows have been compacted away.",
                        hint="Take a snapshot to keep a moment for long.",
                    ) from error
                raise LakeError(
                    self.place.uri,
                    f"has a table that cannot be opened: {str(error).split(', /')[0]}",
                    hint="Restore the lake from a copy, or ingest into a new one.",
                ) from error
            self._cache.update({name: (lacking[name], data) for name, data in opened.items()})
            return {name: found[name] if name in found else opened[name] for name in there}

    def _open_some(self, versions: Mapping[str, int]) -> dict[str, lance.LanceDataset]:
        with self.place.storing():
            if len(versions) < 2 or self.place.options is None:
                return {name: self._open(name, versions[name]) for name in versions}
            with ThreadPoolExecutor(_OPENED_AT_ONCE) as pool:  # a store answers slowly
                opened = pool.map(self._open, versions, versions.values())
                return dict(zip(versions, opened, strict=True))

    def _open(self, name: str, version: int) -> lance.LanceDataset:
        return lance.dataset(
            self._path(name),
            version=version,
            storage_options=self._options,
            session=self._session,
        )

    def _path(self, name: str) -> str:
        _known(name)
        return self.place.at(f"{name}.lance")

    @property
    def _options(self) -> dict[str, str] | None:
        return None if self.place.options is None else dict(self.place.options)

    def _latest_version(self, name: str) -> int:
        """The newest version of a table, whether it counts or not; 0 if there is none."""
        try:
            return int(
                lance.dataset(
                    self._path(name), storage_options=self._options, session=self._session
                ).version
            )
        except ValueError as error:
            if "not found" in str(error).lower():
                return 0
            raise LakeError(
                self.place.uri,
                f"has a table `{name}` that cannot be opened: {error}",
                hint="Restore the lake from a copy, or ingest into a new one.",
            ) from error

    def _read_manifest(self) -> tuple[Manifest, str]:
        file = self.place.read(ABOUT)
        if file is None:
            raise NoLake(
                self.place.uri,
                f"is gone: there is no {ABOUT}.",
                hint="Was it removed while it was in use?",
            )
        if self._seen is None or self._seen[0] != file.data:
            manifest = manifest_of(file.data, self.place.uri)
            if self._seen and self._seen[1].created_unix_ns != manifest.created_unix_ns:
                self._cache.clear()  # another lake in the same place
            self._seen = (file.data, manifest)
        return self._seen[1], file.tag

    def _before_manifests(self) -> dict[str, int]:
        """The versions that count in a lake of Scenelake 0.1."""
        journal = self.place.read(_JOURNAL)
        versions = {name: self._latest_version(name) for name in TABLES}
        if journal is not None:
            versions.update({str(k): int(v) for k, v in json.loads(journal.data).items()})
        return {name: version for name, version in versions.items() if version}


@functools.cache
def code_version() -> str:
    """The version of Scenelake that runs."""
    return installed_version("scenelake")


def conform(name: str, rows: pa.Table | Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as the table's schema wants them, sorted by the table's key.

    Raises:
        UnknownName: There is no such table, or it has no such column.
        ValueError: A column that must not be null is, or a value is of the wrong type.
    """
    _known(name)
    table, schema = TABLES[name], TABLES[name].schema
    if isinstance(rows, pa.Table):
        given: Sequence[str] = rows.schema.names
    else:
        given = sorted({key for row in rows for key in row})
    for told in given:
        if told not in schema.names:
            raise UnknownName(f"column of {name}", told, schema.names)
    if not isinstance(rows, pa.Table):
        rows = pa.Table.from_pylist(list(rows), schema=schema)
    count = rows.num_rows
    arrays = [
        rows[column.name].cast(column.type) if column.name in rows.schema.names
        else pa.chunked_array([pa.nulls(count, column.type)])
        for column in schema
    ]  # fmt: skip
    for column, array in zip(schema, arrays, strict=True):
        if not column.nullable and array.null_count:
            raise ValueError(f"{name}.{column.name} must not be null.")
    made = pa.Table.from_arrays(arrays, schema=schema)
    return made.sort_by([(column, "ascending") for column in table.key])


def _session() -> Any:
    """What Lance remembers of one lake, within bounds."""
    library: Any = lance  # its stubs leave the class out
    return library.Session(
        index_cache_size_bytes=CACHE_BYTES, metadata_cache_size_bytes=CACHE_BYTES
    )


def _to_latest(data: Any) -> None:
    data.checkout_latest()


def _restore(data: Any) -> None:
    """Make the version that is open the newest one."""
    data.restore()
    data.checkout_latest()


def _pieces_to_join(rows: Sequence[int], new: int) -> int:
    """With how many of an index's newest pieces new rows are best joined.

    Pieces double in size from newest to oldest, so that there are few, and a row is joined few
    times until it lies in the largest.

    Args:
        rows: Of each piece, oldest first.
        new: Rows that are in none.
    """
    joined = 0
    for piece in reversed(rows):
        if piece > 2 * new:
            break
        new += piece
        joined += 1
    return joined


def _known(name: str) -> None:
    if name not in TABLES:
        raise UnknownName("table", name, TABLES)


def _bad_filter(name: str, where: str, error: Exception) -> BadQuery:
    reason = str(error).split(", /")[0]
    return BadQuery(
        f"The filter on {name} does not run: {where} ({reason})",
        hint=f"Columns of {name}: {', '.join(TABLES[name].schema.names)}.",
    )


@functools.cache
def _stored_schema(name: str) -> pa.Schema:
    """The table's schema with what Lance is told about compression."""
    fields = []
    for column in TABLES[name].schema:
        if pa.types.is_float32(column.type):
            fields.append(column.with_metadata(_COMPRESSED))
        elif pa.types.is_binary(column.type):
            fields.append(column.with_metadata(_COMPRESSED_BYTES))
        else:
            fields.append(column)
    if name == "blobs":
        fields.append(lance.blob_field(PAYLOAD))
    return pa.schema(fields)
