"""NAVSIM's scores of a measured drive: PDMS (Dauner et al. 2024) and EPDMS (Cao et al. 2025).

    PDMS  = NC · DAC · (5 EP + 5 TTC + 2 C) / 12
    EPDMS = NC · DAC · DDC · TLC · (5 EP + 5 TTC + 2 LK + 2 HC + 2 EC) / 16

Formulas, weights and thresholds are those of navsim's ``docs/metrics.md``. In EPDMS a subscore is 1 where
the recorded drive itself gets 0 in it. What cannot be known (no map, no signals, no second plan) is left
out of product and mean, as in :mod:`simulation.scores`.

====  ======================================================================================
NC    No at-fault collision: 0 with a road user, ½ with a thing
DAC   Drivable area: all corners on the surface
DDC   Driving direction: less than 2 m against the lanes within a second 1, up to 6 m ½, else 0
TLC   Traffic lights: no stop line crossed at red
EP    Ego progress, relative to a reference's, 1 at most; 1 where that is under 5 m
TTC   Time to collision: at constant velocity, nobody is hit within 0.9 s
LK    Lane keeping: never for more than 2 s farther than 0.5 m beside the lane's centre
C     Comfort: nuPlan's bounds
HC    History comfort: likewise, the second before the start with it
EC    Extended comfort: two plans, 0.5 s apart, agree where they overlap
====  ======================================================================================

Where this differs from navsim: the drive is closed-loop, asked anew at every step, and lasts as long as
the case; :func:`opening` cuts it to navsim's 4 s. The reference of progress is the recorded drive unless
another is given (navsim: PDM-Closed). A corner may be 0.3 m off the surface, since lanes leave gaps.
TTC is solved in closed form instead of being looked at after 0, 0.3, 0.6 and 0.9 s. History is 1 s
(navsim: 1.5 s). NAVSIM's second stage, which starts from synthetic views, has no counterpart here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from simulation.batch import NOW, ReadyCase, stack
from simulation.engine import Rollout, simulate
from simulation.planners import LogReplay
from simulation.protocol import Planner
from simulation.scores import Drive, measure, quantities, within_comfort

Subscores = Mapping[str, float | None]
"""By the names above; None where it cannot be known."""

OPENING_STEPS = 40
APART_STEPS = 5  # between two plans whose comfort is compared
PROGRESS_LEAST_M = 5.0
TTC_LEAST = 0.9  # [s]
ASIDE_MOST = 2.0  # [s]

PRODUCT = ("NC", "DAC", "DDC", "TLC")
WEIGHTS = {"EP": 5.0, "TTC": 5.0, "LK": 2.0, "HC": 2.0, "EC": 2.0}
EXTENDED: Mapping[str, float] = {
    "acceleration": 0.7,  # [m/s²]
    "jerk": 0.5,  # [m/s³]
    "yaw_rate": 0.1,  # [rad/s]
    "yaw_acceleration": 0.1,  # [rad/s²]
}
"""Greatest root mean square by which two overlapping plans may differ."""


def subscores(
    drive: Drive, *, reference_m: float | None = None, extended: float | None = None
) -> dict[str, float | None]:
    """Every subscore of a drive.

    Args:
        drive: As measured.
        reference_m: How far the reference of progress gets; None: the recorded drive [m].
        extended: EC, where there are two plans to compare, see :func:`extended_comfort`.
    """
    factors = drive.multipliers
    reference = drive.reference if reference_m is None else reference_m
    progress = 1.0
    if reference >= PROGRESS_LEAST_M:
        progress = float(np.clip(drive.distance / reference, 0.0, 1.0))
    return {
        "NC": factors["no_at_fault_collision"],
        "DAC": factors["drivable_area"],
        "DDC": factors["driving_direction"],
        "TLC": None if drive.red_lights is None else float(drive.red_lights == 0),
        "EP": progress,
        "TTC": float(drive.ttc > TTC_LEAST),
        "LK": None if drive.aside is None else float(drive.aside <= ASIDE_MOST),
        "C": float(drive.comfortable),
        "HC": float(within_comfort(drive.comfort_before)),
        "EC": extended,
    }


def pdms(found: Subscores) -> float:
    """Version 1, in [0, 1]."""
    return _product(found, ("NC", "DAC")) * _mean(found, {"EP": 5.0, "TTC": 5.0, "C": 2.0})


def epdms(found: Subscores, human: Subscores | None = None) -> float:
    """Version 2, in [0, 1].

    Args:
        found: Of the drive.
        human: Of the recorded drive; where it gets 0, the subscore is 1. None: nothing is forgiven.
    """
    forgiven = {
        name: 1.0 if human is not None and human[name] == 0.0 and value is not None else value
        for name, value in found.items()
    }
    return _product(forgiven, PRODUCT) * _mean(forgiven, WEIGHTS)


def needs_human(found: Subscores) -> bool:
    """Whether EPDMS depends on how the recorded drive scores: it is forgiven what that gets 0 in.

    Progress apart, in which the recorded drive, being the reference, gets 1.
    """
    wanting = (found[name] for name in (*PRODUCT, *WEIGHTS) if name != "EP")
    return any(value is not None and value < 1.0 for value in wanting)


def of_rollout(rollout: Rollout, drives: Sequence[Drive]) -> list[dict[str, float]]:
    """``pdms`` and ``epdms`` of every case of a rollout that was measured already."""
    found = [subscores(drive) for drive in drives]
    asked = [case for case, sub in enumerate(found) if needs_human(sub)]
    humans: dict[int, Subscores] = {}
    if asked:
        recorded = simulate(stack([rollout.batch.ready[case] for case in asked]), LogReplay())
        if len(rollout.xy) < len(recorded.xy):
            recorded = opening(recorded, steps=len(rollout.xy) - 1 - NOW)
        humans = dict(zip(asked, map(subscores, measure(recorded)), strict=True))
    return [
        {"pdms": pdms(sub), "epdms": epdms(sub, humans.get(case))}
        for case, sub in enumerate(found)
    ]


def opening(rollout: Rollout, *, steps: int = OPENING_STEPS) -> Rollout:
    """The first seconds of a rollout, as if its cases ended then."""
    end, batch = NOW + 1 + steps, rollout.batch
    horizon = np.minimum(batch.horizon, steps)
    valid = rollout.valid[:end].copy()
    valid[np.arange(len(valid))[:, None] > NOW + horizon] = False
    cut = replace(
        batch, xy=batch.xy[:end], yaw=batch.yaw[:end], velocity=batch.velocity[:end],
        valid=batch.valid[:end], horizon=horizon,
        route_stops=replace(batch.route_stops, state=batch.route_stops.state[:end]),
        line_stops=replace(batch.line_stops, state=batch.line_stops.state[:end]),
    )  # fmt: skip
    return replace(
        rollout, batch=cut, xy=rollout.xy[:end], yaw=rollout.yaw[:end],
        velocity=rollout.velocity[:end], valid=valid, speed=rollout.speed[:end],
        acceleration=rollout.acceleration[:end], steering=rollout.steering[:end],
        contact=np.where(rollout.contact < end, rollout.contact, -1),
    )  # fmt: skip


def extended_comfort(earlier: Rollout, later: Rollout, case: int) -> float | None:
    """EC of two openings of a case that start 0.5 s apart: 1 if they agree while they overlap.

    None where they overlap for less than five steps.
    """
    many = min(
        int(earlier.batch.horizon[case]) + 1 - APART_STEPS, int(later.batch.horizon[case]) + 1
    )
    first = quantities(earlier, case, np.arange(NOW, NOW + APART_STEPS + max(many, 0)))
    second = quantities(later, case, np.arange(NOW, NOW + max(many, 0)))
    if not first or not second:
        return None
    for name, most in EXTENDED.items():
        one, two = (_magnitude(of, name) for of in (first, second))
        if np.sqrt(np.mean((one[APART_STEPS:] - two) ** 2)) > most:
            return 0.0
    return 1.0


def nonreactive(
    pairs: Sequence[tuple[ReadyCase, ReadyCase]],
    planner: Planner,
    *,
    reference: Planner | None = None,
) -> list[dict[str, float | None]]:
    """NAVSIM's evaluation of a planner: 4 s among others that keep to their log, all subscores.

    Args:
        pairs: Each case, its others replayed, and the same begun 0.5 s later; both of one horizon.
        planner: Who drives.
        reference: Whose progress counts as 1; None: the recorded drive.

    Returns:
        Every subscore, and ``pdms`` and ``epdms``; navsim's protocol but for the second stage.
    """
    cases = [one for one, _ in pairs]
    earlier = opening(simulate(stack(cases), planner))
    later = opening(simulate(stack([two for _, two in pairs]), planner))
    human = opening(simulate(stack(cases), LogReplay()))
    far: list[float | None] = [None] * len(pairs)
    if reference is not None:
        driven = measure(opening(simulate(stack(cases), reference)))
        far = [d.distance for d in driven]
    made: list[dict[str, float | None]] = []
    for case, (drive, recorded) in enumerate(zip(measure(earlier), measure(human), strict=True)):
        sub = subscores(
            drive, reference_m=far[case], extended=extended_comfort(earlier, later, case)
        )
        of_human = subscores(recorded)
        made.append({**sub, "pdms": pdms(sub), "epdms": epdms(sub, of_human)})
    return made


def _product(found: Subscores, names: Sequence[str]) -> float:
    return float(np.prod([value for n in names if (value := found[n]) is not None]))


def _mean(found: Subscores, weights: Mapping[str, float]) -> float:
    terms = [(w, value) for n, w in weights.items() if (value := found[n]) is not None]
    return sum(w * v for w, v in terms) / sum(w for w, _ in terms)


def _magnitude(values: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name == "acceleration":
        return np.hypot(values["lon_acceleration"], values["lat_acceleration"])
    return values[name]
