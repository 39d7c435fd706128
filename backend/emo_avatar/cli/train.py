"""``emo-avatar train``: the learned parts, from data that the program synthesises."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emo_avatar.cli.boundary import progress_bar, say
from emo_avatar.cli.options import Device, DeviceOption, output, torch_device
from emo_avatar.errors import UserError

if TYPE_CHECKING:
    import torch

app = typer.Typer(help="Train the learned parts.", no_args_is_help=True)


Weights = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="W.safetensors", help="Where to; the shipped file by default."),
]
Minutes = Annotated[float | None, typer.Option(min=0, help="To stop after; --resume goes on.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")]


def _target(device: Device, splats: bool = True) -> torch.device:
    """Where to train; of torchrun's processes each has a GPU of its own, and one builds gsplat's kernels for all."""
    import torch

    from emo_avatar.training.processes import processes

    wanted = "cuda" if device is not Device.cpu and torch.cuda.is_available() else "cpu"
    return processes(wanted).in_turn(lambda: torch_device(device, splats))


def _tell(path: Path, complete: bool) -> None:
    from emo_avatar.training.processes import is_first_process

    if not is_first_process():  # of torchrun's, the first writes the weights, and may not be done with it
        return
    say(f"{path}: {path.stat().st_size / 1e6:.1f} MB.")
    if not complete:
        say("Training is not complete; the same command with --resume goes on.")


@app.command()
def geometry(
    out: Weights = None,
    minutes: Minutes = None,
    device: DeviceOption = Device.cpu,
    resume: Resume = False,
) -> None:
    """Train the geometry modulator on synchronised emotional speech."""
    target = _target(device, splats=False)
    from emo_avatar.training.geometry import WEIGHTS_PATH, train_geometry

    path = output(out, ".safetensors") if out else WEIGHTS_PATH
    with progress_bar("Training") as report:
        complete = train_geometry(path, minutes=minutes, device=target, resume=resume, progress=report)
    _tell(path, complete)


@app.command("lam-s")
def lam_s(
    out: Weights = None,
    emotion: Annotated[bool, typer.Option(help="With the appearance path, or the backbone alone.")] = True,
    people: Annotated[int, typer.Option(min=1, max=1_000_000, help="People to learn from.")] = 400,
    steps: Annotated[int, typer.Option(min=2, max=10_000_000, help="Steps in all.")] = 3200,
    minutes: Minutes = None,
    batch: Annotated[int, typer.Option(min=1, help="People in a step of each process.")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that photograph people.")] = 0,
    device: DeviceOption = Device.auto,
    resume: Resume = False,
) -> None:
    """Train the small LAM backbone on invented people; with torchrun, on several GPUs."""
    target = _target(device)
    from emo_avatar.backbones.lam.checkpoint import WEIGHTS_PATH
    from emo_avatar.training.lam import LamTraining, run_settings, train_lam

    path = output(out, ".safetensors") if out else WEIGHTS_PATH
    settings, training = run_settings(steps, minutes, workers), LamTraining(emotion, people, batch=batch)
    with progress_bar("Training") as report:
        complete = train_lam(path, training, settings, device=target, resume=resume, progress=report)
    _tell(path, complete)


@app.command()
def uv(
    emotion: Annotated[bool, typer.Option("--emotion", help="Learn how emotions colour the skin, too.")] = False,
    out: Weights = None,
    people: Annotated[int, typer.Option(min=1, max=1_000_000, help="Portraits to learn from.")] = 200,
    kept: Annotated[int, typer.Option(min=1, max=1000, help="Moments of each to learn from.")] = 2,
    begin: Annotated[
        Path | None, typer.Option("--from", metavar="W.safetensors", help="Weights to begin with.")
    ] = None,
    steps: Annotated[int, typer.Option(min=2, max=10_000_000, help="One moment each.")] = 3000,
    minutes: Minutes = None,
    workers: Annotated[int, typer.Option(min=0, max=256, help="Processes that draw and photograph people.")] = 1,
    resume: Resume = False,
    device: DeviceOption = Device.auto,
) -> None:
    """Train the UV backbone's network on invented people."""
    target = _target(device)
    from emo_avatar.training.uv import WEIGHTS_PATH, UVTraining, run_settings, train_uv

    path = output(out, ".safetensors") if out else WEIGHTS_PATH
    settings = run_settings(steps, minutes, workers)
    with progress_bar("Training") as report:
        training = UVTraining(emotion, people, kept=kept)
        complete = train_uv(path, training, settings, device=target, resume=resume, begin=begin, progress=report)
    _tell(path, complete)


@app.command()
def recipes(
    out: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="R.json", help="Where to; the shipped file by default.")
    ] = None,
    audience: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Recogniser to tune for: face-api, fer; may be given twice. Default: both."),
    ] = None,
    untuned: Annotated[bool, typer.Option("--untuned", help="What the photographs say and no more.")] = False,
) -> None:
    """Learn what the six emotions look like: from captioned photographs, then tuned so that they are recognised."""
    from emo_avatar.training.recipes import AUDIENCE, RECIPES_PATH, learn_recipes

    for name in audience or ():
        if name not in AUDIENCE:
            raise UserError(f"There is no recogniser {name!r}; choose one of {', '.join(AUDIENCE)}.")

    path = output(out, ".json") if out else RECIPES_PATH
    with progress_bar("Learning") as report:
        learn_recipes(path, report, () if untuned else audience or AUDIENCE)
    say(f"{path}: recipes of six emotions.")
