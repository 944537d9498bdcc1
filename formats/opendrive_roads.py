"""Roads of an OpenDRIVE file as they are written: reference lines, lanes, links, signals, objects.

ASAM OpenDRIVE 1.4 to 1.8. Along a road, s counts metres and t metres to the left of its reference
line. Lanes are numbered from the centre, 1, 2, … to the left and −1, −2, … to the right; each lane
section has its own. With right-hand traffic (``rule="RHT"``) the right lanes run along s and the
left ones against it, with left-hand traffic the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from formats.opendrive_curves import (
    Piece,
    Profile,
    ReferenceLine,
    arc,
    cubic,
    line,
    spiral,
)
from formats.speeds import metres_per_second
from formats.tally import Tally
from formats.xml_file import read_xml
from geometry.arrays import Array

START, END = "start", "end"


class Malformed(ValueError):
    """An element that lacks what it must have; the message says which."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A road mark on the outer border of a lane, from a station of its section on."""

    s: float
    kind: str
    words: str


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """One lane of one section.

    Attributes:
        lane_id: Positive to the left of the centre, which is 0.
        kind: The file's word for its type.
        width: Over s of the road, from the inner border; empty where ``border`` tells.
        border: Distance of the outer border from the lane reference line.
        level: Whether it stays level where the road is superelevated.
        before: Lanes that it comes from, against s: of the section or road before.
        after: Lanes that it goes on to, along s.
        direction: ``standard``, ``reversed`` or ``both``.
        marks: Ascending.
        speeds: (s of the road, limit [m/s] or None where there is none).
    """

    lane_id: int
    kind: str
    width: Profile
    border: Profile
    level: bool
    before: Sequence[int]
    after: Sequence[int]
    direction: str
    marks: Sequence[Mark]
    speeds: Sequence[tuple[float, float | None]]


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """Lanes that stay the same in number from ``begin`` to ``end`` [m]."""

    begin: float
    end: float
    lanes: Mapping[int, Lane]

    def ordered(self) -> list[int]:
        """Lane ids from left to right, without the centre."""
        return sorted((i for i in self.lanes if i), reverse=True)


@dataclass(frozen=True, slots=True)
class RoadLink:
    """What a road touches at one of its ends: ``road`` with its contact, or ``junction``."""

    kind: str
    target: str
    contact: str


