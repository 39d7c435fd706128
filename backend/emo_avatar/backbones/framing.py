"""What pictures of a new avatar show."""

from __future__ import annotations

import numpy as np

from emo_avatar.avatar.avatar import Framing
from emo_avatar.head.data import HeadData

BUST = 0.10  # metres below the collar that a picture of the avatar shows at most
HEADROOM = 1.04


def framing_of(means: np.ndarray, person: HeadData) -> Framing:  # [N, 3] metres, of what is solid at rest
    """From a little above the hair down to where the photo cuts the shoulders off."""
    top, bottom = np.percentile(means[:, 1], 99.9), np.percentile(means[:, 1], 0.5)
    collar = person.v_template[person.regions["collar"]][:, 1].min()
    bottom = max(bottom, collar - BUST)
    half = (top - bottom) / 2 * HEADROOM
    centre = np.array([0, top - (top - bottom) / 2 + half * (HEADROOM - 1), means[:, 2].mean()])
    return Framing(centre.astype(np.float32), float(half))
