"""GPUDrive and Nocturne JSON: the three layouts, written here as they are in use."""

import gzip
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import gpudrive
from formats.registry import Rejected
from geometry.angles import difference
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, LaneType, LightState, MapLayer
from schemas.records import Log
from tests.contracts import ReaderContract, check_log

STEPS = 11
COURSE = 2.0  # [rad] the car's direction of motion
SPEED = 10.0  # [m/s]


def point(x: float, y: float, z: float | None) -> dict[str, float]:
    return {"x": x, "y": y} if z is None else {"x": x, "y": y, "z": z}


def scenario(layout: str) -> dict[str, Any]:
    """A car that drives at 2 rad and a pedestrian seen at steps 2 and 4, in one of the layouts."""
    flat = layout == "nocturne"
    z = None if flat else 1.5
    radians = layout == "metadata"
    lost = -10000.0 if layout != "gpudrive" else 0.0001
    car: dict[str, Any] = {
        "position": [
            point(-9000 + k * 0.1 * SPEED * np.cos(COURSE), k * 0.1 * SPEED * np.sin(COURSE), z)
            for k in range(STEPS)
        ],
        "width": 2.0,
        "length": 4.5,
        # In degrees some files count on beyond a full turn.
        "heading": [COURSE if radians else np.degrees(COURSE) + 360.0] * STEPS,
        "velocity": [point(SPEED * np.cos(COURSE), SPEED * np.sin(COURSE), None)] * STEPS,
        "valid": [True] * STEPS,
        "goalPosition": point(1.0, 2.0, z),
        "type": "vehicle",
    }
    seen = [k in (2, 4) for k in range(STEPS)]
    walker: dict[str, Any] = {
        "position": [point(5.0, 6.0, z) if s else point(lost, lost, z and lost) for s in seen],
        "width": 0.5,
        "length": 0.6,
        "heading": [0.5 if radians else 30.0 if s else lost for s in seen],
        "velocity": [point(0.0, 0.0, None) if s else point(lost, lost, None) for s in seen],
        "valid": seen,
        "goalPosition": point(lost, lost, z),
        "type": "pedestrian",
    }
    roads: list[dict[str, Any]] = [
        {"geometry": [point(0, 0, z), point(5, 0, z)], "type": "lane"},
        {"geometry": [point(0, 2, z), point(5, 2, z)], "type": "road_line"},
        {"geometry": [point(3, 3, z)], "type": "stop_sign"},
        {"geometry": [point(0, 0, z), point(1, 0, z), point(1, 1, z)], "type": "crosswalk"},
    ]
    made: dict[str, Any] = {"name": "tfrecord-7.json", "objects": [car, walker], "roads": roads}
    made["tl_states"] = {}
    if not flat:
        made["scenario_id"] = "cafe"
        car["height"], walker["height"] = 1.5, 1.75
        for road, number, code in zip(roads, (40, 41, 42, 43), (2, 12, 17, 18), strict=True):
            road |= {"id": number, "map_element_id": code}
        made["tl_states"] = {
            "40": {
                "state": ["arrow_stop", "go"], "time_index": [0, 3],
                "x": [5.0, 5.0], "y": [0.0, 0.0], "z": [1.0, 1.0],
            }
        }  # fmt: skip
    if radians:
        car |= {"id": 77, "mark_as_expert": True, "vbd_trajectory": [[0.0] * 5]}
        walker |= {"id": 99, "mark_as_expert": False}
        made["metadata"] = {
            "sdc_track_index": 0,
            "objects_of_interest": [99],
            "tracks_to_predict": [{"track_index": 1, "difficulty": 1}],
        }
    return made


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def read_one(path: Path) -> Log:
    (log,) = gpudrive.read(path)
    assert isinstance(log, Log)
    return log


