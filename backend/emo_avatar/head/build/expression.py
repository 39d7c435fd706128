"""Expression units in the base mesh's space, and the basis in which they are FLAME's psi.

The units are the 52 ARKit targets and MakeHuman's own expression targets. Eleven ARKit units (jawOpen, jawLeft,
jawRight, eight eyeLook) become joint rotations in ``skinning``; the others span the expression space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emo_avatar.head.build.makehuman import FACE_UNITS, TARGETS, MakeHuman
from emo_avatar.head.data import ARKIT_NAMES, N_EXPRESSION

EYE_LOOKS = tuple(f"eyeLook{way}{side}" for way in ("Up", "Down", "In", "Out") for side in ("Left", "Right"))
POSE_UNITS = ("jawOpen", "jawLeft", "jawRight", *EYE_LOOKS)
SHAPE_UNITS = tuple(name for name in ARKIT_NAMES if name not in POSE_UNITS)

MAKEHUMAN_UNITS = f"{TARGETS}/expression/units"
VARIANTS = ("african", "asian", "caucasian")  # the same unit modelled on three heads
NOT_A_UNIT = "mouth-open"  # jawOpen again
SPLIT_WIDTH = 0.06  # dm, over which a symmetric unit fades into the other half of the face

N_ACTIVATIONS = 4000
ARKIT_RATE, MAKEHUMAN_RATE = 0.25, 0.08  # share of activations in which a unit takes part
UNIT_LENGTH = 6.0  # |psi| of a unit that moves the tongue alone, about that of the others
SYMMETRIC_SHARE = 0.7  # share of activations in which left and right agree


@dataclass(frozen=True)
class ExpressionUnits:
    """Displacements of the base mesh by unit, and every unit's coordinates in psi."""

    names: tuple[str, ...]
    displacement: np.ndarray  # [U, N, 3] dm
    to_psi: np.ndarray  # [U, 100]; as many columns as the units have rank are used, the rest are 0

    def index(self, name: str) -> int:
        return self.names.index(name)


def arkit_target(mh: MakeHuman, name: str) -> np.ndarray:  # -> [N, 3] dm
    return mh.target(f"{FACE_UNITS}/{name}")


def _makehuman_units(mh: MakeHuman) -> dict[str, np.ndarray]:
    """MakeHuman's expression targets, averaged over the heads they exist for, symmetric ones split in two."""
    left = 1 / (1 + np.exp(-mh.vertices[:, :1] / SPLIT_WIDTH))  # [N, 1]
    names = {variant: mh.target_names(f"{MAKEHUMAN_UNITS}/{variant}") for variant in VARIANTS}
    units = {}
    for name in names["caucasian"]:
        if name == NOT_A_UNIT:
            continue
        versions = [mh.target(f"{MAKEHUMAN_UNITS}/{v}/{name}") for v in VARIANTS if name in names[v]]
        displacement = np.mean(versions, axis=0)
        if "left" in name or "right" in name:
            units[name] = displacement
        else:
            units[f"{name}-left"] = displacement * left
            units[f"{name}-right"] = displacement * (1 - left)
    return units


def _activations(names: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:  # -> [A, U] in [0, 1]
    """Sparse, mostly symmetric combinations such as faces make."""
    rate = np.where(np.isin(names, SHAPE_UNITS), ARKIT_RATE, MAKEHUMAN_RATE)
    active = rng.random((N_ACTIVATIONS, len(names))) < rate
    weights = active * rng.beta(1.2, 1.5, active.shape)
    for i, name in enumerate(names):
        mirrored = name.replace("Left", "Right").replace("left", "right")
        if mirrored != name:
            same = rng.random(N_ACTIVATIONS) < SYMMETRIC_SHARE
            weights[same, names.index(mirrored)] = weights[same, i]
    return weights


def load_units(mh: MakeHuman, skin: np.ndarray, seed: int) -> ExpressionUnits:
    """Read the units and find psi's basis on the vertices ``skin [S]``.

    The basis holds the principal directions (uncentred, so that neutral stays at 0) of plausible activations, scaled
    to unit variance of psi; it spans the units exactly. It depends on the targets and the cut of the skin alone, so
    psi keeps its meaning when other parts of the head change.
    """
    displacement = {name: arkit_target(mh, name) for name in SHAPE_UNITS} | _makehuman_units(mh)
    names = tuple(displacement)
    stacked = np.stack(list(displacement.values()))  # [U, N, 3]
    flat = stacked[:, skin].reshape(len(names), -1)
    weights = _activations(names, np.random.default_rng(seed))
    second_moment = weights.T @ weights / len(weights)
    root = np.linalg.cholesky(second_moment + 1e-9 * np.eye(len(names)))
    _, sizes, directions = np.linalg.svd(root.T @ flat, full_matrices=False)
    directions *= np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(1)])[:, None]
    rank = int((sizes > 1e-6 * sizes[0]).sum())
    to_psi = np.zeros((len(names), N_EXPRESSION))
    to_psi[:, :rank] = flat @ directions[:rank].T / sizes[:rank]
    # Units that leave the skin alone (tongueOut) get coordinates of their own.
    for k, unit in enumerate(np.flatnonzero(~flat.any(axis=1))):
        to_psi[unit, rank + k] = UNIT_LENGTH
    return ExpressionUnits(names, stacked, to_psi)


def psi_directions(units: ExpressionUnits, displacement: np.ndarray) -> np.ndarray:  # [U, V, 3] -> [V, 3, 100]
    """The ``shapedirs`` that give every unit its ``displacement`` at the unit's own psi."""
    solve = np.linalg.pinv(units.to_psi)  # [100, U]
    return np.einsum("ku,uvd->vdk", solve, displacement, optimize=True)


def arkit_to_psi(units: ExpressionUnits) -> np.ndarray:  # -> [52, 100]
    """Psi of each ARKit unit; 0 for those that are joint rotations."""
    return np.stack([units.to_psi[units.index(n)] if n in units.names else np.zeros(N_EXPRESSION) for n in ARKIT_NAMES])
