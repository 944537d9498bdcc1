"""The trained denoiser on disk: weights as half precision safetensors, with how they were made."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from generation.denoiser import Denoiser, DenoiserConfig
from generation.shipped import SHIPPED, name_of
from schemas.config import build
from schemas.errors import BadInput, UnreadableFile


@dataclass(frozen=True, slots=True, eq=False)
class Generator:
    """A denoiser ready for use.

    Attributes:
        denoiser: In evaluation mode, float32.
        name: ``generator-`` and the hash of the weights' bytes, as tables tell it.
        metadata: How it was made.
    """

    denoiser: Denoiser
    name: str
    metadata: dict[str, str]


def save_generator(path: str | Path, denoiser: Denoiser, *, metadata: dict[str, Any]) -> None:
    """Write weights (float16) with the network's size and the metadata beside them."""
    told = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in metadata.items()
    }
    told["denoiser"] = json.dumps(dataclasses.asdict(denoiser.config))
    weights = {
        name: value.detach().to(torch.float16).contiguous().cpu()
        for name, value in denoiser.state_dict().items()
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, str(path), metadata=told)


def load_generator(path: str | Path | None = None) -> Generator:
    """A generator from a file; the shipped one by default.

    Raises:
        UnreadableFile: There is no such file, or it is not safetensors.
        BadInput: It holds the weights of something else.
    """
    path = Path(path or SHIPPED)
    name = name_of(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = dict(file.metadata() or {})
            weights = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UnreadableFile(path, f"is not a safetensors file: {error}") from error
    if "denoiser" not in metadata:
        raise BadInput(path, "holds no generator (its metadata lacks `denoiser`)")
    config = build(DenoiserConfig, json.loads(metadata["denoiser"]), where=str(path))
    denoiser = Denoiser(config)
    try:
        denoiser.load_state_dict(weights)
    except RuntimeError as error:
        raise BadInput(path, f"its weights do not fit this version's network: {error}") from error
    denoiser.eval().requires_grad_(False)
    return Generator(denoiser, name, metadata)
