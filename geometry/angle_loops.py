"""Angles one by one, for compiled loops; see :mod:`geometry.angles`."""

from __future__ import annotations

import math

from geometry.compiled import compiled


@compiled
def wrapped(angle: float) -> float:
    """The same direction in (−π, π], to the bit as :func:`geometry.angles.wrap` has it."""
    around = math.pi - (math.pi - angle) % (2.0 * math.pi)
    # The float remainder may round up to the modulus itself, which would give −π.
    return around if around > -math.pi else math.pi
