"""The loops of traffic over pairs of road users, compiled; what they mean is told in ``traffic``.

One number after the other in one order, without fast-math, so that a seed gives the same world on any
number of workers. :class:`Fleet` and :class:`Roads` are what they look at: the slots' arrays, which
they may change in place, and the tables of the ways, which nothing changes.
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import numba
import numpy as np

from geometry.angle_loops import wrapped
from geometry.arrays import Array
from geometry.compiled import F, compiled
from schemas.labels import AgentClass, LightState
from simulation.drivers import (
    DRIFT_PERIOD_S,
    DRIFT_WAY_M,
    NARROW_M,
    NARROWING_M,
    WAVES,
)
from simulation.idm import BRAKE_MAX, EXPONENT, GAP_FLOOR_M
from simulation.signals import red_for

FAR = 1e6
SIGHT_M = 90.0  # how far from a junction its conflicts are watched
GENTLE_BRAKING = 2.0  # [m/s²] who needs less to stop, stops, although it had meant to go
YELLOW_BRAKING = 3.0  # [m/s²] who needs more than this to stop for yellow goes on
SAFE_BRAKING = 2.5  # [m/s²] at most asked of the follower in the new lane
THRESHOLD = 0.25  # [m/s²] gain below which nobody bothers to change lanes
LANE_CHANGE_EVERY = 8  # steps between a driver's thoughts of changing lanes
JERK_UP = 5.0  # [m/s³]
JERK_DOWN = 25.0  # [m/s³]
COOLNESS = 0.95
ELBOW_M = 0.9  # room that pedestrians leave to those ahead
SIDESTEP = 0.5  # [m/s]
SPEEDING_UP = 1.0  # [m/s²] on foot
WIDEST_M = 1.5  # from the middle of the footway
QUEUE_M, CREEPS = 40.0, 2.0  # [m, m/s] a leader this near and this slow is a queue's end
STANDS = 0.3  # [m/s]
OUTFLOW_M = 60.0  # before its end, a road's traffic already feels what is congested beyond
GRID_M = 0.5  # between the columns of the ways' tables
CYCLING = 6.0  # [m/s] at most
_WAVES = tuple(WAVES.tolist())
_CYCLIST = int(AgentClass.CYCLIST)
_RED, _YELLOW, _GREEN = int(LightState.RED), int(LightState.YELLOW), int(LightState.GREEN)


class Fleet(NamedTuple):
    """The slots of :class:`simulation.traffic.Traffic`, under its own names."""

    way: Array
    s: Array
    d: Array
    v: Array
    a: Array
    length: Array
    width: Array
    headway: Array
    gap: Array
    power: Array
    braking: Array
    eagerness: Array
    politeness: Array
    margin: Array
    d_from: Array
    d_to: Array
    s_from: Array
    s_len: Array
    old_way: Array
    old_shift: Array
    waited: Array
    top: Array
    aside: Array
    progress: Array
    room: Array
    uid: Array
    cls: Array
    committed: Array
    reckless: Array
    keeps_lane: Array
    alive: Array


class Roads(NamedTuple):
    """The tables of :class:`simulation.ways.Ways`, and of the lanes that they run over.

    ``through`` are the ways in which one may change into a lane, ``options`` how many; ``member`` tells
    whether a lane is one of a way's own; points ``first[i]`` to ``first[i + 1]`` are those of lane i.
    """

    lane: Array
    offset: Array
    sign: Array
    lowest: Array
    highest: Array
    length: Array
    allowed: Array
    bike: Array
    against: Array
    dead_end: Array
    movement: Array
    enter: Array
    leave: Array
    movement_length: Array
    movement_speed: Array
    group: Array
    stop: Array
    zone: Array
    merges: Array
    yields: Array
    crossing: Array
    circulating: bool
    all_way: bool
    left: Array
    right: Array
    lane_length: Array
    through: Array
    options: Array
    member: Array
    first: Array
    point_s: Array
    point_u: Array
    way_width: Array


REAL = (
    "s", "d", "v", "a", "length", "width", "headway", "gap", "power", "braking", "eagerness",
    "politeness", "margin", "d_from", "d_to", "s_from", "s_len", "old_shift", "waited", "top", "aside", "progress", "room",
)  # fmt: skip
WHOLE = ("way", "old_way", "uid", "cls")
FLAGS = ("committed", "reckless", "keeps_lane", "alive")
"""The rows of ``Slots``, by their names in ``Fleet``."""


class Slots(NamedTuple):
    """A fleet as few arrays, one row a quantity: each array costs time at every call from Python."""

    real: Array
    whole: Array
    flags: Array


class Tables(NamedTuple):
    """The roads as few arrays; see :func:`roads_of` for what their rows are."""

    lane: Array
    allowed: Array
    carried: Array
    way_real: Array
    way_flags: Array
    movement: Array
    movement_real: Array
    movement_whole: Array
    zone: Array
    pairs: Array
    crossing: Array
    circulating: bool
    all_way: bool
    lane_whole: Array
    lane_length: Array
    through: Array
    member: Array
    first: Array
    points: Array


class Lines(NamedTuple):
    """Where ways run, on a grid of stations; see :class:`simulation.ways.Ways`."""

    x: Array
    y: Array
    yaw: Array
    curvature: Array


class Crowd(NamedTuple):
    """Those on foot, see :class:`simulation.walkers.Crowd`.

    Attributes:
        state: s, slot, speed, x, y, yaw, crossing, waiting, pace, patience, uid of each.
        xy: Their ways, one after the other [m].
        along: Distance of these points [m].
        first: Where each way begins among them.
        spans: (crosswalk, begin, end, forward) along the ways.
        first_span: Where those of each begin.
        groups: Signal groups of each crosswalk, −1 for none.
    """

    state: Array
    xy: Array
    along: Array
    first: Array
    spans: Array
    first_span: Array
    groups: Array


S, SLOT, SPEED, X, Y, YAW, CROSSING, WAITING, PACE, PATIENCE, UID = range(11)
"""Columns of ``Crowd.state``."""


def inlined(function: F) -> F:
    """The function, compiled into whoever calls it.

    Handing a whole fleet from call to call takes longer than most of what is done with it.
    """
    made = numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)(function)
    return cast(F, made)


@inlined
def fleet_of(slots: Slots) -> Fleet:
    """The rows of ``Slots`` by name."""
    real, whole, flags = slots.real, slots.whole, slots.flags
    return Fleet(
        s=real[0], d=real[1], v=real[2], a=real[3], length=real[4], width=real[5],
        headway=real[6], gap=real[7], power=real[8], braking=real[9], eagerness=real[10],
        politeness=real[11], margin=real[12], d_from=real[13], d_to=real[14], s_from=real[15],
        s_len=real[16], old_shift=real[17], waited=real[18], top=real[19], aside=real[20],
        progress=real[21], room=real[22],
        way=whole[0], old_way=whole[1], uid=whole[2],
        cls=whole[3],
        committed=flags[0], reckless=flags[1], keeps_lane=flags[2],
        alive=flags[3],
    )  # fmt: skip


def tables_of(roads: Roads) -> Tables:
    """The roads packed."""
    return Tables(
        lane=roads.lane, allowed=roads.allowed,
        carried=np.stack([roads.offset, roads.sign, roads.lowest, roads.highest]),
        way_real=np.stack([roads.length, roads.enter, roads.leave, roads.way_width]),
        way_flags=np.stack([roads.bike, roads.against, roads.dead_end]),
        movement=roads.movement,
        movement_real=np.stack([roads.movement_length, roads.movement_speed]),
        movement_whole=np.stack([roads.group, roads.stop.astype(np.int64)]),
        zone=roads.zone, pairs=np.stack([roads.merges, roads.yields]), crossing=roads.crossing,
        circulating=roads.circulating, all_way=roads.all_way,
        lane_whole=np.stack([roads.left, roads.right, roads.options]),
        lane_length=roads.lane_length, through=roads.through, member=roads.member,
        first=roads.first, points=np.stack([roads.point_s, roads.point_u]),
    )  # fmt: skip


@inlined
def roads_of(tables: Tables) -> Roads:
    """What :func:`tables_of` packed."""
    carried, way, flags = tables.carried, tables.way_real, tables.way_flags
    movement, whole, pairs = tables.movement_real, tables.movement_whole, tables.pairs
    lane, points = tables.lane_whole, tables.points
    return Roads(
        lane=tables.lane, allowed=tables.allowed,
        offset=carried[0], sign=carried[1], lowest=carried[2], highest=carried[3],
        length=way[0], enter=way[1], leave=way[2], way_width=way[3],
        bike=flags[0], against=flags[1], dead_end=flags[2],
        movement=tables.movement, movement_length=movement[0], movement_speed=movement[1],
        group=whole[0], stop=whole[1], zone=tables.zone, merges=pairs[0], yields=pairs[1],
        crossing=tables.crossing, circulating=tables.circulating,
        all_way=tables.all_way,
        left=lane[0], right=lane[1], options=lane[2], lane_length=tables.lane_length,
        through=tables.through, member=tables.member, first=tables.first,
        point_s=points[0], point_u=points[1],
    )  # fmt: skip


# ── Places ───────────────────────────────────────────────────────────────────────────────────────


@inlined
def rounded(x: float) -> float:
    """To the micrometre, so that the last bit of a sine does not grow into another world."""
    return np.rint(x * 1e6) / 1e6


@inlined
def interpolated(x: float, xp: Array, fp: Array, first: int, last: int) -> float:
    """``np.interp`` between the points ``first`` and ``last``, both included."""
    if x <= xp[first]:
        return fp[first]
    if x >= xp[last]:
        return fp[last]
    low, high = first, last
    while high - low > 1:
        middle = (low + high) // 2
        if xp[middle] <= x:
            low = middle
        else:
            high = middle
    slope = (fp[low + 1] - fp[low]) / (xp[low + 1] - xp[low])
    return slope * (x - xp[low]) + fp[low]


@compiled
def pose(
    x: Array, y: Array, yaw: Array, curvature: Array, way: Array, s: Array
) -> tuple[Array, Array, Array, Array]:
    """The tables of ways at stations, see :meth:`simulation.ways.Ways.pose`."""
    count = len(way)
    most = x.shape[1] - 1.001
    out = np.empty((4, count))
    for k in range(count):
        at = min(max(s[k] / GRID_M, 0.0), most)
        i, w = int(at), way[k]
        f = at - i
        out[0, k] = x[w, i] + f * (x[w, i + 1] - x[w, i])
        out[1, k] = y[w, i] + f * (y[w, i + 1] - y[w, i])
        out[2, k] = yaw[w, i] + f * (yaw[w, i + 1] - yaw[w, i])
        out[3, k] = curvature[w, i] + f * (curvature[w, i + 1] - curvature[w, i])
    return out[0], out[1], out[2], out[3]


@compiled
def located(x: Array, y: Array, yaw: Array, px: float, py: float) -> tuple[Array, Array, Array]:
    """Station, offset to the left and heading of a point on every way, by the nearest grid point."""
    count = len(x)
    out = np.empty((3, count))
    for w in range(count):
        best, where = np.inf, 0
        for k in range(x.shape[1]):
            dx, dy = px - x[w, k], py - y[w, k]
            square = dx * dx + dy * dy
            if square < best:
                best, where = square, k
        dx, dy, heading = px - x[w, where], py - y[w, where], yaw[w, where]
        out[0, w] = where * GRID_M + math.cos(heading) * dx + math.sin(heading) * dy
        out[1, w] = -math.sin(heading) * dx + math.cos(heading) * dy
        out[2, w] = heading
    return out[0], out[1], out[2]


@inlined
def quintic(begin: float, end: float, gone: float, length: float) -> tuple[float, float]:
    """Value and slope of a smooth move over a length, which is 0 for none."""
    if length <= 0.0:
        return begin + (end - begin) * (10.0 - 15.0 + 6.0), 0.0
    x = min(max(gone / length, 0.0), 1.0)
    move, bend = end - begin, x * (1.0 - x)
    d = begin + move * math.pow(x, 3.0) * (10.0 - 15.0 * x + 6.0 * x * x)
    return d, move * 30.0 * (bend * bend) / length


@compiled
def offsets(slots: Slots, tables: Tables, rows: Array, habit: Array) -> tuple[Array, Array, Array]:
    """Offset with drift, its slope dd/ds, and the drift alone.

    See :func:`simulation.drivers.drift`; towards junctions everyone lines up.

    Args:
        slots: All vehicles.
        tables: The ways.
        rows: Slots of those who are asked for.
        habit: Of all vehicles, see :func:`simulation.drivers.draw_habit`.
    """
    fleet = fleet_of(slots)
    roads = roads_of(tables)
    s_len, s, s_from = fleet.s_len, fleet.s, fleet.s_from
    d_to, d_from, v = fleet.d_to, fleet.d_from, fleet.v
    way, progress, room_ = fleet.way, fleet.progress, fleet.room
    enter, leave = roads.enter, roads.leave
    d, slope, drift = np.empty(len(rows)), np.empty(len(rows)), np.empty(len(rows))
    for k in range(len(rows)):
        i = rows[k]
        d[k], slope[k] = quintic(d_from[i], d_to[i], s[i] - s_from[i], s_len[i])
        before, past = enter[way[i]] - s[i], s[i] - leave[way[i]]
        x = min(max(max(before, past) / NARROWING_M, 0.0), 1.0)
        less = max(room_[i] - NARROW_M, 0.0)
        narrowing = less * 6.0 * x * (1.0 - x) / NARROWING_M
        if not past > before:
            narrowing = -narrowing
        room = room_[i] - less * (1.0 - x * x * (3.0 - 2.0 * x))
        sine, cosine = 0.0, 0.0
        for n in range(3):
            angle = progress[i] * _WAVES[n] + habit[i, 3 + n]
            sine, cosine = sine + math.sin(angle), cosine + math.cos(angle) * _WAVES[n]
        ratio = (habit[i, 8] + habit[i, 9] * sine) / room
        bent = math.tanh(ratio)
        eased = 1.0 - bent * bent
        drift[k] = room * bent
        d[k] += drift[k]
        rate = 2.0 * math.pi / max(DRIFT_WAY_M, DRIFT_PERIOD_S * v[i])
        slope[k] += eased * (habit[i, 9] * cosine * rate) + (bent - ratio * eased) * narrowing
    return d, slope, drift


@compiled
def poses(
    slots: Slots, tables: Tables, lines: Lines, rows: Array, habit: Array
) -> tuple[Array, Array, Array]:
    """Positions and headings of those who drive at an offset from their ways.

    Args:
        slots: All vehicles.
        tables: The ways.
        lines: Where these run.
        rows: Slots of those who are asked for.
        habit: Of all vehicles.
    """
    x, y, yaw, kappa = pose(
        lines.x, lines.y, lines.yaw, lines.curvature, slots.whole[0][rows], slots.real[0][rows]
    )
    d, slope, _ = offsets(slots, tables, rows, habit)
    out = np.empty((3, len(x)))
    for k in range(len(x)):
        out[0, k] = x[k] - d[k] * math.sin(yaw[k])
        out[1, k] = y[k] + d[k] * math.cos(yaw[k])
        out[2, k] = wrapped(yaw[k] + math.atan2(slope[k], 1.0 - kappa[k] * d[k]))
    return out[0], out[1], out[2]


@inlined
def lane_at(table: Array, offset: Array, sign: Array, way: int, s: float) -> tuple[int, float]:
    """Lane at a station of a way, by ``Roads.lane``, and distance along it."""
    lane = table[way, min(max(int(s / GRID_M), 0), table.shape[1] - 1)]
    return lane, (s - offset[way, lane]) * sign[way, lane]


@compiled
def lanes_at(slots: Slots, tables: Tables, rows: Array) -> tuple[Array, Array]:
    """Likewise of several."""
    fleet = fleet_of(slots)
    roads = roads_of(tables)
    way, s = fleet.way, fleet.s
    lane_, offset, sign = roads.lane, roads.offset, roads.sign
    lane, along = np.empty(len(rows), np.int64), np.empty(len(rows))
    for k in range(len(rows)):
        i = rows[k]
        lane[k], along[k] = lane_at(lane_, offset, sign, way[i], s[i])
    return lane, along


@inlined
def beside_at(
    left: Array, right: Array, lane: int, d: float, width: float, lane_width: float
) -> int:
    """The second lane that a vehicle at an offset covers in part, −1 for none."""
    if abs(d) + width / 2 <= lane_width / 2:
        return -1
    return left[lane] if d > 0 else right[lane]


# ── Whom to follow ───────────────────────────────────────────────────────────────────────────────


@inlined
def candidates(fleet: Fleet, roads: Roads, others: Array) -> tuple[Array, Array, Array]:
    """Lane, distance along it and slot of each, then once more of those that cover a second lane."""
    way, s, d = fleet.way, fleet.s, fleet.d
    width, aside, wide = fleet.width, fleet.aside, roads.way_width
    lane_, offset, sign = roads.lane, roads.offset, roads.sign
    left, right, lane_length = roads.left, roads.right, roads.lane_length
    count = len(others)
    lane, along = np.empty(2 * count, np.int64), np.empty(2 * count)
    slot = np.empty(2 * count, np.int64)
    more = count
    for k in range(count):
        i = others[k]
        lane[k], along[k] = lane_at(lane_, offset, sign, way[i], s[i])
        slot[k] = i
        second = beside_at(left, right, lane[k], d[i] + aside[i], width[i], wide[way[i]])
        if second >= 0:
            share = along[k] / lane_length[lane[k]]
            lane[more], along[more], slot[more] = second, share * lane_length[second], i
            more += 1
    return lane[:more], along[:more], slot[:more]


@inlined
def nearest_ahead(
    offset: Array, sign: Array, lowest: Array, highest: Array, length: Array, row: int, s: float,
    lane: Array, along: Array, slot: Array,
) -> tuple[float, int]:  # fmt: skip
    """Gap to the nearest candidate ahead on a way, and which it is; ``FAR`` and the first for none.

    Args:
        offset: Row of the way in the table of that name.
        sign: Likewise.
        lowest: Likewise.
        highest: Likewise.
        length: Of all vehicles [m].
        row: Slot of the follower.
        s: Its station on the way [m].
        lane: Of the candidates, see :func:`candidates`.
        along: Likewise.
        slot: Likewise.
    """
    best, pick = FAR, 0
    for k in range(len(lane)):
        begin = offset[lane[k]]
        if math.isnan(begin) or slot[k] == row:
            continue
        if along[k] < lowest[lane[k]] or along[k] > highest[lane[k]]:
            continue
        ahead = begin + sign[lane[k]] * along[k] - s
        if ahead > 0 or (ahead == 0 and slot[k] > row):
            gap = ahead - (length[row] + length[slot[k]]) / 2.0
            if gap < best:
                best, pick = gap, k
    return best, pick


@inlined
def speed_along(fleet: Fleet, roads: Roads, way: int, lane: int, slot: int) -> float:
    """Speed of a vehicle in the direction of a way."""
    direction = -1.0 if roads.against[fleet.way[slot]] else 1.0
    return fleet.v[slot] * (roads.sign[way, lane] * direction)


@compiled
def leaders(
    slots: Slots, tables: Tables, rows: Array, way: Array, s: Array, others: Array, own: bool
) -> tuple[Array, Array, Array]:
    """Gap to the nearest vehicle ahead, its speed along the way, and its slot.

    Args:
        slots: All vehicles.
        tables: The ways.
        rows: Slots of the followers.
        way: Their ways.
        s: Their stations on these.
        others: Slots of the candidates.
        own: Whether these are the ways that they are on, so that half way out of a lane its leader
            still counts.
    """
    fleet = fleet_of(slots)
    roads = roads_of(tables)
    gap, speed = np.full(len(rows), FAR), np.zeros(len(rows))
    found = np.zeros(len(rows), np.int64)
    lane, along, slot = candidates(fleet, roads, others)
    if len(lane) == 0:
        return gap, speed, found
    offset, sign, length = roads.offset, roads.sign, fleet.length
    lowest, highest = roads.lowest, roads.highest
    for k in range(len(rows)):
        i = rows[k]
        w = way[k]
        gap[k], pick = nearest_ahead(
            offset[w], sign[w], lowest[w], highest[w], length, i, s[k], lane, along, slot
        )
        speed[k] = speed_along(fleet, roads, way[k], lane[pick], slot[pick])
        found[k] = slot[pick]
        if own and fleet.old_way[i] >= 0 and abs(fleet.d[i]) > 1.0:
            old = fleet.old_way[i]
            there = fleet.s[i] + fleet.old_shift[i]
            more, pick = nearest_ahead(
                offset[old], sign[old], lowest[old], highest[old], length, i, there, lane, along,
                slot,
            )  # fmt: skip
            if more < gap[k]:
                gap[k], found[k] = more, slot[pick]
                speed[k] = speed_along(fleet, roads, old, lane[pick], slot[pick])
    return gap, speed, found


# ── How hard to accelerate ───────────────────────────────────────────────────────────────────────


@compiled
def wanted_speeds(slots: Slots, tables: Tables, rows: Array) -> Array:
    """What limit, bends and temper let each want [m/s]."""
    fleet = fleet_of(slots)
    roads = roads_of(tables)
    way, s, cls, eagerness, top = fleet.way, fleet.s, fleet.cls, fleet.eagerness, fleet.top
    allowed = roads.allowed
    wanted = np.empty(len(rows))
    for k in range(len(rows)):
        i = rows[k]
        cell = min(max(int(s[i] / GRID_M), 0), allowed.shape[1] - 1)
        speed = allowed[way[i], cell] * eagerness[i]
        if cls[i] == _CYCLIST:
            speed = min(speed, CYCLING)
        wanted[k] = min(speed, top[i])
    return wanted


@compiled
def restless(
    slots: Slots, tables: Tables, rows: Array, habit: Array, halt_push: Array, t: float
) -> Array:
    """Acceleration that nothing explains, see :func:`simulation.drivers.foot` [m/s²].

    Who brakes for a line, goes through a junction, or barely rolls, has the foot under control.

    Args:
        slots: All vehicles.
        tables: The ways.
        rows: Slots of those who ask.
        habit: Of all vehicles.
        halt_push: What lines and the like take from each, see :func:`wishes` [m/s²].
        t: Time [s].
    """
    fleet = fleet_of(slots)
    roads = roads_of(tables)
    way, s, v = fleet.way, fleet.s, fleet.v
    enter, leave = roads.enter, roads.leave
    out = np.zeros(len(rows))
    for k in range(len(rows)):
        i = rows[k]
        share = min(max(1.0 - halt_push[k], 0.0), 1.0) * min(max(v[i] / 4.0 - 0.25, 0.0), 1.0)
        if share > 0.0 and (s[i] < enter[way[i]] - 15.0 or s[i] > leave[way[i]]):
            sine = 0.0
            for n in range(3):
                sine += math.sin(habit[i, 7] * _WAVES[n] * t + habit[i, n])
            out[k] = share * (habit[i, 6] * sine)
    return out


@compiled
def wishes(
    slots: Slots, rows: Array, wanted: Array, gap: Array, leader_speed: Array, leader: Array,
    halt: Array,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """What each would do alone, and what those ahead take from it [m/s²].

    Args:
        slots: All vehicles.
        rows: Slots of those who ask.
        wanted: Speeds [m/s].
        gap: To the leader [m].
        leader_speed: Along the way [m/s].
        leader: Its slot.
        halt: Distance to where one has to stop [m].

    Returns:
        Free acceleration, what leader and stops take from it, and what stops alone take.
    """
    fleet = fleet_of(slots)
    v_, gap_, headway_ = fleet.v, fleet.gap, fleet.headway
    power_, braking_, a = fleet.power, fleet.braking, fleet.a
    free, push, stop = np.empty(len(rows)), np.empty(len(rows)), np.empty(len(rows))
    for k in range(len(rows)):
        i = rows[k]
        v, s0, headway = v_[i], gap_[i], headway_[i]
        power, braking = power_[i], braking_[i]
        ratio = math.pow(v / max(wanted[k], 0.1), EXPONENT)
        free[k] = max(power * (1.0 - ratio), -braking)
        taken = interaction(v, gap[k], leader_speed[k], s0, headway, power, braking)
        kept = calm(free[k] - taken, v, gap[k], leader_speed[k], a[leader[k]], power, braking)
        stop[k] = interaction(v, halt[k], 0.0, s0, headway, power, braking)
        push[k] = max(free[k] - kept, stop[k])
    return free, push, stop


@inlined
def calm(
    idm: float, v: float, gap: float, leader_speed: float, leader_a: float, power: float, b: float
) -> float:
    """IDM without its panic when somebody cuts in (Kesting, Treiber, Helbing 2010, eq. 11).

    Where IDM brakes harder than needed if the leader keeps its acceleration (the "constant
    acceleration heuristic" a_CAH), the answer is a_CAH + b·tanh((a_IDM − a_CAH)/b).
    """
    ahead, a_l, room = max(leader_speed, 0.0), min(leader_a, power), max(gap, GAP_FLOOR_M)
    closing = max(v - ahead, 0.0)
    constant = a_l - closing * closing / (2.0 * room)
    if ahead * (v - ahead) <= -2.0 * room * a_l:
        constant = v * v * a_l / max(ahead * ahead - 2.0 * room * a_l, 1e-3)
    # Who comes the wrong way, or stands nearly at the bumper, is met with all of IDM.
    if idm >= constant or leader_speed < 0.0 or gap <= 1.5:
        return idm
    return (1.0 - COOLNESS) * idm + COOLNESS * (constant + b * math.tanh((idm - constant) / b))


@compiled
def accelerations(
    slots: Slots, rows: Array, target: Array, push: Array, forced: Array, dt: float
) -> Array:
    """What becomes of the wish: what is forced, then what brakes and jerk allow [m/s²]."""
    fleet = fleet_of(slots)
    power, a_ = fleet.power, fleet.a
    a = np.empty(len(rows))
    for k in range(len(rows)):
        i = rows[k]
        wish = max(target[k], -BRAKE_MAX)
        if not math.isnan(forced[i]):
            wish = max(min(forced[i], power[i] - push[k]), -BRAKE_MAX)
        a[k] = min(max(wish, a_[i] - JERK_DOWN * dt), a_[i] + JERK_UP * dt)
    return a


@compiled
def advance(
    slots: Slots, rows: Array, a: Array, kappa: Array, d: Array, slope: Array, dt: float
) -> None:
    """Speeds and stations after a step, by the path driven at an offset from a bent way.

    Args:
        slots: All vehicles, changed.
        rows: Slots of those who move.
        a: Accelerations [m/s²].
        kappa: Curvature of their ways [1/m].
        d: Their offsets [m].
        slope: dd/ds.
        dt: Step [s].
    """
    fleet = fleet_of(slots)
    v_, a_, s_ = fleet.v, fleet.a, fleet.s
    progress = fleet.progress
    for k in range(len(rows)):
        i = rows[k]
        v = v_[i]
        after = rounded(max(v + a[k] * dt, 0.0))
        if after < 0.02 and a[k] <= 0.0:
            after = 0.0
        a_[i] = (after - v) / dt
        stretch = math.hypot(1.0 - kappa[k] * d[k], slope[k])
        onward = (v + after) / 2.0 * dt / stretch
        s_[i] = rounded(s_[i] + onward)
        progress[i] += 2.0 * math.pi / max(DRIFT_WAY_M, DRIFT_PERIOD_S * v) * onward
        v_[i] = after


@compiled
def arrive(slots: Slots, tables: Tables, rows: Array, d: Array, drift: Array) -> None:
    """Notes of where a step has brought everyone: lane changes that are done, ways that end.

    Args:
        slots: All vehicles, changed.
        tables: The ways.
        rows: Slots of those who moved.
        d: Their offsets now [m].
        drift: Of which this is drift [m].
    """
    fleet = fleet_of(slots)
    roads = roads_of(tables)
    s, s_from, s_len = fleet.s, fleet.s_from, fleet.s_len
    way, old_way, alive = fleet.way, fleet.old_way, fleet.alive
    offset, aside, length = fleet.d, fleet.aside, roads.length
    for k in range(len(rows)):
        i = rows[k]
        offset[i], aside[i] = d[k] - drift[k], drift[k]
        if s_len[i] > 0 and s[i] >= s_from[i] + s_len[i]:
            s_len[i], old_way[i] = 0.0, -1
        if s[i] > length[way[i]] - 0.5:
            alive[i] = False


# ── Junctions and crosswalks ─────────────────────────────────────────────────────────────────────


@inlined
def time_to(distance: float, v: float, a: float, cap: float) -> float:
    """Time to cover a distance, accelerating with ``a`` up to ``cap`` (not slowing down) [s]."""
    distance = max(distance, 0.0)
    cap = max(cap, max(v, 0.5))
    run = (cap * cap - v * v) / (2.0 * a)
    if distance <= run:
        return (math.sqrt(v * v + 2.0 * a * distance) - v) / a
    return (cap - v) / a + (distance - run) / cap


@compiled
def junction_gaps(
    slots: Slots,
    tables: Tables,
    rows: Array,
    others: Array,
    lights: Array,
    walked: Array,
    dt: float,
) -> Array:
    """Distance to where each has to stop for the junction [m]; who goes is noted as committed.

    Args:
        slots: All vehicles.
        tables: The ways.
        rows: Slots of those who ask.
        others: Slots of all who are there.
        lights: What each signal group shows.
        walked: Distance to where each has to stop for those on foot, see :func:`crosswalk_gaps` [m].
        dt: Step [s].
    """
    fleet = fleet_of(slots)
    roads = roads_of(tables)
    way, length, committed_ = fleet.way, fleet.length, fleet.committed
    s_, v_, reckless = fleet.s, fleet.v, fleet.reckless
    waited, gap = fleet.waited, fleet.gap
    movement, enter, movement_length = roads.movement, roads.enter, roads.movement_length
    group_, stop_, all_way = roads.group, roads.stop, roads.all_way
    out = np.full(len(rows), FAR)
    near, count = np.empty(len(rows), np.int64), 0
    x, half = np.empty(len(rows)), np.empty(len(rows))
    for k in range(len(rows)):
        i = rows[k]
        m = movement[way[i]]
        half[k] = length[i] / 2
        if m < 0:
            committed_[i] = False
            continue
        x[k] = s_[i] - enter[way[i]]
        if x[k] - half[k] >= movement_length[m]:
            committed_[i] = False
        elif x[k] + half[k] > -SIGHT_M:
            near[count] = k
            count += 1
    if count == 0:
        return out
    committed, held = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    for n in range(count):
        k = near[n]
        i = rows[k]
        m, v, line = movement[way[i]], v_[i], -x[k] - half[k]
        inside = line < 0.0
        state = _GREEN
        if len(lights) and group_[m] >= 0:
            state = lights[group_[m]]
        needed = v * v / (2.0 * max(line, 0.1))
        # Who was held up on the way to the line, and can still stop, thinks again.
        late = (state == _YELLOW and needed < GENTLE_BRAKING) or (
            state == _RED and needed < BRAKE_MAX - 1.0
        )
        goes = (committed_[i] and not late) or inside or (reckless[i] and line < 60.0)
        held[n] = not goes and (state == _RED or (state == _YELLOW and needed < YELLOW_BRAKING))
        # Whose turn it is, but who lets somebody cross, lets the others go meanwhile.
        held[n] = held[n] or (all_way and not goes and walked[k] < FAR)
        committed[n] = goes or (state == _YELLOW and not held[n] and line < 40.0)
        if v < 0.3 and line < 3.0:
            waited[i] += dt
        elif inside:
            waited[i] = 0.0
    who = rows[near[:count]]
    lane, along, slot = candidates(fleet, roads, others)
    blocked = np.zeros(count, np.bool_)
    for n in range(count):
        if committed[n]:
            continue
        k = near[n]
        i = rows[k]
        m = movement[way[i]]
        blocked[n] = (
            held[n]
            or (stop_[m] and waited[i] < 0.6)
            or clashes(fleet, roads, n, who, near, x, half, committed, held)
            or exit_full(fleet, roads, i, x[k], lane, along, slot)
        )
    on = np.zeros(count, np.bool_)
    for n in range(count):
        k = near[n]
        v, line = v_[rows[k]], -x[k] - half[k]
        going = not blocked[n] and line < v * v / (2.0 * YELLOW_BRAKING) + 0.15 * v + 1.0
        on[n] = committed[n] or going
        committed_[rows[k]] = on[n]
    for n in range(count):
        k = near[n]
        if blocked[n]:
            out[k] = max(-x[k] - half[k], 0.0) + gap[rows[k]] - 1.0
        guard = occupied(fleet, roads, n, who, near, x, half) if on[n] else FAR
        out[k] = min(out[k], guard)
    return out


@inlined
def clashes(
    fleet: Fleet, roads: Roads, n: int, who: Array, near: Array, x: Array, half: Array,
    committed: Array, held: Array,
) -> bool:  # fmt: skip
    """Whether entering now would come too close to someone with the right of way."""
    way_, margin_, eagerness = fleet.way, fleet.margin, fleet.eagerness
    v_, power_, a, waited = fleet.v, fleet.power, fleet.a, fleet.waited
    movement, circulating, movement_speed = roads.movement, roads.circulating, roads.movement_speed
    zone, yields, all_way = roads.zone, roads.yields, roads.all_way
    i, k = who[n], near[n]
    if -x[k] - half[k] >= 45.0:
        return False
    m = movement[way_[i]]
    margin = margin_[i] * (0.6 if circulating or all_way else 1.0)
    cap_i = movement_speed[m] * eagerness[i]
    for other in range(len(who)):
        j, at = who[other], near[other]
        m_j = movement[way_[j]]
        begin = zone[m, m_j, 0]
        if other == n or math.isnan(begin) or x[at] - half[at] >= zone[m, m_j, 3]:
            continue
        coming = yields[m, m_j] and not held[other] and not circulating
        if all_way:  # of two who came at once, the one who does not yield
            first = waited[j] > waited[i] or (waited[j] == waited[i] and yields[m, m_j])
            coming = waited[j] > 0.0 and first and not held[other]
        if not (committed[other] or coming):
            continue
        v, v_j, power, power_j = v_[i], v_[j], power_[i], power_[j]
        cap_j = movement_speed[m_j] * eagerness[j]
        in_i = time_to(begin - (x[k] + half[k]), v, power, cap_i)
        out_i = time_to(zone[m, m_j, 1] - (x[k] - half[k]), v, power, cap_i)
        in_j = time_to(zone[m, m_j, 2] - (x[at] + half[at]), v_j, power_j, max(cap_j, v_j))
        out_j = time_to(
            zone[m, m_j, 3] - (x[at] - half[at]), v_j, power_j, min(cap_j, max(v_j, 3.0))
        )
        if committed[other] and v_j < 1.0 and a[j] <= 0.1 and in_j < 0.5:
            out_j = np.inf  # it is stuck there
        if in_i < out_j + margin and in_j < out_i + margin:
            return True
    return False


@inlined
def exit_full(
    fleet: Fleet, roads: Roads, i: int, x: float, lane: Array, along: Array, slot: Array
) -> bool:
    """Whether the leader stands so that there is no room behind the junction."""
    if roads.circulating:
        return False
    way = fleet.way[i]
    offset, sign, length = roads.offset, roads.sign, fleet.length
    lowest, highest = roads.lowest, roads.highest
    gap, pick = nearest_ahead(
        offset[way], sign[way], lowest[way], highest[way], length, i, fleet.s[i], lane, along, slot
    )
    on = way
    if fleet.old_way[i] >= 0 and abs(fleet.d[i]) > 1.0:
        there = fleet.s[i] + fleet.old_shift[i]
        old = fleet.old_way[i]
        more, second = nearest_ahead(
            offset[old], sign[old], lowest[old], highest[old], length, i, there, lane, along, slot
        )
        if more < gap:
            gap, pick, on = more, second, fleet.old_way[i]
    speed = speed_along(fleet, roads, on, lane[pick], slot[pick])
    room = x + fleet.length[i] / 2 + gap - roads.movement_length[roads.movement[way]]
    return speed < 2.0 and fleet.a[slot[pick]] < 0.3 and room < fleet.length[i] + 3.0


@inlined
def occupied(
    fleet: Fleet, roads: Roads, n: int, who: Array, near: Array, x: Array, half: Array
) -> float:
    """Distance to the nearest zone ahead that somebody physically stands in [m]."""
    way, gap_ = fleet.way, fleet.gap
    movement, zone_, merges = roads.movement, roads.zone, roads.merges
    i, k = who[n], near[n]
    m = movement[way[i]]
    gap = FAR
    for other in range(len(who)):
        at, m_j = near[other], movement[way[who[other]]]
        begin = zone_[m, m_j, 0]
        if math.isnan(begin) or merges[m, m_j]:
            continue
        before = begin - (x[k] + half[k])
        there = x[at] + half[at] > zone_[m, m_j, 2] - 0.3
        if before > 0.0 and there and x[at] - half[at] < zone_[m, m_j, 3]:
            gap = min(gap, before + gap_[i] - 1.0)
    return max(gap, GAP_FLOOR_M)


@compiled
def crosswalk_gaps(
    slots: Slots, tables: Tables, crowd: Crowd, rows: Array, leader_gap: Array, leader_speed: Array
) -> tuple[Array, Array]:
    """Distances to a crosswalk with somebody on or about to be on the lane, and to one to keep free.

    Who stands at the kerb is let go first by the polite, if they can gently. A crosswalk outside the
    junction is kept free where a queue leaves no room behind it.

    Args:
        slots: All vehicles.
        tables: The ways.
        crowd: Those on foot.
        rows: Slots of those who ask.
        leader_gap: To the leader of each [m].
        leader_speed: Along the way [m/s].
    """
    fleet = fleet_of(slots)
    roads = roads_of(tables)
    out = np.full(len(rows), FAR)
    v_, way, s_ = fleet.v, fleet.way, fleet.s
    length, politeness, gap = fleet.length, fleet.politeness, fleet.gap
    crossing, state, spans = roads.crossing, crowd.state, crowd.spans
    for w in range(len(state)):
        which = int(state[w, CROSSING])
        if which < 0:
            continue
        across, sign = 0.0, 1.0
        for n in range(crowd.first_span[w], crowd.first_span[w + 1]):
            if int(spans[n, 0]) == which:
                sign = 1.0 if spans[n, 3] > 0.0 else -1.0
                across = state[w, S] - spans[n, 1] if sign > 0.0 else spans[n, 2] - state[w, S]
                break
        for k in range(len(rows)):
            i = rows[k]
            v = v_[i]
            begin = crossing[way[i], which, 0]
            if math.isnan(begin):
                continue
            before = begin - s_[i] - length[i] / 2
            if before <= 0.0:
                continue
            if state[w, WAITING] > 0.0:
                gently = before > v * v / 4.0 + 1.0
                counts = before < 35.0 and gently and politeness[i] > 0.22
            else:
                to_lane = (crossing[way[i], which, 2] - across) * sign
                soon = 2.2 if v > STANDS else 4.5  # [s] who sets off takes longer to be past
                in_way = -1.9 < to_lane < 2.2 + soon * max(state[w, SPEED], 0.6)
                counts = in_way and (before > v * v / (2.0 * 6.0) or before > 6.0)
            if counts:
                out[k] = max(min(out[k], before + gap[i] - 1.2), GAP_FLOOR_M)
    free = np.full(len(rows), FAR)
    enter, leave, crosswalks = roads.enter, roads.leave, crossing.shape[1]
    for k in range(len(rows) if crosswalks else 0):
        if leader_gap[k] > QUEUE_M or leader_speed[k] > CREEPS:
            continue
        i = rows[k]
        w, v, front = way[i], v_[i], s_[i] + length[i] / 2
        for which in range(crosswalks):
            begin, end = crossing[w, which, 0], crossing[w, which, 1]
            if math.isnan(begin) or (end > enter[w] and begin < leave[w]):
                continue
            before = begin - front
            full = before < leader_gap[k] < end - front + length[i] + 1.0
            if full and before > max(v * v / (2.0 * YELLOW_BRAKING), 0.2):
                free[k] = max(min(free[k], before + gap[i] - 1.2), GAP_FLOOR_M)
    return out, free


@inlined
def may_cross(
    fleet: Fleet, roads: Roads, alive: Array, k: int, duration: float, patience: float
) -> bool:
    """Whether every vehicle lets a walker cross: it can stop, or comes late enough."""
    way, v_, s = fleet.way, fleet.v, fleet.s
    length = fleet.length
    crossing = roads.crossing
    for i in range(len(alive)):
        if not alive[i]:
            continue
        begin, v = crossing[way[i], k, 0], v_[i]
        if math.isnan(begin):
            continue
        before = begin - s[i] - length[i] / 2
        cleared = s[i] - length[i] / 2 > crossing[way[i], k, 1]
        if cleared or before >= 90.0:
            continue
        late = before / max(v, 0.1) > duration + patience
        # Who stands before the line already lets one go.
        stops = before > (v * v / (2.0 * 2.2) + 0.6 * v + 2.0 if v > STANDS else 0.7)
        if before < 0.3 or not (late or stops):
            return False
    return True


# ── Lane changes ─────────────────────────────────────────────────────────────────────────────────


@inlined
def interaction(
    speed: float, gap: float, leader_speed: float, s0: float, headway: float, power: float,
    braking: float,
) -> float:  # fmt: skip
    """See :func:`simulation.idm.interaction`."""
    root = 2.0 * math.sqrt(power * braking)
    wanted = s0 + max(0.0, speed * headway + speed * (speed - leader_speed) / root)
    ratio = wanted / max(gap, GAP_FLOOR_M)
    return power * (ratio * ratio)


@inlined
def station_abreast(fleet: Fleet, roads: Roads, i: int, way: int) -> float:
    """Station beside a vehicle on a way through the next lane [m]."""
    lane, along = lane_at(roads.lane, roads.offset, roads.sign, fleet.way[i], fleet.s[i])
    left = roads.left[lane]
    next_lane = left if left >= 0 and roads.member[way, left] else roads.right[lane]
    a, b = roads.first[lane], roads.first[next_lane]
    u = interpolated(along, roads.point_s, roads.point_u, a, roads.first[lane + 1] - 1)
    at = interpolated(u, roads.point_u, roads.point_s, b, roads.first[next_lane + 1] - 1)
    return roads.offset[way, next_lane] + at


@inlined
def gain(
    fleet: Fleet, roads: Roads, lane: Array, along: Array, slot: Array, count: int, i: int, way: int,
    now: float, must: bool,
) -> float:  # fmt: skip
    """MOBIL's incentive for a change, −∞ if it is not safe [m/s²].

    Args:
        fleet: All vehicles.
        roads: The ways.
        lane: As :func:`candidates` tells of everyone who is there.
        along: Likewise.
        slot: Likewise.
        count: How many of them are not told a second time.
        i: Slot of who thinks of it.
        way: To which.
        now: Acceleration without it [m/s²].
        must: Whether the lane ends.
    """
    station = station_abreast(fleet, roads, i, way)
    v, s0, headway = fleet.v[i], fleet.gap[i], fleet.headway[i]
    power, braking = fleet.power[i], fleet.braking[i]
    offset, sign = roads.offset[way], roads.sign[way]
    gap, pick = nearest_ahead(
        offset, sign, roads.lowest[way], roads.highest[way], fleet.length, i, station, lane,
        along, slot,
    )  # fmt: skip
    speed = speed_along(fleet, roads, way, lane[pick], slot[pick]) if gap < FAR else v
    cell = min(max(int(station / GRID_M), 0), roads.lane.shape[1] - 1)
    wanted = min(roads.allowed[way, cell] * fleet.eagerness[i], fleet.top[i])
    free = max(power * (1.0 - math.pow(v / max(wanted, 0.1), EXPONENT)), -braking)
    mine = free - interaction(v, gap, speed, s0, headway, power, braking)
    loss, rear, last, j = 0.0, FAR, -np.inf, -1
    left, right, width = roads.left, roads.right, fleet.width
    d, aside = fleet.d, fleet.aside
    for k in range(count):
        if slot[k] == i:
            continue
        position = offset[lane[k]] + sign[lane[k]] * along[k]
        if math.isnan(position):
            j_d = d[slot[k]] + aside[slot[k]]
            wide = roads.way_width[fleet.way[slot[k]]]
            second = beside_at(left, right, lane[k], j_d, width[slot[k]], wide)
            if second < 0:
                continue
            position = offset[second] + along[k]
        if position <= station and position > last:
            last, j = position, slot[k]
    if j >= 0:
        rear = station - last - (fleet.length[i] + fleet.length[j]) / 2
        loss = interaction(
            fleet.v[j], rear, v, fleet.gap[j], fleet.headway[j], fleet.power[j], fleet.braking[j]
        )
        if loss - fleet.power[j] > SAFE_BRAKING * (1.5 if must else 1.0):
            return -np.inf
    if mine < -2.0 or rear < 2.0 + 0.15 * v or gap < 2.0 + 0.2 * v:
        return -np.inf
    return mine - now - fleet.politeness[i] * loss


@compiled
def next_change(
    slots: Slots, tables: Tables, rows: Array, steps: int, free_a: Array, push: Array, begin: int
) -> tuple[int, int]:
    """The first, from place ``begin`` of the rows on, who changes lanes now, and to which way.

    Returns:
        Its place among the rows and the way; the number of rows and −1 where nobody does.
    """
    fleet = fleet_of(slots)
    roads = roads_of(tables)
    every = LANE_CHANGE_EVERY // 2
    lane, along, slot = candidates(fleet, roads, rows)
    for k in range(begin, len(rows)):
        i = rows[k]
        way = fleet.way[i]
        if (fleet.uid[i] + steps // 2) % every != 0 or fleet.s_len[i] != 0.0:
            continue
        if fleet.keeps_lane[i] or roads.bike[way] or roads.against[way]:
            continue
        if fleet.v[i] <= 3.0 and not roads.dead_end[way]:  # who has to, does even from a halt
            continue
        before = roads.enter[way] - fleet.s[i] > 45.0 and fleet.s[i] < roads.length[way] - 40.0
        if not (before or fleet.s[i] > roads.leave[way] + 15.0):
            continue
        mine = lane[k]
        must = roads.dead_end[way] and roads.left[mine] >= 0
        best, choice = -np.inf, -1
        for side in (1, -1):
            lane_to = roads.left[mine] if side > 0 else roads.right[mine]
            if lane_to < 0 or (must and side < 0) or roads.options[lane_to] == 0:
                continue
            to = roads.through[lane_to, fleet.uid[i] % roads.options[lane_to]]
            now = free_a[k] - push[k]
            worth = gain(fleet, roads, lane, along, slot, len(rows), i, to, now, must)
            worth += 3.0 if must else 0.0
            worth += 0.1 if side < 0 else 0.0
            if worth > best:
                best, choice = worth, to
        if choice >= 0 and best > THRESHOLD:
            return k, choice
    return len(rows), -1


# ── On foot ──────────────────────────────────────────────────────────────────────────────────────


@compiled
def standing_at(xy: Array, along: Array, s: float, slot: float) -> tuple[float, float, float]:
    """Position and heading at a station of a footway: x, y [m], yaw [rad]."""
    return standing_between(xy, along, 0, len(along) - 1, s, slot)


@inlined
def standing_between(
    xy: Array, along: Array, first: int, last: int, s: float, slot: float
) -> tuple[float, float, float]:
    """Likewise, where the footway's points are those from ``first`` to ``last``."""
    x, y, dx, dy = 0.0, 0.0, 0.0, 0.0
    for at, sign in ((s - 0.4, -1.0), (s + 0.4, 1.0)):
        px = interpolated(at, along, xy[:, 0], first, last)
        py = interpolated(at, along, xy[:, 1], first, last)
        x, y, dx, dy = x + px, y + py, dx + sign * px, dy + sign * py
    yaw = math.atan2(dy, dx)
    return x / 2 - slot * math.sin(yaw), y / 2 + slot * math.cos(yaw), yaw


@compiled
def walk(
    slots: Slots, tables: Tables, alive: Array, crowd: Crowd, ends: Array, states: Array, now: float,
    dt: float,
) -> None:  # fmt: skip
    """Everyone on foot by one step, one after the other.

    Args:
        slots: All vehicles.
        tables: Their ways.
        alive: Which vehicles are there.
        crowd: Those on foot, changed.
        ends: Of the signal plan.
        states: Likewise, without columns if there are no signals.
        now: Time within the plan's cycle [s].
        dt: Step [s].
    """
    fleet = fleet_of(slots)
    roads = roads_of(tables)
    state, spans, groups = crowd.state, crowd.spans, crowd.groups
    for w in range(len(state)):
        s, pace = state[w, S], state[w, PACE]
        want = pace
        state[w, CROSSING], state[w, WAITING] = -1.0, 0.0
        for n in range(crowd.first_span[w], crowd.first_span[w + 1]):
            which, begin, end = int(spans[n, 0]), spans[n, 1], spans[n, 2]
            if begin - 0.3 < s < end + 0.5:
                state[w, CROSSING] = which
                want = max(want, 1.3)
            elif begin - 1.2 < s <= begin - 0.3:
                duration = (end - begin) / max(pace, 1.2)
                may = True
                for g in groups[which]:
                    if g >= 0:
                        red = red_for(ends, states, now, g) if states.shape[1] else 0.0
                        may = may and red > duration + 0.5
                if not may or not may_cross(
                    fleet, roads, alive, which, duration, state[w, PATIENCE]
                ):
                    want = 0.0
                    state[w, CROSSING] = which if may else -1.0
                    state[w, WAITING] = 1.0 if may else 0.0
        change = min(max(want - state[w, SPEED], -4.0 * dt), SPEEDING_UP * dt)
        go_on(crowd, w, max(state[w, SPEED] + change, 0.0), dt)


@inlined
def go_on(crowd: Crowd, w: int, speed: float, dt: float) -> None:
    """One step ahead, or aside where somebody is in the way; right first, as the other does."""
    state, xy, along = crowd.state, crowd.xy, crowd.along
    first, last = crowd.first[w], crowd.first[w + 1] - 1
    aside = SIDESTEP * dt
    s, slot = state[w, S], state[w, SLOT]
    for ahead, left in ((1.0, 0.0), (0.6, -aside), (0.6, aside), (0.0, -aside), (0.0, aside)):
        s_to = rounded(s + ahead * speed * dt)
        slot_to = rounded(min(max(slot + left, -WIDEST_M), WIDEST_M))
        x, y, yaw = standing_between(xy, along, first, last, s_to, slot_to)
        free = True
        for other in range(len(state)):
            if other == w:
                continue
            after = math.hypot(state[other, X] - x, state[other, Y] - y)
            if after <= ELBOW_M and after < math.hypot(
                state[other, X] - state[w, X], state[other, Y] - state[w, Y]
            ):
                free = False
                break
        if free:
            state[w, S], state[w, SLOT], state[w, SPEED] = s_to, slot_to, rounded(ahead * speed)
            state[w, X], state[w, Y], state[w, YAW] = x, y, yaw
            return
    x, y, yaw = standing_between(xy, along, first, last, s, slot)
    state[w, SPEED], state[w, X], state[w, Y], state[w, YAW] = 0.0, x, y, yaw


# ── One step ─────────────────────────────────────────────────────────────────────────────────────


@compiled
def meant(
    slots: Slots, tables: Tables, crowd: Crowd, rows: Array, habit: Array, lights: Array,
    hazard: Array, outflow: float, t: float, dt: float,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """What everyone means to do at a time [m/s²]; who goes at a junction is noted as committed.

    All that :meth:`simulation.traffic.Traffic.step` asks before anybody changes lanes, in one call.

    Args:
        slots: All vehicles.
        tables: The ways.
        crowd: Those on foot.
        rows: Slots of all who are there.
        habit: Of all vehicles.
        lights: What each signal group shows.
        hazard: Distance of each to things off the ways [m].
        outflow: Speed at which vehicles can leave at the roads' ends [m/s].
        t: Time [s].
        dt: Step [s].

    Returns:
        Free acceleration, what leader and stops take from it, and what is meant with a restless foot.
    """
    fleet = fleet_of(slots)
    roads = roads_of(tables)
    way, s, length = fleet.way, fleet.s, fleet.length
    wanted = wanted_speeds(slots, tables, rows)
    if outflow < np.inf:
        for k in range(len(rows)):
            if roads.length[way[rows[k]]] - s[rows[k]] < OUTFLOW_M:
                wanted[k] = min(wanted[k], outflow)
    gap, leader_speed, leader = leaders(slots, tables, rows, way[rows], s[rows], rows, True)
    walked, free = crosswalk_gaps(slots, tables, crowd, rows, gap, leader_speed)
    halt = np.full(len(rows), FAR)
    if len(roads.movement_length):
        halt = junction_gaps(slots, tables, rows, rows, lights, walked, dt)
    for k in range(len(rows)):
        i = rows[k]
        end = FAR
        if roads.dead_end[way[i]]:
            end = max(roads.length[way[i]] - s[i] - length[i] / 2 - 3.0, GAP_FLOOR_M)
        halt[k] = min(halt[k], walked[k], free[k], end, hazard[k])
    free_a, push, halt_push = wishes(slots, rows, wanted, gap, leader_speed, leader, halt)
    target = restless(slots, tables, rows, habit, halt_push, t)
    for k in range(len(rows)):
        target[k] = free_a[k] - push[k] + target[k]
    return free_a, push, target


@compiled
def go(
    slots: Slots, tables: Tables, lines: Lines, rows: Array, habit: Array, target: Array,
    push: Array, forced: Array, dt: float,
) -> None:  # fmt: skip
    """Move everyone as they mean to, or have to.

    Args:
        slots: All vehicles, changed.
        tables: The ways.
        lines: Where these run.
        rows: Slots of all who are there.
        habit: Of all vehicles.
        target: What each means to do [m/s²].
        push: What those ahead take from it [m/s²].
        forced: What a script has each do instead [m/s²], not a number otherwise.
        dt: Step [s].
    """
    a = accelerations(slots, rows, target, push, forced, dt)
    _, _, _, kappa = pose(
        lines.x, lines.y, lines.yaw, lines.curvature, slots.whole[0][rows], slots.real[0][rows]
    )
    d, slope, _ = offsets(slots, tables, rows, habit)
    advance(slots, rows, a, kappa, d, slope, dt)
    d, _, drift = offsets(slots, tables, rows, habit)
    arrive(slots, tables, rows, d, drift)
