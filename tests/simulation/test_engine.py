"""The closed loop: who meets whom, when; the same bits whatever the batch; answers refused."""

import asyncio

import numpy as np
import pytest

from geometry.kinematics import bicycle_step
from schemas.errors import PlannerFailed
from schemas.labels import AgentClass
from schemas.scene import DT
from simulation.batch import NOW
from simulation.engine import Rollout, simulate, track
from simulation.planners import planner
from simulation.protocol import CaseBatchView, CaseView, Observation, PerCasePlanner, Plan
from tests.simulation.driving import LENGTH, START, batch_of, drawn_scenes, going, road, scene

MIXED = "mixed:idm=0.3,log_then_idm=0.3,mobil=0.3,log=0.1,yielding=0.5"


class Constant:
    """Always the same controls."""

    name = "constant"

    def __init__(self, acceleration: float = 0.0, steering: float = 0.0) -> None:
        self.acceleration, self.steering = acceleration, steering

    def start(self, cases: CaseBatchView) -> None:
        self.count = len(cases)

    def plan(self, obs: Observation) -> Plan:
        return Plan(
            acceleration=np.full(self.count, self.acceleration),
            steering=np.full(self.count, self.steering),
        )


def contact_steps(rollout: Rollout) -> list[int | None]:
    """Steps after the start, None for those never met."""
    return [c - NOW if c >= 0 else None for c in rollout.contact[0, 1:].tolist()]


def test_an_ego_meets_a_standing_car_when_arithmetic_says() -> None:
    # 10 m/s; bumpers touch after (30 − 4.6) / 10 = 2.54 s, so they overlap first at step 26.
    batch = batch_of(scene(going(0.0, speed=10.0), going(30.0, speed=0.0)))
    assert contact_steps(simulate(batch, Constant())) == [26]


def test_who_is_tested_may_not_jump() -> None:
    class Jumps(Constant):
        def plan(self, obs: Observation) -> Plan:
            return Plan(trajectory=np.zeros((self.count, 1, 4)), exact=True)

    with pytest.raises(PlannerFailed, match="only references may"):
        simulate(batch_of(scene(going(0.0))), Jumps())


def test_a_car_beside_is_not_met() -> None:
    batch = batch_of(scene(going(0.0), going(30.0, 2.0, speed=0.0)))
    assert contact_steps(simulate(batch, Constant())) == [None]


def test_who_overlaps_at_the_start_counts_once_deeper_or_met_again() -> None:
    parts = going(4.2, speed=14.0)  # apart after a step, and in the way from 3 s on
    parts.xy[START + 30 :] = parts.xy[START + 30]
    users = (going(4.2, speed=2.0), going(4.2, speed=10.0), going(4.2, 1.4, speed=2.0), parts)
    rollout = simulate(batch_of(scene(going(0.0, speed=10.0), *users)), Constant())
    # 0.4 m deep, by 0.8 m a step more; as it began; passed at 0.5 m from its side; (46.2 − 4.6) / 10 s.
    assert contact_steps(rollout) == [1, None, None, 42]


def test_as_deep_as_the_log_has_it_is_no_contact() -> None:
    """Recorded boxes that slide into one another do so under log replay, too, up to half a metre."""
    slides = going(4.55, speed=9.96)
    batch = batch_of(scene(going(0.0, speed=10.0), slides))
    assert contact_steps(simulate(batch, planner("log_replay"))) == [None]
    (deeper,) = contact_steps(simulate(batch, Constant(acceleration=0.2)))
    assert deeper is not None
    # Bearable are 0.3 m more than the log's 0.05 m + 0.04 m/s · 8 s.
    assert 0.1 * (deeper * DT) ** 2 + 0.04 * deeper * DT + 0.05 == pytest.approx(0.67, abs=0.06)


def test_the_last_state_is_that_of_the_bicycle() -> None:
    batch = batch_of(scene(going(0.0, speed=10.0)))
    rollout = simulate(batch, Constant(acceleration=0.5, steering=0.05))
    back = 0.28 * np.float32(LENGTH)
    state = np.array([-back, 0.0, 0.0, 10.0])
    wheelbase = np.array(0.6 * np.float32(LENGTH))
    for _ in range(80):
        state = bicycle_step(state, np.array(0.5), np.array(0.05), wheelbase=wheelbase, dt=DT)
    centre = state[:2] + back * np.array([np.cos(state[2]), np.sin(state[2])])
    np.testing.assert_allclose(rollout.xy[-1, 0, 0], centre, atol=1e-4)
    np.testing.assert_allclose(rollout.speed[-1, 0], 14.0, atol=1e-5)


