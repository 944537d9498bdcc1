"""OpenDRIVE maps, written out as the standard documents them."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lxml import etree

from formats import opendrive_map
from formats.opendrive import opendrive
from formats.opendrive_map import load, read_map
from geometry.polylines import arc_length, project
from schemas.errors import UnreadableFile
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import Log, MapFeature, RoadMap
from tests.builders import with_graph
from tests.contracts import ReaderContract, check_log

ROAD_A = """
<road id="A" name="High Street" length="100" junction="-1">
 <link><successor elementType="junction" elementId="J"/></link>
 <type s="0" type="town"><speed max="50" unit="km/h"/></type>
 <planView><geometry s="0" x="0" y="0" hdg="0" length="100"><line/></geometry></planView>
 <elevationProfile><elevation s="0" a="2" b="0.01" c="0" d="0"/></elevationProfile>
 <lanes>
  <laneOffset s="0" a="0" b="0" c="0" d="0"/>
  <laneSection s="0">
   <left><lane id="1" type="driving"><link><successor id="1"/></link>
    <width sOffset="0" a="3" b="0" c="0" d="0"/>
    <roadMark sOffset="0" type="solid" color="white" width="0.12"/></lane></left>
   <center><lane id="0" type="none"><roadMark sOffset="0" type="broken" color="yellow"/>
    <roadMark sOffset="40" type="none"/></lane></center>
   <right><lane id="-1" type="driving"><link><successor id="-1"/></link>
    <width sOffset="0" a="4" b="0" c="0" d="0"/></lane>
    <lane id="-2" type="sidewalk"><link><successor id="-3"/></link>
    <width sOffset="0" a="2" b="0" c="0" d="0"/></lane></right>
  </laneSection>
  <laneSection s="60">
   <left><lane id="1" type="driving"><link><predecessor id="1"/></link>
    <width sOffset="0" a="3" b="0" c="0" d="0"/></lane></left>
   <center><lane id="0" type="none"/></center>
   <right><lane id="-1" type="driving"><link><predecessor id="-1"/></link>
    <width sOffset="0" a="4" b="0" c="0" d="0"/><speed sOffset="0" max="30" unit="mph"/></lane>
    <lane id="-2" type="biking"><width sOffset="0" a="0" b="0.05" c="0" d="0"/></lane>
    <lane id="-3" type="sidewalk"><link><predecessor id="-2"/></link>
     <width sOffset="0" a="2" b="0" c="0" d="0"/></lane></right>
  </laneSection>
 </lanes>
 <objects>
  <object id="7" type="crosswalk" s="30" t="0" hdg="0" zOffset="0"><outlines><outline id="0">
   <cornerLocal u="-1" v="-5" z="0"/><cornerLocal u="1" v="-5" z="0"/>
   <cornerLocal u="1" v="4" z="0"/><cornerLocal u="-1" v="4" z="0"/></outline></outlines></object>
  <object id="8" type="parkingSpace" s="50" t="6" hdg="0" length="5" width="2"/>
  <object id="9" type="pole" s="10" t="5"/>
  <object id="10" type="barrier" s="0" t="0"><repeat s="10" length="20" distance="0" tStart="8"
   tEnd="9"/></object>
  <object id="11" type="tree" s="0" t="0"><repeat s="0" length="40" distance="10" tStart="12"
   tEnd="12"/></object>
 </objects>
 <signals>
  <signal id="21" s="90" t="-7" zOffset="5" dynamic="yes" orientation="+" type="1000001"
   subtype="-1" name="L" country="OpenDRIVE"><validity fromLane="-1" toLane="-1"/></signal>
  <signal id="22" s="95" t="-2" dynamic="no" orientation="+" type="294" subtype="-1"
   country="OpenDRIVE" width="4"/>
  <signal id="23" s="80" t="-8" dynamic="no" orientation="+" type="206" country="DE" subtype=""/>
  <signal id="24" s="20" t="-8" dynamic="no" orientation="-" type="274" country="DE" subtype=""
   value="50" unit="km/h"/>
 </signals>
