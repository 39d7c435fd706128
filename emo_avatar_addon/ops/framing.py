"""Looking at avatars: turn the views to them, put a camera before them."""

from typing import Any

from ..view import framing
from .avatar import AvatarOperator, targets


class EMOAVATAR_OT_frame_avatar(AvatarOperator):
    bl_idname = "emo_avatar.frame_avatar"
    bl_label = "Frame Avatar"
    bl_description = "Turn the 3D views to the selected avatars, from the front. A head is small beside Blender's cube"

    def run(self, context: Any) -> set[str] | None:
        framing.frame_views(context.screen, targets(context))
        return None


class EMOAVATAR_OT_portrait_camera(AvatarOperator):
    bl_idname = "emo_avatar.portrait_camera"
    bl_label = "Add Portrait Camera"
    bl_description = "Add a camera with a portrait lens before the selected avatars, and render through it"
    bl_options = {"REGISTER", "UNDO"}

    def run(self, context: Any) -> set[str] | None:
        framing.add_camera(context, targets(context))
        return None


CLASSES = (EMOAVATAR_OT_frame_avatar, EMOAVATAR_OT_portrait_camera)
