"""Mistakes found in published miners, each with the test that shows that we do not share it.

RefAV (github.com/CainanD/RefAV), by its code:

1. ``being_crossed_by`` overwrites its direction, so who crosses second is judged by another rule:
   :func:`test_who_crosses_second_is_seen_as_well_as_who_crosses_first`.
2. The ego's rear lies 1 m ahead of its centre, so its *backward*, *left* and *right* are wrong:
   :func:`test_what_passes_behind_does_not_cross_ahead`,
   :func:`test_the_four_sides_of_the_ego_meet_at_its_own_outline`.
3. ``changing_lanes`` takes the wrong boundary for changes to the left near a log's start:
   :func:`test_a_change_to_the_left_at_the_first_step_is_a_change_to_the_left`.
4. Texts and code give different thresholds, and *opposite* leaves out exactly 180°:
   :func:`test_every_figure_in_a_text_is_a_parameter`, and three tests beside it.
5. Directions that do not exist (*behind*, *front*) are answered with nothing:
   :func:`test_a_name_that_does_not_exist_is_an_error`.
6. Nothing is tested, and written programs run through ``exec``:
   :func:`test_nothing_that_was_written_by_others_is_executed`; the cases of every predicate.
7. No signals, no time to collision, no cut-ins, no *unknown*:
   :func:`test_what_others_lack_is_there`.
8. A rate of nothing out of nothing counts as 1: :func:`test_of_nothing_nothing_is_told`.

ScenarioCharacterization (github.com/navarrs/ScenarioCharacterization), by its code:

1. Any two within 45° share a lane, and gaps are of centres less one length:
   :func:`test_gaps_are_between_bumpers_and_in_the_lane`,
   :func:`test_a_leader_round_a_bend_is_led_by_way_not_by_sight`.
2. What never happens is 1e6 s away, and enters the statistics:
   :func:`test_what_never_happens_has_no_number`.
3. Jerk differs fourfold between data sets by their noise:
   :func:`test_jerk_does_not_depend_on_the_noise_of_a_source`.

UniTraj cites Waymo's trajectory types with other constants than Waymo's:
:func:`test_trajectory_types_have_the_constants_of_their_source`.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import mining
from mining.predicates import PREDICATES, tag_scene
from schemas.errors import UnknownName
from schemas.labels import AgentClass, MapLayer, Truth
from tests.mining import micro
from tests.mining.micro import TIME, along, arc, scene, still
from tests.mining.test_predicates import cruise, true


def test_who_crosses_second_is_seen_as_well_as_who_crosses_first() -> None:
    """RefAV's being_crossed_by forgets its direction after the first one that crosses."""
    made = scene(
        still(0.0, 0.0),
        along(2.0 * TIME, start=(8.0, -9.0), yaw=np.pi / 2, cls=AgentClass.CYCLIST),
        along(2.0 * TIME, start=(6.0, 10.0), yaw=-np.pi / 2, cls=AgentClass.CYCLIST),
        along(2.0 * TIME, start=(9.0, -7.0), yaw=np.pi / 2, cls=AgentClass.CYCLIST),
    )
    found = {i.other: i.evidence["direction"] for i in true(made, "crossed_by")}
    assert found == {1: 1.0, 2: -1.0, 3: 1.0}


def test_what_passes_behind_does_not_cross_ahead() -> None:
    """RefAV places the ego's rear 1 m ahead of its centre."""
    made = scene(still(0.0, 0.0), along(2.0 * TIME, start=(-3.5, -9.0), yaw=np.pi / 2))
    assert not true(made, "crossed_by")


def test_a_standing_thing_does_not_cross_because_one_turns() -> None:
    made = scene(
        arc(5.0, 10.0, turn_from=2.0, angle=np.pi / 2, start=(-30.0, 0.0)), still(-8.0, 5.0)
    )
    assert not true(made, "crossed_by")


def test_a_change_to_the_left_at_the_first_step_is_a_change_to_the_left() -> None:
    """RefAV's left branch looks at the wrong boundary when it begins near the log's start."""
    quick = along(12.0 * TIME, start=(-60, 0), side=3.5 * np.clip((TIME + 0.6) / 2.4, 0, 1))
    assert len(true(scene(quick), "lane_change_left")) == 1
    assert not true(scene(quick), "lane_change_right")


@pytest.mark.parametrize(("span", "parked"), [(2.9, True), (3.1, False)])
def test_parked_means_three_metres_as_its_parameter_says(span: float, parked: bool) -> None:
    """RefAV's text says 2 m, its code 3 m."""
    made = scene(cruise(5.0), along(TIME * span / 10.0, start=(0.0, -3.0)))
    assert bool(true(made, "parked")) is parked
    assert PREDICATES["parked"].limits["span"] == 3.0


@pytest.mark.parametrize(("gap", "at"), [(9.5, True), (10.5, False)])
def test_at_stop_sign_means_ten_metres_as_its_parameter_says(gap: float, at: bool) -> None:
    """RefAV's text says 15 m, its code 10 m."""
    made = scene(
        still(-2.4 - gap, 0.0), map=micro.road(micro.area(MapLayer.STOP_SIGN, [(0.0, -3.0)]))
    )
    assert bool(true(made, "at_stop_sign")) is at


def test_exactly_opposite_headings_are_opposite() -> None:
    """RefAV's 'opposite' leaves out exactly 180°."""
    assert true(scene(cruise(8.0, x=-30.0, y=7.0, yaw=0.0)), "wrong_way")
    facing = scene(cruise(4.0, x=-30.0), cruise(4.0, x=30.0, y=7.0, yaw=np.pi))
    (found,) = true(facing, "opposite_heading")
    assert found.value == pytest.approx(180.0)


