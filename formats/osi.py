"""ASAM OSI 3 traces: what a simulator or a recording says to be true, message by message.

    <name>.osi[.gz|.xz|.lzma]   messages one after the other, each behind its length (uint32)
    <name>.mcap                 topics of ``osi3.GroundTruth``, ``osi3.SensorView``, …
    names as the standard recommends them: <time>_<gt|sv|sd>_<osi>_<protobuf>_<frames>_<name>.osi

``GroundTruth`` is read as it is; a ``SensorView`` by its ``global_ground_truth``, a ``SensorData`` by
that of its first sensor view (detections alone are in the frame of a sensor whose place in the world
OSI does not tell, and are refused). What does not move is usually told in the first message alone.
Positions are box centres in the world frame. The ego is ``host_vehicle_id``. Each topic with ground
truth is a log. A trace without lanes of its own has those of the OpenDRIVE map that it embeds
(omega-prime's ``MapAsamOpenDrive``) or names in ``map_reference``, if that lies beside it.
Source: www.asam.net/standards/detail/osi, the ``.proto`` files and ``trace_file_formats``.

Left out: accelerations and rates of road users other than the host, wheels, skeletons, future
trajectories, occupants, radar, lidar and camera views, weather beyond what the words of a log hold.
"""

from __future__ import annotations

import lzma
import re
import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from formats.files import GZIP_SUFFIX, open_binary, recognised
from formats.grid import CAR_M
from formats.mcap_file import SUFFIX, McapFile, schema_names
from formats.opendrive_map import load as load_map
from formats.osi_map import OsiMap, assigned
from formats.osi_protos import (
    BRAKE_LIGHT_STATES,
    GENERIC_LIGHT_STATES,
    INDICATOR_STATES,
    LIGHT_COLORS,
    LIGHT_ICONS,
    LIGHT_MODES,
    MOVING_TYPES,
    ROLES,
    VEHICLE_TYPES,
    osi_classes,
    word_of,
)
from formats.registry import Rejected
from formats.tally import Tally
from formats.tree import matching
from geometry.angles import wrap
from geometry.arrays import Array
from geometry.frames import quaternion_from_rotation
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, Daylight, LightState, MapLayer, Weather
from schemas.records import (
    EgoStates,
    LightStates,
    Log,
    Observations,
    Readings,
    RoadMap,
    Sensor,
    SourceEvent,
)

DATASET = "osi"
PATTERNS = ("*.osi", "*.osi.xz", "*.osi.lzma", "*.mcap")
PACKED = (".xz", ".lzma")
PACKAGE = "osi3."
TRUTHS = ("GroundTruth", "SensorView", "SensorData")
"""Messages that hold a ground truth, in the order in which a topic is chosen."""

TYPE_CODES = {"gt": "GroundTruth", "sv": "SensorView", "sd": "SensorData"}
NAME = re.compile(r"(?:^|_)(gt|sv|sd)(?:_|$)")
OPEN_DRIVE = "MapAsamOpenDrive"
TRACE = "net.asam.osi.trace"
"""Name of the metadata of a multi-channel trace."""

PART_NS = 60_000_000_000
SHORT_PART_NS = 10_000_000_000
"""Of a part that would hold more than ``PART_ROWS`` states [ns]."""
PART_ROWS = 250_000
SETBACK_NS = 1_000_000_000
"""Clocks that fall back by more have been set anew: the trace is cut there [ns]."""

LARGEST = 2**30  # [bytes] a message that says it is larger is none
MODERN_NS = 946_684_800_000_000_000
"""The year 2000: stamps beyond count from 1970, stamps before from where the source likes [ns]."""

VEHICLES = {
    7: AgentClass.TRUCK, 8: AgentClass.OTHER, 9: AgentClass.OTHER, 10: AgentClass.MOTORCYCLE,
    11: AgentClass.CYCLIST, 12: AgentClass.BUS, 13: AgentClass.OTHER, 14: AgentClass.OTHER,
    15: AgentClass.PEDESTRIAN, 16: AgentClass.TRUCK, 17: AgentClass.CYCLIST,
    18: AgentClass.CYCLIST, 19: AgentClass.OTHER, 20: AgentClass.OTHER, 21: AgentClass.OTHER,
    22: AgentClass.OTHER,
}  # fmt: skip
"""By vehicle type where it is no car."""
CLASSES = {1: AgentClass.OTHER, 3: AgentClass.PEDESTRIAN, 4: AgentClass.ANIMAL}
VEHICLE = 2  # of moving types

