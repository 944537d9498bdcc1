"""Waymo perception dataset, version 2: one parquet table a component and segment.

    <split>/vehicle_pose/<segment>.parquet     a row a frame; the source, the others lie beside it
    <split>/lidar_box/<segment>.parquet        a row a box
    <split>/camera_image/<segment>.parquet     a row an image, the JPEG in a column of it
    <split>/lidar/<segment>.parquet            a row a lidar and frame: range images as lists
    <split>/lidar_pose/<segment>.parquet       a row a frame: poses of each pixel of the roof's lidar
    <split>/camera_calibration, lidar_calibration, stats, …

Columns are ``key.segment_context_name``, ``key.frame_timestamp_micros`` and so on, then
``[LiDARBoxComponent].box.center.x`` and so on. Images are referred to by column and row, lidar
captures by row; :func:`from_table` makes a payload of the latter. This version has no map and no
zones without labels. Left out, with their number in a note: whatever of :data:`UNREAD` is there,
accelerations, difficulty levels. Source: ``v2/perception`` of
github.com/waymo-research/waymo-open-dataset.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from formats import parquet_rows, tree
from formats.files import GZIP_SUFFIX, plain_name, present, read_bytes
from formats.registry import Rejected
from formats.unpacked import parquet_bytes, refuse_bomb, text_bytes, text_columns
from formats.waymo import split_of
from formats.waymo_protos import enum_words, message_class
from formats.waymo_range_image import packed_matrix
from formats.waymo_segment import CameraModel, Image, LidarModel, Segment, Sweep, log_of, type_word
from schemas.errors import UnreadableFile
from schemas.records import Log, Note

DATASET = "waymo_perception_v2"
CONTAINER = "waymo_v2_lidar"

ANCHOR = "vehicle_pose"
READ = (ANCHOR, "lidar_box", "stats", "camera_calibration", "lidar_calibration")
"""Components that are read in whole."""
PAYLOADS = ("camera_image", "lidar")
"""Components with sensor bytes; only their other columns are read."""
UNREAD = {
    "camera_box": "2D labels of camera images",
    "projected_lidar_box": "boxes projected to camera images",
    "lidar_camera_synced_box": "camera-synchronised boxes",
    "camera_to_lidar_box_association": "links from 2D labels to boxes",
    "lidar_camera_projection": "projections of range images to camera images",
    "camera_segmentation": "segmentation labels of camera images",
    "lidar_segmentation": "segmentation labels of range images",
    "lidar_flow": "scene-flow labels of range images",
    "camera_hkp": "key points in camera images",
    "lidar_hkp": "key points in lidar frames",
    "object_asset_camera_sensor": "object assets",
}
COMPONENTS = (*READ, *PAYLOADS, "lidar_pose", *UNREAD)

SEGMENT, STAMP = "key.segment_context_name", "key.frame_timestamp_micros"
CAMERA, LASER, OBJECT = "key.camera_name", "key.laser_name", "key.laser_object_id"
POSE = "[VehiclePoseComponent].world_from_vehicle.transform"
BOX = "[LiDARBoxComponent]."
BOX_COLUMNS = tuple(
    BOX + name
    for name in (
        "box.center.x", "box.center.y", "box.center.z", "box.size.x", "box.size.y", "box.size.z",
        "box.heading",
    )
)  # fmt: skip
SPEED = tuple(f"{BOX}speed.{axis}" for axis in "xy")
IMAGE = "[CameraImageComponent]."
VELOCITY = tuple(
    f"{IMAGE}velocity.{kind}_velocity.{axis}" for kind in ("linear", "angular") for axis in "xyz"
)
SHUTTER = tuple(
    f"{IMAGE}rolling_shutter_params.{name}"
    for name in ("camera_trigger_time", "camera_readout_done_time", "shutter")
)
LENS = tuple(
    f"[CameraCalibrationComponent].intrinsic.{name}"
    for name in ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3")
)
RANGE_IMAGE = "[LiDARComponent].range_image_return"
PIXEL_POSE = "[LiDARPoseComponent].range_image_return1"


def sources(path: Path) -> Iterator[Path]:
    """Of each segment at or under a path one table: its vehicle poses, if it has them."""
    segments: dict[tuple[Path, str], None] = {}
    for file in tree.matching(path, "*.parquet"):
        if file.parent.name in COMPONENTS:
            segments[file.parent.parent, plain_name(file)] = None
    for root, name in sorted(segments):
        tables = [found for c in COMPONENTS if (found := present(root / c / name)) is not None]
        if any(_has_keys(table) for table in tables):
            yield tables[0]


def files(source: Path) -> Iterator[Path]:
    """The segment's tables but those of sensor bytes."""
    for component in READ:
        found = _table_path(source, component)
        if found is not None:
            yield found


