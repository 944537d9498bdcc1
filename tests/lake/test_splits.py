from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake import Lake
from lake.recut import Sliding
from lake.splits import assign, components, touching
from schemas.errors import BadQuery, UnknownName
from schemas.records import Log, RoadMap
from tests.builders import make_crossing_log, make_straight_log

MINUTE = 60 * 10**9
NOON = 1_700_000_000 * 10**9


def drive(name: str, *, minute: float | None = 0.0, east: float = 0.0, map: bool = False) -> Log:
    """The straight log, elsewhere and at another time, without a map unless asked for."""
    log = make_straight_log()
    moved = np.array([east, 0.0, 0.0])
    return replace(
        log,
        source_log_id=name,
        t0_unix_ns=None if minute is None else NOON + round(minute * MINUTE),
        ego=replace(log.ego, xyz=log.ego.xyz + moved),
        agents=replace(log.agents, xyz=log.agents.xyz + moved),
        map=log.map if map else RoadMap.none(),
        windows=(),
        events=(),
    )


def groups(lake: Lake) -> dict[str, str]:
    names = dict(
        zip(*(lake.read("logs")[c].to_pylist() for c in ("log_id", "source_log_id")), strict=True)
    )
    rows = lake.read("scenes", ["log_id", "split_group"]).to_pylist()
    return {names[row["log_id"]]: row["split_group"].split("/", 1)[1] for row in rows}


def put(lake: Lake, *logs: Log, source: str = "log") -> None:
    with lake.run("test") as run:
        lake.add_logs(logs, run_id=run.id, source=source)


@pytest.fixture
def lake(tmp_path):
    return Lake.create(tmp_path / "lake")


def test_one_place_and_time_is_one_group(lake):
    put(lake, drive("a"), drive("b", minute=9), drive("c", minute=30), drive("d", east=5000))
    assert groups(lake) == {"a": "a", "b": "a", "c": "c", "d": "d"}


def test_groups_reach_over_steps_and_merge(lake):
    put(lake, drive("z"), drive("b", minute=19))
    assert groups(lake) == {"z": "z", "b": "b"}
    put(
        lake, drive("y", minute=10)
    )  # within ten minutes of the end of one, the begin of the other
    assert groups(lake) == {"z": "b", "b": "b", "y": "b"}


def test_another_location_is_another_place(lake):
    put(lake, drive("a"), replace(drive("b"), location="elsewhere"))
    assert len(set(groups(lake).values())) == 2
    put(lake, replace(drive("c"), dataset="other"))
    assert len(set(groups(lake).values())) == 3


def test_hidden_times_on_one_small_map_belong_together(lake):
    put(lake, drive("a", minute=None, map=True), drive("b", minute=None))
    assert groups(lake) == {"a": "a", "b": "b"}
    put(lake, drive("c", minute=None, map=True), drive("d", minute=500, map=True))
    assert groups(lake) == {"a": "a", "b": "b", "c": "a", "d": "a"}


def test_known_times_on_one_small_map_part(lake):
    put(
        lake,
        drive("a", map=True),
        drive("b", minute=60, map=True),
        drive("c", minute=65, map=True),
    )
    assert groups(lake) == {"a": "a", "b": "b", "c": "b"}


def test_a_city_is_no_place(lake):
    def far(log: Log) -> Log:
        away = replace(
            log.map.features[3], points=log.map.features[3].points + np.array([4000.0, 0, 0])
        )
        return replace(log, map=replace(log.map, features=(*log.map.features[:3], away)))

    put(lake, far(drive("a", minute=None, map=True)), far(drive("b", minute=None, map=True)))
    assert groups(lake) == {"a": "a", "b": "b"}


def test_a_reader_may_name_the_group(lake):
    named = {"split_group": "builders/drive 7"}
    put(lake, replace(drive("a"), extra=named), replace(drive("b", minute=99), extra=named))
    put(lake, drive("0", minute=100))
    assert set(groups(lake).values()) == {"drive 7"}


