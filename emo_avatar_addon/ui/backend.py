"""How the backend is, and the buttons that mend it."""

from typing import Any

import bpy

from .. import mainloop, preferences
from ..link import session
from ..link.session import State
from .main import CATEGORY
from .text import paragraph

_ICONS = {
    State.OFF: "UNLINKED",
    State.STARTING: "SORTTIME",
    State.LOADING: "SORTTIME",
    State.READY: "LINKED",
}


def draw_health(layout: Any, context: Any) -> None:
    """How the backend is, with start, stop and log."""
    health = session.current().health
    paragraph(layout, context, health.sentence, _ICONS.get(health.state, "ERROR"))
    if health.state is State.READY:
        device = health.status.get("device") or {}
        memory = health.status.get("memory_mb")
        facts = [str(device.get("name") or device.get("kind") or "")]
        facts += [f"{memory} MB"] if memory else []
        layout.label(text=", ".join(filter(None, facts)), icon="BLANK1", translate=False)
    row = layout.row(align=True)
    is_off, is_ours = health.state is State.OFF, preferences.get(context).source != "REMOTE"
    start = ("Start" if is_off else "Restart") if is_ours else ("Connect" if is_off else "Reconnect")
    row.operator("emo_avatar.start_backend", text=start, icon="PLAY" if is_off else "FILE_REFRESH")
    row.operator("emo_avatar.stop_backend", text="Stop" if is_ours else "Disconnect", icon="SNAP_FACE")
    row.operator("emo_avatar.show_log", text="Log", icon="TEXT").source = "BACKEND"


class EMOAVATAR_PT_backend(bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_backend"
    bl_label = "Backend"
    bl_category = CATEGORY
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_order = 100
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        draw_health(self.layout, context)


def _changed(health: session.Health) -> None:
    mainloop.call_soon(mainloop.redraw)


CLASSES = (EMOAVATAR_PT_backend,)


def register() -> None:
    session.current().listeners.append(_changed)


def unregister() -> None:
    session.current().listeners.remove(_changed)
