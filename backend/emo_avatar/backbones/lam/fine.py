"""Hair, clothes, ears and neck as sharp as the photograph: its pixels, on the surface that the network has made.

Some thousand Gaussians above scalp and neck say how far hair and clothes reach, from every side, but not what a strand
or a seam looks like. Where the photograph shows them, its pixels become Gaussians on that surface. Behind, the head is
closed to the outline that the photograph shows; the soft Gaussians stay between the two.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial import cKDTree

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.backbones.portrait.masks import blurred, grown, inset, nearest, worn
from emo_avatar.backbones.portrait.prepared import PreparedHead
from emo_avatar.backbones.portrait.splats import Layer, Splats, flat_splats
from emo_avatar.backbones.portrait.view import MeshView, sample, surface_at_pixels
from emo_avatar.render.camera import Camera
from emo_avatar.render.rasterize import rasterize

VISIBLE_ALPHA, SOLID_ALPHA = 0.08, 0.9  # of the matte: what is shown at all, and what hides all that is behind it
SMOOTHING = 7.0  # pixels over which the surface that soft Gaussians make is evened out
KNOWN_ALPHA = 0.3  # of their picture, from which it says where they are
BEFORE_SKIN = 0.0015  # metres that pixels lie before the skin that they cover
NARROW = 5  # pixels: half the width of a band beside the mesh that is the rest of its outline
RIM_INSET = 3  # pixels within an outline where it takes its colour: at the outline itself the background shines in
EDGE = 3  # pixels beside the outline in which every pixel has a Gaussian; else every second one along each axis
STRIDE, BACK_STRIDE = 2, 3
SIGMA, BACK_SIGMA = 0.55, 0.75  # standard deviations in strides
EDGE_TRUST = 0.25
OPACITY, BACK_OPACITY = 0.995, 0.97
SLOPE, BACK_SLOPE = 1.0, 2.5  # metres of depth per metre across, beyond which a disc would be a needle
THICKNESS = 0.002  # metres, standard deviation; seen from the side, hair is a soft band and no wire
PROTRUDING = 14  # pixels: half the width of what sticks out of a head, such as ears, and is none of its back
BACK_INSET = 3  # pixels that the back keeps within the outline
STEEP = 5  # pixels inside of that in which every pixel has a Gaussian there
BACK_SHADE, BACK_BLUR = 0.85, 3.0  # it is darker and softer
LEAST_HAIR = 0.004  # metres behind the scalp
BETWEEN = 0.5  # of its size that a soft Gaussian keeps from front and back
LEAST_INSIDE = 0.0015  # metres from the outline; what is nearer to it, and soft, is not there
LARGE, REACH = 0.003, 0.5  # metres; larger ones reach less than this share of the distance to the outline


@dataclass(frozen=True, eq=False)
class FineSurface:
    """Where in space the pixels lie that show hair, clothes, ears and neck."""

    view: MeshView
    depth: np.ndarray  # [H, W] metres before the camera
    chosen: np.ndarray  # [H, W] bool
    skin: np.ndarray  # [H, W] int32, the triangle that a pixel lies on, or beside whose outline it is; else -1
    back: np.ndarray  # [H, W] metres, depth of the head's unseen side
    behind: np.ndarray  # [H, W] bool, where there is one
    from_outline: np.ndarray  # [H, W] float32 metres in the picture's plane, 0 outside of the person


def fine_surface(
    world: Gaussians,
    prepared: PreparedHead,
    vertices: np.ndarray,  # [V, 3] metres
    camera: Camera,
    alpha: np.ndarray,  # [H, W]
) -> FineSurface:
    """Of a person's Gaussians as they stand in the photograph."""
    on_face = prepared.on_face
    view = MeshView.of(vertices, prepared.head.faces, camera, prepared.opaque & ~prepared.interior)
    covered, triangle, mesh = view.covered, view.fragments.face, view.fragments.depth
    feature = prepared.interior | prepared.eyes | on_face["face"] | on_face["lids"] | on_face["lips"]
    face = covered & feature[triangle]
    soft = rasterize(world, camera)
    known = np.where(face | (alpha < SOLID_ALPHA), 0, soft.alpha.numpy())
    known = np.where(known > KNOWN_ALPHA, known, 0)
    weight = blurred(known, SMOOTHING)
    depth = blurred(known * soft.depth.numpy(), SMOOTHING) / np.maximum(weight, 1e-6)
    if (weight > 0.1).any():
        row, column = nearest(weight > 0.1)
        depth = blurred(depth[row, column], SMOOTHING / 2)
    depth = np.where(covered, np.minimum(depth, mesh - BEFORE_SKIN), depth)
    depth = np.where(covered & on_face["ears"][triangle], mesh - BEFORE_SKIN, depth)
    off = ~covered & (alpha > VISIBLE_ALPHA)
    row, column = nearest(covered)
    rim = off & ~grown(worn(off, NARROW), NARROW) & (inset(~covered) < 2 * NARROW)
    beside = blurred(np.where(covered, mesh, 0), 2) / np.maximum(blurred(covered, 2), 1e-6)
    depth = np.where(rim, np.where(blurred(covered, 2) > 0.01, beside, mesh[row, column]), depth)
    outline = inset(np.pad(alpha > 0.5, 1))[1:-1, 1:-1] * view.metres_per_pixel
    back, behind = _back(view, depth, prepared, alpha)
    skin = np.where(covered | rim, triangle[row, column], -1)
    beneath = covered & on_face["neck"][triangle] & grown(face, NARROW)  # in the jaw's shadow, and seen askance
    chosen = (alpha > VISIBLE_ALPHA) & ~face & ~beneath & ~(rim & ~feature[triangle[row, column]])
    return FineSurface(view, depth.astype(np.float32), chosen, skin, back, behind, outline)


