"""What comes back from the lake, against what the reader told: to a millimetre, word for word."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from formats.registry import Reader, Rejected
from geometry.angles import difference
from geometry.arrays import Array
from lake import Lake
from lake.json_text import as_json
from schemas.labels import AgentClass, EdgeKind, LightState, MapLayer
from schemas.records import Frame, Log, MapFeature, Sensor

PRECISION_M = 1e-3
ANGLE = 1e-6  # [rad] float32 holds a heading to 2.4e-7
UNIT = 1e-6  # of quaternions
SINGLE = 1e-6  # relative, of what is told in float32
STATE = ("x", "y", "z")
QUATERNION = ("qw", "qx", "qy", "qz")
FRAME_POSE = ("ego_x", "ego_y", "ego_z", "ego_qw", "ego_qx", "ego_qy", "ego_qz")
SENSOR_POSE = ("ext_x", "ext_y", "ext_z", "ext_qw", "ext_qx", "ext_qy", "ext_qz")


@dataclass(slots=True, kw_only=True)
class RoundTrip:
    """What was compared, and how far the worst coordinate is off.

    Attributes:
        logs: Compared.
        tracks: The ego's not counted.
        agents: States of others.
        ego: States of the ego.
        lights: States of signals.
        features: Of maps, those of shared maps once for each log.
        frames: Captures.
        readings: Single ones.
        events: Tags of the source.
        error_m: Greatest difference of any coordinate [m].
    """

    logs: int = 0
    tracks: int = 0
    agents: int = 0
    ego: int = 0
    lights: int = 0
    features: int = 0
    frames: int = 0
    readings: int = 0
    events: int = 0
    error_m: float = 0.0

    def add(self, told: Array, origin: Array, back: Array) -> None:
        """Compare coordinates; NaN stands for none and must be so on both sides."""
        told = np.asarray(told, dtype=np.float64)
        assert told.shape == back.shape
        np.testing.assert_array_equal(np.isfinite(told), np.isfinite(back))
        seen = np.isfinite(told)
        if seen.any():
            worst = float(np.abs((back + origin)[seen] - told[seen]).max())
            assert worst < PRECISION_M, f"a coordinate is off by {1e3 * worst:.3f} mm"
            self.error_m = max(self.error_m, worst)


def logs_of(module: Reader, source: Path) -> list[list[Log]]:
    """The logs of a source, each as the list of its parts; refused records are left out."""
    found: dict[tuple[str, str], list[Log]] = {}
    for log in module.read(source):
        if not isinstance(log, Rejected):
            found.setdefault((log.dataset, log.source_log_id), []).append(log)
    return list(found.values())


def check_round_trip(logs: Iterable[Sequence[Log]], lake: Lake) -> RoundTrip:
    """Assert that the lake says of logs what they say.

    Args:
        logs: Each as the list of its parts.
        lake: Holds them, and whatever else.
    """
    trip = RoundTrip()
    for parts in logs:
        _check_log(parts, lake, trip)
    return trip


def _check_log(parts: Sequence[Log], lake: Lake, trip: RoundTrip) -> None:
    first = parts[0]
    name = first.source_log_id.replace("'", "''")
    (row,) = lake.read(
        "logs", None, f"source_log_id = '{name}' and dataset = '{first.dataset}'"
    ).to_pylist()
    origin = np.array([row[f"origin_{axis}"] for axis in "xyz"])
    mine = f"log_id = {row['log_id']}"
    trip.logs += 1
    _check_facts(parts, row)
    tracks = lake.read("tracks", None, mine).to_pylist()
    number = {t["source_track_id"]: t["track_id"] for t in tracks}
    assert len(number) == len(tracks)
    _check_tracks(parts, tracks, trip)
    _check_agents(parts, number, lake.read("agents", None, mine), origin, trip)
    _check_ego(parts, lake.read("ego", None, mine), origin, trip)
    features = lake.read("map_features", None, f"map_id = {row['map_id'] or 0}")
    assert (row["map_id"] is not None) == (len(first.map.features) > 0)
    by_id = sorted(features.to_pylist(), key=lambda f: f["feature_id"])
    _check_map(first, by_id, origin, trip)
    _check_edges(first, lake.read("map_edges", None, f"map_id = {row['map_id'] or 0}"))
    _check_lights(parts, by_id, lake.read("lights", None, mine), origin, trip)
    _check_sensors(parts, lake.read("sensors", None, mine).to_pylist())
    _check_frames(parts, lake.read("frames", None, mine).to_pylist(), origin, trip)
    _check_readings(parts, lake.read("readings", None, mine), trip)
    _check_events(parts, number, lake.read("events", None, f"{mine} and source = 'dataset'"), trip)
    _check_notes(parts, lake.read("ledger", None, mine).to_pylist())


def _check_facts(parts: Sequence[Log], row: dict[str, Any]) -> None:
    log = parts[0]
    for name in ("t0_unix_ns", "split", "location", "license", "epsg", "dataset"):
        assert row[name] == getattr(log, name), name
    assert row["source_record"] == log.record
    assert row["weather"] == (None if log.weather is None else log.weather.word)
    assert row["daylight"] == (None if log.daylight is None else log.daylight.word)
    np.testing.assert_allclose(row["rate_hz"], log.rate_hz, rtol=SINGLE)
    assert row["has_ego"] == any(part.ego is not None for part in parts)
    assert row["n_frames"] == sum(len(part.frames) for part in parts)
    told: dict[str, Any] = {}
    for part in parts:
        told |= json.loads(as_json(dict(part.extra)))
    extra = json.loads(row["extra"]) if row["extra"] else {}
    windows = [
        [w.source_scene_id, w.t0_ns, w.t1_ns, w.anchor_ns] for part in parts for w in part.windows
    ]
    assert as_json(extra.pop("windows", [])) == as_json(windows)
    assert extra.pop("source_map_id", "") == log.map.source_map_id
    assert as_json(extra) == as_json(told)


def _check_tracks(parts: Sequence[Log], rows: list[dict[str, Any]], trip: RoundTrip) -> None:
    told: dict[str, tuple[str, str, bool]] = {}
    seen: Counter[str] = Counter()
    for part in parts:
        agents = part.agents
        have = np.bincount(agents.track, minlength=len(agents.source_track_id))
        valid = agents.track if agents.valid is None else agents.track[agents.valid]
        observed = np.bincount(valid, minlength=len(agents.source_track_id))
        for k, name in enumerate(agents.source_track_id):
            if have[k]:
                told.setdefault(name, (agents.source_cls[k], agents.cls[k].word, False))
                seen[name] += int(observed[k])
        ego = part.ego
        if ego is not None and len(ego.t_ns):
            word = AgentClass.VEHICLE.word
            told.setdefault(ego.source_track_id, (ego.source_cls, word, True))
            seen[ego.source_track_id] += len(ego.t_ns) if ego.valid is None else ego.valid.sum()
    back = {r["source_track_id"]: (r["source_cls"], r["cls"], r["is_ego"]) for r in rows}
    assert back == told
    assert {r["source_track_id"]: r["n_obs"] for r in rows} == dict(seen)
    trip.tracks += sum(not is_ego for *_, is_ego in told.values())


def _check_agents(
    parts: Sequence[Log], number: dict[str, int], table: pa.Table, origin: Array, trip: RoundTrip
) -> None:
    every = [part.agents for part in parts]
    track = np.concatenate(
        [np.array([number.get(n, -1) for n in a.source_track_id], int)[a.track] for a in every]
    )
    t_ns = np.concatenate([a.t_ns for a in every])
    valid = np.concatenate([_or_all(a.valid, len(a.t_ns)) for a in every])
    order = np.lexsort((t_ns, track))
    table = table.sort_by([("track_id", "ascending"), ("t_ns", "ascending")])
    np.testing.assert_array_equal(_column(table, "track_id"), track[order])
    np.testing.assert_array_equal(_column(table, "t_ns"), t_ns[order])
    np.testing.assert_array_equal(_column(table, "valid"), valid[order])
    xyz, yaw, size = (
        np.concatenate([np.asarray(getattr(a, name), dtype=np.float64) for a in every])[order]
        for name in ("xyz", "yaw", "size")
    )
    valid = valid[order]
    xyz[~valid], yaw[~valid], size[~valid] = np.nan, np.nan, np.nan
    size[~(size > 0.0)] = np.nan
    trip.add(xyz, origin, _columns(table, STATE))
    off = np.abs(difference(_column(table, "yaw")[valid].astype(np.float64), yaw[valid]))
    assert off.max(initial=0.0) < ANGLE
    np.testing.assert_allclose(_columns(table, ("length", "width", "height")), size, rtol=SINGLE)
    velocity = np.concatenate(
        [np.full((len(a.t_ns), 2), np.nan) if a.velocity is None else a.velocity for a in every]
    )[order]
    _check_velocity(velocity, valid, table)
    cls_of = {
        n: c.word for a in every[::-1] for n, c in zip(a.source_track_id, a.cls, strict=True)
    }
    word = {number[name]: cls for name, cls in cls_of.items() if name in number}
    cls = [word[k] for k in track[order].tolist()]
    assert table["cls"].to_pylist() == cls
    trip.agents += len(t_ns)


def _check_velocity(velocity: Array, valid: Array, table: pa.Table) -> None:
    told = valid & np.isfinite(velocity).all(axis=1)
    back = _columns(table, ("vx_map", "vy_map"))
    np.testing.assert_allclose(back[told], velocity[told], rtol=SINGLE, atol=1e-6)


def _check_ego(parts: Sequence[Log], table: pa.Table, origin: Array, trip: RoundTrip) -> None:
    every = [part.ego for part in parts if part.ego is not None]
    count = sum(len(e.t_ns) for e in every)
    assert table.num_rows == count
    trip.ego += count
    if not count:
        return
    table = table.sort_by("t_ns")
    np.testing.assert_array_equal(_column(table, "t_ns"), np.concatenate([e.t_ns for e in every]))
    valid = np.concatenate([_or_all(e.valid, len(e.t_ns)) for e in every])
    np.testing.assert_array_equal(_column(table, "valid"), valid)
    xyz, yaw = (
        np.concatenate([np.asarray(getattr(e, name), dtype=np.float64) for e in every])
        for name in ("xyz", "yaw")
    )
    xyz[~valid] = np.nan
    trip.add(xyz, origin, _columns(table, STATE))
    off = np.abs(difference(_column(table, "yaw")[valid].astype(np.float64), yaw[valid]))
    assert off.max(initial=0.0) < ANGLE
    size = np.concatenate([np.tile(e.size, (len(e.t_ns), 1)) for e in every])
    back = _columns(table, ("length", "width", "height"))
    np.testing.assert_allclose(back[valid], size[valid], rtol=SINGLE)
    for names, field in (
        (QUATERNION, "quaternion"), (("ax",), "acceleration"), (("yaw_rate",), "yaw_rate"),
        (("steering",), "steering"),
    ):  # fmt: skip
        values = [getattr(e, field) for e in every]
        none = [np.full((len(e.t_ns), len(names)), np.nan) for e in every]
        told = np.concatenate(
            [
                n if v is None else np.asarray(v, dtype=np.float64).reshape(len(n), -1)
                for v, n in zip(values, none, strict=True)
            ]
        )
        told[~valid | ~np.isfinite(told).all(axis=1)] = np.nan
        np.testing.assert_allclose(_columns(table, names), told, rtol=SINGLE, atol=UNIT)
    velocity = np.concatenate(
        [np.full((len(e.t_ns), 2), np.nan) if e.velocity is None else e.velocity for e in every]
    )
    _check_velocity(velocity, valid, table)


def _check_map(log: Log, rows: list[dict[str, Any]], origin: Array, trip: RoundTrip) -> None:
    assert len(rows) == len(log.map.features)
    trip.features += len(rows)
    for told, back in zip(log.map.features, rows, strict=True):
        lane = told.lane_type.word if told.layer == MapLayer.LANE else None
        assert back["source_feature_id"] == told.source_id
        assert (back["layer"], back["lane_type"]) == (told.layer.word, lane)
        assert back["source_type"] == told.source_type
        assert (back["in_intersection"], back["has_z"]) == (told.in_intersection, told.has_z)
        assert (back["speed_limit"] is None) == (told.speed_limit is None)
        if told.speed_limit is not None:
            np.testing.assert_allclose(back["speed_limit"], told.speed_limit, rtol=SINGLE)
        for line, name in (
            (told.points, "polyline"),
            (told.left, "left_boundary"),
            (told.right, "right_boundary"),
        ):
            _check_line(told, line, back[name], origin, trip)


def _check_line(
    feature: MapFeature,
    told: Array | None,
    back: list[float] | None,
    origin: Array,
    trip: RoundTrip,
) -> None:
    assert (told is None or not len(told)) == (back is None)
    if told is None or back is None:
        return
    axes = 3 if feature.has_z else 2
    line = np.array(back, dtype=np.float64).reshape(-1, 3)
    trip.add(told[:, :axes], origin[:axes], line[:, :axes])


def _check_edges(log: Log, table: pa.Table) -> None:
    edges = np.asarray(log.map.edges)
    if log.map.derived is not None:
        edges = edges[~np.asarray(log.map.derived, dtype=bool)]
    told = {(int(a), EdgeKind(int(kind)).word, int(b)) for a, kind, b in edges}
    stated = [row for row in table.to_pylist() if not row["derived"]]
    assert {(row["from_id"], row["kind"], row["to_id"]) for row in stated} == told
    assert len(stated) == len(told)


def _check_lights(
    parts: Sequence[Log],
    features: list[dict[str, Any]],
    table: pa.Table,
    origin: Array,
    trip: RoundTrip,
) -> None:
    told = sorted(
        (
            (lane, int(t), LightState(int(state)).word, source, bool(arrow), bool(flash), tuple(stop))
            for lights in (part.lights for part in parts)
            for lane, t, state, source, arrow, flash, stop in zip(
                lights.source_lane_id, lights.t_ns, lights.state, lights.source_state,
                lights.arrow, lights.flashing, np.asarray(lights.stop_xyz), strict=True,
            )
        ),
        key=lambda row: row[:2],
    )  # fmt: skip
    names = ("source_lane_id", "t_ns", "state", "source_state", "arrow", "flashing")
    rows = sorted(table.to_pylist(), key=lambda row: (row["source_lane_id"], row["t_ns"]))
    assert [tuple(row[name] for name in names) for row in rows] == [row[:6] for row in told]
    stops = np.array([row[6] for row in told]).reshape(-1, 3)[:, :2].astype(np.float64)
    stops[~np.isfinite(stops).all(axis=1)] = np.nan
    back = np.array([(row["stop_x"], row["stop_y"]) for row in rows], dtype=np.float64)
    trip.add(stops, origin[:2], back.reshape(-1, 2))
    lanes = {f["source_feature_id"]: f["feature_id"] for f in features if f["layer"] == "lane"}
    assert [row["lane_id"] for row in rows] == [lanes.get(row[0]) for row in told]
    trip.lights += len(told)


def _check_sensors(parts: Sequence[Log], rows: list[dict[str, Any]]) -> None:
    told: dict[str, Sensor] = {}
    for part in parts:
        for sensor in part.sensors:
            told.setdefault(sensor.channel, sensor)
    assert sorted(row["channel"] for row in rows) == sorted(told)
    for row in rows:
        sensor = told[row["channel"]]
        for name in ("kind", "model", "width", "height"):
            assert row[name] == getattr(sensor, name), name
        for name in ("intrinsics", "distortion"):
            np.testing.assert_array_equal(row[name] or [], getattr(sensor, name))
        pose = [row[name] for name in SENSOR_POSE]
        if sensor.ego_from_sensor is None:
            assert pose == [None] * 7
        else:
            np.testing.assert_array_equal(pose, sensor.ego_from_sensor)


def _check_frames(
    parts: Sequence[Log], rows: list[dict[str, Any]], origin: Array, trip: RoundTrip
) -> None:
    told = sorted(
        (frame for part in parts for frame in part.frames), key=lambda f: (f.channel, f.t_ns)
    )
    rows = sorted(rows, key=lambda row: (row["channel"], row["t_ns"]))
    assert len(rows) == len(told)
    for frame, row in zip(told, rows, strict=True):
        assert _words(frame) == {name: row[_RENAMED.get(name, name)] for name in _WORDS}
    nothing = (np.nan,) * 7
    poses = np.array([f.world_from_ego or nothing for f in told], dtype=np.float64).reshape(-1, 7)
    back = np.array([[row[n] for n in FRAME_POSE] for row in rows], dtype=np.float64).reshape(
        -1, 7
    )
    trip.add(poses[:, :3], origin, back[:, :3])
    np.testing.assert_allclose(back[:, 3:], poses[:, 3:], atol=UNIT)
    trip.frames += len(told)


_RENAMED = {"offset": "byte_offset", "size": "byte_size"}
_WORDS = (
    "channel", "t_ns", "uri", "codec", "offset", "size", "container", "t_end_ns", "frame_index",
    "pts", "keyframe",
)  # fmt: skip


def _words(frame: Frame) -> dict[str, Any]:
    return {name: getattr(frame, name) for name in _WORDS}


def _check_readings(parts: Sequence[Log], table: pa.Table, trip: RoundTrip) -> None:
    told: dict[tuple[str, str], list[Any]] = {}
    for part in parts:
        for series in part.readings:
            if len(series.t_ns):
                told.setdefault((series.channel, series.signal), []).append(series)
    keys = [("channel", "ascending"), ("signal", "ascending"), ("t_ns", "ascending")]
    table = table.sort_by(keys)
    channel, signal = table["channel"].to_pylist(), table["signal"].to_pylist()
    begin = 0
    for (name, quantity), every in sorted(told.items()):
        count = sum(len(s.t_ns) for s in every)
        some = table.slice(begin, count)
        assert set(channel[begin : begin + count]) == {name}
        assert set(signal[begin : begin + count]) == {quantity}
        np.testing.assert_array_equal(
            _column(some, "t_ns"), np.concatenate([s.t_ns for s in every])
        )
        values = np.concatenate(
            [np.full(len(s.t_ns), np.nan) if s.value is None else s.value for s in every]
        ).astype(np.float64)
        values[~np.isfinite(values)] = np.nan
        np.testing.assert_array_equal(_column(some, "value"), values)
        text = [
            word
            for s in every
            for word in (s.text if s.text is not None else [None] * len(s.t_ns))
        ]
        assert some["text"].to_pylist() == text
        assert some["unit"].to_pylist() == [s.unit for s in every for _ in s.t_ns]
        begin += count
    assert begin == table.num_rows
    trip.readings += begin


def _check_events(
    parts: Sequence[Log], number: dict[str, int], table: pa.Table, trip: RoundTrip
) -> None:
    told = [
        (
            event.name, event.t0_ns, event.t1_ns, number.get(event.source_track_id or ""),
            number.get(event.other_track_id or ""),
            as_json(dict(event.detail)) if event.detail else None,
        )
        for part in parts
        for event in part.events
    ]  # fmt: skip
    names = ("name", "t0_ns", "t1_ns", "actor_id", "other_id", "evidence")
    back = [tuple(row[name] for name in names) for row in table.to_pylist()]
    assert Counter(back) == Counter(told)
    for part in parts:
        for event in part.events:
            for who in (event.source_track_id, event.other_track_id):
                assert who is None or who in number, f"{event.name} concerns {who}, who is nobody"
    trip.events += len(told)


def _check_notes(parts: Sequence[Log], rows: list[dict[str, Any]]) -> None:
    told: Counter[tuple[str, str]] = Counter()
    for part in parts:
        for note in part.notes:
            told[note.kind, note.reason] += note.count
    back: Counter[tuple[str, str]] = Counter()
    for row in rows:
        back[row["kind"], row["reason"]] += row["count"]
    assert {key: back[key] for key in told} == dict(told)


def _or_all(valid: Array | None, count: int) -> Array:
    return np.ones(count, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)


def _column(table: pa.Table, name: str) -> Array:
    return np.asarray(table[name].combine_chunks().to_numpy(zero_copy_only=False))


def _columns(table: pa.Table, names: Sequence[str]) -> Array:
    """Several columns as float64, null as NaN."""
    return np.stack([_column(table, name).astype(np.float64) for name in names], axis=1)
