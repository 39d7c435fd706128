"""The viewport's logic and its drawing, without a window: what is asked for, where splats land, what hides them."""

import bpy
import gpu
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon.view import drawing, overlay, shown
from bl_ext.user_default.emo_avatar.emo_avatar_addon.view.camera import View
from bl_ext.user_default.emo_avatar.emo_avatar_addon.view.picture import Picture, scene_linear

WIDTH, HEIGHT = 64, 48
NEAR, FAR = 0.1, 100.0
PROJECTION = np.array(
    [
        [1.5, 0, 0.1, 0],
        [0, 2, -0.05, 0],
        [0, 0, -(FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)],
        [0, 0, -1, 0],
    ]
)
CAMERA = np.array([[1.0, 0, 0, 0.2], [0, 1, 0, -0.1], [0, 0, 1, -3], [0, 0, 0, 1]])  # camera from world


def in_a_gpu_context(scene, work):
    """Blender gives one to a render engine that asks for it, in background mode too."""
    outcome = []

    class Bench(bpy.types.RenderEngine):
        bl_idname, bl_label, bl_use_gpu_context = "EMO_BENCH", "Bench", True

        def render(self, depsgraph):
            try:
                outcome.append(work())
            except BaseException as error:
                outcome.append(error)

    bpy.utils.register_class(Bench)
    try:
        camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
        scene.collection.objects.link(camera)
        scene.camera, scene.render.engine = camera, "EMO_BENCH"
        scene.render.resolution_x = scene.render.resolution_y = 8
        bpy.ops.render.render()
    finally:
        bpy.utils.unregister_class(Bench)
    if not outcome or isinstance(outcome[0], SystemError):
        pytest.skip("no GPU context can be had here")
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def random_picture(scale=1.0):
    rng = np.random.default_rng(0)
    view = View.from_projection(PROJECTION, CAMERA, WIDTH, HEIGHT).scaled(scale)
    shape = (view.height, view.width)
    alpha = rng.uniform(0.2, 1, (*shape, 1))
    rgba = np.concatenate([rng.uniform(0, 1, (*shape, 3)) * alpha, alpha], axis=2)
    return Picture(view, (rgba * 255).astype(np.uint8), np.full(shape, 3.0, np.float32))


def window_depth(metres):
    return 0.5 * (PROJECTION[2, 2] * -metres + PROJECTION[2, 3]) / metres + 0.5


def drawn(picture, clip_from_world, scene_depth, depth_test=True):  # [H, W, 4], first row on top
    screen = gpu.types.GPUOffScreen(WIDTH, HEIGHT, format="RGBA32F")
    with screen.bind():
        buffer = gpu.state.active_framebuffer_get()
        buffer.clear(color=(0, 0, 0, 0), depth=scene_depth)
        drawing.Sheet().draw(picture, clip_from_world, depth_test=depth_test)
        colour = buffer.read_color(0, 0, WIDTH, HEIGHT, 4, 0, "FLOAT")
    colour.dimensions = WIDTH * HEIGHT * 4
    values = np.array(colour, np.float32).reshape(HEIGHT, WIDTH, 4)[::-1]
    screen.free()
    return values


def test_a_picture_lands_on_its_pixels_in_linear_light(scene):
    picture = random_picture()
    values = in_a_gpu_context(scene, lambda: drawn(picture, PROJECTION @ CAMERA, 1.0))
    np.testing.assert_allclose(values, scene_linear(picture.rgba), atol=1e-4)


def test_what_is_nearer_hides_splats_and_what_is_farther_does_not(scene):
    picture = random_picture()
    picture.depth[10:20, 20:30] = 5.0
    picture.depth[:, :5] = 0.0
    values = in_a_gpu_context(scene, lambda: drawn(picture, PROJECTION @ CAMERA, window_depth(4.0)))
    expected = scene_linear(picture.rgba)
    expected[10:20, 20:30] = expected[:, :5] = 0.0
    np.testing.assert_allclose(values, expected, atol=1e-4)
    picture.depth[10:20, 20:30] = 3.0
    values = in_a_gpu_context(scene, lambda: drawn(picture, PROJECTION @ CAMERA, window_depth(2.0), depth_test=False))
    np.testing.assert_allclose(values[10:20, 20:30], scene_linear(picture.rgba)[10:20, 20:30], atol=1e-4)


def test_a_picture_of_an_earlier_view_stays_where_it_was_in_the_world(scene):
    """Until the next one is there: the view has moved by 10 pixels at the depth of the picture."""
    picture = random_picture()
    moved = CAMERA.copy()
    moved[0, 3] += 10 * 3.0 / picture.view.K[0, 0]
    values = in_a_gpu_context(scene, lambda: drawn(picture, PROJECTION @ moved, 1.0))
    np.testing.assert_allclose(values[:, 11:], scene_linear(picture.rgba)[:, 1:-10], atol=2e-3)


