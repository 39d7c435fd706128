"""The colours of an avatar's surface, baked from renders of its Gaussians so that a plain mesh can wear them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.export.performance import perform
from emo_avatar.export.pictures import Progress
from emo_avatar.render.camera import Camera
from emo_avatar.render.mesh import rasterize_mesh
from emo_avatar.render.rasterize import rasterize
from emo_avatar.render.splat.compiled import kernel

# Yaw and pitch of the cameras. None from behind: an avatar of one portrait is empty there and its face shows through.
FRONT_VIEWS = ((0, 0), (-40, 0), (40, 0))
VIEWS = (*FRONT_VIEWS, (0, 35), (0, -30), (-80, 0), (80, 0))
# Neutral shows the skin; surprise and a smile open what neutral hides, eyeballs and teeth, and count only for that.
LITTLE = 1e-4
POSES = (("neutral", 1.0, VIEWS), ("surprised", LITTLE, FRONT_VIEWS), ("happy", LITTLE, FRONT_VIEWS))
FACING_POWER = 6  # how strongly the view that looks straight at a point outweighs the grazing ones
OCCLUDED = 0.004  # metres behind the mesh's own depth from which on a point counts as hidden
SEEN = 0.05 * LITTLE  # weight from which on a point counts as seen; in a smile, within 53 degrees of straight on
NEIGHBOURS = 12  # seen points, of the same part of the head, that an unseen vertex takes its colour from
CLOSENESS = 1e-3  # metres; nearer than this, seen points count alike
MAX_PLACES = 60_000  # seen points that unseen ones choose their neighbours from, half a millimetre apart


@dataclass(frozen=True)
class SurfacePoints:
    """N points on the triangles of a mesh."""

    face: np.ndarray  # [N] int
    barycentric: np.ndarray  # [N, 3]

    def on(self, values: np.ndarray, faces: np.ndarray) -> np.ndarray:  # [V, C], [F, 3] -> [N, C]
        """What a mesh's vertices hold, positions or colours, at the points; float32."""
        corners, shares = faces[self.face], self.barycentric.astype(np.float32)
        values = values.astype(np.float32)
        return sum(shares[:, k, None] * values[corners[:, k]] for k in range(3))

    def some(self, chosen: np.ndarray) -> SurfacePoints:  # [N] bool or [M] int
        return SurfacePoints(self.face[chosen], self.barycentric[chosen])


def vertex_points(faces: np.ndarray, count: int) -> SurfacePoints:  # [F, 3]
    """Each of ``count`` vertices as a corner of one of its triangles; the first triangle's where it has none."""
    face, corner = np.zeros(count, np.int64), np.zeros(count, np.int64)
    face[faces] = np.arange(len(faces))[:, None]
    corner[faces] = np.arange(3)
    return SurfacePoints(face, np.eye(3)[corner])


def texel_points(uv: np.ndarray, uv_faces: np.ndarray, size: int) -> tuple[SurfacePoints, np.ndarray]:
    """The texels of a ``size`` square texture that triangles cover, and the mask [size, size] of those."""
    flat = np.column_stack([uv[:, 0] * size, (1 - uv[:, 1]) * size, np.ones(len(uv))])  # at depth 1, one unit a texel
    fragments = rasterize_mesh(flat, uv_faces, Camera(np.eye(4), np.eye(3), size, size))
    covered = fragments.covered
    return SurfacePoints(fragments.face[covered], fragments.barycentric[covered]), covered


