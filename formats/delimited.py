"""Tables of words and numbers, one row a line: CSV as users bring it, streamed and typed.

    for batch in batches(path, {"frame": pa.int64(), "x": pa.float64(), "id": pa.string()}):
        ...

Packed files (``.gz``) are unpacked on the way. Numbers are read to the nearest float64; an empty
number is null. A file that was cut off within a row is refused; one whose last line has no end
may have been cut off within its last field, which a :class:`~formats.tally.Tally` is told.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
from pyarrow import csv as pa_csv

from formats.files import open_binary
from formats.tally import Tally
from formats.tree import head
from schemas.errors import UnreadableFile

BLOCK_BYTES = 4 * 2**20  # [bytes] parsed at once
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
WORD_OF_TYPE = {pa.int64(): "whole numbers", pa.float64(): "numbers", pa.string(): "words"}


def first_fields(path: Path, *, delimiter: str = ",") -> list[str]:
    """The fields of a file's first line; none if it is no text. Cheap, for recognising files.

    Args:
        path: The file, perhaps packed.
        delimiter: Between fields; ``" "`` stands for any blanks.
    """
    line = head(path).removeprefix(BYTE_ORDER_MARK).split(b"\n", 1)[0].strip()
    if not line or b"\0" in line:
        return []
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return []
    if delimiter == " ":
        return text.split()
    try:
        return [field.strip() for field in next(csv.reader([text], delimiter=delimiter))]
    except (csv.Error, StopIteration):
        return []


def batches(
    path: Path,
    types: Mapping[str, pa.DataType],
    *,
    delimiter: str = ",",
    names: Sequence[str] = (),
    tally: Tally | None = None,
) -> Iterator[pa.RecordBatch]:
    """The wanted columns of a file, some thousand rows at a time.

    Args:
        path: The file, perhaps packed.
        types: Wanted columns; all must be there.
        delimiter: Between fields; ``" "`` stands for any blanks.
        names: Of all columns, for files without a first line of names.
        tally: Told of a last line without an end.

    Raises:
        UnreadableFile: Missing, empty, cut off within a row, not UTF-8, without a wanted column, or
            with a value that is not of its type.
    """
    known = list(names) or first_fields(path, delimiter=delimiter)
    missing = [name for name in types if name not in known]
    if missing and known:
        raise UnreadableFile(
            path, f"lacks the columns {', '.join(missing)}", hint=f"It has {', '.join(known)}."
        )
    with open_binary(path) as file:
        watched = _Watched(_Blanks(file) if delimiter == " " else file)
        try:
            reader = pa_csv.open_csv(
                pa.PythonFile(watched, mode="r"),
                read_options=pa_csv.ReadOptions(
                    # The names as told above: in the file they may have blanks around them.
                    column_names=known, skip_rows=0 if names else 1, block_size=BLOCK_BYTES,
                    use_threads=False,
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter="," if delimiter == " " else delimiter
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict(types), include_columns=list(types)
                ),
            )  # fmt: skip
            yield from reader
        except pa.ArrowException as error:
            if not watched.count:
                raise UnreadableFile(path, "is empty", hint="Fetch the file again.") from error
            if "Empty CSV" in str(error):
                return
            raise UnreadableFile(
                path,
                f"cannot be read to its end as a table ({_reason(error)})",
                hint="Was the file written to its end? Else mend that row or column.",
            ) from error
    if watched.count and watched.last != b"\n" and tally is not None:
        reason = "the last line has no end: the file may have been cut off within its last field"
        tally.add("guessed", reason)


def table(
    path: Path,
    types: Mapping[str, pa.DataType],
    *,
    delimiter: str = ",",
    tally: Tally | None = None,
) -> pa.Table:
    """All rows of a small file, see :func:`batches`."""
    schema = pa.schema(list(types.items()))
    return pa.Table.from_batches(
        list(batches(path, types, delimiter=delimiter, tally=tally)), schema=schema
    )


def _reason(error: pa.ArrowException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else "not understood"


class _Watched(io.RawIOBase):
    """A stream that remembers how much was read and the last byte of it."""

    def __init__(self, file: BinaryIO | _Blanks) -> None:
        self._file = file
        self.count = 0
        self.last = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if data:
            self.count += len(data)
            self.last = data[-1:]
        return data


class _Blanks:
    """Lines of fields with any blanks between them, as lines with commas."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._begun = b""

    def read(self, size: int) -> bytes:
        data = self._file.read(max(size // 2, 1))  # no line becomes longer
        if not data:
            rest, self._begun = self._begun, b""
            return b",".join(rest.split())
        *lines, self._begun = (self._begun + data).split(b"\n")
        made = b"".join(b",".join(line.split()) + b"\n" for line in lines if line.strip())
        return made or self.read(size)
