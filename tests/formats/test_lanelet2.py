"""Lanelet2 maps, written out as the format documents it."""

import gzip
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Transformer

from formats import lanelet2
from formats.lanelet2 import load, read_map, utm_epsg
from formats.speeds import metres_per_second
from schemas.errors import UnreadableFile
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import Log, MapFeature, RoadMap
from tests.builders import with_graph
from tests.contracts import ReaderContract, check_log

NODES: dict[str, tuple[float, float]] = {
    # Two lanes to the east, one after the other, and one to their left; the fourth faces them.
    "1": (0, 4), "2": (50, 4), "3": (100, 4),
    "4": (0, 0), "5": (20, 0), "6": (50, 0), "7": (100, 0),
    "8": (0, 8), "9": (50, 8), "10": (0, 12), "11": (50, 12),
    # A crosswalk over all of them at x = 40, a stop line before it, a light and a sign.
    "20": (40, -2), "21": (40, 14), "22": (44, -2), "23": (44, 14),
    "24": (38, 0), "25": (38, 4), "26": (38, 15), "27": (38, 16), "28": (38, -3), "29": (38, -4),
    "30": (70, 0), "31": (70, 4), "32": (30, 4), "33": (30, 8),
    # A parking area and a parking space.
    "40": (60, 20), "41": (70, 20), "42": (70, 30), "43": (60, 30), "44": (80, 20), "45": (80, 26),
}  # fmt: skip
WAYS: dict[str, tuple[Sequence[str], Mapping[str, str]]] = {
    "101": (("1", "2"), {"type": "line_thin", "subtype": "dashed"}),
    "102": (("6", "5", "4"), {"type": "road_border"}),  # drawn against the lane
    "103": (("2", "3"), {}),
    "104": (("6", "7"), {"type": "virtual"}),
    "105": (("9", "8"), {"type": "line_thin", "subtype": "solid", "color": "yellow"}),
    "106": (("10", "11"), {"type": "curbstone", "subtype": "high"}),
    "120": (("20", "21"), {"type": "pedestrian_marking"}),
    "121": (("22", "23"), {"type": "pedestrian_marking"}),
    "122": (("24", "25"), {"type": "stop_line"}),
    "123": (("26", "27"), {"type": "traffic_light", "subtype": "red_yellow_green"}),
    "124": (("28", "29"), {"type": "traffic_sign", "subtype": "de206"}),
    "125": (("30", "31"), {"type": "stop_line"}),
    "126": (("32", "33"), {"type": "stop_line"}),
    "140": (("40", "41"), {}),
    "141": (("40", "43", "42", "41"), {}),
    "142": (("44", "45"), {"type": "parking_space", "width": "3.0"}),
}
Members = Sequence[tuple[str, str, str]]
RELATIONS: dict[str, tuple[Members, Mapping[str, str]]] = {
    "200": (
        (("way", "101", "left"), ("way", "102", "right"), ("relation", "301", "regulatory_element"),
         ("relation", "302", "regulatory_element"), ("relation", "303", "regulatory_element"),
         ("relation", "304", "regulatory_element")),
        {"type": "lanelet", "subtype": "road", "location": "urban", "speed_limit": "50 km/h",
         "one_way": "yes"},
    ),
    "201": (
        (("way", "103", "left"), ("way", "104", "right")),
        {"type": "lanelet", "subtype": "road", "turn_direction": "straight",
         "speed_limit": "30 mph"},
    ),
    "202": (
        (("way", "105", "left"), ("way", "101", "right")),
        {"type": "lanelet", "subtype": "bus_lane"},
    ),
    "203": (
        (("way", "105", "left"), ("way", "106", "right")),
        {"type": "lanelet", "subtype": "road", "participant:bicycle": "yes", "one_way": "no"},
    ),
    "204": (
        (("way", "120", "left"), ("way", "121", "right")),
        {"type": "lanelet", "subtype": "crosswalk"},
    ),
    "205": ((("way", "140", "outer"), ("way", "141", "outer")),
            {"type": "multipolygon", "subtype": "parking"}),
    "301": ((("way", "123", "refers"), ("way", "122", "ref_line")),
            {"type": "regulatory_element", "subtype": "traffic_light"}),
    "302": ((("way", "124", "refers"),),
            {"type": "regulatory_element", "subtype": "traffic_sign"}),
    "303": ((("relation", "204", "refers"), ("way", "122", "ref_line")),
            {"type": "regulatory_element", "subtype": "crosswalk"}),
    "304": ((), {"type": "regulatory_element", "subtype": "speed_limit", "sign_type": "40"}),
    "305": ((("relation", "202", "yield"), ("relation", "200", "right_of_way"),
             ("way", "126", "ref_line")),
            {"type": "regulatory_element", "subtype": "right_of_way"}),
}  # fmt: skip
FAR = np.array([456000.25, 5428000.75])
"""A place in UTM zone 32 (Karlsruhe) [m]."""


