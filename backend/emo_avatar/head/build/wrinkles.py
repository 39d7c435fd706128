"""Where skin folds when a face moves: lines drawn on the mean head, for the mesh view to deepen where skin is
compressed.

Coordinates are millimetres in the frontal plane of the mean head, x outwards from the middle, y up; both halves alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from emo_avatar.head.build.noise import cells, value_noise

MM = 1e-3
WANDER = 0.9  # mm by which lines stray from the drawing
FRONT = 0.035  # metres, z from which skin belongs to the face


# What deepens a fold, and the channel of the map in which it is drawn: skin shortened up and down, from side to side,
# or either way.
LEVEL, UPRIGHT, SLANTED = range(3)


@dataclass(frozen=True)
class Fold:
    """A line along which skin folds."""

    run: int  # LEVEL, UPRIGHT or SLANTED
    points: tuple[tuple[float, float], ...]
    width: float  # mm, standard deviation of the valley
    depth: float  # of the deepest fold


def _forehead() -> list[Fold]:
    """Level lines between brows and hairline, a little lower in the middle and at the temples."""
    x = np.linspace(0, 46, 12)
    sag = 1.5 * np.cos(x / 46 * 2 * np.pi)
    return [
        Fold(LEVEL, tuple(zip(x, y - sag, strict=True)), 1.2, depth)
        for y, depth in ((36, 0.7), (45, 1), (54, 1), (63, 0.7))
    ]


def _crows_feet() -> list[Fold]:
    corner, folds = np.array([45.0, -1.0]), []
    for angle, length, depth in ((-40, 14, 0.25), (-18, 17, 0.45), (4, 17, 0.45), (27, 13, 0.3)):
        heading = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        folds.append(Fold(SLANTED, (tuple(corner + 4 * heading), tuple(corner + length * heading)), 0.8, depth))
    return folds


def _below_the_eye() -> list[Fold]:
    turn = np.radians(np.linspace(200, 330, 12))
    return [
        Fold(LEVEL, tuple(zip(29 + a * np.cos(turn), 1 + b * np.sin(turn), strict=True)), 0.9, depth)
        for a, b, depth in ((16, 10, 0.7), (20, 15, 0.5))
    ]


FOLDS = (
    *_forehead(),
    Fold(UPRIGHT, ((4.5, 11), (5.5, 20), (8.0, 31)), 1.1, 1.0),  # between the brows
    Fold(LEVEL, ((0, 7), (5, 7.5), (9, 9)), 1.0, 0.7),  # across the root of the nose
    *_crows_feet(),
    *_below_the_eye(),
    Fold(SLANTED, ((3, -4), (12, -11)), 0.9, 0.7),  # beside the bridge of the nose
    Fold(SLANTED, ((4, -10), (13, -17)), 0.9, 0.6),
    Fold(SLANTED, ((16.5, -33), (19.5, -40), (24, -49), (28.5, -58), (31, -68)), 2.1, 0.9),  # from nose to mouth
    Fold(UPRIGHT, ((36, -50), (38.5, -60), (38, -71)), 2.2, 0.35),  # outside of a smile
    Fold(SLANTED, ((25.5, -69), (27.5, -76), (28, -85)), 1.6, 0.6),  # below the corners of the mouth
    Fold(LEVEL, ((0, -84.5), (9, -85), (16, -83)), 1.5, 0.6),  # under the lower lip
)
CHIN = (0.0, -95.0, 15.0)  # where the chin dimples: centre and radius


def draw_wrinkles(points: np.ndarray) -> np.ndarray:  # [N, 3] metres on the mean head -> [N, 3] in [0, 1]
    """How deep the skin can fold at points of the face, by the run of the fold."""
    stray = np.stack([value_noise(points, 0.011, 71, 2), value_noise(points, 0.011, 72, 2)], 1)
    flat = np.stack([np.abs(points[:, 0]), points[:, 1]], 1) / MM + WANDER * stray
    depth = np.zeros((len(points), 3))
    for fold in FOLDS:
        line = np.array(fold.points)
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
        along = np.arange(0, length[-1], 0.25)
        fine = np.stack([np.interp(along, length, line[:, c]) for c in (0, 1)], 1)
        distance, nearest = cKDTree(fine).query(flat, distance_upper_bound=5 * fold.width)
        hit = np.isfinite(distance)
        share = nearest[hit] / len(fine)
        tapered = np.minimum(1, 4 * np.minimum(share + 0.1, 1.05 - share))
        valley = fold.depth * tapered * np.exp(-0.5 * (distance[hit] / fold.width) ** 2)
        depth[hit, fold.run] = np.maximum(depth[hit, fold.run], valley)
    from_chin = np.linalg.norm(flat - CHIN[:2], axis=1) / CHIN[2]
    dimple = np.clip(1 - cells(points, 0.0048, 73)[0] / 0.55, 0, 1) * np.exp(-(from_chin**2) * 2)
    depth[:, SLANTED] = np.maximum(depth[:, SLANTED], 0.7 * dimple)
    return depth * (points[:, 2:] > FRONT)
