"""The bytes of a portrait: of a file, or of an image in the .blend, whatever that is made of."""

import tempfile
from pathlib import Path

import bpy
import numpy as np

from ..errors import AddonError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_MAX_BYTES = 64 << 20  # what the backend takes


def of_file(path: Path) -> bytes:
    """A picture file as it is."""
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise AddonError(f"{path.name} has {size >> 20} MB; a portrait may have {_MAX_BYTES >> 20} MB.")
        return path.read_bytes()
    except OSError as error:
        raise AddonError(f"{path.name} cannot be read: {error.strerror or error}.") from error


def candidates() -> list[bpy.types.Image]:
    """The .blend's images, without *Render Result* and *Viewer Node*, whose pixels are not theirs."""
    return [image for image in bpy.data.images if image.type not in {"RENDER_RESULT", "COMPOSITING"}]


def of_image(image: bpy.types.Image) -> bytes:
    """An image of the .blend: its file's bytes, or a PNG of its pixels when they are nowhere else."""
    as_it_is = image.source == "FILE" and not image.is_dirty and not image.is_float
    if as_it_is and image.packed_file:
        return image.packed_file.data
    path = Path(bpy.path.abspath(image.filepath_raw, library=image.library))
    if as_it_is and path.suffix.lower() in SUFFIXES and path.is_file():
        return of_file(path)
    if not image.has_data and not len(image.pixels):
        raise AddonError(f"{image.name} has no pixels in this file: save it as a picture and use that.")
    return _png(image)


def _png(image: bpy.types.Image) -> bytes:
    width, height = image.size
    pixels = np.empty(width * height * image.channels, np.float32)
    if not len(pixels) or len(image.pixels) != len(pixels):
        raise AddonError(f"{image.name} has no pixels in this file: save it as a picture and use that.")
    image.pixels.foreach_get(pixels)
    pixels = pixels.reshape(-1, image.channels)
    rgba = np.ones((len(pixels), 4), np.float32)
    if image.channels < 3:
        rgba[:, :3] = pixels[:, :1]
    else:
        rgba[:, : image.channels] = pixels
    if image.is_float:  # scene-linear; bytes are kept as they are displayed
        rgba[:, :3] = _displayed(rgba[:, :3])
    copy = bpy.data.images.new("Emo Avatar portrait", width, height, alpha=True)
    try:
        copy.pixels.foreach_set(rgba.ravel())
        copy.file_format = "PNG"
        with tempfile.TemporaryDirectory(prefix="emo-avatar-") as folder:
            path = Path(folder) / "portrait.png"
            copy.save(filepath=str(path))
            return of_file(path)
    finally:
        bpy.data.images.remove(copy)


def _displayed(linear: np.ndarray) -> np.ndarray:
    """sRGB's transfer function."""
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
