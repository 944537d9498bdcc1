"""A log and its scenes as rows of the long tables.

Every function takes what :mod:`lake.localise` made and writes one table with its schema of
:mod:`schemas.tables`: what is not known becomes null, what was not observed ``valid == false``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from geometry.arrays import Array
from geometry.bundles import Bundle
from lake.dense import PACKING, pack_pieces, pack_signals, pack_tracks
from lake.ids import stable_id
from lake.json_text import as_json as as_json
from lake.localise import LocalLog
from lake.pieces import road_pieces
from lake.roadmap import turns_of
from lake.scenes import spans
from schemas.labels import (
    AREAS,
    VULNERABLE,
    AgentClass,
    EdgeKind,
    LightState,
    MapLayer,
)
from schemas.records import EgoStates, MapFeature, Note, SourceEvent
from schemas.scene import DT, Scene
from schemas.tables import TABLES

MAP_TABLES = ("map_features", "map_edges", "dense_maps")
"""Tables of what logs may share."""

LOG_TABLES = (
    *MAP_TABLES, "sensors", "ego", "agents", "tracks", "lights", "frames",
    "readings", "events", "scenes", "dense", "logs", "ledger",
)  # fmt: skip
"""What a log's rows are spread over, in the order in which they are committed: what others refer
to before what refers, and the ledger, which says that it came in, last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """Where a log came from and what made its rows.

    Attributes:
        sha256: Fingerprint of the bytes that were read.
        converter: Reader and version.
        run_id: The run that makes the rows.
        source: ``log`` or ``generated``.
        format: Name of the reader, None for logs made in memory.
        uri: What was read, for the ledger.
    """

    sha256: str
    converter: str
    run_id: int
    source: str = "log"
    format: str | None = None
    uri: str = ""


def tables_of(
    local: LocalLog, scenes: Sequence[Scene], origins: Origins, *, maps: bool = True
) -> dict[str, pa.Table]:
    """The rows of one log in every table, its ledger included.

    Args:
        local: The log.
        scenes: Cut from it.
        origins: Where it came from.
        maps: False: leave the map's tables empty, as a later part of a log has the first one's.
    """
    entries = ledger_entries(local, origins, windows=len(spans(local)), scenes=len(scenes))
    log = local.log
    group = log.extra.get("split_group") or f"{log.dataset}/{log.source_log_id}"
    none = {name: TABLES[name].schema.empty_table() for name in MAP_TABLES}
    made = {
        **(map_tables(local) if maps else none),
        "sensors": sensors_table(local),
        "ego": ego_table(local),
        "agents": agents_table(local),
        "tracks": tracks_table(local),
        "lights": lights_table(local),
        "frames": frames_table(local),
        "readings": readings_table(local),
        "events": events_table(local, origins.run_id),
        "scenes": scenes_table(scenes, origins.run_id, split_group=str(group)),
        "dense": dense_table(scenes, origins.run_id),
        "logs": logs_table(local, origins),
        "ledger": ledger_table(entries),
    }
    assert tuple(made) == LOG_TABLES
    return made


def as_table(name: str, columns: Mapping[str, Any]) -> pa.Table:
    """Columns as a table of the schema of that name; a missing one that may be null is null.

    Values are Arrow arrays, numpy arrays, lists, or ``(values, known)`` pairs.
    """
    schema = TABLES[name].schema
    known = [value for value in columns.values() if not isinstance(value, int | str | float)]
    first = known[0][0] if isinstance(known[0], tuple) else known[0]
    count = len(first)
    arrays = []
    for field in schema:
        if field.name not in columns:
            assert field.nullable, f"{name}.{field.name} is not given"
            arrays.append(pa.nulls(count, field.type))
            continue
        arrays.append(_column(columns[field.name], field.type, count))
    unknown = set(columns) - set(schema.names)
    assert not unknown, f"{name} has no columns {sorted(unknown)}"
    return pa.Table.from_arrays(arrays, schema=schema)


