"""Planning by proposals: its compiled loops against plain ones, and how gently it drives."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import savgol_filter

from geometry.arrays import Array
from geometry.boxes import corners, overlap
from geometry.kinematics import bicycle_step
from schemas.scene import DT
from simulation import kernels
from simulation.batch import NOW
from simulation.engine import Loop, simulate
from simulation.idm import EGO
from simulation.paths import Paths
from simulation.planners import lane_steering, planner, rear_axle
from simulation.proposal_kernels import impacts, leaves
from simulation.proposals import EMERGENCY_BRAKE, HORIZON, Pdm
from simulation.room import REACH_M, STEP_M, room_beside
from simulation.scores import (
    AHEAD,
    BEHIND,
    OUTSIDE_M,
    STOPPED,
    TTC_LEAST,
    collision_kind,
    is_at_fault,
    measure,
)
from simulation.surface import Ground, Surface
from tests.simulation.driving import LENGTH, WIDTH, batch_of, going, lane, road, scene


@pytest.mark.parametrize("many", [15, 16, 51])
def test_both_slopes_at_once_are_those_one_by_one(many: int) -> None:
    value = np.random.default_rng(many).normal(size=many)
    for order, found in enumerate(kernels.slopes(value, 15, DT), start=1):
        one = savgol_filter(value, 15, 2, deriv=order, delta=DT, mode="interp")
        assert found == pytest.approx(one)


def paths_through(*lines: Array) -> Paths:
    return Paths.of(list(lines))


@pytest.mark.parametrize("within", [True, False])
def test_impacts_are_those_that_nuplan_blames_the_ego_for(within: bool) -> None:
    random = np.random.default_rng(1)
    rows, times, others = 40, 11, 6
    pose = np.zeros((times, rows, 4))
    pose[..., 3] = random.uniform(2.0, 12.0, rows)
    pose[..., 2] = random.uniform(-3.0, 3.0, rows)
    ahead = np.arange(times)[:, None] * DT * pose[..., 3]
    pose[..., 0], pose[..., 1] = ahead * np.cos(pose[..., 2]), ahead * np.sin(pose[..., 2])
    now = np.zeros((1, 1, others, 5))
    now[..., :2], now[..., 2] = random.uniform(-15, 15, (others, 2)), random.uniform(-3, 3, others)
    now[..., 3:] = (LENGTH, WIDTH)
    velocity = random.uniform(-6.0, 6.0, (1, 1, others, 2))
    velocity[0, 0, :2] = 0.0
    grave = np.array([[True, True, True, False, False, False]])
    paths, here = paths_through(np.array([[-50.0, 0.0], [50.0, 0.0]])), np.zeros(1)
    room = np.full(len(paths.xy), np.inf if within else -np.inf)
    hit, spared, _ = impacts(
        pose, np.full((times, rows), 50.0), here + LENGTH, here + WIDTH, here + 1.3, now, velocity,
        np.ones((1, 1, others), bool), np.zeros((1, others), bool), 1, grave, paths.xy, paths.yaw,
        paths.first, paths.count, room, room, np.zeros(len(room), bool), np.array([True]), 1,
        STOPPED, AHEAD, BEHIND, TTC_LEAST, DT,
    )  # fmt: skip
    blamed_for_some = 0
    for row in range(rows):
        expected, left, fresh = float(times), 1.0, np.ones(others, dtype=bool)
        for t in range(times):
            x, y, yaw, v = pose[t, row]
            centre = np.array([x + 1.3 * np.cos(yaw), y + 1.3 * np.sin(yaw), yaw, LENGTH, WIDTH])
            boxes = now[0, 0].copy()
            boxes[:, :2] += velocity[0, 0] * t * DT
            touched = overlap(np.broadcast_to(centre, (others, 5)), boxes) & fresh
            for other in np.flatnonzero(touched):
                fresh[other] = False
                speed = float(np.hypot(*velocity[0, 0, other]))
                kind = collision_kind(centre, v, boxes[other], speed)
                if is_at_fault(kind, in_one_lane=within):
                    expected = min(expected, float(t))
                    left = min(left, 0.0 if grave[0, other] else 0.5)
            if left == 0.0:
                break
        assert (hit[row], spared[row]) == (expected, left)
        blamed_for_some += left < 1.0
    assert 5 < blamed_for_some < rows


@pytest.mark.parametrize(
    ("where", "between_lanes", "held"),
    [((12.0, 0.0), False, 0.0), ((1.5, 2.4), False, 1.0), ((1.5, 2.4), True, 0.0)],
)
def test_time_to_collision_counts_who_is_ahead_and_between_lanes_who_is_beside(
    where: tuple[float, float], between_lanes: bool, held: float
) -> None:
    """One stands 12 m ahead of an ego at 10 m/s; or one beside it closes in at 1 m/s."""
    pose = np.zeros((1, 1, 4))
    pose[..., 3] = 10.0
    box = np.array([[[[*where, 0.0, LENGTH, WIDTH]]]])
    velocity = np.array([[[[10.0, -1.0] if where[1] else [0.0, 0.0]]]])
    paths, here = paths_through(np.array([[-50.0, 0.0], [50.0, 0.0]])), np.zeros(1)
    room = np.full(len(paths.xy), 0.5 if between_lanes else 1.75)
    yes, no = np.ones((1, 1), bool), np.zeros((1, 1), bool)
    hit, _, found = impacts(
        pose, np.full((1, 1), 50.0), here + LENGTH, here + WIDTH, here + 1.3, box, velocity,
        yes[None], no, 1, yes, paths.xy, paths.yaw, paths.first, paths.count, room, room,
        np.zeros(len(room), bool), yes[0], 1, STOPPED, AHEAD, BEHIND, TTC_LEAST, DT,
    )  # fmt: skip
    assert hit[0] == 1.0
    assert found[0] == held


def test_what_leaves_is_what_the_surface_says() -> None:
    """Poses to either side of two lanes 3.5 m wide, the route in the right one."""
    random = np.random.default_rng(0)
    loop = Loop(batch_of(scene(going(0.0), road_map=road())))
    obs = loop.observe()
    paths, ego = obs.cases.paths, obs.ego
    room = room_beside(obs.cases, ego, 10.0)
    rows = 300
    pose = np.zeros((1, rows, 4))
    pose[..., 0], pose[..., 1] = random.uniform(5, 60, rows), random.uniform(-2.5, 5.0, rows)
    pose[..., 2], pose[..., 3] = random.uniform(-0.3, 0.3, rows), 5.0
    along = paths.locate(
        np.zeros(rows, np.int64), np.ascontiguousarray(pose[0, :, :2]), pose[0, :, 0] + 15.0
    )[0]
    gone = leaves(
        pose, along[None], ego.length, ego.width, ego.rear_to_centre, paths.xy, paths.yaw,
        paths.first, paths.count, room.left, room.right, room.least, obs.active, 1,
    )  # fmt: skip
    forward = np.stack([np.cos(pose[0, :, 2]), np.sin(pose[0, :, 2])], axis=-1)
    centre = pose[0, :, :2] + ego.rear_to_centre * forward
    size = np.broadcast_to([ego.length[0], ego.width[0]], (rows, 2))
    ends = corners(np.concatenate([centre, pose[0, :, 2:3], size], axis=-1))
    surface = Surface(Ground(road()), np.array([-20.0, -20.0]), np.array([90.0, 20.0]))
    outside = surface.outside(ends.reshape(-1, 2)).reshape(rows, 4).max(axis=1)
    # The room is known to a quarter of a metre, and errs to the safe side; to the left to 5 m.
    to_left = ends[..., 1].max(axis=1) > REACH_M
    assert gone[(outside > OUTSIDE_M) & ~to_left].all()
    assert not gone[outside <= OUTSIDE_M - STEP_M].any()
    assert 30 < gone.sum() < 270


def test_what_is_simulated_is_what_the_bicycle_drives() -> None:
    loop = Loop(batch_of(scene(going(0.0, 0.4), going(40.0, speed=6.0), road_map=road())))
    obs, pdm = loop.observe(), Pdm()
    pdm.start(loop.view)
    pdm.plan(obs)
    assert pdm._desired is not None
    drives = pdm._simulate(obs, pdm._desired, pdm.forecast(obs))
    many, paths = len(pdm._share), obs.cases.paths
    path, wheelbase = np.zeros(many, dtype=np.int64), np.repeat(obs.ego.wheelbase, many)
    front = np.repeat(obs.ego.rear_to_centre + obs.ego.length / 2.0, many)
    assert drives.pose[0] == pytest.approx(np.repeat(rear_axle(obs), many, axis=0))
    for step in range(HORIZON):
        steering = lane_steering(
            paths, path, drives.station[step], drives.pose[step], front, wheelbase, pdm._aside
        )
        assert np.arctan(drives.turning[step]) == pytest.approx(steering, abs=1e-9)
        after = bicycle_step(
            drives.pose[step], drives.acceleration[step], steering, wheelbase=wheelbase, dt=DT
        )
        assert drives.pose[step + 1] == pytest.approx(after, abs=1e-9)
    assert (drives.acceleration >= -EGO.braking).all()


def test_it_never_brakes_hard_for_what_stands_in_plain_sight() -> None:
    wall = going(75.0, speed=0.0, size=(3.0, 8.0))
    rollout = simulate(batch_of(scene(going(0.0), wall, road_map=road())), planner("pdm"))
    drive = measure(rollout)[0]
    assert drive.collisions == []
    assert drive.braking <= EGO.braking
    assert drive.score > 0.5


@pytest.mark.parametrize(("speed", "braking"), [(4.0, EMERGENCY_BRAKE), (9.0, EGO.braking)])
def test_in_an_emergency_it_brakes_hard_where_it_is_slow(speed: float, braking: float) -> None:
    """Nothing that it may try stops before a wall that far away."""
    wall = going(4.0 if speed < 5.0 else 8.0, speed=0.0, size=(1.0, 12.0))
    built = batch_of(scene(going(0.0, speed=speed), wall, road_map=road()))
    rollout = simulate(built, planner("pdm"))
    assert rollout.acceleration[NOW, 0] == pytest.approx(-braking)


def test_whom_it_has_touched_it_heeds_no_more() -> None:
    """A replayed vehicle comes from behind and drives on through the ego; it does not stop for it."""
    through = going(-12.0, speed=9.0)
    built = batch_of(scene(going(0.0, speed=5.0), through, road_map=road(limit=6.0)))
    rollout = simulate(built, planner("pdm"))
    assert rollout.contact[0, 1] > 0
    assert (np.diff(rollout.speed[NOW:, 0]) > -0.05).all()


def test_a_proposal_that_leaves_the_road_is_out_for_as_long_as_it_would() -> None:
    """The lane to the left ends 60 m ahead: until then it may keep to the left of one who is parked."""
    narrow = replace(
        road(), features=(*road().features[:2], lane(2, (-150.0, 3.5), (60.0, 3.5), 15.0))
    )
    parked = going(35.0, -2.2, speed=0.0)
    ego = going(0.0, speed=8.0, size=(LENGTH, 2.4))
    built = batch_of(scene(ego, parked, road_map=narrow))
    rollout = simulate(built, planner("pdm"))
    assert rollout.xy[-1, 0, 0, 0] > 60.0
    assert rollout.contact[0, 1] == -1
    assert measure(rollout)[0].outside == pytest.approx(0.0, abs=OUTSIDE_M)
