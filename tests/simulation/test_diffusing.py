"""Agents that the generator drives: the same in any company, without artefacts, minding whom they meet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from generation.compose import BRAKE, SPEED_UP
from geometry.angles import wrap
from geometry.boxes import overlap
from lake import Lake
from schemas.labels import AgentClass
from schemas.scene import DT, Scene
from simulation.batch import NOW, CaseBatch, ready, stack
from simulation.behaviours import AgentMode, hashed
from simulation.diffusing import EVERY, HORIZON, _clock_at
from simulation.engine import Reference, Rollout, simulate
from simulation.idm import BRAKE_MAX
from simulation.planners import planner
from simulation.protocol import CaseBatchView, Observation, Plan
from simulation.world import draw_log
from tests.simulation.driving import batch_of, case_of, drawn_scenes, going, road, scene
from tests.simulation.test_fallback import Stops


def batch(*scenes: Scene, seed: int = 0) -> CaseBatch:
    return stack(
        [ready(replace(case_of(s, agents="diffusion"), seed=seed, case_id=s.scene_id), s)
         for s in scenes]
    )  # fmt: skip


def driven(*scenes: Scene, seed: int = 0, braking: float = 2.0) -> Rollout:
    return simulate(batch(*scenes, seed=seed), Stops(braking))


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return list(drawn_scenes(4, seed=3))


def states(rollout: Rollout, case: int) -> list[np.ndarray]:
    """All that is simulated of a case, padding left out."""
    many = len(rollout.batch.ready[case].track_id)
    end = NOW + 1 + int(rollout.batch.horizon[case])
    valid = rollout.valid[:end, case, :many]
    return [
        np.where(valid[..., None], rollout.xy[:end, case, :many], 0.0),
        np.where(valid, rollout.yaw[:end, case, :many], 0.0), valid,
    ]  # fmt: skip


def test_a_case_is_the_same_in_any_company_and_order(scenes: list[Scene]) -> None:
    together, turned = driven(*scenes), driven(*scenes[::-1])
    for k, one in enumerate(scenes):
        alone = states(driven(one), 0)
        for other in (states(together, k), states(turned, len(scenes) - 1 - k)):
            assert all(np.array_equal(a, b) for a, b in zip(alone, other, strict=True))


def test_a_drive_is_seen_again_as_it_was(scenes: list[Scene]) -> None:
    """From the ego's states in float32, as results keep them."""
    for one in scenes:
        was = simulate(batch(one), planner("idm"))
        kept = np.concatenate(
            [was.xy[NOW:, :, 0], was.yaw[NOW:, :, 0, None], was.speed[NOW:, :, None]], axis=-1
        ).astype(np.float32)
        again = simulate(batch(one), Again(kept))
        assert np.array_equal(was.valid, again.valid)
        others = was.valid[:, 0, 1:]
        gap = was.xy[:, 0, 1:][others] - again.xy[:, 0, 1:][others]
        assert np.abs(gap).max(initial=0.0) < 1e-6


class Again(Reference):
    """The ego where it was."""

    name = "again"

    def __init__(self, states: np.ndarray) -> None:
        self.states = states.astype(np.float64)

    def start(self, cases: CaseBatchView) -> None:
        pass

    def plan(self, obs: Observation) -> Plan:
        return Plan(trajectory=self.states[obs.step + 1][:, None], exact=True)


def test_another_seed_draws_other_futures(scenes: list[Scene]) -> None:
    one, same, other = (states(driven(scenes[0], seed=seed), 0)[0] for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert np.abs(one - other).max() > 0.1


@pytest.fixture(scope="module")
def world_scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Scene]:
    lake = Lake.create(tmp_path_factory.mktemp("diffusing") / "lake")
    with lake.run("test") as run:
        lake.add_logs([draw_log(seed)[0] for seed in (2, 5)], run_id=run.id)
    return list(lake.scenes(lake.scene_ids()[::2]))


