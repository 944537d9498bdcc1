"""Pedestrians: they keep to footways, wait at kerbs, and cross when they may and can."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from geometry.arrays import Array
from simulation import traffic_kernels as kernels
from simulation.roads import Network
from simulation.signals import SignalPlan

SLOTS_M = (-1.35, -0.45)  # beside each other on a footway, to the right of its middle


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


class Crowd:
    """Those on foot as the compiled loops move them.

    What a walker's attributes say that change is copied from here after every step; nobody else
    changes them.

    Args:
        walkers: Those on foot.
        network: With the crosswalks.
    """

    def __init__(self, walkers: list[Walker], network: Network) -> None:
        """Collect what stays the same, and where everyone is."""
        self.walkers = list(walkers)
        self._plan: SignalPlan | None = None
        most = max((len(walk.groups) for walk in network.crosswalks), default=0)
        groups = np.full((len(network.crosswalks), most), -1)
        for k, crosswalk in enumerate(network.crosswalks):
            groups[k, : len(crosswalk.groups)] = crosswalk.groups
        spans = [span for walker in walkers for span in walker.crossings]
        ways = [walker.xy for walker in walkers]
        self.loops = kernels.Crowd(
            state=np.array(
                [
                    (w.s, w.slot, w.speed, w.at[0], w.at[1], w.yaw, w.crossing, w.waiting, w.pace,
                     w.patience, w.uid)
                    for w in walkers
                ], dtype=np.float64,
            ).reshape(-1, 11),
            xy=np.concatenate([np.zeros((0, 2)), *ways]),
            along=np.concatenate([np.zeros(0), *(walker.along for walker in walkers)]),
            first=np.cumsum([0, *(len(xy) for xy in ways)]),
            spans=np.array(spans, dtype=np.float64).reshape(-1, 4),
            first_span=np.cumsum([0, *(len(walker.crossings) for walker in walkers)]),
            groups=groups,
        )  # fmt: skip

    def is_of(self, walkers: list[Walker]) -> bool:
        """Whether these are the ones."""
        return self.walkers == walkers

    def step(
        self, slots: kernels.Slots, tables: kernels.Tables, alive: Array, *,
        signals: SignalPlan | None, t: float, dt: float,
    ) -> None:  # fmt: skip
        """Move everyone on by one step.

        Args:
            slots: The vehicles that one must not step in front of.
            tables: Their ways.
            alive: Which of them are there.
            signals: The plan of the lights, if any.
            t: Time [s].
            dt: Step [s].
        """
        plan = _DARK if signals is None else signals
        now = (t + plan.offset) % plan.cycle
        kernels.walk(slots, tables, alive, self.loops, plan.ends, plan.states, now, dt)
        places = self.loops.state[:, kernels.X : kernels.Y + 1].copy()
        for walker, state, at in zip(
            self.walkers, self.loops.state.tolist(), places, strict=True
        ):  # fmt: skip
            walker.s, walker.slot, walker.speed, _, _, walker.yaw, crossing, waiting, *_ = state
            walker.at, walker.crossing, walker.waiting = at, int(crossing), waiting > 0.0


_DARK = SignalPlan(np.array([1.0]), np.zeros((1, 0), dtype=np.int64), 0.0)
"""No signals: nobody who waits for one ever sees red."""
