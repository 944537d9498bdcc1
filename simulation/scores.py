"""How well the ego drove: nuPlan's closed-loop score, measured on a rollout.

    score = Π multipliers · Σ wᵢ mᵢ / Σ wᵢ

Multipliers: no at-fault collision {0, ½, 1}, drivable area {0, 1}, making progress {0, 1}, driving
direction {0, ½, 1}. Weighted: progress 5, time to collision 5, speed limit 4, comfort 2. Thresholds
are nuPlan's (Karnchanachari et al. 2024; nuplan-devkit, `closed_loop_*_metrics.yaml`). What the map
does not tell is None and left out of both product and mean.

Three things differ from nuPlan, on purpose. Time to collision is solved in closed form instead of
stepping boxes ahead. Where the recorded drive itself breaks a rule of the map, the map is taken
to be wrong there and the rule has no say (as NAVSIM 2 filters by the human's own score). And what comfort
asks for are derivatives of the driven velocity and heading, each by one filter of 15 steps, the jerk that of
the vector; nuPlan smooths the accelerations that its vehicle model tells over 8 steps, derives headings over
5, and bounds the change of the acceleration's amount.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from geometry.boxes import Box, corners, overlap
from schemas.labels import VEHICLES, VULNERABLE, AgentClass, LightState
from schemas.scene import DT
from simulation import kernels
from simulation.batch import NOW, REAR_TO_CENTRE_RATIO, CaseBatch
from simulation.engine import Rollout
from simulation.faults import excuse
from simulation.surface import LaneUse, Surface

STOPPED = 0.05  # [m/s]
BEHIND = np.deg2rad(150.0)
AHEAD = np.deg2rad(30.0)
OFF_ROUTE_M = 1.0  # without a map, this far beside the route means that the ego left its lane

TTC_HORIZON = 3.0  # [s]
TTC_LEAST = 0.95  # [s]
OUTSIDE_M = 0.3
WRONG_WAY_M = (2.0, 6.0)
WRONG_WAY_WINDOW = 10  # steps
PROGRESS_FLOOR_M = 2.0
PROGRESS_LEAST = 0.2
OVERSPEED = 2.23  # [m/s]

COMFORT: dict[str, tuple[float, float]] = {
    "lon_acceleration": (-4.05, 2.40),  # [m/s²]
    "lat_acceleration": (-4.89, 4.89),  # [m/s²]
    "yaw_rate": (-0.95, 0.95),  # [rad/s]
    "yaw_acceleration": (-1.93, 1.93),  # [rad/s²]
    "lon_jerk": (-4.13, 4.13),  # [m/s³]
    "jerk": (0.0, 8.37),  # [m/s³]
}
SMOOTHING = 15  # steps of the second-order Savitzky-Golay window that takes derivatives

ASIDE_M = 0.5  # beside the centre of its lane, NAVSIM 2

WEIGHTS = {"progress": 5.0, "ttc": 5.0, "speed_limit": 4.0, "comfort": 2.0}


class CollisionKind(IntEnum):
    """What an impact was like; the taxonomy is nuPlan's."""

    STOPPED_EGO = 0
    STOPPED_TRACK = 1
    ACTIVE_REAR = 2
    """The other came from behind."""
    ACTIVE_FRONT = 3
    """The ego's front bumper hit."""
    ACTIVE_LATERAL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Collision:
    """One impact.

    Attributes:
        track_id: Whom the ego hit.
        cls: What that is.
        step: After the start.
        kind: See :class:`CollisionKind`.
        at_fault: Whether the ego is to blame.
        speed: Of the ego relative to the other [m/s].
        excuse: Why the ego is not to blame where nuPlan would blame it, see :mod:`simulation.faults`.
    """

    track_id: int
    cls: AgentClass
    step: int
    kind: CollisionKind
    at_fault: bool
    speed: float
    excuse: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drive:
    """All that is measured of one case. None: it cannot be known; ``unknown`` says why.

    Attributes:
        collisions: In order of time.
        outside: Greatest distance of a corner from the drivable surface [m].
        wrong_way: Greatest distance driven against the lanes within a second [m].
        progress: Along the route, as a ratio to the recorded drive's, at most 1.
        distance: Along the route [m].
        reference: Likewise, of the recorded drive [m].
        ttc: Least time to collision [s]; the horizon of 3 s where nothing is nearer.
        overspeed: Mean excess over the limit [m/s].
        comfort: Least and greatest value of each quantity of :data:`COMFORT`.
        comfort_before: Likewise, the second before the start with it.
        aside: Longest time without a break farther than 0.5 m beside the centre of the lane that it is
            in, intersections apart [s].
        red_lights: Stop lines crossed at red.
        gap: Least clearance to anyone while the ego moves [m]; None where nobody is there.
        gap_vru: Likewise to pedestrians, cyclists and motorcycles.
        braking: Greatest deceleration applied [m/s²].
        goal_distance: At the end [m].
        unknown: Name of each field that is None to the reason.
    """

    collisions: Sequence[Collision]
    outside: float | None
    wrong_way: float | None
    progress: float
    distance: float
    reference: float
    ttc: float
    overspeed: float | None
    comfort: dict[str, tuple[float, float]]
    comfort_before: dict[str, tuple[float, float]]
    aside: float | None
    red_lights: int | None
    gap: float | None
    gap_vru: float | None
    braking: float
    goal_distance: float
    unknown: dict[str, str] = field(default_factory=dict)

    @property
    def at_fault(self) -> list[Collision]:
        """Impacts that the ego is to blame for."""
        return [c for c in self.collisions if c.at_fault]

    @property
    def comfortable(self) -> bool:
        """Whether every quantity stayed within nuPlan's bounds."""
        return within_comfort(self.comfort)

    @property
    def multipliers(self) -> dict[str, float | None]:
        """Factors of the score."""
        blamed = self.at_fault
        road_users = VEHICLES | VULNERABLE
        grave = sum(c.cls in road_users for c in blamed)
        things = len(blamed) - grave
        direction = None
        if self.wrong_way is not None:
            low, high = WRONG_WAY_M
            direction = 1.0 if self.wrong_way < low else 0.5 if self.wrong_way <= high else 0.0
        return {
            "no_at_fault_collision": 0.0 if grave else max(0.0, 1.0 - things / 2.0),
            "drivable_area": None if self.outside is None else float(self.outside <= OUTSIDE_M),
            "making_progress": float(self.progress >= PROGRESS_LEAST),
            "driving_direction": direction,
        }

    @property
    def weighted(self) -> dict[str, float | None]:
        """Terms of the weighted mean."""
        limit = None if self.overspeed is None else max(0.0, 1.0 - self.overspeed / OVERSPEED)
        return {
            "progress": self.progress,
            "ttc": float(self.ttc >= TTC_LEAST),
            "speed_limit": limit,
            "comfort": float(self.comfortable),
        }

    @property
    def score(self) -> float:
        """In [0, 1]; what is not known has no part in it."""
        product = 1.0
        for factor in self.multipliers.values():
            product *= 1.0 if factor is None else factor
        terms = [(WEIGHTS[n], v) for n, v in self.weighted.items() if v is not None]
        return product * sum(w * v for w, v in terms) / sum(w for w, _ in terms)


