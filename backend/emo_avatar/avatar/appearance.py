"""How skin looks when it moves: shading, folds and stretch, computed from the mesh alone.

A photograph's light and folds are baked into the Gaussians' colours. Where an expression turns the surface, the colours
follow the change of a soft frontal light on its normal; where it shortens the surface, folds darken it along the lines
in which skin folds, and the photo's own folds, as they were measured, go when they unfold; where it distorts the
surface far beyond what the photo showed, the photo's pixels fade and the completed texels below show.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from emo_avatar.avatar.appearance_frames import SkinTables, skin_in_frames
from emo_avatar.avatar.gaussians import SH_C0, Gaussians
from emo_avatar.avatar.shading import BESIDE_LINES, FADE_FROM, NUMBERS, fold, light_on, saturation, skin_gain
from emo_avatar.devices import PerDevice
from emo_avatar.render.splat.compiled import kernel

_TINY = 1e-9
_THIRD = np.float32(1 / 3)
_GREY = np.float32(0.5 / SH_C0)  # what a degree-0 coefficient of zero stands for, in units of the coefficient


@dataclass(frozen=True)
class SkinAppearance:
    """What an avatar knows of its skin, for `SkinModulator`."""

    neutral: np.ndarray  # [V, 3] float32 metres, the face at rest
    photo: np.ndarray  # [V, 3] float32 metres, the face as the photo shows it, but unturned
    shaded: np.ndarray  # [F] bool, triangles whose Gaussians take part
    stretch_limit: np.ndarray  # [F] float32, by what factor the photo's pixels bear to be stretched or squeezed
    barycentric: np.ndarray  # [N, 3] float32, where over its triangle each Gaussian lies
    folds: np.ndarray  # [N, 3] uint8, how deep skin folds there: level, upright and slanted folds
    # [N] how readily Gaussians fade when the surface around them is distorted. 1: at its limit; more: it shows the dark
    # between the lips; 0: never; less: never, and it is a pixel of the photo inside the mouth
    detail: np.ndarray
    # [N, 4] int8, in hundredths: the log of what the folds of the photo's own expression do to each colour, and how far
    # that was measured; None: nowhere, and it is assumed
    unfolding: np.ndarray | None = None


@dataclass(frozen=True)
class _Response:
    """What a deformation does to the skin."""

    strain: np.ndarray  # [V] distortion against the photo, as a share of its limit
    light: np.ndarray  # [V] 0 to 2
    folding: np.ndarray  # [V, 3] in [0, 1], of level, upright and slanted folds, against the face at rest


class SkinModulator:
    """A `SkinAppearance` at work on the triangles ``faces [F, 3]`` with Gaussians on triangles ``binding [N]``."""

    def __init__(self, appearance: SkinAppearance, faces: np.ndarray, binding: np.ndarray) -> None:
        self._appearance, self._faces, self._binding = appearance, faces, binding
        self._photo = _planar(appearance.photo, faces)[0]
        self._neutral, self._directions = _planar(appearance.neutral, faces)
        self._in_photo = self._response(appearance.photo)
        unmeasured = np.zeros((len(binding), 4), np.int8)
        self._unfolding = unmeasured if appearance.unfolding is None else appearance.unfolding

    @property
    def folding_in_photo(self) -> np.ndarray:  # [V, 3]
        """How far level, upright and slanted folds are drawn in the photo, in [0, 1], against the face at rest."""
        return self._in_photo.folding

    def __call__(self, gaussians: Gaussians, vertices: torch.Tensor) -> Gaussians:
        """The same Gaussians with the colours and opacities that they have on the deformed, unturned ``vertices``."""
        if gaussians.device.type != "cpu":
            opacities, sh = self.frames(gaussians, vertices[None])
            return replace(gaussians, opacities=opacities[0], sh=sh[0])
        look = self._appearance
        now = self._response(vertices.detach().numpy())
        strength, sh = _on_gaussians(
            NUMBERS, now.strain, now.light, now.folding, self._in_photo.light, self._in_photo.folding,
            self._faces, self._binding, look.shaded, look.barycentric, look.folds, look.detail.astype(np.float32),
            self._unfolding, gaussians.sh.numpy(),
        )  # fmt: skip
        opacities = gaussians.opacities * torch.from_numpy(strength)
        return replace(gaussians, opacities=opacities, sh=torch.from_numpy(sh))

    @torch.no_grad()
    def frames(self, gaussians: Gaussians, vertices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Opacities ``[T, N]`` and harmonics ``[T, N, K, 3]`` in the T frames of ``vertices [T, V, 3]``, by PyTorch."""
        return skin_in_frames(self._tables.on(gaussians.device), gaussians, vertices)

    @cached_property
    def _tables(self) -> PerDevice[SkinTables]:
        return PerDevice(self._laid_out)

    def _laid_out(self, device: torch.device) -> SkinTables:
        look, faces = self._appearance, self._faces.astype(np.int64)
        area = np.full(len(look.neutral), 1e-12, np.float32)
        np.add.at(area, faces, self._directions[:, 4:])
        corners, shaded = faces[self._binding], look.shaded[self._binding]
        barycentric, detail = look.barycentric.astype(np.float32), look.detail.astype(np.float32)
        depth, unfolding = look.folds / np.float32(255), self._unfolding / np.float32(100)
        arrays = (
            faces, corners, self._photo, self._neutral, self._directions, look.stretch_limit.astype(np.float32), area,
            self._in_photo.light, self._in_photo.folding, shaded, barycentric, depth, detail,
            unfolding[:, :3], unfolding[:, 3],
        )  # fmt: skip
        return SkinTables(*(torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays))

    def _response(self, vertices: np.ndarray) -> _Response:  # [V, 3]
        return _Response(
            *_deformation(
                NUMBERS,
                np.ascontiguousarray(vertices, np.float32),
                self._faces,
                self._photo,
                self._neutral,
                self._directions,
                self._appearance.stretch_limit,
            )
        )


