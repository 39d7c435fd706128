"""The identity sliders of the open head: the face follows each step, the joints follow when they rest."""

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model import flame, head_file, head_object, identity, storage
from bl_ext.user_default.emo_avatar.emo_avatar_addon.timeline import evaluation

from .performers import *  # noqa: F403
from .performers import settle, vertices

STRANGER = np.linspace(-2, 2, 20)


@pytest.fixture
def window(monkeypatch):
    """As with a window, where timers run: here they are run by hand."""
    monkeypatch.setattr(identity, "bpy", _Windowed(bpy))
    yield
    if bpy.app.timers.is_registered(identity._rest):
        bpy.app.timers.unregister(identity._rest)
    identity._changed.clear()


class _Windowed:
    def __init__(self, module):
        self.types, self.data, self.app = module.types, module.data, _WindowedApp()


class _WindowedApp:
    background, timers = False, bpy.app.timers


def joints(avatar):  # [5, 3] FLAME's axes
    return head_object.from_blender(np.array([bone.head_local for bone in avatar.data.bones]))


def test_face_follows_at_once_and_joints_when_sliders_rest(scene, avatar, window):
    before, person = joints(avatar), head_file.open_head().with_identity(STRANGER)
    avatar.emo_avatar.identity = STRANGER
    np.testing.assert_allclose(head_object.from_blender(vertices(avatar)), person.v_template, atol=1e-6)
    np.testing.assert_array_equal(joints(avatar), before)
    assert bpy.app.timers.is_registered(identity._rest)
    identity._rest()
    assert evaluation.settle(60)
    np.testing.assert_allclose(joints(avatar), flame.kinematics(person).joints, atol=1e-6)
    np.testing.assert_allclose(storage.read_rig(avatar).kinematics.joints, joints(avatar), atol=1e-6)


def test_joints_that_have_not_followed_do_so_in_a_file_that_was_saved_meanwhile(scene, avatar, window, tmp_path):
    avatar.emo_avatar.identity = STRANGER
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    avatar = bpy.data.objects["Ann"]
    settle()
    person = head_file.open_head().with_identity(STRANGER)
    np.testing.assert_allclose(joints(avatar), flame.kinematics(person).joints, atol=1e-6)


def test_undo_and_redo_while_joints_have_not_followed(scene, avatar, window):
    settle()
    before = joints(avatar)
    bpy.ops.ed.undo_push(message="before")
    avatar.emo_avatar.identity = STRANGER
    bpy.ops.ed.undo_push(message="a stranger")
    identity._rest()
    settle()
    after = joints(avatar)
    assert np.abs(after - before).max() > 1e-3
    bpy.ops.ed.undo()
    settle()
    np.testing.assert_allclose(joints(bpy.data.objects["Ann"]), before, atol=1e-6)
    bpy.ops.ed.redo()
    settle()
    np.testing.assert_allclose(joints(bpy.data.objects["Ann"]), after, atol=1e-6)


def test_added_shape_keys_move_along_and_removed_ones_are_not_missed(scene, avatar):
    head = avatar.emo_avatar.head
    template = head_object.to_blender(head_file.open_head().v_template)
    scar = head.shape_key_add(name="Scar", from_mix=False)
    scar.points.foreach_set("co", (template + (0.0, 0.0, 0.01)).astype(np.float32).ravel())
    head.shape_key_remove(head.data.shape_keys.key_blocks["expr_010"])
    avatar.emo_avatar.identity = STRANGER
    points = np.empty(template.size, np.float32)
    scar.points.foreach_get("co", points)
    moved = head_object.to_blender(head_file.open_head().with_identity(STRANGER).v_template)
    np.testing.assert_allclose(points.reshape(-1, 3), moved + (0.0, 0.0, 0.01), atol=1e-6)
