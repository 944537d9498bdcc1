"""Every predicate can be said in several ways of plain English, and each means what an engineer would."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from mining.predicates import PREDICATES
from mining.query.check import checked
from mining.query.mistakes import BadExpression
from mining.query.parse import parse
from mining.query.words import lexicon, phrases_known, translate

SAID = {
    # Who and how they move.
    "overtake(vehicle v, ego) and special_vehicle(v)": (
        "an emergency vehicle overtakes the ego", "the ego is overtaken by a priority vehicle",
    ),
    "moving(car c) and near(c, ego)": ("a car is moving near the ego", "a car is in motion near the ego"),
    "jerk_magnitude_high(ego) > 10 m/s3": (
        "the ego has a total jerk above 10 m/s3", "our car has an overall jerk of more than 10 m/s3",
    ),
    "trajectory_stationary(car c)": ("a car stays in place", "a car remains where it is"),
    "trajectory_straight(truck t)": ("a truck goes straight ahead", "a truck has a straight trajectory"),
    "trajectory_straight_left(ego)": ("the ego drifts to the left", "the ego is bearing left"),
    "trajectory_straight_right(car c)": ("a car shifts right", "a car drifted rightwards"),
    "trajectory_left(car c)": ("a car has a left turning trajectory", "a car turns left overall"),
    "trajectory_right(car c)": ("a car has a right turn track", "a car ends up on the right"),
    "trajectory_left_u_turn(ego)": ("the ego makes a left U-turn", "the ego turns back to the left"),
    "trajectory_right_u_turn(ego)": (
        "the ego is doing a u-turn to the right", "the ego turns around to the right",
    ),
    "three_point_turn(truck t)": (
        "a truck makes a three-point turn", "a three-point turn by a truck",
        "a truck turns around in three moves",
    ),
    "high_speed_turn(ego) > 10 m/s": (
        "the ego turns at more than 10 m/s", "the ego turns with a speed above 10 m/s",
    ),
    "high_speed_turn(ego)": ("the ego turns at high speed", "the ego makes a fast turn"),
    "low_speed_turn(car c) < 3 m/s": ("a car turns slower than 3 m/s", "a car makes a turn slower than 3 m/s"),
    "low_speed_turn(car c)": ("a car turns slowly", "a car turns at walking speed"),
    "lat_accel_uncomfortable(ego)": (
        "the ego corners uncomfortably hard", "we have an uncomfortable lateral acceleration",
    ),
    "kalman_difficulty(car c)": ("a car is hard to predict", "a car moves unpredictably"),
    "kalman_difficulty(car c) > 60 m": (
        "a car has a forecast error above 60 m", "a car has a prediction error of more than 60 m",
    ),
    # Lanes and roads.
    "lane_keeping(ego)": ("the ego stays in its lane", "the ego is keeping its lane"),
    "merge(car c)": ("a car merges onto the highway", "a car joins the motorway", "a car is merging"),
    "pull_over(car c)": ("a car pulls over", "a car pulls over to the side of the road"),
    "pull_out(truck t)": ("a truck pulls out", "a truck is pulling out from the kerb"),
    "in_drivable(car c)": ("a car is on the drivable area", "a car is within the drivable surface"),
    "on_vehicle_lane(cyclist c)": ("a cyclist is in the vehicle lane", "a cyclist is on a lane for cars"),
    "on_bike_lane(cyclist c)": ("a cyclist is on the bike lane", "there is a cyclist in a lane for bicycles"),
    "on_bus_lane(bus b)": ("a bus is in the bus lane", "a bus is on a lane for buses"),
    "traversing_crosswalk(pedestrian p)": (
        "a pedestrian uses the crosswalk", "a pedestrian walks over a zebra crossing",
        "a pedestrian crosses the street at a crosswalk",
    ),
    "stalled_vehicle(truck t)": ("a truck has broken down on the road", "a truck is stalled"),
    "obstacle_on_road(obstacle o)": ("an obstacle lies on the road", "an obstacle is in the lane"),
    "on_stop_line(car c)": ("a car is over the stop line", "a car crosses the stop line"),
    "braking(ego) and all_way_stop(ego)": (
        "the ego brakes at a four-way stop", "the ego brakes near an all-way stop junction",
    ),
    "braking(car c) and in_carpark(c)": ("a car brakes in a parking lot", "a car brakes in the car park"),
    "stopping(car c) and in_pickup_dropoff(c)": (
        "a car stops in the pick-up and drop-off zone", "a car stops at a drop-off point",
    ),
    "narrow_lane(ego) < 2.5 m": (
        "the ego drives on a lane narrower than 2.5 m", "the ego uses a lane narrower than 2.5 m",
    ),
    "braking(ego) and narrow_lane(ego)": ("the ego brakes in a narrow lane", "the ego brakes in a tight lane"),
    "same_side_of_road(car c, ego)": (
        "a car is on the same side of the road as the ego", "a car is on the same carriageway as us",
    ),
    "opposite_side_of_road(truck t, ego)": (
        "a truck is on the other side of the road from the ego", "a truck is on the opposite side to the ego",
    ),
    # Signals.
    "relevant_green(ego)": ("the ego has a green light", "we face a green traffic light"),
    "relevant_green(ego) and moving(ego)": (
        "the ego approaches a green light", "the ego drives towards a green signal",
    ),
    "braking(ego) and relevant_yellow(ego)": (
        "the ego brakes before a yellow light", "the ego brakes in front of a yellow signal",
    ),
    "relevant_red(ego)": ("the ego faces a red light", "the ego has a red traffic light ahead"),
    "braking(ego) and relevant_red(ego) <= 30 m": (
        "the ego brakes within 30 m of a red traffic light", "the ego is braking within 30 m of the red light",
    ),
    "relevant_off(ego)": ("the ego faces a dark traffic light", "the ego has a dead signal ahead"),
    # One and another.
    "very_near(pedestrian p, ego)": (
        "a pedestrian comes very close to the ego", "a pedestrian is right next to the ego",
    ),
    "nearest(cyclist c, ego)": (
        "a cyclist is nearest to the ego", "a cyclist is the closest road user to the ego",
    ),
    "in_front_of(car c, ego)": ("a car is somewhere ahead of the ego", "a car is well in front of the ego"),
    "behind(car c, ego)": ("a car is somewhere behind the ego", "a car is to the rear of the ego"),
    "left_of(motorcycle m, ego)": (
        "a motorcycle is to the left of the ego", "there is a motorcycle on the left side of the ego",
    ),
    "right_of(car c, ego)": ("a car is right of the ego", "a car is on the right of us"),
    "facing(pedestrian p, ego)": ("a pedestrian faces the ego", "a pedestrian is turned towards the ego"),
    "same_heading(truck t, ego)": (
        "a truck heads the same way as the ego", "a truck has the same heading as the ego",
    ),
    "opposite_heading(truck t, ego)": (
        "a truck faces the opposite way to the ego", "a truck has the opposite heading to the ego",
    ),
    "perpendicular_heading(car c, ego)": (
        "a car is perpendicular to the ego", "a car is at a right angle to the ego",
    ),
    "view_blocking(truck t) and parked(t)": (
        "a parked truck blocks our view", "a parked truck obstructs the ego's view",
    ),
    "occluded_by(pedestrian p, bus b)": (
        "a bus hides a pedestrian", "a pedestrian is occluded by a bus",
        "a bus blocks the ego's view of a pedestrian",
    ),
    "occluded_by(pedestrian p, truck t) > 80 %": (
        "a pedestrian is more than 80% occluded by a truck",
        "a pedestrian is hidden by a truck by more than 80 percent",
    ),
    "between(truck t, pedestrian p)": (
        "a truck is between the ego and a pedestrian", "a truck comes between a pedestrian and us",
    ),
    "lane_splitting(motorcycle m)": ("a motorcyclist filters between cars", "a motorcycle is splitting lanes"),
    "platoon(truck t) >= 4": (
        "a truck leads a convoy of at least four vehicles", "a truck heads a platoon of at least 4 cars",
    ),
    # Criticality.
    "btn(ego, truck t) > 1.5": (
        "the ego has a brake threat number above 1.5 to a truck",
        "the btn between the ego and a truck exceeds 1.5",
    ),
    "btn(ego, truck t)": (
        "the ego has to brake at the limit for a truck", "we are barely able to brake for a truck",
    ),
    "stn(ego) >= 2": (
        "the ego has a steer threat number of at least 2", "the ego's steering threat number is at least 2",
    ),
    "mttcp(ego, cyclist c) < 2 s": (
        "the minimum time to conflict point between the ego and a cyclist is below 2 s",
        "the ego has an mttcp below 2 s to a cyclist",
    ),
    "et(ego) > 4 s": ("an encroachment time of the ego above 4 s", "the ego has an encroachment time above 4 s"),
    "dce(ego, car c) < 0.3 m": (
        "the ego has a distance of closest encounter to a car below 0.3 m",
        "the dce between the ego and a car is below 0.3 m",
    ),
    "rss_lateral(car c, ego)": (
        "a car violates the lateral RSS distance to the ego", "a car is too close sideways to the ego",
    ),
    "rss_danger(ego)": ("the ego is in an RSS danger", "the ego is in a dangerous RSS situation"),
    "delta_v(ego, truck t) > 10 m/s": (
        "the delta v of the ego to a truck is above 10 m/s",
        "the ego has an expected crash severity above 10 m/s to a truck",
    ),
    "tet(ego) > 2 s": ("the ego has a TET above 2 s", "the ego's time-exposed time to collision exceeds 2 s"),
    "tit(ego) > 1 s2": (
        "the ego has a TIT above 1 s2", "the time-integrated time to collision of the ego is above 1 s2",
    ),
    "cpi(ego) > 0.05": (
        "the ego has a crash potential index above 0.05", "the ego's CPI is more than 0.05",
    ),
    "counterfactual_delta(ego, car c)": (
        "the ego is saved by the reaction of a car", "the ego depends on the reaction of a car",
    ),
    # The whole scene.
    "braking(ego) and surface()": ("the ego brakes on a wet road", "the road is wet and the ego brakes"),
    "braking(ego) and work_zone()": (
        "the ego brakes near a construction site", "there are road works and the ego brakes",
    ),
    "braking(ego) and zone()": ("the ego brakes in a special zone", "the ego brakes in a zone with special rules"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("sentence", "query"), [(said, query) for query, ways in SAID.items() for said in ways]
)
def test_each_way_means_the_query_that_an_engineer_would_write(sentence, query):
    made = translate(sentence)
    assert str(made) == str(parse(query))
    assert checked(made).node == checked(parse(query)).node


def test_every_predicate_has_at_least_two_phrases_beside_its_name():
    ways = defaultdict(set)
    for phrase in phrases_known().all():
        for name in re.findall(r"\w+", phrase.means.split(" is ")[0]):
            bare = re.sub(r"\b(be|is) |\{\w+\}", "", phrase.dictionary).strip()
            if bare != name.replace("_", " "):
                ways[name].add(phrase.dictionary)
    by_noun = {"is_ego", "category"}  # "the ego", "a pedestrian"
    assert not {name for name in PREDICATES if len(ways[name]) < 2} - by_noun
    assert not lexicon.phrases_of({})


NEWCOMERS = {
    # Numbers, plurals, and nouns without a verb.
    "more than three pedestrians near the ego at night":
        "count(pedestrian p where near(p, ego)) > 3 and daylight is night",
    "a parked car near the ego": "near(car c, ego) and parked(c)",
    "two cars overtake the ego within 10 s": "count(car c where overtake(c, ego)) >= 2 within 10 s",
    "at least five pedestrians cross the crosswalk":
        "count(pedestrian p where traversing_crosswalk(p)) >= 5",
    "three or more vehicles are stopped ahead of the ego":
        "count(vehicle v where stopped(v) and in_front_of(v, ego)) >= 3",
    "at most one car is behind the ego": "count(car c where behind(c, ego)) <= 1",
    "hard braking": "hard_brake(_)",
    "scenes with a near miss": "near_miss(_)",
    "ttc of less than 1.5 seconds between the ego and a pedestrian": "ttc(ego, pedestrian p) < 1.5 s",
    "crash potential index above 0.05": "cpi(_) > 0.05",
    "the ego has a TTC below 1 s and its THW is below 0.5 s": "ttc(ego) < 1 s and thw(ego) < 0.5 s",
    "the ego speeds by more than 20 km/h": "over_limit(ego) > 20 km/h",
    "the ego drives over 100 km/h": "high_speed(ego) > 100 km/h",
    "the ego drives less than 2 m from a cyclist": "moving(ego) and near(ego, cyclist c) < 2 m",
    "the ego stops less than 2 m behind a car": "stopping(ego) and following(ego, car c) < 2 m",
    "the ego drives within 5 m behind a truck": "moving(ego) and following(ego, truck t) <= 5 m",
    # What is not so.
    "the ego turns left without yielding to a pedestrian":
        "turning_left(ego) and not yields_to(ego, pedestrian p)",
    "the ego has a red light and does not brake": "relevant_red(ego) and not braking(ego)",
    "there are no pedestrians near the ego": "not near(pedestrian p, ego)",
    "the ego never moves": "count(moving(ego)) = 0",
    "scenes without rain where the ego brakes hard": "hard_brake(ego) and not weather is rain",
    "no one is near the ego and it brakes": "not near(a, ego) and braking(ego)",
    "a car which does not move blocks us": "blocked_by(ego, car c) and not moving(c)",
    # One thing and another.
    "a bus stops and then pulls out": "stopping(bus b) then pull_out(b)",
    "the ego keeps its lane for at least 10 s without braking":
        "(lane_keeping(ego) and not braking(ego)) for at least 10 s",
    "a bus occludes a pedestrian and then the pedestrian crosses in front of the ego":
        "occluded_by(pedestrian p, bus b) then crosses_in_front(p, ego)",
    "a motorcycle filters through traffic and then cuts in in front of us":
        "lane_splitting(motorcycle m) then cut_in(m, ego)",
    "a car that is parked and that is near the ego sets off":
        "starting(car c) and parked(c) and near(c, ego)",
    "a car stops on the stop line": "stopping(car c) and on_stop_line(c)",
    "a cyclist on the bike lane overtakes us": "overtake(cyclist c, ego) and on_bike_lane(c)",
    "either the ego brakes or it swerves": "braking(ego) or swerve(ego)",
    "the ego drives through a roundabout": "moving(ego) and roundabout(ego)",
    "the ego is stuck in traffic": "queuing(ego)",
    "the ego brakes less than 2 s after a car cuts in": "cut_in(car c) before braking(ego) within 2 s",
    "the ego brakes at most 2 s after a car cuts in": "cut_in(car c) before braking(ego) within 2 s",
    "within 2 s after a car cuts in the ego brakes": "cut_in(car c) before braking(ego) within 2 s",
    "within 2 s before a car cuts in, the ego brakes": "braking(ego) before cut_in(car c) within 2 s",
}  # fmt: skip


@pytest.mark.parametrize(("sentence", "query"), NEWCOMERS.items(), ids=NEWCOMERS)
def test_what_a_newcomer_types_is_meant_so(sentence, query):
    made = translate(sentence)
    assert str(made) == str(parse(query))
    assert checked(made).node == checked(parse(query)).node


REFUSED = [
    ("an ambulance overtakes the ego", "ambulance", "an emergency vehicle"),
    ("a bicycle rides on the sidewalk", "sidewalk", "off the road"),
    ("neither a car nor a truck is near the ego", "neither", "no car … and no truck"),
    ("both cars brake", "both", "Name each"),
    ("an oncoming car brakes", "oncoming", "opposite side"),
    ("how often does the ego brake hard", "how", "Matches are counted"),
    ("does the ego brake hard?", "does", "Say what happens"),
    ("which scenes have a near miss?", "which", "scenes where"),
    ("the ego brakes although a car cuts in", "although", "`while`"),
    ("scenes with at least 3 pedestrians", "", "near the ego"),
    ("parked cars near the ego", "parked", "at least two parked cars"),
    ("the ego passes a cyclist within 1 m", "1 m", "while it is within 1 m of"),
    ("the ego has a TTC below 1 s and a THW below 0.5 s", "a THW below 0.5 s", "Say whose"),
    ("a car waits at a green light", "green", "green light"),
    ("the ego drives below 30 km/h", "30 km/h", "creeps"),
    ("a car turns slower than 10 m/s", "10 m/s", "less than 4 m/s"),
    ("a truck leads a convoy of more than 2 vehicles", "more than 2", "more than 3"),
    ("the ego has a btn above 0.5", "above 0.5", "more than 1"),
    ("a car is 5 m behind the ego", "behind", "at least 5 m"),
    ("a truck cuts in and the ttc between them is below 1 s", "them", "Name both"),
    ("the ego brakes 2 s after a car cuts in", "after", "within 2 s after"),
    ("all cars brake", "all", "A query cannot say `all`"),
    ("the ego has no car behind it", "car", "clause of its own"),
    ("a car cuts in. the ego brakes", ".", "one sentence"),
    ("the ego brakes more than 2 s after a car cuts in", "2 s", "m/s2"),
    ("the ego has a total jerk above 10 m/s2", "above 10 m/s2", "m/s3"),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "marked", "hint"), REFUSED, ids=[r[0] for r in REFUSED])
def test_what_cannot_be_asked_is_refused_with_what_can(sentence, marked, hint):
    with pytest.raises(BadExpression) as told:
        translate(sentence)
    begin, end = told.value.place
    assert sentence[begin:end] == marked
    assert hint in told.value.hint
