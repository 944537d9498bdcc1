"""The conditions of a scene, and how much goes on round the ego."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool

from geometry.arrays import Array
from mining.intervals import above, spells
from mining.motion import Motion
from mining.predicates.predicate import Limits, Parameter, Predicate, Span

GROUP = "environment"


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
    find=_weather,
    roles=(),
    needs=("weather",),
)
ILLUMINATION = Predicate(
    name="illumination",
    group=GROUP,
    doc="The light to see by: day, dusk or night (in the evidence).",
    find=_illumination,
    roles=(),
    needs=("daylight",),
)
TRAFFIC_DENSITY = Predicate(
    name="traffic_density",
    group=GROUP,
    doc="Many vehicles in use round the ego.",
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
    find=_vru_density,
    roles=(),
    unit="1",
    parameters=(
        Parameter("count", 5.0, "1", "own"),
        Parameter("distance", 30.0, "m", "own"),
    ),
    needs=("ego",),
)
