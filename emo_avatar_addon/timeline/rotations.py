"""Axis-angle rotations over time. No bpy."""

from __future__ import annotations

import numpy as np

from ..model.flame import axis_angles, quaternions


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:  # [..., 4], [..., 4] wxyz -> [..., 4]
    """The rotation `b` followed by `a`."""
    w = a[..., :1] * b[..., :1] - (a[..., 1:] * b[..., 1:]).sum(-1, keepdims=True)
    xyz = a[..., :1] * b[..., 1:] + b[..., :1] * a[..., 1:] + np.cross(a[..., 1:], b[..., 1:])
    return np.concatenate([w, xyz], axis=-1)


def rotated(axis_angle: np.ndarray, vectors: np.ndarray) -> np.ndarray:  # [..., 3], [..., 3] -> [..., 3]
    """Vectors turned by axis-angle rotations."""
    q = quaternions(axis_angle)
    twice = 2 * np.cross(q[..., 1:], vectors)
    return vectors + q[..., :1] * twice + np.cross(q[..., 1:], twice)


def between(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:  # [..., 3], [..., 3], [..., 1] -> [..., 3]
    """Axis-angle rotations on the shortest arc from `a` (t = 0) to `b` (t = 1)."""
    a, b, t = np.broadcast_arrays(a, b, np.broadcast_to(t, (*np.shape(t)[:-1], 3)))
    p, q = quaternions(a), quaternions(b)
    inverse = p * np.array([1.0, -1.0, -1.0, -1.0])
    part = quaternions(axis_angles(product(inverse, q)) * t)
    mixed = axis_angles(product(p, part))
    return np.where(t == 0, a, np.where(t == 1, b, mixed))
