"""Bake what avatars show to keys, and back."""

from typing import Any

import bpy
import numpy as np

from ..errors import AddonError
from ..timeline import bake, evaluation, playing, sampling
from .avatar import AvatarOperator, targets


class EMOAVATAR_OT_bake(AvatarOperator):
    bl_idname = "emo_avatar.bake"
    bl_label = "Bake to Keyframes"
    bl_description = (
        "Key the shape keys and bones with what the selected avatars show, so that the file opens, plays and renders "
        "without Emo Avatar. The emotion keys stay"
    )
    bl_options = {"REGISTER", "UNDO"}

    start: bpy.props.IntProperty(name="Start", description="First frame", options={"SKIP_SAVE"})
    end: bpy.props.IntProperty(name="End", description="Last frame", options={"SKIP_SAVE"})
    simplify: bpy.props.BoolProperty(
        name="Simplify", description="One key for what never changes, none for what stays at rest", default=True
    )

    def invoke(self, context: Any, event: Any) -> set[str]:
        self.start, self.end = context.scene.frame_start, context.scene.frame_end
        return context.window_manager.invoke_props_dialog(self)

    def run(self, context: Any) -> None:
        scene = context.scene
        start, end = self.start, self.end
        if not self.properties.is_property_set("start"):
            start = scene.frame_start
        if not self.properties.is_property_set("end"):
            end = scene.frame_end
        if end < start:
            raise AddonError("The last frame comes before the first.")
        if end - start >= evaluation.LONGEST:
            raise AddonError(f"{end - start + 1} frames are too many to bake; {evaluation.LONGEST} is the most.")
        chosen = targets(context)
        # What was baked before moves the bones, from which gaze is evaluated: it comes off first.
        before = {avatar: bake.lay_aside(avatar) for avatar in chosen if bake.is_baked(avatar)}
        try:
            count = self._bake(context.scene, chosen, start, end)
        except AddonError:
            for avatar, laid in before.items():
                if bake.is_baked(avatar):
                    bake.unbake(avatar)
                bake.put_back(avatar, laid)
            raise
        self.say("Baked {count} curves over {frames} frames", count=count, frames=end - start + 1)

    def _bake(self, scene: bpy.types.Scene, chosen: list[bpy.types.Object], start: int, end: int) -> int:
        """Evaluate and bake; the number of curves."""
        for avatar in chosen:
            evaluation.reach_range(avatar, start, end)
        evaluation.settle()
        evaluation.retreat()
        for avatar in chosen:
            if why := playing.trouble(avatar):
                raise AddonError(f"{avatar.name} cannot be baked, its keys are not evaluated. {why}")
        count = 0
        for avatar in chosen:
            seen = playing.evaluated(avatar)
            if seen is None:
                raise AddonError(f"{avatar.name} has not been evaluated yet.")
            if start not in seen or end not in seen:
                raise AddonError("Those frames are too far from the current one: go to a frame between them first.")
            frames = np.arange(start, end + 1)
            count += bake.bake(avatar, seen, frames, self.simplify, sampling.time_stretch(scene))
        return count


class EMOAVATAR_OT_unbake(AvatarOperator):
    bl_idname = "emo_avatar.unbake"
    bl_label = "Remove Bake"
    bl_description = "Remove the baked keys of the selected avatars; the emotion keys take over again"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def avatar_reason(cls, context: Any, avatar: bpy.types.Object) -> str | None:
        return None if any(map(bake.is_baked, targets(context))) else "Nothing is baked"

    def run(self, context: Any) -> None:
        for avatar in filter(bake.is_baked, targets(context)):
            bake.unbake(avatar)
            evaluation.mark(avatar, reshow=True)


CLASSES = (EMOAVATAR_OT_bake, EMOAVATAR_OT_unbake)
