"""Undo takes back what each operator has done, and redo does it again."""

import importlib

import bpy
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon import registration, safetensors
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model import storage
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model.properties import EMOTIONS
from bl_ext.user_default.emo_avatar.emo_avatar_addon.timeline import curves, evaluation, presets
from bl_ext.user_default.emo_avatar.emo_avatar_addon.timeline.motion import Motion

from .performers import *  # noqa: F403
from .performers import key

OPERATORS = {
    "add_open_head": {},
    "random_person": {"seed": 5},
    "key_all": {},
    "key_changed": {},
    "delete_keys": {},
    "solo": {"emotion": "sad"},
    "clear": {},
    "blend": {"name": "Awe"},
    "save_blend": {"name": "Mine"},
    "add_blend_assets": {},
    "apply_asset": {"action": "Stored"},
    "remove_motion": {},
    "fit_range": {},
    "bake": {},
    "unbake": {},
    "portrait_camera": {},
    "composite_splats": {},
    "use_standard_view": {},
}
# What needs a file, a mouse or a clipboard, or leaves nothing to look at: tested with those
ELSEWHERE = {"paste", "avatar_from_portrait", "import_avatar", "import_motion", "pad", "apply_preset", "delete_avatar"}


@pytest.fixture
def performance(scene, avatar):
    """An avatar with keys, a motion and set sliders, on the frame of a key."""
    scene.frame_end = 9
    key(avatar, "blink", (1, 0.0), (9, 1.0))
    key(avatar, "strength", (3, 1.0))
    motion = Motion.still(5, 24.0)
    motion.jaw_pose[:, 0] = 0.1
    storage.write_motion(avatar, safetensors.pack(motion.arrays(), {"fps": 24.0}))
    avatar.emo_avatar.strength = 0.5
    presets.create("Stored", [0.0, 0.0, 0.7, 0.0, 0.0, 0.0])
    scene.view_settings.view_transform = "AgX"
    evaluation.mark(avatar)
    evaluation.settle(60)
    return avatar


def state():
    """All that operators change."""
    avatar = bpy.data.objects["Ann"]
    bag, scene = curves.channels(avatar), bpy.context.scene
    return {
        "emotions": [round(getattr(avatar.emo_avatar, name), 5) for name in EMOTIONS],
        "identity": [round(value, 5) for value in avatar.emo_avatar.identity],
        "keys": sorted((c.data_path, c.array_index, len(c.keyframe_points)) for c in bag.fcurves) if bag else [],
        "baked": "emo_avatar_baked" in avatar,
        "motion": storage.read_motion(avatar),
        "scene": (scene.frame_end, scene.view_settings.view_transform, scene.camera and scene.camera.name),
        "data": [sorted(thing.name for thing in getattr(bpy.data, kind)) for kind in ("objects", "actions", "scenes")],
        "assets": sorted(action.name for action in bpy.data.actions if action.asset_data),
    }


@pytest.mark.parametrize("operator", OPERATORS)
def test_undo(performance, operator):
    scene = bpy.context.scene
    if operator == "unbake":
        bpy.ops.emo_avatar.bake()
    if operator == "delete_keys":
        scene.frame_set(9)
        key(performance, "happy", (9, 0.8))
    if operator in ("solo", "clear", "save_blend"):
        performance.emo_avatar.happy, performance.emo_avatar.fear = 0.8, 0.4
    if operator == "composite_splats":
        performance.emo_avatar.kind = "avatar"
        scene.camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
        scene.collection.objects.link(scene.camera)
    bpy.context.view_layer.objects.active = performance
    performance.select_set(True)
    bpy.ops.ed.undo_push(message="before")
    before = state()
    run = getattr(bpy.ops.emo_avatar, operator)
    assert run("EXEC_DEFAULT", True, **OPERATORS[operator]) == {"FINISHED"}
    after = state()
    assert after != before, "it has done nothing"
    bpy.ops.ed.undo()
    assert state() == before
    bpy.ops.ed.redo()
    assert state() == after


def test_every_operator_that_can_be_undone_is_here():
    found = set()
    for name in registration.FEATURES:
        for cls in getattr(importlib.import_module(f"{registration.__package__}.{name}"), "CLASSES", ()):
            if issubclass(cls, bpy.types.Operator) and "UNDO" in getattr(cls, "bl_options", ()):
                found.add(cls.bl_idname.removeprefix("emo_avatar."))
    assert found == OPERATORS.keys() | ELSEWHERE
