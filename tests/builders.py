"""Small logs whose every number is known, for the tests of all packages.

The straight road runs east along y = 0 (lane 0), with a lane to its left (lane 1, y = 3.5). The
crossing adds a road north along x = 0, with signals. Sources stand at large coordinates, so that
frames must be kept apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from geometry.arrays import Array
from schemas.labels import AgentClass, EdgeKind, LaneType, LightState, MapLayer, Weather
from schemas.records import (
    EgoStates,
    LightStates,
    Log,
    MapFeature,
    Observations,
    RoadMap,
    SourceEvent,
)

CORNER = np.array([664_000.0, 3_996_000.0, 100.0])
"""Source coordinates of the builders' own (0, 0, 0) [m]."""

CAR = (4.6, 1.9, 1.6)


def stamps(steps: int, *, dt: float = 0.1) -> Array:
    """``steps`` times ``dt`` seconds apart, from 0 [ns]."""
    return np.round(np.arange(steps) * dt * 1e9).astype(np.int64)


def lane(
    feature_id: int,
    points: Sequence[Sequence[float]],
    *,
    speed_limit: float | None = 13.9,
    in_intersection: bool | None = False,
    width: float = 3.5,
) -> MapFeature:
    """A lane through points (x, y), with boundaries beside it."""
    from geometry.polylines import offset_line

    flat = np.array(points, dtype=np.float64)
    line = np.column_stack([flat, np.zeros(len(flat))])
    return MapFeature(
        feature_id=feature_id, source_id=f"lane{feature_id}", layer=MapLayer.LANE,
        points=line + CORNER, left=offset_line(line, width / 2) + CORNER,
        right=offset_line(line, -width / 2) + CORNER, lane_type=LaneType.VEHICLE,
        source_type="VEHICLE", speed_limit=speed_limit, in_intersection=in_intersection,
    )  # fmt: skip


def straight(begin: Sequence[float], end: Sequence[float], *, every: float = 5.0) -> Array:
    """Points of a straight line from ``begin`` to ``end``, ``every`` metres."""
    a, b = np.array(begin, dtype=np.float64), np.array(end, dtype=np.float64)
    count = max(int(np.linalg.norm(b - a) / every) + 1, 2)
    return a + np.linspace(0.0, 1.0, count)[:, None] * (b - a)


def with_graph(road_map: RoadMap) -> RoadMap:
    """The map with what the lake finds of its graph beside what the source states."""
    from lake.lanegraph import derived_edges

    found = derived_edges(road_map.features, road_map.edges)
    return replace(road_map, edges=np.concatenate([road_map.edges, found]))


def straight_map() -> RoadMap:
    """Two parallel lanes of 400 m to the east, a crosswalk and a stop sign."""
    crosswalk = np.array([[98.0, -4.0, 0], [102.0, -4.0, 0], [102.0, 8.0, 0], [98.0, 8.0, 0]])
    return RoadMap(
        source_map_id="straight",
        features=(
            lane(0, straight((-100, 0), (300, 0))),
            lane(1, straight((-100, 3.5), (300, 3.5))),
            MapFeature(
                feature_id=2, source_id="walk", layer=MapLayer.CROSSWALK, points=crosswalk + CORNER
            ),
            MapFeature(
                feature_id=3, source_id="sign", layer=MapLayer.STOP_SIGN,
                points=np.array([[300.0, -3.0, 2.0]]) + CORNER,
            ),
        ),
        edges=np.array([[0, EdgeKind.LEFT, 1], [1, EdgeKind.RIGHT, 0]], dtype=np.int64),
    )  # fmt: skip


def crossing_map() -> RoadMap:
    """Two one-way roads that cross at (0, 0): lanes 0→1→2 east, 3→4→5 north."""
    succeeds = [(0, 1), (1, 2), (3, 4), (4, 5)]
    return RoadMap(
        source_map_id="crossing",
        features=(
            lane(0, straight((-150, 0), (-10, 0))),
            lane(1, straight((-10, 0), (10, 0), every=1.0), in_intersection=True),
            lane(2, straight((10, 0), (150, 0))),
            lane(3, straight((0, -150), (0, -10))),
            lane(4, straight((0, -10), (0, 10), every=1.0), in_intersection=True),
            lane(5, straight((0, 10), (0, 150))),
        ),
        edges=np.array([(a, EdgeKind.SUCCESSOR, b) for a, b in succeeds], dtype=np.int64),
    )


def moving(
    *, steps: int, start: Sequence[float], velocity: Sequence[float], dt: float = 0.1
) -> Array:
    """Positions (x, y, 0.8) at constant velocity, in the source's coordinates [m]."""
    t = np.arange(steps)[:, None] * dt
    xy = np.array(start, dtype=np.float64) + t * np.array(velocity, dtype=np.float64)
    return np.column_stack([xy, np.full(steps, 0.8)]) + CORNER


