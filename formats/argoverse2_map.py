"""Argoverse 2 vector maps: ``log_map_archive_*.json`` to :class:`~schemas.records.RoadMap` and back.

A map holds lane segments (two boundaries with paint, neighbours, successors, predecessors),
pedestrian crossings (two edges along the way of walking) and drivable areas (outlines). Neighbours
may run the other way; such pairs are not lane changes and become no edge. What Argoverse cannot say
(speed limits, stop lines, lanes that are no lanes to it) goes through :class:`MapExtras`.

Source: github.com/argoverse/av2-api, ``src/av2/map``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from formats.files import read_json, understood
from geometry.arrays import Array
from geometry.polylines import arc_length, offset_line, resample
from schemas.errors import UnreadableFile
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import MapFeature, Note, RoadMap

LANE_TYPES: dict[str, LaneType] = {
    "VEHICLE": LaneType.VEHICLE,
    "BIKE": LaneType.BIKE,
    "BUS": LaneType.BUS,
}
CROSSING = "pedestrian_crossing"
DRIVABLE = "drivable_area"
NO_PAINT = "NONE"
MARKS = (
    "DASH_SOLID_YELLOW", "DASH_SOLID_WHITE", "DASHED_WHITE", "DASHED_YELLOW",
    "DOUBLE_SOLID_YELLOW", "DOUBLE_SOLID_WHITE", "DOUBLE_DASH_YELLOW", "DOUBLE_DASH_WHITE",
    "SOLID_YELLOW", "SOLID_WHITE", "SOLID_DASH_WHITE", "SOLID_DASH_YELLOW", "SOLID_BLUE",
)  # fmt: skip
"""Paint of a lane boundary, besides ``NONE`` and ``UNKNOWN``."""

CENTRE_SPACING = 2.0  # [m] of a centre line that is made from the boundaries
HALF_LANE = 1.75  # [m] where a boundary must be made up, which the extras say
MARK_REACH = 0.5  # [m] farthest a painted line may lie from the boundary it marks

_XYZ = itemgetter("x", "y", "z")
_WRITTEN_AS = {
    LaneType.UNKNOWN: "VEHICLE",
    LaneType.VEHICLE: "VEHICLE",
    LaneType.FREEWAY: "VEHICLE",
    LaneType.BIKE: "BIKE",
    LaneType.BUS: "BUS",
}
"""Shoulders, sidewalks and others are no lane segments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapExtras:
    """What the Argoverse file of a map leaves out, in the order of the features.

    Attributes:
        source_map_id: As in the map.
        features: Per feature, JSON values; ``av2_id`` where Argoverse holds its geometry.
        edges: (from, kind, to) as in the map, kind as a word.
    """

    source_map_id: str
    features: Sequence[Mapping[str, Any]]
    edges: Sequence[tuple[int, str, int]] = field(default=())


def read_map(path: Path, *, extras: MapExtras | None = None) -> tuple[RoadMap, list[Note]]:
    """A map, and what of it could not be carried over.

    Args:
        path: ``log_map_archive_*.json``, perhaps packed.
        extras: What :func:`map_to_json` put aside when it wrote the file.

    Raises:
        UnreadableFile: It is no such map.
    """
    content = read_json(path)
    if not isinstance(content, dict) or "lane_segments" not in content:
        raise UnreadableFile(path, "is no Argoverse 2 map: it has no `lane_segments`")
    notes: list[Note] = []
    with understood(path, "an Argoverse 2 map"):
        lane = partial(_lane, lift=extras is None)
        lanes = _each(content, "lane_segments", lane, notes)
        crossings = _each(content, "pedestrian_crossings", _crossing, notes)
        areas = _each(content, "drivable_areas", _area, notes)
    name = path.name.split(".json")[0].removeprefix("log_map_archive_")
    if extras is not None:
        return _completed(extras, [*lanes, *crossings, *areas], path), notes
    with understood(path, "an Argoverse 2 map"):
        segments = content["lane_segments"]
        paint = list(_road_lines(lanes, {str(s["id"]): s for s in segments.values()}))
        edges, more = _edges(lanes, segments.values())
    features = tuple(
        replace(feature, feature_id=index)
        for index, feature in enumerate([*lanes, *paint, *crossings, *areas])
    )
    return RoadMap(source_map_id=name, features=features, edges=edges), [*notes, *more]


