"""CARLA's driving score of hand-made drives."""

from dataclasses import replace

import pytest

from schemas.labels import AgentClass
from simulation.driving_score import driving_score
from simulation.engine import simulate
from simulation.planners import planner
from simulation.scores import Drive, measure
from tests.simulation.driving import User, batch_of, going, scene


def drive(*users: User, by: str = "constant_velocity") -> Drive:
    return measure(simulate(batch_of(scene(*users)), planner(by)))[0]


def test_a_whole_drive_without_infraction_scores_one() -> None:
    assert driving_score(drive(going(0.0), by="log_replay")) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("cls", "penalty"),
    [
        (AgentClass.PEDESTRIAN, 0.5),
        (AgentClass.VEHICLE, 0.6),
        (AgentClass.CYCLIST, 0.6),
        (AgentClass.OBSTACLE, 0.65),
    ],
)
def test_each_impact_costs_by_whom_it_hits(cls: AgentClass, penalty: float) -> None:
    one = drive(going(0.0), going(30.0, speed=0.0, cls=cls))
    both = drive(going(0.0), going(30.0, speed=0.0, cls=cls), going(50.0, speed=0.0, cls=cls))
    assert driving_score(one) == pytest.approx(one.progress * penalty)
    assert driving_score(both) == pytest.approx(both.progress * penalty**2)


def test_each_red_light_costs_and_an_unknown_one_does_not() -> None:
    clean = drive(going(0.0), by="log_replay")
    assert driving_score(replace(clean, red_lights=2)) == pytest.approx(0.7**2)
    assert driving_score(replace(clean, red_lights=None)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("distance", "reference", "share"),
    [
        (0.1, 9.6, 0.1 / 9.6),  # not nuPlan's progress, which is 2 m at least
        (0.5, 1.5, 1 / 3),
        (12.0, 9.6, 1.0),
        (-1.0, 9.6, 0.0),
        (0.0, 0.3, 1.0),
    ],
)
def test_completion_is_the_way_over_that_of_the_recorded_drive(
    distance: float, reference: float, share: float
) -> None:
    clean = drive(going(0.0), by="log_replay")
    made = replace(clean, distance=distance, reference=reference)
    assert driving_score(made) == pytest.approx(share)
