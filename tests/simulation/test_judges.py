"""Judges of planted behaviours on motion in closed form, on both sides of each threshold.

No predicate and nothing of the world's traffic is asked: what is true here is true by construction.
Thresholds are 90 % of what predicates publish, as the module under test says.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from schemas.labels import AgentClass, LightState, MapLayer
from schemas.records import LightStates, RoadMap
from simulation.judges import JUDGES, Ground, Hit, judged
from simulation.rare import BEHAVIOURS
from simulation.truth import Motion
from tests.mining import micro

STEPS = 101
T = np.arange(STEPS) * 0.1
CAR, PERSON, THING = AgentClass.VEHICLE, AgentClass.PEDESTRIAN, AgentClass.OBSTACLE
RED, GREEN = LightState.RED, LightState.GREEN
ALL = Hit(0, -1, 0, STEPS - 1)
BOTH = Hit(0, 1, 0, STEPS - 1)


def user(
    x: object,
    y: object = 0.0,
    *,
    yaw: object = 0.0,
    speed: object = 0.0,
    acceleration: object = 0.0,
    cls: AgentClass = CAR,
    word: str = "REGULAR_VEHICLE",
    steps: int = STEPS,
) -> Motion:
    """One alone, by numbers or one number a step."""
    size = {CAR: (4.8, 2.0, 1.6), PERSON: (0.6, 0.6, 1.8), THING: (0.6, 0.6, 0.8)}[cls]
    line = lambda v: np.broadcast_to(np.asarray(v, dtype=float), steps)[None].copy()  # noqa: E731
    there = np.ones((1, steps), dtype=bool)
    return Motion(
        source_track_id=("",),
        cls=(cls,),
        source_cls=(word,),
        size=np.array([size]),
        xy=np.stack([line(x), line(y)], axis=-1),
        yaw=line(yaw),
        speed=line(speed),
        acceleration=line(acceleration),
        present=there,
        observed=there.copy(),
    )


def together(*users: Motion) -> Motion:
    """All of them in one world."""
    arrays = ("size", "xy", "yaw", "speed", "acceleration", "present", "observed")
    return Motion(
        source_track_id=tuple(str(k) for k in range(len(users))),
        cls=tuple(u.cls[0] for u in users),
        source_cls=tuple(u.source_cls[0] for u in users),
        **{name: np.concatenate([getattr(u, name) for u in users]) for name in arrays},
    )


def says(
    behaviour: str,
    motion: Motion,
    hit: Hit = ALL,
    *,
    road: RoadMap | None = None,
    lights: LightStates | None = None,
) -> bool:
    ground = Ground(micro.road() if road is None else road, lights or LightStates.none())
    return judged(behaviour, hit, motion=motion, ground=ground)


def only(steps: slice, value: float, otherwise: float = 0.0) -> np.ndarray:
    """A value at some steps, another at the rest."""
    made = np.full(STEPS, otherwise)
    made[steps] = value
    return made


def test_every_behaviour_that_is_planted_has_a_judge() -> None:
    assert set(JUDGES) == set(BEHAVIOURS)


# -- braking -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("braking", "lasts", "true"), [(-3.65, 3, True), (-3.64, 3, False), (-8.0, 2, False)]
)
def test_hard_braking(braking: float, lasts: int, true: bool) -> None:
    motion = user(10.0 * T, acceleration=only(slice(40, 40 + lasts), braking))
    assert says("hard_brake", motion) == true


@pytest.mark.parametrize(("begin", "true"), [(43, True), (44, False)])
def test_half_a_second_after_a_hit_still_counts(begin: int, true: bool) -> None:
    motion = user(10.0 * T, acceleration=only(slice(begin, begin + 3), -5.0))
    assert says("hard_brake", motion, Hit(0, -1, 20, 40)) == true


# -- swerving ------------------------------------------------------------------------------------


def lurch(out: float, back: float, *, lasts: int = 5, returns: int = 5) -> np.ndarray:
    """Heading from the lane's of one who moves aside at these speeds [m/s] while driving at 10."""
    made = only(slice(30, 30 + lasts), float(np.arcsin(out / 10.0)))
    made[30 + lasts : 30 + lasts + returns] = np.arcsin(back / 10.0)
    return made


