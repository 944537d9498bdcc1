"""How road users and standing things look: convex parts with flat faces, in fractions of their box.

A shape is told in the unit box: x from −½ (rear) to ½ (front), y from −½ (right) to ½ (left), z
from 0 (ground) to 1 (top). Faces run counter-clockwise seen from outside, so that those turned away
from the camera are known by their sign. Parts are painted in the order of their rank, then from far
to near, which is right for parts that stand on each other as these do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Float, Int

from geometry.arrays import Array
from schemas.labels import AgentClass


class Role(IntEnum):
    """What a face is made of, from which its colour follows."""

    BODY = 0
    """The road user's own colour."""
    GLASS = 1
    RUBBER = 2
    TAIL_LAMP = 3
    HEAD_LAMP = 4
    SKIN = 5
    CLOTH = 6
    METAL = 7
    CARGO = 8
    ORANGE = 9
    WHITE = 10
    LEAF = 11
    BARK = 12
    WALL = 13
    ROOF = 14
    PLATE = 15
    BELLY = 16


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Faces of one kind of thing.

    Attributes:
        vertices: All faces' corners, one after the other, in the unit box.
        start: Where each face begins among them, and their number at the end.
        role: What each face is made of.
        rank: Order of painting of each face.
    """

    vertices: Float[Array, "vertices 3"]
    start: Int[Array, " faces1"]
    role: Int[Array, " faces"]
    rank: Int[Array, " faces"]


_Face = tuple[Sequence[tuple[float, float, float]], Role, int]


def _shape(*groups: Sequence[_Face]) -> Shape:
    faces = [face for group in groups for face in group]
    counts = [len(face[0]) for face in faces]
    return Shape(
        vertices=np.array([corner for face in faces for corner in face[0]], dtype=np.float64),
        start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        role=np.array([face[1] for face in faces], dtype=np.int64),
        rank=np.array([face[2] for face in faces], dtype=np.int64),
    )


def _frustum(
    bottom: tuple[float, float, float, float],
    top: tuple[float, float, float, float],
    z: tuple[float, float],
    rank: int,
    sides: Role,
    lid: Role | None = None,
) -> list[_Face]:
    """A block whose top may be smaller than its bottom; both as rear, front, right, left."""
    (r0, f0, y0, y1), (r1, f1, u0, u1), (low, high) = bottom, top, z
    a = [(f0, y1, low), (r0, y1, low), (r0, y0, low), (f0, y0, low)]
    b = [(f1, u1, high), (r1, u1, high), (r1, u0, high), (f1, u0, high)]
    faces: list[_Face] = [
        ([a[(i + 1) % 4], a[i], b[i], b[(i + 1) % 4]][::-1], sides, rank) for i in range(4)
    ]
    faces.append((b, sides if lid is None else lid, rank))
    return faces


def _block(
    x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], rank: int, role: Role,
    lid: Role | None = None,
) -> list[_Face]:  # fmt: skip
    extent = (*x, *y)
    return _frustum(extent, extent, z, rank, role, lid)


def _wheel(x: float, y: float, radius: tuple[float, float], rank: int, role: Role) -> list[_Face]:
    """An octagon on a side of the box; radius along x and z, resting on the ground."""
    turn = np.linspace(0.0, 2.0 * np.pi, 9)[:-1]
    rim = [(x + radius[0] * np.cos(t), y, radius[1] * (1.0 + np.sin(t))) for t in turn]
    return [(rim if y < 0 else rim[::-1], role, rank)]


def _quad_back(
    y: tuple[float, float], z: tuple[float, float], x: float, rank: int, role: Role
) -> list[_Face]:
    return [([(x, y[0], z[0]), (x, y[0], z[1]), (x, y[1], z[1]), (x, y[1], z[0])], role, rank)]


def _quad_front(
    y: tuple[float, float], z: tuple[float, float], x: float, rank: int, role: Role
) -> list[_Face]:
    return [([(x, y[1], z[0]), (x, y[1], z[1]), (x, y[0], z[1]), (x, y[0], z[0])], role, rank)]


def _sides(
    x: tuple[float, float], z: tuple[float, float], y: float, rank: int, role: Role
) -> list[_Face]:
    right = [(x[0], -y, z[0]), (x[1], -y, z[0]), (x[1], -y, z[1]), (x[0], -y, z[1])]
    left = [(x[1], y, z[0]), (x[0], y, z[0]), (x[0], y, z[1]), (x[1], y, z[1])]
    return [(right, role, rank), (left, role, rank)]


def _lamps(z: tuple[float, float], y: tuple[float, float], rank: int) -> list[_Face]:
    """Tail and head lamps on both corners."""
    lamps: list[_Face] = []
    for a, b in (y, (-y[1], -y[0])):
        lamps += _quad_back((a, b), z, -0.501, rank, Role.TAIL_LAMP)
        lamps += _quad_front((a, b), z, 0.501, rank, Role.HEAD_LAMP)
    return lamps


def _wheels(axles: Sequence[float], radius: tuple[float, float], rank: int) -> list[_Face]:
    hub = (radius[0] * 0.5, radius[1] * 0.5)
    faces: list[_Face] = []
    for x in axles:
        for y in (-0.503, 0.503):
            faces += _wheel(x, y, radius, rank, Role.RUBBER)
            rim = _wheel(x, y * 1.002, hub, rank + 1, Role.METAL)
            lifted = [(px, py, pz + radius[1] - hub[1]) for px, py, pz in rim[0][0]]
            faces.append((lifted, Role.METAL, rank + 1))
    return faces


CAR = _shape(
    _frustum((-0.48, 0.49, -0.48, 0.48), (-0.5, 0.5, -0.5, 0.5), (0.13, 0.34), 0, Role.BODY),
    _frustum((-0.5, 0.5, -0.5, 0.5), (-0.485, 0.47, -0.47, 0.47), (0.34, 0.6), 0, Role.BODY),
    _quad_back((-0.46, 0.46), (0.14, 0.26), -0.495, 1, Role.BELLY),
    _quad_back((-0.16, 0.16), (0.32, 0.4), -0.502, 2, Role.PLATE),
    _lamps((0.42, 0.55), (0.24, 0.47), 1),
    _wheels((-0.31, 0.31), (0.075, 0.21), 1),
    _frustum(
        (-0.46, 0.27, -0.46, 0.46),
        (-0.31, 0.08, -0.37, 0.37),
        (0.6, 1.0),
        3,
        Role.GLASS,
        Role.BODY,
    ),
    _sides((-0.13, -0.1), (0.6, 0.98), 0.43, 4, Role.BODY),
)
TRUCK = _shape(
    _block((-0.5, 0.5), (-0.42, 0.42), (0.1, 0.22), 0, Role.BELLY),
    _block((0.27, 0.5), (-0.48, 0.48), (0.15, 0.86), 1, Role.BODY),
    _block((-0.5, 0.24), (-0.5, 0.5), (0.2, 1.0), 1, Role.CARGO),
    _quad_front((-0.42, 0.42), (0.5, 0.8), 0.502, 2, Role.GLASS),
    _sides((0.33, 0.46), (0.52, 0.78), 0.485, 2, Role.GLASS),
    _lamps((0.22, 0.3), (0.3, 0.44), 2),
    _wheels((-0.36, -0.24, 0.36), (0.055, 0.15), 2),
)
BUS = _shape(
    _block((-0.5, 0.5), (-0.5, 0.5), (0.09, 1.0), 0, Role.BODY, Role.ROOF),
    _sides((-0.47, 0.47), (0.47, 0.84), 0.502, 1, Role.GLASS),
    _quad_front((-0.46, 0.46), (0.36, 0.88), 0.502, 1, Role.GLASS),
    _quad_back((-0.4, 0.4), (0.55, 0.85), -0.502, 1, Role.GLASS),
    _lamps((0.18, 0.28), (0.34, 0.46), 1),
    _wheels((-0.3, 0.32), (0.042, 0.15), 1),
)
PEDESTRIAN = _shape(
    _block((-0.25, 0.35), (0.03, 0.28), (0.0, 0.48), 0, Role.CLOTH),
    _block((-0.35, 0.25), (-0.28, -0.03), (0.0, 0.48), 0, Role.CLOTH),
    _frustum((-0.26, 0.26, -0.32, 0.32), (-0.24, 0.24, -0.42, 0.42), (0.46, 0.84), 1, Role.BODY),
    _block((-0.14, 0.14), (-0.5, -0.36), (0.45, 0.8), 1, Role.BODY),
    _block((-0.14, 0.14), (0.36, 0.5), (0.45, 0.8), 1, Role.BODY),
    _frustum(
        (-0.2, 0.2, -0.18, 0.18), (-0.15, 0.15, -0.13, 0.13), (0.86, 1.0), 2, Role.SKIN, Role.BELLY
    ),
)
CYCLIST = _shape(
    _block((-0.32, 0.32), (-0.04, 0.04), (0.2, 0.5), 0, Role.METAL),
    _wheel(-0.31, -0.06, (0.19, 0.19), 1, Role.RUBBER),
    _wheel(-0.31, 0.06, (0.19, 0.19), 1, Role.RUBBER),
    _wheel(0.31, -0.06, (0.19, 0.19), 1, Role.RUBBER),
    _wheel(0.31, 0.06, (0.19, 0.19), 1, Role.RUBBER),
    _block((-0.16, 0.08), (-0.26, -0.08), (0.18, 0.56), 1, Role.CLOTH),
    _block((-0.08, 0.16), (0.08, 0.26), (0.22, 0.58), 1, Role.CLOTH),
    _frustum((-0.2, 0.05, -0.3, 0.3), (-0.06, 0.18, -0.42, 0.42), (0.54, 0.85), 2, Role.BODY),
    _block((0.1, 0.34), (-0.44, -0.3), (0.56, 0.72), 2, Role.BODY),
    _block((0.1, 0.34), (0.3, 0.44), (0.56, 0.72), 2, Role.BODY),
    _frustum(
        (0.0, 0.18, -0.17, 0.17), (0.02, 0.15, -0.13, 0.13), (0.87, 1.0), 3, Role.SKIN, Role.RUBBER
    ),
)
MOTORCYCLE = _shape(
    _block((-0.36, 0.36), (-0.14, 0.14), (0.2, 0.52), 0, Role.BELLY),
    _wheel(-0.33, -0.15, (0.16, 0.2), 1, Role.RUBBER),
    _wheel(-0.33, 0.15, (0.16, 0.2), 1, Role.RUBBER),
    _wheel(0.33, -0.15, (0.16, 0.2), 1, Role.RUBBER),
    _wheel(0.33, 0.15, (0.16, 0.2), 1, Role.RUBBER),
    _frustum((-0.22, 0.1, -0.3, 0.3), (-0.1, 0.14, -0.45, 0.45), (0.5, 0.84), 2, Role.CLOTH),
    _quad_back((-0.1, 0.1), (0.42, 0.5), -0.4, 3, Role.TAIL_LAMP),
    _quad_front((-0.12, 0.12), (0.45, 0.58), 0.4, 3, Role.HEAD_LAMP),
    _block((-0.06, 0.14), (-0.2, 0.2), (0.85, 1.0), 3, Role.BODY),
)
ANIMAL = _shape(
    _block((-0.4, 0.4), (-0.4, 0.4), (0.35, 0.85), 1, Role.BARK),
    _block((-0.36, -0.26), (-0.36, 0.36), (0.0, 0.36), 0, Role.BARK),
    _block((0.26, 0.36), (-0.36, 0.36), (0.0, 0.36), 0, Role.BARK),
    _block((0.34, 0.5), (-0.22, 0.22), (0.6, 1.0), 2, Role.BARK),
)
CONE = _shape(
    _block((-0.5, 0.5), (-0.5, 0.5), (0.0, 0.06), 0, Role.RUBBER),
    _frustum((-0.34, 0.34, -0.34, 0.34), (-0.24, 0.24, -0.24, 0.24), (0.06, 0.4), 1, Role.ORANGE),
    _frustum((-0.24, 0.24, -0.24, 0.24), (-0.17, 0.17, -0.17, 0.17), (0.4, 0.62), 2, Role.WHITE),
    _frustum((-0.17, 0.17, -0.17, 0.17), (-0.06, 0.06, -0.06, 0.06), (0.62, 1.0), 3, Role.ORANGE),
)
CRATE = _shape(
    _block((-0.5, 0.5), (-0.5, 0.5), (0.0, 0.45), 0, Role.CARGO),
    _block((-0.5, 0.5), (-0.5, 0.5), (0.45, 0.65), 1, Role.ORANGE),
    _block((-0.5, 0.5), (-0.5, 0.5), (0.65, 1.0), 2, Role.CARGO),
)
BUILDING = _shape(_block((-0.5, 0.5), (-0.5, 0.5), (0.0, 1.0), 0, Role.WALL, Role.ROOF))
TRUNK = _shape(_block((-0.5, 0.5), (-0.5, 0.5), (0.0, 1.0), 0, Role.BARK))
CANOPY = _shape(
    _frustum((-0.3, 0.3, -0.3, 0.3), (-0.5, 0.5, -0.5, 0.5), (0.0, 0.3), 0, Role.LEAF),
    _frustum((-0.5, 0.5, -0.5, 0.5), (-0.44, 0.44, -0.44, 0.44), (0.3, 0.65), 1, Role.LEAF),
    _frustum((-0.44, 0.44, -0.44, 0.44), (-0.18, 0.18, -0.18, 0.18), (0.65, 1.0), 2, Role.LEAF),
)
POST = _shape(_block((-0.5, 0.5), (-0.5, 0.5), (0.0, 1.0), 0, Role.METAL))

BARREL_WIDTH = 1.2  # [m] obstacles wider than this are drawn as crates, others as cones


def shape_of(cls: AgentClass, size: Float[Array, 3]) -> Shape:
    """The shape that stands for a road user."""
    if cls == AgentClass.OBSTACLE:
        return CONE if float(size[:2].max()) < BARREL_WIDTH else CRATE
    return _SHAPES.get(cls, CAR)


_SHAPES = {
    AgentClass.VEHICLE: CAR,
    AgentClass.TRUCK: TRUCK,
    AgentClass.BUS: BUS,
    AgentClass.MOTORCYCLE: MOTORCYCLE,
    AgentClass.CYCLIST: CYCLIST,
    AgentClass.PEDESTRIAN: PEDESTRIAN,
    AgentClass.ANIMAL: ANIMAL,
    AgentClass.OTHER: CRATE,
}
