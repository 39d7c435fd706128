"""Eyelids that can close: skin without lashes on it, a lash line at the rim, the photo's lashes carried by the lid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from emo_avatar.backbones.uv.eyes import SCLERA_FROM, off_axis
from emo_avatar.backbones.uv.masks import inset
from emo_avatar.backbones.uv.prepared import PreparedHead
from emo_avatar.backbones.uv.splats import Layer, Splats
from emo_avatar.backbones.uv.view import MeshView

LASH_PIXELS = 2.6  # width of the band along the lids in which dark pixels of the eye are lashes or their shadow
DARK = 0.88  # of the brightness that the eyeball has there, under which such a pixel belongs to the lid
LASH_LINE = 0.0009  # metres from the rim of a lid over which the line fades
LASH_PERCENTILE, LASH_BRIGHTEST = 10, 0.3  # how dark the line is: as the darkest pixels along the slit
LIFT = 0.0015  # metres that they come forward, before the lid that carries them
LOWER_LASHES = 0.45


def lash_line(prepared: PreparedHead, colour: np.ndarray, dark: np.ndarray) -> np.ndarray:  # [N, 3], [3] -> [N, 3]
    """Draw lashes along the rims of the lids, where the photo's own fade when the eye closes."""
    strength = np.clip(1 - prepared.rim_distance / LASH_LINE, 0, 1) ** 0.5
    upper = prepared.on_face["upper_lids"][prepared.texels.face]
    strength = np.where(upper, strength, LOWER_LASHES * strength)
    on_lid = (prepared.outer & prepared.on_face["lids"])[prepared.texels.face]
    strength = np.where(on_lid, strength, 0)[:, None]
    return (1 - strength) * colour + strength * dark


def lash_colour(rgb: np.ndarray, hull: MeshView, prepared: PreparedHead) -> np.ndarray:  # [3]
    """The colour of the darkest pixels along the slits of the eyes."""
    eye = _eye_pixels(hull, prepared)
    band = (inset(eye) <= LASH_PIXELS) & (inset(~eye) <= LASH_PIXELS)
    if not band.any():
        return np.full(3, LASH_BRIGHTEST / 2)
    pixels = rgb[band]
    brightness = pixels.mean(1)
    darkest = pixels[brightness <= np.percentile(brightness, LASH_PERCENTILE)].mean(0)
    return darkest * min(1, LASH_BRIGHTEST / max(float(darkest.mean()), 1e-3))


def carry_lashes(
    details: Splats,
    hull: MeshView,
    prepared: PreparedHead,
    axes: np.ndarray,  # [2, 3] of the eyes, through the pupils
    points: np.ndarray,  # [N, 3] texels on the hull
    colour: np.ndarray,  # [N, 3] of them
) -> Splats:
    """Give pixels at the edge of the eyes that are darker than the eyeball there to the lids.

    So lashes and their shadow follow a blink, and the iris does not.
    """
    eye = _eye_pixels(hull, prepared)
    column, row = hull.camera.project(details.means)[0].astype(int).T
    within = inset(eye)[row, column]
    on_eye = np.flatnonzero((within > 0) & (within <= LASH_PIXELS))
    eyeball = np.flatnonzero(prepared.eyes[prepared.texels.face])
    if not len(on_eye) or not len(eyeball):
        return details
    below = eyeball[cKDTree(points[eyeball]).query(details.means[on_eye])[1]]
    lash = np.zeros(len(details), bool)
    white = off_axis(prepared, axes, below) >= SCLERA_FROM
    lash[on_eye] = white & (details.rgb[on_eye].mean(1) < DARK * colour[below].mean(1))
    at_rim = np.unique(prepared.texels.face[prepared.rim_distance < 2 * LASH_LINE])
    rim_faces = at_rim[prepared.on_face["lids"][at_rim]]
    if not len(rim_faces) or not lash.any():
        return details
    carried = np.flatnonzero(lash)
    face, layer, means = details.face.copy(), details.layer.copy(), details.means.copy()
    face[carried] = rim_faces[cKDTree(hull.vertices[hull.faces[rim_faces]].mean(1)).query(means[carried])[1]]
    layer[carried] = Layer.LASH
    ray = means[carried] - hull.camera.position
    means[carried] -= LIFT * ray / np.linalg.norm(ray, axis=1, keepdims=True)
    return replace(details, face=face, layer=layer, means=means)


def _eye_pixels(hull: MeshView, prepared: PreparedHead) -> np.ndarray:  # [H, W] bool
    return hull.covered & prepared.eyes[hull.fragments.face]
