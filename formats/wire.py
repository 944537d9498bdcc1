"""Where the fields of a protobuf message lie in its bytes, without decoding them.

A message is a sequence of fields: a tag ``number << 3 | wire`` as a varint, then by wire type 0: a
varint, 1: eight bytes, 2: a length as a varint and so many bytes, 5: four bytes. Source:
protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    Attributes:
        number: As the schema has it.
        wire: Wire type.
        start: Where its tag begins.
        begin: Where its content begins.
        size: Of the content [bytes].
    """

    number: int
    wire: int
    start: int
    begin: int
    size: int

    @property
    def end(self) -> int:
        """Where the next field begins."""
        return self.begin + self.size


def fields(
    data: bytes, *, begin: int = 0, end: int | None = None, partial: bool = False
) -> Iterator[Field]:
    """The fields of the message that lies in ``data[begin:end]``, in order.

    Args:
        data: Of a file or message.
        begin: Where the message begins.
        end: Where it ends; None: with the data.
        partial: The data may be the beginning of a longer message: content may reach beyond it.

    Raises:
        ValueError: That is no message.
    """
    stop = len(data) if end is None else end
    at = begin
    while at < stop:
        start = at
        try:
            tag, at = varint(data, at)
            number, wire = tag >> 3, tag & 7
            if wire == 0:
                size = varint(data, at)[1] - at
            elif wire == 2:
                size, at = varint(data, at)
            else:
                size = {1: 8, 5: 4}[wire]
        except (IndexError, KeyError) as error:
            if partial:
                return
            raise ValueError(f"is no protobuf message at byte {start}") from error
        if not partial and (at + size > stop or number == 0):
            raise ValueError(f"is no protobuf message at byte {start}")
        yield Field(number, wire, start, at, size)
        at += size


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at a byte, and where the next thing does.

    Raises:
        IndexError: The data ends within it, or it is longer than ten bytes.
    """
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError("a varint of more than ten bytes")


def length_delimited(number: int, content: bytes) -> bytes:
    """A field of wire type 2, as it is written."""
    return _varint_bytes(number << 3 | 2) + _varint_bytes(len(content)) + content


def _varint_bytes(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])