LIGHTS = {2: LightState.RED, 3: LightState.YELLOW, 4: LightState.GREEN}
OFF, CONSTANT, FLASHING, COUNTING = 2, 3, 4, 5  # of modes
LIT = (CONSTANT, FLASHING, COUNTING)

FREEZING_K = 273.15
RAIN, FOG, CLOUDY = 3, 7, 8
"""Least precipitation, fog below 1 km of sight, and six oktas of cloud, as codes."""
DUSK_RAD = 0.1  # [rad] the sun lower than this, above or below the horizon

Columns = dict[str, list[Any]]


def sources(path: Path) -> Iterator[Path]:
    """Traces at or under a path; an MCAP file by its schemas."""
    found = list(matching(path, *PATTERNS))
    traces = (file for file in found if not _is_mcap(file))
    ours = set(recognised(traces, _begins_as_trace))
    ours |= {
        file
        for file in found
        if file.suffix == SUFFIX and any(n.startswith(PACKAGE) for n in schema_names(file))
    }
    yield from sorted(ours)


def files(source: Path) -> Iterator[Path]:
    """The file itself."""
    yield source


def read(source: Path) -> Iterator[Log | Rejected]:
    """The logs of a trace, long ones in parts.

    Raises:
        UnreadableFile: The file is no trace, or holds no ground truth at all.
    """
    name = source.name.removesuffix(GZIP_SUFFIX)
    for suffix in (*PACKED, SUFFIX, ".osi"):
        name = name.removesuffix(suffix)
    # Simulators give the same names run after run, so the folder's belongs to it.
    name = f"{source.resolve().parent.name}/{name}"
    if _is_mcap(source):
        yield from _read_mcap(source, name)
        return
    with _open(source) as file:
        trace = _Trace(source=source, name=name)
        yield from trace.logs(_framed(file, source, name, trace))


# ── Files ──


def _is_mcap(file: Path) -> bool:
    return file.name.removesuffix(GZIP_SUFFIX).endswith(SUFFIX)


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    with open_binary(path) as file:
        if path.suffix not in PACKED:
            yield file
            return
        try:
            with lzma.open(file) as unpacked:
                yield cast(BinaryIO, unpacked)
        except (EOFError, lzma.LZMAError) as error:
            reason = f"is not sound xz ({error or 'it ends too early'})"
            raise UnreadableFile(path, reason, hint="Fetch the file again.") from error


def _begins_as_trace(file: Path) -> bool:
    with _open(file) as stream:
        head = stream.read(6)
    if len(head) < 6:
        raise UnreadableFile(file, "ends too early")
    (size,) = struct.unpack_from("<I", head)
    return 2 <= size <= LARGEST and head[4] in (0x0A, 0x12)  # a version or time comes first


def _framed(file: BinaryIO, source: Path, name: str, trace: _Trace) -> Iterator[_Told]:
    """The messages of a single-channel trace."""
    named = NAME.search(name)
    kind = TYPE_CODES[named.group(1)] if named else ""
    number = 0
    while True:
        head = file.read(4)
        if not head:
            return
        size = struct.unpack("<I", head)[0] if len(head) == 4 else 0
        data = file.read(size) if 0 < size <= LARGEST else b""
        if not data or len(data) < size:
            if number == 0:
                raise UnreadableFile(
                    source, "ends within its first message", hint="Fetch it again."
                )
            reason = "the trace ends within this message: whatever followed is not there"
            trace.rejected.append(Rejected(record=f"message {number}", reason=reason))
            return
        if not kind:
            kind = _kind_of(data)
            if not kind:
                raise UnreadableFile(source, "begins with no message of OSI that tells a truth")
        told = _parse(kind, data)
        if told is None:
            reason = f"the message is no osi3.{kind}"
            trace.rejected.append(Rejected(record=f"message {number}", reason=reason))
        else:
            yield _Told(number=number, kind=kind, message=told, log_time=None)
        number += 1


def _kind_of(data: bytes) -> str:
    """Which message this is: the one by which it makes most sense; empty if by none."""
    best, most = "", 0
    for kind in TRUTHS:
        message = _parse(kind, data)
        if message is None or not message.HasField("timestamp"):
            continue
        truth = _truth_of(kind, message)
        if truth is None:
            sense = int(kind == "SensorData" and any(len(v) for v in _detections(message)))
        else:
            sense = 2 * sum(thing.HasField("base") for thing in truth.moving_object)
            sense += len(truth.lane) + len(truth.logical_lane) + (kind == "GroundTruth")
        if sense > most:
            best, most = kind, sense
    return best


