"""Every number that a predicate lists as its parameter decides: far enough off, it tells other intervals.

Asked on the scenes that prove the predicate, on both sides of its thresholds; where those do not turn on
the number, on one of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from mining.motion import Motion
from mining.predicates import PREDICATES
from schemas.labels import AgentClass, LightState
from schemas.scene import Scene
from tests.mining import micro
from tests.mining.micro import STEPS, TIME, along, arc, lane, ramp, scene, speeds, still
from tests.mining.test_in_the_way import FRONT, before, halts, passing, seeing, stands
from tests.mining.test_predicates import (
    FAILS,
    HOLDS,
    Build,
    cruise,
    east_through,
    into_standing,
    lane_changer,
    lit,
    slide,
    two_lanes_meet,
)
from tests.mining.test_wider_predicates import WIDER, WIDER_FAILS, merging, named, rider

FACTORS = (0.1, 10.0, 0.5, 2.0, 0.8, 1.25, 0.001, 100.0, -0.001)
OFFSETS = (0.5, -0.5, 3.0, -3.0, 30.0, -30.0, 200.0)  # of parameters that are 0


def partly(side: float) -> Scene:
    """Seen from the middle of a turn on, for its last 22°."""
    return scene(arc(5.0, 15.0, turn_from=-2.0, angle=side * np.radians(60.0), start=(-40.0, 0.0)))


def sets_off(bend: float = 0.0, aside: float = 0.0) -> Scene:
    """Stands, and drives 1.2 m in the last second, up to 2.4 m/s; or creeps aside before, while it faces on."""
    side = np.where(aside == 0.0, 0.0, slide(1.0, 8.0, aside))
    s = 1.2 * np.clip(TIME - 9.0, 0.0, None) ** 2
    radius = 1.2 / bend if bend else 1.0
    turned = s / radius if bend else np.zeros(STEPS)
    x = radius * np.sin(turned) if bend else s
    y = radius * (1.0 - np.cos(turned)) if bend else np.zeros(STEPS)
    return scene(micro.Actor(np.column_stack([x - 60.0, y + side]), turned))


def creeps(bend: float = 0.0, aside: float = 0.0) -> Scene:
    """At 1 m/s."""
    if bend:
        return scene(arc(1.0, 2.0, turn_from=0.5, angle=bend, start=(-60.0, 0.0)))
    return scene(along(1.0 * TIME, start=(-60.0, 0.0), side=slide(1.0, 9.0, aside)))


def beside_another(speed: float = 5.0, ahead: float = 10.0) -> Scene:
    """One comes over from the left lane, ahead of the ego."""
    return scene(cruise(speed), lane_changer(-3.5, y=3.5, v=speed, x=-60.0 + ahead))


def cones(*at: tuple[float, float], seen: np.ndarray | None = None) -> Scene:
    """A cone at the origin, and others."""
    things = [
        along(np.zeros(STEPS), start=spot, cls=AgentClass.OBSTACLE, seen=seen)
        for spot in ((0.0, 0.0), *at)
    ]
    words = {k + 1: "movable_object.trafficcone" for k in range(len(things))}
    return named(scene(cruise(8.0), *things), {0: "ego", **words})


def cones_beside_a_lane() -> Scene:
    """Three, 1.9 m from its middle; the map draws no surface."""
    cones = [still(-40.0 + 3.0 * k, 1.9, cls=AgentClass.OBSTACLE) for k in range(3)]
    made = scene(
        cruise(3.0), *cones, map=micro.build([lane([(-200.0, 0.0), (0.0, 0.0), (200.0, 0.0)])])
    )
    return named(made, {0: "ego", **{k + 1: "movable_object.trafficcone" for k in range(3)}})


def joins() -> Scene:
    """One comes down a ramp and joins, 15 m ahead of the ego."""
    ramp_of = merging(2).tracks
    other = micro.Actor(ramp_of.xy[0].astype(float), ramp_of.yaw[0].astype(float))
    return scene(cruise(10.0, x=-65.0), other, map=two_lanes_meet())


def over_a_line_and_back(to: float) -> Scene:
    """1.5 m to the left and back to somewhere, at once."""
    side = slide(3.0, 4.5, 2.4) - slide(4.5, 6.0, 2.4 - to)
    return scene(along(12.0 * TIME, start=(-60.0, 0.0), side=side))


def runs_red(gone: tuple[float, float], red: tuple[float, float] = (0.0, 11.0)) -> Scene:
    """Over the line after 4.56 s at 10 m/s, out of sight for a time, at a light that is red for a time."""
    seen = (gone[0] + 0.05 > TIME) | (gone[1] - 0.05 < TIME)
    shown = np.where((red[0] <= TIME) & (red[1] > TIME), LightState.RED, LightState.GREEN)
    return lit(still(-60.0, 8.0), east_through(10.0, seen=seen), through=shown, right=shown)


def brakes_for_one_that_stands(gap: float, braking: float, rest: float) -> Scene:
    """From 10 m/s, from a gap on; it stops so far before the other."""
    lasts = 10.0 / braking
    begin = (60.0 - 4.8 - gap) / 10.0
    assert gap - 50.0 / braking == pytest.approx(rest, abs=0.01)
    return scene(
        along(speeds(ramp(begin, begin + lasts, 10.0, 0.0)), start=(-60.0, 0.0)), still(0.0, 0.0)
    )


def of_two_that_ride_askew() -> Scene:
    ahead = along(8.0 * TIME, start=(-60.0, 3.5), faces=np.radians(20.0))
    return scene(cruise(8.0), rider(), ahead)


KINDS = {
    "straight": (0.0, 0.0), "straight_left": (0.0, 2.6), "straight_right": (0.0, -2.6),
    "left": (0.7, 0.0), "right": (-0.7, 0.0), "left_u_turn": (3.4, 0.0), "right_u_turn": (-3.4, 0.0),
}  # fmt: skip
EXTRA: list[tuple[str, Build]] = [
    *((f"trajectory_{kind}", lambda how=how: sets_off(*how)) for kind, how in KINDS.items()),
    *((f"trajectory_{kind}", lambda how=how: creeps(*how)) for kind, how in KINDS.items()),
    ("turning_left", lambda: partly(1.0)),
    ("turning_right", lambda: partly(-1.0)),
    ("cut_in", joins),
    ("swerve", lambda: over_a_line_and_back(1.2)),
    ("on_road", lambda: scene(cruise(8.0, y=-2.5))),
    ("obstacle_on_road", lambda: cones((9.9, 0.0), (-9.9, 0.0))),
    ("obstacle_on_road", lambda: cones((5.0, 1.8), (-5.0, -1.7))),
    ("obstacle_on_road", lambda: cones(seen=(TIME < 3.0) | (TIME > 4.5))),
    ("stalled_vehicle", lambda: stands(still(2 * FRONT + 4.9, 0.0))),
    ("stalled_vehicle", lambda: stands(still(2 * FRONT + 19.9, 0.0))),
    ("stalled_vehicle", lambda: lit(seeing(), before(29.0), through=LightState.RED)),
    ("stalled_vehicle", lambda: scene(seeing(), before(59.0), map=micro.junction())),
    (
        "stalled_vehicle",
        lambda: scene(passing(), replace(halts(), seen=(TIME < 2.0) | (TIME > 5.5))),
    ),
    ("red_light_running", lambda: runs_red((20.0, 20.0), red=(4.3, 11.0))),
    ("red_light_running", lambda: runs_red((4.0, 6.4))),
    ("red_light_running", lambda: runs_red((4.0, 9.0), red=(0.0, 6.0))),
    ("red_light_running", lambda: runs_red((4.0, 8.0), red=(4.45, 11.0))),
    ("red_light_running", lambda: runs_red((-1.0, 5.8), red=(4.25, 11.0))),
    ("lane_splitting", of_two_that_ride_askew),
    ("rss_lateral", beside_another),
    ("rss_danger", lambda: beside_another(12.0, 1.0)),
    ("cpi", lambda: brakes_for_one_that_stands(8.53, 6.0, 0.2)),
    ("collision", lambda: scene(cruise(2.0, x=-10.0), still(0.0, 0.0, cls=AgentClass.PEDESTRIAN))),
    ("near_miss", lambda: brakes_for_one_that_stands(8.0, 8.0, 1.75)),
    ("near_miss", into_standing),
    ("work_zone", cones_beside_a_lane),
]
"""Scenes in which more of the parameters decide."""


Told = frozenset[tuple[object, ...]]


@cache
def motions(name: str) -> tuple[Motion, ...]:
    """The scenes that prove a predicate."""
    builds = [case.make for case in (*HOLDS, *WIDER) if case.name == name]
    builds += [fails[name] for fails in (FAILS, WIDER_FAILS) if name in fails]
    builds += [build for of, build in EXTRA if of == name]
    return tuple(Motion(build()) for build in builds)


def told(name: str, motion: Motion, **changed: float) -> Told:
    """Intervals by who and when; what cannot be known with them."""
    predicate = PREDICATES[name]
    return frozenset(
        (span.begin, span.end, span.actor, span.other, span.truth)
        for span in predicate.find(motion, {**predicate.limits, **changed})
    )


def swept(value: float) -> Iterable[float]:
    return [value * f for f in FACTORS] if value else OFFSETS


LISTED = [(p.name, q.name) for p in PREDICATES.values() for q in p.parameters]


@pytest.mark.parametrize(("name", "parameter"), LISTED)
def test_a_parameter_decides(name: str, parameter: str) -> None:
    value = PREDICATES[name].limits[parameter]
    for motion in motions(name):
        as_it_is = told(name, motion)
        if any(told(name, motion, **{parameter: other}) != as_it_is for other in swept(value)):
            return
    pytest.fail(f"`{parameter}` of `{name}` changes nothing")
