"""From a 3D Gaussian to its footprint in the image, as formulas on sixteen Gaussians at once.

Elliptical weighted average splatting (Zwicker et al. 2002; Kerbl et al. 2023, Sec. 4) with the conventions of gsplat
1.5: 0.3 px^2 are added to the projected covariance, and the Jacobian follows the mean to 15 % of the image beyond its
border.

The inverse of the 2D covariance is kept as a triangular factor, so that at an offset (dx, dy) from the centre

    log2(alpha) = log2_opacity - (a dx + b dy)^2 - (c dy)^2

which neither cancels for long thin Gaussians nor ever exceeds the opacity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

from emo_avatar.render.camera import Camera
from emo_avatar.render.splat.simd import Emitter, Lanes

LOW_PASS = 0.3  # px^2, gsplat's eps2d
MARGIN = 0.15  # of the image size, how far beyond its border the Jacobian still follows the mean
HALF_LOG2_E = 0.5 * math.log2(math.e)  # exp(-x / 2) = 2 ** (-HALF_LOG2_E x)
SMALLEST_QUAT = 1e-30  # keeps a quaternion of zeros from dividing by zero: it means no rotation, as in gsplat

Number = Any  # Lanes, or Traced when the adjoint is wanted


def view_numbers(camera: Camera) -> np.ndarray:  # [25] float32
    """A camera as the kernels read it, through ``View.load``."""
    (fx, _, cx), (_, fy, cy), _ = camera.K.astype(np.float64)
    margin_x, margin_y = MARGIN * camera.width, MARGIN * camera.height
    slopes_x = ((camera.width - cx + margin_x) / fx, -(cx + margin_x) / fx)
    slopes_y = ((camera.height - cy + margin_y) / fy, -(cy + margin_y) / fy)
    view = camera.viewmat.astype(np.float64)
    position = -view[:3, :3].T @ view[:3, 3]
    last_pixel = (camera.width - 1, camera.height - 1)
    return np.array([*view[:3].ravel(), fx, fy, cx, cy, *slopes_x, *slopes_y, *position, *last_pixel], np.float32)


@dataclass(frozen=True)
class View:
    """The numbers of a camera, each in all lanes."""

    rotation: list[list[Lanes]]
    translation: list[Lanes]
    focal: list[Lanes]  # fx, fy
    centre: list[Lanes]  # cx, cy
    slopes: list[list[Lanes]]  # for x and y: the greatest and the least x / z or y / z to take the Jacobian at
    position: list[Lanes]
    last_pixel: list[Lanes]  # width - 1, height - 1

    @classmethod
    def load(cls, emit: Emitter, numbers: ir.Value) -> View:
        n = [emit.broadcast(emit.load_scalar(numbers, k)) for k in range(25)]
        rotation, translation = [n[0:3], n[4:7], n[8:11]], [n[3], n[7], n[11]]
        return cls(rotation, translation, n[12:14], n[14:16], [n[16:18], n[18:20]], n[20:23], n[23:25])


@dataclass(frozen=True)
class Footprint:
    """What the image needs of sixteen Gaussians, but for their colours."""

    mean: list[Number]  # x, y in px
    conic: list[Number]  # a, b, c
    log2_opacity: Number
    depth: Number  # z in the camera, metres
    variance: list[Number]  # along x and y, px^2


def project(
    view: View, mean: Sequence[Number], quat: Sequence[Number], scale: Sequence[Number], opacity: Number
) -> Footprint:
    """``mean [3]``, ``quat [4]`` (wxyz, any length) and ``scale [3]`` in world space, each entry sixteen numbers."""
    x, y, z = (_dot(mean, row) + shift for row, shift in zip(view.rotation, view.translation, strict=True))
    inverse_z = 1.0 / z
    slope_x, slope_y = (
        (offset * inverse_z).minimum(greatest).maximum(least)
        for offset, (greatest, least) in zip((x, y), view.slopes, strict=True)
    )
    # u and v are the rows of the linear map from the unit sphere to the image: Jacobian times rotation times R S
    right, down, forward = view.rotation
    axes = _scaled_axes(quat, scale)
    scale_x, scale_y = view.focal[0] * inverse_z, view.focal[1] * inverse_z
    to_x = [scale_x * (right[k] - slope_x * forward[k]) for k in range(3)]
    to_y = [scale_y * (down[k] - slope_y * forward[k]) for k in range(3)]
    u = [_dot(to_x, axis) for axis in axes]
    v = [_dot(to_y, axis) for axis in axes]
    uu, uv, vv = _dot(u, u), _dot(u, v), _dot(v, v)
    variance_x, variance_y = uu + LOW_PASS, vv + LOW_PASS
    # Lagrange's identity; the textbook difference of products cancels for thin Gaussians
    normal = _cross(u, v)
    determinant = _dot(normal, normal) + LOW_PASS * (uu + vv) + LOW_PASS**2
    a = (HALF_LOG2_E * variance_y / determinant).sqrt()
    b = -(a * uv / variance_y)
    c = (HALF_LOG2_E / variance_y).sqrt()
    centre = [scale_x * x + view.centre[0], scale_y * y + view.centre[1]]
    return Footprint(centre, [a, b, c], opacity.log2(), z, [variance_x, variance_y])


def _scaled_axes(quat: Sequence[Number], scale: Sequence[Number]) -> list[list[Number]]:
    """The columns of R S."""
    w, x, y, z = quat
    inverse_norm = 1.0 / (w * w + x * x + y * y + z * z + SMALLEST_QUAT).sqrt()
    w, x, y, z = (component * inverse_norm for component in (w, x, y, z))
    columns = (
        (1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y)),
        (2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x)),
        (2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)),
    )
    return [[component * length for component in column] for column, length in zip(columns, scale, strict=True)]


def _dot(a: Sequence[Number], b: Sequence[Number]) -> Number:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a: Sequence[Number], b: Sequence[Number]) -> list[Number]:
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
