"""F12 with the engine "Emo Splats", the real backend, and an avatar of a real photograph."""

import math
import subprocess
import threading
from dataclasses import replace

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon.link import session as link
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model.head_object import WORLD_FROM_FLAME
from bl_ext.user_default.emo_avatar.emo_avatar_addon.view import engine, shown, source
from bl_ext.user_default.emo_avatar.emo_avatar_addon.view.picture import FAR, encode_srgb
from bl_ext.user_default.emo_avatar.emo_avatar_addon.view.viewport import camera_view
from mathutils import Matrix, Quaternion, Vector

SIZE = 400


def look_at(scene, client, rig, fov=20.0):
    """The camera of the command line's `render`, the scene set up as the artist would."""
    framing = client.avatar(rig.emo_avatar.avatar_id)["framing"]
    distance = framing["half_height"] / math.tan(math.radians(fov) / 2)
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    camera.data.angle = math.radians(fov)
    camera.matrix_world = WORLD_FROM_FLAME @ Matrix.Translation(Vector(framing["target"]) + Vector((0, 0, distance)))
    scene.camera = camera
    scene.render.engine = "EMO_SPLATS"
    scene.render.resolution_x = scene.render.resolution_y = SIZE
    scene.render.film_transparent = True
    scene.view_settings.view_transform = "Standard"
    scene.render.dither_intensity = 0
    scene.view_layers[0].use_pass_z = True
    return camera


def write(scene, path, file_format="PNG", depth="8"):
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "MULTI_LAYER_IMAGE" if "MULTILAYER" in file_format else "IMAGE"
    settings.file_format, settings.color_mode, settings.color_depth = file_format, "RGBA", depth
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    return path


def pixels(path):  # [H, W, 4] as stored, first row on top
    image = bpy.data.images.load(str(path))
    image.alpha_mode = "CHANNEL_PACKED"
    values = np.empty(image.size[0] * image.size[1] * 4, np.float32)
    image.pixels.foreach_get(values)
    values = values.reshape(image.size[1], image.size[0], 4)[::-1]
    bpy.data.images.remove(image)
    return values


@pytest.fixture
def portrait(scene, backend, add_astronaut):
    rig = add_astronaut()
    look_at(scene, backend.client, rig)
    return rig


def test_the_picture_is_the_command_lines(scene, portrait, astronaut, backend_python, tmp_path):
    rendered = pixels(write(scene, tmp_path / "blender.png"))
    (tmp_path / "a.emoavatar").write_bytes(astronaut)
    command = "import sys; from emo_avatar.cli import app; app()"
    arguments = ["render", tmp_path / "a.emoavatar", "-o", tmp_path / "own.png", "--size", str(SIZE), "--device", "cpu"]
    subprocess.run([backend_python, "-c", command, *arguments], check=True, capture_output=True, timeout=1200)
    own = pixels(tmp_path / "own.png")
    assert rendered[..., 3].mean() > 0.3
    difference = np.abs(rendered - own)  # Blender's camera matrix is in single precision
    assert difference[..., 3].max() <= 6 / 255 and difference[..., 3].mean() <= 0.1 / 255
    solid = own[..., 3] > 0.98
    assert difference[solid].max() <= 6 / 255 and difference[solid].mean() <= 0.5 / 255


def test_what_is_posed_is_what_is_rendered(scene, portrait, tmp_path):
    """Shape keys and bones posed by hand come back as FLAME parameters, and change the picture."""
    neutral = pixels(write(scene, tmp_path / "neutral.png"))
    portrait.emo_avatar.head.data.shape_keys.key_blocks["expr_003"].value = 1.5
    portrait.pose.bones["jaw"].rotation_quaternion = Quaternion((1, 0, 0), 0.3)
    portrait.pose.bones["neck"].rotation_quaternion = Quaternion((0, 1, 0), 0.4)
    portrait.pose.bones["global"].location = (0.01, 0.02, 0.0)
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    pose = shown.read_pose(portrait.evaluated_get(depsgraph), depsgraph)
    assert pose["expression"][3] == pytest.approx(1.5) and np.count_nonzero(pose["expression"]) == 1
    np.testing.assert_allclose(pose["jaw_pose"], (0.3, 0, 0), atol=1e-5)
    np.testing.assert_allclose(pose["neck_pose"], (0, 0.4, 0), atol=1e-5)
    np.testing.assert_allclose(pose["translation"], (0.01, 0.02, 0.0), atol=1e-5)
    posed = pixels(write(scene, tmp_path / "posed.png"))
    assert np.abs(posed - neutral).mean() > 0.01


