"""Scenes of a log: which stretches, and each as dense arrays on a 10 Hz clock.

What the source calls a scene stays one. A log without such windows is one scene if it lasts no
longer than 12 s; else it is cut into windows of 10 s, end to end, and a remainder of 5 s or more
gives a last window that ends with the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geometry.arrays import Array
from lake.clock import DT_NS, JITTER_NS, on_clock, signals_on_clock
from lake.ids import stable_id
from lake.localise import LocalLog, localise
from lake.roadtype import road_type
from schemas.errors import BadRecord
from schemas.records import Log, Window
from schemas.scene import DT, Scene

WHOLE_S = 12.0  # [s] a log that lasts no longer is one scene
WINDOW_STEPS = 100  # steps of a window that we cut: 10 s
REMAINDER_STEPS = 50  # steps that must be left over for a last window
LONGEST_S = 3600.0  # [s] a source's own window that lasts longer is a mistake of its clock
HISTORY_STEPS = 10  # steps before "now" where the source names none, as in Waymo's data


def scenes_of(log: Log) -> list[Scene]:
    """The scenes of a log, as a lake that has ingested it gives them back."""
    return cut(localise(log))


def cut(local: LocalLog, *, source: str = "log") -> list[Scene]:
    """The scenes of a log in its own frame; windows in which nobody is seen are left out."""
    scenes = []
    for span in spans(local):
        times = span.t0_ns + DT_NS * np.arange(span.steps, dtype=np.int64)
        scene = _scene(local, span, times, source)
        if scene.tracks.xy.shape[0]:
            scenes.append(scene)
    return scenes


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch to become a scene.

    Attributes:
        name: For people, unique within the log.
        key: What its id is made of beside the log's.
        t0_ns: Time of step 0 [ns].
        steps: How many steps.
        anchor: Step that counts as now.
    """

    name: str
    key: str
    t0_ns: int
    steps: int
    anchor: int


def spans(local: LocalLog) -> list[Span]:
    """Where the log is cut.

    Raises:
        BadRecord: A window of the source's own is too long to be one.
    """
    name = local.log.source_log_id
    if local.log.windows:
        made = [_of_window(window, name) for window in local.log.windows]
        longest = max(span.steps for span in made) * DT
        if longest > LONGEST_S:
            raise BadRecord(
                local.log.source_uri,
                f"lasts {longest:,.0f} s by its own clock, over the {LONGEST_S:,.0f} s that a "
                "scene may",
                record=local.log.record,
            )
        return made
    seen = local.rows.t_ns[local.rows.valid]
    if not len(seen):
        return []
    begin = int(seen.min())
    steps = _steps(begin, int(seen.max()))
    alone = local.log.part == 0 and not local.log.more
    if alone and (steps - 1) * DT <= WHOLE_S:
        return [_ours(name, begin, steps)]
    whole = steps // WINDOW_STEPS
    # Windows beside those with observations may see them too, by jitter; no other need be tried.
    place = np.unique((seen - begin) // (WINDOW_STEPS * DT_NS))
    place = np.unique(np.concatenate([place - 1, place, place + 1]))
    starts = [int(n) * WINDOW_STEPS for n in place[(place >= 0) & (place < whole)]]
    if steps - whole * WINDOW_STEPS >= REMAINDER_STEPS:
        starts.append(max(steps - WINDOW_STEPS, 0))
    zero = begin if alone else 0
    return [
        _ours(
            f"{name}@{(begin + start * DT_NS - zero) / 1e9:.1f}s",
            begin + start * DT_NS,
            min(WINDOW_STEPS, steps),
        )
        for start in starts
    ]


def _of_window(window: Window, log_name: str) -> Span:
    steps = _steps(window.t0_ns, window.t1_ns)
    anchor = _default_anchor(steps)
    if window.anchor_ns is not None:
        anchor = min(max(round((window.anchor_ns - window.t0_ns) / DT_NS), 0), steps - 1)
    return Span(
        name=window.source_scene_id or log_name,
        key=f"{window.source_scene_id}:{window.t0_ns}:{window.t1_ns}",
        t0_ns=window.t0_ns,
        steps=steps,
        anchor=anchor,
    )


def _ours(name: str, t0_ns: int, steps: int) -> Span:
    return Span(
        name=name,
        key=f"cut:{t0_ns}:{steps}",
        t0_ns=t0_ns,
        steps=steps,
        anchor=_default_anchor(steps),
    )


def _steps(t0_ns: int, t1_ns: int) -> int:
    return max((t1_ns - t0_ns + JITTER_NS) // DT_NS, 0) + 1


def _default_anchor(steps: int) -> int:
    return min(HISTORY_STEPS, steps // 2, steps - 1)


def _scene(local: LocalLog, span: Span, times: Array, source: str) -> Scene:
    log = local.log
    tracks = on_clock(local, times)
    signals = signals_on_clock(local, times)
    has_ego = log.ego is not None and bool((tracks.track_id[:1] == 0).any())
    return Scene(
        scene_id=stable_id("scene", local.log_id, span.key),
        log_id=local.log_id,
        dataset=log.dataset,
        name=span.name,
        t0_ns=span.t0_ns,
        anchor=span.anchor,
        tracks=tracks,
        map=local.roads.map,
        signals=signals,
        has_ego=has_ego,
        has_map=local.roads.map_id is not None,
        has_signals=len(local.lights.t_ns) > 0,
        origin=local.origin,
        weather=log.weather,
        daylight=log.daylight,
        road_type=road_type(tracks, local.roads.map, signals, has_ego=has_ego),
        source=source,
    )


__all__: Sequence[str] = ["Span", "cut", "scenes_of", "spans"]
