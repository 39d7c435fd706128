"""What each avatar of the open file plays: its evaluated range, kept, put into Blender's rig, and stored in the file.

Main thread only, and no network: this is what the frame handler runs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import bpy

from ..errors import AddonError
from ..model import head_object, properties, storage
from ..model.places import scenes_of
from ..model.reference import Reference
from ..translations import sentence
from . import bake, driving
from .sampling import current_frame
from .track import Track


@dataclass
class Entry:
    """One avatar of this file."""

    avatar: Reference
    scene: int = 0  # session uid of the scene whose frames it is evaluated for
    asked_in: int = 0  # session uid of a scene that it is to be evaluated for next, current or not
    track: Track | None = None
    live: Track | None = None  # shown in its place until the frame changes: settings that are set and not keyed
    wanted: bytes = b""  # digest of the newest drive that was asked for
    live_wanted: bytes = b""
    trouble: str = ""  # why what is wanted is not there
    marked: bool = False  # it may have changed: its keys are to be sampled again
    watched: frozenset[int] = frozenset()  # session uids: a change of these may change the avatar
    reshow: bool = True  # what Blender holds is not known to be what we have
    reach: tuple[int, int] | None = None  # frames to evaluate beside the scene's range, while they are rendered

    @property
    def waits_for_range(self) -> bool:
        return bool(self.wanted) and (self.track is None or self.track.drive.digest != self.wanted)

    @property
    def waiting(self) -> bool:
        """Whether an answer is under way."""
        waits_for_live = bool(self.live_wanted) and (self.live is None or self.live.drive.digest != self.live_wanted)
        return not self.trouble and (self.waits_for_range or waits_for_live)

    def track_at(self, frame: float) -> Track | None:
        """What is to be seen at a frame."""
        return self.live if self.live is not None and frame in self.live else self.track


entries: dict[int, Entry] = {}  # by session uid of the avatar's object


def find(uid: int) -> bpy.types.Object | None:
    """The avatar's object now, wherever undo has put it and whatever it is called by now."""
    entry = entries.get(uid)
    return entry.avatar.find() if entry is not None else None


def of_scene(scene: bpy.types.Scene) -> Iterator[tuple[Entry, bpy.types.Object]]:
    """The avatars of a scene that are being evaluated."""
    for uid, entry in list(entries.items()):
        avatar = find(uid)
        if avatar is None or not properties.is_avatar(avatar):
            continue
        if entry.scene == scene.session_uid or scene in scenes_of(avatar):
            yield entry, avatar


def scene_of(entry: Entry) -> bpy.types.Scene | None:
    """The scene whose frames an avatar plays; None when it is gone."""
    return next((scene for scene in bpy.data.scenes if scene.session_uid == entry.scene), None)


# --- what panels and exports ask


def evaluated(avatar: bpy.types.Object) -> Track | None:
    """The range that plays now; None before the first one."""
    entry = entries.get(avatar.session_uid)
    return entry.track if entry else None


def trouble(avatar: bpy.types.Object) -> str:
    """Why the avatar does not show its keys as they are now, as a sentence; "" when it does or soon will."""
    entry = entries.get(avatar.session_uid)
    return entry.trouble if entry else ""


def notice(avatar: bpy.types.Object) -> str:
    """What does not show as it should although it is evaluated, as a sentence; "" when all does."""
    entry = entries.get(avatar.session_uid)
    beyond = entry.track.beyond if entry is not None and entry.track is not None else None
    if beyond is None:
        return ""
    template = (
        "Frames {first} to {last}: the face is stronger than shape keys can be, and is cut off. "
        "Lower the strength or the motion's influence."
    )
    return sentence(template, first=beyond[0], last=beyond[1])


def is_waiting(avatar: bpy.types.Object) -> bool:
    """Whether newer values are under way."""
    entry = entries.get(avatar.session_uid)
    return entry is not None and (entry.waiting or entry.marked)


# --- into Blender's rig


def show(entry: Entry, avatar: bpy.types.Object, frame: float) -> None:
    """Put a frame's values into the shape keys and bones. No network, no waiting."""
    seen = entry.track_at(frame)
    if seen is None or bake.is_baked(avatar):
        return
    head_object.apply(avatar, *seen.values(frame))
    entry.reshow = False


def take_range(uid: int, seen: Track) -> None:
    """Play a newly evaluated range, if it still is what is wanted."""
    entry, avatar = entries.get(uid), find(uid)
    if avatar is None:
        entries.pop(uid, None)
    if entry is None or avatar is None or entry.wanted != seen.drive.digest:
        return
    entry.track, entry.trouble = seen, ""
    scene = scene_of(entry)
    if scene is not None:
        show(entry, avatar, current_frame(scene))


def take_live(uid: int, seen: Track) -> None:
    """Show a frame as it is set, until the frame changes."""
    entry, avatar = entries.get(uid), find(uid)
    if entry is None or avatar is None or entry.live_wanted != seen.drive.digest:
        return
    entry.live = seen
    show(entry, avatar, float(seen.start))


def take_preview(uid: int, seen: Track, digest: bytes) -> None:
    """Show the current frame before its range, of the drive with this digest, is there."""
    entry, avatar = entries.get(uid), find(uid)
    scene = scene_of(entry) if entry is not None else None
    if avatar is None or entry is None or scene is None or entry.wanted != digest:
        return
    frame = current_frame(scene)
    if frame in seen:
        head_object.apply(avatar, *seen.values(frame))


def take_failure(uid: int, digest: bytes, why: str) -> None:
    """The range of the drive with this digest could not be had."""
    entry = entries.get(uid)
    if entry is not None and entry.wanted == digest:
        entry.trouble, entry.wanted, entry.live_wanted = why, b"", b""


# --- in the file


def store() -> None:
    """Put what is evaluated into the file, so that it plays without a backend."""
    for uid, entry in list(entries.items()):
        avatar = find(uid)
        if avatar is not None and entry.track is not None:
            storage.write_range(avatar, entry.track.pack())


def restore() -> None:
    """Play what the file has stored."""
    for uid, entry in entries.items():
        avatar = find(uid)
        message = storage.read_range(avatar) if avatar is not None else None
        if not message:
            continue
        try:
            entry.track = Track.unpack(message, driving.rig_of(avatar))
            entry.wanted = entry.track.drive.digest
        except AddonError as error:
            print(f"Emo Avatar: {error}", file=sys.stderr)
