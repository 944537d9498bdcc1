"""Bring your own: mappings of columns over Parquet and CSV."""

import gzip
import os
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv as pa_csv
from pyarrow import parquet

from formats import stretches, table
from formats.registry import Rejected
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, LightState, MapLayer, Weather
from schemas.records import Log
from tests.contracts import ReaderContract, check_log
from tests.formats.lanelet_files import straight_road

STEPS = 30
COURSE = 2.0  # [rad]
SIMPLE = """
    data = ["tracks.csv"]
    [columns]
    track = "id"
    time = "t"
    x = "x"
    y = "y"
"""


def mapping(folder: Path, text: str, name: str = "mine") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.scenelake.toml"
    path.write_text(textwrap.dedent(text))
    return path


def write(path: Path, columns: Mapping[str, Any]) -> Path:
    """A table as Parquet or CSV, by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = pa.table(dict(columns))
    if path.suffix == ".parquet":
        parquet.write_table(made, path)
    else:
        pa_csv.write_csv(made, path)
    return path


def straight(steps: int = STEPS, *, t: Any = None) -> dict[str, Any]:
    """One track at 10 m/s and 2 rad, 10 Hz."""
    k = np.arange(steps)
    return {
        "id": ["a"] * steps,
        "t": k / 10 if t is None else t,
        "x": 100 + k * np.cos(COURSE),
        "y": -50 + k * np.sin(COURSE),
    }


def logs_of(path: Path) -> list[Log]:
    logs = [log for log in table.read(path) if isinstance(log, Log)]
    for log in logs:
        check_log(log)
    return logs


def example(folder: Path) -> Path:
    """The module's own example, with the files that it names."""
    docs = table.__doc__ or ""
    text = docs.split("are needed::\n", 1)[1].split("\nKeys that are not known", 1)[0]
    k = np.arange(STEPS)
    stamps = 1_700_000_000_000 + 100 * k
    heading = 90.0 - np.degrees(COURSE)  # clockwise from y
    rows = {
        "flight": ["f1"] * STEPS + ["f2"] * STEPS,
        "object": [17] * STEPS + [4] * STEPS,
        "stamp": np.concatenate([stamps, stamps]),
        "pos_x": np.tile(100 + k * np.cos(COURSE), 2),
        "pos_y": np.tile(-50 + k * np.sin(COURSE), 2),
        "pos_z": np.full(2 * STEPS, 3.0),
        "heading": np.full(2 * STEPS, heading),
        "vel_x": np.full(2 * STEPS, 36.0 * np.cos(COURSE)),
        "vel_y": np.full(2 * STEPS, 36.0 * np.sin(COURSE)),
        "l": [4.0] * STEPS + [None] * STEPS,
        "w": np.full(2 * STEPS, 2.0),
        "h": np.full(2 * STEPS, 1.4),
        "kind": ["car"] * STEPS + ["lkw"] * STEPS,
        "is_ego": [True] * STEPS + [False] * STEPS,
    }
    write(folder / "flights.parquet", rows)
    straight_road(folder / "maps" / "crossing.osm", origin=(50.78, 6.07))
    (folder / "signals.csv").write_text(
        f"flight;lane_id;stamp;colour;by\nf1;20;{stamps[0]};R;me\nf1;20;{stamps[9]};green;me\n"
        f"f2;20;{stamps[3]};dark;you\n"
    )
    imu = {"flight": ["f1"] * 5, "stamp": stamps[:5], "acc_x": np.arange(5.0), "gyro_z": [0.1] * 5}
    write(folder / "imu.parquet", imu)
    lines = [line for line in textwrap.dedent(text).splitlines()
             if not line.startswith(("map_offset", "speed ="))]  # fmt: skip
    return mapping(folder, "\n".join(lines), "drone")