def test_what_is_generated_stays_with_its_parent(lake):
    put(lake, drive("parent"))
    (scene_id,) = lake.scene_ids()
    child = replace(
        drive("child", minute=None), dataset="made", extra={"parent_scene_id": str(scene_id)}
    )
    put(lake, child, source="generated")
    assert groups(lake) == {"parent": "parent", "child": "parent"}


def test_recut_keeps_groups(lake):
    put(lake, drive("a"), drive("b", minute=2), drive("c", minute=200))
    before = groups(lake)
    lake.recut(Sliding(length_s=2.0))
    assert lake.read("scenes").num_rows > 3
    assert groups(lake) == before


def test_again_changes_nothing(lake):
    put(lake, drive("a"), drive("b", minute=2), make_crossing_log())
    version = lake.versions()["scenes"]
    with lake.store.writing():
        assert assign(lake) == 0
    assert lake.versions()["scenes"] == version
    assert not lake.verify()


def test_no_group_is_on_two_sides_and_more_logs_move_none(lake):
    put(lake, *(drive(f"{i}", minute=100 * (i // 2)) for i in range(40)))
    for seed in range(5):
        sides = lake.split(test=0.3, seed=seed)
        assert sorted(sides["train"] + sides["test"]) == sorted(lake.scene_ids())
    first = lake.split(test=0.3)
    group = {
        row["scene_id"]: row["split_group"]
        for row in lake.read("scenes", ["scene_id", "split_group"]).to_pylist()
    }
    assert not {group[i] for i in first["train"]} & {group[i] for i in first["test"]}
    assert len(first["test"]) % 2 == 0
    assert 0 < len(first["test"]) < len(first["train"])
    assert lake.split(test=0.3, seed=1) != first
    put(lake, *(drive(f"more {i}", minute=9000 + 100 * i) for i in range(10)))
    later = lake.split(test=0.3)
    assert set(first["train"]) <= set(later["train"])
    assert set(first["test"]) <= set(later["test"])
    assert lake.split(test=0.0)["test"] == []
    assert lake.split(test=1.0)["train"] == []


def test_splits_by_other_columns(lake):
    put(lake, drive("a"), make_crossing_log())
    both = lake.split(test=0.5, by="dataset")
    assert sorted(map(len, both.values())) == [0, 2]
    assert sum(map(len, lake.split(by="weather").values())) == 2
    with pytest.raises(UnknownName, match="split_groop"):
        lake.split(by="split_groop")
    with pytest.raises(BadQuery, match="share"):
        lake.split(test=1.5)


boxes = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.integers(0, 4),
        st.integers(0, 20),
        st.integers(0, 4),
        st.integers(0, 1),
    ),
    max_size=40,
)


@given(drawn=boxes, at_once=st.sampled_from([2, 64]))
@settings(max_examples=150)
def test_boxes_that_touch_are_joined_and_no_others(drawn, at_once):
    from unittest.mock import patch

    low = np.array([(x, y) for x, _, y, _, _ in drawn], dtype=float).reshape(-1, 2)
    high = low + np.array([(w, h) for _, w, _, h, _ in drawn], dtype=float).reshape(-1, 2)
    kind = np.array([k for *_, k in drawn], dtype=np.int64)
    with patch("lake.splits.PAIRS_AT_ONCE", at_once):
        mine = components(len(low), touching(low, high, kind))
    meet = (low[:, None] <= high).all(-1) & (low <= high[:, None]).all(-1)
    meet &= kind[:, None] == kind
    theirs = components(len(low), np.argwhere(meet))
    assert (mine[:, None] == mine).tolist() == (theirs[:, None] == theirs).tolist()


@given(
    starts=st.lists(st.integers(0, 200), min_size=1, max_size=25),
    more=st.lists(st.integers(0, 200)),
)
@settings(max_examples=50)
def test_groups_only_grow(starts, more):
    def joined(times: list[int]) -> np.ndarray:
        low = np.array(times, dtype=float)[:, None]
        number = components(len(times), touching(low, low + 3, np.zeros(len(times), np.int64)))
        return number[:, None] == number

    few = joined(starts)
    assert joined(starts + more)[: len(starts), : len(starts)][few].all()
