"""Colours for what the photograph does not show: mirrored from the other side where that is seen, else grown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter1d, minimum_filter
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import splu

from emo_avatar.backbones.portrait.masks import nearest, worn
from emo_avatar.backbones.portrait.prepared import PreparedHead
from emo_avatar.backbones.portrait.view import MeshView, distance_to, sample
from emo_avatar.backbones.uv.mouth import lip_gap
from emo_avatar.backbones.uv.rays import DIRECTIONS, rays
from emo_avatar.tracking.topology import LEFT_EYE, MOUTH_CORNERS, RIGHT_EYE

LEAST_FACING = 0.15  # cosine under which a photograph says nothing of a surface
EDGE = 3  # pixels of the matte's edge that are not trusted
OCCLUSION = 0.0015  # metres that something must lie before a texel to hide it
SHARP_ON_FACE, SHARP_ELSEWHERE = (0.25, 0.50), (0.02, 0.15)  # confidence from and at which single pixels are trusted
MIRROR_TRUST = 0.6  # how much less the other side's colour counts: faces are lit from one side
CERTAINTY = 0.7  # exponent of the confidence that smooth completion weights colours with; less: shaded sides count more
STIFFNESS = 1.0  # of the smooth field against a fully trusted texel
BESIDE = 2  # pixels beside something nearer that are left to the softer texels
CONTACT = 10.0  # pixels below the jaw over which texels give way to pixels: a sharp edge would show when it moves
STEP = 0.010  # metres of depth between neighbouring pixels that make one an occluder
CORNER_REACH = 0.004  # metres around the corners of the mouth
BROW_REACH, BROW_DARKNESS = 0.035, 0.5  # metres from an eye, and brightness as a share of the face's, that are a brow
LASH_REACH = 0.0045  # metres around the eye slit where lashes and shadows spoil a lid's colour; half of it off the lids
GRAIN = 0.6  # of the fine structure of well seen skin that completed skin gets
FINEST, COARSEST = 0.9, 0.08  # sharpness from which skin lends it, and the largest difference that it may make
LEAST_BAND = 6.0  # pixels of hair that a direction must show to be a source of hair
BAND_SHARE = 0.35  # of the widest bands, likewise
HANGING = (20, 160)  # degrees in the picture where hair hangs and does not grow
RIM = 3.0  # pixels along the hair's outline that are not folded back: the background shines through
FOLDS = 0.5  # least period of folding, of the radius: more folds would show as rings


@dataclass(frozen=True)
class Observation:
    """What the photograph says of each texel."""

    rgb: np.ndarray  # [N, 3] the pixel there, whether it shows the texel or not
    confidence: np.ndarray  # [N] in [0, 1], 0: hidden
    sharpness: np.ndarray  # [N] in [0, 1], how far a texel may take its own pixel rather than the smooth field
    under_hair: np.ndarray  # [N] bool
    brow: np.ndarray  # [N] bool, dark hair near the eyes, which must not colour the lids
    facing: np.ndarray  # [N] cosine to the camera, of the form at large
    pixel: np.ndarray  # [N, 2]


def observe(
    prepared: PreparedHead,
    points: np.ndarray,  # [N, 3] texels on the hull, at the photo's pose
    landmarks: np.ndarray,  # [478, 3] on the posed head
    under_hair: np.ndarray,  # [V]
    hull: MeshView,
    rgb: np.ndarray,
    alpha: np.ndarray,
    hair: np.ndarray,  # [H, W] in [0, 1]
) -> Observation:
    """Project the texels into the photograph and decide which of its pixels really show them."""
    texels = prepared.texels
    pixel, _ = hull.camera.project(points)
    hairy = texels.points(under_hair[:, None], hull.faces)[:, 0] > 0.5
    trusted = (worn(alpha > 0.9, EDGE) & ~beside_occluder(hull, 1)).astype(float)
    normals = texels.points(hull.broad_normals, hull.faces)
    facing = hull.facing(points, normals / np.linalg.norm(normals, axis=1, keepdims=True))
    right_label = np.where(hairy, sample(hair, pixel), 1 - sample(hair, pixel))
    shown = hull.sees(points, OCCLUSION) & (sample(trusted, pixel) > 0.99)
    to_eyes = distance_to(landmarks[list(LEFT_EYE + RIGHT_EYE)], points)
    clear = np.where(prepared.outer[texels.face], _unspoilt(prepared, points, landmarks, to_eyes), 1)
    confidence = shown * clear * right_label * np.clip((facing - LEAST_FACING) / (1 - LEAST_FACING), 0, 1)
    # On the grazing sides of the face the fit errs by more than a texel, and single pixels would be those of ears, hair
    # and the frames of glasses.
    sides = prepared.on_face["face"][texels.face] & ~hairy
    low, high = (np.where(sides, a, b) for a, b in zip(SHARP_ON_FACE, SHARP_ELSEWHERE, strict=True))
    sharpness = np.clip((confidence - low) / (high - low), 0, 1)
    seen = sample(rgb, pixel)
    bright = np.median(seen[prepared.on_face["face"][texels.face] & (confidence > 0.5)].mean(1))
    brow = (to_eyes < BROW_REACH) & (seen.mean(1) < BROW_DARKNESS * bright)
    gap = lip_gap(prepared, texels.face, points, seen, landmarks)
    return Observation(seen, confidence * ~gap, sharpness * ~gap, hairy, brow, facing, pixel)


def clear_of_occluder(hull: MeshView, soft: np.ndarray) -> np.ndarray:  # [H, W] bool -> [H, W] in [0, 1]
    """0 beside something much nearer, 1 away from it; where ``soft``, the one turns slowly into the other."""
    beside = beside_occluder(hull, BESIDE)
    if not beside.any():
        return np.ones(beside.shape)
    t = np.clip(distance_transform_edt(~beside) / CONTACT, 0, 1)
    return np.where(soft, t * t * (3 - 2 * t), ~beside)


def beside_occluder(hull: MeshView, reach: int) -> np.ndarray:  # [H, W] bool
    """Pixels within ``reach`` of something much nearer, such as the jaw before the neck: they may show either."""
    depth = np.where(hull.covered, hull.fragments.depth, np.finfo(np.float32).max)
    return hull.covered & (depth - minimum_filter(depth, size=2 * reach + 1) > STEP)


def _unspoilt(
    prepared: PreparedHead, points: np.ndarray, landmarks: np.ndarray, to_eyes: np.ndarray
) -> np.ndarray:  # [N] in [0, 1]
    """Less than 1 on skin that the photo shows under lashes and their shadow, or in the dark corners of the mouth."""
    on_lids = prepared.on_face["lids"][prepared.texels.face]
    to_corners = distance_to(landmarks[list(MOUTH_CORNERS)], points)
    from_eyes = to_eyes / np.where(on_lids, LASH_REACH, LASH_REACH / 2)
    clear: np.ndarray = np.clip(3 * np.minimum(from_eyes, to_corners / CORNER_REACH) - 2, 0, 1)  # from two thirds on
    return clear


def complete_skin(prepared: PreparedHead, seen: Observation) -> np.ndarray:  # -> [N, 3]
    """Colours of all texels, right for those of bare outer skin: observed ones fade into a smooth fill of the rest."""
    texels = prepared.texels
    outer = prepared.outer[texels.face] & ~seen.under_hair
    own = np.where(outer, seen.confidence**CERTAINTY, 0)
    other = MIRROR_TRUST * np.where(outer, own[texels.mirror], 0)
    evidence = np.where((own >= other)[:, None], seen.rgb, seen.rgb[texels.mirror])
    weight = np.where(seen.brow, 0, np.maximum(own, other))
    ears = prepared.on_face["ears"][texels.face]
    fill = grow(prepared, evidence, np.where(ears, 0, weight), outer)  # light on an ear says nothing of the cheek
    fill[ears] = grow(prepared, evidence, weight, outer)[ears]
    sharp = np.where(own >= other, seen.sharpness * outer, MIRROR_TRUST * seen.sharpness[texels.mirror])[:, None]
    sharp[prepared.on_face["lids"][texels.face]] = 0  # an open eye's lid is all crease and shadow
    return sharp * evidence + (1 - sharp) * (fill + grain(prepared, seen, fill))


def grain(prepared: PreparedHead, seen: Observation, fill: np.ndarray) -> np.ndarray:  # [N, 3] -> [N, 3]
    """What each texel may differ from its surroundings by, as texels of well seen skin do: pores and light on them."""
    on_face = prepared.on_face
    plain = on_face["face"] & prepared.outer & ~on_face["brows"] & ~on_face["lids"] & ~on_face["lips"]
    lender = np.flatnonzero(plain[prepared.texels.face] & (seen.sharpness > FINEST) & ~seen.brow & ~seen.under_hair)
    difference = seen.rgb[lender] - fill[lender]
    difference = difference[np.abs(difference).max(1) < COARSEST]
    if not len(difference):
        return np.zeros_like(fill)
    difference = difference - difference.mean(0)
    return GRAIN * difference[np.random.default_rng(0).integers(len(difference), size=len(fill))]


def grow(
    prepared: PreparedHead,
    colour: np.ndarray,  # [N, 3]
    weight: np.ndarray,  # [N] how sure each texel's colour is
    domain: np.ndarray,  # [N] bool
) -> np.ndarray:  # [N, 3]
    """A smooth colour field over a part of the surface that follows the sure texels and bridges the gaps between them.

    Solves the screened Laplace equation on the mesh's vertices, ``(W + s L) c = W o``: where texels are known the
    field is their local mean, elsewhere it is harmonic.
    """
    texels, faces = prepared.texels, prepared.head.faces
    n = prepared.head.n_vertices
    corner, share = faces[texels.face].ravel(), (texels.barycentric * (weight * domain)[:, None]).ravel()
    sure = np.bincount(corner, share, n)
    observed = np.stack([np.bincount(corner, share * np.repeat(colour[:, k], 3), n) for k in range(3)], axis=1)
    inside = np.zeros(n, bool)
    inside[faces[texels.face[domain]]] = True
    if not sure[inside].any():
        return colour
    edges = prepared.edges[inside[prepared.edges].all(1)]
    pull = np.concatenate([np.full(len(edges), STIFFNESS)] * 2)
    adjacency = coo_matrix((pull, (edges.ravel("F"), edges[:, ::-1].ravel("F"))), shape=(n, n)).tocsr()
    anchor = 1e-6  # islands that touch nothing known take the mean colour
    typical = observed.sum(0) / sure.sum()
    system = diags(np.asarray(adjacency.sum(1)).ravel() + sure + anchor) - adjacency
    field = splu(system.tocsc()).solve(observed + anchor * typical)
    return np.clip(texels.points(field, faces), 0, 1)


def complete_hair(
    seen: Observation, colour: np.ndarray, rgb: np.ndarray, hair: np.ndarray, centre: np.ndarray
) -> np.ndarray:  # [N, 3], [H, W, 3], [H, W], [2] px -> [N, 3]
    """Colours of the texels under hair: the hair around the face, folded over to the unseen back of the head.

    Each direction from the middle of the skull (``centre``) has a band of visible hair; a hidden texel in that
    direction takes the pixel at which it would lie if the band were folded back at the silhouette, so that locks go on
    where they leave the picture. A band too narrow to reach the middle is stretched.
    """
    bands = _hair_bands(hair, centre)
    if bands is None:
        return colour
    inner, outer, borrowed = bands
    row, column = nearest(hair >= 0.5)
    rgb = rgb[row, column]  # between two directions with hair there may be an ear
    offset = seen.pixel - centre
    degrees = np.degrees(np.arctan2(offset[:, 1], offset[:, 0]))
    low, high = (np.interp(degrees, DIRECTIONS, b, period=360) for b in (inner, outer))
    inset = np.clip(high - np.linalg.norm(offset, axis=1), 0, None)
    period = np.maximum(high - low, FOLDS * high)
    fold = inset % (2 * period)
    fold = np.minimum(fold, 2 * period - fold) / period * (high - low)
    at = np.radians(borrowed[np.round(degrees).astype(int) % 360])
    pixel = centre + (high - np.clip(fold, RIM, None))[:, None] * np.stack([np.cos(at), np.sin(at)], axis=1)
    folded = sample(rgb, pixel)
    sure = seen.sharpness[:, None]
    return np.where(seen.under_hair[:, None], sure * seen.rgb + (1 - sure) * folded, colour)


def _hair_bands(hair: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Inner and outer radius (px) of the visible hair by degree, and the degree that each borrows them from."""
    present = rays(hair, centre) > 0.5
    present[(HANGING[0] < DIRECTIONS) & (HANGING[1] > DIRECTIONS)] = False
    inner = present.argmax(1)
    beyond = np.arange(present.shape[1]) > inner[:, None]
    outer = (beyond & ~present).argmax(1) - 1  # the first unbroken run: beyond a gap there may be a shoulder
    width = np.where(present.any(1), outer - inner, 0)
    good = np.flatnonzero(width >= max(LEAST_BAND, BAND_SHARE * np.percentile(width, 90)))
    if not len(good):
        return None
    # A direction without enough hair is reflected into those that have some, so that neighbours stay neighbours.
    missing = np.setdiff1d(DIRECTIONS, good)
    edge = good[np.abs((missing[:, None] - good[None] + 180) % 360 - 180).argmin(1)]
    mirrored = (2 * edge - missing) % 360
    borrowed = DIRECTIONS.copy()
    borrowed[missing] = np.where(np.isin(mirrored, good), mirrored, edge)
    low, high = (gaussian_filter1d(b[borrowed].astype(float), 2, mode="wrap") for b in (inner, outer))
    return low, np.maximum(high, low + LEAST_BAND), borrowed
