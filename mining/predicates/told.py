"""What the words of a source for its road users tell, beyond our own classes.

A source that never speaks of police cars has not seen that there was none. So what rests on such
words is known only of scenes of sources that have them, or in which one occurs.
"""

from __future__ import annotations

from schemas.scene import Scene

SPECIAL_WORDS = (
    "emergency", "ambulance", "police", "fire_truck", "fire truck", "firetruck", "priority",
    "authority",
)  # fmt: skip
"""A word that holds one of these names a vehicle of police, fire brigade or rescue."""
SPECIAL_SOURCES = ("nuscenes", "lyft", "l5kit", "commonroad", "sumo", "t4")
"""Datasets whose classes include such vehicles, by a part of their name."""
WORK_WORDS = ("cone", "barrier", "barricade", "construction", "czone", "pylon", "work")
"""A word that holds one of these names what stands round road works."""
WORK_SOURCES = ("nuscenes", "nuplan", "argoverse2", "av2", "pandaset", "t4")
"""Datasets whose classes include such things, by a part of their name."""


def told_of(scene: Scene, words: tuple[str, ...], sources: tuple[str, ...]) -> bool:
    """Whether a scene's source speaks of something, by its name or by what it said."""
    if any(part in scene.dataset for part in sources):
        return bool(scene.source_cls)
    spoken = {word.lower() for word in set(scene.source_cls.values())}
    return any(part in word for word in spoken for part in words)
