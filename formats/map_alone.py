"""A map file as a log in which nobody is, so that maps come into the lake as logs do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from schemas.records import Log, Note, Observations, RoadMap

RATE_HZ = 1.0  # a log has one, even where nobody moves


def map_alone(
    source: Path,
    *,
    dataset: str,
    name: str,
    road_map: RoadMap,
    epsg: int | None,
    notes: Sequence[Note],
    extra: Mapping[str, Any],
) -> Log:
    """The map as a log.

    Args:
        source: File that was read.
        dataset: The family.
        name: The log's own.
        road_map: In the source's frame.
        epsg: Of that frame, where it is a projected one.
        notes: What could not be carried over.
        extra: Odds and ends of the file.
    """
    return Log(
        dataset=dataset,
        source_log_id=name,
        source_uri=str(source),
        rate_hz=RATE_HZ,
        ego=None,
        agents=Observations.none(),
        map=road_map,
        epsg=epsg,
        notes=notes,
        extra=extra,
    )
