"""MOBIL: it changes lanes just when the published inequalities say so, and drives across smoothly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from geometry.arrays import Array
from schemas.labels import AgentClass, EdgeKind
from schemas.records import RoadMap
from schemas.scene import DT
from simulation.batch import NOW, CaseBatch
from simulation.engine import Rollout, simulate
from simulation.following import MARGIN_M
from simulation.idm import BRAKE_MAX, TRAFFIC, equilibrium_gap, free, interaction
from simulation.mobil import DRIVER, Mobil, acceleration, decide
from simulation.planners import planner
from tests.simulation.driving import LENGTH, STEPS, User, batch_of, going, lane, scene

IDM = np.array([TRAFFIC.gap, TRAFFIC.headway, TRAFFIC.acceleration, TRAFFIC.braking])
V, WISH = 12.0, 14.0


def motorway(lanes: int = 2, *, end: float = 600.0) -> RoadMap:
    """East, lane 0 along y = 0, each next one 3.5 m to the left; and roads apart for an ego that looks on."""
    features = tuple(lane(i, (-300.0, 3.5 * i), (end, 3.5 * i), 30.0) for i in range(lanes))
    features += tuple(
        lane(90 + k, (-300.0, y), (end, y), 30.0) for k, y in enumerate((40.0, 60.0))
    )
    edges = [[i, EdgeKind.LEFT, i + 1] for i in range(lanes - 1)]
    edges += [[i + 1, EdgeKind.RIGHT, i] for i in range(lanes - 1)]
    return RoadMap(
        source_map_id="motorway", features=features, edges=np.array(edges, np.int64).reshape(-1, 3)
    )


def by_idm(speed: float, desired: float, gap: float, leader: float) -> float:
    """The acceleration from the numpy model, held to what tyres give."""
    v, w = np.array(speed), np.array(desired)
    pull = free(v, w, TRAFFIC)
    push = 0.0 if np.isinf(gap) else interaction(v, np.array(gap), np.array(leader), TRAFFIC)
    return float(np.maximum(pull - push, -BRAKE_MAX))


@pytest.mark.parametrize("gap", [np.inf, 60.0, 12.0, 3.0, 0.0])
@pytest.mark.parametrize("leader", [0.0, 8.0, 20.0])
def test_acceleration_is_that_of_the_model(gap: float, leader: float) -> None:
    assert acceleration(V, WISH, gap, leader, IDM) == pytest.approx(by_idm(V, WISH, gap, leader))


def gain(
    *,
    lead_gap: float,
    lead: float,
    new_gap: float,
    new: float,
    old_gap: float,
    old: float,
    mobil: Mobil,
) -> tuple[float, float]:
    """Incentive and the new follower's acceleration, written out as published."""
    mine, after = by_idm(V, WISH, lead_gap, lead), by_idm(V, WISH, np.inf, 0.0)
    n, n_after = by_idm(new, WISH, np.inf, 0.0), by_idm(new, WISH, new_gap, V)
    o, o_after = (
        by_idm(old, WISH, old_gap, V),
        by_idm(old, WISH, old_gap + LENGTH + lead_gap, lead),
    )
    return after - mine + mobil.politeness * (n_after - n + o_after - o), n_after


def asked(
    *,
    lead_gap: float,
    lead: float,
    new_gap: float,
    new: float,
    old_gap: float,
    old: float,
    mobil: Mobil,
) -> bool:
    """Whether the compiled decision is to change to the left, into a lane free ahead."""
    users = [
        going(0.0, 40.0), going(0.0, speed=V), going(lead_gap + LENGTH, speed=lead),
        going(-new_gap - LENGTH, 3.5, speed=new), going(-old_gap - LENGTH, speed=old),
    ]  # fmt: skip
    batch = batch_of(scene(*users, road_map=motorway()), agents="mobil")
    return decided(batch, mobil) >= 0


def decided(batch: CaseBatch, mobil: Mobil) -> int:
    """The path that agent 1 of the first case takes at the start, −1 for its own."""
    changes = batch.lane_changes
    assert changes is not None
    one, nothing = np.array([0]), np.zeros_like(batch.yaw[NOW])
    desired = np.full(batch.cls.shape, WISH)
    path, _, _ = decide(
        batch.lines.xy, batch.lines.yaw, batch.lines.first, batch.lines.count, changes.beside,
        changes.mapped, batch.line_limit, one, batch.line_of[0, 1:2], np.zeros(1), np.array([V]), one,
        np.array([1]), batch.xy[NOW], batch.yaw[NOW], batch.velocity[NOW], batch.size,
        batch.valid[NOW], desired, np.zeros_like(batch.xy[NOW]), nothing, nothing.astype(bool), IDM,
        np.array([mobil.politeness, mobil.threshold, mobil.safe_braking, mobil.bias]), MARGIN_M,
    )  # fmt: skip
    return int(path[0])


def boundary(lower: float, upper: float, holds: Callable[[float], bool]) -> float:
    """Where a condition that holds at one end alone turns, by bisection."""
    at_lower = holds(lower)
    assert at_lower != holds(upper)
    for _ in range(60):
        middle = (lower + upper) / 2.0
        lower, upper = (middle, upper) if holds(middle) == at_lower else (lower, middle)
    return lower