def ledger_table(entries: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Ledger rows; their ids follow from their content, so that a second telling is the same."""
    rows = []
    for entry in entries:
        row = {"record": "", "source_sha256": None, "format": None, "log_id": None, "count": 1}
        row |= {k: _utf8(v) if isinstance(v, str) else v for k, v in entry.items()}
        same = ("uri", "record", "source_sha256", "log_id", "kind", "reason")
        row["entry_id"] = stable_id("ledger", *(row[key] for key in same))
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=TABLES["ledger"].schema)


def _utf8(text: str) -> str:
    """The text with what UTF-8 cannot hold spelt out: JSON may tell halves of letters."""
    return text.encode("utf-8", "backslashreplace").decode()


def note_entry(note: Note, origins: Origins, *, record: str, log_id: int | None) -> dict[str, Any]:
    """A note as a row of the ledger."""
    return {
        "uri": origins.uri, "record": note.record or record, "source_sha256": origins.sha256,
        "format": origins.format, "log_id": log_id, "kind": note.kind, "reason": note.reason,
        "count": note.count, "run_id": origins.run_id,
    }  # fmt: skip


def recorded_ns(local: LocalLog) -> tuple[int, int] | None:
    """The first and last time of whatever was recorded: states, signals, captures, readings [ns]."""
    log = local.log
    times = [local.rows.t_ns[local.rows.valid], local.lights.t_ns]
    times.append(np.array([frame.t_ns for frame in log.frames], dtype=np.int64))
    times += [np.asarray(series.t_ns) for series in log.readings]
    some = [t for t in times if len(t)]
    return (min(int(t.min()) for t in some), max(int(t.max()) for t in some)) if some else None


def logs_table(local: LocalLog, origins: Origins) -> pa.Table:
    """One row: the log itself."""
    log, span = local.log, recorded_ns(local)
    extra = dict(log.extra)
    if log.map.source_map_id:
        extra["source_map_id"] = log.map.source_map_id
    if log.windows:
        extra["windows"] = [
            [w.source_scene_id, w.t0_ns, w.t1_ns, w.anchor_ns] for w in log.windows
        ]
    row = {
        "log_id": local.log_id, "dataset": log.dataset, "split": log.split,
        "source_log_id": log.source_log_id, "source_uri": log.source_uri,
        "source_record": log.record, "source_sha256": origins.sha256, "license": log.license,
        "location": log.location, "map_id": local.roads.map_id, "t0_unix_ns": log.t0_unix_ns,
        "dur_ns": 0 if span is None else span[1] - span[0], "rate_hz": log.rate_hz,
        "origin_x": local.origin[0], "origin_y": local.origin[1], "origin_z": local.origin[2],
        "epsg": log.epsg, "weather": None if log.weather is None else log.weather.word,
        "daylight": None if log.daylight is None else log.daylight.word,
        "has_ego": log.ego is not None, "has_lights": len(local.lights.t_ns) > 0,
        "n_agents": int((local.tracks.track_id > 0).sum()), "n_frames": len(log.frames),
        "distance_m": None if log.ego is None else _path_length(local, *_span(local, 0)),
        "extra": as_json(extra) if extra else None, "converter": origins.converter,
        "run_id": origins.run_id,
    }  # fmt: skip
    return pa.Table.from_pylist([row], schema=TABLES["logs"].schema)


def ego_table(local: LocalLog) -> pa.Table:
    """The ego's states."""
    begin, end = _span(local, 0)
    rows = slice(begin, end)
    if local.log.ego is None or begin == end:
        return TABLES["ego"].schema.empty_table()
    ego: EgoStates = local.log.ego
    source, valid = local.rows.source_row[rows], local.rows.valid[rows]
    columns = _state(local, rows)
    attitude = None if ego.quaternion is None else np.asarray(ego.quaternion)[source]
    for k, name in enumerate(("qw", "qx", "qy", "qz")):
        if attitude is not None:
            columns[name] = _finite(attitude[:, k], valid)
    for name, told in (("ax", ego.acceleration), ("yaw_rate", ego.yaw_rate),
                       ("steering", ego.steering)):  # fmt: skip
        if told is not None:
            columns[name] = _finite(np.asarray(told)[source], valid)
    return as_table("ego", columns)


def agents_table(local: LocalLog) -> pa.Table:
    """Everyone else's states, sorted by track and time."""
    begin = _span(local, 0)[1]
    rows = slice(begin, len(local.rows.t_ns))
    which = np.searchsorted(local.tracks.track_id, local.rows.track[rows])
    words = pa.array(AgentClass.words())
    cls = local.tracks.cls[which] if len(which) else np.zeros(0, dtype=np.int64)
    return as_table("agents", {**_state(local, rows), "cls": words.take(pa.array(cls))})


def tracks_table(local: LocalLog) -> pa.Table:
    """One row a track, the ego's first."""
    who, rows = local.tracks, local.rows
    if not len(who.track_id):
        return TABLES["tracks"].schema.empty_table()
    begin = np.searchsorted(rows.track, who.track_id)
    seen = np.add.reduceat(rows.valid, begin, dtype=np.int64)
    # Times of a track ascend: its first valid row is the one with the least time.
    never = (seen == 0)[np.searchsorted(who.track_id, rows.track)]
    counts = rows.valid | never
    none = np.iinfo(np.int64)
    first = np.minimum.reduceat(np.where(counts, rows.t_ns, none.max), begin)
    last = np.maximum.reduceat(np.where(counts, rows.t_ns, none.min), begin)
    speed = np.where(rows.has_velocity, np.hypot(*rows.velocity.T), -1.0)
    fastest = np.maximum.reduceat(speed, begin).astype(np.float64)
    measured = np.logical_or.reduceat(rows.measured, begin)
    told = np.where(measured, "measured", np.where(fastest >= 0.0, "derived", "none"))
    ends = np.append(begin, len(rows.track))[1:]
    length = [
        _path_length(local, a, b) for a, b in zip(begin.tolist(), ends.tolist(), strict=True)
    ]
    return as_table(
        "tracks",
        {
            "log_id": np.full(len(first), local.log_id), "track_id": who.track_id,
            "source_track_id": list(who.source_track_id),
            "cls": [AgentClass(c).word for c in who.cls], "source_cls": list(who.source_cls),
            "is_ego": who.track_id == 0, "t_first_ns": first, "t_last_ns": last, "n_obs": seen,
            "path_len": length, "v_max": (fastest, fastest >= 0.0),
            "velocity_source": told.tolist(),
        },
    )  # fmt: skip


def lights_table(local: LocalLog) -> pa.Table:
    """Signal states, sorted by lane and time."""
    lights, states = local.lights, local.log.lights
    signal, row = lights.signal, lights.source_row
    lane = lights.lane[signal] if len(signal) else np.zeros(0, dtype=np.int64)
    stop = np.asarray(states.stop_xyz, dtype=np.float64).reshape(-1, 3)[row, :2]
    stop = stop - local.origin[:2]
    known = np.isfinite(stop).all(axis=1)
    return as_table(
        "lights",
        {
            "log_id": np.full(len(row), local.log_id), "lane_id": (lane, lane >= 0),
            "source_lane_id": [lights.source_lane_id[i] for i in signal], "t_ns": lights.t_ns,
            "state": [LightState(s).word for s in lights.state],
            "arrow": np.asarray(states.arrow, dtype=bool)[row],
            "flashing": np.asarray(states.flashing, dtype=bool)[row],
            "source_state": [states.source_state[i] for i in row],
            "stop_x": (stop[:, 0], known), "stop_y": (stop[:, 1], known),
        },
    )  # fmt: skip


def map_tables(local: LocalLog) -> dict[str, pa.Table]:
    """The map's rows; logs that share a map make the same."""
    return {
        "map_features": map_features_table(local),
        "map_edges": map_edges_table(local),
        "dense_maps": dense_maps_table(local),
    }


def dense_maps_table(local: LocalLog) -> pa.Table:
    """The map as pieces of equal shape."""
    if local.roads.map_id is None:
        return TABLES["dense_maps"].schema.empty_table()
    pieces = road_pieces(local.roads.map)
    row = {
        "map_id": local.roads.map_id, "n_pieces": len(pieces.layer),
        "pieces": pack_pieces(pieces), "packing": PACKING,
    }  # fmt: skip
    return pa.Table.from_pylist([row], schema=TABLES["dense_maps"].schema)


def map_features_table(local: LocalLog) -> pa.Table:
    """The map's features; logs that share a map make the same rows."""
    features = local.roads.map.features
    if not features:
        return TABLES["map_features"].schema.empty_table()
    lines = Bundle.of([f.points for f in features])
    low = np.minimum.reduceat(lines.points[:, :2], lines.first)
    high = np.maximum.reduceat(lines.points[:, :2], lines.first)
    shapes, lengths = _shapes(features, lines)
    lane = [f.layer == MapLayer.LANE for f in features]
    return as_table(
        "map_features",
        {
            "map_id": np.full(len(features), local.roads.map_id),
            "feature_id": [f.feature_id for f in features],
            "source_feature_id": [f.source_id for f in features],
            "layer": [f.layer.word for f in features],
            "source_type": [f.source_type for f in features],
            "lane_type": [
                f.lane_type.word if is_lane else None
                for f, is_lane in zip(features, lane, strict=True)
            ],
            "xmin": low[:, 0], "ymin": low[:, 1], "xmax": high[:, 0], "ymax": high[:, 1],
            "polyline": _lines([f.points for f in features]),
            "left_boundary": _lines([f.left for f in features]),
            "right_boundary": _lines([f.right for f in features]),
            "wkb": list(shapes), "length_m": lengths,
            "speed_limit": [f.speed_limit for f in features],
            "in_intersection": [f.in_intersection for f in features],
            "turn": [
                turn if is_lane else None
                for turn, is_lane in zip(turns_of(lines), lane, strict=True)
            ],
            "has_z": [f.has_z for f in features],
        },
    )  # fmt: skip


def map_edges_table(local: LocalLog) -> pa.Table:
    """The map's graph, what we found of it after what the source states."""
    edges = local.roads.map.edges
    if not len(edges):
        return TABLES["map_edges"].schema.empty_table()
    return as_table(
        "map_edges",
        {
            "map_id": np.full(len(edges), local.roads.map_id), "from_id": edges[:, 0],
            "kind": [EdgeKind(kind).word for kind in edges[:, 1]], "to_id": edges[:, 2],
            "derived": local.roads.derived,
        },
    )  # fmt: skip


def sensors_table(local: LocalLog) -> pa.Table:
    """Sensors and their calibration."""
    rows = []
    for index, sensor in enumerate(local.log.sensors):
        pose = sensor.ego_from_sensor
        names = ("ext_x", "ext_y", "ext_z", "ext_qw", "ext_qx", "ext_qy", "ext_qz")
        placed = {} if pose is None else dict(zip(names, map(float, pose), strict=True))
        rows.append(
            {
                "log_id": local.log_id, "sensor_id": index, "channel": sensor.channel,
                "kind": sensor.kind, "model": sensor.model,
                "intrinsics": list(map(float, sensor.intrinsics)) or None,
                "distortion": list(map(float, sensor.distortion)) or None,
                "width": sensor.width, "height": sensor.height, **placed,
            }
        )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=TABLES["sensors"].schema)


