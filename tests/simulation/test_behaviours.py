"""Who behaves how: what a case's words mean, and draws that depend on nobody else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from schemas.case import Case
from schemas.errors import BadSetting, UnknownName
from schemas.labels import AgentClass
from simulation.behaviours import AgentMode, chance, modes_of, understood
from simulation.planners import planner
from simulation.running import run_cases
from tests.simulation.driving import case_of, drawn_scenes, going, scene

CAR, PERSON, CYCLIST, CONE = (
    int(c)
    for c in (
        AgentClass.VEHICLE,
        AgentClass.PEDESTRIAN,
        AgentClass.CYCLIST,
        AgentClass.OBSTACLE,
    )
)


def modes(
    words: str, cls: list[int], *, seed: int = 0, case_id: int = 1, first: int = 0
) -> list[int]:
    ids = np.arange(first, first + len(cls))
    return modes_of(words, cls=np.array(cls), track_id=ids, case_id=case_id, seed=seed).tolist()


@pytest.mark.parametrize(
    ("words", "car", "person", "cyclist", "cone"),
    [
        ("log", 0, 0, 0, 0),
        ("constant_velocity", 1, 1, 1, 1),
        ("idm", 2, 0, 0, 0),
        ("log_then_idm", 3, 0, 3, 0),
        ("mobil", 4, 0, 0, 0),
        ("yielding", 0, 5, 5, 0),
        ("mixed:idm=1,yielding=1", 2, 5, 5, 0),
        ("mixed:yielding=1", 0, 5, 5, 0),
    ],
)
def test_words_say_who_behaves_so(
    words: str, car: int, person: int, cyclist: int, cone: int
) -> None:
    assert modes(words, [CAR, PERSON, CYCLIST, CONE]) == [car, person, cyclist, cone]


@pytest.mark.parametrize(
    ("words", "error", "told"),
    [
        ("imd", UnknownName, "Did you mean `idm`"),
        ("mixed:idm=0.5,mobile=0.5", UnknownName, "mobil"),
        ("mixed:idm=0.5,mobil=0.4", BadSetting, "sum to 0.9"),
        ("mixed:idm=0.5,idm=0.5", BadSetting, "`idm=0.5`"),
        ("mixed:idm", BadSetting, "`idm`"),
        ("mixed:idm=-1,mobil=2", BadSetting, "`idm=-1`"),
        ("mixed:idm=nan", BadSetting, "nan"),
        ("mixed:", UnknownName, "Known"),
    ],
)
def test_what_is_not_understood_is_refused(words: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error) as caught:
        understood(words)
    assert told in f"{caught.value} {getattr(caught.value, 'hint', '')}"


def test_shares_are_those_asked_for() -> None:
    drawn = np.array(
        modes("mixed:idm=0.5,log=0.3,mobil=0.2,yielding=0.7", [CAR] * 20_000 + [PERSON] * 20_000)
    )
    cars, people = drawn[:20_000], drawn[20_000:]
    three_sigma = 3 * 0.5 / np.sqrt(20_000)
    for mode, share in ((AgentMode.IDM, 0.5), (AgentMode.LOG, 0.3), (AgentMode.MOBIL, 0.2)):
        assert abs((cars == mode).mean() - share) < three_sigma
    assert abs((people == AgentMode.YIELDING).mean() - 0.7) < three_sigma
    assert set(people.tolist()) == {AgentMode.LOG, AgentMode.YIELDING}


def test_a_draw_depends_on_seed_case_and_agent_alone() -> None:
    words = "mixed:idm=0.5,log=0.5"
    whole = modes(words, [CAR] * 200)
    assert modes(words, [CAR] * 50, first=100) == whole[100:150]
    others = [modes(words, [CAR] * 200, seed=1), modes(words, [CAR] * 200, case_id=2)]
    for other in others:
        assert 60 < sum(a != b for a, b in zip(whole, other, strict=True)) < 140


def test_chances_are_even_and_apart() -> None:
    ids = np.arange(50_000)
    one, two = (chance(p, seed=3, case_id=7, track_id=ids) for p in ("behaviour", "margin"))
    counts = np.histogram(one, bins=50, range=(0.0, 1.0))[0]
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000)
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.02
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.02


def test_what_agents_do_is_kept_with_the_case_and_told_in_the_result() -> None:
    words = "mixed:idm=0.5,mobil=0.5,yielding=0.5"
    built = drawn_scenes(6, seed=4)
    cases = [case_of(s, agents=words) for s in built]
    for case in cases:
        again = Case.from_row(case.row(run_id=0))
        assert (again.agents, again.seed) == (case.agents, case.seed)
    for ran, made in zip(
        run_cases(zip(cases, built, strict=True), planner("idm")), built, strict=True
    ):
        case = ran.result.case
        drawn = modes_of(
            words, cls=made.tracks.cls, track_id=made.tracks.track_id, case_id=case.case_id, seed=0
        )
        for name, ids in ran.result.agents["behaviours"].items():
            assert {int(drawn[i]) for i in ids} == {int(AgentMode[name.upper()])}
        kept = [i for ids in ran.result.agents["behaviours"].values() for i in ids]
        assert len(kept) == len(set(kept)) == int((drawn[1:] != AgentMode.LOG).sum())


def test_a_suite_of_another_seed_draws_otherwise() -> None:
    built = scene(going(0.0), *[going(20.0 * i, 30.0) for i in range(1, 9)])
    case = case_of(built, agents="mixed:idm=0.5,log=0.5")
    runs = [
        next(run_cases([(dataclasses.replace(case, seed=seed), built)], planner("idm")))
        for seed in (0, 1)
    ]
    assert runs[0].result.agents != runs[1].result.agents
