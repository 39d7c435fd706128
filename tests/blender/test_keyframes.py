"""The emotion buttons, as an artist presses them."""

import types

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon import safetensors
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model import storage
from bl_ext.user_default.emo_avatar.emo_avatar_addon.timeline import circumplex, curves, evaluation, keyframes, playing
from bl_ext.user_default.emo_avatar.emo_avatar_addon.timeline.motion import Motion
from bl_ext.user_default.emo_avatar.emo_avatar_addon.ui import bake as bake_panel
from bl_ext.user_default.emo_avatar.emo_avatar_addon.ui import emotions
from bl_ext.user_default.emo_avatar.emo_avatar_addon.ui import motion as motion_panel

from .performers import *  # noqa: F403
from .performers import key

ops = bpy.ops.emo_avatar


def keyed(avatar):  # {setting: {frame: value}}
    return {
        fcurve.data_path.rpartition(".")[2]: {point.co.x: round(point.co.y, 4) for point in fcurve.keyframe_points}
        for fcurve in keyframes.emotion_curves(avatar)
    }


@pytest.fixture(autouse=True)
def quiet(no_backend):
    """Nothing here is evaluated."""


def test_key_all_keys_seven_sliders_under_a_readable_group(scene, avatar):
    avatar.emo_avatar.happy = 0.7
    scene.frame_set(12)
    avatar.emo_avatar.happy = 0.7
    assert ops.key_all() == {"FINISHED"}
    assert keyed(avatar) == {
        name: {12.0: 0.7 if name == "happy" else float(name == "strength")} for name in keyframes.KEYED
    }
    assert {fcurve.group.name for fcurve in keyframes.emotion_curves(avatar)} == {"Emotions"}
    assert avatar.emo_avatar.bl_rna.properties["surprised"].name == "Surprised"


def test_key_changed_keys_what_differs(scene, avatar):
    key(avatar, "sad", (1, 0.2), (20, 0.8))
    scene.frame_set(20)
    assert ops.key_changed() == {"CANCELLED"}
    scene.frame_set(10)
    avatar.emo_avatar.angry = 0.4
    assert keyframes.changed(scene, avatar) == ["angry"]
    avatar.emo_avatar.sad = 0.1
    assert ops.key_changed() == {"FINISHED"}
    assert keyed(avatar) == {"sad": {1.0: 0.2, 10.0: 0.1, 20.0: 0.8}, "angry": {10.0: 0.4}}


def test_delete_keys(scene, avatar):
    key(avatar, "sad", (1, 0.2), (20, 0.8))
    scene.frame_set(5)
    assert not ops.delete_keys.poll()
    scene.frame_set(20)
    ops.delete_keys()
    assert keyed(avatar) == {"sad": {1.0: 0.2}}


def test_jump_to_keys(scene, avatar):
    assert not ops.jump_to_key.poll()
    key(avatar, "sad", (1, 0.2), (20, 0.8))
    key(avatar, "happy", (8, 0.2))
    scene.frame_set(1)
    frames = [ops.jump_to_key(forward=True) and scene.frame_current for _ in range(2)]
    assert frames == [8, 20]
    assert ops.jump_to_key(forward=True) == {"CANCELLED"}
    ops.jump_to_key(forward=False)
    assert scene.frame_current == 8


