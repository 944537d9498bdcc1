"""Pickles of plain values and numpy arrays, read without running anything that they name.

A pickle is a program, and Python's unpickler calls whatever functions the file names. Here it never
gets hold of one: for the few names that plain data needs (numpy 1 and 2, sets, OrderedDict, …) it is
handed inert stand-ins that check what they are called with; every other name is refused. Arrays
and dtypes stay stand-ins while the program runs, so that it can never change a real one from
within, and are put in place afterwards. Strings, numbers and bytes come as they are; ``OrderedDict``
and ``defaultdict`` become plain dicts; text of Python 2 is taken as Latin-1. Arrays may be
read-only.

The unpickler itself can be made to crash or hang by a few bytes: memo slots far out (it makes room
for all before them), tuples in tuples as keys (hashing them knows no limit), names from a registry
that it does not ask us for. Programs are therefore looked through before: at once where they
consist of the steps in which Python and numpy write data, else step by step with ``pickletools``.
"""

from __future__ import annotations

import io
import pickle  # noqa: TID251 - formats of others are pickles; this module makes reading them safe
import pickletools
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from formats.files import open_binary
from schemas.errors import UnreadableFile

MAX_BYTES = 2**28  # of the file, unpacked
MAX_STEPS = 5_000_000  # of a program that is followed step by step
MAX_MADE = 2**24  # collections and calls; each is at most some hundred bytes
MAX_MEMO = 2**24  # slots; eight bytes each, twice
MAX_DEPTH = 100  # of tuples in tuples
MAX_INTEGER_BITS = 8192
HINT = "Scenelake runs nothing that a pickle names. Store plain values and numpy arrays alone."

DTYPE = re.compile(r"[<>=|]?([biufcSUV]\d{1,9}|O\d?|M8|m8|\?)")
BYTE_ORDERS = ("<", ">", "=", "|")
UNIT = re.compile(r"[A-Za-zμ]{1,8}")


def load(path: Path, *, max_bytes: int = MAX_BYTES, max_steps: int = MAX_STEPS) -> Any:
    """What a pickle holds; packed with gzip if its name ends in ``.gz``.

    Args:
        path: File.
        max_bytes: Longest content that is looked at, unpacked.
        max_steps: Longest program that is followed step by step, and most that calls may copy.

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
    loader = _Loader(content, max_steps)
    try:
        if not _is_usual(content):
            _follow(content, max_steps)
        return _finished(loader.load())
    except _Refused as refusal:
        raise UnreadableFile(path, str(refusal), hint=HINT) from refusal
    except (
        pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError,
        AttributeError, OverflowError, MemoryError, RecursionError, DeprecationWarning,
    ) as error:  # fmt: skip
        if "NEWOBJ" in str(error):
            raise UnreadableFile(
                path, f"is a pickle that makes {loader.named}", hint=HINT
            ) from error
        ended = isinstance(error, EOFError) or "truncated" in str(error)
        what = "is cut off" if ended else "is no sound pickle of plain values"
        told = f"{type(error).__name__}: {_shown(str(error))}"
        raise UnreadableFile(path, f"{what} ({told})", hint="Fetch the file again.") from error


def dump(thing: Any, path: Path) -> None:
    """Write plain values and numpy arrays; the file is whole or not there.

    Protocol 4, which Python 3.4 and later read; arrays need numpy 1.26 or later.

    Raises:
        UnreadableFile: :func:`load` would refuse it.
    """
    content = pickle.dumps(thing, protocol=4)
    loads(content, path=path)
    begun = path.with_name(f".{path.name}.part")
    begun.write_bytes(content)
    begun.replace(path)


class _Refused(Exception):
    """What the pickle asks for will not be given."""


class _Loader(pickle.Unpickler):
    """Python's unpickler, which gets stand-ins for everything that it asks for by name."""

    def __init__(self, content: bytes, max_members: int) -> None:
        whole = cast(io.RawIOBase, io.BytesIO(content))
        super().__init__(io.BufferedReader(whole, 2**18), fix_imports=False, encoding="latin-1")
        self.named = "an object"
        self.budget = _Budget(2 * len(content) + 2**20, max_members)

    def find_class(self, module: str, name: str) -> _Named:
        self.named = f"{module}.{name}"
        if self.named not in MAKERS:
            raise _Refused(
                f"is a pickle that asks for {_shown(module)}.{_shown(name)}, "
                "which is neither a plain value nor a numpy array"
            )
        return _Named(self.named, self.budget)

    def persistent_load(self, _: Any) -> Any:
        raise _Refused(REFUSED["PERSID"])


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:120])


