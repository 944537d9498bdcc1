"""Words for who somebody is, and of whom some predicates can hold at all."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.labels import VEHICLES, VULNERABLE, AgentClass

CLASSES: dict[str, frozenset[AgentClass]] = {
    "vehicle": VEHICLES,
    "car": frozenset({AgentClass.VEHICLE}),
    "truck": frozenset({AgentClass.TRUCK}),
    "bus": frozenset({AgentClass.BUS}),
    "motorcycle": frozenset({AgentClass.MOTORCYCLE}),
    "cyclist": frozenset({AgentClass.CYCLIST}),
    "pedestrian": frozenset({AgentClass.PEDESTRIAN}),
    "animal": frozenset({AgentClass.ANIMAL}),
    "obstacle": frozenset({AgentClass.OBSTACLE}),
    "vru": VULNERABLE,
}
"""``vehicle`` is any motor vehicle; ``car`` also stands for one that its source does not tell apart."""

ALIASES: Mapping[str, str] = {
    "bicycle": "cyclist", "bike": "cyclist", "cycle": "cyclist", "bicyclist": "cyclist",
    "person": "pedestrian", "walker": "pedestrian", "human": "pedestrian", "lorry": "truck",
    "motorbike": "motorcycle", "motorcyclist": "motorcycle", "cone": "obstacle",
    "barrier": "obstacle", "dog": "animal",
}  # fmt: skip
"""What people write instead."""

_MOTOR = frozenset(VEHICLES)
_DRIVING = _MOTOR | {AgentClass.CYCLIST}
_ON_FOOT = frozenset({AgentClass.PEDESTRIAN})

ONLY_OF: dict[str, tuple[frozenset[AgentClass] | None, ...]] = {
    "vru": (VULNERABLE,),
    "long_vehicle": (_MOTOR,),
    "parked": (_MOTOR,),
    "reversing": (_MOTOR,),
    "cut_in": (_DRIVING, _DRIVING),
    "cut_out": (_DRIVING, _DRIVING),
    "lane_change_left": (_DRIVING,),
    "lane_change_right": (_DRIVING,),
    "jaywalking": (_ON_FOOT,),
    "waiting_for_pedestrian": (_MOTOR, _ON_FOOT),
    "red_light_running": (_DRIVING,),
}
"""Who each role of a predicate can be, where that follows from its meaning; None: anyone."""


def word_of(classes: frozenset[AgentClass]) -> str:
    """Classes as a query says them."""
    for word, meant in CLASSES.items():
        if meant == classes:
            return word
    return " or ".join(
        word for word, meant in CLASSES.items() if len(meant) == 1 and meant <= classes
    )


SYMMETRIC = frozenset(
    {
        "near", "very_near", "closing", "same_lane", "near_miss", "ttc_2d", "dce", "collision",
        "same_heading", "opposite_heading", "perpendicular_heading", "same_side_of_road",
        "opposite_side_of_road",
    }
)  # fmt: skip
"""Predicates that hold of two actors either way round, but may be told once."""
