"""From keys to faces, through a real backend: what plays is what is keyed."""

import hashlib
import io
import zipfile

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon import mainloop, safetensors
from bl_ext.user_default.emo_avatar.emo_avatar_addon.link import session
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model import storage
from bl_ext.user_default.emo_avatar.emo_avatar_addon.timeline import curves, driving, evaluation, playing
from bl_ext.user_default.emo_avatar.emo_avatar_addon.timeline.motion import Motion
from mathutils import Vector

from .performers import *  # noqa: F403
from .performers import expression, key, settle


def test_keyed_emotion_plays(scene, avatar, backend):
    scene.frame_end = 60
    key(avatar, "happy", (1, 0.0), (30, 1.0), (60, 0.0))
    settle()
    shown = []
    for frame in (1, 15, 30, 45, 60):
        scene.frame_set(frame)
        shown.append(expression(avatar))
    assert np.abs(shown[0]).max() < 1e-6 and np.abs(shown[4]).max() < 1e-6
    assert np.linalg.norm(shown[2]) > np.linalg.norm(shown[1]) > 0.5
    seen = playing.evaluated(avatar)
    assert (seen.start, seen.end) == (1, 60)
    np.testing.assert_allclose(shown[2], seen.motion.expression[29], atol=1e-6)


def test_backend_is_asked_about_changes_only(scene, avatar, backend, asked):
    scene.frame_end = 40
    key(avatar, "sad", (1, 0.0), (40, 1.0))
    settle()
    assert asked
    asked.clear()
    for frame in (3, 17, 40):
        scene.frame_set(frame)
    settle()
    avatar.location.x = 3.0
    avatar.emo_avatar.blink_auto = True
    settle()
    assert asked == []  # frames, moves and blinks are none of its business
    avatar.emo_avatar.strength = 0.5
    settle()
    assert max(asked) == 40


def test_change_of_a_key_in_the_graph_editor_is_heard(scene, avatar, backend):
    key(avatar, "happy", (1, 0.0), (50, 1.0))
    settle()
    scene.frame_set(25)
    before = expression(avatar)
    fcurve = curves.channels(avatar).find("emo_avatar.happy")
    fcurve.keyframe_points[1].co.y = 0.0
    fcurve.update()
    avatar.animation_data.action.update_tag()
    settle()
    assert np.linalg.norm(before) > 0.3 and np.abs(expression(avatar)).max() < 1e-6


def test_unkeyed_slider_shows_until_the_frame_changes(scene, avatar, backend):
    scene.frame_end = 50
    key(avatar, "happy", (1, 0.0), (50, 0.0))
    scene.frame_set(10)
    settle()
    avatar.emo_avatar.happy = 1.0  # dragged, not keyed
    settle()
    dragged = expression(avatar)
    assert np.linalg.norm(dragged) > 1
    scene.frame_set(10)  # the same frame, from its keys
    assert np.abs(expression(avatar)).max() < 1e-6 and avatar.emo_avatar.happy == 0.0
    scene.frame_set(11)
    assert np.abs(expression(avatar)).max() < 1e-6


def test_a_slider_that_is_let_go_of_closes_the_mouth(scene, avatar, backend):
    def jaw():
        return avatar.pose.bones["jaw"].rotation_quaternion.angle

    scene.frame_end = 50
    key(avatar, "surprised", (1, 1.0), (50, 1.0))
    scene.frame_set(10)
    settle()
    assert jaw() > 0.01
    avatar.emo_avatar.surprised = 0.0  # cleared, not keyed: this frame is neutral, the range is not
    settle()
    assert jaw() < 1e-6
    scene.frame_set(11)
    assert jaw() > 0.01


def test_undo_brings_no_open_mouth_back(scene, avatar, backend):
    avatar.emo_avatar.surprised = 1.0
    settle()
    avatar.emo_avatar.surprised = 0.0
    name = avatar.name
    bpy.ops.ed.undo_push(message="cleared")  # before the face follows
    settle()
    scene.frame_end = 9
    bpy.ops.ed.undo_push(message="another")
    bpy.ops.ed.undo()
    settle()
    assert bpy.data.objects[name].pose.bones["jaw"].rotation_quaternion.angle < 1e-6


def test_unkeyed_slider_without_curves_holds_everywhere(scene, avatar, backend):
    avatar.emo_avatar.surprised = 0.8
    settle()
    here = expression(avatar)
    scene.frame_set(77)
    assert np.linalg.norm(here) > 1
    np.testing.assert_allclose(expression(avatar), here, atol=1e-4)


