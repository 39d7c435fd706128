"""One training process, or several of a team that torchrun started."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

Result = TypeVar("Result")


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
        parameters = [p for p in model.parameters() if p.requires_grad]
        for p in parameters:  # what one process' batch did not ask for, another's may have
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        gradients = [p.grad for p in parameters if p.grad is not None]
        flag = torch.full((1,), float(stop), device=self.device)
        message = torch.cat([*(g.flatten().float() for g in gradients), flag])
        dist.all_reduce(message)
        message /= self.count
        at = 0
        for gradient in gradients:
            gradient.copy_(message[at : at + gradient.numel()].view_as(gradient))
            at += gradient.numel()
        return bool(message[-1] > 0)

    def share(self, model: nn.Module) -> None:
        """Give all processes the weights of the first."""
        if self.count > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)

    def in_turn(self, do: Callable[[], Result]) -> Result:
        """The first process of each machine does it, then the others: what they would build in one another's way."""
        if self.count == 1:
            return do()
        builds = os.environ["LOCAL_RANK"] == "0"
        done = [do()] if builds else []
        dist.barrier()
        return done[0] if builds else do()


def is_first_process() -> bool:
    """Whether this is the process that writes files and says so."""
    return os.environ.get("RANK", "0") == "0"


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
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    return Processes(rank, count, device)
