"""Replay that begins to react: when, and what it does then; and whose fault an impact with replay is."""

from __future__ import annotations

import numpy as np
import pytest

from schemas.scene import DT
from simulation.batch import NOW
from simulation.engine import Rollout, simulate
from simulation.idm import TRAFFIC
from simulation.planners import planner
from simulation.protocol import CaseBatchView, Observation, Plan, Planner
from simulation.running import run_cases
from simulation.scores import CollisionKind, measure
from tests.simulation.driving import (
    LENGTH,
    User,
    batch_of,
    case_of,
    drawn_scenes,
    going,
    road,
    scene,
)


class Stops:
    """Brakes to a stand, evenly."""

    name = "stops"

    def __init__(self, braking: float = 4.0, until: float = 0.0) -> None:
        self.braking, self.until = braking, until

    def start(self, cases: CaseBatchView) -> None:
        self.count = len(cases)

    def plan(self, obs: Observation) -> Plan:
        speed = obs.ego.speed[:, -1]
        braking = np.clip((speed - self.until) / DT, 0.0, self.braking)
        return Plan(acceleration=-braking, steering=np.zeros(self.count))


def drive(*users: User, agents: str = "log_then_idm", who: Planner | None = None) -> Rollout:
    built = scene(*users, road_map=road())
    return simulate(batch_of(built, agents=agents), who or Stops())


def began(rollout: Rollout) -> list[int]:
    """Step after the start at which each agent began to react, −1 for never."""
    return [s - NOW if s >= 0 else -1 for s in rollout.traffic.reacts_from[0, 1:].tolist()]


def test_replay_that_would_ram_a_stopping_ego_queues_behind_it() -> None:
    users = (going(0.0, speed=10.0), going(-15.0, speed=10.0), going(-35.0, speed=10.0))
    replayed, reacting = drive(*users, agents="log"), drive(*users)
    assert (replayed.contact[0, 1:] > 0).all()
    assert (reacting.contact[0] == -1).all()
    assert all(step >= 0 for step in began(reacting))
    front = reacting.xy[-1, 0, :, 0]
    gaps = front[:-1] - front[1:] - LENGTH
    assert (gaps > 0.3 * TRAFFIC.gap).all()
    assert (np.hypot(*reacting.velocity[-1, 0].T) < 1.0).all()


def test_where_the_ego_does_what_the_log_says_the_log_is_replayed_to_the_bit() -> None:
    for built in drawn_scenes(6, seed=2):
        rollout = simulate(batch_of(built, agents="log_then_idm"), planner("log_replay"))
        logged = simulate(batch_of(built, agents="log"), planner("log_replay"))
        fitted = rollout.valid[NOW:].all(axis=0) & ~rollout.traffic.kept_out
        assert fitted[:, 1:].any()
        for field in ("xy", "yaw", "velocity"):
            ours, theirs = (getattr(r, field)[:, fitted] for r in (rollout, logged))
            assert ours.tobytes() == theirs.tobytes()


def test_it_begins_no_sooner_than_three_seconds_before() -> None:
    """The ego stands 2 m off its log; replay at 10 m/s is 3 s away when its bumper is 30 m off."""
    ego = going(0.0, 0.0, speed=2.0)
    rollout = drive(ego, going(-60.0, speed=10.0), who=Stops(8.0))
    stands = rollout.xy[-1, 0, 0, 0]
    sees = (stands - LENGTH + 60.0 - 30.0) / 10.0
    assert began(rollout)[0] == pytest.approx(sees / DT, abs=3)


def test_the_recorded_path_is_kept_and_nothing_jumps() -> None:
    t = (np.arange(91) - NOW) * DT
    bend = going(0.0, speed=0.0)
    angle = -np.pi / 2 + 8.0 * t / 40.0
    bend.xy = np.stack([40.0 * np.cos(angle) - 20.0, 40.0 + 40.0 * np.sin(angle)], axis=-1)
    bend.yaw = angle + np.pi / 2
    rollout = drive(going(-5.35, 2.78, speed=9.0, yaw=0.375), bend, who=Stops(6.0))
    since = began(rollout)[0]
    assert since > 0
    radius = np.hypot(rollout.xy[NOW:, 0, 1, 0] + 20.0, rollout.xy[NOW:, 0, 1, 1] - 40.0)
    np.testing.assert_allclose(radius, 40.0, atol=0.1)
    step = np.hypot(*np.diff(rollout.xy[NOW:, 0, 1], axis=0).T)
    assert step.max() <= 8.0 * DT + 0.01
    assert np.abs(np.diff(rollout.yaw[NOW:, 0, 1])).max() < 8.0 * DT / 40.0 + 0.02


