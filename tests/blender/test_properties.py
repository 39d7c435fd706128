"""The settings of an avatar: keyed, driven, overridden, read by people."""

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model import arkit, head_file, head_object, properties

KEYED = {
    *properties.EMOTIONS, "strength", "blink", "blink_auto", "blink_seed", "blink_rate", "gaze_influence",
    "motion_influence", "motion_offset", "motion_speed", "motion_loop", "motion_head", "motion_eyes",
}  # fmt: skip
SET = {"kind", "avatar_id", "head", "version", "identity", "gaze_target"}


@pytest.fixture
def avatar(scene):
    rig = head_object.create(bpy.context, head_file.open_head(), "Ann", None)
    properties.initialise(rig, "open")
    return rig


def own_properties():
    rna = properties.EmoAvatarSettings.bl_rna
    return {p.identifier: p for p in rna.properties if p.identifier not in ("rna_type", "name")}


def test_settings_are_those_of_the_contract():
    assert set(own_properties()) == KEYED | SET


@pytest.mark.parametrize("name", sorted(KEYED))
def test_can_be_keyed(avatar, name):
    assert own_properties()[name].is_animatable
    assert avatar.keyframe_insert(f"emo_avatar.{name}", frame=1)


@pytest.mark.parametrize("name", sorted(SET))
def test_is_set_and_not_keyed(avatar, name):
    assert not own_properties()[name].is_animatable


def test_people_can_read_them():
    for name, prop in own_properties().items():
        assert prop.name and prop.name[0].isupper() and "_" not in prop.name, name
        assert prop.description and not prop.description.endswith("."), name
    for name in (*properties.EMOTIONS, "strength"):
        prop = own_properties()[name]
        assert "embeddings" in prop.description and (prop.hard_min, prop.hard_max) == (0.0, 1.0)
    assert own_properties()["strength"].default == 1.0


def test_animation_plays_and_drivers_drive(avatar, scene):
    avatar.emo_avatar.happy = 0.0
    avatar.keyframe_insert("emo_avatar.happy", frame=1)
    avatar.emo_avatar.happy = 1.0
    avatar.keyframe_insert("emo_avatar.happy", frame=11)
    driver = avatar.driver_add("emo_avatar.sad").driver
    driver.expression = "0.25"
    unit = avatar.driver_add('["jawOpen"]').driver
    unit.expression = "0.5"
    scene.frame_set(6)
    assert avatar.emo_avatar.happy == pytest.approx(0.5)
    assert avatar.emo_avatar.sad == pytest.approx(0.25)
    assert avatar["jawOpen"] == pytest.approx(0.5)


def test_setting_tells_the_listeners_and_animation_does_not(avatar, scene):
    avatar.keyframe_insert("emo_avatar.happy", frame=1)
    told = []
    properties.listeners.append(told.append)
    try:
        scene.frame_set(5)
        assert not told
        avatar.emo_avatar.strength = 0.5
        assert told == [avatar]
    finally:
        properties.listeners.remove(told.append)


def test_arkit_units_are_sliders(avatar):
    for name in arkit.ARKIT_NAMES:
        ui = avatar.id_properties_ui(name).as_dict()
        assert (ui["min"], ui["max"], ui["default"]) == (0.0, 1.0, 0.0)
        assert len(ui["description"]) > 10
    assert "left eye" in avatar.id_properties_ui("eyeBlinkLeft").as_dict()["description"]
    assert avatar.is_property_overridable_library('["jawOpen"]')
    assert avatar.keyframe_insert('["jawOpen"]', frame=1)


def test_which_is_the_active_avatar(avatar):
    assert properties.active_avatar(bpy.context) == avatar
    bpy.context.view_layer.objects.active = avatar.emo_avatar.head
    assert properties.active_avatar(bpy.context) == avatar
    hat = bpy.data.objects.new("Hat", None)
    bpy.context.collection.objects.link(hat)
    bpy.context.view_layer.objects.active = hat
    assert properties.active_avatar(bpy.context) is None
    hat.parent = avatar
    assert properties.active_avatar(bpy.context) == avatar
    assert list(properties.avatars(bpy.context.scene)) == [avatar]


def test_avatar_without_its_mesh_is_none(avatar):
    bpy.data.objects.remove(avatar.emo_avatar.head)
    assert not properties.is_avatar(avatar)
    bpy.context.view_layer.objects.active = avatar
    assert properties.active_avatar(bpy.context) is None


def test_library_override(avatar, tmp_path):
    library, shot = str(tmp_path / "library.blend"), str(tmp_path / "shot.blend")
    bpy.ops.wm.save_as_mainfile(filepath=library)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    with bpy.data.libraries.load(library, link=True) as (_, wanted):
        wanted.collections = ["Ann"]
    linked = wanted.collections[0]
    context = bpy.context
    context.scene.collection.children.link(linked)
    linked.override_hierarchy_create(context.scene, context.view_layer, do_fully_editable=True)
    (rig,) = [o for o in bpy.data.objects if o.type == "ARMATURE" and o.override_library]
    assert properties.is_avatar(rig) and rig.emo_avatar.head.override_library
    rig.emo_avatar.happy = 0.75
    rig["jawOpen"] = 0.5
    rig.keyframe_insert("emo_avatar.sad", frame=1)
    bpy.ops.wm.save_as_mainfile(filepath=shot)
    bpy.ops.wm.open_mainfile(filepath=shot)
    (rig,) = [o for o in bpy.data.objects if o.type == "ARMATURE" and o.override_library]
    assert rig.emo_avatar.happy == pytest.approx(0.75)
    assert rig["jawOpen"] == pytest.approx(0.5)
    assert rig.animation_data.action
    assert rig.emo_avatar.head.override_library
    np.testing.assert_array_equal(rig.emo_avatar.identity, np.zeros(20))
