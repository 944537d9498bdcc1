"""Modalities lined up in time, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lake import Lake
from schemas.errors import BadQuery, UnknownName
from schemas.records import Frame, Readings, Sensor
from tests.builders import make_straight_log, stamps

MS = 10**6


@pytest.fixture
def lake(tmp_path):
    t = stamps(91)
    log = replace(
        make_straight_log(),
        sensors=(
            Sensor(channel="front", kind="camera"), Sensor(channel="top", kind="lidar"),
            Sensor(channel="can", kind="can"),
        ),
        frames=tuple(
            [Frame(channel="front", t_ns=k * 300 * MS, uri=f"f{k}", codec="jpeg") for k in range(4)]
            + [Frame(channel="top", t_ns=k * 100 * MS + 30 * MS, uri=f"t{k}", codec="pcd")
               for k in range(3)]
        ),
        readings=(
            Readings(channel="can", signal="speed", t_ns=t[::5], value=t[::5] / 1e9, unit="m/s"),
            Readings(channel="can", signal="gear", t_ns=t[::20], text=["D"] * len(t[::20])),
        ),
    )  # fmt: skip
    made = Lake.create(tmp_path / "lake")
    made.add_logs([log], run_id=1)
    return made


@pytest.fixture
def log_id(lake):
    return lake.read("logs", ["log_id"])["log_id"][0].as_py()


def test_the_clock_of_a_camera(lake, log_id):
    table = lake.sync(log_id, clock="front", tolerance_s=0.08)
    assert table["t_ns"].to_pylist() == [0, 300 * MS, 600 * MS, 900 * MS]
    assert table["front.uri"].to_pylist() == ["f0", "f1", "f2", "f3"]
    # The lidar turns at 30, 130, 230 ms: 30 ms and 70 ms away are near enough, the rest is not.
    assert table["top.uri"].to_pylist() == ["t0", "t2", None, None]
    assert table["top.dt_ns"].to_pylist() == [30 * MS, -70 * MS, None, None]
    assert table["ego.x"].null_count == 0


def test_before_takes_nothing_from_the_future(lake, log_id):
    table = lake.sync(log_id, clock=[20 * MS, 40 * MS, 299 * MS], method="before", tolerance_s=0.3)
    assert table["top.uri"].to_pylist() == [None, "t0", "t2"]
    assert table["front.uri"].to_pylist() == ["f0", "f0", "f0"]
    assert table["can.speed"].to_pylist() == [0.0, 0.0, 0.0]


def test_linear_lies_on_the_line_between(lake, log_id):
    table = lake.sync(log_id, clock=0.25, method="linear", tolerance_s=0.3, channels=[])
    t = table["t_ns"].to_numpy() / 1e9
    np.testing.assert_allclose(table["can.speed"].to_numpy(), t, atol=1e-9)
    x = table["ego.x"].to_numpy()
    np.testing.assert_allclose(np.diff(x), 2.5, atol=1e-4)
    assert not [name for name in table.column_names if name.startswith(("front", "top"))]


def test_a_gap_is_not_bridged(lake, log_id):
    table = lake.sync(log_id, clock=[250 * MS], method="linear", tolerance_s=0.1)
    assert table["can.speed"].to_pylist() == [None]


def test_what_goes_round_takes_the_shorter_way(tmp_path):
    at = np.array([0, 100, 200]) * MS
    told = {
        ("bearing", "deg"): [350.0, 10.0, 20.0],
        ("yaw", "rad"): [3.1, -3.1, -3.0],
        ("steering_wheel_angle", "deg"): [-200.0, 200.0, 210.0],
        ("level", ""): [np.nan, np.nan, np.nan],
    }
    log = replace(
        make_straight_log(),
        sensors=(Sensor(channel="gnss", kind="gnss"),),
        readings=tuple(
            Readings(channel="gnss", signal=signal, t_ns=at, value=np.array(value), unit=unit)
            for (signal, unit), value in told.items()
        ),
    )
    made = Lake.create(tmp_path / "lake")
    made.add_logs([log], run_id=1)
    log_id = made.read("logs", ["log_id"])["log_id"][0].as_py()
    row = made.sync(log_id, clock=[25 * MS, 75 * MS, 150 * MS], method="linear")
    np.testing.assert_allclose(row["gnss.bearing"], [355, 5, 15])
    quarter = (2 * np.pi - 6.2) / 4
    np.testing.assert_allclose(row["gnss.yaw"], [3.1 + quarter, -3.1 - quarter, -3.05], atol=1e-12)
    np.testing.assert_allclose(row["gnss.steering_wheel_angle"], [-100, 100, 205])
    assert row["gnss.level"].null_count == 3
    assert not np.isnan(row["gnss.bearing"].to_numpy()).any()


def test_readings_may_be_the_clock(lake, log_id):
    table = lake.sync(log_id, clock="can", channels=[])
    assert table["t_ns"].to_pylist() == stamps(91)[::5].tolist()
    assert table["can.speed"].null_count == 0


def test_words_take_the_nearest(lake, log_id):
    table = lake.sync(log_id, clock=[0, 1900 * MS], method="linear", readings=["gear"])
    assert table["can.gear"].to_pylist() == ["D", "D"]
    assert "can.speed" not in table.column_names


def test_mistakes_are_told(lake, log_id):
    for wrong in ({"clock": "rear"}, {"clock": "front", "channels": ["rear"]},
                  {"clock": "front", "readings": ["rpm"]}, {"clock": 0.1, "method": "cubic"}):  # fmt: skip
        with pytest.raises(UnknownName):
            lake.sync(log_id, **wrong)
    for wrong in (3, "abc", 2**70, 1.5):
        with pytest.raises(UnknownName, match="No log"):
            lake.sync(wrong, clock=0.1)
    with pytest.raises(BadQuery):
        lake.sync(log_id, clock=-1.0)
    with pytest.raises(BadQuery):
        lake.sync(log_id, clock=[])


NONE = (float("nan"), float("inf"), -float("inf"), -1.0, 0, 0.0, 1e-12, 1e300, 10**400, True, None)


@pytest.mark.parametrize("clock", NONE, ids=lambda n: str(n)[:8])
def test_a_period_that_is_none_is_refused_before_the_lake_is_read(
    lake, log_id, clock, monkeypatch
):
    monkeypatch.setattr(lake, "read", lambda *_: pytest.fail("the lake was read"))
    with pytest.raises(BadQuery, match="`clock` cannot be"):
        lake.sync(log_id, clock=clock)


@pytest.mark.parametrize("tolerance", [float("nan"), float("inf"), -0.1, 1e300, "0.1"])
def test_a_tolerance_that_is_none_is_refused(lake, log_id, tolerance, monkeypatch):
    monkeypatch.setattr(lake, "read", lambda *_: pytest.fail("the lake was read"))
    with pytest.raises(BadQuery, match="`tolerance_s` cannot be"):
        lake.sync(log_id, clock=0.1, tolerance_s=tolerance)


def test_a_period_of_billions_of_rows_is_refused(lake, log_id):
    # 9 s at a nanosecond: nine billion rows.
    with pytest.raises(BadQuery, match="9,000,000,001 moments"):
        lake.sync(log_id, clock=1e-9)


def test_moments_are_whole_nanoseconds(lake, log_id):
    for wrong in ([0.1, 0.2], np.array([[1, 2]]), [float("nan")]):
        with pytest.raises(BadQuery, match="tells no moments"):
            lake.sync(log_id, clock=wrong)
    assert lake.sync(log_id, clock=np.array([300 * MS, 0]))["t_ns"].to_pylist() == [0, 300 * MS]
