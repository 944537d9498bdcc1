"""The route of an ego: a centre line to follow, from where it starts towards its goal.

Where there is a map, the route is the chain of lanes from the lane on which the ego starts to that
of its goal, found in the lane graph. Where there is none, or the graph does not lead there, it is
the line that the ego drove in the log, smoothed: its geometry, never its speed. Either is carried
on straight behind the start and past the goal, so that a vehicle never stands at its end.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.angles import difference
from geometry.arrays import Array
from geometry.lanes import LaneIndex
from geometry.polylines import arc_length, at, without_repeats
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import MapFeature, RoadMap
from simulation import kernels
from simulation.paths import Paths, extended, project_on, respace

BEHIND_M = 15.0
PAST_GOAL_M = 120.0
LANE_CHANGE_M = 40.0  # what a lane change costs in the search, and how long it takes on the route
JOIN_M = 1.0  # ends this near to a beginning are taken to meet, where there is no lane graph
START_OFFSET_M = 4.0
LOG_OFFSET_M = 6.0  # a chain of lanes that strays farther from the drive is another route
START_TURN = np.deg2rad(60.0)
STANDING_M = 2.0
JOINED_M = 15.0  # past its end a logged line meets the lane that it ended on after this far
JOINED_TURN = np.deg2rad(30.0)

FOR_CARS = frozenset({LaneType.UNKNOWN, LaneType.VEHICLE, LaneType.FREEWAY, LaneType.BUS})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """A centre line from behind the start to past the goal, with points 1 m apart.

    Attributes:
        xy: [m].
        speed_limit: At each point [m/s].
        limit_known: Whether there is one.
        lanes: Feature ids of the lanes, in order; empty if the route was taken from the log.
        source: ``map`` or ``log``.
        start_s: Station of the ego's centre at the start [m].
        goal_s: Station of the goal [m].
        known_s: Station up to which lanes or the log lead, at least that of the goal; beyond it the line
            runs straight on, whatever is there [m].
    """

    xy: Float[Array, "points 2"]
    speed_limit: Float[Array, " points"]
    limit_known: Bool[Array, " points"]
    lanes: tuple[int, ...]
    source: Literal["map", "log"]
    start_s: float
    goal_s: float
    known_s: float


HALF_LANE_M = 2.0
"""Half the width of a lane whose boundaries are not known."""


class LaneGraph:
    """The lanes for motor vehicles of one map, and how they follow each other."""

    def __init__(self, road_map: RoadMap) -> None:
        """Index the lanes and their edges."""
        self.lanes: dict[int, MapFeature] = {
            lane.feature_id: lane
            for lane in road_map.of_layer(MapLayer.LANE)
            if lane.lane_type in FOR_CARS and len(lane.points) >= 2
        }
        self.length = {key: float(arc_length(f.points)[-1]) for key, f in self.lanes.items()}
        self.in_order = list(self.lanes.values())
        self.index = LaneIndex([lane.points for lane in self.in_order])
        self._ids = list(self.lanes)
        self._next: dict[int, list[tuple[int, float]]] = {key: [] for key in self.lanes}
        for source, kind, target in road_map.edges.tolist():
            if source not in self.lanes or target not in self.lanes:
                continue
            if kind == EdgeKind.SUCCESSOR:
                self._next[source].append((target, self.length[source]))
            elif kind == EdgeKind.PREDECESSOR:
                self._next[target].append((source, self.length[target]))
            elif kind in (EdgeKind.LEFT, EdgeKind.RIGHT):
                self._next[source].append((target, LANE_CHANGE_M))
        self._successor = {
            (int(a), int(b)) if kind == EdgeKind.SUCCESSOR else (int(b), int(a))
            for a, kind, b in road_map.edges.tolist()
            if kind in (EdgeKind.SUCCESSOR, EdgeKind.PREDECESSOR)
        }
        self.beside: dict[EdgeKind, dict[int, list[int]]] = {
            kind: _neighbours(road_map.edges, kind, self.lanes)
            for kind in (EdgeKind.LEFT, EdgeKind.RIGHT)
        }
        self._half_widths: dict[int, float] = {}
        if not self._successor:
            self._join_ends()
        self._before: dict[int, list[int]] = {}
        for before, after in sorted(self._successor):
            if before in self.lanes and after in self.lanes:
                self._before.setdefault(after, []).append(before)

    def straightest(self, lane: int, *, back: bool = False) -> int | None:
        """The lane that most nearly goes straight on from a lane, or leads straight to it."""
        if back:
            start = _start_yaw(self.lanes[lane].points)
            options = [
                (abs(float(difference(_end_yaw(self.lanes[a].points), start))), a)
                for a in self._before.get(lane, ())
            ]
        else:
            end = _end_yaw(self.lanes[lane].points)
            options = [
                (abs(float(difference(_start_yaw(self.lanes[b].points), end))), b)
                for b, _ in self._next[lane]
                if (lane, b) in self._successor
            ]
        return min(options)[1] if options else None

    def in_junction(self, lane: int) -> bool:
        """Whether a lane lies in an intersection; where the map does not say, whether ways fan out or merge.

        A lane that shares the one before it, or the one after it, with others leads across a junction.
        """
        told = self.lanes[lane].in_intersection
        if told is not None:
            return told
        after = [b for b, _ in self._next[lane] if (lane, b) in self._successor]
        shared = [b for b in after if len(self._before.get(b, ())) > 1]
        forks = [
            a
            for a in self._before.get(lane, ())
            if sum((a, b) in self._successor for b, _ in self._next[a]) > 1
        ]
        return bool(shared or forks)

    def half_width(self, place: int) -> float:
        """Half the typical distance between the boundaries of a lane, by its place in order [m]."""
        if place not in self._half_widths:
            self._half_widths[place] = _half_width(self.in_order[place])
        return self._half_widths[place]

    def _join_ends(self) -> None:
        """Let lanes follow each other that meet and point the same way: the source tells none."""
        if not self.in_order:
            return
        begins = np.stack([lane.points[0, :2] for lane in self.in_order])
        yaws = np.array([float(_start_yaw(lane.points)) for lane in self.in_order])
        for lane in self.in_order:
            apart = np.hypot(*(begins - lane.points[-1, :2]).T)
            turn = np.abs(difference(yaws, np.full(len(yaws), float(_end_yaw(lane.points)))))
            for i in np.flatnonzero((apart <= JOIN_M) & (turn <= START_TURN)).tolist():
                following = self._ids[i]
                if following != lane.feature_id:
                    cost = self.length[lane.feature_id]
                    self._next[lane.feature_id].append((following, cost))
                    self._successor.add((lane.feature_id, following))

    def match(
        self, xy: Float[Array, "poses 2"], yaw: Float[Array, " poses"]
    ) -> tuple[Int[Array, " poses"], Float[Array, " poses"]]:
        """Feature id of the lane under each pose, or −1, and the station along it [m]."""
        found = self.index.match(xy, yaw, max_offset=START_OFFSET_M, max_turn=START_TURN)
        if not self._ids:
            return np.full(len(xy), -1), found.s
        return np.where(found.matched, np.array(self._ids)[found.lane], -1), found.s

    def chain(self, start: int, goal: int) -> list[int] | None:
        """Cheapest chain of lanes from one to another (Dijkstra), None if there is none."""
        queue: list[tuple[float, int]] = [(0.0, start)]
        cost = {start: 0.0}
        came: dict[int, int] = {}
        while queue:
            so_far, lane = heapq.heappop(queue)
            if lane == goal:
                chain = [lane]
                while chain[-1] in came:
                    chain.append(came[chain[-1]])
                return chain[::-1]
            if so_far > cost[lane]:
                continue
            for following, step in self._next[lane]:
                total = so_far + step
                if total < cost.get(following, np.inf):
                    cost[following], came[following] = total, lane
                    heapq.heappush(queue, (total, following))
        return None

    def continued(self, chain: Sequence[int], *, at_least: float) -> list[int]:
        """The chain with straightest successors appended until it is so much longer [m]."""
        longer, gained = list(chain), 0.0
        while gained < at_least:
            here = _end_yaw(self.lanes[longer[-1]].points)
            ahead = [
                (abs(float(difference(_start_yaw(self.lanes[n].points), here))), n)
                for n, _ in self._next[longer[-1]]
                if (longer[-1], n) in self._successor and n not in longer
            ]
            if not ahead:
                break
            longer.append(min(ahead)[1])
            gained += self.length[longer[-1]]
        return longer

    def line(self, chain: Sequence[int]) -> tuple[Array, Array]:
        """Centre line of a chain, lane changes blended, and the lane index of each point."""
        points: list[Array] = []
        owner: list[Array] = []
        begin = 0.0
        for position, lane in enumerate(chain):
            line = np.asarray(self.lanes[lane].points[:, :2], dtype=np.float64)
            end = self.length[lane]
            changes = (
                position + 1 < len(chain) and (lane, chain[position + 1]) not in self._successor
            )
            following = 0.0
            if changes:
                # Leave this lane half-way along what is left of it, reach the next one later on.
                room = max(end - begin, 1.0)
                end = begin + max(0.5 * room - LANE_CHANGE_M / 2.0, 0.1 * room)
                landing = at(line, np.array([begin + min(0.5 * room + 20.0, 0.9 * room)]))
                target = np.asarray(self.lanes[chain[position + 1]].points[:, :2], np.float64)
                following = float(project_on(landing, target)[0][0])
            count = max(int(np.ceil(end - begin)) + 1, 2)
            points.append(at(line, np.linspace(begin, max(end, begin + 1e-3), count)))
            owner.append(np.full(count, position))
            begin = following
        return np.concatenate(points), np.concatenate(owner)


def build_route(
    driven: Float[Array, "states 2"],
    yaw: Float[Array, " states"],
    graph: LaneGraph | None,
) -> Route:
    """The route of an ego that, in the log, drove along ``driven`` from start to goal.

    Args:
        driven: Observed centres, in time order, the first being the start [m].
        yaw: Headings there [rad].
        graph: Lanes of the map; None where there is none.
    """
    if graph is None:
        return _from_log(driven, yaw, None)
    lane, _ = graph.match(driven[[0, -1]], yaw[[0, -1]])
    start, goal = int(lane[0]), int(lane[1])
    if start >= 0 and goal >= 0:
        chains = [graph.chain(start, goal), [goal], [start]]
        for chain in chains if start != goal else chains[:1]:
            found = None if chain is None else _from_lanes(driven, chain, graph)
            if found is not None and _leads_on(found, driven):
                return found
    return _from_log(driven, yaw, _onward(driven, yaw, graph))


def _from_lanes(driven: Array, chain: Sequence[int], graph: LaneGraph) -> Route | None:
    longer = graph.continued(chain, at_least=PAST_GOAL_M)
    points, owner = graph.line(longer)
    kept = np.concatenate([[True], np.linalg.norm(np.diff(points, axis=0), axis=1) > 1e-3])
    points, owner = points[kept], owner[kept]
    if len(points) < 2:
        return None
    offset = np.abs(project_on(driven, points)[1])
    if offset[0] > START_OFFSET_M or offset.max() > LOG_OFFSET_M:
        return None
    limits = [graph.lanes[i].speed_limit for i in longer]
    values = np.array([0.0 if v is None else float(v) for v in limits])
    known = np.array([v is not None and v > 0.0 for v in limits])
    here = project_on(driven[:1], points)[0][0]
    first = max(int(np.searchsorted(arc_length(points), here - BEHIND_M)) - 1, 0)
    points, owner = points[first:], owner[first:]
    line = respace(extended(points, before=BEHIND_M, after=PAST_GOAL_M))
    along = project_on(line, points)[0]
    which = owner[np.clip(np.searchsorted(arc_length(points), along), 0, len(owner) - 1)]
    return _finish(line, driven, values[which], known[which], tuple(longer), "map", points[-1])


def _leads_on(route: Route, driven: Array) -> bool:
    """Whether the drive got on along the route, most of the way that it went."""
    way = float(np.hypot(*np.diff(_spaced(driven, 2.0), axis=0).T).sum())
    return route.goal_s - route.start_s >= 0.8 * way - STANDING_M


def _onward(driven: Array, yaw: Array, graph: LaneGraph) -> Array | None:
    """The lane on from where a drive was about to join it when it ended; None if it was on none."""
    lane, _ = graph.match(driven[-1:], yaw[-1:])
    if lane[0] < 0:
        return None
    points, _ = graph.line(graph.continued([int(lane[0])], at_least=PAST_GOAL_M))
    points = without_repeats(points)
    s, _, heading = project_on(driven[-1:], points)
    stations = arc_length(points)
    if (
        abs(float(difference(yaw[-1:], heading)[0])) > JOINED_TURN
        or stations[-1] < s[0] + 2 * JOINED_M
    ):
        return None
    return points[stations >= s[0] + JOINED_M]


def _from_log(driven: Array, yaw: Array, onward: Array | None) -> Route:
    line = without_repeats(_spaced(driven, 2.0))
    if len(line) < 2 or arc_length(line)[-1] < STANDING_M:
        ahead = np.array([np.cos(yaw[0]), np.sin(yaw[0])])
        line = np.stack([driven[0], driven[0] + 10.0 * ahead])
    if onward is not None:
        line = np.concatenate([line, onward])
    line = smoothed(respace(line))
    end = line[-1]
    line = respace(extended(line, before=BEHIND_M, after=PAST_GOAL_M))
    nothing = np.zeros(len(line))
    return _finish(line, driven, nothing, nothing.astype(bool), (), "log", end)


def _finish(
    line: Array,
    driven: Array,
    limit: Array,
    known: Array,
    lanes: tuple[int, ...],
    source: Literal["map", "log"],
    end: Array,
) -> Route:
    paths = Paths.through([line])
    here = project_on(driven[:1], line)[0]
    stations = paths.along(driven[:, None], first=here)[0][:, 0]
    return Route(
        xy=line,
        speed_limit=limit,
        limit_known=known,
        lanes=lanes,
        source=source,
        start_s=float(stations[0]),
        goal_s=float(stations[-1]),
        known_s=max(float(project_on(end[None], line)[0][0]), float(stations[-1])),
    )


def _spaced(points: Array, spacing: float) -> Array:
    """Points at least so far apart, the last one kept: standing still leaves one point [m]."""
    kept = [0]
    for i in range(1, len(points)):
        if np.hypot(*(points[i] - points[kept[-1]])) >= spacing:
            kept.append(i)
    return points[kept]


def smoothed(line: Array) -> Array:
    """Mean over five points, ends kept."""
    if len(line) < 7:
        return line
    padded = np.concatenate([line[:1]] * 2 + [line] + [line[-1:]] * 2)
    mean = np.mean([padded[i : i + len(line)] for i in range(5)], axis=0)
    mean[:2], mean[-2:] = line[:2], line[-2:]
    return np.asarray(mean)


def _start_yaw(line: Array) -> Array:
    step = line[1, :2] - line[0, :2]
    return np.asarray(np.arctan2(step[1], step[0]))


def _end_yaw(line: Array) -> Array:
    step = line[-1, :2] - line[-2, :2]
    return np.asarray(np.arctan2(step[1], step[0]))


def _neighbours(
    edges: Int[Array, "edges 3"], kind: EdgeKind, lanes: Mapping[int, MapFeature]
) -> dict[int, list[int]]:
    made: dict[int, list[int]] = {}
    for lane, told, neighbour in edges.tolist():
        if told == kind and lane in lanes and neighbour in lanes:
            made.setdefault(lane, []).append(neighbour)
    return made


def _half_width(lane: MapFeature) -> float:
    if lane.left is None or lane.right is None or min(len(lane.left), len(lane.right)) < 2:
        return HALF_LANE_M
    middle, left, right = (
        np.ascontiguousarray(line[:, :2], dtype=np.float64)
        for line in (lane.points, lane.left, lane.right)
    )
    across = kernels.line_distance(middle, left) + kernels.line_distance(middle, right)
    return float(np.median(across)) / 2.0
