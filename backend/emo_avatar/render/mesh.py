"""Triangle meshes in a z-buffer: which triangle each pixel sees, where on it, and how far away."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from emo_avatar.render.camera import Camera
from emo_avatar.render.splat.compiled import kernel
from emo_avatar.render.splat.threads import claim, share_out

STRIP = 128  # rows of a picture that a thread claims at a time
NEAR = 0.01  # metres; gsplat's near plane, so that meshes and splats vanish at the same distance


@dataclass(frozen=True)
class MeshFragments:
    """The front-most triangle at every pixel centre."""

    face: np.ndarray  # [H, W] int32, -1 where nothing is seen
    barycentric: (
        np.ndarray
    )  # [H, W, 3] float32, on the triangle in space (perspective-correct); 0 where nothing is seen
    depth: np.ndarray  # [H, W] float32 camera-space z in metres, inf where nothing is seen

    @cached_property
    def covered(self) -> np.ndarray:  # [H, W] bool
        return self.face >= 0

    def interpolate(self, attributes: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Per-vertex ``attributes [V, C]`` at every pixel, ``[H, W, C]`` float32; 0 where nothing is seen.

        ``faces [F, 3]`` indexes ``attributes``; it may be the UV faces instead of the mesh's own.
        """
        return _interpolate(self.face, self.barycentric, np.ascontiguousarray(attributes, np.float32), faces)


