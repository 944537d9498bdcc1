"""Which values a predicate's intervals can have at all, by its own parameters.

``hard_brake`` is told where the acceleration is −4.05 m/s² or less, so that none is ever above: who
asks for ``hard_brake(ego) > 3 m/s2`` has the sign wrong, and would find nothing for ever.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

from mining.intervals import HYSTERESIS
from mining.predicates import PREDICATES
from mining.query.tree import Compare

Bound: TypeAlias = str | float | None
"""A parameter of the predicate, a number in its unit, or none."""

VALUES: Mapping[str, tuple[Bound, Bound]] = {
    "long_vehicle": ("length", None), "parked": (0.0, "span"), "occluded_by": ("share", 1.0),
    "moving": ("speed", None), "stopped": (0.0, "speed"), "low_speed": ("from", "to"),
    "medium_speed": ("from", "to"), "high_speed": ("speed", None),
    "accelerating": ("acceleration", None), "braking": (None, "acceleration"),
    "hard_brake": (None, "acceleration"), "harsh_accel": ("acceleration", None),
    "starting": ("to", None), "stopping": (None, "acceleration"), "reversing": (None, "speed"),
    "over_limit": ("excess", None), "jerk_high": ("jerk", None),
    "jerk_magnitude_high": ("jerk", None), "turning_left": ("angle_cut", None),
    "turning_right": ("angle_cut", None), "u_turn": ("angle", None),
    "three_point_turn": ("angle", None), "high_speed_turn": ("from", "to"),
    "low_speed_turn": ("from", "to"), "lat_accel_high": ("acceleration", None),
    "lat_accel_uncomfortable": ("acceleration", None), "yaw_rate_high": ("rate", None),
    "lane_keeping": (0.0, "offset"), "swerve": ("speed", None), "wrong_way": ("speed", None),
    "traversing_crosswalk": ("speed", None), "obstacle_on_road": (0.0, "aside"),
    "stalled_vehicle": ("duration", None), "narrow_lane": (0.0, "width"),
    "relevant_green": (0.0, "distance"), "relevant_yellow": (0.0, "distance"),
    "relevant_red": (0.0, "distance"), "relevant_off": (0.0, "distance"),
    "approaching_red": (0.0, "distance"), "red_light_running": ("speed", None),
    "stationary_at_light": (None, "distance"), "dilemma_yellow": ("from", "to"),
    "near": (0.0, "distance"), "very_near": (0.0, "distance"), "nearest": (0.0, "distance"),
    "in_front_of": (0.0, "distance"), "behind": (0.0, "distance"), "left_of": (0.0, "distance"),
    "right_of": (0.0, "distance"), "facing": (0.0, "angle"), "heading_toward": (0.0, "angle"),
    "same_heading": ("from", "to"), "opposite_heading": ("from", "to"),
    "perpendicular_heading": ("from", "to"), "closing": ("speed", None),
    "count_near": ("count", None), "behind_long": ("from", "to"), "view_blocking": ("angle", None),
    "following": (None, "gap"), "slow_lead": ("speed", None), "queuing": (None, "gap"),
    "crosses_in_front": ("eta_least", "eta_most"), "oncoming_turn_conflict": (0.0, "pet"), "platoon": ("count", None),
    "ttc": (0.0, "ttc"), "ttc_2d": (0.0, "ttc"), "thw": (0.0, "thw"), "pet": (0.0, "pet"),
    "drac": ("drac", None), "a_req": ("a_req", None), "btn": ("btn", None), "stn": ("stn", None),
    "mttcp": (0.0, "mttcp"), "et": ("et", None), "dce": (0.0, "dce"), "delta_v": ("delta_v", None),
    "tet": ("tet", None), "tit": ("tit", None), "cpi": ("cpi", 1.0), "collision": ("speed", None),
    "near_miss": (0.0, "pet"), "kalman_difficulty": ("epe", None),
    "counterfactual_delta": ("delta", None), "work_zone": ("count", None),
    "traffic_density": ("count", None), "vru_density": ("count", None),
}  # fmt: skip
"""The least and the greatest value of each predicate whose values its definition bounds."""


def bounds(name: str) -> tuple[float, float]:
    """The least and the greatest value that a predicate is told with, ∓∞ where there is no such."""
    least, most = VALUES.get(name, (None, None))
    limits = PREDICATES[name].limits
    return (
        -math.inf if least is None else limits[least] if isinstance(least, str) else least,
        math.inf if most is None else limits[most] if isinstance(most, str) else most,
    )


def never(name: str, compare: Compare) -> bool:
    """Whether no value of a predicate compares so, even one that hysteresis lets fall short."""
    least, most = bounds(name)
    return outside(
        compare, least - HYSTERESIS * abs(least) if math.isfinite(least) else least,
        most + HYSTERESIS * abs(most) if math.isfinite(most) else most,
    )  # fmt: skip


def outside(compare: Compare, least: float, most: float) -> bool:
    """Whether no number from the least to the greatest compares so."""
    match compare.op:
        case ">":
            return compare.number >= most
        case ">=":
            return compare.number > most
        case "<":
            return compare.number <= least
        case "<=":
            return compare.number < least
        case "=":
            return not least <= compare.number <= most
    return False
