"""Jobs that make files of a performance: splats as PLY, pictures, video."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.export.pictures import picture, write_png
from emo_avatar.export.ply import write_ply
from emo_avatar.export.video import write_mp4
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.server.arrays import Message, malformed
from emo_avatar.server.avatars import Avatars, HeldAvatar
from emo_avatar.server.jobs import Job, Progress
from emo_avatar.server.performing import performance_of
from emo_avatar.server.refusals import Refusal
from emo_avatar.server.rendering import MAX_AVATARS, MAX_PIXELS, Similarity, camera_of, merged, transformed

SUFFIXES = {"ply": ".zip", "png": ".zip", "mp4": ".mp4"}
MEDIA_TYPES = {".zip": "application/zip", ".mp4": "video/mp4"}
BYTES_PER_PIXEL = {"png": 3.0, "mp4": 0.5}  # more than there will be
MAX_OVERSAMPLING = 4
BACKDROP = (0.0, 0.0, 0.0)  # of a video, which cannot be transparent
SPARE = 64 << 20  # bytes that the disk should have left afterwards

Write = Callable[[Job, Progress], dict[str, Any]]


def export(kind: str, message: Message, avatars: Avatars, folder: Path) -> Write:
    """Check a *performance*, and return the work that writes its file below ``folder``.

    Raises `Refusal` when the message is not right, or the disk has not the space.
    """
    held = avatars.get(message.text("avatar"))
    sequence = performance_of(message)
    if kind == "ply":
        _check_space(folder, len(sequence) * len(held.avatar.gaussians) * 4 * _ply_columns(held))
        return lambda job, progress: _write_plys(job, progress, held, held.avatar.play(sequence), len(sequence), folder)
    width, height = _size(message)
    background = _background(message) or (BACKDROP if kind == "mp4" else None)
    viewmats, Ks = message.floats("viewmat", ("T", 4, 4)), message.floats("K", ("T", 3, 3))
    larger = _oversampling(message, width * height)
    enlarge = np.diag([larger, larger, 1.0]).astype(np.float32)
    cameras = [
        camera_of(view, enlarge @ K, larger * width, larger * height)[0] for view, K in zip(viewmats, Ks, strict=True)
    ]
    _check_space(folder, int(len(sequence) * width * height * BYTES_PER_PIXEL[kind]))

    others = [_Companion.of(message, avatars, number) for number in range(1, len(_others(message)) + 1)]

    def frames() -> Iterator[np.ndarray]:
        plays = (held.avatar.play(sequence), *(other.play() for other in others))
        for camera, *people in zip(cameras, *plays, strict=True):
            yield reduced(picture(merged(people) if others else people[0], camera, background), larger)

    def write(job: Job, progress: Progress) -> dict[str, Any]:
        if kind == "mp4":
            path = _new_file(folder, kind)
            job.file = path
            write_mp4(path, frames(), sequence.fps, len(sequence), progress)
        else:
            _write_zip(job, progress, frames(), "png", write_png, len(sequence), folder)
        return {"frames": len(sequence), "size": job.file.stat().st_size if job.file else 0}

    return write


@dataclass(frozen=True)
class _Companion:
    """Another avatar in the pictures, and where it stands in the space of the first."""

    held: HeldAvatar
    sequence: FlameSequence
    places: tuple[Similarity, ...]  # T

    @classmethod
    def of(cls, message: Message, avatars: Avatars, number: int) -> _Companion:
        worlds = message.floats(f"{number}.world", ("T", 4, 4))
        places = tuple(Similarity.of(world, "An avatar") for world in worlds)
        held = avatars.get(_others(message)[number - 1])
        return cls(held, performance_of(message, f"{number}."), places)

    def play(self) -> Iterator[Gaussians]:
        for gaussians, place in zip(self.held.avatar.play(self.sequence), self.places, strict=True):
            yield transformed(gaussians, place)


def reduced(image: np.ndarray, factor: int) -> np.ndarray:  # [H * factor, W * factor, C] uint8 -> [H, W, C]
    """The mean of each square of pixels; with four channels of colours weighted by their straight alpha."""
    if factor == 1:
        return image
    height, width, channels = image.shape
    blocks = image.reshape(height // factor, factor, width // factor, factor, channels).astype(np.float32)
    if channels == 4:
        blocks[..., :3] *= blocks[..., 3:]
    means = blocks.mean(axis=(1, 3))
    if channels == 4:
        np.divide(means[..., :3], means[..., 3:], out=means[..., :3], where=means[..., 3:] > 0)
    return np.rint(means).astype(np.uint8)


def _oversampling(message: Message, pixels: int) -> int:
    factor = message.document.get("oversampling", 1)
    if type(factor) is not int or not 1 <= factor <= MAX_OVERSAMPLING or pixels * factor**2 > MAX_PIXELS:
        raise malformed(f"oversampling must be from 1 to {MAX_OVERSAMPLING}, and 4096 x 4096 pixels at most are drawn")
    return factor


def _others(message: Message) -> list[str]:
    return message.texts("others", MAX_AVATARS - 1) if "others" in message.document else []


def _write_plys(
    job: Job, progress: Progress, held: HeldAvatar, frames: Iterator[Gaussians], total: int, folder: Path
) -> dict[str, Any]:
    _write_zip(job, progress, frames, "ply", write_ply, total, folder)
    return {"frames": total, "size": job.file.stat().st_size if job.file else 0}


def _write_zip(
    job: Job,
    progress: Progress,
    frames: Iterator[Any],
    suffix: str,
    write: Callable[[Path, Any], None],
    total: int,
    folder: Path,
) -> None:
    """``00001.png``, ``00002.png``, ... in an archive, one at a time."""
    job.file = _new_file(folder, suffix)
    with (
        tempfile.TemporaryDirectory(dir=folder) as private,
        zipfile.ZipFile(job.file, "w", zipfile.ZIP_STORED) as archive,
    ):
        for number, frame in enumerate(frames, 1):
            file = Path(private) / f"{number:05d}.{suffix}"
            write(file, frame)
            archive.write(file, file.name)
            file.unlink()
            progress(number / total, f"frame {number} of {total}")


def _new_file(folder: Path, kind: str) -> Path:
    handle, name = tempfile.mkstemp(SUFFIXES[kind], "export-", folder)
    os.close(handle)
    return Path(name)


def _ply_columns(held: HeldAvatar) -> int:
    return 14 + 3 * held.avatar.gaussians.sh.shape[1]


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise Refusal(
            "no_space",
            f"The export needs about {needed / 1e9:.1f} GB on the backend's disk, which has {free / 1e9:.1f} GB free.",
        )


def _size(message: Message) -> tuple[int, int]:
    size = message.document.get("size")
    if not isinstance(size, list) or len(size) != 2 or not all(type(n) is int and 0 < n <= 16384 for n in size):
        raise malformed("size must be [width, height] in pixels")
    if size[0] * size[1] > MAX_PIXELS:
        raise malformed("A picture may have 4096 x 4096 pixels at most")
    return size[0], size[1]


def _background(message: Message) -> tuple[float, float, float] | None:
    colour = message.document.get("background")
    if colour is None:
        return None
    numbers = isinstance(colour, list) and len(colour) == 3 and all(type(c) in (int, float) for c in colour)
    if not numbers or not all(0 <= c <= 1 for c in colour):
        raise malformed("background must be [r, g, b] between 0 and 1, or null")
    return float(colour[0]), float(colour[1]), float(colour[2])
