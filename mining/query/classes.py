"""Words for who somebody is."""

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


def word_of(classes: frozenset[AgentClass]) -> str:
    """Classes as a query says them."""
    for word, meant in CLASSES.items():
        if meant == classes:
            return word
    return " or ".join(
        word for word, meant in CLASSES.items() if len(meant) == 1 and meant <= classes
    )
