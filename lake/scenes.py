"""Scenes of a log: which stretches, and each as dense arrays on a 10 Hz clock.

What the source calls a scene stays one. A log without such windows is one scene if it lasts no
longer than 12 s; else it is cut into windows of 10 s, end to end, and a remainder of 5 s or more
gives a last window that ends with the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    return cut_spans(local, spans(local), source=source)


def cut_spans(local: LocalLog, wanted: Iterable[Span], *, source: str = "log") -> list[Scene]:
    """Scenes of these stretches; those in which nobody is seen are left out."""
    scenes = []
    for span in wanted:
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

    @classmethod
    def ours(cls, name: str, t0_ns: int, steps: int, *, anchor: int | None = None) -> Span:
        """A stretch that the lake chose; the same stretch is the same scene however it came about."""
        given = "" if anchor is None else f":{anchor}"
        return cls(
            name=name,
            key=f"cut:{t0_ns}:{steps}{given}",
            t0_ns=t0_ns,
            steps=steps,
            anchor=default_anchor(steps) if anchor is None else anchor,
        )


def spans(local: LocalLog) -> list[Span]:
    """Where the log is cut.

    Raises:
        BadRecord: A window of the source's own is too long to be one.
    """
    name = local.log.source_log_id
    if local.log.windows:
        made = [span_of_window(window, name) for window in local.log.windows]
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
    begin, alone = int(seen.min()), local.log.part == 0 and not local.log.more
    # Windows beside those with observations may see them too, by jitter; no other need be tried:
    # a clock that leaps by years would make a hundred million.
    place = np.unique((seen - begin) // (WINDOW_STEPS * DT_NS))
    tried = sorted({int(n) + k for n in place for k in (-1, 0, 1)})
    return default_spans(name, begin, int(seen.max()), alone=alone, windows=tried)


def default_spans(
    name: str,
    begin_ns: int,
    end_ns: int,
    *,
    alone: bool = True,
    windows: Sequence[int] | None = None,
) -> list[Span]:
    """How a log is cut whose source names no scenes.

    Args:
        name: Of the log.
        begin_ns: First observation [ns].
        end_ns: Last observation [ns].
        alone: Whether this is all of the log, and not one part of several.
        windows: Numbers of those in which anyone may be seen, ascending; all by default.
    """
    steps = steps_between(begin_ns, end_ns)
    if alone and (steps - 1) * DT <= WHOLE_S:
        return [Span.ours(name, begin_ns, steps)]
    whole = range(steps // WINDOW_STEPS)
    chosen = whole if windows is None else [n for n in windows if n in whole]
    starts = [n * WINDOW_STEPS for n in chosen]
    if steps % WINDOW_STEPS >= REMAINDER_STEPS:
        starts.append(max(steps - WINDOW_STEPS, 0))
    zero = begin_ns if alone else 0
    return [
        Span.ours(
            f"{name}@{(begin_ns + start * DT_NS - zero) / 1e9:.1f}s",
            begin_ns + start * DT_NS,
            min(WINDOW_STEPS, steps),
        )
        for start in starts
    ]


def span_of_window(window: Window, log_name: str) -> Span:
    """The stretch that the source calls a scene."""
    steps = steps_between(window.t0_ns, window.t1_ns)
    anchor = default_anchor(steps)
    if window.anchor_ns is not None:
        anchor = min(max(round((window.anchor_ns - window.t0_ns) / DT_NS), 0), steps - 1)
    return Span(
        name=window.source_scene_id or log_name,
        key=f"{window.source_scene_id}:{window.t0_ns}:{window.t1_ns}",
        t0_ns=window.t0_ns,
        steps=steps,
        anchor=anchor,
    )


def steps_between(t0_ns: int, t1_ns: int) -> int:
    """Steps of 0.1 s from one time to another, both included [ns]."""
    return max((t1_ns - t0_ns + JITTER_NS) // DT_NS, 0) + 1


def default_anchor(steps: int) -> int:
    """The step that counts as now where the source names none."""
    return min(HISTORY_STEPS, steps // 2, steps - 1)


def _scene(local: LocalLog, span: Span, times: Array, source: str) -> Scene:
    log, who = local.log, local.tracks
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
        source_cls=tracks.of_each(dict(zip(who.track_id.tolist(), who.source_cls, strict=True))),
    )
