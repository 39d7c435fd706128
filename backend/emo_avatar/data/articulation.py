"""From timed sounds to lip and jaw motion, with co-articulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emo_avatar.data.persons import SpeakingStyle
from emo_avatar.data.phonemes import ARTICULATORS, PHONEMES, articulator_of_unit
from emo_avatar.head.data import ARKIT_NAMES

ANTICIPATION, CARRY_OVER = 0.075, 0.060  # seconds in which a sound's dominance falls to 1/e before and after it
DOMINANCE_POWER = 1.6  # of the time: between Cohen and Massaro's exponential (1) and a Gaussian (2)
REST_DOMINANCE = 0.02  # draws the face to rest where nothing is being said
CLOSURE_GAIN = 1.12  # the blended closure saturates, so that lips stay shut for a moment instead of touching in a point


@dataclass(frozen=True)
class TimedPhonemes:
    """Sounds and when they are made."""

    symbols: tuple[str, ...]  # P
    centres: np.ndarray  # [P] float32 seconds
    stress: np.ndarray  # [P] float32, 1 normal, above 1 for accented syllables


@dataclass(frozen=True)
class Articulation:
    """Lips and jaw over time."""

    arkit: np.ndarray  # [T, 52] float32, without the closing of the lips
    closure: np.ndarray  # [T] float32, 1 where p, b or m shuts the lips


def articulate(phonemes: TimedPhonemes, style: SpeakingStyle, frames: int, fps: float) -> Articulation:
    """Blend viseme targets by dominance functions (Cohen and Massaro 1993, eq. 1 to 3), each articulator by its own."""
    sounds = [PHONEMES[symbol] for symbol in phonemes.symbols]
    targets = np.stack([sound.target for sound in sounds]) * style.articulation  # [P, 52]
    targets *= np.where([sound.vowel for sound in sounds], phonemes.stress, 1.0)[:, None]
    dominance = np.stack([sound.dominance for sound in sounds])  # [P, 3]

    since = (np.arange(frames) / fps)[:, None] - phonemes.centres  # [T, P] seconds after each sound's centre
    reach = np.where(since < 0, ANTICIPATION, CARRY_OVER) / (style.sharpness * style.rate)
    presence = np.exp(-(np.abs(since / reach) ** DOMINANCE_POWER))  # [T, P]
    blend = presence[:, :, None] * dominance  # [T, P, 3]
    total = blend.sum(1) + REST_DOMINANCE  # [T, 3]

    mixed = np.einsum("tpa,pu->tau", blend, targets) / total[:, :, None]  # [T, 3, 52]
    arkit = mixed[:, articulator_of_unit(), np.arange(len(ARKIT_NAMES))]
    closes = np.array([sound.closes for sound in sounds], np.float32)
    closing = ARTICULATORS.index("closure")
    closure = CLOSURE_GAIN * (blend[:, :, closing] @ closes) / total[:, closing]
    return Articulation(arkit.astype(np.float32), np.minimum(closure, 1.0).astype(np.float32))