# ── Stand-ins ────────────────────────────────────────────────────────────────────────────────────


class _Budget:
    """What calls may still copy; what a sound pickle copies stood in it once."""

    __slots__ = ("members", "size")

    def __init__(self, size: int, members: int) -> None:
        self.size, self.members = size, members

    def grant(self, arguments: Sequence[Any]) -> None:
        for value in arguments:
            if type(value) in (str, bytes, bytearray):
                self.size -= len(value)
            elif type(value) in (list, tuple):
                self.members -= len(value)
        if self.size < 0 or self.members < 0:
            raise _Refused("is a pickle that copies the same content again and again")


class _Named:
    """A function or class by its name alone."""

    __slots__ = ("budget", "make", "name")

    def __init__(self, name: str, budget: _Budget) -> None:
        self.name, self.make, self.budget = name, MAKERS[name], budget

    def __call__(self, *arguments: Any) -> Any:
        if self.make is None:
            raise _Refused(f"is a pickle that calls {self.name}, which is not for calling")
        if self.make is not _reconstruct:
            self.budget.grant(arguments)
        return self.make(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _Refused(f"is a pickle that changes the inside of {self.name}")


class _DType:
    """A dtype, known once its state is."""

    __slots__ = ("real", "spec")
    __hash__ = None  # type: ignore[assignment]  # it will be another object in the end

    def __init__(self, spec: str) -> None:
        self.spec = spec
        self.real: np.dtype[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        if self.real is not None:
            raise _Refused("is a pickle that changes the inside of a dtype")
        self.real = _built_dtype(self.spec, state)


class _Array:
    """An array, known once its state is."""

    __slots__ = ("real",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, real: Any = None) -> None:
        self.real = real

    def __setstate__(self, state: Any) -> None:
        if self.real is not None:
            raise _Refused("is a pickle that changes the inside of an array")
        self.real = _built_array(state)


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    if type(kind) is not _Named or kind.name != "numpy.ndarray":
        raise _Refused("is a pickle that makes arrays of another class than numpy.ndarray")
    if shape != (0,) or code not in (b"b", "b"):
        raise ValueError("an array that is begun in no known way")
    return _Array()


def _built_array(state: Any) -> Any:
    """An array of the state (version, shape, dtype, Fortran order, content)."""
    if type(state) is not tuple or len(state) not in (4, 5):
        raise ValueError("an array without state")
    shape, dtype, fortran, content = state[-4:]
    if type(fortran) not in (bool, int) or type(state[0]) not in (int, tuple):
        raise ValueError("an array of no known version or order")
    order: Literal["F", "C"] = "F" if fortran else "C"
    real = _real(dtype)
    if not real.hasobject:
        return _array_of(content, real, shape, order)
    if type(content) is not list:
        raise ValueError("an array of objects whose content is no list")
    array = np.empty(len(content), dtype=object)
    for place, value in enumerate(content):
        array[place] = value
    return np.reshape(array, _ints(shape), order=order)


def _frombuffer(
    content: Any, dtype: Any, shape: Any, order: Any, axes: Sequence[int] | None = None
) -> _Array:
    real = _real(dtype)
    shape = (shape,) if type(shape) is int else shape
    if real.hasobject or order not in ("C", "F", "K"):
        raise ValueError("an array of objects, or of no known order")
    array = _array_of(content, real, shape, "F" if order == "F" else "C")
    if axes is not None:
        array = array.transpose(_ints(axes))
    return _Array(array)


def _array_of(content: Any, dtype: np.dtype[Any], shape: Any, order: Literal["C", "F"]) -> Any:
    """Bytes as an array; numpy itself refuses shapes that need more of them."""
    raw = content if type(content) is bytes else _raw(content)
    array: Any = np.ndarray(_ints(shape), dtype, raw, 0, None, order)
    if array.nbytes != len(raw):
        raise ValueError("an array whose content does not fit its shape")
    return array


def _ints(values: Any) -> tuple[int, ...]:
    if type(values) is not tuple:
        raise ValueError("a shape that is none")
    for n in values:
        if type(n) is not int or n < 0:
            raise ValueError("a shape of no numbers")
    return values


def _scalar(dtype: Any, content: Any = b"") -> Any:
    real = _real(dtype)
    raw = _raw(content)
    if real.hasobject or len(raw) != real.itemsize:
        raise ValueError("a scalar whose content does not fit its dtype")
    return np.frombuffer(raw, dtype=real)[0] if raw else np.zeros((), dtype=real)[()]


def _raw(content: Any) -> bytes | bytearray:
    """Content as bytes; Python 2 wrote it as text of one byte a letter."""
    if type(content) is str:
        return content.encode("latin-1")
    if type(content) not in (bytes, bytearray):
        raise ValueError("content that is not bytes")
    return content


def _dtype(spec: Any, align: Any = False, copy: Any = False) -> _DType:
    spec = _word(spec)
    if not DTYPE.fullmatch(spec):
        raise _Refused(f"asks for numpy dtype {_shown(spec)}, which is not known")
    if type(align) not in (bool, int) or type(copy) not in (bool, int):
        raise ValueError("a dtype that is begun in no known way")
    return _DType(spec)


def _real(dtype: Any) -> np.dtype[Any]:
    if type(dtype) is not _DType or dtype.real is None:
        raise ValueError("an array or scalar without dtype")
    return dtype.real


def _built_dtype(spec: str, state: Any) -> np.dtype[Any]:
    """A dtype of its state; flags are ignored, since they could make bytes pass for pointers."""
    if type(state) is not tuple or not 6 <= len(state) <= 9:
        raise ValueError("a dtype without state")
    order, sub, names, fields, size = state[1:6]
    if any(type(n) is not int for n in (state[0], *state[5:8])):
        raise ValueError("a dtype of no known version or size")
    order = _word(order)
    kind = spec.lstrip("<>=|")
    if order not in BYTE_ORDERS:
        raise ValueError("a dtype without byte order")
    if sub is not None:
        raise _Refused("asks for a numpy dtype of sub-arrays, which is not known")
    if kind.startswith("O"):
        return np.dtype(object)
    if kind in ("M8", "m8"):
        about = state[8][-1] if len(state) > 8 else (b"generic", 1, 1, 1)
        unit = _word(about[0])
        if unit == "generic":
            return np.dtype(f"{order}{kind}")
        if not UNIT.fullmatch(unit) or type(about[1]) is not int:
            raise ValueError("a time without unit")
        return np.dtype(f"{order}{kind}[{about[1]}{unit}]")
    if names is None:
        return np.dtype(f"{order}{kind}")
    if type(names) is not tuple or type(fields) is not dict or not 0 < size < 2**20:
        raise ValueError("a structured dtype without fields")
    parts = [fields[_word(name)] for name in names]
    formats = [_real(part[0]) for part in parts]
    if any(real.hasobject for real in formats):
        raise _Refused("asks for a structured numpy dtype of objects, which is not known")
    return np.dtype(
        {
            "names": list(names),
            "formats": formats,
            "offsets": list(_ints(tuple(part[1] for part in parts))),
            "itemsize": size,
        }
    )


def _word(value: Any) -> str:
    if type(value) is bytes:
        return value.decode("ascii")
    if type(value) is not str:
        raise ValueError("a number where a word should be")
    return value


def _encode(text: Any, encoding: Any = "") -> bytes:
    if encoding not in ("latin1", "latin-1") or type(text) is not str:
        raise _Refused("asks for an encoding other than latin1")
    return text.encode("latin-1")


def _bytes(content: Any = b"", encoding: Any = "latin-1") -> bytes:
    """Of bytes that are there already; a number would be a wish for that many."""
    return _encode(content, encoding) if type(content) is str else bytes(_raw(content))


def _bytearray(content: Any = b"", encoding: Any = "latin-1") -> bytearray:
    return bytearray(_bytes(content, encoding))


def _items(content: Any) -> list[Any]:
    if type(content) is not list:
        raise ValueError("a collection of nothing that is there")
    return content


def _set(content: Any = None) -> set[Any]:
    return set(_items([] if content is None else content))


def _frozenset(content: Any = None) -> frozenset[Any]:
    return frozenset(_set(content))


def _dict(content: Any = None) -> dict[Any, Any]:
    return dict(_items([] if content is None else content))


def _defaultdict(factory: Any = None) -> dict[Any, Any]:
    if factory is not None and type(factory) is not _Named:
        raise ValueError("a defaultdict without factory")
    return {}


def _complex(real: Any, imaginary: Any = 0.0) -> complex:
    if type(real) not in (int, float) or type(imaginary) not in (int, float):
        raise ValueError("a complex number of no numbers")
    return complex(real, imaginary)


MAKERS: Mapping[str, Callable[..., Any] | None] = {
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _frombuffer,
    "numpy._core.numeric._frombuffer": _frombuffer,
    "numpy.dtype": _dtype,
    "numpy.ndarray": None,  # only as what is reconstructed
    "_codecs.encode": _encode,
    "collections.OrderedDict": _dict,
    "collections.defaultdict": _defaultdict,
    **{
        f"{module}.{name}": make
        for module in ("builtins", "__builtin__")
        for name, make in {
            "bytearray": _bytearray,
            "bytes": _bytes,
            "complex": _complex,
            "frozenset": _frozenset,
            "set": _set,
            "int": None,  # these only as what a defaultdict would fill in
            "long": None,
            "float": None,
            "list": None,
            "dict": None,
        }.items()
    },
}
"""Everything that a pickle may name, and what stands for it here; None is only named.

None of these may take a tuple of tuples: :data:`USUAL` counts on it.
"""


# ── Stand-ins become what they stand for ─────────────────────────────────────────────────────────


def _finished(made: Any) -> Any:
    """The same with arrays and dtypes for their stand-ins; collections change in place."""
    top = [made]
    seen: set[int] = set()
    waiting: list[Any] = [top]
    tuples: dict[int, tuple[Any, Any]] = {}
    while waiting:
        holder = waiting.pop()
        for place, value in holder.items() if type(holder) is dict else enumerate(holder):
            kind = type(value)
            if kind in SIMPLE:
                continue
            if kind is _Array or kind is _DType:
                holder[place] = value = _put(value)
            elif kind is tuple:
                holder[place] = _finished_tuple(value, tuples, waiting)
                continue
            holds = kind is dict or kind is list or (kind is _Array and value.dtype.hasobject)
            if holds and id(value) not in seen:
                seen.add(id(value))
                waiting.append(value.ravel("K") if kind is _Array else value)
    return top[0]


SIMPLE = frozenset({str, int, float, bool, type(None), bytes})


def _finished_tuple(
    whole: tuple[Any, ...], done: dict[int, tuple[Any, Any]], waiting: list[Any]
) -> tuple[Any, ...]:
    """The tuple anew if it holds stand-ins, inner ones first; ``done`` keeps old and new by id."""
    stack = [whole]
    while stack:
        old = stack[-1]
        if id(old) in done:
            stack.pop()
            continue
        inner = [part for part in old if type(part) is tuple and id(part) not in done]
        if inner:
            stack += inner
            continue
        new = tuple(
            done[id(part)][1]
            if type(part) is tuple
            else (_put(part) if type(part) in (_Array, _DType) else part)
            for part in old
        )
        changed = any(one is not other for one, other in zip(old, new, strict=True))
        done[id(old)] = (old, new if changed else old)
        if parts := [part for part in old if type(part) in (dict, list, _Array)]:
            waiting.append(parts)
    return done[id(whole)][1]


def _put(stand_in: _Array | _DType) -> Any:
    if stand_in.real is None:
        raise ValueError("an array or dtype that is begun and never made")
    return stand_in.real


# ── Programs are looked through ──────────────────────────────────────────────────────────────────


_FRAME = rb"(?:\x95.{8})?"
_ATOM = rb"(?:K.|M..|J....|[N\x88\x89]|G.{8}|[IFL][^\n]{1,200}\n)" + _FRAME
_MEMO = rb"(?:\x94|q.|r...\x00|p\d{1,7}\n)"
_SHORT = b"|".join(b"%s.{%d}" % (re.escape(bytes([size])), size) for size in range(1, 33))
USUAL = re.compile(
    rb"(?s:[\x94\]})aesuRb\x93\x8f\x90dl]++|h.|j....|\x8c(?:" + _SHORT + rb")"
    # a tuple that is used up at once (and checked by a stand-in), or one of atoms alone
    + rb"|" + _ATOM + rb"(?:\x85|" + _ATOM + rb"(?:\x86|" + _ATOM + rb"\x87))?"
    + rb"|[\x85\x86\x87t]" + _MEMO + rb"?" + _FRAME + rb"[Rb]"
    + rb"|\((?:(?:" + _ATOM + rb"){1,32}+t)?|" + _MEMO
    + rb"|c[^\n]{1,200}\n[^\n]{1,200}\n|\x95.{8}|\x80[\x02-\x05]"
    + rb"|g[^\n]{1,9}\n|V[^\n]*\n|S(?:[^\n\\]|\\[abfnrtvx0-7'\"\\])*+\n)++"
)  # fmt: skip
"""Steps in which data is written that can do no harm, in a row.

Tuples are the point: here they are never deeper than three, so that they can be hashed.
"""
_LENGTHS = {
    ord("\x8c"): 1,  # texts
    ord("X"): 4,
    ord("C"): 1,  # bytes
    ord("B"): 4,
    ord("\x8e"): 8,
    ord("\x96"): 8,
    ord("U"): 1,  # texts of Python 2
    ord("\x8a"): 1,  # an integer
}
"""Step → bytes of the length before the content that follows it."""
STOP = ord(".")
MAKING = (b"}", b"]", b"\x8f", b"R")


def _is_usual(content: bytes) -> bool:
    """Whether all steps are usual ones, and not too many of them make something.

    Raises:
        EOFError: The program has no end.
    """
    if sum(content.count(step) for step in MAKING) > MAX_MADE:
        raise _Refused(f"is a pickle that makes more than {MAX_MADE} things")
    at, end = 0, len(content)
    usual, lengths = USUAL.match, _LENGTHS
    while at < end:
        code = content[at]
        size = lengths.get(code)
        if size is not None:
            begin = at + 1 + size
            at = begin + int.from_bytes(content[at + 1 : begin], "little")
        elif (found := usual(content, at)) is not None:
            at = found.end()
        else:
            return code == STOP
    raise EOFError("the program ends within a value")


REFUSED = {
    "PERSID": "is a pickle that refers to things outside of it",
    "BINPERSID": "is a pickle that refers to things outside of it",
    "EXT1": "is a pickle that names a registered extension",
    "EXT2": "is a pickle that names a registered extension",
    "EXT4": "is a pickle that names a registered extension",
    "NEXT_BUFFER": "is a pickle whose buffers are kept outside of it",
    "READONLY_BUFFER": "is a pickle whose buffers are kept outside of it",
}
PUTS = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
GETS = ("GET", "BINGET", "LONG_BINGET")


def _follow(content: bytes, max_steps: int) -> None:
    """Look through any program, keeping of each value only how tuples are nested in it.

    Raises:
        ValueError: It is none, or takes what is not there.
    """
    stack: list[tuple[int, int]] = []  # of each value the depth of its tuples and their members
    marks: list[int] = []
    memo: dict[int, tuple[int, int]] = {}
    for step, (operation, argument) in enumerate(_operations(content)):
        name, before = operation.name, operation.stack_before
        if step >= max_steps:
            raise _Refused(f"is a pickle of more than {max_steps} steps")
        if name in REFUSED:
            raise _Refused(REFUSED[name])
        if name == "PROTO" and argument > pickle.HIGHEST_PROTOCOL:
            raise _Refused(f"is a pickle of protocol {argument}, which is not known")
        if type(argument) is int and argument.bit_length() > MAX_INTEGER_BITS:
            raise _Refused(f"holds an integer of {argument.bit_length()} bits")
        if name in PUTS:
            slot = len(memo) if argument is None else argument
            if slot > MAX_MEMO:
                raise _Refused(f"is a pickle that remembers {slot} things")
            memo[slot] = stack[-1]
        elif name in GETS:
            stack.append(memo[argument])
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "POP" and marks and marks[-1] == len(stack):
            marks.pop()
        else:
            marked = pickletools.markobject in before
            begin = (marks.pop() if marked else len(stack)) - (
                before.index(pickletools.markobject) if marked else len(before)
            )
            if begin < 0:
                raise ValueError("a step that takes what is not there")
            taken = stack[begin:]
            del stack[begin:]
            made = _nesting(taken, len(content)) if "TUPLE" in name else (0, 1)
            stack += [made] * len(operation.stack_after)


def _operations(content: bytes) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    with warnings.catch_warnings(action="error", category=DeprecationWarning):  # of wrong escapes
        for operation, argument, _ in pickletools.genops(content):
            yield operation, argument


def _nesting(members: Sequence[tuple[int, int]], most: int) -> tuple[int, int]:
    """Depth and members of a tuple of these."""
    depth = 1 + max((depth for depth, _ in members), default=0)
    size = 1 + sum(size for _, size in members)
    if depth > MAX_DEPTH or size > most:
        raise ValueError("tuples in tuples without end")
    return depth, size
