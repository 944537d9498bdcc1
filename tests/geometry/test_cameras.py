"""The pinhole camera against hand computation and against itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geometry.cameras import EGO_FROM_FORWARD_OPTICS, Pinhole, pixels_of_plane
from geometry.frames import SE3, rotation_from_quaternion

CAMERA = Pinhole(fx=500.0, fy=400.0, cx=320.0, cy=180.0, width=640, height=360)


def test_by_hand() -> None:
    # 2 m right, 1 m down, 10 m ahead: u = 500·0.2 + 320, v = 400·0.1 + 180.
    uv, depth, in_front = CAMERA.project(np.array([[2.0, 1.0, 10.0], [0.0, 0.0, -1.0]]))
    assert uv[0].tolist() == [420.0, 220.0]
    assert depth.tolist() == [10.0, -1.0]
    assert in_front.tolist() == [True, False]


def test_distortion_by_hand() -> None:
    bent = Pinhole(
        fx=500.0, fy=500.0, cx=0.0, cy=0.0, width=9, height=9, distortion=(0.1, 0.01, 0.001)
    )
    uv, _, _ = bent.project(np.array([[1.0, 0.0, 1.0]]))
    assert uv[0, 0] == pytest.approx(500.0 * 1.111)


def test_holds_the_first_pixel_but_not_the_one_past_the_last() -> None:
    uv = np.array([[0.0, 0.0], [639.9, 359.9], [640.0, 10.0], [10.0, 360.0], [-0.1, 5.0]])
    assert CAMERA.holds(uv).tolist() == [True, True, False, False, False]


@given(st.floats(0, 640), st.floats(0, 360), st.floats(0.1, 200))
def test_a_point_along_a_ray_is_seen_at_its_pixel(u: float, v: float, depth: float) -> None:
    ray = CAMERA.rays(np.array([u, v]))
    uv, seen_depth, _ = CAMERA.project(ray * depth)
    np.testing.assert_allclose(uv, [u, v], atol=1e-9)
    assert seen_depth == pytest.approx(depth)


def test_a_forward_camera_sees_ahead_left_and_up() -> None:
    cam_from_ego = SE3(EGO_FROM_FORWARD_OPTICS, np.zeros(3)).inverse()
    np.testing.assert_allclose(cam_from_ego.apply(np.array([3.0, 0.0, 0.0])), [0, 0, 3])
    np.testing.assert_allclose(cam_from_ego.apply(np.array([0.0, 1.0, 0.0])), [-1, 0, 0])
    np.testing.assert_allclose(cam_from_ego.apply(np.array([0.0, 0.0, 1.0])), [0, -1, 0])


@given(st.integers(0, 2**32))
def test_the_plane_s_homography_agrees_with_projection(seed: int) -> None:
    rng = np.random.default_rng(seed)
    q = rng.normal(size=4)
    pose = SE3(rotation_from_quaternion(q), rng.normal(0, 10, 3))
    xyz = np.concatenate([rng.normal(0, 20, (20, 2)), np.full((20, 1), 1.5)], axis=1)
    uv, _, in_front = CAMERA.project(pose.apply(xyz))
    flat = np.concatenate([xyz[:, :2], np.ones((20, 1))], axis=1)
    pixels = flat @ pixels_of_plane(CAMERA, pose, z=1.5).T
    far = in_front & (pixels[:, 2] > 0.1)
    np.testing.assert_allclose(pixels[far, :2] / pixels[far, 2:], uv[far], rtol=1e-6, atol=1e-6)
