"""A source's map in the log's own frame, with the lane graph that its geometry implies.

The origin follows from the map alone, so that logs which share a map share its rows. What of the
graph the source does not state is found by :mod:`lake.lanegraph` and marked. A map that left the
lake and comes back, as under a generated scene, is the same map: it is known by what the source
said, and the graph is found anew.
"""

from __future__ import annotations

import hashlib
import itertools
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from geometry.bundles import Bundle
from lake.ids import stable_id
from lake.lanegraph import derived_edges
from schemas.labels import EdgeKind
from schemas.records import MapFeature, Note, RoadMap

OFF_THE_EDGE = 0.0013
"""Added before rounding an origin to whole metres: maps told in centimetres often have a centre at
exactly half a metre, where the last bit would decide which way it is rounded [m]."""

REACH_M = 1e5  # [m] a map point farther than this from the others is a mistake of the source
QUANTUM_M = 1e-4  # [m] maps whose points differ by less are one map
TURN_ANGLE = np.radians(30.0)  # [rad] what a lane must bend to count as a turn
U_TURN_ANGLE = np.radians(150.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalMap:
    """A map in the log's frame.

    Attributes:
        map: Points relative to the origin, float32; edges of the source first, then ours.
        derived: Of each edge, whether it was found here; as ``map.derived``.
        map_id: Hash of content and origin; None where there is no map.
        notes: What of the map could not be kept.
    """

    map: RoadMap
    derived: Bool[Array, " edges"]
    map_id: int | None
    notes: Sequence[Note]


_ORIGINS: weakref.WeakKeyDictionary[RoadMap, Float[Array, 3] | None] = weakref.WeakKeyDictionary()


def map_origin(road_map: RoadMap) -> Float[Array, 3] | None:
    """Centre of the map's bounding box in whole metres, None where it has no points [m].

    The height is that of the features that have one, else 0.
    """
    if road_map not in _ORIGINS:
        _ORIGINS[road_map] = _origin_of(road_map)
    return _ORIGINS[road_map]


def _origin_of(road_map: RoadMap) -> Float[Array, 3] | None:
    features = [feature for feature in road_map.features if len(feature.points)]
    if not features:
        return None
    xyz = np.concatenate([feature.points for feature in features])
    flat = xyz[np.isfinite(xyz[:, :2]).all(axis=1), :2]
    if not len(flat):
        return None
    flat = _near_median(flat)
    sizes = [len(feature.points) for feature in features]
    z = xyz[np.repeat([feature.has_z for feature in features], sizes), 2]
    z = _near_median(z[np.isfinite(z), None])
    centre = [
        (flat[:, 0].min() + flat[:, 0].max()) / 2.0,
        (flat[:, 1].min() + flat[:, 1].max()) / 2.0,
        (z.min() + z.max()) / 2.0 if len(z) else 0.0,
    ]
    return whole_metres(np.array(centre))


def _near_median(points: Float[Array, "points dims"]) -> Float[Array, "some dims"]:
    """Those within ``REACH_M`` of the median, so that a stray one moves nothing."""
    if not len(points) or (np.ptp(points, axis=0) <= REACH_M).all():
        return points
    near = (np.abs(points - np.median(points, axis=0)) <= REACH_M).all(axis=1)
    return points[near] if near.any() else points


def whole_metres(xyz: Float[Array, 3]) -> Float[Array, 3]:
    """Rounded to metres, away from the edge at which centimetre data would tip over."""
    return np.floor(xyz + OFF_THE_EDGE + 0.5)


MAPS_KEPT = 4  # maps of sources whose local form is remembered

_LATEST: weakref.WeakKeyDictionary[RoadMap, tuple[bytes, LocalMap]] = weakref.WeakKeyDictionary()


def localise_map(road_map: RoadMap, origin: Float[Array, 3]) -> LocalMap:
    """The map relative to an origin, with the graph that the source does not state.

    Points that are not finite, or over 100 km away, are left out and told. Logs of one reader that
    share a city's map object share the result, as long as that object lives.
    """
    place = np.asarray(origin, dtype="<f8").tobytes()
    known = _LATEST.get(road_map)
    if known is not None and known[0] == place:
        return known[1]
    made = _localised(road_map, origin)
    _LATEST[road_map] = (place, made)
    while len(_LATEST) > MAPS_KEPT:
        _LATEST.pop(next(iter(_LATEST)), None)
    return made


def _localised(road_map: RoadMap, origin: Float[Array, 3]) -> LocalMap:
    features = road_map.features
    lines, lost = _local_lines(features, origin)
    kept: list[MapFeature] = []
    new_id: dict[int, int] = {}
    bad_points = 0
    for index, feature in enumerate(features):
        points, left, right = lines[3 * index : 3 * index + 3]
        if points is None:
            bad_points += lost[3 * index]
            continue
        bad_points += sum(lost[3 * index : 3 * index + 3])
        new_id[feature.feature_id] = len(kept)
        limit = feature.speed_limit
        kept.append(
            replace(
                feature,
                feature_id=len(kept),
                points=points,
                left=left,
                right=right,
                speed_limit=None if limit is None or not np.isfinite(limit) else _f32(limit),
            )
        )
    bad_lines = len(features) - len(kept)
    edges, lost_edges = _renumbered(_stated(road_map), new_id)
    ours = derived_edges(kept, edges)
    every = np.concatenate([edges, ours])
    derived = np.arange(len(every)) >= len(edges)
    local = RoadMap(
        source_map_id=road_map.source_map_id, features=tuple(kept), edges=every, derived=derived
    )
    notes = [
        Note(kind=kind, reason=reason, count=count)
        for kind, reason, count in (
            ("clipped", "map points are not finite or over 100 km away", bad_points),
            ("dropped", "map features have no usable point", bad_lines),
            ("dropped", "map edges repeat or lead to features that the map lacks", lost_edges),
        )
        if count
    ]
    return LocalMap(
        map=local,
        derived=derived,
        map_id=_content_id(kept, edges, origin) if kept else None,
        notes=notes,
    )


def turns_of(lines: Bundle) -> list[str | None]:
    """``left``, ``right``, ``straight`` or ``u_turn`` of each lane, by how far it bends in all.

    None of a lane that has no length.
    """
    lines = lines.without_repeats()
    bend = lines.turned
    which = [lines.sizes < 2, np.abs(bend) >= U_TURN_ANGLE, np.abs(bend) < TURN_ANGLE, bend > 0.0]
    word = np.array([None, "u_turn", "straight", "left", "right"], dtype=object)
    return word[np.select(which, range(4), default=4)].tolist()


def _f32(value: float) -> float:
    """The float that a float32 column gives back."""
    return float(np.float32(value))


def _local_lines(
    features: Sequence[MapFeature], origin: Float[Array, 3]
) -> tuple[list[Array | None], list[int]]:
    """Points, left and right boundary of each feature, one after the other, in the log's frame.

    Returns:
        The lines, float32; None where there is none, or none of its points is of use. And of each
        line, how many of its points are not.
    """
    if not features:
        return [], []
    given = [
        _NO_LINE if line is None else np.asarray(line, dtype=np.float64).reshape(-1, 3)
        for feature in features
        for line in (feature.points, feature.left, feature.right)
    ]
    sizes = np.fromiter(map(len, given), dtype=np.int64, count=len(given))
    line = np.repeat(np.arange(len(given)), sizes)
    local = np.concatenate(given) - origin
    local[~np.array([feature.has_z for feature in features])[line // 3], 2] = 0.0
    with np.errstate(invalid="ignore"):
        usable = (np.isfinite(local) & (np.abs(local) <= REACH_M)).all(axis=1)
    flat = local[usable].astype(np.float32)
    ends = np.cumsum(np.bincount(line[usable], minlength=len(given)))
    cuts = itertools.pairwise([0, *ends.tolist()])
    lost = np.bincount(line[~usable], minlength=len(given))
    return [flat[a:b] if a < b else None for a, b in cuts], lost.tolist()


_NO_LINE = np.zeros((0, 3))


def _renumbered(edges: Array, new_id: dict[int, int]) -> tuple[Array, int]:
    kept = dict.fromkeys(
        (new_id[int(a)], int(kind), new_id[int(b)])
        for a, kind, b in edges
        if int(a) in new_id and int(b) in new_id
    )
    made = np.array(list(kept), dtype=np.int64).reshape(-1, 3)
    return made, len(edges) - len(made)


def _stated(road_map: RoadMap) -> Array:
    """The edges that the source states."""
    edges = np.asarray(road_map.edges, dtype=np.int64).reshape(-1, 3)
    return edges if road_map.derived is None else edges[~np.asarray(road_map.derived, dtype=bool)]


def _content_id(
    features: Sequence[MapFeature], edges: Int[Array, "edges 3"], origin: Array
) -> int:
    """Hash of points to a tenth of a millimetre, of attributes and of the source's edges.

    Conflicts are left out, stated or not: a map that left for a format that cannot mark them as
    found should come back as itself.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(np.asarray(origin, dtype="<f8").tobytes())
    lines = [line for f in features for line in (f.points, f.left, f.right) if line is not None]
    flat = np.concatenate(lines).astype(np.float64)
    grid = np.floor(flat / QUANTUM_M + 0.637).astype("<i8").tobytes()
    told: list[bytes] = []
    at = 0
    for feature in features:
        told.append(
            repr(
                (
                    feature.source_id, int(feature.layer), int(feature.lane_type),
                    feature.source_type, feature.speed_limit, feature.in_intersection,
                    feature.has_z,
                )
            ).encode()
        )  # fmt: skip
        for line in (feature.points, feature.left, feature.right):
            if line is None:
                told.append(b"-")
            else:
                told += [f"{len(line)}:".encode(), grid[at : at + 24 * len(line)]]
                at += 24 * len(line)
    digest.update(b"".join(told))
    edges = edges[edges[:, 1] != EdgeKind.CONFLICT]
    digest.update(edges.astype("<i8").tobytes())
    return stable_id("map", digest.digest())