def rasterize_mesh(
    vertices: np.ndarray,  # [V, 3] metres, world
    faces: np.ndarray,  # [F, 3] int
    camera: Camera,
    face_mask: np.ndarray | None = None,  # [F] bool, True: draw
) -> MeshFragments:
    """Draw a mesh into a z-buffer, both sides of every triangle.

    Each pixel's ray is intersected with the triangle in camera space, which is the homogeneous form of the edge
    functions (Olano and Greer, "Triangle scan conversion using 2D homogeneous coordinates", 1997): barycentrics come
    out perspective-correct and triangles that reach behind the camera need no clipping. Triangles with a vertex that
    is not finite are left out.
    """
    view = camera.viewmat.astype(np.float64)
    points = np.asarray(vertices, np.float64) @ view[:3, :3].T + view[:3, 3]
    drawn = np.ones(len(faces), bool) if face_mask is None else np.asarray(face_mask, bool)
    faces, k = np.asarray(faces), camera.K.astype(np.float64)
    bounds = _all_bounds(points, faces, drawn, k, camera.width, camera.height, NEAR)
    size = (camera.height, camera.width)
    fragments = MeshFragments(
        np.full(size, -1, np.int32), np.zeros((*size, 3), np.float32), np.full(size, np.inf, np.float32)
    )
    share_out(_rasterize, points, faces, k, NEAR, bounds, fragments.face, fragments.barycentric, fragments.depth)
    return fragments


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:  # [V, 3], [F, 3] -> [V, 3]
    """Unit normals, weighted by the areas of the triangles around each vertex."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normals = np.zeros((len(vertices), 3))
    corners = np.repeat(np.cross(b - a, c - a), 3, axis=0)
    for axis in range(3):
        normals[:, axis] = np.bincount(faces.ravel(), corners[:, axis], len(vertices))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


@kernel
def _bounds(p, k, width, height, near):
    """First and one-past-last pixel column and row that a triangle may cover; an empty range when it is not seen."""
    u_min, u_max, v_min, v_max = np.inf, -np.inf, np.inf, -np.inf
    behind = 0
    for i in range(3):
        if p[i, 2] < near:
            behind += 1
            continue
        u = (k[0, 0] * p[i, 0] + k[0, 1] * p[i, 1]) / p[i, 2] + k[0, 2]
        v = k[1, 1] * p[i, 1] / p[i, 2] + k[1, 2]
        u_min, u_max, v_min, v_max = min(u_min, u), max(u_max, u), min(v_min, v), max(v_max, v)
    if behind == 3:
        return 0, 0, 0, 0
    if behind > 0:  # the projection is unbounded on one side
        return 0, width, 0, height
    # Clamping before the conversion keeps far-off-screen coordinates inside the integers' range.
    x0 = int(min(max(u_min - 0.5, 0.0), width))
    x1 = int(min(max(u_max + 1.5, 0.0), width))
    y0 = int(min(max(v_min - 0.5, 0.0), height))
    y1 = int(min(max(v_max + 1.5, 0.0), height))
    return x0, x1, y0, y1


@kernel
def _edges(p, k, edge):
    """Fill ``edge`` so that ``edge @ (u, v, 1)`` is proportional to the barycentrics of pixel (u, v); six times the
    volume that the triangle spans with the eye, on the same scale and never negative, is returned."""
    volume = 0.0
    for i in range(3):
        a, b = p[(i + 1) % 3], p[(i + 2) % 3]
        nx = a[1] * b[2] - a[2] * b[1]
        ny = a[2] * b[0] - a[0] * b[2]
        nz = a[0] * b[1] - a[1] * b[0]
        if i == 0:
            volume = p[0, 0] * nx + p[0, 1] * ny + p[0, 2] * nz
        # The pixel's ray is K^-1 (u, v, 1); K is upper triangular.
        edge[i, 0] = nx / k[0, 0]
        edge[i, 1] = (ny - k[0, 1] * edge[i, 0]) / k[1, 1]
        edge[i, 2] = nz - k[0, 2] * edge[i, 0] - k[1, 2] * edge[i, 1]
    if volume < 0.0:
        for i in range(3):
            for c in range(3):
                edge[i, c] = -edge[i, c]
    return abs(volume)


@kernel
def _rasterize(counter, points, faces, k, near, bounds, face, barycentric, depth):
    """Draw the triangles whose ``bounds [F, 4]`` are not empty, in strips of the picture that threads claim."""
    height = len(depth)
    p = np.empty((3, 3))
    edge = np.empty((3, 3))  # row i: edge opposite vertex i as a line in homogeneous pixel coordinates
    while True:
        top = claim(counter) * STRIP
        if top >= height:
            break
        bottom = min(top + STRIP, height)
        for t in range(faces.shape[0]):
            y0, y1 = max(bounds[t, 2], top), min(bounds[t, 3], bottom)
            if y0 >= y1:
                continue
            for i in range(3):
                for c in range(3):
                    p[i, c] = points[faces[t, i], c]
            volume = _edges(p, k, edge)
            if volume == 0.0:  # edge-on
                continue
            a0, b0, c0 = edge[0, 0], edge[0, 1], edge[0, 2]
            a1, b1, c1 = edge[1, 0], edge[1, 1], edge[1, 2]
            a2, b2, c2 = edge[2, 0], edge[2, 1], edge[2, 2]
            for y in range(y0, y1):
                v = y + 0.5
                row0, row1, row2 = b0 * v + c0, b1 * v + c1, b2 * v + c2
                for x in range(bounds[t, 0], bounds[t, 1]):
                    u = x + 0.5
                    w0, w1, w2 = a0 * u + row0, a1 * u + row1, a2 * u + row2
                    if w0 < 0.0 or w1 < 0.0 or w2 < 0.0:
                        continue
                    total = w0 + w1 + w2
                    if total <= 0.0:
                        continue
                    z = volume / total
                    if z < near or z >= depth[y, x]:
                        continue
                    depth[y, x] = z
                    face[y, x] = t
                    barycentric[y, x, 0] = w0 / total
                    barycentric[y, x, 1] = w1 / total
                    barycentric[y, x, 2] = w2 / total


@kernel
def _all_bounds(points, faces, drawn, k, width, height, near):
    """``[F, 4]`` int32, see ``_bounds``; empty for triangles that are not drawn or hold a number that is not finite."""
    bounds = np.zeros((faces.shape[0], 4), np.int32)
    p = np.empty((3, 3))
    for t in range(faces.shape[0]):
        for i in range(3):
            for c in range(3):
                p[i, c] = points[faces[t, i], c]
        if drawn[t] and np.isfinite(p.sum()):
            x0, x1, y0, y1 = _bounds(p, k, width, height, near)
            if x0 < x1:
                bounds[t, 0], bounds[t, 1], bounds[t, 2], bounds[t, 3] = x0, x1, y0, y1
    return bounds


@kernel
def _interpolate(face, barycentric, attributes, faces):
    height, width = face.shape
    channels = attributes.shape[1]
    out = np.zeros((height, width, channels), np.float32)
    for y in range(height):
        for x in range(width):
            t = face[y, x]
            if t < 0:
                continue
            for i in range(3):
                w = barycentric[y, x, i]
                v = faces[t, i]
                for c in range(channels):
                    out[y, x, c] += w * attributes[v, c]
    return out
