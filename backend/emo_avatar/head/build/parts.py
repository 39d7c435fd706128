"""The parts of the head, each a linear function of MakeHuman's vertices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from emo_avatar.head.build.makehuman import MakeHuman
from emo_avatar.head.build.topology import triangulate


@dataclass(frozen=True)
class Part:
    """One part: its own topology, and how its vertices follow the base mesh.

    ``carrier @ base_vertices + offset`` are the part's vertices for any shape of the base mesh, so identity,
    expression and skinning carry over to parts that MakeHuman does not have.
    """

    name: str
    carrier: sparse.csr_matrix  # [n, N], rows sum to 1
    offset: np.ndarray  # [n, 3] dm
    quads: np.ndarray  # [q, 4] into the part's vertices; last index repeated for a triangle
    uv: np.ndarray  # [t, 2]
    uv_quads: np.ndarray  # [q, 4]
    rigid_joint: int | None = None  # moves with this joint alone; None: deforms as the base mesh around it

    def __len__(self) -> int:
        return self.carrier.shape[0]


def select(indices: np.ndarray, n_base: int) -> sparse.csr_matrix:  # [n] -> [n, N]
    """A carrier that takes vertices of the base mesh as they are."""
    n = len(indices)
    return sparse.csr_matrix((np.ones(n), (np.arange(n), indices)), shape=(n, n_base))


def ride_affinely(points: np.ndarray, anchors: np.ndarray, base: np.ndarray) -> sparse.csr_matrix:
    """A carrier by which ``points [n, 3]`` follow the best affine motion of the base vertices ``anchors [m]``.

    Least squares for the affine map that takes the anchors' rest positions to where they are, applied to the points.
    """
    homogeneous = np.c_[base[anchors], np.ones(len(anchors))]  # [m, 4]
    weights = np.c_[points, np.ones(len(points))] @ np.linalg.pinv(homogeneous)  # [n, m]
    rows = np.repeat(np.arange(len(points)), len(anchors))
    columns = np.tile(anchors, len(points))
    return sparse.csr_matrix((weights.ravel(), (rows, columns)), shape=(len(points), len(base)))


def ride_nearest(roots: np.ndarray, skin: np.ndarray, base: np.ndarray, neighbours: int) -> sparse.csr_matrix:
    """A carrier by which points move as the mean of the ``skin [s]`` vertices nearest to their ``roots [n, 3]``."""
    _, nearest = cKDTree(base[skin]).query(roots, neighbours)
    rows = np.repeat(np.arange(len(roots)), neighbours)
    weights = np.full(nearest.size, 1 / neighbours)
    return sparse.csr_matrix((weights, (rows, skin[nearest].ravel())), shape=(len(roots), len(base)))


def from_base(name: str, mh: MakeHuman, quad_indices: np.ndarray, offset: tuple[float, float, float]) -> Part:
    """A part made of quads of the base mesh, shifted by ``offset`` (dm); its UVs are scaled into the unit square."""
    vertices, quads = np.unique(mh.quads[quad_indices], return_inverse=True)
    uv, uv_quads = np.unique(mh.uv_quads[quad_indices], return_inverse=True)
    return Part(
        name,
        select(vertices, len(mh.vertices)),
        np.tile(offset, (len(vertices), 1)),
        quads.reshape(-1, 4),
        (mh.uv[uv] - mh.uv[uv].min(0)) / np.ptp(mh.uv[uv], axis=0).max(),
        uv_quads.reshape(-1, 4),
    )


@dataclass(frozen=True)
class Assembly:
    """All parts in one mesh."""

    parts: tuple[Part, ...]
    carrier: sparse.csr_matrix  # [V, N]
    offset: np.ndarray  # [V, 3] dm
    quads: np.ndarray  # [Q, 4]
    faces: np.ndarray  # [F, 3]
    uv: np.ndarray  # [T, 2]
    uv_quads: np.ndarray  # [Q, 4]
    uv_faces: np.ndarray  # [F, 3]
    vertex_part: np.ndarray  # [V] int8
    face_part: np.ndarray  # [F] int8

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(part.name for part in self.parts)

    def of(self, name: str) -> np.ndarray:  # [V] bool
        return self.vertex_part == self.names.index(name)


def assemble(parts: list[Part]) -> Assembly:
    """Stack the parts in the order given."""
    vertex_start = np.cumsum([0] + [len(p) for p in parts])
    uv_start = np.cumsum([0] + [len(p.uv) for p in parts])
    quads = np.concatenate([p.quads + s for p, s in zip(parts, vertex_start, strict=False)])
    uv_quads = np.concatenate([p.uv_quads + s for p, s in zip(parts, uv_start, strict=False)])
    quad_part = np.repeat(np.arange(len(parts), dtype=np.int8), [len(p.quads) for p in parts])
    faces, uv_faces, face_part = triangulate(quads, uv_quads, quad_part)
    return Assembly(
        parts=tuple(parts),
        carrier=sparse.vstack([p.carrier for p in parts]).tocsr(),
        offset=np.concatenate([p.offset for p in parts]),
        quads=quads,
        faces=faces,
        uv=np.concatenate([p.uv for p in parts]),
        uv_quads=uv_quads,
        uv_faces=uv_faces,
        vertex_part=np.repeat(np.arange(len(parts), dtype=np.int8), [len(p) for p in parts]),
        face_part=face_part,
    )
