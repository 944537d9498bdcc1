"""When a drive was lost: for each criterion that it failed, the step from which on that was so.

A drive that ended at step k is measured as any other. The moment of a failed criterion is the least k
from which on the drive fails it wherever it ends: when the ego hits somebody, leaves the road, comes
too near. So every measure of :mod:`simulation.criteria` has a moment without telling one itself.

A demand ``never A`` is lost when A first holds. One that something be shown, or the goal reached, can
be met to the last: its moment is the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from geometry.arrays import Array
from mining.query import Match, holds
from mining.query.find import understood
from mining.query.rules import shipped_rules
from mining.query.tree import And, Count, Node, Query
from schemas.case import Result
from schemas.scene import DT, Scene
from simulation.batch import NOW
from simulation.criteria import CRITERIA, judge
from simulation.demands import queries_of
from simulation.engine import Rollout
from simulation.scores import measure

AT_THE_END = frozenset({"goal"})
"""Criteria of where the drive ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a criterion was lost.

    Attributes:
        step: Since the planner took over, in steps of 0.1 s.
        at_end: Whether it could have been met until then.
        others: Track ids of those with whom.
    """

    step: int
    at_end: bool = False
    others: frozenset[int] = frozenset()


def moments(result: Result, rollout: Rollout, driven: Scene) -> dict[str, Moment]:
    """The moment of each criterion that a result failed, in the order of its criteria.

    What a replay does not fail, as can be where a value lies within rounding of its bound, is left out.

    Args:
        result: Of the case.
        rollout: Of that case alone, see :func:`simulation.replay.replayed`.
        driven: The same as a scene, see :class:`simulation.driven.DrivenScenes`.
    """
    queries = queries_of(result.case)
    end = Moment(step=result.case.horizon_steps, at_end=True)
    found = {
        name: _of_query(queries[name], driven, end) for name in result.failed if name in queries
    }
    measured = [n for n in result.failed if n in CRITERIA and n not in AT_THE_END]
    steps = _of_measures(result, rollout, measured)
    for name, step in steps.items():
        hit = np.flatnonzero(rollout.contact[0] == NOW + step) if "collision" in name else ()
        others = frozenset(rollout.batch.track_id[0, list(hit)].tolist())
        found[name] = Moment(step=step, others=others)
    found |= {name: end for name in result.failed if name in AT_THE_END}
    return {name: found[name] for name in result.failed if name in found}


def cut(rollout: Rollout, steps: int) -> Rollout:
    """The same cases as if they had ended after so many steps."""
    valid = rollout.valid.copy()
    valid[NOW + steps + 1 :] = False
    contact: Int[Array, "cases agents"] = np.where(
        rollout.contact <= NOW + steps, rollout.contact, -1
    )
    horizon = np.minimum(rollout.batch.horizon, steps)
    return replace(
        rollout, valid=valid, contact=contact, batch=replace(rollout.batch, horizon=horizon)
    )


def _of_measures(result: Result, rollout: Rollout, names: Iterable[str]) -> dict[str, int]:
    """Step from which on each measure fails; those that the replay does not fail are left out."""
    criteria = {name: result.case.criteria[name] for name in names if name in result.case.criteria}
    left = replace(result.case, criteria=criteria)
    lost: dict[str, int] = {}
    for steps in range(result.case.horizon_steps, 0, -1):
        if not left.criteria:
            break
        (drive,) = measure(cut(rollout, steps))
        verdicts, _ = judge(left, drive)
        still = {name: left.criteria[name] for name, m in verdicts.items() if m.passed is False}
        lost.update(dict.fromkeys(still, steps))
        left = replace(left, criteria=still)
    return lost


def _of_query(text: str, driven: Scene, end: Moment) -> Moment:
    """When the first thing happened that the query forbids, or else the end."""
    node = understood(text, shipped_rules()).node
    parts = node.parts if isinstance(node, And) else (node,)
    first: Match | None = None
    for part in filter(None, map(_forbidden, parts)):
        for match in holds(Query(part), [driven])[0]:
            if match.truth == "true" and (first is None or match.t0_s < first.t0_s):
                first = match
    if first is None:
        return end
    who: Mapping[str, int | None] = first.actors
    others = frozenset(track for track in who.values() if track)
    return Moment(step=min(round(first.t0_s / DT), end.step), others=others)


def _forbidden(node: Node) -> Node | None:
    """Of ``never A`` the A, which :mod:`mining.query.parse` reads as ``count(A) = 0``."""
    if not isinstance(node, Count) or node.at_once or node.within_s is not None:
        return None
    return node.part if (node.compare.op, node.compare.number) == ("=", 0) else None
