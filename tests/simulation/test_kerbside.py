"""Streets with cars parked in wide lanes: how one drives past them, out of a place and into one."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from geometry.boxes import overlap
from lake import Lake
from mining.predicates import tag_scene
from schemas.labels import MapLayer
from simulation.roads import build
from simulation.traffic import DT, Climate, Step, Traffic
from simulation.world import make_log, record, warm_traffic

SEEDS = range(5)


@lru_cache
def filmed(seed: int) -> tuple[Traffic, list[Step], set[int]]:
    """A minute and who was parked when it began."""
    rng = np.random.default_rng(seed)
    traffic = warm_traffic(build("residential", rng), rng, Climate())
    parked = {thing.uid for thing in traffic.parked}
    return traffic, record(traffic, None, 600)[0], parked


def test_lanes_are_wide_enough_to_park_in() -> None:
    for seed in SEEDS:
        network = build("residential", np.random.default_rng(seed))
        for lane in network.map.of_layer(MapLayer.LANE):
            assert lane.left is not None
            assert lane.right is not None
            width = np.linalg.norm(lane.left - lane.right, axis=1)
            assert (width > 5.0).all()
        assert len(network.parking) > 40


@pytest.mark.parametrize("seed", SEEDS)
def test_one_drives_left_of_the_middle_within_the_lane(seed: int) -> None:
    traffic, _, _ = filmed(seed)
    rows = np.flatnonzero(traffic.alive & (traffic.s_len == 0.0) & np.isnan(traffic.forced))
    d, _ = traffic.offset(rows)
    half = np.array([traffic.network.lanes[0].width / 2])
    assert 0.8 < np.median(d) < 1.6
    assert (d + traffic.width[rows] / 2 < half).all()


def test_cars_leave_places_and_come_into_others_under_the_same_id() -> None:
    left = came = 0
    for seed in SEEDS:
        traffic, steps, before = filmed(seed)
        after = {thing.uid for thing in traffic.parked}
        left += len(before - after)
        came += len(after - before)
        for step in steps:
            assert len(set(step.uid.tolist())) == len(step.uid)
            assert after & before <= set(step.uid.tolist())
    assert 3 <= left <= 40  # of some 280 in five minutes
    assert 3 <= came <= 40


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_jumps_turns_on_the_spot_or_touches_another_while_parking(seed: int) -> None:
    traffic, steps, before = filmed(seed)
    after = {thing.uid for thing in traffic.parked}
    agents = traffic.agents()
    for uid in before ^ after:
        rows = [np.flatnonzero(step.uid == uid) for step in steps]
        there = [(step, int(row[0])) for step, row in zip(steps, rows, strict=True) if len(row)]
        x, y, yaw, speed = (
            np.array([getattr(step, name)[k] for step, k in there])
            for name in ("x", "y", "yaw", "speed")
        )
        moved = np.hypot(np.diff(x), np.diff(y))
        assert (np.abs(moved - (speed[1:] + speed[:-1]) / 2 * DT) < 0.02).all()
        turned = np.abs(np.angle(np.exp(1j * np.diff(yaw))))
        assert (turned <= 0.25 * moved + 0.002).all()  # not tighter than 4 m
        for step, k in there[::3]:
            boxes = np.array([
                (step.x[n], step.y[n], step.yaw[n], *agents[int(u)][1][:2])
                for n, u in enumerate(step.uid)
            ])  # fmt: skip
            near = np.hypot(step.x - step.x[k], step.y - step.y[k]) < 12.0
            near[k] = False
            own = np.broadcast_to(boxes[k], (int(near.sum()), 5))
            assert not overlap(own, boxes[near]).any()


def test_the_predicates_find_who_is_parked_and_who_pulls_out(tmp_path: Path) -> None:
    """They come about at a small rate, so that it takes some minutes."""
    names = ("parked", "pull_out", "pull_over")
    told = set[str]()
    for k in range(30):
        lake = Lake.create(tmp_path / str(k))
        with lake.run("world") as run:
            lake.add_logs([make_log(700 + k, road="residential")[0]], run_id=run.id)
        told |= {event.name for scene in lake.scenes() for event in tag_scene(scene, only=names)
                 if event.truth.word == "true"}  # fmt: skip
        if told == set(names):
            break
    assert told == set(names)
    assert k > 0  # not in every log
