"""An avatar as native Blender data: the mesh that Blender evaluates is FLAME's."""

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model import flame, head_file, head_object, materials, storage
from mathutils import Quaternion

EXACT = 1e-5  # metres
STILL = {"jaw_pose": 3, "neck_pose": 3, "rotation": 3, "translation": 3, "eyes_pose": 6}


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture
def avatar(scene):
    rig = head_object.create(bpy.context, head_file.open_head(), "Ann", None)
    rig.emo_avatar.kind = "open"
    return rig


def random_pose(rng, frames=4):
    return {
        "expression": rng.normal(scale=2.0, size=(frames, 100)).clip(-10, 10).astype(np.float32),
        "jaw_pose": rng.normal(scale=0.2, size=(frames, 3)),
        "neck_pose": rng.normal(scale=0.4, size=(frames, 3)),
        "rotation": rng.normal(scale=1.0, size=(frames, 3)),
        "translation": rng.normal(scale=0.3, size=(frames, 3)),
        "eyes_pose": rng.normal(scale=0.3, size=(frames, 6)),
    }


def change_person(avatar, person):
    head_object.change_shape(avatar, person, head_object.shape_directions(person))
    head_object.change_joints(avatar, person)


def still_pose(frames=1):
    return {"expression": np.zeros((frames, 100)), **{name: np.zeros((frames, n)) for name, n in STILL.items()}}


def values_of(head, pose):
    return flame.rig_values(flame.kinematics(head), flame.Poses(**pose))


def evaluated(avatar):  # [V, 3] in FLAME's axes
    mesh = avatar.emo_avatar.head.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    points = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", points)
    return head_object.from_blender(points.reshape(-1, 3))


def test_evaluated_mesh_is_flames(avatar, rng):
    head, pose = head_file.open_head(), random_pose(rng)
    values, expected = values_of(head, pose), flame.vertices(head, flame.Poses(**pose))
    for t in range(len(values)):
        head_object.apply(avatar, values, t)
        assert np.abs(evaluated(avatar) - expected[t]).max() < EXACT
    assert np.ptp(expected, axis=0).max() > 0.1


def test_starts_as_the_template(avatar):
    assert np.abs(evaluated(avatar) - head_file.open_head().v_template).max() < EXACT


def test_another_person_of_the_same_head(avatar, rng):
    person, pose = head_file.open_head().with_identity(rng.normal(size=20)), random_pose(rng)
    change_person(avatar, person)
    head_object.apply(avatar, values_of(person, pose), 2)
    assert np.abs(evaluated(avatar) - flame.vertices(person, flame.Poses(**pose))[2]).max() < EXACT
    np.testing.assert_allclose(storage.read_rig(avatar).kinematics.joints, flame.kinematics(person).joints, atol=1e-7)


def test_changing_the_person_keeps_selection_mode_and_pose(avatar):
    other = bpy.data.objects.new("Other", None)
    bpy.context.collection.objects.link(other)
    other.select_set(True)
    bpy.ops.object.mode_set(mode="POSE")
    avatar.pose.bones["neck"].rotation_quaternion = (0.9, 0.1, 0.2, 0.3)
    objects = set(bpy.data.objects)
    change_person(avatar, head_file.open_head().with_identity(np.ones(20)))
    assert (bpy.context.mode, bpy.context.object) == ("POSE", avatar)
    assert set(bpy.context.view_layer.objects.selected) == {avatar, other}
    assert set(bpy.data.objects) == objects
    np.testing.assert_allclose(avatar.pose.bones["neck"].rotation_quaternion, (0.9, 0.1, 0.2, 0.3), atol=1e-6)


def test_changing_the_person_while_its_mesh_is_edited(avatar):
    bpy.context.view_layer.objects.active = avatar.emo_avatar.head
    bpy.ops.object.mode_set(mode="EDIT")
    person = head_file.open_head().with_identity(np.ones(20))
    change_person(avatar, person)
    assert bpy.context.mode == "EDIT_MESH"
    bpy.ops.object.mode_set(mode="OBJECT")
    assert np.abs(evaluated(avatar) - person.v_template).max() < EXACT


