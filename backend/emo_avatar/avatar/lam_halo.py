"""Cleaning the halo of an imported avatar: large faint splats that stand beside the figure, where its photo was white.

Seen against another background, or from the side, they are smudges around hair, neck and shoulders.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import binary_dilation, binary_opening, label

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.avatar.lam_visibility import seen_in
from emo_avatar.render.camera import Camera
from emo_avatar.render.rasterize import rasterize

_SOLID = 0.5  # alpha from which on a pixel belongs to the figure
# Share of a splat that is seen outside at which it begins to fade, and at which it is gone. From the side more is
# allowed: brows and noses make the contour there, and they are needed in front.
_FRONT, _SIDE = (0.15, 0.4), (0.4, 0.8)
_THREAD = 2  # pixels: what is up to twice as wide is a thread
_LARGE = (0.002, 0.004)  # metres of standard deviation: strands of hair are thinner and stay


def halo_fade(gaussians: Gaussians, front: Camera, sides: tuple[Camera, ...]) -> torch.Tensor:  # [N] in [0, 1]
    """Factors on the opacities that fade what mostly shows outside the figure in one of the views."""
    keep = torch.ones_like(gaussians.opacities)
    large = _ramp(gaussians.scales.amax(dim=1), _LARGE)
    for camera, limits in ((front, _FRONT), *((side, _SIDE) for side in sides)):
        keep = torch.minimum(keep, 1.0 - large * _ramp(_share_outside(gaussians, camera), limits))
    return keep


def _share_outside(gaussians: Gaussians, camera: Camera) -> torch.Tensor:  # [N] in [0, 1]
    """The part of what is seen of each splat that lies where the picture is mostly background."""
    outside = torch.from_numpy(~figure(rasterize(gaussians, camera).alpha.numpy())).float()  # [H, W]
    seen = seen_in(gaussians, camera, torch.stack([outside, 1.0 - outside]))  # [N, 2]
    return seen[:, 0] / seen.sum(dim=1).clamp_min(1e-6)


def figure(alpha: np.ndarray) -> np.ndarray:  # [H, W] -> [H, W] bool
    """Where the figure is, without what floats beside it or hangs on it by a thread."""
    solid = alpha > _SOLID
    parts, count = label(binary_opening(solid, iterations=_THREAD))
    if count == 0:
        return solid
    largest = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return binary_dilation(largest, iterations=2 * _THREAD) & solid


def _ramp(values: torch.Tensor, limits: tuple[float, float]) -> torch.Tensor:
    start, end = limits
    return ((values - start) / (end - start)).clamp(0.0, 1.0)
