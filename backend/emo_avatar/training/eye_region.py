"""How far eyes are open and brows stand above them, and how to exaggerate an emotion without burying the eyes.

A face that does twice what people do reads better without their wrinkles, but brows that come down twice as far hide
the eyes, and then say nothing. So lids and brows are held near the heights that the photographs show; there the
landmarker can be trusted, unlike elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import lsq_linear

# Landmarks above and below, right eye then left: lids at three places; brows at their inner end, middle and outer end
# over the corners of the eyes, which hardly move. Brows are the middle of their upper and lower rim.
_LIDS = ((159, 145), (158, 153), (160, 144)), ((386, 374), (385, 380), (387, 373))
_BROWS = (
    (((107, 55), (133,)), ((105, 52), (33, 133)), ((70, 46), (33,))),
    (
        ((336, 285), (362,)),
        ((334, 282), (263, 362)),
        ((300, 276), (263,)),
    ),
)
STIFFNESS = 50.0  # of the bounds, against units: a hundredth of a height weighs as much as half a unit


def heights(points: np.ndarray) -> np.ndarray:  # [478, 2+] y up -> [4]
    """Opening of the eyes; height of the brows' inner end, middle and outer end above the eyes. In the points' unit."""
    y = points[:, 1]
    opening = np.mean([y[upper] - y[lower] for side in _LIDS for upper, lower in side])
    brows = np.mean([[y[list(brow)].mean() - y[list(eye)].mean() for brow, eye in side] for side in _BROWS], axis=0)
    return np.array([opening, *brows])


def height_rates(
    landmarks: Callable[[np.ndarray], np.ndarray],  # ARKit weights [52] -> [478, 3], linear in them
    units: np.ndarray,  # [S, 52]
) -> np.ndarray:  # [4, S]
    """By which share of its height at rest each unit changes each height."""
    rest = heights(landmarks(np.zeros(units.shape[1], np.float32)))
    return np.stack([heights(landmarks(unit.astype(np.float32))) / rest - 1 for unit in units], axis=1)


def with_clear_eyes(
    mixture: np.ndarray,  # [S]
    at_least: np.ndarray,  # [4] of `heights`, as shares of those at rest
    rates: np.ndarray,  # [4, S]
    most: np.ndarray,  # [S] of each unit; equal to the mixture's own where it may only give way
) -> np.ndarray:  # [S]
    """The closest mixture whose eyes open and whose brows stand at least so high, as far as its units can do that."""
    count, bounds = len(mixture), len(at_least)
    # The last unknowns are by how much each height exceeds its bound.
    design = np.block([[np.eye(count), np.zeros((count, bounds))], [STIFFNESS * rates, -STIFFNESS * np.eye(bounds)]])
    wanted = np.concatenate([mixture, STIFFNESS * (at_least - 1)])
    upper = np.concatenate([np.maximum(most, mixture) + 1e-9, np.full(bounds, np.inf)])
    return lsq_linear(design, wanted, (0, upper), method="bvls").x[:count]
