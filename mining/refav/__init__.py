"""RefAV's scenario definitions on a lake, without the Argoverse devkit.

    from mining import refav

    with refav.on(lake) as session:
        cars = refav.get_objects_of_category("0a1b…", category="VEHICLE")
        refav.output_scenario(refav.turning(cars, "0a1b…"), "turning", "0a1b…")
    session.found

The names, parameters and defaults are those of github.com/CainanD/RefAV (arXiv 2505.20981). A
definition that lies in a file is run by :func:`run_program`, which executes no Python.
"""

from mining.refav.functions import (
    FUNCTIONS,
    accelerating,
    at_pedestrian_crossing,
    at_stop_sign,
    being_crossed_by,
    changing_lanes,
    facing_toward,
    following,
    get_objects_in_relative_direction,
    get_objects_of_category,
    has_lateral_acceleration,
    has_objects_in_relative_direction,
    has_velocity,
    heading_in_relative_direction_to,
    heading_toward,
    in_drivable_area,
    in_same_lane,
    is_category,
    is_color,
    near_intersection,
    near_objects,
    on_intersection,
    on_lane_type,
    on_relative_side_of_road,
    on_road,
    output_scenario,
    reverse_relationship,
    scenario_and,
    scenario_not,
    scenario_or,
    stationary,
    turning,
    within_camera_view,
)
from mining.refav.log import Log
from mining.refav.program import Program, ProgramReport, run_program
from mining.refav.scenario import Scenario, stamps_of
from mining.refav.session import Found, Session, on
from mining.refav.tags import Kept, keep

__all__ = [
    "FUNCTIONS", "Found", "Kept", "Log", "Program", "ProgramReport", "Scenario", "Session", "accelerating",
    "at_pedestrian_crossing", "at_stop_sign", "being_crossed_by", "changing_lanes",
    "facing_toward", "following", "get_objects_in_relative_direction",
    "get_objects_of_category", "has_lateral_acceleration", "has_objects_in_relative_direction",
    "has_velocity", "heading_in_relative_direction_to", "heading_toward", "in_drivable_area",
    "in_same_lane", "is_category", "is_color", "keep", "near_intersection", "near_objects", "on",
    "on_intersection", "on_lane_type", "on_relative_side_of_road", "on_road", "output_scenario",
    "reverse_relationship", "run_program", "scenario_and", "scenario_not", "scenario_or",
    "stamps_of", "stationary", "turning", "within_camera_view",
]  # fmt: skip
