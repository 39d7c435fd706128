"""The sidebar tab's first panel: what runs, and what is wrong. It is there only when there is something to say."""

from typing import Any

import bpy

from .. import preferences
from ..link import session
from ..link.session import State
from ..ops import jobs
from .jobs import draw_jobs
from .text import paragraph

CATEGORY = "Emo Avatar"
WRONG = (State.FAILED, State.LOST, State.OUTDATED)


class EMOAVATAR_PT_main(bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_main"
    bl_label = "Status"
    bl_category = CATEGORY
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"

    @classmethod
    def poll(cls, context: Any) -> bool:
        return bool(jobs.running) or session.current().health.state in WRONG or preferences.needs_set_up(context)

    def draw(self, context: Any) -> None:
        draw_jobs(self.layout)
        health = session.current().health
        if preferences.needs_set_up(context):
            paragraph(self.layout, context, "Avatars from photos need the backend, which is not set up yet.", "INFO")
            self.layout.operator("preferences.addon_show", text="Set Up...").module = preferences.PACKAGE
        elif health.state in WRONG:
            paragraph(self.layout, context, health.sentence, "ERROR")
            row = self.layout.row(align=True)
            row.operator("emo_avatar.start_backend", text="Restart", icon="FILE_REFRESH")
            row.operator("emo_avatar.show_log", text="Log", icon="TEXT").source = "BACKEND"


CLASSES = (EMOAVATAR_PT_main,)
