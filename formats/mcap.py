"""MCAP recordings of robots: ROS 2, ROS 1 and Foxglove messages, in a file or a ROS 2 bag folder.

    <name>.mcap
    <bag>/metadata.yaml, <bag>/<bag>_0.mcap, <bag>_1.mcap, …
    scenelake-mcap.toml    beside it or above: what topics mean, see formats.mcap_settings

What a message holds is told by its type, whatever its topic is called
(:data:`formats.mcap_messages.HANDLERS`); topics of other types are counted in notes. Captures stay
where they are: a frame says where in the file, or in which compressed chunk, its bytes lie.

*Time* is that of capture: the stamp in the message's header, else when it was recorded. A topic whose
stamps are of another clock (more than a minute off the others) goes by when it was recorded; stamps
that fall back by more than 10 s are dropped.

*Frames*: the world is ``map`` or whichever fixed frame poses are told in, the ego frame ``base_link``
or its like. The vehicle's poses come from odometry in the world frame, else from the transforms, else
from poses, else from GNSS fixes as local east, north, up about the first one. Road users are told in
the world by way of the transforms.

Sources: mcap.dev/spec, docs.ros.org (REP 103, 105), docs.foxglove.dev, the Autoware definitions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from formats.carried_messages import can_decode, decode_message, type_name
from formats.files import GZIP_SUFFIX, open_binary
from formats.mcap_file import (
    SUFFIX,
    Channel,
    ChunkIndex,
    Contents,
    McapFile,
    Message,
    schema_names,
)
from formats.mcap_messages import (
    CAMERA_MODELS,
    HANDLERS,
    OBJECTS,
    POSES,
    TRANSFORMS,
    Arrival,
    CameraModel,
    Columns,
    Gathered,
    Handler,
    fields_handler,
    header_of,
)
from formats.mcap_settings import (
    IGNORE,
    McapSettings,
    check_channels,
    settings_file,
    settings_for,
)
from formats.registry import Rejected
from formats.tally import Tally
from formats.transforms import Poses, TransformTree
from formats.tree import head, matching
from geometry.arrays import Array
from geometry.frames import quaternion_from_yaw, yaw_from_quaternion
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass
from schemas.records import (
    EgoStates,
    Frame,
    LightStates,
    Log,
    Observations,
    Readings,
    Sensor,
)

DATASET = "mcap"
METADATA = "metadata.yaml"
BAG_MARK = b"rosbag2_bagfile_information"
OSI = "osi3."

PART_NS = 60_000_000_000
SHORT_PART_NS = 10_000_000_000
"""Of a part in which more than ``PART_ROWS`` states of road users would be held [ns]."""
PART_ROWS = 250_000
LATE_NS = 10_000_000_000
"""How long after its capture a message may be recorded and still find its part open [ns]."""
OTHER_CLOCK_NS = 60_000_000_000
"""Stamps farther than this from the time of recording, as the others have it, are of another clock."""
MODERN_NS = 946_684_800_000_000_000
"""The year 2000: stamps beyond count from 1970 [ns]."""

WORLDS = ("map", "world", "earth", "utm", "local_enu", "odom")
BASES = (
    "base_link",
    "base_footprint",
    "ego_vehicle",
    "ego",
    "rear_axle",
    "vehicle",
    "hero",
    "car",
)
TRANSFORMED, SATELLITES = "tf", "gnss"
"""Sources of the vehicle's poses other than topics, as settings name them."""

STEP_M = 0.5  # [m] a fix farther than this from the last tells the heading of who has only GNSS
SURVEY_CHUNKS = 2  # of each topic, read beforehand to learn its frame, type and clock
STATIC_CHUNKS = 64
SURVEY_MESSAGES = 2000  # transforms of a topic learnt from beforehand
ODD = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)
"""What a message raises that does not look as its type should."""


def sources(path: Path) -> Iterator[Path]:
    """MCAP files, and folders of ROS 2 bags, at or under a path; not those of ASAM OSI."""
    found = set()
    for file in matching(path, "*.mcap", "*.db3"):
        bag = file.parent if BAG_MARK in head(file.parent / METADATA) else None
        if file.name.removesuffix(GZIP_SUFFIX).endswith(SUFFIX):
            if not any(name.startswith(OSI) for name in schema_names(file)):
                found.add(bag or file)
        elif bag is not None:
            found.add(bag)
    yield from sorted(found)


def files(source: Path) -> Iterator[Path]:
    """The recording, the list of its pieces, and the settings that apply to it."""
    if source.is_dir():
        yield from (path for path in (source / METADATA,) if path.is_file())
        yield from sorted(path for path in source.iterdir() if path.suffix in (SUFFIX, ".db3"))
    else:
        yield source
    settings = settings_file(source)
    if settings is not None:
        yield settings


def read(source: Path) -> Iterator[Log | Rejected]:
    """The log of a recording, a long one in parts; damaged chunks and a missing end as ``Rejected``.

    Raises:
        UnreadableFile: It is no MCAP file, or a piece of the bag is not there.
        BadSetting: The settings are not understood.
    """
    pieces = [source] if source.is_file() else _pieces(source)
    settings = settings_for(source)
    # Recorders give the same names day after day, so the folder's belongs to it.
    place = source.resolve()
    name = f"{place.parent.name}/{place.name.removesuffix(SUFFIX)}"
    survey = _survey(pieces, settings)
    if not any(survey.counts.values()):
        notes = survey.damage_notes()
        reason = "the recording holds no messages"
        if notes:
            reason = "the recording was cut off or damaged before its first whole message"
        yield Rejected(record="", reason=reason, notes=notes)
        return
    yield from _Recording(source, name, pieces, settings, survey).logs()