def document(*, how: str = "local", changes: str = "") -> str:
    """The map above; its coordinates as tags, attributes, or on the globe."""
    to_globe = Transformer.from_crs(32632, 4326, always_xy=True)
    lines = ["<?xml version='1.0' encoding='UTF-8'?>", "<osm version='0.6' generator='JOSM'>"]
    for name, (x, y) in NODES.items():
        if how == "local":
            tags = f'<tag k="local_x" v="{x}"/><tag k="local_y" v="{y}"/><tag k="ele" v="1.5"/>'
            lines.append(f'<node id="{name}" lat="" lon="">{tags}</node>')
        elif how == "plane":
            lines.append(f'<node id="{name}" visible="true" x="{x}" y="{y}"/>')
        else:
            lon, lat = to_globe.transform(FAR[0] + x, FAR[1] + y)
            lines.append(f'<node id="{name}" lat="{lat:.12f}" lon="{lon:.12f}"/>')
    for name, (nodes, words) in WAYS.items():
        refs = "".join(f'<nd ref="{node}"/>' for node in nodes)
        lines.append(f'<way id="{name}">{refs}{_tags(words)}</way>')
    for name, (members, words) in RELATIONS.items():
        refs = "".join(f'<member type="{t}" ref="{ref}" role="{r}"/>' for t, ref, r in members)
        lines.append(f'<relation id="{name}">{refs}{_tags(words)}</relation>')
    return "\n".join([*lines, changes, "</osm>"])


def _tags(tags: Mapping[str, str]) -> str:
    return "".join(f'<tag k="{key}" v="{value}"/>' for key, value in tags.items())


def written(path: Path, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document(**how), encoding="utf-8")
    return path


def feature(road: RoadMap, source_id: str) -> MapFeature:
    return next(f for f in road.features if f.source_id == source_id)


def edges(road: RoadMap, kind: EdgeKind) -> set[tuple[str, str]]:
    names = [f.source_id for f in road.features]
    return {(names[a], names[b]) for a, its, b in road.edges.tolist() if its == kind}


