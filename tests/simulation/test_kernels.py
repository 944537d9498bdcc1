"""The compiled loops against plain numpy, scipy and shapes of the same meaning."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import savgol_filter

from geometry.arrays import Array
from geometry.boxes import clearance, overlap
from geometry.polylines import arc_length, project
from simulation import kernels
from simulation.following import LOOK_M, MARGIN_M, REACH_M, Everyone, leader_braking
from simulation.idm import TRAFFIC, interaction
from simulation.paths import Paths, project_on
from simulation.scores import time_to_contact

SEEDS = st.integers(0, 2**32 - 1)


def winding(rng: np.random.Generator, *, bend: float = 0.08) -> Array:
    """A line that bends at random, some of them back on themselves [m]."""
    yaw = rng.uniform(-3, 3) + np.cumsum(rng.normal(0.0, bend, 120))
    return np.cumsum(np.stack([np.cos(yaw), np.sin(yaw)], axis=-1), axis=0)


def drawn_boxes(rng: np.random.Generator, count: int, *, spread: float = 8.0) -> Array:
    return np.column_stack(
        [
            rng.uniform(-spread, spread, (count, 2)),
            rng.uniform(-4, 4, count),
            rng.uniform(0.4, 12, count),
            rng.uniform(0.3, 3, count),
        ]
    )


@given(SEEDS)
def test_the_nearest_point_is_that_of_an_exhaustive_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    paths = Paths.of([winding(rng, bend=0.3)])
    count = int(paths.count[0])
    xy = paths.xy[rng.integers(count)] + rng.normal(0.0, 6.0, 2)
    begin, stride = int(rng.integers(-20, count + 5)), int(rng.integers(1, 4))
    steps, guess = int(rng.integers(1, 60)), int(rng.integers(-5, 70))
    looked_at = np.clip(begin + stride * np.arange(steps), 0, count - 1)
    distance = np.hypot(*(paths.xy[looked_at] - xy).T)
    found = kernels.nearest_step(
        paths.xy, 0, count, begin, steps, stride, guess, np.inf, xy[0], xy[1]
    )
    assert found in looked_at
    assert np.hypot(*(paths.xy[found] - xy)) == pytest.approx(distance.min(), abs=1e-12)
    if len(np.flatnonzero(distance == distance.min())) == 1:
        assert found == looked_at[distance.argmin()]


def leaders_by_hand(
    paths: Paths, s: Array, speed: Array, size: Array, who: Array, everyone: Everyone
) -> Array:
    """As the kernel, pair by pair from the definition: every point of the path is looked at."""
    braking = np.zeros(len(s))
    for row in range(len(s)):
        reach = min(LOOK_M + 4.0 * max(speed[row], 0.0), REACH_M)
        here = paths.pose(np.array([row]), s[row : row + 1])[0][0]
        begin = int(np.floor(s[row]))
        looked_at = np.clip(
            begin + np.arange(0, int(REACH_M) + 1, 2), 0, paths.count[row] - 1
        ) + int(paths.first[row])
        for other in np.flatnonzero(everyone.valid[0]):
            if other == who[row]:
                continue
            xy, (long, wide) = everyone.xy[0, other], everyone.size[0, other]
            if np.hypot(*(xy - here)) > reach + long:
                continue
            point = looked_at[np.hypot(*(paths.xy[looked_at] - xy).T).argmin()]
            ahead = np.array([np.cos(paths.yaw[point]), np.sin(paths.yaw[point])])
            offset = xy - paths.xy[point]
            onward, aside = offset @ ahead, ahead[0] * offset[1] - ahead[1] * offset[0]
            turn = everyone.yaw[0, other] - paths.yaw[point]
            sin, cos = abs(np.sin(turn)), abs(np.cos(turn))
            half_along, half_across = (cos * long + sin * wide) / 2, (sin * long + cos * wide) / 2
            where = point - paths.first[row] + onward
            if where <= s[row] or abs(onward) > half_along + 2.0:
                continue
            if abs(aside) >= size[row, 1] / 2 + MARGIN_M + half_across:
                continue
            gap = where - half_along - s[row] - size[row, 0] / 2
            along = everyone.velocity[0, other] @ ahead
            felt = interaction(
                np.array([speed[row]]), np.array([gap]), np.array([along]), TRAFFIC
            )[0]
            braking[row] = max(braking[row], felt)
    return braking


@given(SEEDS)
def test_leaders_are_those_of_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    agents = 12
    lines = [winding(rng, bend=float(rng.choice([0.0, 0.05, 0.2]))) for _ in range(4)]
    paths = Paths.of(lines)
    # Most others stand on or beside some path, where it is close.
    xy = np.stack([line[rng.integers(len(line))] for line in (lines * 3)])
    xy = (xy + rng.normal(0.0, 2.5, xy.shape))[None]
    everyone = Everyone(
        xy=xy,
        yaw=rng.uniform(-7, 7, (1, agents)),
        velocity=rng.normal(0.0, 6.0, (1, agents, 2)),
        size=rng.uniform((0.4, 0.4), (14.0, 2.6), (1, agents, 2)),
        valid=rng.random((1, agents)) < 0.9,
    )
    s = rng.uniform(-5, 125, 4)
    speed = rng.uniform(-1, 20, 4)
    size = rng.uniform((0.5, 0.5), (12.0, 2.6), (4, 2))
    agent = rng.integers(-1, agents, 4)
    found = leader_braking(
        paths, np.arange(4), s, speed, size, (np.zeros(4, np.int64), agent), everyone, TRAFFIC
    )
    expected = leaders_by_hand(paths, s, speed, size, agent, everyone)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@given(SEEDS)
def test_boxes_touch_when_they_overlap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = drawn_boxes(rng, 40)
    valid = rng.random((1, 40)) < 0.8
    hit = kernels.touching(
        boxes[None, :, :2].copy(), boxes[None, :, 2].copy(), boxes[None, :, 3:].copy(), valid
    )
    mine = np.broadcast_to(boxes[:1], boxes.shape)
    expected = overlap(mine, boxes) & valid & valid[:, :1]
    expected[0, 0] = False
    assert (hit == expected).all()


@given(SEEDS)
def test_contact_comes_when_the_closed_form_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = drawn_boxes(rng, 30, spread=15.0), drawn_boxes(rng, 30, spread=15.0)
    moving = rng.normal(0.0, 8.0, (30, 2)) * (rng.random((30, 1)) < 0.9)
    found = [
        kernels.contact_time(*one, *two, *v) for one, two, v in zip(a, b, moving, strict=True)
    ]
    expected = time_to_contact(a, np.zeros((30, 2)), b, moving)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


@given(SEEDS)
def test_least_gaps_are_the_least_clearances(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps, agents = 12, 9
    xy = rng.uniform(-12, 12, (steps, 1, agents, 2))
    yaw = rng.uniform(-4, 4, (steps, 1, agents))
    size = rng.uniform((0.4, 0.4), (9.0, 2.6), (1, agents, 2))
    valid, wanted = rng.random((steps, 1, agents)) < 0.8, rng.random((1, agents)) < 0.7
    speed = rng.choice([0.0, 3.0, -2.0], (steps, 1))
    found = kernels.least_gaps(xy, yaw, valid, speed, size, wanted, 2, 0.05)[0]
    boxes = np.concatenate(
        [xy[:, 0], yaw[:, 0, :, None], np.broadcast_to(size[0], (steps, agents, 2))], axis=-1
    )
    counts = valid[:, 0] & valid[:, 0, :1] & wanted[0] & (np.abs(speed) > 0.05)
    counts[:2], counts[:, 0] = False, False
    gaps = clearance(np.broadcast_to(boxes[:, :1], boxes.shape), boxes)
    expected = gaps[counts].min(initial=np.inf)
    assert found == pytest.approx(expected, abs=1e-9)


@given(SEEDS, st.sampled_from([5, 9, 15]), st.sampled_from([1, 2]))
def test_slopes_are_those_of_savitzky_and_golay(seed: int, window: int, order: int) -> None:
    rng = np.random.default_rng(seed)
    value = np.cumsum(rng.normal(0.0, 1.0, int(rng.integers(window, 90))))
    expected = savgol_filter(value, window, 2, deriv=order, delta=0.1, mode="interp")
    found = kernels.slopes(value, window, 0.1)[order - 1]
    np.testing.assert_allclose(found, expected, atol=1e-7)


@given(SEEDS)
def test_projecting_and_distances_are_those_of_geometry(seed: int) -> None:
    rng = np.random.default_rng(seed)
    line = winding(rng, bend=0.2)[: int(rng.integers(2, 60))]
    xy = line[rng.integers(len(line), size=20)] + rng.normal(0.0, 8.0, (20, 2))
    s, d, heading = project_on(xy, line)
    expected = project(xy, line)
    np.testing.assert_allclose(np.abs(d), np.abs(expected[1]), atol=1e-9)
    np.testing.assert_allclose(kernels.line_distance(xy, line), np.abs(d), atol=1e-9)
    # Where two segments are equally near, as at a corner, either may be told.
    same = np.abs(s - expected[0]) < 1e-6
    assert same.mean() > 0.9
    corner = (np.abs(s[:, None] - arc_length(line)) < 1e-6).any(axis=1)
    clear = same & ~corner
    np.testing.assert_allclose(heading[clear], expected[2][clear], atol=1e-9)
    np.testing.assert_allclose(d[clear], expected[1][clear], atol=1e-9)
