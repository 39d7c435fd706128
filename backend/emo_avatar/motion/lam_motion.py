"""The motion folders of LAM, which are VHAP's NeRF exports: one FLAME npz per frame.

A folder holds ``flame_param/00000.npz`` onwards, beside them ``canonical_flame_param.npz`` with the identity and
``transforms.json`` with cameras and, in some, the frame rate.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from emo_avatar.errors import UserError
from emo_avatar.motion.flame_npz import FRAME_KEYS, MAX_BYTES, Fields, flame_fields
from emo_avatar.npz import read_npz

PARAMETER_FOLDER = "flame_param"
MAX_FILES = 200_000
MAX_FRAME_BYTES = 16 << 20  # a frame with a dense static and dynamic offset has 130 kB
MAX_TRANSFORMS_BYTES = MAX_BYTES  # a camera per frame, a kilobyte each


def is_lam_motion(folder: Path) -> bool:
    return bool(_frame_files(folder))


def read_lam_motion(folder: Path) -> tuple[Fields, list[str]]:
    """Fields of a FlameSequence from the folder, or from its ``flame_param`` folder, and notes.

    Raises:
        UserError: no frames, or a frame that is no FLAME npz.
    """
    files = _frame_files(folder)
    if not files:
        raise UserError(f"{folder} holds no motion: no file named as {PARAMETER_FOLDER}/00000.npz is in it.")
    if len(files) > MAX_FILES:
        raise UserError(f"{folder} holds {len(files)} frames; at most {MAX_FILES} are read.")
    arrays: dict[str, np.ndarray] = {}
    frames: dict[str, list[np.ndarray]] = {}
    for i, file in enumerate(files):
        wanted = {*FRAME_KEYS.values(), "shape", "static_offset"} if i == 0 else set(FRAME_KEYS.values())
        frame = read_npz(file, max_bytes=MAX_FRAME_BYTES, wanted=wanted.__contains__)
        if i == 0:
            arrays = {key: frame.pop(key) for key in ("shape", "static_offset") if key in frame}
            frames = {key: [] for key in frame}
        if set(frame) != set(frames):
            raise UserError(f"{file.name} holds {', '.join(frame) or 'nothing'}, unlike the frames before it.")
        for key, array in frame.items():
            if array.size != (frames[key] or [array])[0].size:
                raise UserError(f"{file.name}: {key} has another size than in the frames before it.")
            frames[key].append(array.reshape(1, -1))
    arrays |= {key: np.concatenate(values) for key, values in frames.items()}

    root = folder.parent if folder.name == PARAMETER_FOLDER else folder
    canonical = root / "canonical_flame_param.npz"
    if "shape" not in arrays and canonical.is_file():
        arrays |= read_npz(canonical, max_bytes=MAX_FRAME_BYTES, wanted=("shape", "static_offset").__contains__)
    fps = _fps(root / "transforms.json")
    if fps is not None:
        arrays["fps"] = np.array(fps)
    fields, notes = flame_fields(arrays, folder.name)
    missing = int(files[-1].stem) - int(files[0].stem) + 1 - len(files)
    if missing:
        notes.append(f"{folder.name} skips {missing} frame numbers: the gaps are closed up.")
    return fields, notes


def _frame_files(folder: Path) -> list[Path]:
    inner = folder / PARAMETER_FOLDER
    files = (inner if inner.is_dir() else folder).glob("*.npz")
    return sorted((file for file in files if file.stem.isdecimal()), key=lambda file: int(file.stem))


def _fps(transforms: Path) -> float | None:
    """The frame rate if the camera file states one; a file that cannot be read states none."""
    try:
        if transforms.stat().st_size > MAX_TRANSFORMS_BYTES:
            return None
        fps = json.loads(transforms.read_text(encoding="utf-8")).get("fps")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return float(fps) if isinstance(fps, int | float) else None
