"""A head as native Blender data: an armature with FLAME's joints, and a mesh with shape keys that follows it.

The one place where FLAME's axes become Blender's: (x, y, z) is (x, -z, y). The bones drive the pose correctives, so
that they follow whatever turns a bone: the evaluated motion, a key, a constraint, or the artist's hand; and they go
on doing so in a Blender without the extension.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector

from . import flame, materials, properties, storage
from .head_file import HeadArrays

WORLD_FROM_FLAME = Matrix(((1, 0, 0, 0), (0, 0, -1, 0), (0, 1, 0, 0), (0, 0, 0, 1)))

SHAPE_KEYS = tuple(f"expr_{i:03d}" for i in range(flame.N_EXPRESSION)) + tuple(
    f"pose_{i:03d}" for i in range(flame.N_POSE)
)

SPACING = 0.4  # metres between avatars that would stand in one place

HELD = "emo_avatar_held"  # on the armature object: a bit for each joint that evaluated values have moved last

# How long each bone is drawn, in metres, and in which of Blender's bone colours.
_BONE_LENGTHS = (0.06, 0.09, 0.1, 0.05, 0.05)
_BONE_COLOURS = ("THEME09", "THEME04", "THEME03", "THEME01", "THEME01")


def to_blender(points: np.ndarray) -> np.ndarray:  # [..., 3] -> [..., 3]
    """Points or directions of FLAME's axes in Blender's."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def from_blender(points: np.ndarray) -> np.ndarray:  # [..., 3] -> [..., 3]
    """Points or directions of Blender's axes in FLAME's."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def shape_directions(head: HeadArrays) -> np.ndarray:  # [136, V, 3] float32, Blender's axes
    """How far each shape key moves the vertices."""
    directions = np.empty((len(SHAPE_KEYS), *head.v_template.shape), np.float32)
    expressions, poses = np.split(directions, [flame.N_EXPRESSION])
    expressions[:] = np.moveaxis(head.expression_dirs, 2, 0)
    poses[:] = np.moveaxis(head.posedirs, 2, 0)
    y = directions[..., 1].copy()
    np.negative(directions[..., 2], out=directions[..., 1])
    directions[..., 2] = y
    return directions


def shape_positions(head: HeadArrays) -> np.ndarray:  # [136, V, 3] float32, Blender's axes
    """Where each shape key puts the vertices. Any thread may compute it, and spare the main thread most of the work."""
    positions = shape_directions(head)
    positions += to_blender(head.v_template)
    return positions


def create(
    context: bpy.types.Context,
    head: HeadArrays,
    name: str,
    texture: bpy.types.Image | None,
    shapes: np.ndarray | None = None,
) -> bpy.types.Object:
    """A new avatar in a collection of its own, at the 3D cursor or beside who stands there: the armature object.

    It is selected and active. `shapes` are the head's `shape_positions`, where a thread has them ready. `emo_avatar`
    settings are at their defaults, but for `head`.
    """
    if context.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    collection = bpy.data.collections.new(name)
    parent = context.view_layer.active_layer_collection
    (parent.collection if parent.is_visible else context.scene.collection).children.link(collection)
    armature = bpy.data.armatures.new(name)
    rig = bpy.data.objects.new(name, armature)
    collection.objects.link(rig)
    rig.location = _free_place(context.scene)
    rig.show_in_front = True
    rig.data.display_type = "STICK"
    with _editing(armature) as bones:
        _place_bones(bones, flame.kinematics(head).joints)
    for bone, colour in zip(rig.data.bones, _BONE_COLOURS, strict=True):
        bone.color.palette = colour
        rig.pose.bones[bone.name].lock_scale = (True, True, True)  # FLAME's joints have none
    mesh = bpy.data.objects.new(f"{name} Head", _mesh(head, f"{name} Head"))
    collection.objects.link(mesh)
    materials.assign(mesh.data, head, name, texture)
    _bind(mesh, rig, head)
    _add_shape_keys(mesh, head, shape_positions(head) if shapes is None else shapes)
    rig.emo_avatar.head = mesh
    drive_pose_correctives(rig)
    storage.write_rig(rig, head)
    if getattr(context.space_data, "local_view", None):
        for thing in (rig, mesh):
            thing.local_view_set(context.space_data, True)
    for other in context.selected_objects:
        other.select_set(False)
    rig.select_set(True)
    context.view_layer.objects.active = rig
    return rig


def _free_place(scene: bpy.types.Scene) -> Vector:
    """The 3D cursor, or the next place to its right where no avatar of the scene stands."""
    place = scene.cursor.location.copy()
    taken = [
        avatar.matrix_world.translation if avatar.parent else avatar.location for avatar in properties.avatars(scene)
    ]
    while any((place - there).length < SPACING / 2 for there in taken):
        place.x += SPACING
    return place


def free_name(name: str) -> str:
    """`name`, or the next that nothing of an avatar has yet."""
    name = stem = name.strip()[:40] or "Avatar"
    number = 0
    while any(name in kind for kind in (bpy.data.objects, bpy.data.collections, bpy.data.armatures)):
        number += 1
        name = f"{stem}.{number:03d}"
    return name


def change_shape(rig: bpy.types.Object, head: HeadArrays, directions: np.ndarray) -> bool:
    """Give an avatar the face of another person of the same head, with its `shape_directions`. Its bones stay.

    Shape keys that the artist has added move along. Returns whether it is another face than before.
    """
    mesh, template = rig.emo_avatar.head.data, to_blender(head.v_template).astype(np.float32)
    if rig.data.library is not None:  # of an override: its bones are this file's from now on
        rig.data = rig.data.copy()
    if not mesh.is_editmode:
        return _move_shapes(mesh, template, directions)
    with _editing(rig.data):  # which leaves the mesh's own edit mode, that would undo what is written
        return _move_shapes(mesh, template, directions)


def change_joints(rig: bpy.types.Object, head: HeadArrays) -> None:
    """Have an avatar's bones follow its face after `change_shape`."""
    with _editing(rig.data) as bones:
        _place_bones(bones, flame.kinematics(head).joints)
    storage.write_rig(rig, head)


