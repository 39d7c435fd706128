"""Baking."""

from typing import Any

import bpy

from ..ops.avatar import active
from ..timeline import bake
from ..translations import sentence
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
            said = sentence("Baked, frames {start} to {end}", start=start, end=end)
            layout.label(text=said, icon="ACTION", translate=False)
        layout.operator("emo_avatar.bake", icon="KEYFRAME")
        layout.operator("emo_avatar.unbake", icon="X")


CLASSES = (EMOAVATAR_PT_bake,)
