"""A road map in the making: features get their ids, edges are kept once.

Edges that follow from geometry alone are not the reader's to find: the lake does, and says so.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from formats.tally import Tally
from geometry.arrays import Array
from schemas.labels import EdgeKind, LaneType, MapLayer
from schemas.records import MapFeature, RoadMap


class MapDraft:
    """Features and edges as they are found."""

    def __init__(self, tally: Tally) -> None:
        """An empty map.

        Args:
            tally: Where renamed ids are counted.
        """
        self.features: list[MapFeature] = []
        self._edges: dict[tuple[int, int, int], None] = {}
        self._taken: set[tuple[MapLayer, str]] = set()
        self._tally = tally

    def add(
        self,
        layer: MapLayer,
        source_id: str,
        points: Float[Array, "points 3"],
        *,
        left: Float[Array, "left 3"] | None = None,
        right: Float[Array, "right 3"] | None = None,
        lane_type: LaneType = LaneType.UNKNOWN,
        source_type: str = "",
        speed_limit: float | None = None,
        in_intersection: bool | None = None,
        has_z: bool = True,
    ) -> int:
        """One more feature; an id that its layer has already gets a number after it.

        Returns:
            Its feature id.
        """
        number, name = 1, source_id
        while (layer, name) in self._taken:
            number += 1
            name = f"{source_id}#{number}"
        if number > 1:
            reason = f"{layer.word} ids that another bears already get a number after them"
            self._tally.add("renamed", reason)
        self._taken.add((layer, name))
        index = len(self.features)
        self.features.append(
            MapFeature(
                feature_id=index, source_id=name, layer=layer, points=points, left=left,
                right=right, lane_type=lane_type, source_type=source_type,
                speed_limit=speed_limit, in_intersection=in_intersection, has_z=has_z,
            )
        )  # fmt: skip
        return index

    def set_speed_limit(self, index: int, limit: float) -> None:
        """Limit the speed on a feature, unless a lower limit is known [m/s]."""
        known = self.features[index].speed_limit
        if known is None or limit < known:
            self.features[index] = replace(self.features[index], speed_limit=limit)

    def edge(self, begin: int, kind: EdgeKind, end: int) -> None:
        """One edge; said again, it is the same."""
        self._edges[begin, int(kind), end] = None

    def follow(self, before: int, after: int) -> None:
        """One lane continues another: both edges."""
        self.edge(before, EdgeKind.SUCCESSOR, after)
        self.edge(after, EdgeKind.PREDECESSOR, before)

    def beside(self, left: int, right: int) -> None:
        """Two lanes of one direction lie side by side: both edges."""
        self.edge(right, EdgeKind.LEFT, left)
        self.edge(left, EdgeKind.RIGHT, right)

    def targets(self, kind: EdgeKind) -> set[int]:
        """Features from which an edge of a kind begins."""
        return {begin for begin, its, _ in self._edges if its == kind}

    def road_map(self, name: str) -> RoadMap:
        """The finished map."""
        edges = np.array(list(self._edges), dtype=np.int64).reshape(-1, 3)
        return RoadMap(source_map_id=name, features=tuple(self.features), edges=edges)
