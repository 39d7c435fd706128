"""Lids that must meet, on a head whose eyes are of another size than the open head's.

Deformation transfer keeps how far lids travel, not that they close. Places that touch in the open head's blink are
found on the other head, and what they lack of touching is held against the fit of its blink.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from emo_avatar.head.data import HeadData
from emo_avatar.head.surface import Surface, SurfacePoints

TOUCHING = 0.0015  # metres between lids that are closed
OPEN = 0.003  # metres between lids that were open before


@dataclass(frozen=True)
class ContactPairs:
    """P pairs of places of a surface that a motion brings together."""

    upper: SurfacePoints  # [P] on the target's skin
    lower: SurfacePoints  # [P]
    closed_gap: np.ndarray  # [P, 3] metres from lower to upper place that remain when closed

    def between(self, values: np.ndarray, faces: np.ndarray) -> np.ndarray:  # [V, ...], [F, 3] -> [P, ...]
        """Values at the upper places less those at the lower ones."""
        return self.upper.of(values, faces) - self.lower.of(values, faces)

    def closing_motion(self, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:  # [V, 3], [F, 3] -> [P, 3]
        """How the upper places must move against the lower ones to close, from where the vertices are."""
        return self.closed_gap - self.between(vertices, faces)


def lid_contacts(
    source: HeadData,
    rest: np.ndarray,  # [Vs, 3] the open head's vertices
    closed: np.ndarray,  # [Vs, 3] with one eye or both shut
    source_on_target: np.ndarray,  # [Vs, 3] where they lie on the target
    target_surface: Surface,
    to_target: np.ndarray,  # [3, 3] scale and rotation from the open head to the target
) -> ContactPairs | None:
    """Pairs of the open head's lids that meet when they close, on the target; None when none do."""
    outer = ~source.regions["eye_sockets"]
    upper = np.flatnonzero(source.regions["upper_lids"] & outer)
    lower = np.flatnonzero(source.regions["lower_lids"] & outer)
    if not len(upper) or not len(lower):
        return None
    distance, nearest = cKDTree(closed[lower]).query(closed[upper])
    partner = lower[nearest]
    meet = (distance < TOUCHING) & (np.linalg.norm(rest[upper] - rest[partner], axis=1) > OPEN)
    if not meet.any():
        return None
    upper, partner = upper[meet], partner[meet]
    return ContactPairs(
        upper=target_surface.closest(source_on_target[upper]),
        lower=target_surface.closest(source_on_target[partner]),
        closed_gap=(closed[upper] - closed[partner]) @ to_target.T,
    )
