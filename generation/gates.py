"""Gates: what a candidate must pass to be stored as a scenario, in order, stopping at the first no.

A gate answers a verdict for every scene it is shown: the value, the bound and whether it passed.
The closed-loop gates (a reference planner solves it, constant velocity does not) belong to
``simulation`` and are handed in; they are shown all candidates that are left, at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from generation.compose import Candidate
from geometry.arrays import Array
from geometry.boxes import corners, overlap
from geometry.kinematics import smooth, unwrap_valid
from geometry.polylines import inside, project
from schemas.labels import AgentClass, LaneType, MapLayer, Truth
from schemas.records import RoadMap
from schemas.scene import DT, Scene

if TYPE_CHECKING:
    from mining.query import Match
    from mining.query.rule import Rule

WHEELS = frozenset(
    {
        AgentClass.VEHICLE, AgentClass.TRUCK, AgentClass.BUS, AgentClass.MOTORCYCLE,
        AgentClass.CYCLIST, AgentClass.UNKNOWN,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a gate found.

    Attributes:
        value: The number that decided.
        bound: What it was held against.
        passed: Whether the scene passed.
        detail: In a sentence, for people.
    """

    value: float
    bound: float
    passed: bool
    detail: str = ""


class Gate(Protocol):
    """A check of scenes whose future begins after ``start``."""

    @property
    def name(self) -> str:
        """As reasons and the ``generated`` table tell it."""

    def check(self, scenes: Sequence[Scene], start: int) -> Sequence[Verdict]:
        """One verdict a scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finite:
    """Every state of the altered agents is a number, and within a kilometre of where it began."""

    altered: tuple[int, ...]
    name: str = "finite"
    reach: float = 1000.0

    def check(self, scenes: Sequence[Scene], start: int) -> Sequence[Verdict]:
        """One verdict a scene."""
        verdicts = []
        for scene in scenes:
            rows = rows_of(scene, self.altered)
            tracks = scene.tracks
            states = np.concatenate(
                [tracks.xy[rows], tracks.velocity[rows], tracks.yaw[rows][..., None]], axis=-1
            )
            moved = np.linalg.norm(tracks.xy[rows] - tracks.xy[rows, start : start + 1], axis=-1)
            moved = moved[tracks.valid[rows]]
            fine = bool(np.isfinite(states[tracks.valid[rows]]).all())
            value = float(moved.max()) if fine and moved.size else 0.0
            passed = fine and value <= self.reach
            detail = "" if passed else ("too far" if fine else "NaN or infinite state")
            verdicts.append(Verdict(value=value, bound=self.reach, passed=passed, detail=detail))
        return verdicts


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinematics:
    """Altered agents move as their class can: the value is the worst share of any limit, ≤ 1.

    Limits: |acceleration| 10.4 m/s² and curvature 0.3 1/m (Waymax's kinematic infeasibility);
    lateral acceleration 4.89 × 1.5 and yaw rate 0.95 × 1.2, nuPlan's comfort bounds with room for
    emergencies. Pedestrians: 4 m/s and 6 m/s² alone.
    """

    altered: tuple[int, ...]
    name: str = "kinematics"
    acceleration: float = 10.4
    curvature: float = 0.3
    lateral: float = 7.3
    yaw_rate: float = 1.14
    walk_speed: float = 4.0
    walk_acceleration: float = 6.0

    def check(self, scenes: Sequence[Scene], start: int) -> Sequence[Verdict]:
        """One verdict a scene."""
        return [self._verdict(scene, start) for scene in scenes]

    def _verdict(self, scene: Scene, start: int) -> Verdict:
        worst, what = 0.0, ""
        for row in rows_of(scene, self.altered):
            for name, share in self._shares(scene, int(row), start).items():
                if share > worst:
                    worst, what = share, f"{name} of track {scene.tracks.track_id[row]}"
        return Verdict(
            value=worst, bound=1.0, passed=worst <= 1.0,
            detail="" if worst <= 1.0 else f"{what} is {worst:.2f} times its limit",
        )  # fmt: skip

    def _shares(self, scene: Scene, row: int, start: int) -> dict[str, float]:
        tracks = scene.tracks
        span = slice(max(start - 2, 0), scene.steps)
        valid = tracks.valid[row, span]
        if valid.sum() < 5:
            return {}
        yaw = unwrap_valid(tracks.yaw[row, span].astype(np.float64), valid)
        v = tracks.velocity[row, span].astype(np.float64)
        along = v[:, 0] * np.cos(yaw) + v[:, 1] * np.sin(yaw)
        both = valid[1:] & valid[:-1]
        smoothed = smooth(along, valid, width=3)
        a = np.abs(np.diff(smoothed) / DT)[both]
        rate = np.abs(np.diff(smooth(yaw, valid, width=3)) / DT)[both]
        speed = np.abs(smoothed[1:][both])
        if scene.tracks.cls[row] not in WHEELS:
            return {
                "walking speed": float(np.abs(along[valid]).max() / self.walk_speed),
                "acceleration": float(a.max() / self.walk_acceleration),
            }
        bend = np.where(speed > 1.0, rate / np.maximum(speed, 1.0), 0.0)
        return {
            "acceleration": float(a.max() / self.acceleration),
            "curvature": float(bend.max() / self.curvature),
            "lateral acceleration": float((speed * rate).max() / self.lateral),
            "yaw rate": float(rate.max() / self.yaw_rate),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class OnMap:
    """Altered vehicles are off the drivable surface hardly more than the parent's vehicles are.

    Drivable area where the map has any, else nearness to a lane. Without a map nothing can be
    said, and the verdict says so and passes.

    Attributes:
        altered: Track ids of the altered agents.
        reference: Share of steps off the surface in the parent.
        margin: By how much the share may be greater.
        name: Of the gate.
    """

    altered: tuple[int, ...]
    reference: float
    margin: float = 0.05
    name: str = "map"

    def check(self, scenes: Sequence[Scene], start: int) -> Sequence[Verdict]:
        """One verdict a scene."""
        verdicts = []
        for scene in scenes:
            bound = self.reference + self.margin
            shares = [
                share
                for row in rows_of(scene, self.altered)
                if (share := off_map_share(scene, [int(row)], start)) is not None
            ]
            if not shares:
                detail = "unknown: no map, or nobody on wheels was altered"
                verdicts.append(Verdict(value=0.0, bound=bound, passed=True, detail=detail))
                continue
            worst = max(shares)
            detail = "" if worst <= bound else f"{worst:.0%} of a vehicle's steps are off the road"
            verdicts.append(
                Verdict(value=worst, bound=bound, passed=worst <= bound, detail=detail)
            )
        return verdicts


@dataclass(frozen=True, slots=True, kw_only=True)
class NoCollision:
    """Altered agents run into nobody but, later on, the ego; the value counts touching pairs.

    Pairs that touch in the parent (annotation) do not count, nor does the ego after the start: its
    logged track cannot react, and whether a planner can is for the closed-loop gates.
    """

    altered: tuple[int, ...]
    already: frozenset[tuple[int, int]] = frozenset()
    name: str = "collision"

    def check(self, scenes: Sequence[Scene], start: int) -> Sequence[Verdict]:
        """One verdict a scene."""
        verdicts = []
        for scene in scenes:
            hits = touching(scene, self.altered, start) - self.already
            detail = "" if not hits else "tracks " + ", ".join(f"{a}–{b}" for a, b in sorted(hits))
            verdicts.append(
                Verdict(value=float(len(hits)), bound=0.0, passed=not hits, detail=detail)
            )
        return verdicts


@dataclass(frozen=True, slots=True, kw_only=True)
class HasTags:
    """Every wanted predicate is true after the start, by the rules that mine the lake.

    Attributes:
        tags: Names of predicates.
        altered: Track ids of which one must take part; empty: anyone.
        name: Of the gate.
    """

    tags: tuple[str, ...]
    altered: tuple[int, ...] = ()
    name: str = "tags"

    def check(self, scenes: Sequence[Scene], start: int) -> Sequence[Verdict]:
        """One verdict a scene; the value is the share of wanted tags that are true."""
        from mining.predicates import tag_scene

        verdicts = []
        for scene in scenes:
            found = {
                interval.name
                for interval in tag_scene(scene, only=list(self.tags))
                if interval.truth == Truth.TRUE and interval.end_step > start
                and (not self.altered or self._takes_part(interval.actor, interval.other))
            }  # fmt: skip
            missing = [tag for tag in self.tags if tag not in found]
            share = 1.0 - len(missing) / max(len(self.tags), 1)
            detail = f"not true: {', '.join(missing)}" if missing else ""
            verdicts.append(Verdict(value=share, bound=1.0, passed=not missing, detail=detail))
        return verdicts

    def _takes_part(self, actor: int | None, other: int | None) -> bool:
        return (actor is None and other is None) or actor in self.altered or other in self.altered


@dataclass(frozen=True, slots=True, kw_only=True)
class Shows:
    """A query holds until after the start, for one of those who were altered if it names anybody.

    Attributes:
        query: As :mod:`mining.query` reads it.
        rules: Saved rules that it may call.
        altered: Track ids of which one must take part, by scene id; anyone where there are none.
        name: Of the gate.
    """

    query: str
    rules: Mapping[str, Rule]
    altered: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    name: str = "query"

    def check(self, scenes: Sequence[Scene], start: int) -> Sequence[Verdict]:
        """One verdict a scene; the value is how many matches count. All are asked in one statement."""
        from mining.query import holds

        verdicts = []
        for matches in holds(self.query, scenes, rules=self.rules):
            count = sum(match.t1_s > start * DT and self._takes_part(match) for match in matches)
            detail = "" if count else f"does not hold: {self.query}"
            verdicts.append(Verdict(value=count, bound=1.0, passed=count > 0, detail=detail))
        return verdicts

    def _takes_part(self, match: Match) -> bool:
        altered = self.altered.get(match.scene_id, ())
        others = {i for i in match.actors.values() if i}  # all but the ego
        return not altered or not others or bool(others & set(altered))


def rows_of(scene: Scene, track_ids: Sequence[int]) -> Array:
    """Rows of the scene's tracks that bear the ids."""
    return np.flatnonzero(np.isin(scene.tracks.track_id, list(track_ids)))


def off_map_share(scene: Scene, rows: Sequence[int], start: int) -> float | None:
    """Share of steps after the start at which vehicles are off the road; None if not known.

    A vehicle is off where a corner lies outside every drivable area by 0.3 m or more (nuPlan), or
    without areas, where its centre is farther than 3 m from every lane for vehicles.
    """
    tracks = scene.tracks
    rows = [row for row in rows if tracks.cls[row] in WHEELS]
    steps = np.arange(start + 1, scene.steps)
    if not scene.has_map or not rows or not len(steps):
        return None
    seen = tracks.valid[rows][:, steps]
    if not seen.any():
        return None
    surface = Surface(scene.map)
    if not surface:
        return None
    boxes = tracks.boxes[rows][:, steps][seen].astype(np.float64)
    return float(surface.off(boxes).mean())


class Surface:
    """Where vehicles may drive, by the map."""

    def __init__(self, road_map: RoadMap) -> None:
        layers = (
            MapLayer.DRIVABLE_AREA,
            MapLayer.INTERSECTION,
            MapLayer.DRIVEWAY,
            MapLayer.PARKING,
        )
        self.areas = [
            np.asarray(f.points, dtype=np.float64)[:, :2]
            for layer in layers
            for f in road_map.of_layer(layer)
            if len(f.points) > 2
        ]
        if not road_map.of_layer(MapLayer.DRIVABLE_AREA):
            self.areas = []
        self.lanes = [
            np.asarray(f.points, dtype=np.float64)[:, :2]
            for f in road_map.of_layer(MapLayer.LANE)
            if f.lane_type != LaneType.SIDEWALK and len(f.points) > 1
        ]

    def __bool__(self) -> bool:
        return bool(self.areas or self.lanes)

    def off(self, boxes: Array, *, tolerance: float = 0.3, lane_reach: float = 3.0) -> Array:
        """Whether each box (rows of five) is off the surface."""
        if self.areas:
            points = corners(boxes)
            low, high = points.min((0, 1)), points.max((0, 1))
            inward = boxes.copy()
            inward[:, 3:] = np.maximum(inward[:, 3:] - 2.0 * tolerance, 0.1)
            points = corners(inward)
            covered = np.zeros(points.shape[:2], dtype=bool)
            for area in self.areas:
                if (area.min(0) <= high).all() and (area.max(0) >= low).all():
                    covered |= inside(points, area)
            return np.asarray(~covered.all(axis=1))
        nearest = np.full(len(boxes), np.inf)
        low, high = boxes[:, :2].min(0) - lane_reach, boxes[:, :2].max(0) + lane_reach
        for lane in self.lanes:
            if (lane.min(0) <= high).all() and (lane.max(0) >= low).all():
                _, d, _ = project(boxes[:, :2], lane)
                nearest = np.minimum(nearest, np.abs(d))
        return np.asarray(nearest > lane_reach)


def touching(scene: Scene, altered: Sequence[int], start: int) -> set[tuple[int, int]]:
    """Pairs of track ids, one of them altered, whose boxes overlap from the start on.

    The ego counts at the start step alone.
    """
    tracks = scene.tracks
    boxes = tracks.boxes[:, start:].astype(np.float64)
    valid = tracks.valid[:, start:]
    ego = 0 if scene.has_ego else -1
    hits: set[tuple[int, int]] = set()
    for row in rows_of(scene, altered):
        near = np.linalg.norm(boxes[..., :2] - boxes[row, :, :2], axis=-1)
        reach = (np.hypot(*tracks.size[:, :2].T) + np.hypot(*tracks.size[row, :2]))[:, None] / 2.0
        close = valid & valid[row] & (near < reach)
        close[row] = False
        if ego >= 0:
            close[ego, 1:] = False
        others, steps = np.nonzero(close)
        if not len(others):
            continue
        hit = overlap(boxes[others, steps], boxes[row, steps])
        own = int(tracks.track_id[row])
        for other in np.unique(others[hit]):
            theirs = int(tracks.track_id[other])
            hits.add((min(own, theirs), max(own, theirs)))
    return hits


def own_gates(candidate: Candidate, parent: Scene, *, off_map: float) -> list[Gate]:
    """The gates that need neither lanes nor simulation, in order, for one candidate.

    Args:
        candidate: With its altered agents.
        parent: Whose own annotation collisions do not count.
        off_map: Share of the parent's vehicle steps off the road.
    """
    moved = candidate.altered
    ids = [int(i) for i in parent.tracks.track_id]
    already = frozenset(touching(parent, [i for i in moved if i in ids], candidate.start))
    return [
        Finite(altered=moved),
        Kinematics(altered=moved),
        OnMap(altered=moved, reference=off_map),
        NoCollision(altered=moved, already=already),
    ]
