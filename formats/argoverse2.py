"""What the Argoverse 2 formats share: words, the vehicle, poses over time.

The vehicle frame of Argoverse 2 has its origin at the centre of the rear axle, x forward, y left,
z up; its "city" frame is this project's world frame. Every log was recorded by one fleet of Ford
Fusion Hybrids.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from geometry.frames import quaternion_from_yaw, rotation_from_quaternion
from schemas.labels import AgentClass
from schemas.records import EgoStates

DATASET_LICENSE = "CC BY-NC-SA 4.0"

EGO_SIZE = (4.877, 2.0, 1.473)
"""Length, width, height of the vehicle as Argoverse's scenario mining annotates it [m]."""

AXLE_TO_CENTRE = 1.422  # [m] from the rear axle forward to the middle of the box, same source
AXLE_HEIGHT = (
    0.33  # [m] wheel radius: where ground returns beside the vehicle lie below the origin
)

CATEGORIES: dict[str, AgentClass] = {
    "REGULAR_VEHICLE": AgentClass.VEHICLE,
    "LARGE_VEHICLE": AgentClass.TRUCK,
    "BOX_TRUCK": AgentClass.TRUCK,
    "TRUCK": AgentClass.TRUCK,
    "TRUCK_CAB": AgentClass.TRUCK,
    "VEHICULAR_TRAILER": AgentClass.OTHER,
    "BUS": AgentClass.BUS,
    "ARTICULATED_BUS": AgentClass.BUS,
    "SCHOOL_BUS": AgentClass.BUS,
    "RAILED_VEHICLE": AgentClass.OTHER,
    "MOTORCYCLIST": AgentClass.MOTORCYCLE,
    "MOTORCYCLE": AgentClass.MOTORCYCLE,
    "BICYCLIST": AgentClass.CYCLIST,
    "WHEELED_RIDER": AgentClass.CYCLIST,
    "PEDESTRIAN": AgentClass.PEDESTRIAN,
    "OFFICIAL_SIGNALER": AgentClass.PEDESTRIAN,
    "WHEELCHAIR": AgentClass.PEDESTRIAN,
    "STROLLER": AgentClass.OTHER,
    "ANIMAL": AgentClass.ANIMAL,
    "DOG": AgentClass.ANIMAL,
    "BICYCLE": AgentClass.OBSTACLE,
    "WHEELED_DEVICE": AgentClass.OBSTACLE,
    "BOLLARD": AgentClass.OBSTACLE,
    "CONSTRUCTION_CONE": AgentClass.OBSTACLE,
    "CONSTRUCTION_BARREL": AgentClass.OBSTACLE,
    "SIGN": AgentClass.OBSTACLE,
    "STOP_SIGN": AgentClass.OBSTACLE,
    "MOBILE_PEDESTRIAN_CROSSING_SIGN": AgentClass.OBSTACLE,
    "MESSAGE_BOARD_TRAILER": AgentClass.OBSTACLE,
    "TRAFFIC_LIGHT_TRAILER": AgentClass.OBSTACLE,
}
"""The sensor dataset's 30 categories. A bicycle without a rider does not move by itself."""

EGO_CATEGORY = "EGO_VEHICLE"
"""Not one of the 30: some tables of users add the recording vehicle as a track of this category."""

MOTION_TYPES: dict[str, AgentClass] = {
    "vehicle": AgentClass.VEHICLE,
    "pedestrian": AgentClass.PEDESTRIAN,
    "motorcyclist": AgentClass.MOTORCYCLE,
    "cyclist": AgentClass.CYCLIST,
    "bus": AgentClass.BUS,
    "static": AgentClass.OBSTACLE,
    "background": AgentClass.OTHER,
    "construction": AgentClass.OBSTACLE,
    "riderless_bicycle": AgentClass.OBSTACLE,
    "unknown": AgentClass.UNKNOWN,
}
"""The motion-forecasting dataset's object types."""

_WRITTEN_AS: dict[AgentClass, str] = {
    AgentClass.UNKNOWN: "REGULAR_VEHICLE",
    AgentClass.VEHICLE: "REGULAR_VEHICLE",
    AgentClass.TRUCK: "BOX_TRUCK",
    AgentClass.BUS: "BUS",
    AgentClass.MOTORCYCLE: "MOTORCYCLIST",
    AgentClass.CYCLIST: "BICYCLIST",
    AgentClass.PEDESTRIAN: "PEDESTRIAN",
    AgentClass.ANIMAL: "ANIMAL",
    AgentClass.OBSTACLE: "CONSTRUCTION_CONE",
    AgentClass.OTHER: "STROLLER",
}


TYPICAL_SIZES: dict[AgentClass, tuple[float, float, float]] = {
    AgentClass.UNKNOWN: (4.5, 1.9, 1.6),
    AgentClass.VEHICLE: (4.5, 1.9, 1.6),
    AgentClass.TRUCK: (8.5, 2.5, 3.2),
    AgentClass.BUS: (12.0, 2.6, 3.2),
    AgentClass.MOTORCYCLE: (2.1, 0.8, 1.6),
    AgentClass.CYCLIST: (1.8, 0.7, 1.7),
    AgentClass.PEDESTRIAN: (0.7, 0.7, 1.75),
    AgentClass.ANIMAL: (0.8, 0.4, 0.6),
    AgentClass.OBSTACLE: (0.4, 0.4, 0.8),
    AgentClass.OTHER: (1.0, 0.7, 1.0),
}
"""Stand in for sizes that a log does not know, because a cuboid must have one [m]."""


