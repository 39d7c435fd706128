"""The folds of one person's skin: which deepen when it is compressed, and which are there to stay."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from emo_avatar.head.data import open_head
from emo_avatar.render.shading import fold_depth

PLACES = ("forehead", "glabella", "crows_feet", "below_the_eye", "nose", "nasolabial", "mouth", "chin")
# How deep folds are at full compression in youth and in old age, and how much of that stays in a resting old face
YOUNG, OLD = 0.55, 1.45
STAYING = (0.55, 0.50, 0.65, 0.60, 0.15, 0.75, 0.65, 0.20)  # by place


@dataclass(frozen=True, eq=False)
class Folds:
    """Per vertex of the head, for the three runs of folds alike."""

    gain: np.ndarray  # [V] depth at full compression
    resting: np.ndarray  # [V] depth in a resting face

    def depth(self, shortened: np.ndarray) -> np.ndarray:  # [V, 3] -> [V, 3]
        """How far the folds are drawn where skin is shortened, by their run (`render.strain.shortening`)."""
        drawn = self.gain[:, None] * fold_depth(shortened)
        # A line that is there already deepens sooner, and never gets shallower.
        return np.maximum(drawn, self.resting[:, None]) + 0.25 * np.minimum(drawn, self.resting[:, None])


def draw_folds(rng: np.random.Generator, age: float) -> Folds:
    """Folds of somebody of ``age`` 0 to 1; people of one age differ, and in which folds they have."""
    grown = float(np.clip(age + rng.normal(0, 0.12), 0, 1))
    gains = (YOUNG + (OLD - YOUNG) * grown) * np.exp(rng.normal(0, 0.18, len(PLACES)))
    staying = np.array(STAYING) * max(0.0, (grown - 0.25) / 0.75) ** 1.2 * np.exp(rng.normal(0, 0.3, len(PLACES)))
    maps = place_maps()
    return Folds((maps @ gains).astype(np.float32), (maps @ staying).astype(np.float32))


@functools.cache
def place_maps() -> np.ndarray:  # [V, 8] rows sum to 1 on the face, in the order of PLACES
    """Which place each part of the open head's skin belongs to, softly."""
    head = open_head()
    p = head.v_template / 1e-3
    x, y = np.abs(p[:, 0]), p[:, 1]
    centres = {
        "forehead": (20, 50, 42, 20),
        "glabella": (4, 17, 9, 12),
        "crows_feet": (57, -1, 10, 16),
        "below_the_eye": (29, -13, 18, 8),
        "nose": (8, -10, 8, 12),
        "nasolabial": (25, -52, 12, 18),
        "mouth": (28, -78, 9, 10),
        "chin": (0, -92, 18, 12),
    }
    distance = np.stack(
        [((x - a) / rx) ** 2 + ((y - b) / ry) ** 2 for a, b, rx, ry in (centres[place] for place in PLACES)], 1
    )
    share = np.exp(-0.5 * (distance - distance.min(1, keepdims=True)))
    share /= share.sum(1, keepdims=True)
    on_skin = head.part("skin") & ~head.regions["mouth_bag"] & ~head.regions["eye_sockets"]
    return share * on_skin[:, None]
