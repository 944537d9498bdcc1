"""Scenes from sampled actions: 10 Hz tracks that an agent could drive, in the parent's place.

The actions are told on the dense clock, held within what a vehicle can do, and integrated
from the agent's state at the start; the height follows the lane that passes below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from generation.features import ACTION_SCALE, HORIZON, STRIDE, Example
from geometry.angles import wrap
from geometry.arrays import Array
from geometry.kinematics import unicycle_rollout
from schemas.labels import AgentClass, MapLayer
from schemas.records import RoadMap
from schemas.scene import DT, Scene

CURVATURE = 0.2  # [1/m] a turning circle of 5 m
BRAKE, SPEED_UP, LATERAL = -8.0, 3.5, 5.0  # [m/s²]
WALKS = frozenset({AgentClass.PEDESTRIAN, AgentClass.ANIMAL})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """A scene that may become a scenario.

    Attributes:
        scene: History as logged, then the horizon; ends with it.
        start: Step that counts as now.
        altered: Track ids of the agents whose future was generated.
        actor: Track id of the one that was to do something; None for variation.
    """

    scene: Scene
    start: int
    altered: tuple[int, ...]
    actor: int | None


def compose(
    scene: Scene,
    example: Example,
    start: int,
    actions: Float[Array, "agents future 2"],
    free: Bool[Array, " agents"],
    *,
    actor: int | None,
    also: Sequence[int] = (),
) -> Candidate:
    """A candidate from the proposal's scene and the sampled actions.

    Args:
        scene: The proposal's scene.
        example: From which the actions were sampled.
        start: Step that counts as now.
        actions: In units of :data:`~generation.features.ACTION_SCALE`.
        free: Slots whose future is taken from the actions; the others keep their log.
        actor: Row of the scene's tracks that was to do something.
        also: Rows that the proposal had altered already.
    """
    slots = np.flatnonzero(free & (example.agents >= 0))
    rows = example.agents[slots]
    tracks = scene.tracks
    end = min(start + HORIZON, scene.steps - 1)
    begin = example.context.start[slots].astype(np.float64)
    dense = integrate(actions[slots].astype(np.float64), begin, tracks.cls[rows])
    dense = dense[:, : end - start]
    xy, yaw, z = tracks.xy.copy(), tracks.yaw.copy(), tracks.z.copy()
    velocity, valid = tracks.velocity.copy(), tracks.valid.copy()
    span = slice(start + 1, end + 1)
    xy[rows, span] = example.scene_from_local.apply(dense[..., :2])
    yaw[rows, span] = example.scene_from_local.turn(dense[..., 2])
    heading = yaw[rows, span]
    velocity[rows, span] = dense[..., 3:] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    z[rows, span] = _heights(scene.map, xy[rows, start : end + 1], z[rows, start])
    if actor is not None:
        valid[actor, span] = True
    tracks = replace(tracks, xy=xy, yaw=wrap(yaw), z=z, velocity=velocity, valid=valid)
    whole = replace(scene, tracks=tracks).between(0, end + 1)
    return Candidate(
        scene=replace(whole, anchor=start, source="generated"), start=start,
        altered=tuple(int(i) for i in tracks.track_id[np.union1d(rows, also).astype(np.int64)]),
        actor=None if actor is None else int(tracks.track_id[actor]),
    )  # fmt: skip


def integrate(
    actions: Float[Array, "agents future 2"],
    start: Float[Array, "agents 4"],
    cls: Int[Array, " agents"],
) -> Float[Array, "agents horizon 4"]:
    """States at 10 Hz after actions at 2.5 Hz, within what the class can do.

    Actions are held for their step, as in the roll-out that the sampler saw, so that the track
    passes where the guidance wanted it; what has wheels turns no tighter than
    1/:data:`CURVATURE` and within :data:`LATERAL`.
    """
    scaled = np.repeat(np.nan_to_num(actions) * ACTION_SCALE, STRIDE, axis=1)
    acceleration, yaw_rate = scaled[..., 0], scaled[..., 1]
    acceleration = np.clip(acceleration, BRAKE, SPEED_UP)
    # Speed is held at 0 as the roll-out that the sampler saw holds it.
    speed = np.maximum(start[:, 3:4] + np.cumsum(acceleration, axis=1) * DT, 0.0)
    before = np.concatenate([start[:, 3:4], speed[:, :-1]], axis=1)
    acceleration = (speed - before) / DT
    mean = (before + speed) / 2.0
    wheels = ~np.isin(cls, [int(c) for c in WALKS])[:, None]
    most = np.minimum(CURVATURE * mean, LATERAL / np.maximum(mean, 1e-3))
    yaw_rate = np.where(wheels, np.clip(yaw_rate, -most, most), yaw_rate)
    return unicycle_rollout(start, acceleration, yaw_rate, dt=DT)


def _heights(road_map: RoadMap, xy: Array, z0: Array) -> Array:
    """Heights along paths: that at the start plus what the lanes below rise since [m]."""
    points = [
        np.asarray(f.points)[:, :3]
        for f in road_map.of_layer(MapLayer.LANE)
        if f.has_z and len(f.points) > 1
    ]
    if not points:
        return np.repeat(z0[:, None], xy.shape[1] - 1, axis=1)
    from scipy.spatial import cKDTree

    ground = np.concatenate(points)
    _, nearest = cKDTree(ground[:, :2]).query(xy)
    below = ground[nearest, 2]
    return z0[:, None] + below[:, 1:] - below[:, :1]


__all__ = ["Candidate", "compose", "integrate"]