</road>"""
ROAD_B = """
<road id="B" length="62.83185307179586" junction="-1" rule="RHT">
 <link><predecessor elementType="junction" elementId="J"/></link>
 <type s="0" type="motorway"/>
 <planView><geometry s="0" x="120" y="0" hdg="0" length="62.83185307179586">
  <arc curvature="0.025"/></geometry></planView>
 <lanes><laneSection s="0">
  <left><lane id="1" type="driving"><width sOffset="0" a="3" b="0" c="0" d="0"/></lane></left>
  <center><lane id="0" type="none"/></center>
  <right><lane id="-1" type="driving"><width sOffset="0" a="4" b="0" c="0" d="0"/></lane>
   <lane id="-2" type="driving"><width sOffset="0" a="4" b="0" c="0" d="0"/></lane>
   <lane id="-3" type="parking"><width sOffset="0" a="2" b="0" c="0" d="0"/></lane></right>
 </laneSection></lanes>
</road>"""
ROAD_J = """
<road id="J1" length="20" junction="J">
 <link><predecessor elementType="road" elementId="A" contactPoint="end"/>
  <successor elementType="road" elementId="B" contactPoint="start"/></link>
 <planView><geometry s="0" x="100" y="0" hdg="0" length="20"><line/></geometry></planView>
 <lanes><laneSection s="0"><center><lane id="0" type="none"/></center>
  <right><lane id="-1" type="driving"><link><predecessor id="-1"/><successor id="-1"/></link>
   <width sOffset="0" a="4" b="0" c="0" d="0"/></lane></right></laneSection></lanes>
</road>
<road id="J2" length="20" junction="J">
 <link><predecessor elementType="road" elementId="B" contactPoint="start"/>
  <successor elementType="road" elementId="A" contactPoint="end"/></link>
 <planView><geometry s="0" x="120" y="0" hdg="3.141592653589793" length="20"><line/></geometry>
 </planView>
 <lanes><laneSection s="0"><center><lane id="0" type="none"/></center>
  <right><lane id="-1" type="driving"><link><predecessor id="1"/><successor id="1"/></link>
   <width sOffset="0" a="3" b="0" c="0" d="0"/></lane></right></laneSection></lanes>
</road>"""
JUNCTION = """
<junction id="J" name="crossing">
 <connection id="0" incomingRoad="A" connectingRoad="J1" contactPoint="start">
  <laneLink from="-1" to="-1"/></connection>
 <connection id="1" incomingRoad="B" connectingRoad="J2" contactPoint="start">
  <laneLink from="1" to="-1"/></connection>
