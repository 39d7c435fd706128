"""Where the Gaussians of the small configuration grow: many places on and above a head, few of which ask the network.

LAM asks about every point of a head. Where compute is scarce, the transformer is asked about some hundreds of them, and
each Gaussian takes what it said of the nearest ones (`growth`).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from emo_avatar.avatar.binding import quat_from_matrix, triangle_frames
from emo_avatar.backbones.lam.config import GrowthConfig
from emo_avatar.backbones.portrait.view import vertex_normals
from emo_avatar.head.data import HeadData

UNDRAWN = ("lashes",)  # parts that no Gaussians lie on
FINE = ("upper_teeth", "lower_teeth", "tongue", "eye_left", "eye_right")  # parts whose mesh is dense enough as it is
PARTS = ("skin", "upper_teeth", "lower_teeth", "tongue", "lashes", "eye_left", "eye_right")  # that are told apart
FACIAL = ("face", "ears", "mouth_bag", "eye_sockets")  # regions over which neither hair nor clothing has Gaussians
FACE_DENSITY = 1.7  # how much nearer to one another the places on the face are about which the transformer is asked
OCTAVES = 6  # of a place's position on the generic head, in what it is told apart by
KNOWN = 2 * 3 * OCTAVES + 3 + 3 + 1 + len(PARTS)  # numbers that tell a place apart


@dataclass(frozen=True, eq=False)
class Sites:
    """N places of a head."""

    corners: np.ndarray  # [N, 2] int32 vertices that each lies between; at a vertex, twice itself
    face: np.ndarray  # [N] int32 a triangle that it lies on
    height: np.ndarray  # [N] float32 metres above that
    mirror: np.ndarray  # [N] int64 the place opposite
    asked: np.ndarray  # [M] int64 places that the transformer is asked about
    near: np.ndarray  # [N, K] int64 which of those are near, and
    share: np.ndarray  # [N, K] float32 how much of each a place takes
    known: np.ndarray  # [N, F] float32 what places are told apart by, on any person
    spacing: np.ndarray  # [N] float32 metres to the neighbours
    quats: np.ndarray  # [N, 4] of a disc that lies on the surface

    def __len__(self) -> int:
        return len(self.face)

    def normals(self, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:  # [V, 3] -> [N, 3] unit
        normal = vertex_normals(vertices, faces)[self.corners].sum(1)
        return (normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)).astype(np.float32)

    def points(self, vertices: np.ndarray, normals: np.ndarray) -> np.ndarray:  # [V, 3], [N, 3] -> [N, 3]
        return vertices[self.corners].mean(1, dtype=np.float32) + self.height[:, None] * normals


@functools.lru_cache(maxsize=2)
def sites_of(head: HeadData, growth: GrowthConfig) -> Sites:
    """The places of a head that people share; takes a second."""
    part = {name: i for i, name in enumerate(head.part_names)}
    drawn = np.flatnonzero(~np.isin(head.face_part, [part[n] for n in UNDRAWN if n in part]))
    corners, face = _vertices_and_middles(head, drawn, growth.least_edge)
    low = np.isin(head.face_part[face], [part["skin"]])
    facial = np.zeros(head.n_vertices, bool)
    for name in FACIAL:
        facial |= head.regions[name]
    worn = np.flatnonzero(low & ~facial[corners].any(1))
    height = np.zeros(len(face), np.float32)
    for h in growth.heights:
        corners, face = np.concatenate([corners, corners[worn]]), np.concatenate([face, face[worn]])
        height = np.concatenate([height, np.full(len(worn), h, np.float32)])
    normal = vertex_normals(head.v_template, head.faces)[corners].sum(1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    points = head.v_template[corners].mean(1) + height[:, None] * normal
    mirror = cKDTree(points).query(points * [-1, 1, 1])[1]
    asked = _spread(points[: len(points) - len(worn) * len(growth.heights)], facial[corners[:, 0]], growth.asked)
    distance, near = cKDTree(points[asked]).query(points, growth.neighbours)
    share = 1 / np.maximum(distance, 0.002) ** 2
    spacing = cKDTree(points).query(points, 5)[0][:, 1:].mean(1)
    rotation = triangle_frames(torch.from_numpy(head.v_template), torch.from_numpy(head.faces.astype(np.int64)))[0]
    return Sites(
        corners.astype(np.int32),
        face.astype(np.int32),
        height,
        mirror.astype(np.int64),
        asked,
        near.astype(np.int64),
        (share / share.sum(1, keepdims=True)).astype(np.float32),
        _known(head, points, normal, height, face),
        spacing.astype(np.float32),
        quat_from_matrix(rotation)[torch.from_numpy(face.astype(np.int64))].numpy(),
    )


def _vertices_and_middles(head: HeadData, faces: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of some triangles and the middles of their long edges: ``corners [N, 2]``, a triangle each ``[N]``."""
    triangles = head.faces[faces]
    vertices, first = np.unique(triangles, return_index=True)
    corners, face = np.stack([vertices, vertices], 1), faces[first // 3]
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    edges, first = np.unique(edges, axis=0, return_index=True)
    own = faces[first % len(faces)]
    fine = np.isin(head.face_part[own], [i for i, name in enumerate(head.part_names) if name in FINE])
    long = (np.linalg.norm(np.diff(head.v_template[edges], axis=1)[:, 0], axis=1) > least) & ~fine
    return np.concatenate([corners, edges[long]]), np.concatenate([face, own[long]])


def _spread(points: np.ndarray, dense: np.ndarray, count: int) -> np.ndarray:  # [N, 3], [N] bool -> [count]
    """Places far from one another, nearer where ``dense``: each next one is the farthest from those before it."""
    weight = np.where(dense[: len(points)], FACE_DENSITY, 1.0)
    chosen = [int(points[:, 2].argmax())]
    distance = np.full(len(points), np.inf)
    for _ in range(count - 1):
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int((distance * weight).argmax()))
    return np.array(chosen, np.int64)


def _known(head: HeadData, points: np.ndarray, normal: np.ndarray, height: np.ndarray, face: np.ndarray) -> np.ndarray:
    angles = points[:, :, None] * (math.pi * 2.0 ** np.arange(2, 2 + OCTAVES))
    waves = np.concatenate([np.sin(angles), np.cos(angles)], axis=2).reshape(len(points), -1)
    part = np.array(head.part_names)[head.face_part[face]]
    parts = part[:, None] == np.array(PARTS)
    return np.concatenate([waves, 10 * points, normal, 20 * height[:, None], parts], axis=1).astype(np.float32)