def test_subframes_lie_between_frames(scene, avatar, backend):
    key(avatar, "happy", (1, 0.0), (20, 1.0))
    settle()
    seen = playing.evaluated(avatar).motion.expression
    scene.frame_set(10, subframe=0.25)
    np.testing.assert_allclose(expression(avatar), 0.75 * seen[9] + 0.25 * seen[10], atol=1e-5)


def test_frames_outside_of_the_range(scene, avatar, backend):
    scene.frame_start, scene.frame_end = 10, 20
    key(avatar, "happy", (1, 0.0), (10, 0.2), (20, 0.5), (40, 1.0))
    settle()
    scene.frame_set(40)
    held = expression(avatar)
    np.testing.assert_allclose(held, playing.evaluated(avatar).motion.expression[-1], atol=1e-6)
    settle()  # in a window a timer does
    assert np.linalg.norm(expression(avatar)) > 1.3 * np.linalg.norm(held)


def test_several_avatars_have_their_own_keys(scene, make_avatar, backend):
    ann, bob = make_avatar("Ann"), make_avatar("Bob")
    key(ann, "happy", (1, 1.0))
    key(bob, "angry", (1, 1.0))
    settle()
    a, b = expression(ann), expression(bob)
    assert np.linalg.norm(a) > 1 and np.linalg.norm(b) > 1 and a @ b < 0.8 * np.linalg.norm(a) * np.linalg.norm(b)
    bob.name = "Rob"
    ann.emo_avatar.strength = 0.0
    settle()
    assert np.abs(expression(ann)).max() < 1e-6
    np.testing.assert_allclose(expression(bob), b, atol=1e-6)


def test_newest_question_wins(scene, avatar, backend):
    for value in np.linspace(0.1, 0.9, 9):
        avatar.emo_avatar.happy = value
        evaluation.refresh()
    avatar.emo_avatar.happy = 0.0
    avatar.emo_avatar.sad = 1.0
    settle()
    sad = expression(avatar)
    avatar.emo_avatar.sad = 0.0
    settle()
    avatar.emo_avatar.sad = 1.0
    settle()
    np.testing.assert_allclose(expression(avatar), sad, atol=1e-6)


@pytest.mark.parametrize("way", ["nla", "driver"])
def test_nla_and_drivers_give_the_same_as_plain_curves(scene, avatar, backend, way):
    scene.frame_end = 40
    key(avatar, "happy", (1, 0.0), (20, 1.0), (40, 0.3))
    settle()
    plain = playing.evaluated(avatar).motion.expression
    animation = avatar.animation_data
    action = animation.action
    if way == "nla":
        slot = animation.action_slot if curves.SLOTS else None
        animation.action = None
        strip = animation.nla_tracks.new().strips.new("S", 1, action)
        if curves.SLOTS:
            strip.action_slot = slot
    else:
        holder = bpy.data.objects.new("Holder", None)
        scene.collection.objects.link(holder)
        for frame, value in ((1, 0.0), (20, 1.0), (40, 0.3)):
            holder["h"] = value
            holder.keyframe_insert('["h"]', frame=frame)
        animation.action = None
        driver = avatar.driver_add("emo_avatar.happy").driver
        driver.type = "AVERAGE"
        driver.variables.new().targets[0].id = holder
        driver.variables[0].targets[0].data_path = '["h"]'
    evaluation.mark(avatar)
    settle()
    np.testing.assert_allclose(playing.evaluated(avatar).motion.expression, plain, atol=1e-4)
    scene.frame_set(20)
    np.testing.assert_allclose(expression(avatar), plain[19], atol=1e-4)
    evaluation.settle()
    bpy.context.view_layer.update()
    assert not playing.is_waiting(avatar)  # stepping is no reason to step again


def test_scene_rate_and_range_are_followed(scene, avatar, backend):
    key(avatar, "happy", (1, 0.0), (30, 1.0))
    settle()
    scene.frame_end = 99
    scene.render.fps = 50
    evaluation.mark(avatar)
    settle()
    assert playing.evaluated(avatar).end == 99 and playing.evaluated(avatar).motion.fps == 50


