import numpy as np
import pytest
import torch

from encoders.config import EncoderConfig, TrainingConfig
from encoders.evaluate import evaluate
from encoders.features import FeatureConfig, features_of, stack
from encoders.losses import barlow_twins
from encoders.model import XS
from encoders.train import split, train
from encoders.weights import load_encoder
from schemas import config as settings
from schemas.errors import BadSetting, MissingData, UnreadableFile

FEATURES = FeatureConfig(agents=6, polylines=24, signals=1)


def config_of(**training):
    return EncoderConfig(
        model=XS, features=FEATURES,
        training=TrainingConfig(batch=8, bf16=False, **training),
    )  # fmt: skip


@pytest.fixture
def windows(make_scene):
    return stack(
        [features_of(make_scene(seed=s, agents=4), FEATURES) for s in range(24)], FEATURES
    )


def test_the_loss_falls_and_the_weights_come_back(windows, tmp_path):
    seen = []
    report = train(windows, config_of(epochs=12), tmp_path / "e.safetensors", progress=seen.append)
    assert seen == report.history
    assert report.history[-1].loss < 0.6 * report.history[0].loss
    assert report.train + report.validation == len(windows)
    encoder = load_encoder(report.out)
    assert encoder.id.startswith("scene_encoder_xs-")
    assert encoder.features == FEATURES
    assert encoder.metadata["data"] == report.data
    assert not list(tmp_path.glob("*.state.*"))


def test_a_run_that_was_stopped_ends_in_the_same_weights(windows, tmp_path):
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    train(windows, config_of(epochs=3), whole)
    first = train(windows, config_of(epochs=3), parts, epochs=1)
    assert len(first.history) == 1
    assert not parts.exists()
    last = train(windows, config_of(epochs=3), parts)
    assert [e.epoch for e in last.history] == [1, 2, 3]
    assert whole.read_bytes() == parts.read_bytes()


def test_a_state_of_other_settings_is_not_gone_on_from(windows, tmp_path, caplog):
    out = tmp_path / "e.safetensors"
    train(windows, config_of(epochs=2), out, epochs=1)
    report = train(windows, config_of(epochs=2, seed=1), out)
    assert len(report.history) == 2
    assert "starting anew" in caplog.text


def test_no_log_is_on_both_sides_of_the_split(windows):
    learn, held = split(windows, share=0.25)
    assert not set(learn.log_id) & set(held.log_id)
    assert len(np.unique(held.log_id)) == 6


def test_evaluation_scores_every_method_on_the_same_steps(windows, tmp_path):
    report = train(windows, config_of(epochs=1), tmp_path / "e.safetensors")
    net = load_encoder(report.out).net
    scores = {score.mask: score for score in evaluate(net, windows).scores}
    assert set(scores) == {"patches", "halves", "agents"}
    for score in scores.values():
        assert score.steps > 0
        assert set(score.ade_m) == {
            "constant velocity", "linear interpolation", "kinematic guess", "untrained", "trained",
        }  # fmt: skip
    # With half of a track hidden there is nothing to interpolate to: the last position is held.
    assert (
        scores["halves"].ade_m["linear interpolation"]
        > scores["halves"].ade_m["constant velocity"]
    )
    # Wholly hidden agents have no speed: all three kinematic answers are to stay put.
    agents = scores["agents"].ade_m
    assert agents["constant velocity"] == pytest.approx(agents["linear interpolation"])
    assert "| halves |" in evaluate(net, windows).table()


def test_nothing_to_train_on(windows, tmp_path):
    with pytest.raises(MissingData):
        train(windows.take([]), config_of(), tmp_path / "e.safetensors")


def test_settings_are_read_from_toml_and_unknown_ones_refused(tmp_path):
    path = tmp_path / "encoder.toml"
    path.write_text("[model]\nwidth = 64\n[training]\nepochs = 3\n")
    read = settings.load(EncoderConfig, path)
    assert (read.model.width, read.training.epochs) == (64, 3)
    path.write_text("[training]\nepoch = 3\n")
    with pytest.raises(BadSetting, match="epoch"):
        settings.load(EncoderConfig, path)


def test_files_that_are_not_weights(tmp_path):
    with pytest.raises(UnreadableFile):
        load_encoder(tmp_path / "none.safetensors")
    (tmp_path / "x.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0 no header")
    with pytest.raises(UnreadableFile):
        load_encoder(tmp_path / "x.safetensors")


def test_barlow_twins_is_zero_for_equal_views_of_independent_features():
    a = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert float(barlow_twins(a, a, redundancy=0.005)) == pytest.approx(0.0, abs=1e-6)
    # Opposite views: each diagonal entry is −1, so the loss is 2 · (1 − (−1))² = 8.
    assert float(barlow_twins(a, -a, redundancy=0.005)) == pytest.approx(8.0, abs=1e-3)
    # A feature that repeats another: off-diagonal correlations of 1, weighed by 0.005, twice.
    b = a[:, [0, 0]]
    assert float(barlow_twins(b, b, redundancy=0.005)) == pytest.approx(0.01, abs=1e-5)
