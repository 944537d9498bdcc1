"""The nuScenes map expansion: ``maps/expansion/<location>.json`` to a road map.

Nodes carry the coordinates (metres from the south-western corner of the location, no heights);
lines and polygons name nodes; everything else names a line or a polygon. The centre lines of lanes
and of lane connectors are arc-line paths: three pieces, each straight or on a circle of one radius,
as the letters of ``shape`` say (L left, R right, S straight). From a pose (x, y, θ) on curvature κ,
after s metres (Dubins 1957):

    x + (sin(θ + κs) − sin θ) / κ,   y − (cos(θ + κs) − cos θ) / κ,   θ + κs

with κ = ±1 / radius, and x + s cos θ, y + s sin θ where κ = 0. Versions 1.0 to 1.3 are read; what
stands in a later one only (connectivity and arc-line paths since 1.2) is missing in an older.

Source: the published schema, github.com/nutonomy/nuscenes-devkit,
``python-sdk/tutorials/map_expansion_tutorial.ipynb``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from formats.files import read_json
from formats.map_draft import MapDraft
from formats.tally import Tally
from geometry.arrays import Array
from geometry.polylines import arc_length, resample
from schemas.errors import UnreadableFile
from schemas.labels import AREAS as AREA_LAYERS
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import Note, RoadMap

ORIGINS_WGS84 = {
    "boston-seaport": (42.336849169438615, -71.05785369873047),
    "singapore-onenorth": (1.2882100868743724, 103.78475189208984),
    "singapore-hollandvillage": (1.2993652317780957, 103.78217697143555),
    "singapore-queenstown": (1.2782562240223188, 103.76741409301758),
}
"""Latitude and longitude of the south-western corners [deg], as published."""

SPACING = 1.0  # [m] at most, between points of a centre line
REPEAT = 0.01  # [m] nearer points of a centre line are one
CLOSES = 0.1  # [m] farthest an arc-line path may end from the pose that is told for its end
CORNER = 0.5  # [m] farthest the end of an edge line may lie from its corner of the lane
SHARED = 2  # divider corners that two neighbours have in common
NO_TYPE = "NIL"

CURVES = {"L": 1.0, "R": -1.0, "S": 0.0}
LANE_TYPES = {"CAR": LaneType.VEHICLE, "BIKE": LaneType.BIKE, "BUS": LaneType.BUS}
AREAS = {
    "walkway": MapLayer.WALKWAY,
    "ped_crossing": MapLayer.CROSSWALK,
    "carpark_area": MapLayer.PARKING,
    "road_segment": MapLayer.OTHER,
    "road_block": MapLayer.OTHER,
    "stop_line": MapLayer.STOP_LINE,
}
"""Layers of polygons; a road segment that is an intersection becomes one. A stop line of nuScenes
is the area in which to stop."""

LAYERS = ("node", "line", "polygon", "lane", "drivable_area", *AREAS)
"""What a file must hold; the rest may be missing."""


def read_map(path: Path) -> tuple[RoadMap, list[Note]]:
    """The map of one location, and what of it could not be carried over.

    Raises:
        UnreadableFile: It is no such map.
    """
    content = read_json(path)
    missing = [name for name in LAYERS if not isinstance(_get(content, name), list)]
    if missing:
        raise UnreadableFile(path, f"is no nuScenes map: it has no {', '.join(missing)}")
    try:
        return _Builder(content).road_map(path.name.split(".json")[0])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        reason = f"is no nuScenes map ({type(error).__name__}: {error})"
        raise UnreadableFile(path, reason) from error


def follow(paths: Sequence[Mapping[str, Any]]) -> Float[Array, "points 2"]:
    """Points along arc-line paths that continue one another, at most ``SPACING`` apart [m]."""
    pieces = [_follow_one(path)[0] for path in paths]
    points = np.concatenate(pieces) if pieces else np.zeros((0, 2))
    kept = [0] if len(points) else []
    for index in range(1, len(points)):
        if np.hypot(*(points[index] - points[kept[-1]])) >= REPEAT:
            kept.append(index)
    if len(kept) > 1:
        kept[-1] = len(points) - 1
    return np.asarray(points[kept])


def _follow_one(path: Mapping[str, Any]) -> tuple[Array, float]:
    """Points along one path, and how far it ends from where it says [m]."""
    x, y, yaw = (float(value) for value in path["start_pose"])
    radius = float(path["radius"])
    points = [np.array([[x, y]])]
    for letter, told in zip(path["shape"], path["segment_length"], strict=True):
        length, curvature = float(told), CURVES[letter] / radius
        if length <= 0.0:
            continue
        s = np.linspace(0.0, length, int(np.ceil(length / SPACING)) + 1)[1:]
        turned = yaw + curvature * s
        if curvature == 0.0:
            piece = np.stack([x + s * np.cos(yaw), y + s * np.sin(yaw)], axis=1)
        else:
            piece = np.stack(
                [
                    x + (np.sin(turned) - np.sin(yaw)) / curvature,
                    y - (np.cos(turned) - np.cos(yaw)) / curvature,
                ],
                axis=1,
            )
        points.append(piece)
        (x, y), yaw = piece[-1], float(turned[-1])
    end = path.get("end_pose")
    gap = 0.0 if end is None else float(np.hypot(x - float(end[0]), y - float(end[1])))
    return np.concatenate(points), gap


@dataclass(frozen=True, slots=True, eq=False)
class _Polygon:
    outline: Float[Array, "points 2"]
    holes: Sequence[Float[Array, "points 2"]]


@dataclass(slots=True)
class _Lane:
    """A lane or connector that is in the draft; corners of its sides, rounded to the centimetre."""

    index: int
    token: str
    centre: Array
    left: set[tuple[float, float]] = field(default_factory=set)
    right: set[tuple[float, float]] = field(default_factory=set)

    @property
    def middle(self) -> Array:
        """Half-way along the centre line."""
        return np.asarray(resample(self.centre, 3)[1])


class _Builder:
    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content
        self.tally = Tally()
        self.draft = MapDraft(self.tally)
        self.nodes = {
            str(node["token"]): (float(node["x"]), float(node["y"])) for node in content["node"]
        }
        self.lines = {str(line["token"]): line["node_tokens"] for line in content["line"]}
        self.polygons = {str(polygon["token"]): polygon for polygon in content["polygon"]}
        self.lanes: dict[str, _Lane] = {}
        self.painted: set[frozenset[tuple[float, float]]] = set()

    def road_map(self, name: str) -> tuple[RoadMap, list[Note]]:
        junctions = _Areas(
            [
                polygon
                for record in self.content["road_segment"]
                if record.get("is_intersection")
                and (polygon := self._polygon(record.get("polygon_token"))) is not None
            ]
        )
        for layer in ("lane", "lane_connector"):
            for record in self.content.get(layer) or ():
                self._add_lane(record, layer, junctions)
        for record in self.content.get("lane_divider") or ():
            self._add_paint(record["token"], record.get("lane_divider_segments"), "lane_divider")
            if not record.get("lane_divider_segments"):
                self._add_line(record, "lane_divider")
        for record in self.content["lane"]:
            for side in ("left", "right"):
                segments = record.get(f"{side}_lane_divider_segments")
                self._add_paint(f"{record['token']}:{side}", segments, "lane_divider_segment")
        for record in self.content.get("road_divider") or ():
            self._add_line(record, "road_divider")
        for record in self.content["drivable_area"]:
            for number, token in enumerate(record["polygon_tokens"]):
                key = f"{record['token']}:{number}"
                self._add_area(key, token, MapLayer.DRIVABLE_AREA, "drivable_area")
        added = {layer: list(self._add_areas(layer)) for layer in AREAS}
        for record in self.content.get("traffic_light") or ():
            self._add_light(record)
        self._connect()
        self._be_neighbours()
        self._stop(added["stop_line"])
        return self.draft.road_map(name), self.tally.notes()

    # ── Features ────────────────────────────────────────────────────────────────────────────────

    def _add_lane(self, record: Mapping[str, Any], layer: str, junctions: _Areas) -> None:
        token = str(record["token"])
        polygon = self._polygon(record.get("polygon_token"))
        edges = [self._line(record.get(f"{end}_edge_line_token")) for end in ("from", "to")]
        paths = (self.content.get("arcline_path_3") or {}).get(token) or ()
        centre = np.zeros((0, 2))
        if all(_is_path(path) for path in paths):
            centre = follow(paths)
            off = sum(_follow_one(path)[1] > CLOSES for path in paths)
            self.tally.add("guessed", "arc-line paths end elsewhere than they are told to", off)
        if len(centre) < 2 and polygon is not None and all(len(edge) > 1 for edge in edges):
            centre = np.stack([edge.mean(axis=0) for edge in edges])
            left, right = _sides(polygon.outline, edges[0], edges[1], centre)
            if left is not None and right is not None:
                count = max(len(left), len(right), int(arc_length(left)[-1] / SPACING) + 2)
                centre = (resample(left, count) + resample(right, count)) / 2.0
            reason = "lanes without a usable arc-line path run between their sides"
            self.tally.add("guessed", reason)
        if len(centre) < 2 or not np.isfinite(centre).all() or arc_length(centre)[-1] <= 0.0:
            self.tally.add("dropped", f"{layer}s without a usable centre line")
            return
        left = right = None
        if polygon is not None and layer == "lane":  # a connector's polygon is a mere rectangle
            left, right = _sides(polygon.outline, edges[0], edges[1], centre)
        lane = _Lane(-1, token, centre)
        for side, line, corners in (("left", left, lane.left), ("right", right, lane.right)):
            drawn = self._corners(
                [s.get("node_token") for s in record.get(f"{side}_lane_divider_segments") or ()]
            )
            corners |= {_rounded(point) for point in drawn}
            if line is not None:
                corners |= {_rounded(point) for point in line}
            elif len(drawn) > 1:
                towards = np.dot(drawn[-1] - drawn[0], centre[-1] - centre[0])
                line = drawn if towards >= 0.0 else drawn[::-1]
            if side == "left":
                left = line
            else:
                right = line
        word = str(record.get("lane_type") or "")
        lane.index = self.draft.add(
            MapLayer.LANE,
            token,
            _flat(centre),
            left=None if left is None else _flat(left),
            right=None if right is None else _flat(right),
            lane_type=LANE_TYPES.get(word, LaneType.OTHER if word else LaneType.VEHICLE),
            source_type=f"{layer} {word}".strip(),
            in_intersection=bool(junctions.round(lane.middle)),
            has_z=False,
        )
        self.lanes[token] = lane

    def _add_paint(self, key: str, segments: Any, word: str) -> None:
        """Stretches of one kind of paint; a segment's kind is that of the stretch it begins.

        Neighbouring lanes and their divider draw the same paint: it is kept once.
        """
        corners = self._corners([s.get("node_token") for s in segments or ()])
        if len(corners) != len(segments or ()):
            self.tally.add("dropped", f"{word}s that name nodes which are not there")
            return
        run: list[Array] = []
        kind, number = "", 0

        def end_run() -> None:
            nonlocal number
            if len(run) > 1:
                name = f"{key}:{number}" if number else key
                self.draft.add(
                    MapLayer.ROAD_LINE, name, _flat(np.array(run)),
                    source_type=f"{word} {kind}", has_z=False,
                )  # fmt: skip
                number += 1
            run.clear()

        for begin, end, segment in zip(corners[:-1], corners[1:], segments or (), strict=False):
            pair = frozenset((_rounded(begin), _rounded(end)))
            told = str(segment.get("segment_type") or NO_TYPE)
            if pair in self.painted or len(pair) < 2 or told != kind:
                end_run()
            if pair in self.painted or len(pair) < 2:
                continue
            self.painted.add(pair)
            kind = told
            run += [end] if run else [begin, end]
        end_run()

    def _add_line(self, record: Mapping[str, Any], word: str) -> None:
        points = self._line(record.get("line_token"))
        if len(points) < 2:
            self.tally.add("dropped", f"{word}s without a usable line")
            return
        self.draft.add(
            MapLayer.ROAD_LINE, str(record["token"]), _flat(points), source_type=word, has_z=False
        )

    def _add_areas(self, layer: str) -> Iterator[tuple[Mapping[str, Any], int]]:
        for record in self.content[layer]:
            kind, word = AREAS[layer], layer
            junction = bool(record.get("is_intersection"))
            if layer == "road_segment" and junction:
                kind = MapLayer.INTERSECTION
            if layer == "stop_line":
                word = f"{layer} {record.get('stop_line_type') or ''}".strip()
            if layer == "carpark_area" and record.get("orientation") is not None:
                word = f"{layer} orientation {record['orientation']}"
            index = self._add_area(
                str(record["token"]), record.get("polygon_token"), kind, word,
                in_intersection=junction if layer == "road_segment" else None,
            )  # fmt: skip
            if index is not None:
                yield record, index

    def _add_area(
        self, key: str, token: Any, layer: MapLayer, word: str, in_intersection: bool | None = None
    ) -> int | None:
        polygon = self._polygon(token)
        if polygon is None:
            self.tally.add("dropped", f"{word.split()[0]}s without a usable polygon")
            return None
        ring = polygon.outline if layer in AREA_LAYERS else _closed(polygon.outline)
        index = self.draft.add(
            layer, key, _flat(ring), source_type=word,
            in_intersection=in_intersection, has_z=False,
        )  # fmt: skip
        inner = MapLayer.ROAD_EDGE if layer is MapLayer.DRIVABLE_AREA else MapLayer.OTHER
        for number, hole in enumerate(polygon.holes):
            name = f"{key}:hole{number}"
            self.draft.add(
                inner, name, _flat(_closed(hole)), source_type=f"{word} hole", has_z=False
            )
        return index

    def _add_light(self, record: Mapping[str, Any]) -> None:
        """Where a signal hangs; two locations leave its pose at 0, but all draw a line there."""
        pose = record.get("pose") or {}
        place = np.array([float(pose.get(axis) or 0.0) for axis in ("tx", "ty", "tz")])
        line = self._line(record.get("line_token"))
        posed = bool(place[:2].any())
        if not posed and len(line):
            place[:2] = line.mean(axis=0)
        if not place[:2].any() or not np.isfinite(place).all():
            self.tally.add("dropped", "traffic lights without a place")
            return
        bulbs = [f"{item.get('color')}:{item.get('shape')}" for item in record.get("items") or ()]
        words = ["traffic_light", str(record.get("traffic_light_type") or ""), *bulbs]
        self.draft.add(
            MapLayer.TRAFFIC_LIGHT, str(record["token"]), place[None],
            source_type=" ".join(filter(None, words)), has_z=posed,
        )  # fmt: skip
        reason = "to which road blocks a traffic light belongs, and where each of its lamps is"
        self.tally.add("dropped", reason)

    # ── Edges ───────────────────────────────────────────────────────────────────────────────────

    def _connect(self) -> None:
        outside = 0
        for token, links in (self.content.get("connectivity") or {}).items():
            here = self.lanes.get(token)
            for way in ("incoming", "outgoing"):
                for other in links.get(way) or ():
                    there = self.lanes.get(other)
                    if here is None or there is None:
                        outside += 1
                    elif way == "outgoing":
                        self.draft.follow(here.index, there.index)
                    else:
                        self.draft.follow(there.index, here.index)
        self.tally.add("dropped", "links from or to lanes that the map lacks", outside)

    def _be_neighbours(self) -> None:
        """Lanes lie side by side where one's right side is the other's left."""
        by_corner: dict[tuple[float, float], list[_Lane]] = {}
        for lane in self.lanes.values():
            for corner in lane.left:
                by_corner.setdefault(corner, []).append(lane)
        found = 0
        for lane in self.lanes.values():
            shared: dict[str, int] = {}
            for corner in lane.right:
                for other in by_corner.get(corner, ()):
                    if other is not lane:
                        shared[other.token] = shared.get(other.token, 0) + 1
            for token, count in shared.items():
                if count >= SHARED:
                    self.draft.beside(lane.index, self.lanes[token].index)
                    found += 1
        self.tally.add("guessed", "neighbouring lanes follow from the sides they share", found)

    def _stop(self, lines: Sequence[tuple[Mapping[str, Any], int]]) -> None:
        """A stop line belongs to the lanes of its road block, or to those that lead over it."""
        import shapely

        blocks = {str(r["token"]): r.get("polygon_token") for r in self.content["road_block"]}
        lanes = list(self.lanes.values())
        if not lanes or not lines:
            return
        middles = shapely.STRtree([shapely.Point(lane.middle) for lane in lanes])
        centres = shapely.STRtree([shapely.LineString(lane.centre) for lane in lanes])
        guessed = 0
        for record, index in lines:
            block = self._polygon(blocks.get(str(record.get("road_block_token"))))
            if block is not None:
                found = middles.query(_shape(block), predicate="contains")
            else:
                area = self._polygon(record.get("polygon_token"))
                assert area is not None
                found = centres.query(_shape(area), predicate="intersects")
                guessed += len(found)
            for place in sorted(found.tolist()):
                self.draft.edge(index, EdgeKind.STOP_LINE_OF_LANE, lanes[place].index)
        self.tally.add("guessed", "stop-line-of-lane edges follow from the geometry", guessed)

    # ── Geometry by token ───────────────────────────────────────────────────────────────────────

    def _corners(self, tokens: Sequence[Any]) -> Float[Array, "points 2"]:
        found = [self.nodes[str(token)] for token in tokens if str(token) in self.nodes]
        points = np.array(found, dtype=np.float64).reshape(-1, 2)
        return np.asarray(points[np.isfinite(points).all(axis=1)])

    def _line(self, token: Any) -> Float[Array, "points 2"]:
        return self._corners(self.lines.get(str(token), ()))

    def _polygon(self, token: Any) -> _Polygon | None:
        record = self.polygons.get(str(token))
        if record is None:
            return None
        outline = self._corners(record["exterior_node_tokens"])
        if len(outline) < 3:
            return None
        holes = [self._corners(hole["node_tokens"]) for hole in record.get("holes") or ()]
        return _Polygon(outline, [hole for hole in holes if len(hole) > 2])


class _Areas:
    """Polygons, to ask which lie round a point."""

    def __init__(self, polygons: Sequence[_Polygon]) -> None:
        import shapely

        self._tree = shapely.STRtree([_shape(polygon) for polygon in polygons])

    def round(self, xy: Array) -> int:
        """How many lie round it."""
        import shapely

        return len(self._tree.query(shapely.Point(xy), predicate="within"))


def _shape(polygon: _Polygon) -> Any:
    import shapely

    return shapely.make_valid(shapely.Polygon(polygon.outline, polygon.holes))


def _sides(
    outline: Array, begin: Array, end: Array, centre: Array
) -> tuple[Array | None, Array | None]:
    """Left and right side of a lane's outline, between the corners of its two end edges."""
    if len(begin) < 2 or len(end) < 2:
        return None, None
    ring = outline[:-1] if np.allclose(outline[0], outline[-1]) else outline
    corners = {}
    for name, edge, way in (
        ("begin", begin, centre[1] - centre[0]),
        ("end", end, centre[-1] - centre[-2]),
    ):
        first, last = edge[0], edge[-1]
        across = last - first
        left_first = way[0] * across[1] - way[1] * across[0] < 0.0
        for side, point in (("left", first), ("right", last)) if left_first else (
            ("left", last), ("right", first),
        ):  # fmt: skip
            gaps = np.hypot(*(ring - point).T)
            if gaps.min() > CORNER:
                return None, None
            corners[name, side] = int(gaps.argmin())
    if len(set(corners.values())) < 4:
        return None, None
    return tuple(_chain(ring, corners, side) for side in ("left", "right"))  # type: ignore[return-value]


