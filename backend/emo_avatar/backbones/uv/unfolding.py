"""The marks that the photo's own expression has drawn on the skin, measured so that they leave with the expression.

Where the deformation of the photo's expression folds the skin, its pixels are compared with what the skin around the
folds shows. An assumed depth would leave half a frown behind, or draw its negative.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter

from emo_avatar.backbones.portrait.prepared import PreparedHead
from emo_avatar.backbones.portrait.splats import Layer, Splats
from emo_avatar.backbones.portrait.view import MeshView, sample
from emo_avatar.backbones.uv.complete import MIRROR_TRUST, Observation
from emo_avatar.backbones.uv.maps import fold_depth
from emo_avatar.render.camera import Camera

FULL = 0.3  # depth in the map times folding, from which all that differs from the skin around is a mark
REACH = 0.0015  # metres around the lines of the map in which a real face may have its own
SOFT = 0.0012  # metres over which marks begin
AROUND = 0.004  # metres, standard deviation of the surroundings: what is broader may be the form of the face
BROAD = 0.016  # likewise, against which hair is dark
LEAST_SURE = 0.3  # of skin that folds all over
BROW_REACH = 0.0015  # metres around brows on the head in which a person may have theirs
DARK = 0.6  # of the brightness around, under which a pixel shows hair or a nostril
DARKEST, BRIGHTEST = 0.55, 0.03  # log of the largest factors that are taken for a mark
UNITS = 100  # hundredths in which the logarithm is kept
SURROUNDS = ("lids", "lips", "brows")  # what is not plain skin on the face


def marks_in_photo(
    prepared: PreparedHead,
    view: MeshView,
    folding: np.ndarray,  # [V, 3] in [0, 1] in the photo, of level, upright and slanted folds
    rgb: np.ndarray,  # [H, W, 3]
    alpha: np.ndarray,  # [H, W]
) -> np.ndarray:  # [H, W, 4] log of the factor on each colour, and in [0, 1] how far it was measured
    """What folds of the expression do to each pixel, against the skin around them."""
    height, width = alpha.shape
    marks = np.zeros((height, width, 4), np.float32)
    fragments, faces, on_face = view.fragments, prepared.head.faces, prepared.on_face
    plain = on_face["face"] & prepared.outer & ~np.any([on_face[name] for name in SURROUNDS], axis=0)
    row, column = np.nonzero(fragments.covered & (alpha > 0.9))
    face, barycentric = fragments.face[row, column], fragments.barycentric[row, column]
    drawn = np.zeros((height, width), np.float32)
    folded = (folding[faces[face]] * barycentric[:, :, None]).sum(1)
    drawn[row, column] = plain[face] * (fold_depth(prepared.head, face, barycentric) / 255 * folded).max(1)
    if not drawn.any():
        return marks
    shown = np.zeros((height, width), np.float32)
    shown[row, column] = plain[face]
    pixels = 1 / view.metres_per_pixel
    drawn = maximum_filter(np.minimum(drawn / FULL, 1), size=2 * round(REACH * pixels) + 1)
    beside_brows = np.zeros((height, width), bool)
    beside_brows[row, column] = on_face["brows"][face]
    beside_brows = maximum_filter(beside_brows, size=2 * round(BROW_REACH * pixels) + 1)
    mask = gaussian_filter(drawn, SOFT * pixels) * gaussian_filter(shown, SOFT * pixels) * shown
    log = np.log(np.clip(rgb, 0.02, 1)).astype(np.float32)
    bright = log.mean(2)
    broad = _around(bright[..., None], shown, BROAD * pixels)[..., 0]
    sure = shown * np.maximum(1 - mask, LEAST_SURE) ** 2 * ~beside_brows * (bright > broad + np.log(DARK))
    estimate = _around(log, sure, AROUND * pixels)
    marks[..., :3] = mask[..., None] * np.clip(log - estimate, -DARKEST, BRIGHTEST)
    marks[..., 3] = mask
    return marks


def _around(values: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """Weighted means ``[H, W, C]`` of the surroundings of each pixel."""
    total = np.stack([gaussian_filter(values[..., c] * weight, sigma) for c in range(values.shape[2])], axis=2)
    around: np.ndarray = total / np.maximum(gaussian_filter(weight, sigma), 1e-6)[..., None]
    return around


def unfolding_of(
    prepared: PreparedHead, splats: Splats, seen: Observation, marks: np.ndarray, camera: Camera
) -> np.ndarray:  # [N, 4] int8
    """`SkinAppearance.unfolding` of Gaussians, of which the head's texels come first."""
    texels = prepared.texels
    found = sample(marks, camera.project(splats.means)[0])
    found *= np.isin(splats.layer, (Layer.DETAIL, Layer.GAP))[:, None]
    here = sample(marks, seen.pixel)
    own, other = seen.sharpness, MIRROR_TRUST * seen.sharpness[texels.mirror]
    mirrored = MIRROR_TRUST * seen.confidence[texels.mirror] > seen.confidence
    of_texels = np.where(mirrored[:, None], other[:, None] * here[texels.mirror], own[:, None] * here)
    found[: len(texels)] = np.where(prepared.outer[texels.face, None], of_texels, 0)
    return np.round(UNITS * np.clip(found, -1, 1)).astype(np.int8)
