"""LAM's transformer: point tokens and image tokens attend to one another jointly (MMDiT of Esser et al., 2024)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-6


class JointTransformer(nn.Module):
    """Layers over two streams; what comes out is the stream of points."""

    def __init__(self, width: int, context_width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.linear_cond_proj = nn.Linear(context_width, width)
        self.layers = nn.ModuleList(JointBlock(width, heads, last=i == layers - 1) for i in range(layers))
        self.norm = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, x: Tensor, context: Tensor, more: Tensor | None = None) -> Tensor:
        """``x [B, N, width]``, image tokens ``context [B, M, context_width]``, ``more [B, K, width]`` tokens beside
        those, which the backbone was not designed for and needs no change for -> ``[B, N, width]``."""
        context = self.linear_cond_proj(context)
        if more is not None:
            context = torch.cat([context, more], dim=1)
        for layer in self.layers:
            x, context = layer(x, context)
        return self.norm(x)


class JointBlock(nn.Module):
    """Joint attention, then a perceptron for each stream; the last block has no use for the second stream's."""

    def __init__(self, width: int, heads: int, last: bool) -> None:
        super().__init__()
        self.norm1, self.norm1_context = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = JointAttention(width, heads, last)
        self.norm2 = nn.LayerNorm(width, eps=EPSILON, elementwise_affine=False)
        self.ff = FeedForward(width)
        self.ff_context = None if last else FeedForward(width)

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:  # [B, N, width], [B, M, width]
        to_x, to_context = self.attn(self.norm1(x), self.norm1_context(context))
        x = x + to_x
        x = x + self.ff(self.norm2(x))
        if self.ff_context is not None:
            context = context + to_context
            context = context + self.ff_context(self.norm2(context))
        return x, context


class JointAttention(nn.Module):
    """Both streams, each with projections of its own, in one attention with normalised queries and keys."""

    def __init__(self, width: int, heads: int, last: bool) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.add_q_proj, self.add_k_proj, self.add_v_proj = (nn.Linear(width, width) for _ in range(3))
        self.norm_q, self.norm_k, self.norm_added_q, self.norm_added_k = (
            nn.RMSNorm(width // heads, eps=EPSILON) for _ in range(4)
        )
        self.to_out = nn.ModuleList([nn.Linear(width, width)])
        self.to_add_out = None if last else nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:  # [B, N, width], [B, M, width]
        own = (self.norm_q(self._split(self.to_q(x))), self.norm_k(self._split(self.to_k(x))))
        added = (
            self.norm_added_q(self._split(self.add_q_proj(context))),
            self.norm_added_k(self._split(self.add_k_proj(context))),
        )
        q, k = (torch.cat(pair, dim=2) for pair in zip(own, added, strict=True))
        v = torch.cat([self._split(self.to_v(x)), self._split(self.add_v_proj(context))], dim=2)
        joint = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        to_x, to_context = joint.split([x.shape[1], context.shape[1]], dim=1)
        return self.to_out[0](to_x), to_context if self.to_add_out is None else self.to_add_out(to_context)

    def _split(self, x: Tensor) -> Tensor:  # [B, N, width] -> [B, H, N, d]
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([GeluLayer(width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x: Tensor) -> Tensor:  # [B, N, width]
        return self.net[2](self.net[0](x))


class GeluLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:  # [B, N, width] -> [B, N, 4 width]
        return F.gelu(self.proj(x), approximate="tanh")
