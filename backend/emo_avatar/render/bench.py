"""How fast the rasteriser is, on a scene that anyone can make again."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.render.camera import Camera
from emo_avatar.render.peer import rasterize_with_torch
from emo_avatar.render.rasterize import rasterize

SCENE_DISTANCE, SCENE_FOV = 2.0, 30.0  # metres, degrees
PIXELS = (1.0, 3.0)  # standard deviation of the scene's Gaussians on the screen
PEER_REPEATS = 3  # it takes half a second


@dataclass(frozen=True)
class RenderTimes:
    """Milliseconds of one picture, or of one picture and the gradients by all inputs."""

    median_ms: float
    best_ms: float
    first_frame_ms: float  # loads or compiles the kernels, in a fresh process
    repeats: int
    gaussians: int
    size: int  # pixels of a side
    sh_degree: int
    backward: bool
    device: str
    threads: int
    torch: str  # version
    torch_operations_ms: float | None = None  # best time of the same by PyTorch operations
    times_faster: float | None = None  # best time against best time


def random_scene(count: int, size: int, sh_degree: int, device: torch.device) -> tuple[Gaussians, Camera]:
    """Gaussians of 1 to 3 px scattered over the picture, with random turns, opacities and colours; always the same."""
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    camera = Camera.orbit(np.zeros(3), SCENE_DISTANCE, fov=SCENE_FOV, size=size)
    pixel = SCENE_DISTANCE / float(camera.K[0, 0])  # metres that a pixel spans at the scene's middle
    half = pixel * size / 2
    gaussians = Gaussians(
        means=uniform(count, 3, low=-half, high=half),
        quats=torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=1),
        scales=pixel * uniform(count, 3, low=PIXELS[0], high=PIXELS[1]),
        opacities=uniform(count),
        sh=0.3 * torch.randn(count, (sh_degree + 1) ** 2, 3, generator=generator),
    )
    return gaussians.to(device), camera


def time_rasteriser(
    count: int,
    size: int,
    sh_degree: int,
    backward: bool,
    repeats: int,
    device: torch.device,
    compare: bool = False,
) -> RenderTimes:
    """Time ``random_scene``; with ``compare`` the same by PyTorch operations too, which is for the CPU only."""
    gaussians, camera = random_scene(count, size, sh_degree, device)
    tensors = [gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh]
    for tensor in tensors:
        tensor.requires_grad_(backward)
    background = torch.zeros(3, device=device)

    def timed(draw: Callable[[], torch.Tensor]) -> float:
        start = _now(device)
        rgb = draw()
        if backward:
            torch.autograd.grad(rgb.sum(), tensors)
        return 1e3 * (_now(device) - start)

    first = timed(lambda: rasterize(gaussians, camera, background).rgb)
    times = [timed(lambda: rasterize(gaussians, camera, background).rgb) for _ in range(repeats)]
    peer = None
    if compare and device.type == "cpu":
        peer = min(timed(lambda: rasterize_with_torch(gaussians, camera, background)) for _ in range(PEER_REPEATS))
    return RenderTimes(
        median_ms=statistics.median(times),
        best_ms=min(times),
        first_frame_ms=first,
        repeats=repeats,
        gaussians=count,
        size=size,
        sh_degree=sh_degree,
        backward=backward,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        torch_operations_ms=peer,
        times_faster=None if peer is None else peer / min(times),
    )


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
