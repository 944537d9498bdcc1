import json
from pathlib import Path

import pytest

from lake import Lake
from mining.tag import tag
from schemas.errors import BadSetting, LakeError, UnknownName
from tests.builders import make_crossing_log, make_straight_log


@pytest.fixture
def lake(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    add(lake, make_straight_log())
    return lake


def add(lake, *logs):
    with lake.run("ingest") as run:
        return lake.add_logs(logs, run_id=run.id)


def answers(lake):
    """What every way of reading says."""
    scenes = list(lake.scenes())
    return {
        "read": lake.read("agents"),
        "sql": lake.sql("SELECT count(*) AS n, max(x) AS x FROM agents").to_pylist(),
        "ids": lake.scene_ids(),
        "names": [scene.name for scene in scenes],
        "positions": [scene.tracks.xy.tobytes() for scene in scenes],
        "events": lake.sql("FROM events ORDER BY event_id").to_pylist(),
        "versions": lake.versions(),
        "hours": lake.info().hours,
    }


def test_a_snapshot_answers_as_the_lake_did(lake):
    before = answers(lake)
    made = lake.snapshot("first")
    assert made.tables == before["versions"]
    add(lake, make_crossing_log())
    tag(lake)
    lake.replace("agents", [], where="track_id = 1")
    assert answers(lake) != before
    assert answers(lake.at("first")) == before
    assert answers(Lake.open(lake.uri, at="first")) == before
    assert lake.at("first").verify() == []


def test_a_snapshot_outlives_compaction(lake):
    before = answers(lake)
    lake.snapshot("first")
    for k in range(3):
        add(lake, make_straight_log(f"more{k}"))
    lake.replace("agents", [], where="true")
    lake.compact(keep_s=0)
    assert answers(lake.at("first")) == before
    for data in lake.store.datasets().values():  # nor does Lance's own cleaning remove it
        data.cleanup_old_versions(retain_versions=1, error_if_tagged_old_versions=False)
    assert answers(Lake.open(lake.uri, at="first")) == before


def test_the_present_can_be_held_still(lake):
    now = lake.at()
    before = answers(now)
    add(lake, make_crossing_log())
    assert answers(now) == before
    assert now.read("logs").num_rows == 1
    assert lake.read("logs").num_rows == 2


def test_scenes_come_from_one_moment(lake):
    add(lake, make_crossing_log())
    scenes = lake.scenes()
    first = next(scenes)
    lake.replace("dense", [], where="true")
    lake.replace("scenes", [], where="true")
    assert {first.name, next(scenes).name} == {"straight", "crossing"}


def test_the_past_cannot_be_written(lake):
    lake.snapshot("first")
    past = lake.at("first")
    for write in (
        lambda: past.append("gaps", []),
        lambda: past.replace("logs", [], where="true"),
        lambda: add(past, make_crossing_log()),
        lambda: past.put_blobs([b"x"], run_id=1),
        lambda: past.compact(),
        lambda: past.snapshot("second"),
    ):
        with pytest.raises(LakeError, match="as it was at one moment"):
            write()


def test_names(lake):
    lake.snapshot("v1.0-rc_2")
    with pytest.raises(LakeError, match=r"has a snapshot `v1\.0-rc_2` already"):
        lake.snapshot("v1.0-rc_2")
    with pytest.raises(UnknownName, match=r"No snapshot is called `v1\.0`\. Did you mean"):
        lake.at("v1.0")
    with pytest.raises(UnknownName):
        Lake.open(lake.uri, at="nope")
    with pytest.raises(UnknownName):
        lake.delete_snapshot("nope")
    for wrong in ("", "a b", "a/b", "../x", "a..b", ".a", "x.lock", "a.", "-x", "x" * 101, "é"):
        with pytest.raises(BadSetting, match="cannot be called"):
            lake.snapshot(wrong)


def test_snapshots_are_listed_in_order_and_let_go(lake):
    assert lake.snapshots() == []
    lake.snapshot("b")
    add(lake, make_crossing_log())
    lake.snapshot("a")
    assert [snap.name for snap in lake.snapshots()] == ["b", "a"]
    lake.delete_snapshot("b")
    assert [snap.name for snap in Lake.open(lake.uri).snapshots()] == ["a"]
    tags = {tag for data in lake.store.datasets().values() for tag in data.tags.list()}
    assert tags == {"a"}
    lake.compact(keep_s=0)
    assert lake.at("a").read("logs").num_rows == 2
    lake.snapshot("b")  # the name is free again


def test_a_snapshot_that_was_cut_short_is_none(lake, monkeypatch):
    """Its writer was killed after the tags; they are used again, or cleared away."""
    monkeypatch.setattr(lake.store, "keep", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    for name in ("one", "two"):
        with pytest.raises(KeyboardInterrupt):
            lake.snapshot(name)
    monkeypatch.undo()
    assert lake.snapshots() == []
    add(lake, make_crossing_log())
    lake.snapshot("one")
    assert lake.at("one").read("logs").num_rows == 2
    assert set(lake.store.dataset("logs").tags.list()) == {"one", "two"}
    lake.compact()
    assert set(lake.store.dataset("logs").tags.list()) == {"one"}


def test_a_snapshot_of_an_empty_lake(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    lake.snapshot("nothing")
    add(lake, make_straight_log())
    assert lake.at("nothing").read("logs").num_rows == 0
    assert lake.at("nothing").sql("SELECT count(*) AS n FROM logs").to_pylist() == [{"n": 0}]
    about = json.loads((Path(lake.uri) / "lake.json").read_text())
    assert about["snapshots"]["nothing"]["tables"] == {}
