"""How real simulated traffic looks: the WOSAC 2025 realism meta-metric, from its features.

A feature of the rollouts makes a distribution; the metric asks how likely the logged value is in it
(Montali et al. 2023, "The Waymo Open Sim Agents Challenge"). Histograms are taken per agent over all
rollouts and steps; collisions, leaving the road and running a red light are Bernoulli, whether it
ever happened. Per feature, exp of the mean log-likelihood over all evaluated agents and valid steps;
the scenario's score is their weighted sum. Scenarios are averaged.

The truth scores below 1: even 32 copies of the log spread over the bins of a histogram (.832 on
Waymo's own data; random agents .485). The features are those of :mod:`simulation.realism_features`.
``benchmarks/realism_official.py`` sets both beside Waymo's own code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from geometry.arrays import Array
from simulation.realism_features import Features


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How one feature is estimated.

    Attributes:
        low: Values below fall into the first bin.
        high: Values above fall into the last.
        bins: How many, all as wide.
        pseudocount: Added to each, so that nothing is impossible.
        weight: In the meta-metric.
    """

    low: float
    high: float
    bins: int
    weight: float
    pseudocount: float = 0.1


def _ever(weight: float) -> Histogram:
    return Histogram(low=-0.5, high=1.5, bins=2, weight=weight, pseudocount=0.001)


FEATURES: Mapping[str, Histogram] = {
    "linear_speed": Histogram(low=0.0, high=25.0, bins=10, weight=0.05),
    "linear_acceleration": Histogram(low=-12.0, high=12.0, bins=11, weight=0.05),
    "angular_speed": Histogram(low=-0.628, high=0.628, bins=11, weight=0.05),
    "angular_acceleration": Histogram(low=-3.14, high=3.14, bins=11, weight=0.05),
    "distance_to_nearest_object": Histogram(low=-5.0, high=40.0, bins=10, weight=0.10),
    "collision_indication": _ever(0.25),
    "time_to_collision": Histogram(low=0.0, high=5.0, bins=10, weight=0.10),
    "distance_to_road_edge": Histogram(low=-20.0, high=40.0, bins=10, weight=0.05),
    "offroad_indication": _ever(0.25),
    "traffic_light_violation": _ever(0.05),
}
"""The configuration of the 2025 Sim Agents challenge; the weights sum to 1."""


def likelihoods(logged: Features, simulated: Features) -> dict[str, float]:
    """How likely each logged feature is among the rollouts, in (0, 1].

    Args:
        logged: Of one rollout, the log itself; its validity says which steps count.
        simulated: Of the rollouts, the same agents and steps.

    Returns:
        By the names of :data:`FEATURES`; a feature of which no step is valid is left out.
    """
    valid = logged.valid[0]
    speed = _both_neighbours(valid)
    vehicle = valid & logged.vehicle[:, None]
    counts: dict[str, Bool[Array, "agents steps"]] = {
        "linear_speed": speed,
        "angular_speed": speed,
        "linear_acceleration": _both_neighbours(speed),
        "angular_acceleration": _both_neighbours(speed),
        "distance_to_nearest_object": valid,
        "time_to_collision": vehicle,
        "distance_to_road_edge": valid,
    }
    ever = {
        "collision_indication": ("distance_to_nearest_object", valid),
        "offroad_indication": ("distance_to_road_edge", valid),
        "traffic_light_violation": ("red_light", vehicle),
    }
    made: dict[str, float] = {}
    for name, histogram in FEATURES.items():
        if name in ever:
            source, mask = ever[name]
            there, seen = (
                (_happens(source, getattr(of, source)) & mask).any(axis=-1)[..., None]
                for of in (simulated, logged)
            )
            of_log = log_likelihood(histogram, seen[0].astype(float), there.astype(float))
            mask = np.ones_like(of_log, dtype=bool)
        else:
            mask = counts[name]
            of_log = log_likelihood(histogram, getattr(logged, name)[0], getattr(simulated, name))
        if mask.any():
            made[name] = float(np.exp(of_log[mask].mean()))
    return made


def meta_metric(likelihood: Mapping[str, float]) -> float:
    """The weighted mean over the features that are known."""
    weights = {name: FEATURES[name].weight for name in likelihood}
    return sum(weights[n] * v for n, v in likelihood.items()) / sum(weights.values())


def log_likelihood(
    histogram: Histogram,
    logged: Float[Array, "agents steps"],
    simulated: Float[Array, "rollouts agents some"],
) -> Float[Array, "agents steps"]:
    """Log of the share of an agent's simulated values that lie in the bin of the logged one."""
    agents, size = len(logged), histogram.bins
    rows = np.arange(agents)[:, None]
    flat = (np.arange(agents)[None, :, None] * size + _bins(histogram, simulated)).ravel()
    counts = np.bincount(flat, minlength=agents * size).reshape(agents, size)
    share = (counts + histogram.pseudocount) / (
        counts.sum(axis=1, keepdims=True) + size * histogram.pseudocount
    )
    return np.log(share)[rows, _bins(histogram, logged)]


def _bins(histogram: Histogram, value: Array) -> Array:
    # Waymo's histogram counts what is not a number (differences at the ends of a drive) into the last bin.
    clipped = np.clip(np.nan_to_num(value, nan=np.inf), histogram.low, histogram.high)
    width = (histogram.high - histogram.low) / histogram.bins
    return np.minimum(((clipped - histogram.low) / width).astype(np.int64), histogram.bins - 1)


def _both_neighbours(valid: Array) -> Array:
    """Where both the step before and the one after are valid: a central difference is known."""
    known = np.zeros_like(valid)
    known[:, 1:-1] = valid[:, 2:] & valid[:, :-2]
    return known


def _happens(source: str, value: Array) -> Array:
    if source == "red_light":
        return value
    return value < 0.0 if source == "distance_to_nearest_object" else value > 0.0
