"""What must hold of all predicates together: symmetries, unknowns, and mistakes others made."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from geometry.frames import SE2
from mining.intervals import Interval
from mining.predicates import PREDICATES, tag_scene
from schemas.errors import UnknownName
from schemas.labels import AgentClass, LightState, Truth, Weather
from schemas.records import RoadMap
from schemas.scene import Scene, Signals
from tests.mining import micro
from tests.mining.micro import STEPS, TIME, along, arc, ramp, scene, still
from tests.mining.micro import speeds as way_of
from tests.mining.test_predicates import (
    HOLDS,
    crosswalk,
    cruise,
    east_through,
    lane_changer,
    lit,
    true,
    walker,
)
from tests.mining.test_wider_predicates import WIDER

LAST = STEPS - 1
CASES = [*HOLDS, *WIDER]


def key(interval: Interval) -> tuple[object, ...]:
    return (interval.name, interval.actor, interval.other, Truth(interval.truth))


def assert_alike(a: list[Interval], b: list[Interval], *, slack: int = 1) -> None:
    """The same intervals of the same actors, but for a step of rounding at the ends."""
    assert Counter(map(key, a)) == Counter(map(key, b))
    for one, other in zip(sorted(a, key=_by), sorted(b, key=_by), strict=True):
        assert abs(one.begin_step - other.begin_step) <= slack, (one, other)
        assert abs(one.end_step - other.end_step) <= slack, (one, other)


def _by(interval: Interval) -> tuple[object, ...]:
    return (*map(str, key(interval)), interval.begin_step)


def busy() -> Scene:
    """A bit of everything on the road with the crosswalk."""
    return scene(
        cruise(11.0),
        lane_changer(-3.5, y=3.5, x=-45.0),
        cruise(8.0, x=-100.0),
        along(way_of(ramp(4.0, 6.0, 12.0, 2.0)), start=(-20.0, 3.5)),
        walker(1.5, 10.0, -6.0),
        still(20.0, -2.6),
        cruise(8.0, x=60.0, y=7.0, yaw=np.pi),
        map=micro.road(crosswalk(12.0)),
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_turning_and_shifting_the_world_changes_nothing(case) -> None:  # type: ignore[no-untyped-def]
    made = case.make()
    twin = micro.moved(made, SE2(137.0, -52.0, 2.1))
    assert_alike(tag_scene(made, [case.name]), tag_scene(twin, [case.name]))


def test_a_busy_scene_is_the_same_from_every_side() -> None:
    made = busy()
    assert_alike(tag_scene(made), tag_scene(micro.moved(made, SE2(-310.0, 44.0, -1.0))))


@pytest.mark.parametrize("angle", [0.4, 0.8, 2.1, -1.2])
def test_noise_means_the_same_from_every_side(angle: float) -> None:
    """What is certain does not hang on which of the map's axes somebody drives along."""
    rates = [
        "accelerating",
        "braking",
        "hard_brake",
        "jerk_high",
        "jerk_magnitude_high",
        "closing",
    ]
    rng = np.random.default_rng(3)
    made = busy()
    rough = rng.normal(0.0, [0.5, 0.1], made.tracks.velocity.shape).astype(np.float32)
    made = replace(made, tracks=replace(made.tracks, velocity=made.tracks.velocity + rough))
    twin = micro.moved(made, SE2(0.0, 0.0, angle))
    assert_alike(tag_scene(made, rates), tag_scene(twin, rates))


