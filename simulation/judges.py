"""Whether what is said of somebody truly happened, judged from the true motion and the map alone.

Behaviours of :mod:`simulation.rare`, each with a judge that says of a *hit* (somebody, perhaps with
somebody else, over some steps) whether within it, give or take half a second, what the behaviour's
name says took place. Nothing of :mod:`mining` is used: what a predicate gets wrong, from smoothing to
lane graphs, its judge does not share. Lengths, speeds and durations count from 90 % of the published
threshold on, which is where events, once begun, end (the hysteresis of :mod:`mining.intervals`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from geometry.angles import unit, wrap
from geometry.arrays import Array
from geometry.boxes import in_frame_of, overlap
from geometry.polylines import arc_length, inside, project, resample
from schemas.labels import AgentClass, EdgeKind, LaneType, LightState, MapLayer
from schemas.records import LightStates, MapFeature, RoadMap
from simulation.truth import Motion

STEP_NS = 100_000_000
DT = 0.1
SLACK_S = 0.5  # around a hit
REACHED = 0.9  # of a threshold
HALF_LANE_M = 1.75
STALLED_S = 4.0
CARS = (LaneType.VEHICLE, LaneType.FREEWAY, LaneType.BUS)


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing that is said, in the terms of the truth.

    Attributes:
        actor: Row of the true motion.
        other: Likewise, −1 for none.
        begin: First step of the log.
        end: Last step, included.
    """

    actor: int
    other: int
    begin: int
    end: int


class Ground:
    """The map and what its signals showed: where everyone truly is relative to the lanes for cars."""

    def __init__(self, road_map: RoadMap, lights: LightStates) -> None:
        self.map, self.lights = road_map, lights
        self.lanes = [f for f in road_map.of_layer(MapLayer.LANE) if f.lane_type in CARS]

    @cached_property
    def in_junction(self) -> Bool[Array, " lanes"]:
        """Whether each lane lies in an intersection."""
        return np.array([bool(lane.in_intersection) for lane in self.lanes], dtype=bool)

    def on(
        self, xy: Float[Array, "many 2"]
    ) -> tuple[Float[Array, "lanes many"], Float[Array, "lanes many"]]:
        """Offset [m] from every lane's centre line, ∞ off its ends, and the lane's heading there."""
        d = np.full((len(self.lanes), len(xy)), np.inf)
        yaw = np.zeros(d.shape)
        for k, lane in enumerate(self.lanes):
            s, off, yaw[k] = project(xy, lane.points)
            beside = (s > 0.0) & (s < arc_length(lane.points)[-1])
            d[k, beside] = off[beside]
        return d, yaw

    @cached_property
    def places_to_wait(self) -> Float[Array, "points 2"]:
        """Points, a metre apart, of intersections, crosswalks, stop lines and where lanes end."""
        lines = [lane.points for lane in self.lanes if lane.in_intersection]
        areas = self.areas(MapLayer.CROSSWALK)
        lines += [np.concatenate([area.points, area.points[:1]]) for area in areas]
        lines += [line.points for line in self.map.of_layer(MapLayer.STOP_LINE)]
        edges = self.map.edges
        goes_on = set(edges[edges[:, 1] == EdgeKind.SUCCESSOR, 0].tolist())
        lines += [lane.points[-1:] for lane in self.lanes if lane.feature_id not in goes_on]
        dense = [resample(line, 2 + int(arc_length(line)[-1]))[:, :2] for line in lines]
        return np.concatenate([np.zeros((0, 2)), *dense])

    def areas(self, layer: MapLayer) -> list[MapFeature]:
        """Areas of a layer."""
        return [f for f in self.map.of_layer(layer) if len(f.points) >= 3]

    def shown(self, lane_id: str, step: int) -> list[int]:
        """What the signals of a lane showed."""
        rows = np.array(self.lights.source_lane_id) == lane_id
        rows &= self.lights.t_ns == step * STEP_NS
        return [int(state) for state in self.lights.state[rows]]


Judge = Callable[[Ground, Motion, Hit, slice], bool]


