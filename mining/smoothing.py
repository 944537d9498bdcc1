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
    rows, steps = value.shape
    level, slope = np.zeros((rows, steps)), np.zeros((rows, steps))
    error = np.full((rows, steps), np.inf)
    for width in np.unique(half).tolist():
        chosen = half == width
        w = valid[chosen].astype(np.float64)
        t = np.arange(steps, dtype=np.float64)
        # Sums over windows are differences of running sums, of values near 0 so that none is lost.
        mean = (w * value[chosen]).sum(axis=1, keepdims=True) / np.maximum(
            w.sum(axis=1, keepdims=True), 1.0
        )
        v = w * (np.where(valid[chosen], value[chosen], 0.0) - mean)
        s0, m1, m2, y0, n1, y2 = _windows(np.stack([w, w * t, w * t * t, v, v * t, v * v]), width)
        s1, y1 = m1 - t * s0, n1 - t * y0
        s2 = m2 - 2.0 * t * m1 + t * t * s0
        spread = s0 * s2 - s1 * s1
        enough = (s0 >= LEAST_POINTS) & (spread > 0.5)  # a whole number, but for rounding
        b = np.where(enough, (s0 * y1 - s1 * y0) / np.where(enough, spread, 1.0), 0.0)
        a = np.where(s0 > 0, (y0 - b * s1) / np.maximum(s0, 1.0), 0.0)
        level[chosen], slope[chosen] = a + mean, b / DT
        left_over = np.maximum(y2 - a * y0 - b * y1, 0.0) / np.maximum(s0 - 2.0, 1.0)
        doubt = np.sqrt(left_over * s0 / np.where(enough, spread, 1.0)) / DT
        error[chosen] = np.where(enough & valid[chosen], doubt, np.inf)
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


def _windows(
    value: Float[Array, "quantities rows steps"], half: int
) -> Float[Array, "quantities rows steps"]:
    """Sum over the window of ``2 half + 1`` steps round each step, cut off at the ends."""
    steps = value.shape[-1]
    total = np.zeros((*value.shape[:-1], steps + 2 * half + 1))
    np.cumsum(value, axis=-1, out=total[..., half + 1 : half + 1 + steps])
    total[..., half + 1 + steps :] = total[..., half + steps : half + steps + 1]
    return np.asarray(total[..., 2 * half + 1 :] - total[..., :steps])
