"""Sentences in layouts, which do not wrap by themselves."""

import textwrap
from typing import Any

import bpy


def paragraph(layout: Any, context: Any, text: str, icon: str = "NONE", width: int = 0) -> None:
    """`text` in the user's language, in as many lines as the region's width, or `width` pixels, asks for.

    The icon stands before the first.
    """
    scale = context.preferences.system.ui_scale or 1.0  # 0 without a window
    # A region holds its tabs beside the layout
    pixels = width or (context.region.width / scale - 50 if context.region else 300)
    column = layout.column(align=True)
    column.scale_y = 0.8
    for line in textwrap.wrap(bpy.app.translations.pgettext_iface(text), max(int((pixels - 50) / 5.7), 20)):
        column.label(text=line, icon=icon, translate=False)
        icon = "BLANK1" if icon != "NONE" else "NONE"
