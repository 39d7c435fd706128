"""How much skin is shortened between two poses of a mesh, which is where it folds."""

from __future__ import annotations

import math

import numpy as np

from emo_avatar.render.splat.compiled import kernel

SIDEWAYS, UPWARDS = 0, 1  # axes


def shortening(rest: np.ndarray, posed: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The share by which each vertex's surroundings are shortened: up and down, from side to side, and in the direction
    in which it is most; 0 where they are not. ``rest, posed [V, 3]``, ``faces [F, 3]`` -> ``[V, 3]``.

    From the deformation gradient of each triangle, averaged over the vertices' triangles by area. Directions are those
    of the resting head, along its skin.
    """
    return _strain(np.asarray(rest, np.float64), np.asarray(posed, np.float64), faces)[0]


def strain(rest: np.ndarray, posed: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``shortening [V, 3]``, and by what factor the area round each vertex has changed, ``[V]``."""
    return _strain(np.asarray(rest, np.float64), np.asarray(posed, np.float64), faces)


@kernel
def _strain(rest, posed, faces):
    out, area, grown = np.zeros((len(rest), 3)), np.full(len(rest), 1e-12), np.zeros(len(rest))
    x_axis, y_axis, first, second = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    short = np.empty(3)
    for t in range(len(faces)):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        length = across = 0.0
        for k in range(3):
            x_axis[k] = rest[b, k] - rest[a, k]
            length += x_axis[k] ** 2
        length = max(math.sqrt(length), 1e-9)
        for k in range(3):
            x_axis[k] /= length
            across += x_axis[k] * (rest[c, k] - rest[a, k])
        height = 0.0
        for k in range(3):
            y_axis[k] = rest[c, k] - rest[a, k] - across * x_axis[k]
            height += y_axis[k] ** 2
        height = max(math.sqrt(height), 1e-9)
        xx = yy = xy = 0.0
        for k in range(3):  # the columns of the deformation gradient, from the resting triangle's plane
            y_axis[k] /= height
            first[k] = (posed[b, k] - posed[a, k]) / length
            second[k] = (posed[c, k] - posed[a, k] - across * first[k]) / height
            xx += first[k] ** 2
            yy += second[k] ** 2
            xy += first[k] * second[k]
        root = math.sqrt(((xx - yy) / 2) ** 2 + xy**2)
        least = math.sqrt(max((xx + yy) / 2 - root, 0.0))
        for n, direction in enumerate((UPWARDS, SIDEWAYS)):
            u, v = x_axis[direction], y_axis[direction]
            along = 0.0
            for k in range(3):
                along += (u * first[k] + v * second[k]) ** 2
            short[n] = 1 - math.sqrt(along) / max(math.sqrt(u * u + v * v), 1e-6)
        short[2] = 1 - least
        weight = length * height
        factor = math.sqrt(max(xx * yy - xy * xy, 0.0))
        for vertex in (a, b, c):
            area[vertex] += weight
            grown[vertex] += weight * factor
            for n in range(3):
                out[vertex, n] += weight * min(max(short[n], 0.0), 1.0)
    for vertex in range(len(rest)):
        grown[vertex] = grown[vertex] / area[vertex] if grown[vertex] > 0 else 1.0
        for n in range(3):
            out[vertex, n] /= area[vertex]
    return out, grown
