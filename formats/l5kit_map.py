"""The semantic map of the Woven/Lyft L5 prediction dataset, a protobuf ``MapFragment``.

Lanes and traffic control elements are polylines of centimetre steps in a local frame at a place
given by latitude and longitude; ``meta.json`` beside the map says where the dataset's world lies on
the earth (``world_to_ecef``), hence

    world = world_from_ecef · ecef_from_local · Σ steps

Lanes have boundaries only: their centre lines are made half way between (a note says so), and run
towards the lanes ahead of them. Kept: lanes with boundaries, access, speed limit of their road
segment, whether they are part of a junction; the kinds of painted and built dividers as lines of
their own; traffic control elements of all kinds; the graph (ahead, lane changes, controls, lanes to
yield to). Left out, by number in a note: road segments, nodes, junctions, turn restrictions, shapes,
which have no geometry in lanes; conditions by time of day.

Source: ``road_network.proto`` and ``map_api.py`` of github.com/woven-planet/l5kit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from jaxtyping import Float

from formats.files import read_bytes, read_json
from formats.map_draft import MapDraft
from formats.protos import message_classes
from formats.tally import Tally
from geometry.arrays import Array
from geometry.earth import ecef_from_enu
from geometry.polylines import arc_length, at, project, resample, without_repeats
from schemas.errors import UnreadableFile
from schemas.labels import EdgeKind, LaneType, LightState, MapLayer
from schemas.records import RoadMap

CM = 0.01
E7_DEGREES = 1e-7
SHORTEST_LINE_M = 0.01  # a stretch of divider below this is none

LOST_LINKS = "links to elements that are not in the map"

ACCESS = ("UNKNOWN", "NO_RESTRICTION", "ONLY_HOV", "ONLY_BUS", "ONLY_BIKE", "ONLY_TURN")
LANE_TYPES = {3: LaneType.BUS, 4: LaneType.BIKE}
TURNS = ("UNKNOWN", "THROUGH", "LEFT", "SHARP_LEFT", "RIGHT", "SHARP_RIGHT", "U_TURN")
BACKWARD = 3  # of a lane's orientation in its segment
DIVIDERS = (
    "UNKNOWN", "NONE", "SINGLE_YELLOW_SOLID", "SINGLE_WHITE_SOLID", "SINGLE_YELLOW_DASHED",
    "SINGLE_WHITE_DASHED", "DOUBLE_YELLOW_SOLID", "DOUBLE_WHITE_SOLID",
    "DOUBLE_YELLOW_SOLID_FAR_DASHED_NEAR", "DOUBLE_YELLOW_DASHED_FAR_SOLID_NEAR", "CURB_RED",
    "CURB_YELLOW", "CURB",
)  # fmt: skip
CONTROLS = {
    7: "stop_sign", 8: "yield_sign", 9: "signal_flashing_yellow", 10: "signal_flashing_red",
    11: "signal_red_face", 12: "signal_yellow_face", 13: "signal_green_face", 15: "speed_bump",
    16: "pedestrian_crosswalk", 17: "keep_clear_zone", 18: "pedestrian_crossing_sign",
    19: "signal_ahead_sign", 20: "no_left_turn_sign", 21: "no_right_turn_sign",
    22: "left_turn_yield_on_green_sign", 23: "no_parking_sign", 24: "one_way_sign",
    25: "school_zone_sign", 27: "speed_bump_sign", 29: "traffic_light",
    30: "signal_left_arrow_red_face", 31: "signal_left_arrow_green_face",
    32: "signal_right_arrow_red_face", 33: "signal_right_arrow_green_face", 34: "speed_hump",
    35: "parking_zone", 36: "signal_left_arrow_yellow_face",
    37: "signal_right_arrow_yellow_face", 38: "signal_upper_left_arrow_red_face",
    39: "signal_upper_left_arrow_yellow_face", 40: "signal_upper_left_arrow_green_face",
    41: "signal_upper_right_arrow_red_face", 42: "signal_upper_right_arrow_yellow_face",
    43: "signal_upper_right_arrow_green_face", 44: "signal_red_u_turn",
    45: "signal_yellow_u_turn", 46: "signal_green_u_turn", 47: "stop_line",
    49: "construction_zone", 50: "stop_here_for_pedestrians_sign",
    51: "state_law_stop_for_pedestrian_in_crosswalk_sign",
    52: "yield_here_for_pedestrians_sign", 53: "turning_vehicles_yield_to_pedestrians_sign",
    54: "state_law_yield_for_pedestrian_sign", 55: "railroad_crossing_regulatory_sign",
    56: "railroad_crossing_warning_sign", 57: "railroad_crossing_other_sign",
    58: "roundabout_circulation_sign", 59: "roundabout_directional_sign",
    60: "roundabout_other_sign", 61: "no_left_turn_on_red_sign", 62: "no_right_turn_on_red_sign",
    63: "no_turn_on_red_sign", 64: "do_not_enter_sign", 65: "no_u_turn_sign",
    66: "no_left_and_u_turn_sign", 67: "no_straight_through_sign", 68: "left_turn_only_sign",
    69: "right_turn_only_sign", 70: "u_turn_only_sign", 71: "straight_through_only_sign",
    72: "other_turn_restriction_sign", 73: "construction_zone_sign",
}  # fmt: skip
"""Kind of a traffic control element by the field that it has."""
LAYERS = {
    "stop_sign": MapLayer.STOP_SIGN,
    "stop_line": MapLayer.STOP_LINE,
    "pedestrian_crosswalk": MapLayer.CROSSWALK,
    "speed_bump": MapLayer.SPEED_BUMP,
    "speed_hump": MapLayer.SPEED_BUMP,
    "parking_zone": MapLayer.PARKING,
}
POINT_LAYERS = (MapLayer.STOP_SIGN, MapLayer.SIGN, MapLayer.TRAFFIC_LIGHT)
STOPS = ("stop_sign", "stop_line", "yield_sign")

SCHEMA = (
    """