def test_bones_that_the_motion_lets_go_of_come_to_rest(scene, avatar, backend):
    avatar["jawOpen"] = 1.0
    evaluation.mark(avatar)
    settle()
    assert avatar.pose.bones["jaw"].rotation_quaternion.angle > 0.1
    avatar.pose.bones["neck"].rotation_quaternion = (0.9, 0.1, 0.2, 0.3)  # posed by hand
    avatar["jawOpen"] = 0.0
    evaluation.mark(avatar)
    settle()
    assert avatar.pose.bones["jaw"].rotation_quaternion.angle < 1e-6
    assert avatar.pose.bones["neck"].rotation_quaternion.angle > 0.5
    scene.frame_set(9)
    assert avatar.pose.bones["neck"].rotation_quaternion.angle > 0.5


def test_without_backend_motion_and_eyes_go_on_and_emotions_say_why(scene, no_backend, avatar):
    avatar["jawOpen"] = 0.7
    avatar.emo_avatar.blink = 1.0
    evaluation.mark(avatar)
    assert evaluation.settle(60)
    assert avatar.pose.bones["jaw"].rotation_quaternion.angle > 0.1 and np.linalg.norm(expression(avatar)) > 0.1
    avatar.emo_avatar.happy = 1.0
    evaluation.mark(avatar)
    assert not evaluation.settle(60)
    assert "backend" in playing.trouble(avatar).lower()
    assert playing.evaluated(avatar) is not None


def test_backend_that_comes_back_is_asked_again(scene, backend, no_backend, avatar):
    avatar.emo_avatar.happy = 1.0
    evaluation.mark(avatar)
    evaluation.settle(60)
    assert playing.trouble(avatar)
    session.current().start(session.Remote(backend.client.url, backend.client._token))
    assert mainloop.drain(lambda: np.linalg.norm(expression(avatar)) > 1 or evaluation.refresh(), timeout=60)
    assert not playing.trouble(avatar)


def test_another_identity_keeps_the_emotion_and_moves_the_joints(scene, avatar, backend, asked):
    avatar.emo_avatar.surprised = 1.0
    settle()
    asked.clear()
    before = playing.evaluated(avatar)
    avatar.emo_avatar.identity[0] = 2.0
    settle()
    after = playing.evaluated(avatar)
    assert asked == []
    assert np.abs(after.drive.rig.kinematics.joints - before.drive.rig.kinematics.joints).max() > 1e-4
    np.testing.assert_array_equal(after.motion.expression, before.motion.expression)


def test_blinks_close_the_lids_on_top_of_emotion(scene, avatar, backend):
    key(avatar, "happy", (1, 1.0))
    settle()
    open_lids = expression(avatar)
    avatar.emo_avatar.blink = 1.0
    settle()
    rig = driving.rig_of(avatar).eyes
    lids = expression(avatar) @ rig.reading
    for side in ("Left", "Right"):
        assert lids[rig.unit("eyeBlink" + side)] == pytest.approx(1.0, abs=0.05)
        assert lids[rig.unit("mouthSmile" + side)] == pytest.approx(
            (open_lids @ rig.reading)[rig.unit("mouthSmile" + side)], abs=0.05
        )


def test_eyes_look_at_their_target(scene, avatar, backend):
    target = bpy.data.objects.new("Target", None)
    scene.collection.objects.link(target)
    avatar.location = (1.0, 2.0, 0.5)
    avatar.rotation_euler.z = 0.7
    bpy.context.view_layer.update()
    eye = avatar.matrix_world @ avatar.data.bones["left_eye"].head_local
    turn = avatar.matrix_world.to_3x3()
    for offset in ((0.3, -1.0, 0.2), (-0.3, -1.0, -0.15)):
        direction = turn @ Vector(offset)
        target.location = eye + direction
        avatar.emo_avatar.gaze_target = target
        evaluation.mark(avatar)
        settle()
        bpy.context.view_layer.update()
        bone = avatar.pose.bones["left_eye"]
        looked = (
            (avatar.matrix_world @ bone.matrix).to_3x3()
            @ bone.bone.matrix_local.to_3x3().inverted()
            @ Vector((0, -1, 0))
        )
        assert looked.normalized().dot(direction.normalized()) > 0.9995


def test_faces_that_shape_keys_cannot_show_are_said(scene, avatar):
    scene.frame_end = 9
    settle()
    assert playing.notice(avatar) == ""
    motion = Motion.still(9, scene.render.fps / scene.render.fps_base)
    motion.expression[3:6, 7] = 12.0
    storage.write_motion(avatar, safetensors.pack(motion.arrays(), {"fps": motion.fps}))
    evaluation.mark(avatar)
    settle()
    assert playing.notice(avatar).startswith("Frames 4 to 6: ")
    avatar.emo_avatar.motion_influence = 0.5
    settle()
    assert playing.notice(avatar) == ""


