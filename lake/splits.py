"""Which scenes must stay on one side of a train/test split: those of one place and time.

Two logs belong together if

- they are one family's (``logs.dataset``), at one place, at most ten minutes apart. A place is a
  map of less than 3 km, or wherever boxes round all that was seen come within 200 m of each other
  in one location's coordinates;
- one of them hides when it was recorded, and they share a map of less than 3 km;
- their readers name the same group in ``extra["split_group"]``, or one is generated from the other.

What belongs together forms a group, over any number of steps, that bears the least
``dataset/source_log_id`` in it, or the least name that a reader gave. Groups grow and merge as logs
come in; none is ever split.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int

from geometry.arrays import Array
from lake.ids import stable_id
from schemas.errors import BadQuery, UnknownName
from schemas.tables import TABLES

if TYPE_CHECKING:
    from lake.lake import Lake

NEAR_M = 200.0  # [m] between boxes of logs at one place
SMALL_MAP_M = 3000.0  # [m] a map of less extent is one place
NEAR_S = 600.0  # [s] between logs of one time
PAIRS_AT_ONCE = 64  # blocks of more logs are searched step by step, not pair by pair
SCENES_AT_ONCE = 5000  # scenes rewritten in one go

_HINTS = ("split_group", "parent_scene_id")  # keys of ``logs.extra`` that tie logs together


def split(
    lake: Lake, *, test: float = 0.2, by: str = "split_group", seed: int = 0
) -> dict[str, list[int]]:
    """Ids of the scenes for training and for testing.

    The side of a group follows from its name and the seed alone: logs that come in later move no
    scene from one side to the other, unless they join two groups into one.

    Args:
        lake: Whose scenes.
        test: Share of the groups that are for testing; of the scenes, about so many.
        by: Column of ``scenes`` that holds the groups.
        seed: Another one draws another split.

    Returns:
        ``{"train": ids, "test": ids}``.

    Raises:
        UnknownName: ``scenes`` has no column ``by``.
        BadQuery: ``test`` is no share.
    """
    if not 0.0 <= test <= 1.0:
        raise BadQuery(f"A share of {test} for testing cannot be.", hint="Say one from 0 to 1.")
    if by not in TABLES["scenes"].schema.names:
        raise UnknownName("column of scenes", by, TABLES["scenes"].schema.names)
    scenes = lake.read("scenes", list(dict.fromkeys(["scene_id", by])))
    groups = scenes[by].combine_chunks().dictionary_encode()
    tested = [stable_id("split", seed, str(name)) < test * 2.0**63 for name in groups.dictionary]
    sides: dict[str, list[int]] = {"train": [], "test": []}
    for scene_id, group in zip(
        scenes["scene_id"].to_pylist(), groups.indices.to_pylist(), strict=True
    ):
        # What is unknown of a scene ties it to nobody.
        alone = group is None and stable_id("split", seed, scene_id) < test * 2.0**63
        sides["test" if alone or (group is not None and tested[group]) else "train"].append(
            scene_id
        )
    return sides


def assign(lake: Lake) -> int:
    """Give every scene the group that it belongs to by now; within ``lake.store.writing()``.

    Returns:
        How many scenes changed their group.
    """
    scenes = lake.read(
        "scenes", ["scene_id", "log_id", "split_group", "xmin", "ymin", "xmax", "ymax"]
    )
    logs = lake.read(
        "logs",
        ["log_id", "dataset", "source_log_id", "location", "map_id", "t0_unix_ns", "dur_ns",
         "origin_x", "origin_y", "extra"],
    ).sort_by("log_id")  # fmt: skip
    if not scenes.num_rows or not logs.num_rows:
        return 0
    wanted = _names(lake, logs, scenes)
    place = _index_of(logs, scenes)
    known = place >= 0
    groups = np.asarray(scenes["split_group"].to_pylist(), dtype=object)
    target = np.where(known, wanted[np.maximum(place, 0)], groups)
    moved = np.flatnonzero(target != groups)
    scene_ids = scenes["scene_id"].to_numpy()
    for begin in range(0, len(moved), SCENES_AT_ONCE):
        some = moved[begin : begin + SCENES_AT_ONCE]
        chosen = f"scene_id IN ({', '.join(map(str, scene_ids[some].tolist()))})"
        rows = lake.read("scenes", None, chosen)
        name = dict(zip(scene_ids[some].tolist(), target[some].tolist(), strict=True))
        fresh = pa.array([name[i] for i in rows["scene_id"].to_pylist()], pa.string())
        column = rows.schema.get_field_index("split_group")
        rows = rows.set_column(column, rows.schema.field(column), fresh)
        lake.store.delete("scenes", chosen)
        lake.store.append("scenes", rows)
    return len(moved)


def _names(lake: Lake, logs: pa.Table, scenes: pa.Table) -> Array:
    """The group of each log, in the order of ``logs``."""
    count = logs.num_rows
    hints = _hints(logs)
    links = [
        _same(_group_now(logs, scenes)),
        _forced(hints),
        _generated(hints, logs, scenes),
        *_one_place(lake, logs, scenes),
    ]
    group = components(count, np.concatenate(links))
    own = [
        f"{dataset}/{name}"
        for dataset, name in zip(
            logs["dataset"].to_pylist(), logs["source_log_id"].to_pylist(), strict=True
        )
    ]
    best: dict[int, tuple[bool, str]] = {}
    for place, (name, member) in enumerate(zip(own, group.tolist(), strict=True)):
        told = hints.get(place, {}).get("split_group")
        mine = (True, name) if not told else (False, str(told))
        best[member] = min(best.get(member, mine), mine)
    return np.array([best[member][1] for member in group.tolist()], dtype=object)


def components(count: int, links: Int[Array, "links 2"]) -> Int[Array, " count"]:
    """A number for each of ``count`` things, equal for those that links join."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(links), dtype=np.int8)
    graph = coo_matrix((ones, (links[:, 0], links[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def touching(
    low: Float[Array, "boxes axes"],
    high: Float[Array, "boxes axes"],
    kind: Int[Array, " boxes"],
) -> Int[Array, "links 2"]:
    """Links that join boxes of one kind which touch, directly or over others.

    Boxes are parted along one axis after the other, until no axis parts any; what remains is
    compared.

    Args:
        low: Least coordinate along each axis.
        high: Greatest, likewise; a box that is not finite touches none.
        kind: Boxes of different kinds do not touch.
    """
    place = np.flatnonzero(np.isfinite(low).all(axis=1) & np.isfinite(high).all(axis=1))
    low, high, block = low[place], high[place], np.unique(kind[place], return_inverse=True)[1]
    parts, axis, unchanged = -1, 0, 0
    while len(place) and unchanged < low.shape[1]:
        block = _parted(block, low[:, axis], high[:, axis])
        unchanged = unchanged + 1 if (now := int(block.max()) + 1) == parts else 0
        parts, axis = now, (axis + 1) % low.shape[1]
    order = np.argsort(block, kind="stable")
    starts = np.flatnonzero(np.diff(block[order], prepend=-1) != 0)
    sizes = np.diff(np.append(starts, len(order)))
    found = [np.zeros((0, 2), dtype=np.int64)]
    for size in np.unique(sizes[(sizes > 1) & (sizes <= PAIRS_AT_ONCE)]):
        members = order[starts[sizes == size][:, None] + np.arange(size)]
        i, j = np.triu_indices(int(size), 1)
        a, b = members[:, i].ravel(), members[:, j].ravel()
        touch = ((low[a] <= high[b]) & (low[b] <= high[a])).all(axis=1)
        found.append(np.column_stack([a[touch], b[touch]]))
    for start, size in zip(starts, sizes, strict=True):
        if size > PAIRS_AT_ONCE:
            found.append(_spread(order[start : start + size], low, high))
    return np.asarray(place[np.concatenate(found)])


def _parted(block: Array, low: Array, high: Array) -> Array:
    """Blocks parted where, along one axis, nothing reaches over."""
    order = np.lexsort((low, block))
    here = block[order]
    # Places among all beginnings stand for coordinates, so that blocks can be told apart exactly.
    begins = np.sort(low)
    rank = np.searchsorted(begins, low[order], side="left")
    reach = np.searchsorted(begins, high[order], side="right") - 1
    reach = np.maximum.accumulate(reach + here * (len(low) + 1)) - here * (len(low) + 1)
    new = np.ones(len(order), dtype=bool)
    new[1:] = (here[1:] != here[:-1]) | (rank[1:] > reach[:-1])
    made = np.empty(len(order), dtype=np.int64)
    made[order] = np.cumsum(new) - 1
    return made


def _spread(members: Array, low: Array, high: Array) -> Array:
    """Links that join the boxes of a large block, found by walking from each to those it touches."""
    left, links = members.copy(), [np.zeros((0, 2), dtype=np.int64)]
    while len(left):
        queue, left = [int(left[0])], left[1:]
        while queue and len(left):
            here = queue.pop()
            met = ((low[left] <= high[here]) & (low[here] <= high[left])).all(axis=1)
            others = left[met]
            left = left[~met]
            links.append(np.column_stack([np.full(len(others), here), others]))
            queue += others.tolist()
    return np.concatenate(links)


def _one_place(lake: Lake, logs: pa.Table, scenes: pa.Table) -> list[Array]:
    """Links between logs of one family that were at one place at one time."""
    family = _codes(logs["dataset"])
    location = _codes(logs["location"])
    # To a microsecond, which floats hold; what hides its time is not finite.
    begin = logs["t0_unix_ns"].cast(pa.float64(), safe=False).to_numpy() / 1e9
    end = begin + logs["dur_ns"].to_numpy() / 1e9
    low, high = _boxes(logs, scenes)
    time = np.column_stack([begin - NEAR_S / 2.0, end + NEAR_S / 2.0])
    near = touching(
        np.column_stack([time[:, 0], low - NEAR_M / 2.0]),
        np.column_stack([time[:, 1], high + NEAR_M / 2.0]),
        family * (int(location.max()) + 2) + location + 1,
    )
    maps = _codes(logs["map_id"])
    kind = family * (int(maps.max()) + 2) + maps + 1
    shared = _small_maps(lake, logs, kind, maps)
    timed = np.flatnonzero(shared & np.isfinite(begin))
    together = touching(time[timed, :1], time[timed, 1:], kind[timed])
    # A log that hides its time may be of any: with it, all that share its map belong together.
    hidden = np.isin(kind, kind[shared & ~np.isfinite(begin)]) & shared
    return [near, timed[together], _same(np.where(hidden, kind, -1))]


def _small_maps(lake: Lake, logs: pa.Table, kind: Array, maps: Array) -> Array:
    """Of each log, whether its map is less than 3 km wide and some other log's of its family."""
    known = maps >= 0
    times = np.bincount(kind[known], minlength=int(kind.max()) + 1)
    shared = known & (times[kind] > 1)
    if not shared.any():
        return shared
    map_ids = logs["map_id"].fill_null(0).to_numpy()
    chosen = np.unique(map_ids[shared])
    wide = lake.sql(
        "SELECT map_id FROM map_features "
        f"WHERE map_id IN ({', '.join(map(str, chosen.tolist()))}) GROUP BY map_id "
        f"HAVING greatest(max(xmax) - min(xmin), max(ymax) - min(ymin)) >= {SMALL_MAP_M}"
    )["map_id"].to_numpy()
    return np.asarray(shared & ~np.isin(map_ids, wide))


def _boxes(logs: pa.Table, scenes: pa.Table) -> tuple[Array, Array]:
    """Of each log the box round all that its scenes show, in the source's coordinates [m]."""
    place = _index_of(logs, scenes)
    origin = np.column_stack([logs["origin_x"].to_numpy(), logs["origin_y"].to_numpy()])
    low, high = np.full((logs.num_rows, 2), np.inf), np.full((logs.num_rows, 2), -np.inf)
    for axis, name in enumerate("xy"):
        for side, made, put in (("min", low, np.minimum), ("max", high, np.maximum)):
            value = scenes[f"{name}{side}"].cast(pa.float64()).to_numpy()
            usable = (place >= 0) & np.isfinite(value)
            column = made[:, axis].copy()
            put.at(column, place[usable], value[usable])
            made[:, axis] = column + origin[:, axis]
    return low, high


def _hints(logs: pa.Table) -> dict[int, Mapping[str, Any]]:
    """What readers say in ``extra`` of logs that belong together, by place in ``logs``."""
    extra = logs["extra"].combine_chunks()
    some = np.zeros(len(extra), dtype=bool)
    for word in _HINTS:
        some |= pc.match_substring(extra, f'"{word}"').fill_null(False).to_numpy(False)
    return {int(i): json.loads(extra[int(i)].as_py()) for i in np.flatnonzero(some)}


def _forced(hints: Mapping[int, Mapping[str, Any]]) -> Array:
    named = [(place, str(h["split_group"])) for place, h in hints.items() if h.get("split_group")]
    first: dict[str, int] = {}
    return _links([(first.setdefault(name, place), place) for place, name in named])


def _generated(hints: Mapping[int, Mapping[str, Any]], logs: pa.Table, scenes: pa.Table) -> Array:
    """Links from logs that were generated to those that they were generated from."""
    parents = {
        place: int(h["parent_scene_id"])
        for place, h in hints.items()
        if str(h.get("parent_scene_id", "")).isdecimal()
    }
    if not parents:
        return _links([])
    scene_ids = scenes["scene_id"].to_numpy()
    order = np.argsort(scene_ids)
    ids = np.array(list(parents.values()), dtype=np.int64)
    at = np.minimum(np.searchsorted(scene_ids[order], ids), len(order) - 1)
    there = scene_ids[order[at]] == ids
    parent = _index_of(logs, scenes)[order[at]]
    child = np.array(list(parents), dtype=np.int64)
    kept = there & (parent >= 0)
    return np.column_stack([parent[kept], child[kept]])


def _group_now(logs: pa.Table, scenes: pa.Table) -> Array:
    """A number for the group that each log has by now, −1 where it has no scenes."""
    place = _index_of(logs, scenes)
    group = np.full(logs.num_rows, -1, dtype=np.int64)
    group[place[place >= 0]] = _codes(scenes["split_group"])[place >= 0]
    return group


def _same(code: Array) -> Array:
    """Links that join everything of one code; −1 is of none."""
    order = np.argsort(code, kind="stable")
    order = order[code[order] >= 0]
    joined = code[order[1:]] == code[order[:-1]]
    return np.column_stack([order[:-1][joined], order[1:][joined]])


def _index_of(logs: pa.Table, scenes: pa.Table) -> Array:
    """Of each scene, the place of its log in ``logs`` (ascending by id), −1 if it has none."""
    log_ids, wanted = logs["log_id"].to_numpy(), scenes["log_id"].to_numpy()
    at = np.minimum(np.searchsorted(log_ids, wanted), len(log_ids) - 1)
    return np.where(log_ids[at] == wanted, at, -1)


def _codes(column: pa.ChunkedArray) -> Int[Array, " rows"]:
    """A number for each different value, −1 for none."""
    codes = column.combine_chunks().dictionary_encode().indices
    return np.asarray(codes.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)


def _links(pairs: Sequence[tuple[int, int]]) -> Array:
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
