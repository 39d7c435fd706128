"""The appearance path of LAM avatars at play: the network asked again, with the tokens of an emotion."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from emo_avatar.avatar.gaussians import Gaussians, sh_from_rgb
from emo_avatar.avatar.rig import FlameRig, Rig
from emo_avatar.backbones.lam.checkpoint import shipped_lam
from emo_avatar.motion.timeline import EMOTIONS

if TYPE_CHECKING:
    from emo_avatar.avatar.avatar import SourcePhoto

KEPT = 64  # emotions whose colours are remembered: a pass of the network is dear


@dataclass(frozen=True, eq=False)
class LamLook:
    """What an avatar keeps of its portrait for the network."""

    kind: ClassVar[str] = "lam"

    tokens: np.ndarray  # [M, width] of the image
    points: np.ndarray  # [N, 3] metres, that the network is asked about
    _kept: OrderedDict[bytes, torch.Tensor] = field(default_factory=OrderedDict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def under(self, gaussians: Gaussians, weights: np.ndarray) -> Gaussians:
        """Posed Gaussians with the colours of an emotion; at neutral the same ones."""
        weights = np.asarray(weights, np.float32)
        if weights.shape != (len(EMOTIONS),):
            raise ValueError(f"Emotion weights must have shape ({len(EMOTIONS)},), not {weights.shape}.")
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
        key = weights.tobytes()
        with self._lock:
            if key not in self._kept:
                model = shipped_lam().model
                tokens, points = (torch.from_numpy(a)[None] for a in (self.tokens, self.points))
                with torch.inference_mode():
                    rgb = model.decode(tokens, points, torch.from_numpy(weights)[None]).rgb[0]
                self._kept[key] = sh_from_rgb(rgb)
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]