def test_emotion_colours_the_skin_too(scene, portrait):
    """The same face, posed by hand, is another colour when the person is angry at half strength."""
    portrait.emo_avatar.angry, portrait.emo_avatar.strength = 1.0, 0.5
    portrait.emo_avatar.keyframe_insert("angry", frame=scene.frame_current)
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    (person,) = shown.cast(depsgraph).avatars
    np.testing.assert_allclose(person.emotions, [0, 0, 0.5, 0, 0, 0])
    view = camera_view(scene.camera, depsgraph, SIZE, SIZE, shown.cast(depsgraph))
    felt = source.final_picture(view, [person]).rgba
    unfelt = source.final_picture(view, [replace(person, emotions=np.zeros(6, np.float32))]).rgba
    np.testing.assert_array_equal(felt[..., 3], unfelt[..., 3])
    assert np.abs(felt - unfelt).max() > 2 / 255


def test_depth_and_scene_linear_colours_in_an_exr(scene, portrait, read_exr, tmp_path):
    display = pixels(write(scene, tmp_path / "display.png"))
    scene.render.image_settings.exr_codec = "NONE"
    if hasattr(scene.render.image_settings, "use_exr_interleave"):  # from 5.0 on layers are files within the file
        scene.render.image_settings.use_exr_interleave = True
    layers = read_exr(write(scene, tmp_path / "layers.exr", "OPEN_EXR_MULTILAYER", "32"))
    layer = scene.view_layers[0].name
    alpha, depth = layers[f"{layer}.Combined.A"], next(layers[name] for name in layers if ".Depth." in name)
    face = alpha > 0.999
    assert face.mean() > 0.2
    for index, name in enumerate("RGB"):
        straight = encode_srgb(layers[f"{layer}.Combined.{name}"][face])
        np.testing.assert_allclose(np.clip(straight, 0, 1), display[face][:, index], atol=2 / 255)
    distance = (scene.camera.matrix_world.translation - portrait.matrix_world.translation).length
    assert np.abs(depth[face] - distance).max() < 0.3
    assert (depth[alpha == 0] == FAR).all()


@pytest.mark.parametrize("crop", [False, True])
def test_a_border_is_the_same_part_of_the_picture(scene, portrait, tmp_path, crop):
    whole = pixels(write(scene, tmp_path / "whole.png"))
    render = scene.render
    render.use_border, render.use_crop_to_border = True, crop
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = 0.2, 0.7, 0.35, 0.8
    part = pixels(write(scene, tmp_path / "part.png"))
    x, y = slice(round(0.2 * SIZE), round(0.7 * SIZE)), slice(round(0.2 * SIZE), round(0.65 * SIZE))
    if crop:
        assert np.abs(part - whole[y, x]).max() < 1.5 / 255
    else:
        assert np.abs(part[y, x] - whole[y, x]).max() < 1.5 / 255
        outside = np.ones((SIZE, SIZE), bool)
        outside[y, x] = False
        assert not part[outside].any()


def test_an_opaque_film_shows_the_worlds_colour(scene, portrait, tmp_path):
    scene.render.film_transparent = False
    scene.world = bpy.data.worlds.new("World")
    scene.world.color = (0.0, 1.0, 0.0)
    picture = pixels(write(scene, tmp_path / "opaque.png"))
    assert (picture[..., 3] == 1).all()
    np.testing.assert_allclose(picture[0, 0], (0, 1, 0, 1), atol=1 / 255)