def _chain(ring: Array, corners: Mapping[tuple[str, str], int], side: str) -> Array | None:
    """From the first corner of a side to its last, the way that meets no corner of the other."""
    other = "right" if side == "left" else "left"
    foreign = {corners["begin", other], corners["end", other]}
    for step in (1, -1):
        place, found = corners["begin", side], []
        while True:
            found.append(place)
            if place == corners["end", side]:
                return np.asarray(ring[found])
            if place in foreign:
                break
            place = (place + step) % len(ring)
    return None


def _is_path(path: Any) -> bool:
    return (
        isinstance(path, Mapping)
        and {"start_pose", "shape", "radius", "segment_length"} <= set(path)
        and set(path["shape"]) <= set(CURVES)
        and len(path["shape"]) == len(path["segment_length"])
        and float(path["radius"]) > 0.0
    )


def _flat(xy: Array) -> Float[Array, "points 3"]:
    return np.column_stack([xy, np.zeros(len(xy))])


def _closed(ring: Array) -> Array:
    return np.concatenate([ring, ring[:1]])


def _rounded(point: Array) -> tuple[float, float]:
    return round(float(point[0]), 2), round(float(point[1]), 2)


def _get(content: Any, name: str) -> Any:
    return content.get(name) if isinstance(content, Mapping) else None
