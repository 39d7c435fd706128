"""Gaussian splatting on an NVIDIA GPU, by gsplat 1.5 (Ye et al. 2024), which is imported only when it is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.errors import UserError
from emo_avatar.render.camera import Camera
from emo_avatar.render.splat.footprint import LOW_PASS
from emo_avatar.render.splat.projection import NEAR


def rasterize_cuda(
    gaussians: Gaussians,
    camera: Camera,
    background: torch.Tensor,  # [3]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """rgb [H, W, 3], alpha [H, W] and expected depth [H, W] on the GPU, differentiable."""
    height, width, device = camera.height, camera.width, gaussians.device
    if len(gaussians) == 0:
        empty = torch.zeros(height, width, device=device)
        return background.expand(height, width, 3).clone(), empty, empty.clone()
    splat = gsplat_rasterization()
    finite = _finite(gaussians)
    # gsplat blends a Gaussian with a NaN at full opacity; one of opacity 0 is left out
    means, quats, scales, opacities, sh = (
        torch.where(finite.reshape(-1, *[1] * (array.ndim - 1)), array, 0.0)
        for array in (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh)
    )
    blended, alpha, _ = splat(
        means,
        quats,
        scales,
        opacities,
        sh,
        torch.as_tensor(camera.viewmat, device=device)[None],
        torch.as_tensor(camera.K, device=device)[None],
        width,
        height,
        near_plane=NEAR,
        eps2d=LOW_PASS,
        sh_degree=gaussians.sh_degree,
        packed=False,
        backgrounds=background[None],
        render_mode="RGB+ED",
    )  # [1, H, W, 4], [1, H, W, 1]
    return blended[0, ..., :3], alpha[0, ..., 0], blended[0, ..., 3]


def _finite(gaussians: Gaussians) -> torch.Tensor:  # [N] bool
    n = len(gaussians)
    arrays = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh)
    return torch.stack([torch.isfinite(array.detach()).reshape(n, -1).all(dim=1) for array in arrays]).all(dim=0)


def gsplat_rasterization() -> Callable[..., tuple[torch.Tensor, torch.Tensor, dict[str, Any]]]:
    """gsplat's ``rasterization``; raises UserError when it is not installed or has no kernels."""
    try:
        from gsplat import rasterization
        from gsplat.cuda._backend import _C as kernels
    except ImportError as error:
        raise UserError(
            "Rendering on CUDA needs gsplat: install it with pip install 'emo-avatar[cuda]', or choose --device cpu."
        ) from error
    if kernels is None:
        raise UserError("gsplat found no CUDA toolkit to build its kernels with: install one, or choose --device cpu.")
    return rasterization
