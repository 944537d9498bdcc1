"""The planners that come along, and how a user's own is found and refused."""

import sys
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import BadInput, PlannerFailed, UnknownName
from schemas.labels import AgentClass
from simulation.batch import NOW
from simulation.cases import make_case
from simulation.engine import Reference, simulate
from simulation.gates import NonTrivial, Solvable
from simulation.planners import PLANNERS, planner
from simulation.protocol import CaseView, PerCasePlanner, Plan, Planner
from simulation.running import run_cases
from simulation.scores import measure
from tests.simulation.driving import (
    LENGTH,
    batch_of,
    case_of,
    drawn_scenes,
    going,
    red_at,
    road,
    scene,
)


@pytest.mark.parametrize("name", PLANNERS)
class TestEveryPlanner:
    """What is asked of each planner, whatever it does."""

    def test_it_is_called_what_it_is_called(self, name: str) -> None:
        made = planner(name)
        assert isinstance(made, Planner)
        assert made.name == name

    def test_it_drives_whatever_comes(self, name: str) -> None:
        batch = batch_of(*drawn_scenes(3, seed=1), scene(going(0.0, speed=0.0)))
        rollout = simulate(batch, planner(name))
        assert np.isfinite(rollout.xy).all()
        assert not rollout.errors
        for drive in measure(rollout):
            assert 0.0 <= drive.score <= 1.0

    def test_it_drives_an_empty_road(self, name: str) -> None:
        drive = measure(simulate(batch_of(scene(going(0.0), road_map=road())), planner(name)))[0]
        assert drive.score > 0.95


def test_only_references_may_see_the_future() -> None:
    assert {n for n in PLANNERS if isinstance(planner(n), Reference)} == {"log_replay", "oracle"}


def test_pdm_goes_round_what_idm_waits_behind() -> None:
    """A parked car reaches 0.2 m into the corridor of the lane; a metre to the right is free."""
    parked = going(60.0, 2.0, speed=0.0)
    built = scene(going(0.0, speed=8.0), parked, road_map=road())
    waits = simulate(batch_of(built), planner("idm"))
    goes = simulate(batch_of(built), planner("pdm"))
    assert waits.xy[-1, 0, 0, 0] < 60.0
    assert goes.xy[-1, 0, 0, 0] > 60.0
    assert goes.contact[0, 1] == -1


def test_pdm_stops_for_who_cannot_be_passed() -> None:
    wall = going(40.0, 0.0, speed=0.0, yaw=np.pi / 2, size=(12.0, 2.0))
    rollout = simulate(batch_of(scene(going(0.0), wall, road_map=road())), planner("pdm"))
    assert rollout.contact[0, 1] == -1
    assert rollout.speed[-1, 0] < 0.3


def test_pdm_stops_at_red() -> None:
    built = scene(going(0.0), road_map=road(), signals=red_at(45.0))
    rollout = simulate(batch_of(built), planner("pdm"))
    assert rollout.xy[-1, 0, 0, 0] + LENGTH / 2 < 45.0


def test_the_oracle_solves_what_cannot_be_foreseen() -> None:
    """A pedestrian who stands aside steps out in front of the ego a second before it comes by."""
    t = (np.arange(91) - 10) * 0.1
    walker = going(30.0, 4.0, speed=0.0, cls=AgentClass.PEDESTRIAN, size=(0.6, 0.6))
    walker.xy = np.stack([np.full(91, 30.0), np.clip(4.0 - 4.0 * np.maximum(t - 2.0, 0), 0, 4)], 1)
    built = scene(going(0.0, speed=13.0), walker, road_map=road())
    knows = simulate(batch_of(built), planner("oracle"))
    assert knows.contact[0, 1] == -1


def test_gates_pass_what_is_solvable_and_not_trivial() -> None:
    obstacle = scene(going(0.0), going(40.0, speed=0.0), road_map=road(), scene_id=1)
    empty = scene(going(0.0), road_map=road(), scene_id=2)
    # Whatever the ego does, it cannot stop in the two metres before the wall that is here.
    wall = going(6.5, 0.0, speed=0.0, yaw=np.pi / 2, size=(60.0, 2.0))
    hopeless = scene(going(0.0), wall, road_map=road(), scene_id=3)
    scenes = [obstacle, empty, hopeless]
    solvable = Solvable().check(scenes, NOW)
    assert [v.passed for v in solvable] == [True, True, False]
    assert "pdm" in solvable[0].detail
    assert "stopped_track" in solvable[2].detail
    trivial = NonTrivial().check(scenes, NOW)
    assert [v.passed for v in trivial] == [True, False, True]
    assert trivial[1].detail == "constant velocity passes"


