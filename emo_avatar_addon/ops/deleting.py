"""Deleting avatars whole: Blender's own X deletes what is selected, and leaves the head of an armature behind."""

from typing import Any

import bpy

from .avatar import AvatarOperator, targets


class EMOAVATAR_OT_delete_avatar(AvatarOperator):
    bl_idname = "emo_avatar.delete_avatar"
    bl_label = "Delete Avatar"
    bl_description = "Delete the selected avatars, armature, head and all. Other objects in their collections stay"
    bl_options = {"REGISTER", "UNDO"}

    def run(self, context: Any) -> None:
        avatars = targets(context)
        names = ", ".join(avatar.name for avatar in avatars)
        for avatar in avatars:
            _delete(avatar)
        self.say("Deleted {names}", names=names)


def _delete(avatar: bpy.types.Object) -> None:
    parts = [part for part in (avatar.emo_avatar.head, avatar) if part is not None and part.library is None]
    collections = {collection for part in parts for collection in part.users_collection}
    data = {part.data for part in parts}
    for part in parts:
        bpy.data.objects.remove(part)
    bpy.data.batch_remove({one for one in data if not one.users})
    bpy.data.batch_remove({
        one for one in collections if one in bpy.data.collections.values() and not one.all_objects and not one.children
    })  # fmt: skip


CLASSES = (EMOAVATAR_OT_delete_avatar,)
