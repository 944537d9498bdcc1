"""Ways through a map: lanes followed up and down stream, and the way that the ego takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from geometry.angles import difference
from geometry.arrays import Array
from geometry.lanes import LaneIndex
from geometry.polylines import arc_length, at, headings, project, without_repeats
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import RoadMap
from schemas.scene import Scene

AHEAD_M = 150.0
BEHIND_M = 80.0
JOIN_M = 2.0  # [m] lanes of maps without edges are joined end to start at this distance
SPACING_M = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """A line to drive along.

    Attributes:
        line: Points about half a metre apart or more [m].
    """

    line: Float[Array, "points 2"]

    @classmethod
    def through(cls, points: Float[Array, "points 2"]) -> Way:
        """The way through given points; bends are kept, repeats dropped."""
        points = without_repeats(np.asarray(points, dtype=np.float64))
        kept = [points[0]]
        for point in points[1:]:
            if np.hypot(*(point - kept[-1])) >= SPACING_M:
                kept.append(point)
        if len(kept) == 1:
            kept.append(kept[0] + np.array([SPACING_M, 0.0]))
        return cls(np.array(kept))

    @property
    def length(self) -> float:
        """From the first point to the last [m]."""
        return float(arc_length(self.line)[-1])

    def pose(self, s: Float[Array, " many"], d: Float[Array, " many"]) -> Float[Array, "many 3"]:
        """x, y and direction of the way at Frenet coordinates; prolonged beyond its ends."""
        inside = np.clip(s, 0.0, self.length)
        xy = at(self.line, inside)
        yaw = self.heading(s)
        beyond = s - inside
        return np.stack(
            [
                xy[:, 0] + beyond * np.cos(yaw) - d * np.sin(yaw),
                xy[:, 1] + beyond * np.sin(yaw) + d * np.cos(yaw),
                yaw,
            ],
            axis=-1,
        )

    def heading(self, s: Float[Array, " many"]) -> Float[Array, " many"]:
        """Direction at distances along the way, turning smoothly between points [rad]."""
        yaw = np.unwrap(headings(self.line)[:-1])
        along = arc_length(self.line)
        return np.interp(s, (along[1:] + along[:-1]) / 2.0, yaw)

    def project(self, xy: Float[Array, "many 2"]) -> tuple[Array, Array]:
        """Distance along the way and offset to its left [m]."""
        s, d, _ = project(np.asarray(xy, dtype=np.float64), self.line)
        return s, d


class Roads:
    """The lanes of a scene that motor vehicles use."""

    def __init__(self, road_map: RoadMap) -> None:
        self.map = road_map
        keep = (LaneType.UNKNOWN, LaneType.VEHICLE, LaneType.FREEWAY, LaneType.BUS)
        lanes = [f for f in road_map.of_layer(MapLayer.LANE) if f.lane_type in keep]
        self.lines = {
            f.feature_id: without_repeats(np.asarray(f.points, dtype=np.float64)[:, :2])
            for f in lanes
        }
        self.lines = {k: line for k, line in self.lines.items() if len(line) > 1}
        self.ids = list(self.lines)
        self.index = LaneIndex(list(self.lines.values()))
        self._next: dict[int, list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self.ids)

    def lane_at(
        self, xy: Float[Array, 2], yaw: float, *, max_offset: float = 2.0, max_turn: float = 0.6
    ) -> tuple[int, float, float] | None:
        """Feature id, s and d of the lane that a pose is on, if it is on one."""
        match = self.index.match(
            np.asarray(xy, dtype=np.float64)[None], np.array([yaw]),
            max_offset=max_offset, max_turn=max_turn,
        )  # fmt: skip
        if not match.matched[0]:
            return None
        return self.ids[int(match.lane[0])], float(match.s[0]), float(match.d[0])

    def after(self, lane: int) -> list[int]:
        """Lanes that continue a lane, straightest first."""
        if lane not in self._next:
            listed = [k for k in self.map.neighbours(lane, EdgeKind.SUCCESSOR) if k in self.lines]
            if not listed and not (self.map.edges[:, 1] == EdgeKind.SUCCESSOR).any():
                end, yaw = self.lines[lane][-1], headings(self.lines[lane])[-1]
                listed = [
                    k for k, line in self.lines.items()
                    if k != lane and np.hypot(*(line[0] - end)) < JOIN_M
                    and abs(_turn(headings(line)[0], yaw)) < 0.6
                ]  # fmt: skip
            own = headings(self.lines[lane])[-1]
            listed.sort(key=lambda k: abs(_turn(headings(self.lines[k])[-1], own)))
            self._next[lane] = listed
        return self._next[lane]

    def before(self, lane: int) -> list[int]:
        """Lanes that a lane continues."""
        return [k for k in self.ids if lane in self.after(k)]

    def along(self, lane: int, s: float, *, ahead: float = AHEAD_M) -> Array:
        """Points from a station of a lane on downstream, straight on where lanes part [m]."""
        parts, here, left = [], lane, ahead
        seen = set()
        while here not in seen and left > 0.0:
            seen.add(here)
            line = self.lines[here]
            stations = arc_length(line)
            begin = np.clip(s, 0.0, stations[-1])
            parts.append(np.concatenate([at(line, np.array([begin])), line[stations > begin]]))
            left -= float(stations[-1] - begin)
            s = 0.0
            following = self.after(here)
            if not following:
                break
            here = following[0]
        return np.concatenate(parts)

    def way(self, lane: int, s: float, *, behind: float = BEHIND_M, ahead: float = AHEAD_M) -> Way:
        """The way along a lane, ``behind`` metres up stream and ``ahead`` down stream."""
        line = self.lines[lane]
        upstream = [line[arc_length(line) < s]]
        left, here = behind - s, lane
        while left > 0.0:
            previous = self.before(here)
            if not previous or len(upstream) > 20:
                break
            here = previous[0]
            upstream.insert(0, self.lines[here])
            left -= float(arc_length(self.lines[here])[-1])
        return Way.through(np.concatenate([*upstream, self.along(lane, s, ahead=ahead)]))


def ego_way(scene: Scene, roads: Roads, *, agent: int = 0) -> Way:
    """The way that an agent takes in the log, prolonged along the lanes at both ends."""
    valid = scene.tracks.valid[agent]
    xy = scene.tracks.xy[agent][valid].astype(np.float64)
    yaw = scene.tracks.yaw[agent][valid].astype(np.float64)
    driven = Way.through(xy).line if np.ptp(xy, axis=0).max() > 1.0 else xy[-1:]
    parts = [driven]
    last = roads.lane_at(xy[-1], float(yaw[-1]))
    if last is not None:
        onward = Way.through(roads.along(last[0], last[1] + 3.0))
        # Beside the centre line as the agent is, so that the way has no kink.
        stations = np.arange(0.0, onward.length, 2.0)
        parts.append(onward.pose(stations, np.full(len(stations), last[2]))[:, :2])
    end = np.concatenate(parts)
    out = yaw[-1] if len(end) < 2 else headings(end)[-1]
    end = np.concatenate([end, end[-1:] + AHEAD_M * np.array([[np.cos(out), np.sin(out)]])])
    first = np.array([np.cos(yaw[0]), np.sin(yaw[0])])
    return Way.through(np.concatenate([end[:1] - BEHIND_M * first, end]))


def _turn(a: float, b: float) -> float:
    return float(difference(np.array(a), np.array(b)))