@pytest.mark.parametrize("politeness", [0.0, 0.2, 0.5])
def test_the_incentive_decides_on_both_sides_of_its_threshold(politeness: float) -> None:
    """The farther the slower leader, the less there is to gain; neither follower is pressed."""
    mobil = Mobil(politeness=politeness)
    rest = {
        "lead": 10.0,
        "new_gap": 40.0,
        "new": 12.0,
        "old_gap": 40.0,
        "old": 12.0,
        "mobil": mobil,
    }
    edge = boundary(10.0, 95.0, lambda g: gain(lead_gap=g, **rest)[0] > mobil.threshold)
    assert asked(lead_gap=edge - 0.05, **rest)
    assert not asked(lead_gap=edge + 0.05, **rest)


def test_the_new_follower_decides_on_both_sides_of_safe_braking() -> None:
    rest = {
        "lead_gap": 8.0,
        "lead": 4.0,
        "new": 18.0,
        "old_gap": 60.0,
        "old": 12.0,
        "mobil": DRIVER,
    }
    edge = boundary(5.0, 60.0, lambda g: gain(new_gap=g, **rest)[1] >= -DRIVER.safe_braking)
    assert gain(new_gap=edge, **rest)[0] > DRIVER.threshold  # it is safety alone that turns
    assert not asked(new_gap=edge - 0.05, **rest)
    assert asked(new_gap=edge + 0.05, **rest)


def test_an_old_follower_that_is_pressed_counts_by_politeness() -> None:
    """Alone, there is too little to gain; out of courtesy to a faster follower, enough."""
    rest = {
        "lead_gap": 90.0,
        "lead": 13.0,
        "new_gap": 90.0,
        "new": 12.0,
        "old_gap": 8.0,
        "old": 14.0,
    }
    assert not asked(**rest, mobil=Mobil(politeness=0.0))
    assert asked(**rest, mobil=Mobil(politeness=0.5))


@pytest.mark.parametrize(("bias", "moves"), [(0.0, False), (0.3, True)])
def test_with_a_bias_one_keeps_right(bias: float, moves: bool) -> None:
    users = (going(0.0, 40.0), going(0.0, 3.5, speed=V))
    batch = batch_of(scene(*users, road_map=motorway()), agents="mobil")
    assert (decided(batch, Mobil(bias=bias)) >= 0) == moves


def test_nobody_changes_beside_somebody() -> None:
    users = [going(0.0, 40.0), going(0.0, speed=V), going(14.0, speed=4.0)]
    free_lane = batch_of(scene(*users, road_map=motorway()), agents="mobil")
    taken = batch_of(scene(*users, going(1.0, 3.5, speed=V), road_map=motorway()), agents="mobil")
    assert decided(free_lane, DRIVER) >= 0
    assert decided(taken, DRIVER) == -1


def overtaking(*users: User, road_map: RoadMap | None = None, steps: int = STEPS) -> Rollout:
    ego = going(0.0, 60.0, speed=5.0, steps=steps)
    built = scene(ego, *users, road_map=road_map or motorway())
    return simulate(batch_of(built, agents="mobil"), planner("constant_velocity"))


def motion(rollout: Rollout, agent: int) -> tuple[Array, Array]:
    """Velocity and acceleration of an agent from its positions [m/s], [m/s²]."""
    velocity = np.diff(rollout.xy[NOW:, 0, agent], axis=0) / DT
    return velocity, np.diff(velocity, axis=0) / DT


def test_a_slow_leader_gets_out_of_the_way_of_one_that_presses() -> None:
    """It gains nothing itself; what its follower gains counts by politeness."""
    rollout = overtaking(going(0.0, speed=12.0), going(40.0, speed=5.0))
    assert rollout.traffic.lane_changes[0].tolist() == [0, 0, 1]


def test_a_slow_leader_is_overtaken_smoothly() -> None:
    slow = going(40.0, speed=5.0, cls=AgentClass.CYCLIST, steps=131)
    rollout = overtaking(going(0.0, speed=12.0, steps=131), slow, steps=131)
    assert rollout.traffic.lane_changes[0].tolist() == [0, 1, 0]
    velocity, acceleration = motion(rollout, 1)
    assert np.abs(velocity[:, 1]).max() <= 1.5 + 1e-6
    assert np.abs(acceleration[:, 1]).max() <= 1.7  # 1.5 and what braking within the change adds
    assert rollout.xy[-1, 0, 1, 1] == pytest.approx(3.5, abs=0.02)
    np.testing.assert_allclose(rollout.yaw[-1, 0, 1], 0.0, atol=0.01)
    heading = np.arctan2(velocity[:, 1], velocity[:, 0])
    np.testing.assert_allclose(rollout.yaw[NOW + 1 :, 0, 1], heading, atol=0.03)