</junction>
<controller id="c1"><control signalId="21"/></controller>"""
HEADER = (
    '<header revMajor="1" revMinor="7" name="town"><geoReference><![CDATA[EPSG:25832]]>'
    "</geoReference></header>"
)


def document(*parts: str, header: str = HEADER, xmlns: str = "") -> str:
    body = "".join(parts or (ROAD_A, ROAD_B, ROAD_J, JUNCTION))
    return f'<?xml version="1.0"?>\n<OpenDRIVE{xmlns}>{header}{body}</OpenDRIVE>'


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def feature(road: RoadMap, source_id: str, layer: MapLayer = MapLayer.LANE) -> MapFeature:
    return next(f for f in road.features if f.source_id == source_id and f.layer is layer)


def edges(road: RoadMap, kind: EdgeKind) -> set[tuple[str, str]]:
    names = [f.source_id for f in road.features]
    return {(names[a], names[b]) for a, its, b in road.edges.tolist() if its == kind}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> RoadMap:
    return read_map(written(tmp_path_factory.mktemp("map") / "town.xodr", document()))[0]


class TestOpenDrive(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return opendrive_map

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return written(tmp_path / "in" / "town.xodr", document())


def test_lanes_run_as_traffic_does(town: RoadMap) -> None:
    right, left = feature(town, "A/0/-1"), feature(town, "A/0/1")
    np.testing.assert_allclose(
        right.points[[0, -1]], [[0.0, -2.0, 2.0], [60.0, -2.0, 2.6]], atol=1e-12
    )
    np.testing.assert_allclose(
        left.points[[0, -1]], [[60.0, 1.5, 2.6], [0.0, 1.5, 2.0]], atol=1e-12
    )
    assert left.left is not None
    assert left.right is not None
    np.testing.assert_allclose(left.left[0], [60, 0, 2.6], atol=1e-12)
    np.testing.assert_allclose(left.right[0], [60, 3, 2.6], atol=1e-12)


def test_left_hand_traffic_runs_the_other_way(tmp_path: Path) -> None:
    text = document(ROAD_A.replace('junction="-1"', 'junction="-1" rule="LHT"'))
    lane = feature(read_map(written(tmp_path / "a.xodr", text))[0], "A/0/-1")
    np.testing.assert_allclose(lane.points[0, :2], [60, -2], atol=1e-12)
    assert lane.left is not None
    np.testing.assert_allclose(lane.left[0, :2], [60, -4], atol=1e-12)


def test_lane_types_and_limits(town: RoadMap) -> None:
    assert feature(town, "A/0/-1").lane_type is LaneType.VEHICLE
    assert feature(town, "A/0/-2").lane_type is LaneType.SIDEWALK
    assert feature(town, "A/1/-2").lane_type is LaneType.BIKE
    assert feature(town, "B/0/-1").lane_type is LaneType.FREEWAY
    assert feature(town, "A/0/-1").speed_limit == pytest.approx(50 / 3.6)
    assert feature(town, "A/1/-1").speed_limit == pytest.approx(30 * 0.44704)
    assert feature(town, "B/0/-1").speed_limit is None
    assert feature(town, "J1/0/-1").in_intersection is True
    assert feature(town, "B/0/-1").in_intersection is False
    assert feature(town, "B/0/-3", MapLayer.PARKING).source_type == "parking"


def test_widths_follow_their_polynomials(town: RoadMap) -> None:
    bike = feature(town, "A/1/-2")
    assert bike.right is not None
    np.testing.assert_allclose(bike.right[[0, -1], 1], [-4, -6], atol=1e-12)
    walk = feature(town, "A/1/-3")
    np.testing.assert_allclose(walk.points[[0, -1], 1], [-5, -7], atol=1e-12)


def test_arcs_are_sampled_within_a_centimetre(town: RoadMap) -> None:
    """Road B turns left by a quarter around (120, 40); lane −2's middle has a radius of 46 m."""
    lane = feature(town, "B/0/-2")
    middles = (lane.points[1:, :2] + lane.points[:-1, :2]) / 2
    radius = np.linalg.norm(middles - [120, 40], axis=1)
    assert np.abs(radius - 46).max() < 0.01
    np.testing.assert_allclose(lane.points[-1, :2], [166, 40], atol=1e-6)


def test_graph(town: RoadMap) -> None:
    assert edges(town, EdgeKind.SUCCESSOR) == {
        ("A/0/-1", "A/1/-1"), ("A/0/-2", "A/1/-3"), ("A/1/1", "A/0/1"), ("A/1/-1", "J1/0/-1"),
        ("J1/0/-1", "B/0/-1"), ("B/0/1", "J2/0/-1"), ("J2/0/-1", "A/1/1"),
    }  # fmt: skip
    successors = edges(town, EdgeKind.SUCCESSOR)
    assert edges(town, EdgeKind.PREDECESSOR) == {(b, a) for a, b in successors}
    assert edges(town, EdgeKind.LEFT) == {
        ("A/0/-2", "A/0/-1"), ("A/1/-2", "A/1/-1"), ("A/1/-3", "A/1/-2"), ("B/0/-2", "B/0/-1"),
    }  # fmt: skip
    for a, kind, b in town.edges.tolist():
        if kind == EdgeKind.SUCCESSOR:
            ends = town.features[a].points[-1, :2], town.features[b].points[0, :2]
            np.testing.assert_allclose(ends[0], ends[1], atol=1e-9)


