import json
import os
import subprocess
import sys
import threading
import time
import uuid

import pytest

from formats import remote
from lake import Lake
from lake import place as places
from lake.place import Bucket, Folder, Overtaken, place_of
from schemas.errors import BadSetting, LakeError, NoLake
from schemas.tables import TABLES
from tests.builders import make_crossing_log, make_straight_log
from tests.lake.s3 import SECRET, s3_server


@pytest.fixture(scope="module")
def options():
    with s3_server("bucket") as found:
        yield found
        remote._OPTIONS.clear()


@pytest.fixture
def uri():
    return f"s3://bucket/{uuid.uuid4().hex}/lake"


def add(lake, *logs):
    with lake.run("ingest") as run:
        return lake.add_logs(logs, run_id=run.id)


def gap(name: str) -> dict[str, object]:
    return {"gap_id": name, "tag": "t", "road_type": "r", "weather": "w", "daylight": "d",
            "count": 1, "generated": 0, "wanted": 2, "run_id": 1}  # fmt: skip


# Small files


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path, uri):
    if request.param == "folder":
        return place_of(tmp_path / "place")
    return place_of(uri, request.getfixturevalue("options"))


def test_small_files_are_replaced_by_whoever_saw_them_last(place):
    assert place.read("a.json") is None
    assert place.names() == []
    place.write("a.json", b"1", tag=None)
    first = place.read("a.json")
    assert first.data == b"1"
    with pytest.raises(Overtaken):
        place.write("a.json", b"2", tag=None)
    place.write("a.json", b"2", tag=first.tag)
    with pytest.raises(Overtaken):
        place.write("a.json", b"3", tag=first.tag)
    assert place.read("a.json").data == b"2"
    assert place.names() == ["a.json"]
    place.remove("a.json")
    place.remove("a.json")
    assert place.sizes() == {}


def test_sizes_and_removal_of_folders(tmp_path, options, uri):
    import obstore

    bucket = place_of(uri, options)
    (tmp_path / "t.lance" / "data").mkdir(parents=True)
    folder = place_of(tmp_path)
    for name, size in (("t.lance/data/a", 3), ("t.lance/b", 5), ("u", 7)):
        (tmp_path / name).write_bytes(b"x" * size)
        obstore.put(bucket.objects, name, b"x" * size)
    for place in (folder, bucket):
        assert place.sizes() == {"t.lance/data/a": 3, "t.lance/b": 5, "u": 7}
        assert place.sizes("t.lance") == {"t.lance/data/a": 3, "t.lance/b": 5}
        assert place.names() == ["t.lance", "u"]
        place.remove("t.lance")
        assert place.sizes() == {"u": 7}


def test_kinds_of_places(tmp_path):
    assert isinstance(place_of(f"file://{tmp_path}"), Folder)
    assert place_of(f"file://{tmp_path}").uri == str(tmp_path)
    assert isinstance(place_of("s3://bucket/x/"), Bucket)
    assert place_of("s3://bucket/x/").uri == "s3://bucket/x"
    with pytest.raises(LakeError, match="no kind that is known"):
        place_of("http://host/x")


# A lake on an object store


def test_a_lake_on_an_object_store_is_like_any_other(options, uri, tmp_path):
    lake = Lake.create(uri, storage_options=options)
    here = Lake.create(tmp_path / "lake")
    for each in (lake, here):
        add(each, make_straight_log(steps=31))
    lake.snapshot("first")
    for each in (lake, here):
        add(each, make_crossing_log())
    again = Lake.open(uri, storage_options=options)
    assert again.uri == uri
    for name in ("ego", "agents", "map_features"):
        assert again.read(name).equals(here.read(name)), name
    query = "SELECT cls, count(*) AS n FROM agents GROUP BY 1 ORDER BY 1"
    assert again.sql(query).equals(here.sql(query))
    assert [scene.name for scene in again.scenes()] == [scene.name for scene in here.scenes()]
    assert Lake.open(uri, at="first", storage_options=options).read("logs").num_rows == 1
    payloads, run_id = [b"x" * 10, b"y" * 100_000], again.read("runs")["run_id"][0].as_py()
    assert again.blobs(again.put_blobs(payloads, run_id=run_id)) == payloads
    info = again.info()
    assert info.tables["logs"]["rows"] == 2
    assert info.tables["agents"]["bytes"] > 1000
    assert again.verify() == []
    with pytest.raises(LakeError, match="exists already"):
        Lake.create(uri, storage_options=options)
    for file in again.store.place.sizes():  # nothing that was told is stored
        assert SECRET.encode() not in b"".join(remote.read_object(f"{uri}/{file}")), file


def test_compacting_on_an_object_store(options, uri):
    lake = Lake.create(uri, storage_options=options)
    for name in "abc":
        lake.append("gaps", [gap(name)])
        if name == "a":
            lake.snapshot("first")
    before = lake.store.place.sizes("gaps.lance/data")
    assert lake.compact(keep_s=0).versions_removed >= 1
    assert len(before) == 3
    assert len(lake.store.place.sizes("gaps.lance/data")) == 2  # the snapshot's, and all in one
    assert len(lake.store.dataset("gaps").get_fragments()) == 1
    assert lake.read("gaps")["gap_id"].to_pylist() == ["a", "b", "c"]
    assert lake.at("first").read("gaps")["gap_id"].to_pylist() == ["a"]


