"""Who an open head is: its identity sliders become its face, live.

Mesh and shape keys follow every step of a slider. The joints follow when it rests, since Blender moves bones in edit
mode only, which takes longer than all the rest; until then a note on the armature says so, which is saved, undone and
redone with it.
"""

import functools

import bpy
import numpy as np

from . import head_file, head_object, properties
from .head_file import HeadArrays
from .reference import Reference

REST = 0.15  # seconds without a change

_NOTE = "emo_avatar_joints_wait"  # on the armature

_changed: dict[int, Reference] = {}  # by session uid: the avatars whose sliders move


def change(avatar: bpy.types.Object) -> None:
    """Show the identity that has been set. When the sliders rest, it is told that a setting was changed."""
    person = _person(avatar)
    if head_object.change_shape(avatar, person, _open_directions()):
        avatar.data[_NOTE] = True
    if bpy.app.background:  # where timers do not run
        follow(avatar)
        properties.tell(avatar)
        return
    _changed[avatar.session_uid] = Reference.to(avatar)
    if bpy.app.timers.is_registered(_rest):
        bpy.app.timers.unregister(_rest)
    bpy.app.timers.register(_rest, first_interval=REST)


def follow(avatar: bpy.types.Object) -> None:
    """Move the joints to where the face has gone, if they have not followed yet."""
    if _NOTE in avatar.data:
        head_object.change_joints(avatar, _person(avatar))
        del avatar.data[_NOTE]


def _person(avatar: bpy.types.Object) -> HeadArrays:
    return head_file.open_head().with_identity(avatar.emo_avatar.identity)


@functools.cache
def _open_directions() -> np.ndarray:
    return head_object.shape_directions(head_file.open_head())


def _rest() -> None:
    while _changed:
        avatar = _changed.popitem()[1].find()
        if avatar is not None:
            properties.tell(avatar)


def register() -> None:
    properties.identity_listeners.append(change)


def unregister() -> None:
    properties.identity_listeners.remove(change)
    _changed.clear()
    if bpy.app.timers.is_registered(_rest):
        bpy.app.timers.unregister(_rest)
