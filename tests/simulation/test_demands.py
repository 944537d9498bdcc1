"""Criteria in the query language: asked of what happened in closed loop, not of what was logged."""

import numpy as np
import pytest

from geometry.arrays import Array
from lake import Lake
from mining.query.mistakes import BadExpression
from schemas.case import Case, Measured
from schemas.errors import BadSetting, UnknownName
from schemas.labels import AgentClass
from schemas.scene import Scene
from simulation import suites
from simulation.batch import ready, stack
from simulation.cases import make_case
from simulation.criteria import criteria_for
from simulation.demands import DEMANDS, checked_query, demands_for, met
from simulation.driven import DrivenScenes
from simulation.engine import simulate
from simulation.planners import ConstantVelocity, LogReplay
from simulation.protocol import CaseView, PerCasePlanner
from simulation.running import run_cases
from tests.builders import make_straight_log
from tests.simulation.driving import batch_of, case_of, going, road, scene


class Brakes(PerCasePlanner):
    """Brakes at so many m/s² from the third second on."""

    name = "brakes"

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def plan_one(self, case: CaseView) -> tuple[float, float]:
        return (-self.rate if case.time >= 2.0 and case.ego.speed[-1] > 1.0 else 0.0), 0.0


def asked(made: Scene, criteria: dict[str, float | str]) -> Case:
    made_case = case_of(made)
    return Case(
        **{name: getattr(made_case, name) for name in Case.__slots__ if name not in ("criteria",)},
        criteria=criteria,
    )


def criteria_of(
    planner: object, made: Scene, criteria: dict[str, float | str]
) -> dict[str, Measured]:
    (ran,) = run_cases([(asked(made, criteria), made)], planner)  # type: ignore[arg-type]
    assert ran.result.status == "done"
    failed = any(m.passed is False for m in ran.result.criteria.values())
    assert ran.result.passed is not failed
    return dict(ran.result.criteria)


def test_a_recorded_ego_for_whom_another_drives_is_one_of_the_others() -> None:
    brakes = going(0.0, speed=12.0)
    t = (np.arange(91) - 10) * 0.1
    brakes.xy[:, 0] = np.where(t < 3.0, 12.0 * t, 36.0 + 12.0 * (t - 3.0) - 3.5 * (t - 3.0) ** 2)
    brakes.xy[47:, 0] = brakes.xy[47, 0]
    made = scene(brakes, going(-60.0, 3.5, speed=9.0), road_map=road())
    case = make_case(made, suite="x", ego_track=1, criteria={"calm": "never hard_brake(ego)"})
    assert isinstance(case, Case)
    (ran,) = run_cases([(case, made)], ConstantVelocity())
    assert ran.result.criteria["calm"].passed
    driven = DrivenScenes().of(simulate(stack([ready(case, made)]), ConstantVelocity()), 0)
    assert sorted(driven.tracks.track_id.tolist()) == [0, 2]
    assert driven.tracks.xy[0, 0, 0] == pytest.approx(-60.0)


CALM = {"calm": "never hard_brake(ego)"}


@pytest.mark.parametrize(("rate", "calm"), [(0.0, True), (2.0, True), (7.0, False)])
def test_a_query_is_asked_of_the_drive_and_not_of_the_log(rate: float, calm: bool) -> None:
    made = scene(going(0.0), road_map=road())
    (measured,) = criteria_of(Brakes(rate), made, CALM).values()
    assert (measured.value, measured.bound, measured.passed) == (float(calm), 1.0, calm)
    if not calm:
        assert measured.detail.startswith("not so: never hard_brake(ego)")


def test_what_holds_at_some_time_tells_when_and_for_whom() -> None:
    standing = going(60.0, 3.5, speed=0.0)
    made = scene(going(0.0), standing, road_map=road())
    criteria = {"passes": DEMANDS["passes_standing_vehicle"].query}
    passed = criteria_of(ConstantVelocity(), made, criteria)["passes"]
    assert passed.passed
    assert "v = 1" in passed.detail
    stopped = criteria_of(Brakes(7.0), made, criteria)["passes"]
    assert stopped.passed is False


def test_what_cannot_be_known_has_no_say() -> None:
    made = scene(going(0.0))  # no map, so no signals either
    (measured,) = criteria_of(
        ConstantVelocity(), made, {"lights": "never red_light_running(ego)"}
    ).values()
    assert (measured.value, measured.passed) == (None, None)


def test_always_and_never_speak_of_the_whole_drive() -> None:
    made = scene(going(0.0), road_map=road())
    told = criteria_of(
        Brakes(7.0),
        made,
        {"always": "always moving(ego)", "ever": "moving(ego)", "never": "never moving(ego)"},
    )
    assert {name: m.passed for name, m in told.items()} == {
        "always": True, "ever": True, "never": False,
    }  # fmt: skip


def test_the_driven_scene_is_what_happened() -> None:
    made = scene(going(0.0), going(40.0, speed=4.0), road_map=road(), scene_id=7)
    rollout = simulate(batch_of(made, agents="constant_velocity"), Brakes(3.0))
    driven = DrivenScenes().of(rollout, 0)
    case = rollout.batch.ready[0].case
    assert driven.steps == case.horizon_steps + 1
    assert (driven.scene_id, driven.has_ego) == (case.case_id, True)
    at = slice(10, 10 + driven.steps)
    for agent in range(2):
        there = rollout.xy[at, 0, agent]
        assert np.allclose(driven.tracks.xy[agent], there, atol=1e-4)
        assert driven.tracks.valid[agent].all()
    # The ego drives along the road's first lane: its station grows as it does.
    on = driven.tracks.on_lane[0]
    assert on.all()
    first: Array = driven.tracks.lane[0] == 0
    moved = np.diff(driven.tracks.lane_s[0][first])
    assert np.allclose(moved, np.diff(driven.tracks.xy[0, first, 0]), atol=0.05)