def judged(behaviour: str, hit: Hit, *, motion: Motion, ground: Ground) -> bool:
    """Whether what a hit says of a behaviour truly happened.

    Raises:
        KeyError: No judge knows the behaviour.
    """
    slack = round(SLACK_S / DT)
    window = slice(max(hit.begin - slack, 0), min(hit.end + slack + 1, motion.xy.shape[1]))
    return JUDGES[behaviour](ground, motion, hit, window)


def _longest(mask: Bool[Array, " steps"]) -> float:
    """How long a mask holds without a break [s]."""
    best = run = 0
    for holds in mask:
        run = run + 1 if holds else 0
        best = max(best, run)
    return best * DT


def _turned(yaw: Float[Array, " many"], along: Float[Array, "lanes many"]) -> Array:
    """Angle between headings and those of lanes there [rad]."""
    return np.abs(wrap(yaw - along))


def _at_least(seconds: float, share: float = REACHED) -> float:
    """A share of a duration, with room for the last digit [s]."""
    return share * seconds - 1e-9


def _braked(_: Ground, motion: Motion, hit: Hit, window: slice) -> bool:
    """Harder than 4.05 m/s² for 0.3 s."""
    hard = motion.acceleration[hit.actor, window] <= -4.05 * REACHED
    return _longest(hard) >= _at_least(0.3, 1.0)


def _swerved(ground: Ground, motion: Motion, hit: Hit, window: slice) -> bool:
    """Speed across the lane, to one side and to the other; in the end it is in the lane it left."""
    xy, yaw = motion.xy[hit.actor, window], motion.yaw[hit.actor, window]
    d, along = ground.on(xy)
    turned = _turned(yaw, along)
    d = np.where(turned < np.radians(30.0), np.abs(d), np.inf)
    best = d.argmin(axis=0)
    steps = np.arange(len(xy))
    aside = motion.speed[hit.actor, window] * np.sin(yaw - along[best, steps])
    aside = np.where(np.isfinite(d[best, steps]), aside, 0.0)
    both = aside.max() >= 0.8 * REACHED and aside.min() <= -0.8 * REACHED
    return bool(both and abs(aside.sum() * DT) < HALF_LANE_M)


def _wrong(ground: Ground, motion: Motion, hit: Hit, window: slice) -> bool:
    """In a lane against its direction, and in none along it."""
    d, along = ground.on(motion.xy[hit.actor, window])
    turned = _turned(motion.yaw[hit.actor, window], along)
    within = np.abs(d) < HALF_LANE_M
    backward = turned > np.radians(135.0 * REACHED)
    against = (within & ~ground.in_junction[:, None] & backward).any(axis=0)
    along_one = (within & (turned < np.pi / 2)).any(axis=0)
    fast = motion.speed[hit.actor, window] >= 2.0 * REACHED
    return _longest(against & ~along_one & fast) >= _at_least(1.0)


def _walked_on_road(ground: Ground, motion: Motion, hit: Hit, window: slice) -> bool:
    """On foot within 1.5 m of a lane's middle and over 1 m from every crosswalk."""
    xy = motion.xy[hit.actor, window]
    d, _ = ground.on(xy)
    on_road = (np.abs(d) <= 1.5 / REACHED).any(axis=0)
    clear = np.ones(len(xy), dtype=bool)
    for crosswalk in ground.areas(MapLayer.CROSSWALK):
        ring = crosswalk.points
        around = np.concatenate([ring, ring[:1]])
        clear &= ~inside(xy, ring) & (np.abs(project(xy, around)[1]) > 1.0 * REACHED)
    walks = motion.speed[hit.actor, window] >= 0.5 * REACHED
    on_foot = motion.cls[hit.actor] == AgentClass.PEDESTRIAN
    return on_foot and _longest(on_road & clear & walks) >= _at_least(1.0)


