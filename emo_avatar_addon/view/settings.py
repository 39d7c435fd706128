"""How splats are shown in viewports: `Scene.emo_avatar_view`."""

from typing import Any

import bpy

from . import overlay


def _changed(settings: Any, context: Any) -> None:
    overlay.settings_changed()


class EMOAVATAR_PG_view(bpy.types.PropertyGroup):
    show_splats: bpy.props.BoolProperty(
        name="Splats in Viewport",
        description="Show avatars as splats in the Solid, Material Preview and other modes, among the scene's meshes",
        default=False,
        update=_changed,
    )
    hide_heads: bpy.props.BoolProperty(
        name="Hide Head Meshes",
        description="Draw splats alone, without the head meshes under them. Renders do not change",
        default=True,
        update=_changed,
    )


CLASSES = (EMOAVATAR_PG_view,)


def register() -> None:
    bpy.types.Scene.emo_avatar_view = bpy.props.PointerProperty(type=EMOAVATAR_PG_view)


def unregister() -> None:
    del bpy.types.Scene.emo_avatar_view