message GlobalId
    1 id bytes
message GeoLocation
    1 lat_e7 sfixed32       2 lng_e7 sfixed32       3 altitude_cm sint32
message GeoFrame
    1 origin GeoLocation    2 bearing_degrees float
message Kind
message Boundary
    1 x_cm sint32* packed   2 y_cm sint32* packed   3 z_cm sint32* packed
    4 divider_type int32* packed                    5 type_change_point_cm int32* packed
message AccessRestriction
    1 type int32
message Lane
    1 parent GlobalId       2 geo_frame GeoFrame
    3 left_boundary Boundary                        4 right_boundary Boundary
    5 lanes_ahead GlobalId* 6 change_left GlobalId  7 change_right GlobalId
    8 traffic_controls GlobalId*                    9 yield_to_lanes GlobalId*
    10 can_have_parked_cars bool                    11 access AccessRestriction
    12 orientation int32    13 turn int32
message Segment
    9 speed_limit float     10 backward_speed_limit float
message Junction
    3 lanes GlobalId*
message Control
    2 geo_frame GeoFrame
    3 x_cm sint32* packed   4 y_cm sint32* packed   5 z_cm sint32* packed
"""
    + "".join(f"    {number} {name} Kind\n" for number, name in CONTROLS.items())
    + """
message Element
    1 segment Segment       3 lane Lane             4 control Control       5 junction Junction
message MapElement
    1 id GlobalId           2 element Element
message MapFragment
    1 name string           2 elements MapElement*