def frames_table(local: LocalLog) -> pa.Table:
    """Captures by reference, sorted by sensor and time."""
    frames = local.log.frames
    if not frames:
        return TABLES["frames"].schema.empty_table()
    number = _sensor_numbers(local)
    ordered = sorted(
        ((number[f.channel], f) for f in frames), key=lambda pair: (pair[0], pair[1].t_ns)
    )
    unknown = (math.nan,) * 7
    poses = np.array([f.world_from_ego or unknown for _, f in ordered], dtype=np.float64)
    poses[:, :3] -= local.origin
    placed = np.isfinite(poses).all(axis=1)
    names = ("ego_x", "ego_y", "ego_z", "ego_qw", "ego_qx", "ego_qy", "ego_qz")
    return as_table(
        "frames",
        {
            "log_id": np.full(len(ordered), local.log_id), "sensor_id": [n for n, _ in ordered],
            "channel": [f.channel for _, f in ordered], "t_ns": [f.t_ns for _, f in ordered],
            "t_end_ns": [f.t_end_ns for _, f in ordered], "uri": [f.uri for _, f in ordered],
            "byte_offset": [f.offset for _, f in ordered],
            "byte_size": [f.size for _, f in ordered],
            "container": [f.container for _, f in ordered],
            "codec": [f.codec for _, f in ordered],
            "frame_index": [f.frame_index for _, f in ordered],
            "pts": [f.pts for _, f in ordered], "keyframe": [f.keyframe for _, f in ordered],
            **{name: (poses[:, k], placed) for k, name in enumerate(names)},
        },
    )  # fmt: skip


