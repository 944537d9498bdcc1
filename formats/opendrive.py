"""Road maps as OpenDRIVE 1.7: one road a lane, junctions where lanes fork or join.

Every lane of the map becomes a road whose reference line is the lane's centre line, with a single
lane −1 moved onto it by ``laneOffset``. The reference line is a chain of cubic ``paramPoly3``
pieces that share point and heading, so that it is smooth. Where exactly one lane follows exactly
one other, the roads link directly. Elsewhere they are cut short by a metre or two and joined
through a junction with one connecting road a movement, which is how the standard wants it (ASAM
rule ``junctions.connection.one_connection_element``).

What the format cannot carry: painted lines of their own, lanes without length. Lanes that lie side
by side are roads of their own, so lane changes must be planned on positions, not on lane ids.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from lxml import etree

from geometry import polylines
from geometry.angles import wrap
from geometry.arrays import Array
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import MapFeature, RoadMap

PIECE_M = 4.0  # [m] length of one cubic piece of a reference line
CUT_M = 2.0  # [m] how much of a lane a junction takes at most
DEFAULT_WIDTH_M = 3.5
ELEVATION_TOLERANCE_M = 0.01
SHORTEST_M = 0.2  # [m] lanes below have no usable direction

LANE_TYPES = {
    LaneType.BIKE: "biking",
    LaneType.SHOULDER: "shoulder",
    LaneType.SIDEWALK: "sidewalk",
}
"""Every other lane is ``driving``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signal:
    """A light to be placed at the end of a lane.

    Attributes:
        signal_id: Its id in the file.
        lane: Feature id of the controlled lane.
    """

    signal_id: str
    lane: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Road:
    """A road to be written: reference line, widths at both ends, links."""

    road_id: int
    name: str
    line: Float[Array, "points 3"]
    start_yaw: float
    end_yaw: float
    widths: tuple[float, float]
    lane_type: str
    speed_limit: float | None
    junction: int = -1


def opendrive(
    road_map: RoadMap,
    *,
    name: str,
    origin: Float[Array, "3"],
    signals: Sequence[Signal] = (),
) -> etree._ElementTree:
    """The map as an OpenDRIVE 1.7 document.

    Args:
        road_map: In the frame that the document shall have.
        name: For the header.
        origin: Source coordinates of that frame's origin, kept in the header's offset [m].
        signals: Lights, at the ends of their lanes.

    Returns:
        The document; feature ``i`` is road ``i``, connecting roads have the ids after them.
    """
    lanes = [lane for lane in road_map.of_layer(MapLayer.LANE) if _usable(lane)]
    network = _Network(road_map, lanes)
    root = etree.Element("OpenDRIVE")
    points = np.concatenate([road.line for road in network.roads]) if lanes else np.zeros((1, 3))
    header = etree.SubElement(
        root, "header", revMajor="1", revMinor="7", name=name, version="1.00",
        north=_number(points[:, 1].max()), south=_number(points[:, 1].min()),
        east=_number(points[:, 0].max()), west=_number(points[:, 0].min()), vendor="Scenelake",
    )  # fmt: skip
    etree.SubElement(
        header, "offset", x=_number(origin[0]), y=_number(origin[1]), z=_number(origin[2]), hdg="0"
    )
    by_lane: dict[int, list[Signal]] = defaultdict(list)
    for signal in signals:
        by_lane[signal.lane].append(signal)
    crosswalks = network.crosswalks(road_map.of_layer(MapLayer.CROSSWALK))
    for road in network.roads:
        _write_road(
            root, road, network, by_lane.get(road.road_id, []), crosswalks.get(road.road_id, [])
        )
    network.write_junctions(root)
    return etree.ElementTree(root)


def _usable(lane: MapFeature) -> bool:
    return len(lane.points) > 1 and bool(polylines.arc_length(lane.points)[-1] >= SHORTEST_M)


