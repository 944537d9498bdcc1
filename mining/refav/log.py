"""A log of a lake as RefAV's functions look at it: every track at the source's own stamps.

RefAV works on the annotated sweeps of an Argoverse 2 log, 10 Hz. Here the grid of time is the
stamps at which the source tells of other road users (of the ego, where it tells of nobody else);
the ego is interpolated at those that it lacks. Nothing is resampled otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from formats.argoverse2 import CATEGORIES, EGO_CATEGORY
from geometry.angles import difference
from geometry.arrays import Array
from geometry.lanes import LaneIndex
from geometry.polylines import arc_length, project
from lake import Lake
from lake.literals import literal
from mining.lanes import LaneGraph, lane_graph
from mining.refav.scenario import Scenario
from schemas.errors import BadQuery, MissingData, UnknownName
from schemas.labels import AgentClass, EdgeKind, MapLayer
from schemas.records import RoadMap

if TYPE_CHECKING:
    from shapely import Geometry

SMOOTHED = 7
"""Stamps over whose median rates are taken, as RefAV does: annotated boxes jitter."""
STATE = ("x", "y", "z", "yaw", "length", "width", "height")
LANE_OFFSET_M = 3.5
"""[m] Nobody farther from a centre line is on its lane, however wide it is."""

MEDIAN_M = 1.5
"""[m] Boundaries of lanes on the two sides of a road's middle line lie nearer than this."""
AGAINST = np.radians(135.0)
"""[rad] Lanes whose directions differ by more run against each other."""

