"""A log in its own frame: origin chosen, states cleaned, velocities derived, lanes matched.

What long tables and dense scenes have in common is made here once, so that they cannot disagree.
Positions are float32 relative to a float64 origin; ``source = origin + value`` holds to 1 mm.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.angles import wrap
from geometry.arrays import Array
from geometry.lanes import LaneIndex
from lake.ids import stable_id
from lake.roadmap import LocalMap, localise_map, map_origin, whole_metres
from schemas.labels import AgentClass, LaneType, MapLayer
from schemas.records import EgoStates, LightStates, Log, Note, Observations, RoadMap

PRECISION_M = 1e-3  # [m] the source's coordinates come back at least this well
FAR_M = 1e5  # [m] a pose farther than this from the origin is a mistake of the source
FASTEST = 1e3  # [m/s] a told velocity above is a mistake of the source
GAP_S = 0.15  # [s] observations this close belong together at any rate
BASELINE_S = 0.05  # [s] least reach to either side of a derived velocity

LANE_OFFSET_M = 2.5
"""How far beside a centre line a vehicle or cyclist still is in the lane [m]."""

WALKER_OFFSET_M = 1.8
"""Likewise for pedestrians and animals: half a lane, so that who is matched stands on the roadway
and not on the pavement beside it [m]."""

WALKERS = frozenset({AgentClass.PEDESTRIAN, AgentClass.ANIMAL})
DRIVABLE = frozenset({LaneType.UNKNOWN, LaneType.VEHICLE, LaneType.FREEWAY, LaneType.BUS})
CYCLABLE = DRIVABLE | {LaneType.BIKE}
MATCH_CHUNK = 50_000  # poses matched at once, which bounds the memory taken


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Every road user at every time, sorted by track and time; the ego's rows come first.

    Attributes:
        track: Track id: 0 the ego, from 1 the others in the source's order.
        t_ns: Since the log began [ns].
        valid: Whether the state means anything.
        xyz: Box centre relative to the origin [m].
        has_z: Whether the height is known.
        yaw: In (−π, π] [rad].
        velocity: (vx, vy) in the log's frame [m/s].
        has_velocity: Whether it is known, from the source or derived.
        measured: Whether it is the source's own.
        size: (length, width, height) [m]; NaN where not known.
        source_row: Row of the ``EgoStates`` or ``Observations`` that this one came from.
    """

    track: Int[Array, " rows"]
    t_ns: Int[Array, " rows"]
    valid: Bool[Array, " rows"]
    xyz: Float[Array, "rows 3"]
    has_z: Bool[Array, " rows"]
    yaw: Float[Array, " rows"]
    velocity: Float[Array, "rows 2"]
    has_velocity: Bool[Array, " rows"]
    measured: Bool[Array, " rows"]
    size: Float[Array, "rows 3"]
    source_row: Int[Array, " rows"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LanePlaces:
    """Where poses stand on the lanes; where ``on_lane`` is False the rest is 0.

    Attributes:
        lane: Feature id.
        s: Distance along it [m].
        d: Offset to its left [m].
        on_lane: Whether any lane is near enough.
    """

    lane: Int[Array, " poses"]
    s: Float[Array, " poses"]
    d: Float[Array, " poses"]
    on_lane: Bool[Array, " poses"]


class LaneMatcher:
    """Matches road users to the lanes that are for them.

    Motor vehicles and things on the road are matched to all lanes but those for bicycles and
    walking; cyclists also to those for bicycles; pedestrians only within half a lane of a centre
    line, which says that they stand on the roadway.
    """

    def __init__(self, road_map: RoadMap) -> None:
        """Prepare the lanes of a map in the log's frame."""
        self._lanes = [
            f for f in road_map.features if f.layer == MapLayer.LANE and len(f.points) > 1
        ]
        self._indices: dict[frozenset[LaneType], tuple[LaneIndex, Array]] = {}

    def match(
        self,
        xy: Float[Array, "poses 2"],
        yaw: Float[Array, " poses"],
        cls: Int[Array, " poses"],
    ) -> LanePlaces:
        """The lane of each pose, by the class of who stands there (``AgentClass`` codes)."""
        count = len(xy)
        lane = np.zeros(count, dtype=np.int64)
        s, d = np.zeros(count, dtype=np.float32), np.zeros(count, dtype=np.float32)
        on_lane = np.zeros(count, dtype=bool)
        walks = np.isin(cls, [int(c) for c in WALKERS])
        cycles = cls == AgentClass.CYCLIST
        for who, kinds, reach in (
            (~walks & ~cycles, DRIVABLE, LANE_OFFSET_M),
            (cycles, CYCLABLE, LANE_OFFSET_M),
            (walks, DRIVABLE, WALKER_OFFSET_M),
        ):
            poses = np.flatnonzero(who)
            if not len(poses):
                continue
            index, ids = self._index(kinds)
            for begin in range(0, len(poses) if len(ids) else 0, MATCH_CHUNK):
                some = poses[begin : begin + MATCH_CHUNK]
                found = index.match(
                    xy[some].astype(np.float64), yaw[some].astype(np.float64), max_offset=reach
                )
                hit = some[found.matched]
                on_lane[hit] = True
                lane[hit] = ids[found.lane[found.matched]]
                s[hit] = found.s[found.matched]
                d[hit] = found.d[found.matched]
        return LanePlaces(lane=lane, s=s, d=d, on_lane=on_lane)

    def _index(self, kinds: frozenset[LaneType]) -> tuple[LaneIndex, Array]:
        """The lanes of some kinds and their ids, made when first asked for."""
        if kinds not in self._indices:
            chosen = [f for f in self._lanes if f.lane_type in kinds]
            ids = np.array([f.feature_id for f in chosen], dtype=np.int64)
            same = [pair for pair in self._indices.values() if np.array_equal(pair[1], ids)]
            self._indices[kinds] = (
                same[0] if same else (LaneIndex([f.points for f in chosen]), ids)
            )
        return self._indices[kinds]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalTracks:
    """What stays the same along a track, one row a track, ego first.

    Attributes:
        track_id: As in ``Rows``; tracks without any row are left out.
        cls: Codes of ``AgentClass``; the ego counts as a vehicle.
        source_track_id: Verbatim.
        source_cls: Verbatim.
        size: Median (length, width, height) [m]; by class where the source has none.
    """

    track_id: Int[Array, " tracks"]
    cls: Int[Array, " tracks"]
    source_track_id: Sequence[str]
    source_cls: Sequence[str]
    size: Float[Array, "tracks 3"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalLights:
    """Signal rows sorted by lane and time.

    Attributes:
        source_lane_id: Verbatim, one a signal.
        lane: Feature id of each signal's lane, −1 where the map lacks it.
        stop_xy: Relative to the origin, one a signal [m].
        has_stop: Whether that is known.
        signal: Of each row, which signal.
        source_row: Row of ``LightStates`` that each row came from.
        t_ns: Since the log began [ns].
        state: Codes of ``LightState``.
    """

    source_lane_id: Sequence[str]
    lane: Int[Array, " signals"]
    stop_xy: Float[Array, "signals 2"]
    has_stop: Bool[Array, " signals"]
    signal: Int[Array, " rows"]
    source_row: Int[Array, " rows"]
    t_ns: Int[Array, " rows"]
    state: Int[Array, " rows"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalLog:
    """A log in its own frame, ready to be cut into scenes and written into tables.

    Attributes:
        log: What the reader said.
        log_id: Stable hash of dataset and source id.
        origin: Source coordinates of the frame's origin [m].
        roads: The map in the frame.
        rows: States.
        lanes: Where each row stands.
        tracks: Who they are.
        lights: What signals showed.
        matcher: To match further poses on the same map.
        known: Of every track so far, parts before this one included, by its source id: its track
            id and class.
        gap_ns: Observations farther apart are not joined [ns].
        notes: What could not be kept; the reader's own notes are not repeated.
    """

    log: Log
    log_id: int
    origin: Float[Array, 3]
    roads: LocalMap
    rows: Rows
    lanes: LanePlaces
    tracks: LocalTracks
    lights: LocalLights
    matcher: LaneMatcher
    known: Mapping[str, tuple[int, AgentClass]]
    gap_ns: int
    notes: Sequence[Note]


TYPICAL_SIZE: dict[AgentClass, tuple[float, float, float]] = {
    AgentClass.VEHICLE: (4.6, 1.9, 1.6), AgentClass.TRUCK: (8.5, 2.5, 3.2),
    AgentClass.BUS: (12.0, 2.6, 3.2), AgentClass.MOTORCYCLE: (2.2, 0.8, 1.5),
    AgentClass.CYCLIST: (1.8, 0.7, 1.7), AgentClass.PEDESTRIAN: (0.6, 0.6, 1.75),
    AgentClass.ANIMAL: (0.8, 0.4, 0.6), AgentClass.OBSTACLE: (0.8, 0.8, 0.9),
    AgentClass.UNKNOWN: (2.0, 1.5, 1.6), AgentClass.OTHER: (2.0, 1.5, 1.6),
}  # fmt: skip
"""Taken in dense scenes where the source tells no size: medians of public data sets [m]."""


def localise(log: Log, *, before: LocalLog | None = None) -> LocalLog:
    """The log in its own frame.

    The origin is the centre of the map's bounding box in whole metres, without a map the first
    valid position. Were a coordinate then off by 1 mm or more (float32 holds that up to 16 km),
    the first position is taken instead.

    Args:
        log: What the reader said.
        before: The part before, if the log is a later part of a long recording: its frame, map
            and numbers of tracks hold on.
    """
    notes: list[Note] = []
    gap_ns = longest_gap_ns(log.rate_hz)
    known = _numbered(log, {} if before is None else before.known, notes)
    number = np.array([known[name][0] for name in log.agents.source_track_id], dtype=np.int64)
    raw = _raw_rows(log, number, notes)
    origin = _origin(log, raw) if before is None else before.origin
    rows = _local_rows(raw, origin, gap_ns, notes)
    if before is None:
        roads = localise_map(log.map, origin)
        notes += roads.notes
        matcher = _matcher_of(roads.map)
    else:
        roads, matcher = before.roads, before.matcher
    tracks = _tracks(log, known, rows, notes)
    lanes = _match_rows(matcher, rows, tracks)
    lights = _lights(log, roads.map, origin, notes)
    return LocalLog(
        log=log,
        log_id=stable_id("log", log.dataset, log.source_log_id),
        origin=origin,
        roads=roads,
        rows=rows,
        lanes=lanes,
        tracks=tracks,
        lights=lights,
        matcher=matcher,
        known=known,
        gap_ns=gap_ns,
        notes=notes,
    )


_MATCHERS: weakref.WeakKeyDictionary[RoadMap, LaneMatcher] = weakref.WeakKeyDictionary()


def _matcher_of(road_map: RoadMap) -> LaneMatcher:
    """One for all logs that share a map in its local form."""
    matcher = _MATCHERS.get(road_map)
    if matcher is None:
        _MATCHERS[road_map] = matcher = LaneMatcher(road_map)
    return matcher


def longest_gap_ns(rate_hz: float) -> int:
    """How far apart two observations of one track may be and still be joined [ns]."""
    period_ns = round(1e9 / rate_hz) if np.isfinite(rate_hz) and rate_hz > 0 else 10**8
    return max(round(1.5 * period_ns), round(GAP_S * 1e9))


def _numbered(
    log: Log, before: Mapping[str, tuple[int, AgentClass]], notes: list[Note]
) -> dict[str, tuple[int, AgentClass]]:
    """Every track's id and class by its source id; new ones are numbered on."""
    known = dict(before)
    if log.ego is not None:
        known[log.ego.source_track_id] = (0, AgentClass.VEHICLE)
    last = max((number for number, _ in known.values()), default=0)
    flips = 0
    for name, cls in zip(log.agents.source_track_id, log.agents.cls, strict=True):
        if name not in known:
            last += 1
            known[name] = (last, cls)
        flips += known[name][1] != cls
    if flips:
        reason = "tracks change their class in a later part of the recording; the first is kept"
        notes.append(Note(kind="dropped", reason=reason, count=flips))
    return known


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Raw:
    """Ego and others as one sorted block in the source's coordinates, float64."""

    track: Array
    t_ns: Array
    valid: Array
    xyz: Array
    yaw: Array
    velocity: Array
    size: Array
    source_row: Array


def _raw_rows(log: Log, number: Int[Array, " agents"], notes: list[Note]) -> _Raw:
    parts = [] if log.ego is None else [_ego_block(log.ego)]
    parts.append(_agent_block(log.agents, number))
    raw = parts[0]
    if len(parts) > 1:
        raw = _Raw(
            **{
                name: np.concatenate([getattr(part, name) for part in parts])
                for name in _Raw.__slots__
            }
        )
    later = (np.diff(raw.track) == 0) & (np.diff(raw.t_ns) > 0)
    if (later | (np.diff(raw.track) > 0)).all():
        return raw  # as most readers give them
    order = np.lexsort((raw.t_ns, raw.track))
    repeats = np.zeros(len(order), dtype=bool)
    track, t_ns = raw.track[order], raw.t_ns[order]
    repeats[1:] = (track[1:] == track[:-1]) & (t_ns[1:] == t_ns[:-1])
    if repeats.any():
        notes.append(
            Note(
                kind="dropped",
                reason="a track has several states at one time; the first is kept",
                count=int(repeats.sum()),
            )
        )
    order = order[~repeats]
    return _Raw(**{name: getattr(raw, name)[order] for name in _Raw.__slots__})


def _ego_block(ego: EgoStates) -> _Raw:
    count = len(ego.t_ns)
    return _Raw(
        track=np.zeros(count, dtype=np.int64),
        t_ns=np.asarray(ego.t_ns, dtype=np.int64),
        valid=_valid(ego.valid, count),
        xyz=np.asarray(ego.xyz, dtype=np.float64).reshape(count, 3),
        yaw=np.asarray(ego.yaw, dtype=np.float64),
        velocity=_velocity(ego.velocity, count),
        size=np.tile(np.asarray(ego.size, dtype=np.float64), (count, 1)),
        source_row=np.arange(count),
    )


def _agent_block(agents: Observations, number: Int[Array, " agents"]) -> _Raw:
    count = len(agents.t_ns)
    return _Raw(
        track=number[np.asarray(agents.track, dtype=np.int64)],
        t_ns=np.asarray(agents.t_ns, dtype=np.int64),
        valid=_valid(agents.valid, count),
        xyz=np.asarray(agents.xyz, dtype=np.float64).reshape(count, 3),
        yaw=np.asarray(agents.yaw, dtype=np.float64),
        velocity=_velocity(agents.velocity, count),
        size=np.asarray(agents.size, dtype=np.float64).reshape(count, 3),
        source_row=np.arange(count),
    )


def _valid(valid: Array | None, count: int) -> Array:
    return np.ones(count, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)


def _velocity(velocity: Array | None, count: int) -> Array:
    if velocity is None:
        return np.full((count, 2), np.nan)
    return np.asarray(velocity, dtype=np.float64).reshape(count, 2)


def _origin(log: Log, raw: _Raw) -> Array:
    usable = raw.xyz[raw.valid & np.isfinite(raw.xyz[:, :2]).all(axis=1)]
    first = np.nan_to_num(whole_metres(usable[0])) if len(usable) else None
    centre = map_origin(log.map)
    if centre is None:
        return np.zeros(3) if first is None else first
    if first is None:
        return centre
    # A few stray poses must not move the frame; only where most would suffer is it moved.
    error = np.abs(_round_trip(usable, centre) - usable)
    coarse = (error[:, :2] >= PRECISION_M).any(axis=1)
    coarse |= (np.abs(usable - centre)[:, :2] > FAR_M).any(axis=1)  # the map of another city
    return first if coarse.mean() > 0.5 else centre


def _round_trip(xyz: Array, origin: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(origin + (xyz - origin).astype(np.float32).astype(np.float64))


def _local_rows(raw: _Raw, origin: Array, gap_ns: int, notes: list[Note]) -> Rows:
    finite = np.isfinite(raw.xyz[:, :2]).all(axis=1) & np.isfinite(raw.yaw)
    has_z = np.isfinite(raw.xyz[:, 2])
    local = np.where(np.isfinite(raw.xyz), raw.xyz - origin, 0.0)
    far = (np.abs(local[:, :2]) > FAR_M).any(axis=1)
    for bad, reason in (
        (raw.valid & ~finite, "a pose is not finite; its row is marked as not valid"),
        (raw.valid & finite & far, "a pose is over 100 km away; its row is marked as not valid"),
    ):
        if bad.any():
            notes.append(Note(kind="dropped", reason=reason, count=int(bad.sum())))
    valid = raw.valid & finite & ~far
    local[~valid] = 0.0
    xyz = local.astype(np.float32)
    coarse = valid & (np.abs(xyz - local)[:, :2] >= PRECISION_M).any(axis=1)
    if coarse.any():
        notes.append(
            Note(
                kind="clipped",
                reason="positions lie so far from the map that float32 moves them by 1 mm or more",
                count=int(coarse.sum()),
            )
        )
    told = valid & np.isfinite(raw.velocity).all(axis=1)
    measured = told & (np.abs(raw.velocity) <= FASTEST).all(axis=1)
    if (told & ~measured).any():
        reason = "a velocity is told as over 1000 m/s; it is derived from the positions instead"
        notes.append(Note(kind="dropped", reason=reason, count=int((told & ~measured).sum())))
    velocity, known = raw.velocity, measured
    if (valid & ~measured).any():
        derived, known = derived_velocity(raw.track, raw.t_ns, local[:, :2], valid, gap_ns=gap_ns)
        velocity = np.where(measured[:, None], raw.velocity, derived)
    size = np.where(np.isfinite(raw.size) & (raw.size > 0.0), raw.size, np.nan)
    return Rows(
        track=raw.track,
        t_ns=raw.t_ns,
        valid=valid,
        xyz=xyz,
        has_z=valid & has_z,
        yaw=np.where(valid, wrap(np.where(valid, raw.yaw, 0.0)), 0.0).astype(np.float32),
        velocity=np.where(valid[:, None], velocity, 0.0).astype(np.float32),
        has_velocity=measured | (valid & known),
        measured=measured,
        size=size.astype(np.float32),
        source_row=raw.source_row,
    )


def derived_velocity(
    track: Int[Array, " rows"],
    t_ns: Int[Array, " rows"],
    xy: Float[Array, "rows 2"],
    valid: Bool[Array, " rows"],
    *,
    gap_ns: int,
) -> tuple[Float[Array, "rows 2"], Bool[Array, " rows"]]:
    """Velocity by central differences along each track, one-sided at the ends of what was seen.

    Fast sources are differenced over at least ``BASELINE_S`` to either side, else the
    millimetres of a pose would become decimetres a second.

    Args:
        track: Sorted; rows of a track ascend in time.
        t_ns: [ns].
        xy: Positions [m].
        valid: Whether the row was observed.
        gap_ns: Observations farther apart are not joined [ns].

    Returns:
        The velocity [m/s], 0 where not known, and whether it is known.
    """
    velocity = np.zeros((len(track), 2))
    known = np.zeros(len(track), dtype=bool)
    rows = np.flatnonzero(valid)
    if len(rows) < 2:
        return velocity, known
    # A run is a stretch of valid rows of one track without a gap.
    breaks = (np.diff(track[rows]) != 0) | (np.diff(t_ns[rows]) > gap_ns)
    run = np.concatenate([[0], np.cumsum(breaks)])
    steps = np.diff(t_ns[rows])[~breaks]
    period = float(np.median(steps)) if len(steps) else float(gap_ns)
    reach = max(1, int(np.ceil(BASELINE_S * 1e9 / max(period, 1.0) - 1e-6)))
    here = np.arange(len(rows))
    first = np.searchsorted(run, run, side="left")
    last = np.searchsorted(run, run, side="right") - 1
    before, after = np.maximum(here - reach, first), np.minimum(here + reach, last)
    elapsed = (t_ns[rows][after] - t_ns[rows][before]) / 1e9
    moved = xy[rows][after] - xy[rows][before]
    some = elapsed > 0.0
    velocity[rows[some]] = moved[some] / elapsed[some, None]
    known[rows[some]] = True
    return velocity, known


def _tracks(
    log: Log, everyone: Mapping[str, tuple[int, AgentClass]], rows: Rows, notes: list[Note]
) -> LocalTracks:
    theirs = {
        everyone[name][0]: (name, word)
        for name, word in zip(log.agents.source_track_id, log.agents.source_cls, strict=True)
    }
    if log.ego is not None:
        theirs[0] = (log.ego.source_track_id, log.ego.source_cls)
    present, first = np.unique(rows.track, return_index=True)
    named = len(log.agents.source_track_id) + (log.ego is not None)
    if named > len(present):
        notes.append(
            Note(kind="dropped", reason="tracks have no row at all", count=named - len(present))
        )
    names = [theirs[track] for track in present.tolist()]
    kinds = [everyone[name][1] for name, _ in names]
    sizes, known = _median_sizes(rows, first, kinds)
    seen = np.logical_or.reduceat(rows.valid, first) if len(first) else np.zeros(0, dtype=bool)
    plane = known[:, :2].all(axis=1)
    flat, low = int((seen & ~plane).sum()), int((seen & plane & ~known[:, 2]).sum())
    for count, what in ((flat, "length or width"), (low, "height")):
        if count:
            reason = f"tracks tell no {what}; dense scenes take a typical one of their class"
            notes.append(Note(kind="guessed", reason=reason, count=count))
    return LocalTracks(
        track_id=present.astype(np.int64),
        cls=np.array(kinds, dtype=np.int64),
        source_track_id=[name for name, _ in names],
        source_cls=[word for _, word in names],
        size=sizes,
    )


def _median_sizes(
    rows: Rows, first: Int[Array, " tracks"], kinds: Sequence[AgentClass]
) -> tuple[Float[Array, "tracks 3"], Bool[Array, "tracks 3"]]:
    """As :func:`median_size` of every track; few tracks change their size, which costs a sort.

    Args:
        rows: Of all tracks.
        first: Where the rows of each begin.
        kinds: Of each track.
    """
    typical = {kind: np.array(TYPICAL_SIZE[kind], dtype=np.float32) for kind in set(kinds)}
    made = np.array([typical[kind] for kind in kinds], dtype=np.float32).reshape(-1, 3)
    if not len(first):
        return made, np.zeros((0, 3), dtype=bool)
    size = np.where(rows.valid[:, None], rows.size, np.float32(np.nan))
    least, most = np.fmin.reduceat(size, first), np.fmax.reduceat(size, first)
    known = np.isfinite(least)
    made[known] = least[known]
    ends = np.append(first, len(size))[1:]
    for track, k in np.argwhere(known & (least < most)).tolist():
        made[track, k] = np.nanmedian(size[first[track] : ends[track], k])
    return made, known


def median_size(size: Array, kind: AgentClass) -> tuple[Array, Array]:
    """Median length, width and height, typical ones where there are none, and which are known."""
    made = np.array(TYPICAL_SIZE[kind], dtype=np.float32)
    known: Array = np.asarray(np.isfinite(size).any(axis=0))
    for k in np.flatnonzero(known):
        made[k] = np.nanmedian(size[:, k])
    return made, known


def _match_rows(matcher: LaneMatcher, rows: Rows, tracks: LocalTracks) -> LanePlaces:
    which = np.searchsorted(tracks.track_id, rows.track)
    cls = tracks.cls[which] if len(which) else np.zeros(0, dtype=np.int64)
    seen = np.flatnonzero(rows.valid)
    found = matcher.match(rows.xyz[seen, :2], rows.yaw[seen], cls[seen])
    count = len(rows.track)
    places = LanePlaces(
        lane=np.zeros(count, dtype=np.int64),
        s=np.zeros(count, dtype=np.float32),
        d=np.zeros(count, dtype=np.float32),
        on_lane=np.zeros(count, dtype=bool),
    )
    for name in LanePlaces.__slots__:
        getattr(places, name)[seen] = getattr(found, name)
    return places


def _lights(log: Log, road_map: RoadMap, origin: Array, notes: list[Note]) -> LocalLights:
    states: LightStates = log.lights
    names = sorted(set(states.source_lane_id))
    number = {name: index for index, name in enumerate(names)}
    lane_of = {f.source_id: f.feature_id for f in road_map.of_layer(MapLayer.LANE)}
    signal = np.array([number[name] for name in states.source_lane_id], dtype=np.int64)
    t_ns = np.asarray(states.t_ns, dtype=np.int64)
    order = np.lexsort((t_ns, signal))
    repeats = np.zeros(len(order), dtype=bool)
    repeats[1:] = (np.diff(signal[order]) == 0) & (np.diff(t_ns[order]) == 0)
    if repeats.any():
        notes.append(
            Note(
                kind="dropped",
                reason="a signal has several states at one time; the first is kept",
                count=int(repeats.sum()),
            )
        )
    order = order[~repeats]
    lane = np.array([lane_of.get(name, -1) for name in names], dtype=np.int64)
    homeless = int((lane < 0).sum())
    if homeless:
        notes.append(
            Note(
                kind="missing",
                reason="signals control lanes that the map lacks; dense scenes leave them out",
                count=homeless,
            )
        )
    stop_xy = np.zeros((len(names), 2), dtype=np.float32)
    has_stop = np.zeros(len(names), dtype=bool)
    stops = np.asarray(states.stop_xyz, dtype=np.float64).reshape(-1, 3)[:, :2] - origin[:2]
    told = order[::-1]
    told = told[np.isfinite(stops[told]).all(axis=1)]  # the earliest comes last, and stays
    stop_xy[signal[told]], has_stop[signal[told]] = stops[told], True
    return LocalLights(
        source_lane_id=names,
        lane=lane,
        stop_xy=stop_xy,
        has_stop=has_stop,
        signal=signal[order],
        source_row=order,
        t_ns=t_ns[order],
        state=np.asarray(states.state, dtype=np.int64)[order],
    )
