"""The sidebar tab's first panel: what runs, and what is missing."""

from typing import Any

import bpy

from .. import preferences
from ..model import migration
from ..model.properties import active_avatar
from .jobs import draw_jobs
from .text import paragraph

CATEGORY = "Emo Avatar"


class EMOAVATAR_PT_main(bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_main"
    bl_label = "Emo Avatar"
    bl_category = CATEGORY
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"

    def draw(self, context: Any) -> None:
        draw_jobs(self.layout)
        if preferences.needs_set_up(context):
            box = self.layout.box()
            paragraph(box, context, "Avatars from photos need the backend, which is not set up yet.", "INFO")
            box.operator("preferences.addon_show", text="Set Up...").module = preferences.PACKAGE
        avatar = active_avatar(context)
        if avatar is not None and migration.is_newer(avatar):
            text = "This avatar was made by a newer version of the extension. Update it before you change the avatar."
            paragraph(self.layout.box(), context, text, "ERROR")


CLASSES = (EMOAVATAR_PT_main,)
