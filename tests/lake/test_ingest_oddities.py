"""Ingest over folders as they are: odd names, links, copies, a lake within, thousands of files."""

from __future__ import annotations

import os
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from formats.waymo_motion import write_logs
from lake import Lake
from schemas.errors import UnreadableFile
from tests.builders import make_straight_log


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.create(tmp_path / "lake")


def make_file(folder: Path, name: str, *logs: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.tfrecord"
    write_logs([make_straight_log(log, steps=11) for log in logs or (name,)], path)
    return path


def names(lake: Lake) -> list[str]:
    return sorted(lake.read("logs", ["source_log_id"])["source_log_id"].to_pylist())


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_name_that_is_not_utf8_is_told_and_the_rest_comes_in(
    lake: Lake, tmp_path: Path, jobs: int
) -> None:
    folder = tmp_path / "in"
    path = make_file(folder, "a")
    make_file(folder, "b").rename(folder / os.fsdecode(b"caf\xe9.tfrecord"))
    make_file(folder, "c").rename(folder / "new\nline.tfrecord")
    report = lake.ingest([folder], on_error="skip", jobs=jobs)
    assert names(lake) == ["a", "c"]
    (refused,) = report.rejected
    assert (Path(refused.path).name, refused.record) == (r"caf\udce9.tfrecord", "")
    assert "not UTF-8" in refused.reason
    told = lake.read("ledger", ["uri"], "kind = 'rejected'")["uri"].to_pylist()
    assert told == [refused.path]
    with pytest.raises(UnreadableFile, match="not UTF-8"):
        lake.ingest([folder])
    assert lake.ingest([path]).unchanged == 1


def test_words_that_are_half_letters_do_not_end_the_ingest(lake: Lake, tmp_path: Path) -> None:
    from lake.convert import ledger_table

    entry = {"uri": "x", "kind": "missing", "reason": "no class \ud800", "run_id": 1}
    assert ledger_table([entry])["reason"].to_pylist() == [r"no class \ud800"]


def test_pipes_and_lost_links_beside_logs(lake: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    make_file(folder, "a")
    os.mkfifo(folder / "pipe.tfrecord")
    (folder / "circle.tfrecord").symlink_to(folder / "circle.tfrecord")
    (folder / "up").symlink_to(folder)
    (folder / "lost.tfrecord").symlink_to(tmp_path / "nowhere")
    (folder / "folder.tfrecord").mkdir()
    report = lake.ingest([folder], on_error="skip")
    assert names(lake) == ["a"]
    assert [Path(refused.path).name for refused in report.rejected] == ["lost.tfrecord"]


def test_one_log_under_several_names_comes_in_once(lake: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    path = make_file(folder, "a")
    shutil.copy(path, folder / "copy.tfrecord")
    (folder / "link.tfrecord").symlink_to(path)
    os.link(path, folder / "hard.tfrecord")
    report = lake.ingest([folder, folder, path])
    assert (report.logs, report.unchanged, report.rejected) == (1, 3, [])
    assert lake.ingest([folder]).unchanged == 4


def test_a_lake_within_the_folder_is_not_taken_for_logs(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    make_file(folder, "a")
    within = Lake.create(folder / "lake")
    assert within.ingest([folder]).logs == 1
    again = within.ingest([folder])
    assert (again.logs, again.unchanged, again.rejected) == (0, 1, [])
    with pytest.raises(UnreadableFile, match="holds nothing"):
        Lake.create(tmp_path / "other").ingest([folder / "lake"])


def test_memory_does_not_grow_with_the_number_of_files(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lake.ingest.BATCH_LOGS", 4)
    peaks = []
    for count in (8, 40):
        folder = tmp_path / f"in{count}"
        for number in range(count):
            log = make_straight_log(f"{count}-{number}", steps=11)
            moved = replace(log.ego, xyz=log.ego.xyz + np.array([0.5 * number, 0.0, 0.0]))
            folder.mkdir(exist_ok=True)
            write_logs([replace(log, ego=moved)], folder / f"{number}.tfrecord")
        tracemalloc.start()
        assert lake.ingest([folder]).logs == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
