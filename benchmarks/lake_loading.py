"""How fast are scenes loaded for training? The lake against ScenarioNet pickles and per-scene npz.

    python benchmarks/lake_loading.py [--logs 300] [--scenes 1000]

The same scenes of the procedural world are kept three ways: in a lake, as one ScenarioDescription
pickle a scene, and as one ``.npz`` a scene that holds exactly the arrays of a sample, packed or not.
Each way then gives the same scenes, drawn at random, as torch tensors; files are warm for all. What
pickles hold is stacked to tensors with the least work that is possible (roads stay polylines).

Pickles of a world drawn by hand are kind to pickle: few map features, no metadata. Where real ones lie
under ``$SCENELAKE_REAL_DATA`` they are loaded as they are, beside a lake and npz of the same scenes.
"""

from __future__ import annotations

import argparse
import gzip
import os
import pickle  # noqa: TID251 - what ScenarioNet keeps its scenarios in
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lake import Lake
from lake.training import SampleConfig, SceneDataset
from schemas.errors import MissingData
from schemas.labels import AgentClass, MapLayer
from schemas.records import Log
from schemas.scene import Scene
from simulation.world import make_log

FIRST_SEED = 70_000
REPEATS = 5


def logs(count: int) -> Iterator[Log]:
    """Logs of the world."""
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        try:
            yield make_log(seed)[0]
        except MissingData as error:
            print(error, file=sys.stderr)


def scenario_description(scene: Scene) -> dict[str, Any]:
    """A scene as ScenarioNet keeps it (ScenarioDescription of MetaDrive)."""
    tracks = scene.tracks
    steps = scene.steps
    return {
        "id": str(scene.scene_id),
        "version": "1.0",
        "length": steps,
        "tracks": {
            str(track): {
                "type": AgentClass(int(tracks.cls[n])).name,
                "state": {
                    "position": np.column_stack([tracks.xy[n], tracks.z[n]]).astype(np.float32),
                    "heading": tracks.yaw[n].astype(np.float32),
                    "velocity": tracks.velocity[n].astype(np.float32),
                    "length": np.full(steps, tracks.size[n, 0], dtype=np.float32),
                    "width": np.full(steps, tracks.size[n, 1], dtype=np.float32),
                    "height": np.full(steps, tracks.size[n, 2], dtype=np.float32),
                    "valid": tracks.valid[n].copy(),
                },
                "metadata": {"object_id": str(track), "track_length": steps},
            }
            for n, track in enumerate(tracks.track_id)
        },
        "dynamic_map_states": {
            str(lane): {
                "type": "TRAFFIC_LIGHT",
                "state": {"object_state": [str(s) for s in scene.signals.state[k]]},
                "stop_point": scene.signals.stop_xy[k].copy(),
                "lane": str(lane),
            }
            for k, lane in enumerate(scene.signals.lane)
        },
        "map_features": {
            str(feature.feature_id): {
                "type": MapLayer(feature.layer).name,
                "polyline": feature.points.astype(np.float32),
            }
            for feature in scene.map.features
        },
        "metadata": {"dataset": scene.dataset, "sdc_id": "0", "ts": np.arange(steps) / 10},
    }


def from_pickle(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a ScenarioDescription."""
    with path.open("rb") as file:
        scenario = pickle.load(file)
    states = [track["state"] for track in scenario["tracks"].values()]
    lines = [
        np.asarray(feature[kind])[:, :2].astype(np.float32)
        for feature in scenario["map_features"].values()
        for kind in ("polyline", "polygon")
        if len(feature.get(kind, ()))
    ]
    words: dict[object, int] = {}
    lights = [
        [words.setdefault(word, len(words)) for word in light["state"]["object_state"]]
        for light in scenario["dynamic_map_states"].values()
    ]
    made = {
        name: torch.from_numpy(np.stack([state[name] for state in states]))
        for name in states[0]
        if all(name in state for state in states)
    }
    made["points"] = torch.from_numpy(np.concatenate(lines))
    made["lines"] = torch.tensor([len(line) for line in lines])
    made["lights"] = torch.tensor(lights)
    return made


def from_npz(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a sample, as they were saved."""
    with np.load(path) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def timed(run: Callable[[], object]) -> float:
    """Least seconds of several runs."""
    best = float("inf")
    for _ in range(REPEATS):
        began = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - began)
    return best


def write_files(data: SceneDataset, lake: Lake, folder: Path) -> None:
    """Every scene as a pickle and as two kinds of npz."""
    for index, scene in enumerate(lake.scenes(data.scene_ids.tolist())):
        sample = {
            name: value.numpy()
            for name, value in data[index].items()
            if isinstance(value, torch.Tensor)
        }
        with (folder / f"{index}.pkl").open("wb") as file:
            pickle.dump(scenario_description(scene), file)
        np.savez(folder / f"{index}.npz", **sample)  # type: ignore[arg-type]
        np.savez_compressed(folder / f"{index}.packed.npz", **sample)  # type: ignore[arg-type]


