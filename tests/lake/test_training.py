"""Samples hold the scenes that the lake holds, whatever order, worker or shape."""

from __future__ import annotations

import io
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
from PIL import Image

from lake import Lake
from lake.pieces import cut_lines, road_pieces
from lake.training import SampleConfig, State, row_places
from schemas.errors import BadQuery, MissingData, UnknownName
from schemas.labels import AgentClass
from schemas.records import Frame, Sensor
from schemas.scene import PIECE_POINTS
from tests.builders import make_crossing_log, make_straight_log, straight_map, without

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (10, 200, 30)).save(buffer, "PNG")
    (folder / "front.png").write_bytes(buffer.getvalue())
    seen = replace(
        make_straight_log("seen"),
        sensors=(Sensor(channel="front", kind="camera"),),
        frames=(
            Frame(channel="front", t_ns=10**9, uri=str(folder / "front.png"), codec="png"),
            Frame(channel="front", t_ns=5 * 10**9, uri="gone.png", codec="png"),
        ),
    )
    made = Lake.create(folder / "lake")
    logs = [seen, make_crossing_log("lights"), make_straight_log("long", steps=251)]
    logs += [without(make_straight_log("bare"), "map", "ego")]
    made.add_logs(logs, run_id=1)
    return made


def test_without_a_configuration_a_sample_is_the_scene(lake):
    data = lake.dataset()
    assert len(data) == 6
    for index, scene_id in enumerate(data.scene_ids):
        sample, scene = data[index], lake.scene(int(scene_id))
        assert sample["scene_id"] == scene.scene_id
        assert sample["anchor"] == scene.anchor
        for name in scene.tracks.__slots__:
            np.testing.assert_array_equal(sample[name].numpy(), getattr(scene.tracks, name))
        for name in scene.signals.__slots__:
            told = sample[f"signal_{name}"].numpy()
            np.testing.assert_array_equal(told, getattr(scene.signals, name))
        features = len(set(sample["road_feature_id"].tolist()))
        assert features == len(scene.map.features)


def test_samples_come_in_the_order_asked_for_and_may_repeat(lake):
    data = lake.dataset()
    got = [sample["scene_id"] for sample in data.__getitems__([3, 0, 3, 5])]
    assert got == data.scene_ids[[3, 0, 3, 5]].tolist()
    assert data[-1]["scene_id"] == data.scene_ids[5]
    with pytest.raises(IndexError, match="6 scenes"):
        data[6]


def test_in_the_log_frame_padding_alone_is_added(lake):
    config = SampleConfig(frame="log", agents=8, steps=100)
    (scene,) = (s for s in lake.scenes() if s.name == "seen")
    data = lake.dataset(scene_ids=[scene.scene_id], config=config)
    batch = data.batch([0])
    order = batch["agents_id"][0].tolist()
    assert order[:4] != [-1] * 4
    assert order[4:] == [-1] * 4
    assert batch["agents_valid"][0, 4:].sum() == 0
    assert batch["agents_valid"][0, :, 91:].sum() == 0
    row = {int(i): n for n, i in enumerate(scene.tracks.track_id)}
    for place, track in enumerate(order[:4]):
        mine = scene.tracks
        states = batch["agents"][0, place, :91].numpy()
        np.testing.assert_array_equal(states[:, [State.X, State.Y]], mine.xy[row[track]])
        np.testing.assert_array_equal(states[:, State.YAW], mine.yaw[row[track]])
        np.testing.assert_array_equal(states[:, [State.VX, State.VY]], mine.velocity[row[track]])
        assert batch["agents_cls"][0, place] == mine.cls[row[track]]


def test_in_the_ego_frame_the_ego_is_at_the_origin_now_and_the_pose_leads_back(lake):
    config = SampleConfig(frame="ego", agents=8)
    (scene,) = (s for s in lake.scenes() if s.name == "lights")
    batch = lake.dataset(scene_ids=[scene.scene_id], config=config).batch([0])
    now = int(batch["now"][0])
    np.testing.assert_allclose(batch["agents"][0, 0, now, :2], 0.0, atol=1e-5)
    assert abs(float(batch["agents"][0, 0, now, State.YAW])) < 1e-6
    assert float(batch["agents"][0, 0, now, State.VX]) == pytest.approx(8.0, abs=1e-4)
    x, y, yaw = batch["pose"][0].tolist()
    c, s = np.cos(yaw), np.sin(yaw)
    back = batch["agents"][0, 0, :91, :2].numpy() @ np.array([[c, s], [-s, c]]) + [x, y]
    np.testing.assert_allclose(back, scene.tracks.xy[0], atol=1e-3)
    np.testing.assert_array_equal(
        batch["lights"][0, : len(scene.signals.lane), :91].sum(axis=0),
        scene.signals.state.sum(axis=0),
    )
    assert batch["lights_valid"][0].sum() == len(scene.signals.lane)


