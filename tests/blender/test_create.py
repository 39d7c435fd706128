"""Making avatars, with the real backend and a real photograph."""

import hashlib
import io
import os
import subprocess
import time
import types
import zipfile
from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon.link import client as link
from bl_ext.user_default.emo_avatar.emo_avatar_addon.model import (
    arkit,
    flame,
    head_file,
    head_object,
    portrait,
    properties,
    storage,
)
from bl_ext.user_default.emo_avatar.emo_avatar_addon.ops import (
    avatar_files,
    boundary,
    jobs,
    making,
    open_head,
    portraits,
)

LAM_SAMPLE = Path(__file__).parents[1] / "data" / "lam_avatar_sample.zip"


@pytest.fixture(scope="module")
def photo(backend_python, tmp_path_factory):
    """NASA's portrait of Eileen Collins, which scikit-image carries."""
    path = tmp_path_factory.mktemp("photos") / "eileen_collins.png"
    save = "import sys, skimage.data, PIL.Image as I; I.fromarray(skimage.data.astronaut()).save(sys.argv[1])"
    subprocess.run([backend_python, "-c", save, path], check=True)
    return path


@pytest.fixture
def quick(monkeypatch):
    """Small textures: what is painted on them is tested elsewhere."""
    monkeypatch.setattr(making, "TEXTURE_SIZE", 256)


def positions(avatar):  # [V, 3] FLAME axes, as Blender evaluates them
    mesh = avatar.emo_avatar.head.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    points = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", points)
    return head_object.from_blender(points.reshape(-1, 3))


def found():
    return list(properties.avatars(bpy.context.scene))


# --- the open head, without a backend


def test_open_head():
    assert bpy.ops.emo_avatar.add_open_head(name="Ann") == {"FINISHED"}
    (avatar,) = found()
    assert (avatar.name, avatar.emo_avatar.kind, avatar.emo_avatar.version) == ("Ann", "open", properties.VERSION)
    assert bpy.context.object is avatar
    assert all(avatar[name] == 0.0 for name in arkit.ARKIT_NAMES)
    np.testing.assert_allclose(positions(avatar), head_file.open_head().v_template, atol=1e-6)
    images = [
        node.image
        for m in avatar.emo_avatar.head.data.materials
        for node in m.node_tree.nodes
        if hasattr(node, "image")
    ]
    assert len(set(images)) == 1 and images[0].packed_file


def test_random_person_is_a_seed():
    for seed in (3, 3, 4):
        bpy.ops.emo_avatar.add_open_head(random=True, seed=seed)
    first, second, third = found()
    np.testing.assert_array_equal(positions(first), positions(second))
    assert np.abs(positions(first) - positions(third)).max() > 1e-3
    assert len({first.name, second.name, third.name}) == 3
    person = head_file.open_head().with_identity(first.emo_avatar.identity)
    np.testing.assert_allclose(positions(first), person.v_template, atol=1e-6)


def test_identity_sliders_are_live():
    bpy.ops.emo_avatar.add_open_head()
    (avatar,) = found()
    changed = []
    properties.listeners.append(changed.append)
    try:
        avatar.emo_avatar.identity[2] = 2.0
    finally:
        properties.listeners.remove(changed.append)
    person = head_file.open_head().with_identity(np.eye(20)[2] * 2)
    np.testing.assert_allclose(positions(avatar), person.v_template, atol=1e-6)
    np.testing.assert_allclose(storage.read_rig(avatar).kinematics.joints, flame.kinematics(person).joints, atol=1e-7)
    assert set(changed) == {avatar}
    assert bpy.ops.emo_avatar.random_person(seed=5) == {"FINISHED"}
    np.testing.assert_allclose(avatar.emo_avatar.identity, open_head.random_identity(5, 1.0), atol=1e-6)


def test_adding_from_edit_mode():
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.emo_avatar.add_open_head()
    assert bpy.context.mode == "OBJECT" and bpy.context.object == found()[0]


