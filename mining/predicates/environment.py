"""The conditions of a scene, and how much goes on round the ego."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool

from geometry.arrays import Array
from mining.intervals import above, spells
from mining.motion import Motion
from mining.predicates.predicate import Limits, Parameter, Predicate, Span
from mining.predicates.told import WORK_WORDS
from schemas.labels import Truth, Weather

GROUP = "environment"
WETS = (Weather.RAIN, Weather.SNOW)


def _weather(motion: Motion, _: Limits) -> Iterable[Span]:
    weather = motion.scene.weather
    assert weather is not None
    yield Span(
        begin=0, end=motion.steps - 1, value=float(weather), evidence={"weather": weather.word}
    )


def _illumination(motion: Motion, _: Limits) -> Iterable[Span]:
    daylight = motion.scene.daylight
    assert daylight is not None
    yield Span(
        begin=0, end=motion.steps - 1, value=float(daylight), evidence={"daylight": daylight.word}
    )


def _surface(motion: Motion, _: Limits) -> Iterable[Span]:
    weather = motion.scene.weather
    whole = {"begin": 0, "end": motion.steps - 1}
    if weather in WETS:
        yield Span(**whole, value=1.0, evidence={"surface": "wet", "weather": weather.word})
        return
    reason = "no rain or snow was told, which leaves open whether the road was dry"
    yield Span(**whole, evidence={"reason": reason}, truth=Truth.UNKNOWN)


def _work_zone(motion: Motion, limits: Limits) -> Iterable[Span]:
    words = [any(w in word for w in WORK_WORDS) for word in motion.words]
    away = np.hypot(*np.moveaxis(motion.xy - motion.xy[:1], -1, 0))
    near = motion.seen & motion.seen[:1] & (away <= limits["distance"])
    near &= (motion.is_thing & np.array(words, dtype=bool))[:, None]
    near &= motion.on_surface | (motion.off_centre <= limits["half_lane"])
    count = near.sum(axis=0, dtype=np.float64)[None]
    mask = count >= limits["count"]
    for _, begin, end in spells(mask, bridge_s=1.0):
        yield Span(begin=begin, end=end, value=float(count[0, begin : end + 1].max()))


def _zone(motion: Motion, _: Limits) -> Iterable[Span]:
    reason = "no map that is read tells where zones such as those round schools lie"
    yield Span(begin=0, end=motion.steps - 1, evidence={"reason": reason}, truth=Truth.UNKNOWN)


def _traffic_density(motion: Motion, limits: Limits) -> Iterable[Span]:
    return _density(motion, limits, motion.is_vehicle & ~motion.parked)


def _vru_density(motion: Motion, limits: Limits) -> Iterable[Span]:
    return _density(motion, limits, motion.is_vru)


def _density(motion: Motion, limits: Limits, who: Bool[Array, " agents"]) -> Iterable[Span]:
    away = np.hypot(*np.moveaxis(motion.xy - motion.xy[:1], -1, 0))
    near = motion.seen & motion.seen[:1] & who[:, None] & (away <= limits["distance"])
    near[0] = False
    count = near.sum(axis=0, dtype=np.float64)[None]
    mask = above(count, limits["count"], known=motion.seen[:1])
    for _, begin, end in spells(mask):
        yield Span(begin=begin, end=end, value=float(count[0, begin : end + 1].max()))


WEATHER = Predicate(
    name="weather",
    group=GROUP,
    doc="The weather: clear, cloudy, rain, snow or fog (in the evidence).",
    formula="weather is told; value = its code",
    find=_weather,
    roles=(),
    needs=("weather",),
)
ILLUMINATION = Predicate(
    name="illumination",
    group=GROUP,
    doc="The light to see by: day, dusk or night (in the evidence).",
    formula="daylight is told; value = its code",
    find=_illumination,
    roles=(),
    needs=("daylight",),
)
SURFACE = Predicate(
    name="surface",
    group=GROUP,
    doc="The road is wet, as follows from rain or snow; no format tells its state itself, so in "
    "other weather it is unknown.",
    formula="weather ∈ {{rain, snow}}; else unknown",
    find=_surface,
    roles=(),
    needs=("weather",),
)
WORK_ZONE = Predicate(
    name="work_zone",
    group=GROUP,
    doc="Three or more cones, barriers or signs of road works stand on the drivable surface within "
    "30 m of the ego; unknown where the source does not tell such things.",
    formula="number of works' things with r ≤ {distance} from the ego ∧ (xy ∈ surface ∨ c "
    "≤ {half_lane}) ≥ {count}",
    find=_work_zone,
    roles=(),
    unit="1",
    parameters=(
        Parameter("count", 3.0, "1", "own: nuPlan tags one, which may just be left behind"),
        Parameter("distance", 30.0, "m", "own"),
        Parameter("half_lane", 1.75, "m", "own: from a centre line, where no surface is drawn"),
    ),
    needs=("ego", "map", "works"),
)
ZONE = Predicate(
    name="zone",
    group=GROUP,
    doc="A zone with rules of its own, as round schools. No map that is read tells where one lies, "
    "so this is unknown everywhere.",
    formula="unknown everywhere",
    find=_zone,
    roles=(),
)
TRAFFIC_DENSITY = Predicate(
    name="traffic_density",
    group=GROUP,
    doc="Many vehicles in use round the ego.",
    formula="number of vehicles, not parked, with r ≤ {distance} from the ego ≳ {count}",
    find=_traffic_density,
    roles=(),
    unit="1",
    parameters=(
        Parameter("count", 10.0, "1", "own"),
        Parameter("distance", 50.0, "m", "own"),
    ),
    needs=("ego",),
)
VRU_DENSITY = Predicate(
    name="vru_density",
    group=GROUP,
    doc="Many pedestrians, cyclists and motorcyclists round the ego.",
    formula="number of pedestrians, cyclists and motorcyclists with r ≤ {distance} from "
    "the ego ≳ {count}",
    find=_vru_density,
    roles=(),
    unit="1",
    parameters=(
        Parameter("count", 5.0, "1", "own"),
        Parameter("distance", 30.0, "m", "own"),
    ),
    needs=("ego",),
)
