"""CommonRoad protobuf of both generations, against the same scenario in XML."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import commonroad, commonroad_protobuf
from formats.commonroad_protos import classes_2020, classes_2024
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, Daylight, EdgeKind, LaneType, MapLayer, Weather
from schemas.records import Log
from tests.contracts import ReaderContract, check_log

XML = """<commonRoad timeStepSize="0.1" commonRoadVersion="2020a" author="A" affiliation="B"
 source="C" benchmarkID="DEU_Muc-1_2_T-1" date="2020-01-01">
<location><geoNameId>-999</geoNameId><gpsLatitude>48.1</gpsLatitude>
<gpsLongitude>11.5</gpsLongitude><environment><time>08:30</time><timeOfDay>night</timeOfDay>
<weather>heavy_rain</weather><underground>wet</underground></environment></location>
<scenarioTags><urban/><critical/></scenarioTags>
<lanelet id="1"><leftBound>{l1}<lineMarking>dashed</lineMarking></leftBound><rightBound>{r1}
</rightBound><successor ref="2"/><adjacentLeft ref="3" drivingDir="same"/>
<stopLine><point><x>40.0</x><y>2.0</y></point><point><x>40.0</x><y>-2.0</y></point>
<lineMarking>solid</lineMarking></stopLine><laneletType>urban</laneletType>
<userOneWay>car</userOneWay><trafficSignRef ref="70"/><trafficLightRef ref="80"/></lanelet>
<lanelet id="2"><leftBound>{l2}</leftBound><rightBound>{r2}</rightBound><predecessor ref="1"/>
</lanelet>
<lanelet id="3"><leftBound>{l3}</leftBound><rightBound>{l1}</rightBound>
<adjacentRight ref="1" drivingDir="same"/><userOneWay>bicycle</userOneWay></lanelet>
<trafficSign id="70"><trafficSignElement><trafficSignID>274</trafficSignID>
<additionalValue>13.9</additionalValue></trafficSignElement><position><point><x>1.0</x><y>-3.0</y>
</point></position></trafficSign>
<trafficLight id="80"><cycle><cycleElement><duration>2</duration><color>red</color></cycleElement>
<cycleElement><duration>3</duration><color>green</color></cycleElement><timeOffset>1</timeOffset>
</cycle><position><point><x>41.0</x><y>5.0</y></point></position><direction>straight</direction>
<active>true</active></trafficLight>
<intersection id="90"><incoming id="91"><incomingLanelet ref="1"/><successorsStraight ref="2"/>
</incoming></intersection>
<staticObstacle id="31"><type>parkedVehicle</type><shape><rectangle><length>4.0</length>
<width>2.0</width></rectangle></shape><initialState><position><point><x>-3.0</x><y>7.0</y></point>
</position><orientation><exact>0.25</exact></orientation><time><exact>0</exact></time>
</initialState></staticObstacle>
<dynamicObstacle id="30"><type>truck</type><shape><rectangle><length>8.0</length>
<width>2.5</width></rectangle></shape><initialState><position><point><x>10.0</x><y>0.5</y></point>
</position><orientation><exact>0.1</exact></orientation><velocity><exact>5.0</exact></velocity>
<time><exact>0</exact></time></initialState><trajectory>
<state><position><point><x>10.5</x><y>0.5</y></point></position><orientation><exact>0.1</exact>
</orientation><velocity><exact>5.0</exact></velocity><time><exact>1</exact></time></state>
<state><position><point><x>12.0</x><y>0.75</y></point></position><orientation><intervalStart>0.1
</intervalStart><intervalEnd>0.3</intervalEnd></orientation><velocity><exact>5.5</exact></velocity>
<time><exact>4</exact></time></state></trajectory></dynamicObstacle>
<environmentObstacle id="33"><type>building</type><shape><polygon><point><x>20.0</x><y>10.0</y>
</point><point><x>30.0</x><y>10.0</y></point><point><x>30.0</x><y>16.0</y></point></polygon></shape>
</environmentObstacle>
<planningProblem id="99"><initialState><position><point><x>0.0</x><y>0.0</y></point></position>
<velocity><exact>5.0</exact></velocity><time><exact>0</exact></time></initialState><goalState>
<position><lanelet ref="2"/></position><time><intervalStart>2</intervalStart>
<intervalEnd>9</intervalEnd></time></goalState></planningProblem></commonRoad>"""
LINES = {
    "l1": [(0.0, 2.0), (25.0, 2.5), (50.0, 2.0)], "r1": [(0.0, -2.0), (25.0, -1.5), (50.0, -2.0)],
    "l2": [(50.0, 2.0), (80.0, 2.0)], "r2": [(50.0, -2.0), (80.0, -2.0)],
    "l3": [(0.0, 4.0), (25.0, 4.5), (50.0, 4.0)],
}  # fmt: skip


def point(x: float, y: float) -> dict[str, float]:
    return {"x": x, "y": y}


def points(name: str) -> list[dict[str, float]]:
    return [point(*xy) for xy in LINES[name]]


def state(t: int, x: float, y: float, **values: Any) -> dict[str, Any]:
    told = {k: v if isinstance(v, dict) else {"exact": v} for k, v in values.items()}
    return {"point": point(x, y), "time_step": {"exact": t}, **told}


STANDING = {
    "static_obstacle_id": 31, "obstacle_type": 7, "shape": {"rectangle": {"length": 4.0, "width": 2.0}},
    "initial_state": state(0, -3.0, 7.0, orientation=0.25),
}  # fmt: skip
MOVING = {
    "dynamic_obstacle_id": 30, "obstacle_type": 2,
    "shape": {"rectangle": {"length": 8.0, "width": 2.5}},
    "initial_state": state(0, 10.0, 0.5, orientation=0.1, velocity=5.0),
    "trajectory_prediction": {"trajectory": {"initial_time_step": 1, "states": [
        state(1, 10.5, 0.5, orientation=0.1, velocity=5.0),
        state(4, 12.0, 0.75, orientation={"interval": {"start": 0.1, "end": 0.3}}, velocity=5.5),
    ]}},
}  # fmt: skip
BUILDING = {"polygon": {"vertices": [point(20.0, 10.0), point(30.0, 10.0), point(30.0, 16.0)]}}
PROBLEM: dict[str, Any] = {
    "planning_problem_id": 99, "initial_state": state(0, 0.0, 0.0, velocity=5.0),
    "goal_states": [{"state": {"time_step": {"interval": {"start": 2, "end": 9}}},
                     "goal_position_lanelets": [2]}],
}  # fmt: skip
CYCLE: dict[str, Any] = {
    "traffic_light_id": 80, "time_offset": 1, "active": True,
    "cycle_elements": [{"duration": 2, "color": 0}, {"duration": 3, "color": 2}],
}  # fmt: skip
DATE = {"year": 2020, "month": 1, "day": 1}
ABOUT = {"author": "A", "affiliation": "B", "source": "C", "date": DATE}
WEATHER = {"time": {"hour": 8, "minute": 30}, "underground": 0, "time_of_day": 0}
PLACE = {"geo_name_id": -999, "gps_latitude": 48.1, "gps_longitude": 11.5}


def whole() -> bytes:
    """The one-file generation."""
    lanelets = [
        {"lanelet_id": 1, "left_bound": {"points": points("l1"), "line_marking": 0},
         "right_bound": {"points": points("r1")}, "successors": [2], "adjacent_left": 3,
         "adjacent_left_dir": 0, "lanelet_types": [0], "user_one_way": [1],
         "stop_line": {"points": [point(40.0, 2.0), point(40.0, -2.0)], "line_marking": 1},
         "traffic_sign_refs": [70], "traffic_light_refs": [80]},
        {"lanelet_id": 2, "left_bound": {"points": points("l2")},
         "right_bound": {"points": points("r2")}, "predecessors": [1]},
        {"lanelet_id": 3, "left_bound": {"points": points("l3")},
         "right_bound": {"points": points("l1")}, "adjacent_right": 1, "adjacent_right_dir": 0,
         "user_one_way": [6]},
    ]  # fmt: skip
    made = classes_2020()["CommonRoad"](
        information={**ABOUT, "common_road_version": "2020a", "benchmark_id": "DEU_Muc-1_2_T-1",
                     "time_step_size": 0.1},
        scenario_tags={"tags": [1, 4]},
        location={**PLACE, "environment": {**WEATHER, "weather": 2}},
        lanelets=lanelets,
        traffic_signs=[{"traffic_sign_id": 70, "position": point(1.0, -3.0),
                        "traffic_sign_elements": [{"germany": 57, "additional_values": ["13.9"]}]}],
        traffic_lights=[{**CYCLE, "position": point(41.0, 5.0), "direction": 1}],
        intersections=[{"intersection_id": 90, "incomings": [
            {"incoming_id": 91, "incoming_lanelets": [1], "successors_straight": [2]}]}],
        static_obstacles=[STANDING], dynamic_obstacles=[MOVING],
        environment_obstacles=[{"environment_obstacle_id": 33, "obstacle_type": 13,
                                "obstacle_shape": BUILDING}],
        planning_problems=[PROBLEM],
    )  # fmt: skip
    return bytes(made.SerializeToString())


def parts() -> dict[str, bytes]:
    """The three-file generation; bounds are shared, one of them drawn backwards."""
    place = {"country_id": "DEU", "map_name": "Muc", "map_id": 1}
    meta = {
        "benchmark_id": {"cooperative": False, "map_id": place, "configuration_id": 2,
                         "obstacle_behavior": "T", "prediction_id": 1, "scenario_version": "2020a"},
        "file_information": {**ABOUT, "license_name": "CC0"}, "time_step_size": 0.1,
    }  # fmt: skip
    classes = classes_2024()
    bounds = {11: "l1", 12: "r1", 13: "l2", 14: "r2", 15: "l3", 16: "l1"}
    road = classes["CommonRoadMap"](
        map_meta_information={"map_id": place, "file_information": {**ABOUT, "license_name": "CC0"}},
        location=PLACE,
        boundaries=[
            {"boundary_id": number,
             "points": points(name)[::-1] if name == "r1" else points(name),
             **({"line_marking": 0} if number == 11 else {})}
            for number, name in bounds.items()
        ],
        stop_lines=[{"stop_line_id": 60, "start_point": point(40.0, 2.0),
                     "end_point": point(40.0, -2.0), "line_marking": 1}],
        lanelets=[
            {"lanelet_id": 1, "left_bound": 11, "right_bound": 12, "right_bound_reverse": True,
             "successors": [2], "adjacent_left": 3, "adjacent_left_opposite_dir": False,
             "lanelet_types": [0], "user_one_way": [1], "stop_line": 60, "traffic_sign_refs": [70],
             "traffic_light_refs": [80]},
            {"lanelet_id": 2, "left_bound": 13, "right_bound": 14, "predecessors": [1]},
            {"lanelet_id": 3, "left_bound": 15, "right_bound": 16, "adjacent_right": 1,
             "adjacent_right_opposite_dir": False, "user_one_way": [6]},
        ],
        traffic_signs=[{"traffic_sign_id": 70, "position": point(1.0, -3.0),
                        "traffic_sign_elements": [{"element_id": 57, "additional_values": ["13.9"]}]}],
        traffic_lights=[{"traffic_light_id": 80, "position": point(41.0, 5.0), "direction": 1}],
        intersections=[{"intersection_id": 90, "incomings": [
            {"incoming_group_id": 91, "incoming_lanelets": [1], "outgoing_straight": [2]}]}],
        environment_obstacles=[{"environment_obstacle_id": 33, "obstacle_type": 1,
                                "obstacle_shape": BUILDING}],
    )  # fmt: skip
    traffic = classes["CommonRoadDynamic"](
        dynamic_meta_information=meta, environment={**WEATHER, "weather": 3},
        traffic_light_cycle=[CYCLE], static_obstacles=[STANDING], dynamic_obstacles=[MOVING],
    )  # fmt: skip
    scenario = classes["CommonRoadScenario"](
        scenario_meta_information=meta, map_id="DEU_Muc-1", dynamic_id="DEU_Muc-1_2_T-1",
        planning_problems=[{**PROBLEM, "scenario_tags": {"tags": [1, 4]}}],
    )  # fmt: skip
    return {
        "DEU_Muc-1.pb": road.SerializeToString(),
        "DEU_Muc-1_2_T-1.pb": traffic.SerializeToString(),
        "DEU_Muc-1_2_T-1-SC.pb": scenario.SerializeToString(),
    }


def write_whole(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "DEU_Muc-1_2_T-1.pb").write_bytes(whole())
    return folder / "DEU_Muc-1_2_T-1.pb"


def write_parts(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in parts().items():
        (folder / name).write_bytes(content)
    return folder / "DEU_Muc-1_2_T-1-SC.pb"


def from_xml(folder: Path) -> Log:
    lines = {
        name: "".join(f"<point><x>{x}</x><y>{y}</y></point>" for x, y in line)
        for name, line in LINES.items()
    }
    (folder / "s.xml").write_text(XML.format(**lines))
    (log,) = commonroad.read(folder / "s.xml")
    return log


def read_one(source: Path) -> Log:
    (log,) = commonroad_protobuf.read(source)
    assert isinstance(log, Log)
    return log


class TestWhole(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return commonroad_protobuf

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_whole(tmp_path / "in")


class TestParts(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return commonroad_protobuf

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_parts(tmp_path / "in")


@pytest.mark.parametrize("write", [write_whole, write_parts])
def test_protobuf_says_what_the_xml_says(tmp_path: Path, write: Any) -> None:
    one, two = from_xml(tmp_path), read_one(write(tmp_path / "in"))
    check_log(two)
    for name in ("track", "t_ns", "xyz", "yaw", "size", "velocity"):
        order = [sorted(log.agents.source_track_id) for log in (one, two)]
        assert order[0] == order[1]
        for track in order[0]:
            rows = [log.agents.track == list(log.agents.source_track_id).index(track)
                    for log in (one, two)]  # fmt: skip
            if name != "track":
                np.testing.assert_array_equal(
                    getattr(one.agents, name)[rows[0]], getattr(two.agents, name)[rows[1]]
                )
    features = [{(f.layer, f.source_id): f for f in log.map.features} for log in (one, two)]
    assert features[0].keys() == features[1].keys()
    for key, before in features[0].items():
        after = features[1][key]
        np.testing.assert_array_equal(before.points, after.points)
        assert (before.source_type, before.lane_type, before.speed_limit, before.in_intersection) == (
            after.source_type, after.lane_type, after.speed_limit, after.in_intersection,
        )  # fmt: skip
    np.testing.assert_array_equal(one.lights.state, two.lights.state)
    assert list(one.lights.source_state) == list(two.lights.source_state)
    assert (one.weather, one.daylight) == (two.weather, two.daylight) == (
        Weather.RAIN, Daylight.NIGHT,
    )  # fmt: skip
    assert (one.source_log_id, one.rate_hz, one.location) == (
        two.source_log_id, two.rate_hz, two.location,
    )  # fmt: skip
    assert {e.name for e in one.events} == {e.name for e in two.events}
    problems = [next(e for e in log.events if e.name == "planning_problem") for log in (one, two)]
    assert (
        problems[0].detail["goalState"]["position"] == problems[1].detail["goalState"]["position"]
    )
    assert (problems[0].t0_ns, problems[0].t1_ns) == (problems[1].t0_ns, problems[1].t1_ns)


def test_hand_made_answers(tmp_path: Path) -> None:
    log = read_one(write_whole(tmp_path))
    truck = list(log.agents.source_track_id).index("30")
    assert log.agents.cls[truck] is AgentClass.TRUCK
    rows = log.agents.track == truck
    np.testing.assert_array_equal(log.agents.t_ns[rows], np.arange(5) * 100_000_000)
    assert log.agents.valid is not None
    assert log.agents.valid[rows].tolist() == [True, True, False, False, True]
    assert log.agents.yaw[rows][-1] == pytest.approx(0.2)
    lane = next(f for f in log.map.of_layer(MapLayer.LANE) if f.source_id == "1")
    assert lane.speed_limit == pytest.approx(13.9)
    assert log.map.features[2].lane_type is LaneType.BIKE
    assert len(log.map.of_layer(MapLayer.TRAFFIC_LIGHT)) == 1
    assert EdgeKind.STOP_LINE_OF_LANE in log.map.edges[:, 1]


def test_traffic_and_maps_that_nobody_names_are_logs(tmp_path: Path) -> None:
    scenario = write_parts(tmp_path)
    traffic, road = tmp_path / "DEU_Muc-1_2_T-1.pb", tmp_path / "DEU_Muc-1.pb"
    assert list(commonroad_protobuf.sources(tmp_path)) == [scenario]
    scenario.unlink()
    assert list(commonroad_protobuf.sources(tmp_path)) == [traffic]
    assert set(commonroad_protobuf.files(traffic)) == {traffic, road}
    assert len(read_one(traffic).map.of_layer(MapLayer.LANE)) == 3
    traffic.unlink()
    assert list(commonroad_protobuf.sources(tmp_path)) == [road]
    log = read_one(road)
    assert list(log.agents.source_track_id) == ["33"]  # the building
    assert log.source_log_id == "DEU_Muc-1"


def test_missing_companions(tmp_path: Path) -> None:
    scenario = write_parts(tmp_path)
    (tmp_path / "DEU_Muc-1.pb").unlink()
    log = read_one(scenario)
    assert len(log.agents.source_track_id) == 2
    assert any(n.kind == "missing" and "DEU_Muc-1.pb" in n.reason for n in log.notes)
    (tmp_path / "DEU_Muc-1_2_T-1.pb").unlink()
    with pytest.raises(UnreadableFile, match="needs DEU_Muc-1 and"):
        list(commonroad_protobuf.read(scenario))


def test_names_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.pb").write_bytes(parts()["DEU_Muc-1.pb"])
    scenario = write_parts(tmp_path / "in")
    content = scenario.read_bytes().replace(b"\x1a\tDEU_Muc-1", b"\x1a\t../secret")
    scenario.write_bytes(content)
    assert b"../secret" in content
    assert tmp_path / "secret.pb" not in list(commonroad_protobuf.files(scenario))
    assert not read_one(scenario).map.features


@pytest.mark.parametrize(
    "content",
    [b"", b"\x0a", b"\x0a\x02ab", bytes(500), b"\xff" * 64, b"a,b\n1,2\n", b"\x0a\x04\x0a\x02DE"],
)
def test_other_content_is_not_taken(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pb").write_bytes(content)
    assert list(commonroad_protobuf.sources(tmp_path)) == []
    with pytest.raises(UnreadableFile, match=r"a\.pb"):
        list(commonroad_protobuf.read(tmp_path / "a.pb"))


def test_an_empty_file_among_scenarios_is_not_lost(tmp_path: Path) -> None:
    scenario = write_whole(tmp_path)
    (tmp_path / "empty.pb").write_bytes(b"")
    assert list(commonroad_protobuf.sources(tmp_path)) == [scenario, tmp_path / "empty.pb"]
