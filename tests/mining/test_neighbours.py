import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.neighbours import mean_distance, nearest, percentile


def unit_at(*degrees):
    angle = np.deg2rad(np.array(degrees, dtype=np.float64))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def test_the_nearest_come_first():
    row, score = nearest(unit_at(0)[0], unit_at(90, 10, 180, 30), k=3)
    assert row.tolist() == [1, 3, 0]
    np.testing.assert_allclose(score, np.cos(np.deg2rad([10, 30, 90])), atol=1e-12)
    assert len(nearest(unit_at(0)[0], unit_at(1), k=5)[0]) == 1
    assert len(nearest(unit_at(0)[0], unit_at(), k=5)[0]) == 0


def test_neighbours_of_the_same_group_do_not_count():
    unit = unit_at(0, 1, 60, 90)
    group = np.array([0, 0, 1, 2])
    distance = mean_distance(unit, k=1, group=group)
    expected = 1 - np.cos(np.deg2rad([60, 59, 30, 30]))
    np.testing.assert_allclose(distance, expected, atol=1e-12)


def test_fewer_neighbours_than_asked_for():
    unit = unit_at(0, 90, 180)
    distance = mean_distance(unit, k=5, group=np.arange(3))
    np.testing.assert_allclose(distance, [1.5, 1.0, 1.5], atol=1e-12)
    alone = mean_distance(unit, k=5, group=np.zeros(3, dtype=np.int64))
    np.testing.assert_array_equal(alone, 0.0)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=50))
def test_percentiles_keep_the_order_and_end_at_one(values):
    value = np.array(values)
    share = percentile(value)
    assert ((share > 0) & (share <= 1)).all()
    assert share.mean() == pytest.approx((len(values) + 1) / 2 / len(values))
    for i in range(len(values)):
        assert ((value < value[i]) == (share < share[i])).all()
