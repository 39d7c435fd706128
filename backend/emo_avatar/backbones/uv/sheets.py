"""What the photograph shows beside the head (loose hair, shoulders, clothing): two-sided sheets of plausible depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from emo_avatar.backbones.portrait.masks import blurred, grown, inset, worn
from emo_avatar.backbones.portrait.prepared import PreparedHead
from emo_avatar.backbones.portrait.splats import Layer, Splats, flat_splats
from emo_avatar.backbones.portrait.view import MOST_SLOPE, MeshView, surface_at_pixels
from emo_avatar.backbones.uv.segmentation import Segmentation
from emo_avatar.head.data import HeadData

HAIR_ROUNDING, TORSO_ROUNDING = 0.03, 0.10  # metres: radius of the edge that a sheet curves back with
BEHIND_EARS = 0.008  # metres that loose hair hangs behind the middle of the ears
LOCK_BEFORE_TORSO = 0.008  # metres
LOCK_BEFORE_SKIN = 0.003  # metres
FRINGE = 3.0  # pixels: what of hair is so near to bare skin is a matte's fringe, not a lock that hangs behind a jaw
NARROW = 6  # pixels: half the width of a band of hair along the mesh that belongs to it, such as a beard's edge
SEAM = 0.022  # metres over which a sheet leaves the depth of the surface that it touches
VISIBLE_ALPHA, SOLID_ALPHA = 0.08, 0.9
BACK_INSET = 5  # pixels within the outline, two standard deviations: seen from the front the back must not stick out
BOTTOM = 40  # pixels
RIM_SMOOTHING = 3.0  # pixels along an outline: the nearest surface jumps from an ear to the jaw
RIM_DEPTH = 0.0010  # metres, standard deviation: seen from the side the rest of an outline must not be a row of beads
STRIDE, BACK_STRIDE = 2, 3  # pixels per Gaussian
EDGE = 3  # pixels beside the matte's edge in which every pixel has one
SIGMA, BACK_SIGMA = 0.55, 0.75  # standard deviations in strides
PIXEL_OPACITY, BACK_OPACITY = 0.995, 0.97
LOCK_DEPTH = 0.003  # metres, standard deviation; seen from the side, loose hair is a soft band and no wire
LEAST_THICKNESS = 0.004  # metres between the two sides
SKIN_SLOPE = 0.2  # of skin's, in place of `MOST_SLOPE`
BACK_SHADE, BACK_BLUR = 0.85, 2.0  # the unseen side is darker and softer


@dataclass(frozen=True)
class Sheet:
    """Where in space the pixels lie that the head's surface does not explain, and what carries them."""

    front: np.ndarray  # [H, W] metres, camera depth of the side that the photo shows
    back: np.ndarray  # [H, W] metres, of the unseen side
    rim: np.ndarray  # [H, W] bool, the rest of an outline that the surface missed: skin, or a narrow band of hair
    torso: np.ndarray  # [H, W] bool, shoulders rather than head
    touching: np.ndarray  # [H, W] int32, the triangle of the surface that is nearest in the picture


def sheet_of(view: MeshView, alpha: np.ndarray, labels: Segmentation, head: HeadData) -> Sheet:
    """Loose hair hangs in the plane of the ears, shoulders in the plane of the collar; both bulge like pillows."""
    pixel, depth = view.camera.project(view.vertices)
    ear_plane = depth[head.regions["ears"]].mean() + BEHIND_EARS
    collar = head.regions["collar"]
    collar_plane, collar_row = depth[collar].mean(), pixel[collar, 1].mean()
    chin_row = pixel[head.regions["face"], 1].max()
    metres = view.metres_per_pixel
    row = np.arange(alpha.shape[0])[:, None] + 0.5
    person = alpha > 0.3
    below_chin = np.broadcast_to(np.clip((row - chin_row) / max(collar_row - chin_row, 1), 0, 1), alpha.shape)

    to_mesh, nearest = distance_transform_edt(~view.covered, return_indices=True)
    touched = view.fragments.depth[nearest[0], nearest[1]]  # depth of the surface where the sheet meets it
    fade = np.exp(-to_mesh * metres / SEAM)

    torso_bulge = _pillow(person & (row > chin_row), TORSO_ROUNDING, metres)
    torso = collar_plane - torso_bulge
    torso = torso + fade * blurred(touched - torso, 2) * below_chin

    hair_bulge = _pillow(person, HAIR_ROUNDING, metres)
    hair = ear_plane - hair_bulge
    hair = hair + below_chin * (np.minimum(hair, torso - LOCK_BEFORE_TORSO) - hair)
    hair = hair + (1 - below_chin) * fade * (touched - hair) * _above_ears(view, head, row)

    outside = np.where(view.covered, 1e-3, 1)
    along = blurred(outside * touched, RIM_SMOOTHING) / blurred(outside, RIM_SMOOTHING)
    skin = along + (1 - fade) * (torso - along) * below_chin
    share = labels.probability
    off = ~view.covered & person
    on_hair = share[nearest[0], nearest[1], 1] > 0.5  # where the surface ends in bare skin, the hair is behind it
    sliver = off & ~grown(worn(off, NARROW), NARROW) & (to_mesh < 2 * NARROW)
    narrow = sliver & (share[..., 1] > 0.5) & (on_hair | (to_mesh < FRINGE))
    # What hangs beside a jaw lies far behind it: between the two there is nothing, and no slope of single pixels.
    # What is skin for certain (a hand, a shoulder) has no share in either, and goes where it would hang by its height.
    hanging, unsure = share[..., 1] + share[..., 2], 1e-3
    either = hair + below_chin * (torso - hair)
    loose = blurred((share[..., 1] * hair + share[..., 2] * torso + unsure * either) / (hanging + unsure), 1.5)
    loose = np.where(view.covered, np.minimum(loose, view.fragments.depth - LOCK_BEFORE_SKIN), loose)
    bare = (share[..., 0] > 0.5) & ((to_mesh < 2 * NARROW) | (below_chin > 0))  # nobody's skin floats beside their face
    front = np.where(bare, skin, np.where(narrow, along, loose))
    torso_share = below_chin * (1 - share[..., 1])
    back = (1 - torso_share) * (ear_plane + hair_bulge) + torso_share * (collar_plane + torso_bulge)
    return Sheet(
        front,
        np.maximum(back, front + LEAST_THICKNESS),
        bare | narrow,
        torso_share > 0.5,
        view.fragments.face[nearest[0], nearest[1]],
    )


