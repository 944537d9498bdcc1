"""ROS messages by the definitions that a recording carries: ROS 2 (CDR) and ROS 1 alike.

    std_msgs/Header header          a definition names fields, one a line,
    float64[36] covariance          of other messages, which follow behind lines of `=`
    ================
    MSG: std_msgs/Header
    …

Arrays of bytes, which is where images and point clouds are, are not copied: a :class:`Blob` says where
in the message they lie, so that they can be addressed within the file. Sources: the interface
definitions of docs.ros.org, and OMG's CDR: every value stands at a multiple of its own size.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from geometry.arrays import Array

MANY = 50_000_000  # elements: an array that says it is longer is damaged

PRIMITIVES = {
    "bool": "?", "byte": "B", "char": "B", "int8": "b", "uint8": "B", "int16": "h", "uint16": "H",
    "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q", "float32": "f", "float64": "d",
}  # fmt: skip
BYTES = frozenset({"byte", "char", "int8", "uint8"})
TIMES = frozenset({"time", "duration"})
"""Primitives of ROS 1 alone: two 32-bit numbers."""

SEPARATOR = re.compile(r"^={10,}\s*$", re.MULTILINE)
FIELD = re.compile(
    r"^(?P<type>[A-Za-z][\w/]*)(?:<=\d+)?(?P<array>\[(?:<=)?\d*\])?\s+(?P<name>[A-Za-z]\w*)\s*(?P<rest>.*)$"
)
CDR_LITTLE, CDR_BIG, CDR2_LITTLE, CDR2_BIG = 1, 0, 7, 6


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes within a message.

    Attributes:
        offset: Where they begin in the message.
        data: They themselves.
    """

    offset: int
    data: memoryview


@dataclass(frozen=True, slots=True)
class _Field:
    """One line of a definition; ``count`` is −1 for one value, 0 for any number of them."""

    name: str
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class _Run:
    """Numbers one after the other, those of inner messages too, that are unpacked at once.

    Attributes:
        codes: Of :mod:`struct`, one a number.
        shape: (name, None) for a number, (name, shape) for an inner message.
    """

    codes: str
    shape: Shape


Shape = tuple[tuple[str, "Shape | None"], ...]
Definitions = Mapping[str, tuple[_Run | _Field, ...]]


def short_name(name: str) -> str:
    """``sensor_msgs/Imu`` for ``sensor_msgs/msg/Imu``, which are the same."""
    parts = name.split("/")
    return f"{parts[0]}/{parts[-1]}" if len(parts) > 1 else name


def decode(
    name: str, definition: bytes, data: memoryview, *, ros1: bool = False
) -> dict[str, Any]:
    """A message as nested dicts, numbers, strings, numpy arrays, lists and blobs.

    Args:
        name: Of the message.
        definition: Text, that of the messages within included.
        data: The message; CDR with its encapsulation header.
        ros1: Whether it is packed as ROS 1 does, without alignment.

    Raises:
        ValueError: The definition is not understood, or the message does not follow it.
    """
    definitions = _definitions(short_name(name), definition)
    cursor = _Packed(data) if ros1 else _Cdr(data)
    try:
        return _message(definitions, short_name(name), cursor)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"does not follow its definition ({error})") from error
    except RecursionError as error:
        raise ValueError("has a definition that contains itself") from error


@lru_cache(maxsize=1024)
def _definitions(name: str, text: bytes) -> Definitions:
    sections = SEPARATOR.split(text.decode("utf-8", errors="replace"))
    parsed: dict[str, list[tuple[str, str, int]]] = {}
    for number, section in enumerate(sections):
        lines = section.strip().splitlines()
        title = name
        if number and lines and lines[0].startswith("MSG:"):
            title = short_name(lines.pop(0)[4:].strip())
        parsed[title] = [found for line in lines if (found := _field(line, title)) is not None]
    resolved = {
        title: tuple(
            _Field(field, _resolve(kind, title.split("/")[0], parsed), count)
            for field, kind, count in fields
        )
        for title, fields in parsed.items()
    }
    return {title: tuple(_steps(fields, resolved)) for title, fields in resolved.items()}


