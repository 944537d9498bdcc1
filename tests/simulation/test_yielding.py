"""People who wait for a gap: on both sides of the critical headway, on their path, without haste."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from schemas.labels import AgentClass
from schemas.scene import DT, Scene
from simulation.batch import NOW, ready, stack
from simulation.engine import Rollout, simulate
from simulation.planners import planner
from simulation.protocol import Planner
from simulation.yielding import BRAKING, MARGIN_S, PASSED_S, SHORT_OF_M, Yielding
from tests.simulation.driving import (
    LENGTH,
    WIDTH,
    User,
    batch_of,
    case_of,
    drawn_scenes,
    going,
    scene,
)
from tests.simulation.test_fallback import Stops

PACE, PERSON = 1.25, 0.5
RADIUS = np.hypot(PERSON, PERSON) / 2.0


def walker(x: float, y: float, *, pace: float = PACE, steps: int = 191) -> User:
    return going(
        x,
        y,
        speed=pace,
        yaw=np.pi / 2,
        cls=AgentClass.PEDESTRIAN,
        size=(PERSON, PERSON),
        steps=steps,
    )


def at_the_kerb(distance: float, *, speed: float = 10.0) -> Scene:
    """A walker whose first step onto the way of the ego is 2.5 m ahead of it; the ego so far off."""
    edge = -WIDTH / 2.0 - RADIUS
    return scene(going(-distance, speed=speed, steps=191), walker(0.0, edge - 2.5))


def driven(built: Scene, *, agents: str = "yielding", who: Planner | None = None) -> Rollout:
    batch = batch_of(built, agents=agents)
    return simulate(batch, who or planner("constant_velocity"))


def delay(rollout: Rollout) -> float:
    """How far the walker is behind its log in the end [s]."""
    return float(rollout.batch.xy[-1, 0, 1, 1] - rollout.xy[-1, 0, 1, 1]) / PACE


def test_a_gap_is_accepted_just_from_the_critical_headway_on() -> None:
    """Across needs (2.5 + w + 2 r) / pace; the ego must arrive no sooner than the margin after that."""
    margin = float(Yielding(batch_of(at_the_kerb(50.0), agents="yielding")).margin[0])
    assert MARGIN_S[0] <= margin <= MARGIN_S[1]
    across = (2.5 + WIDTH + 2.0 * RADIUS) / PACE
    needed = 10.0 * (across + margin) + LENGTH / 2.0 + RADIUS
    roomy, tight = driven(at_the_kerb(needed + 2.0)), driven(at_the_kerb(needed - 2.0))
    assert delay(roomy) == pytest.approx(0.0, abs=1e-6)
    assert delay(tight) > 1.0
    assert tight.contact[0, 1] == -1


def test_whoever_waits_stands_short_of_the_way_and_goes_once_the_vehicle_has_passed() -> None:
    rollout = driven(at_the_kerb(45.0))
    edge = -WIDTH / 2.0 - RADIUS
    y, speed = rollout.xy[NOW:, 0, 1, 1], rollout.velocity[NOW:, 0, 1, 1]
    slowest = int(np.flatnonzero(speed <= speed.min() + 1e-9)[-1])
    assert y[slowest] <= edge - SHORT_OF_M + 0.1
    rear = (rollout.xy[NOW:, 0, 0, 0] - LENGTH / 2.0 > RADIUS).argmax()
    assert abs(slowest - rear) <= PASSED_S / DT + 1
    assert speed[-1] == pytest.approx(PACE)
    assert delay(rollout) > 0.5


def test_who_does_not_yield_is_run_over_where_who_does_is_not() -> None:
    # The ego reaches x = 0 just when the logged walker is on its way.
    built = at_the_kerb(28.0)
    assert driven(built, agents="log").contact[0, 1] > 0
    assert driven(built).contact[0, 1] == -1


def test_a_vehicle_that_stands_is_no_reason_to_wait() -> None:
    rollout = driven(at_the_kerb(20.0, speed=0.0))
    assert delay(rollout) == pytest.approx(0.0, abs=1e-6)


def test_nobody_walks_into_a_vehicle_that_the_log_did_not_have_there() -> None:
    """The ego of the log was long gone; this one stands across the walker's path."""
    built = scene(going(-10.0, speed=10.0, steps=191), walker(0.0, -8.0))
    assert driven(built, agents="log", who=Stops(5.0)).contact[0, 1] > 0
    rollout = driven(built, who=Stops(5.0))
    assert rollout.contact[0, 1] == -1
    assert rollout.velocity[-1, 0, 1, 1] == pytest.approx(0.0, abs=0.05)


def test_whoever_is_on_the_way_goes_on() -> None:
    built = scene(going(-30.0, speed=10.0, steps=191), walker(0.0, -0.5))
    assert delay(driven(built)) == pytest.approx(0.0, abs=1e-6)


def test_the_path_is_the_recorded_one_and_no_step_is_longer() -> None:
    """Of drawn scenes with walkers: each is where the log was at some time, and never faster than it."""
    waited = 0
    for built in drawn_scenes(12, seed=11):
        rollout = driven(built, who=planner("idm"))
        batch = rollout.batch
        people = np.flatnonzero(batch.cls[0] == AgentClass.PEDESTRIAN)
        for agent in people[people > 0].tolist():
            valid = rollout.valid[NOW:, 0, agent]
            logged = batch.xy[NOW:, 0, agent][batch.valid[NOW:, 0, agent]]
            if valid.sum() < 2:
                continue
            xy = rollout.xy[NOW:, 0, agent][valid]
            along = logged[-1] - logged[0]
            length = np.hypot(*along)
            if length > 0.1:
                aside = np.abs((xy - logged[0]) @ np.array([-along[1], along[0]]) / length)
                assert aside.max() < 1e-4
            most = np.hypot(*np.diff(logged, axis=0).T).max()
            steps = np.hypot(*np.diff(xy, axis=0).T)
            assert steps.max() <= most + 1e-4
            assert np.diff(steps).min() / DT**2 >= -2.0 * BRAKING - 0.1
            waited += int((rollout.xy[-1, 0, agent] != batch.xy[-1, 0, agent]).any())
    assert waited > 0


def test_who_was_lost_running_and_found_standing_was_as_fast_as_its_places_say() -> None:
    runner = going(40.0, -4.0, speed=5.0, cls=AgentClass.CYCLIST)
    runner.xy[50:] = runner.xy[50]
    runner.valid[30:50] = False
    rollout = simulate(
        batch_of(scene(going(0.0), runner), agents="yielding"), planner("constant_velocity")
    )
    moved = np.hypot(*np.diff(rollout.xy[NOW:, 0, 1], axis=0).T) / DT
    told = np.hypot(*rollout.velocity[NOW:, 0, 1].T)
    here = slice(0, 50 - NOW - 1)
    assert np.abs(moved - told[:-1])[here].max() < 0.01


def test_a_case_under_another_id_keeps_the_margins_of_the_one_it_was_made_as() -> None:
    built = at_the_kerb(50.0)
    made = replace(case_of(built, agents="yielding"), case_id=1)
    copy = replace(made, case_id=2, provenance={"drawn_as": "1"})
    first, again, other = (
        float(Yielding(stack([ready(case, built)])).margin[0])
        for case in (made, copy, replace(made, case_id=2))
    )
    assert first == again != other
