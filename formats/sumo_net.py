"""SUMO road networks: ``.net.xml``.

Format: sumo.dlr.de/docs/Networks/SUMO_Road_Networks.html. An *edge* is a street in one direction;
its lanes are numbered from the right (from the left where ``lefthand``), each with a centre line
(``shape``), a width and a speed. Edges of function ``internal`` lead through junctions,
``crossing`` and ``walkingarea`` are for people on foot. A *connection* leads from a lane to a
lane, through the internal lane ``via``, perhaps under a light (``tl``, ``linkIndex``).
Coordinates are metres; ``location`` says how they came from a projection. Read as a stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from lxml import etree

from formats.files import open_binary, plain_name
from formats.map_draft import MapDraft
from formats.tally import Tally
from geometry.arrays import Array
from geometry.polylines import arc_length, offset_line
from schemas.errors import UnreadableFile
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import RoadMap

WIDEST_M = 1000.0
LANE_WIDTH_M = 3.2  # where the file tells none: SUMO's default
FOOT = frozenset({"pedestrian", "wheelchair"})
RAILS = frozenset({"tram", "rail", "rail_urban", "rail_electric", "rail_fast", "subway",
                   "cable_car"})  # fmt: skip
CARS = frozenset({"passenger", "private", "hov", "taxi", "delivery", "truck", "trailer", "evehicle",
                  "motorcycle", "emergency", "authority", "army", "vip", "custom1", "custom2"})  # fmt: skip
UTM = re.compile(r"\+proj=utm\b.*\+zone=(\d+)")


@dataclass(frozen=True, slots=True)
class Link:
    """A movement under a light.

    Attributes:
        light: Id of the light's program.
        index: Place of the movement's letter in the light's state.
        lane: The lane that the light controls: the one through the junction, else the one before.
        stop: Where to stop, the end of the lane before; NaN where that is not known [m].
    """

    light: str
    index: int
    lane: str
    stop: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """A net as a map, and what else it tells.

    Attributes:
        map: Lanes with their edges, crosswalks, walkways, junctions.
        links: Every movement under a light.
        location: Attributes of ``location``, verbatim.
        programs: Programs of the lights, as JSON values.
    """

    map: RoadMap
    links: Sequence[Link]
    location: dict[str, str]
    programs: list[dict[str, Any]]

    def extra(self) -> dict[str, Any]:
        """What a log keeps beside the map."""
        told: dict[str, Any] = {"location": self.location} if self.location else {}
        return told | ({"tl_logic": self.programs} if self.programs else {})

    @property
    def epsg(self) -> int | None:
        """Of a net whose coordinates are UTM, unmoved (north of the equator)."""
        zone = UTM.search(self.location.get("projParameter", ""))
        offset = _numbers(self.location.get("netOffset", ""))
        if zone is None or offset != [0.0, 0.0] or "+south" in self.location["projParameter"]:
            return None
        return 32600 + int(zone[1])

    @property
    def bounds(self) -> list[float]:
        """Least and greatest x and y as the file tells them: xmin, ymin, xmax, ymax [m]."""
        return _numbers(self.location.get("convBoundary", ""))


def read_net(path: Path, tally: Tally) -> Network:
    """A network from a file, perhaps packed.

    Raises:
        UnreadableFile: It is no XML, cut off, or no network.
    """
    reading = _Reading(path, tally)
    try:
        for element in elements(path, {"edge", "junction", "connection", "tlLogic", "location"}):
            reading.take(element)
    except (ValueError, KeyError) as error:
        raise UnreadableFile(path, f"is no sound network ({error})") from error
    return reading.network()


def elements(path: Path, tags: set[str]) -> Iterator[etree._Element]:
    """The children of an XML file's root with some tags, one by one, each freed after its turn.

    Raises:
        UnreadableFile: It is no XML, or ends too early.
    """
    with open_binary(path) as file:
        try:
            for _, element in etree.iterparse(file, no_network=True, resolve_entities=False):
                root = element.getparent()
                if root is None or root.getparent() is not None:
                    continue
                if element.tag in tags:
                    yield element
                element.clear()
                while element.getprevious() is not None:
                    del root[0]
        except etree.XMLSyntaxError as error:
            raise UnreadableFile(
                path, f"is not XML to its end ({error})", hint="Was the file written to its end?"
            ) from error


@dataclass(slots=True)
class _Reading:
    path: Path
    tally: Tally
    lefthand: bool = False
    draft: MapDraft = field(init=False)
    lanes: dict[str, int] = field(default_factory=dict)
    lanes_of: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    crossed: list[tuple[int, list[str]]] = field(default_factory=list)
    links: list[tuple[str, int, str, str]] = field(default_factory=list)
    follows: list[tuple[str, str]] = field(default_factory=list)
    location: dict[str, str] = field(default_factory=dict)
    programs: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draft = MapDraft(self.tally)

    def take(self, element: etree._Element) -> None:
        match element.tag:
            case "location":
                self.location = {str(k): str(v) for k, v in element.attrib.items()}
                root = element.getparent()
                self.lefthand = root is not None and root.get("lefthand") in ("true", "1")
            case "edge":
                self._edge(element)
            case "junction":
                self._junction(element)
            case "connection":
                self._connection(element)
            case "tlLogic":
                self._program(element)

    def network(self) -> Network:
        for before, after in self.follows:
            self.draft.follow(self.lanes[before], self.lanes[after])
        for crossing, edges in self.crossed:
            for edge in edges:
                for _, name in self.lanes_of.get(edge, ()):
                    lane = self.draft.features[self.lanes[name]]
                    if lane.lane_type != LaneType.SIDEWALK:
                        self.draft.edge(crossing, EdgeKind.CROSSWALK_OVER_LANE, lane.feature_id)
        name = plain_name(self.path).removesuffix(".xml").removesuffix(".net")
        return Network(
            map=self.draft.road_map(name),
            links=[self._link(*link) for link in self.links],
            location=self.location,
            programs=self.programs,
        )

    def _edge(self, edge: etree._Element) -> None:
        function, name = edge.get("function", "normal"), edge.get("id", "")
        kind = edge.get("type", "")
        made: list[tuple[int, str]] = []
        for lane in edge.iterfind("lane"):
            shape = _points(lane.get("shape", ""))
            lane_id = lane.get("id", "")
            if len(shape) < 2 or not np.isfinite(shape).all():
                self.tally.add("dropped", f"shapes of function {function} without a line")
                continue
            width = float(lane.get("width", LANE_WIDTH_M))
            if not 0.0 <= width < WIDEST_M:
                self.tally.add("guessed", f"lanes of a width that is none: {LANE_WIDTH_M} m")
                width = LANE_WIDTH_M
            if function == "crossing":
                self._crossing(edge, lane, shape, width)
            elif function == "walkingarea":
                self.draft.add(
                    MapLayer.WALKWAY, lane_id, shape[:, :3], source_type=function,
                    has_z=_has_z(lane),
                )  # fmt: skip
            elif arc_length(shape)[-1] <= 0.0:
                self.tally.add("dropped", "lanes without length")
            else:
                self._lane(lane, lane_id, shape, width, function, kind)
                made.append((int(lane.get("index", len(made))), lane_id))
            if lane.find("neigh") is not None:
                self.tally.add("dropped", "which lane of the other direction may be used to pass")
        self.lanes_of[name] = made
        for (_, one), (_, two) in zip(sorted(made)[:-1], sorted(made)[1:], strict=True):
            right, left = (two, one) if self.lefthand else (one, two)
            self.draft.beside(left=self.lanes[left], right=self.lanes[right])

    def _lane(
        self,
        lane: etree._Element,
        lane_id: str,
        shape: Float[Array, "points 3"],
        width: float,
        function: str,
        kind: str,
    ) -> None:
        speed = float(lane.get("speed", "nan"))
        self.lanes[lane_id] = self.draft.add(
            MapLayer.LANE, lane_id, shape,
            left=offset_line(shape, width / 2.0), right=offset_line(shape, -width / 2.0),
            lane_type=_lane_type(lane, kind), source_type=kind or function,
            speed_limit=speed if np.isfinite(speed) and speed > 0.0 else None,
            in_intersection=function == "internal", has_z=_has_z(lane),
        )  # fmt: skip

    def _crossing(
        self,
        edge: etree._Element,
        lane: etree._Element,
        shape: Float[Array, "points 3"],
        width: float,
    ) -> None:
        outline = _points(lane.get("outlineShape", ""))
        if len(outline) < 3:
            left, right = offset_line(shape, width / 2.0), offset_line(shape, -width / 2.0)
            outline = np.concatenate([left, right[::-1]])
        crossing = self.draft.add(
            MapLayer.CROSSWALK, lane.get("id", ""), outline, source_type="crossing",
            has_z=_has_z(lane),
        )  # fmt: skip
        self.crossed.append((crossing, edge.get("crossingEdges", "").split()))

    def _junction(self, junction: etree._Element) -> None:
        shape = _points(junction.get("shape", ""))
        kind = junction.get("type", "")
        if kind in ("dead_end", "internal") or len(shape) < 3 or not np.isfinite(shape).all():
            return
        self.draft.add(
            MapLayer.INTERSECTION, junction.get("id", ""), shape, source_type=kind,
            has_z=_has_z(junction),
        )  # fmt: skip

    def _connection(self, told: etree._Element) -> None:
        before = f"{told.get('from')}_{told.get('fromLane')}"
        after = f"{told.get('to')}_{told.get('toLane')}"
        via = told.get("via", "")
        towards = via if via in self.lanes else after
        if before not in self.lanes or towards not in self.lanes:
            return  # from or to where people walk: these are areas, not lanes
        self.follows.append((before, towards))
        light, index = told.get("tl"), told.get("linkIndex")
        if light is not None and index is not None:
            self.links.append((light, int(index), via if via in self.lanes else before, before))

    def _link(self, light: str, index: int, lane: str, before: str) -> Link:
        end = self.draft.features[self.lanes[before]].points[-1]
        return Link(light, index, lane, (float(end[0]), float(end[1]), float(end[2])))

    def _program(self, program: etree._Element) -> None:
        phases = [dict(phase.attrib) for phase in program.iterfind("phase")]
        told = {str(k): str(v) for k, v in program.attrib.items()}
        self.programs.append({**told, "phases": phases})


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return []


def _points(text: str) -> Float[Array, "points 3"]:
    rows = [_numbers(part) for part in text.split()]
    made = [(*row, 0.0)[:3] if len(row) == 2 else tuple(row[:3]) for row in rows]
    return np.array(made, dtype=np.float64).reshape(-1, 3)


def _has_z(element: etree._Element) -> bool:
    first = element.get("shape", "").split(maxsplit=1)
    return bool(first) and first[0].count(",") == 2


def _lane_type(lane: etree._Element, kind: str) -> LaneType:
    """Whom a lane is for, by the classes that it allows or disallows."""
    everyone = CARS | FOOT | RAILS | {"bus", "coach", "bicycle"}
    told, banned = set(lane.get("allow", "all").split()), set(lane.get("disallow", "").split())
    allowed = (everyone if "all" in told else told) - (everyone if "all" in banned else banned)
    if allowed & CARS:
        return LaneType.FREEWAY if "motorway" in kind else LaneType.VEHICLE
    if allowed & {"bus", "coach"}:
        return LaneType.BUS
    if "bicycle" in allowed:
        return LaneType.BIKE
    if allowed & FOOT:
        return LaneType.SIDEWALK
    return LaneType.OTHER