class _Network:
    """How lanes meet: direct links, and junctions with their connecting roads."""

    def __init__(self, road_map: RoadMap, lanes: Sequence[MapFeature]) -> None:
        known = {lane.feature_id: lane for lane in lanes}
        ahead: dict[int, set[int]] = defaultdict(set)
        behind: dict[int, set[int]] = defaultdict(set)
        for source, kind, target in road_map.edges.tolist():
            if kind == EdgeKind.PREDECESSOR:
                source, target = target, source
            elif kind != EdgeKind.SUCCESSOR:
                continue
            if source in known and target in known and source != target:
                ahead[source].add(target)
                behind[target].add(source)
        self.next_road: dict[int, int] = {}
        self.previous_road: dict[int, int] = {}
        for source, targets in ahead.items():
            target = next(iter(targets))
            if (
                len(targets) == 1
                and len(behind[target]) == 1
                and _meet(known[source], known[target])
            ):
                self.next_road[source], self.previous_road[target] = target, source
        self.junction_after: dict[int, int] = {}
        self.junction_before: dict[int, int] = {}
        self.connections: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        """junction → (incoming road, connecting road, outgoing road)"""
        self._find_junctions(ahead, behind)
        self.roads = [self._lane_road(lane) for lane in lanes]
        self._by_id = {road.road_id: road for road in self.roads}
        self._align_direct_links()
        self._connect(ahead, first=max(known, default=0) + 1)

    def _find_junctions(self, ahead: dict[int, set[int]], behind: dict[int, set[int]]) -> None:
        """Ends and starts that meet, directly or through each other, share a junction."""
        for source in sorted(ahead):
            if source in self.next_road or source in self.junction_after:
                continue
            junction = len(self.connections) + 1
            self.connections[junction] = []
            ends, open_ends = set(), [source]
            while open_ends:
                end = open_ends.pop()
                if end in ends:
                    continue
                ends.add(end)
                self.junction_after[end] = junction
                for start in ahead[end]:
                    self.junction_before[start] = junction
                    open_ends.extend(behind[start] - ends)

    def _lane_road(self, lane: MapFeature) -> _Road:
        line = polylines.without_repeats(np.asarray(lane.points, dtype=np.float64))
        if not lane.has_z:
            line = np.concatenate([line[:, :2], np.zeros((len(line), 1))], axis=1)
        begin, end = _width(lane)
        length = polylines.arc_length(line)[-1]
        cut = min(CUT_M, 0.25 * float(length))
        first = cut if lane.feature_id in self.junction_before else 0.0
        last = length - (cut if lane.feature_id in self.junction_after else 0.0)
        pieces = max(1, round((last - first) / PIECE_M))
        stations = np.linspace(first, last, pieces + 1)
        shown = polylines.at(line, stations)
        return _Road(
            road_id=lane.feature_id, name=lane.source_id, line=shown,
            start_yaw=_direction(line, first), end_yaw=_direction(line, last), widths=(begin, end),
            lane_type=LANE_TYPES.get(lane.lane_type, "driving"), speed_limit=lane.speed_limit,
        )  # fmt: skip

    def _align_direct_links(self) -> None:
        """Roads that link directly share the point, heading and width of their joint."""
        for source, target in self.next_road.items():
            a, b = self._by_id[source], self._by_id[target]
            joint = (a.line[-1] + b.line[0]) / 2.0
            yaw = a.end_yaw + float(wrap(np.array(b.start_yaw - a.end_yaw))) / 2.0
            width = (a.widths[1] + b.widths[0]) / 2.0
            self._by_id[source] = _replace_end(a, joint, yaw, width)
            self._by_id[target] = _replace_start(self._by_id[target], joint, yaw, width)
        self.roads = [self._by_id[road.road_id] for road in self.roads]

    def _connect(self, ahead: dict[int, set[int]], *, first: int) -> None:
        """One connecting road for every movement through a junction."""
        road_id = first
        for source in sorted(self.junction_after):
            a = self._by_id[source]
            junction = self.junction_after[source]
            for target in sorted(ahead[source]):
                b = self._by_id[target]
                self.connections[junction].append((source, road_id, target))
                self.roads.append(
                    _Road(
                        road_id=road_id,
                        name=f"{a.name}>{b.name}",
                        line=np.stack([a.line[-1], b.line[0]]),
                        start_yaw=a.end_yaw,
                        end_yaw=b.start_yaw,
                        widths=(a.widths[1], b.widths[0]),
                        lane_type=a.lane_type,
                        speed_limit=a.speed_limit,
                        junction=junction,
                    )
                )
                self.previous_road[road_id], self.next_road[road_id] = source, target
                road_id += 1

    def crosswalks(self, areas: Sequence[MapFeature]) -> dict[int, list[MapFeature]]:
        """Each crosswalk with the road that it is nearest to."""
        found: dict[int, list[MapFeature]] = defaultdict(list)
        roads = [road for road in self.roads if road.junction < 0]
        for area in areas:
            if len(area.points) < 3 or not roads:
                continue
            middle = area.points[:, :2].mean(axis=0)
            gaps = [np.linalg.norm(road.line[:, :2] - middle, axis=1).min() for road in roads]
            found[roads[int(np.argmin(gaps))].road_id].append(area)
        return found

    def write_junctions(self, root: etree._Element) -> None:
        """The junction elements, after all roads."""
        for junction, movements in self.connections.items():
            if not movements:
                continue
            element = etree.SubElement(
                root, "junction", id=str(junction), name=f"junction {junction}"
            )
            for index, (incoming, connecting, _) in enumerate(movements):
                connection = etree.SubElement(
                    element, "connection", id=str(index), incomingRoad=str(incoming),
                    connectingRoad=str(connecting), contactPoint="start",
                )  # fmt: skip
                # "from" is a keyword of Python, so attributes come as a mapping.
                etree.SubElement(connection, "laneLink", {"from": "-1", "to": "-1"})


