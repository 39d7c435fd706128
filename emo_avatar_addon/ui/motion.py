"""The motion track and the ARKit units under an avatar's emotions."""

from typing import Any

import bpy

from ..model import storage
from ..model.arkit import ARKIT_NAMES
from ..ops.avatar import active
from ..timeline import driving
from .emotions import AvatarPanel
from .text import paragraph


class EMOAVATAR_PT_motion(AvatarPanel, bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_motion"
    bl_label = "Motion"
    bl_order = 30
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        avatar = active(context)
        settings = avatar.emo_avatar
        layout = self.layout
        layout.use_property_split = True
        has_motion = storage.has_motion(avatar)
        row = layout.row(align=True)
        row.operator("emo_avatar.import_motion", text="Replace" if has_motion else "Import Motion", icon="IMPORT")
        if not has_motion:
            return
        row.operator("emo_avatar.remove_motion", text="", icon="X")
        paragraph(layout, context, driving.motion_sentence(context.scene, avatar))
        layout.prop(settings, "motion_influence")
        column = layout.column()
        column.prop(settings, "motion_offset")
        column.prop(settings, "motion_speed")
        column.prop(settings, "motion_loop")
        column = layout.column(heading="Include")
        column.prop(settings, "motion_head")
        column.prop(settings, "motion_eyes")
        layout.operator("emo_avatar.fit_range", icon="PREVIEW_RANGE")


class EMOAVATAR_PT_arkit(AvatarPanel, bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_arkit"
    bl_label = "ARKit Units"
    bl_parent_id = "EMOAVATAR_PT_motion"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        avatar = active(context)
        layout = self.layout
        layout.use_property_split = True
        column = layout.column(align=True)
        for name in ARKIT_NAMES:
            if name in avatar:
                column.prop(avatar, f'["{name}"]', text=_spaced(name))


def _spaced(name: str) -> str:
    """mouthSmileLeft -> Mouth Smile Left"""
    return "".join(f" {letter}" if letter.isupper() else letter for letter in name).title()


CLASSES = (EMOAVATAR_PT_motion, EMOAVATAR_PT_arkit)
