"""A scene's rows of the table ``criticality``."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lake.ids import stable_id, stable_ids
from mining.criticality.scene import METRICS, worst_of
from mining.motion import Motion
from schemas.tables import TABLES

SCHEMA = pa.schema([f for f in TABLES["criticality"].schema if f.name != "run_id"])


def criticality_table(motion: Motion) -> pa.Table:
    """The worst of the scene, then of each pair of which any measure tells something.

    Null is what is not known; ∞ stands for never, as in the measures themselves. The run's id is
    left to whoever writes the rows.
    """
    worst = worst_of(motion)
    chosen = np.flatnonzero(worst.telling)
    count = len(chosen) + 1
    ids = np.array(motion.track_id, dtype=np.int64)
    scene_id = motion.scene.scene_id
    actors, others = ids[worst.a[chosen]].tolist(), ids[worst.b[chosen]].tolist()
    pairs = stable_ids("pair", scene_id, columns=(actors, others))
    columns = {
        "pair_id": pa.array([stable_id("pair", scene_id), *pairs], type=pa.int64()),
        "log_id": pa.array(np.full(count, motion.scene.log_id, dtype=np.int64)),
        "scene_id": pa.array(np.full(count, scene_id, dtype=np.int64)),
    }
    for name, told in (("actor_id", actors), ("other_id", others)):
        columns[name] = pa.array([None, *told], type=pa.int64())
    summary = worst.of_scene
    for name in METRICS:
        value = np.concatenate([[summary[name]], worst.values[name][chosen]]).astype(np.float32)
        columns[name] = pa.array(value, mask=np.isnan(value))
    return pa.table([columns[field.name] for field in SCHEMA], schema=SCHEMA)
