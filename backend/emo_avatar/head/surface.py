"""Triangle surfaces: normals, and the point of a surface that is closest to another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

CANDIDATES = 48  # triangles looked at per point, nearest centroids first; ample where triangles are of similar size
TINY = 1e-30  # squared metres; below any area or length that float64 resolves on a head


@dataclass(frozen=True)
class SurfacePoints:
    """N places on a surface."""

    faces: np.ndarray  # [N] int
    barycentric: np.ndarray  # [N, 3]
    distance: np.ndarray  # [N] metres from the query; infinite where no triangle faced the right way

    def of(self, values: np.ndarray, faces: np.ndarray) -> np.ndarray:  # [V, ...], [F, 3] -> [N, ...]
        """Values of the vertices, interpolated at the places."""
        corners = values[faces[self.faces]]  # [N, 3, ...]
        return np.einsum("nb,nb...->n...", self.barycentric, corners)


class Surface:
    """A triangle mesh that can be asked for its closest points."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray) -> None:  # [V, 3], [F, 3]
        self.faces = faces
        self.corners = vertices[faces].astype(np.float64)  # [F, 3, 3]
        self.normals = _unit(face_normals(vertices, faces))  # [F, 3]
        self._tree = cKDTree(self.corners.mean(1))

    def closest(
        self,
        points: np.ndarray,  # [N, 3]
        normals: np.ndarray | None = None,  # [N, 3] unit; only triangles that face the same way are taken
        min_cosine: float = 0.3,
    ) -> SurfacePoints:
        nearby = self._tree.query(points, k=min(CANDIDATES, len(self.faces)))[1].reshape(len(points), -1)  # [N, K]
        corners = self.corners[nearby]
        barycentric = _closest_on_triangles(points[:, None], corners)  # [N, K, 3]
        distance2 = ((np.einsum("nkb,nkbc->nkc", barycentric, corners) - points[:, None]) ** 2).sum(-1)
        if normals is not None:
            distance2[np.einsum("nkc,nc->nk", self.normals[nearby], normals) < min_cosine] = np.inf
        best = distance2.argmin(1)
        row = np.arange(len(points))
        return SurfacePoints(nearby[row, best], barycentric[row, best], np.sqrt(distance2[row, best]))


def closest_points(
    points: np.ndarray,  # [N, 3]
    vertices: np.ndarray,  # [V, 3]
    faces: np.ndarray,  # [F, 3]
) -> tuple[np.ndarray, np.ndarray]:  # face [N] int, barycentric [N, 3]
    """The closest point of the surface to each point, as a triangle and a place on it."""
    found = Surface(vertices, faces).closest(points)
    return found.faces, found.barycentric


def face_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:  # [V, 3], [F, 3] -> [F, 3]
    """Normals of triangles, twice their area long."""
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    return np.cross(b - a, c - a)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:  # [V, 3], [F, 3] -> [V, 3]
    """Unit normals of vertices, weighted by the areas of their triangles."""
    total = np.zeros((len(vertices), 3))
    normals = face_normals(vertices, faces)
    for i in range(3):
        np.add.at(total, faces[:, i], normals)
    return _unit(total)


def boundary_vertices(faces: np.ndarray, n_vertices: int) -> np.ndarray:  # [F, 3] -> [V] bool
    """Vertices on an open edge of the mesh."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    mask = np.zeros(n_vertices, bool)
    mask[unique[counts == 1]] = True
    return mask


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.sqrt(np.maximum((vectors * vectors).sum(-1, keepdims=True), TINY))


def _closest_on_triangles(p: np.ndarray, corners: np.ndarray) -> np.ndarray:  # [..., 3], [..., 3, 3] -> [..., 3]
    """Barycentrics of the closest point: the foot of the perpendicular if it is inside, else the best of the edges."""
    a = corners[..., 0, :]
    ab, ac, ap = corners[..., 1, :] - a, corners[..., 2, :] - a, p - a
    d00, d01, d11 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    area = np.maximum(d00 * d11 - d01 * d01, TINY)
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    result = np.stack([1 - v - w, v, w], axis=-1)
    outside = (result < 0).any(-1)
    best = np.full(outside.shape, np.inf)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        start, edge = corners[..., i, :], corners[..., j, :] - corners[..., i, :]
        t = np.clip(((p - start) * edge).sum(-1) / np.maximum((edge * edge).sum(-1), TINY), 0, 1)
        distance = ((p - start - t[..., None] * edge) ** 2).sum(-1)
        better = outside & (distance < best)
        best = np.where(better, distance, best)
        on_edge = np.zeros_like(result)
        on_edge[..., i], on_edge[..., j] = 1 - t, t
        result = np.where(better[..., None], on_edge, result)
    return result
