"""A small picture of each predicate: the scene on which its test proves it, drawn from above.

    python -m tests.mining.pictures [FOLDER]

draws them all anew, into ``docs/predicates/`` by default. The one it is said of is red, the other
blue, anybody else grey; pale boxes are where they were and will be, at the begin, in the middle and at the
end of what is told.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from geometry.arrays import Array
from geometry.boxes import corners
from mining.predicates import tag_scene
from schemas.labels import LightState, MapLayer, Truth
from schemas.records import MapFeature
from schemas.scene import Scene
from tests.mining.test_predicates import HOLDS, Case
from tests.mining.test_wider_predicates import WIDER

FOLDER = Path(__file__).parents[2] / "docs" / "predicates"
WIDE, HIGH = 240, 130  # [px]
MARGIN_M = 5.0
LEAST_M = 26.0  # a picture shows so much across at least
NEAR_M = 12.0  # who is farther from those it is said of is left out
LIGHTS = {
    LightState.RED: "#d8232f", LightState.YELLOW: "#e6a700", LightState.GREEN: "#1f9e4b",
    LightState.OFF: "#444", LightState.UNKNOWN: "#999",
}  # fmt: skip


def case_of(name: str) -> Case | None:
    """The first scene on which a test proves the predicate."""
    return next((case for case in (*HOLDS, *WIDER) if case.name == name), None)


def picture(case: Case) -> str:
    """The SVG of a case."""
    scene = case.make()
    found = [
        one
        for one in tag_scene(scene, [case.name])
        if one.truth == Truth.TRUE and one.actor == case.actor and one.other == case.other
    ]
    begin, end = (found[0].begin_step, found[0].end_step) if found else (0, scene.steps - 1)
    rows = {int(track): n for n, track in enumerate(scene.tracks.track_id)}
    main = [rows[i] for i in (case.actor, case.other) if i is not None]
    steps = sorted({begin, (begin + end) // 2, end})
    canvas = _Canvas(scene, main or list(range(len(rows))), begin, end)
    parts = [*canvas.roads(), *canvas.lights((begin + end) // 2)]
    for n in range(len(scene.tracks.track_id)):
        if n not in main and canvas.shows(n, (begin + end) // 2):
            parts += canvas.user(n, "#8a8f98", steps[len(steps) // 2 :][:1], trail=False)
    for n, colour in zip(main[::-1], ("#2b62d9", "#d8232f")[2 - len(main) :], strict=True):
        parts += canvas.user(n, colour, steps, trail=True)
    return canvas.svg(parts, f"{case.name}: {begin / 10:g} to {end / 10:g} s")


class _Canvas:
    """Where metres become pixels."""

    def __init__(self, scene: Scene, main: Sequence[int], begin: int, end: int) -> None:
        self.scene, self.begin, self.end = scene, begin, end
        tracks = scene.tracks
        span = slice(begin, end + 1)
        there = np.concatenate(
            [
                corners(tracks.boxes[n, span][tracks.valid[n, span]].astype(float)).reshape(-1, 2)
                for n in main
            ]
        )
        stops = _stops(scene)
        if len(stops):  # the signal that is heeded belongs into the picture
            there = np.concatenate([there, stops[[np.hypot(*(stops - there[-1]).T).argmin()]]])
        low, high = there.min(axis=0) - MARGIN_M, there.max(axis=0) + MARGIN_M
        size = np.maximum(high - low, [LEAST_M, LEAST_M * HIGH / WIDE])
        self.scale = float(min(WIDE / size[0], HIGH / size[1]))
        self.middle = (low + high) / 2.0
        self.near = there

    def shows(self, n: int, step: int) -> bool:
        """Whether somebody else is worth showing."""
        tracks = self.scene.tracks
        if not tracks.valid[n, step]:
            return False
        return bool(np.hypot(*(self.near - tracks.xy[n, step]).T).min() < NEAR_M)

    def roads(self) -> list[str]:
        """Lanes, areas and lines of the map."""
        made = []
        for feature in self.scene.map.features:
            if (
                feature.layer == MapLayer.LANE
                and feature.left is not None
                and feature.right is not None
            ):
                outline = np.concatenate([feature.left, feature.right[::-1]])
                made.append(self._shape(outline, "fill='#d9dade'"))
        for feature in self.scene.map.features:
            made += self._feature(feature)
        return made

    def _feature(self, feature: MapFeature) -> list[str]:
        match feature.layer:
            case MapLayer.LANE:
                return [
                    self._line(side, "stroke='#fff' stroke-width='1'")
                    for side in (feature.left, feature.right)
                    if side is not None and not feature.in_intersection
                ]
            case MapLayer.CROSSWALK:
                return [
                    self._shape(feature.points, "fill='#fff' stroke='#9aa' stroke-dasharray='3 2'")
                ]
            case MapLayer.STOP_LINE:
                return [self._line(feature.points, "stroke='#333' stroke-width='2.5'")]
            case MapLayer.ROAD_EDGE | MapLayer.DRIVABLE_AREA if len(feature.points) > 1:
                return [self._line(feature.points, "stroke='#70747c' stroke-width='1.5'")]
            case MapLayer.STOP_SIGN:
                x, y = self._px(feature.points[:1])[0]
                return [f"<circle cx='{x}' cy='{y}' r='4' fill='#b3202b' stroke='#fff'/>"]
            case MapLayer.PARKING | MapLayer.INTERSECTION if len(feature.points) > 2:
                return [
                    self._shape(feature.points, "fill='none' stroke='#9aa' stroke-dasharray='4 3'")
                ]
        return []

    def lights(self, step: int) -> list[str]:
        """What signals show."""
        made = []
        for n, stop in enumerate(_stops(self.scene)):
            x, y = self._px(stop[None])[0]
            colour = LIGHTS[LightState(int(self.scene.signals.state[n, step]))]
            made.append(f"<circle cx='{x}' cy='{y}' r='4.5' fill='{colour}' stroke='#222'/>")
        return made

    def user(self, n: int, colour: str, steps: Iterable[int], *, trail: bool) -> list[str]:
        """Somebody at some steps, the last the boldest."""
        tracks, made = self.scene.tracks, []
        seen = [step for step in steps if tracks.valid[n, step]]
        if trail:
            span = np.arange(self.begin, self.end + 1)
            way = tracks.xy[n, span[tracks.valid[n, span]]][::3]
            if len(way) > 1 and np.ptp(way, axis=0).max() > 0.5:
                made.append(
                    self._line(way, f"stroke='{colour}' stroke-width='1.2' stroke-dasharray='2 2'")
                )
        for place, step in enumerate(seen):
            box = tracks.boxes[n, step].astype(float)
            least = 7.0 / self.scale  # else a pedestrian would be a speck
            box[3:5] = np.maximum(box[3:5], [least, least * 0.7])
            outline = corners(box)
            bold = "1" if place == len(seen) - 1 else "0.35"
            made.append(
                self._shape(
                    outline,
                    f"fill='{colour}' fill-opacity='{bold}' stroke='#222' stroke-opacity='{bold}' stroke-width='.7'",
                )
            )
            front = (outline[0] + outline[3]) / 2.0
            back = front + 0.35 * ((outline[1] + outline[2]) / 2.0 - front)
            tip = [front, back + 0.6 * (outline[0] - front), back + 0.6 * (outline[3] - front)]
            made.append(self._shape(np.array(tip), f"fill='#fff' fill-opacity='{bold}'"))
        return made

    def svg(self, parts: Sequence[str], title: str) -> str:
        """The whole."""
        metres = 10 if self.scale > 3 else 50
        length = metres * self.scale
        ruler = (
            f"<path d='M6 {HIGH - 6}h{length:.0f}' stroke='#222'/>"
            f"<text x='{8 + length:.0f}' y='{HIGH - 3}' font-size='8' font-family='sans-serif'>{metres} m</text>"
        )
        return (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDE} {HIGH}' width='{WIDE}' height='{HIGH}'>"
            f"<title>{title}</title><rect width='{WIDE}' height='{HIGH}' fill='#f4f4f1'/>\n"
            + "\n".join(parts)
            + f"\n{ruler}</svg>\n"
        )

    def _px(self, xy: Array) -> list[tuple[str, str]]:
        x = WIDE / 2 + (np.asarray(xy)[:, 0] - self.middle[0]) * self.scale
        y = HIGH / 2 - (np.asarray(xy)[:, 1] - self.middle[1]) * self.scale
        reach = 4 * WIDE  # what lies far outside is not worth its digits
        return [
            (f"{a:.0f}", f"{b:.0f}") if self.scale < 1 else (f"{a:.1f}", f"{b:.1f}")
            for a, b in zip(np.clip(x, -reach, reach), np.clip(y, -reach, reach), strict=True)
        ]

    def _path(self, xy: Array) -> str:
        points = self._px(xy)
        kept = [p for k, p in enumerate(points) if k == 0 or p != points[k - 1]]
        return "M" + "L".join(f"{x} {y}" for x, y in _straightened(kept))

    def _shape(self, xy: Array, style: str) -> str:
        return f"<path d='{self._path(xy)}Z' {style}/>"

    def _line(self, xy: Array, style: str) -> str:
        return f"<path d='{self._path(xy)}' fill='none' {style}/>"


def _stops(scene: Scene) -> Array:
    """Where one stops for each signal: as told, else where its lane begins."""
    signals, features = scene.signals, scene.map.features
    begins = [features[lane].points[0, :2] for lane in signals.lane.tolist()]
    told = np.where(signals.has_stop[:, None], signals.stop_xy, np.reshape(begins, (-1, 2)))
    return np.asarray(told, dtype=float)


def _straightened(points: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without points in the middle of straight stretches."""
    kept = points[:1]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        (x0, y0), (x1, y1), (x2, y2) = (tuple(map(float, p)) for p in (before, here, after))
        if abs((x1 - x0) * (y2 - y1) - (y1 - y0) * (x2 - x1)) > 0.5:
            kept.append(here)
    return kept + points[-1:] if len(points) > 1 else kept


def main() -> None:
    """Draw them all."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    from mining.predicates import PREDICATES

    for old in folder.glob("*.svg"):
        old.unlink()
    for name in PREDICATES:
        case = case_of(name)
        if case is not None:
            (folder / f"{name}.svg").write_text(picture(case), encoding="utf-8")


if __name__ == "__main__":
    main()
