"""Our WOSAC 2025 metric beside Waymo's own code, feature by feature, on the same rollouts.

    python benchmarks/realism_official.py SCENARIO.tfrecord… --python PEER/bin/python [--rollouts 8]

The peer is an environment of Python 3.10 with ``tensorflow-cpu==2.13.1 tensorflow-probability==0.21.0
scikit-learn==1.2.2 einsum==0.3.0 matplotlib numpy==1.23.5``, and ``waymo-open-dataset-tf-2-12-0==1.6.7``
installed with ``--no-deps``. It is asked in a process of its own, moves the agents of each scenario as the
log does (*truth*), straight on (*constant velocity*) and at random, and tells what Waymo's code makes of
that; ours sees the same positions and reads scenario and map by its own reader. Everyone evaluated is as
the challenge has it: the tracks to predict and the recording vehicle.

*same numbers*: the log in single precision in the world's frame and each box as large as it is at the
present, as Waymo's code has them; ends with 1 if any likelihood then differs by more than 0.001. *as read*:
as our scenes keep them, relative to an origin, so that acceleration is not rounded to 0.02 m/s², and with
the median size of the boxes.

GPUDrive files are compared, too: they are written as scenarios first.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

NOW, STEPS = 10, 91
WAYS = ("truth", "constant velocity", "random")
MOST = 1e-3


def official(source: Path, out: Path, rollouts: int) -> None:
    """In the peer's environment: rollouts of a file's first scenario, and Waymo's likelihoods of them."""
    import tensorflow as tf  # type: ignore[import-not-found]
    import waymo_open_dataset  # type: ignore[import-not-found]
    from google.protobuf import text_format
    from waymo_open_dataset.protos import (  # type: ignore[import-not-found]
        scenario_pb2,
        sim_agents_metrics_pb2,
        sim_agents_submission_pb2,
    )
    from waymo_open_dataset.utils.sim_agents import (  # type: ignore[import-not-found]
        submission_specs,
    )
    from waymo_open_dataset.wdl_limited.sim_agents_metrics import (  # type: ignore[import-not-found]
        metric_features,
        metrics,
    )

    kind = submission_specs.ChallengeType.SIM_AGENTS
    scenario = scenario_pb2.Scenario.FromString(
        next(iter(tf.data.TFRecordDataset(str(source)))).numpy()
    )
    root = Path(next(iter(waymo_open_dataset.__path__))) / "wdl_limited" / "sim_agents_metrics"
    config = sim_agents_metrics_pb2.SimAgentMetricsConfig()
    text_format.Parse((root / "challenge_2025_sim_agents_config.textproto").read_text(), config)
    tracks = [t for t in scenario.tracks if t.states[NOW].valid]
    names = ("center_x", "center_y", "center_z", "heading")
    state = np.array([[[getattr(s, n) for n in names] for s in t.states] for t in tracks])
    now = np.array([[t.states[NOW].velocity_x, t.states[NOW].velocity_y] for t in tracks])
    future = state[:, NOW + 1 :]
    seconds = 0.1 * np.arange(1, STEPS - NOW)
    straight = np.repeat(state[:, NOW : NOW + 1], STEPS - NOW - 1, axis=1)
    straight[..., :2] += now[:, None] * seconds[:, None]
    walk = np.random.default_rng(0).normal(0.0, 0.3, (rollouts, *future.shape)).cumsum(axis=2)
    walk[..., 2] = 0.0
    moved = {
        "truth": np.repeat(future[None], rollouts, axis=0),
        "constant velocity": np.repeat(straight[None], rollouts, axis=0),
        "random": straight + walk * (1.0, 1.0, 0.0, 0.1),
    }
    ids = [t.id for t in tracks]
    told = {
        "ids": np.array(ids),
        "log": state,
        "size": np.array(
            [[getattr(t.states[NOW], n) for n in ("length", "width", "height")] for t in tracks]
        ),
        "evaluated": np.array(submission_specs.get_evaluation_sim_agent_ids(scenario, kind)),
    }
    for way, poses in moved.items():
        scenes = [
            sim_agents_submission_pb2.JointScene(
                simulated_trajectories=[
                    sim_agents_submission_pb2.SimulatedTrajectory(
                        object_id=i, center_x=p[:, 0], center_y=p[:, 1], center_z=p[:, 2],
                        heading=p[:, 3],
                    )
                    for i, p in zip(ids, one, strict=True)
                ]
            )
            for one in poses
        ]  # fmt: skip
        both = metric_features.compute_scenario_rollouts_features(
            scenario, sim_agents_submission_pb2.ScenarioRollouts(joint_scenes=scenes), kind
        )
        found = metrics.compute_scenario_metrics_for_features_bundle(config, "", *both)
        told[f"{way} poses"] = poses.astype(np.float32)
        for field in found.DESCRIPTOR.fields:
            if field.name.endswith("_likelihood") or field.name == "metametric":
                told[f"{way} {field.name.removesuffix('_likelihood')}"] = getattr(
                    found, field.name
                )
    np.savez(out, **told)