def _pieces(folder: Path) -> list[Path]:
    """The files of a bag in order.

    Raises:
        UnreadableFile: The bag is kept in another way, lacks a piece, or leads out of its folder.
    """
    with open_binary(folder / METADATA) as file:
        text = file.read().decode("utf-8", errors="replace")
    listed = re.search(r"relative_file_paths:\s*\n((?:\s*-\s+.+\n?)+)", text)
    if BAG_MARK.decode() not in text or listed is None:
        raise UnreadableFile(folder / METADATA, "does not list the files of a bag")
    names = [
        line.strip().removeprefix("-").strip(" '\"") for line in listed[1].strip().splitlines()
    ]
    pieces = []
    for name in names:
        piece = folder / name
        if "\0" in name or not piece.resolve().is_relative_to(folder.resolve()):
            raise UnreadableFile(folder / METADATA, f"leads out of its folder: {name}")
        if piece.suffix == ".db3":
            raise UnreadableFile(
                piece, "is a bag kept in SQLite, without the definitions of its messages",
                hint="Convert it: ros2 bag convert, with storage_id mcap.",
            )  # fmt: skip
        if not piece.is_file():
            raise UnreadableFile(piece, "is listed in the bag but not there", hint="Fetch it.")
        pieces.append(piece)
    return pieces


@contextmanager
def _opened(path: Path) -> Iterator[McapFile]:
    if path.name.endswith(GZIP_SUFFIX):
        raise UnreadableFile(
            path, "is MCAP packed as a whole", hint="Unpack it: MCAP packs its own chunks."
        )
    with open_binary(path) as file:
        yield McapFile(path, file)


# ── What is there ──


@dataclass(slots=True, kw_only=True)
class _Topic:
    """A topic as its first messages show it.

    Attributes:
        channel: Its name and types.
        kind: Type of its messages, as handlers know it.
        frame: That its header names.
        child: That it tells the pose of.
        offset: Of its stamps from the times of recording; None where it has no stamps [ns].
        looked: How many of its messages have been learnt from.
    """

    channel: Channel
    kind: str
    frame: str = ""
    child: str = ""
    offset: int | None = None
    looked: int = 0


@dataclass(slots=True)
class _Survey:
    """What is learnt before anything is told: topics, transforms, cameras, counts."""

    topics: dict[str, _Topic] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    gathered: Gathered = field(default_factory=lambda: Gathered(Tally(), TransformTree()))
    metadata: dict[str, Mapping[str, str]] = field(default_factory=dict)
    attachments: int = 0
    damages: list[str] = field(default_factory=list)
    begin: int | None = None

    def of_kinds(self, kinds: Sequence[str]) -> list[str]:
        """Topics of some types that have messages, in the order of the types, then of names."""
        found = [
            (kinds.index(told.kind), topic)
            for topic, told in self.topics.items()
            if told.kind in kinds and self.counts.get(topic)
        ]
        return [topic for _, topic in sorted(found)]

    def damage_notes(self) -> list[Any]:
        tally = Tally()
        for damage in self.damages:
            tally.add("rejected", damage)
        return tally.notes()


def _survey(pieces: Sequence[Path], settings: McapSettings) -> _Survey:
    survey = _Survey()
    for path in pieces:
        with _opened(path) as mcap:
            told = bool(mcap.contents.indexed and mcap.contents.counts)
            chunks = _first_chunks(mcap.contents) if told and mcap.contents.chunks else None
            for message in mcap.messages(chunks):
                if survey.begin is None or message.log_time < survey.begin:
                    survey.begin = message.log_time
                _look_at(message, survey, settings)
                if not told:
                    topic = message.channel.topic
                    survey.counts[topic] = survey.counts.get(topic, 0) + 1
            for key, count in mcap.contents.counts.items() if told else ():
                if key in mcap.contents.channels:
                    topic = mcap.contents.channels[key].topic
                    survey.counts[topic] = survey.counts.get(topic, 0) + count
            for channel in mcap.contents.channels.values():
                told_kind = type_name(channel.schema)
                survey.topics.setdefault(channel.topic, _Topic(channel=channel, kind=told_kind))
            survey.metadata |= dict(mcap.contents.metadata)
            survey.attachments += len(mcap.contents.attachments)
            survey.damages += [f"{d.record}: {d.reason}" for d in mcap.damages]
    return survey


def _first_chunks(contents: Contents) -> list[ChunkIndex]:
    """The chunks in which each topic begins, and those of static transforms."""
    chosen: dict[int, ChunkIndex] = {}
    for key, channel in contents.channels.items():
        most = STATIC_CHUNKS if channel.topic.endswith("tf_static") else SURVEY_CHUNKS
        having = [chunk for chunk in contents.chunks if key in chunk.channels][:most]
        chosen |= {chunk.offset: chunk for chunk in having}
    return [chosen[offset] for offset in sorted(chosen)]


