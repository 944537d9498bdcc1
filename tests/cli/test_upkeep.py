"""Snapshots, compaction, recutting and copying from the command line."""

from pathlib import Path

import pytest

from formats.waymo_motion import write_logs
from lake import Lake
from tests.builders import make_crossing_log, make_straight_log
from tests.cli.test_commands import answer, scenelake


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    write_logs([make_crossing_log("a"), make_straight_log("b")], tmp_path / "two.tfrecord")
    place = tmp_path / "lake"
    assert answer("ingest", tmp_path / "two.tfrecord", lake=place)["logs"] == 2
    return place


def test_a_snapshot_answers_as_the_lake_did_then(lake: Path, tmp_path: Path) -> None:
    assert answer("snapshot", "before", lake=lake)["name"] == "before"
    write_logs([make_crossing_log("c")], tmp_path / "more.tfrecord")
    answer("ingest", tmp_path / "more.tfrecord", lake=lake)
    query = ("sql", "SELECT count(*) AS n FROM logs")
    assert answer(*query, lake=lake) == [{"n": 3}]
    assert answer(*query, "--at", "before", lake=lake) == [{"n": 2}]
    answer("compact", "--now", lake=lake)
    assert answer(*query, "--at", "before", lake=lake) == [{"n": 2}]
    assert [snap["name"] for snap in answer("snapshots", lake=lake)] == ["before"]
    again = scenelake("snapshot", "before", lake=lake)
    assert again.returncode == 1
    assert "before" in again.stderr
    assert answer("snapshot", "before", "--delete", lake=lake) == {"deleted": "before"}
    gone = scenelake(*query, "--at", "before", lake=lake)
    assert gone.returncode == 1
    assert "No snapshot is called `before`" in gone.stderr


def test_recut_and_back(lake: Path) -> None:
    report = answer("recut", "sliding", "--length", "4", "--stride", "2", lake=lake)
    assert report == {"logs": 2, "scenes": 6, "removed": 2, "kept": 0}
    assert answer("recut", "source", lake=lake)["scenes"] == 2
    assert answer("verify", lake=lake)["sound"]
    assert scenelake("recut", "event", lake=lake).returncode == 2
    unknown = scenelake("recut", "event", "--event", "brakes", lake=lake)
    assert unknown.returncode == 1
    assert "No event is called `brakes`" in unknown.stderr


def test_copying_nothing_is_no_mistake(lake: Path) -> None:
    assert answer("copy-media", lake=lake)["copied"] == 0


def test_compact_says_what_stays_and_why(lake: Path, tmp_path: Path) -> None:
    answer("snapshot", "before", lake=lake)
    write_logs([make_crossing_log("c")], tmp_path / "more.tfrecord")
    answer("ingest", tmp_path / "more.tfrecord", lake=lake)
    waiting = scenelake("compact", lake=lake)
    assert waiting.returncode == 0
    assert "0 old versions of tables removed." in waiting.stderr
    assert "until they have been replaced for 60 minutes" in waiting.stderr
    report = answer("compact", "--keep", "0", lake=lake)
    assert report["keep_s"] == 0
    assert report["versions_kept"] == report["versions_pinned"] > 0
    told = scenelake("compact", "--now", lake=lake)
    assert "stay because snapshots name them." in told.stderr
    assert "minutes" not in told.stderr
    assert scenelake("compact", "--now", "--keep", "5", lake=lake).returncode == 2


def test_verify_ends_with_a_verdict(lake: Path) -> None:
    good = scenelake("verify", lake=lake)
    assert good.stdout == ""
    assert good.stderr.startswith("The lake is sound. What takes long was looked at in samples")
    assert scenelake("verify", "--deep", lake=lake).stderr == "The lake is sound.\n"
    opened = Lake.open(lake)
    opened.replace("tracks", [], where="track_id > 0")
    broken = scenelake("verify", lake=lake)
    assert broken.returncode == 1
    assert broken.stdout.startswith("error: agents, ")
    assert broken.stderr.startswith("The lake is not sound: ")
