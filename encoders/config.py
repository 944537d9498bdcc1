"""Everything that can be set about the scene encoder, one section of TOML for each part."""

from __future__ import annotations

from dataclasses import dataclass, field

from encoders.features import FeatureConfig
from encoders.losses import LossConfig
from encoders.masking import MaskingConfig
from encoders.model import ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How long and how fast.

    Attributes:
        epochs: Passes over the training windows.
        batch: Windows a step.
        learning_rate: At its peak, after the warm-up.
        weight_decay: Of matrices; biases, norms and embeddings have none.
        warm_up: Share of the steps over which the learning rate rises; then it falls as a cosine.
        clip: Greatest norm of the gradient.
        agents: Road users a window; where there are more, others are drawn at every step.
        polylines: Road pieces a window, likewise.
        others: Other vehicles whose frames each scene is also told in.
        yaw_jitter: Greatest turn of a training window's frame [rad].
        shift_jitter: Greatest move of it [m].
        validation: Share of the logs that are held out.
        bf16: Compute in bfloat16 where that is safe.
        seed: Of weights, order, masks and jitter.
    """

    epochs: int = 8
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warm_up: float = 0.1
    clip: float = 5.0
    agents: int = 20
    polylines: int = 64
    others: int = 2
    yaw_jitter: float = 0.25
    shift_jitter: float = 2.0
    validation: float = 0.1
    bf16: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Settings of the scene encoder, section by section."""

    model: ModelConfig = field(default_factory=ModelConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
