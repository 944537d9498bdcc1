"""A small world of the tests' own: a straight road of three lanes, drawn by hand."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from schemas.labels import AgentClass, EdgeKind, LaneType, MapLayer, RoadType
from schemas.records import MapFeature, RoadMap
from schemas.scene import Scene, Signals, Tracks

LANE = 3.5  # [m]


def straight_map(length: float = 400.0) -> RoadMap:
    """Lanes 0 (right), 1, 2 (left) along +x at y = 0, 3.5, 7, with edges and drivable area."""
    x = np.linspace(-100.0, length, 51)

    def line(y: float) -> np.ndarray:
        return np.stack([x, np.full_like(x, y), np.zeros_like(x)], axis=-1)

    lanes = [
        MapFeature(
            feature_id=k, source_id=f"lane{k}", layer=MapLayer.LANE, points=line(k * LANE),
            left=line((k + 0.5) * LANE), right=line((k - 0.5) * LANE),
            lane_type=LaneType.VEHICLE, speed_limit=16.0, in_intersection=False,
        )
        for k in range(3)
    ]  # fmt: skip
    low, high = -0.5 * LANE - 0.5, 2.5 * LANE + 0.5
    edges = [
        MapFeature(
            feature_id=3 + k, source_id=f"edge{k}", layer=MapLayer.ROAD_EDGE, points=line(y)
        )
        for k, y in enumerate((low, high))
    ]
    corners = [[-100.0, low, 0.0], [length, low, 0.0], [length, high, 0.0], [-100.0, high, 0.0]]
    area = MapFeature(
        feature_id=5, source_id="area", layer=MapLayer.DRIVABLE_AREA, points=np.array(corners)
    )
    beside = [
        (0, EdgeKind.LEFT, 1),
        (1, EdgeKind.LEFT, 2),
        (1, EdgeKind.RIGHT, 0),
        (2, EdgeKind.RIGHT, 1),
    ]
    return RoadMap(
        source_map_id="straight", features=[*lanes, *edges, area],
        edges=np.array([[a, int(k), b] for a, k, b in beside]),
    )  # fmt: skip


def scene_of(
    paths: Sequence[np.ndarray],
    *,
    kinds: Sequence[AgentClass] | None = None,
    road_map: RoadMap | None = None,
    dt: float = 0.1,
) -> Scene:
    """A scene from centre paths at 10 Hz (x, y, yaw); the first is the ego."""
    xyyaw = np.stack(paths)
    agents, steps = xyyaw.shape[:2]
    kinds = list(kinds or [AgentClass.VEHICLE] * agents)
    size = np.array(
        [[0.6, 0.6, 1.7] if k == AgentClass.PEDESTRIAN else [4.6, 1.9, 1.6] for k in kinds],
        dtype=np.float32,
    )
    xy = xyyaw[..., :2].astype(np.float32)
    road_map = road_map if road_map is not None else straight_map()
    flat = np.zeros((agents, steps), dtype=np.float32)
    return Scene(
        scene_id=11, log_id=7, dataset="test", name="straight", t0_ns=0, anchor=10,
        tracks=Tracks(
            track_id=np.arange(agents), cls=np.array(kinds, dtype=np.int8), size=size, xy=xy,
            z=flat.copy(), yaw=xyyaw[..., 2].astype(np.float32),
            velocity=np.gradient(xy, dt, axis=1).astype(np.float32),
            valid=np.ones((agents, steps), dtype=bool), lane=np.zeros((agents, steps), np.int32),
            lane_s=flat.copy(), lane_d=flat.copy(), on_lane=np.zeros((agents, steps), dtype=bool),
        ),
        map=road_map, signals=Signals.none(steps), has_ego=True,
        has_map=bool(road_map.features), has_signals=False, origin=np.zeros(3),
        road_type=RoadType.STRAIGHT,
    )  # fmt: skip


def cruise(x: float, y: float, speed: float, *, steps: int = 101, to_y: float | None = None):
    """A path along the road at constant speed, with a smooth change to ``to_y`` if given."""
    t = np.arange(steps) * 0.1
    share = np.clip((t - 2.0) / 4.0, 0.0, 1.0)
    blend = share**3 * (10 - 15 * share + 6 * share**2)
    ys = y + blend * ((to_y if to_y is not None else y) - y)
    xs = x + speed * t
    return np.stack([xs, ys, np.arctan2(np.gradient(ys), np.gradient(xs))], axis=-1)


@pytest.fixture
def make_scene() -> Callable[..., Scene]:
    return scene_of


@pytest.fixture
def make_path() -> Callable[..., np.ndarray]:
    return cruise


@pytest.fixture
def make_map() -> Callable[..., RoadMap]:
    return straight_map


@pytest.fixture
def traffic() -> Scene:
    """The ego in the middle lane at 10 m/s, one ahead, one beside, one that changes lane."""
    return scene_of(
        [
            cruise(0.0, LANE, 10.0),
            cruise(30.0, LANE, 9.0),
            cruise(12.0, 0.0, 10.5),
            cruise(-15.0, 2 * LANE, 12.0, to_y=LANE),
        ]
    )