def apply(rig: bpy.types.Object, values: flame.RigValues, row: int) -> None:
    """Show one row of evaluated values: all shape keys, and the joints that the values move. For the frame handler.

    A joint that does not move in any row is left alone: it is the artist's to pose, key or constrain. One that values
    have moved until now, and have let go of, comes to rest: `HELD` says which, and comes back with undo, as bones do.
    """
    key = rig.emo_avatar.head.data.shape_keys
    blocks = key.key_blocks
    buffer = np.empty(len(blocks), np.float32)
    order = _order(blocks)
    if order is None:
        buffer[0] = blocks[0].value
        buffer[1:] = values.shape_keys[row]
    else:  # keys that the artist has added, or moved, keep what they have; what was removed is not shown
        blocks.foreach_get("value", buffer)
        ours, places = order
        buffer[places] = values.shape_keys[row][ours]
    if key.library is None:
        blocks.foreach_set("value", buffer)
    else:  # it passes over linked keys without a word
        for block, value in zip(blocks, buffer.tolist(), strict=True):
            block.value = value
    key.update_tag()
    bones = rig.pose.bones
    moving = np.flatnonzero(values.moves).tolist()
    for joint in moving:
        bone = bones.get(flame.JOINTS[joint])
        if bone is None:  # the artist has renamed or removed it
            continue
        bone.location = values.locations[row, joint]
        if bone.rotation_mode == "QUATERNION":
            bone.rotation_quaternion = values.quaternions[row, joint]
        else:
            turn = Quaternion(values.quaternions[row, joint].tolist())
            bone.matrix_basis = Matrix.LocRotScale(bone.location, turn, bone.scale)
    held, holds = rig.get(HELD, 0), sum(1 << joint for joint in moving)
    if held != holds:
        for joint, name in enumerate(flame.JOINTS):
            if (held & ~holds) >> joint & 1 and name in bones:
                bones[name].matrix_basis = Matrix()
        rig[HELD] = holds


