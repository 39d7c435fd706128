"""The sidebar tab's first panel, to which the others belong."""

from typing import Any

import bpy

CATEGORY = "Emo Avatar"


class EMOAVATAR_PT_main(bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_main"
    bl_label = "Emo Avatar"
    bl_category = CATEGORY
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"

    def draw(self, context: Any) -> None:
        pass


CLASSES = (EMOAVATAR_PT_main,)