def within_comfort(quantities: Mapping[str, tuple[float, float]]) -> bool:
    """Whether least and greatest of every quantity are within nuPlan's bounds."""
    return all(
        COMFORT[name][0] <= least and greatest <= COMFORT[name][1]
        for name, (least, greatest) in quantities.items()
    )


def measure(rollout: Rollout) -> list[Drive]:
    """Every case of a rollout, measured."""
    batch = rollout.batch
    driven = rollout.xy[:, :, 0].copy()
    driven[:NOW] = driven[NOW]
    for case, horizon in enumerate(batch.horizon.tolist()):
        driven[NOW + horizon :, case] = driven[NOW + horizon, case]
    stations, offsets = batch.routes.along(driven, first=batch.start_s)
    logged = _logged_stations(batch)
    made = [
        _Roadside(rollout, case, stations[:, case], offsets[:, case]) for case in range(len(batch))
    ]
    in_lane = np.zeros(rollout.valid.shape[:2], dtype=bool)
    crossing = np.zeros_like(in_lane)
    for case, road in enumerate(made):
        in_lane[road.steps, case], crossing[road.steps, case] = road.in_lane, road.crossing
    soonest = least_ttc(rollout, in_lane & ~crossing)
    gap, gap_vru = least_gaps(rollout)
    return [
        _drive(
            rollout,
            case,
            road,
            stations[road.steps, case],
            logged[road.steps[road.seen], case],
            float(soonest[case]),
            gap[case],
            gap_vru[case],
        )
        for case, road in enumerate(made)
    ]


