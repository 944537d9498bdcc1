"""A log that differs in anything but where its bytes lie is another log, and none is lost in silence."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lake import Lake
from lake.content import content_of, stored_content
from schemas.errors import DuplicateLog
from schemas.labels import Weather
from schemas.records import Frame, Log, Readings, RoadMap, Sensor, SourceEvent, Window
from schemas.tables import TABLES
from tests.builders import crossing_map, make_straight_log, stamps, without

T = stamps(91)
EAST = np.array([7.0, 0.0, 0.0])


def full_log() -> Log:
    return replace(
        make_straight_log(),
        sensors=(
            Sensor(channel="front", kind="camera", model="pinhole",
                   intrinsics=(900.0, 900.0, 800.0, 450.0)),
            Sensor(channel="can", kind="can"),
        ),
        frames=tuple(
            Frame(channel="front", t_ns=k * 10**8, uri=f"here/{k}.png", codec="png")
            for k in range(4)
        ),
        readings=(
            Readings(channel="can", signal="speed", t_ns=T, value=T / 1e9, unit="m/s"),
            Readings(channel="can", signal="gear", t_ns=T[:2], text=["P", "D"]),
        ),
        events=(SourceEvent(name="starting", t0_ns=0, t1_ns=10**9),),
        extra={"route": [11, 12]},
    )  # fmt: skip


def with_sensor(log: Log) -> Log:
    front, can = log.sensors
    return replace(log, sensors=(replace(front, intrinsics=(901.0, *front.intrinsics[1:])), can))


CHANGES = {
    "a reading more": lambda log: replace(log, readings=(
        *log.readings, Readings(channel="can", signal="rpm", t_ns=T, value=T * 0.0))),
    "another value": lambda log: replace(log, readings=(
        replace(log.readings[0], value=log.readings[0].value + 0.5), log.readings[1])),
    "another word": lambda log: replace(log, readings=(
        log.readings[0], replace(log.readings[1], text=["P", "R"]))),
    "a capture less": lambda log: replace(log, frames=log.frames[:-1]),
    "another calibration": with_sensor,
    "another tag": lambda log: replace(log, events=(replace(log.events[0], name="stopping"),)),
    "no tag": lambda log: replace(log, events=()),
    "another fact beside": lambda log: replace(log, extra={"route": [11, 13]}),
    "a fact less": lambda log: replace(log, extra={}),
    "another scene": lambda log: replace(log, windows=(Window(source_scene_id="b", t0_ns=0, t1_ns=10**9),)),
    "another weather": lambda log: replace(log, weather=Weather.SNOW),
    "another begin": lambda log: replace(log, t0_unix_ns=10**18),
    "another place of all": lambda log: replace(
        log, map=RoadMap.none(), ego=replace(log.ego, xyz=log.ego.xyz + EAST),
        agents=replace(log.agents, xyz=log.agents.xyz + EAST)),
    "another steering": lambda log: replace(log, ego=replace(log.ego, steering=T * 0.0)),
    "another map": lambda log: replace(log, map=crossing_map()),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_log_that_differs_in_anything_is_refused_aloud(tmp_path, change):
    made = Lake.create(tmp_path / "lake")
    log = full_log()
    made.add_logs([log], run_id=1)
    assert made.add_logs([log], run_id=2)["unchanged"] == 1
    with pytest.raises(DuplicateLog, match="differs"):
        made.add_logs([CHANGES[change](log)], run_id=3)
    with pytest.raises(DuplicateLog, match="differs"):  # likewise within one batch
        Lake.create(tmp_path / "other").add_logs([log, CHANGES[change](log)], run_id=1)


def test_where_bytes_lie_does_not_matter_nor_what_was_made_of_a_log(tmp_path):
    made = Lake.create(tmp_path / "lake")
    log = full_log()
    (log_id,) = made.add_logs([log], run_id=1)["logs"]
    (event,) = made.read("events").to_pylist()
    made.append("events", [{**event, "event_id": 1, "name": "braking", "source": "rule"}])
    made.compact(keep_s=0)
    frames = tuple(
        replace(frame, uri=f"there/{n}.tar", offset=512 * n, size=99)
        for n, frame in enumerate(log.frames)
    )
    elsewhere = replace(
        log, frames=frames, split="val", extra={**log.extra, "tables": "v1.0-mini"}
    )
    report = made.add_logs([elsewhere], run_id=2)
    assert (report["unchanged"], report["logs"]) == (1, [log_id])


def test_the_order_of_rows_and_how_they_are_parted_do_not_matter(tmp_path):
    made = Lake.create(tmp_path / "lake")
    (log_id,) = made.add_logs([full_log()], run_id=1)["logs"]
    names = [name for name in TABLES if "log_id" in TABLES[name].schema.names]
    whole = {name: made.read(name) for name in names}
    (map_id,) = whole["logs"]["map_id"].to_pylist()
    parts = [
        {name: table.slice(begin, 7).take(list(range(min(7, table.num_rows - begin)))[::-1])
         for name, table in whole.items() if begin < table.num_rows}
        for begin in range(0, max(table.num_rows for table in whole.values()), 7)
    ]  # fmt: skip
    assert content_of(parts[::-1], map_id=map_id) == stored_content(made, log_id)
    assert content_of(parts[1:], map_id=map_id) != stored_content(made, log_id)


def write_map(folder: Path, length: float) -> Path:
    folder.mkdir(parents=True)
    path = folder / "town.xodr"
    path.write_text(
        f"""<?xml version="1.0"?><OpenDRIVE><header revMajor="1" revMinor="4"/>
        <road id="1" length="{length}" junction="-1"><planView>
        <geometry s="0" x="0" y="0" hdg="0" length="{length}"><line/></geometry></planView>
        <lanes><laneSection s="0"><center><lane id="0" type="none"/></center><right>
        <lane id="-1" type="driving"><width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane>
        </right></laneSection></lanes></road></OpenDRIVE>"""
    )
    return path


def test_two_maps_of_one_name_are_not_taken_for_one(tmp_path):
    write_map(tmp_path / "a" / "maps", 100.0)
    write_map(tmp_path / "b" / "maps", 200.0)
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    made = Lake.create(tmp_path / "lake")
    report = made.ingest([tmp_path / name for name in "abc"], on_error="skip")
    assert (report.logs, report.unchanged) == (1, 1)
    (refused,) = report.rejected
    assert refused.path == str(tmp_path / "b" / "maps" / "town.xodr")


def test_frames_that_nobody_labelled_are_told_apart_by_their_bytes(tmp_path):
    seen = full_log()
    log = without(make_straight_log(steps=1), "agents")
    one = replace(log, sensors=seen.sensors, frames=seen.frames[:1], events=())
    made = Lake.create(tmp_path / "lake")
    two = replace(one, frames=(replace(one.frames[0], uri="two.png"),))
    made.add_logs([one], run_id=1)
    assert made.add_logs([one], run_id=2)["unchanged"] == 1
    with pytest.raises(DuplicateLog, match="differs"):
        made.add_logs([two], run_id=3)