MINE = """
from simulation.protocol import PerCasePlanner

class Cruise(PerCasePlanner):
    name = "cruise"

    def plan_one(self, case):
        return (0.5 if case.ego.speed[-1] < 12.0 else 0.0), 0.0

class Nothing:
    pass

class Silent(PerCasePlanner):
    pass

class Greedy(PerCasePlanner):
    def __init__(self, wants):
        self.wants = wants
"""


@pytest.fixture
def my_planner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_planner_of_a_test.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_planner_of_a_test", raising=False)
    return "my_planner_of_a_test"


def test_ones_own_planner_is_found_in_the_folder_and_drives(my_planner: str) -> None:
    made = planner(f"{my_planner}:Cruise")
    rollout = simulate(batch_of(scene(going(0.0)), scene(going(0.0, speed=3.0))), made)
    assert rollout.planner == "cruise"
    np.testing.assert_allclose(rollout.speed[-1], [12.0, 7.0], atol=0.06)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("idn", UnknownName, "Did you mean `idm`"),
        ("no_such_module_at_all:Planner", BadInput, "cannot be imported"),
        ("{}:Cruse", UnknownName, "Did you mean `Cruise`"),
        ("{}:Nothing", BadInput, "has no method `start`"),
        ("{}:Silent", BadInput, "has no method `plan_one`"),
        ("{}:Greedy", BadInput, "cannot be made without arguments"),
    ],
)
def test_what_is_no_planner_is_refused(
    my_planner: str, name: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        planner(name.format(my_planner))


def test_a_planner_that_raises_in_one_case_errs_in_that_one() -> None:
    class Fragile(PerCasePlanner):
        name = "fragile"

        def plan_one(self, case: CaseView) -> tuple[float, float]:
            if len(case.others.track_id) == 2 and case.time > 1.0:
                raise KeyError("surprise")
            return 0.0, 0.0

    scenes = [
        scene(going(0.0), going(90.0), scene_id=1),
        scene(going(0.0), going(90.0), going(90.0, 9.0), scene_id=2),
    ]
    ran = list(run_cases([(case_of(s), s) for s in scenes], Fragile()))
    assert ran[0].result.status == "done"
    assert "fragile raised KeyError: 'surprise' (after 1.1 s)" in ran[1].result.status
    assert [r.result.passed for r in ran] == [True, False]
    assert ran[1].result.score == 0.0


def test_a_batched_planner_that_raises_is_asked_case_by_case() -> None:
    class Batched:
        name = "batched"

        def start(self, cases):  # type: ignore[no-untyped-def]
            if 2 in [len(m.features) for m in cases.maps] or 3 in [
                len(m.features) for m in cases.maps
            ]:
                raise ValueError("maps are not for me")
            self.count = len(cases)

        def plan(self, obs):  # type: ignore[no-untyped-def]
            return planner("constant_velocity").plan(obs)

    scenes = [scene(going(0.0), scene_id=1), scene(going(0.0), road_map=road(), scene_id=2)]
    ran = list(run_cases([(case_of(s), s) for s in scenes], Batched()))
    assert [r.result.status == "done" for r in ran] == [True, False]
    assert "maps are not for me" in ran[1].result.status


def test_an_answer_of_a_wrong_shape_fails_its_case_and_says_so() -> None:
    class Wrong(PerCasePlanner):
        def plan_one(self, case: CaseView) -> np.ndarray:
            return np.zeros(3 if case.index == 1 else 2)

    rollout = simulate(batch_of(scene(going(0.0)), scene(going(0.0))), Wrong())
    assert rollout.planner == "Wrong"
    assert list(rollout.errors) == [1]
    assert "answered with shape (3,), not (acceleration, steering) or" in rollout.errors[1]


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (None, "answered `NoneType`"),
        (Plan(), "neither a trajectory nor both"),
        (Plan(acceleration=np.zeros(1)), "neither a trajectory nor both"),
        (Plan(acceleration=np.zeros(2), steering=np.zeros(1)), r"shape \(2,\), not \(1,\)"),
        (Plan(acceleration=np.array(["a"]), steering=np.zeros(1)), "of <U1"),
        (Plan(trajectory=np.zeros((1, 9, 3))), r"shape \(1, 9, 3\), not \(1, steps, 4\)"),
        (Plan(trajectory=np.zeros((1, 4, 4))), "4 steps, not 5 or more"),
        (Plan(trajectory=np.zeros(4)), r"shape \(4,\), not \(1, steps, 4\)"),
        (Plan(trajectory=np.zeros((1, 9, 4)), steps=np.array([10])), "gave steps"),
        (Plan(acceleration=np.zeros(1), steering=np.zeros(1), errors={5: "x"}), "none of"),
    ],
)
def test_what_is_no_plan_fails_with_what_was_asked_and_what_came(plan: Plan, told: str) -> None:
    class Batched:
        name = "batched"

        def start(self, cases):  # type: ignore[no-untyped-def]
            pass

        def plan(self, obs):  # type: ignore[no-untyped-def]
            return plan

    with pytest.raises(PlannerFailed, match=told):
        simulate(batch_of(scene(going(0.0))), Batched())


