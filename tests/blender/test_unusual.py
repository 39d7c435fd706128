"""What artists' files have that nobody thinks of first: it plays all the same, or says why not, and throws nothing."""

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon import safetensors
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model import storage
from bl_ext.user_default.emo_avatar.emo_avatar_addon.timeline import evaluation, keyframes, playing
from bl_ext.user_default.emo_avatar.emo_avatar_addon.timeline.motion import Motion

from .performers import *  # noqa: F403
from .performers import key, settle, vertices

pytestmark = pytest.mark.usefixtures("no_backend")


def open_jaw(avatar):  # radians
    return avatar.pose.bones["jaw"].matrix_basis.to_quaternion().angle


@pytest.fixture
def yawn(scene, avatar):
    """The mouth opens from frame 1 to 20 and closes until frame 50, in a scene of 20 frames."""
    scene.frame_end = 20
    for frame, value in ((1, 0.0), (20, 1.0), (50, 0.0)):
        avatar["jawOpen"] = value
        avatar.keyframe_insert('["jawOpen"]', frame=frame)
    settle()
    scene.frame_set(1)
    return avatar


def add_motion(avatar, fps=24.0):
    motion = Motion.still(30, fps)
    motion.jaw_pose[:, 0] = np.linspace(0, 0.3, 30)
    storage.write_motion(avatar, safetensors.pack(motion.arrays(), {"fps": fps}))


def instance(scene, collection):
    holder = bpy.data.objects.new("Instance", None)
    holder.instance_type, holder.instance_collection = "COLLECTION", collection
    scene.collection.objects.link(holder)
    return holder


def test_time_remapping(scene, yawn):
    add_motion(yawn)
    evaluation.mark(yawn)
    settle()
    shown = {}
    for frame in (5, 11, 20):
        scene.frame_set(frame)
        shown[frame] = vertices(yawn)
    scene.frame_end = 40
    scene.render.frame_map_old, scene.render.frame_map_new = 100, 200
    evaluation.mark(yawn)
    settle()
    for frame, expected in shown.items():
        scene.frame_set(2 * frame)
        np.testing.assert_allclose(vertices(yawn), expected, atol=1e-5)


def test_keys_under_time_remapping(scene, avatar):
    scene.render.frame_map_old, scene.render.frame_map_new = 100, 200
    bpy.context.view_layer.objects.active = avatar
    scene.frame_set(10)
    avatar.emo_avatar.happy = 0.5
    bpy.ops.emo_avatar.key_all()
    scene.frame_set(10)
    assert avatar.emo_avatar.happy == pytest.approx(0.5) and keyframes.changed(scene, avatar) == []
    scene.frame_set(1)
    bpy.ops.emo_avatar.jump_to_key(forward=True)
    assert scene.frame_current == 10


def test_instances_of_a_collection_that_is_in_no_scene(scene, yawn):
    collection = yawn.users_collection[0]
    scene.collection.children.unlink(collection)
    inner = bpy.data.collections.new("Inner")
    inner.objects.link(instance(scene, collection))
    scene.collection.objects.unlink(inner.objects[0])
    instance(scene, inner)
    evaluation.mark(yawn)
    settle()
    scene.frame_set(20)
    assert open_jaw(yawn) > 0.1
    scene.frame_set(1)
    assert open_jaw(yawn) < 1e-3