def _pillow(mask: np.ndarray, rounding: float, metres: float) -> np.ndarray:  # [H, W] metres
    """Height of a cushion over the mask with a rounded edge; the picture's border is no edge."""
    padded = np.pad(mask, int(rounding / metres) + 1, mode="edge")
    from_edge = inset(padded)[(slice(int(rounding / metres) + 1, -int(rounding / metres) - 1),) * 2]
    # Where its side would be steeper than a disc may lie, the circle begins later.
    steep = rounding * (1 - MOST_SLOPE / np.hypot(1, MOST_SLOPE))
    d = np.minimum(from_edge * metres + steep, rounding)
    return np.sqrt(d * (2 * rounding - d)) - np.sqrt(steep * (2 * rounding - steep))


def _above_ears(view: MeshView, head: HeadData, row: np.ndarray) -> np.ndarray:  # [H, 1]
    """1 above the ears, where hair clings to the skull, 0 below, where it hangs clear of the jaw."""
    ears = view.camera.project(view.vertices[head.regions["ears"]])[0][:, 1]
    return np.clip((ears.mean() - row) / max(float(np.ptp(ears)), 1) + 0.5, 0, 1)


def sheet_splats(
    sheet: Sheet,
    view: MeshView,
    rgb: np.ndarray,  # [H, W, 3] clean foreground
    alpha: np.ndarray,  # [H, W]
    off: np.ndarray,  # [H, W] bool, pixels that the sheets show
    prepared: PreparedHead,
) -> list[Splats]:
    """Front and back of the sheets as discs.

    They ride on triangles that no expression moves, shoulders on the collar's; but the rest of an outline goes with the
    skin that it touches.
    """
    opacity = np.where(alpha > SOLID_ALPHA, PIXEL_OPACITY, np.clip(alpha, 0, 0.99))
    front = off & (alpha > VISIBLE_ALPHA)
    behind = ~view.covered & ~sheet.rim & worn(alpha > SOLID_ALPHA, BACK_INSET)
    behind[-BOTTOM:] = False  # cut off with the picture, the back would show under the front
    soft = BACK_SHADE * blurred(rgb, BACK_BLUR)
    centres = view.vertices[view.faces].mean(1)

    def discs(
        chosen: np.ndarray,
        depth: np.ndarray,
        max_slope: float,
        sigma: float,
        layer: Layer,
        least_thickness: float = 0.0,
    ) -> Splats:
        row, column = np.nonzero(chosen)
        points, u, v = surface_at_pixels(depth, row, column, view.camera, sigma, max_slope)
        face = sheet.touching[row, column].copy()
        loose, torso = ~sheet.rim[row, column], sheet.torso[row, column]
        for carried, carriers in ((loose & ~torso, prepared.stable), (torso, prepared.on_face["collar"])):
            face[carried] = _nearest_face(points[carried], centres, carriers)
        thickness = np.maximum(np.linalg.norm(u, axis=1) / 2, least_thickness)
        colour, strength = (soft, np.full(alpha.shape, BACK_OPACITY)) if layer == Layer.BACK else (rgb, opacity)
        return flat_splats(face, points, (u, v), thickness, strength[row, column], colour[row, column], layer)

    # The rest of an outline is a pixel or two wide: full density, hardly a slope, or it would be drawn out sideways.
    # Loose hair is no surface: its discs face the camera and are as deep as a lock.
    edge = front & grown(alpha < SOLID_ALPHA, EDGE) & ~sheet.rim
    broad = front & ~edge & ~sheet.rim & _grid(alpha.shape, STRIDE)
    return [
        discs(front & sheet.rim, sheet.front, SKIN_SLOPE, SIGMA, Layer.RIM, RIM_DEPTH),
        discs(edge & sheet.torso, sheet.front, MOST_SLOPE, SIGMA, Layer.SHEET),
        discs(broad & sheet.torso, sheet.front, MOST_SLOPE, STRIDE * SIGMA, Layer.SHEET),
        discs(edge & ~sheet.torso, sheet.front, 0.0, SIGMA, Layer.SHEET, LOCK_DEPTH),
        discs(broad & ~sheet.torso, sheet.front, 0.0, STRIDE * SIGMA, Layer.SHEET, LOCK_DEPTH),
        discs(behind & _grid(alpha.shape, BACK_STRIDE), sheet.back, MOST_SLOPE, BACK_STRIDE * BACK_SIGMA, Layer.BACK),
    ]


def _grid(shape: tuple[int, ...], stride: int) -> np.ndarray:  # [H, W] bool
    grid = np.zeros(shape, bool)
    grid[stride // 2 :: stride, stride // 2 :: stride] = True
    return grid


def _nearest_face(points: np.ndarray, centres: np.ndarray, allowed: np.ndarray) -> np.ndarray:  # [N] int
    faces = np.flatnonzero(allowed)
    if not len(points):
        return np.empty(0, int)
    return faces[cKDTree(centres[faces]).query(points)[1]]
