"""Where two agents are to each other, whatever the map."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float

from geometry.angles import wrap
from geometry.arrays import Array
from mining.intervals import above, below
from mining.kept import kept
from mining.motion import Motion
from mining.predicates.predicate import (
    Find,
    Limits,
    Parameter,
    Predicate,
    Span,
    middle,
    relations,
    states,
)
from mining.sight import angles, lines_of_sight
from schemas.labels import VEHICLES

GROUP = "geometry"
ROUNDING = 1e-6
"""[°] Headings that are opposite in fact are so to the last bit but one."""


def _near(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs, once = motion.pairs, motion.pairs.once
    gap = pairs.clearance[once]
    mask = below(gap, limits["distance"], known=pairs.seen[once])
    return relations(pairs.a[once], pairs.b[once], mask, gap, pick=np.argmin)


def closing_speed(motion: Motion) -> Float[Array, "pairs steps"]:
    """Rate at which the centres of each pair approach each other [m/s]."""
    return np.concatenate([motion.closing, motion.closing])


def _closing(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs, once = motion.pairs, motion.pairs.once
    gap = pairs.clearance[once]
    known = pairs.seen[once] & (gap <= limits["distance"])
    rate = motion.closing[once]
    mask = above(rate, limits["speed"], known=known)
    return relations(pairs.a[once], pairs.b[once], mask, rate, evidence={"gap": gap})


def _heading_toward(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs, rows = motion.pairs, motion.pairs.both_ways
    a, b = pairs.a[rows], pairs.b[rows]
    known = pairs.seen[rows] & (pairs.clearance[rows] <= limits["distance"])
    apart = motion.xy[b] - motion.xy[a]
    distance = np.maximum(np.hypot(apart[..., 0], apart[..., 1]), 0.1)
    toward = (apart * motion.velocity[a]).sum(axis=-1) / distance
    speed = np.maximum(motion.speed[a], 1e-6)
    angle = np.degrees(np.arccos(np.clip(toward / speed, -1.0, 1.0)))
    mask = known & (angle <= limits["angle"]) & (toward >= limits["speed"])
    return relations(a, b, mask, angle, pick=np.argmin)


def _facing(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs, rows = motion.pairs, motion.pairs.both_ways
    rows = rows[_has_front(motion)[pairs.a[rows]]]
    angle = np.degrees(np.abs(np.arctan2(pairs.y[rows], pairs.x[rows])))
    mask = pairs.seen[rows] & (pairs.clearance[rows] <= limits["distance"])
    mask &= angle <= limits["angle"]
    return relations(pairs.a[rows], pairs.b[rows], mask, angle, pick=np.argmin)


def _has_front(motion: Motion) -> Bool[Array, " agents"]:
    """Whose own frame is worth asking about: the ego's, and that of anyone who moves."""
    front = ~motion.immobile & ~motion.is_thing
    if motion.scene.has_ego:
        front[0] = True
    return front


def _sector(side: str) -> Find:
    """Finds who is on one side of another: RefAV's four, which fill the plane round a box.

    Ahead of the plane of its front, behind that of its rear, and between the two planes to its left
    or right.
    """

    def find(motion: Motion, limits: Limits) -> Iterable[Span]:
        rows, x, y, beyond = _outside_boxes(motion)
        a, b = motion.pairs.a[rows], motion.pairs.b[rows]  # b is in front of, behind, … a
        half_length = motion.length[a][:, None] / 2
        if side == "front":
            inside = x > half_length
        elif side == "behind":
            inside = x < -half_length
        else:
            inside = (np.abs(x) <= half_length) & (y > 0.0 if side == "left" else y < 0.0)
        mask = motion.pairs.seen[rows] & inside & (beyond <= limits["distance"])
        return relations(b, a, mask, beyond, pick=np.argmin, evidence={"ahead": x, "left": y})

    return find


@kept
def _outside_boxes(motion: Motion) -> tuple[Array, Array, Array, Array]:
    """Rows of pairs whose first has a front, where the second's centre is, and how far outside its box."""
    pairs, rows = motion.pairs, motion.pairs.both_ways
    rows = rows[_has_front(motion)[pairs.a[rows]]]
    a, x, y = pairs.a[rows], pairs.x[rows], pairs.y[rows]
    beyond = np.hypot(
        np.maximum(np.abs(x) - motion.length[a][:, None] / 2, 0.0),
        np.maximum(np.abs(y) - motion.width[a][:, None] / 2, 0.0),
    )
    return rows, x, y, beyond


