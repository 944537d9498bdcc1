"""What happened in closed loop, as a scene: so that predicates and queries may be asked of it.

The scene begins when the planner takes over. Whoever is driven is its ego, track 0, also where that
is a vehicle of the traffic that stands in for one; a recorded ego which then is one of the others goes by an
id of its own. Lanes are matched anew for everyone whom the loop
moved; those who replay the log keep theirs.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from geometry.arrays import Array
from lake.localise import LaneMatcher
from schemas.scene import Scene, Signals, Tracks
from simulation.batch import NOW, ReadyCase
from simulation.behaviours import AgentMode
from simulation.engine import Rollout

EGO = 0
"""Track id of whoever is driven."""


class DrivenScenes:
    """Makes scenes of rollouts; the lanes of a map are made ready once."""

    def __init__(self) -> None:
        """Begin without maps."""
        self._matchers: dict[int, LaneMatcher] = {}

    def of(self, rollout: Rollout, index: int) -> Scene:
        """The scene of one case, from the step at which the planner took over to its horizon.

        Its ids of scene and log are the case's, so that those of several cases never meet.
        """
        ready = rollout.batch.ready[index]
        case, scene = ready.case, ready.scene
        steps = slice(NOW, NOW + case.horizon_steps + 1)
        agents = len(ready.track_id)
        rows = _rows_of(ready)
        xy = _agents_first(rollout.xy[steps, index, :agents])
        yaw = _agents_first(rollout.yaw[steps, index, :agents])
        valid = _agents_first(rollout.valid[steps, index, :agents])
        track_id = ready.track_id.copy()
        track_id[track_id == EGO] = track_id.max() + 1
        track_id[0] = EGO
        logged = np.clip(case.start_step + np.arange(xy.shape[1]), 0, scene.steps - 1)
        places = {
            name: getattr(scene.tracks, name)[rows[:, None], logged].copy()
            for name in ("lane", "lane_s", "lane_d", "on_lane")
        }
        moved = valid & ((ready.mode != AgentMode.LOG) | (np.arange(agents) == 0))[:, None]
        if scene.has_map and moved.any():
            found = self._matcher(scene).match(
                xy[moved].astype(np.float32),
                yaw[moved].astype(np.float32),
                np.broadcast_to(ready.cls[:, None], moved.shape)[moved],
            )
            places["lane"][moved], places["lane_s"][moved] = found.lane, found.s
            places["lane_d"][moved], places["on_lane"][moved] = found.d, found.on_lane
        tracks = Tracks(
            track_id=track_id,
            cls=ready.cls.astype(np.int8),
            size=scene.tracks.size[rows],
            xy=xy.astype(np.float32),
            z=scene.tracks.z[rows[:, None], logged],
            yaw=yaw.astype(np.float32),
            velocity=_agents_first(rollout.velocity[steps, index, :agents]).astype(np.float32),
            valid=valid,
            **places,
        )
        words = {
            int(new): scene.source_cls[int(old)]
            for new, old in zip(track_id, ready.track_id, strict=True)
            if int(old) in scene.source_cls
        }
        return Scene(
            scene_id=case.case_id,
            log_id=case.case_id,
            dataset=scene.dataset,
            name=scene.name,
            t0_ns=0,
            anchor=0,
            tracks=tracks,
            map=scene.map,
            signals=Signals(
                lane=scene.signals.lane,
                state=ready.signals[:, steps].astype(np.int8),
                stop_xy=scene.signals.stop_xy,
                has_stop=scene.signals.has_stop,
            ),
            has_ego=True,
            has_map=scene.has_map,
            has_signals=scene.has_signals,
            origin=scene.origin,
            weather=scene.weather,
            daylight=scene.daylight,
            road_type=scene.road_type,
            source=scene.source,
            source_cls=words,
        )

    def _matcher(self, scene: Scene) -> LaneMatcher:
        key = id(scene.map)
        if key not in self._matchers:
            self._matchers[key] = LaneMatcher(scene.map)
        return self._matchers[key]


def _rows_of(ready: ReadyCase) -> Int[Array, " agents"]:
    """Row of each agent of the case among the tracks of its scene."""
    rows = {int(track): row for row, track in enumerate(ready.scene.tracks.track_id)}
    return np.array([rows[int(track)] for track in ready.track_id], dtype=np.int64)


def _agents_first(values: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(values, 1, 0))
