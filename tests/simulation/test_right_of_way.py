"""Who goes first where no light says so, and what of the map tells it?"""

from pathlib import Path

import numpy as np
import pytest

from lake import Lake
from mining.lanes import lane_graph
from mining.predicates import tag_scene
from schemas.labels import EdgeKind, MapLayer
from simulation.drivers import KINDS
from simulation.roads import Network, build
from simulation.traffic import DT, Climate, Traffic
from simulation.world import make_log, warm_traffic


def alone(network: Network) -> Traffic:
    traffic = Traffic(network, np.random.default_rng(0), Climate())
    traffic._next_entry = [np.inf] * len(traffic._next_entry)  # nobody else comes
    return traffic


def straight_on(traffic: Traffic) -> list[int]:
    """A way straight through the junction from each arm that has one, counter-clockwise."""
    ways = traffic.ways
    found = [
        w for w in range(len(ways.lanes))
        if ways.movement[w] >= 0 and ways.rank[ways.movement[w]] % 3 == 0 and not ways.bike[w]
    ]  # fmt: skip
    at = [np.arctan2(ways.y[w, 0], ways.x[w, 0]) for w in found]
    return [found[k] for k in np.argsort(at)]


def approach(traffic: Traffic, way: int, before: float, v: float) -> int:
    i = traffic.add(KINDS[0], way, 1.0, v)
    traffic.s[i] = traffic.ways.enter[way] - traffic.length[i] / 2 - before
    traffic.habit[i] = 0.0
    return i


def words(network: Network) -> set[str | None]:
    signs = [*network.map.of_layer(MapLayer.SIGN), *network.map.of_layer(MapLayer.STOP_SIGN)]
    return {sign.source_type for sign in signs}


@pytest.mark.parametrize("seed", range(4))
def test_an_all_way_stop_has_a_sign_and_a_line_at_every_way_in(seed: int) -> None:
    network = build("all_way_stop", np.random.default_rng(seed))
    road = network.map
    graph = lane_graph(road)
    inside = [f for f in road.of_layer(MapLayer.LANE) if f.in_intersection]
    ways_in = {k for f in inside for k in road.neighbours(f.feature_id, EdgeKind.PREDECESSOR)}
    cars = {k for k in ways_in if road.features[k].lane_type.word == "vehicle"}
    assert len(road.of_layer(MapLayer.STOP_SIGN)) == len(cars) >= 3
    controlled = {int(b) for _, kind, b in road.edges if kind == EdgeKind.STOP_LINE_OF_LANE}
    assert controlled == {f.feature_id for f in inside}
    told = {graph.lanes[k].feature_id for k in np.flatnonzero(graph.all_way_stop)}
    assert cars <= told


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 1, 0, 3), (3, 0, 1, 2)])
def test_at_an_all_way_stop_everyone_stops_and_goes_in_order_of_arrival(
    order: tuple[int, ...],
) -> None:
    seed = next(s for s in range(20)
                if len(straight_on(alone(build("all_way_stop", np.random.default_rng(s))))) == 4)  # fmt: skip
    traffic = alone(build("all_way_stop", np.random.default_rng(seed)))
    ways = straight_on(traffic)
    cars = [approach(traffic, ways[k], 12.0 + 12.0 * n, 6.0) for n, k in enumerate(order)]
    entered: list[int] = []
    slowest = dict.fromkeys(cars, np.inf)
    for _ in range(round(40.0 / DT)):
        traffic.step()
        for i in cars:
            if i in entered:
                continue
            slowest[i] = min(slowest[i], float(traffic.v[i]))
            if traffic.s[i] + traffic.length[i] / 2 > traffic.ways.enter[traffic.way[i]]:
                entered.append(i)
    assert entered == cars
    assert max(slowest.values()) < 0.3


def test_side_roads_stop_or_give_way_as_their_sign_says() -> None:
    stops = {}
    for seed in range(12):
        network = build("unsignalled", np.random.default_rng(seed))
        (word,) = words(network)
        traffic = alone(network)
        side = [w for w in range(len(traffic.ways.lanes))
                if traffic.ways.movement[w] >= 0
                and traffic.ways.rank[traffic.ways.movement[w]] >= 3]  # fmt: skip
        i = approach(traffic, side[0], 40.0, 7.0)
        slowest = np.inf
        while traffic.s[i] < traffic.ways.enter[side[0]] and traffic.t < 40.0:
            traffic.step()
            slowest = min(slowest, float(traffic.v[i]))
        stops.setdefault(word, set()).add(slowest < 0.3)
    assert stops == {"STOP_SIGN": {True}, "YIELD": {False}}


