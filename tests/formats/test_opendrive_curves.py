"""Reference lines against answers that geometry gives."""

import numpy as np
import pytest
from scipy.integrate import quad

from formats.opendrive_curves import (
    SAMPLING_ERROR_M,
    Piece,
    Profile,
    ReferenceLine,
    arc,
    cubic,
    line,
    sampled,
    spiral,
)
from geometry.polylines import project


def test_a_quarter_of_a_circle() -> None:
    x, y, yaw = arc(0.02)(np.array([0.0, 25.0 * np.pi]))
    np.testing.assert_allclose([x[1], y[1], yaw[1]], [50.0, 50.0, np.pi / 2], atol=1e-12)


@pytest.mark.parametrize("curvature", [1e-13, -1e-13, 1e-9, -1e-7])
def test_nearly_straight_arcs_bend_as_they_should(curvature: float) -> None:
    _, y, yaw = arc(curvature)(np.array([1000.0]))
    np.testing.assert_allclose(y, curvature * 1000.0**2 / 2, atol=1e-7)
    np.testing.assert_allclose(yaw, curvature * 1000.0, atol=1e-9)


@pytest.mark.parametrize(
    ("begin", "end", "length"),
    [(0.0, 0.01, 100.0), (0.01, 0.0, 100.0), (-0.02, 0.03, 80.0), (0.01, 0.0100001, 200.0),
     (0.05, 0.05, 10.0), (0.0, -0.1, 30.0), (-0.01, -0.02, 55.0)],
)  # fmt: skip
def test_spirals_are_the_integral_of_their_heading(
    begin: float, end: float, length: float
) -> None:
    def heading(s: float) -> float:
        return begin * s + (end - begin) / (2 * length) * s**2

    at = np.array([0.0, length / 3, length])
    x, y, yaw = spiral(begin, end, length)(at)
    for k, s in enumerate(at):
        np.testing.assert_allclose(x[k], quad(lambda q: np.cos(heading(q)), 0, s)[0], atol=1e-7)
        np.testing.assert_allclose(y[k], quad(lambda q: np.sin(heading(q)), 0, s)[0], atol=1e-7)
        np.testing.assert_allclose(yaw[k], heading(s), atol=1e-12)


def test_cubics_are_run_through_by_arc_length() -> None:
    """v = u²/40 has length ∫ √(1 + (u/20)²) du."""
    length = quad(lambda u: np.hypot(1.0, u / 20), 0, 30)[0]
    half = cubic((0, 1, 0, 0), (0, 0, 1 / 40, 0), length, last=None)
    x, y, yaw = half(np.array([0.0, length]))
    np.testing.assert_allclose([x[1], y[1]], [30.0, 22.5], atol=1e-4)
    np.testing.assert_allclose(yaw, [0.0, np.arctan(1.5)], atol=1e-5)
    whole = cubic((0, 30, 0, 0), (0, 0, 22.5, 0), length, last=1.0)
    s = np.linspace(0, length, 50)
    np.testing.assert_allclose(whole(s)[0], half(s)[0], atol=1e-4)
    steps = np.hypot(np.diff(whole(s)[0]), np.diff(whole(s)[1]))
    np.testing.assert_allclose(steps, steps[0], rtol=2e-4)


def test_pieces_hang_together() -> None:
    first = arc(0.01)(np.array([60.0]))
    chain = ReferenceLine(
        [
            Piece(0.0, (5.0, -3.0, 0.5), 60.0, arc(0.01)),
            Piece(60.0, (
                5.0 + np.cos(0.5) * first[0][0] - np.sin(0.5) * first[1][0],
                -3.0 + np.sin(0.5) * first[0][0] + np.cos(0.5) * first[1][0], 1.1,
            ), 10.0, line()),
        ]
    )  # fmt: skip
    assert chain.length == 70.0
    xy, yaw = chain.at(np.array([60.0 - 1e-9, 60.0, 70.0]))
    np.testing.assert_allclose(xy[0], xy[1], atol=1e-6)
    np.testing.assert_allclose(yaw, 1.1)
    np.testing.assert_allclose(np.linalg.norm(xy[2] - xy[1]), 10.0)


def test_profiles_end_where_the_next_begins() -> None:
    profile = Profile.of([(10.0, 5.0, 0.0, 0.0, 0.0), (0.0, 1.0, 2.0, 0.0, 0.0)])
    np.testing.assert_allclose(
        profile.at(np.array([-1.0, 0.0, 9.0, 10.0, 11.0])), [-1, 1, 19, 5, 5]
    )
    np.testing.assert_allclose(profile.at(np.array([10.0]), until=10.0), [21.0])
    assert not Profile.of([])
    np.testing.assert_array_equal(Profile.of([]).at(np.array([3.0])), [0.0])


@pytest.mark.parametrize("curvature", [0.2, 0.01, 0.001])
def test_samples_lie_near_the_curve(curvature: float) -> None:
    bend = arc(curvature)

    def lines_at(s: np.ndarray) -> np.ndarray:
        x, y, _ = bend(s)
        return np.stack([x, y, 0.1 * np.sin(s / 5)], axis=-1)[None]

    s = sampled(lines_at, np.array([0.0, 12.0, 30.0]))
    assert {0.0, 12.0, 30.0} <= set(s.tolist())
    fine = lines_at(np.linspace(0, 30, 2000))[0]
    _, offset, _ = project(fine[:, :2], lines_at(s)[0])
    assert np.abs(offset).max() < 2 * SAMPLING_ERROR_M
    straight = sampled(lambda q: np.stack([q, 0 * q, 0 * q], -1)[None], np.array([0.0, 900.0]))
    np.testing.assert_array_equal(straight, [0.0, 900.0])
