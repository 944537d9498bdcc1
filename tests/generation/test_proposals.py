"""Rule-made beginnings show what they are for, by the very predicates that mine the lake."""

from dataclasses import replace

import numpy as np
import pytest

from generation.aslog import as_log
from generation.behaviours import BEHAVIOURS, behaviour_for, behaviours_for_tag
from generation.proposals import Stage
from generation.roads import Roads, Way, ego_way
from lake.scenes import scenes_of
from mining.predicates import PREDICATES, tag_scene
from schemas.errors import UnknownName
from schemas.labels import Truth


def shows(proposal, tag):
    scene = replace(proposal.scene, anchor=10).between(0, 91)
    (scene,) = scenes_of(as_log(scene, log_id="x"))
    made = replace(scene, source="generated")  # as the generator's own check has it
    return any(i.truth == Truth.TRUE and i.end_step > 10 for i in tag_scene(made, [tag]))


@pytest.fixture
def stage(make_scene, make_path):
    """An ego alone in the middle lane of three: every actor must be added."""
    return Stage.of(make_scene([make_path(0.0, 3.5, 9.0), make_path(-60.0, 0.0, 3.0)]), 10)


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("cut_in", "cut_in"), ("hard_brake", "hard_brake"), ("jaywalking", "jaywalking"),
        ("near_miss", "near_miss"), ("wrong_way", "wrong_way"), ("tailgating", "tailgating"),
        ("overtake", "overtake"), ("swerve", "swerve"), ("rear_end", "collision"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("aggressiveness", [0.0, 1.0])
def test_a_proposal_shows_its_tag(stage, name, tag, aggressiveness):
    random = np.random.default_rng(4)
    drawn = [BEHAVIOURS[name].propose(stage, random, aggressiveness) for _ in range(4)]
    made = [p for p in drawn if p is not None]
    assert made
    assert all(p.added for p in made)
    if name != "rear_end" or aggressiveness == 1.0:  # mild braking is not run into
        assert any(shows(p, tag) for p in made)


def test_those_who_are_there_are_preferred(traffic):
    stage = Stage.of(traffic, 10)
    for name, row in (("hard_brake", 1), ("cut_in", 2)):
        proposal = BEHAVIOURS[name].propose(stage, np.random.default_rng(0), 0.5)
        assert proposal is not None
        assert not proposal.added
        assert proposal.actor in (row, 3)
        past = proposal.scene.tracks.xy[proposal.actor, :11]
        np.testing.assert_array_equal(past, traffic.tracks.xy[proposal.actor, :11])


def test_the_same_seed_draws_the_same(stage):
    draws = [BEHAVIOURS["cut_in"].propose(stage, np.random.default_rng(7), 0.3) for _ in "ab"]
    assert draws[0].numbers == draws[1].numbers
    np.testing.assert_array_equal(draws[0].scene.tracks.xy, draws[1].scene.tracks.xy)


def test_what_a_scene_does_not_allow_is_not_proposed(make_scene, make_path):
    standing = Stage.of(make_scene([make_path(0.0, 3.5, 0.0)]), 10)
    for name in ("cut_in", "hard_brake", "tailgating", "overtake", "red_light", "crossing"):
        assert BEHAVIOURS[name].propose(standing, np.random.default_rng(0), 0.5) is None


def test_nobody_is_added_into_another_one(make_scene, make_path):
    blocked = make_scene(
        [make_path(0.0, 3.5, 9.0), *(make_path(x, 3.5, 9.0) for x in range(8, 60, 5))]
    )
    proposal = BEHAVIOURS["stalled"].propose(Stage.of(blocked, 10), np.random.default_rng(0), 0.5)
    if proposal is not None:
        boxes = proposal.scene.tracks
        gaps = np.abs(boxes.xy[proposal.actor, 10, 0] - boxes.xy[1:-1, 10, 0])
        assert gaps.min() > 4.0


def test_every_behaviour_says_what_it_is_for():
    for name, behaviour in BEHAVIOURS.items():
        assert behaviour.name == name
        assert behaviour.doc.endswith(".")
        assert all(tag in PREDICATES for tag in behaviour.tags), name
    assert behaviours_for_tag("cut_in")[0].name == "cut_in"
    assert behaviours_for_tag("roundabout") == []
    with pytest.raises(UnknownName, match="Did you mean `cut_in`"):
        behaviour_for("cutin")


def test_ways_prolong_lanes_and_keep_their_frenet_coordinates(traffic):
    roads = Roads(traffic.map)
    assert roads.lane_at(np.array([10.0, 3.0]), 0.0)[0] == 1
    assert roads.lane_at(np.array([10.0, 3.0]), np.pi) is None
    way = ego_way(traffic, roads)
    s, d = way.project(np.array([[50.0, 5.0]]))
    np.testing.assert_allclose(way.pose(s, d)[0, :2], [50.0, 5.0], atol=1e-6)
    assert way.length > 250.0
    bend = Way.through(np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0]]))
    assert bend.length == pytest.approx(20.0)
    beyond = bend.pose(np.array([25.0]), np.array([0.0]))[0]
    np.testing.assert_allclose(beyond[:2], [10.0, 15.0], atol=0.5)
