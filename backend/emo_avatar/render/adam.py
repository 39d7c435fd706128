"""PyTorch's Adam for short optimisations through the rasteriser.

`torch.optim.Adam` imports PyTorch's compiler at its first step, which it does not use here: more than a second and
70 MB in every build, and a backend that answers nobody for half a second. The function underneath does without.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.optim.adam import adam


class Adam:
    """Moves ``parameters``, leaves that require gradients, by ``rates`` (which may be changed between two steps)."""

    def __init__(
        self,
        parameters: Sequence[torch.Tensor],
        rates: Sequence[float],
        betas: tuple[float, float] = (0.9, 0.999),
        epsilons: Sequence[float] | float = 1e-8,
    ) -> None:
        self.parameters, self.rates = list(parameters), list(rates)
        self._betas = betas
        self._epsilons = [epsilons] * len(self.parameters) if isinstance(epsilons, float) else list(epsilons)
        self._means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._steps = [torch.zeros((), dtype=torch.float32, device=p.device) for p in self.parameters]

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        for i, parameter in enumerate(self.parameters):
            assert parameter.grad is not None
            adam(
                [parameter], [parameter.grad], [self._means[i]], [self._squares[i]], [], [self._steps[i]],
                fused=True, amsgrad=False, beta1=self._betas[0], beta2=self._betas[1],
                lr=self.rates[i], weight_decay=0.0, eps=self._epsilons[i], maximize=False,
            )  # fmt: skip