def test_posing_by_hand_bends_as_flame_does(avatar):
    """The neck turned by hand, the jaw by a constraint: the correctives follow, without the extension's handlers."""
    head, pose = head_file.open_head(), still_pose()
    pose["neck_pose"][0] = (0.2, 0.5, -0.1)
    pose["jaw_pose"][0] = (0.25, 0.0, 0.0)
    angle = np.linalg.norm(pose["neck_pose"][0])
    avatar.pose.bones["neck"].rotation_quaternion = Quaternion(pose["neck_pose"][0] / angle, angle)
    jaw = avatar.pose.bones["jaw"].constraints.new("LIMIT_ROTATION")
    jaw.use_limit_x, jaw.min_x, jaw.max_x, jaw.owner_space = True, 0.25, 0.5, "LOCAL"
    bpy.context.view_layer.update()
    assert np.abs(evaluated(avatar) - flame.vertices(head, flame.Poses(**pose))[0]).max() < EXACT


def test_joints_that_the_motion_leaves_alone_are_the_artists(avatar, rng):
    head, pose = head_file.open_head(), still_pose(2)
    pose["jaw_pose"][1, 0] = 0.3
    pose["expression"] = rng.normal(size=(2, 100))
    neck = avatar.pose.bones["neck"]
    neck.rotation_quaternion = Quaternion((0.0, 1.0, 0.0), 0.4)
    values = values_of(head, pose)
    head_object.apply(avatar, values, 1)
    pose["neck_pose"][:, 1] = 0.4
    assert np.abs(evaluated(avatar) - flame.vertices(head, flame.Poses(**pose))[1]).max() < EXACT
    head_object.apply(avatar, values_of(head, still_pose(1)), 0)
    assert avatar.pose.bones["jaw"].matrix_basis.is_identity
    assert not neck.matrix_basis.is_identity
    avatar.pose.bones["jaw"].rotation_quaternion = Quaternion((1.0, 0.0, 0.0), 0.2)  # now it is the artist's
    head_object.apply(avatar, values_of(head, still_pose(1)), 0)
    assert not avatar.pose.bones["jaw"].matrix_basis.is_identity


def test_shape_keys_that_the_artist_has_added_keep_their_values(avatar, rng):
    mesh = avatar.emo_avatar.head
    mesh.shape_key_add(name="Scar", from_mix=False).value = 0.5
    mesh.active_shape_key_index = 5
    with bpy.context.temp_override(object=mesh, active_object=mesh):
        bpy.ops.object.shape_key_move(type="BOTTOM")
    values = values_of(head_file.open_head(), random_pose(rng))
    head_object.apply(avatar, values, 0)
    blocks = mesh.data.shape_keys.key_blocks
    assert blocks["Scar"].value == 0.5
    found = [blocks[name].value for name in head_object.SHAPE_KEYS[:100]]
    np.testing.assert_allclose(found, values.shape_keys[0, :100], atol=1e-6)


def test_native_data(avatar, scene):
    head = head_file.open_head()
    mesh = avatar.emo_avatar.head
    assert [bone.name for bone in avatar.data.bones] == list(flame.JOINTS)
    assert [bone.parent.name if bone.parent else None for bone in avatar.data.bones] == [None, "global", *["neck"] * 3]
    assert (avatar.name, mesh.name, mesh.parent) == ("Ann", "Ann Head", avatar)
    assert set(scene.collection.children["Ann"].objects) == {avatar, mesh}
    assert [group.name for group in mesh.vertex_groups] == list(flame.JOINTS)
    blocks = mesh.data.shape_keys.key_blocks
    assert blocks.keys() == ["Basis", *head_object.SHAPE_KEYS]
    assert {(block.slider_min, block.slider_max, block.mute) for block in blocks} == {(-10.0, 10.0, False)}
    drivers = mesh.data.shape_keys.animation_data.drivers
    assert len(drivers) == 36
    assert all(curve.driver.is_simple_expression for curve in drivers)  # those are evaluated without running scripts
    assert not mesh.data.validate()
    assert len(mesh.data.polygons) == len(head.quads) and all(face.use_smooth for face in mesh.data.polygons)
    assert bpy.context.object is avatar and avatar.select_get()
    uvs = np.empty(len(mesh.data.loops) * 2, np.float32)
    mesh.data.uv_layers.active.data.foreach_get("uv", uvs)
    first = len(mesh.data.polygons[0].vertices)
    np.testing.assert_allclose(uvs.reshape(-1, 2)[:first], head.uv[head.uv_quads[0][:first]], atol=1e-6)


