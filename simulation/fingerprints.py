"""Cases told apart by a hash: two of the same hash are the same test, whatever they are called.

A test is what a planner is given and what is asked of it: everybody's size, class and states from a
second before the takeover to the end, what the lights show, the map, where to get, how the others move
and what must hold. Names, tags, weights and the ids of case, scene and tracks are none of it, except
where agents draw what they do: they draw by these ids, so that such a case is a test of its own.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np

from geometry.arrays import Array
from schemas.case import Case
from schemas.scene import Scene
from simulation.batch import NOW
from simulation.behaviours import left_to_chance
from simulation.unchanged import map_hash

THOUSANDTHS = 1e3
"""Lengths, angles and speeds are compared in millimetres, milliradians and mm/s."""


def of_test(case: Case, scene: Scene) -> str:
    """The hash of what a case tests.

    Args:
        case: Which.
        scene: Its scene, in which its ego is there at its start.
    """
    tracks, signals, start = scene.tracks, scene.signals, case.start_step
    steps = slice(max(start - NOW, 0), start + case.horizon_steps + 1)
    valid = tracks.valid[:, steps]
    moving = np.concatenate(
        [tracks.xy[:, steps], tracks.yaw[:, steps, None], tracks.velocity[:, steps]], axis=-1
    )
    states = _rounded(np.where(valid[..., None], moving, 0.0))
    sizes = _rounded(tracks.size)
    users = [
        _hash(np.int64(tracks.cls[i]), sizes[i], valid[i], states[i])
        for i in range(len(valid))
        if valid[i, start - steps.start :].any()
    ]
    ego = int(np.flatnonzero(tracks.track_id == case.ego_track_id)[0])
    stops = _rounded(np.where(signals.has_stop[:, None], signals.stop_xy, 0.0))
    lights = [
        _hash(signals.lane[i].astype(np.int64), signals.has_stop[i], stops[i],
              signals.state[i, steps].astype(np.int64))
        for i in range(len(signals.lane))
    ]  # fmt: skip
    told = [
        _hash(np.int64(tracks.cls[ego]), sizes[ego], valid[ego], states[ego]),
        sorted(users), sorted(lights), scene.has_signals,
        map_hash(scene.map) if scene.has_map else None, scene.origin.tolist(),
        case.goal, case.horizon_steps, case.agents, dict(case.criteria),
        [case.drawn_as, case.seed] if left_to_chance(case.agents) else None,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _rounded(values: Array) -> Array:
    return np.rint(THOUSANDTHS * values.astype(np.float64)) + 0.0  # no negative zeros


def _hash(*arrays: Array | np.generic) -> str:
    told = hashlib.sha256()
    for array in arrays:
        told.update(array.tobytes())
    return told.hexdigest()