def _steps(
    fields: tuple[_Field, ...], known: Mapping[str, tuple[_Field, ...]]
) -> Iterator[_Run | _Field]:
    """The fields, neighbours that are mere numbers as runs."""
    run: list[tuple[str, Shape | None]] = []
    codes = ""
    for field in fields:
        flat = _flat(field, known, depth=0)
        if flat is not None:
            run.append((field.name, flat[1]))
            codes += flat[0]
            continue
        if run:
            yield _Run(codes, tuple(run))
            run, codes = [], ""
        yield field
    if run:
        yield _Run(codes, tuple(run))


def _flat(
    field: _Field, known: Mapping[str, tuple[_Field, ...]], *, depth: int
) -> tuple[str, Shape | None] | None:
    """Codes and shape of a field that is a number or a message of nothing else; else None."""
    if field.count >= 0 or depth > 8:
        return None
    if field.kind in PRIMITIVES:
        return PRIMITIVES[field.kind], None
    inner = [
        (part.name, _flat(part, known, depth=depth + 1)) for part in known.get(field.kind, ())
    ]
    if not inner:
        return None
    codes, shape = "", []
    for name, flat in inner:
        if flat is None:
            return None
        codes += flat[0]
        shape.append((name, flat[1]))
    return codes, tuple(shape)


def _field(line: str, title: str) -> tuple[str, str, int] | None:
    line = line.split("#", 1)[0].strip()
    if not line:
        return None
    match = FIELD.match(line)
    if match is None:
        raise ValueError(f"the definition of {title} says {line!r}, which is no field")
    if match["rest"].startswith("="):
        return None  # a constant
    array = match["array"]
    count = -1
    if array is not None:
        count = 0 if "<" in array or array == "[]" else int(array[1:-1])
        if array not in ("[]", "[0]") and "<" not in array and count == 0:
            raise ValueError(f"the definition of {title} says {line!r}")
    return match["name"], match["type"], count


def _resolve(kind: str, package: str, known: Mapping[str, Any]) -> str:
    if kind in PRIMITIVES or kind in TIMES or kind in ("string", "wstring"):
        return kind
    if "/" in kind:
        return short_name(kind)
    for candidate in (f"{package}/{kind}", f"std_msgs/{kind}"):
        if candidate in known:
            return candidate
    return f"{package}/{kind}"


class _Packed:
    """ROS 1: values one after the other, little-endian; strings without an end."""

    order = "<"
    begin = 0
    string_end = 0

    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, self.begin

    def align(self, size: int) -> None:
        """Nothing to do."""

    def scalar(self, code: str) -> Any:
        self.align(struct.calcsize("<" + code))
        (value,) = struct.unpack_from(self.order + code, self.data, self.at)
        self.at += struct.calcsize("<" + code)
        return value

    def string(self) -> str:
        size = self.scalar("I")
        raw = bytes(self.take(size))
        return raw[: len(raw) - self.string_end].decode("utf-8", errors="replace") if raw else ""

    def take(self, size: int) -> memoryview:
        if self.at + size > len(self.data):
            raise ValueError(f"ends {self.at + size - len(self.data)} bytes too early")
        taken = self.data[self.at : self.at + size]
        self.at += size
        return taken

    def run(self, codes: str) -> tuple[Any, ...]:
        """Several numbers."""
        layout = _layout(codes, 0, "<", 1)
        values = layout.unpack_from(self.data, self.at)
        self.at += layout.size
        return values

    def empty(self) -> None:
        """A message without fields takes no room."""


