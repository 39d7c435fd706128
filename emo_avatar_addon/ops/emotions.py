"""Emotion sliders: keys, solo and clear, copy and paste, blends and their assets."""

import json
from pathlib import Path
from typing import Any

import bpy

from ..errors import AddonError
from ..model.properties import EMOTIONS, active_avatar
from ..timeline import keyframes, presets, sampling
from .avatar import AvatarOperator, active, autokey, targets
from .boundary import EmoOperator

_CLIPBOARD = "emo-avatar emotions"


class EMOAVATAR_OT_key_all(AvatarOperator):
    bl_idname = "emo_avatar.key_all"
    bl_label = "Key All"
    bl_description = "Key all emotions and their strength on the current frame, on every selected avatar"
    bl_options = {"REGISTER", "UNDO"}

    def run(self, context: Any) -> None:
        for avatar in targets(context):
            keyframes.key(avatar, keyframes.KEYED, context.scene.frame_current_final)


class EMOAVATAR_OT_key_changed(AvatarOperator):
    bl_idname = "emo_avatar.key_changed"
    bl_label = "Key Changed"
    bl_description = "Key on the current frame only the sliders that stand elsewhere than their keys have them"
    bl_options = {"REGISTER", "UNDO"}

    def run(self, context: Any) -> set[str] | None:
        count = 0
        for avatar in targets(context):
            changed = keyframes.changed(context.scene, avatar)
            count += keyframes.key(avatar, changed, context.scene.frame_current_final)
        if not count:
            self.say("No slider has changed")
            return {"CANCELLED"}
        return None


class EMOAVATAR_OT_delete_keys(AvatarOperator):
    bl_idname = "emo_avatar.delete_keys"
    bl_label = "Delete Keys"
    bl_description = "Remove the emotion keys on the current frame"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def avatar_reason(cls, context: Any, avatar: bpy.types.Object) -> str | None:
        frame = context.scene.frame_current_final
        return None if any(abs(keyframes.frames(avatar) - frame) < 0.5) else "No emotion is keyed on this frame"

    def run(self, context: Any) -> None:
        for avatar in targets(context):
            keyframes.remove(avatar, context.scene.frame_current_final)


