"""Views of Blender cameras and viewports against Blender's own projections."""

import random
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon.errors import AddonError
from bl_ext.user_default.emo_avatar.emo_avatar_addon.view import viewport
from bl_ext.user_default.emo_avatar.emo_avatar_addon.view.camera import border_pixels
from bl_ext.user_default.emo_avatar.emo_avatar_addon.view.shown import Cast
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Matrix, Quaternion, Vector


def random_camera(scene, rng):
    data = bpy.data.cameras.new("Camera")
    data.lens = rng.uniform(15, 200)
    data.sensor_fit = rng.choice(["AUTO", "HORIZONTAL", "VERTICAL"])
    data.sensor_width, data.sensor_height = rng.uniform(10, 60), rng.uniform(10, 60)
    data.shift_x, data.shift_y = rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6)
    data.clip_start, data.clip_end = rng.uniform(0.001, 0.2), rng.uniform(20, 2000)
    camera = bpy.data.objects.new("Camera", data)
    scene.collection.objects.link(camera)
    turn = Quaternion([rng.gauss(0, 1) for _ in range(4)]).normalized()
    place = Vector([rng.uniform(-3, 3) for _ in range(3)])
    camera.matrix_world = Matrix.LocRotScale(place, turn, Vector([rng.uniform(0.3, 3) for _ in range(3)]))
    scene.camera = camera
    render = scene.render
    # Whole pixels at every percentage: world_to_camera_view does not round the picture's size as renders do.
    render.resolution_x, render.resolution_y = 100 * rng.randint(1, 30), 100 * rng.randint(1, 30)
    render.resolution_percentage = rng.choice([100, 50, 37, 200])
    render.pixel_aspect_x, render.pixel_aspect_y = rng.choice([(1, 1), (2, 1), (1, 1.5)])
    return camera


def picture_of(scene):
    percent = scene.render.resolution_percentage
    return scene.render.resolution_x * percent // 100, scene.render.resolution_y * percent // 100


def before(camera, rng, depth):  # points that the camera sees or nearly sees
    frame = camera.matrix_world.normalized()
    return [frame @ Vector((rng.uniform(-0.3, 0.3), rng.uniform(-0.3, 0.3), -depth - rng.random())) for _ in range(10)]


@pytest.mark.parametrize("seed", range(25))
def test_perspective_cameras_project_as_blender_says(scene, seed):
    rng = random.Random(seed)
    camera = random_camera(scene, rng)
    width, height = picture_of(scene)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    view = viewport.camera_view(camera, depsgraph, width, height, Cast())
    points = before(camera, rng, 1.0)
    pixels, depth = view.project(np.array(points))
    for point, pixel, z in zip(points, pixels, depth, strict=True):
        x, y, distance = world_to_camera_view(scene, camera, point)
        assert pixel == pytest.approx((x * width, (1 - y) * height), abs=0.01)
        assert z == pytest.approx(distance, abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_orthographic_cameras_are_within_half_a_pixel(scene, seed):
    rng = random.Random(seed)
    camera = random_camera(scene, rng)
    camera.data.type = "ORTHO"
    camera.data.ortho_scale = 0.6
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 800, 1000, 100
    scene.render.pixel_aspect_x = scene.render.pixel_aspect_y = 1
    bpy.context.view_layer.update()
    view_axis = camera.matrix_world.normalized()
    points = [view_axis @ Vector([rng.uniform(-0.15, 0.15) for _ in range(2)] + [-4]) for _ in range(10)]
    place = Matrix.Translation(view_axis @ Vector((0, 0, -4)))
    cast = Cast((SimpleNamespace(world=np.array(place)),))
    view = viewport.camera_view(camera, bpy.context.evaluated_depsgraph_get(), 800, 1000, cast)
    pixels, depth = view.project(np.array(points))
    for point, pixel, z in zip(points, pixels, depth, strict=True):
        x, y, distance = world_to_camera_view(scene, camera, point)
        assert pixel == pytest.approx((x * 800, (1 - y) * 1000), abs=0.5)
        assert z == pytest.approx(distance, abs=1e-4)


def test_a_panoramic_camera_is_refused_in_words(scene):
    camera = random_camera(scene, random.Random(0))
    camera.data.type = "PANO"
    with pytest.raises(AddonError, match="panoramic"):
        viewport.camera_view(camera, bpy.context.evaluated_depsgraph_get(), 100, 100, Cast())
    with pytest.raises(AddonError, match="no camera"):
        viewport.camera_view(None, bpy.context.evaluated_depsgraph_get(), 100, 100, Cast())


def test_a_region_is_seen_through_its_own_matrices(scene):
    camera = random_camera(scene, random.Random(3))
    depsgraph = bpy.context.evaluated_depsgraph_get()
    window = camera.calc_matrix_camera(depsgraph, x=640, y=480) @ Matrix.Identity(4)
    window[0][2] += 0.3  # as a viewport's camera view that is panned
    region_3d = SimpleNamespace(window_matrix=window, view_matrix=camera.matrix_world.normalized().inverted())
    view = viewport.region_view(SimpleNamespace(width=640, height=480), region_3d, Cast())
    points = before(camera, random.Random(1), 2.0)
    pixels, _ = view.project(np.array(points))
    for point, pixel in zip(points, pixels, strict=True):
        clip = window @ region_3d.view_matrix @ point.to_4d()
        at = ((clip.x / clip.w + 1) * 320, (1 - clip.y / clip.w) * 240)
        assert pixel == pytest.approx(at, abs=0.01)


@pytest.mark.parametrize("seed", range(8))
def test_borders_are_rounded_as_blender_rounds_them(scene, seed):
    """The size that Blender gives a render result with this border."""
    rng = random.Random(seed)
    random_camera(scene, rng)
    render = scene.render
    render.resolution_percentage = 50
    render.use_border = True
    render.border_min_x, render.border_max_x = sorted((rng.random(), rng.random()))
    render.border_min_y, render.border_max_y = sorted((rng.random(), rng.random()))
    sizes = []

    class Probe(bpy.types.RenderEngine):
        bl_idname, bl_label = "EMO_PROBE", "Probe"

        def render(self, depsgraph):
            result = self.begin_result(0, 0, 10**6, 10**6)
            sizes.append((result.resolution_x, result.resolution_y))
            self.end_result(result)

    bpy.utils.register_class(Probe)
    try:
        render.engine = "EMO_PROBE"
        bpy.ops.render.render()
    finally:
        bpy.utils.unregister_class(Probe)
    border = (render.border_min_x, render.border_min_y, render.border_max_x, render.border_max_y)
    left, top, width, height = border_pixels(border, *picture_of(scene))
    assert [(width, height)] == sizes
