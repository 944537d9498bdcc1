"""Rigid transforms named ``dst_from_src``, so that names meet when they are composed.

``world_from_cam = world_from_ego @ ego_from_cam``; ``xy_in_ego = ego_from_world.apply(xy)``.
Quaternions are scalar first (w, x, y, z) and unit length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from geometry.angles import wrap
from geometry.arrays import Array


@dataclass(frozen=True, slots=True)
class SE2:
    """A planar rigid transform: rotate by ``yaw``, then translate by ``(x, y)``.

    Attributes:
        x: Translation, which is the source's origin in the destination frame [m].
        y: Likewise [m].
        yaw: Rotation, which is the source's heading in the destination frame [rad].
    """

    x: float
    y: float
    yaw: float

    def __matmul__(self, other: SE2) -> SE2:
        xy = self.apply(np.array([other.x, other.y]))
        return SE2(float(xy[0]), float(xy[1]), float(wrap(np.array(self.yaw + other.yaw))))

    def inverse(self) -> SE2:
        """The transform back: ``src_from_dst``."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        return SE2(
            float(-cos * self.x - sin * self.y), float(sin * self.x - cos * self.y), -self.yaw
        )

    def apply(self, xy: Float[Array, "*points 2"]) -> Float[Array, "*points 2"]:
        """Points of the source frame, told in the destination frame [m]."""
        return self.rotate(xy) + np.array([self.x, self.y])

    def rotate(self, vectors: Float[Array, "*points 2"]) -> Float[Array, "*points 2"]:
        """Vectors (velocities, directions), which know no translation."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        x, y = vectors[..., 0], vectors[..., 1]
        return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)

    def turn(self, yaw: Float[Array, "*points"]) -> Float[Array, "*points"]:
        """Headings of the source frame, told in the destination frame [rad]."""
        return wrap(np.asarray(yaw + self.yaw))


@dataclass(frozen=True, slots=True, eq=False)
class SE3:
    """A spatial rigid transform.

    Attributes:
        rotation: Rotation matrix.
        translation: The source's origin in the destination frame [m].
    """

    rotation: Float[Array, "3 3"]
    translation: Float[Array, "3"]

    @classmethod
    def from_quaternion(cls, wxyz: Float[Array, "4"], translation: Float[Array, 3]) -> SE3:
        """Build from a unit quaternion, scalar first."""
        return cls(rotation_from_quaternion(wxyz), np.asarray(translation, dtype=np.float64))

    def __matmul__(self, other: SE3) -> SE3:
        return SE3(self.rotation @ other.rotation, self.apply(other.translation))

    def inverse(self) -> SE3:
        """The transform back: ``src_from_dst``."""
        return SE3(self.rotation.T, -self.rotation.T @ self.translation)

    def apply(self, xyz: Float[Array, "*points 3"]) -> Float[Array, "*points 3"]:
        """Points of the source frame, told in the destination frame [m]."""
        return xyz @ self.rotation.T + self.translation

    @property
    def yaw(self) -> float:
        """Heading of the source's x axis about the destination's z axis [rad]."""
        return float(np.arctan2(self.rotation[1, 0], self.rotation[0, 0]))

    @property
    def quaternion(self) -> Float[Array, "4"]:
        """Unit quaternion (w, x, y, z) with w ≥ 0."""
        return quaternion_from_rotation(self.rotation)


def rotation_from_quaternion(wxyz: Float[Array, "*batch 4"]) -> Float[Array, "*batch 3 3"]:
    """Rotation matrices of unit quaternions, scalar first; other lengths are normalised."""
    q = wxyz / np.linalg.norm(wxyz, axis=-1, keepdims=True)
    w, x, y, z = (q[..., i] for i in range(4))
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quaternion_from_rotation(rotation: Float[Array, "3 3"]) -> Float[Array, "4"]:
    """Unit quaternion (w, x, y, z), w ≥ 0, of one rotation matrix."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(rotation).as_quat(canonical=True)
    return np.array([w, x, y, z])


def yaw_from_quaternion(wxyz: Float[Array, "*batch 4"]) -> Float[Array, "*batch"]:
    """Heading about z of unit quaternions, scalar first [rad]."""
    w, x, y, z = (wxyz[..., i] for i in range(4))
    return np.asarray(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))


def quaternion_from_yaw(yaw: Float[Array, "*batch"]) -> Float[Array, "*batch 4"]:
    """Unit quaternions (w, x, y, z) that turn about z alone."""
    zero = np.zeros_like(yaw)
    return np.stack([np.cos(yaw / 2), zero, zero, np.sin(yaw / 2)], axis=-1)