def test_the_environment_configures_it(options, uri):
    Lake.create(uri, storage_options=options).append("gaps", [gap("a")])
    told = {
        "AWS_ACCESS_KEY_ID": options["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": options["aws_secret_access_key"],
        "AWS_REGION": options["aws_region"],
        "AWS_ENDPOINT": options["aws_endpoint"],
        "AWS_ALLOW_HTTP": "true",
    }
    code = (
        "import sys; from lake import Lake; lake = Lake.open(sys.argv[1]);"
        "print(lake.sql('FROM gaps').num_rows)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, uri],
        env={**os.environ, **told}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "1\n", done.stderr


def test_what_does_not_answer_is_told_soon_and_without_secrets(options, uri, monkeypatch):
    monkeypatch.setitem(remote.RETRY, "max_retries", 1)
    monkeypatch.setattr(remote, "_OPTIONS", {})
    with pytest.raises(NoLake, match="is none"):
        Lake.open(uri, storage_options=options)
    with pytest.raises(LakeError) as caught:
        Lake.create("s3://nowhere/lake", storage_options=options)
    assert "nowhere" in caught.value.message
    dead = {**options, "aws_endpoint": "http://127.0.0.1:9"}
    with pytest.raises(LakeError, match="cannot be reached") as caught:
        Lake.open("s3://other/lake", storage_options=dead)
    assert SECRET not in caught.value.message + caught.value.hint
    with pytest.raises(BadSetting, match="aws_colour") as unknown:
        Lake.open("s3://third/lake", storage_options={"aws_colour": SECRET})
    assert SECRET not in unknown.value.message


# The lock


def test_writers_at_once_lose_nothing(options, uri):
    Lake.create(uri, storage_options=options)

    def write(who):
        lake = Lake.open(uri, storage_options=options)
        for k in range(4):
            lake.append("gaps", [gap(f"{who}{k}")])

    writers = [threading.Thread(target=write, args=(who,)) for who in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lake = Lake.open(uri, storage_options=options)
    names = [f"{who}{k}" for who in "ab" for k in range(4)]
    assert sorted(lake.read("gaps")["gap_id"].to_pylist()) == names
    assert lake.store.manifest().commit == 8


def test_a_dead_holder_is_replaced(options, uri, monkeypatch, caplog):
    monkeypatch.setattr(places, "LEASE_S", 0.6)
    monkeypatch.setattr(places, "PATIENCE_S", 0.1)
    lake = Lake.create(uri, storage_options=options)
    held = json.dumps({"holder": "somebody", "count": 3}).encode()
    lake.store.place.write(places.LOCK, held, tag=None)
    began = time.monotonic()
    lake.append("gaps", [gap("a")])
    assert time.monotonic() - began > 0.5
    assert "Another process is writing" in caplog.text
    caplog.clear()
    monkeypatch.setattr(places, "PATIENCE_S", 0.0)
    lake.append("gaps", [gap("b")])  # it was given back
    assert "Another process is writing" not in caplog.text


def test_one_that_died_long_ago_is_not_waited_for(options, uri, monkeypatch):
    lake = Lake.create(uri, storage_options=options)
    lake.store.place.write(places.LOCK, b'{"holder": "somebody"}', tag=None)
    monkeypatch.setattr(places, "SKEW_S", -40.0)
    began = time.monotonic()
    lake.append("gaps", [gap("a")])
    assert time.monotonic() - began < 5


def test_a_holder_is_not_replaced_while_it_renews(options, uri, monkeypatch):
    monkeypatch.setattr(places, "LEASE_S", 0.6)
    lake = Lake.create(uri, storage_options=options)
    other = Lake.open(uri, storage_options=options)
    order = []

    def late():
        other.append("gaps", [gap("late")])
        order.append("late")

    with lake.store.writing():
        waiting = threading.Thread(target=late)
        waiting.start()
        time.sleep(1.5)
        lake.append("gaps", [gap("first")])
        order.append("first")
    waiting.join()
    assert order == ["first", "late"]
    assert lake.read("gaps").num_rows == 2


def test_a_holder_that_slept_too_long_changes_nothing(options, uri, monkeypatch):
    monkeypatch.setattr(places, "LEASE_S", 0.4)
    monkeypatch.setattr(places._Lease, "_renew", lambda self: None)
    lake = Lake.create(uri, storage_options=options)
    other = Lake.open(uri, storage_options=options)

    def sleep():
        with lake.store.writing():
            lake.append("gaps", [gap("sleeper")])
            other.append("gaps", [gap("other")])

    with pytest.raises(LakeError, match="another process"):
        sleep()
    assert lake.read("gaps")["gap_id"].to_pylist() == ["other"]
    assert set(TABLES) > set(lake.versions()) == {"gaps"}
