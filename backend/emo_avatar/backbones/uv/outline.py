"""The outline of face and neck, moved to where skin ends in the photograph.

Landmarks say where features are, not where the face ends; and what a wrong outline lets onto grazing skin (hair,
collar, background) would be seen from the side.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, median_filter

from emo_avatar.backbones.portrait.masks import polygon_mask
from emo_avatar.backbones.portrait.view import MeshView, sample, smooth_over_mesh
from emo_avatar.backbones.uv.rays import DIRECTIONS, outermost, unit, walk
from emo_avatar.head.data import HeadData
from emo_avatar.tracking.topology import FACE_OVAL

GAP = 1  # pixels of something else that a ray may cross
OUTLINE_REACH = (-0.012, 0.008)  # metres that the outline of a face may be moved in and out
BESIDE_OVAL = 0.003  # metres that it may be moved away from the landmarks' oval
BESIDE_EARS = 1  # degrees
OUTLINE_FROM = 0.80  # share of the radius from which vertices follow the outline
SHRINK = 15.0  # pixels that a vertex outside of the matte may be pulled in
NECK_REACH = 0.012  # metres that the sides of the neck may be moved out


def fit_outline(
    view: MeshView,
    skin: np.ndarray,  # [H, W] in [0, 1], pixels that show skin
    inside: np.ndarray,  # [2, H, W] row and column of the nearest pixel that shows the person
    landmarks: np.ndarray,  # [478, 2] px
    head: HeadData,
    smoothing: float,
) -> np.ndarray:  # [V, 3]
    """The posed head with the outline of its face where skin ends in the photograph, smoothed by some degrees."""
    centre = view.vertices[head.regions["face"]].mean(0)
    centre_px, depth = (x[0] for x in view.camera.project(centre[None]))
    on_face = np.any([head.regions[n] for n in ("face", "ears", "lips", "nose") if n in head.regions], axis=0)
    face = view.covered & on_face[head.faces].all(1)[view.fragments.face]
    radius = outermost(face, centre_px)
    metres = depth / view.camera.K[0, 0]
    reach = walk(skin, centre_px, radius + OUTLINE_REACH[0] / metres, GAP)
    # Where the neck or the scalp goes on behind the outline there is skin beyond it, and nothing to correct.
    beyond = sample(view.covered.astype(float), centre_px + unit(DIRECTIONS) * (radius + 3)[:, None]) > 0.5
    # Between a cheek and an ear that shows skin goes on, or hair and shadow interrupt it: neither is the outline.
    on_ear = view.covered & head.regions["ears"][head.faces].all(1)[view.fragments.face]
    ear = outermost(on_ear & (skin > 0.5), centre_px) > 1
    at_ear = maximum_filter1d(ear, 2 * BESIDE_EARS + 1, mode="wrap")
    error = np.where(beyond | at_ear, 0, np.clip((reach - radius) * metres, *OUTLINE_REACH))
    # A beard ends skin as hair beside a jaw does, and a long lobe goes on with it; landmarks know where the jaw is.
    oval = outermost(polygon_mask(skin.shape, landmarks[list(FACE_OVAL)]), centre_px)
    to_oval = (oval - radius) * metres
    error = np.clip(error, np.minimum(to_oval - BESIDE_OVAL, 0), np.maximum(to_oval + BESIDE_OVAL, 0))
    error = gaussian_filter1d(median_filter(error, size=5, mode="wrap"), smoothing, mode="wrap")

    offset = view.camera.project(view.vertices)[0] - centre_px
    degrees, distance = np.degrees(np.arctan2(offset[:, 1], offset[:, 0])), np.linalg.norm(offset, axis=1)
    share = distance / np.interp(degrees, DIRECTIONS, radius, period=360)
    near = np.clip((share - OUTLINE_FROM) / (1 - OUTLINE_FROM), 0, 1)
    near = near * np.clip(3 - 2 * share, 0, 1) * on_face  # 1 at the outline, 0 far inside and far outside of it
    moved = near * np.interp(degrees, DIRECTIONS, error, period=360)
    shift = moved[:, None] * unit(degrees)  # [V, 2] metres in the picture's plane
    shift[:, 0] += _neck_shift(view, skin, head) * metres
    shift = smooth_over_mesh(shift, head.faces, 3)
    pixel = view.camera.project(view.vertices)[0] + shift / metres
    shift += smooth_over_mesh(_to_nearest(pixel, inside) * metres, head.faces, 2)
    in_picture = np.concatenate([shift, np.zeros((len(shift), 1))], axis=1)
    return (view.vertices + in_picture @ view.camera.viewmat[:3, :3]).astype(np.float32)


def _neck_shift(view: MeshView, skin: np.ndarray, head: HeadData) -> np.ndarray:  # [V] px
    """How far to the right each vertex of the neck must go for its sides to lie where skin ends, row by row."""
    neck = head.regions["neck"] & ~head.regions["collar"]
    pixel, _ = view.camera.project(view.vertices)
    on_neck = view.covered & neck[view.faces].all(1)[view.fragments.face]
    rows = np.flatnonzero(on_neck.any(1))
    shift = np.zeros(len(pixel))
    if len(rows) < 3:
        return shift
    reach = int(NECK_REACH / view.metres_per_pixel)
    middle = pixel[neck, 0].mean()
    steps = np.arange(1, reach + 1)
    free = np.pad((skin > 0.5) & ~view.covered, ((0, 0), (reach, reach)))[rows]
    for side in (-1, 1):
        edge = on_neck[rows].argmax(1) if side < 0 else on_neck.shape[1] - 1 - on_neck[rows, ::-1].argmax(1)
        beyond = np.take_along_axis(free, edge[:, None] + side * steps + reach, axis=1)
        error = np.logical_and.accumulate(beyond, axis=1).sum(1).astype(float)
        error = gaussian_filter1d(median_filter(error, size=9), 3)
        half = np.interp(pixel[:, 1], rows, np.abs(edge - middle))
        share = np.clip(side * (pixel[:, 0] - middle) / half, 0, 1) ** 2
        shift += side * share * np.interp(pixel[:, 1], rows, error, left=0, right=0) * neck
    return shift


def _to_nearest(pixel: np.ndarray, nearest: np.ndarray) -> np.ndarray:  # [V, 2], [2, H, W] -> [V, 2] px
    """From each pixel to the nearest one that shows the person."""
    column, row = np.clip(pixel, 0, np.array(nearest.shape[:0:-1]) - 1).astype(int).T
    vector = (nearest[::-1, row, column] - (column, row)).T.astype(float)
    length = np.linalg.norm(vector, axis=1, keepdims=True)
    return vector * np.minimum(1, SHRINK / np.maximum(length, 1))
