"""What the generator sees of a scene, and what it is to produce: arrays of fixed size.

Everything is told in the frame of one agent (the ego, where there is one) at the step where the
future begins. The future is told as actions, so that whatever is generated can be driven: the
actions are fitted to the track so that the unicycle, rolled out, passes through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.angles import wrap
from geometry.arrays import Array
from geometry.frames import SE2
from geometry.kinematics import derivative, smooth, unicycle_rollout, unwrap_valid
from geometry.polylines import arc_length, at, headings, without_repeats
from schemas.errors import MissingData
from schemas.labels import AgentClass, LaneType, LightState, MapLayer
from schemas.records import RoadMap
from schemas.scene import DT, Scene, Tracks

AGENTS = 8
HISTORY = 11
"""Dense steps that end with the start step: one second and now."""
FUTURE = 20
STRIDE = 4
"""Dense steps per generated step."""
STEP = STRIDE * DT  # [s]
HORIZON = FUTURE * STRIDE  # dense steps: 8 s

ACTION_SCALE = np.array([3.0, 0.2], dtype=np.float32)
"""What one unit of an action is: acceleration [m/s²], yaw rate [rad/s]."""

LINES = 40
POINTS = 20
PIECE_M = 40.0  # [m] longer lines are cut, so that points lie about 2 m apart
REACH_M = 90.0  # [m] farther lines are not seen

FIT_TOLERANCE_M = 0.3  # [m] tracks that the unicycle cannot follow are masked (reversing, jumps)

LINE_KINDS = ("vehicle lane", "bike lane", "other lane", "crosswalk", "road edge")
SIGNAL_NONE = len(LightState)
"""Signal code of a lane that no signal controls."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context:
    """What is given: the past, the road, the signals, and optionally where agents are headed.

    Attributes:
        history: x, y, yaw, speed at 10 Hz up to now [m, m, rad, m/s].
        seen: Whether the agent was observed then.
        start: x, y, yaw, speed now [m, m, rad, m/s].
        present: Whether the slot holds an agent.
        kind: Codes of :class:`~schemas.labels.AgentClass`.
        size: Length and width [m].
        goal: Where the agent is headed [m].
        has_goal: Whether that is known.
        line: x, y and unit direction of map polylines [m].
        line_kind: Index into :data:`LINE_KINDS`.
        line_signal: Code of :class:`~schemas.labels.LightState`, or :data:`SIGNAL_NONE`.
        line_there: Whether the slot holds a polyline.
    """

    history: Float[Array, "agents history 4"]
    seen: Bool[Array, "agents history"]
    start: Float[Array, "agents 4"]
    present: Bool[Array, " agents"]
    kind: Int[Array, " agents"]
    size: Float[Array, "agents 2"]
    goal: Float[Array, "agents 2"]
    has_goal: Bool[Array, " agents"]
    line: Float[Array, "lines points 4"]
    line_kind: Int[Array, " lines"]
    line_signal: Int[Array, " lines"]
    line_there: Bool[Array, " lines"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Future:
    """What happened, at 2.5 Hz.

    Attributes:
        actions: Acceleration and yaw rate in units of :data:`ACTION_SCALE`.
        states: x, y, yaw, speed at the end of each step [m, m, rad, m/s].
        observed: Whether the log tells (and a unicycle can follow) the step.
    """

    actions: Float[Array, "agents future 2"]
    states: Float[Array, "agents future 4"]
    observed: Bool[Array, "agents future"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """One start step of one scene.

    Attributes:
        context: What is given.
        future: What happened.
        agents: Row of the scene's tracks in each slot; −1 for an empty slot.
        scene_from_local: From the frame of the arrays to the scene's.
    """

    context: Context
    future: Future
    agents: Int[Array, " agents"]
    scene_from_local: SE2


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """A map as short polylines, in the scene's frame; build once, ask often.

    Attributes:
        line: x, y and unit direction [m].
        kind: Index into :data:`LINE_KINDS`.
        feature: Feature id that the piece belongs to.
    """

    line: Float[Array, "pieces points 4"]
    kind: Int[Array, " pieces"]
    feature: Int[Array, " pieces"]

    @classmethod
    def of(cls, road_map: RoadMap) -> Pieces:
        """Lanes, crosswalks and road edges, cut at :data:`PIECE_M`."""
        lines: list[Array] = []
        kinds: list[int] = []
        ids: list[int] = []
        for feature in road_map.features:
            kind = _line_kind(feature.layer, feature.lane_type)
            points = without_repeats(np.asarray(feature.points, dtype=np.float64)[:, :2])
            if kind is None or len(points) < 2:
                continue
            if feature.layer == MapLayer.CROSSWALK:
                points = np.concatenate([points, points[:1]])
            length = arc_length(points)[-1]
            count = max(1, int(np.ceil(length / PIECE_M)))
            for begin in np.arange(count) * (length / count):
                xy = at(points, begin + np.linspace(0.0, length / count, POINTS))
                yaw = headings(xy)
                lines.append(np.stack([xy[:, 0], xy[:, 1], np.cos(yaw), np.sin(yaw)], axis=-1))
                kinds.append(kind)
                ids.append(feature.feature_id)
        if not lines:
            zero = np.zeros(0, dtype=np.int64)
            return cls(np.zeros((0, POINTS, 4)), zero, zero)
        return cls(np.stack(lines), np.array(kinds), np.array(ids))


def example_of(
    scene: Scene,
    start: int,
    *,
    centre: int = 0,
    must: Sequence[int] = (),
    pieces: Pieces | None = None,
) -> Example:
    """The example that begins at one step of a scene.

    Args:
        scene: Of which the history and the future are taken.
        start: Step that counts as now.
        centre: Row of the agent whose frame it is, first of the slots (0 is the ego).
        must: Rows that get a slot whatever their distance.
        pieces: Of the scene's map, if at hand.

    Raises:
        MissingData: The centre agent is not observed at the start step.
    """
    tracks = scene.tracks
    if not (0 <= start < scene.steps and centre < len(tracks.cls) and tracks.valid[centre, start]):
        raise MissingData(
            f"Scene {scene.name}: agent {centre} is not observed at step {start}, so nothing can "
            "be generated round it.",
            hint="Choose another start step, or a scene with an ego.",
        )
    pieces = pieces or Pieces.of(scene.map)
    given = _given(scene, start, centre=centre, must=must, pieces=pieces)
    rows = given.agents[given.agents >= 0]
    future = _future(given.states, tracks.valid[rows], start)
    goal, has_goal = _goals(future)
    return Example(
        context=replace(given.context, goal=goal, has_goal=has_goal), future=future,
        agents=given.agents, scene_from_local=given.scene_from_local,
    )  # fmt: skip


def present_of(
    scene: Scene, start: int, *, centre: int, pieces: Pieces
) -> tuple[Context, Int[Array, " agents"], SE2]:
    """What is given at one step, when what happens then is not known: nobody has a goal.

    Args:
        scene: Of which the steps up to the start are looked at.
        start: Step that counts as now.
        centre: As for :func:`example_of`; it has to be observed.
        pieces: Of the scene's map.

    Returns:
        The context, ``Example.agents`` and ``Example.scene_from_local``.
    """
    given = _given(scene, start, centre=centre, must=(), pieces=pieces)
    return given.context, given.agents, given.scene_from_local


@dataclass(frozen=True, slots=True, eq=False)
class _Given:
    """A context without goals, and what it was made of: states of its agents at all steps."""

    context: Context
    agents: Int[Array, " agents"]
    scene_from_local: SE2
    states: Float[Array, "filled steps 4"]


def _given(
    scene: Scene, start: int, *, centre: int, must: Sequence[int], pieces: Pieces
) -> _Given:
    tracks = scene.tracks
    agents = _choose(tracks, start, centre, must)
    rows = agents[agents >= 0]
    filled = len(rows)
    x, y = (float(v) for v in tracks.xy[centre, start])
    scene_from_local = SE2(x, y, float(tracks.yaw[centre, start]))
    local_from_scene = scene_from_local.inverse()
    states = _smooth_states(tracks, rows)
    states[..., :2] = local_from_scene.apply(states[..., :2])
    states[..., 2] = local_from_scene.turn(states[..., 2])

    history = np.zeros((AGENTS, HISTORY, 4), dtype=np.float32)
    seen = np.zeros((AGENTS, HISTORY), dtype=bool)
    first = max(0, start - HISTORY + 1)
    span = start - first + 1
    seen[:filled, -span:] = tracks.valid[rows, first : start + 1]
    history[:filled, -span:] = states[:, first : start + 1]
    history[~seen] = 0.0
    now = np.zeros((AGENTS, 4), dtype=np.float32)
    now[:filled] = states[:, start]
    line, kind, signal, there = _lines(scene, start, pieces, local_from_scene)
    context = Context(
        history=history, seen=seen, start=now, present=agents >= 0,
        kind=_padded(tracks.cls[rows], AgentClass.UNKNOWN).astype(np.int64),
        size=_padded(tracks.size[rows, :2], 1.0).astype(np.float32),
        goal=np.zeros((AGENTS, 2), dtype=np.float32), has_goal=np.zeros(AGENTS, dtype=bool),
        line=line, line_kind=kind, line_signal=signal, line_there=there,
    )  # fmt: skip
    return _Given(context, agents, scene_from_local, states)


def starts_of(scene: Scene, *, every: int = 20, least: int = 20) -> list[int]:
    """Steps at which examples of a scene may begin: some past, ``least`` steps of future."""
    return list(
        range(min(HISTORY - 1, max(scene.steps - least - 1, 0)), scene.steps - least, every)
    )


def fit_actions(
    states: Float[Array, "agents steps 4"],
    observed: Bool[Array, "agents steps"],
    start: Float[Array, "agents 4"],
    *,
    dt: float = STEP,
    rounds: int = 5,
) -> Float[Array, "agents steps 2"]:
    """Accelerations and yaw rates whose roll-out passes through the states (Gauss–Newton).

    The exact inverse of the mid-point unicycle oscillates (v₊ = 2·v̄ − v), so the actions are the
    least-squares fit to positions, headings and speeds with a penalty on their jumps.

    Args:
        states: x, y, yaw, speed after each step [m, m, rad, m/s].
        observed: Whether they are known.
        start: State before the first step.
        dt: Between steps [s].
        rounds: Of Gauss–Newton.

    Returns:
        Acceleration [m/s²] and yaw rate [rad/s].
    """
    count, steps = observed.shape
    yaw = unwrap_valid(
        np.concatenate([start[:, None, 2], states[..., 2]], axis=1).astype(np.float64),
        np.concatenate([np.ones((count, 1), bool), observed], axis=1),
    )
    speed = _held(np.concatenate([start[:, None, 3], states[..., 3]], axis=1), observed)
    actions = np.stack([np.diff(speed, axis=1), np.diff(yaw, axis=1)], axis=-1) / dt
    through = np.tril(np.ones((steps, steps))) * dt  # an action's effect on all later steps
    middle = through - np.eye(steps) * dt / 2.0
    jump = np.eye(steps) - np.eye(steps, k=-1)
    jump[0] = 0.0
    zero = np.zeros_like(through)
    penalty = np.concatenate(
        [np.concatenate([0.3 * jump, zero], 1), np.concatenate([zero, 3.0 * jump], 1)]
    )
    weight = np.concatenate(
        [observed * 10.0, observed * 10.0, observed * 8.0, observed * 1.0], axis=1
    ).astype(np.float64)
    begin = start.astype(np.float64)
    for _ in range(rounds):
        rolled = unicycle_rollout(begin, actions[..., 0], actions[..., 1], dt=dt)
        before = np.concatenate([begin[:, None, 3], rolled[:, :-1, 3]], axis=1)
        v = (before + rolled[..., 3]) / 2.0
        heading = begin[:, 2:3] + np.cumsum(actions[..., 1], axis=1) * dt
        psi = heading - actions[..., 1] * dt / 2.0
        x_a = np.einsum("ij,nj,jk->nik", through, np.cos(psi), middle)
        y_a = np.einsum("ij,nj,jk->nik", through, np.sin(psi), middle)
        x_w = np.einsum("ij,nj,jk->nik", through, -v * np.sin(psi), middle)
        y_w = np.einsum("ij,nj,jk->nik", through, v * np.cos(psi), middle)
        flat = np.broadcast_to(zero, x_a.shape)
        rows = np.broadcast_to(through, x_a.shape)
        jacobian = np.concatenate(
            [
                np.concatenate([x_a, x_w], 2), np.concatenate([y_a, y_w], 2),
                np.concatenate([flat, rows], 2), np.concatenate([rows, flat], 2),
            ],
            axis=1,
        ) * weight[..., None]  # fmt: skip
        residual = np.concatenate(
            [
                states[..., 0] - rolled[..., 0], states[..., 1] - rolled[..., 1],
                yaw[:, 1:] - heading, speed[:, 1:] - rolled[..., 3],
            ],
            axis=1,
        ) * weight  # fmt: skip
        stacked = np.concatenate([actions[..., 0], actions[..., 1]], axis=1)
        normal = np.einsum("nij,nik->njk", jacobian, jacobian) + penalty.T @ penalty
        normal += 1e-3 * np.eye(2 * steps)
        slope = np.einsum("nij,ni->nj", jacobian, residual) - stacked @ (penalty.T @ penalty)
        change = np.linalg.solve(normal, slope[..., None])[..., 0]
        stacked = stacked + np.clip(change, -4.0, 4.0)
        actions = np.stack([stacked[:, :steps], stacked[:, steps:]], axis=-1)
    return actions


def stack(contexts: Sequence[Context]) -> dict[str, Array]:
    """Contexts as one array a field, batch first."""
    return {
        field.name: np.stack([getattr(context, field.name) for context in contexts])
        for field in fields(Context)
    }


def _future(states: Array, valid: Array, start: int) -> Future:
    filled, steps = valid.shape
    knots = start + STRIDE * np.arange(1, FUTURE + 1)
    inside = knots < steps
    target = np.zeros((filled, FUTURE, 4))
    observed = np.zeros((filled, FUTURE), dtype=bool)
    target[:, inside] = states[:, knots[inside]]
    observed[:, inside] = valid[:, knots[inside]]
    begin = states[:, start]
    actions = fit_actions(target, observed, begin)
    rolled = unicycle_rollout(begin, actions[..., 0], actions[..., 1], dt=STEP)
    error = np.linalg.norm(rolled[..., :2] - target[..., :2], axis=-1)
    # A track that the unicycle loses is trusted only up to where it is lost.
    lost = np.maximum.accumulate(observed & (error > FIT_TOLERANCE_M), axis=1)
    observed &= ~lost
    full = np.zeros((AGENTS, FUTURE, 2), dtype=np.float32)
    full[:filled] = np.clip(actions / ACTION_SCALE, -5.0, 5.0)
    where = np.zeros((AGENTS, FUTURE, 4), dtype=np.float32)
    where[:filled] = np.where(observed[..., None], target, rolled)
    known = np.zeros((AGENTS, FUTURE), dtype=bool)
    known[:filled] = observed
    return Future(actions=full, states=where, observed=known)


def _smooth_states(tracks: Tracks, rows: Array) -> Array:
    """x, y, yaw, speed of some agents over the whole scene; speed along the heading."""
    valid = tracks.valid[rows]
    xy = tracks.xy[rows].astype(np.float64)
    yaw = unwrap_valid(tracks.yaw[rows].astype(np.float64), valid)
    yaw = np.where(valid, smooth(yaw, valid, width=3), yaw)
    rate_x, known = derivative(xy[..., 0], valid, dt=DT)
    rate_y, _ = derivative(xy[..., 1], valid, dt=DT)
    along = rate_x * np.cos(yaw) + rate_y * np.sin(yaw)
    given = tracks.velocity[rows].astype(np.float64)
    told = given[..., 0] * np.cos(yaw) + given[..., 1] * np.sin(yaw)
    speed = smooth(np.where(known, along, told), valid, width=3)
    return np.concatenate([xy, wrap(yaw)[..., None], np.maximum(speed, 0.0)[..., None]], axis=-1)


def _choose(tracks: Tracks, start: int, centre: int, must: Sequence[int]) -> Array:
    """The centre, those asked for, then those that come nearest if all keep their velocity."""
    there = tracks.valid[:, start] & (tracks.cls != AgentClass.OBSTACLE)
    there[centre] = False
    offset = tracks.xy[:, start] - tracks.xy[centre, start]
    relative = tracks.velocity[:, start] - tracks.velocity[centre, start]
    times = np.arange(0.0, 4.1, 0.5)[:, None, None]
    nearest = np.linalg.norm(offset + relative * times, axis=-1).min(axis=0)
    score = nearest + 0.3 * np.linalg.norm(offset, axis=-1)
    order = [int(row) for row in np.argsort(score, kind="stable") if there[row]]
    first = [centre, *(row for row in must if row != centre)]
    chosen = (first + [row for row in order if row not in first])[:AGENTS]
    return np.array(chosen + [-1] * (AGENTS - len(chosen)))


def _goals(future: Future) -> tuple[Array, Array]:
    known = np.asarray(future.observed.any(axis=1))
    last = FUTURE - 1 - np.argmax(future.observed[:, ::-1], axis=1)
    goal = future.states[np.arange(AGENTS), last, :2]
    return np.where(known[:, None], goal, 0.0).astype(np.float32), known


def _lines(
    scene: Scene, start: int, pieces: Pieces, local_from_scene: SE2
) -> tuple[Array, Array, Array, Array]:
    line = np.zeros((LINES, POINTS, 4), dtype=np.float32)
    kind = np.zeros(LINES, dtype=np.int64)
    signal = np.full(LINES, SIGNAL_NONE, dtype=np.int64)
    there = np.zeros(LINES, dtype=bool)
    if len(pieces.kind) == 0:
        return line, kind, signal, there
    xy = local_from_scene.apply(pieces.line[..., :2])
    near = np.linalg.norm(xy, axis=-1).min(axis=1)
    # Lanes carry the motion: other lines must be nearer to be kept in their place.
    order = np.argsort(near + 15.0 * (pieces.kind > 2), kind="stable")[:LINES]
    order = order[near[order] < REACH_M]
    count = len(order)
    line[:count, :, :2] = xy[order]
    line[:count, :, 2:] = local_from_scene.rotate(pieces.line[order][..., 2:])
    kind[:count] = pieces.kind[order]
    there[:count] = True
    shown = dict(zip(scene.signals.lane.tolist(), scene.signals.state[:, start], strict=True))
    signal[:count] = [shown.get(int(feature), SIGNAL_NONE) for feature in pieces.feature[order]]
    return line, kind, signal, there


def _line_kind(layer: MapLayer, lane_type: LaneType) -> int | None:
    if layer == MapLayer.LANE:
        if lane_type in (LaneType.BIKE, LaneType.SIDEWALK):
            return 1
        return 2 if lane_type in (LaneType.SHOULDER, LaneType.OTHER) else 0
    return {MapLayer.CROSSWALK: 3, MapLayer.ROAD_EDGE: 4}.get(layer)


def _held(value: Array, observed: Array) -> Array:
    """Values with the last observed one held; the first column always counts."""
    known = np.concatenate([np.ones((len(value), 1), bool), observed], axis=1)
    index = np.maximum.accumulate(np.where(known, np.arange(value.shape[1]), 0), axis=1)
    return np.take_along_axis(value, index, axis=1).astype(np.float64)


def _padded(rows: Array, fill: float) -> Array:
    full = np.full((AGENTS, *rows.shape[1:]), fill, dtype=rows.dtype)
    full[: len(rows)] = rows
    return full
