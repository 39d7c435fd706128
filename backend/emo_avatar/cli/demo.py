"""``emo-avatar demo``: everything at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emo_avatar.cli.boundary import progress_bar, say
from emo_avatar.cli.options import Appearance, Device, DeviceOption, Geometry, torch_device


def demo(
    out: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where to put it all.")],
    backbone: Annotated[str, typer.Option(metavar="uv|lam-s", help="How the avatar is made.")] = "uv",
    geometry: Geometry = True,
    appearance: Appearance = True,
    device: DeviceOption = Device.auto,
) -> None:
    """Build an avatar of a sample photograph and show what it can do."""
    target = torch_device(device)
    from emo_avatar.backbones.make import Backbone
    from emo_avatar.demo import run_demo

    with progress_bar("Demo") as report:
        written = run_demo(out, target, report, Backbone(backbone), geometry, appearance)
    for path in written:
        say(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    say(f"Open {out / 'index.html'} in a browser.")