def read(source: Path) -> Iterator[Log | Rejected]:
    """The log of a segment.

    Raises:
        UnreadableFile: A table is broken, or there are no poses of the vehicle.
    """
    if source.parent.name not in COMPONENTS or not source.is_file():
        raise UnreadableFile(source, "is no table in a folder of a Waymo v2 component")
    path = _table_path(source, ANCHOR)
    if path is None:
        reason = f"has no table of the same name in {ANCHOR}/, so its boxes have no place"
        raise UnreadableFile(source, reason, hint=f"Fetch {ANCHOR}/ as well.")
    table = _read(path, (SEGMENT, STAMP, POSE))
    if not table.num_rows:
        raise UnreadableFile(path, "holds no frames")
    name = str(table[SEGMENT][0].as_py())
    segment = Segment(name=name)
    table = _of_segment(table, segment)
    if not table.num_rows:
        raise UnreadableFile(path, "holds no frames of a segment that has a name")
    segment.micros += _stamps(path, table)
    segment.poses += [_numbers(pose) for pose in table[POSE].to_pylist()]
    frame_of = {stamp: number for number, stamp in reversed(list(enumerate(segment.micros)))}
    _add_boxes(source, segment, frame_of)
    _add_calibrations(source, segment)
    _add_images(source, segment)
    _add_sweeps(source, segment, frame_of)
    _add_stats(source, segment)
    segment.notes.append(Note(kind="missing", reason="no map: version 2 of the dataset has none"))
    for component, what in UNREAD.items():
        found = _table_path(source, component)
        if found is not None:
            reason, count = f"{what} are not carried over", _rows(found)
            segment.notes.append(Note(kind="dropped", reason=reason, count=count))
    yield log_of(segment, dataset=DATASET, source_uri=str(source), split=split_of(source.parent))


def from_table(file: BinaryIO, _: str, row: int | None, __: int | None) -> bytes:
    """The payload of one row of a ``lidar`` table, as :mod:`formats.waymo_range_image` decodes it.

    Calibration and poses come from the tables of the same segment beside it.
    """
    path = Path(str(file.name))
    images = [f"{RANGE_IMAGE}{k}.{part}" for k in (1, 2) for part in ("values", "shape")]
    told = _row(path, row or 0, (STAMP, LASER, *images))
    code = _code(told[LASER], "LaserName.Name")
    frame = message_class("Frame")(timestamp_micros=told[STAMP])
    laser = frame.lasers.add(name=code)
    for number, target in ((1, laser.ri_return1), (2, laser.ri_return2)):
        packed = _packed(told, f"{RANGE_IMAGE}{number}")
        if packed:
            target.range_image_compressed = packed
    calibration = _lidars(_read_beside(path, "lidar_calibration"))[code]
    model = frame.context.laser_calibrations.add(
        name=code,
        beam_inclination_min=calibration.inclination_range[0],
        beam_inclination_max=calibration.inclination_range[1],
    )
    model.beam_inclinations.extend(calibration.inclinations)
    model.extrinsic.transform.extend(calibration.extrinsic)
    poses = _read_beside(path, ANCHOR)
    frame.pose.transform.extend(_numbers(poses[POSE][_find(poses, told, STAMP)].as_py()))
    by_pixel = _table_path(path, "lidar_pose")
    if by_pixel is not None:
        keys = _read(by_pixel, (STAMP, LASER))
        if told[LASER] in keys[LASER].to_pylist():
            where = _find(keys, told, STAMP, LASER)
            pose = _row(by_pixel, where, (f"{PIXEL_POSE}.values", f"{PIXEL_POSE}.shape"))
            laser.ri_return1.range_image_pose_compressed = _packed(pose, PIXEL_POSE)
    payload: bytes = frame.SerializeToString()
    return payload


# ── Components ───────────────────────────────────────────────────────────────────────────────────


