"""Following leaders, stopping for signals, keeping to a line: against what theory says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geometry.kinematics import bicycle_step
from schemas.scene import DT
from simulation.batch import NOW
from simulation.engine import simulate
from simulation.following import bend_limited, steering_towards
from simulation.idm import EGO, TRAFFIC, equilibrium_gap, free, interaction
from simulation.paths import Paths
from simulation.planners import planner
from tests.simulation.driving import LENGTH, batch_of, going, red_at, road, scene


@given(st.floats(1.0, 14.0))
def test_at_the_equilibrium_gap_nothing_changes(speed: float) -> None:
    gap = equilibrium_gap(speed, 15.0, EGO)
    v = np.array([speed])
    net = free(v, np.array([15.0]), EGO) - interaction(v, np.array([gap]), v, EGO)
    assert net[0] == pytest.approx(0.0, abs=1e-9)


def test_a_platoon_settles_at_the_equilibrium_gap() -> None:
    """An ego behind a leader at 8 m/s, at twice the headway it wants, ends up where theory says."""
    steps = 600
    built = scene(
        going(0.0, speed=8.0, steps=steps),
        going(40.0, speed=8.0, steps=steps),
        road_map=None,
    )
    from dataclasses import replace

    from simulation.batch import ready, stack
    from tests.simulation.driving import case_of

    case = replace(case_of(built), horizon_steps=steps - 11)
    rollout = simulate(stack([ready(case, built)]), planner("idm"))
    gap = rollout.xy[-1, 0, 1, 0] - rollout.xy[-1, 0, 0, 0] - LENGTH
    assert gap == pytest.approx(equilibrium_gap(8.0, 13.4, EGO), rel=0.02)
    assert rollout.speed[-1, 0] == pytest.approx(8.0, abs=0.05)


def test_constant_velocity_hits_a_standing_car_and_idm_does_not() -> None:
    batch = batch_of(scene(going(0.0), going(50.0, speed=0.0), road_map=road()))
    assert simulate(batch, planner("constant_velocity")).contact[0, 1] > NOW
    rollout = simulate(batch, planner("idm"))
    assert rollout.contact[0, 1] == -1
    gap = 50.0 - rollout.xy[-1, 0, 0, 0] - LENGTH
    assert 0.5 < gap < 5.0


def test_a_car_in_the_next_lane_is_no_leader() -> None:
    batch = batch_of(scene(going(0.0), going(30.0, 3.5, speed=0.0), road_map=road(15.0)))
    assert simulate(batch, planner("idm")).speed[-1, 0] > 11.0


def test_a_car_across_the_lane_is_one_even_though_its_centre_is_beside() -> None:
    across = going(40.0, 2.6, speed=0.0, yaw=np.pi / 2)  # its nose reaches to y = 0.3
    rollout = simulate(batch_of(scene(going(0.0), across, road_map=road())), planner("idm"))
    assert rollout.contact[0, 1] == -1
    assert rollout.xy[-1, 0, 0, 0] < 40.0 - 0.95 - LENGTH / 2


@pytest.mark.parametrize("stop", [45.0, 75.0])
def test_idm_stops_at_red_and_goes_at_green(stop: float) -> None:
    stays = batch_of(scene(going(0.0), road_map=road(), signals=red_at(stop)))
    assert len(stays.route_stops.s) == 1
    rollout = simulate(stays, planner("idm"))
    front = rollout.xy[-1, 0, 0, 0] + LENGTH / 2
    assert stop - 25.0 < front < stop
    goes = batch_of(scene(going(0.0), road_map=road(), signals=red_at(stop, green_from=40)))
    assert simulate(goes, planner("idm")).xy[-1, 0, 0, 0] > rollout.xy[-1, 0, 0, 0] + 5.0


@given(offset=st.floats(-1.5, 1.5), turned=st.floats(-0.3, 0.3), speed=st.floats(2.0, 20.0))
def test_steering_brings_the_axle_onto_the_line_without_overshoot(
    offset: float, turned: float, speed: float
) -> None:
    state = np.array([[0.0, offset, turned, speed]])
    wheelbase, nothing = np.array([2.8]), np.zeros(1)
    seen = []
    for _ in range(150):
        steering = steering_towards(state[:, 1], state[:, 2], nothing, state[:, 3], wheelbase)
        state = bicycle_step(state, nothing, steering, wheelbase=wheelbase, dt=DT)
        seen.append(state[0, 1])
    assert abs(seen[-1]) < 0.05
    settle = max(3.0, 0.7 * speed)
    assert max(map(abs, seen)) <= abs(offset) + settle * abs(turned) + 0.1


def test_a_bend_is_entered_at_the_speed_it_allows() -> None:
    angle = np.linspace(0.0, np.pi / 2, 50)
    bend = np.stack([100.0 + 10.0 * np.sin(angle), 10.0 * (1 - np.cos(angle))], axis=-1)
    paths = Paths.of([np.concatenate([[[0.0, 0.0]], bend, [[110.0, 100.0]]])])
    speed = bend_limited(paths, np.full(len(paths.xy), 20.0))
    assert speed[108] == pytest.approx(np.sqrt(2.5 * 10.0), rel=0.05)
    assert speed[0] == pytest.approx(np.sqrt(speed[98] ** 2 + 2 * 1.5 * 98), rel=0.05)
    slowing = np.diff(speed[:100] ** 2)
    assert (slowing >= -2 * 1.5 - 1e-6).all()
    assert speed[-1] == pytest.approx(20.0)


def test_idm_traffic_queues_behind_an_ego_that_stops() -> None:
    """The log would drive through the ego; an IDM agent does not, and is back to its own log after."""
    stopped = going(0.0, speed=0.2)
    behind = going(-30.0, speed=10.0)
    replayed = simulate(batch_of(scene(stopped, behind)), planner("constant_velocity"))
    reacting = simulate(
        batch_of(scene(stopped, behind), agents="idm"), planner("constant_velocity")
    )
    assert replayed.contact[0, 1] > 0
    assert reacting.contact[0, 1] == -1
    gap = reacting.xy[-1, 0, 0, 0] - reacting.xy[-1, 0, 1, 0] - LENGTH
    assert TRAFFIC.gap * 0.3 < gap < 6.0


def test_idm_traffic_stops_at_red() -> None:
    built = scene(
        going(-60.0, speed=1.0), going(0.0, speed=10.0), road_map=road(), signals=red_at(45.0)
    )
    rollout = simulate(batch_of(built, agents="idm"), planner("constant_velocity"))
    assert rollout.xy[-1, 0, 1, 0] + LENGTH / 2 < 45.0


def test_idm_traffic_that_stands_in_the_log_stands() -> None:
    built = scene(going(0.0), going(30.0, 8.0, speed=0.0, yaw=1.0))
    rollout = simulate(batch_of(built, agents="idm"), planner("constant_velocity"))
    np.testing.assert_allclose(rollout.xy[NOW:, 0, 1], [[30.0, 8.0]] * 81, atol=1e-5)
    np.testing.assert_allclose(rollout.yaw[NOW:, 0, 1], 1.0, atol=1e-6)


def test_idm_traffic_enters_only_where_there_is_room() -> None:
    # Logged as appearing at x = 5 after one second, by when the ego stands there.
    late_into_ego = going(4.0, speed=1.0, since=20)
    late_elsewhere = going(60.0, 7.0, speed=5.0, since=20)
    built = scene(going(0.0, speed=4.0), late_into_ego, late_elsewhere)
    rollout = simulate(batch_of(built, agents="idm"), planner("constant_velocity"))
    assert not rollout.valid[NOW:, 0, 1].any()
    assert rollout.contact[0, 1] == -1
    assert not rollout.valid[19, 0, 2]
    assert rollout.valid[20:, 0, 2].all()


def test_idm_traffic_leaves_where_the_log_lost_it() -> None:
    built = scene(going(0.0, 20.0, speed=5.0), going(0.0, speed=10.0, until=50))
    rollout = simulate(batch_of(built, agents="idm"), planner("constant_velocity"))
    assert rollout.valid[40, 0, 1]
    assert not rollout.valid[70:, 0, 1].any()
