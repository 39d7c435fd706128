"""Gaussian splatting on an NVIDIA GPU, by gsplat 1.5 (Ye et al. 2024), which is imported only when it is needed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.errors import UserError
from emo_avatar.precision import in_float32
from emo_avatar.render.camera import Camera
from emo_avatar.render.splat.footprint import LOW_PASS
from emo_avatar.render.splat.projection import NEAR


def rasterize_cuda(
    gaussians: Gaussians,
    camera: Camera,
    background: torch.Tensor,  # [3] on any device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """rgb [H, W, 3], alpha [H, W] and expected depth [H, W] on the GPU, differentiable.

    The GPU is waited for once, in gsplat, which has to know how many pairs of Gaussian and tile there are.
    """
    height, width, device = camera.height, camera.width, gaussians.device
    constant = background.device.type == "cpu" and not background.requires_grad
    colour = _resident(background.numpy(), device) if constant else background.to(device)
    if len(gaussians) == 0:
        empty = torch.zeros(height, width, device=device)
        return colour.expand(height, width, 3).clone(), empty, empty.clone()
    splat = gsplat_rasterization()
    with in_float32(device):
        blended, alpha, _ = splat(
            gaussians.means.float(),
            gaussians.quats.float(),
            gaussians.scales.float(),
            _drawn(gaussians),
            gaussians.sh.float(),
            _resident(camera.viewmat, device)[None],
            _resident(camera.K, device)[None],
            width,
            height,
            near_plane=NEAR,
            eps2d=LOW_PASS,
            sh_degree=gaussians.sh_degree,
            packed=False,
            backgrounds=colour[None],
            render_mode="RGB+ED",
        )  # [1, H, W, 4], [1, H, W, 1]
    return blended[0, ..., :3], alpha[0, ..., 0], blended[0, ..., 3]


def _drawn(gaussians: Gaussians) -> torch.Tensor:  # [N]
    """Opacities, 0 of what holds a NaN or an infinity: gsplat would blend that at full opacity, and leaves out what has
    an opacity below 1/255 before it looks at anything but its depth."""
    with torch.no_grad():
        total = gaussians.opacities + gaussians.sh.sum((1, 2))
        for array in (gaussians.means, gaussians.quats, gaussians.scales):
            total = total + array.sum(1)
        finite = torch.isfinite(total)
    return torch.where(finite, gaussians.opacities, 0.0).float()


def _resident(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """A small array on a GPU. Sending it makes the processor wait for the GPU: once, not for every frame."""
    return _sent(np.asarray(array, np.float32).tobytes(), array.shape, device)


@functools.lru_cache(maxsize=256)
def _sent(data: bytes, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    with torch.inference_mode(False):  # else no gradient could ever be taken beside it
        return torch.frombuffer(bytearray(data), dtype=torch.float32).view(shape).to(device)


def gsplat_rasterization() -> Callable[..., tuple[torch.Tensor, torch.Tensor, dict[str, Any]]]:
    """gsplat's ``rasterization``; raises UserError when it is not installed or has no kernels."""
    try:
        from gsplat import rasterization
        from gsplat.cuda._backend import _C as kernels
    except ImportError as error:
        raise UserError(
            "Rendering on CUDA needs gsplat: install it with pip install 'emo-avatar[cuda]', or choose --device cpu."
        ) from error
    except Exception as error:  # of the compiler, which is of any class
        why = str(error).partition("\n")[0]
        raise UserError(f"gsplat could not build its kernels ({why}): mend that, or choose --device cpu.") from error
    if kernels is None:
        raise UserError("gsplat found no CUDA toolkit to build its kernels with: install one, or choose --device cpu.")
    return rasterization