def batches(order: Sequence[int], size: int) -> Iterator[list[int]]:
    """Consecutive pieces of an order."""
    for begin in range(0, len(order), size):
        yield list(order[begin : begin + size])


def table(lake: Lake, folder: Path, count: int) -> None:
    """Print how fast each way gives scenes drawn at random from a lake and the files of the folder."""
    data = lake.dataset()
    order = np.random.default_rng(0).integers(0, len(data), count).tolist()
    padded = lake.dataset(config=SampleConfig())
    agents = float(np.mean([len(data[i]["track_id"]) for i in range(len(data))]))
    pieces = float(np.mean([len(data[i]["road_layer"]) for i in range(len(data))]))
    print(
        f"{len(data)} scenes, {agents:.0f} agents and {pieces:.0f} road pieces on average; "
        f"{count} drawn at random, least of {REPEATS} runs.\n"
    )
    ways: dict[str, Callable[[], object]] = {
        "lake, 32 at a time": lambda: [data.__getitems__(b) for b in batches(order, 32)],
        "lake, one at a time": lambda: [data[i] for i in order],
        "npz": lambda: [from_npz(folder / f"{i}.npz") for i in order],
        "npz, compressed": lambda: [from_npz(folder / f"{i}.packed.npz") for i in order],
        "ScenarioNet pickle": lambda: [from_pickle(folder / f"{i}.pkl") for i in order],
        "lake, padded batches of 32": lambda: [padded.batch(b) for b in batches(order, 32)],
    }
    print("| way | scenes/s | lake is faster by | MB on disk |")
    print("|---|---|---|---|")
    size = {
        "lake, 32 at a time": sum(
            f.stat().st_size
            for name in ("dense", "dense_maps")
            for f in Path(lake.uri, f"{name}.lance").rglob("*")
            if f.is_file()
        ),
        "npz": sum((folder / f"{i}.npz").stat().st_size for i in range(len(data))),
        "npz, compressed": sum(
            (folder / f"{i}.packed.npz").stat().st_size for i in range(len(data))
        ),
        "ScenarioNet pickle": sum((folder / f"{i}.pkl").stat().st_size for i in range(len(data))),
    }
    first = 0.0
    for name, run in ways.items():
        seconds = timed(run)
        first = first or seconds
        told = f"{size[name] / 1e6:.1f}" if name in size else ""
        print(f"| {name} | {count / seconds:,.0f} | {seconds / first:.1f} | {told} |")
    print()


def drawn(folder: Path, count: int) -> Lake:
    """A lake of the world, and its scenes as files."""
    lake = Lake.create(folder / "lake")
    lake.add_logs(logs(count), run_id=1)
    write_files(lake.dataset(), lake, folder)
    return lake


def real(folder: Path, sources: Sequence[Path]) -> Lake:
    """A lake of real ScenarioNet pickles, and these themselves beside npz of the same scenes."""
    unpacked = folder / "sources"
    unpacked.mkdir()
    for source in sources:
        (unpacked / source.stem).write_bytes(gzip.decompress(source.read_bytes()))
    lake = Lake.create(folder / "lake")
    lake.ingest([unpacked])
    data = lake.dataset()
    write_files(data, lake, folder)
    columns = lake.sql(
        "SELECT scene_id, source_uri AS uri FROM scenes JOIN logs USING (log_id)"
    ).to_pydict()
    files = dict(zip(columns["scene_id"], columns["uri"], strict=True))
    for index, scene_id in enumerate(data.scene_ids.tolist()):
        shutil.copyfile(files[scene_id], folder / f"{index}.pkl")
    return lake


def main() -> None:
    """Read the options, do the steps."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--logs", type=int, default=300)
    options.add_argument("--scenes", type=int, default=1000)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="loading-") as name:
        print("The procedural world:", end=" ")
        table(drawn(Path(name), chosen.logs), Path(name), chosen.scenes)
    home = Path(os.environ.get("SCENELAKE_REAL_DATA", "nowhere"))
    sources = sorted(home.glob("scenarionet_*/*.pkl.gz"))
    if not sources:
        print("No real ScenarioNet pickles: set SCENELAKE_REAL_DATA to the real logs' folder.")
        return
    with tempfile.TemporaryDirectory(prefix="loading-") as name:
        print("Real ScenarioNet pickles (Waymo, nuScenes):", end=" ")
        table(real(Path(name), sources), Path(name), chosen.scenes)


if __name__ == "__main__":
    main()
