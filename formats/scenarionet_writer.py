"""Scenes as ScenarioNet's database: a ``ScenarioDescription`` a scene, with the two index files.

    sd_scenelake_<dataset>_<scene>.pkl
    dataset_summary.pkl    file → metadata of its scenario
    dataset_mapping.pkl    file → folder it lies in, here always ""

MetaDrive drives such a folder as it is; the index files of a folder that is written to again are
extended. Positions are the source's own, in metres as float64; MetaDrive shifts them to the ego's
first. States that were not observed are zero, as MetaDrive's own check wants it.

What the format has no words for: trucks and buses are vehicles, motorcycles cyclists, animals and
what is not known ``OTHER`` (the finer word stands in each track's metadata); signals that are off
are unknown; features of the map that are neither lanes, lines, edges, crosswalks, walkways, stop
signs, speed bumps nor driveways are left out, and so are the heights of the sides of lanes.
:mod:`formats.scenarionet` reads it all back.

Source: github.com/metadriverse/metadrive, ``metadrive/scenario/scenario_description.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from formats.openscenario import DEFAULT_SIZE, SMALLEST_SIZE
from formats.registry import WriteReport
from formats.safe_pickle import dump, load
from formats.scenarionet import INDEX_FILES, KMH
from geometry.arrays import Array
from schemas.errors import ExportRefused
from schemas.labels import AgentClass, EdgeKind, LaneType, LightState, MapLayer
from schemas.records import MapFeature, RoadMap
from schemas.scene import DT, Scene

VERSION = "scenelake 1"
TYPES = {
    AgentClass.VEHICLE: "VEHICLE",
    AgentClass.TRUCK: "VEHICLE",
    AgentClass.BUS: "VEHICLE",
    AgentClass.MOTORCYCLE: "CYCLIST",
    AgentClass.CYCLIST: "CYCLIST",
    AgentClass.PEDESTRIAN: "PEDESTRIAN",
    AgentClass.OBSTACLE: "TRAFFIC_OBJECT",
}
"""Every other class is ``OTHER``."""
LANES = {
    LaneType.VEHICLE: "LANE_SURFACE_STREET",
    LaneType.FREEWAY: "LANE_FREEWAY",
    LaneType.BIKE: "LANE_BIKE_LANE",
}
"""Every other lane is ``LANE_UNKNOWN``."""
LINES = {MapLayer.ROAD_LINE: "UNKNOWN_LINE", MapLayer.ROAD_EDGE: "ROAD_EDGE_BOUNDARY"}
KNOWN_LINES = frozenset(
    {
        "ROAD_LINE_BROKEN_SINGLE_WHITE", "ROAD_LINE_SOLID_SINGLE_WHITE",
        "ROAD_LINE_SOLID_DOUBLE_WHITE", "ROAD_LINE_BROKEN_SINGLE_YELLOW",
        "ROAD_LINE_BROKEN_DOUBLE_YELLOW", "ROAD_LINE_SOLID_SINGLE_YELLOW",
        "ROAD_LINE_SOLID_DOUBLE_YELLOW", "ROAD_LINE_PASSING_DOUBLE_YELLOW",
        "ROAD_EDGE_BOUNDARY", "ROAD_EDGE_MEDIAN",
    }
)  # fmt: skip
"""Source types that MetaDrive has, and that are kept."""
AREAS = {
    MapLayer.CROSSWALK: "CROSSWALK",
    MapLayer.WALKWAY: "ROAD_EDGE_SIDEWALK",
    MapLayer.SPEED_BUMP: "SPEED_BUMP",
    MapLayer.DRIVEWAY: "DRIVEWAY",
}
LIGHTS = {
    LightState.RED: "LANE_STATE_STOP",
    LightState.YELLOW: "LANE_STATE_CAUTION",
    LightState.GREEN: "LANE_STATE_GO",
}
"""Every other state is ``LANE_STATE_UNKNOWN``."""
PAINTED = ("ROAD_LINE", "UNKNOWN_LINE")
"""Of these alone is the difference in height in the summary."""
MOVING_M = 1.0
"""What has come farther than this counts as moving in the summary."""


def write(scenes: Sequence[Scene], folder: Path) -> WriteReport:
    """A pickle a scene, and the index of the folder.

    Args:
        scenes: What to write.
        folder: Where to; made if it is not there.

    Returns:
        The pickles of the scenes, and the scenes that were refused with the reason.

    Raises:
        UnreadableFile: The folder has an index that cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    summary_file, mapping_file = (folder / name for name in INDEX_FILES)
    summary = load(summary_file) if summary_file.exists() else {}
    mapping = load(mapping_file) if mapping_file.exists() else {}
    files: list[Path] = []
    refused: list[tuple[int, str]] = []
    for scene in scenes:
        try:
            scenario = description(scene)
        except ExportRefused as error:
            refused.append((scene.scene_id, error.reason))
            continue
        path = folder / f"sd_{scenario['metadata']['dataset']}_{scene.scene_id}.pkl"
        dump(scenario, path)
        files.append(path)
        summary[path.name] = scenario["metadata"] | {"ts": scenario["metadata"]["ts"].tolist()}
        mapping[path.name] = ""
    if files:
        dump(summary, summary_file)
        dump(mapping, mapping_file)
    return WriteReport(files=files, refused=refused)


