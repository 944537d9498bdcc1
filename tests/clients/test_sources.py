"""The lake against each source's own library: the same things, as many, at the same places.

The libraries live in an environment of their own (``make clients``); :mod:`count` asks them there.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geometry.arrays import Array
from lake import Lake
from tests.formats import lanelet_files, mcap_files, nuscenes_files, py123d_files

pytestmark = pytest.mark.client

REAL = os.environ.get("SCENELAKE_REAL_DATA")
real = pytest.mark.skipif(REAL is None, reason="SCENELAKE_REAL_DATA is not set")
PRECISION_M = 1e-3


@dataclass(frozen=True, slots=True)
class InLake:
    """What the lake says of one source.

    Attributes:
        lake: Holds only this.
        states: Per track of the source: stamps [ns] and positions [m], in order; the ego's too.
        lines: Per lane of the source: centre line, left and right boundary [m].
    """

    lake: Lake
    states: dict[str, tuple[Array, Array]]
    lines: dict[str, list[Array | None]]

    def count(self, sql: str) -> int:
        (row,) = self.lake.sql(sql).to_pylist()
        return int(next(iter(row.values())))


def ingest(source: Path, name: str, folder: Path) -> InLake:
    lake = Lake.create(folder / "lake")
    report = lake.ingest([source], format=name)
    assert report.logs
    assert not report.rejected
    states: dict[str, tuple[Array, Array]] = {}
    for table in ("agents", "ego"):
        rows = lake.sql(
            f"select source_track_id as who, a.log_id, t_ns, x + origin_x as x, y + origin_y as y "
            f"from {table} a join tracks using (log_id, track_id) join logs using (log_id) "
            f"where valid order by log_id, who, t_ns"
        )
        for who, begin, end in _runs(rows["who"].to_pylist()):
            some = rows.slice(begin, end - begin)
            xy = np.stack([some["x"].to_numpy(), some["y"].to_numpy()], axis=1)
            states[who] = (some["t_ns"].to_numpy(), xy)
    origin = {r["map_id"]: (r["origin_x"], r["origin_y"]) for r in lake.read("logs").to_pylist()}
    lines: dict[str, list[Array | None]] = {}
    for row in lake.read("map_features", None, "layer = 'lane'").to_pylist():
        lines[row["source_feature_id"]] = [
            None
            if row[name] is None
            else np.array(row[name]).reshape(-1, 3)[:, :2] + origin[row["map_id"]]
            for name in ("polyline", "left_boundary", "right_boundary")
        ]
    return InLake(lake, states, lines)


def _runs(words: Sequence[str]) -> Iterable[tuple[str, int, int]]:
    begin = 0
    for k in range(1, len(words) + 1):
        if k == len(words) or words[k] != words[begin]:
            yield words[begin], begin, k
            begin = k


def library(name: str, *arguments: object) -> Any:
    """What a library finds, see :mod:`count`."""
    folder = os.environ.get("SCENELAKE_CLIENTS")
    assert folder, "`make clients` sets SCENELAKE_CLIENTS to where the clients are installed"
    program = Path(__file__).with_name("count.py")
    done = subprocess.run(
        [Path(folder, "python"), program, name, *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def assert_same_states(states: Sequence[Sequence[Any]], found: InLake, *, unit_ns: float) -> None:
    """Tracks, their states, times and places; ``states`` are id, time, x, y in any order."""
    told: dict[str, list[tuple[float, float, float]]] = {}
    for who, time, x, y, *_ in states:
        told.setdefault(who, []).append((time, x, y))
    assert set(found.states) == set(told)
    for who, rows in told.items():
        t, xy = np.array([r[0] for r in sorted(rows)]), np.array([r[1:] for r in sorted(rows)])
        t_ns, back = found.states[who]
        assert len(t_ns) == len(rows), who
        np.testing.assert_allclose(t_ns - t_ns[0], (t - t[0]) * unit_ns, atol=1)
        assert np.abs(back - xy).max() < PRECISION_M, who


def assert_same_line(told: Array, found: Array | None) -> None:
    assert found is not None
    assert np.shape(told)[0] == len(found)
    assert np.abs(np.asarray(told)[:, :2] - found).max() < PRECISION_M


def smallest(pattern: str) -> Path:
    assert REAL is not None
    return min(Path(REAL).glob(pattern), key=lambda path: path.stat().st_size)


@real
@pytest.mark.parametrize("name", ["USA_US101-10_1_T-1", "DEU_Muc-1_2_T-1", "ZAM_Tutorial-1_1_T-1"])
def test_commonroad_io(name: str, tmp_path: Path) -> None:
    source = smallest(f"commonroad/{name}.xml.gz")
    told = library("commonroad", source, tmp_path)
    found = ingest(source, "commonroad", tmp_path)
    moving = {row[0] for row in told["states"]}
    still = set(found.states) - moving
    assert len(still) >= told["static"]
    for who in still:
        found.states.pop(who)
    assert_same_states(told["states"], found, unit_ns=told["dt"] * 1e9)
    assert set(found.lines) == set(told["lines"])
    for lane, line in told["lines"].items():
        assert_same_line(line, found.lines[lane][1])


@real
@pytest.mark.parametrize("name", ["pedestrian.osi", "osi_centerline_example.mcap"])
def test_osi_python(name: str, tmp_path: Path) -> None:
    source = smallest(f"osi_omega_prime/example_files/{name}")
    told = library("osi", source)
    found = ingest(source, "osi", tmp_path)
    assert_same_states(told["states"], found, unit_ns=1)
    host = sum(row[4] for row in told["states"])
    assert found.count("select count(*) from ego") == host
    times = "(select t_ns from agents union select t_ns from ego)"
    assert found.count(f"select count(distinct t_ns) from {times}") == told["messages"]


def test_mcap(tmp_path: Path) -> None:
    """Messages of images, clouds and odometry, counted by the mcap library."""
    source = mcap_files.write_drive(tmp_path / "in" / "a.mcap")
    told = library("mcap", source)
    found = ingest(source, "mcap", tmp_path)
    of_type = {
        kind: sum(len(topic["log_time"]) for topic in told.values() if topic["type"] == kind)
        for kind in ("Image", "CompressedImage", "PointCloud2", "Odometry")
    }
    frames = of_type["Image"] + of_type["CompressedImage"] + of_type["PointCloud2"]
    assert found.count("select count(*) from frames") == frames
    assert found.count("select count(*) from ego") == of_type["Odometry"]
    (odometry,) = (topic for topic in told.values() if topic["type"] == "Odometry")
    stamps = found.lake.sql("select t_ns + t0_unix_ns as t from ego join logs using (log_id)")
    assert sorted(stamps["t"].to_pylist()) == sorted(odometry["stamps"])


def test_lanelet2(tmp_path: Path) -> None:
    """The library chooses another projection, so lengths and gaps are compared, in UTM's scale."""
    source = lanelet_files.straight_road(tmp_path / "in" / "a.osm", origin=(48.0, 11.0))
    told = library("lanelet2", source)
    assert told["errors"] == []
    found = ingest(source, "lanelet2", tmp_path)
    assert set(found.lines) == set(told["lines"])
    for lane, (left, right) in told["lines"].items():
        for line, ours in zip((left, right), found.lines[lane][1:], strict=True):
            assert ours is not None
            assert len(ours) == len(line)
            np.testing.assert_allclose(
                np.linalg.norm(np.diff(ours, axis=0), axis=1),
                np.linalg.norm(np.diff(line, axis=0), axis=1),
                rtol=5e-4,
            )


