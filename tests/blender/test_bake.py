"""A baked avatar is plain Blender data: it plays the same, without the extension too, and unbaking restores all."""

import os
import subprocess
import sys

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon.errors import AddonError
from bl_ext.user_default.emo_avatar.emo_avatar_addon.timeline import bake, curves, evaluation, playing
from mathutils import Quaternion

from .performers import *  # noqa: F403
from .performers import key, settle, vertices

EXACT = 1e-5  # metres


@pytest.fixture
def performance(scene, avatar, backend):
    """Twelve frames with everything that moves."""
    scene.frame_end = 12
    key(avatar, "happy", (1, 0.0), (12, 1.0))
    key(avatar, "surprised", (1, 0.5), (8, 0.0))
    for frame, value in ((1, 0.0), (12, 0.6)):
        avatar["jawOpen"] = value
        avatar.keyframe_insert('["jawOpen"]', frame=frame)
    avatar.emo_avatar.blink_auto = True
    target = bpy.data.objects.new("Target", None)
    target.location = (0.5, -1.0, 0.3)
    scene.collection.objects.link(target)
    avatar.emo_avatar.gaze_target = target
    settle()
    scene.frame_set(1)
    settle()
    return avatar


def played(scene, avatar):  # [12, V, 3]
    frames = []
    for frame in range(1, 13):
        scene.frame_set(frame)
        frames.append(vertices(avatar))
    return np.array(frames)


def slots_of(*owners):
    return [(o.animation_data and o.animation_data.action and o.animation_data.action.name) for o in owners]


@pytest.mark.parametrize("simplify", [True, False], ids=["simplified", "all"])
def test_baked_plays_the_same_without_the_handlers(scene, performance, simplify):
    expected = played(scene, performance)
    assert np.abs(expected[11] - expected[0]).max() > 0.003
    assert bpy.ops.emo_avatar.bake(simplify=simplify) == {"FINISHED"}
    evaluation.forget()  # nothing of ours moves it now
    np.testing.assert_allclose(played(scene, performance), expected, atol=EXACT)
    key_block = performance.emo_avatar.head.data.shape_keys
    baked = performance.animation_data.action, key_block.animation_data.action
    assert (baked[0] == baked[1]) == curves.SLOTS  # one action where one can hold both
    assert curves.channels(performance).find("emo_avatar.happy") is not None


def test_baked_while_a_slider_is_set_and_not_keyed_waits_for_nothing(scene, performance):
    performance.emo_avatar.happy = 0.7  # where keys say 0
    settle()
    bpy.ops.emo_avatar.bake()
    evaluation.mark(performance)
    evaluation.refresh()
    assert not playing.is_waiting(performance)


def test_simplified_has_fewer_keys(scene, performance):
    bpy.ops.emo_avatar.bake(simplify=False)
    all_curves = _key_count(performance)
    bpy.ops.emo_avatar.bake(simplify=True)
    assert 0 < _key_count(performance) < 0.9 * all_curves


def _key_count(avatar):
    owners = avatar, avatar.emo_avatar.head.data.shape_keys
    return sum(len(fcurve.keyframe_points) for owner in owners for fcurve in curves.channels(owner).fcurves)


def test_unbake_restores_everything(scene, performance):
    expected = played(scene, performance)
    face = performance.emo_avatar.head.data.shape_keys
    before = slots_of(performance, face), len(bpy.data.actions), _paths(performance)
    bpy.ops.emo_avatar.bake()
    performance.emo_avatar.strength = 0.0  # has no effect while it is baked
    settle()
    np.testing.assert_allclose(played(scene, performance), expected, atol=EXACT)
    performance.emo_avatar.strength = 1.0
    assert bpy.ops.emo_avatar.unbake() == {"FINISHED"}
    settle()
    assert (slots_of(performance, face), len(bpy.data.actions), _paths(performance)) == before
    np.testing.assert_allclose(played(scene, performance), expected, atol=1e-6)
    assert not bpy.ops.emo_avatar.unbake.poll()


def _paths(avatar):
    return sorted((fcurve.data_path, fcurve.array_index) for fcurve in curves.channels(avatar).fcurves)


def test_avatar_without_any_keys_gets_and_loses_its_action(scene, avatar, backend):
    avatar.emo_avatar.angry = 1.0
    settle()
    bpy.ops.emo_avatar.bake(start=1, end=5)
    assert bake.baked_range(avatar) == (1, 5)
    bpy.ops.emo_avatar.unbake()
    assert len(bpy.data.actions) == 0 and avatar.animation_data.action is None