def test_shape_keys_that_the_artist_has_removed_are_not_missed(scene, avatar):
    head = avatar.emo_avatar.head
    head.shape_key_remove(head.data.shape_keys.key_blocks["expr_010"])
    avatar.emo_avatar.blink = 1.0
    settle()
    assert playing.trouble(avatar) == ""
    blocks = head.data.shape_keys.key_blocks
    assert np.linalg.norm([block.value for block in blocks]) > 1


def test_damaged_data_is_said_and_not_thrown(scene, avatar, backend):
    avatar.data["emo_avatar_head"] = b"not it"
    evaluation.mark(avatar)
    assert not evaluation.settle(60)
    assert playing.trouble(avatar)
    scene.frame_set(5)


def test_library_override_is_keyed_plays_and_is_stored(scene, avatar, backend, tmp_path):
    settle()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    scene = bpy.context.scene
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (_, taken):
        taken.collections = ["Ann"]
    scene.collection.children.link(taken.collections[0])
    taken.collections[0].override_hierarchy_create(scene, bpy.context.view_layer, do_fully_editable=True)
    if taken.collections[0] in scene.collection.children[:]:
        scene.collection.children.unlink(taken.collections[0])  # as the menu does: the override stands in its place
    avatar = _override()
    scene.frame_end = 20
    key(avatar, "happy", (1, 0.0), (20, 1.0))
    evaluation.mark(avatar)
    settle()
    scene.frame_set(20)
    smile = expression(avatar)
    assert np.linalg.norm(smile) > 1
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.context.scene.frame_set(1)
    assert np.linalg.norm(expression(_override())) < 1e-3
    bpy.context.scene.frame_set(20)
    np.testing.assert_allclose(expression(_override()), smile, atol=1e-5)
    bpy.context.view_layer.objects.active = _override()
    with pytest.raises(RuntimeError, match="make it local"):
        bpy.ops.emo_avatar.bake()


def _override():
    return next(thing for thing in bpy.data.objects if thing.type == "ARMATURE" and thing.override_library)


def test_backend_that_does_not_hold_the_avatar_gets_it_from_the_file(scene, add_astronaut, backend):
    avatar = add_astronaut()
    copy = io.BytesIO(storage.read_file(avatar))
    with zipfile.ZipFile(copy, "a") as file:
        file.comment = b"the same person under another id"
    avatar.emo_avatar.avatar_id = hashlib.sha256(copy.getvalue()).hexdigest()
    storage.write_file(avatar, copy.getvalue())
    scene.frame_end = 20
    key(avatar, "happy", (1, 0.0), (20, 1.0))
    settle()
    scene.frame_set(20)
    assert np.linalg.norm(expression(avatar)) > 1
    assert backend.client.avatar(avatar.emo_avatar.avatar_id)["id"] == avatar.emo_avatar.avatar_id


def test_avatar_whose_file_is_lost_says_so(scene, add_astronaut, backend):
    avatar = add_astronaut()
    avatar.emo_avatar.avatar_id = "0" * 64
    storage.write_file(avatar, b"")
    avatar.emo_avatar.happy = 1.0
    evaluation.mark(avatar)
    assert not evaluation.settle(60)
    assert "import the avatar again" in playing.trouble(avatar)


def test_duplicated_and_appended_avatars_play(scene, avatar, backend, tmp_path):
    scene.frame_end = 20
    key(avatar, "happy", (1, 0.0), (20, 1.0))
    settle()
    for thing in (avatar, avatar.emo_avatar.head):
        thing.select_set(True)
    bpy.ops.object.duplicate()
    twin = bpy.data.objects["Ann.001"]
    assert twin.emo_avatar.head not in (None, avatar.emo_avatar.head)
    settle()
    scene.frame_set(20)
    assert np.linalg.norm(expression(twin)) > 1
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "a.blend"), link=False) as (_, taken):
        taken.collections = ["Ann"]
    bpy.context.scene.collection.children.link(taken.collections[0])
    bpy.context.scene.frame_end = 20
    settle()
    bpy.context.scene.frame_set(20)
    assert np.linalg.norm(expression(bpy.data.objects["Ann"])) > 1
    bpy.context.scene.frame_set(1)
    assert np.linalg.norm(expression(bpy.data.objects["Ann"])) < 1e-3
