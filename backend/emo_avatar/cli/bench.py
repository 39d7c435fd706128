"""``emo-avatar bench``: how fast it is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emo_avatar.cli.boundary import print_facts, print_json, progress_bar
from emo_avatar.cli.options import Device, DeviceOption, Json, Size, torch_device

if TYPE_CHECKING:
    from emo_avatar.avatar.avatar import Avatar

app = typer.Typer(help="Measure speed.", no_args_is_help=True)
Repeats = Annotated[int, typer.Option(min=1, max=100_000, help="Measurements, of which the median is told.")]


@app.command()
def render(
    gaussians: Annotated[int, typer.Option(min=0, max=10_000_000, help="How many, of 1 to 3 px.")] = 60_000,
    size: Size = 512,
    sh_degree: Annotated[int, typer.Option(min=0, max=3, help="Of the colours' spherical harmonics.")] = 3,
    backward: Annotated[bool, typer.Option("--backward", help="Forward and backward pass.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Time PyTorch operations as well, on the CPU.")] = False,
    repeats: Repeats = 50,
    device: DeviceOption = Device.auto,
    as_json: Json = False,
) -> None:
    """Time the rasteriser on a random scene."""
    target = torch_device(device)
    from emo_avatar.render.bench import time_rasteriser

    times = time_rasteriser(gaussians, size, sh_degree, backward, repeats, target, compare)
    _tell({name: value for name, value in asdict(times).items() if value is not None}, as_json)


@app.command()
def animate(
    avatar: Annotated[Path | None, typer.Argument(metavar="[A.emoavatar]", help="The demo's by default.")] = None,
    size: Size = 512,
    repeats: Repeats = 60,
    device: DeviceOption = Device.auto,
    as_json: Json = False,
) -> None:
    """Time an avatar's frames: deform, bind and render."""
    target = torch_device(device)
    from emo_avatar.evaluation.speed import time_frames

    _tell(time_frames(_avatar(avatar).to(target), size, repeats), as_json)


@app.command()
def frame(
    avatar: Annotated[Path | None, typer.Argument(metavar="[A.emoavatar]", help="The demo's by default.")] = None,
    size: Size = 512,
    repeats: Repeats = 60,
    device: DeviceOption = Device.auto,
    as_json: Json = False,
) -> None:
    """Time whole frames under a changing emotion: geometry, appearance, rig and render."""
    target = torch_device(device)
    from emo_avatar.evaluation.speed import time_whole_frames

    _tell(time_whole_frames(_avatar(avatar).to(target), size, repeats), as_json)


def _avatar(path: Path | None) -> Avatar:
    from emo_avatar import assets
    from emo_avatar.avatar.files import load_avatar
    from emo_avatar.evaluation.speed import build_from_photo
    from emo_avatar.head.data import load_head

    if path:
        return load_avatar(path)
    with progress_bar("Preparing") as report:
        return build_from_photo(assets.fetch("astronaut.png"), load_head(), 0, report)


@app.command()
def build(
    photo: Annotated[Path | None, typer.Argument(metavar="[PHOTO]", help="The demo's by default.")] = None,
    device: DeviceOption = Device.auto,
    as_json: Json = False,
) -> None:
    """Time building an avatar in a warm process, with refinement and as a preview."""
    target = torch_device(device)
    from emo_avatar import assets
    from emo_avatar.evaluation.speed import time_build

    with progress_bar("Building") as report:
        facts = time_build(photo or assets.fetch("astronaut.png"), report, target)
    _tell(facts, as_json)


@app.command()
def serve(
    photo: Annotated[Path | None, typer.Argument(metavar="[PHOTO]", help="The demo's by default.")] = None,
    repeats: Repeats = 20,
    device: DeviceOption = Device.auto,
    as_json: Json = False,
) -> None:
    """Time the backend process from outside: its start, emotions, pictures, and heartbeats while it builds."""
    from emo_avatar import assets
    from emo_avatar.server.bench import time_backend

    with progress_bar("Serving") as report:
        facts = time_backend((photo or assets.fetch("astronaut.png")).read_bytes(), device.value, repeats, report)
    _tell(facts, as_json)


def _tell(facts: dict[str, object], as_json: bool) -> None:
    print_json(facts) if as_json else print_facts(facts)
