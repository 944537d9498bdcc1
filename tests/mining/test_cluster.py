import numpy as np
import pytest

from mining.cluster import counts, describe, partition
from mining.facets import Facets


def test_planted_blobs_are_found_largest_first():
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [60, 30, 10])
    centre = np.linalg.qr(rng.normal(size=(16, 16)))[0][:3]
    points = centre[truth] + 0.1 * rng.normal(size=(100, 16))
    found = partition(points / np.linalg.norm(points, axis=1, keepdims=True), 3)
    assert adjusted_rand_score(truth, found.label) == pytest.approx(1.0)
    assert np.bincount(found.label).tolist() == [60, 30, 10]
    assert (found.distance >= 0).all()
    assert found.distance.max() < 0.5


def test_coinciding_vectors_make_fewer_clusters():
    unit = np.tile(np.eye(4)[:2], (10, 1))
    assert set(partition(unit, 5).label.tolist()) == {0, 1}


@pytest.mark.parametrize("scenes", [1, 2, 3, 10, 300, 10_000, 10**6])
def test_two_granularities(scenes):
    coarse, fine = counts(scenes)
    assert 1 <= coarse <= scenes
    assert 1 <= fine <= scenes
    if scenes >= 10:
        assert coarse < fine


def facets_of(has, names):
    return Facets(
        names=names, is_tag=np.ones(len(names), dtype=bool), has=np.array(has, dtype=bool),
        tagged=np.ones(len(has), dtype=bool),
    )  # fmt: skip


def test_descriptions_name_what_stands_out():
    has = np.zeros((10, 3))
    has[:, 0] = 1
    has[:4, 1] = 1
    has[[0, 1, 2, 8], 2] = 1
    said = facets_of(has, ("follows", "night", "hard brake"))
    inside = np.arange(10) < 4
    assert describe(said, inside) == "night (100%, 2.5× usual), hard brake (75%, 1.9× usual)"
    assert describe(said, np.ones(10, dtype=bool)) == "ordinary: follows (100%)"
    assert describe(facets_of(np.zeros((10, 0)), ()), inside) == "no tags yet"
