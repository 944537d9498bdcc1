"""OpenSCENARIO as a log: hand-made scenarios, and what our own writer wrote."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import openscenario, openscenario_read
from lake.scenes import scenes_of
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, Daylight, LightState, MapLayer, Weather
from schemas.records import Log
from schemas.scene import DT
from tests.builders import make_crossing_log
from tests.contracts import ReaderContract, check_log

ROADS = """<OpenDRIVE><header revMajor="1" revMinor="6"/>
<road id="1" length="100" junction="-1"><link>
 <successor elementType="road" elementId="2" contactPoint="start"/></link>
 <planView><geometry s="0" x="0" y="0" hdg="0" length="100"><line/></geometry></planView>
 {lanes}<signals><signal id="9" s="90" t="-6" dynamic="yes" orientation="+" type="1000001"
 subtype="-1" zOffset="5"><validity fromLane="-1" toLane="-1"/></signal>
 <signal id="8" s="88" t="-2" dynamic="no" orientation="+" type="294" subtype="-1"/></signals></road>
<road id="2" length="50" junction="-1"><link>
 <predecessor elementType="road" elementId="1" contactPoint="end"/></link>
 <planView><geometry s="0" x="100" y="0" hdg="0" length="50"><line/></geometry></planView>
 {lanes}</road></OpenDRIVE>"""
LANES = """<lanes><laneSection s="0"><left><lane id="1" type="driving"><link><predecessor id="1"/>
 <successor id="1"/></link><width sOffset="0" a="4" b="0" c="0" d="0"/></lane></left>
 <center><lane id="0" type="none"/></center><right><lane id="-1" type="driving"><link>
 <predecessor id="-1"/><successor id="-1"/></link><width sOffset="0" a="4" b="0" c="0" d="0"/></lane>
 <lane id="-2" type="driving"><link><predecessor id="-2"/><successor id="-2"/></link>
 <width sOffset="0" a="4" b="0" c="0" d="0"/></lane></right></laneSection></lanes>"""
BOX = (
    '<BoundingBox><Center x="1.5" y="0" z="0.75"/>'
    '<Dimensions length="$length" width="2" height="1.5"/></BoundingBox>'
)
CATALOG = f"""<OpenSCENARIO><FileHeader revMajor="1" revMinor="2"/><Catalog name="Cars">
<Vehicle name="golf" vehicleCategory="car"><ParameterDeclarations>
<ParameterDeclaration name="length" parameterType="double" value="4"/></ParameterDeclarations>{BOX}
</Vehicle></Catalog></OpenSCENARIO>"""
CAR = '<CatalogReference catalogName="Cars" entryName="golf">{}</CatalogReference>'
LONG = CAR.format(
    '<ParameterAssignments><ParameterAssignment parameterRef="length" value="$long"/>'
    "</ParameterAssignments>"
)
WALKER = (
    '<Pedestrian name="w" mass="70" pedestrianCategory="pedestrian"><BoundingBox>'
    '<Center x="0" y="0" z="0.9"/><Dimensions length="0.5" width="0.6" height="1.8"/></BoundingBox>'
    "</Pedestrian>"
)
CONE = WALKER.replace('Pedestrian name="w" mass="70" pedestrianCategory="pedestrian"',
                      'MiscObject name="c" miscObjectCategory="obstacle"').replace(
                          "</Pedestrian>", "</MiscObject>")  # fmt: skip


def placed(name: str, position: str, speed: str = "") -> str:
    """An entity's part of ``Init``."""
    place = (
        f"<PrivateAction><TeleportAction><Position>{position}</Position></TeleportAction>"
        "</PrivateAction>"
        if position
        else ""
    )
    going = (
        "<PrivateAction><LongitudinalAction><SpeedAction><SpeedActionDynamics "
        'dynamicsShape="step" value="0" dynamicsDimension="time"/><SpeedActionTarget>'
        f"{speed}</SpeedActionTarget></SpeedAction></LongitudinalAction></PrivateAction>"
        if speed
        else ""
    )
    return f'<Private entityRef="{name}">{place}{going}</Private>'


def at_time(value: float) -> str:
    return (
        '<StartTrigger><ConditionGroup><Condition name="c" delay="0" conditionEdge="none">'
        f'<ByValueCondition><SimulationTimeCondition value="{value}" rule="greaterThan"/>'
        "</ByValueCondition></Condition></ConditionGroup></StartTrigger>"
    )


