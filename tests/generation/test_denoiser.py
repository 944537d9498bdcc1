import numpy as np
import pytest
import torch

from generation.denoiser import Denoiser, DenoiserConfig, Inputs
from generation.features import AGENTS, FUTURE, example_of
from schemas.scene import Scene

SMALL = DenoiserConfig(dim=16, heads=2, layers=2, near=4, pair=8)


@pytest.fixture
def net() -> Denoiser:
    torch.manual_seed(0)
    net = Denoiser(SMALL).eval()
    for p in net.parameters():  # zeroed heads would hide everything
        torch.nn.init.normal_(p, std=0.2)
    return net


def answer(net, context, *, x=None, known=None, t=0.5):
    inputs = Inputs.of([context])
    noise = torch.randn(1, AGENTS, FUTURE, 2, generator=torch.Generator().manual_seed(1))
    x = noise if x is None else x
    known = torch.zeros(1, AGENTS, FUTURE, dtype=torch.bool) if known is None else known
    with torch.no_grad():
        return net(x, torch.full((1,), t), net.encode(inputs), known)[-1]


def test_it_answers_for_every_action(net, traffic):
    made = answer(net, example_of(traffic, 10).context)
    assert made.shape == (1, AGENTS, FUTURE, 2)
    assert torch.isfinite(made).all()


def test_known_tokens_come_back_as_they_were(net, traffic):
    known = torch.zeros(1, AGENTS, FUTURE, dtype=torch.bool)
    known[0, 0], known[0, 1, :7] = True, True
    x = torch.randn(1, AGENTS, FUTURE, 2)
    made = answer(net, example_of(traffic, 10).context, x=x, known=known)
    assert torch.equal(made[known], x[known])


def moved(scene: Scene, *, x: float, y: float, yaw: float) -> Scene:
    """The same scene somewhere else, turned about the origin."""
    from dataclasses import replace

    from geometry.frames import SE2

    there = SE2(x, y, yaw)
    tracks = replace(
        scene.tracks,
        xy=there.apply(scene.tracks.xy.astype(float)),
        yaw=there.turn(scene.tracks.yaw.astype(float)),
        velocity=there.rotate(scene.tracks.velocity.astype(float)),
    )

    def carried(points):
        out = np.asarray(points, dtype=float).copy()
        out[:, :2] = there.apply(out[:, :2])
        return out

    features = [replace(f, points=carried(f.points)) for f in scene.map.features]
    return replace(scene, tracks=tracks, map=replace(scene.map, features=features))


def test_where_the_scene_lies_and_points_makes_no_difference(net, traffic):
    here = answer(net, example_of(traffic, 10).context)
    there = answer(net, example_of(moved(traffic, x=300.0, y=-80.0, yaw=2.1), 10).context)
    torch.testing.assert_close(here, there, atol=2e-3, rtol=1e-3)


def test_absent_agents_are_not_seen(net, traffic):
    context = example_of(traffic, 10).context
    base = answer(net, context)
    context.history[6], context.size[6], context.start[6] = 3.0, 9.0, 5.0
    torch.testing.assert_close(answer(net, context)[:, :4], base[:, :4])


def test_present_agents_and_lanes_are_seen(net, traffic):
    context = example_of(traffic, 10).context
    base = answer(net, context)
    context.start[1, 3] += 4.0
    assert (answer(net, context)[:, 0] - base[:, 0]).abs().max() > 1e-5
    context = example_of(traffic, 10).context
    context.line_there[:] = False
    blind = answer(net, context)
    assert torch.isfinite(blind).all()
    assert (blind - base).abs().max() > 1e-5


def test_without_noise_the_input_is_the_answer(net, traffic):
    x = 0.2 * torch.randn(1, AGENTS, FUTURE, 2)
    made = answer(net, example_of(traffic, 10).context, x=x, t=0.001)
    torch.testing.assert_close(made, x, atol=0.02, rtol=0)


def test_a_batch_answers_as_its_members_do(net, traffic):
    contexts = [example_of(traffic, k).context for k in (10, 30)]
    inputs = Inputs.of(contexts)
    x = torch.randn(2, AGENTS, FUTURE, 2)
    known = torch.zeros(2, AGENTS, FUTURE, dtype=torch.bool)
    with torch.no_grad():
        both = net(x, torch.tensor([0.4, 0.4]), net.encode(inputs), known)[-1]
    one = answer(net, contexts[1], x=x[1:], t=0.4)
    torch.testing.assert_close(both[1:], one, atol=1e-4, rtol=1e-3)
