"""Speeds as map formats write them: a number and perhaps a unit."""

from __future__ import annotations

import math
import re

UNITS = {
    "m/s": 1.0, "mps": 1.0, "ms": 1.0,
    "km/h": 1 / 3.6, "kmh": 1 / 3.6, "kph": 1 / 3.6, "kmph": 1 / 3.6,
    "mph": 0.44704, "mi/h": 0.44704,
    "kn": 1852 / 3600, "knots": 1852 / 3600,
}  # fmt: skip
"""Metres per second in one of each."""


def metres_per_second(text: str, *, default: str) -> float | None:
    """``50``, ``50 km/h``, ``30mph``, … as [m/s]; None for what is no positive speed.

    Args:
        text: Number and unit.
        default: The unit of a number alone.
    """
    match = re.fullmatch(r"\s*([0-9.eE+-]+)\s*([A-Za-z/]*)\s*", text)
    if match is None:
        return None
    factor = UNITS.get(match[2].lower() or default)
    try:
        value = float(match[1])
    except ValueError:
        return None
    if factor is None or not math.isfinite(value) or value <= 0.0:
        return None
    return value * factor
