"""Waymo perception dataset: ``Frame`` protobufs in TFRecord files (format versions 1.0 to 1.4).

A file holds the frames of one run segment, ten a second for 20 s, each a megabyte or five: labels,
camera JPEGs, lidar range images. A segment is a log. Images and range images stay where they are: an
image is referred to by the place of its JPEG within the file, a lidar capture by the place of its
frame, out of which :mod:`formats.waymo_range_image` cuts that lidar. From version 1.4 on, the first
frame of a segment holds its map.

Left out, with their number in a note: 2D labels of cameras, projected boxes, camera-synchronised
boxes, accelerations, key points, segmentation and scene-flow labels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from formats.files import GZIP_SUFFIX
from formats.registry import Rejected
from formats.tfrecord import Record, read_records
from formats.waymo import split_of, text, tfrecords
from formats.waymo_map import read_map
from formats.waymo_protos import enum_words, message_class
from formats.waymo_range_image import CONTAINER, PACKED
from formats.waymo_segment import CameraModel, Image, LidarModel, Segment, Sweep, log_of, type_word
from formats.wire import Field, fields
from schemas.errors import BadRecord
from schemas.labels import MapLayer
from schemas.records import Log, MapFeature, Note, RoadMap

DATASET = "waymo_perception"
NO_LABEL_ZONE = "no_label_zone"
"""Type of the map's areas in which nothing was labelled."""

IMAGES, JPEG = 4, 2  # fields of Frame and of CameraImage

LEFT_OUT: Mapping[str, str] = {
    "camera_labels": "2D labels of camera images are not carried over",
    "projected_lidar_labels": "boxes projected to camera images are not carried over",
    "camera_synced_box": "camera-synchronised boxes are not carried over",
    "acceleration": "accelerations and vertical speeds of boxes are not carried over",
    "difficulty": "difficulty levels and point counts of boxes are not carried over",
    "keypoints": "key points are not carried over",
    "camera_segmentation_label": "segmentation labels of camera images are not carried over",
    "laser_segmentation": "segmentation and flow labels of range images are not carried over",
}


def sources(path: Path) -> Iterator[Path]:
    """TFRecord files whose first record begins as a ``Frame`` does."""
    yield from tfrecords(path, "frame")


def files(source: Path) -> Iterator[Path]:
    """The file itself."""
    yield source


def read(source: Path) -> Iterator[Log | Rejected]:
    """The segments of a file, usually one; frames that are damaged or none are rejected."""
    gathered: _Gathered | None = None
    told: Counter[str] = Counter()
    for record in read_records(source):
        if isinstance(record, BadRecord):
            yield Rejected(record=record.record, reason=record.reason)
            continue
        name = f"record {record.number}"
        try:
            frame = message_class("Frame").FromString(record.data)
            places = _jpegs(record.data)
        except (DecodeError, ValueError):  # ValueError: groups, or words that are no UTF-8
            yield Rejected(record=name, reason="is not a Waymo Frame message")
            continue
        segment = text(frame.context.name)
        if not segment or not frame.HasField("timestamp_micros"):
            yield Rejected(record=name, reason="is a Frame without context name or timestamp")
            continue
        if gathered is not None and gathered.name != segment:
            yield gathered.log(told)
            gathered = None
        gathered = gathered or _Gathered(segment, source)
        gathered.add(frame, record, places)
    if gathered is not None:
        yield gathered.log(told)


