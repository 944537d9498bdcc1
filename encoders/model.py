"""The scene encoder: a masked autoencoder over tracks, roads and signals.

Tokens: a 1 s patch of a track (its states in its own frame), a road piece (a PointNet over its
points), a signal (its states patch by patch), and one [SCENE] token. Each also gets where it is,
when, and what kind of thing. The encoder is a pre-norm transformer over the tokens that are
*visible*, so that what is masked cannot leak; the lighter decoder sees the encoded tokens and, for
what is masked, a learned token of its modality, and answers with one head per type (Forecast-MAE,
arXiv 2308.09882; JointMotion, arXiv 2403.05489).

A masked patch must not betray its pose. It stands where kinematics alone would put it, and the head
says how far that guess is off, in units of how far such guesses commonly are
(:mod:`encoders.extrapolate`). A masked road piece keeps its middle
point, but not its direction or shape.

The scene's vector is read from what the encoder says without masks: [SCENE], mean of the focus
agent, mean of all tracks, mean of all road pieces, one after the other; then a linear map to 64
dimensions, then unit length. The map whitens: it is fitted in closed form to the training windows
(:func:`whitening`), so that no direction of the space drowns the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from encoders.batch import HEADING, VELOCITY, XY, Batch
from encoders.extrapolate import Guess
from encoders.features import PATCH_STEPS, PATCHES, POINTS, RoadKind, State
from encoders.masking import Masks
from schemas.labels import AgentClass, LightState
from schemas.tables import EMBEDDING_WIDTH

WAVELENGTHS_M = (4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
POSITION_SCALE_M = 50.0
PATCH_SCALE_M = 10.0
SPEED_SCALE = 10.0  # [m/s]
TIME_SCALE_S = 5.0
ROAD_SCALE_M = 10.0
HIDDEN_LIGHT = len(LightState)
"""Code of a masked patch of a signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Shape of the network; the defaults are size S.

    Attributes:
        name: For people, and first part of the model's id.
        width: Of every token.
        encoder_layers: Over visible tokens.
        decoder_layers: Over all tokens.
        heads: Of attention.
        mlp_ratio: Width of the hidden layer over that of a token.
        drop_path: Chance to skip the deepest block in training; less for shallower ones.
    """

    name: str = "scene_encoder_s"
    width: int = 128
    encoder_layers: int = 4
    decoder_layers: int = 4
    heads: int = 8
    mlp_ratio: int = 4
    drop_path: float = 0.1


XS = ModelConfig(
    name="scene_encoder_xs", width=64, encoder_layers=2, decoder_layers=1, heads=4, mlp_ratio=2
)
"""For tests."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tokens:
    """The encoder's answer.

    Attributes:
        scene: The [SCENE] token.
        tracks: One token a patch; meaningless where not visible.
        tracks_visible: Whether the patch was seen.
        road: One token a piece.
        road_visible: Whether it was seen.
        lights: One token a signal.
        lights_visible: Whether there is one.
    """

    scene: Float[Tensor, "windows width"]
    tracks: Float[Tensor, "windows agents patches width"]
    tracks_visible: Bool[Tensor, "windows agents patches"]
    road: Float[Tensor, "windows polylines width"]
    road_visible: Bool[Tensor, "windows polylines"]
    lights: Float[Tensor, "windows signals width"]
    lights_visible: Bool[Tensor, "windows signals"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reconstruction:
    """The decoder's answer; it counts only where masked.

    Attributes:
        xy: Of every step of every agent [m].
        road: Points of each piece, relative to its middle [m].
        light: Logits of each patch's state.
    """

    xy: Float[Tensor, "windows agents steps 2"]
    road: Float[Tensor, "windows polylines points 2"]
    light: Float[Tensor, "windows signals patches states"]


class SceneEncoder(nn.Module):
    """Encoder, decoder and readout."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.scene_token = nn.Parameter(torch.randn(width) * 0.02)
        self.patch = _mlp(PATCH_STEPS * 7, width, width)
        self.who = nn.Linear(len(AgentClass) + 4, width)
        self.when = nn.Embedding(PATCHES, width)
        self.point = _mlp(4, width // 2, width // 2)
        self.piece = _mlp(width, width, width)
        self.what = nn.Linear(len(RoadKind) + 3, width)
        self.light = nn.Embedding((HIDDEN_LIGHT + 1) * PATCHES, width)
        self.place = _mlp(4 + 4 * len(WAVELENGTHS_M), width, width)
        self.modality = nn.Embedding(3, width)
        depth = config.encoder_layers
        self.encoder = nn.ModuleList(
            Block(config, config.drop_path * i / max(depth - 1, 1)) for i in range(depth)
        )
        self.encoder_norm = nn.LayerNorm(width)

        self.track_mask = nn.Parameter(torch.randn(width) * 0.02)
        self.road_mask = nn.Parameter(torch.randn(width) * 0.02)
        self.to_decoder = nn.Linear(width, width)
        self.agent = nn.Linear(width, width)
        self.gap = nn.Linear(6, width)
        self.decoder = nn.ModuleList(Block(config, 0.0) for _ in range(config.decoder_layers))
        self.decoder_norm = nn.LayerNorm(width)
        self.track_head = _mlp(width, width, PATCH_STEPS * 2)
        self.road_head = _mlp(width, width, POINTS * 2)
        self.light_head = nn.Linear(width, PATCHES * len(LightState))

        self.motion_projector = _mlp(width, width, EMBEDDING_WIDTH)
        self.place_projector = _mlp(width, width, EMBEDDING_WIDTH)
        self.readout = nn.Linear(4 * width, EMBEDDING_WIDTH)
        self.track_readout = nn.Linear(width, EMBEDDING_WIDTH)
        for fitted in (self.readout, self.track_readout):
            fitted.requires_grad_(requires_grad=False)

    def encode(self, batch: Batch, masks: Masks) -> Tokens:
        """Encode what is visible."""
        visible = masks.visible_steps(batch)
        tracks_visible = _patched(visible).any(dim=-1)
        road_visible = batch.road_valid & ~masks.road
        pose, content = _patches(batch.state, visible)
        tracks = self.patch(content) + self._place(pose) + self._who_when(batch)
        road = self._pieces(batch) + self._place(_road_pose(batch.road)) + self._what(batch)
        lights = self._lights(batch, masks)
        windows, width = tracks.shape[0], self.config.width
        tokens = torch.cat(
            [self.scene_token.expand(windows, 1, width), tracks.flatten(1, 2), road, lights], dim=1
        )
        keep = torch.cat(
            [
                torch.ones(windows, 1, dtype=torch.bool, device=tokens.device),
                tracks_visible.flatten(1),
                road_visible,
                batch.light_valid,
            ],
            dim=1,
        )
        encoded = self.encoder_norm(_run(self.encoder, tokens, keep))
        sizes = [1, tracks.shape[1] * PATCHES, road.shape[1], lights.shape[1]]
        scene, tracks, road, lights = encoded.split(sizes, dim=1)
        return Tokens(
            scene=scene[:, 0],
            tracks=tracks.view(windows, -1, PATCHES, width),
            tracks_visible=tracks_visible,
            road=road,
            road_visible=road_visible,
            lights=lights,
            lights_visible=batch.light_valid,
        )

    def reconstruct(self, batch: Batch, tokens: Tokens, guess: Guess) -> Reconstruction:
        """Answer for everything; of what is masked only kind, class and the guess are read."""
        pose = self._place(_guess_pose(guess)) + self._who_when(batch) + self.gap(_gap(guess))
        known = self.to_decoder(tokens.tracks) + self._who_when(batch)
        mask = self.track_mask + pose
        mine = _mean(tokens.tracks, tokens.tracks_visible, dim=2)
        tracks = torch.where(tokens.tracks_visible[..., None], known, mask)
        tracks = tracks + self.agent(mine)[:, :, None]
        what = self._what(batch)
        hidden_road = self.road_mask + what + self._place(_middle(batch.road))
        shown_road = self.to_decoder(tokens.road)
        road = torch.where(tokens.road_visible[..., None], shown_road, hidden_road)
        lights = self.to_decoder(tokens.lights)
        scene = self.to_decoder(tokens.scene)[:, None]
        present = _patched(batch.valid).any(dim=-1)
        keep = torch.cat(
            [
                torch.ones_like(present[:, :1, 0]),
                present.flatten(1),
                batch.road_valid,
                batch.light_valid,
            ],
            dim=1,
        )
        decoded = torch.cat([scene, tracks.flatten(1, 2), road, lights], dim=1)
        decoded = self.decoder_norm(_run(self.decoder, decoded, keep))
        sizes = [1, tracks.shape[1] * PATCHES, road.shape[1], lights.shape[1]]
        _, tracks, road, lights = decoded.split(sizes, dim=1)
        off = self.track_head(tracks).float().view(len(tracks), -1, PATCHES, PATCH_STEPS, 2)
        heading = _patched(guess.heading)[..., :1, :]
        cos, sin = heading[..., 0], heading[..., 1]
        turned = torch.stack(
            [cos * off[..., 0] - sin * off[..., 1], sin * off[..., 0] + cos * off[..., 1]], dim=-1
        )
        return Reconstruction(
            xy=guess.xy + turned.flatten(2, 3) * guess.scale[..., None],
            road=self.road_head(road).float().view(*road.shape[:2], POINTS, 2) * ROAD_SCALE_M,
            light=self.light_head(lights)
            .float()
            .view(*lights.shape[:2], PATCHES, len(LightState)),
        )

    def pools(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Mean of what moves, and of where: tracks, and roads with signals."""
        motion = _mean(tokens.tracks.flatten(1, 2), tokens.tracks_visible.flatten(1), dim=1)
        environment = _mean(
            torch.cat([tokens.road, tokens.lights], dim=1),
            torch.cat([tokens.road_visible, tokens.lights_visible], dim=1),
            dim=1,
        )
        return motion, environment

    def pooled(self, tokens: Tokens) -> Float[Tensor, "windows pooled"]:
        """[SCENE], the focus agent, all tracks, all road pieces: what the readout reads."""
        return torch.cat(
            [
                tokens.scene,
                _mean(tokens.tracks[:, 0], tokens.tracks_visible[:, 0], dim=1),
                _mean(tokens.tracks.flatten(1, 2), tokens.tracks_visible.flatten(1), dim=1),
                _mean(tokens.road, tokens.road_visible, dim=1),
            ],
            dim=-1,
        )

    def pooled_tracks(self, tokens: Tokens) -> Float[Tensor, "windows agents width"]:
        """Mean token of each agent."""
        return _mean(tokens.tracks, tokens.tracks_visible, dim=2)

    def vectors(self, tokens: Tokens) -> Float[Tensor, "windows 64"]:
        """Unit vector of each window."""
        return functional.normalize(self.readout(self.pooled(tokens)), dim=-1)

    def track_vectors(self, tokens: Tokens) -> Float[Tensor, "windows agents 64"]:
        """Unit vector of each agent."""
        return functional.normalize(self.track_readout(self.pooled_tracks(tokens)), dim=-1)

    def _place(self, pose: Float[Tensor, "*tokens 4"]) -> Tensor:
        waves = torch.tensor(WAVELENGTHS_M, device=pose.device, dtype=pose.dtype)
        phase = pose[..., :2, None] * (2.0 * math.pi / waves)
        return self.place(
            torch.cat(
                [
                    pose[..., :2] / POSITION_SCALE_M,
                    pose[..., 2:],
                    phase.sin().flatten(-2),
                    phase.cos().flatten(-2),
                ],
                dim=-1,
            )
        )

    def _who_when(self, batch: Batch) -> Float[Tensor, "windows agents patches width"]:
        kind = functional.one_hot(batch.cls, len(AgentClass)).to(batch.size.dtype)
        facts = torch.cat([kind, batch.size / 5.0, batch.ego[..., None].to(kind.dtype)], dim=-1)
        return self.who(facts)[:, :, None] + self.when.weight + self.modality.weight[0]

    def _what(self, batch: Batch) -> Float[Tensor, "windows polylines width"]:
        kind = functional.one_hot(batch.road_kind, len(RoadKind)).to(batch.road.dtype)
        scale = torch.tensor([1 / SPEED_SCALE, 1.0, 1.0], device=kind.device)
        facts = torch.cat([kind, batch.road_facts * scale], dim=-1)
        return self.what(facts) + self.modality.weight[1]

    def _pieces(self, batch: Batch) -> Float[Tensor, "windows polylines width"]:
        """PointNet: each point with its step to the next, the greatest of each feature."""
        pose = _road_pose(batch.road)
        local = _into(batch.road - pose[..., None, :2], pose[..., None, 2:]) / ROAD_SCALE_M
        step = functional.pad(local[..., 1:, :] - local[..., :-1, :], (0, 0, 0, 1))
        points = self.point(torch.cat([local, step * POINTS], dim=-1))
        whole = points.amax(dim=-2, keepdim=True).expand_as(points)
        return self.piece(torch.cat([points, whole], dim=-1).amax(dim=-2))

    def _lights(self, batch: Batch, masks: Masks) -> Float[Tensor, "windows signals width"]:
        state = torch.where(masks.lights, HIDDEN_LIGHT, batch.light)
        row = state * PATCHES + torch.arange(PATCHES, device=state.device)
        shown = self.light(row).sum(dim=-2)
        return shown + self._place(batch.light_pose) + self.modality.weight[2]


class Block(nn.Module):
    """Pre-norm attention and MLP, each sometimes skipped in training (stochastic depth)."""

    def __init__(self, config: ModelConfig, drop_path: float) -> None:
        super().__init__()
        width = config.width
        self.heads, self.drop_path = config.heads, drop_path
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = _mlp(width, config.mlp_ratio * width, width)

    def forward(
        self, x: Float[Tensor, "windows tokens width"], keep: Bool[Tensor, "windows tokens"]
    ) -> Float[Tensor, "windows tokens width"]:
        """Tokens attend to those that are kept."""
        shape = (*x.shape[:2], 3, self.heads, -1)
        q, k, v = self.query_key_value(self.attention_norm(x)).view(shape).permute(2, 0, 3, 1, 4)
        if x.device.type == "cpu":  # where attention in bfloat16 is slower, by a factor of three
            q, k, v = q.float(), k.float(), v.float()
        with torch.autocast("cpu", enabled=False):
            mixed = functional.scaled_dot_product_attention(
                q, k, v, attn_mask=keep[:, None, None, :]
            )
        x = x + self._drop(self.out(mixed.transpose(1, 2).flatten(2)))
        return x + self._drop(self.mlp(self.mlp_norm(x)))

    def _drop(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0.0:
            return branch
        kept = torch.rand(branch.shape[0], 1, 1, device=branch.device) >= self.drop_path
        return branch * kept / (1.0 - self.drop_path)


def whitening(
    pooled: Float[Tensor, "samples width"], *, out: int = EMBEDDING_WIDTH
) -> tuple[Float[Tensor, "out width"], Float[Tensor, " out"]]:
    """Weight and bias that map samples to ``out`` uncorrelated directions of like variance.

    The leading principal components, each divided by √(λ + λ̄), where λ is its variance and λ̄ the
    mean of those kept: components of little variance, which are mostly noise, stay small.
    Where there are fewer directions than asked for, the remaining outputs are zero.
    """
    x = pooled.double()
    mean = x.mean(dim=0)
    variance, direction = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    keep = min(out, x.shape[1])
    variance, direction = variance.flip(0)[:keep].clamp(min=0.0), direction.flip(1)[:, :keep]
    # The sign of an eigenvector is arbitrary; fixing it makes a repeated fit give the same map.
    direction = direction * direction.gather(0, direction.abs().argmax(0)[None]).sign()
    scale = (variance + variance.mean() + 1e-12).rsqrt()
    weight = torch.zeros(out, x.shape[1], dtype=x.dtype, device=x.device)
    weight[:keep] = (direction * scale).T
    return weight.float(), -(weight @ mean).float()


def _mlp(into: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(into, hidden), nn.GELU(), nn.Linear(hidden, out))


def _run(blocks: nn.ModuleList, tokens: Tensor, keep: Tensor) -> Tensor:
    """Run blocks over the kept tokens only, packed to the front; the others come back as zero."""
    longest = int(keep.sum(dim=1).max())
    order = keep.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :longest]
    index = order[..., None].expand(-1, -1, tokens.shape[-1])
    packed, packed_keep = tokens.gather(1, index), keep.gather(1, order)
    for block in blocks:
        packed = block(packed, packed_keep)
    packed = packed * packed_keep[..., None]
    return torch.zeros_like(tokens, dtype=packed.dtype).scatter(1, index, packed)


def _mean(tokens: Tensor, keep: Tensor, *, dim: int) -> Tensor:
    """Mean of the kept tokens along an axis; zero where there is none."""
    weight = keep[..., None].to(tokens.dtype)
    return (tokens * weight).sum(dim=dim) / weight.sum(dim=dim).clamp(min=1.0)


def _patched(steps: Tensor) -> Tensor:
    """The axis of steps (the third) as patches and steps within."""
    return steps.reshape(*steps.shape[:2], PATCHES, PATCH_STEPS, *steps.shape[3:])


def _into(vectors: Tensor, heading: Tensor) -> Tensor:
    """Vectors told in a frame that points along ``heading``."""
    cos, sin = heading[..., 0], heading[..., 1]
    x, y = vectors[..., 0], vectors[..., 1]
    return torch.stack([cos * x + sin * y, cos * y - sin * x], dim=-1)


def _patches(state: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Pose of each patch, at its first visible step, and its states in that pose's frame."""
    state = _patched(state)
    seen = _patched(visible)
    first = seen.to(torch.int8).argmax(dim=-1)[..., None, None]
    start = state.gather(3, first.expand(*first.shape[:-1], len(State)))
    pose = torch.where(seen.any(dim=-1)[..., None], start[..., 0, : State.VX], 0.0)
    local = torch.cat(
        [
            _into(state[..., XY] - start[..., XY], start[..., HEADING]) / PATCH_SCALE_M,
            _into(state[..., HEADING], start[..., HEADING]),
            _into(state[..., VELOCITY], start[..., HEADING]) / SPEED_SCALE,
        ],
        dim=-1,
    )
    content = torch.cat(
        [torch.where(seen[..., None], local, 0.0), seen[..., None].to(local.dtype)], dim=-1
    )
    return pose, content.flatten(-2)


def _guess_pose(guess: Guess) -> Tensor:
    """Where the guess puts the middle of each patch."""
    pose = torch.cat([guess.xy, guess.heading], dim=-1)
    return _patched(pose)[..., PATCH_STEPS // 2, :]


def _gap(guess: Guess) -> Tensor:
    """How far from visible steps the guess reaches, and how fast it goes."""
    facts = torch.stack(
        [
            guess.before / TIME_SCALE_S,
            guess.after / TIME_SCALE_S,
            guess.has_before.to(guess.speed.dtype),
            guess.has_after.to(guess.speed.dtype),
            guess.speed / SPEED_SCALE,
            guess.speed * guess.before / POSITION_SCALE_M,
        ],
        dim=-1,
    )
    return _patched(facts)[..., PATCH_STEPS // 2, :]


def _road_pose(road: Tensor) -> Tensor:
    """Middle point of each piece and the direction from its first point to its last."""
    chord = road[..., -1, :] - road[..., 0, :]
    length = chord.norm(dim=-1, keepdim=True)
    ahead = torch.zeros_like(chord)
    ahead[..., 0] = 1.0
    heading = torch.where(length > 1e-3, chord / length.clamp(min=1e-3), ahead)
    return torch.cat([road[..., POINTS // 2, :], heading], dim=-1)


def _middle(road: Tensor) -> Tensor:
    """Pose of a masked piece: its middle, without direction."""
    return functional.pad(road[..., POINTS // 2, :], (0, 2))
