"""Alembic, USD, glTF and FBX, by Blender's own exporters, from copies that carry their motion as plain keys.

The copies live in a scene of their own while the export lasts, so that the artist's scene is not touched and nothing in
the file depends on handlers, drivers, constraints or this extension.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..errors import AddonError
from ..model import flame, head_object
from ..timeline import curves
from .takes import Take

_EXPORTERS = {
    "ALEMBIC": bpy.ops.wm.alembic_export,
    "USD": bpy.ops.wm.usd_export,
    "GLTF": bpy.ops.export_scene.gltf,
    "FBX": bpy.ops.export_scene.fbx,
}


def missing(format_name: str) -> str | None:
    """Why this Blender cannot write a format, as a sentence; None when it can, or when the format is not its own."""
    exporter = _EXPORTERS.get(format_name)
    try:
        if exporter is not None:
            exporter.get_rna_type()
    except KeyError:
        if format_name in ("ALEMBIC", "USD"):
            return "This Blender was built without that format: choose another, or use Blender from blender.org."
        return "Blender's add-on for that format is switched off: enable it in the preferences."
    return None


def export(context: Any, format_name: str, path: Path, takes: Sequence[Take], fps: float, start: int) -> None:
    """Main thread: write the takes' meshes and rigs to `path`, their first frame at `start`."""
    with (
        _stage(context, takes, fps, start) as scene,
        _textures_on_disk(scene, path.parent),
        _progress(context, scene),
    ):
        end = scene.frame_end
        try:
            if format_name == "ALEMBIC":
                _EXPORTERS["ALEMBIC"](
                    filepath=str(path), start=start, end=end, selected=True, as_background_job=False
                )  # fmt: skip
            elif format_name == "USD":
                _EXPORTERS["USD"](
                    filepath=str(path), selected_objects_only=True, export_animation=True,
                    export_armatures=False, export_shapekeys=False,
                )  # fmt: skip
            elif format_name == "GLTF":
                _EXPORTERS["GLTF"](
                    filepath=str(path), export_format="GLB", use_selection=True, use_active_scene=True,
                    export_animation_mode="SCENE", export_anim_scene_split_object=False, export_force_sampling=True,
                    export_optimize_animation_size=False, export_morph_normal=False, export_all_influences=True,
                )  # fmt: skip
            elif format_name == "FBX":
                _EXPORTERS["FBX"](
                    filepath=str(path), use_selection=True, object_types={"ARMATURE", "MESH", "EMPTY"},
                    use_mesh_modifiers=False, add_leaf_bones=False, path_mode="COPY", embed_textures=True,
                    bake_anim=True, bake_anim_use_all_bones=True, bake_anim_use_nla_strips=False,
                    bake_anim_use_all_actions=False, bake_anim_simplify_factor=0.0,
                )  # fmt: skip
            else:
                raise ValueError(format_name)
        except RuntimeError as error:  # its own report
            raise AddonError(f"Blender could not export this: {_last_words(error)}") from error
        if not path.is_file():
            raise AddonError("Blender's exporter has written nothing; its console says why.")
        if not _is_whole(format_name, path):
            raise AddonError("Blender's exporter could not write all of it: is the disk full?")


def _is_whole(format_name: str, path: Path) -> bool:
    """Whether an exporter that fails without a word, or before the disk has heard of it, came to the file's end."""
    if format_name == "ALEMBIC":
        with path.open("rb") as file:
            return file.read(6) == b"Ogawa\xff"  # the last thing that is written, into the first bytes
    return format_name != "USD" or zipfile.is_zipfile(path)  # whose directory is at the end


