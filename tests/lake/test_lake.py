import json
import subprocess
import sys
import threading
import time
from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pytest

from lake import Lake
from lake.scenes import scenes_of
from schemas.errors import (
    BadQuery,
    DuplicateLog,
    LakeError,
    LakeTooNew,
    NoLake,
    StorageFull,
    UnknownName,
)
from schemas.records import Frame, Readings, Sensor
from schemas.tables import SCHEMA_VERSION, TABLES
from tests.builders import make_crossing_log, make_straight_log, without


@pytest.fixture
def lake(tmp_path):
    return Lake.create(tmp_path / "lake")


def add(lake, *logs, source="log"):
    with lake.run("test") as run:
        return lake.add_logs(logs, run_id=run.id, source=source)


def same_records(a, b, *, but=()):
    """Field by field, arrays by type and value."""
    for name in (field.name for field in fields(a)):
        if name in but:
            continue
        mine, other = getattr(a, name), getattr(b, name)
        if isinstance(mine, np.ndarray):
            assert mine.dtype == other.dtype, name
            np.testing.assert_array_equal(mine, other, err_msg=name)
        else:
            assert mine == other, name


# Opening


def test_there_must_be_a_lake(tmp_path):
    with pytest.raises(NoLake) as caught:
        Lake.open(tmp_path / "nowhere")
    assert "nowhere" in caught.value.message
    assert "--lake" in caught.value.hint


def test_a_lake_is_created_once(lake):
    with pytest.raises(LakeError, match="exists already"):
        Lake.create(lake.uri)
    assert Lake.open_or_create(lake.uri).uri == lake.uri


def test_a_newer_lake_is_refused(lake, tmp_path):
    about = tmp_path / "lake" / "lake.json"
    about.write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1, "scenelake": "9.9"}))
    with pytest.raises(LakeTooNew, match=r"Scenelake 9\.9"):
        Lake.open(lake.uri)
    about.write_text("{")
    with pytest.raises(LakeError, match="cannot be read"):
        Lake.open(lake.uri)


def test_a_lake_needs_a_place_of_a_known_kind(tmp_path):
    with pytest.raises(LakeError, match="no kind that is known"):
        Lake.open("ftp://host/lake")
    (tmp_path / "file").write_text("")
    with pytest.raises(LakeError, match="a file of that name"):
        Lake.create(tmp_path / "file")


