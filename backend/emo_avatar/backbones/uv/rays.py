"""Pictures in polar coordinates: what lies in each direction from a point of the head."""

from __future__ import annotations

import numpy as np

from emo_avatar.backbones.portrait.view import bilinear
from emo_avatar.render.splat.compiled import kernel

DIRECTIONS = np.arange(360)  # degrees in the picture: 0 to the right, 90 down


def unit(degrees: np.ndarray) -> np.ndarray:  # [N] -> [N, 2]
    """Directions in the picture."""
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)


def rays(values: np.ndarray, centre: np.ndarray) -> np.ndarray:  # [H, W], [2] px -> [360, R]
    """A picture along rays from a point, one per degree, a sample per pixel; 0 outside of the picture."""
    picture = np.ascontiguousarray(values, np.float32)[..., None]
    return _along(picture, float(centre[0]), float(centre[1]), unit(DIRECTIONS))


def outermost(mask: np.ndarray, centre: np.ndarray) -> np.ndarray:  # [H, W] bool, [2] px -> [360] px
    """Radius of the last pixel of a mask on every ray."""
    on = rays(mask, centre) > 0.5
    return np.maximum(on.shape[1] - 1 - on[:, ::-1].argmax(1), 1) * on.any(1).astype(float) + 1e-3


def walk(
    values: np.ndarray,  # [H, W]
    centre: np.ndarray,  # [2] px
    start: np.ndarray,  # [360] px
    gap: int,
) -> np.ndarray:  # [360] px
    """How far one gets on each ray from its start (px) before the values drop under one half for more than a gap."""
    return _walked(rays(values, centre), np.ascontiguousarray(start, np.float64), gap)


@kernel
def _along(picture, x0, y0, directions):  # [H, W, 1], [360, 2] -> [360, R]
    height, width = picture.shape[0], picture.shape[1]
    values = np.zeros((len(directions), max(height, width)), np.float32)
    for k in range(len(directions)):
        for r in range(values.shape[1]):
            x, y = x0 + r * directions[k, 0], y0 + r * directions[k, 1]
            if 0 <= x < width and 0 <= y < height:
                values[k, r] = bilinear(picture, 0, x, y)
    return values


@kernel
def _walked(values, start, gap):  # [360, R], [360] -> [360]
    reach = start.copy()
    for k in range(len(start)):
        missing = 0
        for r in range(int(max(start[k], 0.0)), values.shape[1]):
            missing = 0 if values[k, r] > 0.5 else missing + 1
            if missing > gap:
                break
            if missing == 0:
                reach[k] = r
    return reach
