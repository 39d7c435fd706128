"""From what the photograph says of each texel and pixel to the attributes of Gaussians.

This is where learnt attributes will take the place of the analytic ones: same inputs, same `Splats`.
"""

from __future__ import annotations

import numpy as np
import torch

from emo_avatar.avatar.binding import quat_from_matrix, triangle_frames
from emo_avatar.backbones.portrait.prepared import PreparedHead
from emo_avatar.backbones.portrait.splats import Layer, Splats, flat_splats
from emo_avatar.backbones.portrait.view import MeshView, surface_at_pixels
from emo_avatar.backbones.uv.complete import Observation
from emo_avatar.backbones.uv.sheets import PIXEL_OPACITY, SOLID_ALPHA, VISIBLE_ALPHA

TEXEL_SIGMA = (
    0.95  # standard deviation in spacings: the voids of a Poisson set are as wide as a spacing, and must not show
)
LEAST_SIGMA = 0.0003  # metres, of texels at the rims of eyes and mouth, that they do not cover what shows between
LID_OVERLAP = 1.7  # more of it on the lids, which unfold unevenly
TEXEL_THICKNESS = 0.2  # of that deviation
TEXEL_OPACITY = 0.99
# Metres that texels lie behind the pixels, so that those show: on a slope as far as a texel of one pixel reaches before
# the next. Lips are too thin for much, and lids must stay before the eyeball.
LEAST_PUSH, FACE_PUSH, PUSH = 0.0006, 0.0025, 0.0060
LID_PUSH, LIP_PUSH, LID_LIFT = 0.0002, 0.0008, 0.0010
DETAIL_SIGMA = 0.55  # pixels
DETAIL_THICKNESS = 0.25  # pixels
# Cosine to the camera between which pixels give way to texels: seen from the side, pixels on the grazing sides of a
# face lie too far apart and show what is beside the face instead of the face. Elsewhere there is less to get wrong.
FACE_FADE, OTHER_FADE = (0.30, 0.55), (0.05, 0.25)
LEAST_FACING = 0.3  # under which a disc is no longer stretched along the surface


def texel_splats(
    prepared: PreparedHead,
    hull: MeshView,
    points: np.ndarray,  # [N, 3] on the hull
    seen: Observation,
    colour: np.ndarray,  # [N, 3] completed
) -> Splats:
    """One Gaussian per texel, flat on the surface and as large as its neighbours are far."""
    texels = prepared.texels
    vertices, faces = torch.from_numpy(hull.vertices), torch.from_numpy(hull.faces.astype(np.int64))
    rotation, _, size = triangle_frames(vertices, faces)
    quats = quat_from_matrix(rotation).numpy()[texels.face]
    sigma = TEXEL_SIGMA * prepared.texel_size * size.numpy()[texels.face]
    sigma = np.where(prepared.on_face["lids"][texels.face], LID_OVERLAP * sigma, sigma)
    sigma = np.where(prepared.outer[texels.face], np.minimum(sigma, LEAST_SIGMA + prepared.rim_distance / 2), sigma)
    scales = np.stack([sigma, sigma, TEXEL_THICKNESS * sigma], axis=1)

    ray = points - hull.camera.position
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    facing = np.clip(-(hull.normals[texels.face] * ray).sum(1), 0.1, 1)
    slope = np.sqrt(1 - facing**2) / facing
    limit = np.where(prepared.on_face["face"], FACE_PUSH, PUSH)
    limit[prepared.on_face["lips"]], limit[prepared.on_face["lids"]] = LIP_PUSH, LID_PUSH
    push = np.minimum(np.maximum(2 * slope * sigma, LEAST_PUSH), limit[texels.face])
    push = np.where(prepared.outer[texels.face] & (seen.facing > 0), push, 0)
    means = points + push[:, None] * ray
    return Splats(
        texels.face,
        means,
        quats,
        scales,
        np.full(len(texels), TEXEL_OPACITY),
        colour,
        np.full(len(texels), Layer.TEXEL, np.int8),
    )


def detail_splats(
    hull: MeshView,
    rgb: np.ndarray,  # [H, W, 3] clean foreground
    alpha: np.ndarray,  # [H, W]
    bare_face: np.ndarray,  # [H, W] in [0, 1], skin of the face, not covered by hair
    wanted: np.ndarray,  # [F] bool, triangles that take pixels
    clear: np.ndarray,  # [H, W] in [0, 1], of anything nearer
    prepared: PreparedHead,
) -> Splats:
    """One small disc for every pixel that sees the surface squarely enough."""
    fragments = hull.fragments
    depth = np.where(hull.covered, fragments.depth, 0)
    row, column = np.nonzero(hull.covered & (alpha > VISIBLE_ALPHA) & wanted[fragments.face] & (clear > 0))
    face = fragments.face[row, column]
    points, u, v = surface_at_pixels(depth, row, column, hull.camera, DETAIL_SIGMA)
    broad = fragments.interpolate(hull.broad_normals, hull.faces)[row, column]
    broad /= np.linalg.norm(broad, axis=1, keepdims=True)
    skin, lids = prepared.on_face["skin"][face], prepared.on_face["lids"][face]
    squarely = np.where(skin, pixel_share(hull.facing(points, broad), bare_face[row, column]), 1)
    squarely *= clear[row, column]
    keep = squarely > 0
    u, v = _along_surface(u, v, points, hull, face)
    opacity = np.where(alpha > SOLID_ALPHA, PIXEL_OPACITY, np.clip(alpha, 0, 0.99))[row, column] * squarely
    thickness = np.full(len(face), DETAIL_THICKNESS * hull.metres_per_pixel)
    # Texels of lids cannot go behind the eyeball, so the pixels come forward.
    ray = points - hull.camera.position
    points = points - np.where(lids, LID_LIFT, 0)[:, None] * ray / np.linalg.norm(ray, axis=1, keepdims=True)
    chosen = (face[keep], points[keep], (u[keep], v[keep]), thickness[keep], opacity[keep], rgb[row, column][keep])
    return flat_splats(*chosen, Layer.DETAIL)


def pixel_share(facing: np.ndarray, on_face: np.ndarray) -> np.ndarray:  # [N], [N] in [0, 1] -> [N] in [0, 1]
    """How much a surface at this angle is shown by pixels rather than by texels."""
    low, high = (np.interp(on_face, (0, 1), ends) for ends in zip(OTHER_FADE, FACE_FADE, strict=True))
    t = np.clip((facing - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _along_surface(
    u: np.ndarray, v: np.ndarray, points: np.ndarray, hull: MeshView, face: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Screen-sized tangents laid onto the triangle's plane along the viewing ray, no steeper than pixels are kept."""
    ray = points - hull.camera.position
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    normal = hull.normals[face]
    against = np.minimum((normal * ray).sum(1), -LEAST_FACING)[:, None]
    u, v = (t - ray * ((normal * t).sum(1)[:, None] / against) for t in (u, v))
    return u, v
