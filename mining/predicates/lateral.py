"""Turning, changing lanes, passing, and leaving one's way."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from geometry.angles import wrap
from geometry.arrays import Array
from mining.intervals import above, spells, steps_of
from mining.motion import DRIFT, IN_LANE_M, SHIFT_M, TURN_RATE, Courses, LaneChange, Motion, Turn
from mining.predicates.longitudinal import standing
from mining.predicates.predicate import Find, Limits, Parameter, Predicate, Span, states, unknown
from schemas.labels import DRIVING, VEHICLES
from schemas.scene import DT

GROUP = "lateral"


def _turning_left(motion: Motion, limits: Limits) -> Iterable[Span]:
    return _turning(motion, limits, +1)


def _turning_right(motion: Motion, limits: Limits) -> Iterable[Span]:
    return _turning(motion, limits, -1)


def _turning(motion: Motion, limits: Limits, side: int) -> Iterable[Span]:
    for turn in motion.turns:
        angle = side * np.degrees(turn.angle)
        lasts = (turn.end - turn.begin) * DT
        cut = turn.truncated and angle > limits["angle_cut"] and angle > limits["rate"] * lasts
        if (angle >= limits["angle"] or cut) and not _is_u_turn(turn, U_TURN.limits):
            yield Span(begin=turn.begin, end=turn.end, actor=turn.agent, value=float(angle))


def _is_u_turn(turn: Turn, limits: Limits) -> bool:
    angle = abs(turn.angle)
    return bool(np.degrees(angle) >= limits["angle"] and turn.way / angle <= limits["radius"])


def _u_turn(motion: Motion, limits: Limits) -> Iterable[Span]:
    for turn in motion.turns:
        if _is_u_turn(turn, limits):
            yield Span(
                begin=turn.begin,
                end=turn.end,
                actor=turn.agent,
                value=float(np.degrees(abs(turn.angle))),
                evidence={"radius": turn.way / abs(turn.angle)},
            )


def _trajectory(kind: str) -> Find:
    """Finds the agents whose whole course is of one kind."""

    def find(motion: Motion, limits: Limits) -> Iterable[Span]:
        told = motion.focus & ~motion.is_thing
        short = (motion.last_seen - motion.first_seen) * DT < limits["duration"] - 1e-6
        course = motion.courses
        for i in np.flatnonzero(told & ~short & _is_kind(kind, course, limits)).tolist():
            yield Span(
                begin=int(motion.first_seen[i]),
                end=int(motion.last_seen[i]),
                actor=i,
                value=float(np.degrees(course.turn[i])),
                evidence={
                    "ahead": float(course.ahead[i]),
                    "left": float(course.left[i]),
                    "speed": float(course.speed[i]),
                },
            )
        brief = motion.seen & (told & short)[:, None]
        yield from unknown(brief, "it was seen for too short a time")

    return find


def _is_kind(kind: str, course: Courses, limits: Limits) -> Bool[Array, " agents"]:
    way = np.hypot(course.ahead, course.left)
    stays = (course.speed < limits["speed"]) & (way < limits["way"])
    if kind == "stationary":
        return stays
    side = course.left >= 0.0 if "left" in kind else course.left < 0.0
    bends = np.abs(course.turn) >= np.radians(limits["angle"])
    if kind.startswith("straight"):
        aside = np.abs(course.left) >= limits["aside"]
        return ~stays & ~bends & (~aside if kind == "straight" else aside & side)
    back = course.ahead < limits["ahead"]
    return ~stays & bends & side & (back if kind.endswith("u_turn") else ~back)


def _turn_at_speed(motion: Motion, limits: Limits) -> Iterable[Span]:
    for turn in motion.turns:
        mean = turn.way / max((turn.end - turn.begin) * DT, DT)
        wide = abs(np.degrees(turn.angle)) >= limits["angle"]
        if wide and limits["from"] <= mean <= limits["to"]:
            yield Span(
                begin=turn.begin,
                end=turn.end,
                actor=turn.agent,
                value=mean,
                evidence={"angle": float(np.degrees(turn.angle))},
            )


def _three_point_turn(motion: Motion, limits: Limits) -> Iterable[Span]:
    rolls = np.abs(motion.forward) >= limits["speed"]
    rolls &= motion.seen & (motion.is_vehicle & motion.focus & ~motion.immobile)[:, None]
    backs = spells(rolls & (motion.forward < 0.0), least_s=0.3)
    for i, begin, end in backs:
        early = max(begin - steps_of(limits["within"]), 0)
        late = min(end + steps_of(limits["within"]), motion.steps - 1)
        ahead = rolls[i] & (motion.forward[i] > 0.0)
        if not (ahead[early:begin].any() and ahead[end + 1 : late + 1].any()):
            continue
        for side in (1.0, -1.0):
            turns = rolls[i] & motion.turn_known[i] & (side * motion.yaw_rate[i] >= TURN_RATE)
            steps = np.flatnonzero(turns[early : late + 1]) + early
            if not len(steps) or not turns[begin : end + 1].any():
                continue
            first, last = int(steps[0]), int(steps[-1])
            angle = side * np.degrees(motion.yaw_smooth[i, last] - motion.yaw_smooth[i, first])
            back = side * np.degrees(motion.yaw_smooth[i, end] - motion.yaw_smooth[i, begin])
            both_ends = ahead[first : begin + 1].any() and ahead[end : last + 1].any()
            if both_ends and angle >= limits["angle"] and back >= limits["angle_back"]:
                yield Span(begin=first, end=last, actor=i, value=float(angle))


def _lat_accel_high(motion: Motion, limits: Limits) -> Iterable[Span]:
    # Two independent measures must agree: that of the path, and speed times turn rate.
    path = np.abs(motion.lateral_acceleration)
    turn = np.abs(motion.forward * motion.yaw_rate)
    size = np.minimum(path, turn)
    known = motion.turn_known & motion.acceleration_known & motion.drives[:, None]
    mask = above(size, limits["acceleration"], known=known)
    return states(motion, mask, size, evidence={"speed": motion.speed})


def _yaw_rate_high(motion: Motion, limits: Limits) -> Iterable[Span]:
    known = motion.turn_known & motion.is_vehicle[:, None]
    rate = np.abs(motion.yaw_rate)
    return states(motion, above(rate, limits["rate"], known=known), rate)


def _lane_change_left(motion: Motion, limits: Limits) -> Iterable[Span]:
    return (_told(c) for c in _changes(motion, limits) if c.side > 0)


def _lane_change_right(motion: Motion, limits: Limits) -> Iterable[Span]:
    return (_told(c) for c in _changes(motion, limits) if c.side < 0)


def _changes(motion: Motion, limits: Limits) -> list[LaneChange]:
    return motion.lane_changes_by(drift=limits["drift"], shift=limits["shift"])


def _told(change: LaneChange) -> Span:
    return Span(
        begin=change.begin,
        end=change.end,
        actor=change.agent,
        lane=change.to_lane,
        value=change.shift,
        evidence={"speed_lateral": change.speed_lateral, "cross_step": change.cross},
    )


def _lane_keeping(motion: Motion, limits: Limits) -> Iterable[Span]:
    lane = np.maximum(motion.lane, 0)
    off = np.abs(motion.lane_d)
    mask = motion.on_lane & motion.graph.for_cars[lane] & motion.drives[:, None]
    mask &= (off <= limits["offset"]) & (motion.speed >= limits["speed"]) & ~motion.changing
    mask &= np.abs(motion.heading_error) <= np.radians(limits["angle"])
    return states(motion, mask, off, least_s=limits["duration"])


def _merge(motion: Motion, limits: Limits) -> Iterable[Span]:
    graph = motion.graph
    for i, t, before in motion.lane_steps:
        a, b = int(motion.lane[i, before]), int(motion.lane[i, t])
        if not graph.side_ways[a] or b not in graph.successors[a] or t - before > 5:
            continue
        rest = graph.length[a] - motion.lane_s[i]
        near = (motion.lane[i] == a) & (rest <= limits["before"])
        past = (motion.lane[i] == b) & (motion.lane_s[i] <= limits["after"])
        begin, end = before, t
        while begin > 0 and near[begin - 1]:
            begin -= 1
        while end < motion.steps - 1 and past[end + 1]:
            end += 1
        if motion.speed[i, t] >= limits["speed"] and end - begin + 1 >= steps_of(0.5):
            yield Span(
                begin=begin,
                end=end,
                actor=i,
                lane=b,
                value=float(motion.speed[i, t]),
                evidence={"joint_step": t},
            )


def _pull_over(motion: Motion, limits: Limits) -> Iterable[Span]:
    for i, begin, end in _stands_aside(motion, limits):
        early = max(begin - steps_of(limits["within"]), 0)
        drives = np.flatnonzero(_drives_in_lane(motion, limits)[i, early:begin])
        if len(drives) and begin > 0:
            yield from _aside(motion, limits, i, early + int(drives[-1]), begin, end)


def _pull_out(motion: Motion, limits: Limits) -> Iterable[Span]:
    for i, begin, end in _stands_aside(motion, limits):
        late = end + 1 + steps_of(limits["within"])
        drives = np.flatnonzero(_drives_in_lane(motion, limits)[i, end + 1 : late])
        if len(drives):
            yield from _aside(motion, limits, i, end, end + 1 + int(drives[0]), begin)


def _stands_aside(motion: Motion, limits: Limits) -> Iterable[tuple[int, int, int]]:
    who = motion.is_vehicle & motion.focus & ~motion.immobile
    still = standing(motion) & who[:, None] & ~motion.in_intersection
    beside = (motion.off_centre >= limits["aside"]) & (motion.off_centre <= limits["most"])
    return spells(still & beside, least_s=limits["standing"])


def _drives_in_lane(motion: Motion, limits: Limits) -> Bool[Array, "agents steps"]:
    inside = (motion.off_centre <= IN_LANE_M) & ~motion.in_intersection
    return np.asarray(motion.seen & inside & (motion.speed >= limits["speed"]))


def _aside(
    motion: Motion, limits: Limits, i: int, begin: int, end: int, stand: int
) -> Iterable[Span]:
    """Between standing aside and driving, unless it turned off on the way."""
    turn = motion.yaw_smooth[i, end] - motion.yaw_smooth[i, begin]
    if abs(float(turn)) <= np.radians(limits["angle"]):
        yield Span(begin=begin, end=end, actor=i, value=float(motion.off_centre[i, stand]))


def _cut_in(motion: Motion, limits: Limits) -> Iterable[Span]:
    leads = motion.leads
    own_changes: dict[int, list[LaneChange]] = {}
    for change in motion.lane_changes:
        own_changes.setdefault(change.agent, []).append(change)
    merging = motion.graph.merges
    told: set[tuple[int, int]] = set()
    for row, begin, _ in spells(leads.on, least_s=limits["after"]):
        i, j = int(leads.a[row]), int(leads.b[row])
        came = next((c for c in own_changes.get(j, []) if c.begin <= begin <= c.end + 5), None)
        before = max(begin - steps_of(limits["before"]), 0)
        came_by_ramp = came is None and bool(
            (motion.lane[j, before:begin] >= 0).any()
            and merging[motion.lane[j, before:begin].max()]
            and motion.lane[j, before:begin].max() != motion.lane[i, before]
        )
        if came is None and not came_by_ramp:
            continue
        t0 = came.begin if came is not None else before
        if begin - t0 < 1 and begin < steps_of(0.3):
            continue
        follower_moves = any(
            c.begin <= begin + 2 and c.end >= begin - steps_of(1.0) for c in own_changes.get(i, [])
        )
        seen = motion.seen[i, t0 : begin + 1] & motion.seen[j, t0 : begin + 1]
        turn = abs(float(motion.yaw[i, t0] - motion.yaw[j, t0]))
        turn = abs((turn + np.pi) % (2 * np.pi) - np.pi)
        if follower_moves or not seen.all() or turn > np.radians(limits["angle"]):
            continue
        gap, speed = float(leads.gap[row, begin]), float(motion.speed[i, begin])
        wait = max(gap, 0.0) / max(speed, 0.1)
        if gap > limits["gap"] or wait > limits["headway"] or speed < limits["speed"]:
            continue
        if (row, t0) in told:  # lost from view as the leader meanwhile, and found again
            continue
        told.add((row, t0))
        yield Span(
            begin=t0,
            end=max(begin, came.end if came is not None else begin),
            actor=j,
            other=i,
            lane=int(motion.lane[j, begin]),
            value=wait,
            evidence={
                "gap": gap,
                "closing_speed": speed - float(motion.speed[j, begin]),
                "lead_step": begin,
            },
        )


def _cut_out(motion: Motion, limits: Limits) -> Iterable[Span]:
    leads = motion.leads
    for change in motion.lane_changes:
        for row in np.flatnonzero(leads.b == change.agent).tolist():
            led = np.flatnonzero(leads.on[row, : change.cross + 3])
            held = leads.on[row, max(change.begin - steps_of(1.0), 0) : change.begin + 1]
            after = leads.on[row, change.cross + 3 : change.cross + steps_of(1.0)]
            if not len(led) or not held.any() or after.sum() > 2:
                continue
            gap = float(leads.gap[row, led[-1]])
            follower = int(leads.a[row])
            if gap <= limits["gap"] and motion.speed[follower, led[-1]] >= limits["speed"]:
                yield Span(
                    begin=change.begin,
                    end=change.end,
                    actor=change.agent,
                    other=follower,
                    lane=change.from_lane,
                    value=gap,
                )


def _overtake(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs = motion.pairs
    # The other is ahead at one time and behind at another.
    swaps = (pairs.x > limits["order"]).any(axis=1) & (pairs.x < -limits["order"]).any(axis=1)
    rows = np.flatnonzero(swaps & motion.drives[pairs.a] & motion.drives[pairs.b])
    a, b = pairs.a[rows], pairs.b[rows]
    x, y, seen = pairs.x[rows], pairs.y[rows], pairs.seen[rows]
    way = np.cos(motion.yaw[a] - motion.yaw[b]) >= np.cos(np.pi / 6)
    speed, slow = motion.speed[a], motion.speed[b]
    abreast = (np.abs(y) >= limits["side"]) & (np.abs(y) <= 6.0) & way
    abreast &= seen & (speed >= limits["speed"]) & (slow >= 0.5)
    passing = abreast & (speed - slow >= limits["relative_speed"])
    level = passing & (np.abs(x) <= (motion.length[a] + motion.length[b])[:, None] / 2)
    for row, begin, end in spells(level, least_s=0.2, bridge_s=0.5):
        i, j = int(a[row]), int(b[row])
        if not (x[row, begin] > 0 > x[row, end]):
            continue
        in_line = (np.abs(y[row]) < limits["side"]) & seen[row]
        window = steps_of(limits["within"])
        behind = np.flatnonzero(
            (in_line & (x[row] > limits["order"]))[max(begin - window, 0) : begin]
        )
        front = np.flatnonzero((in_line & (x[row] < -limits["order"]))[end : end + window])
        if len(behind) and len(front):
            yield Span(
                begin=max(begin - window, 0) + int(behind[-1]),
                end=end + int(front[0]),
                actor=i,
                other=j,
                value=float((speed - slow)[row, begin : end + 1].max()),
                evidence={"abreast_step": begin, "side": float(np.sign(-y[row, begin]))},
            )


def _nudge(motion: Motion, limits: Limits) -> Iterable[Span]:
    level, _, known = motion.lateral
    changing = motion.changing
    pairs = motion.pairs
    for i in np.flatnonzero(motion.drives & motion.focus & ~motion.parked).tolist():
        usable = known[i] & (motion.speed[i] > 0.5) & ~motion.in_intersection[i]
        if usable.sum() < steps_of(2.0):
            continue
        rest = float(np.median(level[i, usable]))
        out = np.where(usable, level[i] - rest, 0.0)
        if np.abs(out).max() < limits["least"]:
            continue
        for side in (1.0, -1.0):
            mask = above((side * out)[None], limits["least"], known=usable[None])
            for _, begin, end in spells(mask):
                peak = float((side * out[begin : end + 1]).max())
                lasts = (end - begin + 1) * DT
                returns = end < motion.last_seen[i] and begin > motion.first_seen[i]
                if peak > limits["most"] or lasts > limits["within"] or not returns:
                    continue
                if changing[i, begin : end + 1].any():
                    continue
                passed = _passed(motion, pairs.a == i, begin, end, side)
                if passed is not None:
                    yield Span(
                        begin=begin,
                        end=end,
                        actor=i,
                        other=passed,
                        value=peak,
                        evidence={"side": side},
                    )


def _passed(
    motion: Motion, rows: Bool[Array, " pairs"], begin: int, end: int, side: float
) -> int | None:
    """Who, slower than half the speed, is passed on the side that one moves away from: the nearest."""
    pairs = motion.pairs
    passed: list[tuple[float, int, int]] = []
    for row in np.flatnonzero(rows).tolist():
        window = slice(begin, end + 1)
        beside = pairs.seen[row, window] & (side * pairs.y[row, window] < 0)
        beside &= np.abs(pairs.y[row, window]) < 5.0
        slower = motion.speed[pairs.b[row], window] < 0.5 * motion.speed[pairs.a[row], window]
        told = beside & slower
        x = pairs.x[row, window][told]
        if len(x) and x[0] > 0 > x[-1] - 2.0 and x.min() < 3.0:
            other = int(pairs.b[row])
            aside = float(np.abs(pairs.y[row, window][told]).min())
            passed.append((aside, motion.track_id[other], other))
    return min(passed)[2] if passed else None


def _swerve(motion: Motion, limits: Limits) -> Iterable[Span]:
    level, rate, known = motion.lateral
    # Who turns off drives askew to its lane, and does not end on the heading that it had.
    along = ~motion.in_intersection & (np.abs(motion.heading_error) <= np.radians(limits["angle"]))
    usable = known & motion.drives[:, None] & (motion.speed > 3.0) & along
    fast = above(np.abs(rate), limits["speed"], known=usable)
    # Round a bend the heading changes with the lane's, which is the road's turn and nobody's swerve.
    from_lane = motion.heading_error + wrap(motion.yaw_smooth - motion.yaw)
    for i in np.flatnonzero(motion.focus & fast.any(axis=1)).tolist():
        found = list(spells((fast[i] & (rate[i] > 0))[None], least_s=0.2))
        found += list(spells((fast[i] & (rate[i] < 0))[None], least_s=0.2))
        found.sort(key=lambda run: run[1])
        used = -1
        for (_, b0, e0), (_, b1, e1) in pairwise(found):
            opposite = rate[i, b0] * rate[i, b1] < 0
            soon = (b1 - e0) * DT <= limits["within"]
            begin, end = _at_rest(rate[i] * np.sign(rate[i, b0]), known[i], b0, e1)
            turn = abs(float(from_lane[i, end] - from_lane[i, begin]))
            soon &= turn <= np.radians(limits["turn"]) and bool(along[i, begin : end + 1].all())
            # Who turns at a corner cuts it, or swings wide: that is the turn's.
            bend = abs(float(motion.yaw_smooth[i, end] - motion.yaw_smooth[i, begin]))
            soon &= bend <= np.radians(limits["bend"])
            # Over the line and back at once, it has not changed lanes.
            back = abs(float(level[i, end] - level[i, begin])) <= limits["back"]
            stays = back or not motion.changing[i, b0 : e1 + 1].any()
            if b0 > used and opposite and soon and stays:
                used = e1
                peak = float(np.abs(rate[i, b0 : e1 + 1]).max())
                yield Span(begin=b0, end=e1, actor=i, value=peak)


def _at_rest(
    rate: Float[Array, " steps"], known: Bool[Array, " steps"], begin: int, end: int
) -> tuple[int, int]:
    """From before a move to one side to after the move back: until it no longer drifts on.

    Args:
        rate: Lateral speed, positive in the first move, negative in the second [m/s].
        known: Where it is known.
        begin: Of the first.
        end: Of the second.
    """
    while begin > 0 and known[begin - 1] and rate[begin - 1] > DRIFT:
        begin -= 1
    while end < len(rate) - 1 and known[end + 1] and rate[end + 1] < -DRIFT:
        end += 1
    return begin, end


def _wrong_way(motion: Motion, limits: Limits) -> Iterable[Span]:
    lane = np.maximum(motion.lane, 0)
    usable = motion.on_lane & motion.graph.for_cars[lane] & motion.is_vehicle[:, None]
    usable &= ~motion.graph.in_intersection[lane] & (np.abs(motion.lane_d) < 1.75)
    turned = np.abs(motion.heading_error) >= np.radians(limits["angle"])
    along = np.cos(motion.yaw_smooth - motion.course) > 0.5
    mask = usable & turned & along & (motion.forward >= limits["speed"])
    return states(motion, mask, motion.forward, least_s=1.0)


_STAYS = "max(v_first, v_last) < {speed} ∧ |xy_last − xy_first| < {way}"
_LEFT, _RIGHT = "y_last ≥ 0", "y_last < 0"
_TRAJECTORY = (
    Parameter("speed", 2.0, "m/s", "WOMD kMaxSpeedForStationary"),
    Parameter("way", 3.0, "m", "WOMD kMaxDisplacementForStationary"),
    Parameter("aside", 2.5, "m", "WOMD kMaxLateralDisplacementForStraight"),
    Parameter("angle", 30.0, "°", "WOMD kMaxAbsHeadingDiffForStraight"),
    Parameter("ahead", 0.0, "m", "WOMD kMinLongitudinalDisplacementForUTurn"),
    Parameter("duration", 3.0, "s", "own: a shorter course has no type, it is unknown"),
)


def _trajectory_type(kind: str, what: str) -> Predicate:
    """One of the eight kinds into which Waymo's motion challenge sorts trajectories."""
    side = _LEFT if "left" in kind else _RIGHT
    moves = f"¬({_STAYS}) ∧ |Δheading|"
    if kind == "stationary":
        rule = _STAYS
    elif kind == "straight":
        rule = f"{moves} < {{angle}} ∧ |y_last| < {{aside}}"
    elif kind.startswith("straight"):
        rule = f"{moves} < {{angle}} ∧ |y_last| ≥ {{aside}} ∧ {side}"
    else:
        ahead = "<" if kind.endswith("u_turn") else "≥"
        rule = f"{moves} ≥ {{angle}} ∧ {side} ∧ x_last {ahead} {{ahead}}"
    rule += "; T ≥ {duration}; x_last, y_last: where it is last seen, in its first frame"
    return Predicate(
        name=f"trajectory_{kind}",
        group=GROUP,
        doc=f"From where it is first seen to where it is last seen {what}",
        formula=rule,
        find=_trajectory(kind),
        unit="°",
        parameters=tuple(p for p in _TRAJECTORY if f"{{{p.name}}}" in rule),
        ordinary=kind in ("stationary", "straight"),
        version=4,
    )


