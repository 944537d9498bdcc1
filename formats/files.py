"""Files as users bring them: plain or ``.gz``, whole or broken.

Every way in which bytes can be missing ends in one error, :class:`~schemas.errors.UnreadableFile`,
which names the file.
"""

from __future__ import annotations

import gzip
import json
import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from formats.unpacked import arrow_bytes, parquet_bytes, refuse_bomb, text_bytes, text_columns
from schemas.errors import UnreadableFile

GZIP_SUFFIX = ".gz"
CHUNK_BYTES = 2**22

_MISFITS = (
    ArithmeticError, AttributeError, LookupError, TypeError, ValueError, pa.ArrowException,
    struct.error,
)  # fmt: skip
"""What code raises that takes apart something of another shape than it was written for."""


@contextmanager
def open_binary(path: Path) -> Iterator[BinaryIO]:
    """A file's content to read, unpacked on the way if its name ends in ``.gz``.

    A packed file that turns out to be cut off or damaged while the block reads it is reported in
    the same way as one that is not there.

    Raises:
        UnreadableFile: Missing, a folder, empty, not permitted, cut off, not gzip at all, or
            made to fill the memory of whoever unpacks it.
    """
    _refuse_what_holds_nothing(path)
    try:
        with path.open("rb") as raw:
            if path.suffix == GZIP_SUFFIX:
                with _Unpacked(path, raw) as unpacked:
                    yield cast(BinaryIO, unpacked)
            else:
                yield raw
    except PermissionError as error:
        raise UnreadableFile(path, "may not be read", hint="Check its permissions.") from error
    except EOFError as error:
        raise UnreadableFile(path, "ends too early", hint="Fetch the file again.") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableFile(
            path, f"is not sound gzip ({error})", hint="Fetch the file again."
        ) from error


def read_bytes(path: Path) -> bytes:
    """All of a file, unpacked if its name ends in ``.gz``.

    Raises:
        UnreadableFile: As :func:`open_binary`, or the packed file holds nothing.
    """
    with open_binary(path) as file:
        content = file.read()
    if not content:
        raise UnreadableFile(path, "is empty", hint="Fetch the file again.")
    return content


def read_json(path: Path) -> Any:
    """A JSON file, unpacked if its name ends in ``.gz``.

    Raises:
        UnreadableFile: As :func:`read_bytes`, or the content is not JSON.
    """
    try:
        return json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits
        raise UnreadableFile(path, f"is not JSON ({error})") from error


def read_table(path: Path, *, columns: Sequence[str] = ()) -> pa.Table:
    """An Arrow table from a ``.feather`` or ``.parquet`` file, packed or not.

    Args:
        path: Its name without ``.gz`` says which of the two it is.
        columns: Those that must be there; others are kept as well.

    Raises:
        UnreadableFile: As :func:`read_bytes`, or the content is no such table, or lacks a column.
    """
    load = _read_parquet if plain_name(path).endswith(".parquet") else _read_feather
    try:
        table = load(path, pa.py_buffer(read_bytes(path)))
        table.validate(full=True)  # damaged offsets would crash whoever follows them
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else "not understood"
        raise UnreadableFile(
            path, f"is no table that can be read ({reason})", hint="Fetch the file again."
        ) from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise UnreadableFile(
            path,
            f"lacks the columns {', '.join(missing)}",
            hint=f"It has {', '.join(table.column_names) or 'none'}.",
        )
    return table


def _read_parquet(path: Path, data: pa.Buffer) -> pa.Table:
    from pyarrow import parquet

    schema = parquet.read_schema(pa.BufferReader(data))
    file = parquet.ParquetFile(pa.BufferReader(data), read_dictionary=text_columns(schema))
    fixed = parquet_bytes(file.metadata)
    refuse_bomb(path, fixed, size=data.size)
    table = file.read()
    refuse_bomb(path, fixed + sum(map(text_bytes, table.columns)), size=data.size)
    return table.cast(schema)


