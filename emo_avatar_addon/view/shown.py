"""The avatars of a scene as Blender shows them, read back from its evaluated data.

What is seen is what is rendered and exported: keyed, posed by hand, constrained or baked.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from mathutils import Color, Matrix

from ..model import flame, head_object, storage
from ..model.properties import EMOTIONS
from .picture import Shown

UNEVEN = 1e-3  # relative difference between the scales of the axes from which on an avatar counts as stretched


@dataclass(frozen=True)
class Cast:
    """Who is to be drawn."""

    avatars: tuple[Shown, ...] = ()
    notes: tuple[str, ...] = ()  # sentences on what will not look as expected

    @property
    def focus(self) -> np.ndarray | None:  # [3] metres, world
        """A place in their midst; None when there is nobody."""
        return np.mean([avatar.world[:3, 3] for avatar in self.avatars], axis=0) if self.avatars else None

    @property
    def span(self) -> float:
        """Metres that they reach from the focus at most."""
        if not self.avatars:
            return 1.0
        distances = [np.linalg.norm(avatar.world[:3, 3] - self.focus) for avatar in self.avatars]
        return float(max(distances)) + max(float(np.linalg.norm(avatar.world[:3, 0])) for avatar in self.avatars)


def cast(depsgraph: Any, space: Any = None, only: Container[str] | None = None, meshes: bool = False) -> Cast:
    """Every avatar with splats that a dependency graph shows, instances too; `space` is the viewport looked from.

    An avatar is shown when its armature or its head mesh is; with `only`, when its full name is in there too.
    Where meshes are drawn as well, an avatar without splats is seen as it is, and there is nothing to note.
    """
    avatars: dict[tuple[str, bytes], Shown] = {}
    notes: dict[str, None] = {}
    for armature, placed in _placed(depsgraph, space):
        if only is not None and armature.name_full not in only:
            continue
        settings = armature.original.emo_avatar
        if settings.kind != "avatar":
            if not meshes:
                notes[f"{armature.name} has no splats: render it with Cycles or EEVEE."] = None
            continue
        world = np.array(placed @ head_object.WORLD_FROM_FLAME)
        key = (armature.name_full, np.round(world, 5).tobytes())
        if key in avatars:
            continue
        world, even = similarity(world)
        if not even:
            notes[f"{armature.name} is stretched: splats take one scale for all axes. Apply its scale."] = None
        avatars[key] = Shown(settings.avatar_id, world, read_pose(armature, depsgraph), read_emotions(armature))
    return Cast(tuple(avatars.values()), tuple(notes))


def _placed(depsgraph: Any, space: Any) -> Iterator[tuple[Any, Matrix]]:
    """The evaluated armatures of all avatars that are shown, and where they stand in the world; some of them twice."""
    for instance in depsgraph.object_instances:
        armature = _armature_of(instance.object)
        if armature is None:
            continue
        if instance.is_instance:
            moved = instance.matrix_world @ instance.object.matrix_world.inverted_safe()
            yield armature, moved @ armature.matrix_world
        elif space is None or instance.object.original.visible_in_viewport_get(space):
            yield armature, armature.matrix_world
    if depsgraph.mode == "RENDER":
        return
    for head in depsgraph.view_layer.objects:  # those whose surface is not drawn are not among the instances
        if head.type == "MESH" and not head.show_instancer_for_viewport:
            seen = (
                head.visible_get(view_layer=depsgraph.view_layer)
                if space is None
                else head.visible_in_viewport_get(space)
            )
            armature = _armature_of(head.evaluated_get(depsgraph)) if seen else None
            if armature is not None:
                yield armature, armature.matrix_world


def read_pose(armature: Any, depsgraph: Any) -> dict[str, np.ndarray]:
    """FLAME parameters of an evaluated armature and its head mesh.

    What is not animated is read from the original: a custom property may not have reached the evaluated copy yet.
    """
    expression = np.zeros(flame.N_EXPRESSION)
    head = armature.original.emo_avatar.head
    keys = head.data.shape_keys if head is not None else None
    if keys is not None:
        blocks = keys.evaluated_get(depsgraph).key_blocks
        values, mute = np.zeros(len(blocks)), np.zeros(len(blocks), bool)
        blocks.foreach_get("value", values)
        blocks.foreach_get("mute", mute)
        shown = dict(zip(blocks.keys(), np.where(mute, 0.0, values), strict=True))
        expression = np.array([shown.get(f"expr_{i:03d}", 0.0) for i in range(flame.N_EXPRESSION)])
    return flame_pose(storage.read_rig(armature.original).kinematics, expression, bone_transforms(armature))


def read_emotions(armature: Any) -> np.ndarray:  # [6]
    """What an evaluated armature feels: its sliders times its strength."""
    # What is not animated is read from the original, as in `read_pose`.
    settings = (armature if armature.original.animation_data is not None else armature.original).emo_avatar
    felt = np.array([getattr(settings, emotion) for emotion in EMOTIONS], np.float32)
    return np.clip(felt * settings.strength, 0, 1)


def bone_transforms(armature: Any) -> np.ndarray:  # [5, 4, 4]
    """What FLAME's joints have done to the points around them, in FLAME space; a bone that is missing did nothing."""
    flame_from_blender = head_object.WORLD_FROM_FLAME.inverted()
    transforms = []
    for name in flame.JOINTS:
        bone = armature.pose.bones.get(name)
        moved = bone.matrix @ bone.bone.matrix_local.inverted() if bone is not None else Matrix()
        transforms.append(np.array(flame_from_blender @ moved @ head_object.WORLD_FROM_FLAME))
    return np.stack(transforms)