SWAPPED = {
    "turning_left": "turning_right",
    "turning_right": "turning_left",
    "lane_change_left": "lane_change_right",
    "lane_change_right": "lane_change_left",
    "trajectory_left": "trajectory_right",
    "trajectory_right": "trajectory_left",
    "trajectory_straight_left": "trajectory_straight_right",
    "trajectory_straight_right": "trajectory_straight_left",
    "trajectory_left_u_turn": "trajectory_right_u_turn",
    "trajectory_right_u_turn": "trajectory_left_u_turn",
    "left_of": "right_of",
    "right_of": "left_of",
}
ONE_HANDED = {"oncoming_turn_conflict", "red_light_running", "unprotected_turn", "protected_turn"}
"""Traffic keeps to one side, which a mirror changes."""


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.name not in ONE_HANDED], ids=lambda case: case.name
)
def test_a_mirror_swaps_left_and_right_and_nothing_else(case) -> None:  # type: ignore[no-untyped-def]
    made = case.make()
    mirrored = [
        i._replace(name=SWAPPED.get(i.name, i.name))
        for i in tag_scene(micro.mirrored(made), [SWAPPED.get(case.name, case.name)])
    ]
    assert_alike(tag_scene(made, [case.name]), mirrored)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_happens_later_is_told_later(case) -> None:  # type: ignore[no-untyped-def]
    """A scene that begins a second later tells what began after that a second earlier."""
    made = case.make()
    inner = [i for i in true(made, case.name) if i.begin_step > 15]
    cut = [i for i in true(made.between(10, STEPS), case.name) if i.begin_step > 5]
    assert [(i.actor, i.other) for i in inner] == [(i.actor, i.other) for i in cut]
    for one, other in zip(inner, cut, strict=True):
        assert abs(one.begin_step - 10 - other.begin_step) <= 1
        assert abs(one.end_step - 10 - other.end_step) <= 1
        if one.value is not None and case.name != "cpi":  # a mean over all that is seen of the two
            assert one.value == pytest.approx(other.value, rel=1e-3, abs=1e-3)


ONCE = {name for name, predicate in PREDICATES.items() if predicate.symmetric} - {"same_lane"}
"""Relations that are the same both ways, told from the lower row; of `same_lane` who is behind."""


def told(intervals: list[Interval]) -> list[tuple[object, ...]]:
    who = (
        sorted([i.actor, i.other], key=str) if i.name in ONCE else [i.actor, i.other]
        for i in intervals
    )
    return sorted(
        ((i.name, *pair, Truth(i.truth), i.begin_step, i.end_step)
         for i, pair in zip(intervals, who, strict=True)),
        key=str,
    )  # fmt: skip


def test_the_order_of_agents_does_not_matter() -> None:
    made = busy()
    order = [0, 5, 3, 1, 6, 2, 4]
    shuffled = replace(made, tracks=made.tracks.take(order))
    assert told(tag_scene(made)) == told(tag_scene(shuffled))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_order_of_agents_does_not_matter_to_any_predicate(case) -> None:  # type: ignore[no-untyped-def]
    made = case.make()
    first = int(made.has_ego)  # the ego stays in row 0
    order = [*range(first), *reversed(range(first, len(made.tracks.track_id)))]
    shuffled = replace(made, tracks=made.tracks.take(order))
    assert told(tag_scene(made, [case.name])) == told(tag_scene(shuffled, [case.name]))


def trembling(seed: int) -> Scene:
    """Drivers who weave between the lanes and walkers who cross before them, all badly measured."""
    rng = np.random.default_rng(seed)

    def weaves(x: float, y: float, speed: float) -> micro.Actor:
        swing = 2.5 * np.sin(TIME * rng.uniform(0.3, 1.5) + rng.uniform(0, 6))
        return along(speed * TIME, start=(x, y), side=swing + 0.08 * rng.standard_normal(STEPS))

    drivers = [weaves(12.0 * k, 3.5 * (k % 2), 6.0 + rng.uniform(-1, 1)) for k in range(-2, 3)]
    crossing = [
        along(1.2 * TIME + 0.08 * rng.standard_normal(STEPS), start=(x, -6.0), yaw=np.pi / 2,
              cls=AgentClass.PEDESTRIAN)
        for x in (8.0, 25.0)
    ]  # fmt: skip
    return scene(still(0.0, 0.0), *drivers, *crossing, has_ego=bool(seed % 2))


