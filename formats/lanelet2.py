"""Lanelet2 road maps: OpenStreetMap XML of nodes, ways and relations.

Format: Poggenhans et al. 2018 and the tagging pages of github.com/fzi-forschungszentrum-informatik/
Lanelet2; further tags by Autoware. A *lanelet* is a relation with a left and a right way, which may
be drawn in either direction: the lanelet runs so that the left one is on its left. Lanelets that
share the end points of both bounds follow each other; those that share a bound lie side by side.
Regulatory elements say which lights, signs, stop lines and crosswalks concern which lanelets.

Coordinates are those of the first that a map has of

- ``local_x``/``local_y`` tags (Autoware: metres from its own or from an MGRS square's corner),
- ``x``/``y`` attributes (INTERACTION's ``*_xy.osm``),
- ``lat``/``lon``, in the UTM zone of the map, from its own origin if one is given.

    road_map, notes = read_map(path)
    road_map, notes = read_map(path, origin=(0.0, 0.0))  # as the INTERACTION dataset
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from lxml import etree

from formats.files import CHUNK_BYTES, open_binary, plain_name, read_bytes, recognised
from formats.map_alone import map_alone
from formats.map_draft import MapDraft
from formats.registry import Rejected
from formats.speeds import metres_per_second
from formats.tally import Tally
from formats.tree import head, matching
from formats.xml_file import begins_with
from geometry.arrays import Array
from geometry.polylines import arc_length, at, offset_line, without_repeats
from schemas.errors import UnreadableFile
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import Log, Note, RoadMap

DATASET = "lanelet2"
NEAR_ZERO_DEG = 0.5  # maps this near to (0, 0) are drawn from an origin there (INTERACTION)
SAME_PLACE_M = 1e-3
SEARCHED_BYTES = 2**30  # [bytes] of a file that are searched for a lanelet
TAG_BYTES = 256  # [bytes] a tag may be so long that lies across two chunks
_LANELET = re.compile(rb"""<tag\s[^>]*\bv\s*=\s*["']lanelet["']""")
RECORDINGS = ("annotation", "recorded_trackfiles", "train", "val", "test", "data")
"""Folders beside a ``map`` or ``maps`` folder whose own reader takes the map."""

LANE_TYPES = {
    "": LaneType.VEHICLE,
    "road": LaneType.VEHICLE,
    "play_street": LaneType.VEHICLE,
    "exit": LaneType.VEHICLE,
    "highway": LaneType.FREEWAY,
    "bus_lane": LaneType.BUS,
    "bicycle_lane": LaneType.BIKE,
    "emergency_lane": LaneType.SHOULDER,
    "road_shoulder": LaneType.SHOULDER,
    "rail": LaneType.OTHER,
}
WALKS = ("walkway", "shared_walkway", "stairs", "pedestrian_lane")
"""Lanelets that are areas for walking."""
LINES = {
    "line_thin": MapLayer.ROAD_LINE,
    "line_thick": MapLayer.ROAD_LINE,
    "pedestrian_marking": MapLayer.ROAD_LINE,
    "zebra_marking": MapLayer.ROAD_LINE,
    "bike_marking": MapLayer.ROAD_LINE,
    "arrow": MapLayer.ROAD_LINE,
    "symbol": MapLayer.ROAD_LINE,
    "zig-zag": MapLayer.ROAD_LINE,
    "curbstone": MapLayer.ROAD_EDGE,
    "road_border": MapLayer.ROAD_EDGE,
    "guard_rail": MapLayer.ROAD_EDGE,
    "wall": MapLayer.ROAD_EDGE,
    "fence": MapLayer.ROAD_EDGE,
    "jersey_barrier": MapLayer.ROAD_EDGE,
    "gate": MapLayer.ROAD_EDGE,
    "stop_line": MapLayer.STOP_LINE,
    "yield_line": MapLayer.STOP_LINE,
}
SIGNS = {"traffic_sign": MapLayer.SIGN, "traffic_light": MapLayer.TRAFFIC_LIGHT}
AREAS = {
    "parking": MapLayer.PARKING,
    "parking_lot": MapLayer.PARKING,
    "parking_space": MapLayer.PARKING,
    "intersection_area": MapLayer.INTERSECTION,
    "intersection": MapLayer.INTERSECTION,
    "road": MapLayer.DRIVABLE_AREA,
    "freespace": MapLayer.DRIVABLE_AREA,
    "drivable": MapLayer.DRIVABLE_AREA,
    "drivable_area": MapLayer.DRIVABLE_AREA,
    "exit": MapLayer.DRIVEWAY,
    "crosswalk": MapLayer.CROSSWALK,
    "walkway": MapLayer.WALKWAY,
    "shared_walkway": MapLayer.WALKWAY,
    "stairs": MapLayer.WALKWAY,
    "speed_bump": MapLayer.SPEED_BUMP,
    "bump": MapLayer.SPEED_BUMP,
}
"""By subtype of a multipolygon, or by type of a closed way; others are kept as ``other``."""
CLOSED_WAYS = frozenset(
    {
        "parking_lot", "intersection_area", "speed_bump", "bump", "crosswalk_polygon",
        "detection_area", "no_stopping_area", "no_parking_area", "hatched_road_markings",
        "bus_stop_area", "no_obstacle_segmentation_area", "obstacle_removal_area",
    }
)  # fmt: skip
"""Types of ways that are outlines even where their last point does not repeat the first."""
STOP_SIGNS = frozenset({"stop_sign", "de206", "usR1-1", "r1-1", "jp330"})
REPEATED = ("dropped", "elements whose id another bears already")
YES, NO = ("yes", "true", "1"), ("no", "false", "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneletMap:
    """A map with what is known of its frame.

    Attributes:
        map: In the frame that the module's docstring tells.
        notes: What could not be carried over.
        epsg: Where the coordinates are those of a projection, unmoved.
        extra: The frame in words, and the regulatory elements by their lanelets.
    """

    map: RoadMap
    notes: Sequence[Note]
    epsg: int | None
    extra: Mapping[str, Any]


def sources(path: Path) -> Iterator[Path]:
    """Maps with lanelets at or under a path, but not those that a recording's reader takes."""
    found = recognised(matching(path, "*.osm", "*.osm_xy"), _is_map)
    yield from (file for file in found if file == path or not _of_recordings(file))


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


def read_map(
    path: Path,
    *,
    origin: tuple[float, float] | None = None,
    offset: tuple[float, float] | None = None,
) -> tuple[RoadMap, list[Note]]:
    """A map for the reader of recordings that were made on it.

    Args:
        path: The ``.osm`` file, perhaps packed.
        origin: Latitude and longitude that the recordings count their metres from, in the UTM zone
            of that place; the map's ``lat``/``lon`` are used even if it has other coordinates.
        offset: UTM coordinates that the recordings count from, instead of ``origin`` [m].

    Raises:
        UnreadableFile: As :func:`load`.
    """
    loaded = load(path, origin=origin, offset=offset)
    return loaded.map, list(loaded.notes)


def load(
    path: Path,
    *,
    origin: tuple[float, float] | None = None,
    offset: tuple[float, float] | None = None,
) -> LaneletMap:
    """A map and its frame; arguments as of :func:`read_map`.

    Raises:
        UnreadableFile: It is no XML, no OpenStreetMap data, or has no lanelet.
    """
    tally = Tally()
    osm = _parse(path, tally)
    if not any(relation.tags.get("type") == "lanelet" for relation in osm.relations.values()):
        raise UnreadableFile(
            path,
            "is plain OpenStreetMap data: it holds no lanelets",
            hint="A Lanelet2 map has relations with the tag type=lanelet.",
        )
    frame = _place(osm, origin, offset, tally)
    if frame is None:
        raise UnreadableFile(path, "has no node with usable coordinates")
    reading = _Reading(osm, frame, tally)
    return LaneletMap(
        map=reading.draft.road_map(plain_name(path).rsplit(".", 1)[0]),
        notes=tally.notes(),
        epsg=frame.epsg,
        extra={"frame": frame.words, **reading.extra()},
    )


def _is_map(file: Path) -> bool:
    """Whether a file is OpenStreetMap data with a lanelet, which most such data has not.

    Raises:
        UnreadableFile: It is empty, damaged, or cut off before its first lanelet.
    """
    if not begins_with(file, b"osm"):
        return False
    if head(file)[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return True  # not worth a search of its own
    with open_binary(file) as content:
        seen, before = 0, b""
        while chunk := content.read(CHUNK_BYTES):
            if _LANELET.search(before + chunk):
                return True
            before, seen = (before + chunk)[-TAG_BYTES:], seen + len(chunk)
            if seen > SEARCHED_BYTES:
                return False
    if b"</osm>" not in before and b"<osm/>" not in before:
        raise UnreadableFile(file, "is cut off", hint="Fetch the file again.")
    return False


def _of_recordings(file: Path) -> bool:
    folder = next((p for p in file.parents if p.name in ("map", "maps")), None)
    return folder is not None and any((folder.parent / name).is_dir() for name in RECORDINGS)


# OpenStreetMap ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Way:
    nodes: list[str]
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Relation:
    members: list[tuple[str, str, str]]
    """(type, ref, role)"""
    tags: dict[str, str]

    def refs(self, *roles: str) -> list[str]:
        return [ref for _, ref, role in self.members if role in roles]


@dataclass(frozen=True, slots=True)
class _Osm:
    """The elements by id; of a node its attributes and tags in one."""

    nodes: dict[str, dict[str, str]] = field(default_factory=dict)
    ways: dict[str, _Way] = field(default_factory=dict)
    relations: dict[str, _Relation] = field(default_factory=dict)


def _parse(path: Path, tally: Tally) -> _Osm:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True)
    try:
        root = etree.fromstring(read_bytes(path), parser)
    except etree.XMLSyntaxError as error:
        hint = "Was the file written to its end?"
        raise UnreadableFile(path, f"is not XML ({error})", hint=hint) from error
    if root.tag != "osm":
        raise UnreadableFile(path, f"is no OpenStreetMap file: its root is <{root.tag}>")
    osm = _Osm()
    for element in root:
        name = element.get("id")
        if name is None:
            continue
        if element.get("action") == "delete" or element.get("visible") == "false":
            tally.add("dropped", "elements that are marked as deleted")
            continue
        kind = element.tag
        if kind == "node":
            made = dict(element.attrib)
            for child in element:
                made[child.get("k", "")] = child.get("v", "")
            tally.add(*REPEATED, osm.nodes.setdefault(name, made) is not made)
            continue
        tags: dict[str, str] = {}
        members: list[tuple[str, str, str]] = []
        nodes: list[str] = []
        for child in element:
            inner = child.tag
            if inner == "nd":
                nodes.append(child.get("ref", ""))
            elif inner == "tag":
                tags[child.get("k", "")] = child.get("v", "")
            elif inner == "member":
                members.append(
                    (child.get("type", ""), child.get("ref", ""), child.get("role", ""))
                )
        if kind == "way":
            way = _Way(nodes, tags)
            repeated = osm.ways.setdefault(name, way) is not way
        elif kind == "relation":
            relation = _Relation(members, tags)
            repeated = osm.relations.setdefault(name, relation) is not relation
        else:
            continue
        tally.add(*REPEATED, repeated)
    return osm


# Coordinates --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where each node lies, and in what frame."""

    xyz: dict[str, tuple[float, float, float]]
    has_z: bool
    epsg: int | None
    words: dict[str, Any]


def _place(
    osm: _Osm,
    origin: tuple[float, float] | None,
    offset: tuple[float, float] | None,
    tally: Tally,
) -> _Frame | None:
    names = list(osm.nodes)
    most = max(len(names), 1) / 2.0

    def columns(*keys: str) -> tuple[Float[Array, "nodes 2"], int]:
        """Two values of each node, and how many nodes have both."""
        found = [[_float(osm.nodes[name].get(key, "nan")) for key in keys] for name in names]
        made = np.array(found).reshape(-1, len(keys))
        return made, int(np.isfinite(made).all(axis=1).sum())

    words: dict[str, Any]
    epsg: int | None = None
    moved = origin is not None or offset is not None
    xy, told = columns("lat", "lon") if moved else columns("local_x", "local_y")
    if moved and told:
        xy, epsg, words = _projected(xy, origin, offset)
    elif not moved and told >= most:
        words = {"coordinates": "local_x, local_y"}
        codes = sorted({n["mgrs_code"] for n in osm.nodes.values() if "mgrs_code" in n})
        if codes:
            words["mgrs_code"] = codes
        anchor = _anchor(osm)
        if anchor is not None:
            words["anchor"] = anchor
    else:
        globe, on_globe = columns("lat", "lon")
        xy, told = columns("x", "y")
        if told >= most:
            words = {"coordinates": "x, y"}
        elif on_globe:
            known = globe[np.isfinite(globe).all(axis=1)]
            if not moved and (np.abs(known) < NEAR_ZERO_DEG).all():
                origin = (0.0, 0.0)
                tally.add("guessed", "coordinates around (0°, 0°) are taken as metres from there")
            xy, epsg, words = _projected(globe, origin, offset)
        else:
            return None
    z = np.array([_float(osm.nodes[name].get("ele", "nan")) for name in names])
    sound = np.atleast_1d(np.isfinite(xy).all(axis=1))
    tally.add("dropped", "nodes without usable coordinates", int((~sound).sum()))
    has_z = bool((np.nan_to_num(z) != 0.0).any())
    rows = np.column_stack([xy, np.nan_to_num(z)])
    places = {name: tuple(row) for name, row, ok in zip(names, rows.tolist(), sound.tolist(), strict=True)
              if ok}  # fmt: skip
    return _Frame(places, has_z, epsg, words) if places else None


def _anchor(osm: _Osm) -> dict[str, float] | None:
    """How a local frame lies on the globe: the first node that tells its place in both."""
    for node in osm.nodes.values():
        told = {
            ours: _float(node.get(theirs, ""))
            for ours, theirs in (
                ("lat", "lat"),
                ("lon", "lon"),
                ("x", "local_x"),
                ("y", "local_y"),
            )
        }
        if all(map(math.isfinite, told.values())):
            return told
    return None


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # empty, as Autoware's editor writes
        return np.nan


def _projected(
    globe: Float[Array, "nodes 2"],
    origin: tuple[float, float] | None,
    offset: tuple[float, float] | None,
) -> tuple[Float[Array, "nodes 2"], int | None, dict[str, Any]]:
    """Latitudes and longitudes as metres; the code only where nothing was subtracted."""
    from pyproj import Transformer

    sound = np.isfinite(globe).all(axis=1) & (np.abs(globe) <= [84.0, 180.0]).all(axis=1)
    place = np.median(globe[sound], axis=0) if sound.any() else np.zeros(2)
    epsg = utm_epsg(*(origin if origin is not None else place.tolist()))
    to_utm = Transformer.from_crs(4326, epsg, always_xy=True)
    xy = np.full((len(globe), 2), np.nan)
    xy[sound] = np.column_stack(to_utm.transform(globe[sound, 1], globe[sound, 0]))
    words: dict[str, Any] = {"coordinates": "lat, lon", "utm_epsg": epsg}
    if origin is not None and offset is None:
        offset = to_utm.transform(origin[1], origin[0])
        words["origin"] = list(origin)
    if offset is None:
        return xy, epsg, words
    words["utm_offset"] = [float(offset[0]), float(offset[1])]
    return xy - np.array(offset), None, words


def utm_epsg(lat: float, lon: float) -> int:
    """The UTM zone of a place, with the exceptions of Norway and Svalbard."""
    zone = int((lon + 180.0) // 6.0) % 60 + 1
    if 56.0 <= lat < 64.0 and 3.0 <= lon < 12.0:
        zone = 32
    elif lat >= 72.0 and 0.0 <= lon < 42.0:
        zone = 31 if lon < 9.0 else 33 if lon < 21.0 else 35 if lon < 33.0 else 37
    return (32600 if lat >= 0.0 else 32700) + zone


# Features -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Bound:
    """A bound in the direction of its lanelet: the nodes' names, which make the graph."""

    names: tuple[str, ...]
    points: Float[Array, "points 3"]

    def reversed(self) -> _Bound:
        return _Bound(self.names[::-1], self.points[::-1])


@dataclass(frozen=True, slots=True)
class _Lane:
    """A lanelet that is a lane, in one direction of travel."""

    index: int
    relation: str
    left: _Bound
    right: _Bound


class _Reading:
    """Features and edges of one map."""

    def __init__(self, osm: _Osm, frame: _Frame, tally: Tally) -> None:
        self.osm, self.frame, self.tally = osm, frame, tally
        self.draft = MapDraft(tally)
        self.lanes: list[_Lane] = []
        self.of_relation: dict[str, list[int]] = defaultdict(list)
        """Features of a lanelet or area: one, or two of a lanelet for both directions."""
        self.of_way: dict[str, int] = {}
        self.rules: dict[str, dict[str, Any]] = {}
        self.used: set[str] = set()
        """Ways that bound a lanelet or area."""
        self.bound_by: dict[str, list[str]] = defaultdict(list)
        """Lanelets that a regulatory element concerns."""
        self._knows_turns = any(
            "turn_direction" in r.tags or "intersection_area" in r.tags
            for r in osm.relations.values()
        )
        lanelets = self._of_type("lanelet")
        for name, relation in lanelets.items():
            self._add_lanelet(name, relation)
            for rule in relation.refs("regulatory_element"):
                self.bound_by[rule].append(name)
        for name, relation in self._of_type("multipolygon", "area").items():
            self._add_area(name, relation)
        for name, way in osm.ways.items():
            self._add_way(name, way)
        self._add_succession()
        self._add_neighbours()
        for name, relation in self._of_type("regulatory_element").items():
            self._add_rule(name, relation)

    def extra(self) -> dict[str, Any]:
        return {"regulatory_elements": self.rules} if self.rules else {}

    def _of_type(self, *types: str) -> dict[str, _Relation]:
        return {n: r for n, r in self.osm.relations.items() if r.tags.get("type") in types}

    def _points(self, names: Sequence[str]) -> Float[Array, "points 3"]:
        known = [self.frame.xyz[name] for name in names if name in self.frame.xyz]
        lost = len(names) - len(known)
        self.tally.add("dropped", "points of ways whose node is not there", lost)
        return np.array(known, dtype=np.float64).reshape(-1, 3)

    def _bound(self, ways: Sequence[str]) -> _Bound | None:
        """One way, or several that hang together, as one line; None if there is none."""
        names: list[str] = []
        for ref in ways:
            way = self.osm.ways.get(ref)
            if way is None:
                self.tally.add("dropped", "members of relations that are not there")
                continue
            self.used.add(ref)
            nodes = [node for node in way.nodes if node in self.frame.xyz]
            self.tally.add(
                "dropped", "points of ways whose node is not there", len(way.nodes) - len(nodes)
            )
            if not nodes:
                continue
            if names and names[-1] != nodes[0]:
                if names[-1] == nodes[-1]:
                    nodes = nodes[::-1]
                elif names[0] in (nodes[0], nodes[-1]):
                    names = names[::-1]
                    nodes = nodes if names[-1] == nodes[0] else nodes[::-1]
            names += nodes[1:] if names and names[-1] == nodes[0] else nodes
        if len(names) < 2:
            return None
        return _Bound(tuple(names), np.array([self.frame.xyz[name] for name in names]))

    def _add_lanelet(self, name: str, relation: _Relation) -> None:
        left, right = self._bound(relation.refs("left")), self._bound(relation.refs("right"))
        if left is None or right is None or min(_length(left), _length(right)) < SAME_PLACE_M:
            self.tally.add("dropped", "lanelets without two bounds of two points")
            return
        left, right = _aligned(left, right)
        tags = relation.tags
        subtype = tags.get("subtype", "")
        has_z = self.frame.has_z
        if subtype == "crosswalk" or subtype in WALKS:
            layer = MapLayer.CROSSWALK if subtype == "crosswalk" else MapLayer.WALKWAY
            outline = np.concatenate([left.points, right.points[::-1]])
            index = self.draft.add(layer, name, outline, source_type=_words(tags), has_z=has_z)
            self.of_relation[name].append(index)
            return
        drawn = self._bound(relation.refs("centerline"))
        two_way = (tags.get("one_way") or tags.get("one_way:vehicle")) in NO
        limit = metres_per_second(tags.get("speed_limit", ""), default="km/h")
        if limit is None and tags.get("speed_limit"):
            self.tally.add("dropped", "speed limits that are not understood (kept as a word)")
        for against in (False, True) if two_way else (False,):
            if against:
                left, right = right.reversed(), left.reversed()
                self.tally.add(
                    "renamed",
                    "two-way lanelets are two lanes, `<id>~` against the bounds' own way",
                )
            index = self.draft.add(
                MapLayer.LANE,
                name + "~" * against,
                _centre(left.points, right.points, drawn),
                left=left.points,
                right=right.points,
                lane_type=_lane_type(tags),
                source_type=_words(tags),
                speed_limit=limit,
                in_intersection=self._in_intersection(tags),
                has_z=has_z,
            )
            self.lanes.append(_Lane(index, name, left, right))
            self.of_relation[name].append(index)

    def _in_intersection(self, tags: Mapping[str, str]) -> bool | None:
        if not self._knows_turns:
            return None
        return "turn_direction" in tags or "intersection_area" in tags

    def _add_area(self, name: str, relation: _Relation) -> None:
        outer = self._bound(relation.refs("outer"))
        holes = relation.refs("inner")
        for ref in holes:
            self.used.add(ref)
        self.tally.add("dropped", "holes of areas", len(holes))
        if outer is None or len(outer.points) < 3:
            self.tally.add("dropped", "areas without an outline of three points")
            return
        layer = AREAS.get(relation.tags.get("subtype", ""), MapLayer.OTHER)
        index = self.draft.add(
            layer, name, outer.points, source_type=_words(relation.tags), has_z=self.frame.has_z
        )
        self.of_relation[name].append(index)

    def _add_way(self, name: str, way: _Way) -> None:
        kind = way.tags.get("type", "")
        if not kind and name in self.used:
            return  # told already, by what it bounds
        points = self._points(way.nodes)
        if not len(points):
            self.tally.add("dropped", "ways without points")
            return
        closed = (
            kind in CLOSED_WAYS or way.tags.get("area") in YES or way.nodes[0] == way.nodes[-1]
        )
        layer = MapLayer.OTHER
        if kind in SIGNS:
            stop = kind == "traffic_sign" and way.tags.get("subtype") in STOP_SIGNS
            layer, points = MapLayer.STOP_SIGN if stop else SIGNS[kind], _middle(points)[None]
        elif kind == "parking_space" and (width := _float(way.tags.get("width", ""))) > 0.0:
            edges = offset_line(points, width / 2.0), offset_line(points, -width / 2.0)
            layer, points = MapLayer.PARKING, np.concatenate([edges[0], edges[1][::-1]])
        elif kind in LINES:
            layer = LINES[kind]
        elif closed and len(points) > 2:
            layer = AREAS.get(kind, MapLayer.OTHER)
        self.of_way[name] = self.draft.add(
            layer, name, points, source_type=_words(way.tags), has_z=self.frame.has_z
        )

    # Edges ----------------------------------------------------------------------------------------

    def _add_succession(self) -> None:
        """Lanes follow where both bounds go on from the same nodes, or from the same places."""
        begins: dict[tuple[str, str], list[_Lane]] = defaultdict(list)
        places: dict[tuple[tuple[int, ...], tuple[int, ...]], list[_Lane]] = defaultdict(list)
        for lane in self.lanes:
            begins[lane.left.names[0], lane.right.names[0]].append(lane)
            places[_cell(lane.left.points[0]), _cell(lane.right.points[0])].append(lane)
        for lane in self.lanes:
            told = begins.get((lane.left.names[-1], lane.right.names[-1]), [])
            met = places.get((_cell(lane.left.points[-1]), _cell(lane.right.points[-1])), [])
            here = [after for after in told if after.relation != lane.relation]
            near = [a for a in met if a.relation != lane.relation and a not in here]
            for after in (*here, *near):
                self.draft.follow(lane.index, after.index)
            self.tally.add("guessed", "lanes follow where separate nodes lie in one place",
                           len(near))  # fmt: skip

    def _add_neighbours(self) -> None:
        """Lanes lie side by side where one's left bound is the other's right one."""
        by_right: dict[tuple[str, ...], list[_Lane]] = defaultdict(list)
        by_left: dict[tuple[str, ...], list[_Lane]] = defaultdict(list)
        for lane in self.lanes:
            by_right[lane.right.names].append(lane)
            by_left[lane.left.names].append(lane)
        facing = 0
        for lane in self.lanes:
            for left in by_right.get(lane.left.names, ()):
                self.draft.beside(left.index, lane.index)
            facing += len(by_left.get(lane.left.names[::-1], ()))
        self.tally.add("dropped", "neighbours in the opposite direction are no edges", facing)

    def _add_rule(self, name: str, rule: _Relation) -> None:
        """A regulatory element: edges where it says them, and all of it as it stands."""
        lanelets = self.bound_by[name]
        self.rules[name] = {
            **rule.tags,
            "lanelets": lanelets,
            **{
                role: rule.refs(role) for role in dict.fromkeys(m[2] for m in rule.members) if role
            },
        }
        kind = rule.tags.get("subtype", "")
        concerned = rule.refs("yield") if kind in ("right_of_way", "all_way_stop") else lanelets
        lanes = [i for ref in concerned for i in self.of_relation.get(ref, ()) if self._is_lane(i)]
        stops = [self.of_way[ref] for ref in rule.refs("ref_line") if ref in self.of_way]
        for lane in lanes:
            if stops:
                self.draft.edge(self._nearest(stops, lane), EdgeKind.STOP_LINE_OF_LANE, lane)
        for ref in rule.refs("refers"):
            sign = self.of_way.get(ref)
            if sign is not None and self.draft.features[sign].layer is MapLayer.STOP_SIGN:
                for lane in lanes:
                    self.draft.edge(sign, EdgeKind.STOP_LINE_OF_LANE, lane)
            for area in self.of_relation.get(ref, ()):
                if kind == "crosswalk" and not self._is_lane(area):
                    for lane in lanes:
                        self.draft.edge(area, EdgeKind.CROSSWALK_OVER_LANE, lane)
        if kind == "speed_limit":
            limit = self._signed_limit(rule)
            for lane in lanes if limit is not None else ():
                assert limit is not None
                self.draft.set_speed_limit(lane, limit)

    def _is_lane(self, index: int) -> bool:
        return self.draft.features[index].layer is MapLayer.LANE

    def _nearest(self, stops: Sequence[int], lane: int) -> int:
        """Of several stop lines that of the lane: the nearest to its end."""
        end = self.draft.features[lane].points[-1, :2]
        gaps = [
            np.linalg.norm(self.draft.features[stop].points[:, :2].mean(axis=0) - end)
            for stop in stops
        ]
        return stops[int(np.argmin(gaps))]

    def _signed_limit(self, rule: _Relation) -> float | None:
        """The limit that a rule tells, or a sign that it refers to [m/s]."""
        told = [metres_per_second(rule.tags.get("sign_type", ""), default="km/h")]
        for ref in rule.refs("refers"):
            way = self.osm.ways.get(ref)
            told.append(None if way is None else _limit_of_sign(way.tags.get("subtype", "")))
        return min((limit for limit in told if limit is not None), default=None)


def _words(tags: Mapping[str, str]) -> str:
    """Type and subtype, then every other tag as ``key=value``."""
    kind = "" if tags.get("type") in ("lanelet", "multipolygon") else tags.get("type", "")
    others = (f"{k}={v}" for k, v in tags.items() if k not in ("type", "subtype", "area"))
    return " ".join(word for word in (kind, tags.get("subtype", ""), *others) if word)


def _lane_type(tags: Mapping[str, str]) -> LaneType:
    """By the participants, where they are told, else by the subtype."""
    admitted = {
        key.removeprefix("participant:").removeprefix("vehicle:")
        for key, value in tags.items()
        if key.startswith("participant:") and value in YES
    }
    subtype = LANE_TYPES.get(tags.get("subtype", ""), LaneType.OTHER)
    if admitted == {"pedestrian"}:
        return LaneType.SIDEWALK
    if admitted and admitted <= {"bicycle", "pedestrian"}:
        return LaneType.BIKE
    if admitted and admitted <= {"bus", "taxi", "emergency"} and "bus" in admitted:
        return LaneType.BUS
    if admitted and subtype in (LaneType.OTHER, LaneType.BIKE, LaneType.BUS):
        return LaneType.VEHICLE
    return subtype


def _limit_of_sign(subtype: str) -> float | None:
    """German signs: 274 with the number after it, or 274.1, which is a zone of 30 km/h."""
    code = subtype.lower().removeprefix("de").replace("_", "-").replace(".", "-")
    if code == "274-1":
        return 30.0 / 3.6
    number = code.removeprefix("274-")
    return float(number) / 3.6 if number != code and number.isdigit() else None


def _length(bound: _Bound) -> float:
    return float(arc_length(bound.points)[-1])


def _cell(point: Float[Array, " 3"]) -> tuple[int, ...]:
    return tuple(np.round(point / SAME_PLACE_M).astype(np.int64).tolist())


def _middle(points: Float[Array, "points 3"]) -> Float[Array, " 3"]:
    """Between the outermost points, so that a closed outline's repeated one does not weigh."""
    middle: Float[Array, " 3"] = (points.min(axis=0) + points.max(axis=0)) / 2.0
    return middle


def _aligned(left: _Bound, right: _Bound) -> tuple[_Bound, _Bound]:
    """Both bounds in the direction in which the left one is on the left.

    They run alongside each other, so the ends that are nearer belong together; then along the left
    and back along the right one goes round the lanelet clockwise.
    """
    straight = _gap(left.points[0], right.points[0]) + _gap(left.points[-1], right.points[-1])
    crossed = _gap(left.points[0], right.points[-1]) + _gap(left.points[-1], right.points[0])
    if crossed < straight:
        right = right.reversed()
    x, y = np.concatenate([left.points, right.points[::-1]])[:, :2].T - left.points[0, :2, None]
    counter_clockwise = float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) > 0.0
    return (left.reversed(), right.reversed()) if counter_clockwise else (left, right)


def _gap(here: Float[Array, " 3"], there: Float[Array, " 3"]) -> float:
    return float(np.hypot(*(there - here)[:2]))


def _centre(
    left: Float[Array, "left 3"], right: Float[Array, "right 3"], drawn: _Bound | None
) -> Float[Array, "points 3"]:
    """The drawn centre line, else the middle of the bounds at equal shares of their lengths."""
    if drawn is not None:
        begin, end = (left[0] + right[0]) / 2.0, (left[-1] + right[-1]) / 2.0
        ahead = np.linalg.norm(drawn.points[0] - begin) + np.linalg.norm(drawn.points[-1] - end)
        back = np.linalg.norm(drawn.points[0] - end) + np.linalg.norm(drawn.points[-1] - begin)
        return drawn.points if ahead <= back else drawn.points[::-1]
    along_left, along_right = arc_length(left), arc_length(right)
    share = np.union1d(along_left / along_left[-1], along_right / along_right[-1])
    share = share[np.concatenate([[True], np.diff(share) > 1e-9])]
    made = (at(left, share * along_left[-1]) + at(right, share * along_right[-1])) / 2.0
    kept = without_repeats(made)
    return kept if len(kept) > 1 else made[[0, -1]]
