"""Every kind of road, over a few seeds: is its map sound?"""

import numpy as np
import pytest

from geometry.polylines import headings, inside, project
from schemas.errors import UnknownName
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import RoadMap
from simulation.roads import ROADS, build
from simulation.signals import plan
from simulation.ways import ways_of

SEEDS = (0, 1, 2)
CASES = [(kind, seed) for kind in ROADS for seed in SEEDS]


@pytest.fixture(scope="module", params=CASES, ids=lambda c: f"{c[0]}-{c[1]}")
def road(request: pytest.FixtureRequest) -> RoadMap:
    kind, seed = request.param
    return build(kind, np.random.default_rng(seed)).map


def test_features_are_numbered_as_they_stand(road: RoadMap) -> None:
    assert [f.feature_id for f in road.features] == list(range(len(road.features)))
    assert len({f.source_id for f in road.features}) == len(road.features)


def test_lanes_meet_their_successors_within_a_millimetre_and_without_a_kink(road: RoadMap) -> None:
    for a, kind, b in road.edges:
        if kind == EdgeKind.SUCCESSOR:
            end, start = road.features[a].points, road.features[b].points
            assert np.linalg.norm(end[-1] - start[0]) < 1e-3
            turn = headings(start)[0] - headings(end)[-1]
            assert abs(np.angle(np.exp(1j * turn))) < 0.12


def test_boundaries_lie_on_their_sides_half_a_width_away(road: RoadMap) -> None:
    for lane in road.of_layer(MapLayer.LANE):
        assert lane.left is not None
        assert lane.right is not None
        _, left, _ = project(lane.left[1:-1, :2], lane.points)
        _, right, _ = project(lane.right[1:-1, :2], lane.points)
        assert (left > 0.6).all()
        assert (right < -0.6).all()
        assert np.allclose(left, -right, atol=0.12)


def test_neighbours_lie_a_lane_away_on_their_side(road: RoadMap) -> None:
    for a, kind, b in road.edges:
        if kind in (EdgeKind.LEFT, EdgeKind.RIGHT):
            _, d, _ = project(road.features[b].points[1:-1, :2], road.features[a].points)
            side = 1.0 if kind == EdgeKind.LEFT else -1.0
            assert (side * d > 3.0).all()
            assert (side * d < 4.0).all()
            back = EdgeKind.RIGHT if kind == EdgeKind.LEFT else EdgeKind.LEFT
            assert a in road.neighbours(int(b), back)


def test_traffic_keeps_to_the_right(road: RoadMap) -> None:
    """A lane that runs the other way beside one lies to its left."""
    lanes = [f for f in road.of_layer(MapLayer.LANE) if not f.in_intersection]
    for a in lanes:
        for b in lanes:
            middle = b.points[len(b.points) // 2, :2]
            s, d, yaw = project(middle[None], a.points)
            other = headings(b.points)[len(b.points) // 2]
            abreast = 1.0 < s[0] < np.linalg.norm(a.points[-1] - a.points[0]) - 1.0
            if abreast and abs(d[0]) < 30.0 and np.cos(other - yaw[0]) < -0.98:
                assert d[0] > 0.0


def test_lanes_lie_within_the_drivable_area(road: RoadMap) -> None:
    areas = road.of_layer(MapLayer.DRIVABLE_AREA)
    for lane in road.of_layer(MapLayer.LANE):
        within = np.any([inside(lane.points[1:-1, :2], area.points) for area in areas], axis=0)
        assert within.all()


def test_conflicts_are_mutual_and_within_junctions(road: RoadMap) -> None:
    conflicts = {(a, b) for a, kind, b in road.edges if kind == EdgeKind.CONFLICT}
    assert all((b, a) in conflicts for a, b in conflicts)
    assert all(road.features[a].in_intersection for a, _ in conflicts)


def test_points_of_lanes_are_a_metre_apart(road: RoadMap) -> None:
    for lane in road.of_layer(MapLayer.LANE):
        steps = np.linalg.norm(np.diff(lane.points[:, :2], axis=0), axis=1)
        assert (steps > 0.5).all()
        assert (steps < 1.2).all()
        assert lane.speed_limit is not None
        assert lane.lane_type in (LaneType.VEHICLE, LaneType.FREEWAY, LaneType.BIKE)


@pytest.mark.parametrize("kind", ["signalled", "unsignalled", "roundabout"])
def test_junctions_have_conflicts_crosswalks_and_stop_lines(kind: str) -> None:
    edges = build(kind, np.random.default_rng(4)).map.edges
    for wanted in (EdgeKind.CONFLICT, EdgeKind.CROSSWALK_OVER_LANE, EdgeKind.STOP_LINE_OF_LANE):
        assert (edges[:, 1] == wanted).any()


def test_an_unknown_road_is_named() -> None:
    with pytest.raises(UnknownName, match="rundabout"):
        build("rundabout", np.random.default_rng(0))


def test_signals_never_give_green_to_both_axes() -> None:
    lights = plan([([0], 10.0), ([1], 12.0)], groups=2, offset=3.0)
    shown = np.array([lights.state(t) for t in np.arange(0.0, 64.0, 0.1)])
    assert (shown[:, 0] == 1).astype(int).sum() > 0
    assert not ((shown[:, 0] != 1) & (shown[:, 1] != 1)).any()
    assert lights.cycle == pytest.approx(32.0)


def test_red_lasts_until_it_ends() -> None:
    lights = plan([([0], 10.0), ([1], 12.0)], groups=2, offset=0.0)
    assert lights.red_for(0, 5.0) == 0.0
    assert lights.red_for(0, 13.5) == pytest.approx(32.0 - 13.5)
    assert lights.red_for(1, 0.0) == pytest.approx(15.0)


@pytest.mark.parametrize("kind", list(ROADS))
@pytest.mark.parametrize("seed", range(6))
def test_every_lane_leads_on_or_off_the_map_and_neighbours_are_mutual(
    kind: str, seed: int
) -> None:
    network = build(kind, np.random.default_rng(seed))
    ways, lanes = ways_of(network), network.lanes
    driven = {lane for way in ways.lanes for lane in way}
    assert driven == {i for i, lane in enumerate(lanes) if not lane.closed}  # none is out of reach
    for i, lane in enumerate(lanes):
        assert len(set(lane.successors)) == len(lane.successors)
        assert i not in lane.successors
        assert lane.left < 0 or lanes[lane.left].right == i
        assert lane.right < 0 or lanes[lane.right].left == i
        if lane.junction:
            assert lane.successors  # nobody ends in a junction
    for way, own in enumerate(ways.lanes):
        # Who may not go on has a lane to the left that does.
        if ways.dead_end[way]:
            assert lanes[lanes[own[-1]].left].successors


def test_a_work_zone_is_in_the_map_but_nobody_drives_through_it() -> None:
    made = [build("straight", np.random.default_rng(seed)) for seed in range(20)]
    with_works = [network for network in made if network.works]
    assert 0 < len(with_works) < len(made)
    for network in with_works:
        (closed,) = (i for i, lane in enumerate(network.lanes) if lane.closed)
        lane = network.lanes[closed]
        for thing in network.works:
            _, d, _ = project(np.array([[thing.x, thing.y]]), lane.curve.xy)
            assert abs(d[0]) < lane.width / 2  # what closes it stands in it, and in no other
        assert sum(thing.word == "CONSTRUCTION_CONE" for thing in network.works) > 5
        edges = network.map.edges.tolist()
        feature = network.lane_feature[closed]
        assert any(a == feature and kind == EdgeKind.SUCCESSOR for a, kind, _ in edges)
