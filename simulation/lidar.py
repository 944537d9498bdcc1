"""Ray-cast lidar of the procedural world: analytic rays against boxes and the ground.

A spinning head of several beams; each ray returns the nearest surface it meets. A box is hit where
the ray's intervals between the three pairs of its faces overlap (Kay & Kajiya 1986); only the rays
within a box's angular extent are tested against it. Rain, snow and fog take returns away with
distance (Beer-Lambert), fog gives a few back from nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from geometry.arrays import Array
from geometry.frames import SE3
from schemas.labels import AgentClass, Weather

AZIMUTHS = 1080  # rays a turn, one third of a degree apart
RANGE = 120.0  # [m]
RANGE_SIGMA = 0.02  # [m]
TURN_NS = 100_000_000

POINT = np.dtype(
    [
        ("x", np.float32), ("y", np.float32), ("z", np.float32), ("intensity", np.uint8),
        ("laser_number", np.uint8), ("offset_ns", np.int32), ("hit", np.int32),
    ]
)  # fmt: skip
"""A return: position in the vehicle frame [m], strength, beam, time within the turn [ns], and the
index of the box that it came from, ``GROUND`` or ``AIR``."""

GROUND, AIR, NOTHING = -1, -2, -3

EXTINCTION: dict[Weather, float] = {
    Weather.CLEAR: 0.0,
    Weather.CLOUDY: 0.0,
    Weather.RAIN: 0.006,
    Weather.SNOW: 0.009,
    Weather.FOG: 0.022,
}
"""Share of light lost a metre, there and back counted apart [1/m]."""

REFLECTIVITY: dict[AgentClass, float] = {
    AgentClass.VEHICLE: 0.5,
    AgentClass.TRUCK: 0.55,
    AgentClass.BUS: 0.55,
    AgentClass.MOTORCYCLE: 0.35,
    AgentClass.CYCLIST: 0.3,
    AgentClass.PEDESTRIAN: 0.28,
    AgentClass.OBSTACLE: 0.8,
}
BACKGROUND = 0.35  # reflectivity of everything else
ASPHALT_REFLECTIVITY = 0.13
DROPOUT = 0.015  # share of returns that are lost in any weather
FULL_POWER = 15.0  # [m] up to here the receiver takes in all; beyond, power falls with 1/r²
FAINT = 0.0015  # share of the power that is still detected
FULL_SCALE = 0.4  # reflected share that reads 255


@dataclass(frozen=True, slots=True)
class Head:
    """Beams evenly spread over a range of elevations.

    Attributes:
        beams: How many.
        lowest: Elevation of the first [deg].
        highest: Of the last [deg].
        first_laser: Number of the first.
    """

    beams: int
    lowest: float
    highest: float
    first_laser: int = 0

    @property
    def spacing(self) -> float:
        """Between neighbouring beams [rad]."""
        return float(np.radians(self.highest - self.lowest) / (self.beams - 1))


WHOLE = Head(32, -25.0, 15.0)
UPPER = Head(16, -25.0 + 16 * 40.0 / 31, 15.0, first_laser=0)
LOWER = Head(16, -25.0, -25.0 + 15 * 40.0 / 31, first_laser=16)
"""Two heads that together have the beams of the whole one, stacked as Argoverse 2 stacks its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Upright boxes in the vehicle frame, ground at ``ground_z``.

    Attributes:
        xyz: Middle [m].
        yaw: [rad].
        size: (length, width, height) [m].
        reflectivity: Share of light returned by a surface met head-on.
        ground_z: Height of the ground [m].
    """

    xyz: Float[Array, "boxes 3"]
    yaw: Float[Array, " boxes"]
    size: Float[Array, "boxes 3"]
    reflectivity: Float[Array, " boxes"]
    ground_z: float


@lru_cache(maxsize=8)
def directions(head: Head) -> Float[Array, "beams azimuths 3"]:
    """Unit vectors of all rays in the sensor's frame, clockwise from the rear as sweeps turn."""
    elevation = np.radians(np.linspace(head.lowest, head.highest, head.beams))[:, None]
    azimuth = np.pi - (np.arange(AZIMUTHS) + 0.5) * (2.0 * np.pi / AZIMUTHS)
    flat = np.cos(elevation)
    x, y = flat * np.cos(azimuth), flat * np.sin(azimuth)
    return np.stack([x, y, np.broadcast_to(np.sin(elevation), x.shape)], axis=-1)


