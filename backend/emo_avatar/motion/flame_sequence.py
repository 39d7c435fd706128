"""A performance as FLAME parameters per frame: the one motion type that the project exchanges."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from emo_avatar.head.data import N_SHAPE
from emo_avatar.motion.flame_npz import FRAME_FIELDS, read_flame_npz, write_flame_npz
from emo_avatar.motion.rotations import resample_axis_angle
from emo_avatar.motion.timeline import EMOTIONS


@dataclass(frozen=True)
class FlameSequence:
    """T frames of one head in FLAME space: metres, axis-angle radians, float32.

    ``rotation`` turns the whole head about FLAME's root joint, ``neck_pose`` the head on the neck; ``eyes_pose`` is
    left then right.
    """

    fps: float
    shape: np.ndarray  # [300]
    expression: np.ndarray  # [T, 100]
    rotation: np.ndarray  # [T, 3]
    neck_pose: np.ndarray  # [T, 3]
    jaw_pose: np.ndarray  # [T, 3]
    eyes_pose: np.ndarray  # [T, 6]
    translation: np.ndarray  # [T, 3] metres
    static_offset: np.ndarray | None = None  # [V, 3] metres, added to the unposed head
    head: str | None = None  # name of the head whose shape and expression bases the numbers refer to, if known
    emotions: np.ndarray | None = None  # [T, 6] weights that the frames are under; not kept in files

    def __post_init__(self) -> None:
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"FlameSequence.fps must be a positive number, not {self.fps}.")
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name not in ("fps", "head") and value is not None:
                object.__setattr__(self, f.name, np.asarray(value, np.float32))
        expected = {"shape": (N_SHAPE,)} | {name: (len(self), width) for name, width in FRAME_FIELDS.items()}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"FlameSequence.{name} must have shape {shape}, not {getattr(self, name).shape}.")
        if self.static_offset is not None and (self.static_offset.ndim != 2 or self.static_offset.shape[1] != 3):
            raise ValueError(f"FlameSequence.static_offset must have shape (V, 3), not {self.static_offset.shape}.")
        if self.emotions is not None and self.emotions.shape != (len(self), len(EMOTIONS)):
            raise ValueError(
                f"FlameSequence.emotions must have shape ({len(self)}, {len(EMOTIONS)}), not {self.emotions.shape}."
            )

    def __len__(self) -> int:
        return len(self.expression)

    @property
    def duration(self) -> float:
        """Seconds, every frame counted as 1 / fps."""
        return len(self) / self.fps

    @classmethod
    def still(cls, frames: int, fps: float = 30.0) -> FlameSequence:
        """The neutral head at rest."""
        zeros = {name: np.zeros((frames, width)) for name, width in FRAME_FIELDS.items()}
        return cls(fps, np.zeros(N_SHAPE), **zeros)  # type: ignore[arg-type]

    @classmethod
    def read(cls, path: Path | str) -> FlameSequence:
        """Read the npz of VHAP and GaussianAvatars; ``motion.read.read_motion`` also says what the file lacked.

        Raises:
            UserError: the file is no FLAME motion.
        """
        return cls(**read_flame_npz(path)[0])  # type: ignore[arg-type]

    def write(self, path: Path | str) -> None:
        """Write the npz of VHAP and GaussianAvatars, with ``fps`` and ``head`` beside their keys."""
        write_flame_npz(path, {f.name: getattr(self, f.name) for f in fields(self) if f.name != "emotions"})

    def slice(self, start: int, stop: int | None = None) -> FlameSequence:
        """Frames ``start`` up to, not including, ``stop``, with the meaning of a Python slice."""
        return self._frames(np.arange(len(self))[start:stop])

    def looped(self, frames: int) -> FlameSequence:
        """The performance repeated from its beginning, or cut, to the given number of frames.

        Raises:
            ValueError: the sequence is empty, so that there is nothing to repeat.
        """
        if not len(self):
            raise ValueError("An empty FlameSequence cannot be looped.")
        index = np.arange(frames) % len(self)
        return self._frames(index)

    def resample(self, fps: float) -> FlameSequence:
        """The same performance at another frame rate: rotations along the shortest arc, the rest linearly.

        Frame k of the result is shown at k / fps seconds. The last frame of the source lasts 1 / fps of the source like
        all others, so that the duration is kept to within half a frame.
        """
        if fps == self.fps or not len(self):
            return replace(self, fps=fps)
        frames = max(1, round(self.duration * fps))
        at = np.minimum(np.arange(frames) * (self.fps / fps), len(self) - 1)  # [frames] position in source frames
        resampled = {}
        for name in FRAME_FIELDS:
            values = getattr(self, name)
            linear = name in ("expression", "translation")
            resampled[name] = resample_linear(values, at) if linear else resample_axis_angle(values, at)
        if self.emotions is not None:
            resampled["emotions"] = resample_linear(self.emotions, at)
        return replace(self, fps=fps, **resampled)  # type: ignore[arg-type]

    def _frames(self, which: np.ndarray) -> FlameSequence:
        chosen = {name: getattr(self, name)[which] for name in FRAME_FIELDS}
        return replace(self, emotions=None if self.emotions is None else self.emotions[which], **chosen)


def resample_linear(values: np.ndarray, at: np.ndarray) -> np.ndarray:  # [T, D], [N] frames -> [N, D]
    """Values between frames, on straight lines."""
    before = np.floor(at).astype(int)
    after = np.minimum(before + 1, len(values) - 1)
    t = (at - before)[:, None]
    return values[before] * (1 - t) + values[after] * t