def test_two_never_change_into_one_gap() -> None:
    """Both outer lanes are blocked by crawlers; the middle one is free, for one at a time."""
    users = [going(0.0, speed=12.0), going(60.0, speed=3.0)]
    users += [going(0.0, 7.0, speed=12.0), going(60.0, 7.0, speed=3.0)]
    rollout = overtaking(*users, road_map=motorway(3))
    assert rollout.traffic.lane_changes[0].sum() >= 1
    apart = rollout.xy[NOW:, 0, 1] - rollout.xy[NOW:, 0, 3]
    beside = np.abs(apart[:, 0]) < LENGTH
    assert np.abs(apart[beside, 1]).min() > 2.2


def test_lanes_that_end_are_not_changed_to() -> None:
    users = (going(0.0, speed=12.0), going(40.0, speed=5.0))
    assert overtaking(*users, road_map=motorway(end=600.0)).traffic.lane_changes.sum() == 1
    assert overtaking(*users, road_map=motorway(end=70.0)).traffic.lane_changes.sum() == 0


def test_without_a_lane_beside_it_is_idm() -> None:
    users = (going(0.0, 60.0, speed=5.0), going(0.0, speed=12.0), going(40.0, speed=5.0))
    built = scene(*users, road_map=motorway(1))
    mobil = simulate(batch_of(built, agents="mobil"), planner("constant_velocity"))
    idm = simulate(batch_of(built, agents="idm"), planner("constant_velocity"))
    np.testing.assert_allclose(mobil.xy, idm.xy, atol=1e-9)


@pytest.mark.parametrize("v", [6.0, 12.0, 19.0])
def test_a_platoon_answers_a_dip_as_the_linearised_model_does(v: float) -> None:
    """A small dip of the leader's speed, along six drivers, against the model in the frequency domain.

    About the equilibrium a follower answers its leader by G(iω) = (a_s + iω a_l) / (a_s − iω a_v − ω²);
    where |G| ≤ 1 throughout, at 19 m/s, the platoon is string stable, and every dip is smaller than the
    one before.
    """
    wish, steps = 22.0, 211
    gap = equilibrium_gap(v, wish, TRAFFIC)
    h = 1e-5
    a_s = (by_idm(v, wish, gap + h, v) - by_idm(v, wish, gap - h, v)) / (2 * h)
    a_v = (by_idm(v + h, wish, gap, v) - by_idm(v - h, wish, gap, v)) / (2 * h)
    a_l = (by_idm(v, wish, gap, v + h) - by_idm(v, wish, gap, v - h)) / (2 * h)
    wave = 2j * np.pi * np.fft.rfftfreq(4096, DT)
    answer = (a_s + wave * a_l) / (a_s - wave * a_v + wave**2)

    def dip(t: Array) -> Array:
        return 0.3 * np.exp(-(((t - 5.0) / 2.0) ** 2))

    spectrum = np.fft.rfft(dip(np.arange(4096) * DT))
    shown = [np.fft.irfft(spectrum * answer**n)[: steps - NOW].max() for n in range(1, 7)]

    t = (np.arange(steps) - NOW) * DT
    leader = going(0.0, speed=v, steps=steps)
    leader.xy[:, 0] = np.cumsum((v - dip(t)) * DT)
    leader.xy[:, 0] -= leader.xy[NOW, 0]
    # Their desired speed is the greatest that they were logged at: that of the last step.
    platoon = [going(-i * (gap + LENGTH), speed=v, steps=steps) for i in range(1, 7)]
    for user in platoon:
        user.xy[-1, 0] = user.xy[-2, 0] + wish * DT
    built = scene(leader, *platoon, road_map=motorway(1))
    rollout = simulate(batch_of(built, agents="mobil"), planner("log_replay"))
    dips = v - rollout.velocity[NOW:, 0, 1:7, 0].min(axis=0)
    np.testing.assert_allclose(dips, shown, rtol=0.05)
    if (np.abs(answer) <= 1.0 + 1e-9).all():
        assert (np.diff(dips) < 0.0).all()
    assert (np.abs(answer) <= 1.0 + 1e-9).all() == (v == 19.0)


@pytest.mark.parametrize("told", [None, True, False])
def test_nobody_changes_in_a_junction(told: bool | None) -> None:
    """Where the map does not say, it is one where lanes fan out from the one before."""
    plain = motorway()
    before, aside = (
        lane(2, (-400.0, 0.0), (-300.0, 0.0), 30.0),
        lane(3, (-300.0, 0.0), (0.0, -90.0), 30.0),
    )
    features = [dataclasses.replace(f, in_intersection=told) for f in plain.features]
    fan = [[2, EdgeKind.SUCCESSOR, 0], [2, EdgeKind.SUCCESSOR, 3]]
    fanned = RoadMap(
        source_map_id="fan", features=(*features, before, aside),
        edges=np.concatenate([plain.edges, np.array(fan, np.int64)]),
    )  # fmt: skip
    users = (going(0.0, speed=12.0), going(40.0, speed=5.0))
    changes = overtaking(*users, road_map=fanned).traffic.lane_changes.sum()
    assert changes == (1 if told is False else 0)
