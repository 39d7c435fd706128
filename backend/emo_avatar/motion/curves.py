"""Animation curves with the interpolation of Blender's F-curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

INTERPOLATIONS = ("constant", "linear", "bezier")

BISECTIONS = 50  # halvings of the unit interval: past double precision for any segment


@dataclass(frozen=True)
class Key:
    """One key of a curve; ``interpolation`` governs the segment that begins at it.

    Handles are (frame, value) points and matter to bezier segments only. A handle that is not given is Blender's
    "auto clamped": a third of the way to the neighbouring key, level at the ends of the curve and at its extrema,
    elsewhere along the mean of the two slopes but never beyond the neighbour's value. A curve of two keys so eases in
    and out exactly as Blender's default does.
    """

    frame: float
    value: float
    interpolation: str = "linear"
    handle_left: tuple[float, float] | None = None
    handle_right: tuple[float, float] | None = None


def evaluate(keys: Sequence[Key], frames: np.ndarray) -> np.ndarray:  # keys by ascending frame; [T] -> [T]
    """Values of a curve; constant before the first and after the last key, zero without keys."""
    if not keys:
        return np.zeros(len(frames))
    key_frames = np.array([key.frame for key in keys])
    segment = np.searchsorted(key_frames, frames, side="right") - 1  # [T], -1 before the first key
    values = np.array([key.value for key in keys], float)[np.maximum(segment, 0)]
    for i in np.unique(segment):
        if not 0 <= i < len(keys) - 1 or keys[i].interpolation == "constant":
            continue
        left, right = keys[i], keys[i + 1]
        inside = (segment == i) & (frames > left.frame)  # on its frame a key shows its value, however steep the curve
        if left.interpolation == "linear":
            values[inside] = np.interp(frames[inside], [left.frame, right.frame], [left.value, right.value])
        else:
            values[inside] = _bezier(_control_points(keys, i), frames[inside])
    return values


def _control_points(keys: Sequence[Key], i: int) -> np.ndarray:  # [4, 2] (frame, value)
    """The cubic from key i to key i + 1, its handles shortened so that time never runs backwards."""
    left, right = keys[i], keys[i + 1]
    length = right.frame - left.frame
    points = np.array(
        [
            (left.frame, left.value),
            left.handle_right or _auto_handle(keys, i, +1),
            right.handle_left or _auto_handle(keys, i + 1, -1),
            (right.frame, right.value),
        ]
    )
    for end, handle, direction in ((0, 1, 1.0), (3, 2, -1.0)):
        arm = points[handle] - points[end]
        reach = arm[0] * direction
        if reach < 0:  # a handle on the wrong side of its key
            arm[0] = 0.0
        elif reach > length:  # as Blender's BKE_fcurve_correct_bezpart
            arm *= length / reach
        points[handle] = points[end] + arm
    return points


def _auto_handle(keys: Sequence[Key], i: int, direction: int) -> tuple[float, float]:
    key, neighbour = keys[i], keys[i + direction]
    frame = key.frame + (neighbour.frame - key.frame) / 3
    if i in (0, len(keys) - 1):
        return frame, key.value
    before, after = keys[i - 1], keys[i + 1]
    rise_before, rise_after = key.value - before.value, after.value - key.value
    if rise_before * rise_after <= 0:
        return frame, key.value
    slope = (rise_before / (key.frame - before.frame) + rise_after / (after.frame - key.frame)) / 2
    value = key.value + slope * (frame - key.frame)
    low, high = sorted((key.value, neighbour.value))
    return frame, min(max(value, low), high)


def _bezier(points: np.ndarray, frames: np.ndarray) -> np.ndarray:  # [4, 2], [T] -> [T]
    """Values of the cubic where its frame coordinate, which never decreases, takes the given values."""

    def at(t: np.ndarray, axis: int) -> np.ndarray:
        a, b, c, d = points[:, axis]
        s = 1 - t
        return a * s**3 + 3 * b * s**2 * t + 3 * c * s * t**2 + d * t**3

    low, high = np.zeros(len(frames)), np.ones(len(frames))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        before = at(middle, 0) < frames
        low, high = np.where(before, middle, low), np.where(before, high, middle)
    return at((low + high) / 2, 1)
