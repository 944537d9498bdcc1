"""One scene of nuScenes or its kin to a log; see :mod:`formats.nuscenes` for what becomes of what."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from formats.files import read_json
from formats.json_table import Record, records
from formats.nuscenes_can import CanBus, CanPose, read_can_bus
from formats.nuscenes_map import ORIGINS_WGS84
from formats.nuscenes_tables import NUSCENES, T4, Maps, Tables, quaternion, stamp_ns, vector
from formats.nuscenes_words import MINI, SWEEP_COLUMNS, VALIDATION, class_of, conditions
from formats.tally import Tally
from geometry.arrays import Array
from geometry.frames import rotation_from_quaternion, yaw_from_quaternion
from schemas.errors import BadInput, UnreadableFile
from schemas.labels import AgentClass, Daylight, Weather
from schemas.records import (
    EgoStates,
    Frame,
    Log,
    Observations,
    Readings,
    RoadMap,
    Sensor,
    SourceEvent,
    Window,
)

CODECS_BY_ENDING: dict[str | tuple[str, ...], str] = {
    (".jpg", ".jpeg"): "jpeg",
    ".png": "png",
    ".pcd": "pcd",
}

POSE_REACH_NS = 100_000_000  # between two bus messages, how far apart they may be to interpolate
FAR_FROM_MAP_M = 500.0  # a drive that is nowhere nearer to its map is on another
SWAPPED = 0.5  # share of motor vehicles wider than long, above which the size is told otherwise


class _Pose(NamedTuple):
    """Where the vehicle's rear axle was; times of Unix."""

    t_ns: int
    xyz: tuple[float, ...]
    rotation: tuple[float, ...]
    twist: tuple[float, ...] | None
    acceleration: tuple[float, ...] | None
    geocoordinate: tuple[float, ...] | None


class _Shot(NamedTuple):
    """A frame in the making; times of Unix."""

    channel: str
    t_ns: int
    uri: str
    codec: str
    size: int | None
    pose: _Pose | None

    def frame(self, t0: int) -> Frame:
        """With times since the log began."""
        pose = None if self.pose is None else (*self.pose.xyz, *self.pose.rotation)
        return Frame(
            channel=self.channel, t_ns=self.t_ns - t0, uri=self.uri, codec=self.codec,
            size=self.size, world_from_ego=pose,
        )  # fmt: skip


@dataclass(slots=True)
class _Found:
    """What the captures of a scene tell; times of Unix until the log is made."""

    sensors: dict[str, Sensor] = field(default_factory=dict)
    channel_of: dict[str, str] = field(default_factory=dict)
    shots: list[_Shot] = field(default_factory=list)
    poses: dict[str, _Pose] = field(default_factory=dict)
    key_frames: dict[str, dict[str, int]] = field(default_factory=dict)
    events: list[SourceEvent] = field(default_factory=list)
    taken: set[tuple[str, int]] = field(default_factory=set)


