"""NAVSIM's scores: by hand, and anchored by the truth, constant velocity and random driving."""

from dataclasses import replace

import numpy as np
import pytest

from schemas.case import Case
from simulation.batch import ReadyCase, ready, stack
from simulation.cases import make_case
from simulation.engine import simulate
from simulation.navsim import (
    OPENING_STEPS,
    epdms,
    needs_human,
    nonreactive,
    of_rollout,
    opening,
    pdms,
    subscores,
)
from simulation.planners import planner
from simulation.protocol import CaseBatchView, Observation, Plan, Planner
from simulation.scores import Drive, measure
from tests.simulation.driving import User, batch_of, drawn_scenes, going, red_at, road, scene

PERFECT: dict[str, float | None] = dict.fromkeys(
    ("NC", "DAC", "DDC", "TLC", "EP", "TTC", "LK", "C", "HC", "EC"), 1.0
)


class Drunk:
    """Pedals and wheel at random, the same in each case."""

    name = "drunk"

    def start(self, cases: CaseBatchView) -> None:
        """Seed it."""
        self._random = np.random.default_rng(0)

    def plan(self, obs: Observation) -> Plan:
        """Anything."""
        pedal, wheel = self._random.normal(0.0, 6.0), self._random.normal(0.0, 0.3)
        many = len(obs.cases)
        return Plan(acceleration=np.full(many, pedal), steering=np.full(many, wheel))


def drive(*users: User, by: str = "constant_velocity", **options: object) -> Drive:
    return measure(simulate(batch_of(scene(*users, **options)), planner(by)))[0]  # type: ignore[arg-type]


def pairs(count: int, *, seed: int = 0) -> list[tuple[ReadyCase, ReadyCase]]:
    made = []
    for drawn in drawn_scenes(count, seed=seed):
        case = make_case(drawn, suite="test", start=10)
        assert isinstance(case, Case)
        shorter = replace(case, horizon_steps=case.horizon_steps - 5)
        later = replace(shorter, start_step=15)
        made.append((ready(shorter, drawn), ready(later, drawn)))
    return made


@pytest.mark.parametrize(
    ("name", "value", "one", "two"),
    [
        ("NC", 0.0, 0.0, 0.0),
        ("NC", 0.5, 0.5, 0.5),
        ("DAC", 0.0, 0.0, 0.0),
        ("DDC", 0.5, 1.0, 0.5),
        ("TLC", 0.0, 1.0, 0.0),
        ("EP", 0.0, 7 / 12, 11 / 16),
        ("TTC", 0.0, 7 / 12, 11 / 16),
        ("C", 0.0, 10 / 12, 1.0),
        ("LK", 0.0, 1.0, 14 / 16),
        ("HC", 0.0, 1.0, 14 / 16),
        ("EC", 0.0, 1.0, 14 / 16),
    ],
)
def test_each_subscore_costs_what_is_published(
    name: str, value: float, one: float, two: float
) -> None:
    found = {**PERFECT, name: value}
    assert pdms(found) == pytest.approx(one)
    assert epdms(found) == pytest.approx(two)


def test_what_the_human_did_not_either_is_forgiven_in_the_second_version_alone() -> None:
    found = {**PERFECT, "LK": 0.0, "TLC": 0.0, "NC": 0.5}
    human = {**PERFECT, "LK": 0.0, "TLC": 0.0, "NC": 0.0}
    assert epdms(found, human) == 1.0
    assert epdms(found, {**human, "TLC": 1.0}) == 0.0
    assert pdms(found) == 0.5


@pytest.mark.parametrize("half", ["NC", "DDC"])
def test_the_recorded_drive_is_asked_about_half_points_too(half: str) -> None:
    assert needs_human({**PERFECT, half: 0.5})
    assert not needs_human({**PERFECT, "EP": 0.5, "EC": None})