def _parse(kind: str, data: bytes | memoryview) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return osi_classes()[kind].FromString(bytes(data))
    except DecodeError:
        return None


def _truth_of(kind: str, message: Any) -> Any:
    """The ground truth of a message, None where it has none."""
    if kind == "GroundTruth":
        return message
    if kind == "SensorView":
        return message.global_ground_truth if message.HasField("global_ground_truth") else None
    views = [view for view in message.sensor_view if view.HasField("global_ground_truth")]
    return views[0].global_ground_truth if views else None


def _detections(message: Any) -> list[Any]:
    names = (
        "stationary_object", "moving_object", "traffic_sign", "traffic_light", "road_marking",
        "lane_boundary", "lane",
    )  # fmt: skip
    return [getattr(message, name) for name in names]


def _read_mcap(source: Path, name: str) -> Iterator[Log | Rejected]:
    if source.suffix == GZIP_SUFFIX:
        raise UnreadableFile(
            source, "is MCAP packed as a whole", hint="Unpack it: MCAP packs its own chunks."
        )
    with open_binary(source) as file:
        mcap = McapFile(source, file)
        topics, others, maps = _topics(mcap)
    if not topics:
        raise UnreadableFile(
            source, "holds no topic with ground truth",
            hint=f"It holds {', '.join(sorted(others)) or 'no messages'}.",
        )  # fmt: skip
    for number, (topic, kind) in enumerate(topics.items()):
        with open_binary(source) as file:
            mcap = McapFile(source, file)
            trace = _Trace(
                source=source,
                name=name if len(topics) == 1 else f"{name}/{topic}",
                record=topic,
                zero=_zero_time(mcap),
            )
            for what, count in others.items():
                trace.tally.add("dropped", f"messages of {what} are not read", count)
            if maps:
                trace.chart = _embedded_map(mcap, maps[0])
                trace.tally.add("dropped", "embedded maps beyond the first", len(maps) - 1)
            yield from trace.logs(_channel(mcap, topic, kind, trace))
            if number == 0:
                for damage in mcap.damages:
                    yield Rejected(record=damage.record, reason=damage.reason)


def _topics(mcap: McapFile) -> tuple[dict[str, str], dict[str, int], list[str]]:
    """Topics to read with their message, counts of those that are not, topics with a map."""
    if mcap.contents.indexed and mcap.contents.counts:
        counts = mcap.contents.counts
    else:
        counts = {}
        keys = {id(channel): key for key, channel in mcap.contents.channels.items()}
        for message in mcap.messages():
            if id(message.channel) not in keys:
                keys = {id(channel): key for key, channel in mcap.contents.channels.items()}
            key = keys[id(message.channel)]
            counts[key] = counts.get(key, 0) + 1
        mcap.damages.clear()
    found: dict[str, str] = {}
    others: dict[str, int] = {}
    maps: list[str] = []
    of_topic: dict[str, int] = {}
    for key, channel in mcap.contents.channels.items():
        kind = channel.schema.name.removeprefix(PACKAGE)
        count = counts.get(key, 0)
        of_topic[channel.topic] = of_topic.get(channel.topic, 0) + count
        if kind in TRUTHS and channel.encoding == "protobuf":
            if count:
                found[channel.topic] = kind
        elif kind == OPEN_DRIVE:
            maps.append(channel.topic)
        elif count:
            others[f"{channel.topic} ({channel.schema.name or 'no schema'})"] = count
    kinds = set(found.values())
    best = next((kind for kind in TRUTHS if kind in kinds), "")
    for topic, kind in list(found.items()):
        if kind != best:  # views of the same truth
            others[f"{topic} (osi3.{kind})"] = of_topic[topic]
            del found[topic]
    return found, others, maps


def _embedded_map(mcap: McapFile, topic: str) -> str:
    """The OpenDRIVE text of a topic; empty if its message holds none."""
    for message in mcap.messages():
        if message.channel.topic == topic:
            told = _parse(OPEN_DRIVE, message.data)
            return "" if told is None else str(told.open_drive_xml_content)
    return ""


def _channel(mcap: McapFile, topic: str, kind: str, trace: _Trace) -> Iterator[_Told]:
    for number, message in enumerate(m for m in mcap.messages() if m.channel.topic == topic):
        told = _parse(kind, message.data)
        if told is None:
            reason = f"the message is no osi3.{kind}"
            trace.rejected.append(Rejected(record=f"{topic} {number}", reason=reason))
            continue
        yield _Told(number=number, kind=kind, message=told, log_time=message.log_time)


