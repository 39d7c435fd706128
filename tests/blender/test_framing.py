"""Framing avatars, seen through Blender's own camera."""

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon.view import framing
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector


@pytest.mark.parametrize("resolution", [(1920, 1080), (1080, 1920), (512, 512)])
def test_the_portrait_camera_holds_the_whole_head_and_little_else(scene, resolution):
    scene.render.resolution_x, scene.render.resolution_y = resolution
    bpy.ops.emo_avatar.add_open_head()
    avatar = bpy.context.object
    avatar.location = (0.3, -1.0, 1.6)
    bpy.context.view_layer.update()
    assert bpy.ops.emo_avatar.portrait_camera() == {"FINISHED"}
    bpy.context.view_layer.update()
    head = avatar.emo_avatar.head
    seen = np.array([world_to_camera_view(scene, scene.camera, head.matrix_world @ v.co) for v in head.data.vertices])
    assert (seen[:, :2] > 0).all() and (seen[:, :2] < 1).all() and (seen[:, 2] > scene.camera.data.clip_start).all()
    extent = np.ptp(seen[:, :2], axis=0).max()
    assert 0.5 < extent < 0.9
    nose = max(head.data.vertices, key=lambda v: -v.co.y)
    back = max(head.data.vertices, key=lambda v: v.co.y)
    depth = [world_to_camera_view(scene, scene.camera, head.matrix_world @ v.co).z for v in (nose, back)]
    assert depth[0] < depth[1]  # the face looks at it


def test_without_an_avatar_the_buttons_say_why(scene):
    assert not bpy.ops.emo_avatar.portrait_camera.poll() and not bpy.ops.emo_avatar.frame_avatar.poll()


def test_two_avatars_are_framed_together(scene):
    bpy.ops.emo_avatar.add_open_head()
    first = bpy.context.object
    bpy.ops.emo_avatar.add_open_head()
    second = bpy.context.object
    second.location.x = 1.0
    bpy.context.view_layer.update()
    one, both = framing.framing([first]), framing.framing([first, second])
    assert both.width > one.width + 1.0 and abs(both.height - one.height) < 1e-5
    assert (both.centre - Vector((0.5, one.centre.y, one.centre.z))).length < 0.05
