"""Losses that several trainers share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SCALES = 3


def picture_gradients(error: Tensor) -> Tensor:  # [H, W, 3] -> []
    """How much a picture's differences between neighbours err, at three scales: edges count, not only areas."""
    x = error.permute(2, 0, 1)[None]
    total = x.new_zeros(())
    for _ in range(SCALES):
        total = total + x.diff(dim=2).abs().mean() + x.diff(dim=3).abs().mean()
        x = F.avg_pool2d(x, 2)
    return total


def robust(error: Tensor, weight: Tensor, delta: float) -> Tensor:  # [N, 3], [N] -> []
    """Huber's loss, averaged under a weight; from ``delta`` on errors count linearly."""
    loss = F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=delta).mean(1)
    return (weight * loss).sum() / weight.sum().clamp_min(1) / delta
