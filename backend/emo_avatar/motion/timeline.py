"""The emotion timeline: one keyed curve per emotion, and its JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emo_avatar.errors import UserError
from emo_avatar.files import write_text
from emo_avatar.motion.curves import INTERPOLATIONS, Key, evaluate

EMOTIONS = ("happy", "sad", "angry", "disgust", "fear", "surprised")  # neutral is the absence of all

VERSION = 1
MAX_FRAMES = 1_000_000  # nine hours at 30 fps: a larger range is a mistake, and would exhaust the memory
MAX_FPS = 1000.0
MAX_FILE_BYTES = 64 << 20


def emotion_weights(values: Mapping[str, float]) -> np.ndarray:  # [6]
    """Weights of named emotions, the others zero; ``neutral`` may be named and changes nothing.

    Raises:
        UserError: an unknown emotion, or a value outside 0 to 1.
    """
    weights = np.zeros(len(EMOTIONS), np.float32)
    for name, value in values.items():
        if not 0.0 <= value <= 1.0:
            raise UserError(f"The weight of {name} is {value}; give a number from 0 to 1.")
        if name in EMOTIONS:
            weights[EMOTIONS.index(name)] = value
        elif name != "neutral":
            raise UserError(f'There is no emotion "{name}"; choose among neutral, {", ".join(EMOTIONS)}.')
    return weights


@dataclass(frozen=True)
class EmotionTimeline:
    """Keyed emotion weights over the frames ``frame_start`` to ``frame_end``, both included."""

    fps: float
    frame_start: int
    frame_end: int
    curves: Mapping[str, tuple[Key, ...]] = field(default_factory=dict)  # emotion -> keys by ascending frame

    def __len__(self) -> int:
        return self.frame_end - self.frame_start + 1

    @classmethod
    def constant(cls, weights: Sequence[float] | np.ndarray, frames: int, fps: float = 30.0) -> EmotionTimeline:
        """One expression held for frames 1 to ``frames``; ``weights [6]`` in the order of EMOTIONS."""
        curves = {
            name: (Key(1.0, float(value), "constant"),) for name, value in zip(EMOTIONS, weights, strict=True) if value
        }
        return cls(fps, 1, frames, curves)

    def sample(self, frames: np.ndarray | None = None) -> np.ndarray:  # [T] frame numbers -> [T, 6]
        """Weights in [0, 1] at the given frame numbers (fractions allowed), by default at every frame of the range."""
        if frames is None:
            frames = np.arange(self.frame_start, self.frame_end + 1)
        frames = np.asarray(frames, np.float64)
        columns = [evaluate(self.curves.get(name, ()), frames) for name in EMOTIONS]
        return np.clip(np.stack(columns, axis=-1), 0.0, 1.0).astype(np.float32)

    @classmethod
    def read(cls, path: Path | str) -> EmotionTimeline:
        """Read a timeline file.

        Raises:
            UserError: the file cannot be read or is no timeline; names the emotion and the key at fault.
        """
        path = Path(path)
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise UserError(f"{path.name} is too large for an emotion timeline; choose another file.")
            document = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{path.name} cannot be read as an emotion timeline: {error}.") from error
        return cls.from_json(document, path.name)

    @classmethod
    def from_json(cls, document: Any, source: str = "The timeline") -> EmotionTimeline:
        """A timeline from the parsed JSON object; ``source`` names it in errors."""
        if not isinstance(document, dict):
            raise UserError(f"{source} is no emotion timeline: it should hold one JSON object.")
        if document.get("version") != VERSION:
            raise UserError(f"{source} has timeline version {document.get('version')!r}; this program reads {VERSION}.")
        fps = _number(document.get("fps"), f"{source}: fps")
        if not 0 < fps <= MAX_FPS:
            raise UserError(f"{source}: fps is {fps:g}; it should be above 0 and at most {MAX_FPS:g}.")
        start, end = (_integer(document.get(name), f"{source}: {name}") for name in ("frame_start", "frame_end"))
        if not 0 < end - start + 1 <= MAX_FRAMES:
            raise UserError(f"{source}: frames {start} to {end} are no range of 1 to {MAX_FRAMES} frames.")
        emotions = document.get("emotions", {})
        if not isinstance(emotions, dict):
            raise UserError(f'{source}: "emotions" should be an object of curves by emotion name.')
        unknown = sorted(set(emotions) - set(EMOTIONS))
        if unknown:
            raise UserError(f'{source} keys an unknown emotion "{unknown[0]}"; choose among {", ".join(EMOTIONS)}.')
        curves = {name: _curve(emotions[name], f"{source}: {name}") for name in EMOTIONS if name in emotions}
        return cls(fps, start, end, curves)

    def to_json(self) -> dict[str, Any]:
        """The JSON object of a timeline file."""
        emotions = {name: [_key_to_json(key) for key in keys] for name, keys in self.curves.items()}
        return {
            "version": VERSION,
            "fps": self.fps,
            "frame_start": self.frame_start,
            "frame_end": self.frame_end,
            "emotions": emotions,
        }

    def write(self, path: Path | str) -> None:
        """Write the timeline file."""
        write_text(path, json.dumps(self.to_json(), indent=1) + "\n")


def _curve(keys: Any, where: str) -> tuple[Key, ...]:
    if not isinstance(keys, list):
        raise UserError(f"{where} should be a list of keys.")
    curve = sorted((_key(key, where) for key in keys), key=lambda key: key.frame)
    for left, right in zip(curve, curve[1:], strict=False):
        if left.frame == right.frame:
            raise UserError(f"{where} has two keys at frame {left.frame:g}; keep one.")
    return tuple(curve)


def _key(key: Any, where: str) -> Key:
    if not isinstance(key, dict):
        raise UserError(f'{where}: a key should be an object with "frame" and "value", not {json.dumps(key)[:40]}.')
    frame = _number(key.get("frame"), f"{where}: the frame of a key")
    where = f"{where}, frame {frame:g}"
    value = _number(key.get("value"), f"{where}: the value")
    if not 0.0 <= value <= 1.0:
        raise UserError(f"{where}: the value is {value:g}; it should be from 0 to 1.")
    interpolation = key.get("interpolation", "linear")
    if interpolation not in INTERPOLATIONS:
        raise UserError(f"{where}: interpolation {interpolation!r} is none of {', '.join(INTERPOLATIONS)}.")
    handles = [_handle(key.get(name), f"{where}: {name}") for name in ("handle_left", "handle_right")]
    return Key(frame, value, interpolation, *handles)


def _handle(handle: Any, where: str) -> tuple[float, float] | None:
    if handle is None:
        return None
    if not isinstance(handle, list) or len(handle) != 2:
        raise UserError(f"{where} should be a pair [frame, value].")
    return _number(handle[0], where), _number(handle[1], where)


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e9 or not math.isfinite(value):
        raise UserError(f"{where} should be a number, not {json.dumps(value)[:40]}.")
    return float(value)


def _integer(value: Any, where: str) -> int:
    number = _number(value, where)
    if number != round(number):
        raise UserError(f"{where} should be a whole number, not {number:g}.")
    return round(number)


def _key_to_json(key: Key) -> dict[str, Any]:
    document: dict[str, Any] = {"frame": key.frame, "value": key.value, "interpolation": key.interpolation}
    for name in ("handle_left", "handle_right"):
        handle = getattr(key, name)
        if handle is not None:
            document[name] = list(handle)
    return document
