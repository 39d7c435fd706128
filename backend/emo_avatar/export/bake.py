"""The colours of an avatar's surface, baked from renders of its Gaussians so that a plain mesh can wear them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, map_coordinates
from scipy.spatial import cKDTree

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.export.performance import perform
from emo_avatar.export.pictures import Progress
from emo_avatar.render.camera import Camera
from emo_avatar.render.mesh import rasterize_mesh
from emo_avatar.render.rasterize import rasterize

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


@dataclass(frozen=True)
class SurfacePoints:
    """N points on the triangles of a mesh."""

    face: np.ndarray  # [N] int
    barycentric: np.ndarray  # [N, 3]

    def on(self, values: np.ndarray, faces: np.ndarray) -> np.ndarray:  # [V, C], [F, 3] -> [N, C]
        """What a mesh's vertices hold, positions or colours, at the points."""
        return np.einsum("nk,nkc->nc", self.barycentric, values[faces[self.face]])


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
    colours, weights = np.zeros((len(points.face), 3)), np.full(len(points.face), 1e-12)
    steps, done = sum(len(views) for _, _, views in POSES), 0
    for emotion, importance, views in POSES:
        sequence = perform(avatar, emotions={emotion: 1.0})
        gaussians, vertices = avatar.pose(sequence), avatar.rig.mesh(sequence)[0]
        positions = points.on(vertices, faces)
        normals = face_normals(vertices, faces)[points.face]
        for yaw, pitch in views:
            camera = avatar.camera(yaw, pitch, size=size)
            render = rasterize(gaussians, camera)
            pixels, depth = camera.project(positions)
            alpha = _sample(render.alpha.cpu().numpy(), pixels)
            rgb = _sample(render.rgb.cpu().numpy(), pixels)
            nearest = _sample(np.minimum(rasterize_mesh(vertices, faces, camera).depth, 1e3), pixels, order=0)
            towards = camera.position - positions
            facing = (normals * towards).sum(1) / np.linalg.norm(towards, axis=1)
            weight = alpha * np.clip(facing, 0, 1) ** FACING_POWER * (depth < nearest + OCCLUDED) * importance
            colours += (weight / np.maximum(alpha, 1e-6))[:, None] * rgb
            weights += weight
            done += 1
            progress(done / steps, "baking colours")
    seen = weights > SEEN
    colours /= weights[:, None]
    head, vertices = avatar.rig.head, avatar.rig.mesh(perform(avatar))[0]
    part = head.face_part if faces is head.faces else np.zeros(len(faces), int)
    on_vertices = np.full(vertices.shape, 0.5)
    for kind in np.unique(part):
        own = np.unique(faces[part == kind])
        shown = seen & (part[points.face] == kind)
        if shown.sum() >= NEIGHBOURS:
            on_vertices[own] = _spread(points.on(vertices, faces)[shown], colours[shown], vertices[own])
    hidden = SurfacePoints(points.face[~seen], points.barycentric[~seen])
    colours[~seen] = hidden.on(on_vertices, faces)
    return np.clip(colours, 0, 1)


def _spread(places: np.ndarray, colours: np.ndarray, targets: np.ndarray) -> np.ndarray:  # [M, 3] x 2, [V, 3] -> [V, 3]
    """Colours of the nearest places, weighted by closeness."""
    distances, neighbours = cKDTree(places).query(targets, k=NEIGHBOURS)
    shares = 1 / (distances + CLOSENESS)
    return np.einsum("vk,vkc->vc", shares / shares.sum(axis=1, keepdims=True), colours[neighbours])


def texture_image(colours: np.ndarray, covered: np.ndarray) -> np.ndarray:  # [N, 3], [S, S] -> [S, S, 3]
    """Texel colours as a picture, grown beyond the islands' edges so that filtering does not bleed."""
    image = np.zeros((*covered.shape, 3))
    image[covered] = colours
    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return image[tuple(nearest)]


def face_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:  # [V, 3], [F, 3] -> [F, 3]
    """Unit normals of triangles; zero for a degenerate one."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _sample(image: np.ndarray, pixels: np.ndarray, order: int = 1) -> np.ndarray:  # [H, W, ...], [N, 2] px -> [N, ...]
    """Values of an image at pixel coordinates (centres at half integers); the edge's outside."""
    at = pixels.T[::-1] - 0.5
    if image.ndim == 2:
        return map_coordinates(image, at, order=order, mode="nearest")
    return np.stack(
        [map_coordinates(channel, at, order=order, mode="nearest") for channel in image.transpose(2, 0, 1)], 1
    )
