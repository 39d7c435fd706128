"""Emotion sliders, their keys, blends, and the eyes."""

from typing import Any

import bpy

from ..link import session
from ..model.properties import EMOTIONS, active_avatar
from ..ops.avatar import active
from ..ops.presets import EMOAVATAR_PT_presets
from ..timeline import bake, playing, presets
from ..translations import sentence
from .main import CATEGORY, WRONG
from .text import paragraph


class AvatarPanel:
    """What the avatar's panels have in common."""

    bl_category = CATEGORY
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"

    @classmethod
    def poll(cls, context: Any) -> bool:
        return active_avatar(context) is not None


class EMOAVATAR_PT_emotions(AvatarPanel, bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_emotions"
    bl_label = "Emotions"
    bl_order = 10

    def draw_header_preset(self, context: Any) -> None:
        EMOAVATAR_PT_presets.draw_panel_header(self.layout)

    def draw(self, context: Any) -> None:
        avatar = active(context)
        settings = avatar.emo_avatar
        layout = self.layout
        layout.use_property_split = True
        draw_state(layout, context, avatar)

        column = layout.column(align=True)
        for name in EMOTIONS:
            row = column.row(align=True)
            row.prop(settings, name)
            row.operator("emo_avatar.solo", text="", icon="SOLO_OFF").emotion = name
        layout.prop(settings, "strength")

        row = layout.row(align=True)
        row.operator("emo_avatar.jump_to_key", text="", icon="PREV_KEYFRAME").forward = False
        row.operator("emo_avatar.key_all")
        row.operator("emo_avatar.key_changed")
        row.operator("emo_avatar.delete_keys", text="", icon="KEY_DEHLT")
        row.operator("emo_avatar.jump_to_key", text="", icon="NEXT_KEYFRAME").forward = True
        row = layout.row(align=True)
        row.operator("emo_avatar.clear", icon="X")
        row.operator("emo_avatar.copy", icon="COPYDOWN")
        row.operator("emo_avatar.paste", icon="PASTEDOWN")


class EMOAVATAR_PT_pad(AvatarPanel, bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_pad"
    bl_label = "Valence and Arousal"
    bl_parent_id = "EMOAVATAR_PT_emotions"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        column = self.layout.column(align=True)
        column.prop(context.window_manager, "emo_avatar_pad", index=0, text="Valence", slider=True)
        column.prop(context.window_manager, "emo_avatar_pad", index=1, text="Arousal", slider=True)
        column.operator("emo_avatar.pad", icon="ORIENTATION_CURSOR")


class EMOAVATAR_PT_blends(AvatarPanel, bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_blends"
    bl_label = "Blends"
    bl_parent_id = "EMOAVATAR_PT_emotions"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        grid = layout.grid_flow(row_major=True, columns=2, even_columns=True, align=True)
        for name in presets.BLENDS:
            grid.operator("emo_avatar.blend", text=name).name = name
        own = presets.own()
        if own:
            grid = layout.grid_flow(row_major=True, columns=2, even_columns=True, align=True)
            for name in own:
                grid.operator("emo_avatar.apply_asset", text=name).action = name
        row = layout.row(align=True)
        row.operator("emo_avatar.save_blend", icon="ASSET_MANAGER")
        row.operator("emo_avatar.add_blend_assets", text="", icon="ADD")


class EMOAVATAR_PT_eyes(AvatarPanel, bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_eyes"
    bl_label = "Eyes"
    bl_order = 20
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        settings = active(context).emo_avatar
        layout = self.layout
        layout.use_property_split = True
        column = layout.column()
        column.prop(settings, "gaze_target")
        row = column.column()
        row.active = settings.gaze_target is not None
        row.prop(settings, "gaze_influence")
        column = layout.column()
        column.prop(settings, "blink")
        column.prop(settings, "blink_auto")
        row = column.column()
        row.active = settings.blink_auto
        row.prop(settings, "blink_rate")
        row.prop(settings, "blink_seed")


def draw_state(layout: bpy.types.UILayout, context: Any, avatar: bpy.types.Object) -> None:
    """Why the avatar does not show what its sliders say, when it does not."""
    if bake.is_baked(avatar):
        start, end = bake.baked_range(avatar)
        row = layout.row()
        row.label(text=sentence("Baked, frames {start} to {end}", start=start, end=end), icon="ACTION", translate=False)
        row.operator("emo_avatar.unbake", text="", icon="X")
        return
    if why := playing.trouble(avatar):
        column = layout.column(align=True)
        if session.current().health.state in WRONG:  # the first panel says why
            paragraph(column, context, "Edits are not shown until the backend runs again.", icon="ERROR")
            return
        paragraph(column, context, f"Edits are not shown. {why}", icon="ERROR")
        column.operator("emo_avatar.start_backend", icon="FILE_REFRESH")
    elif notice := playing.notice(avatar):
        paragraph(layout, context, notice, icon="INFO")


CLASSES = (EMOAVATAR_PT_emotions, EMOAVATAR_PT_pad, EMOAVATAR_PT_blends, EMOAVATAR_PT_eyes)
