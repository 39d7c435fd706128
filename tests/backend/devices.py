"""A stand-in for a GPU on machines that have none: PyTorch's ``meta`` device, whose tensors hold no numbers.

Whatever would stop a GPU to look at numbers (`item`, `numpy`, `nonzero`, a branch on a value) raises there by itself.
Under `OneDevice`, so does an operation on tensors of two devices, and what is carried between them is counted.
"""

from __future__ import annotations

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GPU = torch.device("meta")
CARRIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}


class OneDevice(TorchDispatchMode):
    """Raises where an operation takes tensors of two devices.

    Tensors without a dimension may be anywhere, as PyTorch has it; moving is what `to` and `copy_` are for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.carried: Counter[str] = Counter()  # bytes "to the GPU" and "to the CPU"

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor) and x.ndim]
        if func in CARRIES:
            target = tensors[0] if func is torch.ops.aten.copy_.default and tensors else out
            for x in tensors:
                if x.device != target.device:
                    self.carried["to the GPU" if target.device == GPU else "to the CPU"] += x.nbytes
        elif len({x.device for x in tensors}) > 1:
            raise AssertionError(f"{func} takes tensors of {sorted({str(x.device) for x in tensors})}")
        return out