def _zero_time(mcap: McapFile) -> int | None:
    """When the trace's own time is zero, if its metadata says so [ns since 1970]."""
    for name, words in mcap.contents.metadata:
        if name == TRACE and "zero_time" in words:
            try:
                zero = datetime.fromisoformat(words["zero_time"])
            except ValueError:
                return None
            return round(zero.timestamp() * 1e6) * 1000 if zero.tzinfo else None
    return None


# ── Messages ──


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """One message: its number, what it is, and when it was recorded, if that is known [ns]."""

    number: int
    kind: str
    message: Any
    log_time: int | None


@dataclass(slots=True)
class _Part:
    """Rows of one stretch of the trace, in absolute stamps."""

    agents: Columns = field(default_factory=dict)
    ego: Columns = field(default_factory=dict)
    lights: Columns = field(default_factory=dict)
    steering: Columns = field(default_factory=dict)
    shown: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    events: list[SourceEvent] = field(default_factory=list)


def _row(columns: Columns, **values: Any) -> None:
    for name, value in values.items():
        columns.setdefault(name, []).append(value)


@dataclass(slots=True, kw_only=True)
class _Trace:
    """One topic or file of messages on its way to a log.

    Attributes:
        source: The file.
        name: Of the log.
        record: The topic, in a file of several.
        zero: When the trace's time is zero [ns since 1970].
        chart: An OpenDRIVE map that the trace embeds; None if it does not.
        tally: What could not be carried over.
        rejected: Records that are of no use.
    """

    source: Path
    name: str
    record: str = ""
    zero: int | None = None
    chart: str | None = None
    tally: Tally = field(default_factory=Tally)
    rejected: list[Rejected] = field(default_factory=list)
    _host: int | None = None
    _classes: dict[int, tuple[str, AgentClass]] = field(default_factory=dict)
    _sensors: dict[str, Sensor] = field(default_factory=dict)
    _whole: dict[str, Any] = field(default_factory=dict)
    _stamps: list[int] = field(default_factory=list)
    _drawn: RoadMap | None = None

    def logs(self, messages: Iterable[_Told]) -> Iterator[Log | Rejected]:
        """The log in parts of a minute, then what had to be turned down."""
        road = OsiMap(self.tally)
        part, parts, t0, last = _Part(), 0, 0, None
        for told in messages:
            truth = _truth_of(told.kind, told.message)
            if truth is None:
                reason = (
                    "messages without ground truth: detections alone have no place in the world"
                )
                self.tally.add("dropped", reason)
                continue
            stamp = self._stamp(told, truth)
            if last is None:
                t0 = stamp
            elif stamp < last - SETBACK_NS:
                behind = (last - stamp) / 1e9
                reason = f"the clock falls back by {behind:.3f} s: the trace is cut here"
                self.rejected.append(Rejected(record=f"message {told.number}", reason=reason))
                break
            elif stamp <= last:
                self.tally.add("dropped", "messages that are not later than the one before")
                continue
            many = len(part.agents.get("t", ())) > PART_ROWS
            length = SHORT_PART_NS if many else PART_NS
            if last is not None and (stamp - t0) // length > (last - t0) // length:
                yield self._log(part, road, t0, number=parts, more=True)
                part, parts = _Part(), parts + 1
            last = stamp
            self._stamps.append(stamp)
            del self._stamps[:-1000]
            road.add(truth)
            self._about(told, truth)
            self._movers(truth, stamp, part)
            self._lights(truth, stamp, part)
        if last is not None:
            yield self._log(part, road, t0, number=parts, more=False)
        yield from self.rejected
        if last is None and not self.rejected:
            notes = self.tally.notes()
            yield Rejected(record=self.record, reason="holds no ground truth", notes=notes)

    def _stamp(self, told: _Told, truth: Any) -> int:
        for message in (truth, told.message):
            if message.HasField("timestamp"):
                stamp = message.timestamp
                return int(stamp.seconds) * 10**9 + int(stamp.nanos)
        if told.log_time is not None:
            self.tally.add("guessed", "messages without a time are placed when they were recorded")
            return told.log_time
        return -SETBACK_NS * 10**9  # before everything: dropped

    def _about(self, told: _Told, truth: Any) -> None:
        """What concerns the trace as a whole, from wherever it is told first."""
        host = truth.host_vehicle_id if truth.HasField("host_vehicle_id") else None
        if host is None and told.kind == "SensorView" and told.message.HasField("host_vehicle_id"):
            host = told.message.host_vehicle_id
        if host is not None and self._host is None:
            self._host = host.value
        for name in ("proj_string", "map_reference", "model_reference", "country_code"):
            if getattr(truth, name):
                self._whole.setdefault(name, getattr(truth, name))
        if truth.HasField("version") and "osi_version" not in self._whole:
            version = truth.version
            numbers = (version.version_major, version.version_minor, version.version_patch)
            self._whole["osi_version"] = ".".join(map(str, numbers))
        if truth.HasField("proj_frame_offset"):
            offset = truth.proj_frame_offset
            at = offset.position
            self._whole.setdefault("proj_frame_offset", [at.x, at.y, at.z, offset.yaw])
        if truth.HasField("environmental_conditions") and "environment" not in self._whole:
            self._whole["environment"] = truth.environmental_conditions
        self.tally.add("dropped", "occupants are not carried", len(truth.occupant))
        if told.kind == "SensorView":
            self._sensor(told.message)
            views = sum(
                len(getattr(told.message, f"{kind}_sensor_view"))
                for kind in ("generic", "radar", "lidar", "camera", "ultrasonic")
            )
            self.tally.add("dropped", "views of single sensors are not carried", views)
        elif told.kind == "SensorData":
            self._sensor(told.message)
            found = sum(map(len, _detections(told.message)))
            self.tally.add("dropped", "detections beside the ground truth are not carried", found)

    def _sensor(self, message: Any) -> None:
        channel = f"sensor {message.sensor_id.value}"
        if channel in self._sensors or not message.HasField("sensor_id"):
            return
        place = None
        if message.HasField("mounting_position"):
            at, turned = message.mounting_position.position, message.mounting_position.orientation
            quaternion = quaternion_from_rotation(_rotation(turned.roll, turned.pitch, turned.yaw))
            place = np.array([at.x, at.y, at.z, *quaternion])
        self._sensors[channel] = Sensor(channel=channel, kind="other", ego_from_sensor=place)

    def _movers(self, truth: Any, stamp: int, part: _Part) -> None:
        seen = set()
        for thing in truth.moving_object:
            key, base = thing.id.value, thing.base
            at, turned, speed = base.position, base.orientation, base.velocity
            if key in seen:
                self.tally.add("dropped", "states of an id that the message has already")
                continue
            seen.add(key)
            state = (at.x, at.y, at.z, turned.yaw)
            if not base.HasField("position") or not np.isfinite(state).all():
                self.tally.add("dropped", "states without a finite position and heading")
                continue
            cls = _class_of(thing)
            if self._classes.setdefault(key, cls) != cls:
                self.tally.add("renamed", "classes that change: the first one of an id holds")
            extent = base.dimension
            size = [extent.length, extent.width, extent.height]
            velocity = (speed.x, speed.y) if base.HasField("velocity") else (np.nan, np.nan)
            vehicle = thing.vehicle_classification
            if vehicle.HasField("light_state"):
                _show_lights(vehicle.light_state, str(key), stamp, part)
            if key == self._host:
                push = base.acceleration
                along = push.x * np.cos(turned.yaw) + push.y * np.sin(turned.yaw)
                _row(
                    part.ego, t=stamp, state=state, size=size, velocity=velocity,
                    attitude=(turned.roll, turned.pitch, turned.yaw),
                    acceleration=along if base.HasField("acceleration") else np.nan,
                    yaw_rate=base.orientation_rate.yaw
                    if base.HasField("orientation_rate")
                    else np.nan,
                )  # fmt: skip
                if thing.vehicle_attributes.HasField("steering_wheel_angle"):
                    angle = thing.vehicle_attributes.steering_wheel_angle
                    _row(part.steering, t=stamp, value=angle)
                continue
            if base.acceleration.x or base.acceleration.y:
                self.tally.add("dropped", "accelerations of others have no column")
            _row(part.agents, key=key, t=stamp, state=state, size=size, velocity=velocity)

    def _lights(self, truth: Any, stamp: int, part: _Part) -> None:
        """One row a lane: each message is a bulb, and a lane has several."""
        bulbs: dict[int, list[Any]] = {}
        for light in truth.traffic_light:
            lanes = assigned(light.classification)
            if not lanes:
                self.tally.add("dropped", "states of traffic lights for no lane")
            for lane in lanes:
                bulbs.setdefault(lane, []).append(light.classification)
        for lane, lamps in bulbs.items():
            state, arrow, flashing = _shown(lamps)
            _row(
                part.lights, lane=lane, t=stamp, state=state, arrow=arrow, flashing=flashing,
                word=" + ".join(dict.fromkeys(map(_lamp_word, lamps))),
            )  # fmt: skip

    # ── The log ──

    def _log(self, part: _Part, road: OsiMap, t0: int, *, number: int, more: bool) -> Log:
        if self._drawn is None:
            self._drawn = self._road(road)
        drawn = self._drawn
        agents = self._agents(part, t0)
        ego, readings = self._ego(part, t0)
        environment = self._whole.get("environment")
        if number == 0:
            self._missing(part, bool(drawn.features))
        extra = {
            key: value
            for key, value in self._whole.items()
            if key not in ("environment", "country_code", "map_epsg")
        }
        country = self._whole.get("country_code")
        sensors = list(self._sensors.values())
        if readings:
            sensors.append(Sensor(channel="host_vehicle", kind="can"))
        notes, self.tally.counts = self.tally.notes(), type(self.tally.counts)()
        return Log(
            dataset=DATASET, source_log_id=self.name, source_uri=str(self.source),
            record=self.record, rate_hz=self._rate(), ego=ego, agents=agents, map=drawn,
            lights=_light_states(part.lights, t0, road.lane_names), readings=readings,
            t0_unix_ns=self._begin(t0, environment),
            location=f"country {country}" if country else None,
            weather=_weather(environment), daylight=_daylight(environment), epsg=self._epsg(),
            sensors=sensors, events=_events(part, t0), notes=notes,
            extra=extra | {"source_t0_ns": t0}, part=number, more=more,
        )  # fmt: skip

    def _road(self, road: OsiMap) -> RoadMap:
        """The trace's own lanes, else those of the map that it embeds or names."""
        told = road.road_map(self.name)
        if told.of_layer(MapLayer.LANE):
            if self.chart is not None:
                self.tally.add("dropped", "the embedded map: the trace tells lanes of its own")
            return told
        reference = str(self._whole.get("map_reference", ""))
        beside = self.source.with_name(Path(reference).name or "none")
        try:
            if self.chart is not None:
                with tempfile.TemporaryDirectory(prefix="scenelake-") as folder:
                    file = Path(folder, f"{Path(self.name).name or 'map'}.xodr")
                    file.write_text(self.chart, encoding="utf-8")
                    chart = load_map(file)
            elif beside.suffix == ".xodr" and beside.is_file():
                chart = load_map(beside)
            else:
                return told
        except UnreadableFile as error:
            self.tally.add("missing", f"the OpenDRIVE map of the trace {error.reason}")
            return told
        self.tally.extend(chart.notes)
        self._whole.setdefault("map_epsg", chart.epsg)
        lost = len(told.features)
        self.tally.add(
            "dropped", "signs and things beside lanes that an OpenDRIVE map tells", lost
        )
        return chart.map

    def _missing(self, part: _Part, has_map: bool) -> None:
        if self._host is None:
            self.tally.add("missing", "the trace does not name the host vehicle")
        elif not part.ego:
            self.tally.add("missing", f"the host vehicle {self._host} is no moving object")
        if not has_map:
            reference = self._whole.get("map_reference")
            reason = "no lanes" if reference is None else f"no lanes; the map is in {reference}"
            self.tally.add("missing", reason)

    def _rate(self) -> float:
        steps = np.diff(np.array(self._stamps, dtype=np.int64))
        return round(1e9 / float(np.median(steps)), 3) if len(steps) else 1.0

    def _begin(self, t0: int, environment: Any) -> int | None:
        if t0 >= MODERN_NS:
            return t0
        if self.zero is not None:
            return self.zero + t0
        if environment is not None and environment.unix_timestamp > 0:
            return int(environment.unix_timestamp) * 10**9
        return None

    def _epsg(self) -> int | None:
        """The projection where it is a registered one and the frame is neither moved nor turned."""
        from pyproj import CRS
        from pyproj.exceptions import CRSError

        told = self._whole.get("proj_string")
        if any(self._whole.get("proj_frame_offset", ())):
            return None
        if not told:
            return self._whole.get("map_epsg")
        try:
            return CRS.from_user_input(told).to_epsg()
        except CRSError:
            return None

    def _agents(self, part: _Part, t0: int) -> Observations:
        if not part.agents:
            return Observations.none()
        keys = np.array(part.agents["key"], dtype=np.uint64)
        known, track = np.unique(keys, return_inverse=True)
        t_ns = np.array(part.agents["t"], dtype=np.int64) - t0
        order = np.lexsort((t_ns, track))
        state, size, velocity = (
            np.array(part.agents[name], dtype=np.float64)[order]
            for name in ("state", "size", "velocity")
        )
        size[~(np.isfinite(size) & (size > 0.0))] = np.nan
        told = np.isfinite(velocity).all(axis=1)
        return Observations(
            track=track[order].astype(np.int64), t_ns=t_ns[order], xyz=state[:, :3],
            yaw=wrap(state[:, 3]), size=size, velocity=velocity if told.any() else None,
            source_track_id=[str(key) for key in known],
            source_cls=[self._classes[int(key)][0] for key in known],
            cls=[self._classes[int(key)][1] for key in known],
        )  # fmt: skip

    def _ego(self, part: _Part, t0: int) -> tuple[EgoStates | None, list[Readings]]:
        if not part.ego or self._host is None:
            return None, []
        state, size, velocity, attitude = (
            np.array(part.ego[name], dtype=np.float64)
            for name in ("state", "size", "velocity", "attitude")
        )
        extent = np.median(size, axis=0)
        sound = np.isfinite(extent) & (extent > 0.0)
        if not sound.all():
            reason = f"the host's size is not told; a car's is taken: {CAR_M} m"
            self.tally.add("guessed", reason)
        length, width, height = np.where(sound, extent, CAR_M).tolist()
        quaternion = None
        if np.isfinite(attitude).all() and attitude[:, :2].any():
            quaternion = np.stack([quaternion_from_rotation(_rotation(*row)) for row in attitude])
        ego = EgoStates(
            t_ns=np.array(part.ego["t"], dtype=np.int64) - t0, xyz=state[:, :3],
            yaw=wrap(state[:, 3]), size=(length, width, height), quaternion=quaternion,
            velocity=velocity if np.isfinite(velocity).all() else None,
            acceleration=_where_told(part.ego["acceleration"]),
            yaw_rate=_where_told(part.ego["yaw_rate"]),
            source_track_id=str(self._host), source_cls=self._classes[self._host][0],
        )  # fmt: skip
        if not part.steering:
            return ego, []
        return ego, [
            Readings(
                channel="host_vehicle", signal="steering_wheel_angle", unit="rad",
                t_ns=np.array(part.steering["t"], dtype=np.int64) - t0,
                value=np.array(part.steering["value"], dtype=np.float64),
            )
        ]  # fmt: skip