@pytest.mark.parametrize(
    ("out", "back", "true"),
    [(0.73, -0.73, True), (0.71, -0.73, False), (0.73, -0.71, False), (-0.73, 0.73, True),
     (2.0, 0.0, False)],
)  # fmt: skip
def test_swerving(out: float, back: float, true: bool) -> None:
    assert says("swerve", user(10.0 * T - 50.0, yaw=lurch(out, back), speed=10.0)) == true


@pytest.mark.parametrize(("lasts", "true"), [(9, True), (10, False)])
def test_who_does_not_come_back_did_not_swerve(lasts: int, true: bool) -> None:
    """2 m/s aside for 0.9 or 1 s, and 0.2 m of it back: 1.6 m or 1.8 m away from where it was."""
    yaw = lurch(2.0, -1.0, lasts=lasts, returns=2)
    assert says("swerve", user(10.0 * T - 50.0, yaw=yaw, speed=10.0)) == true


@pytest.mark.parametrize(("out", "true"), [(0.0, False), (1.0, True)])
def test_a_bend_of_the_road_is_no_swerve(out: float, true: bool) -> None:
    """Round a bend of 60 m to the left, then one to the right, along the lane or with a lurch."""
    s = np.arange(0.0, 101.0, 1.0)
    heading = np.where(s < 50.0, s / 60.0, (100.0 - s) / 60.0)
    xy = np.column_stack([np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading))])
    road = micro.build([micro.lane(xy)])
    at = (10.0 * T)[:-1]
    x, y = (np.interp(at, s, xy[:, k]) for k in (0, 1))
    yaw = np.interp(at, s, heading) + lurch(out, -out)[:-1]
    motion = user(x, y, yaw=yaw, speed=10.0, steps=STEPS - 1)
    assert says("swerve", motion, Hit(0, -1, 5, 95), road=road) == true


# -- the wrong way -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("speed", "lasts", "turned", "y", "true"),
    [
        (1.81, 50, 180.0, 7.0, True), (1.79, 50, 180.0, 7.0, False),
        (5.0, 9, 180.0, 7.0, True), (5.0, 8, 180.0, 7.0, False),
        (5.0, 50, 122.0, 7.0, True), (5.0, 50, 121.0, 7.0, False),
        (5.0, 50, 180.0, 8.74, True), (5.0, 50, 180.0, 8.76, False),
        (5.0, 50, 180.0, 0.0, False),  # eastward in a lane to the east
    ],
)  # fmt: skip
def test_driving_the_wrong_way(
    speed: float, lasts: int, turned: float, y: float, true: bool
) -> None:
    """On the lane to the west, which heads for 180°."""
    yaw = np.radians(180.0 - turned)
    motion = user(T, y, yaw=yaw, speed=only(slice(20, 20 + lasts), speed))
    assert says("wrong_way", motion) == true


def test_against_a_lane_that_another_runs_along_on_the_same_ground_is_no_wrong_way() -> None:
    west = micro.lane([(100.0, 0.0), (-100.0, 0.0)])
    east = micro.lane([(-100.0, 0.0), (100.0, 0.0)])
    motion = user(5.0 * T, speed=5.0)
    assert says("wrong_way", motion, road=micro.build([west]))
    assert not says("wrong_way", motion, road=micro.build([west, east]))
    inside = micro.lane([(100.0, 0.0), (-100.0, 0.0)], junction=True)
    assert not says("wrong_way", motion, road=micro.build([inside]))


# -- on foot -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "speed", "lasts", "true"),
    [
        (-1.66, 1.0, 50, True), (-1.67, 1.0, 50, False),
        (0.0, 0.46, 50, True), (0.0, 0.44, 50, False),
        (0.0, 1.0, 9, True), (0.0, 1.0, 8, False),
    ],
)  # fmt: skip
def test_walking_on_the_road(y: float, speed: float, lasts: int, true: bool) -> None:
    walker = user(T, y, speed=only(slice(20, 20 + lasts), speed), cls=PERSON)
    assert says("jaywalking", walker) == true


