"""From truth at every step to intervals: hysteresis, bridged gaps, least duration.

A quantity that hovers at its threshold must not flicker, a box that is lost for two frames must not
cut an event in two, and a single noisy frame is no event. So a condition begins where the quantity
reaches its threshold, ends where it falls short of 90 % of it (hysteresis 10 %), gaps under 0.3 s
are bridged, and what then lasts under 0.5 s is dropped. A step stands for ``DT`` seconds, so that
``n`` steps last ``n · DT``; both ends of an interval are included.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from schemas.labels import Truth
from schemas.scene import DT

HYSTERESIS = 0.1
"""Fraction of the threshold by which a quantity may fall back before the condition ends."""
LEAST_S = 0.5
"""[s] Shorter events are dropped."""
BRIDGE_S = 0.3
"""[s] Shorter gaps are bridged."""


NOTHING: Mapping[str, Any] = {}
"""No evidence, no parameters."""


class Interval(NamedTuple):
    """A predicate that holds, or that cannot be known, over some steps of a scene.

    Attributes:
        name: Of the predicate.
        begin_step: First step.
        end_step: Last step, included.
        actor: Track id of whom it is about; None for a fact of the whole scene.
        other: Track id of the other one, for relations.
        lane: Feature id of the lane concerned.
        truth: TRUE or UNKNOWN; what is false has no interval.
        value: The number that decided it, in the predicate's unit.
        evidence: The numbers behind it; for UNKNOWN the ``reason``.
        params: Thresholds by name, each with value, unit and source.
    """

    name: str
    begin_step: int
    end_step: int
    actor: int | None = None
    other: int | None = None
    lane: int | None = None
    truth: Truth = Truth.TRUE
    value: float | None = None
    evidence: Mapping[str, Any] = NOTHING
    params: Mapping[str, Any] = NOTHING


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Stretches of true steps in rows of a mask.

    Attributes:
        row: Which row of the mask.
        begin: First step.
        end: Last step, included.
    """

    row: Int[Array, " runs"]
    begin: Int[Array, " runs"]
    end: Int[Array, " runs"]

    def __iter__(self):  # type: ignore[no-untyped-def]
        """(row, begin, end) of each run as plain integers."""
        return zip(self.row.tolist(), self.begin.tolist(), self.end.tolist(), strict=True)

    def __len__(self) -> int:
        return len(self.row)


def steps_of(seconds: float) -> int:
    """The least number of steps that lasts so long."""
    return math.ceil(seconds / DT - 1e-9)


def above(
    value: Float[Array, "rows steps"],
    threshold: float | Float[Array, "#rows #steps"],
    *,
    known: Bool[Array, "rows steps"],
    leave: float | Float[Array, "#rows #steps"] | None = None,
) -> Bool[Array, "rows steps"]:
    """Whether a quantity is at or above its threshold, with hysteresis (a Schmitt trigger).

    Args:
        value: The quantity.
        threshold: Where the condition begins.
        known: Where the quantity is known; elsewhere the condition does not hold.
        leave: Below this it ends; by default 10 % of the threshold's size lower.
    """
    if leave is None:
        leave = np.asarray(threshold - HYSTERESIS * np.abs(threshold))
    return _triggered(value, threshold, leave, known, +1.0)


def below(
    value: Float[Array, "rows steps"],
    threshold: float | Float[Array, "#rows #steps"],
    *,
    known: Bool[Array, "rows steps"],
    leave: float | Float[Array, "#rows #steps"] | None = None,
) -> Bool[Array, "rows steps"]:
    """Whether a quantity is at or below its threshold; see :func:`above`."""
    if leave is None:
        leave = np.asarray(threshold + HYSTERESIS * np.abs(threshold))
    return _triggered(value, threshold, leave, known, -1.0)


def _triggered(
    value: Float[Array, "rows steps"],
    enter: float | Array,
    leave: float | Array,
    known: Bool[Array, "rows steps"],
    sign: float,
) -> Bool[Array, "rows steps"]:
    from mining.kernels import triggered

    value = np.ascontiguousarray(value, dtype=np.float64)
    known = np.ascontiguousarray(known)
    first, last = (np.atleast_2d(np.asarray(t, dtype=np.float64)) for t in (enter, leave))
    assert known.shape == np.broadcast_shapes(value.shape, first.shape, last.shape)
    return triggered(value, first, last, known, sign)


def runs(mask: Bool[Array, "rows steps"]) -> Runs:
    """Every stretch of true steps."""
    width = mask.shape[1] + 1
    padded = np.zeros(mask.shape[0] * width + 1, dtype=bool)
    padded[1:].reshape(mask.shape[0], width)[:, :-1] = mask
    change = np.flatnonzero(padded[1:] != padded[:-1])
    begin, end = change[::2], change[1::2]
    row = begin // width
    return Runs(row, begin - row * width, end - row * width - 1)


def bridge(
    mask: Bool[Array, "rows steps"], *, shorter_than_s: float = BRIDGE_S
) -> Bool[Array, "rows steps"]:
    """The mask with short gaps between true steps filled."""
    filled = mask.copy()
    for row, begin, end in runs(~mask):
        inner = begin > 0 and end < mask.shape[1] - 1
        if inner and (end - begin + 1) * DT < shorter_than_s - 1e-9:
            filled[row, begin : end + 1] = True
    return filled


def spells(
    mask: Bool[Array, "rows steps"], *, least_s: float = LEAST_S, bridge_s: float = BRIDGE_S
) -> Runs:
    """Stretches of true steps after bridging gaps and dropping what is too short."""
    from mining.kernels import spells as found

    mask = np.ascontiguousarray(mask)
    return Runs(*found(mask, steps_of(least_s), bridge_s - 1e-9 if bridge_s > 0 else 0.0, DT))


def decisive(
    found: Runs,
    mask: Bool[Array, "rows steps"],
    value: Float[Array, "rows steps"],
    *,
    greatest: bool,
) -> Int[Array, " runs"]:
    """Of each spell of a mask the first step at which the mask holds and a quantity is at its extreme."""
    from mining.kernels import decisive as steps

    assert mask.shape == value.shape
    mask = np.ascontiguousarray(mask)
    value = np.ascontiguousarray(value, dtype=np.float64)
    return steps(mask, value, found.row, found.begin, found.end, 1.0 if greatest else -1.0)


def middles(
    found: Runs, mask: Bool[Array, "rows steps"], value: Float[Array, "rows steps"]
) -> Int[Array, " runs"]:
    """Of each spell of a mask the step at which a quantity has its median over the steps of the mask."""
    from mining.kernels import middles as steps

    assert mask.shape == value.shape
    mask = np.ascontiguousarray(mask)
    value = np.ascontiguousarray(value, dtype=np.float64)
    return steps(mask, value, found.row, found.begin, found.end)