def _last_words(error: RuntimeError) -> str:
    """What an exporter's report comes down to: its last line, where that is a whole traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("Location:")]
    return lines[-1].removeprefix("Error: ") if lines else "it does not say why"


@contextlib.contextmanager
def _stage(context: Any, takes: Sequence[Take], fps: float, start: int) -> Iterator[Any]:
    """A scene with baked copies, selected, which is the window's scene until the block ends."""
    before = {kind: set(getattr(bpy.data, kind)) for kind in _KINDS}
    window, scene_before = context.window, context.scene
    avatars = [take.found() for take in takes]
    objects = [thing for avatar in avatars for thing in (avatar, avatar.emo_avatar.head) if thing]
    names = {thing: thing.name for thing in (*objects, *(thing.data for thing in objects))}
    local = [thing for thing in names if thing.library is None]
    scene = bpy.data.scenes.new("Emo Avatar Export")
    try:
        scene.render.fps, scene.render.fps_base = _rate(fps)
        scene.frame_start, scene.frame_end = start, start + len(takes[0].times) - 1
        window.scene = scene
        for thing in local:  # files shall have the artist's names, and no two objects can have the same
            thing.name = f"{names[thing]} (source)"
        for take in takes:
            _bake(scene, take, start, names)
        scene.frame_set(start)
        for thing in scene.objects:
            thing.select_set(True)
        context.view_layer.objects.active = scene.objects[0]
        yield scene
    finally:
        window.scene = scene_before
        bpy.data.scenes.remove(scene)
        for kind, old in before.items():
            collection = getattr(bpy.data, kind)
            for thing in set(collection) - old:
                collection.remove(thing)
        for thing in local:
            thing.name = names[thing]


@contextlib.contextmanager
def _progress(context: Any, scene: Any) -> Iterator[None]:
    """Until the block ends, the mouse pointer counts the per cent of the frames that an exporter has come to."""
    manager, first, count = context.window_manager, scene.frame_start, scene.frame_end - scene.frame_start + 1

    def on_frame(at: Any, *_: Any) -> None:
        manager.progress_update(min(max(at.frame_current - first + 1, 0), count) * 100 / count)

    manager.progress_begin(0, 100)
    bpy.app.handlers.frame_change_post.append(on_frame)
    try:
        yield
    finally:
        bpy.app.handlers.frame_change_post.remove(on_frame)
        manager.progress_end()


@contextlib.contextmanager
def _textures_on_disk(scene: Any, folder: Path) -> Iterator[None]:
    """Files, until the block ends, for images that only the .blend holds: FBX embeds nothing else."""
    materials = {slot.material for thing in scene.objects for slot in thing.material_slots if slot.material is not None}
    nodes = [node for material in materials if material.node_tree is not None for node in material.node_tree.nodes]
    images = {node.image for node in nodes if node.type == "TEX_IMAGE" and node.image is not None}
    paths = {}
    try:
        for image in images:
            if image.packed_file is not None or image.source == "GENERATED":
                paths[image] = image.filepath_raw
                file = folder / _file_name(image)
                try:
                    image.save(filepath=str(file))
                except RuntimeError as error:
                    raise AddonError(f"The texture {image.name} could not be written: {_last_words(error)}") from error
                image.filepath_raw = str(file)
        yield
    finally:
        for image, path in paths.items():
            image.filepath_raw = path


def _file_name(image: Any) -> str:
    """The name under which USD writes a packed image, so that what refers to it finds it."""
    packed = bpy.path.basename(image.packed_files[0].filepath) if len(image.packed_files) else ""
    return packed or bpy.path.clean_name(image.name) + _SUFFIXES.get(image.file_format, ".png")


