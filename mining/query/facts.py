"""What may be asked of a scene as a whole, and where the answer stands.

Every fact is a column of a table that has a row a scene, or of the log's. A fact that is null is
unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from schemas.labels import Daylight, RoadType, Weather


@dataclass(frozen=True, slots=True, kw_only=True)
class FactKind:
    """A fact about scenes.

    Attributes:
        doc: What it is.
        sql: Its value, of a row ``s`` of ``scenes`` and ``l`` of its log; ``c`` of ``clusters``.
        words: What it may be, where that is known beforehand; None for free text.
        unit: Of a number; None where it is a word.
        least: Of a number, it is never less.
        most: Nor more.
        whole: Whether it is a number of things.
    """

    doc: str
    sql: str
    words: tuple[str, ...] | None = None
    unit: str | None = None
    least: float = 0.0
    most: float = math.inf
    whole: bool = False


FACTS: dict[str, FactKind] = {
    "weather": FactKind(doc="What the weather is", sql="s.weather", words=tuple(Weather.words())),
    "daylight": FactKind(doc="Day, night, …", sql="s.daylight", words=tuple(Daylight.words())),
    "road": FactKind(
        doc="Kind of road that the ego drives on", sql="s.road_type", words=tuple(RoadType.words())
    ),
    "dataset": FactKind(doc="Family of the log", sql="s.dataset"),
    "location": FactKind(doc="Where the log was recorded", sql="l.location"),
    "split": FactKind(doc="The source's own split", sql="l.split"),
    "source": FactKind(
        doc="Whether it was recorded or made", sql="s.source", words=("log", "generated")
    ),
    "agents": FactKind(
        doc="How many road users beside the ego", sql="s.n_agents", unit="", whole=True
    ),
    "vrus": FactKind(doc="How many vulnerable road users", sql="s.n_vru", unit="", whole=True),
    "signals": FactKind(doc="How many signals", sql="s.n_lights", unit="", whole=True),
    "ego_speed": FactKind(doc="Mean speed of the ego", sql="s.ego_v_mean", unit="m/s"),
    "ego_distance": FactKind(doc="How far the ego drives", sql="s.ego_distance_m", unit="m"),
    "duration": FactKind(
        doc="How long the scene lasts", sql="(s.t1_ns - s.t0_ns + 100000000) / 1e9", unit="s"
    ),
    "rarity": FactKind(
        doc="How unlike the others it is, a percentile: 1 is the rarest (`mine cluster`)",
        sql="c.rarity",
        unit="",
        most=1.0,
    ),
}
"""By name, in the order in which a person would list them."""
