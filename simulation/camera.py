"""A drawn camera image of the procedural world: sky, painted ground, then faces from far to near.

The ground is a plane, so it reaches the image through one homography per strip of rows, each from
the level of detail that suits its distance. Everything else is flat faces, culled when they look
away, shaded by the sun (Lambert), lamps and headlights, faded into the haze, and drawn from far to
near. Weather and night change light, colours and air, never the geometry.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from PIL import Image, ImageDraw

from geometry.arrays import Array
from geometry.cameras import Pinhole, pixels_of_plane
from geometry.frames import SE3
from schemas.labels import AgentClass, Daylight, LightState, Weather
from simulation.scenery import LAMP_CELL, Ground, SignalHead, Standing, Thing
from simulation.shapes import BUILDING, CANOPY, POST, TRUNK, Role, Shape, shape_of

QUALITY = 85  # of the JPEG
NEAR = 0.35  # [m] faces are cut off this close to the camera
FAR = 170.0  # [m] standing things beyond are left to the haze
WINDOWS_WITHIN = 75.0  # [m] buildings show single windows, beyond that bands
SIGNALS_WITHIN = 140.0  # [m]
SMALLEST = 14.0  # [px] things less tall show neither wheels nor lamps
STRIPS = 7  # of ground, each with its own level of detail

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Air:
    """Light and air of a time of day in a weather.

    Attributes:
        zenith: Colour of the sky overhead.
        horizon: And where it meets the ground, which is also the haze's.
        ambient: Light from everywhere, as a factor on colours.
        sun: Light from the sun's direction.
        sun_colour: Of that.
        sun_from: Unit vector towards it.
        haze: Share of the view lost a metre [1/m].
        clouds: Strength of clouds, 0 to 1.
        lamps: Whether lamps, headlights and windows are lit.
    """

    zenith: Colour
    horizon: Colour
    ambient: float
    sun: float
    sun_colour: Colour
    sun_from: tuple[float, float, float]
    haze: float
    clouds: float
    lamps: bool


@dataclass(frozen=True, slots=True, eq=False)
class Actors:
    """Road users at one time, in the scenery's frame.

    Attributes:
        cls: What each is.
        xyz: Middle of its box [m].
        yaw: [rad].
        size: (length, width, height) [m].
        tint: A number in [0, 1) that tells one from another, the same at all times.
        braking: Whether its brake lights are on.
    """

    cls: Sequence[AgentClass]
    xyz: Float[Array, "agents 3"]
    yaw: Float[Array, " agents"]
    size: Float[Array, "agents 3"]
    tint: Float[Array, " agents"]
    braking: Array


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What is to be drawn: all in the scenery's frame, whose ground is z = 0.

    Attributes:
        ground: Painted.
        standing: Boxes that do not move.
        actors: Road users without the one that carries the camera.
        heads: Signals.
        states: What each of them shows, codes of ``LightState``.
        weather: None counts as clear.
        daylight: None counts as day.
        seed: Of drops and flakes.
    """

    ground: Ground
    standing: Standing
    actors: Actors
    heads: Sequence[SignalHead]
    states: Int[Array, " heads"]
    weather: Weather | None
    daylight: Daylight | None
    seed: int


def draw(view: View, camera: Pinhole, scenery_from_cam: SE3) -> bytes:
    """The image as JPEG."""
    air = air_of(view.weather, view.daylight)
    pixels = _background(view, camera, scenery_from_cam, air)
    image = Image.fromarray(pixels)
    glows = _objects(image, view, camera, scenery_from_cam, air)
    pixels = _finish(np.asarray(image), view, air, glows)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def air_of(weather: Weather | None, daylight: Daylight | None) -> Air:
    """Light and air; unknown weather counts as clear, unknown daylight as day."""
    air = _TIMES[Daylight.DAY if daylight is None else daylight]
    if weather in (None, Weather.CLEAR):
        return air
    assert weather is not None
    grey = {Weather.CLOUDY: 0.55, Weather.RAIN: 0.85, Weather.SNOW: 0.9, Weather.FOG: 1.0}[weather]
    haze = {Weather.CLOUDY: 1.2, Weather.RAIN: 3.2, Weather.SNOW: 4.5, Weather.FOG: 13.0}[weather]
    dim = {Weather.CLOUDY: 0.93, Weather.RAIN: 0.74, Weather.SNOW: 0.95, Weather.FOG: 0.9}[weather]
    return replace(
        air,
        zenith=_scaled(_mixed(air.zenith, _grey_of(air.horizon), grey), dim),
        horizon=_scaled(_mixed(air.horizon, _grey_of(air.horizon), grey), dim),
        ambient=(air.ambient + 0.75 * grey * air.sun) * dim,
        sun=air.sun * (1.0 - grey),
        haze=air.haze * haze,
        clouds=max(air.clouds, 1.0 - 0.5 * (weather == Weather.FOG)),
        lamps=air.lamps or weather == Weather.FOG,
    )


