"""Files, undo and renders: what is shown is what is keyed, and nothing is ever thrown into Blender."""

import threading

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon import mainloop
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model import storage
from bl_ext.user_default.emo_avatar.emo_avatar_addon.timeline import evaluation, handlers, playing

from .performers import *  # noqa: F403
from .performers import expression, key, settle, vertices


@pytest.fixture
def performance(scene, avatar, backend):
    """An avatar that smiles from frame 1 to 12."""
    scene.frame_end = 12
    key(avatar, "happy", (1, 0.0), (12, 1.0))
    avatar["jawOpen"] = 0.3
    avatar.emo_avatar.blink_auto = True
    settle()
    return avatar


def played(scene, avatar):  # [12, V, 3]
    frames = []
    for frame in range(1, 13):
        scene.frame_set(frame)
        frames.append(vertices(avatar))
    return np.array(frames)


def reopened(path):
    bpy.ops.wm.open_mainfile(filepath=str(path))
    return bpy.context.scene, bpy.data.objects["Ann"]


def test_reopened_without_backend_the_range_plays(scene, performance, no_backend, tmp_path):
    before = played(scene, performance)
    assert np.abs(before[11] - before[0]).max() > 0.002
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    scene, avatar = reopened(tmp_path / "a.blend")
    np.testing.assert_allclose(played(scene, avatar), before, atol=1e-6)
    evaluation.mark(avatar)
    assert evaluation.settle(60)  # it is still what is keyed: nobody needs to be asked
    avatar.emo_avatar.strength = 0.5
    evaluation.mark(avatar)
    assert not evaluation.settle(60)
    np.testing.assert_allclose(played(scene, avatar), before, atol=1e-6)


def test_keys_changed_elsewhere_are_noticed_on_opening(scene, performance, backend, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    message = storage.read_range(performance)
    key(performance, "happy", (12, 0.0))
    settle()
    storage.write_range(performance, message)
    bpy.app.handlers.save_pre.remove(handlers.on_save)
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "b.blend"))
    finally:
        bpy.app.handlers.save_pre.append(handlers.on_save)
    scene, avatar = reopened(tmp_path / "b.blend")
    scene.frame_set(12)
    assert np.linalg.norm(expression(avatar)) > 1  # as it was stored
    settle()
    assert np.linalg.norm(expression(avatar)) < 1


def test_damaged_range_is_evaluated_anew(scene, performance, tmp_path):
    storage.write_range(performance, b"\x10\0\0\0\0\0\0\0garbage in here!")
    bpy.app.handlers.save_pre.remove(handlers.on_save)
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    finally:
        bpy.app.handlers.save_pre.append(handlers.on_save)
    scene, avatar = reopened(tmp_path / "a.blend")
    settle()
    assert len(playing.evaluated(avatar)) == 12


def test_undo_and_redo(scene, performance):
    scene.frame_set(12)
    smiling = expression(performance)
    bpy.ops.ed.undo_push(message="smile")
    performance.emo_avatar.strength = 0.0
    settle()
    assert np.linalg.norm(expression(performance)) < 0.6 * np.linalg.norm(smiling)
    blank = expression(performance)
    bpy.ops.ed.undo_push(message="strength")
    bpy.ops.ed.undo()
    avatar = bpy.data.objects["Ann"]
    assert avatar.emo_avatar.strength == 1.0
    settle()
    np.testing.assert_allclose(expression(avatar), smiling, atol=1e-5)
    bpy.ops.ed.redo()
    settle()
    np.testing.assert_allclose(expression(bpy.data.objects["Ann"]), blank, atol=1e-5)


def test_removed_and_renamed_avatars(scene, performance, make_avatar):
    other = make_avatar("Bob")
    settle()
    performance.name = "Zoe"
    bpy.data.objects.remove(other)
    scene.frame_set(12)
    settle()
    assert np.linalg.norm(expression(performance)) > 1


