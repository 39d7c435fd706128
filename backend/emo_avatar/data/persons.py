"""Invented people: a face shape, a way of speaking and a way of showing emotion, all drawn from one seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emo_avatar.emotion.recipes import EmotionRecipe
from emo_avatar.head.data import ARKIT_NAMES, N_SHAPE

# What somebody's emotions look like cannot be read from their speech in full, but lively speakers are lively emoters:
# the correlation between articulation and expressive strength.
LIVELINESS_CORRELATION = 0.7
SHAPE_COMPONENTS = 60  # of 300; 99 % of the variance of the open head's identities
STRENGTH_SPREAD = 0.16  # log standard deviation of how strongly a person shows emotion at all
EMOTION_SPREAD = 0.08  # of one emotion beside the others
UNIT_SPREAD = 0.15  # of one muscle beside the others
STYLE_CONCENTRATION = 4.0  # Dirichlet: people lie between the styles of a recipe, not on them
ASYMMETRY_SPREAD = 0.06  # standard deviation of (left - right) / (left + right)
MEAN_ARTICULATION_SPREAD = 0.18


@dataclass(frozen=True)
class SpeakingStyle:
    """How a person moves the face in speech."""

    articulation: np.ndarray  # [52] float32 factor on every viseme target
    sharpness: float  # above 1: quick crisp movements, little co-articulation
    rate: float  # above 1: faster than average
    liveliness: float  # above 1: more brow accents and head motion
    blinks_per_second: float
    rest: np.ndarray  # [52] float32 what the face habitually does when nothing is said


@dataclass(frozen=True)
class EmotionalStyle:
    """How a person shows the six emotions."""

    apex: np.ndarray  # [6, 52] float32 ARKit weights at full strength
    onset: np.ndarray  # [52] float32 seconds, time constant while an emotion rises
    offset: np.ndarray  # [52] float32 seconds, while it fades
    masking: float  # how far speech takes the mouth away from the emotion, 0 to 1


@dataclass(frozen=True)
class Person:
    """One invented person."""

    shape: np.ndarray  # [300] float32 beta
    speaking: SpeakingStyle
    emotional: EmotionalStyle


def draw_person(seed: int, recipes: tuple[EmotionRecipe, ...]) -> Person:
    """The person of a seed; the same seed and recipes give the same person."""
    rng = np.random.default_rng([seed, 0])
    shape = np.zeros(N_SHAPE, np.float32)
    shape[:SHAPE_COMPONENTS] = rng.normal(0, 0.7, SHAPE_COMPONENTS)
    liveliness = rng.normal()
    speaking = _speaking_style(rng, liveliness)
    hidden = rng.normal()
    expressiveness = LIVELINESS_CORRELATION * liveliness + np.sqrt(1 - LIVELINESS_CORRELATION**2) * hidden
    return Person(shape, speaking, _emotional_style(rng, expressiveness, recipes))


def _speaking_style(rng: np.random.Generator, liveliness: float) -> SpeakingStyle:
    articulation = np.exp(MEAN_ARTICULATION_SPREAD * liveliness + rng.normal(0, 0.15, len(ARKIT_NAMES)))
    rest = np.zeros(len(ARKIT_NAMES), np.float32)
    for habit in ("mouthSmile", "mouthFrown", "browDown", "browOuterUp", "eyeSquint", "mouthPress"):
        if rng.random() < 0.2:
            rest[_units(habit)] = rng.uniform(0.03, 0.15)
    return SpeakingStyle(
        articulation=_sided(articulation, rng),
        sharpness=float(np.exp(rng.normal(0, 0.15))),
        rate=float(np.exp(rng.normal(0, 0.12))),
        liveliness=float(np.exp(0.35 * liveliness)),
        blinks_per_second=float(np.exp(rng.normal(np.log(0.28), 0.35))),
        rest=rest,
    )


def _emotional_style(
    rng: np.random.Generator, expressiveness: float, recipes: tuple[EmotionRecipe, ...]
) -> EmotionalStyle:
    apex = np.empty((len(recipes), len(ARKIT_NAMES)), np.float32)
    for row, recipe in zip(apex, recipes, strict=True):
        mixture = rng.dirichlet(STYLE_CONCENTRATION * recipe.shares)
        strength = np.exp(STRENGTH_SPREAD * expressiveness + rng.normal(0, EMOTION_SPREAD))
        muscles = np.exp(rng.normal(0, UNIT_SPREAD, len(ARKIT_NAMES)))
        row[:] = strength * _sided(muscles, rng) * (mixture @ recipe.weights)
    tempo = np.exp(rng.normal(0, 0.2))
    mouth = np.array([name.startswith(("mouth", "jaw")) for name in ARKIT_NAMES])
    onset = tempo * np.where(mouth, 0.07, 0.05)  # brows and lids are quicker than the mouth
    return EmotionalStyle(
        apex=apex,
        onset=onset.astype(np.float32),
        offset=(1.8 * onset).astype(np.float32),
        masking=float(rng.uniform(0.1, 0.3)),
    )


def _sided(factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:  # [52] -> [52] float32
    """The same factor left and right, save for one asymmetry of the whole face."""
    lean = rng.normal(0, ASYMMETRY_SPREAD)
    sided = factors.copy()
    for left, right in _PAIRS:
        sided[right] = factors[left] * (1 - lean)
        sided[left] = factors[left] * (1 + lean)
    return sided.astype(np.float32)


def _units(stem: str) -> list[int]:
    return [i for i, name in enumerate(ARKIT_NAMES) if name in (stem, f"{stem}Left", f"{stem}Right")]


_PAIRS = tuple(
    (i, ARKIT_NAMES.index(name.removesuffix("Left") + "Right"))
    for i, name in enumerate(ARKIT_NAMES)
    if name.endswith("Left") and name.removesuffix("Left") + "Right" in ARKIT_NAMES
)