def collision_kind(
    ego: Float[Array, 5], ego_speed: float, other: Float[Array, 5], other_speed: float
) -> CollisionKind:
    """What an impact of two overlapping boxes was like.

    Args:
        ego: x, y, yaw, length, width.
        ego_speed: [m/s].
        other: Likewise.
        other_speed: [m/s].
    """
    if abs(ego_speed) <= STOPPED:
        return CollisionKind.STOPPED_EGO
    if abs(other_speed) <= STOPPED:
        return CollisionKind.STOPPED_TRACK
    heading = np.array([np.cos(ego[Box.YAW]), np.sin(ego[Box.YAW])])
    rear = ego[:2] - REAR_TO_CENTRE_RATIO * ego[Box.LENGTH] * heading
    towards = other[:2] - rear
    angle = np.arccos(np.clip(towards @ heading / max(np.hypot(*towards), 1e-9), -1.0, 1.0))
    if angle > BEHIND:
        return CollisionKind.ACTIVE_REAR
    bumper = ego.copy()
    bumper[:2] += ego[Box.LENGTH] / 2.0 * heading
    bumper[Box.LENGTH] = 1e-3
    if overlap(bumper, other):
        return CollisionKind.ACTIVE_FRONT
    return CollisionKind.ACTIVE_LATERAL


def is_at_fault(kind: CollisionKind, *, in_one_lane: bool) -> bool:
    """Whether nuPlan blames the ego: standing things, its front, or its side while between lanes."""
    if kind == CollisionKind.ACTIVE_LATERAL:
        return not in_one_lane
    return kind in (CollisionKind.STOPPED_TRACK, CollisionKind.ACTIVE_FRONT)


def time_to_contact(
    a: Float[Array, "pairs 5"],
    a_velocity: Float[Array, "pairs 2"],
    b: Float[Array, "pairs 5"],
    b_velocity: Float[Array, "pairs 2"],
) -> Float[Array, " pairs"]:
    """When two boxes that keep velocity and heading first touch, in closed form [s].

    Along each of the four candidate axes the projections overlap during an interval of time that
    follows from their gap and closing speed; the boxes touch while all four do (Eberly 2001).

    Returns:
        0 where they overlap already, +∞ where they never do.
    """
    corners_a, corners_b = corners(a), corners(b)
    moving = b_velocity - a_velocity
    enter = np.zeros(len(a))
    leave = np.full(len(a), np.inf)
    for box in (a, b):
        for turn in (0.0, np.pi / 2.0):
            yaw = box[:, 2] + turn
            cos, sin = np.cos(yaw), np.sin(yaw)
            along_a = corners_a[..., 0] * cos[:, None] + corners_a[..., 1] * sin[:, None]
            along_b = corners_b[..., 0] * cos[:, None] + corners_b[..., 1] * sin[:, None]
            speed = moving[:, 0] * cos + moving[:, 1] * sin
            # b overlaps a along the axis while low < speed · t < high.
            low = along_a.min(axis=1) - along_b.max(axis=1)
            high = along_a.max(axis=1) - along_b.min(axis=1)
            still = np.abs(speed) < 1e-9
            rate = np.where(still, 1.0, speed)
            first, last = np.minimum(low / rate, high / rate), np.maximum(low / rate, high / rate)
            apart = still & ((low >= 0.0) | (high <= 0.0))
            first = np.where(still, np.where(apart, np.inf, -np.inf), first)
            last = np.where(still, np.where(apart, -np.inf, np.inf), last)
            enter, leave = np.maximum(enter, first), np.minimum(leave, last)
    return np.where((enter < leave) & (leave > 0.0), enter, np.inf)


