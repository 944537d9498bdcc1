import dataclasses

import numpy as np
import pytest
import torch

from generation.checkpoint import load_generator, save_generator
from generation.denoiser import Denoiser, DenoiserConfig
from generation.noise import add_noise
from generation.shipped import SHIPPED
from generation.train import (
    TrainConfig,
    as_arrays,
    examples_of,
    fit,
    inputs_of,
    load_examples,
    save_examples,
    train_generator,
)
from schemas.errors import BadInput, BadSetting, MissingData, UnreadableFile

SMALL = TrainConfig(
    denoiser=DenoiserConfig(dim=16, heads=2, layers=1, near=4, pair=8),
    steps=8, batch=4, warmup=5, save_every=4, learning_rate=3e-3,
)  # fmt: skip


@pytest.fixture
def examples(traffic):
    return as_arrays(examples_of([traffic], SMALL))


def test_examples_come_from_several_starts_and_viewpoints(examples):
    assert len(examples["start"]) >= 6
    starts = examples["start"][:, 0, 3].round(1)
    assert len(set(starts.tolist())) >= 2


def test_nothing_to_train_on_is_said():
    with pytest.raises(MissingData, match="nothing to train"):
        as_arrays([])


def error_of(path, examples):
    """Of the clean estimate at high noise, where the input tells little."""
    net = load_generator(path).denoiser
    batch = {name: torch.as_tensor(value) for name, value in examples.items()}
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(batch["actions"].shape, generator=generator)
    known = torch.zeros_like(batch["observed"])
    t = torch.full((len(x),), 0.7)
    noisy = add_noise(batch["actions"], x, t)
    with torch.no_grad():
        made = net(noisy, t, net.encode(inputs_of(batch)), known)[-1]
    mask = batch["observed"][..., None]
    return float(((made - batch["actions"]).square() * mask).sum() / mask.sum())


def test_training_learns_what_happened(examples, tmp_path):
    config = dataclasses.replace(SMALL, learning_rate=1e-2, in_painting=0.0, ema=0.9)
    short = fit(examples, dataclasses.replace(config, steps=1), tmp_path / "a.safetensors")
    long = fit(examples, dataclasses.replace(config, steps=40), tmp_path / "b.safetensors")
    assert error_of(long.path, examples) < 0.9 * error_of(short.path, examples)
    assert long.examples == len(examples["start"])


def test_the_same_seed_gives_the_same_weights_also_after_a_stop(examples, tmp_path):
    whole = fit(examples, SMALL, tmp_path / "whole.safetensors")
    count = 0

    def interrupt(done, total):
        nonlocal count
        count += 1
        if done == 6 and count == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(examples, SMALL, tmp_path / "part.safetensors", progress=interrupt)
    assert (tmp_path / "part.safetensors.resume").exists()
    fit(examples, SMALL, tmp_path / "part.safetensors", progress=interrupt)
    assert count == 6 + 4  # from step 4 on again
    assert not (tmp_path / "part.safetensors.resume").exists()
    one = load_generator(whole.path).denoiser.state_dict()
    other = load_generator(tmp_path / "part.safetensors").denoiser.state_dict()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value)


def test_resuming_with_another_configuration_is_refused(examples, tmp_path):
    def interrupt(done, total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(examples, SMALL, tmp_path / "w.safetensors", progress=interrupt)
    with pytest.raises(BadSetting, match="another configuration"):
        fit(examples, dataclasses.replace(SMALL, seed=9), tmp_path / "w.safetensors")


def test_examples_survive_the_disk(examples, tmp_path):
    save_examples(tmp_path / "a" / "x.npz", examples)
    again = load_examples(tmp_path / "a")
    for name, value in examples.items():
        np.testing.assert_array_equal(again[name], value)
    report = train_generator(
        tmp_path / "a", dataclasses.replace(SMALL, steps=2), tmp_path / "w.safetensors"
    )
    assert report.examples == len(examples["start"])


def test_what_is_no_generator_is_refused(tmp_path):
    with pytest.raises(UnreadableFile):
        load_generator(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"not weights")
    with pytest.raises(UnreadableFile, match="safetensors"):
        load_generator(tmp_path / "bad.safetensors")
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(BadInput, match="no generator"):
        load_generator(tmp_path / "other.safetensors")


def test_weights_come_back_to_half_precision(tmp_path):
    net = Denoiser(SMALL.denoiser)
    save_generator(tmp_path / "w.safetensors", net, metadata={"command": "x", "steps": "3"})
    back = load_generator(tmp_path / "w.safetensors")
    assert back.metadata["command"] == "x"
    assert back.name.startswith("generator-")
    for name, value in net.state_dict().items():
        torch.testing.assert_close(back.denoiser.state_dict()[name], value, atol=1e-3, rtol=1e-3)


def test_the_shipped_weights_load_and_say_how_they_were_made():
    shipped = load_generator()
    assert SHIPPED.stat().st_size < 2.5e6
    assert "config" in shipped.metadata
    assert shipped.metadata["command"].startswith("python ")
