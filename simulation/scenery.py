"""What stands still in the procedural world: painted ground, buildings, trees, lamps, signals.

All of it follows from the map alone, so every frame, sensor and run sees the same street: roads
are painted from their markings, pavements lie along them, and buildings, trees and street lamps
line them, drawn from a seed that is the map's name.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from PIL import Image, ImageDraw
from shapely.geometry import LineString, Point, Polygon, box
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union
from shapely.prepared import prep
from shapely.strtree import STRtree

from geometry.arrays import Array
from geometry.polylines import arc_length, at, headings
from schemas.labels import LaneType, MapLayer
from schemas.records import LightStates, MapFeature, RoadMap

CELL = 0.1  # [m] of the painted ground, unless the map is too large
LARGEST = 4096  # [px] longest side of the painted ground
TILE = 1024  # [px] of the ground that are painted at once
MARGIN = 30.0  # [m] of ground round the map
LAMP_CELL = 1.0  # [m] of the raster of lamp light

PAVEMENT_WIDTH = 2.4  # [m]
PAINT_WIDTH = 0.16  # [m]
DASH, DASH_GAP = 3.0, 4.5  # [m]
ZEBRA_BAR, ZEBRA_GAP = 0.5, 0.6  # [m]
STOP_LINE_WIDTH = 0.45  # [m]
LANE_HALF_WIDTH = 1.75  # [m] where a lane has no boundaries
MAST_REACH = 6.5  # [m] from the middle of a lane to the mast beside the road
RURAL_LIMIT = 20.0  # [m/s] roads faster than this have few buildings

GRASS = (104, 116, 74)
PAVEMENT = (150, 148, 143)
KERB = (172, 171, 166)
ASPHALT = (84, 85, 88)
JUNCTION = (80, 81, 84)
WHITE = (226, 226, 220)
YELLOW = (224, 180, 66)


class Thing(IntEnum):
    """What a standing box is."""

    BUILDING = 0
    TRUNK = 1
    CANOPY = 2
    LAMP = 3
    SIGNAL = 4
    SIGN = 5


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """Upright boxes that do not move, in the scenery's frame.

    Attributes:
        kind: Codes of :class:`Thing`.
        xyz: Middle of the box [m].
        yaw: [rad].
        size: (length, width, height) [m].
        tint: A number in [0, 1) that tells one from another.
    """

    kind: Int[Array, " boxes"]
    xyz: Float[Array, "boxes 3"]
    yaw: Float[Array, " boxes"]
    size: Float[Array, "boxes 3"]
    tint: Float[Array, " boxes"]


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """Painted ground as images, finest first, each half as fine as the one before.

    Attributes:
        levels: RGB; row 0 is at ``low``'s y and rows run towards +y.
        cell: Of the finest level [m].
        low: Corner of all levels, in the scenery's frame [m].
        lamps: Light of street lamps, greyscale, cells of ``LAMP_CELL``, the same corner.
        brightness: Of the ground, 0 to 255, in cells twice as wide as the finest.
    """

    levels: tuple[Image.Image, ...]
    cell: float
    low: Float[Array, 2]
    lamps: Image.Image
    brightness: Int[Array, "rows columns"]


@dataclass(frozen=True, slots=True, eq=False)
class SignalHead:
    """A set of lamps that shows drivers of some lanes when to go, in the scenery's frame.

    Attributes:
        lanes: Source ids of the lanes.
        xyz: Middle of the housing [m].
        yaw: Direction of travel of those who look at it [rad].
        arm: How far to the right its mast stands [m]; 0 if it hangs on another's arm.
    """

    lanes: tuple[str, ...]
    xyz: Float[Array, 3]
    yaw: float
    arm: float


@dataclass(frozen=True, slots=True, eq=False)
class Scenery:
    """Everything that stands still, relative to ``origin``.

    Attributes:
        origin: World coordinates of this frame; its z is the ground's height [m].
        ground: Painted.
        standing: Boxes.
        road: Drivable surface.
    """

    origin: Float[Array, 3]
    ground: Ground
    standing: Standing
    road: Any


@lru_cache(maxsize=3)
def scenery_of(road_map: RoadMap) -> Scenery:
    """The scenery of a map; kept, because painting it takes a second."""
    origin = _origin(road_map)
    shift = np.array([*origin[:2], 0.0])
    rng = np.random.default_rng(zlib.crc32(road_map.source_map_id.encode()))
    road = _road(road_map, shift)
    limits = [f.speed_limit for f in road_map.of_layer(MapLayer.LANE) if f.speed_limit]
    rural = bool(limits) and float(np.median(limits)) > RURAL_LIMIT
    standing, lamps = _line_the_road(road, rng, rural=rural)
    signs = [
        (Thing.SIGN, *(f.points[0, :2] - shift[:2]), 1.25, 0.0, 0.1, 0.1, 2.5, 0.0)
        for f in road_map.of_layer(MapLayer.STOP_SIGN)
    ]
    rows = np.array([*standing, *signs], dtype=np.float64).reshape(-1, 9)
    return Scenery(
        origin=origin,
        ground=_paint(road_map, shift, road, lamps, rng),
        standing=Standing(
            rows[:, 0].astype(np.int64), rows[:, 1:4], rows[:, 4], rows[:, 5:8], rows[:, 8]
        ),
        road=road,
    )


def signal_heads(road_map: RoadMap, lights: LightStates, origin: Array) -> list[SignalHead]:
    """Where signals hang: over the far side of the junction, one head for each stop and turn.

    Lanes that start at one stop share a mast arm; up to three heads hang side by side.
    """
    by_id = {f.source_id: f for f in road_map.of_layer(MapLayer.LANE)}
    stops: list[tuple[Array, float, list[str]]] = []
    for lane_id, row in _first_rows(lights).items():
        lane = by_id.get(lane_id)
        if lane is None:
            continue
        stop = lights.stop_xyz[row]
        stop = (lane.points[0] if not np.isfinite(stop).all() else stop)[:2] - origin[:2]
        yaw = float(headings(lane.points)[0])
        for other, other_yaw, lanes in stops:
            same_way = np.cos(other_yaw - yaw) > 0.8
            if same_way and np.linalg.norm(other - stop) < 1.0:
                lanes.append(lane_id)
                break
        else:
            stops.append((stop, yaw, [lane_id]))
    heads = []
    for stop, yaw, lanes in stops:
        reach = _across(lanes, by_id)
        ahead, left = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
        for i, lane_id in enumerate(lanes[:3]):
            aside = 0.9 * (min(len(lanes), 3) - 1) / 2.0 - 0.9 * i
            xy = stop + reach * ahead + aside * left
            arm = MAST_REACH + aside if i == 0 else 0.0
            heads.append(SignalHead((lane_id,), np.array([*xy, 5.4]), yaw, arm))
    return heads


def _first_rows(lights: LightStates) -> dict[str, int]:
    rows: dict[str, int] = {}
    for row, lane in enumerate(lights.source_lane_id):
        rows.setdefault(lane, row)
    return rows


def _across(lanes: list[str], by_id: dict[str, MapFeature]) -> float:
    """How far beyond the stop the signal hangs: the far side of the junction [m]."""
    lengths = [float(arc_length(by_id[lane].points)[-1]) for lane in lanes]
    return float(np.clip(max(lengths) if lengths else 16.0, 8.0, 26.0))


def _origin(road_map: RoadMap) -> Array:
    points = [f.points for f in road_map.features if len(f.points)]
    if not points:
        return np.zeros(3)
    everything = np.concatenate(points)
    ground = np.concatenate(
        [f.points for f in road_map.features if f.layer == MapLayer.LANE] or [everything]
    )
    middle = (everything.min(axis=0) + everything.max(axis=0)) / 2.0
    return np.array([middle[0], middle[1], float(np.median(ground[:, 2]))])


def _road(road_map: RoadMap, shift: Array) -> BaseGeometry:
    """The drivable surface: drivable areas, else what lanes cover."""
    drivable = [f for f in road_map.of_layer(MapLayer.DRIVABLE_AREA) if len(f.points) >= 3]
    areas = [Polygon((f.points - shift)[:, :2]).buffer(0.0) for f in drivable]
    if not drivable:
        for lane in road_map.of_layer(MapLayer.LANE):
            if lane.lane_type == LaneType.SIDEWALK:
                continue
            if lane.left is not None and lane.right is not None:
                outline = np.concatenate([lane.left, lane.right[::-1]]) - shift
                areas.append(Polygon(outline[:, :2]).buffer(0.05))
            else:
                line = LineString((lane.points - shift)[:, :2])
                areas.append(line.buffer(LANE_HALF_WIDTH, cap_style="flat"))
    if not areas:
        return Polygon()
    return unary_union(areas).difference(_islands(road_map, shift)).simplify(0.05)


def _islands(road_map: RoadMap, shift: Array) -> BaseGeometry:
    """What kerbs enclose without a lane: the middle of a roundabout."""
    centres = [Point((f.points[len(f.points) // 2] - shift)[:2])
               for f in road_map.of_layer(MapLayer.LANE)]  # fmt: skip
    islands = []
    for kerb in road_map.of_layer(MapLayer.ROAD_EDGE):
        closed = len(kerb.points) > 3 and np.linalg.norm(kerb.points[0] - kerb.points[-1]) < 1.0
        if closed:
            inside = Polygon((kerb.points - shift)[:, :2]).buffer(0.0)
            if not any(inside.contains(centre) for centre in centres):
                islands.append(inside)
    return unary_union(islands)


# ── What lines the road ──────────────────────────────────────────────────────────────────────────


def _line_the_road(
    road: BaseGeometry, rng: np.random.Generator, *, rural: bool
) -> tuple[list[tuple[float, ...]], Array]:
    """Rows of standing things (kind, x, y, z, yaw, length, width, height, tint), and lamps."""
    rows: list[tuple[float, ...]] = []
    lamps: list[tuple[float, float]] = []
    if road.is_empty:
        return rows, np.zeros((0, 2))
    taken: list[BaseGeometry] = []
    near_road = prep(road.buffer(4.2))
    for xy, yaw in _along(road.buffer(15.0), 17.0):
        if rng.uniform() < (0.85 if rural else 0.12):
            continue
        length, width = rng.uniform(12.0, 17.0), rng.uniform(10.0, 14.0)
        height = float(rng.choice([4.0, 7.0, 10.0, 13.0, 19.0], p=[0.15, 0.3, 0.3, 0.15, 0.1]))
        footprint = _footprint(xy, yaw, length, width)
        if near_road.intersects(footprint) or any(footprint.intersects(t) for t in taken):
            continue
        taken.append(footprint)
        rows.append((Thing.BUILDING, *xy, height / 2, yaw, length, width, height, rng.uniform()))
    buildings = STRtree(taken)
    clear = prep(road.buffer(1.8))
    for xy, _ in _along(road.buffer(4.4), 10.0 if rural else 13.0):
        if rng.uniform() < 0.35:
            continue
        spot = xy + rng.normal(0.0, 1.0 if not rural else 2.5, 2)
        place = Point(spot).buffer(1.6)
        if clear.intersects(place) or len(buildings.query(place, predicate="intersects")):
            continue
        trunk, crown = rng.uniform(1.7, 2.4), rng.uniform(2.6, 4.4)
        tint = rng.uniform()
        rows.append((Thing.TRUNK, *spot, trunk / 2, 0.0, 0.3, 0.3, trunk, tint))
        rows.append(
            (Thing.CANOPY, *spot, trunk + crown / 2, rng.uniform(0, 3), crown * 0.8, crown * 0.8,
             crown, tint)
        )  # fmt: skip
    clear = prep(road.buffer(0.5))
    for xy, yaw in _along(road.buffer(0.9), 26.0):
        if clear.contains(Point(xy)):
            continue
        lamps.append((float(xy[0]), float(xy[1])))
        rows.append((Thing.LAMP, *xy, 3.5, yaw, 0.16, 0.16, 7.0, 0.0))
    return rows, np.array(lamps).reshape(-1, 2)


def _along(area: BaseGeometry, spacing: float) -> list[tuple[Array, float]]:
    """Places along the outlines of an area, and the direction of the outline there."""
    places = []
    for ring in _rings(area):
        line = np.array(ring.coords)
        length = float(arc_length(line)[-1])
        if length < 2.0 * spacing:
            continue
        stations = np.arange(spacing / 2.0, length, spacing)
        before, after = at(line, stations - 0.5), at(line, stations + 0.5)
        turn = after - before
        yaw = np.arctan2(turn[:, 1], turn[:, 0])
        places += list(zip((before + after) / 2.0, yaw.tolist(), strict=True))
    return places


def _rings(area: BaseGeometry) -> list[Any]:
    parts = list(getattr(area, "geoms", [area]))
    rings = []
    for part in parts:
        if isinstance(part, Polygon) and not part.is_empty:
            rings += [part.exterior, *part.interiors]
    return rings


def _footprint(xy: Array, yaw: float, length: float, width: float) -> Polygon:
    ahead, left = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
    corners = [
        xy + a * length / 2 * ahead + b * width / 2 * left
        for a, b in ((1, 1), (-1, 1), (-1, -1), (1, -1))
    ]
    return Polygon(corners)


# ── The painted ground ───────────────────────────────────────────────────────────────────────────


def _paint(
    road_map: RoadMap, shift: Array, road: BaseGeometry, lamps: Array, rng: np.random.Generator
) -> Ground:
    if road.is_empty:
        low, high = np.array([-MARGIN, -MARGIN]), np.array([MARGIN, MARGIN])
    else:
        x0, y0, x1, y1 = road.bounds
        low, high = np.array([x0, y0]) - MARGIN, np.array([x1, y1]) + MARGIN
    cell = max(CELL, float((high - low).max()) / LARGEST)
    width, height = (np.ceil((high - low) / cell).astype(int) + 1).tolist()
    draw = _Brush(low, cell)
    draw.area(road.buffer(PAVEMENT_WIDTH), PAVEMENT)
    draw.area(road.buffer(0.18), KERB)
    draw.area(road, ASPHALT)
    for area in road_map.of_layer(MapLayer.INTERSECTION):
        if len(area.points) >= 3:
            draw.area(Polygon((area.points - shift)[:, :2]).buffer(0.0) & road, JUNCTION)
    for lane in road_map.of_layer(MapLayer.LANE):
        if lane.lane_type == LaneType.BIKE and lane.left is not None and lane.right is not None:
            outline = np.concatenate([lane.left, lane.right[::-1]]) - shift
            draw.polygon(outline[:, :2], (92, 78, 74))
    lines = road_map.of_layer(MapLayer.ROAD_LINE)
    for line in lines:
        draw.marking((line.points - shift)[:, :2], line.source_type.upper())
    if not lines:
        for lane in road_map.of_layer(MapLayer.LANE):
            for side in (lane.left, lane.right):
                if side is not None and not lane.in_intersection:
                    draw.marking((side - shift)[:, :2], "SOLID_WHITE")
    for crossing in road_map.of_layer(MapLayer.CROSSWALK):
        draw.zebra((crossing.points - shift)[:, :2])
    for stop in road_map.of_layer(MapLayer.STOP_LINE):
        if len(stop.points) >= 2:
            draw.line((stop.points - shift)[:, :2], WHITE, STOP_LINE_WIDTH)
    levels = [_roughened(draw.image(width, height), rng)]
    while min(levels[-1].size) > 64 and len(levels) < 6:
        levels.append(levels[-1].reduce(2))
    bright = np.asarray(levels[0].reduce(2).convert("L"))
    return Ground(tuple(levels), cell, low, _lamp_light(lamps, low, high), bright)


def _roughened(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The image with the grain and patches of real ground."""
    fine = rng.normal(0.0, 5.0, (256, 256))
    coarse = Image.fromarray(rng.normal(0.0, 1.0, (17, 17)).astype(np.float32))
    patches = np.asarray(coarse.resize((256, 256), Image.Resampling.BICUBIC)) * 5.0
    tile = (fine + patches).astype(np.int16)
    pixels = np.asarray(image).astype(np.int16)
    height, width = pixels.shape[:2]
    grain = np.tile(tile, (height // 256 + 1, width // 256 + 1))[:height, :width]
    pixels += grain[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _lamp_light(lamps: Array, low: Array, high: Array) -> Image.Image:
    """Light that lamps cast on the ground, 255 right below one."""
    columns, rows = (np.ceil((high - low) / LAMP_CELL).astype(int) + 1).tolist()
    light = np.zeros((rows, columns))
    reach = 16
    offset = np.arange(-reach, reach + 1)
    pool = np.exp(-(offset[:, None] ** 2 + offset[None] ** 2) / (2 * 6.0**2))
    for x, y in lamps:
        column, row = int((x - low[0]) / LAMP_CELL), int((y - low[1]) / LAMP_CELL)
        r0, r1 = max(row - reach, 0), min(row + reach + 1, rows)
        c0, c1 = max(column - reach, 0), min(column + reach + 1, columns)
        if r0 < r1 and c0 < c1:
            part = pool[r0 - row + reach : r1 - row + reach, c0 - column + reach :]
            light[r0:r1, c0:c1] += part[:, : c1 - c0]
    return Image.fromarray((np.minimum(light, 1.0) * 255).astype(np.uint8))


class _Brush:
    """Collects coloured polygons in metres and paints them, in order, with smooth edges."""

    def __init__(self, low: Array, cell: float) -> None:
        self._low, self._cell = low, cell
        self._polygons: list[tuple[Array, tuple[int, int, int]]] = []

    def image(self, width: int, height: int) -> Image.Image:
        """The raster: painted twice as fine, a tile at a time, and averaged."""
        image = Image.new("RGB", (width, height), GRASS)
        lowest = np.array([xy.min(axis=0) for xy, _ in self._polygons]).reshape(-1, 2)
        highest = np.array([xy.max(axis=0) for xy, _ in self._polygons]).reshape(-1, 2)
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                begin = self._low + np.array([left, top]) * self._cell
                end = begin + TILE * self._cell
                tile = Image.new("RGB", (2 * TILE, 2 * TILE), GRASS)
                pen = ImageDraw.Draw(tile)
                met = ((highest >= begin) & (lowest <= end)).all(axis=1)
                for i in np.flatnonzero(met):
                    xy, colour = self._polygons[i]
                    pixels = ((xy - begin) * (2.0 / self._cell)).ravel().tolist()
                    pen.polygon(pixels, fill=colour)
                image.paste(tile.reduce(2), (left, top))
        return image

    def polygon(self, xy: Array, colour: tuple[int, int, int]) -> None:
        if len(xy) >= 3:
            self._polygons.append((xy, colour))

    def area(self, area: BaseGeometry, colour: tuple[int, int, int]) -> None:
        """An area with its holes, which are cut by drawing it in pieces without any."""
        for part in getattr(area, "geoms", [area]):
            if not isinstance(part, Polygon) or part.is_empty:
                continue
            if not part.interiors:
                self.polygon(np.array(part.exterior.coords)[:, :2], colour)
                continue
            hole = Polygon(part.interiors[0]).representative_point()
            x0, y0, x1, y1 = part.bounds
            for half in (box(x0, y0, hole.x, y1), box(hole.x, y0, x1, y1)):
                self.area(part.intersection(half), colour)

    def line(self, xy: Array, colour: tuple[int, int, int], width: float) -> None:
        """A band of a width in metres, whatever the cells."""
        band = LineString(xy).buffer(width / 2.0, cap_style="flat", join_style="bevel")
        self.area(band, colour)

    def marking(self, xy: Array, word: str) -> None:
        """A painted line, by the usual words for its pattern and colour."""
        if len(xy) < 2:
            return
        colour = YELLOW if "YELLOW" in word else WHITE
        sides = [0.14, -0.14] if "DOUBLE" in word else [0.0]
        line = LineString(xy)
        for side in sides:
            moved = line.offset_curve(side) if side else line
            for part in getattr(moved, "geoms", [moved]):
                if part.length < 0.1:
                    continue
                points = np.array(part.coords)
                if "DASH" in word or "BROKEN" in word:
                    self._dashes(points, colour)
                else:
                    self.line(points, colour, PAINT_WIDTH)

    def _dashes(self, xy: Array, colour: tuple[int, int, int]) -> None:
        length = float(arc_length(xy)[-1])
        for begin in np.arange(0.0, length, DASH + DASH_GAP):
            end = min(begin + DASH, length)
            if end - begin > 0.3:
                self.line(at(xy, np.linspace(begin, end, 3)), colour, PAINT_WIDTH)

    def zebra(self, outline: Array) -> None:
        """Bars along the way of the cars, side by side across the road."""
        if len(outline) < 4:
            return
        corners = outline[:4]
        side, other = corners[1] - corners[0], corners[2] - corners[1]
        if np.hypot(*side) < np.hypot(*other):
            corners = np.roll(corners, -1, axis=0)
            side = other
        length = float(np.hypot(*side))
        if length < ZEBRA_BAR:
            return
        for begin in np.arange(0.2, length - ZEBRA_BAR, ZEBRA_BAR + ZEBRA_GAP):
            a, b = begin / length, (begin + ZEBRA_BAR) / length
            near = corners[0] + np.outer([a, b], corners[1] - corners[0])
            far = corners[3] + np.outer([b, a], corners[2] - corners[3])
            self.polygon(np.concatenate([near, far]), WHITE)
