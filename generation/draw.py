"""Drawing candidates: proposals noised to γ, denoised jointly under guidance, made scenes again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from generation.behaviours import Behaviour, terms_for
from generation.compose import Candidate, compose
from generation.denoiser import Denoiser, Inputs
from generation.features import (
    AGENTS,
    FUTURE,
    STRIDE,
    Example,
    Pieces,
    example_of,
)
from generation.gates import Kinematics, OnMap, touching
from generation.guidance import Guide, Situation, StayNear, guided
from generation.noise import LAST, add_noise, times
from generation.proposals import Proposal
from generation.sampler import Denoise, sample, seeded_noise
from geometry.arrays import Array
from geometry.frames import SE2
from schemas.labels import AgentClass
from schemas.scene import Scene

FIXED = 6
"""Road users without a slot that guidance minds, the nearest."""
SETTLING_ROUNDS = 3
PARKED_M = 1.0  # [m] who moves less keeps standing


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draft:
    """One candidate before it is sampled.

    Attributes:
        proposal: Its beginning.
        start: Step that counts as now.
        pieces: The map's polylines.
        seed: Of its noise.
    """

    proposal: Proposal
    start: int
    pieces: Pieces
    seed: int


def draw(
    denoiser: Denoiser,
    drafts: Sequence[Draft],
    behaviour: Behaviour | None,
    *,
    aggressiveness: float = 0.5,
    gamma: float = 0.4,
    joint: bool = True,
    steps: int = 10,
) -> list[Candidate]:
    """Sample a batch of candidates.

    A candidate depends on its own draft alone, not on the batch that it is drawn in (but for the
    last bits of floating-point sums).

    Args:
        denoiser: Trained.
        drafts: With their proposals.
        behaviour: What the actors do; None for variation.
        aggressiveness: In [0, 1].
        gamma: How much noise the proposals are given, in [0, 1]; 0 gives them back guided.
        joint: Whether those near are generated too.
        steps: Evaluations of the denoiser.
    """
    examples, frees = [], []
    for draft in drafts:
        actor = draft.proposal.actor
        must = [actor] if behaviour is not None else []
        example = example_of(draft.proposal.scene, draft.start, must=must, pieces=draft.pieces)
        examples.append(example)
        frees.append(_free(draft.proposal.scene, example, must, joint=joint))
    free = torch.as_tensor(np.stack(frees))
    proposals = [
        _local(d.proposal, e.scene_from_local) for d, e in zip(drafts, examples, strict=True)
    ]
    situation = situation_of(drafts, examples, free)
    reference = StayNear(
        states=torch.as_tensor(np.stack([e.future.states for e in examples])),
        known=torch.as_tensor(np.stack([e.future.observed for e in examples])),
        tolerance=2.0 + 8.0 * gamma,
    )
    terms = terms_for(behaviour, proposals, reference, aggressiveness=aggressiveness)
    guide = Guide(terms=terms, situation=situation)
    x0 = torch.as_tensor(np.stack([e.future.actions for e in examples])).clamp(-3.0, 3.0)
    with torch.no_grad():
        actions = _sampled(denoiser, examples, x0, free, guide, drafts, gamma=gamma, steps=steps)
    return [
        _settled(draft, example, row.numpy(), frees[k], acts=behaviour is not None)
        for k, (draft, example, row) in enumerate(zip(drafts, examples, actions, strict=True))
    ]


def _settled(
    draft: Draft, example: Example, actions: Array, free: Array, *, acts: bool
) -> Candidate:
    """The candidate, in which who was sampled badly beside the actor keeps to the log after all.

    A scene of eight is only as good as its worst agent, and the log has a good future for each but
    the actor; what the actor itself does is never mended.
    """
    scene, actor = draft.proposal.scene, draft.proposal.actor if acts else None
    free = free.copy()
    for _ in range(SETTLING_ROUNDS):
        candidate = compose(
            scene, example, draft.start, actions, free, actor=actor, also=draft.proposal.yielded
        )
        ids = scene.tracks.track_id[np.maximum(example.agents, 0)]
        bad = set()
        for track in candidate.altered:
            if track != candidate.actor and not _moves_well(candidate, track):
                bad.add(track)
        for pair in touching(candidate.scene, candidate.altered, draft.start):
            bad |= {track for track in pair if track != candidate.actor}
        again = free & ~(np.isin(ids, list(bad)) & (example.agents >= 0))
        if actor is None and not again.any():
            return candidate
        if (again == free).all():
            return candidate
        free = again
    return compose(
        scene, example, draft.start, actions, free, actor=actor, also=draft.proposal.yielded
    )


def _moves_well(candidate: Candidate, track: int) -> bool:
    scene, start = [candidate.scene], candidate.start
    drives = Kinematics(altered=(track,)).check(scene, start)[0].passed
    return drives and OnMap(altered=(track,), reference=0.0).check(scene, start)[0].passed


def situation_of(
    drafts: Sequence[Draft], examples: Sequence[Example], free: Bool[Tensor, "batch agents"]
) -> Situation:
    """What guidance looks at, from the examples and who has no slot in them."""
    inputs = Inputs.of([e.context for e in examples])
    slots = [
        int(np.flatnonzero(e.agents == d.proposal.actor)[0])
        if (e.agents == d.proposal.actor).any() else 0
        for d, e in zip(drafts, examples, strict=True)
    ]  # fmt: skip
    fixed = [_fixed(d.proposal.scene, e, d.start) for d, e in zip(drafts, examples, strict=True)]
    batch = len(examples)
    lanes = (inputs.line_there & (inputs.line_kind <= 2))[..., None]
    return Situation(
        start=inputs.start, size=inputs.size, kind=inputs.kind, present=inputs.present, free=free,
        actor=torch.tensor(slots),
        plan=torch.as_tensor(np.stack([e.future.states[0] for e in examples])),
        fixed=torch.as_tensor(np.stack([f[0] for f in fixed])),
        fixed_size=torch.as_tensor(np.stack([f[1] for f in fixed])),
        fixed_there=torch.as_tensor(np.stack([f[2] for f in fixed])),
        lane=inputs.line.reshape(batch, -1, 4),
        lane_there=lanes.expand(inputs.line.shape[:3]).reshape(batch, -1),
    )  # fmt: skip


def _sampled(
    denoiser: Denoiser, examples: Sequence[Example], x0: Tensor, free: Tensor, guide: Guide,
    drafts: Sequence[Draft], *, gamma: float, steps: int,
) -> Tensor:  # fmt: skip
    known = (~free)[..., None].expand(*x0.shape[:3])
    scene = denoiser.encode(Inputs.of([e.context for e in examples]))

    def denoise(x: Tensor, t: float) -> Tensor:
        level = torch.full((len(x),), t)
        answer: Tensor = denoiser(torch.where(known[..., None], x0, x), level, scene, known)[-1]
        return torch.where(known[..., None], x0, answer)

    steered: Denoise = guided(denoise, guide)
    if gamma <= 0.0:
        return guide.steer(x0, 0.0)
    schedule = times(steps, begin=gamma * LAST)
    noise = seeded_noise((AGENTS, FUTURE, 2), [d.seed for d in drafts])
    begin = add_noise(x0, noise, torch.full((len(x0),), schedule[0]))
    return torch.where(known[..., None], x0, sample(steered, begin, schedule))


def _free(scene: Scene, example: Example, must: Sequence[int], *, joint: bool) -> Array:
    """Slots to generate: the actor, and if joint all that move; never the ego or things."""
    rows = example.agents
    free = np.isin(rows, list(must)) & (rows >= 0)
    if joint:
        states, observed = example.future.states, example.future.observed
        offset = np.linalg.norm(states[..., :2] - example.context.start[:, None, :2], axis=-1)
        moved = (offset * observed).max(axis=1) > PARKED_M
        kinds = scene.tracks.cls[np.maximum(rows, 0)]
        free |= moved & (rows > 0) & (kinds != AgentClass.OBSTACLE)
    free[0] = False
    return np.asarray(free)


def _fixed(scene: Scene, example: Example, start: int) -> tuple[Array, Array, Array]:
    """States, sizes and presence of those without a slot, in the example's frame."""
    tracks = scene.tracks
    steps = np.minimum(start + STRIDE * np.arange(1, FUTURE + 1), scene.steps - 1)
    inside = start + STRIDE * np.arange(1, FUTURE + 1) < scene.steps
    seen = tracks.valid[:, steps] & inside
    rest = np.setdiff1d(np.flatnonzero(seen.any(axis=1)), example.agents)
    here = np.array([example.scene_from_local.x, example.scene_from_local.y])
    far = np.linalg.norm(tracks.xy[rest][:, steps] - here, axis=-1)
    far = np.where(seen[rest], far, np.inf).min(axis=1) if len(rest) else np.zeros(0)
    rest = rest[np.argsort(far, kind="stable")[:FIXED]]
    local = example.scene_from_local.inverse()
    states = np.zeros((FIXED, FUTURE, 4), dtype=np.float32)
    size = np.ones((FIXED, 2), dtype=np.float32)
    there = np.zeros((FIXED, FUTURE), dtype=bool)
    count = len(rest)
    states[:count, :, :2] = local.apply(tracks.xy[rest][:, steps].astype(np.float64))
    states[:count, :, 2] = local.turn(tracks.yaw[rest][:, steps].astype(np.float64))
    size[:count] = tracks.size[rest, :2]
    there[:count] = seen[rest]
    return states, size, there


def _local(proposal: Proposal, scene_from_local: SE2) -> Proposal:
    """The proposal with its places told in the example's frame."""
    numbers = dict(proposal.numbers)
    if "x" in numbers:
        xy = scene_from_local.inverse().apply(np.array([numbers["x"], numbers["y"]]))
        numbers["x"], numbers["y"] = float(xy[0]), float(xy[1])
    return replace(proposal, numbers=numbers)
