"""Cars parked at the kerb, of which now and then one pulls out, and drivers who park in a free place.

Manoeuvres are forwards, where the next place in the way of the swing is free too; who pulls out lets
those who come pass first, and whoever comes later sees it as a leader. They happen on streets without
junction, bike lane or work zone. A car keeps its id: parked it is an
:class:`~simulation.traffic.Obstacle`, driving it has a slot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from schemas.labels import AgentClass
from simulation import traffic_kernels as kernels
from simulation.drivers import EDGE_M, KINDS
from simulation.roads import Network
from simulation.ways import Ways

if TYPE_CHECKING:
    from simulation.traffic import Obstacle, Traffic

EVERY_S = 14.0  # mean time between somebody's wishes to park or to leave, in one street
OCCUPIED = 0.5  # share of places
SWING_M = 12.0  # over which one moves between place and lane
SWING_SPEED = 3.2  # [m/s] at most
SLOWING = 1.3  # [m/s²] before a place
FREE_M = 8.5  # to the next parked car in the way of the swing, from centre to centre, or more
AHEAD_M, BEHIND_M, BEHIND_S = 20.0, 8.0, 3.5  # kept free of others by who pulls out


class Kerbside:
    """The places of a street, who stands in them, and who is on the way out or in.

    Args:
        network: With the places.
        ways: Through it.
    """

    def __init__(self, network: Network, ways: Ways) -> None:
        """Find each place's way, station and offset."""
        self.places = network.parking
        self.car: list[Obstacle | None] = [None] * len(self.places)
        self.willing: set[int] = set()  # ids of those who may leave
        self._leaving: list[int] = []  # ids
        self._arriving: dict[int, int] = {}  # place of each id
        usable = not (len(ways.rank) or network.works or ways.bike.any())
        self.usable = usable and len(self.places) > 0
        self._next = 0.0 if self.usable else np.inf
        self._way = np.zeros(len(self.places), dtype=np.int64)
        self._s, self._d = np.zeros(len(self.places)), np.zeros(len(self.places))
        for k, (x, y, _) in enumerate(self.places if self.usable else ()):
            s, d, _ = kernels.located(ways.x, ways.y, ways.yaw, x, y)
            beside = np.where(ways.against | (d > 0.0), np.inf, -d)
            self._way[k] = beside.argmin()
            self._s[k], self._d[k] = s[self._way[k]], d[self._way[k]]

    def fill(self, traffic: Traffic) -> None:
        """Park cars in half of the places."""
        rng, car = traffic.rng, KINDS[0]
        for k, (x, y, yaw) in enumerate(self.places):
            if rng.random() >= OCCUPIED:
                continue
            length, width, height = (
                float(np.round(rng.uniform(*q), 3)) for q in (car.length, car.width, car.height)
            )
            at = np.array([x, y]) + rng.uniform(-0.15, 0.15, 2)
            turned = float(rng.normal(0.0, 0.02))
            uid = traffic.new_uid()
            if self.usable and rng.random() < 0.4:  # who stands straight sets off straight
                self.willing.add(uid)
                turned = 0.0
            self.car[k] = traffic.park(uid, at, yaw + turned, (length, width, height))

    def step(self, traffic: Traffic) -> None:
        """What begins, goes on and ends; called before everyone moves."""
        for uid in [*self._leaving]:
            i = _slot(traffic, uid)
            if i < 0 or traffic.s_len[i] == 0.0:
                self._leaving.remove(uid)
                if i >= 0:
                    traffic.top[i] = np.inf
        for uid, place in [*self._arriving.items()]:
            self._approach(traffic, uid, place)
        if traffic.t < self._next:
            return
        self._next = traffic.t + float(traffic.rng.exponential(EVERY_S))
        if traffic.obstacles or traffic.crowded:
            return
        if traffic.rng.random() < 0.5:
            self._let_out(traffic)
        else:
            self._let_in(traffic)

    def _free_beside(self, k: int, ahead: float) -> bool:
        """Whether the way of the swing is free: after a place (``ahead`` 1) or before it (−1)."""
        for other, car in enumerate(self.car):
            gone = ahead * (self._s[other] - self._s[k])
            used = car is not None or other in self._arriving.values()
            if used and self._way[other] == self._way[k] and 0.0 < gone < FREE_M:
                return False
        return True

    def _let_out(self, traffic: Traffic) -> None:
        """The first, in an order drawn, who can leave without getting in anybody's way."""
        for k in traffic.rng.permutation(len(self.places)).tolist():
            car = self.car[k]
            if car is None or car.uid not in self.willing or not self._free_beside(k, 1.0):
                continue
            ways, way = traffic.ways, int(self._way[k])
            s, d, _ = (
                float(q[way])
                for q in kernels.located(ways.x, ways.y, ways.yaw, *map(float, car.at))
            )
            rows = np.flatnonzero(
                traffic.alive & ((traffic.way == way) | (traffic.old_way == way))
            )
            gap = traffic.s[rows] - s
            if ((gap < AHEAD_M) & (gap > -BEHIND_M - BEHIND_S * traffic.v[rows])).any():
                continue
            if not 15.0 < s < ways.length[way] - 40.0:
                continue
            self.car[k] = None
            self.willing.discard(car.uid)
            self._leaving.append(car.uid)
            traffic.unpark(car)
            i = traffic.add(KINDS[0], way, s, 0.0)
            traffic.uid[i] = car.uid
            traffic.length[i], traffic.width[i], traffic.height[i] = car.size
            traffic.room[i] = max((ways.width[way] - car.size[1]) / 2 - EDGE_M, 0.05)
            traffic.habit[i, 9] = 0.0  # no drift, whose slope would turn it where it stands
            _, _, drift = kernels.offsets(
                traffic._fleet, traffic._roads, np.array([i]), traffic.habit
            )
            traffic.aside[i] = drift[0]
            traffic.d[i] = d - drift[0]
            traffic.shift(i, float(ways.left[way]), SWING_M)
            traffic.top[i] = SWING_SPEED
            return

    def _let_in(self, traffic: Traffic) -> None:
        """The first who comes by a free place, in an order drawn, and can stop there gently."""
        cars = traffic.alive & (traffic.cls == AgentClass.VEHICLE) & ~traffic.keeps_lane
        cars &= (traffic.s_len == 0.0) & np.isnan(traffic.forced)
        for k in traffic.rng.permutation(len(self.places)).tolist():
            taken = self.car[k] is not None or k in self._arriving.values()
            if taken or not self._free_beside(k, -1.0):
                continue
            rows = np.flatnonzero(cars & (traffic.way == self._way[k]))
            v, rest = traffic.v[rows], self._s[k] - traffic.s[rows] - SWING_M
            able = rest > np.maximum(v * v - SWING_SPEED**2, 0.0) / (2.0 * SLOWING) + v + 2.0
            able &= (rest < 70.0) & (v > 2.0)
            if able.any():
                i = int(rows[able][rest[able].argmin()])
                self._arriving[int(traffic.uid[i])] = k
                traffic.keeps_lane[i] = True
                return

    def _approach(self, traffic: Traffic, uid: int, k: int) -> None:
        """Slow down before the place, swing into it, and stand there."""
        i = _slot(traffic, uid)
        if i < 0:
            del self._arriving[uid]
            return
        v, rest = float(traffic.v[i]), float(self._s[k] - traffic.s[i])
        if rest > SWING_M:
            need = (v * v - SWING_SPEED**2) / (2.0 * max(rest - SWING_M, 0.5))
            traffic.forced[i] = -need if need > 0.7 * SLOWING else np.nan
            return
        if traffic.d_to[i] >= 0.0:
            traffic.shift(i, float(self._d[k] - traffic.aside[i]), max(rest, 8.0))
        traffic.forced[i] = -v * v / (2.0 * max(rest, 0.05)) if v > 0.5 or rest < 1.0 else 0.5
        if v == 0.0 and rest < 1.5:
            x, y, yaw = (float(q[0]) for q in traffic.poses(np.array([i])))
            size = (float(traffic.length[i]), float(traffic.width[i]), float(traffic.height[i]))
            self.car[k] = traffic.park(uid, np.array([x, y]), yaw, size)
            traffic.alive[i] = False
            del self._arriving[uid]


def _slot(traffic: Traffic, uid: int) -> int:
    """Slot of a vehicle that is there, −1 for none."""
    found = np.flatnonzero(traffic.alive & (traffic.uid == uid))
    return int(found[0]) if len(found) else -1
