"""The road of an ASAM OSI ground truth: lanes, their graph, boundaries, signs, markings, lights.

OSI knows two descriptions of one road. *Physical* lanes have a centre line and boundaries; *logical*
lanes have a reference line, types, and the better graph. Where a trace has logical lanes those become
the lanes of the map, and a physical lane only if no logical lane refers to it. Left, right, antecessor
and successor count in the order in which points are stored; here everything is turned into the
direction of travel. Which way a pairing leads is told by the ends that meet, because writers disagree
about the order for lanes that are driven against their points.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from formats.map_draft import MapDraft
from formats.osi_protos import (
    BOUNDARY_COLORS,
    BOUNDARY_TYPES,
    LANE_SUBTYPES,
    LANE_TYPES,
    LIGHT_COLORS,
    LIGHT_ICONS,
    MARKING_TYPES,
    SIGN_TYPES,
    STATIONARY_TYPES,
    word_of,
)
from formats.tally import Tally
from geometry.arrays import Array
from geometry.polylines import arc_length, resample
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import RoadMap

DRIVING, INTERSECTION = 2, 4  # of lane types
INCREASING_S, DECREASING_S, BOTH = 2, 3, 4  # of move directions
SIGN_GIVE_WAY, SIGN_STOP, SIGN_SPEED_LIMIT, SIGN_ZEBRA = 16, 17, 52, 87
PARTED_M = 5.0  # [m] ends of paired lanes this far apart do not meet

LANE_KINDS = {
    2: LaneType.VEHICLE, 3: LaneType.BIKE, 4: LaneType.SIDEWALK, 5: LaneType.OTHER,
    6: LaneType.SHOULDER, 7: LaneType.OTHER, 8: LaneType.SHOULDER, 9: LaneType.SHOULDER,
    10: LaneType.FREEWAY, 11: LaneType.FREEWAY, 12: LaneType.FREEWAY, 13: LaneType.FREEWAY,
    14: LaneType.FREEWAY, 15: LaneType.OTHER, 16: LaneType.OTHER, 17: LaneType.OTHER,
    18: LaneType.OTHER,
}  # fmt: skip
"""By subtype of physical and type of logical lanes; entries, exits and ramps belong to motorways."""

LINE_LAYERS = {
    2: MapLayer.OTHER,
    3: MapLayer.ROAD_LINE,
    4: MapLayer.ROAD_LINE,
    5: MapLayer.ROAD_LINE,
}
"""By type of boundary; from 6 on they are edges, and what is not known is taken for a line."""
FIRST_EDGE = 6

METRES_PER_SECOND = {3: 1 / 3.6, 4: 0.44704}
"""Units of a speed limit: kilometres and miles per hour."""


@dataclass(slots=True)
class _Way:
    """A lane that is a feature: its index, its points as driven, whether they were turned."""

    index: int
    points: Float[Array, "points 3"]
    turned: bool


class OsiMap:
    """The static parts of a ground truth as they come, a thing of one id once.

    Attributes:
        lane_names: Lanes of the map by OSI's id, physical or logical, for what is assigned to them.
    """

    KINDS = (
        "lane", "lane_boundary", "logical_lane", "logical_lane_boundary", "reference_line",
        "traffic_sign", "traffic_light", "road_marking", "stationary_object",
    )  # fmt: skip

    def __init__(self, tally: Tally) -> None:
        self.lane_names: dict[int, str] = {}
        self._tally = tally
        self._things: dict[str, dict[int, Any]] = {kind: {} for kind in self.KINDS}
        self._made: RoadMap | None = None

    def add(self, truth: Any) -> None:
        """What a ``GroundTruth`` message says about the road; late things are only counted."""
        for kind, known in self._things.items():
            for thing in getattr(truth, kind):
                key = thing.id.value
                if key in known:
                    continue
                if self._made is None:
                    known[key] = thing
                else:
                    reason = f"{kind.replace('_', ' ')}s told after the first part of the trace"
                    self._tally.add("dropped", reason)
                    known[key] = None

    def road_map(self, name: str) -> RoadMap:
        """The map; the same object whenever it is asked."""
        if self._made is None:
            self._made = self._make(name)
            for known in self._things.values():
                known.update(dict.fromkeys(known))  # the messages are of no further use
        return self._made

    def _make(self, name: str) -> RoadMap:
        draft = MapDraft(self._tally)
        ways = self._logical_lanes(draft)
        ways |= self._physical_lanes(draft)
        self._lines(draft)
        self._regulations(draft, ways)
        self._objects(draft)
        if not draft.features:
            return RoadMap.none()
        return draft.road_map(name)

    # ── Physical lanes ──

    def _physical_lanes(self, draft: MapDraft) -> dict[int, _Way]:
        lanes = {k: lane for k, lane in self._things["lane"].items() if k not in self.lane_names}
        told = any(
            lane.classification.HasField("centerline_is_driving_direction")
            for lane in lanes.values()
        )
        if lanes and not told:
            reason = (
                "driving directions are not told: lanes are driven in the order of their points"
            )
            self._tally.add("guessed", reason, len(lanes))
        ways: dict[int, _Way] = {}
        for key, lane in lanes.items():
            about = lane.classification
            left = self._boundary(about.left_lane_boundary_id)
            right = self._boundary(about.right_lane_boundary_id)
            points = _points(about.centerline)
            if len(points) < 2 and about.type == INTERSECTION:
                self._intersection(draft, key, lane)
                continue
            if len(points) < 2 and left is not None and right is not None:
                points = middle(left, right)
                self._tally.add("guessed", "centre lines are taken midway between boundaries")
            if len(points) < 2:
                self._tally.add("dropped", "lanes without a centre line")
                continue
            turned = told and not about.centerline_is_driving_direction
            if turned:
                points, left, right = turn(points), turn(right), turn(left)
            words = [
                word_of(LANE_TYPES, "TYPE_", about.type),
                word_of(LANE_SUBTYPES, "SUBTYPE_", about.subtype),
            ]
            vehicles = (
                LaneType.VEHICLE if about.type in (DRIVING, INTERSECTION) else LaneType.OTHER
            )
            index = draft.add(
                MapLayer.LANE, str(key), points, left=left, right=right,
                lane_type=LANE_KINDS.get(about.subtype, vehicles), source_type=" ".join(words),
                in_intersection=about.type == INTERSECTION,
            )  # fmt: skip
            ways[key] = _Way(index, points, turned)
            self.lane_names[key] = draft.features[index].source_id
        for key, lane in lanes.items():
            self._pairings(draft, key, lane.classification.lane_pairing, ways)
            if key in ways:
                about = lane.classification
                lefts = [other.value for other in about.left_adjacent_lane_id]
                rights = [other.value for other in about.right_adjacent_lane_id]
                self._beside(draft, ways[key], lefts, rights, ways)
        return ways

    def _intersection(self, draft: MapDraft, key: int, lane: Any) -> None:
        parts = [
            line
            for other in lane.classification.free_lane_boundary_id
            if (line := self._boundary([other])) is not None
        ]
        if not parts:
            self._tally.add("dropped", "intersections without boundaries")
            return
        draft.add(
            MapLayer.INTERSECTION, str(key), ring(parts),
            source_type=word_of(LANE_TYPES, "TYPE_", lane.classification.type),
        )  # fmt: skip

    def _pairings(
        self, draft: MapDraft, key: int, pairings: Iterable[Any], ways: Mapping[int, _Way]
    ) -> None:
        for pair in pairings:
            before = pair.antecessor_lane_id.value if pair.HasField("antecessor_lane_id") else None
            after = pair.successor_lane_id.value if pair.HasField("successor_lane_id") else None
            if key in ways:
                for other, ahead in ((before, False), (after, True)):
                    if other is not None:
                        self._follow(draft, ways[key], other, ways, ahead=ahead)
            elif before is None or after is None:
                continue
            elif before in ways and after in ways:
                reason = "lanes paired across an intersection without lanes follow each other"
                self._tally.add("guessed", reason)
                draft.follow(ways[before].index, ways[after].index)

    def _follow(
        self, draft: MapDraft, way: _Way, other: int, ways: Mapping[int, _Way], *, ahead: bool
    ) -> None:
        neighbour = ways.get(other)
        if neighbour is None:
            if other not in self._things["lane"]:
                self._tally.add("dropped", "pairings with lanes that are not there")
            return
        onward = float(np.linalg.norm(way.points[-1] - neighbour.points[0]))
        back = float(np.linalg.norm(neighbour.points[-1] - way.points[0]))
        if min(onward, back) > PARTED_M:
            self._tally.add("dropped", f"pairings of lanes that are more than {PARTED_M} m apart")
            return
        if abs(onward - back) > PARTED_M:
            ahead = onward < back
        first, second = (way, neighbour) if ahead else (neighbour, way)
        draft.follow(first.index, second.index)

    def _beside(
        self,
        draft: MapDraft,
        way: _Way,
        lefts: Sequence[int],
        rights: Sequence[int],
        ways: Mapping[int, _Way],
    ) -> None:
        for others, on_left in ((lefts, not way.turned), (rights, way.turned)):
            for other in others:
                neighbour = ways.get(other)
                if neighbour is None:
                    self._tally.add("dropped", "neighbours that are not lanes of the map")
                elif neighbour.turned != way.turned:
                    reason = "neighbours of the opposite direction have no edge in the lane graph"
                    self._tally.add("dropped", reason)
                elif on_left:
                    draft.edge(way.index, EdgeKind.LEFT, neighbour.index)
                else:
                    draft.edge(way.index, EdgeKind.RIGHT, neighbour.index)

    def _boundary(self, ids: Iterable[Any]) -> Float[Array, "points 3"] | None:
        """Boundaries one after the other, as lanes list them."""
        known = self._things["lane_boundary"]
        lines = [_boundary_points(known[key.value]) for key in ids if key.value in known]
        return joined([line for line in lines if len(line) > 1])

    # ── Logical lanes ──

    def _logical_lanes(self, draft: MapDraft) -> dict[int, _Way]:
        ways: dict[int, _Way] = {}
        lanes = self._things["logical_lane"]
        physical = self._things["lane"]
        for key, lane in lanes.items():
            left = self._logical_boundary(lane.left_boundary_id)
            right = self._logical_boundary(lane.right_boundary_id)
            if left is None or right is None:
                self._tally.add("dropped", "logical lanes without boundaries on both sides")
                continue
            points = middle(left, right)
            self._tally.add("guessed", "centre lines are taken midway between boundaries")
            turned = lane.move_direction == DECREASING_S
            if lane.move_direction not in (INCREASING_S, DECREASING_S):
                self._tally.add("guessed", "lanes without one direction are driven as they ascend")
            if turned:
                points, left, right = turn(points), turn(right), turn(left)
            limits = [
                rule.speed_limit.speed_limit_value.value
                * METRES_PER_SECOND[rule.speed_limit.speed_limit_value.value_unit]
                for rule in lane.traffic_rule
                if rule.speed_limit.speed_limit_value.value_unit in METRES_PER_SECOND
            ]
            index = draft.add(
                MapLayer.LANE, str(key), points, left=left, right=right,
                lane_type=LANE_KINDS.get(lane.type, LaneType.UNKNOWN),
                source_type=word_of(LANE_SUBTYPES, "TYPE_", lane.type),
                speed_limit=min(limits, default=None),
            )  # fmt: skip
            ways[key] = _Way(index, points, turned)
        for key, way in ways.items():
            self.lane_names[key] = draft.features[way.index].source_id
            for reference in lanes[key].physical_lane_reference:
                other = reference.physical_lane_id.value
                if other in physical and other not in self.lane_names:
                    self.lane_names[other] = draft.features[way.index].source_id
                    reason = "physical lanes are told by the logical lanes that refer to them"
                    self._tally.add("renamed", reason)
        for key, way in ways.items():
            self._logical_graph(draft, lanes[key], way, ways)
        return ways

    def _logical_graph(
        self, draft: MapDraft, lane: Any, way: _Way, ways: Mapping[int, _Way]
    ) -> None:
        for others, ahead in (
            (lane.successor_lane, not way.turned),
            (lane.predecessor_lane, way.turned),
        ):
            for connection in others:
                neighbour = ways.get(connection.other_lane_id.value)
                if neighbour is None:
                    self._tally.add("dropped", "connections with lanes that are not there")
                    continue
                first, second = (way, neighbour) if ahead else (neighbour, way)
                draft.follow(first.index, second.index)
        lefts = [relation.other_lane_id.value for relation in lane.left_adjacent_lane]
        rights = [relation.other_lane_id.value for relation in lane.right_adjacent_lane]
        self._beside(draft, way, lefts, rights, ways)
        for relation in lane.overlapping_lane:
            neighbour = ways.get(relation.other_lane_id.value)
            if neighbour is not None:
                draft.edge(way.index, EdgeKind.CONFLICT, neighbour.index)

    def _logical_boundary(self, ids: Iterable[Any]) -> Float[Array, "points 3"] | None:
        known = self._things["logical_lane_boundary"]
        lines = [
            _points(point.position for point in known[key.value].boundary_line)
            for key in ids
            if key.value in known
        ]
        return joined([line for line in lines if len(line) > 1])

    # ── Lines, signs, markings, lights, things ──

    def _lines(self, draft: MapDraft) -> None:
        for key, boundary in self._things["lane_boundary"].items():
            points = _boundary_points(boundary)
            about = boundary.classification
            edge = about.type >= FIRST_EDGE
            layer = MapLayer.ROAD_EDGE if edge else LINE_LAYERS.get(about.type, MapLayer.ROAD_LINE)
            words = [word_of(BOUNDARY_TYPES, "TYPE_", about.type)]
            if about.color:
                words.append(word_of(BOUNDARY_COLORS, "COLOR_", about.color))
            self._add(draft, layer, key, points, 2, " ".join(words), "lane boundaries")
        for key, line in self._things["reference_line"].items():
            points = _points(point.world_position for point in line.poly_line)
            self._add(draft, MapLayer.OTHER, key, points, 2, "REFERENCE_LINE", "reference lines")

    def _regulations(self, draft: MapDraft, ways: Mapping[int, _Way]) -> None:
        names = {draft.features[way.index].source_id: way.index for way in ways.values()}
        for key, sign in self._things["traffic_sign"].items():
            about = sign.main_sign.classification
            layer = MapLayer.STOP_SIGN if about.type == SIGN_STOP else MapLayer.SIGN
            words = [word_of(SIGN_TYPES, "TYPE_", about.type)]
            words += [word for word in (about.country, about.code, about.sub_code) if word]
            points = _base_point(sign.main_sign.base)
            index = self._add(draft, layer, key, points, 1, " ".join(words), "traffic signs")
            limit = about.value.value * METRES_PER_SECOND.get(about.value.value_unit, 0.0)
            if index is not None and about.type == SIGN_SPEED_LIMIT and limit > 0.0:
                draft.set_speed_limit(index, limit)
            self._tally.add(
                "dropped", "supplementary signs are not carried", len(sign.supplementary_sign)
            )
        for key, marking in self._things["road_marking"].items():
            about = marking.classification
            word = word_of(MARKING_TYPES, "TYPE_", about.type)
            if about.traffic_main_sign_type:
                word += " " + word_of(SIGN_TYPES, "TYPE_", about.traffic_main_sign_type)
            outline = _outline(marking.base)
            layer, kind = MapLayer.OTHER, None
            if about.traffic_main_sign_type in (SIGN_STOP, SIGN_GIVE_WAY):
                layer, kind = MapLayer.STOP_LINE, EdgeKind.STOP_LINE_OF_LANE
                outline = _long_axis(outline)
            elif about.traffic_main_sign_type == SIGN_ZEBRA:
                layer, kind = MapLayer.CROSSWALK, EdgeKind.CROSSWALK_OVER_LANE
            index = self._add(draft, layer, key, outline, 1, word, "road markings")
            for lane in assigned(about):
                if index is not None and kind is not None and self.lane_names.get(lane) in names:
                    draft.edge(index, kind, names[self.lane_names[lane]])
        for key, light in self._things["traffic_light"].items():
            about = light.classification
            word = word_of(LIGHT_COLORS, "COLOR_", about.color)
            word += " " + word_of(LIGHT_ICONS, "ICON_", about.icon)
            points = _base_point(light.base)
            self._add(draft, MapLayer.TRAFFIC_LIGHT, key, points, 1, word, "traffic lights")

    def _objects(self, draft: MapDraft) -> None:
        for key, thing in self._things["stationary_object"].items():
            word = word_of(STATIONARY_TYPES, "TYPE_", thing.classification.type)
            layer = MapLayer.SPEED_BUMP if word == "TYPE_SPEED_BUMP" else MapLayer.OTHER
            points = _outline(thing.base)
            self._add(draft, layer, key, points, 1, f"STATIONARY {word}", "stationary objects")

    def _add(
        self, draft: MapDraft, layer: MapLayer, key: int, points: Array, least: int, word: str,
        what: str,
    ) -> int | None:  # fmt: skip
        if len(points) < least:
            self._tally.add("dropped", f"{what} without a usable place")
            return None
        return draft.add(layer, str(key), points, source_type=word)


def assigned(about: Any) -> list[int]:
    """The lanes that a sign, marking or light is for, logical ones first."""
    logical = [assignment.assigned_lane_id.value for assignment in about.logical_lane_assignment]
    return list(dict.fromkeys([*logical, *(lane.value for lane in about.assigned_lane_id)]))


def middle(left: Float[Array, "m 3"], right: Float[Array, "n 3"]) -> Float[Array, "points 3"]:
    """The line midway between two, with as many points as the finer one."""
    count = max(len(left), len(right))
    return (resample(left, count) + resample(right, count)) / 2


def turn(line: Array | None) -> Any:
    """The line against its order."""
    return None if line is None else line[::-1]


def joined(lines: Sequence[Float[Array, "points 3"]]) -> Float[Array, "points 3"] | None:
    """Lines one after the other; a point where two meet is kept once."""
    if not lines:
        return None
    whole = np.concatenate(lines)
    new = np.ones(len(whole), dtype=bool)
    new[1:] = np.abs(np.diff(whole, axis=0)).max(axis=1) > 1e-6
    return whole[new] if new.sum() > 1 else whole


def ring(lines: Sequence[Float[Array, "points 3"]]) -> Float[Array, "points 3"]:
    """Lines chained into one outline: each next one is that which begins or ends nearest."""
    rest = list(lines)
    chain = [rest.pop(0)]
    while rest:
        end = chain[-1][-1]
        gaps = [
            (np.linalg.norm(line[at] - end), k, at)
            for k, line in enumerate(rest)
            for at in (0, -1)
        ]
        _, index, at = min(gaps)
        line = rest.pop(index)
        chain.append(line if at == 0 else line[::-1])
    whole = joined(chain)
    assert whole is not None
    return whole


def _points(vectors: Iterable[Any]) -> Float[Array, "points 3"]:
    """Vectors as rows; those that are not finite are left out."""
    rows = np.array([(v.x, v.y, v.z) for v in vectors], dtype=np.float64).reshape(-1, 3)
    return rows[np.isfinite(rows).all(axis=1)]


def _boundary_points(boundary: Any) -> Float[Array, "points 3"]:
    return _points(point.position for point in boundary.boundary_line)


def _base_point(base: Any) -> Float[Array, "points 3"]:
    return _points([base.position]) if base.HasField("position") else np.zeros((0, 3))


def _outline(base: Any) -> Float[Array, "points 3"]:
    """What a stationary thing covers on the ground: its polygon, else its box, else its place."""
    centre = _base_point(base)
    if not len(centre):
        return centre
    yaw = base.orientation.yaw if np.isfinite(base.orientation.yaw) else 0.0
    corners = np.array([(p.x, p.y) for p in base.base_polygon], dtype=np.float64).reshape(-1, 2)
    if len(corners) < 3:
        half = np.array([base.dimension.length, base.dimension.width]) / 2
        if not (np.isfinite(half).all() and half.max() > 0.0):
            return centre
        corners = half * np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    corners = corners[np.isfinite(corners).all(axis=1)]
    cos, sin = np.cos(yaw), np.sin(yaw)
    xy = corners @ np.array([[cos, sin], [-sin, cos]]) + centre[0, :2]
    return np.column_stack([xy, np.full(len(xy), centre[0, 2])])


def _long_axis(outline: Float[Array, "points 3"]) -> Float[Array, "points 3"]:
    """Of a box the line along its longer side through its middle."""
    if len(outline) != 4:
        return outline
    middles = (outline + np.roll(outline, -1, axis=0)) / 2
    one, two = middles[[0, 2]], middles[[1, 3]]
    return one if arc_length(one)[-1] > arc_length(two)[-1] else two
