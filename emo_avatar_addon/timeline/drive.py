"""What an avatar is asked to do over a range of frames, as arrays: a worker may have it. No bpy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..model.flame import Kinematics
from .eyes import Eyes
from .motion import Motion

ROUNDING = 1e-5


@dataclass(frozen=True)
class Rig:
    """What of an avatar stays the same over time."""

    avatar: str  # as the backend knows it: an id, or "open"
    kinematics: Kinematics
    eyes: Eyes


@dataclass(frozen=True)
class Drive:
    """T frames of what an avatar is asked to do."""

    rig: Rig
    start: int
    weights: np.ndarray  # [T, 6] emotions times strength
    motion: Motion  # before emotion
    blink: np.ndarray  # [T] 0 to 1
    gaze: np.ndarray  # [T] 0 to 1
    target: np.ndarray  # [T, 3] metres, FLAME axes of the avatar; any where gaze is 0

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def fps(self) -> float:
        return self.motion.fps

    def rows(self, first: int, last: int) -> Drive:
        """The part from row `first` up to, not including, `last`, as far as there is any."""
        some = slice(max(first, 0), last)
        parts = {name: getattr(self, name)[some] for name in ("weights", "blink", "gaze", "target")}
        motion = Motion(fps=self.fps, **{name: values[some] for name, values in self.motion.arrays().items()})
        return Drive(rig=self.rig, start=self.start + some.start, motion=motion, **parts)

    def similar(self, other: Drive) -> bool:
        """Whether both ask for the same but for rounding: another machine rounds otherwise."""
        if (self.rig.avatar, self.start, len(self)) != (other.rig.avatar, other.start, len(other)):
            return False
        if self.fps != other.fps:
            return False

        def parts(drive: Drive) -> np.ndarray:
            joints = drive.rig.kinematics
            own = (
                joints.joints,
                joints.joint_dirs,
                drive.weights,
                drive.blink,
                drive.gaze,
                drive.target * drive.gaze[:, None],
            )
            return np.concatenate([np.ravel(part) for part in (*own, *drive.motion.arrays().values())])

        return np.allclose(parts(self), parts(other), atol=ROUNDING)

    @cached_property
    def question(self) -> bytes:
        """A digest of all that the backend's answer depends on."""
        motion = self.motion
        return _digest(
            self.rig.avatar.encode(),
            np.array([self.fps]),
            self.weights,
            motion.expression,
            motion.jaw_pose,
            motion.eyes_pose,
        )

    @cached_property
    def digest(self) -> bytes:
        """A digest of all that the avatar's values depend on."""
        joints = self.rig.kinematics
        parts = (self.motion.neck_pose, self.motion.rotation, self.motion.translation, self.blink, self.gaze)
        place = np.array([self.start, len(self)])
        return _digest(self.question, place, *parts, self.target * self.gaze[:, None], joints.joints, joints.joint_dirs)


def _digest(*parts: bytes | np.ndarray) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    return digest.digest()
