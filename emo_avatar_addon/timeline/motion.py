"""What moves an avatar before emotion: a motion track at the scene's rate, and the 52 ARKit weights on top. No bpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from ..model.flame import Poses
from .rotations import between

WIDTHS = {"expression": 100, "jaw_pose": 3, "neck_pose": 3, "rotation": 3, "translation": 3, "eyes_pose": 6}
_LINEAR = ("expression", "translation")  # the others are axis-angle


@dataclass(frozen=True)
class Motion(Poses):
    """Poses at a rate."""

    fps: float

    @classmethod
    def still(cls, frames: int, fps: float) -> Motion:
        """The neutral head at rest."""
        return cls(fps=fps, **{name: np.zeros((frames, width), np.float32) for name, width in WIDTHS.items()})

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], fps: float) -> Motion:
        """A motion of what `arrays` holds; what it lacks is at rest.

        Raises:
            ValueError: an array has another shape than FLAME's, or not finite numbers.
        """
        frames = len(arrays["expression"]) if "expression" in arrays else 0
        if not (np.isfinite(fps) and fps > 0):
            raise ValueError(f"a motion cannot have {fps} frames a second")
        taken = {name: np.asarray(arrays[name], np.float32) for name in WIDTHS if name in arrays}
        for name, values in taken.items():
            if values.shape != (frames, WIDTHS[name]) or not np.isfinite(values).all():
                raise ValueError(f"{name} of the motion is not {frames} x {WIDTHS[name]} finite numbers")
        return cls(fps=float(fps), **(cls.still(frames, fps).arrays() | taken))

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters by name, without the rate."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "fps"}

    def at(self, frames: np.ndarray, fps: float) -> Motion:  # [N] own frames, 0-based, within [0, T - 1]
        """The motion at fractional frames of its own; the result is meant to be shown at `fps`."""
        before = np.clip(np.floor(frames).astype(int), 0, len(self) - 1)
        after = np.minimum(before + 1, len(self) - 1)
        return self._mixed(before, after, (frames - before)[:, None], fps)

    def looped_at(self, frames: np.ndarray, fps: float) -> Motion:  # [N] own frames, any number
        """As `at`, the first frame following the last one over and over."""
        frames = np.mod(frames, len(self))
        before = np.minimum(np.floor(frames).astype(int), len(self) - 1)
        return self._mixed(before, (before + 1) % len(self), (frames - before)[:, None], fps)

    def _mixed(self, before: np.ndarray, after: np.ndarray, t: np.ndarray, fps: float) -> Motion:
        mixed = {}
        for name, width in WIDTHS.items():
            a, b = getattr(self, name)[before], getattr(self, name)[after]
            if name in _LINEAR:
                mixed[name] = a * (1 - t) + b * t
            else:
                shape = (len(t), width // 3, 3)
                mixed[name] = between(a.reshape(shape), b.reshape(shape), t[:, None]).reshape(len(t), width)
        return Motion(fps=fps, **{name: values.astype(np.float32) for name, values in mixed.items()})


@dataclass(frozen=True)
class TrackSettings:
    """How a motion track plays, for each of T scene frames."""

    phase: np.ndarray  # [T] seconds of the motion that have passed
    influence: np.ndarray  # [T] 0 to 1
    head: np.ndarray  # [T] 0 to 1: how much of head turn and place
    eyes: np.ndarray  # [T] 0 to 1
    loop: np.ndarray  # [T] whether the motion starts again after its end


def play(motion: Motion | None, settings: TrackSettings, fps: float) -> Motion:
    """The track, from its own rate to `fps`, held before its start and after its end."""
    if motion is None or not len(motion) or not settings.influence.any():
        return Motion.still(len(settings.phase), fps)
    own = settings.phase * motion.fps
    at = np.where(settings.loop > 0.5, own, np.clip(own, 0, len(motion) - 1))
    played = motion.looped_at(at, fps) if settings.loop.any() else motion.at(at, fps)
    influence = settings.influence[:, None].astype(np.float32)
    head, eyes = influence * settings.head[:, None], influence * settings.eyes[:, None]
    factors = {"neck_pose": head, "rotation": head, "translation": head, "eyes_pose": eyes}
    scaled = {name: getattr(played, name) * factors.get(name, influence) for name in WIDTHS}
    return Motion(fps=fps, **{name: values.astype(np.float32) for name, values in scaled.items()})


def add_arkit(
    motion: Motion,
    weights: np.ndarray,  # [T, 52]
    arkit_to_expr: np.ndarray,  # [52, 100]
    arkit_to_pose: np.ndarray,  # [52, 9] jaw, left eye, right eye
) -> Motion:
    """The motion with ARKit weights on top."""
    if not weights.any():
        return motion
    pose = (weights @ arkit_to_pose).astype(np.float32)
    return replace(
        motion,
        expression=motion.expression + (weights @ arkit_to_expr).astype(np.float32),
        jaw_pose=motion.jaw_pose + pose[:, :3],
        eyes_pose=motion.eyes_pose + pose[:, 3:],
    )


def passed(
    frames: np.ndarray,  # [T] scene frames
    rate: np.ndarray,  # [T] of something, per second
    fps: float,
    origin: np.ndarray | float,  # scene frame(s) where nothing has passed yet
    sampled: Callable[[np.ndarray], np.ndarray] | None = None,  # rate at other frames, when it changes over time
) -> np.ndarray:  # [T]
    """How much of a thing that runs at `rate` has passed since `origin`: its integral, whatever the frame range."""
    if sampled is None:
        return rate * (frames - origin) / fps
    low = np.floor(min(frames.min(), np.min(origin)))
    high = np.ceil(max(frames.max(), np.max(origin)))
    grid = np.arange(low, high + 1)
    values = sampled(grid)
    total = np.concatenate([[0.0], np.cumsum((values[1:] + values[:-1]) / 2)]) / fps
    return np.interp(frames, grid, total) - np.interp(origin, grid, total)
