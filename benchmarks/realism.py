"""WOSAC 2025 realism of the truth, constant velocity, IDM and random motion on real logs.

    python benchmarks/realism.py FOLDER_OR_FILE… [--scenes 20]

Beside the published figures of the whole validation set: truth .832, random .485. Deviations: up
to eight tracks of 91 steps that move are evaluated (not tracks_to_predict), and random agents walk at
random about where they stand, 0.1 m a step. IDM: vehicles on their logged line, the ego too. The generator:
everybody who moves as it draws them in closed loop, each rollout from a seed of its own, the ego by IDM.
Sources: folders of GPUDrive JSON or files of Waymo scenario records.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from formats import gpudrive, waymo_motion
from geometry.arrays import Array
from lake.scenes import scenes_of
from schemas.labels import MapLayer
from schemas.records import Log
from schemas.scene import Scene
from simulation.batch import ready, stack
from simulation.behaviours import FOR, AgentMode
from simulation.cases import make_case
from simulation.engine import simulate
from simulation.planners import IdmPlanner
from simulation.realism import likelihoods, meta_metric
from simulation.realism_features import Features, features_of

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
        for reader in (gpudrive, waymo_motion):
            for found in reader.sources(source):
                for log in reader.read(found):
                    for scene in scenes_of(log) if isinstance(log, Log) else []:
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
    z = here.z.astype(float)[None]
    agents = np.flatnonzero(tracks.valid[:, NOW])

    def of(xy: Array, yaw: Array, valid: Array) -> Features:
        heights = np.broadcast_to(z, yaw.shape)
        return features_of(scene, agents, chosen, xy, heights, yaw, valid)

    logged = of(xy, yaw, here.valid[None])
    random = np.random.default_rng(scene.scene_id % 2**32)
    straight, kept = straight_on(scene, agents, xy), yaw.copy()
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
    by_idm, its_yaw = driven(scene, agents, xy, yaw, AgentMode.IDM)
    drawn, drawn_yaw = driven(scene, agents, xy, yaw, AgentMode.DIFFUSION, rollouts=ROLLOUTS)
    ways = {
        "truth, repeated": repeated(of(xy, yaw, here.valid[None])),
        "constant velocity, repeated": repeated(of(straight, kept, there[None])),
        "IDM, repeated": repeated(of(by_idm, its_yaw, there[None])),
        "the generator in closed loop": of(drawn, drawn_yaw, everywhere),
        "random": of(drift, turned, everywhere),
    }
    made = {}
    for who, simulated in ways.items():
        made[who] = meta_metric(likelihoods(logged, simulated))
    return made


def driven(
    scene: Scene, agents: Array, xy: Array, yaw: Array, mode: AgentMode, *, rollouts: int = 1
) -> tuple[Array, Array]:
    """The same, but those who can move by the mode do from the present on, the ego by IDM.

    Whoever cannot, or is not in the case, goes straight on as it is told.
    """
    made_xy = np.repeat(straight_on(scene, agents, xy), rollouts, axis=0)
    made_yaw = np.repeat(yaw, rollouts, axis=0)
    made_yaw[..., NOW + 1 :] = yaw[..., NOW : NOW + 1]
    case = make_case(scene, suite="realism", agents="log", start=NOW)
    if isinstance(case, str):
        return made_xy, made_yaw
    able = {int(cls) for cls in FOR[mode]}
    modes = [mode if c in able else AgentMode.CONSTANT_VELOCITY for c in scene.tracks.cls.tolist()]
    prepared = [ready(replace(case, seed=k), scene, mode=modes) for k in range(rollouts)]
    rollout = simulate(stack(prepared), IdmPlanner())
    place = {int(track): k for k, track in enumerate(prepared[0].track_id)}
    last = min(len(rollout.xy), xy.shape[2])
    for row, agent in enumerate(agents.tolist()):
        k = place.get(int(scene.tracks.track_id[agent]))
        for number in range(rollouts if k is not None else 0):
            seen = np.flatnonzero(rollout.valid[NOW + 1 : last, number, k]) + NOW + 1
            made_xy[number, row, seen] = rollout.xy[seen, number, k]
            made_yaw[number, row, seen] = rollout.yaw[seen, number, k]
            if len(seen) and seen[-1] + 1 < xy.shape[2]:
                # Gone from the simulation: it stays where it was last.
                made_xy[number, row, seen[-1] + 1 :] = made_xy[number, row, seen[-1]]
                made_yaw[number, row, seen[-1] + 1 :] = made_yaw[number, row, seen[-1]]
    return made_xy, made_yaw


def straight_on(scene: Scene, agents: Array, xy: Array) -> Array:
    """Everyone keeps the velocity of the present."""
    ahead = np.arange(1, STEPS - NOW) * 0.1
    made = xy.copy()
    velocity = scene.tracks.velocity[agents, NOW].astype(float)
    made[..., NOW + 1 :, :] = xy[..., NOW : NOW + 1, :] + velocity[None, :, None] * ahead[:, None]
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
