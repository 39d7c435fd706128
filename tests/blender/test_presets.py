"""Blends as assets, and Blender's own presets."""

from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon.errors import AddonError
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model.properties import EMOTIONS
from bl_ext.user_default.emo_avatar.emo_avatar_addon.ops import presets as preset_ops
from bl_ext.user_default.emo_avatar.emo_avatar_addon.timeline import keyframes, presets

from .performers import *  # noqa: F403

ops = bpy.ops.emo_avatar


@pytest.fixture(autouse=True)
def quiet(no_backend):
    """Nothing here is evaluated."""


def test_every_blend_is_of_emotions_within_bounds():
    for name, blend in presets.BLENDS.items():
        assert set(blend) <= set(EMOTIONS) and all(0 < value <= 1 for value in blend.values()), name


def test_blends_become_assets_with_preview_and_tag_once(scene):
    assert ops.add_blend_assets() == {"FINISHED"}
    assert not ops.add_blend_assets.poll()
    assert len(bpy.data.actions) == len(presets.BLENDS)
    awe = bpy.data.actions["Awe"]
    assert awe.asset_data.tags[0].name == presets.TAG and "surprised 70%" in awe.asset_data.description
    pixels = np.array(awe.preview.image_pixels_float[:]).reshape(-1, 4)
    assert pixels[:, 3].mean() > 0.5 and np.ptp(pixels[:, 0]) > 0.5
    assert presets.read(awe) == pytest.approx(presets.weights(presets.BLENDS["Awe"]))


def test_asset_survives_the_file_and_is_applied(scene, avatar, tmp_path):
    ops.add_blend_assets()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    assert bpy.data.actions["Grief"].asset_data is not None
    avatar = bpy.data.objects["Ann"]
    bpy.context.view_layer.objects.active = avatar
    ops.apply_asset(action="Grief")
    assert keyframes.weights(avatar) == pytest.approx(presets.weights(presets.BLENDS["Grief"]))


def test_own_blend_is_saved(scene, avatar):
    assert not ops.save_blend.poll()
    keyframes.set_weights(avatar, [0.3, 0, 0, 0, 0.6, 0])
    ops.save_blend(name="Nervous smile")
    assert presets.own() == ["Nervous smile"]
    assert presets.read(bpy.data.actions["Nervous smile"]) == pytest.approx([0.3, 0, 0, 0, 0.6, 0])


def test_action_without_emotions_is_refused(scene, avatar):
    other = bpy.data.actions.new("Walk")
    with pytest.raises(AddonError, match="holds no emotions"):
        presets.read(other)
    with pytest.raises(RuntimeError, match="holds no emotions"):
        ops.apply_asset(action="Walk")


def test_asset_shelf_names_the_asset(scene, avatar, tmp_path):
    ops.add_blend_assets()
    ops.apply_asset(asset_library_type="LOCAL", relative_asset_identifier="Action/Awe")
    assert keyframes.weights(avatar) == pytest.approx(presets.weights(presets.BLENDS["Awe"]))
    (tmp_path / "faces").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "faces" / "mine.blend"), copy=True)
    for action in list(bpy.data.actions):
        bpy.data.actions.remove(action)
    libraries = bpy.context.preferences.filepaths.asset_libraries
    bpy.ops.preferences.asset_library_add(directory=str(tmp_path))
    libraries[-1].name = "Mine"
    named = {"asset_library_type": "CUSTOM", "asset_library_identifier": "Mine"}
    try:
        ops.apply_asset(**named, relative_asset_identifier="faces/mine.blend/Action/Grief")
        assert keyframes.weights(avatar) == pytest.approx(presets.weights(presets.BLENDS["Grief"]))
        assert len(bpy.data.actions) == 0 and len(bpy.data.libraries) == 0
        for missing in ("faces/mine.blend/Action/Nothing", "faces/nothing.blend/Action/Grief"):
            with pytest.raises(RuntimeError, match="no action|cannot be read"):
                ops.apply_asset(**named, relative_asset_identifier=missing)
    finally:
        bpy.ops.preferences.asset_library_remove(index=len(libraries) - 1)
    with pytest.raises(RuntimeError, match="no asset library"):
        ops.apply_asset(**named, relative_asset_identifier="faces/mine.blend/Action/Grief")


# --- Blender's own presets


def test_preset_is_kept_for_other_files_applied_and_removed(avatar):
    avatar.emo_avatar.fear, avatar.emo_avatar.strength = 0.7, 0.5
    assert bpy.ops.emo_avatar.add_preset(name="Stage fright") == {"FINISHED"}
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.ops.emo_avatar.add_open_head()
    other = bpy.context.object
    path = bpy.utils.preset_find("Stage_fright", preset_ops.FOLDER)
    assert path
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.emo_avatar.apply_preset("EXEC_DEFAULT", True, filepath=path) == {"FINISHED"}
    assert (round(other.emo_avatar.fear, 5), other.emo_avatar.strength) == (0.7, 0.5)
    bpy.ops.ed.undo()
    assert bpy.context.object.emo_avatar.fear == 0.0
    assert bpy.ops.emo_avatar.add_preset(name=Path(path).stem, remove_name=True) == {"FINISHED"}
    assert not Path(path).exists()


def test_preset_is_read_and_not_run(avatar, tmp_path):
    path = tmp_path / "bad.py"
    for text, why in (
        ("import os\nos.remove('x')\n", "holds no emotions"),
        ("settings.happy = __import__('os')\n", "damaged"),
        ("(", "damaged"),
    ):
        path.write_text(text)
        with pytest.raises(RuntimeError, match=why):
            bpy.ops.emo_avatar.apply_preset(filepath=str(path))
    with pytest.raises(RuntimeError, match="cannot be read"):
        bpy.ops.emo_avatar.apply_preset(filepath=str(tmp_path / "none.py"))
