"""How long, how deep and how likely: measures that add up over the steps of an encounter."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtr

from geometry.arrays import Array
from schemas.scene import DT


def time_exposed(ttc: Float[Array, "*pairs steps"], *, below: float) -> Float[Array, "*pairs"]:
    """TET: seconds during which the TTC is at or below the threshold (Minderhoud and Bovy 2001)."""
    return np.asarray((ttc <= below).sum(axis=-1) * DT)


def time_integrated(ttc: Float[Array, "*pairs steps"], *, below: float) -> Float[Array, "*pairs"]:
    """TIT = Σ (τ − TTC) Δt where TTC ≤ τ: exposure weighed by its depth [s²] (Minderhoud 2001)."""
    return np.asarray(np.maximum(below - ttc, 0.0).sum(axis=-1) * DT)


def crash_potential(
    deceleration: Float[Array, "*pairs steps"],
    known: Bool[Array, "*pairs steps"],
    *,
    mean: float,
    deviation: float,
    least: float,
    most: float,
) -> Float[Array, "*pairs"]:
    """CPI: mean over the known steps of the chance that the braking there is falls short.

    CPI = Σ P(MADR ≤ DRAC) Δt / T (Cunto and Saccomanno 2007), with the maximum available
    deceleration rate MADR normal, cut off on both sides. 0 where no step is known.

    Args:
        deceleration: DRAC, positive [m/s²].
        known: Steps that count.
        mean: Of the MADR [m/s²].
        deviation: Of the MADR [m/s²].
        least: Nobody brakes less hard than this [m/s²].
        most: Nor harder than this [m/s²].
    """
    low, high = ndtr((least - mean) / deviation), ndtr((most - mean) / deviation)
    asked = np.clip(deceleration, least, most)
    if high > low:
        chance = (ndtr((asked - mean) / deviation) - low) / (high - low)
    else:  # the mean is so far outside that all brake as hard as the bound on its side
        chance = np.where(asked >= np.clip(mean, least, most), 1.0, 0.0)
    count = known.sum(axis=-1)
    return np.asarray(np.where(known, chance, 0.0).sum(axis=-1) / np.maximum(count, 1))
