"""``scenelake train`` and ``encode``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.common import Json, open_lake
from cli.output import count, print_json, progress, tell

train = typer.Typer(
    help="Train on this lake; a stopped training goes on where it was.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Out = Annotated[Path, typer.Option(help="File of the weights (.safetensors).")]
Config = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="TOML with the settings.")
]


@train.command()
def encoder(
    context: typer.Context,
    out: Out = Path("scene_encoder.safetensors"),
    config: Config = None,
    json: Json = False,
) -> None:
    """Train the scene encoder by masked reconstruction."""
    from encoders.config import EncoderConfig
    from encoders.train import train_encoder
    from schemas.config import load

    settings = load(EncoderConfig, config) if config else EncoderConfig()
    with progress("Train", quiet=json) as tick:
        report = train_encoder(
            open_lake(context), settings, out, progress=lambda e: tick(e.epoch, e.epochs)
        )
    print_json(report) if json else tell(f"Weights: {out}")


@train.command()
def generator(
    context: typer.Context,
    out: Out = Path("generator.safetensors"),
    config: Config = None,
    json: Json = False,
) -> None:
    """Train the diffusion generator."""
    from generation.train import TrainConfig, train_generator
    from schemas.config import load

    settings = load(TrainConfig, config) if config else TrainConfig()
    with progress("Train", quiet=json) as tick:
        report = train_generator(open_lake(context), settings, out, progress=tick)
    print_json(report) if json else tell(f"Weights: {out}")


def encode(
    context: typer.Context,
    model: Annotated[
        Path | None, typer.Option(exists=True, help="Weights; else those that ship.")
    ] = None,
    json: Json = False,
) -> None:
    """Give every scene that lacks one its vector."""
    from encoders.embed import encode as run

    with progress("Encode", quiet=json) as tick:
        report = run(open_lake(context), model=model, progress=tick)
    if json:
        print_json(report)
        return
    tell(
        f"{count(report.encoded, 'scene')} encoded, {report.unchanged:,} had a vector ({report.model})."
    )
