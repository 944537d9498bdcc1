"""Where tracks are on the map: RefAV's map functions as masks over tracks and stamps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.angles import difference
from geometry.arrays import Array
from geometry.boxes import corners
from mining.refav.log import Log
from schemas.labels import EdgeKind, LaneType, MapLayer

if TYPE_CHECKING:
    from shapely import Geometry

LANE_TYPES = {
    "BUS": (LaneType.BUS,), "VEHICLE": (LaneType.VEHICLE, LaneType.FREEWAY),
    "BIKE": (LaneType.BIKE,),
}  # fmt: skip
SIGN_RIGHT_M = 7.0
"""[m] Road beside a stop sign for which it stands."""
SIGN_LANE_M = 10.0
"""[m] A sign belongs to a lane whose boundary ends within this distance."""
TURNS = np.radians(40.0)
"""[rad] A lane of an intersection that bends by more is a turn, a lane of its own."""


def within(
    log: Log, rows: Sequence[int], areas: Sequence[Geometry], *, distance: float, boxes: bool
) -> Bool[Array, "rows steps"]:
    """Whether a centre, or any part of a box, lies in an area or at most so far away [m]."""
    import shapely

    seen = log.grid.seen[list(rows)]
    mask = np.zeros(seen.shape, dtype=bool)
    if not areas or not seen.any():
        return mask
    chosen = log.boxes[list(rows)][seen]
    shapes = shapely.polygons(corners(chosen)) if boxes else shapely.points(chosen[:, :2])
    hit, _ = shapely.STRtree(list(areas)).query(shapes, predicate="dwithin", distance=distance)
    inside = np.zeros(len(chosen), dtype=bool)
    inside[hit] = True
    mask[seen] = inside
    return mask


def polygons(log: Log, layer: MapLayer) -> list[Geometry]:
    """The areas of a layer."""
    import shapely

    return [
        shapely.make_valid(shapely.polygons(area.points[:, :2].astype(np.float64)))
        for area in log.map.of_layer(layer)
        if len(area.points) > 2
    ]


def intersections(log: Log) -> list[Geometry]:
    """Lanes that lie in intersections, and intersections that are areas of their own."""
    lanes = np.flatnonzero(log.graph.in_intersection).tolist() if len(log.graph) else []
    return [log.lane_areas[lane] for lane in lanes] + polygons(log, MapLayer.INTERSECTION)


def on_lane_type(log: Log, rows: Sequence[int], lane_type: str) -> Bool[Array, "rows steps"]:
    """Whether the lane that a track is on is for buses, vehicles or bicycles."""
    lane = log.grid.lane[list(rows)]
    meant = np.array([f.lane_type in LANE_TYPES[lane_type] for f in log.graph.lanes], dtype=bool)
    return np.asarray((lane >= 0) & meant[np.maximum(lane, 0)])


def semantic_lane(log: Log, lane: int) -> frozenset[int]:
    """What one would call a lane: lanes on and back, each time the straightest.

    A turn within an intersection is a lane of its own.
    """
    graph = log.graph
    if graph.in_intersection[lane] and abs(graph.turn[lane]) > TURNS:
        return frozenset({lane})
    chain = {lane}
    for after in (graph.successors, graph.predecessors):
        here = lane
        while True:
            way = [b for b in after[here] if b not in chain]
            way = [b for b in way if not (graph.in_intersection[b] and abs(graph.turn[b]) > TURNS)]
            if not way:
                break
            here = min(way, key=lambda b: abs(graph.turn[b]))
            chain.add(here)
    return frozenset(chain)


def same_side(log: Log, lane: int) -> frozenset[int]:
    """The lanes of one side of the road: the lane's own chain and those beside it."""
    found: set[int] = set()
    queue = list(semantic_lane(log, lane))
    while queue:
        here = queue.pop()
        if here in found:
            continue
        found.add(here)
        queue += [b for beside in log.sides.get(here, {}).values() for b in beside]
    return frozenset(found)


def opposite_side(log: Log, lane: int) -> frozenset[int]:
    """The lanes of the other side: those that run against ours along the same middle line."""
    own = same_side(log, lane)
    across = set().union(*(log.faces.get(here, set()) for here in own)) - own
    return frozenset().union(*(same_side(log, other) for other in across)) - own


def beside(log: Log, lane: int) -> set[int]:
    """Lanes to the left and right of a lane that run the same way."""
    return set().union(*log.sides.get(lane, {}).values())


def neighbour_side(log: Log, a: int, b: int) -> int:
    """+1 if lane b lies to the left of lane a, −1 if to its right, 0 if it is no neighbour."""
    near = log.sides.get(a, {})
    if b in near.get(EdgeKind.LEFT, ()):
        return 1
    return -1 if b in near.get(EdgeKind.RIGHT, ()) else 0


def at_stop_sign(log: Log, rows: Sequence[int], ahead: float) -> Bool[Array, "rows steps"]:
    """Whether a track is on a stop sign's lane, before the sign and facing it.

    In the sign's frame (x out of its face, y to its left): −1 < x < ``ahead`` and −7 < y < 0 [m].
    """
    grid, graph = log.grid, log.graph
    mask = np.zeros((len(rows), len(grid.t_ns)), dtype=bool)
    xy, yaw = grid.xyz[list(rows)][..., :2], grid.yaw[list(rows)]
    for place, facing in _signs(log):
        lane = _sign_lane(log, place)
        if lane < 0:
            continue
        if not np.isfinite(facing):
            last = int(graph.samples.first[lane] + graph.samples.count[lane]) - 1
            facing = float(graph.samples.yaw[last]) + np.pi
        cos, sin = np.cos(facing), np.sin(facing)
        dx, dy = xy[..., 0] - place[0], xy[..., 1] - place[1]
        x, y = cos * dx + sin * dy, cos * dy - sin * dx
        toward = np.abs(difference(yaw, np.full(yaw.shape, facing))) >= np.pi / 2
        mask |= (
            grid.seen[list(rows)] & (grid.lane[list(rows)] == lane) & toward
            & (x > -1.0) & (x < ahead) & (y > -SIGN_RIGHT_M) & (y < 0.0)
        )  # fmt: skip
    return mask


def _signs(log: Log) -> list[tuple[Float[Array, " 2"], float]]:
    """Where stop signs stand and whither they face (NaN where not known)."""
    grid = log.grid
    found = []
    for row in range(len(log.uuids)):
        if log.category(row) == "STOP_SIGN" and grid.seen[row].any():
            step = int(grid.seen[row].argmax())
            found.append((grid.xyz[row, step, :2], float(grid.yaw[row, step])))
    if not found:
        signs = log.map.of_layer(MapLayer.STOP_SIGN)
        found = [(sign.points[0, :2].astype(np.float64), np.nan) for sign in signs]
    return found


def _sign_lane(log: Log, place: Float[Array, " 2"]) -> int:
    """The lane whose right boundary ends nearest, outside intersections if there is one; −1."""
    ends = np.array(
        [f.points[-1, :2] if f.right is None else f.right[-1, :2] for f in log.graph.lanes]
    ).reshape(-1, 2)
    distance = np.hypot(*(ends - place).T)
    near: Int[Array, " lanes"] = np.flatnonzero(distance <= SIGN_LANE_M)
    if not len(near):
        return -1
    outside = near[~log.graph.in_intersection[near]]
    near = outside if len(outside) else near
    return int(near[distance[near].argmin()])
