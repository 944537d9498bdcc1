"""Messages of a recording decoded by the schemas that it carries: ROS, protobuf and JSON to one form.

Whatever the encoding, a message becomes nested dicts, numbers, strings, lists and arrays under the
names of its schema; bytes become :class:`~formats.ros_messages.Blob`, which says where in the message
they lie (JSON holds them as base64 text, which has no such place).
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from formats.mcap_file import Channel, Schema
from formats.ros_messages import Blob, decode, short_name
from formats.wire import fields

ENCODINGS = {("cdr", "ros2msg"), ("ros1", "ros1msg"), ("protobuf", "protobuf")}
"""(of the message, of the schema); JSON needs no schema to be read."""


def type_name(schema: Schema) -> str:
    """The name under which handlers know a type: ``sensor_msgs/Imu``, ``foxglove.RawImage``."""
    name = short_name(schema.name)
    return (
        name.replace("foxglove_msgs/", "foxglove.") if name.startswith("foxglove_msgs/") else name
    )


def can_decode(channel: Channel) -> bool:
    """Whether messages of the channel can be decoded at all."""
    return channel.encoding == "json" or (channel.encoding, channel.schema.encoding) in ENCODINGS


def decode_message(channel: Channel, data: memoryview) -> dict[str, Any]:
    """One message.

    Raises:
        ValueError: It does not follow its schema, or the schema is not understood.
    """
    if channel.encoding == "json":
        try:
            told = json.loads(bytes(data))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"is no JSON ({error})") from error
        if not isinstance(told, dict):
            raise ValueError("is no JSON object")
        return told
    if channel.encoding == "protobuf":
        return _protobuf(channel.schema, data)
    return decode(channel.schema.name, channel.schema.data, data, ros1=channel.encoding == "ros1")


def _protobuf(schema: Schema, data: memoryview) -> dict[str, Any]:
    from google.protobuf.message import DecodeError

    raw = bytes(data)
    try:
        message = _message_class(schema).FromString(raw)
    except DecodeError as error:
        raise ValueError(f"is no {schema.name} ({error})") from error
    plain = _plain(message)
    for field in fields(raw):
        about = message.DESCRIPTOR.fields_by_number.get(field.number)
        if about is not None and about.type == about.TYPE_BYTES and field.wire == 2:
            place = Blob(field.begin, data[field.begin : field.begin + field.size])
            plain[about.name] = place
    return plain


def _plain(message: Any) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for about in message.DESCRIPTOR.fields:
        value = getattr(message, about.name)
        if about.is_repeated:
            if about.message_type is not None and about.message_type.GetOptions().map_entry:
                made[about.name] = {str(key): str(value[key]) for key in value}
            else:
                made[about.name] = [
                    _plain(item) if about.message_type is not None else item for item in value
                ]
        elif about.message_type is None:
            made[about.name] = value
        elif message.HasField(about.name):
            made[about.name] = _plain(value)
    return made


@lru_cache(maxsize=512)
def _message_class(schema: Schema) -> Any:
    """The class that a schema's own ``FileDescriptorSet`` describes."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from google.protobuf.message import DecodeError

    try:
        told = descriptor_pb2.FileDescriptorSet.FromString(schema.data)
    except DecodeError as error:
        raise ValueError(f"has a schema that describes no messages ({error})") from error
    files = {file.name: file for file in told.file}
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()

    def add(name: str) -> None:
        if name in added or name not in files:
            return
        added.add(name)
        for other in files[name].dependency:
            add(other)
        pool.Add(files[name])

    try:
        for name in files:
            add(name)
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(schema.name))
    except (KeyError, TypeError) as error:
        raise ValueError(f"has a schema that does not describe it ({error})") from error
