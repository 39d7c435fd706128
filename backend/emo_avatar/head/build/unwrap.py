"""Flattens a surface without flips and with little distortion, given how large each triangle should be in the plane.

Tutte's embedding is the start; the symmetric Dirichlet energy is then minimised with the reweighted proxies of
Rabinovich et al., "Scalable locally injective mappings" (SLIM, 2017).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve

from emo_avatar.head.build.topology import boundary_loops

MAX_STEPS = 150
TOLERANCE = 1e-5  # relative decrease of the energy at which to stop
HOLE_WEIGHT = 0.02  # share of the energy that the closed holes count; enough to keep them open
PROXIMAL = 1e-5  # keeps the linear systems regular; moves nothing at convergence


def _close_holes(vertices: np.ndarray, faces: np.ndarray, holes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Fans over inner boundaries, each round a new vertex at its centre."""
    fans = [
        np.stack([np.roll(hole, -1), hole, np.full(len(hole), len(vertices) + k)], 1) for k, hole in enumerate(holes)
    ]
    hubs = [vertices[hole].mean(0, keepdims=True) for hole in holes]
    return np.concatenate([vertices, *hubs]), np.concatenate([faces, *fans])


def _tutte(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:  # [V, 3], [F, 3] -> [V, 2]
    """A disc-like surface in the unit disc: its boundary by arc length, other vertices the mean of their neighbours."""
    (rim,) = boundary_loops(faces)
    length = np.linalg.norm(vertices[np.roll(rim, -1)] - vertices[rim], axis=1)
    angle = 2 * np.pi * np.cumsum(length) / length.sum()
    rows, columns = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    adjacency = sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(vertices),) * 2)
    adjacency = ((adjacency + adjacency.T) > 0).astype(float)
    laplacian = (sparse.diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency).tocsr()
    uv = np.zeros((len(vertices), 2))
    uv[rim] = np.stack([np.cos(angle), np.sin(angle)], 1)
    inner = np.setdiff1d(np.arange(len(vertices)), rim)
    uv[inner] = spsolve(laplacian[inner][:, inner].tocsc(), -laplacian[inner][:, rim] @ uv[rim])
    return uv


def _gradient(vertices: np.ndarray, faces: np.ndarray) -> tuple[sparse.csr_matrix, sparse.csr_matrix, np.ndarray]:
    """Operators from vertex values to their derivatives along two axes in each triangle's plane, and triangle areas."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    length = np.linalg.norm(b - a, axis=1)
    x_axis = (b - a) / length[:, None]
    cx = ((c - a) * x_axis).sum(1)
    cy = np.linalg.norm(c - a - cx[:, None] * x_axis, axis=1)
    area = length * cy / 2
    rows = np.repeat(np.arange(len(faces)), 3)
    shape = (len(faces), len(vertices))
    dx = np.stack([-1 / length, 1 / length, np.zeros_like(cx)], 1)
    dy = np.stack([(cx - length) / (length * cy), -cx / (length * cy), 1 / cy], 1)
    columns = faces.ravel()
    return (
        sparse.csr_matrix((dx.ravel(), (rows, columns)), shape=shape),
        sparse.csr_matrix((dy.ravel(), (rows, columns)), shape=shape),
        area,
    )


def _energy(jacobian: np.ndarray, area: np.ndarray) -> float:  # [F, 2, 2], [F]
    determinant = np.linalg.det(jacobian)
    if determinant.min() <= 0:
        return np.inf
    squared = (jacobian**2).sum((1, 2))
    return float((area * squared * (1 + 1 / determinant**2)).sum())


def _largest_step(uv: np.ndarray, direction: np.ndarray, faces: np.ndarray) -> float:
    """How far the vertices can move before a triangle collapses (smallest positive root of its area)."""
    e1, e2 = (uv[faces[:, k]] - uv[faces[:, 0]] for k in (1, 2))
    d1, d2 = (direction[faces[:, k]] - direction[faces[:, 0]] for k in (1, 2))

    def cross(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]

    a, b, c = cross(d1, d2), cross(e1, d2) + cross(d1, e2), cross(e1, e2)
    discriminant = np.sqrt(np.maximum(b * b - 4 * a * c, 0))
    q = -0.5 * (b + np.where(b >= 0, discriminant, -discriminant))
    with np.errstate(divide="ignore", invalid="ignore"):
        roots = np.stack([q / a, c / q])
    real = (b * b - 4 * a * c >= 0) & (roots > 0) & np.isfinite(roots)
    return float(np.where(real, roots, np.inf).min())


def unwrap(vertices: np.ndarray, faces: np.ndarray, magnification: np.ndarray) -> np.ndarray:
    """Flatten ``vertices [V, 3]``, ``faces [F, 3]`` (one piece with at least one boundary) to ``[V, 2]``, lengths as
    in 3D.

    ``magnification [F]`` is how many times larger than in space each triangle should become.
    """
    n_vertices, n_faces = len(vertices), len(faces)
    holes = boundary_loops(faces)[1:]
    vertices, faces = _close_holes(vertices, faces, holes)
    magnification = np.append(magnification, np.ones(len(faces) - n_faces))
    dx, dy, area = _gradient(vertices, faces)
    dx, dy = (sparse.diags(1 / magnification) @ d for d in (dx, dy))
    area = area * magnification**2
    area[n_faces:] *= HOLE_WEIGHT
    uv = _tutte(vertices, faces)
    uv *= np.sqrt(area.sum() / np.pi)

    def jacobian(uv: np.ndarray) -> np.ndarray:  # [F, 2, 2]
        return np.stack([dx @ uv, dy @ uv], 2)

    if np.linalg.det(jacobian(uv)).mean() < 0:
        uv = uv * [-1, 1]
    energy = _energy(jacobian(uv), area)
    if not np.isfinite(energy):
        raise ValueError("The surface cannot be flattened: its start has flipped triangles.")
    for _ in range(MAX_STEPS):
        u, s, vt = np.linalg.svd(jacobian(uv))
        nearest = u @ vt  # determinants are positive, so these are rotations
        # Derivative of s^2 + s^-2 over that of (s - 1)^2: the proxy has the energy's gradient.
        stretch = np.sqrt((s + 1) * (s**2 + 1) / s**3)
        weight = np.einsum("fik,fk,fjk->fij", u, stretch, u)  # [F, 2, 2]
        root = np.sqrt(area)
        rows, goals = [], []
        for i in range(2):
            for d, axis in ((dx, 0), (dy, 1)):
                rows.append(sparse.hstack([sparse.diags(root * weight[:, i, j]) @ d for j in range(2)]))
                goals.append(root * (weight[:, i] * nearest[:, :, axis]).sum(1))
        system = sparse.vstack(rows).tocsr()
        flat = uv.T.ravel()
        normal = system.T @ system + PROXIMAL * area.mean() * sparse.identity(len(flat))
        solution = spsolve(normal.tocsc(), system.T @ np.concatenate(goals) + PROXIMAL * area.mean() * flat)
        direction = solution.reshape(2, -1).T - uv
        step = min(1.0, 0.8 * _largest_step(uv, direction, faces))
        while (new_energy := _energy(jacobian(uv + step * direction), area)) > energy:
            step /= 2
            if step < 1e-8:
                return uv[:n_vertices]
        uv, previous, energy = uv + step * direction, energy, new_energy
        if previous - energy < TOLERANCE * energy:
            break
    return uv[:n_vertices]
