"""Avatars of other versions of the extension."""

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model import arkit, head_file, head_object, migration, properties


@pytest.fixture
def avatar(scene):
    rig = head_object.create(bpy.context, head_file.open_head(), "Ann", None)
    properties.initialise(rig, "open")
    return rig


def reopened(tmp_path):
    path = str(tmp_path / "old.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    return bpy.data.objects["Ann"]


def test_avatar_from_before_versions_were_counted(avatar, tmp_path):
    avatar.emo_avatar.version = 0
    drivers = avatar.emo_avatar.head.data.shape_keys.animation_data.drivers
    for curve in list(drivers)[5:]:
        drivers.remove(curve)
    del avatar["jawOpen"]
    avatar["mouthPucker"] = 0.25
    migrated = reopened(tmp_path)
    assert migrated.emo_avatar.version == properties.VERSION
    assert len(migrated.emo_avatar.head.data.shape_keys.animation_data.drivers) == 36
    assert (migrated["jawOpen"], migrated["mouthPucker"]) == (0.0, 0.25)
    assert all(name in migrated for name in arkit.ARKIT_NAMES)
    migrated.pose.bones["jaw"].rotation_quaternion = (0.99, 0.14, 0.0, 0.0)
    bpy.context.view_layer.update()
    assert migrated.emo_avatar.head.data.shape_keys.key_blocks["pose_016"].value > 0.2


def test_avatar_of_this_version_is_left_alone(avatar, tmp_path, monkeypatch):
    monkeypatch.setattr(migration, "STEPS", {})
    assert reopened(tmp_path).emo_avatar.version == properties.VERSION


def test_newer_avatar_is_told_and_left_alone(avatar, tmp_path, capfd):
    avatar.emo_avatar.version = properties.VERSION + 1
    assert not migration.is_newer(head_object.create(bpy.context, head_file.open_head(), "Ben", None))
    newer = reopened(tmp_path)
    assert newer.emo_avatar.version == properties.VERSION + 1
    assert migration.is_newer(newer)
    assert "Ann was made by a newer version" in capfd.readouterr().err


def test_every_version_has_its_step():
    assert sorted(migration.STEPS) == list(range(properties.VERSION))


def test_one_that_fails_does_not_stop_the_others(avatar, tmp_path, monkeypatch, capfd):
    other = head_object.create(bpy.context, head_file.open_head(), "Zoe", None)
    other.emo_avatar.kind, avatar.emo_avatar.version = "open", 0

    def step(rig):
        if rig.name == "Ann":
            raise ValueError("broken")
        migration._from_0(rig)

    monkeypatch.setattr(migration, "STEPS", {0: step})
    reopened(tmp_path)
    assert bpy.data.objects["Ann"].emo_avatar.version == 0
    assert bpy.data.objects["Zoe"].emo_avatar.version == properties.VERSION
    assert "broken" in capfd.readouterr().err
    assert np.isclose(bpy.data.objects["Zoe"]["jawOpen"], 0.0)
