"""Surface samples of a head, one Gaussian each: the texels of the canonical map that photographs are projected into.

Samples are blue noise (Poisson discs), so that no regular pattern can beat against the pixel grid from any side, and
they are spread on a head whose lids are shut and whose lips are apart, so that those surfaces stay covered when they
unfold. Each has a place in the head's UV map where the head has one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from scipy.spatial import cKDTree

from emo_avatar.head.arkit import arkit_weights
from emo_avatar.head.data import HeadData
from emo_avatar.head.model import HeadModel, vertices_under_units

FACE_SPACING, INNER_SPACING, SCALP_SPACING = 0.0012, 0.0014, 0.0018  # metres between neighbours
TEETH_SPACING = 0.0009
LID_SPACING, EYE_SPACING = 0.0006, 0.0008  # lids unfold most, and eyes are looked at most closely
TOOTH_SPACING = 0.0007  # a gap between teeth is narrow
CANDIDATES = 24  # darts thrown per disc that would fit; more pack closer, at a cost
PACKING = 0.7  # of a maximal Poisson-disc set: samples per squared radius of area
NEIGHBOURS = 8
OPEN_JAW = 0.35  # jawOpen at which lips and teeth stand apart


@dataclass(frozen=True)
class Texels:
    """N samples of a head's surface."""

    face: np.ndarray  # [N] int32 triangle
    barycentric: np.ndarray  # [N, 3] float32
    spacing: np.ndarray  # [N] float32 metres between neighbours on the spread head
    rest: np.ndarray  # [N, 3] float32 metres, on the neutral generic head
    uv: np.ndarray  # [N, 2] float32, v up; zeros for a head without a map
    mirror: np.ndarray  # [N] int32 the texel closest to the mirror image of this one
    neighbours: np.ndarray  # [N, 8] int32, on the spread head

    def __len__(self) -> int:
        return len(self.face)

    def points(self, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:  # [V, C], [F, 3] -> [N, C]
        """Interpolate what lies on the vertices: positions, or anything else."""
        corners = faces[self.face]
        w = self.barycentric
        return (
            w[:, :1] * vertices[corners[:, 0]]
            + w[:, 1:2] * vertices[corners[:, 1]]
            + w[:, 2:] * vertices[corners[:, 2]]
        )


def spread_vertices(head: HeadData) -> np.ndarray:  # [V, 3]
    """The generic head with lids shut and jaw open: every surface that can show is unfolded."""
    weights = arkit_weights(eyeBlink=1.0, jawOpen=OPEN_JAW)
    return vertices_under_units(head, HeadModel(head), weights)


def sample_texels(head: HeadData, wanted: np.ndarray, seed: int = 0) -> Texels:
    """Spread texels over the triangles ``wanted [F]`` of a head."""
    vertices, faces = spread_vertices(head), head.faces
    radius = _face_spacing(head)
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    area = np.linalg.norm(normals, axis=1) / 2
    normals /= np.maximum(2 * area, 1e-12)[:, None]

    rng = np.random.default_rng(seed)
    density = np.where(wanted, CANDIDATES * PACKING * area / radius**2, 0)
    count = rng.poisson(density)
    face = np.repeat(np.arange(len(faces)), count)
    face = face[rng.permutation(len(face))]
    barycentric = rng.dirichlet(np.ones(3), len(face))
    points = (vertices[faces[face]] * barycentric[:, :, None]).sum(1)
    kept = _poisson_discs(points, radius[face], normals[face], radius.max())
    face, barycentric, points = face[kept], barycentric[kept], points[kept]

    rest = (head.v_template[faces[face]] * barycentric[:, :, None]).sum(1)
    uv = np.zeros((len(face), 2))
    if len(head.uv):
        uv = (head.uv[head.uv_faces[face]] * barycentric[:, :, None]).sum(1)
    # Positions on the rest head tell left from right, positions on the spread one upper from lower lip: match in both.
    both = np.concatenate([rest, points], axis=1)
    mirror = cKDTree(both).query(both * np.array([-1, 1, 1, -1, 1, 1]))[1]
    neighbours = cKDTree(points).query(points, NEIGHBOURS + 1)[1][:, 1:]
    return Texels(
        face.astype(np.int32),
        barycentric.astype(np.float32),
        radius[face].astype(np.float32),
        rest.astype(np.float32),
        uv.astype(np.float32),
        mirror.astype(np.int32),
        neighbours.astype(np.int32),
    )


def _face_spacing(head: HeadData) -> np.ndarray:  # [F]
    """How far apart the samples of each triangle lie."""

    def on_region(*names: str) -> np.ndarray:
        return np.any([head.regions[name][head.faces].any(1) for name in names if name in head.regions], axis=0)

    skin = head.face_part == 0
    spacing = np.where(skin, FACE_SPACING, INNER_SPACING)
    spacing[skin & on_region("scalp", "neck", "collar")] = SCALP_SPACING
    spacing[skin & on_region("mouth_bag", "eye_sockets")] = INNER_SPACING
    spacing[skin & on_region("lids")] = LID_SPACING
    for i, name in enumerate(head.part_names):
        if name.startswith("eye_"):
            spacing[head.face_part == i] = EYE_SPACING
        elif name.endswith("_teeth"):
            spacing[head.face_part == i] = TOOTH_SPACING
    return spacing


@numba.njit(cache=True, nogil=True)
def _poisson_discs(points, radius, normals, cell):
    """Dart throwing on a hash grid: keep, in order, each point that no kept one on its side of the surface crowds."""
    n = points.shape[0]
    low = np.array([points[:, k].min() for k in range(3)])
    size = np.array([int((points[:, k].max() - low[k]) / cell) + 3 for k in range(3)])
    first = np.full(size[0] * size[1] * size[2], -1, np.int32)
    following = np.full(n, -1, np.int32)
    kept = np.zeros(n, np.bool_)
    for i in range(n):
        x = int((points[i, 0] - low[0]) / cell) + 1
        y = int((points[i, 1] - low[1]) / cell) + 1
        z = int((points[i, 2] - low[2]) / cell) + 1
        crowded = False
        for dx in range(-1, 2):
            for dy in range(-1, 2):
                for dz in range(-1, 2):
                    j = first[((x + dx) * size[1] + y + dy) * size[2] + z + dz]
                    while j >= 0 and not crowded:
                        ux, uy, uz = (
                            points[i, 0] - points[j, 0],
                            points[i, 1] - points[j, 1],
                            points[i, 2] - points[j, 2],
                        )
                        reach = (radius[i] + radius[j]) / 2
                        same_side = (
                            normals[i, 0] * normals[j, 0]
                            + normals[i, 1] * normals[j, 1]
                            + normals[i, 2] * normals[j, 2]
                        ) > 0
                        crowded = same_side and ux * ux + uy * uy + uz * uz < reach * reach
                        j = following[j]
        if not crowded:
            kept[i] = True
            index = (x * size[1] + y) * size[2] + z
            following[i] = first[index]
            first[index] = i
    return kept
