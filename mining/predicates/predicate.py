"""What a predicate is, and how masks over steps become its spans.

A predicate is a function from a scene's `Motion` to spans: who, with whom, from which step to which,
and the number that decided it. Its thresholds are named parameters with unit and source, so that
they can be read, swept and stored beside every result. Sources: RefAV (arXiv 2505.20981), nuPlan
(docs/competition.md and metrics_description.md of its devkit), nuPlan-KG (PREDICATES.md of
nuPlan_Predicates_KG), WOMD (motion_metrics_utils.cc), CriMe (CommonRoad-CriMe), UN R157, RSS
(Shalev-Shwartz 2017), OpenLABEL (ASAM), or `own` where nobody publishes a figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from mining.intervals import BRIDGE_S, LEAST_S, NOTHING, Runs, decisive, middles, spells
from mining.jumps import over
from mining.motion import Motion
from schemas.labels import AgentClass, Truth


@dataclass(frozen=True, slots=True)
class Parameter:
    """A threshold: its name, value, unit and who says so."""

    name: str
    value: float
    unit: str
    source: str


class Span(NamedTuple):
    """Where a predicate holds (or is unknown), by indices of agents and lanes.

    Attributes:
        begin: First step.
        end: Last step, included.
        actor: Row of the agent in the scene; None for the whole scene.
        other: Row of the other agent.
        lane: Lane index, −1 for none.
        value: The number that decided it.
        evidence: The numbers behind it.
        truth: TRUE or UNKNOWN.
    """

    begin: int
    end: int
    actor: int | None = None
    other: int | None = None
    lane: int = -1
    value: float | None = None
    evidence: Mapping[str, Any] = NOTHING
    truth: Truth = Truth.TRUE


Limits = Mapping[str, float]
"""Values of a predicate's parameters, by name."""
Find = Callable[[Motion, Limits], Iterable[Span]]


SIGNS: Mapping[str, str] = {
    "≳ p, ≲ p": "begins at or above (below) p, and ends where 10 % of p short of it",
    "x₊": "max(x, 0)",
    "T": "how long it lasts; ≥ 0.5 s if nothing else is told, gaps under 0.3 s bridged",
    "t0, t1": "begin and end of the interval",
    "v, v_fwd, a, a_lat": "speed; velocity along the heading; acceleration along and across it, smoothed",
    "ψ, ω": "heading of the box, its rate of change, smoothed",
    "heading": "course of who is at 1 m/s or faster, else ψ",
    "xy, l, w": "centre, length and width of the box",
    "x, y": "how far the other's centre lies ahead and to the left, in the actor's frame",
    "r, clear": "distance of the centres; of the outlines",
    "s, d, w_lane, ψ_lane": "place along the lane, offset to the left of its centre line, the lane's "
    "width and direction; s_end: its length",
    "D": "d, running on over the boundaries of lanes, smoothed",
    "c": "distance of xy from the nearest centre line for cars",
    "leads, gap": "nearest ahead on the actor's way along lanes, ≤ 80 m; from bumper to bumper; lead: "
    "the other",
    "q": "from the front to where to stop for the signal, negative once past",
    "_other": "of the other; without it, of the actor",
}
"""What stands for what in formulas."""


@dataclass(frozen=True, kw_only=True)
class Predicate:
    """Something that can be said of a scene, an agent, or two agents.

    Attributes:
        name: As in queries and in ``events.name``.
        group: Family, named as its module.
        doc: What it means, in a sentence or two.
        formula: What decides it, in the signs of :data:`SIGNS`; parameters stand in braces, and all
            of them occur.
        find: Where it holds.
        roles: What actor and other stand for; empty for facts of the scene.
        unit: Of the intervals' ``value``.
        parameters: Thresholds.
        needs: What the scene must have, else it is unknown: ``map``, ``signals``, ``ego``,
            and further ones as ``WHY_UNKNOWN`` lists them.
        only: Who each role can be, where that follows from the meaning; None: anyone.
        symmetric: Whether it holds either way round if it holds at all; it is told once of two.
        of_ego: Whether, where the scene has an ego, it is told of the ego alone, or of others with
            it: of the rest it then is not known.
        ordinary: Whether it holds of somebody in nearly every scene, so that it sets none apart.
        version: Raised whenever its meaning changes, for all with :mod:`mining.jumps`.
    """

    name: str
    group: str
    doc: str
    formula: str
    find: Find
    roles: tuple[str, ...] = ("actor",)
    unit: str = ""
    parameters: tuple[Parameter, ...] = ()
    needs: tuple[str, ...] = ()
    only: tuple[frozenset[AgentClass] | None, ...] = ()
    symmetric: bool = False
    of_ego: bool = False
    ordinary: bool = False
    version: int = 3

    @cached_property
    def params(self) -> Mapping[str, Mapping[str, Any]]:
        """Its parameters as intervals tell them: value, unit and source by name."""
        return {
            p.name: {"value": p.value, "unit": p.unit, "source": p.source} for p in self.parameters
        }

    @property
    def limits(self) -> dict[str, float]:
        """Values of the parameters by name."""
        return {p.name: p.value for p in self.parameters}

    def decides(self, parameter: str = "{}") -> str:
        """The formula with the names of the parameters, each put in as the given form has it."""
        return self.formula.format_map({p.name: parameter.format(p.name) for p in self.parameters})


