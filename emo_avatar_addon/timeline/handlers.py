"""When Blender tells of frames, changes, files and renders. Nothing here throws into Blender, nor asks the network."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable
from typing import Any

import bpy
from bpy.app.handlers import persistent

from .. import mainloop
from ..link import session
from ..model import properties
from . import evaluation, playing, sampling


def _safe(handler: Callable[..., None]) -> Callable[..., None]:
    @persistent
    @functools.wraps(handler)
    def guarded(*arguments: Any) -> None:
        try:
            handler(*arguments)
        except Exception:
            traceback.print_exc(file=sys.stderr)

    return guarded


@_safe
def on_frame(scene: bpy.types.Scene, _depsgraph: Any = None) -> None:
    """Before a frame is evaluated, so that it is evaluated once, with our values in it. Rendered frames too.

    What was set and not keyed is lost, as Blender loses it.
    """
    frame = sampling.current_frame(scene)
    for entry, avatar in playing.of_scene(scene):
        beyond = entry.track is None or frame not in entry.track
        if entry.live is not None and not (beyond and frame in entry.live):
            entry.live, entry.live_wanted = None, b""
        playing.show(entry, avatar, frame)
        if beyond:
            evaluation.mark(avatar, scene=scene)


@_safe
def on_change(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    if sampling.echoing or not any(map(depsgraph.id_type_updated, ("OBJECT", "ACTION", "ARMATURE"))):
        return
    changed = [update.id.original for update in depsgraph.updates]
    evaluation.heard({one.session_uid for one in changed})
    for one in changed:  # duplicated, appended, or brought in by other means
        if isinstance(one, bpy.types.Object) and one.type == "ARMATURE" and one.session_uid not in playing.entries:
            evaluation.mark(one)


@_safe
def on_save(*_: Any) -> None:
    playing.store()


@_safe
def on_load(*_: Any) -> None:
    evaluation.forget()
    evaluation.restore_all()


@_safe
def on_undo(*_: Any) -> None:
    """Undo and redo bring back older values of shape keys and bones too."""
    evaluation.mark_all(reshow=True)


@_safe
def on_render(scene: bpy.types.Scene, *_: Any) -> None:
    """A render begins: what is keyed is what it shows, in the range as it is now: Blender may not have told."""
    for _entry, avatar in playing.of_scene(scene):
        evaluation.mark(avatar, scene=scene)
    if evaluation.settle():
        return
    for _entry, avatar in playing.of_scene(scene):
        if why := playing.trouble(avatar):
            print(f"Emo Avatar: {avatar.name} renders as it was last evaluated. {why}", file=sys.stderr)


@_safe
def on_render_frame(scene: bpy.types.Scene, *_: Any) -> None:
    """A frame is rendered, which may lie outside of the scene's range."""
    if evaluation.reach(scene, scene.frame_current):
        evaluation.settle()


@_safe
def on_rendered(scene: bpy.types.Scene, *_: Any) -> None:
    """The render is over: the viewport shows again what is set and not keyed."""
    evaluation.retreat()
    for _entry, avatar in playing.of_scene(scene):
        evaluation.mark(avatar, reshow=True)


def _on_backend(health: session.Health) -> None:
    if health.state is session.State.READY:
        mainloop.call_soon(evaluation.retry)


_HANDLERS = {
    "frame_change_pre": on_frame,
    "depsgraph_update_post": on_change,
    "save_pre": on_save,
    "load_post": on_load,
    "undo_post": on_undo,
    "redo_post": on_undo,
    "render_init": on_render,
    "render_pre": on_render_frame,
    "render_complete": on_rendered,
    "render_cancel": on_rendered,
}


def register() -> None:
    for name, handler in _HANDLERS.items():
        getattr(bpy.app.handlers, name).append(handler)
    session.current().listeners.append(_on_backend)
    properties.listeners.append(evaluation.mark)
    if hasattr(bpy.data, "objects"):  # not while Blender starts
        evaluation.restore_all()


def unregister() -> None:
    properties.listeners.remove(evaluation.mark)
    session.current().listeners.remove(_on_backend)
    for name, handler in _HANDLERS.items():
        getattr(bpy.app.handlers, name).remove(handler)
    evaluation.close()
