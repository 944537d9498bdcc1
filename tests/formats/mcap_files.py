"""Writes MCAP recordings as robots do: ROS 2 by mcap_ros2.writer, the rest by mcap.writer."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

START_NS = 1_700_000_000_123_456_789
STEP_NS = 100_000_000
LATENCY_NS = 20_000_000
SEPARATOR = "\n" + "=" * 80 + "\nMSG: "

PARTS = {
    "std_msgs/Header": "builtin_interfaces/Time stamp\nstring frame_id",
    "builtin_interfaces/Time": "int32 sec\nuint32 nanosec",
    "builtin_interfaces/Duration": "int32 sec\nuint32 nanosec",
    "geometry_msgs/Vector3": "float64 x\nfloat64 y\nfloat64 z",
    "geometry_msgs/Point": "float64 x\nfloat64 y\nfloat64 z",
    "geometry_msgs/Quaternion": "float64 x 0\nfloat64 y 0\nfloat64 z 0\nfloat64 w 1",
    "geometry_msgs/Pose": "geometry_msgs/Point position\ngeometry_msgs/Quaternion orientation",
    "geometry_msgs/Twist": "geometry_msgs/Vector3 linear\ngeometry_msgs/Vector3 angular",
    "geometry_msgs/PoseWithCovariance": "geometry_msgs/Pose pose\nfloat64[36] covariance",
    "geometry_msgs/TwistWithCovariance": "geometry_msgs/Twist twist\nfloat64[36] covariance",
    "geometry_msgs/Transform": "geometry_msgs/Vector3 translation\n"
    "geometry_msgs/Quaternion rotation",
    "geometry_msgs/TransformStamped": "std_msgs/Header header\nstring child_frame_id\n"
    "geometry_msgs/Transform transform",
    "sensor_msgs/PointField": "uint8 INT8=1\nuint8 FLOAT32 = 7\nstring name\nuint32 offset\n"
    "uint8 datatype\nuint32 count",
    "sensor_msgs/NavSatStatus": "int8 STATUS_NO_FIX = -1\nint8 status -1\nuint16 service",
    "sensor_msgs/RegionOfInterest": "uint32 x_offset\nuint32 y_offset\nuint32 height\n"
    "uint32 width\nbool do_rectify",
    "unique_identifier_msgs/UUID": "uint8[16] uuid",
    "autoware_perception_msgs/ObjectClassification": "uint8 CAR = 1\nuint8 label\n"
    "float32 probability",
    "autoware_perception_msgs/Shape": "uint8 type\nfloat32[] footprint\n"
    "geometry_msgs/Vector3 dimensions",
    "autoware_perception_msgs/TrackedObjectKinematics": "geometry_msgs/PoseWithCovariance "
    "pose_with_covariance\ngeometry_msgs/TwistWithCovariance twist_with_covariance",
    "autoware_perception_msgs/TrackedObject": "unique_identifier_msgs/UUID object_id\n"
    "float32 existence_probability\n"
    "autoware_perception_msgs/ObjectClassification[] classification\n"
    "autoware_perception_msgs/TrackedObjectKinematics kinematics\n"
    "autoware_perception_msgs/Shape shape",
    "autoware_perception_msgs/TrafficLightElement": "uint8 color\nuint8 shape\nuint8 status\n"
    "float32 confidence",
    "autoware_perception_msgs/TrafficLightGroup": "int64 traffic_light_group_id\n"
    "autoware_perception_msgs/TrafficLightElement[] elements",
    "shape_msgs/SolidPrimitive": "uint8 type\nfloat64[<=3] dimensions",
    "derived_object_msgs/Object": "std_msgs/Header header\nuint32 id\ngeometry_msgs/Pose pose\n"
    "geometry_msgs/Twist twist\nshape_msgs/SolidPrimitive shape\nuint8 classification",
    "vision_msgs/BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
    "vision_msgs/ObjectHypothesis": "string class_id\nfloat64 score",
    "vision_msgs/ObjectHypothesisWithPose": "vision_msgs/ObjectHypothesis hypothesis",
    "vision_msgs/Detection3D": "std_msgs/Header header\n"
    "vision_msgs/ObjectHypothesisWithPose[] results\nvision_msgs/BoundingBox3D bbox\nstring id",
}
TYPES = {
    "sensor_msgs/msg/CompressedImage": "std_msgs/Header header\nstring format\nuint8[] data",
    "sensor_msgs/msg/Image": "std_msgs/Header header\nuint32 height\nuint32 width\n"
    "string encoding\nuint8 is_bigendian\nuint32 step\nuint8[] data",
    "sensor_msgs/msg/PointCloud2": "std_msgs/Header header\nuint32 height\nuint32 width\n"
    "sensor_msgs/PointField[] fields\nbool is_bigendian\nuint32 point_step\nuint32 row_step\n"
    "uint8[] data\nbool is_dense",
    "sensor_msgs/msg/LaserScan": "std_msgs/Header header\nfloat32 angle_min\nfloat32 angle_max\n"
    "float32 angle_increment\nfloat32 time_increment\nfloat32 scan_time\nfloat32 range_min\n"
    "float32 range_max\nfloat32[] ranges\nfloat32[] intensities",
    "sensor_msgs/msg/Imu": "std_msgs/Header header\ngeometry_msgs/Quaternion orientation\n"
    "float64[9] orientation_covariance\ngeometry_msgs/Vector3 angular_velocity\n"
    "float64[9] angular_velocity_covariance\ngeometry_msgs/Vector3 linear_acceleration\n"
    "float64[9] linear_acceleration_covariance",
    "sensor_msgs/msg/NavSatFix": "std_msgs/Header header\nsensor_msgs/NavSatStatus status\n"
    "float64 latitude\nfloat64 longitude\nfloat64 altitude\nfloat64[9] position_covariance\n"
    "uint8 position_covariance_type",
    "sensor_msgs/msg/CameraInfo": "std_msgs/Header header\nuint32 height\nuint32 width\n"
    "string distortion_model\nfloat64[] d\nfloat64[9] k\nfloat64[9] r\nfloat64[12] p\n"
    "uint32 binning_x\nuint32 binning_y\nsensor_msgs/RegionOfInterest roi",
    "nav_msgs/msg/Odometry": "std_msgs/Header header\nstring child_frame_id\n"
    "geometry_msgs/PoseWithCovariance pose\ngeometry_msgs/TwistWithCovariance twist",
    "geometry_msgs/msg/PoseStamped": "std_msgs/Header header\ngeometry_msgs/Pose pose",
    "tf2_msgs/msg/TFMessage": "geometry_msgs/TransformStamped[] transforms",
    "can_msgs/msg/Frame": "std_msgs/Header header\nuint32 id\nbool is_rtr\nbool is_extended\n"
    "bool is_error\nuint8 dlc\nuint8[8] data",
    "std_msgs/msg/Float64": "float64 data",
    "std_msgs/msg/String": "string data",
    "diagnostic_msgs/msg/KeyValue": "string key\nstring value",
    "custom_msgs/msg/Wheel": "std_msgs/Header header\nfloat32 speed\nint16[3] counts",
    "autoware_perception_msgs/msg/TrackedObjects": "std_msgs/Header header\n"
    "autoware_perception_msgs/TrackedObject[] objects",
    "autoware_perception_msgs/msg/TrafficLightGroupArray": "builtin_interfaces/Time stamp\n"
    "autoware_perception_msgs/TrafficLightGroup[] traffic_light_groups",
    "derived_object_msgs/msg/ObjectArray": "std_msgs/Header header\n"
    "derived_object_msgs/Object[] objects",
    "vision_msgs/msg/Detection3DArray": "std_msgs/Header header\n"
    "vision_msgs/Detection3D[] detections",
}


def definition(name: str) -> str:
    """Of a type, with those that it needs behind it."""
    text, added, todo = TYPES[name], set(), [TYPES[name]]
    while todo:
        for word in todo.pop().replace("[", " ").split():
            if word in PARTS and word not in added:
                added.add(word)
                todo.append(PARTS[word])
                text += SEPARATOR + word + "\n" + PARTS[word]
    return text


def stamp(t_ns: int) -> dict[str, int]:
    return {"sec": t_ns // 10**9, "nanosec": t_ns % 10**9}


def header(t_ns: int, frame: str) -> dict[str, Any]:
    return {"stamp": stamp(t_ns), "frame_id": frame}


def pose(x: float, y: float, z: float = 0.0, yaw: float = 0.0) -> dict[str, Any]:
    turned = {"x": 0.0, "y": 0.0, "z": float(np.sin(yaw / 2)), "w": float(np.cos(yaw / 2))}
    return {"position": {"x": x, "y": y, "z": z}, "orientation": turned}


def transform(parent: str, child: str, t_ns: int, *place: float) -> dict[str, Any]:
    told = pose(*place)
    moved = {"translation": told["position"], "rotation": told["orientation"]}
    return {"header": header(t_ns, parent), "child_frame_id": child, "transform": moved}


def jpeg(shade: int = 120) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (16, 8), (shade, 30, 60)).save(data, "JPEG")
    return data.getvalue()


def cloud(t_ns: int, points: Any, frame: str = "lidar") -> dict[str, Any]:
    table = np.zeros(
        len(points), dtype=[("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "f4")]
    )
    for k, axis in enumerate("xyz"):
        table[axis] = np.asarray(points)[:, k]
    table["intensity"] = np.arange(len(points))
    fields = [
        {"name": name, "offset": 4 * k, "datatype": 7, "count": 1}
        for k, name in enumerate(("x", "y", "z", "intensity"))
    ]
    return {
        "header": header(t_ns, frame), "height": 1, "width": len(points), "fields": fields,
        "is_bigendian": False, "point_step": 16, "row_step": 16 * len(points),
        "data": table.tobytes(), "is_dense": True,
    }  # fmt: skip


def tracked(key: int, x: float, y: float, *, speed: float = 5.0, yaw: float = 0.0, label: int = 1) -> dict[str, Any]:  # fmt: skip
    none = [0.0] * 36
    return {
        "object_id": {"uuid": bytes([key] * 16)}, "existence_probability": 0.9,
        "classification": [{"label": 0, "probability": 0.1}, {"label": label, "probability": 0.8}],
        "kinematics": {
            "pose_with_covariance": {"pose": pose(x, y, 0.8, yaw), "covariance": none},
            "twist_with_covariance": {
                "twist": {
                    "linear": {"x": speed, "y": 0.0, "z": 0.0},
                    "angular": {"x": 0.0, "y": 0.0, "z": 0.0},
                },
                "covariance": none,
            },
        },
        "shape": {"type": 0, "footprint": [], "dimensions": {"x": 4.5, "y": 1.8, "z": 1.5}},
    }  # fmt: skip


class Bag:
    """A recording in the making."""

    def __init__(self, path: Path, **options: Any) -> None:
        from mcap_ros2.writer import Writer

        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("wb")
        self.writer = Writer(self._file, **options)
        self._schemas: dict[str, Any] = {}

    def write(self, topic: str, kind: str, log_time: int, message: dict[str, Any]) -> None:
        if kind not in self._schemas:
            self._schemas[kind] = self.writer.register_msgdef(kind, definition(kind))
        self.writer.write_message(topic, self._schemas[kind], message, log_time, log_time)

    def close(self) -> Path:
        self.writer.finish()
        self._file.close()
        return self.path


def odometry(t_ns: int, x: float, y: float, yaw: float, speed: float = 10.0, child: str = "base_link") -> dict[str, Any]:  # fmt: skip
    twist = {"linear": {"x": speed, "y": 0.0, "z": 0.0}, "angular": {"x": 0.0, "y": 0.0, "z": 0.1}}
    return {
        "header": header(t_ns, "map"), "child_frame_id": child,
        "pose": {"pose": pose(x, y, 0.0, yaw), "covariance": [0.0] * 36},
        "twist": {"twist": twist, "covariance": [0.0] * 36},
    }  # fmt: skip


def camera_info(t_ns: int, frame: str = "camera") -> dict[str, Any]:
    return {
        "header": header(t_ns, frame), "height": 8, "width": 16, "distortion_model": "plumb_bob",
        "d": [0.1, 0.0, 0.0, 0.0, 0.0], "k": [20.0, 0, 8.0, 0, 21.0, 4.0, 0, 0, 1.0],
        "r": [0.0] * 9, "p": [0.0] * 12, "binning_x": 0, "binning_y": 0,
        "roi": {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False},
    }  # fmt: skip


def write_drive(path: Path, *, steps: int = 11, begin: int = 0, **options: Any) -> Path:
    """A vehicle that drives north at 10 m/s from (100, 50), with a car 20 m ahead of it."""
    bag = Bag(path, **options)
    mounts = [
        transform("base_link", "camera", START_NS, 1.5, 0.0, 1.2),
        transform("base_link", "lidar", START_NS, 0.0, 0.0, 2.0, np.pi / 2),
    ]
    bag.write(
        "/tf_static", "tf2_msgs/msg/TFMessage", START_NS + begin * STEP_NS, {"transforms": mounts}
    )
    for k in range(begin, begin + steps):
        t = START_NS + k * STEP_NS
        late = t + LATENCY_NS
        y = 50.0 + k
        bag.write("/odom", "nav_msgs/msg/Odometry", late, odometry(t, 100.0, y, np.pi / 2))
        image = {"header": header(t + 7, "camera"), "format": "jpeg", "data": jpeg(k % 200)}
        bag.write("/cam/front/compressed", "sensor_msgs/msg/CompressedImage", late, image)
        bag.write("/cam/front/camera_info", "sensor_msgs/msg/CameraInfo", late, camera_info(t))
        points = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0 + k], [np.nan, 0.0, 0.0]]
        bag.write("/points", "sensor_msgs/msg/PointCloud2", late, cloud(t, points))
        imu = {
            "header": header(t, "imu"), "orientation": pose(0, 0)["orientation"],
            "angular_velocity": {"x": 0.0, "y": 0.0, "z": 0.1 * k},
            "linear_acceleration": {"x": 1.0, "y": 2.0, "z": 9.81},
            "orientation_covariance": [0.0] * 9, "angular_velocity_covariance": [0.0] * 9,
            "linear_acceleration_covariance": [0.0] * 9,
        }  # fmt: skip
        bag.write("/imu", "sensor_msgs/msg/Imu", late, imu)
        cars = [tracked(1, 20.0, 0.0), tracked(2, 0.0, -3.0, speed=0.0, label=7)]
        seen = {"header": header(t, "base_link"), "objects": cars}
        bag.write("/tracks", "autoware_perception_msgs/msg/TrackedObjects", late, seen)
        frame = {
            "header": header(t, ""), "id": 0x1A0, "is_rtr": False, "is_extended": False,
            "is_error": False, "dlc": 3, "data": bytes([1, 0xAB, k % 256, 0, 0, 0, 0, 0]),
        }  # fmt: skip
        bag.write("/can", "can_msgs/msg/Frame", late, frame)
        bag.write("/load", "std_msgs/msg/Float64", late, {"data": 0.5 * k})
        bag.write("/diagnostics", "diagnostic_msgs/msg/KeyValue", late, {"key": "a", "value": "b"})
    return bag.close()


def write_bag(folder: Path) -> Path:
    """A ROS 2 bag of two pieces."""
    folder.mkdir(parents=True)
    for number in range(2):
        write_drive(folder / f"bag_{number}.mcap", steps=5, begin=5 * number)
    (folder / "metadata.yaml").write_text(
        "rosbag2_bagfile_information:\n  version: 5\n  storage_identifier: mcap\n"
        "  relative_file_paths:\n    - bag_0.mcap\n    - bag_1.mcap\n"
    )
    return folder


def write_foxglove(path: Path, *, encoding: str = "protobuf") -> Path:
    """Foxglove's schemas: transforms, boxes, an image, a cloud, fixes."""
    from mcap.writer import Writer

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        channels: dict[str, int] = {}
        pool = _Foxglove()

        def write(topic: str, kind: str, t_ns: int, message: dict[str, Any]) -> None:
            if topic not in channels:
                if encoding == "json":
                    schema = writer.register_schema(f"foxglove.{kind}", "jsonschema", b"{}")
                else:
                    data = pool.described
                    schema = writer.register_schema(f"foxglove.{kind}", "protobuf", data)
                channels[topic] = writer.register_channel(topic, encoding, schema)
            data = json.dumps(message).encode() if encoding == "json" else pool.pack(kind, message)
            writer.add_message(channels[topic], t_ns, data, t_ns)

        for k in range(5):
            t = START_NS + k * STEP_NS
            when = {"sec": t // 10**9, "nsec": t % 10**9}
            placed = {
                "timestamp": when, "parent_frame_id": "map", "child_frame_id": "base_link",
                "translation": {"x": 10.0 * k, "y": 0.0, "z": 0.0},
                "rotation": {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0},
            }  # fmt: skip
            write("/tf", "FrameTransform", t, placed)
            box = {
                "timestamp": when, "frame_id": "map", "id": "car-1",
                "metadata": [{"key": "category", "value": "vehicle.bus.rigid"}],
                "cubes": [{"pose": pose(5.0, 6.0 + k), "size": {"x": 9.0, "y": 2.5, "z": 3.0}}],
            }  # fmt: skip
            write("/boxes", "SceneUpdate", t, {"entities": [box]})
            fix = {"timestamp": when, "frame_id": "gps", "latitude": 48.0, "longitude": 11.0 + 1e-5 * k, "altitude": 500.0}  # fmt: skip
            write("/fix", "LocationFix", t, fix)
            if encoding == "protobuf":
                image = {
                    "timestamp": when,
                    "frame_id": "base_link",
                    "data": jpeg(),
                    "format": "jpeg",
                }
                write("/image", "CompressedImage", t, image)
                record = np.array([(1.0, 2.0, 3.0, 7)], dtype="<f4,<f4,<f4,u1")
                layout = [
                    {"name": name, "offset": 4 * k, "type": 1 if name == "ring" else 7}
                    for k, name in enumerate(("x", "y", "z", "ring"))
                ]
                points = {
                    "timestamp": when, "frame_id": "base_link", "point_stride": 13,
                    "pose": pose(1.0, 0.0, 0.0, np.pi / 2), "fields": layout,
                    "data": record.tobytes(),
                }  # fmt: skip
                write("/cloud", "PointCloud", t, points)
        writer.finish()
    return path


class _Foxglove:
    """Foxglove's messages by a descriptor of their own."""

    def __init__(self) -> None:
        from google.protobuf import descriptor_pb2

        from formats.protos import message_classes
        from formats.robot_payloads import FOXGLOVE

        more = """
message KeyValuePair
    1 key string            2 value string
message CubePrimitive
    1 pose Pose             2 size Vector3
message SceneEntity
    1 timestamp Timestamp   2 frame_id string       3 id string
    6 metadata KeyValuePair*                        8 cubes CubePrimitive*
message SceneUpdate
    2 entities SceneEntity*
message FrameTransform
    1 timestamp Timestamp   2 parent_frame_id string                        3 child_frame_id string
    4 translation Vector3   5 rotation Quaternion
message LocationFix
    1 latitude double       2 longitude double      3 altitude double
    6 timestamp Timestamp   7 frame_id string
message CompressedImage
    1 timestamp Timestamp   2 data bytes            3 format string         4 frame_id string
"""
        self._classes = message_classes(FOXGLOVE + more, package="foxglove")
        told = descriptor_pb2.FileDescriptorSet()
        self._classes["SceneUpdate"].DESCRIPTOR.file.CopyToProto(told.file.add())
        self.described = told.SerializeToString()

    def pack(self, kind: str, message: dict[str, Any]) -> bytes:
        made = self._classes[kind]()
        _fill(made, message)
        return made.SerializeToString()


def _fill(made: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        name = {"sec": "seconds", "nsec": "nanos"}.get(name, name)
        about = made.DESCRIPTOR.fields_by_name[name]
        if about.message_type is None:
            setattr(made, name, value)
            continue
        for item in value if about.is_repeated else [value]:
            inner = getattr(made, name).add() if about.is_repeated else getattr(made, name)
            inner.SetInParent()
            _fill(inner, item)


def write_ros1(path: Path) -> Path:
    """One ROS 1 topic, packed by hand: temperatures with a header."""
    from mcap.writer import Writer

    text = (
        "Header header\nfloat64 temperature\nfloat64 variance"
        + SEPARATOR
        + ("std_msgs/Header\nuint32 seq\ntime stamp\nstring frame_id")
    )
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(profile="ros1")
        schema = writer.register_schema("sensor_msgs/Temperature", "ros1msg", text.encode())
        channel = writer.register_channel("/temperature", "ros1", schema)
        for k in range(3):
            t = START_NS + k * STEP_NS
            data = struct.pack("<IIII", k, t // 10**9, t % 10**9, 3) + b"cpu"
            writer.add_message(channel, t, data + struct.pack("<dd", 40.5 + k, 0.0), t)
        writer.finish()
    return path
