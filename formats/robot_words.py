"""The words of robot perception messages: classes of objects, states of signals, units of readings.

Numbers as in the definitions of ``autoware_perception_msgs`` (and its older ``autoware_auto_…``),
``derived_object_msgs`` and of ROS; free words by what they contain.
"""

from __future__ import annotations

from schemas.labels import AgentClass, LightState

AUTOWARE_LABELS = (
    ("UNKNOWN", AgentClass.UNKNOWN), ("CAR", AgentClass.VEHICLE), ("TRUCK", AgentClass.TRUCK),
    ("BUS", AgentClass.BUS), ("TRAILER", AgentClass.OTHER), ("MOTORCYCLE", AgentClass.MOTORCYCLE),
    ("BICYCLE", AgentClass.CYCLIST), ("PEDESTRIAN", AgentClass.PEDESTRIAN),
    ("ANIMAL", AgentClass.ANIMAL), ("HAZARD", AgentClass.OBSTACLE),
    ("OVER_DRIVABLE", AgentClass.OBSTACLE), ("UNDER_DRIVABLE", AgentClass.OTHER),
)  # fmt: skip
DERIVED_CLASSES = (
    ("CLASSIFICATION_UNKNOWN", AgentClass.UNKNOWN),
    ("CLASSIFICATION_UNKNOWN_SMALL", AgentClass.UNKNOWN),
    ("CLASSIFICATION_UNKNOWN_MEDIUM", AgentClass.UNKNOWN),
    ("CLASSIFICATION_UNKNOWN_BIG", AgentClass.UNKNOWN),
    ("CLASSIFICATION_PEDESTRIAN", AgentClass.PEDESTRIAN),
    ("CLASSIFICATION_BIKE", AgentClass.CYCLIST),
    ("CLASSIFICATION_CAR", AgentClass.VEHICLE),
    ("CLASSIFICATION_TRUCK", AgentClass.TRUCK),
    ("CLASSIFICATION_MOTORCYCLE", AgentClass.MOTORCYCLE),
    ("CLASSIFICATION_OTHER_VEHICLE", AgentClass.VEHICLE),
    ("CLASSIFICATION_BARRIER", AgentClass.OBSTACLE),
    ("CLASSIFICATION_SIGN", AgentClass.OBSTACLE),
)
WORDS = (
    ("pedestrian", AgentClass.PEDESTRIAN), ("person", AgentClass.PEDESTRIAN),
    ("human", AgentClass.PEDESTRIAN), ("motorcycl", AgentClass.MOTORCYCLE),
    ("motorbike", AgentClass.MOTORCYCLE), ("bicycl", AgentClass.CYCLIST),
    ("cyclist", AgentClass.CYCLIST), ("bike", AgentClass.CYCLIST), ("trailer", AgentClass.OTHER),
    ("truck", AgentClass.TRUCK), ("bus", AgentClass.BUS), ("animal", AgentClass.ANIMAL),
    ("cone", AgentClass.OBSTACLE), ("barrier", AgentClass.OBSTACLE),
    ("debris", AgentClass.OBSTACLE), ("car", AgentClass.VEHICLE), ("van", AgentClass.VEHICLE),
    ("vehicle", AgentClass.VEHICLE),
)  # fmt: skip
"""Parts of words, the more special ones first."""

LIGHT_COLORS = ("UNKNOWN", "RED", "AMBER", "GREEN", "WHITE")
LIGHT_STATES = (
    LightState.UNKNOWN, LightState.RED, LightState.YELLOW, LightState.GREEN, LightState.UNKNOWN,
)  # fmt: skip
LIGHT_SHAPES = (
    "UNKNOWN", "CIRCLE", "LEFT_ARROW", "RIGHT_ARROW", "UP_ARROW", "UP_LEFT_ARROW",
    "UP_RIGHT_ARROW", "DOWN_ARROW", "DOWN_LEFT_ARROW", "DOWN_RIGHT_ARROW", "CROSS",
)  # fmt: skip
LIGHT_STATUS = ("UNKNOWN", "SOLID_OFF", "SOLID_ON", "FLASHING")
OLD_LIGHT_SHAPES = {
    5: "CIRCLE", 6: "LEFT_ARROW", 7: "RIGHT_ARROW", 8: "UP_ARROW", 9: "DOWN_ARROW",
    10: "DOWN_LEFT_ARROW", 11: "DOWN_RIGHT_ARROW", 12: "CROSS",
}  # fmt: skip
OLD_LIGHT_STATUS = {13: "SOLID_OFF", 14: "SOLID_ON", 15: "FLASHING"}
"""Of ``autoware_auto_perception_msgs/TrafficLight``, whose numbers run through."""

