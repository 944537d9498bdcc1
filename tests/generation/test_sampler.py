"""Noise levels and the sampler, against data whose answers are known in closed form."""

import math
from itertools import pairwise

import pytest
import torch

from generation.noise import FIRST, LAST, add_noise, alpha_sigma, log_snr, times
from generation.sampler import sample, seeded_noise


def test_the_schedule_preserves_variance():
    alpha, sigma = alpha_sigma(torch.linspace(0.0, 1.0, 11))
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(11))
    assert float(alpha[0]) == 1.0
    assert float(sigma[0]) == 0.0


def test_noise_is_added_in_these_shares():
    x0, eps = torch.full((2, 3), 2.0), torch.full((2, 3), -1.0)
    t = torch.tensor([0.0, 1.0])
    torch.testing.assert_close(add_noise(x0, eps, t), torch.tensor([[2.0] * 3, [-1.0] * 3]))


def test_times_descend_evenly_in_log_snr():
    ts = times(10)
    assert len(ts) == 11
    assert ts[0] == pytest.approx(LAST)
    assert ts[-2] == pytest.approx(FIRST)
    assert ts[-1] == 0.0
    steps = [log_snr(b) - log_snr(a) for a, b in pairwise(ts[:-1])]
    assert max(steps) - min(steps) < 1e-9
    assert times(4, begin=0.3)[0] == pytest.approx(0.3)


def gaussian(mean, spread):
    """The exact denoiser of N(mean, spread²)."""

    def denoise(x, t):
        alpha, sigma = (float(c) for c in alpha_sigma(torch.tensor(t, dtype=torch.float64)))
        return mean + alpha * spread**2 * (x - alpha * mean) / (alpha**2 * spread**2 + sigma**2)

    return denoise


def exact(x, mean, spread, t):
    """Where the probability flow takes x: it keeps its quantile."""
    alpha, sigma = (float(c) for c in alpha_sigma(torch.tensor(t, dtype=torch.float64)))
    return mean + spread * (x - alpha * mean) / math.sqrt(alpha**2 * spread**2 + sigma**2)


def test_the_flow_of_gaussian_data_is_followed():
    x = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)
    ts = times(20)
    made = sample(gaussian(0.7, 0.5), x, ts)
    torch.testing.assert_close(made, exact(x, 0.7, 0.5, ts[0]), atol=1e-2, rtol=0)


def test_the_sampler_is_of_second_order():
    """Twice the steps, about a quarter of the error (stopped where the last step begins)."""
    x = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)
    errors = []
    for steps in (20, 40, 80):
        ts = times(steps)[:-1]
        made = sample(gaussian(0.7, 0.5), x, ts)
        alpha, sigma = (float(c) for c in alpha_sigma(torch.tensor(ts[-1], dtype=torch.float64)))
        quantile = (exact(x, 0.7, 0.5, ts[0]) - 0.7) / 0.5
        truth = alpha * 0.7 + quantile * math.sqrt(alpha**2 * 0.25 + sigma**2)
        errors.append(float((made - truth).abs().max()))
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.35)
    assert errors[1] / errors[2] == pytest.approx(4.0, rel=0.35)


def test_noise_of_a_seed_does_not_depend_on_the_batch():
    both = seeded_noise((3, 2), [5, 9])
    torch.testing.assert_close(both[1], seeded_noise((3, 2), [9])[0])
    assert not torch.equal(both[0], both[1])
