"""LPIPS, the perceptual distance of Zhang et al. 2018, with AlexNet features (version 0.1, linear heads)."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from emo_avatar import assets
from emo_avatar.evaluation.image import as_float
from emo_avatar.head.inert_pickle import array_of, read_pickle

SHIFT = (-0.030, -0.088, -0.188)  # the paper's scaling layer, for pictures in [-1, 1]
SCALE = (0.458, 0.448, 0.450)
STRIDES_PADDINGS = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))  # of AlexNet's five convolutions
POOLED_BEFORE = (1, 2)  # 3 x 3 max pooling with stride 2 comes before these convolutions
SMALLEST = 32  # pixels; below, the pooled feature maps are empty
EPS = 1e-10


def lpips(a: np.ndarray, b: np.ndarray) -> float:
    """LPIPS distance of two pictures [H, W, 3] (uint8, or floats in [0, 1]); 0 when they are equal.

    To compare inside a matte, lay both over the same background first (``evaluation.image.over``).
    """
    if a.shape != b.shape or a.ndim != 3 or a.shape[2] != 3 or min(a.shape[:2]) < SMALLEST:
        raise ValueError(f"pictures must both be [H, W, 3] of {SMALLEST} px or more, not {a.shape} and {b.shape}")
    images = torch.from_numpy(np.stack([as_float(a), as_float(b)])).float().permute(0, 3, 1, 2)  # [2, 3, H, W]
    with torch.inference_mode():
        return float(_network()(images[:1], images[1:]))


class LPIPS(torch.nn.Module):
    """The network; ``forward`` takes [B, 3, H, W] in [0, 1] and returns [B], and is differentiable."""

    def __init__(self, kernels: list[torch.Tensor], biases: list[torch.Tensor], heads: list[torch.Tensor]) -> None:
        super().__init__()
        self.kernels = torch.nn.ParameterList(kernels)  # [out, in, k, k]
        self.biases = torch.nn.ParameterList(biases)  # [out]
        self.heads = torch.nn.ParameterList(heads)  # [1, channels, 1, 1]
        self.requires_grad_(False)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:  # [B, 3, H, W] each -> [B]
        distance = torch.zeros(len(a), device=a.device)
        for features_a, features_b, head in zip(self.features(a), self.features(b), self.heads, strict=True):
            difference = (_unit(features_a) - _unit(features_b)) ** 2
            distance = distance + F.conv2d(difference, head).mean(dim=(1, 2, 3))
        return distance

    def features(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The five rectified feature maps of [B, 3, H, W] in [0, 1]."""
        shift, scale = (image.new_tensor(values).view(1, 3, 1, 1) for values in (SHIFT, SCALE))
        x = (2 * image - 1 - shift) / scale
        maps = []
        for layer, (stride, padding) in enumerate(STRIDES_PADDINGS):
            if layer in POOLED_BEFORE:
                x = F.max_pool2d(x, 3, stride=2)
            x = F.relu(F.conv2d(x, self.kernels[layer], self.biases[layer], stride=stride, padding=padding))
            maps.append(x)
        return maps


def _unit(features: torch.Tensor) -> torch.Tensor:
    return features / (features.norm(dim=1, keepdim=True) + EPS)


@functools.cache
def _network() -> LPIPS:
    return load_lpips(assets.fetch("lpips_alexnet.ckpt"))


def load_lpips(path: Path) -> LPIPS:
    """Read the weights from a Flax checkpoint: a pickled dict of numpy arrays, convolution kernels in HWIO order."""
    with path.open("rb") as stream:
        tree = read_pickle(stream, path.name)  # as data: nothing in it is run
    layers = range(len(STRIDES_PADDINGS))
    convolutions = [tree["AlexNet_0"][f"Conv_{i}"] for i in layers]
    heads = [tree[f"NetLinLayer_{i}"]["Conv_0"] for i in layers]
    return LPIPS(
        [_oihw(convolution["kernel"]) for convolution in convolutions],
        [torch.tensor(array_of(convolution["bias"], "bias")) for convolution in convolutions],
        [_oihw(head["kernel"]) for head in heads],
    )


def _oihw(kernel: Any) -> torch.Tensor:  # pickled [H, W, I, O] -> [O, I, H, W]
    return torch.tensor(np.ascontiguousarray(array_of(kernel, "kernel").transpose(3, 2, 0, 1)))
