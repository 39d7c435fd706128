"""Baking."""

from typing import Any

import bpy

from ..ops.avatar import active
from ..timeline import bake
from .emotions import AvatarPanel


class EMOAVATAR_PT_bake(AvatarPanel, bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_bake"
    bl_label = "Bake"
    bl_order = 80
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        avatar = active(context)
        layout = self.layout
        if bake.is_baked(avatar):
            start, end = bake.baked_range(avatar)
            layout.label(text=f"Baked, frames {start} to {end}", icon="ACTION")
        layout.operator("emo_avatar.bake", icon="KEYFRAME")
        layout.operator("emo_avatar.unbake", icon="X")


CLASSES = (EMOAVATAR_PT_bake,)
