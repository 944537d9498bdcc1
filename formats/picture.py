"""Scenes as pictures: a still PNG or an animated GIF, seen from above.

Road surface, lane lines and crosswalks lie below; the paths of everyone above them; boxes with
their headings on top. The ego is drawn in blue, lights as dots where cars stop for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from formats.ground import Part, shapes
from formats.registry import WriteReport
from geometry import boxes, polylines
from geometry.arrays import Array
from schemas.errors import BadSetting
from schemas.labels import AgentClass, LightState
from schemas.scene import DT, Scene

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

PAPER = (245, 244, 240)
SURFACE = (222, 222, 219)
EDGE = (120, 120, 118)
LANE = (190, 190, 186)
BOUNDARY = (250, 250, 250)
STRIPE = (255, 255, 255)
INK = (40, 42, 46)
GROUND = {
    Part.SURFACE: SURFACE, Part.BOUNDARY: BOUNDARY, Part.CENTRE: LANE, Part.EDGE: EDGE,
    Part.STRIPE: STRIPE,
}  # fmt: skip
EGO = (28, 98, 214)
EMPHASIS = (214, 40, 57)
AGENTS = {
    AgentClass.VEHICLE: (233, 146, 52),
    AgentClass.TRUCK: (176, 96, 28),
    AgentClass.BUS: (176, 96, 28),
    AgentClass.MOTORCYCLE: (150, 70, 170),
    AgentClass.CYCLIST: (34, 150, 96),
    AgentClass.PEDESTRIAN: (206, 60, 120),
    AgentClass.ANIMAL: (206, 60, 120),
    AgentClass.OBSTACLE: (90, 90, 90),
}
OTHERS = (130, 130, 130)
LIGHTS = {
    LightState.RED: (220, 30, 40),
    LightState.YELLOW: (240, 180, 0),
    LightState.GREEN: (20, 170, 70),
    LightState.OFF: (60, 60, 60),
    LightState.UNKNOWN: (170, 170, 170),
}
OVERSAMPLING = 2  # drawn larger, then shrunk, for smooth edges


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is shown.

    Attributes:
        size: Side of the square picture [px].
        radius: Half of the side of the square shown [m]; None fits everyone near the ego.
        centre: What is in the middle, in the log's frame [m]; None: the ego, or all.
        trail: Length of the path drawn behind each box [s].
        emphasis: Track ids drawn in red.
        caption: A line of text at the top; None names scene and time.
    """

    size: int = 640
    radius: float | None = None
    centre: tuple[float, float] | None = None
    trail: float = 2.0
    emphasis: frozenset[int] = frozenset()
    caption: str | None = None


WIDEST_M = 250.0  # [m] half side of the widest view that still shows boxes


def draw(scene: Scene, *, step: int | None = None, view: View | None = None) -> Image:
    """One moment of a scene.

    Args:
        scene: What to draw.
        step: Which moment; None is the scene's anchor.
        view: How to draw it.

    Returns:
        An RGB picture, ``view.size`` pixels wide and high.

    Raises:
        BadSetting: The scene has no such step.
    """
    view = view or View()
    step = scene.anchor if step is None else step
    if not 0 <= step < scene.steps:
        raise BadSetting(
            f"Scene {scene.name} has no step {step}.",
            hint=f"Its steps are 0 to {scene.steps - 1}.",
        )
    canvas = _Canvas(scene, view)
    picture = canvas.background()
    return canvas.finish(picture, step)


def animate(scene: Scene, *, view: View | None = None, every: int = 1) -> list[Image]:
    """All moments of a scene, each ``every`` steps; the map is drawn once."""
    canvas = _Canvas(scene, view or View())
    background = canvas.background()
    return [canvas.finish(background.copy(), step) for step in range(0, scene.steps, every)]


