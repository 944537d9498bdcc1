"""The maps of nuPlan: one GeoPackage a city, in longitude and latitude.

    nuplan-maps-v1.0.json                           which version of which city
    <city>/<version>/map.gpkg                       layers as SQLite tables, geometry as WKB

Table ``meta`` names the projection (``projectedCoordSystem``, a UTM zone) in which the logs are;
the geometry is projected to it. What becomes of a layer:

    baseline_paths                    centre lines, of lanes and of lane connectors
    lanes_polygons, lane_connectors   lanes with boundaries, speed limits and their graph; a connector
                                      leads from its ``exit_lane_fid`` to its ``entry_lane_fid``
    boundaries                        painted lines (types 0 and 2), others of no known meaning
    stop_polygons                     stop lines, as the outline of the area before the line
    intersections, crosswalks, walkways, carpark_areas, traffic_lights        by name
    generic_drivable_areas, road_segments, lane_groups_polygons, lane_group_connectors
                                      drivable areas; the last two are what nuPlan calls roadblocks
    gen_lane_connectors_scaled_width_polygons                  boundaries of the connectors
    dubins_nodes                      left out: support points of the centre lines

Source: github.com/motional/nuplan-devkit, ``nuplan/common/maps`` and ``nuplan/database/maps_db``.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from formats.files import present
from formats.map_draft import MapDraft
from formats.sqlite import columns_of, opened, quoted
from formats.tally import Tally
from geometry.arrays import Array
from geometry.polylines import resample
from schemas.errors import UnreadableFile
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import Note, RoadMap

MAPS_ROOT = "NUPLAN_MAPS_ROOT"  # environment variable
PACKAGE = "nuplan-maps-v1.0"
FARTHEST_M = 1e9  # [m] coordinates beyond are mistakes, not places
GEOGRAPHIC = 4326  # EPSG code of longitude and latitude on WGS 84

LANE_TYPES = {0: LaneType.VEHICLE, 1: LaneType.BIKE}
TURNS = ("STRAIGHT", "LEFT", "RIGHT", "UTURN", "UNKNOWN")
STOPS = ("PED_CROSSING", "STOP_SIGN", "TRAFFIC_LIGHT", "TURN_STOP", "YIELD", "UNKNOWN")
INTERSECTIONS = (
    "DEFAULT", "TRAFFIC_LIGHT", "STOP_SIGN", "LANE_BRANCH", "LANE_MERGE", "PASS_THROUGH",
)  # fmt: skip
NO_CROSSING = frozenset({"LANE_BRANCH", "LANE_MERGE"})
"""Intersections by name alone: lanes part or join there, no roads cross."""
PAINTED = frozenset({0, 2})  # types of boundaries: broken and solid white lines

LANES, CONNECTORS, PATHS = "lanes_polygons", "lane_connectors", "baseline_paths"
BOUNDARIES, WIDTHS = "boundaries", "gen_lane_connectors_scaled_width_polygons"
STOP_AREAS, CROSSWALKS, GROUPS = "stop_polygons", "crosswalks", "lane_group_connectors"
INTERSECTION_AREAS = "intersections"
AREAS = {
    "lane_groups_polygons": MapLayer.DRIVABLE_AREA,
    GROUPS: MapLayer.DRIVABLE_AREA,
    "generic_drivable_areas": MapLayer.DRIVABLE_AREA,
    "road_segments": MapLayer.DRIVABLE_AREA,
    "walkways": MapLayer.WALKWAY,
    "carpark_areas": MapLayer.PARKING,
    "traffic_lights": MapLayer.TRAFFIC_LIGHT,
}
"""Layers that become features as they are."""
USED = frozenset(
    {LANES, CONNECTORS, PATHS, BOUNDARIES, WIDTHS, STOP_AREAS, CROSSWALKS, INTERSECTION_AREAS}
) | set(AREAS)


def find_map(log: Path, city: str) -> Path | None:
    """Where the map of a city is kept, beside a log or up the tree from it, or None.

    Looked at in turn: ``$NUPLAN_MAPS_ROOT``; ``<city>.gpkg`` and ``map.gpkg`` beside the log;
    ``nuplan-maps-v1.0``, ``maps/nuplan-maps-v1.0`` and ``maps`` in each folder above it.
    """
    if not re.fullmatch(r"[\w.-]+", city) or city.startswith("."):
        return None
    if MAPS_ROOT in os.environ:
        found = _in_package(Path(os.environ[MAPS_ROOT]), city)
        if found is not None:
            return found
    for name in (f"{city}.gpkg", "map.gpkg"):
        beside = present(log.parent / name)
        if beside is not None:
            return beside
    for folder in log.resolve().parents:
        for root in (folder / PACKAGE, folder / "maps" / PACKAGE, folder / "maps"):
            found = _in_package(root, city)
            if found is not None:
                return found
    return None


def read_map(path: Path, city: str) -> tuple[RoadMap, int | None, Sequence[Note]]:
    """A city's map in the plane of its logs.

    Logs that share a map get the same object; the last map read is kept for the next log.

    Args:
        path: The GeoPackage.
        city: Becomes the map's name.

    Returns:
        The map, the EPSG code of its plane if it has one, and what could not be carried over.

    Raises:
        UnreadableFile: It is no GeoPackage, cut off, holds no lanes layer, or does not say where
            on Earth it is.
    """
    status = path.stat()
    return _read_map(path, city, status.st_mtime_ns, status.st_size)


def _in_package(root: Path, city: str) -> Path | None:
    """The listed version of a city's map, else the highest that is there."""
    if not (root / city).is_dir():
        return None
    versions = [p.name for p in (root / city).iterdir() if present(p / "map.gpkg") is not None]
    versions.sort(key=lambda name: [int(n) for n in re.findall(r"\d+", name)])
    listed = _listed_version(root / f"{PACKAGE}.json", city)
    for version in (listed, *reversed(versions)):
        if version in versions:
            return present(root / city / version / "map.gpkg")
    return None


