"""From keys to ranges: who is looked at again, and when.

`mark` says that something may have changed. In the main thread `refresh` samples what is marked; `asking` has the
backend answer, and `playing` puts what comes back into place. A newer question makes an older answer worthless.
"""

from __future__ import annotations

import functools
import sys
import threading
import traceback
from collections.abc import Callable, Iterator

import bpy
import numpy as np

from .. import mainloop, preferences
from ..errors import AddonError
from ..link import session
from ..model import copies, identity, properties, storage
from ..model.places import scenes_of
from ..model.reference import Reference
from . import asking, bake, driving, playing, sampling, track
from .drive import Drive
from .motion import Motion
from .playing import Entry, entries
from .track import Track

REACH = 100  # frames that are evaluated at once outside of the scene's range
NEAR = 2_000  # frames that the scene's range and a preview range may span to be evaluated together
LONGEST = 20_000  # frames that are evaluated at once: of a longer range those about the current frame
RENDER_POLL = 0.25  # seconds

_MAIN_TIMEOUT = 10.0  # a main thread that does not run its timers for so long does something else


# --- marks


def mark(avatar: bpy.types.Object, reshow: bool = False, scene: bpy.types.Scene | None = None) -> None:
    """Something of this avatar may have changed: look again, soon, with the frames of `scene` or the current scene.

    With `reshow` its values are written anew even if they have not: something else has written into its rig.
    """
    if avatar.session_uid not in entries and not properties.is_avatar(avatar):
        return
    entry = entries.setdefault(avatar.session_uid, Entry(Reference.to(avatar)))
    entry.marked = True
    entry.reshow |= reshow
    entry.asked_in = scene.session_uid if scene is not None else entry.asked_in
    _look_soon()


def mark_all(reshow: bool = False) -> None:
    """Look again at every avatar of the file."""
    for thing in bpy.data.objects:
        if properties.is_avatar(thing):
            mark(thing, reshow)


def heard(changed: set[int]) -> None:
    """Datablocks with these session uids have changed."""
    _mark_where(lambda entry: not entry.watched.isdisjoint(changed))


def retry() -> None:
    """The backend is back: ask again what it has not answered."""
    _mark_where(lambda entry: bool(entry.trouble))


def restore_all() -> None:
    """Play what the file has stored, and look whether it is what is keyed."""
    mark_all()
    playing.restore()


def reach(scene: bpy.types.Scene, frame: int) -> bool:
    """Have the avatars of a scene evaluated for a frame outside of its range, and for some after it, until `retreat`.

    Returns whether any is to be evaluated now.
    """
    everyone = playing.of_scene(scene)
    beyond = [(entry, avatar) for entry, avatar in everyone if entry.track is None or frame not in entry.track]
    for entry, avatar in beyond:
        entry.reach = min(frame, scene.frame_start), max(frame + REACH, scene.frame_end)
        mark(avatar, scene=scene)
    return bool(beyond)


def reach_range(avatar: bpy.types.Object, first: int, last: int) -> None:
    """Have an avatar evaluated from one frame to another as well, until `retreat`."""
    mark(avatar)
    entries[avatar.session_uid].reach = first, last


def retreat() -> None:
    """Evaluate the scenes' own ranges again."""
    for entry in entries.values():
        entry.reach = None


def settle(timeout: float = asking.START_TIMEOUT) -> bool:
    """Evaluate now whatever is marked, waiting for the backend: for rendering, baking, exports and background mode.

    Returns whether every avatar shows its keys as they are; `playing.trouble` says why not.
    """
    if threading.current_thread() is threading.main_thread():
        refresh()
        mainloop.drain(lambda: not _under_way(), timeout)
    else:  # a render job's thread: the main thread goes on meanwhile
        begun, done = threading.Event(), threading.Event()

        def look() -> None:
            begun.set()
            refresh()
            if _under_way():
                mainloop.call_soon(look)
            else:
                done.set()

        mainloop.call_soon(look)
        if begun.wait(_MAIN_TIMEOUT):
            done.wait(timeout)
    return not _under_way() and not any(entry.trouble for entry in entries.values())


def forget() -> None:
    """Another file is open."""
    entries.clear()
    driving.forget()
    asking.drop_all()


def close() -> None:
    """Nothing is evaluated any more."""
    forget()
    if bpy.app.timers.is_registered(_look):
        bpy.app.timers.unregister(_look)
    asking.close()


def _mark_where(changed: Callable[[Entry], bool]) -> None:
    for entry in entries.values():
        entry.marked |= changed(entry)
    if any(entry.marked for entry in entries.values()):
        _look_soon()


def _under_way() -> bool:
    return any(entry.marked or entry.waiting for entry in entries.values())


def _look_soon() -> None:
    if not bpy.app.background and not bpy.app.timers.is_registered(_look):
        bpy.app.timers.register(_look, first_interval=0.0)


def _look() -> float | None:
    if bpy.app.is_job_running("RENDER"):  # the render thread reads Blender's data now
        return RENDER_POLL
    refresh()
    return 0.0 if any(entry.marked for entry in entries.values()) else None


# --- from Blender's data to a question


def refresh() -> None:
    """Sample every marked avatar, and ask the backend where what it is asked to do has changed."""
    while (uid := next((uid for uid, entry in entries.items() if entry.marked), None)) is not None:
        entry, avatar = entries[uid], playing.find(uid)
        entry.marked = False
        if avatar is None or not properties.is_avatar(avatar):
            del entries[uid]
            asking.drop(uid)
            continue
        try:
            copies.make_own(avatar)
            identity.follow(avatar)
            _refresh(uid, entry, avatar)
        except AddonError as error:
            entry.trouble, entry.wanted = str(error), b""
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            entry.trouble, entry.wanted = f"The keys could not be read ({type(error).__name__}: {error}).", b""


