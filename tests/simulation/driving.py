"""Scenes of a few vehicles on a straight road, whose every number is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geometry.arrays import Array
from geometry.polylines import offset_line
from schemas.case import AgentsMode, Case
from schemas.labels import AgentClass, EdgeKind, LaneType, LightState, MapLayer
from schemas.records import MapFeature, RoadMap
from schemas.scene import DT, Scene, Signals, Tracks
from simulation.batch import NOW, CaseBatch, ready, stack
from simulation.cases import make_case

STEPS = 91
START = 10
LENGTH, WIDTH = 4.6, 1.9


@dataclass
class User:
    """A road user: where it is at each step, how big, what."""

    xy: Array
    yaw: Array
    cls: AgentClass = AgentClass.VEHICLE
    size: tuple[float, float] = (LENGTH, WIDTH)
    valid: Array | None = None


def going(
    x: float,
    y: float = 0.0,
    *,
    speed: float = 10.0,
    yaw: float = 0.0,
    steps: int = STEPS,
    cls: AgentClass = AgentClass.VEHICLE,
    size: tuple[float, float] = (LENGTH, WIDTH),
    until: int | None = None,
    since: int = 0,
) -> User:
    """Straight on; ``x, y`` is where it is at the start of the case (step 10)."""
    t = (np.arange(steps) - START) * DT
    xy = np.stack([x + speed * t * np.cos(yaw), y + speed * t * np.sin(yaw)], axis=-1)
    valid = np.zeros(steps, dtype=bool)
    valid[since:until] = True
    return User(xy=xy, yaw=np.full(steps, yaw), cls=cls, size=size, valid=valid)


def lane(
    feature_id: int, begin: tuple[float, float], end: tuple[float, float], limit: float | None
) -> MapFeature:
    count = max(int(np.hypot(end[0] - begin[0], end[1] - begin[1]) / 5.0) + 1, 2)
    flat = np.linspace(begin, end, count)
    line = np.column_stack([flat, np.zeros(count)])
    return MapFeature(
        feature_id=feature_id, source_id=str(feature_id), layer=MapLayer.LANE, points=line,
        left=offset_line(line, 1.75), right=offset_line(line, -1.75),
        lane_type=LaneType.VEHICLE, speed_limit=limit, in_intersection=False,
    )  # fmt: skip


def road(limit: float | None = 15.0) -> RoadMap:
    """East along y = 0 in two pieces that meet at x = 60, and a lane to their left at y = 3.5."""
    features = (
        lane(0, (-150.0, 0.0), (60.0, 0.0), limit),
        lane(1, (60.0, 0.0), (400.0, 0.0), limit),
        lane(2, (-150.0, 3.5), (400.0, 3.5), limit),
    )
    edges = np.array(
        [[0, EdgeKind.SUCCESSOR, 1], [0, EdgeKind.LEFT, 2], [2, EdgeKind.RIGHT, 0]],
        dtype=np.int64,
    )
    return RoadMap(source_map_id="road", features=features, edges=edges)


def red_at(x: float, *, steps: int = STEPS, green_from: int | None = None) -> Signals:
    """A signal for lane 1 (or 0) that shows red, from some step on green."""
    state = np.full((1, steps), int(LightState.RED), dtype=np.int8)
    if green_from is not None:
        state[:, green_from:] = int(LightState.GREEN)
    return Signals(
        lane=np.array([1 if x >= 60.0 else 0], dtype=np.int64),
        state=state,
        stop_xy=np.array([[x, 0.0]], dtype=np.float32),
        has_stop=np.array([True]),
    )


def scene(
    *users: User,
    road_map: RoadMap | None = None,
    signals: Signals | None = None,
    scene_id: int = 1,
    has_ego: bool = True,
) -> Scene:
    """The first user is the ego."""
    steps = len(users[0].xy)
    xy = np.stack([u.xy for u in users])
    velocity = np.gradient(xy, DT, axis=1)
    nothing = np.zeros((len(users), steps))
    tracks = Tracks(
        track_id=np.arange(len(users), dtype=np.int64) + (0 if has_ego else 1),
        cls=np.array([int(u.cls) for u in users], dtype=np.int64),
        size=np.array([[*u.size, 1.6] for u in users], dtype=np.float32),
        xy=xy.astype(np.float32), z=nothing.astype(np.float32),
        yaw=np.stack([u.yaw for u in users]).astype(np.float32),
        velocity=velocity.astype(np.float32),
        valid=np.stack(
            [np.ones(steps, bool) if u.valid is None else u.valid for u in users]
        ),
        lane=nothing.astype(np.int64), lane_s=nothing.astype(np.float32),
        lane_d=nothing.astype(np.float32), on_lane=nothing.astype(bool),
    )  # fmt: skip
    return Scene(
        scene_id=scene_id, log_id=1, dataset="built", name=f"scene {scene_id}", t0_ns=0,
        anchor=START, tracks=tracks, map=road_map or RoadMap.none(),
        signals=signals or Signals.none(steps), has_ego=has_ego, has_map=road_map is not None,
        has_signals=signals is not None, origin=np.zeros(3),
    )  # fmt: skip


def case_of(made: Scene, *, agents: AgentsMode = "log") -> Case:
    case = make_case(made, suite="test", agents=agents)
    assert isinstance(case, Case), case
    return case


def batch_of(*scenes: Scene, agents: AgentsMode = "log") -> CaseBatch:
    return stack([ready(case_of(s, agents=agents), s) for s in scenes])


def drawn_scenes(count: int, *, seed: int = 0) -> Sequence[Scene]:
    """Scenes with different numbers of agents, lengths, maps and signals, in which the ego can start."""
    rng = np.random.default_rng(seed)
    made: list[Scene] = []
    while len(made) < count:
        steps = int(rng.integers(50, STEPS))
        users = [going(0.0, speed=float(rng.uniform(4, 14)), steps=steps)]
        users += [
            going(
                float(rng.uniform(-40, 90)),
                float(rng.uniform(-6, 8)),
                speed=float(rng.uniform(0, 12)),
                yaw=float(rng.uniform(-3, 3)),
                steps=steps,
                cls=AgentClass.PEDESTRIAN if rng.random() < 0.3 else AgentClass.VEHICLE,
                since=int(rng.integers(0, 20)),
            )
            for _ in range(int(rng.integers(1, 9)))
        ]
        signals = red_at(45.0, steps=steps, green_from=int(rng.integers(20, 60)))
        drawn = scene(
            *users,
            road_map=road() if rng.random() < 0.7 else None,
            signals=signals if rng.random() < 0.5 else None,
            scene_id=len(made) + 1,
        )
        if isinstance(make_case(drawn, suite="test", start=NOW), Case):
            made.append(drawn)
    return made
