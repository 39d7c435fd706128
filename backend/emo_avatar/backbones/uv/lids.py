"""Eyelids that can close: skin without lashes on it, a lash line at the rim, the photo's lashes carried by the lid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from emo_avatar.avatar.shading import LIGHT
from emo_avatar.backbones.portrait.masks import inset
from emo_avatar.backbones.portrait.prepared import PreparedHead
from emo_avatar.backbones.portrait.splats import Layer, Splats
from emo_avatar.backbones.portrait.texels import spread_vertices
from emo_avatar.backbones.portrait.view import MeshView, distance_to, vertex_normals
from emo_avatar.backbones.uv.complete import Observation, grain, grow
from emo_avatar.backbones.uv.eyes import EYES, SCLERA_FROM, off_axis
from emo_avatar.tracking.topology import LEFT_EYE, RIGHT_EYE

LASH_PIXELS = 2.6  # width of the band along the lids in which dark pixels of the eye are lashes or their shadow
DARK = 0.88  # of the brightness that the eyeball has there, under which such a pixel belongs to the lid
LASH_LINE = 0.0014  # metres from the rim of a lid over which the line fades
LASH_CORNER = (0.002, 0.008)  # metres from a corner of the eye between which lashes begin
LASH_PERCENTILE, LASH_BRIGHTEST = 10, 0.3  # how dark the line is: as the darkest pixels along the slit
LIFT = 0.0015  # metres that they come forward, before the lid that carries them
LOWER_LASHES = 0.45
# A closed lid has the colour of the skin around the eye: of what is lit and free of lashes, within so many metres of
# the middle of the eye.
AROUND = (0.015, 0.040)
LIT = (0.65, 0.85)  # of the brightness of the face, from where skin is in shade and from where it is not
LID_LIGHT, LID_SATURATION = 0.94, 1.15  # of that skin: a lid is thin, with blood under it
ROUNDNESS = 0.7  # of the light's change over the lid, which is a part of a ball
LID_GRAIN = 0.4  # of other skin's
OWN_SHADE, LEAST_SHADE = 0.6, 0.55  # how far deep-set eyes keep the shade that lies on the open lid


def lid_colours(prepared: PreparedHead, seen: Observation, colour: np.ndarray) -> np.ndarray:  # [N, 3] -> [N, 3]
    """Fill in the lids as they look when closed; the lid of an open eye shows its crease, lashes and shadow alone."""
    texels, head = prepared.texels, prepared.head
    of = texels.face
    lids = (prepared.on_face["lids"] & prepared.outer)[of]
    centres = [head.v_template[head.part(name)].mean(0) for name in EYES if name in head.part_names]
    if not centres or not lids.any():
        return colour
    away = np.min([np.linalg.norm(texels.rest - c, axis=1) for c in centres], axis=0)
    around = (prepared.on_face["face"] & prepared.outer)[of] & (away < AROUND[1]) & ~seen.under_hair
    bare = around & ~prepared.on_face["lids"][of] & (away > AROUND[0]) & ~seen.brow
    if not (bare & (seen.confidence > 0)).any():
        return colour
    brightness = seen.rgb.mean(1) / max(float(np.median(seen.rgb[bare & (seen.confidence > 0)].mean(1))), 1e-3)
    lit = np.clip((brightness - LIT[0]) / (LIT[1] - LIT[0]), 0, 1)
    fill = grow(prepared, seen.rgb, bare * lit * seen.confidence, around | lids)
    closed = spread_vertices(head)
    normals = texels.points(vertex_normals(closed, head.faces), head.faces)[lids]
    light = 1 + normals @ np.array(LIGHT) / np.linalg.norm(normals, axis=1)
    round_light = (light / np.median(light)) ** ROUNDNESS
    colour = colour.copy()
    shade = np.clip(colour[lids].mean(1) / np.maximum(fill[lids].mean(1), 1e-3), LEAST_SHADE, 1) ** OWN_SHADE
    fine = LID_GRAIN * grain(prepared, seen, fill)[lids]
    grey = fill[lids].mean(1, keepdims=True)
    vivid = grey + LID_SATURATION * (fill[lids] - grey)
    colour[lids] = np.clip((LID_LIGHT * round_light * shade)[:, None] * vivid + fine, 0, 1)
    return colour


def lash_line(prepared: PreparedHead, colour: np.ndarray, dark: np.ndarray) -> np.ndarray:  # [N, 3], [3] -> [N, 3]
    """Draw lashes along the rims of the lids, where the photo's own fade when the eye closes."""
    strength = np.clip(1 - prepared.rim_distance / LASH_LINE, 0, 1) ** 0.5
    upper = prepared.on_face["upper_lids"][prepared.texels.face]
    strength = np.where(upper, strength, LOWER_LASHES * strength) * _between_corners(prepared)
    on_lid = (prepared.outer & prepared.on_face["lids"])[prepared.texels.face]
    strength = np.where(on_lid, strength, 0)[:, None]
    return (1 - strength) * colour + strength * dark


def _between_corners(prepared: PreparedHead) -> np.ndarray:  # [N] in [0, 1]
    """How far lashes grow on texels beside the corners of the eyes, where the line would hook upwards."""
    head, texels = prepared.head, prepared.texels
    embedding = head.landmarks478
    assert embedding is not None  # the portrait was tracked with them
    ends = [outline[k] for outline in (LEFT_EYE, RIGHT_EYE) for k in (0, len(outline) // 2)]
    corners = np.einsum("lb,lbc->lc", embedding.barycentric[ends], head.v_template[head.faces[embedding.faces[ends]]])
    low, high = LASH_CORNER
    between: np.ndarray = np.clip((distance_to(corners, texels.rest) - low) / (high - low), 0, 1)
    return between


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
