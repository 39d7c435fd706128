"""How feeling and moving change a face's colour: blood that rises to the skin, leaves it, or is pressed out of it.

Blood absorbs on top of whatever melanin there is, so that the same flush is plain on fair skin and hardly seen on dark
skin. Regions and signs follow thermal and colour studies of facial blood flow (Drummond and Lance 1987; Benitez-Quiroz
et al., "Facial color is an efficient mechanism to visually transmit emotion", PNAS 2018).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from emo_avatar.data.canvas import BLOOD
from emo_avatar.head.data import open_head
from emo_avatar.motion.timeline import EMOTIONS

REGIONS = ("cheeks", "nose", "forehead", "lids", "ears", "neck", "lips", "chin")
# Change of blood by region at full strength, in units of `canvas.BLOOD`
RESPONSE = {
    "happy": (0.13, 0.05, 0.01, 0.02, 0.04, 0.01, 0.08, 0.03),
    "sad": (0.03, 0.15, 0.00, 0.18, 0.02, 0.00, 0.05, 0.05),
    "angry": (0.14, 0.07, 0.09, 0.05, 0.18, 0.12, 0.03, 0.05),
    "disgust": (-0.03, 0.07, -0.02, 0.03, 0.00, 0.02, -0.03, -0.02),
    "fear": (-0.05, -0.02, -0.05, 0.00, -0.05, -0.03, -0.09, -0.04),
    "surprised": (0.02, 0.00, 0.00, 0.00, 0.03, 0.01, -0.02, 0.00),
}
TEARS = {"happy": 0.5, "sad": 1.4, "angry": 0.2, "disgust": 0.4, "fear": 0.7, "surprised": 0.2}  # more on the eyes
PRESSED = {"lips": 0.9, "skin": 0.25}  # blood that a doubled area leaves, or halved area gathers
PRESSED_LIMIT = 0.30


@dataclass(frozen=True)
class Vessels:
    """How much somebody's blood shows feelings."""

    flush: float  # factor on what rises
    pallor: float  # factor on what leaves
    tears: float


def blood_change(
    vessels: Vessels,
    weights: np.ndarray,  # [6] emotion weights
    growth: np.ndarray,  # [V] factor on the skin's area by the expression
) -> np.ndarray:  # [V, 3] absorption by colour
    """What emotion and movement add to the absorption of a face."""
    response = weights @ np.array([RESPONSE[name] for name in EMOTIONS])
    response = np.where(response > 0, vessels.flush, vessels.pallor) * response
    feeling = region_maps() @ response
    pressed = np.where(_lips(), PRESSED["lips"], PRESSED["skin"]) * -np.log2(np.clip(growth, 0.25, 4.0))
    return (feeling + np.clip(pressed, -PRESSED_LIMIT, PRESSED_LIMIT))[:, None] * BLOOD * _skin()[:, None]


def wetness(vessels: Vessels, weights: np.ndarray) -> float:  # [6]
    """How much more than at rest the eyes mirror."""
    return 1.0 + vessels.tears * float(weights @ np.array([TEARS[name] for name in EMOTIONS]))


@functools.cache
def region_maps() -> np.ndarray:  # [V, 8] in [0, 1], in the order of REGIONS
    """Where each region is on the open head, softly."""
    head = open_head()
    p = head.v_template / 1e-3
    x, y, front = np.abs(p[:, 0]), p[:, 1], 1 / (1 + np.exp(-(p[:, 2] - 45) / 8))

    def spot(at: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
        return np.exp(-(((x - at[0]) / radii[0]) ** 2) - ((y - at[1]) / radii[1]) ** 2) * front

    neck = 1 / (1 + np.exp((y + 118) / 8))
    maps = {
        "cheeks": spot((42, -30), (32, 28)),
        "nose": spot((0, -38), (14, 14)),
        "forehead": spot((0, 48), (55, 24)),
        "lids": spot((29, -2), (20, 13)),
        "ears": head.regions["ears"].astype(float),
        "neck": neck,
        "lips": _lips().astype(float),
        "chin": spot((0, -95), (24, 14)),
    }
    return np.stack([maps[name] for name in REGIONS], 1)


@functools.cache
def _lips() -> np.ndarray:  # [V] bool
    return open_head().regions["lips"]


@functools.cache
def _skin() -> np.ndarray:  # [V] 1 where blood shows
    head = open_head()
    return head.part("skin") & ~head.regions["mouth_bag"] & ~head.regions["eye_sockets"]
