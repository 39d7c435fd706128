"""How splats are shown in viewports and renders."""

from typing import Any

import bpy

from ..view import compositing
from ..view.engine import ENGINE
from .main import CATEGORY


class EMOAVATAR_PT_view(bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_view"
    bl_label = "Splats"
    bl_category = CATEGORY
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_order = 60
    bl_options = {"DEFAULT_CLOSED"}

    def draw_header(self, context: Any) -> None:
        self.layout.prop(context.scene.emo_avatar_view, "show_splats", text="")

    def draw(self, context: Any) -> None:
        layout, scene = self.layout, context.scene
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.active = scene.emo_avatar_view.show_splats
        column.prop(scene.emo_avatar_view, "hide_heads")
        layout.separator()
        layout.prop(scene.render, "engine", text="Render with")
        layout.prop(scene.render, "use_lock_interface", text="Lock Interface")
        if scene.render.engine == ENGINE:
            layout.prop(scene.render, "film_transparent", text="Transparent")
        else:
            layout.operator("emo_avatar.composite_splats", icon="NODE_COMPOSITING")
        if compositing.alters_colours(scene):
            box = layout.column(align=True)
            box.label(text=f"{scene.view_settings.view_transform} alters the splats' colours", icon="INFO")
            box.operator("emo_avatar.use_standard_view", icon="COLOR")


CLASSES = (EMOAVATAR_PT_view,)
