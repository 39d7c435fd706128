"""What an avatar keeps in the .blend beside native data: bytes in custom properties, so that nothing else is needed."""

from dataclasses import dataclass

import bpy
import numpy as np

from .. import safetensors
from ..errors import AddonError
from . import flame
from .head_file import HeadArrays
from .places import scenes_of

_RIG = "emo_avatar_head"  # on the armature
_FILE = "emo_avatar_file"  # on the mesh
_MOTION = "emo_avatar_motion"  # on the armature object
_RANGE = "emo_avatar_range"  # on the armature object
_WHOSE = (
    "emo_avatar_shot"  # on a scene: the avatar, whatever it is called by now, that the scene holds the last two for
)

_RIG_SHAPES = {"joints": (5, 3), "joint_dirs": (5, 3, 100), "arkit_to_expr": (52, 100), "arkit_to_pose": (52, 9)}


@dataclass(frozen=True)
class Rig:
    """What it takes to move an avatar without asking the backend."""

    kinematics: flame.Kinematics
    arkit_to_expr: np.ndarray  # [52, 100]
    arkit_to_pose: np.ndarray  # [52, 9] jaw, left eye, right eye; radians


def write_rig(avatar: bpy.types.Object, head: HeadArrays) -> None:
    kinematics = flame.kinematics(head)
    arrays = {
        "joints": kinematics.joints,
        "joint_dirs": kinematics.joint_dirs,
        "arkit_to_expr": head.arkit_to_expr,
        "arkit_to_pose": head.arkit_to_pose,
    }
    _write(avatar.data, _RIG, safetensors.pack(arrays, {"head": head.name}))


def rig_message(avatar: bpy.types.Object) -> bytes:
    """The bytes that `read_rig` reads: as long as they are the same, so is the rig."""
    return avatar.data.get(_RIG, b"")


def read_rig(avatar: bpy.types.Object) -> Rig:
    """`AddonError` when the file has lost it."""
    arrays, _ = safetensors.unpack(rig_message(avatar))
    if any(name not in arrays or arrays[name].shape != shape for name, shape in _RIG_SHAPES.items()):
        raise AddonError(f"{avatar.name} has lost its joints: add the avatar again.")
    return Rig(
        flame.Kinematics(arrays["joints"], arrays["joint_dirs"]), arrays["arkit_to_expr"], arrays["arkit_to_pose"]
    )


def write_file(avatar: bpy.types.Object, data: bytes) -> None:
    """Keep the `.emoavatar` that the avatar was made of."""
    _write(avatar.emo_avatar.head.data, _FILE, data)


def read_file(avatar: bpy.types.Object) -> bytes | None:
    """The `.emoavatar`; None for an open head, which has none."""
    head = avatar.emo_avatar.head
    return head.data.get(_FILE) if head else None


def write_motion(avatar: bpy.types.Object, message: bytes | None) -> None:
    """Keep the motion track, a safetensors FLAME sequence; None removes it."""
    _write_shot(avatar, _MOTION, message)


def read_motion(avatar: bpy.types.Object) -> bytes | None:
    return _read_shot(avatar, _MOTION)


def has_motion(avatar: bpy.types.Object) -> bool:
    """Whether there is a motion track; cheap enough for a panel."""
    return _MOTION in avatar if _is_local(avatar) else read_motion(avatar) is not None


def write_range(avatar: bpy.types.Object, message: bytes | None) -> None:
    """Keep the last evaluated range; None removes it."""
    _write_shot(avatar, _RANGE, message)


def read_range(avatar: bpy.types.Object) -> bytes | None:
    return _read_shot(avatar, _RANGE)


def _write_shot(avatar: bpy.types.Object, name: str, message: bytes | None) -> None:
    """Keep what belongs to this file more than to the avatar. Blender saves no such property of linked and overridden
    avatars, so a scene of this file holds it for them; there an empty message stands for none."""
    if _is_local(avatar):
        _write(avatar, name, message)
    elif scene := _own_scene(avatar):
        label = _label(scene, avatar)
        scene[f"{_WHOSE} {label}"] = avatar
        _write(scene, f"{name} {label}", message or b"")


def _read_shot(avatar: bpy.types.Object, name: str) -> bytes | None:
    if _is_local(avatar):
        return avatar.get(name)
    scene = _own_scene(avatar)
    kept = scene.get(f"{name} {_label(scene, avatar)}") if scene else None
    return avatar.get(name) if kept is None else kept or None


def _label(scene: bpy.types.Scene, avatar: bpy.types.Object) -> str:
    """By what a scene knows an avatar: the name that it had first, or the next that no other had."""
    prefix = f"{_WHOSE} "
    taken = {key.removeprefix(prefix): owner for key, owner in scene.items() if key.startswith(prefix)}
    for label, owner in taken.items():
        if owner == avatar:
            return label
    label, number = avatar.name, 0
    while taken.get(label) is not None:
        number += 1
        label = f"{avatar.name} {number}"
    return label


def _is_local(avatar: bpy.types.Object) -> bool:
    return avatar.library is None and avatar.override_library is None


def _own_scene(avatar: bpy.types.Object) -> bpy.types.Scene | None:
    return next((scene for scene in scenes_of(avatar) if scene.library is None), None)


def _write(owner: bpy.types.ID, name: str, message: bytes | None) -> None:
    if name in owner:
        del owner[name]  # Blender cuts bytes at their first zero when it writes over a property that is there
    if message is not None:
        owner[name] = message
