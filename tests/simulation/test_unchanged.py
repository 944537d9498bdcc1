"""A scene that has changed under a case is told from one that has not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from formats.waymo_motion import write_logs
from lake import Lake
from lake.dense import canonical, pack_signals, pack_tracks, unpack_signals, unpack_tracks
from lake.recut import AsSource, Sliding
from schemas.case import Case
from schemas.errors import BadQuery, MissingData
from schemas.labels import AgentClass
from schemas.scene import Scene
from simulation import suites
from simulation.replay import replayed
from simulation.unchanged import changed, scene_hash
from tests.builders import make_straight_log
from tests.simulation.driving import START, drawn_scenes, going, red_at, road, scene

WHY = "its scene has changed since the suite was built: build it anew"


def built() -> Scene:
    return scene(
        going(0.0), going(25.0), going(-20.0, 3.5, until=60),
        road_map=road(), signals=red_at(60.0),
    )  # fmt: skip


def test_what_is_packed_and_unpacked_has_the_same_hash_in_any_order_of_tracks() -> None:
    for one in drawn_scenes(5, seed=2):
        tracks, signals = canonical(one.tracks), canonical(one.signals)
        kept = replace(
            one,
            tracks=unpack_tracks(pack_tracks(tracks)),
            signals=unpack_signals(pack_signals(signals)),
        )
        turned = tracks.take(np.arange(len(tracks.track_id))[::-1])
        told = replace(one, scene_id=7, name="other", anchor=3, tracks=turned, signals=signals)
        assert scene_hash(kept) == scene_hash(told) == scene_hash(one)


def test_values_that_were_not_observed_and_what_the_lake_finds_do_not_count() -> None:
    one = built()
    xy, lane = one.tracks.xy.copy(), one.tracks.lane.copy()
    xy[2, 60:] = np.nan
    lane[:] = 5
    other = replace(one, tracks=replace(one.tracks, xy=xy, lane=lane))
    assert scene_hash(other) == scene_hash(one)


@pytest.mark.parametrize("name", ["xy", "yaw", "velocity", "size", "cls", "valid", "track_id"])
def test_any_state_of_anybody_counts(name: str) -> None:
    one = built()
    values = getattr(one.tracks, name).copy()
    values[1] = {"cls": int(AgentClass.BUS), "valid": False, "track_id": 9}.get(name, values[1])
    if values.dtype.kind == "f":
        values[1].flat[2] = np.nextafter(values[1].flat[2], np.float32(1e3))
    other = replace(one, tracks=replace(one.tracks, **{name: values}))
    assert scene_hash(other) != scene_hash(one)


def test_lights_map_and_frame_count() -> None:
    one = built()
    others = [
        replace(one, signals=red_at(60.0, green_from=50)),
        replace(one, signals=replace(one.signals, stop_xy=one.signals.stop_xy + 1.0)),
        replace(one, map=road(limit=14.0)),
        replace(one, has_map=False),
        replace(one, origin=one.origin + 1e-6),
    ]
    assert len({scene_hash(other) for other in (one, *others)}) == 6
    moved = replace(one.map.features[1], points=one.map.features[1].points + 0.01)
    features = (one.map.features[0], moved, *one.map.features[2:])
    assert scene_hash(replace(one, map=replace(one.map, features=features))) != scene_hash(one)


def test_logs_that_call_one_map_differently_are_on_the_same_map() -> None:
    """The lake keeps it once, under the name that the log bears which asks for it first."""
    one = built()
    assert scene_hash(replace(one, map=replace(one.map, source_map_id="another"))) == scene_hash(
        one
    )


def write(path: Path, *, later: float = 0.0) -> Path:
    """Two logs; whoever else is there is so much farther on."""
    shift = np.array([later, 0.0, 0.0])
    made = [make_straight_log("one"), make_straight_log("two")]
    write_logs(
        [replace(m, agents=replace(m.agents, xyz=m.agents.xyz + shift)) for m in made], path
    )
    return path


def test_a_case_whose_scene_was_replaced_is_not_drivable_until_it_is_built_anew(
    tmp_path: Path,
) -> None:
    lake = Lake.create(tmp_path / "lake")
    source = tmp_path / "drives.tfrecord"
    lake.ingest([write(source)])
    suites.build(lake, "kept")
    suites.build(lake, "old")
    before = [replace(c, provenance={}).row(run_id=1) for c in suites.cases_of(lake, "old")]
    lake.replace("cases", before, where="suite = 'old'")  # as those built before hashes were kept
    first = suites.run(lake, "kept", "idm")
    assert (first.cases, first.not_drivable) == (2, 0)

    lake.recut(Sliding(length_s=5.0))
    lake.recut(AsSource())
    again = suites.run(lake, "kept", "idm")
    assert again.digest == first.digest

    lake.ingest([write(source, later=3.0)], replace=True)
    assert {c.scene_id for c in suites.cases_of(lake, "kept")} <= set(lake.scene_ids())
    second = suites.run(lake, "kept", "idm")
    assert (second.errored, second.not_drivable) == (2, 2)
    assert dict(second.errors) == {f"not drivable: {WHY}": 2}
    assert suites.run(lake, "old", "idm").not_drivable == 0
    drives = suites.results_of(lake, first.run_id)
    with pytest.raises(MissingData, match="has changed"):
        replayed([(drives[0], lake.scene(drives[0].case.scene_id))])

    suites.build(lake, "kept", replace=True)
    third = suites.run(lake, "kept", "idm")
    assert third.not_drivable == 0
    with pytest.raises(BadQuery, match="built anew"):
        suites.compare(lake, first.run_id, third.run_id)


def test_a_case_that_kept_no_hash_is_not_judged() -> None:
    one = built()
    case = Case(
        case_id=1, suite="a", scene_id=1, start_step=START, horizon_steps=50, goal=(50.0, 0.0),
        agents="log", criteria={},
    )  # fmt: skip
    assert changed(case, one) is None
    assert changed(replace(case, provenance={"cut_from": scene_hash(one)}), one) is None
    assert changed(replace(case, provenance={"cut_from": "00"}), one) == WHY
