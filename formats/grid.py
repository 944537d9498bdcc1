"""Tracks on one clock: everyone at every step, as Waymo's scenarios and their descendants have it.

A grid becomes long rows: a track lives from its first to its last valid step; within its life,
steps that were not observed stay as rows with ``valid == False``; a track never observed is gone,
and a note says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from schemas.labels import AgentClass
from schemas.records import EgoStates, Note, Observations

CAR_M = (4.6, 1.9, 1.6)
"""Length, width and height of a usual car, for an ego whose size the source does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """The states of all tracks at all steps, ego included.

    Attributes:
        t_ns: Time of each step, ascending [ns].
        xyz: Box centres [m].
        yaw: [rad].
        size: (length, width, height); NaN where the source has none [m].
        velocity: (vx, vy) in the world frame; None where the source has none [m/s].
        valid: Whether the track was observed at the step; if not, its state means nothing.
        source_track_id: Per track, verbatim.
        source_cls: Per track, verbatim.
        cls: Per track, normalised.
    """

    t_ns: Int[Array, " steps"]
    xyz: Float[Array, "tracks steps 3"]
    yaw: Float[Array, "tracks steps"]
    size: Float[Array, "tracks steps 3"]
    velocity: Float[Array, "tracks steps 2"] | None
    valid: Bool[Array, "tracks steps"]
    source_track_id: Sequence[str]
    source_cls: Sequence[str]
    cls: Sequence[AgentClass]

    def without_broken_states(self) -> tuple[Grid, list[Note]]:
        """The grid with states that are NaN or infinite marked as not observed."""
        sound = np.isfinite(self.xyz).all(axis=-1) & np.isfinite(self.yaw)
        if self.velocity is not None:
            sound &= np.isfinite(self.velocity).all(axis=-1)
        broken = int((self.valid & ~sound).sum())
        if not broken:
            return self, []
        reason = "states that are NaN or infinite are marked as not observed"
        grid = Grid(
            t_ns=self.t_ns, xyz=self.xyz, yaw=self.yaw, size=self.size, velocity=self.velocity,
            valid=self.valid & sound, source_track_id=self.source_track_id,
            source_cls=self.source_cls, cls=self.cls,
        )  # fmt: skip
        return grid, [Note(kind="dropped", reason=reason, count=broken)]

    def ego(self, track: int) -> tuple[EgoStates, list[Note]]:
        """One track as the ego; it must have been observed at least once."""
        life = _life(self.valid[track])
        valid = self.valid[track, life]
        told = np.median(self.size[track][self.valid[track]], axis=0)
        known = np.isfinite(told) & (told > 0.0)
        notes = []
        if not known.all():
            reason = f"the ego's size is not told; a car's is taken: {CAR_M} m"
            notes.append(Note(kind="guessed", reason=reason))
        length, width, height = np.where(known, told, CAR_M).tolist()
        ego = EgoStates(
            t_ns=self.t_ns[life],
            xyz=_zero_where(~valid, self.xyz[track, life]),
            yaw=_zero_where(~valid, self.yaw[track, life]),
            size=(length, width, height),
            velocity=None
            if self.velocity is None
            else _zero_where(~valid, self.velocity[track, life]),
            valid=None if valid.all() else valid,
            source_track_id=self.source_track_id[track],
            source_cls=self.source_cls[track],
        )
        return ego, notes

    def observations(self, *, without: int | None = None) -> tuple[Observations, list[Note]]:
        """Everyone but one track, the ego."""
        seen = [k for k in range(len(self.valid)) if k != without and self.valid[k].any()]
        unseen = len(self.valid) - len(seen) - (without is not None)
        notes = []
        if unseen:
            reason = "tracks that were not observed at any step are left out"
            notes.append(Note(kind="dropped", reason=reason, count=unseen))
        if not seen:
            return Observations.none(), notes
        lives = [np.arange(len(self.t_ns))[_life(self.valid[k])] for k in seen]
        rows = np.repeat(seen, [len(life) for life in lives])
        steps = np.concatenate(lives)
        valid = self.valid[rows, steps]
        agents = Observations(
            track=np.repeat(np.arange(len(seen)), [len(life) for life in lives]),
            t_ns=self.t_ns[steps],
            xyz=_zero_where(~valid, self.xyz[rows, steps]),
            yaw=_zero_where(~valid, self.yaw[rows, steps]),
            size=_zero_where(~valid, self.size[rows, steps]),
            velocity=None
            if self.velocity is None
            else _zero_where(~valid, self.velocity[rows, steps]),
            valid=None if valid.all() else valid,
            source_track_id=[self.source_track_id[k] for k in seen],
            source_cls=[self.source_cls[k] for k in seen],
            cls=[self.cls[k] for k in seen],
        )
        return agents, notes


def _life(valid: Bool[Array, " steps"]) -> slice:
    steps = np.flatnonzero(valid)
    return slice(int(steps[0]), int(steps[-1]) + 1)


def _zero_where(
    mask: Bool[Array, " rows"], value: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    return np.where(mask.reshape(-1, *[1] * (value.ndim - 1)), 0.0, value)
