"""The appearance path's emotion tokens: what is appended to a backbone's image tokens.

After "Giving Faces Their Feelings Back", Sec. 3.2: ``a~ = [a || phi(T)]``. Nothing else of a backbone changes: its own
attention does the rest.
"""

from __future__ import annotations

from torch import Tensor, nn

from emo_avatar.emotion.space import EmotionSpace

TOKENS, SPACE_WIDTH = 32, 64  # enough of them that attention over hundreds of image tokens notices at once


class EmotionTokens(nn.Module):
    """``phi(T)``: the emotion space's tokens in the width of a backbone's image tokens."""

    def __init__(self, width: int, tokens: int = TOKENS) -> None:
        super().__init__()
        self.space = EmotionSpace(SPACE_WIDTH, tokens)
        self.phi = nn.Sequential(
            nn.LayerNorm(SPACE_WIDTH),
            nn.Linear(SPACE_WIDTH, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.LayerNorm(width),
        )

    def forward(self, weights: Tensor) -> Tensor:  # [B, 6] -> [B, K, width]
        """The tokens of each person's emotion; of neutral, those of the positions alone."""
        tokens: Tensor = self.phi(self.space(weights))
        return tokens
