"""The compiled loops of traffic against plain versions of the same, on traffic in full flow."""

from functools import lru_cache

import numpy as np
import pytest

from geometry.boxes import overlap
from simulation import traffic_kernels as kernels
from simulation.drivers import drift, drift_rate, foot
from simulation.idm import Idm, free, interaction
from simulation.roads import build
from simulation.traffic import Climate, Traffic
from simulation.traffic_kernels import FAR
from simulation.truth import Motion
from simulation.world import choose_egos, motion_of, record, warm_traffic

ROADS = ("highway", "straight", "signalled")


@lru_cache
def flowing(kind: str) -> Traffic:
    rng = np.random.default_rng(17)
    return warm_traffic(build(kind, rng), rng, Climate())


def there(traffic: Traffic) -> np.ndarray:
    return np.flatnonzero(traffic.alive)


@pytest.mark.parametrize("kind", ROADS)
def test_leaders_are_the_nearest_ahead_on_the_way(kind: str) -> None:
    """Looked for pair by pair, from where everybody stands on everybody's way."""
    traffic = flowing(kind)
    rows, ways = there(traffic), traffic.ways
    lane, along = traffic.lane_of(rows)
    gap, _, leader = traffic.leaders(rows, way=traffic.way[rows], s=traffic.s[rows])
    for k, i in enumerate(rows):
        way, best = traffic.way[i], FAR
        for j, (on, at) in enumerate(zip(lane, along, strict=True)):
            offset = ways.offset[way, on]
            if rows[j] == i or np.isnan(offset):
                continue
            if not ways.lowest[way, on] <= at <= ways.highest[way, on]:
                continue
            ahead = offset + ways.sign[way, on] * at - traffic.s[i]
            if ahead > 0.0:
                best = min(best, ahead - (traffic.length[i] + traffic.length[rows[j]]) / 2)
        assert gap[k] <= best + 1e-9  # a vehicle over two lanes is in the second, too
        if gap[k] < best - 1e-9 and best < FAR:
            reach = abs(traffic.d[leader[k]] + traffic.aside[leader[k]])
            lane_width = ways.width[traffic.way[leader[k]]]
            assert reach + traffic.width[leader[k]] / 2 > lane_width / 2


@pytest.mark.parametrize("kind", ROADS)
def test_drift_and_restlessness_are_the_formulas(kind: str) -> None:
    traffic = flowing(kind)
    rows, ways = there(traffic), traffic.ways
    still = rows[(traffic.s_len[rows] == 0.0)]
    open_road = traffic.s[still] < ways.enter[traffic.way[still]] - 60.0
    rows = still[open_road]  # where there is all the room there is
    assert len(rows)
    d, slope, aside = kernels.offsets(traffic._fleet, traffic._roads, rows, traffic.habit)
    rate, nothing = drift_rate(traffic.v[rows]), np.zeros(len(rows))
    wanted = drift(traffic.habit[rows], traffic.progress[rows], rate, traffic.room[rows], nothing)
    assert np.allclose(aside, wanted[0], atol=1e-12)
    assert np.allclose(slope, wanted[1], atol=1e-12)
    assert np.allclose(d - aside, traffic.d_to[rows], atol=1e-12)
    told = kernels.restless(
        traffic._fleet, traffic._roads, rows, traffic.habit, nothing, traffic.t
    )
    calm = np.clip(traffic.v[rows] / 4.0 - 0.25, 0.0, 1.0)
    assert np.allclose(told, calm * foot(traffic.habit[rows], traffic.t), atol=1e-12)


@pytest.mark.parametrize("kind", ROADS)
def test_wishes_are_those_of_idm(kind: str) -> None:
    """Behind a leader that is met with all of IDM: nearer than 1.5 m."""
    traffic = flowing(kind)
    rows = there(traffic)
    rng = np.random.default_rng(0)
    wanted, gap = rng.uniform(5.0, 30.0, len(rows)), rng.uniform(0.2, 1.5, len(rows))
    speed, halt = rng.uniform(0.0, 20.0, len(rows)), rng.uniform(5.0, 90.0, len(rows))
    free_a, push, stop = kernels.wishes(traffic._fleet, rows, wanted, gap, speed, rows, halt)
    v = traffic.v[rows]
    for k, i in enumerate(rows):
        driver = Idm(
            gap=traffic.gap[i], headway=traffic.headway[i], acceleration=traffic.power[i],
            braking=traffic.braking[i],
        )  # fmt: skip
        alone = free(v[k : k + 1], wanted[k : k + 1], driver)[0]
        held = interaction(v[k : k + 1], halt[k : k + 1], np.zeros(1), driver)[0]
        taken = interaction(v[k : k + 1], gap[k : k + 1], speed[k : k + 1], driver)[0]
        assert free_a[k] == pytest.approx(alone, rel=1e-12)
        assert stop[k] == pytest.approx(held, rel=1e-12)
        assert push[k] == pytest.approx(max(taken, held), rel=1e-9, abs=1e-9)


def test_collisions_are_all_that_boxes_say() -> None:
    """Pair by pair and step by step, on traffic whose boxes are made too large."""
    traffic = flowing("signalled")
    ego = choose_egos(traffic, 4.0)[0]
    steps, _ = record(traffic, None, 41)
    motion = motion_of(traffic, int(traffic.uid[ego]), steps, 7)
    names = {name: getattr(motion, name) for name in Motion.__slots__}
    wide = Motion(**{**names, "size": motion.size * np.array([2.5, 2.5, 1.0])})
    boxes, found = wide.boxes, set()
    for i in range(len(boxes)):
        for j in range(i + 1, len(boxes)):
            both = wide.present[i] & wide.present[j]
            if (overlap(boxes[i], boxes[j]) & both).any():
                found.add((i, j))
    assert len(found) > 3
    assert wide.collisions() == sorted(found)
