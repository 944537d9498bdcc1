"""ScenarioDescription pickles: the layouts that converters have written over the years."""

import gzip
import os
import pickle  # noqa: TID251 - the format is a pickle, and these are made by hand here
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import scenarionet
from formats.registry import Rejected
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, EdgeKind, LaneType, LightState, MapLayer
from schemas.records import Log
from tests.contracts import ReaderContract, check_log

STEPS = 12
TS = np.array([0.0, 0.1, 0.2, 0.3001, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1], dtype=np.float32)
LAYOUTS = ("waymo", "old", "nuscenes")


def track(
    layout: str, word: str, finer: str, size: tuple[float, float, float], valid: Any
) -> dict[str, Any]:
    """Drives along x at 10 m/s from (1000, −200, 3)."""
    column = (STEPS, 1) if layout == "nuscenes" else (STEPS,)
    number = np.float64 if layout == "nuscenes" else np.float32
    x = 1000.0 + 10.0 * 0.1 * np.arange(STEPS)
    seen = np.broadcast_to(np.asarray(valid, dtype=bool), STEPS)
    state: dict[str, Any] = {
        "position": (np.stack([x, x * 0 - 200, x * 0 + 3], 1) * seen[:, None]).astype(number),
        "heading": np.full(STEPS, 2 * np.pi, dtype=number) * seen,
        "velocity": np.stack([x * 0 + 10, x * 0], 1).astype(number),
        "valid": seen.astype(float) if layout == "nuscenes" else seen,
    }
    if layout == "old":
        state["size"] = np.tile(np.array(size, dtype=np.float32), (STEPS, 1))
    else:
        for name, extent in zip(("length", "width", "height"), size, strict=True):
            state[name] = np.full(column, extent, dtype=number)
    return {"type": word, "state": state, "metadata": {"type": finer, "track_length": STEPS}}


