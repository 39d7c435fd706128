"""The options that several commands share, checked where they are read."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emo_avatar import __version__
from emo_avatar.cli.boundary import say
from emo_avatar.errors import UserError

if TYPE_CHECKING:  # PyTorch takes a second to import; `--help` has not got it
    import torch

    from emo_avatar.head.data import HeadData

MAX_FRAMES = 1_000_000


class Device(str, Enum):
    """Where tensors live."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class View(str, Enum):
    """What of an avatar is drawn."""

    avatar = "avatar"
    mesh = "mesh"


AvatarFile = Annotated[Path, typer.Argument(metavar="A.emoavatar", help="An avatar made by `build` or `import`.")]
DeviceOption = Annotated[Device, typer.Option(help="Where to compute: CUDA when there is one, by default.")]
Motion = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Driving motion: FLAME npz, LAM folder, Live Link Face CSV or ARKit JSON."),
]
Timeline = Annotated[Path | None, typer.Option(metavar="T.json", help="Emotion timeline.")]
Emotions = Annotated[
    list[str] | None,
    typer.Option("--emotion", metavar="NAME=0..1", help="An emotion to hold; may be given repeatedly."),
]
Frames = Annotated[
    int | None, typer.Option(min=1, max=MAX_FRAMES, help="Length; by default the timeline's or the motion's.")
]
Geometry = Annotated[bool, typer.Option("--geometry/--no-geometry", help="Whether emotions move the face.")]
Appearance = Annotated[bool, typer.Option("--appearance/--no-appearance", help="Whether emotions colour the skin.")]
Size = Annotated[int, typer.Option(min=16, max=8192, help="Width and height in pixels.")]
Yaw = Annotated[float, typer.Option(min=-180, max=180, help="Degrees the camera goes to the subject's left.")]
Pitch = Annotated[float, typer.Option(min=-89, max=89, help="Degrees the camera goes up.")]
Fov = Annotated[float, typer.Option(min=1, max=120, help="Full angle of view in degrees.")]
Background = Annotated[str | None, typer.Option(metavar="transparent|#rrggbb", help="What lies behind.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def show_version(wanted: bool) -> None:
    """What ``--version`` does."""
    if wanted:
        print(f"emo-avatar {__version__}")
        raise typer.Exit


def output(path: Path, *suffixes: str) -> Path:
    """The path, when it has one of the suffixes (lower case); "" stands for a folder."""
    if path.suffix.lower() in suffixes or ("" in suffixes and path.is_dir()):
        return path
    kinds = [f"*{suffix}" if suffix else "a folder" for suffix in suffixes]
    raise UserError(f"{path} has no ending that this command writes; choose {' or '.join(kinds)}.")


def torch_device(device: Device, splats: bool = True) -> torch.device:
    """The device to compute on, for rendering too unless there are no ``splats``.

    Raises UserError when CUDA is asked for and cannot be used.
    """
    import torch

    from emo_avatar.render.cuda import gsplat_rasterization

    if device is Device.cpu or (device is Device.auto and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("There is no CUDA device that PyTorch can use here; choose --device cpu or auto.")
    try:
        if splats:
            gsplat_rasterization()
    except UserError as error:
        if device is Device.cuda:
            raise
        say(f"Using the CPU, although there is a CUDA device. {error}")
        return torch.device("cpu")
    return torch.device("cuda")


def read_head(name: str) -> HeadData:
    """The head that ``--head`` names: ``open``, or an npz file."""
    from emo_avatar.head.data import load_head

    return load_head() if name == "open" else load_head(Path(name))


def parse_emotions(pairs: list[str] | None) -> dict[str, float]:
    """``["happy=0.8", ...]`` as a mapping; names and ranges are checked by whoever applies it."""
    emotions = {}
    for pair in pairs or []:
        name, _, value = pair.partition("=")
        try:
            emotions[name.strip()] = float(value)
        except ValueError as error:
            raise UserError(f"{pair!r} is no emotion; write it like happy=0.8.") from error
    return emotions


def parse_colour(text: str) -> tuple[float, float, float] | None:
    """``#rrggbb`` as display sRGB in [0, 1]; None for ``transparent``."""
    if text == "transparent":
        return None
    digits = text.removeprefix("#")
    try:
        if len(digits) != 6 or digits == text:
            raise ValueError
        red, green, blue = bytes.fromhex(digits)
    except ValueError as error:
        raise UserError(f"{text!r} is no colour; write it like #336699, or transparent.") from error
    return red / 255, green / 255, blue / 255
