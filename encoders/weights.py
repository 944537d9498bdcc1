"""Weights of the scene encoder on disk: safetensors in half precision, with what made them.

The header's metadata holds the shape of the network and of its input, the command, and the hash of
the training data; the model's id is its name and the first eight digits of the file's SHA-256.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from encoders.features import FeatureConfig
from encoders.model import ModelConfig, SceneEncoder
from schemas import config
from schemas.errors import UnreadableFile

SHIPPED = Path(__file__).parent / "weights" / "scene_encoder_s.safetensors"
"""Trained on the procedural world alone."""


KEY = "scene_encoder"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedEncoder:
    """An encoder that is ready for use.

    Attributes:
        id: Name and hash of the weights.
        net: In evaluation mode.
        features: The input that it was trained on.
        metadata: Shapes, command, hash of the data and figures, as they stand in the file.
    """

    id: str
    net: SceneEncoder
    features: FeatureConfig
    metadata: Mapping[str, Any]


def save_encoder(
    net: SceneEncoder,
    path: Path,
    *,
    features: FeatureConfig,
    command: str,
    data: str,
    figures: Mapping[str, object],
) -> None:
    """Write weights in half precision, whole or not at all.

    Args:
        net: The trained network.
        path: Where to.
        features: The input that it was trained on.
        command: That repeats the training.
        data: Hash of the training windows.
        figures: Of the last validation.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    tensors = {name: t.detach().cpu().half().contiguous() for name, t in net.state_dict().items()}
    metadata = {
        "model": dataclasses.asdict(net.config),
        "features": dataclasses.asdict(features),
        "command": command,
        "data": data,
        "figures": figures,
    }
    # One key, because safetensors writes several in no fixed order, and the id is a hash.
    save_file(tensors, partial, metadata={KEY: json.dumps(metadata)})
    partial.replace(path)


def load_encoder(
    path: str | Path | None = None, *, device: torch.device | str = "cpu"
) -> LoadedEncoder:
    """The encoder of a file of weights, or the one that ships with the project.

    Raises:
        UnreadableFile: There is no such file, or it does not hold an encoder.
    """
    return _load(Path(path or SHIPPED).resolve(), str(device))


@cache
def _load(path: Path, device: str) -> LoadedEncoder:
    try:
        content = path.read_bytes()
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise UnreadableFile(
            path, "cannot be read as encoder weights", hint="Train some: `train encoder`."
        ) from error
    except SafetensorError as error:
        raise UnreadableFile(path, f"is not a safetensors file: {error}") from error
    if KEY not in header:
        raise UnreadableFile(path, "holds tensors, but not those of a scene encoder")
    metadata = json.loads(header[KEY])
    model = config.build(ModelConfig, metadata["model"], where=str(path))
    net = SceneEncoder(model)
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise UnreadableFile(path, "holds weights of another shape of network") from error
    return LoadedEncoder(
        id=f"{model.name}-{hashlib.sha256(content).hexdigest()[:8]}",
        net=net.to(device).eval(),
        features=config.build(FeatureConfig, metadata["features"], where=str(path)),
        metadata=metadata,
    )