@dataclass(frozen=True, slots=True, eq=False)
class Road:
    """One road.

    Attributes:
        road_id: Verbatim.
        name: Verbatim.
        junction: Id of the junction that it connects through; empty for others.
        length: As the file says [m].
        left_hand: Whether traffic keeps left.
        reference: In the plane.
        elevation: Height over s [m].
        superelevation: Roll over s, positive where the road falls to the right [rad].
        offset: Of the lane reference line from the reference line [m].
        kinds: (s, type of the road, speed limit [m/s] or None).
        sections: Ascending.
        before: What it touches at its start.
        after: What it touches at its end.
        element: The XML of it, for signals and objects.
    """

    road_id: str
    name: str
    junction: str
    length: float
    left_hand: bool
    reference: ReferenceLine
    elevation: Profile
    superelevation: Profile
    offset: Profile
    kinds: Sequence[tuple[float, str, float | None]]
    sections: Sequence[Section]
    before: RoadLink | None
    after: RoadLink | None
    element: Any = field(repr=False)

    def point(
        self, s: Float[Array, " many"], t: Float[Array, "*lines many"], *, level: bool = False
    ) -> Float[Array, "*lines many 3"]:
        """Points at road coordinates, world frame [m].

        Args:
            s: Along the reference line [m].
            t: To its left [m].
            level: Not tilted by the superelevation.
        """
        xy, heading = self.reference.at(s)
        roll = np.zeros(len(s)) if level else self.superelevation.at(s)
        flat = t * np.cos(roll)
        x = xy[:, 0] - flat * np.sin(heading)
        y = xy[:, 1] + flat * np.cos(heading)
        return np.stack([x, y, self.elevation.at(s) + t * np.sin(roll)], axis=-1)

    def heading(self, s: float) -> float:
        """Of the reference line at a station [rad]."""
        return float(self.reference.at(np.array([s]))[1][0])

    def section_at(self, s: float) -> Section:
        """The section that a station lies in; beyond the ends, the outermost."""
        return next((one for one in reversed(self.sections) if one.begin <= s), self.sections[0])

    def borders(
        self, section: Section, s: Float[Array, " many"]
    ) -> dict[int, Float[Array, " many"]]:
        """Each lane's outer border as t over some stations of a section; of 0, the centre."""
        centre = self.offset.at(s, until=section.end)
        found = {0: centre}
        for side in (1, -1):
            edge = centre
            for lane_id in sorted((i for i in section.lanes if i * side > 0), key=abs):
                lane = section.lanes[lane_id]
                if lane.width or not lane.border:
                    width = np.maximum(lane.width.at(s, until=section.end), 0.0)
                    edge = edge + side * width
                else:
                    edge = centre + side * np.abs(lane.border.at(s, until=section.end))
                found[lane_id] = edge
        return found

    def inner(self, section: Section, lane_id: int) -> int:
        """The lane whose outer border is this one's inner border."""
        side = 1 if lane_id > 0 else -1
        nearer = [i for i in section.lanes if 0 < i * side < lane_id * side]
        return max(nearer, key=abs, default=0)

    def lane_middle(self, section: Section, lane_id: int, s: float) -> float:
        """T of the middle of a lane [m]; of lane 0, of the lane reference line."""
        borders = self.borders(section, np.array([s]))
        if lane_id == 0:
            return float(borders[0][0])
        return float((borders[lane_id] + borders[self.inner(section, lane_id)])[0] / 2.0)

    def runs_along(self, lane: Lane) -> bool:
        """Whether traffic on a lane runs along s."""
        standard = (lane.lane_id < 0) != self.left_hand
        return standard != (lane.direction == "reversed")

    def limit(self, section: Section, lane: Lane) -> tuple[float | None, bool]:
        """The lowest speed limit on a lane of a section [m/s], and whether it changes there."""
        own = [v for _, v in _within(lane.speeds, section)]
        road = [v for _, v in _within([(s, v) for s, _, v in self.kinds], section)]
        told = own or road
        limits = [v for v in told if v is not None]
        return min(limits, default=None), len(set(told)) > 1

    def kind_at(self, s: float) -> str:
        """The road's type at a station, such as ``motorway``; empty if the file tells none."""
        return next((word for start, word, _ in reversed(self.kinds) if start <= s), "")


def _within(
    told: Sequence[tuple[float, float | None]], section: Section
) -> list[tuple[float, float | None]]:
    """What holds at a section's begin, and what begins within it."""
    earlier = [one for one in told if one[0] <= section.begin + 1e-9]
    return earlier[-1:] + [one for one in told if section.begin + 1e-9 < one[0] < section.end]


@dataclass(frozen=True, slots=True)
class Connection:
    """How one road goes on to another in a junction."""

    incoming: str
    connecting: str
    contact: str
    lanes: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True, eq=False)
class OpenDrive:
    """A file.

    Attributes:
        roads: By id.
        connections: By junction.
        header: Version, name, geoReference, offset, … as in the file.
        controllers: Signals by controller.
    """

    roads: Mapping[str, Road]
    connections: Mapping[str, Sequence[Connection]]
    header: Mapping[str, Any]
    controllers: Mapping[str, Sequence[str]]


def read_roads(path: Path, tally: Tally) -> OpenDrive:
    """The roads of a file; one that makes no sense is left out, and noted.

    Raises:
        UnreadableFile: It is no OpenDRIVE file.
    """
    root = read_xml(path, "OpenDRIVE")
    roads: dict[str, Road] = {}
    for element in root.iterchildren("road"):
        name = element.get("id", "")
        try:
            road = _road(element, tally)
        except Malformed as error:
            tally.add("dropped", f"roads that make no sense ({error})")
            continue
        if name in roads:
            tally.add("dropped", "roads whose id another bears already")
            continue
        roads[name] = road
    junctions: dict[str, list[Connection]] = {}
    for element in root.iterchildren("junction"):
        junctions.setdefault(element.get("id", ""), []).extend(_connections(element, tally))
    controllers = {
        element.get("id", ""): [c.get("signalId", "") for c in element.iterchildren("control")]
        for element in root.iterchildren("controller")
    }
    return OpenDrive(roads, junctions, _header(root), controllers)