def test_keys_of_the_artist_on_bones_and_shape_keys_stay(scene, performance):
    neck = performance.pose.bones["jaw"]
    neck.rotation_quaternion = Quaternion((0, 0, 1), 0.4)
    neck.keyframe_insert("rotation_quaternion", frame=1)
    own = performance.emo_avatar.head.shape_key_add(name="mine")
    own.value = 0.5
    own.keyframe_insert("value", frame=3)
    before = _paths(performance), len(curves.channels(performance.emo_avatar.head.data.shape_keys).fcurves)
    bpy.ops.emo_avatar.bake()
    scene.frame_set(7)
    assert performance.pose.bones["jaw"].rotation_quaternion.z == pytest.approx(np.sin(0.2), abs=1e-5)
    bpy.ops.emo_avatar.unbake()
    face = performance.emo_avatar.head.data.shape_keys
    assert (_paths(performance), len(curves.channels(face).fcurves)) == before


def test_shared_action_is_copied_first(scene, performance, make_avatar):
    other = make_avatar("Bob")
    other.animation_data_create().action = performance.animation_data.action
    if curves.SLOTS:
        other.animation_data.action_slot = performance.animation_data.action_slot
    bpy.context.view_layer.objects.active = performance
    performance.select_set(True)
    other.select_set(False)
    bpy.ops.emo_avatar.bake()
    assert not any("pose.bones" in path for path, _ in _paths(other))
    assert any("pose.bones" in path for path, _ in _paths(performance))


def test_baking_twice_bakes_what_is_keyed_now(scene, performance):
    bpy.ops.emo_avatar.bake()
    first = played(scene, performance)
    key(performance, "happy", (12, 0.0))
    key(performance, "sad", (12, 1.0))
    scene.frame_set(1)
    bpy.ops.emo_avatar.bake()
    assert np.abs(played(scene, performance)[11] - first[11]).max() > 0.001


def test_a_bake_that_fails_leaves_the_one_before(scene, performance, monkeypatch):
    bpy.ops.emo_avatar.bake()
    before = played(scene, performance)
    key(performance, "happy", (12, 0.0))
    monkeypatch.setattr(playing, "trouble", lambda avatar: "The backend is gone.")
    with pytest.raises(RuntimeError, match="The backend is gone"):
        bpy.ops.emo_avatar.bake()
    assert bake.is_baked(performance) and bake.baked_range(performance) == (1, 12)
    np.testing.assert_allclose(played(scene, performance), before, atol=1e-7)
    monkeypatch.undo()
    bpy.ops.emo_avatar.unbake()
    settle()
    assert not bake.is_baked(performance)
    assert np.abs(played(scene, performance)[11] - before[11]).max() > 0.001


def test_without_backend_pending_keys_are_not_baked(scene, no_backend, avatar):
    avatar.emo_avatar.happy = 1.0
    with pytest.raises(RuntimeError, match="cannot be baked"):
        bpy.ops.emo_avatar.bake()
    assert not bake.is_baked(avatar) and len(bpy.data.actions) == 0


def test_long_range_is_baked_without_playing_it(scene, avatar, backend):
    scene.frame_end = 250
    key(avatar, "happy", (1, 0.0), (120, 1.0), (250, 0.0))
    avatar.emo_avatar.blink_auto = True
    settle()
    heard = []
    bpy.app.handlers.frame_change_post.append(lambda *_: heard.append("a frame"))
    bake.bake(avatar, playing.evaluated(avatar), np.arange(1, 251), simplify=False)
    assert bake.baked_range(avatar) == (1, 250) and heard == []


_PLAY = """
import sys, bpy, numpy as np
bpy.ops.wm.open_mainfile(filepath=sys.argv[-2])
assert not hasattr(bpy.types.Object, "emo_avatar")
head, frames = bpy.data.objects["Ann Head"], []
for frame in range(1, 13):
    bpy.context.scene.frame_set(frame)
    mesh = head.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    points = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", points)
    frames.append(points)
np.save(sys.argv[-1], np.array(frames))
"""


def test_baked_file_plays_in_a_blender_without_the_extension(scene, performance, tmp_path):
    expected = played(scene, performance)
    bpy.ops.emo_avatar.bake()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "baked.blend"))
    (tmp_path / "user").mkdir()
    environment = os.environ | {"BLENDER_USER_RESOURCES": str(tmp_path / "user")}
    command = [sys.executable, "-c", _PLAY, "--", tmp_path / "baked.blend", tmp_path / "played.npy"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "rror" not in done.stderr, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "played.npy").reshape(expected.shape), expected, atol=EXACT)


def test_linked_avatar_plays_and_cannot_be_baked(scene, performance, tmp_path):
    expected = played(scene, performance)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (_, taken):
        taken.objects = ["Ann", "Ann Head"]
    linked = bpy.data.objects["Ann"]
    for thing in bpy.data.objects:
        bpy.context.scene.collection.objects.link(thing)
    bpy.context.view_layer.objects.active = linked
    evaluation.restore_all()
    np.testing.assert_allclose(played(bpy.context.scene, linked), expected, atol=1e-6)
    assert not bpy.ops.emo_avatar.bake.poll()
    with pytest.raises(AddonError, match="library"):
        bake.bake(linked, playing.evaluated(linked), np.arange(1, 13))
