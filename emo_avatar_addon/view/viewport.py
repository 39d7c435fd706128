"""A 3D viewport's view, and the splats in it: asked for as it moves, drawn when they are there."""

from __future__ import annotations

import functools
from typing import Any

import bpy
import numpy as np

from .. import mainloop
from ..errors import AddonError
from . import drawing, source
from .camera import View
from .picture import Picture
from .preview import Preview
from .shown import Cast


def camera_view(camera: Any, depsgraph: Any, width: int, height: int, cast: Cast) -> View:
    """What a camera object sees in a picture of so many pixels. `AddonError` for a camera that has no projection."""
    if camera is None:
        raise AddonError("There is no camera to render from: add one, or make one active.")
    camera = camera.evaluated_get(depsgraph)
    if camera.type == "CAMERA" and camera.data.type not in ("PERSP", "ORTHO"):
        raise AddonError("Splats are drawn by perspective and orthographic cameras, not by panoramic ones.")
    render = depsgraph.scene.render
    projection = camera.calc_matrix_camera(
        depsgraph, x=width, y=height, scale_x=render.pixel_aspect_x, scale_y=render.pixel_aspect_y
    )
    camera_from_world = camera.matrix_world.normalized().inverted()
    return View.from_projection(
        np.array(projection), np.array(camera_from_world), width, height, focus=cast.focus, span=cast.span
    )


def region_view(region: Any, region_3d: Any, cast: Cast) -> View:
    """What a region of a 3D viewport shows, from the user's view or through a camera."""
    return View.from_projection(
        np.array(region_3d.window_matrix),
        np.array(region_3d.view_matrix),
        region.width,
        region.height,
        focus=cast.focus,
        span=cast.span,
    )


class Viewport:
    """The splats of one region of a 3D viewport."""

    def __init__(self, region: Any) -> None:
        self._region = region.as_pointer()
        self._preview = Preview(self._fetch, self._redraw)
        self._sheet = drawing.Sheet()
        self._started = False
        self._notes: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Why splats are not there, or not as expected; "" when all is well."""
        return self._preview.problem or " ".join(self._notes)

    def want(self, context: Any, cast: Cast) -> None:
        """Ask for what the region shows now. Returns at once."""
        self._notes = cast.notes
        if cast.avatars and not self._started:
            self._started = True
            mainloop.call_soon(functools.partial(_start_backend, self._preview))
        self._preview.want(region_view(context.region, context.region_data, cast), cast.avatars)

    def draw(self, region_3d: Any, *, depth_test: bool, scene_from_linear: np.ndarray | None = None) -> None:
        """Draw the newest picture into the bound framebuffer."""
        picture = self._preview.picture
        if picture is not None:
            matrix = np.array(region_3d.perspective_matrix)
            self._sheet.draw(picture, matrix, depth_test=depth_test, scene_from_linear=scene_from_linear)

    def close(self) -> None:
        self._preview.close()

    def _fetch(self, view: View, avatars: Any, factor: int) -> Picture:
        return source.quick_picture(view, avatars, factor)

    def _redraw(self, seconds: float) -> None:
        mainloop.call_soon(functools.partial(_redraw_later, self._region, seconds))


def _start_backend(preview: Preview) -> None:
    try:
        source.want_backend(bpy.context)
    except AddonError as error:
        preview.problem = str(error)


def _redraw_later(region: int, seconds: float) -> None:
    if seconds <= 0:
        _redraw_now(region)
    elif not bpy.app.background:
        bpy.app.timers.register(functools.partial(_redraw_now, region), first_interval=seconds)


def _redraw_now(pointer: int) -> None:
    """Redraw the region, if it is still there."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            for region in area.regions:
                if region.as_pointer() == pointer:
                    region.tag_redraw()
