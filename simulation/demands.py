"""Criteria in the query language: what a drive must show, or must never show.

    yields = "yields_to(ego, pedestrian p)"
    calm   = "never hard_brake(ego)"

A query is a criterion that passes if it surely holds at some time of the drive, and fails if it
surely does not; ``never A`` and ``always A`` speak of the whole of it. What cannot be known has no
say. The scene that is asked begins when the planner takes over (:mod:`simulation.driven`).

Each kind of scene brings demands of its own (:data:`DEMANDS`); those that the recorded drive itself
does not meet are not made, for what no driver did may not be possible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mining.query import Query, Verdict, verdicts
from mining.query.find import understood
from mining.query.rules import shipped_rules
from schemas.case import Case, Measured
from schemas.scene import Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A criterion in the query language.

    Attributes:
        name: As in ``cases.criteria``.
        query: What must hold.
        doc: In a sentence.
        tags: Words of which one occurs in a tag of the scenes that it is demanded of.
    """

    name: str
    query: str
    doc: str
    tags: tuple[str, ...]


DEMANDS: dict[str, Demand] = {
    d.name: d
    for d in (
        Demand(
            name="no_near_miss_vru", doc="Never nearly hits anyone on foot or on two wheels",
            query="never near_miss(ego, vru _) and never near_miss(vru _, ego)",
            tags=("jaywalking", "pedestrian_crossing", "waiting_for_pedestrian", "crossed_by", "vru"),
        ),
        Demand(
            name="passes_standing_vehicle", doc="Gets past a vehicle that stands in its way",
            query="in_front_of(vehicle v, ego) and stopped(v) then behind(v, ego)",
            tags=("stalled_vehicle", "blocked_by", "nudge"),
        ),
        Demand(
            name="keeps_time_gap", doc="Restores the gap to whoever cut in: never tailgates for long",
            query="never tailgating(ego, _) for at least 2 s",
            tags=("cut_in", "slow_lead"),
        ),
        Demand(
            name="no_red_light_running", doc="Never crosses a stop line at red",
            query="never red_light_running(ego)",
            tags=("approaching_red", "dilemma_yellow", "stationary_at_light"),
        ),
        Demand(
            name="no_hard_brake", doc="Foresees: never brakes harder than passengers bear",
            query="never hard_brake(ego)",
            tags=("approaching_red", "slow_lead", "queuing"),
        ),
        Demand(
            name="lets_oncoming_pass", doc="Turns left only where nobody comes too near",
            query="never pet(ego, vehicle _) < 1.5 s and never pet(vehicle _, ego) < 1.5 s",
            tags=("oncoming_turn_conflict", "unprotected_turn"),
        ),
    )
}  # fmt: skip
"""In the order in which reports name them."""


def demands_for(tags: Iterable[str]) -> dict[str, str]:
    """Name to query of what a scene with these tags demands."""
    tags = list(tags)
    return {
        name: demand.query
        for name, demand in DEMANDS.items()
        if any(word in tag for tag in tags for word in demand.tags)
    }


def checked_query(text: str) -> Query:
    """The query of a criterion.

    Raises:
        BadExpression: It cannot be asked, with the place and what to do.
    """
    return understood(text, shipped_rules())


def queries_of(case: Case) -> dict[str, str]:
    """Name to query of the criteria of a case that are queries."""
    return {name: told for name, told in case.criteria.items() if isinstance(told, str)}


def met(asked: Sequence[tuple[Mapping[str, str], Scene]]) -> list[dict[str, Measured]]:
    """Every query measured on the scene that it is asked of.

    Args:
        asked: Name to query, and the scene of a drive; each scene with an id of its own.

    Raises:
        BadExpression: A query cannot be asked.
    """
    made: list[dict[str, Measured]] = [{} for _ in asked]
    texts = dict.fromkeys(text for queries, _ in asked for text in queries.values())
    # Cases that ask the same are looked through together: one statement a query, whatever their number.
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, (queries, _) in enumerate(asked):
        if queries:
            groups.setdefault(tuple(t for t in texts if t in queries.values()), []).append(place)
    for wanted, places in groups.items():
        answers = verdicts(wanted, [asked[place][1] for place in places])
        for text, of_scenes in zip(wanted, answers, strict=True):
            for place, verdict in zip(places, of_scenes, strict=True):
                for name, query in asked[place][0].items():
                    if query == text:
                        made[place][name] = _measured(text, verdict)
    return made


def _measured(text: str, verdict: Verdict) -> Measured:
    value = None if verdict.holds is None else float(verdict.holds)
    return Measured(value=value, bound=1.0, passed=verdict.holds, detail=_told(text, verdict))


def _told(text: str, verdict: Verdict) -> str:
    match = verdict.match
    if match is None:
        return f"not so: {text}"
    who = "".join(f", {name} = {track}" for name, track in match.actors.items() if name != "ego")
    when = f"from {match.t0_s:.1f} to {match.t1_s:.1f} s{who}"
    return f"cannot be known, perhaps {when}: {text}" if verdict.holds is None else when