def _ran_red(ground: Ground, motion: Motion, hit: Hit, window: slice) -> bool:
    """The front passes the start of the controlled lane that it then follows, at red."""
    yaw = motion.yaw[hit.actor]
    front = motion.xy[hit.actor] + motion.size[hit.actor, 0] / 2.0 * unit(yaw)
    lanes = {f.source_id: f for f in ground.map.of_layer(MapLayer.LANE)}
    best, red = np.inf, False
    for lane_id in dict.fromkeys(ground.lights.source_lane_id):
        line = lanes[lane_id].points[:, :2]
        ahead = line[1] - line[0]
        ahead = ahead / np.linalg.norm(ahead)
        past = (front - line[0]) @ ahead
        beside = np.abs((front - line[0]) @ np.array([-ahead[1], ahead[0]])) < HALF_LANE_M
        over = np.flatnonzero((past[:-1] <= 0.0) & (past[1:] > 0.0) & beside[1:]) + 1
        over = over[(over >= window.start) & (over < window.stop)]
        if not len(over) or not motion.present[hit.actor, over[0] - 1 : over[0] + 1].all():
            continue
        at = int(over[0])
        after = motion.xy[hit.actor, at : at + 60][motion.present[hit.actor, at : at + 60]]
        off = float(np.abs(project(after, line)[1]).mean())
        if off < best:
            shown = ground.shown(lane_id, at)
            best, red = off, bool(shown) and all(state == LightState.RED for state in shown)
    return red


def _missed(_: Ground, motion: Motion, hit: Hit, window: slice) -> bool:
    """Boxes that would meet within 0.95 s but for hard braking, or a way crossed within 1 s."""
    a, b = hit.actor, hit.other
    boxes = motion.boxes[[a, b], window]
    velocity = motion.speed[[a, b], window, None] * unit(motion.yaw[[a, b], window])
    there = motion.present[[a, b], window].all(axis=0)
    away = boxes[1, :, :2] - boxes[0, :, :2]
    closing = -((velocity[1] - velocity[0]) * away).sum(-1) / np.maximum(np.hypot(*away.T), 0.1)
    for ahead in np.arange(0.05, 0.95 / REACHED, 0.05):
        moved = boxes.copy()
        moved[..., :2] += ahead * velocity
        hard = closing >= np.maximum(3.0, 2 * ahead * 4.05) * REACHED
        if (overlap(moved[0], moved[1]) & there & hard).any():
            return True
    wide = slice(max(window.start - 10, 0), window.stop + 10)
    first, second = (motion.boxes[k, wide][motion.present[k, wide]] for k in (a, b))
    grid = (len(first), len(second), 5)
    met = overlap(np.broadcast_to(first[:, None], grid), np.broadcast_to(second[None], grid))
    i, j = np.nonzero(met)
    fast = motion.speed[[a, b], wide].max() >= 3.0 * REACHED
    return bool(fast and len(i) and np.abs(i - j).min() * DT <= 1.0 / REACHED)


def _cut_in(_: Ground, motion: Motion, hit: Hit, window: slice) -> bool:
    """From beside the way that the other drives to ahead of it there, nearest and close."""
    j, i = hit.actor, hit.other
    steps = np.flatnonzero(motion.present[i])
    line = motion.xy[i, steps]
    far = line[-1] + np.array([[1.0], [100.0]]) * unit(motion.yaw[i, steps[-1:]])
    line = np.concatenate([line[np.r_[True, np.hypot(*np.diff(line, axis=0).T) > 0.05]], far])
    s, d = project(motion.xy[j, window], line)[:2]
    own = project(motion.xy[i, window], line)[0]
    gap = s - own - (motion.size[i, 0] + motion.size[j, 0]) / 2.0
    wait = gap / np.maximum(motion.speed[i, window], 0.1)
    close = (gap > 0.0) & (gap <= 40.0 / REACHED) & (wait <= 5.0 / REACHED)
    arrived = np.flatnonzero((np.abs(d) < HALF_LANE_M) & close)
    if not len(arrived) or not (np.abs(d[: arrived[-1]]) > HALF_LANE_M).any():
        return False
    at = int(arrived[-1])
    others = np.flatnonzero(motion.present[:, window.start + at])
    others = others[(others != i) & (others != j)]
    others = others[[motion.cls[k] != AgentClass.PEDESTRIAN for k in others]]
    s_k, d_k = project(motion.xy[others, window.start + at], line)[:2]
    return not bool(((s_k > own[at]) & (s_k < s[at]) & (np.abs(d_k) < 1.0)).any())


