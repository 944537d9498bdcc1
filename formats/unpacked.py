"""How large a packed table becomes, told before it is.

Parquet and Arrow files of a few bytes may hold billions of rows.

    refuse_bomb(path, parquet_bytes(file.metadata), size=size)

Sizes are of the values as Arrow holds them. What repeats a long text is told by
:func:`text_bytes`, once the column is read as a dictionary of its texts.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import compute

from schemas.errors import UnreadableFile

MAX_UNPACKED = 2**28  # [bytes] that any packed file may grow to, and beyond that
MAX_RATIO = 100  # times its size; logs are packed to a fifth or a twentieth

_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "BYTE_ARRAY": 4}  # of other types 8 [bytes]
_COMPRESSED = 3  # numbers of fields in Arrow's Message.fbs
_BUFFERS = 2


def most_bytes(size: int) -> int:
    """What a packed file of a size may grow to [bytes]."""
    return max(MAX_UNPACKED, MAX_RATIO * size)


def refuse_bomb(path: Path, unpacked: int, *, size: int) -> None:
    """Refuse what is out of all proportion to the file.

    Args:
        path: The file.
        unpacked: What it becomes [bytes].
        size: What it is [bytes].

    Raises:
        UnreadableFile: It is.
    """
    if unpacked > most_bytes(size):
        raise UnreadableFile(
            path, f"unpacks to more than {most_bytes(size)} bytes, {MAX_RATIO} times its size",
            hint="No recording packs so well. If this one does, unpack it yourself.",
        )  # fmt: skip


def parquet_bytes(metadata: Any, columns: Collection[str] | None = None) -> int:
    """What columns of a Parquet file become at least, texts that repeat counted once [bytes].

    Args:
        metadata: Of the file, as pyarrow reads it.
        columns: Their names; all by default.
    """
    total = 0
    for n in range(metadata.num_row_groups):
        group = metadata.row_group(n)
        for k in range(group.num_columns):
            chunk = group.column(k)
            if columns is None or chunk.path_in_schema.partition(".")[0] in columns:
                values = max(chunk.num_values, group.num_rows)
                told = values * _WIDTHS.get(chunk.physical_type, 8)
                total += max(told, chunk.total_uncompressed_size)
    return total


def text_columns(schema: pa.Schema) -> list[str]:
    """Columns of text or bytes, to be read as dictionaries."""
    kinds = (pa.types.is_string, pa.types.is_binary, pa.types.is_large_string,
             pa.types.is_large_binary)  # fmt: skip
    return [field.name for field in schema if any(kind(field.type) for kind in kinds)]


def text_bytes(column: pa.Array | pa.ChunkedArray) -> int:
    """What a column of text becomes that was read as a dictionary; of others 0 [bytes]."""
    if not pa.types.is_dictionary(column.type):
        return 0
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    total = 0
    for chunk in chunks:
        lengths = compute.binary_length(chunk.dictionary).cast(pa.int64())
        total += compute.sum(lengths.take(chunk.indices)).as_py() or 0
    return total


def arrow_bytes(data: pa.Buffer) -> int:
    """What the batches of an Arrow file become that follow each other from its beginning [bytes].

    Raises:
        pa.ArrowException: It is no Arrow file.
    """
    total = 0
    for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(data.slice(8))):
        try:
            total += 0 if message.body is None else _body_bytes(message)
        except struct.error as error:
            raise pa.ArrowInvalid("a batch is described as Arrow does not") from error
    return total


def _body_bytes(message: Any) -> int:
    """Of one batch: each compressed buffer begins with its size, or −1 where it is as it is."""
    about, body = memoryview(message.metadata), memoryview(message.body)
    batch = _table(about, _table_at_root(about), 2)
    if message.type == "dictionary":
        batch = _table(about, batch, 1)
    if not _field(about, batch, _COMPRESSED):
        return len(body)
    begin = _table(about, batch, _BUFFERS)
    (count,) = struct.unpack_from("<I", about, begin)
    total = 0
    for k in range(count):
        offset, length = struct.unpack_from("<qq", about, begin + 4 + 16 * k)
        if length >= 8:
            (size,) = struct.unpack_from("<q", body, offset)
            total += length if size < 0 else size
    return total


def _table_at_root(about: memoryview) -> int:
    return int(struct.unpack_from("<I", about, 0)[0])


def _field(about: memoryview, table: int, number: int) -> int:
    """Where a field of a flatbuffer's table begins; 0 where it is left out."""
    (back,) = struct.unpack_from("<i", about, table)
    (size,) = struct.unpack_from("<H", about, table - back)
    if 4 + 2 * number >= size:
        return 0
    (offset,) = struct.unpack_from("<H", about, table - back + 4 + 2 * number)
    return table + offset if offset else 0


def _table(about: memoryview, table: int, number: int) -> int:
    """Where the table or list begins to which a field points."""
    place = _field(about, table, number)
    (offset,) = struct.unpack_from("<I", about, place)
    return int(place + offset)
