"""Blinks and gaze: what the lids and eyeballs do by themselves, after emotion. No bpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..model.flame import axis_angles, quaternions
from .motion import Motion
from .rotations import between, product, rotated

CLOSING, CLOSED, OPENING = 0.08, 0.04, 0.16  # seconds of one blink
JITTER = 0.38  # of the mean interval, to either side
DOUBLE = 0.12  # share of blinks that come twice
DOUBLE_AFTER = 0.36  # seconds
MAX_YAW, MAX_PITCH = np.radians(38.0), np.radians(24.0)  # farther an eye does not turn; the head must

_LIDS = ("eyeBlink", "eyeSquint", "eyeWide")
_SIDES = ("Left", "Right")
_LEFT_EYE, _RIGHT_EYE = 3, 4  # joints


@dataclass(frozen=True)
class Eyes:
    """How one head's lids and eyeballs answer to ARKit units, and where its eyes are."""

    names: tuple[str, ...]  # of the 52 units
    to_expression: np.ndarray  # [52, 100]
    to_pose: np.ndarray  # [52, 9] jaw, left eye, right eye
    joints: np.ndarray  # [5, 3] of the neutral head, metres
    joint_dirs: np.ndarray  # [5, 3, 100]
    reading: np.ndarray  # [100, 52] expression -> units, least squares

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        to_expression: np.ndarray,
        to_pose: np.ndarray,
        joints: np.ndarray,
        joint_dirs: np.ndarray,
    ) -> Eyes:
        return cls(tuple(names), to_expression, to_pose, joints, joint_dirs, np.linalg.pinv(to_expression, rcond=1e-4))

    def unit(self, name: str) -> int:
        return self.names.index(name)


def blinks(
    frames: np.ndarray,  # [T] scene frames
    beats: np.ndarray,  # [T] mean number of blinks since some fixed frame, never falling
    rate: float,  # mean number a second: how beats go on outside the range
    fps: float,
    seed: int,
) -> np.ndarray:  # [T] 0 open to 1 closed
    """Automatic blinks, each closed on a whole frame. A seed gives the same blinks whatever range is asked for."""
    if rate <= 0:
        return np.zeros(len(frames))
    slope = rate / fps
    pad = slope * (CLOSING + CLOSED + OPENING + DOUBLE_AFTER) * fps + 1
    centres = []
    for beat in range(int(np.floor(beats[0] - pad)), int(np.ceil(beats[-1] + pad)) + 1):
        shift, chance = np.random.default_rng((seed & 0xFFFFFFFF, beat & 0xFFFFFFFF)).random(2)
        at = _frame_of(beat + 0.5 + JITTER * (2 * shift - 1), frames, beats, slope)
        centres.append(round(at))
        if chance < DOUBLE:
            centres.append(round(at + DOUBLE_AFTER * fps))
    seconds = (frames[None, :] - np.array(centres)[:, None]) / fps  # [blinks, T] since the lids met
    closing = np.clip(1 + seconds / CLOSING, 0, 1)
    opening = np.clip(1 - (seconds - CLOSED) / OPENING, 0, 1)
    amount = np.where(seconds < 0, closing, opening)
    return (amount * amount * (3 - 2 * amount)).max(axis=0)


def close_lids(motion: Motion, amount: np.ndarray, eyes: Eyes) -> Motion:  # [T] 0 to 1
    """Lids brought towards closed, from wherever expression and emotion have them: never past closed."""
    if not amount.any():
        return motion
    lids = [eyes.unit(name + side) for name in _LIDS for side in _SIDES]
    shut = [eyes.unit("eyeBlink" + side) for side in _SIDES]
    now = motion.expression @ eyes.reading[:, lids]  # [T, 6]
    change = eyes.to_expression[shut].sum(axis=0) - now @ eyes.to_expression[lids]  # [T, 100]
    return replace(motion, expression=(motion.expression + amount[:, None] * change).astype(np.float32))


def look_at(
    motion: Motion,
    target: np.ndarray,  # [T, 3] metres, FLAME space of the avatar
    influence: np.ndarray,  # [T] 0 to 1
    eyes: Eyes,
) -> Motion:
    """Both eyes turned to a target, as far as eyes can, the lids following; the head does not turn."""
    if not influence.any():
        return motion
    pose, weights = motion.eyes_pose.copy(), np.zeros((len(motion), len(eyes.names)), np.float32)
    for i, side in enumerate(_SIDES):
        yaw, pitch = _angles(_in_head(motion, target, (_LEFT_EYE, _RIGHT_EYE)[i], eyes))
        turn = _axis_angle(yaw, pitch)
        own = pose[:, 3 * i : 3 * i + 3]
        pose[:, 3 * i : 3 * i + 3] = between(own, turn, influence[:, None])
        outward = yaw if side == "Left" else -yaw
        looks = {"eyeLookOut": outward, "eyeLookIn": -outward, "eyeLookUp": -pitch, "eyeLookDown": pitch}
        for name, angle in looks.items():
            unit = eyes.unit(name + side)
            most = np.linalg.norm(eyes.to_pose[unit, 3 + 3 * i : 6 + 3 * i])
            if most > 1e-6:
                weights[:, unit] = influence * np.maximum(angle, 0) / most
    lids = (weights @ eyes.to_expression).astype(np.float32)
    return replace(motion, eyes_pose=pose.astype(np.float32), expression=motion.expression + lids)


def _frame_of(beat: float, frames: np.ndarray, beats: np.ndarray, slope: float) -> float:
    """The frame at which `beats` reaches a number; outside the range at the mean rate."""
    if beat < beats[0]:
        return frames[0] + (beat - beats[0]) / slope
    if beat > beats[-1]:
        return frames[-1] + (beat - beats[-1]) / slope
    return float(np.interp(beat, beats, frames))


def _in_head(motion: Motion, target: np.ndarray, joint: int, eyes: Eyes) -> np.ndarray:  # [T, 3] -> [T, 3]
    """The target as seen from an eye, in the axes of the turned head."""
    joints = eyes.joints + np.einsum("jcd,td->tjc", eyes.joint_dirs, motion.expression)  # [T, 5, 3]
    root, neck, eye = joints[:, 0], joints[:, 1], joints[:, joint]
    seen = rotated(-motion.rotation, target - motion.translation - root) + root  # undo the root
    seen = rotated(-motion.neck_pose, seen - neck) + neck  # undo the neck
    return seen - eye


def _angles(direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # [T, 3] -> [T], [T] radians
    """Yaw to the subject's left and pitch downwards, within what an eye can do."""
    x, y, z = direction.T
    yaw = np.arctan2(x, z)
    pitch = np.arctan2(-y, np.hypot(x, z))
    return np.clip(yaw, -MAX_YAW, MAX_YAW), np.clip(pitch, -MAX_PITCH, MAX_PITCH)


def _axis_angle(yaw: np.ndarray, pitch: np.ndarray) -> np.ndarray:  # [T], [T] -> [T, 3]
    zero = np.zeros_like(yaw)
    turn = quaternions(np.stack([zero, yaw, zero], axis=-1))
    return axis_angles(product(turn, quaternions(np.stack([pitch, zero, zero], axis=-1))))
