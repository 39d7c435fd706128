"""Splats in the viewport's other modes, drawn over the scene's meshes and hidden by them, depth by depth."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

import blf
import bpy
from bpy.app.handlers import persistent

from . import shown
from .compositing import is_avatar
from .engine import ENGINE
from .viewport import Viewport

BEFORE = "emo_avatar_display"  # on a head that is hidden: how it was drawn before

TEXT_Y = 24  # pixels from below, in the middle: Blender's own texts and panels are in the corners

_viewports: dict[int, Viewport] = {}  # by the address of their region
_handlers: list[Any] = []
_failed = False  # after an accident nothing is drawn until the setting is touched


def settings_changed() -> None:
    """Take the settings of all scenes over: what heads look like, which viewports there are, and draw them."""
    global _failed
    _failed = False
    _show_heads(except_in=[
        scene for scene in bpy.data.scenes if scene.emo_avatar_view.show_splats and scene.emo_avatar_view.hide_heads
    ])  # fmt: skip
    if not any(scene.emo_avatar_view.show_splats for scene in bpy.data.scenes):
        _close_all()
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()


def _show_heads(except_in: Sequence[Any] = ()) -> None:
    """Have the heads of all avatars with splats drawn, but for those in some scenes."""
    hidden = {head for scene in except_in for head in _heads(scene)}
    for head in {head for scene in bpy.data.scenes for head in _heads(scene)}:
        _draw_head(head, unseen=head in hidden)


def _heads(scene: Any) -> list[Any]:
    heads = [thing.emo_avatar.head for thing in scene.objects if is_avatar(thing)]
    return [head for head in heads if head is not None]


def _draw_head(head: Any, *, unseen: bool) -> None:
    """Have a head's surface drawn in viewports, or not.

    Objects that are not drawn are evaluated, shape keys and all, only if they are instancers that do not show
    themselves. Their children would be instanced, so a head that has some is drawn as its bounding box.
    """
    before = head.get(BEFORE)
    if before is None and unseen and head.instance_type == "NONE":
        before = head[BEFORE] = head.display_type
    if before is None:
        return
    box = unseen and bool(head.children)
    head.instance_type = "VERTS" if unseen and not box else "NONE"
    head.show_instancer_for_viewport = box or not unseen
    head.display_type = "BOUNDS" if box else before
    if not unseen:
        del head[BEFORE]


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
        viewport.want(context, shown.cast(context.evaluated_depsgraph_get(), context.space_data, meshes=True))
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
    text = f"Emo Avatar: {viewport.sentence}"
    blf.position(font, (context.region.width - blf.dimensions(font, text)[0]) / 2, TEXT_Y * scale, 0)
    blf.draw(font, text)
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
    _show_heads()


@persistent
def _after_save(*_: Any) -> None:
    settings_changed()


@persistent
def _after_update(scene: Any, depsgraph: Any) -> None:
    """What has a head that is not drawn as its parent is not instanced; a head that has lost its avatar is drawn."""
    for update in depsgraph.updates:
        thing = update.id.original
        if isinstance(thing, bpy.types.Object) and BEFORE in thing and thing.parent is None:
            _draw_head(thing, unseen=False)
        parent = update.id.original.parent if isinstance(update.id, bpy.types.Object) else None
        if parent is not None and BEFORE in parent and parent.instance_type != "NONE":
            _draw_head(parent, unseen=True)


@persistent
def _after_load(*_: Any) -> None:
    _close_all()
    settings_changed()


_HANDLERS = (
    ("save_pre", _before_save),
    ("save_post", _after_save),
    ("load_post", _after_load),
    ("depsgraph_update_post", _after_update),
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
