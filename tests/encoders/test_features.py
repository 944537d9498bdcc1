from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.features import (
    STEPS,
    FeatureConfig,
    RoadKind,
    State,
    features_of,
    load,
    save,
    stack,
    window_starts,
)
from geometry.frames import SE2
from schemas.errors import UnreadableFile
from schemas.labels import LightState
from schemas.records import RoadMap
from schemas.scene import Signals

CONFIG = FeatureConfig(agents=6, polylines=64, signals=2)


@given(st.integers(1, 2000))
def test_windows_cover_every_step(steps):
    starts = window_starts(steps)
    covered = np.zeros(max(steps, STEPS), dtype=bool)
    for begin in starts:
        assert 0 <= begin <= max(steps - STEPS, 0)
        covered[begin : begin + STEPS] = True
    assert covered[:steps].all()
    assert len(starts) == -(-steps // STEPS)


def test_the_ego_stands_at_the_origin_at_the_anchor(make_scene):
    scene = make_scene(seed=1)
    made = features_of(scene, CONFIG)
    state = made.state[0, 0, scene.anchor]
    np.testing.assert_allclose(state, [0, 0, 1, 0, 8, 0], atol=1e-4)
    assert made.ego[0, 0]
    # It drives 8 m/s straight on: a second later it is 8 m ahead.
    np.testing.assert_allclose(made.state[0, 0, scene.anchor + 10, : State.COS], [8, 0], atol=1e-3)


def test_roads_are_cut_into_even_pieces_nearest_first(make_scene):
    made = features_of(make_scene(seed=0), CONFIG)
    lanes = made.road[0][made.road_valid[0] & (made.road_kind[0] == RoadKind.LANE)]
    lengths = np.linalg.norm(np.diff(lanes, axis=1), axis=-1).sum(axis=1)
    np.testing.assert_allclose(lengths, 30.0, rtol=1e-4)  # 300 m lanes, 30 m pieces
    assert (
        made.road_kind[0][made.road_valid[0]] == RoadKind.CROSSWALK
    ).sum() == 2  # 32 m round it
    few = features_of(make_scene(seed=0), replace(CONFIG, polylines=3))
    assert few.road_valid[0].all()
    path = made.state[0, 0, :, : State.COS]
    gaps = [np.linalg.norm(p[:, None] - path[None], axis=-1).min() for p in few.road[0]]
    assert max(gaps) < 5.0


def test_a_signal_shows_red_then_green_and_stands_where_to_stop(make_scene):
    scene = make_scene(seed=0)
    made = features_of(scene, CONFIG)
    assert list(made.light[0, 0]) == [LightState.RED] * 5 + [LightState.GREEN] * 5
    x = 28.0 - scene.tracks.xy[0, scene.anchor, 0]
    np.testing.assert_allclose(made.light_pose[0, 0], [x, 0, 1, 0], atol=1e-3)
    assert not made.light_valid[0, 1]


def test_short_scenes_are_padded_and_long_ones_cut(make_scene):
    short = features_of(make_scene(steps=37), CONFIG)
    assert len(short) == 1
    assert not short.valid[0, :, 37:].any()
    assert len(features_of(make_scene(steps=250), CONFIG)) == 3


def test_without_ego_the_most_observed_agent_is_the_focus(make_scene):
    scene = make_scene(seed=3)
    valid = scene.tracks.valid.copy()
    valid[:] = False
    valid[2, 10:60] = True
    valid[4, 10:40] = True
    made = features_of(
        replace(scene, has_ego=False, tracks=replace(scene.tracks, valid=valid)), CONFIG
    )
    assert list(made.track_id[0, :3]) == [2, 4, -1]
    assert not made.ego.any()
    np.testing.assert_allclose(made.state[0, 0, 50, : State.VX], [0, 0, 1, 0], atol=1e-5)


def test_without_map_signals_or_anyone(make_scene):
    scene = make_scene()
    bare = replace(scene, map=RoadMap.none(), signals=Signals.none(scene.steps), has_map=False)
    made = features_of(bare, CONFIG)
    assert not made.road_valid.any()
    assert not made.light_valid.any()
    nobody = replace(bare, tracks=replace(scene.tracks, valid=np.zeros_like(scene.tracks.valid)))
    assert len(features_of(nobody, CONFIG)) == 0


def test_the_arrays_do_not_know_where_on_earth_they_are(make_scene, move):
    scene = make_scene(seed=5)
    a = features_of(scene, CONFIG)
    b = features_of(move(scene, SE2(900.0, -300.0, 2.1)), CONFIG)
    np.testing.assert_allclose(a.state, b.state, atol=2e-3)
    np.testing.assert_allclose(a.light_pose, b.light_pose, atol=2e-3)
    assert (a.valid == b.valid).all()


def test_the_nearest_agents_are_kept(make_scene):
    scene = make_scene(seed=2, agents=12)
    kept = features_of(scene, replace(CONFIG, agents=4)).track_id[0]
    both = scene.tracks.valid & scene.tracks.valid[0]
    apart = np.linalg.norm(scene.tracks.xy - scene.tracks.xy[0], axis=-1)
    nearest = np.where(both, apart, np.inf).min(axis=1).argsort()[:4]
    assert set(kept) == set(nearest)


def test_to_learn_from_a_scene_is_told_in_the_frames_of_others_too(make_scene):
    scene = make_scene(seed=3)
    made = features_of(scene, CONFIG, others=2)
    assert len(made) == 3
    assert made.track_id[0, 0] == 0
    assert len(set(made.track_id[:, 0])) == 3
    for window in range(3):
        np.testing.assert_allclose(
            made.state[window, 0, scene.anchor, : State.VX], [0, 0, 1, 0], atol=1e-4
        )
        assert made.ego[window].tolist() == [True] + [False] * 5


def test_what_is_saved_is_loaded(make_scene, tmp_path):
    made = stack([features_of(make_scene(seed=s), CONFIG) for s in range(3)], CONFIG)
    save(made, tmp_path / "a.npz")
    back = load(tmp_path, CONFIG)
    for name, array in made.arrays().items():
        np.testing.assert_array_equal(array, back.arrays()[name])
    with pytest.raises(UnreadableFile, match="agents"):
        load(tmp_path, FeatureConfig())
    (tmp_path / "a.npz").write_bytes(b"PK not really")
    with pytest.raises(UnreadableFile):
        load(tmp_path, CONFIG)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableFile, match="holds no"):
        load(tmp_path / "empty", CONFIG)
