"""Gaussians in the making: world-space arrays with the triangle each will ride on, not yet refined or bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum

import numpy as np
import torch

from emo_avatar.avatar.binding import quat_from_matrix
from emo_avatar.avatar.gaussians import SH_C0, Gaussians, sh_from_rgb


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

    def with_first(self, changed: Gaussians) -> Splats:
        """The same with the first ones' attributes taken from world-space Gaussians of one colour each."""
        names = ("means", "quats", "scales", "opacities")
        new = {name: getattr(changed, name).numpy() for name in names}
        new["rgb"] = changed.sh[:, 0].numpy() * SH_C0 + 0.5
        rest = {name: getattr(self, name)[len(changed) :] for name in new}
        return replace(self, **{name: np.concatenate([new[name], rest[name]]) for name in new})

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
    u, v = tangents
    # The principal axes lie in the span of u and v; their coordinates there are eigenvectors of the 2 x 2 Gram matrix.
    uu, uv, vv = (u * u).sum(1), (u * v).sum(1), (v * v).sum(1)
    angle = 0.5 * np.arctan2(2 * uv, uu - vv)
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    long, short = c * u + s * v, c * v - s * u
    long_length = np.linalg.norm(long, axis=1)
    normal = np.cross(u, v)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    e1 = long / np.maximum(long_length, 1e-9)[:, None]
    e2 = np.cross(normal, e1)
    short_length = np.abs((short * e2).sum(1))
    quats = quat_from_matrix(torch.from_numpy(np.stack([e1, e2, normal], axis=2))).numpy()
    scales = np.stack([long_length, short_length, np.broadcast_to(thickness, long_length.shape)], axis=1)
    return Splats(face.astype(np.int32), means, quats, scales, opacities, rgb, np.full(len(face), layer, np.int8))
