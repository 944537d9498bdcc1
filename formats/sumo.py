"""SUMO: traffic as floating car data (``--fcd-output``) on its road network.

Format: sumo.dlr.de/docs/Simulation/Output/FCDOutput.html. Each ``timestep`` lists every vehicle and
person with x, y, ``angle`` (degrees clockwise from north) and ``speed``. A vehicle's place is that of
its *front* bumper: the box centre lies half a length behind. Sizes are those of the ``vType``, from
route and additional files beside (``.rou.xml``, ``.add.xml``), else SUMO's defaults for its class.
What lights show comes from an output of tls states (``SaveTLSStates``) beside.

The files that a simulation was made from are named in the comment at the head of its output; they
are looked for by name in the folder of the output, never elsewhere. A network without an output
beside is a log of its own, of a map alone. An output with geographic coordinates
(``--fcd-output.geo``) is projected back with the network's own projection.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from jaxtyping import Float
from lxml import etree

from formats.files import plain_name, present, recognised
from formats.map_alone import map_alone
from formats.registry import Rejected
from formats.sumo_net import Link, Network, elements, read_net
from formats.tally import Tally
from formats.track_rows import observations
from formats.tree import head, matching
from geometry.angles import unit, wrap
from geometry.arrays import Array
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, LightState
from schemas.records import LightStates, Log, RoadMap

DATASET = "sumo"
PART_NS = 60_000_000_000
END_OF_TIME_NS = 2**62  # [ns] a hundred years and more: no step of a run
PART_ROWS = 250_000  # rows above which an output is told in parts

LEFT_OUT = ("pos", "lane", "edge", "signals", "acceleration", "accelerationLat", "distance",
            "posLat", "odometer", "speedLat", "leaderID", "leaderSpeed", "leaderGap")  # fmt: skip

SIZES: dict[str, tuple[float, float, float]] = {
    "passenger": (5.0, 1.8, 1.5), "private": (5.0, 1.8, 1.5), "taxi": (5.0, 1.8, 1.5),
    "hov": (5.0, 1.8, 1.5), "evehicle": (5.0, 1.8, 1.5), "vip": (5.0, 1.8, 1.5),
    "custom1": (5.0, 1.8, 1.5), "custom2": (5.0, 1.8, 1.5), "army": (5.0, 1.8, 1.5),
    "authority": (5.0, 1.8, 1.5),
    "pedestrian": (0.215, 0.478, 1.719), "wheelchair": (0.7, 0.6, 1.3),
    "bicycle": (1.6, 0.65, 1.7), "moped": (2.1, 0.8, 1.7), "motorcycle": (2.2, 0.9, 1.5),
    "scooter": (1.2, 0.5, 1.7),
    "truck": (7.1, 2.4, 2.4), "trailer": (16.5, 2.55, 4.0),
    "bus": (12.0, 2.5, 3.4), "coach": (14.0, 2.6, 4.0),
    "delivery": (6.5, 2.16, 2.86), "emergency": (6.5, 2.16, 2.86),
    "tram": (22.0, 2.4, 3.2), "rail_urban": (109.5, 3.0, 3.6), "subway": (109.5, 3.0, 3.6),
    "rail": (135.0, 2.84, 3.75), "rail_electric": (200.0, 2.95, 3.89),
    "rail_fast": (200.0, 2.95, 3.89), "cable_car": (3.0, 2.0, 2.5), "ship": (17.0, 4.0, 4.0),
    "container": (6.096, 2.438, 2.591),
}  # fmt: skip
"""Length, width and height by ``vClass``: sumo.dlr.de/docs/Vehicle_Type_Parameter_Defaults.html."""
CLASSES = {
    "pedestrian": AgentClass.PEDESTRIAN, "wheelchair": AgentClass.PEDESTRIAN,
    "bicycle": AgentClass.CYCLIST, "scooter": AgentClass.CYCLIST,
    "moped": AgentClass.MOTORCYCLE, "motorcycle": AgentClass.MOTORCYCLE,
    "truck": AgentClass.TRUCK, "trailer": AgentClass.TRUCK, "delivery": AgentClass.TRUCK,
    "bus": AgentClass.BUS, "coach": AgentClass.BUS,
    "tram": AgentClass.OTHER, "rail_urban": AgentClass.OTHER, "subway": AgentClass.OTHER,
    "rail": AgentClass.OTHER, "rail_electric": AgentClass.OTHER, "rail_fast": AgentClass.OTHER,
    "cable_car": AgentClass.OTHER, "ship": AgentClass.OTHER, "container": AgentClass.OBSTACLE,
}  # fmt: skip
"""By ``vClass``; the others are vehicles."""
DEFAULT_TYPES = {
    "DEFAULT_VEHTYPE": "passenger", "DEFAULT_PEDTYPE": "pedestrian",
    "DEFAULT_BIKETYPE": "bicycle", "DEFAULT_TAXITYPE": "taxi", "DEFAULT_RAILTYPE": "rail",
    "DEFAULT_CONTAINERTYPE": "container",
}  # fmt: skip
"""Types that need no declaration, by their classes."""
LIGHTS: dict[str, tuple[LightState, bool, bool]] = {
    "r": (LightState.RED, False, False),
    "u": (LightState.RED, False, False),  # red and yellow: about to become green
    "s": (LightState.RED, True, False),  # to the right after a stop
    "y": (LightState.YELLOW, False, False), "Y": (LightState.YELLOW, False, False),
    "g": (LightState.GREEN, False, False), "G": (LightState.GREEN, False, False),
    "o": (LightState.YELLOW, False, True),  # off, blinking
    "O": (LightState.OFF, False, False),
}  # fmt: skip
"""State, arrow, flashing of each letter."""


def sources(path: Path) -> Iterator[Path]:
    """Outputs, and networks that no output beside was made on, at or under a path."""
    outputs = list(recognised(matching(path, "*.xml"), _begins_as_output))
    yield from outputs
    taken = {file for output in outputs for file in _Beside.of(output).nets}
    for file in recognised(matching(path, "*.net.xml"), _begins_as_net):
        if file not in taken and (file == path or not _of_smarts(file)):
            yield file


def files(source: Path) -> Iterator[Path]:
    """The file, and what lies beside an output: its network, types and lights."""
    yield source
    if not plain_name(source).endswith(".net.xml"):
        beside = _Beside.of(source)
        yield from (*beside.nets[:1], *beside.types, *beside.lights)


def read(source: Path) -> Iterator[Log | Rejected]:
    """A simulation's traffic, or a network alone.

    Raises:
        UnreadableFile: The file, or one that belongs to it, is no XML or cut off.
    """
    if plain_name(source).endswith(".net.xml"):
        yield _map_alone(source)
    else:
        yield from _Simulation.of(source).logs()


def _begins_as_output(file: Path) -> bool:
    return _root_of(file) == b"fcd-export"


def _begins_as_net(file: Path) -> bool:
    return _root_of(file) == b"net"


def _root_of(file: Path) -> bytes:
    """Name of the first element after comments; raises for what is empty, as ``recognised`` asks."""
    start = head(file)
    if not start:
        raise UnreadableFile(file, "is empty or cannot be read")
    bare = re.sub(rb"<!--.*?(-->|$)|<\?.*?\?>|<!DOCTYPE[^>]*>", b"", start, flags=re.DOTALL)
    root = re.match(rb"\s*<([A-Za-z][\w-]*)", bare.removeprefix(b"\xef\xbb\xbf"))
    if root is not None:
        return root[1]
    if b"<!--" not in start or b"-->" in start:
        return b""
    # The comment is longer than what is looked at: the configuration that made the file.
    outputs = re.findall(rb'<fcd-output value="([^"]+)"', start)
    if plain_name(file).encode() in (Path(value.decode("utf-8", "replace")).name.encode()
                                     for value in outputs):  # fmt: skip
        return b"fcd-export"
    return b"net" if plain_name(file).endswith(".net.xml") else b""


def _of_smarts(file: Path) -> bool:
    """Whether a history of SMARTS beside takes the network."""
    return any(file.parent.glob("*.shf*"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Beside:
    """What lies beside an output.

    Attributes:
        nets: Networks that it may have been made on; the first is taken.
        types: Files that may declare types.
        lights: Outputs of what lights showed.
    """

    nets: list[Path]
    types: list[Path]
    lights: list[Path]

    @classmethod
    def of(cls, output: Path) -> _Beside:
        folder = output.parent
        named = _named_in(head(output))
        nets = [net for name in named if name.removesuffix(".gz").endswith(".net.xml")
                if (net := _in(folder, name)) is not None]  # fmt: skip
        around = [file for file in sorted(folder.iterdir()) if file.is_file() and file != output]
        around = [file for file in around if plain_name(file).endswith(".xml")]
        if not nets:
            nets = [file for file in around if plain_name(file).endswith(".net.xml")]
            if len(nets) > 1:
                stem = plain_name(output).split(".")[0].removesuffix("fcd").strip("_-")
                nets = [net for net in nets if stem and plain_name(net).startswith(stem)][:1]
        roots = {file: _root_or_nothing(file) for file in around}
        return cls(
            nets=nets,
            types=[
                file for file, root in roots.items()
                if root in (b"routes", b"additional")
                or (not root and plain_name(file).endswith((".rou.xml", ".add.xml")))
            ],
            lights=[
                file for file, root in roots.items()
                if root == b"tlsStates" or (not root and plain_name(file).startswith("tls"))
            ],
        )  # fmt: skip


def _root_or_nothing(file: Path) -> bytes:
    """Nothing for what is broken: then its name tells, so that reading it tells what is wrong."""
    try:
        return _root_of(file)
    except UnreadableFile:
        return b""


def _named_in(start: bytes) -> list[str]:
    """Names of files in the configuration at the head of an output, without their folders."""
    values = re.findall(rb'<(?:net-file|additional-files|route-files) value="([^"]*)"', start)
    paths = [path for value in values for path in value.decode("utf-8", "replace").split(",")]
    return [Path(path.strip()).name for path in paths if path.strip()]


def _in(folder: Path, name: str) -> Path | None:
    return present(folder / name.removesuffix(".gz"))


def _map_alone(source: Path) -> Log:
    tally = Tally()
    net = read_net(source, tally)
    if not net.map.features:
        raise UnreadableFile(source, "is a network of nothing")
    tally.add("missing", "the file is a map alone: nobody drives on it")
    return map_alone(
        source,
        dataset=DATASET,
        name=_name(source),
        road_map=net.map,
        epsg=net.epsg,
        notes=tally.notes(),
        extra=net.extra(),
    )


def _name(source: Path) -> str:
    """Folder and file, for outputs of many runs are called alike."""
    stem = plain_name(source).removesuffix(".xml").removesuffix(".net")
    return f"{source.resolve().parent.name}/{stem}"


@dataclass(frozen=True, slots=True)
class _Type:
    """Class and size of a type.

    Attributes:
        v_class: SUMO's word.
        size: (length, width, height) [m].
        told: Whether a file beside declares it.
    """

    v_class: str
    size: tuple[float, float, float]
    told: bool


@dataclass(slots=True)
class _Rows:
    """Rows of a part in the making; numbers are x, y, z, angle, speed and slope as told."""

    track: array[int] = field(default_factory=lambda: array("q"))
    t_ns: array[int] = field(default_factory=lambda: array("q"))
    numbers: array[float] = field(default_factory=lambda: array("d"))


@dataclass(slots=True, kw_only=True)
class _Simulation:
    """An output on its way: who was seen so far, and under which name and type."""

    source: Path
    net: Network | None
    types: Mapping[str, _Type]
    lights: _Lights
    geo: bool
    tally: Tally
    index: dict[tuple[str, str], int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, source: Path) -> _Simulation:
        tally = Tally()
        beside = _Beside.of(source)
        net = read_net(beside.nets[0], tally) if beside.nets else None
        if net is None:
            tally.add("missing", "no network (.net.xml) lies beside")
        return cls(
            source=source, net=net, types=_types(beside.types, tally), tally=tally,
            lights=_Lights.of(beside.lights, tuple(net.links) if net else (), tally),
            geo=b'<fcd-output.geo value="true"' in head(source),
        )  # fmt: skip

    def logs(self) -> Iterator[Log | Rejected]:
        """Parts of some hundred thousand rows, cut at multiples of 60 s."""
        rows, part = _Rows(), 0
        first: Decimal | None = None
        before = -1
        period: int | None = None
        end: int | None = None
        for step in elements(self.source, {"timestep"}):
            time = _decimal(step.get("time"))
            if time is None:
                self.tally.add("dropped", "time steps without a time")
                continue
            first = time if first is None else first
            t_ns = int((time - first) * 1_000_000_000)
            if not before < t_ns < END_OF_TIME_NS:
                self.tally.add("dropped", "time steps that do not ascend", 1)
                continue
            if before >= 0:
                period = t_ns - before if period is None else min(period, t_ns - before)
            if end is None and len(rows.track) > PART_ROWS:
                end = (before // PART_NS + 1) * PART_NS
            if end is not None and t_ns >= end:
                yield self._log(rows, part, first, period, until=end, more=True)
                rows, part, end = _Rows(), part + 1, None
            before = t_ns
            self._take(step, t_ns, rows)
        if first is None or (not rows.track and not part):
            notes = self.tally.notes()
            yield Rejected(record="", reason="nobody drives in the output", notes=notes)
            return
        yield self._log(rows, part, first, period, until=None, more=False)

    def _take(self, step: etree._Element, t_ns: int, rows: _Rows) -> None:
        for thing in step:
            if not isinstance(thing.tag, str):
                continue
            get = thing.attrib.get
            name, kind = str(get("id", "")), str(thing.tag)
            key = (kind, name)
            track = self.index.get(key)
            if track is None:
                track = self.index[key] = len(self.names)
                # A person may bear the id of a vehicle.
                self.names.append(name if name not in self.seen else f"{kind}:{name}")
                self.seen.add(name)
                self.words.append(str(get("type", "")))
                self.tags.append(kind)
            try:
                row = (
                    float(get("x", "nan")), float(get("y", "nan")), float(get("z", "nan")),
                    float(get("angle", "nan")), float(get("speed", "nan")),
                    float(get("slope", "nan")),
                )  # fmt: skip
            except ValueError:
                self.tally.add("dropped", "rows with a value that is no number")
                continue
            rows.track.append(track)
            rows.t_ns.append(t_ns)
            rows.numbers.extend(row)

    def _log(
        self,
        rows: _Rows,
        part: int,
        first: Decimal,
        period: int | None,
        *,
        until: int | None,
        more: bool,
    ) -> Log:
        track = np.array(rows.track, dtype=np.int64)
        told = np.array(rows.numbers, dtype=np.float64).reshape(-1, 6)
        xy = self._plane(told[:, :2])
        yaw = wrap(np.pi / 2.0 - np.deg2rad(told[:, 3]))
        types = [self._type(k) for k in range(len(self.names))]
        of_track = np.array([kind.size for kind in types]).reshape(-1, 3)
        size = of_track[track]
        here = np.unique(track)
        guessed = sum(not types[k].told for k in here)
        reason = "sizes that no file beside tells are SUMO's defaults of the class"
        self.tally.add("guessed", reason, guessed)
        drives = np.array([tag == "vehicle" for tag in self.tags])[track]
        slope = np.deg2rad(np.nan_to_num(told[:, 5]))
        half = np.where(drives, size[:, 0] / 2.0, 0.0)
        z = np.nan_to_num(told[:, 2]) - np.where(
            np.isfinite(told[:, 2]), half * np.sin(slope), 0.0
        )
        xyz = np.column_stack([xy - half[:, None] * unit(yaw), z])
        if not part:
            self.tally.add("dropped", f"attributes, where told: {', '.join(LEFT_OUT)}")
            if not np.isfinite(told[:, 2]).any():
                self.tally.add("missing", "positions have no z", len(here))
        agents = observations(
            track=track, t_ns=np.array(rows.t_ns, dtype=np.int64), xyz=xyz, yaw=yaw, size=size,
            velocity=told[:, 4:5] * unit(yaw), names=self.names, source_cls=self.words,
            cls=[CLASSES.get(kind.v_class, AgentClass.VEHICLE) for kind in types],
            tally=self.tally,
        )  # fmt: skip
        lights = self._lights(first, rows.t_ns[0] if part else None, until)
        notes = self.tally.notes()
        self.tally.counts.clear()
        net = self.net
        return Log(
            dataset=DATASET,
            source_log_id=_name(self.source),
            source_uri=str(self.source),
            rate_hz=1e9 / period if period else 1.0,
            ego=None,
            agents=agents,
            map=net.map if net else RoadMap.none(),
            lights=lights,
            epsg=net.epsg if net else None,
            notes=notes,
            extra={"first_time_s": float(first), **(net.extra() if net else {})},
            part=part,
            more=more,
        )

    def _plane(self, told: Float[Array, "rows 2"]) -> Float[Array, "rows 2"]:
        """The network's coordinates, also of an output in degrees."""
        if not self.geo:
            return told
        from pyproj import Proj
        from pyproj.exceptions import ProjError

        location = self.net.location if self.net else {}
        try:
            x, y = Proj(location["projParameter"])(told[:, 0], told[:, 1])
            offset = [float(part) for part in location["netOffset"].split(",")]
        except (KeyError, ValueError, ProjError) as error:
            raise UnreadableFile(
                self.source,
                "has coordinates in degrees, and no network with a projection lies beside",
                hint="Put its .net.xml beside, or write the output without --fcd-output.geo.",
            ) from error
        return np.column_stack([x, y]) + np.array(offset[:2])

    def _type(self, track: int) -> _Type:
        """What is known of a track's type; a type of one vehicle is called ``type@vehicle``."""
        word = self.words[track]
        found = self.types.get(word) or self.types.get(word.split("@", 1)[0])
        if found is not None:
            return found
        kind = DEFAULT_TYPES.get(word)
        if kind is None:
            kind = {"person": "pedestrian", "container": "container"}.get(
                self.tags[track], "passenger"
            )
        return _Type(kind, SIZES[kind], told=False)

    def _lights(self, first: Decimal, begin: int | None, until: int | None) -> LightStates:
        return self.lights.between(first, 0 if begin is None else begin, until)


