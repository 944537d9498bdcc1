"""The folder ``scenelake/`` inside an Argoverse 2 log: what that format has no place for.

Other tools ignore it; our reader completes the log from it, so that what is written is what is
read. It holds ``log.json`` (conditions, vehicle, windows, events), ``map.json`` (see
:mod:`formats.argoverse2_map`), and, where there is something to keep, the tables ``ego.feather``,
``tracks.feather``, ``agents.feather`` and ``lights.feather``. Times in it are the file's own
stamps, as in the tables beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import feather

from formats.argoverse2_map import MapExtras, extras_from_json, extras_to_json
from formats.files import present, read_json, read_table
from geometry.arrays import Array
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, Daylight, LightState, Weather
from schemas.records import LightStates, Log, SourceEvent, Window

FOLDER = "scenelake"
VERSION = 1
EGO_COLUMNS = ("vx", "vy", "acceleration", "yaw_rate", "steering")


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """The folder's content.

    Attributes:
        about: ``log.json``.
        map: ``map.json``, None where the log has no map.
        ego: ``ego.feather``, None where the log has no ego.
        tracks: ``tracks.feather``.
        agents: ``agents.feather``, one row a cuboid.
        lights: ``lights.feather``, None where no signals were recorded.
    """

    about: Mapping[str, Any]
    map: MapExtras | None
    ego: pa.Table | None
    tracks: pa.Table
    agents: pa.Table
    lights: pa.Table | None

    @property
    def t0_ns(self) -> int:
        """The file's stamp at which the log begins [ns]."""
        return int(self.about["t0_ns"])

    @property
    def windows(self) -> tuple[Window, ...]:
        """Stretches that the source calls scenes."""
        return tuple(Window(**window) for window in self.about["windows"])

    @property
    def events(self) -> tuple[SourceEvent, ...]:
        """Tags of the source."""
        return tuple(SourceEvent(**event) for event in self.about["events"])

    @property
    def weather(self) -> Weather | None:
        """None where not known."""
        word = self.about["weather"]
        return None if word is None else Weather[str(word).upper()]

    @property
    def daylight(self) -> Daylight | None:
        """None where not known."""
        word = self.about["daylight"]
        return None if word is None else Daylight[str(word).upper()]


def extra_files(log_folder: Path) -> Iterator[Path]:
    """The files of the extras, those that are there."""
    for name in ("log.json", "map.json", *(f"{t}.feather" for t in _TABLES)):
        found = present(log_folder / FOLDER / name)
        if found is not None:
            yield found


def read_extras(log_folder: Path) -> Extras | None:
    """The extras of a log; None where it has none.

    Raises:
        UnreadableFile: They are there but not whole, or of a newer version.
    """
    folder = log_folder / FOLDER
    path = present(folder / "log.json")
    if path is None:
        return None
    about = read_json(path)
    version = about.get("version") if isinstance(about, dict) else None
    if version != VERSION:
        raise UnreadableFile(
            path, f"has version {version}, not {VERSION}", hint="Use a newer Scenelake."
        )
    tables = {}
    for name, columns in _TABLES.items():
        found = present(folder / f"{name}.feather")
        if found is None and name in ("tracks", "agents"):
            raise UnreadableFile(folder / f"{name}.feather", "does not exist")
        tables[name] = None if found is None else read_table(found, columns=columns)
    map_path = present(folder / "map.json")
    return Extras(
        about=about, map=None if map_path is None else extras_from_json(map_path), **tables
    )


def write_extras(
    log: Log,
    log_folder: Path,
    *,
    t0_ns: int,
    centre_in_ego: Array,
    track_uuid: list[str],
    kept: Array,
    road_map: MapExtras | None,
) -> None:
    """Put aside what the tables beside it cannot say.

    Args:
        log: What is being written.
        log_folder: Of the log.
        t0_ns: The file's stamp of the log's time 0 [ns].
        centre_in_ego: Middle of the ego's box in the vehicle frame, as poses were written [m].
        track_uuid: Per track, as cuboids name it.
        kept: Indices of the observations that became cuboids, in their order.
        road_map: From :func:`formats.argoverse2_map.map_to_json`.
    """
    folder = log_folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.json").write_text(json.dumps(_about(log, t0_ns, centre_in_ego), indent=1))
    if road_map is not None:
        (folder / "map.json").write_text(extras_to_json(road_map))
    agents = log.agents
    _write(
        folder / "tracks.feather",
        track_uuid=track_uuid,
        source_track_id=list(agents.source_track_id),
        source_cls=list(agents.source_cls),
        cls=[AgentClass(cls).word for cls in agents.cls],
    )
    columns: dict[str, Any] = {
        "timestamp_ns": agents.t_ns[kept] + t0_ns,
        "track_uuid": [track_uuid[track] for track in agents.track[kept]],
        "size_known": np.isfinite(agents.size[kept]).all(axis=1),
    }
    if agents.velocity is not None:
        columns |= {"vx": agents.velocity[kept, 0], "vy": agents.velocity[kept, 1]}
    _write(folder / "agents.feather", **columns)
    if log.ego is not None:
        _write(folder / "ego.feather", **_ego_columns(log, t0_ns))
    if log.lights.t_ns.size:
        _write(folder / "lights.feather", **_light_columns(log.lights, t0_ns))


