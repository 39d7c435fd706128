"""Deformation transfer between two heads whose surfaces correspond.

Sumner and Popovic, "Deformation Transfer for Triangle Meshes", SIGGRAPH 2004: each triangle of the target deforms as
the triangle of the source at its place, which carries bends and stretches rather than positions. Their solve leaves
the place of the whole free; here it is held by the displacement itself, at scales above `BLEND_LENGTH`.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from emo_avatar.head.surface import TINY, face_normals

# Metres; below it the target follows the source's gradients, above it the source's displacements.
BLEND_LENGTH = 0.01


class DeformationTransfer:
    """Carries displacements of a source mesh over to a target mesh at rest."""

    def __init__(
        self,
        source_rest: np.ndarray,  # [Vs, 3] metres
        source_triangles: np.ndarray,  # [F, 3] vertices of the source triangle at the place of each target face
        target_rest: np.ndarray,  # [Vt, 3] metres
        target_faces: np.ndarray,  # [F, 3]
        rotation: np.ndarray,  # [3, 3] from the source's axes to the target's
    ) -> None:
        self._rotation = rotation
        self._source_triangles = source_triangles
        self._source_rest_inverse = np.linalg.inv(_frames(source_rest[source_triangles]))  # [F, 3, 3]
        gradient, self._planes, areas = _gradient(target_rest, target_faces)
        mass = np.bincount(target_faces.ravel(), np.repeat(areas / 3, 3), minlength=len(target_rest))
        self._divergence = gradient.T @ sparse.diags(np.repeat(areas, 3))  # [Vt, 3 F]
        # Vertices of no face have no mass; a token one keeps the system regular and leaves them where they are.
        self._hold = np.maximum(mass, TINY) / BLEND_LENGTH**2
        self._system = splu((self._divergence @ gradient + sparse.diags(self._hold)).tocsc())

    def __call__(
        self,
        source_moved: np.ndarray,  # [Vs, 3] the source's vertices after the deformation
        displacement: np.ndarray,  # [Vt, 3] the source's motion at the place of each target vertex, in target axes
    ) -> np.ndarray:  # [Vt, 3]
        """Displacement of the target's vertices."""
        deformation = _frames(source_moved[self._source_triangles]) @ self._source_rest_inverse
        change = self._rotation @ (deformation - np.eye(3)) @ self._rotation.T @ self._planes  # [F, 3, 3]
        by_axis = change.transpose(0, 2, 1).reshape(-1, 3)  # [3 F, 3], the gradient of each coordinate
        return self._system.solve(self._divergence @ by_axis + self._hold[:, None] * displacement)


def _frames(corners: np.ndarray) -> np.ndarray:  # [F, 3, 3] -> [F, 3, 3]
    """Two edges and the scaled normal of each triangle as columns, Sumner and Popovic's fourth vertex."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = np.cross(first, second)
    length = np.sqrt(np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), TINY))
    return np.stack([first, second, normal / length], axis=-1).astype(float)


def _gradient(
    vertices: np.ndarray, faces: np.ndarray
) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:  # [3 F, V], [F, 3, 3], [F]
    """Gradient operator of functions on a mesh, the projections onto the faces' planes, and the faces' areas."""
    normals = face_normals(vertices, faces)
    double_area = np.sqrt(np.maximum((normals**2).sum(1), TINY))
    unit = normals / double_area[:, None]
    rows, columns, values = [], [], []
    for i in range(3):
        opposite = vertices[faces[:, (i + 2) % 3]] - vertices[faces[:, (i + 1) % 3]]
        gradient = np.cross(unit, opposite) / double_area[:, None]  # of the hat function of corner i
        rows.append(np.arange(3 * len(faces)))
        columns.append(np.repeat(faces[:, i], 3))
        values.append(gradient.ravel())
    operator = sparse.coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(3 * len(faces), len(vertices)),
    ).tocsr()
    planes = np.eye(3) - unit[:, :, None] * unit[:, None, :]
    return operator, planes, double_area / 2
