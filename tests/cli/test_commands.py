"""The command line: one JSON document, exit codes, errors that say what to do."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.output import plain
from formats.waymo_motion import write_logs
from tests.builders import make_crossing_log, make_straight_log


def scenelake(*arguments: str | Path, lake: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.app", "--lake", str(lake), *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def answer(*arguments: str | Path, lake: Path) -> Any:
    done = scenelake(*arguments, "--json", lake=lake)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    write_logs([make_crossing_log("a"), make_straight_log("b")], folder / "two.tfrecord")
    return folder


@pytest.fixture(scope="module")
def lake(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("lakes") / "lake"
    report = answer("ingest", logs, lake=place)
    assert (report["logs"], report["scenes"], report["rejected"]) == (2, 2, [])
    return place


def test_a_second_ingest_adds_nothing_and_says_so(logs: Path, lake: Path) -> None:
    report = answer("ingest", logs, lake=lake)
    assert (report["logs"], report["unchanged"]) == (0, 2)
    assert not any(report["rows"].values())
    assert "no row was added" in scenelake("ingest", logs, lake=lake).stderr


def test_a_mistyped_path_leaves_no_lake_behind(tmp_path: Path) -> None:
    done = scenelake("ingest", tmp_path / "lgos", lake=tmp_path / "lake")
    assert done.returncode == 1
    assert "does not exist" in done.stderr
    assert not (tmp_path / "lake").exists()


def test_formats_are_listed_with_what_they_can(lake: Path) -> None:
    listed = {entry["name"]: entry for entry in answer("formats", lake=lake)}
    assert listed["waymo_motion"]["read"]
    assert listed["openscenario"]["write"]
    assert not listed["picture"]["read"]


def test_export_writes_what_the_list_says_that_it_does(lake: Path, tmp_path: Path) -> None:
    listed = {entry["name"]: entry for entry in answer("formats", lake=lake)}
    assert listed["openscenario"]["export"]
    assert listed["waymo_motion"]["write"]  # whole logs, which are no scenes
    assert not listed["waymo_motion"]["export"]
    done = scenelake("export", "any", "--to", "waymo_motion", "--out", tmp_path, lake=lake)
    exported = {name for name, entry in listed.items() if entry["export"]}
    assert done.returncode == 1
    assert set(done.stderr.split("Known: ")[1].strip().rstrip(".").split(", ")) == exported


def test_what_is_neither_suite_nor_scene_is_told_as_that(lake: Path, tmp_path: Path) -> None:
    done = scenelake("export", "nightlyy", "--to", "picture", "--out", tmp_path, lake=lake)
    assert "No suite or scene is called `nightlyy`" in done.stderr


def test_scenes_are_told_by_name_beside_their_ids(lake: Path) -> None:
    from cli.mine import _names
    from lake import Lake

    opened = Lake.open(lake)
    first, *_ = opened.scene_ids()
    assert _names(opened, [first]) == {first: opened.scene(first).name}
    assert _names(opened, []) == {}


def test_sql_answers_in_every_form(lake: Path, tmp_path: Path) -> None:
    query = "select cls, count(*) as n from agents group by 1 order by 1"
    rows = answer("sql", query, lake=lake)
    assert rows
    assert set(rows[0]) == {"cls", "n"}
    assert scenelake("sql", query, "-o", "csv", lake=lake).stdout.startswith('"cls","n"')
    scenelake("sql", query, "-o", "parquet", "--to", tmp_path / "x.parquet", lake=lake)
    import pyarrow.parquet as pq

    assert pq.read_table(tmp_path / "x.parquet").num_rows == len(rows)


def test_a_file_that_could_not_be_written_whole_leaves_the_one_before(
    lake: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    to = tmp_path / "x.parquet"
    scenelake("sql", "select 1 as a", "-o", "parquet", "--to", to, lake=lake)
    breaks = "select error('broken') from range(100000) t(i) where i = 99999"
    for form in ("parquet", "csv"):
        assert scenelake("sql", breaks, "-o", form, "--to", to, lake=lake).returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]
    assert pq.read_table(to).to_pylist() == [{"a": 1}]
    none = scenelake("sql", "select 1 as a limit 0", "-o", "parquet", "--to", to, lake=lake)
    assert none.returncode == 0
    assert pq.read_table(to).schema.names == ["a"]
    assert pq.read_table(to).num_rows == 0


def test_ids_are_strings_in_json(lake: Path) -> None:
    ids = answer("sql", "select scene_id, t1_ns from scenes", lake=lake)
    assert all(isinstance(row["scene_id"], str) for row in ids)
    assert all(isinstance(row["t1_ns"], int) for row in ids)


def test_info_and_verify_answer(lake: Path) -> None:
    info = answer("info", lake=lake)
    assert info["datasets"]
    assert info["tables"]["scenes"]["rows"] == 2
    assert answer("verify", lake=lake)["sound"]


def test_render_draws_by_name_or_id(lake: Path, tmp_path: Path) -> None:
    scene = answer("sql", "select scene_id from scenes limit 1", lake=lake)[0]["scene_id"]
    for name in ("x.png", "x.gif"):
        made = answer("render", scene, "-o", tmp_path / name, lake=lake)
        assert Path(made["file"]).stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "kind", "told"),
    [
        (["sql", "select nothing_here from agents"], "BadQuery", "nothing_here"),
        (["sql", "delete from agents"], "BadQuery", ""),
        (["render", "12345", "-o", "x.png"], "UnknownName", "12345"),
        (["ingest", "no/such/place"], "UnreadableFile", "does not exist"),
        (["export", "12345", "--to", "opendrove"], "UnknownName", "opendrove"),
        (["suite", "run", "nightly"], "UnknownName", "nightly"),
        (["ledger", "--kind", "droped"], "UnknownName", "Did you mean `dropped`?"),
        (["recut", "whole", "--where", "dataset = 'x'"], "MissingData", "No log fits"),
    ],
)
def test_an_error_names_what_was_asked(
    arguments: list[str], kind: str, told: str, lake: Path
) -> None:
    done = scenelake(*arguments, "--json", lake=lake)
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == kind
    assert told in error["message"]
    plain = scenelake(*arguments, lake=lake)
    assert plain.returncode == 1
    assert plain.stderr.startswith("error: ") or "\nerror: " in plain.stderr
    assert "Traceback" not in plain.stderr


def test_without_a_lake_the_hint_says_how_to_get_one(tmp_path: Path) -> None:
    done = scenelake("info", lake=tmp_path / "none")
    assert done.returncode == 1
    assert "Ingest some logs first" in done.stderr


def test_wrong_usage_is_exit_code_two(lake: Path) -> None:
    assert scenelake("ingest", lake=lake).returncode == 2
    assert scenelake("no-such-command", lake=lake).returncode == 2
    assert scenelake("render", "a", "-o", "x.png", "--at", "nan", lake=lake).returncode == 2
    assert scenelake("mine", "coverage", "--limit", "-1", lake=lake).returncode == 2


def test_every_id_is_told_as_a_string() -> None:
    big = 2**60 + 1
    told = plain({"scene_id": big, "query": big, "example": big, "track_ids": [big], "n": big})
    assert told == {
        "scene_id": str(big), "query": str(big), "example": str(big), "track_ids": [str(big)],
        "n": big,
    }  # fmt: skip


def test_sql_prints_every_type_in_every_form(lake: Path, tmp_path: Path) -> None:
    query = (
        "select sum(n_agents) as n, date '2024-05-06' as d, interval 2 days as i, [1.5] as l, "
        "'x'::blob as b, 1 as a, 2 as a, 'nan'::double as f from logs"
    )
    (row,) = answer("sql", query, lake=lake)
    assert row == {
        "n": 4, "d": "2024-05-06", "i": [0, 2, 0], "l": [1.5], "b": "78", "a": 1, "a_1": 2,
        "f": None,
    }  # fmt: skip
    for form in ("table", "csv", "json"):
        to = tmp_path / form
        assert scenelake("sql", query, "-o", form, "--to", to, lake=lake).returncode == 0
        assert to.read_text() == scenelake("sql", query, "-o", form, lake=lake).stdout
        assert "2024-05-06" in to.read_text()
    assert scenelake("sql", query, "-o", "csv", "--json", lake=lake).returncode == 2
    assert scenelake("sql", query, "-o", "parquet", lake=lake).returncode == 2


def test_tables_keep_the_millimetres_of_coordinates(lake: Path) -> None:
    told = scenelake("sql", "select 664123.4567::double as x, 0.00001::double as y", lake=lake)
    assert told.stdout.split()[-2:] == ["664123.4567", "1e-05"]


def test_a_place_that_cannot_be_written_is_named(lake: Path, tmp_path: Path) -> None:
    to = tmp_path / "none" / "x.csv"
    done = scenelake("sql", "select 1", "-o", "csv", "--to", to, lake=lake)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {to}: no such file or directory")
    broken = scenelake("sql", "select nothing", "-o", "json", lake=lake)
    assert json.loads(broken.stdout)["error"]["kind"] == "BadQuery"


def test_no_lake_is_made_among_other_things(logs: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    done = scenelake("ingest", logs, lake=tmp_path)
    assert done.returncode == 1
    assert "thesis.txt" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    assert "has no lake.json" in scenelake("info", lake=tmp_path).stderr


SLOW = """
import sys, time
import lake.ingest
from cli.app import main

