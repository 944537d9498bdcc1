"""The Kalman forecast: exact where motion is straight, wrong by what turns, silent where unseen."""

from __future__ import annotations

import numpy as np
import pytest

from mining.kalman import MOST_STEPS, forecast_error, weights
from schemas.scene import DT

AFTER = np.array([20, 40, 60])


def straight(steps: int = 101) -> np.ndarray:
    t = np.arange(steps) * DT
    return np.stack([3.0 + 7.0 * t, -2.0 - 4.0 * t], axis=-1)[None]


@pytest.mark.parametrize("steps", [3, 10, 50])
def test_the_weights_reproduce_straight_motion(steps: int) -> None:
    place, velocity = weights(steps)
    t = (np.arange(steps) - steps + 1) * DT
    assert place.sum() == pytest.approx(1.0)
    assert velocity.sum() == pytest.approx(0.0, abs=1e-6)
    assert place @ t == pytest.approx(0.0, abs=1e-2)
    assert velocity @ t == pytest.approx(1.0, abs=1e-2)
    # The latest positions say most.
    assert abs(place[-1]) == np.abs(place).max()


def test_the_weights_are_those_of_a_filter_run_step_by_step() -> None:
    rng = np.random.default_rng(3)
    seen = np.cumsum(rng.standard_normal(12))
    f = np.array([[1.0, DT], [0.0, 1.0]])
    q = np.array([[DT**4 / 4, DT**3 / 2], [DT**3 / 2, DT**2]])
    x, p = np.array([seen[0], 0.0]), np.diag([0.01, 1e4])
    for z in seen[1:]:
        x, p = f @ x, f @ p @ f.T + q
        k = p[:, 0] / (p[0, 0] + 0.01)
        x, p = x + k * (z - x[0]), p - np.outer(k, p[0])
    np.testing.assert_allclose(weights(12) @ seen, x)


def test_straight_motion_is_easy_and_a_stop_is_as_hard_as_the_way_it_saves() -> None:
    xy = straight()
    seen = np.ones((1, 101), dtype=bool)
    error, known = forecast_error(xy, seen, now=30, after=AFTER)
    assert known.all()
    np.testing.assert_allclose(error, 0.0, atol=0.05)
    stopped = xy.copy()
    stopped[:, 31:] = stopped[:, 30:31]
    error, _ = forecast_error(stopped, seen, now=30, after=AFTER)
    np.testing.assert_allclose(error[0], np.hypot(7.0, 4.0) * AFTER * DT, rtol=1e-2)


def test_it_is_known_only_where_past_and_future_are_seen() -> None:
    xy = np.repeat(straight(), 4, axis=0)
    seen = np.ones((4, 101), dtype=bool)
    seen[1, :29] = False  # two steps of past
    seen[2, 70] = False
    seen[3, 20:25] = False  # five steps of past since the gap
    error, known = forecast_error(xy, seen, now=30, after=AFTER)
    assert known.tolist() == [[True] * 3, [False] * 3, [True, False, True], [True] * 3]
    assert (error[~known] == 0.0).all()
    assert error[3].max() < 0.2
    _, known = forecast_error(xy, seen, now=60, after=AFTER)
    assert known[0].tolist() == [True, True, False]
    _, known = forecast_error(xy, seen, now=100, after=AFTER)
    assert not known.any()


def test_a_long_past_counts_no_more_than_its_end() -> None:
    xy = straight(201)
    xy[0, :100] += 50.0
    seen = np.ones((1, 201), dtype=bool)
    error, _ = forecast_error(xy, seen, now=100 + MOST_STEPS, after=np.array([20]))
    assert error[0, 0] < 0.05
