"""What is known of a log because it was made: who moved how, and which rare behaviours happen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from geometry.arrays import Array
from geometry.boxes import overlap
from schemas.labels import AgentClass, Daylight, Weather
from simulation.kernels import compiled


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A rare behaviour that happens in a log.

    Attributes:
        name: As in ``simulation.rare.BEHAVIOURS``.
        actors: Source track ids, whoever does it first; the ego is ``"ego"``.
        t0_ns: Begin, since the log began [ns].
        t1_ns: End [ns].
        measure: What was measured of it, by name, in SI units.
    """

    name: str
    actors: tuple[str, ...]
    t0_ns: int
    t1_ns: int
    measure: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Motion:
    """The true motion of everyone, seen or not, in the world frame; the ego comes first.

    Attributes:
        source_track_id: Of each agent; the ego's is ``"ego"``.
        cls: Of each agent.
        source_cls: Likewise, in the words that logs of the world are written in.
        size: (length, width, height) [m].
        xy: [m].
        yaw: [rad].
        speed: [m/s].
        acceleration: Along the heading [m/s²].
        present: Whether the agent exists at the step; if not, its other values mean nothing.
        observed: Whether the ego can see it.
    """

    source_track_id: tuple[str, ...]
    cls: tuple[AgentClass, ...]
    source_cls: tuple[str, ...]
    size: Float[Array, "agents 3"]
    xy: Float[Array, "agents steps 2"]
    yaw: Float[Array, "agents steps"]
    speed: Float[Array, "agents steps"]
    acceleration: Float[Array, "agents steps"]
    present: Bool[Array, "agents steps"]
    observed: Bool[Array, "agents steps"]

    @property
    def boxes(self) -> Float[Array, "agents steps 5"]:
        """Oriented boxes, see :mod:`geometry.boxes`."""
        extents = np.repeat(self.size[:, None, :2], self.xy.shape[1], axis=1)
        return np.concatenate([self.xy, self.yaw[..., None], extents], axis=-1)

    def collisions(self) -> list[tuple[int, int]]:
        """Pairs of agents whose boxes ever overlap."""
        boxes = self.boxes
        reach = np.hypot(self.size[:, 0], self.size[:, 1]) / 2.0
        first, second, step = _close_pairs(self.xy, self.present, reach)
        hit = overlap(boxes[first, step], boxes[second, step])
        return sorted(set(zip(first[hit].tolist(), second[hit].tolist(), strict=True)))


@compiled
def _close_pairs(xy: Array, present: Array, reach: Array) -> tuple[Array, Array, Array]:
    """First, second and step of all who come so close that their boxes might overlap."""
    first, second, when = [0], [0], [0]
    stride = np.zeros(len(xy))  # the longest step of each [m]
    for i in range(len(xy)):
        for step in range(1, xy.shape[1]):
            if present[i, step] and present[i, step - 1]:
                dx, dy = xy[i, step, 0] - xy[i, step - 1, 0], xy[i, step, 1] - xy[i, step - 1, 1]
                stride[i] = max(stride[i], math.sqrt(dx * dx + dy * dy))
    for i in range(len(xy)):
        for j in range(i + 1, len(xy)):
            limit, closing, step = reach[i] + reach[j], stride[i] + stride[j] + 1e-3, 0
            while step < xy.shape[1]:
                ahead = 1
                if present[i, step] and present[j, step]:
                    dx, dy = xy[i, step, 0] - xy[j, step, 0], xy[i, step, 1] - xy[j, step, 1]
                    apart = math.sqrt(dx * dx + dy * dy)
                    if apart < limit:
                        first.append(i)
                        second.append(j)
                        when.append(step)
                    else:  # those who are far apart cannot have met for a while
                        ahead = max(1, int(min((apart - limit) / closing, 1e6)))
                step += ahead
    return np.array(first)[1:], np.array(second)[1:], np.array(when)[1:]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """What is known of a log because it was made.

    Attributes:
        seed: That made it.
        road: Kind of road.
        weather: Drawn for it.
        daylight: Drawn for it.
        planted: Rare behaviours that happen.
        motion: Of everyone.
    """

    seed: int
    road: str
    weather: Weather
    daylight: Daylight
    planted: tuple[Planted, ...]
    motion: Motion

    def as_json(self) -> dict[str, Any]:
        """All but the motion, as JSON values; times in nanoseconds since the log began."""
        return {
            "seed": self.seed,
            "road": self.road,
            "weather": self.weather.word,
            "daylight": self.daylight.word,
            "planted": [
                {
                    "name": p.name, "actors": list(p.actors), "t0_ns": p.t0_ns, "t1_ns": p.t1_ns,
                    "measure": {name: round(value, 3) for name, value in p.measure.items()},
                }
                for p in self.planted
            ],
        }  # fmt: skip
