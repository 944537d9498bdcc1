"""What a recording's topics mean, where their types do not tell: ``scenelake-mcap.toml``.

The file lies beside the recording or in a folder above it, and every key may be left out:

    world_frame = "map"                    # frame of poses and positions
    base_frame = "base_link"               # frame of the vehicle
    ego = "/localization/kinematic_state"  # topic of its poses, or "tf", or "gnss"
    objects = "/perception/tracked"        # topic of the other road users

    [vehicle]
    length_m = 4.9
    width_m = 1.9
    height_m = 1.6
    centre_m = [1.4, 0.0, 0.8]             # middle of the box in the base frame

    [[topics]]
    topic = "/camera/*/image"              # shell pattern; the first that fits counts
    channel = "CAM_FRONT"                  # name in the lake; the topic if left out
    kind = "camera"                        # or lidar, radar, imu, gnss, can, other, ignore
    calibration = "/camera/front/info"     # topic with its camera model
    fields = ["speed", "state.gear"]       # numbers to take from a type that is not known
    units = ["m/s", ""]
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from formats.grid import CAR_M
from schemas.config import load
from schemas.errors import BadSetting

FILE = "scenelake-mcap.toml"
KINDS = ("camera", "lidar", "radar", "imu", "gnss", "can", "other")
IGNORE = "ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vehicle:
    """The recording vehicle; whatever is None is guessed, and a note says so.

    Attributes:
        length_m: [m].
        width_m: [m].
        height_m: [m].
        centre_m: The middle of its box in the base frame: x, y, z [m].
    """

    length_m: float | None = None
    width_m: float | None = None
    height_m: float | None = None
    centre_m: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for extent in (self.length_m, self.width_m, self.height_m):
            if extent is not None and not 0.0 < extent < 100.0:
                raise ValueError("a vehicle is between 0 and 100 m long, wide and high")
        told = self.centre_m
        if told is not None and (len(told) != 3 or not all(abs(x) < 100.0 for x in told)):
            raise ValueError("centre_m has three numbers, of less than 100 m")

    @property
    def size(self) -> tuple[float, float, float]:
        """Length, width, height; those of a usual car where they are not told [m]."""
        told = (self.length_m, self.width_m, self.height_m)
        length, width, height = (
            usual if extent is None else extent for extent, usual in zip(told, CAR_M, strict=True)
        )
        return length, width, height


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """What some topics mean.

    Attributes:
        topic: Shell pattern of their names.
        channel: Their name in the lake.
        kind: Of the sensor, or ``ignore``.
        calibration: Topic of the camera model.
        fields: Paths of numbers to take as readings.
        units: Of the fields, in their order.
    """

    topic: str
    channel: str | None = None
    kind: str | None = None
    calibration: str | None = None
    fields: tuple[str, ...] = ()
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in (*KINDS, IGNORE):
            raise ValueError(f"kind {self.kind!r} is none of {', '.join(KINDS)}, {IGNORE}")
        if self.units and len(self.units) != len(self.fields):
            raise ValueError("units has as many entries as fields, or none")


@dataclass(frozen=True, slots=True, kw_only=True)
class McapSettings:
    """All of the file.

    Attributes:
        world_frame: Frame of poses and positions; None: found by name and by what is there.
        base_frame: Frame of the vehicle; None: found by name.
        ego: Topic of its poses, or ``tf``, or ``gnss``; None: the first of these that is there.
        objects: Topic of the other road users; None: the first whose type has them tracked.
        vehicle: Its box.
        topics: In the order in which they are tried.
    """

    world_frame: str | None = None
    base_frame: str | None = None
    ego: str | None = None
    objects: str | None = None
    vehicle: Vehicle = field(default_factory=Vehicle)
    topics: tuple[Topic, ...] = ()

    def of(self, topic: str) -> Topic:
        """What is said of one topic; nothing if nothing is."""
        for told in self.topics:
            if fnmatchcase(topic, told.topic):
                return told
        return Topic(topic=topic)

    def unmatched(self, topics: Iterable[str]) -> list[str]:
        """Patterns, and topics with camera models, that none of these topics is."""
        there = list(topics)
        asked = [t.topic for t in self.topics]
        asked += [t.calibration for t in self.topics if t.calibration is not None]
        return [a for a in asked if not any(fnmatchcase(topic, a) for topic in there)]

    def channel(self, topic: str) -> str:
        """Its name in the lake."""
        return self.of(topic).channel or topic


def settings_file(source: Path) -> Path | None:
    """The file that applies to a recording: beside it or in the nearest folder above."""
    for folder in source.resolve().parents if source.is_file() else _upwards(source):
        if (folder / FILE).is_file():
            return folder / FILE
    return None


def settings_for(source: Path) -> McapSettings:
    """The settings of a recording; the defaults if there is no file.

    Raises:
        BadSetting: The file says what is not understood.
        UnreadableFile: It is no TOML.
    """
    path = settings_file(source)
    return McapSettings() if path is None else load(McapSettings, path)


def check_channels(settings: McapSettings, topics: list[str]) -> None:
    """Refuse settings that give two topics one name.

    Raises:
        BadSetting: They do.
    """
    taken: dict[str, str] = {}
    for topic in sorted(topics):
        channel = settings.channel(topic)
        if channel in taken:
            raise BadSetting(
                f"{FILE}: {taken[channel]} and {topic} would both be called {channel!r}.",
                hint="Give each topic a channel of its own.",
            )
        taken[channel] = topic


def _upwards(folder: Path) -> list[Path]:
    resolved = folder.resolve()
    return [resolved, *resolved.parents]
