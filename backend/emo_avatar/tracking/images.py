"""Photographs as sRGB arrays: whatever a user may hand over, read, or refused in one sentence."""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from emo_avatar.errors import UserError

ImageSource: TypeAlias = "Path | str | bytes | np.ndarray"

# Pillow also opens formats that start other programs (EPS) or are no photographs (fonts, icons): those stay out.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "MPO", "BMP", "GIF", "JPEG2000", "AVIF", "PPM", "TGA")
WORKING_PIXELS = 12_000_000  # larger photos are reduced while reading: a face of 512 px then fills 2 % of the picture
REFUSED_PIXELS = 2 * 89_478_485  # Pillow's own limit against decompression bombs: 179 megapixels
MATTE_GREY = 128  # transparent pictures are laid over grey: neither black nor white hair melts into it
EXIF_ORIENTATION = 0x0112
ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


@dataclass(frozen=True)
class Photo:
    """A photograph as it should be looked at: upright, opaque, sRGB."""

    rgb: np.ndarray  # [H, W, 3] uint8, sRGB
    notes: tuple[str, ...]  # what was done to the file and may surprise, in sentences


def read_photo(source: ImageSource) -> Photo:
    """Read a photograph from a file, from the bytes of one, or from an array ([H, W], [H, W, 3] or [H, W, 4]).

    Integer arrays span their type's range, floating-point ones 0 to 1. EXIF orientation and colour profiles are
    applied, transparency is laid over grey, the first frame of an animation is taken, and anything above
    ``WORKING_PIXELS`` is reduced. Raises ``UserError`` for what is no photograph, damaged, or too large.
    """
    if isinstance(source, np.ndarray):
        image = _image_from_array(source)
        return _finish(image, image.size, [])
    stream: Path | io.BytesIO
    if isinstance(source, bytes):
        name, head, stream = "The picture", source[:32], io.BytesIO(source)
    else:
        path = Path(source)
        if not path.is_file():
            raise UserError(f"There is no file {path}." if not path.exists() else f"{path} is not a file but a folder.")
        name = path.name
        try:
            with path.open("rb") as file:
                head = file.read(32)
            stream = path
        except OSError as error:
            raise UserError(f"{name} cannot be read: {error.strerror}.") from error
    if not head:
        raise UserError(f"{name} is empty; choose a photograph in JPEG or PNG format.")
    try:
        image, full_size, notes = _decode(stream)
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{name} has more than {REFUSED_PIXELS // 1_000_000} megapixels; save a smaller copy and use that."
        ) from error
    except UnidentifiedImageError as error:
        if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:
            raise UserError(
                f"{name} is an HEIC photo, which cannot be read; export it as JPEG and use that."
            ) from error
        raise UserError(f"{name} cannot be read as a picture; choose a photograph in JPEG or PNG format.") from error
    except Exception as error:  # decoders raise almost anything on damaged bytes: OSError, struct.error, EOFError, ...
        raise UserError(f"{name} is damaged or incomplete ({error}); get the file again or choose another.") from error
    return _finish(image, full_size, notes)


def _decode(stream: Path | io.BytesIO) -> tuple[Image.Image, tuple[int, int], list[str]]:
    """The first frame upright, the size that it has in the file, and notes.

    JPEG is decoded at the smallest of its scales (1, 1/2, 1/4, 1/8) that is not below the working size.
    """
    Image.init()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # large pictures are reduced, damaged metadata is told in a note
        with Image.open(stream, formats=[f for f in FORMATS if f in Image.OPEN]) as image:
            notes, full_size = [], image.size
            if getattr(image, "is_animated", False) and image.format != "MPO":  # MPO: a camera's JPEG with extras
                image.seek(0)
                what = "several pages" if image.format == "TIFF" else "several frames"
                notes.append(f"The file has {what}; the first was used.")
            if image.format in ("JPEG", "MPO"):
                image.draft(image.mode, _working_size(image.size))
            image.load()
            try:
                turn = ORIENTATIONS.get(image.getexif().get(EXIF_ORIENTATION))
            except Exception:  # damaged EXIF raises almost anything, and must not cost the picture
                notes.append("The file's EXIF block is damaged and was ignored; the picture may lie on its side.")
                turn = None
            upright = image.copy() if turn is None else image.transpose(turn)
            upright.info = dict(image.info)
            return upright, full_size, notes