def _meet(a: MapFeature, b: MapFeature) -> bool:
    """Whether one lane ends where the other begins, in the same direction."""
    gap = float(np.linalg.norm(a.points[-1, :2] - b.points[0, :2]))
    turn = float(
        wrap(np.array(polylines.headings(b.points)[0] - polylines.headings(a.points)[-1]))
    )
    return gap < 0.5 and abs(turn) < 0.5


def _width(lane: MapFeature) -> tuple[float, float]:
    """Width at both ends, from the boundaries where there are any [m]."""
    if lane.left is None or lane.right is None or not len(lane.left) or not len(lane.right):
        return DEFAULT_WIDTH_M, DEFAULT_WIDTH_M
    begin = float(np.linalg.norm(lane.left[0, :2] - lane.right[0, :2]))
    end = float(np.linalg.norm(lane.left[-1, :2] - lane.right[-1, :2]))
    return float(np.clip(begin, 1.0, 8.0)), float(np.clip(end, 1.0, 8.0))


def _direction(line: Array, s: float) -> float:
    """Heading at a station, measured over two metres or so to be deaf to noise [rad].

    Differences of second order, central within and one-sided at the ends, so that a bend's end
    points the way it does.
    """
    length = float(polylines.arc_length(line)[-1])
    reach = min(1.0, length / 2.0)
    if s < reach:
        a, b, c = polylines.at(line, s + reach * np.array([0.0, 1.0, 2.0]))
        step = 4.0 * b - 3.0 * a - c
    elif s > length - reach:
        a, b, c = polylines.at(line, s - reach * np.array([0.0, 1.0, 2.0]))
        step = 3.0 * a - 4.0 * b + c
    else:
        behind, ahead = polylines.at(line, np.array([s - reach, s + reach]))
        step = ahead - behind
    return float(np.arctan2(step[1], step[0]))


def _replace_end(road: _Road, point: Array, yaw: float, width: float) -> _Road:
    line = road.line.copy()
    line[-1] = point
    return _Road(
        road_id=road.road_id, name=road.name, line=line, start_yaw=road.start_yaw, end_yaw=yaw,
        widths=(road.widths[0], width), lane_type=road.lane_type, speed_limit=road.speed_limit,
    )  # fmt: skip