Extreme = Callable[[Array], Any]


def states(
    motion: Motion,
    mask: Bool[Array, "agents steps"],
    value: Float[Array, "agents steps"] | None = None,
    *,
    pick: Extreme = np.argmax,
    evidence: Mapping[str, Array] | None = None,
    least_s: float = LEAST_S,
    bridge_s: float = BRIDGE_S,
) -> list[Span]:
    """Spans of a mask over agents; the value is the extreme one within each.

    Args:
        motion: The scene; agents out of focus are left out.
        mask: Where the predicate holds.
        value: What decides it.
        pick: Which step of the span is the decisive one, by its values: ``np.argmax``,
            ``np.argmin`` or :func:`middle`.
        evidence: More arrays, told at the decisive step.
        least_s: Least duration [s].
        bridge_s: Shorter gaps are bridged [s].
    """
    mask = mask & motion.focus[:, None]
    found = spells(over(mask, motion.jumped), least_s=least_s, bridge_s=bridge_s)
    lanes = np.full(len(found), -1)
    if len(motion.scene.map.features):
        lanes = motion.lane[found.row, found.begin]
    values, facts = _told(found, mask, value, pick, evidence or {})
    rows = found.begin.tolist(), found.end.tolist(), found.row.tolist()
    nobody = [None] * len(found)
    return list(map(Span, *rows, nobody, lanes.tolist(), values, facts))


def relations(
    a: Int[Array, " pairs"],
    b: Int[Array, " pairs"],
    mask: Bool[Array, "pairs steps"],
    value: Float[Array, "pairs steps"] | None = None,
    *,
    pick: Extreme = np.argmax,
    evidence: Mapping[str, Array] | None = None,
    least_s: float = LEAST_S,
    bridge_s: float = BRIDGE_S,
) -> list[Span]:
    """Spans of a mask over pairs of agents; see :func:`states`."""
    found = spells(mask, least_s=least_s, bridge_s=bridge_s)
    values, facts = _told(found, mask, value, pick, evidence or {})
    steps = found.begin.tolist(), found.end.tolist()
    actors, others, no_lane = a[found.row].tolist(), b[found.row].tolist(), [-1] * len(found)
    return list(map(Span, *steps, actors, others, no_lane, values, facts))


def unknown(
    mask: Bool[Array, "rows steps"], reason: str, *, actor: Array | None = None
) -> list[Span]:
    """Spans in which a predicate cannot be known, for the reason given.

    Args:
        mask: Where.
        reason: Why.
        actor: Row of the agent for each row of the mask; the row itself if not given.
    """
    return [
        Span(
            begin=begin,
            end=end,
            actor=int(row if actor is None else actor[row]),
            evidence={"reason": reason},
            truth=Truth.UNKNOWN,
        )
        for row, begin, end in spells(mask)
    ]


def middle(values: Float[Array, " steps"]) -> int:
    """Where the median lies."""
    return int(np.argsort(values, kind="stable")[len(values) // 2])


def _told(
    found: Runs,
    mask: Bool[Array, "rows steps"],
    value: Float[Array, "rows steps"] | None,
    pick: Extreme,
    evidence: Mapping[str, Array],
) -> tuple[Sequence[float | None], Sequence[Mapping[str, float]]]:
    """Value and evidence of each span, at its decisive step: one at which the mask itself holds."""
    if value is None:
        step = found.begin
    elif pick is middle:
        step = middles(found, mask, value)
    else:
        step = decisive(found, mask, value, greatest=pick is np.argmax)
    at = found.row, step
    columns = [array[at].astype(np.float64).tolist() for array in evidence.values()]
    values = [None] * len(found) if value is None else value[at].astype(np.float64).tolist()
    if not columns:
        return values, [NOTHING] * len(found)
    return values, [dict(zip(evidence, row, strict=True)) for row in zip(*columns, strict=True)]
