"""How much skin is shortened between two poses of a mesh, which is where it folds."""

from __future__ import annotations

import numpy as np

SIDEWAYS, UPWARDS = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])


def shortening(rest: np.ndarray, posed: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The share by which each vertex's surroundings are shortened: up and down, from side to side, and in the direction
    in which it is most; 0 where they are not. ``rest, posed [V, 3]``, ``faces [F, 3]`` -> ``[V, 3]``.

    From the deformation gradient of each triangle, averaged over the vertices' triangles by area. Directions are those
    of the resting head, along its skin.
    """
    e1, e2 = rest[faces[:, 1]] - rest[faces[:, 0]], rest[faces[:, 2]] - rest[faces[:, 0]]
    length = np.maximum(np.linalg.norm(e1, axis=1, keepdims=True), 1e-9)
    x_axis = e1 / length
    across = (e1 * e2).sum(1, keepdims=True) / length
    y_axis = e2 - across * x_axis
    height = np.maximum(np.linalg.norm(y_axis, axis=1, keepdims=True), 1e-9)
    y_axis = y_axis / height
    d1, d2 = posed[faces[:, 1]] - posed[faces[:, 0]], posed[faces[:, 2]] - posed[faces[:, 0]]
    first = d1 / length  # columns of the deformation gradient, from the rest triangle's plane
    second = (d2 - across * first) / height

    def stretch(direction: np.ndarray) -> np.ndarray:  # [3] -> [F]
        a, b = (x_axis @ direction)[:, None], (y_axis @ direction)[:, None]
        along = np.linalg.norm(a * first + b * second, axis=1)
        return along / np.maximum(np.hypot(a, b)[:, 0], 1e-6)

    xx, yy, xy = (first**2).sum(1), (second**2).sum(1), (first * second).sum(1)
    least = np.sqrt(np.maximum((xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2), 0))
    shortened = np.clip(1 - np.stack([stretch(UPWARDS), stretch(SIDEWAYS), least], 1), 0, 1)  # [F, 3]
    area = (length * height)[:, 0]
    corners = faces.ravel()
    total = np.maximum(np.bincount(corners, np.repeat(area, 3), len(rest)), 1e-12)
    return np.stack(
        [np.bincount(corners, np.repeat(area * shortened[:, k], 3), len(rest)) / total for k in range(3)], 1
    )
