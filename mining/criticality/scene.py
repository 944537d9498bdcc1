"""What a scene comes to: every measure of every ordered pair over time, and its worst values.

Nearness in time is worst where it is least (∞: never), what one must do about it where it is most
(0: nothing). What cannot be known is NaN in the worst values: measures along lanes without lanes,
relevance without an ego or without a future.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from mining.criticality.counterfactual import relevance
from mining.criticality.crossing import encroachment_time
from mining.criticality.exposure import crash_potential, time_exposed, time_integrated
from mining.criticality.lateral import steer_threat_number
from mining.criticality.longitudinal import brake_threat_number
from mining.criticality.measures import RSS, Measures, measures_of, side_of
from mining.criticality.oncoming import oncoming_of
from mining.motion import Motion
from schemas.scene import DT, Scene

EXPOSED_S = 2.0
"""[s] TTC at or below which an encounter counts as exposure (CriMe)."""
MADR_MEAN, MADR_DEVIATION, MADR_LEAST, MADR_MOST = 8.45, 1.40, 4.23, 12.68
"""Maximum available deceleration rate on dry roads (Cunto and Saccomanno 2007) [m/s²]."""
BRAKING_AVAILABLE = 8.0
"""[m/s²] Hardest braking on a dry road, as responsibility-sensitive safety has it."""
STEERING_AVAILABLE = 8.0
"""[m/s²] Greatest lateral acceleration (CriMe)."""
CAPABLE = 8.0
"""[m/s²] Of a road user in any direction: the two before, which are as great."""
PASSING_M = 5.0
"""[m] Whoever is never on course to come nearer than this is told of for other reasons only."""
SAME_M = 0.01
"""[m] Encounters that close count as equally close; the soonest of them is told."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One measure: its name, unit, and whether its least or greatest value is the worst."""

    name: str
    unit: str
    worst: Literal["min", "max"]

    @property
    def none(self) -> float:
        """Its value where there is nothing critical: never, or nothing to be done."""
        return np.inf if self.worst == "min" else 0.0