class TestLanelet2(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return lanelet2

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return written(tmp_path / "in" / "town.osm")


def test_bounds_are_turned_into_the_direction_of_travel(tmp_path: Path) -> None:
    lane = feature(read_map(written(tmp_path / "town.osm"))[0], "200")
    assert lane.left is not None
    assert lane.right is not None
    np.testing.assert_array_equal(lane.left, [[0, 4, 1.5], [50, 4, 1.5]])
    np.testing.assert_array_equal(lane.right, [[0, 0, 1.5], [20, 0, 1.5], [50, 0, 1.5]])
    np.testing.assert_allclose(lane.points, [[0, 2, 1.5], [20, 2, 1.5], [50, 2, 1.5]])
    assert lane.has_z


def test_lanes_areas_and_lines(tmp_path: Path) -> None:
    road, _ = read_map(written(tmp_path / "town.osm"))
    assert Counter(f.layer for f in road.features) == {
        MapLayer.LANE: 5, MapLayer.CROSSWALK: 1, MapLayer.PARKING: 2, MapLayer.ROAD_LINE: 4,
        MapLayer.ROAD_EDGE: 2, MapLayer.STOP_LINE: 3, MapLayer.TRAFFIC_LIGHT: 1,
        MapLayer.STOP_SIGN: 1, MapLayer.OTHER: 1,
    }  # fmt: skip
    assert [feature(road, i).lane_type for i in ("200", "202", "203")] == [
        LaneType.VEHICLE, LaneType.BUS, LaneType.BIKE,
    ]  # fmt: skip
    assert feature(road, "105").source_type == "line_thin solid color=yellow"
    assert feature(road, "124").source_type == "traffic_sign de206"
    np.testing.assert_allclose(feature(road, "124").points, [[38, -3.5, 1.5]])
    assert len(feature(road, "205").points) >= 4
    space = feature(road, "142").points[:, :2]
    np.testing.assert_allclose(sorted(map(tuple, space.tolist())),
                               [(78.5, 20), (78.5, 26), (81.5, 20), (81.5, 26)])  # fmt: skip
    assert feature(road, "201").in_intersection is True
    assert feature(road, "200").in_intersection is False


def test_lane_graph(tmp_path: Path) -> None:
    road, notes = read_map(written(tmp_path / "town.osm"))
    assert edges(road, EdgeKind.SUCCESSOR) == {("200", "201")}
    assert edges(road, EdgeKind.PREDECESSOR) == {("201", "200")}
    assert edges(road, EdgeKind.LEFT) == {("200", "202"), ("202", "203~")}
    assert edges(road, EdgeKind.RIGHT) == {("202", "200"), ("203~", "202")}
    against, along = feature(road, "203~"), feature(road, "203")
    np.testing.assert_array_equal(against.points, along.points[::-1])
    assert any(note.kind == "renamed" and "two-way" in note.reason for note in notes)
    assert any("opposite direction" in note.reason and note.count == 2 for note in notes)


def test_regulatory_elements(tmp_path: Path) -> None:
    loaded = load(written(tmp_path / "town.osm"))
    assert edges(loaded.map, EdgeKind.CROSSWALK_OVER_LANE) == {("204", "200")}
    stated = {("122", "200"), ("124", "200"), ("126", "202")}
    assert edges(loaded.map, EdgeKind.STOP_LINE_OF_LANE) == stated
    found = edges(with_graph(loaded.map), EdgeKind.STOP_LINE_OF_LANE)
    assert found == {*stated, ("125", "201")}
    rules = loaded.extra["regulatory_elements"]
    assert rules["301"] == {
        "type": "regulatory_element", "subtype": "traffic_light", "lanelets": ["200"],
        "refers": ["123"], "ref_line": ["122"],
    }  # fmt: skip
    assert rules["305"]["yield"] == ["202"]


def test_speed_limits(tmp_path: Path) -> None:
    road, _ = read_map(written(tmp_path / "town.osm"))
    assert feature(road, "200").speed_limit == pytest.approx(40 / 3.6)  # the rule's is lower
    assert feature(road, "201").speed_limit == pytest.approx(30 * 0.44704)
    assert feature(road, "202").speed_limit is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("36", 10.0), ("36 km/h", 10.0), ("10 m/s", 10.0), ("10mph", 4.4704), ("", None), ("none", None),
     ("-5", None), ("0", None), ("50 furlongs", None), ("nan", None), ("1e999", None)],
)  # fmt: skip
def test_speeds(text: str, expected: float | None) -> None:
    assert metres_per_second(text, default="km/h") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("subtype", "kmh"), [("de274-60", 60), ("de274_1", 30), ("de274.1", 30), ("de205", None)]
)
def test_speed_signs(subtype: str, kmh: float | None) -> None:
    limit = lanelet2._limit_of_sign(subtype)
    assert limit == pytest.approx(None if kmh is None else kmh / 3.6)