@pytest.fixture(params=["nocturne", "gpudrive", "metadata"])
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestContract(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return gpudrive

    @pytest.fixture
    def source(self, tmp_path: Path, layout: str) -> Path:
        return write(tmp_path / "in" / "tfrecord-7.json", scenario(layout))


@pytest.fixture
def log(tmp_path: Path, layout: str) -> Log:
    return read_one(write(tmp_path / "x.json", scenario(layout)))


def test_headings_point_where_the_car_goes(log: Log) -> None:
    yaw = log.ego.yaw if log.ego is not None else log.agents.yaw[log.agents.track == 0]
    np.testing.assert_allclose(yaw, COURSE, atol=1e-12)


def test_the_pedestrian_lives_from_first_to_last_sight(log: Log) -> None:
    agents = log.agents
    track = agents.cls.index(AgentClass.PEDESTRIAN)
    rows = agents.track == track
    np.testing.assert_array_equal(agents.t_ns[rows], [2 * 10**8, 3 * 10**8, 4 * 10**8])
    assert agents.valid is not None
    np.testing.assert_array_equal(agents.valid[rows], [True, False, True])
    assert np.abs(agents.xyz[rows]).max() < 100.0, "no sentinel comes through"


def test_only_metadata_names_the_ego(log: Log, layout: str) -> None:
    if layout != "metadata":
        assert log.ego is None
        assert list(log.agents.source_track_id) == ["0", "1"]
        assert any("ego" in note.reason and note.kind == "missing" for note in log.notes)
        return
    assert log.ego is not None
    assert log.ego.source_track_id == "77"
    assert log.ego.size == (4.5, 2.0, 1.5)
    assert [(e.name, e.source_track_id) for e in log.events] == [
        ("track_to_predict", "99"),
        ("object_of_interest", "99"),
    ]
    assert log.extra["mark_as_expert"] == ["77"]
    assert log.extra["goal_position"] == {"77": [1.0, 2.0]}
    assert any("vbd_trajectory" in note.reason for note in log.notes)


def test_name_and_clock(log: Log, layout: str) -> None:
    assert log.source_log_id == ("x" if layout == "nocturne" else "cafe")
    (window,) = log.windows
    assert (window.t0_ns, window.anchor_ns, window.t1_ns) == (0, 10**9, 10**9)


def test_heights_are_missing_not_made_up(log: Log, layout: str) -> None:
    heights = log.agents.size[log.agents.valid, 2]
    assert np.isnan(heights).all() if layout == "nocturne" else (heights > 1.0).all()


def test_map(log: Log, layout: str) -> None:
    lane, line, sign, walk = log.map.features
    layers = [lane.layer, line.layer, sign.layer, walk.layer]
    assert layers == [
        MapLayer.LANE, MapLayer.ROAD_LINE, MapLayer.STOP_SIGN, MapLayer.CROSSWALK,
    ]  # fmt: skip
    if layout == "nocturne":
        assert (lane.lane_type, lane.source_type, lane.has_z) == (LaneType.UNKNOWN, "lane", False)
    else:
        assert (lane.lane_type, lane.source_type) == (LaneType.VEHICLE, "TYPE_SURFACE_STREET")
        assert (lane.source_id, lane.has_z) == ("40", True)
        assert line.source_type == "TYPE_SOLID_DOUBLE_YELLOW"


def test_lights(log: Log, layout: str) -> None:
    if layout == "nocturne":
        assert not len(log.lights.t_ns)
        return
    assert log.lights.source_lane_id == ["40", "40"]
    np.testing.assert_array_equal(log.lights.t_ns, [0, 3 * 10**8])
    np.testing.assert_array_equal(log.lights.state, [LightState.RED, LightState.GREEN])
    np.testing.assert_array_equal(log.lights.arrow, [True, False])
    np.testing.assert_array_equal(log.lights.stop_xyz[0], [5.0, 0.0, 1.0])


@pytest.mark.parametrize(("degrees", "course"), [(True, 3.0), (False, 3.0), (True, -0.05)])
def test_the_unit_of_small_headings_follows_the_motion(
    tmp_path: Path, degrees: bool, course: float
) -> None:
    """Below a full turn in radians, a number does not tell its unit, but the motion does."""
    content = scenario("gpudrive")
    angle = np.radians(course) if degrees else course
    car = content["objects"][0]
    car["heading"] = [course] * STEPS
    car["position"] = [point(k * np.cos(angle), k * np.sin(angle), 0.0) for k in range(STEPS)]
    content["objects"] = [car]
    log = read_one(write(tmp_path / "x.json", content))
    np.testing.assert_allclose(difference(log.agents.yaw, np.full(STEPS, angle)), 0.0, atol=1e-12)
    assert "guessed" in {note.kind for note in log.notes}


def test_valid_sentinels_are_not_observed(tmp_path: Path) -> None:
    content = scenario("metadata")
    content["objects"][0]["position"][5] = point(-10000.0, -10000.0, -10000.0)
    log = read_one(write(tmp_path / "x.json", content))
    assert log.ego is not None
    assert log.ego.valid is not None
    assert list(np.flatnonzero(~log.ego.valid)) == [5]


def test_packed_files_are_read_in_place(tmp_path: Path) -> None:
    packed = tmp_path / "a.json.gz"
    packed.write_bytes(gzip.compress(json.dumps(scenario("metadata")).encode()))
    assert list(gpudrive.sources(tmp_path)) == [packed]
    assert read_one(packed).source_log_id == "cafe"


def test_what_lacks_its_parts_is_refused(tmp_path: Path) -> None:
    content = scenario("metadata")
    del content["objects"][1]["velocity"]
    path = write(tmp_path / "x.json", content)
    with pytest.raises(UnreadableFile, match=r"x\.json.*velocity"):
        list(gpudrive.read(path))


def test_a_scene_of_nobody_is_rejected(tmp_path: Path) -> None:
    content = scenario("metadata")
    for thing in content["objects"]:
        thing["valid"] = [False] * STEPS
    (found,) = gpudrive.read(write(tmp_path / "x.json", content))
    assert isinstance(found, Rejected)


@pytest.fixture(scope="module")
def logs() -> dict[Path, Log]:
    """Every real log, read once."""
    folder = Path(os.environ["SCENELAKE_REAL_DATA"]) / "womd_gpudrive_json"
    return {path: read_one(path) for path in gpudrive.sources(folder)}


@pytest.mark.skipif(
    "SCENELAKE_REAL_DATA" not in os.environ, reason="SCENELAKE_REAL_DATA is not set"
)
class TestRealData:
    def test_all_files_are_read(self, logs: dict[Path, Log]) -> None:
        assert len(logs) == 59
        assert len({log.source_log_id for log in logs.values()}) == 59
        assert Counter(log.ego is not None for log in logs.values()) == {True: 6, False: 53}
        assert sum(len(log.lights.t_ns) > 0 for log in logs.values()) == 5
        for log in logs.values():
            check_log(log)

    def test_coordinates_are_the_source_s(self, logs: dict[Path, Log]) -> None:
        for path, log in logs.items():
            objects = json.loads(gzip.decompress(path.read_bytes()))["objects"]
            told = [
                (float(p["x"]), float(p["y"]))
                for k, thing in enumerate(objects)
                for p, valid in zip(thing["position"], thing["valid"], strict=True)
                if valid and not (log.ego and str(thing.get("id", k)) == log.ego.source_track_id)
            ]
            valid = log.agents.valid
            xyz = log.agents.xyz if valid is None else log.agents.xyz[valid]
            np.testing.assert_array_equal(xyz[:, :2], np.array(told))

    def test_headings_agree_with_the_motion(self, logs: dict[Path, Log]) -> None:
        for path, log in logs.items():
            agents = log.agents
            valid = np.ones(len(agents.track), bool) if agents.valid is None else agents.valid
            step = np.diff(agents.xyz[:, :2], axis=0)
            moving = (np.diff(agents.track) == 0) & valid[1:] & valid[:-1]
            moving &= np.hypot(*step.T) > 0.2
            if moving.any():
                course = np.arctan2(step[:, 1], step[:, 0])[moving]
                off = np.abs(difference(course, agents.yaw[:-1][moving]))
                assert np.median(off) < 0.2, path.name