class TestWhole(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return table

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        source = example(tmp_path / "in")
        # The contract copies all files into one folder.
        source.with_name("crossing.osm").write_bytes(
            (source.parent / "maps" / "crossing.osm").read_bytes()
        )
        text = source.read_text().replace("maps/crossing.osm", "crossing.osm")
        # Half of a mapping may be a sound one; it is not where the columns come last.
        before, columns = text.split("[columns]")
        columns, after = columns.split("[time]")
        source.write_text(f"{before}[time]{after}\n[columns]{columns}")
        return source


class TestSimple(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return table

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        write(tmp_path / "in" / "tracks.csv", straight())
        return mapping(tmp_path / "in", SIMPLE)


def test_the_example_of_the_docs_is_read(tmp_path: Path) -> None:
    one, two = logs_of(example(tmp_path / "in"))
    assert (one.dataset, one.source_log_id, two.source_log_id) == ("acme_drone", "f1", "f2")
    assert one.t0_unix_ns == 1_700_000_000_000 * 10**6
    assert (one.license, one.location, one.split, one.epsg) == (
        "CC BY 4.0", "Aachen", "train", 25832,
    )  # fmt: skip
    assert one.weather == Weather.RAIN
    assert one.ego is not None
    assert one.ego.source_track_id == "17"
    np.testing.assert_allclose(one.ego.yaw, COURSE)
    centre = np.array([100.0, -50.0]) - 2.0 * np.array([np.cos(COURSE), np.sin(COURSE)])
    np.testing.assert_allclose(one.ego.xyz[0], [*centre, 3.7], atol=1e-9)
    assert one.ego.velocity is not None
    np.testing.assert_allclose(np.hypot(*one.ego.velocity.T), 10.0)
    assert two.ego is None
    assert list(two.agents.cls) == [AgentClass.TRUCK]
    assert list(two.agents.source_cls) == ["lkw"]
    np.testing.assert_array_equal(two.agents.size[0], [4.5, 2.0, 1.4])
    assert [lane.source_id for lane in one.map.of_layer(MapLayer.LANE)] == ["20"]
    assert one.lights.t_ns.tolist() == [0, 9 * 10**8]
    assert one.lights.state.tolist() == [LightState.RED, LightState.GREEN]
    assert two.lights.state.tolist() == [LightState.UNKNOWN]
    assert two.lights.source_state == ["dark"]
    assert [(r.channel, r.signal, r.unit) for r in one.readings] == [
        ("imu", "acceleration_x", "m/s2"), ("imu", "yaw_rate", "rad/s"),
    ]  # fmt: skip
    assert one.readings[0].value is not None
    assert one.readings[0].value.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert not two.readings


def test_headings_follow_from_the_motion(tmp_path: Path) -> None:
    write(tmp_path / "tracks.csv", straight())
    (log,) = logs_of(mapping(tmp_path, SIMPLE))
    np.testing.assert_allclose(log.agents.yaw, COURSE)
    assert (log.dataset, log.source_log_id, log.rate_hz) == ("mine", "mine", 10.0)
    assert log.agents.velocity is None
    assert any(note.kind == "guessed" and "motion" in note.reason for note in log.notes)


@pytest.mark.parametrize(
    ("unit", "stamps", "expected"),
    [
        ("ns", ["1700000000123456789", "1700000000223456790"], [0, 100_000_001]),
        ("us", ["1700000000123456.789", "1700000000223456.790"], [0, 100_000_001]),
        ("s", ["1700000000.123456789", "1700000000.22345679"], [0, 100_000_001]),
        ("s", ["-0.1", "1e-1"], [0, 200_000_000]),
        ("ms", ["5", "7"], [0, 2_000_000]),
    ],
)
def test_stamps_in_text_are_kept_to_the_nanosecond(
    tmp_path: Path, unit: str, stamps: list[str], expected: list[int]
) -> None:
    rows = [f"a,{t},{k},0" for k, t in enumerate(stamps)]
    (tmp_path / "tracks.csv").write_text("\n".join(["id,t,x,y", *rows]) + "\n")
    (log,) = logs_of(mapping(tmp_path, SIMPLE + f'\n[time]\nunit = "{unit}"\n'))
    assert log.agents.t_ns.tolist() == expected


@pytest.mark.parametrize("kind", [pa.timestamp("us"), pa.int64(), pa.float64(), pa.string()])
def test_stamps_in_parquet(tmp_path: Path, kind: pa.DataType) -> None:
    unit = "us" if kind == pa.int64() else "s"
    if kind == pa.timestamp("us"):
        t = pa.array(1_700_000_000_000_000 + 40_000 * np.arange(STEPS)).cast(kind)
    elif kind == pa.int64():
        t = pa.array(40_000 * np.arange(STEPS))
    else:
        t = pa.array(0.04 * np.arange(STEPS)).cast(kind)
    write(tmp_path / "tracks.parquet", straight(t=t))
    text = SIMPLE.replace("tracks.csv", "tracks.parquet") + f'\n[time]\nunit = "{unit}"\n'
    (log,) = logs_of(mapping(tmp_path, text))
    assert log.agents.t_ns.tolist() == (np.arange(STEPS) * 40_000_000).tolist()


@pytest.mark.parametrize(
    ("frame", "told", "yaw"),
    [
        ("", 0.5, 0.5),
        ("clockwise = true", 0.5, -0.5),
        ('yaw_from = "y"\nclockwise = true\nyaw_unit = "deg"', 90.0, 0.0),
        ('yaw_from = "y"', 0.5, np.pi / 2 + 0.5),
        ('y_down = true\nyaw_from = "y"', 0.5, -np.pi / 2 + 0.5),
    ],
)
def test_headings_by_convention(tmp_path: Path, frame: str, told: float, yaw: float) -> None:
    write(tmp_path / "tracks.csv", straight() | {"psi": np.full(STEPS, told)})
    (log,) = logs_of(mapping(tmp_path, f'{SIMPLE}yaw = "psi"\n[frame]\n{frame}\n'))
    np.testing.assert_allclose(log.agents.yaw, yaw, atol=1e-12)


def test_images_are_turned_upright(tmp_path: Path) -> None:
    rows = straight() | {"vx": np.full(STEPS, 1.0), "vy": np.full(STEPS, 2.0)}
    write(tmp_path / "tracks.csv", rows)
    text = f'{SIMPLE}vx = "vx"\nvy = "vy"\n[frame]\ny_down = true\nlength_unit = "ft"\n'
    (log,) = logs_of(mapping(tmp_path, text))
    np.testing.assert_allclose(log.agents.xyz[0, :2], np.array([100.0, 50.0]) * 0.3048)
    assert log.agents.velocity is not None
    np.testing.assert_allclose(log.agents.velocity[0], [1.0, -2.0])
    np.testing.assert_allclose(log.agents.yaw, -COURSE)


def test_large_tables_in_any_order_come_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sorted on disk, cut at whole minutes; headings as in one piece."""
    steps = 1300
    rows = straight(steps) | {"run": ["r1"] * steps}
    both = {name: list(column) + list(column) for name, column in rows.items()}
    both["run"] = ["r1"] * steps + ["r2"] * steps
    order = np.random.default_rng(3).permutation(2 * steps)
    mixed = {name: [column[i] for i in order] for name, column in both.items()}
    write(tmp_path / "tracks.parquet", mixed)
    text = SIMPLE.replace("tracks.csv", "tracks.parquet") + '\nlog = "run"\n'
    source = mapping(tmp_path, text)
    whole = {log.source_log_id: log for log in logs_of(source)}
    monkeypatch.setattr(stretches, "PART_ROWS", 500)
    monkeypatch.setattr(stretches, "IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr(stretches, "FLOW_ROWS", 300)
    parts = logs_of(source)
    assert [(p.source_log_id, p.part, p.more) for p in parts] == [
        ("r1", 0, True), ("r1", 1, True), ("r1", 2, False),
        ("r2", 0, True), ("r2", 1, True), ("r2", 2, False),
    ]  # fmt: skip
    for name, log in whole.items():
        mine = [p.agents for p in parts if p.source_log_id == name]
        np.testing.assert_array_equal(np.concatenate([a.xyz for a in mine]), log.agents.xyz)
        np.testing.assert_array_equal(np.concatenate([a.yaw for a in mine]), log.agents.yaw)
        np.testing.assert_array_equal(np.concatenate([a.t_ns for a in mine]), log.agents.t_ns)


def test_tables_beside_the_tracks_are_taken_part_by_part_where_they_are_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that names logs, one that does not; rows before, after and of logs that are not there."""
    steps = 1500
    rng = np.random.default_rng(5)
    runs = {
        name: straight(steps, t=1e5 * n + np.arange(steps) / 10)
        for n, name in enumerate(("r1", "r3"))
    }
    tracks = {key: np.concatenate([told[key] for told in runs.values()]) for key in runs["r1"]}
    write(tmp_path / "tracks.csv", tracks | {"run": np.repeat(list(runs), steps)})
    when = rng.permutation(np.concatenate([1e5 * n + np.arange(-50, 1700) / 10 for n in (0, 1)]))
    write(tmp_path / "imu.parquet", {
        "run": rng.choice(["r0", "r1", "r2", "r3", "r9"], len(when)), "t": when,
        "a": rng.normal(size=len(when)),
    })  # fmt: skip
    write(tmp_path / "lights.csv", {"lane": ["l"] * len(when), "t": when, "s": ["R"] * len(when)})
    source = mapping(tmp_path, SIMPLE + """log = "run"
        [lights]
        data = "lights.csv"
        lane = "lane"
        time = "t"
        state = "s"
        [lights.states]
        R = "red"
        [[readings]]
        data = "imu.parquet"
        channel = "imu"
        log = "run"
        time = "t"
        signals = { ax = "a" }
    """)  # fmt: skip
    whole = {log.source_log_id: log for log in logs_of(source)}
    monkeypatch.setattr(stretches, "IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr(stretches, "FLOW_ROWS", 300)
    parts = logs_of(source)
    told = [(part.source_log_id, part.part, part.more) for part in parts]
    assert told == [(n, k, k < 2) for n in ("r1", "r3") for k in range(3)]
    for name, log in whole.items():
        mine = [part for part in parts if part.source_log_id == name]
        (one,) = log.readings
        some = [part.readings[0] for part in mine]
        np.testing.assert_array_equal(np.concatenate([r.t_ns for r in some]), one.t_ns)
        np.testing.assert_array_equal(
            np.concatenate([np.asarray(r.value) for r in some]), np.asarray(one.value)
        )
        lights = np.concatenate([part.lights.t_ns for part in mine])
        np.testing.assert_array_equal(lights, log.lights.t_ns)
        assert [(part.lights.t_ns // 60_000_000_000).max() for part in mine[:2]] == [0, 1]
        dropped = [
            {n.reason: n.count for n in told.notes if "begins" in n.reason}
            for told in (log, mine[0])
        ]
        assert dropped[0] == dropped[1]


def test_unknown_keys_are_refused_with_a_guess(tmp_path: Path) -> None:
    write(tmp_path / "tracks.csv", straight())
    source = mapping(tmp_path, SIMPLE.replace("[columns]", 'locatoin = "x"\n[columns]'))
    with pytest.raises(UnreadableFile, match=r"locatoin.*Did you mean `location`"):
        list(table.read(source))
    assert list(table.files(source)) == [source]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('x = "x"', 'x = "easting"'), "lacks the columns easting"),
        (('["tracks.csv"]', '["../tracks.csv"]'), "outside of its folder"),
        (('["tracks.csv"]', '["/etc/passwd"]'), "outside of its folder"),
        (('["tracks.csv"]', '["other.csv"]'), "does not exist"),
        (('["tracks.csv"]', "[]"), "names no file"),
        (('["tracks.csv"]', '"tracks.csv"'), "must be a list"),
        (('time = "t"', 'time = "t"\nvx = "x"'), "belong together"),
        (("[columns]", "rate_hz = 0\n[columns]"), "rate_hz must be positive"),
        (("[columns]", "rate_hz = nan\n[columns]"), "rate_hz must be positive"),
        (("[columns]", "map_origin = [nan, 6.0]\n[columns]"), "map_origin must be two numbers"),
        (("[columns]", "map_offset = [1.0, inf]\n[columns]"), "map_offset must be two numbers"),
        (
            ("[columns]", "[constants]\nlength = inf\n[columns]"),
            "constants.length must be positive",
        ),
        (
            ("[columns]", "[constants]\nwidth = -1.0\n[columns]"),
            "constants.width must be positive",
        ),
        (("[columns]", 'weather = "hail"\n[columns]'), "weather must be one of clear"),
        (("[columns]", '[types]\nkart = "racer"\n[columns]'), "types.kart must be one of"),
        (("[columns]", "[columns"), "is not TOML"),
        (('track = "id"', ""), "track"),
    ],
)
def test_mistakes_in_a_mapping_are_named(
    tmp_path: Path, change: tuple[str, str], told: str
) -> None:
    write(tmp_path / "in" / "tracks.csv", straight())
    source = mapping(tmp_path / "in", SIMPLE.replace(*change))
    with pytest.raises(UnreadableFile, match=re.escape(told)):
        list(table.read(source))


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "secret.csv", straight())
    source = mapping(tmp_path / "in", SIMPLE)
    (tmp_path / "in" / "tracks.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(UnreadableFile, match="outside"):
        list(table.read(source))


def test_what_rows_lack_is_told(tmp_path: Path) -> None:
    (tmp_path / "tracks.csv").write_text(
        "id,t,x,y\na,0.0,1,2\na,,2,2\na,0.2,inf,2\na,0.3,,2\na,0.4,4,2\na,0.4,5,2\n"
    )
    (log,) = logs_of(mapping(tmp_path, SIMPLE))
    assert log.agents.xyz[:, 0].tolist() == [1.0, 4.0]
    notes = {note.reason: note.count for note in log.notes}
    assert notes["rows of tracks.csv without a time or id"] == 1
    assert notes["rows without a finite position and heading"] == 2
    assert notes["a track has several states at one time; the first is kept"] == 1


def test_no_rows_at_all(tmp_path: Path) -> None:
    (tmp_path / "tracks.csv").write_text("id,t,x,y\n")
    (found,) = table.read(mapping(tmp_path, SIMPLE))
    assert isinstance(found, Rejected)


def test_packed_tables(tmp_path: Path) -> None:
    plain = write(tmp_path / "tracks.csv", straight())
    plain.with_name("tracks.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert len(logs_of(mapping(tmp_path, SIMPLE))[0].agents.t_ns) == STEPS


@pytest.mark.parametrize("column", ["x", "id"])
def test_a_table_that_would_fill_the_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    """Of one number, or one long name, repeated a million times."""
    rows = 2**17
    told: dict[str, Any] = {name: np.zeros(rows, dtype="f4") for name in ("t", "x", "y")}
    told["id"] = ["a" * (1000 if column == "id" else 1)] * rows
    monkeypatch.setattr("formats.unpacked.MAX_UNPACKED", 2**24 if column == "id" else 2**20)
    write(tmp_path / "tracks.parquet", told)
    assert (tmp_path / "tracks.parquet").stat().st_size < 2**15
    with pytest.raises(UnreadableFile, match="unpacks to more than"):
        logs_of(mapping(tmp_path, SIMPLE.replace("csv", "parquet")))


class TestEgoByName:
    def rows(self, folder: Path, ego: str) -> Path:
        one, two = straight(), straight() | {"id": ["b"] * STEPS}
        write(folder / "tracks.csv", {k: [*one[k], *two[k]] for k in one} | {
            "flight": ["first"] * STEPS + ["second"] * STEPS})  # fmt: skip
        return mapping(folder, f'ego = "{ego}"\n' + textwrap.dedent(SIMPLE) + 'log = "flight"')

    def test_a_name_that_no_track_bears_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UnreadableFile, match="names the ego 'c': No track is called") as told:
            logs_of(self.rows(tmp_path, "c"))
        assert told.value.hint == "Known: a, b."

    def test_a_log_without_the_ego_of_the_others_says_so(self, tmp_path: Path) -> None:
        with_ego, without = logs_of(self.rows(tmp_path, "a"))
        assert with_ego.ego is not None
        assert without.ego is None
        reason = "the mapping's ego 'a' is no track of this log"
        assert [n.kind for n in without.notes if n.reason == reason] == ["missing"]
        assert reason not in {n.reason for n in with_ego.notes}


@pytest.mark.skipif(
    "SCENELAKE_REAL_DATA" not in os.environ, reason="SCENELAKE_REAL_DATA is not set"
)
def test_real_table(tmp_path: Path) -> None:
    """The ground truth of an OSI trace as CSV: 868 rows, all objects, stamps in nanoseconds."""
    folder = Path(os.environ["SCENELAKE_REAL_DATA"]) / "osi_omega_prime" / "example_files"
    (tmp_path / "example.csv").write_bytes((folder / "example.csv").read_bytes())
    source = mapping(
        tmp_path,
        """
        data = ["example.csv"]
        ego = "0"
        [columns]
        track = "idx"
        time = "total_nanos"
        x = "x"
        y = "y"
        z = "z"
        yaw = "yaw"
        vx = "vel_x"
        vy = "vel_y"
        length = "length"
        width = "width"
        height = "height"
        type = "type"
        [time]
        unit = "ns"
        [types]
        2 = "vehicle"
        3 = "pedestrian"
        """,
    )
    (log,) = logs_of(source)
    told = pa_csv.read_csv(folder / "example.csv")
    assert log.ego is not None
    assert len(log.ego.t_ns) + len(log.agents.t_ns) == told.num_rows == 868
    mine = told.filter(pa.compute.equal(told["idx"], 0))
    np.testing.assert_array_equal(log.ego.xyz[:, 0], mine["x"].to_numpy())
    np.testing.assert_array_equal(log.ego.t_ns, mine["total_nanos"].to_numpy())
    assert {cls.word for cls in log.agents.cls} <= {"vehicle", "pedestrian"}


@pytest.mark.parametrize("name", ["tracks.parquet", "tracks.csv"])
def test_texts_that_are_no_ids_are_refused_before_they_fill_the_memory(
    tmp_path: Path, name: str
) -> None:
    told = straight() | {"id": ["a" * 5000] * STEPS}
    write(tmp_path / name, told)
    with pytest.raises(UnreadableFile, match="text of 5,000 bytes in the column id"):
        logs_of(mapping(tmp_path, SIMPLE.replace("tracks.csv", name)))


def test_texts_that_are_no_ids_are_refused_before_any_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each another, so that Parquet keeps them all, in one page that is read as a whole."""
    rng = np.random.default_rng(0)
    told = straight() | {"id": [rng.bytes(50_000).hex() for _ in range(STEPS)]}
    write(tmp_path / "tracks.parquet", told)
    monkeypatch.setattr(
        "formats.parquet_rows.batches", lambda *_, **__: pytest.fail("it was read")
    )
    with pytest.raises(UnreadableFile, match=r"text of 100,.* bytes in the column id"):
        logs_of(mapping(tmp_path, SIMPLE.replace("tracks.csv", "tracks.parquet")))


def test_texts_of_any_length_beside_those_that_are_read_do_not_matter(tmp_path: Path) -> None:
    told = straight() | {"remark": [f"{n}" * 1_000_000 for n in range(STEPS)]}
    write(tmp_path / "tracks.parquet", told)
    (log,) = logs_of(mapping(tmp_path, SIMPLE.replace("tracks.csv", "tracks.parquet")))
    assert len(log.agents.t_ns) == STEPS


def test_long_words_come_in_pieces_of_some_bytes(tmp_path: Path) -> None:
    steps = 60_000
    told = straight(steps) | {"id": [f"{n % 3}" * 4000 for n in range(steps)]}
    path = write(tmp_path / "tracks.parquet", told)
    assert path.stat().st_size < 3_000_000  # each of them once
    largest = max(batch.nbytes for batch in table._parquet(path, ["id", "t", "x", "y"]))
    assert largest < 1.1 * stretches.FLOW_BYTES
