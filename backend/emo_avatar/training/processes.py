"""One training process, or several of a team that torchrun started."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True)
class Processes:
    """This process among the others."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def average(self, model: nn.Module, stop: bool) -> bool:
        """Average the gradients of all processes, in one message; whether any of them wants to ``stop``."""
        if self.count == 1:
            return stop
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flag = torch.full((1,), float(stop), device=self.device)
        message = torch.cat([*(g.flatten().float() for g in gradients), flag])
        dist.all_reduce(message)
        message /= self.count
        at = 0
        for gradient in gradients:
            gradient.copy_(message[at : at + gradient.numel()].view_as(gradient))
            at += gradient.numel()
        return bool(message[-1] > 0)


def processes(device: torch.device | str) -> Processes:
    """Join the team that torchrun describes in the environment; without one, a team of one on ``device``."""
    device = torch.device(device)
    if "WORLD_SIZE" not in os.environ:
        return Processes(0, 1, device)
    rank, count, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if device.type == "cuda":
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Processes(rank, count, device)