_TIMES: dict[Daylight, Air] = {
    Daylight.DAY: Air(
        zenith=(88, 142, 208), horizon=(206, 220, 230), ambient=0.7, sun=0.62,
        sun_colour=(1.0, 0.97, 0.9), sun_from=(0.45, 0.35, 0.82), haze=0.0022, clouds=0.45,
        lamps=False,
    ),
    Daylight.DUSK: Air(
        zenith=(62, 74, 122), horizon=(236, 164, 112), ambient=0.42, sun=0.28,
        sun_colour=(1.0, 0.72, 0.5), sun_from=(0.86, 0.46, 0.2), haze=0.0034, clouds=0.6,
        lamps=True,
    ),
    Daylight.NIGHT: Air(
        zenith=(8, 11, 22), horizon=(30, 33, 46), ambient=0.15, sun=0.0,
        sun_colour=(1.0, 1.0, 1.0), sun_from=(0.0, 0.0, 1.0), haze=0.0032, clouds=0.3,
        lamps=True,
    ),
}  # fmt: skip

HEADLIGHT = 1.15  # brightness that headlights add close by
LAMP_LIGHT: Colour = (0.62, 0.52, 0.36)
PAINTS: tuple[Colour, ...] = (
    (228, 228, 226), (52, 54, 58), (128, 132, 138), (186, 190, 194), (36, 66, 122),
    (150, 34, 34), (92, 98, 104), (210, 204, 190), (44, 84, 72), (88, 22, 30), (196, 120, 40),
)  # fmt: skip
CLOTHES: tuple[Colour, ...] = (
    (186, 52, 48), (48, 86, 160), (222, 196, 92), (60, 60, 66), (90, 140, 90), (206, 206, 206),
    (150, 84, 150), (208, 118, 60),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = ((44, 48, 66), (70, 66, 60), (30, 30, 34), (110, 100, 84))
CARGO: tuple[Colour, ...] = ((220, 220, 216), (184, 190, 196), (190, 160, 110), (110, 130, 160))
WALLS: tuple[Colour, ...] = (
    (178, 160, 140), (160, 112, 92), (196, 190, 180), (140, 146, 154), (206, 186, 150),
    (124, 104, 98), (170, 176, 172),
)  # fmt: skip
MATERIALS: dict[Role, Colour] = {
    Role.GLASS: (44, 56, 68), Role.RUBBER: (26, 26, 28), Role.TAIL_LAMP: (150, 24, 22),
    Role.HEAD_LAMP: (236, 236, 228), Role.SKIN: (206, 164, 136), Role.METAL: (112, 116, 120),
    Role.ORANGE: (236, 104, 30), Role.WHITE: (236, 236, 232), Role.BARK: (92, 72, 54),
    Role.ROOF: (120, 114, 110), Role.PLATE: (214, 214, 206), Role.BELLY: (40, 40, 43),
}  # fmt: skip
SIGNAL_COLOURS: dict[LightState, Colour] = {
    LightState.RED: (255, 52, 40),
    LightState.YELLOW: (255, 196, 44),
    LightState.GREEN: (56, 246, 130),
}


# ── Sky and ground ───────────────────────────────────────────────────────────────────────────────


def _background(view: View, camera: Pinhole, pose: SE3, air: Air) -> Array:
    """Sky above the horizon, ground below it, as float RGB."""
    height, width = camera.height, camera.width
    pixels = np.empty((height, width, 3), dtype=np.float32)
    horizon = _horizon(camera, pose)
    _sky(pixels, camera, pose, air, horizon)
    first = min(max(int(np.floor(horizon)) + 1, 0), height)
    if first < height:
        pixels[first:] = _ground(view, camera, pose, air, first)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _horizon(camera: Pinhole, pose: SE3) -> float:
    """Row at which level rays straight ahead are seen."""
    ahead = pose.rotation[:, 2].copy()
    ahead[2] = 0.0
    in_cam = pose.rotation.T @ (ahead / max(float(np.linalg.norm(ahead)), 1e-9))
    return float(camera.cy + camera.fy * in_cam[1] / max(in_cam[2], 1e-6))


def _sky(pixels: Array, camera: Pinhole, pose: SE3, air: Air, horizon: float) -> None:
    rows = min(max(int(np.ceil(horizon)) + 1, 0), camera.height)
    if rows == 0:
        return
    up = np.clip((horizon - np.arange(rows)) / camera.fy, 0.0, 1.0)[:, None]
    share = 1.0 - np.exp(-up * 4.5)
    ramp = np.array(air.horizon) * (1.0 - share) + np.array(air.zenith) * share
    heading = np.arctan2(pose.rotation[1, 2], pose.rotation[0, 2])
    right = np.arctan((np.arange(camera.width) + 0.5 - camera.cx) / camera.fx)
    azimuth = heading - right
    clouds = _clouds()
    column = np.mod((azimuth / (2 * np.pi) * clouds.shape[1]).astype(int), clouds.shape[1])
    line = np.minimum((up[:, 0] * 1.6 * clouds.shape[0]).astype(int), clouds.shape[0] - 1)
    fade = (np.clip(up * 9.0, 0.0, 1.0) * air.clouds).astype(np.float32)
    cover = clouds[line[:, None], column[None]] * fade
    white = np.array(air.horizon) * 0.6 + (60.0 if not air.lamps else 6.0)
    sun = None
    if air.sun > 0.05:
        toward = np.arctan2(air.sun_from[1], air.sun_from[0])
        turn = np.abs(np.mod(azimuth - toward + np.pi, 2 * np.pi) - np.pi)
        if turn.min() < 1.0:
            rise = np.abs(up - air.sun_from[2] * 0.8)
            sun = np.exp(-(rise**2) / 0.05) * np.exp(-(turn[None] ** 2) / 0.12) * 150.0 * air.sun
    for channel in range(3):
        base = ramp[:, channel, None].astype(np.float32)
        pixels[:rows, :, channel] = base + (np.float32(white[channel]) - base) * cover
        if sun is not None:
            pixels[:rows, :, channel] += sun * air.sun_colour[channel]


@lru_cache(maxsize=1)
def _clouds() -> Array:
    """Cover of the sky by azimuth and height, seamless all round."""
    rng = np.random.default_rng(7)
    cover = np.zeros((96, 1536))
    for octave, size in enumerate((6, 12, 24, 48, 96)):
        coarse = rng.normal(size=(max(size // 3, 3), size * 2)).astype(np.float32)
        coarse = np.concatenate([coarse, coarse[:, :2]], axis=1)
        fine = Image.fromarray(coarse).resize(
            (1536 + 3072 // (size * 2), 96), Image.Resampling.BICUBIC
        )
        cover += np.asarray(fine)[:, :1536] * 0.6**octave
    return np.clip(cover * 0.55 + 0.25, 0.0, 1.0).astype(np.float32)


def _ground(view: View, camera: Pinhole, pose: SE3, air: Air, first: int) -> Array:
    """The painted plane below the horizon, lit and hazed."""
    ground, rows = view.ground, camera.height - first
    plane = pixels_of_plane(camera, pose.inverse(), z=0.0)
    metres_of_pixels = np.linalg.inv(plane)
    colour = np.empty((rows, camera.width, 3), dtype=np.float32)
    eye = float(pose.translation[2])
    below = np.maximum(np.arange(rows) + first + 0.5 - _horizon(camera, pose), 0.5)
    ahead = eye * camera.fy / below  # [m] distance at which each row meets the ground
    edges = np.unique(np.round(np.geomspace(1, rows + 1, STRIPS + 1)).astype(int) - 1)
    for top, bottom in pairwise(edges.tolist()):
        middle = ahead[(top + bottom) // 2]
        blur = np.sqrt(middle / camera.fx * middle**2 / (camera.fy * eye))  # [m] a pixel covers
        level = int(np.clip(np.round(np.log2(max(blur / ground.cell, 1.0))), 0,
                            len(ground.levels) - 1))  # fmt: skip
        strip = _warped(ground.levels[level], metres_of_pixels, ground.low,
                        ground.cell * 2**level, camera.width, first + top, bottom - top)  # fmt: skip
        colour[top:bottom] = np.asarray(strip)
    if view.weather == Weather.SNOW:
        grey = colour.mean(axis=-1, keepdims=True)
        colour += (np.minimum(grey * 0.5 + 150.0, 235.0) - colour) * 0.72
    elif view.weather == Weather.RAIN:
        colour *= 0.72
    tint = _warm(air) if air.sun >= 0.05 else np.ones(3)
    light = ((air.ambient + air.sun * air.sun_from[2]) * tint).astype(np.float32)
    if air.lamps:
        right = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
        own = _headlight(ahead[:, None], right[None] * ahead[:, None]) * (1.0 - air.ambient)
        lamps = _warped(ground.lamps, metres_of_pixels, ground.low, LAMP_CELL, camera.width,
                        first, rows)  # fmt: skip
        pool = np.asarray(lamps).astype(np.float32) * ((1.0 - air.ambient) / 255.0)
        for channel in range(3):
            colour[..., channel] *= light[channel] + own.astype(np.float32) + (
                pool * np.float32(LAMP_LIGHT[channel])
            )  # fmt: skip
    else:
        colour *= light
    shade = _shadows(view, camera, pose, first, rows)
    colour *= 1.0 - shade[..., None] * np.float32(0.5 if air.sun > 0.1 else 0.32)
    veil = (1.0 - np.exp(-air.haze * ahead)).astype(np.float32)[:, None, None]
    if view.weather == Weather.RAIN:  # wet asphalt mirrors the sky at grazing angles
        mirror = 0.34 * np.clip(ahead / 45.0, 0.0, 1.0)
        veil = np.maximum(veil, mirror.astype(np.float32)[:, None, None])
    colour += (np.array(air.horizon, dtype=np.float32) - colour) * veil
    return colour


def _warped(
    image: Image.Image, metres_of_pixels: Array, low: Array, cell: float, width: int, top: int,
    rows: int,
) -> Image.Image:  # fmt: skip
    """A strip of the view, looked up in a raster on the ground."""
    to_cells = np.array([[1 / cell, 0, -low[0] / cell], [0, 1 / cell, -low[1] / cell], [0, 0, 1]])
    shift = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, float(top)], [0.0, 0.0, 1.0]])
    h = to_cells @ metres_of_pixels @ shift
    h = h / h[2, 2]
    return image.transform(
        (width, rows), Image.Transform.PERSPECTIVE, h.ravel()[:8].tolist(),
        resample=Image.Resampling.BILINEAR,
        fillcolor=(100, 112, 72) if image.mode == "RGB" else 0,
    )  # fmt: skip


def _headlight(ahead: Array, aside: Array) -> Array:
    """Light of the own headlights at places told in the vehicle's frame."""
    reach = np.hypot(ahead, aside)
    angle = np.arctan2(aside, np.maximum(ahead, 0.1))
    return np.asarray(HEADLIGHT * np.exp(-((angle / 0.42) ** 2)) / (1.0 + (reach / 20.0) ** 2))


def _shadows(view: View, camera: Pinhole, pose: SE3, first: int, rows: int) -> Array:
    """Share of light that road users take from the ground below and beside them."""
    mask = Image.new("L", (camera.width, rows), 0)
    draw = ImageDraw.Draw(mask)
    actors = view.actors
    sun = np.array(air_of(view.weather, view.daylight).sun_from)
    lean = -sun[:2] / max(sun[2], 0.35) * 0.35
    for i in range(len(actors.cls)):
        half = actors.size[i, :2] / 2.0 + 0.12
        cos, sin = np.cos(actors.yaw[i]), np.sin(actors.yaw[i])
        corner = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * half
        xy = np.stack([cos * corner[:, 0] - sin * corner[:, 1],
                       sin * corner[:, 0] + cos * corner[:, 1]], axis=1)  # fmt: skip
        xy = xy + actors.xyz[i, :2] + lean * actors.size[i, 2] * 0.5
        flat = np.concatenate([xy, np.full((4, 1), 0.01)], axis=1)
        local = (flat - pose.translation) @ pose.rotation
        if local[:, 2].min() < NEAR or local[:, 2].max() > 90.0:
            continue
        uv, _, _ = camera.project(local)
        draw.polygon([(u, v - first) for u, v in uv.tolist()], fill=255)
    small = mask.reduce(2).resize(mask.size, Image.Resampling.BILINEAR)
    return np.asarray(small).astype(np.float32) / 255.0


# ── Faces ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, eq=False)
class _Thing:
    """One thing to draw."""

    shape: Shape
    xyz: Array
    yaw: float
    size: Array
    colours: dict[int, Colour]
    kind: int = -1
    tint: float = 0.0
    glow: bool = False


_Glow = tuple[float, float, float, Colour, tuple[int, int, int]]
"""Where in the image something shines (u, v), how far [px], in which colour, and as what it was
drawn: a glow whose middle something nearer has covered since is not seen."""


def _objects(image: Image.Image, view: View, camera: Pinhole, pose: SE3, air: Air) -> list[_Glow]:
    """Draw all things from far to near; what shines comes back."""
    brush = _Brush(image, camera, pose, air)
    things = [*_actors(view.actors, air), *_standing(view.standing, camera, pose)]
    faces = _Faces.of(things, brush)
    begin = np.searchsorted(-faces.gap, -faces.gap_of_thing, side="left")
    order = [(float(gap), i) for i, gap in enumerate(faces.gap_of_thing)]
    for i, head in enumerate(view.heads):
        gap = float(np.hypot(*(head.xyz[:2] - pose.translation[:2])))
        if gap < SIGNALS_WITHIN:
            order.append((gap, -1 - i))
    for _, index in sorted(order, reverse=True):
        if index < 0:
            _signal(brush, view.heads[-1 - index], LightState(int(view.states[-1 - index])))
            continue
        face = int(begin[index])
        while face < len(faces.owner) and faces.owner[face] == index:
            faces.draw(face, things[index], brush)
            face += 1
        if things[index].kind == Thing.BUILDING:
            brush.windows(things[index])
        elif things[index].kind == Thing.LAMP:
            brush.lantern(things[index])
    return brush.glows


@dataclass(frozen=True, slots=True, eq=False)
class _Faces:
    """The faces of all things that look this way and may be seen, in the order of painting.

    Attributes:
        owner: Index of the thing.
        role: What it is made of.
        gap: Distance of its thing [m], descending.
        middle: In the camera frame [m].
        colour: As lit and hazed.
        corners: Of each, in the camera frame [m].
        pixels: Of each, [px]; meaningless where it must be cut.
        cut: Whether it reaches behind the near plane.
        gap_of_thing: Distance of every thing, drawn or not [m].
    """

    owner: list[int]
    role: list[int]
    gap: Array
    middle: Array
    colour: list[tuple[int, int, int]]
    corners: list[Array]
    pixels: list[list[float]]
    cut: list[bool]
    gap_of_thing: Array

    @classmethod
    def of(cls, things: Sequence[_Thing], brush: _Brush) -> _Faces:
        if not things:
            return cls([], [], np.zeros(0), np.zeros((0, 3)), [], [], [], [], np.zeros(0))
        at = np.array([thing.xyz for thing in things])
        size = np.array([thing.size for thing in things])
        yaw = np.array([thing.yaw for thing in things])
        # A hair of difference keeps the faces of two things at one distance apart.
        gap = np.hypot(*(at - brush.eye)[:, :2].T) + np.arange(len(things)) * 1e-7
        counts = [len(thing.shape.vertices) for thing in things]
        of_vertex = np.repeat(np.arange(len(things)), counts)
        owner = np.repeat(np.arange(len(things)), [len(thing.shape.role) for thing in things])
        shift = np.concatenate([[0], np.cumsum(counts)])
        start = np.concatenate(
            [thing.shape.start[:-1] + shift[i] for i, thing in enumerate(things)]
        )
        end = np.append(start[1:], shift[-1])
        role = np.concatenate([thing.shape.role for thing in things])
        rank = np.concatenate([thing.shape.rank for thing in things])
        scaled = np.concatenate([thing.shape.vertices for thing in things]) * size[of_vertex]
        cos, sin = np.cos(yaw)[of_vertex], np.sin(yaw)[of_vertex]
        world = at[of_vertex]
        world[:, 0] += cos * scaled[:, 0] - sin * scaled[:, 1]
        world[:, 1] += sin * scaled[:, 0] + cos * scaled[:, 1]
        world[:, 2] += scaled[:, 2] - size[of_vertex, 2] / 2.0
        a = world[start]
        normal = np.cross(world[start + 1] - a, world[start + 2] - a)
        normal /= np.maximum(np.sqrt(np.einsum("fk,fk->f", normal, normal)), 1e-12)[:, None]
        seen = np.einsum("fk,fk->f", normal, a - brush.eye) < 0.0
        local = brush.local(world)
        pixels = brush.pixels(local)
        low_z, high_z = np.minimum.reduceat(local[:, 2], start), np.maximum.reduceat(
            local[:, 2], start
        )  # fmt: skip
        seen &= high_z > NEAR
        cut = low_z < NEAR
        u, v = pixels[:, 0], pixels[:, 1]
        lens = brush.camera
        seen &= cut | (np.minimum.reduceat(u, start) < lens.width)
        seen &= cut | (np.maximum.reduceat(u, start) > 0.0)
        seen &= cut | (np.minimum.reduceat(v, start) < lens.height)
        seen &= cut | (np.maximum.reduceat(v, start) > 0.0)
        tall = lens.fy * size[:, 2] / np.maximum(gap, 1.0)
        seen &= (tall[owner] > SMALLEST) | (rank != 1) | (role == Role.BODY)
        middle = np.add.reduceat(local, start, axis=0) / (end - start)[:, None]
        far = np.sqrt(np.einsum("fk,fk->f", middle, middle))
        chosen = np.flatnonzero(seen)
        chosen = chosen[np.lexsort((-far[chosen], rank[chosen], -gap[owner[chosen]]))]
        palette = np.array([[thing.colours.get(r, (0, 0, 0)) for r in Role] for thing in things])
        lit = brush.lit(palette[owner[chosen], role[chosen]], normal[chosen], middle[chosen])
        spans = [(int(start[f]), int(end[f])) for f in chosen]
        return cls(
            owner=owner[chosen].tolist(),
            role=role[chosen].tolist(),
            gap=gap[owner[chosen]],
            middle=middle[chosen],
            colour=[(int(r), int(g), int(b)) for r, g, b in lit.tolist()],
            corners=[local[i:j] for i, j in spans],
            pixels=[pixels[i:j].ravel().tolist() for i, j in spans],
            cut=cut[chosen].tolist(),
            gap_of_thing=gap,
        )

    def draw(self, face: int, thing: _Thing, brush: _Brush) -> None:
        """Paint one, and remember it if it shines."""
        role, colour = self.role[face], self.colour[face]
        shining = thing.glow and role in (Role.TAIL_LAMP, Role.HEAD_LAMP)
        if shining:
            far = float(np.linalg.norm(self.middle[face]))
            colour = brush.veiled(thing.colours[role], far)
        if self.cut[face]:
            brush.polygon(self.corners[face], colour)
        else:
            brush.pen.polygon(self.pixels[face], fill=colour)
        if shining:
            wide = 0.55 if role == Role.HEAD_LAMP else 0.3
            brush.shine(self.middle[face], thing.colours[role], wide, colour)


class _Brush:
    """Projects, lights and draws; collects what shines."""

    def __init__(self, image: Image.Image, camera: Pinhole, pose: SE3, air: Air) -> None:
        self.pen, self.camera, self.eye = ImageDraw.Draw(image), camera, pose.translation
        self.glows: list[_Glow] = []
        self._rotation, self._air = pose.rotation, air
        self._sun, self._warm = np.array(air.sun_from), _warm(air)
        self._haze = np.array(air.horizon)

    def local(self, xyz: Array) -> Array:
        """Points in the camera frame."""
        return np.asarray((xyz - self.eye) @ self._rotation)

    def pixels(self, local: Array) -> Array:
        """Where points in the camera frame are seen; meaningless behind the near plane."""
        z = np.maximum(local[:, 2], NEAR)
        u = self.camera.fx * local[:, 0] / z + self.camera.cx
        return np.stack([u, self.camera.fy * local[:, 1] / z + self.camera.cy], axis=1)

    def lit(self, colour: Array, normal: Array, at: Array) -> Array:
        """Colours under this light, at places in the camera frame, faded by the haze."""
        air = self._air
        depth = at[:, 2]
        light = air.ambient * (0.86 + 0.14 * normal[:, 2])
        light = light + air.sun * np.maximum(normal @ self._sun, 0.0)
        if air.lamps:
            towards = -normal @ self._rotation[:, 2]
            facing = 0.35 + 0.65 * np.clip(towards, 0.0, 1.0)
            light = light + _headlight(depth, at[:, 0]) * facing * (1.0 - air.ambient)
            light = light + 0.1
        shaded = colour * light[:, None] * self._warm
        veil = 1.0 - np.exp(-air.haze * np.maximum(np.linalg.norm(at, axis=1), 0.0))
        return np.clip(shaded + (self._haze - shaded) * veil[:, None], 0, 255)

    def veiled(self, colour: Colour, distance: float) -> tuple[int, int, int]:
        """A shining colour, seen through the haze."""
        veil = 1.0 - np.exp(-0.5 * self._air.haze * distance)
        r, g, b = np.array(colour) + (self._haze - np.array(colour)) * veil
        return int(r), int(g), int(b)

    def polygon(self, local: Array, colour: tuple[int, int, int]) -> None:
        """One face, cut at the near plane."""
        if local[:, 2].min() < NEAR:
            local = _cut(local)
            if len(local) < 3:
                return
        self.pen.polygon(self.pixels(local).ravel().tolist(), fill=colour)

    def shine(self, at: Array, colour: Colour, metres: float, drawn: tuple[int, int, int]) -> None:
        """Remember a light, and mark its middle so that it can be told whether it is covered."""
        if at[2] < 1.0:
            return
        u = float(self.camera.fx * at[0] / at[2] + self.camera.cx)
        v = float(self.camera.fy * at[1] / at[2] + self.camera.cy)
        if not (0.0 <= u < self.camera.width and 0.0 <= v < self.camera.height):
            return
        self.pen.point((int(u), int(v)), fill=drawn)
        spread = float(np.clip(self.camera.fx * metres / at[2], 1.5, 26.0))
        self.glows.append((u, v, spread, colour, drawn))

    def lantern(self, thing: _Thing) -> None:
        """The arm and lantern of a street lamp, over the road."""
        top = thing.xyz + np.array([0.0, 0.0, thing.size[2] / 2.0])
        left = np.array([-np.sin(thing.yaw), np.cos(thing.yaw), 0.0])
        arm = np.array(
            [top, top + 1.6 * left, top + 1.6 * left - [0, 0, 0.14], top - [0, 0, 0.14]]
        )
        local = self.local(arm)
        if local[:, 2].min() < NEAR:
            return
        grey = self.lit(np.array([MATERIALS[Role.METAL]]), np.array([[0.0, 0.0, 0.3]]), local[:1])
        self.polygon(local, tuple(grey[0].astype(int).tolist()))
        if self._air.lamps:
            drawn = self.veiled((255, 222, 160), float(local[2, 2]))
            self.disc(local[2], 0.12, drawn)
            self.shine(local[2], (255, 222, 160), 0.7, drawn)

    def windows(self, thing: _Thing) -> None:
        """Floors of windows on the walls that look this way, some lit in the dark."""
        floors = max(int(thing.size[2] // 3.1), 1)
        rng = np.random.default_rng(int(thing.tint * 2**31))
        half = thing.size[:2] / 2.0
        cos, sin = np.cos(thing.yaw), np.sin(thing.yaw)
        corner = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * half
        xy = corner @ np.array([[cos, sin], [-sin, cos]]) + thing.xyz[:2]
        for wall in range(4):
            lit = rng.uniform(size=(floors, 8)) < 0.3
            a, b = xy[wall], xy[(wall + 1) % 4]
            normal = np.array([b[1] - a[1], a[0] - b[0], 0.0]) / np.linalg.norm(b - a)
            if float((a - self.eye[:2]) @ normal[:2]) >= 0.0:
                continue
            ends = self.local(np.array([[*a, 0.0], [*b, 0.0]]))
            if ends[:, 2].min() < 1.0:
                continue
            near = float(ends[:, 2].mean()) < WINDOWS_WITHIN
            columns = min(max(int(np.linalg.norm(b - a) // 2.6), 1), 8) if near else 1
            inset = 0.2 if near else 0.05
            column, floor = np.meshgrid(np.arange(columns), np.arange(floors))
            across = np.stack([column + inset, column + 1.0 - inset], axis=-1) / columns
            up = np.stack([floor + 0.32, floor + 0.8], axis=-1) * thing.size[2] / floors
            across, up = across[..., [0, 1, 1, 0]].ravel(), up[..., [0, 0, 1, 1]].ravel()
            flat = a + (b - a) * across[:, None]
            pixels = self.pixels(self.local(np.concatenate([flat, up[:, None]], axis=1)))
            glass = self.lit(np.array([[58.0, 70.0, 82.0]]), normal[None], ends[:1])[0]
            dark = tuple(glass.astype(int).tolist())
            warm = self.veiled((236, 196, 120), float(ends[:, 2].mean()))
            on = lit[:, :columns].ravel() & near & self._air.lamps
            for quad, shines in zip(pixels.reshape(-1, 8).tolist(), on.tolist(), strict=True):
                self.pen.polygon(quad, fill=warm if shines else dark)

    def disc(self, at: Array, radius: float, colour: tuple[int, int, int]) -> None:
        """A round lamp that faces the camera."""
        if at[2] < 1.0:
            return
        u = self.camera.fx * at[0] / at[2] + self.camera.cx
        v = self.camera.fy * at[1] / at[2] + self.camera.cy
        r = max(self.camera.fx * radius / at[2], 0.8)
        self.pen.ellipse((u - r, v - r, u + r, v + r), fill=colour)


def _signal(brush: _Brush, head: SignalHead, state: LightState) -> None:
    """Housing, three lamps and the mast arm of a signal, for those who drive along its yaw."""
    ahead = np.array([np.cos(head.yaw), np.sin(head.yaw), 0.0])
    left = np.array([-np.sin(head.yaw), np.cos(head.yaw), 0.0])
    up = np.array([0.0, 0.0, 1.0])
    towards = head.xyz - brush.eye
    grey = np.array([[46.0, 48.0, 50.0]])

    def plate(half_width: float, low: float, high: float, aside: float = 0.0) -> Array:
        middle = head.xyz + aside * left
        return brush.local(np.array([
            middle - half_width * left + low * up, middle + half_width * left + low * up,
            middle + half_width * left + high * up, middle - half_width * left + high * up,
        ]))  # fmt: skip

    parts = [plate(0.28, -0.62, 0.62)]
    if head.arm:
        mast = plate(0.11, -head.xyz[2], 0.8, -head.arm)
        parts = [mast, plate(head.arm / 2.0 + 0.6, 0.62, 0.74, 0.6 - head.arm / 2.0), *parts]
    for part in parts:
        if part[:, 2].min() < 1.0:
            return
        colour = brush.lit(grey, -ahead[None], part[:1])[0]
        brush.polygon(part, tuple(colour.astype(int).tolist()))
    if float(towards @ ahead) < 0.0:
        return  # seen from behind
    shown = {LightState.RED: 0, LightState.YELLOW: 1, LightState.GREEN: 2}
    for i, lamp in enumerate((LightState.RED, LightState.YELLOW, LightState.GREEN)):
        at = brush.local((head.xyz + (0.38 - 0.38 * i) * up - 0.02 * ahead)[None])[0]
        if shown.get(state) == i:
            drawn = brush.veiled(SIGNAL_COLOURS[lamp], float(at[2]))
            brush.disc(at, 0.2, drawn)
            brush.shine(at, SIGNAL_COLOURS[lamp], 0.34, drawn)
        else:
            brush.disc(at, 0.15, (28, 28, 28))


def _actors(actors: Actors, air: Air) -> list[_Thing]:
    things = []
    for i, cls in enumerate(actors.cls):
        tint = float(actors.tint[i])
        on_foot = cls in (AgentClass.PEDESTRIAN, AgentClass.CYCLIST, AgentClass.MOTORCYCLE)
        colours: dict[int, Colour] = {int(role): colour for role, colour in MATERIALS.items()}
        colours[Role.BODY] = _pick(CLOTHES if on_foot else PAINTS, tint)
        colours[Role.CLOTH] = _pick(TROUSERS, tint * 7.0 % 1.0)
        colours[Role.CARGO] = _pick(CARGO, tint * 5.0 % 1.0)
        if cls == AgentClass.BUS:
            colours[Role.BODY] = _pick(((214, 168, 48), (196, 60, 52), (222, 222, 222)), tint)
        if actors.braking[i]:
            colours[Role.TAIL_LAMP] = (255, 46, 36)
        elif air.lamps:
            colours[Role.TAIL_LAMP] = (214, 34, 28)
        if air.lamps:
            colours[Role.HEAD_LAMP] = (255, 250, 226)
        things.append(
            _Thing(
                shape_of(cls, actors.size[i]), actors.xyz[i], float(actors.yaw[i]),
                actors.size[i], colours, tint=tint, glow=air.lamps or bool(actors.braking[i]),
            )
        )  # fmt: skip
    return things


def _standing(standing: Standing, camera: Pinhole, pose: SE3) -> list[_Thing]:
    """Standing things near enough and ahead."""
    local = (standing.xyz - pose.translation) @ pose.rotation
    reach = np.linalg.norm(standing.size, axis=1) / 2.0
    aside = np.abs(local[:, 0]) - 1.5 * reach
    ahead = local[:, 2] + reach
    seen = (ahead > NEAR) & (local[:, 2] < FAR)
    seen &= aside < ahead * camera.width / camera.fx * 0.56
    things = []
    for i in np.flatnonzero(seen):
        kind, tint = int(standing.kind[i]), float(standing.tint[i])
        colours: dict[int, Colour] = {int(role): colour for role, colour in MATERIALS.items()}
        colours[Role.WALL] = _pick(WALLS, tint)
        colours[Role.LEAF] = _mixed((74, 108, 52), (112, 128, 62), tint)
        if kind == Thing.SIGN:
            colours[Role.METAL] = (176, 36, 40)
        shape = {Thing.BUILDING: BUILDING, Thing.TRUNK: TRUNK, Thing.CANOPY: CANOPY}.get(
            Thing(kind), POST
        )
        size = standing.size[i]
        things.append(
            _Thing(shape, standing.xyz[i], float(standing.yaw[i]), size, colours, kind, tint)
        )
    return things


def _cut(local: Array) -> Array:
    """The part of a polygon in front of the near plane (Sutherland & Hodgman 1974)."""
    kept = []
    for a, b in zip(local, np.roll(local, -1, axis=0), strict=True):
        if a[2] >= NEAR:
            kept.append(a)
        if (a[2] >= NEAR) != (b[2] >= NEAR):
            kept.append(a + (b - a) * (NEAR - a[2]) / (b[2] - a[2]))
    return np.array(kept).reshape(-1, 3)


# ── Light in the air ─────────────────────────────────────────────────────────────────────────────


def _finish(pixels: Array, view: View, air: Air, glows: list[_Glow]) -> Array:
    """Glow, drops or flakes, and the grain of a sensor."""
    height, width = pixels.shape[:2]
    light = pixels.astype(np.float32)
    for u, v, spread, colour, drawn in glows:
        if tuple(pixels[int(v), int(u)].tolist()) != drawn:
            continue
        _glow(light, u, v, spread, colour, 0.75 if air.lamps else 0.35)
    rng = np.random.default_rng(view.seed)
    if view.weather in (Weather.RAIN, Weather.SNOW):
        fall = Image.new("L", (width, height), 0)
        pen = ImageDraw.Draw(fall)
        count = 260 if view.weather == Weather.RAIN else 420
        x, y = rng.uniform(0, width, count), rng.uniform(-10, height, count)
        near = rng.uniform(0.15, 1.0, count) ** 2
        for u, v, k in zip(x.tolist(), y.tolist(), near.tolist(), strict=True):
            if view.weather == Weather.RAIN:
                drift = (u - width / 2) / width * 8.0 * k
                pen.line((u, v, u + drift, v + 6 + 26 * k), fill=int(34 + 60 * k))
            else:
                r = 0.6 + 1.9 * k
                pen.ellipse((u - r, v - r, u + r, v + r), fill=int(120 + 110 * k))
        bright = 0.35 + 0.65 * air.ambient
        cover = np.asarray(fall).astype(np.float32)[..., None] / 255.0
        light += (235.0 * bright - light) * cover * (0.8 if view.weather == Weather.SNOW else 0.6)
    light *= _vignette(width, height)
    light += _grain(width, height, int(rng.integers(64)))
    return np.clip(light, 0, 255).astype(np.uint8)


def _glow(
    light: Array, u: float, v: float, spread: float, colour: Colour, strength: float
) -> None:
    """Add a soft round light to a patch of the image."""
    height, width = light.shape[:2]
    reach = int(3 * spread) + 1
    x0, x1 = max(int(u) - reach, 0), min(int(u) + reach + 1, width)
    y0, y1 = max(int(v) - reach, 0), min(int(v) + reach + 1, height)
    if x0 >= x1 or y0 >= y1:
        return
    x = np.exp(-((np.arange(x0, x1) - u) ** 2) / (2 * spread**2))
    y = np.exp(-((np.arange(y0, y1) - v) ** 2) / (2 * spread**2))
    halo = (strength * y[:, None] * x[None]).astype(np.float32)
    light[y0:y1, x0:x1] += halo[..., None] * np.array(colour, dtype=np.float32)


@lru_cache(maxsize=2)
def _vignette(width: int, height: int) -> Array:
    x = np.linspace(-1.0, 1.0, width)[None]
    y = np.linspace(-1.0, 1.0, height)[:, None]
    return (1.0 - 0.13 * (x * x + y * y)).astype(np.float32)[..., None]


@lru_cache(maxsize=2)
def _grains(width: int, height: int) -> Array:
    rng = np.random.default_rng(11)
    return rng.normal(0.0, 2.0, (height + 64, width, 1)).astype(np.float32)


def _grain(width: int, height: int, shift: int) -> Array:
    return np.asarray(_grains(width, height)[shift : shift + height])


def _warm(air: Air) -> Array:
    """Colour of the light: the sun's as far as it shines."""
    share = air.sun / max(air.sun + air.ambient, 1e-6)
    return np.asarray(1.0 + (np.array(air.sun_colour) - 1.0) * share)


def _pick(colours: Sequence[Colour], tint: float) -> Colour:
    return colours[int(tint * len(colours)) % len(colours)]


def _mixed(a: Colour, b: Colour, share: float) -> Colour:
    return tuple(p + (q - p) * share for p, q in zip(a, b, strict=True))  # type: ignore[return-value]


def _scaled(a: Colour, factor: float) -> Colour:
    return tuple(p * factor for p in a)  # type: ignore[return-value]


def _grey_of(a: Colour) -> Colour:
    mean = sum(a) / 3.0
    return (mean * 0.97, mean, mean * 1.03)