def category_of(cls: AgentClass, source_cls: str) -> str:
    """The category under which a road user is written: its own word if that is one of the 30."""
    return source_cls if source_cls in CATEGORIES else _WRITTEN_AS[cls]


def centre_in_ego(height: float = EGO_SIZE[2]) -> Float[Array, 3]:
    """Middle of the vehicle's box in the vehicle frame [m]."""
    return np.array([AXLE_TO_CENTRE, 0.0, height / 2.0 - AXLE_HEIGHT])


@dataclass(frozen=True, slots=True, eq=False)
class Poses:
    """Where a frame was in the world over time.

    Attributes:
        t_ns: Strictly ascending [ns].
        quaternion: Attitude, scalar first.
        translation: Of its origin [m].
    """

    t_ns: Int[Array, " poses"]
    quaternion: Float[Array, "poses 4"]
    translation: Float[Array, "poses 3"]

    def at(
        self, t_ns: Int[Array, " times"]
    ) -> tuple[Float[Array, "times 3 3"], Float[Array, "times 3"], Bool[Array, " times"]]:
        """Rotation and translation at the given times, and whether the pose was itself recorded.

        See :meth:`quaternions_at`.
        """
        quaternion, translation, recorded = self.quaternions_at(t_ns)
        rotation = np.full((len(t_ns), 3, 3), np.nan)
        known = ~np.isnan(quaternion).all(axis=1)
        rotation[known] = rotation_from_quaternion(quaternion[known])
        return rotation, translation, recorded

    def quaternions_at(
        self, t_ns: Int[Array, " times"]
    ) -> tuple[Float[Array, "times 4"], Float[Array, "times 3"], Bool[Array, " times"]]:
        """Attitude and translation at the given times, and whether the pose was itself recorded.

        Between two poses they are interpolated (spherically in attitude); before the first and
        after the last, and where there is no pose at all, they are NaN.
        """
        quaternion = np.full((len(t_ns), 4), np.nan)
        translation = np.full((len(t_ns), 3), np.nan)
        if len(self.t_ns) == 0:
            return quaternion, translation, np.zeros(len(t_ns), dtype=bool)
        after = np.clip(np.searchsorted(self.t_ns, t_ns), 0, len(self.t_ns) - 1)
        recorded = self.t_ns[after] == t_ns
        quaternion[recorded] = self.quaternion[after[recorded]]
        translation[recorded] = self.translation[after[recorded]]
        between = ~recorded & (t_ns > self.t_ns[0]) & (t_ns < self.t_ns[-1])
        if between.any():
            late = after[between]
            early = late - 1
            span = self.t_ns[late] - self.t_ns[early]
            share = ((t_ns[between] - self.t_ns[early]) / span)[:, None]
            quaternion[between] = _slerp(self.quaternion[early], self.quaternion[late], share)
            translation[between] = (
                self.translation[early] * (1.0 - share) + self.translation[late] * share
            )
        return quaternion, translation, recorded


def ego_poses(ego: EgoStates, centre: Float[Array, 3] | None = None) -> Poses:
    """The vehicle frame over time, from where its box was seen.

    Args:
        ego: The observed steps of it are used.
        centre: Middle of the box in the vehicle frame; by default as :func:`centre_in_ego` [m].
    """
    seen = np.isfinite(ego.xyz).all(axis=1) & np.isfinite(ego.yaw)
    if ego.valid is not None:
        seen &= ego.valid
    attitude = quaternion_from_yaw(ego.yaw) if ego.quaternion is None else ego.quaternion
    seen &= usable_quaternions(attitude)
    quaternion = attitude[seen]
    offset = centre_in_ego(ego.size[2]) if centre is None else centre
    origin = ego.xyz[seen] - rotation_from_quaternion(quaternion) @ offset
    return Poses(ego.t_ns[seen], quaternion, origin)


def usable_quaternions(wxyz: Float[Array, "rows 4"]) -> Bool[Array, " rows"]:
    """Whether each is finite and near enough unit length to mean a rotation."""
    length = np.linalg.norm(np.clip(np.nan_to_num(wxyz), -2.0, 2.0), axis=1)
    return np.asarray(np.isfinite(wxyz).all(axis=1) & (np.abs(length - 1.0) < 0.1))


def multiply(a: Float[Array, "rows 4"], b: Float[Array, "rows 4"]) -> Float[Array, "rows 4"]:
    """Hamilton products: the rotation ``b``, then ``a``."""
    aw, ax, ay, az = a.T
    bw, bx, by, bz = b.T
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=1,
    )


def _slerp(a: Array, b: Array, share: Array) -> Array:
    """Spherical interpolation of unit quaternions along the shorter way (Shoemake 1985)."""
    cosine = np.sum(a * b, axis=-1, keepdims=True)
    b = np.where(cosine < 0.0, -b, b)
    angle = np.arccos(np.clip(np.abs(cosine), 0.0, 1.0))
    sine = np.where(angle < 1e-6, 1.0, np.sin(angle))
    weight_a = np.where(angle < 1e-6, 1.0 - share, np.sin((1.0 - share) * angle) / sine)
    weight_b = np.where(angle < 1e-6, share, np.sin(share * angle) / sine)
    return np.asarray(weight_a * a + weight_b * b)
