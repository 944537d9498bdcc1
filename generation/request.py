"""What is asked of the generator."""

from __future__ import annotations

from dataclasses import dataclass

from generation.behaviours import BEHAVIOURS
from schemas.errors import BadSetting, UnknownName


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Scenarios to make; at most one of ``gap_id`` and ``like``.

    Attributes:
        gap_id: A gap of ``gaps`` to fill: same road type and conditions, its tag true.
        like: A scene whose variations are wanted.
        tags: Predicates, or saved rules, that must be true, beside the gap's.
        query: What must hold after the start, see :mod:`mining.query`.
        adversary: A name of :data:`~generation.behaviours.BEHAVIOURS`; None: chosen by tag.
        aggressiveness: From 0, just enough to count, to 1.
        gamma: How far from the rule-made or logged beginning, from 0 (it itself) to 1 (noise).
        n: How many accepted scenarios are wanted.
        budget: How many candidates may be made for them; 0: twelve for each.
        joint: Whether those near are generated together with the actor, so that they react; else
            they keep to their log.
        sampler_steps: Evaluations of the denoiser for a candidate.
        batch: Candidates at a time.
        seed: Of every random choice.
    """

    gap_id: str | None = None
    like: int | None = None
    tags: tuple[str, ...] = ()
    query: str | None = None
    adversary: str | None = None
    aggressiveness: float = 0.5
    gamma: float = 0.4
    n: int = 8
    budget: int = 0
    joint: bool = True
    sampler_steps: int = 10
    batch: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be asked.

        Raises:
            BadSetting: A number is out of its range, or both a gap and a scene are named.
            UnknownName: There is no such adversary.
        """
        if self.gap_id is not None and self.like is not None:
            raise BadSetting(
                "Both a gap and a scene were named.", hint="Give either --gap or --like."
            )
        for name in ("aggressiveness", "gamma"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise BadSetting(f"{name} is {getattr(self, name)}; it goes from 0 to 1.")
        for name in ("n", "batch", "sampler_steps"):
            if getattr(self, name) < 1:
                raise BadSetting(f"{name} is {getattr(self, name)}; it must be 1 or more.")
        if self.adversary is not None and self.adversary not in BEHAVIOURS:
            raise UnknownName("adversary", self.adversary, BEHAVIOURS)

    @property
    def candidates(self) -> int:
        """How many candidates may be made."""
        return self.budget or 12 * self.n