def _heading_between(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs, once = motion.pairs, motion.pairs.once
    once = once[~motion.is_thing[pairs.a[once]] & ~motion.is_thing[pairs.b[once]]]
    a, b = pairs.a[once], pairs.b[once]
    angle = motion.headings_apart[once]
    mask = pairs.seen[once] & (pairs.clearance[once] <= limits["distance"])
    mask &= (angle >= limits["from"] - ROUNDING) & (angle <= limits["to"] + ROUNDING)
    return relations(a, b, mask, angle, pick=middle)


def _nearest(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs, once = motion.pairs, motion.pairs.once
    once = once[~motion.is_thing[pairs.b[once]]]
    if not len(once):
        return []
    gap = np.where(pairs.seen[once], pairs.clearance[once], np.inf)
    rank = gap.argsort(axis=0, kind="stable").argsort(axis=0)
    mask = (rank < limits["count"]) & (gap <= limits["distance"])
    return relations(pairs.b[once], pairs.a[once], mask, gap, pick=np.argmin)


def _view_blocking(motion: Motion, limits: Limits) -> Iterable[Span]:
    view = angles(motion)
    size = np.degrees(view.high - view.low)
    ahead = np.degrees(np.abs(wrap(view.bearing - motion.yaw_smooth[:1])))
    gap = np.full(motion.seen.shape, np.inf)
    once = motion.pairs.once
    gap[motion.pairs.b[once]] = motion.pairs.clearance[once]
    blocks = (motion.is_vehicle & motion.immobile)[:, None] & view.seen
    mask = above(size, limits["angle"], known=blocks)
    mask &= (gap <= limits["distance"]) & (ahead <= limits["ahead"])
    return states(motion, mask, size, evidence={"gap": gap})


def _between(motion: Motion, limits: Limits) -> Iterable[Span]:
    sight = lines_of_sight(motion, within=limits["distance"])
    moves = ~motion.immobile[sight.far] | motion.is_vru[sight.far]
    mask = sight.cut & moves[:, None]
    return relations(sight.near, sight.far, mask, sight.share)


def _count_near(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs, rows = motion.pairs, motion.pairs.both_ways
    count = np.zeros(motion.seen.shape)
    vehicle = motion.is_vehicle[pairs.b[rows]][:, None]
    np.add.at(count, pairs.a[rows], (pairs.clearance[rows] <= limits["distance"]) & vehicle)
    known = motion.seen.copy()
    if motion.scene.has_ego:
        known[1:] = False
    return states(motion, known & (count > limits["count"]), count)


def _behind_long(motion: Motion, limits: Limits) -> Iterable[Span]:
    pairs, rows = motion.pairs, motion.pairs.both_ways
    long = motion.is_vehicle & (motion.length > limits["length"])
    rows = rows[long[pairs.b[rows]] & motion.drives[pairs.a[rows]]]
    a, b = pairs.a[rows], pairs.b[rows]
    gap = pairs.x[rows] - (motion.length[a] + motion.length[b])[:, None] / 2
    mask = pairs.seen[rows] & (np.cos(motion.yaw[a] - motion.yaw[b]) > 0.9)
    mask &= (gap >= limits["from"]) & (gap <= limits["to"])
    mask &= np.abs(pairs.y[rows]) <= limits["aside"]
    return relations(a, b, mask, gap, pick=np.argmin)


NEAR = Predicate(
    name="near",
    group=GROUP,
    doc="The outlines of the ego and the other are within 10 m (of any two, if there is no ego).",
    formula="clear ≲ {distance}",
    find=_near,
    roles=("actor", "other"),
    unit="m",
    parameters=(Parameter("distance", 10.0, "m", "RefAV near_objects"),),
    symmetric=True,
    of_ego=True,
)
VERY_NEAR = Predicate(
    name="very_near",
    group=GROUP,
    doc="The outlines of the ego and the other are within 2 m (of any two, if there is no ego).",
    formula="clear ≲ {distance}",
    find=_near,
    roles=("actor", "other"),
    unit="m",
    parameters=(Parameter("distance", 2.0, "m", "nuPlan-KG veryNear"),),
    symmetric=True,
    of_ego=True,
)
NEAREST = Predicate(
    name="nearest",
    group=GROUP,
    doc="Of all road users the actor is the nearest to the ego, by outlines, within 50 m.",
    formula="actor is among the {count} of least clear(ego) ∧ clear ≤ {distance}",
    find=_nearest,
    roles=("actor", "other"),
    unit="m",
    parameters=(
        Parameter("count", 1.0, "1", "own: how many of the nearest are told"),
        Parameter("distance", 50.0, "m", "RefAV output_scenario"),
    ),
    needs=("ego",),
    ordinary=True,
)
_WITHIN = (Parameter("distance", 50.0, "m", "RefAV has_objects_in_relative_direction"),)
IN_FRONT_OF = Predicate(
    name="in_front_of",
    group=GROUP,
    doc="The actor is ahead of the other's front, however far aside, within 50 m of its outline. "
    "Told of the ego and others, and only as seen by one who moves or the ego.",
    formula="in other's frame: x > l_other/2 ∧ |((|x| − l_other/2)₊, (|y| − w_other/2)₊)| "
    "≤ {distance}",
    find=_sector("front"),
    roles=("actor", "other"),
    unit="m",
    parameters=_WITHIN,
    of_ego=True,
    ordinary=True,
)
BEHIND = Predicate(
    name="behind",
    group=GROUP,
    doc="The actor is behind the other's rear, however far aside, within 50 m of its outline; else "
    "as in_front_of.",
    formula="in other's frame: x < −l_other/2 ∧ |((|x| − l_other/2)₊, (|y| − w_other/2)₊)| "
    "≤ {distance}",
    find=_sector("behind"),
    roles=("actor", "other"),
    unit="m",
    parameters=_WITHIN,
    of_ego=True,
    ordinary=True,
)
LEFT_OF = Predicate(
    name="left_of",
    group=GROUP,
    doc="The actor is to the other's left, between its front and its rear, within 50 m; else as "
    "in_front_of.",
    formula="in other's frame: |x| ≤ l_other/2 ∧ y > 0 ∧ (y − w_other/2)₊ ≤ {distance}",
    find=_sector("left"),
    roles=("actor", "other"),
    unit="m",
    parameters=_WITHIN,
    of_ego=True,
    ordinary=True,
)
RIGHT_OF = Predicate(
    name="right_of",
    group=GROUP,
    doc="The actor is to the other's right, between its front and its rear, within 50 m; else as "
    "in_front_of.",
    formula="in other's frame: |x| ≤ l_other/2 ∧ y < 0 ∧ (−y − w_other/2)₊ ≤ {distance}",
    find=_sector("right"),
    roles=("actor", "other"),
    unit="m",
    parameters=_WITHIN,
    of_ego=True,
    ordinary=True,
)
FACING = Predicate(
    name="facing",
    group=GROUP,
    doc="The actor, one who moves or the ego, points at the other's centre, within 50 m.",
    formula="|atan2(y, x)| ≤ {angle} ∧ clear ≤ {distance}",
    find=_facing,
    roles=("actor", "other"),
    unit="°",
    parameters=(
        Parameter("angle", 22.5, "°", "RefAV facing_toward"),
        Parameter("distance", 50.0, "m", "RefAV facing_toward"),
    ),
    of_ego=True,
    ordinary=True,
)
HEADING_TOWARD = Predicate(
    name="heading_toward",
    group=GROUP,
    doc="The actor's velocity points at the other, within 50 m.",
    formula="∠(velocity, xy_other − xy) ≤ {angle} ∧ velocity · (xy_other − xy) / r ≥ "
    "{speed} ∧ clear ≤ {distance}",
    find=_heading_toward,
    roles=("actor", "other"),
    unit="°",
    parameters=(
        Parameter("angle", 22.5, "°", "RefAV heading_toward"),
        Parameter("speed", 0.5, "m/s", "RefAV heading_toward"),
        Parameter("distance", 50.0, "m", "RefAV output_scenario"),
    ),
    of_ego=True,
)
CLOSING = Predicate(
    name="closing",
    group=GROUP,
    doc="The distance to the other shrinks.",
    formula="−dr/dt ≳ {speed} ∧ clear ≤ {distance}",
    find=_closing,
    roles=("actor", "other"),
    unit="m/s",
    parameters=(
        Parameter("speed", 0.5, "m/s", "nuPlan-KG"),
        Parameter("distance", 50.0, "m", "RefAV output_scenario"),
    ),
    symmetric=True,
    of_ego=True,
)
SAME_HEADING = Predicate(
    name="same_heading",
    group=GROUP,
    doc="The headings of the two, within 50 m of each other, differ by 45° or less.",
    formula="{from} ≤ |heading − heading_other| ≤ {to} ∧ clear ≤ {distance}",
    find=_heading_between,
    roles=("actor", "other"),
    unit="°",
    parameters=(
        Parameter("from", 0.0, "°", "RefAV heading_in_relative_direction_to"),
        Parameter("to", 45.0, "°", "RefAV heading_in_relative_direction_to"),
        Parameter("distance", 50.0, "m", "RefAV output_scenario"),
    ),
    symmetric=True,
    of_ego=True,
    ordinary=True,
)
OPPOSITE_HEADING = Predicate(
    name="opposite_heading",
    group=GROUP,
    doc="The headings of the two, within 50 m of each other, differ by 135° or more.",
    formula="{from} ≤ |heading − heading_other| ≤ {to} ∧ clear ≤ {distance}",
    find=_heading_between,
    roles=("actor", "other"),
    unit="°",
    parameters=(
        Parameter("from", 135.0, "°", "RefAV heading_in_relative_direction_to"),
        Parameter("to", 180.0, "°", "RefAV heading_in_relative_direction_to"),
        Parameter("distance", 50.0, "m", "RefAV output_scenario"),
    ),
    symmetric=True,
    of_ego=True,
    ordinary=True,
)
PERPENDICULAR_HEADING = Predicate(
    name="perpendicular_heading",
    group=GROUP,
    doc="The headings of the two, within 50 m of each other, differ by 45° to 135°.",
    formula="{from} ≤ |heading − heading_other| ≤ {to} ∧ clear ≤ {distance}",
    find=_heading_between,
    roles=("actor", "other"),
    unit="°",
    parameters=(
        Parameter("from", 45.0, "°", "RefAV heading_in_relative_direction_to"),
        Parameter("to", 135.0, "°", "RefAV heading_in_relative_direction_to"),
        Parameter("distance", 50.0, "m", "RefAV output_scenario"),
    ),
    symmetric=True,
    of_ego=True,
    ordinary=True,
)
COUNT_NEAR = Predicate(
    name="count_near",
    group=GROUP,
    doc="More than 6 vehicles within 8 m of the ego (of anyone, if there is no ego).",
    formula="number of vehicles with clear ≤ {distance} > {count}",
    find=_count_near,
    unit="1",
    parameters=(
        Parameter("count", 6.0, "1", "nuPlan near_multiple_vehicles"),
        Parameter("distance", 8.0, "m", "nuPlan near_multiple_vehicles"),
    ),
    of_ego=True,
)
BEHIND_LONG = Predicate(
    name="behind_long",
    group=GROUP,
    doc="Close behind a vehicle longer than 8 m, which hides the road ahead.",
    formula="l_other > {length} ∧ {from} ≤ x − (l + l_other)/2 ≤ {to} ∧ |y| ≤ {aside} ∧ "
    "cos(ψ − ψ_other) > 0.9",
    find=_behind_long,
    roles=("actor", "other"),
    unit="m",
    parameters=(
        Parameter("length", 8.0, "m", "nuPlan behind_long_vehicle"),
        Parameter("from", 3.0, "m", "nuPlan behind_long_vehicle"),
        Parameter("to", 10.0, "m", "nuPlan behind_long_vehicle"),
        Parameter("aside", 0.5, "m", "nuPlan behind_long_vehicle"),
    ),
    of_ego=True,
)
VIEW_BLOCKING = Predicate(
    name="view_blocking",
    group=GROUP,
    doc="A vehicle that never moves fills 20° or more of what the ego sees ahead of it, within 15 m.",
    formula="|α| ≳ {angle} ∧ clear ≤ {distance} ∧ |bearing from the ego's heading| ≤ "
    "{ahead}; span(xy) < 3 m ∧ max v < 2 m/s; α: angle of the box from the ego's "
    "centre",
    find=_view_blocking,
    unit="°",
    parameters=(
        Parameter("angle", 20.0, "°", "own"),
        Parameter("distance", 15.0, "m", "own"),
        Parameter("ahead", 60.0, "°", "own: from the ego's heading to the vehicle's centre"),
    ),
    needs=("ego",),
    only=(VEHICLES,),
)
BETWEEN = Predicate(
    name="between",
    group=GROUP,
    doc="The line from the ego's centre to that of the other, who moves or walks, goes through the "
    "actor; value: how much of the other it covers.",
    formula="bearing of other's centre ∈ α_actor ∧ r_actor < r_other ≤ {distance}; α, r: "
    "angle of the box and distance, from the ego's centre",
    find=_between,
    roles=("actor", "other"),
    unit="1",
    parameters=(Parameter("distance", 50.0, "m", "RefAV output_scenario"),),
    needs=("ego",),
    ordinary=True,
)