_SUFFIXES = {"JPEG": ".jpg", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp", "TARGA": ".tga", "OPEN_EXR": ".exr"}
_KINDS = ("objects", "meshes", "armatures", "actions")  # what `_bake` makes copies of


def _bake(scene: Any, take: Take, start: int, names: Mapping[Any, str]) -> None:
    """A copy of an avatar with one key per frame for all that moves."""
    source = take.found()
    frames = start + np.arange(len(take.times))
    rig = _plain_copy(source, names)
    rig.emo_avatar.kind = "none"  # nothing evaluates the copy
    rig.parent = None
    rig.hide_render = rig.hide_viewport = False
    rig.constraints.clear()
    scene.collection.objects.link(rig)
    for bone in rig.pose.bones:
        for constraint in tuple(bone.constraints):
            bone.constraints.remove(constraint)
        bone.rotation_mode = "QUATERNION"
    rig.rotation_mode = "QUATERNION"
    _key_transforms(rig, "", take.world, frames)
    for name, basis in bone_basis(rig, take.transforms).items():
        _key_transforms(rig, f'pose.bones["{name}"].', basis, frames)
    if source.emo_avatar.head is None:
        return
    head = _plain_copy(source.emo_avatar.head, names)
    scene.collection.objects.link(head)
    head.hide_render = head.hide_viewport = False
    head.display_type, head.instance_type, head.show_instancer_for_viewport = "TEXTURED", "NONE", True
    head.parent, head.matrix_parent_inverse = rig, Matrix()
    head.matrix_basis = source.matrix_world.inverted_safe() @ source.emo_avatar.head.matrix_world
    for modifier in head.modifiers:
        if modifier.type == "ARMATURE":
            modifier.object = rig
    keys = head.data.shape_keys
    if keys is not None:
        keys.animation_data_clear()
        channels = curves.ensure_channels(keys, f"{head.name} Keys")
        for name, values in take.keys.items():
            keys.key_blocks[name].mute = False
            curves.fill(channels.new(f'key_blocks["{name}"].value'), frames, values)


def _plain_copy(thing: Any, names: Mapping[Any, str]) -> Any:
    """A copy of an object and its data, without animation and without what we keep in custom properties."""
    copy = thing.copy()
    copy.data = thing.data.copy()
    copy.animation_data_clear()
    copy.data.animation_data_clear()
    for owner in (copy, copy.data):
        for key in [key for key in owner.keys() if key not in owner.bl_rna.properties]:  # noqa: SIM118
            del owner[key]
    copy.name, copy.data.name = names[thing], names[thing.data]
    return copy


def _key_transforms(owner: Any, path: str, matrices: np.ndarray, frames: np.ndarray) -> None:  # [T, 4, 4]
    """Keys for location, rotation as quaternion, and scale; what never moves is set and not keyed."""
    parts = [Matrix(matrix).decompose() for matrix in matrices]
    quaternions = np.array([part[1] for part in parts])
    flips = np.cumprod(np.where((quaternions[1:] * quaternions[:-1]).sum(1) < 0, -1.0, 1.0))
    quaternions[1:] *= flips[:, None]  # the short way from frame to frame
    values = {
        "location": np.array([part[0] for part in parts]),
        "rotation_quaternion": quaternions,
        "scale": np.array([part[2] for part in parts]),
    }
    target = owner.path_resolve(path.rstrip(".")) if path else owner
    for name, series in values.items():
        setattr(target, name, series[0])
        if np.ptp(series, axis=0).max() > 0:
            channels = curves.ensure_channels(owner, f"{owner.name} Motion")
            for index in range(series.shape[1]):
                curves.fill(channels.new(path + name, index), frames, series[:, index])


def bone_basis(rig: Any, transforms: np.ndarray) -> dict[str, np.ndarray]:  # [T, 5, 4, 4] -> {bone: [T, 4, 4]}
    """The pose of each bone in its own rest frame, from what FLAME's joints have done."""
    to_world = np.array(head_object.WORLD_FROM_FLAME)
    moved = to_world @ transforms @ np.linalg.inv(to_world)
    rest, posed = {}, {}
    basis = {}
    for joint, name in enumerate(flame.JOINTS):
        bone = rig.data.bones.get(name)
        if bone is None:
            continue
        rest[name] = np.array(bone.matrix_local)
        posed[name] = moved[:, joint] @ rest[name]
        parent = bone.parent.name if bone.parent is not None else None
        if parent in rest:
            local = np.linalg.inv(np.linalg.inv(rest[parent]) @ rest[name])
            basis[name] = local @ np.linalg.inv(posed[parent]) @ posed[name]
        else:
            basis[name] = np.linalg.inv(rest[name]) @ posed[name]
    return basis


def _rate(fps: float) -> tuple[int, float]:
    """A frame rate as Blender keeps it: a whole number and what it is divided by."""
    whole = max(round(fps), 1)
    return whole, whole / fps
