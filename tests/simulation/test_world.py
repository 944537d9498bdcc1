"""Logs of the world: repeatable, whole, plausible, and written so that they can be read again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import argoverse2_sensor
from schemas.errors import BadSetting, UnknownName, UnreadableFile
from schemas.labels import AgentClass
from schemas.records import Log
from simulation.observe import RANGE_M, SIGMA_XY_M, Senses, tracking_noise, visible
from simulation.truth import Truth
from simulation.world import draw_log, make_log, write_world


@pytest.fixture(scope="module")
def made() -> tuple[Log, Truth]:
    return make_log(5, road="signalled")


def test_the_same_seed_gives_the_same_log(made: tuple[Log, Truth]) -> None:
    log, truth = make_log(5, road="signalled")
    assert np.array_equal(log.agents.xyz, made[0].agents.xyz)
    assert np.array_equal(truth.motion.xy, made[1].motion.xy)
    assert np.array_equal(log.lights.state, made[0].lights.state)
    assert log.weather == made[0].weather


def test_another_seed_gives_another(made: tuple[Log, Truth]) -> None:
    log, _ = make_log(4, road="signalled", duration_s=2.0)
    assert log.map.source_map_id != made[0].map.source_map_id


def test_a_log_lasts_as_long_as_asked_and_the_ego_is_always_there(made: tuple[Log, Truth]) -> None:
    log, truth = made
    assert log.ego is not None
    assert log.ego.t_ns[-1] == 20_000_000_000
    assert len(log.ego.t_ns) == 201
    assert truth.motion.present[0].all()
    assert np.abs(log.ego.xyz[:, :2]).min() > 1e3  # the world's origin is far away


def test_rows_are_tracks_in_time_order(made: tuple[Log, Truth]) -> None:
    agents = made[0].agents
    assert (np.diff(agents.track) >= 0).all()
    same = np.diff(agents.track) == 0
    assert (np.diff(agents.t_ns)[same] > 0).all()


def test_what_is_observed_is_in_range_and_near_the_truth(made: tuple[Log, Truth]) -> None:
    log, truth = made
    motion = truth.motion
    rows = {name: k for k, name in enumerate(motion.source_track_id)}
    at = np.array([rows[log.agents.source_track_id[t]] for t in log.agents.track])
    step = log.agents.t_ns // 100_000_000
    error = log.agents.xyz[:, :2] - motion.xy[at, step]
    assert np.std(error) == pytest.approx(SIGMA_XY_M, rel=0.2)
    distance = np.linalg.norm(motion.xy[at, step] - motion.xy[0, step], axis=-1)
    assert distance.max() <= RANGE_M
    assert motion.present.sum() > len(at)  # and not everyone is seen


def test_a_box_behind_a_truck_is_hidden_and_beside_it_is_not() -> None:
    def box(x: float, y: float) -> list[float]:
        return [x, y, 0.0, 4.5, 1.9]

    boxes = np.array([[box(0, 0)], [[15.0, 0.0, 0.0, 9.0, 2.5]], [box(30, 0)], [box(30, 9)]])
    height = np.array([1.5, 3.3, 1.5, 1.5])
    seen = visible(boxes, height, np.ones((4, 1), dtype=bool), 0)[:, 0]
    assert seen.tolist() == [False, True, False, True]
    lower = visible(boxes, np.array([1.5, 1.0, 1.5, 1.5]), np.ones((4, 1), dtype=bool), 0)[:, 0]
    assert lower.tolist() == [False, True, True, True]


def test_tracking_noise_has_unit_variance_and_memory() -> None:
    noise = tracking_noise((400, 200), np.random.default_rng(0))
    assert noise.std() == pytest.approx(1.0, abs=0.03)
    assert np.mean(noise[:, 1:] * noise[:, :-1]) == pytest.approx(0.92, abs=0.03)


def test_a_world_is_written_resumed_and_read_again(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    first = write_world(tmp_path, logs=1, seed=21, rare_rate=0.6)
    (tmp_path / ".world-000022.partial").mkdir()  # as an interrupted run leaves it
    second = write_world(
        tmp_path, logs=2, seed=21, rare_rate=0.6, progress=lambda *now: seen.append(now)
    )
    third = write_world(tmp_path, logs=2, seed=21, rare_rate=0.6)
    assert (first.written, second.written, third.written) == (1, 1, 0)
    assert seen == [(1, 2), (2, 2)]
    truth = json.loads((tmp_path / "truth.json").read_text())["logs"]
    assert list(truth) == ["world-000021", "world-000022"]
    assert truth["world-000021"]["planted"] == []
    assert [p["name"] for p in truth["world-000022"]["planted"]] == list(second.planted)
    assert not list(tmp_path.glob(".*partial"))
    (log,) = argoverse2_sensor.read(tmp_path / "world-000021")
    assert isinstance(log, Log)
    again, _ = make_log(21)
    assert len(log.agents.t_ns) == len(again.agents.t_ns)
    assert len(log.map.features) == len(again.map.features)
    assert log.weather == again.weather


def test_logs_made_with_other_settings_are_neither_kept_for_these_nor_lost(tmp_path: Path) -> None:
    usual = {"swerve": 0.01, "cut_in": 0.02}
    write_world(tmp_path, logs=1, seed=5, rates=usual)
    truth = (tmp_path / "truth.json").read_text()
    others: list[tuple[dict[str, Any], str]] = [
        ({"rates": None}, r"rate of swerve 0\.01 \(asked is 0\.02\)"),
        ({"rates": {"swerve": 0.01}}, r"rate of cut_in 0\.02 \(asked is 0\)"),
        ({"without": ["pedestrian"]}, r"without \[\] \(asked is \['pedestrian'\]\)"),
        ({"sensors": True}, r"sensors False \(asked is True\)"),
        ({"senses": Senses(noise=False)}, r"noise True \(asked is False\)"),
        ({"senses": Senses(occlusion=False)}, r"occlusion True"),
    ]
    for other, told in others:
        with pytest.raises(BadSetting, match=told):
            write_world(tmp_path, **{"logs": 2, "seed": 4, "rates": usual, **other})
    assert [path.name for path in tmp_path.glob("*world*")] == ["world-000005"]
    same = write_world(tmp_path, logs=1, seed=5, rates=dict(reversed(usual.items())))
    assert same.written == 0
    (tmp_path / "truth.json").unlink()
    with pytest.raises(BadSetting, match="nothing tells how"):
        write_world(tmp_path, logs=1, seed=5, rates=usual)
    older = json.loads(truth)
    del older["logs"]["world-000005"]["made_with"]
    (tmp_path / "truth.json").write_text(json.dumps(older))
    with pytest.raises(BadSetting, match="nothing tells how"):
        write_world(tmp_path, logs=1, seed=5, rates=usual)
    assert (tmp_path / "world-000005").is_dir()
    assert write_world(tmp_path, logs=1, seed=4, rates=usual).written == 1


def test_a_foreign_truth_and_an_unknown_format_are_refused(tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_text("{}")
    with pytest.raises(UnreadableFile, match=r"truth\.json"):
        write_world(tmp_path, logs=1, seed=0)
    with pytest.raises(UnknownName, match="argoverse"):
        write_world(tmp_path, logs=1, seed=0, format="argoverse")


def test_without_noise_what_is_reported_is_the_truth_and_without_occlusion_all_of_it(
    made: tuple[Log, Truth],
) -> None:
    keen = Senses(noise=False, occlusion=False)
    log, truth = make_log(5, road="signalled", senses=keen)
    motion = truth.motion
    assert np.array_equal(motion.xy, made[1].motion.xy)  # the world itself is the same
    away = np.linalg.norm(motion.xy - motion.xy[:1], axis=-1)
    within = motion.present & (away <= RANGE_M)
    assert len(log.agents.t_ns) == within[1:].sum() > len(made[0].agents.t_ns)
    rows = [motion.source_track_id.index(name) for name in log.agents.source_track_id]
    row, step = np.array(rows)[log.agents.track], log.agents.t_ns // 100_000_000
    assert np.array_equal(log.agents.xyz[:, :2], motion.xy[row, step])
    noisy, _ = make_log(5, road="signalled", senses=Senses(occlusion=False))
    assert len(noisy.agents.t_ns) > len(made[0].agents.t_ns)
    assert not np.array_equal(noisy.agents.xyz[:50, :2], log.agents.xyz[:50, :2])


def test_what_is_held_out_never_occurs() -> None:
    out = ("cyclist", "pedestrian", "truck", "bus", "highway", "straight", "curve", "clear")
    for seed in range(3):
        _, truth = draw_log(seed, rare_rate=1.0, without=out)
        assert truth.weather.word != "clear"
        assert truth.road not in out
        assert not {AgentClass.CYCLIST, AgentClass.PEDESTRIAN, AgentClass.TRUCK} & set(
            truth.motion.cls
        )
        assert truth.planted[0].name not in ("jaywalking", "near_miss", "cut_in", "debris")
    with pytest.raises(UnknownName, match="cyclists"):
        make_log(0, without=("cyclists",))
    with pytest.raises(BadSetting, match="jaywalking"):
        make_log(0, rare="jaywalking", without=("pedestrian",))
    with pytest.raises(BadSetting, match="Every weather"):
        make_log(0, without=("clear", "cloudy", "rain", "snow", "fog"))


def test_each_behaviour_has_the_rate_that_it_is_given(tmp_path: Path) -> None:
    names = [draw_log(seed, rates={"swerve": 1.0})[1].planted[0].name for seed in (1, 2)]
    assert names == ["swerve", "swerve"]
    assert draw_log(1, rates={"swerve": 0.0})[1].planted == ()
    with pytest.raises(BadSetting, match=r"1\.2"):
        write_world(tmp_path, logs=1, seed=0, rates={"swerve": 0.6, "cut_in": 0.6})
    with pytest.raises(UnknownName, match="swerving"):
        write_world(tmp_path, logs=1, seed=0, rates={"swerving": 0.1})
