"""CommonRoad XML of three versions, written out as the format documents it."""

import gzip
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lxml import etree

from formats import commonroad
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, Daylight, EdgeKind, LaneType, LightState, MapLayer, Weather
from schemas.records import Log, MapFeature
from tests.contracts import ReaderContract, check_log


def exact(**values: float) -> str:
    return "".join(f"<{k}><exact>{v}</exact></{k}>" for k, v in values.items())


def point(x: float, y: float) -> str:
    return f"<point><x>{x}</x><y>{y}</y></point>"


def state(tag: str, x: float, y: float, **values: float) -> str:
    return f"<{tag}><position>{point(x, y)}</position>{exact(**values)}</{tag}>"


def lanelet(number: int, x0: float, x1: float, y: float, inner: str = "", kind: str = "") -> str:
    """A lanelet to the east, 4 m wide, around y."""
    bounds = "".join(
        f"<{side}>{point(x0, at)}{point((x0 + x1) / 2, at)}{point(x1, at)}{mark}</{side}>"
        for side, at, mark in (
            ("leftBound", y + 2, "<lineMarking>dashed</lineMarking>"),
            ("rightBound", y - 2, "<lineMarking>unknown</lineMarking>"),
        )
    )
    return f'<lanelet id="{number}">{bounds}{inner}{kind}</lanelet>'


CAR = "<shape><rectangle><length>4.0</length><width>2.0</width></rectangle></shape>"


def modern() -> str:
    """2020a, with one of nearly everything."""
    lanelets = (
        lanelet(
            1, 0, 50, 0,
            '<successor ref="2"/><successor ref="9"/>'
            '<adjacentLeft ref="3" drivingDir="same"/>'
            '<adjacentRight ref="4" drivingDir="opposite"/>'
            "<stopLine><lineMarking>solid</lineMarking></stopLine>",
            "<laneletType>urban</laneletType><userOneWay>vehicle</userOneWay>"
            '<trafficSignRef ref="70"/><trafficSignRef ref="71"/><trafficLightRef ref="80"/>',
        )
        + lanelet(2, 50, 80, 0, '<predecessor ref="1"/>')
        + lanelet(3, 0, 50, 4, '<adjacentRight ref="1" drivingDir="same"/>',
                  "<userOneWay>bicycle</userOneWay>")
        + lanelet(4, 0, 50, -4, "", "<laneletType>crosswalk</laneletType>")
    )  # fmt: skip
    signs = (
        '<trafficSign id="70"><trafficSignElement><trafficSignID>274</trafficSignID>'
        f"<additionalValue>13.9</additionalValue></trafficSignElement><position>{point(1, -3)}"
        "</position></trafficSign>"
        '<trafficSign id="71"><trafficSignElement><trafficSignID>206</trafficSignID>'
        "</trafficSignElement></trafficSign>"
    )
    light = (
        '<trafficLight id="80"><cycle>'
        "<cycleElement><duration>2</duration><color>red</color></cycleElement>"
        "<cycleElement><duration>1</duration><color>redYellow</color></cycleElement>"
        "<cycleElement><duration>3</duration><color>green</color></cycleElement>"
        "<timeOffset>1</timeOffset></cycle><direction>straight</direction><active>true</active>"
        "</trafficLight>"
    )
    moving = (
        '<dynamicObstacle id="30"><type>truck</type><shape><rectangle><length>8.0</length>'
        "<width>2.5</width><orientation>0.5</orientation><center><x>1.0</x><y>0.0</y></center>"
        "</rectangle></shape>"
        + state("initialState", 10, 0, time=0, orientation=1.0, velocity=2.0, slipAngle=0.1)
        + "<trajectory>"
        + state("state", 10.5, 1, time=1, orientation=1.0, velocity=2.0)
        + state("state", 12, 2, time=4, orientation=4.0, velocity=2.0)
        + "</trajectory></dynamicObstacle>"
    )
    standing = (
        '<staticObstacle id="31"><type>parkedVehicle</type>'
        + CAR
        + state("initialState", -3, 7, time=0, orientation=0.25)
        + "</staticObstacle>"
    )
    walker = (
        '<dynamicObstacle id="32"><type>pedestrian</type><shape><circle><radius>0.4</radius>'
        "</circle></shape>"
        "<initialState><position><rectangle><length>1</length><width>1</width><center><x>3</x>"
        "<y>4</y></center></rectangle></position>"
        "<orientation><intervalStart>1.0</intervalStart><intervalEnd>2.0</intervalEnd>"
        f"</orientation>{exact(time=0, velocity=1.0)}</initialState>"
        f"<occupancySet><occupancy><shape/>{exact(time=1)}</occupancy></occupancySet>"
        "</dynamicObstacle>"
    )
    building = (
        '<environmentObstacle id="33"><type>building</type><shape><polygon>'
        + point(20, 10) + point(30, 10) + point(30, 16) + point(20, 14)
        + "</polygon></shape></environmentObstacle>"
    )  # fmt: skip
    phantom = '<phantomObstacle id="34"><occupancySet/></phantomObstacle>'
    broken = '<dynamicObstacle id="35"><type>car</type>' + CAR + "</dynamicObstacle>"
    crossing = (
        '<intersection id="90"><incoming id="91"><incomingLanelet ref="1"/>'
        '<successorsStraight ref="2"/></incoming></intersection>'
    )
    problem = (
        '<planningProblem id="99">'
        + state("initialState", 0, 0, time=0, orientation=0, velocity=5, yawRate=0, slipAngle=0)
        + "<goalState><time><intervalStart>2</intervalStart><intervalEnd>9</intervalEnd></time>"
        '<position><lanelet ref="2"/></position></goalState></planningProblem>'
    )
    location = (
        "<location><geoNameId>-999</geoNameId><gpsLatitude>48.1</gpsLatitude>"
        "<geoTransformation><geoReference>+init=EPSG:25832</geoReference></geoTransformation>"
        "<environment><timeOfDay>night</timeOfDay><weather>heavy_rain</weather></environment>"
        "</location><scenarioTags><urban/><critical/></scenarioTags>"
    )
    return (
        '<?xml version="1.0"?><commonRoad timeStepSize="0.1" commonRoadVersion="2020a" '
        'author="A" affiliation="B" source="C" benchmarkID="DEU_Muc-1_2_T-1" date="2020-01-01">'
        + location + lanelets + signs + light + crossing
        + standing + moving + walker + building + phantom + broken + problem + "</commonRoad>"
    )  # fmt: skip