def readings_table(local: LocalLog) -> pa.Table:
    """Time series, sorted by sensor, quantity and time."""
    number = _sensor_numbers(local)
    parts = [TABLES["readings"].schema.empty_table()]
    told = [series for series in local.log.readings if len(series.t_ns)]
    for series in sorted(told, key=lambda r: (number[r.channel], r.signal)):
        count = len(series.t_ns)
        nothing = np.full(count, math.nan)
        value = nothing if series.value is None else np.asarray(series.value, dtype=np.float64)
        columns = {
            "log_id": np.full(count, local.log_id), "sensor_id": number[series.channel],
            "channel": series.channel, "signal": series.signal,
            "t_ns": np.asarray(series.t_ns), "value": (value, np.isfinite(value)),
            "unit": series.unit,
        }  # fmt: skip
        if series.text is not None:
            columns["text"] = list(series.text)
        parts.append(as_table("readings", columns))
    return pa.concat_tables(parts)


def _sensor_numbers(local: LocalLog) -> dict[str, int]:
    """The ``sensor_id`` of each channel."""
    return {sensor.channel: index for index, sensor in enumerate(local.log.sensors)}


def events_table(local: LocalLog, run_id: int) -> pa.Table:
    """Tags of the source, one to one."""
    track_of = {name: number for name, (number, _) in local.known.items()}
    part = (local.log.part,) if local.log.part else ()
    rows = [
        {
            "event_id": stable_id("source_event", local.log_id, *part, index), "log_id": local.log_id,
            "name": event.name, "t0_ns": event.t0_ns, "t1_ns": event.t1_ns,
            "actor_id": _int_or_none(track_of.get(event.source_track_id or "")),
            "other_id": _int_or_none(track_of.get(event.other_track_id or "")),
            "truth": "true", "evidence": as_json(evidence) if evidence else None,
            "source": "dataset", "run_id": run_id,
        }
        for index, event in enumerate(local.log.events)
        for evidence in ({**event.detail, **_strangers(event, local)},)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=TABLES["events"].schema)


