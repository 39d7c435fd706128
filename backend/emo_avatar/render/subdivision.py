"""One level of Phong tessellation (Boubekeur and Alexa 2008): a finer mesh with round silhouettes, for drawing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from emo_avatar.head.data import HeadData

ROUNDNESS = 0.75  # 0: edges stay straight, 1: fully between the tangent planes


@dataclass(frozen=True)
class Tessellation:
    """How a head's triangles are split into four each, eyes, lashes and teeth left as they are."""

    edges: np.ndarray  # [E, 2] the head's vertices between which each new vertex lies; these follow the head's own
    faces: np.ndarray  # [F', 3]
    uv: np.ndarray  # [T', 2]
    uv_faces: np.ndarray  # [F', 3]
    parent: np.ndarray  # [F'] the head's face that each face is part of

    def refine(self, attributes: np.ndarray) -> np.ndarray:  # [V, C] -> [V', C]
        """Attributes of the head's vertices on the finer mesh."""
        return np.concatenate([attributes, attributes[self.edges].mean(1)])

    def smooth(self, vertices: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``[V, 3]`` and unit ``[V, 3]`` on the finer mesh, new vertices pulled towards the tangent planes of their
        edge's ends.
        """
        a, b = self.edges.T
        middle = (vertices[a] + vertices[b]) / 2
        bent = middle.copy()
        for end in (a, b):
            above = np.einsum("ec,ec->e", middle - vertices[end], normals[end])  # over the tangent plane
            bent -= (ROUNDNESS / 2) * above[:, None] * normals[end]
        between = normals[a] + normals[b]
        between /= np.maximum(np.linalg.norm(between, axis=1, keepdims=True), 1e-9)
        return np.concatenate([vertices, bent]), np.concatenate([normals, between])


def _split(faces: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Edges ``[E, 2]`` and four faces for each of ``faces [F, 3]``; edge k has vertex ``n + k`` in its middle."""
    ends = np.stack([faces, np.roll(faces, -1, axis=1)], -1)  # [F, 3, 2]
    key = ends.min(-1).astype(np.int64) * n + ends.max(-1)
    unique, middle = np.unique(key, return_inverse=True)
    middle = n + middle.reshape(-1, 3)
    a, b, c = faces.T
    ab, bc, ca = middle.T
    split = np.stack([[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]])  # [4, 3, F]
    return np.stack([unique // n, unique % n], 1), split.transpose(2, 0, 1).reshape(-1, 3)


@lru_cache(maxsize=2)
def tessellation(head: HeadData) -> Tessellation:
    """Of the skin, or of a head without parts as a whole."""
    if "skin" not in head.part_names:
        soft = np.ones(len(head.faces), bool)
    else:
        soft = head.face_part == head.part_names.index("skin")
    edges, faces = _split(head.faces[soft], head.n_vertices)
    uv, uv_faces = head.uv, np.empty((0, 3), np.int32)
    if len(head.uv) > 0:
        uv_edges, uv_split = _split(head.uv_faces[soft], len(head.uv))
        uv = np.concatenate([head.uv, head.uv[uv_edges].mean(1)])
        uv_faces = np.concatenate([uv_split, head.uv_faces[~soft]])
    kept = np.flatnonzero(~soft)
    return Tessellation(
        edges,
        np.concatenate([faces, head.faces[kept]]).astype(np.int32),
        uv.astype(np.float32),
        uv_faces.astype(np.int32),
        np.concatenate([np.repeat(np.flatnonzero(soft), 4), kept]),
    )


@lru_cache(maxsize=2)
def as_it_is(head: HeadData) -> Tessellation:
    """No finer than the head itself: for pictures in which a triangle is no larger than a few pixels."""
    return Tessellation(
        np.empty((0, 2), np.int64),
        head.faces.astype(np.int32),
        head.uv.astype(np.float32),
        head.uv_faces.astype(np.int32),
        np.arange(len(head.faces)),
    )