def test_materials_by_part(avatar):
    head, mesh = head_file.open_head(), avatar.emo_avatar.head.data
    eyes, teeth = {"eye_left", "eye_right"}, {"upper_teeth", "lower_teeth"}
    parts = {"Skin": {"skin"}, "Eyes": eyes, "Iris": eyes, "Pupil": eyes, "Teeth": teeth, "Tongue": {"tongue"},
             "Lashes": {"lashes"}}  # fmt: skip
    assert [m.name for m in mesh.materials] == [f"Ann {label}" for label in parts]
    for face in mesh.polygons:
        part = head.part_names[head.vertex_part[face.vertices[0]]]
        assert part in parts[mesh.materials[face.material_index].name.removeprefix("Ann ")]


def test_where_an_avatar_looks_shows_without_textures(avatar):
    """In Solid shading a material is its viewport colour: dark discs in the middle of light eyes, facing the gaze."""
    mesh = avatar.emo_avatar.head.data
    faces = {label: [f for f in mesh.polygons if mesh.materials[f.material_index].name == f"Ann {label}"]
             for label in ("Eyes", "Iris", "Pupil")}  # fmt: skip
    white, iris, pupil = ([sum(mesh.materials[fs[0].material_index].diffuse_color[:3])] for fs in faces.values())
    assert white > iris > pupil
    for side in (1, -1):
        own = {label: np.mean([f.center for f in fs if f.center.x * side > 0], axis=0) for label, fs in faces.items()}
        eye = np.array(avatar.data.bones["left_eye" if side > 0 else "right_eye"].head_local)
        for label in ("Iris", "Pupil"):
            away = own[label] - eye
            assert -away[1] / np.linalg.norm(away) > 0.999  # straight ahead, in Blender's axes


def test_texture_is_packed_and_shown():
    image = materials.load_texture("Ann", head_file.OPEN_HEAD_TEXTURE)
    assert image.packed_file and tuple(image.size) == (2048, 2048) and image.has_data
    avatar = head_object.create(bpy.context, head_file.open_head(), "Ann", image)
    for material in avatar.emo_avatar.head.data.materials:
        assert any(node.type == "TEX_IMAGE" and node.image == image for node in material.node_tree.nodes)


def test_at_the_cursor_and_in_a_hidden_collection(scene):
    scene.cursor.location = (1.0, 2.0, 3.0)
    hidden = bpy.data.collections.new("Hidden")
    scene.collection.children.link(hidden)
    bpy.context.view_layer.active_layer_collection = bpy.context.view_layer.layer_collection.children["Hidden"]
    bpy.context.view_layer.active_layer_collection.exclude = True
    avatar = head_object.create(bpy.context, head_file.open_head(), "Ann", None)
    assert tuple(avatar.location) == (1.0, 2.0, 3.0)
    assert avatar.visible_get() and len(avatar.data.bones) == 5


def test_two_of_one_name_do_not_mix(avatar):
    other = head_object.create(bpy.context, head_file.open_head(), "Ann", None)
    assert (avatar.name, other.name) == ("Ann", "Ann.001")
    assert other.emo_avatar.head.parent is other and avatar.emo_avatar.head.parent is avatar
    values = values_of(head_file.open_head(), random_pose(np.random.default_rng(2)))
    before = evaluated(avatar)
    head_object.apply(other, values, 0)
    np.testing.assert_array_equal(evaluated(avatar), before)