def test_those_behind_one_that_fell_back_fall_back_too() -> None:
    rollout = drive(
        going(0.0, speed=10.0), going(-15.0, speed=10.0), going(-30.0, speed=10.0),
        going(-45.0, speed=10.0), going(-60.0, 3.5, speed=10.0),
    )  # fmt: skip
    first, second, third, beside = began(rollout)
    assert 0 <= first <= second <= third
    assert beside == -1
    assert (rollout.contact[0] == -1).all()


def test_who_is_hit_from_behind_has_nothing_to_react_to() -> None:
    fast = drive(going(0.0, speed=14.0), going(15.0, speed=5.0), who=planner("constant_velocity"))
    assert began(fast) == [-1]


# -- whose fault -----------------------------------------------------------------------------------


def impact(rollout: Rollout) -> tuple[CollisionKind, bool, str]:
    (drive,) = measure(rollout)
    (collision,) = drive.collisions
    return collision.kind, collision.at_fault, collision.excuse


def crossing(at: float, x: float) -> User:
    """From the right, at 8 m/s; centred on y = 0 so many seconds after the start."""
    return going(x, -8.0 * at, speed=8.0, yaw=np.pi / 2)


def test_replay_across_the_bumper_of_an_ego_that_rolls_to_a_stand_is_not_its_fault() -> None:
    """The log's ego was long past; this one brakes to 0.3 m/s, and is rammed where it rolls."""
    rollout = drive(going(0.0, speed=10.0), crossing(5.0, 15.5), agents="log", who=Stops(4.0, 0.3))
    kind, at_fault, excuse = impact(rollout)
    assert (
        kind == CollisionKind.ACTIVE_FRONT
    )  # by nuPlan's classes alone the ego would be to blame
    assert not at_fault
    assert "replayed the log" in excuse


def test_an_ego_that_does_not_yield_is_to_blame() -> None:
    rollout = drive(
        going(0.0, speed=3.0), crossing(4.0, 15.5), agents="log", who=planner("constant_velocity")
    )
    _, at_fault, excuse = impact(rollout)
    assert at_fault
    assert excuse == ""


@pytest.mark.parametrize("x", [11.0, 11.5])
def test_an_ego_that_only_slows_down_before_crossing_traffic_is_to_blame(x: float) -> None:
    """It closes in more slowly than the other, and gives way all the same to nobody."""
    rollout = drive(
        going(0.0, speed=6.0), crossing(2.3, x), agents="log", who=Stops(1.5, 3.0)
    )  # from 6 to 3 m/s in 2 s
    kind, at_fault, excuse = impact(rollout)
    assert kind == CollisionKind.ACTIVE_FRONT
    assert at_fault
    assert excuse == ""


def test_an_ego_that_brakes_too_late_for_what_is_before_it_is_to_blame() -> None:
    rollout = drive(going(0.0, speed=14.0), going(12.0, speed=4.0), agents="log", who=Stops(2.0))
    kind, at_fault, _ = impact(rollout)
    assert kind == CollisionKind.ACTIVE_FRONT
    assert at_fault


def test_the_excuse_is_told_with_the_criterion() -> None:
    built = scene(going(0.0, speed=10.0), crossing(5.0, 15.5), road_map=road())
    (ran,) = run_cases([(case_of(built), built)], Stops(4.0, 0.3))
    told = ran.result.criteria["no_at_fault_collision"]
    assert told.value == 0.0
    assert told.passed
    assert "not the ego's fault: it replayed the log" in told.detail


def test_one_that_began_to_react_too_late_is_as_blind_as_replay() -> None:
    """It comes into the log's view 0.4 s before the impact: it brakes, and rams all the same."""
    late = going(15.5, -8.0 * 5.0, speed=8.0, yaw=np.pi / 2, since=NOW + 43)
    rollout = drive(going(0.0, speed=10.0), late, who=Stops(4.0, 0.3))
    since = began(rollout)[0]
    step = int(rollout.contact[0, 1]) - NOW
    assert 0 <= since < step < since + 10
    kind, at_fault, excuse = impact(rollout)
    assert kind == CollisionKind.ACTIVE_FRONT
    assert not at_fault
    assert "replayed the log" in excuse
