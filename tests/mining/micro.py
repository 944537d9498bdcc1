"""Small scenes of which everything is known: agents with closed-form motion on a simple map.

The road: two lanes eastward (`EAST` at y = 0, `NORTH_OF_EAST` at y = 3.5), one westward lane
(`WEST` at y = 7), all from x = −200 to x = 200. The junction: four arms and straight and turning
connectors round the origin, with signals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from geometry.angles import wrap
from geometry.frames import SE2
from geometry.lanes import LaneIndex
from schemas.labels import (
    AgentClass,
    Daylight,
    EdgeKind,
    LaneType,
    LightState,
    MapLayer,
    RoadType,
    Weather,
)
from schemas.records import MapFeature, RoadMap
from schemas.scene import DT, Scene, Signals, Tracks

STEPS = 101
TIME = np.arange(STEPS) * DT
WIDTH = 3.5
SIZE = {
    AgentClass.VEHICLE: (4.8, 2.0, 1.6),
    AgentClass.TRUCK: (12.0, 2.5, 3.5),
    AgentClass.PEDESTRIAN: (0.6, 0.6, 1.8),
    AgentClass.CYCLIST: (1.8, 0.6, 1.7),
    AgentClass.OBSTACLE: (0.6, 0.6, 0.8),
}


@dataclass(frozen=True, eq=False)
class Actor:
    """An agent: where it is at each time, and which way it faces."""

    xy: np.ndarray
    yaw: np.ndarray
    cls: AgentClass = AgentClass.VEHICLE
    size: tuple[float, float, float] | None = None
    seen: np.ndarray = field(default_factory=lambda: np.ones(STEPS, dtype=bool))


def along(
    s: np.ndarray | Callable[[np.ndarray], np.ndarray],
    *,
    start: tuple[float, float] = (0.0, 0.0),
    yaw: float = 0.0,
    side: np.ndarray | None = None,
    cls: AgentClass = AgentClass.VEHICLE,
    size: tuple[float, float, float] | None = None,
    seen: np.ndarray | None = None,
    faces: float | None = None,
) -> Actor:
    """Along a straight line from ``start``: ``s`` metres ahead and ``side`` to the left over time."""
    ahead = np.asarray(s(TIME) if callable(s) else s, dtype=float)
    left = np.zeros(STEPS) if side is None else side
    cos, sin = np.cos(yaw), np.sin(yaw)
    xy = np.stack(
        [start[0] + cos * ahead - sin * left, start[1] + sin * ahead + cos * left], axis=-1
    )
    return Actor(
        xy,
        np.full(STEPS, yaw if faces is None else faces),
        cls,
        size,
        np.ones(STEPS, dtype=bool) if seen is None else seen,
    )


def arc(
    speed: float, radius: float, *, turn_from: float, angle: float, start: tuple[float, float],
    yaw: float = 0.0, cls: AgentClass = AgentClass.VEHICLE,
) -> Actor:  # fmt: skip
    """Straight, then round a circle by ``angle`` (left positive) from time ``turn_from``, straight."""
    rate = np.sign(angle) * speed / radius
    turned = np.clip((TIME - turn_from) * rate, min(angle, 0.0), max(angle, 0.0))
    fine = np.linspace(0.0, TIME[-1], 10 * (STEPS - 1) + 1)
    heading = yaw + np.clip((fine - turn_from) * rate, min(angle, 0.0), max(angle, 0.0))
    steps = speed * DT / 10
    middle = (heading[1:] + heading[:-1]) / 2
    x = start[0] + np.concatenate([[0.0], np.cumsum(np.cos(middle) * steps)])
    y = start[1] + np.concatenate([[0.0], np.cumsum(np.sin(middle) * steps)])
    return Actor(np.stack([x, y], axis=-1)[::10], yaw + turned, cls)


def speeds(profile: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Distance travelled at a speed that is a function of time (fine trapezoids)."""
    fine = np.linspace(0.0, TIME[-1], 50 * (STEPS - 1) + 1)
    v = profile(fine)
    way = np.concatenate([[0.0], np.cumsum((v[1:] + v[:-1]) / 2 * np.diff(fine))])
    return way[::50]


def ramp(t0: float, t1: float, a: float, b: float) -> Callable[[np.ndarray], np.ndarray]:
    """``a`` until ``t0``, ``b`` from ``t1``, linear between."""
    return lambda t: np.interp(t, [t0, t1], [a, b])


def still(x: float, y: float, yaw: float = 0.0, cls: AgentClass = AgentClass.VEHICLE) -> Actor:
    """Standing all the time."""
    return along(np.zeros(STEPS), start=(x, y), yaw=yaw, cls=cls)


# -- maps --------------------------------------------------------------------------------------


