"""Images and point clouds as robots record them: ROS 2 and Foxglove messages to pixels and points.

A frame refers to the bytes of the whole message, which these decoders take (a compressed image is
referred to directly and needs none of them). The layouts are those of ``sensor_msgs``, ``radar_msgs``
and of Foxglove's schemas (docs.foxglove.dev/docs/sdk/schemas).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import UInt8

from formats.media import Points
from formats.protos import message_classes
from formats.ros_messages import decode
from geometry.arrays import Array

HEADER = "std_msgs/Header header\n"
COMMON = """
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
================================================================================
MSG: sensor_msgs/PointField
string name
uint32 offset
uint8 datatype
uint32 count
================================================================================
MSG: geometry_msgs/Point
float64 x
float64 y
float64 z
================================================================================
MSG: geometry_msgs/Vector3
float64 x
float64 y
float64 z
================================================================================
MSG: unique_identifier_msgs/UUID
uint8[16] uuid
================================================================================
MSG: radar_msgs/RadarReturn
float32 range
float32 azimuth
float32 elevation
float32 doppler_velocity
float32 amplitude
================================================================================
MSG: radar_msgs/RadarTrack
unique_identifier_msgs/UUID uuid
geometry_msgs/Point position
geometry_msgs/Vector3 velocity
geometry_msgs/Vector3 acceleration
geometry_msgs/Vector3 size
uint16 classification
float32[6] position_covariance
float32[6] velocity_covariance
float32[6] acceleration_covariance
float32[6] size_covariance
"""
DEFINITIONS = {
    "sensor_msgs/Image": "uint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\n"
    "uint32 step\nuint8[] data",
    "sensor_msgs/PointCloud2": "uint32 height\nuint32 width\nsensor_msgs/PointField[] fields\n"
    "bool is_bigendian\nuint32 point_step\nuint32 row_step\nuint8[] data\nbool is_dense",
    "sensor_msgs/LaserScan": "float32 angle_min\nfloat32 angle_max\nfloat32 angle_increment\n"
    "float32 time_increment\nfloat32 scan_time\nfloat32 range_min\nfloat32 range_max\n"
    "float32[] ranges\nfloat32[] intensities",
    "radar_msgs/RadarScan": "radar_msgs/RadarReturn[] returns",
    "radar_msgs/RadarTracks": "radar_msgs/RadarTrack[] tracks",
}

FOXGLOVE = """
message Timestamp
    1 seconds int64         2 nanos int32
message Vector3
    1 x double              2 y double              3 z double
message Quaternion
    1 x double              2 y double              3 z double              4 w double
message Pose
    1 position Vector3      2 orientation Quaternion
message PackedElementField
    1 name string           2 offset fixed32        3 type int32
message PointCloud
    1 timestamp Timestamp   2 frame_id string       3 pose Pose             4 point_stride fixed32
    5 fields PackedElementField*                    6 data bytes
message RawImage
    1 timestamp Timestamp   2 width fixed32         3 height fixed32        4 encoding string
    5 step fixed32          6 data bytes            7 frame_id string
message LaserScan
    1 timestamp Timestamp   2 frame_id string       3 pose Pose             4 start_angle double
    5 end_angle double      6 ranges double* packed 7 intensities double* packed
"""

ROS_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
FOXGLOVE_TYPES = {1: "u1", 2: "i1", 3: "u2", 4: "i2", 5: "u4", 6: "i4", 7: "f4", 8: "f8"}
"""Of one element, by the number of its type."""

CHANNEL_NAMES = {
    "i": "intensity", "Intensity": "intensity", "reflectivity": "intensity", "laser_id": "ring",
    "channel": "ring", "t": "offset_ns", "return_type": "return", "doppler": "radial_speed",
    "velocity": "radial_speed", "doppler_velocity": "radial_speed",
}  # fmt: skip
"""Names in use to ours."""


def decode_point_cloud(data: bytes) -> Points:
    """``sensor_msgs/PointCloud2``, in the sensor's frame; points that are not finite are left out."""
    told = _ros("sensor_msgs/PointCloud2", data)
    order = ">" if told["is_bigendian"] else "<"
    layout = []
    for field in told["fields"]:
        kind = ROS_TYPES.get(field["datatype"])
        if kind is None:
            raise ValueError(f"field {field['name']} has type {field['datatype']}")
        layout.append((field["name"], order + kind, field["offset"]))
    width, step, row = told["width"], told["point_step"], told["row_step"]
    raw = bytes(told["data"].data)
    if told["height"] > 1 and row != width * step:
        raw = b"".join(raw[k * row : k * row + width * step] for k in range(told["height"]))
    return _cloud(raw, step, told["height"] * width, layout)