def scenario(layout: str) -> dict[str, Any]:
    nuscenes = layout == "nuscenes"
    seen = np.isin(np.arange(STEPS), (3, 5))
    ego_size = (1.73, 4.08, 1.56) if nuscenes else (4.5, 2.0, 1.5)
    tracks = {
        "77": track(layout, "VEHICLE", "vehicle.car" if nuscenes else "VEHICLE", ego_size, True),
        "8": track(layout, "CYCLIST", "vehicle.motorcycle" if nuscenes else "CYCLIST",
                   (2.0, 0.8, 1.7), seen),
        "9": track(layout, "TRAFFIC_CONE", "movable_object.trafficcone" if nuscenes else
                   "TRAFFIC_CONE", (0.3, 0.3, 1.0), False),
    }  # fmt: skip
    line = np.array([[1000.0 + 5 * k, -200.0, 3.0] for k in range(4)], dtype=np.float32)
    beside = {"lane_start_index": "0", "lane_end_index": "3", "boundary_feature_id": "50"}
    crosswalk = np.array([[1010, -205, 3], [1012, -205, 3], [1012, -195, 3]], dtype=np.float32)
    features: dict[str, Any] = {
        "41": {
            "type": "LANE_FREEWAY", "polyline": line, "interpolating": False,
            "speed_limit_mph": 25.0, "speed_limit_kmh": 40.2336, "entry_lanes": [],
            "exit_lanes": [42, 999], "left_neighbor": [], "right_neighbor": [],
            "left_boundaries": [beside], "right_boundaries": [],
        },
        "42": {
            "type": "LANE_BIKE_LANE", "polyline": line + np.array([15, 0, 0]), "interpolating": True,
            "entry_lanes": [41], "exit_lanes": [], "speed_limit_kmh": 0.0,
            "left_neighbor": [{"feature_id": "41"}], "right_neighbor": [],
            "left_boundaries": [], "right_boundaries": [],
        },
        "50": {"type": "ROAD_LINE_BROKEN_SINGLE_WHITE", "polyline": line + np.array([0, 2, 0])},
        "51": {"type": "ROAD_EDGE_BOUNDARY", "polyline": line - np.array([0, 4, 0])},
        "60": {"type": "CROSS_WALK", "polyline": crosswalk} if layout == "old"
        else {"type": "CROSSWALK", "polygon": crosswalk},
        "61": {"type": "STOP_SIGN", "position": np.array([1, 2, 3], np.float32), "lane": [41]},
    }  # fmt: skip
    if nuscenes:
        flat = line[:, :2].astype(np.float64)
        turned = np.concatenate([flat, np.full((4, 1), 0.7)], axis=1)
        side = [0.0, 2.0]
        features = {
            "lane-a": {
                "type": "LANE_SURFACE_STREET", "polyline": turned,
                "polygon": np.concatenate([flat - side, flat[::-1] + side, flat[:1] - side]),
            },
            "boundary_0": {"type": "ROAD_LINE_SOLID_SINGLE_WHITE", "polyline": flat},
        }  # fmt: skip
    shown = ["LANE_STATE_ARROW_STOP"] * 4 + [None] * 4 + ["LANE_STATE_GO"] * 4
    signal: dict[str, Any] = {
        "type": "TRAFFIC_LIGHT", "lane": 41, "stop_point": np.array([1015, -200, 3], np.float32),
        "state": {"object_state": shown}, "metadata": {"object_id": "41"},
    }  # fmt: skip
    if layout == "old":
        seen_steps = np.repeat([1, 0, 1], 4)
        signal = {
            "type": "TRAFFIC_LIGHT", "metadata": {"object_id": "41"},
            "state": {
                "object_state": np.repeat([1, 0, 6], 4), "lane": 41 * seen_steps,
                "stop_point": np.array([1015.0, -200.0, 3.0]) * seen_steps[:, None],
            },
        }  # fmt: skip
    metadata: dict[str, Any] = {
        "ts": np.arange(STEPS) * 0.1 if nuscenes else TS, "sdc_id": "77",
        "metadrive_processed": False, "coordinate": "waymo", "source_file": "a.tfrecord",
        "dataset": "nuscenes" if nuscenes else "waymo", "number_summary": {"num_objects": {1, 2}},
    }  # fmt: skip
    if nuscenes:
        metadata |= {"map": "boston-seaport", "date": "2018-08-01", "sample_rate": 0.1}
    else:
        metadata |= {
            "current_time_index": 10, "objects_of_interest": ["8"],
            "tracks_to_predict": {"8": {"track_index": 1, "track_id": "8", "difficulty": 2}},
        }  # fmt: skip
    return {
        "id": "cafe", "version": "MetaDrive v0.3.0.1", "length": STEPS, "tracks": tracks,
        "dynamic_map_states": {} if nuscenes else {"41": signal}, "map_features": features,
        "metadata": metadata,
    }  # fmt: skip


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=4))
    return path


def read_one(path: Path) -> Log:
    (log,) = scenarionet.read(path)
    assert isinstance(log, Log)
    check_log(log)
    return log


