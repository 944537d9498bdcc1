"""What each type of message gives: captures, readings, poses, road users, signals, calibrations.

One table from type to function, :data:`HANDLERS`. A function takes the decoded message and where it
came from and adds rows to :class:`Gathered`; times are the source's own stamps, positions stay in the
frame that the message names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from formats.robot_words import (
    AUTOWARE_LABELS,
    DERIVED_CLASSES,
    LIGHT_COLORS,
    LIGHT_SHAPES,
    LIGHT_STATES,
    LIGHT_STATUS,
    OLD_LIGHT_SHAPES,
    OLD_LIGHT_STATUS,
    READINGS,
    class_of,
    of_table,
)
from formats.ros_messages import Blob, numbers, stamp_ns
from formats.tally import Tally
from formats.transforms import TransformTree
from geometry.arrays import Array
from schemas.labels import AgentClass, LightState

Told = Mapping[str, Any]
Columns = dict[str, list[Any]]

BOX, CYLINDER = 0, 1  # shapes of Autoware
SOLID_BOX = 1  # of shape_msgs/SolidPrimitive


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """Where a message came from.

    Attributes:
        topic: Its topic.
        channel: The topic's name in the lake.
        kind: Its type.
        encoding: ``cdr``, ``ros1``, ``protobuf`` or ``json``.
        stamp: When it was captured [ns].
        frame: Frame that its header names; empty if none.
        uri: File.
        container: What wraps the bytes in it.
        offset: Where the message begins.
        size: Of the message [bytes].
    """

    topic: str
    channel: str
    kind: str
    encoding: str
    stamp: int
    frame: str
    uri: str
    container: str | None
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraModel:
    """A camera's calibration as told on a topic."""

    topic: str
    frame: str
    width: int
    height: int
    model: str
    intrinsics: tuple[float, ...]
    distortion: tuple[float, ...]


@dataclass(slots=True)
class Gathered:
    """Rows of a stretch of a recording, each list of columns with its stamps under ``t``."""

    tally: Tally
    tree: TransformTree
    frames: Columns = field(default_factory=dict)
    readings: dict[tuple[str, str, str], Columns] = field(default_factory=dict)
    poses: dict[str, Columns] = field(default_factory=dict)
    fixes: Columns = field(default_factory=dict)
    objects: dict[str, Columns] = field(default_factory=dict)
    lights: Columns = field(default_factory=dict)
    cameras: dict[str, CameraModel] = field(default_factory=dict)


Handler = Callable[[Told, Arrival, Gathered], None]


def row(columns: Columns, **values: Any) -> None:
    """One more row."""
    for name, value in values.items():
        columns.setdefault(name, []).append(value)


def header_of(message: Told) -> tuple[int | None, str]:
    """(stamp, frame) as the message itself tells them; None and empty where it does not."""
    header = message.get("header")
    told = header if isinstance(header, Mapping) else message
    stamp = stamp_ns(told.get("stamp", told.get("timestamp")))
    frame = told.get("frame_id", "")
    if stamp is None:
        for name in ("transforms", "entities"):
            inner = message.get(name)
            if isinstance(inner, Sequence) and inner and isinstance(inner[0], Mapping):
                return header_of(inner[0])
    return stamp, str(frame).lstrip("/")


