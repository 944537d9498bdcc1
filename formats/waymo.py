"""What the Waymo formats share: which message a TFRecord holds, the words, the vehicle.

Three kinds of TFRecord come from Waymo, with the same kind of name: ``Scenario``, ``tf.Example`` and
perception ``Frame``. A file is told by how its first message begins, so that each belongs to one
reader.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Literal

import numpy as np
from google.protobuf.message import DecodeError

from formats import tree
from formats.files import plain_name
from formats.registry import Rejected
from formats.tfrecord import first_message, read_records
from formats.wire import fields
from schemas.errors import BadRecord
from schemas.labels import AgentClass, Daylight, LightState, MapLayer, Weather
from schemas.records import Log

Kind = Literal["scenario", "example", "frame", "foreign", "broken"]

LICENSE = "Waymo Dataset License Agreement for Non-Commercial Use"

EGO_SIZE = (5.286, 2.332, 2.33)
"""Length, width and height of the vehicle as the Open Motion Dataset boxes it, with its dome [m]."""

AXLE_TO_CENTRE = 1.457
"""From the vehicle frame's origin (rear axle, on the ground) forward to the middle of the box: half
way between the lidars in the front and in the rear bumper, at 4.07 and −1.155 m [m]."""

LAYERS = {
    "lane": MapLayer.LANE,
    "road_line": MapLayer.ROAD_LINE,
    "road_edge": MapLayer.ROAD_EDGE,
    "stop_sign": MapLayer.STOP_SIGN,
    "crosswalk": MapLayer.CROSSWALK,
    "speed_bump": MapLayer.SPEED_BUMP,
    "driveway": MapLayer.DRIVEWAY,
}
"""Kinds of map features, in the order of their fields in the message."""

CLASSES = {
    "TYPE_UNSET": AgentClass.UNKNOWN,
    "TYPE_UNKNOWN": AgentClass.UNKNOWN,
    "TYPE_VEHICLE": AgentClass.VEHICLE,
    "TYPE_PEDESTRIAN": AgentClass.PEDESTRIAN,
    "TYPE_CYCLIST": AgentClass.CYCLIST,
    "TYPE_SIGN": AgentClass.OBSTACLE,
    "TYPE_OTHER": AgentClass.OTHER,
}
"""Motion says TYPE_UNSET and TYPE_OTHER, perception TYPE_UNKNOWN and TYPE_SIGN."""

LIGHTS = {
    "unknown": (LightState.UNKNOWN, False, False),
    "arrow_stop": (LightState.RED, True, False),
    "arrow_caution": (LightState.YELLOW, True, False),
    "arrow_go": (LightState.GREEN, True, False),
    "stop": (LightState.RED, False, False),
    "caution": (LightState.YELLOW, False, False),
    "go": (LightState.GREEN, False, False),
    "flashing_stop": (LightState.RED, False, True),
    "flashing_caution": (LightState.YELLOW, False, True),
}
"""Word → what is shown, whether an arrow, whether flashing."""

WEATHER = {"sunny": Weather.CLEAR, "rain": Weather.RAIN}
DAYLIGHT = {"day": Daylight.DAY, "dawn/dusk": Daylight.DUSK, "night": Daylight.NIGHT}
"""By the word in lower case."""

SPLITS = {"training": "train", "validation": "val", "testing": "test"}

_EXAMPLE_FEATURES = (
    b"roadgraph_samples/", b"state/", b"scenario/", b"traffic_light_state/", b"path_samples/",
)  # fmt: skip
_NO_TFRECORD = (".json", ".py", ".txt")


def tfrecords(path: Path, *kinds: Kind) -> Iterator[Path]:
    """TFRecord files of some kinds at or under a path: found by name in folders, told by content."""
    found = [path] if path.is_file() else tree.matching(path, "*tfrecord*")
    for file in found:
        if not plain_name(file).endswith(_NO_TFRECORD) and kind_of(file) in kinds:
            yield file


def kind_of(file: Path) -> Kind:
    """Which message a file's first record holds.

    ``broken``: it calls itself a TFRecord but holds no sound record; ``foreign``: anything else.
    """
    message = first_message(tree.head(file))
    if not message:
        return "broken" if "tfrecord" in file.name else "foreign"
    if begins_as_scenario(message):
        return "scenario"
    if begins_as_example(message):
        return "example"
    return "frame" if begins_as_frame(message) else "foreign"


def begins_as_scenario(head: bytes) -> bool:
    """Whether a message's first field is a list of ascending times, as a ``Scenario``'s is.

    Field 1 is ``repeated double``: tag 0x09 before each number, or tag 0x0A, the length and all
    numbers at once. The other messages that Waymo keeps in TFRecords (``Frame``, ``tf.Example``)
    have a message there.
    """
    if head[:1] == b"\x09":
        tagged = takewhile(lambda at: head[at] == 0x09, range(0, len(head) - 8, 9))
        times = [struct.unpack_from("<d", head, at + 1)[0] for at in tagged]
    elif head[:1] == b"\x0a":
        first = next(fields(head, partial=True), None)
        if first is None or first.size % 8 or not first.size:
            return False
        numbers = head[first.begin : first.begin + min(first.size, 64)]
        times = list(struct.unpack(f"<{len(numbers) // 8}d", numbers[: len(numbers) // 8 * 8]))
    else:
        return False
    values = np.array(times)
    plausible = np.isfinite(values).all() and (values >= 0).all() and (values < 1e11).all()
    return bool(len(values) and plausible and (np.diff(values) > 0).all())


def begins_as_example(head: bytes) -> bool:
    """Whether a ``tf.Example``'s first feature is one of the Open Motion Dataset's."""
    key = _first_leaf(head, 3)
    return key is not None and key.startswith(_EXAMPLE_FEATURES)


def begins_as_frame(head: bytes) -> bool:
    """Whether a message begins with a ``Context``, whose first field is its printable name."""
    name = _first_leaf(head, 2)
    return bool(name) and name is not None and all(0x20 < byte < 0x7F for byte in name)


def logs_of(
    source: Path, log_of: Callable[[bytes, str], Log], *, what: str
) -> Iterator[Log | Rejected]:
    """The log of each record of a file; those that are damaged or no such message are rejected.

    Args:
        source: The TFRecord.
        log_of: Makes a log of a record's bytes and name.
        what: The message that records should be, for those that are not.
    """
    for record in read_records(source):
        if isinstance(record, BadRecord):
            yield Rejected(record=record.record, reason=record.reason)
            continue
        name = f"record {record.number}"
        try:
            yield log_of(record.data, name)
        except DecodeError:
            yield Rejected(record=name, reason=f"is not {what}")
        except BadRecord as error:
            yield Rejected(record=name, reason=error.reason)


def split_of(path: Path) -> str | None:
    """``train``, ``val`` or ``test`` where the file or its folder is called so by Waymo."""
    for name in (path.name, path.resolve().parent.name, path.resolve().parent.parent.name):
        for word, split in SPLITS.items():
            if word in name.replace("-", "_").replace(".", "_").split("_"):
                return split
    return None


def text(value: str | bytes) -> str:
    """A message's word; protobuf hands out bytes where it is no UTF-8."""
    return value if isinstance(value, str) else value.decode(errors="backslashreplace")


def _first_leaf(head: bytes, depth: int) -> bytes | None:
    """What field 1 of field 1 … of a message holds, if each comes first and is no number."""
    for _ in range(depth):
        first = next(fields(head, partial=True), None)
        if first is None or first.number != 1 or first.wire != 2:
            return None
        head = head[first.begin : first.begin + first.size]
    return head
