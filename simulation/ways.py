"""Every way through a road network, as tables that a whole population of drivers can be looked up in.

A *way* is a sequence of lanes from where one enters to where one leaves. Positions along it are
stations [m]. Where others are relative to a driver is found by carrying their (lane, distance) over
to the driver's way: station = offset + sign · distance, one gather for all pairs.

A *movement* is the stretch of a way inside a junction. Two movements that come too near each other
have a *zone*: a stretch on either in which only one vehicle may be at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from schemas.labels import LaneType
from simulation import traffic_kernels as kernels
from simulation.roads import CONFLICT_M, Network, crosswalk_span, overlap_runs
from simulation.traffic_kernels import GRID_M

LATERAL_COMFORT = 1.9  # [m/s²] in bends, by an average driver
ANTICIPATION = 1.0  # [m/s²] braking ahead of bends
MERGE_ZONE_M = 7.0  # of a merge, the rest is car following
TAIL_M = 3.0  # a vehicle's rear still stands in a diverging neighbour's way


@dataclass(frozen=True, slots=True, eq=False)
class Ways:
    """All ways of a network; rows are ways, columns of grids are ``GRID_M`` apart.

    Attributes:
        lanes: The lanes of each way.
        length: [m].
        width: Of its narrowest lane, without what is left to parked cars [m].
        left: How far left of its centre line one drives, because cars are parked at its right [m].
        x: Centre line on the grid [m].
        y: Likewise [m].
        yaw: Without jumps of 2π [rad].
        curvature: [1/m].
        allowed: Speed that limit and bends allow an average driver [m/s].
        lane: Lane on the grid.
        offset: Station at which a lane's distance 0 lies on the way; NaN where it is elsewhere.
        sign: −1 where the way runs against the lane.
        lowest: Distance on the lane from which on it is in the way.
        highest: And up to which.
        bike: Whether the way is a bike lane's.
        against: Whether it runs against its lanes.
        dead_end: Whether it ends where one must have left it (an acceleration lane).
        movement: Index of its movement, −1 for none.
        enter: Station at which the movement begins, +∞ for none.
        leave: Station at which it ends, +∞ for none.
        movement_length: [m].
        movement_speed: Lowest allowed speed within [m/s].
        rank: Of each movement, see ``Lane.rank``.
        group: Its signal group, −1 for none.
        stop: Whether it begins at a stop sign.
        zone: (begin, end on the first, begin, end on the second movement) for pairs of movements,
            from where each begins [m]; NaN where there is none.
        merges: Whether the pair ends in the same lane.
        yields: Whether the first of the pair has to let the second pass.
        crossing: (begin, end, distance across) of each crosswalk on each way; NaN for none [m].
        circulating: Whether the junction is a roundabout.
        all_way: Whether every way into the junction has a stop sign, so that who came first goes first.
    """

    lanes: Sequence[tuple[int, ...]]
    length: Float[Array, " ways"]
    width: Float[Array, " ways"]
    left: Float[Array, " ways"]
    x: Float[Array, "ways grid"]
    y: Float[Array, "ways grid"]
    yaw: Float[Array, "ways grid"]
    curvature: Float[Array, "ways grid"]
    allowed: Float[Array, "ways grid"]
    lane: Int[Array, "ways grid"]
    offset: Float[Array, "ways lanes"]
    sign: Float[Array, "ways lanes"]
    lowest: Float[Array, "ways lanes"]
    highest: Float[Array, "ways lanes"]
    bike: Bool[Array, " ways"]
    against: Bool[Array, " ways"]
    dead_end: Bool[Array, " ways"]
    movement: Int[Array, " ways"]
    enter: Float[Array, " ways"]
    leave: Float[Array, " ways"]
    movement_length: Float[Array, " movements"]
    movement_speed: Float[Array, " movements"]
    rank: Int[Array, " movements"]
    group: Int[Array, " movements"]
    stop: Bool[Array, " movements"]
    zone: Float[Array, "movements movements 4"]
    merges: Bool[Array, "movements movements"]
    yields: Bool[Array, "movements movements"]
    crossing: Float[Array, "ways crosswalks 3"]
    circulating: bool
    all_way: bool

    def through(self, lane: int) -> list[int]:
        """The ways that run through a lane in its direction."""
        return [w for w, lanes in enumerate(self.lanes) if lane in lanes and not self.against[w]]

    def pose(
        self, way: Int[Array, " rows"], s: Float[Array, " rows"]
    ) -> tuple[Array, Array, Array, Array]:
        """Centre line at stations: x, y [m], heading [rad], curvature [1/m]."""
        return kernels.pose(self.x, self.y, self.yaw, self.curvature, way, s)

    def cell(self, s: Float[Array, " rows"]) -> Int[Array, " rows"]:
        """Grid column of stations."""
        return np.clip((s / GRID_M).astype(np.int64), 0, self.x.shape[1] - 1)


def ways_of(network: Network) -> Ways:
    """All ways of a network, then each way without junction once more against its lanes."""
    sequences = [s for start in network.starts for s in _sequences(network, (start,))]
    forward = len(sequences)
    plain = [s for s in sequences if not any(network.lanes[i].junction for i in s)]
    sequences += [s for s in plain if network.lanes[s[0]].lane_type != LaneType.BIKE]
    against = np.arange(len(sequences)) >= forward
    lines = [
        _line(network, lanes, bool(back)) for lanes, back in zip(sequences, against, strict=True)
    ]
    length = np.array([line["s"][-1] for line in lines])
    columns = int(np.ceil(length.max() / GRID_M)) + 2
    grid = np.arange(columns) * GRID_M
    tables = {
        name: np.round(np.stack([np.interp(grid, line["s"], line[name]) for line in lines]), 9)
        for name in ("x", "y", "yaw", "curvature", "limit")
    }
    # Beyond its end a way goes on straight, so that nobody bunches up there.
    for row, line in enumerate(lines):
        past = np.maximum(grid - length[row], 0.0)
        tables["x"][row] += past * np.cos(line["yaw"][-1])
        tables["y"][row] += past * np.sin(line["yaw"][-1])
    lane = np.stack(
        [line["lane"][np.clip(np.searchsorted(line["s"], grid, "right") - 1, 0, None)] for line in lines]
    )  # fmt: skip
    allowed = np.minimum(
        tables["limit"], np.sqrt(LATERAL_COMFORT / np.maximum(np.abs(tables["curvature"]), 1e-4))
    )
    for column in range(columns - 2, -1, -1):
        before = np.sqrt(allowed[:, column + 1] ** 2 + 2 * ANTICIPATION * GRID_M)
        allowed[:, column] = np.minimum(allowed[:, column], before)
    offset, sign, lowest, highest = _carry_over(network, sequences, against)
    keys, movement, enter, leave = _movements(network, sequences, against, offset)
    spans = [
        slice(int(enter[way] / GRID_M), int(leave[way] / GRID_M) + 1)
        for way in (int(np.flatnonzero(movement == m)[0]) for m in range(len(keys)))
    ]
    of = [int(np.flatnonzero(movement == m)[0]) for m in range(len(keys))]
    shapes = [
        np.stack([tables["x"][w, span], tables["y"][w, span]], axis=-1)
        for w, span in zip(of, spans, strict=True)
    ]
    circulating = network.kind == "roundabout"
    zone, merges, yields = _zones(network, keys, shapes, circulating)
    parked = np.array([min(network.lanes[i].parked for i in lanes) for lanes in sequences])
    left = np.where(against, -0.5, 0.5) * parked
    crossing = np.full((len(sequences), len(network.crosswalks), 3), np.nan)
    for way in range(len(sequences)):
        yaw = tables["yaw"][way]
        xy = np.stack([tables["x"][way], tables["y"][way]], axis=-1)
        xy += left[way] * np.stack([-np.sin(yaw), np.cos(yaw)], axis=-1)
        for k, crosswalk in enumerate(network.crosswalks):
            span = crosswalk_span(xy[: int(length[way] / GRID_M)], crosswalk)
            if span is not None:
                crossing[way, k] = span[0] * GRID_M, span[1] * GRID_M, span[2]
    first = [network.lanes[key[0]] for key in keys]
    last = [network.lanes[lanes[-1]] for lanes in sequences]
    return Ways(
        lanes=sequences, length=length,
        width=np.array([min(network.lanes[i].width for i in lanes) for lanes in sequences]) - parked,
        left=left,
        x=tables["x"], y=tables["y"], yaw=tables["yaw"],
        curvature=tables["curvature"], allowed=allowed, lane=lane.astype(np.int64), offset=offset,
        sign=sign, lowest=lowest, highest=highest,
        bike=np.array([network.lanes[s[0]].lane_type == LaneType.BIKE for s in sequences]),
        against=against,
        dead_end=np.array([lane.left >= 0 and bool(network.lanes[lane.left].successors)
                           for lane in last]) & ~against,
        movement=movement, enter=enter, leave=leave,
        movement_length=np.array([leave[w] - enter[w] for w in of]),
        movement_speed=np.array([allowed[w, span].min() for w, span in zip(of, spans, strict=True)]),
        rank=np.array([lane.rank for lane in first], dtype=np.int64),
        group=np.array([lane.group for lane in first], dtype=np.int64),
        stop=np.array([lane.stop for lane in first], dtype=bool),
        zone=zone, merges=merges, yields=yields, crossing=crossing, circulating=circulating,
        all_way=bool(first) and all(lane.stop for lane in first),
    )  # fmt: skip


def _sequences(network: Network, so_far: tuple[int, ...]) -> list[tuple[int, ...]]:
    successors = [
        to for to in network.lanes[so_far[-1]].successors if not network.lanes[to].closed
    ]
    if not successors:
        return [so_far]
    onward = [to for to in successors if to not in so_far]  # nobody goes round for ever
    return [way for to in onward for way in _sequences(network, (*so_far, to))]


def _line(network: Network, lanes: tuple[int, ...], back: bool) -> dict[str, Array]:
    """The points of a way with everything that varies along it."""
    parts: dict[str, list[Array]] = {
        n: [] for n in ("x", "y", "yaw", "curvature", "limit", "lane", "s")
    }
    at, heading = 0.0, None
    for index in lanes[::-1] if back else lanes:
        lane = network.lanes[index]
        curve = lane.curve.reversed() if back else lane.curve
        turn = 0.0
        if heading is not None:
            turn = 2 * np.pi * round((heading - curve.yaw[0]) / (2 * np.pi))
        heading = curve.yaw[-1] + turn
        count = len(curve.s)
        for name, values in (
            ("x", curve.xy[:, 0]), ("y", curve.xy[:, 1]), ("yaw", curve.yaw + turn),
            ("curvature", curve.curvature), ("limit", np.full(count, lane.speed_limit)),
            ("lane", np.full(count, index)), ("s", at + curve.s),
        ):  # fmt: skip
            parts[name].append(values[1:] if at else values)
        at += curve.length
    return {name: np.concatenate(values) for name, values in parts.items()}


def _carry_over(
    network: Network, sequences: Sequence[tuple[int, ...]], against: Array
) -> tuple[Array, Array, Array, Array]:
    """Offsets and signs that take (lane, distance) to a station, with their domains."""
    shape = (len(sequences), len(network.lanes))
    offset, sign = np.full(shape, np.nan), np.ones(shape)
    lowest, highest = np.full(shape, -np.inf), np.full(shape, np.inf)
    lengths = [lane.curve.length for lane in network.lanes]
    inside = [i for i, lane in enumerate(network.lanes) if lane.junction]
    from_same: dict[int, list[tuple[int, float]]] = {i: [] for i in inside}
    to_same: dict[int, list[tuple[int, float]]] = {i: [] for i in inside}
    before = {
        i: {p for p, lane in enumerate(network.lanes) if i in lane.successors} for i in inside
    }
    for a in inside:
        for b in inside:
            if a == b:
                continue
            diverge = bool(before[a] & before[b])
            merge = bool(set(network.lanes[a].successors) & set(network.lanes[b].successors))
            if not (diverge or merge):
                continue
            line_a, line_b = network.lanes[a].curve.xy, network.lanes[b].curve.xy
            apart = (
                np.linalg.norm(line_b[:, None] - line_a[None], axis=-1).min(axis=1) > CONFLICT_M
            )
            s_b = network.lanes[b].curve.s
            if diverge:
                reach = float(s_b[np.argmax(apart)]) if apart.any() else lengths[b]
                from_same[a].append((b, reach + TAIL_M))
            if merge:
                tail = apart[::-1]
                reach = (
                    lengths[b] - float(s_b[::-1][np.argmax(tail)]) if tail.any() else lengths[b]
                )
                to_same[a].append((b, lengths[b] - reach))
    for way, lanes in enumerate(sequences):
        at = 0.0
        for index in lanes[::-1] if against[way] else lanes:
            if against[way]:
                offset[way, index], sign[way, index] = at + lengths[index], -1.0
            else:
                offset[way, index] = at
            at += lengths[index]
        for index in lanes:
            if index not in from_same:
                continue
            for other, reach in from_same[index]:
                if other not in lanes:
                    offset[way, other] = offset[way, index]
                    highest[way, other] = reach
            for other, begin in to_same[index]:
                if other not in lanes:
                    offset[way, other] = offset[way, index] + lengths[index] - lengths[other]
                    lowest[way, other] = begin
    return offset, sign, lowest, highest


def _movements(
    network: Network, sequences: Sequence[tuple[int, ...]], against: Array, offset: Array
) -> tuple[list[tuple[int, ...]], Array, Array, Array]:
    keys: list[tuple[int, ...]] = []
    movement = np.full(len(sequences), -1, dtype=np.int64)
    enter, leave = np.full(len(sequences), np.inf), np.full(len(sequences), np.inf)
    for way, lanes in enumerate(sequences):
        inside = tuple(i for i in lanes if network.lanes[i].junction)
        if not inside or against[way]:
            continue
        if inside not in keys:
            keys.append(inside)
        movement[way] = keys.index(inside)
        enter[way] = offset[way, inside[0]]
        leave[way] = offset[way, inside[-1]] + network.lanes[inside[-1]].curve.length
    return keys, movement, enter, leave


def _zones(
    network: Network, keys: list[tuple[int, ...]], shapes: list[Array], circulating: bool
) -> tuple[Array, Array, Array]:
    count = len(keys)
    zone = np.full((count, count, 4), np.nan)
    merges, yields = np.zeros((count, count), bool), np.zeros((count, count), bool)
    before = [
        {p for p, lane in enumerate(network.lanes) if key[0] in lane.successors} for key in keys
    ]
    for a in range(count):
        for b in range(count):
            if a == b or before[a] & before[b]:
                continue
            slim = any(network.lanes[keys[k][0]].lane_type == LaneType.BIKE for k in (a, b))
            near = 2.0 if slim else CONFLICT_M
            runs = overlap_runs(shapes[a], shapes[b], near)
            if not runs:
                continue
            first, last, other_first, other_last = runs[0]
            if circulating:  # one waits at one's own entry, for what passes there
                mouth = shapes[a][first : first + round(MERGE_ZONE_M / GRID_M)]
                _, _, other_first, other_last = overlap_runs(mouth, shapes[b], near)[0]
            merge = keys[a][-1] == keys[b][-1] or bool(
                set(network.lanes[keys[a][-1]].successors)
                & set(network.lanes[keys[b][-1]].successors)
            )
            if circulating:
                entry = [network.lanes[keys[k][0]].curve.length / GRID_M for k in (a, b)]
                if first > entry[0] or other_first < entry[1] - 2:
                    continue  # further on they are in one lane, or the other is the one to wait
                merge = True
                yields[a, b] = True
            else:
                rank_a, rank_b = (network.lanes[keys[k][0]].rank for k in (a, b))
                yields[a, b] = rank_a > rank_b or (rank_a == rank_b and a > b)
            if merge:
                last = min(last, first + round(MERGE_ZONE_M / GRID_M))
                other_last = min(other_last, other_first + round(MERGE_ZONE_M / GRID_M))
            merges[a, b] = merge
            zone[a, b] = np.array([first, last, other_first, other_last]) * GRID_M
    return zone, merges, yields
