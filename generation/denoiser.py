"""The denoiser: from noisy actions of all agents, a noise level and the scene to clean actions.

One file, top to bottom. A token is one agent over two future steps. Each layer rolls its current
estimate out to states, lets tokens attend over time (per agent), over agents (per step) and to the
nearest polylines of the map, and refines the estimate. All geometry enters as relative poses, as
the querying agent sees them, so the network does not care where the scene lies or points.

Noise level by AdaLN (Peebles & Xie 2023), preconditioning as in EDM (Karras et al. 2022, table 1)
carried over to the variance-preserving schedule, in-painting by a mask of known tokens as in
SceneDiffuser (2412.12129).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from generation.features import FUTURE, HISTORY, LINE_KINDS, SIGNAL_NONE, Context, stack
from generation.noise import alpha_sigma
from generation.rollout import rollout
from schemas.labels import AgentClass

PATCH = 2
"""Future steps of a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoiserConfig:
    """Size of the network.

    Attributes:
        dim: Width of a token.
        heads: Of every attention.
        layers: Rounds of refinement.
        near: Polylines that a token attends to.
        pair: Width of the embedded relative poses.
        spread: Standard deviation of the data, in units of an action.
    """

    dim: int = 64
    heads: int = 4
    layers: int = 3
    near: int = 8
    pair: int = 16
    spread: float = 0.35


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Contexts as tensors, batch first; the fields of :class:`~generation.features.Context`."""

    history: Float[Tensor, "batch agents history 4"]
    seen: Bool[Tensor, "batch agents history"]
    start: Float[Tensor, "batch agents 4"]
    present: Bool[Tensor, "batch agents"]
    kind: Int[Tensor, "batch agents"]
    size: Float[Tensor, "batch agents 2"]
    goal: Float[Tensor, "batch agents 2"]
    has_goal: Bool[Tensor, "batch agents"]
    line: Float[Tensor, "batch lines points 4"]
    line_kind: Int[Tensor, "batch lines"]
    line_signal: Int[Tensor, "batch lines"]
    line_there: Bool[Tensor, "batch lines"]

    @classmethod
    def of(cls, contexts: Sequence[Context]) -> Inputs:
        """Contexts of several examples, or the same one many times."""
        return cls(**{name: torch.as_tensor(array) for name, array in stack(contexts).items()})

    def to(self, device: torch.device | str) -> Inputs:
        """On another device."""
        return Inputs(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What does not change while the noise is taken away; encode once, denoise often."""

    agent: Float[Tensor, "batch agents dim"]
    line: Float[Tensor, "batch lines dim"]
    inputs: Inputs


class Denoiser(nn.Module):
    """x̂₀(x_t, t, scene), see the module."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.agents = AgentEncoder(dim)
        self.lines = LineEncoder(dim)
        self.noise_level = nn.Sequential(nn.Linear(32, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.action = nn.Linear(3 * PATCH, dim)
        self.step = nn.Parameter(torch.randn(FUTURE // PATCH, dim) * 0.02)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 2 * PATCH)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def encode(self, inputs: Inputs) -> Encoded:
        """Agents and polylines, each in its own frame."""
        return Encoded(self.agents(inputs), self.lines(inputs), inputs)

    def forward(
        self,
        x: Float[Tensor, "batch agents future 2"],
        t: Float[Tensor, " batch"],
        scene: Encoded,
        known: Bool[Tensor, "batch agents future"],
    ) -> list[Float[Tensor, "batch agents future 2"]]:
        """The clean estimate after each layer; the last is the answer.

        Args:
            x: Noisy actions; clean ones where known.
            t: Noise level in [0, 1].
            scene: From :meth:`encode`.
            known: Tokens whose clean value is given.
        """
        alpha, sigma = (c.reshape(-1, 1, 1, 1) for c in alpha_sigma(t))
        variance = self.config.spread**2
        total = alpha**2 * variance + sigma**2
        skip, out = alpha * variance / total, sigma * self.config.spread / total.sqrt()
        scaled = torch.where(known[..., None], x / self.config.spread, x / total.sqrt())
        level = self.noise_level(_waves(torch.log(alpha / sigma).reshape(-1)))
        told = torch.cat([scaled, known[..., None].to(x.dtype)], -1)
        token = self.action(told.reshape(*told.shape[:2], -1, 3 * PATCH))
        token = token + self.step + scene.agent[:, :, None]
        # The prior is N(0, spread²), so before any layer the estimate is its posterior mean.
        estimate = torch.where(known[..., None], x, skip * x)
        estimates = []
        for layer in self.layers:
            states = rollout(scene.inputs.start, estimate.detach())
            token = layer(token, level, states[:, :, PATCH - 1 :: PATCH], scene)
            refined = skip * x + out * self.head(self.norm(token)).reshape(x.shape)
            estimate = torch.where(known[..., None], x, refined)
            estimates.append(estimate)
        return estimates


class Layer(nn.Module):
    """Time, agents, map, then a token's own; each gated by the noise level."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        dim = config.dim
        self.near = config.near
        self.state = nn.Sequential(nn.Linear(6, dim), nn.GELU(), nn.Linear(dim, dim))
        self.modulation = nn.Linear(dim, 12 * dim)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.norms = nn.ModuleList(nn.LayerNorm(dim, elementwise_affine=False) for _ in range(4))
        self.time = TimeAttention(dim, config.heads)
        self.others = RelativeAttention(dim, config.heads, features=10, pair=config.pair)
        self.road = RelativeAttention(dim, config.heads, features=8, pair=config.pair)
        self.own = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, token: Tensor, level: Tensor, states: Tensor, scene: Encoded) -> Tensor:
        """One round; ``states`` are those of the current estimate."""
        inputs = scene.inputs
        token = token + self.state(_own_motion(inputs.start, states))
        change = self.modulation(nn.functional.silu(level))[:, None, None].chunk(12, dim=-1)
        shift, scale, gate = change[:4], change[4:8], change[8:]

        def prepared(k: int) -> Tensor:
            normed: Tensor = self.norms[k](token)
            return normed * (1.0 + scale[k]) + shift[k]

        token = token + (1.0 + gate[0]) * self.time(prepared(0))

        by_step = prepared(1).transpose(1, 2)  # batch, future, agents, dim
        pose = states.transpose(1, 2)
        everyone = inputs.present[:, None, None, :].expand(*pose.shape[:3], pose.shape[2])
        sight = _seen_from(pose[..., :, None, :], pose[..., None, :, :])
        social = self.others(by_step, self.others.offer(by_step)[:, :, None], sight, everyone)
        token = token + (1.0 + gate[1]) * social.transpose(1, 2)

        line, sight, there = _near_lines(states, inputs, self.road.offer(scene.line), self.near)
        token = token + (1.0 + gate[2]) * self.road(prepared(2), line, sight, there)
        return token + (1.0 + gate[3]) * self.own(prepared(3))


