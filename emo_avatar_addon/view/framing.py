"""Where to look at an avatar from: portraits, as photographers frame them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector

from . import compositing, overlay

LENS = 85.0  # mm on a 36 mm sensor, a portrait lens: faces keep their proportions
SENSOR = 36.0  # mm
AIR = 1.45  # the picture is this much higher than the head's mesh: hair and shoulders stand out of it
FRONT = Quaternion((2**-0.5, 2**-0.5, 0.0, 0.0))  # a view from -y, z up, as Numpad 1


@dataclass(frozen=True)
class Framing:
    """A box around avatars, world space."""

    centre: Vector  # metres
    height: float  # metres, of what the picture should hold from its lower to its upper edge
    width: float


def framing(avatars: Sequence[bpy.types.Object]) -> Framing:
    """What a portrait of these avatars shows, of their neutral faces seen from the front."""
    corners = np.array([
        avatar.matrix_world @ Vector(corner)
        for avatar in avatars
        for corner in avatar.emo_avatar.head.bound_box
    ])  # fmt: skip  # [8 N, 3]
    low, high = corners.min(axis=0), corners.max(axis=0)
    return Framing(Vector((low + high) / 2), AIR * float(high[2] - low[2]), AIR * float(high[0] - low[0]))


def frame_views(screen: bpy.types.Screen, avatars: Sequence[bpy.types.Object]) -> int:
    """Turn the screen's 3D views to the avatars, from the front; returns how many views there are."""
    frame, count = framing(avatars), 0
    for area in screen.areas:
        if area.type != "VIEW_3D":
            continue
        view = area.spaces.active.region_3d
        view.view_rotation = FRONT
        view.view_location = frame.centre
        view.view_distance = 1.2 * max(frame.height, frame.width)
        if view.view_perspective == "CAMERA":
            view.view_perspective = "PERSP"
        count += 1
    return count


def show_new(context: Any, avatars: Sequence[bpy.types.Object]) -> None:
    """Turn the window's 3D views, where there is a window, to avatars that have just been made.

    With the first avatars of a scene that have splats, these are shown: they are what the photo looks like.
    """
    if context.screen is None or bpy.app.background:
        return
    frame_views(context.screen, avatars)
    known = sum(compositing.is_avatar(thing) for thing in context.scene.objects)
    new = sum(compositing.is_avatar(avatar) for avatar in avatars)
    if 0 < known == new:
        context.scene.emo_avatar_view.show_splats = True
    overlay.settings_changed()


def add_camera(context: Any, avatars: Sequence[bpy.types.Object]) -> bpy.types.Object:
    """A portrait camera before the avatars; it becomes the scene's."""
    frame, render = framing(avatars), context.scene.render
    data = bpy.data.cameras.new("Portrait Camera")
    data.lens, data.sensor_width, data.sensor_fit = LENS, SENSOR, "AUTO"
    data.clip_start, data.display_size = 0.01, 0.1  # metres: heads are small
    wide, high = render.resolution_x * render.pixel_aspect_x, render.resolution_y * render.pixel_aspect_y
    per_metre = LENS / SENSOR  # how far away the longer side of the picture holds one metre
    longer = max(wide, high)
    away = per_metre * max(frame.width * longer / wide, frame.height * longer / high)
    camera = bpy.data.objects.new("Portrait Camera", data)
    context.collection.objects.link(camera)
    camera.matrix_world = Matrix.LocRotScale(frame.centre + Vector((0.0, -away, 0.0)), FRONT, None)
    context.scene.camera = camera
    return camera
