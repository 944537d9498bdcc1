"""`mine tag` does what is missing and says so; whoever asks is told what was not looked through."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mining.tag import tag
from schemas.labels import Weather
from tests.mining.test_tag import braking_log, lake_of


def scenelake(*arguments: str, lake: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.app", "--lake", str(lake), *arguments],
        capture_output=True, text=True, check=True,
    )  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A scene that was tagged, and one that came in since."""
    folder = tmp_path / "lake"
    tag(lake_of(folder, [braking_log("early", weather=Weather.RAIN)]), only=["hard_brake"])
    lake_of(folder, [braking_log("late", weather=Weather.RAIN)])
    return folder


def test_what_was_done_before_is_told(lake: Path) -> None:
    first = scenelake("mine", "tag", "--only", "hard_brake", lake=lake)
    assert "1 scene had been looked through before" in first.stderr
    assert "1 scene: 2 intervals that hold" in first.stderr
    none = scenelake("mine", "tag", "--only", "hard_brake", lake=lake)
    assert "2 scenes had been looked through before" in none.stderr
    assert "intervals" not in none.stderr + none.stdout
    told = scenelake("mine", "tag", "--only", "hard_brake", "--again", "--json", lake=lake)
    answer = json.loads(told.stdout)
    assert (answer["scenes"], answer["up_to_date"]) == (2, 0)
    assert answer["by_name"] == {"hard_brake": 4}


@pytest.mark.parametrize(
    "asked",
    [
        ("mine", "find", "hard_brake(ego)"),
        ("mine", "coverage", "--tags", "hard_brake", "--wanted", "2"),
        ("suite", "build", "braking", "--query", "hard_brake(ego)", "--replace"),
        ("suite", "build", "braking", "--tags", "hard_brake", "--replace"),
    ],
)
def test_what_was_not_looked_through_is_told(lake: Path, asked: tuple[str, ...]) -> None:
    plain = scenelake(*asked, lake=lake)
    assert "nobody has looked through" in plain.stderr
    assert "scenelake mine tag" in plain.stderr
    assert json.loads(scenelake(*asked, "--json", lake=lake).stdout)["untagged"] == 1