def test_undo_takes_it_back():
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.emo_avatar.add_open_head("EXEC_DEFAULT", True)
    assert len(found()) == 1
    bpy.ops.ed.undo()
    assert not found() and not bpy.data.meshes
    bpy.ops.ed.redo()
    (avatar,) = found()
    np.testing.assert_allclose(positions(avatar), head_file.open_head().v_template, atol=1e-6)


def test_a_second_avatar_stands_beside_the_first():
    bpy.context.scene.cursor.location = (0.0, 2.0, 0.1)
    for _ in range(3):
        bpy.ops.emo_avatar.add_open_head()
    places = np.array([avatar.location for avatar in found()])
    np.testing.assert_allclose(places, [(head_object.SPACING * i, 2.0, 0.1) for i in range(3)], atol=1e-5)


def test_an_avatar_is_deleted_whole():
    for name in ("Ann", "Bob"):
        bpy.ops.emo_avatar.add_open_head(name=name)
    hat = bpy.data.objects.new("Hat", None)
    bpy.data.collections["Bob"].objects.link(hat)
    ann, bob = found()
    bpy.ops.ed.undo_push(message="before")
    for avatar in (ann, bob):
        bpy.context.view_layer.objects.active = avatar
    bob.select_set(True)
    assert bpy.ops.emo_avatar.delete_avatar("EXEC_DEFAULT", True) == {"FINISHED"}
    assert [avatar.name for avatar in found()] == ["Ann"]
    assert {thing.name for thing in bpy.data.objects} == {"Ann", "Ann Head", "Hat"}
    assert [mesh.name for mesh in bpy.data.meshes] == ["Ann Head"] and [a.name for a in bpy.data.armatures] == ["Ann"]
    assert "Bob" in bpy.data.collections  # something else is in it
    bpy.context.view_layer.objects.active = found()[0]
    assert bpy.ops.emo_avatar.delete_avatar("EXEC_DEFAULT", True) == {"FINISHED"}
    assert not found() and "Ann" not in bpy.data.collections
    bpy.ops.ed.undo()
    bpy.ops.ed.undo()
    assert [avatar.name for avatar in found()] == ["Ann", "Bob"]


def test_no_avatar_file_of_an_open_head(tmp_path):
    bpy.ops.emo_avatar.add_open_head()
    assert not bpy.ops.emo_avatar.save_avatar_file.poll()
    assert "open head has no avatar file" in avatar_files.EMOAVATAR_OT_save_avatar_file.disabled_reason(bpy.context)


# --- with the backend


def test_portrait_to_avatar_and_back(backend, photo, tmp_path):
    assert bpy.ops.emo_avatar.avatar_from_portrait(filepath=str(photo), refine=10) == {"FINISHED"}
    (avatar,) = found()
    settings = avatar.emo_avatar
    assert (avatar.name, settings.kind) == ("Eileen Collins", "avatar")
    file = storage.read_file(avatar)
    assert hashlib.sha256(file).hexdigest() == settings.avatar_id
    assert zipfile.ZipFile(io.BytesIO(file)).testzip() is None

    head = head_file.head_from_message(*backend.client.head(settings.avatar_id))
    rng = np.random.default_rng(3)
    pose = {
        "expression": rng.normal(size=(1, 100)).astype(np.float32),
        "jaw_pose": rng.normal(scale=0.2, size=(1, 3)),
        "neck_pose": rng.normal(scale=0.3, size=(1, 3)),
        "rotation": rng.normal(size=(1, 3)),
        "translation": rng.normal(scale=0.2, size=(1, 3)),
        "eyes_pose": rng.normal(scale=0.2, size=(1, 6)),
    }
    head_object.apply(avatar, flame.rig_values(storage.read_rig(avatar).kinematics, flame.Poses(**pose)), 0)
    assert np.abs(positions(avatar) - flame.vertices(head, flame.Poses(**pose))[0]).max() < 1e-5

    texture = next(n.image for n in settings.head.data.materials[0].node_tree.nodes if n.type == "TEX_IMAGE")
    assert texture.packed_file and tuple(texture.size) == (2048, 2048)
    pixels = np.empty(2048 * 2048 * 4, np.float32)
    texture.pixels.foreach_get(pixels)
    assert pixels.reshape(-1, 4)[:, :3].std() > 0.1

    saved = tmp_path / "eileen"
    assert bpy.ops.emo_avatar.save_avatar_file(filepath=str(saved)) == {"FINISHED"}
    assert [path.name for path in tmp_path.iterdir()] == ["eileen.emoavatar"]
    assert saved.with_suffix(".emoavatar").read_bytes() == file
    bpy.ops.emo_avatar.import_avatar(filepath=str(saved.with_suffix(".emoavatar")))
    first, second = found()
    assert first.emo_avatar.avatar_id == second.emo_avatar.avatar_id
    assert first.name != second.name

    blend = tmp_path / "scene.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    assert [storage.read_file(one) for one in found()] == [file, file]