class SceneReader:
    """Reads one scene."""

    def __init__(self, tables: Tables, maps: Maps, scene: Record, name: str, tally: Tally) -> None:
        self.tables, self.maps, self.scene, self.tally = tables, maps, scene, tally
        self.name, self.family, self.root = name, tables.family, tables.source.parent
        self.files = tables.files

    def log(self) -> Log:
        """The scene.

        Raises:
            BadInput: It has no key frames, or its map or bus messages are damaged.
        """
        token = str(self.scene.get("token"))
        samples = self._samples(token)
        if not samples:
            raise UnreadableFile(
                self.tables.source / "sample.json", f"has no sample of the scene {self.name}"
            )
        found = _Found()
        for sample in samples:
            self._captures(found, self.tables.captures.of(str(sample["token"])), sample)
        if len(self.tables.scenes) == 1:  # T4 leaves the sample empty between the key frames
            self._captures(found, self.tables.captures.of(""), None)
            self._loose_poses(found)
        agents, events = self._boxes(samples)
        bus = None
        if self.family is NUSCENES:
            bus = read_can_bus(self.root, str(self.scene.get("name")), self.tally)
        t_samples = [stamp_ns(sample["timestamp"]) for sample in samples]
        readings, extra_sensors = self._readings(found, bus)
        stamps = [*t_samples, *(shot.t_ns for shot in found.shots)]
        stamps += [pose.t_ns for pose in found.poses.values()]
        stamps += [int(series.t_ns[0]) for series in readings]
        t0 = min(stamps)
        ego = self._ego(found, bus, readings, t0)
        drive = self.tables.drives.get(str(self.scene.get("log_token")), {})
        location = str(drive.get("location") or "") or None
        road_map = self._map(location or "", ego, agents)
        weather, daylight = self._conditions()
        sensors = [*(found.sensors[c] for c in sorted(found.sensors)), *extra_sensors]
        window = Window(
            source_scene_id=self.name, t0_ns=t_samples[0] - t0, t1_ns=t_samples[-1] - t0
        )
        every = [*self._sample_events(samples, found), *events, *found.events]
        if bus is not None and bus.route is not None:
            every.append(
                SourceEvent(
                    name="route", t0_ns=t_samples[0], t1_ns=t_samples[-1],
                    detail={"xy": bus.route.tolist()},
                )
            )  # fmt: skip
        return Log(
            dataset=self.family.dataset,
            source_log_id=self.name,
            source_uri=str(self.tables.source),
            record=self.name,
            rate_hz=self._rate(t_samples),
            ego=ego,
            agents=replace(agents, t_ns=agents.t_ns - t0),
            map=road_map,
            t0_unix_ns=t0,
            split=self._split(),
            location=location,
            weather=weather,
            daylight=daylight,
            license=self.family.license,
            sensors=sensors,
            frames=[shot.frame(t0) for shot in found.shots],
            readings=[replace(series, t_ns=series.t_ns - t0) for series in readings],
            windows=[window],
            events=[replace(e, t0_ns=e.t0_ns - t0, t1_ns=e.t1_ns - t0) for e in every],
            notes=self.tally.notes(),
            extra=self._extra(token, drive, location),
        )

    def _samples(self, token: str) -> list[Record]:
        """Key frames in order of time, one a stamp."""
        usable = []
        for sample in self.tables.samples.get(token, ()):
            try:
                usable.append((stamp_ns(sample.get("timestamp")), sample))
            except ValueError:
                self.tally.add("dropped", "key frames without a usable stamp")
        usable.sort(key=lambda pair: pair[0])
        kept = [
            sample for k, (t_ns, sample) in enumerate(usable) if k == 0 or t_ns != usable[k - 1][0]
        ]
        self.tally.add(
            "dropped", "key frames with a stamp that another has already", len(usable) - len(kept)
        )
        told = self.scene.get("nbr_samples")
        if isinstance(told, int) and told > len(kept):
            self.tally.add(
                "missing", "key frames that the scene counts but the table lacks", told - len(kept)
            )
        return kept

    # ── Captures and poses ──────────────────────────────────────────────────────────────────────

    def _captures(self, found: _Found, captures: Iterator[Record], sample: Record | None) -> None:
        for capture in captures:
            try:
                t_ns = stamp_ns(capture.get("timestamp"))
            except ValueError:
                self.tally.add("dropped", "captures without a usable stamp")
                continue
            pose = self._pose(found, capture, t_ns)
            channel = self._channel(found, capture)
            uri = self.files.uri(capture.get("filename"))
            if uri is None:
                reason = "captures whose file would lie outside of the dataset's folder"
                self.tally.add("dropped", reason)
                continue
            if (channel, t_ns) in found.taken:
                self.tally.add("dropped", "captures of one sensor at one time; the first is kept")
                continue
            found.taken.add((channel, t_ns))
            if capture.get("is_valid") is False:
                self.tally.add("dropped", "the mark that a capture is not valid")
            codec = self._codec(uri, capture)
            shot = _Shot(channel, t_ns, uri, codec, self._size(uri), pose)
            found.shots.append(shot)
            if capture.get("is_key_frame") and sample is not None:
                found.key_frames.setdefault(str(sample["token"]), {})[channel] = t_ns
            if self.tables.has_labels:
                self._annotations_of(found, shot, str(capture.get("token")))

    def _pose(self, found: _Found, capture: Record, t_ns: int) -> _Pose | None:
        token = str(capture.get("ego_pose_token"))
        if token in found.poses:
            return found.poses[token]
        row = next(self.tables.poses.of(token), None)
        if row is None:
            self.tally.add("missing", "captures whose pose of the vehicle is not in the table")
            return None
        pose = self._pose_of(row, t_ns)
        if pose is not None:
            found.poses[token] = pose
        return pose

    def _pose_of(self, row: Record, t_ns: int) -> _Pose | None:
        xyz, rotation = vector(row.get("translation"), 3), quaternion(row.get("rotation"))
        if xyz is None or rotation is None:
            self.tally.add("dropped", "poses of the vehicle that are not finite, or no rotation")
            return None
        if self.family.poses_tell_time:
            try:
                t_ns = stamp_ns(row.get("timestamp"))
            except ValueError:
                self.tally.add("guessed", "poses without a stamp take that of their capture")
        return _Pose(
            t_ns, xyz, rotation, vector(row.get("twist"), 6),
            vector(row.get("acceleration"), 3), vector(row.get("geocoordinate"), 3),
        )  # fmt: skip

    def _loose_poses(self, found: _Found) -> None:
        """Poses that no capture names, in a folder of one scene."""
        if not self.family.poses_tell_time or self.family is NUSCENES:
            return
        for row in records(self.tables.poses.path):
            token = str(row.get("token"))
            if token not in found.poses:
                pose = self._pose_of(row, 0)
                if pose is not None and pose.t_ns:
                    found.poses[token] = pose

    def _channel(self, found: _Found, capture: Record) -> str:
        """The channel of a capture; a sensor whose calibration changes is several."""
        token = str(capture.get("calibrated_sensor_token"))
        if token in found.channel_of:
            return found.channel_of[token]
        calibration = self.tables.calibrations.get(token)
        row = {} if calibration is None else calibration
        sensor = self.tables.sensors.get(str(row.get("sensor_token")), {})
        name = channel = str(sensor.get("channel") or f"unknown {token}")
        if calibration is None or not sensor:
            self.tally.add("missing", "captures of a sensor that the tables do not describe")
        number = 1
        while channel in found.sensors:
            number += 1
            channel = f"{name}#{number}"
        if number > 1:
            reason = "a sensor with several calibrations in one scene is told as several sensors"
            self.tally.add("renamed", reason)
        xyz, rotation = vector(row.get("translation"), 3), quaternion(row.get("rotation"))
        placed = None if xyz is None or rotation is None else np.array([*xyz, *rotation])
        if placed is None and calibration is not None:
            self.tally.add("missing", "sensors without a usable place on the vehicle")
        kind = str(sensor.get("modality") or "other")
        kind = kind if kind in ("camera", "lidar", "radar") else "other"
        matrix = row.get("camera_intrinsic") or ()
        lens = [vector(line, 3) for line in matrix] if len(matrix) == 3 else []
        pinhole = len(lens) == 3 and lens[0] is not None and lens[1] is not None
        width, height = capture.get("width"), capture.get("height")
        found.sensors[channel] = Sensor(
            channel=channel, kind=kind, ego_from_sensor=placed,
            model="pinhole" if pinhole else "none",
            intrinsics=(lens[0][0], lens[1][1], lens[0][2], lens[1][2])  # type: ignore[index]
            if pinhole else (),
            distortion=tuple(row.get("camera_distortion") or ()),
            width=width if isinstance(width, int) and width > 0 else None,
            height=height if isinstance(height, int) and height > 0 else None,
        )  # fmt: skip
        found.channel_of[token] = channel
        return channel

    def _size(self, uri: str) -> int | None:
        try:
            return os.stat(uri).st_size  # noqa: PTH116 (paths are slow to make)
        except OSError:
            reason = "captures whose files are not there (now); their rows are kept"
            self.tally.add("missing", reason)
            return None

    def _codec(self, uri: str, capture: Record) -> str:
        name = uri.lower()
        for endings, codec in CODECS_BY_ENDING.items():
            if name.endswith(endings):
                return codec
        if name.endswith(".bin"):
            info = capture.get("info_filename")
            path = self.files.uri(info) if info else None
            if path is None or _points_are_plain(Path(path)):
                return "nuscenes_lidar"
        self.tally.add("dropped", "how captures are laid out that no decoder is known for")
        return "raw"

    def _annotations_of(self, found: _Found, shot: _Shot, token: str) -> None:
        """Labels of points, and boxes in images."""
        for name in ("lidarseg", "panoptic"):
            for row in self.tables.about(name, token):
                uri = self.files.uri(row.get("filename"))
                if uri is None:
                    self.tally.add("dropped", f"{name} files outside of the dataset's folder")
                    continue
                channel = f"{shot.channel}:{name}"
                lidar = found.sensors[shot.channel]
                found.sensors.setdefault(channel, replace(lidar, channel=channel, kind="other"))
                labels = shot._replace(channel=channel, uri=uri, codec="raw", size=self._size(uri))
                found.shots.append(labels)
        for row in self.tables.about("object_ann", token):
            found.events.append(self._box_in_image(row, shot))
        for name in ("surface_ann", "keypoint"):
            count = sum(1 for _ in self.tables.about(name, token))
            self.tally.add("dropped", f"{name} rows, which mark pixels of images", count)

    def _box_in_image(self, row: Record, shot: _Shot) -> SourceEvent:
        category = self.tables.categories.get(str(row.get("category_token")), {})
        instance = str(row.get("instance_token") or "") or None
        detail: dict[str, Any] = {
            "token": row.get("token"),
            "channel": shot.channel,
            "bbox": row.get("bbox"),
            "category": category.get("name"),
            "attributes": [
                self._word(self.tables.attributes, token)
                for token in row.get("attribute_tokens") or ()
            ],
        }
        detail |= {k: row[k] for k in ("orientation", "number") if row.get(k) is not None}
        if instance in self.tables.lights:
            detail["lanelet_primitive"] = self.tables.lights[instance]
        if row.get("mask"):
            self.tally.add("dropped", "masks of objects in images")
        return SourceEvent(
            name="object_ann", t0_ns=shot.t_ns, t1_ns=shot.t_ns, source_track_id=instance,
            detail=detail,
        )  # fmt: skip

    # ── The vehicle ─────────────────────────────────────────────────────────────────────────────

    def _ego(
        self, found: _Found, bus: CanBus | None, readings: Sequence[Readings], t0: int
    ) -> EgoStates | None:
        by_time: dict[int, _Pose] = {}
        differing = 0
        for pose in found.poses.values():
            known = by_time.setdefault(pose.t_ns, pose)
            differing += math.dist(known.xyz, pose.xyz) > 0.01
        self.tally.add(
            "dropped", "poses of the vehicle that differ at one time; the first is kept", differing
        )
        if not by_time:
            self.tally.add("missing", "no pose of the vehicle")
            return None
        poses = [by_time[t_ns] for t_ns in sorted(by_time)]
        t_ns = np.array(sorted(by_time), dtype=np.int64)
        axle = np.array([pose.xyz for pose in poses])
        quaternion = np.array([pose.rotation for pose in poses])
        quaternion = quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)
        world_from_ego = rotation_from_quaternion(quaternion)
        self.tally.add("guessed", self.family.ego_guess)
        motion = _told_motion(poses)
        if motion is None and bus is not None and bus.pose is not None:
            motion = _bus_motion(bus.pose, t_ns)
            reason = "motion of the vehicle, interpolated between the bus's pose messages"
            self.tally.add("guessed", reason, int(np.isfinite(motion[1]).sum()))
        steering = None
        for series in readings:
            if series.channel == "vehicle_state" and series.signal == "steering_tire_angle":
                assert series.value is not None
                steering = _between(t_ns, series.t_ns, series.value[:, None])[:, 0]
        velocity = acceleration = yaw_rate = None
        if motion is not None:
            local, acceleration, yaw_rate = motion
            lever = np.zeros_like(local)
            lever[:, 1] = yaw_rate * self.family.axle_to_centre  # the middle is not the axle
            velocity = np.einsum("nij,nj->ni", world_from_ego, local + lever)[:, :2]
        return EgoStates(
            t_ns=t_ns - t0,
            xyz=axle + world_from_ego @ np.array(self.family.ego_centre),
            yaw=yaw_from_quaternion(quaternion),
            quaternion=quaternion,
            velocity=velocity,
            acceleration=acceleration,
            yaw_rate=yaw_rate,
            steering=steering,
            size=self.family.ego_size,
        )

    def _readings(self, found: _Found, bus: CanBus | None) -> tuple[list[Readings], list[Sensor]]:
        readings: list[Readings] = []
        sensors: list[Sensor] = []
        if bus is not None:
            readings += bus.readings
            sensors += bus.sensors
        if self.family is T4:
            states = list(self.tables.vehicle_states())
            told = _vehicle_state(states, self.tally)
            placed = sorted(
                {p.t_ns: p.geocoordinate for p in found.poses.values() if p.geocoordinate}.items()
            )
            if placed:
                t_ns = np.array([t for t, _ in placed], dtype=np.int64)
                values = np.array([value for _, value in placed])
                told += [
                    Readings(channel="geocoordinate", signal=signal, t_ns=t_ns,
                             value=values[:, k], unit=unit)
                    for k, (signal, unit) in enumerate(
                        (("latitude", "deg"), ("longitude", "deg"), ("altitude", "m"))
                    )
                ]  # fmt: skip
                sensors.append(Sensor(channel="geocoordinate", kind="gnss"))
            if any(series.channel == "vehicle_state" for series in told):
                sensors.append(Sensor(channel="vehicle_state", kind="can"))
            readings += told
        return readings, sensors

    # ── Boxes ───────────────────────────────────────────────────────────────────────────────────

    def _boxes(self, samples: Sequence[Record]) -> tuple[Observations, list[SourceEvent]]:
        if self.tables.boxes is None:
            self.tally.add("missing", "no table of boxes (sample_annotation.json)")
            return Observations.none(), []
        tracks: dict[str, list[_Box]] = {}
        for place, sample in enumerate(samples):
            t_ns = stamp_ns(sample["timestamp"])
            seen: set[str] = set()
            for row in self.tables.boxes.of(str(sample["token"])):
                box = self._box(row, t_ns, place)
                if box is None:
                    continue
                if box.instance in seen:
                    reason = "boxes of one object at one key frame; the first is kept"
                    self.tally.add("dropped", reason)
                    continue
                seen.add(box.instance)
                tracks.setdefault(box.instance, []).append(box)
        names = sorted(tracks)
        categories = [self._category(name) for name in names]
        classes = [class_of(category) for category in categories]
        unknown = {c for c, cls in zip(categories, classes, strict=True) if cls is None}
        if unknown:
            reason = f"categories whose class is not known: {', '.join(sorted(unknown))}"
            self.tally.add("guessed", reason, sum(cls is None for cls in classes))
        boxes = [box for name in names for box in tracks[name]]
        if not boxes:
            return Observations.none(), []
        self._check_sizes(tracks, dict(zip(names, classes, strict=True)))
        velocity = np.array([box.velocity or (np.nan, np.nan, np.nan) for box in boxes])[:, :2]
        agents = Observations(
            track=np.repeat(np.arange(len(names)), [len(tracks[name]) for name in names]),
            t_ns=np.array([box.t_ns for box in boxes], dtype=np.int64),
            xyz=np.array([box.xyz for box in boxes]),
            yaw=yaw_from_quaternion(np.array([box.rotation for box in boxes])),
            size=np.array([box.size for box in boxes]),
            velocity=velocity if np.isfinite(velocity).any() else None,
            source_track_id=names,
            source_cls=categories,
            cls=[AgentClass.UNKNOWN if cls is None else cls for cls in classes],
        )
        events = [event for name in names for event in self._track_events(name, tracks[name])]
        return agents, events

    def _box(self, row: Record, t_ns: int, place: int) -> _Box | None:
        xyz, rotation = vector(row.get("translation"), 3), quaternion(row.get("rotation"))
        instance = str(row.get("instance_token") or "")
        if xyz is None or rotation is None or not instance:
            self.tally.add("dropped", "boxes without a finite pose or without an object")
            return None
        told = vector(row.get("size"), 3)
        if told is None or min(told) <= 0.0:
            self.tally.add("missing", "boxes without a usable size")
            told = (math.nan, math.nan, math.nan)
        width, length, height = told
        return _Box(
            instance=instance, t_ns=t_ns, place=place, xyz=xyz, rotation=rotation,
            size=(length, width, height), velocity=vector(row.get("velocity"), 3), row=row,
        )  # fmt: skip

    def _check_sizes(
        self, tracks: Mapping[str, Sequence[_Box]], classes: Mapping[str, AgentClass | None]
    ) -> None:
        motor = [
            box.size[1] > box.size[0]
            for name, boxes in tracks.items()
            if classes[name] in (AgentClass.VEHICLE, AgentClass.TRUCK, AgentClass.BUS)
            for box in boxes
        ]
        if motor and sum(motor) > SWAPPED * len(motor):
            reason = (
                "most motor vehicles are wider than long; sizes are taken as published "
                "(width, length, height), the source may mean length first"
            )
            self.tally.add("guessed", reason, len(motor))

    def _category(self, instance: str) -> str:
        row = self.tables.instances.get(instance)
        if row is None:
            self.tally.add("missing", "objects that the table of instances lacks")
            return ""
        category = self.tables.categories.get(str(row.get("category_token")))
        if category is None:
            self.tally.add("missing", "objects whose category the table lacks")
            return ""
        return str(category.get("name") or "")

    def _track_events(self, name: str, boxes: Sequence[_Box]) -> Iterator[SourceEvent]:
        """Attributes and visibility as intervals; counts of points as they are."""
        for table, of in (
            (self.tables.attributes, lambda row: row.get("attribute_tokens") or ()),
            (self.tables.visibilities, lambda row: filter(None, (row.get("visibility_token"),))),
        ):
            begun: dict[str, tuple[int, int]] = {}
            for k, box in enumerate(boxes):
                now = {str(token) for token in of(box.row)}
                follows = k > 0 and boxes[k - 1].place == box.place - 1
                for token in sorted(begun):
                    if token not in now or not follows:
                        yield self._tag(table, token, name, *begun.pop(token))
                for token in sorted(now):
                    begun[token] = (begun.get(token, (box.t_ns, 0))[0], box.t_ns)
            for token in sorted(begun):
                yield self._tag(table, token, name, *begun[token])
        instance = self.tables.instances.get(name, {})
        detail: dict[str, Any] = {
            "token": [box.row.get("token") for box in boxes],
            "num_lidar_pts": [box.row.get("num_lidar_pts") for box in boxes],
            "num_radar_pts": [box.row.get("num_radar_pts") for box in boxes],
        }
        if instance.get("instance_name"):
            detail["instance_name"] = instance["instance_name"]
        for key in ("acceleration", "automatic_annotation", "autolabel_metadata"):
            if any(box.row.get(key) is not None for box in boxes):
                detail[key] = [box.row.get(key) for box in boxes]
        yield SourceEvent(
            name="sample_annotation", t0_ns=boxes[0].t_ns, t1_ns=boxes[-1].t_ns,
            source_track_id=name, detail=detail,
        )  # fmt: skip

    def _tag(
        self, table: Mapping[str, Record], token: str, track: str, t0_ns: int, t1_ns: int
    ) -> SourceEvent:
        word = self._word(table, token)
        if table is self.tables.visibilities:
            word = f"visibility.{word}"
        return SourceEvent(name=word, t0_ns=t0_ns, t1_ns=t1_ns, source_track_id=track)

    def _word(self, table: Mapping[str, Record], token: Any) -> str:
        row = table.get(str(token), {})
        return str(row.get("name") or row.get("level") or token)

    def _sample_events(self, samples: Sequence[Record], found: _Found) -> Iterator[SourceEvent]:
        for sample in samples:
            t_ns, token = stamp_ns(sample["timestamp"]), str(sample["token"])
            captured = {
                channel: t - t_ns for channel, t in sorted(found.key_frames.get(token, {}).items())
            }
            yield SourceEvent(
                name="sample", t0_ns=t_ns, t1_ns=t_ns,
                detail={"token": token, "captured_after_ns": captured},
            )  # fmt: skip

    # ── The scene as a whole ────────────────────────────────────────────────────────────────────

    def _map(self, location: str, ego: EgoStates | None, agents: Observations) -> RoadMap:
        found = None
        if self.family is T4:
            log_token = self.scene.get("log_token")
            for mask in self.tables.masks:
                if log_token in (mask.get("log_tokens") or ()):
                    found = found or self.maps.lanelets(str(mask.get("filename")))
            found = found or self.maps.lanelets("map/lanelet2_map.osm")
        else:
            found = self.maps.expansion(location)
        if found is None:
            self.tally.add("missing", f"no vector map of {location or 'a place without a name'}")
            return RoadMap.none()
        road_map, notes = found
        places = ego.xyz if ego is not None else agents.xyz
        if len(places) and road_map.features and _is_elsewhere(road_map, places):
            reason = f"the map {road_map.source_map_id} is of another place than the drive"
            self.tally.add("dropped", reason)
            return RoadMap.none()
        self.tally.extend(notes)
        return road_map

    def _rate(self, t_samples: Sequence[int]) -> float:
        if self.family.rate_hz is not None:
            return self.family.rate_hz
        steps = np.diff(np.array(t_samples, dtype=np.int64))
        return float(np.round(1e9 / float(np.median(steps)), 3)) if len(steps) else 10.0

    def _conditions(self) -> tuple[Weather | None, Daylight | None]:
        description = str(self.scene.get("description") or "")
        weather, daylight = conditions(description)
        if daylight is None and description and self.family is NUSCENES:
            # Its descriptions name the night wherever it is night.
            self.tally.add("guessed", "daylight, since the description does not speak of night")
            daylight = Daylight.DAY
        return weather, daylight

    def _split(self) -> str | None:
        folder, number = self.tables.source.name, self._number()
        if self.family is NUSCENES:
            if folder == "v1.0-test":
                return "test"
            if number is not None:
                return "val" if number in VALIDATION else "train"
        for word in ("train", "val", "test"):
            if folder.endswith(f"-{word}") or folder.startswith(f"{word}_"):
                return word
        return None

    def _number(self) -> int | None:
        word = str(self.scene.get("name") or "").removeprefix("scene-")
        return int(word) if len(word) == 4 and word.isascii() and word.isdigit() else None

    def _extra(self, token: str, drive: Record, location: str | None) -> dict[str, Any]:
        extra: dict[str, Any] = {
            "scene_token": token,
            "description": self.scene.get("description"),
            "tables": self.tables.source.name,
            "log_token": self.scene.get("log_token"),
            "logfile": drive.get("logfile"),
            "vehicle": drive.get("vehicle"),
            "date_captured": drive.get("date_captured") or drive.get("data_captured"),
            "ego_centre_in_ego": list(self.family.ego_centre),
            "map_origin_wgs84_deg": list(ORIGINS_WGS84.get(location or "", ())) or None,
            "raster_map": next(
                (
                    mask.get("filename")
                    for mask in self.tables.masks
                    if self.scene.get("log_token") in (mask.get("log_tokens") or ())
                ),
                None,
            ),
        }
        number = self._number()
        if self.family is NUSCENES and number in MINI:
            extra["mini_split"] = MINI[number]
        if drive.get("logfile") or drive:  # scenes of one drive share place and time
            drive_name = drive.get("logfile") or self.scene.get("log_token")
            extra["split_group"] = f"{self.family.dataset}/{drive_name}"
        return {key: value for key, value in extra.items() if value not in (None, "")}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """One row of the annotations; ``place`` counts key frames."""

    instance: str
    t_ns: int
    place: int
    xyz: tuple[float, ...]
    rotation: tuple[float, ...]
    size: tuple[float, float, float]
    velocity: tuple[float, ...] | None
    row: Record