def least_ttc(rollout: Rollout, in_lane: Bool[Array, "steps cases"]) -> Float[Array, " cases"]:
    """Least time to collision of each ego with anyone in front of it, the horizon at most [s].

    As in nuPlan, nobody behind the ego counts; someone beside counts only where the ego is between
    lanes or in an intersection; and after an impact with someone, that one counts no more.
    """
    batch = rollout.batch
    return kernels.least_ttc(
        rollout.xy, rollout.yaw, rollout.velocity, rollout.valid, rollout.speed, batch.size,
        rollout.contact, batch.rear_to_centre, in_lane, NOW, TTC_HORIZON, STOPPED, AHEAD, BEHIND,
    )  # fmt: skip


def least_gaps(rollout: Rollout) -> tuple[list[float | None], list[float | None]]:
    """Least clearance of each moving ego to anyone, and to vulnerable road users [m]."""
    batch = rollout.batch
    vulnerable = np.isin(batch.cls, [int(c) for c in VULNERABLE])
    answers = []
    for who in (np.ones_like(vulnerable), vulnerable):
        best = kernels.least_gaps(
            rollout.xy,
            rollout.yaw,
            rollout.valid,
            rollout.speed,
            batch.size,
            who,
            NOW + 1,
            STOPPED,
        )
        answers.append([float(b) if np.isfinite(b) else None for b in best])
    return answers[0], answers[1]


class _Roadside:
    """What the map says about one drive, and about the recorded one beside it."""

    def __init__(
        self,
        rollout: Rollout,
        case: int,
        station: Float[Array, " steps"],
        offset: Float[Array, " steps"],
    ) -> None:
        batch = rollout.batch
        ready = batch.ready[case]
        self.steps = np.arange(NOW, NOW + int(batch.horizon[case]) + 1)
        self.xy = rollout.xy[self.steps, case, 0]
        self.yaw = np.ascontiguousarray(rollout.yaw[self.steps, case, 0])
        self.speed = rollout.speed[self.steps, case]
        length, width = batch.size[case, 0]
        self.boxes = _boxes(self.xy, self.yaw, length, width)
        self.seen = batch.valid[self.steps, case, 0]
        logged_xy = batch.xy[self.steps, case, 0][self.seen]
        logged_yaw = np.ascontiguousarray(batch.yaw[self.steps, case, 0][self.seen])
        self.outside: float | None = None
        self.wrong_way: float | None = None
        self.aside: float | None = None
        self.in_lane = np.abs(offset[self.steps]) <= OFF_ROUTE_M
        self.crossing = np.zeros(len(self.xy), dtype=bool)
        if ready.graph is None or ready.ground is None:
            self.unknown = dict.fromkeys(("outside", "wrong_way", "aside"), "there is no map")
            return
        self.unknown = {}
        everywhere = np.concatenate([self.xy, logged_xy])
        low, high = everywhere.min(axis=0) - 15.0, everywhere.max(axis=0) + 15.0
        surface = Surface(ready.ground, low, high)
        # Past the end of its lanes a route runs straight on, and the map does not tell what is there.
        told = station[self.steps] + length / 2.0 <= ready.route.known_s
        told[0] = True
        if not surface.known:
            self.unknown["outside"] = "the map has no lanes or areas here"
        else:
            logged = corners(_boxes(logged_xy, logged_yaw, length, width)).reshape(-1, 2)
            if surface.outside(logged).max() > OUTSIDE_M:
                self.unknown["outside"] = "the recorded drive itself leaves the mapped surface"
            else:
                there = corners(self.boxes[told]).reshape(-1, 2)
                self.outside = float(surface.outside(there).max())
        use = LaneUse(ready.graph, self.xy, self.yaw)
        if not use.known:
            self.unknown["wrong_way"] = self.unknown["aside"] = "the map has no lanes"
            return
        self.aside = _longest(use.beside_centre(ASIDE_M)) * DT
        self.in_lane, self.crossing = use.in_one_lane(width), use.in_intersection
        if _against(logged_xy, LaneUse(ready.graph, logged_xy, logged_yaw)) > WRONG_WAY_M[0]:
            self.unknown["wrong_way"] = "the recorded drive itself runs against the mapped lanes"
        else:
            self.wrong_way = _against(self.xy, use, told)


