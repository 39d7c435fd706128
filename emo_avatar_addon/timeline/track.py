"""An evaluated range of frames: what an avatar shows, as FLAME parameters and as values of Blender's rig. No bpy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .. import safetensors
from ..errors import AddonError
from ..model import flame
from ..model.flame import RigValues
from . import eyes
from .drive import Drive, Rig
from .motion import WIDTHS, Motion


@dataclass(frozen=True)
class Track:
    """Frames `start` to `end` of one avatar, under emotion, with blinks and gaze."""

    drive: Drive  # what all of it follows from
    felt: Motion  # under emotion, before blinks and gaze: what the backend has answered
    motion: Motion  # what is seen
    rig: RigValues

    @property
    def start(self) -> int:
        return self.drive.start

    def __len__(self) -> int:
        return len(self.motion)

    @property
    def end(self) -> int:
        return self.start + len(self) - 1

    def __contains__(self, frame: float) -> bool:
        return self.start <= frame < self.start + len(self)

    def values(self, frame: float) -> tuple[RigValues, int]:
        """Rig values and the row of them to show: between frames a mixture, outside of the range the nearest frame."""
        at = min(max(frame - self.start, 0.0), len(self) - 1.0)
        row, t = int(at), at - int(at)
        if t == 0.0:
            return self.rig, row
        rig, pair = self.rig, slice(row, row + 2)
        mix = np.array([1 - t, t], np.float32)
        a, b = rig.quaternions[pair].astype(float)
        b = np.where((a * b).sum(-1, keepdims=True) < 0, -b, b)
        turn = a * (1 - t) + b * t
        return RigValues(
            shape_keys=mix @ rig.shape_keys[pair][None, :],
            locations=np.einsum("t,tjx->jx", mix, rig.locations[pair])[None],
            quaternions=(turn / np.linalg.norm(turn, axis=-1, keepdims=True))[None].astype(np.float32),
            moves=rig.moves,
        ), 0

    @cached_property
    def beyond(self) -> tuple[int, int] | None:
        """First and last frame in which some component is larger than shape keys can be, and is cut off."""
        rows = np.flatnonzero(np.abs(self.motion.expression).max(axis=1, initial=0.0) > flame.LARGEST_SHAPE_KEY)
        return (self.start + int(rows[0]), self.start + int(rows[-1])) if len(rows) else None

    def pack(self) -> bytes:
        """For the .blend. What never changes is stored once."""
        arrays = {f"drive.{name}": getattr(self.drive, name) for name in _SAMPLED}
        arrays |= {f"drive.{name}": values for name, values in self.drive.motion.arrays().items()}
        arrays |= {f"felt.{name}": getattr(self.felt, name) for name in _FELT}
        arrays |= {f"seen.{name}": getattr(self.motion, name) for name in _SEEN}
        arrays = {name: values if (values != values[:1]).any() else values[:1] for name, values in arrays.items()}
        document = {"start": self.start, "frames": len(self), "fps": self.motion.fps, "avatar": self.drive.rig.avatar}
        return safetensors.pack(arrays, document)

    @classmethod
    def unpack(cls, message: bytes, rig: Rig) -> Track:
        """What `pack` wrote. `AddonError` when it is damaged."""
        arrays, document = safetensors.unpack(message)
        try:
            frames, fps = int(document["frames"]), float(document["fps"])
            whole = {name: np.repeat(v, frames, axis=0) if len(v) == 1 else v for name, v in arrays.items()}
            driving = Motion.from_arrays({name: whole[f"drive.{name}"] for name in WIDTHS}, fps)
            felt = Motion.from_arrays(driving.arrays() | {name: whole[f"felt.{name}"] for name in _FELT}, fps)
            seen = Motion.from_arrays(felt.arrays() | {name: whole[f"seen.{name}"] for name in _SEEN}, fps)
            sampled = {name: whole[f"drive.{name}"] for name in _SAMPLED}
            if any(len(values) != frames for values in (seen.expression, *sampled.values())):
                raise ValueError("its parts have different lengths")
            rig = replace(rig, avatar=str(document["avatar"]))
            drive = Drive(rig=rig, start=int(document["start"]), motion=driving, **sampled)
            return cls(drive, felt, seen, flame.rig_values(rig.kinematics, seen))
        except (KeyError, ValueError, TypeError) as error:
            raise AddonError(f"The evaluated range in this file is damaged ({error}); it is evaluated anew.") from error


_SAMPLED, _FELT, _SEEN = ("weights", "blink", "gaze", "target"), ("expression", "jaw_pose"), ("expression", "eyes_pose")


def finish(drive: Drive, felt: Motion) -> Track:
    """The track that follows from the backend's answer: blinks and gaze on top, and the values of the rig."""
    motion = eyes.look_at(felt, drive.target, drive.gaze, drive.rig.eyes)
    motion = eyes.close_lids(motion, drive.blink, drive.rig.eyes)
    return Track(drive, felt, motion, flame.rig_values(drive.rig.kinematics, motion))


def answered(drive: Drive, expression: np.ndarray, jaw_pose: np.ndarray) -> Motion:  # [T, 100], [T, 3]
    """The driving motion under emotion. `AddonError` when the answer does not fit the question."""
    if expression.shape != (len(drive), 100) or jaw_pose.shape != (len(drive), 3):
        raise AddonError("The backend's answer has another length than the question: set it up again.")
    if not (np.isfinite(expression).all() and np.isfinite(jaw_pose).all()):
        raise AddonError("The backend's answer holds numbers that are not finite; restart it.")
    return replace(drive.motion, expression=expression, jaw_pose=jaw_pose)