def _where_told(values: Sequence[float]) -> Array | None:
    array = np.array(values, dtype=np.float64)
    return array if np.isfinite(array).all() else None


def _class_of(thing: Any) -> tuple[str, AgentClass]:
    word = word_of(MOVING_TYPES, "TYPE_", thing.type)
    if thing.type != VEHICLE:
        return word, CLASSES.get(thing.type, AgentClass.UNKNOWN)
    vehicle = thing.vehicle_classification
    words = [word, word_of(VEHICLE_TYPES, "TYPE_", vehicle.type)]
    if vehicle.role:
        words.append(word_of(ROLES, "ROLE_", vehicle.role))
    return " ".join(words), VEHICLES.get(vehicle.type, AgentClass.VEHICLE)


def _rotation(roll: float, pitch: float, yaw: float) -> Array:
    """Yaw about z, then pitch about the new y, then roll about the new x (ISO 8855)."""
    (cr, sr), (cp, sp), (cy, sy) = ((np.cos(a), np.sin(a)) for a in (roll, pitch, yaw))
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def _show_lights(lights: Any, key: str, stamp: int, part: _Part) -> None:
    """Indicators, brake lights and beacons that are on, as stretches of time."""
    shown = []
    if lights.indicator_state >= 3:
        shown.append(word_of(INDICATOR_STATES, "INDICATOR_STATE_", lights.indicator_state))
    if lights.brake_light_state >= 3:
        shown.append(word_of(BRAKE_LIGHT_STATES, "BRAKE_LIGHT_STATE_", lights.brake_light_state))
    for name, state in (
        ("REVERSING_LIGHT_", lights.reversing_light),
        ("EMERGENCY_VEHICLE_ILLUMINATION_", lights.emergency_vehicle_illumination),
        ("SERVICE_VEHICLE_ILLUMINATION_", lights.service_vehicle_illumination),
    ):
        if state >= 3:
            shown.append(word_of(GENERIC_LIGHT_STATES, name, state))
    for word in shown:
        part.shown.setdefault((key, word), []).append(stamp)


