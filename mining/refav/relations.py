"""What one track is to others: RefAV's relations as masks over related tracks and stamps.

Each function looks from one track at many. ``both`` says where both are asked about and seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from geometry.angles import difference
from geometry.arrays import Array
from geometry.boxes import clearance, in_frame_of
from mining.refav import roads
from mining.refav.log import Log

CROSSING_SPEED = 0.2
"""[m/s] Slower than this across the plane is no crossing."""
HEADS = 1.0
"""[m/s] Below this the body says where a track heads, if the other moves and it has a will."""
FOLLOWS_HEADS = 0.5
"""[m/s] Likewise of leaders and followers."""
FOLLOWING_M = 25.0
FOLLOWING_ASIDE_M = 5.0
ALIKE = 0.5
"""Least cosine between the headings of leader and follower."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Related tracks from one track.

    Attributes:
        log: Of both.
        row: Of the track.
        rows: Of the related ones.
        both: Where both are asked about and seen.
        xy: Centres of the related ones ahead of the track's and to its left [m].
    """

    log: Log
    row: int
    rows: Sequence[int]
    both: Bool[Array, "related steps"]
    xy: Float[Array, "related steps 2"]

    @classmethod
    def of(cls, log: Log, row: int, rows: Sequence[int], asked: Array) -> View:
        """The view where ``asked`` and both are seen."""
        both = asked & log.grid.seen[row] & log.grid.seen[list(rows)]
        boxes = np.broadcast_to(log.boxes[row], (len(rows), *log.boxes[row].shape))
        xy = in_frame_of(log.boxes[list(rows)][..., :2], boxes)
        return cls(log, row, rows, both, np.where(both[..., None], xy, np.nan))

    def clearance(self) -> Float[Array, "related steps"]:
        """Between the outlines of the boxes; ∞ where not both are seen [m]."""
        out = np.full(self.both.shape, np.inf)
        own = np.broadcast_to(self.log.boxes[self.row], (*self.both.shape, 5))
        theirs = self.log.boxes[list(self.rows)]
        out[self.both] = clearance(own[self.both], theirs[self.both])
        return out


def in_direction(
    view: View, direction: str, *, least: float, most: float, distance: float, aside: float
) -> Bool[Array, "related steps"]:
    """The nearest ``most`` related tracks beyond an edge of the box, where there are ``least``."""
    x, y, ahead, side = _turned(view, direction)
    apart = view.clearance()
    mask = view.both & (x > ahead) & (np.abs(y) < side + aside) & (apart <= distance)
    rank = np.where(mask, apart, np.inf).argsort(axis=0, kind="stable").argsort(axis=0)
    return mask & (rank < most) & (mask.sum(axis=0) >= least)


def crossed(
    view: View, direction: str, *, clockwise: int, reach: float, beyond: float
) -> Bool[Array, "related steps"]:
    """Where related tracks cross the half plane that runs out of a side of the box.

    The centre passes from one side of the plane to the other, within ``reach`` of the box's edge
    and at more than 0.2 m/s; the crossing lasts while it moves that way between the two planes
    ``beyond`` to either side.

    Args:
        view: Who looks at whom.
        direction: The side of the box.
        clockwise: +1 as seen from above, −1 counter-clockwise, 0 either.
        reach: How far the plane extends from the box [m].
        beyond: How far the other two planes lie aside [m].
    """
    x, y, edge, _ = _turned(view, direction)
    speed = view.log.rate(y)
    mask = np.zeros(view.both.shape, dtype=bool)
    for k in range(len(view.rows)):
        at = np.flatnonzero(view.both[k])
        past = np.sign(y[k, at])
        for n in np.flatnonzero((past[1:] != past[:-1]) & (past[:-1] != 0)) + 1:
            way = -past[n - 1]
            here = at[n]
            fast = way * speed[k, here] > CROSSING_SPEED
            if not (fast and edge <= x[k, here] <= edge + reach) or way * clockwise > 0:
                continue
            goes = (np.abs(y[k, at]) < beyond) & (way * speed[k, at] > CROSSING_SPEED)
            first = last = n
            while first > 0 and goes[first - 1]:
                first -= 1
            while last < len(at) - 1 and goes[last + 1]:
                last += 1
            mask[k, at[first : last + 1]] = True
    return mask


def near(view: View, *, distance: float, least: float) -> Bool[Array, "related steps"]:
    """Related tracks within a distance of the box, where there are ``least``."""
    mask = view.both & (view.clearance() <= distance)
    return mask & (mask.sum(axis=0) >= least)


def faces(view: View, *, angle: float, distance: float) -> Bool[Array, "related steps"]:
    """Whether the body points at related tracks, within an angle [rad] and a distance [m]."""
    bearing = np.abs(np.arctan2(view.xy[..., 1], view.xy[..., 0]))
    return view.both & (bearing <= angle) & (view.clearance() <= distance)


def heads_for(
    view: View, *, angle: float, speed: float, distance: float
) -> Bool[Array, "related steps"]:
    """Whether the track moves towards related tracks: angle [rad], speed towards them [m/s]."""
    velocity = view.log.velocity[view.row]
    offset = view.log.boxes[list(view.rows)][..., :2] - view.log.boxes[view.row, :, :2]
    away = np.hypot(offset[..., 0], offset[..., 1])
    towards = (offset * velocity).sum(axis=-1) / np.maximum(away, 1e-9)
    bearing = np.arctan2(offset[..., 1], offset[..., 0])
    course = np.arctan2(velocity[..., 1], velocity[..., 0])
    off = np.abs(difference(bearing, np.broadcast_to(course, bearing.shape)))
    return (
        view.both & (towards >= speed) & (off <= angle) & (view.clearance() <= distance)
    )  # fmt: skip


def heads_relative(view: View, direction: str) -> Bool[Array, "related steps"]:
    """Whether the track heads the same way (≤ 45°), opposite (≥ 135°) or across (between).

    Who is slower than 1 m/s heads where its body points, if it moves by itself and the other is
    faster; of two that are slow nothing is said.
    """
    log, rows = view.log, list(view.rows)
    own, theirs = log.velocity[view.row][None], log.velocity[rows]
    slow = np.hypot(own[..., 0], own[..., 1]) < HEADS
    they_slow = np.hypot(theirs[..., 0], theirs[..., 1]) < HEADS
    course = np.where(slow, log.grid.yaw[view.row], np.arctan2(own[..., 1], own[..., 0]))
    their = np.where(they_slow, log.grid.yaw[rows], np.arctan2(theirs[..., 1], theirs[..., 0]))
    told = (~slow | log.wills[view.row]) & (~they_slow | log.wills[rows][:, None])
    told &= ~(slow & they_slow)
    # A hair of tolerance: 135° is opposite, and 45° the same, whatever the rounding.
    turn = np.abs(difference(np.broadcast_to(course, their.shape), their))
    same, opposite = turn <= np.pi / 4 + 1e-6, turn >= 3 * np.pi / 4 - 1e-6
    meant = {"same": same, "opposite": opposite, "perpendicular": ~same & ~opposite}[direction]
    return np.asarray(view.both & told & np.isfinite(turn) & meant)


def follows(view: View) -> Bool[Array, "related steps"]:
    """Whether the track follows related ones: behind them on their lane, or into it.

    The leader's centre lies at most 25 m ahead of the box and 5 m aside, on the same lane or one
    that continues it; or on the lane beside, with the bodies overlapping across. Both head alike.
    """
    log, rows, grid = view.log, list(view.rows), view.log.grid
    half = grid.size[view.row, 0] / 2
    x, y = view.xy[..., 0], view.xy[..., 1]
    ahead = (x > half) & (x < half + FOLLOWING_M)
    alike = np.cos(_heading(log, rows) - _heading(log, [view.row])) > ALIKE
    overlap = np.abs(y) <= (grid.size[view.row, 1] + grid.size[rows, 1][:, None]) / 2
    own = np.broadcast_to(grid.lane[view.row], view.both.shape)
    theirs = grid.lane[rows]
    mask = view.both & ahead & alike & (own >= 0) & (theirs >= 0)
    on_way, beside = np.zeros_like(mask), np.zeros_like(mask)
    for a, b in {(a, b) for a, b in zip(own[mask].tolist(), theirs[mask].tolist(), strict=True)}:
        pair = (own == a) & (theirs == b)
        on_way |= pair & (a == b or b in log.graph.successors[a])
        beside |= pair & (b in roads.beside(log, a))
    return mask & ((on_way & (np.abs(y) < FOLLOWING_ASIDE_M)) | (beside & overlap))


def share_lanes(view: View, lanes: dict[int, frozenset[int]]) -> Bool[Array, "related steps"]:
    """Whether related tracks are on one of the lanes that belong to the track's own."""
    own = np.broadcast_to(view.log.grid.lane[view.row], view.both.shape)
    theirs = view.log.grid.lane[list(view.rows)]
    mask = np.zeros(view.both.shape, dtype=bool)
    for lane, wanted in lanes.items():
        mask |= (own == lane) & np.isin(theirs, sorted(wanted))
    return view.both & mask


def _turned(view: View, direction: str) -> tuple[Array, Array, float, float]:
    """X towards a side of the box, y to the left of that; the box's half extents along both."""
    x, y = view.xy[..., 0], view.xy[..., 1]
    length, width = (float(v) / 2 for v in view.log.grid.size[view.row, :2])
    return {
        "forward": (x, y, length, width),
        "left": (y, -x, width, length),
        "backward": (-x, -y, length, width),
        "right": (-y, x, width, length),
    }[direction]


def _heading(log: Log, rows: Sequence[int]) -> Array:
    velocity = log.velocity[list(rows)]
    moves = np.hypot(velocity[..., 0], velocity[..., 1]) > FOLLOWS_HEADS
    course = np.arctan2(velocity[..., 1], velocity[..., 0])
    return np.where(moves, course, log.grid.yaw[list(rows)])