def older() -> str:
    """2018b: roles, speed limits on lanelets, tags as an attribute."""
    return (
        '<commonRoad timeStepSize="0.25" commonRoadVersion="2018b" tags="highway critical" '
        'benchmarkID="ZAM_Over-1">'
        + lanelet(1, 0, 50, 0, "", "<speedLimit>22.2</speedLimit>")
        + '<obstacle id="5"><role>dynamic</role><type>car</type>' + CAR
        + state("initialState", 0, 0, time=0, orientation=0, velocity=8)
        + "<trajectory>" + state("state", 2, 0, time=1, orientation=0, velocity=8)
        + "</trajectory></obstacle>"
        + '<obstacle id="6"><role>static</role><type>unknown</type>' + CAR
        + state("initialState", 9, 0, time=0, orientation=0.5) + "</obstacle></commonRoad>"
    )  # fmt: skip


def oldest() -> str:
    """2017a: no initial states, static obstacles placed by their shape, values left out."""
    placed = (
        "<shape><rectangle><length>4</length><width>2</width><orientation>0.5</orientation>"
        "<center><x>7</x><y>8</y></center></rectangle></shape>"
    )
    return (
        '<commonRoad timeStepSize="0.1" commonRoadVersion="2017a">'
        + lanelet(1, 0, 50, 0)
        + '<obstacle id="5"><role>dynamic</role><type>bicycle</type>' + CAR + "<trajectory>"
        + state("state", 0, 0, time=0) + state("state", 0, 1, time=1)
        + state("state", 1, 1, time=2) + state("state", 1, 1, time=3)
        + "</trajectory></obstacle>"
        + f'<obstacle id="6"><role>static</role><type>car</type>{placed}</obstacle></commonRoad>'
    )  # fmt: skip


