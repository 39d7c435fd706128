"""Motion tracks: imported through a real backend, fitted into the scene, under the emotions."""

import json

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model import storage
from bl_ext.user_default.emo_avatar.emo_avatar_addon.timeline import driving, evaluation

from .performers import *  # noqa: F403
from .performers import expression, settle

ops = bpy.ops.emo_avatar


@pytest.fixture
def talk(tmp_path):
    """Two seconds of ARKit weights at 60 frames a second: the jaw opens once a second, the head turns."""
    seconds = np.arange(120) / 60
    frames = [
        {"jawOpen": float(0.5 - 0.5 * np.cos(2 * np.pi * t)), "mouthSmileLeft": 0.2, "headYaw": float(0.2 * t)}
        for t in seconds
    ]
    path = tmp_path / "talk.json"
    path.write_text(json.dumps({"fps": 60, "frames": frames}))
    return path


def jaw(avatar):
    return avatar.pose.bones["jaw"].rotation_quaternion.angle


def jaws(scene, avatar, frames):
    shown = []
    for frame in frames:
        scene.frame_set(frame)
        shown.append(jaw(avatar))
    return np.array(shown)


@pytest.fixture
def talking(scene, avatar, backend, talk):
    scene.render.fps, scene.frame_end = 24, 60
    assert ops.import_motion(filepath=str(talk)) == {"FINISHED"}
    settle()
    return avatar


def test_motion_plays_at_its_own_speed(scene, talking):
    assert "120 frames at 60 fps, resampled to the scene's 24" in driving.motion_sentence(scene, talking)
    open_ = jaws(scene, talking, [1, 7, 13, 25])  # a quarter of a second is six frames
    assert open_[0] < 1e-3 and open_[3] < 1e-2
    assert open_[2] > 0.1 and open_[1] == pytest.approx(open_[2] / 2, rel=0.1)
    assert talking.pose.bones["neck"].rotation_quaternion.angle > 0.1


def test_offset_speed_loop_influence(scene, talking):
    settings = talking.emo_avatar
    peak = jaws(scene, talking, [13])[0]
    settings.motion_offset = 10
    settle()
    assert jaws(scene, talking, [1, 11, 23])[:2] == pytest.approx(0, abs=1e-3)
    assert jaw(talking) == pytest.approx(peak, rel=1e-3)
    settings.motion_offset, settings.motion_speed = 0, 2.0
    settle()
    assert jaws(scene, talking, [7])[0] == pytest.approx(peak, rel=1e-3)
    settings.motion_speed = 1.0
    settle()
    assert jaws(scene, talking, [60, 58]) == pytest.approx(jaws(scene, talking, [59, 59]), abs=1e-6)  # held
    settings.motion_loop = True
    settle()
    assert jaws(scene, talking, [49 + 12])[0] == pytest.approx(peak, rel=0.02)
    settings.motion_influence = 0.5
    settle()
    assert jaws(scene, talking, [13])[0] == pytest.approx(peak / 2, rel=0.02)


def test_keyed_speed_is_integrated_whatever_the_range(scene, talking):
    settings = talking.emo_avatar
    for frame, value in ((1, 0.5), (24, 2.0)):
        settings.motion_speed = value
        settings.keyframe_insert("motion_speed", frame=frame)
    settle()
    whole = jaws(scene, talking, range(20, 31))
    scene.frame_start = 20
    evaluation.mark(talking)
    settle()
    np.testing.assert_allclose(jaws(scene, talking, range(20, 31)), whole, atol=1e-5)


def test_head_turn_and_eyes_are_optional(scene, talking):
    talking.emo_avatar.motion_head = False
    settle()
    scene.frame_set(40)
    assert talking.pose.bones["neck"].rotation_quaternion.angle < 1e-6
    assert jaws(scene, talking, [13])[0] > 0.1