def _planar(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # [F, 3], [F, 5] float32
    """Triangles at rest in their own planes: first edge (x1, 0), second edge (x2, y2), as (1 / x1, x2, 1 / y2).

    And the directions up and to the side in that plane, as two unit vectors (a, b), and the triangle's area.
    """
    u, v = vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]]
    x1 = np.maximum(np.linalg.norm(u, axis=1), _TINY)
    x_axis = u / x1[:, None]
    x2 = (v * x_axis).sum(1)
    w = v - x2[:, None] * x_axis
    y2 = np.maximum(np.linalg.norm(w, axis=1), _TINY)
    y_axis = w / y2[:, None]
    directions = []
    for k in (1, 0):  # up, then to the side
        length = np.maximum(np.hypot(x_axis[:, k], y_axis[:, k]), 1e-3)
        directions += [x_axis[:, k] / length, y_axis[:, k] / length]
    rest = np.stack([1 / x1, x2, 1 / y2], axis=1).astype(np.float32)
    return rest, np.stack([*directions, x1 * y2], axis=1).astype(np.float32)


@kernel
def _deformation(skin, vertices, faces, photo, neutral, directions, limit):
    """Around each vertex: distortion against the photo as a share of its limit; light; folding against neutral."""
    n, f = vertices.shape[0], faces.shape[0]
    strain, light = np.zeros(n, np.float32), np.empty(n, np.float32)
    normals, folding = np.zeros((n, 3), np.float32), np.zeros((n, 3), np.float32)
    area = np.full(n, np.float32(1e-12))
    d1, d2 = np.empty(3, np.float32), np.empty(3, np.float32)
    first, second = np.empty(3, np.float32), np.empty(3, np.float32)
    short = np.empty(3, np.float32)
    for t in range(f):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        for k in range(3):
            d1[k], d2[k] = vertices[b, k] - vertices[a, k], vertices[c, k] - vertices[a, k]
        largest, smallest = _principal(d1, d2, photo[t], first, second)
        distortion = max(largest, 1 / max(smallest, np.float32(1e-3))) / limit[t]
        short[2] = 1 - _principal(d1, d2, neutral[t], first, second)[1]
        for direction in range(2):
            along = np.float32(0)
            for k in range(3):
                moved = directions[t, 2 * direction] * first[k] + directions[t, 2 * direction + 1] * second[k]
                along += moved * moved
            short[direction] = 1 - np.sqrt(along)
        nx, ny, nz = d1[1] * d2[2] - d1[2] * d2[1], d1[2] * d2[0] - d1[0] * d2[2], d1[0] * d2[1] - d1[1] * d2[0]
        weight = directions[t, 4]
        for i in range(3):
            v = faces[t, i]
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
            area[v] += weight
            strain[v] += weight * distortion
            for k in range(3):
                folding[v, k] += weight * max(short[k], np.float32(0))
    for v in range(n):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2) + np.float32(1e-12)
        light[v] = light_on(skin, normals[v, 0] / length, normals[v, 1] / length, normals[v, 2] / length)
        for k in range(3):
            folding[v, k] = fold(skin, folding[v, k] / area[v])
        strain[v] /= area[v]
    return strain, light, folding


