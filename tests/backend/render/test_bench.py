"""The benchmark's scene and facts."""

from __future__ import annotations

import torch

from emo_avatar.render.bench import random_scene, time_rasteriser
from emo_avatar.render.rasterize import rasterize


def test_scene_covers_the_picture_and_is_always_the_same() -> None:
    gaussians, camera = random_scene(3000, 128, 1, torch.device("cpu"))
    again, _ = random_scene(3000, 128, 1, torch.device("cpu"))
    assert torch.equal(gaussians.means, again.means) and gaussians.sh_degree == 1
    assert (rasterize(gaussians, camera).alpha > 0.1).float().mean() > 0.8


def test_times_are_told_with_their_circumstances() -> None:
    times = time_rasteriser(500, 64, 0, True, 3, torch.device("cpu"), compare=True)
    assert 0 < times.best_ms <= times.median_ms
    assert (times.gaussians, times.size, times.sh_degree, times.repeats, times.device) == (500, 64, 0, 3, "cpu")
    assert times.torch_operations_ms is not None and times.times_faster == times.torch_operations_ms / times.best_ms