def lane(
    points: Sequence[tuple[float, float]] | np.ndarray,
    *,
    limit: float | None = 15.0,
    junction: bool = False,
    lane_type: LaneType = LaneType.VEHICLE,
) -> dict[str, object]:
    """A lane's facts, to be numbered by :func:`build`."""
    line = np.column_stack([np.asarray(points, dtype=float), np.zeros(len(points))])
    tangent = np.gradient(line[:, :2], axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    normal = np.column_stack([-tangent[:, 1], tangent[:, 0], np.zeros(len(line))])
    return {
        "layer": MapLayer.LANE,
        "points": line,
        "left": line + normal * WIDTH / 2,
        "right": line - normal * WIDTH / 2,
        "lane_type": lane_type,
        "speed_limit": limit,
        "in_intersection": junction,
    }


def area(layer: MapLayer, points: Sequence[tuple[float, float]]) -> dict[str, object]:
    """A polygon, line or point."""
    return {"layer": layer, "points": np.column_stack([points, np.zeros(len(points))])}


def build(
    features: Sequence[dict[str, object]], edges: Sequence[tuple[int, EdgeKind, int]] = ()
) -> RoadMap:
    """A map of numbered features."""
    made = [
        MapFeature(feature_id=i, source_id=str(i), **facts)  # type: ignore[arg-type]
        for i, facts in enumerate(features)
    ]
    rows = np.array([(a, int(k), b) for a, k, b in edges], dtype=np.int64).reshape(-1, 3)
    return RoadMap(source_map_id="micro", features=tuple(made), edges=rows)


EAST, NORTH_OF_EAST, WEST = 0, 1, 2


def road(*extra: dict[str, object], limit: float | None = 15.0) -> RoadMap:
    """The road, with more features numbered from 4 (3 is its drivable area)."""
    xs = np.linspace(-200.0, 200.0, 81)
    features = [
        lane(np.column_stack([xs, np.zeros(81)]), limit=limit),
        lane(np.column_stack([xs, np.full(81, 3.5)]), limit=limit),
        lane(np.column_stack([xs[::-1], np.full(81, 7.0)]), limit=limit),
        area(
            MapLayer.DRIVABLE_AREA,
            [(-200.0, -1.75), (200.0, -1.75), (200.0, 8.75), (-200.0, 8.75)],
        ),
        *extra,
    ]
    return build(features, [(0, EdgeKind.LEFT, 1), (1, EdgeKind.RIGHT, 0)])


FROM_WEST, TO_EAST, FROM_EAST, TO_WEST = 0, 1, 2, 3
FROM_SOUTH, TO_NORTH, FROM_NORTH, TO_SOUTH = 4, 5, 6, 7
THROUGH_EAST, THROUGH_WEST, THROUGH_NORTH, THROUGH_SOUTH = 8, 9, 10, 11
LEFT_TO_NORTH, RIGHT_TO_SOUTH = 12, 13
R = 12.0  # half the size of the junction
D = WIDTH / 2


def _bend(begin: tuple[float, float], end: tuple[float, float], corner: tuple[float, float]):  # type: ignore[no-untyped-def]
    t = np.linspace(0.0, 1.0, 25)[:, None]
    b, c, e = np.array(begin), np.array(corner), np.array(end)
    return (1 - t) ** 2 * b + 2 * t * (1 - t) * c + t**2 * e


def junction() -> RoadMap:
    """A crossroads in right-hand traffic: each arm has a lane in and a lane out."""
    far = 120.0
    line = lambda a, b: np.linspace(a, b, 41)  # noqa: E731
    features = [
        lane(line((-far, -D), (-R, -D))),
        lane(line((R, -D), (far, -D))),
        lane(line((far, D), (R, D))),
        lane(line((-R, D), (-far, D))),
        lane(line((D, -far), (D, -R))),
        lane(line((D, R), (D, far))),
        lane(line((-D, far), (-D, R))),
        lane(line((-D, -R), (-D, -far))),
        lane(line((-R, -D), (R, -D)), junction=True),
        lane(line((R, D), (-R, D)), junction=True),
        lane(line((D, -R), (D, R)), junction=True),
        lane(line((-D, R), (-D, -R)), junction=True),
        lane(_bend((-R, -D), (D, R), (D, -D)), junction=True),
        lane(_bend((-R, -D), (-D, -R), (-D, -D)), junction=True),
        area(MapLayer.DRIVABLE_AREA, [(-far, -far), (far, -far), (far, far), (-far, far)]),
    ]
    after = EdgeKind.SUCCESSOR
    return build(
        features,
        [
            (0, after, 8), (8, after, 1), (0, after, 12), (12, after, 5), (0, after, 13),
            (13, after, 7), (2, after, 9), (9, after, 3), (4, after, 10), (10, after, 5),
            (6, after, 11), (11, after, 7),
        ],
    )  # fmt: skip


def lights(states: dict[int, LightState | np.ndarray], *, steps: int = STEPS) -> Signals:
    """Signals by controlled lane, for all time or step by step; to stop at the lane's start."""
    lanes = np.array(list(states), dtype=np.int64)
    shown = np.stack(
        [np.broadcast_to(np.asarray(s, dtype=np.int8), steps) for s in states.values()]
    )
    return Signals(
        lane=lanes,
        state=shown.astype(np.int8),
        stop_xy=np.zeros((len(lanes), 2), dtype=np.float32),
        has_stop=np.zeros(len(lanes), dtype=bool),
    )


# -- scenes ------------------------------------------------------------------------------------


def scene(
    *actors: Actor,
    map: RoadMap | None = None,
    signals: Signals | None = None,
    has_ego: bool = True,
    weather: Weather | None = None,
    daylight: Daylight | None = None,
    noise: float = 0.0,
    scene_id: int = 1,
) -> Scene:
    """A scene of the actors, the first one the ego; velocities are derived from positions."""
    made = road() if map is None else map
    count = len(actors)
    rng = np.random.default_rng(7)
    xy = np.stack([a.xy for a in actors])
    velocity = np.gradient(xy, DT, axis=1) + noise * rng.standard_normal(xy.shape)
    valid = np.stack([a.seen for a in actors])
    yaw = wrap(np.stack([a.yaw for a in actors]))
    lanes = [f for f in made.features if f.layer == MapLayer.LANE]
    match = LaneIndex([f.points for f in lanes]).match(xy.reshape(-1, 2), yaw.reshape(-1))
    shape = (count, STEPS)
    ids = np.array([f.feature_id for f in lanes] or [0], dtype=np.int64)
    on = match.matched.reshape(shape) & valid
    tracks = Tracks(
        track_id=np.arange(count) if has_ego else np.arange(1, count + 1),
        cls=np.array([int(a.cls) for a in actors]),
        size=np.array([a.size or SIZE[a.cls] for a in actors], dtype=np.float32),
        xy=xy.astype(np.float32),
        z=np.zeros(shape, dtype=np.float32),
        yaw=yaw.astype(np.float32),
        velocity=velocity.astype(np.float32),
        valid=valid,
        lane=np.where(on, ids[match.lane.reshape(shape)], 0),
        lane_s=match.s.reshape(shape).astype(np.float32),
        lane_d=match.d.reshape(shape).astype(np.float32),
        on_lane=on,
    )
    return Scene(
        scene_id=scene_id, log_id=1, dataset="micro", name="micro", t0_ns=0, anchor=10,
        tracks=tracks, map=made, signals=signals or Signals.none(STEPS), has_ego=has_ego,
        has_map=bool(made.features), has_signals=signals is not None, origin=np.zeros(3),
        weather=weather, daylight=daylight, road_type=RoadType.STRAIGHT,
    )  # fmt: skip


def moved(made: Scene, dst_from_src: SE2) -> Scene:
    """The same scene, turned and shifted as a whole."""
    return _mapped(made, dst_from_src.apply, dst_from_src.rotate, dst_from_src.turn)


def mirrored(made: Scene) -> Scene:
    """The scene seen in a mirror: left becomes right (y → −y)."""
    flip = np.array([1.0, -1.0])
    twin = _mapped(made, lambda p: p * flip, lambda v: v * flip, lambda a: wrap(np.asarray(-a)))
    features = tuple(replace(f, left=f.right, right=f.left) for f in twin.map.features)
    edges = twin.map.edges.copy()
    left, right = edges[:, 1] == EdgeKind.LEFT, edges[:, 1] == EdgeKind.RIGHT
    edges[left, 1], edges[right, 1] = EdgeKind.RIGHT, EdgeKind.LEFT
    tracks = replace(twin.tracks, lane_d=-twin.tracks.lane_d)
    return replace(twin, map=replace(twin.map, features=features, edges=edges), tracks=tracks)


def _mapped(made: Scene, point, vector, angle) -> Scene:  # type: ignore[no-untyped-def]
    def line(points):  # type: ignore[no-untyped-def]
        return None if points is None else np.column_stack([point(points[:, :2]), points[:, 2:]])

    tracks = made.tracks
    features = tuple(
        replace(f, points=line(f.points), left=line(f.left), right=line(f.right))
        for f in made.map.features
    )
    return replace(
        made,
        tracks=replace(
            tracks,
            xy=point(tracks.xy.astype(np.float64)).astype(np.float32),
            velocity=vector(tracks.velocity.astype(np.float64)).astype(np.float32),
            yaw=angle(tracks.yaw.astype(np.float64)).astype(np.float32),
        ),
        map=replace(made.map, features=features),
        signals=replace(
            made.signals,
            stop_xy=point(made.signals.stop_xy.astype(np.float64)).astype(np.float32),
        ),
    )
