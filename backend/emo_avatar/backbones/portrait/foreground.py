"""The colours of the person alone, free of the background that shines through the edge of the matte."""

from __future__ import annotations

import numpy as np

from emo_avatar.backbones.portrait.masks import blurred, nearest, worn

SOLID, EMPTY = 0.97, 0.02  # alpha above and below which a pixel shows one layer alone
SOLID_MARGIN = 2  # pixels that a matte's edge may be off by
LEAST_ALPHA = 0.25  # below it the division amplifies noise more than it recovers colour
TRUSTED_ALPHA = (0.3, 0.75)  # from nearest solid colour to the recovered one
SMEAR = 1.5  # pixels; softens the colours that are carried outwards, which otherwise streak


def clean_foreground(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:  # [H, W, 3], [H, W] in [0, 1] -> [H, W, 3]
    """Foreground colour of every pixel: the matting equation I = a F + (1 - a) B solved for F.

    B comes from the nearest pixels that are surely background. Where alpha is too small to divide by, and outside the
    matte, the nearest solid colour is carried outwards.
    """
    solid = worn(alpha > SOLID, SOLID_MARGIN)
    if not solid.any():
        return rgb
    carried = _nearest(rgb, solid)
    empty = alpha < EMPTY
    if not empty.any():
        return np.where(solid[..., None], rgb, carried)
    background = _nearest(rgb, empty)
    a = np.clip(alpha, LEAST_ALPHA, 1)[..., None]
    recovered = np.clip((rgb - (1 - a) * background) / a, 0, 1)
    low, high = TRUSTED_ALPHA
    trust = np.clip((alpha - low) / (high - low), 0, 1)[..., None]
    return np.where(solid[..., None], rgb, trust * recovered + (1 - trust) * carried)


def _nearest(rgb: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Every pixel takes the colour of the nearest known one, softened."""
    row, column = nearest(known)
    return blurred(rgb[row, column], SMEAR)
