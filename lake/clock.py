"""States and signals on a scene's 10 Hz clock.

Between two observations that belong together a state is interpolated linearly, headings along
the shorter turn; nothing is invented where observations are farther apart.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from geometry.angles import difference, wrap
from geometry.arrays import Array
from lake.dense import TRACK_DTYPES, canonical
from lake.localise import LocalLog
from schemas.labels import LightState
from schemas.scene import DT, Signals, Tracks

DT_NS = round(DT * 1e9)

JITTER_NS = 20_000_000
"""How far a step may lie outside of an agent's observations and still take the nearest one, moved
on at its velocity: stamps of a 10 Hz source jitter about the clock, and its first and last
observations are not to be lost for that [ns]."""

HOLD_NS = 1_500_000_000
"""How long a signal that is sampled again and again is held after its last sample [ns]."""

SAMPLED_NS = 500_000_000
"""Where a log repeats a signal's state more often than this, it samples; else it tells changes,
and a state holds until the next [ns]."""


def on_clock(local: LocalLog, times: Int[Array, " steps"]) -> Tracks:
    """Everyone who is seen at any of the times [ns], ego first, then in order of track id."""
    rows, who = local.rows, local.tracks
    begin, end = int(times[0]) - JITTER_NS, int(times[-1]) + JITTER_NS
    reach = (rows.t_ns >= begin - local.gap_ns) & (rows.t_ns <= end + local.gap_ns)
    seen = np.flatnonzero(reach & rows.valid)
    present = np.unique(rows.track[seen])
    if not len(present):
        return _nobody(len(times))
    before, after = _neighbours(
        np.searchsorted(present, rows.track[seen]), rows.t_ns[seen], len(present), times
    )
    previous, following = seen[np.maximum(before, 0)], seen[np.maximum(after, 0)]
    since = np.where(before >= 0, times - rows.t_ns[previous], np.iinfo(np.int64).max)
    until = np.where(after >= 0, rows.t_ns[following] - times, np.iinfo(np.int64).max)
    exact = since == 0
    between = ~exact & (before >= 0) & (after >= 0) & (since + until <= local.gap_ns)
    beside = ~exact & ~between & (np.minimum(since, until) <= JITTER_NS)
    valid = exact | between | beside

    # A step with observations on both sides starts from the earlier; one beside, from the nearer.
    base = np.where(beside & (until < since), following, previous)
    weight = np.where(between, since / np.maximum(since + until, 1), 0.0)
    other = np.where(between, following, base)
    extra_s = np.where(beside, (times - rows.t_ns[base]) / 1e9, 0.0)
    xyz, v, psi = (a[base].astype(np.float64) for a in (rows.xyz, rows.velocity, rows.yaw))
    xyz_other, v_other, psi_other = (
        a[other].astype(np.float64) for a in (rows.xyz, rows.velocity, rows.yaw)
    )
    w = weight[..., None]
    v = v + w * (v_other - v)
    xy = xyz[..., :2] + w * (xyz_other[..., :2] - xyz[..., :2]) + extra_s[..., None] * v
    z = xyz[..., 2] + weight * (xyz_other[..., 2] - xyz[..., 2])
    psi = wrap(psi + weight * difference(psi_other, psi))

    kept = valid.any(axis=1)
    valid, xy, z, psi, v = valid[kept], xy[kept], z[kept], psi[kept], v[kept]
    xy[~valid], z[~valid], psi[~valid], v[~valid] = 0.0, 0.0, 0.0, 0.0
    index = np.searchsorted(who.track_id, present[kept])
    lane = np.where(valid, local.lanes.lane[base[kept]], 0)
    lane_s = np.where(valid, local.lanes.s[base[kept]], 0.0)
    lane_d = np.where(valid, local.lanes.d[base[kept]], 0.0)
    on_lane = valid & local.lanes.on_lane[base[kept]]
    # What falls on an observation keeps its lane; poses in between are matched themselves.
    moved = valid & ~exact[kept]
    cls = np.broadcast_to(who.cls[index][:, None], valid.shape)
    found = local.matcher.match(xy[moved], psi[moved], cls[moved])
    lane[moved], lane_s[moved] = found.lane, found.s
    lane_d[moved], on_lane[moved] = found.d, found.on_lane
    return canonical(
        Tracks(
            track_id=present[kept], cls=who.cls[index], size=who.size[index], xy=xy, z=z, yaw=psi,
            velocity=v, valid=valid, lane=lane, lane_s=lane_s, lane_d=lane_d, on_lane=on_lane,
        )
    )  # fmt: skip


def signals_on_clock(local: LocalLog, times: Int[Array, " steps"]) -> Signals:
    """Signals of lanes of the map that say anything during the times [ns]."""
    lights = local.lights
    steps = len(times)
    if not len(lights.t_ns):
        return canonical(Signals.none(steps))
    same = np.diff(lights.signal) == 0
    spacing = np.diff(lights.t_ns)[same]
    sampled = len(spacing) > 0 and float(np.median(spacing)) <= SAMPLED_NS
    hold = HOLD_NS if sampled else np.iinfo(np.int64).max
    count = len(lights.source_lane_id)
    before, _ = _neighbours(lights.signal, lights.t_ns, count, times)
    row = np.maximum(before, 0)
    told = (before >= 0) & (times - lights.t_ns[row] <= hold)
    state = np.where(told, lights.state[row], int(LightState.UNKNOWN))
    kept = told.any(axis=1) & (lights.lane >= 0)
    return canonical(
        Signals(
            lane=lights.lane[kept],
            state=state[kept],
            stop_xy=lights.stop_xy[kept],
            has_stop=lights.has_stop[kept],
        )
    )


def _neighbours(group: Array, t_ns: Array, groups: int, times: Array) -> tuple[Array, Array]:
    """Of each group and time, the row at or before it and the row after it; −1 where none is.

    Rows are sorted by group, then time.
    """
    low = min(int(t_ns.min()), int(times[0]))
    span = max(int(t_ns.max()), int(times[-1])) - low + 1
    key = group * span + (t_ns - low)
    asked = np.arange(groups)[:, None] * span + (times - low)[None]
    after = np.searchsorted(key, asked, side="right")
    before = after - 1
    mine = np.arange(groups)[:, None]
    before = np.where((before >= 0) & (group[np.maximum(before, 0)] == mine), before, -1)
    last = len(key) - 1
    after = np.where((after <= last) & (group[np.minimum(after, last)] == mine), after, -1)
    return before, after


def _nobody(steps: int) -> Tracks:
    per_agent = {"track_id": (0,), "cls": (0,), "size": (0, 3)}
    pairs = {"xy": (0, steps, 2), "velocity": (0, steps, 2)}
    shapes = {**per_agent, **pairs}
    return Tracks(
        **{
            name: np.zeros(shapes.get(name, (0, steps)), dtype=kind)
            for name, kind in TRACK_DTYPES.items()
        }
    )