def ours(source: Path, told: dict[str, np.ndarray], same: bool) -> dict[str, dict[str, float]]:
    """Our likelihoods of the same rollouts; of the very numbers that Waymo's code computes on, if wanted."""
    from formats import waymo_motion
    from lake.scenes import scenes_of
    from schemas.records import Log
    from simulation.realism import likelihoods, meta_metric
    from simulation.realism_features import features_of

    log = next(log for log in waymo_motion.read(source) if isinstance(log, Log))
    scene = next(iter(scenes_of(log)))
    if scene.steps != STEPS:
        raise SystemExit(f"{source}: {scene.steps} steps, {STEPS} are needed.")
    tracks = scene.tracks
    # Tracks are joined by where they are at the present, to the millimetre.
    here = told["log"][:, NOW, :2] - scene.origin[:2]
    apart = np.hypot(*np.moveaxis(here[:, None] - tracks.xy[:, NOW].astype(float), -1, 0))
    rows = np.where(tracks.valid[:, NOW], apart, np.inf).argmin(axis=1)
    evaluated = np.flatnonzero(np.isin(told["ids"], told["evaluated"]))
    # Waymo's order of the evaluated is theirs by id; likelihoods are means, whatever the order.
    xy, yaw = tracks.xy[rows].astype(float)[None], tracks.yaw[rows].astype(float)[None]
    z, valid = tracks.z[rows].astype(float)[None], tracks.valid[rows][None]
    if same:
        log_poses = told["log"].astype(np.float32).astype(float)[None]
        xy, z = log_poses[..., :2] - scene.origin[:2], log_poses[..., 2] - scene.origin[2]
        size = tracks.size.copy()
        size[rows] = told["size"]
        scene = replace(scene, tracks=replace(tracks, size=size))
    logged = features_of(scene, rows, evaluated, xy, z, yaw, valid)
    made = {}
    for way in WAYS:
        poses = told[f"{way} poses"].astype(float)
        many = len(poses)
        full = [np.repeat(value, many, axis=0) for value in (xy, z, yaw, valid)]
        full[0][:, :, NOW + 1 :] = poses[..., :2] - scene.origin[:2]
        full[1][:, :, NOW + 1 :] = poses[..., 2] - scene.origin[2]
        full[2][:, :, NOW + 1 :] = poses[..., 3]
        full[3][:, :, NOW + 1 :] = True
        known = likelihoods(logged, features_of(scene, rows, evaluated, *full))
        made[way] = {**known, "metametric": meta_metric(known)}
    return made


def as_scenario(source: Path, folder: Path) -> Path:
    """The file itself, or what a GPUDrive file says as a scenario."""
    from formats import gpudrive, waymo_motion
    from schemas.records import Log

    if source.suffix == ".tfrecord":
        return source
    logs = [log for log in gpudrive.read(source) if isinstance(log, Log)]
    made = folder / f"{source.name}.tfrecord"
    waymo_motion.write_logs(logs[:1], made)
    return made


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--python", type=Path, required=True, help="of the peer's environment")
    parser.add_argument("--rollouts", type=int, default=8)
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer is not None:
        official(options.sources[0], options.peer, options.rollouts)
        return
    sys.path.insert(0, str(Path(__file__).parents[1]))
    differences: dict[str, dict[bool, list[float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source in options.sources:
            record, out = as_scenario(source, folder), folder / "told.npz"
            command = [
                str(options.python), __file__, str(record), "--python", "x", "--peer", str(out),
                "--rollouts", str(options.rollouts),
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(
                    f"{source.name}: Waymo's code refuses it: {done.stderr.strip().splitlines()[-1]}"
                )
                continue
            told = dict(np.load(out))
            for same in (True, False):
                for way, known in ours(record, told, same).items():
                    for feature, value in known.items():
                        change = value - float(told[f"{way} {feature}"])
                        differences.setdefault(feature, {}).setdefault(same, []).append(change)
                        if same and abs(change) > MOST:
                            print(
                                f"{source.name}, {way}: {feature} {value:.4f} differs by {change:.4f}"
                            )
    print("\n| feature | compared | same numbers | as read |\n|---|---|---|---|")
    worst = 0.0
    for feature, found in differences.items():
        one, two = (max(map(abs, found[same])) for same in (True, False))
        worst = max(worst, one)
        print(f"| {feature} | {len(found[True])} | {one:.5f} | {two:.5f} |", flush=True)
    if not differences or worst > MOST:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