def description(scene: Scene) -> dict[str, Any]:
    """The scenario of a scene, of plain values and arrays.

    Raises:
        ExportRefused: The scene has no ego, no lanes, or values that are not finite.
    """
    _check(scene)
    keys = _keys(scene.map)
    tracks = {
        str(track): _track(scene, agent)
        for agent, track in enumerate(scene.tracks.track_id.tolist())
        if scene.tracks.valid[agent].any()
    }
    lights = _lights(scene, keys)
    features = _features(scene.map, scene.origin, keys)
    dataset = "".join(c if c.isalnum() else "_" for c in scene.dataset.lower())
    return {
        "id": scene.name,
        "version": VERSION,
        "length": scene.steps,
        "tracks": tracks,
        "dynamic_map_states": lights,
        "map_features": features,
        "metadata": {
            "ts": np.arange(scene.steps) * DT,
            "metadrive_processed": False,
            "coordinate": "waymo",
            "dataset": f"scenelake_{dataset}",
            "scenario_id": scene.name,
            "sdc_id": str(int(scene.tracks.track_id[0])),
            "track_length": scene.steps,
            "sample_rate": DT,
            "current_time_index": scene.anchor,
            "origin": scene.origin.tolist(),
            "source": scene.source,
            **_summaries(tracks, lights, features),
        },
    }


def _check(scene: Scene) -> None:
    def refuse(reason: str) -> ExportRefused:
        return ExportRefused(scene.name, "scenarionet", reason)

    if not scene.has_ego or not scene.tracks.valid[0].any():
        raise refuse("it has no ego, whom MetaDrive drives")
    if not any(len(lane.points) > 1 for lane in scene.map.of_layer(MapLayer.LANE)):
        raise refuse("it has no lanes, on which MetaDrive drives")
    for name in ("xy", "z", "yaw", "velocity"):
        if not np.isfinite(getattr(scene.tracks, name)[scene.tracks.valid]).all():
            raise refuse(f"some {name} is not finite")


# ── Who moves ────────────────────────────────────────────────────────────────────────────────────


