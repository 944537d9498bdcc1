"""The same drive recorded at 5, 10 and 25 Hz, brought into a lake, says the same at 10 Hz."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from lake.scenes import scenes_of
from mining.intervals import Interval
from mining.predicates import tag_scene
from schemas.labels import AgentClass, Truth
from schemas.records import EgoStates, LightStates, Log, Observations
from schemas.scene import Scene
from tests.mining.micro import STEPS, TIME
from tests.mining.test_predicates import HOLDS
from tests.mining.test_wider_predicates import WIDER

SLACK = 2
"""[steps] A source at 5 Hz tells times to 0.2 s."""


def recorded(made: Scene, rate_hz: float) -> Log:
    """A log of the scene's agents at some rate, through the poses that the scene has."""
    tracks = made.tracks
    t = np.arange(round((STEPS - 1) * 0.1 * rate_hz) + 1) / rate_hz
    t_ns = np.rint(t * 1e9).astype(np.int64)
    xy = CubicSpline(TIME, tracks.xy.astype(np.float64), axis=1)(t)
    xyz = np.concatenate([xy, np.zeros((*xy.shape[:2], 1))], axis=-1)
    yaw = CubicSpline(TIME, np.unwrap(tracks.yaw.astype(np.float64), axis=1), axis=1)(t)
    ego = EgoStates(
        t_ns=t_ns, xyz=xyz[0], yaw=yaw[0], size=tuple(tracks.size[0].tolist()),
    ) if made.has_ego else None  # fmt: skip
    rows = np.arange(int(made.has_ego), len(xyz))
    seen = tracks.valid[:, np.rint(t * 10.0 - 1e-6).astype(np.int64)]
    words = made.source_cls or {}
    agents = Observations(
        track=np.repeat(np.arange(len(rows)), len(t)),
        t_ns=np.tile(t_ns, len(rows)),
        xyz=xyz[rows].reshape(-1, 3),
        yaw=yaw[rows].reshape(-1),
        size=np.repeat(tracks.size[rows].astype(np.float64), len(t), axis=0),
        valid=seen[rows].reshape(-1),
        source_track_id=[f"track{k}" for k in rows.tolist()],
        source_cls=[words.get(int(tracks.track_id[k]), "thing") for k in rows.tolist()],
        cls=[AgentClass(int(c)) for c in tracks.cls[rows]],
    )
    return Log(
        dataset=made.dataset, source_log_id="drive", source_uri="/drive", rate_hz=rate_hz,
        ego=ego, agents=agents, map=made.map, lights=lights(made), weather=made.weather,
        daylight=made.daylight,
    )  # fmt: skip


def lights(made: Scene) -> LightStates:
    if not made.has_signals:
        return LightStates.none()
    signals = made.signals
    count, steps = signals.state.shape
    return LightStates(
        source_lane_id=[str(i) for i in np.repeat(signals.lane, steps).tolist()],
        t_ns=np.tile(np.arange(steps) * 100_000_000, count),
        state=signals.state.reshape(-1).astype(np.int64),
        source_state=[""] * (count * steps),
        arrow=np.zeros(count * steps, dtype=bool),
        flashing=np.zeros(count * steps, dtype=bool),
        stop_xyz=np.full((count * steps, 3), np.nan),
    )


def told(made: Scene, name: str) -> list[Interval]:
    found = [i for i in tag_scene(made, [name]) if i.truth == Truth.TRUE]
    return sorted(found, key=lambda i: (str(i.actor), str(i.other), i.begin_step))


CASES = [*HOLDS, *WIDER]


@pytest.mark.parametrize("rate_hz", [5.0, 25.0])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_rate_of_the_recording_does_not_matter(case, rate_hz: float) -> None:  # type: ignore[no-untyped-def]
    made = case.make()
    (usual,), (other,) = scenes_of(recorded(made, 10.0)), scenes_of(recorded(made, rate_hz))
    assert other.steps == usual.steps == STEPS
    before, after = told(usual, case.name), told(other, case.name)
    assert before, "the scene must say something"
    assert [(i.actor, i.other) for i in before] == [(i.actor, i.other) for i in after]
    for one, twin in zip(before, after, strict=True):
        assert abs(one.begin_step - twin.begin_step) <= SLACK, (one, twin)
        assert abs(one.end_step - twin.end_step) <= SLACK, (one, twin)