VERSIONS = {"2020a": modern, "2018b": older, "2017a": oldest}


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def read_one(path: Path) -> Log:
    (log,) = commonroad.read(path)
    return log


class TestContract(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return commonroad

    @pytest.fixture(params=VERSIONS)
    def source(self, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
        return write(tmp_path / "in" / "a.xml", VERSIONS[request.param]())


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return read_one(write(tmp_path / "x.xml", modern()))


def rows_of(log: Log, name: str) -> Any:
    return log.agents.track == list(log.agents.source_track_id).index(name)


def feature(log: Log, layer: MapLayer, name: str) -> MapFeature:
    (found,) = (f for f in log.map.features if f.layer == layer and f.source_id == name)
    return found


def test_boxes_are_placed_by_shape_and_state(log: Log) -> None:
    rows = rows_of(log, "30")
    agents = log.agents
    np.testing.assert_array_equal(agents.t_ns[rows], np.arange(5) * 10**8)
    assert agents.valid is not None
    np.testing.assert_array_equal(agents.valid[rows], [True, True, False, False, True])
    # The shape's centre lies 1 m ahead of the reference point, and the box is turned by 0.5 rad.
    expected = [10 + np.cos(1.0), np.sin(1.0), 0.0]
    np.testing.assert_allclose(agents.xyz[rows][0], expected)
    np.testing.assert_allclose(agents.yaw[rows][[0, 1, 4]], [1.5, 1.5, 4.5 - 2 * np.pi])
    np.testing.assert_array_equal(agents.size[rows][0, :2], [8.0, 2.5])
    assert np.isnan(agents.size[:, 2]).all()
    assert agents.velocity is not None
    np.testing.assert_allclose(agents.velocity[rows][0], [2 * np.cos(1.1), 2 * np.sin(1.1)])


def test_what_stands_is_there_at_every_step(log: Log) -> None:
    rows = rows_of(log, "31")
    np.testing.assert_array_equal(log.agents.t_ns[rows], np.arange(5) * 10**8)
    np.testing.assert_array_equal(log.agents.xyz[rows], [[-3.0, 7.0, 0.0]] * 5)
    building = rows_of(log, "33")
    np.testing.assert_array_equal(log.agents.xyz[building][0], [25.0, 13.0, 0.0])
    np.testing.assert_array_equal(log.agents.size[building][0, :2], [10.0, 6.0])


def test_uncertain_states_are_taken_at_their_middle(log: Log) -> None:
    rows = rows_of(log, "32")
    np.testing.assert_array_equal(log.agents.xyz[rows], [[3.0, 4.0, 0.0]])
    np.testing.assert_array_equal(log.agents.yaw[rows], [1.5])
    np.testing.assert_array_equal(log.agents.size[rows][0, :2], [0.8, 0.8])
    reasons = [note.reason for note in log.notes if note.kind == "guessed"]
    assert any("orientation given as an interval" in reason for reason in reasons)
    assert any("position given as an area" in reason for reason in reasons)
    assert any("no boxes" in reason for reason in reasons)


def test_classes_and_what_was_dropped(log: Log) -> None:
    agents = log.agents
    cls = dict(zip(agents.source_track_id, agents.cls, strict=True))
    assert cls == {
        "30": AgentClass.TRUCK, "32": AgentClass.PEDESTRIAN, "31": AgentClass.VEHICLE,
        "33": AgentClass.OBSTACLE,
    }  # fmt: skip
    dropped = Counter(note.reason.split(",")[0] for note in log.notes if note.kind == "dropped")
    assert dropped["phantom obstacles"] == 1
    assert dropped["occupancySet"] == 1
    assert dropped["obstacles without a usable state or shape (no state)"] == 1
    assert dropped["links to lanelets that are not there"] == 1
    assert dropped["neighbours in the opposite direction are no edges"] == 1


def test_lanes(log: Log) -> None:
    lane = feature(log, MapLayer.LANE, "1")
    np.testing.assert_array_equal(lane.points, [[0, 0, 0], [25, 0, 0], [50, 0, 0]])
    assert lane.left is not None
    np.testing.assert_array_equal(lane.left[:, 1], 2.0)
    assert lane.right is not None
    np.testing.assert_array_equal(lane.right[:, 1], -2.0)
    assert (lane.lane_type, lane.source_type) == (LaneType.VEHICLE, "urban")
    assert (lane.speed_limit, lane.in_intersection, lane.has_z) == (13.9, False, False)
    assert feature(log, MapLayer.LANE, "2").in_intersection is True
    assert feature(log, MapLayer.LANE, "2").speed_limit is None
    assert feature(log, MapLayer.LANE, "3").lane_type == LaneType.BIKE
    walk = feature(log, MapLayer.CROSSWALK, "4")
    np.testing.assert_array_equal(walk.points[[0, 2, 3, 5], 0], [0, 50, 50, 0])
    assert feature(log, MapLayer.ROAD_LINE, "1-left").source_type == "dashed"


def test_links(log: Log) -> None:
    edges = {
        (log.map.features[a].source_id, EdgeKind(k), log.map.features[b].source_id)
        for a, k, b in log.map.edges.tolist()
    }
    assert edges == {
        ("1", EdgeKind.SUCCESSOR, "2"),
        ("2", EdgeKind.PREDECESSOR, "1"),
        ("1", EdgeKind.LEFT, "3"),
        ("3", EdgeKind.RIGHT, "1"),
        ("1-stop", EdgeKind.STOP_LINE_OF_LANE, "1"),
        ("71", EdgeKind.STOP_LINE_OF_LANE, "1"),
    }
    np.testing.assert_array_equal(
        feature(log, MapLayer.STOP_LINE, "1-stop").points, [[50, 2, 0], [50, -2, 0]]
    )
    assert feature(log, MapLayer.STOP_SIGN, "71").source_type == "trafficSign 206"


def test_light_cycles_are_unrolled(log: Log) -> None:
    lights = log.lights
    assert lights.source_lane_id == ["1"] * 5
    np.testing.assert_array_equal(lights.t_ns, np.arange(5) * 10**8)
    # Offset 1 of a cycle of 6: step 0 is its last step, step 1 its first.
    assert lights.source_state == ["green", "red", "red", "redYellow", "green"]
    red, green = LightState.RED, LightState.GREEN
    np.testing.assert_array_equal(lights.state, [green, red, red, red, green])
    assert lights.arrow.all()
    np.testing.assert_array_equal(lights.stop_xyz[0], [50.0, 0.0, 0.0])


def test_who_and_where(log: Log) -> None:
    assert log.ego is None
    assert log.source_log_id == "DEU_Muc-1_2_T-1"
    assert log.location == "Muc, DEU"
    assert log.epsg == 25832
    assert (log.weather, log.daylight) == (Weather.RAIN, Daylight.NIGHT)
    assert log.extra["gpsLatitude"] == 48.1
    assert "geoNameId" not in log.extra, "-999 is unknown"
    tags = [event.name for event in log.events]
    assert tags == ["urban", "critical", "planning_problem"]
    problem = log.events[-1]
    assert (problem.t0_ns, problem.t1_ns) == (0, 900_000_000)
    assert problem.detail["initialState"]["velocity"] == {"exact": 5.0}
    assert problem.detail["goalState"]["position"] == {"lanelet": {"ref": "2"}}


def test_2018b(tmp_path: Path) -> None:
    log = read_one(write(tmp_path / "x.xml", older()))
    assert log.rate_hz == 4.0
    assert log.location is None, "Zamunda is made up"
    assert log.map.features[0].speed_limit == 22.2
    np.testing.assert_array_equal(log.agents.t_ns, [0, 250_000_000] * 2)
    assert [event.name for event in log.events] == ["highway", "critical"]


def test_2017a(tmp_path: Path) -> None:
    log = read_one(write(tmp_path / "old.xml", oldest()))
    assert log.source_log_id == "old"
    rows = rows_of(log, "5")
    east, north = 0.0, np.pi / 2
    np.testing.assert_allclose(log.agents.yaw[rows], [north, east, east, east])
    assert log.agents.velocity is not None
    np.testing.assert_allclose(
        log.agents.velocity[rows], [[0, 10], [5, 5], [5, 0], [0, 0]], atol=1e-9
    )
    parked = rows_of(log, "6")
    np.testing.assert_allclose(log.agents.xyz[parked][0], [7.0, 8.0, 0.0])
    np.testing.assert_allclose(log.agents.yaw[parked][0], 0.5)
    assert {note.kind for note in log.notes} >= {"guessed", "missing"}


def test_a_map_alone_is_a_log(tmp_path: Path) -> None:
    content = '<commonRoad timeStepSize="0.1">' + lanelet(1, 0, 9, 0) + "</commonRoad>"
    log = read_one(write(tmp_path / "x.xml", content))
    check_log(log)
    assert not len(log.agents.t_ns)
    assert len(log.map.of_layer(MapLayer.LANE)) == 1


def test_broken_numbers(tmp_path: Path) -> None:
    content = older().replace("<x>2</x>", "<x>nan</x>").replace("<x>9</x>", "<x>nine</x>")
    log = read_one(write(tmp_path / "x.xml", content))
    check_log(log)
    np.testing.assert_array_equal(log.agents.t_ns, [0])
    reasons = [note.reason for note in log.notes if note.kind == "dropped"]
    assert any("NaN or infinite" in reason for reason in reasons)
    assert any("`nine`, not a number" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<commonRoad timeStepSize='0.1'/>", "neither lanelets nor obstacles"),
        ("<commonRoad timeStepSize='none'/>", "timeStepSize is `none`"),
        ("<commonRoad timeStepSize='0.1'>", "is not XML"),
        ("<OpenDRIVE/>", "is no commonRoad file: its root is <OpenDRIVE>"),
    ],
)
def test_what_is_no_scenario_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    path = write(tmp_path / "bad.xml", content)
    with pytest.raises(UnreadableFile, match=reason) as caught:
        list(commonroad.read(path))
    assert "bad.xml" in str(caught.value)


def test_packed_files_are_read_in_place(tmp_path: Path) -> None:
    packed = tmp_path / "a.xml.gz"
    packed.write_bytes(gzip.compress(older().encode()))
    assert list(commonroad.sources(tmp_path)) == [packed]
    assert read_one(packed).source_log_id == "ZAM_Over-1"


@pytest.fixture(scope="module")
def logs() -> dict[Path, Log]:
    """Every real log, read once."""
    folder = Path(os.environ["SCENELAKE_REAL_DATA"]) / "commonroad"
    return {path: read_one(path) for path in commonroad.sources(folder)}


@pytest.mark.skipif(
    "SCENELAKE_REAL_DATA" not in os.environ, reason="SCENELAKE_REAL_DATA is not set"
)
class TestRealData:
    def test_all_files_are_read(self, logs: dict[Path, Log]) -> None:
        folder = Path(os.environ["SCENELAKE_REAL_DATA"]) / "commonroad"
        assert len(logs) == len(list(folder.glob("*.xml.gz"))) >= 171
        assert len({log.source_log_id for log in logs.values()}) == len(logs)
        for log in logs.values():
            check_log(log)

    def test_coordinates_are_the_source_s(self, logs: dict[Path, Log]) -> None:
        """Every state and bound, against a plain walk over the XML (no shape is off centre)."""
        for path, log in logs.items():
            root = etree.fromstring(gzip.decompress(path.read_bytes()))
            told = set()
            for obstacle in root.iter("obstacle", "dynamicObstacle", "staticObstacle"):
                for place in obstacle.iter("position"):
                    x, y = place.findtext("point/x"), place.findtext("point/y")
                    told.add((obstacle.get("id"), float(x), float(y)))
            agents = log.agents
            valid = np.ones(len(agents.track), bool) if agents.valid is None else agents.valid
            read = {
                (agents.source_track_id[track], x, y)
                for track, (x, y, _) in zip(
                    agents.track[valid], agents.xyz[valid].tolist(), strict=True
                )
            }
            assert read == told, path.name
            for element in root.findall("lanelet"):
                lane = feature(log, MapLayer.LANE, element.get("id"))
                bound = [
                    [float(p.findtext("x")), float(p.findtext("y"))]
                    for p in element.findall("leftBound/point")
                ]
                assert lane.left is not None
                np.testing.assert_array_equal(lane.left[:, :2], bound)
