"""Units that may be written, what each is in the unit that predicates tell, and what it measures."""

from __future__ import annotations

SI: dict[str, tuple[str, float]] = {
    "s": ("s", 1.0), "sec": ("s", 1.0), "seconds": ("s", 1.0), "second": ("s", 1.0),
    "ms": ("s", 1e-3), "min": ("s", 60.0), "minutes": ("s", 60.0),
    "m": ("m", 1.0), "metres": ("m", 1.0), "meters": ("m", 1.0), "cm": ("m", 0.01),
    "km": ("m", 1000.0), "ft": ("m", 0.3048),
    "m/s": ("m/s", 1.0), "mps": ("m/s", 1.0), "km/h": ("m/s", 1 / 3.6), "kph": ("m/s", 1 / 3.6),
    "kmh": ("m/s", 1 / 3.6), "mph": ("m/s", 0.44704),
    "m/s²": ("m/s²", 1.0), "m/s2": ("m/s²", 1.0), "m/s^2": ("m/s²", 1.0), "g": ("m/s²", 9.80665),
    "m/s³": ("m/s³", 1.0), "m/s3": ("m/s³", 1.0), "m/s^3": ("m/s³", 1.0),
    "rad/s": ("rad/s", 1.0), "°/s": ("rad/s", 0.017453292519943295),
    "deg/s": ("rad/s", 0.017453292519943295),
    "°": ("°", 1.0), "deg": ("°", 1.0), "rad": ("°", 57.29577951308232),
    "s²": ("s²", 1.0), "s2": ("s²", 1.0), "s^2": ("s²", 1.0),
    "%": ("1", 0.01),
}  # fmt: skip
"""Each unit as (the unit that predicates tell, how many of it)."""

WRITTEN: dict[str, str] = {"m/s²": "m/s2", "m/s³": "m/s3", "s²": "s2", "°": "deg"}
"""How a unit is written where it has letters that a keyboard lacks."""


def alike(unit: str) -> list[str]:
    """Units that measure the same as one that predicates tell, that one first; each in one writing."""
    same = {WRITTEN.get(unit, unit): SI.get(unit, (unit, 1.0))[1]}
    for written, (si, factor) in SI.items():
        if si == unit and written.isascii() and factor not in same.values():
            same[written] = factor
    return list(same)
