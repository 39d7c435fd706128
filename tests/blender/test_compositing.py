"""One click: splats among the objects of a Cycles render, before and behind them by depth."""

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon.view import colours, compositing
from bl_ext.user_default.emo_avatar.emo_avatar_addon.view.compositing import GROUP

SIZE = 96


@pytest.fixture
def stage(scene, add_astronaut):
    """An avatar, a camera before it, and Cycles at its quickest."""
    rig = add_astronaut()
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    camera.location, camera.rotation_euler = (0, -1.0, -0.03), (np.pi / 2, 0, 0)
    scene.camera = camera
    scene.view_settings.view_transform = "Standard"
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.device = 1, False, "CPU"
    return rig


def add_plane(scene, y):
    """A bright green plane across the left half of the picture, at a depth."""
    mesh = bpy.data.meshes.new("Plane")
    mesh.from_pydata([(-2, y, -2), (0, y, -2), (0, y, 2), (-2, y, 2)], [], [(0, 1, 2, 3)])
    material = bpy.data.materials.new("Green")
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    nodes = material.node_tree.nodes
    nodes.clear()
    light, output = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeOutputMaterial")
    light.inputs[0].default_value = (0, 1, 0, 1)
    material.node_tree.links.new(light.outputs[0], output.inputs[0])
    mesh.materials.append(material)
    scene.collection.objects.link(bpy.data.objects.new("Plane", mesh))


def rendered(scene, path):
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format, settings.color_mode = "PNG", "RGBA"
    scene.render.filepath = str(path)
    scene.render.resolution_x = scene.render.resolution_y = SIZE
    scene.render.dither_intensity = 0
    bpy.ops.render.render(write_still=True, scene=scene.name)
    image = bpy.data.images.load(str(path))
    values = np.empty(SIZE * SIZE * 4, np.float32)
    image.pixels.foreach_get(values)
    bpy.data.images.remove(image)
    return values.reshape(SIZE, SIZE, 4)[::-1]


def is_green(picture):
    return (picture[..., 1] > 0.95) & (picture[..., 0] < 0.05)


def test_what_is_nearer_wins(scene, stage, tmp_path):
    assert bpy.ops.emo_avatar.composite_splats() == {"FINISHED"}
    splats = next(other for other in bpy.data.scenes if other is not scene)
    alone = rendered(splats, tmp_path / "splats.png")
    face, nothing = alone[..., 3] > 0.97, alone[..., 3] == 0
    half = np.arange(SIZE)[None, :] < SIZE // 2 - 2
    left, right = face & half, face & half[:, ::-1]
    assert left.sum() > 300 and right.sum() > 300

    add_plane(scene, y=0.5)
    behind = rendered(scene, tmp_path / "behind.png")
    assert not is_green(behind)[left].any()
    assert is_green(behind)[half & nothing].all()
    np.testing.assert_allclose(behind[right][:, :3], alone[right][:, :3], atol=0.05)

    bpy.data.objects["Plane"].location.y = -1.0
    before = rendered(scene, tmp_path / "before.png")
    assert is_green(before)[left].all()
    np.testing.assert_allclose(before[right][:, :3], alone[right][:, :3], atol=0.05)


def test_pressed_again_nothing_doubles_and_new_avatars_come_in(scene, stage, add_astronaut):
    bpy.ops.emo_avatar.composite_splats()
    tree = compositing._tree(scene)
    nodes = len(tree.nodes)
    add_astronaut("Second")
    bpy.ops.emo_avatar.composite_splats()
    assert len(bpy.data.scenes) == 2 and len(tree.nodes) == nodes
    splats = next(other for other in bpy.data.scenes if other is not scene)
    assert {thing.name for thing in splats.objects if thing.type == "ARMATURE"} == {"Astronaut", "Second"}
    assert splats.render.engine == "EMO_SPLATS" and splats.camera == scene.camera
    assert not stage.emo_avatar.head.visible_camera


def test_it_fits_into_what_the_artist_has_composited(scene, stage):
    """What fed the output before feeds the splats' node now."""
    bpy.ops.emo_avatar.composite_splats()
    tree = compositing._tree(scene)
    group = next(node for node in tree.nodes if node.bl_idname == "CompositorNodeGroup")
    blur = tree.nodes.new("CompositorNodeBlur")
    layers = next(node for node in tree.nodes if getattr(node, "scene", None) == scene)
    tree.nodes.remove(group)
    output = compositing._output_socket(tree)
    tree.links.new(layers.outputs["Image"], blur.inputs[0])
    tree.links.new(blur.outputs[0], output)
    bpy.ops.emo_avatar.composite_splats()
    group = next(node for node in tree.nodes if node.bl_idname == "CompositorNodeGroup")
    assert group.inputs["Image"].links[0].from_node == blur
    assert output.links[0].from_node == group


@pytest.mark.parametrize("transform", ["AgX", "Filmic"])
def test_splats_keep_their_colours_under_the_view_transforms_of_the_scene(scene, stage, tmp_path, transform):
    bpy.ops.emo_avatar.composite_splats()
    splats = next(other for other in bpy.data.scenes if other is not scene)
    splats.view_settings.view_transform = "Standard"
    alone = rendered(splats, tmp_path / "splats.png")
    solid = alone[..., 3] > 0.99
    scene.view_settings.view_transform = transform
    paler = np.abs(rendered(scene, tmp_path / "paler.png") - alone)[solid, :3].mean()
    bpy.ops.emo_avatar.composite_splats()
    assert len([node for node in compositing._tree(scene).nodes if node.bl_idname == "CompositorNodeGroup"]) == 1
    own = np.abs(rendered(scene, tmp_path / "own.png") - alone)[solid, :3].mean()
    assert paler > 0.02 and own < 0.2 * paler, (paler, own)


def test_the_button_says_why_it_is_grey(scene, stage):
    scene.render.engine = "EMO_SPLATS"
    assert not bpy.ops.emo_avatar.composite_splats.poll()
    scene.render.engine = "CYCLES"
    scene.camera = None
    assert not bpy.ops.emo_avatar.composite_splats.poll()


def test_true_colours_are_one_click_away(scene):
    scene.view_settings.view_transform = "AgX"
    scene.view_settings.exposure = 1.0
    assert colours.altered(scene)
    bpy.ops.emo_avatar.use_standard_view()
    assert not colours.altered(scene)
    assert not bpy.ops.emo_avatar.use_standard_view.poll()


def test_undo_takes_the_recipe_back(scene, stage):
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.emo_avatar.composite_splats("EXEC_DEFAULT", True)
    assert len(bpy.data.scenes) == 2
    bpy.ops.ed.undo()
    assert len(bpy.data.scenes) == 1 and GROUP not in bpy.data.node_groups
    assert bpy.data.objects["Astronaut Head"].visible_camera
