"""Gaussians that show a portrait: the analysis of the photograph, step by step."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import label

from emo_avatar.backbones.portrait.masks import blurred, nearest
from emo_avatar.backbones.portrait.prepared import PreparedHead
from emo_avatar.backbones.portrait.splats import Layer, Splats
from emo_avatar.backbones.portrait.view import MeshView, sample
from emo_avatar.backbones.uv.attributes import detail_splats, pixel_share, texel_splats
from emo_avatar.backbones.uv.complete import Observation, clear_of_occluder, complete_hair, complete_skin, observe
from emo_avatar.backbones.uv.eyes import eye_axes, eye_colours
from emo_avatar.backbones.uv.hull import CORRECTION, MAX_THICKNESS, hair_vertices, inflate_scalp, skull_centre
from emo_avatar.backbones.uv.lids import carry_lashes, lash_colour, lash_line, lid_colours
from emo_avatar.backbones.uv.mouth import mark_gap, mouth_colours, teeth_splats, visible_teeth
from emo_avatar.backbones.uv.outline import fit_outline
from emo_avatar.backbones.uv.segmentation import Segmentation, segment
from emo_avatar.backbones.uv.sheets import BACK_BLUR, BACK_SHADE, Sheet, sheet_of, sheet_splats
from emo_avatar.render.camera import Camera
from emo_avatar.tracking.portrait import TrackedPortrait

OUTLINE_SMOOTHING = (3.0, 2.0, 1.2, 1.2)  # degrees; each round corrects what smoothing left of the one before
LEAST_TRUST = 0.3  # in the photo, for the shade of texels that it shows at a grazing angle
RIM_TRUST = 1.0  # on white; less on dark surfaces, on which a bead of another colour shows more
SHARE_GAIN = 2.7  # factor by which refinement may raise the odds of a pixel's opacity on the face
# Cosine between a neck's surface and the view: in its middle hair is a beard, and along its edge hair is behind it.
SIDE_OF_NECK, EDGE_OF_NECK = 0.8, 0.35


def outlined(
    portrait: TrackedPortrait, prepared: PreparedHead, rgb: np.ndarray, vertices: np.ndarray
) -> tuple[np.ndarray, Segmentation]:  # [V, 3]
    """The posed head with the outline that its skin has in the portrait, and what each pixel shows."""
    view = _seen(prepared, vertices, portrait.camera)
    labels = segment(rgb, portrait.matte, portrait.landmarks, view, prepared.on_face)
    skin, inside = labels.skin * portrait.matte, nearest(portrait.matte >= 0.5)
    for smoothing in OUTLINE_SMOOTHING:
        moved = fit_outline(view, skin, inside, portrait.landmarks, prepared.head, smoothing)
        view = _seen(prepared, moved, portrait.camera)
    return view.vertices, labels


def _seen(prepared: PreparedHead, vertices: np.ndarray, camera: Camera) -> MeshView:
    return MeshView.of(vertices, prepared.head.faces, camera, prepared.opaque & ~prepared.interior)


def project(
    portrait: TrackedPortrait, prepared: PreparedHead, rgb: np.ndarray, vertices: np.ndarray, labels: Segmentation
) -> tuple[Splats, np.ndarray, Observation]:
    """Gaussians that show the portrait, how far the photo may be trusted for the colour of each, and what it shows.

    The head's texels, of which it is what the photo shows, come first.
    """
    head, texels, on_face = prepared.head, prepared.texels, prepared.on_face
    alpha, camera = portrait.matte, portrait.camera
    shown = prepared.opaque & ~prepared.interior
    view = _seen(prepared, vertices, camera)
    under_hair = hair_vertices(view, labels.hair, alpha, head)
    hull = view
    for least, most in ((0, MAX_THICKNESS), (-CORRECTION, CORRECTION)):
        hull = _seen(prepared, inflate_scalp(hull, labels.hair, alpha, under_hair, head, least, most), camera)

    points = texels.points(hull.vertices, head.faces)
    embedding = head.landmarks478
    assert embedding is not None  # the portrait was tracked with them
    landmarks = np.einsum("lb,lbc->lc", embedding.barycentric, hull.vertices[head.faces[embedding.faces]])
    on_neck, hanging = _hair_before_neck(hull, labels.hair * alpha, prepared)
    hair = np.where(on_neck, hanging, labels.hair)  # nothing else on a neck is hair, as much as it may look like it
    seen = observe(prepared, points, landmarks, under_hair, hull, rgb, alpha, hair)
    colour = complete_skin(prepared, seen)
    colour = lid_colours(prepared, seen, colour)
    colour = lash_line(prepared, colour, lash_colour(rgb, hull, prepared))
    centre = camera.project(skull_centre(vertices, head)[None])[0][0]
    colour = complete_hair(seen, colour, rgb, labels.hair * (alpha > 0.9), centre)
    colour = _clothed(prepared, seen, colour, rgb, labels)
    skin = np.median(colour[on_face["face"][texels.face] & (seen.confidence > 0.3)], axis=0)
    tooth = visible_teeth(rgb, portrait.landmarks, skin)
    teeth = np.percentile(rgb[tooth], 70, axis=0) if tooth.any() else None
    axes = eye_axes(prepared, seen, portrait.landmarks)
    colour = eye_colours(prepared, seen, mouth_colours(prepared, colour, skin, teeth), axes)

    grown = hull.fragments.interpolate(under_hair[:, None], head.faces)[..., 0]
    bare_face = (1 - grown) * (hull.covered & on_face["face"][hull.fragments.face])
    clear = clear_of_occluder(hull, hull.covered & on_face["neck"][hull.fragments.face])
    on_texels = texel_splats(prepared, hull, points, seen, colour)
    on_pixels = detail_splats(hull, rgb, np.where(tooth | hanging, 0, alpha), bare_face, shown, clear, prepared)
    sheet = sheet_of(hull, alpha, labels, head)
    rim_rgb = _of_surface(sheet, hull, colour, rgb, prepared)
    splats = Splats.join([
        on_texels,
        mark_gap(carry_lashes(on_pixels, hull, prepared, axes, points, colour), prepared, landmarks),
        *teeth_splats(prepared, vertices, hull, rgb, tooth),
        *sheet_splats(sheet, hull, rim_rgb, alpha, ~hull.covered | hanging, prepared),
    ])  # fmt: skip
    of_texels = np.maximum(seen.sharpness, LEAST_TRUST * (seen.confidence > 0))
    of_texels *= 1 - sample(clear, seen.pixel) * pixel_share(seen.facing, sample(bare_face, seen.pixel))
    return splats, np.concatenate([of_texels, _trust_in_pixels(splats)[len(texels) :]]), seen


def _clothed(
    prepared: PreparedHead, seen: Observation, colour: np.ndarray, rgb: np.ndarray, labels: Segmentation
) -> np.ndarray:  # [N, 3], [H, W, 3] -> [N, 3]
    """Clothing goes round a neck: behind what the photo shows of it the unseen neck wears it too."""
    neck = (prepared.on_face["neck"] | prepared.on_face["collar"])[prepared.texels.face]
    unseen = neck & (seen.confidence < 0.05) & (sample(labels.cloth, seen.pixel) > 0.5)
    soft = BACK_SHADE * blurred(rgb, BACK_BLUR)
    return np.where(unseen[:, None], sample(soft, seen.pixel), colour)


def _of_surface(
    sheet: Sheet, hull: MeshView, colour: np.ndarray, rgb: np.ndarray, prepared: PreparedHead
) -> np.ndarray:  # [N, 3] of texels, [H, W, 3] -> [H, W, 3]
    """The photo, but with the rest of an outline in the colours of the surface beside it.

    Those pixels are mixed with the background, and seen from the side they lie on the surface like a string of beads.
    """
    texels, faces = prepared.texels, prepared.head.faces
    share = (texels.barycentric * prepared.outer[texels.face, None]).ravel()
    corner, n = faces[texels.face].ravel(), prepared.head.n_vertices
    total = np.maximum(np.bincount(corner, share, n), 1e-6)
    on_vertices = np.stack([np.bincount(corner, share * np.repeat(c, 3), n) / total for c in colour.T], axis=1)
    row, column = np.nonzero(sheet.rim & ~hull.covered)
    rgb = rgb.copy()
    rgb[row, column] = on_vertices[faces[sheet.touching[row, column]]].mean(1)
    return rgb


def _trust_in_pixels(splats: Splats) -> np.ndarray:  # [N] in [0, 1]
    """How far the photograph may change Gaussians that are its own pixels: less where they share it."""
    shared = np.clip((splats.opacities - 0.5) / 0.4, 0, 1) ** 2
    shared = np.where(splats.layer == Layer.RIM, RIM_TRUST * np.clip(splats.rgb.mean(1) + 0.3, 0, 1), shared)
    return np.where(splats.layer == Layer.BACK, 0, np.where(splats.layer == Layer.LASH, 1, shared))


def most_opaque(splats: Splats, prepared: PreparedHead) -> np.ndarray:  # [N] in [0, 1]
    """How opaque refinement may make each Gaussian.

    Pixels that share a grazing side of the face with texels must not win it over: seen from the side they are drawn
    out, and what they show of hair and shadow is a patch on the cheek.
    """
    sharing = (splats.layer == Layer.DETAIL) & prepared.on_face["face"][splats.face]
    more = splats.opacities * SHARE_GAIN / (1 - splats.opacities + splats.opacities * SHARE_GAIN)
    return np.where(sharing, more, 1)


def _hair_before_neck(
    hull: MeshView, hair: np.ndarray, prepared: PreparedHead
) -> tuple[np.ndarray, np.ndarray]:  # [H, W] bool, [H, W] bool
    """Pixels of the neck, and those of them that show locks which hang before it.

    In the middle of the neck hair is a beard and stays on the skin; and a white collar is not the end of white hair:
    most of a lock must hang clear of the neck.
    """
    neck = hull.covered & (prepared.on_face["neck"] | prepared.on_face["collar"])[hull.fragments.face]
    forward = hull.fragments.interpolate(hull.broad_normals, hull.faces) @ -hull.camera.viewmat[2, :3]
    lateral = neck & (forward > EDGE_OF_NECK) & (forward < SIDE_OF_NECK)
    locks, _ = label((hair > 0.5) & (lateral | ~hull.covered))
    clear = np.bincount(locks.ravel(), ~hull.covered.ravel()) > 0.5 * np.bincount(locks.ravel())
    clear[0] = False
    return neck, lateral & clear[locks]
