"""The head's UV atlas as a picture: what the network reads and writes.

Each cell stands for the texel that lies closest to it on the atlas, so that whatever is known of texels is a picture
without further work. Outside the atlas' islands the nearest texel goes on, which saves lookups near a seam from mixing
with nothing.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree

from emo_avatar.backbones.portrait.prepared import PreparedHead
from emo_avatar.backbones.portrait.view import smooth_over_mesh
from emo_avatar.backbones.uv.complete import Observation
from emo_avatar.backbones.uv.maps import fold_depth
from emo_avatar.head.data import HeadData, open_head

SIZE = 256  # cells a side; one is about 1 mm of a face, as wide as texels are apart
REGIONS = ("face", "lips", "lids", "brows", "ears", "neck", "scalp")
FIXED = 1 + len(REGIONS) + 3 + 3  # channels: island, regions, depth of folds, place on the head
ROUNDING = 1e-3  # of places on the atlas in avatar files
REST_SCALE = 10.0  # per metre: brings places on a head to the order of one
REACH_ROUNDS = 3  # of smoothing, of the edge of what emotions colour


@dataclass(frozen=True, eq=False)
class Grid:
    """What is the same for every portrait."""

    texel: np.ndarray  # [R, R] int32, row 0 is the top of the atlas
    fixed: np.ndarray  # [FIXED, R, R] float32
    reach: np.ndarray  # [V] float32 in [0, 1], of vertices: how far emotion colours what lies on them


@dataclass(frozen=True, eq=False)
class PortraitMaps:
    """What a portrait says of each cell, in the precision in which avatar files keep it."""

    colour: np.ndarray  # [R, R, 3] uint8, completed
    confidence: np.ndarray  # [R, R] uint8, 0: the photo does not show the place
    sharpness: np.ndarray  # [R, R] uint8, how far the colour is the photo's own pixel
    facing: np.ndarray  # [R, R] uint8, cosine to the camera, 0: turned away
    hair: np.ndarray  # [R, R] uint8, 255 under hair
    pixel: np.ndarray  # [R, R, 2] float16, column and row in the photo, from -1 to 1

    def __post_init__(self) -> None:
        size = len(self.colour)
        shapes = {f.name: (size, size) for f in fields(self)} | {"colour": (size, size, 3), "pixel": (size, size, 2)}
        for name, shape in shapes.items():
            kind = np.float16 if name == "pixel" else np.uint8
            value = getattr(self, name)
            if value.shape != shape or value.dtype != kind:
                raise ValueError(f"the map of {name} is not {shape} {np.dtype(kind)}")

    def channels(self) -> torch.Tensor:  # [7, R, R] in [0, 1]
        flat = (self.confidence, self.sharpness, self.facing, self.hair)
        stacked = np.concatenate([self.colour.transpose(2, 0, 1), np.stack(flat)])
        return torch.from_numpy(stacked.astype(np.float32) / 255)

    def places(self) -> torch.Tensor:  # [R, R, 2] in [-1, 1]
        return torch.from_numpy(self.pixel.astype(np.float32))


def shares_atlas(head: HeadData) -> bool:
    """Whether a head has the atlas that the network was trained on: the open head's."""
    own = open_head()
    same = np.array_equal(head.faces, own.faces) and head.uv.shape == own.uv.shape
    return same and np.allclose(head.uv, own.uv, atol=ROUNDING)


def atlas_fingerprint(head: HeadData) -> str:
    """Names an atlas; weights belong to one."""
    parts = np.round(head.uv, 4).astype("<f4").tobytes(), head.uv_faces.astype("<i4").tobytes()
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


@functools.lru_cache(maxsize=2)
def grid_of(prepared: PreparedHead, size: int = SIZE) -> Grid:
    """The atlas of a head."""
    texels, head = prepared.texels, prepared.head
    centres = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(centres, 1 - centres)
    distance, texel = cKDTree(texels.uv).query(np.stack([u, v], axis=-1))
    island = distance < 2 / size

    def on_texels(region: str) -> np.ndarray:  # [N]
        return prepared.on_face[region][texels.face].astype(np.float32)

    folds = fold_depth(head, texels.face, texels.barycentric) / np.float32(255)
    of_texels = [*(on_texels(name) for name in REGIONS), *folds.T, *(REST_SCALE * texels.rest).T]
    fixed = np.stack([island.astype(np.float32), *(column[texel] for column in of_texels)])
    # Not the neck: nobody knows where on it clothing begins, and a shirt does not blush.
    coloured = (head.regions["face"] | head.regions["ears"]) & ~head.regions["scalp"] & ~head.regions["neck"]
    reach = smooth_over_mesh(coloured.astype(float), head.faces, REACH_ROUNDS).astype(np.float32)
    return Grid(texel.astype(np.int32), fixed.astype(np.float32), reach)


def observed(grid: Grid, seen: Observation, colour: np.ndarray, size: tuple[int, int]) -> PortraitMaps:
    """The maps of a portrait: what its texels say (``colour [N, 3]`` completed), ``size`` its width and height."""
    byte = lambda values: np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)[grid.texel]  # noqa: E731
    pixel = np.clip(2 * seen.pixel / np.array(size) - 1, -1, 1).astype(np.float16)[grid.texel]
    return PortraitMaps(
        byte(colour), byte(seen.confidence), byte(seen.sharpness), byte(seen.facing), byte(seen.under_hair), pixel
    )


def sample(maps: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:  # [C, R, R], [N, 2] with v up -> [N, C]
    """What maps say at places of the atlas, bilinear."""
    at = torch.stack([2 * uv[:, 0] - 1, 1 - 2 * uv[:, 1]], dim=-1)
    return F.grid_sample(maps[None], at[None, None], padding_mode="border", align_corners=False)[0, :, 0].T
