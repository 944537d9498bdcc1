"""Criticality measures, vectorised: arrays of pairs in, arrays out.

There is no consensus on one measure of risk (Westhofen et al. 2022 review them), so several stand
side by side: along a lane (:mod:`.longitudinal`), beside each other (:mod:`.lateral`), in the plane
(:mod:`.crossing`), added up over time (:mod:`.exposure`), and by consequence (:mod:`.impact`). What
a whole scene comes to is in :mod:`.scene`; how much each road user mattered to the ego in
:mod:`.counterfactual`.
"""

from mining.criticality.crossing import (
    closest_encounter,
    difference_at_crossing,
    encroachment,
    encroachment_time,
    meet_turning,
    shared_ground,
    sweep_time,
    worst_time_to_collision,
)
from mining.criticality.exposure import crash_potential, time_exposed, time_integrated
from mining.criticality.impact import delta_v, mass_of
from mining.criticality.lateral import (
    danger,
    proper_response,
    required_lateral_acceleration,
    rss_safe_side,
    steer_threat_number,
)
from mining.criticality.longitudinal import (
    brake_threat_number,
    deceleration_to_avoid_crash,
    headway,
    required_deceleration,
    rss_oncoming_gap,
    rss_safe_gap,
    time_to_collision,
)

__all__ = [
    "brake_threat_number",
    "closest_encounter",
    "crash_potential",
    "danger",
    "deceleration_to_avoid_crash",
    "delta_v",
    "difference_at_crossing",
    "encroachment",
    "encroachment_time",
    "headway",
    "mass_of",
    "meet_turning",
    "proper_response",
    "required_deceleration",
    "required_lateral_acceleration",
    "rss_oncoming_gap",
    "rss_safe_gap",
    "rss_safe_side",
    "shared_ground",
    "steer_threat_number",
    "sweep_time",
    "time_exposed",
    "time_integrated",
    "time_to_collision",
    "worst_time_to_collision",
]
