"""What avatars do over a range of frames, sampled from what Blender shows: the source of every export."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..model import flame, storage
from ..view import shown
from ..view.camera import View
from ..view.picture import POSE_FIELDS, Shown
from ..view.viewport import camera_view

SLICE = 0.05  # seconds that the main thread samples before it looks after the user again


@dataclass
class Take:
    """One avatar's T frames, filled one by one."""

    avatar: Any  # the armature object
    times: list[float]  # [T] frames of the scene
    keys: dict[str, np.ndarray]  # [T] value of each shape key of the head mesh
    transforms: np.ndarray  # [T, 5, 4, 4] of the bones, FLAME space, from `shown.bone_transforms`
    world: np.ndarray  # [T, 4, 4] of the armature object, Blender's world

    @property
    def avatar_id(self) -> str:
        return self.avatar.emo_avatar.avatar_id

    @property
    def expression(self) -> np.ndarray:  # [T, 100]
        absent = np.zeros(len(self.times))
        return np.stack([self.keys.get(f"expr_{i:03d}", absent) for i in range(flame.N_EXPRESSION)], axis=1)

    def poses(self) -> dict[str, np.ndarray]:
        """FLAME parameters by name, [T, 100], [T, 6] or [T, 3] float32."""
        kinematics = storage.read_rig(self.avatar).kinematics
        rows = [
            shown.flame_pose(kinematics, expression, transforms)
            for expression, transforms in zip(self.expression, self.transforms, strict=True)
        ]
        return {name: np.stack([row[name] for row in rows]).astype(np.float32) for name in POSE_FIELDS}


@dataclass
class Pictures:
    """What the scene's camera sees in T frames, filled one by one."""

    views: list[View]
    casts: list[tuple[Shown, ...]]


def empty_takes(avatars: list[Any], times: list[float]) -> list[Take]:
    """Takes to be filled by `sample`."""
    count = len(times)
    takes = []
    for avatar in avatars:
        keys = _shape_keys(avatar)
        names = keys.key_blocks.keys()[1:] if keys is not None else []
        empty = {name: np.zeros(count) for name in names}
        takes.append(Take(avatar, times, empty, np.zeros((count, 5, 4, 4)), np.zeros((count, 4, 4))))
    return takes


def sample_some(context: Any, takes: list[Take], row: int, pictures: Pictures | None = None) -> int:
    """Main thread: sample rows for a moment, one at least; returns the row to go on with."""
    end = time.monotonic() + SLICE
    while row < len(takes[0].times):
        sample(context, takes, row, pictures)
        row += 1
        if time.monotonic() >= end:
            break
    return row


def sample(context: Any, takes: list[Take], row: int, pictures: Pictures | None = None) -> None:
    """Main thread: go to the frame of a row, and read what Blender shows there."""
    scene = context.scene
    go_to(scene, takes[0].times[row])
    depsgraph = context.evaluated_depsgraph_get()
    for take in takes:
        armature = take.avatar.evaluated_get(depsgraph)
        keys = _shape_keys(take.avatar)
        if keys is not None:
            blocks = keys.evaluated_get(depsgraph).key_blocks
            for name, values in take.keys.items():
                values[row] = 0.0 if blocks[name].mute else blocks[name].value
        take.transforms[row] = shown.bone_transforms(armature)
        take.world[row] = armature.matrix_world
    if pictures is not None:
        chosen = {take.avatar.name_full for take in takes}
        cast = shown.cast(depsgraph, only=chosen)
        pictures.views.append(camera_view(scene.camera, depsgraph, *picture_size(scene), cast))
        pictures.casts.append(cast.avatars)


def picture_size(scene: Any) -> tuple[int, int]:
    """Width and height of the scene's renders, in pixels."""
    render = scene.render
    width, height = (size * render.resolution_percentage // 100 for size in (render.resolution_x, render.resolution_y))
    return max(width, 1), max(height, 1)


def go_to(scene: Any, moment: float) -> None:
    """Show a frame of the scene, or a moment between two."""
    whole = int(np.floor(moment))
    scene.frame_set(whole, subframe=moment - whole)


def _shape_keys(avatar: Any) -> Any:
    head = avatar.emo_avatar.head
    return head.data.shape_keys if head is not None else None
