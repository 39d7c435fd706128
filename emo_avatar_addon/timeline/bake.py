"""Bake: what an avatar shows becomes plain keys on shape keys and bones, and back.

A baked file opens, plays and renders in a Blender without the extension. The emotion keys stay where they are, beside
the baked curves, and take over again when the bake is removed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Euler, Quaternion

from ..errors import AddonError
from ..model import flame, head_object
from . import curves
from .track import Track

_NOTE = (
    "emo_avatar_baked"  # on the avatar's object, JSON: the range; for object and shape keys, whether they had no curves
)
_GROUP = "Emo Avatar"
_STILL = 1e-6


@dataclass(frozen=True)
class Laid:
    """A bake that was taken off an avatar, to be put on again."""

    note: str
    keys: tuple[tuple[bool, str, int, np.ndarray], ...]  # of the shape keys?, path, index, [T, 2] frames and values


def is_baked(avatar: bpy.types.Object) -> bool:
    """Whether baked curves, and not the evaluated range, move the avatar."""
    return _NOTE in avatar


def baked_range(avatar: bpy.types.Object) -> tuple[int, int]:
    """First and last baked frame."""
    note = json.loads(avatar[_NOTE])
    return note["start"], note["end"]


def bake(
    avatar: bpy.types.Object, track: Track, frames: np.ndarray, simplify: bool = True, stretch: float = 1.0
) -> int:
    """Key shape keys and bones at `frames [T]` and return the number of curves.

    One action holds it all where actions have slots (4.4), else the shape keys get one of their own. With `simplify` a
    curve that never changes has one key, and what stays at rest has none. `stretch` is the time remapping of the scene.
    Bones keyed by the artist keep their keys.
    Raises AddonError when curves of a library cannot be changed.
    """
    key = avatar.emo_avatar.head.data.shape_keys
    for owner in (avatar, key):
        if owner.library is not None or avatar.override_library is not None:
            raise AddonError(f"{avatar.name} is linked from a library: bake it in its own file, or make it local.")
    if is_baked(avatar):
        unbake(avatar)
    for owner in (avatar, key):
        _make_own(owner)
    made = [curves.channels(owner) is None for owner in (avatar, key)]
    rows = [track.values(float(frame)) for frame in frames]
    at = frames * stretch
    head_object.apply(avatar, *rows[0])  # what is left without keys stands as in the first frame
    bones = curves.ensure_channels(avatar, avatar.name)
    faces = curves.ensure_channels(key, f"{avatar.name} Face", avatar.animation_data.action if curves.SLOTS else None)
    driven = {driver.data_path for driver in key.animation_data.drivers}
    count = 0
    shape_keys = np.stack([values.shape_keys[row] for values, row in rows])  # [T, 136]
    for name, values in zip(head_object.SHAPE_KEYS, shape_keys.T, strict=True):
        path = f'key_blocks["{name}"].value'
        if path not in driven:
            count += _write(faces, path, 0, at, values, 0.0, simplify)
    quaternions = np.stack([values.quaternions[row] for values, row in rows]).astype(float)  # [T, 5, 4]
    quaternions = _unwound(quaternions)
    locations = np.stack([values.locations[row] for values, row in rows])  # [T, 5, 3]
    for joint in np.flatnonzero(track.rig.moves):
        bone = avatar.pose.bones.get(flame.JOINTS[joint])
        if bone is None:
            continue
        turned = _rotations(bone.rotation_mode, quaternions[:, joint])
        for setting, values, rest in (("location", locations[:, joint], (0.0, 0.0, 0.0)), turned):
            path = f'pose.bones["{flame.JOINTS[joint]}"].{setting}'
            if any(bones.find(path, i) for i in range(len(rest))):
                continue
            for i, at_rest in enumerate(rest):
                count += _write(bones, path, i, at, values[:, i], at_rest, simplify)
    avatar[_NOTE] = json.dumps({"start": int(frames[0]), "end": int(frames[-1]), "made": made})
    return count


def unbake(avatar: bpy.types.Object) -> None:
    """Remove the baked curves, and the actions that were made for them; the emotion keys take over again."""
    made = json.loads(avatar[_NOTE])["made"]
    for owner, was_made in zip((avatar, avatar.emo_avatar.head.data.shape_keys), made, strict=True):
        bag = curves.channels(owner)
        if bag is None:
            continue
        bag.remove(_baked(bag))
        if was_made and not len(bag.fcurves):
            curves.drop(owner)
    del avatar[_NOTE]


def lay_aside(avatar: bpy.types.Object) -> Laid:
    """As `unbake`, but `put_back` can undo it."""
    keys = []
    for of_face, owner in enumerate((avatar, avatar.emo_avatar.head.data.shape_keys)):
        bag = curves.channels(owner)
        for fcurve in _baked(bag) if bag else ():
            points = np.empty(2 * len(fcurve.keyframe_points), np.float32)
            fcurve.keyframe_points.foreach_get("co", points)
            keys.append((bool(of_face), fcurve.data_path, fcurve.array_index, points.reshape(-1, 2)))
    laid = Laid(avatar[_NOTE], tuple(keys))
    unbake(avatar)
    return laid


def put_back(avatar: bpy.types.Object, laid: Laid) -> None:
    """Put on what `lay_aside` took off; nothing may have been baked since."""
    key = avatar.emo_avatar.head.data.shape_keys
    bones = curves.ensure_channels(avatar, avatar.name)
    faces = curves.ensure_channels(key, f"{avatar.name} Face", avatar.animation_data.action if curves.SLOTS else None)
    for of_face, path, index, points in laid.keys:
        curves.fill((faces if of_face else bones).new(path, index, _GROUP), points[:, 0], points[:, 1])
    avatar[_NOTE] = laid.note


def _baked(bag: curves.Channels) -> list[bpy.types.FCurve]:
    return [fcurve for fcurve in bag.fcurves if fcurve.group and fcurve.group.name == _GROUP]


def _write(
    bag: curves.Channels, path: str, index: int, frames: np.ndarray, values: np.ndarray, rest: float, simplify: bool
) -> int:
    """One curve; the number of curves made."""
    if simplify and np.ptp(values) < _STILL:
        if abs(values[0] - rest) < _STILL and rest == 0.0:
            return 0
        frames, values = frames[:1], values[:1]
    old = bag.find(path, index)
    if old is not None:
        bag.fcurves.remove(old)
    curves.fill(bag.new(path, index, _GROUP), frames, values)
    return 1


def _rotations(mode: str, quaternions: np.ndarray) -> tuple[str, np.ndarray, tuple[float, ...]]:  # [T, 4] wxyz
    """The property that turns a bone in a rotation mode, its values [T, n], and those at rest."""
    if mode == "QUATERNION":
        return "rotation_quaternion", quaternions, (1.0, 0.0, 0.0, 0.0)
    turns = [Quaternion(values) for values in quaternions.tolist()]
    if mode == "AXIS_ANGLE":
        axes = [turn.to_axis_angle() for turn in turns]
        return "rotation_axis_angle", np.array([(angle, *axis) for axis, angle in axes]), (0.0, 0.0, 1.0, 0.0)
    eulers: list[Euler] = []
    for turn in turns:
        eulers.append(turn.to_euler(mode, eulers[-1]) if eulers else turn.to_euler(mode))
    return "rotation_euler", np.array(eulers), (0.0, 0.0, 0.0)


def _unwound(quaternions: np.ndarray) -> np.ndarray:  # [T, 5, 4] -> [T, 5, 4]
    """Signs chosen so that every quaternion is near the one before: keys are interpolated number by number."""
    flips = (quaternions[1:] * quaternions[:-1]).sum(-1) < 0  # [T - 1, 5]
    signs = np.concatenate([np.ones((1, quaternions.shape[1])), np.cumprod(np.where(flips, -1.0, 1.0), axis=0)])
    return quaternions * signs[..., None]


def _make_own(owner: bpy.types.ID) -> None:
    """Curves that move something else too, or that a library holds, are copied before they are added to."""
    animation = owner.animation_data
    if animation is None or animation.action is None:
        return
    if animation.action.library is not None or curves.shared(owner):
        slot = animation.action_slot.identifier if curves.SLOTS and animation.action_slot else None
        animation.action = animation.action.copy()
        if slot is not None:
            animation.action_slot = animation.action.slots[slot]
