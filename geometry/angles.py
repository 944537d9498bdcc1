"""Angles in radians, wrapped to (−π, π]."""

import numpy as np
from jaxtyping import Float

from geometry.arrays import Array


def wrap(angle: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The same direction in (−π, π]."""
    wrapped = np.asarray(np.pi - np.mod(np.pi - angle, 2.0 * np.pi))
    # The float remainder may round up to the modulus itself, which would give −π.
    return np.where(wrapped <= -np.pi, np.pi, wrapped).astype(angle.dtype)


def difference(a: Float[Array, "*shape"], b: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Smallest signed turn that leads from ``b`` to ``a``, in (−π, π]."""
    return wrap(np.asarray(a - b))


def unit(angle: Float[Array, "*shape"]) -> Float[Array, "*shape 2"]:
    """Unit vectors (cos, sin) of the directions."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)
