"""Do the world's drivers drive? Against the IDM's closed form, the rules, and physics."""

import numpy as np
import pytest

from geometry.polylines import inside
from schemas.labels import AgentClass, LightState, MapLayer
from simulation.drivers import KINDS
from simulation.idm import Idm, equilibrium_gap
from simulation.roads import ROADS, build
from simulation.traffic import DT, Climate, Traffic
from simulation.truth import Motion
from simulation.world import choose_egos, motion_of, record, warm_traffic


def empty(kind: str, seed: int) -> Traffic:
    rng = np.random.default_rng(seed)
    traffic = Traffic(build(kind, rng), rng, Climate())
    traffic._next_entry = [np.inf] * len(traffic._next_entry)  # nobody else comes
    return traffic


def test_a_follower_settles_at_the_equilibrium_gap() -> None:
    traffic = empty("straight", 0)
    leader = traffic.add(KINDS[0], 0, 60.0, 6.0)
    follower = traffic.add(KINDS[0], 0, 40.0, 6.0)
    traffic.keeps_lane[:] = True
    traffic.forced[leader] = 0.0
    traffic.habit[:] = 0.0  # neither restless nor adrift
    for _ in range(600):
        traffic.step()
    desired = float(traffic.ways.allowed[0, 100] * traffic.eagerness[follower])
    wanted = equilibrium_gap(
        6.0,
        desired,
        Idm(gap=float(traffic.gap[follower]), headway=float(traffic.headway[follower])),
    )
    gap = float(traffic.leaders(np.array([follower]))[0][0])
    assert traffic.v[follower] == pytest.approx(6.0, abs=0.05)
    assert gap == pytest.approx(wanted, rel=0.03)


def test_an_overtaker_passes_a_slow_leader_within_bends_of_reason() -> None:
    traffic = empty("highway", 1)
    slow = traffic.add(KINDS[1], 0, 120.0, 12.0)
    fast = traffic.add(KINDS[0], 0, 60.0, 25.0)
    traffic.top[slow] = 12.0
    ways = {0}
    for _ in range(250):
        traffic.step()
        ways.add(int(traffic.way[fast]))
    assert len(ways) > 1
    x, y, _ = traffic.poses(np.array([slow, fast]))
    assert traffic.v[fast] > 15.0
    assert np.hypot(x[1] - x[0], y[1] - y[0]) > 30.0


@pytest.mark.parametrize("kind", list(ROADS))
def test_traffic_of(kind: str) -> None:
    """Nobody overlaps, slides, jumps, races or leaves the road, on any road."""
    rng = np.random.default_rng(7)
    traffic = warm_traffic(build(kind, rng), rng, Climate())
    ego = choose_egos(traffic, 12.0)[0]
    steps, _ = record(traffic, None, 121)
    motion = motion_of(traffic, int(traffic.uid[ego]), steps, 7)
    assert motion.collisions() == []
    vehicles = np.array([c in (AgentClass.VEHICLE, AgentClass.TRUCK, AgentClass.BUS,
                               AgentClass.MOTORCYCLE, AgentClass.CYCLIST) for c in motion.cls])  # fmt: skip
    _kinematics(motion, vehicles)
    limits = [f.speed_limit for f in traffic.network.map.of_layer(MapLayer.LANE)]
    hasty = 1.15 * max(v for v in limits if v is not None)  # as fast as the hastiest wish
    assert motion.speed[vehicles].max() <= hasty + 1.5  # and a restless foot
    areas = traffic.network.map.of_layer(MapLayer.DRIVABLE_AREA)
    here = motion.xy[motion.present & vehicles[:, None]]
    assert np.any([inside(here, area.points) for area in areas], axis=0).mean() > 0.995


def _kinematics(motion: Motion, vehicles: np.ndarray) -> None:
    both = motion.present[vehicles, 1:] & motion.present[vehicles, :-1]
    step = np.diff(motion.xy[vehicles], axis=1)
    speed = motion.speed[vehicles]
    mean = (speed[:, 1:] + speed[:, :-1]) / 2.0
    length = np.linalg.norm(step, axis=-1)
    assert np.abs(length - mean * DT)[both].max() < 0.03  # no jumps
    turn = np.angle(np.exp(1j * np.diff(motion.yaw[vehicles], axis=1)))
    heading = motion.yaw[vehicles, :-1] + turn / 2.0
    slip = np.angle(np.exp(1j * (np.arctan2(step[..., 1], step[..., 0]) - heading)))
    assert np.abs(slip)[both & (mean > 1.0)].max() < 0.03  # no sliding
    assert np.abs(turn)[both & (mean < 0.02)].max(initial=0.0) < 0.01  # nobody turns on the spot
    assert np.abs(motion.acceleration[vehicles])[motion.present[vehicles]].max() <= 8.0 + 1e-6
    lateral = np.abs(turn / DT * mean)[both]
    assert lateral.max() < 5.0
    assert np.quantile(lateral, 0.99) < 3.0


@pytest.mark.parametrize("seed", [0, 1])
def test_red_is_obeyed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    traffic = warm_traffic(build("signalled", rng), rng, Climate())
    ways, crossed = traffic.ways, 0
    for _ in range(350):
        lights = traffic.light()
        rows = np.flatnonzero(traffic.alive)
        front = traffic.s[rows] + traffic.length[rows] / 2 - ways.enter[traffic.way[rows]]
        traffic.step()
        after = traffic.s[rows] + traffic.length[rows] / 2 - ways.enter[traffic.way[rows]]
        over = rows[(front < 0.0) & (after >= 0.0)]
        group = ways.group[ways.movement[traffic.way[over]]]
        assert (lights[group] != LightState.RED).all()
        crossed += len(over)
    assert crossed > 5


def test_cars_stop_for_someone_on_the_crosswalk() -> None:
    from simulation.walkers import Walker

    traffic = empty("straight", 1)
    crosswalk = traffic.network.crosswalks[0]
    xy = np.stack([crosswalk.begin, crosswalk.end])
    length = float(np.linalg.norm(xy[1] - xy[0]))
    way = int(np.flatnonzero(~np.isnan(traffic.ways.crossing[:, 0, 0]) & ~traffic.ways.bike)[0])
    across = float(traffic.ways.crossing[way, 0, 2])
    walker = Walker(
        uid=traffic.new_uid(), xy=xy, along=np.array([0.0, length]),
        crossings=[(0, 0.0, length, True)], s=across, pace=0.0, speed=0.0, slot=0.0,
        size=(0.5, 0.5, 1.7), patience=1.0, crossing=0,
    )  # fmt: skip
    walker.place()
    start = float(traffic.ways.crossing[way, 0, 0])
    car = traffic.add(KINDS[0], way, start - 60.0, 10.0)
    traffic._walk = lambda: None  # type: ignore[method-assign]  # they stay where they are
    traffic.walkers.append(walker)
    for _ in range(200):
        traffic.step()
    assert traffic.v[car] < 0.05
    assert 0.0 < start - traffic.s[car] - traffic.length[car] / 2 < 4.0
