"""F-curves of a datablock, whatever the version of Blender keeps them in.

Up to 4.3 an action holds the curves itself; from 4.4 it holds them in one channel bag for each slot, and 5.0 removed
the old way in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

SLOTS = hasattr(bpy.types, "ActionSlot")

CONSTANT, LINEAR, BEZIER = 0, 1, 2  # values of Keyframe.interpolation for foreach_set


@dataclass(frozen=True)
class Channels:
    """The F-curves with which one action animates one datablock."""

    fcurves: Any  # bpy collection, with new() and remove()
    groups: Any

    def find(self, path: str, index: int = 0) -> bpy.types.FCurve | None:
        """The curve of one property, or None."""
        return self.fcurves.find(path, index=index)

    def new(self, path: str, index: int = 0, group: str = "") -> bpy.types.FCurve:
        """A new, empty curve in the group of that name."""
        fcurve = self.fcurves.new(path, index=index)
        if group:
            fcurve.group = self.groups.get(group) or self.groups.new(group)
        return fcurve

    def remove(self, fcurves: Iterable[bpy.types.FCurve]) -> None:
        """Remove these curves and the groups that they leave empty."""
        left = {fcurve.group.name for fcurve in fcurves if fcurve.group}
        for fcurve in list(fcurves):
            self.fcurves.remove(fcurve)
        for name in left:
            group = self.groups.get(name)
            if group is not None and not len(group.channels):
                self.groups.remove(group)


def channels(owner: bpy.types.ID) -> Channels | None:
    """The curves of the action that `owner` plays now; None without one."""
    animation = owner.animation_data
    if animation is None or animation.action is None:
        return None
    return _channels_of(animation.action, animation.action_slot if SLOTS else None)


def ensure_channels(owner: bpy.types.ID, name: str, action: bpy.types.Action | None = None) -> Channels:
    """The curves that `owner` plays now; without an action it is given `action`, or a new one of that name."""
    animation = owner.animation_data or owner.animation_data_create()
    if animation.action is None:
        animation.action = action or bpy.data.actions.new(name)
    if not SLOTS:
        return Channels(animation.action.fcurves, animation.action.groups)
    if animation.action_slot is None:
        animation.action_slot = animation.action.slots.new(id_type=owner.id_type, name=owner.name)
    bag = _strip(animation.action).channelbag(animation.action_slot, ensure=True)
    return Channels(bag.fcurves, bag.groups)


def shared(owner: bpy.types.ID) -> bool:
    """Whether the curves that `owner` plays now move something else too."""
    animation = owner.animation_data
    if animation is None or animation.action is None:
        return False
    if SLOTS:
        return animation.action_slot is not None and len(animation.action_slot.users()) > 1
    return animation.action.users - animation.action.use_fake_user > 1


def fill(fcurve: bpy.types.FCurve, frames: np.ndarray, values: np.ndarray, interpolation: int = LINEAR) -> None:
    """Replace the keys of a curve by `values [T]` at `frames [T]` (ascending)."""
    keys = fcurve.keyframe_points
    keys.clear()
    keys.add(len(frames))
    keys.foreach_set("co", np.column_stack([frames, values]).astype(np.float32).ravel())
    keys.foreach_set("interpolation", np.full(len(frames), interpolation, np.int32))
    fcurve.update()


def plays(fcurve: bpy.types.FCurve) -> bool:
    """Whether Blender evaluates this curve, if its group is not muted."""
    return not (fcurve.mute or fcurve.is_empty)


def _strip(action: bpy.types.Action) -> bpy.types.ActionStrip:
    layer = action.layers[0] if action.layers else action.layers.new("Layer")
    return layer.strips[0] if layer.strips else layer.strips.new(type="KEYFRAME")


def _channels_of(action: bpy.types.Action, slot: Any) -> Channels | None:
    if not SLOTS:
        return Channels(action.fcurves, action.groups)
    if slot is None:
        return None
    for layer in action.layers:
        for strip in layer.strips:
            bag = strip.channelbag(slot)
            if bag is not None:
                return Channels(bag.fcurves, bag.groups)
    return None


def drop(owner: bpy.types.ID) -> None:
    """Take the action, or its slot, away from `owner` and delete it: it was made for nothing else."""
    animation = owner.animation_data
    action, slot = animation.action, animation.action_slot if SLOTS else None
    animation.action = None
    if slot is not None:
        action.slots.remove(slot)
    if not action.users and not (SLOTS and len(action.slots)):
        bpy.data.actions.remove(action)


def new_channels(action: bpy.types.Action, id_type: str, name: str) -> Channels:
    """The curves of an empty action for datablocks of one type."""
    if not SLOTS:
        return Channels(action.fcurves, action.groups)
    slot = action.slots.new(id_type=id_type, name=name)
    bag = _strip(action).channelbag(slot, ensure=True)
    return Channels(bag.fcurves, bag.groups)


def all_channels(action: bpy.types.Action) -> list[Channels]:
    """All curves of an action, whatever they animate."""
    if not SLOTS:
        return [Channels(action.fcurves, action.groups)]
    bags = [_channels_of(action, slot) for slot in action.slots]
    return [bag for bag in bags if bag is not None]