def _back(
    view: MeshView, front: np.ndarray, prepared: PreparedHead, alpha: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:  # [H, W] metres, [H, W] bool
    """The unseen side of a head: from its outline in the photograph round to behind the scalp, like an ellipsoid."""
    regions = prepared.head.regions
    pixel, depth = view.camera.project(view.vertices)
    lowest = int(np.clip(pixel[regions["ears"], 1].max(), 1, len(alpha) - 1))
    head = alpha > 0.5
    head[lowest:] = head[lowest - 1]  # what is below is no edge of the head
    head = np.pad(head, ((0, PROTRUDING), (0, 0)), mode="edge")
    head = grown(worn(head, PROTRUDING), PROTRUDING)[: len(alpha)]
    distance = inset(np.pad(head, ((1, len(alpha)), (1, 1)), mode="edge"))[1 : len(alpha) + 1, 1:-1]
    rows = np.arange(len(alpha))[:, None] < lowest
    behind = worn(head, BACK_INSET) & rows
    outline = head & ~worn(head, 1) & rows
    if not outline.any():
        return front, np.zeros_like(head)
    row, column = nearest(outline)
    start = blurred(front[row, column], SMOOTHING)
    furthest = depth[regions["scalp"]].max() + LEAST_HAIR
    inward = np.clip(1 - distance / max(float(distance[rows[:, 0]].max()), 1.0), 0, 1)
    return (start + np.maximum(furthest - start, 0) * np.sqrt(1 - inward**2)).astype(np.float32), behind


def between(world: Gaussians, surface: FineSurface, soft: np.ndarray, largest: np.ndarray) -> Gaussians:
    """The ``soft [N]`` ones between what the pixels show and the back, within the outline, and no larger than
    ``largest [N]`` metres."""
    means, scales = world.means.numpy(), world.scales.numpy()
    camera = surface.view.camera
    pixel, depth = camera.project(means)
    inside = sample(surface.from_outline, pixel)
    inside[((pixel < 0) | (pixel > (camera.width, camera.height))).any(1)] = 0
    first = scales.max(1)
    drawn = np.where(soft, np.minimum(first, largest), first)
    size = np.where(soft & (drawn > LARGE), np.clip(REACH * inside, LARGE, drawn), drawn)
    there = lambda mask: soft & (sample(mask.astype(np.float32), pixel) > 0.5)  # noqa: E731
    wanted = np.where(there(surface.behind), np.minimum(depth, sample(surface.back, pixel) - BETWEEN * size), depth)
    nearest_place = sample(surface.depth, pixel) + BETWEEN * size
    wanted = np.where(there(surface.chosen), np.maximum(wanted, nearest_place), wanted)
    means = camera.position + (means - camera.position) * (wanted / np.maximum(depth, 1e-3))[:, None]
    denser = 1 - (1 - world.opacities.numpy()) ** (first / drawn)
    opacities = np.where(soft & (inside < LEAST_INSIDE), 0, denser)
    changed = (means, np.minimum(scales, size[:, None]), opacities)
    tensors = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in changed)
    return replace(world, **dict(zip(("means", "scales", "opacities"), tensors, strict=True)))


