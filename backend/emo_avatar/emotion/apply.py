"""Emotion on a driving sequence: the one function that rigs, exporters and the command line call."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from emo_avatar.emotion.geometry import GeometryModulator, load_modulator, modulate
from emo_avatar.head.arkit import arkit_from_flame, flame_from_arkit
from emo_avatar.head.data import N_EXPRESSION, HeadData, open_head
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.timeline import EMOTIONS

# Emotions at full strength ask for more than a unit has (a browInnerUp of 1.6), and for less than none when they undo
# what the driving performance does.
_LEAST_UNIT, _MOST_UNIT = -2.0, 2.5


def apply_emotions(head: HeadData, sequence: FlameSequence, weights: np.ndarray) -> FlameSequence:
    """The sequence under the emotions of ``weights [T, 6]`` (order of `EMOTIONS`, 0 to 1), in ``head``'s own space.

    Heads that share the open head's expression space go through the geometry modulator directly. For any other head
    the performance is carried to the open head by ARKit weights, modulated there, and the change is carried back.
    The result remembers the weights, for the appearance path.
    """
    weights = np.asarray(weights, np.float32)
    if weights.shape != (len(sequence), len(EMOTIONS)):
        raise ValueError(f"Emotion weights must have shape ({len(sequence)}, {len(EMOTIONS)}), not {weights.shape}.")
    if not weights.any():
        return sequence
    shipped = open_head()
    if shares_expressions(head, shipped):
        expression, jaw = _modulated(sequence.expression, sequence.jaw_pose, weights, sequence.fps)
        return replace(sequence, expression=expression, jaw_pose=jaw, emotions=weights)

    units = arkit_from_flame(head, sequence.expression, sequence.jaw_pose, sequence.eyes_pose)  # [T, 52]
    expression, jaw, _ = flame_from_arkit(shipped, units)
    after_expression, after_jaw = _modulated(expression, jaw, weights, sequence.fps)
    eyes = np.zeros_like(sequence.eyes_pose)  # emotions of the geometry path do not turn the eyes
    change = arkit_from_flame(
        shipped, after_expression - expression, after_jaw - jaw, eyes, lower=_LEAST_UNIT, upper=_MOST_UNIT
    )
    own_expression, own_jaw, _ = flame_from_arkit(head, change)
    expression, jaw = sequence.expression + own_expression, sequence.jaw_pose + own_jaw
    return replace(sequence, expression=expression, jaw_pose=jaw, emotions=weights)


def shares_expressions(head: HeadData, other: HeadData) -> bool:
    """Whether the same expression vector means the same face on both heads, as on one head and a person made of it."""
    return np.array_equal(head.arkit_to_expr, other.arkit_to_expr)


def _modulated(
    expression: np.ndarray, jaw: np.ndarray, weights: np.ndarray, fps: float
) -> tuple[np.ndarray, np.ndarray]:  # [T, 100], [T, 3], [T, 6] -> [T, 100], [T, 3]
    driving = np.concatenate([expression, jaw], axis=1).astype(np.float32)
    out = modulate(_shipped_modulator(), driving, weights, fps)
    return out[:, :N_EXPRESSION], out[:, N_EXPRESSION:]


@functools.cache
def _shipped_modulator() -> GeometryModulator:
    return load_modulator(open_head())
