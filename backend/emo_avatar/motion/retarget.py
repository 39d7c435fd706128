"""A performance made for one head, on another: by way of the ARKit units that both heads have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from emo_avatar.head.arkit import arkit_from_flame, flame_from_arkit
from emo_avatar.head.data import N_SHAPE, HeadData
from emo_avatar.motion.flame_sequence import FlameSequence

# Emotions exaggerate ARKit units, and some pull against them.
LOWER, UPPER = -1.0, 2.5


def retarget(sequence: FlameSequence, source: HeadData, target: HeadData) -> FlameSequence:
    """``sequence`` of ``source`` with the same facial expressions, gaze and head turn on ``target``.

    What the units of ``source`` cannot express is lost, and so is the identity, which ARKit does not know.
    """
    weights = arkit_from_flame(
        source, sequence.expression, sequence.jaw_pose, sequence.eyes_pose, lower=LOWER, upper=UPPER
    )
    expression, jaw, eyes = flame_from_arkit(target, weights)
    return replace(
        sequence,
        shape=np.zeros(N_SHAPE, np.float32),
        expression=expression,
        jaw_pose=jaw,
        eyes_pose=eyes,
        static_offset=None,
        head=target.name,
    )
