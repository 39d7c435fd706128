"""ARKit weights in JSON, in the layouts that are met in the wild."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from emo_avatar.errors import UserError
from emo_avatar.head.data import ARKIT_NAMES
from emo_avatar.motion.arkit_performance import ARKitPerformance, performance_from_columns
from emo_avatar.motion.flame_npz import DEFAULT_FPS, MAX_FPS

MAX_FRAMES = 1_000_000
FRAME_WEIGHTS = ("weights", "blendShapes", "blendshapes", "blend_shapes")  # where a frame may nest its weights
NAME_LISTS = ("names", "facsNames", "blendshape_names")


def read_arkit_json(document: Any, path: Path) -> tuple[ARKitPerformance, list[str]]:
    """A performance from a parsed JSON document, and notes.

    Understood are a list of frames, or an object with ``frames`` and optionally ``fps``, where a frame is an object of
    weights by Apple's name, one that nests them under ``weights`` or ``blendShapes``, or a list of numbers in the order
    of ``names`` (Apple's order without it): so LAM Audio2Expression's export is read. Also NVIDIA Audio2Face's
    ``facsNames``, ``weightMat``, ``exportFps``.

    Raises:
        UserError: another document; says which frame.
    """
    source = path.name
    header = document if isinstance(document, dict) else {}
    metadata = header.get("metadata") if isinstance(header.get("metadata"), dict) else {}
    settings = {**metadata, **header}  # type: ignore[dict-item]
    frames = document if isinstance(document, list) else header.get("frames", header.get("weightMat"))
    if not isinstance(frames, list) or not 0 < len(frames) <= MAX_FRAMES:
        raise UserError(f"{source} holds no list of frames with ARKit weights.")
    names = next((settings[key] for key in NAME_LISTS if isinstance(settings.get(key), list)), list(ARKIT_NAMES))
    rows = [_weights_by_name(frame, names, f"{source}, frame {i}") for i, frame in enumerate(frames)]

    columns = list(dict.fromkeys(name for row in rows for name in row))
    index = {name: i for i, name in enumerate(columns)}
    values = np.zeros((len(rows), len(columns)))
    for i, row in enumerate(rows):
        for name, value in row.items():
            values[i, index[name]] = value
    notes = []
    fps = settings.get("fps", settings.get("exportFps"))
    if fps is None:
        fps = DEFAULT_FPS
        notes.append(f"{source} does not say its frame rate: {DEFAULT_FPS:g} fps assumed.")
    if not _is_number(fps) or not 0 < fps <= MAX_FPS:
        raise UserError(f"{source}: fps should be a number above 0 and at most {MAX_FPS:g}.")
    performance, more = performance_from_columns(columns, values, np.arange(len(rows), dtype=float), float(fps), source)
    return performance, notes + more


def _weights_by_name(frame: Any, names: list[str], where: str) -> dict[str, float]:
    if isinstance(frame, dict):
        frame = next((frame[key] for key in FRAME_WEIGHTS if key in frame), frame)
    if isinstance(frame, list):
        if len(frame) != len(names):
            raise UserError(f"{where} has {len(frame)} weights, but {len(names)} are named.")
        frame = dict(zip(map(str, names), frame, strict=True))
    if not isinstance(frame, dict):
        raise UserError(f"{where} should be an object or a list of ARKit weights.")
    return {name: float(value) for name, value in frame.items() if _is_number(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
