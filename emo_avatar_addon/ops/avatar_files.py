"""Avatars from files, and back into files: `.emoavatar` and LAM's packages."""

import os
from pathlib import Path
from typing import Any

import bpy

from ..errors import AddonError
from ..model import properties, storage
from .boundary import EmoOperator
from .making import MakeOperator, Source, Start, chosen_files, sources_of

_MAX_FILE = 512 << 20  # bytes, what the backend takes


class EMOAVATAR_OT_import_avatar(MakeOperator):
    bl_idname = "emo_avatar.import_avatar"
    bl_label = "Import Avatar"
    bl_description = "Add an avatar from its .emoavatar file, or a LAM package (.zip)"
    bl_options = {"UNDO"}

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE", "HIDDEN"})
    directory: bpy.props.StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE", "HIDDEN"})
    files: bpy.props.CollectionProperty(type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE", "HIDDEN"})
    filter_glob: bpy.props.StringProperty(default="*.emoavatar;*.zip", options={"SKIP_SAVE", "HIDDEN"})
    name: bpy.props.StringProperty(
        name="Name", description="What the avatar is called; empty is its own name", options={"SKIP_SAVE"}
    )

    settings = ("name",)

    def order(self) -> tuple[list[Source], Start]:
        name = self.name
        sources = sources_of(chosen_files(self), name, _avatar_file)
        return sources, lambda client, one: client.start_import(one.read(), name, one.file_name)


class EMOAVATAR_OT_save_avatar_file(EmoOperator):
    bl_idname = "emo_avatar.save_avatar_file"
    bl_label = "Save Avatar File"
    bl_description = "Write the avatar that this .blend holds as an .emoavatar file, for other files and programs"
    bl_options = {"REGISTER"}

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: bpy.props.StringProperty(default="*.emoavatar", options={"SKIP_SAVE", "HIDDEN"})
    check_existing: bpy.props.BoolProperty(default=True, options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        avatar = properties.active_avatar(context)
        if avatar is None:
            return "Select an avatar"
        if storage.read_file(avatar) is None:
            return "An open head has no avatar file; it is in the .blend as it is"
        return None

    def run(self, context: Any) -> set[str] | None:
        data = storage.read_file(properties.active_avatar(context)) or b""
        path = Path(bpy.path.abspath(self.filepath)).with_suffix(".emoavatar")
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise AddonError(f"{path.name} cannot be written: {error.strerror or error}.") from error
        self.say("Saved {name} ({size} MB)", name=path.name, size=f"{len(data) / 1e6:.1f}")
        return None

    def invoke(self, context: Any, event: Any) -> set[str]:
        self.filepath = bpy.path.clean_name(properties.active_avatar(context).name) + ".emoavatar"
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}


class EMOAVATAR_FH_avatar(bpy.types.FileHandler):
    bl_idname = "EMOAVATAR_FH_avatar"
    bl_label = "Import Avatar"
    bl_import_operator = "emo_avatar.import_avatar"
    bl_file_extensions = ".emoavatar;.zip"

    @classmethod
    def poll_drop(cls, context: Any) -> bool:
        return context.area is not None and context.area.type in {"VIEW_3D", "OUTLINER"}


def _avatar_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_FILE:
            raise AddonError(f"{path.name} is larger than {_MAX_FILE >> 20} MB, which no avatar is.")
        return path.read_bytes()
    except OSError as error:
        raise AddonError(f"{path.name} cannot be read: {error.strerror or error}.") from error


CLASSES = (EMOAVATAR_OT_import_avatar, EMOAVATAR_OT_save_avatar_file, EMOAVATAR_FH_avatar)
