"""Maps read back from their rows, several in one go.

Scenes drawn at random from a large lake are of as many maps, and asking for rows costs the same for one
map as for many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from geometry.arrays import Array
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import MapFeature, RoadMap

if TYPE_CHECKING:
    from lake.lake import Lake

_WORDS = (
    "feature_id", "source_feature_id", "layer", "lane_type", "source_type", "speed_limit",
    "in_intersection", "has_z",
)  # fmt: skip
_LINES = ("polyline", "left_boundary", "right_boundary")


def read_maps(lake: Lake, names: Mapping[int, str]) -> dict[int, RoadMap]:
    """Maps in the frame of their logs.

    Args:
        lake: Which lake.
        names: The source's name of each map, by ``map_id``.

    Returns:
        By ``map_id``; one of which there are no rows has no features.
    """
    if not names:
        return {}
    where = f"map_id in ({', '.join(map(str, names))})"
    features = lake.read("map_features", ["map_id", *_WORDS, *_LINES], where)
    edges = lake.read("map_edges", ["map_id", "from_id", "kind", "to_id", "derived"], where)
    rows_of, edges_of = _by_map(features), _by_map(edges)
    found = {}
    for map_id, name in names.items():
        links = edges_of.get(map_id, edges.slice(0, 0))
        kinds = np.array([EdgeKind.of(kind) for kind in links["kind"].to_pylist()], dtype=np.int64)
        rows = rows_of.get(map_id, features.slice(0, 0)).sort_by("feature_id")
        found[map_id] = RoadMap(
            source_map_id=name,
            features=tuple(_features(rows)),
            edges=np.column_stack([links["from_id"].to_numpy(), kinds, links["to_id"].to_numpy()]),
            derived=np.asarray(links["derived"], dtype=bool),
        )
    return found


def _by_map(rows: pa.Table) -> dict[int, pa.Table]:
    """The rows of each map, in the order in which they stand."""
    ids = rows["map_id"].to_numpy()
    order = np.argsort(ids, kind="stable")
    values, begins = np.unique(ids[order], return_index=True)
    ends = [*begins[1:], len(ids)]
    rows = rows.take(pa.array(order))
    return {
        int(value): rows.slice(begin, end - begin)
        for value, begin, end in zip(values, begins, ends, strict=True)
    }


def _features(rows: pa.Table) -> Iterator[MapFeature]:
    columns: dict[str, list[Any]] = {name: rows[name].to_pylist() for name in _WORDS}
    columns |= {name: _lines(rows[name]) for name in _LINES}
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        yield MapFeature(
            feature_id=row["feature_id"],
            source_id=row["source_feature_id"],
            layer=MapLayer.of(row["layer"]),
            points=row["polyline"],
            left=row["left_boundary"],
            right=row["right_boundary"],
            lane_type=LaneType.of(row["lane_type"] or "unknown"),
            source_type=row["source_type"],
            speed_limit=row["speed_limit"],
            in_intersection=row["in_intersection"],
            has_z=row["has_z"],
        )


def _lines(column: pa.ChunkedArray) -> list[Array | None]:
    """Points of each row, (points, 3); None where it has none."""
    lists = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy()
    points = np.array(lists.flatten(), dtype=np.float32).reshape(-1, 3)
    ends = np.cumsum(lengths // 3)
    given = lists.is_valid().to_numpy(zero_copy_only=False)
    return [
        points[end - n : end] if there else None
        for there, n, end in zip(given, lengths // 3, ends, strict=True)
    ]
