"""The emotion space: six weights become the tokens that condition geometry and, later, appearance."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emo_avatar.motion.timeline import EMOTIONS


class EmotionSpace(nn.Module):
    """Weights over the six emotions, times a learned table, plus positions: a few tokens per frame.

    Neutral is the zero vector, so that its tokens are the positional embeddings alone. Weights between 0 and 1 mix
    embeddings: a half smile is a point of this space, not half the displacement of a smile.
    """

    def __init__(self, width: int, tokens: int = 4) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(len(EMOTIONS), tokens, width) * width**-0.5)  # [6, K, width]
        self.positions = nn.Parameter(torch.randn(tokens, width) * width**-0.5)  # [K, width]

    def forward(self, weights: Tensor) -> Tensor:  # [..., 6] -> [..., K, width]
        """The tokens of each frame's weights."""
        return self._mix(weights, self.table, self.positions)

    def projected(self, weights: Tensor, projection: nn.Linear) -> Tensor:  # [..., 6] -> [..., K, out]
        """``projection(self(weights))``, at the price of projecting seven sets of tokens instead of every frame's."""
        return self._mix(weights, F.linear(self.table, projection.weight), projection(self.positions))

    @staticmethod
    def _mix(weights: Tensor, table: Tensor, positions: Tensor) -> Tensor:
        return (weights @ table.flatten(1)).unflatten(-1, table.shape[1:]) + positions
