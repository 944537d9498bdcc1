"""Small logs with any part missing, drawn from a seed, for round trips.

Drawn by numpy rather than by strategies, because checking the records' types draws random numbers
itself, which hypothesis forbids within strategies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from geometry.arrays import Array
from schemas.labels import AgentClass, Daylight, EdgeKind, LaneType, LightState, MapLayer, Weather
from schemas.records import (
    EgoStates,
    LightStates,
    Log,
    MapFeature,
    Observations,
    RoadMap,
    Sensor,
    SourceEvent,
    Window,
)

STEP_NS = 100_000_000
LETTERS = list("abcdxyz-_0123456789 ÄΩ/")
Thing = TypeVar("Thing")


def drawn_log(seed: int) -> Log:
    """A whole log."""
    draw = _Draw(seed)
    origin = np.array([*draw.rng.uniform(-2e5, 2e5, 2), 100.0])
    events = [SourceEvent(name=draw.word(), t0_ns=0, t1_ns=5, detail={"gap_m": 1.5})]
    windows = [Window(source_scene_id=draw.word(), t0_ns=0, t1_ns=STEP_NS, anchor_ns=STEP_NS)]
    camera = Sensor(
        channel="ring_front_center", kind="camera", model="pinhole", width=640, height=360,
        intrinsics=(500.0, 501.0, 320.0, 180.0), distortion=(0.0, 0.0, 0.0),
        ego_from_sensor=np.array([1.5, 0.0, 1.4, 0.5, -0.5, 0.5, -0.5]),
    )  # fmt: skip
    return Log(
        dataset="drawn",
        source_log_id=draw.word(),
        source_uri="nowhere",
        record=draw.one_of(["", "3"]),
        rate_hz=10.0,
        ego=draw.perhaps(lambda: _ego(draw, origin)),
        agents=_observations(draw, origin),
        map=_road_map(draw, origin),
        lights=_lights(draw, origin),
        t0_unix_ns=draw.perhaps(lambda: int(draw.rng.integers(10**18, 2 * 10**18))),
        split=draw.perhaps(lambda: "train"),
        location=draw.perhaps(draw.word),
        weather=draw.perhaps(lambda: draw.one_of(list(Weather))),
        daylight=draw.perhaps(lambda: draw.one_of(list(Daylight))),
        license=draw.perhaps(lambda: "CC0"),
        epsg=draw.perhaps(lambda: 25832),
        sensors=[camera] if draw.chance() else [],
        windows=windows if draw.chance() else [],
        events=events if draw.chance() else [],
        extra={"seed": 3} if draw.chance() else {},
    )


class _Draw:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def chance(self, probability: float = 0.5) -> bool:
        return bool(self.rng.uniform() < probability)

    def count(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def one_of(self, things: Sequence[Thing]) -> Thing:
        return things[self.count(0, len(things) - 1)]

    def perhaps(self, make: Callable[[], Thing]) -> Thing | None:
        return make() if self.chance(0.7) else None

    def word(self) -> str:
        return "".join(self.one_of(LETTERS) for _ in range(self.count(1, 8)))


def _road_map(draw: _Draw, origin: Array) -> RoadMap:
    """A few features of every layer, with random edges."""
    if draw.chance(0.15):
        return RoadMap.none()
    numeric = draw.chance()

    def line(count: int) -> Array:
        steps = np.cumsum(draw.rng.uniform(0.5, 5.0, count))
        sway = draw.rng.normal(0, [[1.0, 0.2]], (count, 2))
        return np.concatenate([steps[:, None], sway], axis=1) + origin

    features = []
    for i in range(draw.count(1, 8)):
        layer = draw.one_of(list(MapLayer))
        is_lane = layer == MapLayer.LANE
        features.append(
            MapFeature(
                feature_id=i,
                source_id=str(1000 + i) if numeric else f"{draw.word()}{i}",
                layer=layer,
                points=line(draw.count(3, 6)),
                left=line(2) if is_lane and draw.chance() else None,
                right=line(3) if is_lane and draw.chance() else None,
                lane_type=draw.one_of(list(LaneType)) if is_lane else LaneType.UNKNOWN,
                source_type=draw.one_of(["", "SOLID_WHITE", "broken_yellow", "odd"]),
                speed_limit=draw.perhaps(lambda: float(draw.rng.uniform(1, 40))),
                in_intersection=draw.perhaps(draw.chance),
                has_z=draw.chance(),
            )
        )
    last = len(features) - 1
    edges = [
        (draw.count(0, last), int(draw.one_of(list(EdgeKind))), draw.count(0, last))
        for _ in range(draw.count(0, 8))
    ]
    return RoadMap(
        source_map_id=draw.word(),
        features=tuple(features),
        edges=np.array(edges, dtype=np.int64).reshape(-1, 3),
    )


def _ego(draw: _Draw, origin: Array) -> EgoStates:
    """A vehicle that wanders, perhaps with attitude and signals."""
    steps = draw.count(1, 6)
    yaw = draw.rng.uniform(-3.1, 3.1, steps)
    quaternion = None
    if draw.chance():
        quaternion = draw.rng.normal(size=(steps, 4))
        quaternion /= np.linalg.norm(quaternion, axis=1, keepdims=True)
        w, x, y, z = quaternion.T
        yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return EgoStates(
        t_ns=np.cumsum(draw.rng.integers(1, 2 * STEP_NS, steps)),
        xyz=origin + draw.rng.normal(0, 20, (steps, 3)),
        yaw=yaw,
        size=(4.0 + float(draw.rng.uniform()), 1.8, 1.2 + float(draw.rng.uniform())),
        quaternion=quaternion,
        velocity=draw.perhaps(lambda: draw.rng.normal(0, 5, (steps, 2))),
        acceleration=draw.perhaps(lambda: draw.rng.normal(size=steps)),
        yaw_rate=draw.perhaps(lambda: draw.rng.normal(size=steps)),
        steering=draw.perhaps(lambda: draw.rng.normal(size=steps)),
        valid=draw.perhaps(lambda: draw.rng.uniform(size=steps) < 0.7),
        source_track_id=draw.word(),
        source_cls=draw.word(),
    )


def _observations(draw: _Draw, origin: Array) -> Observations:
    """A few tracks of every class, perhaps without size, velocity or validity."""
    tracks = draw.count(0, 4)
    lengths = [draw.count(1, 5) for _ in range(tracks)]
    starts = [draw.count(0, 3) for _ in range(tracks)]
    rows = sum(lengths)
    track = np.repeat(np.arange(tracks), lengths).astype(np.int64)
    t_ns = [np.arange(s, s + n) * STEP_NS for s, n in zip(starts, lengths, strict=True)]
    size = draw.rng.uniform(0.3, 6.0, (rows, 3))
    if draw.chance():
        size[track == 0] = np.nan
    return Observations(
        track=track,
        t_ns=np.concatenate([*t_ns, np.zeros(0, dtype=np.int64)]).astype(np.int64),
        xyz=origin + draw.rng.normal(0, 40, (rows, 3)),
        yaw=draw.rng.uniform(-3.1, 3.1, rows),
        size=size,
        velocity=draw.perhaps(lambda: draw.rng.normal(0, 5, (rows, 2))),
        valid=draw.perhaps(lambda: draw.rng.uniform(size=rows) < 0.8),
        source_track_id=[f"{draw.word()}/{i}" for i in range(tracks)],
        source_cls=[draw.one_of(["car", "BUS", "DOG", "truck"]) for _ in range(tracks)],
        cls=[draw.one_of(list(AgentClass)) for _ in range(tracks)],
    )


def _lights(draw: _Draw, origin: Array) -> LightStates:
    """Signals, or none recorded."""
    rows = draw.count(0, 5)
    if rows == 0:
        return LightStates.none()
    stop = origin + draw.rng.normal(0, 50, (rows, 3))
    stop[0] = np.nan
    return LightStates(
        source_lane_id=[draw.word() for _ in range(rows)],
        t_ns=np.arange(rows) * STEP_NS,
        state=draw.rng.integers(0, len(LightState), rows),
        source_state=[draw.word() for _ in range(rows)],
        arrow=draw.rng.uniform(size=rows) < 0.5,
        flashing=draw.rng.uniform(size=rows) < 0.5,
        stop_xyz=stop,
    )