def _add_boxes(source: Path, segment: Segment, frame_of: dict[int, int]) -> None:
    path = _table_path(source, "lidar_box")
    if path is None:
        segment.notes.append(Note(kind="missing", reason="no boxes (lidar_box)"))
        return
    kind = f"{BOX}type"
    acceleration, difficulty = f"{BOX}acceleration.x", f"{BOX}difficulty_level.detection"
    table = _read(
        path, (SEGMENT, STAMP, OBJECT, kind, *BOX_COLUMNS), (*SPEED, acceleration, difficulty)
    )
    table = _of_segment(table, segment)
    stamps = _stamps(path, table)
    told = [
        np.array(table[name].to_pylist(), dtype=np.float64)
        if name in table.column_names
        else np.full(table.num_rows, np.nan)
        for name in (*BOX_COLUMNS, *SPEED)
    ]
    values = np.stack(told, axis=1).tolist()
    ids, kinds = table[OBJECT].to_pylist(), table[kind].to_pylist()
    for stamp, source_id, code, row in zip(stamps, ids, kinds, values, strict=True):
        if stamp not in frame_of:
            frame_of[stamp] = len(segment.micros)
            segment.micros.append(stamp)
            segment.poses.append(())
        word = type_word(int(code or 0))
        segment.boxes.append((frame_of[stamp], str(source_id), word, row))
    for name, what in (
        (acceleration, "accelerations and vertical speeds of boxes"),
        (difficulty, "difficulty levels and point counts of boxes"),
    ):
        count = table.num_rows - table[name].null_count if name in table.column_names else 0
        if count:
            reason = f"{what} are not carried over"
            segment.notes.append(Note(kind="dropped", reason=reason, count=count))


def _add_calibrations(source: Path, segment: Segment) -> None:
    path = _table_path(source, "camera_calibration")
    if path is not None:
        extrinsic = "[CameraCalibrationComponent].extrinsic.transform"
        size = [f"[CameraCalibrationComponent].{side}" for side in ("width", "height")]
        shutter = "[CameraCalibrationComponent].rolling_shutter_direction"
        table = _read(path, (SEGMENT, CAMERA, *LENS, extrinsic, *size), (shutter,))
        directions = enum_words("CameraCalibration.RollingShutterReadOutDirection")
        for row in _of_segment(table, segment).to_pylist():
            name = enum_words("CameraName.Name")[_code(row[CAMERA], "CameraName.Name")]
            segment.cameras[name] = CameraModel(
                name=name,
                intrinsic=tuple(float(row[column] or 0.0) for column in LENS),
                extrinsic=_numbers(row[extrinsic]),
                width=int(row[size[0]] or 0),
                height=int(row[size[1]] or 0),
                shutter=directions[int(row.get(shutter) or 0) % len(directions)],
            )
    path = _table_path(source, "lidar_calibration")
    if path is not None:
        models = _lidars(_of_segment(_read_calibration(path), segment))
        segment.lidars |= {model.name: model for model in models.values()}


def _add_images(source: Path, segment: Segment) -> None:
    """Images by reference; the column of pixels is not touched."""
    path = _table_path(source, "camera_image")
    if path is None:
        return
    if path.suffix == GZIP_SUFFIX:
        _note_packed(segment, path)
        return
    pose, stamped = f"{IMAGE}pose.transform", f"{IMAGE}pose_timestamp"
    table = _read(path, (SEGMENT, STAMP, CAMERA), (pose, stamped, *VELOCITY, *SHUTTER))
    words = enum_words("CameraName.Name")
    lost = 0
    for number, row in enumerate(table.to_pylist()):
        stamp = row.get(stamped)
        stamp = row[STAMP] / 1e6 if stamp is None else stamp
        if row[SEGMENT] != segment.name or not math.isfinite(stamp):
            lost += 1
            continue
        velocity = tuple(row.get(name) for name in VELOCITY)
        trigger, readout, shutter = (_finite(row.get(name)) for name in SHUTTER)
        segment.images.append(
            Image(
                camera=words[_code(row[CAMERA], "CameraName.Name")],
                stamp=stamp,
                trigger=trigger,
                readout=readout,
                shutter=shutter,
                pose=_numbers(row.get(pose)),
                velocity=() if None in velocity else tuple(float(v or 0.0) for v in velocity),
                uri=str(path),
                offset=number,
                size=None,
                container=f"parquet:{IMAGE}image",
            )
        )
    if lost:
        reason = "images of another segment or without a finite stamp"
        segment.notes.append(Note(kind="missing", reason=reason, count=lost))


