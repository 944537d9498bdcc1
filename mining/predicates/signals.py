"""What agents do at traffic lights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from geometry.angles import wrap
from geometry.arrays import Array
from geometry.polylines import headings, project_each
from mining.intervals import spells, steps_of
from mining.lanes import HALF_WIDTH_M, TURN_LANE
from mining.motion import SIGNAL_M, Motion
from mining.predicates.longitudinal import standing
from mining.predicates.predicate import (
    Find,
    Limits,
    Parameter,
    Predicate,
    Span,
    states,
    unknown,
)
from schemas.labels import DRIVING, LightState, Truth
from schemas.scene import DT

GROUP = "signals"
NOT_OBSERVED = "the crossing of the stop line, or its signal, was not observed"
NOT_FOLLOWED = "what became of it past the stop line was not observed"
ALONG = np.radians(15.0)
"""[rad] Who drives along a way is not more askew."""
TURNS_WITHIN_S = 4.0
BEARS_RIGHT = np.radians(20.0)
STRAIGHT_ON_M = 12.0
"""[m] Who has not turned by then goes straight on: right turns at stop lines are tighter."""
ACROSS_AT_MOST = 5.0
"""[m/s²] Nobody takes a turn at more: half of what a dry road holds, and twice what is comfortable."""


def _drivers(motion: Motion) -> Bool[Array, "agents steps"]:
    return (motion.drives & motion.focus & ~motion.parked)[:, None] & motion.seen


def _relevant(state: LightState) -> Find:
    """Finds who drives towards a signal that shows something."""

    def find(motion: Motion, limits: Limits) -> Iterable[Span]:
        view = motion.signal_within(limits["distance"])
        ahead = _drivers(motion) & (view.distance > 0.0) & np.isfinite(view.distance)
        yield from states(motion, ahead & (view.state == state), view.distance, pick=np.argmin)
        yield from unknown(
            ahead & (view.state == LightState.UNKNOWN), "the signal was not observed"
        )

    return find


def _approaching_red(motion: Motion, limits: Limits) -> Iterable[Span]:
    view = motion.signal
    near = _drivers(motion) & (view.distance > 0.0) & (view.distance <= limits["distance"])
    near &= motion.speed >= limits["speed"]
    yield from states(motion, near & (view.state == LightState.RED), view.distance, pick=np.argmin)
    yield from unknown(near & (view.state == LightState.UNKNOWN), "the signal was not observed")


def _red_light_running(motion: Motion, limits: Limits) -> Iterable[Span]:
    graph = motion.graph
    for i in np.flatnonzero(_drivers(motion).any(axis=1)).tolist():
        for crossing in [*_crossings(motion, i, limits), *_unseen(motion, i, limits)]:
            before, by, t = crossing.before, crossing.by, crossing.seen
            hidden = by - before > 1  # it crossed out of sight: what was shown all that while?
            at = t if crossing.last_seen is None else crossing.last_seen
            if motion.speed[i, at] < limits["speed"]:
                continue
            beyond = limits["beyond"] + crossing.to_go
            went_on = _cleared(motion, i, at, t, beyond, limits["brakes"])
            if not went_on and motion.speed[i, motion.last_seen[i]] < limits["speed"]:
                continue
            ways = {k for lane in crossing.lanes for k in (lane, *graph.successors[lane])}
            if crossing.last_seen is None:
                ways &= set(motion.lane[i, t:].tolist())
            right = [k for k in ways if graph.turn[k] < -TURN_LANE]
            turns = Truth.FALSE
            if right:
                turns = _bears_right(motion, i, crossing.course, at, t, right)
            if turns == Truth.TRUE:
                continue  # Right on red is allowed in much of the world.
            begin = before if hidden else max(by - steps_of(limits["red_for"]), 0)
            shown = _shown(motion, crossing.lanes, begin, by)
            always_red = crossing.certain and bool((shown == LightState.RED).all())
            perhaps = bool(np.isin(shown, (LightState.UNKNOWN, LightState.RED)).any())
            unsure = (
                hidden
                or not crossing.certain
                or crossing.last_seen is not None
                or bool((shown == LightState.UNKNOWN).any())
            )
            if not always_red and not (perhaps and unsure):
                continue
            ran = always_red and went_on and turns == Truth.FALSE
            reason = {"reason": NOT_OBSERVED if not always_red else NOT_FOLLOWED}
            yield Span(
                begin=max(before - steps_of(0.5) + 1, 0),
                end=min(by + steps_of(0.5), motion.steps - 1),
                actor=i,
                lane=crossing.lanes[0],
                value=float(motion.speed[i, at]),
                truth=Truth.TRUE if ran else Truth.UNKNOWN,
                evidence={"cross_step": by} if ran else reason,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crossing:
    """How an agent's front passed a stop line.

    Attributes:
        before: A step at which it has not passed yet.
        by: A step by which it has passed.
        seen: The first step at which it is seen again.
        lanes: Controlled lanes that it may have entered; one if that is known.
        last_seen: When it was lost, if that was long before; None if it was seen on either side.
        to_go: From its front to the line then [m].
        course: Which way it went at the line, or where it was seen nearest to it [rad].
        certain: Whether it has passed the line between those steps; else earlier, maybe, and waited,
            or not this one.
    """

    before: int
    by: int
    seen: int
    lanes: tuple[int, ...]
    course: float
    last_seen: int | None = None
    to_go: float = 0.0
    certain: bool = True


def _crossings(motion: Motion, i: int, limits: Limits) -> Iterable[_Crossing]:
    """Where an agent was seen before and after a stop line, or just after it."""
    view = motion.signal
    known = np.flatnonzero(np.isfinite(view.distance[i]))
    if len(known) and int(known[0]) == motion.first_seen[i] > 0:
        yield from _just_past(motion, i, int(known[0]), limits)
    ahead = view.distance[i, known] > 0.0
    passes = ahead[:-1] & ~ahead[1:] & (np.diff(known) <= steps_of(limits["gap"]))
    for k in np.flatnonzero(passes).tolist():
        before, after = int(known[k]), int(known[k + 1])
        if int(view.lane[i, after]) in _same_stop(motion, int(view.lane[i, before])):
            yield _Crossing(
                before=before,
                by=after,
                seen=after,
                lanes=(_entered(motion, i, after),),
                course=float(motion.heading[i, after]),
            )


def _just_past(motion: Motion, i: int, first: int, limits: Limits) -> Iterable[_Crossing]:
    """Where an agent passed the line that comes into sight beyond it, by D and at speed v.

    What it is seen to gain by, for a second or while it is in sight, it gained by before: at most by b,
    that and {gains} more. So it passed the line 2 D / (v + √(v² − 2 b D)) ago at the earliest. If v² ≤ 2 b D
    it may have stood at the line, or in the intersection, and nobody knows since when. Who turns may have
    waited for others in any case, and set off as hard as anyone can; who goes straight on has not.
    Where ways from several stops become one, it is not known at which of them it was.
    """
    past, speed = -float(motion.signal.distance[i, first]), float(motion.speed[i, first])
    if past < 0.0 or speed < limits["fast"]:
        return
    sight = motion.seen[i, first : first + steps_of(1.0) + 1]
    later = first + int(np.logical_and.accumulate(sight).sum()) - 1
    watched = later - first >= steps_of(0.5)
    gained = float(motion.speed[i, later] - speed) / max((later - first) * DT, DT)
    most = max(gained, 0.0) + limits["gains"]
    lane, here = _entered(motion, i, first), int(motion.lane[i, first])
    if max(abs(motion.graph.turn[lane]), abs(motion.graph.turn[here])) > TURN_LANE:
        most = limits["accelerates"]
    left = speed**2 - 2.0 * most * past
    moving = watched and left > 0.0 and not _merged(motion, i, first)
    earliest = first - int(np.ceil(2.0 * past / (speed + np.sqrt(max(left, 0.0))) / DT)) - 1
    yield _Crossing(
        before=max(earliest, 0),
        by=first,
        seen=first,
        lanes=(lane,),
        course=_course_at_stop(motion, lane),
        certain=moving and earliest >= 0,
    )


def _merged(motion: Motion, i: int, t: int) -> bool:
    """Whether an agent may as well have come along another way, from another stop, that joins its own."""
    graph, here = motion.graph, int(motion.lane[i, t])
    joined = {k for after in graph.successors[here] for k in graph.predecessors[after]}
    others = sorted(joined - {here, *_same_stop(motion, int(motion.signal.lane[i, t]))})
    if not others:
        return False
    lines = [graph.lanes[k].points for k in others]
    where = np.repeat(motion.xy[i, t][None], len(others), axis=0)
    _, aside, course = project_each(where, np.arange(len(others)), lines)
    askew = np.abs(wrap(motion.heading[i, t] - course))
    return bool(((np.abs(aside) <= HALF_WIDTH_M) & (askew <= ALONG)).any())


def _course_at_stop(motion: Motion, lane: int) -> float:
    """Which way those drive who pass the stop line of a lane [rad]."""
    course = headings(motion.graph.lanes[lane].points)
    return float(course[0] if motion.graph.in_intersection[lane] else course[-1])


def _unseen(motion: Motion, i: int, limits: Limits) -> Iterable[_Crossing]:
    """Where an agent passed a stop line that it was lost before for longer.

    From speed v₀ and distance d before the line to speed v₁ and D on, T later, it passes the line

    - no earlier than it does if it accelerates as hard as anyone can: d = v₀ t + a t² / 2,
    - no later than leaves it the time for the rest: D − d = v₁ τ + b τ² / 2 with τ = T − t,
    - and, if it could not have stopped any more, no later than braking: d = v₀ t − b t² / 2.

    D is at least the straight line between the two places.
    """
    view, hardest, eagerest = motion.signal, limits["brakes"], limits["accelerates"]
    seen = np.flatnonzero(motion.seen[i])
    for k in np.flatnonzero(np.diff(seen) > steps_of(limits["gap"])).tolist():
        before, again = int(seen[k]), int(seen[k + 1])
        to_go, speed = float(view.distance[i, before]), float(motion.speed[i, before])
        if not 0.0 < to_go < np.inf:
            continue
        rest = float(np.hypot(*(motion.xy[i, again] - motion.xy[i, before]))) - to_go
        if rest < 0.0:
            continue
        first = _time_to_go(to_go, speed, eagerest)
        last = (again - before) * DT - _time_to_go(rest, float(motion.speed[i, again]), hardest)
        left = speed**2 - 2.0 * hardest * to_go
        if left > 0.0:
            last = min(last, (speed - np.sqrt(left)) / hardest)
        yield _Crossing(
            before=before + int(first / DT),
            by=min(before + max(steps_of(last), int(first / DT) + 1), again),
            seen=again,
            last_seen=before,
            lanes=tuple(_same_stop(motion, int(view.lane[i, before]))),
            course=float(motion.heading[i, before]),
            to_go=to_go,
        )


def _time_to_go(way: float, speed: float, acceleration: float) -> float:
    """The least time for a way, from a speed on [s]."""
    return float((np.sqrt(speed**2 + 2.0 * acceleration * way) - speed) / acceleration)


def _same_stop(motion: Motion, lane: int) -> list[int]:
    """A controlled lane and those that fan out with it from the same place, controlled as well."""
    graph = motion.graph
    beside = {k for before in graph.predecessors[lane] for k in graph.successors[before]}
    return [lane, *sorted(beside.intersection(motion.controlled) - {lane})]


def _entered(motion: Motion, i: int, t: int) -> int:
    """The controlled lane that an agent takes that passed its stop line by step t.

    Noise decides which of the lanes that fan out there its first metres are matched to; it is told
    by those that follow.
    """
    after = motion.lane[i, t : t + steps_of(TURNS_WITHIN_S)]
    lanes = _same_stop(motion, int(motion.signal.lane[i, t]))
    return max(lanes, key=lambda k: int(np.isin(after, [k, *motion.graph.successors[k]]).sum()))


def _cleared(motion: Motion, i: int, since: int, t: int, beyond: float, hardest: float) -> bool:
    """Whether the agent, seen again at t, gets that far from where it was [m].

    Where it is last seen, at the end of the scene or out of sight, it goes on by v² / 2b at least.
    """
    steps = np.flatnonzero(motion.seen[i, t:]) + t
    way = np.hypot(*(motion.xy[i, steps] - motion.xy[i, since]).T)
    yet = float(motion.speed[i, steps[-1]]) ** 2 / (2.0 * hardest)
    return bool((way >= beyond).any() or way[-1] + yet >= beyond)


def _bears_right(
    motion: Motion, i: int, course: float, since: int, t: int, lanes: Sequence[int]
) -> Truth:
    """Whether an agent that may be on lanes to the right turns right from a course; unknown if it may yet.

    Where lanes fan out from one stop, noise decides which of them its first metres are matched to. Who is
    faster than anybody takes those bends does not turn.
    """
    span = np.arange(t, min(t + steps_of(TURNS_WITHIN_S), motion.steps))
    span = span[motion.seen[i, span]]
    turned = wrap(motion.heading[i, span] - course)
    if turned.min() <= -BEARS_RIGHT:
        return Truth.TRUE
    way = float(np.hypot(*(motion.xy[i, span[-1]] - motion.xy[i, since])))
    widest = max(motion.graph.length[k] / -motion.graph.turn[k] for k in lanes)
    slow = motion.speed[i, span[-1]] ** 2 <= ACROSS_AT_MOST * widest
    return Truth.UNKNOWN if way < STRAIGHT_ON_M and slow else Truth.FALSE


def _shown(
    motion: Motion, lanes: Sequence[int], begin: int, end: int
) -> Int[Array, "signals steps"]:
    signals = motion.scene.signals
    rows = np.isin(motion.controlled, lanes)
    return signals.state[rows, begin : end + 1].astype(np.int64)


def _stationary_at_light(motion: Motion, limits: Limits) -> Iterable[Span]:
    view = motion.signal
    waits = _drivers(motion) & standing(motion) & (view.distance > -2.0)
    waits &= view.distance <= limits["distance"]
    led = np.full(motion.seen.shape, 0.0)
    leads = motion.leads
    for row, i in enumerate(leads.a.tolist()):
        led[i] = np.maximum(led[i], leads.on[row] & (leads.gap[row] < view.distance[i]))
    shows = (view.state == LightState.RED) | (view.state == LightState.YELLOW)
    evidence = {"with_lead": led}
    yield from states(motion, waits & shows, view.distance, pick=np.argmin, evidence=evidence)
    yield from unknown(waits & (view.state == LightState.UNKNOWN), "the signal was not observed")


def _dilemma_yellow(motion: Motion, limits: Limits) -> Iterable[Span]:
    view = motion.signal
    seconds = view.distance / np.maximum(motion.speed, 0.1)
    near = _drivers(motion) & (view.distance > 0.0) & (motion.speed > 2.0)
    near &= (seconds >= limits["from"]) & (seconds <= limits["to"])
    yellow = near & (view.state == LightState.YELLOW)
    return states(motion, yellow, seconds, pick=np.argmin, least_s=0.2)


def _protected_turn(motion: Motion, limits: Limits) -> Iterable[Span]:
    return _turns_at_light(motion, limits, protected=True)


def _unprotected_turn(motion: Motion, limits: Limits) -> Iterable[Span]:
    return _turns_at_light(motion, limits, protected=False)


def _turns_at_light(motion: Motion, limits: Limits, *, protected: bool) -> Iterable[Span]:
    graph = motion.graph
    lane = np.maximum(motion.lane, 0)
    bend = np.abs(np.degrees(graph.turn[lane]))
    turning = _drivers(motion) & motion.on_lane & graph.in_intersection[lane]
    turning &= (bend >= limits["angle"]) & (np.abs(motion.heading_error) < np.pi / 3)
    rows = {lane: row for row, lane in enumerate(motion.controlled)}
    for i, begin, end in spells(turning):
        own = int(motion.lane[i, begin : end + 1][turning[i, begin : end + 1]][0])
        state = _state_of(motion, own, rows, begin)
        if state is None:
            verdict = Truth.TRUE if not protected else Truth.FALSE
        elif state == LightState.UNKNOWN:
            verdict = Truth.UNKNOWN
        else:
            verdict = _is_protected(motion, own, rows, begin, state)
            if not protected and verdict != Truth.UNKNOWN:
                verdict = Truth.FALSE if verdict == Truth.TRUE else Truth.TRUE
            if state == LightState.RED and graph.turn[own] > 0:
                verdict = Truth.FALSE
        if verdict == Truth.FALSE or motion.speed[i, begin : end + 1].max() < 1.0:
            continue
        known = verdict == Truth.TRUE
        yield Span(
            begin=begin,
            end=end,
            actor=i,
            lane=own,
            value=float(np.degrees(graph.turn[own])),
            truth=verdict,
            evidence={} if known else {"reason": "a signal of the turn was not observed"},
        )


def _state_of(motion: Motion, lane: int, rows: dict[int, int], step: int) -> LightState | None:
    """What is shown to a lane or the lane before it; None if no signal controls either."""
    for candidate in (lane, *motion.graph.predecessors[lane]):
        if candidate in rows:
            return LightState(int(motion.scene.signals.state[rows[candidate], step]))
    return None


def _is_protected(
    motion: Motion, lane: int, rows: dict[int, int], step: int, state: LightState
) -> Truth:
    """Green, while every lane that crosses the turn is held by its own signal."""
    if state != LightState.GREEN:
        return Truth.FALSE
    against = [k for k in motion.graph.crossings[lane] if abs(motion.graph.turn[k]) < TURN_LANE]
    shown = [_state_of(motion, k, rows, step) for k in against]
    if any(s in (LightState.GREEN, LightState.YELLOW, None) for s in shown):
        return Truth.FALSE
    if any(s == LightState.UNKNOWN for s in shown):
        return Truth.UNKNOWN
    return Truth.TRUE


def _relevant_signal(state: LightState) -> Predicate:
    """A signal that concerns an agent and shows one thing."""
    shows = "dark" if state == LightState.OFF else state.word
    return Predicate(
        name=f"relevant_{state.word}",
        group=GROUP,
        doc=f"The signal ahead on the actor's way, at most 80 m off, is {shows}; value: least "
        "distance to where to stop for it.",
        formula=f"signal = {state.word} ∧ 0 < q ≤ {{distance}}",
        find=_relevant(state),
        unit="m",
        parameters=(Parameter("distance", SIGNAL_M, "m", "own"),),
        needs=("map", "signals"),
        only=(DRIVING,),
    )


RELEVANT_GREEN = _relevant_signal(LightState.GREEN)
RELEVANT_YELLOW = _relevant_signal(LightState.YELLOW)
RELEVANT_RED = _relevant_signal(LightState.RED)
RELEVANT_OFF = _relevant_signal(LightState.OFF)
APPROACHING_RED = Predicate(
    name="approaching_red",
    group=GROUP,
    doc="Moves towards a red signal on its way.",
    formula="signal = red ∧ 0 < q ≤ {distance} ∧ v ≥ {speed}",
    find=_approaching_red,
    unit="m",
    parameters=(
        Parameter("distance", 50.0, "m", "own"),
        Parameter("speed", 0.5, "m/s", "RefAV has_velocity"),
    ),
    needs=("map", "signals"),
    only=(DRIVING,),
)
RED_LIGHT_RUNNING = Predicate(
    name="red_light_running",
    group=GROUP,
    doc="Crosses the stop line while its signal is red, and drives on; who turns right is left out. "
    "Out of sight, if it was red all the time in which the line can have been crossed. Who is lost before it "
    "has driven on, or may yet turn right, is unknown.",
    formula="q(t0) > 0 ≥ q(t1), unseen for ≤ {gap} between; signal = red on [t1 − "
    "{red_for}, t1]; v(t1) ≥ {speed} ∧ max |xy − xy(t1)|, or at the last + v² / (2 {brakes}), ≥ {beyond}, no "
    "right turn; unseen for longer: red whenever q = 0 was possible with −{brakes} "
    "≤ a ≤ {accelerates}; first seen ≤ 45 m past the line, at v ≥ {fast}: with a ≤ max((v(t1 + 1 s) − v(t1)) / 1 s, 0) + {gains}, "
    "≤ {accelerates} in a bend",
    find=_red_light_running,
    unit="m/s",
    parameters=(
        Parameter("speed", 3.0, "m/s", "own: who creeps off early is another matter"),
        Parameter("red_for", 0.3, "s", "own: the signal has been red for so long"),
        Parameter("beyond", 5.0, "m", "own: how far it drives on"),
        Parameter("gap", 2.0, "s", "own: longest time out of sight at the line"),
        Parameter("brakes", 8.0, "m/s²", "RSS: out of sight nobody brakes harder"),
        Parameter("accelerates", 4.0, "m/s²", "own: nor accelerates harder"),
        Parameter("fast", 5.0, "m/s", "own: whom nobody sees pass the line may have crept off"),
        Parameter(
            "gains", 1.0, "m/s²", "own: nor by so much harder than when it comes into sight"
        ),
    ),
    needs=("map", "signals"),
    only=(DRIVING,),
    version=7,
)
STATIONARY_AT_LIGHT = Predicate(
    name="stationary_at_light",
    group=GROUP,
    doc="Stands before a red or yellow signal, first in line or behind a leader.",
    formula="stopped ∧ −2 m < q ≤ {distance} ∧ signal ∈ {{red, yellow}}",
    find=_stationary_at_light,
    unit="m",
    parameters=(Parameter("distance", 30.0, "m", "own"),),
    needs=("map", "signals"),
    only=(DRIVING,),
)
DILEMMA_YELLOW = Predicate(
    name="dilemma_yellow",
    group=GROUP,
    doc="The signal is yellow and the stop line 2.5 to 5.5 s away: stopping is as hard as going.",
    formula="signal = yellow ∧ {from} ≤ q / v ≤ {to} ∧ v > 2 m/s, T ≥ 0.2 s",
    find=_dilemma_yellow,
    unit="s",
    parameters=(
        Parameter("from", 2.5, "s", "Zegeer and Deen 1978"),
        Parameter("to", 5.5, "s", "Zegeer and Deen 1978"),
    ),
    needs=("map", "signals"),
    only=(DRIVING,),
)
PROTECTED_TURN = Predicate(
    name="protected_turn",
    group=GROUP,
    doc="Turns through an intersection on green while every crossing way is held by red.",
    formula="|bend of the intersection's lane| ≥ {angle} ∧ signal = green ∧ every lane "
    "straight across it is held by a signal neither green nor yellow, at begin; "
    "max v ≥ 1 m/s",
    find=_protected_turn,
    unit="°",
    parameters=(Parameter("angle", 45.0, "°", "RefAV turning"),),
    needs=("map", "signals"),
)
UNPROTECTED_TURN = Predicate(
    name="unprotected_turn",
    group=GROUP,
    doc="Turns through an intersection without a signal, or while a crossing way may go too.",
    formula="|bend of the intersection's lane| ≥ {angle} ∧ (no signal ∨ ¬protected_turn) ∧ "
    "¬(left on red), at begin; max v ≥ 1 m/s",
    find=_unprotected_turn,
    unit="°",
    parameters=PROTECTED_TURN.parameters,
    needs=("map", "signals"),
)
