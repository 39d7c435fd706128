"""How much of each splat is seen: the gradient of a picture by a splat's colour is the weight it is blended with."""

from __future__ import annotations

from dataclasses import replace

import torch

from emo_avatar.avatar.gaussians import SH_C0, Gaussians
from emo_avatar.render.camera import Camera
from emo_avatar.render.rasterize import rasterize


def seen_in(gaussians: Gaussians, camera: Camera, masks: torch.Tensor) -> torch.Tensor:  # [K, H, W] -> [N, K]
    """Blending weight of every splat, summed over the pixels of each of K <= 3 masks."""
    sh = torch.zeros_like(gaussians.sh).requires_grad_(True)  # grey: the weights do not depend on the colour
    rgb = rasterize(replace(gaussians, sh=sh), camera).rgb
    (rgb[:, :, : len(masks)].permute(2, 0, 1) * masks).sum().backward()
    assert sh.grad is not None
    return sh.grad[:, 0, : len(masks)] / SH_C0