def write_picture(
    scene: Scene, path: Path, *, step: int | None = None, view: View | None = None, every: int = 2
) -> Path:
    """A ``.png`` of one moment, or a ``.gif`` of all of them in real time.

    Raises:
        BadSetting: The name ends in neither.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".png":
        draw(scene, step=step, view=view).save(path)
    elif path.suffix.lower() == ".gif":
        from PIL.Image import Dither

        frames = animate(scene, view=view, every=every)
        # One palette for all frames: they share a map, and it keeps the file small.
        shared = _palette(frames[len(frames) // 2])
        shown = [frame.quantize(palette=shared, dither=Dither.NONE) for frame in frames]
        shown[0].save(
            path,
            save_all=True,
            append_images=shown[1:],
            duration=round(every * DT * 1000),
            loop=0,
            optimize=False,
        )
    else:
        raise BadSetting(
            f"Pictures are .png or .gif, not `{path.name}`.", hint="Change the end of the name."
        )
    return path


def _palette(frame: Image) -> Image:
    """Colours of a frame, with every named one kept however few pixels it has."""
    from PIL import Image

    named = [EGO, EMPHASIS, OTHERS, INK, STRIPE, *AGENTS.values(), *LIGHTS.values()]
    named += [_blend(colour, (255, 255, 255), 0.65) for colour in named[:3]]
    named += [_blend(colour, PAPER, 0.55) for colour in (EGO, EMPHASIS, *AGENTS.values())]
    side = frame.width // 8
    sheet = Image.new("RGB", (frame.width, frame.height + side * (len(named) // 8 + 1)), PAPER)
    sheet.paste(frame, (0, 0))
    for index, colour in enumerate(named):
        row, column = divmod(index, 8)
        place = (column * side, frame.height + row * side)
        sheet.paste(Image.new("RGB", (side, side), colour), place)
    return sheet.quantize(colors=128)


def write(scenes: Sequence[Scene], folder: Path) -> WriteReport:
    """A PNG a scene, at its anchor."""
    return WriteReport(
        files=[write_picture(scene, folder / f"{scene.scene_id}.png") for scene in scenes]
    )


class _Canvas:
    """Where metres become pixels, for one scene and view."""

    def __init__(self, scene: Scene, view: View) -> None:
        self.scene, self.view = scene, view
        self.pixels = view.size * OVERSAMPLING
        self.centre, self.radius = _frame(scene, view)
        self.scale = self.pixels / (2.0 * self.radius)

    def background(self) -> Image:
        """Paper and map."""
        from PIL import Image, ImageDraw

        picture = Image.new("RGB", (self.pixels, self.pixels), PAPER)
        pen = ImageDraw.Draw(picture)
        for shape in shapes(self.scene.map):
            colour = GROUND[shape.part]
            if shape.width is None:
                pen.polygon(self._points(shape.points), fill=colour)
            else:
                joint = "curve" if shape.part == Part.SURFACE else None
                width = self._metres(shape.width)
                pen.line(self._points(shape.points), fill=colour, width=width, joint=joint)
        return picture

    def finish(self, picture: Image, step: int) -> Image:
        """Everyone at one step, and the caption."""
        from PIL import Image, ImageDraw

        pen = ImageDraw.Draw(picture)
        tracks = self.scene.tracks
        first = max(0, step - round(self.view.trail / DT))
        order = np.argsort([self._rank(agent) for agent in range(len(tracks.cls))], kind="stable")
        for agent in order:
            seen = tracks.valid[agent, first : step + 1]
            if seen.sum() > 1:
                trail = tracks.xy[agent, first : step + 1][seen]
                colour = _blend(self._colour(agent), PAPER, 0.55)
                pen.line(self._points(trail), fill=colour, width=max(2, self._metres(0.3)))
        self._lights(pen, step)
        for agent in order:
            if tracks.valid[agent, step]:
                self._box(pen, agent, step)
        picture = picture.resize((self.view.size, self.view.size), Image.Resampling.LANCZOS)
        self._caption(ImageDraw.Draw(picture), step)
        return picture

    def _box(self, pen: ImageDraw, agent: int, step: int) -> None:
        box = self.scene.tracks.boxes[agent, step].astype(np.float64)
        # What is smaller than a metre on paper would be a speck: keep it visible.
        smallest = 7.0 * OVERSAMPLING / self.scale
        unsized = ~np.isfinite(box[3:5])
        box[3:5] = np.maximum(np.where(unsized, smallest, box[3:5]), smallest)
        outline = boxes.corners(box)
        colour = self._colour(agent)
        pen.polygon(
            self._points(outline),
            fill=colour,
            outline=_blend(colour, INK, 0.5),
            width=OVERSAMPLING,
        )
        front, rear = (outline[0] + outline[3]) / 2.0, (outline[1] + outline[2]) / 2.0
        shoulder = front + 0.3 * (rear - front)
        arrow = [
            front,
            shoulder + 0.7 * (outline[0] - front),
            shoulder + 0.7 * (outline[3] - front),
        ]
        pen.polygon(self._points(np.array(arrow)), fill=_blend(colour, (255, 255, 255), 0.65))

    def _lights(self, pen: ImageDraw, step: int) -> None:
        signals = self.scene.signals
        radius = max(4.0 * OVERSAMPLING, 0.7 * self.scale)
        for row in range(len(signals.lane)):
            if not signals.has_stop[row]:
                continue
            x, y = self._points(signals.stop_xy[row : row + 1])[0]
            colour = LIGHTS[LightState(int(signals.state[row, step]))]
            corners = [x - radius, y - radius, x + radius, y + radius]
            pen.ellipse(corners, fill=colour, outline=INK, width=OVERSAMPLING)

    def _caption(self, pen: ImageDraw, step: int) -> None:
        from PIL import ImageFont

        time = f"{step * DT:4.1f} s"
        text = self.view.caption if self.view.caption is not None else self.scene.name
        font = ImageFont.load_default(size=max(12, self.view.size // 40))
        pen.text((8, 6), text, fill=INK, font=font)
        width = pen.textlength(time, font=font)
        pen.text((self.view.size - width - 8, 6), time, fill=INK, font=font)
        self._ruler(pen, font)

    def _ruler(self, pen: ImageDraw, font: FreeTypeFont | ImageFont) -> None:
        metres = 10 if self.radius < 60 else 50
        length = metres * self.scale / OVERSAMPLING
        y = self.view.size - 12
        pen.line([(10, y), (10 + length, y)], fill=INK, width=2)
        pen.text((14 + length, y - 8), f"{metres} m", fill=INK, font=font)

    def _rank(self, agent: int) -> int:
        if self.scene.has_ego and agent == 0:
            return 2
        return int(int(self.scene.tracks.track_id[agent]) in self.view.emphasis)

    def _colour(self, agent: int) -> tuple[int, int, int]:
        if self.scene.has_ego and agent == 0:
            return EGO
        if int(self.scene.tracks.track_id[agent]) in self.view.emphasis:
            return EMPHASIS
        return AGENTS.get(AgentClass(int(self.scene.tracks.cls[agent])), OTHERS)

    def _points(self, xy: Array) -> list[tuple[float, float]]:
        relative = (np.asarray(xy)[:, :2] - self.centre) * self.scale
        middle = self.pixels / 2.0
        return [(float(middle + x), float(middle - y)) for x, y in relative]

    def _metres(self, metres: float) -> int:
        return max(1, round(metres * self.scale))


def _frame(scene: Scene, view: View) -> tuple[Array, float]:
    """Centre and half side of what is shown: the ego's path, else everyone's [m]."""
    if view.centre is not None:
        return np.array(view.centre), view.radius or 50.0
    tracks = scene.tracks
    who = tracks.valid[:1] if scene.has_ego else tracks.valid
    where = tracks.xy[:1] if scene.has_ego else tracks.xy
    shown = where[who].astype(np.float64)
    if not len(shown):
        shown = _map_points(scene)
    if not len(shown):
        return np.zeros(2), view.radius or 50.0
    low, high = shown.min(axis=0), shown.max(axis=0)
    reach = float((high - low).max()) / 2.0 + 25.0
    radius = view.radius or float(np.clip(reach, 40.0, WIDEST_M))
    if radius < reach and scene.has_ego:  # not all of it fits: then what counts as now
        seen = np.flatnonzero(tracks.valid[0])
        now = seen[np.abs(seen - scene.anchor).argmin()]
        return tracks.xy[0, now].astype(np.float64), radius
    return (low + high) / 2.0, radius


def _map_points(scene: Scene) -> Array:
    lines: Iterable[Array] = (f.points[:, :2] for f in scene.map.features)
    points = [polylines.without_repeats(line) for line in lines]
    return np.concatenate(points) if points else np.zeros((0, 2))


def _blend(a: tuple[int, int, int], b: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    red, green, blue = (round(p * (1 - share) + q * share) for p, q in zip(a, b, strict=True))
    return red, green, blue
