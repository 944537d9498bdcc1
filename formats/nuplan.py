"""nuPlan logs: one SQLite file a drive, maps and sensor files in folders of their own.

    nuplan-v1.1/splits/<split>/<log>.db                 tables, see below
    nuplan-v1.1/sensor_blobs/<log>/<camera>/*.jpg, <log>/MergedPointCloud/*.pcd     often not there
    maps/nuplan-maps-v1.0/…                             see formats.nuplan_map

A ``lidar_pc`` (20 Hz) is a moment to which boxes, lights and tags refer; ``ego_pose`` runs at 100 Hz.
Poses, boxes and goals are in a UTM plane, velocity and acceleration of the ego in its own frame,
whose origin is the middle of the rear axle. Stamps are Unix time in µs, tokens are bytes and become
hexadecimal words. Each ``scenario_tag`` is one event, each ``scene`` one window, told with its goal
and route under ``Log.extra["scenes"]``.

A log is read in parts of 60 s from streams in order of time. That needs no index: where the file has
none, SQLite sorts on disk. Left out: ``next_token`` and ``prev_token`` (the order says the same),
sizes of tracks (boxes have their own), and the vertical velocity and confidence of boxes.

Source: github.com/motional/nuplan-devkit, ``docs/nuplan_schema.md`` and ``nuplan_db_orm``.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from formats.argoverse2 import usable_quaternions
from formats.files import GZIP_SUFFIX, open_binary, plain_name, recognised
from formats.names import distinct
from formats.nuplan_map import FARTHEST_M, find_map, read_map
from formats.registry import Rejected
from formats.safe_pickle import loads
from formats.sqlite import MAGIC, columns_of, opened
from formats.tally import Tally
from formats.tree import head, matching
from geometry.angles import wrap
from geometry.arrays import Array
from geometry.frames import rotation_from_quaternion, yaw_from_quaternion
from schemas.errors import BadRecord, UnreadableFile
from schemas.labels import AgentClass, EdgeKind, LightState, MapLayer
from schemas.records import (
    EgoStates,
    Frame,
    LightStates,
    Log,
    MapFeature,
    Observations,
    Readings,
    RoadMap,
    Sensor,
    SourceEvent,
    Window,
)

DATASET = "nuplan"
DATASET_LICENSE = "CC BY-NC-SA 4.0"
RATE_HZ = 20.0  # of the boxes
PART_US = 60_000_000
LATEST_US = 9_000_000_000_000_000  # [µs] a stamp beyond (the year 2255) is a mistake
FASTEST = 1e6  # a motion beyond, in any of its units, is a mistake
FOREIGN_MAP_M = 5_000.0  # [m] an ego so far outside of a map drives in another city

EGO_SIZE = (5.176, 2.297, 1.777)
"""Length, width and height of the Chrysler Pacifica (``get_pacifica_parameters``) [m]."""
CENTRE_IN_EGO = np.array([1.461, 0.0, 0.45])
"""Middle of the box in the frame of the rear axle; its height is told nowhere: a guess [m]."""

CLASSES = {
    "vehicle": AgentClass.VEHICLE,
    "bicycle": AgentClass.CYCLIST,
    "pedestrian": AgentClass.PEDESTRIAN,
    "traffic_cone": AgentClass.OBSTACLE,
    "barrier": AgentClass.OBSTACLE,
    "czone_sign": AgentClass.OBSTACLE,
    "generic_object": AgentClass.OTHER,
}
LIGHTS = {
    "green": LightState.GREEN,
    "yellow": LightState.YELLOW,
    "red": LightState.RED,
    "unknown": LightState.UNKNOWN,
}

REQUIRED: Mapping[str, frozenset[str]] = {
    "ego_pose": frozenset({"token", "timestamp", "x", "y", "z", "qw", "qx", "qy", "qz"}),
    "lidar_pc": frozenset({"token", "timestamp"}),
    "lidar_box": frozenset(
        {"lidar_pc_token", "track_token", "x", "y", "z", "length", "width", "height", "yaw"}
    ),
    "track": frozenset({"token", "category_token"}),
    "category": frozenset({"token", "name"}),
}
"""Tables by which a log is recognised, with the columns that must be there."""
OPTIONAL = ("log", "scene", "scenario_tag", "traffic_light_status", "camera", "image", "lidar")

EGO_SENSOR = "ego_pose"
"""Channel of what the ego's own motion sensors read beyond ``EgoStates``."""
EGO_READINGS = {
    "vz": "m/s", "acceleration_y": "m/s2", "acceleration_z": "m/s2",
    "angular_rate_x": "rad/s", "angular_rate_y": "rad/s",
}  # fmt: skip
MOTION = ("vx", "vy", "vz", "acceleration_x", "acceleration_y", "acceleration_z",
          "angular_rate_x", "angular_rate_y", "angular_rate_z")  # fmt: skip
POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")
BOX = ("x", "y", "z", "length", "width", "height", "yaw", "vx", "vy")

SENSOR_ROOT = "NUPLAN_SENSOR_ROOT"  # environment variables
DATA_ROOT = "NUPLAN_DATA_ROOT"
BLOBS = "sensor_blobs"
SNIFFED_BYTES = 2**20  # of a packed file, in which its tables are looked for


def sources(path: Path) -> Iterator[Path]:
    """Databases with the tables of nuPlan, at or under a path, and broken ones beside them."""
    yield from recognised(matching(path, "*.db"), _is_nuplan)


def files(source: Path) -> Iterator[Path]:
    """The database, and the map of its city if that is found."""
    yield source
    try:
        with opened(source) as database:
            about = _about(database, columns_of(database))
    except UnreadableFile:
        return
    found = find_map(source, _city(about))
    if found is not None:
        yield found


def read(source: Path) -> Iterator[Log | Rejected]:
    """The log of a file, in parts of a minute.

    Raises:
        UnreadableFile: It is no SQLite, cut off, damaged, of something else, or its map is broken.
        BadRecord: A column holds what it cannot hold.
    """
    with opened(source) as database:
        columns = columns_of(database)
        _refuse_other_content(source, columns)
        count = (
            database.execute("SELECT COUNT(*) FROM log").fetchone()[0] if "log" in columns else 0
        )
        if count > 1:
            reason = f"holds {count} logs in one file, and which rows are whose is not told"
            yield Rejected(record="", reason=reason)
            return
        yield from _Drive(source, database, columns).parts()


# ── What the file is ─────────────────────────────────────────────────────────────────────────────


def _is_nuplan(file: Path) -> bool:
    """Whether a database has nuPlan's tables; of a packed one, whether it begins like that."""
    begin = head(file)
    if not begin:
        raise UnreadableFile(file, "is empty or cannot be read")
    if not begin.startswith(MAGIC):
        return False
    if file.suffix == GZIP_SUFFIX:
        with open_binary(file) as packed:
            sniffed = packed.read(SNIFFED_BYTES)
        return all(name.encode() in sniffed for name in REQUIRED)
    with opened(file) as database:
        return set(REQUIRED) <= set(columns_of(database))


def _refuse_other_content(source: Path, columns: Mapping[str, Sequence[str]]) -> None:
    for table, wanted in REQUIRED.items():
        if table not in columns:
            raise UnreadableFile(
                source,
                f"is no nuPlan log: it has no table {table}",
                hint=f"It has {', '.join(columns) or 'none'}.",
            )
        missing = sorted(wanted - set(columns[table]))
        if missing:
            raise UnreadableFile(source, f"table {table} lacks the columns {', '.join(missing)}")