def _events(part: _Part, t0: int) -> list[SourceEvent]:
    """Lights of vehicles: one event while the light is on in each message that shows the vehicle."""
    times: dict[str, list[int]] = {}
    for columns, key_of in ((part.agents, "key"), (part.ego, None)):
        for row, stamp in enumerate(columns.get("t", ())):
            name = str(columns[key_of][row]) if key_of else ""
            times.setdefault(name, []).append(stamp)
    events = []
    for (key, word), stamps in part.shown.items():
        lit, begin = set(stamps), None
        last = stamps[0]
        for stamp in times.get(key, times.get("", [])):
            if stamp in lit:
                begin, last = stamp if begin is None else begin, stamp
            elif begin is not None:
                events.append(_event(word, key, begin - t0, last - t0))
                begin = None
        if begin is not None:
            events.append(_event(word, key, begin - t0, last - t0))
    return sorted(events, key=lambda event: event.t0_ns)


def _event(word: str, key: str, begin: int, end: int) -> SourceEvent:
    return SourceEvent(name=word, t0_ns=begin, t1_ns=end, source_track_id=key)


def _shown(lamps: Sequence[Any]) -> tuple[LightState, bool, bool]:
    """What the bulbs for one lane show together: the strictest that is lit, round ones first."""
    lit = [lamp for lamp in lamps if lamp.mode in LIT and not lamp.is_out_of_service]
    if not lit:
        dark = all(lamp.mode == OFF or lamp.is_out_of_service for lamp in lamps)
        return (LightState.OFF if dark else LightState.UNKNOWN), False, False
    round_ones = [lamp for lamp in lit if not _is_arrow(lamp)]
    chosen = min(
        round_ones or lit, key=lambda lamp: LIGHTS.get(lamp.color, LightState.UNKNOWN) or 99
    )
    state = LIGHTS.get(chosen.color, LightState.UNKNOWN)
    return state, _is_arrow(chosen), chosen.mode == FLASHING


