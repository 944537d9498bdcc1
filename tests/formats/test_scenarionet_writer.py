"""ScenarioDescriptions written from scenes: what comes back, and what MetaDrive asks of them."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import registry, scenarionet, scenarionet_writer
from formats.safe_pickle import load
from formats.scenarionet_writer import write
from lake.scenes import scenes_of
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, EdgeKind, LightState, MapLayer
from schemas.records import Log, RoadMap
from schemas.scene import DT, Scene
from tests.builders import make_crossing_log, make_straight_log

CLASSES = (AgentClass.MOTORCYCLE, AgentClass.BUS, AgentClass.ANIMAL, AgentClass.OBSTACLE,
           AgentClass.OTHER, AgentClass.UNKNOWN, AgentClass.CYCLIST)  # fmt: skip


def scenes() -> list[Scene]:
    found = [scenes_of(log)[0] for log in (make_straight_log(), make_crossing_log())]
    return [replace(scene, scene_id=7 + at) for at, scene in enumerate(found)]


@pytest.fixture(params=["straight", "crossing"])
def scene(request: pytest.FixtureRequest) -> Scene:
    return scenes()[request.param == "crossing"]


def back(path: Path) -> tuple[Log, Scene]:
    (log,) = scenarionet.read(path)
    assert isinstance(log, Log)
    (scene,) = scenes_of(log)
    return log, scene


def check_round_trip(before: Scene, folder: Path) -> None:
    """Everything that the format carries, and positions to the millimetre."""
    (path,) = write([before], folder).files
    log, after = back(path)
    assert after.steps == before.steps
    assert after.anchor == before.anchor
    assert after.has_ego
    seen = np.flatnonzero(before.tracks.valid.any(axis=1))
    ids = [str(track) for track in before.tracks.track_id[seen][1:].tolist()]
    assert list(log.agents.source_track_id) == ids
    then = before.tracks.take(seen)
    np.testing.assert_array_equal(after.tracks.valid, then.valid)
    np.testing.assert_array_equal(after.tracks.cls[1:], then.cls[1:])
    shift = after.origin - before.origin
    for one, other in (
        (after.tracks.xy + shift[:2], then.xy),
        (after.tracks.z + shift[2], then.z),
    ):
        np.testing.assert_allclose(one[then.valid], other[then.valid], atol=1e-3)
    turned = np.angle(np.exp(1j * (after.tracks.yaw - then.yaw)))[then.valid]
    np.testing.assert_allclose(turned, 0.0, atol=1e-5)
    np.testing.assert_allclose(
        after.tracks.velocity[then.valid], then.velocity[then.valid], atol=1e-4
    )
    known = then.size > 0.0
    np.testing.assert_allclose(after.tracks.size[known], then.size[known], atol=1e-4)
    check_map(before, after, shift)
    off = before.signals.state == LightState.OFF
    lanes = scenarionet_writer._keys(before.map)
    controlled = [at for at, lane in enumerate(before.signals.lane.tolist()) if lane in lanes]
    names = [after.map.features[lane].source_id for lane in after.signals.lane.tolist()]
    assert sorted(names) == sorted(lanes[int(before.signals.lane[at])] for at in controlled)
    for at in controlled:
        row = names.index(lanes[int(before.signals.lane[at])])
        state = np.where(off[at], LightState.UNKNOWN, before.signals.state[at])
        np.testing.assert_array_equal(after.signals.state[row], state)
        if before.signals.has_stop[at]:
            np.testing.assert_allclose(
                after.signals.stop_xy[row] + shift[:2], before.signals.stop_xy[at], atol=1e-3
            )


def check_map(before: Scene, after: Scene, shift: Any) -> None:
    keys = scenarionet_writer._keys(before.map)
    found = {feature.source_id: feature for feature in after.map.features}
    assert set(found) == set(keys.values())
    for feature_id, key in keys.items():
        then, now = before.map.features[feature_id], found[key]
        assert (now.layer, now.has_z) == (then.layer, then.has_z)
        if then.layer is MapLayer.LANE and then.lane_type.word in ("vehicle", "freeway", "bike"):
            assert now.lane_type == then.lane_type
        width = 2 + then.has_z
        there = then.points[:, :width] - shift[:width]
        np.testing.assert_allclose(now.points[: len(there), :width], there, atol=1e-3)
        if then.speed_limit is not None:
            assert now.speed_limit == pytest.approx(then.speed_limit, abs=1e-4)
    for kind in (EdgeKind.SUCCESSOR, EdgeKind.LEFT, EdgeKind.RIGHT):
        links = [
            {(keys[a], keys[b]) for a, how, b in before.map.edges.tolist()
             if how == kind and a in keys and b in keys},
            {(after.map.features[a].source_id, after.map.features[b].source_id)
             for a, how, b in after.map.edges.tolist() if how == kind},
        ]  # fmt: skip
        assert links[0] <= links[1], kind


def test_what_is_written_is_read(scene: Scene, tmp_path: Path) -> None:
    check_round_trip(scene, tmp_path)


def test_every_class_comes_back(scene: Scene, tmp_path: Path) -> None:
    tracks = scene.tracks
    rows = [0, *([1] * len(CLASSES))]
    many = tracks.take(rows)
    cls = np.array([tracks.cls[0], *CLASSES], dtype=tracks.cls.dtype)
    track_id = np.arange(len(rows))
    check_round_trip(replace(scene, tracks=replace(many, cls=cls, track_id=track_id)), tmp_path)


def test_sides_of_lanes_and_far_origins(scene: Scene, tmp_path: Path) -> None:
    far = replace(scene, origin=np.array([654321.123, 5432109.877, 312.5]))
    check_round_trip(far, tmp_path)
    _, after = back(tmp_path / f"sd_scenelake_built_{scene.scene_id}.pkl")
    shift = after.origin - far.origin
    sided = 0
    for feature in far.map.of_layer(MapLayer.LANE):
        now = next(f for f in after.map.features if f.source_id == feature.source_id)
        if feature.left is None or feature.right is None:
            continue
        assert now.left is not None
        assert now.right is not None
        for one, other in ((now.left, feature.left), (now.right, feature.right)):
            np.testing.assert_allclose(one[:, :2] + shift[:2], other[:, :2], atol=2e-3)
        sided += 1
    assert sided


def test_what_metadrive_checks(scene: Scene, tmp_path: Path) -> None:
    """As its ``ScenarioDescription.sanity_check``: states of all steps, zero where not valid."""
    valid = scene.tracks.valid.copy()
    valid[1, :5] = False
    broken = scene.tracks.xy.copy()
    broken[1, :5] = np.nan
    scene = replace(scene, tracks=replace(scene.tracks, valid=valid, xy=broken))
    (path,) = write([scene], tmp_path).files
    made = load(path)
    assert set(made) == {"id", "version", "length", "tracks", "dynamic_map_states",
                         "map_features", "metadata"}  # fmt: skip
    assert made["metadata"]["ts"].shape == (made["length"],)
    np.testing.assert_allclose(made["metadata"]["ts"], np.arange(scene.steps) * DT)
    assert made["metadata"]["sdc_id"] in made["tracks"]
    for key, track in made["tracks"].items():
        assert track["metadata"]["object_id"] == key
        for state in track["state"].values():
            assert len(state) == made["length"]
            assert not np.any(state[~track["state"]["valid"]])
        assert (track["state"]["length"] > 0).sum() == track["state"]["valid"].sum()
    for light in made["dynamic_map_states"].values():
        assert len(light["state"]["object_state"]) == made["length"]
        assert light["lane"] in made["map_features"]
    counts = made["metadata"]["number_summary"]
    assert counts["num_objects"] == len(made["tracks"])
    assert counts["num_moving_objects"] >= 1
    plain(made)


def plain(value: Any) -> None:
    """Nothing but what MetaDrive allows in these pickles."""
    assert value is None or type(value) in (int, float, str, bool, np.ndarray, dict, list, tuple)
    for part in value.values() if isinstance(value, dict) else ():
        plain(part)
    for part in value if isinstance(value, (list, tuple)) else ():
        plain(part)


def test_the_index_grows_with_the_folder(tmp_path: Path) -> None:
    one, two = scenes()
    (first,) = write([one], tmp_path).files
    (second,) = registry.writer("scenarionet").write([two], tmp_path).files
    names = {first.name, second.name}
    summary = load(tmp_path / "dataset_summary.pkl")
    assert set(summary) == names
    assert summary[first.name]["object_summary"]["0"]["moving_distance"] == pytest.approx(
        90, rel=0.01
    )
    assert load(tmp_path / "dataset_mapping.pkl") == dict.fromkeys(names, "")
    assert set(scenarionet.sources(tmp_path)) == {first, second}
    (tmp_path / "dataset_summary.pkl").write_bytes(b"cos\nsystem\n(S'x'\ntR.")
    with pytest.raises(UnreadableFile, match="system"):
        write([one], tmp_path)


def test_what_cannot_be_driven_is_refused(scene: Scene, tmp_path: Path) -> None:
    nan = scene.tracks.yaw.copy()
    nan[1, 3] = np.nan
    unfit = [
        replace(scene, scene_id=1, has_ego=False),
        replace(scene, scene_id=2, map=RoadMap.none()),
        replace(scene, scene_id=3, tracks=replace(scene.tracks, yaw=nan)),
    ]
    report = write(unfit, tmp_path)
    assert not report.files
    assert [scene_id for scene_id, _ in report.refused] == [1, 2, 3]
    for (_, reason), word in zip(report.refused, ("ego", "lanes", "yaw"), strict=True):
        assert word in reason
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    "SCENELAKE_REAL_DATA" not in os.environ, reason="SCENELAKE_REAL_DATA is not set"
)
@pytest.mark.parametrize(
    "name",
    ["scenarionet_waymo/sd_waymo_2a1e44d405a6833f.pkl.gz",
     "scenarionet_nuscenes/sd_nuscenes_scene-0757.pkl.gz"],
)  # fmt: skip
def test_real_scenes_come_back(name: str, tmp_path: Path) -> None:
    (log,) = scenarionet.read(Path(os.environ["SCENELAKE_REAL_DATA"]) / name)
    assert isinstance(log, Log)
    check_round_trip(scenes_of(log)[0], tmp_path)
