"""LAM's image encoder: DINOv2 with registers (Oquab et al., 2023; Darcet et al., 2024), four of its blocks fused."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emo_avatar.backbones.lam.config import EncoderConfig

EPSILON = 1e-6


class ImageEncoder(nn.Module):
    """A picture's tokens."""

    def __init__(self, config: EncoderConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.model = VisionTransformer(config)
        self.fusion_head = FusionHead(config.width, len(config.taps), width)

    def forward(self, image: Tensor) -> Tensor:  # [B, 3, H, W] in [0, 1], not normalised -> [B, N, width]
        """One token per patch, row by row. Height and width are multiples of the patch."""
        taps = self.model.taps(image)
        rows, columns = (side // self.config.patch for side in image.shape[-2:])
        return self.fusion_head([tap.transpose(1, 2).unflatten(2, (rows, columns)) for tap in taps])


class FusionHead(nn.Module):
    """Each tap through a linear layer of its own, then all of them through one more."""

    def __init__(self, inner: int, taps: int, outer: int) -> None:
        super().__init__()
        self.projects = nn.ModuleList(nn.Conv2d(inner, inner, 1) for _ in range(taps))
        self.output_conv = nn.Conv2d(taps * inner, outer, 1)

    def forward(self, taps: list[Tensor]) -> Tensor:  # of [B, C, h, w] -> [B, h w, outer]
        projected = [project(tap) for project, tap in zip(self.projects, taps, strict=True)]
        return self.output_conv(torch.cat(projected, dim=1)).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    """DINOv2 by its own parameter names, without the mask token that only its training uses."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.grid**2, config.width))
        self.register_tokens = nn.Parameter(torch.zeros(1, config.registers, config.width))
        self.patch_embed = PatchEmbedding(config)
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=EPSILON)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)
        nn.init.normal_(self.register_tokens, std=1e-6)

    def taps(self, image: Tensor) -> list[Tensor]:  # [B, 3, H, W] -> of [B, N, width]
        """The normalised patch tokens after the blocks that are fused."""
        rows, columns = (side // self.config.patch for side in image.shape[-2:])
        x = torch.cat([self.cls_token.expand(len(image), -1, -1), self.patch_embed(image)], dim=1)
        x = x + self._positions(rows, columns)
        x = torch.cat([x[:, :1], self.register_tokens.expand(len(image), -1, -1), x[:, 1:]], dim=1)
        tapped = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.config.taps:
                tapped.append(self.norm(x)[:, 1 + self.config.registers :])
        return tapped

    def _positions(self, rows: int, columns: int) -> Tensor:  # [1, 1 + rows columns, width]
        grid = self.config.grid
        if rows == columns == grid:
            return self.pos_embed
        patches = self.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (grid, grid)).float()
        patches = F.interpolate(patches, (rows, columns), mode="bicubic", antialias=True)
        patches = patches.flatten(2).transpose(1, 2).to(self.pos_embed.dtype)
        return torch.cat([self.pos_embed[:, :1], patches], dim=1)


class PatchEmbedding(nn.Module):
    """One token per patch."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch, config.patch)

    def forward(self, image: Tensor) -> Tensor:  # [B, 3, H, W] -> [B, N, width]
        return self.proj(image).flatten(2).transpose(1, 2)


class Block(nn.Module):
    """Self-attention and a perceptron, pre-norm, each with a learned scale per channel."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=EPSILON) for _ in range(2))
        self.attn = SelfAttention(width, heads)
        self.mlp = Perceptron(width)
        self.ls1, self.ls2 = LayerScale(width), LayerScale(width)

    def forward(self, x: Tensor) -> Tensor:  # [B, N, width]
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:  # [B, N, width]
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each [B, H, N, d]
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Perceptron(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:  # [B, N, width]
        return self.fc2(F.gelu(self.fc1(x)))


class LayerScale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:  # [B, N, width]
        return self.gamma * x
