"""Which cases are the same test, and which only begin alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from schemas.case import Case
from schemas.labels import AgentClass
from schemas.scene import Scene
from simulation.batch import NOW
from simulation.fingerprints import of_test
from simulation.suites import validating
from tests.simulation.driving import START, STEPS, case_of, going, red_at, road, scene

MIXED = "mixed:idm=0.5,log=0.5"


def built(**changes: object) -> Scene:
    """An ego behind a car, a walker who comes into view later, and a red light."""
    made = scene(
        going(0.0), going(25.0),
        going(40.0, 6.0, speed=1.0, cls=AgentClass.PEDESTRIAN, size=(0.6, 0.6), since=START + 20),
        road_map=road(), signals=red_at(60.0),
    )  # fmt: skip
    return replace(made, **changes)


def moved(made: Scene, agent: int, step: int, *, by: float) -> Scene:
    """One agent elsewhere at one step."""
    xy = made.tracks.xy.copy()
    xy[agent, step, 0] += by
    return replace(made, tracks=replace(made.tracks, xy=xy))


def test_names_ids_and_the_order_of_tracks_make_no_other_test() -> None:
    one = built()
    case = case_of(one)
    other = replace(
        one, scene_id=9, log_id=8, name="copy", tracks=one.tracks.take([0, 2, 1]), dataset="other"
    )
    ids = np.array([0, 71, 70])
    other = replace(other, tracks=replace(other.tracks, track_id=ids))
    copy = replace(
        case, case_id=5, suite="other", scene_id=9, tags=("cut_in",), weight=3.0, stratum="a",
        provenance={"proof": {}}, criteria=dict(reversed(case.criteria.items())),
    )  # fmt: skip
    assert of_test(copy, other) == of_test(case, one)


@pytest.mark.parametrize("agent", [0, 1, 2])
@pytest.mark.parametrize("step", [START - NOW, START + 30, STEPS - 1])
def test_whoever_moves_otherwise_at_any_step_makes_another_test(agent: int, step: int) -> None:
    one = built()
    case = case_of(one)
    seen = bool(one.tracks.valid[agent, step])
    other = of_test(case, moved(one, agent, step, by=0.01))
    assert (other != of_test(case, one)) is seen
    assert of_test(case, moved(one, agent, step, by=1e-5)) == of_test(case, one)


def test_a_lead_that_brakes_later_makes_another_test() -> None:
    """Both begin in the same state; one lead stands from a second later on."""
    steady = built()
    tracks, after = steady.tracks, np.arange(STEPS) > START + 10
    xy, velocity = tracks.xy.copy(), tracks.velocity.copy()
    xy[1, after] = xy[1, START + 10]
    velocity[1, after] = 0.0
    brakes = replace(steady, tracks=replace(tracks, xy=xy, velocity=velocity))
    case = case_of(steady)
    assert of_test(case, brakes) != of_test(case, steady)
    assert validating._twins([(case, steady), (replace(case, case_id=2), brakes)]) == set()
    assert validating._twins([(case, steady), (replace(case, case_id=2), steady)]) == {2}


def test_sizes_classes_lights_map_goal_and_criteria_are_of_the_test() -> None:
    one = built()
    case = case_of(one)
    size, cls = one.tracks.size.copy(), one.tracks.cls.copy()
    size[1, 0], cls[1] = 9.0, int(AgentClass.TRUCK)
    told = {of_test(case, one)} | {
        of_test(case, other)
        for other in (
            built(tracks=replace(one.tracks, size=size)),
            built(tracks=replace(one.tracks, cls=cls)),
            built(signals=red_at(60.0, green_from=START + 40)),
            built(signals=replace(one.signals, stop_xy=one.signals.stop_xy + 1.0)),
            built(map=road(limit=14.0)),
            built(has_signals=False),
        )
    }
    told |= {
        of_test(replace(case, **change), one)  # type: ignore[arg-type]
        for change in (
            {"goal": (50.0, 0.0)}, {"horizon_steps": 40}, {"agents": "idm"},
            {"criteria": {**case.criteria, "min_gap": 0.7}}, {"ego_track_id": 1},
        )
    }  # fmt: skip
    assert len(told) == 12


@pytest.mark.parametrize(
    ("agents", "chance"),
    [("log", False), ("idm", False), ("mixed:idm=1", False), (MIXED, True), ("yielding", True),
     ("mixed:idm=1,yielding=0.5", True), ("diffusion", True)],
)  # fmt: skip
def test_who_draws_by_the_id_of_the_case_makes_a_test_of_its_own(
    agents: str, chance: bool
) -> None:
    one = built()
    case = case_of(one, agents=agents)
    copy: Case = replace(case, case_id=5, seed=3)
    assert (of_test(copy, one) != of_test(case, one)) is chance
    trimmed = replace(case, case_id=5, provenance={"drawn_as": str(case.case_id)})
    assert of_test(trimmed, one) == of_test(case, one)