def test_lam_package(backend, quick):
    assert bpy.ops.emo_avatar.import_avatar(filepath=str(LAM_SAMPLE), name="Lam") == {"FINISHED"}
    (avatar,) = found()
    assert avatar.name == "Lam"
    assert len(avatar.emo_avatar.head.data.shape_keys.key_blocks) == 137


def test_one_that_fails_does_not_take_the_others(backend, quick, photo, tmp_path):
    (tmp_path / "no_picture.png").write_bytes(b"not a picture")
    (tmp_path / "a_face.png").write_bytes(photo.read_bytes())
    files = [{"name": "no_picture.png"}, {"name": "a_face.png"}]
    result = bpy.ops.emo_avatar.avatar_from_portrait(directory=f"{tmp_path}{os.sep}", files=files, refine=0)
    assert result == {"FINISHED"}
    assert [avatar.name for avatar in found()] == ["A Face"]


def test_several_stand_side_by_side(backend, quick, tmp_path):
    for name in ("one.zip", "two.zip"):
        (tmp_path / name).write_bytes(LAM_SAMPLE.read_bytes())
    bpy.ops.emo_avatar.import_avatar(directory=str(tmp_path), files=[{"name": "one.zip"}, {"name": "two.zip"}])
    first, second = found()
    assert second.location.x - first.location.x == pytest.approx(head_object.SPACING)
    assert first.select_get() and second.select_get()


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_what_is_no_picture_is_said_so(backend, tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(RuntimeError) as said:
        bpy.ops.emo_avatar.avatar_from_portrait(filepath=str(tmp_path / "x.png"))
    assert "X:" in str(said.value) and "has failed" not in str(said.value)
    assert not found()


def test_missing_file_is_said_before_the_work_starts(backend, tmp_path):
    with pytest.raises(RuntimeError, match="There is no file gone.png"):
        bpy.ops.emo_avatar.avatar_from_portrait(filepath=str(tmp_path / "gone.png"))


def test_cancelled_leaves_nothing(backend, photo, monkeypatch):
    report = jobs.Job.report

    def cancelled_at_the_first_step(job, fraction, doing):
        if fraction > 0:
            job.cancel()
        report(job, fraction, doing)

    monkeypatch.setattr(jobs.Job, "report", cancelled_at_the_first_step)
    assert bpy.ops.emo_avatar.avatar_from_portrait(filepath=str(photo)) == {"CANCELLED"}
    assert not found() and not bpy.data.images and not bpy.data.collections
    deadline = time.monotonic() + 600
    while any(job["state"] in ("waiting", "running") for job in backend.client.status()["jobs"]):
        assert time.monotonic() < deadline, "the backend goes on with work that nobody wants"
        time.sleep(0.2)


def test_backend_that_is_lost_leaves_nothing(backend, monkeypatch):
    def lost(self, avatar):
        raise link.BackendLost("The backend stopped in the middle of its answer.")

    monkeypatch.setattr(link.Client, "head", lost)
    with pytest.raises(RuntimeError, match="Lam Avatar Sample: The backend stopped in the middle.*Restart the"):
        bpy.ops.emo_avatar.import_avatar(filepath=str(LAM_SAMPLE))
    assert not found() and not bpy.data.images and not bpy.data.collections


def test_an_accident_of_the_backend_has_its_report(fake_backend, photo):
    fake_backend("has an accident")
    with pytest.raises(RuntimeError, match="Emo Avatar has failed: Eileen Collins: It failed"):
        bpy.ops.emo_avatar.avatar_from_portrait(filepath=str(photo))
    assert "Traceback: its own" in boundary.last_report


def test_file_that_is_damaged_on_its_way_is_not_taken(backend, monkeypatch):
    monkeypatch.setattr(link.Client, "avatar_file", lambda self, avatar: b"something else")
    with pytest.raises(RuntimeError, match="damaged on its way"):
        bpy.ops.emo_avatar.import_avatar(filepath=str(LAM_SAMPLE))
    assert not found()


# --- images of the .blend


def test_bytes_of_images(photo, tmp_path):
    on_disk = bpy.data.images.load(str(photo))
    assert portrait.of_image(on_disk) == photo.read_bytes()
    on_disk.pack()
    on_disk.filepath_raw = "//gone.png"
    assert portrait.of_image(on_disk) == photo.read_bytes()


@pytest.mark.parametrize("is_float", [False, True])
def test_painted_image_is_sent_as_it_looks(is_float, tmp_path):
    image = bpy.data.images.new("Painted", 8, 4, float_buffer=is_float)
    pixels = np.ones((4, 8, 4), np.float32)
    pixels[..., :3] = np.linspace(0, 1, 8)[None, :, None] ** (2.2 if is_float else 1.0)
    image.pixels.foreach_set(pixels.ravel())
    path = tmp_path / "sent.png"
    path.write_bytes(portrait.of_image(image))
    sent = bpy.data.images.load(str(path))
    np.testing.assert_allclose(
        np.array(sent.pixels[:]).reshape(4, 8, 4)[..., 0], np.tile(np.linspace(0, 1, 8), (4, 1)), atol=0.03
    )
    assert tuple(sent.size) == (8, 4)
    assert [i.name for i in bpy.data.images] == ["Painted", "sent.png"]


def test_avatar_of_a_packed_image(backend, quick, photo):
    image = bpy.data.images.load(str(photo))
    image.pack()
    assert bpy.ops.emo_avatar.avatar_from_portrait(image=image.name, refine=0) == {"FINISHED"}
    assert found()[0].name == "Eileen Collins"


@pytest.mark.parametrize("handler", [portraits.EMOAVATAR_FH_portrait, avatar_files.EMOAVATAR_FH_avatar])
def test_dropped_files_go_to_an_operator_that_takes_them(handler):
    operator = getattr(bpy.ops.emo_avatar, handler.bl_import_operator.partition(".")[2])
    assert {"filepath", "directory", "files"} <= set(operator.get_rna_type().properties.keys())
    assert all(suffix.startswith(".") for suffix in handler.bl_file_extensions.split(";"))


def test_the_file_browser_begins_in_the_folder_of_the_file_without_its_name(tmp_path):
    """Blender proposes scene.blend as the name of a portrait unless only the folder is set."""
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    operator = types.SimpleNamespace(directory="", filepath="")
    asked = []
    manager = types.SimpleNamespace(fileselect_add=asked.append)
    making.choose_files(operator, types.SimpleNamespace(window_manager=manager))
    assert asked == [operator] and operator.filepath == ""
    assert Path(operator.directory) == tmp_path