def test_who_does_not_fit_is_the_farthest(lake):
    (scene,) = (s for s in lake.scenes() if s.name == "seen")
    one = lake.dataset(scene_ids=[scene.scene_id], config=SampleConfig(agents=3, frame="log"))
    cls = one.batch([0])["agents_cls"][0].tolist()
    assert cls == [AgentClass.VEHICLE, AgentClass.TRUCK, AgentClass.VEHICLE]  # not the walker


def test_a_long_scene_is_cut_round_its_now(lake):
    ids = lake.scene_ids("name LIKE 'long%'")
    config = SampleConfig(steps=30, history=5, frame="log")
    for scene in lake.scenes(ids):
        batch = lake.dataset(scene_ids=[scene.scene_id], config=config).batch([0])
        assert int(batch["now"][0]) == 5
        begin = scene.anchor - 5
        np.testing.assert_array_equal(
            batch["agents"][0, 0, :, :2], scene.tracks.xy[0, begin : begin + 30]
        )


def test_images_nearest_to_now_come_along(lake):
    config = SampleConfig(images=("front",), image_size=(15, 20), image_tolerance_s=0.2)
    data = lake.dataset(config=config)
    batch = data.batch(range(len(data)))
    has = batch["images_valid"][:, 0].tolist()
    names = data.to_arrow(["name"])["name"].to_pylist()
    assert [name for name, there in zip(names, has, strict=True) if there] == ["seen"]
    pixels = batch["images"][names.index("seen"), 0]
    assert tuple(pixels.shape) == (15, 20, 3)
    assert pixels[7, 10].tolist() == [10, 200, 30]


def test_an_image_that_is_gone_is_told_with_its_scene(tmp_path):
    log = replace(
        make_straight_log("seen"),
        sensors=(Sensor(channel="front", kind="camera"),),
        frames=(Frame(channel="front", t_ns=10**9, uri=str(tmp_path / "gone.png"), codec="png"),),
    )
    lake = Lake.create(tmp_path / "lake")
    lake.add_logs([log], run_id=1)
    data = lake.dataset(config=SampleConfig(images=("front",)))
    (scene_id,) = lake.scene_ids()
    with pytest.raises(MissingData) as caught:
        data.batch([0])
    for told in (str(scene_id), "front", str(tmp_path / "gone.png"), "No such file"):
        assert told in caught.value.message
    assert "copy-media" in caught.value.hint


def test_the_loader_gives_every_scene_once_an_epoch_in_another_order(lake):
    loader = lake.dataset(config=SampleConfig(agents=4)).loader(batch_size=4, shuffle=True, seed=3)
    epochs = [[int(i) for batch in loader for i in batch["scene_id"]] for _ in range(3)]
    assert {tuple(sorted(epoch)) for epoch in epochs} == {tuple(sorted(lake.scene_ids()))}
    assert len({tuple(epoch) for epoch in epochs}) > 1
    again = lake.dataset(config=SampleConfig(agents=4)).loader(batch_size=4, shuffle=True, seed=3)
    assert [int(i) for batch in again for i in batch["scene_id"]] == epochs[0]


def test_the_stream_deals_blocks_out_and_repeats_by_seed(lake, monkeypatch):
    monkeypatch.setattr("lake.stream.BLOCK", 2)
    data = lake.dataset()
    stream = data.stream(seed=5)
    first = [s["scene_id"] for s in stream]
    second = [s["scene_id"] for s in stream]
    assert sorted(first) == sorted(second) == sorted(lake.scene_ids())
    assert first != second
    stream.set_epoch(0)
    assert [s["scene_id"] for s in stream] == first
    assert [s["scene_id"] for s in data.stream(shuffle=False)] == data.scene_ids.tolist()


@pytest.mark.slow
def test_workers_see_the_same_scenes(lake):
    data = lake.dataset(config=SampleConfig(agents=4))
    want = [batch["scene_id"].tolist() for batch in data.loader(batch_size=2)]
    got = [batch["scene_id"].tolist() for batch in data.loader(batch_size=2, workers=2)]
    assert got == want


def test_a_dataset_goes_to_other_processes_as_an_address(lake):
    data = lake.dataset(config=SampleConfig(agents=4))
    data.batch([0, 1])
    packed = ForkingPickler.dumps(data)  # as torch sends it to its workers
    assert len(packed) < 20_000
    other = ForkingPickler.loads(packed)
    for name, value in data.batch([2]).items():
        torch.testing.assert_close(other.batch([2])[name], value, equal_nan=True)


