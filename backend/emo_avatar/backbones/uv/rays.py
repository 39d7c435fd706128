"""Pictures in polar coordinates: what lies in each direction from a point of the head."""

from __future__ import annotations

import numpy as np

from emo_avatar.backbones.uv.view import sample

DIRECTIONS = np.arange(360)  # degrees in the picture: 0 to the right, 90 down


def unit(degrees: np.ndarray) -> np.ndarray:  # [N] -> [N, 2]
    """Directions in the picture."""
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)


def rays(values: np.ndarray, centre: np.ndarray) -> np.ndarray:  # [H, W], [2] px -> [360, R]
    """A picture along rays from a point, one per degree, a sample per pixel; 0 outside of the picture."""
    length = max(values.shape)
    at = centre + unit(DIRECTIONS)[:, None] * np.arange(length)[None, :, None]
    inside = (at >= 0).all(2) & (at < values.shape[::-1]).all(2)
    return sample(values.astype(np.float32), at.reshape(-1, 2)).reshape(inside.shape) * inside


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
    on = rays(values, centre) > 0.5
    reach = start.copy()
    for k, first in enumerate(start.astype(int).clip(0)):
        missing = 0
        for r in range(first, on.shape[1]):
            missing = 0 if on[k, r] else missing + 1
            if missing > gap:
                break
            if missing == 0:
                reach[k] = r
    return reach
