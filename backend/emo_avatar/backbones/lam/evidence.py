"""What a photograph shows at the places of a head and above them: pixels, outline, and whether they are seen at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emo_avatar.avatar.binding import triangle_frames
from emo_avatar.backbones.lam.observe import Observed
from emo_avatar.backbones.lam.sites import Sites
from emo_avatar.backbones.portrait.prepared import prepare_head
from emo_avatar.backbones.portrait.view import MeshView
from emo_avatar.head.data import HeadData
from emo_avatar.precision import in_float32
from emo_avatar.render.camera import Camera

ALONG = (0.0, 0.008, 0.02, 0.04, 0.07, 0.10)  # metres above a place where the photograph is looked at, too
COARSE = (64, 16)  # pixels of the reduced pictures that are looked at at the place itself
DEPTH_SIZE, DEPTH_SLACK = 256, 0.003  # pixels, and metres that a place may lie behind what is seen there
FACING = (0.1, 0.5)  # cosine to the camera at which a place counts as hidden, and as seen
FEATURES = 4 * (2 * len(ALONG) + len(COARSE)) + 2 * 2 + 3 + 3  # of each place: `Evidence.features`


@dataclass(frozen=True, eq=False)
class Evidence:
    """Of B portraits at N places, on one device."""

    points: Tensor  # [B, N, 3] metres, on the neutral head
    features: Tensor  # [B, N, FEATURES]
    seen: Tensor  # [B, N] in [0, 1] how well
    picture: Tensor  # [B, 4, S, S] colours of the person alone and their matte, in [0, 1]
    image_from: Tensor  # [B, N, 3, 4] from an offset in the neutral head's space to homogeneous pixels over S

    def at(self, offset: Tensor) -> Tensor:  # [B, N, 3] metres -> [B, N, 4]
        """What the photograph shows where places are moved to; differentiable."""
        with in_float32(offset.device):
            projected = torch.einsum("bnij,bnj->bni", self.image_from[..., :3], offset) + self.image_from[..., 3]
        where = 2 * projected[..., :2] / projected[..., 2:].clamp_min(1e-3) - 1
        return _looked_up(self.picture, where)

    def expand(self, count: int) -> Evidence:
        """The one portrait ``count`` times."""
        return Evidence(*(x.expand(count, *x.shape[1:]) for x in vars(self).values()))

    @classmethod
    def stack(cls, portraits: Sequence[Evidence]) -> Evidence:
        return cls(*(torch.cat([getattr(p, f.name) for p in portraits]) for f in fields(cls)))

    def to(self, device: torch.device | str) -> Evidence:
        return Evidence(*(x.to(device) for x in vars(self).values()))


def evidence_of(portrait: Observed, sites: Sites, head: HeadData) -> Evidence:
    """Of one portrait, on the CPU."""
    camera, size = portrait.camera, len(portrait.matte)
    colours = np.concatenate([portrait.rgb, portrait.matte[..., None]], axis=2)
    picture = torch.from_numpy(np.ascontiguousarray(colours.transpose(2, 0, 1))).float()[None] / 255
    resting = sites.normals(portrait.neutral, head.faces)
    normals = sites.normals(portrait.posed, head.faces)
    surface = portrait.posed[sites.corners].mean(1, dtype=np.float32)
    along = surface[None] + np.array(ALONG, np.float32)[:, None, None] * normals  # [A, N, 3]
    pixel = camera.project(along.reshape(-1, 3))[0].reshape(len(ALONG), -1, 2)
    where = torch.from_numpy((2 * pixel / size - 1).astype(np.float32))
    reduced = F.interpolate(picture, (DEPTH_SIZE, DEPTH_SIZE), mode="area")
    shown = _looked_up(reduced.expand(len(ALONG), -1, -1, -1), where)  # [A, N, 4]
    coarse = [_looked_up(F.interpolate(picture, (s, s), mode="area"), where[:1]) for s in COARSE]
    view = MeshView.of(portrait.posed, head.faces, camera.resized(DEPTH_SIZE), prepare_head(head).opaque)
    facing = view.facing(surface, normals)
    low, high = FACING
    seen = view.sees(surface, DEPTH_SLACK) * np.clip((facing - low) / (high - low), 0, 1)
    near = shown.permute(1, 0, 2).flatten(1)  # [N, 4 A]
    sight = torch.from_numpy(np.stack([seen, facing], 1).astype(np.float32))
    place = torch.cat([where[0], torch.from_numpy(normals[:, 2:])], 1)
    mirror = torch.from_numpy(sites.mirror)
    turned = torch.from_numpy(normals @ camera.viewmat[:3, :3].T)
    pixels = torch.cat([near, near[mirror], *(found[0] for found in coarse)], 1) - 0.5
    features = torch.cat([pixels, sight, sight[mirror], place, turned], 1)
    points = sites.points(portrait.neutral, resting)
    return Evidence(
        torch.from_numpy(points)[None],
        features[None],
        sight[None, :, 0],
        picture,
        torch.from_numpy(_image_from(portrait, sites, head, camera, surface + sites.height[:, None] * normals))[None],
    )


def _image_from(
    portrait: Observed, sites: Sites, head: HeadData, camera: Camera, at: np.ndarray
) -> np.ndarray:  # [N, 3] -> [N, 3, 4]
    """How the photograph shows what is offset from a place of the neutral head, which is turned with its triangle."""
    faces = torch.from_numpy(head.faces.astype(np.int64))
    before, after = (triangle_frames(torch.from_numpy(v), faces)[0] for v in (portrait.neutral, portrait.posed))
    turn = (after @ before.transpose(1, 2)).numpy()[sites.face]  # [N, 3, 3]
    scaled = np.diag([1 / camera.width, 1 / camera.height, 1]).astype(np.float32) @ camera.K
    matrix = scaled @ camera.viewmat[:3, :3]
    origin = at @ matrix.T + scaled @ camera.viewmat[:3, 3]
    return np.concatenate([matrix @ turn, origin[:, :, None]], axis=2).astype(np.float32)


def _looked_up(picture: Tensor, where: Tensor) -> Tensor:  # [B, C, H, W], [B, N, 2] in [-1, 1] -> [B, N, C]
    found = F.grid_sample(picture, where[:, :, None], align_corners=False, padding_mode="border")
    return found[..., 0].transpose(1, 2)
