"""Pedestrians: they keep to footways, wait at kerbs, and cross when they may and can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from geometry.arrays import Array
from simulation import traffic_kernels as kernels
from simulation.roads import Network
from simulation.signals import SignalPlan

SLOTS_M = (-1.35, -0.45)  # beside each other on a footway, to the right of its middle
SPEEDING_UP = 1.0  # [m/s²]


@dataclass(slots=True, eq=False)
class Walker:
    """One pedestrian.

    Attributes:
        uid: Unique among all agents.
        xy: The way, in the direction of walking [m].
        along: Distance of its points [m].
        crossings: (crosswalk, begin, end, whether from the crosswalk's ``begin``) along the way.
        s: How far along [m].
        pace: Wanted speed [m/s].
        speed: [m/s].
        slot: Offset to the left of the way [m].
        size: (length, width, height) [m].
        crossing: Crosswalk that it is on or waits at, −1 for none.
        waiting: Whether it still stands at the kerb.
        patience: Margin it wants to the next vehicle [s].
        yaw: Heading [rad].
        at: Position [m].
    """

    uid: int
    xy: Float[Array, "points 2"]
    along: Float[Array, " points"]
    crossings: list[tuple[int, float, float, bool]]
    s: float
    pace: float
    speed: float
    slot: float
    size: tuple[float, float, float]
    patience: float
    crossing: int = -1
    waiting: bool = False
    yaw: float = 0.0
    at: Float[Array, 2] = field(default_factory=lambda: np.zeros(2))

    def place(self) -> None:
        """Position and heading from ``s``."""
        x, y, self.yaw = kernels.standing_at(self.xy, self.along, self.s, self.slot)
        self.at = np.array([x, y])


def spawn(
    network: Network, rng: np.random.Generator, *, uid: int, near: float, pace: float
) -> Walker | None:
    """A pedestrian somewhere on a footway within ``near`` of the middle, or None if there is none.

    Args:
        network: Whose footways.
        rng: Source of chance.
        uid: Of the new pedestrian.
        near: Radius [m].
        pace: Factor on the wanted speed.
    """
    if not network.walks:
        return None
    crossing = [w for w in network.walks if w.crossings]
    some = crossing if crossing and rng.random() < 0.5 else list(network.walks)
    walk = some[int(rng.integers(len(some)))]
    xy = walk.xy
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(xy, axis=0), axis=1))])
    total = float(along[-1])
    spans = [(k, a, b) for k, a, b in walk.crossings]
    back = bool(rng.random() < 0.5)
    if back:
        xy, along = np.ascontiguousarray(xy[::-1]), total - along[::-1]
        spans = [(k, total - b, total - a) for k, a, b in reversed(spans)]
    crossings = []
    for k, a, b in spans:
        start = np.array([np.interp(a, along, xy[:, i]) for i in range(2)])
        crosswalk = network.crosswalks[k]
        forward = np.linalg.norm(start - crosswalk.begin) < np.linalg.norm(start - crosswalk.end)
        crossings.append((k, a, b, bool(forward)))
    inside = np.flatnonzero(np.linalg.norm(xy, axis=1) < near)
    if len(inside) == 0:
        return None
    if crossings:  # come from up to 25 m before the kerb
        s = max(crossings[0][1] - float(rng.uniform(1.0, 30.0)), 0.0)
    else:
        s = float(along[inside[int(rng.integers(len(inside)))]])
    walker = Walker(
        uid=uid, xy=xy, along=along, crossings=crossings, s=s,
        pace=float(rng.uniform(1.0, 1.65)) * pace, speed=1.2,
        slot=float(rng.choice(SLOTS_M)),
        size=(float(rng.uniform(0.4, 0.6)), float(rng.uniform(0.5, 0.65)), float(rng.uniform(1.5, 1.9))),
        patience=float(rng.uniform(1.0, 2.5)),
    )  # fmt: skip
    walker.place()
    return walker


def walk(
    walkers: list[Walker],
    *,
    signals: SignalPlan | None,
    network: Network,
    t: float,
    dt: float,
    safe: Callable[[int, Walker, float], bool],
) -> None:
    """Move everyone on foot by one step.

    Args:
        walkers: Those on foot; changed in place.
        signals: The plan of the lights, if any.
        network: With the crosswalks.
        t: Time [s].
        dt: Step [s].
        safe: Whether traffic lets (crosswalk, walker, seconds to cross) happen.
    """
    if not walkers:
        return
    at = np.array([w.at for w in walkers])
    for row, walker in enumerate(walkers):
        want = walker.pace
        walker.crossing, walker.waiting = -1, False
        for k, begin, end, _ in walker.crossings:
            if begin - 0.3 < walker.s < end + 0.5:
                walker.crossing = k
                want = max(want, 1.3)
            elif begin - 1.2 < walker.s <= begin - 0.3:
                duration = (end - begin) / max(walker.pace, 1.2)
                crosswalk = network.crosswalks[k]
                may = all(
                    signals is not None and signals.red_for(g, t) > duration + 0.5
                    for g in crosswalk.groups
                )
                if not may or not safe(k, walker, duration):
                    want = 0.0
                    walker.crossing, walker.waiting = (k, True) if may else (-1, False)
        change = min(max(want - walker.speed, -4.0 * dt), SPEEDING_UP * dt)
        walker.s, walker.slot, walker.speed, x, y, walker.yaw = kernels.walked(
            walker.xy, walker.along, walker.s, walker.slot, max(walker.speed + change, 0.0), dt,
            at, row,
        )  # fmt: skip
        walker.at = np.array([x, y])