class EMOAVATAR_OT_jump_to_key(AvatarOperator):
    bl_idname = "emo_avatar.jump_to_key"
    bl_label = "Jump to Emotion Key"
    bl_description = "Go to the next or previous frame on which an emotion is keyed"

    forward: bpy.props.BoolProperty(name="Forward", default=True)

    @classmethod
    def avatar_reason(cls, context: Any, avatar: bpy.types.Object) -> str | None:
        return None if len(keyframes.frames(avatar)) else "No emotion is keyed yet"

    def run(self, context: Any) -> set[str] | None:
        scene = context.scene
        frame = keyframes.neighbour(active(context), scene.frame_current_final, self.forward)
        if frame is None:
            self.say(
                "No more emotion keys after this frame" if self.forward else "No more emotion keys before this frame"
            )
            return {"CANCELLED"}
        frame /= sampling.time_stretch(scene)
        scene.frame_set(int(frame // 1), subframe=frame % 1)
        return None


class EMOAVATAR_OT_solo(AvatarOperator):
    bl_idname = "emo_avatar.solo"
    bl_label = "Solo"
    bl_description = "Feel this alone: the other emotions go to zero, and this one to full if it is at zero"
    bl_options = {"REGISTER", "UNDO"}

    emotion: bpy.props.EnumProperty(name="Emotion", items=[(name, name.capitalize(), "") for name in EMOTIONS])

    def run(self, context: Any) -> None:
        avatar = active(context)
        value = getattr(avatar.emo_avatar, self.emotion) or 1.0
        keyframes.set_weights(avatar, [value if name == self.emotion else 0.0 for name in EMOTIONS])
        autokey(context, avatar)


class EMOAVATAR_OT_clear(AvatarOperator):
    bl_idname = "emo_avatar.clear"
    bl_label = "Clear"
    bl_description = "Feel nothing: all emotions to zero. Keys stay until this is keyed"
    bl_options = {"REGISTER", "UNDO"}

    def run(self, context: Any) -> None:
        for avatar in targets(context):
            keyframes.set_weights(avatar, [0.0] * len(EMOTIONS))
            autokey(context, avatar)


class EMOAVATAR_OT_copy(AvatarOperator):
    bl_idname = "emo_avatar.copy"
    bl_label = "Copy"
    bl_description = "Copy the emotion sliders, to paste on another frame, avatar or file"

    def run(self, context: Any) -> None:
        values = dict(zip(EMOTIONS, keyframes.weights(active(context)), strict=True))
        context.window_manager.clipboard = json.dumps({_CLIPBOARD: values})


class EMOAVATAR_OT_paste(AvatarOperator):
    bl_idname = "emo_avatar.paste"
    bl_label = "Paste"
    bl_description = "Set the emotion sliders to what was copied"
    bl_options = {"REGISTER", "UNDO"}

    def run(self, context: Any) -> None:
        try:
            values = json.loads(context.window_manager.clipboard)[_CLIPBOARD]
            copied = [min(max(float(values[name]), 0.0), 1.0) for name in EMOTIONS]
        except (ValueError, KeyError, TypeError) as error:
            raise AddonError("The clipboard holds no emotions: copy some first.") from error
        for avatar in targets(context):
            keyframes.set_weights(avatar, copied)
            autokey(context, avatar)


class EMOAVATAR_OT_blend(AvatarOperator):
    bl_idname = "emo_avatar.blend"
    bl_label = "Blend"
    bl_description = "Set the emotion sliders to a blend of feelings"
    bl_options = {"REGISTER", "UNDO"}

    name: bpy.props.EnumProperty(
        name="Blend",
        items=[(name, name, presets.description(presets.weights(b))) for name, b in presets.BLENDS.items()],
    )
    amount: bpy.props.FloatProperty(
        name="Amount", description="How much of the blend", min=0.0, max=1.0, default=1.0, subtype="FACTOR"
    )

    @classmethod
    def description(cls, context: Any, properties: Any) -> str:
        return presets.description(presets.weights(presets.BLENDS[properties.name])).capitalize()

    def run(self, context: Any) -> None:
        blend = presets.weights(presets.BLENDS[self.name])
        for avatar in targets(context):
            keyframes.set_weights(avatar, [self.amount * value for value in blend])
            autokey(context, avatar)


class EMOAVATAR_OT_save_blend(AvatarOperator):
    bl_idname = "emo_avatar.save_blend"
    bl_label = "Save as Asset"
    bl_description = "Keep the emotion sliders as an asset of this file; it shows in the asset shelf and asset browser"
    bl_options = {"REGISTER", "UNDO"}

    name: bpy.props.StringProperty(name="Name", default="My Emotion")

    @classmethod
    def avatar_reason(cls, context: Any, avatar: bpy.types.Object) -> str | None:
        return None if any(keyframes.weights(avatar)) else "All emotions are at zero"

    def invoke(self, context: Any, event: Any) -> set[str]:
        return context.window_manager.invoke_props_dialog(self)

    def run(self, context: Any) -> None:
        action = presets.create(self.name.strip() or "My Emotion", keyframes.weights(active(context)))
        self.say("{name} is an asset of this file now", name=action.name)


class EMOAVATAR_OT_add_blend_assets(EmoOperator):
    bl_idname = "emo_avatar.add_blend_assets"
    bl_label = "Add Blends as Assets"
    bl_description = "Add all blends to this file as assets, to find them in the asset shelf and asset browser"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        return None if any(name not in bpy.data.actions for name in presets.BLENDS) else "All blends are in this file"

    def run(self, context: Any) -> None:
        missing = [name for name in presets.BLENDS if name not in bpy.data.actions]
        for name in missing:
            presets.create(name, presets.weights(presets.BLENDS[name]))
        self.say("{count} blends are assets of this file now", count=len(missing))


_LIBRARIES = [
    (item.identifier, item.name, "", item.value)
    for item in bpy.types.AssetWeakReference.bl_rna.properties["asset_library_type"].enum_items
]


class EMOAVATAR_OT_apply_asset(AvatarOperator):
    bl_idname = "emo_avatar.apply_asset"
    bl_label = "Apply Emotion"
    bl_description = "Set the emotion sliders to the asset's"
    bl_options = {"REGISTER", "UNDO"}

    action: bpy.props.StringProperty(name="Action", description="Of this file", options={"SKIP_SAVE", "HIDDEN"})
    # Blender's asset shelf says by these which asset was clicked.
    asset_library_type: bpy.props.EnumProperty(items=_LIBRARIES, default="LOCAL", options={"SKIP_SAVE", "HIDDEN"})
    asset_library_identifier: bpy.props.StringProperty(options={"SKIP_SAVE", "HIDDEN"})
    relative_asset_identifier: bpy.props.StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    def run(self, context: Any) -> None:
        values = self._values(context)
        for avatar in targets(context):
            keyframes.set_weights(avatar, values)
            autokey(context, avatar)

    def _values(self, context: Any) -> list[float]:
        folder, _, name = self.relative_asset_identifier.replace("\\", "/").rpartition("Action/")
        if self.action or (name and self.asset_library_type == "LOCAL"):
            action = bpy.data.actions.get(self.action or name)
            if action is None:
                raise AddonError(f"This file has no action {self.action or name}.")
            return presets.read(action)
        if name:
            libraries = context.preferences.filepaths.asset_libraries
            known = {library.name: library.path for library in libraries}
            if self.asset_library_identifier not in known:
                raise AddonError(f"There is no asset library {self.asset_library_identifier} in the preferences.")
            return presets.read_from(Path(known[self.asset_library_identifier]) / folder.rstrip("/"), name)
        asset = getattr(context, "asset", None)
        if asset is None or asset.id_type != "ACTION":
            raise AddonError("Choose an emotion in the asset shelf or the asset browser.")
        if asset.local_id is not None:
            return presets.read(asset.local_id)
        return presets.read_from(Path(asset.full_library_path), asset.name)


class EMOAVATAR_AST_emotions(bpy.types.AssetShelf):
    """Blends of emotions along the bottom of the 3D viewport, as a pose library has its poses."""

    bl_idname = "EMOAVATAR_AST_emotions"
    bl_space_type = "VIEW_3D"
    bl_activate_operator = "emo_avatar.apply_asset"
    bl_options = {"STORE_ENABLED_CATALOGS_IN_PREFERENCES"} if bpy.app.version >= (4, 3) else set()

    @classmethod
    def poll(cls, context: Any) -> bool:
        return context.mode == "OBJECT" and active_avatar(context) is not None

    @classmethod
    def asset_poll(cls, asset: Any) -> bool:
        return asset.id_type == "ACTION" and any(tag.name == presets.TAG for tag in asset.metadata.tags)


CLASSES = (
    EMOAVATAR_OT_key_all,
    EMOAVATAR_OT_key_changed,
    EMOAVATAR_OT_delete_keys,
    EMOAVATAR_OT_jump_to_key,
    EMOAVATAR_OT_solo,
    EMOAVATAR_OT_clear,
    EMOAVATAR_OT_copy,
    EMOAVATAR_OT_paste,
    EMOAVATAR_OT_blend,
    EMOAVATAR_OT_save_blend,
    EMOAVATAR_OT_add_blend_assets,
    EMOAVATAR_OT_apply_asset,
    EMOAVATAR_AST_emotions,
)
