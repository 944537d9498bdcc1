"""The lane graph that a map's geometry implies, where its source does not state it.

=================== ========================================================================
kind                found between
=================== ========================================================================
successor           a lane's end and the begin of another that points its way, where the
                    source states no succession at all
predecessor         the two of every succession, stated or found, and the other way round
left, right         lanes alongside in one direction, where the source states no neighbours
conflict            lanes whose centre lines cross, or that end together, without one
                    succeeding the other; no public format states them in full, and every
                    predicate about right of way needs them
crosswalk_over_lane a crosswalk of which none is stated, and the centre lines that enter it
stop_line_of_lane   a stop line of which none is stated, and the lanes that it lies across;
                    a stop sign and the lanes that end at it, where none of any is stated
=================== ========================================================================

All functions are pure: features in one metric frame and the source's edges in, further edges out.
Lanes of a city are treated at once: one array of points, one tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from geometry.angles import difference
from geometry.arrays import Array
from geometry.bundles import Bundle
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import MapFeature

STOREY_M = 3.0  # [m] things farther apart in height pass over each other

JOIN_M = 1.0  # [m] a lane that begins this near to another's end continues it
JOIN_SPREAD_M = 0.1  # [m] but not where a third begins nearer by more than this
JOIN_TURN = np.radians(45.0)  # [rad] greatest kink at such a joint
END_STRETCH_M = 2.0  # [m] over which the direction at an end of a lane is taken

SAMPLE_M = 2.0  # [m] between the places at which lanes are compared
BESIDE_M = (1.8, 4.6)  # [m] between centre lines of neighbours; farther, something parts them
BESIDE_TURN = np.radians(15.0)  # [rad] greatest angle between neighbours
BESIDE_SHARE = 0.7  # of the shorter one's length, that they must run alongside
BESIDE_CANDIDATES = 6  # samples looked at beside each

CROSSING_ANGLE = 0.15  # [rad] lines that meet at less run along each other
MERGE_ANGLE = 1.0  # [rad] lanes that end together at more come from opposite sides
END_M = 0.5  # [m] a crossing nearer than this to an end of a lane is a junction of ends

ACROSS_ANGLE = np.radians(45.0)  # [rad] least angle between a stop line and its lane
STOP_END_M = 2.0  # [m] from a stop line that crosses no lane to those that it may be of
TOUCH_M = 0.3  # [m] what is drawn to end at a line may miss it by so much
SIGN_M = 8.0  # [m] a stop sign may stand this far from where its lane begins
SIGN_AHEAD_M = 3.0  # [m] of which so much along the lane

FOR_WHOM = {
    LaneType.VEHICLE: 0, LaneType.FREEWAY: 0, LaneType.BUS: 0, LaneType.SHOULDER: 0,
    LaneType.OTHER: 0, LaneType.BIKE: 1, LaneType.SIDEWALK: 2, LaneType.UNKNOWN: -1,
}  # fmt: skip
"""Lanes of one number may be changed between; −1 goes with all. A bicycle lane ends in a lane for
all, and begins in one, so that they continue each other; a pavement never does."""
ROADWAY = frozenset(
    {LaneType.UNKNOWN, LaneType.VEHICLE, LaneType.FREEWAY, LaneType.BUS, LaneType.BIKE}
)
"""Lanes that a crosswalk can lead over; a pavement is none."""


def derived_edges(
    features: Sequence[MapFeature], edges: Int[Array, "edges 3"]
) -> Int[Array, "found 3"]:
    """What the source's edges lack, by kind; no edge twice, none that is stated.

    Args:
        features: In one metric frame, by ``feature_id``.
        edges: (from, kind, to) as the source states them.
    """
    edges = np.asarray(edges, dtype=np.int64).reshape(-1, 3)
    lanes = Lanes.of(features)
    states = np.isin(list(EdgeKind), edges[:, 1])
    found: list[Array] = []
    if not (states[EdgeKind.SUCCESSOR] or states[EdgeKind.PREDECESSOR]):
        found.append(_rows(successors(lanes), EdgeKind.SUCCESSOR))
    found.append(both_ways(np.concatenate([edges, *found])))
    succession = _pairs(np.concatenate([edges, *found]), EdgeKind.SUCCESSOR)
    if not (states[EdgeKind.LEFT] or states[EdgeKind.RIGHT]):
        beside = neighbours(lanes, succession)
        found.append(_rows(beside, EdgeKind.LEFT))
        found.append(_rows(beside[:, ::-1], EdgeKind.RIGHT))
    found.append(_rows(conflicts(lanes, succession), EdgeKind.CONFLICT))
    over = crosswalks_over_lanes(_lacking(features, edges, MapLayer.CROSSWALK), features)
    found.append(_rows(over, EdgeKind.CROSSWALK_OVER_LANE))
    across = stop_lines_of_lanes(_lacking(features, edges, MapLayer.STOP_LINE), lanes)
    found.append(_rows(across, EdgeKind.STOP_LINE_OF_LANE))
    signs = [f for f in features if f.layer is MapLayer.STOP_SIGN]
    if len(_lacking(features, edges, MapLayer.STOP_SIGN)) == len(signs):
        found.append(_rows(stop_signs_of_lanes(signs, lanes), EdgeKind.STOP_LINE_OF_LANE))
    return _new(np.concatenate(found), edges)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lanes:
    """The lanes of a map that have a length, as one array of points.

    Attributes:
        feature_id: Of each lane.
        whom: Of each lane, as ``FOR_WHOM``.
        has_z: Of each lane, whether heights mean anything.
        centre: Centre lines without repeated points [m].
        lines: Of each lane, the shapely line in plan.
    """

    feature_id: Int[Array, " lanes"]
    whom: Int[Array, " lanes"]
    has_z: Bool[Array, " lanes"]
    centre: Bundle
    lines: Shaped[Array, " lanes"]

    @classmethod
    def of(cls, features: Sequence[MapFeature]) -> Lanes:
        """The lanes among features."""
        import shapely

        lanes = [f for f in features if f.layer == MapLayer.LANE and len(f.points) > 1]
        centre = Bundle.of([f.points for f in lanes]).without_repeats()
        usable = centre.sizes > 1
        centre = centre.only(usable)
        lanes = [f for f, good in zip(lanes, usable, strict=True) if good]
        return cls(
            feature_id=np.array([f.feature_id for f in lanes], dtype=np.int64),
            whom=np.array([FOR_WHOM[f.lane_type] for f in lanes], dtype=np.int64),
            has_z=np.array([f.has_z for f in lanes], dtype=bool),
            centre=centre,
            lines=np.asarray(shapely.linestrings(centre.points[:, :2], indices=centre.line)),
        )

    def __len__(self) -> int:
        return len(self.feature_id)

    @property
    def length(self) -> Float[Array, " lanes"]:
        """Of each lane [m]."""
        return self.centre.length

    def yaw(
        self, lane: Int[Array, " many"], s: Float[Array, " many"], *, reach: float
    ) -> Float[Array, " many"]:
        """Direction of lanes over ``reach`` metres to either side of a place along them [rad]."""
        step = (self.centre.at(lane, s + reach) - self.centre.at(lane, s - reach))[:, :2]
        return np.asarray(np.arctan2(step[:, 1], step[:, 0]))


def successors(lanes: Lanes) -> Int[Array, "pairs 2"]:
    """(lane, the lane that continues it): one begins where the other ends, and points its way."""
    from scipy.spatial import cKDTree

    if len(lanes) < 2:
        return _none()
    every = np.arange(len(lanes))
    begin_yaw = lanes.yaw(every, np.zeros(len(lanes)), reach=END_STRETCH_M)
    end_yaw = lanes.yaw(every, lanes.length, reach=END_STRETCH_M)
    begins, ends = lanes.centre.points[lanes.centre.first], lanes.centre.points[lanes.centre.last]
    near = cKDTree(ends[:, :2]).sparse_distance_matrix(
        cKDTree(begins[:, :2]), JOIN_M, output_type="coo_matrix"
    )
    a, b, gap = near.row.astype(np.int64), near.col.astype(np.int64), near.data
    fits = (a != b) & (np.abs(difference(end_yaw[a], begin_yaw[b])) < JOIN_TURN)
    walks = lanes.whom == FOR_WHOM[LaneType.SIDEWALK]
    fits &= (walks[a] == walks[b]) | (lanes.whom[a] < 0) | (lanes.whom[b] < 0)
    fits &= ~(lanes.has_z[a] & lanes.has_z[b] & (np.abs(ends[a, 2] - begins[b, 2]) > STOREY_M))
    a, b, gap = a[fits], b[fits], gap[fits]
    nearest = np.full(len(lanes), np.inf)
    np.minimum.at(nearest, a, gap)
    close = gap <= nearest[a] + JOIN_SPREAD_M
    return _ids(lanes, a[close], b[close])


def both_ways(edges: Int[Array, "edges 3"]) -> Int[Array, "found 3"]:
    """A predecessor for every successor, and a successor for every predecessor, that is lacking."""
    ahead = _pairs(edges, EdgeKind.SUCCESSOR)
    back = _pairs(edges, EdgeKind.PREDECESSOR)
    turned = np.concatenate(
        [_rows(back[:, ::-1], EdgeKind.SUCCESSOR), _rows(ahead[:, ::-1], EdgeKind.PREDECESSOR)]
    )
    return _new(turned, edges)


def neighbours(lanes: Lanes, succession: Int[Array, "links 2"]) -> Int[Array, "pairs 2"]:
    """(lane, the lane to its left in the same direction), by feature id.

    From places along each lane one looks to the left, half-way into where a neighbour would lie;
    of the lanes found there the nearest counts.

    Args:
        lanes: All.
        succession: (lane, lane) by feature id; lanes that follow each other are no neighbours.
    """
    from scipy.spatial import cKDTree

    if len(lanes) < 2:
        return _none()
    count = np.maximum(np.ceil(lanes.length / SAMPLE_M).astype(np.int64), 2)
    lane = np.repeat(np.arange(len(lanes)), count)
    rank = np.arange(len(lane)) - np.repeat(np.cumsum(count) - count, count)
    s = (rank + 0.5) * (lanes.length / count)[lane]
    xyz = lanes.centre.at(lane, s)
    yaw = lanes.yaw(lane, s, reach=SAMPLE_M / 2.0)
    left = np.stack([-np.sin(yaw), np.cos(yaw)], axis=1)
    low, high = BESIDE_M
    reach = float(np.hypot((high - low) / 2.0, SAMPLE_M / 2.0)) + 0.1
    found = cKDTree(xyz[:, :2]).query(
        xyz[:, :2] + left * (low + high) / 2.0,
        k=range(1, min(BESIDE_CANDIDATES, len(xyz)) + 1),
        distance_upper_bound=reach,
    )
    near = np.asarray(found[1], dtype=np.int64)
    here, column = np.nonzero(near < len(xyz))
    there = near[here, column]
    offset = ((xyz[there] - xyz[here])[:, :2] * left[here]).sum(axis=1)
    fits = (lane[here] != lane[there]) & (offset >= low) & (offset <= high)
    fits &= np.abs(difference(yaw[here], yaw[there])) < BESIDE_TURN
    fits &= _for_one(lanes, lane[here], lane[there])
    both_z = lanes.has_z[lane[here]] & lanes.has_z[lane[there]]
    fits &= ~(both_z & (np.abs(xyz[here, 2] - xyz[there, 2]) > STOREY_M))
    here, there, offset = here[fits], there[fits], offset[fits]
    pair = lane[here] * len(lanes) + lane[there]
    # What runs alongside: samples of either that see the other, as a share of the shorter one.
    long_enough = _alongside(pair, here, there, count, len(lanes))
    linked = lanes_of(lanes, succession)
    joined = np.concatenate(
        [linked[:, 0] * len(lanes) + linked[:, 1], linked[:, 1] * len(lanes) + linked[:, 0]]
    )
    good = np.isin(pair, long_enough) & ~np.isin(pair, joined)
    here, pair, offset = here[good], pair[good], offset[good]
    order = np.lexsort((offset, here))
    here, pair = here[order], pair[order]
    is_nearest = np.diff(here, prepend=-1) != 0
    # A pair stands if at most places where it could, the other is the nearest. A place that sees
    # two samples of the other asks once, for the nearer.
    made, group = np.unique(pair, return_inverse=True)
    _, once = np.unique(group * len(xyz) + here, return_index=True)
    wins = np.bincount(group[once], is_nearest[once]) / np.maximum(np.bincount(group[once]), 1)
    kept = made[wins >= 0.5]
    return _ids(lanes, kept // len(lanes), kept % len(lanes))


def conflicts(lanes: Lanes, succession: Int[Array, "links 2"]) -> Int[Array, "pairs 2"]:
    """Both directions of every pair of lanes that cross or merge, by feature id.

    Args:
        lanes: All.
        succession: (lane, lane that continues it) by feature id.
    """
    if len(lanes) < 2:
        return _none()
    linked = lanes_of(lanes, succession)
    found = np.concatenate([_crossing(lanes), _merging(lanes, linked)])
    found = np.unique(np.sort(found, axis=1), axis=0)
    follows = np.isin(_code(found, len(lanes)), _code(np.sort(linked, axis=1), len(lanes)))
    found = found[~follows]
    pairs = _ids(lanes, found[:, 0], found[:, 1])
    return np.concatenate([pairs, pairs[:, ::-1]])


def crosswalks_over_lanes(
    crosswalks: Sequence[MapFeature], features: Sequence[MapFeature]
) -> Int[Array, "pairs 2"]:
    """(crosswalk, lane) wherever the centre line of a lane of the roadway enters a crosswalk."""
    import shapely

    lanes = Lanes.of([f for f in features if f.lane_type in ROADWAY])
    outlines = [f for f in crosswalks if len(f.points) > 2]
    if not outlines or not len(lanes):
        return _none()
    areas = shapely.make_valid([shapely.Polygon(f.points[:, :2]) for f in outlines])
    area, lane = shapely.STRtree(lanes.lines).query(areas, predicate="intersects")
    return _on_one_storey(outlines, area, lanes, lane)


def stop_lines_of_lanes(lines: Sequence[MapFeature], lanes: Lanes) -> Int[Array, "pairs 2"]:
    """(stop line, lane) wherever a stop line lies across a lane.

    A line that crosses no centre line, as it is drawn over half a lane, is of those near it.
    """
    import shapely

    lines = [f for f in lines if len(f.points) > 1 and np.ptp(f.points[:, :2], axis=0).any()]
    if not lines or not len(lanes):
        return _none()
    shapes = np.array([shapely.LineString(f.points[:, :2]) for f in lines])
    ways = lanes.lines
    line, lane = shapely.STRtree(ways).query(shapes, predicate="dwithin", distance=STOP_END_M)
    touch = shapely.get_point(shapely.shortest_line(shapes[line], ways[lane]), 1)
    s = shapely.line_locate_point(ways[lane], touch)
    stretch = np.array([_principal(f.points[:, :2]) for f in lines])[line]
    turn = difference(np.arctan2(stretch[:, 1], stretch[:, 0]), lanes.yaw(lane, s, reach=1.0))
    fits = np.abs(np.sin(turn)) >= np.sin(ACROSS_ANGLE)
    line, lane, s = line[fits], lane[fits], s[fits]
    met = shapely.distance(shapes[line], ways[lane]) <= TOUCH_M
    crosses = np.bincount(line[met], minlength=len(lines)) > 0
    fits = met | ~crosses[line]
    # Where lanes end at the line, those that begin there lie behind it.
    begins = s <= TOUCH_M
    ends_there = np.bincount(line[fits & ~begins], minlength=len(lines)) > 0
    fits &= ~(begins & ends_there[line])
    return _on_one_storey(lines, line[fits], lanes, lane[fits])


def stop_signs_of_lanes(signs: Sequence[MapFeature], lanes: Lanes) -> Int[Array, "pairs 2"]:
    """(stop sign, lane): the lanes that begin behind the line at which the sign makes one stop.

    As in Waymo's maps, these are the lanes into the crossing. The sign stands beside where they
    begin, on their right, or on the left where traffic drives there.
    """
    from scipy.spatial import cKDTree

    if not signs or not len(lanes):
        return _none()
    begins = lanes.centre.points[lanes.centre.first]
    place = np.array([f.points[0] for f in signs], dtype=np.float64)
    near = cKDTree(place[:, :2]).sparse_distance_matrix(
        cKDTree(begins[:, :2]), SIGN_M, output_type="coo_matrix"
    )
    sign, lane, gap = near.row.astype(np.int64), near.col.astype(np.int64), near.data
    yaw = lanes.yaw(lane, np.zeros(len(lane)), reach=END_STRETCH_M)
    ahead = ((place[sign] - begins[lane])[:, :2] * np.stack([np.cos(yaw), np.sin(yaw)], 1)).sum(1)
    fits = (np.abs(ahead) <= SIGN_AHEAD_M) & np.isin(lanes.whom[lane], (-1, 0))
    sign, lane, gap, yaw = sign[fits], lane[fits], gap[fits], yaw[fits]
    order = np.lexsort((gap, sign))
    sign, lane, yaw = sign[order], lane[order], yaw[order]
    leads = np.diff(sign, prepend=-1) != 0
    nearest = np.flatnonzero(leads)[np.cumsum(leads) - 1] if len(sign) else sign
    # All lanes of the same approach are stopped, not only the nearest.
    same = np.abs(difference(yaw, yaw[nearest])) < JOIN_TURN
    return _on_one_storey(signs, sign[same], lanes, lane[same])


def lanes_of(lanes: Lanes, pairs: Int[Array, "pairs 2"]) -> Int[Array, "some 2"]:
    """Pairs of feature ids as pairs of lane indices; without those that are no lanes."""
    order = np.argsort(lanes.feature_id)
    ids = lanes.feature_id[order]
    at = np.searchsorted(ids, pairs)
    known = at < len(ids)
    known[known] = ids[at[known]] == pairs[known]
    both = known.all(axis=1)
    return np.asarray(order[at[both]]).reshape(-1, 2)


def _alongside(pair: Array, here: Array, there: Array, count: Array, lanes: int) -> Array:
    """Codes of pairs of which the shorter one runs alongside the other for long enough."""
    pairs, group = np.unique(pair, return_inverse=True)
    many = int(count.sum())
    mine, theirs = (
        np.bincount(np.unique(group * many + sample) // many, minlength=len(pairs))
        for sample in (here, there)
    )
    a, b = count[pairs // lanes], count[pairs % lanes]
    share = np.where(a <= b, mine / a, theirs / b)
    return np.asarray(pairs[share >= BESIDE_SHARE])


def _crossing(lanes: Lanes) -> Int[Array, "pairs 2"]:
    """Pairs of lanes whose lines cross within, at an angle, on one storey."""
    import shapely

    lines, which = _within(lanes)
    first, second = shapely.STRtree(lines).query(lines, predicate="intersects")
    ordered = first < second
    first, second = first[ordered], second[ordered]
    met = shapely.intersection(lines[first], lines[second])
    # An overlap is a line, not a point: those lanes run along each other there.
    points, pair = shapely.get_parts(met, return_index=True)
    isolated = shapely.get_type_id(points) == shapely.GeometryType.POINT
    points, pair = points[isolated], pair[isolated]
    a, b = which[first[pair]], which[second[pair]]
    yaw, z = [], []
    for side in (a, b):
        s = shapely.line_locate_point(lanes.lines[side], points)
        yaw.append(lanes.yaw(side, s, reach=0.5))
        z.append(lanes.centre.at(side, s)[:, 2])
    angle = np.abs(difference(yaw[0], yaw[1]))
    crosses = np.minimum(angle, np.pi - angle) > CROSSING_ANGLE
    crosses &= ~(lanes.has_z[a] & lanes.has_z[b] & (np.abs(z[0] - z[1]) > STOREY_M))
    return np.column_stack([a[crosses], b[crosses]])


def _within(lanes: Lanes) -> tuple[Array, Int[Array, " some"]]:
    """Lines of lanes without ``END_M`` at either end, and which lanes; short ones have none."""
    import shapely

    every = np.arange(len(lanes))
    lane = np.repeat(every, lanes.centre.last - lanes.centre.first + 1)
    s = lanes.centre.way - lanes.centre.way[lanes.centre.first[lane]]
    xy = lanes.centre.points[:, :2].copy()
    xy[lanes.centre.first] = lanes.centre.at(every, np.full(len(lanes), END_M))[:, :2]
    xy[lanes.centre.last] = lanes.centre.at(every, lanes.length - END_M)[:, :2]
    kept = (s > END_M) & (s < lanes.length[lane] - END_M)
    kept[lanes.centre.first] = kept[lanes.centre.last] = True
    kept &= (lanes.length > 2.0 * END_M)[lane]
    which, line = np.unique(lane[kept], return_inverse=True)
    return np.asarray(shapely.linestrings(xy[kept], indices=line)), which


def _merging(lanes: Lanes, linked: Int[Array, "links 2"]) -> Int[Array, "pairs 2"]:
    """Pairs of lanes that share a successor, or whose lines end together in one direction."""
    from scipy.spatial import cKDTree

    ends = lanes.centre.points[lanes.centre.last]
    step = (ends - lanes.centre.points[lanes.centre.last - 1])[:, :2]
    yaw = np.arctan2(step[:, 1], step[:, 0])
    met = cKDTree(ends).query_pairs(END_M, output_type="ndarray").astype(np.int64)
    met = met[np.abs(difference(yaw[met[:, 0]], yaw[met[:, 1]])) < MERGE_ANGLE]
    linked = linked[np.argsort(linked[:, 1], kind="stable")]
    found = [met]
    # Rows that share the lane led to stand together; each is paired with the k-th after it.
    for k in range(1, len(linked)):
        same = linked[k:, 1] == linked[:-k, 1]
        if not same.any():
            break
        found.append(np.column_stack([linked[:-k, 0][same], linked[k:, 0][same]]))
    return np.concatenate(found)


def _on_one_storey(
    things: Sequence[MapFeature], thing: Array, lanes: Lanes, lane: Array
) -> Int[Array, "pairs 2"]:
    """(thing, lane) by feature id, where both have no heights, or like ones."""
    import shapely

    if not len(thing):
        return _none()
    middle = np.array([f.points.mean(axis=0) for f in things], dtype=np.float64)[thing]
    s = shapely.line_locate_point(lanes.lines[lane], shapely.points(middle[:, :2]))
    apart = np.abs(lanes.centre.at(lane, s)[:, 2] - middle[:, 2]) > STOREY_M
    has_z = np.array([f.has_z for f in things], dtype=bool)[thing] & lanes.has_z[lane]
    kept = ~(has_z & apart)
    ids = np.array([f.feature_id for f in things], dtype=np.int64)
    found = np.column_stack([ids[thing[kept]], lanes.feature_id[lane[kept]]])
    return np.asarray(np.unique(found, axis=0))


def _principal(xy: Float[Array, "points 2"]) -> Float[Array, "2"]:
    """The way along which a line, or the outline of a stripe, extends most."""
    apart = (xy - xy.mean(axis=0)).astype(np.float64)
    return np.asarray(np.linalg.eigh(apart.T @ apart)[1][:, -1])


def _lacking(features: Sequence[MapFeature], edges: Array, layer: MapLayer) -> list[MapFeature]:
    """Crosswalks, stop lines or signs of which the source states no lane."""
    kind = (
        EdgeKind.CROSSWALK_OVER_LANE if layer is MapLayer.CROSSWALK else EdgeKind.STOP_LINE_OF_LANE
    )
    told = set(edges[edges[:, 1] == kind, 0].tolist())
    return [f for f in features if f.layer is layer and f.feature_id not in told]


def _for_one(lanes: Lanes, a: Array, b: Array) -> Bool[Array, " pairs"]:
    """Whether lanes are for the same road users."""
    one, two = lanes.whom[a], lanes.whom[b]
    return np.asarray((one == two) | (one < 0) | (two < 0))


def _ids(lanes: Lanes, a: Array, b: Array) -> Int[Array, "pairs 2"]:
    return np.column_stack([lanes.feature_id[a], lanes.feature_id[b]]).astype(np.int64)


def _pairs(edges: Array, kind: EdgeKind) -> Int[Array, "pairs 2"]:
    return np.asarray(edges[edges[:, 1] == kind][:, [0, 2]])


def _rows(pairs: Int[Array, "pairs 2"], kind: EdgeKind) -> Int[Array, "edges 3"]:
    return np.column_stack([pairs[:, 0], np.full(len(pairs), int(kind)), pairs[:, 1]])


def _code(pairs: Int[Array, "pairs 2"], many: int) -> Int[Array, " pairs"]:
    return np.asarray(pairs[:, 0] * many + pairs[:, 1])


def _new(found: Int[Array, "found 3"], edges: Int[Array, "edges 3"]) -> Int[Array, "new 3"]:
    """What was found and is not stated, each once, ordered by kind and ids."""
    if not len(found):
        return np.zeros((0, 3), dtype=np.int64)
    many = int(max(found.max(), edges.max(initial=0))) + 1
    code = [(e[:, 1] * many + e[:, 0]) * many + e[:, 2] for e in (found, edges)]
    _, first = np.unique(code[0], return_index=True)
    return np.asarray(found[first[~np.isin(code[0][first], code[1])]])


def _none() -> Int[Array, "0 2"]:
    return np.zeros((0, 2), dtype=np.int64)
