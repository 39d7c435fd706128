"""How a person's skin changes with emotion, beyond what the moving mesh does to it: the appearance path at play."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import torch

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.avatar.rig import Rig
from emo_avatar.motion.timeline import EMOTIONS

if TYPE_CHECKING:
    from emo_avatar.avatar.avatar import SourcePhoto


class Look(Protocol):
    """Changes the colours of an avatar's Gaussians with its emotion. Immutable; files store its arrays."""

    kind: ClassVar[str]  # the name under which files know this class

    def under(self, gaussians: Gaussians, weights: np.ndarray) -> Gaussians:
        """Posed Gaussians under emotion ``weights [6]``; the very same ones at neutral."""
        ...

    def prepare(self, weights: np.ndarray, device: torch.device) -> None:
        """Ask at once what `under` will be about next, ``weights [T, 6]``, for Gaussians on ``device``."""
        ...

    def pack(self) -> dict[str, np.ndarray]:
        """The arrays from which `unpack` makes this look again."""
        ...

    @classmethod
    def unpack(cls, arrays: Mapping[str, np.ndarray], rig: Rig, photo: SourcePhoto | None) -> Look:
        """The look that `pack` described. Raises ValueError or KeyError when the pieces do not fit together."""
        ...


def checked_weights(weights: np.ndarray) -> np.ndarray:  # [6] float32
    """The weights of one emotion. Raises ValueError when there are not six."""
    weights = np.asarray(weights, np.float32)
    if weights.shape != (len(EMOTIONS),):
        raise ValueError(f"Emotion weights must have shape ({len(EMOTIONS)},), not {weights.shape}.")
    return weights


class EmotionCache:
    """What a network has said of the last ``most`` emotions; threads share it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[bytes, torch.Tensor] = OrderedDict()
        self._lock = Lock()

    def get(self, weights: np.ndarray, ask: Callable[[np.ndarray], torch.Tensor]) -> torch.Tensor:
        """What is kept of ``weights [T, 6]``, else what ``ask`` says of those that are not, one thread at a time.

        Of no more than ``most`` emotions; stacked along the first dimension, as ``ask`` returns them.
        """
        keys = [one.tobytes() for one in weights]
        with self._lock:
            new = {key: one for key, one in zip(keys, weights, strict=True) if key not in self._kept}
            if new:
                self._kept.update(zip(new, ask(np.stack(list(new.values()))), strict=True))
            for key in keys:
                self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return torch.stack([self._kept[key] for key in keys]) if len(keys) > 1 else self._kept[keys[0]][None]
