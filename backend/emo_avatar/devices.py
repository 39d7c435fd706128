"""What is made once for each device that asks for it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

import torch

Made = TypeVar("Made")


class PerDevice(Generic[Made]):
    """``make(device)``, kept; threads share it. What is made may be saved for a gradient, whoever asks first."""

    def __init__(self, make: Callable[[torch.device], Made]) -> None:
        self._make = make
        self._made: dict[torch.device, Made] = {}
        self._lock = Lock()

    def on(self, device: torch.device) -> Made:
        if device not in self._made:
            with self._lock, torch.inference_mode(False), torch.no_grad():
                if device not in self._made:
                    self._made[device] = self._make(device)
        return self._made[device]