TRAJECTORY_STATIONARY = _trajectory_type(
    "stationary", "it gets less than 3 m far, and is slower than 2 m/s at both."
)
TRAJECTORY_STRAIGHT = _trajectory_type(
    "straight", "it turns by less than 30° and moves less than 2.5 m aside."
)
TRAJECTORY_STRAIGHT_LEFT = _trajectory_type(
    "straight_left", "it turns by less than 30° and moves 2.5 m or more to the left."
)
TRAJECTORY_STRAIGHT_RIGHT = _trajectory_type(
    "straight_right", "it turns by less than 30° and moves 2.5 m or more to the right."
)
TRAJECTORY_LEFT = _trajectory_type(
    "left", "it turns by 30° or more and gets to its left, not behind its start."
)
TRAJECTORY_RIGHT = _trajectory_type(
    "right", "it turns by 30° or more and gets to its right, not behind its start."
)
TRAJECTORY_LEFT_U_TURN = _trajectory_type(
    "left_u_turn", "it turns by 30° or more and gets to its left, behind its start."
)
TRAJECTORY_RIGHT_U_TURN = _trajectory_type(
    "right_u_turn", "it turns by 30° or more and gets to its right, behind its start."
)
TURNING_LEFT = Predicate(
    name="turning_left",
    group=GROUP,
    doc="Turns left by 45° or more in one go; by 15° where the log begins or ends in the turn.",
    formula="ω ≳ 5 °/s on [t0, t1], Δψ = ψ(t1) − ψ(t0): Δψ ≥ {angle}, or seen in part ∧ Δψ "
    "> {angle_cut} ∧ Δψ / T > {rate}; ¬u_turn",
    find=_turning_left,
    unit="°",
    parameters=(
        Parameter("angle", 45.0, "°", "RefAV turning"),
        Parameter("angle_cut", 15.0, "°", "RefAV turning, at a log's edge"),
        Parameter("rate", 5.0, "°/s", "RefAV turning, at a log's edge"),
    ),
    only=(DRIVING,),
)
TURNING_RIGHT = Predicate(
    name="turning_right",
    group=GROUP,
    doc="Turns right by 45° or more in one go; by 15° where the log begins or ends in the turn.",
    formula="−ω ≳ 5 °/s on [t0, t1], Δψ = ψ(t0) − ψ(t1): Δψ ≥ {angle}, or seen in part ∧ "
    "Δψ > {angle_cut} ∧ Δψ / T > {rate}; ¬u_turn",
    find=_turning_right,
    unit="°",
    parameters=TURNING_LEFT.parameters,
    only=(DRIVING,),
)
U_TURN = Predicate(
    name="u_turn",
    group=GROUP,
    doc="Turns back in one go and in little room.",
    formula="|ω| ≳ 5 °/s to one side: |Δψ| ≥ {angle} ∧ Σ|v_fwd| Δt / |Δψ| ≤ {radius}",
    find=_u_turn,
    unit="°",
    parameters=(
        Parameter("angle", 150.0, "°", "own"),
        Parameter("radius", 12.0, "m", "own: a way round a roundabout is wider"),
    ),
    only=(DRIVING,),
)
HIGH_SPEED_TURN = Predicate(
    name="high_speed_turn",
    group=GROUP,
    doc="Turns by 45° or more at 8 m/s or more on average.",
    formula="|ω| ≳ 5 °/s to one side: |Δψ| ≥ {angle} ∧ {from} ≤ Σ|v_fwd| Δt / T ≤ {to}",
    find=_turn_at_speed,
    unit="m/s",
    parameters=(
        Parameter("angle", 45.0, "°", "RefAV turning"),
        Parameter("from", 8.0, "m/s", "own: nuPlan names the tag, but no speed"),
        Parameter("to", 100.0, "m/s", "own: no bound"),
    ),
    only=(DRIVING,),
)
LOW_SPEED_TURN = Predicate(
    name="low_speed_turn",
    group=GROUP,
    doc="Turns by 45° or more at 4 m/s or less on average.",
    formula="|ω| ≳ 5 °/s to one side: |Δψ| ≥ {angle} ∧ {from} ≤ Σ|v_fwd| Δt / T ≤ {to}",
    find=_turn_at_speed,
    unit="m/s",
    parameters=(
        Parameter("angle", 45.0, "°", "RefAV turning"),
        Parameter("from", 0.0, "m/s", "own: no bound"),
        Parameter("to", 4.0, "m/s", "own: nuPlan names the tag, but no speed"),
    ),
    only=(DRIVING,),
)
THREE_POINT_TURN = Predicate(
    name="three_point_turn",
    group=GROUP,
    doc="Turns back by driving forward, backward and forward again, to one side all the while.",
    formula="v_fwd ≤ −{speed}, with v_fwd ≥ {speed} ≤ {within} before and after, and ω ≥ 5 "
    "°/s to one side in each: |Δψ| ≥ {angle} ∧ |Δψ| of the backward stretch ≥ "
    "{angle_back}",
    find=_three_point_turn,
    unit="°",
    parameters=(
        Parameter("angle", 120.0, "°", "own: in all"),
        Parameter("angle_back", 10.0, "°", "own: while driving backward"),
        Parameter("speed", 0.3, "m/s", "nuPlan-KG, as reversing"),
        Parameter("within", 8.0, "s", "own: of the backward stretch, before and after"),
    ),
    only=(VEHICLES,),
)
LAT_ACCEL_HIGH = Predicate(
    name="lat_accel_high",
    group=GROUP,
    doc="Lateral acceleration of 1.5 m/s² or more.",
    formula="min(|a_lat|, |v_fwd ω|) ≳ {acceleration}",
    find=_lat_accel_high,
    unit="m/s²",
    parameters=(Parameter("acceleration", 1.5, "m/s²", "nuPlan high_lateral_acceleration"),),
    only=(DRIVING,),
)
LAT_ACCEL_UNCOMFORTABLE = Predicate(
    name="lat_accel_uncomfortable",
    group=GROUP,
    doc="Lateral acceleration beyond what passengers bear with comfort.",
    formula="min(|a_lat|, |v_fwd ω|) ≳ {acceleration}",
    find=_lat_accel_high,
    unit="m/s²",
    parameters=(Parameter("acceleration", 4.89, "m/s²", "nuPlan comfort bound"),),
    only=(DRIVING,),
)
YAW_RATE_HIGH = Predicate(
    name="yaw_rate_high",
    group=GROUP,
    doc="Turns faster than passengers bear with comfort.",
    formula="|ω| ≳ {rate}",
    find=_yaw_rate_high,
    unit="rad/s",
    parameters=(Parameter("rate", 0.95, "rad/s", "nuPlan comfort bound"),),
    only=(VEHICLES,),
)
LANE_CHANGE_LEFT = Predicate(
    name="lane_change_left",
    group=GROUP,
    doc="Moves into the lane to the left that runs the same way, from the first drift to the last.",
    formula="the lane becomes one beside it (d jumps by −1.5 to −6 m) at t; [t0, t1] ∋ t, "
    "≤ 4 s either way, while dD/dt ≥ {drift}: D(t1) − D(t0) ≥ {shift}",
    find=_lane_change_left,
    unit="m",
    parameters=(
        Parameter("shift", SHIFT_M, "m", "nuPlan-KG changesLane"),
        Parameter("drift", DRIFT, "m/s", "nuPlan-KG onset lateral speed"),
    ),
    needs=("map",),
    only=(DRIVING,),
)
LANE_CHANGE_RIGHT = Predicate(
    name="lane_change_right",
    group=GROUP,
    doc="Moves into the lane to the right that runs the same way, from the first drift to the last.",
    formula="the lane becomes one beside it (d jumps by 1.5 to 6 m) at t; [t0, t1] ∋ t, ≤ "
    "4 s either way, while −dD/dt ≥ {drift}: D(t0) − D(t1) ≥ {shift}",
    find=_lane_change_right,
    unit="m",
    parameters=LANE_CHANGE_LEFT.parameters,
    needs=("map",),
    only=(DRIVING,),
)
LANE_KEEPING = Predicate(
    name="lane_keeping",
    group=GROUP,
    doc="Drives along its lane for 3 s or more, near its middle; value: farthest from it.",
    formula="|d| ≤ {offset} ∧ |ψ − ψ_lane| ≤ {angle} ∧ v ≥ {speed} ∧ no lane change, T ≥ "
    "{duration}",
    find=_lane_keeping,
    unit="m",
    parameters=(
        Parameter("offset", 1.0, "m", "own"),
        Parameter("angle", 30.0, "°", "own"),
        Parameter("speed", 1.0, "m/s", "own"),
        Parameter("duration", 3.0, "s", "own"),
    ),
    needs=("map",),
    ordinary=True,
    only=(DRIVING,),
)
MERGE = Predicate(
    name="merge",
    group=GROUP,
    doc="Comes in from the side where its lane runs into another, outside intersections.",
    formula="from a lane that comes in from the side to its successor: while s_end − s ≤ "
    "{before}, then s ≤ {after}; v ≥ {speed} at the joint",
    find=_merge,
    unit="m/s",
    parameters=(
        Parameter("before", 30.0, "m", "own: of the joint"),
        Parameter("after", 15.0, "m", "own: of the joint"),
        Parameter("speed", 1.0, "m/s", "own"),
    ),
    needs=("map",),
    version=4,
)
PULL_OVER = Predicate(
    name="pull_over",
    group=GROUP,
    doc="Leaves its lane for the side of the road and stops there.",
    formula="v ≥ {speed} ∧ c ≤ 1.2 m at t0, last before; stopped ∧ {aside} ≤ c ≤ {most} "
    "from t1 ≤ t0 + {within} on, for ≥ {standing}; |ψ(t1) − ψ(t0)| ≤ {angle}",
    find=_pull_over,
    unit="m",
    parameters=(
        Parameter("aside", 1.5, "m", "own: from the nearest centre line to where it stands"),
        Parameter("most", 6.0, "m", "own: farther off is another place, not the roadside"),
        Parameter("speed", 1.0, "m/s", "own: of driving in the lane"),
        Parameter("standing", 0.5, "s", "own"),
        Parameter("within", 10.0, "s", "own"),
        Parameter("angle", 45.0, "°", "own: who turns more has turned off"),
    ),
    needs=("map",),
    only=(VEHICLES,),
)
PULL_OUT = Predicate(
    name="pull_out",
    group=GROUP,
    doc="Sets off from the side of the road and drives into a lane.",
    formula="stopped ∧ {aside} ≤ c ≤ {most} for ≥ {standing} until t0; v ≥ {speed} ∧ c ≤ "
    "1.2 m first at t1 ≤ t0 + {within}; |ψ(t1) − ψ(t0)| ≤ {angle}",
    find=_pull_out,
    unit="m",
    parameters=PULL_OVER.parameters,
    needs=("map",),
    only=(VEHICLES,),
)
CUT_IN = Predicate(
    name="cut_in",
    group=GROUP,
    doc="Changes lane or merges and becomes the nearest leader of the other, close ahead of it.",
    formula="actor leads other from t on, for ≥ {after}, and changed lane by t + 0.5 s or "
    "came by a merging lane ≤ {before} earlier: gap ≤ {gap} ∧ gap / v_other ≤ "
    "{headway} ∧ v_other ≥ {speed} at t, |ψ − ψ_other| ≤ {angle} at begin; other "
    "keeps its lane",
    find=_cut_in,
    roles=("actor", "other"),
    unit="s",
    parameters=(
        Parameter("gap", 40.0, "m", "nuPlan-KG mergesInFrontOf"),
        Parameter("headway", 5.0, "s", "nuPlan-KG mergesInFrontOf"),
        Parameter("before", 2.0, "s", "nuPlan-KG mergesInFrontOf"),
        Parameter("after", 0.5, "s", "own"),
        Parameter("angle", 30.0, "°", "own"),
        Parameter("speed", 1.0, "m/s", "own: of the other"),
    ),
    needs=("map",),
    only=(DRIVING, DRIVING),
    version=4,
)
CUT_OUT = Predicate(
    name="cut_out",
    group=GROUP,
    doc="The leader of the other leaves its lane and no longer leads it.",
    formula="actor leads other ≤ 1 s before its lane change, and no more 0.3 to 1 s after "
    "it crosses: gap ≤ {gap} ∧ v_other ≥ {speed} when it last leads",
    find=_cut_out,
    roles=("actor", "other"),
    unit="m",
    parameters=(
        Parameter("gap", 40.0, "m", "own, as cut_in"),
        Parameter("speed", 1.0, "m/s", "own: of the other"),
    ),
    needs=("map",),
    only=(DRIVING, DRIVING),
)
OVERTAKE = Predicate(
    name="overtake",
    group=GROUP,
    doc="From behind, past the other's side, to ahead of it and back in line; both moving.",
    formula="{side} ≤ |y| ≤ 6 m ∧ |x| ≤ (l + l_other)/2 ∧ v ≥ {speed} ∧ v − v_other ≥ "
    "{relative_speed} ∧ |ψ − ψ_other| ≤ 30°, T ≥ 0.2 s; x > {order} ∧ |y| < {side} "
    "≤ {within} before, x < −{order} ∧ |y| < {side} ≤ {within} after",
    find=_overtake,
    roles=("actor", "other"),
    unit="m/s",
    parameters=(
        Parameter("side", 1.25, "m", "nuPlan-KG overtakes"),
        Parameter("speed", 2.0, "m/s", "nuPlan-KG overtakes"),
        Parameter("relative_speed", 0.3, "m/s", "nuPlan-KG overtakes"),
        Parameter("order", 1.0, "m", "nuPlan-KG overtakes"),
        Parameter("within", 10.0, "s", "own: nuPlan-KG allows 30 s in all"),
    ),
)
NUDGE = Predicate(
    name="nudge",
    group=GROUP,
    doc="Moves aside within its lane and back while it passes something slow on the other side.",
    formula="σ = ±1: σ (D − median D) ≳ {least}, its peak ≤ {most}, T ≤ {within}; "
    "meanwhile passes other: σ y < 0, |y| < 5 m, v_other < v/2",
    find=_nudge,
    roles=("actor", "other"),
    unit="m",
    parameters=(
        Parameter("least", 0.4, "m", "own"),
        Parameter("most", 1.75, "m", "own: half a lane"),
        Parameter("within", 8.0, "s", "nuPlan-KG changesLane"),
    ),
    needs=("map",),
    version=4,
    only=(DRIVING,),
)
SWERVE = Predicate(
    name="swerve",
    group=GROUP,
    doc="Darts to one side and back without changing lane.",
    formula="|dD/dt| ≳ {speed}, T ≥ 0.2 s, and again the other way ≤ {within} later; |ψ − ψ_lane| ≤ {angle} "
    "throughout; from before to after the drift |Δ(ψ − ψ_lane)| ≤ {turn}, and no lane change or "
    "|ΔD| ≤ {back}; v > 3 m/s; |ψ(t1) − ψ(t0)| ≤ {bend}",
    find=_swerve,
    unit="m/s",
    parameters=(
        Parameter("speed", 0.8, "m/s", "own: lateral speed, each way"),
        Parameter("within", 2.0, "s", "own"),
        Parameter("angle", 30.0, "°", "own: from the lane's direction, at most"),
        Parameter(
            "turn", 20.0, "°", "own: between the headings before and after, from the lane's"
        ),
        Parameter("back", 1.75, "m", "own: half a lane, between the places before and after"),
        Parameter("bend", 45.0, "°", "own: the road turns by no more meanwhile; more is a corner"),
    ),
    needs=("map",),
    version=6,
    only=(DRIVING,),
)
WRONG_WAY = Predicate(
    name="wrong_way",
    group=GROUP,
    doc="Drives against the direction of its lane, outside intersections, for a second or more.",
    formula="|ψ − ψ_lane| ≥ {angle} ∧ v_fwd ≥ {speed} ∧ |d| < 1.75 m, T ≥ 1 s",
    find=_wrong_way,
    unit="m/s",
    parameters=(
        Parameter("angle", 135.0, "°", "own: RefAV's bound of opposite headings"),
        Parameter("speed", 2.0, "m/s", "nuPlan driving-direction metric"),
    ),
    needs=("map",),
    only=(VEHICLES,),
)