def bake_colours(
    avatar: Avatar, points: SurfacePoints, size: int, progress: Progress
) -> np.ndarray:  # [N, 3] in [0, 1]
    """Display colours of surface points, from renders of ``size`` pixels; hidden ones take a neighbour's."""
    faces = avatar.rig.faces
    n = len(points.face)
    colours, weights = np.zeros((n, 3), np.float32), np.full(n, 1e-12, np.float32)
    steps, done = sum(len(views) for _, _, views in POSES), 0
    for emotion, importance, views in POSES:
        sequence = perform(avatar, emotions={emotion: 1.0})
        gaussians, vertices = avatar.pose(sequence), avatar.rig.mesh(sequence)[0]
        positions = points.on(vertices, faces)
        normals = face_normals(vertices, faces).astype(np.float32)
        for yaw, pitch in views:
            camera = avatar.camera(yaw, pitch, size=size)
            render = rasterize(gaussians, camera)
            nearest = np.minimum(rasterize_mesh(vertices, faces, camera).depth, 1e3).astype(np.float32)
            _look(
                positions, normals, points.face, render.rgb.cpu().numpy(), render.alpha.cpu().numpy(), nearest,
                camera.viewmat, camera.K, camera.position.astype(np.float32), importance, colours, weights,
            )  # fmt: skip
            done += 1
            progress(done / steps, "baking colours")
    seen = weights > SEEN
    colours /= weights[:, None]
    head, vertices = avatar.rig.head, avatar.rig.mesh(perform(avatar))[0]
    part = head.face_part if faces is head.faces else np.zeros(len(faces), int)
    on_vertices, positions = np.full(vertices.shape, 0.5, np.float32), points.on(vertices, faces)
    for kind in np.unique(part):
        own = np.unique(faces[part == kind])
        shown = np.flatnonzero(seen & (part[points.face] == kind))
        if len(shown) >= NEIGHBOURS:
            shown = shown[:: -(-len(shown) // MAX_PLACES)]
            on_vertices[own] = _spread(positions[shown], colours[shown], vertices[own])
    colours[~seen] = points.some(~seen).on(on_vertices, faces)
    return np.clip(colours, 0, 1)


def _spread(places: np.ndarray, colours: np.ndarray, targets: np.ndarray) -> np.ndarray:  # [M, 3] x 2, [V, 3] -> [V, 3]
    """Colours of the nearest places, weighted by closeness."""
    distances, neighbours = cKDTree(places).query(targets, k=NEIGHBOURS)
    shares = 1 / (distances + CLOSENESS)
    return np.einsum("vk,vkc->vc", shares / shares.sum(axis=1, keepdims=True), colours[neighbours])


def texture_image(colours: np.ndarray, covered: np.ndarray) -> np.ndarray:  # [N, 3], [S, S] -> [S, S, 3]
    """Texel colours as a picture, grown beyond the islands' edges so that filtering does not bleed."""
    image = np.zeros((*covered.shape, 3), np.float32)
    image[covered] = colours
    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return image[tuple(nearest)]


def face_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:  # [V, 3], [F, 3] -> [F, 3]
    """Unit normals of triangles; zero for a degenerate one."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


@kernel
def _look(
    positions: np.ndarray,  # [N, 3]
    normals: np.ndarray,  # [F, 3]
    face: np.ndarray,  # [N]
    rgb: np.ndarray,  # [H, W, 3] premultiplied
    alpha: np.ndarray,  # [H, W]
    nearest: np.ndarray,  # [H, W] depth of the mesh
    viewmat: np.ndarray,  # [4, 4]
    K: np.ndarray,  # [3, 3]
    eye: np.ndarray,  # [3] of the camera
    importance: float,
    colours: np.ndarray,  # [N, 3]
    weights: np.ndarray,  # [N]
) -> None:
    """What a picture shows at surface points, added to ``colours`` and ``weights``; bilinear, the edge's outside."""
    height, width = alpha.shape
    for i in range(len(positions)):
        x, y, z = positions[i]
        depth = viewmat[2, 0] * x + viewmat[2, 1] * y + viewmat[2, 2] * z + viewmat[2, 3]
        across = viewmat[0, 0] * x + viewmat[0, 1] * y + viewmat[0, 2] * z + viewmat[0, 3]
        down = viewmat[1, 0] * x + viewmat[1, 1] * y + viewmat[1, 2] * z + viewmat[1, 3]
        u = min(max(K[0, 0] * across / depth + K[0, 2], 0.5), width - 0.5)
        v = min(max(K[1, 1] * down / depth + K[1, 2], 0.5), height - 0.5)
        if depth >= nearest[min(int(v), height - 1), min(int(u), width - 1)] + OCCLUDED:
            continue
        normal = normals[face[i]]
        to_x, to_y, to_z = eye[0] - x, eye[1] - y, eye[2] - z
        distance = (to_x * to_x + to_y * to_y + to_z * to_z) ** 0.5
        facing = (normal[0] * to_x + normal[1] * to_y + normal[2] * to_z) / distance
        if facing <= 0:
            continue
        left, top = int(u - 0.5), int(v - 0.5)
        right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
        s, t = u - 0.5 - left, v - 0.5 - top
        share = importance * facing**FACING_POWER
        opacity = (1 - t) * ((1 - s) * alpha[top, left] + s * alpha[top, right]) + t * (
            (1 - s) * alpha[bottom, left] + s * alpha[bottom, right]
        )
        for c in range(3):  # premultiplied, and so weighted by the opacity already
            colours[i, c] += share * (
                (1 - t) * ((1 - s) * rgb[top, left, c] + s * rgb[top, right, c])
                + t * ((1 - s) * rgb[bottom, left, c] + s * rgb[bottom, right, c])
            )
        weights[i] += share * opacity
