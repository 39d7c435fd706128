"""Avatars in files that another version of the extension has saved."""

import sys
import traceback
from collections.abc import Callable
from typing import Any

import bpy
from bpy.app.handlers import persistent

from . import head_object, properties

VERSION = properties.VERSION


def _from_0(avatar: bpy.types.Object) -> None:
    """Before versions were counted the bones did not drive the pose correctives, and ARKit units could be missing."""
    head_object.drive_pose_correctives(avatar)
    properties.add_arkit(avatar)


# What makes an avatar that version n has written one that version n + 1 writes
STEPS: dict[int, Callable[[bpy.types.Object], None]] = {0: _from_0}


def migrate(avatar: bpy.types.Object) -> None:
    """Bring an avatar to this version. One of a newer version is left as it is."""
    for version in range(avatar.emo_avatar.version, VERSION):
        STEPS[version](avatar)
        avatar.emo_avatar.version = version + 1


def is_newer(avatar: bpy.types.Object) -> bool:
    """Whether a newer version of the extension has made it, so that we may not know all that it holds."""
    return avatar.emo_avatar.version > VERSION


@persistent
def on_load(*_: Any) -> None:
    for thing in bpy.data.objects:
        if not properties.is_avatar(thing) or thing.library is not None:
            continue
        try:
            migrate(thing)
        except Exception:  # the file opens all the same, and the other avatars are migrated
            traceback.print_exc(file=sys.stderr)
        if is_newer(thing):
            print(f"Emo Avatar: {thing.name} was made by a newer version of the extension.", file=sys.stderr)


# Appended avatars are migrated too, where Blender tells of them (from 4.3 on)
_HANDLERS = [name for name in ("load_post", "blend_import_post") if hasattr(bpy.app.handlers, name)]


def register() -> None:
    for name in _HANDLERS:
        getattr(bpy.app.handlers, name).append(on_load)


def unregister() -> None:
    for name in _HANDLERS:
        getattr(bpy.app.handlers, name).remove(on_load)
