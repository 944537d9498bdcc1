"""The nuScenes CAN bus expansion: ``can_bus/<scene>_<message>.json`` to readings.

Each file is a list of messages of one kind over one scene, stamped ``utime`` (microseconds, Unix).
``pose`` is the vehicle's own localisation at 50 Hz: position and orientation in the world,
velocity, acceleration and rotation rate in the vehicle frame. ``route`` is a timeless list of
(x, y); ``meta`` holds statistics of the others and is not read. Steering angles are those of the
steering wheel.

Source: github.com/nutonomy/nuscenes-devkit, ``python-sdk/nuscenes/can_bus/README.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from formats.files import present, read_json
from formats.tally import Tally
from geometry.arrays import Array
from schemas.errors import UnreadableFile
from schemas.records import Readings, Sensor

FOLDER = "can_bus"
ROUTE = "route"
POSE = "pose"
KINDS = {
    "ms_imu": "imu",
    "pose": "other",
    "steeranglefeedback": "can",
    "vehicle_monitor": "can",
    "zoesensors": "can",
    "zoe_veh_info": "can",
}
"""Message → kind of sensor, in the order of the published table; ``imu`` is an older name."""
ALSO = {"imu": "ms_imu"}

UNITS: dict[tuple[str, str], str] = {
    ("ms_imu", "linear_accel"): "m/s2",
    ("ms_imu", "rotation_rate"): "rad/s",
    ("pose", "accel"): "m/s2",
    ("pose", "pos"): "m",
    ("pose", "rotation_rate"): "rad/s",
    ("pose", "vel"): "m/s",
    ("steeranglefeedback", "value"): "rad",
    ("vehicle_monitor", "available_distance"): "km",
    ("vehicle_monitor", "battery_level"): "%",
    ("vehicle_monitor", "brake"): "bar",
    ("vehicle_monitor", "rear_left_rpm"): "rpm",
    ("vehicle_monitor", "rear_right_rpm"): "rpm",
    ("vehicle_monitor", "steering"): "deg",
    ("vehicle_monitor", "steering_speed"): "deg/s",
    ("vehicle_monitor", "vehicle_speed"): "km/h",
    ("vehicle_monitor", "yaw_rate"): "deg/s",
    ("zoe_veh_info", "FL_wheel_speed"): "rpm",
    ("zoe_veh_info", "FR_wheel_speed"): "rpm",
    ("zoe_veh_info", "RL_wheel_speed"): "rpm",
    ("zoe_veh_info", "RR_wheel_speed"): "rpm",
    ("zoe_veh_info", "longitudinal_accel"): "m/s2",
    ("zoe_veh_info", "meanEffTorque"): "Nm",
    ("zoe_veh_info", "odom"): "cm",
    ("zoe_veh_info", "odom_speed"): "km/h",
    ("zoe_veh_info", "requestedTorqueAfterProc"): "Nm",
    ("zoe_veh_info", "steer_corrected"): "deg",
    ("zoe_veh_info", "steer_offset_can"): "deg",
    ("zoe_veh_info", "steer_raw"): "deg",
    ("zoe_veh_info", "transversal_accel"): "g",
}
"""As published; what is missing here has no unit."""

SUFFIXES = {3: ("x", "y", "z"), 4: ("w", "x", "y", "z")}
"""Of the components of vectors and of quaternions, which are scalar first."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CanBus:
    """What the bus told during one scene; times as stamped.

    Attributes:
        sensors: One a message kind.
        readings: With ``t_ns`` in nanoseconds of Unix time.
        pose: ``pose`` messages, None without them.
        route: The planned way, None where the driver followed none [m].
    """

    sensors: Sequence[Sensor]
    readings: Sequence[Readings]
    pose: CanPose | None
    route: Float[Array, "points 2"] | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CanPose:
    """Motion in the vehicle frame over time.

    Attributes:
        t_ns: Unix time [ns].
        velocity: [m/s].
        acceleration: [m/s²].
        rotation_rate: [rad/s].
    """

    t_ns: Int[Array, " steps"]
    velocity: Float[Array, "steps 3"]
    acceleration: Float[Array, "steps 3"]
    rotation_rate: Float[Array, "steps 3"]


