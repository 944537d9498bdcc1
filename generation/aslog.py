"""A scene as a log, so that what was generated enters the lake by the same door as recordings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from geometry.arrays import Array
from schemas.labels import AgentClass, LightState
from schemas.records import EgoStates, LightStates, Log, Observations, RoadMap, Window
from schemas.scene import DT, Scene

DATASET = "scenelake_generated"
STEP_NS = round(DT * 1e9)


def as_log(scene: Scene, *, log_id: str, extra: Mapping[str, Any] | None = None) -> Log:
    """The scene as one log with one window, in the source coordinates of its parent.

    Args:
        scene: Whose step 0 becomes time 0; map, signals and conditions are carried over.
        log_id: The log's own id, unique within the generated data.
        extra: What to keep beside it.
    """
    tracks = scene.tracks
    steps = scene.steps
    t_ns = STEP_NS * np.arange(steps, dtype=np.int64)
    xyz = np.concatenate([tracks.xy, tracks.z[..., None]], axis=-1).astype(np.float64)
    xyz += scene.origin
    ego = None
    if scene.has_ego:
        valid = tracks.valid[0]
        ego = EgoStates(
            t_ns=t_ns[valid], xyz=xyz[0, valid], yaw=tracks.yaw[0, valid].astype(np.float64),
            velocity=tracks.velocity[0, valid].astype(np.float64),
            size=(float(tracks.size[0, 0]), float(tracks.size[0, 1]), float(tracks.size[0, 2])),
        )  # fmt: skip
    return Log(
        dataset=DATASET, source_log_id=log_id, source_uri=f"{DATASET}/{log_id}", rate_hz=1.0 / DT,
        ego=ego, agents=_observations(scene, xyz, t_ns), map=_source_map(scene),
        lights=_lights(scene, t_ns), weather=scene.weather, daylight=scene.daylight,
        windows=[
            Window(
                source_scene_id=log_id, t0_ns=0, t1_ns=int(t_ns[-1]),
                anchor_ns=int(t_ns[scene.anchor]),
            )
        ],
        extra=dict(extra or {}),
    )  # fmt: skip


def _observations(scene: Scene, xyz: Array, t_ns: Array) -> Observations:
    tracks = scene.tracks
    first = 1 if scene.has_ego else 0
    rows = [row for row in range(first, len(tracks.cls)) if tracks.valid[row].any()]
    if not rows:
        return Observations.none()
    agent, step = np.nonzero(tracks.valid[rows])
    index = np.array(rows)[agent]
    kinds = [AgentClass(int(tracks.cls[row])) for row in rows]
    return Observations(
        track=agent.astype(np.int64), t_ns=t_ns[step], xyz=xyz[index, step],
        yaw=tracks.yaw[index, step].astype(np.float64),
        size=tracks.size[index].astype(np.float64),
        velocity=tracks.velocity[index, step].astype(np.float64),
        source_track_id=[str(int(tracks.track_id[row])) for row in rows],
        source_cls=[kind.word for kind in kinds], cls=kinds,
    )  # fmt: skip


def _source_map(scene: Scene) -> RoadMap:
    """The map back in the source's coordinates."""
    features = [
        replace(
            feature,
            points=np.asarray(feature.points, dtype=np.float64) + scene.origin,
            left=None if feature.left is None else np.asarray(feature.left) + scene.origin,
            right=None if feature.right is None else np.asarray(feature.right) + scene.origin,
        )
        for feature in scene.map.features
    ]
    return replace(scene.map, features=features)


def _lights(scene: Scene, t_ns: Array) -> LightStates:
    """One row a lane and step, as the dense clock has it."""
    signals = scene.signals
    if not scene.has_signals or len(signals.lane) == 0:
        return LightStates.none()
    ids = {feature.feature_id: feature.source_id for feature in scene.map.features}
    known = [row for row, lane in enumerate(signals.lane.tolist()) if lane in ids]
    count, steps = len(known), scene.steps
    stop = np.concatenate(
        [signals.stop_xy[known].astype(np.float64), np.zeros((count, 1))], axis=1
    )
    stop = np.where(signals.has_stop[known][:, None], stop + scene.origin, np.nan)
    states = signals.state[known].astype(np.int64).reshape(-1)
    return LightStates(
        source_lane_id=[ids[int(signals.lane[row])] for row in known for _ in range(steps)],
        t_ns=np.tile(t_ns, count), state=states,
        source_state=[LightState(int(state)).word for state in states],
        arrow=np.zeros(count * steps, dtype=bool), flashing=np.zeros(count * steps, dtype=bool),
        stop_xyz=np.repeat(stop, steps, axis=0),
    )  # fmt: skip