def test_a_case_is_known_by_the_same_index_whenever_it_is_driven() -> None:
    seen: dict[float, set[int]] = {}

    class Notes(PerCasePlanner):
        def start_one(self, case: CaseView) -> None:
            self.began = [*getattr(self, "began", []), case.index]

        def plan_one(self, case: CaseView) -> tuple[float, float]:
            assert case.index in self.began
            seen.setdefault(float(case.ego.speed[0]), set()).add(case.index)
            return 0.0, 0.0

    made = [(case_of(s), s) for s in (scene(going(0.0, speed=v), scene_id=v) for v in (3, 5, 7))]
    for some, batch in ((made, 3), (made[::-1], 2), (made[1:], 1)):
        index = {case.case_id: case.scene_id * 10 for case, _ in made}
        list(run_cases(some, Notes(), batch=batch, index=index))
    assert seen == {3.0: {30}, 5.0: {50}, 7.0: {70}}


def test_a_chosen_vehicle_is_driven_instead_of_the_ego() -> None:
    walker = going(20.0, 6.0, cls=AgentClass.PEDESTRIAN)
    there = scene(going(0.0), going(40.0, speed=6.0), walker)
    track = int(there.tracks.track_id[1])
    made, usual = make_case(there, suite="x", ego_track=track), make_case(there, suite="x")
    assert not isinstance(made, str)
    assert not isinstance(usual, str)
    assert made.ego_track_id == made.provenance["proxy_ego"] == track
    assert made.goal == pytest.approx(there.tracks.xy[1, -1])
    assert made.case_id != usual.case_id
    on_foot = int(there.tracks.track_id[2])
    assert "is no vehicle" in str(make_case(there, suite="x", ego_track=on_foot))


def test_scenes_that_cannot_be_driven_are_refused_with_the_reason() -> None:
    short = scene(going(0.0, steps=20))
    assert "only 0.9 s are left" in str(make_case(short, suite="x"))
    blind = scene(going(0.0, since=30))
    assert "not observed" in str(make_case(blind, suite="x", start=10))
    nobody = scene(going(0.0, cls=AgentClass.PEDESTRIAN), has_ego=False)
    assert "no vehicle" in str(make_case(nobody, suite="x"))
    assert make_case(nobody, suite="x", allow_proxy=False) == "the scene has no ego"
    jumping = going(0.0)
    jumping.xy = jumping.xy + np.where(np.arange(91) > 40, 50.0, 0.0)[:, None]
    assert "jumps" in str(make_case(scene(jumping), suite="x"))


def test_the_vehicle_with_the_longest_way_stands_in_for_a_missing_ego() -> None:
    built = scene(going(0.0, speed=3.0), going(0.0, 9.0, speed=9.0), has_ego=False)
    case = case_of(built)
    assert case.ego_track_id == 2
    assert case.provenance["proxy_ego"] == 2
    assert case.goal == pytest.approx((72.0, 9.0), abs=1e-3)