def _told_motion(poses: Sequence[_Pose]) -> tuple[Array, Array, Array] | None:
    """Velocity [m/s], acceleration [m/s²], yaw rate [rad/s] in the vehicle frame, as poses tell."""
    if not any(pose.twist or pose.acceleration for pose in poses):
        return None
    twist = np.array([pose.twist or (np.nan,) * 6 for pose in poses])
    acceleration = np.array([pose.acceleration or (np.nan,) * 3 for pose in poses])
    return twist[:, :3], acceleration[:, 0], twist[:, 3]


def _bus_motion(pose: CanPose, t_ns: Array) -> tuple[Array, Array, Array]:
    """The same at the given times, between the bus's messages."""
    columns = np.concatenate(
        [pose.velocity, pose.acceleration[:, :1], pose.rotation_rate[:, 2:]], axis=1
    )
    found = _between(t_ns, pose.t_ns, columns)
    return found[:, :3], found[:, 3], found[:, 4]


def _between(
    t_ns: Int[Array, " times"], at_ns: Int[Array, " steps"], values: Float[Array, "steps columns"]
) -> Float[Array, "times columns"]:
    """Linear between two steps that are at most ``POSE_REACH_NS`` apart, elsewhere NaN."""
    after = np.searchsorted(at_ns, t_ns, side="left")
    exact = (after < len(at_ns)) & (at_ns[np.minimum(after, len(at_ns) - 1)] == t_ns)
    before = np.where(exact, after, after - 1)
    inside = (before >= 0) & (after < len(at_ns))
    before, after = np.clip(before, 0, len(at_ns) - 1), np.clip(after, 0, len(at_ns) - 1)
    span = at_ns[after] - at_ns[before]
    weight = np.where(span > 0, (t_ns - at_ns[before]) / np.maximum(span, 1), 0.0)[:, None]
    found = values[before] * (1.0 - weight) + values[after] * weight
    found[~(inside & (span <= POSE_REACH_NS))] = np.nan
    return np.asarray(found)