def test_velocity_is_the_derivative_of_the_centre() -> None:
    rollout = simulate(batch_of(scene(going(0.0))), Constant(0.4, 0.08))
    moved = np.gradient(rollout.xy[NOW:, 0, 0], DT, axis=0)[5:-5]
    np.testing.assert_allclose(rollout.velocity[NOW:, 0, 0][5:-5], moved, atol=0.06)


def test_controls_are_held_to_the_vehicles_limits() -> None:
    rollout = simulate(batch_of(scene(going(0.0))), Constant(100.0, -3.0))
    assert rollout.acceleration[NOW, 0] == 4.0
    assert rollout.steering[NOW, 0] == -0.6


def test_log_replay_gives_the_log_back() -> None:
    t = np.arange(91) * DT
    wavy = going(0.0)
    wavy.xy = np.stack([8.0 * t, 2.0 * np.sin(0.4 * t)], axis=-1)
    wavy.yaw = np.arctan2(0.8 * np.cos(0.4 * t), 8.0)
    batch = batch_of(scene(wavy, going(30.0, 20.0)))
    rollout = simulate(batch, planner("log_replay"))
    assert np.abs(rollout.xy - batch.xy).max() < 1e-3
    assert np.abs(rollout.yaw - batch.yaw).max() < 1e-3


def test_a_log_inverted_to_controls_drives_the_log_again() -> None:
    """What the bicycle did under known controls is read off its states and driven once more."""
    rng = np.random.default_rng(4)
    smooth = np.convolve(rng.normal(0.0, 0.05, 100), np.ones(20) / 20, "same")
    state, wheelbase = np.array([0.0, 0.0, 0.3, 8.0]), np.array(2.8)
    states = [state]
    for steering in smooth[:80]:
        state = bicycle_step(
            state, np.array(3.0 * steering), np.array(steering), wheelbase=wheelbase, dt=DT
        )
        states.append(state)
    log = np.stack(states)
    acceleration = np.diff(log[:, 3]) / DT
    mean_speed = (log[1:, 3] + log[:-1, 3]) / 2.0
    steering = np.arctan(np.diff(np.unwrap(log[:, 2])) / DT / mean_speed * wheelbase)
    again = log[0]
    for a, delta in zip(acceleration[:, None], steering[:, None], strict=True):
        again = bicycle_step(again[None], a, delta, wheelbase=wheelbase[None], dt=DT)[0]
    np.testing.assert_allclose(again, log[-1], atol=1e-9)


@pytest.mark.parametrize("curvature", [0.0, 0.05, -0.1])
@pytest.mark.parametrize("acceleration", [0.0, 1.0, -1.5])
def test_tracking_is_exact_on_arcs_and_constant_acceleration(
    curvature: float, acceleration: float
) -> None:
    t = np.arange(1, 11) * DT
    s = 8.0 * t + acceleration * t**2 / 2.0
    yaw = curvature * s
    x = s if curvature == 0 else np.sin(yaw) / curvature
    y = np.zeros(10) if curvature == 0 else (1.0 - np.cos(yaw)) / curvature
    trajectory = np.stack([x, y, yaw, 8.0 + acceleration * t], axis=-1)[None]
    trajectory[..., 0] += 1.3 * np.cos(yaw)
    trajectory[..., 1] += 1.3 * np.sin(yaw)
    rear = np.array([[0.0, 0.0, 0.0, 8.0]])
    a, steering = track(trajectory, rear, np.array([2.8]), np.array([1.3]))
    assert a[0] == pytest.approx(acceleration, abs=0.03)
    assert np.tan(steering[0]) / 2.8 == pytest.approx(curvature, abs=2e-3 * abs(curvature) + 1e-9)


class Trajectories:
    """The logged drive as a trajectory to be tracked by the bicycle."""

    name = "trajectories"

    def __init__(self, xy: np.ndarray, yaw: np.ndarray) -> None:
        speed = np.hypot(*np.gradient(xy, DT, axis=0).T)
        self.states = np.column_stack([xy, yaw, speed])

    def start(self, cases: CaseBatchView) -> None: ...

    def plan(self, obs: Observation) -> Plan:
        ahead = np.minimum(np.arange(NOW + obs.step + 1, NOW + obs.step + 16), 90)
        return Plan(trajectory=self.states[ahead][None])