def test_a_stand_in_is_the_ego_of_what_it_drove() -> None:
    made = scene(going(0.0), going(-30.0, 3.5), road_map=road(), has_ego=False)
    rollout = simulate(batch_of(made), LogReplay())
    driven = DrivenScenes().of(rollout, 0)
    assert driven.has_ego
    assert driven.tracks.track_id[0] == 0
    assert len(set(driven.tracks.track_id.tolist())) == len(driven.tracks.track_id)


def test_cases_that_ask_different_things_keep_their_own_answers() -> None:
    scenes = [
        scene(going(0.0, speed=v), road_map=road(), scene_id=i + 1)
        for i, v in enumerate((3.0, 12.0))
    ]
    texts = ["high_speed(ego)", "never high_speed(ego)"]
    rollout = simulate(batch_of(*scenes), ConstantVelocity())
    driven = DrivenScenes()
    answers = met(
        [
            ({"a": texts[0], "b": texts[1]}, driven.of(rollout, 0)),
            ({"c": texts[0]}, driven.of(rollout, 1)),
        ]
    )
    assert [{name: m.passed for name, m in one.items()} for one in answers] == [
        {"a": False, "b": True}, {"c": True},
    ]  # fmt: skip


def test_every_shipped_demand_can_be_asked() -> None:
    for demand in DEMANDS.values():
        checked_query(demand.query)
    assert demands_for(["nothing"]) == {}
    assert "keeps_time_gap" in demands_for(["cut_in"])


def test_wrong_criteria_are_told() -> None:
    with pytest.raises(BadExpression, match="hard_brake"):
        criteria_for([], {"mine": "hard_brakee(ego)"})
    with pytest.raises(BadSetting, match="must be a number"):
        criteria_for([], {"min_gap": "near(a, ego)"})
    with pytest.raises(UnknownName):
        criteria_for([], {"calm": 1.0})


def test_demands_are_made_only_where_the_recorded_drive_meets_them(tmp_path: object) -> None:
    slow = going(30.0, speed=2.0)
    meets = scene(going(0.0, speed=6.0), slow, road_map=road(), scene_id=1)
    steps = np.arange(91)
    hard = going(0.0)
    speed = np.clip(10.0 - 0.7 * np.maximum(steps - 40, 0), 0.5, None)
    hard.xy[:, 0] = np.concatenate([[0.0], np.cumsum(speed[1:] * 0.1)])
    brakes = scene(hard, road_map=road(), scene_id=2)
    cases = [
        Case(**{**{n: getattr(case_of(s), n) for n in Case.__slots__}, "tags": ("slow_lead",)})
        for s in (meets, brakes)
    ]
    gentle, harsh = suites.with_demands(list(zip(cases, (meets, brakes), strict=True)))
    assert gentle.criteria["no_hard_brake"] == "never hard_brake(ego)"
    assert "no_hard_brake" not in harsh.criteria
    assert set(harsh.criteria) >= set(case_of(brakes).criteria)


def test_a_suite_keeps_and_judges_its_queries(tmp_path: object) -> None:
    lake = Lake.create(f"{tmp_path}/lake")
    with lake.run("test") as run:
        lake.add_logs([make_straight_log()], run_id=run.id)
    built = suites.build(lake, "mine", criteria={"moves": "moving(ego)", "min_gap": 0.1})
    assert built.cases == 1
    (case,) = suites.cases_of(lake, "mine")
    assert case.criteria["moves"] == "moving(ego)"
    assert case.criteria["min_gap"] == 0.1
    ran = suites.run(lake, "mine", "log_replay")
    assert ran.by_criterion["moves"] == {"passed": 1, "failed": 0, "unknown": 0}
    assert suites.report(lake, "mine").answer() == ran.answer()


def test_pedestrians_are_asked_of_by_class() -> None:
    walker = going(
        40.0, 4.0, speed=1.5, yaw=-np.pi / 2, cls=AgentClass.PEDESTRIAN, size=(0.5, 0.5)
    )
    far = going(300.0, 3.5)  # so that there is a vehicle to ask of
    made = scene(going(0.0, speed=8.0), walker, far, road_map=road())
    told = criteria_of(
        ConstantVelocity(),
        made,
        {"vru": DEMANDS["no_near_miss_vru"].query, "car": "near(vehicle _, ego)"},
    )
    assert told["car"].passed is False


def test_the_one_told_of_several_does_not_depend_on_who_is_asked_along() -> None:
    """Three stand from the beginning; driven beside other cases, the same one is named."""
    text = "stopped(vehicle v)"
    everyone = [going(0.0), *(going(x, 3.5, speed=0.0) for x in range(20, 100, 4))]
    asked = [({"stands": text}, scene(*everyone, scene_id=1 + k)) for k in range(40)]
    alone = [met([one])[0]["stands"].detail for one in asked]
    assert [made["stands"].detail for made in met(asked)] == alone
    assert [made["stands"].detail for made in met(asked[::-1])][::-1] == alone
    assert len(set(alone)) == 1
