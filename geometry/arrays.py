"""The array type that shapes are written on: ``Float[Array, "agents steps 2"]``."""

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    Array: TypeAlias = np.ndarray[Any, Any]
else:
    Array: TypeAlias = np.ndarray  # the run-time shape checker wants it bare
