"""How bad it would be: the change of velocity that a crash would bring."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from geometry.arrays import Array
from schemas.labels import AgentClass

MASS: dict[AgentClass, float] = {
    AgentClass.UNKNOWN: 1500.0, AgentClass.VEHICLE: 1500.0, AgentClass.TRUCK: 12_000.0,
    AgentClass.BUS: 13_000.0, AgentClass.MOTORCYCLE: 280.0, AgentClass.CYCLIST: 90.0,
    AgentClass.PEDESTRIAN: 75.0, AgentClass.ANIMAL: 50.0, AgentClass.OBSTACLE: 50.0,
    AgentClass.OTHER: 1500.0,
}  # fmt: skip
"""By class, with riders and a usual load [kg]; no source tells the mass of a road user."""

_BY_CODE = np.array([MASS[cls] for cls in sorted(AgentClass)])


def mass_of(cls: Int[Array, "*agents"]) -> Float[Array, "*agents"]:
    """Mass by class [kg]."""
    return _BY_CODE[cls]


def delta_v(
    relative_speed: Float[Array, "*pairs"],
    mass: Float[Array, "*#pairs"],
    mass_other: Float[Array, "*#pairs"],
) -> Float[Array, "*pairs"]:
    """Change of one's velocity in a plastic crash: m_o / (m + m_o) · |v − v_o| (Shelby 2011) [m/s].

    Args:
        relative_speed: Magnitude of the difference of the velocities [m/s].
        mass: Of whose change is asked for [kg].
        mass_other: Of the other [kg].
    """
    return mass_other / (mass + mass_other) * relative_speed