class TimeAttention(nn.Module):
    """Every step of an agent attends to all of its steps."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, token: Tensor) -> Tensor:
        """Batch, agents, future, dim to the same."""
        batch, agents, steps, dim = token.shape
        qkv = self.qkv(token).reshape(batch * agents, steps, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).reshape(batch, agents, steps, dim))


class RelativeAttention(nn.Module):
    """Attention whose keys and values also hold the relative pose of the pair.

    With k_ij = K·h_j + R·r_ij and v_ij = V·h_j + S·r_ij, the products with r_ij are taken in the
    small space of r, so that no tensor of pairs × dim is made for them.
    """

    def __init__(self, dim: int, heads: int, *, features: int, pair: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.pair = nn.Sequential(nn.Linear(features, pair), nn.GELU(), nn.Linear(pair, pair))
        self.pair_key = nn.Parameter(torch.randn(heads, dim // heads, pair) / math.sqrt(pair))
        self.pair_value = nn.Parameter(torch.randn(heads, pair, dim // heads) / math.sqrt(pair))
        self.out = nn.Linear(dim, dim)

    def offer(self, other: Tensor) -> Tensor:
        """Keys and values of what may be attended to, (…, dim) to (…, 2·dim)."""
        offered: Tensor = self.key_value(other)
        return offered

    def forward(self, query: Tensor, offer: Tensor, sight: Tensor, there: Tensor) -> Tensor:
        """Mix what is seen.

        Args:
            query: Tokens, (…, dim).
            offer: From :meth:`offer`, (…, many, 2·dim); its leading shape may broadcast.
            sight: Its relative pose, (…, many, features).
            there: Whether it is there, (…, many).
        """
        *lead, dim = query.shape
        heads, width = self.heads, dim // self.heads
        q = self.query(query).reshape(*lead, heads, width)
        k, v = offer.reshape(*offer.shape[:-1], 2, heads, width).unbind(-3)
        r = self.pair(sight)
        score = torch.einsum("...hw,...mhw->...hm", q, k)
        score = score + torch.einsum(
            "...hp,...mp->...hm", torch.einsum("...hw,hwp->...hp", q, self.pair_key), r
        )
        score = (score / math.sqrt(width)).masked_fill(~there[..., None, :], -1e4)
        share = score.softmax(-1) * there[..., None, :]
        mixed = torch.einsum("...hm,...mhw->...hw", share, v)
        mixed = mixed + torch.einsum(
            "...hp,hpw->...hw", torch.einsum("...hm,...mp->...hp", share, r), self.pair_value
        )
        return self.out(mixed.reshape(*lead, dim))


class AgentEncoder(nn.Module):
    """Past, class, size and goal of each agent, in its own frame."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.past = nn.Sequential(
            nn.Linear(HISTORY * 6 + 4 + 3, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)
        )
        self.kind = nn.Embedding(len(AgentClass), dim)

    def forward(self, inputs: Inputs) -> Tensor:
        """Batch, agents, dim."""
        start = inputs.start
        pose = torch.cat([inputs.history, inputs.seen[..., None].to(start.dtype)], -1)
        motion = _own_motion(start, pose[..., :4]) * pose[..., 4:]
        goal = _local(inputs.goal - start[..., :2], start[..., 2]) / 50.0
        has = inputs.has_goal[..., None].to(start.dtype)
        facts = torch.cat(
            [motion.flatten(2), inputs.size / 5.0, start[..., 3:] / 10.0, has, goal * has,
             inputs.present[..., None].to(start.dtype)], -1
        )  # fmt: skip
        return self.past(facts) + self.kind(inputs.kind)


