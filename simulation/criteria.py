"""What a case may demand: every criterion, how it is measured, and which tags call for which.

A criterion is a bound on one of the measures of :data:`CRITERIA`, or a query that the drive must meet
(:mod:`simulation.demands`). One that cannot be known, for want of a map or of signals, has no say in the verdict; it is
recorded as unknown, with the reason.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping

from schemas.case import AT_LEAST, AT_MOST, Case, Criterion, Measured
from schemas.errors import BadSetting, UnknownName
from simulation.demands import checked_query, queries_of
from simulation.scores import (
    COMFORT,
    OUTSIDE_M,
    OVERSPEED,
    PROGRESS_LEAST,
    TTC_LEAST,
    WRONG_WAY_M,
    Collision,
    Drive,
)

CRITERIA: dict[str, Criterion] = {
    c.name: c
    for c in (
        Criterion(
            name="no_at_fault_collision", doc="Collisions that the ego is to blame for",
            unit="", sense=AT_MOST, bound=0.0, source="nuPlan",
        ),
        Criterion(
            name="no_collision", doc="Collisions, whoever is to blame",
            unit="", sense=AT_MOST, bound=0.0, source="Scenelake",
        ),
        Criterion(
            name="drivable_area", doc="Greatest distance of a corner from the drivable surface",
            unit="m", sense=AT_MOST, bound=OUTSIDE_M, source="nuPlan",
        ),
        Criterion(
            name="driving_direction", doc="Driven against the lanes within a second, at most",
            unit="m", sense=AT_MOST, bound=WRONG_WAY_M[1], source="nuPlan",
        ),
        Criterion(
            name="making_progress", doc="Progress along the route, as a ratio to the recorded drive",
            unit="", sense=AT_LEAST, bound=PROGRESS_LEAST, source="nuPlan",
        ),
        Criterion(
            name="no_red_light", doc="Stop lines crossed at red",
            unit="", sense=AT_MOST, bound=0.0, source="CARLA leaderboard",
        ),
        Criterion(
            name="min_ttc", doc="Least time to collision, at most 3 s",
            unit="s", sense=AT_LEAST, bound=TTC_LEAST, source="nuPlan",
        ),
        Criterion(
            name="min_gap", doc="Least clearance to anyone while moving",
            unit="m", sense=AT_LEAST, bound=0.2, source="Scenelake",
        ),
        Criterion(
            name="min_gap_vru", doc="Least clearance to a vulnerable road user while moving",
            unit="m", sense=AT_LEAST, bound=0.5, source="Scenelake",
        ),
        Criterion(
            name="max_braking", doc="Greatest deceleration",
            unit="m/s²", sense=AT_MOST, bound=6.0, source="UN R157, emergency above 5",
        ),
        Criterion(
            name="speed_limit", doc="Mean excess over the speed limit",
            unit="m/s", sense=AT_MOST, bound=OVERSPEED, source="nuPlan",
        ),
        Criterion(
            name="comfort", doc="Quantities of motion outside nuPlan's comfort bounds",
            unit="", sense=AT_MOST, bound=0.0, source="nuPlan",
        ),
        Criterion(
            name="goal", doc="Distance to the goal at the end",
            unit="m", sense=AT_MOST, bound=5.0, source="Scenelake",
        ),
    )
}  # fmt: skip
"""In the order in which reports name them."""

ALWAYS = (
    "no_at_fault_collision",
    "drivable_area",
    "driving_direction",
    "making_progress",
    "no_red_light",
)
"""Demanded of every case: the hard rules on which the public suites agree."""

BY_TAG: dict[str, dict[str, float]] = {
    "jaywalking": {"min_gap_vru": 0.5},
    "pedestrian_crossing": {"min_gap_vru": 0.5},
    "vru_near": {"min_gap_vru": 0.5},
    "near_miss": {"min_gap": 0.2},
    "cut_in": {"min_gap": 0.2},
    "debris": {"min_gap": 0.2},
    "stalled_vehicle": {"min_gap": 0.2},
    "low_ttc": {"min_ttc": TTC_LEAST},
}
"""What the tags of a scene add, by the words that occur in a tag's name."""


def criteria_for(
    tags: Iterable[str], extra: Mapping[str, float | str] | None = None
) -> dict[str, float | str]:
    """Name to bound, or to query, of what a scene with these tags demands.

    Args:
        tags: Names of predicates that hold in the scene.
        extra: More criteria, or other bounds; they win. A text is a query that must hold.

    Raises:
        UnknownName: A criterion that there is none of.
        BadSetting: A bound that is no finite number, or a query under the name of a measure.
        BadExpression: A query that cannot be asked.
    """
    made: dict[str, float | str] = {name: CRITERIA[name].bound for name in ALWAYS}
    for tag in tags:
        for word, bounds in BY_TAG.items():
            if word in tag:
                made.update(bounds)
    made.update(checked_criteria(extra or {}))
    return made


