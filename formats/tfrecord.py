"""TFRecord files: a sequence of byte strings, each guarded by two checksums.

A record is, little-endian (TensorFlow, `lib/io/record_writer.h`)::

    uint64 length | uint32 masked crc of length | data | uint32 masked crc of data

where the checksum is CRC-32C (Castagnoli; RFC 3720, appendix B.4), and masked means rotated right
by 15 bits plus a constant, so that records may hold records.

CRC-32C is linear over GF(2), which lets numpy work on it: a message is cut into equal blocks, the
checksums of all blocks are computed side by side, and neighbours are joined pair by pair with
crc(A‖B) = shift(crc(A), |B|) ⊕ crc(B), where shift appends zero bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt

from formats.files import open_binary
from geometry.arrays import Array
from schemas.errors import BadRecord, UnreadableFile

POLYNOMIAL = 0x82F63B78  # Castagnoli, bits reflected
MASK_DELTA = 0xA282EAD8
HEADER = 12  # [bytes] before the data of a record
LONGEST_RECORD = 1 << 31  # [bytes] a protobuf message cannot be longer
BLOCK = 512  # [bytes] a power of two, multiple of 8
SHORT = 4 * BLOCK  # [bytes] below this a plain loop is as fast


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
    if len(data) < SHORT:
        table, crc = _byte_table().tolist(), 0xFFFFFFFF
        for byte in data:
            crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
        return crc ^ 0xFFFFFFFF
    # The initial value 2³²−1 is the same as inverting the first four bytes; zero bytes in front
    # of a message then change nothing, so that the blocks can be made equal.
    blocks = 1 << (-(-len(data) // BLOCK) - 1).bit_length()
    padded = np.zeros(blocks * BLOCK, dtype=np.uint8)
    start = len(padded) - len(data)
    padded[start:] = np.frombuffer(data, dtype=np.uint8)
    padded[start : start + 4] ^= 0xFF
    used = start // BLOCK  # whole blocks of padding have checksum 0
    crcs = np.zeros(blocks, dtype=np.uint32)
    crcs[used:] = _crc_of_blocks(padded[used * BLOCK :].reshape(-1, BLOCK))
    span = BLOCK
    while len(crcs) > 1:
        crcs = _append_zeros(crcs[0::2], span) ^ crcs[1::2]
        span *= 2
    return int(crcs[0]) ^ 0xFFFFFFFF


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


@cache
def _byte_table() -> UInt[Array, " 256"]:
    """What the checksum register becomes when each byte is shifted through it."""
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, (crc >> 1) ^ np.uint32(POLYNOMIAL), crc >> 1)
    return crc


@cache
def _pair_tables() -> tuple[UInt[Array, " 65536"], ...]:
    """For each of the four byte pairs of an 8-byte word, its part of the word's checksum."""
    by_byte = [_byte_table()]
    for _ in range(7):
        last = by_byte[-1]
        by_byte.append(_byte_table()[last & 0xFF] ^ (last >> 8))
    pair = np.arange(65536)
    return tuple(by_byte[7 - 2 * k][pair & 0xFF] ^ by_byte[6 - 2 * k][pair >> 8] for k in range(4))


def _crc_of_blocks(blocks: UInt[Array, "blocks width"]) -> UInt[Array, " blocks"]:
    """Checksum register, begun at 0, after each block; "slicing by 8" over all blocks at once."""
    first, second, third, fourth = _pair_tables()
    words = np.ascontiguousarray(blocks).view("<u2").T.copy()
    crc = np.zeros(len(blocks), dtype=np.uint32)
    for at in range(0, len(words), 4):
        crc = (
            first[words[at] ^ (crc & 0xFFFF)]
            ^ second[words[at + 1] ^ (crc >> 16)]
            ^ third[words[at + 2]]
            ^ fourth[words[at + 3]]
        )
    return crc


def _append_zeros(crc: UInt[Array, " many"], count: int) -> UInt[Array, " many"]:
    """The register after ``count`` further zero bytes, a power of two."""
    shifted = np.zeros_like(crc)
    for bit, column in enumerate(_zeros_matrix(count)):
        shifted ^= np.where(crc >> bit & 1, column, np.uint32(0))
    return shifted


@cache
def _zeros_matrix(count: int) -> UInt[Array, " 32"]:
    """What each bit of the register becomes after ``count`` zero bytes, a power of two."""
    unit = np.uint32(1) << np.arange(32, dtype=np.uint32)
    if count == 1:
        return _byte_table()[unit & 0xFF] ^ (unit >> 8)
    return _append_zeros(_zeros_matrix(count // 2), count // 2)
