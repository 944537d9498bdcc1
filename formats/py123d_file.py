"""One Arrow file of a py123d log: rows of one modality in order of time.

Columns bear the file's name before theirs (``camera.pcam_f0.timestamp_us``); the modality's metadata
is a msgpack in the schema. Files are mapped, not read: a stretch of rows takes the memory of that
stretch. Payloads that are not compressed lie in the file as they are and are told by their place;
of compressed ones the row is told, which container ``arrow:COLUMN`` finds again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from formats.files import GZIP_SUFFIX, open_binary, plain_name, read_bytes
from formats.unpacked import arrow_bytes, refuse_bomb
from geometry.arrays import Array
from schemas.errors import UnreadableFile

METADATA = b"metadata"
HINT = "Fetch the file again."


@dataclass(frozen=True, slots=True)
class Payload:
    """Where the bytes of one row lie.

    Attributes:
        offset: Byte of the file, or the row for a container.
        size: Number of bytes; None for a container.
        container: As ``Frame.container``.
        begin: The first bytes, to tell what they are.
    """

    offset: int
    size: int | None
    container: str | None
    begin: bytes


class ArrowFile:
    """Rows of one file by their stamps.

    Attributes:
        path: File.
        key: Name of the modality, such as ``lidar.lidar_top``.
        metadata: What the file says of the modality; empty if nothing.
        stamps: Of the rows that have one, ascending [µs].
    """

    def __init__(self, path: Path, *, timestamp: str | None = None) -> None:
        """Map a file.

        Args:
            path: File, plain or ``.gz``.
            timestamp: Column of the stamps, by default ``<key>.timestamp_us``.

        Raises:
            UnreadableFile: It is no Arrow file, cut off, damaged, or has no stamps.
        """
        self.path = path
        self.key = plain_name(path).removesuffix(".arrow")
        self._buffer = _buffer(path)
        with _reported(path):
            refuse_bomb(path, arrow_bytes(self._buffer), size=self._buffer.size)
            self._reader = pa.ipc.open_file(pa.BufferReader(self._buffer))
            self.schema = _readable(self._reader.schema)
        self.metadata = unpacked_metadata(path, self.schema)
        self._prefix = f"{self.key}."
        self._timestamp = timestamp or f"{self._prefix}timestamp_us"
        if self._timestamp not in self.schema.names:
            raise UnreadableFile(
                path,
                f"has no column {self._timestamp}",
                hint=f"It has {', '.join(self.schema.names) or 'none'}.",
            )
        self._find_rows()

    @property
    def columns(self) -> list[str]:
        """Columns without the file's name before them, and without the stamps."""
        names = (name for name in self.schema.names if name != self._timestamp)
        return [name.removeprefix(self._prefix) for name in names]

    def type_of(self, column: str) -> pa.DataType | None:
        """Type of a column, None if there is no such column."""
        name = self._prefix + column
        return self.schema.field(name).type if name in self.schema.names else None

    def rows(self, begin_us: int, end_us: int, columns: Sequence[str]) -> Stretch:
        """Rows with stamps in [begin, end), ascending.

        Args:
            begin_us: First stamp [µs].
            end_us: Behind the last stamp [µs].
            columns: Those to read; those that the file lacks are left out.

        Raises:
            UnreadableFile: The file is damaged there.
        """
        low, high = np.searchsorted(self.stamps, [begin_us, end_us])
        rows = self._order[low:high]
        names = [self._prefix + name for name in columns if self.type_of(name) is not None]
        taken = np.sort(rows)
        with _reported(self.path):
            batches = [
                batch.take(pa.array(taken[inside] - begin))
                for begin, batch, inside in self._batches(names, taken)
            ]
            schema = pa.schema([self.schema.field(name) for name in names])
            table = pa.Table.from_batches([b.select(names) for b in batches], schema=schema)
            table = table.rename_columns([name.removeprefix(self._prefix) for name in names])
            table = table.take(pa.array(np.searchsorted(taken, rows)))
        return Stretch(path=self.path, stamps=self.stamps[low:high], table=table, file_rows=rows)

    def payloads(self, rows: Int[Array, " rows"], column: str) -> list[Payload | None]:
        """Where the bytes of some rows of a binary column lie; None where there are none.

        Raises:
            UnreadableFile: The file is damaged there.
        """
        name = self._prefix + column
        wide = np.int64 if pa.types.is_large_binary(self.schema.field(name).type) else np.int32
        found: dict[int, Payload | None] = {}
        taken = np.sort(rows)
        with _reported(self.path):
            for begin, batch, inside in self._batches([name], taken, mapped=self._plain):
                values = batch.column(batch.schema.names.index(name))
                _, ends, data = values.buffers()
                known = values.is_valid().to_numpy(zero_copy_only=False)
                for row in (taken[inside] - begin).tolist():
                    if not known[row] or ends is None or data is None:
                        found[begin + row] = None
                        continue
                    low, high = np.frombuffer(ends, dtype=wide)[values.offset + row :][:2].tolist()
                    told = data[low : min(high, low + 16)].to_pybytes()
                    if self._plain:
                        at = data.address - self._buffer.address + low
                        found[begin + row] = Payload(at, high - low, None, told)
                    else:
                        found[begin + row] = Payload(begin + row, None, f"arrow:{name}", told)
        return [found[row] for row in rows.tolist()]

    @cached_property
    def _plain(self) -> bool:
        """Whether payloads lie in the file as they are, neither compressed nor packed."""
        if self.path.suffix == GZIP_SUFFIX:
            return False
        for index in range(self._reader.num_record_batches):
            for column in self._reader.get_batch(index).columns:
                for buffer in column.buffers():
                    if buffer is not None and buffer.size:
                        begin = buffer.address - self._buffer.address
                        return 0 <= begin < self._buffer.size
        return False

    def _find_rows(self) -> None:
        with _reported(self.path):
            stamps, begins = [], [0]
            for index in range(self._reader.num_record_batches):
                part = self._column_batch(index, [self._timestamp])
                column = part.column(part.schema.names.index(self._timestamp))
                if not pa.types.is_integer(column.type):
                    raise UnreadableFile(self.path, "has stamps that are no whole microseconds")
                stamps.append(column.cast(pa.int64()).fill_null(-1).to_numpy())
                begins.append(begins[-1] + len(column))
        self._begins = np.array(begins, dtype=np.int64)
        told = np.concatenate([*stamps, np.zeros(0, dtype=np.int64)])
        order = np.argsort(told, kind="stable")
        usable = (told[order] >= 0) & (told[order] < 2**53)
        self._order = order[usable]
        self.stamps: Int[Array, " rows"] = told[self._order]
        self.without_stamp = int((~usable).sum())

    def _batches(
        self, names: Sequence[str], rows: Int[Array, " rows"], *, mapped: bool = False
    ) -> Iterator[tuple[int, pa.RecordBatch, slice]]:
        """(first row, batch, which of the rows) for every batch that holds some of them.

        Mapped batches have all columns, and their memory is that of the file.
        """
        bounds = np.searchsorted(rows, self._begins)
        for index, (low, high) in enumerate(pairwise(bounds.tolist())):
            if low < high:
                if mapped:
                    batch = self._reader.get_batch(index)
                    batch.validate(full=True)
                else:
                    batch = self._column_batch(index, names)
                yield int(self._begins[index]), batch, slice(low, high)

    def _column_batch(self, index: int, names: Sequence[str]) -> pa.RecordBatch:
        """Some columns of a batch; the others are not unpacked."""
        wanted = [self.schema.names.index(name) for name in names]
        options = pa.ipc.IpcReadOptions(included_fields=wanted or [0])
        reader = pa.ipc.open_file(pa.BufferReader(self._buffer), options=options)
        batch = reader.get_batch(index)
        batch.validate(full=True)  # damaged offsets would crash whoever follows them
        return batch


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Rows of one file within a stretch of time.

    Attributes:
        path: The file, for errors.
        stamps: Ascending [µs].
        table: Columns without the file's name before them.
        file_rows: Place of each row in the file.
    """

    path: Path
    stamps: Int[Array, " rows"]
    table: pa.Table
    file_rows: Int[Array, " rows"]

    def has(self, column: str) -> bool:
        """Whether the file has the column."""
        return column in self.table.column_names

    def values(self, column: str) -> list[Any]:
        """A column as Python values; None where there is none, also for want of the column."""
        return self.table[column].to_pylist() if self.has(column) else [None] * len(self.stamps)

    def vectors(self, column: str, width: int) -> Float[Array, "rows {width}"]:
        """A column of lists of a known length; NaN where there is none."""
        if not self.has(column):
            return np.full((len(self.stamps), width), np.nan)
        return fixed_vectors(self.table[column].combine_chunks(), width)

    def lists(self, column: str) -> tuple[Int[Array, " rows"], pa.Array]:
        """How many entries each row's list has, and all of them in one array."""
        array = self.table[column].combine_chunks()
        array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
        counts = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        return counts.astype(np.int64), array.flatten()


