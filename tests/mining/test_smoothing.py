"""Slopes of noisy tracks: exact without noise, and honest about their error with it."""

from __future__ import annotations

import numpy as np
import pytest

from mining.smoothing import fit_lines, half_windows, median3, noise

STEPS = 200
T = np.arange(STEPS) * 0.1
VALID = np.ones((1, STEPS), dtype=bool)


@pytest.mark.parametrize("half", [2, 4, 7, 10])
def test_a_straight_line_comes_back_exactly(half: int) -> None:
    fit = fit_lines((3.0 - 0.7 * T)[None], VALID, np.array([half]))
    assert fit.slope == pytest.approx(np.full((1, STEPS), -0.7))
    assert fit.level == pytest.approx((3.0 - 0.7 * T)[None])
    assert fit.error == pytest.approx(np.zeros((1, STEPS)), abs=1e-5)


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.5])
def test_the_noise_is_measured_whatever_the_motion(sigma: float) -> None:
    rng = np.random.default_rng(3)
    moving = 10 + 3 * np.sin(T / 3) + sigma * rng.standard_normal((20, STEPS))
    measured = noise(moving, np.ones_like(moving, dtype=bool))
    assert np.median(measured) == pytest.approx(sigma, rel=0.2)


def test_the_window_grows_with_the_noise() -> None:
    assert half_windows(np.array([0.0, 0.1, 0.3, 5.0]), slope_error=0.25).tolist() == [2, 4, 7, 10]


def test_the_error_that_is_told_is_the_error_that_is_made() -> None:
    rng = np.random.default_rng(4)
    value = T + 0.2 * rng.standard_normal((400, STEPS))
    fit = fit_lines(value, np.ones_like(value, dtype=bool), np.full(400, 5))
    made = (fit.slope[:, 50:150] - 1.0).std()
    told = np.sqrt((fit.error[:, 50:150] ** 2).mean())
    assert told == pytest.approx(made, rel=0.05)


def test_one_bad_frame_is_outvoted() -> None:
    value = T.copy()[None]
    value[0, 50] = 40.0
    assert median3(value, VALID)[0, 50] == pytest.approx(5.1)
    assert median3(T[None], VALID) == pytest.approx(T[None])


def test_jumps_leave_the_slope_unknown() -> None:
    value = np.where(T < 5.0, 12.0, 4.0)[None]
    fit = fit_lines(value, VALID, np.array([2]))
    assert not fit.certain(0.75, most=12.0)[0, 48:52].any()
    assert fit.certain(0.75, most=12.0)[0, 60:].all()


def test_too_few_points_tell_no_slope() -> None:
    valid = np.zeros((1, STEPS), dtype=bool)
    valid[0, 20:23] = True
    fit = fit_lines(T[None], valid, np.array([2]))
    assert not np.isfinite(fit.error).any()
    assert not fit.slope.any()
