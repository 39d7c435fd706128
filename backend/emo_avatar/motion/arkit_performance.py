"""Recorded ARKit face tracking, and its way onto a head."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from emo_avatar.errors import UserError
from emo_avatar.head.arkit import flame_from_arkit
from emo_avatar.head.data import ARKIT_NAMES, HeadData
from emo_avatar.motion.flame_sequence import FlameSequence, resample_linear
from emo_avatar.motion.rotations import resample_axis_angle

MAX_WEIGHT = 5.0  # ARKit's weights lie in [0, 1]; edited takes overshoot, percentages would be far beyond
MAX_ANGLE = 2 * np.pi  # radians; beyond it, the columns hold degrees

UNIT_INDEX = {name.lower(): i for i, name in enumerate(ARKIT_NAMES)}
ANGLES = ("yaw", "pitch", "roll")
ROTATIONS = ("head", "lefteye", "righteye")


@dataclass(frozen=True)
class ARKitPerformance:
    """T frames of ARKit tracking at a constant rate."""

    fps: float
    weights: np.ndarray  # [T, 52] in the order of ARKIT_NAMES
    head: np.ndarray  # [T, 3] rotation of the head, axis-angle radians
    eyes: np.ndarray | None  # [T, 6] left and right eye, axis-angle radians; None: only the weights tell the gaze

    def on_head(self, head: HeadData) -> FlameSequence:
        """The performance in the parameters of a head.

        The head turns on its neck, so that a bust stands still. Where the tracker measured the eyes themselves their
        rotation is taken as it is, and the eyeLook weights move only the lids.
        """
        expression, jaw, eyes = flame_from_arkit(head, self.weights)
        still = FlameSequence.still(len(self.weights), self.fps)
        return FlameSequence(
            fps=self.fps,
            shape=still.shape,
            expression=expression,
            rotation=still.rotation,
            neck_pose=self.head,
            jaw_pose=jaw,
            eyes_pose=eyes if self.eyes is None else self.eyes,
            translation=still.translation,
            head=head.name,
        )


def performance_from_columns(
    names: Sequence[str],
    values: np.ndarray,  # [R, C] a row per recorded frame
    times: np.ndarray,  # [R] ascending, in frames of ``fps``; gaps are filled
    fps: float,
    source: str,
) -> tuple[ARKitPerformance, list[str]]:
    """A performance from a table with Apple's names in any case, or their ``_L`` and ``_R`` form, and notes on it.

    Rotations are Live Link Face's: radians, yaw about y, pitch about x, roll about z of the face anchor (x to the
    subject's left, y up, z forward, as FLAME's), composed as Ry Rx Rz.

    Raises:
        UserError: no ARKit column, or values that no tracker writes.
    """
    column = {normal_name(name): i for i, name in enumerate(names)}
    absent = [name for name in ARKIT_NAMES if name.lower() not in column]
    if len(absent) == len(ARKIT_NAMES):
        raise UserError(f"{source} has no ARKit blendshape among its columns, such as eyeBlinkLeft or jawOpen.")
    if not len(values):
        raise UserError(f"{source} holds no frame with a tracked face.")
    if not np.isfinite(values).all():
        raise UserError(f"{source} has values that are not finite (NaN or infinity).")
    notes = [f"{source} lacks {', '.join(absent)}: taken as zero."] if absent else []

    weights = np.zeros((len(values), len(ARKIT_NAMES)), np.float32)
    for name, i in column.items():
        if name in UNIT_INDEX:
            weights[:, UNIT_INDEX[name]] = values[:, i]
    if np.abs(weights).max() > MAX_WEIGHT:
        raise UserError(f"{source} has blendshape weights up to {np.abs(weights).max():g}; they should be from 0 to 1.")

    def rotation(part: str) -> np.ndarray | None:  # [R, 3] or None when the file does not measure it
        columns = [column.get(part + angle) for angle in ANGLES]
        if all(i is None for i in columns):
            return None
        angles = np.stack([np.zeros(len(values)) if i is None else values[:, i] for i in columns], axis=1)
        if np.abs(angles).max() > MAX_ANGLE:
            raise UserError(f"{source} has rotations up to {np.abs(angles).max():g}; they should be in radians.")
        return Rotation.from_euler("YXZ", angles).as_rotvec()

    head, left, right = (rotation(part) for part in ROTATIONS)
    # Apps that do not track the eyes write the columns nevertheless, as zeros.
    eyes = np.concatenate([left, right], axis=1) if left is not None and right is not None else None
    if eyes is not None and not eyes.any():
        eyes = None

    grid = np.arange(round(times[-1] - times[0]) + 1) + times[0]  # [T]
    at = np.interp(grid, times, np.arange(len(times)))  # [T] position in rows
    performance = ARKitPerformance(
        fps,
        resample_linear(weights, at).astype(np.float32),
        resample_axis_angle(head if head is not None else np.zeros((len(values), 3)), at),
        None if eyes is None else resample_axis_angle(eyes, at),
    )
    return performance, notes


def normal_name(name: str) -> str:
    """A column's name for comparison: ``EyeBlinkLeft``, ``eyeBlinkLeft`` and ``eyeBlink_L`` are one."""
    name = re.sub(r"_l$", "left", name.strip().lower())
    return re.sub(r"_r$", "right", name)
