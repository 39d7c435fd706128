"""Commands that make pictures: render, sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emo_avatar.cli.boundary import progress_bar, say
from emo_avatar.cli.motions import performance
from emo_avatar.cli.options import (
    Appearance,
    AvatarFile,
    Background,
    Device,
    DeviceOption,
    Emotions,
    Fov,
    Frames,
    Geometry,
    Motion,
    Pitch,
    Size,
    Timeline,
    View,
    Yaw,
    output,
    parse_colour,
    torch_device,
)
from emo_avatar.errors import UserError

VIDEO_BACKGROUND = "#ffffff"


def render(
    avatar: AvatarFile,
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT.png|OUT.mp4|DIR/", help="First frame, video, or PNG folder.")
    ],
    motion: Motion = None,
    timeline: Timeline = None,
    emotion: Emotions = None,
    frames: Frames = None,
    size: Size = 512,
    yaw: Yaw = 0.0,
    pitch: Pitch = 0.0,
    fov: Fov = 20.0,
    background: Background = None,
    geometry: Geometry = True,
    appearance: Appearance = True,
    view: Annotated[View, typer.Option(help="The avatar's splats, or the head model's mesh.")] = View.avatar,
    device: DeviceOption = Device.auto,
) -> None:
    """Render an avatar: a picture, a video, or a folder of pictures. Transparent where the format can be."""
    kind = output(out, ".png", ".mp4", "").suffix.lower()
    colour = parse_colour(background or (VIDEO_BACKGROUND if kind == ".mp4" else "transparent"))
    if kind == ".mp4" and colour is None:
        raise UserError("MP4 has no transparency; choose a colour as background, or a folder of PNG files.")
    target = torch_device(device)
    person, sequence = performance(avatar, motion, timeline, emotion, frames, geometry, appearance)
    from emo_avatar.export.mesh_view import render_mesh_frames
    from emo_avatar.export.pictures import render_frames, write_png, write_png_sequence
    from emo_avatar.export.video import write_mp4

    if kind == ".png":
        sequence = sequence.slice(0, 1)
    draw = render_mesh_frames if view is View.mesh else render_frames
    pictures = draw(person.to(target), sequence, person.camera(yaw, pitch, fov, size), colour)
    with progress_bar(f"Rendering {out.name}") as report:
        if kind == ".png":
            write_png(out, next(pictures))
        elif kind == ".mp4":
            write_mp4(out, pictures, sequence.fps, len(sequence), report)
        else:
            write_png_sequence(out, pictures, len(sequence), report)
    say(f"{out}: {len(sequence)} {'frame' if len(sequence) == 1 else 'frames'} of {size} px.")


def sheet(
    avatar: AvatarFile,
    out: Annotated[Path, typer.Option("-o", "--output", metavar="SHEET.png", help="The picture to write.")],
    size: Annotated[int, typer.Option(min=64, max=2048, help="Pixels of each of the 21 pictures.")] = 256,
    geometry: Geometry = True,
    appearance: Appearance = True,
    device: DeviceOption = Device.auto,
) -> None:
    """Render a contact sheet: seven emotions in three views."""
    output(out, ".png")
    target = torch_device(device)
    from emo_avatar.avatar.files import load_avatar
    from emo_avatar.export.pictures import write_png
    from emo_avatar.export.sheet import contact_sheet

    person = load_avatar(avatar).to(target)
    with progress_bar(f"Rendering {out.name}") as report:
        write_png(out, contact_sheet(person, size, report, geometry, appearance))
    say(f"{out}: seven emotions in three views.")
