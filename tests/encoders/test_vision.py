import json

import numpy as np
import pytest
from PIL import Image

from encoders.vision import camera_encoder, open_clip_module
from schemas.errors import UnknownName

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    (folder / "scenelake-tiny.json").write_text(json.dumps(TINY))
    open_clip_module().add_model_config(folder)
    return camera_encoder("scenelake-tiny", pretrained=None)


def test_images_and_texts_become_unit_vectors_of_one_space(tiny):
    images = [Image.new("RGB", (40, 30), color) for color in ("red", "green", "red")]
    seen, said = tiny.images(images), tiny.texts(["a red wall", "a green wall"])
    assert seen.shape == (3, 16)
    assert said.shape == (2, 16)
    np.testing.assert_allclose(np.linalg.norm(seen, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(seen[0], seen[2], atol=1e-6)
    assert np.abs(seen[0] - seen[1]).max() > 1e-3


def test_weights_are_loaded_from_a_file(tiny, tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "clip.safetensors"
    save_file({k: v.contiguous() for k, v in tiny.net.state_dict().items()}, path)
    again = camera_encoder("scenelake-tiny", pretrained=path)
    picture = [Image.new("RGB", (32, 32), "blue")]
    np.testing.assert_array_equal(again.images(picture), tiny.images(picture))


def test_unknown_names_are_refused_before_anything_is_downloaded():
    with pytest.raises(UnknownName, match="ViT-B-33"):
        camera_encoder("ViT-B-33")
    with pytest.raises(UnknownName, match="laion9b"):
        camera_encoder("ViT-B-32", pretrained="laion9b")