@pytest.mark.parametrize("kind", ["scenes", "world_scenes"])
def test_nobody_jumps_spins_or_speeds_up_beyond_what_a_car_can(
    kind: str, request: pytest.FixtureRequest
) -> None:
    rollout = driven(*request.getfixturevalue(kind))
    who = np.argwhere(rollout.batch.mode == AgentMode.DIFFUSION)
    assert len(who) > 5
    for case, agent in who.tolist():
        seen = np.flatnonzero(rollout.valid[NOW:, case, agent]) + NOW
        xy, yaw = rollout.xy[seen, case, agent], rollout.yaw[seen, case, agent]
        speed = np.hypot(*rollout.velocity[seen, case, agent].T)
        assert (np.diff(seen) == 1).all()
        moved = np.hypot(*np.diff(xy, axis=0).T)
        assert np.abs(moved - (speed[1:] + speed[:-1]) / 2.0 * DT).max(initial=0.0) < 0.08
        assert np.abs(wrap(np.diff(yaw))).max(initial=0.0) < 0.35
        gained = (
            np.diff(speed[1:]) / DT
        )  # what the log tells of the start may not lie along its heading
        assert gained.max(initial=0.0) < SPEED_UP + 0.1
        assert gained.min(initial=0.0) > min(BRAKE, -BRAKE_MAX) - 0.1


def test_who_drives_behind_one_that_stops_does_not_ram_it() -> None:
    """The log drives on: only what the ego does now can be why it brakes."""
    touched = 0
    for gap in (15.0, 25.0, 40.0):
        built = scene(going(0.0), going(-gap), road_map=road())
        rollout = driven(built, braking=4.0)
        touched += int(rollout.contact[0, 1] >= 0)
        speed = np.hypot(*rollout.velocity[-1, 0, 1])
        assert speed < 2.0, "the one ahead has stood for six seconds"
        ahead = rollout.xy[-1, 0, 0] - rollout.xy[-1, 0, 1]
        assert ahead[0] < gap + 1.0, "it has come nearer"
    assert touched == 0


def test_who_stands_in_the_log_stands_and_things_keep_to_the_log() -> None:
    barrel = going(30.0, 6.0, speed=0.0, cls=AgentClass.OBSTACLE, size=(0.5, 0.5))
    built = scene(going(0.0), going(20.0, 3.5, speed=0.0), barrel, road_map=road())
    rollout = driven(built)
    assert rollout.batch.mode[0].tolist()[1:] == [AgentMode.DIFFUSION, AgentMode.LOG]
    for agent in (1, 2):
        there = rollout.xy[NOW:, 0, agent]
        assert np.abs(there - there[0]).max() == 0.0
        assert rollout.valid[NOW:, 0, agent].all()


def test_they_come_where_the_log_has_them_if_there_is_room_and_go_when_it_has_lost_them() -> None:
    late = going(40.0, 3.5, since=35)
    blocked = going(0.0, speed=0.01, since=45)
    early = going(-30.0, 3.5, until=50)
    built = scene(going(0.0, speed=0.5), late, blocked, early, road_map=road())
    rollout = simulate(batch(built), Stops(0.0))
    valid = rollout.valid[:, 0]
    assert not valid[: NOW + 25, 1].any()
    assert valid[NOW + 25 :, 1].all()
    assert not valid[:, 2].any()
    assert rollout.traffic.kept_out[0].tolist() == [False, False, True, False]
    assert valid[NOW : NOW + 40, 3].all()
    assert not valid[-1, 3]
    here = rollout.batch.xy[NOW + 25, 0, 1]
    assert np.allclose(rollout.xy[NOW + 25, 0, 1], here)


@pytest.mark.parametrize("since", range(66, 70))
def test_who_comes_into_sight_between_two_draws_brakes_for_whom_it_meets(since: int) -> None:
    """9.4 m behind the ego, which has come to a stand where the log had it drive on; 6.3 m are needed."""
    built = scene(going(0.0), going(21.0 - since, since=since), road_map=road())
    rollout = driven(built, braking=2.0)
    assert rollout.valid[-1, 0, 1]
    assert rollout.contact[0, 1] == -1


def test_velocities_are_motions_of_those_who_come_sideways_and_backwards_too() -> None:
    late = [going(30.0, 3.5, speed=-3.0, since=13), going(-30.0, 6.0, speed=2.0, since=13)]
    late[1].yaw[:] = np.pi / 2
    rollout = simulate(batch(scene(going(0.0), *late, road_map=road())), Stops(0.0))
    for agent in (1, 2):
        seen = np.flatnonzero(rollout.valid[:, 0, agent])
        moved = np.diff(rollout.xy[seen, 0, agent], axis=0) / DT
        told = rollout.velocity[seen, 0, agent]
        between = (told[1:] + told[:-1]) / 2.0
        straight = seen[1:] < NOW + EVERY
        assert straight.any()
        assert np.abs(moved - between)[straight].max() < 0.1
        assert (np.einsum("ij,ij->i", moved, told[1:]) >= -1e-6).all()


