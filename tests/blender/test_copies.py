"""Copies of an avatar, however they are made, have a face of their own."""

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model import storage
from mathutils import Quaternion

from .performers import *  # noqa: F403
from .performers import expression, settle


@pytest.fixture
def library(avatar, tmp_path):
    """A file that holds Ann, in a folder of its own; an empty file is open then."""
    path = tmp_path / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    return path


def twin_of(original, *, linked=False, rig_only=False):
    before = set(bpy.data.objects)
    for thing in bpy.context.view_layer.objects:
        thing.select_set(thing == original or (not rig_only and thing == original.emo_avatar.head))
    bpy.ops.object.duplicate(linked=linked)
    return next(thing for thing in set(bpy.data.objects) - before if thing.type == "ARMATURE")


def overridden(library, *, rig_only=False):
    """A library override of Ann, of all of her or of the armature alone."""
    scene, layer = bpy.context.scene, bpy.context.view_layer
    if rig_only:
        with bpy.data.libraries.load(str(library), link=True) as (_, taken):
            taken.objects = ["Ann"]
        rig = taken.objects[0].override_create()
        scene.collection.objects.link(rig)
        return rig
    with bpy.data.libraries.load(str(library), link=True) as (_, taken):
        taken.collections = ["Ann"]
    before = set(bpy.data.objects)
    taken.collections[0].override_hierarchy_create(scene, layer, do_fully_editable=True)
    return next(thing for thing in set(bpy.data.objects) - before if thing.type == "ARMATURE" and not thing.library)


def correctives(rig):  # [36] as Blender evaluates them
    depsgraph = bpy.context.evaluated_depsgraph_get()
    blocks = rig.emo_avatar.head.data.shape_keys.evaluated_get(depsgraph).key_blocks
    return np.array([blocks[f"pose_{i:03d}"].value for i in range(36)])


def assert_apart(one, other):
    """Each blinks, and opens the jaw, alone."""
    for rig, still in ((one, other), (other, one)):
        rig.emo_avatar.blink, still.emo_avatar.blink = 1.0, 0.0
        rig.pose.bones["jaw"].rotation_quaternion = Quaternion((1, 0, 0), 0.3)
        still.pose.bones["jaw"].rotation_quaternion = Quaternion()
        settle()
        assert np.linalg.norm(expression(rig)) > 0.1 and not np.any(expression(still))
        assert np.abs(correctives(rig)).max() > 0.05 and np.abs(correctives(still)).max() < 1e-6
    assert one.emo_avatar.head.data != other.emo_avatar.head.data


@pytest.mark.parametrize("linked", [False, True], ids=["copied", "linked"])
@pytest.mark.parametrize("rig_only", [False, True], ids=["whole", "rig alone"])
def test_duplicates(avatar, linked, rig_only):
    twin = twin_of(avatar, linked=linked, rig_only=rig_only)
    settle()
    assert_apart(avatar, twin)
    head = twin.emo_avatar.head
    assert head.parent == twin and head.modifiers["Armature"].object == twin and head in list(bpy.context.scene.objects)
    eye = avatar.data.bones["left_eye"].head_local.copy()
    twin.emo_avatar.identity[0] = 3.0
    assert avatar.data.bones["left_eye"].head_local == eye != twin.data.bones["left_eye"].head_local


def test_copies_of_copies_when_the_original_is_gone(avatar):
    second = twin_of(avatar, linked=True)
    third = twin_of(second, linked=True)
    for thing in (avatar.emo_avatar.head, avatar):
        bpy.data.objects.remove(thing)
    settle()
    assert_apart(second, third)


def test_what_is_alone_is_not_copied(avatar):
    twin = twin_of(avatar, linked=True)
    settle()
    meshes = set(bpy.data.meshes)
    twin.emo_avatar.blink = 1.0
    settle()
    assert set(bpy.data.meshes) == meshes


def test_undo_of_a_linked_duplicate(avatar):
    bpy.ops.ed.undo_push(message="before")
    twin = twin_of(avatar, linked=True)
    bpy.ops.ed.undo_push(message="duplicate")
    settle()
    twin.emo_avatar.blink = 1.0
    settle()
    bpy.ops.ed.undo_push(message="blink")
    bpy.ops.ed.undo()
    settle()
    assert_apart(bpy.data.objects["Ann"], bpy.data.objects["Ann.001"])
    bpy.ops.ed.undo()
    settle()
    assert [thing.name for thing in bpy.data.objects if thing.type == "ARMATURE"] == ["Ann"]
    assert [mesh.name for mesh in bpy.data.meshes] == ["Ann Head"]


@pytest.mark.parametrize("rig_only", [False, True], ids=["whole", "rig alone"])
def test_overrides(library, rig_only, tmp_path):
    names = [overridden(library, rig_only=rig_only).name for _ in range(2)]
    for reopened in (False, True):
        if reopened:
            bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
            bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
        settle()
        assert_apart(*(bpy.data.objects[name, None] for name in names))


def test_an_override_is_another_person(library, tmp_path):
    name = overridden(library).name
    settle()
    rig = bpy.data.objects[name, None]
    eye = rig.data.bones["left_eye"].head_local.copy()
    rig.emo_avatar.identity[0] = 3.0
    moved = rig.data.bones["left_eye"].head_local.copy()
    assert moved != eye
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    rig = bpy.data.objects[name, None]
    assert rig.emo_avatar.identity[0] == 3.0 and rig.data.bones["left_eye"].head_local == moved


def test_motion_of_an_override_follows_its_name(library, tmp_path):
    for rig in [overridden(library) for _ in range(2)]:
        storage.write_motion(rig, rig.name.encode())
    first, second = (bpy.data.objects[name, None] for name in ("Ann", "Ann.001"))
    first.name = "Bob"
    second.name = "Ann"
    assert (storage.read_motion(first), storage.read_motion(second)) == (b"Ann", b"Ann.001")
    storage.write_motion(second, b"new")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    assert storage.read_motion(bpy.data.objects["Bob", None]) == b"Ann"
    assert storage.read_motion(bpy.data.objects["Ann", None]) == b"new"


@pytest.mark.parametrize("linked", [False, True], ids=["copied", "linked"])
def test_duplicate_of_an_override(library, linked, tmp_path):
    first = overridden(library)
    names = first.name, twin_of(first, linked=linked).name
    for reopened in (False, True):
        if reopened:
            bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
            bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
        settle()
        assert_apart(*(bpy.data.objects[name, None] for name in names))