@pytest.mark.parametrize(("x", "true"), [(2.91, True), (2.89, False), (0.0, False)])
def test_walking_near_a_crosswalk(x: float, true: bool) -> None:
    """Across the lane, 0.91 m or 0.89 m beside a crosswalk that ends at x = 2 m, or on it."""
    crosswalk = micro.area(MapLayer.CROSSWALK, [(-2, -5), (2, -5), (2, 12), (-2, 12)])
    walker = user(x, T - 1.0, yaw=np.pi / 2, speed=1.0, cls=PERSON)
    assert says("jaywalking", walker, road=micro.road(crosswalk)) == true


def test_a_car_on_the_road_does_not_jaywalk() -> None:
    assert not says("jaywalking", user(T, speed=1.0))


# -- red lights ----------------------------------------------------------------------------------


def shows(states: dict[int, np.ndarray | LightState]) -> LightStates:
    """What lanes are shown, step by step."""
    code = [np.broadcast_to(np.asarray(state, dtype=np.int64), STEPS) for state in states.values()]
    count = STEPS * len(states)
    return LightStates(
        source_lane_id=[str(lane) for lane in states for _ in range(STEPS)],
        t_ns=np.tile(np.arange(STEPS, dtype=np.int64) * 100_000_000, len(states)),
        state=np.concatenate(code),
        source_state=[""] * count,
        arrow=np.zeros(count, dtype=bool),
        flashing=np.zeros(count, dtype=bool),
        stop_xyz=np.full((count, 3), np.nan),
    )


def through(aside: float = 0.0) -> Motion:
    """Eastward at 10 m/s: the front is over the line, at x = −12 m, at step 51 for the first time."""
    return user(10.0 * T - 12.0 - 2.4 - 50.5, -micro.D + aside, speed=10.0)


@pytest.mark.parametrize(("red_from", "true"), [(51, True), (52, False)])
def test_running_a_red_light(red_from: int, true: bool) -> None:
    lights = shows({micro.THROUGH_EAST: only(slice(red_from, None), RED, GREEN)})
    road = micro.junction()
    assert says("red_light_running", through(), road=road, lights=lights) == true
    beside = {1.74: true, 1.76: False}
    for aside, expected in beside.items():
        assert says("red_light_running", through(aside), road=road, lights=lights) == expected
    assert not says("red_light_running", through(), Hit(0, -1, 60, 80), road=road, lights=lights)


def test_two_signals_of_a_lane_must_both_be_red() -> None:
    road, red = micro.junction(), shows({micro.THROUGH_EAST: RED})
    both = {micro.THROUGH_EAST: RED, -1: GREEN}
    lights = replace(shows(both), source_lane_id=[str(micro.THROUGH_EAST)] * (2 * STEPS))
    assert says("red_light_running", through(), road=road, lights=red)
    assert not says("red_light_running", through(), road=road, lights=lights)


@pytest.mark.parametrize(("turns", "true"), [(False, False), (True, True)])
def test_the_light_is_that_of_the_lane_that_is_followed(turns: bool, true: bool) -> None:
    """Straight on is green and the left turn from the same line red."""
    road = micro.junction()
    lights = shows({micro.THROUGH_EAST: GREEN, micro.LEFT_TO_NORTH: RED})
    motion = through()
    if turns:
        line = road.features[micro.LEFT_TO_NORTH].points
        xy = motion.xy.copy()
        after = np.arange(STEPS) >= 54
        s = np.linspace(0.0, 1.0, int(after.sum()))
        at = np.linspace(0.0, 1.0, len(line))
        xy[0, after] = np.column_stack([np.interp(s, at, line[:, k]) for k in (0, 1)])
        motion = replace(motion, xy=xy)
    assert says("red_light_running", motion, road=road, lights=lights) == true


def test_who_waits_at_the_line_runs_no_light() -> None:
    lights = shows({micro.THROUGH_EAST: RED})
    waits = user(-12.0 - 2.4 - 0.5, -micro.D)
    assert not says("red_light_running", waits, road=micro.junction(), lights=lights)


