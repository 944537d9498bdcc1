"""TFRecords: checksums against published values, round trips, and every way to be broken."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.tfrecord import (
    Record,
    crc32c,
    first_message,
    masked_crc32c,
    read_records,
    write_records,
)
from schemas.errors import BadRecord, UnreadableFile


def bit_by_bit(data: bytes) -> int:
    """CRC-32C from its definition: a shift register and the polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # the three of RFC 3720, appendix B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_published_checksums(data: bytes, crc: int) -> None:
    assert crc32c(data) == crc


@settings(max_examples=30, deadline=None)
@given(seed=st.binary(min_size=1, max_size=40), length=st.integers(0, 6144))
def test_checksums_of_any_length_follow_the_definition(seed: bytes, length: int) -> None:
    data = (seed * (length // len(seed) + 1))[:length]
    assert crc32c(data) == bit_by_bit(data)


def test_the_mask_is_tensorflows() -> None:
    # An empty record as TensorFlow writes it: length 0, its checksum, nothing, checksum of nothing.
    assert masked_crc32c(bytes(8)).to_bytes(4, "little") == bytes.fromhex("29039807")
    assert masked_crc32c(b"") == 0xA282EAD8


PAYLOADS = [b"first", b"", bytes(range(256)) * 40, b"last"]


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "some.tfrecord"
    write_records(path, PAYLOADS)
    return path


def data_of(path: Path) -> list[bytes | str]:
    return [r.data if isinstance(r, Record) else r.record for r in read_records(path)]


def test_what_is_written_is_read(whole: Path) -> None:
    assert data_of(whole) == PAYLOADS
    content = whole.read_bytes()
    assert first_message(content) == b"first"
    assert first_message(content[:15]) == b"fir", "the head of a file may end within the record"
    assert first_message(content[:11]) == first_message(b"\0" * 40) == b""


def test_records_know_where_their_data_lies(whole: Path) -> None:
    content = whole.read_bytes()
    for record in read_records(whole):
        assert isinstance(record, Record)
        assert content[record.offset : record.offset + len(record.data)] == record.data


def test_packed_files_are_read_in_place(whole: Path, tmp_path: Path) -> None:
    packed = tmp_path / "some.tfrecord.gz"
    packed.write_bytes(gzip.compress(whole.read_bytes()))
    assert data_of(packed) == PAYLOADS


def test_damaged_data_costs_one_record(whole: Path) -> None:
    content = bytearray(whole.read_bytes())
    content[12] ^= 1
    whole.write_bytes(content)
    assert data_of(whole) == ["record 0", *PAYLOADS[1:]]
    error = next(iter(read_records(whole)))
    assert isinstance(error, BadRecord)
    assert "some.tfrecord, record 0: the checksum of its data is wrong" in str(error)


def test_a_damaged_length_ends_the_file(whole: Path) -> None:
    content = bytearray(whole.read_bytes())
    content[21] ^= 1  # the length of the second record: 12 + 5 + 4 bytes come before
    whole.write_bytes(content)
    assert data_of(whole) == [b"first", "record 1"]


@pytest.mark.parametrize("lost", [1, 4, 6, 12])
def test_a_file_that_breaks_off_keeps_what_came_before(whole: Path, lost: int) -> None:
    whole.write_bytes(whole.read_bytes()[:-lost])
    assert data_of(whole) == [*PAYLOADS[:3], "record 3"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no tfrecord at all", bytes(7)])
def test_a_file_without_a_first_record_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.tfrecord"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=r"other\.tfrecord"):
        list(read_records(path))
