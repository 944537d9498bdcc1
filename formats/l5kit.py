"""Woven/Lyft L5 prediction dataset: one zarr 2 store of many 25 s scenes, and a semantic map.

    <name>.zarr/scenes                  frame_index_interval, host, start_time, end_time
    <name>.zarr/frames                  timestamp, agent and face intervals, ego pose
    <name>.zarr/agents                  centroid, extent, yaw, velocity, track_id, label_probabilities
    <name>.zarr/traffic_light_faces     face_id, traffic_light_id, status (active, inactive, unknown)
    semantic_map/semantic_map.pb, meta.json     beside the store or one folder above

Each scene is one log, read by itself, so that memory does not grow with the store. Track ids count
within a scene. Positions are in the dataset's world frame, in which agents have no height: the ego's
at the time stands for it, which a note says. Of the label probabilities the most probable label over
the track is kept. Faces say whether they are lit; which colour they have and which lanes they control
is in the map alone. Left out: the aerial image, per-frame label probabilities.

Source: github.com/woven-planet/l5kit, ``l5kit/data/zarr_dataset.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from formats.files import present, read_json
from formats.l5kit_map import SemanticMap, face_meaning, read_map
from formats.names import distinct
from formats.registry import Rejected
from formats.tally import Tally
from formats.track_rows import observations
from formats.tree import matching
from formats.zarr_table import META, ZarrTable
from geometry.angles import wrap
from geometry.arrays import Array
from geometry.frames import quaternion_from_rotation
from schemas.errors import UnreadableFile
from schemas.labels import AgentClass, LightState
from schemas.records import EgoStates, LightStates, Log, Observations, RoadMap, Window

DATASET = "l5kit"
RATE_HZ = 10.0
EGO_SIZE = (4.87, 1.85, 1.8)
"""Length, width and height of the recording vehicle, as l5kit draws it [m]."""
LONGEST_SCENE = 100_000  # frames: almost three hours

SCENES = {"frame_index_interval": (2,), "host": (), "start_time": (), "end_time": ()}
FRAMES = {
    "timestamp": (), "agent_index_interval": (2,), "ego_translation": (3,), "ego_rotation": (3, 3),
}  # fmt: skip
AGENTS = {"centroid": (2,), "extent": (3,), "yaw": (), "velocity": (2,), "track_id": ()}
FACES = {"face_id": (), "traffic_light_id": (), "traffic_light_face_status": (3,)}
FACE_WORDS = ("ACTIVE", "INACTIVE", "UNKNOWN")
FACE_INTERVAL = "traffic_light_faces_index_interval"

LABELS = (
    "PERCEPTION_LABEL_NOT_SET", "PERCEPTION_LABEL_UNKNOWN", "PERCEPTION_LABEL_DONTCARE",
    "PERCEPTION_LABEL_CAR", "PERCEPTION_LABEL_VAN", "PERCEPTION_LABEL_TRAM",
    "PERCEPTION_LABEL_BUS", "PERCEPTION_LABEL_TRUCK", "PERCEPTION_LABEL_EMERGENCY_VEHICLE",
    "PERCEPTION_LABEL_OTHER_VEHICLE", "PERCEPTION_LABEL_BICYCLE", "PERCEPTION_LABEL_MOTORCYCLE",
    "PERCEPTION_LABEL_CYCLIST", "PERCEPTION_LABEL_MOTORCYCLIST", "PERCEPTION_LABEL_PEDESTRIAN",
    "PERCEPTION_LABEL_ANIMAL", "AVRESEARCH_LABEL_DONTCARE",
)  # fmt: skip
"""In the order of ``label_probabilities``, where ``.zattrs`` does not name them."""
CLASSES = {
    "CAR": AgentClass.VEHICLE,
    "VAN": AgentClass.VEHICLE,
    "TRAM": AgentClass.OTHER,
    "BUS": AgentClass.BUS,
    "TRUCK": AgentClass.TRUCK,
    "EMERGENCY_VEHICLE": AgentClass.VEHICLE,
    "OTHER_VEHICLE": AgentClass.VEHICLE,
    "BICYCLE": AgentClass.CYCLIST,
    "MOTORCYCLE": AgentClass.MOTORCYCLE,
    "CYCLIST": AgentClass.CYCLIST,
    "MOTORCYCLIST": AgentClass.MOTORCYCLE,
    "PEDESTRIAN": AgentClass.PEDESTRIAN,
    "ANIMAL": AgentClass.ANIMAL,
}
"""By what follows ``…_LABEL_``; whatever else is unknown."""
SPLITS = {"train": "train", "validate": "val", "val": "val", "test": "test"}


def sources(path: Path) -> Iterator[Path]:
    """Stores that hold the scenes, frames and agents of L5, at or under a path."""
    for file in matching(path, META):
        store = file.parent.parent
        if file.parent.name == "scenes" and all(
            (store / part / META).is_file() for part in ("frames", "agents")
        ):
            yield store


def files(source: Path) -> Iterator[Path]:
    """Descriptions and chunks of the store, and the map with its meta data if they are there."""
    if (source / ".zattrs").is_file():
        yield source / ".zattrs"
    for part in ("scenes", "frames", "agents", "traffic_light_faces"):
        if (source / part / META).is_file():
            yield source / part / META
            chunks = (p for p in (source / part).iterdir() if p.name.isdecimal())
            yield from sorted(chunks, key=lambda p: int(p.name))
    yield from _map_files(source) or ()


def read(source: Path) -> Iterator[Log | Rejected]:
    """The scenes of a store, one log each.

    Raises:
        UnreadableFile: The store, a chunk of it, or the map beside it is broken.
    """
    scenes = ZarrTable(source / "scenes", fields=SCENES)
    store = _Store(
        source=source,
        labels=_labels(source),
        frames=ZarrTable(source / "frames", fields=FRAMES),
        agents=ZarrTable(source / "agents", fields=AGENTS),
        faces=ZarrTable(source / "traffic_light_faces", fields=FACES)
        if (source / "traffic_light_faces" / META).is_file()
        else None,
        road=_road(source),
    )
    table = scenes.rows(0, scenes.count)
    if not len(table):
        raise UnreadableFile(source, "is a store without scenes")
    names, renamed = distinct(
        (f"{scene['host']}_{int(scene['start_time'])}" for scene in table), "scene"
    )
    for number, (name, scene) in enumerate(zip(names, table, strict=True)):
        tally = Tally()
        if number == 0:
            tally.extend(renamed)
        yield store.scene(number, name, scene, tally)


def _map_files(source: Path) -> tuple[Path, Path] | None:
    """The map and its meta data, beside the store or one folder above."""
    for folder in (source.parent, source.resolve().parent.parent):
        meta = present(folder / "meta.json")
        for name in ("semantic_map/semantic_map.pb", "semantic_map.pb"):
            found = present(folder / name)
            if found is not None and meta is not None:
                return found, meta
    return None


def _road(source: Path) -> SemanticMap | None:
    found = _map_files(source)
    return None if found is None else read_map(*found)


def _labels(source: Path) -> Sequence[str]:
    path = source / ".zattrs"
    told = read_json(path) if path.is_file() else {}
    labels = told.get("labels", LABELS) if isinstance(told, dict) else LABELS
    if not isinstance(labels, (list, tuple)) or not all(isinstance(w, str) for w in labels):
        raise UnreadableFile(path, f"names no labels ({json.dumps(labels)[:80]})")
    return labels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Store:
    """An open store."""

    source: Path
    labels: Sequence[str]
    frames: ZarrTable
    agents: ZarrTable
    faces: ZarrTable | None
    road: SemanticMap | None

    def scene(self, number: int, name: str, scene: Any, tally: Tally) -> Log | Rejected:
        """One scene as a log; rejected where its frames are not those of the store."""
        record = f"scene {number}"
        begin, end = (int(k) for k in scene["frame_index_interval"])
        if not 0 <= begin < end <= self.frames.count or end - begin > LONGEST_SCENE:
            reason = f"refers to frames {begin} to {end} of {self.frames.count}"
            return Rejected(record=record, reason=reason)
        frames = self.frames.rows(begin, end)
        stamp = frames["timestamp"].astype(np.int64)
        later = np.ones(len(stamp), dtype=bool)
        later[1:] = stamp[1:] > np.maximum.accumulate(stamp)[:-1]
        tally.add("dropped", "frames whose stamps repeat or go back", int((~later).sum()))
        frames, stamp = frames[later], stamp[later]
        for column, table in (("agent_index_interval", self.agents), (FACE_INTERVAL, self.faces)):
            if table is not None and column in (frames.dtype.names or ()):
                interval = frames[column]
                if (interval[:, 0] > interval[:, 1]).any() or (interval < 0).any() or (
                    interval > table.count
                ).any():  # fmt: skip
                    reason = f"refers to rows of {table.folder.name} that are not there"
                    return Rejected(record=record, reason=reason)
        t_ns = stamp - stamp[0]
        ego = _ego(frames, t_ns, tally)
        lights = self._lights(frames, t_ns, tally)
        if self.road is None:
            tally.add("missing", "no semantic map with its meta.json lies beside the store")
        else:
            tally.extend(self.road.tally.notes())
        return Log(
            dataset=DATASET,
            source_log_id=name,
            source_uri=str(self.source),
            record=record,
            rate_hz=RATE_HZ,
            ego=ego,
            agents=self._agents(frames, t_ns, tally),
            map=RoadMap.none() if self.road is None else self.road.road_map,
            lights=lights,
            t0_unix_ns=int(stamp[0]),
            split=next((s for w, s in SPLITS.items() if self.source.name.startswith(w)), None),
            windows=[Window(source_scene_id=record, t0_ns=0, t1_ns=int(t_ns[-1]))],
            notes=tally.notes(),
            extra={
                "host": str(scene["host"]),
                "start_time": int(scene["start_time"]),
                "end_time": int(scene["end_time"]),
            },
        )

    def _agents(self, frames: Array, t_ns: Array, tally: Tally) -> Observations:
        interval = frames["agent_index_interval"].astype(np.int64)
        rows = [self.agents.rows(int(b), int(e)) for b, e in interval]
        count = np.array([len(part) for part in rows], dtype=np.int64)
        if not count.sum():
            return Observations.none()
        table = np.concatenate(rows)
        ids, track = np.unique(table["track_id"], return_inverse=True)
        words = self._words(table, track, len(ids), tally)
        height = np.repeat(frames["ego_translation"][:, 2], count)
        reason = "agents have no height: the ego's at the time stands for it"
        tally.add("guessed", reason, len(table))
        return observations(
            track=track.astype(np.int64),
            t_ns=np.repeat(t_ns, count),
            xyz=np.column_stack([table["centroid"].astype(np.float64), height]),
            yaw=wrap(table["yaw"].astype(np.float64)),
            size=table["extent"].astype(np.float64),
            velocity=table["velocity"].astype(np.float64),
            names=[str(name) for name in ids],
            source_cls=words,
            cls=[CLASSES.get(w.partition("_LABEL_")[2], AgentClass.UNKNOWN) for w in words],
            tally=tally,
        )

    def _words(self, table: Array, track: Array, count: int, tally: Tally) -> list[str]:
        """The most probable label of each track."""
        if "label_probabilities" not in (table.dtype.names or ()):
            tally.add("missing", "the store has no labels", count)
            return [""] * count
        probability = np.nan_to_num(table["label_probabilities"].astype(np.float64))
        total = np.zeros((count, probability.shape[1]))
        np.add.at(total, track, probability)
        best = total.argmax(axis=1)
        other = probability.argmax(axis=1) != best[track]
        reason = "tracks whose most probable label changes; that of the whole track is kept"
        tally.add("guessed", reason, len(np.unique(track[other])))
        unsure = int((probability.max(axis=1) < 0.999).sum())
        tally.add("dropped", "probabilities of labels other than the most probable", unsure)
        if probability.shape[1] > len(self.labels):
            tally.add("missing", "labels beyond those that the store names", count)
        return [self.labels[k] if k < len(self.labels) else f"label {k}" for k in best]

    def _lights(self, frames: Array, t_ns: Array, tally: Tally) -> LightStates:
        if self.faces is None or FACE_INTERVAL not in (frames.dtype.names or ()):
            return LightStates.none()
        interval = frames[FACE_INTERVAL].astype(np.int64)
        rows = [self.faces.rows(int(b), int(e)) for b, e in interval]
        count = np.array([len(part) for part in rows], dtype=np.int64)
        if not count.sum():
            return LightStates.none()
        table = np.concatenate(rows)
        status = table["traffic_light_face_status"].argmax(axis=1)
        faces = [str(face) for face in table["face_id"]]
        signals = [str(signal) for signal in table["traffic_light_id"]]
        shown: dict[tuple[int, str], list[tuple[str, str, Array]]] = {}
        nowhere = np.full(3, np.nan)
        strange = set()
        for row, at_ns in enumerate(np.repeat(t_ns, count).tolist()):
            face, word = faces[row], FACE_WORDS[status[row]]
            kind = "" if self.road is None else self.road.faces.get(face, "")
            lanes = () if self.road is None else self.road.lanes_of_face.get(face, ())
            place = nowhere if self.road is None else self.road.places.get(face, nowhere)
            if not lanes:
                strange.add(face)
            for lane in lanes or (f"{signals[row]}/{face}",):
                shown.setdefault((at_ns, lane), []).append((kind, word, place))
        reason = (
            "traffic light faces whose lanes are not known stand under traffic_light_id/face_id"
        )
        tally.add("missing", reason, len(strange))
        told = [_seen(faces) for faces in shown.values()]
        return LightStates(
            source_lane_id=[lane for _, lane in shown],
            t_ns=np.array([at_ns for at_ns, _ in shown], dtype=np.int64),
            state=np.array([int(state) for state, _, _, _ in told], dtype=np.int64),
            source_state=[word for _, _, _, word in told],
            arrow=np.array([arrow for _, arrow, _, _ in told]),
            flashing=np.array([flashing for _, _, flashing, _ in told]),
            stop_xyz=np.full((len(shown), 3), np.nan),
        )


def _seen(faces: Sequence[tuple[str, str, Array]]) -> tuple[LightState, bool, bool, str]:
    """What the faces of one lane show together, and in the source's words.

    A full face counts before an arrow; of several, red before yellow before green.
    """
    lit = [face_meaning(kind) for kind, word, _ in faces if word == "ACTIVE" and kind]
    word = " ".join(sorted({f"{kind}={word}" if kind else word for kind, word, _ in faces}))
    order = (LightState.RED, LightState.YELLOW, LightState.GREEN, LightState.UNKNOWN)
    if lit:
        state, arrow, flashing = min(lit, key=lambda face: (face[1], order.index(face[0])))
        return state, arrow, flashing, word
    dark = all(kind and word == "INACTIVE" for kind, word, _ in faces)
    return (LightState.OFF if dark and len(faces) > 2 else LightState.UNKNOWN), False, False, word


def _ego(frames: Array, t_ns: Array, tally: Tally) -> EgoStates | None:
    xyz = frames["ego_translation"].astype(np.float64)
    rotation = frames["ego_rotation"].astype(np.float64)
    turned = np.abs(np.linalg.det(np.nan_to_num(rotation)) - 1.0) < 0.01
    valid = np.isfinite(xyz).all(axis=1) & turned
    tally.add("missing", "poses of the ego that are none", int((~valid).sum()))
    if not valid.any():
        return None
    quaternion = np.tile([1.0, 0.0, 0.0, 0.0], (len(xyz), 1))
    quaternion[valid] = [quaternion_from_rotation(one) for one in rotation[valid]]
    yaw = np.where(valid, np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0]), 0.0)
    return EgoStates(
        t_ns=t_ns, xyz=np.where(valid[:, None], xyz, 0.0), yaw=yaw, quaternion=quaternion,
        size=EGO_SIZE, valid=None if valid.all() else valid,
    )  # fmt: skip
