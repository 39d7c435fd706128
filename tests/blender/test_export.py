"""Every export, opened again and compared with what Blender showed."""

import json
import os
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace

import addon_utils
import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon import mainloop
from bl_ext.user_default.emo_avatar.emo_avatar_addon.errors import AddonError
from bl_ext.user_default.emo_avatar.emo_avatar_addon.export import native, pictures, takes
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model import flame, head_file, head_object, storage
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model.reference import Reference
from bl_ext.user_default.emo_avatar.emo_avatar_addon.ops import jobs
from bl_ext.user_default.emo_avatar.emo_avatar_addon.timeline import evaluation
from bl_ext.user_default.emo_avatar.emo_avatar_addon.timeline.motion import WIDTHS
from bl_ext.user_default.emo_avatar.emo_avatar_addon.view.picture import Picture
from mathutils import Quaternion

FRAMES = range(3, 9)
FPS = 25
EXACT = 1e-4  # metres
FIRST_TWO = {"frames": "CUSTOM", "frame_start": FRAMES[0], "frame_end": FRAMES[1]}


@pytest.fixture
def head(scene):
    """An open head that grimaces, nods and walks, as plain keys."""
    texture = bpy.data.images.new("Ada Skin", 8, 8)
    texture.generated_color = (1, 0, 0, 1)
    texture.pack()
    rig = head_object.create(bpy.context, head_file.load_open_head(), "Ada", texture)
    rig.emo_avatar.kind = "open"
    animate(scene, rig)
    return rig


def animate(scene, rig):
    scene.frame_start, scene.frame_end = FRAMES.start, FRAMES.stop - 1
    scene.render.fps, scene.render.fps_base = FPS, 1.0
    blocks = rig.emo_avatar.head.data.shape_keys.key_blocks
    bones = rig.pose.bones
    turns = (("neck", (0.3, 1, 0), 0.4), ("jaw", (1, 0, 0), 0.25), ("left_eye", (0, 0, 1), 0.2))
    for frame, amount in ((FRAMES.start, 0.0), (FRAMES.stop - 1, 1.0)):
        if rig.emo_avatar.kind == "avatar":  # what the backend moves is not keyed
            rig.emo_avatar.happy = amount
            rig.keyframe_insert("emo_avatar.happy", frame=frame)
        else:
            for name, peak in (("expr_000", 1.5), ("expr_007", -2.0)):
                blocks[name].value = amount * peak
                blocks[name].keyframe_insert("value", frame=frame)
        for name, axis, peak in turns[:1] if rig.emo_avatar.kind == "avatar" else turns:
            bones[name].rotation_quaternion = Quaternion(axis, amount * peak)
            bones[name].keyframe_insert("rotation_quaternion", frame=frame)
        rig.location = (0.1 * amount, 0, 0.05)
        rig.keyframe_insert("location", frame=frame)
    scene.frame_set(FRAMES.start)


def shown(mesh, frame):  # [V, 3] metres, Blender's world
    bpy.context.scene.frame_set(frame)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    evaluated = mesh.evaluated_get(depsgraph)
    data = evaluated.to_mesh()
    points = np.empty(len(data.vertices) * 3, np.float32)
    data.vertices.foreach_get("co", points)
    evaluated.to_mesh_clear()
    matrix = np.array(evaluated.matrix_world)
    return points.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]


def exported(format_name, path, **options):
    assert bpy.ops.emo_avatar.export(format=format_name, filepath=str(path), **options) == {"FINISHED"}
    return path


def imported(importer, path):
    """The mesh that comes out of a file."""
    before = set(bpy.data.objects)
    importer(filepath=str(path))
    return max(
        (thing for thing in set(bpy.data.objects) - before if thing.type == "MESH"),
        key=lambda thing: len(thing.data.vertices),
    )