convert = lake.ingest._convert_source

def slow(source, folder):
    for n, item in enumerate(convert(source, folder)):
        if n == 3:
            print("three", flush=True)
            time.sleep(60)
        yield item

lake.ingest.BATCH_LOGS = 2
lake.ingest._convert_source = slow
main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_ingest_that_is_stopped_says_what_is_in_and_leaves_nothing_behind(
    number: int, code: int, tmp_path: Path
) -> None:
    there, temporary = tmp_path / "five.tfrecord", tmp_path / "temporary"
    write_logs([make_straight_log(name, steps=21) for name in "abcde"], there)
    temporary.mkdir()
    command = [sys.executable, "-c", SLOW, "--lake", tmp_path / "lake", "ingest", there]
    with subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "three\n"
        assert list(temporary.iterdir())
        process.send_signal(number)
        _, story = process.communicate(timeout=60)
    assert process.returncode == code
    assert story.splitlines()[-2:] == [
        "3 logs were committed by this ingest.",
        "Stopped. What was committed is kept; the same command goes on from there.",
    ]
    assert not list(temporary.iterdir())
    report = answer("ingest", there, lake=tmp_path / "lake")
    assert (report["logs"], report["unchanged"]) == (2, 3)


def test_a_refav_definition_is_run_and_never_executed(lake: Path, tmp_path: Path) -> None:
    program = tmp_path / "cars.py"
    program.write_text(
        "cars = get_objects_of_category(log_dir, category='VEHICLE')\n"
        "output_scenario(has_velocity(cars, log_dir), 'moving cars', log_dir, output_dir)\n"
    )
    report = answer("mine", "refav", program, lake=lake)
    assert {found["source_log_id"] for found in report["found"]} == {"a", "b"}
    assert {found["description"] for found in report["found"]} == {"moving cars"}
    one = answer("mine", "refav", program, "--log", "a", lake=lake)
    assert [found["source_log_id"] for found in one["found"]] == ["a"]
    program.write_text("import os\nos.remove('x')\n")
    done = scenelake("mine", "refav", program, lake=lake)
    assert done.returncode == 1
    assert "cars.py, line 1, column 1" in done.stderr
