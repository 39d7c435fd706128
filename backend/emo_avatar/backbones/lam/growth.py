"""Gaussians grown between the tokens of a transformer, each with the photograph's own pixels at hand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emo_avatar.avatar.binding import quat_multiply
from emo_avatar.backbones.lam.config import LamConfig
from emo_avatar.backbones.lam.evidence import FEATURES, Evidence
from emo_avatar.backbones.lam.points import PointGaussians
from emo_avatar.backbones.lam.sites import KNOWN, Sites

PLUMP = (0.65, 0.65, 0.25)  # first sizes of a disc, in units of the distance to its neighbours
SURE, OTHER_SIDE, MADE_UP = 4.0, 1.0, 0.0  # first logits of where a colour comes from, where it is seen
FIRST_OPACITY = (2.2, -1.5)  # logits: of places on the head, and above it


@dataclass(frozen=True, eq=False)
class Ground:
    """`Sites` as tensors."""

    mirror: Tensor
    asked: Tensor
    near: Tensor
    share: Tensor
    known: Tensor
    spacing: Tensor
    quats: Tensor
    height: Tensor

    @classmethod
    def of(cls, sites: Sites, device: torch.device | str = "cpu") -> Ground:
        return cls(*(torch.from_numpy(getattr(sites, name)).to(device) for name in cls.__dataclass_fields__))

    def to(self, device: torch.device | str) -> Ground:
        return Ground(*(x.to(device) for x in vars(self).values()))


class GrowingPerceptron(nn.Module):
    """What the transformer said of asked places, and what is seen of each place, to features of each."""

    def __init__(self, config: LamConfig) -> None:
        super().__init__()
        assert config.growth is not None
        width = config.growth.width
        self.of_tokens = nn.Linear(config.width, width)
        self.of_places = nn.Linear(KNOWN, width)
        self.of_photo = nn.Linear(FEATURES, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(config.growth.layers))

    def forward(self, x: Tensor, seen: Evidence, ground: Ground) -> Tensor:  # [B, M, W] -> [B, N, width]
        told = self.of_tokens(x).float()
        around = [
            F.embedding_bag(ground.near, each, per_sample_weights=ground.share, mode="sum") for each in told
        ]  # [N, width] each
        h = F.silu(torch.stack(around) + self.of_places(ground.known) + self.of_photo(seen.features))
        for layer in self.layers:
            h = h + F.silu(layer(h))
        return h


class GrowingHeads(nn.Module):
    """Features of places to Gaussians. At first each is a disc on the surface in the photograph's colour there.

    A Gaussian's colour is one of three, or between them: what the photograph shows where it is, what it shows where
    the Gaussian opposite is, and one of the network's own. What lies outside the photograph's outline is not there.
    """

    def __init__(self, config: LamConfig) -> None:
        super().__init__()
        assert config.growth is not None
        self.max_offset, self.max_scale = config.max_offset, config.max_scale
        sizes = {"shs": 3, "source": 3, "scaling": 3, "xyz": 3, "opacity": 1, "rotation": 4}
        layers = {name: nn.Linear(config.growth.width, size) for name, size in sizes.items()}
        self.out_layers = nn.ModuleDict(layers)
        for layer in layers.values():
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, h: Tensor, seen: Evidence, ground: Ground) -> PointGaussians:  # [B, N, width]
        raw = {name: layer(h).float() for name, layer in self.out_layers.items()}
        offset = (raw["xyz"].sigmoid() - 0.5) * self.max_offset
        own = seen.at(offset)  # [B, N, 4]
        opposite = own[:, ground.mirror]
        first = torch.stack(
            [
                SURE * (2 * seen.seen - 1),
                OTHER_SIDE * (2 * seen.seen[:, ground.mirror] - 1),
                torch.full_like(seen.seen, MADE_UP),
            ],
            -1,
        )
        share = (raw["source"] + first).softmax(-1)
        colours = torch.stack([own[..., :3], opposite[..., :3], raw["shs"].sigmoid()], -1)  # [B, N, 3, 3]
        above = ground.height > 0
        plump = torch.tensor(PLUMP, device=h.device).log() + ground.spacing[:, None].log()
        turn = F.normalize(raw["rotation"] + torch.tensor([1.0, 0, 0, 0], device=h.device), dim=-1)
        solid = torch.where(above, FIRST_OPACITY[1], FIRST_OPACITY[0])
        return PointGaussians(
            offset=offset,
            quats=quat_multiply(ground.quats.expand_as(turn), turn),
            scales=(raw["scaling"] + plump).clamp(max=math.log(self.max_scale)).exp(),
            opacities=(raw["opacity"].squeeze(-1) + solid).sigmoid() * own[..., 3],
            rgb=(colours * share[..., None, :]).sum(-1),
        )
