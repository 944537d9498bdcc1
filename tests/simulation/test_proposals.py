"""Planning by proposals: its compiled loops against plain ones, and how gently it drives."""

import numpy as np
import pytest
from scipy.signal import savgol_filter

from geometry.boxes import overlap
from geometry.kinematics import bicycle_step
from schemas.scene import DT
from simulation import kernels
from simulation.engine import Loop, simulate
from simulation.planners import lane_steering, planner, rear_axle
from simulation.proposal_kernels import impacts
from simulation.proposals import BRAKES, HORIZON, Pdm
from simulation.scores import BEHIND, STOPPED, TTC_LEAST, measure
from tests.simulation.driving import LENGTH, WIDTH, batch_of, going, road, scene


@pytest.mark.parametrize("many", [15, 16, 51])
def test_both_slopes_at_once_are_those_one_by_one(many: int) -> None:
    value = np.random.default_rng(many).normal(size=many)
    for order, found in enumerate(kernels.slopes(value, 15, DT), start=1):
        one = savgol_filter(value, 15, 2, deriv=order, delta=DT, mode="interp")
        assert found == pytest.approx(one)


def test_impacts_are_where_boxes_overlap() -> None:
    random = np.random.default_rng(1)
    rows, times = 40, 11
    pose = np.zeros((times, rows, 4))
    pose[..., 3] = random.uniform(2.0, 12.0, rows)
    pose[..., 2] = random.uniform(-3.0, 3.0, rows)
    ahead = np.arange(times)[:, None] * DT * pose[..., 3]
    pose[..., 0], pose[..., 1] = ahead * np.cos(pose[..., 2]), ahead * np.sin(pose[..., 2])
    box = np.zeros((times, 1, 6, 5))
    box[..., :2], box[..., 2] = random.uniform(-15, 15, (6, 2)), random.uniform(-3, 3, 6)
    box[..., 3:] = (LENGTH, WIDTH)
    there = np.ones((times, 1, 6), dtype=bool)
    size = np.array([LENGTH]), np.array([WIDTH]), np.array([1.3])
    hit, _ = impacts(
        pose, *size, box, np.zeros((times, 1, 6, 2)), there, np.array([True]), 1, STOPPED, BEHIND,
        TTC_LEAST,
    )  # fmt: skip
    for row in range(rows):
        expected, fresh = float(times), np.ones(6, dtype=bool)
        for t in range(times):
            x, y, yaw = pose[t, row, :3]
            centre = np.array([x + 1.3 * np.cos(yaw), y + 1.3 * np.sin(yaw), yaw, LENGTH, WIDTH])
            now = overlap(np.broadcast_to(centre, (6, 5)), box[t, 0])
            if t == 0:
                fresh = ~now
            offset = box[t, 0, :, :2] - centre[:2]
            onward = np.cos(yaw) * offset[:, 0] + np.sin(yaw) * offset[:, 1] + 1.3
            aside = np.cos(yaw) * offset[:, 1] - np.sin(yaw) * offset[:, 0]
            blamed = np.abs(np.arctan2(aside, onward)) <= BEHIND
            if (now & fresh & blamed).any():
                expected = float(t)
                break
        assert hit[row] == expected


def test_what_is_simulated_is_what_the_bicycle_drives() -> None:
    loop = Loop(batch_of(scene(going(0.0, 0.4), going(40.0, speed=6.0), road_map=road())))
    obs, pdm = loop.observe(), Pdm()
    pdm.start(loop.view)
    pdm.plan(obs)
    assert pdm._desired is not None
    drives = pdm._simulate(obs, pdm._desired)
    many, paths = len(pdm._share), obs.cases.paths
    path, wheelbase = np.zeros(many, dtype=np.int64), np.repeat(obs.ego.wheelbase, many)
    front = np.repeat(obs.ego.rear_to_centre + obs.ego.length / 2.0, many)
    assert drives.pose[0] == pytest.approx(np.repeat(rear_axle(obs), many, axis=0))
    for step in range(HORIZON):
        steering = lane_steering(
            paths, path, drives.station[step], drives.pose[step], front, wheelbase, pdm._aside
        )
        assert drives.steering[step] == pytest.approx(steering, abs=1e-9)
        after = bicycle_step(
            drives.pose[step], drives.acceleration[step], steering, wheelbase=wheelbase, dt=DT
        )
        assert drives.pose[step + 1] == pytest.approx(after, abs=1e-9)
    assert (drives.acceleration[:, -1] == -BRAKES[-1]).all()


def test_it_never_brakes_hard_for_what_stands_in_plain_sight() -> None:
    wall = going(75.0, speed=0.0, size=(3.0, 8.0))
    rollout = simulate(batch_of(scene(going(0.0), wall, road_map=road())), planner("pdm"))
    drive = measure(rollout)[0]
    assert drive.collisions == []
    assert drive.braking < BRAKES[0]
    assert drive.score > 0.5
