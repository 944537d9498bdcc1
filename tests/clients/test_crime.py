"""Criticality against CommonRoad-CriMe, where both define the same (``make clients``).

Where they do not: CriMe's delta-v adds the speeds of vehicles that go the same way, its DCE follows
the recorded future instead of constant velocities, and its conflict area is where lanes cross, not
where boxes were. So the other stands, nobody changes speed, and vehicles are as wide as lanes.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mining.criticality import (
    brake_threat_number,
    steer_threat_number,
    worst_time_to_collision,
)
from mining.criticality.scene import Criticality, criticality
from schemas.scene import Scene
from tests.mining.micro import TIME, Actor, along, scene

pytestmark = pytest.mark.client

HERE = Path(__file__).parent
TILT = 1e-3  # [rad] CriMe takes a lane that runs exactly along x to be out of reach
HALF = 1.75  # [m]


def crime(
    folder: Path, actors: Sequence[Actor], lanes: list[dict[str, object]], measures: Sequence[str],
    steps: Sequence[int],
) -> dict[str, np.ndarray]:  # fmt: skip
    """CriMe's measures of the first to the second, at the steps."""
    turn = np.array([[np.cos(TILT), np.sin(TILT)], [-np.sin(TILT), np.cos(TILT)]])
    vehicles = []
    for actor in actors:
        assert actor.size is not None
        xy, speed = actor.xy @ turn, np.hypot(*np.gradient(actor.xy, 0.1, axis=0).T)
        states = np.column_stack([xy, actor.yaw + TILT, speed]).tolist()
        vehicles.append({"length": actor.size[0], "width": actor.size[1], "states": states})
    sides = {
        side: [(np.array(lane[side]) @ turn).tolist() for lane in lanes]
        for side in ("left", "right")
    }
    lanes = [
        {**lane, "left": left, "right": right}
        for lane, left, right in zip(lanes, sides["left"], sides["right"], strict=True)
    ]
    case = folder / "case.json"
    case.write_text(
        json.dumps(
            {
                "lanes": lanes,
                "vehicles": vehicles,
                "measures": list(measures),
                "steps": list(steps),
            }
        )
    )
    python = Path(os.environ["SCENELAKE_CLIENTS"]) / "python"
    done = subprocess.run(
        [python, HERE / "crime.py", case], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return {name: np.array(value) for name, value in json.loads(done.stdout).items()}


def ribbon(
    number: int, start: float, end: float, *, north: bool = False, before: Sequence[int] = (),
    after: Sequence[int] = (), crossing: bool = False,
) -> dict[str, object]:  # fmt: skip
    """A straight lane through the origin's row or column."""
    s = np.linspace(start, end, max(int(end - start), 8))
    left, right = (np.column_stack([s, np.full(len(s), side)]) for side in (HALF, -HALF))
    if north:
        left, right = left[:, ::-1] * [-1, 1], right[:, ::-1] * [-1, 1]
    return {
        "id": number, "left": left, "right": right, "before": list(before), "after": list(after),
        "crossing": crossing,
    }  # fmt: skip


def ours(made: Scene, name: str, steps: Sequence[int]) -> np.ndarray:
    told: Criticality = criticality(made)
    (row,) = np.flatnonzero((told.a == 0) & (told.b == 1))
    return told.over_time[name][row, list(steps)]


def worst(made: Scene, name: str) -> float:
    told = criticality(made)
    (row,) = np.flatnonzero((told.a == 0) & (told.b == 1))
    return float(told.worst.values[name][row])


CAR = (4.8, 2.0, 1.6)
STEPS = range(0, 56, 5)


def test_of_a_follower(tmp_path: Path) -> None:
    """A gap of 35.2 m that closes at 6 m/s."""
    actors = [
        along(10.0 * TIME, start=(-60.0, 0.0), size=CAR),
        along(4.0 * TIME, start=(-20.0, 0.0), size=CAR),
    ]
    names = ["TTC", "THW", "ALongReq", "BTN", "ALatReq", "STN", "DCE", "TTCE", "TET", "TIT", "CPI"]
    told = crime(tmp_path, actors, [ribbon(1, -200.0, 200.0)], names, STEPS)
    made = scene(*actors)
    ttc, drac = ours(made, "ttc", STEPS), ours(made, "drac", STEPS)
    np.testing.assert_allclose(ttc, told["TTC"], atol=0.02)
    # Theirs is the step at which the recorded way has covered the gap.
    np.testing.assert_allclose(ours(made, "thw", STEPS), told["THW"], atol=0.11)
    np.testing.assert_allclose(drac, -told["ALongReq"], rtol=0.02, atol=0.011)
    np.testing.assert_allclose(
        ours(made, "a_req", STEPS), -told["ALongReq"], rtol=0.02, atol=0.011
    )
    btn = brake_threat_number(drac, available=11.5)
    np.testing.assert_allclose(btn, told["BTN"], rtol=0.02, atol=0.001)
    # Ours asks for no swerve while the horizon of 5 s shows nothing.
    near = np.flatnonzero(ttc <= 5.0)
    swerve = ours(made, "a_lat_req", STEPS)
    np.testing.assert_allclose(swerve[near], told["ALatReq"][near], rtol=0.03, atol=0.011)
    stn = steer_threat_number(swerve, available=8.0)
    np.testing.assert_allclose(stn[near], told["STN"][near], rtol=0.03, atol=0.002)
    meets = np.flatnonzero(np.isfinite(ours(made, "ttc_2d", STEPS)))
    assert len(meets) > 5
    np.testing.assert_allclose(ours(made, "dce", STEPS)[meets], told["DCE"][meets], atol=0.01)
    np.testing.assert_allclose(ours(made, "ttce", STEPS)[meets], told["TTCE"][meets], atol=0.11)
    assert worst(made, "tet") == pytest.approx(told["TET"][0], abs=0.01)
    assert worst(made, "tit") == pytest.approx(told["TIT"][0], abs=0.02)
    # Theirs leaves the last step out of the mean.
    assert told["CPI"][0] > 0.005
    assert worst(made, "cpi") * 101 / 100 == pytest.approx(told["CPI"][0], rel=0.05)


def test_of_one_that_passes_aside(tmp_path: Path) -> None:
    """Oncoming, outlines half a metre apart."""
    actors = [
        along(8.0 * TIME, start=(-40.0, 0.0), size=CAR),
        along(8.0 * TIME, start=(40.0, 2.5), yaw=np.pi, size=CAR),
    ]
    steps = [10, 20, 30, 40]
    told = crime(tmp_path, actors, [ribbon(1, -200.0, 200.0)], ["DCE", "TTCE"], steps)
    made = scene(*actors)
    known = ours(made, "ttce", steps)
    np.testing.assert_allclose(ours(made, "dce", steps), told["DCE"], atol=0.011)
    # Their tilted boxes are nearest at one end of the stretch in which ours are equally near.
    assert (known <= told["TTCE"] + 0.11).all()
    assert (known >= told["TTCE"] - 2 * 4.8 / 16.0 - 0.11).all()


@pytest.mark.parametrize("other", [4.0, -8.0], ids=["ahead", "oncoming"])
def test_of_the_worst_that_both_can_do(tmp_path: Path, other: float) -> None:
    """Theirs is rounded to a tenth of a second, for circles round a third of each car, at 11.5 m/s²."""
    actors = [
        along(10.0 * TIME, start=(-60.0, 0.0), size=CAR),
        along(abs(other) * TIME, start=(10.0, 0.0), yaw=0.0 if other > 0.0 else np.pi, size=CAR),
    ]
    steps = [0, 10, 20, 30]
    told = crime(tmp_path, actors, [ribbon(1, -200.0, 200.0)], ["WTTC"], steps)
    apart = np.column_stack([70.0 + (other - 10.0) * TIME[steps], np.zeros(4)])
    relative = np.tile([other - 10.0, 0.0], (4, 1))
    reach = np.full(4, 2 * np.hypot(CAR[0] / 6, CAR[1] / 2))
    known = worst_time_to_collision(apart, relative, reach, np.full(4, 2 * 11.5))
    assert (np.diff(known) < -0.05).all()
    np.testing.assert_allclose(known, told["WTTC"], atol=0.051)


def test_of_a_crash_with_one_that_stands(tmp_path: Path) -> None:
    actors = [
        along(10.0 * TIME, start=(-60.0, 0.0), size=CAR),
        along(0.0 * TIME, start=(0.0, 0.0), size=CAR),
    ]
    steps = [20, 40, 50]
    told = crime(tmp_path, actors, [ribbon(1, -200.0, 200.0)], ["DeltaV", "TTC"], steps)
    np.testing.assert_allclose(ours(scene(*actors), "delta_v", steps), told["DeltaV"], atol=0.011)
    np.testing.assert_allclose(ours(scene(*actors), "ttc", steps), told["TTC"], atol=0.02)


def test_where_ways_cross(tmp_path: Path) -> None:
    """Vehicles as wide as their lanes, so that their shared ground is where the lanes cross.

    Not on the very middle of a lane: there CriMe's library takes the arc cosine of what some processors round to
    more than 1.
    """
    wide = (4.8, 2 * HALF, 1.6)
    actors = [
        along(10.0 * TIME, start=(-60.0, 0.01), size=wide),
        along(8.0 * TIME, start=(0.01, -25.0), yaw=np.pi / 2, size=wide),
    ]
    lanes = [
        ribbon(1, -150.0, -HALF, after=[2]),
        ribbon(2, -HALF, HALF, before=[1], after=[3], crossing=True),
        ribbon(3, HALF, 150.0, before=[2]),
        ribbon(4, -150.0, -HALF, north=True, after=[5]),
        ribbon(5, -HALF, HALF, north=True, before=[4], after=[6], crossing=True),
        ribbon(6, HALF, 150.0, north=True, before=[5]),
    ]
    told = crime(tmp_path, actors, lanes, ["ET", "PET"], [0])
    made = scene(*actors)
    assert 0.0 < told["ET"][0] < 2.0
    assert 0.0 < told["PET"][0] < 5.0
    # Theirs counts the step before the entry and the step after the exit.
    assert worst(made, "et") == pytest.approx(told["ET"][0], abs=0.21)
    assert worst(made, "pet") == pytest.approx(told["PET"][0], abs=0.21)
