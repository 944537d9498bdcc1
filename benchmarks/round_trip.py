"""How well each format comes back from the lake: the largest coordinate error, and what was compared.

    python benchmarks/round_trip.py [FOLDER …] [--formats waymo_motion …]

Every source at or under the folders (``$SCENELAKE_REAL_DATA`` by default) is read once more beside
the lake that it went into, and every row is compared: coordinates in metres, stamps, ids, classes,
light states and readings exactly (:mod:`tests.round_trip`). A log that differs is printed and makes
the exit status 1; sources that no reader can use are counted as refused.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

from formats import registry
from lake import Lake
from schemas.errors import BadInput, MissingData
from tests.round_trip import RoundTrip, check_round_trip, logs_of

FIGURES = [field.name for field in fields(RoundTrip) if field.name != "error_m"]


def compare(name: str, sources: list[Path], folder: Path) -> tuple[RoundTrip, int, list[str]]:
    """All sources of one format in a lake of their own.

    Returns:
        What was compared, how many sources or records were refused, and what differs.
    """
    lake = Lake.create(folder / name)
    report = lake.ingest(sources, format=name, on_error="skip")
    total, faults = RoundTrip(), []
    refused = {(refusal.path, refusal.record) for refusal in report.rejected}
    for source in sources:
        if (str(source), "") in refused:
            continue
        try:
            logs = logs_of(registry.reader(name), source)
            kept = [parts for parts in logs if (str(source), parts[0].record) not in refused]
            trip = check_round_trip(kept, lake)
        except (AssertionError, BadInput, ValueError) as error:
            faults.append(f"{source}: {error!s:.500}")
            continue
        for figure in FIGURES:
            setattr(total, figure, getattr(total, figure) + getattr(trip, figure))
        total.error_m = max(total.error_m, trip.error_m)
        gc.collect()
    return total, len(report.rejected), faults


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="*", help="$SCENELAKE_REAL_DATA by default")
    parser.add_argument("--formats", nargs="*", default=[], help="only these")
    options = parser.parse_args()
    folders = options.folders or [Path(os.environ.get("SCENELAKE_REAL_DATA", ""))]
    if folders == [Path()]:
        raise MissingData(
            "There are no real logs here.", hint="Name a folder, or set SCENELAKE_REAL_DATA."
        )
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for name, source in registry.detect(folder.absolute()):
            found.setdefault(name, []).append(source)
    titles = "".join(f"{figure:>11}" for figure in FIGURES)
    print(f"{'format':<20}{'sources':>8}{'refused':>8}{titles}{'error [mm]':>12}")
    faults: list[str] = []
    for name in found:
        if options.formats and name not in options.formats:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            trip, refused, differs = compare(name, found[name], Path(scratch))
        figures = "".join(f"{getattr(trip, figure):>11,}" for figure in FIGURES)
        line = f"{name:<20}{len(found[name]):>8}{refused:>8}{figures}{1e3 * trip.error_m:>12.4f}"
        print(line, flush=True)
        faults += differs
    print(*faults, sep="\n", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
