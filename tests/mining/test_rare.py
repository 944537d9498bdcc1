import numpy as np
import pytest

from mining.rare import combine, information


def test_what_all_logs_do_tells_nothing():
    has = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 1], [1, 0, 0]], dtype=bool)
    group = np.array([0, 0, 1, 2])
    # Tag 1 is in one log of three, though in one scene of four.
    np.testing.assert_allclose(information(has, group), [0.0, np.log(3), np.log(3)])


def test_an_outlier_and_a_rare_tag_both_make_a_scene_rare():
    rng = np.random.default_rng(0)
    distance = rng.uniform(0.1, 0.2, 100)
    distance[7] = 0.9
    has = np.zeros((100, 3), dtype=bool)
    has[:, 0] = True
    has[::2, 1] = True
    has[42, 2] = True
    found = combine(distance, has, group=np.arange(100), names=("drives", "brakes", "swerves"))
    assert (found.rarity[[7, 42]] > 0.95).all()
    assert found.tags[42] == ("swerves", "brakes")
    assert found.tags[1] == ()
    assert found.novelty[7] == 1.0
    assert found.rarity.max() == 1.0


def test_unusual_in_both_views_is_rarer_than_in_one():
    distance = np.arange(10.0)
    has = np.zeros((10, 1), dtype=bool)
    has[9] = True
    found = combine(distance, has, group=np.arange(10), names=("swerves",))
    assert found.rarity.argmax() == 9
    has = np.zeros((10, 1), dtype=bool)
    has[0] = True
    assert combine(distance, has, group=np.arange(10), names=("swerves",)).rarity[0] > 0.8


def test_without_tags_rarity_is_novelty():
    distance = np.array([0.3, 0.1, 0.2])
    found = combine(distance, np.zeros((3, 0), dtype=bool), group=np.arange(3), names=())
    np.testing.assert_array_equal(found.rarity, found.novelty)
    assert found.rarity == pytest.approx([1.0, 1 / 3, 2 / 3])


def test_scenes_that_nobody_looked_through_are_as_rare_as_they_are_new():
    distance = np.arange(6.0)
    has = np.zeros((6, 1), dtype=bool)
    has[0] = True
    tagged = np.array([1, 1, 1, 1, 0, 0], dtype=bool)
    group = np.arange(6)
    found = combine(distance, has, group=group, names=("swerves",), tagged=tagged)
    alone = combine(distance[:4], has[:4], group=group[:4], names=("swerves",))
    # They neither make the tag rarer nor count as scenes in which nothing happens.
    np.testing.assert_array_equal(found.rarity[:4], alone.rarity)
    np.testing.assert_array_equal(found.tag_rarity[:4], alone.tag_rarity)
    np.testing.assert_array_equal(found.rarity[4:], found.novelty[4:])
    np.testing.assert_array_equal(found.tagged, tagged)