def farthest(points, others):  # metres: from each of `points` to the nearest of `others`, some of them sampled
    sample = points[:: max(len(points) // 400, 1)]
    return max(np.sqrt(((others - point) ** 2).sum(1).min()) for point in sample)


@pytest.mark.parametrize(
    ("format_name", "suffix", "importer", "same_order"),
    [
        ("ALEMBIC", ".abc", lambda **kw: bpy.ops.wm.alembic_import(**kw, as_background_job=False), True),
        ("USD", ".usdz", bpy.ops.wm.usd_import, True),
        ("GLTF", ".glb", bpy.ops.import_scene.gltf, False),
        ("FBX", ".fbx", bpy.ops.import_scene.fbx, True),
    ],
)
def test_meshes_come_back_where_they_were(scene, head, tmp_path, format_name, suffix, importer, same_order):
    before = {frame: shown(head.emo_avatar.head, frame) for frame in FRAMES}
    assert np.abs(before[FRAMES[-1]] - before[FRAMES[0]]).max() > 0.02  # it does move
    data = {kind: len(getattr(bpy.data, kind)) for kind in ("objects", "meshes", "armatures", "actions", "scenes")}
    path = exported(format_name, tmp_path / f"ada{suffix}")
    assert {kind: len(getattr(bpy.data, kind)) for kind in data} == data  # nothing is left of the stage
    assert bpy.context.scene == scene and os.listdir(tmp_path) == [path.name]
    head.hide_viewport = True
    if format_name == "GLTF":  # its times are seconds
        scene.render.fps = FPS
    images = set(bpy.data.images)
    mesh = imported(importer, path)
    if format_name != "ALEMBIC":  # which has no materials
        assert any(image.size[:] == (8, 8) for image in set(bpy.data.images) - images)
    if format_name == "GLTF":  # Blender's importer leaves the sliders at 0 to 1, and so clamps what it has read
        for block in mesh.data.shape_keys.key_blocks:
            block.slider_min, block.slider_max = -10, 10
    offset = first_frame(mesh, format_name) - FRAMES.start
    for frame, points in before.items():
        after = shown(mesh, frame + offset)
        if same_order:
            assert np.abs(after - points).max() < EXACT, frame
        else:
            assert farthest(points, after) < EXACT, frame


@pytest.mark.parametrize(
    ("format_name", "suffix", "importer"),
    [("USD", ".usdz", "wm.usd_import"), ("GLTF", ".glb", "import_scene.gltf"), ("FBX", ".fbx", "import_scene.fbx")],
)
def test_the_texture_of_an_open_head_goes_along(scene, tmp_path, format_name, suffix, importer):
    """It is packed as a JPEG."""
    bpy.ops.emo_avatar.add_open_head(name="Ann")
    (size,) = {image.size[:] for image in bpy.data.images if image.packed_file is not None}
    path = exported(format_name, tmp_path / f"ann{suffix}", **FIRST_TWO)
    images = set(bpy.data.images)
    group, name = importer.split(".")
    imported(getattr(getattr(bpy.ops, group), name), path)
    assert any(image.size[:] == size for image in set(bpy.data.images) - images)


@pytest.mark.parametrize("overridden", [False, True], ids=["linked", "overridden"])
def test_avatars_of_libraries(scene, head, tmp_path, overridden):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    scene = bpy.context.scene
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (_, taken):
        taken.collections = ["Ada"]
    if overridden:
        taken.collections[0].override_hierarchy_create(scene, bpy.context.view_layer, do_fully_editable=True)
    else:
        scene.collection.children.link(taken.collections[0])
    scene.frame_start, scene.frame_end = FRAMES.start, FRAMES.stop - 1
    mesh = next(thing for thing in scene.objects if thing.type == "MESH")
    scene.render.fps = FPS
    before = {frame: shown(mesh, frame) for frame in FRAMES}
    assert np.abs(before[FRAMES[-1]] - before[FRAMES[0]]).max() > 0.02
    path = exported("ALEMBIC", tmp_path / "ada.abc", avatars="ALL")
    assert sorted(thing.name for thing in scene.objects) == ["Ada", "Ada Head"]
    after = imported(lambda **kw: bpy.ops.wm.alembic_import(**kw, as_background_job=False), path)
    for frame, points in before.items():
        assert np.abs(shown(after, frame) - points).max() < EXACT


@pytest.mark.parametrize(
    ("format_name", "suffix", "importer"),
    [
        ("ALEMBIC", ".abc", lambda **kw: bpy.ops.wm.alembic_import(**kw, as_background_job=False)),
        ("GLTF", ".glb", bpy.ops.import_scene.gltf),
    ],
)
def test_a_head_that_splats_stand_for_in_viewports_is_exported(scene, head, tmp_path, format_name, suffix, importer):
    mesh = head.emo_avatar.head
    before = shown(mesh, FRAMES[0])
    mesh.instance_type, mesh.show_instancer_for_viewport = "VERTS", False  # as the overlay does
    path = exported(format_name, tmp_path / f"ada{suffix}", **FIRST_TWO)
    assert mesh.instance_type == "VERTS"
    head.hide_viewport = True
    assert farthest(before, shown(imported(importer, path), FRAMES[0])) < 0.01


def first_frame(mesh, format_name):
    """Where the importer has put the first frame."""
    if format_name in ("ALEMBIC", "USD"):
        return FRAMES.start
    animation = mesh.data.shape_keys.animation_data
    return round(animation.action.frame_range[0])


def test_flame_parameters_give_the_same_face(scene, head, tmp_path):
    path = exported("FLAME", tmp_path / "ada.npz")
    with np.load(path) as file:
        arrays = dict(file)
    assert arrays["fps"] == FPS and arrays["head"] == "open" and len(arrays["expr"]) == len(FRAMES)
    poses = {"expr" if name == "expression" else name: name for name in WIDTHS}
    vertices = flame.vertices(
        head_file.load_open_head(), flame.Poses(**{name: arrays[key] for key, name in poses.items()})
    )
    for frame, points in zip(FRAMES, vertices, strict=True):
        world = head_object.to_blender(points)
        placed = shown(head.emo_avatar.head, frame) - np.array(head.matrix_world.translation)
        assert np.abs(world - placed).max() < EXACT


def test_a_moved_root_comes_back_as_rotation_and_translation(scene, head):
    """FLAME's joints move with the expression, Blender's bones do not."""
    rng = np.random.default_rng(0)
    widths = {"expression": 100, "rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6, "translation": 3}
    asked = {name: rng.normal(size=(1, width)) * 0.3 for name, width in widths.items()}
    kinematics = storage.read_rig(head).kinematics
    values = flame.rig_values(kinematics, flame.Poses(**asked))
    head.animation_data_clear()
    head.emo_avatar.head.data.shape_keys.animation_data.action = None
    head_object.apply(head, values, 0)
    take = takes.Take.of(head, [1.0])
    takes.Stage(Reference.to(scene), bpy.context.view_layer.name, [take]).sample(0)
    for name, array in take.poses().items():
        np.testing.assert_allclose(array, asked[name], atol=1e-5)


def test_another_rate_samples_between_frames(scene, head, tmp_path):
    path = exported("FLAME", tmp_path / "ada.npz", own_fps=True, fps=50.0)
    with np.load(path) as file:
        assert file["fps"] == 50 and len(file["expr"]) == 2 * len(FRAMES) - 1
        steps = np.diff(file["jaw_pose"][:, 0])
    assert (steps > 0).all()


def test_custom_frames_and_several_avatars(scene, head, tmp_path):
    other = head_object.create(bpy.context, head_file.load_open_head(), "Bob", None)
    other.emo_avatar.kind = "open"
    other.location.x = 0.5
    exported("FLAME", tmp_path / "all.npz", avatars="ALL", frames="CUSTOM", frame_start=4, frame_end=5)
    assert sorted(os.listdir(tmp_path)) == ["all_Ada.npz", "all_Bob.npz"]
    exported("USD", tmp_path / "all.usdz", avatars="ALL")
    before = set(bpy.data.objects)
    bpy.ops.wm.usd_import(filepath=str(tmp_path / "all.usdz"))
    assert len([thing for thing in set(bpy.data.objects) - before if thing.type == "MESH"]) == 2


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"filepath": "/no/such/folder/a.npz"}, "no folder"),
        ({"filepath": ""}, "choose a file name"),
        ({"frames": "CUSTOM", "frame_start": 9, "frame_end": 3}, "comes before"),
        ({"frames": "CUSTOM", "frame_start": 1, "frame_end": 50_000}, "too many"),
        ({"format": "PLY"}, "open head"),
        ({"avatars": "SELECTED"}, "No avatar is selected"),
    ],
)
def test_what_cannot_be_exported_is_told_before_the_work(scene, head, tmp_path, options, why):
    head.select_set(False)
    scene.frame_set(5)
    options = {"format": "FLAME", "filepath": str(tmp_path / "a.npz")} | options
    with pytest.raises(RuntimeError, match=why):
        bpy.ops.emo_avatar.export(**options)
    assert os.listdir(tmp_path) == [] and scene.frame_current == 5