def fine_splats(surface: FineSurface, rgb: np.ndarray, alpha: np.ndarray, prepared: PreparedHead) -> Splats:
    """The pixels as discs; ``rgb [H, W, 3]`` is the clean foreground under ``alpha [H, W]``.

    What covers skin rides on it, hair beside the head on what no expression moves, and clothes on the collar.
    """
    view, chosen = surface.view, surface.chosen
    rim = (surface.skin >= 0) & ~view.covered
    row, column = nearest(worn(view.covered, RIM_INSET))
    front = np.where(rim[..., None], blurred(rgb, 1)[row, column], rgb)
    inner = worn(alpha > SOLID_ALPHA, RIM_INSET)
    if inner.any():
        row, column = nearest(inner)
        front = np.where((inner | rim)[..., None], front, blurred(rgb, 1)[row, column])
    edge = chosen & (grown(alpha < SOLID_ALPHA, EDGE) | rim)
    opacity = np.where(alpha > SOLID_ALPHA, OPACITY, np.clip(alpha, 0, 0.99))
    hair = chosen & (alpha > SOLID_ALPHA) & ~rim
    hair &= ~view.covered | prepared.on_face["scalp"][view.fragments.face]
    row, column = nearest(hair if hair.any() else chosen)
    back = BACK_SHADE * blurred(rgb[row, column], BACK_BLUR)
    steep = surface.behind & ~worn(surface.behind, STEEP)
    broad = worn(surface.behind, STEEP // 2) & _every(BACK_STRIDE, alpha.shape)
    solid = np.full(alpha.shape, BACK_OPACITY)
    lay = functools.partial(_discs, surface=surface, prepared=prepared)
    return Splats.join([
        lay(edge, surface.depth, SIGMA, front, opacity, Layer.SHEET),
        lay(chosen & ~edge & _every(STRIDE, alpha.shape), surface.depth, STRIDE * SIGMA, front, opacity, Layer.SHEET),
        lay(steep, surface.back, 1.0, back, solid, Layer.BACK),
        lay(broad, surface.back, BACK_STRIDE * BACK_SIGMA, back, solid, Layer.BACK),
    ])  # fmt: skip


def trust_in(fine: Splats) -> np.ndarray:  # [N] in [0, 1]
    """How far the photograph may change each: not what it does not show, and less what the background shines into."""
    return np.where(fine.layer == Layer.BACK, 0, np.where(fine.opacities < OPACITY, EDGE_TRUST, 1)).astype(np.float32)


def _every(stride: int, shape: tuple[int, ...]) -> np.ndarray:  # [H, W] bool
    grid = np.zeros(shape, bool)
    grid[stride // 2 :: stride, stride // 2 :: stride] = True
    return grid


def _discs(
    which: np.ndarray,  # [H, W] bool
    depth: np.ndarray,  # [H, W] metres
    sigma: float,  # pixels
    rgb: np.ndarray,
    opacity: np.ndarray,
    layer: Layer,
    surface: FineSurface,
    prepared: PreparedHead,
) -> Splats:
    view = surface.view
    row, column = np.nonzero(which)
    slope = BACK_SLOPE if layer == Layer.BACK else SLOPE
    points, u, v = surface_at_pixels(depth, row, column, view.camera, sigma, slope)
    face = np.where(layer == Layer.BACK, -1, surface.skin[row, column])
    on_skin = (face >= 0) & ~(prepared.on_face["scalp"] & ~prepared.stable)[face]
    collar = view.vertices[prepared.head.regions["collar"]][:, 1].max()
    low = ~on_skin & (points[:, 1] < collar)
    centres = view.vertices[view.faces].mean(1)
    for carried, carriers in ((~on_skin & ~low, prepared.stable), (low, prepared.on_face["collar"])):
        allowed = np.flatnonzero(carriers)
        if carried.any():
            face[carried] = allowed[cKDTree(centres[allowed]).query(points[carried])[1]]
    thickness = np.maximum(np.linalg.norm(u, axis=1) / 2, np.where(on_skin, 0, THICKNESS))
    return flat_splats(face, points, (u, v), thickness, opacity[row, column], rgb[row, column], layer)
