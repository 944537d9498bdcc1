"""TFRecord files: a sequence of byte strings, each guarded by two checksums.

A record is, little-endian (TensorFlow, `lib/io/record_writer.h`)::

    uint64 length | uint32 masked crc of length | data | uint32 masked crc of data

where the checksum is CRC-32C (Castagnoli; RFC 3720, appendix B.4), and masked means rotated right
by 15 bits plus a constant, so that records may hold records.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from formats.files import open_binary
from schemas.errors import BadRecord, UnreadableFile

MASK_DELTA = 0xA282EAD8
HEADER = 12  # [bytes] before the data of a record
LONGEST_RECORD = 1 << 31  # [bytes] a protobuf message cannot be longer


@dataclass(frozen=True, slots=True)
class Record:
    """One sound record.

    Attributes:
        number: Its place in the file, from 0.
        data: What it holds.
        offset: Where the data begins in the file, or in the unpacked stream of a ``.gz``.
    """

    number: int
    data: bytes
    offset: int = 0


def read_records(path: Path) -> Iterator[Record | BadRecord]:
    """All records of a file, plain or ``.gz``, in order.

    A record whose data fails its checksum is handed out as an error, and the next one follows; a
    damaged length or a file that breaks off ends the file, since nothing says where to go on.
    Errors are yielded, not raised, so that the good records keep coming.

    Raises:
        UnreadableFile: The file is missing, empty, not permitted, not sound gzip, or broken
            before its first record ends.
    """
    with open_binary(path) as file:
        number = 0
        while header := file.read(HEADER):
            found = _read_one(path, file, header, number)
            if isinstance(found, _End) and number == 0:
                raise UnreadableFile(path, found.error.reason, hint=found.error.hint)
            yield found.error if isinstance(found, _End) else found
            if isinstance(found, _End):
                return
            number += 1


def first_message(head: bytes) -> bytes:
    """How the first record of a file begins, given how the file does; nothing if it has none."""
    if len(head) < HEADER or not _length_is_sound(head[:HEADER]):
        return b""
    length = int(struct.unpack("<Q", head[:8])[0])
    return head[HEADER : HEADER + length]


def write_records(path: Path, records: Iterable[bytes]) -> None:
    """Write a TFRecord file."""
    with path.open("wb") as file:
        for data in records:
            length = struct.pack("<Q", len(data))
            file.write(length + struct.pack("<I", masked_crc32c(length)))
            file.write(data)
            file.write(struct.pack("<I", masked_crc32c(data)))


def masked_crc32c(data: bytes) -> int:
    """The checksum as TFRecord stores it."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """CRC-32C of a message; ``crc32c(b"123456789") == 0xE3069283``."""
    return int(google_crc32c.value(data))


@dataclass(frozen=True, slots=True)
class _End:
    """Nothing after this error can be read."""

    error: BadRecord


def _read_one(path: Path, file: BinaryIO, header: bytes, number: int) -> Record | BadRecord | _End:
    name = f"record {number}"
    cut_off = BadRecord(
        path, "the file breaks off here", record=name, hint="Fetch the file again."
    )
    if len(header) < HEADER:
        return _End(cut_off)
    if not _length_is_sound(header):
        reason = "the checksum of its length is wrong, so the rest of the file cannot be read"
        hint = "Fetch the file again; or it is no TFRecord file."
        return _End(BadRecord(path, reason, record=name, hint=hint))
    length = int(struct.unpack("<Q", header[:8])[0])
    if length > LONGEST_RECORD:
        return _End(BadRecord(path, f"claims to hold {length} bytes", record=name))
    offset = file.tell()
    data, footer = file.read(length), file.read(4)
    if len(data) < length or len(footer) < 4:
        return _End(cut_off)
    if struct.unpack("<I", footer)[0] != masked_crc32c(data):
        return BadRecord(
            path, "the checksum of its data is wrong", record=name, hint="Fetch the file again."
        )
    return Record(number, data, offset)


def _length_is_sound(header: bytes) -> bool:
    return bool(struct.unpack("<I", header[8:12])[0] == masked_crc32c(header[:8]))
