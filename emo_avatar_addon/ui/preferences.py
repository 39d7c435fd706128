"""What the extension's preferences look like."""

from typing import Any

import bpy

from .. import preferences
from ..link import installer
from ..link.client import is_private
from .backend import draw_health
from .jobs import draw_jobs
from .text import paragraph


def draw(chosen: Any, layout: Any, context: Any) -> None:
    """`chosen` is the add-on's preferences."""
    layout.use_property_split = True
    layout.use_property_decorate = False
    layout.prop(chosen, "source")
    {"MANAGED": _managed, "PYTHON": _python, "REMOTE": _remote}[chosen.source](chosen, layout, context)
    layout.prop(chosen, "auto_start")
    if preferences.needs_set_up(context):
        draw_jobs(layout)
        return
    box = layout.box()
    draw_health(box, context)
    draw_jobs(box)


def _managed(chosen: Any, layout: Any, context: Any) -> None:
    made = preferences.installation()
    if made is None:
        what = "The backend builds avatars from photos and renders them. It is a program of its own."
        paragraph(layout, context, what, "INFO")
    elif not made.is_whole:
        paragraph(layout, context, "The backend's Python is gone: set it up again.", "ERROR")
    else:
        facts = f"Version {made.version}, {made.python_version}, {made.mb / 1000:.1f} GB on the disk"
        layout.label(text=facts, icon="CHECKMARK")
        if made.version != installer.bundled_version(preferences.BUNDLE):
            paragraph(layout, context, "The backend is older than the extension: set it up again.", "ERROR")
    if not bpy.app.online_access:
        paragraph(layout, context, "Setting up downloads the backend: Blender may not go online yet.", "INFO")
        layout.prop(context.preferences.system, "use_online_access")
    row = layout.row()
    row.operator("emo_avatar.set_up_backend", text="Set Up Backend..." if made is None else "Repair...", icon="IMPORT")
    if preferences.anything_to_remove():
        row.operator("emo_avatar.remove_backend", text="Remove", icon="TRASH")
    log = row.row()
    log.ui_units_x = 4
    log.operator("emo_avatar.show_log", text="Log", icon="TEXT").source = "INSTALLATION"
    if made is not None:
        layout.prop(chosen, "device")


def _python(chosen: Any, layout: Any, context: Any) -> None:
    layout.prop(chosen, "python")
    layout.prop(chosen, "device")


def _remote(chosen: Any, layout: Any, context: Any) -> None:
    layout.prop(chosen, "url")
    layout.prop(chosen, "token")
    if chosen.url and not is_private(chosen.url):
        warning = "Whoever looks after the network in between can read portraits and the token: use https."
        paragraph(layout, context, warning, "ERROR")
