"""The opening of the mouth: how far the lips have parted, and what light comes in between them.

A photograph with closed lips says nothing of either. The dark line between lips that touch goes as soon as they part
or slide over each other, and teeth are as bright as lips let them be: a smile lifts the upper lip off the teeth and
they shine; under a lip that hangs before them, and behind lips that barely part, they are as dark as the cavity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from emo_avatar.avatar.appearance import SkinAppearance
from emo_avatar.avatar.gaussians import SH_C0, Gaussians
from emo_avatar.devices import PerDevice
from emo_avatar.head.data import JOINTS, HeadData

_TINY = 1e-6  # metres
JAW = JOINTS.index("jaw")
INSIDE = ("upper_teeth", "lower_teeth", "tongue")  # parts; the bag round them is a region of the skin
BESIDE = 0.012  # metres from the rims in which skin shows the line between the lips
LEAST_RIM = 8  # vertices; a head with fewer around its mouth has no opening
FROM_ABOVE = 0.75  # share of the light that comes over the upper lip, as light mostly does
# What comes in between the lips, as a share of what falls on a face, at which the mouth is as dark as it gets and fully
# lit; and how dark that is.
DARK_UNDER, LIT_FROM, DARKEST = 0.05, 0.62, 0.12
BRIGHTER = 1.05  # the most by which more light brightens what a photograph shows
BLUSH = (1.0, 1.35, 1.45)  # exponents of the light on red, green and blue: it comes back from red walls
PARTED, FAR_APART = 0.0014, 0.0028  # metres that lips move against each other while the line between them goes


@dataclass(frozen=True, eq=False)
class Mouth:
    """The rims of the lips and what lies behind them, as vertices of a head."""

    upper: np.ndarray  # [U] int32 from one corner to the other, by x at rest; both corners belong to both
    lower: np.ndarray  # [L] int32
    rim: np.ndarray  # [R] int32, of both
    partner: np.ndarray  # [R] int32, the vertex of the other lip that each of them meets
    lips: np.ndarray  # [P] int32 vertices of the skin around it
    nearest: np.ndarray  # [P] int32, for each the index into ``rim`` of the nearest
    inside: np.ndarray  # [I] int32 vertices of teeth, tongue and bag
    faces: np.ndarray  # [F] bool, their triangles

    @classmethod
    def of(cls, head: HeadData) -> Mouth | None:
        """None for a head whose lips are not open to a bag."""
        regions, faces = head.regions, head.faces
        if "lips" not in regions or "mouth_bag" not in regions:
            return None
        skin = head.face_part == 0
        bag = skin & regions["mouth_bag"][faces].any(1)
        sockets = regions.get("eye_sockets", np.zeros(head.n_vertices, bool))
        outer = skin & ~bag & ~sockets[faces].any(1)
        rim = np.intersect1d(faces[outer], faces[bag])
        if len(rim) < LEAST_RIM:
            return None
        parts = [head.face_part == i for i, name in enumerate(head.part_names) if name in INSIDE]
        within = np.any([bag, *parts], axis=0)
        x, jaw = head.v_template[rim, 0], head.weights[rim, JAW]
        corner = (x == x.min()) | (x == x.max())
        below = jaw > (jaw.min() + jaw.max()) / 2
        upper, lower = (rim[side | corner] for side in (~below, below))
        upper, lower = (each[head.v_template[each, 0].argsort()] for each in (upper, lower))
        across = [(lower if above else upper) for above in ~below]
        partner = [o[np.abs(head.v_template[o, 0] - at).argmin()] for o, at in zip(across, x, strict=True)]
        around = np.unique(faces[outer])
        away = np.linalg.norm(head.v_template[around, None] - head.v_template[None, rim], axis=2)
        near = away.min(1) < BESIDE
        lips, nearest = around[near], away[near].argmin(1)
        indices = (upper, lower, rim, np.array(partner), lips, nearest, np.unique(faces[within]))
        return cls(*[*(each.astype(np.int32) for each in indices), within])

    def light(self, vertices: np.ndarray) -> np.ndarray:  # [V, 3] float32 -> [V]
        """What the lips leave of the light on each vertex of an upright head; 1 outside the mouth."""
        rims = (torch.from_numpy(each.astype(np.int64)) for each in (self.upper, self.lower, self.inside))
        return light_between(torch.from_numpy(vertices)[None], *rims)[0].numpy()


class MouthModulator:
    """A `Mouth` at work on Gaussians: those inside get their light, and those of the line between the lips go."""

    def __init__(self, mouth: Mouth, look: SkinAppearance, faces: np.ndarray, binding: np.ndarray) -> None:
        inside, line = np.flatnonzero(mouth.faces[binding]), np.flatnonzero(look.detail > 1)
        photo = np.ascontiguousarray(look.photo, np.float32)
        corners = faces[binding[inside]]
        shown = (mouth.light(photo)[corners] * look.barycentric[inside]).sum(1)
        # Pixels of the photograph have its light on them; all other colours are those under full light.
        in_photo = np.where(look.detail[inside] < 0, shown, 1)
        self.gain_in_photo = np.ones((len(binding), 3), np.float32)  # with which the Gaussians show the photograph
        self.gain_in_photo[inside] = (shown / in_photo)[:, None] ** np.array(BLUSH)
        of_mouth = (mouth.upper, mouth.lower, mouth.rim, mouth.partner, mouth.lips, mouth.nearest, mouth.inside)
        indices = (*of_mouth, inside, corners, line, faces[binding[line]])
        apart, blush = photo[mouth.rim] - photo[mouth.partner], np.array(BLUSH)
        numbers = (apart, in_photo, look.barycentric[inside], look.barycentric[line], blush)
        arrays = (*(a.astype(np.int64) for a in indices), *(a.astype(np.float32) for a in numbers))
        self._tables = PerDevice(lambda device: _Tables(*(torch.from_numpy(a).to(device) for a in arrays)))

    def __call__(self, gaussians: Gaussians, vertices: Tensor) -> Gaussians:
        """The same Gaussians on the deformed, unturned ``vertices [V, 3]``."""
        opacities, sh = self.frames(gaussians.opacities[None], gaussians.sh[None], vertices[None])
        return replace(gaussians, opacities=opacities[0], sh=sh[0])

    @torch.no_grad()
    def frames(self, opacities: Tensor, sh: Tensor, vertices: Tensor) -> tuple[Tensor, Tensor]:
        """Opacities ``[T, N]`` and harmonics ``[T, N, K, 3]`` on the deformed, unturned ``vertices [T, V, 3]``."""
        on = self._tables.on(vertices.device)
        moved = (vertices[:, on.rim] - vertices[:, on.partner] - on.apart).square().sum(-1).sqrt()  # [T, R]
        gone = vertices.new_zeros(vertices.shape[:2])
        gone[:, on.lips] = ((moved - PARTED) / (FAR_APART - PARTED)).clamp(0, 1)[:, on.nearest]
        left = 1 - (gone[:, on.line_corners] * on.line_weights).sum(-1)
        opacities = opacities.index_copy(1, on.line, opacities[:, on.line] * left)
        light = light_between(vertices, on.upper, on.lower, on.inside)
        light = (light[:, on.corners] * on.weights).sum(-1) / on.in_photo
        gain = light.clamp_max(BRIGHTER)[..., None] ** on.blush  # [T, I, 3]
        lit = gain[:, :, None] * sh[:, on.gaussians]
        lit[:, :, 0] += (gain - 1) * (0.5 / SH_C0)  # the colour, not its offset from grey, is scaled
        return opacities, sh.index_copy(1, on.gaussians, lit)


@dataclass(frozen=True, eq=False)
class _Tables:
    """What `MouthModulator` knows, on one device."""

    upper: Tensor
    lower: Tensor
    rim: Tensor
    partner: Tensor
    lips: Tensor
    nearest: Tensor
    inside: Tensor
    gaussians: Tensor  # [I] inside the mouth
    corners: Tensor  # [I, 3] vertices of their triangles
    line: Tensor  # [L] Gaussians of the line between the lips
    line_corners: Tensor  # [L, 3]
    apart: Tensor  # [R, 3] metres, of the rims in the photo
    in_photo: Tensor  # [I] the light that colours have on them as they are
    weights: Tensor  # [I, 3] barycentric
    line_weights: Tensor  # [L, 3]
    blush: Tensor  # [3]


def light_between(vertices: Tensor, upper: Tensor, lower: Tensor, inside: Tensor) -> Tensor:
    """What the lips' rims ``upper [U]`` and ``lower [L]`` leave of the light on the vertices ``inside [I]`` of a mouth.

    ``vertices [T, V, 3]`` are of upright heads; the light, 1 outside the mouth and never under `DARKEST`, is
    ``[T, V]``. Each vertex sees the world through the slit at its place across the mouth: light of a sky that is
    brighter above, by the cosine law, in the plane of that place.
    """
    place = vertices[:, inside]
    x, y, z = place.unbind(-1)
    top, bottom = _rim_at(vertices[:, upper], x), _rim_at(vertices[:, lower], x)
    # Sines of the angles that the sky before the face is open to, up and down from straight ahead.
    up, down = top[..., 0] - y, y - bottom[..., 0]
    up, down = (
        way / (way.square() + (rim[..., 1] - z).clamp_min(_TINY).square()).sqrt()
        for way, rim in ((up, top), (down, bottom))
    )
    comes = FROM_ABOVE * up + (1 - FROM_ABOVE) * down
    open_to = (top[..., 0] > bottom[..., 0]) & (up + down > 0)  # else the lips between them hide it
    share = ((torch.where(open_to, comes, 0.0) - DARK_UNDER) / (LIT_FROM - DARK_UNDER)).clamp(0, 1)
    light = vertices.new_ones(vertices.shape[:2])
    return light.index_copy(1, inside, DARKEST + (1 - DARKEST) * share)


def _rim_at(rim: Tensor, x: Tensor) -> Tensor:  # [T, R, 3], [T, I] -> [T, I, 2]
    """Height and depth of a rim at ``x``, and at its ends beyond them."""
    across = rim[..., 0].cummax(1).values.contiguous()
    right = torch.searchsorted(across, x.contiguous()).clamp(1, rim.shape[1] - 1)
    a, b = (rim.gather(1, side[..., None].expand(-1, -1, 3)) for side in (right - 1, right))
    t = ((x - a[..., 0]) / (b[..., 0] - a[..., 0]).clamp_min(_TINY)).clamp(0, 1)[..., None]
    return a[..., 1:] + t * (b[..., 1:] - a[..., 1:])