"""
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SemanticMap:
    """A map, and what signals of it mean.

    Attributes:
        road_map: Features and graph, in the world frame.
        faces: Kind of each traffic light face by id, such as ``signal_red_face``.
        lanes_of_face: Ids of the lanes that a face controls.
        places: Where each face hangs, world frame [m].
        tally: What was dropped or guessed.
    """

    road_map: RoadMap
    faces: Mapping[str, str] = field(default_factory=dict)
    lanes_of_face: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    places: Mapping[str, Float[Array, "3"]] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)


def face_meaning(kind: str) -> tuple[LightState, bool, bool]:
    """What a lit face shows, whether an arrow, whether flashing."""
    colour = next(
        (c for c in (LightState.RED, LightState.YELLOW, LightState.GREEN) if c.word in kind),
        LightState.UNKNOWN,
    )
    return colour, "arrow" in kind or "u_turn" in kind, "flashing" in kind


def read_map(path: Path, meta: Path) -> SemanticMap:
    """The map of a file in the world frame that ``meta.json`` defines.

    Raises:
        UnreadableFile: Either is broken or not what it should be.
    """
    world_from_ecef = _world_from_ecef(meta)
    fragment = _classes()["MapFragment"]()
    try:
        fragment.ParseFromString(read_bytes(path))
    except DecodeError as error:
        raise UnreadableFile(path, "is no semantic map", hint="Fetch the file again.") from error
    if not fragment.elements:
        raise UnreadableFile(path, "is a semantic map without elements")
    return _Reader(fragment, world_from_ecef).read()


def _world_from_ecef(meta: Path) -> Float[Array, "4 4"]:
    told = read_json(meta)
    try:
        world_to_ecef = np.array(told["world_to_ecef"], dtype=np.float64)
        if world_to_ecef.shape != (4, 4) or not np.isfinite(world_to_ecef).all():
            raise ValueError("no 4 × 4 matrix")
        return np.linalg.inv(world_to_ecef)
    except (KeyError, TypeError, ValueError, np.linalg.LinAlgError) as error:
        reason = f"does not say where the world lies (world_to_ecef: {error})"
        raise UnreadableFile(meta, reason) from error


@cache
def _classes() -> dict[str, Any]:
    return message_classes(SCHEMA, package="scenelake.l5kit")


def _name(identifier: Any) -> str:
    return str(identifier.id.decode("utf-8", errors="backslashreplace"))


@dataclass(slots=True, eq=False)
class _LaneShape:
    left: Float[Array, "left 3"]
    right: Float[Array, "right 3"]
    centre: Float[Array, "points 3"]


class _Reader:
    def __init__(self, fragment: Any, world_from_ecef: Float[Array, "4 4"]) -> None:
        self._fragment = fragment
        self._world_from_ecef = world_from_ecef
        self._tally = Tally()
        self._draft = MapDraft(self._tally)

    def read(self) -> SemanticMap:
        elements = {_name(e.id): e.element for e in self._fragment.elements}
        repeated = len(self._fragment.elements) - len(elements)
        self._tally.add("dropped", "map elements whose id another bears already", repeated)
        shapes = dict(self._lane_shapes(elements))
        self._set_directions(elements, shapes)
        index = {name: self._add_lane(name, elements, shape) for name, shape in shapes.items()}
        faces, places = self._add_controls(elements, index)
        for name in shapes:
            self._add_edges(name, elements[name].lane, index, elements)
        other = sum(not (e.HasField("lane") or e.HasField("control")) for e in elements.values())
        reason = "map elements without lanes' geometry (road segments, nodes, junctions, shapes)"
        self._tally.add("dropped", reason, other)
        lanes_of: dict[str, list[str]] = {}
        for name in shapes:
            for control in elements[name].lane.traffic_controls:
                if _name(control) in faces:
                    lanes_of.setdefault(_name(control), []).append(name)
        source = self._fragment.name or "semantic_map"
        return SemanticMap(
            road_map=self._draft.road_map(f"l5kit {source}"),
            faces=faces,
            lanes_of_face={face: tuple(lanes) for face, lanes in lanes_of.items()},
            places=places,
            tally=self._tally,
        )

    def _points(self, body: Any, frame: Any) -> Float[Array, "points 3"]:
        """Steps in centimetres as points in the world; none where the steps do not fit."""
        steps = [np.asarray(column, dtype=np.float64) for column in (body.x_cm, body.y_cm)]
        z = np.asarray(body.z_cm, dtype=np.float64)
        steps.append(z if len(z) else np.zeros(len(steps[0])))
        if len({len(column) for column in steps}) > 1 or not len(steps[0]):
            return np.zeros((0, 3))
        local = np.cumsum(np.stack(steps, axis=1), axis=0) * CM
        return self._in_world(local, frame)

    def _in_world(self, local: Float[Array, "points 3"], frame: Any) -> Float[Array, "points 3"]:
        origin = frame.origin
        ecef_from_local = ecef_from_enu(
            np.radians(origin.lat_e7 * E7_DEGREES),
            np.radians(origin.lng_e7 * E7_DEGREES),
            origin.altitude_cm * CM,
            bearing=np.radians(frame.bearing_degrees),
        )
        matrix = self._world_from_ecef
        return ecef_from_local.apply(local) @ matrix[:3, :3].T + matrix[:3, 3]

    def _lane_shapes(self, elements: Mapping[str, Any]) -> Iterator[tuple[str, _LaneShape]]:
        for name, element in elements.items():
            if not element.HasField("lane"):
                continue
            lane = element.lane
            sides = [
                without_repeats(self._points(side, lane.geo_frame))
                for side in (lane.left_boundary, lane.right_boundary)
            ]
            if (
                min(len(side) for side in sides) < 2
                or not np.isfinite(np.concatenate(sides)).all()
            ):
                self._tally.add("dropped", "lanes without two boundaries of two points")
                continue
            count = max(len(side) for side in sides)
            left, right = sides
            centre = (resample(left, count) + resample(right, count)) / 2.0
            yield name, _LaneShape(left, right, centre)
            self._tally.add("guessed", "centre lines are half way between the lanes' boundaries")

    def _set_directions(
        self, elements: Mapping[str, Any], shapes: Mapping[str, _LaneShape]
    ) -> None:
        """Turn lanes around whose points begin where the lanes ahead of them are."""
        turned = []
        for name, shape in shapes.items():
            lane = elements[name].lane
            ahead = [shapes[_name(to)].centre for to in lane.lanes_ahead if _name(to) in shapes]
            if not ahead:
                if lane.orientation == BACKWARD:
                    turned += [name] if self._backward_lanes_turn(elements, shapes) else []
                continue
            ends = np.concatenate([line[[0, -1]] for line in ahead])
            from_begin, from_end = (
                np.linalg.norm(ends - shape.centre[place], axis=1).min() for place in (0, -1)
            )
            if from_begin < from_end:
                turned.append(name)
        for name in turned:
            shape = shapes[name]
            shape.centre = shape.centre[::-1]
            shape.left, shape.right = shape.left[::-1], shape.right[::-1]
        self._tally.add("guessed", "lanes were turned towards the lanes ahead", len(turned))
        crossed = 0
        for shape in shapes.values():
            if project(shape.left[:, :2], shape.centre)[1].sum() < 0.0:
                shape.left, shape.right = shape.right, shape.left
                crossed += 1
        reason = "lanes' boundaries were told from the other side: left and right changed places"
        self._tally.add("renamed", reason, crossed)

    def _backward_lanes_turn(
        self, elements: Mapping[str, Any], shapes: Mapping[str, _LaneShape]
    ) -> bool:
        """Whether most backward lanes that have lanes ahead begin there."""
        votes = []
        for name, shape in shapes.items():
            lane = elements[name].lane
            if lane.orientation == BACKWARD:
                ends = [shapes[_name(to)].centre[[0, -1]] for to in lane.lanes_ahead
                        if _name(to) in shapes]  # fmt: skip
                if ends:
                    gaps = [np.linalg.norm(np.concatenate(ends) - shape.centre[p], axis=1).min()
                            for p in (0, -1)]  # fmt: skip
                    votes.append(gaps[0] < gaps[1])
        return sum(votes) * 2 > len(votes)

    def _add_lane(self, name: str, elements: Mapping[str, Any], shape: _LaneShape) -> int:
        lane = elements[name].lane
        parent = elements.get(_name(lane.parent))
        limit = None
        in_junction = None
        if parent is not None:
            in_junction = bool(parent.HasField("junction"))
            if parent.HasField("segment"):
                segment = parent.segment
                backward = lane.orientation == BACKWARD and segment.backward_speed_limit > 0.0
                limit = segment.backward_speed_limit if backward else segment.speed_limit
        access = _word(ACCESS, lane.access.type)
        turn = _word(TURNS, lane.turn)
        for side, boundary in (("left", lane.left_boundary), ("right", lane.right_boundary)):
            self._add_dividers(name, side, boundary, lane.geo_frame)
        return self._draft.add(
            MapLayer.LANE,
            name,
            shape.centre,
            left=shape.left,
            right=shape.right,
            lane_type=LANE_TYPES.get(lane.access.type, LaneType.VEHICLE),
            source_type=" ".join(word for word in (access, turn) if word != "UNKNOWN"),
            speed_limit=limit or None,
            in_intersection=in_junction,
        )

    def _add_dividers(self, name: str, side: str, boundary: Any, frame: Any) -> None:
        """What is painted or built along a boundary, a line each stretch of one kind."""
        line = without_repeats(self._points(boundary, frame))
        length = float(arc_length(line)[-1])
        changes = [change * CM for change in boundary.type_change_point_cm]
        kinds = list(boundary.divider_type)
        if len(changes) != max(len(kinds) - 1, 0):
            self._tally.add("dropped", "changes of divider that do not fit the dividers")
            changes, kinds = [], kinds[:1]
        limits = [0.0, *(min(max(change, 0.0), length) for change in changes), length]
        for number, kind in enumerate(kinds):
            word = _word(DIVIDERS, kind)
            begin, end = limits[number], limits[number + 1]
            if word in ("UNKNOWN", "NONE") or end - begin < SHORTEST_LINE_M:
                continue
            s = arc_length(line)
            inner = s[(s > begin) & (s < end)]
            self._draft.add(
                MapLayer.ROAD_EDGE if word.startswith("CURB") else MapLayer.ROAD_LINE,
                f"{name}/{side}" + (f"/{number}" if len(kinds) > 1 else ""),
                at(line, np.array([begin, *inner, end])),
                source_type=word,
            )

    def _add_controls(
        self, elements: Mapping[str, Any], index: dict[str, int]
    ) -> tuple[dict[str, str], dict[str, Array]]:
        """Traffic control elements; kinds and places of the faces among them."""
        faces: dict[str, str] = {}
        places: dict[str, Array] = {}
        for name, element in elements.items():
            if not element.HasField("control"):
                continue
            control = element.control
            kind = next((k for k in CONTROLS.values() if control.HasField(k)), "")
            layer = LAYERS.get(kind, MapLayer.OTHER)
            if kind == "traffic_light" or (
                kind.startswith("signal_") and not kind.endswith("sign")
            ):
                layer = MapLayer.TRAFFIC_LIGHT
            elif kind.endswith("_sign") and layer is MapLayer.OTHER:
                layer = MapLayer.SIGN
            points = self._points(control, control.geo_frame)
            if not len(points):
                if not control.HasField("geo_frame"):
                    self._tally.add("dropped", "traffic control elements without a place")
                    continue
                points = self._in_world(np.zeros((1, 3)), control.geo_frame)
            if not np.isfinite(points).all():
                self._tally.add("dropped", "traffic control elements without a finite place")
                continue
            if layer in POINT_LAYERS:
                points = points.mean(axis=0, keepdims=True)
            if layer is MapLayer.TRAFFIC_LIGHT and kind != "traffic_light":
                faces[name], places[name] = kind, points[0]
            index[name] = self._draft.add(layer, name, points, source_type=kind)
        return faces, places

    def _add_edges(
        self, name: str, lane: Any, index: Mapping[str, int], elements: Mapping[str, Any]
    ) -> None:
        here = index[name]
        for to in self._known(lane.lanes_ahead, index):
            self._draft.follow(here, to)
        for kind, wanted in ((EdgeKind.LEFT, "change_left"), (EdgeKind.RIGHT, "change_right")):
            if lane.HasField(wanted) and getattr(lane, wanted).id:
                for to in self._known([getattr(lane, wanted)], index):
                    self._draft.edge(here, kind, to)
        for to in self._known(lane.yield_to_lanes, index):
            self._draft.edge(here, EdgeKind.CONFLICT, to)
        for control in lane.traffic_controls:
            element = elements.get(_name(control))
            if element is None:
                self._tally.add("dropped", LOST_LINKS)
            elif any(element.control.HasField(stop) for stop in STOPS):
                for begin in self._known([control], index):
                    self._draft.edge(begin, EdgeKind.STOP_LINE_OF_LANE, here)

    def _known(self, wanted: Any, index: Mapping[str, int]) -> Iterator[int]:
        for identifier in wanted:
            name = _name(identifier)
            if name in index:
                yield index[name]
            elif name:
                self._tally.add("dropped", LOST_LINKS)


def _word(words: tuple[str, ...], number: int) -> str:
    return words[number] if 0 <= number < len(words) else str(number)
