"""The Gymnasium environments: the same drive as the engine's, seen from the ego, ended as told."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

from schemas.errors import BadSetting
from simulation.batch import ready, stack
from simulation.engine import ACCELERATION_MAX, simulate
from simulation.gym_env import DriveEnv, DriveVectorEnv, Moment, episodes
from simulation.protocol import CaseView, PerCasePlanner
from tests.simulation.driving import case_of, going, red_at, road, scene


def pairs(*scenes):
    return [(case_of(s), s) for s in scenes]


def free():
    return scene(
        going(0.0, speed=8.0), going(30.0, 3.5, speed=8.0), road_map=road(), signals=red_at(70.0)
    )


def blocked():
    return scene(going(0.0), going(40.0, speed=0.0), road_map=road(), scene_id=2)


def test_it_is_an_environment() -> None:
    check_env(DriveEnv(pairs(free(), blocked())), skip_render_check=True)


def test_what_is_seen_is_told_from_the_ego() -> None:
    env = DriveEnv(pairs(free()))
    seen, about = env.reset(seed=0)
    assert about["case_id"] == case_of(free()).case_id
    assert seen["ego"][0] == pytest.approx(8.0, abs=0.01)
    assert seen["others"][0, :6] == pytest.approx([30.0, 3.5, 1.0, 0.0, 8.0, 0.0], abs=0.05)
    assert seen["others"][0, 8] == 1.0
    assert not seen["others"][1:].any()
    assert (np.diff(seen["route"][:, 0]) > 3.0).all()
    assert seen["route"][:, 2] == pytest.approx(np.full(20, 15.0))
    assert seen["light"][0] == pytest.approx(70.0 / 80.0, abs=0.03)
    assert seen["light"][1:].tolist() == [1.0, 0.0, 0.0]


def test_an_episode_is_the_drive_of_the_engine() -> None:
    class Push(PerCasePlanner):
        name = "push"

        def plan_one(self, case: CaseView) -> tuple[float, float]:
            return 0.25 * ACCELERATION_MAX, 0.0

    made = free()
    env = DriveEnv(pairs(made))
    env.reset(options={"case": 0})
    steps, total = 0, 0.0
    while True:
        _, reward, ended, cut, about = env.step(np.array([0.25, 0.0]))
        steps, total = steps + 1, total + float(reward)
        if ended or cut:
            break
    rollout = simulate(stack([ready(case_of(made), made)]), Push())
    assert steps == case_of(made).horizon_steps
    assert cut
    assert about["moment"].speed == pytest.approx(rollout.speed[-1, 0])
    way = rollout.xy[-1, 0, 0, 0] - rollout.xy[10, 0, 0, 0]
    assert total == pytest.approx(way / 10.0, abs=0.1)
    assert about["drive"].distance == pytest.approx(way, abs=0.5)


def test_an_impact_ends_the_episode_and_is_told() -> None:
    env = DriveEnv(pairs(blocked()))
    env.reset(seed=1)
    while True:
        _, reward, ended, cut, about = env.step(np.zeros(2))
        if ended or cut:
            break
    assert ended
    assert about["moment"].crashed
    assert reward < 0.0
    assert len(about["drive"].at_fault) == 1
    # What was not driven is not measured as if the ego were somewhere else.
    assert 30.0 < about["drive"].distance < 60.0
    assert about["drive"].outside == 0.0
    (drive,) = episodes(env, lambda seen: np.array([-1.0, 0.0]), 1)
    assert drive.collisions == []


def test_many_at_once_are_driven_as_each_alone() -> None:
    """Each begins anew by itself in the step after its end, as ``AutoresetMode.NEXT_STEP`` has it."""
    both = pairs(free(), blocked())
    env = RecordEpisodeStatistics(DriveVectorEnv(both, 6))
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    seen, about = env.reset(seed=3)
    assert env.observation_space.contains(seen)
    alone = {case.case_id: k for k, (case, _) in enumerate(both)}
    assert set(about["case_id"]) == set(alone)
    singles = [DriveEnv(both) for _ in range(6)]

    def begin(k: int) -> None:
        first, _ = singles[k].reset(options={"case": alone[int(about["case_id"][k])]})
        assert all((seen[name][k] == first[name]).all() for name in first)

    for k in range(6):
        begin(k)
    over, length, total, ends = np.zeros(6, dtype=bool), np.zeros(6), np.zeros(6), 0
    rng = np.random.default_rng(0)
    for _ in range(200):
        actions = rng.uniform([0.0, -0.01], [0.3, 0.01], (6, 2))
        seen, reward, ended, cut, about = env.step(actions)
        assert env.observation_space.contains(seen)
        assert (about["idle"] == over).all()
        for k in range(6):
            if over[k]:
                assert (reward[k], ended[k], cut[k]) == (0.0, False, False)
                assert about["_case_id"][k]
                begin(k)
                length[k] = total[k] = 0
                continue
            mine, earned, done, out, told = singles[k].step(actions[k])
            assert all((seen[name][k] == mine[name]).all() for name in mine)
            assert (earned, done, out) == (reward[k], ended[k], cut[k])
            assert told["moment"] == about["moment"][k]
            length[k], total[k] = length[k] + 1, total[k] + reward[k]
            assert about.get("_drive", np.zeros(6))[k] == (done or out)
            if done or out:
                ends += 1
                assert repr(told["drive"]) == repr(about["drive"][k])
                assert about["episode"]["l"][k] == length[k]
                assert about["episode"]["r"][k] == pytest.approx(total[k])
        over = ended | cut
    assert ends > 12


def test_what_is_told_of_many_can_be_told_of_each() -> None:
    env = DictInfoToList(DriveVectorEnv(pairs(blocked()), 2))
    _, about = env.reset(seed=0)
    assert [set(one) for one in about] == [{"case_id"}] * 2
    ended = np.zeros(2, dtype=bool)
    while not ended.any():
        _, _, ended, _, about = env.step(np.array([[0.0, 0.0], [-1.0, 0.0]]))
    assert [set(one) for one in about] == [{"idle", "moment", "drive"}, {"idle", "moment"}]
    *_, about = env.step(np.zeros((2, 2)))
    assert [set(one) for one in about] == [{"idle", "case_id"}, {"idle", "moment"}]


def test_a_reward_of_ones_own_and_wrong_use() -> None:
    def careful(moment: Moment) -> float:
        return -abs(moment.acceleration)

    env = DriveEnv(pairs(free()), reward=careful)
    with pytest.raises(BadSetting, match="not reset"):
        env.step(np.zeros(2))
    env.reset()
    _, reward, *_ = env.step(np.array([-0.5, 0.0]))
    assert reward == pytest.approx(-4.0)
    with pytest.raises(BadSetting, match="no cases"):
        DriveEnv([])
    for wrong in ([np.nan, 0.0], [0.0], [0.0, 0.0, 0.0], None, "left"):
        with pytest.raises(BadSetting, match="action"):
            env.step(wrong)  # type: ignore[arg-type]
    many = DriveVectorEnv(pairs(free()), 3)
    many.reset(seed=0)
    with pytest.raises(BadSetting, match=r"not \(3, 2\)"):
        many.step(np.zeros((2, 2)))
    while not env.step(np.zeros(2))[3]:
        pass
    with pytest.raises(BadSetting, match="at its end"):
        env.step(np.zeros(2))
