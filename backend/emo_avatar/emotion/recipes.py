"""What the six emotions look like at full strength: ARKit weights, one set per style of showing them.

The numbers lie in ``recipes.json`` and are learnt from photographs by ``emo-avatar train recipes``
(`emo_avatar.training.recipes`). Weights may exceed 1: ARKit units of a head are often weaker than the faces they were
learnt from, and every head mapping is linear.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emo_avatar.head.data import ARKIT_NAMES
from emo_avatar.motion.timeline import EMOTIONS

RECIPES_PATH = Path(__file__).with_name("recipes.json")
RECIPES_VERSION = 1


@dataclass(frozen=True)
class EmotionRecipe:
    """One emotion at its apex, as several styles of showing it."""

    emotion: str
    styles: tuple[str, ...]  # S names
    shares: np.ndarray  # [S] float32, how common each style is; sums to 1
    weights: np.ndarray  # [S, 52] float32, ARKit weights

    @property
    def mean(self) -> np.ndarray:  # [52]
        """The style everybody recognises: the average over people."""
        return self.shares @ self.weights


def load_recipes(path: Path = RECIPES_PATH) -> tuple[EmotionRecipe, ...]:
    """The six recipes in the order of `EMOTIONS`."""
    document = json.loads(path.read_text(encoding="utf-8"))
    if document.get("version") != RECIPES_VERSION:
        raise ValueError(f"{path} has version {document.get('version')}; this program reads version {RECIPES_VERSION}.")
    return tuple(_parse(emotion, document["emotions"][emotion]) for emotion in EMOTIONS)


def _parse(emotion: str, styles: list[dict]) -> EmotionRecipe:
    weights = np.zeros((len(styles), len(ARKIT_NAMES)), np.float32)
    for row, style in zip(weights, styles, strict=True):
        for name, value in style["weights"].items():
            row[ARKIT_NAMES.index(name)] = value
    shares = np.array([style["share"] for style in styles], np.float32)
    return EmotionRecipe(emotion, tuple(style["style"] for style in styles), shares / shares.sum(), weights)