def cast(
    targets: Targets, ego_from_sensor: SE3, head: Head = WHOLE
) -> tuple[
    Float[Array, "beams azimuths"], Int[Array, "beams azimuths"], Float[Array, "beams azimuths"]
]:
    """Distance to the nearest surface along each ray, what it is, and cosine of incidence.

    Distance is infinite and the hit ``NOTHING`` where the ray meets nothing within ``RANGE``.
    """
    turned = directions(head) @ ego_from_sensor.rotation.T
    origin = ego_from_sensor.translation
    down = turned[..., 2]
    with np.errstate(divide="ignore"):
        distance = np.where(down < 0.0, (targets.ground_z - origin[2]) / down, np.inf)
    hit = np.where(np.isfinite(distance), GROUND, NOTHING)
    cosine = np.where(down < 0.0, -down, 1.0)
    for box in _nearest_first(targets, origin):
        for rows, columns in _window(targets, box, ego_from_sensor, head):
            _meet(targets, box, origin, turned, rows, columns, (distance, hit, cosine))
    far = distance > RANGE
    distance[far], hit[far] = np.inf, NOTHING
    return distance, hit, cosine


def sweep(
    targets: Targets,
    ego_from_sensor: SE3,
    head: Head = WHOLE,
    *,
    weather: Weather | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """One turn of the head, as points of dtype ``POINT`` in the vehicle frame.

    Args:
        targets: What there is.
        ego_from_sensor: Where the head is.
        head: Its beams.
        weather: None counts as clear.
        rng: Of noise and dropouts.
    """
    distance, hit, cosine = cast(targets, ego_from_sensor, head)
    extinction = 0.0 if weather is None else EXTINCTION[weather]
    reached = np.where(np.isfinite(distance), distance, RANGE)
    # Drops and flakes come in clumps, so each ray meets its own share of them.
    clumps = rng.uniform(0.5, 1.5, distance.shape) if extinction else 1.0
    loss = np.exp(-2.0 * extinction * clumps * reached)
    reflects = np.full(distance.shape, ASPHALT_REFLECTIVITY)
    boxes = hit >= 0
    reflects[boxes] = targets.reflectivity[hit[boxes]]
    reflected = reflects * (0.25 + 0.75 * np.abs(cosine)) * loss
    power = reflected * np.minimum(1.0, (FULL_POWER / reached) ** 2)
    kept = np.isfinite(distance) & (power > FAINT)
    kept &= rng.uniform(size=distance.shape) >= DROPOUT
    if weather == Weather.FOG:
        seen = rng.uniform(size=distance.shape) < 0.006
        near = rng.exponential(6.0, size=distance.shape) + 1.5
        air = seen & (near < distance)
        distance = np.where(air, near, distance)
        hit = np.where(air, AIR, hit)
        kept |= air
        reflected = np.where(air, 0.02, reflected)
    noisy = distance[kept] + rng.normal(0.0, RANGE_SIGMA, int(kept.sum()))
    beam, azimuth = np.nonzero(kept)
    rays = (directions(head) @ ego_from_sensor.rotation.T)[kept]
    xyz = ego_from_sensor.translation + noisy[:, None] * rays
    points = np.zeros(len(noisy), dtype=POINT)
    points["x"], points["y"], points["z"] = xyz.T
    strength = 255.0 * reflected[kept] / FULL_SCALE * rng.uniform(0.85, 1.15, len(noisy))
    points["intensity"] = np.clip(strength, 1, 255).astype(np.uint8)
    points["laser_number"] = beam + head.first_laser
    points["offset_ns"] = (azimuth * (TURN_NS // AZIMUTHS)).astype(np.int32)
    points["hit"] = hit[kept]
    return points


def _is_upright(pose: SE3) -> bool:
    return bool(abs(pose.rotation[2, 2] - 1.0) < 1e-9)


def _nearest_first(targets: Targets, origin: Array) -> Array:
    gap = np.hypot(*(targets.xyz[:, :2] - origin[:2]).T)
    reach = np.linalg.norm(targets.size, axis=1) / 2.0
    order = np.argsort(gap)
    return order[(gap - reach)[order] < RANGE]


def _window(
    targets: Targets, box: int, ego_from_sensor: SE3, head: Head
) -> list[tuple[slice, slice]]:
    """Ranges of beams and azimuths within which a box can be met."""
    offset = targets.xyz[box] - ego_from_sensor.translation
    reach = float(np.linalg.norm(targets.size[box])) / 2.0
    gap = float(np.hypot(*offset[:2]))
    if gap <= reach * 1.05 or not _is_upright(ego_from_sensor):
        return [(slice(0, head.beams), slice(0, AZIMUTHS))]
    half = np.arcsin(min(float(np.hypot(*targets.size[box, :2])) / 2.0 / gap, 1.0))
    middle = np.pi - (np.arctan2(offset[1], offset[0]) - ego_from_sensor.yaw)
    step = 2.0 * np.pi / AZIMUTHS
    first = int(np.floor((middle - half) / step)) - 1
    count = int(np.ceil(2.0 * half / step)) + 3
    nearest = max(gap - float(np.hypot(*targets.size[box, :2])) / 2.0, 1e-3)
    low, high = offset[2] - targets.size[box, 2] / 2.0, offset[2] + targets.size[box, 2] / 2.0
    farthest = gap + float(np.hypot(*targets.size[box, :2])) / 2.0
    bottom = np.arctan2(low, nearest if low < 0 else farthest)
    top = np.arctan2(high, nearest if high > 0 else farthest)
    begin = int(np.floor((bottom - np.radians(head.lowest)) / head.spacing))
    end = int(np.ceil((top - np.radians(head.lowest)) / head.spacing)) + 1
    rows = slice(max(begin, 0), min(max(end, 0), head.beams))
    if rows.start >= rows.stop:
        return []
    first %= AZIMUTHS
    if first + count <= AZIMUTHS:
        return [(rows, slice(first, first + count))]
    return [(rows, slice(first, AZIMUTHS)), (rows, slice(0, first + count - AZIMUTHS))]


def _meet(
    targets: Targets,
    box: int,
    origin: Array,
    rays: Array,
    rows: slice,
    columns: slice,
    best: tuple[Array, Array, Array],
) -> None:
    """Put the box into the window wherever it is nearer than what was met before."""
    cos, sin = np.cos(targets.yaw[box]), np.sin(targets.yaw[box])
    ray = rays[rows, columns]
    x, y = ray[..., 0], ray[..., 1]
    local = (cos * x + sin * y, cos * y - sin * x, ray[..., 2])
    dx, dy, dz = origin - targets.xyz[box]
    start = (cos * dx + sin * dy, cos * dy - sin * dx, dz)
    half = targets.size[box] / 2.0
    enter, leave = np.full(x.shape, -np.inf), np.full(x.shape, np.inf)
    facing = np.zeros(x.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        for axis in range(3):
            inverse = 1.0 / local[axis]
            one, two = (-half[axis] - start[axis]) * inverse, (half[axis] - start[axis]) * inverse
            into = np.minimum(one, two)
            facing = np.where(into > enter, np.abs(local[axis]), facing)
            enter = np.maximum(enter, into)
            leave = np.minimum(leave, np.maximum(one, two))
    distance, hit, cosine = (part[rows, columns] for part in best)
    nearer = (enter <= leave) & (enter > 0.0) & (enter < distance)
    distance[nearer], hit[nearer], cosine[nearer] = enter[nearer], box, facing[nearer]
