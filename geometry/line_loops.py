"""Loops over points and the segments of a line, compiled; see :mod:`geometry.polylines`."""

from __future__ import annotations

import math

import numpy as np

from geometry.arrays import Array
from geometry.compiled import compiled

ROUNDING_M = 1e-6
"""[m] More than sums of lengths are wrong by."""


@compiled
def nearest_segments(
    xy: Array, start: Array, unit: Array, length: Array, first: Array, last: Array
) -> tuple[Array, Array, Array]:
    """Of each point the nearest of its segments, the first of equals; how far along it, and how far off [m].

    Those of point i are from ``first[i]`` to ``last[i]``, which is left out; each begins where the one before
    it ends. So what is far off stays so for a while: whoever goes a metre along a line comes nearer to a
    point by a metre at most. Segments that cannot be nearer than the nearest so far are passed over.
    """
    chosen = first.copy()
    along, off = np.zeros(len(xy)), np.full(len(xy), np.inf)
    for i in range(len(xy)):
        k = first[i]
        while k < last[i]:
            x, y = xy[i, 0] - start[k, 0], xy[i, 1] - start[k, 1]
            on = min(max(x * unit[k, 0] + y * unit[k, 1], 0.0), length[k])
            away_x = xy[i, 0] - (start[k, 0] + on * unit[k, 0])
            away_y = xy[i, 1] - (start[k, 1] + on * unit[k, 1])
            distance = math.sqrt(away_x * away_x + away_y * away_y)
            if distance < off[i]:
                chosen[i], along[i], off[i] = k, on, distance
            spare = distance - off[i] - (length[k] - on) - ROUNDING_M
            k += 1
            while k < last[i] and spare >= length[k]:
                spare -= length[k]
                k += 1
    return chosen, along, off
