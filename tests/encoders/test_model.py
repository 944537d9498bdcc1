from dataclasses import replace

import pytest
import torch

from encoders.batch import batch_of, jittered, thinned
from encoders.extrapolate import hermite
from encoders.features import FeatureConfig, features_of, stack
from encoders.masking import KINDS, MaskingConfig, draw, nothing, tracks
from encoders.model import XS, ModelConfig, SceneEncoder, whitening
from geometry.frames import SE2

CONFIG = FeatureConfig(agents=8, polylines=40, signals=2)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return SceneEncoder(XS).eval()


@pytest.fixture
def batch(make_scene):
    return batch_of(
        stack([features_of(make_scene(seed=s, agents=3 + s), CONFIG) for s in range(4)], CONFIG)
    )


@torch.no_grad()
def reconstruct(net, batch, masks):
    guess = hermite(batch.state, batch.valid, masks.visible_steps(batch))
    return net.reconstruct(batch, net.encode(batch, masks), guess), guess


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_masked_cannot_be_read(net, batch, kind):
    generator = torch.Generator().manual_seed(1)
    masks = draw(batch, MaskingConfig(), generator=generator)
    masks = replace(masks, tracks=tracks(batch, kind, MaskingConfig(), generator=generator))
    answer, guess = reconstruct(net, batch, masks)
    given = masks.visible_steps(batch) | guess.hint
    noise = torch.randn_like(batch.state) * 30
    road_noise = torch.randn_like(batch.road) * 30
    road_noise[:, :, 10] = 0.0  # a masked piece keeps its middle
    spoilt = replace(
        batch,
        state=torch.where(given[..., None], batch.state, noise),
        road=torch.where(masks.road[..., None, None], batch.road + road_noise, batch.road),
        light=torch.where(masks.lights, (batch.light + 1) % 5, batch.light),
    )
    again, _ = reconstruct(net, spoilt, masks)
    assert masks.tracks.any()
    torch.testing.assert_close(again.xy[batch.valid], answer.xy[batch.valid])
    torch.testing.assert_close(again.road, answer.road)
    torch.testing.assert_close(again.light, answer.light)


def test_what_is_visible_is_read(net, batch):
    masks = nothing(batch)
    before = net.vectors(net.encode(batch, masks))
    spoilt = replace(batch, road=batch.road + torch.randn_like(batch.road))
    assert (net.vectors(net.encode(spoilt, masks)) - before).abs().max() > 1e-3


@torch.no_grad()
def test_padding_changes_nothing(net, make_scene):
    scene = make_scene(seed=1)
    alone = batch_of(features_of(scene, CONFIG))
    crowd = stack(
        [features_of(scene, CONFIG), features_of(make_scene(seed=9, agents=8), CONFIG)], CONFIG
    )
    beside = batch_of(crowd)
    assert beside.cls.shape[1] > alone.cls.shape[1]
    a = net.vectors(net.encode(alone, nothing(alone)))[0]
    b = net.vectors(net.encode(beside, nothing(beside)))[0]
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_order_of_agents_does_not_matter(net, batch):
    order = torch.tensor([0, 3, 1, 2, *range(4, batch.cls.shape[1])])
    names = ("state", "valid", "cls", "size", "ego")
    shuffled = replace(batch, **{name: getattr(batch, name)[:, order] for name in names})
    tokens, other = net.encode(batch, nothing(batch)), net.encode(shuffled, nothing(shuffled))
    torch.testing.assert_close(net.vectors(tokens), net.vectors(other), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        net.track_vectors(tokens)[:, order], net.track_vectors(other), atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
def test_the_vector_does_not_know_where_on_earth_the_scene_is(net, make_scene, move):
    scene = make_scene(seed=4)
    vectors = []
    for transform in (SE2(0.0, 0.0, 0.0), SE2(700.0, -250.0, 2.0)):
        batch = batch_of(features_of(move(scene, transform), CONFIG))
        vectors.append(net.vectors(net.encode(batch, nothing(batch)))[0])
    assert float(vectors[0] @ vectors[1]) > 0.9999


def test_vectors_have_unit_length(net, batch):
    lengths = net.vectors(net.encode(batch, nothing(batch))).norm(dim=-1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_a_scene_without_roads_and_signals_is_encoded(net, batch):
    bare = replace(
        batch, road=batch.road[:, :0], road_kind=batch.road_kind[:, :0],
        road_facts=batch.road_facts[:, :0], road_valid=batch.road_valid[:, :0],
        light=batch.light[:, :0], light_pose=batch.light_pose[:, :0],
        light_valid=batch.light_valid[:, :0],
    )  # fmt: skip
    answer, _ = reconstruct(net, bare, nothing(bare))
    assert torch.isfinite(answer.xy).all()
    assert torch.isfinite(net.vectors(net.encode(bare, nothing(bare)))).all()


def test_size_s_fits_four_megabytes_in_half_precision():
    assert sum(p.numel() for p in SceneEncoder(ModelConfig()).parameters()) * 2 < 4e6


def test_whitening_makes_directions_uncorrelated_and_damps_weak_ones():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 3, generator=generator) * torch.tensor([10.0, 1.0, 0.01]) + 5.0
    mix = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0]
    weight, bias = whitening(x @ mix, out=4)
    y = (x @ mix) @ weight.T + bias
    torch.testing.assert_close(y.mean(dim=0), torch.zeros(4), atol=1e-3, rtol=0)
    covariance = torch.cov(y.T)
    assert (covariance - covariance.diag().diag()).abs().max() < 1e-3
    spread = covariance.diag()
    assert spread[0] > spread[1] > spread[2] > 0.0
    assert spread[3] == 0.0


def test_jitter_is_rigid_and_never_mirrors(batch):
    moved = jittered(batch, yaw=0.5, shift=3.0, generator=torch.Generator().manual_seed(0))
    both = batch.valid[:, 0, :, None]
    for before, after in ((batch, moved),):
        a = (before.state[:, 1, :, :2] - before.state[:, 0, :, :2]).norm(dim=-1)
        b = (after.state[:, 1, :, :2] - after.state[:, 0, :, :2]).norm(dim=-1)
        seen = before.valid[:, 1] & both[..., 0]
        torch.testing.assert_close(a[seen], b[seen], atol=1e-3, rtol=1e-4)
    cross = []
    for one in (batch, moved):
        road = one.road[:, 0]
        u, v = road[:, -1] - road[:, 0], one.state[:, 0, 50, :2] - road[:, 0]
        cross.append(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
    torch.testing.assert_close(cross[0], cross[1], atol=0.05, rtol=1e-3)
    assert not torch.equal(batch.state, moved.state)
    assert not moved.state[~batch.valid].any()


def test_thinning_keeps_the_focus_and_prefers_whom_there_is(batch):
    few = thinned(batch, agents=3, polylines=10, generator=torch.Generator().manual_seed(0))
    assert few.cls.shape[1] == 3
    assert few.road_kind.shape[1] == 10
    assert torch.equal(few.state[:, 0], batch.state[:, 0])
    # Every window here has three agents and ten road pieces, or more.
    assert few.valid.any(dim=-1).all()
    assert few.road_valid.all()
    whole = thinned(batch, agents=99, polylines=99, generator=torch.Generator())
    assert torch.equal(whole.state, batch.state)
    assert torch.equal(whole.road, batch.road)
