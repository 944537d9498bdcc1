"""Pickles that hold plain values and numpy arrays, read without running anything.

A pickle is a program: Python's own unpickler calls whatever functions the file names. This one is
an interpreter of the same opcodes (protocols 0 to 5, as ``pickletools`` documents them) that knows
a closed table of things a file may name and makes those itself; the functions that the names mean
elsewhere are never imported nor called. What it can make: ``None``, bool, int, float, complex, str,
bytes, lists, tuples, dicts (``OrderedDict`` and ``defaultdict`` become plain ones), sets, numpy
arrays, scalars and dtypes as written by numpy 1 and 2, none of them holding a Python pointer that
the file chose. Anything else is refused by its name.

A few bytes of a pickle can ask for much memory; sizes are therefore bounded before they are
granted: bytes of the file, steps of the program, copies that calls make. Arrays may be read-only.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from formats.files import open_binary
from schemas.errors import UnreadableFile

MAX_BYTES = 2**28  # of the file, unpacked
MAX_STEPS = 5_000_000  # opcodes, and members that calls copy; each is at most one small object
MAX_INTEGER_BYTES = 1024
HINT = "Scenelake runs nothing that a pickle names. Store plain values and numpy arrays alone."

DTYPE = re.compile(r"[<>=|]?([biufcSUV]\d{1,9}|O\d?|M8|m8|\?)")
BYTE_ORDERS = ("<", ">", "=", "|")
UNIT = re.compile(r"[A-Za-zμ]{1,8}")
ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
ESCAPED = {
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"v": b"\v",
}


def load(path: Path, *, max_bytes: int = MAX_BYTES, max_steps: int = MAX_STEPS) -> Any:
    """What a pickle holds; packed with gzip if its name ends in ``.gz``.

    Args:
        path: File.
        max_bytes: Longest content that is looked at, unpacked.
        max_steps: Longest program that is followed.

    Raises:
        UnreadableFile: The pickle asks for anything but plain values and numpy arrays, is larger
            than the bounds, damaged, cut off, or none.
    """
    with open_binary(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise UnreadableFile(path, f"is a pickle of more than {max_bytes} bytes, unpacked")
    if not content:
        raise UnreadableFile(path, "is empty", hint="Fetch the file again.")
    return loads(content, path=path, max_steps=max_steps)


def loads(content: bytes, *, path: Path, max_steps: int = MAX_STEPS) -> Any:
    """What the pickle in some bytes holds; ``path`` is where they came from, for errors.

    Raises:
        UnreadableFile: As :func:`load`.
    """
    machine = _Machine(content)
    try:
        return machine.run(max_steps)
    except _Refused as refusal:
        raise UnreadableFile(path, str(refusal), hint=HINT) from refusal
    except (
        ValueError, TypeError, IndexError, KeyError, OverflowError, struct.error, MemoryError,
        RecursionError,
    ) as error:  # fmt: skip
        ended = isinstance(error, IndexError) and machine.at >= len(content)
        what = "is cut off" if ended else "is no sound pickle"
        told = f"{type(error).__name__} at byte {min(machine.at, len(content))}"
        raise UnreadableFile(path, f"{what} ({told})", hint="Fetch the file again.") from error


class _Refused(Exception):
    """What the pickle asks for will not be given."""


# ── What a pickle may name ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, eq=False)
class _Named:
    """A function or class of the table; ``make`` is ours, None where it is only named."""

    name: str
    make: Callable[..., Any] | None = None


@dataclass(slots=True, eq=False)
class _Unbuilt:
    """An array or dtype whose state follows in the program, and where the program keeps it."""

    build: Callable[[Sequence[Any]], Any]
    places: list[int] = field(default_factory=list)


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Unbuilt:
    if kind is not NDARRAY or shape != (0,) or code not in (b"b", "b"):
        raise ValueError("an array that is begun in no known way")
    return _Unbuilt(_built_array)


def _built_array(state: Sequence[Any]) -> Any:
    """An array of the state (version, shape, dtype, Fortran order, content)."""
    shape, dtype, fortran, content = state[-4:]
    order: Literal["F", "C"] = "F" if fortran else "C"
    if not isinstance(dtype, np.dtype) or not isinstance(shape, tuple):
        raise ValueError("an array without shape or dtype")
    if dtype.hasobject:
        if not isinstance(content, list):
            raise ValueError("an array of objects whose content is no list")
        array = np.empty(len(content), dtype=object)
        for place, value in enumerate(content):
            array[place] = value
        return np.reshape(array, _shape(shape, len(content)), order=order)
    return _array_of(content, dtype, shape, order)


def _frombuffer(
    content: Any, dtype: Any, shape: Any, order: Any, axes: Sequence[int] | None = None
) -> Any:
    if isinstance(shape, int):
        shape = (shape,)
    if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(shape, tuple):
        raise ValueError("an array without shape or dtype")
    if order == "K" and axes is not None:
        return _array_of(content, dtype, shape, "C").transpose(axes)
    return _array_of(content, dtype, shape, "F" if order == "F" else "C")


def _array_of(content: Any, dtype: np.dtype[Any], shape: tuple[Any, ...], order: Any) -> Any:
    raw = _raw(content)
    if dtype.itemsize == 0:
        raise ValueError("an array of elements without size")
    count, rest = divmod(len(raw), dtype.itemsize)
    if rest:
        raise ValueError("an array whose content does not fit its dtype")
    if count == 0:
        return np.zeros(_shape(shape, 0), dtype=dtype)
    return np.frombuffer(raw, dtype=dtype).reshape(_shape(shape, count), order=order)


def _shape(shape: tuple[Any, ...], count: int) -> tuple[int, ...]:
    """The shape, if it is one of so many elements."""
    if len(shape) > 32 or any(type(n) is not int or not 0 <= n < 2**40 for n in shape):
        raise ValueError("an array of an impossible shape")
    product = 1
    for n in shape:
        product *= n
    if product != count:
        raise ValueError("an array whose content does not fit its shape")
    return shape


def _scalar(dtype: Any, content: Any = b"") -> Any:
    if not isinstance(dtype, np.dtype):
        raise ValueError("a scalar without dtype")
    if dtype.hasobject:
        return content
    raw = _raw(content)
    if len(raw) != dtype.itemsize:
        raise ValueError("a scalar whose content does not fit its dtype")
    return np.frombuffer(raw, dtype=dtype)[0] if raw else np.zeros((), dtype=dtype)[()]


def _raw(content: Any) -> bytes | bytearray:
    """Content as bytes; Python 2 wrote it as text of one byte a letter."""
    if isinstance(content, str):
        return content.encode("latin-1")
    if not isinstance(content, (bytes, bytearray)):
        raise ValueError("an array whose content is not bytes")
    return content


def _dtype(spec: Any, align: Any = False, copy: Any = False) -> _Unbuilt:  # noqa: ARG001
    if isinstance(spec, bytes):
        spec = spec.decode("ascii")
    if not isinstance(spec, str) or not DTYPE.fullmatch(spec):
        raise _Refused(f"asks for numpy dtype {_shown(spec)}, which is not known")
    return _Unbuilt(lambda state: _built_dtype(spec, state))


def _built_dtype(spec: str, state: Sequence[Any]) -> np.dtype[Any]:
    """A dtype of its state; flags are ignored, since they could make bytes pass for pointers."""
    order, sub, names, fields, size = state[1:6]
    order = order.decode("ascii") if isinstance(order, bytes) else order
    kind = spec.lstrip("<>=|")
    if order not in BYTE_ORDERS:
        raise ValueError("a dtype without byte order")
    if sub is not None:
        raise _Refused("asks for a numpy dtype of sub-arrays, which is not known")
    if kind.startswith("O"):
        return np.dtype(object)
    if kind in ("M8", "m8"):
        about = state[8][-1] if len(state) > 8 else (b"generic", 1, 1, 1)
        unit = about[0].decode("ascii") if isinstance(about[0], bytes) else about[0]
        if unit == "generic":
            return np.dtype(f"{order}{kind}")
        if not UNIT.fullmatch(unit) or type(about[1]) is not int:
            raise ValueError("a time without unit")
        return np.dtype(f"{order}{kind}[{about[1]}{unit}]")
    if names:
        if not isinstance(fields, dict) or type(size) is not int or not 0 < size < 2**20:
            raise ValueError("a structured dtype without fields")
        parts = [fields[name] for name in names]
        if any(not isinstance(p[0], np.dtype) or p[0].hasobject for p in parts):
            raise _Refused("asks for a structured numpy dtype of objects, which is not known")
        return np.dtype(
            {
                "names": [str(name) for name in names],
                "formats": [part[0] for part in parts],
                "offsets": [part[1] for part in parts],
                "itemsize": size,
            }
        )
    return np.dtype(f"{order}{kind}")


def _encode(text: Any, encoding: Any = "") -> bytes:
    if encoding not in ("latin1", "latin-1") or not isinstance(text, str):
        raise _Refused("asks for an encoding other than latin1")
    return text.encode("latin-1")


def _bytes(content: Any = b"", encoding: Any = "latin-1") -> bytes:
    if isinstance(content, str):
        return _encode(content, encoding)
    return bytes(_items(content))


def _bytearray(content: Any = b"", encoding: Any = "latin-1") -> bytearray:
    return bytearray(_bytes(content, encoding))


def _items(content: Any) -> Any:
    """Something that is there already; a number would be a wish for that many."""
    if not isinstance(content, (bytes, bytearray, list, tuple)):
        raise ValueError("a collection of nothing that is there")
    return content


def _set(content: Any = ()) -> set[Any]:
    return {_key(value) for value in _items(content)}


def _frozenset(content: Any = ()) -> frozenset[Any]:
    return frozenset(_set(content))


def _dict(content: Any = ()) -> dict[Any, Any]:
    return {_key(key): value for key, value in _items(content)}


def _defaultdict(factory: Any = None) -> dict[Any, Any]:
    if factory is not None and not isinstance(factory, _Named):
        raise ValueError("a defaultdict without factory")
    return {}


def _complex(real: Any, imaginary: Any = 0.0) -> complex:
    return complex(float(real), float(imaginary))


NDARRAY = _Named("numpy.ndarray")
_MAKERS: dict[tuple[str, ...], Callable[..., Any] | None] = {
    ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"): _reconstruct,
    ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"): _scalar,
    ("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"): _frombuffer,
    ("numpy.dtype",): _dtype,
    ("_codecs.encode",): _encode,
    ("collections.OrderedDict",): _dict,
    ("collections.defaultdict",): _defaultdict,
    ("builtins.bytearray", "__builtin__.bytearray"): _bytearray,
    ("builtins.bytes", "__builtin__.bytes"): _bytes,
    ("builtins.complex", "__builtin__.complex"): _complex,
    ("builtins.frozenset", "__builtin__.frozenset"): _frozenset,
    ("builtins.set", "__builtin__.set"): _set,
    (
        "builtins.int",
        "__builtin__.int",
        "__builtin__.long",
    ): None,  # only as what a defaultdict would fill in
    ("builtins.float", "__builtin__.float"): None,
    ("builtins.list", "__builtin__.list"): None,
    ("builtins.dict", "__builtin__.dict"): None,
}
NAMES: Mapping[str, _Named] = {
    NDARRAY.name: NDARRAY,
    **{name: _Named(name, make) for names, make in _MAKERS.items() for name in names},
}
"""Everything that a pickle may name, and what stands for it here."""


def _named(module: Any, name: Any) -> _Named:
    found = NAMES.get(f"{module}.{name}")
    if found is None or not isinstance(module, str) or not isinstance(name, str):
        raise _Refused(
            f"is a pickle that asks for {_shown(module)}.{_shown(name)}, "
            "which is neither a plain value nor a numpy array"
        )
    return found


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else type(value).__name__
    return "".join(c if c.isprintable() else "?" for c in text[:80])


def _unescaped(match: re.Match[bytes]) -> bytes:
    what = match[1]
    if what[:1] == b"x" and len(what) == 3:
        return bytes([int(what[1:], 16)])
    if what.isdigit():
        return bytes([int(what, 8) & 0xFF])
    return ESCAPED.get(what, what)


def _key(value: Any) -> Any:
    """A key of a dict or member of a set; hashing tuples in tuples could exhaust the stack."""
    if type(value) is tuple and any(type(part) is tuple for part in value):
        raise ValueError("a key of tuples in tuples")
    return value


# ── The machine ──────────────────────────────────────────────────────────────────────────────────


class _Machine:
    """Follows the program: a stack, marks on it, and a memo of things made before."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.unbuilt = 0
        self.members_left = 0
        self.bytes_left = 2 * len(content) + 2**20

    def run(self, max_steps: int) -> Any:
        """What is on the stack when the program stops."""
        content, length = self.content, len(self.content)
        self.members_left = max_steps
        operations = [getattr(self, OPERATIONS.get(code, "unknown")) for code in range(256)]
        for _ in range(max_steps):
            code = content[self.at]
            self.at += 1
            if code == STOP:
                break
            operations[code]()
            if self.at > length:
                raise IndexError("the program leads beyond its end")
        else:
            raise _Refused(f"is a pickle of more than {max_steps} steps")
        if self.marks or len(self.stack) != 1 or self.unbuilt:
            raise ValueError("the program stops before it is done")
        return self.stack[0]

    # Reading the program

    def take(self, size: int) -> bytes:
        begin = self.at
        if not 0 <= size <= len(self.content) - begin:
            self.at = len(self.content)
            raise IndexError("the program ends within a value")
        self.at = begin + size
        return self.content[begin : self.at]

    def raw_line(self) -> bytes:
        end = self.content.find(b"\n", self.at)
        if end < 0:
            self.at = len(self.content)
            raise IndexError("the program ends within a line")
        found = self.content[self.at : end]
        self.at = end + 1
        return found

    def line(self) -> str:
        return self.raw_line().decode("utf-8")

    def unsigned(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def marked(self) -> list[Any]:
        """Everything above the last mark, taken off the stack."""
        begin = self.marks.pop()
        found = self.stack[begin:]
        del self.stack[begin:]
        return found

    # Numbers and words

    def none(self) -> None:
        self.stack.append(None)

    def true(self) -> None:
        self.stack.append(True)

    def false(self) -> None:
        self.stack.append(False)

    def int_line(self) -> None:
        text = self.line()
        self.stack.append({"00": False, "01": True}[text] if text in ("00", "01") else int(text))

    def long_line(self) -> None:
        self.stack.append(int(self.line().removesuffix("L")))

    def int4(self) -> None:
        self.stack.append(struct.unpack("<i", self.take(4))[0])

    def uint1(self) -> None:
        self.stack.append(self.content[self.at])
        self.at += 1

    def uint2(self) -> None:
        self.stack.append(self.unsigned(2))

    def long1(self) -> None:
        self.long_of(self.unsigned(1))

    def long4(self) -> None:
        self.long_of(self.unsigned(4))

    def long_of(self, size: int) -> None:
        if size > MAX_INTEGER_BYTES:
            raise _Refused(f"holds an integer of {size} bytes")
        self.stack.append(int.from_bytes(self.take(size), "little", signed=True))

    def float_line(self) -> None:
        self.stack.append(float(self.line()))

    def float8(self) -> None:
        self.stack.append(struct.unpack(">d", self.take(8))[0])

    def string_line(self) -> None:
        text = self.raw_line()
        if len(text) < 2 or text[0] != text[-1] or text[:1] not in (b"'", b'"'):
            raise ValueError("a word without quotes")
        self.word(ESCAPE.sub(_unescaped, text[1:-1]))

    def string1(self) -> None:
        self.word(self.take(self.unsigned(1)))

    def string4(self) -> None:
        self.word(self.take(self.unsigned(4)))

    def word(self, raw: bytes) -> None:
        """A word of Python 2: text if it is ASCII, else bytes."""
        self.stack.append(raw.decode("ascii") if raw.isascii() else raw)

    def unicode_line(self) -> None:
        self.stack.append(self.raw_line().decode("raw-unicode-escape"))

    def unicode1(self) -> None:
        begin = self.at + 1
        self.at = begin + self.content[self.at]
        self.stack.append(self.content[begin : self.at].decode("utf-8", "surrogatepass"))

    def unicode4(self) -> None:
        self.stack.append(self.take(self.unsigned(4)).decode("utf-8", "surrogatepass"))

    def unicode8(self) -> None:
        self.stack.append(self.take(self.unsigned(8)).decode("utf-8", "surrogatepass"))

    def bytes1(self) -> None:
        self.stack.append(self.take(self.unsigned(1)))

    def bytes4(self) -> None:
        self.stack.append(self.take(self.unsigned(4)))

    def bytes8(self) -> None:
        self.stack.append(self.take(self.unsigned(8)))

    def bytearray8(self) -> None:
        self.stack.append(bytearray(self.take(self.unsigned(8))))

    # Collections

    def empty_list(self) -> None:
        self.stack.append([])

    def empty_dict(self) -> None:
        self.stack.append({})

    def empty_set(self) -> None:
        self.stack.append(set())

    def empty_tuple(self) -> None:
        self.stack.append(())

    def tuple1(self) -> None:
        self.stack[-1:] = [(self.stack[-1],)]

    def tuple2(self) -> None:
        self.stack[-2:] = [(self.stack[-2], self.stack[-1])]

    def tuple3(self) -> None:
        self.stack[-3:] = [(self.stack[-3], self.stack[-2], self.stack[-1])]

    def tuple_marked(self) -> None:
        self.stack.append(tuple(self.marked()))

    def list_marked(self) -> None:
        self.stack.append(self.marked())

    def dict_marked(self) -> None:
        found = self.marked()
        self.stack.append({})
        self.set_items(found)

    def frozenset_marked(self) -> None:
        self.stack.append(_frozenset(self.marked()))

    def append_one(self) -> None:
        value = self.stack.pop()
        self.grown(list).append(value)

    def append_marked(self) -> None:
        found = self.marked()
        self.grown(list).extend(found)

    def add_marked(self) -> None:
        found = self.marked()
        self.grown(set).update(_key(value) for value in found)

    def set_one(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def set_marked(self) -> None:
        self.set_items(self.marked())

    def set_items(self, found: list[Any]) -> None:
        target = self.grown(dict)
        for key, value in zip(found[::2], found[1::2], strict=True):
            target[_key(key)] = value

    def grown(self, kind: type) -> Any:
        """The collection on top of the stack."""
        top = self.stack[-1]
        if type(top) is not kind:
            raise TypeError("a collection of another kind was expected")
        return top

    # Stack and memo

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def pop(self) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def pop_marked(self) -> None:
        self.marked()

    def duplicate(self) -> None:
        self.stack.append(self.stack[-1])

    def get_line(self) -> None:
        self.stack.append(self.memo[int(self.line())])

    def get1(self) -> None:
        self.stack.append(self.memo[self.content[self.at]])
        self.at += 1

    def get4(self) -> None:
        self.stack.append(self.memo[self.unsigned(4)])

    def put_line(self) -> None:
        self.put(int(self.line()))

    def put1(self) -> None:
        self.put(self.unsigned(1))

    def put4(self) -> None:
        self.put(self.unsigned(4))

    def memoize(self) -> None:
        self.put(len(self.memo))

    def put(self, place: int) -> None:
        value = self.memo[place] = self.stack[-1]
        if type(value) is _Unbuilt:
            value.places.append(place)

    # Names and what is made of them

    def global_line(self) -> None:
        module = self.line()
        self.stack.append(_named(module, self.line()))

    def global_stack(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(_named(module, name))

    def reduce(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if type(called) is not _Named or called.make is None:
            name = called.name if type(called) is _Named else type(called).__name__
            raise _Refused(f"is a pickle that calls {name}, which is not for calling")
        if type(arguments) is not tuple:
            raise TypeError("arguments that are no tuple")
        self.grant(arguments)
        made = called.make(*arguments)
        self.unbuilt += type(made) is _Unbuilt
        self.stack.append(made)

    def grant(self, arguments: tuple[Any, ...]) -> None:
        """Count what a call may copy; what a sound pickle copies stood in it once."""
        for value in arguments:
            if type(value) in (str, bytes, bytearray):
                self.bytes_left -= len(value)
            elif type(value) in (list, tuple):
                self.members_left -= len(value)
        if self.bytes_left < 0 or self.members_left < 0:
            raise _Refused("is a pickle that copies the same content again and again")

    def build(self) -> None:
        state, begun = self.stack.pop(), self.stack[-1]
        if type(begun) is not _Unbuilt or not isinstance(state, tuple):
            raise _Refused(f"is a pickle that changes the inside of a {type(begun).__name__}")
        self.grant(state)
        self.stack[-1] = made = begun.build(state)
        for place in begun.places:
            self.memo[place] = made
        self.unbuilt -= 1

    def frame(self) -> None:
        self.take(8)  # how much to read at once; all of it is here

    def proto(self) -> None:
        version = self.unsigned(1)
        if version > 5:
            raise _Refused(f"is a pickle of protocol {version}; known are 0 to 5")

    def instance(self) -> None:
        module = self.line()
        name = self.line()
        raise _Refused(f"is a pickle that makes a {_shown(module)}.{_shown(name)}")

    def new_object(self) -> None:
        wanted = next((v.name for v in self.stack[-3:] if type(v) is _Named), "an object")
        raise _Refused(f"is a pickle that makes {wanted} in a way that is not known")

    def persistent(self) -> None:
        raise _Refused("is a pickle that refers to things outside of it")

    def extension(self) -> None:
        raise _Refused("is a pickle that names a registered extension")

    def buffer(self) -> None:
        raise _Refused("is a pickle whose buffers are kept outside of it")

    def unknown(self) -> None:
        raise ValueError("an unknown step")


STOP = ord(".")
OPERATIONS: dict[int, str] = {
    ord("("): "mark", ord("0"): "pop", ord("1"): "pop_marked", ord("2"): "duplicate",
    ord("F"): "float_line", ord("I"): "int_line", ord("J"): "int4", ord("K"): "uint1",
    ord("L"): "long_line", ord("M"): "uint2", ord("N"): "none", ord("P"): "persistent",
    ord("Q"): "persistent", ord("R"): "reduce", ord("S"): "string_line", ord("T"): "string4",
    ord("U"): "string1", ord("V"): "unicode_line", ord("X"): "unicode4", ord("a"): "append_one",
    ord("b"): "build", ord("c"): "global_line", ord("d"): "dict_marked", ord("}"): "empty_dict",
    ord("e"): "append_marked", ord("g"): "get_line", ord("h"): "get1", ord("i"): "instance",
    ord("j"): "get4", ord("l"): "list_marked", ord("]"): "empty_list", ord("o"): "new_object",
    ord("p"): "put_line", ord("q"): "put1", ord("r"): "put4", ord("s"): "set_one",
    ord("t"): "tuple_marked", ord(")"): "empty_tuple", ord("u"): "set_marked", ord("G"): "float8",
    ord("B"): "bytes4", ord("C"): "bytes1",
    0x80: "proto", 0x81: "new_object", 0x82: "extension", 0x83: "extension", 0x84: "extension",
    0x85: "tuple1", 0x86: "tuple2", 0x87: "tuple3", 0x88: "true", 0x89: "false", 0x8A: "long1",
    0x8B: "long4", 0x8C: "unicode1", 0x8D: "unicode8", 0x8E: "bytes8", 0x8F: "empty_set",
    0x90: "add_marked", 0x91: "frozenset_marked", 0x92: "new_object", 0x93: "global_stack",
    0x94: "memoize", 0x95: "frame", 0x96: "bytearray8", 0x97: "buffer", 0x98: "buffer",
}  # fmt: skip
"""Opcode → method."""