def number(element: Any, name: str, default: float | None = None) -> float:
    """An attribute as a finite number.

    Raises:
        Malformed: It is not there and has no default, or is no finite number.
    """
    text = element.get(name)
    if text is None or not text.strip():
        if default is None:
            raise Malformed(f"<{element.tag}> lacks {name}")
        return default
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise Malformed(f"{name} of <{element.tag}> is `{text}`, not a number")
    return value


def whole(element: Any, name: str, default: int | None = None) -> int:
    """An attribute as a whole number.

    Raises:
        Malformed: As :func:`number`, or it has a fraction.
    """
    value = number(element, name, None if default is None else float(default))
    if value != int(value):
        raise Malformed(f"{name} of <{element.tag}> is {value}, not a whole number")
    return int(value)


def _header(root: Any) -> dict[str, Any]:
    header = root.find("header")
    if header is None:
        return {}
    told = {
        k: header.get(k) for k in ("revMajor", "revMinor", "name", "version", "date", "vendor")
    }
    made: dict[str, Any] = {k: v for k, v in told.items() if v}
    reference = (header.findtext("geoReference") or "").strip()
    if reference:
        made["geoReference"] = reference
    offset = header.find("offset")
    if offset is not None:
        made["offset"] = {k: offset.get(k) for k in ("x", "y", "z", "hdg") if offset.get(k)}
    return made


def _road(element: Any, tally: Tally) -> Road:
    length = number(element, "length")
    reference = _reference(element)
    if not reference.pieces or reference.length <= 0.0:
        raise Malformed("no reference line")
    if abs(reference.length - length) > 0.01:
        tally.add("guessed", "roads of another length than their reference line: the line counts")
    length = reference.length
    link = element.find("link")
    lanes = element.find("lanes")
    if lanes is None:
        raise Malformed("no lanes")
    if element.find("lateralProfile/crossfall") is not None:
        tally.add("dropped", "crossfall of roads (their lanes lie level)")
    if element.find("lateralProfile/shape") is not None:
        tally.add("dropped", "cross-section shapes of roads (their lanes lie level)")
    return Road(
        road_id=element.get("id", ""),
        name=element.get("name", ""),
        junction="" if element.get("junction", "-1") == "-1" else element.get("junction", ""),
        length=length,
        left_hand=element.get("rule", "RHT").upper() == "LHT",
        reference=reference,
        elevation=_profile(element.iterfind("elevationProfile/elevation"), "s"),
        superelevation=_profile(element.iterfind("lateralProfile/superelevation"), "s"),
        offset=_profile(lanes.iterchildren("laneOffset"), "s"),
        kinds=_kinds(element, tally),
        sections=_sections(lanes, length, tally),
        before=_road_link(link, "predecessor"),
        after=_road_link(link, "successor"),
        element=element,
    )


def _reference(element: Any) -> ReferenceLine:
    pieces = []
    for geometry in element.iterfind("planView/geometry"):
        length = number(geometry, "length")
        if length <= 0.0:
            continue
        start = (number(geometry, "x"), number(geometry, "y"), number(geometry, "hdg"))
        shape = next((child for child in geometry if child.tag != "userData"), None)
        local = line() if shape is None else _shape(shape, length)
        pieces.append(Piece(number(geometry, "s"), start, length, local))
    return ReferenceLine(sorted(pieces, key=lambda piece: piece.s))


def _shape(shape: Any, length: float) -> Callable[[Array], tuple[Array, Array, Array]]:
    if shape.tag == "line":
        return line()
    if shape.tag == "arc":
        return arc(number(shape, "curvature"))
    if shape.tag == "spiral":
        return spiral(number(shape, "curvStart"), number(shape, "curvEnd"), length)
    if shape.tag == "poly3":
        v = [number(shape, key, 0.0) for key in "abcd"]
        return cubic((0.0, 1.0, 0.0, 0.0), v, length, last=None)
    if shape.tag == "paramPoly3":
        u = [number(shape, key, 0.0) for key in ("aU", "bU", "cU", "dU")]
        v = [number(shape, key, 0.0) for key in ("aV", "bV", "cV", "dV")]
        by_length = shape.get("pRange") == "arcLength"
        return cubic(u, v, length, last=length if by_length else 1.0)
    raise Malformed(f"a geometry of kind <{shape.tag}>")