def test_emotion_lies_on_top(scene, talking):
    scene.frame_set(13)
    neutral, peak = expression(talking), jaw(talking)
    talking.emo_avatar.happy = 1.0
    settle()
    assert np.linalg.norm(expression(talking) - neutral) > 1
    assert jaws(scene, talking, [13])[0] > 0.5 * peak


def test_motion_stays_in_the_file_and_is_removed(scene, talking, tmp_path):
    assert storage.read_motion(talking)
    ops.fit_range()
    assert scene.frame_end == 49  # 119 / 60 s after frame 1, rounded up
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    avatar = bpy.data.objects["Ann"]
    assert len(driving.motion_of(avatar)) == 120
    bpy.context.view_layer.objects.active = avatar
    assert ops.remove_motion() == {"FINISHED"}
    settle()
    assert jaws(bpy.context.scene, avatar, [13])[0] < 1e-6
    assert not ops.remove_motion.poll()


@pytest.mark.parametrize("content", [b"", b"garbage", b"[1, 2"], ids=["empty", "garbage", "cut"])
def test_bad_files_are_refused_in_a_sentence(scene, avatar, backend, tmp_path, content):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(RuntimeError) as refusal:
        ops.import_motion(filepath=str(path))
    assert "Traceback" not in str(refusal.value)
    assert storage.read_motion(avatar) is None


def test_missing_file_is_refused(scene, avatar, backend, tmp_path):
    with pytest.raises(RuntimeError, match="cannot be read"):
        ops.import_motion(filepath=str(tmp_path / "nothing.npz"))


def test_folder_is_sent_as_zip(scene, avatar, backend, tmp_path):
    folder = tmp_path / "clip" / "flame_param"
    folder.mkdir(parents=True)
    for i in range(4):
        np.savez(
            folder / f"{i:05d}.npz",
            expr=np.zeros((1, 100), np.float32),
            jaw_pose=np.array([[0.1 * i, 0, 0]], np.float32),
            rotation=np.zeros((1, 3), np.float32),
            neck_pose=np.zeros((1, 3), np.float32),
            eyes_pose=np.zeros((1, 6), np.float32),
            translation=np.zeros((1, 3), np.float32),
        )
    np.savez(tmp_path / "clip" / "canonical_flame_param.npz", shape=np.zeros(300, np.float32))
    ops.import_motion(filepath=str(tmp_path / "clip"))
    motion = driving.motion_of(avatar)
    assert len(motion) == 4
    np.testing.assert_allclose(motion.jaw_pose[:, 0], [0, 0.1, 0.2, 0.3], atol=1e-5)


def test_arkit_properties_add_to_the_motion(scene, talking):
    before = jaws(scene, talking, [1])[0]
    for frame, value in ((1, 0.0), (13, 0.4)):
        talking["jawOpen"] = value
        talking.keyframe_insert('["jawOpen"]', frame=frame)
    evaluation.mark(talking)
    settle()
    after = jaws(scene, talking, [1, 13])
    assert after[0] == pytest.approx(before, abs=1e-3)
    rig = driving.rig_of(talking).eyes
    assert after[1] == pytest.approx(1.4 * np.linalg.norm(rig.to_pose[rig.unit("jawOpen"), :3]), rel=0.05)


def test_motion_of_an_override_stays_in_the_shot(scene, avatar, backend, talk, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (_, taken):
        taken.collections = ["Ann"]
    bpy.context.scene.collection.children.link(taken.collections[0])
    taken.collections[0].override_hierarchy_create(bpy.context.scene, bpy.context.view_layer, do_fully_editable=True)
    bpy.context.view_layer.objects.active = _override()
    assert ops.import_motion(filepath=str(talk)) == {"FINISHED"}
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    assert len(driving.motion_of(_override())) == 120
    bpy.context.view_layer.objects.active = _override()
    ops.remove_motion()
    assert not storage.has_motion(_override())


def _override():
    return next(thing for thing in bpy.data.objects if thing.type == "ARMATURE" and thing.override_library)
