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
WANDER = 1.2  # mm by which lines stray from the drawing
BROKEN = 0.45  # share of their depth that lines lose here and there
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
    x = np.linspace(0, 44, 12)
    sag = 2.2 * np.cos(x / 46 * 2 * np.pi)
    return [
        Fold(LEVEL, tuple(zip(x, y - sag, strict=True)), width, depth)
        for y, width, depth in ((33, 1.5, 0.7), (42, 1.8, 1), (50.5, 1.9, 1), (59, 1.7, 0.75))
    ]


def _crows_feet() -> list[Fold]:
    corner, folds = np.array([45.0, -1.0]), []
    for angle, length, depth in ((-44, 16, 0.6), (-24, 21, 0.9), (-4, 22, 1.0), (17, 20, 0.9), (38, 14, 0.55)):
        heading = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        folds.append(Fold(SLANTED, (tuple(corner + 5 * heading), tuple(corner + length * heading)), 1.0, depth))
    return folds


def _below_the_eye() -> list[Fold]:
    turn = np.radians(np.linspace(200, 330, 12))
    return [
        Fold(LEVEL, tuple(zip(29 + a * np.cos(turn), 1 + b * np.sin(turn), strict=True)), 1.2, depth)
        for a, b, depth in ((16, 10, 0.8), (20, 15, 0.6))
    ]


FOLDS = (
    *_forehead(),
    Fold(UPRIGHT, ((4.5, 10), (5.4, 19), (7.4, 31)), 1.5, 1.0),  # between the brows
    Fold(UPRIGHT, ((10.5, 17), (11.5, 22), (12, 27)), 1.5, 0.35),
    Fold(LEVEL, ((0, 8), (5, 8.5), (8, 10)), 1.4, 0.8),  # across the root of the nose
    Fold(LEVEL, ((0, 3.5), (5, 4), (8, 4.5)), 1.2, 0.7),
    *_crows_feet(),
    *_below_the_eye(),
    Fold(SLANTED, ((2.5, -0.5), (7, -3), (13, -8)), 1.1, 0.9),  # beside the bridge of the nose
    Fold(SLANTED, ((3, -5.5), (8, -8.5), (14, -14)), 1.2, 1.0),
    Fold(SLANTED, ((4, -11), (9, -14), (14, -20)), 1.2, 0.8),
    Fold(SLANTED, ((15, -29), (17.5, -35), (20.5, -42), (25, -50), (29.5, -58), (32, -68)), 2.3, 1.0),  # nose to mouth
    Fold(UPRIGHT, ((36, -50), (38.5, -60), (38, -71)), 2.4, 0.45),  # outside of a smile
    Fold(SLANTED, ((25.5, -69), (27.5, -76), (28, -85)), 1.8, 0.6),  # below the corners of the mouth
    Fold(LEVEL, ((0, -84.5), (9, -85), (16, -83)), 1.8, 0.7),  # under the lower lip
)
CHIN = (0.0, -95.0, 15.0)  # where the chin dimples: centre and radius


def draw_wrinkles(points: np.ndarray) -> np.ndarray:  # [N, 3] metres on the mean head -> [N, 3] in [0, 1]
    """How deep the skin can fold at points of the face, by the run of the fold."""
    stray = np.stack([value_noise(points, 0.011, 71, 2), value_noise(points, 0.011, 72, 2)], 1)
    flat = np.stack([np.abs(points[:, 0]), points[:, 1]], 1) / MM + WANDER * stray
    depth = np.zeros((len(points), 3))
    for number, fold in enumerate(FOLDS):
        line = np.array(fold.points)
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
        along = np.arange(0, length[-1], 0.25)
        fine = np.stack([np.interp(along, length, line[:, c]) for c in (0, 1)], 1)
        distance, nearest = cKDTree(fine).query(flat, distance_upper_bound=5 * fold.width)
        hit = np.isfinite(distance)
        share = nearest[hit] / len(fine)
        tapered = np.minimum(1, 4 * np.minimum(share + 0.1, 1.05 - share))
        broken = 1 - BROKEN * np.clip(0.5 + value_noise(points[hit], 0.014, 74 + number, 2), 0, 1)
        valley = fold.depth * tapered * broken * np.exp(-0.5 * (distance[hit] / fold.width) ** 2)
        depth[hit, fold.run] = np.maximum(depth[hit, fold.run], valley)
    from_chin = np.linalg.norm(flat - CHIN[:2], axis=1) / CHIN[2]
    dimple = np.clip(1 - cells(points, 0.0048, 73)[0] / 0.55, 0, 1) * np.exp(-(from_chin**2) * 2)
    depth[:, SLANTED] = np.maximum(depth[:, SLANTED], 0.7 * dimple)
    return depth * (points[:, 2:] > FRONT)
