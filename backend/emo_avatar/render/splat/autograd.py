"""The CPU renderer as a PyTorch function."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from emo_avatar.render.camera import Camera
from emo_avatar.render.splat import cpu
from emo_avatar.render.splat.threads import kernel_threads

MAX_THREADS = 8  # beyond, waking them takes longer than their share of the work


class Rasterize(torch.autograd.Function):
    """``(means, quats, scales, opacities, sh, background [3], camera) -> rgb, alpha, depth``, shaped as in
    ``Render``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        sh: Tensor,
        background: Tensor,
        camera: Camera,
    ) -> tuple[Tensor, Tensor, Tensor]:
        gaussians = _arrays(means, quats, scales, opacities, sh)
        frame = cpu.render(gaussians, camera, _array(background), _threads())
        rgb, alpha, depth = (
            torch.from_numpy(np.ascontiguousarray(image[: camera.height, : camera.width]))
            for image in (frame.rgb, frame.alpha, frame.depth)
        )
        ctx.gaussians, ctx.frame = gaussians, frame
        # The arrays and the frame share memory with these; saving them makes PyTorch notice when they are changed in
        # place
        ctx.save_for_backward(means, quats, scales, opacities, sh, rgb, alpha, depth)
        ctx.set_materialize_grads(False)
        return rgb, alpha, depth

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, by_rgb: Tensor | None, by_alpha: Tensor | None, by_depth: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        *inputs, _, alpha, _ = ctx.saved_tensors
        frame = ctx.frame
        by_images = (_padded(by_rgb, frame.rgb), _padded(by_alpha, frame.alpha), _padded(by_depth, frame.depth))
        by_arrays = cpu.render_backward(frame, ctx.gaussians, *by_images, _threads())
        by_inputs = [torch.from_numpy(by).reshape(tensor.shape) for by, tensor in zip(by_arrays, inputs, strict=True)]
        by_background = None
        if ctx.needs_input_grad[5] and by_rgb is not None:
            by_background = torch.einsum("hwc,hw->c", by_rgb, 1.0 - alpha)
        return (*by_inputs, by_background, None)


def _threads() -> int:
    return min(kernel_threads(), MAX_THREADS)


def _arrays(means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, sh: Tensor) -> cpu.Arrays:
    n, coefficients = sh.shape[:2]
    return cpu.Arrays(
        _array(means),
        _array(quats),
        _array(scales),
        _array(opacities).reshape(n, 1),
        _array(sh).reshape(n, 3 * coefficients),
    )


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to(torch.float32).contiguous().numpy()


def _padded(gradient: Tensor | None, image: np.ndarray) -> np.ndarray:
    """A gradient by an image of the camera's size, as one of whole tiles like ``image``."""
    if gradient is not None and gradient.shape == image.shape:
        return _array(gradient)
    padded = np.zeros(image.shape, np.float32)
    if gradient is not None:
        padded[: gradient.shape[0], : gradient.shape[1]] = gradient.numpy()
    return padded