def assert_told_once(intervals: list[Interval]) -> None:
    """No predicate begins twice at one step of the same actors."""
    keys = Counter((i.name, i.actor, i.other, Truth(i.truth), i.begin_step) for i in intervals)
    assert not [key for key, times in keys.items() if times > 1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nothing_is_told_twice(case) -> None:  # type: ignore[no-untyped-def]
    assert_told_once(tag_scene(case.make()))


@pytest.mark.parametrize("off_lane", [(49, 53), (52, 56), (58, 62)])
def test_who_drops_out_as_the_leader_for_a_moment_cuts_in_once(off_lane) -> None:  # type: ignore[no-untyped-def]
    made = scene(cruise(10.0, x=-60.0), lane_changer(-3.5, y=3.5, x=-40.0))
    on_lane = made.tracks.on_lane.copy()
    on_lane[1, slice(*off_lane)] = False
    made = replace(made, tracks=replace(made.tracks, on_lane=on_lane))
    (cut_in,) = true(made, "cut_in")
    assert (cut_in.actor, cut_in.other, cut_in.begin_step) == (1, 0, 31)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_told_twice_however_boxes_tremble(seed: int) -> None:
    assert_told_once(tag_scene(trembling(seed)))


@pytest.mark.parametrize("noise", [0.05, 0.2, 0.4])
def test_noise_makes_no_manoeuvres(noise: float) -> None:
    """Steady driving stays steady however badly its speed is measured (4 × between data sets)."""
    made = scene(*(cruise(10.0, x=-90.0 + 12 * k) for k in range(8)), noise=noise)
    harsh = ["hard_brake", "harsh_accel", "jerk_high", "lat_accel_high", "braking", "starting"]
    assert not [i for i in tag_scene(made, harsh) if i.truth == Truth.TRUE]


@pytest.mark.parametrize("noise", [0.05, 0.2, 0.4])
def test_a_hard_brake_is_found_in_noise(noise: float) -> None:
    made = scene(along(way_of(ramp(4.0, 6.0, 14.0, 0.0)), start=(-60, 0)), noise=noise)
    (found,) = true(made, "hard_brake")
    assert abs(found.begin_step - 40) <= 5
    assert abs(found.end_step - 60) <= 5
    assert found.value == pytest.approx(-7.0, rel=0.2)


# -- what is not known -------------------------------------------------------------------------


def unknowns(made: Scene, only: list[str] | None = None) -> dict[str, list[Interval]]:
    found: dict[str, list[Interval]] = {}
    for interval in tag_scene(made, only):
        if interval.truth == Truth.UNKNOWN:
            found.setdefault(interval.name, []).append(interval)
    return found


def test_without_a_map_what_needs_one_is_unknown_once() -> None:
    made = scene(cruise(8.0), cruise(8.0, x=-40.0), map=RoadMap.none())
    found = unknowns(made)
    needing = {p.name for p in PREDICATES.values() if "map" in p.needs}
    assert needing <= set(found)
    assert "near" not in found
    assert "hard_brake" not in found
    for name in needing:
        (interval,) = found[name]
        assert (interval.begin_step, interval.end_step) == (0, LAST)
        assert interval.actor is None
        assert "map" in interval.evidence["reason"]
        assert not [i for i in tag_scene(made, [name]) if i.truth == Truth.TRUE]


def test_signals_that_were_not_recorded_are_not_absent() -> None:
    driving = along(10.0 * TIME, start=(-60.0, -micro.D))
    made = scene(driving, map=micro.junction())
    assert set(unknowns(made)) >= {"red_light_running", "approaching_red", "stationary_at_light"}
    green = scene(driving, map=micro.junction(), signals=Signals.none(STEPS))
    assert "red_light_running" not in unknowns(green)


def test_a_signal_that_was_not_seen_leaves_the_crossing_open() -> None:
    driving = along(10.0 * TIME, start=(-60.0, -micro.D))
    signals = micro.lights({micro.THROUGH_EAST: LightState.UNKNOWN})
    made = scene(driving, map=micro.junction(), signals=signals)
    (interval,) = tag_scene(made, ["red_light_running"])
    assert interval.truth == Truth.UNKNOWN
    assert interval.actor == 0
    assert interval.begin_step <= 46 <= interval.end_step


def test_conditions_and_limits_that_nobody_told_are_unknown() -> None:
    made = scene(cruise(20.0), map=micro.road(limit=None))
    assert {"weather", "illumination", "over_limit"} <= set(unknowns(made))
    known = scene(cruise(20.0), weather=Weather.SNOW)
    assert true(known, "weather")[0].evidence == {"weather": "snow"}


def test_who_was_lost_from_sight_is_unknown_meanwhile() -> None:
    hidden = (TIME < 4.0) | (TIME > 6.0)
    made = scene(cruise(8.0), cruise(8.0, x=-40.0, seen=hidden))
    (interval,) = unknowns(made, ["hard_brake"])["hard_brake"]
    assert (interval.begin_step, interval.end_step) == (40, 60)
    assert interval.actor == 1
    assert interval.evidence["reason"] == "not observed"


def test_two_frames_lost_are_bridged() -> None:
    seen = np.ones(STEPS, dtype=bool)
    seen[50:52] = False
    (interval,) = true(scene(cruise(8.0), cruise(12.0, x=-40.0, seen=seen)), "high_speed")
    assert (interval.begin_step, interval.end_step) == (0, LAST)


def test_without_an_ego_everyone_is_asked_about() -> None:
    made = scene(cruise(8.0), cruise(8.0, x=150.0), has_ego=False)
    assert {i.actor for i in true(made, "medium_speed")} == {1, 2}
    assert "traffic_density" in unknowns(made)
    with_ego = scene(cruise(8.0), cruise(8.0, x=150.0))
    assert {i.actor for i in true(with_ego, "medium_speed")} == {0}


def test_an_empty_scene_says_nothing() -> None:
    made = scene(cruise(8.0))
    empty = replace(made, tracks=made.tracks.take([]), has_ego=False)
    assert tag_scene(empty) == []


def test_one_who_is_seen_once_is_no_trouble() -> None:
    seen = np.zeros(STEPS, dtype=bool)
    seen[30] = True
    made = scene(cruise(8.0), cruise(8.0, x=-40.0, seen=seen))
    assert not [i for i in tag_scene(made) if i.actor == 1]


def test_a_wrong_name_is_refused_with_a_guess() -> None:
    with pytest.raises(UnknownName, match="Did you mean `hard_brake`"):
        tag_scene(scene(cruise(8.0)), ["hard_break"])


# -- what every predicate owes its reader ------------------------------------------------------


@pytest.mark.parametrize("predicate", PREDICATES.values(), ids=lambda p: p.name)
def test_a_predicate_says_what_it_means(predicate) -> None:  # type: ignore[no-untyped-def]
    assert predicate.doc.endswith(".")
    assert predicate.version >= 1
    assert predicate.roles in ((), ("actor",), ("actor", "other"))
    for parameter in predicate.parameters:
        assert parameter.unit
        assert parameter.source


def test_the_groups_of_the_vocabulary_are_all_there() -> None:
    groups = list(dict.fromkeys(p.group for p in PREDICATES.values()))
    assert groups == [
        "attributes", "longitudinal", "lateral", "map_relation", "signals", "geometry",
        "interaction", "risk", "environment",
    ]  # fmt: skip
    assert len(PREDICATES) >= 60


def test_parameters_travel_with_the_interval() -> None:
    made = scene(along(way_of(ramp(4.0, 6.0, 14.0, 2.0)), start=(-60, 0)))
    (interval,) = true(made, "hard_brake")
    assert interval.params["acceleration"] == {
        "value": -4.05, "unit": "m/s²", "source": "nuPlan comfort bound",
    }  # fmt: skip


def test_waiting_at_red_all_the_time_is_not_parking() -> None:
    made = scene(
        still(-20.0, -micro.D),
        map=micro.junction(),
        signals=micro.lights({micro.THROUGH_EAST: LightState.RED}),
    )
    assert true(made, "stationary_at_light")
    assert not true(made, "parked")


@pytest.mark.parametrize(
    ("hidden", "truth"),
    [
        ((3.8, 5.2), Truth.TRUE),  # passes the line at 4.56 s, out of sight for 1.4 s
        ((0.0, 5.0), Truth.TRUE),  # comes into sight 4.4 m past the line, at 10 m/s
        ((3.0, 6.5), Truth.TRUE),  # out of sight for long, and red all the while
    ],
)
def test_a_red_line_crossed_out_of_sight(hidden, truth) -> None:  # type: ignore[no-untyped-def]
    seen = (hidden[0] > TIME) | (hidden[1] <= TIME)
    runner = along(10.0 * TIME, start=(-60.0, -micro.D), seen=seen)
    made = scene(
        runner,
        map=micro.junction(),
        signals=micro.lights({micro.THROUGH_EAST: LightState.RED}),
        has_ego=False,
    )
    found = [i for i in tag_scene(made, ["red_light_running"]) if i.truth == Truth.TRUE]
    assert [i.truth for i in found] == ([truth] if truth else [])
    lost = [i for i in tag_scene(made, ["red_light_running"]) if i.truth == Truth.UNKNOWN]
    assert len(lost) == int(hidden[0] > 0.0)


def test_a_light_that_changed_out_of_sight_leaves_it_open() -> None:
    seen = (TIME < 3.8) | (TIME >= 5.2)
    runner = along(10.0 * TIME, start=(-60.0, -micro.D), seen=seen)
    shown = np.where(TIME < 4.5, LightState.GREEN, LightState.RED)
    made = scene(runner, map=micro.junction(), signals=micro.lights({micro.THROUGH_EAST: shown}))
    (interval,) = tag_scene(made, ["red_light_running"])
    assert interval.truth == Truth.UNKNOWN
    assert "crossing of the stop line" in interval.evidence["reason"]


def runs_red(last_seen: float, again: float, shown: object = LightState.RED) -> list[Truth]:
    """Verdicts on one who passes the line at 4.56 s and 10 m/s, out of sight meanwhile."""
    seen = (last_seen + 0.05 > TIME) | (again - 0.05 < TIME)
    runner = along(10.0 * TIME, start=(-60.0, -micro.D), seen=seen)
    signals = micro.lights({micro.THROUGH_EAST: shown, micro.RIGHT_TO_SOUTH: shown})  # type: ignore[dict-item]
    made = scene(still(-30.0, 8.0), runner, map=micro.junction(), signals=signals)
    found = tag_scene(made, ["red_light_running"])
    # That it was lost from sight is told of every predicate.
    return [Truth(i.truth) for i in found if "crossing" in i.evidence.get("reason", "crossing")]


def test_who_could_not_have_stopped_ran_the_red_light_out_of_sight() -> None:
    """To stop at 8 m/s² from 10 m/s takes 6.25 m: from 3.94 s on it is too late for that."""
    late = np.where(TIME < 6.0, LightState.RED, LightState.GREEN)
    assert runs_red(4.0, 9.0, late) == [Truth.TRUE]
    assert runs_red(3.8, 9.0, late) == [Truth.UNKNOWN]
    assert runs_red(3.8, 9.0) == [Truth.TRUE]  # whenever it passed
    assert runs_red(4.0, 11.0) == []  # never seen again, and so perhaps it crashed


def test_who_is_seen_again_far_beyond_cannot_have_waited() -> None:
    """16.6 m before the line at 2.9 s; 41 m on at 7 s and 10 m/s it takes at least 1.8 s for the rest."""
    for green_from, verdict in ((5.6, Truth.TRUE), (5.0, Truth.UNKNOWN)):
        shown = np.where(green_from > TIME, LightState.RED, LightState.GREEN)
        assert runs_red(2.9, 7.0, shown) == [verdict]


def test_what_was_shown_meanwhile_must_be_known_and_red() -> None:
    """From 5.6 m before the line at 4.0 s it takes 0.51 s at least, at 4 m/s²."""
    turns = lambda at: np.where(at > TIME, LightState.GREEN, LightState.RED)  # noqa: E731
    assert runs_red(4.0, 8.0, turns(4.45)) == [Truth.TRUE]
    assert runs_red(4.0, 8.0, turns(4.65)) == [Truth.UNKNOWN]
    assert runs_red(4.0, 8.0, turns(6.0)) == []
    assert runs_red(4.0, 8.0, LightState.UNKNOWN) == [Truth.UNKNOWN]
    assert runs_red(4.0, 8.0, LightState.GREEN) == []


def comes_into_sight(
    at_s: float, speed: float, gains: float = 0.0, *, green_until: float = 0.0, seen_s: float = 9.0
) -> list[Truth]:
    """Verdicts on one who comes into sight 20.4 m past the line, at that speed and acceleration."""
    t = TIME - at_s
    x = 6.0 + np.where(t < 0.0, speed * t, speed * t + gains * t**2 / 2.0)
    runner = along(x - x[0], start=(float(x[0]), -micro.D), seen=(t > -0.05) & (t < seen_s + 0.05))
    shown = np.where(green_until > TIME, LightState.GREEN, LightState.RED)
    signals = micro.lights({micro.THROUGH_EAST: shown})
    made = scene(still(-30.0, 8.0), runner, map=micro.junction(), signals=signals)
    found = tag_scene(made, ["red_light_running"])
    return [Truth(i.truth) for i in found if "crossing" in i.evidence.get("reason", "crossing")]


def test_who_comes_into_sight_past_the_line_passed_it_about_that_fast() -> None:
    """At 10 m/s, and 1 m/s² before at most, it was at 7.7 m/s at the line 2.3 s ago at the earliest."""
    assert comes_into_sight(6.6, 10.0) == [Truth.TRUE]
    assert comes_into_sight(6.6, 10.0, green_until=4.1) == [Truth.TRUE]
    assert comes_into_sight(6.6, 10.0, green_until=4.5) == [Truth.UNKNOWN]
    assert comes_into_sight(6.6, 10.0, green_until=9.0) == []
    assert comes_into_sight(2.0, 10.0) == [Truth.UNKNOWN]  # it was passed before the scene, maybe


@pytest.mark.parametrize(
    ("speed", "gains", "verdict"),
    [
        (6.6, 0.0, Truth.TRUE),  # nobody gets up to 6.4 m/s within 20.4 m at 1 m/s²
        (6.2, 0.0, Truth.UNKNOWN),
        (9.4, 1.0, Truth.TRUE),  # nor up to 9.0 m/s at 2 m/s²
        (8.6, 1.0, Truth.UNKNOWN),
        (9.4, -2.0, Truth.TRUE),  # who brakes was faster before
    ],
)
def test_who_may_have_started_from_within_the_intersection_is_not_known(
    speed: float, gains: float, verdict: Truth
) -> None:
    assert comes_into_sight(9.0, speed, gains) == [verdict]


@pytest.mark.parametrize("from_s", [5.2, 6.0, 6.2])
def test_who_comes_into_sight_while_turning_right_at_red_is_left_out(from_s: float) -> None:
    """It has turned by 45° to 85° by then, away from where the line was passed."""
    turner = arc(6.0, 8.5, turn_from=4.0, angle=-np.pi / 2, start=(-12.0 - 6.0 * 4.0, -micro.D))
    red = LightState.RED
    signals = micro.lights({micro.THROUGH_EAST: red, micro.RIGHT_TO_SOUTH: red})
    turner = replace(turner, seen=from_s - 0.01 <= TIME)
    made = scene(still(-30.0, 8.0), turner, map=micro.junction(), signals=signals)
    assert true(made, "red_light_running") == []


@pytest.mark.parametrize("from_s", [6.2, 6.4, 6.6])
def test_where_ways_become_one_it_is_not_known_which_line_was_passed(from_s: float) -> None:
    """It turned left on green, into where those who face the red light to the north go straight."""
    left = arc(7.0, 12.0, turn_from=4.0, angle=np.pi / 2, start=(-10.0 - 7.0 * 4.0, -micro.D))
    signals = micro.lights(
        {micro.LEFT_TO_NORTH: LightState.GREEN, micro.THROUGH_NORTH: LightState.RED}
    )
    left = replace(left, seen=from_s - 0.01 <= TIME)
    made = scene(still(-30.0, 8.0), left, map=micro.junction(), signals=signals)
    assert true(made, "red_light_running") == []


def test_who_turns_left_may_have_waited_in_the_intersection() -> None:
    """15 m on at 9 m/s: from a standstill it takes 2.7 m/s², which who turns is trusted with."""
    left = arc(9.0, 12.0, turn_from=4.0, angle=np.pi / 2, start=(-10.0 - 9.0 * 4.0, -micro.D))
    signals = micro.lights({micro.LEFT_TO_NORTH: LightState.RED})
    left = replace(left, seen=TIME >= 5.0)
    made = scene(still(-30.0, 8.0), left, map=micro.junction(), signals=signals)
    (found,) = (i for i in tag_scene(made, ["red_light_running"]) if i.actor == 1)
    assert found.truth == Truth.UNKNOWN


def test_who_is_hardly_seen_past_the_line_is_not_known() -> None:
    assert comes_into_sight(6.6, 10.0, seen_s=0.5) == [Truth.TRUE]
    assert comes_into_sight(6.6, 10.0, seen_s=0.4) == [Truth.UNKNOWN]


def test_who_is_matched_to_two_lanes_at_the_line_still_passes_it() -> None:
    """Its first metre in the junction is matched to the lane to the right, the rest to its own."""
    runner = along(10.0 * TIME, start=(-60.0, -micro.D))
    for right in (LightState.RED, LightState.GREEN):
        signals = micro.lights({micro.THROUGH_EAST: LightState.RED, micro.RIGHT_TO_SOUTH: right})
        made = scene(runner, map=micro.junction(), signals=signals)
        enters = int(np.flatnonzero(made.tracks.lane[0] == micro.THROUGH_EAST)[0])
        made.tracks.lane[0, enters - 2 : enters + 2] = micro.RIGHT_TO_SOUTH
        made.tracks.lane_s[0, enters - 2 : enters] = 0.0
        (found,) = true(made, "red_light_running")
        assert found.begin_step <= 46 <= found.end_step


@pytest.mark.parametrize(("last", "verdict"), [(56, Truth.TRUE), (55, Truth.UNKNOWN)])
def test_who_could_not_stop_any_more_ran_the_light_even_if_it_is_lost(
    last: int, verdict: Truth
) -> None:
    """It is past the line at step 51 and 2.4 m or 3 m on when last seen; braking at 8 m/s² takes 2.25 m.

    5 m are asked for.
    """
    seen = np.arange(STEPS) <= last
    made = lit(east_through(6.0, x=-12.0 - 2.4 - 6.0 * 5.05, seen=seen), through=LightState.RED)
    (found,) = (i for i in tag_scene(made, ["red_light_running"]) if i.actor == 0)
    assert found.truth == verdict
    assert verdict == Truth.TRUE or "what became of it" in found.evidence["reason"]
