"""Cases that nobody could drive are refused, or told apart from those in which a planner failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lake import Lake
from schemas.case import DONE, NOT_DRIVABLE, Case
from schemas.labels import AgentClass
from schemas.records import RoadMap
from schemas.scene import Scene
from simulation import suites
from simulation.cases import make_case
from simulation.planners import planner
from simulation.running import run_cases
from simulation.suites.driving import run
from tests.builders import make_crossing_log, make_straight_log
from tests.simulation.driving import LENGTH, WIDTH, case_of, going, road, scene


@pytest.mark.parametrize(("into", "refused"), [(0.4, False), (0.6, True), (LENGTH / 2, True)])
def test_an_ego_that_starts_in_collision_is_refused(into: float, refused: bool) -> None:
    """The other's box reaches so far into the ego's from behind."""
    made = make_case(scene(going(0.0), going(into - LENGTH)), suite="x")
    assert (made == "the ego starts in collision with track 1") is refused
    beside = make_case(scene(going(0.0), going(0.0, min(into, WIDTH) - WIDTH)), suite="x")
    assert isinstance(beside, str) is refused


@pytest.mark.parametrize(
    ("y", "told"),
    [
        (-1.75 - 4.9 - WIDTH / 2, None),  # its left side is 4.9 m off the right edge of the road
        (-1.75 - 5.1 - WIDTH / 2, "the ego starts 5.1 m off the road"),
        (60.0, "the ego starts more than 50 m off the road"),
    ],
)
def test_an_ego_that_starts_off_the_road_is_refused(y: float, told: str | None) -> None:
    made = make_case(scene(going(0.0, y), road_map=road()), suite="x")
    assert isinstance(made, Case) if told is None else made == told


PEDESTRIAN = going(30.0, 6.0, speed=0.0, cls=AgentClass.PEDESTRIAN, size=(0.6, 0.6))


@pytest.mark.parametrize(
    ("query", "needs"),
    [
        ("near(ego, pedestrian p)", "a pedestrian"),
        ("never near(ego, pedestrian _)", None),
        ("not near(ego, pedestrian _)", None),
        ("near(ego, pedestrian _) or stopped(ego)", None),
        ("near(ego, pedestrian _) or near(ego, vru _)", "a pedestrian"),
        ("near(ego, pedestrian p) then stopped(ego)", "a pedestrian"),
        ("stopped(ego) and near(ego, pedestrian p) for at least 1 s", "a pedestrian"),
        ("count(near(ego, pedestrian p)) >= 1", "a pedestrian"),
        ("count(near(ego, pedestrian p)) <= 1", None),
        ("near(ego, vehicle v)", None),
    ],
)
def test_a_criterion_about_nobody_who_is_there_is_refused(query: str, needs: str | None) -> None:
    users = (going(0.0), going(40.0, 3.5))
    made = make_case(scene(*users, road_map=road()), suite="x", criteria={"mine": query})
    if needs is None:
        assert isinstance(made, Case)
    else:
        assert made == f"criterion `mine` is about {needs}, and there is none: {query}"
    more = scene(*users, PEDESTRIAN, road_map=road())
    assert isinstance(make_case(more, suite="x", criteria={"mine": query}), Case)


def test_who_left_before_the_planner_takes_over_is_not_there() -> None:
    gone = replace(PEDESTRIAN, valid=np.arange(91) < 10)
    made = make_case(
        scene(going(0.0), gone, road_map=road()),
        suite="x", criteria={"mine": "near(ego, pedestrian p)"},
    )  # fmt: skip
    assert "is about a pedestrian, and there is none" in str(made)


def onto(made: Scene) -> Scene:
    """The other stands on the ego at the start."""
    tracks = made.tracks
    xy = tracks.xy.copy()
    xy[1] = xy[0]
    return replace(made, tracks=replace(tracks, xy=xy))


@pytest.mark.parametrize(
    ("case_spoilt", "scene_spoilt", "told"),
    [
        (lambda c: replace(c, goal=(80.0, 40.0)), None, "lies 40 m off the route"),
        (lambda c: replace(c, goal=(190.0, 0.0)), None, None),
        (lambda c: replace(c, goal=(195.0, 0.0), horizon_steps=40), None,
         "its goal lies 195 m ahead, which cannot be reached in 4.0 s from 10.0 m/s"),
        (lambda c: replace(c, goal=(np.nan, 0.0)), None, "its goal is nowhere"),
        (lambda c: replace(c, start_step=500), None, "has 2 tracks and 91 steps"),
        (lambda c: replace(c, ego_track_id=77), None, "wants track 77"),
        (lambda c: replace(c, criteria={"min_gab": 1.0}), None, "no criterion `min_gab`"),
        (lambda c: replace(c, criteria={"q": "cutin(a, ego)"}), None, "cannot be asked"),
        (lambda c: replace(c, criteria={"q": "near(ego, bus _)"}), None, "about a bus"),
        (None, lambda s: replace(s, map=RoadMap.none()), "its map is not in the lake"),
        (None, onto, "starts in collision with track 1"),
    ],
)  # fmt: skip
def test_what_became_undrivable_is_not_the_planners_failure(
    case_spoilt: Callable[[Case], Case] | None,
    scene_spoilt: Callable[[Scene], Scene] | None,
    told: str | None,
) -> None:
    good = scene(going(0.0), going(60.0, 3.5), road_map=road(), scene_id=1)
    fine = scene(going(0.0), going(60.0, 3.5), road_map=road(), scene_id=2)
    case = case_of(good)
    spoilt = (
        case if case_spoilt is None else case_spoilt(case),
        good if scene_spoilt is None else scene_spoilt(good),
    )
    ran = list(run_cases([spoilt, (case_of(fine), fine)], planner("idm")))
    status = {r.result.case.scene_id: r.result.status for r in ran}
    assert status[2] == DONE
    if told is None:
        assert status[1] == DONE
    else:
        assert status[1].startswith(NOT_DRIVABLE)
        assert told in status[1]


def test_undrivable_cases_are_counted_apart_and_stay_in_the_mean(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path / "lake")
    with lake.run("test") as made_by:
        written = lake.add_logs([make_straight_log(), make_crossing_log()], run_id=made_by.id)
    suites.build(lake, "two")
    whole = run(lake, "two", "constant_velocity")
    assert (whole.errored, whole.not_drivable) == (0, 0)
    gone = written["scenes"][0]
    lost = next(r for r in suites.results_of(lake, whole.run_id) if r.case.scene_id == gone)
    lake.replace("scenes", [], where=f"scene_id = {gone}")
    again = run(lake, "two", "constant_velocity")
    assert (again.cases, again.errored, again.not_drivable) == (2, 1, 1)
    assert again.errors == {f"{NOT_DRIVABLE}its scene is not in the lake": 1}
    assert again.score == pytest.approx(whole.score - lost.score / 2, abs=1e-6)
    assert again.answer()["not_drivable"] == 1
    assert run(lake, "two", "idm", jobs=2).not_drivable == 1
