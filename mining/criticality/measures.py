"""The measures of one scene, each at the shape in which it comes, worked out when first asked for.

Along lanes: followers with their leaders (`Motion.leads`). In the plane: unordered pairs, the
first half of `Motion.pairs`. Where ways cross: `Motion.conflicts`. Beside each other: :func:`side_of`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from mining.criticality.crossing import (
    closest_encounter,
    difference_at_crossing,
    worst_time_to_collision,
)
from mining.criticality.impact import delta_v, mass_of
from mining.criticality.lateral import danger, required_lateral_acceleration, rss_safe_side
from mining.criticality.longitudinal import (
    deceleration_to_avoid_crash,
    headway,
    required_deceleration,
    rss_oncoming_gap,
    rss_safe_gap,
    time_to_collision,
)
from mining.criticality.oncoming import oncoming_of
from mining.kept import kept
from mining.motion import Motion
from schemas.scene import DT

HORIZON_S = 5.0
"""[s] Nobody keeps velocity and heading for longer; the longest TTC of Waymo's metrics as well."""
LOOKS_M = 80.0
"""[m] Pairs whose outlines are farther apart are not looked at."""
CLOSING = 0.5
"""[m/s] Pairs that approach each other more slowly are on no course to meet."""
ENCOUNTER_M = 1.0
"""[m] Closest encounters whose circles pass at more are told by those circles alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Responsibility:
    """What responsibility-sensitive safety reckons with.

    Attributes:
        response_s: Response time [s].
        accelerates: Of who is behind, during it [m/s²].
        brakes_least: Of who is behind, after it [m/s²].
        brakes_correct: Of who drives in its own lane, when one comes the other way in it [m/s²].
        brakes_most: Of who is ahead [m/s²].
        drifts: Lateral acceleration towards the other during the response time [m/s²].
        brakes_aside: Lateral braking after it [m/s²].
        margin: For the wobble of straight driving [m].
    """

    response_s: float = 0.5
    accelerates: float = 2.0
    brakes_least: float = 4.0
    brakes_correct: float = 3.0
    brakes_most: float = 8.0
    drifts: float = 0.2
    brakes_aside: float = 0.8
    margin: float = 0.1


RSS = Responsibility()

BESIDE_M = 6.0
"""[m] Farther apart, where the road bends, the frame of one says nothing of the other's side."""
PARALLEL = np.cos(np.radians(30.0))


