"""A tree of moving frames: where one frame is in another at a time.

Edges are told one by one with a stamp, as ROS does on ``/tf`` and ``/tf_static`` (frame names, any
order); what lies between two stamps is interpolated, and what is farther than ``HOLD_NS`` from any stamp is
not known. An edge that is told once holds always. ``dst_from_src`` of many times at once is one array operation an edge.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from geometry.frames import rotation_from_quaternion

HOLD_NS = 500_000_000
"""How far from the nearest stamp a moving frame is still taken to be known [ns]."""


@dataclass(frozen=True, slots=True, eq=False)
class Poses:
    """A frame in another at many times.

    Attributes:
        translation: Its origin [m].
        quaternion: Its attitude, scalar first, unit length.
        known: Whether it is known; if not, the rest means nothing.
    """

    translation: Float[Array, "times 3"]
    quaternion: Float[Array, "times 4"]
    known: Bool[Array, " times"]

    def __matmul__(self, other: Poses) -> Poses:
        rotation = rotation_from_quaternion(self.quaternion)
        moved = np.einsum("tij,tj->ti", rotation, other.translation) + self.translation
        return Poses(moved, multiply(self.quaternion, other.quaternion), self.known & other.known)

    def inverse(self) -> Poses:
        """The other frame in this one."""
        back = self.quaternion * np.array([1.0, -1.0, -1.0, -1.0])
        rotation = rotation_from_quaternion(back)
        return Poses(-np.einsum("tij,tj->ti", rotation, self.translation), back, self.known)

    def apply(self, points: Float[Array, "times 3"]) -> Float[Array, "times 3"]:
        """One point a time, told in the other frame [m]."""
        rotation = rotation_from_quaternion(self.quaternion)
        return np.einsum("tij,tj->ti", rotation, points) + self.translation

    def rotate(self, vectors: Float[Array, "times 3"]) -> Float[Array, "times 3"]:
        """One vector a time: turned, not moved."""
        return np.einsum("tij,tj->ti", rotation_from_quaternion(self.quaternion), vectors)


@dataclass(slots=True)
class _Edge:
    """Stamps and poses of a child in its parent; a static one has no stamps."""

    static: Array | None = None
    rows: dict[int, Array] = field(default_factory=dict)
    sorted: tuple[Array, Array] | None = None

    def arrays(self) -> tuple[Int[Array, " rows"], Float[Array, "rows 7"]]:
        if self.sorted is None:
            stamps = np.array(sorted(self.rows), dtype=np.int64)
            self.sorted = stamps, np.stack([self.rows[int(stamp)] for stamp in stamps])
        return self.sorted


class TransformTree:
    """Frames and how they hang together."""

    def __init__(self) -> None:
        self._edges: dict[tuple[str, str], _Edge] = {}
        self._links: dict[str, list[str]] = {}

    def add(
        self, parent: str, child: str, pose: Float[Array, "7"], *, stamp: int | None = None
    ) -> None:
        """One edge at one time.

        Args:
            parent: Frame in which the pose is told.
            child: Frame whose pose it is.
            pose: Translation [m], then quaternion, scalar first.
            stamp: When [ns]; None: always.
        """
        if parent == child:
            return
        edge = self._edges.get((parent, child))
        if edge is None:
            edge = self._edges[parent, child] = _Edge()
            self._links.setdefault(parent, []).append(child)
            self._links.setdefault(child, []).append(parent)
        if stamp is None:
            edge.static = pose
        else:
            edge.rows[stamp], edge.sorted = pose, None

    def frames(self) -> set[str]:
        """Every frame that an edge names."""
        return set(self._links)

    def parents(self) -> set[str]:
        """Frames that are nobody's child."""
        return {parent for parent, _ in self._edges} - {child for _, child in self._edges}

    def path(self, target: str, source: str) -> list[str] | None:
        """The frames from one to another; None where they do not hang together."""
        before: dict[str, str] = {target: target}
        queue = deque([target])
        while queue:
            frame = queue.popleft()
            if frame == source:
                way = [frame]
                while way[-1] != target:
                    way.append(before[way[-1]])
                return way[::-1]
            for other in self._links.get(frame, ()):
                if other not in before:
                    before[other] = frame
                    queue.append(other)
        return None

    def stamps(self, target: str, source: str) -> Int[Array, " times"]:
        """When the fastest moving edge between two frames was told [ns]."""
        way = self.path(target, source) or []
        told = [
            self._edge(one, two)[0].arrays()[0]
            for one, two in itertools.pairwise(way)
            if self._edge(one, two)[0].rows
        ]
        return max(told, key=len, default=np.zeros(0, dtype=np.int64))

    def is_static(self, target: str, source: str) -> bool:
        """Whether no edge between the two moves."""
        return self.path(target, source) is not None and not len(self.stamps(target, source))

    def at(self, target: str, source: str, t_ns: Int[Array, " times"]) -> Poses:
        """``target_from_source`` at many times; not known anywhere if they do not hang together."""
        count = len(t_ns)
        identity = np.tile([1.0, 0.0, 0.0, 0.0], (count, 1))
        way = self.path(target, source)
        if way is None:
            return Poses(np.zeros((count, 3)), identity, np.zeros(count, dtype=bool))
        poses = Poses(np.zeros((count, 3)), identity, np.ones(count, dtype=bool))
        for one, two in itertools.pairwise(way):
            edge, down = self._edge(one, two)
            step = _interpolated(edge, t_ns)
            poses = poses @ (step if down else step.inverse())
        return poses

    def forget(self, before: int) -> None:
        """Drop what was told before a time, but the last of each edge."""
        for edge in self._edges.values():
            old = sorted(stamp for stamp in edge.rows if stamp < before)
            for stamp in old[:-1]:
                del edge.rows[stamp]
            edge.sorted = None

    def _edge(self, one: str, two: str) -> tuple[_Edge, bool]:
        """The edge between two neighbours, and whether it leads down to the second."""
        down = self._edges.get((one, two))
        return (down, True) if down is not None else (self._edges[two, one], False)