def _read_feather(path: Path, data: pa.Buffer) -> pa.Table:
    from pyarrow import feather

    if data.slice(0, 6).to_pybytes() != b"ARROW1":  # the first version, which packs nothing
        return feather.read_table(pa.BufferReader(data))
    refuse_bomb(path, arrow_bytes(data), size=data.size)
    reader = pa.ipc.open_file(pa.BufferReader(data))
    batches, unpacked = [], 0
    for n in range(reader.num_record_batches):
        batches.append(batch := reader.get_batch(n))
        unpacked += max(batch.nbytes, batch.num_rows)
        refuse_bomb(path, unpacked, size=data.size)
    return pa.Table.from_batches(batches, schema=reader.schema)


@contextmanager
def understood(path: Path, what: str) -> Iterator[None]:
    """What the block finds not to be there, or of another kind, is told as an error of the file.

    Args:
        path: The file or folder whose content the block takes apart.
        what: What it should be, with its article: "a GPUDrive scenario".

    Raises:
        UnreadableFile: The content is something else.
    """
    try:
        yield
    except _MISFITS as error:
        told = str(error).splitlines()[0] if str(error) else "no reason told"
        raise UnreadableFile(
            path, f"is not {what} ({type(error).__name__}: {told})",
            hint="Was the file written to its end?",
        ) from error  # fmt: skip


def plain_name(path: Path) -> str:
    """The file's name without ``.gz``, by which a format recognises it."""
    return path.name.removesuffix(GZIP_SUFFIX)


def present(path: Path) -> Path | None:
    """The file, or its packed twin ``<name>.gz``, whichever is there; None if neither is."""
    for candidate in (path, path.with_name(path.name + GZIP_SUFFIX)):
        try:
            if candidate.is_file():
                return candidate
        except OSError:  # not permitted, or a name longer than names can be
            continue
    return None


def recognised(files: Iterable[Path], begins: Callable[[Path], bool]) -> Iterator[Path]:
    """Of some files those that begin as a format does, and broken ones beside such.

    A file that is empty, cut off, damaged or not permitted cannot be recognised; where others of
    its folder are, it is taken for one of them, since silence would lose it.

    Args:
        files: Candidates by name.
        begins: Whether a file begins as it should; raises ``UnreadableFile`` if that cannot be
            found out.
    """
    verdicts: dict[Path, bool | None] = {}
    for file in files:
        try:
            verdicts[file] = begins(file)
        except UnreadableFile:
            verdicts[file] = None
    homes = {file.parent for file, ours in verdicts.items() if ours}
    for file, ours in verdicts.items():
        if ours or (ours is None and file.parent in homes):
            yield file


def _refuse_what_holds_nothing(path: Path) -> None:
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise UnreadableFile(path, "does not exist", hint="Check the spelling.") from error
    except PermissionError as error:
        raise UnreadableFile(path, "may not be read", hint="Check its permissions.") from error
    except (OSError, ValueError) as error:  # links in a circle; a name with a zero byte
        reason = getattr(error, "strerror", None) or error
        raise UnreadableFile(path, f"cannot be read ({reason})") from error
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableFile(path, "is a folder, not a file")
    if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for ever
        raise UnreadableFile(path, "is no file but a pipe, socket or device")
    if status.st_size == 0:
        raise UnreadableFile(path, "is empty", hint="Fetch the file again.")


class _Unpacked(gzip.GzipFile):
    """The content of a ``.gz``, until it is out of all proportion to the file."""

    def __init__(self, path: Path, raw: BinaryIO) -> None:
        super().__init__(fileobj=raw)
        self._path, self._count = path, 0
        self._size = path.stat().st_size

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size >= 0:
            return self._counted(super().read(size))
        return b"".join(iter(lambda: self._counted(super(_Unpacked, self).read(CHUNK_BYTES)), b""))

    def read1(self, size: int = -1) -> bytes:
        return self._counted(super().read1(size))

    def _counted(self, data: bytes) -> bytes:
        self._count += len(data)
        refuse_bomb(self._path, self._count, size=self._size)
        return data