def _listed_version(listing: Path, city: str) -> str:
    try:
        return str(json.loads(listing.read_bytes())[city]["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # the highest version that is there is as good a choice


@lru_cache(maxsize=1)
def _read_map(
    path: Path, city: str, _mtime_ns: int, _size: int
) -> tuple[RoadMap, int | None, Sequence[Note]]:
    tally = Tally()
    with opened(path) as database:
        package = _Package(path, database, tally)
        try:
            road_map = _Builder(package, tally).road_map(city)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            what = f"is no map of nuPlan ({type(error).__name__}: {error})"
            raise UnreadableFile(path, what) from error
    return road_map, package.epsg, tuple(tally.notes())


# ── The GeoPackage ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One row of a layer with its geometry as lines of points.

    Attributes:
        fid: Its number within the layer.
        values: By column.
        lines: Line, outline or point in the plane of the logs; several for a shape of several
            parts; none where it has no usable geometry [m].
        has_z: Whether the third coordinate means anything.
    """

    fid: int
    values: Mapping[str, Any]
    lines: Sequence[Float[Array, "points 3"]]
    has_z: bool

    def key(self, column: str) -> int | None:
        """The number that a column refers to."""
        return _number(self.values.get(column))

    def keys(self, column: str) -> list[int]:
        """The numbers in a column that lists some, as ``1,2``."""
        return [int(word) for word in re.findall(r"\d+", str(self.values.get(column) or ""))]


class _Package:
    """Tables of a GeoPackage, projected to the plane of the logs."""

    def __init__(self, path: Path, database: sqlite3.Connection, tally: Tally) -> None:
        import pyproj

        self._path, self._database, self._tally = path, database, tally
        self._columns = columns_of(database)
        self._geometry = self._geometry_columns()
        if not {LANES, PATHS} & self.layers:
            raise UnreadableFile(path, f"holds no layer {LANES}, so it is no map of nuPlan")
        self._plane = self._projection(pyproj)
        self.epsg: int | None = self._plane.to_epsg()

    @property
    def layers(self) -> set[str]:
        """Tables with geometry."""
        return set(self._geometry)

    def rows(self, layer: str) -> Iterator[_Row]:
        """The rows of a layer; none if the map has no such layer."""
        import shapely

        if layer not in self._geometry:
            return
        column, srs = self._geometry[layer]
        select = f"SELECT rowid AS _rowid, * FROM {quoted(layer)} ORDER BY rowid"
        cursor = self._database.execute(select)
        names = [told[0] for told in cursor.description]
        values = [dict(zip(names, row, strict=True)) for row in cursor]
        blobs = [_wkb(row.pop(column)) for row in values]
        shapes = shapely.from_wkb(np.array(blobs, dtype=object), on_invalid="ignore")
        bad = sum(blob is None for blob in blobs) + sum(
            blob is not None and shape is None for blob, shape in zip(blobs, shapes, strict=True)
        )
        self._tally.add("dropped", f"geometry of {layer} that cannot be read", bad)
        shapes = self._projected(shapes, srs)
        for told, shape in zip(values, shapes, strict=True):
            lines, has_z = self._lines(layer, shape)
            fid = _number(told.get("fid", told["_rowid"]))
            yield _Row(int(told["_rowid"]) if fid is None else fid, told, lines, has_z)

    def count(self, layer: str) -> int:
        """How many rows a layer has."""
        found = self._database.execute(f"SELECT COUNT(*) FROM {quoted(layer)}").fetchone()
        return int(found[0])

    def _geometry_columns(self) -> dict[str, tuple[str, int]]:
        if "gpkg_geometry_columns" not in self._columns:
            raise UnreadableFile(self._path, "is no GeoPackage: it lists no geometry columns")
        told = self._database.execute(
            "SELECT table_name, column_name, srs_id FROM gpkg_geometry_columns ORDER BY table_name"
        )
        return {
            str(table): (str(column), int(srs))
            for table, column, srs in told
            if column in self._columns.get(str(table), ())
        }

    def _projection(self, pyproj: Any) -> Any:
        """The plane of the logs: as ``meta`` says, else that of the geometry if it is plane."""
        if {"key", "value"} <= set(self._columns.get("meta", ())):
            told = self._database.execute(
                "SELECT value FROM meta WHERE key = 'projectedCoordSystem'"
            ).fetchone()
            if told is not None:
                return self._known(pyproj, str(told[0]))
        for _, srs in self._geometry.values():
            system = self._system(pyproj, srs)
            if system.is_projected:
                return system
        raise UnreadableFile(
            self._path,
            "does not say in which projection its logs are",
            hint="Its table meta should hold projectedCoordSystem.",
        )

    def _system(self, pyproj: Any, srs: int) -> Any:
        """The coordinate system of a number that the file gives it."""
        told = None
        if "gpkg_spatial_ref_sys" in self._columns:
            told = self._database.execute(
                "SELECT organization, organization_coordsys_id, definition "
                "FROM gpkg_spatial_ref_sys WHERE srs_id = ?",
                (srs,),
            ).fetchone()
        if told is None:
            return self._known(pyproj, srs if srs > 0 else GEOGRAPHIC)
        if str(told[0]).upper() == "EPSG":
            return self._known(pyproj, int(told[1]))
        undefined = str(told[2]).lower() == "undefined"
        return self._known(pyproj, GEOGRAPHIC if undefined else str(told[2]))

    def _known(self, pyproj: Any, told: str | int) -> Any:
        """The coordinate system of a name, a definition or an EPSG code."""
        try:
            return pyproj.CRS.from_user_input(told)
        except pyproj.exceptions.CRSError as error:
            reason = f"names a projection that is not known ({error})"
            raise UnreadableFile(self._path, reason) from error

    def _projected(self, shapes: Array, srs: int) -> Array:
        import pyproj
        import shapely

        system = self._system(pyproj, srs)
        if system.equals(self._plane):
            return shapes
        transformer = pyproj.Transformer.from_crs(system, self._plane, always_xy=True)

        def project(xy: Array) -> Array:
            return np.stack(transformer.transform(xy[:, 0], xy[:, 1]), axis=1)

        def project_plan(xyz: Array) -> Array:
            return np.concatenate([project(xyz[:, :2]), xyz[:, 2:]], axis=1)

        if shapely.has_z(shapes).any():
            return np.asarray(shapely.transform(shapes, project_plan, include_z=True))
        return np.asarray(shapely.transform(shapes, project))

    def _lines(self, layer: str, shape: Any) -> tuple[list[Array], bool]:
        import shapely

        lines = []
        for part in shapely.get_parts(shape) if shape is not None else ():
            if part.geom_type == "Polygon":
                holes = shapely.get_num_interior_rings(part)
                self._tally.add("dropped", f"holes in areas of {layer}", int(holes))
                part = shapely.get_exterior_ring(part)
            xyz = shapely.get_coordinates(part, include_z=True)
            xyz[:, 2] = np.where(np.isfinite(xyz[:, 2]), xyz[:, 2], 0.0)
            if len(xyz) and (np.abs(xyz) < FARTHEST_M).all():
                lines.append(xyz)
            elif len(xyz):
                self._tally.add(
                    "dropped", f"shapes of {layer} with coordinates that are not finite"
                )
        return lines, bool(shape is not None and shapely.has_z(shape))


def _wkb(blob: Any) -> bytes | None:
    """The WKB behind the header of a GeoPackage's geometry; None for an empty or broken one."""
    if not isinstance(blob, bytes) or len(blob) < 8 or not blob.startswith(b"GP"):
        return None
    flags = blob[3]
    envelope = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}.get((flags >> 1) & 7)
    if envelope is None or flags & 0x30:  # empty, or of an extension's own kind
        return None
    return blob[8 + envelope :]


def _number(value: Any) -> int | None:
    """A reference as a whole number; SQLite keeps it as number or text, as it came."""
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None


# ── The map ──────────────────────────────────────────────────────────────────────────────────────


class _Builder:
    """Puts the layers together."""

    def __init__(self, package: _Package, tally: Tally) -> None:
        self._package, self._tally = package, tally
        self._draft = MapDraft(tally)
        self._paths: dict[tuple[str, int], _Row] = {}
        for row in package.rows(PATHS):
            for column in ("lane_fid", "lane_connector_fid"):
                key = row.key(column)
                if key is not None and row.lines:
                    self._paths.setdefault((column, key), row)
        self._boundaries = {row.fid: row for row in package.rows(BOUNDARIES)}
        self._intersections = {row.fid: row for row in package.rows(INTERSECTION_AREAS)}
        self._lane_of: dict[int, int] = {}
        self._connector_of: dict[int, int] = {}

    def road_map(self, city: str) -> RoadMap:
        """The finished map."""
        lanes = list(self._package.rows(LANES))
        connectors = list(self._package.rows(CONNECTORS))
        self._add_connectors(connectors, {_lane_id(row): row for row in lanes})
        self._add_lanes(lanes)
        self._connect(lanes, connectors)
        self._add_lines()
        self._add_stops(connectors)
        self._add_crosswalks()
        for row in self._intersections.values():
            kind = _word(INTERSECTIONS, row.key("intersection_type_fid"))
            self._add(MapLayer.INTERSECTION, row, f"{INTERSECTION_AREAS}:{kind}")
        for layer, becomes in AREAS.items():
            for row in self._package.rows(layer):
                self._add(becomes, row, layer)
        for layer in sorted(self._package.layers - USED):
            reason = f"map layer {layer} has no counterpart"
            if layer == "dubins_nodes":
                reason = "dubins_nodes are support points of the centre lines, which are kept"
            self._tally.add("dropped", reason, self._package.count(layer))
        return self._draft.road_map(city)

    def _add_connectors(self, connectors: Sequence[_Row], lanes: Mapping[int, _Row]) -> None:
        """First of all, because lights refer to connectors by their own number."""
        widths: dict[int, _Row] = {}
        for row in self._package.rows(WIDTHS):
            key = row.key("lane_connector_fid")
            if key is not None:
                widths.setdefault(key, row)
        for row in connectors:
            path = self._paths.get(("lane_connector_fid", row.fid), row)
            if path is row and row.lines:
                reason = "lane connectors without baseline path keep the line of their own"
                self._tally.add("guessed", reason)
            begin, end = (
                _lane_type(lanes.get(row.key(column) or -1))
                for column in ("exit_lane_fid", "entry_lane_fid")
            )
            kind = begin if begin is end else LaneType.UNKNOWN
            index = self._add_lane(
                row, str(row.fid), path, widths.get(row.fid), kind,
                f"{CONNECTORS}:{_word(TURNS, row.key('turn_type_fid'))}", self._crosses(row),
            )  # fmt: skip
            if index is not None:
                self._connector_of[row.fid] = index

    def _add_lanes(self, lanes: Sequence[_Row]) -> None:
        for row in lanes:
            number = row.key("lane_type_fid")
            index = self._add_lane(
                row, str(_lane_id(row)), self._paths.get(("lane_fid", _lane_id(row))), row,
                _lane_type(row),
                LANES if number is None else f"{LANES}:{number}", False,
            )  # fmt: skip
            if index is not None:
                self._lane_of[_lane_id(row)] = index

    def _add_lane(
        self,
        row: _Row,
        source_id: str,
        path: _Row | None,
        sides: _Row | None,
        kind: LaneType,
        source_type: str,
        in_intersection: bool | None,
    ) -> int | None:
        left, right = (
            self._side(sides, "left_boundary_fid"),
            self._side(sides, "right_boundary_fid"),
        )
        points = path.lines[0] if path is not None and path.lines else None
        if points is None and left is not None and right is not None:
            points = _between(left, right)
            self._tally.add("guessed", "centre lines of lanes without baseline path, halfway")
        if points is None or len(points) < 2:
            self._tally.add("dropped", "lanes without baseline path and boundaries")
            return None
        return self._draft.add(
            MapLayer.LANE, source_id, points, left=_along(points, left), right=_along(points, right),
            lane_type=kind, source_type=source_type, speed_limit=_speed(row),
            in_intersection=in_intersection, has_z=path is not None and path.has_z,
        )  # fmt: skip

    def _side(self, row: _Row | None, column: str) -> Array | None:
        key = None if row is None else row.key(column)
        found = None if key is None else self._boundaries.get(key)
        return found.lines[0] if found is not None and found.lines else None

    def _crosses(self, connector: _Row) -> bool | None:
        """Whether a connector leads over an intersection of roads."""
        number = connector.key("intersection_fid")
        area = None if number is None else self._intersections.get(number)
        if area is None:
            return None
        return _word(INTERSECTIONS, area.key("intersection_type_fid")) not in NO_CROSSING

    def _connect(self, lanes: Sequence[_Row], connectors: Sequence[_Row]) -> None:
        """Successors over connectors, and neighbours: lanes of a group count from the left."""
        lost = 0
        for row in connectors:
            index = self._connector_of.get(row.fid)
            if index is None:
                continue
            for column, leaves in (("exit_lane_fid", True), ("entry_lane_fid", False)):
                key = row.key(column)
                lane = None if key is None else self._lane_of.get(key)
                if lane is None:
                    lost += key is not None
                elif leaves:
                    self._draft.follow(lane, index)
                else:
                    self._draft.follow(index, lane)
        self._tally.add("dropped", "references to lanes that the map lacks", lost)
        places: dict[tuple[int, int], int] = {}
        for row in lanes:
            group, place = row.key("lane_group_fid"), row.key("lane_index")
            if group is not None and place is not None and _lane_id(row) in self._lane_of:
                places[group, place] = self._lane_of[_lane_id(row)]
        for (group, place), lane in places.items():
            if (group, place + 1) in places:
                self._draft.beside(lane, places[group, place + 1])

    def _add_lines(self) -> None:
        for row in self._boundaries.values():
            kind = row.key("boundary_type_fid")
            layer = MapLayer.ROAD_LINE if kind in PAINTED else MapLayer.OTHER
            self._add(layer, row, BOUNDARIES if kind is None else f"{BOUNDARIES}:{kind}")

    def _add_stops(self, connectors: Sequence[_Row]) -> None:
        stops: dict[int, int] = {}
        for row in self._package.rows(STOP_AREAS):
            kind = _word(STOPS, row.key("stop_polygon_type_fid"))
            index = self._add(MapLayer.STOP_LINE, row, f"{STOP_AREAS}:{kind}")
            if index is None:
                continue
            stops[row.fid] = index
            for column, known in (
                ("lane_fids", self._lane_of), ("lane_connector_fids", self._connector_of),
            ):  # fmt: skip
                for lane in row.keys(column):
                    if lane in known:
                        self._draft.edge(index, EdgeKind.STOP_LINE_OF_LANE, known[lane])
        for row in connectors:
            for stop in row.keys("traffic_light_stop_line_fids"):
                if stop in stops and row.fid in self._connector_of:
                    lane = self._connector_of[row.fid]
                    self._draft.edge(stops[stop], EdgeKind.STOP_LINE_OF_LANE, lane)

    def _add_crosswalks(self) -> None:
        for row in self._package.rows(CROSSWALKS):
            marked = row.key("is_marked")
            told = CROSSWALKS if marked is None else f"{CROSSWALKS}:{'' if marked else 'un'}marked"
            index = self._add(MapLayer.CROSSWALK, row, told)
            for lane in row.keys("lane_fids"):
                if index is not None and lane in self._lane_of:
                    self._draft.edge(index, EdgeKind.CROSSWALK_OVER_LANE, self._lane_of[lane])

    def _add(self, layer: MapLayer, row: _Row, source_type: str) -> int | None:
        """The feature of a row; further parts of its shape become features after it."""
        made = [
            self._draft.add(layer, str(row.fid), line, source_type=source_type, has_z=row.has_z)
            for line in row.lines
        ]
        if not made:
            self._tally.add("dropped", f"map features without shape: {source_type.split(':')[0]}")
        return made[0] if made else None


def _lane_id(row: _Row) -> int:
    """A lane's number: ``lane_fid``, which in the published maps equals ``fid``."""
    number = row.key("lane_fid")
    return row.fid if number is None else number


def _lane_type(lane: _Row | None) -> LaneType:
    number = None if lane is None else lane.key("lane_type_fid")
    return LaneType.UNKNOWN if number is None else LANE_TYPES.get(number, LaneType.UNKNOWN)


def _speed(row: _Row) -> float | None:
    value = row.values.get("speed_limit_mps")
    return float(value) if isinstance(value, (int, float)) and 0.0 < value < 100.0 else None


def _word(words: Sequence[str], number: int | None) -> str:
    known = number is not None and 0 <= number < len(words)
    return words[number] if known and number is not None else str(number)


def _between(left: Float[Array, "left 3"], right: Float[Array, "right 3"]) -> Array:
    """The line halfway between two boundaries, in the direction of the left one."""
    count = max(len(left), len(right), 2)
    one, two = resample(left, count), resample(_along(left, right), count)
    return np.asarray((one + two) / 2.0)


def _along(line: Array, side: Array | None) -> Any:
    """A boundary turned so that it runs as the line does."""
    if side is None:
        return None
    ends, across = line[[0, -1], :2], side[[0, -1], :2]
    same = np.linalg.norm(ends - across, axis=1).sum()
    turned = np.linalg.norm(ends - across[::-1], axis=1).sum()
    return side if same <= turned else side[::-1].copy()
