"""Emotion settings as Blender's own presets: files of the user, at hand in every .blend."""

import ast
from pathlib import Path
from typing import Any

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel

from ..errors import AddonError
from ..timeline import keyframes
from .avatar import AvatarOperator, active, autokey, targets

FOLDER = "emo_avatar/emotions"  # under the user's presets
_HEAD = "import bpy\nsettings = bpy.context.object.emo_avatar\n\n"


class EMOAVATAR_PT_presets(PresetPanel, bpy.types.Panel):
    bl_idname = "EMOAVATAR_PT_presets"
    bl_label = "Emotion Presets"
    preset_subdir = FOLDER
    preset_operator = "emo_avatar.apply_preset"
    preset_add_operator = "emo_avatar.add_preset"


class EMOAVATAR_OT_add_preset(AddPresetBase, AvatarOperator):
    bl_idname = "emo_avatar.add_preset"
    bl_label = "Add Emotion Preset"
    bl_description = "Keep the emotion sliders and their strength as a preset, for all files; or remove one"
    bl_options = {"REGISTER", "INTERNAL"}

    preset_menu = "EMOAVATAR_PT_presets"
    preset_subdir = FOLDER

    execute = AvatarOperator.execute  # inside of the exception boundary

    def run(self, context: Any) -> set[str] | None:
        return AddPresetBase.execute(self, context)

    def add(self, context: Any, path: str) -> None:
        """What `AddPresetBase` calls to write the file."""
        settings = active(context).emo_avatar
        lines = [f"settings.{name} = {getattr(settings, name)!r}\n" for name in keyframes.KEYED]
        try:
            Path(path).write_text(_HEAD + "".join(lines), encoding="utf-8")
        except OSError as error:
            raise AddonError(f"The preset could not be written: {error.strerror or error}.") from error


class EMOAVATAR_OT_apply_preset(AvatarOperator):
    bl_idname = "emo_avatar.apply_preset"
    bl_label = "Apply Emotion Preset"
    bl_description = "Set the emotion sliders and their strength to the preset's"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE", "HIDDEN"})

    def run(self, context: Any) -> set[str] | None:
        values = _read(Path(self.filepath))
        for avatar in targets(context):
            for name, value in values.items():
                setattr(avatar.emo_avatar, name, value)
            autokey(context, avatar, values)
        return None


def _read(path: Path) -> dict[str, float]:
    """The settings that a preset holds. It is read, not run: presets come from anywhere."""
    values = {}
    try:
        for line in ast.parse(path.read_text(encoding="utf-8")).body:
            target = line.targets[0] if isinstance(line, ast.Assign) else None
            if isinstance(target, ast.Attribute) and target.attr in keyframes.KEYED and isinstance(line, ast.Assign):
                values[target.attr] = float(ast.literal_eval(line.value))
    except OSError as error:
        raise AddonError(f"The preset {path.stem} cannot be read: {error.strerror or error}.") from error
    except (ValueError, TypeError, SyntaxError) as error:
        raise AddonError(f"The preset {path.stem} is damaged: remove it, and add it again.") from error
    if not values:
        raise AddonError(f"The preset {path.stem} holds no emotions.")
    return values


CLASSES = (EMOAVATAR_PT_presets, EMOAVATAR_OT_add_preset, EMOAVATAR_OT_apply_preset)