# -- near misses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("speed", "gap", "true"),
    [(10.0, 10.4, True), (10.0, 10.6, False), (2.71, 0.3, True), (2.69, 0.3, False)],
)
def test_nearly_running_into_somebody(speed: float, gap: float, true: bool) -> None:
    """The log ends with so much room left before one who stands."""
    ends = T[:30] - T[29]
    comes = user(speed * ends - gap - 4.8, speed=speed, steps=30)
    assert says("near_miss", together(comes, user(0.0, steps=30)), Hit(0, 1, 0, 29)) == true


@pytest.mark.parametrize(
    ("speed", "behind", "true"), [(5.0, 11, True), (5.0, 12, False), (2.5, 11, False)]
)
def test_crossing_just_before_somebody(speed: float, behind: int, true: bool) -> None:
    """Somebody walks over the way at 2.6 m/s and leaves it so many steps before a car's front comes.

    With boxes of 0.6 m and 4.8 m by 2 m they share ground while the walker is at |y| < 1.3 m and once
    the car is beyond x = −2.7 m.
    """
    walker = user(0.0, 2.6 * (T - 4.0) + 1.3 - 0.01, yaw=np.pi / 2, speed=2.6, cls=PERSON)
    car = user(speed * (T - 4.0 - 0.1 * behind) - 2.7 + 0.01, speed=speed)
    assert says("near_miss", together(walker, car)) == true


# -- cutting in ----------------------------------------------------------------------------------


def cutting(
    gap: float, *, speed: float = 10.0, to: float = 0.0, start: float = 3.5
) -> tuple[Motion, Motion]:
    """One who moves over to y = ``to`` with so much room behind, and one behind it at y = 0."""
    y = np.interp(T, [3.0, 6.0], [start, to])
    return user(speed * T + gap + 4.8, y, speed=speed), user(speed * T, speed=speed)


@pytest.mark.parametrize(
    ("gap", "speed", "to", "true"),
    [
        (44.4, 10.0, 0.0, True), (44.5, 10.0, 0.0, False),
        (27.7, 5.0, 0.0, True), (27.9, 5.0, 0.0, False),
        (10.0, 10.0, 1.74, True), (10.0, 10.0, 1.76, False),
        (-10.0, 10.0, 0.0, False),
    ],
)  # fmt: skip
def test_cutting_in(gap: float, speed: float, to: float, true: bool) -> None:
    assert says("cut_in", together(*cutting(gap, speed=speed, to=to)), BOTH) == true


def test_who_was_ahead_all_along_cuts_nobody_off() -> None:
    assert not says("cut_in", together(*cutting(10.0, start=1.7)), BOTH)


@pytest.mark.parametrize(("y", "true"), [(0.99, False), (1.01, True)])
def test_who_has_another_between_is_not_cut_off(y: float, true: bool) -> None:
    between = user(10.0 * T + 7.0, y, speed=10.0)
    assert says("cut_in", together(*cutting(20.0), between), BOTH) == true


# -- standing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "yaw", "speed", "lasts", "true"),
    [
        (1.33, 0.0, 0.0, 101, True), (1.34, 0.0, 0.0, 101, False),
        (0.0, 0.0, 0.5, 101, True), (0.0, 0.0, 0.51, 101, False),
        (0.0, 0.0, 0.0, 36, True), (0.0, 0.0, 0.0, 35, False),
        (0.0, 44.0, 0.0, 101, True), (0.0, 46.0, 0.0, 101, False),
    ],
)  # fmt: skip
def test_standing_in_a_lane(y: float, yaw: float, speed: float, lasts: int, true: bool) -> None:
    motion = user(0.0, y, yaw=np.radians(yaw), speed=speed)
    assert says("stalled_vehicle", motion, Hit(0, -1, 0, lasts - 1)) == true


@pytest.mark.parametrize(
    ("gap", "y", "cls", "true"),
    [
        (4.4, 0.0, CAR, False), (4.6, 0.0, CAR, True), (4.4, 0.0, THING, False),
        (3.0, 1.29, PERSON, False), (3.0, 1.31, PERSON, True), (-20.0, 0.0, CAR, True),
    ],
)  # fmt: skip
def test_who_stands_behind_somebody_has_not_stalled(
    gap: float, y: float, cls: AgentClass, true: bool
) -> None:
    """Whether the ego sees that somebody or not."""
    ahead = user(0.0, y, cls=cls)
    ahead.xy[..., 0] = 2.4 + gap + ahead.size[0, 0] / 2
    ahead.observed[:] = False
    assert says("stalled_vehicle", together(user(0.0), ahead)) == true


