"""Writes ASAM OSI traces as simulators do, from plain words."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from formats.osi_protos import osi_classes

STEP_NS = 50_000_000


def message(kind: str, **fields: Any) -> Any:
    """A message; dicts become messages, lists repeated fields, numbers of ``…id`` identifiers."""
    made = osi_classes()[kind]()
    _fill(made, fields)
    return made


def _fill(made: Any, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        about = made.DESCRIPTOR.fields_by_name[name]
        values = value if about.is_repeated else [value]
        for item in values:
            if about.message_type is None:
                if about.is_repeated:
                    getattr(made, name).append(item)
                else:
                    setattr(made, name, item)
                continue
            if about.message_type.name == "Identifier" and not isinstance(item, dict):
                item = {"value": item}
            elif about.message_type.name == "Vector3d" and not isinstance(item, dict):
                item = dict(zip("xyz", item, strict=True))
            elif about.message_type.name == "BoundaryPoint" and not isinstance(item, dict):
                item = {"position": item}
            inner = getattr(made, name).add() if about.is_repeated else getattr(made, name)
            inner.SetInParent()
            _fill(inner, item)


def stamp(t_ns: int) -> dict[str, int]:
    return {"seconds": t_ns // 10**9, "nanos": t_ns % 10**9}


def mover(key: int, x: float, y: float, *, yaw: float = 0.0, **more: Any) -> dict[str, Any]:
    base = {
        "dimension": {"length": 4.5, "width": 1.8, "height": 1.5},
        "position": (x, y, 0.75), "orientation": {"yaw": yaw}, "velocity": (10.0, 0.5, 0.0),
        "acceleration": (1.0, 0.0, 0.0), "orientation_rate": {"yaw": 0.02},
    }  # fmt: skip
    base |= more.pop("base", {})
    return {"id": key, "base": base, "type": 2, "vehicle_classification": {"type": 4}} | more


PLACE = (400_000.0, 5_000_000.0)
"""Where the road of :func:`truths` begins, as in UTM [m]."""


def truths(steps: int = 5, *, t0_ns: int = 100_000_000) -> list[Any]:
    """A host (id 7) that another car (id 8) follows; a pedestrian (id 9) from the third step on."""
    made = []
    for k in range(steps):
        movers = [mover(7, 400_000.125 + k, 5_000_000.5), mover(8, 399_980.0 + k, 5_000_000.25)]
        if k >= 2:
            movers.append(mover(9, 400_050.0, 5_000_010.0 - 0.1 * k, yaw=-1.57, type=3))
        truth = message(
            "GroundTruth", timestamp=stamp(t0_ns + k * STEP_NS), host_vehicle_id=7,
            moving_object=movers,
        )  # fmt: skip
        made.append(truth)
    made[0].MergeFrom(road(PLACE))
    return made


def road(place: tuple[float, float] = (0.0, 0.0)) -> Any:
    """Two lanes side by side and one against them, one that follows; sign, lights, crosswalk."""

    def at(x: float, y: float, z: float) -> tuple[float, float, float]:
        return place[0] + x, place[1] + y, z

    def line(key: int, y: float, kind: int, **more: Any) -> dict[str, Any]:
        points = [at(0.0, y, 0.0), at(50.0, y, 0.0)]
        return {"id": key, "boundary_line": points, "classification": {"type": kind} | more}

    def lane(key: int, y: float, x0: float = 0.0, **more: Any) -> dict[str, Any]:
        about = {
            "type": 2, "subtype": 2, "centerline": [at(x0, y, 0.0), at(x0 + 50.0, y, 0.0)],
            "centerline_is_driving_direction": True,
        }  # fmt: skip
        return {"id": key, "classification": about | more}

    bulbs = [
        {
            "id": 60 + k, "base": {"position": at(48.0, -4.0, 5.0)},
            "classification": {"color": color, "mode": mode, "icon": 2, "assigned_lane_id": [2]},
        }
        for k, (color, mode) in enumerate([(2, 3), (3, 3), (4, 2)])
    ]  # fmt: skip
    return message(
        "GroundTruth",
        lane=[
            lane(1, 3.5, left_lane_boundary_id=[12], right_lane_boundary_id=[11],
                 right_adjacent_lane_id=[2], centerline_is_driving_direction=False),
            lane(2, 0.0, left_lane_boundary_id=[11], right_lane_boundary_id=[10],
                 left_adjacent_lane_id=[1], right_adjacent_lane_id=[3],
                 lane_pairing=[{"successor_lane_id": 4}]),
            lane(3, -3.5, left_lane_boundary_id=[10], left_adjacent_lane_id=[2]),
            lane(4, 0.0, 50.0, lane_pairing=[{"antecessor_lane_id": 2}]),
        ],
        lane_boundary=[line(10, -1.75, 4, color=3), line(11, 1.75, 3), line(12, 5.25, 6)],
        traffic_sign=[
            {"id": 50, "main_sign": {
                "base": {"position": at(49.0, -5.0, 2.0)},
                "classification": {"type": 17, "assigned_lane_id": [3]}}},
        ],
        traffic_light=bulbs,
        road_marking=[
            {"id": 70, "base": {"position": at(45.0, -1.75, 0.0), "orientation": {"yaw": 0.0},
                                "dimension": {"length": 0.5, "width": 7.0}},
             "classification": {"traffic_main_sign_type": 17, "assigned_lane_id": [2, 3]}},
        ],
        stationary_object=[
            {"id": 80, "base": {"position": at(20.0, 15.0, 3.0),
                                "dimension": {"length": 10.0, "width": 6.0, "height": 6.0}},
             "classification": {"type": 3}},
        ],
        environmental_conditions={
            "precipitation": 5, "temperature": 280.0, "ambient_illumination": 2,
        },
        country_code=276, proj_string="EPSG:25832", version={"version_major": 3, "version_minor": 7},
    )  # fmt: skip


def views(steps: int = 3) -> list[Any]:
    """The same as seen by a sensor."""
    return [
        message(
            "SensorView", timestamp=stamp(STEP_NS * k), sensor_id=3, host_vehicle_id=7,
            mounting_position={"position": (1.5, 0.0, 1.2), "orientation": {"yaw": 0.0}},
        )
        for k in range(steps)
    ]  # fmt: skip


def write_osi(path: Path, messages: Iterable[Any]) -> Path:
    """A single-channel trace."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [told.SerializeToString() for told in messages]
    path.write_bytes(b"".join(struct.pack("<I", len(frame)) + frame for frame in frames))
    return path


def write_osi_mcap(
    path: Path, topics: dict[str, Sequence[Any]], *, metadata: dict[str, str] | None = None
) -> Path:
    """A multi-channel trace; each topic's messages are of one kind."""
    from google.protobuf import descriptor_pb2
    from mcap.writer import Writer

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(profile="", library="test")
        if metadata:
            writer.add_metadata("net.asam.osi.trace", metadata)
        for topic, messages in topics.items():
            described = descriptor_pb2.FileDescriptorSet()
            messages[0].DESCRIPTOR.file.CopyToProto(described.file.add())
            schema = writer.register_schema(
                f"osi3.{messages[0].DESCRIPTOR.name}", "protobuf", described.SerializeToString()
            )
            channel = writer.register_channel(topic, "protobuf", schema)
            for k, told in enumerate(messages):
                writer.add_message(channel, k * STEP_NS, told.SerializeToString(), k * STEP_NS)
        writer.finish()
    return path
