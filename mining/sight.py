"""Who stands between the ego and whom, seen from above.

From the centre of the ego each agent fills an angle, that of its box's corners. One who is nearer
hides the share of another's angle that it covers. Heights are not looked at, so this is what a
sensor low on the ego would miss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from geometry.boxes import corners
from mining.kept import kept
from mining.motion import Motion

COARSE = 3
"""[steps] Spacing at which pairs are first looked through for any that line up at all."""
PAIRS_AT_ONCE = 4096
"""Pairs whose steps are in memory at once; in a crowd there are millions."""
INSIDE_M = 2.0
"""[m] Who is nearer to the ego's centre than this has no angle to speak of."""


@dataclass(frozen=True, slots=True, eq=False)
class Angles:
    """What each agent fills of the ego's view; the ego itself has nothing.

    Attributes:
        bearing: Of its centre, in the world [rad].
        low: Of its rightmost corner, from the bearing, negative [rad].
        high: Of its leftmost corner [rad].
        distance: From the ego's centre to its own [m].
        seen: Whether both are observed and it is not on top of the ego.
    """

    bearing: Float[Array, "agents steps"]
    low: Float[Array, "agents steps"]
    high: Float[Array, "agents steps"]
    distance: Float[Array, "agents steps"]
    seen: Bool[Array, "agents steps"]


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """Ordered pairs of agents that line up with the ego at some step.

    Attributes:
        far: Index of the one behind.
        near: Index of the one in front of it.
        share: How much of the far one's angle the near one covers, 0 where it is not nearer [1].
        cut: Whether the line from the ego's centre to the far one's meets the near one's box.
    """

    far: Int[Array, " pairs"]
    near: Int[Array, " pairs"]
    share: Float[Array, "pairs steps"]
    cut: Bool[Array, "pairs steps"]


@kept
def angles(motion: Motion) -> Angles:
    """What each agent fills of the ego's view."""
    shape = (motion.agents, motion.steps)
    bearing, low, high = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    distance = np.full(shape, np.inf)
    who = np.flatnonzero(motion.focus)
    away = motion.xy[who] - motion.xy[:1]
    bearing[who] = np.arctan2(away[..., 1], away[..., 0])
    distance[who] = np.hypot(away[..., 0], away[..., 1])
    spots = corners(motion.boxes[who]) - motion.xy[:1, :, None]
    cos, sin = np.cos(bearing[who])[..., None], np.sin(bearing[who])[..., None]
    ahead = cos * spots[..., 0] + sin * spots[..., 1]
    aside = cos * spots[..., 1] - sin * spots[..., 0]
    turn = np.arctan2(aside, ahead)
    low[who], high[who] = turn.min(axis=-1), turn.max(axis=-1)
    seen = motion.seen & motion.seen[:1] & (distance > INSIDE_M)
    seen[0] = False
    return Angles(bearing, low, high, distance, seen)


@kept
def lines_of_sight(motion: Motion, *, within: float) -> Sight:
    """Who of the road users within that many metres of the ego stands before whom."""
    view = angles(motion)
    close = view.seen & (view.distance <= within)
    who = np.flatnonzero((close & ~motion.is_thing[:, None]).any(axis=1))
    coarse = slice(None, None, COARSE)
    far, near = _there_at_once(close[who, coarse])
    far, near = who[far], who[near]
    some = np.zeros(len(far), dtype=bool)
    for begin in range(0, len(far), PAIRS_AT_ONCE):
        block = slice(begin, begin + PAIRS_AT_ONCE)
        share, _ = _cover(view, close, far[block], near[block], coarse)
        some[block] = (share > 0.0).any(axis=1)
    far, near = far[some], near[some]
    share, cut = _cover(view, close, far, near, slice(None))
    return Sight(far, near, share, cut)


def _there_at_once(
    close: Bool[Array, "agents steps"],
) -> tuple[Int[Array, " pairs"], Int[Array, " pairs"]]:
    """Ordered pairs of agents that are close at one step, by the first, then the second."""
    ones = close.astype(np.float32)
    together = ones @ ones.T > 0.0
    np.fill_diagonal(together, False)
    first, second = np.nonzero(together)
    return first, second


def _cover(
    view: Angles,
    close: Bool[Array, "agents steps"],
    far: Int[Array, " pairs"],
    near: Int[Array, " pairs"],
    steps: slice,
) -> tuple[Float[Array, "pairs some"], Bool[Array, "pairs some"]]:
    from mining.kernels import covers

    bearing, low, high, distance = (
        np.ascontiguousarray(array[:, steps])
        for array in (view.bearing, view.low, view.high, view.distance)
    )
    return covers(bearing, low, high, distance, np.ascontiguousarray(close[:, steps]), far, near)
