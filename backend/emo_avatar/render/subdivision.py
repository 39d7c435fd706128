"""One level of Phong tessellation: a finer mesh with round silhouettes, for drawing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emo_avatar.head.data import HeadData
from emo_avatar.render.mesh import vertex_normals

ROUNDNESS = 0.75  # 0: edges stay straight, 1: fully between the tangent planes


@dataclass(frozen=True)
class SmoothMesh:
    """A head's mesh with every triangle split into four, eyes, lashes and teeth as they are."""

    vertices: np.ndarray  # [V', 3]; the first V are the head's own
    normals: np.ndarray  # [V', 3] unit
    faces: np.ndarray  # [F', 3]
    uv: np.ndarray  # [T', 2]
    uv_faces: np.ndarray  # [F', 3]
    parent: np.ndarray  # [F'] the head's face that each face is part of
    edges: np.ndarray  # [E, 2] the head's vertices between which each new vertex lies

    def refine(self, attributes: np.ndarray) -> np.ndarray:  # [V, C] -> [V', C]
        """Attributes of the head's vertices on the finer mesh."""
        return np.concatenate([attributes, attributes[self.edges].mean(1)])


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


def smooth_mesh(head: HeadData, vertices: np.ndarray) -> SmoothMesh:
    """Round the skin: new vertices are pulled towards the tangent planes of their edge's ends.

    After Boubekeur and Alexa, "Phong tessellation" (2008).
    """
    normals = vertex_normals(vertices, head.faces)
    if "skin" not in head.part_names:
        soft = np.ones(len(head.faces), bool)
    else:
        soft = head.face_part == head.part_names.index("skin")
    edges, faces = _split(head.faces[soft], len(vertices))
    ends, end_normals = vertices[edges], normals[edges]  # [E, 2, 3]
    middle = ends.mean(1)
    above = ((middle[:, None] - ends) * end_normals).sum(-1, keepdims=True)  # [E, 2, 1] over each tangent plane
    bent = middle - ROUNDNESS * (above * end_normals).mean(1)
    between = end_normals.sum(1)
    between /= np.maximum(np.linalg.norm(between, axis=1, keepdims=True), 1e-9)
    has_uv = len(head.uv) > 0
    uv, uv_faces = head.uv, np.empty((0, 3), int)
    if has_uv:
        uv_edges, uv_split = _split(head.uv_faces[soft], len(head.uv))
        uv = np.concatenate([head.uv, head.uv[uv_edges].mean(1)])
        uv_faces = np.concatenate([uv_split, head.uv_faces[~soft]])
    kept = np.flatnonzero(~soft)
    return SmoothMesh(
        np.concatenate([vertices, bent]),
        np.concatenate([normals, between]),
        np.concatenate([faces, head.faces[kept]]),
        uv,
        uv_faces,
        np.concatenate([np.repeat(np.flatnonzero(soft), 4), kept]),
        edges,
    )
