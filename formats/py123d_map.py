"""Maps of py123d: one Arrow table, a row an object, its attributes as msgpack and its shape as WKB.

    <root>/maps/<dataset>/<dataset>_<location>.arrow      for all logs of a place
    <log>/map.arrow                                       for one log

Lanes tell centre line, both boundaries, neighbours and speed limit, groups of lanes to which
intersection they belong. Ids are numbers; py123d gives numbers to ids that were words and does not
keep the words. Source: github.com/autonomousvision/py123d, ``api/map/arrow``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from formats.files import present
from formats.map_draft import MapDraft
from formats.py123d_file import read_all, unpack, unpacked_metadata
from formats.py123d_labels import (
    EDGE_WORDS,
    INTERSECTION_WORDS,
    LANE_TYPES,
    LANE_WORDS,
    LINE_WORDS,
    STOP_WORDS,
    word_of,
)
from formats.tally import Tally
from geometry.arrays import Array
from schemas.errors import UnreadableFile
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import Note, RoadMap

FARTHEST_M = 1e9  # [m] coordinates beyond are mistakes, not places
MAP_NAME = "map.arrow"
MAPS_ROOT, DATA_ROOT = "PY123D_MAPS_ROOT", "PY123D_DATA_ROOT"  # environment variables
LAYERS = (
    "LANE", "LANE_GROUP", "INTERSECTION", "CROSSWALK", "WALKWAY", "CARPARK", "GENERIC_DRIVABLE",
    "STOP_ZONE", "ROAD_EDGE", "ROAD_LINE", "SPEED_BUMP",
)  # fmt: skip
BECOMES = {
    "INTERSECTION": MapLayer.INTERSECTION,
    "CROSSWALK": MapLayer.CROSSWALK,
    "WALKWAY": MapLayer.WALKWAY,
    "CARPARK": MapLayer.PARKING,
    "GENERIC_DRIVABLE": MapLayer.DRIVABLE_AREA,
    "LANE_GROUP": MapLayer.DRIVABLE_AREA,
    "STOP_ZONE": MapLayer.STOP_LINE,
    "ROAD_EDGE": MapLayer.ROAD_EDGE,
    "ROAD_LINE": MapLayer.ROAD_LINE,
    "SPEED_BUMP": MapLayer.SPEED_BUMP,
}
"""In the order in which they get their ids; a stop zone is told by its outline."""
KINDS = {
    "INTERSECTION": ("intersection_type", INTERSECTION_WORDS),
    "STOP_ZONE": ("stop_zone_type", STOP_WORDS),
    "ROAD_EDGE": ("road_edge_type", EDGE_WORDS),
    "ROAD_LINE": ("road_line_type", LINE_WORDS),
}
"""Attribute that tells the type of an object, and the words for its numbers."""


def find_map(log: Path, dataset: str, location: str | None) -> Path | None:
    """The map of a log: its own, else that of its place in the maps folder, or None."""
    own = present(log / MAP_NAME)
    if own is not None:
        return own
    if not location or {"/", "\\", ".."} & {*dataset, *location, dataset, location}:
        return None
    roots = [Path(os.environ[MAPS_ROOT])] if MAPS_ROOT in os.environ else []
    roots += [Path(os.environ[DATA_ROOT], "maps")] if DATA_ROOT in os.environ else []
    roots += [folder / "maps" for folder in log.resolve().parents]
    for root in roots:
        found = present(root / dataset / f"{dataset}_{location}.arrow")
        if found is not None:
            return found
    return None


def read_map(path: Path) -> tuple[RoadMap, Mapping[str, Any], Sequence[Note]]:
    """A map, what it says of itself, and what could not be carried over.

    Logs that share a map get the same object; the last map read is kept for the next log.

    Raises:
        UnreadableFile: It is no map of py123d, cut off, or damaged.
    """
    status = path.stat()
    return _read_map(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1)
def _read_map(
    path: Path, _mtime_ns: int, _size: int
) -> tuple[RoadMap, Mapping[str, Any], Sequence[Note]]:
    table = read_all(path)
    missing = [
        n for n in ("object_id", "map_layer", "features", "wkb") if n not in table.schema.names
    ]
    if missing:
        raise UnreadableFile(path, f"is no map of py123d: it lacks {', '.join(missing)}")
    about = unpacked_metadata(path, table.schema)
    tally = Tally()
    try:
        objects = _objects(table)
        road_map = _Builder(objects, bool(about.get("map_has_z")), tally).road_map(
            _name(path, about)
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"is no map of py123d ({type(error).__name__}: {error})"
        raise UnreadableFile(path, reason) from error
    return road_map, about, tuple(tally.notes())


def _name(path: Path, about: Mapping[str, Any]) -> str:
    """What logs of one map share: dataset and place, or the log whose own it is."""
    parts = [about.get("dataset"), about.get("location")]
    if about.get("map_is_per_log"):
        parts += [about.get("split"), about.get("log_name")]
    return "_".join(str(part) for part in parts if part) or path.stem


_Object = tuple[int, Mapping[str, Any], Array]
"""Id, attributes, and line or outline."""


def _objects(table: Any) -> dict[str, list[_Object]]:
    import shapely

    shapes = shapely.from_wkb(
        np.array(table["wkb"].to_pylist(), dtype=object), on_invalid="ignore"
    )
    found: dict[str, list[_Object]] = {}
    rows = zip(
        table["object_id"].to_pylist(), table["map_layer"].to_pylist(),
        table["features"].to_pylist(), shapes, strict=True,
    )  # fmt: skip
    for number, layer, packed, shape in rows:
        told = unpack(packed) if packed is not None else {}
        if not isinstance(told, dict):
            raise ValueError("attributes that are no names with values")
        found.setdefault(word_of(LAYERS, layer), []).append((number, told, _line(told, shape)))
    return found


def _line(told: Mapping[str, Any], shape: Any) -> Array:
    """Centre line or outline as told, else the line or the rim of the shape."""
    import shapely

    for name in ("centerline", "outline"):
        if told.get(name) is not None:
            return _points(told[name])
    if shape is None:
        return np.zeros((0, 3))
    if shape.geom_type == "Polygon":
        shape = shapely.get_exterior_ring(shape)
    return _points(shapely.get_coordinates(shape, include_z=True))


def _points(told: Any) -> Array:
    """Points with three coordinates; 0 stands for a height that is not known."""
    points = np.array(told, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] not in (2, 3):
        raise ValueError(f"points of shape {points.shape}")
    xyz = np.zeros((len(points), 3))
    xyz[:, : points.shape[1]] = points
    xyz[:, 2] = np.where(np.isfinite(xyz[:, 2]), xyz[:, 2], 0.0)
    return xyz


class _Builder:
    """Puts the objects together."""

    def __init__(
        self, objects: Mapping[str, Sequence[_Object]], has_z: bool, tally: Tally
    ) -> None:
        self._objects, self._has_z, self._tally = objects, has_z, tally
        self._draft = MapDraft(tally)
        self._lanes: dict[int, int] = {}

    def road_map(self, name: str) -> RoadMap:
        """The finished map."""
        self._add_lanes()
        self._connect_lanes()
        for layer, becomes in BECOMES.items():
            for number, told, line in self._objects.get(layer, ()):
                index = self._add(layer, becomes, number, told, line)
                for lane in told.get("lane_ids") or () if layer == "STOP_ZONE" else ():
                    if index is not None and lane in self._lanes:
                        self._draft.edge(index, EdgeKind.STOP_LINE_OF_LANE, self._lanes[lane])
        for layer in sorted(set(self._objects) - {"LANE", *BECOMES}):
            count = len(self._objects[layer])
            self._tally.add("dropped", f"map layer {layer} is not known", count)
        return self._draft.road_map(name)

    def _add_lanes(self) -> None:
        crossed = {
            number: told.get("intersection_id") is not None
            for number, told, _ in self._objects.get("LANE_GROUP", ())
        }
        told_of = bool(self._objects.get("INTERSECTION"))
        for number, told, line in self._objects.get("LANE", ()):
            if not _usable(line, 2):
                self._tally.add("dropped", "lanes without usable centre line")
                continue
            kind = told.get("lane_type")
            known = isinstance(kind, int) and 0 <= kind < len(LANE_TYPES)
            lane_type = LANE_TYPES[int(kind or 0)] if known else LaneType.UNKNOWN
            limit = told.get("speed_limit_mps")
            sides = [self._side(told.get(name)) for name in ("left_boundary", "right_boundary")]
            self._lanes[number] = self._draft.add(
                MapLayer.LANE, str(number), line, left=sides[0], right=sides[1],
                lane_type=lane_type,
                source_type=f"LANE:{word_of(LANE_WORDS, kind)}",
                speed_limit=float(limit) if limit is not None and 0.0 < limit < 100.0 else None,
                in_intersection=crossed.get(told.get("lane_group_id", -1)) if told_of else None,
                has_z=self._has_z,
            )  # fmt: skip

    def _side(self, told: Any) -> Array | None:
        if told is None:
            return None
        points = _points(told)
        return points if _usable(points, 2) else None

    def _connect_lanes(self) -> None:
        lost = against = 0
        for number, told, _ in self._objects.get("LANE", ()):
            lane = self._lanes.get(number)
            if lane is None:
                continue
            wanted = [(to, "before") for to in told.get("predecessor_ids") or ()]
            wanted += [(to, "after") for to in told.get("successor_ids") or ()]
            wanted += [(told.get("left_lane_id"), "left"), (told.get("right_lane_id"), "right")]
            for to, where in wanted:
                other = self._lanes.get(to) if to is not None else None
                if other is None:
                    lost += to is not None
                elif where == "before":
                    self._draft.follow(other, lane)
                elif where == "after":
                    self._draft.follow(lane, other)
                elif self._same_way(lane, other):
                    kind = EdgeKind.LEFT if where == "left" else EdgeKind.RIGHT
                    self._draft.edge(lane, kind, other)
                else:
                    against += 1
        self._tally.add("dropped", "references to lanes that the map lacks", lost)
        self._tally.add(
            "dropped", "neighbours that lead the other way are no left or right", against
        )

    def _same_way(self, lane: int, other: int) -> bool:
        one, two = (self._draft.features[k].points[[0, -1], :2] for k in (lane, other))
        return float((one[1] - one[0]) @ (two[1] - two[0])) > 0.0

    def _add(
        self, layer: str, becomes: MapLayer, number: int, told: Mapping[str, Any], line: Array
    ) -> int | None:
        if not _usable(line, 1):
            self._tally.add("dropped", f"objects without usable shape: {layer}")
            return None
        name, words = KINDS.get(layer, ("", ()))
        kind = f"{layer}:{word_of(words, told[name])}" if told.get(name) is not None else layer
        return self._draft.add(becomes, str(number), line, source_type=kind, has_z=self._has_z)


def _usable(line: Array, least: int) -> bool:
    return len(line) >= least and bool((np.abs(line) < FARTHEST_M).all())
