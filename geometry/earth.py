"""The WGS 84 ellipsoid: geodetic, earth-centred and local east-north-up coordinates.

Source: NIMA TR8350.2; geodetic latitude of earth-centred points by Bowring's formula (Survey Review
23, 1976), iterated, which is exact to less than a nanometre near the ground.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from geometry.arrays import Array
from geometry.frames import SE3

EQUATOR_M = 6_378_137.0  # a, semi-major axis
FLATTENING = 1.0 / 298.257223563
POLE_M = EQUATOR_M * (1.0 - FLATTENING)  # b
E2 = FLATTENING * (2.0 - FLATTENING)  # e² = 1 − b²/a²


def ecef_from_geodetic(
    latitude: Float[Array, "*many"],
    longitude: Float[Array, "*many"],
    altitude: Float[Array, "*many"],
) -> Float[Array, "*many 3"]:
    """Earth-centred, earth-fixed coordinates [m] of places.

    Args:
        latitude: Geodetic [rad].
        longitude: [rad].
        altitude: Above the ellipsoid [m].
    """
    normal = EQUATOR_M / np.sqrt(1.0 - E2 * np.sin(latitude) ** 2)
    across = (normal + altitude) * np.cos(latitude)
    return np.stack(
        [
            across * np.cos(longitude),
            across * np.sin(longitude),
            (normal * (1.0 - E2) + altitude) * np.sin(latitude),
        ],
        axis=-1,
    )


def geodetic_from_ecef(
    xyz: Float[Array, "*many 3"],
) -> tuple[Float[Array, "*many"], Float[Array, "*many"], Float[Array, "*many"]]:
    """Latitude [rad], longitude [rad] and altitude [m] of earth-centred points."""
    x, y, z = (xyz[..., axis] for axis in range(3))
    across = np.hypot(x, y)
    reduced = np.arctan2(EQUATOR_M * z, POLE_M * across)
    second = (EQUATOR_M**2 - POLE_M**2) / POLE_M**2
    for _ in range(3):
        latitude = np.arctan2(
            z + second * POLE_M * np.sin(reduced) ** 3,
            across - E2 * EQUATOR_M * np.cos(reduced) ** 3,
        )
        reduced = np.arctan2((1.0 - FLATTENING) * np.sin(latitude), np.cos(latitude))
    normal = EQUATOR_M / np.sqrt(1.0 - E2 * np.sin(latitude) ** 2)
    altitude = (
        across * np.cos(latitude)
        + (z + E2 * normal * np.sin(latitude)) * np.sin(latitude)
        - normal
    )
    return np.asarray(latitude), np.asarray(np.arctan2(y, x)), np.asarray(altitude)


def ecef_from_enu(
    latitude: float, longitude: float, altitude: float = 0.0, *, bearing: float = 0.0
) -> SE3:
    """The local frame at a place: x east, y north, z up.

    Args:
        latitude: Geodetic [rad].
        longitude: [rad].
        altitude: Above the ellipsoid [m].
        bearing: From north clockwise to the frame's y axis [rad].
    """
    sin_lat, cos_lat = np.sin(latitude), np.cos(latitude)
    sin_lon, cos_lon = np.sin(longitude), np.cos(longitude)
    east = np.array([-sin_lon, cos_lon, 0.0])
    up = np.array([cos_lat * cos_lon, cos_lat * sin_lon, sin_lat])
    north = np.cross(up, east)
    x = np.cos(bearing) * east - np.sin(bearing) * north
    y = np.sin(bearing) * east + np.cos(bearing) * north
    place = ecef_from_geodetic(np.array(latitude), np.array(longitude), np.array(altitude))
    return SE3(np.stack([x, y, up], axis=-1), place)
