"""Facial action units as ARKit weights, and back.

The unit numbers and names are those of Ekman, Friesen and Hager, "Facial Action Coding System" (2002). Which ARKit
blendshape shows which unit follows Apple's descriptions in ``ARFaceAnchor.BlendShapeLocation`` and the comparison of
M. Ozel, "ARKit to FACS" (facetheFACS, 2020); a unit that ARKit has no shape for is composed, and says of what.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from emo_avatar.errors import UserError
from emo_avatar.head.arkit import arkit_weights, solve_bounded
from emo_avatar.head.data import ARKIT_NAMES


@dataclass(frozen=True)
class ActionUnit:
    """A facial action and its look at full intensity."""

    number: int
    name: str
    arkit: Mapping[str, float]  # blendshape to weight; a stem such as mouthSmile stands for its left and right
    readable: bool = True  # False when ARKit shows it by a mixture of other units, so that it cannot be read back


# fmt: off
ACTION_UNITS = (
    ActionUnit(1, "inner brow raiser", {"browInnerUp": 1}),
    ActionUnit(2, "outer brow raiser", {"browOuterUp": 1}),
    ActionUnit(4, "brow lowerer", {"browDown": 1}),
    ActionUnit(5, "upper lid raiser", {"eyeWide": 1}),
    ActionUnit(6, "cheek raiser", {"cheekSquint": 1}),
    ActionUnit(7, "lid tightener", {"eyeSquint": 1}),
    ActionUnit(8, "lips toward each other", {"mouthClose": 1}),
    ActionUnit(9, "nose wrinkler", {"noseSneer": 1}),
    ActionUnit(10, "upper lip raiser", {"mouthUpperUp": 1}),
    ActionUnit(12, "lip corner puller", {"mouthSmile": 1}),
    ActionUnit(14, "dimpler", {"mouthDimple": 1}),
    ActionUnit(15, "lip corner depressor", {"mouthFrown": 1}),
    ActionUnit(16, "lower lip depressor", {"mouthLowerDown": 1}),
    ActionUnit(17, "chin raiser", {"mouthShrugLower": 1, "mouthShrugUpper": 0.5}),  # the chin pushes both lips up
    ActionUnit(18, "lip pucker", {"mouthPucker": 1}),
    ActionUnit(19, "tongue show", {"tongueOut": 1}),
    ActionUnit(20, "lip stretcher", {"mouthStretch": 1}),
    ActionUnit(22, "lip funneler", {"mouthFunnel": 1}),
    # Tight lips are narrow, thin and a little pressed. Listed shape by shape, for ARKit cannot tell its sides apart.
    ActionUnit(23, "lip tightener", {"mouthPucker": 0.3, "mouthRollLower": 0.5, "mouthRollUpper": 0.3,
                                     "mouthPressLeft": 0.3, "mouthPressRight": 0.3}),
    ActionUnit(24, "lip pressor", {"mouthPress": 1}),
    # Lips part by giving way above and below: a little of what 10 and 16 do each for itself.
    ActionUnit(25, "lips part", {"mouthLowerDown": 0.3, "mouthUpperUp": 0.1}, readable=False),
    ActionUnit(26, "jaw drop", {"jawOpen": 0.5}),  # the jaw relaxes; 27 pulls it to the end of its way
    ActionUnit(27, "mouth stretch", {"jawOpen": 1}, readable=False),
    ActionUnit(28, "lip suck", {"mouthRollLower": 1, "mouthRollUpper": 1}),
    ActionUnit(29, "jaw thrust", {"jawForward": 1}),
    ActionUnit(30, "jaw sideways", {"jaw": 1}),  # one-sided by nature: L30 or R30
    ActionUnit(34, "cheek puff", {"cheekPuff": 1}),
    ActionUnit(43, "eyes closed", {"eyeBlink": 1}),  # 45 is the short blink, 46 the one-sided wink
    ActionUnit(63, "eyes up", {"eyeLookUp": 1}),
    ActionUnit(64, "eyes down", {"eyeLookDown": 1}),
)
# fmt: on

SYNONYMS = {45: 43, 46: 43}  # other codes for the same look
INTENSITIES = {"A": 0.2, "B": 0.4, "C": 0.6, "D": 0.8, "E": 1.0}  # trace, slight, marked, severe, maximum
SIDES = {"L": "Left", "R": "Right"}

_CODE = re.compile(r"([LRB]?)(?:AU)?(\d+)([A-E]?)", re.IGNORECASE)
_RIDGE = 1e-6  # keeps the inverse of the table defined; far below any visible intensity


def _rows() -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names, ARKit weights [N, 52] and readability [N] of every unit, split into sides where ARKit has sides."""
    names: list[str] = []
    rows: list[np.ndarray] = []
    readable: list[bool] = []
    for unit in ACTION_UNITS:
        if all(shape in ARKIT_NAMES for shape in unit.arkit):
            variants = {f"AU{unit.number}": unit.arkit}
        else:
            variants = {
                f"AU{unit.number}{letter}": {_on_side(shape, side): weight for shape, weight in unit.arkit.items()}
                for letter, side in SIDES.items()
            }
        names += variants
        rows += [arkit_weights(**shapes) for shapes in variants.values()]
        readable += [unit.readable] * len(variants)
    return tuple(names), np.stack(rows), np.array(readable)


