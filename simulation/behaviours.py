"""Who moves how: the behaviours that other road users can have, and the draw of each agent's.

A case names them in words:

    idm                                   every motor vehicle; people and things keep to the log
    mixed:idm=0.5,log=0.3,mobil=0.2       so many of the motor vehicles, in the mean
    mixed:mobil=1,yielding=0.7            besides, so many of those on foot and on bicycles yield

Each agent of each case draws its own, from a hash of the suite's seed, the case's id and the agent's:
what it draws depends on nobody else, nor on the batch, the order or the number of workers. The id is
the one with which the case was first made (:attr:`schemas.case.Case.drawn_as`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Float, Int

from geometry.arrays import Array
from schemas.errors import BadSetting, UnknownName
from schemas.labels import VEHICLES, AgentClass

MIXED = "mixed:"
SHARE_TOLERANCE = 1e-6


class AgentMode(IntEnum):
    """How one agent moves."""

    LOG = 0
    """As in the log, whatever happens."""
    CONSTANT_VELOCITY = 1
    """Straight on from the start."""
    IDM = 2
    """Along its logged line, keeping its distance from whoever stands in it, heeding signals."""
    LOG_THEN_IDM = 3
    """As in the log until it would ram somebody who is not where the log had them, then as ``IDM``."""
    MOBIL = 4
    """As ``IDM``, and it changes lanes where that gains it something and is safe."""
    YIELDING = 5
    """Along its logged path at its logged pace, but waiting for gaps between vehicles."""
    DIFFUSION = 6
    """As the generator draws its next seconds from the last one, again and again."""


BLIND = frozenset({AgentMode.LOG, AgentMode.CONSTANT_VELOCITY})
"""These take no notice of anybody."""

_EVERYBODY = frozenset(AgentClass)
_WALKERS = frozenset({AgentClass.PEDESTRIAN, AgentClass.CYCLIST})
FOR: Mapping[AgentMode, frozenset[AgentClass]] = {
    AgentMode.LOG: _EVERYBODY,
    AgentMode.CONSTANT_VELOCITY: _EVERYBODY,
    AgentMode.IDM: VEHICLES,
    AgentMode.LOG_THEN_IDM: VEHICLES | {AgentClass.CYCLIST},
    AgentMode.MOBIL: VEHICLES,
    AgentMode.YIELDING: _WALKERS,
    AgentMode.DIFFUSION: VEHICLES | _WALKERS,
}
"""Who can behave so; the others keep to the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """What share of the agents behaves how.

    Attributes:
        vehicles: Behaviour to share among the motor vehicles; the shares sum to 1.
        yielding: Share of those on foot and on bicycles who yield; the others keep to the log.
    """

    vehicles: Mapping[AgentMode, float]
    yielding: float = 0.0


def understood(words: str) -> AgentMode | Mixture:
    """What a case says about its agents.

    Raises:
        UnknownName: A behaviour that there is none of.
        BadSetting: Shares that are no numbers in [0, 1], are told twice, or do not sum to 1.
    """
    if not words.startswith(MIXED):
        return _behaviour(words)
    shares: dict[AgentMode, float] = {}
    for part in words.removeprefix(MIXED).split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        behaviour = _behaviour(name)
        try:
            share = float(value)
        except ValueError:
            share = np.nan
        if not equals or not 0.0 <= share <= 1.0 or behaviour in shares:
            raise BadSetting(
                f"`{part}` in `{words}` is no share.",
                hint="Write each behaviour once with a number from 0 to 1: mixed:idm=0.7,mobil=0.3.",
            )
        shares[behaviour] = share
    yielding = shares.pop(AgentMode.YIELDING, 0.0)
    vehicles = shares or {AgentMode.LOG: 1.0}
    total = sum(vehicles.values())
    if abs(total - 1.0) > SHARE_TOLERANCE:
        raise BadSetting(
            f"The shares of the vehicles in `{words}` sum to {total:g}.",
            hint="They should sum to 1; `yielding` is a share of the people and counts apart.",
        )
    return Mixture(vehicles=vehicles, yielding=yielding)


def named_in(words: str) -> frozenset[AgentMode]:
    """Every behaviour that agents may have who move as a case says; for errors see :func:`understood`."""
    wanted = understood(words)
    if isinstance(wanted, AgentMode):
        return frozenset({wanted})
    shares = {**wanted.vehicles, AgentMode.YIELDING: wanted.yielding}
    return frozenset(mode for mode, share in shares.items() if share > 0.0)


def left_to_chance(words: str) -> bool:
    """Whether what agents do who move as a case says hangs on what they draw."""
    named = named_in(words)
    return len(named) > 1 or not named.isdisjoint({AgentMode.YIELDING, AgentMode.DIFFUSION})


def _behaviour(name: str) -> AgentMode:
    known = [mode.name.lower() for mode in AgentMode]
    if name not in known:
        raise UnknownName("behaviour of agents", name, known)
    return AgentMode[name.upper()]


def modes_of(
    words: str,
    *,
    cls: Int[Array, " agents"],
    track_id: Int[Array, " agents"],
    case_id: int,
    seed: int,
) -> Int[Array, " agents"]:
    """Code of :class:`AgentMode` of each agent.

    Args:
        words: What the case says.
        cls: Codes of AgentClass.
        track_id: Of the agents.
        case_id: With which the case was first made.
        seed: Of the suite.
    """
    wanted = understood(words)
    if isinstance(wanted, AgentMode):
        able = np.isin(cls, [int(c) for c in FOR[wanted]])
        return np.where(able, int(wanted), int(AgentMode.LOG)).astype(np.int64)
    drawn = chance("behaviour", seed=seed, case_id=case_id, track_id=track_id)
    modes = np.full(len(cls), int(AgentMode.LOG), dtype=np.int64)
    edges = np.cumsum(list(wanted.vehicles.values()))
    which = np.minimum(np.searchsorted(edges, drawn, side="right"), len(edges) - 1)
    motor = np.isin(cls, [int(c) for c in VEHICLES])
    modes[motor] = np.array([int(mode) for mode in wanted.vehicles])[which[motor]]
    yields = np.isin(cls, [int(c) for c in _WALKERS]) & (drawn < wanted.yielding)
    modes[yields] = int(AgentMode.YIELDING)
    return modes


_PURPOSES = ("behaviour", "margin", "future")


def chance(
    purpose: str, *, seed: int, case_id: int, track_id: Int[Array, " agents"]
) -> Float[Array, " agents"]:
    """A number in [0, 1) for each agent, its own for each purpose.

    The three ids go through the finaliser of SplitMix64 (Steele et al. 2014), one after the other.
    """
    state = _hashed(purpose, np.int64(seed), np.int64(case_id), track_id.astype(np.int64))
    return np.asarray((state >> np.uint64(11)).astype(np.float64) / float(1 << 53))


def hashed(purpose: str, *numbers: int) -> int:
    """A seed in [0, 2⁶³) of its own for some numbers and a purpose, by the same finaliser."""
    return int(_hashed(purpose, *map(np.int64, numbers))[0] >> np.uint64(1))


def _hashed(purpose: str, *parts: Array | np.int64) -> Array:
    state = np.full(1, _PURPOSES.index(purpose) + 1, dtype=np.uint64)
    for part in parts:
        state = _mixed(state ^ _mixed(np.atleast_1d(part).astype(np.uint64)))
    return state


def _mixed(state: Array) -> Array:
    z = state + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
