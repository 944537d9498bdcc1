"""The pinhole camera: points to pixels and pixels to rays.

The camera frame is the optical one: x right, y down, z along the view. With K = (fx, fy, cx, cy),

    u = fx · x/z + cx,    v = fy · y/z + cy,

and radial distortion (x/z, y/z) ← (x/z, y/z) · (1 + k1 r² + k2 r⁴ + k3 r⁶) before that
(Hartley & Zisserman 2004, ch. 6 and 7.4). Pixel (0, 0) is the corner of the image, not a centre.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from geometry.arrays import Array
from geometry.frames import SE3

NEAR = 1e-6  # [m] points nearer to the camera's plane have no image

EGO_FROM_FORWARD_OPTICS = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Rotation of a camera that looks along the vehicle's x axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinhole:
    """A camera's intrinsics.

    Attributes:
        fx: Focal length along the image's width [px].
        fy: Along its height [px].
        cx: Principal point [px].
        cy: Principal point [px].
        width: Of the image [px].
        height: Of the image [px].
        distortion: k1, k2, k3; zeros for an ideal lens.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def project(
        self, xyz: Float[Array, "*points 3"]
    ) -> tuple[Float[Array, "*points 2"], Float[Array, "*points"], Bool[Array, "*points"]]:
        """Pixels of points in the camera frame.

        Returns:
            (u, v) [px], meaningless where not in front; depth along the view [m]; whether the point
            is in front of the camera (it may still lie outside the image, see :meth:`holds`).
        """
        depth = xyz[..., 2]
        in_front = depth > NEAR
        x, y = xyz[..., 0], xyz[..., 1]
        z = np.where(in_front, depth, 1.0)
        x, y = x / z, y / z
        k1, k2, k3 = self.distortion
        if k1 or k2 or k3:
            r2 = x * x + y * y
            bend = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
            x, y = x * bend, y * bend
        uv = np.stack([self.fx * x + self.cx, self.fy * y + self.cy], axis=-1)
        return uv, depth, np.asarray(in_front)

    def holds(self, uv: Float[Array, "*points 2"]) -> Bool[Array, "*points"]:
        """Whether pixels lie within the image."""
        u, v = uv[..., 0], uv[..., 1]
        return np.asarray((u >= 0.0) & (u < self.width) & (v >= 0.0) & (v < self.height))

    def rays(self, uv: Float[Array, "*points 2"]) -> Float[Array, "*points 3"]:
        """Directions in the camera frame, of unit depth, that an ideal lens sees at pixels."""
        x, y = (uv[..., 0] - self.cx) / self.fx, (uv[..., 1] - self.cy) / self.fy
        return np.stack([x, y, np.ones_like(x)], axis=-1)


def pixels_of_plane(camera: Pinhole, cam_from_world: SE3, *, z: float) -> Float[Array, "3 3"]:
    """Homography from (x, y, 1) on the world's plane at height z to homogeneous pixels.

    H = K · [r₁ r₂ z·r₃ + t] for cam_from_world = (R, t), R = [r₁ r₂ r₃]; ideal lens.
    """
    k = np.array([[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]])
    rotation, translation = cam_from_world.rotation, cam_from_world.translation
    plane = np.stack([rotation[:, 0], rotation[:, 1], z * rotation[:, 2] + translation], axis=1)
    return np.asarray(k @ plane)
