"""Exported pairs: what stands in them, and what ASAM's checkers and scenariogeneration say."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lxml import etree

from formats import openscenario
from formats.openscenario import Drive
from lake.scenes import scenes_of
from schemas.labels import Daylight, Weather
from schemas.records import RoadMap
from schemas.scene import DT, Scene
from tests.builders import make_crossing_log, make_straight_log

CHECKERS_COMPLETED = {".xosc": 17, ".xodr": 22}
"""How many of ASAM's checkers run on these versions; one more for roads is always skipped."""


@pytest.fixture(scope="module")
def crossing() -> Scene:
    return scenes_of(make_crossing_log())[0]


@pytest.fixture(scope="module")
def straight() -> Scene:
    return scenes_of(make_straight_log())[0]


def written(
    scene: Scene, folder: Path, drive: Drive | None = None
) -> dict[str, etree._ElementTree]:
    files = openscenario.write_scene(scene, folder, drive=drive)
    return {path.suffix: etree.parse(path) for path in files}


def test_every_vertex_is_where_the_agent_was(crossing: Scene, tmp_path: Path) -> None:
    document = written(crossing, tmp_path)[".xosc"]
    tracks = crossing.tracks
    found = 0
    for agent in range(len(tracks.cls)):
        name = openscenario.entity_name(crossing, agent)
        path = document.find(f".//Trajectory[@name='{name} path']")
        if path is None:
            continue
        vertices = path.findall(".//Vertex")
        times = np.array([float(v.get("time", "nan")) for v in vertices])
        steps = np.flatnonzero(tracks.valid[agent])
        np.testing.assert_allclose(times, steps * DT, atol=1e-9)
        assert (np.diff(times) > 0).all()
        positions = [v.find("Position/WorldPosition") for v in vertices]
        xy = np.array([[float(p.get("x")), float(p.get("y"))] for p in positions])  # type: ignore[union-attr, arg-type]
        np.testing.assert_allclose(xy, tracks.xy[agent, steps], atol=1e-6)
        found += 1
    assert found > 1


def test_the_ego_of_a_case_is_left_to_the_system_under_test(
    crossing: Scene, tmp_path: Path
) -> None:
    drive = Drive(external=True, start=10, goal=(12.5, -3.0))
    document = written(crossing, tmp_path, drive)[".xosc"]
    assert document.find(".//Trajectory[@name='Ego path']") is None
    goal = document.find(".//AcquirePositionAction/Position/WorldPosition")
    assert goal is not None
    assert (goal.get("x"), goal.get("y")) == ("12.5", "-3")
    speed = document.find(".//Private[@entityRef='Ego']//AbsoluteTargetSpeed")
    assert speed is not None
    assert float(speed.get("value", "nan")) == pytest.approx(
        crossing.tracks.speed[0, 10], abs=1e-6
    )


def test_a_vehicle_may_stand_in_for_an_ego_that_the_log_lacks(
    crossing: Scene, tmp_path: Path
) -> None:
    others = crossing.tracks.take([1])
    leaderless = replace(crossing, tracks=others, has_ego=False)
    drive = Drive(external=True, start=5, end=40, ego_track=int(others.track_id[0]))
    document = written(leaderless, tmp_path, drive)[".xosc"]
    assert [e.get("name") for e in document.findall(".//ScenarioObject")] == ["Ego"]
    stop = document.find(".//StopTrigger//SimulationTimeCondition")
    assert stop is not None
    assert float(stop.get("value", "nan")) == pytest.approx(3.5)


def test_lights_keep_their_phases(crossing: Scene, tmp_path: Path) -> None:
    document = written(crossing, tmp_path)[".xosc"]
    controllers = document.findall(".//TrafficSignalController")
    assert len(controllers) == len(crossing.signals.lane) > 0
    for controller in controllers:
        total = sum(float(p.get("duration", "nan")) for p in controller.findall("Phase"))
        assert total == pytest.approx(crossing.steps * DT)


def test_weather_and_time_of_day_are_set_where_known(crossing: Scene, tmp_path: Path) -> None:
    wet = replace(crossing, weather=Weather.RAIN, daylight=Daylight.NIGHT)
    document = written(wet, tmp_path)[".xosc"]
    rain = document.find(".//Precipitation")
    assert rain is not None
    assert rain.get("precipitationType") == "rain"
    dry = written(replace(wet, weather=None, daylight=None), tmp_path)[".xosc"]
    assert dry.find(".//EnvironmentAction") is None


