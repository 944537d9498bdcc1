import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.features import (
    ACTION_SCALE,
    FUTURE,
    HISTORY,
    SIGNAL_NONE,
    STEP,
    Pieces,
    example_of,
    fit_actions,
    starts_of,
)
from geometry.kinematics import unicycle_rollout
from schemas.errors import MissingData
from schemas.records import RoadMap


def rolled(example):
    actions = example.future.actions * ACTION_SCALE
    return unicycle_rollout(example.context.start, actions[..., 0], actions[..., 1], dt=STEP)


def test_actions_roll_out_to_the_track(traffic):
    example = example_of(traffic, 10)
    future = example.future
    assert future.observed[:4].all()
    assert not future.observed[4:].any()
    error = np.linalg.norm(rolled(example)[..., :2] - future.states[..., :2], axis=-1)
    assert error[:4].max() < 0.3
    assert error[:4].mean() < 0.05


def test_the_frame_is_the_egos(traffic):
    example = example_of(traffic, 10)
    np.testing.assert_allclose(example.context.start[0], [0, 0, 0, 10], atol=1e-4)
    back = example.scene_from_local.apply(example.context.start[:4, :2].astype(float))
    np.testing.assert_allclose(back, traffic.tracks.xy[example.agents[:4], 10], atol=1e-4)


def test_history_ends_now(traffic):
    context = example_of(traffic, 10).context
    assert context.history.shape[1] == HISTORY
    assert context.seen[:4].all()
    np.testing.assert_allclose(context.history[:, -1], context.start, atol=1e-5)


def test_a_late_start_masks_what_the_log_does_not_tell(traffic):
    example = example_of(traffic, 80)
    assert example.future.observed[:4, :5].all()
    assert not example.future.observed[:, 5:].any()
    assert np.isfinite(example.future.actions).all()
    early = example_of(traffic, 3).context
    assert early.seen[0].sum() == 4
    assert (early.history[~early.seen] == 0).all()


def test_unobserved_agents_are_not_chosen(traffic):
    traffic.tracks.valid[1, 10] = False
    assert 1 not in example_of(traffic, 10).agents
    traffic.tracks.valid[0, 10] = False
    with pytest.raises(MissingData, match="not observed"):
        example_of(traffic, 10)


def test_interacting_agents_come_first_and_some_are_forced(make_scene, make_path):
    far = [make_path(-90.0 - 9.0 * k, 0.0, 2.0) for k in range(9)]
    scene = make_scene([make_path(0, 3.5, 10), *far, make_path(20, 3.5, 4.0)])
    assert example_of(scene, 10).agents[1] == 10
    assert 9 in example_of(scene, 10, must=[9]).agents


def test_a_jump_is_masked_from_where_it_happens(make_scene, make_path):
    path = make_path(0, 3.5, 10)
    path[60:, 1] += 8.0
    observed = example_of(make_scene([path]), 10).future.observed[0]
    assert observed[:5].all()
    assert not observed[14:].any()


def test_lines_lie_in_the_frame_and_signals_on_their_lanes(traffic):
    context = example_of(traffic, 10).context
    kinds = context.line_kind[context.line_there]
    assert {0, 4} <= set(kinds.tolist())
    own = context.line[context.line_there][kinds == 0]
    assert set(np.round(own[:, 0, 1], 2).tolist()) == {-3.5, 0.0, 3.5}
    assert (context.line_signal == SIGNAL_NONE).all()


def test_a_scene_without_map_has_no_lines(make_scene, make_path):
    scene = make_scene([make_path(0, 0, 5)], road_map=RoadMap.none())
    context = example_of(scene, 10).context
    assert not context.line_there.any()
    assert len(Pieces.of(scene.map).kind) == 0


def test_starts_leave_a_future(traffic):
    starts = starts_of(traffic, every=20)
    assert starts[0] == HISTORY - 1
    assert max(starts) <= traffic.steps - 21


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    speed=st.floats(0.0, 25.0),
)
def test_fitting_undoes_the_roll_out(seed, speed):
    """Forward with smooth actions, inverse, forward: the same positions."""
    random = np.random.default_rng(seed)
    knots = random.normal(size=(3, 4, 2)) * [1.0, 0.1]
    actions = np.stack(
        [
            [np.interp(np.arange(FUTURE), np.linspace(0, FUTURE - 1, 4), a[:, k]) for k in (0, 1)]
            for a in knots
        ]
    ).transpose(0, 2, 1)
    start = np.tile([0.0, 0.0, 0.3, speed], (3, 1))
    states = unicycle_rollout(start, actions[..., 0], actions[..., 1], dt=STEP)
    again = fit_actions(states, np.ones((3, FUTURE), bool), start)
    back = unicycle_rollout(start, again[..., 0], again[..., 1], dt=STEP)
    assert np.linalg.norm(back[..., :2] - states[..., :2], axis=-1).max() < 0.3