def _look_at(message: Message, survey: _Survey, settings: McapSettings) -> None:
    """Learn from a message what its topic is; transforms and camera models wholly."""
    channel = message.channel
    kind = type_name(channel.schema)
    known = survey.topics.get(channel.topic)
    whole = kind in TRANSFORMS or kind in CAMERA_MODELS
    wanted = kind in HANDLERS or bool(settings.of(channel.topic).fields)
    if (known is not None and not whole) or not wanted or not can_decode(channel):
        return
    if known is not None and not channel.topic.endswith("tf_static"):
        known.looked += 1
        if known.looked > SURVEY_MESSAGES:
            return
    try:
        told = decode_message(channel, message.data)
        stamp, frame = header_of(told)
    except ODD:
        return
    if known is None:
        child = str(told.get("child_frame_id", "")).lstrip("/") if kind in POSES else ""
        survey.topics[channel.topic] = _Topic(
            channel=channel, kind=kind, frame=frame, child=child,
            offset=None if stamp is None else stamp - message.log_time,
        )  # fmt: skip
    if whole:
        arrival = _arrival(message, kind, channel.topic, stamp or message.log_time, frame, "")
        try:
            HANDLERS[kind][1](told, arrival, survey.gathered)
        except ODD:
            return


def _arrival(
    message: Message, kind: str, channel: str, stamp: int, frame: str, uri: str
) -> Arrival:
    return Arrival(
        topic=message.channel.topic, channel=channel, kind=kind, encoding=message.channel.encoding,
        stamp=stamp, frame=frame, uri=uri, container=message.container, offset=message.offset,
        size=len(message.data),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frames:
    """Which frames are the world's and the vehicle's, and what tells the one in the other."""

    world: str
    base: str
    source: str | None


def _choose_frames(survey: _Survey, settings: McapSettings) -> _Frames:
    tree = survey.gathered.tree
    poses = survey.of_kinds(POSES)
    children = {survey.topics[topic].child for topic in poses}
    there = tree.frames() | children
    bases = [settings.base_frame] if settings.base_frame else [b for b in BASES if b in there]
    base = bases[0] if bases else next((c for c in sorted(children) if c), "base_link")
    fixes = survey.of_kinds(("sensor_msgs/NavSatFix", "foxglove.LocationFix"))
    told = [survey.topics[topic].frame for topic in poses]
    worlds = [w for w in WORLDS if w in there or w in told]
    worlds += [frame for frame in (*told, *sorted(tree.parents())) if frame not in (*worlds, base)]
    if settings.world_frame:
        worlds = [settings.world_frame]
    if settings.ego is not None:
        if settings.ego in survey.topics:
            return _Frames(world=survey.topics[settings.ego].frame, base=base, source=settings.ego)
        if settings.ego == SATELLITES and fixes:
            return _Frames(world="enu", base=base, source=SATELLITES)
    for world in worlds:
        for topic in poses if settings.ego != TRANSFORMED else ():
            if survey.topics[topic].frame == world:
                return _Frames(world=world, base=base, source=topic)
        if len(tree.stamps(world, base)) > 1:
            return _Frames(world=world, base=base, source=TRANSFORMED)
    if fixes:
        return _Frames(world="enu", base=base, source=SATELLITES)
    return _Frames(world=worlds[0] if worlds else "map", base=base, source=None)


# ── What is told ──


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """What to do with the messages of a topic."""

    channel: str
    kind: str
    sensor: str
    handler: Handler


class _Recording:
    """A recording on its way to a log."""

    def __init__(
        self, source: Path, name: str, pieces: Sequence[Path], settings: McapSettings,
        survey: _Survey,
    ) -> None:  # fmt: skip
        self._source, self._name, self._pieces = source, name, pieces
        self._settings, self._survey = settings, survey
        self._frames = _choose_frames(survey, settings)
        self._tally = Tally()
        self._shift = _clock_shift(survey)
        self._newest: dict[str, int] = {}
        self._found: dict[str, int] = {}
        self._seen: dict[str, tuple[str, AgentClass]] = {}
        self._enu: Array | None = None
        self._ego_tree = TransformTree()
        self._rate: float | None = None
        self._t0 = self._flushed = self._until = 0
        self._errors: dict[str, str] = {}
        self._uri = ""
        for asked in (settings.objects, settings.ego):
            if asked not in (None, TRANSFORMED, SATELLITES, *survey.topics):
                self._tally.add("missing", f"the settings ask for {asked}, which is not there")
        for pattern in settings.unmatched(survey.topics):
            reason = f"the settings' [[topics]] {pattern!r} fits no topic of the recording"
            self._tally.add("missing", reason)
        chosen = survey.of_kinds(OBJECTS)
        self._objects = settings.objects or (chosen[0] if chosen else "")
        self._rules = self._make_rules()
        self._sensors = self._make_sensors()
        self._rows = Gathered(self._tally, survey.gathered.tree, cameras=survey.gathered.cameras)

    def logs(self) -> Iterator[Log | Rejected]:
        """The parts of the log, then what is damaged."""
        rejected: list[Rejected] = []
        pending: Log | None = None
        for number, log in enumerate(self._parts(rejected)):
            if pending is not None:
                yield replace(pending, more=True)
            pending = replace(log, part=number)
        if pending is not None:
            yield pending
        else:
            self._note_counts()
            reason = "no message is of a type that is read, or none is sound"
            yield Rejected(record="", reason=reason, notes=self._tally.notes())
        yield from rejected

    def _parts(self, rejected: list[Rejected]) -> Iterator[Log]:
        begin = (self._survey.begin or 0) + self._shift
        begun = False
        for message in self._messages(rejected):
            self._take(message)
            now = message.log_time + self._shift
            wait = SHORT_PART_NS if self._is_crowded() else PART_NS
            if not begun and now > begin + wait + LATE_NS:
                self._begin(begin)
                begun = True
            if begun and wait == SHORT_PART_NS:
                ready = max((now - LATE_NS - self._flushed) // wait, 1)
                self._until = min(self._until, self._flushed + ready * wait)
            if begun and now > self._until + LATE_NS:
                yield from self._flush_until(now - LATE_NS)
        if not begun:
            self._begin(begin)
        self._note_counts()
        yield from self._flush_until(None)

    def _is_crowded(self) -> bool:
        """Whether so many states wait that the next part is to be a short one."""
        return len(self._rows.objects.get(self._objects, {}).get("t", ())) > PART_ROWS

    def _flush_until(self, limit: int | None) -> Iterator[Log]:
        """The parts that end before a time, or all; stretches without anything are passed over."""
        while (first := self._first()) is not None:
            if first >= self._until:
                self._until += (first - self._until) // PART_NS * PART_NS + PART_NS
            if limit is not None and self._until > limit:
                return
            log = self._flush(self._until)
            if log is not None:
                yield log
            self._until += PART_NS

    def _messages(self, rejected: list[Rejected]) -> Iterator[Message]:
        for path in self._pieces:
            with _opened(path) as mcap:
                contents = mcap.contents
                chunks: list[ChunkIndex] | None = None
                if contents.complete and contents.chunks:
                    chunks = sorted(contents.chunks, key=lambda chunk: (chunk.begin, chunk.offset))
                self._uri = str(path)
                yield from mcap.messages(chunks)
                where = "" if len(self._pieces) == 1 else f"{path.name}, "
                rejected += [
                    Rejected(record=f"{where}{damage.record}", reason=damage.reason)
                    for damage in mcap.damages
                ]

    def _take(self, message: Message) -> None:
        channel = message.channel
        self._found[channel.topic] = self._found.get(channel.topic, 0) + 1
        rule = self._rules.get(channel.topic)
        if rule is None:
            return
        try:
            told = decode_message(channel, message.data)
            stamp, frame = header_of(told)
            at = self._stamp(channel.topic, stamp, message.log_time)
            if at is not None:
                rule.handler(
                    told,
                    _arrival(message, rule.kind, rule.channel, at, frame, self._uri),
                    self._rows,
                )
        except ODD as error:
            first = self._errors.setdefault(channel.topic, str(error)[:80])
            reason = (
                f"{channel.topic}: messages that are not as their type should be, as one {first}"
            )
            self._tally.add("dropped", reason)

    def _stamp(self, topic: str, stamp: int | None, log_time: int) -> int | None:
        """When a message was captured; None where its clock has fallen back [ns]."""
        recorded = log_time + self._shift
        if stamp is None:
            has_stamps = self._survey.topics[topic].offset is not None
            if has_stamps:
                self._tally.add("guessed", f"{topic}: messages whose stamp is not set go by when they were recorded")  # fmt: skip
            stamp = recorded
        elif abs(stamp - recorded) > OTHER_CLOCK_NS:
            reason = (
                f"{topic}: stamps of another clock; the messages go by when they were recorded"
            )
            self._tally.add("guessed", reason)
            stamp = recorded
        newest = self._newest.get(topic, stamp)
        if stamp < newest - LATE_NS:
            self._tally.add(
                "dropped", f"{topic}: messages whose stamp falls back by more than 10 s"
            )
            return None
        self._newest[topic] = max(newest, stamp)
        return stamp

    # ── Rules and sensors ──

    def _make_rules(self) -> dict[str, _Rule]:
        rules = {}
        for topic, told in self._survey.topics.items():
            count = self._survey.counts.get(topic, 0)
            asked = self._settings.of(topic)
            handler = HANDLERS.get(told.kind)
            if asked.kind == IGNORE:
                self._tally.add("dropped", f"{topic}: left out by the settings", count)
            elif asked.fields and can_decode(told.channel):
                rules[topic] = _Rule(
                    channel=self._settings.channel(topic), kind=told.kind,
                    sensor=asked.kind or "other",
                    handler=fields_handler(asked.fields, asked.units),
                )  # fmt: skip
            elif handler is None or not can_decode(told.channel):
                what = told.channel.schema.name or "no schema"
                kind = f"{what} as {told.channel.encoding or 'nothing'}"
                self._tally.add("dropped", f"{topic}: messages of {kind} are not read", count)
            elif told.kind in OBJECTS and topic != self._objects:
                reason = f"{topic}: road users are taken from {self._objects} alone"
                self._tally.add("dropped", reason, count)
            elif told.kind in POSES and topic != self._frames.source:
                source = self._frames.source or "nothing"
                reason = f"{topic}: the vehicle's poses are taken from {source} alone"
                self._tally.add("dropped", reason, count)
            else:
                sensor, function = handler
                rules[topic] = _Rule(
                    channel=self._settings.channel(topic), kind=told.kind,
                    sensor=asked.kind or _sensor_kind(sensor, topic), handler=function,
                )  # fmt: skip
        check_channels(self._settings, [topic for topic, rule in rules.items() if rule.sensor])
        return rules

    def _make_sensors(self) -> list[Sensor]:
        made = []
        models = self._survey.gathered.cameras
        for topic, rule in sorted(self._rules.items()):
            if not rule.sensor:
                continue
            about = self._survey.topics[topic]
            model = _model_for(topic, about.frame, models, self._settings)
            place = self._mounting(about.frame)
            sensor = Sensor(channel=rule.channel, kind=rule.sensor, ego_from_sensor=place)
            if rule.sensor == "camera":
                if model is None:
                    self._tally.add("missing", f"{topic}: no camera model")
                else:
                    sensor = replace(
                        sensor, model=model.model, intrinsics=model.intrinsics,
                        distortion=model.distortion, width=model.width or None,
                        height=model.height or None,
                    )  # fmt: skip
            made.append(sensor)
        return made

    def _mounting(self, frame: str) -> Array | None:
        """Where a sensor's frame is in the vehicle's, if no joint between them moves."""
        tree = self._survey.gathered.tree
        if frame == self._frames.base:
            return np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
        if not frame or tree.path(self._frames.base, frame) is None:
            return None
        stamps = tree.stamps(self._frames.base, frame)
        if len(stamps):
            reason = f"the mounting of {frame} is told again and again; its first pose is taken"
            self._tally.add("guessed", reason)
        poses = tree.at(self._frames.base, frame, stamps[:1] if len(stamps) else np.zeros(1, int))
        return np.concatenate([poses.translation[0], poses.quaternion[0]])

    def _note_counts(self) -> None:
        for topic, count in self._survey.counts.items():
            lost = count - self._found.get(topic, 0)
            if lost > 0:
                self._tally.add("missing", f"{topic}: messages that the summary tells of", lost)
        reason = "files attached to the recording are not carried"
        self._tally.add("dropped", reason, self._survey.attachments)

    # ── Parts ──

    def _begin(self, begin: int) -> None:
        """Settle when the log begins: its first capture, but not long before it was recorded."""
        self._drop_before(begin - LATE_NS, "captured more than 10 s before the recording began")
        self._flushed = begin - LATE_NS
        first = self._first()
        self._t0 = self._flushed = begin if first is None else first
        self._until = self._t0 + PART_NS

    def _columns(self) -> list[Columns]:
        rows = self._rows
        some = [rows.frames, rows.fixes, rows.lights]
        return [*some, *rows.readings.values(), *rows.poses.values(), *rows.objects.values()]

    def _first(self) -> int | None:
        """When the earliest row that is not told yet was captured [ns]."""
        stamps = [min(columns["t"]) for columns in self._columns() if columns.get("t")]
        stamps += [int(s) for s in self._ego_stamps(self._flushed, None)[:1]]
        return min(stamps, default=None)

    def _drop_before(self, begin: int, why: str) -> None:
        for columns in self._columns():
            early = [k for k, t in enumerate(columns.get("t", ())) if t < begin]
            if early:
                self._tally.add("dropped", f"rows {why}", len(early))
                _cut(columns, begin)

    def _flush(self, until: int) -> Log | None:
        """Everything captured before a time as a part; None if that is nothing."""
        self._drop_before(self._flushed, "recorded more than 10 s after they were captured")
        rows, begin = self._rows, self._flushed
        self._flushed = until
        taken = Gathered(self._tally, rows.tree)
        taken.frames, taken.fixes = _cut(rows.frames, until), _cut(rows.fixes, until)
        taken.lights = _cut(rows.lights, until)
        taken.readings = {key: _cut(told, until) for key, told in rows.readings.items()}
        taken.poses = {key: _cut(told, until) for key, told in rows.poses.items()}
        taken.objects = {key: _cut(told, until) for key, told in rows.objects.items()}
        ego = self._ego(taken, begin, until)
        agents = self._agents(taken)
        frames = self._captures(taken.frames)
        readings = self._series(taken.readings)
        lights = self._lights(taken.lights)
        rows.tree.forget(until - LATE_NS)
        self._ego_tree.forget(until - LATE_NS)
        if ego is None and not (len(agents.track) or frames or readings or len(lights.t_ns)):
            return None
        if self._rate is None:
            self._rate = _rate(agents.t_ns, ego)
        if self._frames.source is None and begin == self._t0:
            self._tally.add("missing", "nothing tells where the vehicle is")
        notes = self._tally.notes()
        self._tally.counts.clear()
        extra: dict[str, Any] = {"source_t0_ns": self._t0, "world_frame": self._frames.world}
        extra |= {"base_frame": self._frames.base, "topics": self._channels()}
        if self._survey.metadata:
            extra["metadata"] = {key: dict(told) for key, told in self._survey.metadata.items()}
        if self._settings.vehicle.centre_m is not None:
            extra["base_to_centre_m"] = list(self._settings.vehicle.centre_m)
        if self._enu is not None:
            extra["enu_origin_deg_m"] = self._enu.tolist()
        return Log(
            dataset=DATASET, source_log_id=self._name, source_uri=str(self._source),
            rate_hz=self._rate, ego=ego, agents=agents, lights=lights,
            t0_unix_ns=self._t0 if self._t0 >= MODERN_NS else None, sensors=self._sensors,
            frames=frames, readings=readings, notes=notes, extra=extra,
        )  # fmt: skip

    def _channels(self) -> dict[str, str]:
        """Types by topic, of what is read."""
        return {topic: rule.kind for topic, rule in sorted(self._rules.items())}

    def _captures(self, columns: Columns) -> list[Frame]:
        if not columns:
            return []
        stamps = np.array(columns["t"], dtype=np.int64)
        order = np.argsort(stamps, kind="stable")
        places = self._vehicle_at(stamps)
        poses = np.concatenate([places.translation, places.quaternion], axis=1)
        made: list[Frame] = []
        taken = set()
        for k in order:
            key = (columns["channel"][k], int(stamps[k]))
            if key in taken:
                self._tally.add("dropped", f"{key[0]}: captures with a stamp seen before")
                continue
            taken.add(key)
            made.append(
                Frame(
                    channel=key[0], t_ns=key[1] - self._t0, uri=columns["uri"][k],
                    codec=columns["codec"][k], offset=columns["offset"][k],
                    size=columns["size"][k], container=columns["container"][k],
                    world_from_ego=tuple(poses[k].tolist()) if places.known[k] else None,
                )
            )  # fmt: skip
        return made

    def _series(self, readings: Mapping[tuple[str, str, str], Columns]) -> list[Readings]:
        made = []
        for (channel, signal, unit), columns in readings.items():
            if not columns:
                continue
            stamps, first = np.unique(np.array(columns["t"], dtype=np.int64), return_index=True)
            lost = len(columns["t"]) - len(stamps)
            self._tally.add("dropped", f"{channel}: readings with a stamp seen before", lost)
            told: dict[str, Any] = {}
            if "value" in columns:
                told["value"] = np.array(columns["value"], dtype=np.float64)[first]
            if "text" in columns:
                told["text"] = [columns["text"][k] for k in first]
            made.append(
                Readings(channel=channel, signal=signal, unit=unit, t_ns=stamps - self._t0, **told)
            )
        return made

    def _lights(self, columns: Columns) -> LightStates:
        if not columns:
            return LightStates.none()
        reason = "signals bear the id of their group on the source's map, not of a lane"
        self._tally.add("guessed", reason, len(columns["t"]))
        return LightStates(
            source_lane_id=columns["key"], source_state=columns["word"],
            t_ns=np.array(columns["t"], dtype=np.int64) - self._t0,
            state=np.array(columns["state"], dtype=np.int64),
            arrow=np.array(columns["arrow"], dtype=bool),
            flashing=np.array(columns["flashing"], dtype=bool),
            stop_xyz=np.full((len(columns["t"]), 3), np.nan),
        )  # fmt: skip

    # ── The vehicle ──

    def _ego_stamps(self, begin: int, until: int | None) -> Int[Array, " times"]:
        """When transforms tell of the vehicle; nothing where something else does."""
        if self._frames.source != TRANSFORMED:
            return np.zeros(0, dtype=np.int64)
        stamps = self._rows.tree.stamps(self._frames.world, self._frames.base)
        inside = stamps >= begin
        return stamps[inside if until is None else inside & (stamps < until)]

    def _vehicle_at(self, stamps: Int[Array, " times"]) -> Poses:
        """The vehicle's frame in the world at any times."""
        tree = self._rows.tree if self._frames.source == TRANSFORMED else self._ego_tree
        return tree.at(self._frames.world, self._frames.base, stamps)

    def _ego(self, taken: Gathered, begin: int, until: int) -> EgoStates | None:
        source = self._frames.source
        linear: Array | None = None
        yaw_rate: Array | None = None
        if source == TRANSFORMED:
            stamps = self._ego_stamps(begin, until)
            poses = self._vehicle_at(stamps)
        elif source == SATELLITES:
            stamps, poses = self._satellite_poses(taken.fixes)
        else:
            columns = taken.poses.get(source or "", {})
            stamps, poses, linear, yaw_rate = self._told_poses(columns)
        stamps, poses = stamps[poses.known], _taken(poses, poses.known)
        if not len(stamps):
            return None
        if source != TRANSFORMED:
            self._remember(stamps, poses)
            self._look_ahead(source or "")
        vehicle = self._settings.vehicle
        if None in (vehicle.length_m, vehicle.width_m, vehicle.height_m):
            reason = f"the vehicle's size is not told; {vehicle.size} m is taken"
            self._tally.add("guessed", reason)
        if vehicle.centre_m is None:
            reason = f"where the box is about {self._frames.base} is not told: it is centred there"
            self._tally.add("guessed", reason)
        centre = np.tile(np.array(vehicle.centre_m or (0.0, 0.0, 0.0)), (len(stamps), 1))
        velocity = None
        if linear is not None and np.isfinite(linear).all():
            velocity = poses.rotate(linear)[:, :2]
        return EgoStates(
            t_ns=stamps - self._t0, xyz=poses.apply(centre), size=vehicle.size, velocity=velocity,
            yaw=yaw_from_quaternion(poses.quaternion), quaternion=poses.quaternion,
            yaw_rate=yaw_rate if yaw_rate is not None and np.isfinite(yaw_rate).all() else None,
        )  # fmt: skip

    def _remember(self, stamps: Int[Array, " times"], poses: Poses) -> None:
        rows = np.concatenate([poses.translation, poses.quaternion], axis=1)
        for stamp, pose in zip(stamps[poses.known], rows[poses.known], strict=True):
            self._ego_tree.add(self._frames.world, self._frames.base, pose, stamp=int(stamp))

    def _look_ahead(self, source: str) -> None:
        """The next pose beyond the part, so that what lies before it is interpolated."""
        columns = self._rows.poses.get(source)
        if columns:
            k = min(range(len(columns["t"])), key=columns["t"].__getitem__)
            stamps, poses, _, _ = self._told_poses(
                {key: told[k : k + 1] for key, told in columns.items()}
            )
            self._remember(stamps, poses)

    def _told_poses(
        self, columns: Columns
    ) -> tuple[Int[Array, " times"], Poses, Array | None, Array | None]:
        """Poses of a topic, brought from the frame that it tells of to that of the vehicle."""
        if not columns:
            return np.zeros(0, dtype=np.int64), _no_poses(), None, None
        stamps, first = np.unique(np.array(columns["t"], dtype=np.int64), return_index=True)
        lost = len(columns["t"]) - len(stamps)
        self._tally.add("dropped", "poses of the vehicle with a stamp seen before", lost)
        rows = np.array(columns["pose"], dtype=np.float64)[first]
        same = np.array([columns["frame"][k] == self._frames.world for k in first])
        reason = f"poses of the vehicle in another frame than {self._frames.world}"
        self._tally.add("dropped", reason, int((~same).sum()))
        poses = Poses(rows[:, :3], rows[:, 3:], same)
        linear = np.array(columns["linear"], dtype=np.float64)[first]
        child = columns["child"][0]
        if child and child != self._frames.base:
            child_from_base = self._rows.tree.at(child, self._frames.base, stamps)
            if child_from_base.known.all():
                poses = poses @ child_from_base
                linear = child_from_base.inverse().rotate(linear)
            else:
                reason = (
                    f"where {self._frames.base} is in {child} is not told: they are taken as one"
                )
                self._tally.add("guessed", reason)
        rate = np.array(columns["yaw_rate"], dtype=np.float64)[first]
        return stamps, poses, linear[same], rate[same]

    def _satellite_poses(self, columns: Columns) -> tuple[Int[Array, " times"], Poses]:
        """Fixes as east, north, up about the first, headings from the way that was made."""
        if not columns:
            return np.zeros(0, dtype=np.int64), _no_poses()
        topic = columns["topic"][0]
        chosen = [k for k, told in enumerate(columns["topic"]) if told == topic]
        all_stamps = np.array([columns["t"][k] for k in chosen], dtype=np.int64)
        stamps, first = np.unique(all_stamps, return_index=True)
        fixes = np.array([columns["place"][chosen[k]] for k in first], dtype=np.float64)
        fixes[~np.isfinite(fixes[:, 2]), 2] = 0.0
        sound = np.isfinite(fixes).all(axis=1) & (np.abs(fixes[:, 0]) <= 90.0)
        stamps, fixes = stamps[sound], fixes[sound]
        if not len(stamps):
            return stamps, _no_poses()
        if self._enu is None:
            self._enu = fixes[0]
        self._tally.add("guessed", f"the vehicle's poses follow from the fixes of {topic}, its heading from their way", len(stamps))  # fmt: skip
        xyz = east_north_up(fixes, self._enu)
        yaw = headings_of_way(xyz[:, :2])
        return stamps, Poses(xyz, quaternion_from_yaw(yaw), np.ones(len(stamps), dtype=bool))

    # ── Road users ──

    def _agents(self, taken: Gathered) -> Observations:
        columns = taken.objects.get(self._objects, {})
        if not columns:
            return Observations.none()
        stamps = np.array(columns["t"], dtype=np.int64)
        told = np.array(columns["pose"], dtype=np.float64)
        velocity = np.array(columns["velocity"], dtype=np.float64)
        own = np.array(columns["own"], dtype=bool)
        poses = Poses(told[:, :3], told[:, 3:], np.ones(len(told), dtype=bool))
        velocity = np.where(own[:, None], poses.rotate(velocity), velocity)
        known = np.zeros(len(stamps), dtype=bool)
        for frame in dict.fromkeys(columns["frame"]):
            rows = np.flatnonzero([other == frame for other in columns["frame"]])
            world = self._world_from(frame, stamps[rows])
            moved = world @ _taken(poses, rows)
            told[rows] = np.concatenate([moved.translation, moved.quaternion], axis=1)
            velocity[rows] = world.rotate(velocity[rows])
            known[rows] = world.known
            lost = int((~world.known).sum())
            reason = f"road users told in {frame or 'no frame'}, whose place is not known"
            self._tally.add("dropped", reason, lost)
        names = list(dict.fromkeys(columns["key"]))
        for k, name in enumerate(columns["key"]):
            self._seen.setdefault(name, (columns["word"][k], columns["cls"][k]))
        number = {name: k for k, name in enumerate(names)}
        track = np.array([number[name] for name in columns["key"]], dtype=np.int64)
        order = np.lexsort((stamps, track))
        again = np.zeros(len(order), dtype=bool)
        again[1:] = (np.diff(track[order]) == 0) & (np.diff(stamps[order]) == 0)
        self._tally.add(
            "dropped", "states of a road user with a stamp seen before", int(again.sum())
        )
        order = order[~again & known[order]]
        left = np.unique(track[order])
        size = np.array(columns["size"], dtype=np.float64)
        speeds = velocity[order, :2]
        return Observations(
            track=np.searchsorted(left, track[order]).astype(np.int64),
            t_ns=stamps[order] - self._t0, xyz=told[order, :3],
            yaw=yaw_from_quaternion(told[order, 3:]), size=size[order],
            velocity=speeds if np.isfinite(speeds).any() else None,
            source_track_id=[names[k] for k in left],
            source_cls=[self._seen[names[k]][0] for k in left],
            cls=[self._seen[names[k]][1] for k in left],
        )  # fmt: skip

    def _world_from(self, frame: str, stamps: Int[Array, " times"]) -> Poses:
        """A frame in the world, by the transforms or by way of the vehicle."""
        world, base = self._frames.world, self._frames.base
        if frame == world:
            return Poses(
                np.zeros((len(stamps), 3)),
                np.tile([1.0, 0.0, 0.0, 0.0], (len(stamps), 1)),
                np.ones(len(stamps), dtype=bool),
            )
        tree = self._rows.tree
        if tree.path(world, frame) is not None:
            return tree.at(world, frame, stamps)
        vehicle = self._vehicle_at(stamps)
        return vehicle if frame == base else vehicle @ tree.at(base, frame, stamps)


# ── Small things ──


def _sensor_kind(kind: str, topic: str) -> str:
    """The kind that a type has, but for radars that tell their targets as point clouds."""
    return "radar" if kind == "lidar" and "radar" in topic.lower() else kind


def _clock_shift(survey: _Survey) -> int:
    """How far the stamps of most topics are from when they were recorded; 0 if near [ns]."""
    offsets = sorted(told.offset for told in survey.topics.values() if told.offset is not None)
    middle = offsets[len(offsets) // 2] if offsets else 0
    return middle if abs(middle) > OTHER_CLOCK_NS else 0


def _model_for(
    topic: str, frame: str, models: Mapping[str, CameraModel], settings: McapSettings
) -> CameraModel | None:
    """The camera model of a topic of images: asked for, of its frame, or of its namespace."""
    asked = settings.of(topic).calibration
    if asked is not None:
        return models.get(asked)
    inside = [m for m in models.values() if _namespace(topic).startswith(_namespace(m.topic))]
    near = max(inside, key=lambda model: len(_namespace(model.topic)), default=None)
    if near is not None and near.frame in (frame, ""):
        return near
    return next((model for model in models.values() if frame and model.frame == frame), near)


def _namespace(topic: str) -> str:
    return topic.rsplit("/", 1)[0] + "/"


def _cut(columns: Columns, until: int) -> Columns:
    """Take the rows before a time out of the columns."""
    taken: Columns = {}
    if not columns:
        return taken
    before = [t < until for t in columns["t"]]
    for name, values in columns.items():
        took = [value for value, early in zip(values, before, strict=True) if early]
        if took:
            taken[name] = took
        columns[name] = [value for value, early in zip(values, before, strict=True) if not early]
    if not columns["t"]:
        columns.clear()
    return taken


def _taken(poses: Poses, rows: Array) -> Poses:
    return Poses(poses.translation[rows], poses.quaternion[rows], poses.known[rows])


def _no_poses() -> Poses:
    return Poses(np.zeros((0, 3)), np.zeros((0, 4)), np.zeros(0, dtype=bool))


def _rate(t_ns: Int[Array, " rows"], ego: EgoStates | None) -> float:
    """Nominal rate of the road users, else of the vehicle [Hz]."""
    for stamps in (t_ns, np.zeros(0) if ego is None else ego.t_ns):
        steps = np.diff(np.unique(stamps))
        if len(steps):
            return round(1e9 / float(np.median(steps)), 3)
    return 10.0


def east_north_up(
    fixes: Float[Array, "fixes 3"], origin: Float[Array, "3"]
) -> Float[Array, "fixes 3"]:
    """Latitude, longitude [deg] and height [m] as east, north, up about an origin [m].

    By way of earth-centred coordinates on the WGS 84 ellipsoid.
    """
    lat, lon = np.deg2rad(origin[0]), np.deg2rad(origin[1])
    offset = _earth_centred(fixes) - _earth_centred(origin[None])
    turn = np.array(
        [
            [-np.sin(lon), np.cos(lon), 0.0],
            [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)],
            [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)],
        ]
    )
    return offset @ turn.T


def _earth_centred(fixes: Float[Array, "fixes 3"]) -> Float[Array, "fixes 3"]:
    major, flattening = 6_378_137.0, 1 / 298.257223563
    squared = flattening * (2.0 - flattening)
    lat, lon, height = np.deg2rad(fixes[:, 0]), np.deg2rad(fixes[:, 1]), fixes[:, 2]
    normal = major / np.sqrt(1.0 - squared * np.sin(lat) ** 2)
    return np.stack(
        [
            (normal + height) * np.cos(lat) * np.cos(lon),
            (normal + height) * np.cos(lat) * np.sin(lon),
            (normal * (1.0 - squared) + height) * np.sin(lat),
        ],
        axis=1,
    )


def headings_of_way(xy: Float[Array, "steps 2"]) -> Float[Array, " steps"]:
    """Headings of who moves forwards along positions: each from the last one ``STEP_M`` behind.

    Where nothing has moved far enough yet, the first heading that comes holds; 0 if none does [rad].
    """
    yaw = np.full(len(xy), np.nan)
    anchor, heading = xy[0], np.nan
    for k, place in enumerate(xy):
        if np.linalg.norm(place - anchor) >= STEP_M:
            heading = float(np.arctan2(*(place - anchor)[::-1]))
            anchor = place
        yaw[k] = heading
    known = yaw[np.isfinite(yaw)]
    return np.where(np.isfinite(yaw), yaw, known[0] if len(known) else 0.0)
