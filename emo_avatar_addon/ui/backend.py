"""How the backend is, and the buttons that mend it."""

from typing import Any

import bpy

from ..link import session
from .main import CATEGORY

_ICONS = {
    session.State.OFF: "UNLINKED",
    session.State.STARTING: "SORTTIME",
    session.State.LOADING: "SORTTIME",
    session.State.READY: "LINKED",
}


class EMOAVATAR_PT_backend(bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_backend"
    bl_label = "Backend"
    bl_category = CATEGORY
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_order = 100
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        health = session.current().health
        self.layout.label(text=health.sentence, icon=_ICONS.get(health.state, "ERROR"))
        row = self.layout.row(align=True)
        row.operator("emo_avatar.start_backend", text="Restart" if health.state is not session.State.OFF else "Start")
        row.operator("emo_avatar.stop_backend", text="Stop")


CLASSES = (EMOAVATAR_PT_backend,)
