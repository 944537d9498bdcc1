"""Every tag of nuPlan is a predicate or a shipped rule, and some of them are known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mining.predicates import PREDICATES
from mining.query import holds
from mining.query.rules import shipped_rules
from schemas.labels import AgentClass
from tests.mining import micro

NAMES = [
    "accelerating_at_crosswalk",
    "accelerating_at_stop_sign",
    "accelerating_at_stop_sign_no_crosswalk",
    "accelerating_at_traffic_light",
    "accelerating_at_traffic_light_with_lead",
    "accelerating_at_traffic_light_without_lead",
    "behind_bike",
    "behind_long_vehicle",
    "behind_pedestrian_on_driveable",
    "behind_pedestrian_on_pickup_dropoff",
    "changing_lane",
    "changing_lane_to_left",
    "changing_lane_to_right",
    "changing_lane_with_lead",
    "changing_lane_with_trail",
    "crossed_by_bike",
    "crossed_by_vehicle",
    "following_lane_with_lead",
    "following_lane_with_slow_lead",
    "following_lane_without_lead",
    "high_lateral_acceleration",
    "high_magnitude_jerk",
    "high_magnitude_speed",
    "medium_magnitude_speed",
    "low_magnitude_speed",
    "near_barrier_on_driveable",
    "near_construction_zone_sign",
    "near_high_speed_vehicle",
    "near_long_vehicle",
    "near_multiple_bikes",
    "near_multiple_pedestrians",
    "near_multiple_vehicles",
    "near_pedestrian_at_pickup_dropoff",
    "near_pedestrian_on_crosswalk",
    "near_pedestrian_on_crosswalk_with_ego",
    "near_trafficcone_on_driveable",
    "on_all_way_stop_intersection",
    "on_carpark",
    "on_intersection",
    "on_pickup_dropoff",
    "on_stopline_crosswalk",
    "on_stopline_stop_sign",
    "on_stopline_traffic_light",
    "on_traffic_light_intersection",
    "starting_high_speed_turn",
    "starting_left_turn",
    "starting_low_speed_turn",
    "starting_protected_cross_turn",
    "starting_protected_noncross_turn",
    "starting_right_turn",
    "starting_straight_stop_sign_intersection_traversal",
    "starting_straight_traffic_light_intersection_traversal",
    "starting_u_turn",
    "starting_unprotected_cross_turn",
    "starting_unprotected_noncross_turn",
    "stationary",
    "stationary_at_crosswalk",
    "stationary_at_traffic_light_with_lead",
    "stationary_at_traffic_light_without_lead",
    "stationary_in_traffic",
    "stopping_at_crosswalk",
    "stopping_at_stop_sign_no_crosswalk",
    "stopping_at_stop_sign_with_lead",
    "stopping_at_stop_sign_without_lead",
    "stopping_at_traffic_light_with_lead",
    "stopping_at_traffic_light_without_lead",
    "stopping_with_lead",
    "traversing_crosswalk",
    "traversing_intersection",
    "traversing_narrow_lane",
    "traversing_pickup_dropoff",
    "traversing_traffic_light_intersection",
    "waiting_for_pedestrian_to_cross",
]


def test_all_tags_are_there():
    assert len(NAMES) == len(set(NAMES)) == 73
    assert not set(NAMES) - {*PREDICATES, *shipped_rules()}


def test_only_published_definitions_claim_to_be_nuplans():
    published = [
        n for n in NAMES if n in shipped_rules() and "nuPlan docs" in shipped_rules()[n].source
    ]
    assert len(published) == 14


@pytest.mark.parametrize("steps_ahead", [12.0, 25.0])
def test_following_with_a_lead_needs_one_near(steps_ahead):
    ego = micro.along(lambda t: 5.0 * t)
    lead = micro.along(lambda t: 5.0 * t, start=(steps_ahead, 0.0))
    scene = micro.scene(ego, lead)
    near = steps_ahead - 4.8 < 7.5
    assert bool(holds("following_lane_with_lead(ego, a)", [scene])[0]) == near
    assert bool(holds("following_lane_without_lead(ego)", [scene])[0]) is False


def test_behind_a_bike_and_not_a_car():
    ego = micro.along(lambda t: 3.0 * t)
    for cls, found in ((AgentClass.CYCLIST, True), (AgentClass.VEHICLE, False)):
        ahead = micro.along(lambda t: 3.0 * t, start=(9.0, 0.0), cls=cls)
        assert bool(holds("behind_bike(ego, b)", [micro.scene(ego, ahead)])[0]) == found


@pytest.mark.parametrize(("speed", "name"), [(0.8, "low"), (5.0, "medium"), (12.0, "high")])
def test_speeds(speed, name):
    scene = micro.scene(micro.along(lambda t: speed * t))
    for other in ("low", "medium", "high"):
        assert bool(holds(f"{other}_magnitude_speed(ego)", [scene])[0]) == (other == name)


def test_standing_in_traffic_needs_seven_vehicles():
    ego = micro.along(lambda t: 0.0 * t)
    for others, found in ((6, False), (7, True)):
        turns = 2 * np.pi * np.arange(others) / 7
        around = [micro.still(9.0 * np.cos(turn), 9.0 * np.sin(turn)) for turn in turns]
        scene = micro.scene(ego, *around)
        assert bool(holds("stationary_in_traffic(ego)", [scene])[0]) == found