def test_a_dataset_stays_as_it_was_made(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    lake.add_logs([make_straight_log("a")], run_id=1)
    data = lake.dataset()
    lake.add_logs([make_crossing_log("b")], run_id=2)
    assert len(data) == 1
    assert len(lake.dataset()) == 2
    assert data[0]["scene_id"] == data.scene_ids[0]


def test_choices_that_make_no_sense_are_refused(lake):
    with pytest.raises(BadQuery, match="not by both"):
        lake.dataset(where="has_ego", scene_ids=[1])
    with pytest.raises(BadQuery, match="No scene has the id 1"):
        lake.dataset(scene_ids=[1])
    with pytest.raises(BadQuery, match="differ in shape"):
        lake.dataset().batch([0])
    assert len(lake.dataset(where="name = 'nobody'")) == 0
    with pytest.raises(UnknownName, match="front"):
        lake.dataset(config=SampleConfig(images=("frnt",)))


def test_maps_that_went_are_not_counted_among_those_kept(tmp_path, monkeypatch):
    made = Lake.create(tmp_path / "lake")
    whole = straight_map()
    maps = [replace(whole, features=whole.features[: n + 1]) for n in range(3)]
    logs = [replace(make_straight_log(str(n)), map=maps[n]) for n in range(3)]
    made.add_logs(logs, run_id=1)
    data = made.dataset()
    monkeypatch.setattr("lake.training.MAP_BYTES", 1)  # one map is always kept
    for _ in range(5):
        for n in range(3):
            _ = data[n]
    (kept,) = data._maps.values()
    assert data._map_bytes == sum(getattr(kept, name).nbytes for name in kept.__slots__)


def test_tables_come_as_arrow_and_polars(lake):
    data = lake.dataset(scene_ids=lake.scene_ids()[::-1])
    assert data.to_arrow(["scene_id"])["scene_id"].to_pylist() == lake.scene_ids()[::-1]
    frame = data.to_polars()
    assert frame["scene_id"].to_list() == lake.scene_ids()[::-1]
    assert lake.to_polars("SELECT count(*) AS n FROM scenes")["n"].to_list() == [6]
    import polars as pl

    lazy = lake.scan("agents").filter(pl.col("cls") == "truck").select(pl.len()).collect()
    (want,) = lake.sql("SELECT count(*) AS n FROM agents WHERE cls = 'truck'")["n"].to_pylist()
    assert lazy.item() == want > 0
    batches = list(lake.sql_batches("SELECT * FROM agents", rows=100))
    total = lake.sql("SELECT count(*) AS n FROM agents")["n"][0].as_py()
    assert sum(b.num_rows for b in batches) == total


def test_pieces_lie_on_their_lines_evenly_spaced():
    line = np.array([[0.0, 0, 0], [30, 0, 3], [30, 70, 3]])
    dot = np.array([[5.0, 6, 7]])
    points, which = cut_lines([line, dot, line[:2]])
    assert which.tolist() == [0, 0, 0, 1, 2]
    assert points.shape == (5, PIECE_POINTS, 3)
    np.testing.assert_allclose(points[0, 0], line[0])
    np.testing.assert_allclose(points[2, -1], line[-1])
    np.testing.assert_allclose(points[0, -1], points[1, 0])
    steps = np.linalg.norm(np.diff(points[2, :, :2], axis=0), axis=1)
    np.testing.assert_allclose(steps, 100 / 3 / 19, rtol=1e-5)
    np.testing.assert_allclose(points[3], np.tile(dot, (PIECE_POINTS, 1)))
    np.testing.assert_allclose(points[4][-1], line[1])


def test_areas_go_once_round():
    pieces = road_pieces(straight_map())
    ring = pieces.points[pieces.feature_id == 2]
    np.testing.assert_allclose(ring[0, 0], ring[-1, -1])


def test_places_of_values():
    at, known = row_places(np.array([5, 3, 9]), np.array([9, 4, 5]))
    assert known.tolist() == [True, False, True]
    assert at[[0, 2]].tolist() == [2, 0]
    assert row_places(np.zeros(0), np.array([1]))[1].tolist() == [False]


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0}, {"steps": -1}, {"steps": 10.5}, {"steps": float("nan")}, {"history": -1},
        {"agents": 10**7}, {"steps": 10**5, "agents": 10**5}, {"reach_m": float("nan")},
        {"reach_m": float("inf")}, {"image_size": (0, 10)}, {"images": ("front",) * 9, "image_size": (2**13, 2**13)},
        {"image_tolerance_s": -0.1},
    ],
    ids=str,
)  # fmt: skip
def test_shapes_that_cannot_be_are_refused_by_name(wrong):
    with pytest.raises(BadQuery, match=r"cannot be|would take"):
        SampleConfig(**wrong)


def test_other_numbers_that_cannot_be_are_refused_by_name(lake):
    data = lake.dataset(config=SampleConfig())
    for wrong in ({"batch_size": 0}, {"batch_size": float("nan")}, {"workers": -1}):
        with pytest.raises(BadQuery, match=f"`{next(iter(wrong))}` cannot be"):
            data.loader(**wrong)
    with pytest.raises(BadQuery, match="`seed` cannot be -1"):
        data.stream(seed=-1)
    for wrong in (float(lake.scene_ids()[0]), float("nan"), "x", 2**70):
        with pytest.raises(UnknownName, match="No scene is called"):
            lake.dataset(scene_ids=[wrong])
    some = lake.scene_ids()[:2]
    assert lake.dataset(scene_ids=[str(i) for i in some]).scene_ids.tolist() == some
    with pytest.raises(UnknownName, match="frame"):
        SampleConfig(frame="world")
