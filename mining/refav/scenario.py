"""Scenarios as RefAV has them, and how they are put together.

A scenario says who is meant, and when: ``{track: [stamps]}``, or with whom:
``{track: {related: [stamps]}}``, as deep as one likes. A track holds at every stamp that is found
anywhere below it. Nothing here changes what it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

Scenario: TypeAlias = dict[str, Any]
"""Track → stamps [ns], or track → a scenario of related objects."""


def stamps_of(child: Scenario | Iterable[int]) -> set[int]:
    """Every stamp at or below a branch [ns]."""
    if not isinstance(child, dict):
        return set(child)
    return set().union(*(stamps_of(below) for below in child.values()))


def tracks_of(scenario: Scenario) -> dict[str, set[int]]:
    """The referred tracks with all stamps at which they hold; none that never holds."""
    told = {track: stamps_of(child) for track, child in scenario.items()}
    return {track: stamps for track, stamps in told.items() if stamps}


def at_stamps(child: Any, kept: set[int]) -> Any:
    """A branch at some stamps only, without the branches that are then empty."""
    if not isinstance(child, dict):
        return sorted(set(child) & kept)
    below = {name: at_stamps(branch, kept) for name, branch in child.items()}
    return {name: branch for name, branch in below.items() if branch}


def tidy(scenario: Scenario) -> Scenario:
    """The scenario with stamps in order and without empty branches."""
    return dict(at_stamps(scenario, stamps_of(scenario)))


def union(scenarios: Sequence[Scenario]) -> Scenario:
    """All tracks, relations and stamps of the scenarios."""
    whole: Scenario = {}
    for scenario in scenarios:
        for track, child in scenario.items():
            whole[track] = _both(track, whole[track], child) if track in whole else child
    return tidy(whole)


def intersection(scenarios: Sequence[Scenario]) -> Scenario:
    """Tracks at the stamps at which they hold in every scenario, with the relations of all."""
    told = [tracks_of(scenario) for scenario in scenarios]
    shared: Scenario = {}
    for track in told[0] if told else ():
        stamps = set.intersection(*(tracks.get(track, set()) for tracks in told))
        if stamps:
            branches = [at_stamps(scenario[track], stamps) for scenario in scenarios]
            related = [branch for branch in branches if isinstance(branch, dict)]
            shared[track] = union(related) if related else sorted(stamps)
    return shared


def difference(whole: Scenario, part: Scenario) -> Scenario:
    """What of ``whole`` does not hold in ``part``; its own relations stay."""
    held = tracks_of(part)
    return tidy(
        {
            track: at_stamps(child, stamps_of(child) - held.get(track, set()))
            for track, child in whole.items()
        }
    )


def swapped(scenario: Scenario, related: Iterable[str]) -> Scenario:
    """The relations to ``related`` the other way round: ``{related: {track: …}}``.

    Relations that a track has besides go with it, at the stamps of the relation.
    """
    wanted = set(related)
    turned: list[Scenario] = []
    for track, child in scenario.items():
        if not isinstance(child, dict):
            continue
        besides = {name: branch for name, branch in child.items() if name not in wanted}
        for name in wanted & set(child):
            stamps = stamps_of(child[name])
            kept = at_stamps(besides, stamps)
            # What the track has besides need not cover the relation: the stamps themselves do.
            rest = {track: sorted(stamps - stamps_of(kept))} if kept else {}
            turned.append({name: {track: union([kept, rest]) if kept else sorted(stamps)}})
    return union(turned)


def _both(track: str, one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return union([one, other])
    if not isinstance(one, dict) and not isinstance(other, dict):
        return sorted(set(one) | set(other))
    nested, flat = (one, other) if isinstance(one, dict) else (other, one)
    # Stamps without a relation hang below the track itself, as in RefAV.
    alone = set(flat) - stamps_of(nested)
    return union([nested, {track: sorted(alone)}]) if alone else nested
