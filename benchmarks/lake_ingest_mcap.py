"""Long MCAP recordings to time an ingest with: a drive in ROS 2 messages, and a trace of ASAM OSI.

Messages are encoded once by the formats' own libraries, with numbers in them that occur nowhere else;
where those lie, the numbers of each moment are written. Encoding an hour message by message takes
longer than reading it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from tests.formats.mcap_files import (
    START_NS,
    cloud,
    definition,
    header,
    odometry,
    tracked,
    transform,
)

LATENCY_NS = 20_000_000
PAYLOAD = 1024  # [bytes] of a picture; of a cloud twice as many


class Stamped:
    """A message whose marked numbers are written anew for each moment.

    Args:
        data: As encoded, with the marks in it.
        marks: Kind (as :mod:`struct` knows it) and value of each; none occurs twice.
    """

    def __init__(self, data: bytes, marks: Mapping[str, tuple[str, float | int]]) -> None:
        self._data = bytearray(data)
        self._at = {}
        for name, (kind, value) in marks.items():
            packed = struct.pack(f"<{kind}", value)
            assert data.count(packed) == 1, f"{name} is not to be found"
            self._at[name] = struct.Struct(f"<{kind}"), data.index(packed)

    def filled(self, values: Mapping[str, float | int]) -> bytes:
        """The message with these values."""
        for name, value in values.items():
            layout, at = self._at[name]
            layout.pack_into(self._data, at, value)
        return bytes(self._data)


STAMP = {"sec": ("I", 123_454_321), "nanosec": ("I", 987_654_321)}
MARK_NS = 123_454_321 * 10**9 + 987_654_321


def stamp(t_ns: int) -> dict[str, int]:
    """Values of ``STAMP``."""
    return {"sec": t_ns // 10**9, "nanosec": t_ns % 10**9}


def write_ros2(path: Path, rows: Any) -> None:
    """A drive with tracked objects at 10 Hz, three cameras, a lidar, an IMU and CAN frames.

    Args:
        path: Of the recording.
        rows: Traffic, as :func:`lake_ingest_logs.drawn` draws it at 10 Hz.
    """
    from mcap.writer import Writer

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(profile="ros2", library="benchmark")
        channels: dict[str, int] = {}

        def channel(topic: str, kind: str) -> int:
            if topic not in channels:
                schema = writer.register_schema(kind, "ros2msg", definition(kind).encode())
                channels[topic] = writer.register_channel(topic, "cdr", schema)
            return channels[topic]

        tf = "tf2_msgs/msg/TFMessage"
        mounts = {"transforms": [transform("base_link", "lidar", START_NS, 0.0, 0.0, 2.0)]}
        writer.add_message(channel("/tf_static", tf), START_NS, encoded(tf, mounts), START_NS)
        for tick, told in ros2_messages(rows):
            t = START_NS + tick
            for topic, kind, data in told:
                late = t + LATENCY_NS
                writer.add_message(channel(topic, kind), late, data, late)
        writer.finish()


def ros2_messages(rows: Any) -> Iterator[tuple[int, list[tuple[str, str, bytes]]]]:
    """(time since the beginning [ns], [(topic, type, message)]) every 10 ms."""
    rng = np.random.default_rng(1)
    none = [0.0] * 9
    told = {
        "odometry": odometry(MARK_NS, 1.125, 2.0625, 0.0, 3.03125),
        "imu": {
            "header": header(MARK_NS, "imu"), "orientation": {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0},
            "angular_velocity": {"x": 0.0, "y": 0.0, "z": 1.125},
            "linear_acceleration": {"x": 2.0625, "y": 0.0, "z": 9.81},
            "orientation_covariance": none, "angular_velocity_covariance": none,
            "linear_acceleration_covariance": none,
        },
        "can": {
            "header": header(MARK_NS, ""), "id": 0x1A0, "is_rtr": False, "is_extended": False,
            "is_error": False, "dlc": 8, "data": struct.pack("<Q", 2**63 - 12345),
        },
        "image": {"header": header(MARK_NS, "camera"), "format": "jpeg", "data": b"\xff\xd8" + rng.bytes(PAYLOAD)},
        "cloud": cloud(MARK_NS, rng.normal(size=(PAYLOAD // 8, 3))),
    }  # fmt: skip
    kinds = {
        "odometry": "nav_msgs/msg/Odometry", "imu": "sensor_msgs/msg/Imu",
        "can": "can_msgs/msg/Frame", "image": "sensor_msgs/msg/CompressedImage",
        "cloud": "sensor_msgs/msg/PointCloud2",
    }  # fmt: skip
    marks: dict[str, dict[str, tuple[str, float | int]]] = {
        "odometry": {"x": ("d", 1.125), "y": ("d", 2.0625), "speed": ("d", 3.03125)},
        "imu": {"rate": ("d", 1.125), "push": ("d", 2.0625)},
        "can": {"data": ("Q", 2**63 - 12345)},
        "image": {}, "cloud": {},
    }  # fmt: skip
    made = {k: Stamped(encoded(kinds[k], told[k]), STAMP | marks[k]) for k in told}
    objects = tracked_messages(rows)
    steps = int(rows.step[-1]) + 1
    for k in range(10 * steps):
        tick = 10_000_000 * k
        when = stamp(START_NS + tick)
        x = 0.1 * k
        out = [
            ("/imu", "imu", when | {"rate": np.sin(x), "push": np.cos(x)}),
            ("/can", "can", when | {"data": k}),
        ]
        if k % 2 == 0:
            out.append(("/odom", "odometry", when | {"x": x, "y": 0.0, "speed": 10.0}))
        if k % 10 == 0:
            out += [(f"/camera{n}/compressed", "image", when) for n in range(3)]
            out.append(("/points", "cloud", when))
        told_now = [(topic, kinds[name], made[name].filled(values)) for topic, name, values in out]
        if k % 10 == 0:
            told_now.append(("/tracks", TRACKED, next(objects)))
        yield tick, told_now


TRACKED = "autoware_perception_msgs/msg/TrackedObjects"


def tracked_messages(rows: Any) -> Iterator[bytes]:
    """A message a step, in the order of time, those without anyone too."""
    templates: dict[int, Stamped] = {}
    edges = np.searchsorted(rows.step, np.arange(int(rows.step[-1]) + 2))
    for step, (begin, end) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        count = end - begin
        if count not in templates:
            templates[count] = _tracked_template(count)
        values: dict[str, float | int] = dict(stamp(START_NS + 100_000_000 * step))
        for n, i in enumerate(range(begin, end)):
            values |= {
                f"id{n}": int(rows.track[i]), f"x{n}": float(rows.x[i]), f"y{n}": float(rows.y[i]),
                f"v{n}": float(rows.speed[i]), f"sin{n}": float(np.sin(rows.yaw[i] / 2)),
                f"cos{n}": float(np.cos(rows.yaw[i] / 2)),
            }  # fmt: skip
        yield templates[count].filled(values)


def _tracked_template(count: int) -> Stamped:
    objects, marks = [], dict(STAMP)
    for n in range(count):
        told = tracked(0, 0.0, 0.0, speed=4000.5 + n)
        told["object_id"]["uuid"] = struct.pack("<QQ", 2**62 + n, 0)
        place = told["kinematics"]["pose_with_covariance"]["pose"]
        place["position"] = {"x": 1000.5 + n, "y": 2000.5 + n, "z": 0.8}
        place["orientation"] = {"x": 0.0, "y": 0.0, "z": 5000.5 + n, "w": 6000.5 + n}
        objects.append(told)
        marks |= {
            f"id{n}": ("Q", 2**62 + n), f"x{n}": ("d", 1000.5 + n), f"y{n}": ("d", 2000.5 + n),
            f"v{n}": ("d", 4000.5 + n), f"sin{n}": ("d", 5000.5 + n),
            f"cos{n}": ("d", 6000.5 + n),
        }  # fmt: skip
    message = {"header": header(MARK_NS, "map"), "objects": objects}
    return Stamped(encoded(TRACKED, message), marks)


def encoded(kind: str, message: dict[str, Any]) -> bytes:
    """A message in CDR."""
    from mcap_ros2._dynamic import serialize_dynamic

    return bytes(serialize_dynamic(kind, definition(kind))[kind](message))


def write_osi(path: Path, rows: Any) -> None:
    """The ground truth of a drive, a message a step; the host is the first of the traffic.

    Args:
        path: Of the trace.
        rows: Traffic, as :func:`lake_ingest_logs.drawn` draws it.
    """
    from google.protobuf import descriptor_pb2
    from mcap.writer import Writer

    from formats.osi_protos import osi_classes

    kind = osi_classes()["GroundTruth"]
    described = descriptor_pb2.FileDescriptorSet()
    kind.DESCRIPTOR.file.CopyToProto(described.file.add())
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(profile="", library="benchmark")
        schema = writer.register_schema(
            "osi3.GroundTruth", "protobuf", described.SerializeToString()
        )
        channel = writer.register_channel("GroundTruth", "protobuf", schema)
        columns = (rows.step, rows.track, rows.x, rows.y, rows.yaw, rows.speed)
        states = zip(*(column.tolist() for column in columns), strict=True)
        for step, some in groupby(states, key=lambda state: state[0]):
            t_ns = round(1e9 / rows.rate) * step
            truth = kind()
            truth.timestamp.seconds, truth.timestamp.nanos = divmod(t_ns, 10**9)
            for _, track, x, y, yaw, speed in some:
                thing = truth.moving_object.add()
                thing.id.value, thing.type = track, 2
                thing.vehicle_classification.type = 4
                base = thing.base
                base.dimension.length, base.dimension.width = 4.6, 1.9
                base.dimension.height = 1.5
                base.position.x, base.position.y, base.position.z = x, y, 0.75
                base.orientation.yaw = yaw
                base.velocity.x, base.velocity.y = speed * np.cos(yaw), speed * np.sin(yaw)
            truth.host_vehicle_id.value = 0
            writer.add_message(channel, t_ns, truth.SerializeToString(), t_ns)
        writer.finish()


def decode_mcap(path: Path) -> None:
    """Every message by the mcap library and its decoder, or by protobuf for OSI."""
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    from formats.osi_protos import osi_classes

    truth = osi_classes()["GroundTruth"]
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        for schema, channel, message in reader.iter_messages(log_time_order=False):
            if channel.message_encoding == "cdr":
                break
            assert schema is not None
            truth.FromString(message.data)
        else:
            return
        for _ in reader.iter_decoded_messages(log_time_order=False):
            pass
