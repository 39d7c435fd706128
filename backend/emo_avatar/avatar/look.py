"""How a person's skin changes with emotion, beyond what the moving mesh does to it: the appearance path at play."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.avatar.rig import Rig

if TYPE_CHECKING:
    from emo_avatar.avatar.avatar import SourcePhoto


class Look(Protocol):
    """Changes the colours of an avatar's Gaussians with its emotion. Immutable; files store its arrays."""

    kind: ClassVar[str]  # the name under which files know this class

    def under(self, gaussians: Gaussians, weights: np.ndarray) -> Gaussians:
        """Posed Gaussians under emotion ``weights [6]``; the very same ones at neutral."""
        ...

    def pack(self) -> dict[str, np.ndarray]:
        """The arrays from which `unpack` makes this look again."""
        ...

    @classmethod
    def unpack(cls, arrays: Mapping[str, np.ndarray], rig: Rig, photo: SourcePhoto | None) -> Look:
        """The look that `pack` described. Raises ValueError or KeyError when the pieces do not fit together."""
        ...
