"""Numbers that callers give, held to what can be before any work is done with them.

A number that is none (NaN) passes most comparisons unseen, an infinite one ends in an overflow far
from where it was given, and one of a wrong size in rows by the billion.
"""

from __future__ import annotations

import math
import operator
from contextlib import suppress
from typing import Any

from schemas.errors import BadQuery, UnknownName


def real(name: str, value: Any, *, least: float, most: float, unit: str = "s") -> float:
    """A number of at least and at most so much.

    Args:
        name: Of the argument, for whoever gave it.
        value: What was given.
        least: The least that can be.
        most: The most.
        unit: Of all three.

    Raises:
        BadQuery: It is no number, or none of these.
    """
    number = math.nan
    if not isinstance(value, str | bool):
        with suppress(TypeError, ValueError, OverflowError):
            number = float(value)
    if not least <= number <= most:  # nor is NaN
        raise _refused(name, value, f"a number from {least:g} to {most:g} {unit}".rstrip())
    return number


def whole(name: str, value: Any, *, least: int, most: int) -> int:
    """A whole number of at least and at most so much.

    Raises:
        BadQuery: It is no whole number, or none of these.
    """
    number = None
    if not isinstance(value, bool):
        with suppress(TypeError):
            number = operator.index(value)
    if number is None or not least <= number <= most:
        raise _refused(name, value, f"a whole number from {least:,} to {most:,}")
    return number


def id_of(what: str, value: Any) -> int:
    """An id as JSON and people tell it: a whole number, or its digits.

    Raises:
        UnknownName: Nothing can have that id.
    """
    try:
        number = int(value) if isinstance(value, str) else operator.index(value)
    except (TypeError, ValueError):
        number = -(2**63) - 1
    if not -(2**63) <= number < 2**63:
        error = UnknownName(what, _short(value), ())
        error.hint = "Ids are whole numbers, as the tables hold them."
        raise error
    return number


def _refused(name: str, value: Any, wanted: str) -> BadQuery:
    return BadQuery(f"`{name}` cannot be {_short(value)}.", hint=f"Say {wanted}.")


def _short(value: Any) -> str:
    told = str(value)
    return told if len(told) <= 40 else f"{told[:40]}…"