def map_to_json(road_map: RoadMap) -> tuple[dict[str, Any], MapExtras]:
    """The content of an Argoverse map file, and what that leaves out."""
    ids = _argoverse_ids(road_map)
    lanes = [f for f in road_map.of_layer(MapLayer.LANE) if f.feature_id in ids]
    paint = _PaintIndex(road_map.of_layer(MapLayer.ROAD_LINE))
    content: dict[str, Any] = {
        "pedestrian_crossings": {},
        "lane_segments": {},
        "drivable_areas": {},
    }
    for lane in lanes:
        key = ids[lane.feature_id]
        content["lane_segments"][str(key)] = _lane_to_json(lane, key, road_map, ids, paint)
    for feature in road_map.features:
        key = ids.get(feature.feature_id, -1)
        if feature.layer == MapLayer.CROSSWALK and key >= 0:
            first, second = _crossing_edges(feature.points)
            content["pedestrian_crossings"][str(key)] = {
                "edge1": _points_to_json(first), "edge2": _points_to_json(second), "id": key,
            }  # fmt: skip
        elif feature.layer == MapLayer.DRIVABLE_AREA and key >= 0:
            content["drivable_areas"][str(key)] = {
                "area_boundary": _points_to_json(feature.points), "id": key,
            }  # fmt: skip
    extras = MapExtras(
        source_map_id=road_map.source_map_id,
        features=[_extra(feature, ids.get(feature.feature_id)) for feature in road_map.features],
        edges=[(int(a), EdgeKind(int(kind)).word, int(b)) for a, kind, b in road_map.edges],
    )
    return content, extras


def extras_to_json(extras: MapExtras) -> str:
    """For the file ``map.json`` beside the log."""
    return json.dumps(
        {
            "source_map_id": extras.source_map_id,
            "features": extras.features,
            "edges": extras.edges,
        }
    )


