"""Scenes in motion within a page: SVG that shows one moment, and a small script that moves it.

A film has a panel for each telling of the same scene, such as one for each planner, that play in step;
in each the egos of the others are outlined. Moments can be marked: a cross lies where the ego was, and
a button leads there. Without the script it shows the first of these moments, or the end.

Lengths in the SVG are decimetres, y downwards, about the centre of what is shown. What moves is kept as
16-bit numbers, x and y in centimetres and yaw in tenths of a milliradian, for everyone who comes into
view: 8 characters an agent and step. Whoever moves alike in several panels is kept once. A film of three
panels of 9 s, with 20 agents that replay their log and a map of an intersection, takes some 50 kB.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from jaxtyping import Bool, Float, Int

from formats.ground import Part, shapes
from formats.picture import AGENTS, LIGHTS, OTHERS
from geometry.arrays import Array
from schemas.labels import AgentClass, LightState
from schemas.scene import DT, Scene

GONE = -32768
"""In place of x: whoever it is is not there at that step."""

RADIUS_M = (25.0, 40.0)
"""Half side of what a panel shows, at least and at most; where the ways lead farther, it follows them."""

MARGIN_M = 12.0
SIMPLE_M = 0.08  # lines of the map are thinned to within this
LEAST = 10  # [dm] who is smaller is drawn so large, to be seen
EGOS = ("#1c62d6", "#7b2fd0", "#0b8a99", "#8a6d00", "#4a5568")
"""Colours of the egos of the panels, in turn."""

SPEEDS = (0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A moment to be pointed at.

    Attributes:
        step: Which.
        text: What happens.
        others: Track ids of whom it is about, beside the ego; drawn in red.
    """

    step: int
    text: str
    others: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One telling of what happened.

    Attributes:
        title: Who drives.
        text: How it went, in a phrase.
        scene: What happened; agent 0 is the ego.
        marks: In order of time.
        notes: Said below the marks.
    """

    title: str
    text: str
    scene: Scene
    marks: Sequence[Mark] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Film:
    """Tellings of one scene, side by side and in step; all have its map, clock and origin.

    Attributes:
        key: Letters, digits and hyphens; the film's place in the page is ``#film-KEY``.
        title: Its heading.
        text: Below it.
        panels: At least one.
        recorded: The way that was driven in the log [m].
        goal: Where the ego should get [m].
    """

    key: str
    title: str
    text: str
    panels: Sequence[Panel]
    recorded: Float[Array, "points 2"] | None = None
    goal: tuple[float, float] | None = None

    @property
    def anchor(self) -> str:
        """Id of the film in the page."""
        return f"film-{self.key}"

    @property
    def still(self) -> int:
        """The step that is shown at first: the first that is marked, or the last."""
        steps = [mark.step for panel in self.panels for mark in panel.marks]
        return min(steps, default=self.panels[0].scene.steps - 1)


@cache
def script() -> str:
    """What moves the films of a page."""
    return files("formats").joinpath("film.js").read_text(encoding="utf-8")


def style() -> str:
    """How films look; surfaces follow the page's colours, agents are as in still pictures."""
    kinds = "".join(f".is-{cls.word}{{fill:{_hex(rgb)}}}" for cls, rgb in AGENTS.items())
    lights = "".join(f".light-{int(state)}{{fill:{_hex(rgb)}}}" for state, rgb in LIGHTS.items())
    egos = "".join(f".ego-{i}{{--ego:{colour}}}" for i, colour in enumerate(EGOS))
    return _STYLE + f".agent{{fill:{_hex(OTHERS)}}}" + kinds + lights + egos


