"""Each planted behaviour, measured again from the true motion alone, not by the script's own notes."""

from functools import lru_cache

import numpy as np
import pytest

from geometry.angles import difference
from geometry.boxes import Box, in_frame_of, overlap
from geometry.polylines import inside, project
from schemas.errors import BadSetting, UnknownName
from schemas.labels import AgentClass, LightState, MapLayer
from schemas.records import Log
from simulation.judges import Ground
from simulation.rare import BEHAVIOURS
from simulation.truth import Planted, Truth
from simulation.world import as_it_was, make_log

DT = 0.1


@lru_cache
def planted(name: str) -> tuple[Log, Truth, Planted, int, slice]:
    """Log, truth, the behaviour, the row of who does it, the steps at which it happens."""
    log, truth = make_log(2 if name == "red_light_running" else 1, rare=name)
    (what,) = truth.planted
    assert what.name == name
    row = truth.motion.source_track_id.index(what.actors[0])
    steps = slice(what.t0_ns // 100_000_000, what.t1_ns // 100_000_000 + 1)
    return log, truth, what, row, steps


@pytest.mark.parametrize("name", list(BEHAVIOURS))
def test_it_is_seen_near_the_ego_and_nobody_collides(name: str) -> None:
    log, truth, _, row, steps = planted(name)
    motion = truth.motion
    assert motion.source_track_id[row] in log.agents.source_track_id
    assert motion.observed[row, steps].sum() >= 5
    assert np.linalg.norm(motion.xy[row, steps] - motion.xy[0, steps], axis=-1).min() < 50.0
    assert motion.collisions() == []


def in_ego(truth: Truth, row: int) -> np.ndarray:
    return in_frame_of(truth.motion.xy[row], truth.motion.boxes[0])


def lane_offset(log: Log, xy: np.ndarray, yaw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offset from the nearest lane's centre and heading against it."""
    offset, turn = np.full(len(xy), np.inf), np.zeros(len(xy))
    for lane in log.map.of_layer(MapLayer.LANE):
        s, d, along = project(xy, lane.points)
        ends = (s <= 0.0) | (np.abs(d) > 5.0)
        better = ~ends & (np.abs(d) < np.abs(offset))
        offset[better], turn[better] = d[better], difference(yaw, along)[better]
    return offset, turn


def test_cut_in_ends_close_ahead_of_the_ego() -> None:
    _, truth, _, row, steps = planted("cut_in")
    where = in_ego(truth, row)[steps]
    assert abs(where[0, 1] - where[-1, 1]) > 2.2  # a lane, as both keep their places in theirs
    assert abs(where[-1, 1]) < 1.6
    inside_lane = np.flatnonzero(np.abs(where[:, 1]) < 1.8)[0]
    motion = truth.motion
    gap = where[inside_lane, 0] - (motion.size[row, 0] + motion.size[0, 0]) / 2
    assert 0.0 < gap < 1.2 * motion.speed[0, steps][inside_lane]


def test_hard_brake_is_the_leader_at_five_or_more() -> None:
    _, truth, _, row, steps = planted("hard_brake")
    slowing = -np.diff(truth.motion.speed[row, steps]) / DT
    assert (slowing >= 5.0).sum() >= 5
    where = in_ego(truth, row)[steps]
    assert (where[:, 0] > 0.0).all()
    assert (np.abs(where[:, 1]) < 2.5).all()


def test_jaywalking_is_on_the_road_away_from_every_crosswalk() -> None:
    log, truth, _, row, steps = planted("jaywalking")
    assert truth.motion.cls[row] == AgentClass.PEDESTRIAN
    xy = truth.motion.xy[row, steps]
    areas = log.map.of_layer(MapLayer.DRIVABLE_AREA)
    on_road = np.any([inside(xy, area.points) for area in areas], axis=0)
    assert on_road.sum() > 20
    for crosswalk in log.map.of_layer(MapLayer.CROSSWALK):
        corners = np.concatenate([crosswalk.points, crosswalk.points[:1]])
        _, distance, _ = project(xy[on_road], corners)
        assert np.abs(distance).min() > 5.0


def test_near_miss_has_the_post_encroachment_time_between_boxes_that_it_notes() -> None:
    """What the second seed drew first took 0.9 s along the road, but 1.1 s between the boxes."""
    for seed in (1, 303_005):
        _, truth = make_log(seed, rare="near_miss")
        (what,) = truth.planted
        boxes = truth.motion.boxes
        person = boxes[truth.motion.source_track_id.index(what.actors[0])]
        person_at, ego_at = np.nonzero(overlap(*np.broadcast_arrays(person[:, None], boxes[:1])))
        pet = (ego_at.min() - person_at.max()) * DT
        assert 0.0 < pet < 1.0
        assert what.measure["post_encroachment_s"] == pytest.approx(pet)


def test_red_light_is_red_when_the_line_is_crossed() -> None:
    log, truth, _, row, steps = planted("red_light_running")
    lanes = {f.source_id: f for f in log.map.features}
    controlled = sorted(set(log.lights.source_lane_id))
    xy = truth.motion.xy[row, steps]
    fits = [np.abs(project(xy[2:-8], lanes[i].points)[1]).mean() for i in controlled]
    lane = controlled[int(np.argmin(fits))]
    rows = np.array([i == lane for i in log.lights.source_lane_id])
    state = log.lights.state[rows]
    assert (state[steps.start - 3 : steps.start + 1] == LightState.RED).all()
    nose = truth.motion.boxes[row, steps.start]
    front = nose[:2] + nose[Box.LENGTH] / 2 * np.array([np.cos(nose[2]), np.sin(nose[2])])
    assert np.linalg.norm(front - lanes[lane].points[0, :2]) < 2.0


def test_wrong_way_runs_against_the_lane() -> None:
    log, truth, _, row, steps = planted("wrong_way")
    motion = truth.motion
    offset, turn = lane_offset(log, motion.xy[row, steps], motion.yaw[row, steps])
    moving = motion.speed[row, steps] > 1.5
    against = (np.abs(offset) < 1.0) & (np.abs(turn) > 2.8)
    assert (against & moving).sum() >= 15


def test_wrong_way_driver_beside_a_ramp_moves_as_fast_as_it_says() -> None:
    # On the highway of this seed, the first way back through the lane is an exit's, and too short.
    _, truth = make_log(305_000, rare="wrong_way", road="highway")
    row = truth.motion.source_track_id.index(truth.planted[0].actors[0])
    there = truth.motion.present[row]
    way = np.hypot(*np.diff(truth.motion.xy[row, there], axis=0).T).sum()
    assert way == pytest.approx(truth.motion.speed[row, there].sum() * DT, rel=0.05)


def test_all_who_were_there_are_told_exactly() -> None:
    log, truth, _, _, _ = planted("cut_in")
    exact, motion = as_it_was(log, truth), truth.motion
    assert len(exact.agents.t_ns) == motion.present[1:].sum() > len(log.agents.t_ns)
    rows = [motion.source_track_id.index(name) for name in exact.agents.source_track_id]
    row, step = np.array(rows)[exact.agents.track], exact.agents.t_ns // 100_000_000
    assert (exact.agents.xyz[:, :2] == motion.xy[row, step]).all()
    assert (exact.agents.yaw == motion.yaw[row, step]).all()


def test_stalled_vehicle_stands_in_a_lane() -> None:
    log, truth, _, row, steps = planted("stalled_vehicle")
    motion = truth.motion
    assert (motion.speed[row, steps] == 0.0).all()
    assert steps.stop - steps.start >= 60
    offset, turn = lane_offset(log, motion.xy[row, steps], motion.yaw[row, steps])
    assert np.abs(offset).max() < 1.0
    assert np.abs(turn).max() < 0.3


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_stalled_vehicle_can_be_told_from_who_waits(seed: int) -> None:
    """Its lane ahead is free, and the ego comes from behind and gets past it, beside it, while it stands."""
    log, truth = make_log(seed, rare="stalled_vehicle")
    (what,) = truth.planted
    motion = truth.motion
    row = motion.source_track_id.index(what.actors[0])
    steps = np.arange(what.t0_ns // 100_000_000, what.t1_ns // 100_000_000 + 1)
    own = motion.boxes[row, steps]
    for other in range(len(motion.size)):
        x, y = in_frame_of(motion.xy[other, steps], own).T
        gap = x - (motion.size[row, 0] + motion.size[other, 0]) / 2
        beside = (motion.size[row, 1] + motion.size[other, 1]) / 2
        ahead = (gap > 0.0) & (gap < 15.0) & (np.abs(y) < beside) & motion.present[other, steps]
        assert other == row or not ahead.any()
    x, y = in_frame_of(motion.xy[0, steps], own).T
    assert x[0] < 0.0 < x[-1]
    assert 1.5 < np.abs(y[np.abs(x).argmin()]) < 6.0
    waits = Ground(log.map, log.lights).places_to_wait
    x, y = in_frame_of(waits, np.broadcast_to(own[-1], (len(waits), 5))).T
    assert not ((x > 0.0) & (x < 20.0) & (np.abs(y) < 3.0)).any()


def test_debris_lies_in_a_lane() -> None:
    log, truth, _, row, steps = planted("debris")
    motion = truth.motion
    assert motion.cls[row] == AgentClass.OBSTACLE
    offset, _ = lane_offset(log, motion.xy[row, steps], motion.yaw[row, steps])
    assert np.abs(offset).max() < 1.2


def test_swerve_leaves_its_place_in_the_lane_and_returns() -> None:
    log, truth, _, row, steps = planted("swerve")
    motion = truth.motion
    lanes = [f.points for f in log.map.of_layer(MapLayer.LANE)]
    at = motion.xy[row, steps.start]
    home = min(lanes, key=lambda points: np.abs(project(at[None], points)[1][0]))
    _, d, _ = project(motion.xy[row, steps], home)
    assert np.abs(d - d[0]).max() > 0.85
    assert np.abs(d[[0, -1]]).max() < 0.8
    assert abs(d[-1] - d[0]) < 0.4


def test_emergency_vehicle_is_fast_told_apart_and_given_way() -> None:
    log, truth, what, row, steps = planted("emergency_vehicle")
    motion = truth.motion
    assert motion.source_cls[row] == "EMERGENCY_VEHICLE"
    told = dict(zip(log.agents.source_track_id, log.agents.source_cls, strict=True))
    assert told[motion.source_track_id[row]] == "EMERGENCY_VEHICLE"
    speed = motion.speed[row, steps]
    assert speed.max() == pytest.approx(what.measure["speed"], abs=0.5)
    others = [k for k, cls in enumerate(motion.cls) if cls == AgentClass.VEHICLE and k != row]
    assert speed.max() > np.median(motion.speed[others, steps].max(axis=1))
    assert what.measure["made_way"] >= 1


def test_what_cannot_happen_is_refused() -> None:
    with pytest.raises(BadSetting, match="red_light_running"):
        make_log(0, road="highway", rare="red_light_running")
    with pytest.raises(UnknownName, match="cutin"):
        make_log(0, rare="cutin")