class _Cdr(_Packed):
    """ROS 2: four bytes that say how, then values aligned to their size."""

    begin = 4
    string_end = 1

    def __init__(self, data: memoryview) -> None:
        super().__init__(data)
        kind = data[1] if len(data) >= 4 else -1
        if kind not in (CDR_LITTLE, CDR_BIG, CDR2_LITTLE, CDR2_BIG):
            raise ValueError(f"is not encapsulated as CDR (kind {kind})")
        self.order = "<" if kind in (CDR_LITTLE, CDR2_LITTLE) else ">"
        self._most = 4 if kind in (CDR2_LITTLE, CDR2_BIG) else 8

    def align(self, size: int) -> None:
        self.at += -(self.at - self.begin) % min(size, self._most)

    def run(self, codes: str) -> tuple[Any, ...]:
        layout = _layout(codes, (self.at - self.begin) % 8, self.order, self._most)
        values = layout.unpack_from(self.data, self.at)
        self.at += layout.size
        return values

    def empty(self) -> None:
        self.at += 1


@lru_cache(maxsize=4096)
def _layout(codes: str, begin: int, order: str, most: int) -> struct.Struct:
    """Numbers from a place on, each aligned to its size or to ``most``, whichever is less."""
    made, at = order, begin
    for code in codes:
        size = struct.calcsize("<" + code)
        gap = -at % min(size, most)
        made += "x" * gap + code
        at += gap + size
    return struct.Struct(made)


def _message(definitions: Definitions, name: str, cursor: _Packed) -> dict[str, Any]:
    fields = definitions.get(name)
    if fields is None:
        raise ValueError(f"has no definition of {name}")
    if not fields:
        cursor.empty()
    made: dict[str, Any] = {}
    for field in fields:
        if isinstance(field, _Run):
            _spread(made, field.shape, iter(cursor.run(field.codes)))
        elif field.count < 0:
            made[field.name] = _value(definitions, field.kind, cursor)
        else:
            made[field.name] = _array(definitions, field, cursor)
    return made


def _spread(made: dict[str, Any], shape: Shape, values: Iterator[Any]) -> None:
    for name, inner in shape:
        if inner is None:
            made[name] = next(values)
        else:
            made[name] = {}
            _spread(made[name], inner, values)


def _value(definitions: Definitions, kind: str, cursor: _Packed) -> Any:
    code = PRIMITIVES.get(kind)
    if code is not None:
        return cursor.scalar(code)
    if kind == "string":
        return cursor.string()
    if kind in TIMES:
        code = "I" if kind == "time" else "i"
        return {"sec": cursor.scalar(code), "nanosec": cursor.scalar(code)}
    if kind == "wstring":
        raise ValueError("has wide strings, whose width no standard settles")
    return _message(definitions, kind, cursor)


def _array(definitions: Definitions, field: _Field, cursor: _Packed) -> Any:
    count = field.count or cursor.scalar("I")
    if count > MANY:
        raise ValueError(f"says that {field.name} has {count} elements")
    if field.kind in BYTES:
        begin = cursor.at
        return Blob(begin, cursor.take(count))
    code = PRIMITIVES.get(field.kind)
    if code is None:
        return [_value(definitions, field.kind, cursor) for _ in range(count)]
    size = struct.calcsize("<" + code)
    if count:
        cursor.align(size)
    return np.frombuffer(cursor.take(count * size), dtype=np.dtype(cursor.order + code))


def stamp_ns(time: Any) -> int | None:
    """Nanoseconds of a time of ROS 1, ROS 2 or Foxglove; None where it is not set or none."""
    if not isinstance(time, Mapping):
        return None
    seconds = time.get("sec", time.get("seconds", 0))
    rest = time.get("nanosec", time.get("nsec", time.get("nanos", 0)))
    if not isinstance(seconds, int) or not isinstance(rest, int):
        return None
    stamp = seconds * 10**9 + rest
    return stamp if 0 < stamp < 2**63 else None


def numbers(values: Any, count: int) -> Array | None:
    """An array of ``count`` finite numbers, None if it is none."""
    array = np.asarray(values, dtype=np.float64)
    return array if array.shape == (count,) and bool(np.isfinite(array).all()) else None
