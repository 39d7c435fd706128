"""What avatars do over a range of frames, sampled from what Blender shows: the source of every export.

All that is kept is plain data: while an export runs, the artist may undo, rename, or open another file.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import AddonError
from ..model import flame, storage
from ..model.properties import EMOTIONS
from ..model.reference import Reference
from ..ops.jobs import Job
from ..timeline import sampling
from ..view import shown, source
from ..view.camera import View
from ..view.picture import POSE_FIELDS, Shown
from ..view.viewport import camera_view

SLICE = 0.05  # seconds that the main thread samples before it looks after the user again


@dataclass(frozen=True)
class Take:
    """One avatar's T frames, filled one by one."""

    avatar: Reference  # the armature object
    avatar_id: str
    kinematics: flame.Kinematics
    identity: np.ndarray  # [20] of an open head; [0] of a person, who is in the template that the numbers belong to
    times: list[float]  # [T] frames of the scene
    keys: dict[str, np.ndarray]  # [T] value of each shape key of the head mesh
    transforms: np.ndarray  # [T, 5, 4, 4] of the bones, FLAME space, from `shown.bone_transforms`
    world: np.ndarray  # [T, 4, 4] of the armature object, Blender's world
    emotions: np.ndarray  # [T, 6] times strength, which colour the splats

    @classmethod
    def of(cls, avatar: Any, times: list[float]) -> Take:
        """An avatar's take, yet to be filled."""
        count, settings = len(times), avatar.emo_avatar
        keys = _shape_keys(avatar)
        return cls(
            avatar=Reference.to(avatar),
            avatar_id=settings.avatar_id,
            kinematics=storage.read_rig(avatar).kinematics,
            identity=np.array(settings.identity) if settings.kind == "open" else np.zeros(0),
            times=times,
            keys={name: np.zeros(count) for name in (keys.key_blocks.keys()[1:] if keys is not None else ())},
            transforms=np.zeros((count, 5, 4, 4)),
            world=np.zeros((count, 4, 4)),
            emotions=np.zeros((count, len(EMOTIONS)), np.float32),
        )

    def found(self) -> Any:
        """Main thread: the armature object. `AddonError` when it is gone."""
        avatar = self.avatar.find()
        if avatar is None:
            raise AddonError(f"{self.avatar.key[0]} is gone: nothing was exported.")
        return avatar

    @property
    def expression(self) -> np.ndarray:  # [T, 100]
        absent = np.zeros(len(self.times))
        return np.stack([self.keys.get(f"expr_{i:03d}", absent) for i in range(flame.N_EXPRESSION)], axis=1)

    def poses(self) -> dict[str, np.ndarray]:
        """FLAME parameters by name, [T, 100], [T, 6] or [T, 3] float32."""
        rows = [
            shown.flame_pose(self.kinematics, expression, transforms)
            for expression, transforms in zip(self.expression, self.transforms, strict=True)
        ]
        return {name: np.stack([row[name] for row in rows]).astype(np.float32) for name in POSE_FIELDS}


@dataclass(frozen=True)
class Pictures:
    """What the scene's camera sees in T frames, filled one by one."""

    views: list[View]
    casts: list[tuple[Shown, ...]]


@dataclass(frozen=True)
class Stage:
    """Where takes are sampled."""

    scene: Reference
    layer: str  # of the scene
    takes: Sequence[Take]
    pictures: Pictures | None = None

    @property
    def times(self) -> list[float]:  # [T] frames of the scene
        return self.takes[0].times

    def record(self, job: Job, share: float) -> None:
        """In a thread, as the first `share` of a job: fill all takes, and show again the frame that was shown."""
        shown_at = source.in_main_thread(lambda: sampling.current_frame(self._found()))
        try:
            row = 0
            while row < len(self.times):
                row = source.in_main_thread(functools.partial(self.sample_some, row))
                job.report(share * row / len(self.times), f"Frame {row} of {len(self.times)}")
        finally:
            source.in_main_thread(lambda: go_to(self.scene.find(), shown_at))

    def sample_some(self, row: int) -> int:
        """Main thread: sample rows for a moment, one at least; returns the row to go on with."""
        end = time.monotonic() + SLICE
        while row < len(self.times):
            self.sample(row)
            row += 1
            if time.monotonic() >= end:
                break
        return row

    def sample(self, row: int) -> None:
        """Main thread: go to the frame of a row, and read what Blender shows there."""
        scene = self._found()
        go_to(scene, self.times[row])
        depsgraph = scene.view_layers[self.layer].depsgraph
        avatars = [take.found() for take in self.takes]
        for take, avatar in zip(self.takes, avatars, strict=True):
            armature = avatar.evaluated_get(depsgraph)
            keys = _shape_keys(avatar)
            if keys is not None:
                blocks = keys.evaluated_get(depsgraph).key_blocks
                for name, values in take.keys.items():
                    values[row] = 0.0 if blocks[name].mute else blocks[name].value
            take.transforms[row] = shown.bone_transforms(armature)
            take.world[row] = armature.matrix_world
            take.emotions[row] = shown.read_emotions(armature)
        if self.pictures is not None:
            cast = shown.cast(depsgraph, only={avatar.name_full for avatar in avatars})
            self.pictures.views.append(camera_view(scene.camera, depsgraph, *picture_size(scene), cast))
            self.pictures.casts.append(cast.avatars)

    def _found(self) -> Any:
        scene = self.scene.find()
        if scene is None or self.layer not in scene.view_layers:
            raise AddonError(f"The scene {self.scene.key[0]} is gone: nothing was exported.")
        return scene


def picture_size(scene: Any) -> tuple[int, int]:
    """Width and height of the scene's renders, in pixels."""
    render = scene.render
    width, height = (size * render.resolution_percentage // 100 for size in (render.resolution_x, render.resolution_y))
    return max(width, 1), max(height, 1)


def go_to(scene: Any, moment: float) -> None:
    """Show a frame of a scene, or a moment between two; of one that is gone, nothing."""
    if scene is None:
        return
    whole = int(np.floor(moment))
    scene.frame_set(whole, subframe=moment - whole)


def _shape_keys(avatar: Any) -> Any:
    head = avatar.emo_avatar.head
    return head.data.shape_keys if head is not None else None