def can_files(root: Path, scene: str) -> Iterator[Path]:
    """The files of a scene that are there."""
    for message in (*KINDS, *ALSO, ROUTE):
        found = present(root / FOLDER / f"{scene}_{message}.json")
        if found is not None:
            yield found


def read_can_bus(root: Path, scene: str, tally: Tally) -> CanBus | None:
    """What the bus told during a scene; None where there is no file of it.

    Raises:
        UnreadableFile: A file is damaged or no list of messages.
    """
    paths = list(can_files(root, scene))
    if not paths:
        return None
    sensors: list[Sensor] = []
    readings: list[Readings] = []
    pose, route = None, None
    for path in paths:
        message = path.name.split(".json")[0].removeprefix(f"{scene}_")
        content = read_json(path)
        if not isinstance(content, list):
            raise UnreadableFile(path, "is no list of CAN bus messages")
        if message == ROUTE:
            route = _route(content, path, tally)
            continue
        message = ALSO.get(message, message)
        t_ns, kept = _in_time(content, message, tally)
        if not kept or message in {sensor.channel for sensor in sensors}:
            continue
        columns = _columns(kept)
        sensors.append(Sensor(channel=message, kind=KINDS[message]))
        readings += [
            Readings(
                channel=message, signal=signal, t_ns=t_ns, value=values,
                unit=UNITS.get((message, name), ""),
            )
            for name, signal, values in columns
        ]  # fmt: skip
        if message == POSE:
            by_signal = {signal: values for _, signal, values in columns}
            pose = _pose(t_ns, by_signal)
    return CanBus(sensors=sensors, readings=readings, pose=pose, route=route)


def _in_time(
    messages: Sequence[Any], message: str, tally: Tally
) -> tuple[Int[Array, " steps"], list[Mapping[str, Any]]]:
    """The messages in the order of their stamps, one a stamp."""
    stamped = [m for m in messages if isinstance(m, dict) and isinstance(m.get("utime"), int)]
    tally.add("dropped", f"{message} messages without a stamp", len(messages) - len(stamped))
    t_ns = np.array([m["utime"] for m in stamped], dtype=np.int64) * 1000
    tally.add(
        "renamed", f"{message} messages whose clock jumps back are put in order",
        int((np.diff(t_ns) < 0).sum()),
    )  # fmt: skip
    t_ns, first = np.unique(t_ns, return_index=True)
    tally.add(
        "dropped", f"{message} messages with a stamp that another has already",
        len(stamped) - len(first),
    )  # fmt: skip
    return t_ns, [stamped[i] for i in first]


def _columns(messages: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, Array]]:
    """(field, signal, values) with one signal a component; NaN where a message lacks it."""
    found = []
    for name in dict.fromkeys(name for m in messages for name in m if name != "utime"):
        width = max((len(m[name]) for m in messages if isinstance(m.get(name), list)), default=0)
        if not width:
            found.append((name, name, np.array([_number(m.get(name)) for m in messages])))
            continue
        suffixes = SUFFIXES.get(width, tuple(map(str, range(width))))
        for k, suffix in enumerate(suffixes):
            values = [
                _number(m[name][k])
                if isinstance(m.get(name), list) and k < len(m[name])
                else np.nan
                for m in messages
            ]
            found.append((name, f"{name}_{suffix}", np.array(values)))
    return found


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else np.nan


def _pose(t_ns: Array, signals: Mapping[str, Array]) -> CanPose | None:
    parts = [[f"{name}_{axis}" for axis in "xyz"] for name in ("vel", "accel", "rotation_rate")]
    if not all(signal in signals for part in parts for signal in part):
        return None
    velocity, acceleration, rate = (
        np.stack([signals[signal] for signal in part], axis=1) for part in parts
    )
    return CanPose(t_ns=t_ns, velocity=velocity, acceleration=acceleration, rotation_rate=rate)


def _route(content: Sequence[Any], path: Path, tally: Tally) -> Array | None:
    try:
        points = np.array(content, dtype=np.float64).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise UnreadableFile(path, f"is no list of (x, y) ({error})") from error
    finite = np.isfinite(points).all(axis=1)
    tally.add("dropped", "points of the route that are not finite", int((~finite).sum()))
    return points[finite] if finite.any() else None