class LineEncoder(nn.Module):
    """Shape (in its own frame), kind and signal of each polyline."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.point = nn.Sequential(nn.Linear(4, dim), nn.GELU(), nn.Linear(dim, dim))
        self.kind = nn.Embedding(len(LINE_KINDS), dim)
        self.signal = nn.Embedding(SIGNAL_NONE + 1, dim)

    def forward(self, inputs: Inputs) -> Tensor:
        """Batch, lines, dim."""
        line = inputs.line
        middle = line[:, :, line.shape[2] // 2 : line.shape[2] // 2 + 1]
        yaw = torch.atan2(middle[..., 3], middle[..., 2])
        xy = _local(line[..., :2] - middle[..., :2], yaw) / 20.0
        direction = _local(line[..., 2:], yaw)
        shape = self.point(torch.cat([xy, direction], -1)).amax(2)
        return shape + self.kind(inputs.line_kind) + self.signal(inputs.line_signal)


def _near_lines(
    states: Tensor, inputs: Inputs, line: Tensor, near: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The nearest polylines of each token: what they offer, relative pose, and whether there are any."""
    batch, agents, steps, _ = states.shape
    many, points = inputs.line.shape[1:3]
    where = states[..., :2].reshape(batch, agents * steps, 2)
    spots = inputs.line[..., :2].reshape(batch, many * points, 2)
    distance = torch.cdist(where, spots).reshape(batch, agents * steps, many, points)
    nearest, point = distance.min(-1)
    nearest = nearest.masked_fill(~inputs.line_there[:, None], 1e4)
    _, chosen = nearest.topk(min(near, many), dim=-1, largest=False)
    point = point.gather(-1, chosen)
    row = torch.arange(batch, device=states.device)[:, None, None]
    spot = inputs.line[row, chosen, point]
    ahead = inputs.line[row, chosen, (point + 5).clamp(max=points - 1)]
    pose = states.reshape(batch, agents * steps, 1, 4)
    at_spot = _local(spot[..., :2] - pose[..., :2], pose[..., 2])
    at_ahead = _local(ahead[..., :2] - pose[..., :2], pose[..., 2])
    direction = _local(spot[..., 2:], pose[..., 2])
    distance_to = at_spot.norm(dim=-1, keepdim=True)
    sight = torch.cat(
        [at_spot / (1.0 + distance_to), torch.log1p(distance_to), direction, at_ahead / 20.0,
         at_spot[..., 1:].clamp(-5.0, 5.0) / 2.0], -1
    )  # fmt: skip
    there = inputs.line_there[row, chosen]
    shape = (batch, agents, steps, chosen.shape[-1])
    return line[row, chosen].reshape(*shape, -1), sight.reshape(*shape, -1), there.reshape(shape)


def _seen_from(viewer: Tensor, other: Tensor) -> Tensor:
    """Pose and motion of others in the viewer's frame."""
    shape = (viewer + other).shape
    viewer, other = viewer.expand(shape), other.expand(shape)
    offset = _local(other[..., :2] - viewer[..., :2], viewer[..., 2])
    distance = offset.norm(dim=-1, keepdim=True)
    turn = other[..., 2] - viewer[..., 2]
    heading = torch.stack([torch.cos(turn), torch.sin(turn)], -1)
    velocity = heading * other[..., 3:] / 10.0
    own = viewer[..., 3:] / 10.0
    near = torch.exp(-distance / 5.0)
    return torch.cat(
        [offset / (1.0 + distance), torch.log1p(distance), heading, velocity, own, near,
         (distance < 1e-3).to(distance.dtype)], -1
    )  # fmt: skip


def _own_motion(start: Tensor, states: Tensor) -> Tensor:
    """States in the frame of the agent's start."""
    offset = _local(states[..., :2] - start[..., None, :2], start[..., None, 2]) / 20.0
    turn = states[..., 2] - start[..., None, 2]
    speed = states[..., 3] / 10.0
    return torch.stack(
        [offset[..., 0], offset[..., 1], torch.cos(turn), torch.sin(turn), speed,
         speed - start[..., None, 3] / 10.0], -1
    )  # fmt: skip


def _local(vector: Tensor, yaw: Tensor) -> Tensor:
    """Vectors as seen from heading ``yaw``."""
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    x, y = vector.unbind(-1)
    return torch.stack([cos * x + sin * y, cos * y - sin * x], -1)


def _waves(value: Tensor) -> Tensor:
    """Sines and cosines of a scalar at 16 frequencies."""
    frequency = 2.0 ** torch.linspace(-4.0, 3.0, 16, device=value.device)
    angle = value[:, None] * frequency
    return torch.cat([torch.sin(angle), torch.cos(angle)], -1)