def _track(scene: Scene, agent: int) -> dict[str, Any]:
    tracks = scene.tracks
    valid = tracks.valid[agent]
    cls = AgentClass(int(tracks.cls[agent]))
    xyz = np.column_stack([tracks.xy[agent], tracks.z[agent]]) + scene.origin
    states: dict[str, Array] = {
        "position": xyz,
        "heading": tracks.yaw[agent].astype(np.float64),
        "velocity": tracks.velocity[agent].astype(np.float64),
    }
    size = _size(cls, tracks.size[agent])
    states |= {
        name: np.full(len(valid), extent)
        for name, extent in zip(("length", "width", "height"), size, strict=True)
    }
    word = TYPES.get(cls, "OTHER")
    return {
        "type": word,
        "state": {
            name: np.where(valid.reshape(-1, *[1] * (state.ndim - 1)), state, 0.0)
            for name, state in states.items()
        }
        | {"valid": valid.copy()},
        "metadata": {
            "type": word if cls in (AgentClass.VEHICLE, AgentClass.OBSTACLE) else cls.name,
            "object_id": str(int(tracks.track_id[agent])),
            "track_length": len(valid),
            "dataset": scene.dataset,
        },
    }


def _size(cls: AgentClass, told: Array) -> list[float]:
    """Length, width, height; what is not known is that of a usual one [m]."""
    small = cls in (AgentClass.OBSTACLE, AgentClass.OTHER, AgentClass.UNKNOWN)
    usual = DEFAULT_SIZE.get(cls, SMALLEST_SIZE if small else DEFAULT_SIZE[AgentClass.VEHICLE])
    return [float(t) if t > 0.0 else u for t, u in zip(told, usual, strict=True)]


def _lights(scene: Scene, keys: Mapping[int, str]) -> dict[str, Any]:
    signals, found = scene.signals, {}
    for row, feature_id in enumerate(signals.lane.tolist()):
        if feature_id not in keys:
            continue
        key, lane = keys[feature_id], scene.map.features[feature_id]
        stop = lane.points[0].astype(np.float64) + scene.origin
        if signals.has_stop[row]:
            stop[:2] = signals.stop_xy[row] + scene.origin[:2]
        words = [
            LIGHTS.get(LightState(s), "LANE_STATE_UNKNOWN") for s in signals.state[row].tolist()
        ]
        found[key] = {
            "type": "TRAFFIC_LIGHT",
            "lane": key,
            "stop_point": stop,
            "state": {"object_state": words},
            "metadata": {
                "type": "TRAFFIC_LIGHT",
                "object_id": key,
                "track_length": scene.steps,
                "dataset": scene.dataset,
            },
        }
    return found


# ── The map ──────────────────────────────────────────────────────────────────────────────────────


def _keys(road: RoadMap) -> dict[int, str]:
    """Feature → its id: the source's, with the layer before it where two layers share one."""
    written = [f for f in road.features if _word(f) is not None]
    times = Counter(feature.source_id for feature in written)
    return {
        f.feature_id: f.source_id if times[f.source_id] == 1 else f"{f.layer.word}_{f.source_id}"
        for f in written
    }


def _word(feature: MapFeature) -> str | None:
    """MetaDrive's type; None if it has none."""
    if feature.layer is MapLayer.LANE:
        if len(feature.points) < 2:
            return None
        street = LANES.get(feature.lane_type, "LANE_UNKNOWN")
        inside = feature.in_intersection and feature.lane_type is LaneType.VEHICLE
        return "LANE_SURFACE_UNSTRUCTURE" if inside else street
    if feature.layer in LINES:
        kept = feature.source_type in KNOWN_LINES
        return feature.source_type if kept else LINES[feature.layer]
    return "STOP_SIGN" if feature.layer is MapLayer.STOP_SIGN else AREAS.get(feature.layer)