def flame_pose(
    kinematics: flame.Kinematics,
    expression: np.ndarray,  # [100]
    transforms: np.ndarray,  # [5, 4, 4] FLAME space, from `bone_transforms`
) -> dict[str, np.ndarray]:
    """The FLAME parameters that show a face so: each joint's turn against its parent's, and where the root has gone."""
    turns = np.stack([Matrix(transform[:3, :3]).normalized() for transform in transforms])  # [5, 3, 3]
    local = [
        turns[joint] if parent < 0 else turns[parent].T @ turns[joint] for joint, parent in enumerate(flame.PARENTS)
    ]
    rotation, neck, jaw, left, right = flame.axis_angles(np.array([Matrix(turn).to_quaternion() for turn in local]))
    root = kinematics.joints[0] + kinematics.joint_dirs[0] @ expression
    return {
        "expression": expression,
        "rotation": rotation,
        "neck_pose": neck,
        "jaw_pose": jaw,
        "eyes_pose": np.concatenate([left, right]),
        "translation": transforms[0, :3, 3] + turns[0] @ root - root,
    }


def similarity(world: np.ndarray) -> tuple[np.ndarray, bool]:  # [4, 4]
    """The nearest turn, move and even scale, and whether that is what the matrix was."""
    U, scales, Vt = np.linalg.svd(world[:3, :3])
    rotation = U @ np.diag([1.0, 1.0, np.sign(np.linalg.det(U @ Vt))]) @ Vt
    nearest = world.copy()
    nearest[:3, :3] = rotation * scales.mean()
    even = np.abs(nearest[:3, :3] - world[:3, :3]).max() <= UNEVEN * max(scales.max(), 1e-12)
    return nearest, bool(even)


def _armature_of(thing: Any) -> Any:
    """The evaluated armature of the avatar that an evaluated object is or belongs to, else None."""
    candidate = thing if thing.type == "ARMATURE" else thing.parent if thing.type == "MESH" else None
    if candidate is None or candidate.type != "ARMATURE" or candidate.original.emo_avatar.kind == "none":
        return None
    if candidate is not thing and candidate.original.emo_avatar.head != thing.original:
        return None
    return candidate


def scene_from_linear() -> np.ndarray | None:  # [3, 3]
    """Blender's working space from linear Rec. 709; None where they are the same."""
    columns = [Color(axis).from_rec709_linear_to_scene_linear() for axis in np.eye(3)]
    matrix = np.array(columns).T
    return None if np.allclose(matrix, np.eye(3), atol=1e-4) else matrix