def test_gaps_are_between_bumpers_and_in_the_lane() -> None:
    """ScenarioCharacterization takes centres less one length, and any lane within 45°."""
    made = scene(
        cruise(12.0), cruise(12.0, x=-46.0, cls=AgentClass.TRUCK), cruise(4.0, x=-50.0, y=3.5)
    )
    (thw,) = true(made, "thw")
    assert thw.other == 1
    assert thw.value == pytest.approx((14.0 - 2.4 - 6.0) / 12.0, rel=0.02)
    assert not true(made, "ttc")


def test_a_leader_round_a_bend_is_led_by_way_not_by_sight() -> None:
    """On a circle of 15 m radius, 10 m along the lane is not straight ahead."""
    from tests.mining.test_predicates import ring

    def at(phase: float) -> micro.Actor:
        turn = 5.0 * TIME / 15.0 + phase
        xy = 15.0 * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
        return micro.Actor(xy, turn + np.pi / 2)

    (found,) = [i for i in true(scene(at(0.0), at(1.0), map=ring()), "following") if i.actor == 0]
    assert found.value == pytest.approx(15.0 - 4.8, abs=0.4)


FIGURE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?) ?(m/s²|m/s³|m/s|m|s|°|cm)(?![\w/²³])")
BESIDE = {
    ("over_limit", 5.0), ("ttc", 0.95), ("kalman_difficulty", 6.0), ("counterfactual_delta", 5.0),
}  # fmt: skip
"""Figures that only explain, by predicate: 5 mph are 2.23 m/s; 0.95 s is nuPlan's bound; 6 s is the
last of three horizons; 5 s is where a scale ends."""


@pytest.mark.parametrize("predicate", PREDICATES.values(), ids=lambda p: p.name)
def test_every_figure_in_a_text_is_a_parameter(predicate) -> None:  # type: ignore[no-untyped-def]
    scale = {"cm": 0.01}
    known = {abs(p.value) for p in predicate.parameters}
    for figure, unit in FIGURE.findall(predicate.doc):
        value = float(figure) * scale.get(unit, 1.0)
        told = any(value == pytest.approx(k) for k in known)
        assert told or (predicate.name, float(figure)) in BESIDE, (figure, unit)


def test_the_four_sides_of_the_ego_meet_at_its_own_outline() -> None:
    """RefAV places the ego's rear 1 m ahead of its centre."""
    side = {}
    for x in (-2.6, -2.2, 2.2, 2.6):
        made = scene(cruise(5.0), cruise(5.0, -60.0 + x, 3.5))
        names = ["in_front_of", "behind", "left_of", "right_of"]
        side[x] = {i.name for i in tag_scene(made, names) if (i.actor, i.other) == (1, 0)}
    assert side == {-2.6: {"behind"}, -2.2: {"left_of"}, 2.2: {"left_of"}, 2.6: {"in_front_of"}}


@pytest.mark.parametrize("name", ["front", "backward", "being_crossed_by"])
def test_a_name_that_does_not_exist_is_an_error(name: str) -> None:
    with pytest.raises(UnknownName):
        tag_scene(scene(cruise(8.0)), [name])


def test_nothing_that_was_written_by_others_is_executed() -> None:
    for file in Path(mining.__path__[0]).rglob("*.py"):
        calls = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)]
        names = {n.func.id for n in calls if isinstance(n.func, ast.Name)}
        assert not names & {"exec", "eval", "compile"}, file


def test_what_others_lack_is_there() -> None:
    assert {
        "relevant_red", "red_light_running", "ttc", "thw", "cut_in", "cut_out", "nudge", "pet",
        "rss_violation",
    } <= set(PREDICATES)  # fmt: skip
    (interval,) = tag_scene(scene(cruise(8.0)), ["relevant_red"])
    assert interval.truth == Truth.UNKNOWN


def test_of_nothing_nothing_is_told() -> None:
    """No share of an empty set is 1: where nobody is, nothing holds."""
    seen = np.zeros(micro.STEPS, dtype=bool)
    assert not [i for i in tag_scene(scene(along(8.0 * TIME, seen=seen), has_ego=False))
                if i.truth == Truth.TRUE and i.actor is not None]  # fmt: skip


def test_what_never_happens_has_no_number() -> None:
    """Caps such as 1e6 s end up in ScenarioCharacterization's percentiles."""
    drifting_apart = scene(cruise(8.0), cruise(12.0, x=-40.0), cruise(8.0, y=3.5))
    for interval in tag_scene(drifting_apart):
        if interval.value is not None:
            assert np.isfinite(interval.value)
            assert abs(interval.value) < 1e3
    assert not true(drifting_apart, "ttc")


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_jerk_does_not_depend_on_the_noise_of_a_source(noise: float) -> None:
    made = scene(*(cruise(10.0, x=-90.0 + 12 * k) for k in range(8)), noise=noise)
    assert not true(made, "jerk_high")
    assert not true(made, "jerk_magnitude_high")


def test_trajectory_types_have_the_constants_of_their_source() -> None:
    """As in Waymo's motion_metrics_utils.cc, and not UniTraj's 5 m, 5 m and −5 m."""
    constants = {"speed": 2.0, "way": 3.0, "angle": 30.0, "aside": 2.5, "ahead": 0.0}
    looked_at: set[str] = set()
    for name in (n for n in PREDICATES if n.startswith("trajectory_")):
        limits = PREDICATES[name].limits  # each kind has those that decide it
        told = constants.keys() & limits
        assert {key: limits[key] for key in told} == {key: constants[key] for key in told}, name
        looked_at |= told
    assert looked_at == set(constants)