_STYLE = """
.film { margin: 18px 0; } .film h3 { margin: 0 0 2px; font-size: 16px; overflow-wrap: anywhere; }
.stage { display: grid; grid-template-columns: repeat(auto-fit, minmax(240px, 1fr)); gap: 12px; }
.stage figure { border-radius: 8px; }
.stage svg { display: block; width: 100%; aspect-ratio: 1; background: var(--paper); }
.stage figcaption { overflow-wrap: anywhere; }
.stage ul { list-style: none; margin: 0; padding: 0 12px 10px; font-size: 13px; }
.stage li { margin: 3px 0; overflow-wrap: anywhere; }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 3px; background: var(--ego); }
.tools { display: flex; flex-wrap: wrap; align-items: center; gap: 10px; margin: 10px 0; }
.tools[hidden] { display: none; } .tools input[type=range] { flex: 1 1 220px; accent-color: var(--blue); }
.tools output { min-width: 5ch; font-variant-numeric: tabular-nums; }
.film button, .film select { font: inherit; font-size: 13px; color: var(--ink); background: var(--well);
  border: 1px solid var(--line); border-radius: 6px; padding: 2px 9px; cursor: pointer; }
.film button:disabled { cursor: default; color: inherit; }
.film :focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
.surface { fill: var(--road); } .line-surface { stroke: var(--road); }
.line-boundary { stroke: var(--bound); } .line-centre { stroke: var(--centre); }
.line-edge { stroke: var(--edge); } .stripe { fill: var(--stripe); } .line-stripe { stroke: var(--stripe); }
.lines { fill: none; stroke-linejoin: round; }
.way { fill: none; stroke: var(--ego); stroke-width: 3; opacity: 0.65; }
.recorded { fill: none; stroke: var(--ink); stroke-width: 2; stroke-dasharray: 8 8; opacity: 0.5; }
.goal { fill: none; stroke: var(--ink); stroke-width: 3; opacity: 0.7; }
.agent { stroke: #0008; stroke-width: 1; } .agent .nose { fill: #fffb; stroke: none; }
.agent.ego { fill: var(--ego); } .agent.named { fill: #d62839; }
.ghost { fill: var(--ego); fill-opacity: 0.15; stroke: var(--ego); stroke-width: 2.5; stroke-dasharray: 6 4; }
.alone .ghost { visibility: hidden; }
.light { stroke: var(--ink); stroke-width: 1; }
.mark { fill: none; stroke: #d62839; stroke-width: 4; } .mark.yet { opacity: 0.35; stroke-width: 3; }
@media print { .tools { display: none; } }
"""


def film_html(film: Film) -> str:
    """The film as an element of a page that has :func:`style` and, at its end, :func:`script`."""
    stage = _Stage(film)
    panels = "".join(stage.panel(index) for index in range(len(film.panels)))
    return (
        f'<section class="film card" id="{film.anchor}" aria-labelledby="{film.anchor}-title">'
        f'<h3 id="{film.anchor}-title">{_text(film.title)}</h3>'
        f'<p class="soft">{_text(film.text)}</p>{_tools(film)}'
        f'<div class="stage">{panels}</div>'
        f'<script type="application/json">{stage.data()}</script></section>'
    )


def _tools(film: Film) -> str:
    last = film.panels[0].scene.steps - 1
    title = _text(film.title)
    speeds = "".join(
        f'<option value="{speed:g}"{" selected" if speed == 1.0 else ""}>{speed:g} ×</option>'
        for speed in SPEEDS
    )
    ghosts = (
        '<label><input type="checkbox" checked> outline the other egos</label>'
        if len(film.panels) > 1
        else ""
    )
    return (
        '<div class="tools" hidden>'
        f'<button type="button" aria-label="Play or pause {title}">Play</button>'
        f'<input type="range" min="0" max="{last}" step="1" value="{film.still}" '
        f'aria-label="Time of {title}" aria-valuetext="{film.still * DT:.1f} seconds">'
        f"<output>{film.still * DT:.1f} s</output>"
        f'<label>speed <select aria-label="Speed of {title}">{speeds}</select></label>{ghosts}</div>'
    )


