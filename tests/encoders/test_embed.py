import numpy as np
import pytest
import torch

from encoders.embed import encode, vectors_of
from encoders.features import FeatureConfig
from encoders.model import XS, SceneEncoder
from encoders.weights import load_encoder, save_encoder
from lake import Lake
from tests.builders import make_crossing_log, make_straight_log, without


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "xs.safetensors"
    save_encoder(
        SceneEncoder(XS), path, features=FeatureConfig(agents=8, polylines=32),
        command="none", data="none", figures={},
    )  # fmt: skip
    return path


@pytest.fixture
def lake(tmp_path):
    made = Lake.create(tmp_path / "lake")
    logs = [make_straight_log("a"), make_crossing_log("b"), make_straight_log("c", steps=260)]
    logs.append(without(make_crossing_log("d"), "ego", "map", "lights"))
    with made.run("made") as run:
        made.add_logs(logs, run_id=run.id)
    return made


def test_every_scene_gets_a_unit_vector_and_again_nothing_happens(lake, weights):
    seen = []
    report = encode(lake, model=weights, progress=lambda done, of: seen.append((done, of)))
    ids = set(lake.scene_ids())
    assert (report.encoded, report.unchanged, report.empty) == (len(ids), 0, 0)
    assert seen[-1] == (len(ids), len(ids))
    rows = lake.read("embeddings")
    assert set(rows["scene_id"].to_pylist()) == ids
    assert set(rows["model"].to_pylist()) == {load_encoder(weights).id}
    length = np.linalg.norm(np.array(rows["vector"].to_pylist()), axis=1)
    np.testing.assert_allclose(length, 1.0, rtol=1e-5)
    again = encode(lake, model=weights)
    assert (again.encoded, again.unchanged) == (0, len(ids))
    assert lake.read("embeddings").num_rows == len(ids)
    (run,) = [r for r in lake.read("runs").to_pylist() if r["command"] == "encode"]
    assert run["model"] == report.model


def test_only_the_scenes_that_were_asked_for(lake, weights):
    first, *rest = lake.scene_ids()
    assert encode(lake, model=weights, scene_ids=[first]).encoded == 1
    report = encode(lake, model=weights)
    assert (report.encoded, report.unchanged) == (len(rest), 1)


def test_the_size_of_a_batch_changes_no_vector(lake, weights):
    encoder = load_encoder(weights)
    one = vectors_of(encoder, lake.scenes(), batch=1)
    many = vectors_of(encoder, lake.scenes(), batch=64)
    assert list(one) == list(many)
    for scene, vector in one.items():
        np.testing.assert_allclose(vector, many[scene], atol=1e-5)
