"""Data sets to time an ingest with, and the barest decoding of each.

``DATASETS`` names, per format, what writes a set of logs and what decodes the same files with the
fastest public parser, on one thread, keeping what each file decodes to until the next. Where real
logs lie under ``$SCENELAKE_REAL_DATA`` they are copied under new names until there are enough;
else the set is drawn from a seed in the layout that is published.
"""

from __future__ import annotations

import gzip
import importlib
import json
import os
import shutil
import sqlite3
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from lake_ingest_mcap import decode_mcap, write_osi, write_ros2
from pyarrow import csv, feather, parquet

from schemas.errors import MissingData

Make = Callable[[Path, float], None]
"""Write a set into a folder; the size is 1 by default."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """One row of the table.

    Attributes:
        format: Name of the reader.
        what: For people: what the set is.
        make: Writes it.
        decode: Reads all its files, and nothing else.
        parser: What ``decode`` uses.
        ending: Of the files that are decoded.
        long: Whether it is one long log, there to see how much memory it takes.
    """

    format: str
    what: str
    make: Make
    decode: Callable[[Path], None]
    parser: str
    ending: str = field(default="")
    long: bool = False


# ── Real logs under new names ────────────────────────────────────────────────────────────────────


def real(*parts: str) -> Path:
    """A file or folder of the real logs.

    Raises:
        MissingData: There is none here.
    """
    root = os.environ.get("SCENELAKE_REAL_DATA", "")
    path = Path(root, *parts)
    if not root or not path.exists():
        raise MissingData(
            f"{'/'.join(parts)} of the real logs is not here.",
            hint="Set SCENELAKE_REAL_DATA to their folder.",
        )
    return path


def unpacked(path: Path) -> bytes:
    """A file's content, whether it is packed or not."""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def waymo_motion(folder: Path, size: float) -> None:
    """One scenario again and again, under new ids, 20 to a file."""
    from formats.tfrecord import write_records
    from formats.waymo_protos import message_class

    (data,) = records(real("waymo_open_dataset", "motion_data_one_scenario.tfrecord"))
    message = message_class("Scenario").FromString(data)
    many: list[bytes] = []
    for number in range(max(round(60 * size), 1)):
        message.scenario_id = f"{number:016x}"
        # Shifted, so that no two maps are one.
        for feature in message.map_features[:1]:
            feature.id += 10_000_000
        many.append(message.SerializeToString())
    for begin in range(0, len(many), 20):
        name = f"training.tfrecord-{begin // 20:05d}-of-01000"
        write_records(folder / name, many[begin : begin + 20])


def waymo_tfexample(folder: Path, size: float) -> None:
    """One tf.Example again and again, under new ids."""
    from formats.tfrecord import write_records
    from formats.waymo_protos import message_class

    (data,) = records(real("waymo_open_dataset", "motion_data_one_example.tfrecord"))
    message = message_class("Example").FromString(data)
    many: list[bytes] = []
    for number in range(max(round(60 * size), 1)):
        for feature in message.features.feature:
            if feature.key == "scenario/id":
                feature.value.bytes_list.value[0] = f"{number:016x}".encode()
        many.append(message.SerializeToString())
    for begin in range(0, len(many), 20):
        write_records(
            folder / f"training_tfexample.tfrecord-{begin // 20:05d}-of-01000",
            many[begin : begin + 20],
        )


def waymo_perception(folder: Path, size: float) -> None:
    """One frame again and again as segments of 4 s."""
    from formats.tfrecord import write_records
    from formats.waymo_protos import message_class

    (data,) = records(real("waymo_open_dataset", "pvps_data_one_frame.tfrecord"))
    message = message_class("Frame").FromString(data)
    begin = message.timestamp_micros
    for number in range(max(round(2 * size), 1)):
        name = f"{number + 1000}_000_000_020_000"
        frames = []
        message.context.name = name
        for k in range(40):
            message.timestamp_micros = begin + 100_000 * k
            frames.append(message.SerializeToString())
        path = folder / f"segment-{name}_with_camera_labels.tfrecord"
        write_records(path, frames)


