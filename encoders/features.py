"""A scene as fixed-shape arrays for the encoder: tracks, roads and signals in the ego's frame.

One *window* is 10 s at 10 Hz, cut into 10 patches of 1 s. Everything is told in the frame of the
*focus*, which is the ego's pose at the scene's anchor, so that the same happening at another place
or heading gives the same arrays. Where there is no ego (or it was never observed within the
window), the focus is the agent with the most observed steps, and of several the one nearest to the
centroid of all observations. If the focus was not observed at the anchor, its observed step
nearest in time is taken.

Windows: a scene of up to 10 s is one window, padded at its end with steps that are not valid. A
longer one is covered by ⌈steps / 100⌉ windows whose starts are evenly spaced from the first step
to the last possible one, so that the first and last steps are both seen; a window's anchor is the
scene's, moved into the window.

What does not fit is chosen by nearness to the focus: agents by their least distance to it at any
step that both were observed, road pieces and signals by their least distance to its path.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from geometry.frames import SE2
from geometry.polylines import arc_length, at, headings, without_repeats
from schemas.errors import UnreadableFile
from schemas.labels import AREAS, VEHICLES, Label, LaneType, LightState, MapLayer
from schemas.records import MapFeature
from schemas.scene import DT, Scene, Signals

PATCHES = 10
PATCH_STEPS = 10
STEPS = PATCHES * PATCH_STEPS
"""Steps of a window: 10 s at 10 Hz."""
POINTS = 20
"""Points of a road piece."""


class State(IntEnum):
    """Columns of a track's state, in the focus frame."""

    X = 0
    Y = 1
    COS = 2
    SIN = 3
    VX = 4
    VY = 5


class RoadKind(Label):
    """What a road piece is a piece of."""

    OTHER = 0
    LANE = 1
    BIKE_LANE = 2
    LINE = 3
    EDGE = 4
    CROSSWALK = 5
    STOP_LINE = 6


_KIND_OF_LAYER = {
    MapLayer.LANE: RoadKind.LANE,
    MapLayer.ROAD_LINE: RoadKind.LINE,
    MapLayer.ROAD_EDGE: RoadKind.EDGE,
    MapLayer.DRIVABLE_AREA: RoadKind.EDGE,
    MapLayer.CROSSWALK: RoadKind.CROSSWALK,
    MapLayer.STOP_LINE: RoadKind.STOP_LINE,
    MapLayer.SPEED_BUMP: RoadKind.OTHER,
    MapLayer.PARKING: RoadKind.OTHER,
}
_FOREMOST = (RoadKind.LANE, RoadKind.BIKE_LANE, RoadKind.CROSSWALK)
_HANDICAP_M = 15.0  # [m] by which lines and edges count as farther than lanes and crosswalks


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConfig:
    """How much of a scene is looked at.

    Attributes:
        agents: Greatest number of road users, the focus included.
        polylines: Greatest number of road pieces.
        signals: Greatest number of signals.
        piece_m: Longest road piece; longer features are split evenly [m].
        reach_m: Road pieces and signals farther from the focus path are left out [m].
    """

    agents: int = 48
    polylines: int = 128
    signals: int = 16
    piece_m: float = 30.0
    reach_m: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """Windows as arrays, all in the frame of their focus, which is agent 0.

    Attributes:
        scene_id: Scene of each window.
        log_id: Its log.
        state: Columns of :class:`State`; zero where not valid [m, 1, m/s].
        valid: Whether the agent was observed at the step.
        cls: Codes of :class:`~schemas.labels.AgentClass`.
        size: (length, width, height) [m].
        ego: Whether the agent is the ego, or stands in for it.
        track_id: As in the tables; -1 for padding.
        road: Points of each piece [m].
        road_kind: Codes of :class:`RoadKind`.
        road_facts: Speed limit [m/s] or 0, whether it is known, whether within an intersection.
        road_valid: False for padding.
        light: Codes of :class:`~schemas.labels.LightState` that each patch shows most.
        light_pose: Where to stop, and the direction of travel there: x, y, cos, sin [m, 1].
        light_valid: False for padding.
    """

    scene_id: Int[Array, " windows"]
    log_id: Int[Array, " windows"]
    state: Float[Array, "windows agents steps 6"]
    valid: Bool[Array, "windows agents steps"]
    cls: Int[Array, "windows agents"]
    size: Float[Array, "windows agents 3"]
    ego: Bool[Array, "windows agents"]
    track_id: Int[Array, "windows agents"]
    road: Float[Array, "windows polylines points 2"]
    road_kind: Int[Array, "windows polylines"]
    road_facts: Float[Array, "windows polylines 3"]
    road_valid: Bool[Array, "windows polylines"]
    light: Int[Array, "windows signals patches"]
    light_pose: Float[Array, "windows signals 4"]
    light_valid: Bool[Array, "windows signals"]

    def __len__(self) -> int:
        return len(self.scene_id)

    def take(self, windows: Int[Array, " chosen"] | Sequence[int]) -> Features:
        """The chosen windows, in that order."""
        index = np.asarray(windows, dtype=np.int64)
        return Features(**{name: value[index] for name, value in self.arrays().items()})

    def arrays(self) -> dict[str, Array]:
        """Every array by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def features_of(scene: Scene, config: FeatureConfig, *, others: int = 0) -> Features:
    """The windows of a scene; none of a window in which nobody was observed.

    Args:
        scene: What happens.
        config: How much of it is looked at.
        others: To learn from: tell each window also in the frames of so many other vehicles, as
            if each were the ego. Those that were observed longest while moving are taken.
    """
    windows = []
    for begin in window_starts(scene.steps):
        cut = scene.between(begin, min(begin + STEPS, scene.steps))
        if cut.tracks.valid.any():
            focus = _focus(cut)
            windows.append(_window(cut, focus, config))
            windows.extend(_window(cut, i, config) for i in _movers(cut, focus)[:others])
    return stack(windows, config)


def window_starts(steps: int) -> list[int]:
    """First steps of the windows that cover a scene of so many steps."""
    count = max(math.ceil(steps / STEPS), 1)
    return [round(s) for s in np.linspace(0, max(steps - STEPS, 0), count)]


def stack(parts: Iterable[Features], config: FeatureConfig) -> Features:
    """Several sets of windows as one, in their order."""
    listed = list(parts)
    if not listed:
        return _empty(0, config)
    names = listed[0].arrays()
    return Features(**{name: np.concatenate([getattr(p, name) for p in listed]) for name in names})


def save(features: Features, path: Path) -> None:
    """Write windows as a compressed ``.npz``, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **features.arrays())
    partial.replace(path)


