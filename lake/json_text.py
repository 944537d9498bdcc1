"""JSON as columns hold it: compact, keys sorted, numpy's values as plain ones."""

from __future__ import annotations

import json
from typing import Any

import numpy as np


def as_json(value: Any) -> str:
    """Compact JSON of plain values, numpy's among them.

    Raises:
        TypeError: Something has no place in JSON.
    """
    return _ENCODER.encode(value)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in JSON.")


_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=_plain)
"""Made once: ``json.dumps`` makes one anew for every value."""
