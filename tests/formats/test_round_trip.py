"""Source, lake and back: that nothing moves by a millimetre and no word changes.

Each reader's own contract test compares a written source, see :mod:`tests.contracts`; here are long
logs told in parts, drawn logs with anything missing, and real ones. ``benchmarks/round_trip.py``
compares all real logs and prints how far each format is off.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from formats import mcap, nuplan, osi, py123d, registry, sumo
from formats.registry import FORMATS
from lake import Lake
from tests.formats import mcap_files, nuplan_files, osi_files, py123d_files, sumo_files
from tests.formats.drawn_logs import drawn_log
from tests.round_trip import check_round_trip, logs_of

READERS = [name for name, entry in FORMATS.items() if entry.reader]
PART = 500_000_000  # [ns] how long a part is here, where the readers take a minute
REAL = os.environ.get("SCENELAKE_REAL_DATA")


def test_every_reader_is_under_contract() -> None:
    """And so goes to the lake and back."""
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    under = set()
    for body in re.split(r"^class ", text, flags=re.MULTILINE):
        if re.match(r"\w+\((\w+, )*ReaderContract\)", body):
            under.update(re.findall(r"return (\w+)$", body, flags=re.MULTILINE))
    modules = {str(FORMATS[name].reader).removeprefix("formats.") for name in READERS}
    assert modules <= under, f"no test of the contract: {sorted(modules - under)}"


def write_nuplan(folder: Path) -> Path:
    nuplan_files.write_log(folder / "log.db", seconds=2.0)
    return folder / "log.db"


@pytest.mark.parametrize(
    ("name", "module", "length", "write"),
    [
        ("mcap", mcap, {"PART_NS": PART, "LATE_NS": 0}, lambda to: mcap_files.write_drive(to / "a.mcap")),
        ("nuplan", nuplan, {"PART_US": PART // 1000}, write_nuplan),
        ("osi", osi, {"PART_NS": 10**8},
         lambda to: osi_files.write_osi(to / "a.osi", osi_files.truths(9))),
        ("py123d", py123d, {"PART_US": PART // 1000},
         lambda to: py123d_files.write_log(to / "logs" / "one")),
        ("sumo", sumo, {"PART_ROWS": 3, "PART_NS": PART},
         lambda to: sumo_files.write_simulation(to / "fcd")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_logs_told_in_parts_come_back_whole(
    name: str,
    module: ModuleType,
    length: dict[str, int],
    write: Callable[[Path], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for constant, value in length.items():
        monkeypatch.setattr(module, constant, value)
    (tmp_path / "in").mkdir()
    source = write(tmp_path / "in")
    lake = Lake.create(tmp_path / "lake")
    lake.ingest([source], format=name)
    logs = logs_of(registry.reader(name), source)
    assert max(len(parts) for parts in logs) > 1
    check_round_trip(logs, lake)


def test_drawn_logs_come_back(tmp_path: Path) -> None:
    """With any part missing, some as far from zero as UTM coordinates are."""
    logs = [replace(drawn_log(seed), source_log_id=f"{seed}'s") for seed in range(40)]
    lake = Lake.create(tmp_path / "lake")
    lake.add_logs(logs, run_id=1)
    assert check_round_trip([[log] for log in logs], lake).logs == len(logs)


@pytest.fixture(scope="session")
def real_sources() -> dict[str, Path]:
    """The smallest real source of each format."""
    if REAL is None:
        pytest.skip("SCENELAKE_REAL_DATA is not set")
    found: dict[str, list[tuple[int, Path]]] = {}
    for name, source in registry.detect(Path(REAL)):
        size = sum(path.stat().st_size for path in registry.reader(name).files(source))
        found.setdefault(name, []).append((size, source))
    return {name: min(sources)[1] for name, sources in found.items()}


@pytest.mark.parametrize("name", READERS)
def test_real_logs_come_back(name: str, real_sources: dict[str, Path], tmp_path: Path) -> None:
    if name not in real_sources:
        pytest.skip(f"SCENELAKE_REAL_DATA holds no log of {name}")
    lake = Lake.create(tmp_path / "lake")
    lake.ingest([real_sources[name]], format=name, on_error="skip")
    logs = logs_of(registry.reader(name), real_sources[name])
    assert check_round_trip(logs, lake).logs
