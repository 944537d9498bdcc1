"""Boxes against answers that one can check by hand, and against shapely."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Polygon

from geometry import boxes

coordinate = st.floats(-8, 8)
box = st.builds(
    lambda x, y, yaw, length, width: np.array([x, y, yaw, length, width]),
    coordinate, coordinate, st.floats(-3.1, 3.1), st.floats(0.5, 8), st.floats(0.5, 3),
)  # fmt: skip


def test_corners_run_counter_clockwise_from_the_front_left() -> None:
    found = boxes.corners(np.array([10.0, 5.0, np.pi / 2, 4.0, 2.0]))
    np.testing.assert_allclose(found, [[9, 7], [9, 3], [11, 3], [11, 7]], atol=1e-12)


def test_a_point_ahead_has_positive_x_and_one_to_the_left_positive_y() -> None:
    facing_north = np.array([0.0, 0.0, np.pi / 2, 4.0, 2.0])
    ahead_left = boxes.in_frame_of(np.array([-1.0, 3.0]), facing_north)
    np.testing.assert_allclose(ahead_left, [3.0, 1.0], atol=1e-12)


def test_touching_boxes_do_not_overlap() -> None:
    a = np.array([0.0, 0.0, 0.0, 4.0, 2.0])
    assert not boxes.overlap(a, np.array([4.0, 0.0, 0.0, 4.0, 2.0]))
    assert boxes.overlap(a, np.array([3.99, 0.0, 0.0, 4.0, 2.0]))
    assert boxes.clearance(a, np.array([7.0, 0.0, 0.0, 4.0, 2.0])) == 3.0


def test_a_box_within_another_overlaps_it() -> None:
    outer, inner = np.array([0.0, 0, 0.3, 20, 10]), np.array([1.0, 1, 1.1, 1, 1])
    assert boxes.overlap(outer, inner)
    assert boxes.clearance(outer, inner) == 0.0


@given(a=box, b=box)
def test_overlap_and_clearance_agree_with_shapely(a: np.ndarray, b: np.ndarray) -> None:
    first, second = Polygon(boxes.corners(a)), Polygon(boxes.corners(b))
    if abs(first.intersection(second).area) > 1e-6:
        assert boxes.overlap(a, b)
    np.testing.assert_allclose(boxes.clearance(a, b), first.distance(second), atol=1e-6)
    assert boxes.overlap(a, b) == boxes.overlap(b, a)
