"""Cases made ready to drive: many scenes as padded arrays, each with its route and signals.

Arrays of the whole batch are time first, ``[steps, cases, agents, …]``, so that one step is one
contiguous block. Step ``NOW`` is where the planner takes over; the second before it is history.
Agent 0 of every case is the ego. Shorter and smaller cases are padded with ``valid == False``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.angles import difference
from geometry.arrays import Array
from geometry.polylines import arc_length, at
from schemas.case import Case
from schemas.errors import MissingData
from schemas.labels import AgentClass, EdgeKind, LightState, MapLayer
from schemas.records import MapFeature
from schemas.scene import Scene
from simulation import kernels
from simulation.behaviours import AgentMode, modes_of
from simulation.following import bend_limited
from simulation.lanes_beside import LanesBeside, lanes_beside
from simulation.paths import SPACING_M, Paths, extended, project_on, respace
from simulation.routes import LaneGraph, Route, build_route
from simulation.surface import Ground
from simulation.unchanged import changed

NOW = 10
"""Index of the step at which the planner takes over: one second of history lies before it."""

WHEELBASE_RATIO = 0.6  # of the length; nuPlan's Pacifica: 3.089 m of 5.176 m
REAR_TO_CENTRE_RATIO = 0.28  # likewise: 1.461 m from the rear axle to the box centre

AGENT_PATH_EXTENSION_M = 150.0
PARKED_M = 1.0  # an agent that moves less than this in the log stands
STOP_OFFSET_M = 3.0  # a signal's stopping point this near to a path belongs to it
STOP_TURN = np.deg2rad(45.0)
STOP_PROBE_M = 15.0
FASTEST = 60.0  # [m/s]

ON_LINES = frozenset({AgentMode.IDM, AgentMode.LOG_THEN_IDM, AgentMode.MOBIL})
"""These follow a line in what they do."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stops:
    """Signals along paths: where to stop for them and what they show.

    Attributes:
        path: Path that the stop lies on.
        s: Station of the stop [m].
        case: Case of the path.
        state: Codes of LightState at each step.
    """

    path: Int[Array, " stops"]
    s: Float[Array, " stops"]
    case: Int[Array, " stops"]
    state: Int[Array, "steps stops"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadyCase:
    """One case as arrays, agents first; see :class:`CaseBatch` for their meaning."""

    case: Case
    scene: Scene
    track_id: Int[Array, " agents"]
    cls: Int[Array, " agents"]
    size: Float[Array, "agents 2"]
    xy: Float[Array, "agents steps 2"]
    yaw: Float[Array, "agents steps"]
    velocity: Float[Array, "agents steps 2"]
    valid: Bool[Array, "agents steps"]
    mode: Int[Array, " agents"]
    graph: LaneGraph | None
    ground: Ground | None
    route: Route
    route_stops: Sequence[tuple[float, int]]
    lines: Sequence[Array | None]
    paces: Sequence[Array | None]
    line_stops: Sequence[Sequence[tuple[float, int]]]
    signals: Int[Array, "signals steps"]
    lanes: LanesBeside | None = None
    lane_stops: Sequence[Sequence[tuple[float, int]]] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LaneChanges:
    """Where changes of lane lead from the paths of a batch.

    Attributes:
        beside: At each point of the paths, the path onto which a change to the left, and to the right,
            leads; −1 where none is open.
        mapped: How far along each path the map knows a lane; ∞ for the logged lines [m].
    """

    beside: Int[Array, "sides points"]
    mapped: Float[Array, " paths"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CaseBatch:
    """Many cases, padded to the same number of agents and steps.

    Attributes:
        ready: The cases one by one.
        index: Of each case in its suite: what planners know it by.
        track_id: −1 for padding.
        cls: Codes of AgentClass.
        size: Length and width [m].
        xy: Logged centres [m].
        yaw: Logged [rad].
        velocity: Logged [m/s].
        valid: Whether logged.
        mode: Codes of :class:`AgentMode`; that of the ego means nothing.
        horizon: Steps to drive.
        wheelbase: Of the ego [m].
        rear_to_centre: From the ego's rear axle to its box centre [m].
        routes: Path ``i`` is the route of case ``i``.
        speed_limit: At each point of ``routes`` [m/s].
        limit_known: Whether there is one.
        route_stops: Signals along the routes.
        start_s: Station of the start on the route [m].
        goal_s: Station of the goal [m].
        goal: [m].
        lines: Paths of agents that follow lines, and after them the lanes onto which these may change.
        line_limit: Speed at each point of ``lines`` that bends allow, or that the log shows there [m/s].
        line_of: Path of each such agent, −1 for the others.
        line_stops: Signals along those paths.
        lane_changes: Where changes of lane lead; None where nobody may.
    """

    ready: Sequence[ReadyCase]
    index: Int[Array, " cases"]
    track_id: Int[Array, "cases agents"]
    cls: Int[Array, "cases agents"]
    size: Float[Array, "cases agents 2"]
    xy: Float[Array, "steps cases agents 2"]
    yaw: Float[Array, "steps cases agents"]
    velocity: Float[Array, "steps cases agents 2"]
    valid: Bool[Array, "steps cases agents"]
    mode: Int[Array, "cases agents"]
    horizon: Int[Array, " cases"]
    wheelbase: Float[Array, " cases"]
    rear_to_centre: Float[Array, " cases"]
    routes: Paths
    speed_limit: Float[Array, " points"]
    limit_known: Bool[Array, " points"]
    route_stops: Stops
    start_s: Float[Array, " cases"]
    goal_s: Float[Array, " cases"]
    goal: Float[Array, "cases 2"]
    lines: Paths
    line_limit: Float[Array, " points"]
    line_of: Int[Array, "cases agents"]
    line_stops: Stops
    lane_changes: LaneChanges | None

    def __len__(self) -> int:
        return len(self.ready)

    def who(self, *modes: AgentMode) -> tuple[Int[Array, " rows"], Int[Array, " rows"]]:
        """Case and place of each agent, egos left out, that moves in one of these ways."""
        wanted = np.isin(self.mode, [int(mode) for mode in modes])
        wanted[:, 0] = False
        case, agent = np.nonzero(wanted)
        return case, agent

    @property
    def agents(self) -> int:
        """Agents a case is padded to, ego included."""
        return self.track_id.shape[1]

    @property
    def steps(self) -> int:
        """History, the start, and the longest horizon."""
        return self.xy.shape[0]


def ready(
    case: Case,
    scene: Scene,
    *,
    graph: LaneGraph | None = None,
    ground: Ground | None = None,
    mode: Sequence[AgentMode] | None = None,
) -> ReadyCase:
    """A case made ready to drive.

    Args:
        case: What to drive.
        scene: Its scene.
        graph: Of the scene's map, where the caller has it already.
        ground: Likewise.
        mode: How each track of the scene moves, where it is not for all as the case says.

    Raises:
        MissingData: The scene lacks what the case needs, or is not what it was cut from.
    """
    why = changed(case, scene)
    if why is not None:
        raise MissingData(why, hint=f"scenelake suite build {case.suite} --replace")
    tracks = scene.tracks
    who = np.flatnonzero(tracks.track_id == case.ego_track_id)
    if len(who) == 0 or case.start_step >= scene.steps:
        raise MissingData(
            f"Case {case.case_id} wants track {case.ego_track_id} from step {case.start_step} on; "
            f"scene {scene.scene_id} has {len(tracks.track_id)} tracks and {scene.steps} steps.",
            hint="Build the suite again: its scenes have changed.",
        )
    ego = int(who[0])
    start = case.start_step
    end = min(start + case.horizon_steps, scene.steps - 1)
    seen = np.asarray(tracks.valid[:, start : end + 1].any(axis=1))
    others = np.flatnonzero(seen & (np.arange(len(seen)) != ego))
    order = np.concatenate([[ego], others]).astype(np.int64)

    steps = NOW + 1 + case.horizon_steps
    xy = np.zeros((len(order), steps, 2))
    yaw = np.zeros((len(order), steps))
    velocity = np.zeros((len(order), steps, 2))
    valid = np.zeros((len(order), steps), dtype=bool)
    source = slice(max(start - NOW, 0), end + 1)
    target = slice(source.start - start + NOW, source.stop - start + NOW)
    xy[:, target] = tracks.xy[order, source]
    yaw[:, target] = tracks.yaw[order, source]
    velocity[:, target] = tracks.velocity[order, source]
    valid[:, target] = tracks.valid[order, source]
    if not valid[0, NOW]:
        raise MissingData(
            f"The ego of scene {scene.scene_id} is not observed at step {start}.",
            hint="Choose another start step.",
        )
    signals = np.zeros((len(scene.signals.lane), steps), dtype=np.int64)
    signals[:, target] = scene.signals.state[:, source]

    if graph is None and scene.has_map:
        graph = LaneGraph(scene.map)
    if ground is None and scene.has_map:
        ground = Ground(scene.map)
    driven = np.flatnonzero(valid[0, NOW:]) + NOW
    route = build_route(xy[0, driven], yaw[0, driven], graph)
    modes = _modes(case, tracks.cls[order], tracks.track_id[order], order, mode)
    ways = [
        _way(xy[i], yaw[i], velocity[i], valid[i]) if m in ON_LINES else (None, None)
        for i, m in enumerate(modes)
    ]
    lines = [line for line, _ in ways]
    changing = [
        line for line, m in zip(lines, modes, strict=True)
        if m == AgentMode.MOBIL and line is not None
    ]  # fmt: skip
    lanes = lanes_beside(graph, changing) if changing and graph is not None else None
    stops = _stopping_points(scene)
    return ReadyCase(
        case=case,
        scene=scene,
        track_id=tracks.track_id[order].astype(np.int64),
        cls=tracks.cls[order].astype(np.int64),
        size=tracks.size[order, :2].astype(np.float64),
        xy=xy,
        yaw=yaw,
        velocity=velocity,
        valid=valid,
        mode=modes,
        graph=graph,
        ground=ground,
        route=route,
        route_stops=_stops_on(route.xy, stops, lanes=route.lanes),
        lines=lines,
        paces=[pace for _, pace in ways],
        line_stops=[() if line is None else _stops_on(line, stops) for line in lines],
        signals=signals,
        lanes=lanes,
        lane_stops=[] if lanes is None else [_stops_on(line, stops) for line in lanes.lines],
    )


def stack(cases: Sequence[ReadyCase], index: Sequence[int] | None = None) -> CaseBatch:
    """Cases side by side.

    Args:
        cases: Made ready.
        index: Of each case in its suite; None: their places here.
    """
    agents = max(len(c.track_id) for c in cases)
    steps = max(c.xy.shape[1] for c in cases)

    def padded(name: str, fill: float | bool, tail: tuple[int, ...] = ()) -> Array:
        first: Array = getattr(cases[0], name)
        made = np.full((steps, len(cases), agents, *tail), fill, dtype=first.dtype)
        for i, c in enumerate(cases):
            value: Array = getattr(c, name)
            made[: value.shape[1], i, : value.shape[0]] = np.moveaxis(value, 1, 0)
        return made

    def table(name: str, fill: int, tail: tuple[int, ...] = ()) -> Array:
        first: Array = getattr(cases[0], name)
        made = np.full((len(cases), agents, *tail), fill, dtype=first.dtype)
        for i, c in enumerate(cases):
            made[i, : len(c.track_id)] = getattr(c, name)
        return made

    line_of = np.full((len(cases), agents), -1, dtype=np.int64)
    lines: list[Array] = []
    paces: list[Array] = []
    on_lines: list[tuple[int, float, int, Array]] = []
    on_routes: list[tuple[int, float, int, Array]] = []
    for i, c in enumerate(cases):
        on_routes += [(i, s, i, c.signals[which]) for s, which in c.route_stops]
        for j, (line, pace) in enumerate(zip(c.lines, c.paces, strict=True)):
            if line is not None and pace is not None:
                paces.append(pace)
                line_of[i, j] = len(lines)
                on_lines += [(len(lines), s, i, c.signals[which]) for s, which in c.line_stops[j]]
                lines.append(line)
    lanes = _Lanes(cases, lines, line_of)
    on_lines += lanes.stops
    paths = Paths.through(lines)
    # Bends of a logged line may be noise: who drove it knows.
    shown = np.zeros(len(paths.xy))
    shown[: sum(map(len, paces))] = np.concatenate([np.zeros(0), *paces])
    limit = bend_limited(paths, np.full(len(paths.xy), FASTEST), shown=shown)
    length = np.array([c.size[0, 0] for c in cases])
    return CaseBatch(
        ready=cases,
        index=np.array(range(len(cases)) if index is None else index, dtype=np.int64),
        track_id=table("track_id", -1),
        cls=table("cls", int(AgentClass.UNKNOWN)),
        size=table("size", 1, (2,)),
        xy=padded("xy", 0.0, (2,)),
        yaw=padded("yaw", 0.0),
        velocity=padded("velocity", 0.0, (2,)),
        valid=padded("valid", False),
        mode=table("mode", int(AgentMode.LOG)),
        horizon=np.array([c.case.horizon_steps for c in cases], dtype=np.int64),
        wheelbase=WHEELBASE_RATIO * length,
        rear_to_centre=REAR_TO_CENTRE_RATIO * length,
        routes=Paths.through([c.route.xy for c in cases]),
        speed_limit=np.concatenate([c.route.speed_limit for c in cases]),
        limit_known=np.concatenate([c.route.limit_known for c in cases]),
        route_stops=_stack_stops(on_routes, steps),
        start_s=np.array([c.route.start_s for c in cases]),
        goal_s=np.array([c.route.goal_s for c in cases]),
        goal=np.array([c.case.goal for c in cases]),
        lines=paths,
        line_limit=limit,
        line_of=line_of,
        line_stops=_stack_stops(on_lines, steps),
        lane_changes=lanes.changes(paths),
    )


class _Lanes:
    """The lanes onto which agents may change, appended to the lines of a batch."""

    def __init__(self, cases: Sequence[ReadyCase], lines: list[Array], line_of: Array) -> None:
        self.logged = len(lines)
        self.stops: list[tuple[int, float, int, Array]] = []
        self.beside: dict[int, Array] = {}
        self.mapped: list[float] = []
        for i, c in enumerate(cases):
            if c.lanes is None:
                continue
            begin = len(lines)
            lines += c.lanes.lines
            self.mapped += c.lanes.mapped
            ways = line_of[i, : len(c.mode)][c.mode == AgentMode.MOBIL].tolist()
            ways += range(begin, len(lines))
            for way, beside in zip(ways, c.lanes.beside, strict=True):
                self.beside[way] = np.where(beside >= 0, beside + begin, -1)
            for k, stops in enumerate(c.lane_stops):
                self.stops += [(begin + k, s, i, c.signals[which]) for s, which in stops]

    def changes(self, paths: Paths) -> LaneChanges | None:
        """Where the changes lead; None where there are no lanes to change to."""
        if not self.mapped:
            return None
        beside = np.full((2, len(paths.xy)), -1, dtype=np.int64)
        for way, targets in self.beside.items():
            beside[:, paths.first[way] : paths.first[way] + paths.count[way]] = targets
        mapped = np.concatenate([np.full(self.logged, np.inf), self.mapped])
        return LaneChanges(beside=beside, mapped=mapped)


def _modes(
    case: Case, cls: Array, track_id: Array, order: Array, mode: Sequence[AgentMode] | None
) -> Int[Array, " agents"]:
    if mode is not None:
        return np.array([int(mode[i]) for i in order], dtype=np.int64)
    modes = modes_of(
        case.agents, cls=cls, track_id=track_id, case_id=case.drawn_as, seed=case.seed
    )  # fmt: skip
    modes[0] = int(AgentMode.LOG)
    return modes


def _way(xy: Array, yaw: Array, velocity: Array, valid: Array) -> tuple[Array, Array]:
    """The way of an agent of the traffic: where it was, then straight on; and how fast it was there [m/s]."""
    seen = np.flatnonzero(valid[NOW:]) + NOW
    kept = kernels.thinned(np.ascontiguousarray(xy), seen, PARKED_M)
    points = xy[kept]
    fastest = np.maximum.reduceat(
        np.hypot(velocity[seen, 0].copy(), velocity[seen, 1].copy()), np.searchsorted(seen, kept)
    )
    stations = arc_length(points) if len(points) > 1 else np.zeros(1)
    if len(points) < 2:
        ahead = np.array([np.cos(yaw[seen[0]]), np.sin(yaw[seen[0]])])
        points = np.stack([points[0], points[0] + PARKED_M * ahead])
    line = respace(extended(points, after=AGENT_PATH_EXTENSION_M))
    place = np.searchsorted(stations, np.arange(len(line)) * SPACING_M, side="right") - 1
    beyond = np.arange(len(line)) * SPACING_M > stations[-1] + SPACING_M
    return line, np.where(beyond, 0.0, fastest[place])


@dataclass(frozen=True, slots=True, eq=False)
class _StopPoint:
    """Where one signal of a scene wants vehicles to stop, and which way its lane leads."""

    signal: int
    lane: int
    xy: Array
    farther: Array
    yaw: float


def _stopping_points(scene: Scene) -> list[_StopPoint]:
    """Every signal whose place and lane are known."""
    found = []
    features = scene.map.features
    for i, lane in enumerate(scene.signals.lane.tolist()):
        if not 0 <= lane < len(features) or len(features[lane].points) < 2:
            continue
        line = np.asarray(features[lane].points[:, :2], dtype=np.float64)
        painted = _stop_lines_of(scene, int(lane))
        place = line[0]
        if scene.signals.has_stop[i]:
            place = np.asarray(scene.signals.stop_xy[i], dtype=np.float64)
        elif painted:
            place = np.asarray(painted[0].points[:, :2], dtype=np.float64).mean(axis=0)
        s, _, yaw = project_on(place[None], line)
        farther = at(line, s + STOP_PROBE_M)[0]
        found.append(_StopPoint(i, int(lane), place, farther, float(yaw[0])))
    return found


def _stop_lines_of(scene: Scene, lane: int) -> list[MapFeature]:
    """Painted stop lines of a lane; the edge leads from the line to the lane."""
    edges = scene.map.edges
    mine = (edges[:, 1] == EdgeKind.STOP_LINE_OF_LANE) & (edges[:, 2] == lane)
    features = [scene.map.features[i] for i in edges[mine, 0].tolist()]
    return [feature for feature in features if feature.layer == MapLayer.STOP_LINE]


def _stops_on(
    line: Array, stops: Sequence[_StopPoint], lanes: Sequence[int] = ()
) -> list[tuple[float, int]]:
    """(station, signal) of the signals that control a line, in order along it.

    A signal controls the line if the line takes its lane. Where the lanes of the line are not
    known, the stop must lie on it and the line must go where the signal's lane goes: lanes that
    fan out from one stop are told apart by a point farther on.
    """
    low, high = line.min(axis=0) - STOP_OFFSET_M, line.max(axis=0) + STOP_OFFSET_M
    chosen = [
        stop
        for stop in stops
        if (not lanes or stop.lane in lanes) and ((low <= stop.xy) & (stop.xy <= high)).all()
    ]
    if not chosen:
        return []
    s, d, yaw = project_on(np.stack([stop.xy for stop in chosen]), line)
    off = np.abs(project_on(np.stack([stop.farther for stop in chosen]), line)[1])
    turn = np.abs(difference(yaw, np.array([stop.yaw for stop in chosen])))
    on = (np.abs(d) <= STOP_OFFSET_M) & (turn <= STOP_TURN) & (off <= STOP_OFFSET_M)
    on &= (s > 0.0) & (s < arc_length(line)[-1])
    return sorted((float(s[i]), chosen[i].signal) for i in np.flatnonzero(on))


def _stack_stops(rows: Sequence[tuple[int, float, int, Array]], steps: int) -> Stops:
    state = np.full((steps, len(rows)), int(LightState.UNKNOWN), dtype=np.int64)
    for i, (_, _, _, shown) in enumerate(rows):
        state[: len(shown), i] = shown
    return Stops(
        path=np.array([row[0] for row in rows], dtype=np.int64),
        s=np.array([row[1] for row in rows], dtype=np.float64),
        case=np.array([row[2] for row in rows], dtype=np.int64),
        state=state,
    )