def _strangers(event: SourceEvent, local: LocalLog) -> dict[str, str]:
    """The source's ids of actors who have no track, and so no id of ours."""
    told = {"source_track_id": event.source_track_id, "other_track_id": event.other_track_id}
    return {key: name for key, name in told.items() if name and name not in local.known}


def notes_of_strangers(local: LocalLog) -> list[Note]:
    """What the ledger says of events whose actors have no track."""
    count = sum(bool(_strangers(event, local)) for event in local.log.events)
    reason = "events about tracks without states; their evidence keeps the source's id"
    return [Note(kind="missing", reason=reason, count=count)] if count else []


def scenes_table(scenes: Sequence[Scene], run_id: int, *, split_group: str) -> pa.Table:
    """One row a scene, with the figures by which scenes are looked for."""
    rows = []
    for scene in scenes:
        tracks = scene.tracks
        others = tracks.track_id > 0
        seen = tracks.xy[tracks.valid]
        row = {
            "scene_id": scene.scene_id, "log_id": scene.log_id, "name": scene.name,
            "source": scene.source, "dataset": scene.dataset, "t0_ns": scene.t0_ns,
            "t_anchor_ns": scene.t0_ns + round(scene.anchor * DT * 1e9),
            "t1_ns": scene.t0_ns + round((scene.steps - 1) * DT * 1e9),
            "n_agents": int(others.sum()),
            "n_vru": int((others & np.isin(tracks.cls, [int(c) for c in VULNERABLE])).sum()),
            "n_lights": len(scene.signals.lane), "has_ego": scene.has_ego,
            "has_map": scene.has_map, "road_type": scene.road_type.word,
            "weather": None if scene.weather is None else scene.weather.word,
            "daylight": None if scene.daylight is None else scene.daylight.word,
            "split_group": split_group, "run_id": run_id,
        }  # fmt: skip
        if len(seen):
            low, high = seen.min(axis=0), seen.max(axis=0)
            row |= {"xmin": low[0], "ymin": low[1], "xmax": high[0], "ymax": high[1]}
        if scene.has_ego:
            valid = tracks.valid[0]
            pair = valid[1:] & valid[:-1]
            steps = np.linalg.norm(np.diff(tracks.xy[0], axis=0), axis=1)
            row["ego_v_mean"] = float(tracks.speed[0][valid].mean())
            row["ego_distance_m"] = float(steps[pair].sum())
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=TABLES["scenes"].schema)


