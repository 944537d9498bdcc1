import numpy as np
import pytest

from generation.aslog import DATASET, as_log
from lake.scenes import scenes_of
from schemas.labels import Daylight, LightState, Weather
from schemas.scene import Signals


@pytest.fixture
def lit(traffic):
    """The traffic scene somewhere in the world, in the rain, with a signal that changes."""
    from dataclasses import replace

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
