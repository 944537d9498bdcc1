"""Drivers: do their parameters follow what they are said to, and are drift and foot smooth and small?"""

import numpy as np
import pytest

from simulation.drivers import (
    DRIFT_PERIOD_S,
    DRIFT_WAY_M,
    Spread,
    draw_habit,
    drift,
    drift_rate,
    foot,
)


def habits(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.array([draw_habit(rng) for _ in range(count)])


def test_a_spread_has_its_median_and_ends() -> None:
    rng = np.random.default_rng(1)
    drawn = np.array([Spread(1.05, 0.35, 0.5, 2.5).draw(rng) for _ in range(4000)])
    assert np.median(drawn) == pytest.approx(1.05, abs=0.03)
    assert drawn.min() >= 0.5
    assert drawn.max() <= 2.5


def test_drift_stays_within_its_room_and_its_slope_is_its_derivative() -> None:
    habit = habits(200)
    rate = np.full(200, 0.09)
    room, step = np.full(200, 0.6), 1e-4
    narrowing = np.full(200, -0.01)
    for progress in (0.0, 2.0, 40.0):
        here = np.full(200, progress)
        d, slope = drift(habit, here, rate, room, narrowing)
        on, _ = drift(habit, here + rate * step, rate, room + narrowing * step, narrowing)
        assert np.abs(d).max() < 0.6
        np.testing.assert_allclose((on - d) / step, slope, atol=1e-4)


def test_a_wave_of_the_drift_takes_the_longer_of_way_and_time() -> None:
    rate = drift_rate(np.array([0.0, 5.0, 30.0]))
    assert 2 * np.pi / rate == pytest.approx([DRIFT_WAY_M, DRIFT_WAY_M, 30.0 * DRIFT_PERIOD_S])


def test_the_foot_means_nothing_over_time() -> None:
    habit = habits(50)
    moments = np.array([foot(habit, t) for t in np.arange(0.0, 2000.0, 0.5)])
    assert np.abs(moments.mean(axis=0)).max() < 0.02
    assert np.abs(moments).max() < 3.0
