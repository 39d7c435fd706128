"""What an avatar keeps in the .blend."""

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon.errors import AddonError
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model import flame, head_file, head_object, properties, storage

DATA = bytes(range(256)) * 50 + b"\0\0"


@pytest.fixture
def avatar(scene):
    rig = head_object.create(bpy.context, head_file.open_head(), "Ann", None)
    properties.initialise(rig, "avatar")
    return rig


@pytest.mark.parametrize("kind", ["file", "motion", "range"])
def test_bytes_come_back_as_they_were(avatar, kind, tmp_path):
    write, read = getattr(storage, f"write_{kind}"), getattr(storage, f"read_{kind}")
    assert read(avatar) is None
    write(avatar, b"first\0")
    write(avatar, DATA)
    assert read(avatar) == DATA
    path = str(tmp_path / "kept.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    assert read(bpy.data.objects["Ann"]) == DATA


def test_none_removes(avatar):
    storage.write_motion(avatar, DATA)
    storage.write_motion(avatar, None)
    storage.write_motion(avatar, None)
    assert storage.read_motion(avatar) is None
    assert "emo_avatar_motion" not in avatar


def test_rig_comes_back(avatar):
    head, rig = head_file.open_head(), storage.read_rig(avatar)
    kinematics = flame.kinematics(head)
    np.testing.assert_allclose(rig.kinematics.joints, kinematics.joints, atol=1e-7)
    np.testing.assert_allclose(rig.kinematics.joint_dirs, kinematics.joint_dirs, atol=1e-7)
    np.testing.assert_array_equal(rig.arkit_to_expr, head.arkit_to_expr)
    np.testing.assert_array_equal(rig.arkit_to_pose, head.arkit_to_pose)


@pytest.mark.parametrize("damage", [b"", b"\x08\0\0\0\0\0\0\0{}      "])
def test_lost_rig_is_said_so(avatar, damage):
    avatar.data["emo_avatar_head"] = damage
    with pytest.raises(AddonError):
        storage.read_rig(avatar)


def test_copy_of_an_avatar_has_all_and_is_its_own(avatar):
    storage.write_file(avatar, DATA)
    for thing in (avatar, avatar.emo_avatar.head):
        thing.select_set(True)
    bpy.ops.object.duplicate()
    (copy,) = [rig for rig in properties.avatars(bpy.context.scene) if rig != avatar]
    assert copy.emo_avatar.head != avatar.emo_avatar.head
    assert copy.emo_avatar.head.parent == copy and copy.emo_avatar.head.modifiers[0].object == copy
    assert storage.read_file(copy) == DATA
    drivers = copy.emo_avatar.head.data.shape_keys.animation_data.drivers
    assert {target.id for d in drivers for v in d.driver.variables for target in v.targets} == {copy}


def test_undo_brings_bytes_back(avatar):
    storage.write_motion(avatar, DATA)
    bpy.ops.ed.undo_push(message="with")
    storage.write_motion(avatar, b"other\0")
    bpy.ops.ed.undo_push(message="other")
    bpy.ops.ed.undo()
    assert storage.read_motion(bpy.data.objects["Ann"]) == DATA


def test_appended_avatar_is_whole(avatar, tmp_path):
    storage.write_file(avatar, DATA)
    path = str(tmp_path / "library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    with bpy.data.libraries.load(path) as (_, wanted):
        wanted.collections = ["Ann"]
    bpy.context.scene.collection.children.link(wanted.collections[0])
    (appended,) = properties.avatars(bpy.context.scene)
    assert storage.read_file(appended) == DATA
    assert appended.emo_avatar.head.parent == appended
