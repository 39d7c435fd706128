"""gsplat where there is no GPU: its signature, what it asserts, and pictures by the plain reference."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.render.camera import Camera

from .render.reference import rasterize_reference

ALPHA_THRESHOLD = 1 / 255


def rasterization(
    means: Tensor,  # [N, 3]
    quats: Tensor,  # [N, 4] wxyz
    scales: Tensor,  # [N, 3]
    opacities: Tensor,  # [N]
    colors: Tensor,  # [N, K, 3]
    viewmats: Tensor,  # [C, 4, 4]
    Ks: Tensor,  # [C, 3, 3]  # noqa: N803
    width: int,
    height: int,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
    sh_degree: int | None = None,
    packed: bool = True,
    tile_size: int = 16,
    backgrounds: Tensor | None = None,  # [C, D]
    render_mode: str = "RGB",
    sparse_grad: bool = False,
    absgrad: bool = False,
    rasterize_mode: str = "classic",
    channel_chunk: int = 32,
    distributed: bool = False,
    camera_model: str = "pinhole",
    covars: Tensor | None = None,
) -> tuple[Tensor, Tensor, dict]:
    """As in gsplat 1.5.0; later ones of 1.5 have more parameters. Of what it can do, what we ask for."""
    count, views = len(means), len(viewmats)
    assert means.shape == (count, 3) and quats.shape == (count, 4) and scales.shape == (count, 3)
    assert opacities.shape == (count,)
    assert viewmats.shape == (views, 4, 4) and Ks.shape == (views, 3, 3) and views == 1
    assert sh_degree is not None and colors.shape[::2] == (count, 3) and (sh_degree + 1) ** 2 <= colors.shape[1]
    assert backgrounds is not None and backgrounds.shape == (views, 3)
    # The depth is a fourth channel, over a background of zero, and divided by alpha.
    assert render_mode == "RGB+ED" and not packed and near_plane == 0.01 and eps2d == 0.3
    tensors = (means, quats, scales, opacities, colors, viewmats, Ks, backgrounds)
    assert {x.dtype for x in tensors} == {torch.float32}  # as its kernels want it
    assert len({x.device for x in tensors}) == 1
    if means.device.type == "meta":  # shapes, and a way back to all of them
        used = sum(x.sum() for x in tensors)
        shape = (1, height, width)
        return used.expand(*shape, 4), used.expand(*shape, 1), {}
    drawn = opacities >= ALPHA_THRESHOLD  # the others are left out before anything else is looked at
    shown = Gaussians(*(x[drawn] for x in (means, quats, scales, opacities, colors)))
    assert all(torch.isfinite(x).all() for x in vars(shown).values())  # it would blend them at full opacity
    camera = Camera(viewmats[0].numpy(), Ks[0].numpy(), width, height)
    rgb, alpha, depth = rasterize_reference(shown, camera, backgrounds[0])
    return torch.cat([rgb, depth[..., None]], -1)[None], alpha[None, ..., None], {}


def install(monkeypatch: pytest.MonkeyPatch, kernels: object = object()) -> None:
    """In place of the real one; ``kernels`` is None where it found no compiler."""
    modules = {name: ModuleType(name) for name in ("gsplat", "gsplat.cuda", "gsplat.cuda._backend")}
    modules["gsplat"].rasterization = rasterization
    modules["gsplat.cuda._backend"]._C = kernels
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
