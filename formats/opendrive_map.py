"""OpenDRIVE maps, versions 1.4 to 1.8, as features with their graph.

Each lane of each lane section becomes one feature, named ``road/section/lane``, in its direction of
travel, sampled so densely that it lies within a centimetre of the file's curves. Lanes are linked
within roads, between roads, and through the connections of junctions. Road marks become lines,
crosswalks, parking spaces, stop lines and signals features of their own, and what a signal applies
to is said by its validity and orientation. :mod:`formats.opendrive_roads` says what the file holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from formats.files import plain_name, recognised
from formats.map_alone import map_alone
from formats.map_draft import MapDraft
from formats.opendrive_curves import sampled
from formats.opendrive_roads import (
    END,
    START,
    Malformed,
    OpenDrive,
    Road,
    RoadLink,
    Section,
    number,
    read_roads,
    whole,
)
from formats.registry import Rejected
from formats.tally import Tally
from formats.tree import matching
from formats.xml_file import begins_with
from geometry.arrays import Array
from schemas.errors import UnreadableFile
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import Log, Note, RoadMap

DATASET = "opendrive"
NO_WIDTH_M = 0.01  # lanes that are nowhere wider are not there
SHORTEST_M = 1e-3  # sections below have no lanes worth the name
CIRCLE = np.linspace(0.0, 2.0 * np.pi, 16, endpoint=False)
REPEATS = 100_000  # objects that one <repeat> may stand for; beyond, it is a mistake

LANE_TYPES = {
    "driving": LaneType.VEHICLE, "bidirectional": LaneType.VEHICLE,
    "entry": LaneType.VEHICLE, "exit": LaneType.VEHICLE,
    "onRamp": LaneType.VEHICLE, "offRamp": LaneType.VEHICLE,
    "connectingRamp": LaneType.VEHICLE, "slipLane": LaneType.VEHICLE,
    "mwyEntry": LaneType.FREEWAY, "mwyExit": LaneType.FREEWAY,
    "HOV": LaneType.VEHICLE, "taxi": LaneType.BUS, "bus": LaneType.BUS,
    "biking": LaneType.BIKE, "sidewalk": LaneType.SIDEWALK, "walking": LaneType.SIDEWALK,
    "shoulder": LaneType.SHOULDER, "stop": LaneType.SHOULDER,
    "tram": LaneType.OTHER, "rail": LaneType.OTHER, "roadWorks": LaneType.OTHER,
    "restricted": LaneType.OTHER, "special1": LaneType.OTHER, "special2": LaneType.OTHER,
    "special3": LaneType.OTHER,
}  # fmt: skip
"""Types of lanes that are lanes; others (border, median, kerb, none, …) are strips of ground."""
ROADWAY = frozenset(
    {LaneType.VEHICLE, LaneType.FREEWAY, LaneType.BUS, LaneType.BIKE, LaneType.SHOULDER}
)
"""Lanes whose outer side is the road's edge where nothing of the kind follows."""
DRIVEN = frozenset({LaneType.VEHICLE, LaneType.FREEWAY, LaneType.BUS})
"""Lanes that signals are for, unless their validity says otherwise."""
STRIPS = {"parking": MapLayer.PARKING}
OBJECTS = {
    "crosswalk": MapLayer.CROSSWALK,
    "parkingspace": MapLayer.PARKING,
    "stopline": MapLayer.STOP_LINE,
    "speedbump": MapLayer.SPEED_BUMP,
    "barrier": MapLayer.ROAD_EDGE,
    "railing": MapLayer.ROAD_EDGE,
    "soundbarrier": MapLayer.ROAD_EDGE,
    "guardrail": MapLayer.ROAD_EDGE,
    "wall": MapLayer.ROAD_EDGE,
}
"""By type, subtype or name of an object, in lower case and without spaces and dashes."""
LIGHTS = re.compile(r"10000(0[1-9]|1\d)")
"""Signal types of the standard's own catalogue that are lights."""
CROSSWALK_SIGNAL, STOP_LINE_SIGNAL = "1000003", "294"
"""Painted signs that VTD writes as signals: a crosswalk, and a stop line (German sign 294)."""
STOP_SIGNS = frozenset({"206", "R1-1", "r1-1"})


