"""Writes small logs and maps in the layout of py123d 0.7 (checked against logs that it wrote)."""

from __future__ import annotations

import io
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pyarrow as pa
import shapely

from geometry.arrays import Array

T0_US = 1_629_900_000_123_456
STEP_US = 100_000
PLACE = "us-nv-las-vegas-strip"
ORIGIN = np.array([664_430.25, 3_999_650.5, 606.5])
YAW, SPEED = 0.5, 10.0
CENTRE = (1.461, 0.0, 0.45)
LEVEL = [np.cos(YAW / 2), 0.0, 0.0, np.sin(YAW / 2)]
CAMERA_ON_EGO = [1.5, 0.0, 1.6, 0.5, -0.5, 0.5, -0.5]
LABELS = "py123d.parser.registry.NuPlanBoxDetectionLabel"

POSE, MOTION = pa.list_(pa.float64(), 7), pa.list_(pa.float64(), 9)
BOXES = pa.list_(pa.list_(pa.float64(), 10))
VELOCITIES = pa.list_(pa.list_(pa.float64(), 3))


def write_arrow(
    path: Path,
    columns: Mapping[str, tuple[pa.DataType, Sequence[Any]]],
    metadata: Mapping[str, Any],
    *,
    rows_a_batch: int = 7,
    compression: str | None = None,
) -> Path:
    """A modality: columns bear the file's name before theirs, metadata is msgpack."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = path.name.removesuffix(".arrow")
    bare = (*MAP_COLUMNS, *IN_STEP)
    names = [name if name in bare else f"{key}.{name}" for name in columns]
    schema = pa.schema(
        [pa.field(name, kind) for name, (kind, _) in zip(names, columns.values(), strict=True)],
        metadata={b"metadata": msgpack.packb(metadata)},
    )
    arrays = [pa.array(values, type=kind) for kind, values in columns.values()]
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema, options=options) as to:
        for batch in pa.Table.from_arrays(arrays, schema=schema).to_batches(rows_a_batch):
            to.write_batch(batch)
    return path


MAP_COLUMNS = ("object_id", "map_layer", "features", "wkb")
IN_STEP = ("ego_state_se3", "box_detections_se3", "traffic_light_detections")
"""Files with a row for each of ``sync``."""


def stamps(count: int) -> tuple[pa.DataType, list[int]]:
    return pa.int64(), [T0_US + k * STEP_US for k in range(count)]


def imu_pose(step: int) -> list[float]:
    """The IMU drives straight ahead, 1 m a step."""
    way = step * STEP_US / 1e6 * SPEED * np.array([np.cos(YAW), np.sin(YAW), 0.0])
    return [*map(float, ORIGIN + way), *map(float, LEVEL)]


def write_sync(folder: Path, steps: int, *, location: str | None = PLACE) -> None:
    sync = {
        "uuid": (pa.binary(16), [uuid.UUID(int=k).bytes for k in range(steps)]),
        "timestamp_us": stamps(steps),
        # Which row of each other file belongs to the moment.
        **{name: (pa.int64(), list(range(steps))) for name in IN_STEP},
    }
    about = {
        "dataset": "nuplan", "split": "nuplan_val", "log_name": folder.name,
        "location": location, "version": "0.7.0", "map_metadata": None,
    }  # fmt: skip
    write_arrow(folder / "sync.arrow", sync, about)


def write_ego(folder: Path, steps: int) -> None:
    motion = [SPEED, 0.0, 0.01, 0.2, 0.3, 9.8, 0.001, 0.002, 0.1]
    columns = {
        "timestamp_us": stamps(steps),
        "imu_se3": (POSE, [imu_pose(k) for k in range(steps)]),
        "dynamic_state_se3": (MOTION, [motion] * steps),
    }
    about = {
        "vehicle_name": "pacifica", "width": 2.297, "length": 5.176, "height": 1.777,
        "wheel_base": 3.089, "center_to_imu_se3": [*CENTRE, 1.0, 0.0, 0.0, 0.0],
        "rear_axle_to_imu_se3": [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
    }  # fmt: skip
    write_arrow(folder / "ego_state_se3.arrow", columns, about)


def box(x: float, y: float, yaw: float = YAW) -> list[float]:
    place = ORIGIN + np.array([x, y, 0.5])
    turn = [float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))]
    return [*map(float, place), *turn, 4.5, 2.0, 1.6]


def write_boxes(folder: Path, steps: int, *, labels: str = LABELS) -> None:
    """A car that is always there and a pedestrian, without velocity, at even steps."""
    rows: list[list[tuple[Any, ...]]] = [
        [(box(20.0 + k, 3.0), "a1", 0, [1.0, 2.0, 0.1])]
        + ([(box(30.0, 5.0), "Ä 2", 2, None)] if k % 2 == 0 else [])
        for k in range(steps)
    ]
    columns = {
        "timestamp_us": stamps(steps),
        "bounding_box_se3": (BOXES, [[b for b, *_ in row] for row in rows]),
        "track_token": (pa.list_(pa.string()), [[t for _, t, *_ in row] for row in rows]),
        "label": (pa.list_(pa.uint16()), [[n for _, _, n, _ in row] for row in rows]),
        "velocity_3d": (VELOCITIES, [[v for *_, v in row] for row in rows]),
        "num_lidar_points": (pa.list_(pa.int32()), [[None] * len(row) for row in rows]),
    }
    about = {"box_detection_label_class": labels}
    write_arrow(folder / "box_detections_se3.arrow", columns, about)


def write_lights(folder: Path, steps: int) -> None:
    columns = {
        "timestamp_us": stamps(steps),
        "lane_id": (pa.list_(pa.int32()), [[7, 8]] * steps),
        "status": (pa.list_(pa.uint8()), [[2, 0]] * steps),
    }
    write_arrow(folder / "traffic_light_detections.arrow", columns, {})


def camera_metadata(**changes: Any) -> dict[str, Any]:
    return {
        "camera_model": "pinhole", "camera_name": "CAM_F0", "camera_id": 0,
        "intrinsics": [1545.0, 1546.0, 960.0, 560.0, 0.0],
        "distortion": [-0.3, 0.1, 0.0, 0.0, 0.01], "width": 64, "height": 48,
        "camera_to_imu_se3": CAMERA_ON_EGO, "is_undistorted": False,
    } | changes  # fmt: skip


def write_camera(
    folder: Path,
    data: tuple[pa.DataType, Sequence[Any]],
    *,
    key: str = "camera.pcam_f0",
    compression: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    steps = len(data[1])
    kind, times = stamps(steps)
    world = [[*imu_pose(k)[:3], *CAMERA_ON_EGO[3:]] for k in range(steps)]
    columns = {
        "timestamp_us": (kind, [t + 11 for t in times]),
        "data": data,
        "camera_to_global_se3": (POSE, world),
        "exposure_factor": (pa.float32(), [None] * steps),
    }
    about = camera_metadata() if metadata is None else metadata
    write_arrow(folder / f"{key}.arrow", columns, about, compression=compression)


def grey(step: int) -> Array:
    """The picture of a step: one colour."""
    return np.full((48, 64, 3), step * 12 % 256, dtype=np.uint8)


def png(step: int) -> bytes:
    from PIL import Image

    with io.BytesIO() as file:
        Image.fromarray(grey(step)).save(file, format="png")
        return file.getvalue()


def write_video(path: Path, steps: int) -> None:
    """At 30 frames a second, whatever the stamps say, as py123d does."""
    import av

    with av.open(str(path), "w") as video:
        stream = video.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for step in range(steps):
            for packet in stream.encode(av.VideoFrame.from_ndarray(grey(step), format="rgb24")):
                video.mux(packet)
        for packet in stream.encode():
            video.mux(packet)


def cloud(step: int) -> Array:
    return np.arange(12, dtype=np.float32).reshape(4, 3) + step


def ipc_cloud(step: int) -> bytes:
    xyz = cloud(step)
    batch = pa.RecordBatch.from_pydict(
        {"x": xyz[:, 0], "y": xyz[:, 1], "z": xyz[:, 2], "intensity": np.arange(4, dtype=np.uint8),
         "channel": np.arange(4, dtype=np.uint8)}
    )  # fmt: skip
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as to:
        to.write_batch(batch)
    return sink.getvalue().to_pybytes()


def write_lidar(
    folder: Path, blobs: Sequence[bytes | None], *, compression: str | None = None
) -> None:
    kind, times = stamps(len(blobs))
    columns = {
        "timestamp_us": (kind, times),
        "end_timestamp_us": (kind, [t + 50_000 for t in times]),
        "data": (pa.binary(), blobs),
    }
    about = {
        "lidar_name": "top", "lidar_id": 2, "lidar_to_imu_se3": [1.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0],
        "segmentation_label_class": None,
    }  # fmt: skip
    write_arrow(folder / "lidar.lidar_top.arrow", columns, about, compression=compression)


def write_log(folder: Path, *, steps: int = 20) -> Path:
    """Sync, ego, boxes and lights."""
    write_sync(folder, steps)
    write_ego(folder, steps)
    write_boxes(folder, steps)
    write_lights(folder, steps)
    return folder


# ── The map ──────────────────────────────────────────────────────────────────────────────────────


def packed(value: Any) -> bytes:
    """Attributes with arrays as py123d packs them."""
    return bytes(msgpack.packb(value, default=_array, use_bin_type=True))


def _array(value: Any) -> Any:
    return {
        b"__ndarray__": True, b"dtype": value.dtype.str, b"shape": value.shape,
        b"data": value.tobytes(),
    }  # fmt: skip


def line(begin: float, end: float, y: float) -> Array:
    x = np.linspace(begin, end, 5)
    return np.stack([x, np.full(5, y), np.full(5, 1.5)], axis=1) + ORIGIN * [1.0, 1.0, 0.0]


def ring(begin: float, end: float, low: float, high: float) -> Array:
    corners = [(begin, low), (end, low), (end, high), (begin, high), (begin, low)]
    return np.array([(x, y, 1.5) for x, y in corners]) + ORIGIN * [1.0, 1.0, 0.0]


def map_rows() -> list[tuple[int, int, dict[str, Any], bytes]]:
    """Lanes 1 (left) and 2 (a bike lane) lead to 7 and 8 in an intersection; 3 comes towards 1."""

    def lane(number: int, kind: int, group: int, a: float, b: float, y: float,
             **told: Any) -> tuple[int, int, dict[str, Any], bytes]:  # fmt: skip
        attributes = {
            "lane_type": kind, "lane_group_id": group, "left_boundary": line(a, b, y + 1.75),
            "right_boundary": line(a, b, y - 1.75), "centerline": line(a, b, y),
            "left_lane_id": None, "right_lane_id": None, "predecessor_ids": [],
            "successor_ids": [], "speed_limit_mps": 11.176, "outline": ring(a, b, y - 1.75, y + 1.75),
        }  # fmt: skip
        return number, 0, attributes | told, shapely.Polygon(attributes["outline"][:, :2]).wkb

    def area(
        number: int, layer: int, corners: Array, **told: Any
    ) -> tuple[int, int, dict[str, Any], bytes]:
        return number, layer, {"outline": corners} | told, shapely.Polygon(corners[:, :2]).wkb

    towards = line(0, 40, 3.5)[::-1].copy()
    return [
        lane(1, 2, 11, 0, 40, 0.0, left_lane_id=3, right_lane_id=2, successor_ids=[7]),
        lane(2, 3, 11, 0, 40, -3.5, left_lane_id=1, successor_ids=[8]),
        lane(3, 2, 13, 0, 40, 3.5, centerline=towards),
        lane(7, 0, 12, 40, 60, 0.0, predecessor_ids=[1], speed_limit_mps=None),
        lane(8, 4, 12, 40, 60, -3.5, predecessor_ids=[2], successor_ids=[99]),
        area(11, 1, ring(0, 40, -5, 2), lane_ids=[1, 2], intersection_id=None),
        area(12, 1, ring(40, 60, -5, 2), lane_ids=[7, 8], intersection_id=31),
        area(31, 2, ring(40, 60, -9, 9), intersection_type=1, lane_group_ids=[12]),
        area(41, 3, ring(42, 45, -6, 3)),
        area(61, 4, ring(0, 40, 6, 8)),
        area(62, 5, ring(0, 40, 9, 12)),
        area(11, 6, ring(0, 40, 12, 13)),
        area(51, 7, ring(38, 40, -5, 2), stop_zone_type=1, lane_ids=[1]),
        (71, 8, {"road_edge_type": 1}, shapely.LineString(line(0, 60, -6)).wkb),
        (81, 9, {"road_line_type": 4}, shapely.LineString(line(0, 40, -1.75)).wkb),
        area(91, 10, ring(10, 11, -5, 2), speed_bump_type=0),
    ]


def write_map(path: Path, *, location: str = PLACE) -> Path:
    rows = map_rows()
    columns = {
        "object_id": (pa.int64(), [row[0] for row in rows]),
        "map_layer": (pa.int8(), [row[1] for row in rows]),
        "features": (pa.binary(), [packed(row[2]) for row in rows]),
        "wkb": (pa.binary(), [row[3] for row in rows]),
    }
    about = {
        "dataset": "nuplan", "split": None, "log_name": None, "location": location,
        "map_has_z": True, "map_is_per_log": False, "version": "0.7.0",
    }  # fmt: skip
    return write_arrow(path, columns, about)