def test_coordinates_as_attributes(tmp_path: Path) -> None:
    local, _ = read_map(written(tmp_path / "town.osm"))
    plane, _ = read_map(written(tmp_path / "town.osm_xy", how="plane"))
    for one, two in zip(local.features, plane.features, strict=True):
        np.testing.assert_array_equal(one.points[:, :2], two.points[:, :2])
    assert not plane.features[0].has_z


def test_latitudes_become_utm(tmp_path: Path) -> None:
    path = written(tmp_path / "town.osm", how="globe")
    loaded = load(path)
    assert loaded.epsg == 32632
    lane = feature(loaded.map, "200")
    np.testing.assert_allclose(lane.points[:, :2] - FAR, [[0, 2], [20, 2], [50, 2]], atol=1e-4)
    moved, _ = read_map(path, offset=(FAR[0], FAR[1]))
    np.testing.assert_allclose(feature(moved, "200").points[0, :2], [0, 2], atol=1e-4)
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(*FAR)
    from_origin = load(path, origin=(lat, lon))
    assert from_origin.epsg is None
    assert from_origin.extra["frame"]["utm_offset"] == pytest.approx(FAR.tolist(), abs=1e-3)
    np.testing.assert_allclose(feature(from_origin.map, "200").points[0, :2], [0, 2], atol=1e-3)


def test_maps_around_zero_count_from_there(tmp_path: Path) -> None:
    text = document(how="globe")
    for name, (x, y) in NODES.items():
        start = text.index(f'<node id="{name}"')
        end = text.index("/>", start)
        lat, lon = y / 110574.0, x / 111320.0
        text = f'{text[:start]}<node id="{name}" lat="{lat:.12f}" lon="{lon:.12f}"{text[end:]}'
    (tmp_path / "zero.osm").write_text(text)
    loaded = load(tmp_path / "zero.osm")
    begin = feature(loaded.map, "201").points[-1, :2]
    np.testing.assert_allclose(begin, [100, 2], atol=0.2)
    assert loaded.epsg is None
    assert any(note.kind == "guessed" and "0°" in note.reason for note in loaded.notes)


@pytest.mark.parametrize(
    ("lat", "lon", "epsg"),
    [(49.0, 8.4, 32632), (-33.0, 151.0, 32756), (60.0, 5.0, 32632), (78.0, 15.0, 32633),
     (0.0, 179.99, 32660), (0.0, 180.0, 32601), (0.0, -180.0, 32601)],
)  # fmt: skip
def test_utm_zones(lat: float, lon: float, epsg: int) -> None:
    assert utm_epsg(lat, lon) == epsg


def test_lanes_follow_where_their_ends_meet(tmp_path: Path) -> None:
    """Nodes of their own in one place are no shared nodes, but the lane goes on."""
    text = document().replace(
        '<way id="103"><nd ref="2"/>', '<way id="103"><nd ref="2b"/>'
    ).replace(
        '<node id="3"',
        '<node id="2b" lat="" lon=""><tag k="local_x" v="50"/><tag k="local_y" v="4"/>'
        '<tag k="ele" v="1.5"/></node><node id="3"',
    )  # fmt: skip
    (tmp_path / "town.osm").write_text(text)
    road, notes = read_map(tmp_path / "town.osm")
    assert ("200", "201") in edges(road, EdgeKind.SUCCESSOR)
    assert any("separate nodes" in note.reason for note in notes)


def test_broken_elements_are_noted(tmp_path: Path) -> None:
    changes = (
        '<way id="900"><nd ref="404"/></way><node id="1"/>'
        '<relation id="901"><member type="way" ref="902" role="left"/>'
        '<member type="way" ref="101" role="right"/><tag k="type" v="lanelet"/></relation>'
        '<relation id="903" action="delete"><tag k="type" v="lanelet"/></relation>'
        '<node id="905" lat="nan" lon="inf"/>'
    )
    road, notes = read_map(written(tmp_path / "town.osm", changes=changes))
    assert len(road.of_layer(MapLayer.LANE)) == 5
    reasons = {note.reason: note.count for note in notes if note.kind == "dropped"}
    for said in (
        "lanelets without two bounds of two points", "elements that are marked as deleted",
        "elements whose id another bears already", "ways without points",
        "nodes without usable coordinates", "members of relations that are not there",
    ):  # fmt: skip
        assert said in reasons


