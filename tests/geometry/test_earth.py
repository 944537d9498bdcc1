"""The ellipsoid, against pyproj and by hand."""

import numpy as np
import pytest

from geometry.earth import (
    EQUATOR_M,
    POLE_M,
    ecef_from_enu,
    ecef_from_geodetic,
    geodetic_from_ecef,
)


def test_known_places() -> None:
    latitude, longitude = np.array([0.0, 0.0, np.pi / 2]), np.array([0.0, np.pi / 2, 0.0])
    told = ecef_from_geodetic(latitude, longitude, np.array([0.0, 10.0, 5.0]))
    wanted = [[EQUATOR_M, 0, 0], [0, EQUATOR_M + 10, 0], [0, 0, POLE_M + 5]]
    np.testing.assert_allclose(told, wanted, atol=1e-8)


def test_there_and_back_as_pyproj_has_it() -> None:
    pyproj = pytest.importorskip("pyproj")
    rng = np.random.default_rng(0)
    latitude = rng.uniform(-np.pi / 2, np.pi / 2, 200)
    longitude, altitude = rng.uniform(-np.pi, np.pi, 200), rng.uniform(-500, 9000, 200)
    told = ecef_from_geodetic(latitude, longitude, altitude)
    turn = pyproj.Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    theirs = turn.transform(longitude, latitude, altitude, radians=True)
    np.testing.assert_allclose(told, np.stack(theirs, axis=-1), atol=1e-6)
    back = geodetic_from_ecef(told)
    for one, two in zip(back, (latitude, longitude, altitude), strict=True):
        np.testing.assert_allclose(one, two, atol=2e-9)


def test_east_north_up() -> None:
    """At (0°, 0°) up is x, east is y, north is z; a bearing of 90° turns y to the east."""
    frame = ecef_from_enu(0.0, 0.0, 0.0)
    np.testing.assert_allclose(frame.apply(np.array([1.0, 2.0, 3.0])), [EQUATOR_M + 3, 1, 2])
    turned = ecef_from_enu(0.0, 0.0, 0.0, bearing=np.pi / 2)
    np.testing.assert_allclose(
        turned.apply(np.array([0.0, 1.0, 0.0])), [EQUATOR_M, 1, 0], atol=1e-9
    )
    frame = ecef_from_enu(0.7, -2.1, 40.0)
    step = frame.apply(np.array([0.0, 1e-3, 0.0])) - frame.translation
    assert geodetic_from_ecef(frame.translation + step)[0] > 0.7
    np.testing.assert_allclose(frame.rotation.T @ frame.rotation, np.eye(3), atol=1e-15)