class _Gathered:
    """The frames of a segment so far."""

    def __init__(self, name: str, source: Path) -> None:
        self.name = name
        self._source = source
        self._packed = source.suffix == GZIP_SUFFIX
        self._segment = Segment(name=name)
        self._zones: dict[str, np.ndarray] = {}
        self._left_out: Counter[str] = Counter()
        self._map: tuple[RoadMap, Sequence[Note]] = (RoadMap.none(), ())

    def add(self, frame: Any, record: Record, places: Sequence[Field | None]) -> None:
        """Take what one frame tells; ``places`` says where the JPEG of each image lies in it."""
        segment, number = self._segment, len(self._segment.micros)
        segment.micros.append(frame.timestamp_micros)
        segment.poses.append(tuple(frame.pose.transform))
        offset = frame.map_pose_offset
        has_offset = frame.HasField("map_pose_offset")
        segment.map_offset.append(
            (offset.x, offset.y, offset.z) if has_offset else (math.nan,) * 3
        )
        if number == 0:
            self._add_context(frame.context)
        if len(frame.map_features) and not self._map[0].features:
            self._map = read_map(frame.map_features, self.name)
        self._add_boxes(frame, number)
        self._add_images(frame, record, places)
        self._add_sweeps(frame, record, number)
        for zone in frame.no_label_zones:
            outline = np.column_stack([zone.x, zone.y, np.zeros(len(zone.x))])
            if len(zone.x) == len(zone.y) > 0 and np.isfinite(outline).all():
                self._zones.setdefault(text(zone.id) or repr(outline.tolist()), outline)

    def log(self, told: Counter[str]) -> Log:
        """The log of the segment; ``told`` counts how often each name was used in the file."""
        segment = self._segment
        segment.map, notes = self._map
        segment.notes += notes
        if not segment.map.features:
            segment.notes.append(Note(kind="missing", reason="no map"))
        self._add_zones()
        segment.notes += [
            Note(kind="dropped", reason=LEFT_OUT[what], count=count)
            for what, count in sorted(self._left_out.items())
        ]
        told[segment.name] += 1
        if told[segment.name] > 1:
            segment.name = f"{segment.name}#{told[segment.name]}"
            reason = "the segment's frames do not stand together: its later part has a number"
            segment.notes.append(Note(kind="renamed", reason=reason))
        return log_of(
            segment, dataset=DATASET, source_uri=str(self._source), split=split_of(self._source)
        )

    def _add_context(self, context: Any) -> None:
        segment = self._segment
        cameras, lasers = enum_words("CameraName.Name"), enum_words("LaserName.Name")
        shutters = enum_words("CameraCalibration.RollingShutterReadOutDirection")
        for told in context.camera_calibrations:
            segment.cameras[cameras[told.name]] = CameraModel(
                name=cameras[told.name],
                intrinsic=tuple(told.intrinsic),
                extrinsic=tuple(told.extrinsic.transform),
                width=told.width,
                height=told.height,
                shutter=shutters[told.rolling_shutter_direction],
            )
        for told in context.laser_calibrations:
            segment.lidars[lasers[told.name]] = LidarModel(
                name=lasers[told.name],
                extrinsic=tuple(told.extrinsic.transform),
                inclinations=tuple(told.beam_inclinations),
                inclination_range=(told.beam_inclination_min, told.beam_inclination_max),
            )
        stats = context.stats
        segment.time_of_day, segment.location = text(stats.time_of_day), text(stats.location)
        segment.weather = text(stats.weather)
        for name in ("laser_object_counts", "camera_object_counts"):
            counts = {type_word(told.type): told.count for told in getattr(stats, name)}
            if counts:
                segment.extra[name] = counts

    def _add_boxes(self, frame: Any, number: int) -> None:
        left_out = self._left_out
        for label in frame.laser_labels:
            box, metadata = label.box, label.metadata
            moving = metadata.HasField("speed_x") and metadata.HasField("speed_y")
            velocity = (metadata.speed_x, metadata.speed_y) if moving else (math.nan, math.nan)
            values = (
                box.center_x, box.center_y, box.center_z, box.length, box.width, box.height,
                box.heading, *velocity,
            )  # fmt: skip
            self._segment.boxes.append((number, text(label.id), type_word(label.type), values))
            left_out["camera_synced_box"] += label.HasField("camera_synced_box")
            left_out["acceleration"] += metadata.HasField("accel_x")
            left_out["difficulty"] += label.HasField("num_lidar_points_in_box")
            left_out["keypoints"] += label.HasField("laser_keypoints")
        for name in ("camera_labels", "projected_lidar_labels"):
            left_out[name] += sum(len(told.labels) for told in getattr(frame, name))
        self._left_out = +left_out

    def _add_images(self, frame: Any, record: Record, places: Sequence[Field | None]) -> None:
        words = enum_words("CameraName.Name")
        lost = 0
        for image, place in zip(frame.images, places, strict=True):
            if place is None or not place.size or not math.isfinite(image.pose_timestamp):
                lost += 1
                continue
            speed = image.velocity
            self._segment.images.append(
                Image(
                    camera=words[image.name],
                    stamp=image.pose_timestamp
                    if image.HasField("pose_timestamp")
                    else frame.timestamp_micros / 1e6,
                    trigger=_told(image, "camera_trigger_time"),
                    readout=_told(image, "camera_readout_done_time"),
                    shutter=_told(image, "shutter"),
                    pose=tuple(image.pose.transform),
                    velocity=(speed.v_x, speed.v_y, speed.v_z, speed.w_x, speed.w_y, speed.w_z)
                    if image.HasField("velocity")
                    else (),
                    uri=str(self._source),
                    offset=record.offset + place.begin,
                    size=place.size,
                    container="gzip" if self._packed else None,
                )
            )
            self._left_out["camera_segmentation_label"] += image.HasField(
                "camera_segmentation_label"
            )
        self._left_out = +self._left_out
        if lost:
            reason = "images without pixels or a finite stamp"
            name = f"record {record.number}"
            note = Note(kind="missing", reason=reason, count=lost, record=name)
            self._segment.notes.append(note)

    def _add_sweeps(self, frame: Any, record: Record, number: int) -> None:
        words = enum_words("LaserName.Name")
        for laser in frame.lasers:
            returns = (laser.ri_return1, laser.ri_return2)
            if not any(told.range_image_compressed for told in returns):
                continue
            word = words[laser.name]
            self._segment.sweeps.append(
                Sweep(
                    lidar=word,
                    frame=number,
                    uri=str(self._source),
                    offset=record.offset,
                    size=len(record.data),
                    container=f"{CONTAINER}:{word}{PACKED if self._packed else ''}",
                )
            )
            self._left_out["laser_segmentation"] += any(
                told.HasField("segmentation_label_compressed")
                or told.HasField("range_image_flow_compressed")
                for told in returns
            )
        self._left_out = +self._left_out

    def _add_zones(self) -> None:
        """Zones without labels join the map: they say where agents may be missing."""
        features = list(self._segment.map.features)
        for source_id, outline in self._zones.items():
            features.append(
                MapFeature(
                    feature_id=len(features), source_id=source_id, layer=MapLayer.OTHER,
                    points=outline, source_type=NO_LABEL_ZONE, has_z=False,
                )
            )  # fmt: skip
        if self._zones:
            edges = self._segment.map.edges
            self._segment.map = RoadMap(source_map_id=self.name, features=features, edges=edges)


def _jpegs(frame: bytes) -> list[Field | None]:
    """Where the JPEG of each image of a frame lies.

    Raises:
        ValueError: That is no message.
    """
    images = [field for field in fields(frame) if field.number == IMAGES]
    return [
        next((f for f in fields(frame, begin=i.begin, end=i.end) if f.number == JPEG), None)
        for i in images
    ]


def _told(message: Any, name: str) -> float | None:
    """A number of a message, None where it has none or it is not finite."""
    value = float(getattr(message, name))
    return value if message.HasField(name) and math.isfinite(value) else None
