"""Fields of protobuf messages: found where the library put them, and never beyond the end."""

import pytest

from formats.waymo_protos import message_class
from formats.wire import fields, length_delimited, varint


def test_fields_lie_where_the_library_wrote_them() -> None:
    message = message_class("Frame")(timestamp_micros=1553735853462203)
    message.context.name = "abc"
    message.images.add(name=1, image=b"x" * 300)
    data = message.SerializeToString()
    context, stamp, image = fields(data)
    assert (context.number, stamp.number, image.number) == (1, 2, 4)
    assert data[context.begin : context.end] == b"\x0a\x03abc"
    assert varint(data, stamp.begin) == (1553735853462203, stamp.end)
    _, pixels = fields(data, begin=image.begin, end=image.end)
    assert (pixels.size, data[pixels.begin : pixels.end]) == (300, b"x" * 300)
    assert image.end == len(data)


def test_what_is_written_is_read() -> None:
    assert message_class("Context").FromString(length_delimited(1, b"n" * 200)).name == "n" * 200


@pytest.mark.parametrize("data", [b"\x0a\x05abc", b"\x0b", b"\x08", b"\xff" * 12, b"\x00\x01"])
def test_no_message_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="no protobuf message"):
        list(fields(data))


def test_the_head_of_a_message_may_be_cut_off() -> None:
    (field,) = fields(b"\x0a\x05abc\x12", partial=True)
    assert (field.begin, field.size) == (2, 5)
    assert list(fields(b"\x0a", partial=True)) == []
