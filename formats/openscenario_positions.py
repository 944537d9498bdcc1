"""Positions of OpenSCENARIO as poses in the world frame.

A position is told in the world, on a road or a lane of the map, along a route, or relative to
another entity; an orientation is absolute or relative to what the position is told in, which on
lanes is their driving direction. What is meant is the entity's reference point on the ground.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from formats.opendrive_curves import spiral
from formats.opendrive_roads import END, START, OpenDrive, Road, Section
from formats.openscenario_values import Catalogs, Scope, Unclear
from geometry.angles import wrap
from geometry.polylines import arc_length, at, headings

MOST_ROADS = 1000  # that a relative position may lead over
BEYOND_M = 0.5  # that a station may lie past its road's end and still mean the end


@dataclass(frozen=True, slots=True)
class Pose:
    """Where an entity's reference point is, and how it is turned.

    Attributes:
        x: [m]
        y: [m]
        z: [m]
        yaw: [rad]
        road: Where it was told in road coordinates: road, s [m], lane, t [m]; else None.
    """

    x: float
    y: float
    z: float
    yaw: float
    road: tuple[str, float, int, float] | None = None


class Positions:
    """Reads the positions of one scenario."""

    def __init__(self, roads: OpenDrive | None, catalogs: Catalogs) -> None:
        """On one map.

        Args:
            roads: The map; None if there is none.
            catalogs: For routes.
        """
        self.roads, self.catalogs = roads, catalogs

    def pose(self, position: Any, scope: Scope, entities: Mapping[str, Pose]) -> Pose:
        """The pose that a ``Position`` element tells.

        Args:
            position: The element.
            scope: For its values.
            entities: Poses of those that it may refer to.

        Raises:
            Unclear: It cannot be told.
        """
        told = next(iter(position), None)
        if told is None:
            raise Unclear("an empty position")
        turn = told.find("Orientation")
        match told.tag:
            case "WorldPosition":
                return Pose(
                    scope.number(told, "x"), scope.number(told, "y"), scope.number(told, "z", 0.0),
                    float(wrap(np.array(scope.number(told, "h", 0.0)))),
                )  # fmt: skip
            case "LanePosition":
                lane = _lane_number(scope.text(told, "laneId"))
                return self._on_lane(
                    self._road(scope.text(told, "roadId")), scope.number(told, "s"), lane,
                    scope.number(told, "offset", 0.0), turn, scope,
                )  # fmt: skip
            case "RoadPosition":
                return self._on_road(
                    self._road(scope.text(told, "roadId")), scope.number(told, "s"),
                    scope.number(told, "t"), turn, scope,
                )  # fmt: skip
            case "RoutePosition":
                return self._on_route(told, turn, scope, entities)
            case "TrajectoryPosition":
                return self._on_trajectory(told, turn, scope, entities)
        other = self._other(told, scope, entities)
        match told.tag:
            case "RelativeWorldPosition":
                return _turned(
                    Pose(
                        other.x + scope.number(told, "dx"), other.y + scope.number(told, "dy"),
                        other.z + scope.number(told, "dz", 0.0), other.yaw,
                    ),
                    turn, scope,
                )  # fmt: skip
            case "RelativeObjectPosition":
                dx, dy = scope.number(told, "dx"), scope.number(told, "dy", 0.0)
                cos, sin = np.cos(other.yaw), np.sin(other.yaw)
                return _turned(
                    Pose(
                        other.x + float(cos * dx - sin * dy), other.y + float(sin * dx + cos * dy),
                        other.z + scope.number(told, "dz", 0.0), other.yaw,
                    ),
                    turn, scope,
                )  # fmt: skip
            case "RelativeLanePosition":
                return self._relative_lane(told, turn, scope, other)
            case "RelativeRoadPosition":
                road_id, s, _, t = _on_a_road(other)
                road, s = self._road(road_id), s + scope.number(told, "ds")
                return self._on_road(road, s, t + scope.number(told, "dt"), turn, scope)
        raise Unclear(f"a {told.tag}, which is not read")

    def _other(self, told: Any, scope: Scope, entities: Mapping[str, Pose]) -> Pose:
        name = told.get("entityRef")
        if name is None:
            raise Unclear(f"a {told.tag}, which is not read")
        name = scope.value(name)
        if name not in entities:
            raise Unclear(f"a position relative to `{name}`, whose own is not known")
        return entities[name]

    def _road(self, name: str) -> Road:
        if self.roads is None:
            raise Unclear("a position on a road, but the map is not there")
        if name not in self.roads.roads:
            raise Unclear(f"a position on road `{name}`, which the map lacks")
        return self.roads.roads[name]

    def _on_road(self, road: Road, s: float, t: float, turn: Any, scope: Scope) -> Pose:
        s = _within(road, s)
        x, y, z = (float(v) for v in road.point(np.array([s]), np.array([t]))[0])
        section = road.section_at(s)
        lane = _lane_at(road, section, s, t)
        pose = Pose(x, y, z, float(wrap(np.array(road.heading(s)))), (road.road_id, s, lane, t))
        return _turned(pose, turn, scope)

    def _on_lane(
        self, road: Road, s: float, lane: int, offset: float, turn: Any, scope: Scope
    ) -> Pose:
        s = _within(road, s)
        section = road.section_at(s)
        if lane not in section.lanes and lane != 0:
            raise Unclear(
                f"a position on lane {lane} of road `{road.road_id}`, which is not there"
            )
        t = road.lane_middle(section, lane, s) + offset
        x, y, z = (float(v) for v in road.point(np.array([s]), np.array([t]))[0])
        along = lane == 0 or road.runs_along(section.lanes[lane])
        yaw = road.heading(s) + (0.0 if along else np.pi)
        pose = Pose(x, y, z, float(wrap(np.array(yaw))), (road.road_id, s, lane, t))
        return _turned(pose, turn, scope)

    def _relative_lane(self, told: Any, turn: Any, scope: Scope, other: Pose) -> Pose:
        road_id, s, lane, _ = _on_a_road(other)
        road = self._road(road_id)
        along = lane == 0 or road.runs_along(road.section_at(s).lanes[lane])
        ds = told.get("dsLane", told.get("ds"))
        ahead = scope.number(told, "dsLane" if "dsLane" in told.attrib else "ds") if ds else 0.0
        # ds is along the road; in the driving direction of the other's lane.
        s += ahead if along else -ahead
        target = _beside(lane, int(scope.number(told, "dLane")), along=along)
        s, road, target, along = self._carried_over(road, s, target, along)
        return self._on_lane(road, s, target, scope.number(told, "offset", 0.0), turn, scope)

    def _carried_over(
        self, road: Road, s: float, lane: int, along: bool
    ) -> tuple[float, Road, int, bool]:
        """A station past a road's end on the road that follows, if exactly one does."""
        for _ in range(MOST_ROADS):
            if self.roads is None or -BEYOND_M <= s <= road.length + BEYOND_M:
                break
            contact = END if s > road.length else START
            link = road.after if contact == END else road.before
            if link is None or link.kind != "road" or link.target not in self.roads.roads:
                break
            beyond = s - road.length if contact == END else -s
            section = road.sections[-1 if contact == END else 0]
            if lane not in section.lanes:
                break
            lanes = section.lanes[lane].after if contact == END else section.lanes[lane].before
            if len(lanes) != 1:
                break
            road, lane = self.roads.roads[link.target], lanes[0]
            s = beyond if link.contact == START else road.length - beyond
        return s, road, lane, along

    # Trajectories ---------------------------------------------------------------------------------

    def trajectory(self, holder: Any, scope: Scope) -> tuple[Any, Scope]:
        """The ``Trajectory`` that an element holds or names, and the scope for its values.

        Raises:
            Unclear: There is none.
        """
        inner = holder.find("TrajectoryRef")
        for place in (holder,) if inner is None else (inner, holder):
            found = place.find("Trajectory")
            if found is not None:
                return found, scope.inside(found)
            reference = place.find("CatalogReference")
            if reference is not None:
                return self.catalogs.entry(reference, scope)
        raise Unclear("a trajectory that is not told")

    def start_of(self, trajectory: Any, scope: Scope, entities: Mapping[str, Pose]) -> Pose:
        """Where a trajectory begins.

        Raises:
            Unclear: It is a spline of rational functions, or has no beginning that can be told.
        """
        first = trajectory.find("Shape/Polyline/Vertex/Position")
        if first is not None:
            return self.pose(first, scope, entities)
        return self._along(trajectory, 0.0, scope, entities)

    def _on_trajectory(
        self, told: Any, turn: Any, scope: Scope, entities: Mapping[str, Pose]
    ) -> Pose:
        trajectory, inner = self.trajectory(told, scope)
        base = self._along(trajectory, scope.number(told, "s"), inner, entities)
        t = scope.number(told, "t", 0.0)
        moved = Pose(
            base.x - t * float(np.sin(base.yaw)), base.y + t * float(np.cos(base.yaw)),
            base.z, base.yaw,
        )  # fmt: skip
        return _turned(moved, turn, scope)

    def _along(
        self, trajectory: Any, s: float, scope: Scope, entities: Mapping[str, Pose]
    ) -> Pose:
        """The pose some metres along a polyline or clothoids."""
        vertices = trajectory.findall("Shape/Polyline/Vertex/Position")
        if len(vertices) > 1:
            line = np.array(
                [(p.x, p.y, p.z) for p in (self.pose(v, scope, entities) for v in vertices)]
            )
            along = arc_length(line)
            k = min(max(int(np.searchsorted(along, s, side="right")) - 1, 0), len(line) - 2)
            x, y, z = (float(v) for v in at(line, np.array([s]))[0])
            return Pose(x, y, z, float(headings(line[k : k + 2])[0]))
        pose: Pose | None = None
        for piece in [
            *trajectory.iterfind("Shape/Clothoid"),
            *trajectory.iterfind("Shape/ClothoidSpline/ClothoidSplineSegment"),
        ]:
            start = piece.find("Position" if piece.tag == "Clothoid" else "PositionStart")
            pose = pose if start is None else self.pose(start, scope, entities)
            if pose is None:
                break
            length = scope.number(piece, "length")
            if piece.tag == "Clothoid":
                begin = scope.number(piece, "curvature")
                prime = "curvaturePrime" if "curvaturePrime" in piece.attrib else "curvatureDot"
                end = begin + length * scope.number(piece, prime, 0.0)
            else:
                begin = scope.number(piece, "curvatureStart")
                end = scope.number(piece, "curvatureEnd")
            u, v, turned = spiral(begin, end, length)(np.array([min(max(s, 0.0), length)]))
            cos, sin = np.cos(pose.yaw), np.sin(pose.yaw)
            pose = Pose(
                pose.x + float(cos * u[0] - sin * v[0]), pose.y + float(sin * u[0] + cos * v[0]),
                pose.z, float(wrap(pose.yaw + turned)[0]),
            )  # fmt: skip
            s -= length
            if s <= 0.0:
                break
        if pose is None:
            raise Unclear("a trajectory that is neither polyline nor clothoid")
        return pose

    # Routes ---------------------------------------------------------------------------------------

    def _on_route(self, told: Any, turn: Any, scope: Scope, entities: Mapping[str, Pose]) -> Pose:
        reference = told.find("RouteRef/CatalogReference")
        if reference is not None:
            route, inner = self.catalogs.entry(reference, scope)
        else:
            route, inner = told.find("RouteRef/Route"), scope
            if route is None:
                raise Unclear("a position on a route that is not told")
            inner = scope.inside(route)
        waypoints = []
        for waypoint in route.iterchildren("Waypoint"):
            pose = self.pose(waypoint.find("Position"), inner, entities)
            waypoints.append(_on_a_road(pose))
        if not waypoints:
            raise Unclear("a route without waypoints")
        lane_told = told.find("InRoutePosition/FromLaneCoordinates")
        road_told = told.find("InRoutePosition/FromRoadCoordinates")
        place = lane_told if lane_told is not None else road_told
        if place is None:
            raise Unclear("a position on a route that is not told in its coordinates")
        path_s = scope.number(place, "pathS")
        road, s, along = self._walked(waypoints, path_s)
        if lane_told is not None:
            lane = _lane_number(scope.text(place, "laneId"))
            offset = scope.number(place, "laneOffset", 0.0)
            return self._on_lane(road, s, lane if along else -lane, offset, turn, scope)
        t = scope.number(place, "t")
        pose = self._on_road(road, s, t if along else -t, turn, scope)
        if along or turn is not None:
            return pose
        return Pose(pose.x, pose.y, pose.z, float(wrap(np.array(pose.yaw + np.pi))), pose.road)

    def _walked(
        self, waypoints: Sequence[tuple[str, float, int, float]], path_s: float
    ) -> tuple[Road, float, bool]:
        """Road, station and whether along it, some metres from a route's start."""
        road_id, s, lane, _ = waypoints[0]
        road = self._road(road_id)
        along = lane == 0 or road.runs_along(road.section_at(s).lanes[lane])
        ways = [(road, s, along)]
        """Each road of the route: where it is entered, and in which direction."""
        for (before, *_), (after, after_s, *_) in pairwise(waypoints):
            here = self._road(before)
            if before == after:
                ways[-1] = (here, ways[-1][1], after_s >= ways[-1][1])
                continue
            steps = self._between(here, self._road(after))
            ways[-1] = (here, ways[-1][1], steps[0][1])
            ways += [(r, 0.0 if forward else r.length, forward) for r, forward in steps[1:]]
        left = path_s
        for road, s, along in ways:
            room = road.length - s if along else s
            if left <= room + BEYOND_M or (road, s, along) == ways[-1]:
                return road, s + left if along else s - left, along
            left -= room
        raise Unclear("a route without roads")

    def _between(self, here: Road, there: Road) -> list[tuple[Road, bool]]:
        """Roads from one to another with the direction on each, fewest first."""
        queue = deque([[(here, True)], [(here, False)]])
        seen = {(here.road_id, True), (here.road_id, False)}
        while queue:
            path = queue.popleft()
            road, forward = path[-1]
            if road is there:
                return path
            for following, contact in self._onward(road, END if forward else START):
                step = (following, contact == START)
                if (following.road_id, step[1]) not in seen:
                    seen.add((following.road_id, step[1]))
                    queue.append([*path, step])
        raise Unclear(
            f"a route from road `{here.road_id}` to `{there.road_id}`, which do not meet"
        )

    def _onward(self, road: Road, contact: str) -> Iterator[tuple[Road, str]]:
        """Roads that touch an end of a road, with the end of theirs."""
        assert self.roads is not None
        link = road.after if contact == END else road.before
        if link is None:
            return
        if link.kind == "road":
            if link.target in self.roads.roads:
                yield self.roads.roads[link.target], link.contact
            return
        for connection in self.roads.connections.get(link.target, ()):
            if connection.incoming == road.road_id and connection.connecting in self.roads.roads:
                yield self.roads.roads[connection.connecting], connection.contact


