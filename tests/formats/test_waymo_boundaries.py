"""Boundaries of lanes: every segment measured says the same as the few that are."""

import numpy as np
import pytest

from formats.waymo_boundaries import PAIRS_AT_ONCE, Boundaries, nearest_on


def by_every_segment(line, xy):
    start, step = line[:-1], np.diff(line, axis=0)
    dx, dy = step[:, 0], step[:, 1]
    along = np.maximum(dx * dx + dy * dy, np.finfo(np.float64).tiny)
    x, y = xy[:, :1] - start[:, 0], xy[:, 1:] - start[:, 1]
    share = np.clip((x * dx + y * dy) / along, 0.0, 1.0)
    x, y = x - share * dx, y - share * dy
    best = (x * x + y * y).argmin(axis=1)
    return start[best] + share[np.arange(len(xy)), best, None] * step[best]


@pytest.mark.parametrize("far", [0.0, 1e4, 1e7])
@pytest.mark.parametrize("whole", [False, True], ids=["scattered", "on a raster"])
def test_the_nearest_is_that_of_every_segment(far, whole):
    """To the last bit; on a raster segments tie, repeat and have no length."""
    draw = np.random.default_rng(7)
    lines, which, points = [], [], []
    for k in range(120):
        size = draw.choice([0.1, 1.0, 30.0])
        line = np.cumsum(draw.normal(0.0, size, (draw.integers(2, 300), 3)), axis=0) + far
        many = draw.integers(1, 90)
        xyz = line[draw.integers(0, len(line), many)] + draw.normal(0.0, 3.0, (many, 3))
        lines.append(np.round(line) if whole else line)
        points.append(np.round(xyz) if whole else xyz)
        which.append(np.full(many, k))
    order = draw.permutation(len(lines))
    got = nearest_on(
        lines,
        np.concatenate([which[k] for k in order]),
        np.concatenate([points[k] for k in order]),
    )
    wanted = np.concatenate([by_every_segment(lines[k], points[k][:, :2]) for k in order])
    assert got.tobytes() == wanted.tobytes()


def test_more_pairs_than_are_held_at_once():
    """A circle about the point leaves no segment out, and the work is cut in parts."""
    angle = np.linspace(0.0, 2.0 * np.pi, 3000)
    line = np.stack([9.0 * np.cos(angle), 9.0 * np.sin(angle), angle], axis=1)
    points = np.zeros((50, 3)) + np.linspace(0.0, 1e-3, 50)[:, None]
    assert 2 * len(line) * len(points) > PAIRS_AT_ONCE
    got = nearest_on([line, line[::-1]], np.repeat([0, 1], 25), points)
    wanted = [
        by_every_segment(line, points[:25, :2]),
        by_every_segment(line[::-1], points[25:, :2]),
    ]
    assert got.tobytes() == np.concatenate(wanted).tobytes()


LANE = np.stack([np.arange(10.0), np.zeros(10), np.zeros(10)], axis=1)
LINES = {"near": LANE + np.array([0.0, 2.0, 1.0]), "far": LANE + np.array([0.0, 5.0, 1.0])}


class TestBoundaries:
    def test_the_later_stretch_counts(self):
        boundaries = Boundaries(LINES)
        assert boundaries.ask(LANE, [("far", 0, 9), ("near", 4, 99)]) == 0
        (drawn,) = boundaries.drawn()
        np.testing.assert_array_equal(drawn[:, 1], [5.0] * 4 + [2.0] * 6)
        np.testing.assert_array_equal(drawn[:, 2], 1.0)

    @pytest.mark.parametrize(
        "stretches",
        [[], [("gone", 0, 9)], [("near", 0, 7)], [("near", -5, -1)], [("near", 8, 3)]],
        ids=["none", "unknown line", "too little", "before the lane", "backwards"],
    )
    def test_less_than_nearly_all_is_none(self, stretches):
        boundaries = Boundaries(LINES)
        assert boundaries.ask(LANE, stretches) is None
        assert boundaries.drawn() == []

    def test_what_is_drawn_keeps_the_order(self):
        boundaries = Boundaries(LINES)
        places = [boundaries.ask(LANE, [(key, -3, 8)]) for key in ("far", "near")]
        assert places == [0, 1]
        assert [line[0, 1] for line in boundaries.drawn()] == [5.0, 2.0]
        assert [len(line) for line in boundaries.drawn()] == [9, 9]
