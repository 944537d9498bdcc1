"""Rows of many tracks as observations, and the headings that their motion implies.

What readers of flat tables have in common: rows in any order, some of them broken or said twice,
sources without headings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from formats.tally import Tally
from geometry.arrays import Array
from schemas.labels import AgentClass
from schemas.records import Observations, SourceEvent

REACHES_S = (0.5, 1.0, 2.0)
"""Half the time over which a heading is taken, the shortest that leads far enough [s]."""
CHORD_M = 1.0  # [m] what "far enough" is: noise of decimetres turns it by a few degrees


def observations(
    *,
    track: Int[Array, " rows"],
    t_ns: Int[Array, " rows"],
    xyz: Float[Array, "rows 3"],
    yaw: Float[Array, " rows"],
    size: Float[Array, "rows 3"],
    velocity: Float[Array, "rows 2"] | None,
    names: Sequence[str],
    source_cls: Sequence[str],
    cls: Sequence[AgentClass],
    tally: Tally,
) -> Observations:
    """Rows sorted by track and time, without those that say nothing or nothing new.

    Args:
        track: Index into ``names`` and its neighbours.
        t_ns: Since the log began [ns].
        xyz: Box centres [m].
        yaw: [rad].
        size: (length, width, height); NaN or not positive where not known [m].
        velocity: (vx, vy); None where the source has none [m/s].
        names: Id of each track, verbatim.
        source_cls: Likewise.
        cls: Normalised.
        tally: Told what was dropped.
    """
    sound = np.isfinite(xyz).all(axis=1) & np.isfinite(yaw)
    tally.add("dropped", "rows without a finite position and heading", int((~sound).sum()))
    order = np.lexsort((t_ns, track))
    order = order[sound[order]]
    repeats = np.zeros(len(order), dtype=bool)
    repeats[1:] = (np.diff(track[order]) == 0) & (np.diff(t_ns[order]) == 0)
    reason = "a track has several states at one time; the first is kept"
    tally.add("dropped", reason, int(repeats.sum()))
    order = order[~repeats]
    present, index = np.unique(track[order], return_inverse=True)
    known = np.where(np.isfinite(size) & (size > 0.0), size, np.nan)
    return Observations(
        track=index.astype(np.int64),
        t_ns=t_ns[order],
        xyz=xyz[order],
        yaw=yaw[order],
        size=known[order],
        velocity=None if velocity is None else velocity[order],
        source_track_id=[names[k] for k in present],
        source_cls=[source_cls[k] for k in present],
        cls=[cls[k] for k in present],
    )


@dataclass(slots=True)
class MotionHeadings:
    """Headings from motion, for a log that is told in parts.

    Attributes:
        last: The last heading of each track so far, by its id; who stands still keeps it [rad].
    """

    last: dict[str, float] = field(default_factory=dict)

    def headings(
        self,
        track: Int[Array, " rows"],
        t_ns: Int[Array, " rows"],
        xy: Float[Array, "rows 2"],
        names: Sequence[str],
        inside: Bool[Array, " rows"],
    ) -> tuple[Float[Array, " rows"], Bool[Array, " rows"]]:
        """The direction in which each track moves about each of its rows.

        That is the direction from where the track was half a second before to where it is half a
        second later, over up to two seconds if it moves slowly. Who does not move keeps the heading
        from before, else takes the one that comes next; who never moves has 0.

        Args:
            track: Index into ``names``; rows of any order.
            t_ns: [ns].
            xy: Any point fixed to the track's body [m].
            names: Id of each track.
            inside: Rows whose headings are to be remembered; others only help.

        Returns:
            Headings [rad], and whether any motion tells them.
        """
        order = np.lexsort((t_ns, track))
        who, when, where = track[order], t_ns[order], xy[order]
        yaw, known = _chords(who, when, where)
        yaw, known = _held(who, yaw, known, np.array([self.last.get(n, np.nan) for n in names]))
        result, told = np.zeros(len(order)), np.zeros(len(order), dtype=bool)
        result[order], told[order] = yaw, known
        keep = np.flatnonzero(inside[order] & known)
        ends = np.append(np.diff(who[keep]) != 0, True)[: len(keep)]
        latest = keep[ends]
        self.last |= {names[k]: v for k, v in zip(who[latest], yaw[latest].tolist(), strict=True)}
        return result, told


def _chords(
    track: Int[Array, " rows"], t_ns: Int[Array, " rows"], xy: Float[Array, "rows 2"]
) -> tuple[Float[Array, " rows"], Bool[Array, " rows"]]:
    """Directions of the shortest chords that are long enough, and which rows have one."""
    yaw, known = np.zeros(len(track)), np.zeros(len(track), dtype=bool)
    if not len(track):
        return yaw, known
    reach_ns = [round(reach * 1e9) for reach in REACHES_S]
    # One ascending key for all tracks, far enough apart for no reach to lead to another.
    _, code = np.unique(track, return_inverse=True)
    key = code * (int(np.ptp(t_ns)) + 2 * max(reach_ns) + 1) + (t_ns - t_ns.min())
    for reach in reach_ns:
        before = np.searchsorted(key, key - reach, side="left")
        after = np.searchsorted(key, key + reach, side="right") - 1
        chord = xy[after] - xy[before]
        far = ~known & (np.hypot(chord[:, 0], chord[:, 1]) >= CHORD_M)
        yaw[far] = np.arctan2(chord[far, 1], chord[far, 0])
        known |= far
    return yaw, known


def _held(
    track: Int[Array, " rows"],
    yaw: Float[Array, " rows"],
    known: Bool[Array, " rows"],
    last: Float[Array, " tracks"],
) -> tuple[Float[Array, " rows"], Bool[Array, " rows"]]:
    """Gaps filled with the heading before, of this part or the last, else with the one after."""
    rows = np.arange(len(track))
    begins = np.ones(len(track), dtype=bool)
    begins[1:] = np.diff(track) != 0
    start = np.maximum.accumulate(np.where(begins, rows, 0))
    before = np.maximum.accumulate(np.where(known, rows, -1))
    behind = before >= start
    ends = np.append(begins[1:], True)[: len(track)]
    stop = np.minimum.accumulate(np.where(ends, rows, len(track))[::-1])[::-1]
    after = np.minimum.accumulate(np.where(known, rows, len(track))[::-1])[::-1]
    ahead = after <= stop
    remembered = np.isfinite(last[track]) if len(track) else np.zeros(0, dtype=bool)
    filled = np.where(
        behind,
        yaw[np.maximum(before, 0)],
        np.where(
            remembered,
            np.nan_to_num(last[track]),
            np.where(ahead, yaw[np.minimum(after, max(len(track) - 1, 0))], 0.0),
        ),
    )
    return filled, behind | remembered | ahead


def runs_as_events(
    name: str,
    key: str,
    *,
    track: Int[Array, " rows"],
    t_ns: Int[Array, " rows"],
    value: Int[Array, " rows"],
    names: Sequence[str],
) -> list[SourceEvent]:
    """A quantity that changes seldom, such as the lane, as intervals: one event a run.

    Args:
        name: Of the events.
        key: Under which ``detail`` holds the value.
        track: Index into ``names``; rows of any order.
        t_ns: [ns].
        value: Whole numbers of the source.
        names: Id of each track.
    """
    if not len(track):
        return []
    order = np.lexsort((t_ns, track))
    who, when, what = track[order], t_ns[order], value[order]
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (np.diff(who) != 0) | (np.diff(what) != 0)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(order)) - 1
    return [
        SourceEvent(
            name=name, t0_ns=int(when[a]), t1_ns=int(when[b]), source_track_id=names[who[a]],
            detail={key: int(what[a])},
        )
        for a, b in zip(first.tolist(), last.tolist(), strict=True)
    ]  # fmt: skip
