"""How splats are shown in viewports and renders."""

from typing import Any

import bpy

from ..translations import sentence
from ..view import colours
from ..view.engine import ENGINE
from .main import CATEGORY
from .text import paragraph


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
        if scene.render.engine == ENGINE:
            layout.prop(scene.render, "film_transparent", text="Transparent")
            altered = colours.altered(scene)
        else:
            layout.operator("emo_avatar.composite_splats", icon="NODE_COMPOSITING")
            altered = colours.altered_composited(scene)
        if not scene.render.use_lock_interface:  # values are written while Blender renders
            row = layout.row()
            row.use_property_split = False
            row.prop(scene.render, "use_lock_interface", text="Lock Interface While Rendering")
        if altered:
            column = layout.column(align=True)
            transform = scene.view_settings.view_transform
            said = sentence("{transform} makes rendered splats other than the photo.", transform=transform)
            paragraph(column, context, said, "INFO")
            column.operator("emo_avatar.use_standard_view", icon="COLOR")


class _EnginePanel:
    """In the Properties editor, while the scene renders with Emo Splats."""

    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"

    @classmethod
    def poll(cls, context: Any) -> bool:
        return context.engine == ENGINE


class EMOAVATAR_PT_film(_EnginePanel, bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_film"
    bl_label = "Film"
    bl_context = "render"

    def draw(self, context: Any) -> None:
        self.layout.use_property_split = True
        self.layout.prop(context.scene.render, "film_transparent", text="Transparent")


class EMOAVATAR_PT_passes(_EnginePanel, bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_passes"
    bl_label = "Passes"
    bl_context = "view_layer"

    def draw(self, context: Any) -> None:
        self.layout.use_property_split = True
        column = self.layout.column(heading="Include")
        column.prop(context.view_layer, "use_pass_combined")
        column.prop(context.view_layer, "use_pass_z", text="Depth")


class EMOAVATAR_PT_world(_EnginePanel, bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_world"
    bl_label = "Surface"
    bl_context = "world"

    @classmethod
    def poll(cls, context: Any) -> bool:
        return super().poll(context) and context.world is not None

    def draw(self, context: Any) -> None:
        self.layout.use_property_split = True
        self.layout.prop(context.world, "color")


CLASSES = (EMOAVATAR_PT_view, EMOAVATAR_PT_film, EMOAVATAR_PT_passes, EMOAVATAR_PT_world)