def gpudrive(folder: Path, size: float) -> None:
    """All scenarios, several times."""
    sources = sorted(real("womd_gpudrive_json").rglob("*.json*"))
    for number in range(max(round(2 * size), 1)):
        for path in sources:
            content = json.loads(unpacked(path))
            content["scenario_id"] = f"{content.get('scenario_id', path.stem)}_{number}"
            content["name"] = f"{number}_{content.get('name', path.stem)}"
            name = f"{number}_{path.parent.name}_{path.name.removesuffix('.gz')}"
            (folder / name).write_text(json.dumps(content))


def scenarionet(folder: Path, size: float) -> None:
    """All scenarios, several times."""
    pickle = importlib.import_module("pickle")
    sources = [p for name in ("waymo", "nuscenes") for p in sorted(real(f"scenarionet_{name}").rglob("sd_*.pkl*"))]  # fmt: skip
    for number in range(max(round(3 * size), 1)):
        for path in sources:
            content = pickle.loads(unpacked(path))
            content["id"] = f"{content['id']}_{number}"
            for key in ("scenario_id", "id"):
                if key in content["metadata"]:
                    content["metadata"][key] = content["id"]
            name = path.name.removesuffix(".gz").removesuffix(".pkl")
            (folder / f"{name}_{number}.pkl").write_bytes(pickle.dumps(content))


def argoverse2_motion(folder: Path, size: float) -> None:
    """One scenario again and again, under new ids."""
    (source,) = [p for p in real("argoverse2", "forecasting_scenarios").iterdir() if p.is_dir()]
    table = parquet.read_table(source / f"scenario_{source.name}.parquet")
    road = (source / f"log_map_archive_{source.name}.json").read_bytes()
    place = table.schema.get_field_index("scenario_id")
    for number in range(max(round(100 * size), 1)):
        name = f"{number:08x}{source.name[8:]}"
        (folder / name).mkdir(parents=True)
        ids = pa.array([name] * table.num_rows)
        parquet.write_table(
            table.set_column(place, "scenario_id", ids), folder / name / f"scenario_{name}.parquet"
        )
        (folder / name / f"log_map_archive_{name}.json").write_bytes(road)


def argoverse2_sensor(folder: Path, size: float) -> None:
    """One log of 16 s again and again, under new names."""
    source = next(real("argoverse2", "sensor", "val").iterdir())
    for number in range(max(round(20 * size), 1)):
        name = f"{number:08x}{source.name[8:]}"
        target = folder / name
        for path in source.rglob("*"):
            if path.is_file() and "sensors" not in path.parts[len(source.parts) :]:
                relative = str(path.relative_to(source)).replace(source.name, name)
                if "flow_labels" in relative or relative.endswith(".npy"):
                    continue
                (target / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target / relative)


def commonroad(folder: Path, size: float) -> None:
    """All scenarios, unpacked."""
    for number in range(max(round(size), 1)):
        for path in sorted(real("commonroad").glob("*.xml*")):
            text = unpacked(path)
            if number:
                text = text.replace(b'benchmarkID="', f'benchmarkID="{number}'.encode(), 1)
            (folder / f"{number}_{path.name.removesuffix('.gz')}").write_bytes(text)


def osi(folder: Path, size: float) -> None:
    """The traces, several times."""
    for number in range(max(round(4 * size), 1)):
        for path in sorted(real("osi_omega_prime").rglob("*.osi")):
            shutil.copy(path, folder / f"{number}_{path.name}")


# ── Drawn logs ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Rows:
    """Traffic on straight lanes, in the order of time: everyone lives for 30 s."""

    track: Any
    step: Any
    x: Any
    y: Any
    yaw: Any
    speed: Any
    rate: float


