"""Copies of an avatar get a face of their own.

Blender keeps the values of shape keys with the mesh, and the bones' places with the armature. Copies that share them,
as Alt+D makes them, or a copy of the armature without its mesh, would all show the face of whichever was last.
"""

from collections.abc import Iterator

import bpy

from . import flame, head_object


def make_own(avatar: bpy.types.Object) -> bool:
    """Give an avatar a head, a mesh and an armature of its own where it shares one with another avatar.

    Returns whether anything was copied. A linked avatar is left as it is.
    """
    if avatar.library is not None:
        return False
    copied = _own_object(avatar)
    copied |= _own_mesh(avatar)
    copied |= _own_armature(avatar)
    _leave_library(avatar)
    return copied


def _own_object(avatar: bpy.types.Object) -> bool:
    """A copy of the armature alone points to the head of the one that it was copied from."""
    head, owner = avatar.emo_avatar.head, avatar.emo_avatar.head.parent
    if owner is None or owner == avatar or owner.type != "ARMATURE" or owner.emo_avatar.head != head:
        return False
    own = head.copy()
    own.name = f"{avatar.name} Head"
    own.parent = avatar
    for modifier in own.modifiers:
        if modifier.type == "ARMATURE" and modifier.object == owner:
            modifier.object = avatar
    places = [place for place in avatar.users_collection if place.is_editable and place.override_library is None]
    for place in places or [bpy.context.scene.collection]:
        place.objects.link(own)
    avatar.emo_avatar.head = own
    return True


def _own_mesh(avatar: bpy.types.Object) -> bool:
    head = avatar.emo_avatar.head
    driver = _corrective(head.data.shape_keys)
    if driver is None or driver.variables[0].targets[0].id == avatar:
        return False
    shared = head.data.library is not None or any(
        other.emo_avatar.head is not None and other.emo_avatar.head.data == head.data for other in _others(avatar)
    )
    if shared:
        head.data = head.data.copy()
        head.data.name = head.data.shape_keys.name = head.name
    head_object.drive_pose_correctives(avatar)
    return shared


def _own_armature(avatar: bpy.types.Object) -> bool:
    armature = avatar.data
    if armature.users < 2 or armature.library is not None or all(other.data != armature for other in _others(avatar)):
        return False
    avatar.data = armature.copy()
    avatar.data.name = avatar.name
    return True


def _leave_library(avatar: bpy.types.Object) -> None:
    """A duplicate of a library override is none of what its library holds, and Blender would delete its head when the
    file is opened again: it becomes this file's own."""
    root = avatar.override_library.hierarchy_root if avatar.override_library is not None else None
    if isinstance(root, bpy.types.Collection) and avatar not in list(root.all_objects):
        head = avatar.emo_avatar.head
        for thing in (head.data, head, avatar):
            if thing.override_library is not None:
                thing.make_local(clear_liboverride=True)


def _corrective(key: bpy.types.Key) -> bpy.types.Driver | None:
    """The driver of the first of a mesh's pose correctives, which says whose bones move it."""
    animation = key.animation_data
    path = f'key_blocks["{head_object.SHAPE_KEYS[flame.N_EXPRESSION]}"].value'
    fcurve = animation.drivers.find(path) if animation is not None else None
    return fcurve.driver if fcurve is not None and len(fcurve.driver.variables) else None


def _others(avatar: bpy.types.Object) -> Iterator[bpy.types.Object]:
    return (
        thing
        for thing in bpy.data.objects
        if thing.type == "ARMATURE" and thing != avatar and thing.emo_avatar.kind != "none"
    )