def test_what_is_not_known_has_no_part() -> None:
    unknown = {**PERFECT, "DAC": None, "LK": None, "EC": None, "TTC": 0.0}
    assert epdms(unknown, PERFECT) == pytest.approx(7 / 12)
    assert epdms(unknown, {**PERFECT, "LK": 0.0}) == pytest.approx(7 / 12)


def test_progress_is_relative_to_the_reference() -> None:
    half = drive(going(0.0), by="log_replay")
    assert subscores(half, reference_m=2.0 * half.distance)["EP"] == pytest.approx(0.5)
    assert subscores(half, reference_m=4.0)["EP"] == 1.0


def test_lanes_are_kept_within_half_a_metre() -> None:
    assert subscores(drive(going(0.0, 0.4), road_map=road()))["LK"] == 1.0
    assert subscores(drive(going(0.0, 0.7), road_map=road()))["LK"] == 0.0
    assert subscores(drive(going(0.0, 0.7)))["LK"] is None


def test_a_red_light_costs_all_unless_it_was_the_human_who_ran_it() -> None:
    standing = going(0.0)
    standing.xy[40:] = standing.xy[40]
    lights = red_at(45.0)
    assert subscores(drive(standing, road_map=road(), signals=lights))["TLC"] == 0.0
    assert subscores(drive(going(0.0), road_map=road(), signals=lights))["TLC"] is None


def test_the_opening_is_the_drive_of_a_case_that_ends_then() -> None:
    drawn = drawn_scenes(4)
    cases = [make_case(s, suite="test") for s in drawn]
    assert all(isinstance(c, Case) for c in cases)
    short = [replace(c, horizon_steps=min(OPENING_STEPS, c.horizon_steps)) for c in cases]  # type: ignore[type-var,union-attr]
    whole = simulate(
        stack([ready(c, s) for c, s in zip(cases, drawn, strict=True)]), planner("idm")
    )  # type: ignore[arg-type]
    brief = simulate(
        stack([ready(c, s) for c, s in zip(short, drawn, strict=True)]), planner("idm")
    )  # type: ignore[arg-type]
    cut = opening(whole)
    assert (cut.valid == brief.valid).all()
    for one, two in zip(measure(cut), measure(brief), strict=True):
        # The route of the brief case ends sooner, the recorded drive with it.
        assert (one.collisions, one.outside, one.ttc) == (two.collisions, two.outside, two.ttc)
        assert one.comfort == two.comfort
        assert one.reference == pytest.approx(two.reference, abs=0.1)


def test_truth_constant_velocity_and_random_are_in_order() -> None:
    drawn = pairs(30)
    means: dict[str, dict[str, float]] = {}
    drivers: dict[str, Planner] = {
        "truth": planner("log_replay"), "straight": planner("constant_velocity"), "drunk": Drunk(),
    }  # fmt: skip
    for name, driver in drivers.items():
        found = nonreactive(drawn, driver)
        means[name] = {
            k: float(np.mean([f[k] for f in found if f[k] is not None])) for k in found[0]
        }
    assert means["truth"]["EP"] == pytest.approx(1.0)
    assert means["truth"]["EC"] == 1.0
    assert means["truth"]["epdms"] >= means["truth"]["pdms"]
    for score in ("pdms", "epdms"):
        # The ego of these scenes goes straight on, so that constant velocity is the truth.
        assert means["straight"][score] == pytest.approx(means["truth"][score], abs=0.02)
        assert means["drunk"][score] < means["truth"][score] - 0.2
    assert means["drunk"]["HC"] < 0.2
    assert means["drunk"]["EC"] < 0.5


def test_the_recorded_drive_forgives_itself_in_closed_loop() -> None:
    crash = batch_of(scene(going(0.0), going(30.0, speed=0.0)))
    rollout = simulate(crash, planner("log_replay"))
    scores = of_rollout(rollout, measure(rollout))[0]
    assert scores["pdms"] == 0.0
    assert scores["epdms"] == 1.0