def _add_sweeps(source: Path, segment: Segment, frame_of: dict[int, int]) -> None:
    """Lidar captures by reference; range images are not touched."""
    path = _table_path(source, "lidar")
    if path is None:
        return
    if path.suffix == GZIP_SUFFIX:
        _note_packed(segment, path)
        return
    table = _read(path, (SEGMENT, STAMP, LASER))
    words = enum_words("LaserName.Name")
    lost = 0
    for number, row in enumerate(table.to_pylist()):
        if row[STAMP] not in frame_of or row[SEGMENT] != segment.name:
            lost += 1
            continue
        segment.sweeps.append(
            Sweep(
                lidar=words[_code(row[LASER], "LaserName.Name")], frame=frame_of[row[STAMP]],
                uri=str(path), offset=number, size=None, container=CONTAINER,
            )
        )  # fmt: skip
    if lost:
        reason = "lidar captures of frames that are not told"
        segment.notes.append(Note(kind="dropped", reason=reason, count=lost))


def _add_stats(source: Path, segment: Segment) -> None:
    path = _table_path(source, "stats")
    if path is None:
        return
    names = [f"[StatsComponent].{name}" for name in ("time_of_day", "location", "weather")]
    counts = [
        f"[StatsComponent].{kind}_object_counts.{part}"
        for kind in ("lidar", "camera")
        for part in ("types", "counts")
    ]
    table = _of_segment(_read(path, (SEGMENT, *names), counts), segment)
    if not table.num_rows:
        return
    row = table.slice(0, 1).to_pylist()[0]
    segment.time_of_day, segment.location, segment.weather = (row[n] or "" for n in names)
    for kind, types, number in (
        ("laser_object_counts", *counts[:2]), ("camera_object_counts", *counts[2:])
    ):  # fmt: skip
        pairs = zip(row.get(types) or (), row.get(number) or (), strict=False)
        told = {type_word(int(code or 0)): int(count or 0) for code, count in pairs}
        if told:
            segment.extra[kind] = told


def _lidars(table: pa.Table) -> dict[int, LidarModel]:
    """Models by the code of the lidar."""
    prefix = "[LiDARCalibrationComponent]."
    models = {}
    for row in table.to_pylist():
        code = _code(row[LASER], "LaserName.Name")
        models[code] = LidarModel(
            name=enum_words("LaserName.Name")[code],
            extrinsic=_numbers(row[f"{prefix}extrinsic.transform"]),
            inclinations=_numbers(row.get(f"{prefix}beam_inclination.values")),
            inclination_range=(
                float(row.get(f"{prefix}beam_inclination.min") or 0.0),
                float(row.get(f"{prefix}beam_inclination.max") or 0.0),
            ),
        )
    return models


# ── Tables ───────────────────────────────────────────────────────────────────────────────────────


def _table_path(source: Path, component: str) -> Path | None:
    """The table of a component for the segment of a table."""
    return present(source.parent.parent / component / plain_name(source))


def _open(path: Path, *, texts: Sequence[str] = ()) -> Any:
    """The parquet file, some columns of text to be read as dictionaries.

    Raises:
        UnreadableFile: It is not there or is none.
    """
    try:
        if path.suffix == GZIP_SUFFIX:
            return parquet_rows.opened(pa.BufferReader(read_bytes(path)), texts=texts)
        return parquet_rows.opened(path, texts=texts)
    except FileNotFoundError as error:
        raise UnreadableFile(path, "does not exist") from error
    except PermissionError as error:
        raise UnreadableFile(path, "may not be read", hint="Check its permissions.") from error
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> UnreadableFile:
    said = str(error).splitlines()[0] if str(error) else "not understood"
    return UnreadableFile(
        path, f"is no table that can be read ({said})", hint="Fetch the file again."
    )


def _read(path: Path, wanted: Sequence[str], more: Sequence[str] = ()) -> pa.Table:
    """Some columns of a table, and further ones where it has them.

    Raises:
        UnreadableFile: The table is broken, lacks a wanted column, or would fill the memory.
    """
    file = _open(path)
    there = set(file.schema_arrow.names)
    missing = [name for name in wanted if name not in there]
    if missing:
        raise UnreadableFile(
            path,
            f"lacks the columns {', '.join(missing)}",
            hint=f"It has {', '.join(file.schema_arrow.names) or 'none'}.",
        )
    chosen = [*wanted, *(name for name in more if name in there)]
    size = path.stat().st_size
    fixed = parquet_bytes(file.metadata, chosen)
    refuse_bomb(path, fixed, size=size)
    schema = pa.schema([file.schema_arrow.field(name) for name in chosen])
    try:
        table = _open(path, texts=text_columns(schema)).read(columns=chosen).select(chosen)
        refuse_bomb(path, fixed + sum(map(text_bytes, table.columns)), size=size)
        table.validate(full=True)
        table = table.cast(schema)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _broken(path, error) from error
    return table