def _replace_start(road: _Road, point: Array, yaw: float, width: float) -> _Road:
    line = road.line.copy()
    line[0] = point
    return _Road(
        road_id=road.road_id, name=road.name, line=line, start_yaw=yaw, end_yaw=road.end_yaw,
        widths=(width, road.widths[1]), lane_type=road.lane_type, speed_limit=road.speed_limit,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Piece:
    """A cubic in the frame of its start: u = bU p + cU p² + dU p³, v likewise, p in [0, 1]."""

    s: float
    x: float
    y: float
    yaw: float
    length: float
    u: tuple[float, float, float]
    v: tuple[float, float, float]


def _pieces(road: _Road) -> list[_Piece]:
    """Hermite cubics through the line's points; headings inside from the neighbours."""
    line = road.line
    yaw = np.empty(len(line))
    yaw[0], yaw[-1] = road.start_yaw, road.end_yaw
    if len(line) > 2:
        across = line[2:, :2] - line[:-2, :2]
        yaw[1:-1] = np.arctan2(across[:, 1], across[:, 0])
    made, s = [], 0.0
    for index in range(len(line) - 1):
        offset = line[index + 1, :2] - line[index, :2]
        chord = max(float(np.linalg.norm(offset)), 1e-3)
        cos, sin = np.cos(yaw[index]), np.sin(yaw[index])
        u1, v1 = cos * offset[0] + sin * offset[1], cos * offset[1] - sin * offset[0]
        turn = float(wrap(np.array(yaw[index + 1] - yaw[index])))
        tu, tv = chord * np.cos(turn), chord * np.sin(turn)
        u = (chord, 3 * u1 - 2 * chord - tu, -2 * u1 + chord + tu)
        v = (0.0, 3 * v1 - tv, -2 * v1 + tv)
        length = _cubic_length(u, v)
        made.append(_Piece(s, line[index, 0], line[index, 1], yaw[index], length, u, v))
        s += length
    return made


def _cubic_length(u: Sequence[float], v: Sequence[float]) -> float:
    """Arc length by Gauss–Legendre quadrature, exact to micrometres on such short pieces [m]."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    p = (nodes + 1.0) / 2.0
    du = u[0] + 2 * u[1] * p + 3 * u[2] * p**2
    dv = v[0] + 2 * v[1] * p + 3 * v[2] * p**2
    return float((weights / 2.0) @ np.hypot(du, dv))


def _write_road(
    root: etree._Element,
    road: _Road,
    network: _Network,
    signals: Sequence[Signal],
    crosswalks: Sequence[MapFeature],
) -> None:
    pieces = _pieces(road)
    length = sum(piece.length for piece in pieces)
    element = etree.SubElement(
        root, "road", name=road.name, length=_number(length), id=str(road.road_id),
        junction=str(road.junction), rule="RHT",
    )  # fmt: skip
    before, after = _write_links(element, road, network)
    if road.speed_limit:
        kind = etree.SubElement(element, "type", s="0", type="town")
        etree.SubElement(kind, "speed", max=_number(road.speed_limit), unit="m/s")
    plan = etree.SubElement(element, "planView")
    for piece in pieces:
        geometry = etree.SubElement(
            plan, "geometry", s=_number(piece.s), x=_number(piece.x), y=_number(piece.y),
            hdg=_number(piece.yaw), length=_number(piece.length),
        )  # fmt: skip
        etree.SubElement(
            geometry, "paramPoly3", pRange="normalized",
            aU="0", bU=_number(piece.u[0]), cU=_number(piece.u[1]), dU=_number(piece.u[2]),
            aV="0", bV=_number(piece.v[0]), cV=_number(piece.v[1]), dV=_number(piece.v[2]),
        )  # fmt: skip
    profile = etree.SubElement(element, "elevationProfile")
    stations = np.array([piece.s for piece in pieces] + [length])
    kept = _knots(stations, road.line[:, 2])
    for begin, end in pairwise(kept):
        slope = (road.line[end, 2] - road.line[begin, 2]) / (stations[end] - stations[begin])
        etree.SubElement(
            profile, "elevation", s=_number(stations[begin]), a=_number(road.line[begin, 2]),
            b=_number(slope), c="0", d="0",
        )  # fmt: skip
    _write_lanes(element, road, length, before=before, after=after)
    if crosswalks:
        objects = etree.SubElement(element, "objects")
        for area in crosswalks:
            _write_crosswalk(objects, area, road, pieces)
    if signals:
        listing = etree.SubElement(element, "signals")
        for signal in signals:
            entry = etree.SubElement(
                listing, "signal", s=_number(length), t=_number(-road.widths[1]),
                id=signal.signal_id, name=f"light {signal.signal_id}", dynamic="yes",
                orientation="+", zOffset="5", country="OpenDRIVE", type="1000001", subtype="-1",
                value="-1", hOffset="0", pitch="0", roll="0", height="0.9", width="0.3",
            )  # fmt: skip
            etree.SubElement(entry, "validity", fromLane="-1", toLane="-1")


def _knots(s: Float[Array, " points"], z: Float[Array, " points"]) -> list[int]:
    """The points that a profile needs to stay within 1 cm of all (Douglas and Peucker 1973)."""
    kept, open_spans = {0, len(s) - 1}, [(0, len(s) - 1)]
    while open_spans:
        begin, end = open_spans.pop()
        if end - begin < 2:
            continue
        inner = np.arange(begin + 1, end)
        straight = z[begin] + (z[end] - z[begin]) * (s[inner] - s[begin]) / (s[end] - s[begin])
        off = np.abs(z[inner] - straight)
        if off.max() > ELEVATION_TOLERANCE_M:
            middle = int(inner[off.argmax()])
            kept.add(middle)
            open_spans += [(begin, middle), (middle, end)]
    return sorted(kept)


def _write_links(element: etree._Element, road: _Road, network: _Network) -> tuple[bool, bool]:
    """The link element; returns whether lanes link directly before and after."""
    i = road.road_id
    link = etree.SubElement(element, "link")
    before, after = i in network.previous_road, i in network.next_road
    if before:
        etree.SubElement(
            link, "predecessor", elementType="road", elementId=str(network.previous_road[i]),
            contactPoint="end",
        )  # fmt: skip
    elif i in network.junction_before:
        etree.SubElement(
            link, "predecessor", elementType="junction", elementId=str(network.junction_before[i])
        )
    if after:
        etree.SubElement(
            link, "successor", elementType="road", elementId=str(network.next_road[i]),
            contactPoint="start",
        )  # fmt: skip
    elif i in network.junction_after:
        etree.SubElement(
            link, "successor", elementType="junction", elementId=str(network.junction_after[i])
        )
    if not len(link):
        element.remove(link)
    return before, after


def _write_lanes(
    element: etree._Element, road: _Road, length: float, *, before: bool, after: bool
) -> None:
    """One lane, as wide as at its ends and smooth between, moved onto the reference line."""
    begin, end = road.widths
    # w(s) = begin + (end − begin)(3 q² − 2 q³), q = s / length: no kink at either end.
    rise = end - begin
    c, d = 3 * rise / length**2, -2 * rise / length**3
    lanes = etree.SubElement(element, "lanes")
    etree.SubElement(
        lanes, "laneOffset", s="0", a=_number(begin / 2), b="0", c=_number(c / 2), d=_number(d / 2)
    )
    section = etree.SubElement(lanes, "laneSection", s="0")
    centre = etree.SubElement(section, "center")
    etree.SubElement(centre, "lane", id="0", type="none", level="false")
    right = etree.SubElement(section, "right")
    lane = etree.SubElement(right, "lane", id="-1", type=road.lane_type, level="false")
    if before or after:
        link = etree.SubElement(lane, "link")
        if before:
            etree.SubElement(link, "predecessor", id="-1")
        if after:
            etree.SubElement(link, "successor", id="-1")
    etree.SubElement(
        lane, "width", sOffset="0", a=_number(begin), b="0", c=_number(c), d=_number(d)
    )


def _write_crosswalk(
    objects: etree._Element, area: MapFeature, road: _Road, pieces: Sequence[_Piece]
) -> None:
    outline = np.asarray(area.points, dtype=np.float64)
    if np.allclose(outline[0], outline[-1]):
        outline = outline[:-1]
    middle = outline[:, :2].mean(axis=0)
    s, t, yaw = polylines.project(middle[None], road.line)
    total = sum(piece.length for piece in pieces)
    cos, sin = np.cos(yaw[0]), np.sin(yaw[0])
    foot = polylines.at(road.line, s)[0]
    entry = etree.SubElement(
        objects, "object", type="crosswalk", id=f"crosswalk{area.feature_id}", name=area.source_id,
        s=_number(min(float(s[0]), total)), t=_number(float(t[0])), zOffset="0", hdg="0",
        pitch="0", roll="0", orientation="none",
    )  # fmt: skip
    shape = etree.SubElement(etree.SubElement(entry, "outlines"), "outline", id="0", closed="true")
    anchor = foot[:2] + float(t[0]) * np.array([-sin, cos])
    for point in outline[:, :2] - anchor:
        etree.SubElement(
            shape, "cornerLocal", u=_number(cos * point[0] + sin * point[1]),
            v=_number(cos * point[1] - sin * point[0]), z="0", height="0",
        )  # fmt: skip


def _number(value: float) -> str:
    """A finite number, to the tenth of a micrometre.

    Raises:
        ValueError: It is not finite; no client would notice.
    """
    if not np.isfinite(value):
        raise ValueError(f"{value} cannot be written")
    return f"{value:.10g}" if value else "0"