def test_importing_the_lake_is_light():
    code = (
        "import sys, lake; light = set(sys.modules); from lake import Lake; import lake.ingest;"
        "assert 'lance' not in light;"
        "assert not {'torch', 'pandas', 'lancedb', 'sklearn', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Rows


def test_an_empty_lake_has_every_table(lake):
    for name, table in TABLES.items():
        assert lake.read(name).schema == table.schema
        assert lake.read(name).num_rows == 0
    assert lake.versions() == {}
    assert list(lake.scenes()) == []


def test_append_and_read(lake):
    gap = {"tag": "cut_in", "road_type": "curve", "weather": "rain", "daylight": "day",
           "count": 1, "generated": 0, "wanted": 5, "run_id": 7}  # fmt: skip
    lake.append("gaps", [{"gap_id": "b", **gap}, {"gap_id": "a", **gap}])
    assert lake.read("gaps", ["gap_id"])["gap_id"].to_pylist() == ["a", "b"]
    assert lake.read("gaps", where="gap_id = 'b'").num_rows == 1
    lake.replace("gaps", [{"gap_id": "c", **gap}], where="gap_id = 'a'")
    assert sorted(lake.read("gaps")["gap_id"].to_pylist()) == ["b", "c"]
    lake.replace("gaps", [], where="true")
    assert lake.read("gaps").num_rows == 0


def test_wrong_rows_are_refused(lake):
    with pytest.raises(UnknownName, match="table"):
        lake.append("gasp", [])
    with pytest.raises(UnknownName, match="Did you mean `gap_id`"):
        lake.append("gaps", [{"gapid": "a"}])
    with pytest.raises(ValueError, match="must not be null"):
        lake.append("gaps", [{"gap_id": "a"}])
    with pytest.raises(UnknownName, match="column"):
        lake.read("gaps", ["cell"])


def test_a_bad_filter_is_told(lake):
    add(lake, make_straight_log())
    with pytest.raises(BadQuery, match="speed"):
        lake.read("agents", where="speed > 3")
    versions = lake.versions()
    with pytest.raises(BadQuery, match="speed"):
        lake.replace("events", [], where="speed > 3")
    assert lake.read("events").num_rows == 1
    assert lake.versions() == versions


def test_embeddings_keep_their_width(lake):
    width = TABLES["embeddings"].schema.field("vector").type.list_size
    vector = np.zeros(width, dtype=np.float32)
    vector[3] = 1.0
    lake.append(
        "embeddings", [{"scene_id": 1, "model": "m", "vector": vector.tolist(), "run_id": 1}]
    )
    assert lake.read("embeddings")["vector"].to_pylist()[0] == vector.tolist()


# Logs


def test_rows_say_what_the_source_says(lake):
    log = make_straight_log()
    ids = add(lake, log)
    row = lake.read("logs").to_pylist()[0]
    assert row["log_id"] == ids["logs"][0]
    assert (row["dataset"], row["source_log_id"], row["weather"]) == ("built", "straight", "rain")
    assert row["t0_unix_ns"] == log.t0_unix_ns
    assert row["distance_m"] == pytest.approx(90.0, abs=1e-3)
    assert row["dur_ns"] == 9 * 10**9
    agents = lake.read("agents", where="track_id = 1")
    x = agents["x"].to_numpy().astype(np.float64) + row["origin_x"]
    np.testing.assert_allclose(x, log.agents.xyz[:91, 0], atol=1e-3)
    np.testing.assert_array_equal(agents["t_ns"].to_numpy(), log.agents.t_ns[:91])
    tracks = lake.read("tracks").to_pylist()
    assert [t["source_track_id"] for t in tracks] == ["ego", "lead", "truck", "walker"]
    assert [t["source_cls"] for t in tracks] == ["ego", "VEHICLE", "TRUCK", "PEDESTRIAN"]
    assert [t["velocity_source"] for t in tracks] == ["measured", "derived", "derived", "derived"]
    assert tracks[3]["path_len"] == pytest.approx(13.5, abs=1e-3)
    assert tracks[3]["v_max"] == pytest.approx(1.5, abs=1e-3)
    scene = lake.read("scenes").to_pylist()[0]
    assert (scene["n_agents"], scene["n_vru"], scene["road_type"]) == (3, 1, "straight")
    assert scene["ego_v_mean"] == pytest.approx(10.0)
    event = lake.read("events").to_pylist()[0]
    assert (event["name"], event["actor_id"], event["source"]) == ("following", 1, "dataset")


def test_a_log_lasts_as_long_as_anything_was_recorded(lake):
    """A camera that runs on after the last state, a bus that was read before the first."""
    told = make_straight_log()
    late = replace(
        told, ego=replace(told.ego, t_ns=told.ego.t_ns + 10**9),
        agents=replace(told.agents, t_ns=told.agents.t_ns + 10**9), events=(),
        sensors=(Sensor(channel="front", kind="camera"), Sensor(channel="can", kind="can")),
        frames=(Frame(channel="front", t_ns=12 * 10**9, uri="a.png", codec="png"),),
        readings=(Readings(channel="can", signal="v", t_ns=np.array([0]), value=np.zeros(1)),),
    )  # fmt: skip
    add(lake, late)
    alone = replace(without(late, "agents", "ego"), source_log_id="alone", readings=())
    add(lake, alone)
    lasts = {row["source_log_id"]: row["dur_ns"] for row in lake.read("logs").to_pylist()}
    assert lasts == {"straight": 12 * 10**9, "alone": 0}
    assert lake.info().hours == pytest.approx(12 / 3600)


def test_map_rows(lake):
    add(lake, make_straight_log())
    import shapely

    rows = {r["source_feature_id"]: r for r in lake.read("map_features").to_pylist()}
    assert rows["lane0"]["turn"] == "straight"
    assert rows["lane0"]["length_m"] == pytest.approx(400.0)
    assert rows["lane0"]["speed_limit"] == pytest.approx(13.9)
    assert rows["walk"]["lane_type"] is None
    assert rows["walk"]["length_m"] == pytest.approx(32.0)
    kinds = {name: shapely.from_wkb(row["wkb"]).geom_type for name, row in rows.items()}
    assert kinds == {
        "lane0": "LineString",
        "lane1": "LineString",
        "walk": "Polygon",
        "sign": "Point",
    }
    assert shapely.from_wkb(rows["walk"]["wkb"]).area == pytest.approx(48.0)


def test_what_was_not_observed_is_null(lake):
    log = make_straight_log()
    valid = np.ones(len(log.agents.t_ns), dtype=bool)
    valid[3] = False
    size = log.agents.size.copy()
    size[:, 2] = np.nan
    add(lake, replace(log, agents=replace(log.agents, valid=valid, size=size)))
    row = lake.read("agents", where="track_id = 1 and t_ns = 300000000").to_pylist()[0]
    assert row["valid"] is False
    names = ("x", "y", "z", "yaw", "vx_map", "vy_map", "length", "height", "lane_id", "lane_s")
    assert all(row[name] is None for name in names)
    told = lake.read("agents", where="valid")
    assert told["height"].null_count == told.num_rows
    assert told["length"].null_count == 0
    assert lake.verify() == []


def test_logs_of_one_map_share_its_rows(lake):
    add(lake, make_straight_log("a"), make_straight_log("b"))
    add(lake, make_straight_log("c"))
    assert lake.read("map_features").num_rows == 4
    assert len(set(lake.read("logs")["map_id"].to_pylist())) == 1


@pytest.mark.parametrize(
    "log",
    [
        make_straight_log(), make_crossing_log(), make_straight_log("long", steps=250),
        make_straight_log("short", steps=11), make_straight_log("one", steps=1),
        make_straight_log("slow", steps=30, dt=0.3), without(make_crossing_log(), "ego"),
        without(make_crossing_log(), "map"), without(make_straight_log(), "map", "agents"),
    ],
    ids=lambda log: log.source_log_id,
)  # fmt: skip
def test_a_scene_from_the_lake_is_the_scene_of_the_log(lake, log):
    ids = add(lake, log)
    fresh = scenes_of(log)
    assert [scene.scene_id for scene in fresh] == ids["scenes"]
    for mine, stored in zip(fresh, lake.scenes(ids["scenes"]), strict=True):
        same_records(mine, stored, but=("tracks", "signals", "map"))
        same_records(mine.tracks, stored.tracks)
        same_records(mine.signals, stored.signals)
        same_records(mine.map, stored.map, but=("features",))
        for a, b in zip(mine.map.features, stored.map.features, strict=True):
            same_records(a, b)


def test_long_scenes_are_read_few_at_a_time(lake, monkeypatch):
    ids = add(lake, *(make_straight_log(name, steps=91) for name in "abcde"))["scenes"]
    asked = []
    load = Lake._load
    monkeypatch.setattr(
        Lake, "_load", lambda self, some: asked.append(len(some)) or load(self, some)
    )
    assert [scene.scene_id for scene in lake.scenes(ids)] == ids
    assert asked == [5]
    of_one = lake.read("dense")["n_agents"][0].as_py() * 91
    monkeypatch.setattr("lake.lake.STATES_AT_ONCE", 2 * of_one)
    asked.clear()
    assert [scene.scene_id for scene in lake.scenes(ids)] == ids
    assert asked == [2, 2, 1]


def test_a_log_comes_in_once(lake):
    first = add(lake, make_straight_log())
    again = add(lake, make_straight_log())
    assert again == {**first, "unchanged": 1}
    assert lake.read("logs").num_rows == 1
    other = replace(make_straight_log(), ego=None)
    with pytest.raises(DuplicateLog, match="straight already"):
        add(lake, make_crossing_log(), other)
    assert lake.read("logs").num_rows == 1  # nor did the crossing come in
    assert lake.read("runs")["outcome"].to_pylist()[-1].startswith("DuplicateLog")


def test_generated_scenes_say_so(lake):
    ids = add(lake, make_straight_log("g"), source="generated")
    assert lake.scene(ids["scenes"][0]).source == "generated"


def test_scenes_are_found_by_id_and_name(lake):
    ids = add(lake, make_straight_log(), make_crossing_log(), make_crossing_log(dataset="other"))
    one = ids["scenes"][0]
    assert lake.resolve_scene(str(one)) == lake.resolve_scene("straight") == one
    with pytest.raises(BadQuery, match="2 scenes"):
        lake.resolve_scene("crossing")
    with pytest.raises(UnknownName, match="Did you mean `straight`"):
        lake.resolve_scene("straigth")
    with pytest.raises(UnknownName):
        lake.scene(5)
    with pytest.raises(UnknownName):
        lake.resolve_scene("it's")
    assert lake.scene_ids("has_ego and dataset = 'other'") == [ids["scenes"][2]]
    backwards = ids["scenes"][::-1]
    assert [scene.scene_id for scene in lake.scenes(backwards)] == backwards


def test_runs_are_kept_however_they_end(lake):
    with lake.run("mine tag", params={"only": None}, seed=3, model="m") as run:
        run.summary["rows"] = 5
    with pytest.raises(KeyError), lake.run("broken"):
        raise KeyError("x")
    with lake.run("nothing to do") as idle:
        idle.keep = False
    rows = sorted(lake.read("runs").to_pylist(), key=lambda row: row["started_unix_ns"])
    assert [row["command"] for row in rows] == ["mine tag", "broken"]
    assert rows[0]["outcome"] == "done"
    assert json.loads(rows[0]["summary"]) == {"rows": 5}
    assert (rows[0]["run_id"], rows[0]["seed"]) == (run.id, 3)
    assert rows[1]["outcome"] == "KeyError: 'x'"


# One writer, whole batches


def test_a_full_disk_is_told_and_undone(lake, monkeypatch):
    add(lake, make_straight_log())
    before = {name: lake.read(name) for name in TABLES}
    import lance

    written = lance.write_dataset

    def full(data, path, **options):
        if "scenes" in getattr(path, "uri", path):
            raise OSError("LanceError(IO): No space left on device (os error 28), x.rs:1")
        return written(data, path, **options)

    monkeypatch.setattr(lance, "write_dataset", full)
    with pytest.raises(StorageFull, match="no space left"):
        add(lake, make_crossing_log())
    monkeypatch.undo()
    for name in set(TABLES) - {"runs"}:
        assert lake.read(name).equals(before[name]), name
    add(lake, make_crossing_log())
    assert lake.verify() == []


def test_a_batch_cut_short_is_never_seen(lake, monkeypatch):
    add(lake, make_straight_log())
    before = {name: lake.read(name) for name in TABLES}
    store = lake.store
    append = store.append
    count = 0

    class Killed(BaseException):
        pass

    def dies(name, rows):
        nonlocal count
        append(name, rows)
        count += rows.num_rows > 0
        if count == 4:
            raise Killed

    monkeypatch.setattr(store, "append", dies)

    def write():
        with store.writing():
            for name, table in before.items():
                store.append(name, table)

    with pytest.raises(Killed):
        write()
    monkeypatch.undo()
    fresh = Lake.open(lake.uri)
    assert fresh.verify() == []
    for name in TABLES:
        assert fresh.read(name).equals(before[name]), name
    assert fresh.sql("SELECT count(*) AS n FROM agents")["n"].to_pylist() == [273]
    add(fresh, make_crossing_log())  # the next writer starts from what counts
    assert fresh.verify() == []
    assert fresh.read("logs").num_rows == 2


KILLED = """
import os, signal, sys
from lake import Lake
from tests.builders import make_crossing_log, make_straight_log
lake = Lake.open(sys.argv[1])
append, left = lake.store.append, [int(sys.argv[2])]
def dies(name, rows):
    append(name, rows)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
lake.store.append = dies
lake.add_logs([make_crossing_log(), make_straight_log("new", steps=150)], run_id=1)
"""


@pytest.mark.parametrize("tables", [1, 10])
def test_a_killed_writer_leaves_no_trace(lake, tables):
    add(lake, make_straight_log())
    before = {name: lake.read(name) for name in TABLES}
    done = subprocess.run([sys.executable, "-c", KILLED, lake.uri, str(tables)], check=False)
    assert done.returncode == -9
    for name in TABLES:
        assert lake.read(name).equals(before[name]), name
    add(lake, make_crossing_log(), make_straight_log("new", steps=150))
    assert lake.verify() == []
    assert lake.read("logs").num_rows == 3
    assert lake.read("lights").num_rows == 182


def test_writers_wait_for_each_other(lake, caplog, monkeypatch):
    monkeypatch.setattr("lake.place.PATIENCE_S", 0.05)
    other = Lake.open(lake.uri)
    started, go = threading.Event(), threading.Event()

    def hold():
        with other.store.writing():
            started.set()
            go.wait(60)

    def let_go_once_somebody_waits():
        until = time.monotonic() + 60
        while "Another process is writing" not in caplog.text and time.monotonic() < until:
            time.sleep(0.02)
        go.set()

    holder = threading.Thread(target=hold)
    holder.start()
    started.wait(60)
    threading.Thread(target=let_go_once_somebody_waits).start()
    add(lake, make_straight_log())
    holder.join()
    assert "Another process is writing" in caplog.text
    assert lake.read("logs").num_rows == 1


def test_arrow_rows_with_other_column_order(lake):
    table = pa.table({"model": ["m"], "run_id": [1], "scene_id": [4],
                      "vector": pa.array([[0.0] * 64], type=TABLES["embeddings"].schema.field("vector").type)})  # fmt: skip
    lake.append("embeddings", table)
    assert lake.read("embeddings")["scene_id"].to_pylist() == [4]