VEHICLE_CATEGORIES = frozenset(
    {
        EGO_CATEGORY, "ARTICULATED_BUS", "BOX_TRUCK", "BUS", "LARGE_VEHICLE", "MOTORCYCLE",
        "RAILED_VEHICLE", "REGULAR_VEHICLE", "SCHOOL_BUS", "TRUCK", "TRUCK_CAB",
    }
)  # fmt: skip
"""What RefAV's super-category VEHICLE holds."""
COARSE: Mapping[str, frozenset[AgentClass]] = {
    "REGULAR_VEHICLE": frozenset({AgentClass.VEHICLE}),
    "TRUCK": frozenset({AgentClass.TRUCK}),
    "BUS": frozenset({AgentClass.BUS}),
    "MOTORCYCLE": frozenset({AgentClass.MOTORCYCLE}),
    "MOTORCYCLIST": frozenset({AgentClass.MOTORCYCLE}),
    "BICYCLIST": frozenset({AgentClass.CYCLIST}),
    "PEDESTRIAN": frozenset({AgentClass.PEDESTRIAN}),
    "ANIMAL": frozenset({AgentClass.ANIMAL}),
    "VEHICLE": frozenset(
        {AgentClass.VEHICLE, AgentClass.TRUCK, AgentClass.BUS, AgentClass.MOTORCYCLE}
    ),
}
"""Normalised classes that stand for a category in logs of other sources."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """Every track at every stamp; row 0 is the ego where there is one.

    Attributes:
        t_ns: Since the log began [ns].
        seen: Whether the track was observed; if not, its other values mean nothing.
        xyz: Centres of the boxes [m].
        yaw: [rad].
        size: (length, width, height), the median of what was observed [m].
        lane: Lane that it is on, an index of the lane graph; −1 if none.
        lane_d: Offset to the left of that lane's centre line [m].
    """

    t_ns: Int[Array, " steps"]
    seen: Bool[Array, "tracks steps"]
    xyz: Float[Array, "tracks steps 3"]
    yaw: Float[Array, "tracks steps"]
    size: Float[Array, "tracks 3"]
    lane: Int[Array, "tracks steps"]
    lane_d: Float[Array, "tracks steps"]


class Log:
    """One log; arrays are read and worked out on first use, and kept."""

    def __init__(
        self, lake: Lake, row: Mapping[str, Any], *, colours: Mapping[str, str] | None = None
    ) -> None:
        """A handle on a row of ``logs``; see :meth:`open`."""
        self.lake = lake
        self.row = dict(row)
        self.log_id = int(row["log_id"])
        self.name = str(row["source_log_id"])
        self.colours = None if colours is None else dict(colours)

    @classmethod
    def open(
        cls, lake: Lake, log: str | int | Path, *, colours: Mapping[str, str] | None = None
    ) -> Log:
        """The log that someone means by its id, the source's id, or a path that ends in that.

        Args:
            lake: Where it is.
            log: Which.
            colours: Source track id → colour, for ``is_color``: the lake keeps none.

        Raises:
            UnknownName: There is no such log.
            BadQuery: Several logs have that source id.
        """
        asked = Path(log).name if isinstance(log, Path) else str(log).rstrip("/").split("/")[-1]
        where = f"source_log_id = {literal(asked)}"
        rows = lake.read("logs", None, where).to_pylist()
        if not rows and asked.lstrip("-").isdecimal() and abs(int(asked)) < 2**63:
            rows = lake.read("logs", None, f"log_id = {int(asked)}").to_pylist()
        if not rows:
            known = lake.read("logs", ["source_log_id"])["source_log_id"].to_pylist()
            raise UnknownName("log", asked, known)
        if len(rows) > 1:
            ids = ", ".join(str(row["log_id"]) for row in rows)
            raise BadQuery(
                f"{len(rows)} logs are called `{asked}`.", hint=f"Say which by its id: {ids}."
            )
        return cls(lake, rows[0], colours=colours)

    # Who

    @cached_property
    def _tracks(self) -> list[dict[str, Any]]:
        columns = ["track_id", "source_track_id", "cls", "source_cls", "is_ego"]
        rows = self.lake.read("tracks", columns, f"log_id = {self.log_id}")
        return list(rows.sort_by("track_id").to_pylist())

    @cached_property
    def uuids(self) -> list[str]:
        """The source's ids of the tracks, in the order of the rows of the grid."""
        return [str(row["source_track_id"]) for row in self._tracks]

    @cached_property
    def track_ids(self) -> list[int]:
        """The lake's ids of the tracks, likewise."""
        return [int(row["track_id"]) for row in self._tracks]

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row of the grid by the source's id."""
        return {uuid: row for row, uuid in enumerate(self.uuids)}

    @cached_property
    def ego(self) -> int:
        """Row of the ego, −1 where there is none."""
        return next((k for k, row in enumerate(self._tracks) if row["is_ego"]), -1)

    def rows_of_category(self, category: str) -> list[int]:
        """Rows of the tracks of a category; the log's own words where it is of Argoverse 2.

        Raises:
            UnknownName: It is none of the 30 categories, VEHICLE, ANY or EGO_VEHICLE.
            MissingData: The log's classes are too coarse to tell.
        """
        if category not in {*CATEGORIES, EGO_CATEGORY, "VEHICLE", "ANY"}:
            raise UnknownName(
                "category", str(category), [*CATEGORIES, EGO_CATEGORY, "VEHICLE", "ANY"]
            )
        everyone = range(len(self._tracks))
        if category == "ANY":
            return list(everyone)
        if category == EGO_CATEGORY:
            return [self.ego] if self.ego >= 0 else []
        if self.fine:
            words = VEHICLE_CATEGORIES if category == "VEHICLE" else {category}
            return [k for k in everyone if self.category(k) in words]
        if category not in COARSE:
            raise MissingData(
                f"The log {self.name} does not tell {category} from its like: its classes are "
                f"those of {self.row['dataset']}.",
                hint=f"Ask for one of {', '.join(COARSE)}, or ANY.",
            )
        classes = {cls.word for cls in COARSE[category]}
        mine = [k for k in everyone if self._tracks[k]["cls"] in classes and k != self.ego]
        # RefAV counts the ego among the vehicles, and nowhere else.
        return [self.ego, *mine] if category == "VEHICLE" and self.ego >= 0 else mine

    @cached_property
    def fine(self) -> bool:
        """Whether the tracks bear Argoverse 2's own categories."""
        words = [row["source_cls"] for row in self._tracks if not row["is_ego"]]
        return all(word in CATEGORIES or word == EGO_CATEGORY for word in words) and (
            bool(words) or str(self.row["dataset"]).startswith("argoverse2")
        )

    def category(self, row: int) -> str:
        """The source's own word; the ego is EGO_VEHICLE."""
        return EGO_CATEGORY if row == self.ego else str(self._tracks[row]["source_cls"])

    @cached_property
    def wills(self) -> Bool[Array, " tracks"]:
        """Who moves by itself, so that its body points where it means to go."""
        things = {AgentClass.OBSTACLE.word, AgentClass.OTHER.word, AgentClass.UNKNOWN.word}
        return np.array([row["cls"] not in things for row in self._tracks], dtype=bool)

    # When and where

    @cached_property
    def grid(self) -> Grid:
        """All tracks at all stamps."""
        where = f"log_id = {self.log_id} and valid"
        agents = self.lake.read("agents", ["track_id", "t_ns", *STATE], where)
        ego = self.lake.read("ego", ["track_id", "t_ns", *STATE], where)
        stamps = np.unique((agents if agents.num_rows else ego)["t_ns"].to_numpy())
        shape = (len(self._tracks), len(stamps))
        values = {name: np.full(shape, np.nan) for name in STATE}
        seen = np.zeros(shape, dtype=bool)
        place = {row["track_id"]: k for k, row in enumerate(self._tracks)}
        for table in (agents, ego):
            rows = np.array([place[i] for i in table["track_id"].to_pylist()], dtype=np.int64)
            t_ns = table["t_ns"].to_numpy()
            at = np.minimum(np.searchsorted(stamps, t_ns), max(len(stamps) - 1, 0))
            here = stamps[at] == t_ns if len(stamps) else np.zeros(0, dtype=bool)
            seen[rows[here], at[here]] = True
            for name in STATE:
                values[name][rows[here], at[here]] = _floats(table[name])[here]
        if self.ego >= 0 and ego.num_rows > 1:
            self._fill_ego(values, seen, stamps, ego)
        xy = np.stack([values["x"], values["y"]], axis=-1)
        lane, lane_d = np.full(shape, -1, dtype=np.int64), np.zeros(shape)
        if len(self.graph) and seen.any():
            # The lake keeps cars off bicycle lanes; RefAV asks who drives on them.
            index = LaneIndex([feature.points for feature in self.graph.lanes])
            found = index.match(xy[seen], values["yaw"][seen], max_offset=LANE_OFFSET_M)
            within = found.matched & (np.abs(found.d) <= self.graph.half_width[found.lane])
            lane[seen], lane_d[seen] = np.where(within, found.lane, -1), found.d
        return Grid(
            t_ns=stamps, seen=seen, yaw=values["yaw"], lane=lane, lane_d=lane_d,
            xyz=np.stack([values["x"], values["y"], np.nan_to_num(values["z"])], axis=-1),
            size=np.stack(
                [_medians(values[name], seen) for name in ("length", "width", "height")], axis=-1
            ),
        )  # fmt: skip

    def _fill_ego(
        self, values: dict[str, Array], seen: Array, stamps: Array, ego: pa.Table
    ) -> None:
        """Interpolate the ego at stamps between its own."""
        own = ego.sort_by("t_ns")
        t_ns = own["t_ns"].to_numpy().astype(np.float64)
        lacks = ~seen[self.ego] & (stamps >= t_ns[0]) & (stamps <= t_ns[-1])
        if not lacks.any():
            return
        nearest = np.abs(stamps[lacks][:, None] - t_ns[None]).argmin(axis=1)
        for name in STATE:
            column = _floats(own[name])
            if name in ("x", "y", "z"):
                values[name][self.ego, lacks] = np.interp(stamps[lacks], t_ns, column)
            elif name == "yaw":
                values[name][self.ego, lacks] = np.interp(stamps[lacks], t_ns, np.unwrap(column))
            else:
                values[name][self.ego, lacks] = column[nearest]
        seen[self.ego, lacks] = True

    @cached_property
    def stamps(self) -> Int[Array, " steps"]:
        """The source's own stamps: since 1970 where known, else since the log began [ns]."""
        return self.grid.t_ns + int(self.row["t0_unix_ns"] or 0)

    @cached_property
    def step_of(self) -> dict[int, int]:
        """Step of the grid by stamp."""
        return {int(stamp): step for step, stamp in enumerate(self.stamps)}

    @cached_property
    def boxes(self) -> Float[Array, "tracks steps 5"]:
        """Oriented boxes as seen from above, see :mod:`geometry.boxes`."""
        grid = self.grid
        extents = np.repeat(grid.size[:, None, :2], len(grid.t_ns), axis=1)
        return np.concatenate([grid.xyz[..., :2], grid.yaw[..., None], extents], axis=-1)

    @cached_property
    def velocity(self) -> Float[Array, "tracks steps 2"]:
        """Rate of the position [m/s]; NaN where not known."""
        return np.stack([self.rate(self.grid.xyz[..., k]) for k in range(2)], axis=-1)

    @cached_property
    def acceleration(self) -> Float[Array, "tracks steps 2"]:
        """Forwards and to the left, in the body's frame [m/s²]; NaN where not known."""
        ax, ay = (self.rate(self.velocity[..., k]) for k in range(2))
        cos, sin = np.cos(self.grid.yaw), np.sin(self.grid.yaw)
        return np.stack([cos * ax + sin * ay, cos * ay - sin * ax], axis=-1)

    @cached_property
    def yaw_rate(self) -> Float[Array, "tracks steps"]:
        """[rad/s]; NaN where not known."""
        yaw = self.grid.yaw.copy()
        for row, seen in enumerate(self.grid.seen):
            yaw[row, seen] = np.unwrap(yaw[row, seen])
        return self.rate(yaw)

    def rate(self, value: Float[Array, "rows steps"]) -> Float[Array, "rows steps"]:
        """Rate of change between a row's neighbouring stamps, the median of seven [1/s].

        A row's first and last stamp have the rate of the stretch that they end. NaN marks what is
        not known, before and after.
        """
        from scipy.ndimage import median_filter

        t = self.grid.t_ns / 1e9
        rates = np.full(value.shape, np.nan)
        for row, own in enumerate(value):
            at = np.flatnonzero(np.isfinite(own))
            if len(at) > 1:
                before = at[np.maximum(np.arange(len(at)) - 1, 0)]
                after = at[np.minimum(np.arange(len(at)) + 1, len(at) - 1)]
                slope = (own[after] - own[before]) / (t[after] - t[before])
                rates[row, at] = median_filter(slope, size=SMOOTHED, mode="nearest")
        return rates

    @cached_property
    def parked(self) -> Bool[Array, " tracks"]:
        """Who moved by less than 2 m as long as it was seen."""
        xy = np.where(self.grid.seen[..., None], self.grid.xyz[..., :2], np.nan)
        some = self.grid.seen.any(axis=1)
        span = np.full(len(self.uuids), np.inf)
        if some.any():  # a log may have no tracks at all
            xy = xy[some]
            span[some] = np.hypot(*(np.nanmax(xy, axis=1) - np.nanmin(xy, axis=1)).T)
        return span < 2.0

    # The map

    @cached_property
    def map(self) -> RoadMap:
        """The map in the log's frame; without features where there is none."""
        return self.lake.map_of(self.row)

    @cached_property
    def graph(self) -> LaneGraph:
        """Its lanes."""
        return lane_graph(self.map)

    def need(self, layer: MapLayer, function: str) -> None:
        """Refuse to answer from a map that lacks a layer.

        Raises:
            MissingData: It does.
        """
        if not self.map.of_layer(layer):
            raise MissingData(
                f"The log {self.name} has no {layer.word} on its map, which {function} asks about.",
                hint="Choose a log with such a map, or leave that function out.",
            )

    @cached_property
    def lane_areas(self) -> list[Geometry]:
        """Every lane as an area between its boundaries."""
        import shapely

        areas = []
        for index, lane in enumerate(self.graph.lanes):
            if lane.left is not None and lane.right is not None:
                ring = np.concatenate([lane.left[:, :2], lane.right[::-1, :2]])
                areas.append(shapely.make_valid(shapely.polygons(ring.astype(np.float64))))
            else:
                line = shapely.linestrings(lane.points[:, :2].astype(np.float64))
                areas.append(line.buffer(self.graph.half_width[index], cap_style="flat"))
        return areas

    @cached_property
    def sides(self) -> dict[int, dict[EdgeKind, set[int]]]:
        """Of each lane, the lanes beside it that run the same way."""
        found: dict[int, dict[EdgeKind, set[int]]] = {}
        for begin, kind, end in self.map.edges.tolist():
            if kind in (EdgeKind.LEFT, EdgeKind.RIGHT):
                a, b = self.graph.indices(np.array([begin, end])).tolist()
                if a >= 0 and b >= 0:
                    found.setdefault(a, {}).setdefault(EdgeKind(kind), set()).add(b)
        return found

    @cached_property
    def faces(self) -> dict[int, set[int]]:
        """Of each lane, those that run against it on the other side of the same line."""
        import shapely

        found: dict[int, set[int]] = {}
        for side in ("left", "right"):
            bounds = {k: getattr(lane, side) for k, lane in enumerate(self.graph.lanes)}
            bounds = {k: b[:, :2].astype(np.float64) for k, b in bounds.items() if b is not None}
            lines = {k: line for k, line in bounds.items() if arc_length(line)[-1] > 0.1}
            if len(lines) < 2:
                continue
            lanes = np.array(list(lines))
            shapes = np.array([shapely.LineString(line) for line in lines.values()])
            middles = shapely.line_interpolate_point(shapes, 0.5, normalized=True)
            here, there = shapely.STRtree(shapes).query(
                middles, predicate="dwithin", distance=MEDIAN_M
            )
            ways = [project(shapely.get_coordinates(m), line)[2][0]
                    for m, line in zip(middles, lines.values(), strict=True)]  # fmt: skip
            for k, n in zip(here.tolist(), there.tolist(), strict=True):
                course = project(shapely.get_coordinates(middles[k]), lines[int(lanes[n])])[2][0]
                turn = abs(float(difference(np.asarray(ways[k]), np.asarray(course))))
                if k != n and turn >= AGAINST:
                    found.setdefault(int(lanes[k]), set()).add(int(lanes[n]))
                    found.setdefault(int(lanes[n]), set()).add(int(lanes[k]))
        return found

    # Scenarios

    def scenario(self, rows: list[int]) -> Scenario:
        """Tracks at all stamps at which they are seen."""
        return {
            self.uuids[row]: self.stamps[self.grid.seen[row]].tolist()
            for row in rows
            if self.grid.seen[row].any()
        }

    def steps(self, stamps: set[int]) -> Bool[Array, " steps"]:
        """Which steps of the grid some stamps are."""
        mask = np.zeros(len(self.stamps), dtype=bool)
        mask[[self.step_of[stamp] for stamp in stamps if stamp in self.step_of]] = True
        return mask


def _floats(column: pa.ChunkedArray) -> Array:
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)


def _medians(values: Float[Array, "tracks steps"], seen: Array) -> Float[Array, " tracks"]:
    known = np.where(seen, values, np.nan)
    some = np.isfinite(known).any(axis=1)
    out = np.zeros(len(known))
    out[some] = np.nanmedian(known[some], axis=1)
    return out
