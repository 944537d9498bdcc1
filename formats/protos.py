"""Protobuf message classes from a short text, for formats whose messages are published as a schema.

    message Track
        1 id int32      2 states ObjectState*       3 kinds int32* packed

``number name type``, where ``*`` is repeated; messages stand on one level and may name each other in
any order. Enums are read as ``int32`` so that a value of a newer release is not lost. The classes
live in a descriptor pool of their own, so that the publisher's package may be imported beside them.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "double": _Field.TYPE_DOUBLE, "float": _Field.TYPE_FLOAT, "bool": _Field.TYPE_BOOL,
    "int32": _Field.TYPE_INT32, "int64": _Field.TYPE_INT64, "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64, "string": _Field.TYPE_STRING, "bytes": _Field.TYPE_BYTES,
    "fixed32": _Field.TYPE_FIXED32, "sfixed32": _Field.TYPE_SFIXED32,
    "sint32": _Field.TYPE_SINT32, "sint64": _Field.TYPE_SINT64,
}  # fmt: skip


def message_classes(schema: str, *, package: str) -> dict[str, Any]:
    """The message classes of a schema by name."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"scenelake/{package}.proto", package=package, syntax="proto2"
    )
    for line in filter(str.strip, schema.splitlines()):
        first, *words = line.split()
        if first == "message":
            message = file.message_type.add(name=words[0])
        else:
            _add_fields(message, [first, *words], package)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        message.name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{package}.{message.name}")
        )
        for message in file.message_type
    }


def _add_fields(message: descriptor_pb2.DescriptorProto, words: list[str], package: str) -> None:
    while words:
        (number, name, kind), words = words[:3], words[3:]
        field = message.field.add(name=name, number=int(number))
        repeated = kind.endswith("*")
        field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
        kind = kind.removesuffix("*")
        if words[:1] == ["packed"]:
            field.options.packed, words = True, words[1:]
        if kind in _SCALARS:
            field.type = _SCALARS[kind]
        else:
            field.type, field.type_name = _Field.TYPE_MESSAGE, f".{package}.{kind}"
