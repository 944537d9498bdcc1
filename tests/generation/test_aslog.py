from dataclasses import replace

import numpy as np
import pytest

from generation.aslog import DATASET, as_log
from lake import Lake
from lake.scenes import scenes_of
from schemas.labels import Daylight, LightState, Weather
from schemas.scene import Signals
from tests.builders import make_crossing_log


@pytest.fixture
def lit(traffic):
    """The traffic scene somewhere in the world, in the rain, with a signal that changes."""
    state = np.full((1, traffic.steps), int(LightState.RED), dtype=np.int8)
    state[:, 50:] = int(LightState.GREEN)
    signals = Signals(
        lane=np.array([1]), state=state, stop_xy=np.array([[60.0, 3.5]], np.float32),
        has_stop=np.array([True]),
    )  # fmt: skip
    traffic.tracks.valid[3, :20] = False
    traffic.tracks.valid[2, 70:] = False
    return replace(
        traffic, signals=signals, has_signals=True, origin=np.array([5000.0, -2000.0, 12.0]),
        weather=Weather.RAIN, daylight=Daylight.DUSK,
    )  # fmt: skip


def test_a_scene_comes_back_from_its_log(lit):
    log = as_log(lit, log_id="x1", extra={"parent": "p"})
    assert log.dataset == DATASET
    assert log.extra["parent"] == "p"
    (again,) = scenes_of(log)
    assert (again.steps, again.anchor, again.name) == (lit.steps, lit.anchor, "x1")
    assert (again.weather, again.daylight) == (lit.weather, lit.daylight)
    np.testing.assert_array_equal(again.tracks.valid, lit.tracks.valid)
    valid = lit.tracks.valid
    ours = lit.tracks.xy + lit.origin[:2]
    theirs = again.tracks.xy + again.origin[:2]
    assert np.abs(ours - theirs)[valid].max() < 1e-3
    assert np.abs(lit.tracks.yaw - again.tracks.yaw)[valid].max() < 1e-5
    assert np.abs(lit.tracks.velocity - again.tracks.velocity)[valid].max() < 1e-3
    np.testing.assert_array_equal(again.tracks.cls, lit.tracks.cls)
    np.testing.assert_array_equal(again.signals.state, lit.signals.state)
    assert again.tracks.on_lane.any(), "lanes are matched anew"


def test_the_map_keeps_its_names_and_place(lit):
    log = as_log(lit, log_id="x1")
    assert [f.source_id for f in log.map.features] == [f.source_id for f in lit.map.features]
    np.testing.assert_allclose(log.map.features[0].points, lit.map.features[0].points + lit.origin)


def test_a_scene_without_lights_has_none(traffic):
    assert len(as_log(traffic, log_id="x").lights.t_ns) == 0


@pytest.mark.parametrize("stated", [True, False])
def test_generated_logs_share_their_parents_map(tmp_path, stated):
    """Also where the source states no graph, as GPUDrive does: what the lake found is no new map."""
    parent = make_crossing_log()
    if not stated:
        parent = replace(parent, map=replace(parent.map, edges=np.zeros((0, 3), dtype=np.int64)))
    lake = Lake.create(tmp_path / "lake")
    with lake.run("test") as run:
        (scene_id,) = lake.add_logs([parent], run_id=run.id)["scenes"]
        scene = lake.scene(scene_id)
        assert scene.map.derived is not None
        assert scene.map.derived.any()
        child = as_log(scene, log_id="child", extra={"parent_scene_id": str(scene_id)})
        lake.add_logs([child], run_id=run.id, source="generated")
    rows = lake.read("logs", ["map_id"])["map_id"].to_pylist()
    assert rows[0] == rows[1]
    groups = lake.read("scenes", ["split_group"])["split_group"].to_pylist()
    assert groups[0] == groups[1]