def _refresh(uid: int, entry: Entry, avatar: bpy.types.Object) -> None:
    scene = _scene_of(entry, avatar)
    if scene is None:
        return
    entry.asked_in = 0
    entry.scene, entry.watched = scene.session_uid, frozenset(_watched(avatar))
    if bake.is_baked(avatar):
        entry.trouble, entry.wanted, entry.live, entry.live_wanted = "", b"", None, b""
        return
    frame = sampling.current_frame(scene)
    drive = driving.drive(scene, avatar, _frames(scene, entry, frame))
    if entry.track is not None and drive.similar(entry.track.drive):
        drive = entry.track.drive
    set_here = 0 if scene == bpy.context.scene else None  # properties hold the values of the scene that is looked at
    now = driving.drive(scene, avatar, np.array([frame]), live=set_here)
    inside = drive.start <= frame <= drive.start + len(drive) - 1
    row = int(frame) - drive.start
    live = not inside or not (frame % 1 or now.similar(drive.rows(row, row + 1)))
    if not live:
        entry.reshow |= entry.live is not None
        entry.live, entry.live_wanted = None, b""
    if drive.digest == entry.wanted and (not live or now.digest == entry.live_wanted):
        if entry.reshow:
            playing.show(entry, avatar, frame)
        return
    entry.wanted, entry.live_wanted, entry.trouble = drive.digest, now.digest if live else b"", ""
    take_live, take_range = functools.partial(playing.take_live, uid), functools.partial(playing.take_range, uid)
    shown_now = live and _finish_alone(entry, now, take_live)
    finished = not entry.waits_for_range or _finish_alone(entry, drive, take_range)
    if finished and (shown_now or not live):
        return
    preview: Drive | None = now
    if not live:
        around = drive.rows(row - asking.margin(drive), row + asking.margin(drive) + 1)
        preview = around if len(around) < len(drive) else None
    _ask(
        uid,
        asking.Question(
            drive=drive,
            preview=None if shown_now else preview,
            only_preview=finished,
            read_file=functools.partial(_read_file, uid),
            previewed=take_live if live else functools.partial(playing.take_preview, uid, digest=drive.digest),
            answered=take_range,
            failed=functools.partial(playing.take_failure, uid, drive.digest),
        ),
    )


def _scene_of(entry: Entry, avatar: bpy.types.Object) -> bpy.types.Scene | None:
    """The scene whose frames an avatar is to play: the one that asks, or the current one, or any that it is in."""
    scenes = scenes_of(avatar)
    asking_one = next((scene for scene in scenes if scene.session_uid == entry.asked_in), None)
    return asking_one or (bpy.context.scene if bpy.context.scene in scenes else next(iter(scenes), None))


def _frames(scene: bpy.types.Scene, entry: Entry, frame: float) -> np.ndarray:  # [T]
    """The frames to evaluate: the scene's range, a preview range near it, and what is rendered beside it. Of a very
    long range a part, which stays where it is for as long as the current frame is in it."""
    first, last = entry.reach or (scene.frame_start, scene.frame_end)
    first, last = min(first, scene.frame_start), max(last, scene.frame_end)
    if scene.use_preview_range:
        with_preview = min(first, scene.frame_preview_start), max(last, scene.frame_preview_end)
        if with_preview[1] - with_preview[0] < NEAR:
            first, last = with_preview
    if last - first >= LONGEST:
        start = int(frame) - LONGEST // 2
        if entry.track is not None and len(entry.track) == LONGEST and frame in entry.track:
            start = entry.track.start
        first = min(max(start, first), last - LONGEST + 1)
        last = first + LONGEST - 1
    return np.arange(first, last + 1)


def _finish_alone(entry: Entry, drive: Drive, take: Callable[[Track], None]) -> bool:
    """Take over what can be told without the backend. Whether it could."""
    felt = _known(entry, drive)
    if felt is not None:
        take(track.finish(drive, felt))
    return felt is not None


def _known(entry: Entry, drive: Drive) -> Motion | None:
    """The motion under emotion, where no backend is needed to tell."""
    if not drive.weights.any():
        return drive.motion
    if entry.track is not None and entry.track.drive.question == drive.question:
        return track.answered(drive, entry.track.felt.expression, entry.track.felt.jaw_pose)
    return None


def _ask(uid: int, question: asking.Question) -> None:
    if session.current().health.state is session.State.OFF and preferences.backend_missing(bpy.context) is None:
        preferences.start_backend(bpy.context)
    asking.ask(uid, question)


def _read_file(uid: int) -> bytes | None:
    avatar = playing.find(uid)
    return storage.read_file(avatar) if avatar is not None else None


def _watched(avatar: bpy.types.Object) -> Iterator[int]:
    """Session uids of whatever may change the avatar."""
    yield avatar.data.session_uid
    for thing in (avatar, avatar.emo_avatar.gaze_target):
        if thing is None:
            continue
        yield thing.session_uid
        if thing.animation_data is not None:
            actions = [thing.animation_data.action]
            actions += [strip.action for nla in thing.animation_data.nla_tracks for strip in nla.strips]
            yield from (action.session_uid for action in actions if action is not None)
