"""SUMO: an output with its network, types and lights, written here as SUMO writes them."""

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formats import sumo
from formats.registry import Rejected
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, EdgeKind, LaneType, LightState, MapLayer
from schemas.records import Log
from tests.contracts import ReaderContract, check_log
from tests.formats.sumo_files import NET, STEPS, write_simulation


def read_one(path: Path) -> Log:
    (log,) = sumo.read(path)
    assert isinstance(log, Log)
    check_log(log)
    return log


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return read_one(write_simulation(tmp_path / "run1"))


class TestOutput(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return sumo

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_simulation(tmp_path / "in")


class TestNetwork(ReaderContract):
    @pytest.fixture
    def module(self) -> Any:
        return sumo

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        path = tmp_path / "in" / "cross.net.xml"
        path.parent.mkdir()
        path.write_text(NET)
        return path


def test_the_front_bumper_becomes_the_centre(log: Log) -> None:
    agents = log.agents
    lorry, bike, person = (agents.track == k for k in range(3))
    assert agents.source_track_id == ["v0", "b", "person:v0"]
    np.testing.assert_allclose(agents.xyz[lorry][0], [20.0 - 6.0, -1.6, 0.0], atol=1e-12)
    np.testing.assert_allclose(agents.yaw[lorry], 0.0, atol=1e-12)
    np.testing.assert_allclose(agents.xyz[bike][0], [150.0, -0.85, 0.0], atol=1e-12)
    np.testing.assert_allclose(agents.yaw[bike], np.pi / 2)
    np.testing.assert_allclose(agents.xyz[person][0], [98.0, -3.0, 0.0])
    assert agents.velocity is not None
    np.testing.assert_allclose(agents.velocity[lorry][0], [10.0, 0.0])
    np.testing.assert_array_equal(agents.t_ns[lorry], np.arange(STEPS) * 10**8)
    assert log.rate_hz == 10.0
    assert log.extra["first_time_s"] == 30.0


def test_types_tell_sizes_and_classes(log: Log) -> None:
    agents = log.agents
    assert list(agents.cls) == [AgentClass.TRUCK, AgentClass.CYCLIST, AgentClass.PEDESTRIAN]
    assert agents.source_cls == ["lorry", "bike@b", "DEFAULT_PEDTYPE"]
    first = [agents.size[agents.track == k][0].tolist() for k in range(3)]
    assert first == [[12.0, 2.5, 3.4], [1.7, 0.65, 1.7], [0.215, 0.478, 1.719]]
    guessed = [note.count for note in log.notes if "defaults" in note.reason]
    assert guessed == [1], "only the person's"


def test_network(log: Log) -> None:
    lanes = {lane.source_id: lane for lane in log.map.of_layer(MapLayer.LANE)}
    assert list(lanes) == [":J_0_0", ":J_0_1", "in_0", "in_1", "in_2", "out_0", "out_1"]
    kinds = [lane.lane_type for lane in lanes.values()]
    assert kinds == [
        LaneType.VEHICLE, LaneType.VEHICLE, LaneType.FREEWAY, LaneType.FREEWAY, LaneType.SIDEWALK,
        LaneType.BUS, LaneType.BIKE,
    ]  # fmt: skip
    assert [lane.in_intersection for lane in lanes.values()] == [True] * 2 + [False] * 5
    wide = lanes["in_1"]
    assert wide.left is not None
    np.testing.assert_allclose(wide.left[:, 1], 3.4)
    assert wide.speed_limit == 13.89
    follow = log.map.neighbours(lanes["in_0"].feature_id, EdgeKind.SUCCESSOR)
    assert follow == [lanes[":J_0_0"].feature_id]
    assert log.map.neighbours(follow[0], EdgeKind.SUCCESSOR) == [lanes["out_0"].feature_id]
    assert log.map.neighbours(follow[0], EdgeKind.PREDECESSOR) == [lanes["in_0"].feature_id]
    left = log.map.neighbours(lanes["in_0"].feature_id, EdgeKind.LEFT)
    assert left == [lanes["in_1"].feature_id]
    (crossing,) = log.map.of_layer(MapLayer.CROSSWALK)
    np.testing.assert_allclose(np.ptp(crossing.points[:, 0]), 4.0)
    over = log.map.neighbours(crossing.feature_id, EdgeKind.CROSSWALK_OVER_LANE)
    assert over == [lanes["in_0"].feature_id, lanes["in_1"].feature_id]
    assert len(log.map.of_layer(MapLayer.WALKWAY)) == 1
    assert [j.source_id for j in log.map.of_layer(MapLayer.INTERSECTION)] == ["J"]
    assert log.extra["location"]["netOffset"] == "-500.00,-200.00"
    assert log.extra["tl_logic"][0]["phases"][0] == {"duration": "40", "state": "Gr"}
    assert log.epsg is None, "moved by netOffset"


def test_lights_are_told_when_they_change(log: Log) -> None:
    lights = log.lights
    rows = list(zip(lights.source_lane_id, lights.t_ns.tolist(), lights.source_state, strict=True))
    assert rows == [
        (":J_0_0", 0, "G"), (":J_0_1", 0, "r"), (":J_0_0", 10**9, "y"), (":J_0_1", 10**9, "r"),
    ]  # fmt: skip
    assert lights.state.tolist() == [
        LightState.GREEN, LightState.RED, LightState.YELLOW, LightState.RED,
    ]  # fmt: skip
    np.testing.assert_array_equal(lights.stop_xyz[0], [100.0, -1.6, 0.0])


def test_left_hand_traffic_counts_lanes_from_the_left(tmp_path: Path) -> None:
    path = tmp_path / "left.net.xml"
    path.write_text(NET.replace('<net version="1.20"', '<net version="1.20" lefthand="true"'))
    log = read_one(path)
    lanes = {lane.source_id: lane.feature_id for lane in log.map.of_layer(MapLayer.LANE)}
    assert log.map.neighbours(lanes["in_0"], EdgeKind.RIGHT) == [lanes["in_1"]]


def test_an_unmoved_utm_network_tells_its_projection(tmp_path: Path) -> None:
    path = tmp_path / "utm.net.xml"
    path.write_text(NET.replace("-500.00,-200.00", "0.00,0.00"))
    assert read_one(path).epsg == 32632


def test_each_file_belongs_to_one_log(tmp_path: Path) -> None:
    output = write_simulation(tmp_path / "run1")
    assert list(sumo.sources(tmp_path)) == [output]
    names = {file.name for file in sumo.files(output)}
    assert names == {"fcd.xml", "cross.net.xml", "cross.rou.xml", "tls.xml"}
    output.unlink()
    assert [file.name for file in sumo.sources(tmp_path)] == ["cross.net.xml"]


def test_paths_in_the_header_do_not_leave_the_folder(tmp_path: Path) -> None:
    output = write_simulation(tmp_path / "run1")
    (tmp_path / "nets").mkdir()
    (tmp_path / "run1" / "cross.net.xml").rename(tmp_path / "nets" / "cross.net.xml")
    log = read_one(output)
    assert not log.map.features
    assert any("no network" in note.reason for note in log.notes)


def test_long_outputs_come_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = write_simulation(tmp_path / "run", steps=260, step_s=0.5)
    whole = read_one(output)
    monkeypatch.setattr(sumo, "PART_ROWS", 200)
    parts = [log for log in sumo.read(output) if isinstance(log, Log)]
    assert [(log.part, log.more) for log in parts] == [(0, True), (1, True), (2, False)]
    for log in parts:
        check_log(log)
        assert log.agents.t_ns.min() >= log.part * 60 * 10**9
        assert log.agents.t_ns.max() < (log.part + 1) * 60 * 10**9
        assert log.map is parts[0].map
    told = np.concatenate([log.agents.xyz[log.agents.track == 0] for log in parts])
    np.testing.assert_array_equal(told, whole.agents.xyz[whole.agents.track == 0])
    assert [log.lights.t_ns.tolist() for log in parts] == [
        [0, 0, 5 * 10**9, 5 * 10**9], [60 * 10**9] * 2, [120 * 10**9] * 2,
    ]  # fmt: skip


def test_packed_files(tmp_path: Path) -> None:
    output = write_simulation(tmp_path / "run")
    for file in list(sumo.files(output)):
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    (found,) = sumo.sources(tmp_path)
    assert found.name == "fcd.xml.gz"
    log = read_one(found)
    assert (len(log.map.features), len(log.lights.t_ns)) == (10, 4)


def test_a_long_configuration_at_the_head_does_not_hide_what_a_file_is(tmp_path: Path) -> None:
    output = write_simulation(tmp_path / "run")
    long = f'<fcd-output value="out/fcd.xml"/>{" " * 5000}</configuration>'
    output.write_text(output.read_text().replace("</configuration>", long))
    network = tmp_path / "alone" / "long.net.xml"
    network.parent.mkdir()
    network.write_text(NET.replace("generated by netconvert", "x" * 5000))
    assert set(sumo.sources(tmp_path)) == {network, output}


def test_degrees_are_projected_back(tmp_path: Path) -> None:
    """The first place of the lorry, in degrees by the same projection."""
    from pyproj import Proj

    output = write_simulation(tmp_path / "run", steps=1)
    lon, lat = Proj("+proj=utm +zone=32 +ellps=WGS84")(20.0 + 500.0, -1.6 + 200.0, inverse=True)
    text = output.read_text().replace(
        "<configuration>", '<configuration><fcd-output.geo value="true"/>'
    )
    output.write_text(text.replace('x="20.00" y="-1.60"', f'x="{lon:.9f}" y="{lat:.9f}"'))
    log = read_one(output)
    np.testing.assert_allclose(log.agents.xyz[0], [14.0, -1.6, 0.0], atol=1e-3)
    (output.parent / "cross.net.xml").unlink()
    with pytest.raises(UnreadableFile, match="degrees"):
        list(sumo.read(output))


def test_bad_rows_are_told(tmp_path: Path) -> None:
    output = write_simulation(tmp_path / "run")
    text = output.read_text()
    text = text.replace('x="21.00"', 'x="far"').replace('x="22.00"', 'x="nan"')
    text = text.replace('time="30.30"', 'time="30.10"').replace('time="30.40"', 'time="soon"')
    output.write_text(text)
    notes = {note.reason: note.count for note in read_one(output).notes}
    assert notes["rows with a value that is no number"] == 1
    assert notes["rows without a finite position and heading"] == 1
    assert notes["time steps that do not ascend"] == 1
    assert notes["time steps without a time"] == 1


def test_an_output_of_nobody_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "fcd.xml"
    path.write_text('<fcd-export>\n<timestep time="0.00"/>\n</fcd-export>\n')
    (found,) = sumo.read(path)
    assert isinstance(found, Rejected)


@pytest.mark.skipif(
    "SCENELAKE_REAL_DATA" not in os.environ, reason="SCENELAKE_REAL_DATA is not set"
)
def test_real_networks() -> None:
    """Lanes and junctions of four networks, counted by their lines of text."""
    folder = Path(os.environ["SCENELAKE_REAL_DATA"]) / "smarts_ngsim" / "scenarios"
    found = list(sumo.sources(folder))
    assert len(found) == 4
    for path in found:
        log, text = read_one(path), path.read_text()
        lanes = log.map.of_layer(MapLayer.LANE)
        assert len(lanes) == text.count("<lane ")
        follow = (log.map.edges[:, 1] == EdgeKind.SUCCESSOR).sum()
        assert follow == text.count("<connection ")
        for lane in lanes:
            shape = text.split(f'<lane id="{lane.source_id}"', 1)[1].split('shape="', 1)[1]
            first = shape.split('"', 1)[0].split()[0]
            assert [f"{value:.2f}" for value in lane.points[0, :2]] == first.split(",")
