"""The procedural world straight into a lake, by the hundred thousand scenes.

The rows are those that ingesting the same logs from files would make, but for fingerprint and
converter; no file is written on the way. The truth about each log is in ``logs.extra``, as
:meth:`simulation.truth.Truth.as_json` tells it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lake.ids import stable_id
from lake.lots import Lot, add_lots
from schemas.errors import BadSetting
from schemas.records import Log
from simulation.observe import USUAL, Senses
from simulation.places import LOGS, SCENES, Place, logs_of_place
from simulation.world import DATASET

if TYPE_CHECKING:
    from lake import Lake

COMMAND = "world"


@dataclass(frozen=True, slots=True, kw_only=True)
class FillReport:
    """What came into the lake.

    Attributes:
        logs: Logs of 20 s that were asked for.
        written: How many of them came in now; the others were there.
        scenes: How many scenes came in now.
        planted: How many of the logs that were asked for hold each rare behaviour.
        rows: How many rows each table gained.
    """

    logs: int
    written: int
    scenes: int
    planted: dict[str, int]
    rows: dict[str, int]


def fill(
    lake: Lake,
    *,
    scenes: int,
    seed: int = 0,
    rare_rate: float = 0.2,
    senses: Senses = USUAL,
    without: Collection[str] = (),
    jobs: int = 1,
    progress: Callable[[int, int], object] | None = None,
) -> FillReport:
    """At least so many scenes of 10 s of the world into a lake.

    What is there already is kept: an interrupted run goes on where it was, and one that asks for more
    adds the rest. The same seed gives the same scenes whatever the number of jobs.

    Args:
        lake: Where to.
        scenes: How many; each log gives two.
        seed: Of the world.
        rare_rate: Share of logs in which a rare behaviour is planted.
        senses: How the egos perceive the world.
        without: What is held out, see ``simulation.world.HELD_OUT``: roads, weathers and classes
            occur in no log, behaviours are planted in none.
        jobs: Processes that drive and convert.
        progress: Told (logs done, logs in all) now and then.

    Raises:
        BadSetting: The lake holds logs of this world made with other settings.
        StorageFull: The disk is full or read-only; whole batches are kept.
    """
    logs = -(-scenes // SCENES)
    lots = []
    for number in range(-(-logs // LOGS)):
        place = Place(
            seed=seed,
            number=number,
            rare_rate=rare_rate,
            senses=senses,
            without=frozenset(without),
        )
        names = place.names()[: logs - number * LOGS]
        lots.append(Lot(what=place, dataset=DATASET, names=names))
    _refuse_other_settings(lake, lots[0])
    params = {
        "scenes": scenes, "rare_rate": rare_rate, "senses": asdict(senses), "without": sorted(without)
    }  # fmt: skip
    with lake.run(COMMAND, params=params, seed=seed) as run:
        run.keep = True
        report = add_lots(lake, lots, logs_alone, run_id=run.id, jobs=jobs, progress=progress)
        run.summary = {"logs": report.logs, "unchanged": report.unchanged, "rows": report.rows}
    return FillReport(
        logs=logs, written=report.logs, scenes=report.rows["scenes"],
        planted=planted_in(lake, seed=seed, logs=logs), rows=report.rows,
    )  # fmt: skip


def logs_alone(place: Place) -> Sequence[Log]:
    """The logs of a place without the motion that nobody saw."""
    return [log for log, _ in logs_of_place(place)]


def planted_in(lake: Lake, *, seed: int, logs: int) -> dict[str, int]:
    """How many of a world's first logs hold each rare behaviour."""
    wanted = {
        name for number in range(-(-logs // LOGS))
        for name in Place(seed=seed, number=number, rare_rate=0.0).names()[: logs - number * LOGS]
    }  # fmt: skip
    where = f"dataset = '{DATASET}' AND source_log_id LIKE 'world-{seed}-%'"
    rows = lake.read("logs", ["source_log_id", "extra"], where).to_pylist()
    found: dict[str, int] = {}
    for row in rows:
        if row["source_log_id"] in wanted:
            for planted in json.loads(row["extra"])["planted"]:
                found[planted["name"]] = found.get(planted["name"], 0) + 1
    return dict(sorted(found.items()))


def _refuse_other_settings(lake: Lake, first: Lot[Place]) -> None:
    """Logs of one name must be the same logs; the first lot is there if any is."""
    place = first.what
    log_id = stable_id("log", DATASET, first.names[0])
    for row in lake.read("logs", ["extra"], f"log_id = {log_id}").to_pylist():
        made = json.loads(row["extra"])
        asked = {
            "rare_rate": place.rare_rate, "senses": asdict(place.senses),
            "without": sorted(place.without),
        }  # fmt: skip
        there = {name: made[name] for name in asked}
        if there != asked:
            raise BadSetting(
                f"The lake holds logs of world {place.seed} made with {there}; asked is {asked}.",
                hint="Give another --seed, or the settings that it was made with.",
            )