@kernel
def _principal(d1, d2, rest, first, second):
    """Largest and smallest stretch of a triangle; fills in the columns of its deformation gradient."""
    xx = yy = xy = np.float32(0)
    for k in range(3):
        first[k] = d1[k] * rest[0]
        second[k] = (d2[k] - rest[1] * first[k]) * rest[2]
        xx += first[k] * first[k]
        yy += second[k] * second[k]
        xy += first[k] * second[k]
    middle, half = (xx + yy) / 2, (xx - yy) / 2
    root = np.sqrt(half * half + xy * xy)
    return np.sqrt(middle + root), np.sqrt(max(middle - root, np.float32(0)))


@kernel
def _on_gaussians(
    skin,
    strain,
    light,
    folding,
    photo_light,
    photo_folding,
    faces,
    binding,
    shaded,
    barycentric,
    folds,
    detail,
    unfolding,
    sh,
):
    """The factor on the opacity of each Gaussian, and its harmonics with light and folds on them."""
    n, one = binding.shape[0], np.float32(1)
    strength, changed = np.ones(n, np.float32), sh.copy()
    for i in range(n):
        t = binding[i]
        if detail[i] > 0:
            around = np.float32(0)
            for c in range(3):
                around += barycentric[i, c] * strain[faces[t, c]]
            left = (1 - detail[i] * around) / np.float32(1 - FADE_FROM)
            strength[i] = min(max(left, np.float32(0)), np.float32(1))
        if not shaded[t]:
            continue
        lit = photo_lit = deepest = photo_deepest = drawn = photo_drawn = np.float32(0)
        measured = np.float32(0.01) * unfolding[i, 3]
        for c in range(3):
            lit += barycentric[i, c] * light[faces[t, c]]
            photo_lit += barycentric[i, c] * photo_light[faces[t, c]]
        for k in range(3):
            depth = folds[i, k] * np.float32(1 / 255)
            if depth == 0 and measured == 0:
                continue
            now = in_photo = np.float32(0)
            for c in range(3):
                now += barycentric[i, c] * folding[faces[t, c], k]
                in_photo += barycentric[i, c] * photo_folding[faces[t, c], k]
            deepest = max(deepest, depth * now)
            photo_deepest = max(photo_deepest, depth * in_photo)
            drawn = max(drawn, (depth + np.float32(BESIDE_LINES)) * now)
            photo_drawn = max(photo_drawn, (depth + np.float32(BESIDE_LINES)) * in_photo)
        if deepest < photo_deepest:  # what was measured is not assumed as well
            deepest += measured * (photo_deepest - deepest)
        gain = skin_gain(skin, photo_lit, lit, photo_deepest, deepest)
        vivid = saturation(skin, gain)
        for k in range(sh.shape[1]):
            mean = (sh[i, k, 0] + sh[i, k, 1] + sh[i, k, 2]) * _THIRD
            for c in range(3):
                changed[i, k, c] = gain * (mean + vivid * (sh[i, k, c] - mean))
        for c in range(3):
            changed[i, 0, c] += (gain - one) * _GREY  # the colour, not its offset from grey, is scaled
        if measured > 0 and drawn < photo_drawn:
            gone = (one - drawn / photo_drawn) * np.float32(0.01)
            for c in range(3):
                more = np.exp(-gone * unfolding[i, c]) - one
                for k in range(sh.shape[1]):
                    changed[i, k, c] += more * changed[i, k, c]
                changed[i, 0, c] += more * _GREY
    return strength, changed
