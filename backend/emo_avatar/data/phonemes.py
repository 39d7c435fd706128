"""The sounds of English as lip shapes: ARKit targets, how strongly each insists on its own, and how long it lasts.

Targets follow the usual viseme classes (Fisher 1968; Jeffers and Barley 1971); dominance after Cohen and Massaro,
"Modeling coarticulation in synthetic visual speech" (1993): a rounded vowel rules the lips long before it sounds, a
velar consonant takes whatever shape its neighbours have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emo_avatar.head.arkit import arkit_weights
from emo_avatar.head.data import ARKIT_NAMES

ARTICULATORS = ("jaw", "lips", "closure")  # what dominance is held over, separately
JAW_UNITS = ("jawOpen", "jawForward")


@dataclass(frozen=True)
class Phoneme:
    """One sound in ARPAbet."""

    symbol: str
    target: np.ndarray  # [52] float32 ARKit weights at its centre; lip closure is apart, in `closes`
    dominance: np.ndarray  # [3] float32 over ARTICULATORS
    seconds: float  # typical duration in fluent speech
    vowel: bool
    closes: bool  # p, b, m: the lips touch


def _phoneme(
    symbol: str, seconds: float, jaw: float, lips: float, *, vowel: bool = False, closes: bool = False, **units: float
) -> Phoneme:
    closure = _CLOSURE_DOMINANCE if closes else _OPEN_DOMINANCE
    dominance = np.array([jaw, lips, closure], np.float32)
    return Phoneme(symbol, arkit_weights(**units), dominance, seconds, vowel, closes)


# A bilabial must win over any neighbour, or its lips would not meet.
_CLOSURE_DOMINANCE, _OPEN_DOMINANCE = 6.0, 1.0

# fmt: off
_INVENTORY = (
    # vowels
    _phoneme("AA", .120, 1.0, .5, vowel=True, jawOpen=.42, mouthLowerDown=.16, mouthUpperUp=.08),
    _phoneme("AE", .120, 1.0, .6, vowel=True, jawOpen=.34, mouthStretch=.16, mouthLowerDown=.20, mouthUpperUp=.12),
    _phoneme("AH", .080, .7, .4, vowel=True, jawOpen=.24, mouthLowerDown=.12, mouthUpperUp=.05),
    _phoneme("AO", .120, .9, .9, vowel=True, jawOpen=.32, mouthFunnel=.34, mouthPucker=.10),
    _phoneme("EH", .090, .8, .6, vowel=True, jawOpen=.26, mouthStretch=.12, mouthLowerDown=.18, mouthUpperUp=.08),
    _phoneme("ER", .110, .7, .9, vowel=True, jawOpen=.14, mouthFunnel=.24, mouthPucker=.22),
    _phoneme("IH", .070, .6, .5, vowel=True, jawOpen=.16, mouthStretch=.14, mouthLowerDown=.14, mouthSmile=.06),
    _phoneme("IY", .100, .7, .9, vowel=True, jawOpen=.10, mouthStretch=.26, mouthLowerDown=.16, mouthSmile=.16),
    _phoneme("OW", .130, .8, 1.0, vowel=True, jawOpen=.22, mouthFunnel=.36, mouthPucker=.32),
    _phoneme("UH", .070, .6, .8, vowel=True, jawOpen=.14, mouthFunnel=.22, mouthPucker=.26),
    _phoneme("UW", .110, .7, 1.1, vowel=True, jawOpen=.09, mouthFunnel=.18, mouthPucker=.62),
    # consonants
    _phoneme("B", .070, .9, .5, closes=True, jawOpen=.05, mouthPress=.10, mouthRollLower=.10, mouthRollUpper=.06),
    _phoneme("P", .080, .9, .6, closes=True, jawOpen=.05, mouthPress=.16, mouthRollLower=.14, mouthRollUpper=.10),
    _phoneme("M", .075, .9, .5, closes=True, jawOpen=.05, mouthPress=.08, mouthRollLower=.08, mouthRollUpper=.06),
    _phoneme("F", .090, .9, 1.1, jawOpen=.05, mouthRollLower=.42, mouthUpperUp=.14, mouthShrugLower=.06),
    _phoneme("V", .065, .8, 1.0, jawOpen=.06, mouthRollLower=.36, mouthUpperUp=.12, mouthShrugLower=.05),
    _phoneme("TH", .080, .8, .6, jawOpen=.10, tongueOut=.25, mouthLowerDown=.10, mouthUpperUp=.06),
    _phoneme("T", .070, .6, .4, jawOpen=.09, mouthLowerDown=.14, mouthStretch=.06),
    _phoneme("D", .060, .6, .4, jawOpen=.10, mouthLowerDown=.14, mouthStretch=.06),
    _phoneme("N", .065, .6, .4, jawOpen=.10, mouthLowerDown=.12, mouthStretch=.05),
    _phoneme("L", .065, .6, .5, jawOpen=.15, mouthLowerDown=.16, mouthUpperUp=.05),
    _phoneme("S", .100, .9, .7, jawOpen=.05, mouthStretch=.18, mouthLowerDown=.22, mouthUpperUp=.08),
    _phoneme("Z", .080, .9, .7, jawOpen=.06, mouthStretch=.16, mouthLowerDown=.22, mouthUpperUp=.08),
    _phoneme("SH", .100, .9, 1.0, jawOpen=.07, mouthFunnel=.46, mouthPucker=.16),
    _phoneme("CH", .100, .9, 1.0, jawOpen=.08, mouthFunnel=.44, mouthPucker=.16),
    _phoneme("JH", .080, .8, .9, jawOpen=.09, mouthFunnel=.40, mouthPucker=.14),
    _phoneme("K", .080, .4, .2, jawOpen=.14, mouthLowerDown=.06),
    _phoneme("G", .065, .4, .2, jawOpen=.14, mouthLowerDown=.06),
    _phoneme("NG", .075, .4, .2, jawOpen=.14, mouthLowerDown=.06),
    _phoneme("HH", .060, .2, .1, jawOpen=.16),
    _phoneme("R", .070, .6, .8, jawOpen=.11, mouthFunnel=.24, mouthPucker=.20),
    _phoneme("W", .070, .7, 1.1, jawOpen=.08, mouthPucker=.66, mouthFunnel=.10),
    _phoneme("Y", .060, .6, .6, jawOpen=.09, mouthStretch=.20, mouthSmile=.10, mouthLowerDown=.10),
    _phoneme("_", .220, .5, .5),  # a pause: the face comes to rest
)
# fmt: on

PHONEMES = {phoneme.symbol: phoneme for phoneme in _INVENTORY}
PAUSE = "_"
VOWELS = tuple(p.symbol for p in _INVENTORY if p.vowel)
CONSONANTS = tuple(p.symbol for p in _INVENTORY if not p.vowel and p.symbol != PAUSE)


def articulator_of_unit() -> np.ndarray:  # [52] int, index into ARTICULATORS
    """Which articulator's dominance blends each ARKit unit."""
    return np.array([ARTICULATORS.index("jaw" if name in JAW_UNITS else "lips") for name in ARKIT_NAMES])
