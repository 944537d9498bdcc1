"""Rates of change that mean the same at any noise.

Published miners differ fourfold in jerk between data sets, which is differentiation noise, not
driving. So rates come from straight lines fitted to a window about each step (Savitzky and Golay
1964, order 1), after a median filter against single bad frames; and the window of each track is the
narrowest at which the noise of that very track leaves the slope certain enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from schemas.scene import DT

HALF_WINDOWS = (2, 4, 7, 10)
"""[steps] Candidates: windows of 0.5, 0.9, 1.5 and 2.1 s."""
LEAST_POINTS = 4
"""Fewer valid steps in a window tell no slope."""
STANDS_OUT = 5.0
"""A slope so many times its standard error is believed, however large the error."""
NORMAL_FROM_MAD = 1.4826
"""σ of a normal distribution whose median absolute deviation is 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Lines fitted to windows of a quantity.

    Attributes:
        level: The line's value at the step; 0 where not valid [unit].
        slope: 0 where under four steps were there to fit [unit/s].
        error: Standard error of the slope, from the residuals; ∞ where there is no slope [unit/s].
    """

    level: Float[Array, "rows steps"]
    slope: Float[Array, "rows steps"]
    error: Float[Array, "rows steps"]

    def certain(self, error: float, *, most: float = np.inf) -> Bool[Array, "rows steps"]:
        """Where the slope is known that well, or stands out fivefold, and is possible at all."""
        sure = (self.error <= error) | (np.abs(self.slope) >= STANDS_OUT * self.error)
        return np.asarray(np.isfinite(self.error) & sure & (np.abs(self.slope) <= most))


def median3(
    value: Float[Array, "rows steps"], valid: Bool[Array, "rows steps"]
) -> Float[Array, "rows steps"]:
    """Median of each step and its two neighbours where all are valid; keeps ramps exactly."""
    if value.shape[1] < 3:
        return value
    out = value.copy()
    before, here, after = value[:, :-2], value[:, 1:-1], value[:, 2:]
    middle = np.maximum(np.minimum(before, here), np.minimum(np.maximum(before, here), after))
    known = valid[:, :-2] & valid[:, 1:-1] & valid[:, 2:]
    out[:, 1:-1] = np.where(known, middle, here)
    return out


def noise(
    value: Float[Array, "rows steps"], valid: Bool[Array, "rows steps"]
) -> Float[Array, " rows"]:
    """Standard deviation of white noise on each row, from its third differences.

    Third differences remove any smooth motion up to a constant second derivative; those of white
    noise have variance 20 σ². The median makes it deaf to single jumps.
    """
    if value.shape[1] < 4:
        return np.zeros(len(value))
    third = np.diff(value, n=3, axis=1)
    known = valid[:, :-3] & valid[:, 1:-2] & valid[:, 2:-1] & valid[:, 3:]
    size = np.sort(np.where(known, np.abs(third), np.inf), axis=1)  # the unknown come last
    count, rows = known.sum(axis=1), np.arange(len(value))
    low, high = size[rows, np.maximum(count - 1, 0) // 2], size[rows, count // 2 - (count == 0)]
    median = np.where(count > 0, low + high, 0.0) / 2.0
    return np.asarray(NORMAL_FROM_MAD * median / np.sqrt(20.0))


def half_windows(sigma: Float[Array, " rows"], *, slope_error: float) -> Int[Array, " rows"]:
    """The narrowest window of each row at which white noise leaves the slope that certain.

    The slope of a line fitted to 2h + 1 points ``DT`` apart has the standard error
    σ / (DT √(h (h + 1) (2h + 1) / 3)).
    """
    chosen = np.full(len(sigma), HALF_WINDOWS[-1])
    for half in reversed(HALF_WINDOWS):
        error = sigma / (DT * np.sqrt(half * (half + 1) * (2 * half + 1) / 3.0))
        chosen = np.where(error <= slope_error, half, chosen)
    return chosen


def fit_lines(
    value: Float[Array, "rows steps"],
    valid: Bool[Array, "rows steps"],
    half: Int[Array, " rows"],
) -> Fit:
    """The least-squares line through the valid steps round each step."""
    from mining.kernels import lines

    count = np.maximum(valid.sum(axis=1), 1.0)
    mean = np.where(valid, value, 0.0).sum(axis=1) / count
    level, slope, error = lines(
        np.ascontiguousarray(value, dtype=np.float64), np.ascontiguousarray(valid), half, mean,
        LEAST_POINTS, DT,
    )  # fmt: skip
    # The first and last step of a track see too few points; their neighbour's line runs on.
    for here, beside, way in (
        (slice(None, -1), slice(1, None), -DT),
        (slice(1, None), slice(None, -1), DT),
    ):
        lend = valid[:, here] & ~np.isfinite(error[:, here]) & np.isfinite(error[:, beside])
        onward = level[:, beside] + way * slope[:, beside]
        level[:, here] = np.where(lend, onward, level[:, here])
        slope[:, here] = np.where(lend, slope[:, beside], slope[:, here])
        error[:, here] = np.where(lend, error[:, beside], error[:, here])
    known = np.isfinite(error)
    return Fit(np.where(valid, level, 0.0), np.where(known, slope, 0.0), error)