SPEED = '<AbsoluteTargetSpeed value="${$kph / 3.6}"/>'
PATH = "".join(
    f'<Vertex time="{t}"><Position><WorldPosition x="{10 + 2 * t}" y="-10" h="1.5"/></Position></Vertex>'
    for t in (0.0, 0.5, 1.0)
)
STORY = (
    '<Story name="s"><Act name="the act"><ManeuverGroup name="g" maximumExecutionCount="1">'
    '<Actors selectTriggeringEntities="false"><EntityRef entityRef="Walker"/></Actors>'
    '<Maneuver name="m"><Event name="walks" priority="override"><Action name="follows">'
    "<PrivateAction><RoutingAction><FollowTrajectoryAction><TrajectoryRef>"
    f'<Trajectory name="t" closed="false"><Shape><Polyline>{PATH}</Polyline></Shape></Trajectory>'
    '</TrajectoryRef><TimeReference><Timing domainAbsoluteRelative="relative" scale="1" offset="0"/>'
    '</TimeReference><TrajectoryFollowingMode followingMode="position"/></FollowTrajectoryAction>'
    f"</RoutingAction></PrivateAction></Action>{at_time(2.0)}</Event>"
    '<Event name="changes lane" priority="override"><Action name="goes left"><PrivateAction>'
    "<LateralAction><LaneChangeAction/></LateralAction></PrivateAction></Action><StartTrigger>"
    '<ConditionGroup><Condition name="near" delay="0"><ByEntityCondition><EntityCondition>'
    "<TimeHeadwayCondition/></EntityCondition></ByEntityCondition></Condition></ConditionGroup>"
    f"</StartTrigger></Event></Maneuver></ManeuverGroup>{at_time(0.0)}</Act></Story>"
)
PHASES = (
    '<TrafficSignals><TrafficSignalController name="k" delay="0">'
    '<Phase name="a" duration="1"><TrafficSignalState trafficSignalId="9" state="red"/></Phase>'
    '<Phase name="b" duration="1"><TrafficSignalState trafficSignalId="9" state="off;off;on"/></Phase>'
    "</TrafficSignalController></TrafficSignals>"
)
ENTITIES = {
    "Ego": CAR.format(""), "Lead": LONG, "Left": CAR.format(""), "Side": CAR.format(""),
    "Behind": CAR.format(""), "Far": CAR.format(""), "Routed": CAR.format(""), "Walker": WALKER,
    "Cone": CONE, "Nowhere": CAR.format(""),
}  # fmt: skip
ROUTE = (
    '<RoutePosition><RouteRef><Route name="r" closed="false"><Waypoint routeStrategy="shortest">'
    '<Position><LanePosition roadId="1" laneId="-1" s="20"/></Position></Waypoint><Waypoint '
    'routeStrategy="shortest"><Position><LanePosition roadId="2" laneId="-1" s="40"/></Position>'
    '</Waypoint></Route></RouteRef><InRoutePosition><FromLaneCoordinates pathS="90" laneId="-2"/>'
    "</InRoutePosition></RoutePosition>"
)
INIT = [
    # Relative places come before those that they refer to.
    placed("Lead", '<RelativeLanePosition entityRef="Ego" dLane="0" ds="30"/>',
           '<RelativeTargetSpeed entityRef="Ego" value="0.5" speedTargetValueType="factor"/>'),
    placed("Ego", '<LanePosition roadId="1" laneId="$lane" s="20" offset="0.25"/>', SPEED),
    placed("Left", '<LanePosition roadId="1" laneId="1" s="50"><Orientation type="relative" h="0.1"/>'
           "</LanePosition>"),
    placed("Side", '<RoadPosition roadId="1" s="60" t="-6"><Orientation h="0.2"/></RoadPosition>'),
    placed("Behind", '<RelativeObjectPosition entityRef="Ego" dx="-10" dy="1"/>'),
    placed("Far", '<RelativeLanePosition entityRef="Ego" dLane="-1" ds="100"/>'),
    placed("Routed", ROUTE),
    placed("Cone", '<RelativeWorldPosition entityRef="Left" dx="1" dy="2" dz="3"/>'),
    placed("Nowhere", '<LanePosition roadId="77" laneId="1" s="50"/>'),
]  # fmt: skip
WEATHER = (
    "<GlobalAction><EnvironmentAction><Environment name='e'><TimeOfDay animation='false' "
    "dateTime='2026-06-21T23:30:00'/><Weather fractionalCloudCover='eightOktas'><Precipitation "
    "precipitationType='rain' precipitationIntensity='2.5'/></Weather></Environment>"
    "</EnvironmentAction></GlobalAction>"
)