def _vehicle_state(states: Sequence[Record], tally: Tally) -> list[Readings]:
    """T4's ``vehicle_state``; percentages of pedals, angles, gear, indicators, speed."""
    rows: dict[int, Record] = {}
    for state in states:
        try:
            stamp = stamp_ns(state.get("timestamp"))
        except ValueError:
            tally.add("dropped", "vehicle states without a usable stamp")
            continue
        if stamp in rows:
            tally.add("dropped", "vehicle states with a stamp that another has already")
        rows.setdefault(stamp, state)
    if not rows:
        return []
    t_ns = np.array(sorted(rows), dtype=np.int64)
    ordered = [rows[int(t)] for t in t_ns]
    told = []
    for signal, unit in (
        ("accel_pedal", "%"), ("brake_pedal", "%"), ("steer_pedal", "%"),
        ("steering_tire_angle", "rad"), ("steering_wheel_angle", "rad"), ("speed", "m/s"),
    ):  # fmt: skip
        found = [
            (state.get("additional_info") or {}).get(signal) if signal == "speed"
            else state.get(signal)
            for state in ordered
        ]  # fmt: skip
        values = np.array(
            [v if isinstance(v, int | float) else np.nan for v in found], dtype=float
        )
        if np.isfinite(values).any():
            told.append(
                Readings(
                    channel="vehicle_state", signal=signal, t_ns=t_ns, value=values, unit=unit
                )
            )
    words = {"shift_state": [str(state.get("shift_state") or "") for state in ordered]}
    for side in ("left", "right", "hazard"):
        words[f"indicator_{side}"] = [
            str((state.get("indicators") or {}).get(side) or "") for state in ordered
        ]
    told += [
        Readings(channel="vehicle_state", signal=signal, t_ns=t_ns, text=text)
        for signal, text in words.items()
        if any(text)
    ]
    return told


def _points_are_plain(info: Path) -> bool:
    """Whether a T4 sweep has the usual five values a point."""
    try:
        told = read_json(info)
    except BadInput:
        return False
    return isinstance(told, dict) and told.get("num_pts_feats", 5) == len(SWEEP_COLUMNS)


def _is_elsewhere(road_map: RoadMap, places: Float[Array, "places 3"]) -> bool:
    """Whether every place lies far outside of the box round the map."""
    low = np.min([f.points[:, :2].min(axis=0) for f in road_map.features], axis=0)
    high = np.max([f.points[:, :2].max(axis=0) for f in road_map.features], axis=0)
    xy = places[:, :2]
    beyond = np.maximum(low - xy, xy - high).max(axis=1)
    return bool((beyond > FAR_FROM_MAP_M).all())