def _drive(
    rollout: Rollout,
    case: int,
    road: _Roadside,
    stations: Float[Array, " states"],
    logged: Float[Array, " seen"],
    ttc: float,
    gap: float | None,
    gap_vru: float | None,
) -> Drive:
    batch, ready = rollout.batch, rollout.batch.ready[case]
    unknown = dict(road.unknown)
    collisions = _collisions(rollout, case, road)
    distance, reference = float(stations[-1] - stations[0]), float(logged[-1] - logged[0])
    ratio = max(distance, PROGRESS_FLOOR_M) / max(reference, PROGRESS_FLOOR_M)
    if distance < -PROGRESS_FLOOR_M:
        ratio = 0.0  # it drove backwards, also where the recorded drive stood
    overspeed = None
    points = np.clip(stations.astype(np.int64), 0, len(ready.route.xy) - 1)
    if ready.route.limit_known[points].all():
        excess = np.maximum(road.speed - ready.route.speed_limit[points], 0.0)
        overspeed = float(excess.mean())
    else:
        unknown["overspeed"] = "the map tells no speed limit"
    red_lights = _red_lights(batch, case, road, stations, logged, unknown)
    if gap is None:
        unknown["gap"] = "nobody was there while the ego moved"
    if gap_vru is None:
        unknown["gap_vru"] = "no vulnerable road user was there while the ego moved"
    applied = rollout.acceleration[road.steps[:-1], case]
    return Drive(
        collisions=collisions,
        outside=road.outside,
        wrong_way=road.wrong_way,
        progress=min(ratio, 1.0),
        distance=distance,
        reference=reference,
        ttc=ttc,
        overspeed=overspeed,
        comfort=_range_of(quantities(rollout, case, road.steps)),
        comfort_before=_range_of(
            quantities(rollout, case, _with_history(rollout, case, road.steps))
        ),
        aside=road.aside,
        red_lights=red_lights,
        gap=gap,
        gap_vru=gap_vru,
        braking=float(np.maximum(-applied, 0.0).max()),
        goal_distance=float(np.hypot(*(road.xy[-1] - batch.goal[case]))),
        unknown=unknown,
    )


def _collisions(rollout: Rollout, case: int, road: _Roadside) -> list[Collision]:
    batch = rollout.batch
    found = []
    for agent in np.flatnonzero(rollout.contact[case] >= 0).tolist():
        step = int(rollout.contact[case, agent])
        at = step - NOW
        other = np.concatenate(
            [
                rollout.xy[step, case, agent],
                rollout.yaw[step, case, agent][None],
                batch.size[case, agent],
            ]
        )
        velocity = rollout.velocity[step, case, agent]
        kind = collision_kind(
            road.boxes[at], float(road.speed[at]), other, float(np.hypot(*velocity))
        )
        blamed = is_at_fault(kind, in_one_lane=bool(road.in_lane[at]))
        excused = excuse(rollout, case=case, agent=agent, step=step) if blamed else ""
        found.append(
            Collision(
                track_id=int(batch.track_id[case, agent]),
                cls=AgentClass(int(batch.cls[case, agent])),
                step=at,
                kind=kind,
                at_fault=blamed and not excused,
                speed=float(np.hypot(*(velocity - rollout.velocity[step, case, 0]))),
                excuse=excused,
            )
        )
    return sorted(found, key=lambda c: (c.step, c.track_id))


def _red_lights(
    batch: CaseBatch,
    case: int,
    road: _Roadside,
    stations: Array,
    logged: Array,
    unknown: dict[str, str],
) -> int | None:
    ready = batch.ready[case]
    if not ready.scene.has_signals:
        unknown["red_lights"] = "no signals were recorded"
        return None
    half = batch.size[case, 0, 0] / 2.0
    crossed, in_doubt = 0, 0
    for s, signal in ready.route_stops:
        shown = ready.signals[signal][road.steps]
        red = shown == LightState.RED
        if _crossings(logged + half, s, _throughout(red[road.seen])):
            unknown["red_lights"] = "the recorded drive itself crosses at red"
            return None
        crossed += _crossings(stations + half, s, _throughout(red))
        known = _throughout(shown != LightState.UNKNOWN)
        in_doubt += _crossings(stations + half, s, ~known)
    if in_doubt and not crossed:
        unknown["red_lights"] = "what the light shows is not known where the ego crosses"
        return None
    return crossed