class _Stage:
    """What of a film is shown, where: the same for all of its panels."""

    def __init__(self, film: Film) -> None:
        self.film = film
        ways = [panel.scene.tracks.xy[0].astype(np.float64) for panel in film.panels]
        everywhere = np.concatenate(ways)
        low, high = everywhere.min(axis=0), everywhere.max(axis=0)
        reach = float((high - low).max()) / 2.0 + MARGIN_M
        self.radius = float(np.clip(reach, *RADIUS_M))
        self.follows = reach > self.radius
        self.centre = (low + high) / 2.0
        self.ways = ways
        self.seen = [
            self._in_view(panel.scene, way) for panel, way in zip(film.panels, ways, strict=True)
        ]

    def panel(self, index: int) -> str:
        """One panel: its picture, and what is to be said of it."""
        film, panel = self.film, self.film.panels[index]
        told = (
            f"{panel.title} {panel.text} {film.title}, seen from above at {film.still * DT:.1f} s."
        )
        side = round(20 * self.radius)
        others = (i for i in range(len(film.panels)) if i != index)
        shift = ""
        if self.follows:
            x, y = self._place(self.ways[index][film.still])
            shift = f' transform="translate({-x} {-y})"'
        ground = f"{film.anchor}-ground"
        parts = [
            f'<g id="{ground}">{self._ground()}</g>' if index == 0 else f'<use href="#{ground}"/>',
            self._line(self.film.recorded, "recorded"),
            self._goal(),
            self._line(self.ways[index], "way"),
            self._lights(),
            *(self._ghost(other) for other in others),
            *self._agents(index),
            *(self._mark(index, mark) for mark in panel.marks),
        ]
        buttons = "".join(
            f'<li><button type="button" data-step="{mark.step}" disabled>{mark.step * DT:.1f} s</button> '
            f"{_text(mark.text)}</li>"
            for mark in panel.marks
        )
        notes = "".join(f"<li>{_text(note)}</li>" for note in panel.notes)
        said = f"<ul>{buttons}{notes}</ul>" if buttons or notes else ""
        return (
            f'<figure class="ego-{index % len(EGOS)}"><figcaption><span class="swatch"></span> '
            f"<b>{_text(panel.title)}</b><br>{_text(panel.text)}</figcaption>"
            f'<svg viewBox="{-side // 2} {-side // 2} {side} {side}" role="img" '
            f'aria-label="{_text(told)}"><g class="world"{shift}>{"".join(parts)}</g></svg>'
            f"{said}</figure>"
        )

    def data(self) -> str:
        """What the script moves, as JSON that may stand within a page."""
        signals = self.film.panels[0].scene.signals
        kept: dict[str, int] = {}
        panels = [
            [kept.setdefault(track, len(kept)) for track in self._packed(index)]
            for index in range(len(self.film.panels))
        ]
        made = {
            "steps": self.film.panels[0].scene.steps,
            "dt": DT,
            "at": self.film.still,
            "follows": self.follows,
            "panels": panels,
            "tracks": list(kept),
            "lights": [
                "".join(map(str, signals.state[row].astype(int).tolist())) for row in self._lit()
            ],
        }
        return json.dumps(made, separators=(",", ":")).replace("<", "\\u003c")

    def _packed(self, index: int) -> list[str]:
        """The poses of each of those in view, base64."""
        tracks = self.film.panels[index].scene.tracks
        who = self.seen[index]
        xy = (tracks.xy[who].astype(np.float64) - self.centre) * 100.0
        made = np.concatenate([xy, tracks.yaw[who].astype(np.float64)[..., None] * 1e4], axis=-1)
        there = tracks.valid[who] & (np.abs(made) < -GONE).all(axis=-1)
        packed = np.where(there[..., None], np.round(np.where(there[..., None], made, 0.0)), GONE)
        return [base64.b64encode(one.astype("<i2").tobytes()).decode() for one in packed]

    def _in_view(self, scene: Scene, way: Float[Array, "steps 2"]) -> Int[Array, " agents"]:
        """Rows of the ego and of everyone who comes into view."""
        tracks = scene.tracks
        middle = way if self.follows else self.centre[None]
        near = np.abs(tracks.xy - middle).max(axis=-1) < self.radius + 5.0
        there: Bool[Array, " agents"] = (near & tracks.valid).any(axis=1)
        there[0] = True
        return np.flatnonzero(there)

    def _ground(self) -> str:
        """The map, thinned and cut to what comes into view."""
        spots = np.concatenate(self.ways) if self.follows else self.centre[None]
        low, high = spots.min(axis=0) - self.radius - 3.0, spots.max(axis=0) + self.radius + 3.0
        parts = []
        for shape in shapes(self.film.panels[0].scene.map):
            least, most = shape.points.min(axis=0), shape.points.max(axis=0)
            if (least > high).any() or (most < low).any():
                continue
            if shape.width is None:
                parts.append(f'<path class="{shape.part}" d="{self._path(shape.points)}z"/>')
            else:
                cap = ' stroke-linecap="square"' if shape.part == Part.SURFACE else ""
                parts.append(
                    f'<path class="lines line-{shape.part}" stroke-width="{10 * shape.width:g}"{cap} '
                    f'd="{self._path(shape.points)}"/>'
                )
        return "".join(parts)

    def _path(self, points: Float[Array, "points 2"]) -> str:
        """A line as SVG writes it: the first point, then steps."""
        from shapely import LineString, simplify

        line = np.asarray(points, dtype=np.float64)
        if len(line) > 2:
            line = np.asarray(simplify(LineString(line), SIMPLE_M).coords)
        drawn = self._places(line)
        moves = np.diff(drawn, axis=0)
        moves = moves[(moves != 0).any(axis=1)]
        told = " ".join(f"{x} {y}" for x, y in moves.tolist()).replace(" -", "-")
        return f"M{drawn[0, 0]} {drawn[0, 1]}" + (f"l{told}" if told else "h0")

    def _line(self, points: Float[Array, "points 2"] | None, kind: str) -> str:
        if points is None or len(points) == 0:
            return ""
        return f'<path class="{kind}" d="{self._path(points)}"/>'

    def _goal(self) -> str:
        if self.film.goal is None:
            return ""
        x, y = self._place(np.array(self.film.goal))
        return f'<circle class="goal" cx="{x}" cy="{y}" r="12"><title>goal</title></circle>'

    def _agents(self, index: int) -> Iterable[str]:
        panel = self.film.panels[index]
        named = frozenset[int]().union(*(mark.others for mark in panel.marks))
        tracks = panel.scene.tracks
        for row in self.seen[index].tolist():
            cls = AgentClass(int(tracks.cls[row]))
            if row == 0:
                kind = "agent ego"
            else:
                kind = (
                    "agent named" if int(tracks.track_id[row]) in named else f"agent is-{cls.word}"
                )
            title = "ego" if row == 0 else f"{cls.word} {int(tracks.track_id[row])}"
            yield (
                f'<g class="{kind}"{self._pose(panel.scene, row)}>{_box(tracks.size[row])}'
                f"<title>{title}</title></g>"
            )

    def _ghost(self, index: int) -> str:
        """The ego of another panel."""
        panel = self.film.panels[index]
        return (
            f'<g class="ghost ego-{index % len(EGOS)}" data-of="{index}"{self._pose(panel.scene, 0)}>'
            f"{_box(panel.scene.tracks.size[0], nose=False)}<title>{_text(panel.title)}</title></g>"
        )

    def _pose(self, scene: Scene, row: int) -> str:
        """Where somebody is in the still."""
        step = min(self.film.still, scene.steps - 1)
        if not scene.tracks.valid[row, step]:
            return ' style="display:none"'
        x, y = self._place(scene.tracks.xy[row, step])
        turn = -np.rad2deg(float(scene.tracks.yaw[row, step]))
        return f' transform="translate({x} {y}) rotate({turn:.1f})"'

    def _mark(self, index: int, mark: Mark) -> str:
        scene = self.film.panels[index].scene
        x, y = self._place(scene.tracks.xy[0, min(mark.step, scene.steps - 1)])
        yet = " yet" if mark.step > self.film.still else ""
        return (
            f'<g class="mark{yet}" data-step="{mark.step}" transform="translate({x} {y})">'
            f'<circle r="34"/><path d="M-8-8l16 16M8-8l-16 16"/><title>{_text(mark.text)}</title></g>'
        )

    def _lit(self) -> list[int]:
        """Rows of the signals whose place is known and in view."""
        signals = self.film.panels[0].scene.signals
        if not len(signals.lane):
            return []
        spots = np.concatenate(self.ways) if self.follows else self.centre[None]
        away = np.abs(signals.stop_xy[:, None] - spots[None]).max(axis=-1).min(axis=1)
        return np.flatnonzero(signals.has_stop & (away < self.radius)).tolist()

    def _lights(self) -> str:
        signals = self.film.panels[0].scene.signals
        parts = []
        for row in self._lit():
            x, y = self._place(signals.stop_xy[row])
            state = LightState(int(signals.state[row, self.film.still]))
            parts.append(f'<circle class="light light-{int(state)}" cx="{x}" cy="{y}" r="9"/>')
        return "".join(parts)

    def _place(self, xy: Float[Array, "2"]) -> tuple[int, int]:
        x, y = self._places(np.asarray(xy, dtype=np.float64)[None])[0].tolist()
        return x, y

    def _places(self, xy: Float[Array, "points 2"]) -> Int[Array, "points 2"]:
        """From the map to the picture, decimetres, y downwards."""
        relative = (xy - self.centre) * [10.0, -10.0]
        return np.round(relative).astype(np.int64)


def _box(size: Float[Array, "3"], *, nose: bool = True) -> str:
    """An agent's outline about its own centre, and which way it heads."""
    long, wide = (max(round(10.0 * float(v)), LEAST) if np.isfinite(v) else 10 for v in size[:2])
    x, y = -long / 2, -wide / 2
    made = f'<rect x="{x:g}" y="{y:g}" width="{long}" height="{wide}" rx="2"/>'
    if nose:
        made += f'<path class="nose" d="M{long / 2:g} 0L{long * 0.2:g} {wide * 0.35:g}V{-wide * 0.35:g}z"/>'
    return made


def _hex(rgb: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in rgb)


def _text(text: str) -> str:
    return html.escape(text)
