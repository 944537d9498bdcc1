import pytest

from lake import Lake
from schemas.tables import TABLES
from tests.builders import make_crossing_log, make_straight_log


def test_a_lake_in_numbers(tmp_path):
    lake = Lake.create(tmp_path / "lake")
    empty = lake.info()
    assert set(empty.tables) == set(TABLES)
    assert all(t == {"rows": 0, "bytes": 0, "version": 0} for t in empty.tables.values())
    assert (empty.datasets, empty.hours, empty.km) == ({}, 0, 0)
    with lake.run("test") as run:
        lake.add_logs(
            [make_straight_log(), make_crossing_log(dataset="other"),
             make_straight_log("long", steps=200)],
            run_id=run.id,
        )  # fmt: skip
    info = lake.info()
    assert info.tables["agents"]["rows"] == 3 * 91 + 91 + 600
    assert info.tables["agents"]["bytes"] > 1000
    assert info.tables["agents"]["version"] == lake.versions()["agents"]
    assert info.datasets == {"built": {"logs": 2, "scenes": 3}, "other": {"logs": 1, "scenes": 1}}
    assert info.hours == pytest.approx((9.0 + 9.0 + 19.9) / 3600.0)
    assert info.km == pytest.approx((90.0 + 72.0 + 199.0) / 1000.0, rel=1e-5)