Paths = tuple[tuple[str, str, str], ...]


def _xyz(signal: str, path: str, unit: str) -> Paths:
    return tuple((f"{signal}_{axis}", f"{path}.{axis}", unit) for axis in "xyz")


FIX: Paths = (
    ("latitude", "latitude", "deg"), ("longitude", "longitude", "deg"),
    ("altitude", "altitude", "m"),
)  # fmt: skip
READINGS: dict[str, tuple[str, Paths]] = {
    "sensor_msgs/Imu": (
        "imu",
        (
            *_xyz("acceleration", "linear_acceleration", "m/s2"),
            *_xyz("angular_velocity", "angular_velocity", "rad/s"),
            *_xyz("orientation", "orientation", ""),
            ("orientation_w", "orientation.w", ""),
        ),
    ),
    "sensor_msgs/NavSatFix": ("gnss", (*FIX, ("status", "status.status", ""))),
    "foxglove.LocationFix": ("gnss", FIX),
    "sensor_msgs/MagneticField": ("imu", _xyz("magnetic_field", "magnetic_field", "T")),
    "sensor_msgs/Temperature": ("other", (("temperature", "temperature", "degC"),)),
    "sensor_msgs/FluidPressure": ("other", (("fluid_pressure", "fluid_pressure", "Pa"),)),
    "sensor_msgs/RelativeHumidity": ("other", (("relative_humidity", "relative_humidity", ""),)),
    "sensor_msgs/Illuminance": ("other", (("illuminance", "illuminance", "lx"),)),
    "sensor_msgs/Range": ("other", (("range", "range", "m"),)),
    "geometry_msgs/TwistStamped": (
        "other",
        (*_xyz("velocity", "twist.linear", "m/s"), *_xyz("rate", "twist.angular", "rad/s")),
    ),
    "geometry_msgs/TwistWithCovarianceStamped": (
        "other",
        (
            *_xyz("velocity", "twist.twist.linear", "m/s"),
            *_xyz("rate", "twist.twist.angular", "rad/s"),
        ),
    ),
    "geometry_msgs/AccelStamped": ("imu", _xyz("acceleration", "accel.linear", "m/s2")),
    "geometry_msgs/AccelWithCovarianceStamped": (
        "imu",
        _xyz("acceleration", "accel.accel.linear", "m/s2"),
    ),
    "geometry_msgs/Vector3Stamped": ("other", _xyz("vector", "vector", "")),
    "autoware_vehicle_msgs/VelocityReport": (
        "can",
        (
            ("longitudinal_velocity", "longitudinal_velocity", "m/s"),
            ("lateral_velocity", "lateral_velocity", "m/s"),
            ("heading_rate", "heading_rate", "rad/s"),
        ),
    ),
    "autoware_vehicle_msgs/SteeringReport": (
        "can",
        (("steering_tire_angle", "steering_tire_angle", "rad"),),
    ),
    "autoware_vehicle_msgs/GearReport": ("can", (("gear", "report", ""),)),
    "autoware_vehicle_msgs/TurnIndicatorsReport": ("can", (("turn_indicators", "report", ""),)),
    "autoware_vehicle_msgs/HazardLightsReport": ("can", (("hazard_lights", "report", ""),)),
    "autoware_vehicle_msgs/ControlModeReport": ("can", (("control_mode", "mode", ""),)),
    **{
        f"std_msgs/{kind}": ("other", (("data", "data", ""),))
        for kind in (
            "Bool", "Byte", "Char", "Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Int64",
            "UInt64", "Float32", "Float64", "String",
        )
    },
}  # fmt: skip
"""Kind of sensor, then (signal, path in the message, unit) of every number that is taken."""


def class_of(word: str) -> AgentClass:
    """The class that a free word names."""
    low = word.lower()
    return next((cls for part, cls in WORDS if part in low), AgentClass.UNKNOWN)


def of_table(table: tuple[tuple[str, AgentClass], ...], value: int) -> tuple[str, AgentClass]:
    """Word and class of a number; the number itself where it is not in the table."""
    return table[value] if 0 <= value < len(table) else (str(value), AgentClass.UNKNOWN)
