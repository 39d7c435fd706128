"""Pictures and videos of the splats through the scene's camera."""

from __future__ import annotations

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
from ..view.picture import POSE_FIELDS, Picture, fetch_picture
from . import splats
from .png import straight, write_png
from .takes import Pictures
from .targets import whole_file, whole_folder


def export_sequence(kind: str, client: Client, job: Job, pictures: Pictures, path: Path, start: float) -> None:
    """Write `00001.png` or `.exr`, ... of all avatars together, transparent around them."""
    suffix = f".{kind.lower()}"
    total = len(pictures.views)
    files = {
        avatar.avatar_id: functools.partial(source.avatar_file, avatar.avatar_id)
        for cast in pictures.casts
        for avatar in cast
    }
    with whole_folder(path, suffix) as folder:
        for number, (view, cast) in enumerate(zip(pictures.views, pictures.casts, strict=True), 1):
            picture = fetch_picture(
                lambda arrays, document: client.render(arrays, document, files),
                view,
                cast,
                "uint8" if kind == "PNG" else "float32",
            )
            file = folder / f"{number:05d}{suffix}"
            if kind == "PNG":
                write_png(file, straight(picture.rgba))
            else:
                source.in_main_thread(functools.partial(write_exr, file, picture))
            job.report(start + (1 - start) * number / total, f"Picture {number} of {total}")


def export_video(
    client: Client, job: Job, pictures: Pictures, path: Path, fps: float, background: Sequence[float], start: float
) -> None:
    """Write an MP4 of one avatar before a colour, display sRGB."""
    arrays = performance(pictures)
    view = pictures.views[0]
    document = {"fps": fps, "size": [view.width, view.height], "background": [float(c) for c in background]}
    with whole_file(path) as temporary:
        avatar_id = pictures.casts[0][0].avatar_id
        made = splats.run(client, job, "mp4", avatar_id, arrays, document, temporary.parent, start, 1.0)
        made.replace(temporary)


def performance(pictures: Pictures) -> dict[str, np.ndarray]:
    """One avatar's frames and cameras, as the protocol's *performance*: the cameras look into its own space."""
    if any(len(cast) != 1 for cast in pictures.casts):
        raise AddonError(
            "A video shows one avatar, in every frame: for several export pictures, or render with Emo Splats."
        )
    people = [cast[0] for cast in pictures.casts]
    arrays = {name: np.stack([person.pose[name] for person in people]) for name in POSE_FIELDS}
    pairs = zip(pictures.views, people, strict=True)
    arrays["viewmat"] = np.stack([view.viewmat @ person.world for view, person in pairs])
    arrays["K"] = np.stack([view.K for view in pictures.views])
    return arrays


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
        image.save_render(str(path), scene=scene)
    finally:
        bpy.data.scenes.remove(scene)
        bpy.data.images.remove(image)
    if not path.is_file():
        raise AddonError(f"Blender could not write {path.name}: is the disk full?")
