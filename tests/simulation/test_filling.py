"""The world straight into a lake: the same rows however it is made, and nothing twice."""

import json
import re
from pathlib import Path

import pytest

from cli.tour import world
from lake import Lake
from mining.query.find import scenes_of
from mining.tag import tag
from schemas.errors import BadSetting
from simulation import filling
from simulation.filling import fill, logs_alone
from simulation.places import LOGS, Place

TABLES = ("logs", "tracks", "agents", "ego", "lights", "scenes", "map_features", "dense")


def rows(lake: Lake, name: str) -> list[dict[str, object]]:
    """All rows but for what tells the run."""
    table = lake.read(name)
    kept = [column for column in table.column_names if column != "run_id"]
    return table.select(kept).to_pylist()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake.open_or_create(tmp_path_factory.mktemp("whole") / "lake")
    report = fill(lake, scenes=4 * LOGS, seed=5, rare_rate=0.3)
    assert (report.logs, report.written, report.scenes) == (2 * LOGS, 2 * LOGS, 4 * LOGS)
    return lake


def test_it_is_the_lake_that_the_logs_make(whole: Lake, tmp_path: Path) -> None:
    """As when the logs are handed over one by one, and sound."""
    other = Lake.open_or_create(tmp_path / "other")
    with other.run("test") as run:
        other.add_logs(logs_alone(Place(seed=5, number=0, rare_rate=0.3)), run_id=run.id)
    own = {row["log_id"] for row in rows(other, "logs")}
    for name in ("tracks", "agents", "ego", "lights"):
        here = [row for row in rows(whole, name) if row["log_id"] in own]
        assert here == rows(other, name)
    assert [f for f in whole.verify() if f.severity == "error"] == []


def test_the_truth_lies_beside_the_logs(whole: Lake) -> None:
    told = [json.loads(row["extra"]) for row in whole.read("logs", ["extra"]).to_pylist()]
    counts: dict[str, int] = {}
    for truth in told:
        for planted in truth["planted"]:
            counts[planted["name"]] = counts.get(planted["name"], 0) + 1
    assert counts == filling.planted_in(whole, seed=5, logs=2 * LOGS)
    assert sum(counts.values()) >= 3
    for row in whole.read("logs", ["log_id", "extra"]).to_pylist():
        names = set(
            whole.read("tracks", ["source_track_id"], f"log_id = {row['log_id']}")
            .column(0)
            .to_pylist()
        )
        for planted in json.loads(row["extra"])["planted"]:
            assert set(planted["actors"]) <= names


def test_two_workers_and_an_interruption_make_the_same_rows(whole: Lake, tmp_path: Path) -> None:
    lake = Lake.open_or_create(tmp_path / "lake")
    part = fill(lake, scenes=2 * LOGS - 6, seed=5, rare_rate=0.3, jobs=2)
    assert part.scenes == 2 * LOGS - 6

    def stop(done: int, total: int) -> None:
        if done == 2 * LOGS:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(lake, scenes=4 * LOGS, seed=5, rare_rate=0.3, progress=stop)
    rest = fill(lake, scenes=4 * LOGS, seed=5, rare_rate=0.3, jobs=2)
    assert rest.written == 2 * LOGS - part.logs
    again = fill(lake, scenes=4 * LOGS, seed=5, rare_rate=0.3)
    assert (again.written, again.scenes) == (0, 0)
    for name in TABLES:
        key = lambda row: json.dumps(row, default=repr, sort_keys=True)  # noqa: E731
        assert sorted(rows(lake, name), key=key) == sorted(rows(whole, name), key=key)


def test_another_rate_of_the_same_world_is_refused(whole: Lake) -> None:
    with pytest.raises(BadSetting, match=r"rare_rate': 0\.3"):
        fill(whole, scenes=10, seed=5, rare_rate=0.1)
    assert fill(whole, scenes=10, seed=5, rare_rate=0.3).written == 0


def test_a_behaviour_held_out_is_not_planted_and_what_traffic_does_is_left_out_as_documented(
    tmp_path: Path,
) -> None:
    lake = Lake.open_or_create(tmp_path / "lake")
    report = fill(lake, scenes=2 * LOGS, seed=5, rare_rate=0.5, without=["hard_brake"])
    assert report.planted
    assert "hard_brake" not in report.planted
    tag(lake, only=["hard_brake"])
    brakes = "select distinct scene_id from events where name = 'hard_brake' and truth = 'true'"
    found = set(lake.sql(brakes)["scene_id"].to_pylist())
    assert found  # by ordinary traffic
    told = re.search(r'--query "(.+)"', world.__doc__ or "")
    assert told is not None
    assert set(scenes_of(lake, told[1])) == set(lake.scene_ids()) - found