def lights_of(extras: Extras) -> LightStates:
    """What signals showed."""
    if extras.lights is None:
        return LightStates.none()
    rows = extras.lights
    return LightStates(
        source_lane_id=rows["source_lane_id"].to_pylist(),
        t_ns=rows["timestamp_ns"].to_numpy() - extras.t0_ns,
        state=np.array([LightState[word.upper()] for word in rows["state"].to_pylist()], int),
        source_state=rows["source_state"].to_pylist(),
        arrow=rows["arrow"].to_numpy(),
        flashing=rows["flashing"].to_numpy(),
        stop_xyz=np.stack([rows[f"stop_{axis}"].to_numpy() for axis in "xyz"], axis=1),
    )


_TABLES: dict[str, tuple[str, ...]] = {
    "ego": ("timestamp_ns", "valid"),
    "tracks": ("track_uuid", "source_track_id", "source_cls", "cls"),
    "agents": ("timestamp_ns", "track_uuid", "size_known"),
    "lights": (
        "source_lane_id", "timestamp_ns", "state", "source_state", "arrow", "flashing",
        "stop_x", "stop_y", "stop_z",
    ),
}  # fmt: skip


def _about(log: Log, t0_ns: int, centre_in_ego: Array) -> dict[str, Any]:
    ego = log.ego
    return {
        "version": VERSION,
        "dataset": log.dataset,
        "source_log_id": log.source_log_id,
        "record": log.record,
        "t0_ns": t0_ns,
        "t0_unix_ns": log.t0_unix_ns,
        "rate_hz": log.rate_hz,
        "split": log.split,
        "location": log.location,
        "weather": None if log.weather is None else log.weather.word,
        "daylight": None if log.daylight is None else log.daylight.word,
        "license": log.license,
        "epsg": log.epsg,
        "ego": None if ego is None else {
            "size": list(ego.size),
            "centre_in_ego": [float(value) for value in centre_in_ego],
            "has_attitude": ego.quaternion is not None,
            "has_valid": ego.valid is not None,
            "source_track_id": ego.source_track_id,
            "source_cls": ego.source_cls,
        },
        "windows": [asdict(window) for window in log.windows],
        "events": [asdict(event) for event in log.events],
        "extra": dict(log.extra),
    }  # fmt: skip


def _ego_columns(log: Log, t0_ns: int) -> dict[str, Any]:
    ego = log.ego
    assert ego is not None
    columns: dict[str, Any] = {
        "timestamp_ns": ego.t_ns + t0_ns,
        "valid": np.ones(len(ego.t_ns), dtype=bool) if ego.valid is None else ego.valid,
    }
    signals = (
        None if ego.velocity is None else ego.velocity[:, 0],
        None if ego.velocity is None else ego.velocity[:, 1],
        ego.acceleration,
        ego.yaw_rate,
        ego.steering,
    )
    columns |= {
        name: values
        for name, values in zip(EGO_COLUMNS, signals, strict=True)
        if values is not None
    }
    return columns


def _light_columns(lights: LightStates, t0_ns: int) -> dict[str, Any]:
    return {
        "source_lane_id": list(lights.source_lane_id),
        "timestamp_ns": lights.t_ns + t0_ns,
        "state": [LightState(int(code)).word for code in lights.state],
        "source_state": list(lights.source_state),
        "arrow": lights.arrow,
        "flashing": lights.flashing,
        **{f"stop_{axis}": lights.stop_xyz[:, i] for i, axis in enumerate("xyz")},
    }


def _write(path: Path, **columns: Any) -> None:
    arrays = {
        name: pa.array(values, pa.string())
        if isinstance(values, list)
        else pa.array(np.ascontiguousarray(values))
        for name, values in columns.items()
    }
    feather.write_feather(pa.table(arrays), str(path))