def test_marks_and_edges(town: RoadMap) -> None:
    marks = {f.source_id: f for f in town.of_layer(MapLayer.ROAD_LINE)}
    assert set(marks) == {"A/0/1/0", "A/0/0/0"}
    assert marks["A/0/1/0"].source_type == "solid white width=0.12"
    np.testing.assert_allclose(marks["A/0/0/0"].points[[0, -1], 0], [0, 40])
    found = {f.source_id: f for f in town.of_layer(MapLayer.ROAD_EDGE)}
    np.testing.assert_allclose(found["A/0/1/edge"].points[:, 1], 3)
    np.testing.assert_allclose(found["A/0/-1/edge"].points[:, 1], -4)
    assert not any(name.startswith("J") for name in found)


def test_objects(town: RoadMap) -> None:
    crosswalk = feature(town, "A/7", MapLayer.CROSSWALK)
    np.testing.assert_allclose(crosswalk.points[0], [29, -5, 2.3], atol=1e-9)
    assert edges(with_graph(town), EdgeKind.CROSSWALK_OVER_LANE) == {
        ("A/7", "A/0/-1"),
        ("A/7", "A/0/1"),
    }
    space = feature(town, "A/8", MapLayer.PARKING).points
    np.testing.assert_allclose([space[:, 0].min(), space[:, 0].max()], [47.5, 52.5], atol=1e-9)
    np.testing.assert_allclose([space[:, 1].min(), space[:, 1].max()], [5, 7], atol=1e-9)
    assert len(feature(town, "A/9", MapLayer.OTHER).points) == 1
    barrier = feature(town, "A/10", MapLayer.ROAD_EDGE).points
    np.testing.assert_allclose(barrier[[0, -1], :2], [[10, 8], [30, 9]], atol=1e-9)
    np.testing.assert_allclose(feature(town, "A/11", MapLayer.OTHER).points[:, 0],
                               [0, 10, 20, 30, 40], atol=1e-9)  # fmt: skip


def test_signals(tmp_path: Path) -> None:
    loaded = load(written(tmp_path / "town.xodr", document()))
    town = loaded.map
    light = feature(town, "21", MapLayer.TRAFFIC_LIGHT)
    np.testing.assert_allclose(light.points, [[90, -7, 7.9]])
    line = feature(town, "22", MapLayer.STOP_LINE)
    np.testing.assert_allclose(line.points[:, :2], [[95, 0], [95, -4]], atol=1e-9)
    assert edges(town, EdgeKind.STOP_LINE_OF_LANE) == {("22", "A/1/-1"), ("23", "A/1/-1")}
    assert feature(town, "23", MapLayer.STOP_SIGN).source_type == "DE 206"
    assert feature(town, "24", MapLayer.SIGN).source_type == "DE 274 value=50km/h"
    assert loaded.extra["signals"]["21"]["lanes"] == ["A/1/-1"]
    assert loaded.extra["controllers"] == {"c1": ["21"]}
    assert loaded.epsg == 25832


def test_a_moved_map_has_no_code(tmp_path: Path) -> None:
    header = HEADER.replace("</header>", '<offset x="1" y="0" z="0" hdg="0"/></header>')
    loaded = load(written(tmp_path / "town.xodr", document(header=header)))
    assert loaded.epsg is None
    assert loaded.extra["header"]["offset"]["x"] == "1"
    header = HEADER.replace("EPSG:25832", "nonsense")
    assert load(written(tmp_path / "town.xodr", document(header=header))).epsg is None


