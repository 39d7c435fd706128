"""Where avatars are made, in the sidebar and in Blender's own menus; and who the open head is."""

from typing import Any

import bpy

from ..model import properties
from ..model.head_file import N_IDENTITY
from ..ops import open_head
from .main import CATEGORY


class EMOAVATAR_PT_create(bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_create"
    bl_label = "Create"
    bl_category = CATEGORY
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_order = 5

    def draw(self, context: Any) -> None:
        column = self.layout.column(align=True)
        column.operator("emo_avatar.avatar_from_portrait", text="From Portrait...", icon="FILE_IMAGE")
        column.operator("emo_avatar.portrait_image", text="From Image...", icon="IMAGE_DATA")
        column.operator("emo_avatar.import_avatar", text="Import...", icon="IMPORT")
        column = self.layout.column(align=True)
        column.operator("emo_avatar.add_open_head", text="Open Head", icon="USER")
        column.operator("emo_avatar.save_avatar_file", text="Save Avatar File...", icon="EXPORT")
        row = self.layout.row(align=True)
        row.operator("emo_avatar.frame_avatar", text="Frame", icon="ZOOM_SELECTED")
        row.operator("emo_avatar.portrait_camera", text="Camera", icon="CAMERA_DATA")
        row.operator("emo_avatar.delete_avatar", text="", icon="TRASH")


class EMOAVATAR_PT_identity(bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_identity"
    bl_label = "Identity"
    bl_category = CATEGORY
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_order = 70
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return open_head.open_head_missing(context) is None

    def draw(self, context: Any) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = properties.active_avatar(context).emo_avatar
        row = layout.row(align=True)
        row.operator("emo_avatar.random_person", icon="FILE_REFRESH").variety = 1.0
        row.operator("emo_avatar.random_person", text="Average", icon="LOOP_BACK").variety = 0.0
        column = layout.column(align=True)
        for index in range(N_IDENTITY):
            column.prop(settings, "identity", index=index, text=f"Identity {index + 1}", slider=True)


def _draw_add(self: Any, context: Any) -> None:
    self.layout.operator("emo_avatar.add_open_head", text="Emo Avatar Head", icon="USER")


def _draw_import(self: Any, context: Any) -> None:
    self.layout.operator("emo_avatar.import_avatar", text="Emo Avatar (.emoavatar, LAM .zip)")


def _draw_export(self: Any, context: Any) -> None:
    self.layout.operator("emo_avatar.save_avatar_file", text="Emo Avatar (.emoavatar)")


def _draw_image(self: Any, context: Any) -> None:
    self.layout.separator()
    self.layout.operator("emo_avatar.portrait_image", text="Emo Avatar from Image")


_ADDITIONS = (
    ("VIEW3D_MT_mesh_add", _draw_add),
    ("VIEW3D_MT_armature_add", _draw_add),
    ("TOPBAR_MT_file_import", _draw_import),
    ("TOPBAR_MT_file_export", _draw_export),
    ("IMAGE_MT_image", _draw_image),
)

CLASSES = (EMOAVATAR_PT_create, EMOAVATAR_PT_identity)


def register() -> None:
    for menu, draw in _ADDITIONS:
        getattr(bpy.types, menu).append(draw)


def unregister() -> None:
    for menu, draw in reversed(_ADDITIONS):
        getattr(bpy.types, menu).remove(draw)