def test_a_smaller_picture_fills_the_same_place(scene):
    picture = random_picture(0.5)
    flat = Picture(picture.view, np.full_like(picture.rgba, 128), picture.depth)
    flat.rgba[..., 3] = 255
    values = in_a_gpu_context(scene, lambda: drawn(flat, PROJECTION @ CAMERA, 1.0))
    np.testing.assert_allclose(values[..., 3], 1.0, atol=1e-4)


def drawn_in_viewports(thing):
    depsgraph = bpy.context.evaluated_depsgraph_get()
    return thing.name in {instance.object.name for instance in depsgraph.object_instances}


def test_heads_are_not_drawn_while_splats_are_shown_and_always_in_the_file(scene, add_astronaut, tmp_path):
    head = add_astronaut().emo_avatar.head
    head.display_type = "WIRE"  # the artist's own choice comes back
    scene.emo_avatar_view.show_splats = True
    assert not drawn_in_viewports(head)
    scene.emo_avatar_view.hide_heads = False
    assert drawn_in_viewports(head) and head.instance_type == "NONE" and head.display_type == "WIRE"
    scene.emo_avatar_view.hide_heads = True
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"), copy=True)
    assert not drawn_in_viewports(head)
    with bpy.data.libraries.load(str(tmp_path / "file.blend")) as (_, wanted):
        wanted.objects = [head.name]
    saved = wanted.objects[0]
    assert (saved.instance_type, saved.show_instancer_for_viewport, saved.display_type) == ("NONE", True, "WIRE")
    scene.emo_avatar_view.show_splats = False
    assert drawn_in_viewports(head)


def test_a_head_that_is_not_drawn_is_evaluated(scene, add_astronaut):
    head = add_astronaut().emo_avatar.head
    scene.emo_avatar_view.show_splats = True

    def corner():
        evaluated = head.evaluated_get(bpy.context.evaluated_depsgraph_get())
        return np.array([vertex.co for vertex in evaluated.data.vertices])

    before = corner()
    head.data.shape_keys.key_blocks["expr_000"].value = 2.0
    assert np.abs(corner() - before).max() > 1e-3


def test_a_head_that_has_lost_its_avatar_is_drawn_again(scene, add_astronaut):
    avatar = add_astronaut()
    head = avatar.emo_avatar.head
    scene.emo_avatar_view.show_splats = True
    assert not drawn_in_viewports(head)
    bpy.data.objects.remove(avatar)  # as Blender's X does
    bpy.context.view_layer.update()
    assert drawn_in_viewports(head)


def test_what_gets_a_head_that_is_not_drawn_as_its_parent_is_there_once(scene, add_astronaut):
    head = add_astronaut().emo_avatar.head
    scene.emo_avatar_view.show_splats = True
    hat = bpy.data.objects.new("Hat", bpy.data.meshes.new("Hat"))
    scene.collection.objects.link(hat)
    hat.parent = head
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    assert [instance.object.name for instance in depsgraph.object_instances].count("Hat") == 1
    assert head.display_type == "BOUNDS"


def test_an_avatar_is_shown_when_its_bones_or_its_head_are(scene, add_astronaut):
    avatar = add_astronaut()
    for splats in (False, True):
        scene.emo_avatar_view.show_splats = splats
        for bones, head, seen in ((True, False, 1), (False, True, 1), (False, False, 0), (True, True, 1)):
            avatar.hide_set(not bones)
            avatar.emo_avatar.head.hide_set(not head)
            assert len(shown.cast(bpy.context.evaluated_depsgraph_get()).avatars) == seen


def test_a_second_scene_with_the_avatar_does_not_show_its_head(scene, add_astronaut):
    avatar = add_astronaut()
    other = bpy.data.scenes.new("Other")
    other.collection.children.link(avatar.users_collection[0])
    scene.emo_avatar_view.show_splats = True
    assert not drawn_in_viewports(avatar.emo_avatar.head)


def test_where_the_overlay_draws(scene):
    assert not overlay.draws(scene, "SOLID", "CYCLES")
    scene.emo_avatar_view.show_splats = True
    for shading in ("WIREFRAME", "SOLID", "MATERIAL"):
        assert overlay.draws(scene, shading, "EMO_SPLATS")
    assert overlay.draws(scene, "RENDERED", "CYCLES")
    assert not overlay.draws(scene, "RENDERED", "EMO_SPLATS")  # the engine shows them itself


def test_instances_are_shown_where_they_stand(scene, add_astronaut):
    rig = add_astronaut()
    instance = bpy.data.objects.new("Instance", None)
    instance.instance_type, instance.instance_collection = "COLLECTION", rig.users_collection[0]
    instance.location = (1, 2, 3)
    scene.collection.objects.link(instance)
    bpy.context.view_layer.update()
    places = {
        tuple(np.round(each.world[:3, 3], 3)) for each in shown.cast(bpy.context.evaluated_depsgraph_get()).avatars
    }
    assert places == {(0, 0, 0), (1, 2, 3)}