@pytest.mark.parametrize("animation", [False, True], ids=["F12", "animation"])
def test_render_shows_what_the_viewport_shows(scene, performance, animation, tmp_path):
    expected = played(scene, performance)
    assert np.abs(expected[5] - expected[0]).max() > 0.001
    scene.frame_set(6)
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.device = 1, "CPU"
    scene.render.resolution_x = scene.render.resolution_y = 8
    scene.render.filepath = str(tmp_path / "frame")
    rendered = {}

    def look(scene, depsgraph):
        mesh = performance.emo_avatar.head.evaluated_get(depsgraph).to_mesh()
        points = np.empty(len(mesh.vertices) * 3, np.float32)
        mesh.vertices.foreach_get("co", points)
        rendered[scene.frame_current] = points.reshape(-1, 3)

    performance.emo_avatar.strength = 0.5
    performance.emo_avatar.strength = 1.0  # marked, and not evaluated yet
    bpy.app.handlers.frame_change_post.append(look)
    try:
        bpy.ops.render.render(animation=animation)
    finally:
        bpy.app.handlers.frame_change_post.remove(look)
    assert list(rendered) == (list(range(1, 13)) if animation else [6])
    for frame, points in rendered.items():
        np.testing.assert_allclose(points, expected[frame - 1], atol=1e-6)


def test_render_evaluates_what_is_pending(scene, avatar, backend, tmp_path):
    scene.frame_end = 3
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 1
    scene.render.resolution_x = scene.render.resolution_y = 8
    scene.camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(scene.camera)
    scene.render.filepath = str(tmp_path / "frame")
    key(avatar, "sad", (1, 1.0))  # nobody has evaluated it when the render begins
    bpy.ops.render.render(animation=True)
    assert len(playing.evaluated(avatar)) == 3
    assert np.linalg.norm(expression(avatar)) > 1


@pytest.fixture
def seen(scene, avatar, tmp_path):
    """How strongly the face shows in each frame that is rendered."""
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.render.resolution_x = scene.render.resolution_y = 8
    scene.camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(scene.camera)
    scene.render.filepath = str(tmp_path / "frame")
    strengths = {}

    def look(scene, depsgraph):
        key = avatar.emo_avatar.head.data.shape_keys.evaluated_get(depsgraph)
        strengths[scene.frame_current] = np.linalg.norm([block.value for block in key.key_blocks])

    bpy.app.handlers.frame_change_post.append(look)
    yield strengths
    bpy.app.handlers.frame_change_post.remove(look)


def test_render_of_a_range_that_was_made_longer(scene, avatar, backend, seen):
    scene.frame_end = 3
    key(avatar, "sad", (1, 0.0), (6, 1.0))
    settle()
    scene.frame_end = 6  # Blender tells no handler of it
    bpy.ops.render.render(animation=True)
    assert seen[6] > seen[4] > seen[3] > 0


@pytest.mark.skipif(bpy.app.version < (5, 0), reason="only the command line renders frames outside of the range")
def test_render_of_frames_outside_of_the_range(scene, avatar, backend, seen):
    scene.frame_end = 3
    key(avatar, "sad", (1, 0.0), (20, 1.0))
    settle()
    bpy.ops.render.render(animation=True, frame_start=12, frame_end=20)
    assert set(range(12, 21)) <= seen.keys() and seen[20] > seen[16] > seen[12] > 0.5


def test_handlers_never_throw(scene, performance, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("an accident")

    monkeypatch.setattr(playing, "show", fail)
    monkeypatch.setattr(evaluation, "heard", fail)
    scene.frame_set(3)
    performance.location.x = 2
    bpy.context.view_layer.update()
    assert "an accident" in capsys.readouterr().err
    assert scene.frame_current == 3


def test_thread_of_a_render_waits_for_the_main_thread(scene, avatar, backend):
    """In a window a render runs in a thread of its own."""
    key(avatar, "sad", (1, 1.0))
    settled = []
    thread = threading.Thread(target=lambda: settled.append(evaluation.settle(600)))
    thread.start()
    mainloop.drain(lambda: not thread.is_alive(), timeout=600)
    assert settled == [True] and np.linalg.norm(expression(avatar)) > 1


def test_thread_of_a_render_does_not_wait_for_ever(scene, avatar, backend, monkeypatch):
    monkeypatch.setattr(evaluation, "_MAIN_TIMEOUT", 0.1)
    key(avatar, "sad", (1, 1.0))
    settled = []
    thread = threading.Thread(target=lambda: settled.append(evaluation.settle(60)))
    thread.start()
    thread.join(60)  # and nobody drains
    assert settled == [False]
    mainloop.drain()
