"""Many logs of one place: are they what the rate and the seed say, and is each a sound log of its own?"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from schemas.errors import BadSetting
from schemas.records import Log
from simulation import places
from simulation.observe import Senses
from simulation.places import LOG_S, LOGS, Place, logs_of_place
from simulation.rare import BEHAVIOURS
from simulation.roads import build
from simulation.traffic import DT, Climate, Traffic
from simulation.truth import Truth
from simulation.world import MOVES_M, SHARES


@lru_cache
def made(number: int = 3) -> list[tuple[Log, Truth]]:
    return logs_of_place(Place(seed=5, number=number, rare_rate=0.3))


def test_logs_of_a_place_share_its_map_and_name_their_place() -> None:
    logs = [log for log, _ in made()]
    assert [log.source_log_id for log in logs] == [f"world-5-00003-{k:02d}" for k in range(LOGS)]
    assert len({id(log.map) for log in logs}) == 1
    assert len({log.extra["split_group"] for log in logs}) == 1
    assert len({log.weather for log in logs}) > 1  # other people on other days


def test_every_ego_is_there_all_the_time_and_gets_along() -> None:
    for log, truth in made():
        assert truth.motion.present[0].all()
        assert truth.motion.present.shape[1] == round(LOG_S / DT) + 1
        assert truth.motion.collisions() == []
        if not truth.planted:
            assert truth.motion.speed[0].sum() * DT >= MOVES_M
        assert log.extra["planted"] == truth.as_json()["planted"]


def test_recordings_of_one_population_do_not_overlap() -> None:
    """Who is in two logs goes on in the second where the first left it, or has moved on since."""
    left: dict[str, tuple[np.ndarray, float]] = {}
    again = 0
    for _, truth in made():
        motion = truth.motion
        row = {name: k for k, name in enumerate(motion.source_track_id) if name != "ego"}
        same = [
            bool(np.abs(motion.xy[row[name], 0] - xy).max() < 1e-9)
            for name, (xy, speed) in left.items()
            if name in row and motion.present[row[name], 0] and speed > 1.0
        ]
        assert all(same) or not any(same)
        again += sum(same)
        left = {name: (motion.xy[k, -1], motion.speed[k, -1])
                for name, k in row.items() if motion.present[k, -1]}  # fmt: skip
    assert again > 5


def test_a_place_is_the_same_every_time_and_another_one_is_not() -> None:
    first, again = made()[2][0], logs_of_place(Place(seed=5, number=3, rare_rate=0.3))[2][0]
    assert (first.agents.xyz == again.agents.xyz).all()
    assert first.extra == again.extra
    other = made(4)[2][0]
    assert first.map.source_map_id != other.map.source_map_id


def test_behaviours_come_at_the_rate_that_was_asked_for() -> None:
    """Where roads have none, the others have more: 0.3 over all kinds of road."""
    rng = np.random.default_rng(0)
    roads = rng.choice(list(SHARES), p=list(SHARES.values()), size=20_000)
    place = Place(seed=0, number=0, rare_rate=0.3)
    eventful = {road for script in BEHAVIOURS.values() for road in script.roads}
    rates = [places._rate_on(str(road), place) for road in roads]
    assert np.mean(rates) == pytest.approx(0.3, abs=0.005)
    assert {
        road for road in SHARES if places._rate_on(road, place) == 0.0
    } == SHARES.keys() - eventful
    assert places._rate_on("highway", replace(place, rare_rate=1.0)) == 1.0
    assert sum(bool(truth.planted) for _, truth in made()) >= 2


def test_senses_change_what_is_told_and_nothing_else() -> None:
    clear = Place(seed=5, number=3, rare_rate=0.3, senses=Senses(noise=False, occlusion=False))
    (log, truth), (sensed, same) = logs_of_place(clear)[0], made()[0]
    assert (truth.motion.xy == same.motion.xy).all()
    assert len(log.agents.t_ns) > len(sensed.agents.t_ns)
    row = [truth.motion.source_track_id.index(name) for name in log.agents.source_track_id]
    step = log.agents.t_ns // 100_000_000
    assert (log.agents.xyz[:, :2] == truth.motion.xy[np.array(row)[log.agents.track], step]).all()


def test_what_is_held_out_occurs_in_no_log() -> None:
    without = frozenset({"signalled", "highway", "rain", "cyclist", "pedestrian", "swerve"})
    for number in range(2):
        for log, truth in logs_of_place(
            Place(seed=6, number=number, rare_rate=0.3, without=without)
        ):
            assert truth.road not in without
            assert truth.weather.word not in without
            assert not {cls.word for cls in log.agents.cls} & without
            assert not {planted.name for planted in truth.planted} & without
    with pytest.raises(BadSetting, match="kind of road"):
        Place(seed=6, number=0, rare_rate=0.3, without=frozenset(SHARES))


def test_seeds_that_ids_have_no_room_for_are_refused() -> None:
    with pytest.raises(BadSetting, match="2147483648"):
        Place(seed=2**31, number=0, rare_rate=0.0)


def test_slots_of_those_who_left_are_free_again_and_traffic_goes_on_as_before() -> None:
    """Refreshed or not, the same people drive the same way: slots are names, not facts."""

    def drive(refresh: bool) -> tuple[Traffic, dict[int, tuple[float, float]]]:
        rng = np.random.default_rng(11)
        traffic = Traffic(build("highway", rng), rng, Climate())
        traffic.populate(20.0, 60.0, 4)
        for _ in range(150):
            traffic.step()
        if refresh:
            traffic.refresh(0)
        for _ in range(100):
            traffic.step()
        rows = np.flatnonzero(traffic.alive)
        return traffic, {int(traffic.uid[i]): (traffic.s[i], traffic.v[i]) for i in rows}

    kept, as_before = drive(refresh=False)
    freed, after = drive(refresh=True)
    assert freed.count < kept.count
    assert after == as_before