def test_a_tracked_trajectory_is_kept_to_a_few_centimetres() -> None:
    t = (np.arange(91) - 10) * DT
    winding = going(0.0)
    winding.xy = np.stack([9.0 * t, 3.0 * (1 - np.cos(0.5 * t))], axis=-1)
    winding.yaw = np.arctan2(1.5 * np.sin(0.5 * t), 9.0)
    batch = batch_of(scene(winding))
    rollout = simulate(batch, Trajectories(winding.xy, winding.yaw))
    assert np.abs(rollout.xy[:80, 0, 0] - batch.xy[:80, 0, 0]).max() < 0.15


@pytest.mark.parametrize(
    "agents", ["log", "idm", "constant_velocity", "log_then_idm", "mobil", "yielding", MIXED]
)
@pytest.mark.parametrize("name", ["idm", "pdm", "constant_velocity", "log_replay"])
def test_a_case_alone_is_bit_for_bit_what_it_is_among_others(name: str, agents: str) -> None:
    scenes = drawn_scenes(5, seed=3)
    together = simulate(batch_of(*scenes, agents=agents), planner(name))
    for i in (0, 4):
        alone = simulate(batch_of(scenes[i], agents=agents), planner(name))
        steps, _, many = alone.valid.shape
        horizon = NOW + 1 + int(alone.batch.horizon[0])
        for field in ("xy", "yaw", "velocity", "valid"):
            ours = getattr(together, field)[:horizon, i, :many]
            assert ours.tobytes() == getattr(alone, field)[:horizon, 0].tobytes(), (field, i)
        assert not together.valid[horizon:, i].any()
        assert not together.valid[:, i, many:].any()
        assert (together.contact[i, :many] == alone.contact[0]).all()
        assert steps == horizon


def test_the_same_again_gives_the_same_bits() -> None:
    scenes = drawn_scenes(3, seed=8)
    first, second = (simulate(batch_of(*scenes, agents="idm"), planner("pdm")) for _ in range(2))
    assert first.xy.tobytes() == second.xy.tobytes()


def test_planners_see_the_past_and_cannot_touch_the_world() -> None:
    class Nosy(Constant):
        def plan(self, obs: Observation) -> Plan:
            assert obs.ego.xy.shape == (1, NOW + 1, 2)
            assert obs.others.xy.shape == (1, 1, NOW + 1, 2)
            expected = 20.0 + 5.0 * obs.step * DT
            assert obs.others.xy[0, 0, -1, 0] == pytest.approx(expected, abs=1e-3)
            assert obs.others.cls[0, 0] == AgentClass.CYCLIST
            for view in (obs.ego.xy, obs.others.xy, obs.others.velocity):
                assert view.base is None or view.base.nbytes == view.nbytes
                view[...] = 1e9
            return super().plan(obs)

    built = scene(going(0.0, speed=3.0), going(20.0, speed=5.0, cls=AgentClass.CYCLIST))
    rollout = simulate(batch_of(built), Nosy())
    np.testing.assert_allclose(rollout.xy[-1, 0, :, 0], [24.0, 60.0], atol=1e-3)


def test_numbers_that_are_none_stop_their_case_alone() -> None:
    class Half(Constant):
        def plan(self, obs: Observation) -> Plan:
            acceleration = np.zeros(2)
            acceleration[1] = np.nan if obs.step == 20 else 0.0
            return Plan(acceleration=acceleration, steering=np.zeros(2))

    rollout = simulate(
        batch_of(scene(going(0.0)), scene(going(0.0, speed=5.0), road_map=road())), Half()
    )
    assert list(rollout.errors) == [1]
    assert "an acceleration that is not finite" in rollout.errors[1]
    assert "2.0 s" in rollout.errors[1]
    assert rollout.speed[-1, 1] == 0.0
    assert rollout.speed[-1, 0] == pytest.approx(10.0, abs=1e-4)


def test_a_planner_that_raises_is_told_as_its_failure() -> None:
    class Broken(Constant):
        def plan(self, obs: Observation) -> Plan:
            raise ZeroDivisionError("oops")

    with pytest.raises(PlannerFailed, match="constant raised ZeroDivisionError: oops"):
        simulate(batch_of(scene(going(0.0))), Broken())


def test_a_planner_whose_task_is_cancelled_is_told_as_its_failure() -> None:
    """This is no Exception, and goes past whoever catches these."""

    class Cancelled(PerCasePlanner):
        def plan_one(self, case: CaseView) -> tuple[float, float]:
            raise asyncio.CancelledError("late")

    rollout = simulate(batch_of(scene(going(0.0))), Cancelled())
    assert rollout.errors == {0: "Planner Cancelled raised CancelledError: late (after 0.0 s)"}