def _interpolated(edge: _Edge, t_ns: Int[Array, " times"]) -> Poses:
    count = len(t_ns)
    if not edge.rows:
        assert edge.static is not None
        pose = np.tile(edge.static, (count, 1))
        return Poses(pose[:, :3], pose[:, 3:], np.ones(count, dtype=bool))
    stamps, poses = edge.arrays()
    if len(stamps) == 1:
        pose = np.repeat(poses, count, axis=0)
        return Poses(pose[:, :3], pose[:, 3:], np.ones(count, dtype=bool))
    after = np.clip(np.searchsorted(stamps, t_ns), 1, len(stamps) - 1)
    begin, end = stamps[after - 1], stamps[after]
    known = np.minimum(np.abs(t_ns - begin), np.abs(end - t_ns)) <= HOLD_NS
    share = np.clip((t_ns - begin) / (end - begin), 0.0, 1.0)[:, None]
    one, two = poses[after - 1], poses[after]
    translation = one[:, :3] + share * (two[:, :3] - one[:, :3])
    return Poses(translation, slerp(one[:, 3:], two[:, 3:], share), known)


def multiply(a: Float[Array, "*n 4"], b: Float[Array, "*n 4"]) -> Float[Array, "*n 4"]:
    """Hamilton product: first b, then a."""
    w, x, y, z = np.moveaxis(a, -1, 0)
    v, i, j, k = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            w * v - x * i - y * j - z * k, w * i + x * v + y * k - z * j,
            w * j - x * k + y * v + z * i, w * k + x * j - y * i + z * v,
        ],
        axis=-1,
    )  # fmt: skip


def slerp(
    a: Float[Array, "n 4"], b: Float[Array, "n 4"], share: Float[Array, "n 1"]
) -> Float[Array, "n 4"]:
    """The shorter way from one attitude to another at constant rate (Shoemake 1985)."""
    cos = np.sum(a * b, axis=-1, keepdims=True)
    b, cos = np.where(cos < 0.0, -b, b), np.abs(cos)
    angle = np.arccos(np.clip(cos, 0.0, 1.0))
    near = angle < 1e-6
    sin = np.where(near, 1.0, np.sin(angle))
    first = np.where(near, 1.0 - share, np.sin((1.0 - share) * angle) / sin)
    second = np.where(near, share, np.sin(share * angle) / sin)
    mixed = first * a + second * b
    return np.asarray(mixed / np.linalg.norm(mixed, axis=-1, keepdims=True))