def test_a_format_that_this_blender_lacks_is_told_before_the_work(scene, head, tmp_path):
    """Distributions build without Alembic; add-ons can be switched off."""
    addon_utils.disable("io_scene_fbx")
    try:
        with pytest.raises(RuntimeError, match="switched off"):
            bpy.ops.emo_avatar.export(format="FBX", filepath=str(tmp_path / "a.fbx"))
    finally:
        addon_utils.enable("io_scene_fbx")
    assert os.listdir(tmp_path) == []


def test_an_existing_file_is_replaced_only_when_asked(scene, head, tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("the artist's")
    with pytest.raises(RuntimeError, match="exists"):
        bpy.ops.emo_avatar.export(format="FLAME", filepath=str(path))
    assert path.read_text() == "the artist's"
    exported("FLAME", path, overwrite=True)
    assert zipfile.is_zipfile(path)


def test_the_frame_that_is_shown_stays(scene, head, tmp_path):
    scene.frame_set(7)
    exported("FLAME", tmp_path / "a.npz")
    assert scene.frame_current == 7


def test_an_exporter_that_fails_says_so_in_one_sentence(scene, head, tmp_path, monkeypatch):
    def fail(**_):
        raise RuntimeError(
            "Error: Python: Traceback (most recent call last):\n  File x\nOSError: No space left on device\n"
        )

    monkeypatch.setitem(native._EXPORTERS, "GLTF", fail)
    monkeypatch.setattr(native, "missing", lambda _: None)
    with pytest.raises(RuntimeError, match="could not export this: OSError: No space left on device") as refused:
        bpy.ops.emo_avatar.export(format="GLTF", filepath=str(tmp_path / "a.glb"))
    assert "Traceback" not in str(refused.value) and os.listdir(tmp_path) == []
    assert [scene.name for scene in bpy.data.scenes] == [scene.name]


@pytest.mark.parametrize(
    ("format_name", "suffix", "half"),
    [("ALEMBIC", ".abc", b"Ogawa\x00\x00\x01"), ("USD", ".usdz", b"PK\x03\x04")],
)
def test_half_a_file_is_not_taken_for_an_export(scene, head, tmp_path, monkeypatch, format_name, suffix, half):
    """On a disk that fills up, Blender's own exporters may end without a word."""
    monkeypatch.setitem(native._EXPORTERS, format_name, lambda filepath, **_: Path(filepath).write_bytes(half))
    monkeypatch.setattr(native, "missing", lambda _: None)
    with pytest.raises(RuntimeError, match="could not write all of it"):
        bpy.ops.emo_avatar.export(format=format_name, filepath=str(tmp_path / f"a{suffix}"))
    assert os.listdir(tmp_path) == []


def test_a_picture_that_blender_cannot_write_is_told_in_one_sentence(tmp_path):
    picture = Picture(SimpleNamespace(setback=0.0), np.zeros((4, 4, 4), np.float32), np.zeros((4, 4), np.float32))
    (tmp_path / "file").touch()
    with pytest.raises(AddonError, match="could not write a.exr"):
        pictures.write_exr(tmp_path / "file" / "a.exr", picture)


def test_names_are_the_artists(scene, head, tmp_path):
    exported("GLTF", tmp_path / "ada.glb", **FIRST_TWO)
    data = (tmp_path / "ada.glb").read_bytes()
    document = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    assert [mesh["name"] for mesh in document["meshes"]] == [head.emo_avatar.head.data.name] == ["Ada Head"]
    assert {"Ada", "Ada Head"} <= {node["name"] for node in document["nodes"]}


# --- while the artist goes on


@pytest.fixture
def recording(scene, head):
    """A long recording in its thread, begun; the job."""
    stage = takes.Stage(
        Reference.to(scene), bpy.context.view_layer.name, [takes.Take.of(head, [float(n) for n in range(1, 2001)])]
    )
    job = jobs.Job("Recording")
    job.start(lambda job: stage.record(job, 1.0))
    assert mainloop.drain(lambda: job.fraction > 0, 60)
    yield job
    job.cancel()
    assert mainloop.drain(lambda: job.done, 60)


def test_another_file_ends_an_export_and_is_left_alone(recording):
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.context.scene.frame_set(77)
    assert mainloop.drain(lambda: recording.done, 60)
    with pytest.raises(AddonError, match="is gone"):
        recording.outcome()
    assert bpy.context.scene.frame_current == 77


def test_undo_and_renaming_do_not_end_an_export(scene, head):
    bpy.ops.ed.undo_push(message="before")
    head.location.z = 5
    bpy.ops.ed.undo_push(message="moved")
    stage = takes.Stage(
        Reference.to(scene), bpy.context.view_layer.name, [takes.Take.of(head, [float(n) for n in range(1, 101)])]
    )
    job = jobs.Job("Recording")
    job.start(lambda job: stage.record(job, 1.0))
    assert mainloop.drain(lambda: job.fraction > 0, 60)
    bpy.ops.ed.undo()
    bpy.data.objects["Ada"].name = "Eve"
    assert mainloop.drain(lambda: job.done, 60)
    job.outcome()
    assert stage.takes[0].world[-1].any()


def test_cancelled_export_shows_the_frame_that_was_shown(recording):
    bpy.context.scene.frame_set(77)  # the recording goes on to other frames
    recording.cancel()
    assert mainloop.drain(lambda: recording.done, 60)
    with pytest.raises(jobs.Cancelled):
        recording.outcome()
    assert bpy.context.scene.frame_current == FRAMES.start


# --- with splats


@pytest.fixture
def astronaut_alive(scene, add_astronaut):
    rig = add_astronaut()
    animate(scene, rig)
    assert evaluation.settle()
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    camera.location, camera.rotation_euler = (0, -1.0, 0.0), (np.pi / 2, 0, 0)
    scene.camera = camera
    scene.render.resolution_x, scene.render.resolution_y = 120, 90
    return rig


def test_splats_as_ply(scene, astronaut_alive, backend, tmp_path):
    exported("PLY", tmp_path / "splats", **FIRST_TWO)
    assert sorted(os.listdir(tmp_path / "splats")) == ["00001.ply", "00002.ply"]
    assert os.listdir(tmp_path) == ["splats"]
    count = backend.client.avatar(astronaut_alive.emo_avatar.avatar_id)["gaussians"]
    frames = [vertices_of_ply(tmp_path / "splats" / name, count) for name in ("00001.ply", "00002.ply")]
    assert 1e-4 < np.abs(frames[1] - frames[0]).max() < 0.05


def vertices_of_ply(path, count):  # [N, 3]
    header, body = path.read_bytes().split(b"end_header\n", 1)
    assert f"element vertex {count}".encode() in header and b"f_dc_0" in header
    floats = header.count(b"property float")
    return np.frombuffer(body, "<f4").reshape(count, floats)[:, :3]


def test_pictures_are_what_f12_shows(scene, astronaut_alive, tmp_path, read_exr):
    exported("PNG", tmp_path / "png", **FIRST_TWO)
    exported("EXR", tmp_path / "exr", **FIRST_TWO)
    assert sorted(os.listdir(tmp_path / "exr")) == ["00001.exr", "00002.exr"]
    scene.render.engine, scene.render.film_transparent, scene.render.dither_intensity = "EMO_SPLATS", True, 0
    scene.view_settings.view_transform = "Standard"
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    for number, frame in ((1, FRAMES[0]), (2, FRAMES[1])):
        scene.frame_set(frame)
        settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGBA", "8"
        scene.render.filepath = str(tmp_path / "f12.png")
        bpy.ops.render.render(write_still=True)
        f12, own = (pixels(path) for path in (tmp_path / "f12.png", tmp_path / "png" / f"{number:05d}.png"))
        solid = f12[..., 3] > 0.97
        assert solid.mean() > 0.05 and np.abs(f12 - own)[solid].max() <= 2 / 255
        settings.file_format = "OPEN_EXR"
        scene.render.filepath = str(tmp_path / "f12.exr")
        bpy.ops.render.render(write_still=True)
        linear, own = (pixels(path) for path in (tmp_path / "f12.exr", tmp_path / "exr" / f"{number:05d}.exr"))
        np.testing.assert_allclose(own, linear, atol=2e-3)


def pixels(path):
    image = bpy.data.images.load(str(path))
    image.alpha_mode = "CHANNEL_PACKED"
    values = np.empty(image.size[0] * image.size[1] * 4, np.float32)
    image.pixels.foreach_get(values)
    values = values.reshape(image.size[1], image.size[0], 4)
    bpy.data.images.remove(image)
    return values


def test_a_video_shows_everybody_in_every_frame(scene, astronaut_alive, add_astronaut, backend_python, tmp_path):
    second = add_astronaut("Second")
    second.location, second.scale = (0.25, 0.1, 0.0), (0.5, 0.5, 0.5)
    options = {"avatars": "ALL", **FIRST_TWO}
    exported("MP4", tmp_path / "film.mp4", background=(0.0, 1.0, 0.0), **options)
    clip = bpy.data.movieclips.load(str(tmp_path / "film.mp4"))
    assert (tuple(clip.size), clip.frame_duration) == ((120, 90), 2)
    assert clip.fps == pytest.approx(FPS)
    exported("PNG", tmp_path / "png", **options)
    alone = pixels(tmp_path / "png" / "00001.png")
    script = "import av, sys; next(av.open(sys.argv[1]).decode(video=0)).to_image().save(sys.argv[2])"
    subprocess.run([backend_python, "-c", script, tmp_path / "film.mp4", tmp_path / "first.png"], check=True)
    film = pixels(tmp_path / "first.png")
    before_green = alone[..., :3] * alone[..., 3:] + (1 - alone[..., 3:]) * (0.0, 1.0, 0.0)
    assert alone[:, 75:, 3].mean() > 0.03
    assert np.abs(film[..., :3] - before_green).mean() < 0.04