class Measures:
    """Criticality of everyone to everyone who matters; indices of agents are rows of the tracks."""

    def __init__(self, motion: Motion) -> None:
        """Nothing is computed yet."""
        self.motion = motion
        self._wttc: dict[float, Float[Array, "half steps"]] = {}
        self.half = len(motion.pairs.a) // 2

    # -- followers and leaders: (leads, steps) ---------------------------------------------------

    @cached_property
    def following(self) -> Bool[Array, "leads steps"]:
        """Where there is a leader and a gap to it: outlines that overlap are no following."""
        return self.motion.leads.on & (self.motion.leads.gap > 0.0)

    @cached_property
    def gap(self) -> Float[Array, "leads steps"]:
        """To the leader; far where there is none [m]."""
        return np.where(self.following, self.motion.leads.gap, 1e6)

    @cached_property
    def speed_rear(self) -> Float[Array, "leads steps"]:
        """Of the follower [m/s]."""
        return self.motion.speed[self.motion.leads.a]

    @cached_property
    def speed_front(self) -> Float[Array, "leads steps"]:
        """Of the leader, along the follower's heading [m/s]."""
        motion, leads = self.motion, self.motion.leads
        cos, sin = (part[leads.a] for part in motion.facing)
        velocity = motion.velocity[leads.b]
        return np.asarray(cos * velocity[..., 0] + sin * velocity[..., 1])

    @cached_property
    def ttc(self) -> Float[Array, "leads steps"]:
        """Time to collision [s]."""
        ttc = time_to_collision(self.gap, self.speed_rear, self.speed_front)
        return np.where(self.following, ttc, np.inf)

    @cached_property
    def thw(self) -> Float[Array, "leads steps"]:
        """Time headway [s]."""
        leads = self.motion.leads
        return np.where(leads.on, headway(leads.gap, self.speed_rear), np.inf)

    @cached_property
    def drac(self) -> Float[Array, "leads steps"]:
        """Deceleration to avoid a crash [m/s²]."""
        drac = deceleration_to_avoid_crash(self.gap, self.speed_rear, self.speed_front)
        return np.where(self.following, drac, 0.0)

    @cached_property
    def needed(self) -> Float[Array, "leads steps"]:
        """Required deceleration; means nothing where not ``needed_known`` [m/s²]."""
        return required_deceleration(
            self.gap,
            self.speed_rear,
            self.speed_front,
            self.motion.acceleration[self.motion.leads.b],
        )

    @cached_property
    def needed_known(self) -> Bool[Array, "leads steps"]:
        """Where there is a leader whose acceleration is known."""
        return self.following & self.motion.acceleration_known[self.motion.leads.b]

    @cached_property
    def swerve(self) -> Float[Array, "leads steps"]:
        """Required lateral acceleration to pass beside the leader [m/s²].

        From where both are in their lanes; while no TTC shorter than the horizon asks for it, 0.
        """
        motion, leads = self.motion, self.motion.leads
        _, rate, known = motion.lateral
        both = known[leads.a] & known[leads.b]
        ttc = np.where(self.ttc <= HORIZON_S, self.ttc, np.inf)
        return required_lateral_acceleration(
            ttc,
            motion.lane_d[leads.b] - motion.lane_d[leads.a],
            np.where(both, rate[leads.b] - rate[leads.a], 0.0),
            (motion.width[leads.a] + motion.width[leads.b])[:, None] / 2,
        )

    @cached_property
    def lacks_gap(self) -> Float[Array, "leads steps"]:
        """How much the gap falls short of the safe one of RSS; −∞ where nobody leads [m]."""
        leads = self.motion.leads
        safe = rss_safe_gap(
            self.speed_rear,
            np.maximum(self.speed_front, 0.0),
            response_s=RSS.response_s,
            accelerates=RSS.accelerates,
            brakes_least=RSS.brakes_least,
            brakes_most=RSS.brakes_most,
        )
        return np.where(leads.on, safe - leads.gap, -np.inf)

    def lacks_oncoming(self, rss: Responsibility) -> Float[Array, "pairs steps"]:
        """How much the gap to who comes the other way falls short of RSS's; −∞ where nobody does [m]."""
        motion, pairs, comes = self.motion, self.motion.pairs, oncoming_of(self.motion)
        safe = rss_oncoming_gap(
            motion.speed[pairs.a],
            motion.speed[pairs.b],
            response_s=rss.response_s,
            accelerates=rss.accelerates,
            brakes_correct=rss.brakes_correct,
            brakes_least=rss.brakes_least,
        )
        return np.where(comes.on, safe - comes.gap, -np.inf)

    # -- in the plane: (half the pairs, steps) ---------------------------------------------------

    @property
    def closing(self) -> Float[Array, "half steps"]:
        """Rate at which the centres approach each other [m/s]."""
        return self.motion.closing

    @cached_property
    def course_known(self) -> Bool[Array, "half steps"]:
        """Where both are seen, one of them drives, and they are near enough to be looked at."""
        motion = self.motion
        a, b = motion.pairs.a[: self.half], motion.pairs.b[: self.half]
        drives = (motion.drives[a] | motion.drives[b])[:, None]
        return (
            motion.pairs.seen[: self.half]
            & drives
            & (motion.pairs.clearance[: self.half] < LOOKS_M)
        )

    @cached_property
    def encounter(self) -> tuple[Float[Array, "half steps"], Float[Array, "half steps"]]:
        """DCE [m] and TTCE [s] within the horizon; ∞ where they do not approach each other.

        Exact where circles round the boxes pass within 1 m; farther, the distance of the circles.
        """
        motion = self.motion
        a, b = motion.pairs.a[: self.half], motion.pairs.b[: self.half]
        near = self.course_known & (self.closing > CLOSING)
        rows, steps = np.nonzero(near)
        first, second = (a[rows], steps), (b[rows], steps)
        p = motion.xy[second] - motion.xy[first]
        w = motion.velocity[second] - motion.velocity[first]
        when = np.clip(-(p * w).sum(axis=-1) / (w * w).sum(axis=-1), 0.0, HORIZON_S)
        reach = motion.half_diagonal
        rings = np.hypot(*(p + w * when[:, None]).T) - (reach[a] + reach[b])[rows]
        close = np.flatnonzero(rings < ENCOUNTER_M)
        i, j, t = a[rows[close]], b[rows[close]], steps[close]
        least = np.maximum(rings, 0.0)
        least[close], when[close] = closest_encounter(
            motion.boxes[i, t],
            motion.boxes[j, t],
            motion.velocity[i, t],
            motion.velocity[j, t],
            within_s=HORIZON_S,
        )
        dce, ttce = np.full(near.shape, np.inf), np.full(near.shape, np.inf)
        dce[rows, steps], ttce[rows, steps] = least, when
        # Those in contact have no encounter ahead.
        touching = near & (motion.pairs.clearance[: self.half] <= 0.0)
        dce[touching], ttce[touching] = 0.0, 0.0
        return dce, ttce

    @cached_property
    def ttc_2d(self) -> Float[Array, "half steps"]:
        """Seconds until the outlines touch; ∞ if not within the horizon."""
        dce, ttce = self.encounter
        return np.where(dce <= 0.0, ttce, np.inf)

    def wttc(self, acceleration: float) -> Float[Array, "half steps"]:
        """Seconds within which they cannot touch, whatever both do; ∞ where not looked at.

        Within circles round their boxes; things stay where they are.

        Args:
            acceleration: What a road user is capable of, in any direction [m/s²].
        """
        if acceleration not in self._wttc:
            self._wttc[acceleration] = self._worst_case(acceleration)
        return self._wttc[acceleration]

    def _worst_case(self, acceleration: float) -> Float[Array, "half steps"]:
        motion = self.motion
        a, b = motion.pairs.a[: self.half], motion.pairs.b[: self.half]
        rows, steps = np.nonzero(self.course_known)
        first, second = (a[rows], steps), (b[rows], steps)
        reach = motion.half_diagonal
        able = np.where(motion.is_thing, 0.0, acceleration)
        out = np.full(self.course_known.shape, np.inf)
        out[rows, steps] = worst_time_to_collision(
            motion.xy[second] - motion.xy[first],
            motion.velocity[second] - motion.velocity[first],
            (reach[a] + reach[b])[rows],
            (able[a] + able[b])[rows],
        )
        return out

    @cached_property
    def impact(self) -> tuple[Float[Array, "half steps"], Float[Array, "half steps"]]:
        """Delta-v of the first and of the second, where they are on course to touch; else 0 [m/s]."""
        motion = self.motion
        a, b = motion.pairs.a[: self.half], motion.pairs.b[: self.half]
        mass = mass_of(motion.cls)
        rows, steps = np.nonzero(np.isfinite(self.ttc_2d))
        relative = motion.velocity[b[rows], steps] - motion.velocity[a[rows], steps]
        speed = np.zeros(self.ttc_2d.shape)
        speed[rows, steps] = np.hypot(relative[:, 0], relative[:, 1])
        first, second = mass[a][:, None], mass[b][:, None]
        return delta_v(speed, first, second), delta_v(speed, second, first)

    # -- where ways cross: (conflicts, steps) ----------------------------------------------------

    @cached_property
    def at_crossing(self) -> Float[Array, "conflicts steps"]:
        """|d_i/v_i − d_j/v_j| of each of `Motion.conflicts` [s]; ∞ once one has passed."""
        motion, found = self.motion, self.motion.conflicts
        if not found:
            return np.zeros((0, motion.steps))
        first = np.array([c.first for c in found])
        second = np.array([c.second for c in found])
        way_first = _to_go(motion, first, np.array([c.first_at for c in found]))
        way_second = _to_go(motion, second, np.array([c.second_at for c in found]))
        apart = difference_at_crossing(
            way_first, way_second, motion.speed[first], motion.speed[second]
        )
        return np.where(motion.seen[first] & motion.seen[second], apart, np.inf)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """Ordered pairs beside or behind each other, going the same way.

    Attributes:
        known: Where that is so, and responsibility-sensitive safety can be asked.
        gap: Between their sides, negative where one is in the other's way [m].
        lacks: How much the gap falls short of the safe one; −∞ where not known [m].
        toward: Speed at which the other comes nearer from the side [m/s].
        unsafe_along: Whether the gap along is unsafe.
        dangerous: Whether both are.
        began: Step of the danger threshold; −1 where there is no danger.
        way: Which response the danger asks for, see :mod:`.lateral`.
    """

    known: Bool[Array, "pairs steps"]
    gap: Float[Array, "pairs steps"]
    lacks: Float[Array, "pairs steps"]
    toward: Float[Array, "pairs steps"]
    unsafe_along: Bool[Array, "pairs steps"]
    dangerous: Bool[Array, "pairs steps"]
    began: Int[Array, "pairs steps"]
    way: Int[Array, "pairs steps"]


