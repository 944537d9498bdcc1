"""The scenes' vectors of a lake, as one matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from geometry.arrays import Array
from lake import Lake
from schemas.errors import MissingData, UnknownName


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vectors:
    """Scenes that have a vector of one model, by ascending id.

    Attributes:
        model: Name and hash of its weights.
        scene_id: Of each row.
        log_id: The log that the scene is of.
        unit: Unit vectors.
    """

    model: str
    scene_id: Int[Array, " scenes"]
    log_id: Int[Array, " scenes"]
    unit: Float[Array, "scenes width"]

    def row(self, scene_id: int) -> int:
        """Row of a scene.

        Raises:
            MissingData: It has no vector.
        """
        at = int(np.searchsorted(self.scene_id, scene_id))
        if at == len(self.scene_id) or self.scene_id[at] != scene_id:
            raise MissingData(
                f"Scene {scene_id} has no vector of {self.model}.", hint="Run `scenelake encode`."
            )
        return at


def vectors(lake: Lake, *, model: str | None = None, source: str | None = None) -> Vectors:
    """All vectors of one model.

    Args:
        lake: Where they are.
        model: Whose; that which most scenes have a vector of, if not given.
        source: Only scenes of ``log``, or only of ``generated``.

    Raises:
        MissingData: There are no vectors at all.
        UnknownName: There are none of this model.
    """
    model = model_of(lake, model)
    rows = lake.read("embeddings", columns=["scene_id", "vector"], where=f"model = '{model}'")
    where = None if source is None else f"source = '{source}'"
    scenes = lake.read("scenes", columns=["scene_id", "log_id"], where=where)
    log_of = dict(zip(scenes["scene_id"].to_pylist(), scenes["log_id"].to_pylist(), strict=True))
    scene_id = rows["scene_id"].to_numpy()
    order = np.argsort(scene_id, kind="stable")
    order = order[[int(s) in log_of for s in scene_id[order]]]
    scene_id = scene_id[order]
    return Vectors(
        model=model,
        scene_id=scene_id,
        log_id=np.array([log_of[int(s)] for s in scene_id], dtype=np.int64),
        unit=_matrix(rows["vector"])[order].astype(np.float64),
    )


def model_of(lake: Lake, model: str | None = None) -> str:
    """The model that is asked for, or that which most scenes have a vector of.

    Raises:
        MissingData: There are no vectors at all.
        UnknownName: There are none of this model.
    """
    counts = lake.sql("select model, count(*) n from embeddings group by 1 order by n desc, model")
    known = counts["model"].to_pylist()
    if not known:
        raise MissingData("No scene has a vector yet.", hint="Run `scenelake encode`.")
    if model is not None and model not in known:
        raise UnknownName("model with vectors in this lake", model, known)
    return known[0] if model is None else model


def _matrix(column: pa.ChunkedArray) -> Array:
    flat = column.combine_chunks().flatten().to_numpy()
    return np.asarray(flat).reshape(len(column), -1)
