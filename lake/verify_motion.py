"""Do road users move as bodies do? One pass over the states of a table, in the order they lie.

What is found here is in the source more often than in the lake: labels that swap two cars, boxes
that turn round, ids that are used again. Therefore all are warnings: rows are as the source has
them, and whoever trains or measures on them should know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.angles import wrap
from geometry.arrays import Array
from lake.findings import WARNING, Finding, Tally

if TYPE_CHECKING:
    import pyarrow as pa

    from lake.lake import Lake

TELEPORT_SPEED = 100.0
"""No road user is faster [m/s]."""
TELEPORT_M = 5.0
"""Shorter jumps are noise of the labels, however soon they happen [m]."""

STEP_S = 0.5
"""Two observations that are further apart say little about what happened between them [s]."""

HEADING_FLIP = 2.5
"""Nobody turns round by so much in a step [rad]."""
MOVING = 1.0
"""The heading of what moves more slowly is not asked about [m/s]."""

LENGTH_JUMP, WIDTH_JUMP = 1.5, 1.0
"""A box that grows or shrinks by more in a step is another one's [m]."""

DRIFT_M, DRIFT_PART = 2.0, 0.3
"""How far a track's displacement may be from the sum of its velocities: metres, and part of the
way. Velocities in another frame, or of another sign, are far beyond."""

_COLUMNS = (
    "log_id", "track_id", "t_ns", "valid", "x", "y", "yaw", "vx_map", "vy_map", "length", "width",
)  # fmt: skip
_BATCH_ROWS = 2**17


def motion(lake: Lake, name: str) -> list[Finding]:
    """What moves oddly in ``ego`` or ``agents``."""
    data = lake.store.dataset(name)
    if data is None:
        return []
    walk = _Walk()
    for batch in data.to_batches(columns=list(_COLUMNS), batch_size=_BATCH_ROWS):
        walk.go(_arrays(batch))
    walk.close()
    return [finding for tally in walk.tallies for finding in tally.finding(name)]


class _Walk:
    """The rules, and what must be remembered from one batch to the next."""

    def __init__(self) -> None:
        self.teleports = Tally(
            severity=WARNING, check="teleport",
            what=f"states lie farther from the one before than {TELEPORT_SPEED:.0f} m/s allow",
        )  # fmt: skip
        self.headings = Tally(
            severity=WARNING, check="heading flip", what="states of a moving box are turned round"
        )
        self.boxes = Tally(
            severity=WARNING, check="box jump", what="boxes change their size within a step"
        )
        self.drifts = Tally(
            severity=WARNING, check="velocity",
            what="tracks do not go where their velocities say",
        )  # fmt: skip
        self.tallies = (self.teleports, self.headings, self.boxes, self.drifts)
        self._last: dict[str, Array] | None = None
        self._sums = np.zeros(5)
        self._of: tuple[int, int] | None = None

    def go(self, rows: dict[str, Array]) -> None:
        """A batch of valid states; steps are between neighbours of one track."""
        if self._last is not None:
            rows = {key: np.concatenate([self._last[key], rows[key]]) for key in rows}
        self._last = {key: values[-1:] for key, values in rows.items()}
        same = (rows["log_id"][1:] == rows["log_id"][:-1]) & (
            rows["track_id"][1:] == rows["track_id"][:-1]
        )
        at = np.flatnonzero(same & (rows["t_ns"][1:] > rows["t_ns"][:-1]))
        if not len(at):
            return
        dt = (rows["t_ns"][at + 1] - rows["t_ns"][at]) / 1e9
        step = np.stack([_change(rows["x"], at), _change(rows["y"], at)], axis=-1)
        distance = np.hypot(step[:, 0], step[:, 1])
        near = dt <= STEP_S
        self._note(
            self.teleports, (distance > TELEPORT_M) & (distance > TELEPORT_SPEED * dt), rows, at
        )
        turned = np.abs(wrap(_change(rows["yaw"], at))) > HEADING_FLIP
        self._note(self.headings, near & turned & (distance > MOVING * dt), rows, at)
        grown = (np.abs(_change(rows["length"], at)) > LENGTH_JUMP) | (
            np.abs(_change(rows["width"], at)) > WIDTH_JUMP
        )
        self._note(self.boxes, near & grown, rows, at)
        self._sum_up(rows, at[near], dt[near], step[near])

    def close(self) -> None:
        """The last track ends."""
        if self._of is not None:
            self._judge(self._of, self._sums)

    def _note(
        self, tally: Tally, broken: Bool[Array, " steps"], rows: dict[str, Array],
        at: Int[Array, " steps"],
    ) -> None:  # fmt: skip
        if broken.any():
            place = at[np.argmax(broken)] + 1
            tally.add(
                int(broken.sum()),
                ", ".join(f"{k} {rows[k][place]}" for k in ("log_id", "track_id", "t_ns")),
            )

    def _sum_up(
        self, rows: dict[str, Array], at: Int[Array, " steps"], dt: Float[Array, " steps"],
        step: Float[Array, "steps 2"],
    ) -> None:  # fmt: skip
        """Displacement and integrated velocity, track by track."""
        velocity = np.stack(
            [(rows[c][at] + rows[c][at + 1]).astype(np.float64) / 2 for c in ("vx_map", "vy_map")],
            axis=-1,
        )
        known = np.isfinite(velocity).all(axis=-1) & np.isfinite(step).all(axis=-1)
        at, dt, step, velocity = at[known], dt[known], step[known], velocity[known]
        if not len(at):
            return
        keys = np.stack([rows["log_id"][at], rows["track_id"][at]], axis=-1)
        begins = np.flatnonzero(np.r_[True, (keys[1:] != keys[:-1]).any(axis=-1)])
        way = velocity * dt[:, None]
        terms = np.column_stack([step, way, np.hypot(way[:, 0], way[:, 1])])
        sums = np.add.reduceat(terms, begins, axis=0)
        owners = [(int(a), int(b)) for a, b in keys[begins]]
        for owner, total in zip(owners, sums, strict=True):
            if owner == self._of:
                self._sums = self._sums + total
                continue
            if self._of is not None:
                self._judge(self._of, self._sums)
            self._of, self._sums = owner, total

    def _judge(self, owner: tuple[int, int], sums: Float[Array, "5"]) -> None:
        apart = float(np.hypot(sums[0] - sums[2], sums[1] - sums[3]))
        moved = max(float(sums[4]), float(np.hypot(sums[0], sums[1])))
        if apart > DRIFT_M + DRIFT_PART * moved:
            self.drifts.add(
                1, f"log_id {owner[0]}, track_id {owner[1]}, which ends {apart:.1f} m elsewhere"
            )


def _change(values: Float[Array, " rows"], at: Int[Array, " steps"]) -> Float[Array, " steps"]:
    return values[at + 1].astype(np.float64) - values[at].astype(np.float64)


def _arrays(batch: pa.RecordBatch) -> dict[str, Array]:
    """Columns of the valid rows; what is null is NaN."""
    valid = batch["valid"].to_numpy(zero_copy_only=False)
    return {
        name: batch[name].to_numpy(zero_copy_only=False)[valid]
        for name in _COLUMNS
        if name != "valid"
    }
