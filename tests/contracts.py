"""What every reader must keep: a subclass with two fixtures is a new reader's first test file.

class TestMyReader(ReaderContract):
    @pytest.fixture
    def module(self): return my_format

    @pytest.fixture
    def source(self, tmp_path): return write_a_small_log(tmp_path / "in")
"""

from __future__ import annotations

import os
import random
import shutil
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest

from formats import registry
from formats.media import CODECS
from formats.registry import FORMATS, Reader, Rejected
from lake import Lake
from schemas.errors import BadInput
from schemas.labels import AgentClass, EdgeKind, LightState, MapLayer
from schemas.records import Log
from tests.damage import damaged, hostile_xml
from tests.round_trip import check_round_trip, logs_of

SEEDS = (1,)
MAP_READERS = {"lanelet2", "opendrive", "sumo"}
SECRET = "nobody should know"
DAMAGES = 60  # at most, of one source
FOREIGN = {
    "README.md": b"# nothing to see here\n",
    "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(64),
    "table.csv": b"a,b\n1,2\n",
    "settings.json": b'{"answer": 42}',
    "page.xml": b"<?xml version='1.0'?><page/>",
    "noise.bin": bytes(range(256)),
    "void.json": b"",
}
SENSOR_KINDS = {"camera", "lidar", "radar", "imu", "gnss", "can", "other"}
NOTE_KINDS = {"dropped", "clipped", "renamed", "guessed", "missing", "rejected"}


def check_log(log: Log) -> None:
    """Assert everything that the records promise of a log."""
    agents = log.agents
    rows = len(agents.track)
    assert agents.t_ns.shape == (rows,)
    assert agents.xyz.shape == agents.size.shape == (rows, 3)
    assert agents.yaw.shape == (rows,)
    assert agents.track.dtype.kind == agents.t_ns.dtype.kind == "i"
    assert agents.xyz.dtype == np.float64
    count = len(agents.source_track_id)
    assert len(agents.source_cls) == len(agents.cls) == count
    assert all(isinstance(word, str) for word in (*agents.source_track_id, *agents.source_cls))
    assert all(isinstance(cls, AgentClass) for cls in agents.cls)
    assert len(set(agents.source_track_id)) == count
    if rows:
        assert agents.track.min() >= 0
        assert agents.track.max() < count
        changes = np.flatnonzero(np.diff(agents.track) != 0)
        assert len(changes) + 1 == len(np.unique(agents.track)), "rows of a track are contiguous"
        same = np.diff(agents.track) == 0
        assert (np.diff(agents.t_ns)[same] > 0).all(), "times of a track ascend"
    valid = np.ones(rows, dtype=bool) if agents.valid is None else agents.valid
    assert np.isfinite(agents.xyz[valid]).all()
    assert np.isfinite(agents.yaw[valid]).all()
    if agents.velocity is not None:
        assert agents.velocity.shape == (rows, 2)
    if log.ego is not None:
        ego = log.ego
        assert (np.diff(ego.t_ns) > 0).all()
        seen = np.ones(len(ego.t_ns), dtype=bool) if ego.valid is None else ego.valid
        assert ego.xyz.shape == (len(ego.t_ns), 3)
        assert np.isfinite(ego.xyz[seen]).all()
        assert np.isfinite(ego.yaw[seen]).all()
        assert all(extent > 0.0 for extent in ego.size)
        assert ego.source_track_id not in agents.source_track_id
    features = log.map.features
    assert [f.feature_id for f in features] == list(range(len(features))), "dense feature ids"
    assert len({(f.layer, f.source_id) for f in features}) == len(features)
    for feature in features:
        assert isinstance(feature.layer, MapLayer)
        assert isinstance(feature.source_id, str)
        for line in (feature.points, feature.left, feature.right):
            assert line is None or (line.ndim == 2 and line.shape[1] == 3 and len(line) >= 1)
            assert line is None or np.isfinite(line).all()
        assert feature.layer != MapLayer.LANE or len(feature.points) >= 2
    assert log.map.edges.ndim == 2
    assert log.map.edges.shape[1] == 3
    for begin, kind, end in log.map.edges:
        assert 0 <= begin < len(features)
        assert 0 <= end < len(features)
        EdgeKind(int(kind))
    lights = log.lights
    assert all(isinstance(lane, str) for lane in lights.source_lane_id)
    assert len(lights.source_lane_id) == len(lights.t_ns) == len(lights.state)
    assert len(lights.source_state) == len(lights.arrow) == len(lights.flashing)
    assert lights.stop_xyz.shape == (len(lights.t_ns), 3)
    for state in np.unique(lights.state):
        LightState(int(state))
    channels = [sensor.channel for sensor in log.sensors]
    assert len(set(channels)) == len(channels)
    assert {frame.channel for frame in log.frames} <= set(channels)
    assert {sensor.kind for sensor in log.sensors} <= SENSOR_KINDS
    for frame in log.frames:
        assert frame.codec in CODECS, f"formats.media.CODECS lacks {frame.codec}"
        assert frame.world_from_ego is None or len(frame.world_from_ego) == 7
    assert len({(frame.channel, frame.t_ns) for frame in log.frames}) == len(log.frames)
    assert len({(r.channel, r.signal) for r in log.readings}) == len(log.readings)
    for series in log.readings:
        assert series.channel in channels
        assert (np.diff(series.t_ns) > 0).all(), (
            f"times of {series.channel} {series.signal} ascend"
        )
        for told in (series.value, series.text):
            assert told is None or len(told) == len(series.t_ns)
    assert all(window.t0_ns <= window.t1_ns for window in log.windows)
    assert all(note.kind in NOTE_KINDS and note.reason for note in log.notes)
    assert log.dataset
    assert log.source_log_id
    assert log.rate_hz > 0.0


