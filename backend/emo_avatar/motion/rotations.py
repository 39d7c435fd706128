"""Axis-angle rotations over time."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation


def resample_axis_angle(values: np.ndarray, at: np.ndarray) -> np.ndarray:  # [T, 3 * K], [N] frames -> [N, 3 * K]
    """K rotations per frame, interpolated along the shortest arc at fractional frames.

    Frames that are hit exactly are returned as they are, even if they turn by more than half a circle.
    """
    before = np.floor(at).astype(int)
    after = np.minimum(before + 1, len(values) - 1)
    t = at - before
    start = values[before].reshape(-1, 3)
    arc = Rotation.from_rotvec(start).inv() * Rotation.from_rotvec(values[after].reshape(-1, 3))
    t = np.repeat(t, values.shape[1] // 3)[:, None]
    between = (Rotation.from_rotvec(start) * Rotation.from_rotvec(arc.as_rotvec() * t)).as_rotvec()
    return np.where(t == 0, start, between).reshape(len(at), -1)
