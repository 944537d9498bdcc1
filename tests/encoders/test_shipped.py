"""The weights that ship, on a log of the procedural world that they were not trained on."""

from encoders.evaluate import evaluate
from encoders.features import features_of, stack
from encoders.weights import SHIPPED, load_encoder
from lake.scenes import scenes_of
from schemas.tables import EMBEDDING_WIDTH
from simulation.world import make_log


def test_they_are_small_and_say_what_made_them():
    assert SHIPPED.stat().st_size < 4e6
    encoder = load_encoder()
    assert encoder.id.startswith("scene_encoder_s-")
    assert encoder.net.readout.out_features == EMBEDDING_WIDTH
    assert encoder.metadata["command"]
    assert len(encoder.metadata["data"]) == 64


def test_they_reconstruct_better_than_kinematics_and_untrained_weights():
    encoder = load_encoder()
    scenes = [scene for seed in (7, 8) for scene in scenes_of(make_log(seed)[0])]
    windows = stack([features_of(s, encoder.features) for s in scenes], encoder.features)
    for score in evaluate(encoder.net, windows).scores:
        trained = score.ade_m.pop("trained")
        for method, ade in score.ade_m.items():
            assert trained < 0.9 * ade, (score.mask, method)
