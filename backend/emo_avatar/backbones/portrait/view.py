"""The head as it stands in the photograph: posed vertices, what each pixel sees, and lookups between the two."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from emo_avatar.render.camera import Camera
from emo_avatar.render.mesh import MeshFragments, rasterize_mesh
from emo_avatar.render.splat.compiled import kernel

MOST_SLOPE = 2.0  # metres of depth per metre across, beyond which a disc would be a needle
BROAD_ROUNDS = 8  # of smoothing, until normals follow the skull and no longer the features


@dataclass(frozen=True)
class MeshView:
    """A posed mesh before a camera."""

    camera: Camera
    vertices: np.ndarray  # [V, 3] float32 metres, world
    faces: np.ndarray  # [F, 3] int32
    fragments: MeshFragments

    @classmethod
    def of(cls, vertices: np.ndarray, faces: np.ndarray, camera: Camera, drawn: np.ndarray | None = None) -> MeshView:
        """Draw a mesh; ``drawn [F]`` leaves triangles out of the picture."""
        fragments = rasterize_mesh(vertices, faces, camera, drawn)
        return cls(camera, vertices, faces, fragments)

    @cached_property
    def normals(self) -> np.ndarray:  # [F, 3] unit
        return face_normals(self.vertices, self.faces)

    @cached_property
    def broad_normals(self) -> np.ndarray:  # [V, 3] unit
        """Of the form at large, without lids, nostrils and folds."""
        broad = smooth_over_mesh(vertex_normals(self.vertices, self.faces), self.faces, BROAD_ROUNDS)
        broad /= np.maximum(np.linalg.norm(broad, axis=1, keepdims=True), 1e-12)
        return broad

    @property
    def covered(self) -> np.ndarray:  # [H, W] bool
        return self.fragments.covered

    @property
    def metres_per_pixel(self) -> float:
        """At the mesh's mean depth."""
        depth = self.camera.project(self.vertices)[1].mean()
        return float(depth / self.camera.K[0, 0])

    def facing(self, points: np.ndarray, normals: np.ndarray) -> np.ndarray:  # [N, 3], [N, 3] unit -> [N]
        """Cosine between normals and the directions from their points to the camera."""
        to_camera = self.camera.position - points
        return (normals * to_camera).sum(1) / np.linalg.norm(to_camera, axis=1)

    def sees(self, points: np.ndarray, tolerance: float) -> np.ndarray:  # [N, 3] -> [N] bool
        """Whether nothing of the mesh lies more than ``tolerance`` metres before a point; False outside the picture."""
        pixel, depth = self.camera.project(points)
        inside = ((pixel >= 0) & (pixel < (self.camera.width, self.camera.height))).all(1) & (depth > 0)
        column, row = np.where(inside[:, None], pixel, 0).astype(int).T
        return inside & (depth < self.fragments.depth[row, column] + tolerance)


def face_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:  # -> [F, 3] unit
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:  # -> [V, 3] unit, area-weighted
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    summed = np.stack([np.bincount(faces.ravel(), np.repeat(normal[:, k], 3), len(vertices)) for k in range(3)], axis=1)
    return summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)


def smooth_over_mesh(values: np.ndarray, faces: np.ndarray, rounds: int) -> np.ndarray:  # [V] or [V, C], as given
    """Means over the triangles around each vertex, a few times over."""
    columns = np.array(values, np.float64).reshape(len(values), -1)
    return _smooth(columns, faces, rounds).reshape(values.shape)


@kernel
def _smooth(values, faces, rounds):  # [V, C], overwritten
    n, channels = values.shape
    count = np.zeros(n)
    for f in range(len(faces)):
        for i in range(3):
            count[faces[f, i]] += 1
    around = np.empty_like(values)
    for _ in range(rounds):
        around[:] = 0
        for f in range(len(faces)):
            a, b, c = faces[f]
            for k in range(channels):
                mean = (values[a, k] + values[b, k] + values[c, k]) / 3
                around[a, k] += mean
                around[b, k] += mean
                around[c, k] += mean
        for v in range(n):
            for k in range(channels):
                values[v, k] = around[v, k] / max(count[v], 1.0)
    return values


def distance_to(targets: np.ndarray, points: np.ndarray) -> np.ndarray:  # [T, 3], [N, 3] -> [N]
    """From each point to the nearest of a few targets: quicker than a tree of them."""
    return _nearest(np.ascontiguousarray(targets, np.float64), np.ascontiguousarray(points, np.float64))


@kernel
def _nearest(targets, points):
    distance = np.empty(len(points))
    for i in range(len(points)):
        least = np.inf
        for t in range(len(targets)):
            x, y, z = points[i, 0] - targets[t, 0], points[i, 1] - targets[t, 1], points[i, 2] - targets[t, 2]
            least = min(least, x * x + y * y + z * z)
        distance[i] = np.sqrt(least)
    return distance


def sample(image: np.ndarray, pixel: np.ndarray) -> np.ndarray:  # [H, W] or [H, W, C], [N, 2] -> [N] or [N, C]
    """Bilinear lookup at pixel coordinates whose centres lie at half integers; the edge continues outside."""
    channels = np.ascontiguousarray(image, np.float32).reshape(*image.shape[:2], -1)
    values = _sample(channels, np.ascontiguousarray(pixel, np.float64))
    return values.reshape(len(pixel), *image.shape[2:])


@kernel
def _sample(image, pixel):  # -> [N, C] float64
    values = np.empty((len(pixel), image.shape[2]))
    for i in range(len(pixel)):
        for c in range(image.shape[2]):
            values[i, c] = bilinear(image, c, pixel[i, 0], pixel[i, 1])
    return values


@kernel
def bilinear(image, channel, x, y):
    """One lookup of `sample` in an image [H, W, C]."""
    height, width = image.shape[0], image.shape[1]
    x = min(x - 0.5, width - 1.0) if x > 0.5 else 0.0
    y = min(y - 0.5, height - 1.0) if y > 0.5 else 0.0
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    u, v = x - left, y - top
    above = (1 - u) * image[top, left, channel] + u * image[top, right, channel]
    below = (1 - u) * image[bottom, left, channel] + u * image[bottom, right, channel]
    return (1 - v) * above + v * below


def surface_at_pixels(
    depth: np.ndarray,  # [H, W] metres
    row: np.ndarray,  # [N]
    column: np.ndarray,  # [N]
    camera: Camera,
    sigma: float,  # pixels
    max_slope: float = MOST_SLOPE,  # metres of depth per metre across
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # [N, 3] each
    """World points of a depth map's pixels, and its tangents ``sigma`` pixels long."""
    K = camera.K  # noqa: N806
    z = depth[row, column]
    x, y = (column + 0.5 - K[0, 2]) / K[0, 0], (row + 0.5 - K[1, 2]) / K[1, 1]
    ray = np.stack([x, y, np.ones_like(x)], axis=1)
    slope_y, slope_x = (g[row, column] for g in np.gradient(depth))
    pixel_size = z / K[0, 0]
    tangents = []
    for axis, slope in ((0, slope_x), (1, slope_y)):
        step = ray * (np.clip(slope / pixel_size, -max_slope, max_slope) * pixel_size)[:, None]
        step[:, axis] += pixel_size
        tangents.append(sigma * step)
    world_from_camera = camera.viewmat[:3, :3].T
    points = (ray * z[:, None] - camera.viewmat[:3, 3]) @ world_from_camera.T
    return points, tangents[0] @ world_from_camera.T, tangents[1] @ world_from_camera.T
