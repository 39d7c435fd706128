"""Jobs that make avatars: of a portrait, and of files that other programs wrote."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.avatar.files import SUFFIX, load_avatar, save_avatar
from emo_avatar.avatar.lam_import import import_lam
from emo_avatar.backbones.make import Backbone
from emo_avatar.head.data import open_head
from emo_avatar.server.avatars import Avatars, HeldAvatar
from emo_avatar.server.heads import prepare
from emo_avatar.server.jobs import Progress
from emo_avatar.tracking.portrait import track_portrait

TRACKED, BUILT = 0.1, 0.8  # shares of a portrait's time until the face is found, and until the avatar is built


def make_from_portrait(path: Path, name: str, way: Backbone, avatars: Avatars, progress: Progress) -> dict[str, Any]:
    """Description of the avatar of a photograph."""
    progress(0.0, "finding the face")
    head = open_head()
    portrait = track_portrait(path.read_bytes(), head)
    report = part(progress, TRACKED, BUILT)
    avatar, notes = way.make(portrait, head, name=name, device=avatars.device, progress=report)
    held = _kept(avatar, (*portrait.notes, *notes), avatars, path.parent)
    prepare(held, part(progress, BUILT, 1.0))
    return held.description()


def make_from_file(path: Path, name: str | None, avatars: Avatars, progress: Progress) -> dict[str, Any]:
    """Description of an avatar file, or of a LAM package made into one."""
    progress(0.0, "reading")
    if _is_avatar_file(path):
        if name is None:
            held = avatars.add(path)
        else:
            held = _kept(replace(load_avatar(path), name=name), (), avatars, path.parent)
    else:
        imported = import_lam(path)
        progress(0.2, "keeping the avatar")
        avatar = imported.avatar if name is None else replace(imported.avatar, name=name)
        held = _kept(avatar, imported.notes, avatars, path.parent)
    prepare(held, part(progress, 0.2, 1.0))
    return held.description()


def _kept(avatar: Avatar, notes: tuple[str, ...], avatars: Avatars, folder: Path) -> HeldAvatar:
    with tempfile.TemporaryDirectory(dir=folder) as private:
        file = Path(private) / f"avatar{SUFFIX}"
        save_avatar(avatar, file)
        return avatars.add(file, notes)


def _is_avatar_file(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "avatar.json" in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return path.suffix.lower() == SUFFIX  # damaged; the reader of its kind says how


def part(progress: Progress, start: float, end: float) -> Callable[[float, str], None]:
    """Progress from 0 to 1 as a part of the whole."""
    return lambda fraction, doing: progress(start + (end - start) * fraction, doing)
