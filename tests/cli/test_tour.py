"""``scenelake world``: a folder of logs or a lake full of scenes, never both."""

import json
import subprocess
import sys
from pathlib import Path


def world(*arguments: str, lake: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.app", "--lake", str(lake), "world", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_scenes_go_into_the_lake_and_are_not_made_twice(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    first = json.loads(world("--scenes", "3", "--json", lake=lake).stdout)
    assert (first["logs"], first["written"], first["scenes"]) == (2, 2, 4)
    again = json.loads(world("--scenes", "4", "--json", lake=lake).stdout)
    assert (again["logs"], again["written"], again["scenes"]) == (2, 0, 0)
    other = world("--scenes", "4", "--rare-rate", "0.5", "--json", lake=lake)
    assert other.returncode == 1
    assert "rare_rate" in json.loads(other.stdout)["error"]["message"]


def test_folder_and_scenes_exclude_each_other(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    for arguments in (
        (),
        (str(tmp_path / "logs"), "--scenes", "2"),
        ("--scenes", "2", "--sensors"),
    ):
        done = world(*arguments, lake=lake)
        assert done.returncode == 2
        assert "--scenes" in done.stderr
    assert not lake.exists()
