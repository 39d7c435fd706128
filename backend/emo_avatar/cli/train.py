"""``emo-avatar train``: the learned parts, from data that the program synthesises."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emo_avatar.cli.boundary import progress_bar, say
from emo_avatar.cli.options import output

app = typer.Typer(help="Train the learned parts.", no_args_is_help=True)


@app.command()
def geometry(
    out: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="W.safetensors", help="Where to; the shipped file by default."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
) -> None:
    """Train the geometry modulator on synchronised emotional speech."""
    from emo_avatar.training.geometry import WEIGHTS_PATH, train_geometry

    path = output(out, ".safetensors") if out else WEIGHTS_PATH
    with progress_bar("Training") as report:
        train_geometry(path, resume=resume, progress=report)
    say(f"{path}: {path.stat().st_size / 1e6:.1f} MB.")


@app.command()
def recipes(
    out: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="R.json", help="Where to; the shipped file by default.")
    ] = None,
) -> None:
    """Learn what the six emotions look like from captioned photographs."""
    from emo_avatar.training.recipes import RECIPES_PATH, learn_recipes

    path = output(out, ".json") if out else RECIPES_PATH
    with progress_bar("Learning") as report:
        learn_recipes(path, report)
    say(f"{path}: recipes of six emotions.")
