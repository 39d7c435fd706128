"""A moving mesh as a few morph targets: the principal components of its vertex paths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MorphAnimation:
    """Vertices of frame t are ``base + sum_k weights[t, k] * targets[k]``, to within ``error``."""

    base: np.ndarray  # [V, 3] float32
    targets: np.ndarray  # [K, V, 3] float32
    weights: np.ndarray  # [T, K] float32 in [-1, 1]
    error: float  # metres, the largest distance of any vertex in any frame


def morph_animation(base: np.ndarray, frames: np.ndarray, tolerance: float) -> MorphAnimation:
    """The fewest principal components of ``frames [T, V, 3]`` about ``base [V, 3]`` that stay within ``tolerance``.

    There are never more than T of them, which are exact.
    """
    paths = (frames - base).reshape(len(frames), -1).astype(np.float64)  # [T, 3V]
    # The T x T Gram matrix has the same left singular vectors as the paths themselves and is far smaller.
    _, vectors = np.linalg.eigh(paths @ paths.T)
    vectors = vectors[:, ::-1]  # [T, T], the most important first
    components = vectors.T @ paths  # [T, 3V]

    def error(count: int) -> float:
        rest = paths - vectors[:, :count] @ components[:count]
        return float(np.linalg.norm(rest.reshape(len(paths), -1, 3), axis=2).max())

    few, many = 0, len(paths)  # the error falls as components are added, but for rounding: bisect
    while few < many:
        middle = (few + many) // 2
        if error(middle) <= tolerance:
            many = middle
        else:
            few = middle + 1
    peak = np.abs(vectors[:, :many]).max(axis=0)  # weights in [-1, 1] suit the sliders of other programs
    return MorphAnimation(
        base.astype(np.float32),
        (components[:many] * peak[:, None]).reshape(many, *base.shape).astype(np.float32),
        (vectors[:, :many] / peak).astype(np.float32),
        error(many),
    )
