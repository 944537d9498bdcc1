"""The realism metric against loops written straight from its definition, and its anchors."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geometry.boxes import corners
from simulation.realism import FEATURES, Histogram, likelihoods, log_likelihood, meta_metric
from simulation.realism_features import (
    Features,
    motion,
    nearest_object,
    red_light,
    road_edge,
    time_to_collision,
)
from tests.simulation.driving import going, red_at, road, scene

EVERY = np.arange(2)


def pair(gap: float, *, side: float = 0.0, turn: float = 0.0) -> np.ndarray:
    """Two boxes of 4 × 2 m, the second so far ahead of the first, bumper to bumper."""
    return np.array([[0, 0, 0, 4, 2], [gap + 4, side, turn, 4, 2]], float)[None, :, None]


def test_the_weights_sum_to_one() -> None:
    assert sum(f.weight for f in FEATURES.values()) == pytest.approx(1.0)


def test_a_histogram_is_what_counting_gives() -> None:
    random = np.random.default_rng(0)
    spec = Histogram(low=-1.0, high=2.0, bins=6, weight=1.0)
    logged, simulated = random.normal(size=(3, 5)), random.normal(size=(4, 3, 5))
    got = log_likelihood(spec, logged, simulated)
    edges = np.linspace(-1.0, 2.0, 7)
    for agent in range(3):
        counts, _ = np.histogram(np.clip(simulated[:, agent], -1, 2), edges)
        for step in range(5):
            mine, _ = np.histogram(np.clip(logged[agent, step], -1, 2), edges)
            expected = np.log((counts[mine.argmax()] + 0.1) / (20 + 6 * 0.1))
            assert got[agent, step] == pytest.approx(expected)


@given(st.floats(-6, 6), st.floats(-6, 6), st.floats(-3, 3))
def test_rounded_boxes_are_as_far_apart_as_shapely_says(x: float, y: float, yaw: float) -> None:
    boxes = np.array([[0, 0, 0.3, 4, 2], [x, y, yaw, 1, 3]], float)
    got = nearest_object(boxes[None, :, None], np.ones((1, 2, 1), bool), EVERY)[0, :, 0]
    cores = boxes.copy()
    radii = 0.7 * boxes[:, 3:].min(axis=1) / 2
    cores[:, 3:] -= 2 * radii[:, None]
    a, b = (shapely.Polygon(c) for c in corners(cores))
    apart = a.distance(b)
    if apart == 0.0:
        sums = [p - q for p in a.exterior.coords[:4] for q in np.array(b.exterior.coords[:4])]
        apart = -shapely.MultiPoint(np.array(sums)).convex_hull.exterior.distance(
            shapely.Point(0, 0)
        )
    assert got == pytest.approx(apart - radii.sum(), abs=1e-6)


@pytest.mark.parametrize(
    ("side", "turn", "expected"),
    [
        (0.0, 0.0, 2.0),
        (2.1, 0.0, 5.0),  # beside
        (1.9, 0.0, 2.0),  # overlaps by 0.1 m, straight
        (1.9, np.deg2rad(11.0), 5.0),  # overlaps a little, but not straight
    ],
)
def test_time_to_collision_is_with_whom_one_follows(
    side: float, turn: float, expected: float
) -> None:
    speed = np.array([10.0, 5.0])[None, :, None]
    boxes = pair(10.0, side=side, turn=turn)
    got = time_to_collision(boxes, speed, np.ones((1, 2, 1), bool), EVERY)
    assert got[0, 0, 0] == pytest.approx(expected)
    assert got[0, 1, 0] == 5.0


def test_the_road_is_on_the_left_of_its_edge() -> None:
    edge = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0]])
    points = np.array([[5.0, 2.0], [5.0, -3.0], [12.0, 5.0], [13.0, -4.0]])
    assert road_edge(points, [edge]) == pytest.approx([-2.0, 3.0, 2.0, 5.0])


def test_motion_of_a_circle() -> None:
    t = np.arange(40) * 0.1
    yaw = 0.5 * t + 3.0
    xy = 20.0 * np.stack([np.sin(yaw), -np.cos(yaw)], axis=-1)
    speed, acceleration, turn, turning = motion(xy, (yaw + np.pi) % (2 * np.pi) - np.pi)
    assert speed[1:-1] == pytest.approx(10.0, rel=1e-3)
    assert turn[1:-1] == pytest.approx(0.5)
    assert acceleration[2:-2] == pytest.approx(0.0, abs=1e-6)
    assert turning[2:-2] == pytest.approx(0.0, abs=1e-6)


def features(rollouts: int, *, spread: float, seed: int = 0) -> Features:
    """Of three agents, about the same values, scattered so widely."""
    random = np.random.default_rng(seed)
    shape = (rollouts, 3, 80)

    def about(value: float, scale: float) -> np.ndarray:
        return value + spread * scale * random.normal(size=shape)

    return Features(
        valid=np.ones(shape, bool), vehicle=np.ones(3, bool),
        linear_speed=about(8, 9), linear_acceleration=about(0, 6), angular_speed=about(0, 0.4),
        angular_acceleration=about(0, 2), distance_to_nearest_object=about(9, 12),
        time_to_collision=about(5, 3), distance_to_road_edge=about(-8, 9),
        red_light=np.zeros(shape, bool),
    )  # fmt: skip


def test_the_truth_beats_what_is_near_it_which_beats_noise() -> None:
    truth = features(1, spread=0.0)
    scores = [
        meta_metric(likelihoods(truth, features(32, spread=s, seed=1))) for s in (0.0, 0.3, 2.0)
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.99
    assert scores[2] < 0.3


def test_an_impact_in_half_the_rollouts_halves_its_likelihood() -> None:
    truth, simulated = features(1, spread=0.0), features(32, spread=0.0)
    simulated.distance_to_nearest_object[:16, :, 40] = -0.01
    assert likelihoods(truth, simulated)["collision_indication"] == pytest.approx(0.5)
    simulated.distance_to_nearest_object[:16, :, 40] = 0.0
    assert likelihoods(truth, simulated)["collision_indication"] > 0.99


def test_a_red_light_is_run_on_its_lane_while_it_is_red() -> None:
    east = going(0.0, speed=10.0)  # passes x = 45.5 between steps 55 and 56
    made = scene(
        east, going(0.0, 3.5, speed=10.0), road_map=road(), signals=red_at(45.5, green_from=60)
    )
    xy, valid = made.tracks.xy.astype(float)[None], made.tracks.valid[None]
    ran = red_light(xy, valid, made)
    assert np.flatnonzero(ran[0, 0]).tolist() == [56]
    assert not ran[0, 1].any()
    green = scene(east, road_map=road(), signals=red_at(45.5, green_from=50))
    assert not red_light(xy[:, :1], valid[:, :1], green).any()
    assert not red_light(xy[:, :, ::-1], valid, made).any()
    assert not red_light(xy, valid, scene(east, east)).any()


def test_the_edge_of_the_road_below_is_not_that_of_the_overpass() -> None:
    below = np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0]])
    above = np.array([[0.0, 1.5, 5.0], [10.0, 1.5, 5.0]])
    points = np.array([[5.0, 2.0, 0.0], [5.0, 2.0, 5.0], [5.0, 2.0, 3.0]])
    assert road_edge(points, [below, above]) == pytest.approx([-2.0, -0.5, -0.5])