def _profile(records: Iterator[Any], place: str, shift: float = 0.0) -> Profile:
    return Profile.of(
        [
            (
                number(r, place, 0.0) + shift, number(r, "a", 0.0), number(r, "b", 0.0),
                number(r, "c", 0.0), number(r, "d", 0.0),
            )
            for r in records
        ]
    )  # fmt: skip


def _kinds(element: Any, tally: Tally) -> list[tuple[float, str, float | None]]:
    found = []
    for kind in element.iterchildren("type"):
        speed = kind.find("speed")
        limit = None if speed is None else _speed(speed, tally)
        found.append((number(kind, "s", 0.0), kind.get("type", ""), limit))
    return sorted(found, key=lambda one: one[0])


def _speed(speed: Any, tally: Tally) -> float | None:
    text = speed.get("max", "")
    if text in ("", "no limit", "undefined"):
        return None
    limit = metres_per_second(f"{text} {speed.get('unit', '')}", default="m/s")
    if limit is None:
        tally.add("dropped", "speed limits that are not understood")
    return limit


def _sections(lanes: Any, length: float, tally: Tally) -> list[Section]:
    elements = sorted(lanes.iterchildren("laneSection"), key=lambda e: number(e, "s"))
    begins = [max(number(element, "s"), 0.0) for element in elements]
    made = []
    for element, begin, end in zip(elements, begins, [*begins[1:], length], strict=False):
        found: dict[int, Lane] = {}
        for lane in element.iterfind("*/lane"):
            one = _lane(lane, begin, tally)
            if one.lane_id in found:
                tally.add("dropped", "lanes whose id another of the section bears already")
            found.setdefault(one.lane_id, one)
        made.append(Section(begin, max(end, begin), found))
    if not made:
        raise Malformed("no lane section")
    return made


def _lane(lane: Any, begin: float, tally: Tally) -> Lane:
    link = lane.find("link")
    if lane.find("height") is not None:
        tally.add("dropped", "heights of lanes above the road, such as of kerbs")
    marks = [
        Mark(begin + number(mark, "sOffset", 0.0), mark.get("type", ""), _mark_words(mark))
        for mark in lane.iterchildren("roadMark")
    ]
    speeds = [
        (begin + number(speed, "sOffset", 0.0), _speed(speed, tally))
        for speed in lane.iterchildren("speed")
    ]
    return Lane(
        lane_id=whole(lane, "id"),
        kind=lane.get("type", ""),
        width=_profile(lane.iterchildren("width"), "sOffset", begin),
        border=_profile(lane.iterchildren("border"), "sOffset", begin),
        level=lane.get("level", "false") == "true",
        before=_lane_link(link, "predecessor"),
        after=_lane_link(link, "successor"),
        direction=lane.get("direction", "standard"),
        marks=sorted(marks, key=lambda mark: mark.s),
        speeds=sorted(speeds, key=lambda one: one[0]),
    )


def _lane_link(link: Any, tag: str) -> list[int]:
    return [] if link is None else [whole(one, "id") for one in link.iterchildren(tag)]


def _mark_words(mark: Any) -> str:
    """Type and colour as the file has them, then every other attribute as ``key=value``."""
    others = (f"{k}={v}" for k, v in mark.attrib.items() if k not in ("sOffset", "type", "color"))
    return " ".join(word for word in (mark.get("type"), mark.get("color"), *others) if word)


def _road_link(link: Any, tag: str) -> RoadLink | None:
    found = None if link is None else link.find(tag)
    if found is None:
        return None
    return RoadLink(
        found.get("elementType", "road"), found.get("elementId", ""),
        found.get("contactPoint", START),
    )  # fmt: skip


def _connections(junction: Any, tally: Tally) -> Iterator[Connection]:
    if junction.get("type") == "virtual":
        tally.add("dropped", "virtual junctions, whose paths leave a road midway")
        return
    for connection in junction.iterchildren("connection"):
        connecting = connection.get("connectingRoad") or connection.get("linkedRoad")
        if not connecting or not connection.get("incomingRoad"):
            tally.add("dropped", "connections of junctions that lack a road")
            continue
        try:
            lanes = [
                (whole(i, "from"), whole(i, "to")) for i in connection.iterchildren("laneLink")
            ]
        except Malformed as error:
            tally.add("dropped", f"connections of junctions that make no sense ({error})")
            continue
        yield Connection(
            connection.get("incomingRoad"),
            connecting,
            connection.get("contactPoint", START),
            lanes,
        )
