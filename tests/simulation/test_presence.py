"""Coming, going and moving without artefacts, of everyone who reacts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geometry.angles import wrap
from geometry.arrays import Array
from geometry.boxes import overlap
from lake import Lake
from schemas.case import Case
from schemas.labels import AgentClass
from schemas.scene import DT, Scene
from simulation.batch import NOW, ready, stack
from simulation.behaviours import AgentMode
from simulation.cases import make_case
from simulation.engine import Rollout, simulate
from simulation.idm import BRAKE_MAX, TRAFFIC
from simulation.planners import planner
from simulation.protocol import Planner
from simulation.world import draw_log
from tests.simulation.driving import User, batch_of, drawn_scenes, going, road, scene
from tests.simulation.test_fallback import Stops
from tests.simulation.test_mobil import motorway

KINDS = (
    "idm",
    "mobil",
    "log_then_idm",
    "mixed:idm=0.25,mobil=0.25,log_then_idm=0.25,log=0.25,yielding=0.5",
)
DRIVEN = (AgentMode.IDM, AgentMode.MOBIL, AgentMode.LOG_THEN_IDM)
SPEED_MOST = 50.0  # [m/s]


@pytest.fixture(scope="module")
def world_scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Scene]:
    lake = Lake.create(tmp_path_factory.mktemp("presence") / "lake")
    with lake.run("test") as run:
        lake.add_logs([draw_log(seed, rare_rate=0.3)[0] for seed in range(4)], run_id=run.id)
    return list(lake.scenes(lake.read("scenes", ["scene_id"])["scene_id"].to_pylist()))


def driven(scenes: Sequence[Scene], agents: str, who: Planner | None = None) -> Rollout:
    """The scenes; the ego brakes to a stand, so that many have reason to react."""
    cases = [(make_case(s, suite="t", agents=agents), s) for s in scenes]
    return simulate(
        stack([ready(c, s) for c, s in cases if isinstance(c, Case)]), who or Stops(2.0)
    )


def reacting(rollout: Rollout) -> list[tuple[int, int, int]]:
    """Case, place and first step of everyone who drives by IDM, from when on they do."""
    batch, since = rollout.batch, rollout.traffic.reacts_from
    some = np.isin(batch.mode, [int(m) for m in DRIVEN]) & (since >= 0)
    some[:, 0] = False
    return [(c, a, max(NOW, int(since[c, a]))) for c, a in np.argwhere(some).tolist()]


def check_motion(rollout: Rollout) -> None:
    """Nobody jumps, and nobody brakes, speeds up or turns as no vehicle can."""
    people = reacting(rollout)
    assert people
    for c, a, begin in people:
        # The first state is the log's, and so is its speed: from the next on all is the engine's doing.
        valid = rollout.valid[begin:, c, a]
        first = begin + int(valid.argmax())
        here = rollout.valid[first:, c, a]
        both = here[1:] & here[:-1]
        assert np.diff(here.astype(int)).clip(0).sum() == 0, "nobody comes back who has left"
        if not both.any():
            continue
        speed = np.hypot(*rollout.velocity[first:, c, a].T)
        moved = np.hypot(*np.diff(rollout.xy[first:, c, a], axis=0).T)
        speeding = (np.diff(speed) / DT)[1:][both[1:]]
        assert speed[here].max() <= SPEED_MOST
        # The slope of a change comes and goes.
        assert speeding.max(initial=0.0) <= TRAFFIC.acceleration + 0.15
        assert speeding.min(initial=0.0) >= -BRAKE_MAX - 0.6
        between = np.maximum(speed[1:], speed[:-1])
        assert (moved[both] <= 1.6 * between[both] * DT + 0.02).all()
        turned = np.abs(wrap(np.diff(rollout.yaw[first:, c, a])))[both]
        assert (turned <= 0.01 + 0.5 * 1.6 * between[both] * DT).all()  # turning goes with moving


@pytest.mark.parametrize("agents", KINDS)
def test_everyone_who_reacts_moves_as_a_vehicle_can(
    agents: str, world_scenes: list[Scene]
) -> None:
    check_motion(driven(world_scenes, agents))
    check_motion(driven(drawn_scenes(40, seed=5), agents))


@pytest.mark.skipif(
    "SCENELAKE_REAL_DATA" not in os.environ, reason="SCENELAKE_REAL_DATA is not set"
)
@pytest.mark.parametrize("agents", ["idm", "mobil", "log_then_idm"])
def test_everyone_who_reacts_in_real_scenes_moves_as_a_vehicle_can(
    agents: str, tmp_path: Path
) -> None:
    lake = Lake.create(tmp_path / "lake")
    folder = Path(os.environ["SCENELAKE_REAL_DATA"]) / "scenarionet_waymo"
    lake.ingest([folder])
    scenes = list(lake.scenes(lake.read("scenes", ["scene_id"])["scene_id"].to_pylist()))
    check_motion(driven(scenes, agents))


@pytest.mark.parametrize("agents", ["idm", "mobil"])
def test_who_drives_backwards_does_not_turn_round(agents: str) -> None:
    backing = going(20.0, 7.0, speed=-3.0)
    rollout = simulate(
        batch_of(scene(going(0.0, 40.0), backing), agents=agents), planner("constant_velocity")
    )
    assert np.abs(rollout.yaw[NOW:, 0, 1]).max() < 1e-6
    assert rollout.xy[-1, 0, 1, 0] < 0.0


@pytest.mark.parametrize("agents", ["idm", "mobil"])
def test_a_bend_is_taken_as_it_allows_or_as_the_log_did(agents: str) -> None:
    """10 m/s before a bend of 8 m, 4 m/s in it: who wants 10 m/s all along brakes for it."""
    speed = np.interp(np.arange(91), [0, 45, 65], [10, 10, 4])
    way = np.concatenate([[0.0], np.cumsum(speed[:-1]) * DT])
    yaw = np.clip((way - way[65]) / 8.0, 0.0, np.pi / 2.0)
    steps = (speed * DT)[:, None] * np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)
    xy = np.concatenate([[[0.0, 0.0]], np.cumsum(steps[:-1], axis=0)])
    rollout = simulate(
        batch_of(scene(going(0.0, 40.0), User(xy=xy, yaw=yaw)), agents=agents),
        planner("constant_velocity"),
    )
    fast = np.hypot(*rollout.velocity[NOW:, 0, 1].T)
    turn = np.diff(rollout.yaw[NOW:, 0, 1]) / DT
    turned = np.convolve(turn, np.full(5, 0.2), "same")  # points of the line are 1 m apart
    assert rollout.yaw[-1, 0, 1] > 0.8
    # Braking at 1.5 m/s², IDM's driver is 26 % faster than it wishes, (v / v₀)⁴ = 2.5, which makes 4 m/s²
    # across of 2.5; the line's first corner adds a third. At 10 m/s it would be 12.5 m/s².
    assert (fast[1:] * turned).max() < 6.0


def test_a_case_that_has_ended_tells_of_no_lane_change_after_it(
    world_scenes: list[Scene],
) -> None:
    """Each of the cases ends after 4 s; beside the same ones that do not, it is told the same."""
    made = [(make_case(s, suite="t", agents="mobil"), s) for s in world_scenes]
    cases = [(c, s) for c, s in made if isinstance(c, Case)]
    brief = [ready(replace(c, horizon_steps=40), s) for c, s in cases]
    whole = [ready(c, s) for c, s in cases]
    told = simulate(stack(brief), planner("constant_velocity")).traffic.lane_changes
    beside = simulate(stack([*brief, *whole]), planner("constant_velocity")).traffic.lane_changes
    assert told.sum() > 0
    for k, one in enumerate(brief):
        agents = len(one.track_id)
        assert beside[k, :agents].tolist() == told[k, :agents].tolist()


def collisions(rollout: Rollout) -> tuple[int, int]:
    """Pairs of those who react that come to overlap, and how many react."""
    people, hits = reacting(rollout), 0
    for k, (c, a, begin) in enumerate(people):
        for other, b, later in people[k + 1 :]:
            if other != c:
                break
            steps = slice(max(begin, later), None)
            both = rollout.valid[steps, c, a] & rollout.valid[steps, c, b]
            if both.sum() < 2:
                continue
            boxes = [_boxes(rollout, c, i)[steps][both] for i in (a, b)]
            hit = overlap(*boxes)
            hits += bool(hit.any() and not hit[0])
    return hits, len(people)


def _boxes(rollout: Rollout, case: int, agent: int) -> Array:
    size = np.broadcast_to(rollout.batch.size[case, agent], (len(rollout.xy), 2))
    yaw = rollout.yaw[:, case, agent][:, None]
    return np.concatenate([rollout.xy[:, case, agent], yaw, size], axis=-1)


@pytest.mark.parametrize("agents", ["idm", "mobil"])
def test_in_the_free_traffic_of_the_world_hardly_anyone_collides(
    agents: str, world_scenes: list[Scene]
) -> None:
    """Under 1 in 100 agents in 10 s; what is left is at crossings, where IDM knows no right of way."""
    hits, people = collisions(driven(world_scenes, agents, who=planner("log_replay")))
    assert people > 150
    assert hits <= people / 100


def test_who_leaves_does_not_vanish_before_a_follower() -> None:
    """Logged until 1 s before the end; alone it leaves at the end of its line, followed it drives on."""
    for behind, stays in ((None, False), (-20.0, True)):
        followers = [] if behind is None else [going(behind, speed=10.0)]
        users = [going(0.0, 40.0, speed=5.0), going(0.0, speed=10.0, until=50), *followers]
        for agents in ("idm", "mobil"):
            rollout = simulate(
                batch_of(scene(*users), agents=agents), planner("constant_velocity")
            )
            assert rollout.valid[45, 0, 1]
            assert rollout.valid[75:, 0, 1].all() == stays
            assert rollout.valid[75:, 0, 1].any() == stays


@pytest.mark.parametrize("agents", ["idm", "mobil", "log_then_idm", "yielding"])
def test_nobody_comes_into_being_on_top_of_another(agents: str) -> None:
    """The ego stands, by then, where the log lets somebody appear; another has the place free."""
    cls = AgentClass.CYCLIST if agents == "yielding" else AgentClass.VEHICLE
    users = (
        going(0.0, speed=4.0), going(4.0, speed=1.0, since=20, cls=cls),
        going(60.0, 7.0, speed=5.0, since=20, cls=cls),
    )  # fmt: skip
    built = scene(*users, road_map=motorway())
    rollout = simulate(batch_of(built, agents=agents), planner("constant_velocity"))
    assert rollout.traffic.kept_out[0].tolist() == [False, True, False]
    assert not rollout.valid[NOW:, 0, 1].any()
    assert not rollout.valid[19, 0, 2]
    assert rollout.valid[20:, 0, 2].all()


def test_one_seen_for_a_moment_at_speed_does_not_stand_there_for_good() -> None:
    built = scene(going(0.0, 10.0), going(0.0, speed=20.0, until=12), road_map=road())
    rollout = simulate(batch_of(built, agents="idm"), planner("constant_velocity"))
    assert rollout.velocity[NOW + 1, 0, 1, 0] == pytest.approx(20.0, abs=1.0)
    assert not rollout.valid[NOW + 5 :, 0, 1].any()
