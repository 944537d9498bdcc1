"""Keys that come out the same on every machine and in every run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int

from geometry.arrays import Array

_SEPARATOR = b"\x1f"


def stable_id(*parts: object) -> int:
    """A positive int64 that depends on nothing but the parts' text.

    63 bits of BLAKE2b: among ten million keys the chance of any collision is about 5e-6. Parts
    are told apart by type too, so that ``1`` and ``"1"`` are different parts.

    Args:
        *parts: Strings, integers, floats, bytes or None; the order matters.

    Returns:
        A number in [1, 2⁶³).
    """
    digest = hashlib.blake2b(b"".join(map(_told, parts)), digest_size=8).digest()
    return max(int.from_bytes(digest, "big") >> 1, 1)


def stable_ids(*shared: object, columns: Iterable[Iterable[object]]) -> Int[Array, " rows"]:
    """``stable_id(*shared, *row)`` of every row of a table, the text of equal parts made once.

    Args:
        *shared: Parts with which every row begins.
        columns: The others; each holds integers or strings, or None.
    """
    rows = map(b"".join, zip(*(map(_Told().__getitem__, c) for c in columns), strict=True))
    begin = b"".join(map(_told, shared))
    digests = [hashlib.blake2b(begin + row, digest_size=8).digest() for row in rows]
    numbers = np.frombuffer(b"".join(digests), dtype=">u8") >> np.uint64(1)
    return np.maximum(numbers.astype(np.int64), 1)


def _told(part: object) -> bytes:
    text = part if isinstance(part, bytes) else str(part).encode()
    return b"%b:%d:%b%b" % (type(part).__name__.encode(), len(text), text, _SEPARATOR)


class _Told(dict[object, bytes]):
    """What each value of a column comes to, once it was asked for."""

    def __missing__(self, part: object) -> bytes:
        self[part] = told = _told(part)
        return told
