"""The person's neutral face: relax what the fit left of the photo's expression, in a closed loop with the detector.

The fit explains a portrait as identity plus expression, and gets the division a little wrong: a smile may leave lips
apart, and eyes that are always a little narrowed come out staring. The detector's own scores say so on a render of the
supposed neutral face, and single ARKit units mend it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from emo_avatar.head.data import ARKIT_NAMES
from emo_avatar.tracking.landmarks import detect_faces
from emo_avatar.tracking.topology import MOUTH_CORNERS

# The detector's scores of relaxed faces, from and to: brows and eyes differ from person to person, and where light and
# folds mislead it. What goes together is one expression: a photo in which brows are drawn down does not tell how high
# they are at rest, nor one that smiles how narrow eyes are.
RELAXED = (
    {"browDown": (0.0, 0.60), "browInnerUp": (0.0, 0.60), "browOuterUp": (0.0, 0.80)},
    {"eyeBlink": (0.02, 0.20), "eyeSquint": (0.05, 0.55), "eyeWide": (0.0, 0.05), "mouthSmile": (0.0, 0.05)},
    {
        "mouthFrown": (0.0, 0.02),
        "mouthStretch": (0.0, 0.03),
        "mouthUpperUp": (0.0, 0.02),
        "mouthLowerDown": (0.0, 0.02),
    },
    {"mouthPucker": (0.0, 0.30)},
    {"noseSneer": (0.0, 0.01)},
)
# The most by which the fit may have posed a group of units for the photo to show it at rest, when the detector says so.
AT_REST = 0.5
SPARED = ("brow", "eye")  # of which no more is corrected than the fit posed: what it divided wrongly is part of that
GAIN = 0.6  # of a unit per score: less than one, as units influence each other
REACH = 0.6  # of a unit, the most that is corrected
ROUNDS = 5
CLOSE_ENOUGH = 0.05  # score
LIP_GAP = 0.012  # between the inner lips, in widths of the mouth: lips that touch
GAP_PER_UNIT = 0.16  # by which a unit of mouthUpperUp or mouthLowerDown parts them
INNER_LIPS = (13, 14)  # the middle of the upper and of the lower one
SMILES = 0.3  # score of mouthSmile
LEVEL = 0.005  # of a relaxed mouth's corners above the middle of its lips, in widths of the mouth
FALL_PER_UNIT = 0.13  # by which a unit less of mouthSmile or more of mouthFrown lowers them


def neutral_correction(
    photo_scores: np.ndarray,  # [52] the detector's, of the photo
    photo_units: np.ndarray,  # [52] ARKit weights that the fit gave the photo's expression
    render: Callable[[np.ndarray], np.ndarray],  # ARKit weights [52] on the neutral face -> [H, W, 3] uint8
) -> np.ndarray:  # [52] ARKit weights that make the rendered face neutral; zeros where no face is found
    """Relax a face: a few renders, each corrected by what the detector still sees on it."""
    weights = np.zeros(len(ARKIT_NAMES), np.float32)
    best, least = weights.copy(), np.inf
    posed = _posed(photo_units)
    for _ in range(ROUNDS):
        faces = detect_faces(render(weights))
        if not faces:
            return best
        errors = _errors(photo_scores, photo_units, faces[0].blendshapes, faces[0].points)
        worst = max(map(abs, errors.values()))
        if worst < least:
            best, least = weights.copy(), worst
        if worst < CLOSE_ENOUGH:
            break
        for name, error in errors.items():
            own = [i for i, unit in enumerate(ARKIT_NAMES) if unit.startswith(name)]
            reach = min(REACH, posed[name]) if name.startswith(SPARED) else REACH
            weights[own] = np.clip(weights[own] + GAIN * error, -reach, reach)
    return best


def _score(of: np.ndarray, name: str) -> float:  # [52] -> mean of the left and the right unit
    return float(np.mean([of[i] for i, unit in enumerate(ARKIT_NAMES) if unit.startswith(name)]))


def _posed(units: np.ndarray) -> dict[str, float]:  # [52]
    """How far the fit posed the group that each unit belongs to."""
    return {name: max(abs(_score(units, other)) for other in group) for group in RELAXED for name in group}


def _errors(photo: np.ndarray, units: np.ndarray, now: np.ndarray, points: np.ndarray) -> dict[str, float]:
    """By how much each pair of units is to change: the score that it should have less the one it has."""
    errors = {}
    posed = _posed(units)
    for group in RELAXED:
        shown = {name: _score(photo, name) for name in group}
        at_rest = all(low <= shown[name] <= high and posed[name] < AT_REST for name, (low, high) in group.items())
        for name, (low, high) in group.items():
            scored = _score(now, name)
            wanted = shown[name] if at_rest else min(max(scored, low), high)  # a person at rest is left as they are
            errors[name] = wanted - scored
    # The detector calls a smile gone before lips and corners are at rest.
    gap, lift = _mouth(points)
    if _score(photo, "mouthSmile") > SMILES:
        fall = (lift - LEVEL) / FALL_PER_UNIT / 2
        errors["mouthSmile"], errors["mouthFrown"] = -fall, fall
    part = max(gap - LIP_GAP, 0) / GAP_PER_UNIT / 2
    for name in ("mouthUpperUp", "mouthLowerDown"):
        errors[name] = min(errors[name], 0.0) - part
    return errors


def _mouth(points: np.ndarray) -> tuple[float, float]:  # [478, 2+] px
    """How far the lips are apart, and how far the corners stand above their middle, in widths of the mouth."""
    upper, lower = points[list(INNER_LIPS), :2]
    left, right = sorted(points[list(MOUTH_CORNERS), :2], key=lambda corner: corner[0])
    across = right - left
    width = np.linalg.norm(across)
    down = np.array([-across[1], across[0]]) / width
    lift = ((upper + lower) / 2 - (left + right) / 2) @ down
    return float(np.linalg.norm(upper - lower) / width), float(lift / width)
