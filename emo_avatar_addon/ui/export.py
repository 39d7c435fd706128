"""The way to the export dialog: the sidebar and Blender's own File > Export menu."""

from typing import Any

import bpy

from .main import CATEGORY


class EMOAVATAR_PT_export(bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_export"
    bl_label = "Export"
    bl_category = CATEGORY
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_order = 80
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        self.layout.operator("emo_avatar.export", text="Export...", icon="EXPORT")


def _menu(menu: Any, context: Any) -> None:
    menu.layout.operator("emo_avatar.export", text="Emo Avatar (FLAME, Alembic, USD, glTF, FBX, splats, pictures)")


CLASSES = (EMOAVATAR_PT_export,)


def register() -> None:
    bpy.types.TOPBAR_MT_file_export.append(_menu)


def unregister() -> None:
    bpy.types.TOPBAR_MT_file_export.remove(_menu)
