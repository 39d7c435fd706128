"""What pictures of a new avatar show."""

from __future__ import annotations

import numpy as np

from emo_avatar.avatar.avatar import Framing

BUST = 0.10  # metres below the collar that a picture of the avatar shows at most
HEADROOM = 1.04


def framing_of(
    means: np.ndarray,  # [N, 3] metres, of what is solid at rest
    collar: np.ndarray,  # [C, 3] metres, vertices of the collar at rest
) -> Framing:
    """From a little above the hair down to where the photo cuts the shoulders off."""
    top, bottom = np.percentile(means[:, 1], (99.9, 0.5))
    bottom = max(bottom, collar[:, 1].min() - BUST)
    half = (top - bottom) / 2 * HEADROOM
    centre = np.array([0, top - (top - bottom) / 2 + half * (HEADROOM - 1), means[:, 2].mean()])
    return Framing(centre.astype(np.float32), float(half))
