import numpy as np
import torch

from encoders.batch import XY
from encoders.extrapolate import constant_velocity, hermite, linear
from encoders.features import STEPS

T = torch.arange(STEPS) * 0.1


def state_of(x, vx):
    """One agent that moves along x."""
    zero = torch.zeros_like(x)
    one = torch.ones_like(x)
    return torch.stack([x, zero, one, zero, vx, zero], dim=-1)[None, None]


def visible_but(begin, end):
    visible = torch.ones(1, 1, STEPS, dtype=torch.bool)
    visible[..., begin:end] = False
    return visible


VALID = torch.ones(1, 1, STEPS, dtype=torch.bool)


def test_all_three_are_exact_for_constant_velocity():
    state = state_of(3.0 * T, torch.full_like(T, 3.0))
    visible = visible_but(30, 60)
    for xy in (
        constant_velocity(state, VALID, visible),
        linear(state, VALID, visible),
        hermite(state, VALID, visible).xy,
    ):
        np.testing.assert_allclose(xy, state[..., XY], atol=1e-5)


def test_hermite_is_exact_for_cubics_and_constant_velocity_is_not():
    state = state_of(T**3 / 50 - T, 3 * T**2 / 50 - 1)
    visible = visible_but(20, 70)
    np.testing.assert_allclose(hermite(state, VALID, visible).xy, state[..., XY], atol=1e-4)
    gone = (constant_velocity(state, VALID, visible) - state[..., XY]).abs().max()
    assert gone > 1.0


def test_beyond_the_visible_steps():
    state = state_of(2.0 * T + T**2, 2.0 + 2.0 * T)
    last = visible_but(50, STEPS)
    p = 4.9
    np.testing.assert_allclose(
        hermite(state, VALID, last).xy[0, 0, 99, 0],
        (2 * p + p**2) + 5.0 * (2 + 2 * p),
        rtol=1e-5,
    )
    np.testing.assert_allclose(linear(state, VALID, last)[0, 0, 99, 0], 2 * p + p**2, rtol=1e-5)
    first = visible_but(0, 50)
    np.testing.assert_allclose(
        constant_velocity(state, VALID, first)[0, 0, 0, 0], 35.0 - 5.0 * 12.0, rtol=1e-5
    )


def test_a_wholly_hidden_agent_gives_away_one_pose_and_no_speed():
    state = state_of(2.0 * T, torch.full_like(T, 2.0))
    valid = VALID.clone()
    valid[..., :7] = False
    guess = hermite(state, valid, torch.zeros_like(valid))
    assert guess.hint.nonzero()[:, 2].tolist() == [7]
    np.testing.assert_allclose(guess.xy[0, 0, :, 0], 1.4, rtol=1e-6)
    assert not guess.speed.any()
    assert not guess.has_before.any()


def test_hidden_states_are_not_read():
    state = state_of(2.0 * T, torch.full_like(T, 2.0))
    visible = visible_but(40, 60)
    spoilt = torch.where(visible[..., None], state, torch.full_like(state, 1e6))
    for method in (constant_velocity, linear):
        assert torch.equal(method(state, VALID, visible), method(spoilt, VALID, visible))
    assert torch.equal(hermite(state, VALID, visible).xy, hermite(spoilt, VALID, visible).xy)