def dense_table(scenes: Sequence[Scene], run_id: int) -> pa.Table:
    """The scenes' arrays as bytes."""
    rows = [
        {
            "scene_id": scene.scene_id, "n_agents": len(scene.tracks.track_id),
            "n_steps": scene.steps, "n_signals": len(scene.signals.lane),
            "tracks": pack_tracks(scene.tracks), "signals": pack_signals(scene.signals),
            "packing": PACKING, "run_id": run_id,
        }
        for scene in scenes
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=TABLES["dense"].schema)


def ledger_entries(
    local: LocalLog, origins: Origins, *, windows: int, scenes: int
) -> Iterable[dict[str, Any]]:
    """What the ledger says of a log: its notes, empty windows, and that it came in.

    Args:
        local: The log.
        origins: Where it came from.
        windows: How many stretches were to become scenes.
        scenes: How many did.
    """
    notes = [*local.log.notes, *local.notes, *notes_of_strangers(local)]
    if windows > scenes:
        reason = "nobody is seen in a window of the source"
        notes.append(Note(kind="missing", reason=reason, count=windows - scenes))
    elif not scenes:
        reason = "nobody is seen at any time, so there is no scene"
        notes.append(Note(kind="missing", reason=reason))
    notes.append(Note(kind="ingested", reason=f"log {local.log.source_log_id} came in"))
    for note in notes:
        yield note_entry(note, origins, record=local.log.record, log_id=local.log_id)


