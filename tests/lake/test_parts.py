"""A log told in parts is the log told as a whole."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from formats.registry import Rejected
from lake import Lake
from schemas.errors import BadRecord
from schemas.labels import AgentClass, LightState
from schemas.records import (
    Frame,
    LightStates,
    Log,
    Note,
    Observations,
    Readings,
    Sensor,
    SourceEvent,
    Window,
)
from tests.builders import CORNER, ego, make_straight_log, road_users, stamps

STEPS = 301
SEAMS_S = (0, 10, 20, 31)


def between(rows: np.ndarray, begin: float, end: float) -> np.ndarray:
    return np.flatnonzero((rows >= begin * 1e9) & (rows < end * 1e9))


def whole_log() -> Log:
    """30 s: the ego, a car that is there throughout, one that leaves and comes back."""
    t_ns = stamps(STEPS)
    base = make_straight_log(steps=STEPS)
    users = road_users(
        [
            ("lead", AgentClass.VEHICLE, (30, 0.2), (6, 0)),
            ("comes and goes", AgentClass.TRUCK, (10, 3.5), (5, 0)),
        ],
        steps=STEPS,
    )
    gone = (users.track == 1) & (users.t_ns > 8e9) & (users.t_ns < 23e9)
    users = taken(users, np.flatnonzero(~gone))
    frames = [
        Frame(channel="front", t_ns=int(t), uri=f"{t}.jpg", codec="jpeg") for t in t_ns[::10]
    ]
    return replace(
        base,
        ego=ego(steps=STEPS, start=(0, 0), velocity=(9, 0)),
        agents=users,
        lights=LightStates(
            source_lane_id=["lane0"] * STEPS, t_ns=t_ns,
            state=np.where(t_ns < 15e9, LightState.RED, LightState.GREEN).astype(np.int64),
            source_state=["R" if t < 15e9 else "G" for t in t_ns],
            arrow=np.zeros(STEPS, dtype=bool), flashing=np.zeros(STEPS, dtype=bool),
            stop_xyz=np.tile(CORNER, (STEPS, 1)),
        ),
        sensors=(Sensor(channel="front", kind="camera"), Sensor(channel="imu", kind="imu")),
        frames=tuple(frames),
        readings=(Readings(channel="imu", signal="ax", t_ns=t_ns, value=t_ns / 1e9, unit="m/s2"),),
        windows=tuple(
            Window(source_scene_id=f"w{n}", t0_ns=n * 6 * 10**9, t1_ns=(n + 1) * 6 * 10**9)
            for n in range(5)
        ),
        events=(
            SourceEvent(name="early", t0_ns=0, t1_ns=10**9, source_track_id="lead"),
            SourceEvent(
                name="late", t0_ns=25 * 10**9, t1_ns=26 * 10**9, source_track_id="comes and goes"
            ),
        ),
        notes=(Note(kind="guessed", reason="something", count=3),),
    )  # fmt: skip


def taken(agents: Observations, rows: np.ndarray) -> Observations:
    """Some rows; tracks that lose all of theirs are no longer named."""
    left = np.unique(agents.track[rows])
    return Observations(
        track=np.searchsorted(left, agents.track[rows]), t_ns=agents.t_ns[rows],
        xyz=agents.xyz[rows], yaw=agents.yaw[rows], size=agents.size[rows],
        source_track_id=[agents.source_track_id[i] for i in left],
        source_cls=[agents.source_cls[i] for i in left], cls=[agents.cls[i] for i in left],
    )  # fmt: skip


def in_parts(log: Log) -> Iterator[Log]:
    for part, (begin, end) in enumerate(itertools.pairwise(SEAMS_S)):

        def here(t_ns: int, begin: float = begin, end: float = end) -> bool:
            return begin * 1e9 <= t_ns < end * 1e9

        told = log.ego
        mine = between(told.t_ns, begin, end)
        lit = between(log.lights.t_ns, begin, end)
        lights = log.lights
        yield replace(
            log,
            ego=replace(
                told, t_ns=told.t_ns[mine], xyz=told.xyz[mine], yaw=told.yaw[mine],
                velocity=told.velocity[mine],
            ),
            agents=taken(log.agents, between(log.agents.t_ns, begin, end)),
            lights=LightStates(
                source_lane_id=[lights.source_lane_id[i] for i in lit], t_ns=lights.t_ns[lit],
                state=lights.state[lit], source_state=[lights.source_state[i] for i in lit],
                arrow=lights.arrow[lit], flashing=lights.flashing[lit],
                stop_xyz=lights.stop_xyz[lit],
            ),
            frames=tuple(f for f in log.frames if here(f.t_ns)),
            readings=tuple(
                replace(r, t_ns=r.t_ns[k], value=r.value[k])
                for r in log.readings for k in [between(r.t_ns, begin, end)]
            ),
            windows=tuple(w for w in log.windows if here(w.t0_ns)),
            events=tuple(e for e in log.events if here(e.t0_ns)),
            notes=(Note(kind="guessed", reason="something", count=1),),
            part=part,
            more=part < len(SEAMS_S) - 2,
        )  # fmt: skip


@pytest.fixture
def read(monkeypatch, tmp_path):
    """A lake that has ingested logs through a reader that yields them."""

    def ingested(*items: Log | Rejected, name: str, on_error: str = "stop") -> Lake:
        source = tmp_path / f"{name}.src"
        source.write_text(name)
        module = SimpleNamespace(
            sources=lambda path: iter([source]),
            files=lambda path: iter([source]),
            read=lambda path: iter(items),
        )
        monkeypatch.setattr("lake.ingest._reader", lambda _: module)
        monkeypatch.setattr("formats.registry.reader", lambda _: module)
        lake = Lake.open_or_create(tmp_path / name)
        lake.ingest([source], format="told", on_error=on_error)
        return lake

    return ingested


def rows(lake: Lake, name: str, *by: str) -> pa.Table:
    table = lake.read(name).sort_by([(column, "ascending") for column in by])
    dropped = [c for c in ("run_id", "source_sha256", "source_uri") if c in table.column_names]
    return table.drop_columns(dropped)


@pytest.fixture
def both(read):
    log = whole_log()
    return read(log, name="whole"), read(*in_parts(log), name="parts")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("ego", ["t_ns"]),
        ("lights", ["source_lane_id", "t_ns"]),
        ("frames", ["t_ns"]),
        ("readings", ["signal", "t_ns"]),
        ("sensors", ["sensor_id"]),
        ("map_features", ["feature_id"]),
        ("map_edges", ["from_id", "kind", "to_id"]),
        ("logs", ["log_id"]),
        ("scenes", ["t0_ns"]),
    ],
)
def test_parts_make_the_rows_of_the_whole(both, name, key):
    whole, parts = (rows(lake, name, *key) for lake in both)
    assert whole.num_rows > 0
    if name == "logs":
        assert parts["distance_m"][0].as_py() == pytest.approx(whole["distance_m"][0].as_py())
        whole, parts = whole.drop_columns("distance_m"), parts.drop_columns("distance_m")
    assert parts.equals(whole)


def test_agents_differ_only_in_velocities_at_the_seams(both):
    whole, parts = (rows(lake, "agents", "track_id", "t_ns") for lake in both)
    derived = ["vx_map", "vy_map"]
    assert parts.drop_columns(derived).equals(whole.drop_columns(derived))
    for column in derived:
        np.testing.assert_allclose(parts[column], whole[column], atol=0.02)


def test_tracks_are_joined_by_their_source_ids(both):
    whole, parts = (rows(lake, "tracks", "track_id").to_pylist() for lake in both)
    assert [t["source_track_id"] for t in parts] == ["ego", "lead", "comes and goes"]
    for one, other in zip(whole, parts, strict=True):
        for name in ("path_len", "v_max"):
            assert other.pop(name) == pytest.approx(one.pop(name), abs=0.02)
        assert other == one


def test_scenes_that_reach_over_a_seam_are_whole(both):
    whole, parts = both
    assert len(whole.scene_ids()) == 5
    for scene_id in whole.scene_ids():
        one, other = whole.scene(scene_id), parts.scene(scene_id)
        assert other.steps == one.steps == 61
        np.testing.assert_array_equal(other.tracks.valid, one.tracks.valid)
        np.testing.assert_array_equal(other.tracks.track_id, one.tracks.track_id)
        np.testing.assert_allclose(other.tracks.xy, one.tracks.xy, atol=1e-3)
        np.testing.assert_array_equal(other.signals.state, one.signals.state)


def test_events_and_notes_of_all_parts_are_there(both):
    whole, parts = both
    query = "SELECT name, actor_id FROM events ORDER BY name"
    assert parts.sql(query).equals(whole.sql(query))
    notes = "SELECT count::INT AS n FROM ledger WHERE reason = 'something'"
    assert [row["n"] for row in parts.sql(notes).to_pylist()] == [3]
    assert [f for f in parts.verify() if f.check != "files"] == []


def test_an_event_about_a_track_without_states_keeps_its_name(read):
    seconds = [s * 10**9 for s in (1, 2, SEAMS_S[1] + 1)]
    ghost = [
        SourceEvent(name="waits", t0_ns=t, t1_ns=t, source_track_id="ghost",
                    other_track_id="lead", detail={"why": "red"})
        for t in map(int, seconds)
    ]  # fmt: skip
    log = replace(whole_log(), events=ghost)
    for lake in (read(log, name="one"), read(*in_parts(log), name="many")):
        events = lake.read("events").to_pylist()
        (lead,) = lake.read("tracks", ["track_id"], "source_track_id = 'lead'")[
            "track_id"
        ].to_pylist()
        assert [(e["actor_id"], e["other_id"]) for e in events] == [(None, lead)] * 3
        told = {"why": "red", "source_track_id": "ghost"}
        assert [json.loads(e["evidence"]) for e in events] == [told] * 3
        (note,) = lake.read("ledger", None, "reason LIKE '%tracks without states%'").to_pylist()
        assert (note["kind"], note["count"]) == ("missing", 3)


def test_a_log_without_windows_is_cut_in_every_part(read):
    log = replace(whole_log(), windows=())
    lake = read(*in_parts(log), name="cut")
    begins = sorted(lake.read("scenes", ["t0_ns"])["t0_ns"].to_pylist())
    assert begins == [0, 10 * 10**9, 20 * 10**9]


def test_again_is_a_no_op_and_leaves_no_files(read, tmp_path, monkeypatch):
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spool))
    lake = read(*in_parts(whole_log()), name="again")
    before = lake.versions()
    report = lake.ingest([tmp_path / "again.src"], format="told")
    assert (report.logs, report.unchanged) == (0, 1)
    assert lake.versions() == before
    assert list(spool.iterdir()) == []


def test_a_part_that_is_missing_refuses_the_log_and_not_its_neighbours(read, tmp_path):
    first, _, last = in_parts(whole_log())
    lake = read(first, last, make_straight_log("other"), name="torn", on_error="skip")
    assert lake.read("logs")["source_log_id"].to_pylist() == ["other"]
    refused = lake.sql("SELECT reason FROM ledger WHERE kind = 'rejected'").to_pylist()
    assert "parts that do not follow" in refused[0]["reason"]
    assert lake.sql("SELECT count(*) AS n FROM agents JOIN logs USING (log_id)").to_pylist()
    assert lake.verify() == []
    with pytest.raises(BadRecord):
        lake.add_logs([first], run_id=1)