def _is_arrow(lamp: Any) -> bool:
    return word_of(LIGHT_ICONS, "", lamp.icon).startswith("ARROW")


def _lamp_word(lamp: Any) -> str:
    words = [
        word_of(LIGHT_COLORS, "COLOR_", lamp.color),
        word_of(LIGHT_MODES, "MODE_", lamp.mode),
    ]
    if lamp.icon > 2:
        words.append(word_of(LIGHT_ICONS, "ICON_", lamp.icon))
    if lamp.is_out_of_service:
        words.append("OUT_OF_SERVICE")
    return " ".join(words)


def _light_states(columns: Columns, t0: int, names: Mapping[int, str]) -> LightStates:
    if not columns:
        return LightStates.none()
    return LightStates(
        source_lane_id=[names.get(lane, str(lane)) for lane in columns["lane"]],
        t_ns=np.array(columns["t"], dtype=np.int64) - t0,
        state=np.array(columns["state"], dtype=np.int64),
        source_state=columns["word"],
        arrow=np.array(columns["arrow"], dtype=bool),
        flashing=np.array(columns["flashing"], dtype=bool),
        stop_xyz=np.full((len(columns["t"]), 3), np.nan),
    )


def _weather(environment: Any) -> Weather | None:
    if environment is None:
        return None
    if environment.precipitation >= RAIN:
        cold = 0.0 < environment.temperature < FREEZING_K
        return Weather.SNOW if cold else Weather.RAIN
    if environment.fog >= FOG:
        return Weather.FOG
    clouds = environment.clouds.fractional_cloud_cover
    if clouds >= CLOUDY:
        return Weather.CLOUDY
    return Weather.CLEAR if environment.precipitation == 2 else None


def _daylight(environment: Any) -> Daylight | None:
    """By the illumination where it is told, else by the height of the sun."""
    if environment is None:
        return None
    level = environment.ambient_illumination - 1
    if level >= 1:
        return Daylight.NIGHT if level <= 3 else Daylight.DUSK if level <= 6 else Daylight.DAY
    if environment.HasField("sun") and environment.sun.HasField("elevation"):
        height = environment.sun.elevation
        if height > DUSK_RAD:
            return Daylight.DAY
        return Daylight.DUSK if height > -DUSK_RAD else Daylight.NIGHT
    return None
