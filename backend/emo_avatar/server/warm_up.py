"""What is loaded and compiled before the first request needs it. Importing this module imports the heavy libraries."""

from __future__ import annotations

import numpy as np
import torch

from emo_avatar.avatar import lam, rig  # noqa: F401  their kernels
from emo_avatar.emotion.apply import apply_emotions
from emo_avatar.head.data import open_head
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.server.rendering import warm_up_rendering


def warm_up_first(device: torch.device) -> None:
    """What scrubbing needs: the open head, the emotion modulator, the renderer."""
    weights = np.full((8, len(EMOTIONS)), 0.1, np.float32)
    apply_emotions(open_head(), FlameSequence.still(len(weights)), weights)
    warm_up_rendering(device)


def warm_up_rest() -> None:
    """What building needs, while nobody is waiting."""
    from emo_avatar.backbones import uv  # noqa: F401
    from emo_avatar.tracking import portrait  # noqa: F401