@real
@pytest.mark.parametrize("name", ["i80", "peachtree"])
def test_sumolib(name: str, tmp_path: Path) -> None:
    source = smallest(f"smarts_ngsim/scenarios/NGSIM/{name}/map.net.xml")
    told = library("sumo", source)
    found = ingest(source, "sumo", tmp_path)
    roads = {lane: line for lane, line in told["lines"].items() if lane in found.lines}
    left_out = set(told["lines"]) - set(roads)
    assert set(found.lines) == set(roads)
    assert all(lane.startswith(":") for lane in left_out), left_out
    for lane, line in roads.items():
        assert_same_line(line, found.lines[lane][0])


@real
def test_av2_motion_forecasting(tmp_path: Path) -> None:
    (source,) = Path(str(REAL), "argoverse2", "forecasting_scenarios").iterdir()
    told = library("argoverse2_motion", source)
    found = ingest(source, "argoverse2_motion", tmp_path)
    assert_same_states(told["states"], found, unit_ns=1e8)
    _check_argoverse2_map(told["map"], found)
    rows = found.lake.read("tracks").to_pylist()
    assert {r["source_track_id"]: r["source_cls"] for r in rows} == told["classes"]


@real
def test_av2_sensor(tmp_path: Path) -> None:
    (source,) = Path(str(REAL), "argoverse2", "sensor", "val").iterdir()
    told = library("argoverse2_sensor", source)
    found = ingest(source, "argoverse2_sensor", tmp_path)
    rows = found.lake.sql(
        "select source_cls as cls, count(*) as rows from agents "
        "join tracks using (log_id, track_id) group by source_cls"
    ).to_pylist()
    assert {r["cls"]: r["rows"] for r in rows} == Counter(row[1] for row in told["cuboids"])
    stamps = found.count("select count(distinct t_ns) from agents")
    assert stamps == len({row[0] for row in told["cuboids"]})
    if told["map"] is not None:
        _check_argoverse2_map(told["map"], found)