def test_superelevation_tilts_all_but_level_lanes(tmp_path: Path) -> None:
    """On a road rolled by 30°, a point 4 m to the right lies 2 m lower and 3.46 m away."""
    tilt = ROAD_B.replace(
        "<lanes>", '<lateralProfile><superelevation s="0" a="0.5235987755982988" b="0" c="0" d="0"'
        "/></lateralProfile><lanes>"
    ).replace('<lane id="-2" type="driving">', '<lane id="-2" type="driving" level="true">')  # fmt: skip
    road, _ = read_map(written(tmp_path / "b.xodr", document(tilt)))
    lane = feature(road, "B/0/-1")
    assert lane.right is not None
    np.testing.assert_allclose(lane.right[0], [120, -4 * np.cos(np.pi / 6), -2], atol=1e-9)
    outer = feature(road, "B/0/-2").right
    assert outer is not None
    np.testing.assert_allclose(outer[0], [120, -8, 0], atol=1e-9)


def test_borders_instead_of_widths(tmp_path: Path) -> None:
    text = ROAD_B.replace('<width sOffset="0" a="4"', '<border sOffset="0" a="-4"', 1).replace(
        '<width sOffset="0" a="4"', '<border sOffset="0" a="-9"'
    )
    road, _ = read_map(written(tmp_path / "b.xodr", document(text)))
    lane = feature(road, "B/0/-2")
    np.testing.assert_allclose(lane.points[0, :2], [120, -6.5], atol=1e-9)


def test_lanes_for_both_directions(tmp_path: Path) -> None:
    both = ROAD_J.replace('id="-1" type="driving"', 'id="-1" type="driving" direction="both"', 1)
    road, notes = read_map(written(tmp_path / "t.xodr", document(ROAD_A, ROAD_B, both, JUNCTION)))
    np.testing.assert_array_equal(
        feature(road, "J1/0/-1~").points, feature(road, "J1/0/-1").points[::-1]
    )
    assert ("A/1/-1", "J1/0/-1") in edges(road, EdgeKind.SUCCESSOR)
    assert any("both directions" in note.reason for note in notes)


def test_direct_junctions(tmp_path: Path) -> None:
    """Version 1.7: the exit leaves the road without a connecting road."""
    out = ROAD_B.replace('id="B"', 'id="D"').replace('x="120"', 'x="100"')
    junction = (
        '<junction id="J" type="direct"><connection id="0" incomingRoad="A" linkedRoad="D"'
        ' contactPoint="start"><laneLink from="-1" to="-2"/></connection></junction>'
    )
    road, _ = read_map(written(tmp_path / "t.xodr", document(ROAD_A, out, junction)))
    assert ("A/1/-1", "D/0/-2") in edges(road, EdgeKind.SUCCESSOR)


def test_broken_roads_are_noted_and_the_rest_is_read(tmp_path: Path) -> None:
    broken = ROAD_B.replace('id="B"', 'id="X"').replace('curvature="0.025"', 'curvature="nan"')
    twice = ROAD_A.replace("High Street", "Again")
    odd = ROAD_B.replace('id="B"', 'id="Y"').replace("<arc", "<helix")
    short = '<road id="Z" length="5"/>'
    far = '<junction id="K"><connection incomingRoad="A" connectingRoad="?"/></junction>'
    path = written(tmp_path / "t.xodr", document(ROAD_A, broken, twice, odd, short, far))
    road, notes = read_map(path)
    assert {f.source_id.split("/")[0] for f in road.of_layer(MapLayer.LANE)} == {"A"}
    reasons = " ".join(note.reason for note in notes)
    for said in ("curvature of <arc> is `nan`", "<helix>", "no reference line", "bears already",
                 "connections of junctions to roads that are not there"):  # fmt: skip
        assert said in reasons


def test_namespaces_make_no_difference(tmp_path: Path) -> None:
    text = document(xmlns=' xmlns="http://code.asam.net/simulation/standard/opendrive_schema"')
    road, _ = read_map(written(tmp_path / "t.xodr", text))
    assert len(road.of_layer(MapLayer.LANE)) == 12


@pytest.mark.parametrize("content", ["<OpenDRIVE", "<html/>", "\x00", "<OpenDRIVE></OpenDRIVE>"])
def test_other_content_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(UnreadableFile, match=r"t\.xodr"):
        list(opendrive_map.read(written(tmp_path / "t.xodr", content)))


