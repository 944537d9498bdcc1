"""All that can be said of a scene by rule: the registry of predicates, and how to ask them.

Who is asked about: the ego and everyone who came within 60 m of it; everyone if there is no ego.
Relations with a leader are told of all of these; relations of place (`near`, `closing`, …) of the
ego alone, if there is one; other relations of the ego with anyone, and of others that come within
15 m of each other.

What cannot be known is told once for a scene and predicate, as one UNKNOWN interval: because the
scene has no map, no recorded signals, no weather, …, or because somebody in question was lost from
sight for half a second or more. What has no interval is false.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mining.intervals import Interval
from mining.lanes import lane_graph
from mining.motion import Motion
from mining.predicates import (
    attributes,
    environment,
    geometry,
    interaction,
    lateral,
    longitudinal,
    map_relation,
    risk,
    signals,
)
from mining.predicates.predicate import Parameter, Predicate, Span
from mining.predicates.told import (
    SPECIAL_SOURCES,
    SPECIAL_WORDS,
    WORK_SOURCES,
    WORK_WORDS,
    told_of,
)
from schemas.errors import UnknownName
from schemas.labels import MapLayer, Truth
from schemas.scene import Scene

PREDICATES: dict[str, Predicate] = {
    predicate.name: predicate
    for predicate in (
        attributes.CATEGORY,
        attributes.IS_EGO,
        attributes.SPECIAL_VEHICLE,
        attributes.VRU,
        attributes.LONG_VEHICLE,
        attributes.PARKED,
        attributes.POORLY_OBSERVED,
        attributes.OCCLUDED_BY,
        longitudinal.MOVING,
        longitudinal.STOPPED,
        longitudinal.LOW_SPEED,
        longitudinal.MEDIUM_SPEED,
        longitudinal.HIGH_SPEED,
        longitudinal.ACCELERATING,
        longitudinal.BRAKING,
        longitudinal.HARD_BRAKE,
        longitudinal.HARSH_ACCEL,
        longitudinal.STARTING,
        longitudinal.STOPPING,
        longitudinal.REVERSING,
        longitudinal.OVER_LIMIT,
        longitudinal.JERK_HIGH,
        longitudinal.JERK_MAGNITUDE_HIGH,
        lateral.TRAJECTORY_STATIONARY,
        lateral.TRAJECTORY_STRAIGHT,
        lateral.TRAJECTORY_STRAIGHT_LEFT,
        lateral.TRAJECTORY_STRAIGHT_RIGHT,
        lateral.TRAJECTORY_LEFT,
        lateral.TRAJECTORY_RIGHT,
        lateral.TRAJECTORY_LEFT_U_TURN,
        lateral.TRAJECTORY_RIGHT_U_TURN,
        lateral.TURNING_LEFT,
        lateral.TURNING_RIGHT,
        lateral.U_TURN,
        lateral.THREE_POINT_TURN,
        lateral.HIGH_SPEED_TURN,
        lateral.LOW_SPEED_TURN,
        lateral.LAT_ACCEL_HIGH,
        lateral.LAT_ACCEL_UNCOMFORTABLE,
        lateral.YAW_RATE_HIGH,
        lateral.LANE_KEEPING,
        lateral.LANE_CHANGE_LEFT,
        lateral.LANE_CHANGE_RIGHT,
        lateral.MERGE,
        lateral.PULL_OVER,
        lateral.PULL_OUT,
        lateral.CUT_IN,
        lateral.CUT_OUT,
        lateral.OVERTAKE,
        lateral.NUDGE,
        lateral.SWERVE,
        lateral.WRONG_WAY,
        map_relation.ON_ROAD,
        map_relation.IN_DRIVABLE,
        map_relation.ON_VEHICLE_LANE,
        map_relation.ON_BIKE_LANE,
        map_relation.ON_BUS_LANE,
        map_relation.OFF_DRIVABLE,
        map_relation.IN_INTERSECTION,
        map_relation.NEAR_INTERSECTION,
        map_relation.AT_CROSSWALK,
        map_relation.TRAVERSING_CROSSWALK,
        map_relation.AT_STOP_SIGN,
        map_relation.ON_STOP_LINE,
        map_relation.ALL_WAY_STOP,
        map_relation.IN_CARPARK,
        map_relation.IN_PICKUP_DROPOFF,
        map_relation.OBSTACLE_ON_ROAD,
        map_relation.STALLED_VEHICLE,
        map_relation.ROUNDABOUT,
        map_relation.MERGE_ZONE,
        map_relation.LANE_STRADDLING,
        map_relation.NARROW_LANE,
        map_relation.SAME_LANE,
        map_relation.SAME_SIDE,
        map_relation.OPPOSITE_SIDE,
        signals.RELEVANT_GREEN,
        signals.RELEVANT_YELLOW,
        signals.RELEVANT_RED,
        signals.RELEVANT_OFF,
        signals.APPROACHING_RED,
        signals.RED_LIGHT_RUNNING,
        signals.STATIONARY_AT_LIGHT,
        signals.DILEMMA_YELLOW,
        signals.PROTECTED_TURN,
        signals.UNPROTECTED_TURN,
        geometry.NEAR,
        geometry.VERY_NEAR,
        geometry.NEAREST,
        geometry.IN_FRONT_OF,
        geometry.BEHIND,
        geometry.LEFT_OF,
        geometry.RIGHT_OF,
        geometry.FACING,
        geometry.HEADING_TOWARD,
        geometry.SAME_HEADING,
        geometry.OPPOSITE_HEADING,
        geometry.PERPENDICULAR_HEADING,
        geometry.CLOSING,
        geometry.COUNT_NEAR,
        geometry.BEHIND_LONG,
        geometry.VIEW_BLOCKING,
        geometry.BETWEEN,
        interaction.FOLLOWING,
        interaction.SLOW_LEAD,
        interaction.QUEUING,
        interaction.TAILGATING,
        interaction.CROSSED_BY,
        interaction.CROSSES_IN_FRONT,
        interaction.ONCOMING_TURN_CONFLICT,
        interaction.YIELDS_TO,
        interaction.BLOCKED_BY,
        interaction.JAYWALKING,
        interaction.WAITING_FOR_PEDESTRIAN,
        interaction.LANE_SPLITTING,
        interaction.PLATOON,
        risk.TTC,
        risk.TTC_2D,
        risk.THW,
        risk.PET,
        risk.DRAC,
        risk.A_REQ,
        risk.BTN,
        risk.STN,
        risk.MTTCP,
        risk.ET,
        risk.DCE,
        risk.WTTC,
        risk.RSS_VIOLATION,
        risk.RSS_LATERAL,
        risk.RSS_DANGER,
        risk.RSS_ONCOMING,
        risk.DELTA_V,
        risk.TET,
        risk.TIT,
        risk.CPI,
        risk.COLLISION,
        risk.NEAR_MISS,
        risk.KALMAN_DIFFICULTY,
        risk.COUNTERFACTUAL_DELTA,
        environment.WEATHER,
        environment.ILLUMINATION,
        environment.SURFACE,
        environment.WORK_ZONE,
        environment.ZONE,
        environment.TRAFFIC_DENSITY,
        environment.VRU_DENSITY,
    )
}
"""By name, in the order in which a person would list them."""

WHY_UNKNOWN = {
    "ego": "the scene has no ego",
    "map": "the scene has no map with lanes",
    "limits": "the map has no speed limits",
    "bounds": "the map has no lane boundaries",
    "surface": "the map has neither drivable areas nor road edges",
    "crosswalks": "the map has no crosswalks",
    "crossings": "the map has intersections and no crosswalks: its source does not draw any",
    "stop_signs": "the map has no stop signs",
    "stop_lines": "the map has no stop lines",
    "carparks": "the map has no car parks",
    "special": "the source does not tell vehicles of police, fire brigade or rescue apart",
    "works": "the source does not tell cones, barriers and signs of road works",
    "signals": "signals were not recorded",
    "weather": "the weather was not recorded",
    "daylight": "the time of day was not recorded",
}


def chosen(only: Iterable[str] | None) -> list[Predicate]:
    """The predicates of those names; all if there are none.

    Raises:
        UnknownName: No predicate is called so.
    """
    if only is None:
        return list(PREDICATES.values())
    wanted = list(dict.fromkeys(only))
    for name in wanted:
        if name not in PREDICATES:
            raise UnknownName("predicate", name, PREDICATES)
    return [PREDICATES[name] for name in wanted]


def tag_scene(
    scene: Scene, only: Iterable[str] | None = None, *, motion: Motion | None = None
) -> list[Interval]:
    """Every interval in which a predicate holds in a scene, or cannot be known.

    Args:
        scene: On its 10 Hz clock.
        only: Names of predicates; all by default.
        motion: Of the scene, if it is there already.

    Returns:
        Intervals by predicate in the registry's order, then by begin, actor and other.

    Raises:
        UnknownName: No predicate is called so.
    """
    predicates = chosen(only)
    if scene.steps == 0 or scene.tracks.valid.shape[0] == 0:
        return []
    motion = motion or Motion(scene)
    lacking, lost = _lacking(scene), _Doubt.of(_lost(motion), motion)
    found: list[Interval] = []
    for predicate in predicates:
        found += _ask(predicate, motion, lacking, lost)
    return found


def _ask(
    predicate: Predicate, motion: Motion, lacking: frozenset[str], lost: _Doubt | None
) -> list[Interval]:
    params = predicate.params
    missing = [need for need in predicate.needs if need in lacking]
    if missing:
        return [
            Interval(
                name=predicate.name,
                begin_step=0,
                end_step=motion.steps - 1,
                truth=Truth.UNKNOWN,
                evidence={"reason": "; ".join(WHY_UNKNOWN[need] for need in missing)},
                params=params,
            )
        ]
    told: list[Interval] = []
    doubts: list[Span] = []
    name, track_id, feature = predicate.name, motion.track_id, motion.graph.feature
    for span in predicate.find(motion, predicate.limits):
        begin, end, actor, other, lane, value, evidence, truth = span
        if truth == Truth.UNKNOWN:
            doubts.append(span)
            continue
        told.append(
            Interval(
                name,
                begin,
                end,
                None if actor is None else track_id[actor],
                None if other is None else track_id[other],
                int(feature[lane]) if lane >= 0 else None,
                truth,
                value,
                evidence,
                params,
            )
        )
    told.sort(key=lambda i: (i.begin_step, _order(i.actor), _order(i.other), i.end_step))
    doubt = _Doubt.of(doubts, motion, besides=lost if predicate.roles else None)
    if doubt is not None:
        told.append(
            Interval(
                name=predicate.name,
                begin_step=doubt.begin,
                end_step=doubt.end,
                actor=doubt.actors[0] if len(doubt.actors) == 1 else None,
                truth=Truth.UNKNOWN,
                evidence=doubt.evidence,
                params=params,
            )
        )
    return told


@dataclass(frozen=True, slots=True, kw_only=True)
class _Doubt:
    """All that could not be known, in one: from when to when, of whom (track ids, sorted), and why."""

    begin: int
    end: int
    actors: tuple[int, ...]
    evidence: Mapping[str, Any]

    @classmethod
    def of(
        cls, spans: Iterable[Span], motion: Motion, *, besides: _Doubt | None = None
    ) -> _Doubt | None:
        """Of spans that are unknown, and of another; None if there is nothing."""
        spans = list(spans)
        if not spans:
            return besides
        begins, ends = [s.begin for s in spans], [s.end for s in spans]
        actors = {motion.track_id[s.actor] for s in spans if s.actor is not None}
        reasons = {str(s.evidence["reason"]) for s in spans}
        if besides is not None:
            begins.append(besides.begin)
            ends.append(besides.end)
            actors.update(besides.actors)
            reasons.add(besides.evidence["reason"])
        listed = sorted(actors)
        return cls(
            begin=min(begins),
            end=max(ends),
            actors=tuple(listed),
            evidence={"reason": "; ".join(sorted(reasons)), "actors": listed},
        )


def _lost(motion: Motion) -> Iterator[Span]:
    for i in np.flatnonzero(motion.lost.any(axis=1) & motion.focus).tolist():
        steps = np.flatnonzero(motion.lost[i])
        yield Span(
            begin=int(steps[0]),
            end=int(steps[-1]),
            actor=i,
            truth=Truth.UNKNOWN,
            evidence={"reason": "not observed"},
        )


def _lacking(scene: Scene) -> frozenset[str]:
    graph = lane_graph(scene.map)
    layers = {feature.layer for feature in scene.map.features}
    has = {
        "ego": scene.has_ego,
        "map": scene.has_map and len(graph) > 0,
        "limits": bool(np.isfinite(graph.limit).any()),
        "bounds": bool(graph.has_bounds.any()),
        "surface": bool(layers & {MapLayer.DRIVABLE_AREA, MapLayer.ROAD_EDGE}),
        "crosswalks": MapLayer.CROSSWALK in layers,
        "crossings": MapLayer.CROSSWALK in layers or not bool(graph.in_intersection.any()),
        "stop_signs": MapLayer.STOP_SIGN in layers,
        "stop_lines": MapLayer.STOP_LINE in layers,
        "carparks": MapLayer.PARKING in layers,
        "special": told_of(scene, SPECIAL_WORDS, SPECIAL_SOURCES),
        "works": told_of(scene, WORK_WORDS, WORK_SOURCES),
        "signals": scene.has_signals,
        "weather": scene.weather is not None,
        "daylight": scene.daylight is not None,
    }
    return frozenset(name for name, present in has.items() if not present)


def _order(track_id: int | None) -> int:
    return -1 if track_id is None else track_id


__all__ = ["PREDICATES", "Interval", "Parameter", "Predicate", "chosen", "tag_scene"]