def _read_calibration(path: Path) -> pa.Table:
    prefix = "[LiDARCalibrationComponent]."
    beams = [f"{prefix}beam_inclination.{name}" for name in ("min", "max", "values")]
    return _read(path, (SEGMENT, LASER, f"{prefix}extrinsic.transform"), beams)


def _read_beside(path: Path, component: str) -> pa.Table:
    beside = _table_path(path, component)
    if beside is None:
        raise UnreadableFile(path, f"has no table of the same name in {component}/")
    return (
        _read_calibration(beside)
        if component == "lidar_calibration"
        else _read(beside, (STAMP, POSE))
    )


def _row(path: Path, row: int, columns: Sequence[str]) -> dict[str, Any]:
    """One row; of the table, no more is in memory."""
    file = _open(path)
    there = [name for name in columns if name in file.schema_arrow.names]
    found = parquet_rows.row(file, row, there)
    # Lists of floats stay arrays: as Python numbers, a range image takes half a second.
    return {name: _value(found[name][0]) for name in there}


def _value(cell: Any) -> Any:
    is_list = isinstance(cell, pa.ListScalar | pa.FixedSizeListScalar) and cell.is_valid
    return cell.values.to_numpy(zero_copy_only=False) if is_list else cell.as_py()


def _packed(told: dict[str, Any], image: str) -> bytes:
    """A range image of a row as the other format keeps it; nothing if the row has none."""
    values, shape = told.get(f"{image}.values"), told.get(f"{image}.shape")
    if values is None or shape is None or not len(values):
        return b""
    return packed_matrix(np.asarray(values, dtype=np.float32).reshape([int(n) for n in shape]))


def _find(table: pa.Table, told: dict[str, Any], *keys: str) -> int:
    """The first row with the same keys."""
    rows = zip(*(table[key].to_pylist() for key in keys), strict=True)
    wanted = tuple(told[key] for key in keys)
    for number, row in enumerate(rows):
        if row == wanted:
            return number
    raise KeyError(f"no row for {wanted}")


def _has_keys(path: Path) -> bool:
    """Whether a table is one of Waymo's; a broken one that is called so is, or it would be lost."""
    try:
        return SEGMENT in _open(path).schema_arrow.names
    except UnreadableFile:
        return path.parent.name == ANCHOR


def _rows(path: Path) -> int:
    return int(_open(path).metadata.num_rows)


def _of_segment(table: pa.Table, segment: Segment) -> pa.Table:
    """The rows of the segment; a table should hold no others."""
    own = [name == segment.name for name in table[SEGMENT].to_pylist()]
    if not all(own):
        reason = "rows of another segment in the segment's tables"
        count = len(own) - sum(own)
        segment.notes.append(Note(kind="dropped", reason=reason, count=count))
        table = table.filter(pa.array(own))
    return table


def _stamps(path: Path, table: pa.Table) -> list[int]:
    column = table[STAMP]
    if not pa.types.is_integer(column.type) or column.null_count:
        raise UnreadableFile(path, "has stamps that are no whole microseconds")
    return [int(stamp) for stamp in column.to_pylist()]


def _numbers(values: Sequence[float | None] | None) -> tuple[float, ...]:
    """A list of a cell; one with holes counts as none."""
    if values is None or any(value is None for value in values):
        return ()
    return tuple(float(value) for value in values if value is not None)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _code(name: int | str | None, enum: str) -> int:
    """A sensor's code; early tables hold the word."""
    words = enum_words(enum)
    if isinstance(name, str):
        return words.index(name) if name in words else 0
    return int(name) if name is not None and 0 <= int(name) < len(words) else 0


def _note_packed(segment: Segment, path: Path) -> None:
    reason = f"captures in {path.name} cannot be referred to while it is packed"
    note = Note(kind="missing", reason=reason, count=_rows(path))
    segment.notes.append(note)
