"""The FLAME motion npz of VHAP (Qian, 2024) and GaussianAvatars (Qian et al., 2024), of a sequence or of one frame."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emo_avatar.errors import UserError
from emo_avatar.files import whole_file
from emo_avatar.head.data import N_EXPRESSION, N_SHAPE
from emo_avatar.npz import read_npz

DEFAULT_FPS = 30.0
MAX_FPS = 1000.0
MAX_BYTES = 1 << 30  # an hour at 30 fps is 60 MB, a dense static offset 70 kB
MAX_ANGLE = 100.0  # radians; more is no rotation of a head but another quantity, degrees for instance
MAX_METRES = 1000.0
MAX_COEFFICIENT = 1e4  # of shape or expression, which are in standard deviations

EXPRESSION_KEY = "expr"
FRAME_FIELDS = {
    "expression": N_EXPRESSION,
    "rotation": 3,
    "neck_pose": 3,
    "jaw_pose": 3,
    "eyes_pose": 6,
    "translation": 3,
}  # what has a value per frame, and its width
FRAME_KEYS = {name: EXPRESSION_KEY if name == "expression" else name for name in FRAME_FIELDS}
LIMITS = {"translation": MAX_METRES, "expression": MAX_COEFFICIENT}

Fields = dict[str, "np.ndarray | float | str | None"]  # keyword arguments of FlameSequence


def write_flame_npz(path: Path | str, fields: Mapping[str, Any]) -> None:
    """Write the fields of a FlameSequence under the keys of VHAP, with ``fps`` and ``head`` beside them."""
    contents = {FRAME_KEYS.get(name, name): value for name, value in fields.items() if value is not None}
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **contents)


def read_flame_npz(path: Path | str) -> tuple[Fields, list[str]]:
    """Fields of a FlameSequence, and notes on what the file lacked.

    Keys that are absent become zeros, shorter shape and expression vectors are padded with zeros, longer ones refused;
    arrays of one frame stand for all frames.

    Raises:
        UserError: the file is no FLAME motion, or holds wrong shapes or values that are not finite.
    """
    known = {*FRAME_KEYS.values(), "shape", "static_offset", "fps", "head"}
    arrays = read_npz(path, max_bytes=MAX_BYTES, wanted=known.__contains__)
    return flame_fields(arrays, Path(path).name)


def flame_fields(arrays: Mapping[str, np.ndarray], source: str) -> tuple[Fields, list[str]]:
    """As `read_flame_npz`, from arrays by key; ``source`` names them in errors and notes."""
    found = {
        name: _per_frame(arrays[key], name, f"{source}: {key}") for name, key in FRAME_KEYS.items() if key in arrays
    }
    if not found:
        raise UserError(f"{source} holds no FLAME motion: none of {', '.join(FRAME_KEYS.values())} is in it.")
    lengths = {len(array) for array in found.values()} - {1} or {1}
    if len(lengths) > 1 or 0 in lengths:
        sizes = ", ".join(f"{FRAME_KEYS[name]} {len(array)}" for name, array in found.items())
        raise UserError(f"{source} has no common number of frames, or none at all ({sizes}).")
    (frames,) = lengths
    notes = []
    absent = [key for key in (*FRAME_KEYS.values(), "shape") if key not in arrays]
    if absent:
        notes.append(f"{source} lacks {', '.join(absent)}: taken as zero.")

    fields: Fields = {
        name: np.broadcast_to(found.get(name, np.zeros((1, width), np.float32)), (frames, width)).copy()
        for name, width in FRAME_FIELDS.items()
    }
    fields["shape"] = _shape(arrays.get("shape", np.zeros(0)), source)
    if "static_offset" in arrays:
        fields["static_offset"] = _static_offset(arrays["static_offset"], source)
    if "head" in arrays and arrays["head"].size == 1:
        fields["head"] = str(arrays["head"].item())
    if "fps" in arrays:
        fields["fps"] = _fps(arrays["fps"], source)
    else:
        notes.append(f"{source} does not say its frame rate: {DEFAULT_FPS:g} fps assumed.")
        fields["fps"] = DEFAULT_FPS
    return fields, notes


def _per_frame(array: np.ndarray, name: str, where: str) -> np.ndarray:  # -> [T, width]
    width = FRAME_FIELDS[name]
    array = _numbers(array, where, LIMITS.get(name, MAX_ANGLE))
    if array.ndim == 1:
        array = array[None]
    if name == "expression" and array.ndim == 2 and 0 < array.shape[1] < width:
        array = np.pad(array, ((0, 0), (0, width - array.shape[1])))
    if array.ndim != 2 or array.shape[1] != width:
        raise UserError(f"{where} has dimensions {list(array.shape)}; [frames, {width}] is expected.")
    return array


def _shape(array: np.ndarray, source: str) -> np.ndarray:  # -> [300]
    shape = _numbers(array, f"{source}: shape", MAX_COEFFICIENT)
    if shape.ndim == 2 and len(shape):
        shape = shape[0]  # one row per frame, all of the same person
    if shape.ndim != 1 or len(shape) > N_SHAPE:
        raise UserError(f"{source}: shape has dimensions {list(shape.shape)}; at most {N_SHAPE} numbers are expected.")
    return np.pad(shape, (0, N_SHAPE - len(shape)))


def _static_offset(array: np.ndarray, source: str) -> np.ndarray:  # -> [V, 3]
    offset = _numbers(array, f"{source}: static_offset", MAX_METRES)
    if offset.ndim == 3 and len(offset) == 1:
        offset = offset[0]
    if offset.ndim != 2 or offset.shape[1] != 3:
        raise UserError(f"{source}: static_offset has dimensions {list(offset.shape)}; [vertices, 3] is expected.")
    return offset


def _fps(array: np.ndarray, source: str) -> float:
    if array.dtype.kind not in "iuf" or array.size != 1 or not 0 < array.item() <= MAX_FPS:
        raise UserError(f"{source}: fps should be one number above 0 and at most {MAX_FPS:g}.")
    return float(array.item())


def _numbers(array: np.ndarray, where: str, limit: float) -> np.ndarray:
    if array.dtype.kind not in "iuf":
        raise UserError(f"{where} does not hold numbers.")
    if not np.isfinite(array).all():
        raise UserError(f"{where} has values that are not finite (NaN or infinity).")
    if array.size and np.abs(array).max() > limit:
        raise UserError(f"{where} has values beyond {limit:g}, which no head reaches.")
    return array.astype(np.float32)
