"""`appearance` by PyTorch operations, for many frames at once: what a GPU does instead of the kernels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from emo_avatar.avatar import shading
from emo_avatar.avatar.gaussians import SH_C0, Gaussians

_GREY = 0.5 / SH_C0
_TINY = 1e-9


@dataclass(frozen=True, eq=False)
class SkinTables:
    """What `appearance.SkinModulator` knows, on one device."""

    faces: Tensor  # [F, 3] int64
    corners: Tensor  # [N, 3] int64 vertices of each Gaussian's triangle
    photo: Tensor  # [F, 3] triangles at rest in their planes, as `appearance.planar` says
    neutral: Tensor  # [F, 3]
    directions: Tensor  # [F, 5]
    limit: Tensor  # [F]
    area: Tensor  # [V] around each vertex
    photo_light: Tensor  # [V]
    photo_folding: Tensor  # [V, 3]
    shaded: Tensor  # [N] bool
    barycentric: Tensor  # [N, 3]
    depth: Tensor  # [N, 3] of folds, in [0, 1]
    detail: Tensor  # [N]
    unfolding: Tensor  # [N, 3] log of what folds do to each colour
    measured: Tensor  # [N] in [0, 1], how far that is known


def skin_in_frames(skin: SkinTables, gaussians: Gaussians, vertices: Tensor) -> tuple[Tensor, Tensor]:
    """Opacities ``[T, N]`` and harmonics ``[T, N, K, 3]`` on the deformed, unturned ``vertices [T, V, 3]``."""
    around = torch.cat(tuple(_deformation(skin, vertices)), -1)  # [T, V, 5] strain, light, folding
    now = _on_gaussians(skin, around)
    strain, light, folding = now[..., 0], now[..., 1], now[..., 2:]
    before = _on_gaussians(skin, torch.cat([skin.photo_light[:, None], skin.photo_folding], 1))
    strength = ((1 - skin.detail * strain) / (1 - shading.FADE_FROM)).clamp(0, 1)

    deepest, photo_deepest = ((skin.depth * x).amax(-1) for x in (folding, before[:, 1:]))
    beside = skin.depth + shading.BESIDE_LINES
    drawn, photo_drawn = ((beside * x).amax(-1) for x in (folding, before[:, 1:]))
    # What was measured is not assumed as well.
    deepest = deepest + skin.measured * (photo_deepest - deepest).clamp_min(0)
    turned = light / before[:, 0].clamp_min(shading.GRAZING)
    gain = (turned * (1 - shading.FOLD_SHADE * (deepest - photo_deepest))).clamp(shading.DARKEST, shading.BRIGHTEST)
    vivid = 1 + shading.SATURATION * (1 - gain).clamp_min(0)
    gain, vivid = (torch.where(skin.shaded, x, 1.0)[..., None] for x in (gain, vivid))  # [T, N, 1]

    marked = skin.shaded & (skin.measured > 0)
    gone = torch.where(marked & (drawn < photo_drawn), 1 - drawn / photo_drawn.clamp_min(_TINY), 0.0)
    unfolded = torch.exp(-gone[..., None] * skin.unfolding)  # [T, N, 3]
    mean = gaussians.sh.mean(-1, keepdim=True)
    vivified = gain[..., None] * (mean + vivid[..., None] * (gaussians.sh - mean))
    # The colour, not its offset from grey, is scaled.
    offset = _GREY * ((gain - 1) * unfolded + (unfolded - 1))
    sh = vivified * unfolded[:, :, None]
    sh[:, :, 0] += offset
    return gaussians.opacities * strength, sh


def _deformation(skin: SkinTables, vertices: Tensor) -> Iterator[Tensor]:
    """Around each vertex: strain ``[T, V, 1]``, light ``[T, V, 1]`` and folding ``[T, V, 3]``."""
    a, b, c = (vertices.index_select(1, corner) for corner in skin.faces.unbind(1))
    d1, d2 = b - a, c - a
    largest, smallest = _stretch(*_gradient(d1, d2, skin.photo))
    distortion = torch.maximum(largest, 1 / smallest.clamp_min(1e-3)) / skin.limit
    first, second = _gradient(d1, d2, skin.neutral)
    directions = skin.directions[:, :4].unflatten(1, (2, 2))
    along = (directions[:, 0, :1] * first + directions[:, 0, 1:] * second).square().sum(-1).sqrt()
    across = (directions[:, 1, :1] * first + directions[:, 1, 1:] * second).square().sum(-1).sqrt()
    short = 1 - torch.stack([along, across, _stretch(first, second)[1]], -1)
    weighed = torch.cat([distortion[..., None], short.clamp_min(0)], -1) * skin.directions[:, 4:]
    of_faces = torch.cat([torch.linalg.cross(d1, d2), weighed], -1)  # [T, F, 7]
    around = of_faces.new_zeros(len(vertices), len(skin.area), of_faces.shape[-1])
    for corner in skin.faces.unbind(1):
        around.index_add_(1, corner, of_faces)
    normals = around[..., :3]
    normals = normals / (normals.square().sum(-1, keepdim=True).sqrt() + 1e-12)
    x, y, z = shading.LIGHT
    yield around[..., 3:4] / skin.area[:, None]
    yield 1 + (x * normals[..., :1] + y * normals[..., 1:2] + z * normals[..., 2:])
    begin, end = shading.FOLDS_BETWEEN
    yield ((around[..., 4:] / skin.area[:, None] - begin) / (end - begin)).clamp(0, 1)


def _gradient(d1: Tensor, d2: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:  # [T, F, 3] twice, [F, 3]
    """The columns of the deformation gradient of triangles."""
    first = d1 * rest[:, :1]
    return first, (d2 - rest[:, 1:2] * first) * rest[:, 2:]


def _stretch(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:  # [T, F, 3] twice -> [T, F] twice
    """Largest and smallest stretch."""
    xx, yy, xy = ((p * q).sum(-1) for p, q in ((first, first), (second, second), (first, second)))
    middle, half = (xx + yy) / 2, (xx - yy) / 2
    root = (half * half + xy * xy).sqrt()
    return (middle + root).sqrt(), (middle - root).clamp_min(0).sqrt()


def _on_gaussians(skin: SkinTables, values: Tensor) -> Tensor:  # [..., V, C] -> [..., N, C]
    corners = (values.index_select(-2, corner) for corner in skin.corners.unbind(1))
    first, *others = (skin.barycentric[:, k, None] * x for k, x in enumerate(corners))
    return first + others[0] + others[1]