def test_plain_openstreetmap_is_refused(tmp_path: Path) -> None:
    (tmp_path / "street.osm").write_text("<osm version='0.6'><node id='1' lat='1' lon='2'/></osm>")
    with pytest.raises(UnreadableFile, match="no lanelets"):
        list(lanelet2.read(tmp_path / "street.osm"))


STREET = "<osm version='0.6'><node id='1' lat='1' lon='2'/>"


@pytest.mark.parametrize(
    ("content", "ours"),
    [
        (f"{STREET}</osm>", False),
        (f"{STREET}<way id='2'><tag k='name' v='Rue du lanelet'/></way></osm>", False),
        (STREET + "<relation id='3'><tag v = 'lanelet' k = 'type' /></relation></osm>", True),
        (STREET + " " * 5000 + '<relation id="3"><tag k="type" v="lanelet"/></relation>', True),
        (STREET, False),
        ("<html>lanelet</html>", False),
    ],
)
def test_only_data_with_lanelets_is_ours(tmp_path: Path, content: str, ours: bool) -> None:
    path = tmp_path / "street.osm"
    path.write_text(content)
    assert list(lanelet2.sources(tmp_path)) == [path] * ours


def test_a_lanelet_across_two_chunks_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "town.osm")
    for size in (300, 301, 350, 1000):
        monkeypatch.setattr(lanelet2, "CHUNK_BYTES", size)
        assert list(lanelet2.sources(tmp_path)) == [path]


def test_a_map_that_is_cut_off_is_taken_beside_others(tmp_path: Path) -> None:
    whole, cut = written(tmp_path / "a.osm"), tmp_path / "b.osm"
    cut.write_text(STREET)
    assert list(lanelet2.sources(tmp_path)) == [whole, cut]


@pytest.mark.parametrize("content", ["<osm", "<html/>", "\x00", "<osm></osm>"])
def test_other_content_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "street.osm").write_text(content)
    with pytest.raises(UnreadableFile, match="street"):
        list(lanelet2.read(tmp_path / "street.osm"))


def test_no_node_anywhere(tmp_path: Path) -> None:
    (tmp_path / "a.osm").write_text(
        '<osm><relation id="1"><tag k="type" v="lanelet"/></relation></osm>'
    )
    with pytest.raises(UnreadableFile, match="no node"):
        list(lanelet2.read(tmp_path / "a.osm"))


def test_packed_files(tmp_path: Path) -> None:
    path = tmp_path / "town.osm.gz"
    path.write_bytes(gzip.compress(document().encode()))
    assert list(lanelet2.sources(tmp_path)) == [path]
    (log,) = lanelet2.read(path)
    assert isinstance(log, Log)
    assert log.map.source_map_id == "town"


def test_maps_of_recordings_are_left_to_their_reader(tmp_path: Path) -> None:
    path = written(tmp_path / "scene" / "map" / "lanelet2_map.osm")
    (tmp_path / "scene" / "annotation").mkdir()
    assert list(lanelet2.sources(tmp_path)) == []
    assert list(lanelet2.sources(path)) == [path]


REAL = os.environ.get("SCENELAKE_REAL_DATA")


@pytest.mark.skipif(not REAL, reason="SCENELAKE_REAL_DATA is not set")
def test_real_map() -> None:
    path = Path(str(REAL)) / "t4dataset/t4dataset/map/lanelet2_map.osm"
    (log,) = lanelet2.read(path)
    assert isinstance(log, Log)
    check_log(log)
    assert Counter(f.layer for f in log.map.features) == {MapLayer.LANE: 2, MapLayer.ROAD_EDGE: 6}
    lane = feature(log.map, "1000")
    assert lane.speed_limit == pytest.approx(50 / 3.6)
    np.testing.assert_allclose(lane.points, [[0, 0, 10.5], [100, 0, 10.7], [200, 0, 10.9]])
