"""Small scenes made by hand: a straight road with traffic of known motion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from geometry.frames import SE2
from schemas.labels import AgentClass, LaneType, LightState, MapLayer
from schemas.records import MapFeature, RoadMap
from schemas.scene import DT, Scene, Signals, Tracks


def scene_of(
    *,
    seed: int = 0,
    agents: int = 5,
    steps: int = 100,
    scene_id: int | None = None,
    log_id: int | None = None,
) -> Scene:
    """Agents on a two-lane road, each with its own speed, acceleration and turn."""
    rng = np.random.default_rng(seed)
    t = np.arange(steps) * DT
    speed = rng.uniform(4.0, 12.0, (agents, 1)) + rng.uniform(-0.6, 0.6, (agents, 1)) * t
    yaw = rng.uniform(-0.08, 0.08, (agents, 1)) * t + rng.choice([0.0, np.pi], (agents, 1))
    speed[0], yaw[0] = 8.0, 0.0
    velocity = speed[..., None] * np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)
    start = rng.uniform([-40.0, -6.0], [40.0, 6.0], (agents, 2))
    start[0] = 0.0
    xy = start[:, None] + np.cumsum(velocity, axis=1) * DT
    valid = np.ones((agents, steps), dtype=bool)
    for agent in range(1, agents):
        valid[agent, : rng.integers(0, steps // 3)] = False
    zero = np.zeros((agents, steps), dtype=np.float32)
    tracks = Tracks(
        track_id=np.arange(agents, dtype=np.int64),
        cls=np.full(agents, AgentClass.VEHICLE, dtype=np.int8),
        size=np.tile(np.array([4.6, 1.9, 1.6], dtype=np.float32), (agents, 1)),
        xy=xy.astype(np.float32), z=zero, yaw=np.angle(np.exp(1j * yaw)).astype(np.float32),
        velocity=velocity.astype(np.float32), valid=valid,
        lane=np.zeros((agents, steps), dtype=np.int64), lane_s=zero, lane_d=zero,
        on_lane=np.zeros((agents, steps), dtype=bool),
    )  # fmt: skip
    lanes = [
        MapFeature(
            feature_id=i, source_id=f"lane{i}", layer=MapLayer.LANE, lane_type=LaneType.VEHICLE,
            points=np.array([[-100.0, y, 0.0], [200.0, y, 0.0]]), speed_limit=13.9,
        )
        for i, y in enumerate((0.0, 3.5))
    ]  # fmt: skip
    walk = MapFeature(
        feature_id=2, source_id="walk", layer=MapLayer.CROSSWALK,
        points=np.array([[30.0, -6.0, 0.0], [34.0, -6.0, 0.0], [34.0, 6.0, 0.0], [30.0, 6.0, 0.0]]),
    )  # fmt: skip
    state = np.full((1, steps), LightState.RED, dtype=np.int8)
    state[:, steps // 2 :] = LightState.GREEN
    signals = Signals(
        lane=np.zeros(1, dtype=np.int64), state=state,
        stop_xy=np.array([[28.0, 0.0]], dtype=np.float32), has_stop=np.ones(1, dtype=bool),
    )  # fmt: skip
    return Scene(
        scene_id=seed if scene_id is None else scene_id,
        log_id=seed if log_id is None else log_id,
        dataset="made", name=f"made-{seed}", t0_ns=0, anchor=steps // 2, tracks=tracks,
        map=RoadMap(source_map_id="road", features=[*lanes, walk]), signals=signals,
        has_ego=True, has_map=True, has_signals=True, origin=np.zeros(3),
    )  # fmt: skip


def moved_scene(scene: Scene, new_from_old: SE2) -> Scene:
    """The same happening at another place and heading."""
    tracks = scene.tracks
    moved = replace(
        tracks,
        xy=new_from_old.apply(tracks.xy.astype(np.float64)).astype(np.float32),
        yaw=new_from_old.turn(tracks.yaw.astype(np.float64)).astype(np.float32),
        velocity=new_from_old.rotate(tracks.velocity.astype(np.float64)).astype(np.float32),
    )
    features = [
        replace(f, points=np.column_stack([new_from_old.apply(f.points[:, :2]), f.points[:, 2]]))
        for f in scene.map.features
    ]
    stop = new_from_old.apply(scene.signals.stop_xy.astype(np.float64)).astype(np.float32)
    return replace(
        scene,
        tracks=moved,
        map=replace(scene.map, features=features),
        signals=replace(scene.signals, stop_xy=stop),
    )


@pytest.fixture
def make_scene() -> Callable[..., Scene]:
    return scene_of


@pytest.fixture
def move() -> Callable[[Scene, SE2], Scene]:
    return moved_scene