def drawn(minutes: float, *, agents: int = 30, rate: float = 10.0) -> Rows:
    """``agents`` at any time, at 4 to 15 m/s, every third one the other way."""
    rng = np.random.default_rng(0)
    life = round(30 * rate)
    steps = max(round(minutes * 60 * rate), life)
    births = np.arange(0, steps - life + 1, max(life // agents, 1))
    speed = rng.uniform(4.0, 15.0, len(births))
    way = np.where(np.arange(len(births)) % 3 == 0, -1.0, 1.0)
    lane = rng.integers(0, 4, len(births)) * 3.5 * way
    track = np.repeat(np.arange(len(births)), life)
    k = np.tile(np.arange(life), len(births))
    step = births[track] + k
    x = -150.0 * way[track] + way[track] * speed[track] * k / rate
    y = lane[track] + 0.3 * np.sin(k / rate)
    yaw = np.where(way[track] > 0, 0.0, np.pi) + 0.02 * np.cos(k / rate)
    order = np.argsort(step, kind="stable")
    return Rows(track[order], step[order], x[order], y[order], yaw[order], speed[track][order], rate)  # fmt: skip


LEVELX_COLUMNS = (
    "recordingId", "trackId", "frame", "trackLifetime", "xCenter", "yCenter", "heading", "width",
    "length", "xVelocity", "yVelocity", "xAcceleration", "yAcceleration", "lonVelocity",
    "latVelocity", "lonAcceleration", "latAcceleration",
)  # fmt: skip


def levelx(folder: Path, size: float, *, agents: int = 30) -> None:
    """An inD recording: sorted by track, 25 Hz."""
    rows = drawn(20 * size, agents=agents, rate=25.0)
    order = np.lexsort((rows.step, rows.track))
    track, step, yaw = rows.track[order], rows.step[order], rows.yaw[order]
    speed = rows.speed[order]
    first = step[np.searchsorted(track, track)]
    zero = np.zeros(len(track))
    columns = (
        np.full(len(track), 3), track, step, step - first, rows.x[order].round(5),
        rows.y[order].round(5), np.degrees(yaw).round(5) % 360.0, zero + 1.9, zero + 4.6,
        (speed * np.cos(yaw)).round(5), (speed * np.sin(yaw)).round(5), zero, zero,
        speed.round(5), zero, zero, zero,
    )  # fmt: skip
    home = folder / "inD-dataset-v1.0" / "data"
    home.mkdir(parents=True)
    to_csv(home / "03_tracks.csv", dict(zip(LEVELX_COLUMNS, columns, strict=True)))
    tracks, begin, count = np.unique(track, return_index=True, return_counts=True)
    to_csv(
        home / "03_tracksMeta.csv",
        {
            "recordingId": np.full(len(tracks), 3), "trackId": tracks, "initialFrame": step[begin],
            "finalFrame": step[begin] + count - 1, "numFrames": count,
            "width": np.full(len(tracks), 1.9), "length": np.full(len(tracks), 4.6),
            "class": ["car"] * len(tracks),
        },
    )  # fmt: skip
    (home / "03_recordingMeta.csv").write_text(
        "recordingId,locationId,frameRate,speedLimit,weekday,startTime,duration,numTracks,"
        "numVehicles,numVRUs,latLocation,lonLocation,xUtmOrigin,yUtmOrigin,orthoPxToMeter\n"
        f"3,4,25.0,13.88889,tuesday,15,{size * 1200},{len(tracks)},{len(tracks)},0,50.78505,"
        "6.13068,297631.3187,5629917.34465,0.0126999\n"
    )


def interaction(folder: Path, size: float) -> None:
    """Recorded files of 5 minutes."""
    home = folder / "recorded_trackfiles" / "DR_USA_Intersection_EP0"
    home.mkdir(parents=True)
    for number in range(max(round(12 * size), 1)):
        rows = drawn(5.0)
        order = np.lexsort((rows.step, rows.track))
        track, step = rows.track[order], rows.step[order]
        yaw, speed = rows.yaw[order], rows.speed[order]
        to_csv(
            home / f"vehicle_tracks_{number:03d}.csv",
            {
                "track_id": track + 1, "frame_id": step + 1, "timestamp_ms": (step + 1) * 100,
                "agent_type": ["car"] * len(track), "x": (1000 + rows.x[order]).round(3),
                "y": (1000 + rows.y[order]).round(3), "vx": (speed * np.cos(yaw)).round(3),
                "vy": (speed * np.sin(yaw)).round(3), "psi_rad": yaw.round(3),
                "length": np.full(len(track), 4.52), "width": np.full(len(track), 1.87),
            },
        )  # fmt: skip


NGSIM_COLUMNS = (
    "Vehicle_ID,Frame_ID,Total_Frames,Global_Time,Local_X,Local_Y,Global_X,Global_Y,v_length,"
    "v_Width,v_Class,v_Vel,v_Acc,Lane_ID,O_Zone,D_Zone,Int_ID,Section_ID,Direction,Movement,"
    "Preceding,Following,Space_Headway,Time_Headway,Location"
)


def ngsim(folder: Path, size: float) -> None:
    """One file of a freeway, sorted by vehicle."""
    rows = drawn(20 * size, agents=60)
    order = np.lexsort((rows.step, rows.track))
    track, step = rows.track[order], rows.step[order]
    count = len(track)
    foot = 0.3048
    empty = pa.nulls(count, pa.string())
    columns = [
        track + 1, step + 13, np.full(count, 300), 1113433135300 + 100 * step,
        (rows.y[order] / foot + 30).round(3), (rows.x[order] / foot + 600).round(3),
        (6042842.116 + rows.x[order] / foot).round(3),
        (2133117.662 + rows.y[order] / foot).round(3), np.full(count, 14.5), np.full(count, 4.9),
        np.full(count, 2), (rows.speed[order] / foot).round(2), np.zeros(count),
        np.full(count, 2), *[empty] * 6, np.zeros(count, int), np.zeros(count, int),
        np.zeros(count), np.zeros(count), ["us-101"] * count,
    ]  # fmt: skip
    to_csv(folder / "trajectories.csv", dict(zip(NGSIM_COLUMNS.split(","), columns, strict=True)))


def sumo(folder: Path, size: float) -> None:
    """Floating car data without a network."""
    rows = drawn(20 * size, agents=60)
    angle = (90.0 - np.degrees(rows.yaw)) % 360.0
    edges = np.searchsorted(rows.step, np.arange(rows.step[-1] + 2))
    with (folder / "fcd.xml").open("w") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n<fcd-export>\n')
        for k in range(len(edges) - 1):
            file.write(f'    <timestep time="{k / 10:.2f}">\n')
            for i in range(edges[k], edges[k + 1]):
                file.write(
                    f'        <vehicle id="v{rows.track[i]}" x="{rows.x[i]:.2f}" '
                    f'y="{rows.y[i]:.2f}" angle="{angle[i]:.2f}" type="DEFAULT_VEHTYPE" '
                    f'speed="{rows.speed[i]:.2f}" pos="{rows.x[i] + 200:.2f}" lane="e0_0" '
                    'slope="0.00"/>\n'
                )
            file.write("    </timestep>\n")
        file.write("</fcd-export>\n")


TABLE_MAPPING = """dataset = "my_fleet"
data = ["{files}"]

[columns]
log = "drive"
track = "id"
time = "t"
x = "x"
y = "y"
yaw = "yaw"
type = "kind"
length = "length"
width = "width"

[types]
car = "vehicle"
"""


def own_table(folder: Path, size: float, *, kind: str, agents: int = 60) -> None:
    """One's own table, in the order of time."""
    rows = drawn(20 * size, agents=agents)
    count = len(rows.track)
    table = pa.table(
        {
            "drive": ["d0"] * count, "t": rows.step / rows.rate, "id": rows.track,
            "x": rows.x.round(4), "y": rows.y.round(4), "yaw": rows.yaw.round(5),
            "kind": ["car"] * count, "length": np.full(count, 4.6), "width": np.full(count, 1.9),
        }
    )  # fmt: skip
    if kind == "csv":
        csv.write_csv(table, folder / "drives.csv")
    else:
        parquet.write_table(table, folder / "drives.parquet")
    (folder / "drives.scenelake.toml").write_text(TABLE_MAPPING.format(files=f"drives.{kind}"))


NUPLAN_TABLES = {
    "category": "token BLOB PRIMARY KEY, name TEXT, description TEXT",
    "log": "token BLOB PRIMARY KEY, vehicle_name TEXT, date TEXT, timestamp INTEGER, logfile TEXT,"
    " location TEXT, map_version TEXT",
    "ego_pose": "token BLOB PRIMARY KEY, timestamp INTEGER, x FLOAT, y FLOAT, z FLOAT, qw FLOAT,"
    " qx FLOAT, qy FLOAT, qz FLOAT, vx FLOAT, vy FLOAT, vz FLOAT, acceleration_x FLOAT,"
    " acceleration_y FLOAT, acceleration_z FLOAT, angular_rate_x FLOAT, angular_rate_y FLOAT,"
    " angular_rate_z FLOAT, epsg INTEGER, log_token BLOB",
    "camera": "token BLOB PRIMARY KEY, log_token BLOB, channel TEXT, model TEXT, translation BLOB,"
    " rotation BLOB, intrinsic BLOB, distortion BLOB, width INTEGER, height INTEGER",
    "image": "token BLOB PRIMARY KEY, next_token BLOB, prev_token BLOB, ego_pose_token BLOB,"
    " camera_token BLOB, filename_jpg TEXT, timestamp INTEGER",
    "lidar": "token BLOB PRIMARY KEY, log_token BLOB, channel TEXT, model TEXT, translation BLOB,"
    " rotation BLOB",
    "scene": "token BLOB PRIMARY KEY, log_token BLOB, name TEXT, goal_ego_pose_token BLOB,"
    " roadblock_ids TEXT",
    "lidar_pc": "token BLOB PRIMARY KEY, next_token BLOB, prev_token BLOB, ego_pose_token BLOB,"
    " lidar_token BLOB, scene_token BLOB, filename TEXT, timestamp INTEGER",
    "track": "token BLOB PRIMARY KEY, category_token BLOB, width FLOAT, length FLOAT,"
    " height FLOAT",
    "lidar_box": "token BLOB PRIMARY KEY, lidar_pc_token BLOB, track_token BLOB, next_token BLOB,"
    " prev_token BLOB, x FLOAT, y FLOAT, z FLOAT, width FLOAT, length FLOAT, height FLOAT,"
    " vx FLOAT, vy FLOAT, vz FLOAT, yaw FLOAT, confidence FLOAT",
    "traffic_light_status": "token BLOB PRIMARY KEY, lidar_pc_token BLOB,"
    " lane_connector_id INTEGER, status TEXT",
    "scenario_tag": "token BLOB PRIMARY KEY, lidar_pc_token BLOB, type TEXT,"
    " agent_track_token BLOB",
}


def nuplan(folder: Path, size: float, *, minutes: float = 8.0, agents: int = 60) -> None:
    """Logs without their city's map: poses at 100 Hz, sweeps and boxes at 20 Hz, tags."""

    def token(kind: int, number: int) -> bytes:
        return struct.pack(">HHI", 0xC0DE, kind, number)

    for number in range(max(round(2 * size), 1)):
        name = f"2021.08.25.15.30.{number:02d}_veh-35_00000_00400"
        rows = drawn(minutes, agents=agents, rate=20.0)
        sweeps = int(rows.step[-1]) + 1
        t0 = 1_629_900_000_123_457 + number * 10**10
        database = sqlite3.connect(folder / f"{name}.db")
        for table, columns in NUPLAN_TABLES.items():
            database.execute(f"CREATE TABLE {table} ({columns})")

        def put(table: str, made: Iterator[tuple[Any, ...]], to: Any = database) -> None:
            marks = ", ".join("?" * (NUPLAN_TABLES[table].count(",") + 1))
            to.executemany(f"INSERT INTO {table} VALUES ({marks})", made)

        put("category", iter([(token(11, 0), "vehicle", "")]))
        put("log", iter([(token(0, number), "veh-35", "2021-08-25", t0, name, "las_vegas",
                          "us-nv-las-vegas-strip")]))  # fmt: skip
        put("ego_pose", (
            (token(1, k), t0 + 10_000 * k, 664_430.25 + 0.1 * k, 3_999_650.5, 606.5, 1.0, 0.0, 0.0,
             0.0, 10.0, 0.0, 0.0, 0.2, 0.3, 9.8, 0.0, 0.0, 0.1, 32611, token(0, number))
            for k in range(5 * sweeps)
        ))  # fmt: skip
        put("scene", ((token(5, k), token(0, number), f"s{k}", token(1, 0), "11,12")
                      for k in range(sweeps // 400 + 1)))  # fmt: skip
        put("lidar_pc", (
            (token(6, k), None, None, token(1, 5 * k), token(4, 0), token(5, k // 400),
             f"{name}/MergedPointCloud/{k:06d}.pcd", t0 + 50_000 * k + 3)
            for k in range(sweeps)
        ))  # fmt: skip
        tracks = int(rows.track.max()) + 1
        put("track", ((token(7, k), token(11, 0), 2.0, 4.5, 1.6) for k in range(tracks)))
        put("lidar_box", (
            (token(8, i), token(6, step), token(7, track), None, None, 664_430.25 + x,
             3_999_650.5 + y, 607.0, 2.0, 4.5, 1.6, speed, 0.0, 0.0, yaw, 0.9)
            for i, (step, track, x, y, yaw, speed) in enumerate(
                zip(rows.step.tolist(), rows.track.tolist(), rows.x.tolist(), rows.y.tolist(),
                    rows.yaw.tolist(), rows.speed.tolist(), strict=True))
        ))  # fmt: skip
        put("scenario_tag", ((token(10, k), token(6, k), "stationary", None)
                             for k in range(0, sweeps, 4)))  # fmt: skip
        database.commit()
        database.close()


def mcap(folder: Path, size: float) -> None:
    """A drive of an hour in ROS 2 messages: objects, odometry, IMU, CAN, cameras, lidar."""
    write_ros2(folder / "drive" / "drive.mcap", drawn(60 * size, agents=60))


def osi_mcap(folder: Path, size: float) -> None:
    """An hour of ground truth at 20 Hz."""
    write_osi(folder / "traces" / "traffic.mcap", drawn(60 * size, agents=60, rate=20.0))


def nuscenes(folder: Path, size: float, *, sweeps_between: int = 6) -> None:
    """Tables of 20 s scenes, 12 sensors, 30 boxes a sample; sensor payloads are not there."""
    channels = [("camera", f"CAM_{n}") for n in range(6)] + [("lidar", "LIDAR_TOP")]
    channels += [("radar", f"RADAR_{n}") for n in range(5)]
    tables: dict[str, list[dict[str, Any]]] = {
        name: []
        for name in (
            "attribute", "calibrated_sensor", "category", "ego_pose", "instance", "log", "map",
            "sample", "sample_annotation", "sample_data", "scene", "sensor", "visibility",
        )
    }  # fmt: skip

    def token(*parts: int) -> str:
        return "".join(f"{part:08x}" for part in (*parts, *[0] * (4 - len(parts))))

    tables["category"].append({"token": token(1), "name": "vehicle.car", "description": ""})
    tables["attribute"].append({"token": token(2), "name": "vehicle.moving", "description": ""})
    tables["visibility"].append({"token": "4", "level": "v80-100", "description": ""})
    tables["map"].append({"token": token(3), "log_tokens": [token(4)], "category": "x",
                          "filename": "maps/a.png"})  # fmt: skip
    tables["log"].append({"token": token(4), "logfile": "n008-2018-08-01", "vehicle": "n008",
                          "date_captured": "2018-08-01", "location": "boston-seaport"})  # fmt: skip
    for c, (kind, channel) in enumerate(channels):
        tables["sensor"].append({"token": token(5, c), "channel": channel, "modality": kind})
        tables["calibrated_sensor"].append({
            "token": token(6, c), "sensor_token": token(5, c), "translation": [1.7, 0.1, 1.5],
            "rotation": [0.5, -0.5, 0.5, -0.5],
            "camera_intrinsic": [[1266.4, 0.0, 816.2], [0.0, 1266.5, 491.5], [0.0, 0.0, 1.0]]
            if kind == "camera" else [],
        })  # fmt: skip
    for s in range(max(round(25 * size), 1)):
        t0 = 1_533_151_603_547_590 + s * 30_000_000
        tables["scene"].append({
            "token": token(7, s), "name": f"scene-{s:04d}", "description": "Turn, cars",
            "log_token": token(4), "nbr_samples": 40, "first_sample_token": token(8, s, 0),
            "last_sample_token": token(8, s, 39),
        })  # fmt: skip
        for a in range(30):
            tables["instance"].append({
                "token": token(9, s, a), "category_token": token(1), "nbr_annotations": 40,
                "first_annotation_token": token(10, s, a, 0),
                "last_annotation_token": token(10, s, a, 39),
            })  # fmt: skip
        for k in range(40):
            t = t0 + 500_000 * k
            tables["sample"].append({
                "token": token(8, s, k), "timestamp": t, "scene_token": token(7, s),
                "prev": token(8, s, k - 1) if k else "",
                "next": token(8, s, k + 1) if k < 39 else "",
            })  # fmt: skip
            for a in range(30):
                tables["sample_annotation"].append({
                    "token": token(10, s, a, k), "sample_token": token(8, s, k),
                    "instance_token": token(9, s, a), "visibility_token": "4",
                    "attribute_tokens": [token(2)],
                    "translation": [120.123 + 2.0 * k, 203.5 + 4.0 * a, 0.9],
                    "size": [1.9, 4.6, 1.7], "rotation": [1.0, 0.0, 0.0, 0.0],
                    "prev": token(10, s, a, k - 1) if k else "",
                    "next": token(10, s, a, k + 1) if k < 39 else "",
                    "num_lidar_pts": 10, "num_radar_pts": 0,
                })  # fmt: skip
            for c, (kind, channel) in enumerate(channels):
                for n in range(sweeps_between):
                    at = t + n * 500_000 // sweeps_between + 1000 * c
                    capture = token(11, s * 16 + c, k, n)
                    ending = "jpg" if kind == "camera" else "pcd.bin" if kind == "lidar" else "pcd"
                    tables["sample_data"].append({
                        "token": capture, "sample_token": token(8, s, k),
                        "ego_pose_token": capture, "calibrated_sensor_token": token(6, c),
                        "timestamp": at, "fileformat": "jpg" if kind == "camera" else "pcd",
                        "is_key_frame": n == 0, "height": 900 if kind == "camera" else 0,
                        "width": 1600 if kind == "camera" else 0,
                        "filename": f"{'sweeps' if n else 'samples'}/{channel}/n008__{channel}__"
                        f"{at}.{ending}", "prev": "", "next": "",
                    })  # fmt: skip
                    tables["ego_pose"].append({
                        "token": capture, "timestamp": at, "rotation": [1.0, 0.0, 0.0, 0.0],
                        "translation": [100.0 + 5e-6 * (at - t0), 200.0, 0.0],
                    })  # fmt: skip
    home = folder / "v1.0-mini"
    home.mkdir(parents=True)
    for name, made in tables.items():
        (home / f"{name}.json").write_text(json.dumps(made, indent=0))


def to_csv(path: Path, columns: dict[str, Any]) -> None:
    """Columns as text, without quotes."""
    options = csv.WriteOptions(quoting_style="none")
    csv.write_csv(pa.table(columns), path, options)


# ── Bare decoding ────────────────────────────────────────────────────────────────────────────────


def records(path: Path) -> list[bytes]:
    """The records of a TFRecord file, checksums not looked at."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        found.append(data[at + 12 : at + 12 + length])
        at += length + 16
    return found


def each(*patterns: str) -> Callable[[Callable[[Path], object]], Callable[[Path], None]]:
    """Decode every file of a folder that matches."""

    def over(decode: Callable[[Path], object]) -> Callable[[Path], None]:
        def run(folder: Path) -> None:
            for pattern in patterns:
                for path in sorted(folder.rglob(pattern)):
                    decode(path)

        return run

    return over


def protos(name: str) -> Callable[[Path], object]:
    """Records of a TFRecord file as messages."""

    def decode(path: Path) -> object:
        from formats.waymo_protos import message_class

        kind = message_class(name)
        return [kind.FromString(data) for data in records(path)]

    return decode


def json_bytes(path: Path) -> object:
    """By orjson where it is installed, which is faster than the standard library."""
    try:
        loads = importlib.import_module("orjson").loads
    except ImportError:
        loads = json.loads
    return loads(path.read_bytes())


def one_thread(path: Path) -> object:
    """A CSV file as an Arrow table."""
    return csv.read_csv(path, read_options=csv.ReadOptions(use_threads=False))


def sqlite_rows(path: Path) -> object:
    """All rows of all tables."""
    database = sqlite3.connect(path)
    rows = [database.execute(f"SELECT * FROM {table}").fetchall() for table in NUPLAN_TABLES]
    database.close()
    return rows


def xml(path: Path) -> object:
    """An XML file as a tree."""
    from lxml import etree

    return etree.parse(path, etree.XMLParser(huge_tree=True))


def unpickled(path: Path) -> object:
    """A pickle, by the standard library's C code."""
    return importlib.import_module("pickle").loads(path.read_bytes())


def argoverse(path: Path) -> object:
    """A file of an Argoverse log."""
    if path.suffix == ".json":
        return json_bytes(path)
    if path.suffix == ".feather":
        return feather.read_table(path, memory_map=False, use_threads=False)
    return parquet.read_table(path, use_threads=False)


def osi_messages(path: Path) -> object:
    """Length-prefixed messages of a trace."""
    from formats.osi_protos import osi_classes

    data, at, found = path.read_bytes(), 0, []
    kind = osi_classes()["GroundTruth"]
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        found.append(kind.FromString(data[at + 4 : at + 4 + length]))
        at += length + 4
    return found


DATASETS: tuple[DataSet, ...] = (
    DataSet("nuscenes", "25 scenes", nuscenes, each("*.json")(json_bytes), "orjson or json"),
    DataSet("argoverse2_sensor", "20 logs of 16 s", argoverse2_sensor, each("*.feather", "*.json")(argoverse), "pyarrow, orjson"),
    DataSet("argoverse2_motion", "100 scenarios", argoverse2_motion, each("*.parquet", "*.json")(argoverse), "pyarrow, orjson"),
    DataSet("waymo_motion", "60 scenarios", waymo_motion, each("*.tfrecord-*")(protos("Scenario")), "protobuf (upb)"),
    DataSet("waymo_tfexample", "60 scenarios", waymo_tfexample, each("*.tfrecord-*")(protos("Example")), "protobuf (upb)"),
    DataSet("waymo_perception", "2 segments of 4 s", waymo_perception, each("*.tfrecord")(protos("Frame")), "protobuf (upb)"),
    DataSet("nuplan", "2 logs of 8 min", nuplan, each("*.db")(sqlite_rows), "sqlite3"),
    DataSet("gpudrive", "118 scenarios", gpudrive, each("*.json")(json_bytes), "orjson or json"),
    DataSet("scenarionet", "45 scenarios", scenarionet, each("*.pkl")(unpickled), "pickle"),
    DataSet("commonroad", "171 scenarios", commonroad, each("*.xml")(xml), "lxml"),
    DataSet("levelx", "1 recording of 20 min", levelx, each("*.csv")(one_thread), "pyarrow"),
    DataSet("interaction", "12 files of 5 min", interaction, each("*.csv")(one_thread), "pyarrow"),
    DataSet("ngsim", "1 file of 20 min", ngsim, each("*.csv")(one_thread), "pyarrow"),
    DataSet("sumo", "1 file of 20 min", sumo, each("*.xml")(xml), "lxml"),
    DataSet("table", "Parquet, 20 min", lambda f, s: own_table(f, s, kind="parquet"), each("*.parquet")(argoverse), "pyarrow"),
    DataSet("table", "CSV, 20 min", lambda f, s: own_table(f, s, kind="csv"), each("*.csv")(one_thread), "pyarrow"),
    DataSet("levelx", "1 hour, 5.4 M rows", lambda f, s: levelx(f, 3 * s, agents=60), each("*.csv")(one_thread), "pyarrow", long=True),
    DataSet("table", "CSV, 1 hour, 5.4 M rows", lambda f, s: own_table(f, 3 * s, kind="csv", agents=150), each("*.csv")(one_thread), "pyarrow", long=True),
    DataSet("nuplan", "1 hour, 5.0 M rows", lambda f, s: nuplan(f, 0.5 * s, minutes=60, agents=70), each("*.db")(sqlite_rows), "sqlite3", long=True),
    DataSet("mcap", "ROS 2, 1 hour, 2.1 M rows", mcap, each("*.mcap")(decode_mcap), "mcap", long=True),
    DataSet("osi", "MCAP, 1 hour, 4.3 M rows", osi_mcap, each("*.mcap")(decode_mcap), "mcap, protobuf", long=True),
    DataSet("nuscenes", "200 scenes", lambda f, s: nuscenes(f, 8 * s), each("*.json")(json_bytes), "orjson or json", long=True),
)  # fmt: skip
