"""What kind of place a scene drives through, read off the map round its main path.

The main path is the ego's; without an ego, that of the motor vehicle which travels farthest. The
first kind of :class:`~schemas.labels.RoadType` that fits is taken; without lanes it is unknown.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from geometry.angles import difference
from geometry.arrays import Array
from geometry.bundles import Bundle
from geometry.polylines import arc_length, headings, project, without_repeats
from schemas.labels import VEHICLES, EdgeKind, LaneType, MapLayer, RoadType
from schemas.records import MapFeature, RoadMap
from schemas.scene import Signals, Tracks

REACH_M = 15.0  # [m] lanes this near to the path are round it
SIGNAL_REACH_M = 30.0  # [m] a signal of a lane this near to the path is the crossing's
RING_LENGTH_M = 250.0  # [m] a longer loop of lanes is a block of streets
RING_ROUNDNESS = 0.85  # 4πA/P²: 1 of a circle, 0.785 of a square block
CROSSING_ANGLE = 0.5  # [rad] lanes that conflict at less merge, they do not cross
HIGHWAY_SPEED = 17.0  # [m/s] limit or speed from which a road is a highway
CURVE_TURN = 0.3  # [rad] what the path must turn to be a curve


def road_type(tracks: Tracks, road_map: RoadMap, signals: Signals, *, has_ego: bool) -> RoadType:
    """The kind of place, from what the main path passes."""
    lanes, graph = _lanes_of(road_map)
    main = _main_agent(tracks, has_ego=has_ego)
    if not lanes or main is None:
        return RoadType.UNKNOWN
    seen = tracks.valid[main]
    path = tracks.xy[main][seen].astype(np.float64)
    on_lane = tracks.on_lane[main] & seen
    visited = [int(lane) for lane in dict.fromkeys(tracks.lane[main][on_lane]) if lane in lanes]
    near = _lanes_near(lanes, path, REACH_M) | set(visited)
    if not near:
        return RoadType.UNKNOWN
    if any(graph.ring(lane) for lane in visited):
        return RoadType.ROUNDABOUT
    if _signal_ahead(graph, lanes, signals, visited, path):
        return RoadType.SIGNALLED_INTERSECTION
    junction = {lane for lane in visited if lanes[lane].in_intersection or graph.crosses(lane)}
    if junction:
        signalled = {int(lane) for lane in signals.lane if int(lane) in lanes}
        around = junction | {other for lane in junction for other in graph.conflicts(lane)}
        around |= {before for lane in around for before in graph.before(lane)}
        if signalled & around or signalled & _lanes_near(lanes, path, SIGNAL_REACH_M):
            return RoadType.SIGNALLED_INTERSECTION
        return RoadType.INTERSECTION
    beside = set(visited) | {other for lane in visited for other in graph.beside(lane)}
    if any(graph.merges(lane) for lane in beside):
        return RoadType.MERGE
    speed = tracks.speed[main][seen]
    fast = float(np.median(speed)) >= HIGHWAY_SPEED
    if fast or any(_is_highway(lanes[lane]) for lane in visited):
        return RoadType.HIGHWAY
    if _turn(tracks.yaw[main][seen], speed) >= CURVE_TURN:
        return RoadType.CURVE
    if any(_bend_near(lanes[lane], path) >= CURVE_TURN for lane in visited):
        return RoadType.CURVE
    return RoadType.STRAIGHT


@lru_cache(maxsize=1)
def _lanes_of(road_map: RoadMap) -> tuple[dict[int, MapFeature], _Graph]:
    """The lanes of a map and their graph, which all scenes of a log share."""
    every = [f for f in road_map.features if f.layer == MapLayer.LANE and len(f.points)]
    sizes = Bundle.of([f.points for f in every]).without_repeats().sizes
    lanes = {f.feature_id: f for f, size in zip(every, sizes.tolist(), strict=True) if size > 1}
    return lanes, _Graph(road_map, lanes)


def _main_agent(tracks: Tracks, *, has_ego: bool) -> int | None:
    if has_ego:
        return 0
    motors = np.flatnonzero(np.isin(tracks.cls, [int(c) for c in VEHICLES]))
    if not len(motors):
        return None
    both = tracks.valid[motors][:, 1:] & tracks.valid[motors][:, :-1]
    steps = np.linalg.norm(np.diff(tracks.xy[motors], axis=1), axis=-1)
    return int(motors[np.where(both, steps, 0.0).sum(axis=1).argmax()])


def _signal_ahead(
    graph: _Graph,
    lanes: Mapping[int, MapFeature],
    signals: Signals,
    visited: Iterable[int],
    path: Array,
) -> bool:
    """Whether the path comes near a signal of its own way, though it may wait there and not cross."""
    way = set(visited) | {after for lane in visited for after in graph.after(lane)}
    for row, lane in enumerate(signals.lane):
        if int(lane) in way:
            stop = (
                signals.stop_xy[row] if signals.has_stop[row] else lanes[int(lane)].points[0, :2]
            )
            if np.linalg.norm(path - stop, axis=1).min() <= SIGNAL_REACH_M:
                return True
    return False


def _lanes_near(lanes: Mapping[int, MapFeature], path: Array, reach: float) -> set[int]:
    from scipy.spatial import cKDTree

    tree = cKDTree(path)
    ids = np.concatenate([np.full(len(f.points), i) for i, f in lanes.items()])
    points = np.concatenate([f.points[:, :2] for f in lanes.values()])
    distance, _ = tree.query(points, distance_upper_bound=reach)
    return {int(i) for i in np.unique(ids[np.isfinite(distance)])}


def _is_highway(lane: MapFeature) -> bool:
    limit = lane.speed_limit
    return lane.lane_type == LaneType.FREEWAY or (limit is not None and limit >= HIGHWAY_SPEED)


def _turn(yaw: Float[Array, " steps"], speed: Float[Array, " steps"]) -> float:
    """Greatest change of heading while moving [rad]."""
    moving = np.unwrap(yaw[speed > 1.0].astype(np.float64))
    return float(np.ptp(moving)) if len(moving) else 0.0


def _bend_near(lane: MapFeature, path: Array) -> float:
    """How much a lane bends between where the path enters and leaves it, ± ``REACH_M`` [rad]."""
    line = without_repeats(lane.points).astype(np.float64)
    s, _, _ = project(path[:: max(1, len(path) // 20)], line)
    along = arc_length(line)
    part = (along >= s.min() - REACH_M) & (along <= s.max() + REACH_M)
    yaw = np.unwrap(headings(line))[part]
    return float(np.ptp(yaw)) if len(yaw) else 0.0


_BACK: dict[EdgeKind, EdgeKind | None] = {
    EdgeKind.SUCCESSOR: EdgeKind.PREDECESSOR, EdgeKind.PREDECESSOR: EdgeKind.SUCCESSOR,
    EdgeKind.LEFT: None, EdgeKind.RIGHT: None, EdgeKind.CONFLICT: None,
}  # fmt: skip
"""Edges that are looked at, and what each is from its other end."""


class _Graph:
    """Successions, neighbours and conflicts of the lanes of one map."""

    def __init__(self, road_map: RoadMap, lanes: Mapping[int, MapFeature]) -> None:
        self._lanes = lanes
        self._to: dict[EdgeKind, dict[int, set[int]]] = {kind: {} for kind in EdgeKind}
        edges = np.asarray(road_map.edges, dtype=np.int64).reshape(-1, 3)
        known = np.isin(edges[:, [0, 2]], np.fromiter(lanes, dtype=np.int64)).all(axis=1)
        for kind, back in _BACK.items():
            rows = edges[known & (edges[:, 1] == kind)]
            for a, _, b in rows.tolist():
                self._to[kind].setdefault(a, set()).add(b)
            if back is not None:
                for a, _, b in rows.tolist():
                    self._to[back].setdefault(b, set()).add(a)

    def after(self, lane: int) -> Iterable[int]:
        return self._to[EdgeKind.SUCCESSOR].get(lane, ())

    def before(self, lane: int) -> Iterable[int]:
        return self._to[EdgeKind.PREDECESSOR].get(lane, ())

    def beside(self, lane: int) -> set[int]:
        return self._to[EdgeKind.LEFT].get(lane, set()) | self._to[EdgeKind.RIGHT].get(lane, set())

    def conflicts(self, lane: int) -> set[int]:
        return self._to[EdgeKind.CONFLICT].get(lane, set())

    def merges(self, lane: int) -> bool:
        """Whether the lane shares a successor with another, or receives two.

        Lanes that come out of a crossing do not count: where they meet, the crossing ends.
        """
        return any(
            sum(not self._inside(before) for before in set(self.before(meeting))) > 1
            for meeting in (lane, *self.after(lane))
        )

    def _inside(self, lane: int) -> bool:
        return bool(self._lanes[lane].in_intersection) or self.crosses(lane)

    def crosses(self, lane: int) -> bool:
        """Whether any conflicting lane runs across this one, not into the same end."""
        mine = self._lanes[lane]
        return any(_run_across(mine, self._lanes[other]) for other in self.conflicts(lane))

    def ring(self, lane: int) -> bool:
        """Whether the shortest way from the lane back to itself is a round loop."""
        length = {i: _length(self._lanes[i]) for i in (lane,)}
        queue = [(length[lane], after, lane) for after in self.after(lane)]
        heapq.heapify(queue)
        came: dict[int, int] = {}
        while queue:
            so_far, here, previous = heapq.heappop(queue)
            if so_far > RING_LENGTH_M:
                return False
            if here in came:
                continue
            came[here] = previous
            if here == lane:
                return _is_round(self._loop(lane, came))
            ahead = so_far + _length(self._lanes[here])
            for after in self.after(here):
                heapq.heappush(queue, (ahead, after, here))
        return False

    def _loop(self, lane: int, came: Mapping[int, int]) -> Array:
        """Points of the lanes of the loop, in driving order."""
        order, here = [lane], came[lane]
        while here != lane:
            order.append(here)
            here = came[here]
        return np.concatenate([self._lanes[i].points[:, :2] for i in reversed(order)])


def _length(lane: MapFeature) -> float:
    return float(arc_length(lane.points)[-1])


def _is_round(loop: Array) -> bool:
    x, y = loop[:, 0].astype(np.float64), loop[:, 1].astype(np.float64)
    area = abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2.0
    steps = np.diff(np.vstack([loop, loop[:1]]), axis=0)
    perimeter = float(np.linalg.norm(steps, axis=1).sum())
    return 4.0 * np.pi * area >= RING_ROUNDNESS * perimeter**2


def _run_across(a: MapFeature, b: MapFeature) -> bool:
    """Whether two conflicting lanes differ in heading where they are nearest to each other."""
    first, second = without_repeats(a.points), without_repeats(b.points)
    gaps = np.linalg.norm(first[:, None, :2] - second[None, :, :2], axis=-1)
    i, j = np.unravel_index(int(gaps.argmin()), gaps.shape)
    yaw = headings(first)[i : i + 1], headings(second)[j : j + 1]
    turn = abs(float(difference(*yaw)[0]))
    return CROSSING_ANGLE < turn < np.pi - CROSSING_ANGLE
