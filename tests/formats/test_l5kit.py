"""L5 stores and their semantic map, written here as they are published."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numcodecs import Blosc

from formats import l5kit, l5kit_map
from formats.registry import Rejected
from geometry.earth import ecef_from_enu
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, EdgeKind, LaneType, LightState, MapLayer
from schemas.records import Log
from tests.builders import with_graph
from tests.contracts import ReaderContract, check_log

STEP = 100_000_123
T0 = 1_571_846_881_502_692_276
FRAMES = 5  # a scene
SCENE = [
    ("frame_index_interval", "<i8", [2]),
    ("host", "<U16"),
    ("start_time", "<i8"),
    ("end_time", "<i8"),
]
FRAME = [
    ("timestamp", "<i8"), ("agent_index_interval", "<i8", [2]),
    ("traffic_light_faces_index_interval", "<i8", [2]), ("ego_translation", "<f8", [3]),
    ("ego_rotation", "<f8", [3, 3]),
]  # fmt: skip
AGENT = [
    ("centroid", "<f8", [2]), ("extent", "<f4", [3]), ("yaw", "<f4"), ("velocity", "<f4", [2]),
    ("track_id", "<u8"), ("label_probabilities", "<f4", [17]),
]  # fmt: skip
FACE = [
    ("face_id", "<U16"),
    ("traffic_light_id", "<U16"),
    ("traffic_light_face_status", "<f4", [3]),
]
CAR, WALKER = 3, 14


def dtype_of(fields: list[Any]) -> np.dtype[Any]:
    return np.dtype([(f[0], f[1], tuple(f[2])) if len(f) > 2 else (f[0], f[1]) for f in fields])


def write_array(folder: Path, fields: list[Any], rows: Any, *, chunk: int) -> None:
    folder.mkdir(parents=True)
    codec = Blosc(cname="lz4", clevel=5, shuffle=1)
    about = {
        "zarr_format": 2, "shape": [len(rows)], "chunks": [chunk], "order": "C", "filters": None,
        "fill_value": None, "dtype": [list(f) for f in fields], "compressor": codec.get_config(),
    }  # fmt: skip
    (folder / ".zarray").write_text(json.dumps(about))
    for number in range(-(-len(rows) // chunk)):
        part = np.zeros(chunk, dtype=rows.dtype)
        some = rows[number * chunk : (number + 1) * chunk]
        part[: len(some)] = some
        (folder / str(number)).write_bytes(codec.encode(part.tobytes()))


def write_store(folder: Path, *, scenes: int = 2) -> Path:
    """Scenes in which the ego drives north at 10 m/s, a car beside it; a walker now and then."""
    scene = np.zeros(scenes, dtype=dtype_of(SCENE))
    frame = np.zeros(scenes * FRAMES, dtype=dtype_of(FRAME))
    agents: list[Any] = []
    faces: list[Any] = []
    certain = np.eye(17, dtype=np.float32)
    for number in range(len(frame)):
        k = number % FRAMES
        begin, lit = len(agents), len(faces)
        y = 2000.0 + k
        agents.append(
            ((-503.5, y + 0.123456789), (4.5, 2.0, 1.5), np.pi / 2, (0, 10), 7, certain[CAR])
        )
        if k in (1, 3):
            agents.append(((1.0, 2.0), (0.5, 0.6, 1.7), 0.0, (0, 0), 9, certain[WALKER]))
        for face, on in (("face-r", k < 2), ("face-g", k >= 2)):
            faces.append((face, "light", (1, 0, 0) if on else (0, 1, 0)))
        turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        frame[number] = (T0 + (number // FRAMES) * 10**11 + k * STEP, (begin, len(agents)),
                         (lit, len(faces)), (-500.0, y, 271.5), turn)  # fmt: skip
    for number in range(scenes):
        scene[number] = ((number * FRAMES, (number + 1) * FRAMES), "host-a101", number, number + 5)
    write_array(folder / "scenes", SCENE, scene, chunk=10)
    write_array(folder / "frames", FRAME, frame, chunk=4)
    write_array(folder / "agents", AGENT, np.array(agents, dtype=dtype_of(AGENT)), chunk=3)
    write_array(
        folder / "traffic_light_faces", FACE, np.array(faces, dtype=dtype_of(FACE)), chunk=100
    )
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / ".zattrs").write_text(
        json.dumps({"format_version": 2, "labels": list(l5kit.LABELS)})
    )
    return folder


# ── A map by hand ────────────────────────────────────────────────────────────────────────────────

LATITUDE_E7, LONGITUDE_E7 = 374_123_456, -1_221_234_567
PLACE = ecef_from_enu(np.radians(LATITUDE_E7 / 1e7), np.radians(LONGITUDE_E7 / 1e7))
WORLD_FROM_LOCAL = np.array([-500.0, 2000.0, 270.0])  # the local frame's origin in the world


def in_world(*points: tuple[float, float, float]) -> Any:
    return np.array(points) + WORLD_FROM_LOCAL


def write_map(folder: Path) -> Path:
    """Two lanes north one after the other, one beside, told southwards; signals; a crosswalk."""
    classes = l5kit_map._classes()
    fragment = classes["MapFragment"](name="palo_alto")

    def frame(body: Any) -> None:
        body.geo_frame.origin.lat_e7 = LATITUDE_E7
        body.geo_frame.origin.lng_e7 = LONGITUDE_E7

    def steps(body: Any, points: Any) -> None:
        deltas = np.diff(np.rint(np.array(points) * 100).astype(int), axis=0, prepend=0)
        body.x_cm.extend(deltas[:, 0].tolist())
        body.y_cm.extend(deltas[:, 1].tolist())
        body.z_cm.extend(deltas[:, 2].tolist())

    def lane(name: str, left: Any, right: Any, **more: Any) -> Any:
        element = fragment.elements.add()
        element.id.id = name.encode()
        made = element.element.lane
        frame(made)
        steps(made.left_boundary, left)
        steps(made.right_boundary, right)
        for control in more.get("controls", ()):
            made.traffic_controls.add().id = control.encode()
        for ahead in more.get("ahead", ()):
            made.lanes_ahead.add().id = ahead.encode()
        return made

    def control(name: str, kind: str, points: Any) -> None:
        element = fragment.elements.add()
        element.id.id = name.encode()
        made = element.element.control
        getattr(made, kind).SetInParent()
        frame(made)
        if points is not None:
            steps(made, points)

    one = lane("one", [(-2, 0, 0), (-2, 20, 0)], [(2, 0, 0), (2, 10, 0), (2, 20, 0)],
               ahead=["two"], controls=["face-r", "face-g", "stop", "lost"])  # fmt: skip
    one.parent.id = b"segment"
    one.access.type = 4
    one.left_boundary.divider_type.extend([6, 12])
    one.left_boundary.type_change_point_cm.append(500)
    one.right_boundary.divider_type.append(1)
    one.change_left.id = b""
    two = lane("two", [(-2, 20, 0), (-2, 40, 1)], [(2, 20, 0), (2, 40, 1)])
    two.parent.id = b"junction"
    two.turn = 2
    two.change_right.id = b"back"
    # Told against its direction, so that its left is drawn on the right.
    back = lane("back", [(6, 60, 0), (6, 20, 0)], [(2, 60, 0), (2, 20, 0)], ahead=["third"])
    back.yield_to_lanes.add().id = b"two"
    lane("third", [(2, 60, 0), (2, 80, 0)], [(6, 60, 0), (6, 80, 0)])
    control("face-r", "signal_red_face", [(0, 22, 5)])
    control("face-g", "signal_right_arrow_green_face", None)
    control("light", "traffic_light", [(-1, 22, 5), (1, 22, 5)])
    control("stop", "stop_line", [(-2, 19, 0), (2, 19, 0)])
    control("walk", "pedestrian_crosswalk", [(-9, 5, 0), (9, 5, 0), (9, 8, 0), (-9, 8, 0)])
    control("sign", "yield_sign", [(3, 3, 2)])
    for name, limit in (("segment", 11.5), ("junction", None)):
        element = fragment.elements.add()
        element.id.id = name.encode()
        if limit is None:
            element.element.junction.SetInParent()
        else:
            element.element.segment.speed_limit = limit
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "semantic_map").mkdir()
    (folder / "semantic_map" / "semantic_map.pb").write_bytes(fragment.SerializeToString())
    ecef_from_world = np.eye(4)
    ecef_from_world[:3, :3] = PLACE.rotation
    ecef_from_world[:3, 3] = PLACE.apply(-WORLD_FROM_LOCAL)
    (folder / "meta.json").write_text(json.dumps({"world_to_ecef": ecef_from_world.tolist()}))
    return folder / "semantic_map" / "semantic_map.pb"


def read_all(path: Path) -> list[Log]:
    logs = list(l5kit.read(path))
    for log in logs:
        assert isinstance(log, Log)
        check_log(log)
    return [log for log in logs if isinstance(log, Log)]


def notes_of(log: Log) -> str:
    return "\n".join(note.reason for note in log.notes)


class TestContract(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return l5kit

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_store(tmp_path / "in" / "sample.zarr")


def test_scenes_become_logs(tmp_path: Path) -> None:
    one, two = read_all(write_store(tmp_path / "train.zarr"))
    assert (one.source_log_id, two.source_log_id) == ("host-a101_0", "host-a101_1")
    assert (one.record, one.split, one.t0_unix_ns) == ("scene 0", "train", T0)
    assert two.t0_unix_ns == T0 + 10**11
    assert one.ego is not None
    np.testing.assert_array_equal(one.ego.t_ns, np.arange(FRAMES) * STEP)
    np.testing.assert_array_equal(one.ego.xyz[:, 1], 2000.0 + np.arange(FRAMES))
    np.testing.assert_allclose(one.ego.yaw, np.pi / 2)
    agents = one.agents
    assert list(agents.source_track_id) == ["7", "9"]
    assert list(agents.source_cls) == ["PERCEPTION_LABEL_CAR", "PERCEPTION_LABEL_PEDESTRIAN"]
    assert list(agents.cls) == [AgentClass.VEHICLE, AgentClass.PEDESTRIAN]
    car = agents.track == 0
    np.testing.assert_array_equal(agents.xyz[car, 1], 2000.0 + np.arange(FRAMES) + 0.123456789)
    np.testing.assert_array_equal(agents.xyz[car, 2], 271.5)
    np.testing.assert_array_equal(agents.t_ns[~car], [STEP, 3 * STEP])
    np.testing.assert_array_equal(agents.size[0], np.array([4.5, 2.0, 1.5]))
    assert agents.velocity is not None
    np.testing.assert_array_equal(agents.velocity[0], [0.0, 10.0])
    assert "no semantic map" in notes_of(one)


def test_faces_without_a_map_stand_for_themselves(tmp_path: Path) -> None:
    log = read_all(write_store(tmp_path / "x.zarr"))[0]
    assert set(log.lights.source_lane_id) == {"light/face-r", "light/face-g"}
    assert Counter(log.lights.source_state) == {"ACTIVE": FRAMES, "INACTIVE": FRAMES}
    assert set(log.lights.state) == {LightState.UNKNOWN}


@pytest.mark.parametrize("depth", ["", "scenes"])
def test_the_map_lies_beside_or_above(tmp_path: Path, depth: str) -> None:
    store = write_store(tmp_path / depth / "x.zarr")
    pb = write_map(tmp_path)
    assert {pb, tmp_path / "meta.json"} <= set(l5kit.files(store))
    one, two = read_all(store)
    assert one.map is two.map
    assert len(one.map.of_layer(MapLayer.LANE)) == 4


def test_map(tmp_path: Path) -> None:
    store = write_store(tmp_path / "x.zarr")
    write_map(tmp_path)
    log = read_all(store)[0]
    of = {(f.layer, f.source_id): f for f in log.map.features}
    one = of[MapLayer.LANE, "one"]
    two = of[MapLayer.LANE, "two"]
    back = of[MapLayer.LANE, "back"]
    third = of[MapLayer.LANE, "third"]
    np.testing.assert_allclose(one.points, in_world((0, 0, 0), (0, 10, 0), (0, 20, 0)), atol=1e-6)
    assert one.left is not None
    np.testing.assert_allclose(one.left, in_world((-2, 0, 0), (-2, 20, 0)), atol=1e-6)
    np.testing.assert_allclose(two.points[-1:], in_world((0, 40, 1)), atol=1e-6)
    assert (one.lane_type, one.speed_limit, one.in_intersection) == (LaneType.BIKE, 11.5, False)
    assert (two.source_type, two.in_intersection) == ("LEFT", True)
    # The lane that was told against its direction runs to the lane ahead, left is left.
    np.testing.assert_allclose(back.points[:, 1] - 2000.0, [20, 60], atol=1e-6)
    assert back.left is not None
    np.testing.assert_allclose(back.left[:, 0] + 500.0, [2, 2], atol=1e-6)
    neighbours = log.map.neighbours
    assert neighbours(one.feature_id, EdgeKind.SUCCESSOR) == [two.feature_id]
    assert neighbours(two.feature_id, EdgeKind.PREDECESSOR) == [one.feature_id]
    assert neighbours(two.feature_id, EdgeKind.RIGHT) == [back.feature_id]
    assert neighbours(back.feature_id, EdgeKind.SUCCESSOR) == [third.feature_id]
    assert neighbours(back.feature_id, EdgeKind.CONFLICT) == [two.feature_id]
    stop = of[MapLayer.STOP_LINE, "stop"]
    assert neighbours(stop.feature_id, EdgeKind.STOP_LINE_OF_LANE) == [one.feature_id]
    walk = of[MapLayer.CROSSWALK, "walk"]
    over = with_graph(log.map).neighbours(walk.feature_id, EdgeKind.CROSSWALK_OVER_LANE)
    assert over == [one.feature_id]
    assert of[MapLayer.ROAD_LINE, "one/left/0"].source_type == "DOUBLE_YELLOW_SOLID"
    curb = of[MapLayer.ROAD_EDGE, "one/left/1"]
    np.testing.assert_allclose(curb.points[:, 1] - 2000.0, [5, 20], atol=1e-6)
    assert (MapLayer.ROAD_LINE, "one/right") not in of
    assert of[MapLayer.SIGN, "sign"].source_type == "yield_sign"
    np.testing.assert_allclose(
        of[MapLayer.TRAFFIC_LIGHT, "light"].points, in_world((0, 22, 5)), atol=1e-6
    )
    said = notes_of(log)
    assert "half way between" in said
    assert "not in the map" in said
    assert "without lanes' geometry" in said


def test_lights_with_a_map(tmp_path: Path) -> None:
    store = write_store(tmp_path / "x.zarr")
    write_map(tmp_path)
    lights = read_all(store)[0].lights
    assert list(lights.source_lane_id) == ["one"] * FRAMES
    np.testing.assert_array_equal(lights.state, [LightState.RED] * 2 + [LightState.GREEN] * 3)
    np.testing.assert_array_equal(lights.arrow, [False] * 2 + [True] * 3)
    assert (
        lights.source_state[0] == "signal_red_face=ACTIVE signal_right_arrow_green_face=INACTIVE"
    )


def edit(store: Path, part: str, **changes: Any) -> None:
    path = store / part / ".zarray"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("part", "changes", "told"),
    [
        ("agents", {"zarr_format": 3}, r"agents/\.zarray.*zarr 2"),
        ("agents", {"dtype": "<f8"}, r"agents/\.zarray"),
        ("agents", {"dtype": [["centroid", "|O"]]}, r"agents/\.zarray"),
        ("agents", {"dtype": [["centroid", "<f8", [2]]]}, "lacks the field extent"),
        ("agents", {"chunks": [10**9]}, "chunks of"),
        ("agents", {"chunks": [0]}, "chunks of"),
        ("agents", {"compressor": {"id": "pickle"}}, "compressor pickle"),
        ("agents", {"compressor": {"id": "zlib"}}, "no sound chunk"),
        ("agents", {"chunks": [4]}, "agents/0"),
        ("scenes", {"shape": [0]}, "without scenes"),
        ("frames", {"shape": [1, 2]}, r"frames/\.zarray"),
    ],
)
def test_odd_arrays_are_named(tmp_path: Path, part: str, changes: Any, told: str) -> None:
    store = write_store(tmp_path / "x.zarr")
    edit(store, part, **changes)
    with pytest.raises(UnreadableFile, match=told):
        list(l5kit.read(store))


def test_a_missing_chunk_is_no_zeros(tmp_path: Path) -> None:
    store = write_store(tmp_path / "x.zarr")
    (store / "agents" / "1").unlink()
    with pytest.raises(UnreadableFile, match=r"agents/1.*does not exist"):
        list(l5kit.read(store))


def test_scenes_that_refer_to_nothing_are_rejected(tmp_path: Path) -> None:
    store = write_store(tmp_path / "x.zarr")
    edit(store, "frames", shape=[FRAMES])
    one, two = l5kit.read(store)
    assert isinstance(one, Log)
    assert isinstance(two, Rejected)
    assert two.record == "scene 1"
    store = write_store(tmp_path / "y.zarr")
    edit(store, "agents", shape=[2])
    assert all(isinstance(item, Rejected) for item in l5kit.read(store))


def test_a_broken_map_is_named(tmp_path: Path) -> None:
    store = write_store(tmp_path / "x.zarr")
    pb = write_map(tmp_path)
    whole = pb.read_bytes()
    pb.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableFile, match=r"semantic_map\.pb"):
        list(l5kit.read(store))
    pb.write_bytes(whole)
    (tmp_path / "meta.json").write_text('{"world_to_ecef": [[1, 2], [3, 4]]}')
    with pytest.raises(UnreadableFile, match=r"meta\.json.*world_to_ecef"):
        list(l5kit.read(store))


@pytest.mark.skipif(
    "SCENELAKE_REAL_DATA" not in os.environ, reason="SCENELAKE_REAL_DATA is not set"
)
def test_real_scene() -> None:
    """Against a plain decoding of the chunks."""
    store = Path(os.environ["SCENELAKE_REAL_DATA"]) / "l5kit" / "single_scene.zarr"
    (log,) = read_all(store)
    raw = b"".join(Blosc().decode((store / "agents" / k).read_bytes()) for k in "01")
    agents = np.frombuffer(raw, dtype=dtype_of(AGENT))[:20802]
    assert len(log.agents.track) == 20802
    assert len(log.agents.source_track_id) == len(np.unique(agents["track_id"]))
    ours = np.sort(log.agents.xyz[:, 0])
    np.testing.assert_array_equal(ours, np.sort(agents["centroid"][:, 0]))
    assert log.ego is not None
    assert len(log.ego.t_ns) == 248
    assert log.t0_unix_ns == 1571846881502692276
    assert int(log.ego.t_ns[-1]) + log.t0_unix_ns == 1571846906201850254