def document(
    *, entities: dict[str, str] | None = None, init: list[str] | None = None, story: str = STORY,
    road: str = "town.xodr", inside: str = PHASES,
) -> str:  # fmt: skip
    every = "".join(
        f'<ScenarioObject name="{name}">{body}</ScenarioObject>'
        for name, body in (ENTITIES if entities is None else entities).items()
    )
    return (
        '<?xml version="1.0"?><OpenSCENARIO><FileHeader revMajor="1" revMinor="2" date="2026-01-01" '
        'description="d" author="a"><License name="MPL-2.0"/></FileHeader><ParameterDeclarations>'
        '<ParameterDeclaration name="kph" parameterType="double" value="36"/>'
        '<ParameterDeclaration name="lane" parameterType="string" value="-1"/>'
        '<ParameterDeclaration name="long" parameterType="double" value="${4 + 2}"/>'
        '</ParameterDeclarations><CatalogLocations><VehicleCatalog><Directory path="."/>'
        f'</VehicleCatalog></CatalogLocations><RoadNetwork><LogicFile filepath="{road}"/>{inside}'
        f"</RoadNetwork><Entities>{every}</Entities><Storyboard><Init><Actions>{WEATHER}"
        f"{''.join(INIT if init is None else init)}</Actions></Init>{story}<StopTrigger/></Storyboard>"
        "</OpenSCENARIO>"
    )


def written(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "town.xodr").write_text(ROADS.format(lanes=LANES))
    (folder / "cars.xosc").write_text(CATALOG)
    (folder / "cut_in.xosc").write_text(document(**changes))
    return folder / "cut_in.xosc"


def read_one(source: Path) -> Log:
    (log,) = openscenario_read.read(source)
    assert isinstance(log, Log)
    check_log(log)
    return log


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return read_one(written(tmp_path_factory.mktemp("osc")))


def first(log: Log, name: str) -> tuple[np.ndarray, float, np.ndarray]:
    """Centre, heading and velocity of an agent's first row."""
    row = np.flatnonzero(log.agents.track == list(log.agents.source_track_id).index(name))[0]
    assert log.agents.velocity is not None
    return log.agents.xyz[row], float(log.agents.yaw[row]), log.agents.velocity[row]