def ego(
    *, steps: int, start: Sequence[float], velocity: Sequence[float], dt: float = 0.1
) -> EgoStates:
    """An ego at constant velocity, whose source tells velocities."""
    speed = np.array(velocity, dtype=np.float64)
    return EgoStates(
        t_ns=stamps(steps, dt=dt),
        xyz=moving(steps=steps, start=start, velocity=velocity, dt=dt),
        yaw=np.full(steps, np.arctan2(speed[1], speed[0])),
        size=CAR,
        velocity=np.tile(speed, (steps, 1)),
    )


def road_users(
    users: Sequence[tuple[str, AgentClass, Sequence[float], Sequence[float]]],
    *,
    steps: int,
    dt: float = 0.1,
) -> Observations:
    """Road users (source id, class, start, velocity) at constant velocity, none told."""
    sizes = {AgentClass.PEDESTRIAN: (0.5, 0.6, 1.8)}
    blocks = [moving(steps=steps, start=u[2], velocity=u[3], dt=dt) for u in users]
    yaw = [np.full(steps, np.arctan2(u[3][1], u[3][0])) for u in users]
    if not users:
        return Observations.none()
    return Observations(
        track=np.repeat(np.arange(len(users)), steps),
        t_ns=np.tile(stamps(steps, dt=dt), len(users)),
        xyz=np.concatenate(blocks),
        yaw=np.concatenate(yaw),
        size=np.repeat([sizes.get(u[1], CAR) for u in users], steps, axis=0).astype(np.float64),
        source_track_id=[u[0] for u in users],
        source_cls=[u[1].name for u in users],
        cls=[u[1] for u in users],
    )


def make_straight_log(
    name: str = "straight", *, steps: int = 91, dt: float = 0.1, dataset: str = "built"
) -> Log:
    """The ego east at 10 m/s on lane 0, a car 30 m ahead at 8 m/s, a slow truck in lane 1 and a
    pedestrian who crosses at x = 100 m."""
    return Log(
        dataset=dataset,
        source_log_id=name,
        source_uri=f"memory:{name}",
        rate_hz=1.0 / dt,
        ego=ego(steps=steps, start=(0, 0), velocity=(10, 0), dt=dt),
        agents=road_users(
            [
                ("lead", AgentClass.VEHICLE, (30, 0.2), (8, 0)),
                ("truck", AgentClass.TRUCK, (10, 3.5), (5, 0)),
                ("walker", AgentClass.PEDESTRIAN, (100, -8), (0, 1.5)),
            ],
            steps=steps,
            dt=dt,
        ),
        map=straight_map(),
        weather=Weather.RAIN,
        location="Testville",
        t0_unix_ns=1_700_000_000_000_000_000,
        events=(SourceEvent(name="following", t0_ns=0, t1_ns=10**9, source_track_id="lead"),),
    )


def make_crossing_log(name: str = "crossing", *, steps: int = 91, dataset: str = "built") -> Log:
    """The ego east at 8 m/s through a signalled crossing, a car north that waits for its red.

    Lane 0's signal is green throughout; lane 3's turns from red to yellow after 4 s. Both are
    sampled at 10 Hz.
    """
    t_ns = stamps(steps)
    late = t_ns >= 4_000_000_000
    north = np.where(late, LightState.YELLOW, LightState.RED)
    stop = np.array([[-10.0, 0.0, 0.0], [0.0, -10.0, 0.0]]) + CORNER
    waiting = road_users([("waits", AgentClass.VEHICLE, (0, -15), (0, 1e-9))], steps=steps)
    return Log(
        dataset=dataset,
        source_log_id=name,
        source_uri=f"memory:{name}",
        rate_hz=10.0,
        ego=ego(steps=steps, start=(-40, 0), velocity=(8, 0)),
        agents=waiting,
        map=crossing_map(),
        lights=LightStates(
            source_lane_id=["lane0"] * steps + ["lane3"] * steps,
            t_ns=np.tile(t_ns, 2),
            state=np.concatenate([np.full(steps, int(LightState.GREEN)), north]).astype(np.int64),
            source_state=["G"] * steps + ["Y" if x else "R" for x in late],
            arrow=np.zeros(2 * steps, dtype=bool),
            flashing=np.zeros(2 * steps, dtype=bool),
            stop_xyz=np.repeat(stop, steps, axis=0),
        ),
    )


def without(log: Log, *parts: str) -> Log:
    """The log without its ``ego``, ``map``, ``lights`` or ``agents``."""
    empty = {
        "ego": None, "map": RoadMap.none(), "lights": LightStates.none(),
        "agents": Observations.none(),
    }  # fmt: skip
    return replace(log, **{part: empty[part] for part in parts})