def _about(database: sqlite3.Connection, columns: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The row of table ``log``; empty if there is none."""
    if "log" not in columns:
        return {}
    cursor = database.execute("SELECT * FROM log LIMIT 1")
    row = cursor.fetchone()
    if row is None:
        return {}
    return {told[0]: _plain(value) for told, value in zip(cursor.description, row, strict=True)}


def _city(about: Mapping[str, Any]) -> str:
    """The name under which the maps folder knows the city."""
    return str(about.get("map_version") or about.get("location") or "").removesuffix(".gpkg")


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _hex(token: Any) -> str:
    return token.hex() if isinstance(token, bytes) else str(token)


# ── Streams in order of time ─────────────────────────────────────────────────────────────────────


class _Stream:
    """Rows of a query whose first column is the stamp, ascending; one row is read ahead."""

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self.told = 0
        self._rows = rows
        self._next = next(rows, None)

    @property
    def next_us(self) -> int | None:
        """Stamp of the next row, None at the end [µs]."""
        return None if self._next is None else int(self._next[0])

    def until(self, end_us: int) -> list[tuple[Any, ...]]:
        """All further rows before a time."""
        rows = []
        while self._next is not None and self._next[0] < end_us:
            rows.append(self._next)
            self._next = next(self._rows, None)
        self.told += len(rows)
        return rows


@dataclass(frozen=True, slots=True, eq=False)
class _Whole:
    """What is the same in every part."""

    about: Mapping[str, Any]
    name: str
    t0_us: int
    category: Mapping[bytes, str]
    sensors: Sequence[Sensor]
    camera: Mapping[bytes, str]
    lidar: Mapping[bytes, str]
    blobs: _Blobs
    road_map: RoadMap
    stops: Mapping[str, Float[Array, 3]]
    epsg: int | None
    scenes: Sequence[tuple[Window, Mapping[str, Any]]]


class _Drive:
    """One database, told part by part."""

    def __init__(
        self, source: Path, database: sqlite3.Connection, columns: Mapping[str, Sequence[str]]
    ) -> None:
        self._source, self._database, self._columns = source, database, columns
        self._tally = Tally()

    def parts(self) -> Iterator[Log | Rejected]:
        """The log; every part that holds something, numbered without gaps."""
        streams = self._streams()
        begin = min((s.next_us for s in streams.values() if s.next_us is not None), default=None)
        if begin is None:
            yield Rejected(record="", reason="holds no poses, boxes or captures with a stamp")
            return
        whole = self._whole(begin)
        part, more = 0, True
        while more:
            start = min(s.next_us for s in streams.values() if s.next_us is not None)
            minute = (start - begin) // PART_US
            end = begin + (minute + 1) * PART_US
            rows = {name: stream.until(end) for name, stream in streams.items()}
            more = any(stream.next_us is not None for stream in streams.values())
            if not more:
                self._note_what_has_no_time(streams)
            yield self._part(whole, rows, (begin + minute * PART_US, end), part, more)
            self._tally = Tally()
            part += 1

    def _rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        cursor = self._database.cursor()
        cursor.arraysize = 1024
        return iter(cursor.execute(sql))

    def _streams(self) -> dict[str, _Stream]:
        """By table; a table that is not there is an empty stream."""
        poses = self._chosen("ego_pose", ("timestamp", *POSE, *MOTION, "epsg"))
        pose = self._chosen("ego_pose", POSE, "e")
        box = self._chosen("lidar_box", ("track_token", *BOX), "b")
        sql = {
            "ego_pose": f"SELECT {poses} FROM ego_pose WHERE {_timed('timestamp')} ORDER BY timestamp",
            "lidar_pc": (
                f"SELECT p.timestamp, {self._chosen('lidar_pc', ('lidar_token', 'filename'), 'p')}, "
                f"{pose} FROM lidar_pc p LEFT JOIN ego_pose e "
                f"ON e.token = {self._chosen('lidar_pc', ('ego_pose_token',), 'p')} "
                f"WHERE {_timed('p.timestamp')} ORDER BY p.timestamp"
            ),
            "lidar_box": (
                f"SELECT p.timestamp, {box} FROM lidar_box b "
                f"JOIN lidar_pc p ON p.token = b.lidar_pc_token "
                f"WHERE {_timed('p.timestamp')} ORDER BY p.timestamp"
            ),
            "image": (
                f"SELECT i.timestamp, i.camera_token, i.filename_jpg, {pose} "
                f"FROM image i LEFT JOIN ego_pose e "
                f"ON e.token = {self._chosen('image', ('ego_pose_token',), 'i')} "
                f"WHERE {_timed('i.timestamp')} ORDER BY i.timestamp"
            ),
            "traffic_light_status": (
                "SELECT p.timestamp, t.lane_connector_id, t.status FROM traffic_light_status t "
                f"JOIN lidar_pc p ON p.token = t.lidar_pc_token WHERE {_timed('p.timestamp')} "
                "ORDER BY p.timestamp"
            ),
            "scenario_tag": (
                "SELECT p.timestamp, t.type, t.agent_track_token, t.token, t.lidar_pc_token "
                "FROM scenario_tag t JOIN lidar_pc p ON p.token = t.lidar_pc_token "
                f"WHERE {_timed('p.timestamp')} ORDER BY p.timestamp, t.rowid"
            ),
        }
        return {
            table: _Stream(self._rows(query))
            for table, query in sql.items()
            if table in self._columns
        }

    def _chosen(self, table: str, names: Sequence[str], alias: str = "") -> str:
        """Columns of a table for SQL, null in place of those that it lacks."""
        there = self._columns.get(table, ())
        dot = f"{alias}." if alias else ""
        return ", ".join(f"{dot}{name}" if name in there else "NULL" for name in names)

    def _note_what_has_no_time(self, streams: Mapping[str, _Stream]) -> None:
        for table, stream in streams.items():
            total = self._database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
            own = table in ("ego_pose", "lidar_pc", "image")
            reason = f"rows of {table} " + (
                "without a usable stamp" if own else "whose lidar_pc is not there or has no stamp"
            )
            self._tally.add("dropped", reason, int(total) - stream.told)

    # What is the same in every part

    def _whole(self, t0_us: int) -> _Whole:
        about = _about(self._database, self._columns)
        for table in OPTIONAL:
            if table not in self._columns or not self._has_rows(table):
                self._tally.add("missing", f"table {table} is not there or empty")
        sensors, camera, lidar = self._sensors()
        road_map, epsg = self._map(_city(about))
        reason = "the middle of the ego's box is taken to be 0.45 m above the rear axle"
        self._tally.add("guessed", reason)
        name = str(about.get("logfile") or "") or plain_name(self._source).removesuffix(".db")
        return _Whole(
            about=about,
            name=name,
            t0_us=t0_us,
            category=self._categories(),
            sensors=sensors,
            camera=camera,
            lidar=lidar,
            blobs=_Blobs(_blobs_folder(self._source)),
            road_map=road_map,
            stops=_stopping_places(road_map),
            epsg=epsg,
            scenes=self._scenes(t0_us),
        )

    def _has_rows(self, table: str) -> bool:
        return self._database.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None

    def _categories(self) -> dict[bytes, str]:
        """The category's word of each track."""
        told = self._database.execute(
            "SELECT t.token, c.name FROM track t LEFT JOIN category c ON c.token = t.category_token"
        )
        return {token: "" if name is None else str(name) for token, name in told}

    def _sensors(self) -> tuple[list[Sensor], dict[bytes, str], dict[bytes, str]]:
        """Sensors, and the channels of cameras and lidars by token."""
        itself = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
        sensors = [Sensor(channel=EGO_SENSOR, kind="imu", ego_from_sensor=itself)]
        names: list[dict[bytes, str]] = []
        lens = ("intrinsic", "distortion", "width", "height")
        for table, extra in (("camera", lens), ("lidar", ())):
            rows = []
            if table in self._columns:
                chosen = self._chosen(
                    table, ("token", "channel", "translation", "rotation", *extra)
                )
                rows = self._database.execute(
                    f"SELECT {chosen} FROM {table} ORDER BY rowid"
                ).fetchall()
            taken = [sensor.channel for sensor in sensors]
            told = (str(row[1] or table) for row in rows)
            channels, notes = distinct([*taken, *told], table)
            self._tally.extend(notes)
            channels = channels[len(taken) :]
            names.append({row[0]: channel for row, channel in zip(rows, channels, strict=True)})
            for row, channel in zip(rows, channels, strict=True):
                sensors.append(self._sensor(table, channel, row))
        return sensors, names[0], names[1]

    def _sensor(self, kind: str, channel: str, row: Sequence[Any]) -> Sensor:
        translation, rotation = self._numbers(row[2], 3), self._numbers(row[3], 4)
        placed = None
        if translation is not None and rotation is not None and _is_rotation(rotation):
            placed = np.concatenate([translation, rotation / np.linalg.norm(rotation)])
        else:
            self._tally.add("missing", f"where a {kind} is mounted")
        if kind != "camera":
            return Sensor(channel=channel, kind=kind, ego_from_sensor=placed)
        matrix, distortion = self._numbers(row[4], 9), self._numbers(row[5], None)
        intrinsics: tuple[float, ...] = ()
        if matrix is not None:
            fx, skew, cx, _, fy, cy, *_ = matrix.tolist()
            intrinsics = (fx, fy, cx, cy, *((skew,) if skew else ()))
        return Sensor(
            channel=channel,
            kind=kind,
            ego_from_sensor=placed,
            model="pinhole",
            intrinsics=intrinsics,
            distortion=() if distortion is None else tuple(distortion.tolist()),
            width=row[6] if isinstance(row[6], int) else None,
            height=row[7] if isinstance(row[7], int) else None,
        )

    def _numbers(self, blob: Any, count: int | None) -> Array | None:
        """Calibration, which nuPlan keeps as pickled lists of numbers; None if it is not that."""
        if not isinstance(blob, bytes):
            return None
        try:
            numbers = np.array(loads(blob, path=self._source), dtype=np.float64).ravel()
        except (UnreadableFile, ValueError, TypeError):
            self._tally.add("missing", "calibration that is no list of numbers")
            return None
        fits = np.isfinite(numbers).all() and (count is None or len(numbers) == count)
        return numbers if fits else None

    def _map(self, city: str) -> tuple[RoadMap, int | None]:
        """The city's map and the plane of the log."""
        told = self._database.execute(
            "SELECT epsg, COUNT(*) FROM ego_pose WHERE typeof(epsg) = 'integer' AND epsg > 0 "
            "GROUP BY epsg ORDER BY COUNT(*) DESC LIMIT 1"
            if "epsg" in self._columns["ego_pose"]
            else "SELECT NULL"
        ).fetchone()
        epsg = None if told is None or told[0] is None else int(told[0])
        path = find_map(self._source, city)
        if path is None:
            reason = (
                f"the map of {city or 'the city'} was not found: put nuplan-maps-v1.0 beside the "
                "logs or above them, or name its folder in NUPLAN_MAPS_ROOT"
            )
            self._tally.add("missing", reason)
            return RoadMap.none(), epsg
        road_map, plane, notes = read_map(path, city)
        if plane is not None and epsg is not None and plane != epsg:
            reason = f"poses name EPSG {epsg}, the map EPSG {plane}; the map's is taken"
            self._tally.add("guessed", reason)
        away = self._distance_to(road_map)
        if away > FOREIGN_MAP_M:
            reason = (
                f"the map {path.name} of {city}: the ego drives {away / 1000:.0f} km outside of it"
            )
            self._tally.add("dropped", reason, len(road_map.features))
            return RoadMap.none(), epsg if epsg is not None else plane
        self._tally.extend(notes)
        return road_map, plane if plane is not None else epsg

    def _distance_to(self, road_map: RoadMap) -> float:
        """How far outside of the map the ego's middle place lies [m]."""
        usual = [f.points[:, :2] for f in road_map.features]
        told = self._database.execute(
            "SELECT AVG(x), AVG(y) FROM ego_pose WHERE abs(x) < 1e9 AND abs(y) < 1e9"
        ).fetchone()
        if not usual or told is None or None in told:
            return 0.0
        low = np.min([points.min(axis=0) for points in usual], axis=0)
        high = np.max([points.max(axis=0) for points in usual], axis=0)
        outside = np.maximum(np.maximum(low - told, told - high), 0.0)
        return float(np.hypot(*outside))

    def _scenes(self, t0_us: int) -> list[tuple[Window, Mapping[str, Any]]]:
        """The source's scenes with what it tells of each, in order of time."""
        if "scene" not in self._columns or "scene_token" not in self._columns["lidar_pc"]:
            return []
        spans = {
            token: (int(first), int(last))
            for token, first, last in self._database.execute(
                "SELECT scene_token, MIN(timestamp), MAX(timestamp) FROM lidar_pc "
                f"WHERE scene_token IS NOT NULL AND {_timed('timestamp')} GROUP BY scene_token"
            )
        }
        goal = self._chosen("scene", ("goal_ego_pose_token",), "s")
        told = self._database.execute(
            f"SELECT s.token, {self._chosen('scene', ('name', 'roadblock_ids'), 's')}, {goal}, "
            f"e.timestamp, {self._chosen('ego_pose', POSE, 'e')} "
            f"FROM scene s LEFT JOIN ego_pose e ON e.token = {goal} ORDER BY s.rowid"
        )
        found = []
        for token, name, route, goal_token, goal_us, *pose in told:
            if token not in spans:
                self._tally.add("missing", "scenes to which no lidar_pc belongs")
                continue
            first, last = spans[token]
            window = Window(
                source_scene_id=_hex(token),
                t0_ns=(first - t0_us) * 1000,
                t1_ns=(last - t0_us) * 1000,
            )
            detail: dict[str, Any] = {
                "name": name,
                "roadblock_ids": str(route or "").replace(",", " ").split(),
                "goal_ego_pose_token": None if goal_token is None else _hex(goal_token),
            }
            if goal_us is not None:
                detail["goal"] = dict(zip(POSE, pose, strict=True))
                detail["goal_t_ns"] = (int(goal_us) - t0_us) * 1000
            found.append((window, detail))
        return sorted(found, key=lambda scene: scene[0].t0_ns)

    # One part

    def _part(
        self,
        whole: _Whole,
        rows: Mapping[str, list[tuple[Any, ...]]],
        span_us: tuple[int, int],
        part: int,
        more: bool,
    ) -> Log:
        begin_ns, end_ns = ((t - whole.t0_us) * 1000 for t in span_us)
        try:
            ego, readings = self._ego(rows.get("ego_pose", []), whole.t0_us)
            agents = self._agents(rows.get("lidar_box", []), whole)
            frames = [
                *self._frames(rows.get("image", []), whole, whole.camera, "jpeg"),
                *self._frames(rows.get("lidar_pc", []), whole, whole.lidar, "pcd"),
            ]
            lights = self._lights(rows.get("traffic_light_status", []), whole)
        except (ValueError, TypeError, OverflowError) as error:
            raise BadRecord(
                self._source,
                f"a column holds what it cannot hold ({error})",
                record=f"part {part}",
            ) from error
        return Log(
            dataset=DATASET,
            source_log_id=whole.name,
            source_uri=str(self._source),
            rate_hz=RATE_HZ,
            ego=ego,
            agents=agents,
            map=whole.road_map,
            lights=lights,
            t0_unix_ns=whole.t0_us * 1000,
            split=_split(self._source),
            location=str(whole.about.get("location") or _city(whole.about)) or None,
            license=DATASET_LICENSE,
            epsg=whole.epsg,
            sensors=whole.sensors,
            frames=frames,
            readings=readings,
            windows=[w for w, _ in whole.scenes if begin_ns <= w.t0_ns < end_ns],
            events=[_event(row, whole.t0_us) for row in rows.get("scenario_tag", [])],
            notes=self._tally.notes(),
            extra={
                "log": whole.about,
                "centre_in_ego_m": CENTRE_IN_EGO.tolist(),
                "scenes": {w.source_scene_id: detail for w, detail in whole.scenes},
            },
            part=part,
            more=more,
        )

    def _ego(
        self, rows: Sequence[tuple[Any, ...]], t0_us: int
    ) -> tuple[EgoStates | None, list[Readings]]:
        if not rows:
            return None, []
        t_ns = (_stamps(rows) - t0_us) * 1000
        table = np.array([row[1:17] for row in rows], dtype=np.float64)
        first = np.concatenate([[True], np.diff(t_ns) > 0])
        self._tally.add("dropped", "poses of the ego at a time told before", int((~first).sum()))
        usable = (np.abs(table[:, :3]) < FARTHEST_M).all(axis=1) & usable_quaternions(
            table[:, 3:7]
        )
        self._tally.add(
            "dropped", "poses of the ego that are no poses", int((first & ~usable).sum())
        )
        t_ns, table = t_ns[first & usable], table[first & usable]
        if not len(t_ns):
            return None, []
        table[:, 7:][np.abs(table[:, 7:]) > FASTEST] = np.nan
        quaternion = table[:, 3:7] / np.linalg.norm(table[:, 3:7], axis=1, keepdims=True)
        rotation = rotation_from_quaternion(quaternion)
        motion = dict(zip(MOTION, table[:, 7:].T, strict=True))
        speed = np.stack([motion["vx"], motion["vy"], np.nan_to_num(motion["vz"])], axis=1)
        turning = np.stack([motion[f"angular_rate_{axis}"] for axis in "xyz"], axis=1)
        at_centre = speed + np.cross(np.nan_to_num(turning), CENTRE_IN_EGO)
        velocity = np.einsum("nij,nj->ni", rotation, at_centre)[:, :2]
        ego = EgoStates(
            t_ns=t_ns,
            xyz=table[:, :3] + rotation @ CENTRE_IN_EGO,
            yaw=yaw_from_quaternion(quaternion),
            size=EGO_SIZE,
            quaternion=quaternion,
            velocity=_known(velocity),
            acceleration=_known(motion["acceleration_x"]),
            yaw_rate=_known(motion["angular_rate_z"]),
        )
        readings = [
            Readings(channel=EGO_SENSOR, signal=name, t_ns=t_ns, value=motion[name], unit=unit)
            for name, unit in EGO_READINGS.items()
            if _known(motion[name]) is not None
        ]
        return ego, readings

    def _agents(self, rows: Sequence[tuple[Any, ...]], whole: _Whole) -> Observations:
        if not rows:
            return Observations.none()
        known = [row for row in rows if isinstance(row[1], bytes)]
        self._tally.add("dropped", "boxes of no track", len(rows) - len(known))
        tokens: dict[bytes, int] = {}
        track = np.array([tokens.setdefault(row[1], len(tokens)) for row in known], dtype=np.int64)
        t_ns = (_stamps(known) - whole.t0_us) * 1000
        table = np.array([row[2:] for row in known], dtype=np.float64).reshape(-1, len(BOX))
        usable = np.asarray((np.abs(table[:, [0, 1, 2, 6]]) < FARTHEST_M).all(axis=1))
        self._tally.add("dropped", "boxes without place or heading", int((~usable).sum()))
        order = np.lexsort((t_ns, track))
        order = order[usable[order]]
        same = np.zeros(len(order), dtype=bool)
        same[1:] = (np.diff(track[order]) == 0) & (np.diff(t_ns[order]) == 0)
        self._tally.add("dropped", "second boxes of a track at one time", int(same.sum()))
        order = order[~same]
        self._tally.add("dropped", "the vertical velocity and the confidence of boxes", len(order))
        seen, number = np.unique(track[order], return_inverse=True)
        by_number = list(tokens)
        names = [by_number[k] for k in seen.tolist()]
        self._tally.add(
            "missing", "tracks of no category", sum(not whole.category.get(name) for name in names)
        )
        words = [whole.category.get(name, "") for name in names]
        table = table[order]
        size = np.where(table[:, 3:6] > 0.0, table[:, 3:6], np.nan)
        return Observations(
            track=number.astype(np.int64),
            t_ns=t_ns[order],
            xyz=np.ascontiguousarray(table[:, :3]),
            yaw=np.asarray(wrap(table[:, 6])),
            size=size,
            velocity=_known(table[:, 7:9]),
            source_track_id=[name.hex() for name in names],
            source_cls=words,
            cls=[
                CLASSES.get(word, AgentClass.OTHER if word else AgentClass.UNKNOWN)
                for word in words
            ],
        )

    def _frames(
        self,
        rows: Sequence[tuple[Any, ...]],
        whole: _Whole,
        channels: Mapping[bytes, str],
        codec: str,
    ) -> Iterator[Frame]:
        taken: set[tuple[str, int]] = set()
        for stamp, token, name, *pose in rows:
            channel = channels.get(token)
            if channel is None or not name:
                self._tally.add("dropped", "captures of no known sensor or without a file name")
                continue
            uri = whole.blobs.uri(str(name))
            if uri is None:
                reason = "captures whose file name leads out of the folder of sensor files"
                self._tally.add("dropped", reason)
                continue
            if (channel, stamp) in taken:
                self._tally.add("dropped", "second captures of a sensor at one time")
                continue
            taken.add((channel, stamp))
            if not whole.blobs.holds(uri):
                reason = (
                    f"sensor files are told but not in {whole.blobs.folder}: fetch them, or name "
                    f"their folder in {SENSOR_ROOT}"
                )
                self._tally.add("missing", reason)
            placed = np.array(pose, dtype=np.float64)
            usable = bool((np.abs(placed[:3]) < FARTHEST_M).all()) and _is_rotation(placed[3:])
            yield Frame(
                channel=channel,
                t_ns=(int(stamp) - whole.t0_us) * 1000,
                uri=str(uri),
                codec=codec,
                world_from_ego=tuple(placed.tolist()) if usable else None,
            )

    def _lights(self, rows: Sequence[tuple[Any, ...]], whole: _Whole) -> LightStates:
        told: dict[tuple[int, str], str] = {}
        for stamp, connector, status in rows:
            key = (int(stamp), str(connector))
            if key in told:
                self._tally.add("dropped", "second states of a light at one time")
            told.setdefault(key, "" if status is None else str(status))
        if not told:
            return LightStates.none()
        stops = [whole.stops.get(lane) for _, lane in told]
        if any(stop is not None for stop in stops):
            reason = "a light's stopping place is where its lane connector begins"
            self._tally.add("guessed", reason, sum(stop is not None for stop in stops))
        strange = sum(word.lower() not in LIGHTS for word in told.values())
        self._tally.add("guessed", "light states that are no colour count as unknown", strange)
        nowhere = np.full(3, np.nan)
        return LightStates(
            source_lane_id=[lane for _, lane in told],
            t_ns=np.array([(t - whole.t0_us) * 1000 for t, _ in told], dtype=np.int64),
            state=np.array(
                [LIGHTS.get(word.lower(), LightState.UNKNOWN) for word in told.values()],
                dtype=np.int64,
            ),
            source_state=list(told.values()),
            arrow=np.zeros(len(told), dtype=bool),
            flashing=np.zeros(len(told), dtype=bool),
            stop_xyz=np.array([nowhere if stop is None else stop for stop in stops]),
        )


def _event(row: Sequence[Any], t0_us: int) -> SourceEvent:
    stamp, kind, track, token, moment = row
    t_ns = (int(stamp) - t0_us) * 1000
    return SourceEvent(
        name=str(kind),
        t0_ns=t_ns,
        t1_ns=t_ns,
        source_track_id=_hex(track) if track else None,
        detail={"token": _hex(token), "lidar_pc_token": _hex(moment)},
    )


def _stopping_places(road_map: RoadMap) -> dict[str, Float[Array, 3]]:
    """Where lane connectors that have a stop line begin, by id [m]."""
    lines = road_map.edges[:, 1] == EdgeKind.STOP_LINE_OF_LANE
    lanes: Iterator[MapFeature] = (road_map.features[int(k)] for k in road_map.edges[lines, 2])
    return {f.source_id: f.points[0] for f in lanes if f.layer is MapLayer.LANE}


def _timed(column: str) -> str:
    """The condition of SQL for a usable stamp."""
    return f"typeof({column}) = 'integer' AND {column} BETWEEN 0 AND {LATEST_US}"


def _stamps(rows: Sequence[tuple[Any, ...]]) -> Int[Array, " rows"]:
    return np.array([row[0] for row in rows], dtype=np.int64)


def _is_rotation(wxyz: Float[Array, 4]) -> bool:
    return bool(usable_quaternions(wxyz[None]).all())


def _known(values: Array) -> Any:
    """The values, or None if all are unknown."""
    return values if np.isfinite(values).any() else None


def _split(source: Path) -> str | None:
    """The folder under ``splits``."""
    parent = source.resolve().parent
    return parent.name if parent.parent.name == "splits" else None


# ── Sensor files ─────────────────────────────────────────────────────────────────────────────────


class _Blobs:
    """The folder of sensor files; each folder within is listed once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listings: dict[str, frozenset[str]] = {}

    def uri(self, name: str) -> Path | None:
        """Where a file is by its told name; None if that leads out of the folder."""
        told = PurePosixPath(name)
        if told.is_absolute() or ".." in told.parts or "\x00" in name:
            return None
        return self.folder / told

    def holds(self, uri: Path) -> bool:
        """Whether a file is there."""
        parent, _, name = str(uri).rpartition("/")
        if parent not in self._listings:
            there = Path(parent)
            names = (file.name for file in there.iterdir()) if there.is_dir() else ()
            self._listings[parent] = frozenset(names)
        return name in self._listings[parent]


def _blobs_folder(source: Path) -> Path:
    """Where the sensor files are; where they would be if they are nowhere."""
    places = [
        Path(os.environ[name], *within)
        for name, within in ((SENSOR_ROOT, ()), (DATA_ROOT, ("nuplan-v1.1", BLOBS)))
        if name in os.environ
    ]
    above = source.resolve().parents
    places += [folder / BLOBS for folder in above]
    usual = above[2] if len(above) > 2 and above[1].name == "splits" else above[0]
    return next((place for place in places if place.is_dir()), usual / BLOBS)
