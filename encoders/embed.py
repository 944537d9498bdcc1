"""Vectors for the scenes of a lake that lack one: fills ``embeddings``.

A scene longer than a window gets the mean of its windows' vectors, at unit length. A scene in
which nobody was observed has nothing to encode and gets none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from encoders.batch import batch_of
from encoders.features import Features, batches
from encoders.masking import nothing
from encoders.weights import LoadedEncoder, load_encoder
from geometry.arrays import Array
from schemas.scene import Scene
from schemas.tables import EMBEDDING_WIDTH, EMBEDDINGS

if TYPE_CHECKING:
    import pyarrow as pa

    from lake import Lake


ROWS_A_COMMIT = 2048
"""Few large commits keep a table fast; an interrupted run loses less than this many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeReport:
    """What encoding a lake did.

    Attributes:
        model: Name and hash of the weights.
        encoded: Scenes that got a vector now.
        unchanged: Scenes that had one of this model already.
        empty: Scenes in which nobody was observed.
        wall_s: [s].
    """

    model: str
    encoded: int
    unchanged: int
    empty: int
    wall_s: float


def encode(
    lake: Lake,
    *,
    model: str | Path | None = None,
    scene_ids: Sequence[int] | None = None,
    batch: int = 32,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> EncodeReport:
    """Embed the scenes that lack a vector of a model; again is a no-op.

    Args:
        lake: Where the scenes are, and where the vectors go.
        model: File of weights; the shipped ones if not given.
        scene_ids: Only these scenes.
        batch: Windows at a time.
        device: Where to compute.
        progress: Called with how many of how many scenes are done.
    """
    began = time.monotonic()
    encoder = load_encoder(model, device=device)
    wanted = lake.scene_ids() if scene_ids is None else list(scene_ids)
    rows = lake.read("embeddings", columns=["scene_id", "model"], where=f"model = '{encoder.id}'")
    there = set(rows["scene_id"].to_pylist())
    lacking = [scene for scene in wanted if scene not in there]
    done = encoded = 0
    if lacking:
        params = {"model": encoder.id, "scenes": len(lacking)}
        with lake.run("encode", params=params, model=encoder.id) as run:
            pending: list[pa.Table] = []
            for ids, features in batches(lake.scenes(lacking), encoder.features, windows=batch):
                vectors = scene_vectors(encoder, features)
                pending.append(_rows(vectors, encoder.id, run.id))
                done, encoded = done + len(ids), encoded + len(vectors)
                if sum(map(len, pending)) >= ROWS_A_COMMIT:
                    _write(lake, pending)
                if progress is not None:
                    progress(done, len(lacking))
            _write(lake, pending)
            run.summary.update(encoded=encoded, empty=done - encoded)
    return EncodeReport(
        model=encoder.id,
        encoded=encoded,
        unchanged=len(wanted) - len(lacking),
        empty=done - encoded,
        wall_s=time.monotonic() - began,
    )


@torch.no_grad()
def window_vectors(encoder: LoadedEncoder, features: Features) -> Float[Array, "windows 64"]:
    """Unit vector of each window."""
    device = next(encoder.net.parameters()).device
    batch = batch_of(features, device=device)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        tokens = encoder.net.encode(batch, nothing(batch))
    return np.asarray(encoder.net.vectors(tokens).float().cpu().numpy())


def scene_vectors(encoder: LoadedEncoder, features: Features) -> dict[int, Float[Array, " 64"]]:
    """Unit vector of each scene that has a window, in the order of first windows."""
    if len(features) == 0:
        return {}
    sums: dict[int, Array] = {}
    for scene, vector in zip(features.scene_id, window_vectors(encoder, features), strict=True):
        sums[int(scene)] = sums.get(int(scene), np.zeros(EMBEDDING_WIDTH)) + vector
    return {
        scene: (total / max(float(np.linalg.norm(total)), 1e-12)).astype(np.float32)
        for scene, total in sums.items()
    }


def vectors_of(
    encoder: LoadedEncoder, scenes: Iterable[Scene], *, batch: int = 32
) -> dict[int, Float[Array, " 64"]]:
    """Unit vector of each scene, without a lake."""
    made: dict[int, Array] = {}
    for _, features in batches(scenes, encoder.features, windows=batch):
        made |= scene_vectors(encoder, features)
    return made


def _rows(vectors: dict[int, Array], model: str, run_id: int) -> pa.Table:
    import pyarrow as pa

    schema = EMBEDDINGS.schema
    flat = np.concatenate(list(vectors.values())) if vectors else np.zeros(0, dtype=np.float32)
    columns = {
        "scene_id": pa.array(list(vectors), pa.int64()),
        "model": pa.array([model] * len(vectors), pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat), EMBEDDING_WIDTH),
        "run_id": pa.array([run_id] * len(vectors), pa.int64()),
    }
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _write(lake: Lake, pending: list[pa.Table]) -> None:
    import pyarrow as pa

    if sum(map(len, pending)):
        lake.append("embeddings", pa.concat_tables(pending))
    pending.clear()