def at_path(message: Any, path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    for name in path.split("."):
        if not isinstance(message, Mapping) or name not in message:
            return None
        message = message[name]
    return message


def xyz_of(told: Any) -> Array | None:
    """A point or vector, None where it is not finite."""
    if not isinstance(told, Mapping):
        return None
    try:
        return numbers([told.get(axis, 0.0) for axis in "xyz"], 3)
    except (TypeError, ValueError):
        return None


def pose_of(told: Any) -> Array | None:
    """x, y, z, then a unit quaternion w, x, y, z; None where it is not sound."""
    if not isinstance(told, Mapping):
        return None
    at = xyz_of(told.get("position", told.get("translation")))
    turned = told.get("orientation", told.get("rotation"))
    if at is None or not isinstance(turned, Mapping):
        return None
    try:
        wxyz = numbers([turned.get(axis, 0.0) for axis in "wxyz"], 4)
    except (TypeError, ValueError):
        return None
    if wxyz is None or not 0.5 < np.linalg.norm(wxyz) < 2.0:
        return None
    return np.concatenate([at, wxyz / np.linalg.norm(wxyz)])


# ── Captures ──


def _frame(arrival: Arrival, to: Gathered, codec: str, part: Blob | None = None) -> None:
    offset = arrival.offset if part is None else arrival.offset + part.offset
    size = arrival.size if part is None else len(part.data)
    row(
        to.frames, t=arrival.stamp, channel=arrival.channel, frame=arrival.frame, uri=arrival.uri,
        codec=codec, offset=offset, size=size, container=arrival.container,
    )  # fmt: skip


def _whole(codec: str) -> Handler:
    """A capture that only its whole message tells; of other encodings the bytes are kept."""

    def take(_: Told, arrival: Arrival, to: Gathered) -> None:
        usual = "protobuf" if codec.startswith("foxglove") else "cdr"
        if arrival.encoding == usual:
            _frame(arrival, to, codec)
        else:
            reason = f"{arrival.kind} as {arrival.encoding} is kept as it is: codec raw"
            to.tally.add("renamed", reason)
            _frame(arrival, to, "raw")

    return take


def _compressed_image(message: Told, arrival: Arrival, to: Gathered) -> None:
    data = message.get("data")
    if isinstance(data, Blob):
        codec = image_codec(bytes(data.data[:8]))
        if codec == "raw":
            word = str(message.get("format", "")) or "nothing"
            to.tally.add("renamed", f"images said to be {word!r} are kept as they are: codec raw")
        _frame(arrival, to, codec, data)
        return
    to.tally.add("renamed", "images within JSON are kept as their messages: codec raw")
    _frame(arrival, to, "raw")


def image_codec(head: bytes) -> str:
    """What an image begins as."""
    if head.startswith(b"\xff\xd8"):
        return "jpeg"
    return "png" if head.startswith(b"\x89PNG\r\n\x1a\n") else "raw"


def _video_packet(message: Told, arrival: Arrival, to: Gathered) -> None:
    data = message.get("data")
    word = str(message.get("format", "")) or "no format"
    to.tally.add("renamed", f"video packets ({word}) are kept as they are: codec raw")
    _frame(arrival, to, "raw", data if isinstance(data, Blob) else None)


# ── Readings ──


def _reading(to: Gathered, arrival: Arrival, signal: str, unit: str, value: Any) -> bool:
    columns = to.readings.setdefault((arrival.channel, signal, unit), {})
    if isinstance(value, str):
        row(columns, t=arrival.stamp, text=value)
    elif isinstance(value, bool | int | float | np.number):
        row(columns, t=arrival.stamp, value=float(value))
    else:
        return False
    return True


def _readings(message: Told, arrival: Arrival, to: Gathered) -> None:
    for signal, path, unit in READINGS[reading_type(arrival.kind)][1]:
        value = at_path(message, path)
        if value is not None:
            _reading(to, arrival, signal, unit, value)


def reading_type(kind: str) -> str:
    """The key of ``READINGS``; Autoware's older packages bear another name."""
    return kind.replace("autoware_auto_vehicle_msgs/", "autoware_vehicle_msgs/")


def fields_handler(fields: Sequence[str], units: Sequence[str]) -> Handler:
    """Takes the numbers at some paths, as settings ask for."""

    def take(message: Told, arrival: Arrival, to: Gathered) -> None:
        for path, unit in zip(fields, units or [""] * len(fields), strict=True):
            if not _reading(to, arrival, path, unit, at_path(message, path)):
                to.tally.add("missing", f"{arrival.topic} has no number at {path}")

    return take


def _fix(message: Told, arrival: Arrival, to: Gathered) -> None:
    _readings(message, arrival, to)
    place = [message.get(name) for name in ("latitude", "longitude", "altitude")]
    if at_path(message, "status.status") == -1 or None in place:
        return
    row(to.fixes, t=arrival.stamp, topic=arrival.topic, place=place)


def _can_frame(message: Told, arrival: Arrival, to: Gathered) -> None:
    data = message.get("data")
    raw = bytes(data.data) if isinstance(data, Blob) else b""
    size = message.get("dlc", len(raw))
    columns = to.readings.setdefault((arrival.channel, f"0x{int(message.get('id', 0)):X}", ""), {})
    row(columns, t=arrival.stamp, text=raw[: int(size)].hex().upper())


# ── Poses ──


def _transforms(message: Told, arrival: Arrival, to: Gathered) -> None:
    static = arrival.topic.endswith("tf_static")
    for told in message.get("transforms", (message,)):
        stamp, parent = header_of(told)
        parent = str(told.get("parent_frame_id", parent)).lstrip("/")
        child = str(told.get("child_frame_id", "")).lstrip("/")
        pose = pose_of(told.get("transform", told))
        if pose is None or not parent or not child:
            to.tally.add("dropped", "transforms without frames or a sound pose")
        else:
            to.tree.add(parent, child, pose, stamp=None if static else stamp or arrival.stamp)


def _odometry(message: Told, arrival: Arrival, to: Gathered) -> None:
    pose = pose_of(at_path(message, "pose.pose"))
    if pose is None:
        to.tally.add("dropped", "poses of the vehicle that are not sound")
        return
    linear = xyz_of(at_path(message, "twist.twist.linear"))
    angular = xyz_of(at_path(message, "twist.twist.angular"))
    row(
        to.poses.setdefault(arrival.topic, {}), t=arrival.stamp, frame=arrival.frame, pose=pose,
        child=str(message.get("child_frame_id", "")).lstrip("/"),
        linear=np.full(3, np.nan) if linear is None else linear,
        yaw_rate=np.nan if angular is None else angular[2],
    )  # fmt: skip


def _pose(message: Told, arrival: Arrival, to: Gathered) -> None:
    told = message.get("pose")
    if isinstance(told, Mapping) and "pose" in told:  # with covariance
        told = told["pose"]
    pose = pose_of(told)
    if pose is None:
        to.tally.add("dropped", "poses of the vehicle that are not sound")
        return
    row(
        to.poses.setdefault(arrival.topic, {}), t=arrival.stamp, frame=arrival.frame, pose=pose,
        child="", linear=np.full(3, np.nan), yaw_rate=np.nan,
    )  # fmt: skip


# ── Road users ──


def _object(
    to: Gathered, arrival: Arrival, *, key: str, word: str, cls: AgentClass, pose: Array | None,
    size: Sequence[float], velocity: Array | None = None, own: bool = False,
    frame: str = "", stamp: int | None = None,
) -> None:  # fmt: skip
    """One road user; ``own`` says that its velocity is told in its own frame."""
    if pose is None:
        to.tally.add("dropped", "road users without a sound pose")
        return
    if not key:
        to.tally.add("dropped", f"{arrival.kind}: objects without an id make no tracks")
        return
    row(
        to.objects.setdefault(arrival.topic, {}), t=stamp or arrival.stamp,
        frame=frame or arrival.frame, key=key, word=word, cls=cls, pose=pose,
        size=[float(extent) if extent and extent > 0.0 else np.nan for extent in size],
        velocity=np.full(3, np.nan) if velocity is None else velocity, own=own,
    )  # fmt: skip


def _extents(told: Any) -> list[float]:
    return (
        [float(told.get(axis, np.nan)) for axis in "xyz"]
        if isinstance(told, Mapping)
        else [np.nan] * 3
    )


def _autoware_objects(message: Told, arrival: Arrival, to: Gathered) -> None:
    for told in message.get("objects", ()):
        motion = told.get("kinematics", {})
        prefix = "initial_" if "initial_pose_with_covariance" in motion else ""
        labels = told.get("classification", ())
        best = max(labels, key=lambda label: label.get("probability", 0.0), default={"label": 0})
        word, cls = of_table(AUTOWARE_LABELS, int(best["label"]))
        key = at_path(told, "object_id.uuid")
        shape = told.get("shape", {})
        x, y, z = _extents(shape.get("dimensions"))
        size = [x, x if shape.get("type") == CYLINDER else y, z]
        paths = motion.get("predicted_paths", ())
        to.tally.add("dropped", "predicted paths are not observations", len(paths))
        _object(
            to, arrival, key=bytes(key.data).hex() if isinstance(key, Blob) else "", word=word,
            cls=cls, pose=pose_of(at_path(motion, f"{prefix}pose_with_covariance.pose")), size=size,
            velocity=xyz_of(at_path(motion, f"{prefix}twist_with_covariance.twist.linear")),
            own=True,
        )  # fmt: skip


def _derived_objects(message: Told, arrival: Arrival, to: Gathered) -> None:
    for told in message.get("objects", ()):
        word, cls = of_table(DERIVED_CLASSES, int(told.get("classification", 0)))
        shape = told.get("shape", {})
        extents = np.asarray(shape.get("dimensions", ()), dtype=np.float64)
        known = shape.get("type") == SOLID_BOX and len(extents) == 3
        _, frame = header_of(told)
        _object(
            to, arrival, key=str(told.get("id", "")), word=word, cls=cls,
            pose=pose_of(told.get("pose")), size=extents.tolist() if known else [np.nan] * 3,
            velocity=xyz_of(at_path(told, "twist.linear")), frame=frame,
        )  # fmt: skip


def _detections(message: Told, arrival: Arrival, to: Gathered) -> None:
    for told in message.get("detections", ()):
        results = told.get("results", ())
        best: Told = max(results, key=_score, default={})
        hypothesis = best.get("hypothesis", best)
        word = str(hypothesis.get("class_id", hypothesis.get("id", "")))
        _, frame = header_of(told)
        key = str(told.get("id") or told.get("tracking_id") or "")
        _object(
            to, arrival, key=key, word=word, cls=class_of(word),
            pose=pose_of(at_path(told, "bbox.center")), size=_extents(at_path(told, "bbox.size")),
            frame=frame,
        )  # fmt: skip


def _score(result: Told) -> float:
    return float(result.get("hypothesis", result).get("score", 0.0))


def _scene_update(message: Told, arrival: Arrival, to: Gathered) -> None:
    for told in message.get("entities", ()):
        cubes = told.get("cubes", ())
        if len(cubes) != 1:
            to.tally.add("dropped", "drawings that are not one box")
            continue
        words = {str(pair.get("key")): str(pair.get("value")) for pair in told.get("metadata", ())}
        word = next((words[k] for k in ("category", "class", "type", "label") if k in words), "")
        stamp, frame = header_of(told)
        _object(
            to, arrival, key=str(told.get("id", "")), word=word, cls=class_of(word),
            pose=pose_of(cubes[0].get("pose")), size=_extents(cubes[0].get("size")), frame=frame,
            stamp=stamp,
        )  # fmt: skip


# ── Signals and calibration ──


def _signals(message: Told, arrival: Arrival, to: Gathered) -> None:
    for told in message.get("traffic_light_groups", message.get("signals", ())):
        old = "map_primitive_id" in told
        names = ("traffic_light_group_id", "traffic_signal_id", "map_primitive_id")
        key = next((str(told[name]) for name in names if name in told), "")
        lamps = [_lamp(lamp, old=old) for lamp in told.get("lights" if old else "elements", ())]
        lit = [lamp for lamp in lamps if lamp[2] in ("SOLID_ON", "FLASHING", "UNKNOWN")]
        lit = [lamp for lamp in lit if lamp[0] != 0] or lit
        if lit:
            round_ones = [lamp for lamp in lit if not lamp[1].endswith("ARROW")] or lit
            color, shape, status = min(round_ones, key=lambda lamp: lamp[0] or 99)
            state = LIGHT_STATES[color]
        else:
            shape = status = ""
            state = LightState.OFF if lamps else LightState.UNKNOWN
        words = [f"{LIGHT_COLORS[c]} {s} {w}" for c, s, w in lamps]
        row(
            to.lights, t=arrival.stamp, key=key, state=state, arrow=shape.endswith("ARROW"),
            flashing=status == "FLASHING", word=" + ".join(words) or "NONE",
        )  # fmt: skip


def _lamp(told: Told, *, old: bool) -> tuple[int, str, str]:
    """Colour, shape and status of one lamp."""
    color, shape, status = (int(told.get(name, 0)) for name in ("color", "shape", "status"))
    if old:
        words = OLD_LIGHT_SHAPES.get(shape, "UNKNOWN"), OLD_LIGHT_STATUS.get(status, "UNKNOWN")
    else:
        words = (
            LIGHT_SHAPES[shape] if shape < len(LIGHT_SHAPES) else str(shape),
            LIGHT_STATUS[status] if status < len(LIGHT_STATUS) else str(status),
        )
    return (color if color < len(LIGHT_COLORS) else 0), *words


def _camera_info(message: Told, arrival: Arrival, to: Gathered) -> None:
    matrix = numbers(message.get("k", message.get("K", ())), 9)
    if matrix is None or matrix[0] <= 0.0 or matrix[4] <= 0.0:
        to.tally.add("dropped", "camera models without a focal length")
        return
    word = str(message.get("distortion_model", ""))
    fisheye = word in ("equidistant", "fisheye", "kannala_brandt")
    told = np.asarray(message.get("d", message.get("D", ())), dtype=np.float64)
    to.cameras[arrival.topic] = CameraModel(
        topic=arrival.topic, frame=arrival.frame, width=int(message.get("width", 0)),
        height=int(message.get("height", 0)), model="fisheye" if fisheye else "pinhole",
        intrinsics=tuple(float(matrix[k]) for k in (0, 4, 2, 5)),
        distortion=tuple(float(value) for value in told),
    )  # fmt: skip


HANDLERS: dict[str, tuple[str, Handler]] = {
    "sensor_msgs/CompressedImage": ("camera", _compressed_image),
    "sensor_msgs/Image": ("camera", _whole("ros_image")),
    "foxglove.CompressedImage": ("camera", _compressed_image),
    "foxglove.RawImage": ("camera", _whole("foxglove_image")),
    "foxglove.CompressedVideo": ("camera", _video_packet),
    "sensor_msgs/PointCloud2": ("lidar", _whole("ros_pointcloud2")),
    "sensor_msgs/LaserScan": ("lidar", _whole("ros_laserscan")),
    "foxglove.PointCloud": ("lidar", _whole("foxglove_pointcloud")),
    "foxglove.LaserScan": ("lidar", _whole("foxglove_laserscan")),
    "radar_msgs/RadarScan": ("radar", _whole("ros_radarscan")),
    "radar_msgs/RadarTracks": ("radar", _whole("ros_radartracks")),
    "sensor_msgs/NavSatFix": ("gnss", _fix),
    "foxglove.LocationFix": ("gnss", _fix),
    "can_msgs/Frame": ("can", _can_frame),
    "nav_msgs/Odometry": ("", _odometry),
    "geometry_msgs/PoseStamped": ("", _pose),
    "geometry_msgs/PoseWithCovarianceStamped": ("", _pose),
    "foxglove.PoseInFrame": ("", _pose),
    "tf2_msgs/TFMessage": ("", _transforms),
    "tf/tfMessage": ("", _transforms),
    "geometry_msgs/TransformStamped": ("", _transforms),
    "foxglove.FrameTransform": ("", _transforms),
    "foxglove.FrameTransforms": ("", _transforms),
    "sensor_msgs/CameraInfo": ("", _camera_info),
    "foxglove.CameraCalibration": ("", _camera_info),
    "autoware_perception_msgs/TrackedObjects": ("", _autoware_objects),
    "autoware_auto_perception_msgs/TrackedObjects": ("", _autoware_objects),
    "autoware_perception_msgs/PredictedObjects": ("", _autoware_objects),
    "autoware_auto_perception_msgs/PredictedObjects": ("", _autoware_objects),
    "autoware_perception_msgs/DetectedObjects": ("", _autoware_objects),
    "autoware_auto_perception_msgs/DetectedObjects": ("", _autoware_objects),
    "derived_object_msgs/ObjectArray": ("", _derived_objects),
    "vision_msgs/Detection3DArray": ("", _detections),
    "foxglove.SceneUpdate": ("", _scene_update),
    "autoware_perception_msgs/TrafficLightGroupArray": ("", _signals),
    "autoware_perception_msgs/TrafficSignalArray": ("", _signals),
    "autoware_auto_perception_msgs/TrafficSignalArray": ("", _signals),
    **{
        kind: (about[0], _readings)
        for kind, about in READINGS.items()
        if kind not in ("sensor_msgs/NavSatFix", "foxglove.LocationFix")
    },
    **{
        kind.replace("autoware_vehicle_msgs/", "autoware_auto_vehicle_msgs/"): (
            about[0],
            _readings,
        )
        for kind, about in READINGS.items()
        if kind.startswith("autoware_vehicle_msgs/")
    },
}
"""Type to kind of sensor (empty: it is none) and what it gives."""

POSES = ("nav_msgs/Odometry", "geometry_msgs/PoseStamped", "geometry_msgs/PoseWithCovarianceStamped",
         "foxglove.PoseInFrame")  # fmt: skip
TRANSFORMS = tuple(kind for kind, (_, handler) in HANDLERS.items() if handler is _transforms)
CAMERA_MODELS = ("sensor_msgs/CameraInfo", "foxglove.CameraCalibration")
OBJECTS = (
    "autoware_perception_msgs/TrackedObjects", "autoware_auto_perception_msgs/TrackedObjects",
    "autoware_perception_msgs/PredictedObjects", "autoware_auto_perception_msgs/PredictedObjects",
    "derived_object_msgs/ObjectArray", "vision_msgs/Detection3DArray", "foxglove.SceneUpdate",
    "autoware_perception_msgs/DetectedObjects", "autoware_auto_perception_msgs/DetectedObjects",
)  # fmt: skip
"""In the order in which a topic of road users is chosen: those with tracks first."""
