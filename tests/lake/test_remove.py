"""Logs that go leave nothing behind, and a mended source takes the place of the first reading."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from formats.waymo_motion import write_logs
from lake import Lake
from schemas.errors import DuplicateLog, LakeError, MissingData
from schemas.records import Frame, Log, Sensor
from tests.builders import ego, make_crossing_log, make_straight_log


def write(folder: Path, name: str, *, start: float = 0.0, names: tuple[str, ...] = ("a",)) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.tfrecord"
    moved = ego(steps=21, start=(start, 0), velocity=(10, 0))
    write_logs([replace(make_straight_log(n, steps=21), ego=moved) for n in names], path)
    return path


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.create(tmp_path / "lake")


def errors(lake: Lake) -> list[object]:
    return [f for f in lake.verify() if f.severity == "error"]


def test_a_mended_source_takes_the_place_of_the_first_reading(lake, tmp_path):
    lake.ingest([write(tmp_path / "in", "one", names=("a", "b"))])
    before = set(lake.scene_ids())
    path = write(tmp_path / "in", "one", start=5.0, names=("a", "b"))
    with pytest.raises(DuplicateLog, match="differs") as refused:
        lake.ingest([path])
    assert "--replace" in refused.value.hint
    report = lake.ingest([path], replace=True)
    assert (report.logs, report.rejected) == (2, [])
    assert set(lake.scene_ids()) == before
    first = lake.sql(
        "SELECT DISTINCT round(source_x(e, l)) AS x FROM ego e JOIN logs l USING (log_id) "
        "WHERE t_ns = 0"
    )
    assert first["x"].to_pylist() == [664_005.0]
    assert errors(lake) == []
    assert lake.ingest([path], replace=True).unchanged == 2
    count = lake.sql("SELECT count(*)::INT AS n FROM logs")["n"].to_pylist()
    assert count == [2]


def test_two_logs_of_one_name_in_one_run_do_not_replace_each_other(lake, tmp_path, monkeypatch):
    monkeypatch.setattr("lake.ingest.BATCH_LOGS", 1)
    write(tmp_path / "in", "one")
    write(tmp_path / "in", "two", start=5.0)
    report = lake.ingest([tmp_path / "in"], replace=True, on_error="skip")
    assert report.logs == 1
    assert len(report.rejected) == 1
    assert errors(lake) == []
    # Asked again it says the same, and the first is still there.
    source = lake.read("logs", ["source_uri"])["source_uri"].to_pylist()
    again = lake.ingest([tmp_path / "in"], replace=True, on_error="skip")
    assert (again.logs, again.unchanged, len(again.rejected)) == (0, 1, 1)
    assert lake.read("logs", ["source_uri"])["source_uri"].to_pylist() == source


def test_removed_logs_leave_nothing_and_come_in_again(lake, tmp_path):
    path = write(tmp_path / "in", "one", names=("a", "b"))
    write_logs([make_crossing_log("c")], tmp_path / "in" / "c.tfrecord")
    lake.ingest([tmp_path / "in"])
    lake.snapshot("before")
    report = lake.remove("source_log_id IN ('a', 'b')")
    assert (report.logs, report.scenes, report.maps) == (2, 2, 1)
    assert lake.read("logs", ["source_log_id"])["source_log_id"].to_pylist() == ["c"]
    for name in ("ego", "agents", "tracks", "scenes"):
        assert (
            lake.read(name, ["log_id"])["log_id"].unique().to_pylist()
            == lake.read("logs", ["log_id"])["log_id"].to_pylist()
        )
    assert lake.read("dense").num_rows == 1
    assert errors(lake) == []
    assert lake.at("before").read("logs").num_rows == 3
    assert lake.ingest([path]).logs == 2
    assert errors(lake) == []


def seen(name: str, *files: Path) -> Log:
    frames = tuple(
        Frame(channel="front", t_ns=n * 10**8, uri=str(path), codec="png")
        for n, path in enumerate(files)
    )
    sensors = (Sensor(channel="front", kind="camera"),)
    return replace(make_straight_log(name), sensors=sensors, frames=frames)


def pictures(folder: Path, count: int) -> list[Path]:
    files = [folder / f"{n}.png" for n in range(count)]
    for n, path in enumerate(files):
        Image.new("RGB", (4, 4), (n, 0, 0)).save(path)
    return files


def test_bytes_that_were_copied_for_a_log_go_with_it(lake, tmp_path):
    alone, shared = pictures(tmp_path, 2)
    lake.add_logs([seen("a", alone, shared), seen("b", shared)], run_id=1)
    lake.copy_media()
    (own,) = lake.put_blobs([b"somebody's own"], run_id=1)
    lake.snapshot("before")
    (gone,) = lake.sql("SELECT blob_id FROM frames WHERE t_ns = 0 ORDER BY uri")["blob_id"][:1]
    report = lake.remove("source_log_id = 'a'")
    assert report.blobs == 1
    left = lake.read("blobs", ["blob_id"])["blob_id"].to_pylist()
    assert gone.as_py() not in left
    assert len(left) == 2
    assert lake.blob(own) == b"somebody's own"
    assert lake.blob(lake.captures()[0].blob_id) == shared.read_bytes()
    assert lake.at("before").blob(gone.as_py()) == alone.read_bytes()
    assert errors(lake) == []


def test_bytes_that_go_while_they_are_copied_for_another_are_not_pointed_to(
    lake, tmp_path, monkeypatch
):
    (shared,) = pictures(tmp_path, 1)
    lake.add_logs([seen("a", shared), seen("b", shared)], run_id=1)
    first, second = lake.read("logs", ["log_id"], "true")["log_id"].to_pylist()
    lake.copy_media(f"log_id = {first}")
    put = Lake.put_blobs

    def put_and_lose(self, payloads, *, run_id):
        ids = put(self, payloads, run_id=run_id)
        self.remove(f"log_id = {first}")
        return ids

    monkeypatch.setattr(Lake, "put_blobs", put_and_lose)
    assert lake.copy_media(f"log_id = {second}").copied == 0
    assert errors(lake) == []
    assert lake.captures()[0].payload(lake) == shared.read_bytes()


def test_what_others_rest_on_stays(lake, tmp_path):
    lake.ingest([write(tmp_path / "in", "one")])
    case = {
        "case_id": 1, "suite": "s", "scene_id": lake.scene_ids()[0], "start_step": 0,
        "horizon_steps": 10, "goal_x": 0.0, "goal_y": 0.0, "agents": "log", "criteria": "{}",
        "tags": [], "provenance": "{}", "run_id": 1,
    }  # fmt: skip
    lake.append("cases", [case])
    with pytest.raises(LakeError, match="1 cases of suites"):
        lake.remove("source_log_id = 'a'")
    assert lake.read("logs").num_rows == 1
    with pytest.raises(MissingData, match="No log fits"):
        lake.remove("source_log_id = 'nobody'")
