"""Ambient occlusion of a mesh by looking at it from all around."""

from __future__ import annotations

import numpy as np

from emo_avatar.render.camera import Camera
from emo_avatar.render.mesh import rasterize_mesh, vertex_normals

DIRECTIONS = 96
RESOLUTION = 320
DISTANCE, FOV = 3.0, 7.0  # metres, degrees: nearly parallel rays that take in the whole head
BIAS = 0.0015  # metres a vertex may lie behind the depth it is compared with


def ambient_occlusion(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:  # [V, 3], [F, 3] -> [V] in [0, 1]
    """The share of the sky, weighted by the cosine, that each vertex sees past the mesh; 1 in the open."""
    normals = vertex_normals(vertices, faces)
    golden = np.pi * (3 - np.sqrt(5))
    index = np.arange(DIRECTIONS)
    height = 1 - 2 * (index + 0.5) / DIRECTIONS
    centre = (vertices.max(0) + vertices.min(0)) / 2
    seen, total = np.zeros(len(vertices)), np.full(len(vertices), 1e-9)
    for y, turn in zip(height, golden * index, strict=True):
        camera = Camera.orbit(
            centre, DISTANCE, yaw=np.degrees(turn), pitch=np.degrees(np.arcsin(y)), fov=FOV, size=RESOLUTION
        )
        depth = rasterize_mesh(vertices, faces, camera).depth
        pixel, own = camera.project(vertices)
        column, row = pixel.astype(int).clip(0, RESOLUTION - 1).T
        towards = camera.position - vertices
        cosine = np.clip((normals * towards).sum(1) / np.linalg.norm(towards, axis=1), 0, None)
        seen += cosine * (own < depth[row, column] + BIAS)
        total += cosine
    return seen / total
