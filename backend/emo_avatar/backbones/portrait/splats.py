"""Gaussians in the making: world-space arrays with the triangle each will ride on, not yet refined or bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum

import numpy as np
import torch

from emo_avatar.avatar.binding import quat_from_matrix
from emo_avatar.avatar.gaussians import SH_C0, Gaussians, sh_from_rgb
from emo_avatar.render.splat.compiled import kernel


class Layer(IntEnum):
    """What a Gaussian is for; decides what refinement and animation may do with it."""

    TEXEL = 0  # on the head's surface, everywhere, visible in the photo or not
    DETAIL = 1  # a pixel of the photo laid on that surface
    SHEET = 2  # a pixel of the photo beside the head: loose hair, shoulders
    BACK = 3  # the unseen side of a sheet
    RIM = 4  # what the surface missed of an outline, in the surface's colour
    LASH = 5  # a pixel at the edge of an eye that belongs to its lid
    GAP = 6  # a pixel of the lips that shows the dark between them


@dataclass(frozen=True)
class Splats:
    """N Gaussians at the photograph's pose."""

    face: np.ndarray  # [N] int32 triangle to bind to
    means: np.ndarray  # [N, 3] metres, world
    quats: np.ndarray  # [N, 4] wxyz
    scales: np.ndarray  # [N, 3] metres
    opacities: np.ndarray  # [N]
    rgb: np.ndarray  # [N, 3]
    layer: np.ndarray  # [N] int8, of `Layer`

    def __len__(self) -> int:
        return len(self.face)

    @classmethod
    def join(cls, parts: Sequence[Splats]) -> Splats:
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def first(self, count: int) -> Splats:
        """The first ones of them."""
        return Splats(*(getattr(self, f.name)[:count] for f in fields(Splats)))

    def with_first(self, before: Gaussians, after: Gaussians) -> Splats:
        """The same with the first ones changed as one set of Gaussians of one colour each differs from another.

        What does not differ keeps its last bit: the search for the neutral face answers to the rounding of colours.
        """
        count = len(before)
        change = {name: (getattr(after, name) - getattr(before, name)).numpy() for name in ("means", "opacities")}
        change["rgb"] = SH_C0 * (after.sh - before.sh)[:, 0].numpy()
        new = {name: getattr(self, name)[:count] + change[name] for name in change}
        new["scales"] = self.scales[:count] * (after.scales / before.scales).numpy()
        return replace(self, **{n: np.concatenate([new[n], getattr(self, n)[count:]]) for n in new})

    def gaussians(self) -> Gaussians:
        means, quats, scales, opacities, rgb = (
            torch.from_numpy(np.ascontiguousarray(a, np.float32))
            for a in (self.means, self.quats, self.scales, self.opacities, self.rgb)
        )
        return Gaussians(means, quats, scales, opacities, sh_from_rgb(rgb))


def flat_splats(
    face: np.ndarray,  # [N]
    means: np.ndarray,  # [N, 3]
    tangents: tuple[
        np.ndarray, np.ndarray
    ],  # two of [N, 3] metres: one standard deviation each way, need not be square
    thickness: np.ndarray,  # [N] metres, standard deviation along the normal
    opacities: np.ndarray,  # [N]
    rgb: np.ndarray,  # [N, 3]
    layer: Layer,
) -> Splats:
    """Elliptic discs whose covariance is ``u u' + v v'`` plus the thickness."""
    u, v = (np.ascontiguousarray(t, np.float64) for t in tangents)
    rotations, lengths = _principal_axes(u, v)
    quats = quat_from_matrix(torch.from_numpy(rotations)).numpy()
    scales = np.column_stack([lengths, np.broadcast_to(thickness, len(lengths))])
    return Splats(face.astype(np.int32), means, quats, scales, opacities, rgb, np.full(len(face), layer, np.int8))


@kernel
def _principal_axes(u, v):  # -> [N, 3, 3] columns long axis, short axis, normal; [N, 2] lengths of the axes
    """Of the ellipses whose covariance is ``u u' + v v'``.

    They lie in the span of u and v; their coordinates there are eigenvectors of the 2 x 2 Gram matrix.
    """
    n = len(u)
    rotations, lengths = np.empty((n, 3, 3)), np.empty((n, 2))
    long, short = np.empty(3), np.empty(3)
    for i in range(n):
        ux, uy, uz, vx, vy, vz = u[i, 0], u[i, 1], u[i, 2], v[i, 0], v[i, 1], v[i, 2]
        uu, uv, vv = ux * ux + uy * uy + uz * uz, ux * vx + uy * vy + uz * vz, vx * vx + vy * vy + vz * vz
        angle = 0.5 * np.arctan2(2 * uv, uu - vv)
        c, s = np.cos(angle), np.sin(angle)
        for k in range(3):
            long[k], short[k] = c * u[i, k] + s * v[i, k], c * v[i, k] - s * u[i, k]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        area = max(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
        nx, ny, nz = nx / area, ny / area, nz / area
        length = np.sqrt(long[0] ** 2 + long[1] ** 2 + long[2] ** 2)
        ex, ey, ez = long[0] / max(length, 1e-9), long[1] / max(length, 1e-9), long[2] / max(length, 1e-9)
        fx, fy, fz = ny * ez - nz * ey, nz * ex - nx * ez, nx * ey - ny * ex
        rotations[i, 0, 0], rotations[i, 1, 0], rotations[i, 2, 0] = ex, ey, ez
        rotations[i, 0, 1], rotations[i, 1, 1], rotations[i, 2, 1] = fx, fy, fz
        rotations[i, 0, 2], rotations[i, 1, 2], rotations[i, 2, 2] = nx, ny, nz
        lengths[i, 0] = length
        lengths[i, 1] = abs(short[0] * fx + short[1] * fy + short[2] * fz)
    return rotations, lengths
