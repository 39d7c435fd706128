"""Commands that make avatars and tell about them: build, import, info."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emo_avatar.cli.boundary import print_facts, print_json, progress_bar, say
from emo_avatar.cli.options import AvatarFile, Device, DeviceOption, Json, output, read_head, torch_device

if TYPE_CHECKING:
    from emo_avatar.avatar.avatar import Avatar

SUFFIX = ".emoavatar"
Output = Annotated[Path, typer.Option("-o", "--output", metavar="A.emoavatar", help="The avatar file to write.")]


def build(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A portrait photograph.")],
    out: Output,
    head: Annotated[str, typer.Option(metavar="open|H.npz", help="The head model to fit.")] = "open",
    backbone: Annotated[str, typer.Option(metavar="uv|lam-s|lam", help="How the avatar is made.")] = "uv",
    weights: Annotated[
        Path | None, typer.Option(metavar="W.safetensors", help="Of lam: the authors' LAM-20K; of lam-s: your own.")
    ] = None,
    learned: Annotated[
        bool | None,
        typer.Option("--learned/--analytic", help="With the trained network, or by analysis of the photo alone."),
    ] = None,
    refine: Annotated[int, typer.Option(min=0, max=10_000, help="Steps of refinement; 0 gives a quick preview.")] = 100,
    device: DeviceOption = Device.auto,
    tracking_report: Annotated[
        Path | None, typer.Option("--report", metavar="PNG", help="Also draw how the head was fitted to the photo.")
    ] = None,
) -> None:
    """Make an avatar of the person on a photograph."""
    output(out, SUFFIX)
    if tracking_report is not None:
        output(tracking_report, ".png")
    target = torch_device(device)

    from emo_avatar.avatar.files import save_avatar
    from emo_avatar.backbones.make import Backbone
    from emo_avatar.export.pictures import write_png
    from emo_avatar.tracking.portrait import track_portrait
    from emo_avatar.tracking.report import tracking_sheet

    way = Backbone(backbone, learned, refine, weights)
    head_data = read_head(head)
    with progress_bar("Building") as report:
        report(0.0, "finding the face")
        portrait = track_portrait(photo, head_data)
        if tracking_report is not None:
            write_png(tracking_report, tracking_sheet(portrait, head_data))
        avatar, notes = way.make(portrait, head_data, name=photo.stem, device=target, progress=report)
        save_avatar(avatar, out)
    for note in (*portrait.notes, *notes):
        say(note)
    say(f"{out}: {len(avatar.gaussians):,} Gaussians on the {head_data.name} head.")


def import_avatar(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A LAM avatar package, zip or folder.")], out: Output
) -> None:
    """Make an avatar of one that another program made."""
    output(out, SUFFIX)
    from emo_avatar.avatar.files import save_avatar
    from emo_avatar.avatar.lam_import import import_lam

    with progress_bar("Importing") as report:
        report(0.0, file.name)
        imported = import_lam(file)
        save_avatar(imported.avatar, out)
    for note in imported.notes:
        say(note)
    say(f"{out}: {len(imported.avatar.gaussians):,} Gaussians.")


def info(file: AvatarFile, as_json: Json = False) -> None:
    """Tell what an avatar file holds."""
    from emo_avatar.avatar.files import load_avatar

    facts = _facts(load_avatar(file), file)
    print_json(facts) if as_json else print_facts(facts)


def _facts(avatar: Avatar, file: Path) -> dict[str, Any]:
    return {
        "name": avatar.name,
        "backbone": avatar.backbone,
        "rig": avatar.rig.kind,
        "head": avatar.rig.head.name,
        "gaussians": len(avatar.gaussians),
        "sh_degree": avatar.gaussians.sh_degree,
        "triangles": len(avatar.rig.faces),
        "has_photo": avatar.photo is not None,
        "emotion_appearance": avatar.look is not None,
        "bytes": file.stat().st_size,
    }