def test_who_stood_behind_somebody_for_a_tenth_of_the_time_has() -> None:
    """Whoever was ahead drove off after 1 s, or after 1.1 s."""
    for leaves, true in ((10, True), (11, False)):
        ahead = user(np.where(np.arange(STEPS) < leaves, 9.0, 100.0))
        assert says("stalled_vehicle", together(user(0.0), ahead)) == true


@pytest.mark.parametrize(("at", "true"), [(13.4, False), (13.6, True), (-13.0, True)])
def test_who_stands_before_a_crosswalk_or_a_line_has_not_stalled(at: float, true: bool) -> None:
    x = at + 2.4
    crosswalk = micro.area(MapLayer.CROSSWALK, [(x, -4), (x + 3, -4), (x + 3, 12), (x, 12)])
    line = micro.area(MapLayer.STOP_LINE, [(x, -1.7), (x, 1.7)])
    for thing in (crosswalk, line):
        assert says("stalled_vehicle", user(0.0), road=micro.road(thing)) == true


@pytest.mark.parametrize(("at", "true"), [(13.4, False), (13.6, True), (-6.0, False)])
def test_who_stands_at_an_intersection_has_not_stalled(at: float, true: bool) -> None:
    """So far before it, or within."""
    waits = user(-micro.R - at - 2.4, -micro.D)
    assert says("stalled_vehicle", waits, road=micro.junction()) == true


@pytest.mark.parametrize(("at", "true"), [(13.4, False), (13.6, True)])
def test_who_stands_where_the_lane_ends_has_not_stalled(at: float, true: bool) -> None:
    """A lane that another continues does not end."""
    road = micro.road()
    assert says("stalled_vehicle", user(200.0 - at - 2.4), road=road) == true
    further = micro.lane([(0.0, 0.0), (200.0, 0.0)])
    two = micro.build(
        [micro.lane([(-200.0, 0.0), (0.0, 0.0)]), further], [(0, micro.EdgeKind.SUCCESSOR, 1)]
    )
    assert says("stalled_vehicle", user(-at - 2.4), road=two)


def test_who_stands_in_a_parking_place_has_not_stalled() -> None:
    bay = micro.area(MapLayer.PARKING, [(-5, -2), (5, -2), (5, 2), (-5, 2)])
    assert not says("stalled_vehicle", user(0.0), road=micro.road(bay))
    assert says("stalled_vehicle", user(20.0), road=micro.road(bay))


# -- things and who somebody is ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "way", "cls", "true"),
    [
        (1.33, 0.0, THING, True), (1.34, 0.0, THING, False),
        (0.0, 0.49, THING, True), (0.0, 0.51, THING, False), (0.0, 0.0, PERSON, False),
    ],
)  # fmt: skip
def test_something_lies_in_a_lane(y: float, way: float, cls: AgentClass, true: bool) -> None:
    assert says("debris", user(np.linspace(0.0, way, STEPS), y, cls=cls)) == true


@pytest.mark.parametrize(
    ("at", "true"),
    [
        ([(9.8, 1.74), (-9.8, -1.74)], False), ([(9.9, 0.0), (-10.1, 0.0)], True),
        ([(5.0, 1.76), (9.9, 0.0)], True), ([(5.0, 0.0)], True),
    ],
)  # fmt: skip
def test_a_thing_in_a_row_of_three_is_of_road_works(
    at: list[tuple[float, float]], true: bool
) -> None:
    """At most 10 m from it and in its lane; what lines the next lane does not belong to it."""
    others = [user(x, y, cls=THING) for x, y in at]
    assert says("debris", together(user(0.0, cls=THING), *others)) == true


def test_an_emergency_vehicle_is_one_by_its_word() -> None:
    assert says("emergency_vehicle", user(0.0, word="EMERGENCY_VEHICLE"))
    assert not says("emergency_vehicle", user(0.0))