def test_linked_and_instanced(scene, yawn, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (_, taken):
        taken.collections = ["Ann"]
    scene = bpy.context.scene
    scene.frame_end = 30
    instance(scene, taken.collections[0])
    bpy.context.view_layer.update()
    evaluation.mark_all()
    settle()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    assert len(playing.evaluated(bpy.data.objects["Ann"])) == 30  # as it was stored in the shot
    for frame, is_open in ((1, False), (20, True)):
        bpy.context.scene.frame_set(frame)
        assert (open_jaw(bpy.data.objects["Ann"]) > 0.1) == is_open


def test_two_scenes_with_ranges_of_their_own(scene, yawn):
    other = bpy.data.scenes.new("Other")
    other.collection.children.link(yawn.users_collection[0])
    other.frame_start, other.frame_end = 30, 50
    scene.frame_set(20)
    widest = open_jaw(yawn)
    other.frame_set(35)
    settle()
    assert 0.3 * widest < open_jaw(yawn) < 0.8 * widest
    scene.frame_set(20)
    settle()
    assert open_jaw(yawn) == pytest.approx(widest, abs=1e-4)


def test_bake_under_time_remapping_and_beyond_the_scenes_range(scene, yawn):
    scene.render.frame_map_old, scene.render.frame_map_new = 100, 200
    bpy.context.view_layer.objects.active = yawn
    bpy.ops.emo_avatar.bake(start=1, end=60)
    shown = {}
    for frame in (20, 40, 60):
        scene.frame_set(frame)
        shown[frame] = open_jaw(yawn)
    assert shown[40] > 0.3 and 0.3 * shown[40] < shown[20] < 0.8 * shown[40] and shown[60] < 0.8 * shown[40]
    bpy.ops.emo_avatar.unbake()
    scene.frame_end = 60
    evaluation.mark(yawn)
    settle()
    for frame, expected in shown.items():
        scene.frame_set(frame)
        assert open_jaw(yawn) == pytest.approx(expected, abs=1e-4)
    with pytest.raises(RuntimeError, match="too many"):
        bpy.ops.emo_avatar.bake(start=1, end=100_000)


def test_preview_range_outside_of_the_scenes(scene, yawn):
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 30, 60
    evaluation.mark(yawn)
    settle()
    seen = playing.evaluated(yawn)
    assert (seen.start, seen.end) == (1, 60)
    scene.frame_preview_end = 500_000
    evaluation.mark(yawn)
    settle()
    assert playing.evaluated(yawn).end == 20


def test_range_that_is_too_long_to_be_evaluated_at_once(scene, yawn):
    scene.frame_end = 100_000
    evaluation.mark(yawn)
    settle()
    scene.frame_set(60_000)
    settle()
    seen = playing.evaluated(yawn)
    assert 60_000 in seen and len(seen) == evaluation.LONGEST
    scene.frame_set(60_010)
    evaluation.mark(yawn)
    settle()
    assert playing.evaluated(yawn) is seen
    scene.frame_set(20)
    settle()
    assert open_jaw(yawn) > 0.1


@pytest.mark.parametrize("damage", ["no shape keys", "no head", "no jaw"])
def test_parts_that_are_gone(scene, yawn, damage, capsys):
    head = yawn.emo_avatar.head
    if damage == "no shape keys":
        with bpy.context.temp_override(object=head, active_object=head):
            bpy.ops.object.shape_key_remove(all=True)
    elif damage == "no head":
        bpy.data.objects.remove(head)
    else:
        yawn.data.bones["jaw"].name = "Kiefer"
    scene.frame_set(10)
    settle()
    scene.frame_set(20)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["XYZ", "ZXY", "AXIS_ANGLE"])
def test_bones_turned_in_other_ways(scene, yawn, mode):
    scene.frame_set(20)
    expected = vertices(yawn)
    yawn.pose.bones["jaw"].rotation_mode = mode
    for frame in (1, 20):
        scene.frame_set(frame)
    np.testing.assert_allclose(vertices(yawn), expected, atol=1e-5)
    bpy.context.view_layer.objects.active = yawn
    bpy.ops.emo_avatar.bake()
    evaluation.forget()  # nothing of ours moves it now
    for frame in (1, 20):
        scene.frame_set(frame)
    np.testing.assert_allclose(vertices(yawn), expected, atol=1e-5)


@pytest.mark.parametrize("scale", [(0, 0, 0), (1, 1, 0), (1e-4, 1e-4, 1e-4), (-1, 1, 1)])
@pytest.mark.parametrize("place", [(0.3, -1, 0.2), (1e30, 0, 0)])
def test_gaze_of_an_avatar_that_is_scaled_to_nothing_or_looks_far_away(scene, avatar, scale, place):
    target = bpy.data.objects.new("Target", None)
    scene.collection.objects.link(target)
    target.location = place
    avatar.emo_avatar.gaze_target, avatar.scale = target, scale
    bpy.context.view_layer.update()
    evaluation.mark(avatar)
    settle()
    assert np.isfinite(vertices(avatar)).all()


@pytest.mark.parametrize("value", [1e9, -5.0, float("nan"), float("inf")])
def test_arkit_units_that_a_script_has_set_to_anything(scene, avatar, value):
    avatar["jawOpen"] = avatar["mouthSmileLeft"] = value
    evaluation.mark(avatar)
    settle()
    assert np.abs(vertices(avatar)).max() < 1.0


@pytest.mark.parametrize("offset", [1e30, -1e30])
def test_motion_that_is_moved_out_of_all_frames(scene, avatar, offset):
    add_motion(avatar)
    key(avatar, "motion_speed", (1, 1.0), (20, 2.0))
    avatar.emo_avatar.motion_offset = offset
    evaluation.mark(avatar)
    settle()
    bpy.context.view_layer.objects.active = avatar
    with pytest.raises(RuntimeError, match="ends on frame"):
        bpy.ops.emo_avatar.fit_range()
