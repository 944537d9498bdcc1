"""Curves of the procedural roads against circles and straights known in closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.curves import arc, bend, connect


def test_constant_curvature_is_a_circle() -> None:
    curve = bend((0.0, 0.0), 0.0, [(np.pi * 20.0, 1 / 20.0)], curvature=1 / 20.0)
    assert np.allclose(np.hypot(curve.xy[:, 0], curve.xy[:, 1] - 20.0), 20.0, atol=1e-3)
    assert np.allclose(curve.xy[-1], [0.0, 40.0], atol=2e-3)


def test_offset_of_a_circle_is_the_smaller_circle() -> None:
    inner = arc((3.0, 4.0), 20.0, 0.0, 1.5).offset(5.0)
    assert np.allclose(np.hypot(inner.xy[:, 0] - 3.0, inner.xy[:, 1] - 4.0), 15.0)
    assert np.allclose(inner.curvature, 1 / 15.0)
    assert inner.length == pytest.approx(15.0 * 1.5, rel=1e-3)


@given(st.floats(8.0, 40.0), st.floats(-20.0, 20.0), st.floats(-1.6, 1.6), st.floats(-0.05, 0.05))
def test_connector_meets_pose_and_curvature_at_both_ends(
    x: float, y: float, yaw: float, kappa: float
) -> None:
    end = np.array([x, y])
    curve = connect((np.zeros(2), 0.0, kappa), (end, yaw, -kappa))
    assert np.array_equal(curve.xy[0], np.zeros(2))
    assert np.array_equal(curve.xy[-1], end)
    assert np.exp(1j * curve.yaw[0]) == pytest.approx(1.0, abs=1e-9)
    assert np.exp(1j * curve.yaw[-1]) == pytest.approx(np.exp(1j * yaw), abs=1e-9)
    assert curve.curvature[[0, -1]] == pytest.approx([kappa, -kappa], abs=1e-9)
    assert len(curve.xy) % 2 == 1


def test_reversing_twice_changes_nothing() -> None:
    curve = bend((1.0, 2.0), 0.3, [(20.0, 0.0), (15.0, 0.02), (10.0, 0.0)])
    back = curve.reversed()
    assert np.allclose(back.curvature, -curve.curvature[::-1])
    again = back.reversed()
    assert np.allclose(again.xy, curve.xy)
    assert np.allclose(again.s, curve.s)