class ReaderContract:
    """Laws of :class:`formats.registry.Reader`, over one small source that has at least one log."""

    @pytest.fixture
    def module(self) -> Reader:
        """The reading module."""
        raise NotImplementedError

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        """A source that it reads; below a folder of its own."""
        raise NotImplementedError

    def test_is_found_at_itself_and_from_above(self, module: Reader, source: Path) -> None:
        assert list(module.sources(source)) == [source]
        assert source in list(module.sources(source.parent))

    def test_ignores_foreign_files(self, module: Reader, tmp_path: Path) -> None:
        folder = tmp_path / "foreign"
        (folder / "deeper").mkdir(parents=True)
        for name, content in FOREIGN.items():
            (folder / name).write_bytes(content)
            (folder / "deeper" / name).write_bytes(content)
        assert list(module.sources(folder)) == []
        for name in FOREIGN:
            assert list(module.sources(folder / name)) == []

    def test_no_other_reader_claims_it(self, module: Reader, source: Path) -> None:
        """But the map beside a log may be a log of its own, with nobody on it."""
        own = {source, *module.files(source)}
        for name, claimed in registry.detect(source.parent):
            if registry.reader(name) is not module:
                assert claimed not in own or (name in MAP_READERS and claimed != source), name

    def test_entities_of_xml_lead_nowhere(
        self, module: Reader, source: Path, tmp_path: Path
    ) -> None:
        secret = tmp_path / "secret.txt"
        secret.write_text(SECRET)
        for path in module.files(source):
            whole = path.read_bytes()
            if not whole.lstrip().startswith(b"<"):
                continue
            for content in hostile_xml(whole, secret):
                path.write_bytes(content)
                try:
                    told = [str(item) for item in module.read(source)]
                except BadInput as error:
                    told = [str(error)]
                assert not any(SECRET in text for text in told)
            path.write_bytes(whole)

    def test_files_are_there(self, module: Reader, source: Path) -> None:
        found = list(module.files(source))
        assert found
        assert all(path.is_file() for path in found)
        assert len(set(found)) == len(found)

    def test_logs_keep_the_promises_of_records(self, module: Reader, source: Path) -> None:
        logs = [item for item in module.read(source) if not isinstance(item, Rejected)]
        assert logs
        for log in logs:
            check_log(log)
        parts = [(log.dataset, log.source_log_id, log.part) for log in logs]
        assert len(set(parts)) == len(parts)

    def test_reads_the_same_twice(self, module: Reader, source: Path) -> None:
        for one, two in zip(module.read(source), module.read(source), strict=True):
            if isinstance(one, Rejected) or isinstance(two, Rejected):
                assert one == two
                continue
            np.testing.assert_array_equal(one.agents.xyz, two.agents.xyz)
            assert list(one.agents.source_track_id) == list(two.agents.source_track_id)
            np.testing.assert_array_equal(one.map.edges, two.map.edges)

    def test_comes_back_from_the_lake(self, module: Reader, source: Path, tmp_path: Path) -> None:
        """Coordinates to a millimetre; stamps, ids, classes and light states verbatim."""
        (name,) = (n for n, f in FORMATS.items() if f.reader == module.__name__)
        lake = Lake.create(tmp_path / "there and back")
        lake.ingest([source], format=name, on_error="skip")
        check_round_trip(logs_of(module, source), lake)

    @pytest.mark.parametrize("share", [0.0, 0.5])
    def test_a_cut_off_file_is_named(
        self, module: Reader, source: Path, tmp_path: Path, share: float
    ) -> None:
        found = list(module.files(source))
        home = Path(os.path.commonpath([source, *found]))  # a map may lie beside the source
        for number, path in enumerate(found):
            folder = tmp_path / f"cut{number}"
            if source.is_dir():
                copied = Path(shutil.copytree(home, folder / home.name))
                copy, broken = copied / source.relative_to(home), copied / path.relative_to(home)
            else:
                folder.mkdir()
                for sibling in module.files(source):
                    shutil.copy(sibling, folder / sibling.name)
                copy, broken = folder / source.name, folder / path.name
            content = path.read_bytes()
            broken.write_bytes(content[: int(len(content) * share)])
            said = _reasons(module, copy)
            assert said, f"{broken} was read as if it were whole"
            assert any(broken.name in reason for reason in said) or said == ["rejected"]

    def test_damaged_bytes_are_refused_or_read(self, module: Reader, source: Path) -> None:
        """Nothing but ``BadInput`` comes out of a reader, and nothing that is no log."""
        faults = []
        for seed in SEEDS:
            cases = [
                (path, name, content)
                for path in module.files(source)
                for name, content in damaged(path, random.Random(f"{path.name} {seed}"))
            ]
            dice = random.Random(seed)
            for path, name, content in dice.sample(cases, min(DAMAGES, len(cases))):
                whole = path.read_bytes()
                path.write_bytes(content)
                try:
                    with warnings.catch_warnings():  # of arithmetic with what is not finite
                        warnings.simplefilter("ignore", RuntimeWarning)
                        list(module.files(source))
                        for item in module.read(source):
                            if not isinstance(item, Rejected):
                                check_log(item)
                except BadInput:
                    pass
                except Exception as error:  # noqa: BLE001 (any of them is a fault)
                    place = traceback.extract_tb(error.__traceback__)[-1]
                    where = f"{Path(place.filename).name}:{place.lineno}"
                    faults.append(f"{path.name}, {name}, seed {seed}: {error!r} at {where}")
                finally:
                    path.write_bytes(whole)
        assert not faults, "\n".join(faults)


def _reasons(module: Reader, source: Path) -> list[str]:
    """Why a source could not be read; ``rejected`` if a record of it was turned down."""
    try:
        rejected = any(isinstance(item, Rejected) for item in module.read(source))
    except BadInput as error:
        return [str(error)]
    return ["rejected"] if rejected else []