def sources(path: Path) -> Iterator[Path]:
    """``*.xodr`` files whose root is ``OpenDRIVE``, and broken ones beside them."""
    yield from recognised(
        matching(path, "*.xodr", "*.XODR"), lambda file: begins_with(file, b"OpenDRIVE")
    )


def files(source: Path) -> Iterator[Path]:
    """The file itself."""
    yield source


def read(source: Path) -> Iterator[Log | Rejected]:
    """A log without anyone in it: the map alone.

    Raises:
        UnreadableFile: As :func:`load`.
    """
    loaded = load(source)
    yield map_alone(
        source,
        dataset=DATASET,
        name=f"{source.parent.name}/{loaded.map.source_map_id}",
        road_map=loaded.map,
        epsg=loaded.epsg,
        notes=loaded.notes,
        extra=loaded.extra,
    )


def read_map(path: Path) -> tuple[RoadMap, list[Note]]:
    """A map for the reader of what happened on it.

    Raises:
        UnreadableFile: As :func:`load`.
    """
    loaded = load(path)
    return loaded.map, list(loaded.notes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenDriveMap:
    """A map with all that is known of it.

    Attributes:
        map: In the file's inertial frame.
        notes: What could not be carried over.
        epsg: Of that frame, where the file's projection has a code and nothing is moved.
        extra: Header, signals with their lanes, and controllers.
        roads: The file, for road coordinates.
    """

    map: RoadMap
    notes: Sequence[Note]
    epsg: int | None
    extra: dict[str, Any]
    roads: OpenDrive


def load(path: Path) -> OpenDriveMap:
    """A map, its roads, and its place on earth.

    Raises:
        UnreadableFile: It is no OpenDRIVE file, or has no road that makes sense.
    """
    tally = Tally()
    roads = read_roads(path, tally)
    if not roads.roads:
        reasons = "; ".join(note.reason for note in tally.notes())
        raise UnreadableFile(path, f"holds no road ({reasons})" if reasons else "holds no road")
    reading = _Reading(roads, tally)
    name = plain_name(path)
    extra: dict[str, Any] = {"header": dict(roads.header)}
    if reading.signals:
        extra["signals"] = reading.signals
    if roads.controllers:
        extra["controllers"] = {k: list(v) for k, v in roads.controllers.items()}
    return OpenDriveMap(
        map=reading.draft.road_map(name.rsplit(".", 1)[0]),
        notes=tally.notes(),
        epsg=_epsg(roads.header),
        extra=extra,
        roads=roads,
    )


def _epsg(header: Any) -> int | None:
    """The projection's code, where the coordinates are the projection's own."""
    reference = header.get("geoReference", "")
    moved = any(float(v) != 0.0 for v in header.get("offset", {}).values() if _is_number(v))
    if not reference or moved:
        return None
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        crs = CRS.from_user_input(reference)
        # Parameters that a code does not have, such as +lat_0 for UTM, are no reason against it.
        found = crs.to_epsg(min_confidence=70)
    except CRSError:
        return None
    return None if found is None else int(found)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Strip:
    """A lane of a section as it lies: its stations and its place among the features.

    Attributes:
        index: Feature; the lane against the usual direction of one that runs both ways is ``twin``.
        along: Whether it runs along s.
    """

    index: int
    along: bool
    lane_type: LaneType
    twin: int | None = None


Place = tuple[str, int, int]
"""Road, number of its section, lane."""


class _Reading:
    """Features and edges of one file."""

    def __init__(self, roads: OpenDrive, tally: Tally) -> None:
        self.roads, self.tally = roads, tally
        self.draft = MapDraft(tally)
        self.strips: dict[Place, _Strip] = {}
        self.signals: dict[str, dict[str, Any]] = {}
        lines: list[tuple[Road, int, Array, dict[int, Array]]] = []
        for road in roads.roads.values():
            for number_, section in enumerate(road.sections):
                if section.end - section.begin < SHORTEST_M:
                    self.tally.add("dropped", "lane sections without length")
                    continue
                stations, borders = _drawn(road, section)
                self._add_lanes(road, number_, borders)
                lines.append((road, number_, stations, borders))
        for road, number_, stations, borders in lines:
            self._add_marks(road, number_, stations, borders)
            self._add_road_edges(road, number_, borders)
        for road in roads.roads.values():
            self._add_links(road)
            self._add_neighbours(road)
        self._add_junctions()
        for road in roads.roads.values():
            for element in road.element.iterfind("objects/object"):
                self._guarded(self._add_object, road, element)
            for element in road.element.iterfind("signals/signal"):
                self._guarded(self._add_signal, road, element)
            for element in road.element.iterfind("signals/signalReference"):
                self._guarded(self._refer_to_signal, road, element)
            for kind in ("tunnel", "bridge"):
                there = len(road.element.findall(f"objects/{kind}"))
                self.tally.add("dropped", f"{kind}s, which are no features", there)
            if road.element.find("surface/CRG") is not None:
                self.tally.add("dropped", "surfaces of roads (CRG)")

    # Lanes ----------------------------------------------------------------------------------------

    def _add_lanes(self, road: Road, section_number: int, borders: dict[int, Array]) -> None:
        section = road.sections[section_number]
        for lane_id in section.ordered():
            lane = section.lanes[lane_id]
            outer, inner = borders[lane_id], borders[road.inner(section, lane_id)]
            if not _wide(outer, inner):
                self.tally.add("dropped", "lanes that are nowhere wider than 1 cm")
                continue
            name = f"{road.road_id}/{section_number}/{lane_id}"
            left, right = (outer, inner) if lane_id > 0 else (inner, outer)
            kind = LANE_TYPES.get(lane.kind)
            if kind is LaneType.VEHICLE and road.kind_at(section.begin) == "motorway":
                kind = LaneType.FREEWAY
            if kind is None:
                layer = STRIPS.get(lane.kind, MapLayer.OTHER)
                outline = np.concatenate([left, right[::-1]])
                index = self.draft.add(layer, name, outline, source_type=lane.kind)
                self.strips[road.road_id, section_number, lane_id] = _Strip(
                    index, lane_id < 0, LaneType.UNKNOWN
                )
                continue
            middle = (left + right) / 2.0
            along = road.runs_along(lane)
            limit, changes = road.limit(section, lane)
            self.tally.add("guessed", "speed limits that change along a lane: the lowest is taken",
                           changes)  # fmt: skip
            both = lane.direction == "both" or lane.kind == "bidirectional"
            made = []
            for forward in (along, not along) if both else (along,):
                turned = slice(None) if forward else slice(None, None, -1)
                made.append(
                    self.draft.add(
                        MapLayer.LANE,
                        name + "~" * (forward != along),
                        middle[turned],
                        left=(left if forward else right)[turned],
                        right=(right if forward else left)[turned],
                        lane_type=kind,
                        source_type=lane.kind,
                        speed_limit=limit,
                        in_intersection=bool(road.junction),
                    )
                )
            self.tally.add("renamed", "lanes for both directions are two, `<id>~` is the other one",
                           both)  # fmt: skip
            self.strips[road.road_id, section_number, lane_id] = _Strip(
                made[0], along, kind, made[1] if both else None
            )

    def _add_neighbours(self, road: Road) -> None:
        for section_number, section in enumerate(road.sections):
            for left_id, right_id in pairwise(section.ordered()):
                left = self._lane((road.road_id, section_number, left_id))
                right = self._lane((road.road_id, section_number, right_id))
                if left is None or right is None:
                    continue
                if left.along != right.along:
                    self.tally.add("dropped", "neighbours in the opposite direction are no edges")
                elif left.along:
                    self.draft.beside(left.index, right.index)
                else:
                    self.draft.beside(right.index, left.index)

    def _lane(self, place: Place) -> _Strip | None:
        strip = self.strips.get(place)
        return None if strip is None or strip.lane_type is LaneType.UNKNOWN else strip

    # Links ----------------------------------------------------------------------------------------

    def _add_links(self, road: Road) -> None:
        """Lanes of a road that go on within it, and into the roads at its ends."""
        last = len(road.sections) - 1
        for section_number, section in enumerate(road.sections):
            for lane in section.lanes.values():
                here = (road.road_id, section_number, lane.lane_id)
                for link, contact, step in ((lane.before, START, -1), (lane.after, END, 1)):
                    neighbour = section_number + step
                    if 0 <= neighbour <= last:
                        for target in link:
                            there = (road.road_id, neighbour, target)
                            self._join(here, contact, there, START if step > 0 else END)
                        continue
                    road_link = road.before if step < 0 else road.after
                    if road_link is not None and road_link.kind == "road":
                        for target in link:
                            self._join_road(here, contact, road_link, target)

    def _join_road(self, here: Place, contact: str, link: RoadLink, target: int) -> None:
        other = self.roads.roads.get(link.target)
        if other is None:
            self.tally.add("dropped", "links to roads that are not there")
            return
        section = 0 if link.contact == START else len(other.sections) - 1
        self._join(here, contact, (other.road_id, section, target), link.contact)

    def _join(self, here: Place, contact: str, there: Place, other_contact: str) -> None:
        """Two lanes touch with these ends; traffic goes from the one to the other."""
        one, two = self._lane(here), self._lane(there)
        if one is None or two is None:
            if there not in self.strips and there[2] and one is not None:
                self.tally.add("dropped", "links to lanes that are not there")
            return
        leaves = one.along == (contact == END)
        enters = two.along == (other_contact == START)
        if leaves and enters:
            self.draft.follow(one.index, two.index)
        elif not leaves and not enters:
            self.draft.follow(two.index, one.index)
        elif one.twin is None and two.twin is None:
            self.tally.add("dropped", "links between lanes that run against each other")
        # A lane for both directions is entered and left at either end.
        if one.twin is not None or two.twin is not None:
            outs = [i for i, ok in ((one.index, leaves), (one.twin, not leaves)) if ok]
            ins = [i for i, ok in ((two.index, enters), (two.twin, not enters)) if ok]
            self._follow_all(outs, ins)
            backs = [i for i, ok in ((two.index, not enters), (two.twin, enters)) if ok]
            fronts = [i for i, ok in ((one.index, not leaves), (one.twin, leaves)) if ok]
            self._follow_all(backs, fronts)

    def _follow_all(self, outs: Sequence[int | None], ins: Sequence[int | None]) -> None:
        for out in outs:
            for into in ins:
                if out is not None and into is not None:
                    self.draft.follow(out, into)

    def _add_junctions(self) -> None:
        """Where a road meets a junction, its lanes go on to those of the connecting roads."""
        for junction, connections in self.roads.connections.items():
            for connection in connections:
                incoming = self.roads.roads.get(connection.incoming)
                connecting = self.roads.roads.get(connection.connecting)
                if incoming is None or connecting is None:
                    self.tally.add(
                        "dropped", "connections of junctions to roads that are not there"
                    )
                    continue
                if not connection.lanes:
                    self.tally.add("missing", "connections of junctions without lane links")
                contact = _contact_at(incoming, junction, connection.connecting)
                if contact is None:
                    self.tally.add("dropped", "connections of junctions that their road misses")
                    continue
                begin = 0 if contact == START else len(incoming.sections) - 1
                end = 0 if connection.contact == START else len(connecting.sections) - 1
                for lane, target in connection.lanes:
                    self._join(
                        (incoming.road_id, begin, lane), contact,
                        (connecting.road_id, end, target), connection.contact,
                    )  # fmt: skip

    # Lines ----------------------------------------------------------------------------------------

    def _add_marks(
        self, road: Road, section_number: int, stations: Array, borders: dict[int, Array]
    ) -> None:
        """Each road mark on its border, from where it begins to where the next one does."""
        section = road.sections[section_number]
        for lane in section.lanes.values():
            ends = [*(mark.s for mark in lane.marks), section.end][1:]
            for order, (mark, end) in enumerate(zip(lane.marks, ends, strict=True)):
                begin, end = max(mark.s, section.begin), min(end, section.end)
                if mark.kind in ("", "none") or end - begin < SHORTEST_M:
                    continue
                inside = (stations > begin) & (stations < end)
                line = np.stack(
                    [
                        np.interp([begin, *stations[inside], end], stations, column)
                        for column in borders[lane.lane_id].T
                    ],
                    axis=-1,
                )
                layer = MapLayer.ROAD_EDGE if mark.kind in ("curb", "edge") else MapLayer.ROAD_LINE
                name = f"{road.road_id}/{section_number}/{lane.lane_id}/{order}"
                self.draft.add(layer, name, line, source_type=mark.words)

    def _add_road_edges(self, road: Road, section_number: int, borders: dict[int, Array]) -> None:
        """The outermost side of the carriageway, on either side of the centre."""
        section = road.sections[section_number]
        driven = [
            i for i in section.ordered() if self._is_roadway((road.road_id, section_number, i))
        ]
        if not driven or road.junction:  # within a junction, paths cross the open ground
            return
        # From left to right: outer borders, or the centre where one side has no carriageway.
        left = driven[0] if driven[0] > 0 else road.inner(section, driven[0])
        right = driven[-1] if driven[-1] < 0 else road.inner(section, driven[-1])
        for lane_id in dict.fromkeys((left, right)):
            name = f"{road.road_id}/{section_number}/{lane_id}/edge"
            self.draft.add(
                MapLayer.ROAD_EDGE, name, borders[lane_id], source_type="outermost lane border"
            )
            self.tally.add("guessed", "road edges follow from the types of lanes")

    def _is_roadway(self, place: Place) -> bool:
        strip = self._lane(place)
        return strip is not None and strip.lane_type in ROADWAY

    # Objects --------------------------------------------------------------------------------------

    def _guarded(self, add: Any, road: Road, element: Any) -> None:
        try:
            add(road, element)
        except Malformed as error:
            self.tally.add("dropped", f"signals and objects that make no sense ({error})")

    def _add_object(self, road: Road, element: Any) -> None:
        words = [element.get(key, "") for key in ("type", "subtype", "name")]
        plain = [re.sub(r"[ _-]", "", word.lower()) for word in words]
        layer = next((OBJECTS[word] for word in plain if word in OBJECTS), MapLayer.OTHER)
        source_type = " ".join(word for word in words if word)
        name = f"{road.road_id}/{element.get('id', '')}"
        repeats = element.findall("repeat")
        outlines = [*element.iterfind("outlines/outline"), *element.iterchildren("outline")]
        shapes: list[Array] = []
        for repeat in repeats:
            shapes += _repeated(road, element, repeat)
        if not repeats:
            shapes = [_outline(road, element, outline) for outline in outlines]
            shapes = [shape for shape in shapes if len(shape)] or [_box(road, element)]
        for shape in shapes:
            self.draft.add(layer, name, shape, source_type=source_type)

    # Signals --------------------------------------------------------------------------------------

    def _add_signal(self, road: Road, element: Any) -> None:
        s, t = number(element, "s"), number(element, "t")
        kind, subtype = element.get("type", ""), element.get("subtype", "")
        name = element.get("id", "")
        lanes = self._lanes_of(road, element, s)
        words = (element.get("country", ""), kind, "" if subtype == "-1" else subtype,
                 element.get("name", ""), element.get("text", ""))  # fmt: skip
        source_type = " ".join(word for word in words if word)
        value = element.get("value", "")
        if value and value != "-1" and kind != CROSSWALK_SIGNAL:
            source_type = f"{source_type} value={value}{element.get('unit', '')}"
        painted = self._painted(road, element, kind, s, t, lanes)
        if painted is not None:
            layer, points = painted
        else:
            place = road.point(np.array([s]), np.array([t]))
            place[:, 2] += number(element, "zOffset", 0.0)
            inertial = element.find("positionInertial")
            if inertial is not None:
                place = np.array([[number(inertial, axis, 0.0) for axis in "xyz"]])
            layer, points = MapLayer.SIGN, place
            if element.get("dynamic") == "yes" or (LIGHTS.fullmatch(kind) and not painted):
                layer = MapLayer.TRAFFIC_LIGHT
            elif kind in STOP_SIGNS or f"{kind}-{subtype}" in STOP_SIGNS:
                layer = MapLayer.STOP_SIGN
        index = self.draft.add(layer, name, points, source_type=source_type)
        if layer in (MapLayer.STOP_LINE, MapLayer.STOP_SIGN):
            for lane in lanes:
                self.draft.edge(index, EdgeKind.STOP_LINE_OF_LANE, lane)
        self.signals.setdefault(name, {
            "road": road.road_id, "type": kind, "subtype": subtype, "name": element.get("name", ""),
            "lanes": [self.draft.features[lane].source_id for lane in lanes],
        })  # fmt: skip

    def _refer_to_signal(self, road: Road, element: Any) -> None:
        """A signal that stands by another road applies to lanes of this one too."""
        known = self.signals.get(element.get("id", ""))
        if known is None:
            self.tally.add("dropped", "references to signals that are not there")
            return
        lanes = self._lanes_of(road, element, number(element, "s"))
        known["lanes"] += [self.draft.features[lane].source_id for lane in lanes]

    def _lanes_of(self, road: Road, element: Any, s: float) -> list[int]:
        """The lanes that a signal is for: by validity, else those that run as it is oriented."""
        if not 0.0 <= s <= road.length:
            self.tally.add("guessed", "signals beyond their road's end: its last lanes are meant")
        section = road.section_at(s)
        section_number = road.sections.index(section)
        validities = [
            range(min(a, b), max(a, b) + 1)
            for a, b in (
                (whole(v, "fromLane"), whole(v, "toLane"))
                for v in element.iterchildren("validity")
            )
        ]
        found = []
        for lane_id in section.ordered():
            strip = self._lane((road.road_id, section_number, lane_id))
            if strip is None:
                continue
            facing = {"+": strip.along, "-": not strip.along}.get(
                element.get("orientation", "none"), True
            )
            if any(lane_id in v for v in validities) if validities else (
                facing and strip.lane_type in DRIVEN
            ):  # fmt: skip
                found.append(strip.index)
        return found

    def _painted(
        self, road: Road, element: Any, kind: str, s: float, t: float, lanes: Sequence[int]
    ) -> tuple[MapLayer, Array] | None:
        """The shape of a sign that is paint on the road; None for one that stands."""
        width = number(element, "width", 0.0)
        if kind == CROSSWALK_SIGNAL and element.get("dynamic") != "yes" and width > 0.0:
            depth = number(element, "value", 0.0)
            far = s + (-depth if element.get("orientation") == "-" else depth)
            ends = np.clip([s, far], 0.0, road.length)
            self.tally.add("guessed", "crosswalks written as signals reach from there, as deep as "
                           "their value says")  # fmt: skip
            corners_s = np.array([ends[0], ends[1], ends[1], ends[0]])
            corners_t = t + width / 2.0 * np.array([1.0, 1.0, -1.0, -1.0])
            return MapLayer.CROSSWALK, road.point(corners_s, corners_t)
        if kind == STOP_LINE_SIGNAL and lanes:
            section = road.section_at(s)
            section_number = road.sections.index(section)
            borders = road.borders(section, np.array([s]))
            across = [
                float(borders[edge][0])
                for lane_id in section.ordered()
                if (strip := self._lane((road.road_id, section_number, lane_id))) is not None
                and strip.index in lanes
                and strip.lane_type in ROADWAY
                for edge in (lane_id, road.inner(section, lane_id))
            ]
            if across:
                ends_t = np.array([max(across), min(across)])
                return MapLayer.STOP_LINE, road.point(np.full(2, s), ends_t)
        return None


def _drawn(road: Road, section: Section) -> tuple[Array, dict[int, Float[Array, "points 3"]]]:
    """Stations of a section, and every lane's outer border there, in the world frame."""
    level = {i: section.lanes[i].level for i in section.lanes}

    def lines_at(s: Array) -> Array:
        borders = road.borders(section, s)
        order = sorted(borders)
        every = np.stack([borders[i] for i in order])
        tilted = road.point(s, every)
        flat = np.array([level.get(i, False) for i in order])
        if flat.any():
            tilted[flat] = road.point(s, every[flat], level=True)
        return tilted

    profiles = [road.elevation, road.superelevation, road.offset]
    for lane in section.lanes.values():
        profiles += [lane.width, lane.border]
    knots = np.concatenate(
        [
            [section.begin, section.end],
            [piece.s for piece in road.reference.pieces],
            *(profile.s for profile in profiles),
        ]
    )
    knots = knots[(knots >= section.begin) & (knots <= section.end)]
    stations = sampled(lines_at, knots)
    order = sorted(road.borders(section, stations[:1]))
    lines = lines_at(stations)
    return stations, dict(zip(order, lines, strict=True))


def _wide(one: Float[Array, "points 3"], two: Float[Array, "points 3"]) -> bool:
    return bool(np.linalg.norm(one - two, axis=1).max() > NO_WIDTH_M)


def _contact_at(road: Road, junction: str, other: str) -> str | None:
    """At which of its ends a road meets a junction, or a road of a direct one."""
    for link, contact in ((road.after, END), (road.before, START)):
        if link is not None and link.kind == "junction" and link.target == junction:
            return contact
    for link, contact in ((road.after, END), (road.before, START)):
        if link is not None and link.kind == "road" and link.target == other:
            return contact
    return None


def _placed(road: Road, element: Any) -> tuple[Array, float]:
    """Where an object stands, and how it is turned."""
    s, t = number(element, "s"), number(element, "t", 0.0)
    place = road.point(np.array([s]), np.array([t]))[0]
    place[2] += number(element, "zOffset", 0.0)
    turn = number(element, "hdg", 0.0) + (np.pi if element.get("orientation") == "-" else 0.0)
    return place, road.heading(s) + turn


def _turned(place: Array, yaw: float, local: Float[Array, "points 3"]) -> Float[Array, "points 3"]:
    cos, sin = np.cos(yaw), np.sin(yaw)
    return place + local @ np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _outline(road: Road, element: Any, outline: Any) -> Float[Array, "points 3"]:
    """Corners in the object's own frame, or in road coordinates."""
    local = [
        [number(c, "u"), number(c, "v"), number(c, "z", 0.0)]
        for c in outline.iterchildren("cornerLocal")
    ]
    if local:
        place, yaw = _placed(road, element)
        return _turned(place, yaw, np.array(local))
    corners = [
        (number(c, "s"), number(c, "t"), number(c, "dz", 0.0))
        for c in outline.iterchildren("cornerRoad")
    ]
    if not corners:
        return np.zeros((0, 3))
    s, t, dz = np.array(corners).T
    points = road.point(s, t)
    points[:, 2] += dz
    return points


def _box(road: Road, element: Any) -> Float[Array, "points 3"]:
    """The rectangle or circle of an object without outline; a point if it tells no size."""
    place, yaw = _placed(road, element)
    radius = number(element, "radius", 0.0)
    length, width = number(element, "length", 0.0), number(element, "width", 0.0)
    if radius > 0.0:
        return place + radius * np.stack([np.cos(CIRCLE), np.sin(CIRCLE), 0.0 * CIRCLE], axis=1)
    if length <= 0.0 or width <= 0.0:
        return place[None]
    half = np.array([[1, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]]) / 2.0
    return _turned(place, yaw, half * [length, width, 0.0])


def _repeated(road: Road, element: Any, repeat: Any) -> list[Float[Array, "points 3"]]:
    """What a ``<repeat>`` stands for: a line, a strip, or the points where the object stands."""
    begin = number(repeat, "s", number(element, "s", 0.0))
    length, distance = number(repeat, "length", 0.0), number(repeat, "distance", 0.0)
    ends = [number(repeat, key, number(element, "t", 0.0)) for key in ("tStart", "tEnd")]
    heights = [number(repeat, key, 0.0) for key in ("zOffsetStart", "zOffsetEnd")]
    length = min(length, max(road.length - begin, 0.0))
    if distance > 0.0:
        count = int(length / distance) + 1
        if count > REPEATS:
            raise Malformed(f"a <repeat> of {count} objects")
        share = np.arange(count) * distance / length if length > 0.0 else np.zeros(count)
    else:
        share = sampled(
            lambda q: road.point(begin + q * length, np.interp(q, [0, 1], ends)[None]),
            np.linspace(0.0, 1.0, 2),
        )
    s, t = begin + share * length, np.interp(share, [0.0, 1.0], ends)
    middle = road.point(s, t)
    middle[:, 2] += np.interp(share, [0.0, 1.0], heights)
    widths = [number(repeat, key, 0.0) for key in ("widthStart", "widthEnd")]
    if distance > 0.0:
        outlines = [*element.iterfind("outlines/outline"), *element.iterchildren("outline")]
        size = (number(element, "length", 0.0), number(element, "width", widths[0]))
        if outlines or min(size) > 0.0:
            anchor = road.point(
                np.array([number(element, "s")]), np.array([number(element, "t", 0.0)])
            )
            shapes = [_outline(road, element, o) for o in outlines] or [_box(road, element)]
            yaw0 = road.heading(number(element, "s"))
            return [
                _turned(place, road.heading(at) - yaw0, shape - anchor)
                for shape in shapes if len(shape) > 0
                for place, at in zip(middle, s.tolist(), strict=True)
            ]  # fmt: skip
        return [middle]
    if max(widths) > 0.0:
        half = np.interp(share, [0.0, 1.0], widths) / 2.0
        return [np.concatenate([road.point(s, t + half), road.point(s, t - half)[::-1]])]
    return [middle] if len(middle) > 1 else []
