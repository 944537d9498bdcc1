"""Curves of OpenDRIVE: reference lines in the plane, and cubic profiles along them.

ASAM OpenDRIVE 1.8, chapter 9 (geometry). A reference line is a chain of pieces, each a line, an
arc, a spiral (clothoid), a cubic in local coordinates (``poly3``) or a parametric cubic
(``paramPoly3``); s counts metres along it. A profile (elevation, lane offset, width, …) is
f(ds) = a + b ds + c ds² + d ds³ from its own start until the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from geometry.arrays import Array

SAMPLING_ERROR_M = 0.005  # [m] between a curve and the polyline that stands for it
JOINT_M = 1e-7  # [m] before a joint: what holds up to there, not from there on
ARC_LIKE = 1e-12  # [1/m²] change of curvature below which a spiral is an arc
STRAIGHT = 1e-12  # [1/m]
TABLE = 65  # points of the table from arc length to parameter
DEPTH = 16  # times that an interval is halved at most
NEWTON_STEPS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Piecewise cubics of s; before the first piece the first one holds.

    Attributes:
        s: Where each piece begins, ascending [m].
        abcd: Coefficients of each.
    """

    s: Float[Array, " pieces"]
    abcd: Float[Array, "pieces 4"]

    @classmethod
    def of(cls, rows: Sequence[tuple[float, float, float, float, float]]) -> Profile:
        """From (s, a, b, c, d) in any order; of two at one place the later counts."""
        unique = sorted({row[0]: row for row in rows}.values())
        table = np.array(unique, dtype=np.float64).reshape(-1, 5)
        return cls(table[:, 0], table[:, 1:])

    def __bool__(self) -> bool:
        return len(self.s) > 0

    def at(self, s: Float[Array, " many"], *, until: float = np.inf) -> Float[Array, " many"]:
        """Values at stations; no pieces: 0.

        Args:
            s: Stations [m].
            until: The stretch asked for ends here, so that a piece which begins here is not meant.
        """
        if not self:
            return np.zeros(len(s))
        piece = np.searchsorted(self.s, np.minimum(s, until - JOINT_M), side="right") - 1
        piece = np.maximum(piece, 0)
        ds, (a, b, c, d) = s - self.s[piece], self.abcd[piece].T
        value: Float[Array, " many"] = a + ds * (b + ds * (c + ds * d))
        return value


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One piece of a reference line: local x, y and heading after some metres.

    Attributes:
        s: Where it begins [m].
        start: x, y, heading there [m, m, rad].
        length: [m]
        local: Metres along it to (x, y, heading) in the frame of its start.
    """

    s: float
    start: tuple[float, float, float]
    length: float
    local: Callable[[Float[Array, " many"]], tuple[Array, Array, Array]]


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceLine:
    """The chain of pieces."""

    pieces: Sequence[Piece]

    @property
    def length(self) -> float:
        """To the end of the last piece [m]."""
        return max((piece.s + piece.length for piece in self.pieces), default=0.0)

    def at(self, s: Float[Array, " many"]) -> tuple[Float[Array, "many 2"], Float[Array, " many"]]:
        """Points [m] and headings [rad] at stations; the last piece goes on beyond its end."""
        starts = np.array([piece.s for piece in self.pieces])
        which = np.maximum(np.searchsorted(starts, s, side="right") - 1, 0)
        xy, heading = np.empty((len(s), 2)), np.empty(len(s))
        for index in np.unique(which):
            piece, rows = self.pieces[index], which == index
            x0, y0, yaw = piece.start
            u, v, turn = piece.local(s[rows] - piece.s)
            cos, sin = np.cos(yaw), np.sin(yaw)
            xy[rows, 0] = x0 + cos * u - sin * v
            xy[rows, 1] = y0 + sin * u + cos * v
            heading[rows] = yaw + turn
        return xy, heading


def line() -> Callable[[Array], tuple[Array, Array, Array]]:
    """Straight ahead."""
    return lambda ds: (ds, np.zeros_like(ds), np.zeros_like(ds))


def arc(curvature: float) -> Callable[[Array], tuple[Array, Array, Array]]:
    """A circle of constant curvature [1/m], positive to the left."""
    if abs(curvature) < STRAIGHT:
        return line()

    def local(ds: Array) -> tuple[Array, Array, Array]:
        turn = curvature * ds
        # 1 − cos = 2 sin², which does not cancel for small turns.
        return np.sin(turn) / curvature, 2.0 * np.sin(turn / 2.0) ** 2 / curvature, turn

    return local


def spiral(
    begin: float, end: float, length: float
) -> Callable[[Array], tuple[Array, Array, Array]]:
    """A clothoid: curvature grows linearly from ``begin`` to ``end`` [1/m].

    The point is ∫ exp(i (k₀ s + ċ s²/2)) ds, by completing the square a difference of Fresnel
    integrals.
    """
    rate = (end - begin) / length if length > 0.0 else 0.0
    if abs(rate) < ARC_LIKE:
        return arc((begin + end) / 2.0)
    from scipy.special import fresnel

    scale, shift = np.sqrt(np.pi / abs(rate)), begin / rate
    sign = np.sign(rate)

    def integral(s: Array) -> Array:
        sine, cosine = fresnel((s + shift) / scale)
        return np.asarray(scale * (cosine + 1j * sign * sine))

    turned = np.exp(-0.5j * rate * shift**2)

    def local(ds: Array) -> tuple[Array, Array, Array]:
        z = turned * (integral(ds) - integral(np.zeros(1)))
        return z.real, z.imag, ds * (begin + 0.5 * rate * ds)

    return local


def cubic(
    u: Sequence[float], v: Sequence[float], length: float, *, last: float | None
) -> Callable[[Array], tuple[Array, Array, Array]]:
    """A parametric cubic u(p), v(p), run through at even speed.

    Args:
        u: Coefficients a, b, c, d.
        v: Likewise.
        length: Of the piece [m].
        last: Parameter at its end; None: where the arc is as long as the piece.
    """
    pu, pv = np.polynomial.Polynomial(u), np.polynomial.Polynomial(v)
    du, dv = pu.deriv(), pv.deriv()
    nodes, weights = np.polynomial.legendre.leggauss(5)

    def arcs(table: Array) -> Array:
        half = np.diff(table)[:, None] / 2.0
        p = table[:-1, None] + half * (nodes + 1.0)
        return np.concatenate([[0.0], np.cumsum((half * weights * np.hypot(du(p), dv(p))).sum(1))])

    if last is None:
        # An arc is never shorter than its chord along u, so p = length reaches far enough.
        last = length
        for _ in range(NEWTON_STEPS):
            speed = float(np.hypot(du(last), dv(last)))
            last -= float(arcs(np.linspace(0.0, last, TABLE))[-1] - length) / max(speed, 1e-9)
    table = np.linspace(0.0, last, TABLE)
    along = arcs(table)
    stretch = along[-1] / length if length > 0.0 else 1.0

    def local(ds: Array) -> tuple[Array, Array, Array]:
        wanted = ds * stretch
        p = np.interp(wanted, along, table)
        # Newton's step on the arc length within the table's interval, to micrometres.
        place = np.clip(np.searchsorted(along, wanted, side="right") - 1, 0, TABLE - 2)
        half = (p - table[place])[:, None] / 2.0
        inner = table[place][:, None] + half * (nodes + 1.0)
        reached = along[place] + (half * weights * np.hypot(du(inner), dv(inner))).sum(1)
        speed = np.hypot(du(p), dv(p))
        p = p + np.where(speed > 1e-9, (wanted - reached) / np.maximum(speed, 1e-9), 0.0)
        return pu(p), pv(p), np.arctan2(dv(p), du(p))

    return local


def sampled(
    lines_at: Callable[[Float[Array, " many"]], Float[Array, "lines many 3"]],
    knots: Float[Array, " knots"],
) -> Float[Array, " stations"]:
    """Stations at which polylines through some lines stay within ``SAMPLING_ERROR_M`` of them.

    Every interval is halved until the lines' points at its quarters lie near their chords.

    Args:
        lines_at: The lines at stations.
        knots: Stations that must be there, such as where polynomials begin; two or more [m].
    """
    s = np.unique(knots)
    done = np.zeros(0)
    for _ in range(DEPTH):
        width = np.diff(s)
        quarters = (s[:-1, None] + width[:, None] * [0.25, 0.5, 0.75]).ravel()
        ends = lines_at(s)
        between = lines_at(quarters).reshape(len(ends), len(width), 3, 3)
        chord = (ends[:, 1:] - ends[:, :-1])[:, :, None]
        offset = between - ends[:, :-1, None]
        long = np.maximum((chord**2).sum(-1), 1e-18)
        along = np.clip((offset * chord).sum(-1) / long, 0.0, 1.0)
        error = np.linalg.norm(offset - along[..., None] * chord, axis=-1).max(axis=(0, 2))
        bent = error > SAMPLING_ERROR_M
        if not bent.any():
            return np.union1d(done, s)
        done = np.union1d(done, s)
        middle = (s[:-1] + width / 2.0)[bent]
        # Only the halves of what was bent are looked at again.
        s = np.unique(np.concatenate([s[:-1][bent], middle, s[1:][bent]]))
        done = np.union1d(done, s)
    return done
