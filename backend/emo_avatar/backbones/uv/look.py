"""The appearance path of UV avatars at play: the network's change of colours under an emotion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch

from emo_avatar.avatar.avatar import SourcePhoto
from emo_avatar.avatar.gaussians import SH_C0, Gaussians
from emo_avatar.avatar.look import EmotionCache, checked_weights
from emo_avatar.avatar.rig import FRAMES_ON_GPU, FlameRig, Rig
from emo_avatar.backbones.uv.grid import PortraitMaps, sample, shares_atlas
from emo_avatar.backbones.uv.learned import coloured, encode, photo_tensor, shipped_network_on
from emo_avatar.backbones.uv.network import Encoded, log_gain
from emo_avatar.devices import PerDevice
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.render.splat.compiled import kernel

KEPT = 8  # emotions whose colours are remembered: an artist holds one, and scrubs between two
KEPT_ON_GPU = 4 * FRAMES_ON_GPU  # where those of many frames are asked for together
_GREY = np.float32(0.5 / SH_C0)


@dataclass(frozen=True, eq=False)
class UVLook:
    """What an avatar keeps of its portrait for the network, which is asked once for each emotion."""

    kind: ClassVar[str] = "uv"

    maps: PortraitMaps
    reach: np.ndarray  # [N] uint8, how far emotion colours each Gaussian
    rig: FlameRig
    photo: SourcePhoto
    _kept: PerDevice[EmotionCache] = field(default_factory=lambda: PerDevice(_cache_on), repr=False)

    def under(self, gaussians: Gaussians, weights: np.ndarray) -> Gaussians:
        """Posed Gaussians with the colours of an emotion; at neutral the same ones."""
        weights = checked_weights(weights)
        if not weights.any():
            return gaussians
        if gaussians.device.type != "cpu":
            return self.by_operations(gaussians, weights)
        gain = self._gain(weights[None], gaussians.device)[0].numpy()
        sh = _coloured(gaussians.sh.numpy(), gain, self._cell, self.reach)
        return replace(gaussians, sh=torch.from_numpy(sh))

    def by_operations(self, gaussians: Gaussians, weights: np.ndarray) -> Gaussians:
        """`under` by PyTorch operations, for GPUs."""
        uv, reach = self._places.on(gaussians.device)
        log = sample(self._gain(weights[None], gaussians.device)[0].permute(2, 0, 1), uv)
        return replace(gaussians, sh=coloured(gaussians.sh, log * reach[:, None]))

    def prepare(self, weights: np.ndarray, device: torch.device) -> None:
        """One pass of the network for many emotions, which costs a GPU hardly more than one does."""
        felt = np.asarray(weights, np.float32)
        felt = felt[felt.any(1)]
        if device.type != "cpu" and len(felt):
            self._gain(felt[:KEPT_ON_GPU], device)

    def pack(self) -> dict[str, np.ndarray]:
        return {"reach": self.reach} | {f.name: getattr(self.maps, f.name) for f in fields(PortraitMaps)}

    @classmethod
    def unpack(cls, arrays: Mapping[str, np.ndarray], rig: Rig, photo: SourcePhoto | None) -> UVLook:
        maps = PortraitMaps(*(arrays[f.name] for f in fields(PortraitMaps)))
        reach = arrays["reach"]
        if not isinstance(rig, FlameRig) or photo is None or not shares_atlas(rig.head):
            raise ValueError("the look is of another kind of avatar")
        if reach.shape != rig.binding.shape or reach.dtype != np.uint8:
            raise ValueError("the look does not fit the Gaussians")
        return cls(maps, reach, rig, photo)

    @cached_property
    def _uv(self) -> torch.Tensor:  # [N, 2] v up
        head = self.rig.head
        uv = (head.uv[head.uv_faces[self.rig.binding]] * self.rig.appearance.barycentric[:, :, None]).sum(1)
        return torch.from_numpy(uv.astype(np.float32))

    @cached_property
    def _places(self) -> PerDevice[tuple[torch.Tensor, torch.Tensor]]:  # [N, 2], [N] in [0, 1]
        reach = torch.from_numpy(self.reach / np.float32(255))
        return PerDevice(lambda device: (self._uv.to(device), reach.to(device)))

    @cached_property
    def _cell(self) -> np.ndarray:  # [N, 2] float32, column and row of the atlas, in cells
        uv, size = self._uv.numpy(), len(self.maps.colour)
        return np.ascontiguousarray(size * np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1), np.float32)

    @cached_property
    def _encoded(self) -> PerDevice[tuple[Encoded, torch.Tensor]]:
        return PerDevice(self._encode)

    def _encode(self, device: torch.device) -> tuple[Encoded, torch.Tensor]:
        """The portrait, and the log of the factor at neutral, ``[3, R, R]``."""
        network = shipped_network_on(device)
        photo = photo_tensor(self.photo.image / np.float32(255), self.photo.matte / np.float32(255))
        with torch.inference_mode():
            encoded = encode(network, self.maps, photo)
            return encoded, log_gain(network.decode(encoded, torch.zeros(1, len(EMOTIONS), device=device)))[0]

    def _gain(self, weights: np.ndarray, device: torch.device) -> torch.Tensor:  # [T, 6] -> [T, R, R, 3]
        """The log of the factor by which emotions change colours."""

        def ask(weights: np.ndarray) -> torch.Tensor:
            encoded, neutral = self._encoded.on(device)
            with torch.inference_mode():
                asked = torch.from_numpy(weights).to(device)
                raw = shipped_network_on(device).decode(encoded.expand(len(asked)), asked)
                return (log_gain(raw) - neutral).permute(0, 2, 3, 1).contiguous()

        return self._kept.on(device).get(weights, ask)


def _cache_on(device: torch.device) -> EmotionCache:
    return EmotionCache(KEPT if device.type == "cpu" else KEPT_ON_GPU)


@kernel
def _coloured(sh: np.ndarray, gain: np.ndarray, cell: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Colours times the factor whose logarithm lies in ``gain [R, R, 3]``, looked up between the centres of cells."""
    n, k = sh.shape[0], sh.shape[1]
    last = gain.shape[0] - 1
    changed = sh.copy()
    half, one = np.float32(0.5), np.float32(1)
    for i in range(n):
        if reach[i] == 0:
            continue
        x = min(max(cell[i, 0] - half, np.float32(0)), np.float32(last))
        y = min(max(cell[i, 1] - half, np.float32(0)), np.float32(last))
        column, row = min(int(x), last - 1), min(int(y), last - 1)
        right, down = x - np.float32(column), y - np.float32(row)
        share = np.float32(reach[i]) * np.float32(1 / 255)
        for c in range(3):
            above = gain[row, column, c] + right * (gain[row, column + 1, c] - gain[row, column, c])
            below = gain[row + 1, column, c] + right * (gain[row + 1, column + 1, c] - gain[row + 1, column, c])
            more = np.exp(share * (above + down * (below - above))) - one
            for j in range(k):
                changed[i, j, c] += more * sh[i, j, c]
            changed[i, 0, c] += more * _GREY
    return changed
