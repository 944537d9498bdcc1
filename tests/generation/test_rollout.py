import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.features import ACTION_SCALE, FUTURE, STEP
from generation.rollout import rollout
from geometry.angles import wrap
from geometry.kinematics import unicycle_rollout


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), speed=st.floats(0.0, 30.0))
def test_it_is_the_projects_own_unicycle(seed, speed):
    random = np.random.default_rng(seed)
    actions = random.normal(size=(3, FUTURE, 2))
    start = random.normal(size=(3, 4)) * 5.0
    start[:, 3] = speed
    expected = unicycle_rollout(
        start, actions[..., 0] * ACTION_SCALE[0], actions[..., 1] * ACTION_SCALE[1], dt=STEP
    )
    states = rollout(torch.as_tensor(start), torch.as_tensor(actions)).numpy()
    states[..., 2] = wrap(states[..., 2])
    np.testing.assert_allclose(states, expected, atol=1e-5)


def test_gradients_reach_every_action_and_stay_finite_at_rest():
    actions = torch.zeros(2, FUTURE, 2, requires_grad=True)
    start = torch.tensor([[0.0, 0.0, 0.0, 10.0], [0.0, 0.0, 0.0, 0.0]])
    rollout(start, actions)[..., :3].square().sum().backward()
    assert torch.isfinite(actions.grad).all()
    assert (actions.grad[0, :-1, 0].abs() > 0).all()
