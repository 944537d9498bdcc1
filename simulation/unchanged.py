"""Is a scene still the one that a case was cut from?

A log that was read anew (``ingest --replace``) may leave scenes of the same ids with other content:
then the case is another test, its proof is void, and a planner is not to blame for what changed. So a
case keeps a hash of its scene: who is there, of what class and size, where at every step, what the
lights show, and the map as its source tells it. What the lake finds besides, such as lanes, tags and
links of the lane graph, is left out, and so are names of maps: logs that share one call it differently.
"""

from __future__ import annotations

import hashlib
import weakref

import numpy as np

from schemas.case import Case
from schemas.records import RoadMap
from schemas.scene import Scene


def changed(case: Case, scene: Scene) -> str | None:
    """Why a scene is no longer that of a case; None if it is, or if the case kept no hash of it."""
    if case.cut_from is None or case.cut_from == scene_hash(scene):
        return None
    return "its scene has changed since the suite was built: build it anew"


def scene_hash(scene: Scene) -> str:
    """The hash of what happens in a scene, of the very bits that the lake keeps.

    It is the same on every machine and in any order of tracks and lights; values that were not
    observed do not count.
    """
    tracks, signals = scene.tracks, scene.signals
    lights = np.argsort(signals.lane, kind="stable")
    if (np.diff(tracks.track_id) < 0).any():
        tracks = tracks.take(np.argsort(tracks.track_id))
    seen = np.flatnonzero(tracks.valid)  # ten times as fast as by the mask itself
    stops = signals.has_stop[lights]
    told = hashlib.sha256()
    for values, kind in (
        (scene.origin, "<f8"), (np.array([scene.steps, scene.has_signals]), "<i8"),
        (tracks.track_id, "<i8"), (tracks.cls, "<i8"), (tracks.size, "<f4"),
        (tracks.valid, "|b1"), (tracks.xy.reshape(-1, 2).take(seen, axis=0), "<f4"),
        (tracks.yaw.reshape(-1).take(seen), "<f4"),
        (tracks.velocity.reshape(-1, 2).take(seen, axis=0), "<f4"),
        (signals.lane[lights], "<i8"), (signals.state[lights], "<i8"), (stops, "|b1"),
        (signals.stop_xy[lights][stops], "<f4"),
    ):  # fmt: skip
        told.update(np.ascontiguousarray(values, dtype=kind).tobytes())
    told.update(repr(map_hash(scene.map) if scene.has_map else None).encode())
    return told.hexdigest()[:32]


_MAPS: weakref.WeakKeyDictionary[RoadMap, str] = weakref.WeakKeyDictionary()


def map_hash(road_map: RoadMap) -> str:
    """The hash of a map's features: what each is, where it lies, and how fast one may go there."""
    if road_map not in _MAPS:
        told = hashlib.sha256()
        for feature in road_map.features:
            facts = (
                feature.source_id, feature.layer.word, feature.lane_type.word, feature.speed_limit,
                feature.in_intersection,
            )  # fmt: skip
            told.update(repr(facts).encode())
            for line in (feature.points, feature.left, feature.right):
                told.update(b"-" if line is None else np.ascontiguousarray(line, "<f4").tobytes())
        _MAPS[road_map] = told.hexdigest()[:32]
    return _MAPS[road_map]
