"""Make the Gaussians together look like the photograph: a short optimisation through the rasteriser.

Projection alone loses a few dB to the overlap of neighbouring discs and to the rasteriser's low-pass filter. Some
hundred steps of Adam on colours, sizes, opacities and places bring it back. What the photo does not show is held still,
and all else is held near its start, so that other views and expressions stay as they were composed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from emo_avatar.avatar.gaussians import SH_C0, Gaussians
from emo_avatar.backbones.portrait.splats import Layer, Splats
from emo_avatar.render.adam import Adam
from emo_avatar.render.camera import Camera
from emo_avatar.render.rasterize import rasterize

RATES = {"rgb": 0.016, "log_scales": 0.024, "opacity_logits": 0.06, "means": 0.0001}  # Adam's step for each
BETAS = (0.9, 0.99)  # a short memory, for a short optimisation
# Gradients this small (of a loss that is a mean over pixels) come through covering layers; Adam must not amplify them.
EPSILON = {"rgb": 1e-8, "log_scales": 1e-8, "opacity_logits": 1e-9, "means": 1e-7}
SLOW_FROM, SLOW = 0.6, 0.3  # share of the steps after which the rates drop, and to what
SCALE_RANGE = (-0.5, 0.4)  # how far the logarithm of a size may move
MEAN_RANGE = 0.0006  # metres that a place may move on each axis
OPACITY_RANGE = (0.002, 0.998)
COLOUR_REACH = 0.2  # how far a fully trusted colour may go from its start
COLOUR_RANGE = (-0.1, 1.15)  # a little outside the displayable, so that overlapping discs can reach its ends
L1_WEIGHT, ALPHA_WEIGHT = 0.02, 0.1
BACKGROUNDS = (0.5, 0.25, 0.75, 0.0, 1.0)  # in turn, so that no hole can hide behind the right grey


def refined(
    splats: Splats,
    camera: Camera,
    rgb: np.ndarray,  # [H, W, 3] clean foreground in [0, 1]
    alpha: np.ndarray,  # [H, W]
    trusted: np.ndarray,  # [N] in [0, 1], how far the photo may change each Gaussian
    steps: int,
    progress: Callable[[float], None],
    device: torch.device | str = "cpu",
    most_opaque: np.ndarray | None = None,  # [N] in [0, 1], how opaque each Gaussian may become
) -> Splats:
    """Optimise ``splats`` to show ``rgb`` under ``alpha`` from ``camera``. Calls ``progress`` with a fraction."""
    tensor = lambda a: torch.from_numpy(np.array(a, np.float32, order="C")).to(device)  # noqa: E731
    quats, shown = tensor(splats.quats), tensor(rgb * alpha[..., None])
    matte = tensor(alpha)
    opacity = tensor(splats.opacities).clamp(*OPACITY_RANGE)
    ceiling = torch.ones_like(opacity) if most_opaque is None else torch.maximum(tensor(most_opaque), opacity)
    start = {
        "rgb": tensor(splats.rgb),
        "log_scales": tensor(splats.scales).log(),
        "opacity_logits": torch.logit(opacity),
        "means": tensor(splats.means),
    }
    on_pixels = tensor(np.isin(splats.layer, (Layer.DETAIL, Layer.SHEET, Layer.RIM, Layer.GAP)))
    trust = tensor(trusted)
    freedom = {
        "rgb": trust[:, None],
        "log_scales": trust[:, None],
        "opacity_logits": on_pixels,
        "means": on_pixels[:, None],
    }
    reach = COLOUR_REACH * trust[:, None]
    bounds = {
        "rgb": ((start["rgb"] - reach).clamp_min(COLOUR_RANGE[0]), (start["rgb"] + reach).clamp_max(COLOUR_RANGE[1])),
        "log_scales": tuple(start["log_scales"] + d for d in SCALE_RANGE),
        "opacity_logits": (torch.full_like(opacity, -torch.inf), torch.logit(ceiling)),
        "means": tuple(start["means"] + d for d in (-MEAN_RANGE, MEAN_RANGE)),
    }
    now = {name: value.clone().requires_grad_() for name, value in start.items()}
    optimiser = Adam(list(now.values()), [RATES[name] for name in now], BETAS, [EPSILON[name] for name in now])
    for step in range(steps):
        if step == int(SLOW_FROM * steps):
            optimiser.rates = [SLOW * rate for rate in optimiser.rates]
        grey = BACKGROUNDS[step % len(BACKGROUNDS)]
        picture = rasterize(_gaussians(now, quats), camera, (grey, grey, grey))
        error = picture.rgb - (shown + grey * (1 - matte)[..., None])
        uncovered = picture.alpha - matte
        loss = error.square().mean() + L1_WEIGHT * error.abs().mean() + ALPHA_WEIGHT * uncovered.square().mean()
        optimiser.zero_grad()
        loss.backward()
        for name, value in now.items():
            assert value.grad is not None
            value.grad.mul_(freedom[name])  # a Gaussian that is never pushed is never moved by Adam
        optimiser.step()
        with torch.no_grad():
            for name, (low, high) in bounds.items():
                now[name].clamp_(low, high)
        progress((step + 1) / steps)
    done = {name: value.detach().cpu().numpy() for name, value in now.items()}
    return replace(
        splats,
        means=done["means"],
        scales=np.exp(done["log_scales"]),
        opacities=1 / (1 + np.exp(-done["opacity_logits"])),
        rgb=done["rgb"],
    )


def _gaussians(values: dict[str, torch.Tensor], quats: torch.Tensor) -> Gaussians:
    sh = ((values["rgb"] - 0.5) / SH_C0)[:, None]
    return Gaussians(values["means"], quats, values["log_scales"].exp(), values["opacity_logits"].sigmoid(), sh)
