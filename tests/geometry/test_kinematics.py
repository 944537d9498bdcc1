"""Motion models against circles, and against each other."""

import numpy as np
import pytest

from geometry import kinematics


def test_the_bicycle_drives_the_circle_of_its_steering() -> None:
    wheelbase, steering, speed, dt = np.array(2.8), np.array(0.2), 8.0, 0.05
    radius = float(wheelbase / np.tan(steering))
    state = np.array([0.0, 0.0, 0.0, speed])
    for _ in range(200):
        state = kinematics.bicycle_step(state, np.array(0.0), steering, wheelbase=wheelbase, dt=dt)
        assert np.hypot(state[0], state[1] - radius) == pytest.approx(radius, rel=1e-3)
    assert state[3] == speed


def test_braking_stops_at_zero() -> None:
    state = np.array([0.0, 0.0, 0.0, 1.0])
    state = kinematics.bicycle_step(
        state, np.array(-20.0), np.array(0.0), wheelbase=np.array(2.8), dt=0.1
    )
    assert state[3] == 0.0


def test_unicycle_sums_equal_a_loop() -> None:
    rng = np.random.default_rng(0)
    acceleration, yaw_rate = rng.normal(0, 1, (3, 20)), rng.normal(0, 0.2, (3, 20))
    start = np.array([[0.0, 0, 0.3, 8], [5, 5, -2, 3], [0, 0, 3, 0.2]])
    found = kinematics.unicycle_rollout(start, acceleration, yaw_rate, dt=0.4)
    for row in range(3):
        x, y, yaw, total = *start[row, :3], start[row, 3]
        previous = total
        for step in range(20):
            total += acceleration[row, step] * 0.4
            speed = max(total, 0.0)
            middle = yaw + yaw_rate[row, step] * 0.2
            x += (previous + speed) / 2 * np.cos(middle) * 0.4
            y += (previous + speed) / 2 * np.sin(middle) * 0.4
            yaw += yaw_rate[row, step] * 0.4
            previous = speed
            np.testing.assert_allclose(found[row, step, :2], [x, y], atol=1e-9)
            assert found[row, step, 3] == pytest.approx(speed)


def test_derivative_of_a_parabola_is_a_line_inside_and_unknown_without_neighbours() -> None:
    t = np.arange(20) * 0.1
    valid = np.ones(20, bool)
    valid[10] = False
    rate, known = kinematics.derivative(t**2, valid, dt=0.1)
    np.testing.assert_allclose(rate[1:9], 2 * t[1:9], atol=1e-9)
    assert not known[10]
    alone = np.zeros(20, bool)
    alone[4] = True
    assert not kinematics.derivative(t, alone, dt=0.1)[1].any()


@pytest.mark.parametrize("steps", [1, 2, 4, 9])
def test_smoothing_keeps_constants_and_length(steps: int) -> None:
    value = np.full((2, steps), 3.5)
    valid = np.ones((2, steps), bool)
    valid[1, 0] = False
    smoothed = kinematics.smooth(value, valid, width=5)
    assert smoothed.shape == value.shape
    np.testing.assert_allclose(smoothed[valid], 3.5)


def test_unwrapping_holds_over_gaps() -> None:
    yaw = np.array([3.0, 3.1, 99.0, -3.1, -3.0])
    valid = np.array([True, True, False, True, True])
    found = kinematics.unwrap_valid(yaw, valid)
    assert np.abs(np.diff(found)).max() < 0.2
