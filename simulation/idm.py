"""The Intelligent Driver Model: how hard to accelerate behind a leader (Treiber et al. 2000).

a = a₀ [1 − (v / v₀)⁴ − (s* / s)²],   s* = s₀ + max(0, v T + v Δv / (2 √(a₀ b)))
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from geometry.arrays import Array

EXPONENT = 4.0
GAP_FLOOR_M = 0.1
BRAKE_MAX = 8.0  # [m/s²] what dry asphalt gives
DESIRED_FLOOR = 5.0  # [m/s] of anyone in traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Idm:
    """Parameters of the model.

    Attributes:
        gap: Bumper to bumper at standstill, s₀ [m].
        headway: T [s].
        acceleration: a₀ [m/s²].
        braking: Comfortable deceleration b, positive [m/s²].
    """

    gap: float = 1.0
    headway: float = 1.5
    acceleration: float = 1.5
    braking: float = 3.0


EGO = Idm()
"""As PDM-Closed drives (Dauner et al. 2023)."""

TRAFFIC = Idm(acceleration=1.0, braking=2.0)
"""As nuPlan's reactive agents drive."""


def free(
    speed: Float[Array, "*rows"], desired: Float[Array, "*rows"], idm: Idm
) -> Float[Array, "*rows"]:
    """Acceleration with nobody ahead; above the desired speed, at most comfortable braking.

    Args:
        speed: [m/s].
        desired: v₀ [m/s].
        idm: Parameters.
    """
    ratio = speed / np.maximum(desired, 0.1)
    return np.maximum(idm.acceleration * (1.0 - ratio**EXPONENT), -idm.braking)


def interaction(
    speed: Float[Array, "*rows"],
    gap: Float[Array, "*rows"],
    leader_speed: Float[Array, "*rows"],
    idm: Idm,
) -> Float[Array, "*rows"]:
    """What a leader takes from the free acceleration, a₀ (s* / s)² [m/s²].

    Args:
        speed: [m/s].
        gap: Bumper to bumper [m].
        leader_speed: Along the follower's way, negative if oncoming [m/s].
        idm: Parameters.
    """
    root = 2.0 * np.sqrt(idm.acceleration * idm.braking)
    wanted = idm.gap + np.maximum(0.0, speed * idm.headway + speed * (speed - leader_speed) / root)
    return np.asarray(idm.acceleration * (wanted / np.maximum(gap, GAP_FLOOR_M)) ** 2)


def equilibrium_gap(speed: float, desired: float, idm: Idm) -> float:
    """Gap at which a follower neither gains nor falls back, s* / √(1 − (v/v₀)⁴) [m]."""
    wanted = idm.gap + speed * idm.headway
    return float(wanted / np.sqrt(1.0 - (speed / desired) ** EXPONENT))
