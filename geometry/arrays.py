"""The array type that shapes are written on: ``Float[Array, "agents steps 2"]``."""

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