def checked_criteria(told: Mapping[str, float | str]) -> dict[str, float | str]:
    """The criteria, each seen to be one.

    Raises:
        UnknownName: A criterion that there is none of.
        BadSetting: A bound that is no finite number, or a query under the name of a measure.
        BadExpression: A query that cannot be asked.
    """
    made: dict[str, float | str] = {}
    for name, value in told.items():
        if isinstance(value, str):
            if name in CRITERIA:
                raise BadSetting(
                    f"The bound of {name} must be a number, not {value!r}.",
                    hint="A query needs a name of its own, such as my_rule.",
                )
            checked_query(value)
            made[name] = value
            continue
        if name not in CRITERIA:
            raise UnknownName("criterion", name, CRITERIA)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise BadSetting(f"The bound of {name} must be a number, not {value!r}.")
        # Nothing can be measured against nan, and JSON has a form for neither it nor infinity.
        if not abs(value) <= sys.float_info.max:
            raise BadSetting(
                f"The bound of {name} must be a finite number, not {_shortened(value)}.",
                hint=f"Give one that a drive can be measured against, such as {CRITERIA[name].bound:g}.",
            )
        made[name] = float(value)
    return made


def _shortened(value: float) -> str:
    """A number that no float holds, as far as anyone would read it."""
    return f"{value:g}" if isinstance(value, float) else "one beyond 1.8e308"


def judge(
    case: Case, drive: Drive, answers: Mapping[str, Measured] | None = None
) -> tuple[dict[str, Measured], bool]:
    """Every criterion of a case measured, and whether all that can be known hold.

    Args:
        case: What is demanded.
        drive: What was measured.
        answers: Of the criteria that are queries, see :func:`simulation.demands.met`.
    """
    measured: dict[str, Measured] = {}
    queries = queries_of(case)
    for name, bound in case.criteria.items():
        if name in queries:
            measured[name] = (answers or {})[name]
            continue
        if name not in CRITERIA:
            raise UnknownName("criterion", name, CRITERIA)
        value, detail = _MEASURES[name](drive)
        passed = None if value is None else CRITERIA[name].holds(value, float(bound))
        measured[name] = Measured(value=value, bound=float(bound), passed=passed, detail=detail)
    return measured, all(m.passed is not False for m in measured.values())


def _at_fault(drive: Drive) -> tuple[float | None, str]:
    excused = [c for c in drive.collisions if c.excuse]
    return float(len(drive.at_fault)), _told([*drive.at_fault, *excused])


def _any_collision(drive: Drive) -> tuple[float | None, str]:
    return float(len(drive.collisions)), _told(drive.collisions)


def _told(collisions: Iterable[Collision]) -> str:
    return "; ".join(
        f"{c.kind.name.lower()} with {c.cls.word} {c.track_id} after {c.step / 10:.1f} s "
        f"at {c.speed:.1f} m/s" + (f" (not the ego's fault: {c.excuse})" if c.excuse else "")
        for c in collisions
    )


def _field(name: str) -> Callable[[Drive], tuple[float | None, str]]:
    def measure(drive: Drive) -> tuple[float | None, str]:
        value = getattr(drive, name)
        return (None if value is None else float(value)), drive.unknown.get(name, "")

    return measure


def _comfort(drive: Drive) -> tuple[float | None, str]:
    broken = [
        f"{name} {least:.2f} to {greatest:.2f}"
        for name, (least, greatest) in drive.comfort.items()
        if least < COMFORT[name][0] or greatest > COMFORT[name][1]
    ]
    return float(len(broken)), "; ".join(broken)


_MEASURES: dict[str, Callable[[Drive], tuple[float | None, str]]] = {
    "no_at_fault_collision": _at_fault,
    "no_collision": _any_collision,
    "drivable_area": _field("outside"),
    "driving_direction": _field("wrong_way"),
    "making_progress": _field("progress"),
    "no_red_light": _field("red_lights"),
    "min_ttc": _field("ttc"),
    "min_gap": _field("gap"),
    "min_gap_vru": _field("gap_vru"),
    "max_braking": _field("braking"),
    "speed_limit": _field("overspeed"),
    "comfort": _comfort,
    "goal": _field("goal_distance"),
}
