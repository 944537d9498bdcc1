"""The population of drivers: who drives what, and how each differs from the next.

Everyone draws parameters of their own from :data:`KINDS`, once:

* along the road those of the Intelligent Driver Model. City and motorway drivers are described by
  T = 1.0 s, s₀ = 2 m, a = 1.0 m/s², b = 1.5 m/s² (Treiber and Kesting, Traffic Flow Dynamics, 2013,
  table 11.2); headways are spread log-normally (Chen, Li and Zhang 2010, on NGSIM), and free speeds
  normally, by a tenth about the limit (Fitzpatrick et al., NCHRP report 504, 2003);
* a restless foot: an acceleration that comes and goes within seconds and that no leader explains
  (Laval, Toth and Zhou 2014); it makes gaps open and close as they do on real roads;
* across the lane a place of one's own, and a slow drift about it: the lateral position of a sober
  driver varies by about 0.2 m while it stays in lane (Verster and Roth 2011).

Restlessness and drift are sums of three waves with phases of the driver's own, one over time, the
other over the way driven, so that they cost no random numbers while traffic runs, have smooth
derivatives, and stand still where the vehicle does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from geometry.arrays import Array
from schemas.labels import AgentClass

WAVES = np.array([0.62, 1.0, 1.57])
"""Frequencies of the three waves relative to the base."""
FOOT_PERIOD_S = 11.0
FOOT_SIGMA = 0.48  # [m/s²] standard deviation of an average driver's restlessness
DRIFT_WAY_M, DRIFT_PERIOD_S = 70.0, 9.0  # the longer of way and way driven in the time is a wave
DRIFT_SIGMA_M = 0.18
PLACE_SIGMA_M = 0.38  # between drivers
EDGE_M = 0.1  # kept free at either side of the lane
NARROW_M, NARROWING_M = 0.2, 25.0  # room in junctions, and over what way it shrinks to that


@dataclass(frozen=True, slots=True)
class Spread:
    """A log-normal distribution cut off at both ends: a value outside is drawn again.

    Attributes:
        median: In the parameter's unit.
        sigma: Of the logarithm.
        low: Smallest value.
        high: Largest value.
    """

    median: float
    sigma: float
    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        """One value."""
        while True:
            value = self.median * float(np.exp(self.sigma * rng.standard_normal()))
            if self.low <= value <= self.high:
                return value


@dataclass(frozen=True, slots=True)
class Kind:
    """Dimensions and habits of a class of road users.

    Attributes:
        cls: Class.
        length: Range of lengths [m].
        width: Range of widths [m].
        height: Range of heights [m].
        headway: IDM's T [s].
        acceleration: IDM's a₀ [m/s²].
        braking: IDM's b [m/s²].
        eagerness: Wanted speed, as a factor on what limit and bends allow an average driver.
    """

    cls: AgentClass
    length: tuple[float, float]
    width: tuple[float, float]
    height: tuple[float, float]
    headway: Spread
    acceleration: Spread
    braking: Spread
    eagerness: Spread


KINDS = (
    Kind(AgentClass.VEHICLE, (3.9, 5.1), (1.75, 2.0), (1.42, 1.85), Spread(1.05, 0.35, 0.5, 2.5),
         Spread(1.5, 0.25, 0.9, 2.6), Spread(2.0, 0.25, 1.3, 3.2), Spread(0.96, 0.12, 0.7, 1.15)),
    Kind(AgentClass.TRUCK, (6.5, 9.5), (2.3, 2.5), (2.8, 3.7), Spread(1.5, 0.3, 0.9, 2.8),
         Spread(0.85, 0.2, 0.6, 1.2), Spread(1.8, 0.2, 1.3, 2.4), Spread(0.84, 0.07, 0.7, 0.95)),
    Kind(AgentClass.BUS, (10.5, 12.3), (2.5, 2.55), (3.0, 3.3), Spread(1.5, 0.3, 0.9, 2.8),
         Spread(0.9, 0.15, 0.7, 1.2), Spread(1.7, 0.2, 1.2, 2.2), Spread(0.84, 0.07, 0.7, 0.95)),
    Kind(AgentClass.MOTORCYCLE, (2.0, 2.3), (0.75, 0.9), (1.4, 1.7), Spread(1.0, 0.3, 0.5, 2.0),
         Spread(2.0, 0.2, 1.4, 3.0), Spread(2.4, 0.2, 1.8, 3.2), Spread(1.0, 0.08, 0.8, 1.15)),
    Kind(AgentClass.CYCLIST, (1.7, 1.9), (0.55, 0.7), (1.6, 1.85), Spread(1.1, 0.25, 0.7, 2.0),
         Spread(0.8, 0.2, 0.5, 1.2), Spread(1.7, 0.15, 1.3, 2.2), Spread(0.97, 0.05, 0.9, 1.1)),
)  # fmt: skip
SHARES = np.array([0.83, 0.08, 0.04, 0.05])
"""Of the first four kinds among motor traffic."""


def draw_habit(rng: np.random.Generator) -> Float[Array, " 10"]:
    """One driver's restlessness and drift: the numbers that :func:`foot` and :func:`drift` take.

    Three phases of the foot [rad], three of the drift [rad], amplitude of a wave of the foot
    [m/s²], base frequency of the foot [rad/s], place in the lane to the left of its middle [m],
    and amplitude of a wave of the drift [m].
    """
    phases = rng.uniform(0.0, 2.0 * np.pi, 6)
    lively, loose = np.exp(0.35 * rng.standard_normal(2))
    rhythm = 2.0 * np.pi / (FOOT_PERIOD_S * float(np.exp(0.25 * rng.standard_normal())))
    wave = np.sqrt(2.0 / len(WAVES))  # three of these amplitudes have unit variance together
    place = float(np.clip(PLACE_SIGMA_M * rng.standard_normal(), -1.0, 1.0))
    return np.array([*phases, wave * FOOT_SIGMA * min(lively, 1.8), rhythm, place,
                     wave * DRIFT_SIGMA_M * min(loose, 1.8)])  # fmt: skip


def foot(habit: Float[Array, "rows 10"], t: float) -> Float[Array, " rows"]:
    """Acceleration that nothing explains [m/s²]."""
    angle = habit[:, 7, None] * WAVES * t + habit[:, 0:3]
    return habit[:, 6] * np.sin(angle).sum(axis=1)


def drift(
    habit: Float[Array, "rows 10"],
    progress: Float[Array, " rows"],
    rate: Float[Array, " rows"],
    room: Float[Array, " rows"],
    narrowing: Float[Array, " rows"],
) -> tuple[Float[Array, " rows"], Float[Array, " rows"]]:
    """Offset to the left of the lane's middle [m], and its slope against the way driven.

    A hyperbolic tangent keeps it within the room there is: d = r tanh(w / r).

    Args:
        habit: As drawn.
        progress: Angle of the base wave, see :func:`drift_rate` [rad].
        rate: By which the angle grows with the way [rad/m].
        room: Largest offset that there is room for [m], more than 0.
        narrowing: Slope of the room against the way driven.
    """
    angle = progress[:, None] * WAVES + habit[:, 3:6]
    free = habit[:, 8] + habit[:, 9] * np.sin(angle).sum(axis=1)
    slope = habit[:, 9] * (np.cos(angle) * WAVES).sum(axis=1) * rate
    ratio = free / room
    bent = np.tanh(ratio)
    eased = 1.0 - bent**2
    return room * bent, eased * slope + (bent - ratio * eased) * narrowing


def drift_rate(speed: Float[Array, " rows"]) -> Float[Array, " rows"]:
    """Angle of the base wave of the drift for each metre driven [rad/m]; slower at speed."""
    return 2.0 * np.pi / np.maximum(DRIFT_WAY_M, DRIFT_PERIOD_S * speed)