def unpack(content: bytes) -> Any:
    """A msgpack with numpy arrays as py123d writes them.

    Raises:
        ValueError: It is none.
    """
    import msgpack

    try:
        return msgpack.unpackb(content, raw=False, strict_map_key=False, object_hook=_array)
    except (msgpack.UnpackException, msgpack.StackError, UnicodeDecodeError) as error:
        raise ValueError(f"no msgpack ({type(error).__name__})") from error


def unpacked_metadata(path: Path, schema: pa.Schema) -> Mapping[str, Any]:
    """The metadata in a schema; empty if it has none.

    Raises:
        UnreadableFile: It is there and cannot be understood.
    """
    packed = (schema.metadata or {}).get(METADATA)
    if packed is None:
        return {}
    try:
        told = unpack(packed)
    except (ValueError, TypeError) as error:
        raise UnreadableFile(path, f"has metadata that cannot be read ({error})") from error
    if not isinstance(told, dict):
        raise UnreadableFile(path, "has metadata that are no names with values")
    return told


def open_schema(path: Path) -> pa.Schema:
    """The schema of an Arrow file, plain or packed.

    Raises:
        UnreadableFile: It is none, or cut off.
    """
    with _reported(path):
        return _readable(pa.ipc.open_file(pa.BufferReader(_buffer(path))).schema)