def test_several_avatars_with_places_of_their_own(scene, portrait, add_astronaut, tmp_path):
    alone = pixels(write(scene, tmp_path / "one.png"))
    second = add_astronaut("Second")
    second.location, second.scale = (0.35, 0.0, 0.0), (0.5, 0.5, 0.5)
    scene.camera.data.angle = math.radians(40)
    both = pixels(write(scene, tmp_path / "two.png"))
    assert len(shown.cast(bpy.context.evaluated_depsgraph_get()).avatars) == 2
    left, right = both[:, : SIZE // 2, 3].mean(), both[:, SIZE * 3 // 4 :, 3].mean()
    assert left > 0.1 and 0.03 < right < left
    second.hide_render = second.emo_avatar.head.hide_render = True
    scene.camera.data.angle = math.radians(20)
    np.testing.assert_allclose(pixels(write(scene, tmp_path / "hidden.png")), alone, atol=1 / 255)


def test_a_stretched_avatar_is_told(scene, portrait):
    portrait.scale = (1, 1, 2)
    bpy.context.view_layer.update()
    cast = shown.cast(bpy.context.evaluated_depsgraph_get())
    assert any("stretched" in note for note in cast.notes)


def test_nothing_is_shown_silently(scene, tmp_path, capfd):
    """No avatar, or an open head only: the picture is empty, and the reason is said."""
    from bl_ext.user_default.emo_avatar.emo_avatar_addon.model import head_file, head_object

    rig = head_object.create(bpy.context, head_file.load_open_head(), "Open", None)
    rig.emo_avatar.kind = "open"
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    scene.camera, scene.render.engine, scene.render.film_transparent = camera, "EMO_SPLATS", True
    scene.render.resolution_x = scene.render.resolution_y = 16
    scene.render.dither_intensity = 0
    cast = shown.cast(bpy.context.evaluated_depsgraph_get())
    assert cast.avatars == () and "no splats" in cast.notes[0]
    assert not pixels(write(scene, tmp_path / "nothing.png")).any()
    assert "Open has no splats" in "".join(capfd.readouterr())


def test_a_dead_backend_is_an_error_in_words(scene, portrait, backend, tmp_path):
    location = backend.location
    backend.stop(timeout=60.0)
    backend.start(link.Remote("http://127.0.0.1:9", "nobody"))
    try:
        with pytest.raises(RuntimeError, match="backend"):
            write(scene, tmp_path / "dead.png")
    finally:
        backend.start(location)
        backend.wait_ready(600.0)


def test_a_panoramic_camera_is_refused_in_one_sentence(scene, portrait):
    scene.camera.data.type = "PANO"
    with pytest.raises(RuntimeError) as refused:
        bpy.ops.render.render()
    assert str(refused.value).strip().splitlines() == [
        "Error: Splats are drawn by perspective and orthographic cameras, not by panoramic ones."
    ]


def test_blenders_panels_know_the_engine():
    assert engine.ENGINE in bpy.types.RENDER_PT_format.COMPAT_ENGINES
    assert engine.ENGINE in bpy.types.RENDER_PT_color_management.COMPAT_ENGINES
    assert engine.ENGINE not in bpy.types.RENDER_PT_freestyle.COMPAT_ENGINES


def test_cancelling_does_not_wait_for_the_backend():
    release, answered = threading.Event(), []
    assert source.cancellable(lambda: answered.append(release.wait(600)), lambda: True) is None
    assert not answered
    release.set()
    assert source.cancellable(lambda: 7, lambda: False) == 7
    with pytest.raises(KeyError):
        source.cancellable(lambda: {}["no"], lambda: False)


def test_an_avatar_that_the_backend_has_lost_is_sent_again_from_the_file(
    scene, portrait, backend, monkeypatch, tmp_path
):
    """As after a restart: the .blend holds everything."""
    unknown = "0" * 64
    portrait.emo_avatar.avatar_id = unknown
    sent = []
    client = type(backend.client)
    monkeypatch.setattr(client, "put_avatar", lambda self, name, data: sent.append((name, len(data))) or {})
    with pytest.raises(RuntimeError, match="avatar"):
        write(scene, tmp_path / "lost.png")  # this backend cannot take it: the bytes are another avatar's
    assert sent == [(unknown, len(portrait.emo_avatar.head.data["emo_avatar_file"]))]
