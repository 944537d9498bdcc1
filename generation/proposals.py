"""Rule-made beginnings: who does it, and how it might go, for every behaviour asked for.

A proposal is the parent scene with one agent's future rewritten by rule (or one agent added where
the scene has none that could do it). It need not be smooth or polite: partial diffusion noises it
to γ·K and the denoiser makes it traffic again, while the guidance keeps what it was made for
(SAFE-SIM 2401.00391, section 3.3). Each draw of the random generator is another variation.

Aggressiveness runs from 0 (just enough to count) to 1 (as hard as physics and taste allow).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from generation.features import HORIZON
from generation.roads import Roads, Way, ego_way
from geometry.angles import wrap
from geometry.arrays import Array
from geometry.boxes import overlap
from geometry.polylines import arc_length, headings
from schemas.labels import VEHICLES, AgentClass, LightState, MapLayer
from schemas.scene import DT, Scene, Tracks

CAR = (4.7, 1.9, 1.6)
WALKER = (0.5, 0.6, 1.75)
EGO_REACH_M = 2.5  # [m] from the ego's centre to its bumper, about
TIME = DT * np.arange(HORIZON + 1)  # [s] of a proposal's steps; 0 is now


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A parent scene at the step where its future is to be rewritten.

    Attributes:
        scene: The parent.
        start: Step that counts as now.
        roads: Of its map.
        way: Of the ego.
        ego_s: Where the ego is on its way, now and at every later step [m].
        ego_v: Its speed [m/s].
    """

    scene: Scene
    start: int
    roads: Roads
    way: Way
    ego_s: Float[Array, " steps"]
    ego_v: Float[Array, " steps"]

    @classmethod
    def of(cls, scene: Scene, start: int) -> Stage:
        """Read the ego's way off the scene; the ego must be observed at the start."""
        roads = Roads(scene.map)
        way = ego_way(scene, roads)
        last = min(start + HORIZON, scene.steps - 1)
        steps = np.arange(start, last + 1)
        known = scene.tracks.valid[0, steps]
        s, _ = way.project(scene.tracks.xy[0, steps[known]])
        s = np.maximum.accumulate(s)
        full = np.interp(TIME, TIME[: len(steps)][known], s)
        v = np.gradient(full, DT)
        beyond = TIME[: len(steps)][known][-1] < TIME
        if beyond.any():  # after the log ends the ego is taken to keep its speed
            final = float(v[~beyond][-1])
            full[beyond] = s[-1] + final * (TIME[beyond] - TIME[~beyond][-1])
            v[beyond] = final
        return cls(scene, start, roads, way, full, np.maximum(v, 0.0))

    def ego_at(self, t: float) -> float:
        """Where the ego is on its way at a time [m]."""
        return float(np.interp(t, TIME, self.ego_s))

    def frenet(self, row: int) -> tuple[float, float, float, float]:
        """Distance ahead of the ego s − s_ego, d, heading against the way, and speed of an agent now."""
        tracks = self.scene.tracks
        s, d = self.way.project(tracks.xy[row, self.start][None])
        way_yaw = self.way.heading(s)[0]
        turn = _turn(tracks.yaw[row, self.start], way_yaw)
        return (
            float(s[0] - self.ego_s[0]), float(d[0]), turn, float(tracks.speed[row, self.start])
        )  # fmt: skip

    def others(self, classes: frozenset[AgentClass]) -> list[int]:
        """Rows of agents beside the ego that are seen now, of some classes."""
        tracks = self.scene.tracks
        there = tracks.valid[:, self.start] & np.isin(tracks.cls, [int(c) for c in classes])
        return [int(row) for row in np.flatnonzero(there) if row != 0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Proposal:
    """A scene that shows roughly what was asked for.

    Attributes:
        scene: The parent with the actor's future rewritten, or with the actor added.
        actor: Its row.
        added: Whether it was not there before.
        yielded: Rows of those who brake for it, and for each other.
        numbers: What was drawn: times, gaps, speeds; the guidance aims at them.
    """

    scene: Scene
    actor: int
    added: bool
    yielded: tuple[int, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)


Propose = Callable[[Stage, np.random.Generator, float], Proposal | None]
"""A proposal for a stage, or None where this draw (or this scene) does not allow one."""


def cut_in(stage: Stage, random: np.random.Generator, aggressiveness: float) -> Proposal | None:
    """A vehicle beside the ego's lane comes over into it, close ahead of the ego."""
    begin = random.uniform(0.4, 1.6)
    by = begin + _mix(3.6, 2.2, aggressiveness) * random.uniform(0.9, 1.1)
    speed_then = float(np.interp(by, TIME, stage.ego_v))
    if stage.ego_v.mean() < 3.0 or speed_then < 2.0:
        return None
    gap = max(_mix(16.0, 5.0, aggressiveness) * random.uniform(0.8, 1.3), 0.35 * speed_then)
    target = stage.ego_at(by) + gap + EGO_REACH_M + CAR[0] / 2.0
    slower = _mix(0.98, 0.75, aggressiveness) * random.uniform(0.95, 1.05)
    row, s0, d0, v0 = -1, 0.0, 0.0, 0.0
    for candidate in _shuffled(stage.others(VEHICLES), random):
        ahead, d, turn, v = stage.frenet(candidate)
        beside = 2.3 < abs(d) < 5.5 and -8.0 < ahead < 35.0 and abs(turn) < 0.35 and v > 2.5
        push = 2.0 * (target - (stage.ego_s[0] + ahead) - v * by) / by**2
        if beside and -3.5 < push < 2.5:
            row, s0, d0, v0 = candidate, stage.ego_s[0] + ahead, d, v
            break
    if row < 0:
        side = 1.0 if random.random() < 0.5 else -1.0
        lateral = next((d for d in (_beside(stage, side), _beside(stage, -side)) if d), None)
        if lateral is None:
            return None
        d0, v0 = lateral, speed_then * random.uniform(0.95, 1.15)
        s0 = target - v0 * by
        if not -12.0 < s0 - stage.ego_s[0] < 60.0:
            return None
    push = 2.0 * (target - s0 - v0 * by) / by**2
    acceleration = np.where(by > TIME, push, 0.0)
    then = max(v0 + push * by, 0.5)
    easing = np.clip((slower * speed_then - then) / 1.0, -1.5, 1.5)
    acceleration = np.where((by <= TIME) & (by + 1.0 > TIME), easing, acceleration)
    s, _ = _drive(s0, v0, acceleration)
    path = _along(stage.way, s, d0 * (1.0 - _blend((TIME - begin) / (by - begin))))
    numbers = {"by": by, "gap": gap, "begin": begin}
    return _staged(stage, row, AgentClass.VEHICLE, CAR, path, v0, numbers)


def hard_brake(
    stage: Stage, random: np.random.Generator, aggressiveness: float
) -> Proposal | None:
    """The vehicle ahead of the ego brakes hard."""
    begin = random.uniform(0.4, 2.4)
    rate = _mix(5.2, 7.5, aggressiveness) * random.uniform(0.95, 1.1)
    row, s0, d0, v0 = _lead(stage, least_speed=5.0, within=55.0)
    if row < 0:
        v0 = float(stage.ego_v[0])
        if v0 < 5.0:
            return None
        headway = _mix(2.2, 1.1, aggressiveness) * random.uniform(0.9, 1.2)
        s0 = stage.ego_s[0] + EGO_REACH_M + CAR[0] / 2.0 + max(v0 * headway, 7.0)
        d0 = 0.0
    floor = v0 * _mix(0.45, 0.0, aggressiveness) * random.uniform(0.5, 1.0)
    acceleration = np.where(begin <= TIME, -rate, 0.0)
    s, _ = _drive(s0, v0, acceleration, floor=floor)
    path = _along(stage.way, s, np.full_like(s, d0))
    numbers = {"begin": begin, "rate": rate, "floor": floor}
    return _staged(stage, row, AgentClass.VEHICLE, CAR, path, v0, numbers)


def stalled(stage: Stage, random: np.random.Generator, aggressiveness: float) -> Proposal | None:
    """A vehicle stands in the ego's lane; whoever drives ahead of the ego has to stop for it.

    Else it stands where the ego brakes or waits in the log, so that the log is a fair answer, or
    anywhere ahead.
    """
    drives = float(stage.ego_s[-1] - stage.ego_s[0])
    _, lead_s, _, lead_v = _lead(stage, least_speed=3.0, within=60.0)
    slows = (np.gradient(stage.ego_v, DT) <= -1.0) | (stage.ego_v <= 1.8)
    slows[:8] = slows[-4:] = False
    if lead_v > 0.0 and drives > 10.0:
        rate = _mix(1.6, 4.0, aggressiveness) * random.uniform(0.85, 1.15)
        s0 = lead_s + 0.5 * lead_v + lead_v**2 / (2.0 * rate) + EGO_REACH_M + 2.2
    elif slows.any():
        step = int(random.choice(np.flatnonzero(slows)))
        s0 = stage.ego_s[step] + _mix(22.0, 9.0, aggressiveness) * random.uniform(0.8, 1.2)
        s0 = max(s0, float(stage.ego_s[-1]) + 1.5, _last_in_path(stage) + 3.0) + EGO_REACH_M
    elif drives < 12.0:
        return None
    else:
        share = _mix(0.95, 0.6, aggressiveness) * random.uniform(0.85, 1.15)
        s0 = stage.ego_s[0] + max(drives * share, 12.0) + EGO_REACH_M
    s0 += CAR[0] / 2.0
    d0 = random.choice([-1.0, 1.0]) * _mix(0.6, 0.1, aggressiveness) * random.uniform(0.0, 1.0)
    path = _along(stage.way, np.full(HORIZON + 1, s0), np.full(HORIZON + 1, d0))
    return _staged(stage, -1, AgentClass.VEHICLE, CAR, path, 0.0, {"begin": 0.0})


def tailgating(
    stage: Stage, random: np.random.Generator, aggressiveness: float
) -> Proposal | None:
    """A vehicle follows the ego far too closely."""
    if stage.ego_v.mean() < 3.5:
        return None
    headway = _mix(0.55, 0.3, aggressiveness) * random.uniform(0.9, 1.1)
    gap = np.maximum(headway * stage.ego_v, 2.5)
    gap = np.convolve(np.pad(gap, 10, mode="edge"), np.ones(21) / 21, mode="valid")
    s = stage.ego_s - EGO_REACH_M - CAR[0] / 2.0 - gap
    speed = float(stage.ego_v[0])
    path = _along(stage.way, np.maximum.accumulate(s), np.zeros(HORIZON + 1))
    return _staged(
        stage, -1, AgentClass.VEHICLE, CAR, path, speed, {"speed": float(stage.ego_v.mean())}
    )


def overtake(stage: Stage, random: np.random.Generator, aggressiveness: float) -> Proposal | None:
    """A vehicle comes from behind, passes the ego on a lane beside, and is back ahead of it."""
    if not 3.0 < stage.ego_v.mean() < 16.0 or stage.ego_v.min() < 1.5:
        return None
    lateral = _beside(stage, 1.0) or _beside(stage, -1.0)
    if lateral is None:
        return None
    behind = _mix(10.0, 7.5, aggressiveness) * random.uniform(0.9, 1.1)
    ahead = _mix(11.0, 7.5, aggressiveness) * random.uniform(0.9, 1.1)
    out, back = random.uniform(1.6, 2.2), random.uniform(6.8, 7.4)
    relative = -behind + (behind + ahead) * TIME / back
    d = lateral * (_blend((TIME - 0.2) / (out - 0.2)) - _blend((TIME - (back - 1.8)) / 1.8))
    s = stage.ego_s + relative
    speed = float(stage.ego_v[0] + (behind + ahead) / back)
    path = _along(stage.way, s, d)
    return _staged(stage, -1, AgentClass.VEHICLE, CAR, path, speed, {"begin": 0.2})


def swerve(stage: Stage, random: np.random.Generator, aggressiveness: float) -> Proposal | None:
    """The vehicle ahead of the ego darts to one side of its lane and back."""
    row, s0, d0, v0 = _lead(stage, least_speed=4.0, within=60.0)
    if row < 0:
        v0 = float(stage.ego_v.mean())
        if v0 < 4.0:
            return None
        s0 = stage.ego_s[0] + EGO_REACH_M + CAR[0] / 2.0 + max(1.5 * v0, 8.0)
        d0 = 0.0
    begin, reach = random.uniform(0.6, 3.5), _mix(1.15, 1.4, aggressiveness)
    side = random.choice([-1.0, 1.0])
    d = d0 + side * reach * (_blend((TIME - begin) / 1.6) - _blend((TIME - begin - 1.7) / 1.6))
    s, _ = _drive(s0, v0, np.zeros_like(TIME))
    path = _along(stage.way, s, d)
    return _staged(stage, row, AgentClass.VEHICLE, CAR, path, v0, {"speed": v0})


def jaywalking(
    stage: Stage, random: np.random.Generator, aggressiveness: float
) -> Proposal | None:
    """A pedestrian walks across the ego's way where there is no crosswalk."""
    return _walk(stage, random, aggressiveness, _mix(1.8, 0.6, aggressiveness), avoid=True)


def pedestrian_crossing(
    stage: Stage, random: np.random.Generator, aggressiveness: float
) -> Proposal | None:
    """A pedestrian walks across the ego's way, anywhere."""
    return _walk(stage, random, aggressiveness, _mix(1.8, 0.6, aggressiveness), avoid=False)


def near_miss(stage: Stage, random: np.random.Generator, aggressiveness: float) -> Proposal | None:
    """A pedestrian leaves the ego's way less than a second before the ego is there."""
    return _walk(
        stage, random, 0.5 + aggressiveness / 2, _mix(0.75, 0.35, aggressiveness), avoid=False
    )


def waiting_for_pedestrian(
    stage: Stage, random: np.random.Generator, aggressiveness: float
) -> Proposal | None:
    """A pedestrian walks across just ahead of the ego while it stands."""
    stands = stage.ego_v < 0.7
    stands[:10] = stands[-15:] = False
    if not stands.any():
        return None
    at = float(TIME[int(random.choice(np.flatnonzero(stands)))])
    place_s = stage.ego_at(at) + EGO_REACH_M + random.uniform(1.5, 4.5)
    speed = _mix(1.1, 1.8, aggressiveness) * random.uniform(0.9, 1.1)
    return _walked(stage, -1, place_s, at, speed, random.choice([-1.0, 1.0]) * 6.0, 0.0)


def turn_across(
    stage: Stage, random: np.random.Generator, aggressiveness: float
) -> Proposal | None:
    """An oncoming vehicle turns left across the ego's way."""
    return _crossing(stage, random, aggressiveness, turning=True)


def crossing(stage: Stage, random: np.random.Generator, aggressiveness: float) -> Proposal | None:
    """A vehicle on a lane that crosses the ego's way passes shortly before or after it."""
    return _crossing(stage, random, aggressiveness, turning=False)


def wrong_way(stage: Stage, random: np.random.Generator, aggressiveness: float) -> Proposal | None:
    """A vehicle comes towards the ego, against the direction of a lane."""
    at = random.uniform(2.5, 5.5)
    speed = _mix(5.0, 11.0, aggressiveness) * random.uniform(0.85, 1.15)
    beside = [d for d in (_beside(stage, 1.0), _beside(stage, -1.0)) if d]
    head_on = random.random() < _mix(0.1, 0.7, aggressiveness) or not beside
    d0 = 0.0 if head_on else float(random.choice(np.array(beside)))
    if head_on:  # it gives the ego half a lane at last, so that there is a way out
        side = random.choice([-1.0, 1.0]) * random.uniform(0.4, 1.2)
        d = d0 + side * _blend((TIME - 0.5) / 2.0)
    else:
        d = np.full(HORIZON + 1, d0)
    s0 = stage.ego_at(at) + speed * at + 4.0
    s = s0 - speed * TIME
    path = _along(stage.way, s, d)
    path[:, 2] = wrap(stage.way.heading(s) + np.pi)
    numbers = {"speed": speed, "at": at}
    return _staged(stage, -1, AgentClass.VEHICLE, CAR, path, speed, numbers)


def red_light(stage: Stage, random: np.random.Generator, aggressiveness: float) -> Proposal | None:
    """A vehicle does not stop at its red light."""
    signals, start = stage.scene.signals, stage.start
    last = min(start + HORIZON, stage.scene.steps - 1)
    own = stage.roads.lane_at(
        stage.scene.tracks.xy[0, start], float(stage.scene.tracks.yaw[0, start])
    )
    red = []
    for lane, state in zip(signals.lane.tolist(), signals.state, strict=True):
        span = np.flatnonzero(state[start : last + 1] == LightState.RED)
        if lane in stage.roads.lines and len(span) >= 20 and (own is None or lane != own[0]):
            red.append((lane, DT * float(span[0]), DT * float(span[-1])))
    if not red:
        return None
    lane, begin, end = red[int(random.integers(len(red)))]
    length = Way.through(stage.roads.lines[lane]).length
    # A controlled lane either ends at its stop line or crosses the junction from it on.
    inside = bool(stage.scene.map.features[lane].in_intersection)
    stop_s = 0.0 if inside else length
    index = signals.lane.tolist().index(lane)
    if signals.has_stop[index]:
        stop_s, _ = (
            float(v[0])
            for v in Way.through(stage.roads.lines[lane]).project(signals.stop_xy[index][None])
        )
    at = random.uniform(max(begin, 0.8) + 0.3, max(min(end - 0.3, 5.0), begin + 1.2))
    way = stage.roads.way(lane, min(stop_s, length))
    place, _ = way.project(stage.roads.lines[lane][-1 if not inside else 0][None])
    speed = _mix(6.0, 12.0, aggressiveness) * random.uniform(0.9, 1.1)
    s, _ = _drive(float(place[0]) - CAR[0] / 2.0 - speed * at, speed, np.zeros_like(TIME))
    path = _along(way, s, np.zeros_like(s))
    return _staged(
        stage, -1, AgentClass.VEHICLE, CAR, path, speed, {"speed": speed, "at": at}, way=way
    )


def _crossing(
    stage: Stage, random: np.random.Generator, aggressiveness: float, *, turning: bool
) -> Proposal | None:
    ways = [way for way in _crossings(stage) if not turning or way.oncoming_left]
    if not ways:
        return None
    chosen = ways[int(random.integers(len(ways)))]
    arrives = float(np.interp(chosen.ego_s, stage.ego_s, TIME))
    v0 = random.uniform(5.0, 7.0) if turning else random.uniform(6.0, 11.0)
    # Both lengths must pass before the one has left what the other enters.
    clears = (CAR[0] / 2.0 + 1.2) / v0 + EGO_REACH_M / max(float(stage.ego_v.mean()), 2.0)
    pet = clears + _mix(1.6, 0.4, aggressiveness) * random.uniform(0.8, 1.2)
    at = arrives - pet if random.random() < 0.6 else arrives + pet
    if not 1.2 < at < 7.6:
        return None
    way = stage.roads.way(chosen.lane, chosen.s)
    station, _ = way.project(chosen.place[None])
    s, _ = _drive(float(station[0]) - v0 * at, v0, np.zeros_like(TIME))
    path = _along(way, s, np.zeros_like(s))
    x, y = (float(v) for v in chosen.place)
    numbers = {"at": at, "x": x, "y": y, "speed": v0, "pet": pet}
    return _staged(stage, -1, AgentClass.VEHICLE, CAR, path, v0, numbers, way=way)


def _walk(
    stage: Stage, random: np.random.Generator, aggressiveness: float, margin: float, *, avoid: bool
) -> Proposal | None:
    """Across the ego's way, off it ``margin`` seconds before the ego's bumper is there."""
    arrives = random.uniform(2.6, 6.0)
    speed = _mix(1.2, 2.0, aggressiveness) * random.uniform(0.9, 1.1)
    place_s = stage.ego_at(arrives) + EGO_REACH_M
    if float(np.interp(arrives, TIME, stage.ego_v)) < 2.0:
        return None
    row, from_d = -1, random.choice([-1.0, 1.0]) * random.uniform(5.0, 8.0)
    for candidate in _shuffled(stage.others(frozenset({AgentClass.PEDESTRIAN})), random):
        ahead, d, _, _ = stage.frenet(candidate)
        if abs(stage.ego_s[0] + ahead - place_s) < 6.0 and 2.5 < abs(d) < 8.0:
            row, from_d, place_s = candidate, d, stage.ego_s[0] + ahead
            arrives = float(np.interp(place_s - EGO_REACH_M, stage.ego_s, TIME))
            break
    place = stage.way.pose(np.array([place_s]), np.zeros(1))[0]
    if avoid and _near_crosswalk(stage, place[:2], 4.0):
        return None
    at = arrives - 1.4 / speed - margin * random.uniform(0.8, 1.2)
    slant = random.uniform(-0.2, 0.2)
    return _walked(stage, row, place_s, at, speed, from_d, slant)


def _walked(
    stage: Stage, row: int, place_s: float, at: float, speed: float,
    from_d: float, slant: float,
) -> Proposal | None:  # fmt: skip
    """A walk that is on the ego's way at a station and a time, from one side to the other."""
    if at < 0.8:
        return None
    waits = at - abs(from_d) / speed
    if waits < 0.0:
        if row >= 0:
            return None
        from_d = float(np.sign(from_d)) * max(speed * at, 1.5)
        waits = 0.0
    walked = speed * np.clip(TIME - waits, 0.0, None)
    side = float(np.sign(from_d))
    d = from_d - side * walked
    s = place_s + slant * (walked - abs(from_d))  # straight across, a little along, as people walk
    base = float(stage.way.heading(np.array([place_s]))[0])
    cos, sin = np.cos(base), np.sin(base)
    place = stage.way.pose(np.array([place_s]), np.zeros(1))[0, :2]
    xy = place + np.stack([cos * (s - place_s) - sin * d, sin * (s - place_s) + cos * d], axis=-1)
    if row >= 0:
        xy += stage.scene.tracks.xy[row, stage.start] - xy[0]
    course = base - side * (np.pi / 2 - np.arctan(slant))
    yaw = np.full(HORIZON + 1, course)
    path = np.concatenate([xy, wrap(yaw)[:, None]], axis=1)
    numbers = {"at": at, "x": float(place[0]), "y": float(place[1]), "speed": speed}
    initial = 0.0 if waits > 0.0 else speed
    return _staged(
        stage, row, AgentClass.PEDESTRIAN, WALKER, path, initial, numbers, still=waits > 0.0
    )


def _staged(
    stage: Stage, row: int, cls: AgentClass, size: tuple[float, float, float], path: Array,
    speed: float, numbers: Mapping[str, float], *, way: Way | None = None, still: bool = False,
) -> Proposal | None:  # fmt: skip
    """The scene with a path (x, y, yaw from now on) given to an agent, new where ``row`` < 0.

    None where a new agent would stand in another one before the future begins, or off the map.
    """
    scene, start = stage.scene, stage.start
    tracks = scene.tracks
    last = min(start + HORIZON, scene.steps - 1)
    added = row < 0
    if added:
        row = len(tracks.cls)
        tracks = _with_row(tracks, cls, size)
    xy, yaw, z = tracks.xy.copy(), tracks.yaw.copy(), tracks.z.copy()
    velocity, valid = tracks.velocity.copy(), tracks.valid.copy()
    future = slice(start if added else start + 1, last + 1)
    told = path[(0 if added else 1) : last - start + 1]
    xy[row, future], yaw[row, future] = told[:, :2], told[:, 2]
    valid[row, future] = True
    if added:
        back = DT * np.arange(-start, 0)
        if still:
            past = np.repeat(path[:1], start, axis=0)
        elif cls == AgentClass.PEDESTRIAN:
            past = np.repeat(path[:1], start, axis=0)
            past[:, 0] += speed * back * np.cos(path[0, 2])
            past[:, 1] += speed * back * np.sin(path[0, 2])
        else:
            line = way or stage.way
            s, d = line.project(path[:1, :2])
            turned = abs(_turn(path[0, 2], line.heading(s)[0])) > np.pi / 2
            s_past = s[0] + (-1.0 if turned else 1.0) * speed * back
            past = line.pose(s_past, np.full(start, d[0]))
            past[:, 2] = wrap(past[:, 2] + (np.pi if turned else 0.0))
        xy[row, :start], yaw[row, :start] = past[:, :2], past[:, 2]
        valid[row, : last + 1] = True
        z[row] = tracks.z[0, start]
    span = np.flatnonzero(valid[row])
    velocity[row, span] = np.gradient(xy[row, span].astype(np.float64), DT, axis=0)
    tracks = replace(tracks, xy=xy, yaw=wrap(yaw), z=z, velocity=velocity, valid=valid)
    if added and not _stands_free(tracks, row, start):
        return None
    if added and cls in VEHICLES and stage.roads:
        here = stage.roads.index.match(
            xy[row, [0, start]].astype(np.float64), yaw[row, [0, start]].astype(np.float64),
            max_offset=2.5,
        )  # fmt: skip
        if not here.matched[1]:
            return None
    tracks, yielded = yielding(tracks, row, start)
    return Proposal(
        scene=replace(scene, tracks=tracks), actor=row, added=added, yielded=yielded,
        numbers=dict(numbers),
    )  # fmt: skip


def yielding(tracks: Tracks, actor: int, start: int) -> tuple[Tracks, tuple[int, ...]]:
    """Let those who would drive into the actor, or into who stops for it, brake on their own path.

    Each keeps its path and slows down evenly, after half a second of reaction, to stop 2 m before
    the place where it would touch; who cannot, braking at 6 m/s², keeps to its log. The ego is
    never changed.

    Returns:
        The tracks, and the rows that yield.
    """
    wheels = np.isin(tracks.cls, [int(c) for c in VEHICLES | {AgentClass.CYCLIST}])
    yielded: list[int] = []
    for obstacle in _grows(actor, yielded):
        boxes = tracks.boxes[:, start:].astype(np.float64)
        size = boxes[..., 3:].copy()
        boxes[..., 3:] += 0.4
        both = tracks.valid[:, start:] & tracks.valid[obstacle, start:]
        both &= np.linalg.norm(boxes[..., :2] - boxes[obstacle, :, :2], axis=-1) < 15.0
        for row in np.flatnonzero(both.any(axis=1) & wheels):
            if row in (0, actor, obstacle) or row in yielded:
                continue
            steps = np.flatnonzero(both[row])
            hit = steps[overlap(boxes[row, steps], boxes[obstacle, steps])]
            if not len(hit) or hit[0] < 3:
                continue
            # Who is driven into from behind need not yield.
            ahead = boxes[obstacle, hit[0], :2] - boxes[row, hit[0], :2]
            yaw = boxes[row, hit[0], 2]
            if ahead @ np.array([np.cos(yaw), np.sin(yaw)]) < size[row, 0, 0] / 4.0:
                continue
            slowed = _slowed(tracks, int(row), start, int(hit[0]))
            if slowed is not None:
                tracks = slowed
                yielded.append(int(row))
    return tracks, tuple(yielded)


def _grows(first: int, rest: list[int]) -> Iterator[int]:
    """The first, then whatever the list has come to hold meanwhile."""
    yield first
    done = 0
    while done < len(rest):
        done += 1
        yield rest[done - 1]


def _slowed(tracks: Tracks, row: int, start: int, touches: int) -> Tracks | None:
    """One agent's track, braked to stop 2 m before where it is at a step after the start."""
    last = start + int(np.flatnonzero(tracks.valid[row, start:])[-1])
    if not tracks.valid[row, start : last + 1].all():
        return None
    path = tracks.xy[row, start : last + 1].astype(np.float64)
    s = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    v0, reacts = float(tracks.speed[row, start]), 0.5
    room = s[min(touches, len(s) - 1)] - 2.0 - v0 * reacts
    if v0 < 0.5 or room < 0.5 or v0**2 / (2.0 * room) > 6.0:
        return None
    rate = v0**2 / (2.0 * room)
    time = DT * np.arange(len(s))
    slow, _ = _drive(0.0, v0, np.where(time >= reacts, -rate, 0.0))
    slow = np.minimum(slow, s)  # nobody hurries in order to brake
    rows_of_path = np.searchsorted(s, slow, side="right") - 1
    yaw = np.unwrap(tracks.yaw[row, start : last + 1].astype(np.float64))
    xy, heading = tracks.xy.copy(), tracks.yaw.copy()
    velocity = tracks.velocity.copy()
    spaced = np.maximum.accumulate(s + 1e-9 * np.arange(len(s)))
    for k in (0, 1):
        xy[row, start : last + 1, k] = np.interp(slow, spaced, path[:, k])
    heading[row, start : last + 1] = wrap(yaw[np.clip(rows_of_path, 0, len(yaw) - 1)])
    velocity[row, start : last + 1] = np.gradient(
        xy[row, start : last + 1].astype(np.float64), DT, axis=0
    )
    return replace(tracks, xy=xy, yaw=heading, velocity=velocity)


def _with_row(tracks: Tracks, cls: AgentClass, size: tuple[float, float, float]) -> Tracks:
    """Tracks with one more agent, observed nowhere yet."""
    steps = tracks.xy.shape[1]
    new: dict[str, Array] = {
        "track_id": np.array([tracks.track_id.max() + 1]), "cls": np.array([int(cls)]),
        "size": np.array([size]), "xy": np.zeros((1, steps, 2)), "velocity": np.zeros((1, steps, 2)),
        "valid": np.zeros((1, steps), dtype=bool), "on_lane": np.zeros((1, steps), dtype=bool),
    }  # fmt: skip
    return Tracks(
        **{
            name: np.concatenate(
                [value, new.get(name, np.zeros((1, steps))).astype(value.dtype)], axis=0
            )
            for name in tracks.__slots__
            for value in [getattr(tracks, name)]
        }
    )


def _stands_free(tracks: Tracks, row: int, start: int) -> bool:
    """Whether a new agent touches nobody up to now, nor later those who would not make way.

    Whoever drives may be generated anew, to react; who walks or stands keeps to its track.
    """
    boxes = tracks.boxes.astype(np.float64)
    boxes[row, :, 3:] += 0.5  # some air round it
    own = np.broadcast_to(boxes[row], boxes.shape)
    together = tracks.valid & tracks.valid[row]
    together[row] = False
    near = together & (np.linalg.norm(boxes[..., :2] - own[..., :2], axis=-1) < 15.0)
    shown = np.where(tracks.valid[..., None], tracks.xy, tracks.xy[:, start : start + 1])
    stays = np.ptp(shown[:, start:], axis=1).max(axis=-1) < 1.0
    stays |= ~np.isin(tracks.cls, [int(c) for c in VEHICLES | {AgentClass.CYCLIST}])
    near[~stays, start + 1 :] = False
    others, steps = np.nonzero(near)
    return not bool(overlap(boxes[others, steps], own[others, steps]).any())


def _lead(stage: Stage, *, least_speed: float, within: float) -> tuple[int, float, float, float]:
    """Row, s, d and speed of the nearest vehicle ahead in the ego's path; row −1 for none."""
    found = []
    for row in stage.others(VEHICLES):
        ahead, d, turn, v = stage.frenet(row)
        if 6.0 < ahead < within and abs(d) < 1.3 and abs(turn) < 0.4 and v >= least_speed:
            found.append((ahead, row, d, v))
    if not found:
        return -1, 0.0, 0.0, 0.0
    ahead, row, d, v = min(found)
    return row, float(stage.ego_s[0] + ahead), d, v


def _last_in_path(stage: Stage) -> float:
    """How far along the ego's way those ahead of it, who keep to their log, get [m]."""
    tracks, start = stage.scene.tracks, stage.start
    farthest = -np.inf
    for row in stage.others(VEHICLES):
        steps = start + np.flatnonzero(tracks.valid[row, start : start + HORIZON + 1])
        s, d = stage.way.project(tracks.xy[row, steps])
        inside = (np.abs(d) < 1.8) & (s > stage.ego_s[0]) & (s < stage.ego_s[-1] + 40.0)
        if inside.any():
            farthest = max(farthest, float(s[inside].max()))
    return farthest


def _beside(stage: Stage, side: float) -> float | None:
    """Offset of the lane beside the ego's way that runs the same way, if there is one [m]."""
    offsets = []
    for reach in (0.0, 20.0, 40.0):
        pose = stage.way.pose(np.array([stage.ego_s[0] + reach]), np.array([3.5 * side]))[0]
        lane = stage.roads.lane_at(pose[:2], float(pose[2]), max_offset=1.2, max_turn=0.4)
        if lane is None:
            return None
        offsets.append(3.5 * side - lane[2])
    offset = float(np.mean(offsets))
    return offset if abs(offset) > 2.3 else None


@dataclass(frozen=True, slots=True, eq=False)
class _Crossing:
    """Where a lane crosses the ego's way: stations on both, and whether it turns left before it."""

    lane: int
    s: float
    ego_s: float
    place: Array
    oncoming_left: bool


def _crossings(stage: Stage) -> list[_Crossing]:
    """Lanes that cross the ego's way ahead."""
    found = []
    line = stage.way.line
    s_way = arc_length(line)
    ahead = (s_way > stage.ego_s[0] + 8.0) & (s_way < stage.ego_s[-1])
    points, yaws, stations = line[ahead], headings(line)[ahead], s_way[ahead]
    if not len(points):
        return []
    for lane, xy in stage.roads.lines.items():
        if np.abs(xy[:, None] - points[None, ::8]).sum(-1).min() > 30.0:
            continue
        way = Way.through(xy)
        along = np.arange(0.0, way.length, 1.0)
        samples = way.pose(along, np.zeros(len(along)))
        distance = np.hypot(*(samples[:, None, :2] - points[None]).transpose(2, 0, 1))
        i, j = np.unravel_index(distance.argmin(), distance.shape)
        turn = abs(_turn(samples[i, 2], yaws[j]))
        if distance[i, j] < 1.0 and 0.5 < turn < 2.7:
            bend = float(samples[-1, 2] - samples[0, 2])
            facing = abs(_turn(samples[0, 2], yaws[j]))
            found.append(
                _Crossing(
                    lane, float(along[i]), float(stations[j]), points[j],
                    oncoming_left=bend > 0.8 and facing > 2.4,
                )
            )  # fmt: skip
    return found


def _near_crosswalk(stage: Stage, xy: Array, reach: float) -> bool:
    for feature in stage.scene.map.of_layer(MapLayer.CROSSWALK):
        ring = np.asarray(feature.points, dtype=np.float64)[:, :2]
        low, high = ring.min(axis=0) - reach, ring.max(axis=0) + reach
        if ((xy > low) & (xy < high)).all():
            return True
    return False


def _drive(
    s0: float, v0: float, acceleration: Array, *, floor: float = 0.0
) -> tuple[Array, Array]:
    """Distance and speed at every step under an acceleration; the speed stays above a floor."""
    gained = np.concatenate([[0.0], np.cumsum(acceleration[:-1]) * DT])
    speed = np.maximum(v0 + gained, min(floor, v0))
    step = (speed[1:] + speed[:-1]) / 2.0 * DT
    return s0 + np.concatenate([[0.0], np.cumsum(step)]), speed


def _along(way: Way, s: Array, d: Array) -> Array:
    """x, y, yaw of a vehicle at Frenet coordinates over time, pointing where it goes."""
    pose = way.pose(s, d)
    forward, aside = np.gradient(s, DT), np.gradient(d, DT)
    lean = np.where(forward > 0.3, np.arctan2(aside, np.maximum(forward, 0.3)), 0.0)
    pose[:, 2] = wrap(pose[:, 2] + lean)
    return pose


def _blend(share: Array) -> Array:
    """From 0 to 1 with no speed or acceleration at the ends (quintic)."""
    x = np.clip(share, 0.0, 1.0)
    return x**3 * (10.0 - 15.0 * x + 6.0 * x**2)


def _mix(mild: float, hard: float, aggressiveness: float) -> float:
    return mild + (hard - mild) * aggressiveness


def _shuffled(rows: list[int], random: np.random.Generator) -> list[int]:
    return [rows[k] for k in random.permutation(len(rows))]


def _turn(a: float, b: float) -> float:
    """Smallest signed turn from ``b`` to ``a`` [rad]."""
    return float(wrap(np.array(a - b, dtype=np.float64)))
