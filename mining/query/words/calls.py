"""What a phrase means of somebody: a predicate with its actors, and the number that it is compared with."""

from __future__ import annotations

from dataclasses import replace

from mining.predicates import PREDICATES
from mining.query.tree import EGO, SOMEONE, Actor, And, Call, Compare, Node, Not, Or
from mining.query.units import SI, WRITTEN
from mining.query.values import VALUES
from mining.query.words.lexicon import AT_SPEED
from mining.query.words.people import People
from mining.query.words.sentence import Told

TOLD_FROM = {
    "ttc": "ttc", "ttc_2d": "ttc", "thw": "thw", "pet": "pet", "drac": "drac", "a_req": "a_req",
    "near": "distance", "braking": "acceleration", "accelerating": "acceleration",
    "high_speed": "speed", "over_limit": "excess", "jerk_high": "jerk", "lat_accel_high": "acceleration",
    "yaw_rate_high": "rate", "occluded_by": "share", "moving": "speed", "jerk_magnitude_high": "jerk",
    "high_speed_turn": "from", "low_speed_turn": "to", "lat_accel_uncomfortable": "acceleration",
    "lane_keeping": "offset", "narrow_lane": "width", "traversing_crosswalk": "speed",
    "very_near": "distance", "relevant_green": "distance", "relevant_yellow": "distance",
    "relevant_red": "distance", "relevant_off": "distance", "btn": "btn", "stn": "stn",
    "mttcp": "mttcp", "et": "et", "dce": "dce", "delta_v": "delta_v", "tet": "tet", "tit": "tit",
    "cpi": "cpi", "kalman_difficulty": "epe", "counterfactual_delta": "delta", "platoon": "count",
    "view_blocking": "angle",
}  # fmt: skip
"""The parameter that bounds a predicate's value: nothing is told beyond it."""
LOWEST = frozenset(name for name, limit in TOLD_FROM.items() if VALUES[name][0] == limit)
"""Where that bound is the least value; elsewhere it is the greatest."""
_THINGS = (None, "obstacle")
_FALLS = {"braking", "hard_brake", "stopping"}
"""Where more is further below zero."""


class Calls(People):
    """Makes predicates of phrases."""

    def call(self, told: Told, subject: Actor, other: Actor | None) -> Node:
        """The predicates that a phrase means, of those of whom it is said."""
        if told.means == AT_SPEED:
            return self.at_speed(told, subject)
        for mark, join in ((" | ", Or), (" & ", And)):
            if mark in told.means:
                parts = [
                    self.call(replace(told, means=m), subject, other)
                    for m in told.means.split(mark)
                ]
                return join(*parts, place=told.place)
        if told.means.startswith("not "):
            inner = self.call(replace(told, means=told.means.removeprefix("not ")), subject, other)
            return Not(inner, place=told.place)
        name = told.means
        if name == "obstacle_on_road" and (subject.name == EGO or subject.cls not in _THINGS):
            name = "on_road"
        compare = None if told.compare is None else self.comparison(name, told.compare)
        who = (other or Actor(SOMEONE), subject) if told.turned else (subject, other)
        two = name not in PREDICATES or len(PREDICATES[name].roles) > 1
        if other is not None and not two:
            self.wrong(
                other.place, f"`{self.said(other.place)}` has no part in this: `{name}` is of one alone",
                hint="Say in a clause of its own what they do.",
            )  # fmt: skip
        actors = tuple(a for a in who if a is not None)
        return Call(name, actors, compare, place=told.place)

    def comparison(self, name: str, compare: Compare) -> Compare:
        """A comparison as the predicate's value is stored; none that says nothing."""
        unit = PREDICATES[name].unit
        si, factor = SI.get(compare.unit, ("", 0.0)) if compare.unit else ("1", 1.0)
        if si != unit:
            return compare  # the check tells what is wrong with it
        if name in _FALLS and compare.number > 0:
            turned = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(compare.op, compare.op)
            compare = replace(compare, op=turned, number=-compare.number)  # type: ignore[arg-type]
        limit = PREDICATES[name].limits.get(TOLD_FROM.get(name, ""))
        if limit is None or compare.op == "=":
            return compare
        value = compare.number * factor
        is_least, asks_more = name in LOWEST, compare.op in (">", ">=")
        within = value >= limit if is_least else value <= limit
        if is_least != asks_more or not within:
            side = "less" if not is_least and name not in _FALLS else "more"
            told = f"{side} than {abs(limit):g} {WRITTEN.get(unit, unit)}"
            self.wrong(
                compare.place, f"`{name}` is only told where it is {told}",
                hint=f"Ask for {told}, or leave the number out.",
            )  # fmt: skip
        return compare

    def at_speed(self, told: Told, subject: Actor) -> Node:
        """A speed with a number, which is told only of those who are fast."""
        assert told.compare is not None
        bands = "`creeps`, `drives at medium speed`, `drives fast`, `is stopped`"
        limit = PREDICATES["high_speed"].limits["speed"]
        si, factor = SI.get(told.compare.unit, ("", 0.0))
        if si == "m/s" and (
            told.compare.op not in (">", ">=") or told.compare.number * factor < limit
        ):
            self.wrong(
                told.compare.place, f"Speeds are only told from {limit:g} m/s on",
                hint=f"Ask for more than that, or for {bands}.",
            )  # fmt: skip
        return Call("high_speed", (subject,), told.compare, place=told.place)