def _features(road: RoadMap, origin: Array, keys: Mapping[int, str]) -> dict[str, Any]:
    after, before, left, right, stops = (
        _linked(road, keys, kind)
        for kind in (
            EdgeKind.SUCCESSOR, EdgeKind.PREDECESSOR, EdgeKind.LEFT, EdgeKind.RIGHT,
            EdgeKind.STOP_LINE_OF_LANE,
        )
    )  # fmt: skip
    features: dict[str, Any] = {}
    for feature_id, key in keys.items():
        feature = road.features[feature_id]
        points = feature.points.astype(np.float64) + origin
        points = points if feature.has_z else points[:, :2]
        made: dict[str, Any] = {"type": _word(feature)}
        if feature.layer is MapLayer.LANE:
            made |= {
                "polyline": points,
                "entry_lanes": before[feature_id],
                "exit_lanes": after[feature_id],
                "left_neighbor": left[feature_id],
                "right_neighbor": right[feature_id],
                "left_boundaries": [],
                "right_boundaries": [],
            }
            if feature.left is not None and feature.right is not None:
                ring = np.concatenate([feature.left, feature.right[::-1], feature.left[:1]])
                made["polygon"] = (ring.astype(np.float64) + origin)[:, :2]
            if feature.speed_limit is not None:
                made["speed_limit_kmh"] = float(feature.speed_limit) * KMH
        elif feature.layer is MapLayer.STOP_SIGN:
            made |= {"position": points[0], "lane": stops[feature_id]}
        else:
            made["polyline" if feature.layer in LINES else "polygon"] = points
        features[key] = made
    return features


def _linked(road: RoadMap, keys: Mapping[int, str], kind: EdgeKind) -> dict[int, list[str]]:
    """Feature → where its edges of one kind lead; what follows also comes before, and reversed."""
    found: dict[int, dict[str, None]] = {feature_id: {} for feature_id in keys}
    opposite = {
        EdgeKind.SUCCESSOR: EdgeKind.PREDECESSOR, EdgeKind.PREDECESSOR: EdgeKind.SUCCESSOR,
    }.get(kind)  # fmt: skip
    for begin, how, end in road.edges.tolist():
        if begin in keys and end in keys:
            if how == kind:
                found[begin][keys[end]] = None
            elif how == opposite:
                found[end][keys[begin]] = None
    return {feature_id: list(to) for feature_id, to in found.items()}


# ── Summaries ────────────────────────────────────────────────────────────────────────────────────


def _summaries(
    tracks: Mapping[str, Any], lights: Mapping[str, Any], features: Mapping[str, Any]
) -> dict[str, Any]:
    """Counts by which ScenarioNet filters scenarios."""
    objects = {key: _object_summary(key, track) for key, track in tracks.items()}
    types = Counter(track["type"] for track in tracks.values())
    moving = Counter(o["type"] for o in objects.values() if o["moving_distance"] > MOVING_M)
    shown = Counter(word for light in lights.values() for word in light["state"]["object_state"])
    heights = [
        feature["polyline"][:, 2]
        for feature in features.values()
        if feature["type"].startswith(PAINTED) and feature["polyline"].shape[1] == 3
    ]
    z = np.concatenate(heights) if heights else np.zeros(1)
    return {
        "object_summary": objects,
        "number_summary": {
            "num_objects": len(tracks),
            "object_types": sorted(types),
            "num_objects_each_type": dict(types),
            "num_moving_objects": sum(moving.values()),
            "num_moving_objects_each_type": dict(moving),
            "num_traffic_lights": len(lights),
            "num_traffic_light_types": sorted(shown),
            "num_traffic_light_each_step": dict(shown),
            "num_map_features": len(features),
            "map_height_diff": float(np.ptp(z)),
        },
    }


def _object_summary(key: str, track: Mapping[str, Any]) -> dict[str, Any]:
    valid = track["state"]["valid"]
    path = track["state"]["position"][valid, :2]
    first = int(valid.argmax())
    gaps = np.flatnonzero(~valid[first:])
    return {
        "type": track["type"],
        "object_id": key,
        "track_length": len(valid),
        "moving_distance": float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum()),
        "valid_length": int(valid.sum()),
        "continuous_valid_length": int(gaps[0]) if len(gaps) else len(valid) - first,
    }
