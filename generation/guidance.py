"""Guidance: differentiable costs on the clean estimate that steer the sampler to what is wanted.

At each noise level the clean estimate is rolled out to states, the terms are summed, and the
actions of the agents that may be steered take a few normalised gradient steps, held within a
multiple of σ_t of what the network said (SAFE-SIM 2401.00391, eq. 8; CTG++ ``clean_guide``). The
gradient never passes through the network, so a step costs about a fiftieth of a forward pass.

Every term answers one cost a candidate, 0 where there is nothing to improve. Numbers that differ
between candidates are tensors of one entry each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from generation.features import ACTION_SCALE, FUTURE, STEP
from generation.noise import alpha_sigma
from generation.rollout import rollout
from generation.sampler import Denoise
from schemas.labels import AgentClass

DISCS = 5
"""A box is seen as this many discs along its length."""
SOFT_TIME_M = 1.0  # [m] how sharply the nearest moment is picked
FAR_M = 1e3
STEEP = 0.05
"""Root mean square of a gradient from which it counts as steep."""


@dataclass(frozen=True, slots=True, eq=False)
class Situation:
    """What the terms look at; every candidate has its own row.

    Attributes:
        start: State now [m, m, rad, m/s].
        size: Length and width [m].
        kind: Class codes.
        present: Whether the slot holds an agent.
        free: Whether the agent may be steered; slot 0, the ego, never is.
        actor: Slot of the agent that is to do something.
        plan: What the ego will do (its logged track, or any planner's) [m, m, rad, m/s].
        fixed: States of road users without a slot, which keep to their log.
        fixed_size: Their length and width [m].
        fixed_there: Whether they are there at the step.
        lane: x, y and unit direction of lane points [m].
        lane_there: Whether the row holds one.
        lane_half: Half the width of a lane [m].
    """

    start: Float[Tensor, "batch agents 4"]
    size: Float[Tensor, "batch agents 2"]
    kind: Int[Tensor, "batch agents"]
    present: Bool[Tensor, "batch agents"]
    free: Bool[Tensor, "batch agents"]
    actor: Int[Tensor, " batch"]
    plan: Float[Tensor, "batch future 4"]
    fixed: Float[Tensor, "batch others future 4"]
    fixed_size: Float[Tensor, "batch others 2"]
    fixed_there: Bool[Tensor, "batch others future"]
    lane: Float[Tensor, "batch points 4"]
    lane_there: Bool[Tensor, "batch points"]
    lane_half: float = 1.75

    def of_actor(self, value: Tensor) -> Tensor:
        """The actor's row of anything told by agent."""
        return value[torch.arange(len(value)), self.actor]

    def on_wheels(self) -> Tensor:
        """Whether the agent belongs on lanes."""
        walks = (AgentClass.PEDESTRIAN, AgentClass.ANIMAL, AgentClass.OBSTACLE, AgentClass.OTHER)
        return self.present & ~torch.isin(self.kind, torch.tensor([int(c) for c in walks]))


class Term(Protocol):
    """One objective."""

    def __call__(self, states: Tensor, actions: Tensor, situation: Situation) -> Tensor:
        """Cost of each candidate, from rolled-out states and actions in SI units."""


@dataclass(frozen=True, slots=True)
class KeepApart:
    """No two road users come nearer than a margin; the actor may be let near the ego.

    Σ_pairs Σ_t max(0, margin − gap)².

    Attributes:
        margin: Wanted gap between outlines [m].
        spare_ego: Whether actor and ego are exempt.
    """

    margin: float = 0.5
    spare_ego: bool = False

    def __call__(self, states: Tensor, actions: Tensor, situation: Situation) -> Tensor:  # noqa: ARG002
        """Cost of each candidate."""
        first, second = torch.triu_indices(states.shape[1], states.shape[1], 1).unbind(0)
        gap = disc_gap(
            states[:, first], situation.size[:, first, None],
            states[:, second], situation.size[:, second, None],
        )  # fmt: skip
        pairs = situation.present[:, first] & situation.present[:, second]
        pairs = pairs & (situation.free[:, first] | situation.free[:, second])
        if self.spare_ego:
            pairs = pairs & ~((first == 0) & (second == situation.actor[:, None]))
        near = torch.relu(self.margin - gap).square().sum(-1)
        cost = (near * pairs).sum(1)
        if situation.fixed.shape[1]:
            gap = disc_gap(
                states[:, :, None], situation.size[:, :, None, None],
                situation.fixed[:, None], situation.fixed_size[:, None, :, None],
            )  # fmt: skip
            there = situation.present[:, :, None, None] & situation.fixed_there[:, None]
            cost = cost + (torch.relu(self.margin - gap).square() * there).sum((1, 2, 3))
        return cost


@dataclass(frozen=True, slots=True)
class StayOnLanes:
    """What has wheels stays near some lane's centre line, and points along it.

    Σ_t max(0, |d| − tolerance)² + ½·(1 − cos Δψ) beside the nearest lane that points as the agent
    does; agents that are far from every lane are left alone (they park, or the map ends).

    Attributes:
        tolerance: Offset that costs nothing [m].
        spare_actor: Whether the actor may go anywhere between lanes, and either way: it changes
            lane, or drives the wrong way.
    """

    tolerance: float = 1.0
    spare_actor: bool = False

    def __call__(self, states: Tensor, actions: Tensor, situation: Situation) -> Tensor:  # noqa: ARG002
        """Cost of each candidate."""
        offset, turn, there = lane_offset(states, situation)
        on = (situation.on_wheels() & situation.free)[..., None] & there
        tolerance = torch.full(states.shape[:2], self.tolerance, dtype=states.dtype)
        steady = torch.ones_like(tolerance)
        if self.spare_actor:
            row = torch.arange(len(on))
            loose, _, _ = lane_offset(states, situation, any_direction=True)
            offset = offset.index_put((row, situation.actor), situation.of_actor(loose))
            tolerance[row, situation.actor] = situation.lane_half + 0.2
            steady[row, situation.actor] = 0.0
        aside = torch.relu(offset.abs() - tolerance[..., None]).square().clamp(max=25.0)
        moving = (states[..., 3] > 1.0).to(states.dtype) * steady[..., None]
        cost = aside + 0.5 * (1.0 - torch.cos(turn)) * moving
        return (cost * on).sum((1, 2))


@dataclass(frozen=True, slots=True)
class WithinLimits:
    """Accelerations, lateral accelerations and curvatures that a vehicle can drive.

    Attributes:
        brake: Hardest braking [m/s²].
        speed_up: Hardest acceleration [m/s²].
        lateral: Greatest lateral acceleration [m/s²].
        curvature: Greatest for what has wheels [1/m].
    """

    brake: float = 8.0
    speed_up: float = 3.0
    lateral: float = 4.0
    curvature: float = 0.2

    def __call__(self, states: Tensor, actions: Tensor, situation: Situation) -> Tensor:
        """Cost of each candidate."""
        acceleration, rate = actions.unbind(-1)
        speed = states[..., 3]
        wheels = situation.on_wheels()[..., None]
        free = situation.free[..., None]
        along = torch.relu(acceleration - self.speed_up) + torch.relu(-acceleration - self.brake)
        aside = torch.relu((speed * rate).abs() - self.lateral)
        bend = torch.relu(rate.abs() - self.curvature * speed - 0.02) * 5.0
        return ((along.square() + aside.square() + bend.square() * wheels) * free).sum((1, 2))


@dataclass(frozen=True, slots=True, eq=False)
class StayNear:
    """Steered agents keep to a reference, within a tolerance.

    Attributes:
        states: The reference (log, or rule-made proposal) [m, m, rad, m/s].
        known: Where the reference says anything.
        tolerance: Distance that costs nothing, at the end of the horizon [m].
        actor_only: Whether it concerns the actor alone.
    """

    states: Float[Tensor, "batch agents future 4"]
    known: Bool[Tensor, "batch agents future"]
    tolerance: float = 1.0
    actor_only: bool = False

    def __call__(self, states: Tensor, actions: Tensor, situation: Situation) -> Tensor:  # noqa: ARG002
        """Cost of each candidate."""
        on = self.known & situation.free[..., None]
        if self.actor_only:
            on = on & (torch.arange(states.shape[1]) == situation.actor[:, None])[..., None]
        growth = torch.linspace(1.0 / FUTURE, 1.0, states.shape[2])
        distance = _norm(states[..., :2] - self.states[..., :2])
        return (torch.relu(distance - self.tolerance * growth).square() * on).mean(2).sum(1)


@dataclass(frozen=True, slots=True, eq=False)
class MeetEgo:
    """The actor comes as near to the ego's plan as asked, from the side asked for, in a window.

    With d̃ = softmin_t gap(t): max(0, d̃ − gap)² + side·(1 − cos ∠(bearing, wanted)) at that moment,
    and the same for the relative heading; the softmin weights pick the moment (SAFE-SIM's J_coll
    and its collision type; STRIVE's clusters).

    Attributes:
        gap: Wanted distance between outlines; 0 asks for contact [m].
        bearing: Where the ego sees the actor at that moment, 0 ahead, π/2 left; NaN: anywhere.
        heading: Actor's heading relative to the ego's then; NaN: any [rad].
        begin: The window [s].
        end: [s].
        side: Weight of bearing and heading.
    """

    gap: Float[Tensor, " batch"]
    bearing: float = math.nan
    heading: float = math.nan
    begin: float = 1.0
    end: float = 7.0
    side: float = 4.0

    def __call__(self, states: Tensor, actions: Tensor, situation: Situation) -> Tensor:  # noqa: ARG002
        """Cost of each candidate."""
        actor = situation.of_actor(states)
        plan = situation.plan
        gap = disc_gap(
            actor, situation.of_actor(situation.size)[:, None], plan, situation.size[:, 0, None]
        )
        time = STEP * torch.arange(1, states.shape[2] + 1)
        outside = (time < self.begin) | (time > self.end)
        share = torch.softmax((-gap / SOFT_TIME_M).masked_fill(outside, -FAR_M), -1)
        nearest = (share * gap).sum(-1)
        cost = torch.relu(nearest - self.gap).square()
        if not math.isnan(self.bearing):
            offset = _turned(actor[..., :2] - plan[..., :2], plan[..., 2])
            unit = offset / (_norm(offset)[..., None] + 0.1)
            wanted = torch.tensor([math.cos(self.bearing), math.sin(self.bearing)])
            cost = cost + self.side * (share * (1.0 - unit @ wanted)).sum(-1)
        if not math.isnan(self.heading):
            turn = actor[..., 2] - plan[..., 2] - self.heading
            cost = cost + self.side * (share * (1.0 - torch.cos(turn))).sum(-1)
        return cost


@dataclass(frozen=True, slots=True, eq=False)
class ReachGap:
    """From some time on the actor is in the ego's path, a given gap ahead of it (cut-in).

    Mean over t ≥ by of Huber(d) + Huber(s − s_wanted), in the frame of the ego then.

    Attributes:
        gap: Bumper to bumper [m].
        by: When it is to be there [s].
    """

    gap: Float[Tensor, " batch"]
    by: Float[Tensor, " batch"]

    def __call__(self, states: Tensor, actions: Tensor, situation: Situation) -> Tensor:  # noqa: ARG002
        """Cost of each candidate."""
        actor = situation.of_actor(states)
        path = situation.plan
        # At the time asked for; later the ego's own speed decides how the gap goes on.
        time = STEP * torch.arange(1, states.shape[2] + 1)
        late = torch.sigmoid((time - self.by[:, None]) / 0.2)
        at_time = torch.exp(-((time - self.by[:, None]) / STEP).square() / 2.0)
        offset, _ = path_offset(actor[..., :2], path, situation.start[:, 0])
        ahead = _turned(actor[..., :2] - path[..., :2], path[..., 2])[..., 0]
        lengths = (situation.of_actor(situation.size)[:, 0] + situation.size[:, 0, 0]) / 2.0
        error = ahead - (self.gap + lengths)[:, None]
        lateral = (_huber(offset) * late).sum(-1) / late.sum(-1)
        along = (_huber(error) * at_time).sum(-1) / at_time.sum(-1)
        return 2.0 * lateral + along


@dataclass(frozen=True, slots=True, eq=False)
class Brake:
    """The actor brakes from a given time, at a given rate, down to a speed.

    Mean over t of Huber(v − max(floor, v₀ − rate·(t − begin)₊)).

    Attributes:
        begin: [s].
        rate: Deceleration [m/s²].
        floor: [m/s].
    """

    begin: Float[Tensor, " batch"]
    rate: Float[Tensor, " batch"]
    floor: Float[Tensor, " batch"]

    def __call__(self, states: Tensor, actions: Tensor, situation: Situation) -> Tensor:  # noqa: ARG002
        """Cost of each candidate."""
        speed = situation.of_actor(states)[..., 3]
        first = situation.of_actor(situation.start)[:, 3:4]
        time = STEP * torch.arange(1, states.shape[2] + 1)
        since = torch.relu(time - self.begin[:, None])
        wanted = torch.maximum(first - self.rate[:, None] * since, self.floor[:, None])
        return _huber(speed - torch.minimum(wanted, first)).mean(-1)


@dataclass(frozen=True, slots=True, eq=False)
class CrossPath:
    """The actor is on the ego's path, at a given place, at a given time (crossing, jaywalking).

    Huber of the distance between the actor at ``at`` and the place; with the ego's own time of
    arrival, the difference is the post-encroachment time.

    Attributes:
        place: Where [m].
        at: When [s].
    """

    place: Float[Tensor, "batch 2"]
    at: Float[Tensor, " batch"]

    def __call__(self, states: Tensor, actions: Tensor, situation: Situation) -> Tensor:  # noqa: ARG002
        """Cost of each candidate."""
        actor = situation.of_actor(states)[..., :2]
        begin = situation.of_actor(situation.start)[:, None, :2]
        path = torch.cat([begin, actor], 1)
        step = (self.at / STEP).clamp(0.0, path.shape[1] - 1.001)
        low = step.floor().long()
        share = (step - low)[:, None]
        row = torch.arange(len(path))
        then = path[row, low] * (1.0 - share) + path[row, low + 1] * share
        return _huber(then - self.place).sum(-1)


@dataclass(frozen=True, slots=True, eq=False)
class StandStill:
    """The actor stands from a given time on (stalled vehicle): mean of Huber(v) after it.

    Attributes:
        begin: [s].
    """

    begin: Float[Tensor, " batch"]

    def __call__(self, states: Tensor, actions: Tensor, situation: Situation) -> Tensor:  # noqa: ARG002
        """Cost of each candidate."""
        speed = situation.of_actor(states)[..., 3]
        time = STEP * torch.arange(1, states.shape[2] + 1)
        late = torch.sigmoid((time - self.begin[:, None]) / 0.2)
        return (_huber(speed) * late).sum(-1) / late.sum(-1)


@dataclass(frozen=True, slots=True, eq=False)
class KeepSpeed:
    """The actor keeps a speed (running a red light, overtaking): mean of Huber(v − speed).

    Attributes:
        speed: [m/s].
    """

    speed: Float[Tensor, " batch"]

    def __call__(self, states: Tensor, actions: Tensor, situation: Situation) -> Tensor:  # noqa: ARG002
        """Cost of each candidate."""
        return _huber(situation.of_actor(states)[..., 3] - self.speed[:, None]).mean(-1)


@dataclass(frozen=True, slots=True)
class AgainstLane:
    """The actor drives against the direction of the lane it is on: mean of (1 + cos Δψ)."""

    def __call__(self, states: Tensor, actions: Tensor, situation: Situation) -> Tensor:  # noqa: ARG002
        """Cost of each candidate."""
        _, turn, there = lane_offset(states, situation, any_direction=True)
        against = (1.0 + torch.cos(turn)) * there
        return situation.of_actor(against).mean(-1)


@dataclass(frozen=True, slots=True)
class Weighted:
    """A term and how much it counts; weight 0 switches it off."""

    term: Term
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Guide:
    """Steers clean estimates; see the module.

    Attributes:
        terms: Summed with their weights.
        situation: Of the candidates.
        inner: Gradient steps at each noise level.
        rate: Length of a step, in units of an action (root mean square over an agent's future).
        reach: How many σ_t the estimate may be moved from what the network said.
        least: The same at low noise, in units of an action.
    """

    terms: Sequence[Weighted]
    situation: Situation
    inner: int = 8
    rate: float = 0.1
    reach: float = 2.0
    least: float = 0.6

    def cost(self, x0: Float[Tensor, "batch agents future 2"]) -> Float[Tensor, " batch"]:
        """Weighted sum of all terms."""
        states = rollout(self.situation.start, x0)
        actions = x0 * torch.as_tensor(ACTION_SCALE)
        total = torch.zeros(len(x0), dtype=x0.dtype)
        for weighted in self.terms:
            if weighted.weight != 0.0:
                total = total + weighted.weight * weighted.term(states, actions, self.situation)
        return total

    def gradient(self, x0: Float[Tensor, "batch agents future 2"]) -> Tensor:
        """dJ/dx₀; 0 for agents that may not be steered, and where it is not finite."""
        return self._cost_and_slope(x0)[1]

    def steer(self, x0: Float[Tensor, "batch agents future 2"], t: float) -> Tensor:
        """The estimate, moved down the cost; no candidate ever comes back worse than it was.

        Steps that are steep are normalised, and each candidate's step is shortened where it
        raised the cost, for a small change of many actions adds up to metres.
        """
        _, sigma = alpha_sigma(torch.tensor(t))
        bound = max(self.reach * float(sigma), self.least)
        best, tried = x0, x0
        rate = torch.full((len(x0), 1, 1, 1), self.rate, dtype=x0.dtype)
        least = torch.full((len(x0),), math.inf, dtype=x0.dtype)
        downhill = torch.zeros_like(x0)
        for k in range(self.inner + 1):
            cost, slope = self._cost_and_slope(tried)
            better = (cost < least)[:, None, None, None]
            best = torch.where(better, tried, best)
            downhill = torch.where(better, slope, downhill)
            least = torch.minimum(cost, least)
            if k == self.inner:
                break
            rate = rate * torch.where(better, 1.2 if k else 1.0, 0.35)
            size = downhill.square().mean((2, 3), keepdim=True).sqrt().clamp(min=STEEP)
            tried = x0 + (best - rate * downhill / size - x0).clamp(-bound, bound)
        return best

    def _cost_and_slope(self, x0: Tensor) -> tuple[Tensor, Tensor]:
        if not any(weighted.weight for weighted in self.terms):
            return torch.zeros(len(x0), dtype=x0.dtype), torch.zeros_like(x0)
        with torch.enable_grad():
            free = x0.detach().clone().requires_grad_(True)
            cost = self.cost(free)
            (slope,) = torch.autograd.grad(cost.sum(), free)
        slope = torch.nan_to_num(slope, nan=0.0, posinf=0.0, neginf=0.0)
        cost = torch.nan_to_num(cost.detach(), nan=math.inf)
        return cost, slope * self.situation.free[..., None, None]


def guided(denoise: Denoise, guide: Guide) -> Denoise:
    """The denoiser with its estimate steered."""

    def steered(x: Tensor, t: float) -> Tensor:
        return guide.steer(denoise(x, t), t)

    return steered


def disc_gap(a: Tensor, size_a: Tensor, b: Tensor, size_b: Tensor) -> Tensor:
    """Smallest gap between two boxes seen as rows of discs; negative where they overlap [m].

    Args:
        a: x, y, yaw, … (…, 4).
        size_a: Length and width, broadcasting against it (…, 2).
        b: Likewise.
        size_b: Likewise.
    """
    at_a, radius_a = _discs(a, size_a)
    at_b, radius_b = _discs(b, size_b)
    distance = _norm(at_a[..., :, None, :] - at_b[..., None, :, :]).amin((-2, -1))
    return distance - radius_a - radius_b


def path_offset(xy: Tensor, plan: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Offset to the left of the ego's path, and distance along it, of points.

    Args:
        xy: (batch, future, 2).
        plan: The ego's states (batch, future, 4), led by ``start`` (batch, 4).
        start: See ``plan``.

    Returns:
        d [m] and s [m]; beside the path's ends, the end segments are prolonged.
    """
    knots = torch.cat([start[:, None, :2], plan[..., :2]], 1)
    heading = torch.cat([start[:, None, 2], plan[..., 2]], 1)
    along = torch.cat(
        [torch.zeros(len(knots), 1), _norm(knots[:, 1:] - knots[:, :-1]).cumsum(-1)], 1
    )
    nearest = torch.cdist(xy, knots).argmin(-1)
    row = torch.arange(len(knots))[:, None]
    local = _turned(xy - knots[row, nearest], heading[row, nearest])
    return local[..., 1], along[row, nearest] + local[..., 0]


def lane_offset(
    states: Tensor, situation: Situation, *, any_direction: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Offset to the nearest lane, turn against it, and whether there is one within 6 m.

    Lanes that point as the agent does are preferred: half a turn costs as much as 8 m, unless
    ``any_direction``.
    """
    batch, agents, steps, _ = states.shape
    if situation.lane.shape[1] == 0:
        none = torch.zeros(batch, agents, steps, dtype=states.dtype)
        return none, none, none.bool()
    flat = states.reshape(batch, agents * steps, 4)
    with torch.no_grad():
        distance = torch.cdist(flat[..., :2], situation.lane[..., :2])
        heading = torch.stack([torch.cos(flat[..., 2]), torch.sin(flat[..., 2])], -1)
        against = 1.0 - heading @ situation.lane[..., 2:].transpose(1, 2)
        cost = distance + (0.0 if any_direction else 4.0) * against
        cost = cost.masked_fill(~situation.lane_there[:, None], FAR_M)
        nearest = cost.argmin(-1)
        near = distance.gather(-1, nearest[..., None])[..., 0] < 6.0
    spot = situation.lane[torch.arange(batch)[:, None], nearest]
    yaw = torch.atan2(spot[..., 3], spot[..., 2])
    offset = _turned(flat[..., :2] - spot[..., :2], yaw)[..., 1]
    shape = (batch, agents, steps)
    return offset.reshape(shape), (flat[..., 2] - yaw).reshape(shape), near.reshape(shape)


def _discs(pose: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Centres along the length, and a radius that covers the width."""
    length, width = size.unbind(-1)
    span = torch.relu(length - width) / 2.0
    place = span[..., None] * torch.linspace(-1.0, 1.0, DISCS)
    direction = torch.stack([torch.cos(pose[..., 2]), torch.sin(pose[..., 2])], -1)
    centre = pose[..., None, :2] + place[..., None] * direction[..., None, :]
    return centre, width / 2.0


def _turned(vector: Tensor, yaw: Tensor) -> Tensor:
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    x, y = vector.unbind(-1)
    return torch.stack([cos * x + sin * y, cos * y - sin * x], -1)


def _norm(vector: Tensor) -> Tensor:
    """Length with a gradient that is finite at 0."""
    return (vector.square().sum(-1) + 1e-6).sqrt()


def _huber(error: Tensor) -> Tensor:
    """Quadratic within 1, linear beyond."""
    size = error.abs()
    return torch.where(size < 1.0, 0.5 * size.square(), size - 0.5)