def _on_side(shape: str, side: str) -> str:
    return shape if shape in ARKIT_NAMES else shape + side


# One entry per unit, or per unit and side: AU1, AU2L, AU2R, ...
FACS_NAMES, FACS_TO_ARKIT, FACS_READABLE = _rows()  # [N] names, [N, 52] weights, [N] bool


def arkit_from_facs(intensities: np.ndarray) -> np.ndarray:  # [..., N] -> [..., 52]
    """ARKit weights of action-unit intensities in [0, 1], in the order of FACS_NAMES."""
    return np.asarray(intensities, np.float32) @ FACS_TO_ARKIT


def facs_from_arkit(weights: np.ndarray) -> np.ndarray:  # [..., 52] -> [..., N]
    """The intensities in [0, 1] that come closest to ARKit weights; units that are not readable stay at zero."""
    table = FACS_TO_ARKIT[FACS_READABLE].astype(np.float64)
    weights = np.asarray(weights, np.float64)
    gram = table @ table.T + _RIDGE * np.eye(len(table))
    targets = weights.reshape(-1, len(ARKIT_NAMES)) @ table.T
    intensities = np.zeros((len(targets), len(FACS_NAMES)), np.float32)
    intensities[:, FACS_READABLE] = solve_bounded(gram, targets, 0.0, 1.0)
    return intensities.reshape(*weights.shape[:-1], len(FACS_NAMES))


def facs_code(code: str) -> np.ndarray:  # [N]
    """Intensities of a code in FACS notation, such as ``1C+4+15D`` or ``L12B+R14``; no letter means maximum.

    Raises:
        UserError: the code is malformed, or names a unit that the table lacks.
    """
    intensities = np.zeros(len(FACS_NAMES), np.float32)
    for part in code.replace(" ", "").split("+"):
        match = _CODE.fullmatch(part)
        if match is None:
            raise UserError(f'"{part}" is no action unit; write for instance 12, L12 or 12C, joined by "+".')
        side, number, letter = match[1].upper(), int(match[2]), match[3].upper()
        stem = f"AU{SYNONYMS.get(number, number)}"
        sides = [side] if side in SIDES else list(SIDES)
        entries = [stem] if stem in FACS_NAMES else [f"{stem}{s}" for s in sides]
        if any(entry not in FACS_NAMES for entry in entries):
            known = ", ".join(str(unit.number) for unit in ACTION_UNITS)
            raise UserError(f"Action unit {number} has no ARKit counterpart; choose among {known}.")
        for entry in entries:
            intensities[FACS_NAMES.index(entry)] = INTENSITIES.get(letter, 1.0)
    return intensities
