"""A JSON file that holds one long array of records, found by a field of theirs.

The tables of nuScenes reach a gigabyte each, several times that as Python objects. Here a file is
gone through once, record by record, and only where each begins is remembered (some 30 bytes a
record); records are parsed again when they are asked for.

    captures = JsonTable(path, by="sample_token")
    for record in captures.of(token): ...

Packed files (``.gz``) are unpacked into a temporary file, since one cannot jump about in them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

import numpy as np

from formats.files import GZIP_SUFFIX, open_binary
from schemas.errors import UnreadableFile

CHUNK_BYTES = 2**20
MAX_RECORD_BYTES = 2**26  # a longer record is taken for a file that is not what it should be

_BLANK = re.compile(r"[ \t\r\n]*")
_NEXT = re.compile(r"[ \t\r\n]*,[ \t\r\n]*(?=\{)")  # from one record straight to the next
_DECODE = json.JSONDecoder().raw_decode
_BYTE_ORDER_MARK = "\xef\xbb\xbf"  # as it looks when each byte is taken for a letter
Record = dict[str, Any]


def records(path: Path) -> Iterator[Record]:
    """The records of a table, one after the other.

    Raises:
        UnreadableFile: It is missing, damaged, cut off, or no array of objects.
    """
    with open_binary(path) as file:
        for _, _, record in _spans(file, path):
            yield record


class JsonTable:
    """The records of one file by the value of one field; closed by ``with`` or ``close``.

    Attributes:
        path: The file.
        by: The field.
        unkeyed: How many records lack the field, or have no text there.
    """

    def __init__(self, path: Path, *, by: str) -> None:
        """Go through the file once.

        Raises:
            UnreadableFile: It is missing, damaged, cut off, or no array of objects.
        """
        self.path, self.by, self.unkeyed = path, by, 0
        self._file = _with_jumps(path)
        keys, begins, lengths = array("q"), array("q"), array("q")
        try:
            for begin, end, record in _spans(self._file, path):
                key = record.get(by)
                if not isinstance(key, str):
                    self.unkeyed += 1
                    continue
                keys.append(hash(key))
                begins.append(begin)
                lengths.append(end - begin)
        except BaseException:
            self._file.close()
            raise
        key_of = np.frombuffer(keys, dtype=np.int64) if keys else np.zeros(0, dtype=np.int64)
        order = np.argsort(key_of, kind="stable")
        self._keys = key_of[order]
        self._begins = np.array(begins, dtype=np.int64)[order]
        self._lengths = np.array(lengths, dtype=np.int64)[order]

    def __len__(self) -> int:
        """How many records have the field."""
        return len(self._keys)

    def __enter__(self) -> JsonTable:
        """The table itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; nothing can be asked for any more."""
        self._file.close()

    def strangers(self, keys: Iterable[str]) -> int:
        """How many records lack the field or have none of these values there."""
        known = np.fromiter(map(hash, keys), dtype=np.int64)
        return self.unkeyed + int((~np.isin(self._keys, known)).sum())

    def of(self, key: str) -> Iterator[Record]:
        """The records whose field has this value, in the order of the file.

        Raises:
            UnreadableFile: The file was changed meanwhile.
        """
        wanted = hash(key)
        first = int(self._keys.searchsorted(wanted))
        last = first
        while last < len(self._keys) and self._keys[last] == wanted:
            last += 1
        places = zip(
            self._begins[first:last].tolist(), self._lengths[first:last].tolist(), strict=True
        )
        file = self._file.fileno()
        for begin, length in places:
            try:
                record, _ = _DECODE(os.pread(file, length, begin).decode())
            except ValueError as error:
                raise UnreadableFile(self.path, "was changed while it was read") from error
            if record.get(self.by) == key:  # else another value with the same hash
                yield record


def _with_jumps(path: Path) -> BinaryIO:
    """The file's content with a descriptor that one can jump about in."""
    with open_binary(path) as file:
        if path.suffix != GZIP_SUFFIX:
            return path.open("rb")
        unpacked = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 (closed by the table)
        try:
            shutil.copyfileobj(file, unpacked, CHUNK_BYTES)
        except BaseException:
            unpacked.close()
            raise
        unpacked.seek(0)
        return unpacked


def _spans(file: BinaryIO, path: Path) -> Iterator[tuple[int, int, Record]]:
    """(begin, end, record) with offsets in bytes.

    Bytes are taken for letters one by one (Latin-1), so that places in the text are places in the
    file; a record that holds more than ASCII is parsed again from its bytes.
    """
    text, base, at = "", 0, 0

    def more() -> bool:
        nonlocal text, base, at
        chunk = file.read(max(CHUNK_BYTES, len(text) - at))
        text, base, at = text[at:] + chunk.decode("latin-1"), base + at, 0
        return bool(chunk)

    def next_sign() -> str:
        nonlocal at
        while True:
            match = _BLANK.match(text, at)
            at = match.end() if match else at
            if at < len(text):
                return text[at]
            if not more():
                raise UnreadableFile(
                    path, "is not JSON (it ends too early)", hint="Fetch the file again."
                )

    if not more():
        raise UnreadableFile(path, "is empty", hint="Fetch the file again.")
    if text.startswith(_BYTE_ORDER_MARK):
        at = len(_BYTE_ORDER_MARK)
    if next_sign() != "[":
        raise UnreadableFile(path, "is no JSON array of records")
    at += 1
    if next_sign() == "]":
        return
    while True:
        while True:
            try:
                record, end = _DECODE(text, at)
                break
            except (ValueError, RecursionError) as error:  # perhaps its end is not here yet
                if len(text) - at >= MAX_RECORD_BYTES or not more():
                    raise UnreadableFile(
                        path, f"is not JSON (the record at byte {base + at}: {error})",
                        hint="Was the file written to its end?",
                    ) from error  # fmt: skip
        if not isinstance(record, dict):
            raise UnreadableFile(path, f"is no array of records (byte {base + at})")
        piece = text[at:end]
        if not piece.isascii():
            try:
                record = json.loads(piece.encode("latin-1"))
            except UnicodeDecodeError as error:
                raise UnreadableFile(path, f"is not UTF-8 ({error})") from error
        yield base + at, base + end, record
        at = end
        onwards = _NEXT.match(text, at)
        if onwards:
            at = onwards.end()
            continue
        sign = next_sign()
        at += 1
        if sign == "]":
            return
        if sign != ",":
            raise UnreadableFile(path, f"is not JSON (byte {base + at - 1}: no comma)")
        next_sign()
