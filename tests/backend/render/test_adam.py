"""Adam without PyTorch's compiler: the same steps, and a build that never imports it."""

from __future__ import annotations

import subprocess
import sys

import torch

from emo_avatar.render.adam import Adam


def test_steps_are_those_of_pytorch() -> None:
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(50, 3, generator=generator), torch.randn(7, generator=generator)]
    ours = [value.clone().requires_grad_() for value in start]
    theirs = [value.clone().requires_grad_() for value in start]
    rates, epsilons, betas = [0.05, 0.01], [1e-8, 1e-3], (0.9, 0.99)
    own = Adam(ours, rates, betas, epsilons)
    groups = [
        {"params": [value], "lr": rate, "eps": epsilon}
        for value, rate, epsilon in zip(theirs, rates, epsilons, strict=True)
    ]
    reference = torch.optim.Adam(groups, betas=betas, fused=True)
    for step in range(20):
        if step == 10:
            own.rates = [rate / 2 for rate in own.rates]
            for group in reference.param_groups:
                group["lr"] /= 2
        for optimiser, (points, offsets) in ((own, ours), (reference, theirs)):
            optimiser.zero_grad()
            ((points**2).sum() + (points[:7, 0] * offsets).sum() + (offsets - 1).abs().sum()).backward()
            optimiser.step()
    for value, expected, before in zip(ours, theirs, start, strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=0)
        assert (value - before).abs().max() > 0.05


def test_pytorch_s_compiler_is_not_imported() -> None:
    program = """
import sys, torch
from emo_avatar.avatar import lam_backing
from emo_avatar.backbones.portrait import refine
from emo_avatar.render.adam import Adam
value = torch.ones(3, requires_grad=True)
optimiser = Adam([value], [0.1])
optimiser.zero_grad()
value.sum().backward()
optimiser.step()
assert value[0] < 0.95
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=600)