def test_what_we_write_is_what_we_read(tmp_path: Path) -> None:
    """A bend and a fork: the centre lines come back within a centimetre."""
    turn = np.linspace(0, np.pi / 2, 200)
    bend = np.column_stack([60 * np.sin(turn), 60 - 60 * np.cos(turn), 3 * turn])
    on = bend[-1] + np.linspace(0, 50, 100)[:, None] * [0, 1, 0]
    aside = bend[-1] + np.column_stack([20 * (1 - np.cos(turn)), 20 * np.sin(turn), 0 * turn])

    def lane(index: int, line: np.ndarray) -> MapFeature:
        side = np.zeros_like(line)
        side[:, :2] = np.gradient(line[:, :2], axis=0)[:, ::-1] * [-1, 1]
        side /= np.linalg.norm(side, axis=1, keepdims=True)
        return MapFeature(
            feature_id=index, source_id=f"lane{index}", layer=MapLayer.LANE, points=line,
            left=line + 1.75 * side, right=line - 1.75 * side, lane_type=LaneType.VEHICLE,
            speed_limit=13.9,
        )  # fmt: skip

    known = RoadMap(
        source_map_id="fork",
        features=[lane(0, bend), lane(1, on), lane(2, aside)],
        edges=np.array([[0, EdgeKind.SUCCESSOR, 1], [0, EdgeKind.SUCCESSOR, 2]]),
    )
    opendrive(known, name="fork", origin=np.zeros(3)).write(tmp_path / "fork.xodr")
    found, _ = read_map(tmp_path / "fork.xodr")
    for index, before in enumerate(known.features):
        after = feature(found, f"{index}/0/-1")
        _, offset, _ = project(after.points[:, :2], before.points)
        assert np.abs(offset).max() < 0.01
        assert arc_length(after.points)[-1] > arc_length(before.points)[-1] - 4.1
        assert after.speed_limit == pytest.approx(13.9)
        height = np.interp(
            arc_length(after.points), arc_length(before.points), before.points[:, 2]
        )
        assert np.abs(after.points[:, 2] - height).max() < 0.15
        assert after.left is not None
        assert after.right is not None
        width = np.linalg.norm(after.left - after.right, axis=1)
        np.testing.assert_allclose(width, 3.5, atol=1e-3)
    graph = edges(found, EdgeKind.SUCCESSOR)
    assert {("0/0/-1", "3/0/-1"), ("3/0/-1", "1/0/-1"), ("0/0/-1", "4/0/-1")} <= graph


REAL = os.environ.get("SCENELAKE_REAL_DATA")


@pytest.mark.skipif(not REAL, reason="SCENELAKE_REAL_DATA is not set")
def test_real_maps() -> None:
    """All are read, every lane of theirs is there, and lanes that follow each other meet."""
    paths = [
        path
        for folder in ("openscenario", "osi_omega_prime")
        for path in opendrive_map.sources(Path(str(REAL)) / folder)
    ]
    assert len(paths) == 36
    layers: Counter[str] = Counter()
    lanes = 0
    for path in paths:
        lanes += sum(
            lane.get("type") in opendrive_map.LANE_TYPES and lane.get("id") != "0"
            for lane in etree.parse(path).iter("lane")
        )
        (log,) = opendrive_map.read(path)
        assert isinstance(log, Log)
        check_log(log)
        layers.update(f.layer.word for f in log.map.features)
        for a, kind, b in log.map.edges.tolist():
            if kind == EdgeKind.SUCCESSOR:
                one, two = log.map.features[a], log.map.features[b]
                gap = float(np.linalg.norm(one.points[-1] - two.points[0]))
                merges = {one.source_id, two.source_id} == {"0/0/-3", "0/1/-2"}
                assert gap < 1e-4 or merges, (path.name, one.source_id, two.source_id)
    assert layers["lane"] == lanes - 1  # one in tunnels.xodr has no width
    assert layers["stop_line"] == 17
