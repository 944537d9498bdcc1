"""Smooth reference curves for roads: straights, clothoid bends, curvature-continuous connectors.

Every curve carries heading and curvature beside its points, so that what drives along it turns at
ψ̇ = v·κ without steps. Points are about ``STEP_M`` apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from geometry.arrays import Array

STEP_M = 0.5
FINE = 8  # sub-steps of the integration of a bend per point


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A line with its differential geometry.

    Attributes:
        xy: Points [m].
        yaw: Heading at the points, without jumps of 2π [rad].
        curvature: Positive where the curve bends left [1/m].
        s: Distance along the curve [m].
    """

    xy: Float[Array, "points 2"]
    yaw: Float[Array, " points"]
    curvature: Float[Array, " points"]
    s: Float[Array, " points"]

    @property
    def length(self) -> float:
        """[m]."""
        return float(self.s[-1])

    @property
    def normal(self) -> Float[Array, "points 2"]:
        """Unit vectors to the left."""
        return np.stack([-np.sin(self.yaw), np.cos(self.yaw)], axis=-1)

    def at(self, s: float) -> tuple[Float[Array, 2], float, float]:
        """Point [m], heading [rad] and curvature [1/m] at a distance along the curve."""
        xy = np.array([np.interp(s, self.s, self.xy[:, k]) for k in range(2)])
        yaw = float(np.interp(s, self.s, self.yaw))
        return xy, yaw, float(np.interp(s, self.s, self.curvature))

    def offset(self, left: float | Float[Array, " points"]) -> Curve:
        """The parallel curve ``left`` metres to the left; κ′ = κ / (1 − κ·left)."""
        xy = self.xy + np.asarray(left)[..., None] * self.normal
        scale = 1.0 - self.curvature * left
        return Curve(xy, self.yaw, self.curvature / scale, _along(xy))

    def reversed(self) -> Curve:
        """The same line, driven the other way."""
        return Curve(
            self.xy[::-1].copy(),
            self.yaw[::-1] + np.pi,
            -self.curvature[::-1],
            self.s[-1] - self.s[::-1],
        )

    def cut(self, begin: int, end: int) -> Curve:
        """The points from index ``begin`` to ``end``, both included."""
        part = slice(begin, end + 1)
        return Curve(
            self.xy[part], self.yaw[part], self.curvature[part], self.s[part] - self.s[begin]
        )


def _along(xy: Array) -> Array:
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(xy, axis=0), axis=1))])


def bend(
    start: Sequence[float],
    yaw: float,
    pieces: Sequence[tuple[float, float]],
    *,
    curvature: float = 0.0,
) -> Curve:
    """A curve whose curvature runs piecewise linearly along it (straights, arcs, clothoids).

    Args:
        start: First point [m].
        yaw: First heading [rad].
        pieces: (length [m], curvature at the end of the piece [1/m]) one after another.
        curvature: At the start [1/m].

    Returns:
        The curve, with an odd number of points.
    """
    knots = np.concatenate([[0.0], np.cumsum([length for length, _ in pieces])])
    values = np.array([curvature, *(kappa for _, kappa in pieces)])
    count = 2 * max(int(np.ceil(knots[-1] / STEP_M / 2.0)), 1)
    fine = np.linspace(0.0, knots[-1], count * FINE + 1)
    kappa = np.interp(fine, knots, values)
    ds = fine[1] - fine[0]
    heading = yaw + np.concatenate([[0.0], np.cumsum((kappa[1:] + kappa[:-1]) / 2.0 * ds)])
    middle = (heading[1:] + heading[:-1]) / 2.0
    x = start[0] + np.concatenate([[0.0], np.cumsum(np.cos(middle) * ds)])
    y = start[1] + np.concatenate([[0.0], np.cumsum(np.sin(middle) * ds)])
    xy = np.stack([x, y], axis=-1)[::FINE]
    return Curve(xy, heading[::FINE], kappa[::FINE], fine[::FINE])


def arc(centre: Sequence[float], radius: float, begin: float, end: float) -> Curve:
    """A circle's arc, counter-clockwise from polar angle ``begin`` to ``end`` [rad]."""
    count = 2 * max(int(np.ceil(radius * (end - begin) / STEP_M / 2.0)), 1)
    phi = np.linspace(begin, end, count + 1)
    xy = np.asarray(centre) + radius * np.stack([np.cos(phi), np.sin(phi)], axis=-1)
    return Curve(xy, phi + np.pi / 2, np.full(count + 1, 1.0 / radius), radius * (phi - begin))


def connect(
    start: tuple[Float[Array, 2], float, float],
    end: tuple[Float[Array, 2], float, float],
    *,
    stretch: float = 1.0,
) -> Curve:
    """The quintic Hermite curve between two poses, equal to them in heading and curvature.

    Args:
        start: Point [m], heading [rad], curvature [1/m], as :meth:`Curve.at` gives them.
        end: Likewise.
        stretch: Factor on the end derivatives; more keeps straight for longer.
    """
    (p0, yaw0, k0), (p1, yaw1, k1) = start, end
    chord = float(np.linalg.norm(p1 - p0))
    turn = abs(float(np.angle(np.exp(1j * (yaw1 - yaw0)))))
    # An arc over the chord would be this long; its speed keeps the curve near that arc.
    speed = stretch * chord * (turn / 2.0 / np.sin(turn / 2.0) if turn > 1e-3 else 1.0)
    d0 = speed * np.array([np.cos(yaw0), np.sin(yaw0)])
    d1 = speed * np.array([np.cos(yaw1), np.sin(yaw1)])
    a0 = speed**2 * k0 * np.array([-np.sin(yaw0), np.cos(yaw0)])
    a1 = speed**2 * k1 * np.array([-np.sin(yaw1), np.cos(yaw1)])
    gap = p1 - p0
    c3 = 10 * gap - 6 * d0 - 4 * d1 - 1.5 * a0 + 0.5 * a1
    c4 = -15 * gap + 8 * d0 + 7 * d1 + 1.5 * a0 - a1
    c5 = 6 * gap - 3 * d0 - 3 * d1 - 0.5 * a0 + 0.5 * a1

    def position(u: Array) -> Array:
        u = u[:, None]
        return p0 + d0 * u + a0 / 2 * u**2 + c3 * u**3 + c4 * u**4 + c5 * u**5

    u = np.linspace(0.0, 1.0, 801)
    along = _along(position(u))
    count = 2 * max(int(np.ceil(along[-1] / STEP_M / 2.0)), 2)
    u = np.interp(np.linspace(0.0, along[-1], count + 1), along, u)
    w = u[:, None]
    first = d0 + a0 * w + 3 * c3 * w**2 + 4 * c4 * w**3 + 5 * c5 * w**4
    second = a0 + 6 * c3 * w + 12 * c4 * w**2 + 20 * c5 * w**3
    pace = np.linalg.norm(first, axis=1)
    kappa = (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / pace**3
    xy = position(u)
    xy[0], xy[-1] = p0, p1
    return Curve(xy, np.unwrap(np.arctan2(first[:, 1], first[:, 0])), kappa, _along(xy))
