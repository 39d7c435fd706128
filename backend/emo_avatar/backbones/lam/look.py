"""The appearance path of LAM avatars at play: the network asked again, with the tokens of an emotion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from emo_avatar.avatar.avatar import SourcePhoto
from emo_avatar.avatar.gaussians import Gaussians, sh_from_rgb
from emo_avatar.avatar.look import checked_weights
from emo_avatar.avatar.rig import FlameRig, Rig
from emo_avatar.backbones.lam.checkpoint import shipped_lam
from emo_avatar.backbones.lam.evidence import Evidence, evidence_of
from emo_avatar.backbones.lam.growth import Ground
from emo_avatar.backbones.lam.observe import observed_again
from emo_avatar.backbones.lam.sites import sites_of
from emo_avatar.head.data import open_head
from emo_avatar.motion.timeline import EMOTIONS

STRENGTHS = (0.5, 1.0)  # of each emotion about which the network is asked; colours change evenly between


@dataclass(frozen=True, eq=False)
class LamLook:
    """What an avatar keeps of its portrait for the network.

    A pass of it takes longer than a frame may. It is asked about each emotion when that is first felt; strengths
    between are interpolated, and what several emotions change is added up.
    """

    kind: ClassVar[str] = "lam"

    tokens: np.ndarray  # [M, width] of the image
    rig: FlameRig
    photo: SourcePhoto
    _kept: dict[tuple[int, torch.device], torch.Tensor] = field(default_factory=dict, repr=False)  # [S, N, 1, 3] each
    _lock: Lock = field(default_factory=Lock, repr=False)

    def under(self, gaussians: Gaussians, weights: np.ndarray) -> Gaussians:
        """Posed Gaussians with the colours of an emotion; at neutral the same ones."""
        weights = checked_weights(weights)
        if not weights.any():
            return gaussians
        sh = gaussians.sh
        for emotion in np.flatnonzero(weights):
            half, full = self._changes(int(emotion), sh.device)
            # Pixels of the photograph, which come after what the network made, show hair and clothes.
            half, full = (F.pad(x, (0, 0, 0, 0, 0, len(sh) - len(x))) for x in (half, full))
            w = float(weights[emotion])
            sh = sh + (2 * w * half if w <= 0.5 else half + (2 * w - 1) * (full - half))
        return replace(gaussians, sh=sh)

    def prepare(self, weights: np.ndarray, device: torch.device) -> None:
        """Asks about every emotion that is felt."""
        for emotion in np.flatnonzero(np.any(weights, axis=0)):
            self._changes(int(emotion), device)

    def pack(self) -> dict[str, np.ndarray]:
        return {"tokens": self.tokens.astype(np.float16)}

    @classmethod
    def unpack(cls, arrays: Mapping[str, np.ndarray], rig: Rig, photo: SourcePhoto | None) -> LamLook:
        tokens = arrays["tokens"].astype(np.float32)
        if not isinstance(rig, FlameRig) or photo is None or tokens.ndim != 2:
            raise ValueError("the look is of another kind of avatar")
        if not np.isfinite(tokens).all():
            raise ValueError("the look holds numbers that are none")
        return cls(tokens, rig, photo)

    @cached_property
    def _seen(self) -> tuple[Evidence, Ground]:
        growth = shipped_lam().model.config.growth
        assert growth is not None
        sites = sites_of(open_head(), growth)
        return evidence_of(observed_again(self.rig, self.photo), sites, self.rig.head), Ground.of(sites)

    def _changes(self, emotion: int, device: torch.device) -> torch.Tensor:  # [S, N, 1, 3]
        with self._lock:
            if (emotion, device) not in self._kept:
                weights = torch.zeros(1 + len(STRENGTHS), len(EMOTIONS))
                weights[1:, emotion] = torch.tensor(STRENGTHS)
                (seen, ground), count = self._seen, len(weights)
                with torch.inference_mode():
                    tokens = torch.from_numpy(self.tokens)[None].expand(count, -1, -1)
                    rgb = shipped_lam().model.grow(tokens, seen.expand(count), ground, weights).rgb
                    changes = torch.stack([sh_from_rgb(c) - sh_from_rgb(rgb[0]) for c in rgb[1:]])
                    self._kept[emotion, device] = changes.to(device)
            return self._kept[emotion, device]