def test_roads_follow_their_lanes(crossing: Scene, tmp_path: Path) -> None:
    document = written(crossing, tmp_path)[".xodr"]
    lanes = {f.feature_id: f for f in crossing.map.features}
    for road in document.findall(".//road[@junction='-1']"):
        lane = lanes[int(road.get("id", "-1"))]
        start = road.find("planView/geometry")
        assert start is not None
        xy = np.array([float(start.get("x", "nan")), float(start.get("y", "nan"))])
        assert np.linalg.norm(lane.points[:, :2] - xy, axis=1).min() < 2.1


def test_a_scene_of_one_step_has_entities_and_no_story(crossing: Scene, tmp_path: Path) -> None:
    document = written(crossing.between(0, 1), tmp_path)[".xosc"]
    assert document.findall(".//ScenarioObject")
    assert document.find(".//Story") is None


def test_a_scene_without_lanes_is_refused_and_the_others_are_written(
    crossing: Scene, tmp_path: Path
) -> None:
    bare = replace(crossing, scene_id=5, map=RoadMap.none(), has_map=False)
    report = openscenario.write([bare, crossing], tmp_path)
    assert [scene for scene, _ in report.refused] == [5]
    assert "no lanes" in report.refused[0][1]
    assert len(report.files) == 2


def test_a_position_that_is_not_finite_is_refused(crossing: Scene, tmp_path: Path) -> None:
    xy = crossing.tracks.xy.copy()
    xy[0, np.flatnonzero(crossing.tracks.valid[0])[0]] = np.nan
    report = openscenario.write(
        [replace(crossing, tracks=replace(crossing.tracks, xy=xy))], tmp_path
    )
    assert "not finite" in report.refused[0][1]


@pytest.mark.client
@pytest.mark.parametrize("name", ["crossing", "straight"])
@pytest.mark.parametrize("external", [False, True])
def test_the_checkers_of_asam_find_nothing(
    name: str, external: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    scene = request.getfixturevalue(name)
    drive = Drive(external=external, start=10 if external else 0, goal=(1.0, 2.0))
    for path in openscenario.write_scene(scene, tmp_path, drive=drive):
        completed, issues = asam(path)
        assert not issues
        assert completed == CHECKERS_COMPLETED[path.suffix]


@pytest.mark.client
def test_the_checkers_would_notice(crossing: Scene, tmp_path: Path) -> None:
    scenario, roads = openscenario.write_scene(crossing, tmp_path)
    scenario.write_text(scenario.read_text().replace("StopTrigger", "StopNever"))
    roads.write_text(roads.read_text().replace('contactPoint="start"', 'contactPoint="middle"'))
    assert asam(scenario)[1]
    assert asam(roads)[1]


@pytest.mark.client
def test_scenariogeneration_reads_it_back(crossing: Scene, tmp_path: Path) -> None:
    scenario, _ = openscenario.write_scene(crossing, tmp_path)
    code = (
        "import sys; from scenariogeneration import xosc; "
        "made = xosc.ParseOpenScenario(sys.argv[1]); "
        "print(len(made.entities.scenario_objects))"
    )
    done = subprocess.run(
        [client("python"), "-c", code, str(scenario)], capture_output=True, text=True, check=True
    )
    moving = crossing.tracks.valid.any(axis=1).sum()
    assert int(done.stdout.split()[-1]) == moving


def client(program: str) -> str:
    folder = os.environ.get("SCENELAKE_CLIENTS")
    assert folder, "`make clients` sets SCENELAKE_CLIENTS to where the clients are installed"
    return str(Path(folder) / program)


def asam(path: Path) -> tuple[int, list[str]]:
    """How many of ASAM's checkers completed, and what they found."""
    program, bundle = {
        ".xosc": ("qc_openscenario", "xoscBundle"),
        ".xodr": ("qc_opendrive", "xodrBundle"),
    }[path.suffix]
    result, config = path.with_suffix(".xqar"), path.with_suffix(".qc.xml")
    config.write_text(
        f'<Config><Param name="InputFile" value="{path}"/><CheckerBundle application="{bundle}">'
        f'<Param name="resultFile" value="{result}"/></CheckerBundle></Config>'
    )
    subprocess.run([client(program), "-c", str(config)], capture_output=True, check=True)
    checkers = list(etree.parse(result).iter("Checker"))
    completed = [c for c in checkers if c.get("status") == "completed"]
    crashed = [str(c.get("checkerId")) for c in checkers if c.get("status") == "error"]
    issues = [str(i.get("description")) for c in checkers for i in c.iter("Issue")]
    return len(completed), crashed + issues
