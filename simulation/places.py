"""Many logs of one place: a road is built once, and one population of drivers recorded again and again.

A seed's world has places without end, and of each ``LOGS`` logs of 20 s, each with an ego of its own.
A place is one road network; on it a few populations drive one after the other, each in weather and
light of its own. While a population drives, recordings of ordinary traffic follow each other without
overlap; a planted behaviour is its last, since who misbehaved is not ordinary afterwards. That shares
what a log of :func:`simulation.world.make_log` pays alone: network, ways and warming up.

What a place holds depends on the world's seed, the place's number and the rate of rare behaviours, and
on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np

from schemas.errors import BadSetting, MissingData
from schemas.labels import Daylight
from schemas.records import Log
from simulation.observe import USUAL, Senses
from simulation.rare import BEHAVIOURS
from simulation.roads import Network, build
from simulation.traffic import Traffic
from simulation.truth import Truth
from simulation.ways import Ways, ways_of
from simulation.world import (
    CLIMATES,
    DATASET,
    DAYLIGHT_SHARES,
    SHARES,
    Told,
    cast,
    check_held_out,
    choose_egos,
    draw_weather,
    recorded,
    sensed,
    warm_traffic,
)

LOGS = 16
LOG_S = 20.0  # [s]
SCENES = 2
"""How many scenes of 10 s the lake cuts a log into."""
IN_A_ROW = 4  # recordings of ordinary traffic from one population
TRIES = 3  # populations in which a behaviour is tried before another takes its place
POPULATIONS = 24  # on one network, before it is taken for unfit
NETWORKS = 8  # before a place is taken for impossible
MOST_SEED = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which place, and what shall happen there.

    Attributes:
        seed: Of the world.
        number: From 0.
        rare_rate: Share of logs in which a rare behaviour is planted.
        senses: How the ego perceives it.
        without: What is held out, see ``simulation.world.HELD_OUT``.
    """

    seed: int
    number: int
    rare_rate: float
    senses: Senses = USUAL
    without: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse seeds that ids have no room for, and a world of which nothing is left."""
        check_held_out(self.without, None)
        if set(SHARES) <= self.without:
            raise BadSetting("Every kind of road is held out.", hint="Leave one.")
        if not 0 <= self.seed < MOST_SEED:
            raise BadSetting(
                f"The world's seed is {self.seed}.", hint=f"Give one from 0 to {MOST_SEED - 1}."
            )

    def names(self) -> list[str]:
        """Of its logs."""
        return [f"world-{self.seed}-{self.number:05d}-{k:02d}" for k in range(LOGS)]


def logs_of_place(place: Place) -> list[tuple[Log, Truth]]:
    """The logs, all with the same map object, and the truth about each.

    Raises:
        MissingData: No traffic drawn for the place could be recorded.
    """
    made = []
    for name, (log, truth) in zip(place.names(), _recordings(place), strict=False):
        told, seen = (log, truth) if place.senses == USUAL else sensed(log, truth, place.senses)
        extra = {
            **truth.as_json(), "seed": place.seed, "place": place.number,
            "rare_rate": place.rare_rate, "senses": asdict(place.senses),
            "without": sorted(place.without),
            "split_group": f"{DATASET}/{place.seed}-{place.number}",
        }  # fmt: skip
        made.append((
            replace(
                told, source_log_id=name, source_uri=f"scenelake-world:{name}", extra=extra,
                location=f"world-{truth.road}-{place.seed}-{place.number}",
            ),
            seen,
        ))  # fmt: skip
    return made


def _recordings(place: Place) -> Iterator[tuple[Log, Truth]]:
    """Logs one after the other, on another network if one turns out unfit."""
    rng = np.random.default_rng([place.seed, place.number])
    roads = {road: share for road, share in SHARES.items() if road not in place.without}
    share = np.array(list(roads.values()))
    road = str(rng.choice(list(roads), p=share / share.sum()))
    planted = int((rng.random(LOGS) < _rate_on(road, place)).sum())
    left = [LOGS - planted, planted]  # ordinary, rare
    for network in range(NETWORKS):
        # Of this and of the population, in which everyone has a number of its own, ids are made.
        identity = place.seed << 32 | place.number << 8 | network * POPULATIONS
        yield from _on(build(road, rng), place, identity, left, rng)
        if not any(left):
            return
    raise MissingData(
        f"No traffic of place {place.number} of world {place.seed} could be recorded.",
        hint="Try another seed.",
    )


def _on(
    network: Network, place: Place, identity: int, left: list[int], rng: np.random.Generator
) -> Iterator[tuple[Log, Truth]]:
    """What is left to be made, on one network; counted down."""
    ways = ways_of(network)
    rare = _draw(network, place, rng) if left[1] else ""
    tries, useless = 0, set[str]()
    for population in range(POPULATIONS):
        if not any(left):
            return
        told, traffic = _population(network, ways, place, identity + population, rng)
        walkers = len(traffic.walkers)
        ordinary = 0
        sound = True
        while left[0] and ordinary < IN_A_ROW and sound:
            ordinary += 1
            egos = choose_egos(traffic, LOG_S)
            made = recorded(traffic, told, egos, None, LOG_S)
            if made is not None:
                left[0] -= 1
                yield made
            else:
                sound = False
            traffic.refresh(walkers)
        if not (left[1] and sound):
            continue
        made = _planted(traffic, told, rare)
        tries += 1
        if made is not None:
            left[1] -= 1
            yield made
        elif tries >= TRIES:
            useless.add(rare)
        if made is not None or tries >= TRIES:
            rare, tries = _draw(network, place, rng, useless=frozenset(useless)), 0


def _population(
    network: Network, ways: Ways, place: Place, identity: int, rng: np.random.Generator
) -> tuple[Told, Traffic]:
    """Other people in other weather, in full flow."""
    weather = draw_weather(rng, place.without)
    daylight = Daylight(int(rng.choice(len(DAYLIGHT_SHARES), p=DAYLIGHT_SHARES)))
    own = np.random.default_rng(rng.integers(2**63, size=2))
    climate = replace(CLIMATES[weather], absent=place.without)
    traffic = warm_traffic(network, own, climate, ways=ways)
    told = Told(seed=identity, road=network.kind, weather=weather, daylight=daylight)
    return told, traffic


def _planted(traffic: Traffic, told: Told, rare: str) -> tuple[Log, Truth] | None:
    _, script = cast(traffic, rare, choose_egos(traffic, LOG_S), LOG_S)
    return None if script is None else recorded(traffic, told, [script.ego], script, LOG_S)


def _possible(place: Place) -> list[str]:
    """Behaviours that may be planted."""
    return [
        name for name, script in BEHAVIOURS.items()
        if name not in place.without and script.by.word not in place.without
    ]  # fmt: skip


def _rate_on(road: str, place: Place) -> float:
    """Share of logs to plant something in, so that it comes to the rate over all kinds of road."""
    roads = {road: share for road, share in SHARES.items() if road not in place.without}
    eventful = {road for name in _possible(place) for road in BEHAVIOURS[name].roads} & set(roads)
    if road not in eventful:
        return 0.0
    share = sum(roads[kind] for kind in eventful) / sum(roads.values())
    return min(place.rare_rate / share, 1.0)


def _draw(
    network: Network,
    place: Place,
    rng: np.random.Generator,
    *,
    useless: frozenset[str] = frozenset(),
) -> str:
    """A behaviour that fits the network; those that did not come about only if there is no other.

    Those that few roads allow come more often where they may, so that all come about equally often.
    """
    fits = [name for name in _possible(place) if BEHAVIOURS[name].fits(network)]
    some = [name for name in fits if name not in useless] or fits
    chance = np.array([
        1.0 / sum(SHARES.get(road, 0.0) for road in BEHAVIOURS[name].roads) for name in some
    ])  # fmt: skip
    return some[int(rng.choice(len(some), p=chance / chance.sum()))]