def _types(paths: list[Path], tally: Tally) -> dict[str, _Type]:
    """Types that route and additional files declare, in distributions too."""
    types: dict[str, _Type] = {}
    for path in paths:
        for element in elements(path, {"vType", "vTypeDistribution"}):
            told = element.iterfind("vType") if element.tag == "vTypeDistribution" else [element]
            for kind in told:
                v_class = kind.get("vClass", "passenger")
                usual = SIZES.get(v_class, SIZES["passenger"])
                words = [kind.get(name) for name in ("length", "width", "height")]
                try:
                    size = [
                        u if w is None else float(w) for u, w in zip(usual, words, strict=True)
                    ]
                except ValueError:
                    tally.add("dropped", "types with a size that is no number")
                    continue
                types[kind.get("id", "")] = _Type(
                    v_class, (size[0], size[1], size[2]), told=words[0] is not None
                )
    return types


@dataclass(frozen=True, slots=True, eq=False)
class _Lights:
    """Changes of what lights show, over the whole simulation.

    Attributes:
        time: Ascending, simulated [s].
        light: Its id.
        state: A letter for each of its links.
        links: By light.
    """

    time: list[Decimal]
    light: list[str]
    state: list[str]
    links: Mapping[str, list[Link]]

    @classmethod
    def of(cls, paths: list[Path], links: tuple[Link, ...], tally: Tally) -> _Lights:
        by_light: dict[str, list[Link]] = {}
        for link in links:
            by_light.setdefault(link.light, []).append(link)
        told: list[tuple[Decimal, str, str]] = []
        for path in paths:
            shown: dict[str, str] = {}
            for element in elements(path, {"tlsState"}):
                time, light = _decimal(element.get("time")), element.get("id", "")
                state = element.get("state", "")
                if time is None or light not in by_light:
                    tally.add("dropped", "states of lights that the network does not have")
                elif shown.get(light) != state:
                    shown[light] = state
                    told.append((time, light, state))
        told.sort(key=lambda change: change[0])
        silent = len(by_light.keys() - {light for _, light, _ in told})
        tally.add("missing", "lights of the network whose states are not told", silent)
        return cls(
            [t for t, _, _ in told], [i for _, i, _ in told], [s for _, _, s in told], by_light
        )

    def between(self, first: Decimal, begin: int, until: int | None) -> LightStates:
        """Changes within a stretch, and at its begin what was shown already [ns]."""
        shown: dict[str, str] = {}
        rows: list[tuple[int, str, str]] = []
        opened = False
        for time, light, state in zip(self.time, self.light, self.state, strict=True):
            t_ns = int((time - first) * 1_000_000_000)
            if until is not None and t_ns >= until:
                break
            if t_ns > begin and not opened:
                rows += [(begin, *pair) for pair in shown.items()]
                opened = True
            if t_ns > begin:
                rows.append((t_ns, light, state))
            shown[light] = state
        if not opened:
            rows += [(begin, *pair) for pair in shown.items()]
        return self._of_lanes(rows)

    def _of_lanes(self, rows: list[tuple[int, str, str]]) -> LightStates:
        lanes: list[str] = []
        times: list[int] = []
        letters: list[str] = []
        stops: list[tuple[float, float, float]] = []
        for t_ns, light, state in rows:
            for link in self.links[light]:
                if link.index < len(state):
                    lanes.append(link.lane)
                    times.append(t_ns)
                    letters.append(state[link.index])
                    stops.append(link.stop)
        if not lanes:
            return LightStates.none()
        shown = [LIGHTS.get(letter, (LightState.UNKNOWN, False, False)) for letter in letters]
        return LightStates(
            source_lane_id=lanes,
            t_ns=np.array(times, dtype=np.int64),
            state=np.array([state for state, _, _ in shown], dtype=np.int64),
            source_state=letters,
            arrow=np.array([arrow for _, arrow, _ in shown]),
            flashing=np.array([flashing for _, _, flashing in shown]),
            stop_xyz=np.array(stops),
        )


def _decimal(text: str | None) -> Decimal | None:
    try:
        value = Decimal(text or "")
    except InvalidOperation:
        return None
    return value if value.is_finite() else None