def test_every_way_into_a_roundabout_has_to_give_way() -> None:
    network = build("roundabout", np.random.default_rng(1))
    entries = [lane for lane in network.lanes if lane.junction and lane.rank == 2]
    signs = network.map.of_layer(MapLayer.SIGN)
    assert [sign.source_type for sign in signs] == ["YIELD"] * len(entries)
    for lane in entries:
        begin = network.world_from_local.apply(lane.curve.xy[:1])[0]
        assert min(np.hypot(*(sign.points[0, :2] - begin)) for sign in signs) < 6.0


def test_nobody_waits_on_a_crosswalk_before_a_roundabout() -> None:
    on = waits = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        traffic = warm_traffic(build("roundabout", rng), rng, Climate())
        ways = traffic.ways
        for _ in range(150):
            traffic.step()
            i = np.flatnonzero(traffic.alive & (traffic.v < 0.05))
            i = i[traffic.s[i] < ways.enter[traffic.way[i]]]
            half = traffic.length[i] / 2
            span = ways.crossing[traffic.way[i]]
            over = (traffic.s[i] + half)[:, None] > span[..., 0] + 0.2
            over &= (traffic.s[i] - half)[:, None] < span[..., 1] - 0.2
            over &= span[..., 1] - span[..., 0] < 6.0  # longer is over it twice, and the ring
            # Who is longer than the room before the line has no other place to wait.
            on += int((over.any(axis=1) & (traffic.length[i] < 5.2)).sum())
            waits += len(i)
    assert waits > 100
    assert on == 0


@pytest.mark.parametrize(
    ("room", "goes"), [(3.0, False), (12.0, True)], ids=["no room behind it", "room behind it"]
)
def test_a_queue_keeps_the_crosswalk_free(room: float, goes: bool) -> None:
    traffic = alone(build("roundabout", np.random.default_rng(1)))
    ways = traffic.ways
    # Who leaves where it came from is over one crosswalk twice; this one is not.
    way = next(w for w, span in enumerate(ways.crossing) if (~np.isnan(span[:, 0])).sum() == 2)
    first_span = ways.crossing[way, np.nanargmin(ways.crossing[way, :, 0])]
    begin, end = float(first_span[0]), float(first_span[1])
    first, second = (traffic.add(KINDS[0], way, s, 0.0) for s in (1.0, 2.0))
    traffic.s[first] = end + room + traffic.length[first] / 2
    traffic.s[second] = begin - 15.0
    traffic.forced[first] = -1.0  # it stands
    for _ in range(200):
        traffic.step()
    front = traffic.s[second] + traffic.length[second] / 2
    assert (front > end) == goes
    assert goes or begin - 4.0 < front <= begin


@pytest.mark.parametrize("seed", [43, 46])
def test_whoever_waits_at_a_wide_crosswalk_is_let_go(seed: int) -> None:
    """Cars that have stopped for people at the kerb, and these, do not wait for each other for ever."""
    rng = np.random.default_rng(seed)
    traffic = warm_traffic(build("residential", rng), rng, Climate())
    waits: dict[int, float] = {}
    longest = 0.0
    for _ in range(300):
        traffic.step()
        for walker in traffic.walkers:
            waits[walker.uid] = waits.get(walker.uid, 0.0) + DT if walker.waiting else 0.0
        longest = max(longest, *waits.values(), 0.0)
    assert 0.5 < longest < 20.0


def test_the_predicates_find_the_signs(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path)
    with lake.run("world") as run:
        lake.add_logs([make_log(800, road="all_way_stop")[0]], run_id=run.id)
    names = ("at_stop_sign", "all_way_stop", "on_stop_line")
    told = {event.name for scene in lake.scenes() for event in tag_scene(scene, only=names)
            if event.truth.word == "true"}  # fmt: skip
    assert told == set(names)
