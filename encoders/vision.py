"""Camera images as vectors, through ``open_clip``.

PyPI's torchvision is linked against CUDA. Beside a CPU-only torch its compiled part does not load,
which it does not mind, but then it registers shape rules for two operators that it thus lacks, and
its import dies: ``operator torchvision::nms does not exist`` (pytorch/vision #9077). Declaring the
operators' signatures beforehand is enough; nothing here runs them.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from geometry.arrays import Array
from schemas.errors import UnknownName

if TYPE_CHECKING:
    from PIL.Image import Image

_NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []  # a library's operators live as long as it does


@cache
def open_clip_module() -> ModuleType:
    """The ``open_clip`` module, importable beside any build of torch."""
    _declare_torchvision_operators()
    return importlib.import_module("open_clip")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CameraEncoder:
    """Images and texts into one space.

    Attributes:
        id: Name and weights, as ``open_clip`` calls them.
        net: In evaluation mode.
        preprocess: From a picture to the network's input.
        tokenizer: From texts to the network's input.
    """

    id: str
    net: Any
    preprocess: Callable[[Image], torch.Tensor]
    tokenizer: Callable[[list[str]], torch.Tensor]

    @torch.no_grad()
    def images(self, images: Sequence[Image]) -> Float[Array, "images width"]:
        """Unit vectors of pictures."""
        device = next(self.net.parameters()).device
        pixels = torch.stack([self.preprocess(image.convert("RGB")) for image in images])
        return _unit(self.net.encode_image(pixels.to(device)))

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Float[Array, "texts width"]:
        """Unit vectors of texts."""
        device = next(self.net.parameters()).device
        return _unit(self.net.encode_text(self.tokenizer(list(texts)).to(device)))


def camera_encoder(
    name: str = "ViT-B-32",
    *,
    pretrained: str | Path | None = "laion2b_s34b_b79k",
    device: torch.device | str = "cpu",
) -> CameraEncoder:
    """A camera encoder by ``open_clip``'s names.

    Args:
        name: Architecture.
        pretrained: Name of weights, which ``open_clip`` downloads once; or a file of them; or None
            for weights at random.
        device: Where to compute.

    Raises:
        UnknownName: ``open_clip`` knows no such architecture, or no such weights for it.
    """
    open_clip = open_clip_module()
    if name not in open_clip.list_models():
        raise UnknownName("camera encoder", name, open_clip.list_models())
    if pretrained is not None and not Path(pretrained).exists():
        known = open_clip.list_pretrained_tags_by_model(name)
        if str(pretrained) not in known:
            raise UnknownName(f"set of weights for {name}", str(pretrained), known)
    net, _, preprocess = open_clip.create_model_and_transforms(
        name, pretrained=None if pretrained is None else str(pretrained), device=device
    )
    weights = "random" if pretrained is None else Path(pretrained).stem
    return CameraEncoder(
        id=f"{name}/{weights}",
        net=net.eval(),
        preprocess=preprocess,
        tokenizer=open_clip.get_tokenizer(name),
    )


def _declare_torchvision_operators() -> None:
    """Declare what torchvision's compiled part would, where that part cannot load."""
    if torch.version.cuda is not None or hasattr(torch.ops.torchvision, "nms"):
        return
    spec = importlib.util.find_spec("torchvision")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    compiled = next(iter(sorted(folder.glob("_C*.so"))), None) if folder else None
    if compiled is not None:
        try:
            torch.ops.load_library(str(compiled))  # type: ignore[no-untyped-call]
        except OSError:  # linked against CUDA libraries that are not here
            compiled = None
    if compiled is None:
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            library.define(name + _NMS)  # type: ignore[no-untyped-call]
        _declared.append(library)


def _unit(vectors: torch.Tensor) -> Array:
    unit = torch.nn.functional.normalize(vectors.float(), dim=-1)
    return np.asarray(unit.cpu().numpy())