def _stalled(ground: Ground, motion: Motion, hit: Hit, window: slice) -> bool:
    """Stands in the middle of a lane for 4 s, and nothing that is truly there keeps it from going on.

    That would be anybody or anything less than 5 m ahead of it, seen by the ego or not, an
    intersection, a crosswalk or a lane's end within 15 m ahead, or a parking place about it.
    """
    del window  # a state must hold throughout, not somewhere near
    steps = np.arange(hit.begin, hit.end + 1)
    boxes = motion.boxes
    own = boxes[hit.actor, steps]
    d, along = ground.on(own[:, :2])
    turned = _turned(own[:, 2], along)
    usual = (np.abs(d) <= 1.2 / REACHED) & (turned < np.pi / 4) & ~ground.in_junction[:, None]
    stands = usual.any(axis=0) & (motion.speed[hit.actor, steps] <= 0.5)
    for area in ground.areas(MapLayer.PARKING):
        stands &= ~inside(own[:, :2], area.points)
    # Standing still, it is enough to ask once where the map would have it wait.
    half = motion.size[hit.actor, 0] / 2.0
    waits = ground.places_to_wait
    x, y = in_frame_of(waits, np.broadcast_to(own[len(own) // 2], (len(waits), 5))).T
    if ((x > half) & (x < half + 15.0 * REACHED) & (np.abs(y) < 3.0)).any():
        return False
    for k in range(len(motion.size)):
        if k != hit.actor:
            x, y = np.moveaxis(in_frame_of(boxes[k, steps, :2], own), -1, 0)
            gap = x - half - motion.size[k, 0] / 2.0
            beside = (motion.size[k, 1] + motion.size[hit.actor, 1]) / 2.0
            ahead = (x > 0.0) & (gap < 5.0 * REACHED) & (np.abs(y) < beside)
            stands &= ~(ahead & motion.present[k, steps])
    free = _longest(stands)
    return free >= _at_least(STALLED_S) and bool(stands.mean() >= REACHED)


def _lies_in_lane(ground: Ground, motion: Motion, hit: Hit, window: slice) -> bool:
    """A thing that keeps its place within 1.2 m of a lane's middle, not in a row of three there."""
    there = np.flatnonzero(motion.present[hit.actor, window]) + window.start
    xy = motion.xy[hit.actor, there]
    if motion.cls[hit.actor] != AgentClass.OBSTACLE or np.ptp(xy, axis=0).max() > 0.5:
        return False
    things = np.array([cls == AgentClass.OBSTACLE for cls in motion.cls])
    things &= motion.present[:, there[0]]
    things &= np.linalg.norm(motion.xy[:, there[0]] - xy[0], axis=-1) <= 10.0
    own, _ = ground.on(xy[:1])
    row, _ = ground.on(motion.xy[things, there[0]])
    inside = np.abs(own[:, 0]) <= 1.2 / REACHED
    return bool((inside & ((np.abs(row) <= HALF_LANE_M).sum(axis=1) < 3)).any())


def _special(_: Ground, motion: Motion, hit: Hit, window: slice) -> bool:
    """What a road user is does not change."""
    del window
    return motion.source_cls[hit.actor] == "EMERGENCY_VEHICLE"


JUDGES: dict[str, Judge] = {
    "cut_in": _cut_in,
    "hard_brake": _braked,
    "jaywalking": _walked_on_road,
    "near_miss": _missed,
    "red_light_running": _ran_red,
    "wrong_way": _wrong,
    "stalled_vehicle": _stalled,
    "debris": _lies_in_lane,
    "swerve": _swerved,
    "emergency_vehicle": _special,
}
"""By the behaviours of :mod:`simulation.rare`."""