def decode_foxglove_cloud(data: bytes) -> Points:
    """``foxglove.PointCloud``, in the frame that it names, its pose applied."""
    told = _foxglove("PointCloud", data)
    layout = [
        (field.name, "<" + FOXGLOVE_TYPES[field.type], field.offset)
        for field in told.fields
        if field.type in FOXGLOVE_TYPES
    ]
    step = told.point_stride
    points = _cloud(told.data, step, len(told.data) // step if step else 0, layout)
    return _posed(points, told)


def _cloud(raw: bytes, step: int, count: int, layout: Sequence[tuple[str, str, int]]) -> Points:
    """Records of ``step`` bytes with fields at offsets."""
    names = [name for name, _, _ in layout]
    if not {"x", "y", "z"} <= set(names) or len(set(names)) < len(names):
        raise ValueError(f"the cloud has the fields {', '.join(names) or 'none'}, no x, y, z")
    if len(raw) < count * step:
        raise ValueError(f"the cloud ends early: {len(raw)} of {count * step} bytes")
    record = np.dtype(
        {
            "names": names, "formats": [kind for _, kind, _ in layout],
            "offsets": [offset for _, _, offset in layout], "itemsize": step,
        }
    )  # fmt: skip
    table = np.frombuffer(raw, dtype=record, count=count)
    xyz = np.stack([table[axis].astype(np.float64) for axis in "xyz"], axis=1)
    finite = np.isfinite(xyz).all(axis=1)
    channels = {
        CHANNEL_NAMES.get(name, name): _native(table[name][finite])
        for name in names
        if name not in ("x", "y", "z")
    }
    return Points(xyz=xyz[finite], frame="sensor", channels=channels)


def _native(values: Array) -> Array:
    return values.astype(values.dtype.newbyteorder("="))


def decode_laser_scan(data: bytes) -> Points:
    """``sensor_msgs/LaserScan``: returns within range, in the plane of the scan."""
    told = _ros("sensor_msgs/LaserScan", data)
    ranges = told["ranges"].astype(np.float64)
    angle = told["angle_min"] + told["angle_increment"] * np.arange(len(ranges))
    hit = (ranges >= told["range_min"]) & (ranges <= told["range_max"])
    return _fan(ranges, angle, hit, told["intensities"].astype(np.float64))


def decode_foxglove_scan(data: bytes) -> Points:
    """``foxglove.LaserScan``, its pose applied."""
    told = _foxglove("LaserScan", data)
    ranges = np.array(told.ranges, dtype=np.float64)
    angle = np.linspace(told.start_angle, told.end_angle, len(ranges))
    points = _fan(ranges, angle, np.isfinite(ranges), np.array(told.intensities, dtype=np.float64))
    return _posed(points, told)


def _fan(ranges: Array, angle: Array, hit: Array, intensity: Array) -> Points:
    xyz = np.stack([ranges * np.cos(angle), ranges * np.sin(angle), 0.0 * angle], axis=1)[hit]
    known = {"intensity": intensity[hit]} if len(intensity) == len(ranges) else {}
    return Points(xyz=xyz, frame="sensor", channels=known)


def decode_radar_scan(data: bytes) -> Points:
    """``radar_msgs/RadarScan``: targets by range and angles, speed away from the sensor positive."""
    told = _ros("radar_msgs/RadarScan", data)["returns"]
    columns = _columns(told, ("range", "azimuth", "elevation", "doppler_velocity", "amplitude"))
    flat = columns["range"] * np.cos(columns["elevation"])
    xyz = np.stack(
        [
            flat * np.cos(columns["azimuth"]), flat * np.sin(columns["azimuth"]),
            columns["range"] * np.sin(columns["elevation"]),
        ],
        axis=1,
    )  # fmt: skip
    channels = {"radial_speed": columns["doppler_velocity"], "amplitude": columns["amplitude"]}
    return Points(xyz=xyz, frame="sensor", channels=channels)


def decode_radar_tracks(data: bytes) -> Points:
    """``radar_msgs/RadarTracks``: one point a track, with its velocity."""
    told = _ros("radar_msgs/RadarTracks", data)["tracks"]
    at = _columns([track["position"] for track in told], ("x", "y", "z"))
    speed = _columns([track["velocity"] for track in told], ("x", "y", "z"))
    channels: dict[str, Array] = {f"v{axis}": speed[axis] for axis in "xyz"}
    channels["class"] = np.array([track["classification"] for track in told], dtype=np.int64)
    xyz = np.stack([at[axis] for axis in "xyz"], axis=1)
    return Points(xyz=xyz, frame="sensor", channels=channels)


def decode_ros_image(data: bytes) -> UInt8[Array, "height width 3"]:
    """``sensor_msgs/Image``."""
    told = _ros("sensor_msgs/Image", data)
    return pixels(
        bytes(told["data"].data), told["height"], told["width"], told["step"], told["encoding"],
        big=bool(told["is_bigendian"]),
    )  # fmt: skip


def decode_foxglove_image(data: bytes) -> UInt8[Array, "height width 3"]:
    """``foxglove.RawImage``."""
    told = _foxglove("RawImage", data)
    return pixels(told.data, told.height, told.width, told.step, told.encoding)


def pixels(
    data: bytes, height: int, width: int, step: int, encoding: str, *, big: bool = False
) -> UInt8[Array, "height width 3"]:
    """Rows of ``step`` bytes as red, green, blue.

    Raises:
        ValueError: The encoding is not known, or there are too few bytes.
    """
    layouts: dict[str, tuple[int, str]] = {
        "rgb8": (3, "rgb"), "8UC3": (3, "bgr"), "bgr8": (3, "bgr"), "rgba8": (4, "rgb"),
        "bgra8": (4, "bgr"), "8UC4": (4, "bgr"), "mono8": (1, "grey"), "8UC1": (1, "grey"),
        "mono16": (2, "deep"), "16UC1": (2, "deep"), "yuv422": (2, "uyvy"), "uyvy": (2, "uyvy"),
        "yuv422_yuy2": (2, "yuyv"), "yuyv": (2, "yuyv"),
    }  # fmt: skip
    if encoding not in layouts:
        raise ValueError(f"images encoded as {encoding!r} are not decoded")
    size, kind = layouts[encoding]
    step = step or width * size
    if len(data) < step * height or step < width * size:
        raise ValueError(f"the image has {len(data)} of {step * height} bytes")
    rows = np.frombuffer(data, dtype=np.uint8, count=step * height).reshape(height, step)
    cells = rows[:, : width * size].reshape(height, width, size)
    if kind == "rgb":
        return np.ascontiguousarray(cells[..., :3])
    if kind == "bgr":
        return np.ascontiguousarray(cells[..., 2::-1])
    if kind == "grey":
        return np.repeat(cells, 3, axis=2)
    if kind == "deep":
        return np.repeat(cells[..., 0 if big else 1][..., None], 3, axis=2)
    return _from_yuv(cells, luma=1 if kind == "uyvy" else 0)


def _from_yuv(cells: Array, *, luma: int) -> Array:
    """Two pixels share their colours (ITU-R BT.601)."""
    y = cells[..., luma].astype(np.float64)
    chroma = cells[..., 1 - luma].astype(np.float64) - 128.0
    even = chroma.shape[1] // 2 * 2
    u = np.zeros_like(y)
    v = np.zeros_like(y)
    u[:, :even] = np.repeat(chroma[:, 0:even:2], 2, axis=1)
    v[:, :even] = np.repeat(chroma[:, 1:even:2], 2, axis=1)
    rgb = np.stack([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u], axis=-1)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def _ros(name: str, data: bytes) -> dict[str, Any]:
    definition = HEADER + DEFINITIONS[name] + COMMON
    return decode(name, definition.encode(), memoryview(data))


def _foxglove(name: str, data: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return _foxglove_classes()[name].FromString(data)
    except DecodeError as error:
        raise ValueError(f"is no foxglove.{name} ({error})") from error


@cache
def _foxglove_classes() -> dict[str, Any]:
    return message_classes(FOXGLOVE, package="foxglove_payloads")


def _columns(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Array]:
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in names}


def _posed(points: Points, told: Any) -> Points:
    """A message's points in the frame that it names."""
    from geometry.frames import SE3

    if not told.HasField("pose"):
        return points
    at, turned = told.pose.position, told.pose.orientation
    wxyz = np.array([turned.w, turned.x, turned.y, turned.z])
    if not np.isfinite(wxyz).all() or np.linalg.norm(wxyz) < 0.5:
        wxyz = np.array([1.0, 0.0, 0.0, 0.0])
    frame_from_points = SE3.from_quaternion(wxyz, np.array([at.x, at.y, at.z]))
    return Points(
        xyz=frame_from_points.apply(points.xyz), frame=points.frame, channels=points.channels
    )
