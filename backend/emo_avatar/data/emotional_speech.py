"""How an emotion changes a speaking face: the truth that the geometry modulator learns.

Emotion is not added to speech but negotiated with it. Each muscle follows the emotion with its own delay (onset faster
than offset), lips that a sound shuts stay shut, rounded lips take from a smile, a blink closes wide eyes, and a mouth
busy speaking shows less of the emotion than one at rest.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter1d

from emo_avatar.data.speech import closed
from emo_avatar.head.arkit import arkit_weights
from emo_avatar.head.data import ARKIT_NAMES
from emo_avatar.motion.timeline import EMOTIONS

# How much wider or narrower people articulate under an emotion.
ARTICULATION_GAIN = {"happy": 1.06, "sad": 0.85, "angry": 1.15, "disgust": 0.97, "fear": 1.0, "surprised": 1.08}
ROUNDING_YIELD = 0.6  # of a smile or stretch, given up at full lip rounding
CORNER_YIELD = 0.2  # of everything about the mouth, given up while the lips are shut
TUCKED = 0.35  # mouthRollLower of an f: the lower lip is under the teeth
JAW_LIMIT = 0.85  # jawOpen of speech and emotion together approaches this
BUSY_SPAN = 0.25  # seconds over which a mouth counts as speaking
CROWDING = 0.5  # power of the sum of weights by which emotions beyond a sum of 1 hold each other back


def _units(*stems: str) -> np.ndarray:  # [52] bool
    return np.sum([arkit_weights(**{stem: 1.0}) for stem in stems], axis=0) > 0


_MOUTH = np.array([name.startswith(("mouth", "jaw")) for name in ARKIT_NAMES])
_LIDS = _units("eyeWide", "eyeSquint", "eyeBlink")
_BLINK = _units("eyeBlink")
_PULLS_CORNERS = _units("mouthSmile", "mouthStretch", "mouthDimple")
_ROUNDING = _units("mouthPucker", "mouthFunnel")
_MEETING = _ROUNDING | _units(  # what moves the middle of the lips, and so whether they meet
    "mouthUpperUp", "mouthLowerDown", "mouthShrugUpper", "mouthShrugLower", "mouthPress",
    "mouthRollUpper", "mouthRollLower", "jawOpen",
)  # fmt: skip
_JAW_OPEN = ARKIT_NAMES.index("jawOpen")
_TUCK = ARKIT_NAMES.index("mouthRollLower")


def follow(
    weights: np.ndarray,  # [N, T, 6] what is asked for
    onset: np.ndarray,  # [N, 52] seconds
    offset: np.ndarray,  # [N, 52] seconds
    fps: float,
) -> np.ndarray:  # [N, T, 6, 52]
    """What each muscle does of it: first-order lag, quicker up than down, settled at the first frame."""
    rise, fall = ((1 - np.exp(-1 / (fps * tau)))[:, None] for tau in (onset, offset))  # [N, 1, 52]
    asked = weights[..., None]  # [N, T, 6, 1]
    followed = np.empty((*weights.shape, len(ARKIT_NAMES)), np.float32)
    state = followed[:, 0] = asked[:, 0]
    for t in range(1, weights.shape[1]):
        step = asked[:, t] - state
        state = followed[:, t] = state + np.where(step > 0, rise, fall) * step
    return followed


def emotional_speech(
    arkit: np.ndarray,  # [N, T, 52] neutral speech, lips not yet closed
    closure: np.ndarray,  # [N, T]
    emotion: np.ndarray,  # [N, T, 52] ARKit weights of the emotions alone
    weights: np.ndarray,  # [N, T, 6]
    masking: np.ndarray,  # [N]
    fps: float,
) -> np.ndarray:  # [N, T, 52]
    """Speech and emotion on one face, lips closed."""
    gain = 1 + weights @ (np.array([ARTICULATION_GAIN[name] for name in EMOTIONS], np.float32) - 1)  # [N, T]
    speech = np.where(_MOUTH, gain[..., None] * arkit, arkit)

    shut = closure[..., None]
    blink = np.clip(arkit[..., _BLINK].mean(-1, keepdims=True), 0, 1)
    rounding = np.clip(arkit[..., _ROUNDING].sum(-1, keepdims=True), 0, 1)
    tuck = np.clip(arkit[..., _TUCK, None] / TUCKED, 0, 1)
    activity = np.clip(np.abs(arkit[..., _MOUTH]).sum(-1) + closure, 0, 1)
    busy = uniform_filter1d(activity, max(round(BUSY_SPAN * fps), 1), axis=-1, mode="nearest")

    share = np.ones_like(emotion) / np.maximum(weights.sum(-1, keepdims=True), 1) ** CROWDING
    share[..., _LIDS] *= 1 - blink
    share[..., _MOUTH] *= (1 - masking[:, None] * busy)[..., None] * (1 - CORNER_YIELD * shut)
    share[..., _MEETING] *= (1 - shut) * (1 - tuck)
    share[..., _PULLS_CORNERS] *= 1 - ROUNDING_YIELD * rounding

    both = speech + share * emotion
    spoken = np.clip(speech[..., _JAW_OPEN], 0, JAW_LIMIT)
    opened = both[..., _JAW_OPEN] - speech[..., _JAW_OPEN]
    both[..., _JAW_OPEN] = spoken + opened * (1 - spoken / JAW_LIMIT)
    return closed(both, closure)