class TestOpenScenario(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return openscenario_read

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return written(tmp_path / "in")


def test_the_ego_is_on_its_lane(log: Log) -> None:
    assert log.ego is not None
    assert log.ego.source_track_id == "Ego"
    np.testing.assert_allclose(log.ego.xyz, [[21.5, -1.75, 0.75]], atol=1e-9)
    assert log.ego.velocity is not None
    np.testing.assert_allclose(log.ego.velocity, [[10.0, 0.0]], atol=1e-9)
    assert log.ego.size == (4.0, 2.0, 1.5)


@pytest.mark.parametrize(
    ("name", "xyz", "yaw"),
    [
        ("Lead", (51.5, -2.0, 0.75), 0.0),
        ("Left", (50 - 1.5 * np.cos(0.1), 2 - 1.5 * np.sin(0.1), 0.75), -np.pi + 0.1),
        ("Side", (60 + 1.5 * np.cos(0.2), -6 + 1.5 * np.sin(0.2), 0.75), 0.2),
        ("Behind", (11.5, -0.75, 0.75), 0.0),
        ("Far", (121.5, -6.0, 0.75), 0.0),
        ("Routed", (111.5, -6.0, 0.75), 0.0),
        ("Cone", (51.0, 4.0, 3.9), -np.pi + 0.0),
    ],
)
def test_places(log: Log, name: str, xyz: tuple[float, float, float], yaw: float) -> None:
    at, heading, _ = first(log, name)
    np.testing.assert_allclose(at, xyz, atol=1e-9)
    turned = np.angle(np.exp(1j * (heading - yaw)))
    assert abs(turned) < 1e-9 or (name == "Cone" and abs(abs(turned) - 0.1) < 1e-9)


def test_relative_speeds_and_catalog_parameters(log: Log) -> None:
    np.testing.assert_allclose(first(log, "Lead")[2], [5.0, 0.0], atol=1e-9)
    row = list(log.agents.source_track_id).index("Lead")
    np.testing.assert_allclose(log.agents.size[log.agents.track == row], [[6.0, 2.0, 1.5]])
    classes = dict(zip(log.agents.source_track_id, log.agents.cls, strict=True))
    assert classes["Walker"] is AgentClass.PEDESTRIAN
    assert classes["Cone"] is AgentClass.OBSTACLE
    assert "Nowhere" not in classes
    assert any("road `77`" in note.reason for note in log.notes)


def test_timed_trajectories_are_tracks(log: Log) -> None:
    rows = log.agents.track == list(log.agents.source_track_id).index("Walker")
    np.testing.assert_array_equal(
        log.agents.t_ns[rows], [2_000_000_000, 2_500_000_000, 3_000_000_000]
    )
    np.testing.assert_allclose(log.agents.xyz[rows][:, :2], [[10, -10], [11, -10], [12, -10]])
    assert log.agents.velocity is not None
    np.testing.assert_allclose(log.agents.velocity[rows], [[2.0, 0.0]] * 3)
    assert log.rate_hz == pytest.approx(2.0)


def test_the_storyboard_is_told_by_its_names(log: Log) -> None:
    events = {event.name: event for event in log.events}
    assert set(events) == {"the act", "walks", "changes lane"}
    assert (events["walks"].t0_ns, events["walks"].t1_ns) == (2_000_000_000, 3_000_000_000)
    assert events["walks"].source_track_id == "Walker"
    assert events["changes lane"].detail["start_told"] is False
    assert events["changes lane"].detail["conditions"] == [
        {"name": "near", "kind": "TimeHeadwayCondition"}
    ]
    assert events["changes lane"].detail["actions"] == [
        {"name": "goes left", "kind": "PrivateAction/LateralAction/LaneChangeAction"}
    ]


def test_signals_change_as_their_controller_says(log: Log) -> None:
    assert list(log.lights.source_lane_id) == ["1/0/-1"] * 4
    np.testing.assert_array_equal(log.lights.t_ns, np.arange(4) * 1_000_000_000)
    assert log.lights.state.tolist() == [LightState.RED, LightState.GREEN] * 2
    assert log.lights.source_state[1] == "off;off;on"
    np.testing.assert_allclose(log.lights.stop_xyz[0], [88, -4, 0], atol=1e-9)


def test_surroundings(log: Log) -> None:
    assert (log.weather, log.daylight, log.license) == (Weather.RAIN, Daylight.NIGHT, "MPL-2.0")
    assert len(log.map.of_layer(MapLayer.LANE)) == 6
    assert log.extra["parameters"]["long"] == "6"


def test_catalogs_and_distributions_are_no_scenarios(tmp_path: Path) -> None:
    source = written(tmp_path)
    distribution = tmp_path / "variation.xosc"
    distribution.write_text(
        "<OpenSCENARIO><FileHeader/><ParameterValueDistribution/></OpenSCENARIO>"
    )
    assert list(openscenario_read.sources(tmp_path)) == [source]
    for other, word in ((tmp_path / "cars.xosc", "Catalog"), (distribution, "Distribution")):
        with pytest.raises(UnreadableFile, match=f"no scenario.*{word}"):
            list(openscenario_read.read(other))


def test_a_scenario_without_map(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="tells nobody's place"):
        list(openscenario_read.read(written(tmp_path, road="none.xodr", story="", init=INIT[1:2])))
    source = written(
        tmp_path, road="none.xodr", init=[placed("Ego", '<WorldPosition x="1" y="2" h="7"/>')],
    )  # fmt: skip
    log = read_one(source)
    assert not log.map.features
    assert any(n.kind == "missing" and "none.xodr" in n.reason for n in log.notes)
    assert log.ego is not None
    assert float(log.ego.yaw[0]) == pytest.approx(7 - 2 * np.pi)


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        ('<LanePosition roadId="1" laneId="5" s="50"/>', "lane 5"),
        ('<LanePosition roadId="1" laneId="-1" s="500"/>', "100 m long"),
        ('<LanePosition roadId="1" laneId="x" s="5"/>', "laneId is `x`"),
        ('<WorldPosition x="nan" y="0"/>', "not a number"),
        ('<WorldPosition y="0"/>', "lacks x"),
        ('<RelativeObjectPosition entityRef="Nobody" dx="1" dy="1"/>', "Nobody"),
        ('<RelativeObjectPosition entityRef="Ego" dx="1" dy="1"/>', "whose own is not known"),
        ("<GeoPosition/>", "GeoPosition"),
        ("", "an initial place|nobody's place"),
    ],
)
def test_places_that_make_no_sense(tmp_path: Path, position: str, reason: str) -> None:
    source = written(tmp_path, init=[placed("Ego", position or " ")], story="")
    with pytest.raises(UnreadableFile, match=reason):
        list(openscenario_read.read(source))