def test_solo_clear_copy_paste(scene, make_avatar):
    ann, bob = make_avatar("Ann"), make_avatar("Bob")
    bpy.context.view_layer.objects.active = ann
    bob.select_set(False)
    keyframes.set_weights(ann, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    ops.copy()
    ops.solo(emotion="angry")
    assert keyframes.weights(ann) == pytest.approx([0, 0, 0.3, 0, 0, 0])
    ops.clear()
    assert keyframes.weights(ann) == [0] * 6
    ops.solo(emotion="fear")
    assert keyframes.weights(ann) == [0, 0, 0, 0, 1, 0]
    bpy.context.view_layer.objects.active = bob
    if bpy.context.window_manager.clipboard:  # no clipboard in background
        ops.paste()
        assert keyframes.weights(bob) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def test_automatic_keying_keys_what_buttons_change(scene, avatar):
    scene.tool_settings.use_keyframe_insert_auto = True
    scene.frame_set(7)
    ops.blend(name="Bittersweet")
    assert keyed(avatar)["happy"] == {7.0: 0.55} and keyed(avatar)["sad"] == {7.0: 0.5}


def test_buttons_are_grey_without_an_avatar(scene, avatar):
    bpy.context.view_layer.objects.active = None
    for name in ("key_all", "key_changed", "solo", "clear", "copy", "blend", "pad", "bake", "import_motion"):
        assert not getattr(ops, name).poll(), name


def test_buttons_work_on_the_mesh_too(scene, avatar):
    bpy.context.view_layer.objects.active = avatar.emo_avatar.head
    ops.solo(emotion="happy")
    assert avatar.emo_avatar.happy == 1.0


def test_undo_of_a_button(scene, avatar):
    bpy.ops.ed.undo_push(message="before")
    ops.solo(emotion="happy")
    bpy.ops.ed.undo_push(message="solo")
    bpy.ops.ed.undo()
    assert bpy.data.objects["Ann"].emo_avatar.happy == 0.0


def test_pad_writes_the_sliders_as_operator_and_as_property(scene, avatar):
    ops.pad(valence=0.9, arousal=0.42)
    assert avatar.emo_avatar.happy > 0.9 and avatar.emo_avatar.sad == 0
    manager = bpy.context.window_manager
    manager.emo_avatar_pad = (-0.6, -0.3)
    assert avatar.emo_avatar.sad > 0.5 and avatar.emo_avatar.happy == 0
    assert tuple(manager.emo_avatar_pad) == pytest.approx((-0.6, -0.3))
    manager.emo_avatar_pad[1] = -0.5
    assert tuple(manager.emo_avatar_pad) == pytest.approx((-0.6, -0.5))
    keyframes.set_weights(avatar, [0, 0, 1, 0, 0, 0])
    x, y = manager.emo_avatar_pad
    assert circumplex.weights(x, y) == pytest.approx([0, 0, 1, 0, 0, 0], abs=1e-5)


def test_sliders_are_overridable_and_driveable(scene, avatar, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (_, taken):
        taken.collections = ["Ann"]
    collection = taken.collections[0]
    bpy.context.scene.collection.children.link(collection)
    collection.override_hierarchy_create(bpy.context.scene, bpy.context.view_layer, do_fully_editable=True)
    avatar = next(thing for thing in bpy.data.objects if thing.type == "ARMATURE" and thing.override_library)
    avatar.emo_avatar.happy = 0.6
    assert avatar.keyframe_insert("emo_avatar.happy", frame=1)
    avatar["jawOpen"] = 0.5
    assert curves.channels(avatar).find("emo_avatar.happy")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    avatar = next(thing for thing in bpy.data.objects if thing.type == "ARMATURE" and thing.override_library)
    assert avatar.emo_avatar.happy == pytest.approx(0.6) and avatar["jawOpen"] == 0.5


class Layout:
    """Stands in for Blender's layout, which exists only while a window is drawn: every name must be there."""

    def prop(self, data, name, **_):
        assert data.path_resolve(name) is not None or name in data.bl_rna.properties

    def operator(self, name, **_):
        assert name.partition(".")[2] in dir(bpy.ops.emo_avatar), name
        return types.SimpleNamespace()

    def label(self, **_):
        pass

    def __getattr__(self, name):
        assert name in bpy.types.UILayout.bl_rna.functions, name
        return lambda **_: self


@pytest.mark.parametrize("state", ["fresh", "moving", "troubled", "baked"])
def test_panels_draw(scene, avatar, state):
    if state == "moving":
        storage.write_motion(avatar, safetensors.pack(Motion.still(5, 60.0).arrays(), {"fps": 60.0}))
    if state == "troubled":
        avatar.emo_avatar.happy = 1.0
        evaluation.settle(60)
        assert playing.trouble(avatar)
    if state == "baked":
        bpy.ops.emo_avatar.bake()
    for module in (emotions, motion_panel, bake_panel):
        for panel in module.CLASSES:
            assert panel.poll(bpy.context) and panel.bl_category == "Emo Avatar"
            panel.draw(types.SimpleNamespace(layout=Layout()), bpy.context)


def test_frames_of_keys(avatar):
    key(avatar, "sad", (3.5, 0.2), (20, 0.8))
    np.testing.assert_allclose(keyframes.frames(avatar), [3.5, 20])
    assert keyframes.neighbour(avatar, 3.5, True) == 20 and keyframes.neighbour(avatar, 3.5, False) is None
