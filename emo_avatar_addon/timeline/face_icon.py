"""A small schematic face for a blend of emotions: the preview of its asset. No bpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SIZE = 128  # pixels

_SKIN, _LINE, _MOUTH, _EYE = (
    np.array(colour) for colour in ((0.98, 0.80, 0.36), (0.20, 0.13, 0.10), (0.45, 0.12, 0.12), (1.0, 1.0, 1.0))
)


def draw(
    weights: Sequence[float],
) -> np.ndarray:  # [6] -> [SIZE, SIZE, 4] float32 RGBA, straight alpha, bottom row first
    """Brows, lids and mouth as the six emotions would have them."""
    happy, sad, angry, disgust, fear, surprised = weights
    x, y = np.meshgrid(*[np.linspace(-1, 1, SIZE)] * 2)  # y up
    image = np.zeros((SIZE, SIZE, 4))
    _paint(image, np.hypot(x, y) - 0.93, _LINE)
    _paint(
        image,
        np.hypot(x, y) - 0.88,
        _SKIN * (1 - 0.25 * disgust * np.array([1, 0, 0])) + 0.12 * angry * np.array([0, -2, -1]),
    )
    wide = 1 + 0.45 * surprised + 0.4 * fear - 0.45 * disgust - 0.3 * happy - 0.25 * angry - 0.15 * sad
    for side in (-1, 1):
        u, v = x - 0.36 * side, y - 0.16
        eye = np.hypot(u / 0.15, v / (0.17 * wide)) - 1
        _paint(image, (eye - 0.18) * 0.15, _LINE)
        _paint(image, eye * 0.15, _EYE)
        _paint(image, np.maximum(np.hypot(u, v + 0.05 * sad) - 0.075, eye * 0.15), _LINE)
        inner = 0.13 * (sad + fear) - 0.16 * angry - 0.1 * disgust  # of the brow, raised
        lift = 0.1 * (surprised + 0.6 * fear) + 0.03 * happy - 0.06 * (angry + disgust)
        brow = 0.46 + lift + inner * (0.5 - np.abs(x) / 0.36 * 0.5) * 2 - 0.5 * u * u * (1 + surprised)
        _paint(image, np.maximum(np.abs(y - brow) - 0.035, np.abs(u) - 0.21), _LINE)
    open_ = 0.05 + 0.26 * surprised + 0.16 * fear + 0.15 * happy + 0.05 * angry
    curve = 0.9 * happy - 0.8 * sad - 0.55 * disgust - 0.45 * angry - 0.35 * fear
    half = 0.36 + 0.08 * happy + 0.06 * fear - 0.16 * surprised
    middle = -0.42 - 0.35 * curve * 0.13 + curve * (x * x) * 1.2 + 0.12 * disgust * x
    gap = open_ * np.sqrt(np.clip(1 - (x / half) ** 2, 0, 1))
    mouth = np.where(np.abs(x) < half, np.abs(y - middle) - np.maximum(gap, 0.02), 1.0)
    _paint(image, mouth - 0.03, _LINE)
    _paint(image, mouth, _MOUTH)
    return image.astype(np.float32)


def _paint(image: np.ndarray, distance: np.ndarray, colour: np.ndarray) -> None:
    """Fill where a signed distance is negative, its edge smooth over a pixel or two."""
    cover = np.clip(0.5 - distance * SIZE / 3, 0, 1)[..., None]
    alpha = image[..., 3:] + cover - image[..., 3:] * cover
    image[..., :3] = np.clip(image[..., :3] * (1 - cover) + colour * cover, 0, 1)
    image[..., 3:] = alpha