@pytest.mark.parametrize(
    "told", ['dLane="9223372036854775807" ds="0"', 'dLane="1" ds="1e300"', 'dLane="7" ds="200"']
)
def test_lanes_and_stations_beyond_all_roads_end(tmp_path: Path, told: str) -> None:
    other = f'<RelativeLanePosition entityRef="Ego" {told}/>'
    own = '<LanePosition roadId="1" laneId="-1" s="50"/>'
    source = written(tmp_path, init=[placed("Ego", own), placed("Lead", other)], story="")
    log = read_one(source)
    assert "Lead" not in log.agents.source_track_id


def test_no_time_is_read_into_triggers_on_others(tmp_path: Path) -> None:
    """A trajectory that starts when someone is near has no times of its own."""
    late = STORY.replace(at_time(2.0), "<StartTrigger><ConditionGroup><Condition><ByEntityCondition/>"
                         "</Condition></ConditionGroup></StartTrigger>")  # fmt: skip
    log = read_one(written(tmp_path, story=late))
    assert "Walker" not in log.agents.source_track_id
    assert any("moment that is not told" in note.reason for note in log.notes)


def test_what_we_write_is_what_we_read(tmp_path: Path) -> None:
    scene = scenes_of(make_crossing_log())[0]
    openscenario.write_scene(scene, tmp_path)
    log = read_one(tmp_path / f"{scene.scene_id}.xosc")
    tracks = scene.tracks
    seen = 0
    for agent in range(len(tracks.cls)):
        name, steps = openscenario.entity_name(scene, agent), np.flatnonzero(tracks.valid[agent])
        if log.ego is not None and name == log.ego.source_track_id:
            t_ns, xyz, yaw = log.ego.t_ns, log.ego.xyz, log.ego.yaw
        elif name in log.agents.source_track_id:
            rows = log.agents.track == list(log.agents.source_track_id).index(name)
            t_ns, xyz, yaw = log.agents.t_ns[rows], log.agents.xyz[rows], log.agents.yaw[rows]
        else:
            assert not len(steps)
            continue
        np.testing.assert_array_equal(t_ns, np.round(steps * DT * 1e9).astype(int))
        np.testing.assert_allclose(xyz[:, :2], tracks.xy[agent, steps], atol=1e-3)
        turned = np.angle(np.exp(1j * (yaw - tracks.yaw[agent, steps])))
        np.testing.assert_allclose(turned, 0.0, atol=1e-5)
        seen += 1
    assert seen > 1
    shown = {(lane, int(t)): s for lane, t, s in
             zip(log.lights.source_lane_id, log.lights.t_ns, log.lights.state, strict=True)}  # fmt: skip
    for row, lane in enumerate(scene.signals.lane.tolist()):
        if scene.signals.state[row, 0] != LightState.UNKNOWN:
            assert shown[f"{lane}/0/-1", 0] == scene.signals.state[row, 0]


REAL = os.environ.get("SCENELAKE_REAL_DATA")


def test_a_refusal_tells_the_nearest_cause_alone(tmp_path: Path) -> None:
    ego = placed("Ego", '<LanePosition roadId="1" laneId="5" s="50"/>')
    lead = placed("Lead", '<LanePosition roadId="1" laneId="6" s="50"/>')
    with pytest.raises(UnreadableFile) as caught:
        list(openscenario_read.read(written(tmp_path, init=[ego, lead], story="")))
    assert caught.value.reason.startswith("tells nobody's place: ")
    assert caught.value.reason.endswith(" (and 1 more)")
    assert "lane 5" in caught.value.reason
    assert len(caught.value.reason) < 120


@pytest.mark.skipif(not REAL, reason="SCENELAKE_REAL_DATA is not set")
def test_real_scenarios() -> None:
    """Of the 251 files 106 are scenarios; three of them tell nobody's place."""
    sources = list(openscenario_read.sources(Path(str(REAL)) / "openscenario"))
    assert len(sources) == 106
    refused = []
    for source in sources[::4]:
        try:
            read_one(source)
        except UnreadableFile:
            refused.append(source.name)
    assert set(refused) <= {"auto_light.xosc", "car_walk.xosc", "truck_with_rotating_axle.xosc"}
