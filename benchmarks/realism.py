"""WOSAC 2025 realism of the truth, constant velocity and random motion on real logs.

    python benchmarks/realism.py FOLDER_OR_FILE… [--scenes 20]

Beside the published figures of the whole validation set: truth .832, random .485. Deviations: up
to eight tracks of 91 steps that move are evaluated (not tracks_to_predict), heights are not looked
at, red lights are left out, so that the weights of the other nine features are scaled up, and
random agents walk at random about where they stand, 0.1 m a step.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np

from formats import gpudrive
from geometry.arrays import Array
from geometry.boxes import corners
from lake.scenes import scenes_of
from schemas.labels import VEHICLES, MapLayer
from schemas.records import Log
from schemas.scene import Scene
from simulation.realism import likelihoods, meta_metric
from simulation.realism_features import (
    Features,
    motion,
    nearest_object,
    road_edge,
    time_to_collision,
)

NOW, STEPS, ROLLOUTS = 10, 91, 32


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--scenes", type=int, default=20)
    options = parser.parse_args()
    scores: dict[str, list[float]] = {}
    begun = time.process_time()
    for scene in list(scenes(options.sources))[: options.scenes]:
        for who, score in scored(scene).items():
            scores.setdefault(who, []).append(score)
    print(f"| who | realism | scenes |   ({time.process_time() - begun:.1f} s of processor)")
    for who, values in scores.items():
        print(f"| {who} | {np.mean(values):.3f} | {len(values)} |")


def scenes(sources: list[Path]) -> Iterator[Scene]:
    """Scenes of 91 steps with road edges."""
    for source in sources:
        for found in gpudrive.sources(source):
            for log in gpudrive.read(found):
                if isinstance(log, Log):
                    for scene in scenes_of(log):
                        if scene.steps == STEPS and scene.map.of_layer(MapLayer.ROAD_EDGE):
                            yield scene


def scored(scene: Scene) -> dict[str, float]:
    """Meta-metric of each way to move."""
    tracks = scene.tracks
    here = tracks.take(np.flatnonzero(tracks.valid[:, NOW]))
    xy, yaw = here.xy.astype(float)[None], here.yaw.astype(float)[None]
    moved = np.hypot(*(xy[0, :, -1] - xy[0, :, NOW]).T)
    chosen = np.flatnonzero(here.valid.all(axis=1) & (moved > 2.0))[:8]
    if len(chosen) == 0:
        return {}
    edges = [f.points[:, :2].astype(float) for f in scene.map.of_layer(MapLayer.ROAD_EDGE)]
    size = here.size[:, :2].astype(float)
    vehicle = np.isin(here.cls[chosen], [int(c) for c in VEHICLES])

    def of(xy: Array, yaw: Array, valid: Array) -> Features:
        shape = xy.shape[:3]
        extent = np.broadcast_to(size[None, :, None], (*shape, 2))
        boxes = np.concatenate([xy, yaw[..., None], extent], axis=-1)
        speed, acceleration, turn, turning = motion(xy, yaw)
        flat = corners(boxes[:, chosen, NOW + 1 :]).reshape(-1, 2)
        edge = road_edge(flat, edges).reshape(shape[0], len(chosen), -1, 4).max(axis=-1)
        mine = (slice(None), chosen, slice(NOW + 1, None))
        after = slice(NOW + 1, None)
        return Features(
            valid=valid[mine], vehicle=vehicle, linear_speed=speed[mine],
            linear_acceleration=acceleration[mine], angular_speed=turn[mine],
            angular_acceleration=turning[mine],
            distance_to_nearest_object=nearest_object(boxes, valid, chosen)[..., after],
            time_to_collision=time_to_collision(boxes, speed, valid, chosen)[..., after],
            distance_to_road_edge=edge, red_light=np.zeros(edge.shape, bool),
        )  # fmt: skip

    logged = of(xy, yaw, here.valid[None])
    random = np.random.default_rng(scene.scene_id % 2**32)
    ahead = np.arange(1, STEPS - NOW) * 0.1
    straight, kept = xy.copy(), yaw.copy()
    straight[..., NOW + 1 :, :] = (
        xy[..., NOW : NOW + 1, :] + here.velocity[None, :, NOW, None] * ahead[:, None]
    )
    kept[..., NOW + 1 :] = yaw[..., NOW : NOW + 1]
    steps = random.normal(0.0, 0.1, (ROLLOUTS, *straight.shape[1:]))
    steps[..., : NOW + 1, :] = 0.0
    drift = np.repeat(xy, ROLLOUTS, axis=0)
    drift[..., NOW + 1 :, :] = xy[..., NOW : NOW + 1, :]
    drift += np.cumsum(steps, axis=2)
    turned = np.repeat(kept, ROLLOUTS, axis=0)
    turned += np.cumsum(steps[..., 0], axis=-1)
    there = here.valid.copy()
    there[:, NOW + 1 :] = True
    everywhere = np.broadcast_to(there, (ROLLOUTS, *there.shape))
    ways = {
        "truth, repeated": repeated(of(xy, yaw, here.valid[None])),
        "constant velocity, repeated": repeated(of(straight, kept, there[None])),
        "random": of(drift, turned, everywhere),
    }
    made = {}
    for who, simulated in ways.items():
        known = likelihoods(logged, simulated)
        known.pop("traffic_light_violation")
        made[who] = meta_metric(known)
    return made


def repeated(one: Features) -> Features:
    """The same rollout so many times."""
    return Features(
        **{
            f.name: getattr(one, f.name)
            if f.name == "vehicle"
            else np.repeat(getattr(one, f.name), ROLLOUTS, axis=0)
            for f in fields(Features)
        }
    )


if __name__ == "__main__":
    main()