def _finish(image: Image.Image, full_size: tuple[int, int], notes: list[str]) -> Photo:
    """To opaque sRGB at the working size."""
    profile = image.info.get("icc_profile")
    transparent = image.has_transparency_data
    image = _eight_bit(image)
    if image.mode == "P":
        image = image.convert("RGBA" if transparent else "RGB")
    alpha = None
    if transparent:
        image = image.convert("RGBA") if image.mode not in ("LA", "RGBA") else image
        alpha = image.getchannel("A")
        image = image.convert("L" if image.mode == "LA" else "RGB")
    size = _working_size(image.size)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
        alpha = alpha.resize(size, Image.Resampling.BOX) if alpha else None
    if full_size[0] * full_size[1] > WORKING_PIXELS:
        notes.append(f"The photo is large ({full_size[0]} x {full_size[1]}); it was read at {size[0]} x {size[1]}.")
    image, profile_used = _srgb(image, profile)
    if not profile_used:
        notes.append("The photo's colour profile cannot be used and was ignored; colours may be off.")
    if alpha and alpha.getextrema() != (255, 255):
        backdrop = Image.new("RGB", image.size, (MATTE_GREY,) * 3)
        image = Image.composite(image, backdrop, alpha)
        notes.append("The picture is transparent in places; it was laid over grey.")
    return Photo(np.array(image, np.uint8), tuple(notes))


def _working_size(size: tuple[int, int]) -> tuple[int, int]:
    scale = math.sqrt(WORKING_PIXELS / (size[0] * size[1]))
    return size if scale >= 1 else (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))


def _eight_bit(image: Image.Image) -> Image.Image:
    """Grey pictures of 16 or 32 bits to eight, which Pillow's own conversion would clip instead of scale."""
    if image.mode == "1":
        return image.convert("L")
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image, np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    top = values.max(initial=0.0)
    # Sixteen-bit files carry 0..65535; floating-point ones 0..1 by custom, or 0..255.
    white = 65535.0 if image.mode.startswith("I") else 1.0 if top <= 1.0 else 255.0
    white = max(white, top)
    return Image.fromarray(np.clip(np.rint(values * (255.0 / white)), 0, 255).astype(np.uint8))


def _srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, bool]:
    """The picture in sRGB, and whether its profile (if any) could be applied."""
    source: ImageCms.core.CmsProfile | io.BytesIO | None = None
    if image.mode == "LAB":
        source = ImageCms.createProfile("LAB")
    elif profile:
        source = io.BytesIO(profile)
    if source is not None:
        try:
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted, True
        except (ImageCms.PyCMSError, OSError, ValueError):
            return image.convert("RGB"), False
    return image.convert("RGB"), True


def _image_from_array(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or 0 in array.shape:
        raise UserError(f"An image array must be [H, W], [H, W, 3] or [H, W, 4], not {list(array.shape)}.")
    if array.shape[0] * array.shape[1] > REFUSED_PIXELS:
        raise UserError(f"The picture has more than {REFUSED_PIXELS // 1_000_000} megapixels; pass a smaller one.")
    if array.dtype == bool or np.issubdtype(array.dtype, np.signedinteger):
        raise UserError(f"An image array must hold unsigned integers or floats from 0 to 1, not {array.dtype}.")
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            raise UserError("The image array holds values that are not numbers; replace them first.")
        array = np.clip(array, 0.0, 1.0) * 255.0
    elif array.dtype != np.uint8:
        array = array.astype(np.float64) * (255.0 / np.iinfo(array.dtype).max)
    return Image.fromarray(np.rint(array).astype(np.uint8) if array.dtype != np.uint8 else np.ascontiguousarray(array))
