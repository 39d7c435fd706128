"""The CPU renderer against a plain PyTorch reference in double precision."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from emo_avatar.avatar.gaussians import Gaussians, sh_from_rgb
from emo_avatar.render.camera import Camera
from emo_avatar.render.peer import rasterize_with_torch
from emo_avatar.render.rasterize import Render, rasterize

from .reference import rasterize_reference
from .scenes import KINDS, camera, random_gaussians, scenes

BACKGROUND = (0.2, 0.5, 0.9)
FIELDS = ("means", "quats", "scales", "opacities", "sh")


def reference(gaussians: Gaussians, view: Camera) -> Render:
    double = Gaussians(*(getattr(gaussians, field).double() for field in FIELDS))
    return Render(*rasterize_reference(double, view, torch.tensor(BACKGROUND)))


def assert_same_image(actual: Render, expected: Render) -> None:
    """Within 2/255, and 0.05/255 on average; depth weighted by alpha, since it is undefined where nothing is drawn."""
    for ours, theirs in (
        (actual.rgb, expected.rgb),
        (actual.alpha, expected.alpha),
        (actual.depth * actual.alpha, expected.depth * expected.alpha),
    ):
        difference = (ours - theirs).abs()
        assert difference.max() <= 2 / 255
        assert difference.mean() <= 0.05 / 255


@settings(max_examples=40, deadline=None)
@given(scenes())
def test_agrees_with_the_reference(scene: tuple[Gaussians, Camera]) -> None:
    gaussians, view = scene
    assert_same_image(rasterize(gaussians, view, BACKGROUND), reference(gaussians, view))


def test_agrees_with_the_reference_on_a_dense_head() -> None:
    gaussians, view = random_gaussians(1, 1500, 16, KINDS), camera(160, 130)
    assert_same_image(rasterize(gaussians, view, BACKGROUND), reference(gaussians, view))


@pytest.mark.parametrize("sh_count", [1, 4, 9, 16])
@pytest.mark.parametrize("kinds", [("usual",), ("usual", "edge_on", "needle", "tiny", "faint")])
def test_gradients_agree_with_autograd_through_the_reference(sh_count: int, kinds: tuple[str, ...]) -> None:
    view = camera(48, 40, shift=(3.0, -2.0))
    gaussians = random_gaussians(7 + sh_count, 101, sh_count, kinds)
    ours = gradients(gaussians, view, torch.float32)
    theirs = gradients(gaussians, view, torch.float64)
    for name, actual, expected in zip((*FIELDS, "background"), ours, theirs, strict=True):
        assert (actual - expected).norm() <= 2e-4 * expected.norm(), name


def gradients(gaussians: Gaussians, view: Camera, dtype: torch.dtype) -> list[torch.Tensor]:
    """By all inputs, of a random linear function of all outputs; float64 goes through the reference."""
    leaves = [getattr(gaussians, field).to(dtype).requires_grad_() for field in FIELDS]
    background = torch.tensor(BACKGROUND, dtype=dtype, requires_grad=True)
    if dtype == torch.float64:
        outputs = rasterize_reference(Gaussians(*leaves), view, background)
    else:
        render = rasterize(Gaussians(*leaves), view, background)
        outputs = (render.rgb, render.alpha, render.depth)
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(output.shape, generator=generator) for output in outputs]
    loss = sum((weight.to(dtype) * output).sum() for weight, output in zip(weights, outputs, strict=True))
    return [gradient.double() for gradient in torch.autograd.grad(loss, [*leaves, background])]


def test_gaussians_that_are_not_drawn_have_no_gradient() -> None:
    gaussians = random_gaussians(3, 64, 4, ("behind", "not_finite", "outside"))
    means = gaussians.means.clone().requires_grad_()
    sh = gaussians.sh.clone().requires_grad_()
    render = rasterize(Gaussians(means, gaussians.quats, gaussians.scales, gaussians.opacities, sh), camera(40, 40))
    render.rgb.sum().backward()
    drawn = (means.grad != 0).any(dim=1) | (sh.grad != 0).flatten(1).any(dim=1)
    finite = torch.isfinite(torch.cat([getattr(gaussians, field).reshape(64, -1) for field in FIELDS], dim=1)).all(1)
    assert torch.isfinite(means.grad).all() and torch.isfinite(sh.grad).all()
    assert not drawn[~finite].any()


def test_no_gaussians_leave_the_background() -> None:
    render = rasterize(random_gaussians(0, 0, 1), camera(33, 20), BACKGROUND)
    assert torch.equal(render.rgb, torch.tensor(BACKGROUND).expand(20, 33, 3))
    assert not render.alpha.any() and not render.depth.any()


def test_nearer_gaussians_hide_farther_ones_and_equals_keep_their_order() -> None:
    colours = torch.eye(3)
    discs = Gaussians(
        means=torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 0, 0.1]]),
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(3, 1),
        scales=torch.full((3, 3), 0.05),
        opacities=torch.tensor([0.999, 0.999, 0.5]),
        sh=sh_from_rgb(colours),
    )
    pixel = rasterize(discs, Camera.orbit(np.zeros(3), 1.0, size=31)).rgb[15, 15]
    assert torch.allclose(pixel, 0.5 * colours[2] + 0.5 * colours[0], atol=2e-3)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    gaussians, view = random_gaussians(5, 3000, 4), camera(200, 150)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            leaves = [getattr(gaussians, field).clone().requires_grad_() for field in FIELDS]
            render = rasterize(Gaussians(*leaves), view)
            gradient = torch.autograd.grad((render.rgb**2).sum() + render.depth.sum(), leaves)
            results.append((render.rgb, render.depth, *gradient))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, three) for one, three in zip(*results, strict=True))


def test_may_be_called_from_several_threads_at_once() -> None:
    views = [camera(90 + 10 * k, 70, yaw=30.0 * k) for k in range(6)]
    gaussians = random_gaussians(11, 2000, 1)
    alone = [rasterize(gaussians, view).rgb for view in views]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda view: rasterize(gaussians, view).rgb, views * 8))
    assert all(torch.equal(rgb, alone[k % len(views)]) for k, rgb in enumerate(together))


def test_pytorch_operations_of_the_benchmark_draw_the_same() -> None:
    gaussians, view = random_gaussians(8, 200, 9, ("usual", "behind", "edge_on", "outside", "faint")), camera(75, 50)
    peer = rasterize_with_torch(gaussians, view, torch.tensor(BACKGROUND))
    assert (peer - reference(gaussians, view).rgb).abs().max() <= 2 / 255


def test_background_must_be_a_colour() -> None:
    with pytest.raises(ValueError, match="background"):
        rasterize(random_gaussians(0, 1, 1), camera(8, 8), 0.5)


def test_changing_an_image_in_place_before_backward_is_noticed() -> None:
    gaussians = random_gaussians(2, 20, 1)
    means = gaussians.means.clone().requires_grad_()
    rgb = rasterize(
        Gaussians(means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh), camera(32, 32)
    ).rgb
    loss = rgb.sum()
    rgb.detach().clamp_(0, 0.1)
    with pytest.raises(RuntimeError, match="inplace"):
        loss.backward()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names an x86 processor")
def test_agrees_on_a_processor_without_avx(tmp_path: Path) -> None:
    """The vector code has to run where sixteen floats are four registers."""
    script = tmp_path / "render.py"
    script.write_text(
        "import sys, torch\n"
        "from emo_avatar.avatar.gaussians import Gaussians\n"
        "from emo_avatar.render.rasterize import rasterize\n"
        "arrays, view = torch.load(sys.argv[1], weights_only=False)\n"
        "means = arrays[0].requires_grad_()\n"
        "rgb = rasterize(Gaussians(means, *arrays[1:]), view).rgb\n"
        "rgb.square().sum().backward()\n"
        "torch.save((rgb.detach(), means.grad), sys.argv[2])\n"
    )
    gaussians, view = random_gaussians(9, 400, 4), camera(70, 60)
    torch.save(([getattr(gaussians, field) for field in FIELDS], view), tmp_path / "scene.pt")
    environment = {**os.environ, "NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}
    command = [sys.executable, script, tmp_path / "scene.pt", tmp_path / "result.pt"]
    subprocess.run(command, env=environment, check=True)
    means = gaussians.means.clone().requires_grad_()
    rgb = rasterize(Gaussians(means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh), view).rgb
    rgb.square().sum().backward()
    plain_rgb, plain_gradient = torch.load(tmp_path / "result.pt")
    assert (plain_rgb - rgb).abs().max() <= 1 / 255
    assert (plain_gradient - means.grad).norm() <= 1e-3 * means.grad.norm()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_cuda_agrees_with_the_reference() -> None:
    pytest.importorskip("gsplat")
    gaussians, view = random_gaussians(1, 1500, 16, KINDS), camera(160, 130)
    render = rasterize(gaussians.to("cuda"), view, BACKGROUND)
    assert_same_image(Render(render.rgb.cpu(), render.alpha.cpu(), render.depth.cpu()), reference(gaussians, view))