def load(source: Path, config: FeatureConfig) -> Features:
    """The windows of an ``.npz`` file, or of all such files of a folder in the order of names.

    Raises:
        UnreadableFile: There are none, or one is not what :func:`save` writes.
    """
    paths = sorted(source.glob("*.npz")) if source.is_dir() else [source]
    if not paths:
        raise UnreadableFile(source, "holds no .npz features", hint="Write some with `save`.")
    return stack((_load_file(path, config) for path in paths), config)


def batches(
    scenes: Iterable[Scene], config: FeatureConfig, *, windows: int, others: int = 0
) -> Iterator[tuple[list[int], Features]]:
    """Scenes in groups of about so many windows: ids of the scenes, and their windows.

    ``others`` is as for :func:`features_of`.
    """
    ids: list[int] = []
    parts: list[Features] = []
    for scene in scenes:
        ids.append(scene.scene_id)
        parts.append(features_of(scene, config, others=others))
        if sum(len(part) for part in parts) >= windows:
            yield ids, stack(parts, config)
            ids, parts = [], []
    if ids:
        yield ids, stack(parts, config)


def _load_file(path: Path, config: FeatureConfig) -> Features:
    names = {field.name for field in fields(Features)}
    try:
        with np.load(path, allow_pickle=False) as archive:
            if set(archive.files) != names:
                raise UnreadableFile(path, "does not hold the encoder's features")
            arrays: dict[str, Any] = {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise UnreadableFile(path, f"is not a readable .npz: {error}") from error
    caps = (config.agents, config.polylines, config.signals)
    found = (arrays["cls"].shape[1], arrays["road_kind"].shape[1], arrays["light"].shape[1])
    if found != caps:
        raise UnreadableFile(
            path,
            f"holds up to {found} agents, polylines and signals where {caps} are asked for",
            hint="Write the features again with the same settings.",
        )
    return Features(**arrays)


def _empty(windows: int, config: FeatureConfig) -> Features:
    agents, polylines, signals = config.agents, config.polylines, config.signals
    return Features(
        scene_id=np.zeros(windows, dtype=np.int64),
        log_id=np.zeros(windows, dtype=np.int64),
        state=np.zeros((windows, agents, STEPS, len(State)), dtype=np.float32),
        valid=np.zeros((windows, agents, STEPS), dtype=bool),
        cls=np.zeros((windows, agents), dtype=np.int8),
        size=np.zeros((windows, agents, 3), dtype=np.float32),
        ego=np.zeros((windows, agents), dtype=bool),
        track_id=np.full((windows, agents), -1, dtype=np.int64),
        road=np.zeros((windows, polylines, POINTS, 2), dtype=np.float32),
        road_kind=np.zeros((windows, polylines), dtype=np.int8),
        road_facts=np.zeros((windows, polylines, 3), dtype=np.float32),
        road_valid=np.zeros((windows, polylines), dtype=bool),
        light=np.zeros((windows, signals, PATCHES), dtype=np.int8),
        light_pose=np.zeros((windows, signals, 4), dtype=np.float32),
        light_valid=np.zeros((windows, signals), dtype=bool),
    )


def _window(cut: Scene, focus: int, config: FeatureConfig) -> Features:
    """One window, in the frame of one agent."""
    made = _empty(1, config)
    made.scene_id[0], made.log_id[0] = cut.scene_id, cut.log_id
    seen = np.flatnonzero(cut.tracks.valid[focus])
    now = int(seen[np.abs(seen - cut.anchor).argmin()])
    x, y = cut.tracks.xy[focus, now]
    focus_from_log = SE2(float(x), float(y), float(cut.tracks.yaw[focus, now])).inverse()
    path = focus_from_log.apply(cut.tracks.xy[focus, seen].astype(np.float64))
    _put_agents(made, cut, focus, focus_from_log)
    _put_roads(made, cut, path[::PATCH_STEPS], focus_from_log, config)
    _put_lights(made, cut, path[::PATCH_STEPS], focus_from_log, config)
    return made


def _focus(scene: Scene) -> int:
    """Index of the agent whose frame is used."""
    tracks = scene.tracks
    if scene.has_ego and tracks.valid[0].any():
        return 0
    observed = tracks.valid.sum(axis=1)
    centroid = tracks.xy[tracks.valid].mean(axis=0)
    away = np.hypot(*np.moveaxis(tracks.xy - centroid, -1, 0))
    distance = np.where(tracks.valid, away, np.inf).min(axis=1)
    return int(np.lexsort((distance, -observed))[0])


def _movers(scene: Scene, focus: int) -> list[int]:
    """Other vehicles that were observed for most of the window and moved, longest seen first."""
    tracks = scene.tracks
    observed = tracks.valid.sum(axis=1)
    path = np.where(tracks.valid, tracks.speed, 0.0).sum(axis=1) * DT
    fit = np.isin(tracks.cls, list(VEHICLES)) & (observed >= 0.7 * scene.steps) & (path >= 5.0)
    fit[focus] = False
    found = np.flatnonzero(fit)
    return [int(i) for i in found[np.lexsort((tracks.track_id[found], -observed[found]))]]


def _put_agents(made: Features, scene: Scene, focus: int, focus_from_log: SE2) -> None:
    tracks = scene.tracks
    both = tracks.valid & tracks.valid[focus]
    apart = np.linalg.norm(tracks.xy - tracks.xy[focus], axis=-1)
    anchor = tracks.xy[focus][tracks.valid[focus]].mean(axis=0)
    alone = np.linalg.norm(tracks.xy - anchor, axis=-1)  # for those never seen beside the focus
    least = np.where(both, apart, np.inf).min(axis=1)
    lonely = np.where(tracks.valid, alone, np.inf).min(axis=1)
    distance = np.where(np.isfinite(least), least, 1e4 + lonely)
    distance[focus] = -1.0
    agents = made.cls.shape[1]
    present = np.flatnonzero(tracks.valid.any(axis=1))
    chosen = present[np.lexsort((tracks.track_id[present], distance[present]))][:agents]
    n, steps = len(chosen), scene.steps
    valid = tracks.valid[chosen]
    yaw = focus_from_log.turn(tracks.yaw[chosen].astype(np.float64))
    state = np.concatenate(
        [
            focus_from_log.apply(tracks.xy[chosen].astype(np.float64)),
            np.cos(yaw)[..., None],
            np.sin(yaw)[..., None],
            focus_from_log.rotate(tracks.velocity[chosen].astype(np.float64)),
        ],
        axis=-1,
    )
    made.state[0, :n, :steps] = np.where(valid[..., None], state, 0.0)
    made.valid[0, :n, :steps] = valid
    made.cls[0, :n] = tracks.cls[chosen]
    made.size[0, :n] = np.nan_to_num(tracks.size[chosen])
    made.ego[0, :n] = (chosen == focus) & scene.has_ego
    made.track_id[0, :n] = tracks.track_id[chosen]


def _put_roads(
    made: Features, scene: Scene, path: Array, focus_from_log: SE2, config: FeatureConfig
) -> None:
    pieces: list[tuple[float, Array, RoadKind, tuple[float, float, float]]] = []
    for feature in scene.map.features:
        kind = _kind(feature)
        if kind is None or len(feature.points) < 2:
            continue
        line = focus_from_log.apply(np.asarray(feature.points[:, :2], dtype=np.float64))
        if not _within(line, path, config.reach_m):
            continue
        if feature.layer in AREAS:
            line = np.concatenate([line, line[:1]])
        limit = feature.speed_limit
        facts = (limit or 0.0, float(limit is not None), float(bool(feature.in_intersection)))
        for piece in _pieces(line, config.piece_m):
            gap = float(np.linalg.norm(piece[:, None] - path[None], axis=-1).min())
            if gap <= config.reach_m:
                cost = gap + (0.0 if kind in _FOREMOST else _HANDICAP_M)
                pieces.append((cost, piece, kind, facts))
    order = np.argsort([cost for cost, *_ in pieces], kind="stable")[: config.polylines]
    for row, index in enumerate(order):
        _, piece, kind, facts = pieces[index]
        made.road[0, row] = piece
        made.road_kind[0, row] = kind
        made.road_facts[0, row] = facts
        made.road_valid[0, row] = True


def _kind(feature: MapFeature) -> RoadKind | None:
    kind = _KIND_OF_LAYER.get(feature.layer)
    if kind is RoadKind.LANE and feature.lane_type in (LaneType.BIKE, LaneType.SIDEWALK):
        return RoadKind.BIKE_LANE
    return kind


def _within(line: Array, path: Array, reach: float) -> bool:
    """Whether any part of the line may be within reach: by its bounding box."""
    low, high = line.min(axis=0) - reach, line.max(axis=0) + reach
    return bool(((path >= low) & (path <= high)).all(axis=1).any())


def _pieces(line: Array, longest: float) -> list[Array]:
    """The line in even pieces no longer than asked, each of ``POINTS`` even points."""
    line = without_repeats(line)
    length = float(arc_length(line)[-1])
    if length <= 0.0:
        return []
    count = max(math.ceil(length / longest - 1e-3), 1)  # 30 m stay one piece in any frame
    ends = np.linspace(0.0, length, count + 1)
    stations = np.linspace(ends[:-1], ends[1:], POINTS, axis=1)
    return list(at(line, stations.ravel()).reshape(count, POINTS, 2))


def _put_lights(
    made: Features, scene: Scene, path: Array, focus_from_log: SE2, config: FeatureConfig
) -> None:
    signals = scene.signals
    placed = [(i, pose) for i in range(len(signals.lane)) if (pose := _stop(scene, i)) is not None]
    if not placed:
        return
    xy = focus_from_log.apply(np.array([[x, y] for _, (x, y, _) in placed]))
    yaw = focus_from_log.turn(np.array([turn for _, (_, _, turn) in placed]))
    gap = np.linalg.norm(xy[:, None] - path[None], axis=-1).min(axis=1)
    order = np.argsort(gap, kind="stable")[: config.signals]
    shown = _per_patch(signals)
    for row, index in enumerate(order[gap[order] <= config.reach_m]):
        made.light[0, row] = shown[placed[index][0]]
        made.light_pose[0, row] = (*xy[index], np.cos(yaw[index]), np.sin(yaw[index]))
        made.light_valid[0, row] = True


def _stop(scene: Scene, signal: int) -> tuple[float, float, float] | None:
    """Where to stop for a signal and the direction there; None where neither is known."""
    lane = int(scene.signals.lane[signal])
    line = None
    if 0 <= lane < len(scene.map.features) and len(scene.map.features[lane].points) >= 2:
        line = np.asarray(scene.map.features[lane].points[:, :2], dtype=np.float64)
    if scene.signals.has_stop[signal]:
        x, y = (float(v) for v in scene.signals.stop_xy[signal])
        if line is None:
            return x, y, 0.0
        nearest = int(np.linalg.norm(line - (x, y), axis=1).argmin())
        return x, y, float(headings(line)[nearest])
    if line is None:
        return None
    return float(line[0, 0]), float(line[0, 1]), float(headings(line)[0])


def _per_patch(signals: Signals) -> Array:
    """The state that each patch shows most; unknown only where nothing else was seen."""
    count, steps = signals.state.shape
    padded = np.full((count, STEPS), LightState.UNKNOWN, dtype=np.int64)
    padded[:, :steps] = signals.state
    patches = padded.reshape(count, PATCHES, PATCH_STEPS)
    votes = np.stack([(patches == state).sum(axis=-1) for state in LightState], axis=-1)
    votes[..., LightState.UNKNOWN] = np.minimum(votes[..., LightState.UNKNOWN], 0)
    return votes.argmax(axis=-1)
