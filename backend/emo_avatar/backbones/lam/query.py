"""The points that LAM asks about: a head's vertices and, once subdivided, the middles of its edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emo_avatar.head.data import HeadData

UNASKED = ("upper_teeth", "lower_teeth", "tongue", "lashes")  # parts that LAM's own head does not have


@dataclass(frozen=True)
class Queries:
    """N points on a head's surface; of FLAME, subdivided once, 20,018."""

    corners: np.ndarray  # [N, 2] int32 vertices whose middle each point is; of a vertex, twice itself
    face: np.ndarray  # [N] int32 a triangle that the point lies on

    def __len__(self) -> int:
        return len(self.face)

    def points(self, vertices: np.ndarray) -> np.ndarray:  # [V, 3] -> [N, 3]
        return vertices[self.corners].mean(1, dtype=np.float32)


def queries(head: HeadData, subdivisions: int) -> Queries:
    """Points of a head, its vertices first. ``subdivisions`` is 0 or 1."""
    if subdivisions not in (0, 1):
        raise ValueError(f"A head is subdivided once or not at all, not {subdivisions} times.")
    unasked = [i for i, name in enumerate(head.part_names) if name in UNASKED]
    asked = np.flatnonzero(~np.isin(head.face_part, unasked))
    faces = head.faces[asked]
    vertices, first = np.unique(faces, return_index=True)
    corners, face = np.stack([vertices, vertices], axis=1), asked[first // 3]
    if subdivisions:
        edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        edges, first = np.unique(edges, axis=0, return_index=True)
        corners, face = np.concatenate([corners, edges]), np.concatenate([face, asked[first % len(faces)]])
    return Queries(corners.astype(np.int32), face.astype(np.int32))