def extras_from_json(path: Path) -> MapExtras:
    """From that file.

    Raises:
        UnreadableFile: It is not what :func:`extras_to_json` writes.
    """
    content = read_json(path)
    try:
        return MapExtras(
            source_map_id=str(content["source_map_id"]),
            features=list(content["features"]),
            edges=[(int(a), str(kind), int(b)) for a, kind, b in content["edges"]],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableFile(path, f"does not complete a map ({error!r})") from error


# ── Reading ──────────────────────────────────────────────────────────────────────────────────────


def _each(
    content: Mapping[str, Any],
    section: str,
    make: Callable[[Mapping[str, Any]], MapFeature | None],
    notes: list[Note],
) -> list[MapFeature]:
    made = [make(item) for item in content.get(section, {}).values()]
    lost = sum(feature is None for feature in made)
    if lost:
        reason = f"{section} without a usable line (under two points, or not finite)"
        notes.append(Note(kind="dropped", reason=reason, count=lost))
    usable = [feature for feature in made if feature is not None]
    first = {feature.source_id: feature for feature in reversed(usable)}
    if len(first) < len(usable):
        reason = f"{section} with an id that another bears already"
        notes.append(Note(kind="dropped", reason=reason, count=len(usable) - len(first)))
    return [feature for feature in usable if first[feature.source_id] is feature]


def _lane(item: Mapping[str, Any], *, lift: bool) -> MapFeature | None:
    left, right = _points(item["left_lane_boundary"]), _points(item["right_lane_boundary"])
    if min(len(left), len(right)) < 2 or not (
        np.isfinite(left).all() and np.isfinite(right).all()
    ):
        return None
    middle = _between(left, right)
    centre = middle
    if item.get("centerline"):
        centre = _points(item["centerline"])
        if len(centre) < 2 or not np.isfinite(centre).all():
            return None
        if lift and not centre[:, 2].any():  # motion maps leave the centre line's height at 0
            share = arc_length(centre) / max(arc_length(centre)[-1], 1e-9)
            along = arc_length(middle) / max(arc_length(middle)[-1], 1e-9)
            centre[:, 2] = np.interp(share, along, middle[:, 2])
    return MapFeature(
        feature_id=-1, source_id=str(item["id"]), layer=MapLayer.LANE, points=centre,
        left=left, right=right, source_type=str(item["lane_type"]),
        lane_type=LANE_TYPES.get(str(item["lane_type"]), LaneType.OTHER),
        in_intersection=bool(item["is_intersection"]),
    )  # fmt: skip


def _crossing(item: Mapping[str, Any]) -> MapFeature | None:
    first, second = _points(item["edge1"]), _points(item["edge2"])
    if min(len(first), len(second)) < 2:
        return None
    same_way = np.dot((first[-1] - first[0])[:2], (second[-1] - second[0])[:2]) >= 0.0
    outline = np.concatenate([first, second[::-1] if same_way else second])
    return _area_feature(str(item["id"]), MapLayer.CROSSWALK, outline, CROSSING)


def _area(item: Mapping[str, Any]) -> MapFeature | None:
    outline = _points(item["area_boundary"])
    return _area_feature(str(item["id"]), MapLayer.DRIVABLE_AREA, outline, DRIVABLE)


def _area_feature(key: str, layer: MapLayer, outline: Array, word: str) -> MapFeature | None:
    if len(outline) < 3 or not np.isfinite(outline).all():
        return None
    return MapFeature(feature_id=-1, source_id=key, layer=layer, points=outline, source_type=word)


def _road_lines(
    lanes: Sequence[MapFeature], segments: Mapping[str, Mapping[str, Any]]
) -> Iterator[MapFeature]:
    """Painted boundaries, once each: neighbours share theirs."""
    seen: set[bytes] = set()
    for lane in lanes:
        for side, line in (("left", lane.left), ("right", lane.right)):
            mark = str(segments[lane.source_id].get(f"{side}_lane_mark_type", NO_PAINT))
            if mark == NO_PAINT or line is None:
                continue
            shape = {np.round(line, 3).tobytes(), np.round(line[::-1], 3).tobytes()}
            if shape & seen:
                continue
            seen |= shape
            yield MapFeature(
                feature_id=-1, source_id=f"{lane.source_id}:{side}", layer=MapLayer.ROAD_LINE,
                points=line, source_type=mark,
            )  # fmt: skip


def _edges(
    lanes: Sequence[MapFeature], segments: Iterable[Mapping[str, Any]]
) -> tuple[Array, list[Note]]:
    index = {lane.source_id: i for i, lane in enumerate(lanes)}
    found: list[tuple[int, int, int]] = []
    outside = opposed = 0
    for item in segments:
        here = index.get(str(item["id"]))
        if here is None:
            continue
        wanted = [(EdgeKind.SUCCESSOR, to) for to in item["successors"]]
        wanted += [(EdgeKind.PREDECESSOR, to) for to in item["predecessors"]]
        wanted += [
            (kind, item[f"{kind.word}_neighbor_id"])
            for kind in (EdgeKind.LEFT, EdgeKind.RIGHT)
            if item[f"{kind.word}_neighbor_id"] is not None
        ]
        for kind, to in wanted:
            there = index.get(str(to))
            if there is None:
                outside += 1
            elif kind in (EdgeKind.LEFT, EdgeKind.RIGHT) and not _same_way(
                lanes[here], lanes[there]
            ):
                opposed += 1
            else:
                found.append((here, int(kind), there))
    notes = []
    if outside:
        reason = "links to lanes outside the piece of map that comes with the log"
        notes.append(Note(kind="dropped", reason=reason, count=outside))
    if opposed:
        reason = "neighbours that run the other way are no lane to change to"
        notes.append(Note(kind="dropped", reason=reason, count=opposed))
    return np.array(found, dtype=np.int64).reshape(-1, 3), notes


def _same_way(a: MapFeature, b: MapFeature) -> bool:
    """Whether the directions of the two lanes, from end to end, agree."""
    return bool(np.dot((a.points[-1] - a.points[0])[:2], (b.points[-1] - b.points[0])[:2]) > 0.0)


def _between(left: Array, right: Array) -> Array:
    """The line half-way between two boundaries, each followed at its own pace."""
    length = max(arc_length(left)[-1], arc_length(right)[-1])
    count = max(len(left), len(right), int(np.ceil(length / CENTRE_SPACING)) + 1, 2)
    return np.asarray((resample(left, count) + resample(right, count)) / 2.0)


def _points(items: Sequence[Mapping[str, float]]) -> Float[Array, "points 3"]:
    return np.array([*map(_XYZ, items)], dtype=np.float64).reshape(-1, 3)


# ── The extras ───────────────────────────────────────────────────────────────────────────────────


def _extra(feature: MapFeature, av2_id: int | None) -> dict[str, Any]:
    """What must stand beside Argoverse's own file for the feature to come back whole."""
    extra: dict[str, Any] = {
        "layer": feature.layer.word,
        "source_id": feature.source_id,
        "source_type": feature.source_type,
        "lane_type": feature.lane_type.word,
        "speed_limit": feature.speed_limit,
        "in_intersection": feature.in_intersection,
        "has_z": feature.has_z,
        "has_left": feature.left is not None,
        "has_right": feature.right is not None,
    }
    if av2_id is not None:
        extra["av2_id"] = av2_id
    if av2_id is None or feature.layer == MapLayer.CROSSWALK:
        extra["points"] = feature.points.tolist()
    if av2_id is None:
        extra["left"] = None if feature.left is None else feature.left.tolist()
        extra["right"] = None if feature.right is None else feature.right.tolist()
    return extra


def _completed(extras: MapExtras, known: Sequence[MapFeature], path: Path) -> RoadMap:
    by_id = {(feature.layer, feature.source_id): feature for feature in known}
    features = []
    for index, extra in enumerate(extras.features):
        layer = MapLayer[str(extra["layer"]).upper()]
        own = by_id.get((layer, str(extra.get("av2_id"))))
        if own is None and "points" not in extra:
            raise UnreadableFile(path, f"lacks the {layer.word} {extra.get('av2_id')}")
        points, left, right = (
            _line(extra, name, None if own is None else getattr(own, name))
            for name in ("points", "left", "right")
        )
        assert points is not None
        features.append(
            MapFeature(
                feature_id=index, source_id=str(extra["source_id"]), layer=layer, points=points,
                left=left if extra["has_left"] else None,
                right=right if extra["has_right"] else None,
                lane_type=LaneType[str(extra["lane_type"]).upper()],
                source_type=str(extra["source_type"]), speed_limit=extra["speed_limit"],
                in_intersection=extra["in_intersection"], has_z=bool(extra["has_z"]),
            )
        )  # fmt: skip
    edges = [(a, int(EdgeKind[kind.upper()]), b) for a, kind, b in extras.edges]
    return RoadMap(
        source_map_id=extras.source_map_id,
        features=tuple(features),
        edges=np.array(edges, dtype=np.int64).reshape(-1, 3),
    )


def _line(extra: Mapping[str, Any], name: str, otherwise: Array | None) -> Array | None:
    told = extra.get(name)
    return otherwise if told is None else np.array(told, dtype=np.float64).reshape(-1, 3)


# ── Writing ──────────────────────────────────────────────────────────────────────────────────────


def _argoverse_ids(road_map: RoadMap) -> dict[int, int]:
    """Feature id to Argoverse's whole number, for every feature that Argoverse can hold."""
    held = [feature for feature in road_map.features if _expressible(feature)]
    own = [f.source_id for f in held if f.source_id.isascii() and f.source_id.isdigit()]
    if len(own) == len(held) and len({int(key) for key in own}) == len(held):
        return {feature.feature_id: int(feature.source_id) for feature in held}
    return {feature.feature_id: feature.feature_id + 1 for feature in held}


def _expressible(feature: MapFeature) -> bool:
    lines = [line for line in (feature.points, feature.left, feature.right) if line is not None]
    if not all(np.isfinite(line).all() for line in lines):
        return False
    if feature.layer == MapLayer.LANE:
        long_enough = all(len(line) >= 2 for line in lines)
        return feature.lane_type in _WRITTEN_AS and long_enough
    areas = (MapLayer.CROSSWALK, MapLayer.DRIVABLE_AREA)
    return feature.layer in areas and len(feature.points) >= 3


def _lane_to_json(
    lane: MapFeature, key: int, road_map: RoadMap, ids: Mapping[int, int], paint: _PaintIndex
) -> dict[str, Any]:
    def linked(*kinds: tuple[EdgeKind, int]) -> list[int]:
        """Lanes at the other end of edges; 0: edges from here, 1: edges to here, turned round."""
        found: list[int] = []
        for kind, end in kinds:
            rows = (road_map.edges[:, 2 * end] == lane.feature_id) & (road_map.edges[:, 1] == kind)
            found += [int(other) for other in road_map.edges[rows, 2 * (1 - end)]]
        return [ids[other] for other in dict.fromkeys(found) if other in ids]

    left = offset_line(lane.points, HALF_LANE) if lane.left is None else lane.left
    right = offset_line(lane.points, -HALF_LANE) if lane.right is None else lane.right
    to_left, to_right = linked((EdgeKind.LEFT, 0)), linked((EdgeKind.RIGHT, 0))
    return {
        "id": key,
        "is_intersection": bool(lane.in_intersection),
        "lane_type": _WRITTEN_AS[lane.lane_type],
        "centerline": _points_to_json(lane.points),
        "left_lane_boundary": _points_to_json(left),
        "left_lane_mark_type": paint.at(left),
        "right_lane_boundary": _points_to_json(right),
        "right_lane_mark_type": paint.at(right),
        "successors": linked((EdgeKind.SUCCESSOR, 0), (EdgeKind.PREDECESSOR, 1)),
        "predecessors": linked((EdgeKind.PREDECESSOR, 0), (EdgeKind.SUCCESSOR, 1)),
        "right_neighbor_id": to_right[0] if to_right else None,
        "left_neighbor_id": to_left[0] if to_left else None,
    }


class _PaintIndex:
    """Which paint lies along a boundary."""

    def __init__(self, lines: Sequence[MapFeature]) -> None:
        from scipy.spatial import cKDTree

        dense = [
            resample(line.points, max(int(arc_length(line.points)[-1]) + 1, 2))[:, :2]
            for line in lines
        ]
        self._marks = [_mark(line.source_type) for line in lines]
        self._line = np.repeat(np.arange(len(dense)), [len(d) for d in dense])
        self._tree = cKDTree(np.concatenate(dense)) if dense else None

    def at(self, boundary: Array) -> str:
        if self._tree is None:
            return NO_PAINT
        middle = resample(boundary, 3)[1, :2]
        distance, nearest = self._tree.query(middle)
        # Samples stand 1 m apart, so the nearest may lie half a metre along the line.
        if distance > np.hypot(MARK_REACH, 0.5):
            return NO_PAINT
        return self._marks[int(self._line[int(nearest)])]


def _mark(word: str) -> str:
    """Argoverse's name for a painted line, from whatever its source calls it."""
    upper = word.upper()
    if upper in MARKS:
        return upper
    colour = "YELLOW" if "YELLOW" in upper else "WHITE" if "WHITE" in upper else ""
    if not colour:
        return "UNKNOWN"
    broken = any(part in upper for part in ("DASH", "BROKEN"))
    if "DOUBLE" in upper:
        return f"DOUBLE_{'DASH' if broken else 'SOLID'}_{colour}"
    return f"{'DASHED' if broken else 'SOLID'}_{colour}"


def _crossing_edges(outline: Array) -> tuple[Array, Array]:
    """The two long sides of a crossing, along which people walk, both in one direction."""
    corners = outline
    if len(outline) > 3 and np.allclose(outline[0], outline[-1]):
        corners = outline[:-1]
    if len(corners) != 4:
        from shapely.geometry import MultiPoint

        around = MultiPoint(corners[:, :2]).buffer(0.01).minimum_rotated_rectangle
        height = np.full((4, 1), corners[:, 2].mean())
        corners = np.concatenate([np.array(around.exterior.coords)[:4], height], axis=1)
    side, other = corners[1] - corners[0], corners[2] - corners[1]
    if np.hypot(*side[:2]) < np.hypot(*other[:2]):
        corners = np.roll(corners, -1, axis=0)
    return corners[[0, 1]], corners[[3, 2]]


def _points_to_json(points: Array) -> list[dict[str, float]]:
    return [{"x": float(x), "y": float(y), "z": float(z)} for x, y, z in points]
