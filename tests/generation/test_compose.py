import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.compose import CURVATURE, LATERAL, compose, integrate
from generation.features import ACTION_SCALE, AGENTS, FUTURE, HORIZON, STEP, example_of
from generation.gates import Kinematics
from geometry.kinematics import unicycle_rollout
from schemas.labels import AgentClass

CARS = np.array([int(AgentClass.VEHICLE)] * 3)


def test_ten_hertz_ends_where_the_sampler_saw_it_end():
    """The fine integration meets the coarse one at every knot, also where actions jump."""
    start = np.array([[0.0, 0.0, 0.2, 10.0]] * 3)
    actions = np.zeros((3, FUTURE, 2))
    random = np.random.default_rng(0)
    actions[:, :, 0] = np.array([0.0, 0.3, -0.2])[:, None] + random.normal(size=(3, FUTURE)) * 0.1
    actions[:, :, 1] = random.normal(size=(3, FUTURE)) * 0.5
    fine = integrate(actions, start, CARS)
    coarse = unicycle_rollout(
        start, actions[..., 0] * ACTION_SCALE[0], actions[..., 1] * ACTION_SCALE[1], dt=STEP
    )
    assert fine.shape == (3, HORIZON, 4)
    np.testing.assert_allclose(fine[:, 3::4, 3], coarse[..., 3], atol=1e-6)
    assert np.abs(fine[:, 3::4, :2] - coarse[..., :2]).max() < 0.1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), speed=st.floats(0.0, 30.0), scale=st.floats(0.0, 20.0))
def test_whatever_is_asked_a_car_can_drive_it(seed, speed, scale):
    random = np.random.default_rng(seed)
    start = np.tile([0.0, 0.0, 0.0, speed], (3, 1))
    states = integrate(random.normal(size=(3, FUTURE, 2)) * scale, start, CARS)
    assert np.isfinite(states).all()
    speeds = np.concatenate([np.full((3, 1), speed), states[..., 3]], axis=1)
    assert (speeds >= 0).all()
    acceleration = np.diff(speeds, axis=1) / 0.1
    assert np.abs(acceleration).max() <= 8.0 + 1e-6
    turn = np.abs(np.diff(np.unwrap(states[..., 2], axis=1), axis=1)) / 0.1
    mean = (states[:, 1:, 3] + states[:, :-1, 3]) / 2.0
    assert (turn <= CURVATURE * mean + 1e-6).all()
    assert (turn * mean <= LATERAL + 1e-6).all()


def test_nan_actions_become_coasting():
    states = integrate(np.full((1, FUTURE, 2), np.nan), np.array([[0.0, 0.0, 0.0, 5.0]]), CARS[:1])
    np.testing.assert_allclose(states[0, -1], [40.0, 0.0, 0.0, 5.0])


def test_a_composed_scene_keeps_the_past_the_ego_and_who_is_not_free(traffic):
    example = example_of(traffic, 10)
    free = np.zeros(AGENTS, dtype=bool)
    slot = int(np.flatnonzero(example.agents == 1)[0])
    free[slot] = True
    actions = example.future.actions.copy()
    actions[slot, :, 0] = -1.0
    candidate = compose(traffic, example, 10, actions, free, actor=1)
    scene = candidate.scene
    assert candidate.altered == (1,)
    assert candidate.actor == 1
    assert scene.steps == 91
    assert scene.anchor == 10
    assert scene.source == "generated"
    np.testing.assert_array_equal(scene.tracks.xy[:, :11], traffic.tracks.xy[:, :11])
    for row in (0, 2, 3):
        np.testing.assert_array_equal(scene.tracks.xy[row], traffic.tracks.xy[row, :91])
    assert scene.tracks.speed[1, 30] < 4.0
    assert Kinematics(altered=(1,)).check([scene], 10)[0].passed


def test_the_future_joins_the_past_without_a_jump(traffic):
    example = example_of(traffic, 10)
    free = example.agents > 0
    scene = compose(traffic, example, 10, example.future.actions, free, actor=None).scene
    step = np.linalg.norm(np.diff(scene.tracks.xy[1:4, 8:14], axis=1), axis=-1)
    assert np.abs(np.diff(step, axis=1)).max() < 0.08
