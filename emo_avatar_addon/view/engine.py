"""The render engine "Emo Splats": F12 and the Rendered viewport show the avatars' splats, and nothing else."""

from __future__ import annotations

import weakref
from typing import Any

import bpy
import gpu
import numpy as np

from ..errors import AddonError
from . import colours, shown, source
from .camera import View, border_pixels
from .viewport import Viewport, camera_view

ENGINE = "EMO_SPLATS"
# Of Blender's own panels, those that would do nothing here
_FOREIGN_PANELS = ("RENDER_PT_freestyle", "VIEWLAYER_PT_freestyle", "RENDER_PT_g", "RENDER_PT_simplify")


class EmoSplatsEngine(bpy.types.RenderEngine):
    bl_idname = ENGINE
    bl_label = "Emo Splats"
    bl_use_preview = False
    bl_use_gpu_context = False
    bl_use_eevee_viewport = True  # Material Preview of the other objects

    _viewport: Viewport | None = None

    # --- F12

    def update_render_passes(self, scene: Any = None, renderlayer: Any = None) -> None:
        self.register_pass(scene, renderlayer, "Combined", 4, "RGBA", "COLOR")
        if renderlayer.use_pass_z:
            self.register_pass(scene, renderlayer, "Depth", 1, "Z", "VALUE")

    def render(self, depsgraph: Any) -> None:
        try:
            self._render(depsgraph)
        except AddonError as error:
            self.report({"ERROR"}, str(error))

    def _render(self, depsgraph: Any) -> None:
        scene, render = depsgraph.scene, depsgraph.scene.render
        cast = shown.cast(depsgraph)
        for note in cast.notes:
            self.report({"WARNING"}, note)
        if not cast.avatars and not cast.notes:
            self.report({"WARNING"}, "There is no avatar with splats to render.")
        if colours.altered(scene) and not self.is_animation:
            transform = scene.view_settings.view_transform
            self.report({"WARNING"}, f"{transform} makes splats other than the photo: press Show True Colours")
        whole = camera_view(self.camera_override, depsgraph, self.resolution_x, self.resolution_y, cast)
        view = whole
        if render.use_border:
            border = (render.border_min_x, render.border_min_y, render.border_max_x, render.border_max_y)
            view = whole.cropped(*border_pixels(border, whole.width, whole.height))
        if cast.avatars:
            source.want_backend(bpy.context)
        self.update_stats("", "Emo Splats: waiting for the backend")
        self.update_progress(0.1)
        stop = self.test_break
        picture = source.cancellable(lambda: source.final_picture(view, cast.avatars, stop), stop)
        if picture is None:
            return
        self.update_stats("", "Emo Splats: converting colours")
        self.update_progress(0.8)
        rgba, depth = picture.in_scene(shown.scene_from_linear())
        if not render.film_transparent:
            over(rgba, background(scene))
        self._write(depsgraph.view_layer.name, view, rgba, depth)
        self.update_progress(1.0)

    def _write(self, layer: str, view: View, rgba: np.ndarray, depth: np.ndarray) -> None:
        result = self.begin_result(0, 0, view.width, view.height, layer=layer)
        try:
            for render_pass in result.layers[0].passes:
                pixels = rgba if render_pass.name == "Combined" else depth[..., None]
                render_pass.rect.foreach_set(np.ascontiguousarray(pixels[::-1], np.float32).ravel())
        finally:
            self.end_result(result)

    # --- the Rendered viewport

    def view_update(self, context: Any, depsgraph: Any) -> None:
        """Everything that the picture depends on is read when it is drawn."""

    def view_draw(self, context: Any, depsgraph: Any) -> None:
        scene, space, region_3d = depsgraph.scene, context.space_data, context.region_data
        if self._viewport is None:
            self._viewport = Viewport(context.region)
            weakref.finalize(self, self._viewport.close)  # when `__del__` is called the engine's attributes are gone
        cast = shown.cast(depsgraph, space)
        self._viewport.want(context, cast)
        if not scene.render.film_transparent:
            gpu.state.active_framebuffer_get().clear(color=(*background(scene), 1.0))
        self._viewport.draw(region_3d, depth_test=False, scene_from_linear=shown.scene_from_linear())
        self.update_stats("Emo Splats", self._viewport.sentence)


def background(scene: Any) -> tuple[float, float, float]:
    """The world's viewport colour, scene-linear; black without a world."""
    return tuple(scene.world.color) if scene.world is not None else (0.0, 0.0, 0.0)


def over(rgba: np.ndarray, colour: tuple[float, float, float]) -> None:  # [H, W, 4] premultiplied
    """Put an opaque colour behind a picture, in place."""
    rgba[..., :3] += (1 - rgba[..., 3:]) * np.asarray(colour, np.float32)
    rgba[..., 3] = 1.0


CLASSES = (EmoSplatsEngine,)


def register() -> None:
    for panel in _shared_panels():
        panel.COMPAT_ENGINES.add(ENGINE)


def unregister() -> None:
    for panel in _shared_panels():
        panel.COMPAT_ENGINES.discard(ENGINE)


def _shared_panels() -> list[Any]:
    """Blender's own panels of render, output, view layer and world settings that mean something to this engine."""
    return [
        panel
        for panel in bpy.types.Panel.__subclasses__()
        if "BLENDER_RENDER" in getattr(panel, "COMPAT_ENGINES", ()) and not panel.__name__.startswith(_FOREIGN_PANELS)
    ]