def drive_pose_correctives(rig: bpy.types.Object) -> None:
    """Have the bones drive the shape keys that correct the skin about turned joints."""
    key = rig.emo_avatar.head.data.shape_keys
    for joint, bone in enumerate(flame.JOINTS[1:]):
        for entry, expression in enumerate(_change_expressions(flame.BONE_AXES[joint + 1])):
            name = SHAPE_KEYS[flame.N_EXPRESSION + 9 * joint + entry]
            if name not in key.key_blocks:  # the artist has removed it
                continue
            path = f'key_blocks["{name}"].value'
            key.driver_remove(path)
            driver = key.driver_add(path).driver
            for part in sorted(set("wxyz") & set(expression)):
                variable = driver.variables.new()
                variable.name, variable.type = part, "TRANSFORMS"
                target = variable.targets[0]
                target.id, target.bone_target = rig, bone
                target.transform_type, target.rotation_mode = f"ROT_{part.upper()}", "QUATERNION"
                target.transform_space = "LOCAL_SPACE"
            driver.expression = expression


def _order(blocks: bpy.types.bpy_prop_collection) -> tuple[list[int], list[int]] | None:
    """Which of our shape keys are there, and where among the mesh's; None when all are where they were made."""
    names = blocks.keys()
    if len(names) == len(SHAPE_KEYS) + 1 and tuple(names[1:]) == SHAPE_KEYS:
        return None
    places = {name: place for place, name in enumerate(names)}
    ours = [number for number, name in enumerate(SHAPE_KEYS) if name in places]
    return ours, [places[SHAPE_KEYS[number]] for number in ours]


def _mesh(head: HeadArrays, name: str) -> bpy.types.Mesh:
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(head.v_template))
    mesh.vertices.foreach_set("co", to_blender(head.v_template).ravel())
    corners = np.ones(head.quads.shape, bool)  # [Q, 4] which of a face's four places are corners
    corners[:, 3] = head.quads[:, 2] != head.quads[:, 3]
    sizes = corners.sum(axis=1)
    mesh.loops.add(int(sizes.sum()))
    mesh.loops.foreach_set("vertex_index", head.quads[corners])
    mesh.polygons.add(len(sizes))
    mesh.polygons.foreach_set("loop_start", (np.cumsum(sizes) - sizes).astype(np.int32))
    mesh.polygons.foreach_set("use_smooth", np.ones(len(sizes), bool))
    if len(head.uv):
        mesh.uv_layers.new(name="UVMap", do_init=False).data.foreach_set("uv", head.uv[head.uv_quads[corners]].ravel())
    mesh.update(calc_edges=True)
    return mesh


def _bind(mesh: bpy.types.Object, rig: bpy.types.Object, head: HeadArrays) -> None:
    for joint, name in enumerate(flame.JOINTS):
        group = mesh.vertex_groups.new(name=name)
        weights = head.weights[:, joint]
        for vertex in np.flatnonzero(weights > 0).tolist():
            group.add((vertex,), float(weights[vertex]), "REPLACE")
    mesh.parent = rig
    modifier = mesh.modifiers.new("Armature", "ARMATURE")
    modifier.object = rig


def _add_shape_keys(mesh: bpy.types.Object, head: HeadArrays, shapes: np.ndarray) -> None:
    for name in ("Basis", *SHAPE_KEYS):
        block = mesh.shape_key_add(name=name, from_mix=False)
        block.slider_min, block.slider_max = -flame.LARGEST_SHAPE_KEY, flame.LARGEST_SHAPE_KEY
        block.value = 0.0  # from 5.0 on a new one is at 1
    mesh.data.shape_keys.name = mesh.name
    _write_positions(mesh.data, head, shapes)
    mesh.active_shape_key_index = 0


