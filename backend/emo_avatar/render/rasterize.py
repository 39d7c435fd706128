"""One entry to Gaussian splatting: ``rasterize(gaussians, camera, background)``, with the conventions of gsplat 1.5."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.render.camera import Camera
from emo_avatar.render.splat.autograd import Rasterize


@dataclass(frozen=True)
class Render:
    """What a camera sees, float32 on the device of the Gaussians."""

    rgb: torch.Tensor  # [H, W, 3] display sRGB over the background; may exceed 1
    alpha: torch.Tensor  # [H, W] in [0, 1]
    depth: torch.Tensor  # [H, W] metres: the expected depth sum(w z) / sum(w), gsplat's "ED"; 0 where alpha is 0


def rasterize(
    gaussians: Gaussians,
    camera: Camera,
    background: torch.Tensor | np.ndarray | tuple[float, float, float] = (0.0, 0.0, 0.0),  # [3]
) -> Render:
    """Splat ``gaussians``, front to back, into the image of ``camera``.

    Differentiable in all tensors of the Gaussians and in the background. A Gaussian shows where its alpha is at least
    1/255; one whose centre is nearer than 1 cm, whose opacity is below 1/255 or that holds a NaN or an infinity is not
    drawn. Equal depths keep the order of the arrays.

    On the CPU it runs in up to eight threads, as ``torch.get_num_threads()`` says, and may be called from several
    threads at once. Tensors on a GPU are rendered there, by gsplat.
    """
    colour = torch.as_tensor(background, dtype=torch.float32)
    if colour.shape != (3,):
        raise ValueError(f"background must have shape (3,), not {tuple(colour.shape)}.")
    if gaussians.device.type != "cpu":
        from emo_avatar.render.cuda import rasterize_cuda

        return Render(*rasterize_cuda(gaussians, camera, colour))
    colour = colour.cpu()
    inputs = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh, colour)
    return Render(*Rasterize.apply(*inputs, camera))


def warm_up() -> None:
    """Compile every kernel of the CPU renderer into the user's cache, which takes some ten seconds once."""
    camera = Camera.orbit(np.zeros(3), 1.0, size=32)
    for coefficients in (1, 4, 9, 16):
        points = torch.zeros(1, 3, requires_grad=True)
        sh = torch.zeros(1, coefficients, 3)
        gaussians = Gaussians(points, torch.ones(1, 4), torch.full((1, 3), 0.01), torch.ones(1), sh)
        rasterize(gaussians, camera).rgb.sum().backward()