OVER_TIME: tuple[Metric, ...] = (
    Metric("ttc", "s", "min"), Metric("thw", "s", "min"), Metric("drac", "m/s²", "max"),
    Metric("a_req", "m/s²", "max"), Metric("a_lat_req", "m/s²", "max"), Metric("btn", "1", "max"),
    Metric("stn", "1", "max"), Metric("rss_gap", "m", "max"), Metric("rss_side", "m", "max"),
    Metric("rss_danger", "s", "max"), Metric("rss_oncoming", "m", "max"), Metric("ttc_2d", "s", "min"), Metric("dce", "m", "min"),
    Metric("ttce", "s", "min"), Metric("delta_v", "m/s", "max"), Metric("mttcp", "s", "min"),
    Metric("wttc", "s", "min"),
)  # fmt: skip
"""Measures that have a value at every step."""
IN_ALL: tuple[Metric, ...] = (
    Metric("pet", "s", "min"), Metric("et", "s", "max"), Metric("tet", "s", "max"),
    Metric("tit", "s²", "max"), Metric("cpi", "1", "max"),
    Metric("relevance_motion", "1", "max"), Metric("relevance_presence", "1", "max"),
)  # fmt: skip
"""Measures that have one value for a pair."""
METRICS = {metric.name: metric for metric in (*OVER_TIME, *IN_ALL)}
"""Every measure, as the columns of the table ``criticality``."""
ALONG_LANES = frozenset(
    {
        "ttc",
        "thw",
        "drac",
        "a_req",
        "a_lat_req",
        "btn",
        "stn",
        "rss_gap",
        "rss_oncoming",
        "tet",
        "tit",
        "cpi",
    }
)
"""Measures along lanes, unknown where there are none."""
OF_EGO = frozenset({"relevance_motion", "relevance_presence"})
"""Measures of the ego with another."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Worst:
    """The worst values of ordered pairs: everyone near the ego, others that come near each other.

    Attributes:
        a: Row of the actor in the scene's tracks.
        b: Row of the other.
        values: By measure; NaN where not known.
        unknown: Measures of which nothing can be known in this scene.
    """

    a: Int[Array, " pairs"]
    b: Int[Array, " pairs"]
    values: Mapping[str, Float[Array, " pairs"]]
    unknown: frozenset[str]

    @property
    def telling(self) -> Bool[Array, " pairs"]:
        """Pairs of which any measure tells something; passing at a distance does not count."""
        told = self.values["dce"] <= PASSING_M
        for name in set(METRICS) - {"dce", "ttce", "wttc"}:
            value = self.values[name]
            told |= np.isfinite(value) & (value != METRICS[name].none)
        return told

    @property
    def of_scene(self) -> dict[str, float]:
        """The worst value over all pairs; NaN where none is known."""
        worst = {}
        for name, value in self.values.items():
            metric, known = METRICS[name], value[~np.isnan(value)]
            if len(known):
                worst[name] = float(known.min() if metric.worst == "min" else known.max())
            else:
                worst[name] = np.nan if name in self.unknown or len(value) else metric.none
        return worst


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Criticality:
    """Every measure of every ordered pair of a scene.

    Attributes:
        a: Row of the actor in the scene's tracks: the follower, the first, who must brake.
        b: Row of the other.
        valid: Whether both are observed; where not, values over time mean nothing.
        known: By measure along lanes, where its inputs are known; others are where ``valid``.
        over_time: By measure; ∞ (nearness) or 0 (what must be done) where there is nothing.
        worst: The worst value of each measure, for each pair.
    """

    a: Int[Array, " pairs"]
    b: Int[Array, " pairs"]
    valid: Bool[Array, "pairs steps"]
    known: Mapping[str, Bool[Array, "pairs steps"]]
    over_time: Mapping[str, Float[Array, "pairs steps"]]
    worst: Worst


def criticality(scene: Scene) -> Criticality:
    """Every measure of every pair that matters: see `Motion.pairs` and `Motion.leads`."""
    motion = Motion(scene)
    worst = worst_of(motion)
    places = _Places(motion)
    measures = measures_of(motion)
    lanes = scene.has_map and len(motion.graph) > 0
    valid = motion.seen[places.a] & motion.seen[places.b]
    over_time: dict[str, Float[Array, "pairs steps"]] = {}
    known: dict[str, Bool[Array, "pairs steps"]] = {}
    for name, (where, value, sure) in _over_time(motion, measures, places):
        full = over_time.setdefault(name, np.full(valid.shape, METRICS[name].none))
        full[where] = np.where(sure, value, METRICS[name].none)
        if name in ALONG_LANES:
            told = valid & lanes
            if where is places.leads:
                told[where] &= sure | ~measures.motion.leads.on
            known[name] = told
    return Criticality(
        a=places.a, b=places.b, valid=valid, known=known, over_time=over_time, worst=worst
    )


def worst_of(motion: Motion) -> Worst:
    """The worst values of every pair, without spreading them over time first."""
    measures, places = measures_of(motion), _Places(motion)
    count = len(places.a)
    values = {name: np.full(count, metric.none) for name, metric in METRICS.items()}
    for name, (where, value, sure) in _over_time(motion, measures, places):
        metric = METRICS[name]
        told = np.where(sure, value, metric.none)
        extreme = (
            told.min(axis=1, initial=np.inf)
            if metric.worst == "min"
            else told.max(axis=1, initial=0.0)
        )
        values[name][where] = extreme
        if name in ("a_req", "btn"):
            unsure = motion.leads.on.any(axis=1) & ~sure.any(axis=1)
            values[name][where[unsure]] = np.nan
    _once_a_pair(motion, measures, places, values)
    unknown: frozenset[str] = frozenset()
    if not (motion.scene.has_map and len(motion.graph)):
        unknown |= ALONG_LANES
    if not motion.scene.has_ego:
        unknown |= OF_EGO
    for name in unknown:
        values[name][:] = np.nan
    return Worst(a=places.a, b=places.b, values=values, unknown=unknown)


class _Places:
    """All ordered pairs, and where among them leads, pairs and conflicts stand."""

    def __init__(self, motion: Motion) -> None:
        """Every pair once, by actor and other."""
        leads, pairs, count = motion.leads, motion.pairs, motion.agents
        of_leads, of_pairs = leads.a * count + leads.b, pairs.a * count + pairs.b
        keys = np.unique(np.concatenate([of_leads, of_pairs]))
        self.a, self.b = keys // max(count, 1), keys % max(count, 1)
        self.leads = np.searchsorted(keys, of_leads)
        self.pairs = np.searchsorted(keys, of_pairs)
        first = np.array([c.first for c in motion.conflicts], dtype=np.int64)
        second = np.array([c.second for c in motion.conflicts], dtype=np.int64)
        self.first = np.searchsorted(keys, first * count + second)
        self.second = np.searchsorted(keys, second * count + first)


Told = tuple[Int[Array, " rows"], Float[Array, "rows steps"], Bool[Array, "rows steps"]]


def _over_time(motion: Motion, m: Measures, at: _Places) -> Iterator[tuple[str, Told]]:
    """Of each measure over time: rows among all pairs, values, and where they are known.

    One after the other, some in two parts: in a crowd each takes ten megabytes and more.
    """
    on = motion.leads.on
    yield "ttc", (at.leads, m.ttc, on)
    yield "thw", (at.leads, m.thw, on)
    yield "drac", (at.leads, m.drac, on)
    yield "a_req", (at.leads, m.needed, m.needed_known)
    yield "a_lat_req", (at.leads, m.swerve, on)
    btn = brake_threat_number(m.needed, available=BRAKING_AVAILABLE)
    yield "btn", (at.leads, btn, m.needed_known)
    yield "stn", (at.leads, steer_threat_number(m.swerve, available=STEERING_AVAILABLE), on)
    yield "rss_gap", (at.leads, np.maximum(m.lacks_gap, 0.0), on)
    side = side_of(motion, RSS)
    lacks = np.where(side.unsafe_along, np.maximum(side.lacks, 0.0), 0.0)
    yield "rss_side", (at.pairs, lacks, side.known)
    since = (np.arange(motion.steps) - side.began + 1) * DT
    yield "rss_danger", (at.pairs, np.where(side.dangerous, since, 0.0), side.known)
    lacks = np.maximum(m.lacks_oncoming(RSS), 0.0)
    yield "rss_oncoming", (at.pairs, lacks, oncoming_of(motion).on)
    dce, ttce = m.encounter
    for which, pairs in enumerate((at.pairs[: m.half], at.pairs[m.half :])):
        yield "ttc_2d", (pairs, m.ttc_2d, m.course_known)
        yield "dce", (pairs, dce, m.course_known)
        yield "ttce", (pairs, ttce, m.course_known)
        yield "delta_v", (pairs, m.impact[which], m.course_known)
        yield "wttc", (pairs, m.wttc(CAPABLE), m.course_known)
    for conflicts in (at.first, at.second):
        yield "mttcp", (conflicts, m.at_crossing, np.ones(m.at_crossing.shape, dtype=bool))


def _once_a_pair(
    motion: Motion, m: Measures, at: _Places, values: Mapping[str, Float[Array, " pairs"]]
) -> None:
    """Fill in the measures that have one value for a pair, and the TTCE of the least DCE."""
    for place, entry in (("first", at.first), ("second", at.second)):
        enters = np.array(
            [getattr(c, f"{place}_enters") for c in motion.conflicts], dtype=np.int64
        )
        leaves = np.array(
            [getattr(c, f"{place}_leaves") for c in motion.conflicts], dtype=np.int64
        )
        values["et"][entry] = encroachment_time(enters, leaves)
        values["pet"][entry] = [c.pet for c in motion.conflicts]
    values["tet"][at.leads] = time_exposed(m.ttc, below=EXPOSED_S)
    values["tit"][at.leads] = time_integrated(m.ttc, below=EXPOSED_S)
    both = motion.seen[motion.leads.a] & motion.seen[motion.leads.b]
    values["cpi"][at.leads] = crash_potential(
        m.drac, both, mean=MADR_MEAN, deviation=MADR_DEVIATION, least=MADR_LEAST, most=MADR_MOST
    )
    dce, ttce = m.encounter
    if dce.size:
        closest = dce <= dce.min(axis=1, keepdims=True) + SAME_M
        when = np.where(closest, ttce, np.inf).min(axis=1)
        values["ttce"][at.pairs] = np.concatenate([when, when])
    told = relevance(motion)
    of_ego = (at.a == 0) & motion.scene.has_ego
    others = at.b
    for name, value, known in (
        ("relevance_motion", told.motion, told.motion_known),
        ("relevance_presence", told.presence, told.presence_known),
    ):
        values[name][:] = np.where(of_ego & known[others], value[others], np.nan)