@kept
def side_of(motion: Motion, rss: Responsibility = RSS) -> Side:
    """Room beside each other, for each of `Motion.pairs`.

    In the frame of the first. How fast they come nearer from the side is told by their lanes where
    both are on one: a frame that turns with the first would multiply the errors of its turn rate.
    """
    pairs = motion.pairs
    drive = (motion.is_vehicle[pairs.a] & motion.is_vehicle[pairs.b])[:, None]
    near = pairs.seen & drive & (pairs.x >= 0.0) & (pairs.clearance <= BESIDE_M)
    rows, steps = np.nonzero(near)
    a, b = pairs.a[rows], pairs.b[rows]
    turn = motion.yaw[b, steps] - motion.yaw[a, steps]
    same = (
        (np.cos(turn) >= PARALLEL) & (motion.speed[a, steps] >= 2.0) & motion.turn_known[a, steps]
    )
    rows, steps, a, b, turn = rows[same], steps[same], a[same], b[same], turn[same]
    x, y = pairs.x[rows, steps], pairs.y[rows, steps]
    cos, sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    along = (cos * motion.length[b] + sin * motion.width[b] + motion.length[a]) / 2
    aside = (cos * motion.width[b] + sin * motion.length[b] + motion.width[a]) / 2
    relative = motion.velocity[b, steps] - motion.velocity[a, steps]
    yaw = motion.yaw[a, steps]
    rate = np.cos(yaw) * relative[:, 1] - np.sin(yaw) * relative[:, 0]
    _, drift, on_lane = motion.lateral
    by_lane = on_lane[a, steps] & on_lane[b, steps]
    rate = np.where(
        by_lane, drift[b, steps] - drift[a, steps], rate - motion.yaw_rate[a, steps] * x
    )
    toward = -np.sign(y) * rate
    front = motion.velocity[b, steps]
    safe_along = rss_safe_gap(
        motion.speed[a, steps],
        np.maximum(np.cos(yaw) * front[:, 0] + np.sin(yaw) * front[:, 1], 0.0),
        response_s=rss.response_s,
        accelerates=rss.accelerates,
        brakes_least=rss.brakes_least,
        brakes_most=rss.brakes_most,
    )
    safe_aside = rss_safe_side(
        np.zeros(len(toward)),
        toward,
        response_s=rss.response_s,
        accelerates=rss.drifts,
        brakes=rss.brakes_aside,
        margin=rss.margin,
    )
    shape, at = pairs.seen.shape, (rows, steps)
    known, unsafe_along = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    gap, lacks = np.full(shape, np.inf), np.full(shape, -np.inf)
    sideways = np.zeros(shape)
    known[at], sideways[at] = True, toward
    gap[at] = np.abs(y) - aside
    lacks[at] = safe_aside - gap[at]
    unsafe_along[at] = x - along < safe_along
    dangerous, began, way = danger(unsafe_along, lacks > 0.0)
    return Side(
        known=known, gap=gap, lacks=lacks, toward=sideways, unsafe_along=unsafe_along,
        dangerous=dangerous, began=began, way=way,
    )  # fmt: skip


def _to_go(
    motion: Motion, agents: Int[Array, " many"], at: Int[Array, " many"]
) -> Float[Array, "many steps"]:
    """Way from each step to the step ``at``, along what each agent drove; negative after it [m]."""
    driven = np.cumsum(motion.speed[agents] * DT, axis=1)
    return np.take_along_axis(driven, at[:, None], axis=1) - driven


@kept
def measures_of(motion: Motion) -> Measures:
    """The measures of a scene; kept for the scene that was asked about last."""
    return Measures(motion)
