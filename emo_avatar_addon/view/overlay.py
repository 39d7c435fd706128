"""Splats in the viewport's other modes, drawn over the scene's meshes and hidden by them, depth by depth."""

from __future__ import annotations

import traceback
from typing import Any

import blf
import bpy
from bpy.app.handlers import persistent

from . import shown
from .compositing import is_avatar
from .engine import ENGINE
from .viewport import Viewport

_BEFORE = "emo_avatar_display"  # on a head that is hidden: how it was drawn before

TEXT_AT = (80, 24)  # pixels from the lower left, right of the toolbar

_viewports: dict[int, Viewport] = {}  # by the address of their region
_handlers: list[Any] = []
_failed = False  # after an accident nothing is drawn until the setting is touched


def settings_changed() -> None:
    """Take the settings of all scenes over: what heads look like, which viewports there are, and draw them."""
    global _failed
    _failed = False
    for scene in bpy.data.scenes:
        show_heads(scene, hidden=scene.emo_avatar_view.show_splats and scene.emo_avatar_view.hide_heads)
    if not any(scene.emo_avatar_view.show_splats for scene in bpy.data.scenes):
        _close_all()
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()


def show_heads(scene: Any, *, hidden: bool) -> None:
    """Head meshes of avatars with splats as boxes, which still can be selected, or as they are."""
    for thing in scene.objects:
        head = thing.emo_avatar.head if is_avatar(thing) else None
        if head is None:
            continue
        if hidden and _BEFORE not in head:
            head[_BEFORE] = head.display_type
            head.display_type = "BOUNDS"
        elif not hidden and _BEFORE in head:
            head.display_type = head[_BEFORE]
            del head[_BEFORE]


def draws(scene: Any, shading: str, engine: str) -> bool:
    """Whether the overlay has anything to do in a viewport with such shading."""
    return scene.emo_avatar_view.show_splats and not (shading == "RENDERED" and engine == ENGINE)


def _draw() -> None:
    """Called by Blender for each 3D viewport, in its world, when the scene is drawn."""
    global _failed
    context = bpy.context
    if not _draws_here(context):
        return
    try:
        pointer = context.region.as_pointer()
        viewport = _viewports.get(pointer)
        if viewport is None:
            viewport = _viewports[pointer] = Viewport(context.region)
        viewport.want(context, shown.cast(context.evaluated_depsgraph_get(), context.space_data))
        viewport.draw(context.region_data, depth_test=True)
    except Exception:
        _failed = True  # it would fail at every redraw
        traceback.print_exc()


def _say() -> None:
    """Called by Blender for each 3D viewport, in pixels: why splats are not there, or not as expected."""
    context = bpy.context
    viewport = _viewports.get(context.region.as_pointer()) if _draws_here(context) else None
    if viewport is None or not viewport.sentence:
        return
    font, scale = 0, context.preferences.system.ui_scale
    blf.size(font, 12 * scale)
    blf.color(font, *context.preferences.themes[0].view_3d.space.text_hi, 1.0)
    blf.enable(font, blf.SHADOW)
    blf.shadow(font, 3, 0, 0, 0, 0.8)
    blf.position(font, TEXT_AT[0] * scale, TEXT_AT[1] * scale, 0)
    blf.draw(font, f"Emo Avatar: {viewport.sentence}")
    blf.disable(font, blf.SHADOW)


def _draws_here(context: Any) -> bool:
    space, scene = context.space_data, context.scene
    return not _failed and space is not None and draws(scene, space.shading.type, scene.render.engine)


def _close_all() -> None:
    while _viewports:
        _viewports.popitem()[1].close()


@persistent
def _before_save(*_: Any) -> None:
    """In the file heads look as they are: it may be opened where there is no extension."""
    for scene in bpy.data.scenes:
        show_heads(scene, hidden=False)


@persistent
def _after_save(*_: Any) -> None:
    settings_changed()


@persistent
def _after_load(*_: Any) -> None:
    _close_all()
    settings_changed()


_HANDLERS = (
    ("save_pre", _before_save),
    ("save_post", _after_save),
    ("load_post", _after_load),
)


def register() -> None:
    for name, function in _HANDLERS:
        getattr(bpy.app.handlers, name).append(function)
    if not bpy.app.background:
        for function, moment in ((_draw, "POST_VIEW"), (_say, "POST_PIXEL")):
            _handlers.append(bpy.types.SpaceView3D.draw_handler_add(function, (), "WINDOW", moment))


def unregister() -> None:
    while _handlers:
        bpy.types.SpaceView3D.draw_handler_remove(_handlers.pop(), "WINDOW")
    for name, function in _HANDLERS:
        getattr(bpy.app.handlers, name).remove(function)
    _close_all()