def _state(local: LocalLog, rows: slice) -> dict[str, Any]:
    """The columns that the ego and others share."""
    r, lanes = local.rows, local.lanes
    valid, on_lane = r.valid[rows], lanes.on_lane[rows]
    known_v = r.has_velocity[rows]
    columns: dict[str, Any] = {
        "log_id": np.full(len(valid), local.log_id), "track_id": r.track[rows],
        "t_ns": r.t_ns[rows], "valid": valid, "x": (r.xyz[rows, 0], valid),
        "y": (r.xyz[rows, 1], valid), "z": (r.xyz[rows, 2], r.has_z[rows]),
        "yaw": (r.yaw[rows], valid), "vx_map": (r.velocity[rows, 0], known_v),
        "vy_map": (r.velocity[rows, 1], known_v), "lane_id": (lanes.lane[rows], on_lane),
        "lane_s": (lanes.s[rows], on_lane), "lane_d": (lanes.d[rows], on_lane),
    }  # fmt: skip
    for k, name in enumerate(("length", "width", "height")):
        columns[name] = _finite(r.size[rows, k], valid)
    return columns


def _span(local: LocalLog, track: int) -> tuple[int, int]:
    """Where the rows of a track begin and end."""
    begin, end = np.searchsorted(local.rows.track, [track, track + 1])
    return int(begin), int(end)


def _path_length(local: LocalLog, begin: int, end: int) -> float:
    """Distance along the observations of a track, without its gaps [m]."""
    rows = np.flatnonzero(local.rows.valid[begin:end]) + begin
    step = np.diff(local.rows.xyz[rows, :2].astype(np.float64), axis=0)
    steps = np.sqrt(step[:, 0] ** 2 + step[:, 1] ** 2)
    joined = np.diff(local.rows.t_ns[rows]) <= local.gap_ns
    return float(steps[joined].sum())


def _shapes(features: Sequence[MapFeature], lines: Bundle) -> tuple[Array, Array]:
    """WKB of each feature, and the length of the line or round the area [m]."""
    import shapely

    sizes, xy = lines.sizes, lines.points[:, :2]
    area = np.array([f.layer in AREAS for f in features], dtype=bool)
    made = np.empty(len(features), dtype=object)
    rings = area & (sizes >= 3)
    for which, make in (
        (sizes == 1, shapely.points),
        (rings, shapely.linearrings),
        (~rings & (sizes > 1), shapely.linestrings),
    ):
        if which.any():
            places = np.repeat(np.cumsum(which) - 1, sizes)
            chosen = np.repeat(which, sizes)
            some = {} if make is shapely.points else {"indices": places[chosen]}
            made[which] = make(xy[chosen], **some)
    made[rings] = shapely.polygons(made[rings])
    lengths = np.where(area, shapely.length(made), lines.length)
    return shapely.to_wkb(made), lengths.astype(np.float32)


def _lines(lines: Sequence[Array | None]) -> pa.Array:
    """Lists x, y, z, x, y, z, …; null where there is no line."""
    sizes = [0 if line is None else line.size for line in lines]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    values = [
        np.ascontiguousarray(line, dtype=np.float32).ravel() for line in lines if line is not None
    ]
    flat = np.concatenate(values) if values else np.zeros(0, dtype=np.float32)
    missing = np.array([line is None for line in lines])
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(flat), mask=pa.array(missing) if missing.any() else None
    )


def _finite(values: Array, valid: Array) -> tuple[Array, Array]:
    return values, valid & np.isfinite(values)


def _column(value: Any, kind: pa.DataType, count: int) -> pa.Array:
    if isinstance(value, tuple):
        values, known = value
        return pa.array(np.asarray(values), mask=~np.asarray(known, dtype=bool)).cast(kind)
    if isinstance(value, pa.Array | pa.ChunkedArray):
        made = value.combine_chunks() if isinstance(value, pa.ChunkedArray) else value
        return made.cast(kind)
    if isinstance(value, np.ndarray):
        return pa.array(value).cast(kind, safe=False)
    if isinstance(value, list):
        return pa.array(value, type=kind)
    return pa.array([value] * count, type=kind)


def _int_or_none(value: Any) -> int | None:
    return None if value is None else int(value)