def _check_argoverse2_map(told: dict[str, Any], found: InLake) -> None:
    assert set(found.lines) == set(told["lanes"])
    for lane, line in told["lanes"].items():
        assert_same_line(line, found.lines[lane][1])
    for layer, count in (("crosswalk", told["crossings"]), ("drivable_area", told["areas"])):
        assert found.count(f"select count(*) from map_features where layer = '{layer}'") == count


@real
def test_nuscenes_devkit_on_a_real_t4_log(tmp_path: Path) -> None:
    root = Path(str(REAL), "t4dataset", "t4dataset")
    told = library("nuscenes", root, "annotation")
    _check_nuscenes(told, ingest(root / "annotation", "nuscenes", tmp_path))


def test_nuscenes_devkit(tmp_path: Path) -> None:
    root = tmp_path / "nuscenes"
    nuscenes_files.write_dataset(root)
    for row in json.loads((root / "v1.0-mini" / "map.json").read_text()):
        mask = root / row["filename"]
        mask.parent.mkdir(exist_ok=True)
        mask.touch()  # the devkit looks for it, and reads it only to draw
    told = library("nuscenes", root, "v1.0-mini")
    _check_nuscenes(told, ingest(root / "v1.0-mini", "nuscenes", tmp_path))


def _check_nuscenes(told: dict[str, Any], found: InLake) -> None:
    names = found.lake.read("logs").to_pylist()
    assert len(names) == len(told["scenes"])
    frames = found.count("select count(*) from frames")
    assert frames == told["frames"]
    others = {who: states for who, states in found.states.items() if who != "ego"}
    assert_same_states(
        [row[1:] for row in told["states"]], InLake(found.lake, others, {}), unit_ns=1e3
    )
    rows = found.lake.read("tracks", None, "not is_ego").to_pylist()
    assert {r["source_track_id"]: r["source_cls"] for r in rows} == told["classes"]


def test_py123d(tmp_path: Path) -> None:
    source = py123d_files.write_log(tmp_path / "logs" / "one")
    told = library("py123d", source)
    found = ingest(source, "py123d", tmp_path)
    ego = found.states.pop("ego")
    assert_same_states(told["states"], found, unit_ns=1e3)
    assert np.abs(ego[1] - np.array(told["ego"])[:, 1:3]).max() < PRECISION_M
    assert found.count("select count(*) from lights") == told["lights"]