def read_all(path: Path) -> pa.Table:
    """A whole Arrow file, plain or packed.

    Raises:
        UnreadableFile: It is none, cut off, or damaged.
    """
    with _reported(path):
        buffer = _buffer(path)
        refuse_bomb(path, arrow_bytes(buffer), size=buffer.size)
        table = pa.ipc.open_file(pa.BufferReader(buffer)).read_all()
        table.validate(full=True)
        _readable(table.schema)
        return table


def from_arrow(file: BinaryIO, column: str, row: int | None, _: int | None) -> bytes:
    """A cell of a binary column, for ``formats.media.CONTAINERS``."""
    try:
        source = pa.PythonFile(file, mode="r")
        names = pa.ipc.open_file(source).schema.names
        options = pa.ipc.IpcReadOptions(included_fields=[names.index(column)])
        reader = pa.ipc.open_file(source, options=options)
        left = row or 0
        for index in range(reader.num_record_batches):
            batch = reader.get_batch(index)
            if left < len(batch):
                found = batch.column(0)[left].as_py()
                if not isinstance(found, bytes):
                    raise ValueError("the row holds no bytes")
                return found
            left -= len(batch)
    except pa.ArrowException as error:
        raise ValueError(str(error).splitlines()[0]) from error
    raise IndexError(f"row {row} is beyond the end")


def _readable(schema: pa.Schema) -> pa.Schema:
    """The schema, whose names are UTF-8; else a ``ValueError`` is raised."""
    assert len(schema.names) == len(schema.types)
    return schema


def _array(value: dict[Any, Any]) -> Any:
    """An array of the four things that py123d packs it as."""
    if b"__ndarray__" not in value:
        return value
    try:
        kind = np.dtype(value[b"dtype"])
        if kind.hasobject:
            raise ValueError("an array of objects")
        return np.frombuffer(value[b"data"], dtype=kind).reshape(value[b"shape"])
    except (KeyError, TypeError) as error:
        raise ValueError("an array without dtype, shape or data") from error


def fixed_vectors(array: Any, width: int) -> Array:
    """Lists of one length as an array; NaN for entries that are null.

    Raises:
        ValueError: They are no such lists.
    """
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    kind = array.type
    if not (pa.types.is_fixed_size_list(kind) and kind.list_size == width):
        raise ValueError(f"{kind} where lists of {width} numbers belong")
    known = array.is_valid().to_numpy(zero_copy_only=False)
    made = np.full((len(array), width), np.nan)
    values = array.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    made[known] = values.reshape(-1, width)
    return made


def _buffer(path: Path) -> pa.Buffer:
    with open_binary(path):
        pass  # refuses what is missing, empty or not permitted
    if path.suffix == GZIP_SUFFIX:
        return pa.py_buffer(read_bytes(path))
    with pa.memory_map(str(path)) as mapped:
        return mapped.read_buffer()


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """What Arrow raises within the block becomes an error that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = f"is no Arrow file that can be read ({told})"
        raise UnreadableFile(path, reason, hint=HINT) from error
