"""The network: a picture and the points of a head in, one Gaussian per point out."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emo_avatar.backbones.lam.config import LamConfig
from emo_avatar.backbones.lam.encoder import ImageEncoder
from emo_avatar.backbones.lam.evidence import FEATURES, Evidence
from emo_avatar.backbones.lam.growth import Ground, GrowingHeads, GrowingPerceptron
from emo_avatar.backbones.lam.points import PointGaussians
from emo_avatar.backbones.lam.transformer import JointTransformer
from emo_avatar.emotion.space import EmotionSpace
from emo_avatar.precision import in_float32

FREQUENCIES = 8  # octaves of each coordinate
LEAST_LOG_SCALE = -5.0  # with which training begins
FIRST_OPACITY = 0.1


class Lam(nn.Module):
    """LAM by its own parameter names, and beside them ``emotion``: the tokens of the appearance path."""

    def __init__(self, config: LamConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = ImageEncoder(config.encoder, config.width)
        self.pcl_embed = PointEmbedding(config.width)
        self.transformer = JointTransformer(config.width, config.width, config.layers, config.heads)
        parts: dict[str, nn.Module]
        if config.growth is None:
            parts = {"mlp_net": PointPerceptron(config.width, config.decoder), "gs_net": GaussianHeads(config)}
        else:
            self.evidence_embed = nn.Linear(FEATURES, config.width)
            parts = {"mlp_net": GrowingPerceptron(config), "gs_net": GrowingHeads(config)}
        self.renderer = nn.ModuleDict(parts)
        self.emotion = EmotionSpace(config.width, config.emotion_tokens)

    def forward(self, image: Tensor, points: Tensor, weights: Tensor | None = None) -> PointGaussians:
        """``image [B, 3, H, W]`` in [0, 1] on white, ``points [B, N, 3]`` metres (the neutral face of the person in
        FLAME space), emotion ``weights [B, 6]``."""
        return self.decode(self.encoder(image), points, weights)

    def decode(self, tokens: Tensor, points: Tensor, weights: Tensor | None = None) -> PointGaussians:
        """The same from the picture's tokens ``[B, M, width]``, which emotion does not change.

        Without ``weights`` it is LAM as published. With them, tokens of the emotion are put beside the image tokens.
        """
        more = None if weights is None else self.emotion(weights)
        x = self.transformer(self.pcl_embed(points), tokens, more)
        return self.renderer["gs_net"](self.renderer["mlp_net"](x))

    def grow(self, tokens: Tensor, seen: Evidence, ground: Ground, weights: Tensor) -> PointGaussians:
        """As `decode`, where Gaussians grow between the points that are asked about: from the picture's tokens
        ``[B, M, width]``, what the picture shows at N places, and emotion ``weights [B, 6]``."""
        x = self.pcl_embed(seen.points[:, ground.asked]) + self.evidence_embed(seen.features[:, ground.asked])
        x = self.transformer(x, tokens, self.emotion(weights))
        return self.renderer["gs_net"](self.renderer["mlp_net"](x, seen, ground), seen, ground)


class PointEmbedding(nn.Module):
    """Sines and cosines of a point's coordinates, and the coordinates, to a token."""

    basis: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        octaves = math.pi * 2.0 ** torch.arange(FREQUENCIES)
        self.register_buffer("basis", torch.block_diag(octaves, octaves, octaves))  # [3, 24]
        self.mlp = nn.Linear(2 * 3 * FREQUENCIES + 3, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, points: Tensor) -> Tensor:  # [B, N, 3] -> [B, N, width]
        with in_float32(points.device):  # half a millimetre is 0.2 radians of the highest octave
            waves = points @ self.basis
        return self.norm(self.mlp(torch.cat([waves.sin(), waves.cos(), points], dim=-1)))


class PointPerceptron(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, width)
        )

    def forward(self, x: Tensor) -> Tensor:  # [B, N, width]
        return self.layers(x)


class GaussianHeads(nn.Module):
    """A token to the attributes of a Gaussian. At first every Gaussian is small, faint and on its point."""

    def __init__(self, config: LamConfig) -> None:
        super().__init__()
        self.max_offset, self.max_scale = config.max_offset, config.max_scale
        sizes = {"shs": 3, "scaling": 3, "xyz": 3, "opacity": 1, "rotation": 4}
        layers = {name: nn.Linear(config.width, size) for name, size in sizes.items()}
        self.out_layers = nn.ModuleDict(layers)
        with torch.no_grad():
            for name in ("scaling", "xyz", "opacity", "rotation"):
                layers[name].weight.zero_()
                layers[name].bias.zero_()
            layers["scaling"].bias.fill_(LEAST_LOG_SCALE)
            layers["rotation"].bias[0] = 1
            layers["opacity"].bias.fill_(math.log(FIRST_OPACITY / (1 - FIRST_OPACITY)))

    def forward(self, x: Tensor) -> PointGaussians:  # [B, N, width]
        raw = {name: layer(x).float() for name, layer in self.out_layers.items()}
        return PointGaussians(
            offset=(raw["xyz"].sigmoid() - 0.5) * self.max_offset,
            quats=F.normalize(raw["rotation"], dim=-1),
            scales=raw["scaling"].clamp(max=15).exp().clamp(max=self.max_scale),
            opacities=raw["opacity"].sigmoid().squeeze(-1),
            rgb=raw["shs"].sigmoid(),
        )
