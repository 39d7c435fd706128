"""Where every bit of a float counts, while the networks around it work with half of them."""

from __future__ import annotations

import contextlib

import torch


def in_float32(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Products of geometry, of pictures and of losses keep float32 under mixed precision.

    Without it autocast multiplies matrices in bfloat16, which knows a place on a head to half a millimetre.
    """
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)