def _write_positions(mesh: bpy.types.Mesh, head: HeadArrays, shapes: np.ndarray) -> None:
    template = to_blender(head.v_template)
    mesh.vertices.foreach_set("co", template.ravel())
    blocks = mesh.shape_keys.key_blocks
    blocks["Basis"].points.foreach_set("co", template.ravel())
    for name, points in zip(SHAPE_KEYS, shapes, strict=True):
        blocks[name].points.foreach_set("co", points.ravel())
    mesh.update_tag()


def _move_shapes(mesh: bpy.types.Mesh, template: np.ndarray, directions: np.ndarray) -> bool:
    blocks = mesh.shape_keys.key_blocks
    points = np.empty_like(template)
    blocks[0].points.foreach_get("co", points.ravel())
    moved = template - points
    if not moved.any():
        return False
    ours = dict(zip(SHAPE_KEYS, directions, strict=True))
    for block in blocks:
        if block.name in ours:
            np.add(template, ours[block.name], out=points)
        else:
            block.points.foreach_get("co", points.ravel())
            points += moved
        block.points.foreach_set("co", points.ravel())
    mesh.vertices.foreach_set("co", template.ravel())
    mesh.update_tag()
    return True


def _place_bones(bones: bpy.types.ArmatureEditBones, joints: np.ndarray) -> None:  # [5, 3] FLAME axes
    heads = to_blender(joints).tolist()
    axes = to_blender(np.swapaxes(flame.BONE_AXES, 1, 2))  # [5, axis, 3]
    for joint, name in enumerate(flame.JOINTS):
        bone = bones.get(name) or bones.new(name)
        bone.head = heads[joint]
        bone.tail = np.asarray(heads[joint]) + axes[joint, 1] * _BONE_LENGTHS[joint]
        bone.align_roll(axes[joint, 2])
        if flame.PARENTS[joint] >= 0:
            bone.parent = bones[flame.JOINTS[flame.PARENTS[joint]]]


@contextmanager
def _editing(armature: bpy.types.Armature) -> Iterator[bpy.types.ArmatureEditBones]:
    """The armature's edit bones. Blender makes them in edit mode only, which is entered through an object that lives
    for as long: so the avatar may be hidden or in pose mode, and what is selected stays so."""
    context = bpy.context
    layer = context.view_layer
    selected, active = [object for object in layer.objects if object.select_get()], layer.objects.active
    mode = active.mode if active else "OBJECT"
    if mode == "EDIT":
        bpy.ops.object.mode_set(mode="OBJECT")
    for object in selected:
        object.select_set(False)
    handle = bpy.data.objects.new("Emo Avatar editing", armature)
    context.scene.collection.objects.link(handle)
    layer.objects.active = handle
    try:
        bpy.ops.object.mode_set(mode="EDIT")
        yield armature.edit_bones
    finally:
        if handle.mode == "EDIT":
            bpy.ops.object.mode_set(mode="OBJECT")
        bpy.data.objects.remove(handle)
        layer.objects.active = active
        for object in selected:
            object.select_set(True)
        if mode == "EDIT":
            bpy.ops.object.mode_set(mode=mode)


def _change_expressions(axes: np.ndarray) -> list[str]:  # [3, 3] -> 9
    """R - I in FLAME's axes, row-major, in the quaternion w, x, y, z of a bone with these axes."""
    terms = []
    for row in axes.tolist():  # FLAME's axis in the bone's
        term = "+".join(f"{share!r}*{name}" for share, name in zip(row, "xyz", strict=True) if share)
        terms.append(f"({term})")
    x, y, z = terms
    return [
        f"-2*({y}*{y}+{z}*{z})", f"2*({x}*{y}-w*{z})", f"2*({x}*{z}+w*{y})",
        f"2*({x}*{y}+w*{z})", f"-2*({x}*{x}+{z}*{z})", f"2*({y}*{z}-w*{x})",
        f"2*({x}*{z}-w*{y})", f"2*({y}*{z}+w*{x})", f"-2*({x}*{x}+{y}*{y})",
    ]  # fmt: skip
