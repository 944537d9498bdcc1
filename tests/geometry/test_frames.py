"""Transforms compose, invert, and agree with one another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geometry.angles import difference, wrap
from geometry.frames import (
    SE2,
    SE3,
    quaternion_from_rotation,
    quaternion_from_yaw,
    rotation_from_quaternion,
    yaw_from_quaternion,
)

angle = st.floats(-50, 50)
place = st.floats(-1e5, 1e5)


@given(a=angle)
def test_wrap_keeps_the_direction_and_the_interval(a: float) -> None:
    wrapped = wrap(np.array(a))
    assert -np.pi < wrapped <= np.pi
    np.testing.assert_allclose(
        [np.cos(wrapped), np.sin(wrapped)], [np.cos(a), np.sin(a)], atol=1e-9
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_wrap_never_gives_minus_pi(dtype: type) -> None:
    nearly = np.nextafter(np.array(np.pi, dtype), np.array(4, dtype))
    assert wrap(np.array([-np.pi, np.pi, nearly], dtype)).min() > -np.pi


def test_difference_takes_the_short_way() -> None:
    assert difference(np.array(-3.0), np.array(3.0)) == pytest.approx(2 * np.pi - 6.0)


@given(x=place, y=place, yaw=angle, px=place, py=place)
def test_se2_inverse_brings_points_back(
    x: float, y: float, yaw: float, px: float, py: float
) -> None:
    world_from_ego = SE2(x, y, yaw)
    point = np.array([px, py])
    back = world_from_ego.inverse().apply(world_from_ego.apply(point))
    np.testing.assert_allclose(back, point, atol=1e-6)


def test_se2_composes_like_matrices() -> None:
    a_from_b, b_from_c = SE2(1.0, 2.0, np.pi / 2), SE2(3.0, 0.0, np.pi / 2)
    a_from_c = a_from_b @ b_from_c
    np.testing.assert_allclose(
        [a_from_c.x, a_from_c.y, abs(a_from_c.yaw)], [1, 5, np.pi], atol=1e-12
    )


@given(yaw=st.floats(-3.1, 3.1))
def test_yaw_survives_the_quaternion(yaw: float) -> None:
    assert yaw_from_quaternion(quaternion_from_yaw(np.array(yaw))) == pytest.approx(yaw)


@given(
    st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1)
)
def test_rotation_and_quaternion_are_two_names_of_one_thing(q: list[float]) -> None:
    rotation = rotation_from_quaternion(np.array(q))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    again = rotation_from_quaternion(quaternion_from_rotation(rotation))
    np.testing.assert_allclose(again, rotation, atol=1e-9)


def test_se3_inverse_and_composition() -> None:
    world_from_ego = SE3.from_quaternion(
        quaternion_from_yaw(np.array(0.7)), np.array([5.0, -2, 1])
    )
    ego_from_cam = SE3.from_quaternion(np.array([0.5, -0.5, 0.5, -0.5]), np.array([1.5, 0, 1.6]))
    world_from_cam = world_from_ego @ ego_from_cam
    point = np.array([[0.3, -0.4, 12.0]])
    np.testing.assert_allclose(
        world_from_cam.apply(point), world_from_ego.apply(ego_from_cam.apply(point)), atol=1e-9
    )
    np.testing.assert_allclose(world_from_cam.inverse().apply(world_from_cam.apply(point)), point)
    assert world_from_ego.yaw == pytest.approx(0.7)