def _turned(pose: Pose, turn: Any, scope: Scope) -> Pose:
    """With an ``Orientation``, which is absolute unless it says relative."""
    if turn is None:
        return pose
    h = scope.number(turn, "h", 0.0)
    relative = scope.text(turn, "type", "absolute") == "relative"
    yaw = float(wrap(np.array(pose.yaw + h if relative else h)))
    return Pose(pose.x, pose.y, pose.z, yaw, pose.road)


def _on_a_road(pose: Pose) -> tuple[str, float, int, float]:
    if pose.road is None:
        raise Unclear("a position relative to a road, of something that is told without one")
    return pose.road


def _within(road: Road, s: float) -> float:
    if not -BEYOND_M <= s <= road.length + BEYOND_M:
        raise Unclear(
            f"a position at s = {s:g} m of road `{road.road_id}`, which is {road.length:g} m long"
        )
    return min(max(s, 0.0), road.length)


def _lane_number(text: str) -> int:
    try:
        return int(float(text))
    except (ValueError, OverflowError) as error:
        raise Unclear(f"laneId is `{text}`, not a number") from error


def _beside(lane: int, left: int, *, along: bool) -> int:
    """The lane some lanes to the left of one in its driving direction; there is no lane 0."""
    step = 1 if (left > 0) == along else -1
    end = lane + step * abs(left)
    return end + step if lane and lane * end <= 0 else end


def _lane_at(road: Road, section: Section, s: float, t: float) -> int:
    """The lane that a point lies in; beyond the outermost, that one; 0 on a road without lanes."""
    borders = road.borders(section, np.array([s]))
    side = 1 if t > float(borders[0][0]) else -1
    ids = sorted((i for i in section.lanes if i * side > 0), key=abs)
    for lane_id in ids:
        if (float(borders[lane_id][0]) - t) * side >= 0.0:
            return lane_id
    return ids[-1] if ids else 0
