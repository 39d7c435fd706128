"""How a GPU is asked to draw, held against gsplat's signature and the CPU's pictures, without a GPU."""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace

import pytest
import torch

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.errors import UserError
from emo_avatar.render.cuda import gsplat_rasterization, rasterize_cuda
from emo_avatar.render.rasterize import rasterize

from .. import gsplat_double
from ..devices import GPU, OneDevice
from .scenes import KINDS, camera, random_gaussians

BACKGROUND = (0.2, 0.5, 0.9)
FIELDS = ("means", "quats", "scales", "opacities", "sh")


@pytest.fixture
def gsplat(monkeypatch: pytest.MonkeyPatch) -> None:
    gsplat_double.install(monkeypatch)


@pytest.mark.parametrize("sh_count", [1, 16])
def test_gsplat_is_asked_for_what_the_cpu_draws(gsplat: None, sh_count: int) -> None:
    gaussians, view = random_gaussians(3, 400, sh_count, KINDS), camera(70, 50, shift=(4.0, -3.0))
    rgb, alpha, depth = rasterize_cuda(gaussians, view, torch.tensor(BACKGROUND))
    own = rasterize(gaussians, view, BACKGROUND)
    for theirs, ours in ((rgb, own.rgb), (alpha, own.alpha), (depth * alpha, own.depth * own.alpha)):
        assert theirs.shape == ours.shape
        assert (theirs - ours).abs().max() <= 2 / 255
    assert alpha.mean() > 0.1


def test_every_tensor_is_where_the_gaussians_are(gsplat: None) -> None:
    gaussians, view = random_gaussians(3, 50, 4).to(GPU), camera(40, 30)
    leaves = [getattr(gaussians, field).requires_grad_() for field in FIELDS]
    with OneDevice():
        for background in (BACKGROUND, torch.tensor(BACKGROUND), torch.tensor(BACKGROUND, device=GPU)):
            render = rasterize(Gaussians(*leaves), view, background)
            assert {x.device for x in (render.rgb, render.alpha, render.depth)} == {GPU}
            assert (render.rgb.shape, render.alpha.shape) == ((30, 40, 3), (30, 40))
        (render.rgb.sum() + render.depth.sum()).backward()
    assert all(leaf.grad.device == GPU for leaf in leaves)


def test_a_second_picture_sends_nothing(gsplat: None) -> None:
    gaussians, view = random_gaussians(3, 50, 1).to(GPU), camera(40, 30)
    with torch.inference_mode():
        rasterize(gaussians, view, BACKGROUND)
    with OneDevice() as mode:
        rasterize(gaussians, camera(40, 30), BACKGROUND)
    assert not mode.carried
    # What was sent while nothing needed a gradient serves where something does.
    means = gaussians.means.clone().requires_grad_()
    rasterize(replace(gaussians, means=means), view, BACKGROUND).rgb.sum().backward()


def test_nothing_is_drawn_of_no_gaussians(gsplat: None) -> None:
    render = rasterize(random_gaussians(0, 0, 1).to(GPU), camera(33, 20), BACKGROUND)
    assert render.rgb.shape == (20, 33, 3) and render.alpha.device == GPU


def test_what_cannot_be_loaded_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    gsplat_double.install(monkeypatch, kernels=None)
    with pytest.raises(UserError, match="no CUDA toolkit"):
        gsplat_rasterization()

    class Broken:
        def __getattr__(self, name: str) -> None:
            raise RuntimeError("Error building extension 'gsplat_cuda'\nninja: build stopped")

    monkeypatch.setitem(sys.modules, "gsplat.cuda._backend", Broken())
    with pytest.raises(UserError, match=r"could not build its kernels \(Error building extension 'gsplat_cuda'\)"):
        gsplat_rasterization()


def test_the_double_takes_what_gsplat_takes() -> None:
    gsplat = pytest.importorskip("gsplat", exc_type=ImportError)
    real, double = (inspect.signature(f).parameters for f in (gsplat.rasterization, gsplat_double.rasterization))
    assert list(double)[:9] == list(real)[:9]  # what is given by place
    assert {name: p.default for name, p in double.items()} == {name: real[name].default for name in double}
