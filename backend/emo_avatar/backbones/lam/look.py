"""The appearance path of LAM avatars at play: the network asked again, with the tokens of an emotion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from emo_avatar.avatar.gaussians import Gaussians, sh_from_rgb
from emo_avatar.avatar.look import EmotionCache, checked_weights
from emo_avatar.avatar.rig import FlameRig, Rig
from emo_avatar.backbones.lam.checkpoint import shipped_lam

if TYPE_CHECKING:
    from emo_avatar.avatar.avatar import SourcePhoto

KEPT = 64  # emotions whose colours are remembered: a pass of the network is dear


@dataclass(frozen=True, eq=False)
class LamLook:
    """What an avatar keeps of its portrait for the network."""

    kind: ClassVar[str] = "lam"

    tokens: np.ndarray  # [M, width] of the image
    points: np.ndarray  # [N, 3] metres, that the network is asked about
    _kept: EmotionCache = field(default_factory=lambda: EmotionCache(KEPT), repr=False)

    def under(self, gaussians: Gaussians, weights: np.ndarray) -> Gaussians:
        """Posed Gaussians with the colours of an emotion; at neutral the same ones."""
        weights = checked_weights(weights)
        if not weights.any():
            return gaussians
        change = self._colours(weights) - self._colours(np.zeros_like(weights))
        return replace(gaussians, sh=gaussians.sh + change.to(gaussians.device))

    def pack(self) -> dict[str, np.ndarray]:
        return {"tokens": self.tokens.astype(np.float16), "points": self.points}

    @classmethod
    def unpack(cls, arrays: Mapping[str, np.ndarray], rig: Rig, photo: SourcePhoto | None) -> LamLook:
        tokens, points = arrays["tokens"].astype(np.float32), arrays["points"].astype(np.float32)
        if not isinstance(rig, FlameRig) or points.shape != (*rig.binding.shape, 3) or tokens.ndim != 2:
            raise ValueError("the look does not fit the Gaussians")
        if not (np.isfinite(tokens).all() and np.isfinite(points).all()):
            raise ValueError("the look holds numbers that are none")
        return cls(tokens, points)

    def _colours(self, weights: np.ndarray) -> torch.Tensor:  # [6] -> [N, 1, 3]

        def ask() -> torch.Tensor:
            model = shipped_lam().model
            tokens, points = (torch.from_numpy(a)[None] for a in (self.tokens, self.points))
            with torch.inference_mode():
                return sh_from_rgb(model.decode(tokens, points, torch.from_numpy(weights)[None]).rgb[0])

        return self._kept.get(weights, ask)