def notes_of(log: Log, kind: str) -> str:
    return "\n".join(note.reason for note in log.notes if note.kind == kind)


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestContract(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return scenarionet

    @pytest.fixture
    def source(self, tmp_path: Path, layout: str) -> Path:
        return write(tmp_path / "in" / "sd_x.pkl", scenario(layout))


@pytest.fixture
def log(tmp_path: Path, layout: str) -> Log:
    return read_one(write(tmp_path / "sd_x.pkl", scenario(layout)))


def test_ego_and_clock(log: Log, layout: str) -> None:
    ego = log.ego
    assert ego is not None
    assert ego.source_track_id == "77"
    np.testing.assert_allclose(
        ego.size, (4.08, 1.73, 1.56) if layout == "nuscenes" else (4.5, 2, 1.5), rtol=1e-6
    )
    np.testing.assert_array_equal(ego.xyz[:, 0], 1000.0 + np.arange(STEPS))
    np.testing.assert_allclose(ego.yaw, 0.0, atol=1e-6)
    np.testing.assert_array_equal(ego.velocity, np.tile([10.0, 0.0], (STEPS, 1)))
    if layout != "nuscenes":
        back = (ego.t_ns / 1e9).astype(np.float32)
        np.testing.assert_array_equal(back, TS, err_msg="the stamps come back as they were")
        (window,) = log.windows
        assert window.anchor_ns == 10**9
    assert ("swapped" in notes_of(log, "guessed")) == (layout == "nuscenes")


def test_others(log: Log, layout: str) -> None:
    agents = log.agents
    assert list(agents.source_track_id) == ["8"]
    finer = layout == "nuscenes"
    assert list(agents.source_cls) == ["vehicle.motorcycle" if finer else "CYCLIST"]
    assert list(agents.cls) == [AgentClass.MOTORCYCLE if finer else AgentClass.CYCLIST]
    assert agents.valid is not None
    np.testing.assert_array_equal(agents.valid, [True, False, True])
    np.testing.assert_allclose(agents.size[0], (2.0, 0.8, 1.7), rtol=1e-6)
    assert "not observed at any step" in notes_of(log, "dropped")
    assert log.extra["types"] == (
        {"vehicle.car": "VEHICLE", "vehicle.motorcycle": "CYCLIST",
         "movable_object.trafficcone": "TRAFFIC_CONE"} if finer else {}
    )  # fmt: skip


def test_lights(log: Log, layout: str) -> None:
    lights = log.lights
    if layout == "nuscenes":
        assert not len(lights.t_ns)
        return
    assert lights.source_lane_id == ["41"] * 8, "steps that were not seen have no row"
    np.testing.assert_array_equal(lights.state, [LightState.RED] * 4 + [LightState.GREEN] * 4)
    np.testing.assert_array_equal(lights.arrow, [True] * 4 + [False] * 4)
    np.testing.assert_array_equal(lights.stop_xyz, np.tile([1015.0, -200.0, 3.0], (8, 1)))
    assert lights.t_ns[4] == round(float(TS[8]) * 1e9)
    old = layout == "old"
    assert lights.source_state[0] == ("1" if old else "LANE_STATE_ARROW_STOP")


def test_map_of_waymo(tmp_path: Path) -> None:
    log = read_one(write(tmp_path / "sd_x.pkl", scenario("waymo")))
    lane, bike, line, edge, walk, sign = log.map.features
    assert [f.layer for f in log.map.features] == [
        MapLayer.LANE, MapLayer.LANE, MapLayer.ROAD_LINE, MapLayer.ROAD_EDGE, MapLayer.CROSSWALK,
        MapLayer.STOP_SIGN,
    ]  # fmt: skip
    assert (lane.lane_type, bike.lane_type) == (LaneType.FREEWAY, LaneType.BIKE)
    assert lane.speed_limit == pytest.approx(11.176)
    assert bike.speed_limit is None
    assert lane.left is not None
    np.testing.assert_allclose(lane.left[:, 1], -198.0)
    assert lane.right is None
    assert bike.source_type == "LANE_BIKE_LANE interpolating"
    np.testing.assert_array_equal(sign.points, [[1.0, 2.0, 3.0]])
    assert log.map.neighbours(0, EdgeKind.SUCCESSOR) == [1]
    assert log.map.neighbours(1, EdgeKind.PREDECESSOR) == [0]
    assert log.map.neighbours(1, EdgeKind.LEFT) == [0]
    assert log.map.neighbours(sign.feature_id, EdgeKind.STOP_LINE_OF_LANE) == [0]
    assert "outside the map" in notes_of(log, "dropped")
    assert (len(line.points), len(edge.points), len(walk.points)) == (4, 4, 3)


def test_map_of_nuscenes(tmp_path: Path) -> None:
    """Headings do not pass for heights, and the outline of a lane becomes its boundaries."""
    log = read_one(write(tmp_path / "sd_x.pkl", scenario("nuscenes")))
    lane = log.map.of_layer(MapLayer.LANE)[0]
    assert not lane.has_z
    np.testing.assert_array_equal(lane.points[:, 2], 0.0)
    assert lane.left is not None
    assert lane.right is not None
    np.testing.assert_allclose(lane.left[:, :2], lane.points[:, :2] + [0, 2])
    np.testing.assert_allclose(lane.right[:, :2], lane.points[:, :2] - [0, 2])
    assert "headings" in notes_of(log, "dropped")
    assert "origin" in notes_of(log, "missing")
    assert log.location == "boston-seaport"
    assert log.extra["metadata"]["date"] == "2018-08-01"


def test_events_and_extra(tmp_path: Path) -> None:
    content = scenario("waymo")
    content["metadata"]["scenario_type"] = "starting_left_turn"
    content["metadata"]["odd"] = {"a": np.float32(np.nan), "b": [np.int64(3)], "c": b"x"}
    log = read_one(write(tmp_path / "sd_x.pkl", content))
    assert [(e.name, e.source_track_id, e.t0_ns) for e in log.events] == [
        ("track_to_predict", "8", 10**9), ("object_of_interest", "8", 0),
        ("starting_left_turn", None, 0),
    ]  # fmt: skip
    assert log.events[0].detail["difficulty"] == 2
    assert log.extra["metadata"]["odd"] == {"a": None, "b": [3], "c": "bytes left out"}
    assert log.extra["version"] == "MetaDrive v0.3.0.1"


def test_bad_states_and_clocks(tmp_path: Path) -> None:
    content = scenario("waymo")
    content["metadata"]["ts"] = TS.astype(np.float64)
    content["metadata"]["ts"][6] = 0.45  # back
    content["tracks"]["77"]["state"]["position"][2] = np.nan
    content["tracks"]["short"] = track("waymo", "VEHICLE", "VEHICLE", (4.0, 2.0, 1.5), True)
    content["tracks"]["short"]["state"]["heading"] = np.zeros(3)
    content["tracks"]["odd"] = track("waymo", "HOVERCRAFT", "HOVERCRAFT", (4.0, 2.0, 1.5), True)
    log = read_one(write(tmp_path / "sd_x.pkl", content))
    assert log.ego is not None
    assert len(log.ego.t_ns) == STEPS - 1
    assert log.ego.valid is not None
    assert not log.ego.valid[2]
    said = notes_of(log, "dropped")
    assert "repeat or go back" in said
    assert "NaN" in said
    assert "without position" in said
    assert "HOVERCRAFT" in notes_of(log, "renamed")
    assert log.agents.cls[1] is AgentClass.UNKNOWN


def test_without_stamps_and_ego(tmp_path: Path) -> None:
    content = scenario("waymo")
    del content["metadata"]["ts"], content["metadata"]["sdc_id"]
    log = read_one(write(tmp_path / "sd_x.pkl", content))
    assert log.ego is None
    assert list(log.agents.source_track_id) == ["77", "8"]
    assert log.agents.t_ns[1] == 10**8
    assert "0.1 s" in notes_of(log, "guessed")


def test_names_packing_and_neighbours(tmp_path: Path) -> None:
    """Index files are no scenarios; others are found by name or by how they begin."""
    one = write(tmp_path / "sd_a.pkl", scenario("old"))
    two = write(tmp_path / "b.pkl", scenario("waymo"))
    packed = tmp_path / "sd_c.pkl.gz"
    packed.write_bytes(gzip.compress(one.read_bytes()))
    write(tmp_path / "dataset_summary.pkl", {"sd_a.pkl": scenario("waymo")["metadata"]})
    write(tmp_path / "dataset_mapping.pkl", {"sd_a.pkl": ""})
    write(tmp_path / "infos.pkl", {"metainfo": {}, "data_list": []})
    assert list(scenarionet.sources(tmp_path)) == [two, one, packed]
    assert read_one(packed).source_log_id == "cafe"


@pytest.mark.parametrize("lost", ["tracks", "map_features", "metadata", "length"])
def test_what_lacks_its_parts_is_refused(tmp_path: Path, lost: str) -> None:
    content = scenario("waymo")
    del content[lost]
    with pytest.raises(UnreadableFile, match=r"sd_x\.pkl.*ScenarioDescription"):
        list(scenarionet.read(write(tmp_path / "sd_x.pkl", content)))


@pytest.mark.parametrize("part", ["tracks", "map_features", "metadata", "dynamic_map_states"])
@pytest.mark.parametrize("value", [3, [1, 2], {"a": 3}, {"a": {"state": 5}}, "x", {"a": None}])
def test_nonsense_is_told(tmp_path: Path, part: str, value: Any) -> None:
    path = write(tmp_path / "sd_x.pkl", scenario("waymo") | {part: value})
    try:
        (item,) = scenarionet.read(path)
    except UnreadableFile as error:
        assert error.path == str(path)  # noqa: PT017 - either way is right
    else:
        assert isinstance(item, (Log, Rejected))


def test_malice_is_found_and_refused(tmp_path: Path) -> None:
    path = tmp_path / "sd_x.pkl"
    path.write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    assert list(scenarionet.sources(tmp_path)) == [path], "silence would lose it"
    with pytest.raises(UnreadableFile, match=r"os\.system"):
        list(scenarionet.read(path))


def test_a_scene_of_nobody_is_rejected(tmp_path: Path) -> None:
    content = scenario("waymo")
    for thing in content["tracks"].values():
        thing["state"]["valid"] = np.zeros(STEPS, dtype=bool)
    (found,) = scenarionet.read(write(tmp_path / "sd_x.pkl", content))
    assert isinstance(found, Rejected)


@pytest.mark.skipif(
    "SCENELAKE_REAL_DATA" not in os.environ, reason="SCENELAKE_REAL_DATA is not set"
)
@pytest.mark.parametrize(
    "name",
    ["scenarionet_waymo/sd_waymo_2a1e44d405a6833f.pkl.gz",
     "scenarionet_waymo/sd_waymo_dd0c8c27fdd6ef59.pkl.gz",
     "scenarionet_nuscenes/sd_nuscenes_scene-0757.pkl.gz"],
)  # fmt: skip
def test_real_files(name: str) -> None:
    """Counts and coordinates as Python's own unpickler finds them."""
    path = Path(os.environ["SCENELAKE_REAL_DATA"]) / name
    theirs = pickle.loads(gzip.decompress(path.read_bytes()))
    log = read_one(path)
    ego = theirs["metadata"]["sdc_id"]
    valid = {k: np.asarray(t["state"]["valid"]) > 0.5 for k, t in theirs["tracks"].items()}
    seen = np.ones(len(log.agents.track), bool) if log.agents.valid is None else log.agents.valid
    assert seen.sum() == sum(v.sum() for k, v in valid.items() if k != ego)
    for number, track_id in enumerate(log.agents.source_track_id):
        rows = (log.agents.track == number) & seen
        there = theirs["tracks"][track_id]["state"]["position"][valid[track_id]]
        np.testing.assert_array_equal(log.agents.xyz[rows], there.astype(np.float64))
    words = Counter(f["type"].split("_")[0] for f in theirs["map_features"].values())
    assert len(log.map.of_layer(MapLayer.LANE)) == words["LANE"]
    shown = sum(
        sum(
            bool(s)
            for s in signal["state"]["lane" if "lane" in signal["state"] else "object_state"]
        )
        for signal in theirs["dynamic_map_states"].values()
    )
    assert len(log.lights.t_ns) == shown
