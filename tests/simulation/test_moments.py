"""Drives seen again, and when they were lost: on straight roads where that can be reckoned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from schemas.case import Result
from schemas.errors import MissingData
from schemas.labels import AgentClass
from schemas.scene import DT, Scene
from simulation.driven import DrivenScenes
from simulation.engine import Rollout
from simulation.idm import BRAKE_MAX
from simulation.moments import Moment, moments
from simulation.planners import ConstantVelocity, IdmPlanner
from simulation.protocol import CaseView, PerCasePlanner, Planner
from simulation.replay import replayed
from simulation.running import run_cases
from tests.simulation.driving import (
    LENGTH,
    WIDTH,
    case_of,
    drawn_scenes,
    going,
    red_at,
    road,
    scene,
)


class Does(PerCasePlanner):
    """Goes on as it came, and from some time on does something."""

    name = "does"

    def __init__(self, after_s: float, acceleration: float = 0.0, steering: float = 0.0) -> None:
        self.after_s, self.controls = after_s, (acceleration, steering)

    def plan_one(self, case: CaseView) -> tuple[float, float]:
        if case.time < self.after_s:
            return 0.0, 0.0
        acceleration, steering = self.controls
        return max(acceleration, -float(case.ego.speed[-1]) / DT), steering  # to a stand, not back


def lost(made: Scene, planner: Planner, criteria: dict[str, float | str]) -> dict[str, Moment]:
    case = replace(case_of(made), criteria=criteria)
    (ran,) = run_cases([(case, made)], planner)
    assert set(ran.result.failed) == set(criteria), ran.result.criteria
    rollout = replayed([(ran.result, made)])
    return moments(ran.result, rollout, DrivenScenes().of(rollout, 0))


def test_a_collision_is_lost_when_the_boxes_touch_and_with_whom() -> None:
    # A standing car 40.5 m ahead, bumper to bumper: touched after 4.05 s at 10 m/s.
    made = scene(going(0.0), going(40.5 + LENGTH, speed=0.0), going(0.0, 3.5), road_map=road())
    found = lost(made, ConstantVelocity(), {"no_collision": 0.0, "no_at_fault_collision": 0.0})
    assert found == {
        "no_collision": Moment(step=41, others=frozenset({1})),
        "no_at_fault_collision": Moment(step=41, others=frozenset({1})),
    }


def test_a_clearance_is_lost_when_it_is_first_undercut() -> None:
    walker = going(30.0, 1.75, speed=0.0, cls=AgentClass.PEDESTRIAN, size=(0.5, 0.5))
    made = scene(going(0.0), walker, road_map=road())
    # Beside each other there are 1.75 - 0.95 - 0.25 = 0.55 m; the corner comes under 2 m before that.
    ahead = np.sqrt(2.0**2 - 0.55**2)
    reach = 30.0 - 0.25 - LENGTH / 2.0 - ahead
    found = lost(made, ConstantVelocity(), {"min_gap_vru": 2.0})
    assert found["min_gap_vru"].step == int(np.ceil(reach / 10.0 / DT))
    assert WIDTH == 1.9


def test_a_red_light_is_lost_where_the_front_crosses_its_line() -> None:
    logged = going(0.0)
    logged.xy[:, 0] = np.minimum(logged.xy[:, 0], 30.0)  # the recorded drive stops before the line
    made = scene(logged, road_map=road(), signals=red_at(40.0))
    found = lost(made, ConstantVelocity(), {"no_red_light": 0.0})
    assert found["no_red_light"].step == int(np.ceil((40.0 - LENGTH / 2.0) / 10.0 / DT))


def test_hard_braking_is_lost_when_it_begins() -> None:
    made = scene(going(0.0), road_map=road())
    found = lost(
        made, Does(3.0, acceleration=-7.0), {"max_braking": 6.0, "calm": "never hard_brake(ego)"}
    )
    assert found["max_braking"].step == 31  # the first step that ends at 7 m/s² less
    assert abs(found["calm"].step - 30) <= 3  # accelerations are smoothed over a few steps
    assert not found["calm"].at_end


def test_leaving_the_road_is_lost_when_a_corner_is_out() -> None:
    made = scene(going(0.0), road_map=road())
    found = lost(made, Does(2.0, steering=-0.2), {"drivable_area": 0.3})
    assert 21 < found["drivable_area"].step < 40


def test_what_is_to_be_reached_or_shown_can_be_until_the_end() -> None:
    standing = going(60.0, 3.5, speed=0.0)
    made = scene(going(0.0), standing, road_map=road())
    passes = "in_front_of(vehicle v, ego) and stopped(v) then behind(v, ego)"
    found = lost(made, Does(0.0, acceleration=-5.0), {"goal": 5.0, "passes": passes})
    end = case_of(made).horizon_steps
    assert found == {
        "goal": Moment(step=end, at_end=True),
        "passes": Moment(step=end, at_end=True),
    }


def test_too_little_progress_is_lost_from_where_it_stays_too_little() -> None:
    made = scene(going(0.0), road_map=road())
    found = lost(made, Does(0.0, acceleration=-BRAKE_MAX), {"making_progress": 0.2})
    # It stops after 10² / (2 BRAKE_MAX) m; the recorded drive has five times that behind it when it is lost.
    stopped = 10.0**2 / (2.0 * BRAKE_MAX)
    assert found["making_progress"].step == pytest.approx(stopped / 0.2 / 10.0 / DT, abs=1.0)


@pytest.mark.parametrize("agents", ["log", "idm", "constant_velocity"])
def test_a_replay_is_what_happened(agents: str) -> None:
    scenes = drawn_scenes(6)
    pairs = [(case_of(s, agents=agents), s) for s in scenes]  # type: ignore[arg-type]
    kept: list[Rollout] = []

    import simulation.running as running

    simulate = running.simulate
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "simulate", lambda *a: kept.append(simulate(*a)) or kept[-1])
        ran = list(run_cases(pairs, IdmPlanner()))
    again = replayed([(r.result, s) for r, s in zip(ran, scenes, strict=True)])
    (was,) = kept
    assert np.array_equal(was.valid, again.valid)
    for index, case in enumerate(was.batch.ready):
        steps = slice(10, 10 + case.case.horizon_steps + 1)
        there = was.valid[steps, index]
        assert np.allclose(
            was.xy[steps, index][there], again.xy[steps, index][there], rtol=0.0, atol=1e-4
        )
    assert np.array_equal(was.contact, again.contact)


def test_a_result_without_a_drive_cannot_be_seen_again() -> None:
    made = scene(going(0.0))
    (ran,) = run_cases([(case_of(made), made)], ConstantVelocity())
    empty = Result(**{
        name: getattr(ran.result, name) for name in Result.__slots__ if name != "trajectory"
    }, trajectory=np.zeros((0, 4), dtype=np.float32))  # fmt: skip
    with pytest.raises(MissingData, match="kept 0 states"):
        replayed([(empty, made)])
