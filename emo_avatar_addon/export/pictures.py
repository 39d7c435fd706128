"""Pictures and videos of the splats through the scene's camera."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..errors import AddonError
from ..link.client import Client
from ..ops.jobs import Job
from ..view import shown, source
from ..view.picture import POSE_FIELDS, Picture, fetch_picture, oversampling
from . import splats
from .png import straight, write_png
from .takes import Pictures
from .targets import whole_file, whole_folder


def export_sequence(kind: str, client: Client, job: Job, pictures: Pictures, path: Path, start: float) -> None:
    """Write `00001.png` or `.exr`, ... of all avatars together, transparent around them."""
    suffix = f".{kind.lower()}"
    total = len(pictures.views)
    with whole_folder(path, suffix) as folder:
        for number, (view, cast) in enumerate(zip(pictures.views, pictures.casts, strict=True), 1):
            picture = fetch_picture(source.renderer(client, cast), view, cast)
            file = folder / f"{number:05d}{suffix}"
            if kind == "PNG":
                write_png(file, straight(picture.rgba))
            else:
                source.in_main_thread(functools.partial(write_exr, file, picture))
            job.report(start + (1 - start) * number / total, f"Picture {number} of {total}")


def export_video(
    client: Client, job: Job, pictures: Pictures, path: Path, fps: float, background: Sequence[float], start: float
) -> None:
    """Write an MP4 of all avatars together before a colour, display sRGB."""
    arrays, document = performance(pictures)
    view = pictures.views[0]
    document |= {
        "fps": fps,
        "size": [view.width, view.height],
        "background": [float(c) for c in background],
        "oversampling": max(map(oversampling, pictures.views, pictures.casts)),
    }
    with whole_file(path) as temporary:
        made = splats.run(client, job, "mp4", arrays, document, temporary.parent, start, 1.0)
        made.replace(temporary)


def performance(pictures: Pictures) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Frames and cameras as the protocol's *performance*: all in the space of the first avatar."""
    ids = [avatar.avatar_id for avatar in pictures.casts[0]]
    if not ids or any([avatar.avatar_id for avatar in cast] != ids for cast in pictures.casts):
        raise AddonError(
            "In a video the same avatars are there from first to last: export pictures, or render with Emo Splats."
        )
    arrays = {}
    for number in range(len(ids)):
        prefix = f"{number}." if number else ""
        for name in POSE_FIELDS:
            arrays[prefix + name] = np.stack([cast[number].pose[name] for cast in pictures.casts])
        arrays[prefix + "emotions"] = np.stack([cast[number].emotions for cast in pictures.casts])
        if number:
            arrays[prefix + "world"] = np.stack(
                [np.linalg.inv(cast[0].world) @ cast[number].world for cast in pictures.casts]
            )
    pairs = zip(pictures.views, pictures.casts, strict=True)
    arrays["viewmat"] = np.stack([view.viewmat @ cast[0].world for view, cast in pairs])
    arrays["K"] = np.stack([view.K for view in pictures.views])
    return arrays, {"avatar": ids[0], "others": ids[1:]}


def write_exr(path: Path, picture: Picture) -> None:
    """Main thread: one scene-linear picture, premultiplied, half float."""
    rgba, _ = picture.in_scene(shown.scene_from_linear())
    height, width = rgba.shape[:2]
    image = bpy.data.images.new("Emo Avatar Export", width, height, alpha=True, float_buffer=True)
    scene = bpy.data.scenes.new("Emo Avatar Export")
    try:
        image.alpha_mode = "PREMUL"
        image.pixels.foreach_set(np.ascontiguousarray(rgba[::-1]).ravel())
        settings: Any = scene.render.image_settings
        if hasattr(settings, "media_type"):  # from 5.0 on it says which formats there are
            settings.media_type = "IMAGE"
        settings.file_format = "OPEN_EXR"
        settings.color_mode, settings.color_depth, settings.exr_codec = "RGBA", "16", "ZIP"
        with contextlib.suppress(RuntimeError):  # its words, "Invalid argument", would mislead
            image.save_render(str(path), scene=scene)
    finally:
        bpy.data.scenes.remove(scene)
        bpy.data.images.remove(image)
    if not path.is_file() or not path.stat().st_size:
        raise AddonError(f"Blender could not write {path.name}: is the disk full?")
