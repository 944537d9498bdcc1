"""The nuScenes map expansion to a road map."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats.nuscenes_map import SPACING, follow, read_map
from geometry.polylines import arc_length
from schemas.errors import UnreadableFile
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import MapFeature, RoadMap
from tests.builders import with_graph
from tests.formats.nuscenes_files import make_map, write_json


@pytest.fixture
def road(tmp_path: Path) -> RoadMap:
    return read(tmp_path, make_map())[0]


def read(folder: Path, content: dict[str, Any]) -> tuple[RoadMap, dict[str, int]]:
    write_json(folder / "boston-seaport.json", content)
    road, notes = read_map(folder / "boston-seaport.json")
    return road, {note.reason: note.count for note in notes}


def named(road: RoadMap, name: str) -> MapFeature:
    (found,) = (f for f in road.features if f.source_id == name)
    return found


def linked(road: RoadMap, name: str, kind: EdgeKind) -> list[str]:
    ids = road.neighbours(named(road, name).feature_id, kind)
    return sorted(road.features[i].source_id for i in ids)


class TestArcLines:
    def test_published_poses_meet(self) -> None:
        """Two paths of singapore-onenorth, as published: each ends where it says."""
        paths: list[dict[str, Any]] = [
            {
                "start_pose": [784.4807911377701, 1889.4182732702996, 0.23426813461523752],
                "end_pose": [804.6818385337588, 1891.580100889031, -0.03626940290556443],
                "shape": "RSR", "radius": 71.1115664877138,
                "segment_length": [0.00016042214627488553, 1.146545252879975, 19.238187664686603],
            },
            {
                "start_pose": [804.6818385337588, 1891.580100889031, -0.03626940290556443],
                "end_pose": [810.6731869344062, 1891.0965872766553, -0.12464973712793109],
                "shape": "RSR", "radius": 67.9285431418773,
                "segment_length": [6.001598757692033, 0.009242372903952889, 0.0019485884255349205],
            },
        ]  # fmt: skip
        for path in paths:
            points = follow([path])
            np.testing.assert_allclose(points[0], path["start_pose"][:2])
            np.testing.assert_allclose(points[-1], path["end_pose"][:2], atol=1e-6)
        points = follow(paths)
        steps = np.hypot(*np.diff(points, axis=0).T)
        assert steps.max() <= SPACING + 1e-9
        assert steps.min() >= 0.01
        told = sum(sum(path["segment_length"]) for path in paths)
        assert abs(arc_length(points)[-1] - told) < 0.01

    @pytest.mark.parametrize(("letter", "side"), [("L", 1.0), ("R", -1.0)])
    def test_a_circle(self, letter: str, side: float) -> None:
        path = {
            "start_pose": [0.0, 0.0, 0.0], "shape": f"{letter}S{letter}", "radius": 8.0,
            "segment_length": [4.0 * math.pi, 0.0, 4.0 * math.pi],
        }  # fmt: skip
        points = follow([path])
        np.testing.assert_allclose(np.hypot(points[:, 0], points[:, 1] - side * 8.0), 8.0)
        np.testing.assert_allclose(points[-1], [0.0, side * 16.0], atol=1e-9)

    def test_a_straight_line(self) -> None:
        path = {"start_pose": [1.0, 2.0, math.pi / 2], "shape": "LSR", "radius": 5.0,
                "segment_length": [0.0, 3.0, 0.0]}  # fmt: skip
        expected = [[1.0, 2.0], [1.0, 3.0], [1.0, 4.0], [1.0, 5.0]]
        np.testing.assert_allclose(follow([path]), expected, atol=1e-12)


class TestLanes:
    def test_have_centre_and_sides(self, road: RoadMap) -> None:
        lane = named(road, "right")
        assert lane.layer is MapLayer.LANE
        assert lane.lane_type is LaneType.VEHICLE
        assert lane.source_type == "lane CAR"
        assert lane.in_intersection is False
        assert not lane.has_z
        np.testing.assert_allclose(lane.points[[0, -1], :2], [[100.0, 200.0], [150.0, 200.0]])
        assert lane.left is not None
        assert lane.right is not None
        np.testing.assert_array_equal(lane.left[:, 0], [100.0, 125.0, 150.0])
        np.testing.assert_array_equal(lane.left[:, 1], 201.75)
        np.testing.assert_array_equal(lane.right[:, 1], 198.25)

    def test_a_connector_turns(self, road: RoadMap) -> None:
        turn = named(road, "turn")
        assert turn.in_intersection is True
        assert turn.source_type == "lane_connector"
        assert turn.left is turn.right is None
        np.testing.assert_allclose(turn.points[-1, :2], [160.0, 213.5], atol=1e-9)
        radii = np.hypot(turn.points[:, 0] - 150.0, turn.points[:, 1] - 213.5)
        np.testing.assert_allclose(radii, 10.0)

    def test_are_linked(self, road: RoadMap) -> None:
        assert linked(road, "left", EdgeKind.SUCCESSOR) == ["turn"]
        assert linked(road, "turn", EdgeKind.PREDECESSOR) == ["left"]
        assert linked(road, "right", EdgeKind.LEFT) == ["left"]
        assert linked(road, "left", EdgeKind.RIGHT) == ["right"]
        assert linked(road, "left", EdgeKind.LEFT) == []

    def test_links_to_nowhere_are_noted(self, tmp_path: Path) -> None:
        _, notes = read(tmp_path, make_map())
        assert notes["links from or to lanes that the map lacks"] == 1

    def test_without_a_path_run_between_their_sides(self, tmp_path: Path) -> None:
        content = make_map()
        del content["arcline_path_3"]["right"]
        road, notes = read(tmp_path, content)
        lane = named(road, "right")
        np.testing.assert_allclose(lane.points[:, 1], 200.0)
        np.testing.assert_allclose(lane.points[[0, -1], 0], [100.0, 150.0])
        assert notes["lanes without a usable arc-line path run between their sides"] == 1

    def test_without_any_line_are_dropped(self, tmp_path: Path) -> None:
        content = make_map()
        content["arcline_path_3"]["turn"] = [{"shape": "XYZ"}]
        road, notes = read(tmp_path, content)
        assert "turn" not in {f.source_id for f in road.features}
        assert notes["lane_connectors without a usable centre line"] == 1


class TestOtherFeatures:
    def test_every_layer_is_there(self, road: RoadMap) -> None:
        expected = {
            "zebra": (MapLayer.CROSSWALK, "ped_crossing"),
            "path": (MapLayer.WALKWAY, "walkway"),
            "lot": (MapLayer.PARKING, "carpark_area orientation 0.361"),
            "road": (MapLayer.OTHER, "road_segment"),
            "block": (MapLayer.OTHER, "road_block"),
            "junction": (MapLayer.INTERSECTION, "road_segment"),
            "halt": (MapLayer.STOP_LINE, "stop_line TRAFFIC_LIGHT"),
            "yield": (MapLayer.STOP_LINE, "stop_line YIELD"),
            "median": (MapLayer.ROAD_LINE, "road_divider"),
            "tarmac:0": (MapLayer.DRIVABLE_AREA, "drivable_area"),
            "tarmac:1": (MapLayer.DRIVABLE_AREA, "drivable_area"),
            "tarmac:0:hole0": (MapLayer.ROAD_EDGE, "drivable_area hole"),
            "lamp": (MapLayer.TRAFFIC_LIGHT, "traffic_light VERTICAL RED:CIRCLE GREEN:CIRCLE"),
        }
        for name, (layer, word) in expected.items():
            feature = named(road, name)
            assert (feature.layer, feature.source_type) == (layer, word), name

    def test_outlines_drawn_as_lines_are_closed(self, road: RoadMap) -> None:
        for name in ("halt", "road", "tarmac:0:hole0"):
            points = named(road, name).points
            assert len(points) == 5
            np.testing.assert_array_equal(points[0], points[-1])
        assert len(named(road, "zebra").points) == 4

    def test_paint_is_kept_once_by_its_kind(self, road: RoadMap) -> None:
        paint = [f for f in road.of_layer(MapLayer.ROAD_LINE) if f.source_id != "median"]
        assert [(f.source_id, f.source_type) for f in paint] == [
            ("paint", "lane_divider SINGLE_SOLID_WHITE"),
            ("paint:1", "lane_divider DOUBLE_DASHED_WHITE"),
        ]
        np.testing.assert_array_equal(paint[0].points[:, 0], [100.0, 125.0])
        np.testing.assert_array_equal(paint[1].points[:, 0], [125.0, 150.0])

    def test_traffic_lights_hang_at_their_pose_or_line(self, road: RoadMap) -> None:
        np.testing.assert_array_equal(named(road, "lamp").points, [[165.0, 200.0, 2.4]])
        assert named(road, "lamp").has_z
        np.testing.assert_array_equal(named(road, "unposed").points[:, :2], [[167.0, 200.0]])
        assert not named(road, "unposed").has_z

    def test_stop_lines_belong_to_the_lanes_of_their_block(self, road: RoadMap) -> None:
        assert linked(road, "halt", EdgeKind.STOP_LINE_OF_LANE) == ["left", "right"]
        assert linked(road, "yield", EdgeKind.STOP_LINE_OF_LANE) == ["turn"]

    def test_crosswalks_lie_over_lanes(self, road: RoadMap) -> None:
        assert linked(with_graph(road), "zebra", EdgeKind.CROSSWALK_OVER_LANE) == ["left", "right"]

    def test_outlines_of_nodes_that_are_not_there(self, tmp_path: Path) -> None:
        content = make_map()
        polygon = next(r for r in content["walkway"])["polygon_token"]
        for row in content["polygon"]:
            if row["token"] == polygon:
                row["exterior_node_tokens"] = ["x", "y", "z"]
        road, notes = read(tmp_path, content)
        assert not road.of_layer(MapLayer.WALKWAY)
        assert notes["walkways without a usable polygon"] == 1

    def test_nodes_that_are_not_finite(self, tmp_path: Path) -> None:
        content = make_map()
        content["node"][0]["x"] = math.nan
        road, _ = read(tmp_path, content)
        assert all(np.isfinite(f.points).all() for f in road.features)


class TestBadInput:
    @pytest.mark.parametrize("name", ["node", "polygon", "lane", "stop_line"])
    def test_a_missing_layer_is_named(self, tmp_path: Path, name: str) -> None:
        content = make_map()
        del content[name]
        with pytest.raises(UnreadableFile, match=f"no {name}"):
            read(tmp_path, content)

    @pytest.mark.parametrize("content", ["[]", "3", '{"node": 3}', "{"])
    def test_what_is_no_map(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "boston-seaport.json"
        path.write_text(content)
        with pytest.raises(UnreadableFile, match="boston-seaport"):
            read_map(path)

    def test_records_of_another_shape(self, tmp_path: Path) -> None:
        content = make_map()
        content["node"] = [{"token": "a"}]
        (tmp_path / "m.json").write_text(json.dumps(content))
        with pytest.raises(UnreadableFile, match="KeyError"):
            read_map(tmp_path / "m.json")

    def test_an_older_version_without_paths(self, tmp_path: Path) -> None:
        content = make_map()
        for name in ("arcline_path_3", "connectivity", "lane_connector", "version"):
            del content[name]
        road, _ = read(tmp_path, content)
        assert {f.source_id for f in road.of_layer(MapLayer.LANE)} == {"left", "right"}