def test_a_walker_seen_for_a_moment_does_not_stand_there_for_ever() -> None:
    person = {"cls": AgentClass.PEDESTRIAN, "size": (0.6, 0.6)}
    walks = going(50.0, 6.0, speed=1.4, yaw=np.pi / 2, until=15, **person)
    stands = going(30.0, -6.0, speed=0.0, until=15, **person)
    rollout = simulate(batch(scene(going(0.0), walks, stands, road_map=road())), Stops(0.0))
    assert rollout.valid[NOW : NOW + 5, 0, 1:].all()
    assert not rollout.valid[-1, 0, 1:].any()
    moved = rollout.xy[NOW + 4, 0, 1:] - rollout.xy[NOW, 0, 1:]
    assert moved[0, 1] > 0.2
    assert np.abs(moved[1]).max() == 0.0


def test_a_vehicle_seen_for_a_moment_while_it_creeps_does_not_stand_there_for_ever() -> None:
    creeps = going(40.0, speed=0.8, until=NOW + 10)
    stands = going(30.0, 3.5, speed=0.0, until=NOW + 10)
    rollout = simulate(batch(scene(going(0.0), creeps, stands, road_map=road())), Stops(0.0))
    moved = rollout.xy[NOW + 4, 0, 1:, 0] - rollout.xy[NOW, 0, 1:, 0]
    assert moved[0] > 0.15
    assert moved[1] == 0.0


def test_all_of_many_are_drawn_and_hardly_any_touch() -> None:
    """More than the network sees at once: two columns of nine."""
    users = [going(14.0 * k, 3.5 * (k % 2), speed=8.0) for k in range(-9, 9)]
    rollout = simulate(batch(scene(going(150.0), *users, road_map=road())), Stops(0.0))
    moved = np.hypot(*(rollout.xy[-1, 0, 1:] - rollout.xy[NOW, 0, 1:]).T)
    straight = 8.0 * DT * (len(rollout.xy) - 1 - NOW)
    assert (np.abs(moved - straight) > 1e-3).all(), "nobody merely goes straight on"
    assert (moved > 10.0).mean() > 0.8
    size = np.broadcast_to(rollout.batch.size[0], (*rollout.yaw[:, 0].shape, 2))
    boxes = np.concatenate([rollout.xy[:, 0], rollout.yaw[:, 0, :, None], size], axis=-1)
    pairs = [(a, b) for a in range(1, 19) for b in range(a + 1, 19)]
    touch = [overlap(boxes[NOW:, a], boxes[NOW:, b]).any() for a, b in pairs]
    assert sum(touch) <= 2


def test_threads_are_left_as_they_were(scenes: list[Scene]) -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        driven(scenes[0])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_batches_without_them_do_not_load_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulation.diffusing._shipped", lambda: pytest.fail("loaded"))
    simulate(batch_of(scene(going(0.0), going(20.0)), agents="idm"), Stops())


def test_the_clock_is_on_time_unless_one_is_held_up() -> None:
    along = np.array([0.0, 1.0, 2.0, 2.0, 2.0, 3.0])
    assert _clock_at(along, 1.0, 1.0) == 1.0
    assert _clock_at(along, 2.0, 4.0) == 4.0  # it was to stand, and stands on time
    assert _clock_at(along, 0.5, 3.0) == pytest.approx(0.5)
    assert _clock_at(along, 2.5, 5.0) == pytest.approx(4.5)
    assert _clock_at(along, 1.1, 1.9) == pytest.approx(1.1)
    assert _clock_at(along, 9.0, 9.0) == 5.0
    assert HORIZON > EVERY


def test_a_case_under_another_id_is_drawn_as_it_was_first_made(scenes: list[Scene]) -> None:
    one, copy, other = (
        replace(case_of(scenes[0], agents="diffusion"), case_id=case_id, provenance=provenance)
        for case_id, provenance in ((1, {}), (2, {"drawn_as": "1"}), (2, {}))
    )
    first, again, apart = (
        states(simulate(stack([ready(case, scenes[0])]), Stops(2.0)), 0)
        for case in (one, copy, other)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, apart, strict=True))


def test_seeds_are_spread() -> None:
    drawn = {hashed("future", seed, case, 0, 7) for seed in range(20) for case in range(20)}
    assert len(drawn) == 400
    assert all(0 <= seed < 2**63 for seed in drawn)
    assert hashed("future", 1, 2) != hashed("margin", 1, 2)
