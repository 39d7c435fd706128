"""How the surface of a mesh turns and stretches around each vertex, as an operator that is linear in the vertices.

A vertex of its own has a position but no orientation. Its frame comes from the deformation gradient of the triangles
around it (Sumner and Popovic, "Deformation transfer for triangle meshes", 2004), averaged by area and smoothed once so
that single folded triangles do not spin their splats. Of the gradient only two directions in the surface are needed;
the derivative along either is a fixed combination of neighbouring vertices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

_TINY = 1e-20


@dataclass(frozen=True)
class SurfaceFrames:
    """Tangent derivatives at the first M vertices of a mesh, exact at rest: there they are the unit tangents."""

    pointers: np.ndarray  # [M + 1] int32: entries of vertex i are pointers[i] to pointers[i + 1]
    neighbours: np.ndarray  # [E] int32 vertex of each entry
    derivatives: np.ndarray  # [E, 2] float32, 1 / metres: weights of that vertex in the two tangents
    rest: np.ndarray  # [M, 3, 3] float32, columns: two unit tangents and the normal at rest


def surface_frames(vertices: np.ndarray, faces: np.ndarray, count: int) -> SurfaceFrames:
    """Frames of the first ``count`` of ``vertices [V, 3]``, which triangles ``faces [F, 3]`` surround."""
    v = vertices.astype(np.float64)
    corners = v[faces]  # [F, 3, 3]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    double_area = np.linalg.norm(cross, axis=1)
    solid = double_area > 1e-12
    normals = cross / np.maximum(double_area, _TINY)[:, None]
    # The gradient of a corner's hat function lies in the triangle, square to the opposite edge.
    opposite = corners[:, [2, 0, 1]] - corners[:, [1, 2, 0]]
    hats = np.where(solid[:, None, None], np.cross(normals[:, None], opposite), 0.0)
    hats /= np.maximum(double_area, _TINY)[:, None, None]

    f, n = len(faces), len(v)
    around = sp.csr_matrix(
        (np.repeat(np.where(solid, double_area, 0.0), 3), (faces.ravel(), np.repeat(np.arange(f), 3))), (n, f)
    )
    average = sp.diags(1.0 / np.maximum(_row_sums(around), _TINY)) @ around  # [n, f]
    smooth = 0.5 * (sp.identity(n) + _neighbour_mean(faces, n))
    spread = (smooth.tocsr()[:count] @ average).tocsr()  # [count, f]
    vertex_normals = _unit(spread @ normals)  # [count, 3]
    tangents = _perpendicular(vertex_normals)  # [count, 3, 2]

    # One complex matrix carries both tangents, so that they share a sparsity pattern.
    rows = np.repeat(np.arange(f), 3)
    operator = sp.csr_matrix((count, n), dtype=np.complex128)
    for axis in range(3):
        gradient = sp.csr_matrix((hats[:, :, axis].ravel(), (rows, faces.ravel())), (f, n))
        direction = tangents[:, axis, 0] + 1j * tangents[:, axis, 1]
        operator = operator + sp.diags(direction) @ (spread @ gradient)
    operator = operator.tocsr()
    at_rest = operator @ v.astype(np.complex128)  # [count, 3]
    pair = np.stack([at_rest.real, at_rest.imag], axis=2)  # [count, 3, 2]
    rest, correction = _orthonormal(pair, vertex_normals)
    owner = np.repeat(np.arange(count), np.diff(operator.indptr))
    derivatives = np.stack([operator.data.real, operator.data.imag], axis=1)  # [E, 2]
    derivatives = np.einsum("ej,ejk->ek", derivatives, correction[owner])
    return SurfaceFrames(
        operator.indptr.astype(np.int32),
        operator.indices.astype(np.int32),
        derivatives.astype(np.float32),
        rest.astype(np.float32),
    )


def _neighbour_mean(faces: np.ndarray, n: int) -> sp.csr_matrix:  # [n, n]
    """The average over the vertices at the other ends of a vertex's edges."""
    ends = np.concatenate([faces, np.roll(faces, 1, axis=1)]).ravel()
    others = np.concatenate([np.roll(faces, 1, axis=1), faces]).ravel()
    edges = sp.csr_matrix((np.ones(len(ends)), (ends, others)), (n, n))
    edges.data[:] = 1.0
    return sp.diags(1.0 / np.maximum(_row_sums(edges), 1.0)) @ edges


def _row_sums(matrix: sp.csr_matrix) -> np.ndarray:  # [rows]
    return np.asarray(matrix.sum(axis=1)).ravel()


def _perpendicular(normals: np.ndarray) -> np.ndarray:  # [M, 3] -> [M, 3, 2]
    """Two unit vectors square to each normal and to each other."""
    axis = np.eye(3)[np.abs(normals).argmin(axis=1)]
    first = _unit(np.cross(normals, axis))
    return np.stack([first, np.cross(normals, first)], axis=2)


def _orthonormal(pair: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The frame closest to two tangents ``[M, 3, 2]``, ``[M, 3, 3]``, and the ``[M, 2, 2]`` that takes them to it.

    Vertices without area get an arbitrary frame and derivatives of zero.
    """
    u, s, vt = np.linalg.svd(pair, full_matrices=False)
    good = s[:, 1] > 1e-6
    inverse = (np.swapaxes(vt, 1, 2) / np.maximum(s, 1e-6)[:, None, :]) @ vt
    correction = np.where(good[:, None, None], inverse, 0.0)
    tangents = np.where(good[:, None, None], u @ vt, _perpendicular(normals))
    third = np.cross(tangents[:, :, 0], tangents[:, :, 1])
    return np.concatenate([tangents, third[:, :, None]], axis=2), correction


def _unit(vectors: np.ndarray) -> np.ndarray:  # [..., 3]
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(length > _TINY, vectors / np.maximum(length, _TINY), np.array([0.0, 0.0, 1.0]))
