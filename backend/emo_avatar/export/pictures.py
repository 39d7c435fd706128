"""Pictures of an avatar: frames as arrays, PNG files, and folders of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.export.folders import FRAME_PATTERN, whole_folder
from emo_avatar.files import whole_file
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.render.camera import Camera
from emo_avatar.render.rasterize import rasterize

Colour = tuple[float, float, float]  # display sRGB, 0 to 1
Progress = Callable[[float, str], None]


def render_frames(
    avatar: Avatar,
    sequence: FlameSequence,
    camera: Camera,
    background: Colour | None = None,  # None: transparent
) -> Iterator[np.ndarray]:  # T x [H, W, 4 or 3] uint8
    """Every frame of a sequence as a picture, RGBA when there is no background."""
    return (picture(gaussians, camera, background) for gaussians in avatar.play(sequence))


def picture(gaussians: Gaussians, camera: Camera, background: Colour | None = None) -> np.ndarray:
    """Gaussians as seen by a camera: [H, W, 3] uint8, or [H, W, 4] with straight alpha when there is no background."""
    render = rasterize(gaussians, camera, background or (0.0, 0.0, 0.0))
    rgb, alpha = render.rgb.cpu().numpy(), render.alpha.cpu().numpy()[..., None]
    if background is not None:
        return to_uint8(rgb)
    straight = np.divide(rgb, alpha, out=np.zeros_like(rgb), where=alpha > 0)
    return to_uint8(np.concatenate([straight, alpha], axis=2))


def to_uint8(image: np.ndarray) -> np.ndarray:  # float [...] -> uint8
    """A picture in [0, 1], rounded; what lies outside is clipped."""
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def write_png(path: Path | str, image: np.ndarray) -> None:  # [H, W, 3 or 4] uint8
    """Write one picture."""
    with whole_file(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")


def write_png_sequence(folder: Path | str, frames: Iterable[np.ndarray], total: int, progress: Progress) -> None:
    """Write ``00001.png``, ``00002.png``, ... into a folder, in place of such files there; all of them or none."""
    with whole_folder(folder, FRAME_PATTERN + ".png") as temporary:
        for number, frame in enumerate(frames, 1):
            Image.fromarray(frame).save(temporary / f"{number:05d}.png")
            progress(number / total, f"frame {number} of {total}")