def _crossings(front: Array, line: float, during: Array) -> int:
    """How often the front bumper passes a stop line during some of the steps from one state to the next."""
    return int(((front[:-1] < line) & (front[1:] >= line) & during).sum())


def _throughout(holds: Array) -> Array:
    """Of each step from one state to the next: whether something holds at both."""
    return holds[1:] & holds[:-1]


def quantities(
    rollout: Rollout, case: int, steps: Int[Array, " states"]
) -> dict[str, Float[Array, " states"]]:
    """Each quantity of :data:`COMFORT` at consecutive steps of a drive, smoothed as nuPlan does.

    Empty for fewer than five states.
    """
    window = min(SMOOTHING, len(steps) - (len(steps) + 1) % 2)
    if window < 5:
        return {}

    def smooth(value: Array, order: int) -> Array:
        return kernels.slopes(np.ascontiguousarray(value), window, DT)[order - 1]

    velocity = rollout.velocity[steps, case, 0]
    heading = np.ascontiguousarray(rollout.yaw[steps, case, 0])
    acceleration = np.stack([smooth(velocity[:, i], 1) for i in (0, 1)], axis=-1)
    cos, sin = np.cos(heading), np.sin(heading)
    lon = acceleration[:, 0] * cos + acceleration[:, 1] * sin
    lat = acceleration[:, 1] * cos - acceleration[:, 0] * sin
    jerk = np.hypot(*(smooth(velocity[:, i], 2) for i in (0, 1)))
    yaw = np.unwrap(heading)
    return {
        "lon_acceleration": lon,
        "lat_acceleration": lat,
        "yaw_rate": smooth(yaw, 1),
        "yaw_acceleration": smooth(yaw, 2),
        "lon_jerk": smooth(lon, 1),
        "jerk": jerk,
    }


def _range_of(values: Mapping[str, Array]) -> dict[str, tuple[float, float]]:
    return {name: (float(v.min()), float(v.max())) for name, v in values.items()}


def _with_history(rollout: Rollout, case: int, steps: Int[Array, " states"]) -> Array:
    """The steps, and those before them at which the ego was seen without a break."""
    seen = rollout.batch.valid[: NOW + 1, case, 0]
    unseen = np.flatnonzero(~seen)
    first = int(unseen[-1]) + 1 if len(unseen) else 0
    return np.concatenate([np.arange(first, NOW), steps])


def _longest(holds: Bool[Array, " states"]) -> int:
    """Most steps in a row that hold."""
    breaks = np.flatnonzero(~np.concatenate([[False], holds, [False]]))
    return int(np.diff(breaks).max()) - 1


def _against(xy: Array, use: LaneUse, told: Bool[Array, " states"] | bool = True) -> float:
    """Greatest distance driven against the lanes within one second, where the map tells which way [m]."""
    step = np.hypot(*np.diff(xy, axis=0).T)
    driven = np.concatenate([[0.0], np.cumsum(np.where((use.against & told)[1:], step, 0.0))])
    reach = min(WRONG_WAY_WINDOW, len(driven) - 1)
    return float((driven[reach:] - driven[: len(driven) - reach]).max())


def _logged_stations(batch: CaseBatch) -> Float[Array, "steps cases"]:
    """Stations of the recorded drives; where one was not observed, it is held."""
    valid = batch.valid[:, :, 0].copy()
    valid[:NOW] = False
    index = np.where(valid, np.arange(len(valid))[:, None], NOW)
    held = np.maximum.accumulate(index, axis=0)
    xy = np.take_along_axis(batch.xy[:, :, 0], held[..., None], axis=0)
    return batch.routes.along(xy, first=batch.start_s)[0]


def _boxes(xy: Array, yaw: Array, length: float, width: float) -> Float[Array, "states 5"]:
    extents = np.broadcast_to([length, width], (len(xy), 2))
    return np.concatenate([xy, yaw[:, None], extents], axis=-1)
